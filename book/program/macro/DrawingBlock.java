package program.macro;

import module java.base;

import org.asciidoctor.ast.StructuralNode;
import org.asciidoctor.extension.BlockProcessor;
import org.asciidoctor.extension.Contexts;
import org.asciidoctor.extension.Reader;
import program.draw.Drawing;
import program.draw.Line;
import program.draw.Malformed;
import program.read.Reading;

/** The block around a drawing: reads the lines, insists on {@code alt}, reports what is malformed. */
public final class DrawingBlock extends BlockProcessor {
    private final Drawing drawing;
    private final Reading reading;

    public DrawingBlock(String name, Drawing drawing, Reading reading) {
        super(name, new HashMap<>(Map.of(Contexts.KEY, List.of(Contexts.LITERAL, Contexts.LISTING))));
        this.drawing = drawing;
        this.reading = reading;
    }

    @Override
    public Object process(StructuralNode parent, Reader reader, Map<String, Object> attributes) {
        int first = reader.getLineNumber();
        List<String> texts = reader.readLines();
        List<Line> lines = new ArrayList<>();
        for (int i = 0; i < texts.size(); i++) {
            if (!texts.get(i).isBlank()) {
                lines.add(new Line(first + i, texts.get(i).strip()));
            }
        }
        String alt = Objects.toString(attributes.get("alt"), "").strip();
        if (alt.isEmpty()) {
            reading.problem(first, "[" + getName() + "] without alt: say in words what the drawing shows");
        }
        Object title = attributes.remove("title");
        String caption = title == null ? "" : "<figcaption>"
                + createBlock(parent, "paragraph", title.toString()).getContent() + "</figcaption>";
        return createBlock(parent, "pass", "<figure class='drawing %s'><div class='scroll'>%s</div>%s</figure>"
                .formatted(getName(), svg(lines, first, attributes, alt), caption));
    }

    private String svg(List<Line> lines, int first, Map<String, Object> attributes, String alt) {
        try {
            if (lines.isEmpty()) {
                throw new Malformed(new Line(first, ""), "nothing to draw");
            }
            return drawing.draw(lines, attributes).element(alt);
        } catch (Malformed e) {
            reading.problem(e.line().number(), "[" + getName() + "] " + e.getMessage() + ": " + e.line().text());
            return "";
        }
    }
}
