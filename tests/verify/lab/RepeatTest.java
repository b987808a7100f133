package verify.lab;

import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import grader.check.CheckListener;
import grader.check.CheckOptions;
import grader.check.Checker;
import grader.check.Submission;
import grader.check.Verdict;
import grader.workbook.Lab;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;
import verify.Selection;

/** The solution's tests again and again: one that fails by luck is a defect of the tests. */
@ParameterizedClass(name = "{0}")
@MethodSource("verify.Selection#labs")
class RepeatTest {
    @Parameter
    Lab lab;

    @TestFactory
    Stream<DynamicTest> the_solution_passes_every_time() {
        return IntStream.rangeClosed(1, Selection.repeat())
                .mapToObj(run -> DynamicTest.dynamicTest("run " + run, this::check));
    }

    private void check() throws IOException {
        try (var checker = new Checker(Selection.book())) {
            var solution = Submission.of(lab, Files.readString(lab.solution()));
            var verdict = checker.check(solution, CheckOptions.ALL, new CheckListener() {});
            assertTrue(verdict.passed(), () -> verdict.steps().stream().flatMap(step -> step.tests().stream())
                    .filter(test -> test.status() != Verdict.Status.PASS)
                    .map(test -> test.test().title() + ": " + test.message()).collect(Collectors.joining("\n")));
        }
    }
}
