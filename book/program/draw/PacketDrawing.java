package program.draw;

import module java.base;

/**
 * {@code [packet]}: a header to scale. A line is a width in bits and a name: {@code 16 source port}. A row has
 * {@code bits=32} of them; a longer field goes on in the next row. {@code * data}, only last, has any length.
 */
public final class PacketDrawing implements Drawing {
    private static final int ROW = 38;
    private static final int WIDTH = 704;

    record Field(Line line, int bits, String name, boolean open) {}

    @Override
    public Svg draw(List<Line> lines, Map<String, Object> attributes) throws Malformed {
        String bits = Objects.toString(attributes.get("bits"), "32");
        if (!bits.matches("8|16|24|32|48|64")) {
            throw new Malformed(lines.getFirst(), "bits=" + bits + " is not one of 8, 16, 24, 32, 48, 64");
        }
        int perRow = Integer.parseInt(bits);
        double cell = WIDTH / Math.max(32.0, perRow);
        var svg = new Svg();
        for (int bit = 0; bit < perRow; bit += 8) {
            svg.text("small", (bit + 0.5) * cell, -6, String.valueOf(bit));
        }
        svg.text("small", (perRow - 0.5) * cell, -6, String.valueOf(perRow - 1));
        int at = 0;
        for (Line line : lines) {
            var field = field(line, line == lines.getLast(), perRow - at % perRow);
            draw(svg, field, at, perRow, cell);
            at += field.bits();
        }
        return svg;
    }

    private static Field field(Line line, boolean last, int restOfRow) throws Malformed {
        String[] words = line.text().split("\\s+", 2);
        boolean open = words[0].equals("*") && last;
        if (words.length < 2 || !open && !words[0].matches("[1-9]\\d{0,3}")) {
            throw new Malformed(line, "expected a number of bits (or * in the last line) and a name");
        }
        return new Field(line, open ? restOfRow : Integer.parseInt(words[0]), words[1], open);
    }

    /** The pieces of a field, one a row, and the name in the widest; whole rows are one piece. */
    private static void draw(Svg svg, Field field, int start, int perRow, double cell) throws Malformed {
        double widest = 0;
        double nameX = 0;
        double nameY = 0;
        for (int at = start; at < start + field.bits(); ) {
            int left = start + field.bits() - at;
            int column = at % perRow;
            int rows = column == 0 ? Math.max(1, left / perRow) : 1;
            int columns = Math.min(left, perRow - column);
            double y = at / perRow * ROW;
            svg.box(field.open() ? "box open" : "box", column * cell, y, columns * cell, rows * ROW, 0);
            if (columns * cell > widest) {
                widest = columns * cell;
                nameX = (column + columns / 2.0) * cell;
                nameY = y + rows * ROW / 2.0 + 5;
            }
            at += rows > 1 ? rows * perRow : columns;
        }
        name(svg, field, widest, nameX, nameY);
    }

    private static void name(Svg svg, Field field, double room, double x, double y) throws Malformed {
        if (Svg.width(field.name()) <= room - 2) {
            svg.text("", x, y, field.name());
        } else if (Svg.width(field.name()) * 0.75 <= ROW - 2) {
            svg.upright(x + 4, y - 5, field.name());
        } else {
            throw new Malformed(field.line(), "the name is too long for a field of " + field.bits() + " bits");
        }
    }
}
