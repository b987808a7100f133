package program.draw;

import module java.base;

/**
 * {@code [flow]}: boxes and arrows, {@code direction=right} (columns) or {@code direction=down} (rows). A line is
 * {@code box -> box: label -> box: label}; {@code -->} is a dashed arrow, {@code <->} one both ways.
 * {@code (name)} is round: a start, an end, an event; {@code !name} is where it goes wrong.
 * {@code group NAME: box, box} is a frame around boxes.
 *
 * <p>A box stands one layer after the last of those that lead to it; within a layer, in order of first mention. An
 * arrow over several layers takes a place of its own in each; an arrow back goes around everything.
 */
public final class FlowDrawing implements Drawing {
    @Override
    public Svg draw(List<Line> lines, Map<String, Object> attributes) throws Malformed {
        String direction = Objects.toString(attributes.get("direction"), "right");
        if (!direction.matches("right|down")) {
            throw new Malformed(lines.getFirst(), "direction=" + direction + " is neither right nor down");
        }
        var plan = new FlowPlan(direction.equals("down"));
        for (Line line : lines) {
            plan.read(line);
        }
        plan.layers();
        plan.place();
        return plan.paint();
    }
}
