package program.macro;

import module java.base;

import grader.workbook.Curriculum.Entry;
import grader.workbook.Hints;
import grader.workbook.Lab;
import org.asciidoctor.ast.StructuralNode;
import org.asciidoctor.extension.BlockMacroProcessor;
import program.read.Course;
import program.read.Edition;
import program.read.Reading;

/** {@code hints::401[step=2]}: three collapsed blocks, each inside the one before: nobody reads too far. */
public final class HintsMacro extends BlockMacroProcessor {
    private static final List<String> LABELS = List.of("A hint", "A stronger hint", "The strongest hint");
    private static final Pattern LISTING = Pattern.compile("(?m)(?:^ {4}.*\\R?)+");

    private final Edition edition;
    private final Course course;
    private final Reading reading;

    public HintsMacro(Edition edition, Course course, Reading reading) {
        super("hints");
        this.edition = edition;
        this.course = course;
        this.reading = reading;
    }

    @Override
    public StructuralNode process(StructuralNode parent, String target, Map<String, Object> attributes) {
        String macro = "hints::" + target + "[step=" + attributes.get("step") + "]";
        StructuralNode box = createBlock(parent, "open", List.of(), Map.of("role", "hints"));
        try {
            List<String> hints = hints(Integer.parseInt(target), Integer.parseInt("" + attributes.get("step")));
            if (hints.size() == LABELS.size()) {
                parseContent(box, nested(hints));
            } else {
                reading.problem(macro, macro + ": " + hints.size() + " hints, not three");
            }
        } catch (NumberFormatException e) {
            reading.problem("hints::" + target, macro + ": expected hints::401[step=2]");
        } catch (IOException e) {
            reading.problem(macro, macro, e);
        }
        return box;
    }

    private List<String> hints(int number, int step) throws IOException {
        Entry entry = course.lab(number)
                .orElseThrow(() -> new IOException("book/curriculum.json has no lab " + number));
        reading.file("tests/" + entry.slug() + "/hints.adoc");
        return Hints.of(new Lab(edition.workbook(), entry.slug(), entry.type())).getOrDefault(step, List.of());
    }

    private static List<String> nested(List<String> hints) {
        List<String> lines = new ArrayList<>();
        for (int i = 0; i < hints.size(); i++) {
            lines.addAll(List.of("." + LABELS.get(i), "[%collapsible]", "=".repeat(4 + i)));
            withListings(hints.get(i)).lines().forEach(lines::add);
            lines.add("");
        }
        for (int i = hints.size() - 1; i >= 0; i--) {
            lines.add("=".repeat(4 + i));
        }
        return lines;
    }

    /** A listing comes from {@link Hints} as indented lines. */
    private static String withListings(String hint) {
        return LISTING.matcher(hint).replaceAll(listing -> Matcher.quoteReplacement(
                "\n[source,java]\n----\n" + listing.group().stripIndent().stripTrailing() + "\n----\n\n"));
    }
}
