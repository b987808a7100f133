package grader.report;

import module java.base;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.ObjectMapper;
import grader.report.Marks.LabMark;
import grader.report.Marks.StepMark;
import grader.report.Marks.StudentMark;

/**
 * One submission as Classroom 50's {@code result.json}, of the schema {@code classroom50/result/v1}: a test for each
 * step. Scores are whole numbers there: where a check is not worth a whole number of points, they count hundredths.
 */
final class Classroom50Report {
    private static final int LONGEST_NAME = 100;   // bytes

    private record Result(String schema, String classroom, String assignment, String submission, String commit,
                          String release, String review, String datetime, long score,
                          @JsonProperty("max-score") long maxScore, List<Test> tests) {}

    private record Test(@JsonProperty("test-name") String name, boolean passed, long score,
                        @JsonProperty("max-score") long maxScore) {}

    private Classroom50Report() {}

    /** @param environment where Classroom 50's runner says whose submission it is */
    static String of(StudentMark student, Map<String, String> environment, Instant began) throws IOException {
        int unit = student.steps().allMatch(Classroom50Report::isWhole) ? 1 : 100;
        var tests = student.labs().stream()
                .flatMap(lab -> lab.steps().stream().map(step -> test(lab, step, unit))).toList();
        var commit = environment.getOrDefault("COMMIT_URL", "");
        return new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(new Result(
                "classroom50/result/v1", environment.getOrDefault("CLASSROOM", ""),
                environment.getOrDefault("ASSIGNMENT", ""), environment.getOrDefault("SUBMISSION_TAG", ""), commit,
                environment.getOrDefault("RELEASE_URL", ""), environment.getOrDefault("REVIEW_URL", commit),
                began.truncatedTo(ChronoUnit.SECONDS).toString(), tests.stream().mapToLong(Test::score).sum(),
                tests.stream().mapToLong(Test::maxScore).sum(), tests));
    }

    /** The same for all students: it does not depend on what somebody earned. */
    private static boolean isWhole(StepMark step) {
        return step.step().points() % step.step().checks().size() == 0;
    }

    private static Test test(LabMark lab, StepMark step, int unit) {
        var name = "%s.%d %s".formatted(lab.lab().number(), step.step().number(), step.step().title());
        return new Test(cut(name), step.standing() == Standing.PASSED, Math.round(step.mark().points() * unit),
                Math.round(step.mark().of() * unit));
    }

    private static String cut(String name) {
        var shorter = name;
        while (shorter.getBytes(StandardCharsets.UTF_8).length > LONGEST_NAME) {
            shorter = shorter.substring(0, shorter.offsetByCodePoints(shorter.length(), -1));
        }
        return shorter;
    }
}
