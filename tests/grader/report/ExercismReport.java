package grader.report;

import module java.base;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.ObjectMapper;
import grader.check.Verdict;
import grader.check.Verdict.Status;
import grader.check.Verdict.TestResult;
import grader.grade.ClassResult.State;

/** The result of one lab in the shape of Exercism's test runner interface, version 3: a step is a task. */
public final class ExercismReport {
    private static final int MOST_OUTPUT = 500;
    private static final int MOST_MESSAGE = 65_535;
    private static final String CUT = "\nOutput was truncated. Please limit to 500 chars";
    private static final String NOT_RUN = "not run: a step before it is not passed";

    @JsonInclude(JsonInclude.Include.NON_NULL)
    private record Report(int version, String status, String message, List<Test> tests) {
        static Report error(String message) {
            return new Report(3, "error", message.substring(0, Math.min(MOST_MESSAGE, message.length())), null);
        }
    }

    @JsonInclude(JsonInclude.Include.NON_NULL)
    private record Test(String name, String status, String message, String output,
                        @JsonProperty("task_id") int taskId) {}

    private ExercismReport() {}

    public static String of(Verdict verdict) throws IOException {
        return json(report(verdict));
    }

    /** For the student: of a private check no more than its title. */
    static String of(Marks.LabMark lab) throws IOException {
        return json(report(lab));
    }

    private static String json(Report report) throws IOException {
        return new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(report);
    }

    private static Report report(Verdict verdict) {
        if (!verdict.findings().isEmpty()) {
            return Report.error(verdict.findings().stream()
                    .map(each -> each.file() + ":" + each.line() + ": " + each.message())
                    .collect(Collectors.joining("\n")));
        }
        var tests = verdict.steps().stream().flatMap(step -> step.tests().stream())
                .map(result -> test(result, verdict)).toList();
        return new Report(3, verdict.passed() ? "pass" : "fail", null, tests);
    }

    private static Test test(TestResult result, Verdict verdict) {
        boolean passed = result.status() == Status.PASS || result.status() == Status.SKIPPED;
        return new Test(result.test().title(), passed ? "pass" : result.status() == Status.FAIL ? "fail" : "error",
                passed ? null : message(result, verdict), output(result.output()), result.test().step());
    }

    private static String message(TestResult result, Verdict verdict) {
        return switch (result.status()) {
            case TODO -> verdict.submission().todo(result.test().step())
                    .map(todo -> "to do: " + todo.text()).orElse("to do");
            case NOT_RUN -> NOT_RUN;
            default -> (result.message() + "\n" + result.place()).stripTrailing();
        };
    }

    private static Report report(Marks.LabMark lab) {
        if (lab.state() != State.GRADED) {
            return Report.error(StudentText.why(lab));
        }
        var tests = lab.steps().stream().flatMap(step -> step.checks().stream()
                .map(check -> test(check, step.step().number()))).toList();
        boolean passed = tests.stream().allMatch(test -> test.status().equals("pass"));
        return new Report(3, passed ? "pass" : "fail", null, tests);
    }

    private static Test test(Marks.CheckMark mark, int step) {
        var status = switch (mark.outcome()) {
            case PASS, SKIPPED -> "pass";
            case FAIL -> "fail";
            case TODO, NOT_RUN -> "error";
        };
        var shown = StudentText.shown(mark);
        return new Test(mark.check().title(), status, status.equals("pass") ? null : StudentText.message(mark),
                shown.map(result -> output(result.output())).orElse(null), step);
    }

    private static String output(String printed) {
        if (printed.isEmpty()) {
            return null;
        }
        return printed.length() <= MOST_OUTPUT ? printed : printed.substring(0, MOST_OUTPUT - CUT.length()) + CUT;
    }
}
