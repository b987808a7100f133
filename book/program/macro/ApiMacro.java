package program.macro;

import module java.base;

import org.asciidoctor.ast.StructuralNode;
import org.asciidoctor.extension.BlockMacroProcessor;
import program.read.Chapter;
import program.read.Edition;
import program.read.Reading;

/** {@code api::FILE[]}: read from the source by the compiler's own parser, so that it is never out of date. */
public final class ApiMacro extends BlockMacroProcessor {
    private static final Pattern MACRO = Pattern.compile("api::(.+)\\[(.*)]");

    private final Edition edition;
    private final Reading reading;
    private final Map<String, String> prepared = new HashMap<>();

    public ApiMacro(Edition edition, Reading reading) {
        super("api");
        this.edition = edition;
        this.reading = reading;
    }

    /** Reads the sources that a chapter will ask for, while Asciidoctor still starts. */
    public void prepare(Chapter chapter) {
        for (String line : chapter.lines()) {
            Matcher macro = MACRO.matcher(line);
            if (macro.matches()) {
                boolean packageToo = macro.group(2).contains("visible=package");
                try {
                    prepared.put(macro.group(1) + packageToo, html(macro.group(1), packageToo));
                } catch (IOException e) {
                    // The chapter's rendering will say so.
                }
            }
        }
    }

    private String html(String target, boolean packageToo) throws IOException {
        return new Api(edition.file(name(target)), packageToo).html();
    }

    /** A students' copy has the skeleton only: the same public members. */
    private String name(String target) {
        return Files.exists(edition.file(target)) ? target : target.replaceFirst("^solutions/", "labs/");
    }

    @Override
    public StructuralNode process(StructuralNode parent, String target, Map<String, Object> attributes) {
        reading.file(target);
        reading.file(name(target));
        boolean packageToo = "package".equals(attributes.get("visible"));
        try {
            String known = prepared.get(target + packageToo);
            String html = known == null ? html(target, packageToo) : known;
            return createBlock(parent, "pass", "<div class='api'>\n" + html + "</div>");
        } catch (IOException e) {
            reading.problem("api::" + target, "no API in " + target, e);
            return createBlock(parent, "pass", "");
        }
    }
}
