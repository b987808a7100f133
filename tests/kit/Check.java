package kit;

import java.util.Arrays;
import java.util.Objects;

/** Assertions that tell the history of the test and what mistake usually causes the failure. */
public final class Check {

    /** Code that may throw anything. */
    @FunctionalInterface
    public interface Code {
        void run() throws Exception;
    }

    private Check() {}

    /** @param what reads on after "expected", and ends with what was seen: "a port above 0, got 0" */
    public static void that(boolean holds, String what, String likely) {
        if (!holds) {
            throw History.fail("expected " + what, likely);
        }
    }

    /** @param what reads on after "expected" and before "to be unchanged": "what passed the relay" */
    public static void sameBytes(byte[] expected, byte[] got, String what, String likely) {
        if (!Arrays.equals(expected, got)) {
            throw History.fail("expected " + what + " to be unchanged:\n" + Bytes.diff(expected, got), likely);
        }
    }

    /** @param what reads on after "expected" and before the value: "stats().rejected()" */
    public static void equal(Object expected, Object got, String what, String likely) {
        if (!Objects.equals(expected, got)) {
            throw History.fail("expected " + what + " = " + expected + ", got " + got, likely);
        }
    }

    /** The exception of this type that the code throws. @param what names the code: "start() on a taken port" */
    public static <T extends Throwable> T fails(Class<T> type, Code code, String what, String likely) {
        var name = type.getSimpleName();
        var expected = "expected " + ("AEIOU".indexOf(name.charAt(0)) < 0 ? "a " : "an ") + name + " from " + what;
        try {
            code.run();
        } catch (Throwable thrown) {
            Todo.passOn(thrown);
            if (type.isInstance(thrown)) {
                return type.cast(thrown);
            }
            if (thrown instanceof AssertionError told) {
                throw told;   // a wait inside the code ran out, and says so better
            }
            throw History.fail(expected + ", got " + thrown, likely);
        }
        throw History.fail(expected + ", but nothing was thrown", likely);
    }

    /** A wrong argument is refused by an exception that names it: a check that is given, and may have been cut. */
    public static void named(String argument, Code code) {
        var expected = "expected an exception that names " + argument;
        try {
            code.run();
        } catch (IllegalArgumentException | NullPointerException e) {
            that(String.valueOf(e.getMessage()).contains(argument),
                    "the exception to name " + argument + ", got " + e,
                    "leave the given checks of arguments as they are");
            return;
        } catch (Exception e) {
            Todo.passOn(e);
            throw History.fail(expected + ", got " + e, "check the arguments first");
        }
        throw History.fail(expected + ", but nothing was thrown", "check the arguments first");
    }
}
