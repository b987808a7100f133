package grader.show;

import module java.base;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.ObjectMapper;
import grader.check.Verdict;
import grader.check.Verdict.Status;
import grader.check.Verdict.TestResult;

/** A verdict in the shape of Exercism's test runner interface, version 3: a step is a task. */
public final class ExercismReport {
    private static final int MOST_OUTPUT = 500;
    private static final int MOST_MESSAGE = 65_535;
    private static final String CUT = "\nOutput was truncated. Please limit to 500 chars";

    @JsonInclude(JsonInclude.Include.NON_NULL)
    private record Report(int version, String status, String message, List<Test> tests) {}

    @JsonInclude(JsonInclude.Include.NON_NULL)
    private record Test(String name, String status, String message, String output,
                        @JsonProperty("task_id") int taskId) {}

    private ExercismReport() {}

    public static String of(Verdict verdict) throws IOException {
        return new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(report(verdict));
    }

    private static Report report(Verdict verdict) {
        if (!verdict.findings().isEmpty()) {
            var words = verdict.findings().stream()
                    .map(each -> each.file() + ":" + each.line() + ": " + each.message())
                    .collect(Collectors.joining("\n"));
            return new Report(3, "error", words.substring(0, Math.min(MOST_MESSAGE, words.length())), null);
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
            case NOT_RUN -> "not run: a step before it is not passed";
            default -> (result.message() + "\n" + result.place()).strip();
        };
    }

    private static String output(String printed) {
        if (printed.isEmpty()) {
            return null;
        }
        return printed.length() <= MOST_OUTPUT ? printed : printed.substring(0, MOST_OUTPUT - CUT.length()) + CUT;
    }
}
