package grader.show;

/**
 * How this terminal may be written to: colours and overwriting only where somebody looks; everything reads well
 * without.
 */
record TerminalStyle(boolean colour, boolean live) {
    private static final int LONGEST = 120;

    static TerminalStyle ofTerminal() {
        boolean terminal = System.console() != null && System.console().isTerminal()
                && !"dumb".equals(System.getenv("TERM"));
        return new TerminalStyle(terminal && System.getenv("NO_COLOR") == null, terminal);
    }

    String red(String text) {
        return paint("31", text);
    }

    String green(String text) {
        return paint("32", text);
    }

    String yellow(String text) {
        return paint("33", text);
    }

    String bold(String text) {
        return paint("1", text);
    }

    String faint(String text) {
        return paint("2", text);
    }

    /** A line of somebody else's program, which may be as long as it likes. */
    static String cut(String line) {
        return line.length() <= LONGEST ? line : line.substring(0, LONGEST) + "…";
    }

    private String paint(String code, String text) {
        return colour ? "\033[" + code + "m" + text + "\033[0m" : text;
    }
}
