package grader.check;

import module java.base;

/**
 * Hears how a check goes on. The screen, reports, {@code watch} and {@code verify} are listeners of one and the same
 * check.
 */
public interface CheckListener {
    default void began(TestPlan plan, Submission submission) {}

    default void stepBegan(TestPlan.Step step) {}

    default void testBegan(Verdict.Expected test) {}

    default void testEnded(Verdict.TestResult result) {}

    default void stepEnded(Verdict.StepResult result) {}

    default void ended(Verdict verdict) {}
}
