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
 * @param forMarks         every check counts: those that a dying Java machine left over run in a new one; one or two
 *                         that fail in a step within 5 s run once more; and a step whose TODO is still in the file
 *                         passes as a whole or is to do
 */
public record CheckOptions(int firstStep, int lastStep, boolean goOn, IntPredicate untilFirstFailed,
                           IntFunction<Duration> patience, Duration testTimeout, Duration wallClock,
                           boolean forMarks) {
    private static final Duration PATIENCE = Duration.ofSeconds(10);

    /** Stops at the first step that is not passed. */
    public static final CheckOptions LEARNER = new CheckOptions(1, Integer.MAX_VALUE, false, step -> false,
            step -> PATIENCE, Duration.ofSeconds(30), Duration.ofMinutes(3), false);
    /** Runs every step. */
    public static final CheckOptions ALL = new CheckOptions(1, Integer.MAX_VALUE, true, step -> false,
            step -> PATIENCE, Duration.ofSeconds(60), Duration.ofMinutes(5), false);
    /** Runs every step, whatever the program does meanwhile, but for a minute at most. */
    public static final CheckOptions MARKS = new CheckOptions(1, Integer.MAX_VALUE, true, step -> false,
            step -> PATIENCE, Duration.ofSeconds(20), Duration.ofSeconds(60), true);

    public CheckOptions withTestTimeout(Duration timeout) {
        return new CheckOptions(firstStep, lastStep, goOn, untilFirstFailed, patience, timeout, wallClock, forMarks);
    }

    public CheckOptions withWallClock(Duration limit) {
        return new CheckOptions(firstStep, lastStep, goOn, untilFirstFailed, patience, testTimeout, limit, forMarks);
    }

    /** These steps alone, from {@code first} to {@code last}. */
    public CheckOptions ofSteps(int first, int last) {
        return new CheckOptions(first, last, goOn, untilFirstFailed, patience, testTimeout, wallClock, forMarks);
    }

    boolean asksFor(int step) {
        return step >= firstStep && step <= lastStep;
    }
}
