package grader.report;

import module java.base;

import grader.grade.ClassResult.CheckResult;
import grader.grade.ClassResult.Mark;
import grader.grade.ClassResult.Outcome;
import grader.grade.ClassResult.State;
import grader.report.Marks.CheckMark;
import grader.report.Marks.LabMark;
import grader.report.Marks.StepMark;
import grader.report.Marks.StudentMark;

/**
 * One submission as JUnit XML, which most CI servers read: a suite a lab, a test case a check. There is no one
 * definition of the format; this keeps to what the schemas of Ant's task and of Jenkins both allow. Of a private check
 * it shows no message.
 */
final class JUnitXml {
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss");

    private JUnitXml() {}

    static String of(StudentMark student, Instant began) {
        var suites = new StringBuilder();
        for (int i = 0; i < student.labs().size(); i++) {
            suites.append(suite(student.labs().get(i), i, began));
        }
        return """
                <?xml version="1.0" encoding="UTF-8"?>
                <testsuites>
                %s</testsuites>
                """.formatted(suites);
    }

    private static String suite(LabMark lab, int id, Instant began) {
        var cases = lab.steps().stream()
                .flatMap(step -> step.checks().stream().map(check -> testCase(lab, step, check)))
                .collect(Collectors.joining());
        var kinds = lab.steps().stream().flatMap(step -> step.checks().stream())
                .collect(Collectors.groupingBy(check -> kind(lab, check), Collectors.counting()));
        return """
                <testsuite id="%d" package="%s" name="%s" timestamp="%s" hostname="localhost" tests="%d" failures="%d" \
                errors="%d" skipped="%d" time="%s">
                <properties><property name="points" value="%s"/><property name="of" value="%s"/></properties>
                %s<system-out>%s</system-out>
                <system-err>%s</system-err>
                </testsuite>
                """.formatted(id, Escaped.xml(lab.lab().slug()),
                Escaped.xml(lab.lab().number() + " " + lab.lab().title()), TIME.format(began.atOffset(ZoneOffset.UTC)),
                kinds.values().stream().mapToLong(Long::longValue).sum(),
                kinds.getOrDefault("failure", 0L), kinds.getOrDefault("error", 0L), kinds.getOrDefault("skipped", 0L),
                seconds(lab.result().millis()), Mark.number(lab.mark().points()), Mark.number(lab.mark().of()), cases,
                Escaped.xml(output(lab)), Escaped.xml(lab.state() == State.GRADED ? lab.result().message() : ""));
    }

    private static String testCase(LabMark lab, StepMark step, CheckMark check) {
        var head = "<testcase name=\"%s\" classname=\"%s\" time=\"%s\"".formatted(
                Escaped.xml(Escaped.line(check.check().title())),
                Escaped.xml(lab.lab().slug() + ".step-" + step.step().number()),
                seconds(check.result().millis()));
        var why = Escaped.xml(why(lab, check));
        var inside = switch (kind(lab, check)) {
            case "failure" -> "<failure type=\"%s\" message=\"%s\">%s</failure>".formatted(
                    check.outcome(), Escaped.xml(firstLine(why(lab, check))), why);
            case "error" -> "<error type=\"ungraded\" message=\"%s\">%s</error>".formatted(
                    Escaped.xml(firstLine(why(lab, check))), why);
            case "skipped" -> "<skipped>" + why + "</skipped>";
            default -> "";
        };
        return inside.isEmpty() ? head + "/>\n" : head + ">" + inside + "</testcase>\n";
    }

    /** The element inside the test case; or {@code passed}, for which there is none. */
    private static String kind(LabMark lab, CheckMark check) {
        if (lab.state() == State.UNGRADED) {
            return "error";
        }
        return switch (check.outcome()) {
            case PASS -> "passed";
            case SKIPPED -> "skipped";
            case FAIL, TODO, NOT_RUN -> "failure";
        };
    }

    private static String why(LabMark lab, CheckMark check) {
        return lab.state() == State.GRADED ? StudentText.message(check) : StudentText.why(lab);
    }

    private static String firstLine(String message) {
        return message.lines().findFirst().orElse("");
    }

    /** What the checks printed, with their titles: the formats agree on no place for it inside a test case. */
    private static String output(LabMark lab) {
        return lab.steps().stream().flatMap(step -> step.checks().stream())
                .filter(check -> check.outcome() != Outcome.PASS)
                .flatMap(check -> StudentText.shown(check).map(CheckResult::output).filter(text -> !text.isEmpty())
                        .map(text -> "---- " + check.check().title() + "\n" + text.stripTrailing() + "\n").stream())
                .collect(Collectors.joining());
    }

    private static String seconds(long millis) {
        return BigDecimal.valueOf(millis, 3).toPlainString();
    }
}
