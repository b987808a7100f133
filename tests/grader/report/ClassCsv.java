package grader.report;

import module java.base;

import grader.grade.ClassResult.Mark;
import grader.report.Marks.StudentMark;

/**
 * A row a student, for a spreadsheet or a mark book. Begins with a byte order mark: without it Excel reads UTF-8 as
 * something else.
 */
final class ClassCsv {
    private static final String MARK = "\ufeff";
    private static final String LINE_END = "\r\n";   // RFC 4180

    private ClassCsv() {}

    static String of(Marks marks) {
        var rows = new ArrayList<List<String>>();
        rows.add(head(marks));
        marks.students().forEach(student -> rows.add(row(student)));
        return MARK + rows.stream().map(row -> row.stream().map(Escaped::csv).collect(Collectors.joining(",")))
                .collect(Collectors.joining(LINE_END, "", LINE_END));
    }

    private static List<String> head(Marks marks) {
        var head = new ArrayList<>(List.of("student", "folder", "points", "of", "percent", "core points", "core of",
                "not graded"));
        for (var lab : marks.labs()) {
            head.add(lab.number());
            lab.steps().forEach(step -> head.add(lab.number() + "." + step.number()));
        }
        head.add("notes");
        return head;
    }

    private static List<String> row(StudentMark student) {
        var core = student.coreMark();
        var row = new ArrayList<>(List.of(student.student().name(), student.student().path(),
                onlyIf(student.isComplete(), student.mark().points()), Mark.number(student.mark().of()),
                onlyIf(student.isComplete() && student.mark().of() > 0, 100 * student.mark().share().orElse(0)),
                onlyIf(student.isComplete(), core.points()), Mark.number(core.of()),
                student.labs().stream().filter(lab -> lab.steps().stream()
                                .anyMatch(step -> !step.standing().isGraded()))
                        .map(lab -> lab.lab().number()).collect(Collectors.joining(" "))));
        for (var lab : student.labs()) {
            row.add(points(lab.mark()));
            lab.steps().forEach(step -> row.add(points(step.mark())));
        }
        row.add(String.join("; ", student.student().notes()));
        return row;
    }

    private static String points(Mark mark) {
        return onlyIf(mark.of() > 0, mark.points());
    }

    /** An empty cell is no zero: what is not known is not summed up. */
    private static String onlyIf(boolean known, double value) {
        return known ? Mark.number(value) : "";
    }
}
