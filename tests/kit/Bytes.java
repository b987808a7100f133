package kit;

import java.util.Arrays;
import java.util.HexFormat;

/** Shows bytes to people: in hex and as text, side by side. */
public final class Bytes {

    private static final int ROW = 12;

    private Bytes() {}

    /** {@code 6 bytes   68 65 6c 6c 6f 0a  |hello.|}, of many bytes the first twelve. */
    public static String shown(byte[] bytes) {
        if (bytes.length == 0) {
            return "0 bytes";
        }
        return (bytes.length == 1 ? "1 byte   " : bytes.length + " bytes   ")
                + row(bytes, 0, Math.min(ROW, bytes.length)) + (bytes.length > ROW ? " ..." : "");
    }

    /** The rows in which {@code got} first differs from {@code expected}, a caret under the first wrong byte. */
    public static String diff(byte[] expected, byte[] got) {
        int at = Arrays.mismatch(expected, got);
        int from = at - at % ROW;
        int width = Math.min(ROW, Math.max(expected.length, got.length) - from);
        int hex = 3 * (at - from);
        int text = 3 * width + 2 + (at - from);
        return """
                first difference at byte %d:
                  expected  %s
                  got       %s
                            %s""".formatted(at + 1, row(expected, from, width), row(got, from, width),
                " ".repeat(hex) + "^" + " ".repeat(text - hex - 1) + "^");
    }

    private static String row(byte[] bytes, int from, int width) {
        var row = Arrays.copyOfRange(bytes, Math.min(from, bytes.length), Math.min(bytes.length, from + width));
        var hex = HexFormat.ofDelimiter(" ").formatHex(row);
        return hex + " ".repeat(3 * width - 1 - hex.length()) + "  |" + text(row) + "|";
    }

    private static String text(byte[] bytes) {
        var text = new StringBuilder();
        for (byte b : bytes) {
            text.append(b >= ' ' && b <= '~' ? (char) b : '.');
        }
        return text.toString();
    }
}
