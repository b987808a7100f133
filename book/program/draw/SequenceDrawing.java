package program.draw;

import module java.base;

/**
 * {@code [sequence]}: who sends what, in order of time. First line: two to five participants,
 * {@code client, kernel}. Then {@code A -> B: text} a message, {@code A --> B: text} an answer (dashed),
 * {@code A -x B: text} one that is lost, {@code A: text} a note at A, {@code ... text} time passes.
 */
public final class SequenceDrawing implements Drawing {
    private static final Pattern ARROW = Pattern.compile("(.+?)\\s+(->|-->|-x)\\s+([^:]+?)\\s*(?::\\s*(.*))?");
    private static final int HEAD = 34;
    private static final int STEP = 44;

    record Event(Line line, String kind, int from, int to, String text) {}

    @Override
    public Svg draw(List<Line> lines, Map<String, Object> attributes) throws Malformed {
        List<String> names = Arrays.stream(lines.getFirst().text().split(",")).map(String::strip).toList();
        if (names.size() < 2 || names.size() > 5) {
            throw new Malformed(lines.getFirst(), "the first line names two to five participants, with commas");
        }
        List<Event> events = new ArrayList<>();
        for (Line line : lines.subList(1, lines.size())) {
            events.add(event(line, names));
        }
        double[] x = columns(names, events);
        var svg = new Svg();
        double y = HEAD + 34;
        var body = new Svg();
        for (Event event : events) {
            y = draw(body, event, x, y);
        }
        for (double column : x) {
            svg.line("life", column, HEAD, column, y - 14);
        }
        for (int i = 0; i < x.length; i++) {
            double width = Math.max(96, Svg.width(names.get(i)) + 28);
            svg.box("box strong", x[i] - width / 2, 0, width, HEAD, 3);
            svg.text("bold", x[i], HEAD / 2.0 + 5, names.get(i));
        }
        svg.append(body);
        svg.covers(body.left(), 0);
        svg.covers(body.right(), y - 14);
        return svg;
    }

    private static Event event(Line line, List<String> names) throws Malformed {
        if (line.text().startsWith("...")) {
            return new Event(line, "pause", 0, names.size() - 1, line.text().substring(3).strip());
        }
        Matcher arrow = ARROW.matcher(line.text());
        if (arrow.matches()) {
            int from = participant(line, names, arrow.group(1));
            int to = participant(line, names, arrow.group(3));
            if (from == to) {
                throw new Malformed(line, "an arrow to itself; write a note: " + names.get(from) + ": text");
            }
            return new Event(line, arrow.group(2), from, to, Objects.requireNonNullElse(arrow.group(4), ""));
        }
        int colon = line.text().indexOf(':');
        if (colon < 0) {
            throw new Malformed(line, "expected A -> B: text, A --> B: text, A -x B: text, A: text or ... text");
        }
        int at = participant(line, names, line.text().substring(0, colon));
        return new Event(line, "note", at, at, line.text().substring(colon + 1).strip());
    }

    private static int participant(Line line, List<String> names, String name) throws Malformed {
        int at = names.indexOf(name.strip());
        if (at < 0) {
            throw new Malformed(line, "«" + name.strip() + "» is not one of " + names);
        }
        return at;
    }

    /** Neighbours stand so far apart that the longest text between them fits. */
    private static double[] columns(List<String> names, List<Event> events) {
        double[] gap = new double[names.size()];
        Arrays.fill(gap, 150);
        for (Event e : events) {
            int low = Math.min(e.from(), e.to());
            int span = Math.abs(e.to() - e.from());
            for (int i = low; span > 0 && !e.kind().equals("pause") && i < low + span; i++) {
                gap[i + 1] = Math.max(gap[i + 1], (Svg.width(e.text()) + 36) / span);
            }
        }
        double[] x = new double[names.size()];
        for (int i = 1; i < x.length; i++) {
            x[i] = x[i - 1] + gap[i];
        }
        return x;
    }

    /** Draws one event and returns where the next one goes. */
    private static double draw(Svg svg, Event event, double[] x, double y) {
        double from = x[event.from()];
        double to = x[event.to()];
        switch (event.kind()) {
            case "pause" -> {
                svg.line("pause", from - 40, y - 4, to + 40, y - 4);
                svg.text("label soft", (from + to) / 2, y + 1, event.text());
            }
            case "note" -> {
                List<String> lines = Svg.wrap(event.text(), 34);
                double width = lines.stream().mapToDouble(Svg::width).max().orElse(0) + 24;
                svg.box("box note", from - width / 2, y - 20, width, 20 * lines.size() + 10, 3);
                for (int i = 0; i < lines.size(); i++) {
                    svg.text("", from, y + 20 * i, lines.get(i));
                }
                return y + 20 * lines.size() + 26;
            }
            default -> arrow(svg, event, from, to, y);
        }
        return y + STEP;
    }

    private static void arrow(Svg svg, Event event, double from, double to, double y) {
        int direction = to > from ? 1 : -1;
        boolean lost = event.kind().equals("-x");
        double end = lost ? from + (to - from) * 0.72 : to - direction;
        String classes = event.kind().equals("-->") ? "arrow dashed" : "arrow";
        svg.line(classes, from, y, end - direction * (lost ? 0 : 8), y);
        if (lost) {
            svg.path("lost", "M%s %sl12 12m0 -12l-12 12".formatted(Svg.n(end - 6), Svg.n(y - 6)));
        } else {
            svg.arrowHead(end, y, direction > 0 ? 0 : 180);
        }
        svg.text("label", (from + to) / 2, y - 8, event.text());
    }
}
