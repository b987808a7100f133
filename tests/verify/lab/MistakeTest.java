package verify.lab;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import module java.base;

import grader.check.CheckOptions;
import grader.check.Verdict;
import grader.check.Verdict.Status;
import grader.speed.ContentCache;
import grader.workbook.Lab;
import grader.workbook.Skeleton;
import grader.workbook.Workbook;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;
import verify.Selection;

/**
 * Known wrong answers: each passes the steps before its own, and its own step rejects it with the right words. A few
 * are wrong only if two threads meet, so whatever was not told is checked a second time; {@code --mistake} with
 * {@code --repeat} wants every one of its checks to tell.
 */
@Execution(ExecutionMode.CONCURRENT)
@ParameterizedClass(name = "{0}")
@MethodSource("verify.Selection#labs")
class MistakeTest {
    private static final int FEWEST = 15;
    private static final int MOST = 30;

    @Parameter
    Lab lab;

    @Test
    void there_are_enough_mistakes_and_not_too_many() throws IOException {
        int mistakes = Mistake.of(lab).size();
        assertTrue(mistakes >= FEWEST && mistakes <= MOST, mistakes + " mistakes, not " + FEWEST + " to " + MOST);
    }

    @TestFactory
    Stream<DynamicTest> every_mistake_is_rejected_by_its_step_with_its_words() throws IOException {
        var skeleton = Skeleton.of(lab.solution());
        var solution = skeleton.withSteps(skeleton.steps());
        return Mistake.of(lab).stream().filter(mistake -> mistake.name().contains(Selection.mistake()))
                .flatMap(mistake -> Collections.nCopies(Math.max(1, Selection.repeat()), mistake).stream())
                .map(mistake -> DynamicTest.dynamicTest(
                        lab.number() + " " + mistake.name(), () -> check(mistake, solution)));
    }

    private void check(Mistake mistake, String solution) throws IOException {
        var wrong = mistake.applied(solution);
        var options = WarmChecker.expectingFailureAfter(mistake.step() - 1);
        var seen = seen(mistake, wrong);
        boolean isSeen = Files.exists(seen) && !Workbook.requiresAll();
        var own = options.ofSteps(mistake.step(), mistake.step());
        var verdict = WarmChecker.check(lab, wrong, isSeen ? own : options.ofSteps(1, mistake.step()));
        try {
            isRejected(mistake, verdict);
        } catch (AssertionError byLuck) {
            if (Selection.repeat() > 0) {   // a hunt for luck
                throw byLuck;
            }
            System.out.println("  again    " + lab.number() + " " + mistake.name() + " was not told as it should be");
            isRejected(mistake, WarmChecker.check(lab, wrong, own));
        }
        if (!isSeen) {
            earlierStepsPass(mistake, verdict);
            Files.createDirectories(seen.getParent());
            Files.writeString(seen, "");
        }
    }

    /**
     * A file that says that the steps before the mistake's own pass: what was seen once holds until patch, solution,
     * tests, kit or JDK change. Where everything is required, it is seen again.
     */
    private Path seen(Mistake mistake, String wrong) throws IOException {
        var tests = WarmChecker.own().plan(lab).folder().getFileName();   // named by the hash of kit, tests and JDK
        return Selection.book().cache().resolve("seen", ContentCache.hash(List.of(tests, mistake.step(), wrong)));
    }

    private void isRejected(Mistake mistake, Verdict verdict) {
        var story = WarmChecker.story(verdict);
        var step = verdict.steps().get(mistake.step() - 1);
        boolean isTold = mistake.isToldIn(story);
        assumeTrue(isTold || step.tests().stream().noneMatch(test -> test.status() == Status.SKIPPED),
                "a test that may tell it is skipped on this machine");
        assertEquals(Status.FAIL, step.status(),
                () -> "step " + mistake.step() + " of " + mistake.name() + "\n" + story);
        assertTrue(isTold, () -> "it should be told «" + mistake.says() + "»\n" + story);
    }

    private static void earlierStepsPass(Mistake mistake, Verdict verdict) {
        var failed = verdict.steps().stream().limit(mistake.step() - 1).filter(step -> step.status() == Status.FAIL)
                .map(step -> step.step().number()).toList();
        assertEquals(List.of(), failed, () -> "steps before " + mistake.step() + " that reject " + mistake.name() + "\n"
                + WarmChecker.story(verdict));
    }
}
