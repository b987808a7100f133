package grader.report;

import module java.base;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.ObjectMapper;
import grader.grade.ClassResult.State;
import grader.report.Marks.LabMark;
import grader.report.Marks.StepMark;
import grader.report.Marks.StudentMark;

/**
 * One submission as Gradescope's {@code results.json}: a test for each step. The student sees all of it, so that it
 * shows no more than the titles of private checks.
 */
final class GradescopeReport {
    @JsonInclude(JsonInclude.Include.NON_NULL)
    private record Result(@JsonProperty("execution_time") double executionTime, String output,
                          @JsonProperty("output_format") String outputFormat, String visibility,
                          @JsonProperty("stdout_visibility") String stdoutVisibility, List<Test> tests) {}

    /** Without a score where the machine could check nothing of the step. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    private record Test(Double score, @JsonProperty("max_score") Double maxScore, String status, String name,
                        String number, String output, @JsonProperty("output_format") String outputFormat,
                        List<String> tags) {}

    private GradescopeReport() {}

    static String of(StudentMark student) throws IOException {
        var tests = student.labs().stream().flatMap(lab -> lab.steps().stream().map(step -> test(lab, step))).toList();
        long millis = student.labs().stream().mapToLong(lab -> lab.result().millis()).sum();
        return new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(new Result(millis / 1000.0,
                "%s points".formatted(student.mark()), "text", "visible", "hidden", tests));
    }

    private static Test test(LabMark lab, StepMark step) {
        boolean counts = step.mark().of() > 0;
        var output = lab.state() == State.GRADED ? StudentText.of(step) : StudentText.why(lab) + "\n";
        return new Test(counts ? rounded(step.mark().points()) : null, counts ? step.mark().of() : null,
                step.standing() == Standing.PASSED || step.standing() == Standing.SKIPPED ? "passed" : "failed",
                step.step().title(), lab.lab().number() + "." + step.step().number(), output, "text",
                List.of(lab.lab().slug(), step.step().further() ? "further" : "core"));
    }

    private static double rounded(double points) {
        return BigDecimal.valueOf(points).setScale(4, RoundingMode.HALF_UP).doubleValue();
    }
}
