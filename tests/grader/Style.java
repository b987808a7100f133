package grader;

/** How this terminal may be written to: colours and overwriting only where somebody looks; everything reads well without. */
record Style(boolean colour, boolean live) {
    static Style ofTerminal() {
        boolean terminal = System.console() != null && System.console().isTerminal() && !"dumb".equals(System.getenv("TERM"));
        return new Style(terminal && System.getenv("NO_COLOR") == null, terminal);
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

    /** A line that somebody else's program printed: its control characters must not steer this terminal. */
    String plain(String line) {
        var shown = line.replaceAll("\\p{Cntrl}", "?");
        return shown.length() <= 120 ? shown : shown.substring(0, 120) + "…";
    }

    private String paint(String code, String text) {
        return colour ? "\033[" + code + "m" + text + "\033[0m" : text;
    }
}
