package program.macro;

import module java.base;

/** Java that was written in one line, laid out again: a statement a line, blocks indented, long lines broken. */
final class OneLiner {
    private static final int WIDEST = 76;
    private static final String INDENT = "    ";
    private static final Pattern TOKEN =
            Pattern.compile("\"(?:\\\\.|[^\"\\\\])*\"|'(?:\\\\.|[^'\\\\])*'|\\{ *}|.");
    private static final Pattern SAME_LINE = Pattern.compile("[).,;]| *(?:catch|else|finally)\\b");
    private static final Pattern MAY_BREAK =
            Pattern.compile("(?<=, )|(?<= )(?=(?:\\+|&&|\\|\\||[?:]) )|(?<=\\))(?=\\.)");

    private final Deque<String> open = new ArrayDeque<>();   // brackets, the innermost first
    private final List<String> lines = new ArrayList<>();
    private final StringBuilder line = new StringBuilder();

    static String laidOut(String code) {
        var layout = new OneLiner();
        for (Matcher token = TOKEN.matcher(code); token.find(); ) {
            layout.take(token.group(), code.substring(token.end()));
        }
        layout.endLine();
        return String.join("\n", layout.lines);
    }

    private void take(String token, String rest) {
        if (token.equals("}")) {
            endLine();
            open.poll();
        }
        line.append(token.isBlank() && line.isEmpty() ? "" : token);
        boolean lineEnds = switch (token) {
            case "{" -> true;
            case "}" -> !SAME_LINE.matcher(rest).lookingAt();
            case ";" -> !"(".equals(open.peek());
            default -> false;
        };
        if (lineEnds) {
            endLine();
        }
        switch (token) {
            case "{" -> open.push("{");
            case "(", "[" -> open.push("(");
            case ")", "]" -> open.poll();
            default -> {}
        }
    }

    private void endLine() {
        String indent = INDENT.repeat((int) open.stream().filter("{"::equals).count());
        String text = line.isEmpty() ? "" : indent + line.toString().stripTrailing();
        line.setLength(0);
        while (text.length() > WIDEST && lastBreak(text) > 0) {
            int at = lastBreak(text);
            lines.add(text.substring(0, at).stripTrailing());
            text = indent + INDENT.repeat(2) + text.substring(at);
        }
        if (!text.isEmpty()) {
            lines.add(text);
        }
    }

    /** Where a line that is too long may end, outside of strings; 0 where nowhere. */
    private static int lastBreak(String text) {
        return MAY_BREAK.matcher(text).results().mapToInt(MatchResult::start)
                .filter(at -> at <= WIDEST && !text.substring(0, at).isBlank())
                .filter(at -> text.chars().limit(at).filter(c -> c == '"').count() % 2 == 0).max().orElse(0);
    }
}
