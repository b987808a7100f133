package grader.report;

import module java.base;

import grader.grade.ClassResult;
import grader.grade.ClassResult.Mark;
import grader.report.Marks.Hardness;
import grader.report.Marks.LabMark;
import grader.report.Marks.StudentMark;
import grader.show.StepTree;
import org.jline.utils.WCWidth;

/** A class on a terminal: a line a student, then where most of them are stuck, then what the teacher should know. */
public final class ClassTable {
    private static final int WIDTH = 98;
    private static final int MOST_NAME = 28;
    private static final int POINTS = 16;
    private static final int HARDEST = 5;
    private static final String LEGEND =
            "# step passed   + partly   . not passed   x does not compile   - no file   ? not graded";

    private final Marks marks;
    private final PrintStream out;
    private final int nameWidth;

    private ClassTable(Marks marks, PrintStream out) {
        this.marks = marks;
        this.out = out;
        nameWidth = marks.students().stream().mapToInt(each -> columns(name(each))).max().orElse(0);
    }

    public static void print(ClassResult result, PrintStream out) {
        new ClassTable(Marks.of(result), out).print();
        out.flush();
    }

    private void print() {
        for (int from = 0; from < marks.labs().size(); ) {
            int to = from + 1;
            int room = WIDTH - nameWidth - POINTS - 6 - width(marks.labs().get(from));
            while (to < marks.labs().size() && room >= width(marks.labs().get(to)) + 2) {
                room -= width(marks.labs().get(to++)) + 2;
            }
            printLabs(from, to);
            from = to;
        }
        out.println("  " + LEGEND);
        printHardest();
        printNotes();
        var all = Mark.sum(marks.students().stream().map(StudentMark::mark));
        out.printf("  %s, %s of all points%n", StepTree.count(marks.students().size(), "student"), all.percent());
    }

    /** As many labs as fit, {@code from}, inclusive, {@code to}, exclusive: the rest comes in a table below. */
    private void printLabs(int from, int to) {
        var head = marks.labs().subList(from, to).stream().map(lab -> cell(lab.number(), width(lab)))
                .collect(Collectors.joining());
        out.println(("  " + cell("", nameWidth) + cell("points", POINTS) + head).stripTrailing());
        for (var student : marks.students()) {
            var labs = student.labs().subList(from, to).stream().map(lab -> cell(steps(lab), width(lab.lab())))
                    .collect(Collectors.joining());
            var points = student.mark().toString() + (student.isComplete() ? "" : " ?");
            out.println(("  " + cell(name(student), nameWidth) + cell(points, POINTS) + labs).stripTrailing());
        }
    }

    private static String name(StudentMark student) {
        var name = Escaped.line(student.student().name());
        if (columns(name) <= MOST_NAME) {
            return name;
        }
        int end = name.length();
        while (columns(name.substring(0, end)) >= MOST_NAME) {
            end = name.offsetByCodePoints(end, -1);
        }
        return name.substring(0, end) + "…";
    }

    /** How much room it takes on a terminal: East Asian letters take two columns, combining marks none. */
    private static int columns(String text) {
        return text.codePoints().map(letter -> Math.max(0, WCWidth.wcwidth(letter))).sum();
    }

    private static int width(ClassResult.Lab lab) {
        return Math.max(3, lab.steps().size());
    }

    private static String cell(String text, int width) {
        return text + " ".repeat(Math.max(0, width - columns(text))) + "  ";
    }

    private static String steps(LabMark lab) {
        return lab.steps().stream().map(step -> switch (step.standing()) {
            case PASSED -> "#";
            case PARTLY -> "+";
            case FAILED, TO_DO, NOT_RUN -> ".";
            case NOT_COMPILED -> "x";
            case MISSING -> "-";
            case SKIPPED, UNGRADED -> "?";
        }).collect(Collectors.joining());
    }

    private void printHardest() {
        var hardest = marks.hardest().stream()
                .filter(Hardness::costsPoints).limit(HARDEST).toList();
        if (marks.students().size() < 2 || hardest.isEmpty()) {
            return;
        }
        out.println("  hardest steps, with the share of their points that those have whose file was checked");
        hardest.forEach(this::print);
    }

    private void print(Hardness step) {
        out.println("    %s.%d  %-40s %5s".formatted(step.lab().number(), step.step().number(), step.step().title(),
                step.mark().percent()));
        step.mostFailed().stream().limit(1).forEach(failed -> out.println("           %d fail: %s".formatted(
                failed.getValue(), failed.getKey().title())));
    }

    private void printNotes() {
        for (var student : marks.students()) {
            Stream.concat(student.student().notes().stream(), student.ungraded().stream())
                    .forEach(note -> out.println("  " + name(student) + ": " + Escaped.line(note)));
        }
    }
}
