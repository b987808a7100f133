package grader;

/** Something that is nobody's wrong answer: the workbook or the machine has to be repaired. Ends a command with status 2. */
public final class Trouble extends RuntimeException {
    private static final long serialVersionUID = 1;

    Trouble(String message) {
        super(message);
    }

    Trouble(String message, Throwable cause) {
        super(message, cause);
    }
}
