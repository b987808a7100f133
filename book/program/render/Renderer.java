package program.render;

import static java.nio.charset.StandardCharsets.UTF_8;

import module java.base;

import java.util.logging.Logger;
import org.asciidoctor.Asciidoctor;
import org.asciidoctor.Attributes;
import org.asciidoctor.Options;
import org.asciidoctor.SafeMode;
import org.asciidoctor.ast.Document;
import org.asciidoctor.ast.Section;
import org.asciidoctor.ast.StructuralNode;
import org.asciidoctor.jruby.AsciidoctorJRuby;
import org.asciidoctor.log.LogRecord;
import org.asciidoctor.log.Severity;
import program.draw.BytesDrawing;
import program.draw.FlowDrawing;
import program.draw.PacketDrawing;
import program.draw.SequenceDrawing;
import program.html.Heading;
import program.html.Polish;
import program.keep.Rendering;
import program.keep.Renderings;
import program.macro.ApiMacro;
import program.macro.DrawingBlock;
import program.macro.HintsMacro;
import program.macro.LabsMacro;
import program.read.Chapter;
import program.read.Course;
import program.read.Edition;
import program.read.Problems;
import program.read.Reading;

/** Renders chapters with Asciidoctor and this program's extensions. */
public final class Renderer {
    /** A field, since the logging system forgets the settings of a logger that nobody holds. */
    private static final Logger ASCIIDOCTOR_LOG = Logger.getLogger("asciidoctor");

    private final Edition edition;
    private final Course course;
    private final Reading reading;
    private final ApiMacro api;

    public Renderer(Edition edition, Course course, Problems problems) {
        this.edition = edition;
        this.course = course;
        reading = new Reading(edition, problems);
        api = new ApiMacro(edition, reading);
    }

    /**
     * JRuby is the slow part of a start, and half of that is what this program has no use for: its compiler, native
     * code, and RubyGems, which looks for Asciidoctor in a jar that holds a dozen gems.
     */
    private static Asciidoctor startAsciidoctor() {
        System.setProperty("jruby.compile.mode", "OFF");
        System.setProperty("jruby.native.enabled", "false");
        System.setProperty("jruby.cli.rubygems.enable", "false");
        System.setProperty("jruby.cli.did_you_mean.enable", "false");
        var versions = new Properties();
        try (var in = Asciidoctor.class.getResourceAsStream("/META-INF/asciidoctorj-version.properties")) {
            versions.load(in);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        String gem = "uri:classloader:/gems/asciidoctor-" + versions.getProperty("version.asciidoctor");
        return AsciidoctorJRuby.Factory.create(List.of(gem + "/lib"));
    }

    /** Renders chapters until there is none left; another renderer may take some of them. */
    public void render(Queue<Chapter> chapters, Renderings renderings) {
        var asciidoctor = new FutureTask<>(this::extendedAsciidoctor);
        Thread.ofPlatform().daemon().start(asciidoctor);
        try {
            for (var chapter = chapters.poll(); chapter != null; chapter = chapters.poll()) {
                api.prepare(chapter);   // the first while Asciidoctor starts
                reading.begin(chapter);
                Rendering rendering = render(asciidoctor.get(), chapter);
                renderings.put(chapter, rendering, reading.files(), reading.lasts());
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (ExecutionException | InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private Asciidoctor extendedAsciidoctor() {
        var asciidoctor = startAsciidoctor();
        ASCIIDOCTOR_LOG.setUseParentHandlers(false);    // what it says comes to logged(), once
        asciidoctor.registerLogHandler(this::logged);
        asciidoctor.rubyExtensionRegistry().loadClass(new ByteArrayInputStream(LiteralCode.RUBY.getBytes(UTF_8)));
        asciidoctor.javaExtensionRegistry().includeProcessor(new Includes(edition, reading))
                .blockMacro(new LabsMacro(course)).blockMacro(new HintsMacro(edition, course, reading)).blockMacro(api)
                .block(new DrawingBlock("packet", new PacketDrawing(), reading))
                .block(new DrawingBlock("bytes", new BytesDrawing(), reading))
                .block(new DrawingBlock("sequence", new SequenceDrawing(), reading))
                .block(new DrawingBlock("flow", new FlowDrawing(), reading));
        return asciidoctor;
    }

    private Rendering render(Asciidoctor asciidoctor, Chapter chapter) {
        Document document = asciidoctor.load(String.join("\n", chapter.lines()), Options.builder()
                .safe(SafeMode.SAFE).baseDir(edition.root().toFile()).standalone(false).sourcemap(true)
                .attributes(attributes()).build());
        if (edition.students()) {
            removeSolutionBlocks(document);
        }
        new Widths(edition, reading).check(document);
        List<Heading> headings = new ArrayList<>();
        collectHeadings(document, headings);
        String id = Objects.requireNonNullElse(document.getId(), chapter.name());
        String body = Polish.of(document.convert(), course.lab(chapter.name()));
        return new Rendering(id, document.getDoctitle(), body, headings);
    }

    private Attributes attributes() {
        var attributes = Attributes.builder()
                .attribute("root", edition.root().toString().replace('\\', '/'))
                .attribute("sectanchors", "").attribute("idprefix", "").attribute("idseparator", "-")
                .attribute("imagesdir", "images")
                .attribute("attribute-missing", "warn")
                .attribute("experimental", "")
                .attribute("figure-caption", null).attribute("table-caption", null);
        if (edition.students()) {
            attributes.attribute("students", "");
        }
        return attributes.build();
    }

    private void logged(LogRecord record) {
        if (record.getSeverity().ordinal() < Severity.WARN.ordinal()) {
            return;
        }
        var cursor = record.getCursor();
        String text = record.getMessage();
        if (cursor == null) {   // Asciidoctor knows no place for a missing attribute
            var attribute = Pattern.compile("missing attribute: (\\S+)").matcher(text);
            reading.problem(attribute.find() ? "{" + attribute.group(1) + "}" : "", text);
        } else {
            boolean included = cursor.getFile() != null && Files.exists(Path.of(cursor.getFile()));
            Path file = included ? Path.of(cursor.getFile()) : reading.chapter().file();
            reading.problem(file, cursor.getLineNumber(), text);
        }
    }

    private static void removeSolutionBlocks(StructuralNode node) {
        List<StructuralNode> blocks = node.getBlocks();
        for (int i = blocks.size() - 1; i >= 0; i--) {
            if (blocks.get(i).hasRole("solution")) {
                if (i + 1 < blocks.size() && blocks.get(i + 1).getContext().equals("colist")) {
                    blocks.remove(i + 1);
                }
                blocks.remove(i);
            } else {
                removeSolutionBlocks(blocks.get(i));
            }
        }
    }

    private static void collectHeadings(StructuralNode node, List<Heading> headings) {
        for (StructuralNode block : node.getBlocks()) {
            if (block instanceof Section section && section.getLevel() <= 2) {
                headings.add(new Heading(section.getLevel(), section.getId(), section.getTitle()));
                collectHeadings(section, headings);
            }
        }
    }
}
