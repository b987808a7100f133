package grader.workbook;

/** Nobody's wrong answer: the workbook or the machine has to be repaired first. Ends a command with status 2 and its message. */
public final class CannotCheck extends RuntimeException {
    private static final long serialVersionUID = 1;

    public CannotCheck(String message) {
        super(message);
    }

    public CannotCheck(String message, Throwable cause) {
        super(message, cause);
    }
}
