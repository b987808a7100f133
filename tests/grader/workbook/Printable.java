package grader.workbook;

import module java.base;

/** Text of somebody else's program, made harmless for a terminal: control characters are shown, not sent. */
public final class Printable {
    private Printable() {}

    /**
     * Keeps line ends and tabs; shows other controls as {@code ^[}, and what would turn the direction of text as
     * {@code &#92;u202e}.
     */
    public static String of(String text) {
        if (text.chars().allMatch(Printable::isHarmless)) {
            return text;
        }
        var shown = new StringBuilder();
        for (char c : text.toCharArray()) {
            if (isHarmless(c)) {
                shown.append(c);
            } else if (c < ' ') {
                shown.append('^').append((char) (c + '@'));
            } else {
                shown.append("\\u%04x".formatted((int) c));
            }
        }
        return shown.toString();
    }

    private static boolean isHarmless(int c) {
        return c == '\n' || c == '\t' || c >= ' ' && c < 0x7f || c > 0x9f && !turnsDirection(c);
    }

    /** Marks, embeddings, overrides and isolates of the bidirectional algorithm (UAX 9). */
    private static boolean turnsDirection(int c) {
        return c == 0x61c || c == 0x200e || c == 0x200f || c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069;
    }
}
