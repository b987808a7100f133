package program.draw;

import static program.html.Html.escape;

import module java.base;

/** SVG elements and the space that they take. */
public final class Svg {
    private final StringBuilder elements = new StringBuilder();
    private double left = Double.MAX_VALUE;
    private double top = Double.MAX_VALUE;
    private double right = -Double.MAX_VALUE;
    private double bottom = -Double.MAX_VALUE;

    void box(String classes, double x, double y, double width, double height, double radius) {
        elements.append("<rect class='%s' x='%s' y='%s' width='%s' height='%s' rx='%s'/>".formatted(
                classes, n(x), n(y), n(width), n(height), n(radius)));
        covers(x, y);
        covers(x + width, y + height);
    }

    void path(String classes, String d) {
        elements.append("<path class='%s' d='%s'/>".formatted(classes, d));
    }

    void line(String classes, double x1, double y1, double x2, double y2) {
        path(classes, "M%s %sL%s %s".formatted(n(x1), n(y1), n(x2), n(y2)));
        covers(x1, y1);
        covers(x2, y2);
    }

    /** A small triangle whose tip is at x, y; the angle 0 points right, 90 down. */
    void arrowHead(double x, double y, int angle) {
        elements.append("<path class='head' d='M0 0l-9 -4.5v9z' transform='translate(%s %s) rotate(%d)'/>"
                .formatted(n(x), n(y), angle));
    }

    void text(String classes, double x, double y, String text) {
        element("text", "class='" + classes + "' x='" + n(x) + "' y='" + n(y) + "'", text);
        covers(x - width(text) / 2, y - 14);
        covers(x + width(text) / 2, y + 5);
    }

    /** A text that begins, or ends, at x. */
    void beside(double x, double y, String text, boolean ends) {
        element("text", "class='label %s' x='%s' y='%s'".formatted(ends ? "end" : "start", n(x), n(y)), text);
        covers(x + (ends ? -1 : 1) * width(text), y - 14);
        covers(x, y + 5);
    }

    void upright(double x, double y, String text) {
        element("text", "class='small' transform='translate(%s %s) rotate(-90)'".formatted(n(x), n(y)), text);
    }

    private void element(String name, String attributes, String text) {
        if (!text.isEmpty()) {
            elements.append("<%s %s>%s</%s>".formatted(name, attributes, escape(text), name));
        }
    }

    void covers(double x, double y) {
        left = Math.min(left, x);
        right = Math.max(right, x);
        top = Math.min(top, y);
        bottom = Math.max(bottom, y);
    }

    double left() {
        return left;
    }

    double top() {
        return top;
    }

    double right() {
        return right;
    }

    double bottom() {
        return bottom;
    }

    /** Draws another one's elements over these; the space that they take is for the caller to say. */
    void append(Svg other) {
        elements.append(other.elements);
    }

    /** A drawing shrinks a little where there is no room; then one scrolls. */
    public String element(String alt) {
        double width = right - left + 4;
        double height = bottom - top + 4;
        String box = Stream.of(left - 2, top - 2, width, height).map(Svg::n).collect(Collectors.joining(" "));
        String size = "width='%s' height='%s' style='min-width:%spx'".formatted(
                n(width), n(height), n(Math.min(width, Math.max(320, width * 0.72))));
        return "<svg role='img' aria-label='%s' viewBox='%s' %s>%s</svg>"
                .formatted(escape(alt), box, size, elements);
    }

    static String n(double value) {
        String text = String.format(Locale.ROOT, "%.1f", value);
        return text.endsWith(".0") ? text.substring(0, text.length() - 2) : text;
    }

    /** About the width of a text of 15 px in Source Sans. */
    static double width(String text) {
        return text.chars().mapToDouble(c -> "iljtfr.,:;'|!() ".indexOf(c) >= 0 ? 4.4
                : "mwMW".indexOf(c) >= 0 ? 12 : Character.isUpperCase(c) ? 9 : 7.6).sum();
    }

    static List<String> wrap(String text, int columns) {
        List<String> lines = new ArrayList<>(List.of(""));
        for (String word : text.split("\\s+")) {
            String last = lines.getLast();
            if (last.isEmpty() || last.length() + 1 + word.length() <= columns) {
                lines.set(lines.size() - 1, last.isEmpty() ? word : last + " " + word);
            } else {
                lines.add(word);
            }
        }
        return lines;
    }
}
