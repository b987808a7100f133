package program.draw;

import module java.base;

/** Text in, SVG out; the colours are the page's. */
public interface Drawing {
    Svg draw(List<Line> lines, Map<String, Object> attributes) throws Malformed;
}
