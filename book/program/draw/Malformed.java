package program.draw;

import module java.base;

/** A line of a drawing that says nothing; becomes an error of the book with file and line. */
public final class Malformed extends Exception {
    private static final long serialVersionUID = 1;

    private final transient Line line;

    public Malformed(Line line, String message) {
        super(message);
        this.line = line;
    }

    public Line line() {
        return line;
    }
}
