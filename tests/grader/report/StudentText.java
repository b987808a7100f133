package grader.report;

import module java.base;

import grader.grade.ClassResult.CheckResult;
import grader.grade.ClassResult.Outcome;
import grader.grade.ClassResult.State;
import grader.report.Marks.CheckMark;
import grader.report.Marks.LabMark;
import grader.report.Marks.StepMark;
import grader.report.Marks.StudentMark;

/**
 * One submission as its student may see it: the step tree of all labs, with everything that failed. Of a teacher's
 * private checks it shows the title and how they ended, and no message: that could give the test away.
 */
final class StudentText {
    private static final String PRIVATE = "one of your teacher's own checks";

    private StudentText() {}

    static String of(StudentMark student) {
        var text = new StringBuilder();
        student.labs().forEach(lab -> append(lab, text));
        text.append("%s points".formatted(student.mark()));
        if (!student.isComplete()) {
            text.append("; what was not graded counts neither way");
        }
        return text.append('\n').toString();
    }

    private static void append(LabMark lab, StringBuilder text) {
        var file = lab.result().file().isEmpty() ? lab.lab().fileName() : lab.result().file();
        text.append("Lab %s  %-34s%s\n".formatted(lab.lab().number(), lab.lab().title(), file).stripTrailing())
                .append('\n');
        if (lab.state() == State.GRADED) {
            lab.steps().forEach(step -> append(step, text));
            text.append(lab.result().message().isEmpty() ? ""
                    : indented("the run ended early: " + lab.result().message(), "  "));
        } else {
            text.append(indented(why(lab), "  "));
        }
        text.append("  %s points\n\n".formatted(lab.mark()));
    }

    private static void append(StepMark step, StringBuilder text) {
        var mark = step.standing() == Standing.PASSED || step.standing() == Standing.FAILED
                || step.standing() == Standing.PARTLY
                ? "%-6s %s".formatted(step.standing().words, step.shortly()) : step.standing().words;
        text.append("  %d  %-44s %s\n".formatted(step.step().number(), step.step().title(), mark));
        text.append(indented(of(step), "     "));
    }

    /** What a step lacks: in one line where nothing of it was run, else each check that is not passed. */
    static String of(StepMark step) {
        if (step.standing() == Standing.TO_DO || step.standing() == Standing.NOT_RUN) {
            return message(step.checks().getFirst()) + "\n";
        }
        return step.checks().stream().filter(check -> check.outcome() != Outcome.PASS)
                .map(StudentText::of).collect(Collectors.joining());
    }

    private static String of(CheckMark check) {
        var output = shown(check).map(CheckResult::output).filter(text -> !text.isEmpty())
                .map(text -> "  your program printed:\n" + indented(text, "    ")).orElse("");
        return check.check().title() + "\n" + indented(message(check), "  ") + output;
    }

    private static String indented(String lines, String by) {
        return lines.lines().map(line -> (by + line).stripTrailing() + "\n").collect(Collectors.joining());
    }

    /** What may be shown of a check's end: nothing of a private one. */
    static Optional<CheckResult> shown(CheckMark check) {
        return check.check().isPrivate() ? Optional.empty() : Optional.of(check.result());
    }

    /** Why a check is not passed. */
    static String message(CheckMark check) {
        return switch (check.outcome()) {
            case PASS -> "";
            case TODO -> "to do: the TODO of this step is still in the file";
            case NOT_RUN -> "not run: the run had ended before";
            case SKIPPED -> "not checked here: " + details(check);
            case FAIL -> details(check);
        };
    }

    private static String details(CheckMark check) {
        return shown(check).map(StudentText::messageAndPlace).orElse(PRIVATE);
    }

    /** The first line keeps what it is indented by: in a history its number stands there. */
    static String messageAndPlace(CheckResult result) {
        return (result.message() + "\n" + result.place()).stripTrailing();
    }

    /** Why a whole lab has no steps to show. */
    static String why(LabMark lab) {
        var message = lab.result().message();
        return switch (lab.state()) {
            case GRADED -> message;
            case MISSING -> message.isEmpty() ? "there is no " + lab.lab().fileName() + " in the submission" : message;
            case NOT_COMPILED -> message + "\nit does not compile, so no step was checked";
            case UNGRADED -> "not graded, and not the student's fault: " + message;
        };
    }
}
