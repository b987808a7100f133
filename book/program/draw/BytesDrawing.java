package program.draw;

import module java.base;

/**
 * {@code [bytes]}: bytes, with a brace under each field. A line is bytes in hex, a colon, and what they are:
 * {@code 68 65 6c 6c 6f : text}. Under each byte stands its character where it has one.
 */
public final class BytesDrawing implements Drawing {
    private static final int CELL = 38;
    private static final int PER_ROW = 16;
    private static final int ROW = 104;

    @Override
    public Svg draw(List<Line> lines, Map<String, Object> attributes) throws Malformed {
        var svg = new Svg();
        double x = 0;
        double y = 0;
        for (Line line : lines) {
            Matcher m = Pattern.compile("((?:[0-9a-fA-F]{2}\\s+)+):\\s+(.+)").matcher(line.text());
            if (!m.matches()) {
                throw new Malformed(line, "expected bytes in hex, a colon, and what they are");
            }
            String[] bytes = m.group(1).strip().split("\\s+");
            if (bytes.length > PER_ROW) {
                throw new Malformed(line, "at most " + PER_ROW + " bytes a line");
            }
            double width = Math.max(bytes.length * CELL, Svg.width(m.group(2)) + 12);
            if (x > 0 && x + width > PER_ROW * CELL + 1) {
                x = 0;
                y += ROW;
            }
            field(svg, x + (width - bytes.length * CELL) / 2, y, bytes, m.group(2));
            x += width;
        }
        return svg;
    }

    private static void field(Svg svg, double x, double y, String[] bytes, String name) {
        double width = bytes.length * CELL;
        double middle = x + width / 2;
        for (int i = 0; i < bytes.length; i++) {
            int value = Integer.parseInt(bytes[i], 16);
            svg.box("box", x + i * CELL, y, CELL, 34, 0);
            svg.text("code", x + (i + 0.5) * CELL, y + 22, bytes[i].toLowerCase(Locale.ROOT));
            svg.text("code soft", x + (i + 0.5) * CELL, y + 51, character(value));
        }
        svg.path("brace", "M%s %sq0 7 7 7H%sq7 0 7 6q0 -6 7 -6H%sq7 0 7 -7".formatted(Svg.n(x + 3), Svg.n(y + 58),
                Svg.n(middle - 7), Svg.n(x + width - 10)));
        svg.text("label", middle, y + 87, name);
    }

    private static String character(int value) {
        return switch (value) {
            case '\n' -> "\\n";
            case '\r' -> "\\r";
            case '\t' -> "\\t";
            case 0 -> "\\0";
            default -> value > 32 && value < 127 ? String.valueOf((char) value) : "";
        };
    }
}
