package kit;

import java.time.Duration;

/**
 * How long a single wait may take: a bound that only a hang reaches, 10 s unless whoever runs the tests has
 * {@link #set} another one. When a wait has run out, the step has failed, and the rest of it waits 2 s at most.
 */
public final class Patience {

    private static final int WORN = 2_000;

    private static volatile int full = 10_000;
    private static volatile int step;
    private static volatile boolean ranOut;

    private Patience() {}

    /** For the runner of the tests: the bound from now on. */
    public static void set(Duration patience) {
        full = Math.toIntExact(patience.toMillis());
    }

    /** The bound of the next wait, in milliseconds. */
    public static int millis() {
        return ranOut ? Math.min(full, WORN) : full;
    }

    /** The bound of the next wait. */
    public static Duration duration() {
        return Duration.ofMillis(millis());
    }

    /** For messages: "10 s", "0.5 s". */
    public static String text() {
        return millis() % 1000 == 0 ? millis() / 1000 + " s" : millis() / 1000.0 + " s";
    }

    /** True when a wait of this step has run out already. */
    static boolean isWorn() {
        return ranOut;
    }

    /** To be called after a wait that took all the patience, and after its message was written. */
    static void ranOut() {
        ranOut = true;
    }

    /** A new step starts with full patience. */
    static void beginStep(int number) {
        if (number != step) {
            step = number;
            ranOut = false;
        }
    }
}
