package verify;

import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import grader.CheckListener;
import grader.Checker;
import grader.Source;
import grader.Verdict;
import grader.Workbook;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** The solution's tests again and again: one that fails by luck is a defect of the tests. */
@ParameterizedClass(name = "{0}")
@MethodSource("verify.Scope#labs")
class RepeatTest {
    @Parameter
    Workbook.Lab lab;

    @TestFactory
    Stream<DynamicTest> the_solution_passes_every_time() {
        return IntStream.rangeClosed(1, Scope.repeat()).mapToObj(run -> DynamicTest.dynamicTest("run " + run, this::check));
    }

    private void check() throws IOException {
        try (var checker = new Checker(Scope.book())) {
            var verdict = checker.check(Source.read(lab, lab.solution()), Checker.Order.ALL, new CheckListener() {});
            assertTrue(verdict.passed(), () -> verdict.steps().stream().flatMap(step -> step.tests().stream())
                    .filter(test -> test.status() != Verdict.Status.PASS)
                    .map(test -> test.test().title() + ": " + test.message()).collect(Collectors.joining("\n")));
        }
    }
}
