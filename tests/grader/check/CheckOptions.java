package grader.check;

import module java.base;

/**
 * How to check a lab.
 *
 * @param firstStep        the steps before it are left out
 * @param lastStep         the steps after it are left out
 * @param goOn             also run the steps after the first that is not passed, and those still to do
 * @param untilFirstFailed whether a step ends at its first failed test, by step
 * @param patience         how long a single wait of a test may last, by step
 * @param testTimeout      how long one test may last
 * @param wallClock        how long the whole run may last
 */
public record CheckOptions(int firstStep, int lastStep, boolean goOn, IntPredicate untilFirstFailed,
                           IntFunction<Duration> patience, Duration testTimeout, Duration wallClock) {
    private static final Duration PATIENCE = Duration.ofSeconds(10);

    /** Stops at the first step that is not passed. */
    public static final CheckOptions LEARNER = new CheckOptions(1, Integer.MAX_VALUE, false, step -> false,
            step -> PATIENCE, Duration.ofSeconds(30), Duration.ofMinutes(3));
    /** Runs every step. */
    public static final CheckOptions ALL = new CheckOptions(1, Integer.MAX_VALUE, true, step -> false,
            step -> PATIENCE, Duration.ofSeconds(60), Duration.ofMinutes(5));

    public CheckOptions withTestTimeout(Duration timeout) {
        return new CheckOptions(firstStep, lastStep, goOn, untilFirstFailed, patience, timeout, wallClock);
    }

    /** These steps alone, from {@code first} to {@code last}. */
    public CheckOptions ofSteps(int first, int last) {
        return new CheckOptions(first, last, goOn, untilFirstFailed, patience, testTimeout, wallClock);
    }

    boolean asksFor(int step) {
        return step >= firstStep && step <= lastStep;
    }
}
