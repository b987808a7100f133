package grader.workbook;

import module java.base;

/**
 * Nobody's wrong answer: the workbook or the machine has to be repaired first. Ends a command with status 2 and its
 * message.
 */
public final class CannotCheck extends RuntimeException {
    private static final long serialVersionUID = 1;

    public CannotCheck(String message) {
        super(message);
    }

    public CannotCheck(String message, Throwable cause) {
        super(message, cause);
    }

    /** What a person is told of a failure that is not the learner's. */
    public static String sentence(Throwable failure) {
        return switch (failure) {
            case CannotCheck told -> told.getMessage();
            case AccessDeniedException file -> file.getFile() + " may not be read or written: "
                    + "look at the permissions of the file and its folder";
            case NoSuchFileException file -> file.getFile() + " is not there";
            case FileSystemException file -> file.getFile() + " cannot be read or written: "
                    + Objects.requireNonNullElse(file.getReason(), "it is there already");
            case UncheckedIOException wrapped -> sentence(wrapped.getCause());
            case IOException read -> "a file could not be read or written: " + read.getMessage();
            case OutOfMemoryError full -> "the grader has run out of memory (" + full.getMessage() + ")";
            default -> "the grader itself failed: " + failure;
        };
    }
}
