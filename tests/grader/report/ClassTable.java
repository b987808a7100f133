package grader.report;

import module java.base;

import grader.grade.ClassResult;
import grader.grade.ClassResult.Mark;
import grader.report.Marks.Hardness;
import grader.report.Marks.LabMark;
import grader.report.Marks.StudentMark;
import grader.show.StepTree;

/** A class on a terminal: a line a student, then where most of them are stuck, then what the teacher should know. */
public final class ClassTable {
    private static final int WIDTH = 98;
    private static final int MOST_NAME = 28;
    private static final int HARDEST = 5;
    private static final String LEGEND =
            "# step passed   + partly   . not passed   x does not compile   - no file   ? not graded";

    private final Marks marks;
    private final PrintStream out;
    private final int nameWidth;
    private final boolean hasRoomForSteps;

    private ClassTable(Marks marks, PrintStream out) {
        this.marks = marks;
        this.out = out;
        nameWidth = marks.students().stream().mapToInt(each -> name(each).length()).max().orElse(0);
        hasRoomForSteps = nameWidth + 24 + marks.labs().stream().mapToInt(ClassTable::stepsWidth).sum() <= WIDTH;
    }

    public static void print(ClassResult result, PrintStream out) {
        new ClassTable(Marks.of(result), out).print();
        out.flush();
    }

    private void print() {
        var head = marks.labs().stream().map(lab -> cell(lab.number(), width(lab))).collect(Collectors.joining());
        out.println(("  " + cell("", nameWidth) + cell("points", 16) + head).stripTrailing());
        marks.students().forEach(this::print);
        if (hasRoomForSteps) {
            out.println("  " + LEGEND);
        }
        printHardest();
        printNotes();
        var all = Mark.sum(marks.students().stream().map(StudentMark::mark));
        out.printf("  %s, %s of all points%n", StepTree.count(marks.students().size(), "student"), all.percent());
    }

    private void print(StudentMark student) {
        var labs = student.labs().stream().map(lab -> cell(hasRoomForSteps ? steps(lab) : shortly(lab),
                width(lab.lab()))).collect(Collectors.joining());
        var points = student.mark().toString() + (student.isComplete() ? "" : " ?");
        out.println(("  " + cell(name(student), nameWidth) + cell(points, 16) + labs).stripTrailing());
    }

    private static String name(StudentMark student) {
        var name = Escaped.line(student.student().name());
        return name.length() <= MOST_NAME ? name : name.substring(0, MOST_NAME - 1) + "…";
    }

    private int width(ClassResult.Lab lab) {
        return hasRoomForSteps ? stepsWidth(lab) - 2 : 3;
    }

    private static int stepsWidth(ClassResult.Lab lab) {
        return Math.max(3, lab.steps().size()) + 2;
    }

    private static String cell(String text, int width) {
        return text + " ".repeat(Math.max(0, width - text.length())) + "  ";
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

    private static String shortly(LabMark lab) {
        long passed = lab.steps().stream().filter(step -> step.standing() == Standing.PASSED).count();
        return switch (lab.state()) {
            case GRADED -> passed + "/" + lab.steps().size();
            case NOT_COMPILED -> "x";
            case MISSING -> "-";
            case UNGRADED -> "?";
        };
    }

    private void printHardest() {
        var hardest = marks.hardest().stream()
                .filter(Hardness::costsPoints).limit(HARDEST).toList();
        if (marks.students().size() < 2 || hardest.isEmpty()) {
            return;
        }
        out.println("  hardest steps, with the share of their points that the class has");
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
