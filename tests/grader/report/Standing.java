package grader.report;

/** How a step of a submission stands, as reports show it. */
enum Standing {
    PASSED("pass"),
    /** Some of its checks passed. */
    PARTLY("partly"),
    FAILED("FAIL"),
    /** Its TODO is still in the file, and nothing of it passes. */
    TO_DO("to do"),
    /** The program had ended before. */
    NOT_RUN("not run"),
    /** Each of its checks needs something that the machine lacks. */
    SKIPPED("skipped"),
    NOT_COMPILED("not compiled"),
    MISSING("no file"),
    /** The machine is the cause, or it has not been its turn. */
    UNGRADED("not graded");

    /** For people who read. */
    final String words;
    Standing(String words) {
        this.words = words;
    }

    /** Whether it says anything about the student. */
    boolean isGraded() {
        return this != SKIPPED && this != UNGRADED;
    }
}
