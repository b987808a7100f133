package grader.runner;

import module java.base;

import org.opentest4j.TestAbortedException;

/** Failures in a learner's words: no class of a framework, no frame but the learner's own. */
public final class FailureText {
    private static final int MOST_FRAMES = 3;
    private static final int MOST_CHARACTERS = 8_000;

    private FailureText() {}

    public static String message(Throwable failure) {
        var text = failure == null ? "" : words(root(failure));
        return text.length() <= MOST_CHARACTERS ? text : text.substring(0, MOST_CHARACTERS) + "\n(and more)";
    }

    /**
     * Of a failure that JUnit has wrapped, the one inside: the learner's file does not fit, or the machine's limits
     * were met. A test that throws such an error on purpose says so in the error's message.
     */
    private static Throwable root(Throwable failure) {
        return Stream.iterate(failure, Objects::nonNull, Throwable::getCause).limit(10)
                .filter(cause -> cause instanceof LinkageError || cause instanceof VirtualMachineError)
                .filter(cause -> !String.valueOf(cause.getMessage()).endsWith("(the test says so)"))
                .findFirst().orElse(failure);
    }

    private static String words(Throwable failure) {
        return switch (failure) {
            case AssertionError e ->
                    Objects.requireNonNullElse(e.getMessage(), "an assertion failed").replace(" ==> ", "\n");
            case UnsupportedOperationException e when isTodo(e) -> e.getMessage();
            case TestAbortedException e -> String.valueOf(e.getMessage()).replaceFirst("^Assumption failed: ", "");
            case TimeoutException e -> "the test did not come to its end\n"
                    + "likely: something waits for what never comes, or loops for ever";
            case NoSuchMethodError e -> "your file no longer has the method " + e.getMessage().replace("'", "")
                    + "\nlikely: a signature of the skeleton was changed";
            case NoSuchFieldError e -> "your file no longer has the field " + e.getMessage();
            case NoClassDefFoundError e -> "your file no longer has the type " + e.getMessage();
            case ExceptionInInitializerError e when e.getCause() != null ->
                    "a static initialiser failed: " + e.getCause();
            case LinkageError e -> "your file no longer fits the tests: " + e.getMessage();
            case StackOverflowError e -> "the stack overflowed\nlikely: a method calls itself without an end";
            case OutOfMemoryError e -> "the memory is used up (" + e.getMessage() + ")\n"
                    + "likely: something is kept that grows with what the peer sends";
            default -> "unexpected " + failure.getClass().getSimpleName()
                    + (failure.getMessage() == null ? "" : ": " + failure.getMessage());
        };
    }

    static boolean isTodo(Throwable failure) {
        return failure instanceof UnsupportedOperationException
                && String.valueOf(failure.getMessage()).startsWith("TODO step ");
    }

    /** Where in the learner's file, by the failure or by what caused it, innermost call first. */
    static String place(Throwable failure, String file) {
        var seen = Collections.<Throwable>newSetFromMap(new IdentityHashMap<>());
        var open = new ArrayDeque<Throwable>();
        for (var next = failure; next != null && seen.add(next); next = open.poll()) {
            var frames = Arrays.stream(next.getStackTrace())
                    .filter(frame -> file.equals(frame.getFileName())).distinct().limit(MOST_FRAMES)
                    .map(frame -> "at " + file + ":" + frame.getLineNumber() + " (" + method(frame) + ")")
                    .collect(Collectors.joining("\n"));
            if (!frames.isEmpty()) {
                return frames;
            }
            Stream.concat(Stream.ofNullable(next.getCause()), Arrays.stream(next.getSuppressed())).forEach(open::add);
        }
        return "";
    }

    private static String method(StackTraceElement frame) {
        var lambda = frame.getMethodName().split("\\$");
        return frame.getMethodName().startsWith("lambda$") ? lambda[1] : frame.getMethodName();
    }
}
