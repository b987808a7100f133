///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25
//DESCRIPTION Renders the book: book/chapters/*.adoc become book/build/*.html
//DEPS org.asciidoctor:asciidoctorj:3.0.1
//DEPS info.picocli:picocli:4.7.7
//DEPS com.fasterxml.jackson.core:jackson-databind:2.19.2
//JAVA_OPTIONS --enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow
//JAVA_OPTIONS -XX:TieredStopAtLevel=1 -XX:+UseSerialGC

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.source.doctree.DocCommentTree;
import com.sun.source.doctree.DocTree;
import com.sun.source.doctree.EndElementTree;
import com.sun.source.doctree.EntityTree;
import com.sun.source.doctree.LinkTree;
import com.sun.source.doctree.LiteralTree;
import com.sun.source.doctree.ParamTree;
import com.sun.source.doctree.ReturnTree;
import com.sun.source.doctree.StartElementTree;
import com.sun.source.doctree.TextTree;
import com.sun.source.doctree.ThrowsTree;
import com.sun.source.tree.ClassTree;
import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.tree.MethodTree;
import com.sun.source.tree.ModifiersTree;
import com.sun.source.tree.Tree;
import com.sun.source.tree.VariableTree;
import com.sun.source.util.DocTrees;
import com.sun.source.util.JavacTask;
import com.sun.source.util.TreePath;
import java.util.logging.Logger;
import javax.lang.model.element.Modifier;
import javax.tools.ToolProvider;
import org.asciidoctor.Asciidoctor;
import org.asciidoctor.Attributes;
import org.asciidoctor.Options;
import org.asciidoctor.SafeMode;
import org.asciidoctor.ast.Block;
import org.asciidoctor.ast.Document;
import org.asciidoctor.ast.Section;
import org.asciidoctor.ast.StructuralNode;
import org.asciidoctor.extension.BlockMacroProcessor;
import org.asciidoctor.extension.BlockProcessor;
import org.asciidoctor.extension.Contexts;
import org.asciidoctor.extension.IncludeProcessor;
import org.asciidoctor.extension.PreprocessorReader;
import org.asciidoctor.extension.Reader;
import org.asciidoctor.jruby.AsciidoctorJRuby;
import org.asciidoctor.log.LogRecord;
import org.asciidoctor.log.Severity;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

import static java.nio.charset.StandardCharsets.UTF_8;

import module java.base;

/**
 * Renders the book. Each chapter {@code book/chapters/NAME.adoc} becomes the page {@code book/build/NAME.html}, which
 * works from the disk: no request leaves it.
 *
 * <p>What chapters can use beyond AsciiDoc:
 * <ul>
 * <li>{@code labs::[]} the table of all labs, from {@code book/curriculum.json};
 * <li>{@code hints::401[step=2]} the three hints of a step, each inside the one before, from {@code hints.adoc};
 * <li>{@code api::solutions/401-tcp-server/TcpServer.java[]} the public API with its javadoc, read from the source;
 *     {@code [visible=package]} shows package-visible members too;
 * <li>{@code [.checks]} above a list: what the tests of a step check;
 * <li>{@code [packet]}, {@code [bytes]}, {@code [sequence]}, {@code [flow]} drawings; their formats stand at
 *     {@link PacketDrawing}, {@link BytesDrawing}, {@link SequenceDrawing} and {@link FlowDrawing}.
 * </ul>
 *
 * <p>The students' edition leaves out the sections whose id ends in {@code -solution}, the blocks with role
 * {@code solution}, and what stands between {@code ifndef::students[]} and {@code endif::[]}.
 *
 * <p>This one file holds everything, in the order of the work: read, render, polish, build the pages, check,
 * write; then the macros and the drawings. It must be one file: JBang runs a cached copy of it.
 */
@Command(name = "jbang book", sortOptions = false, description = "Renders the book to HTML pages that work offline.",
        footer = "Exit code: 0 all is well, 1 something in the book is wrong, 2 it could not be rendered.")
final class Book implements Callable<Integer> {

    private static final int WIDEST_CODE = 80;
    private static final List<String> LEVELS = List.of("first steps", "solid", "demanding");

    record Step(String title, boolean further) {}

    record Lab(int number, String slug, String title, String type, String theme, int level, double coreHours,
               double furtherHours, List<Integer> readFirst, List<Step> steps) {}

    record Curriculum(Map<String, String> themes, List<Lab> labs) {
        List<Lab> labsOf(String theme) {
            return labs.stream().filter(lab -> lab.theme().equals(theme)).toList();
        }

        Optional<Lab> lab(String slug) {
            return labs.stream().filter(lab -> lab.slug().equals(slug)).findFirst();
        }
    }

    /** A chapter's source. {@code cutIds} are the places that the students' edition does not have. */
    record Chapter(String name, Path file, List<String> lines, Set<String> cutIds) {
        /** The first line, counted from 1, that contains the text; 1 where none does. */
        int lineOf(String text) {
            for (int i = 0; i < lines.size(); i++) {
                if (lines.get(i).contains(text)) {
                    return i + 1;
                }
            }
            return 1;
        }
    }

    record Heading(int level, String id, String title) {}

    /** A rendered page; {@code chapter} is null where this program wrote the page itself. */
    record Page(String name, String id, String title, String body, List<Heading> headings, Chapter chapter) {
        String href() {
            return name + ".html";
        }
    }

    /** A page from one heading to the next. The part before the first heading has no id and no title. */
    record Part(Page page, String id, String title, String html) {
        String href() {
            return page.href() + (id.isEmpty() ? "" : "#" + id);
        }
    }

    @Option(names = "--open", description = "Open the front page in the browser.")
    boolean open;

    @Option(names = "--students",
            description = "Leave the solutions out. Always so where there is no folder solutions/.")
    boolean students;

    @Option(names = "--out", paramLabel = "DIR", description = "Where to write the pages (default: book/build).")
    Path out;

    @Option(names = "--root", paramLabel = "DIR",
            description = "The workbook (default: found from the current folder upwards).")
    Path root;

    @Option(names = {"-h", "--help"}, usageHelp = true, description = "Show this help.")
    boolean help;

    /** A field, since the logging system forgets the settings of a logger that nobody holds. */
    private static final Logger ASCIIDOCTOR_LOG = Logger.getLogger("asciidoctor");

    /** No file system tells times less exactly, in milliseconds. */
    private static final long TICK = 2_000;

    private final long start = System.nanoTime();
    private final long startTime = System.currentTimeMillis();
    private final Set<String> problems = new LinkedHashSet<>();
    private Curriculum curriculum;
    private Chapter current;    // the chapter being rendered: what extensions report against
    private final Set<Path> read = new TreeSet<>();     // the files that it is made from
    private boolean lasts;      // whether its rendering can be kept: nothing is wrong with it, and all it read is known
    private Set<String> chapterNames = Set.of();

    public static void main(String[] args) {
        var command = new CommandLine(new Book());
        command.setExecutionExceptionHandler((e, _, _) -> {
            System.err.println("book: " + (e instanceof IOException ? e.getMessage() : stackTrace(e)));
            return 2;
        });
        System.exit(command.execute(args));
    }

    @Override
    public Integer call() throws IOException {
        findFolders();
        String done = isCurrent() ? "nothing has changed" : build();
        Path front = out.resolve("index.html");
        System.out.printf("book: %s%s, %.1f s, %s%n", students ? "students' edition, " : "", done,
                (System.nanoTime() - start) / 1e9, shortest(front));
        if (open) {
            openInBrowser(front);
        }
        return problems.isEmpty() ? 0 : 1;
    }

    /** Renders the chapters that have changed, and writes the pages that follow from that. */
    private String build() throws IOException {
        makeSureOfOut();
        curriculum = readCurriculum();
        List<Chapter> chapters = readChapters();
        Map<String, Rendering> renderings = keptRenderings(chapters);
        int kept = renderings.size();
        render(chapters.stream().filter(chapter -> !renderings.containsKey(chapter.name())).toList(), renderings);
        List<Page> pages = new ArrayList<>();
        chapters.forEach(chapter -> pages.add(renderings.get(chapter.name()).page(chapter)));
        pages.add(rfcIndex(pages));
        Map<Page, String> finished = finish(link(pages));
        List<Path> written = write(finished);
        checkLinks(finished);
        problems.forEach(System.err::println);
        noteWhatIsMade(renderings.values(), written);
        return "%d of %d chapters rendered, %s".formatted(chapters.size() - kept, chapters.size(), problems.isEmpty()
                ? "no problems" : problems.size() + (problems.size() == 1 ? " problem" : " problems"));
    }

    // ---- what is kept between runs ---------------------------------------------------------------------------------

    /**
     * A chapter as Asciidoctor rendered it, kept in {@code .workbook} for the next run.
     *
     * @param context what all chapters depend on: this program, the curriculum, the names of the chapters
     * @param read    the hashes of the files that it was made from
     */
    record Rendering(String context, Map<String, String> read, String id, String title, String body,
                     List<Heading> headings) {
        Page page(Chapter chapter) {
            return new Page(chapter.name(), id, title, body, headings, chapter);
        }
    }

    private Path state() {
        return root.resolve(".workbook/cache/book");
    }

    private String edition() {
        return students ? "students" : "full";
    }

    private String context() throws IOException {
        var context = new StringJoiner("\n").add(root.toString()).add(String.join(" ", new TreeSet<>(chapterNames)));
        return context.add(hash(program())).add(hash(root.resolve("book/curriculum.json"))).toString();
    }

    /** The jar that JBang made of this program. */
    private static Path program() {
        return Path.of(URI.create(Book.class.getProtectionDomain().getCodeSource().getLocation().toString()));
    }

    /** What a file contains, in short; "none" where there is no such file. */
    private static String hash(Path file) throws IOException {
        try {
            var digest = MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file));
            return HexFormat.of().formatHex(digest, 0, 16);
        } catch (NoSuchFileException e) {
            return "none";
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);    // every JDK has it
        }
    }

    /** Those that would come out the same again. */
    private Map<String, Rendering> keptRenderings(List<Chapter> chapters) throws IOException {
        var kept = new HashMap<String, Rendering>();
        String context = context();
        for (Chapter chapter : chapters) {
            Optional<Rendering> rendering = keptRendering(chapter);
            if (rendering.isPresent() && rendering.get().context().equals(context) && areSame(rendering.get().read())) {
                kept.put(chapter.name(), rendering.get());
            }
        }
        return kept;
    }

    private Optional<Rendering> keptRendering(Chapter chapter) {
        try {
            Path file = state().resolve(edition()).resolve(chapter.name() + ".json");
            return Optional.of(new ObjectMapper().readValue(file.toFile(), Rendering.class));
        } catch (IOException e) {
            return Optional.empty();    // not there, or of another version of this program
        }
    }

    private boolean areSame(Map<String, String> read) throws IOException {
        for (var file : read.entrySet()) {
            if (!hash(root.resolve(file.getKey())).equals(file.getValue())) {
                return false;
            }
        }
        return true;
    }

    private void keep(Chapter chapter, Rendering rendering) throws IOException {
        Path folder = state().resolve(edition());
        if (lasts && Files.isWritable(root)) {
            Files.createDirectories(folder);
            Path fresh = Files.createTempFile(folder, ".", "");
            new ObjectMapper().writeValue(fresh.toFile(), rendering);
            Files.move(fresh, folder.resolve(chapter.name() + ".json"), StandardCopyOption.ATOMIC_MOVE);
        }
    }

    /**
     * Whether {@code book/build} holds all that was written there last, made from all that it was made from: no file has
     * another size or time. It is looked at before anything else, so that to open the book takes no time.
     */
    private boolean isCurrent() throws IOException {
        Path note = state().resolve("made");
        if (!isBuild() || !Files.exists(note)) {
            return false;
        }
        List<String> lines = Files.readAllLines(note);
        if (!lines.getFirst().equals(maker())) {
            return false;
        }
        for (String line : lines.subList(1, lines.size())) {
            if (!line.equals(stamp(root.resolve(line.substring(line.indexOf('\t') + 1)), Long.MAX_VALUE))) {
                return false;
            }
        }
        return true;
    }

    /** The edition, and the program that makes it. */
    private String maker() throws IOException {
        return edition() + " " + stamp(program(), Long.MAX_VALUE);
    }

    private boolean isBuild() {
        return out.equals(root.resolve("book/build"));
    }

    /** A file that is younger than that may have been changed since it was read, and gets a stamp that fits no file. */
    private String stamp(Path file, long oldEnough) throws IOException {
        String stamp = "none";
        if (Files.exists(file)) {
            var attributes = Files.readAttributes(file, BasicFileAttributes.class);
            long modified = attributes.lastModifiedTime().toMillis();
            stamp = modified > oldEnough ? "young" : modified + " " + (attributes.isDirectory() ? 0 : attributes.size());
        }
        return stamp + "\t" + (file.startsWith(root) ? root.relativize(file) : file);
    }

    private void noteWhatIsMade(Collection<Rendering> renderings, List<Path> written) throws IOException {
        Path note = state().resolve("made");
        Files.deleteIfExists(note);
        if (!isBuild() || !problems.isEmpty() || !Files.isDirectory(state())) {
            return;
        }
        var sources = new TreeSet<>(List.of(root.resolve("book/curriculum.json"), root.resolve("solutions")));
        renderings.forEach(rendering -> rendering.read().keySet().forEach(file -> sources.add(root.resolve(file))));
        for (String folder : List.of("book/chapters", "book/theme")) {
            try (var files = Files.walk(root.resolve(folder))) {
                files.forEach(sources::add);    // the folders, too: their time changes when a file comes or goes
            }
        }
        List<String> lines = new ArrayList<>(List.of(maker()));
        for (Path source : sources) {
            lines.add(stamp(source, startTime - TICK));
        }
        for (Path page : written) {
            lines.add(stamp(page, Long.MAX_VALUE));
        }
        Files.write(note, lines);
    }

    // ---- reading ---------------------------------------------------------------------------------------------------

    /** JBang starts this program in the user's folder: mostly inside the workbook, else the launcher names it. */
    private void findFolders() throws IOException {
        if (root == null) {
            root = upwards(Path.of("").toAbsolutePath())
                    .or(() -> Optional.ofNullable(System.getenv("WORKBOOK_ROOT")).map(Path::of))
                    .orElseThrow(() -> new IOException("this folder is not inside the workbook: "
                            + "change into the folder you cloned, or name it with --root DIR"));
        }
        root = root.toAbsolutePath().normalize();
        if (!isWorkbook(root)) {
            throw new IOException("no workbook in " + root + ": it has no jbang-catalog.json and book/chapters");
        }
        students |= !Files.isDirectory(root.resolve("solutions"));
        out = out == null ? root.resolve("book/build") : out.toAbsolutePath().normalize();
    }

    /** To render takes seconds: whether the pages can be written is tried before. */
    private void makeSureOfOut() throws IOException {
        try {
            Files.createDirectories(out);
            Files.delete(Files.createTempFile(out, ".book-", ""));
        } catch (IOException e) {
            throw new IOException("cannot write to " + shortest(out) + ": name another folder with --out DIR");
        }
    }

    private static Optional<Path> upwards(Path folder) {
        return Stream.iterate(folder, Objects::nonNull, Path::getParent).filter(Book::isWorkbook).findFirst();
    }

    private static boolean isWorkbook(Path folder) {
        return Files.exists(folder.resolve("jbang-catalog.json"))
                && Files.isDirectory(folder.resolve("book/chapters"));
    }

    private Curriculum readCurriculum() throws IOException {
        return new ObjectMapper().configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, false)
                .readValue(root.resolve("book/curriculum.json").toFile(), Curriculum.class);
    }

    /** In the order of reading: the front page, the labs, the rest. */
    private List<Chapter> readChapters() throws IOException {
        List<Chapter> chapters = new ArrayList<>();
        for (Path file : list(root.resolve("book/chapters"), ".adoc")) {
            List<String> lines = Files.readAllLines(file);
            Set<String> cut = students ? cutSolution(lines) : Set.of();
            chapters.add(new Chapter(file.getFileName().toString().replace(".adoc", ""), file, lines, cut));
        }
        chapters.sort(Comparator.comparing(Book::place).thenComparing(Chapter::name));
        chapterNames = chapters.stream().map(Chapter::name).collect(Collectors.toSet());
        return chapters;
    }

    private static int place(Chapter chapter) {
        return switch (chapter.name()) {
            case "index" -> 0;
            case "teachers" -> 2;
            case "glossary" -> 3;
            default -> 1;
        };
    }

    /** Blanks the section whose id ends in -solution, so that line numbers stay; returns the ids that went with it. */
    private static Set<String> cutSolution(List<String> lines) {
        int anchor = indexOf(lines, 0, line -> line.matches("\\[#[\\w-]+-solution\\b.*"));
        if (anchor == lines.size()) {
            return Set.of();
        }
        int heading = indexOf(lines, anchor, line -> line.startsWith("== "));
        int end = indexOf(lines, heading + 1, line -> line.startsWith("== "));
        while (end < lines.size() && end > heading && lines.get(end - 1).matches("\\[.*]|//.*|\\s*")) {
            end--;
        }
        Set<String> ids = new HashSet<>();
        for (String line : lines.subList(anchor, end)) {
            Pattern.compile("\\[#([\\w-]+)").matcher(line).results().forEach(m -> ids.add(m.group(1)));
        }
        lines.subList(anchor, end).replaceAll(_ -> "");
        return ids;
    }

    // ---- rendering -------------------------------------------------------------------------------------------------

    /**
     * Makes all that is between two backticks literal. Asciidoctor would still find stars, arrows, index terms and
     * attributes in it, so code like {@code f((a) -> b)} had to be escaped each time. It sets passages aside before it
     * looks for any of these, and this is where code is set aside, too. The quotation marks of AsciiDoc that are
     * written with backticks are lost by it.
     */
    private static final String LITERAL_CODE = """
            module LiteralCode
              def extract_passthroughs text
                text = text.gsub(/(?<!\\\\)`([^`\\n]+)`/) do
                  key = @passthroughs.size
                  @passthroughs[key] = { text: $1, subs: [:specialcharacters], type: :monospaced }
                  %(#{Asciidoctor::Substitutors::PASS_START}#{key}#{Asciidoctor::Substitutors::PASS_END})
                end if text.include? '`'
                super text
              end
            end
            Asciidoctor::Substitutors.prepend LiteralCode
            """;

    private void render(List<Chapter> chapters, Map<String, Rendering> renderings) throws IOException {
        if (chapters.isEmpty()) {
            return;
        }
        ASCIIDOCTOR_LOG.setUseParentHandlers(false);    // what it says comes to logged(), once
        try (Asciidoctor asciidoctor = startAsciidoctor()) {
            asciidoctor.registerLogHandler(this::logged);
            asciidoctor.rubyExtensionRegistry().loadClass(new ByteArrayInputStream(LITERAL_CODE.getBytes(UTF_8)));
            asciidoctor.javaExtensionRegistry().includeProcessor(new Includes())
                    .blockMacro(new LabsMacro()).blockMacro(new HintsMacro()).blockMacro(new ApiMacro())
                    .block(new DrawingBlock("packet", new PacketDrawing()))
                    .block(new DrawingBlock("bytes", new BytesDrawing()))
                    .block(new DrawingBlock("sequence", new SequenceDrawing()))
                    .block(new DrawingBlock("flow", new FlowDrawing()));
            String context = context();
            for (Chapter chapter : chapters) {
                Rendering rendering = render(asciidoctor, chapter, context);
                renderings.put(chapter.name(), rendering);
                keep(chapter, rendering);
            }
        }
    }

    /**
     * JRuby is the slow part of a start, and half of that is what this program has no use for: its compiler, and RubyGems,
     * which looks for Asciidoctor in a jar that holds a dozen gems.
     */
    private static Asciidoctor startAsciidoctor() throws IOException {
        System.setProperty("jruby.compile.mode", "OFF");
        System.setProperty("jruby.cli.rubygems.enable", "false");
        System.setProperty("jruby.cli.did_you_mean.enable", "false");
        var versions = new Properties();
        try (var in = Asciidoctor.class.getResourceAsStream("/META-INF/asciidoctorj-version.properties")) {
            versions.load(in);
        }
        String gem = "uri:classloader:/gems/asciidoctor-" + versions.getProperty("version.asciidoctor");
        return AsciidoctorJRuby.Factory.create(List.of(gem + "/lib"));
    }

    private Rendering render(Asciidoctor asciidoctor, Chapter chapter, String context) throws IOException {
        current = chapter;
        lasts = true;
        read.clear();
        read.add(chapter.file());
        var attributes = Attributes.builder()
                .attribute("root", root.toString().replace('\\', '/'))
                .attribute("sectanchors", "").attribute("idprefix", "").attribute("idseparator", "-")
                .attribute("imagesdir", "images")
                .attribute("attribute-missing", "warn")
                .attribute("experimental", "")
                .attribute("figure-caption", null).attribute("table-caption", null);
        if (students) {
            attributes.attribute("students", "");
        }
        Document document = asciidoctor.load(String.join("\n", chapter.lines()), Options.builder()
                .safe(SafeMode.SAFE).baseDir(root.toFile()).standalone(false).sourcemap(true)
                .attributes(attributes.build()).build());
        if (students) {
            removeSolutionBlocks(document);
        }
        checkWidth(document);
        List<Heading> headings = new ArrayList<>();
        collectHeadings(document, headings);
        String id = Objects.requireNonNullElse(document.getId(), chapter.name());
        String body = polished(document.convert(), curriculum.lab(chapter.name()));
        Map<String, String> hashes = new TreeMap<>();
        for (Path file : read) {
            hashes.put(root.relativize(file).toString(), hash(file));
        }
        return new Rendering(context, hashes, id, document.getDoctitle(), body, headings);
    }

    private void logged(LogRecord record) {
        if (record.getSeverity().ordinal() < Severity.WARN.ordinal()) {
            return;
        }
        var cursor = record.getCursor();
        String text = record.getMessage();
        if (cursor == null) {   // Asciidoctor knows no place for a missing attribute
            var attribute = Pattern.compile("missing attribute: (\\S+)").matcher(text);
            problem(current.file(), attribute.find() ? current.lineOf("{" + attribute.group(1) + "}") : 1, text);
        } else {
            boolean included = cursor.getFile() != null && Files.exists(Path.of(cursor.getFile()));
            problem(included ? Path.of(cursor.getFile()) : current.file(), cursor.getLineNumber(), text);
        }
    }

    private void problem(Path file, int line, String text) {
        lasts = false;
        problems.add(shortest(file) + ":" + line + ": " + text);
    }

    private void problem(Page page, String near, String text) {
        if (page.chapter() == null) {
            problems.add(page.href() + ": " + text);
        } else {
            problem(page.chapter().file(), page.chapter().lineOf(near), text);
        }
    }

    private String why(IOException e) {
        return e instanceof NoSuchFileException missing ? "no file " + shortest(Path.of(missing.getFile()))
                : e.getMessage();
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

    /** Terminals may be wider: their width is not the author's choice. */
    private void checkWidth(Document document) {
        for (StructuralNode listing : document.findBy(Map.of("context", ":listing"))) {
            if (!"console".equals(listing.getAttribute("language"))) {
                ((Block) listing).getLines().forEach(this::checkWidth);
            }
        }
    }

    private void checkWidth(String line) {
        int width = line.replaceAll("\\s*(//|#|<!--)?(\\s*<[\\d.]+>)+\\s*$", "").length();    // without callouts
        if (width <= WIDEST_CODE) {
            return;
        }
        String text = "code line of %d columns, at most %d: %s".formatted(width, WIDEST_CODE, line.strip());
        for (Path file : includedFiles()) {
            int at = indexOf(readLines(file), 0, source -> source.strip().equals(line.strip()));
            if (at < readLines(file).size()) {
                problem(file, at + 1, text + " (included by " + shortest(current.file()) + ")");
                return;
            }
        }
        problem(current.file(), current.lineOf(line), text);
    }

    private List<Path> includedFiles() {
        return current.lines().stream().filter(line -> line.startsWith("include::"))
                .map(line -> line.replaceAll("include::(\\{root}/)?(.*?)\\[.*", "$2")
                        .replace("{slug}", current.name()).replace("{lab}", current.name()))
                .distinct().map(root::resolve).filter(Files::exists).toList();
    }

    private static List<String> readLines(Path file) {
        try {
            return Files.readAllLines(file);
        } catch (IOException e) {
            return List.of();
        }
    }

    /**
     * Sees every include; Asciidoctor does the work. Only in the students' edition it takes those from solutions/:
     * they may only stand where they are left out.
     */
    private final class Includes extends IncludeProcessor {
        @Override
        public boolean handles(String target) {
            read.add(root.resolve(target));
            lasts &= Files.exists(root.resolve(target));
            return students && (target.contains("/solutions/") || target.startsWith("solutions/"));
        }

        @Override
        public void process(Document document, PreprocessorReader reader, String target, Map<String, Object> attrs) {
            problem(current.file(), reader.getLineNumber() - 1, "a solution would show in the students' edition: "
                    + "put it into the section -solution, or between ifndef::students[] and endif::[]");
        }
    }

    // ---- polishing what Asciidoctor wrote --------------------------------------------------------------------------

    /** What a page needs that no other page has to do with. */
    private static String polished(String html, Optional<Lab> lab) {
        html = html.replaceAll("</code>'(?=\\p{L})", "</code>&#8217;");     // Asciidoctor wants a letter before it
        html = stepKinds(html, lab);
        html = terminals(JavaColours.of(callouts(html)));
        return boxes(html);
    }

    private static List<Page> link(List<Page> pages) {
        Map<String, String> titles = new HashMap<>();
        for (Page page : pages) {
            titles.put(page.href(), page.title());
            titles.put(page.href() + "#" + page.id(), page.title());
            page.headings().forEach(h -> titles.put(page.href() + "#" + h.id(), h.title()));
        }
        Set<String> cut = pages.stream().filter(p -> p.chapter() != null)
                .flatMap(p -> p.chapter().cutIds().stream()).collect(Collectors.toSet());
        return pages.stream().map(page -> {
            String html = linkTitles(unlinkCut(page.body(), cut), titles);
            return new Page(page.name(), page.id(), page.title(), html, page.headings(), page.chapter());
        }).toList();
    }

    /** Links to what the students' edition left out become plain text. */
    private static String unlinkCut(String html, Set<String> cut) {
        return swap("<a href='[^>]*?#([\\w-]+)'>(.*?)</a>", html,
                m -> cut.contains(m.group(1)) ? m.group(2).replaceAll("^\\[.*]$", "the solution") : m.group());
    }

    /** A cross reference to another page has no text of its own: it gets the title of its target. */
    private static String linkTitles(String html, Map<String, String> titles) {
        return swap("<a href='([\\w.-]+\\.html(?:#[\\w.-]+)?)'>\\[?[\\w.-]+\\.html(?:#[\\w.-]+)?]?</a>", html,
                m -> "<a href='%s'>%s</a>".formatted(m.group(1), titles.getOrDefault(m.group(1), m.group(1))));
    }

    private static String stepKinds(String html, Optional<Lab> lab) {
        return lab.isEmpty() ? html : swap("(<h3 id='step-(\\d)'>)(.*?)</h3>", html, m -> {
            int number = Integer.parseInt(m.group(2));
            boolean known = number >= 1 && number <= lab.get().steps().size();
            String kind = known && lab.get().steps().get(number - 1).further() ? "further" : "core";
            return m.group(1) + m.group(3) + " <span class='kind " + kind + "'>" + kind + "</span></h3>";
        });
    }

    /** The comment sign before a callout is for the compiler, the brackets around it for browsers without styles. */
    private static String callouts(String html) {
        html = swap("(?:<span class='c1?'>)?(?://|#)\\s*(?:</span>)?(?=<b class='conum'>)", html, "");
        return swap("<b class='conum'>\\((\\d+)\\)</b>", html, "<b class='conum'>$1</b>");
    }

    /**
     * Commands, output and verdicts are told apart; the copy button takes the commands. A row holds its own line end:
     * so a row that is too wide for paper can be a block, with what follows after the break indented.
     */
    private static String terminals(String html) {
        return swap("(<code[^>]* data-lang='console'>)(.*?)(</code>)", html, m -> {
            var rows = new StringBuilder();
            boolean goesOn = false;
            boolean started = false;
            for (String line : m.group(2).split("\n", -1)) {
                boolean command = line.startsWith("$ ") || goesOn;
                goesOn = command && line.endsWith("\\");
                started |= command;
                boolean note = !started && line.startsWith("# ");
                rows.append("<span class='row'>").append(!command ? note ? "<span class='note'>" + line + "</span>"
                        : verdicts(line)
                        : line.replaceFirst("^(\\$ )?(.*)$", "<span class='gp'>$1</span><span class='cmd'>$2</span>"))
                        .append("\n</span>");
            }
            return m.group(1) + rows + m.group(3);
        });
    }

    private static String verdicts(String line) {
        return line.replaceAll("\\b(pass|ok)(?=(\\s+\\d+/\\d+)?\\s*$)", "<span class='pass'>$1</span>")
                .replaceAll("\\b(FAIL|FAILED)(?=(\\s+\\d+/\\d+)?\\s*$)", "<span class='fail'>$1</span>")
                .replaceAll("\\b(to do)(?=\\s*$)", "<span class='todo'>$1</span>");
    }

    /** Tables may scroll, an empty cell heads nothing, a layout table is no table, a list of checks has a title. */
    private static String boxes(String html) {
        html = swap("<table class='(?:tableblock|labs)", html, "<div class='scroll'>$0");
        html = swap("(?<=</tbody>\n)</table>", html, "</table></div>");
        html = swap("<th( class='[^>]*)></th>", html, "<td$1></td>");
        html = swap("(<div class='admonitionblock \\w+'>\\s*)<table>", html, "$1<table role='presentation'>");
        html = swap("(<a class='anchor' href='[^>]+)></a>", html, "$1 aria-hidden='true' tabindex='-1'></a>");
        return swap("(<div class='ulist checks'>\\s*)<ul", html, "$1<div class='title'>The tests check</div>\n<ul");
    }

    /** Marks in the Java of listings what the theme colours: k keywords, t types, f methods, s strings, m numbers, c comments. */
    private static final class JavaColours {
        private static final String KEYWORDS = "abstract|assert|boolean|break|byte|case|catch|char|class|const|continue"
                + "|default|do|double|else|enum|extends|false|final|finally|float|for|goto|if|implements|import"
                + "|instanceof|int|interface|long|native|new|non-sealed|null|package|private|protected|public|return"
                + "|short|static|strictfp|super|switch|synchronized|this|throw|throws|transient|true|try|void|volatile"
                + "|while";
        /** Keywords only where a name follows; elsewhere they are names. */
        private static final String CONTEXTUAL = "(?:exports|module|opens|permits|record|requires|sealed|var|when|yield)(?= +[\\w&])";
        private static final Pattern TOKEN = Pattern.compile("<[^>]*>|&\\w+;"
                + "|(?<c>//[^\\n<]*|/\\*(?s:.*?)\\*/)"
                + "|(?<s>\"\"\"(?s:.*?)\"\"\"|\"(?:\\\\.|[^\"\\\\\\n])*\"|'(?:\\\\.|[^'\\\\\\n])+')"
                + "|(?<k>\\b(?:" + KEYWORDS + "|" + CONTEXTUAL + ")\\b)"
                + "|(?<f>@\\w+|\\b[a-z_]\\w*(?=\\())|(?<t>\\b[A-Z]\\w*)|(?<m>\\b\\d[\\w.]*)|\\w+");
        private static final Pattern LISTING = html("(<code[^>]* data-lang='java'>)(.*?)(?=</code>)");

        static String of(String html) {
            return LISTING.matcher(html).replaceAll(listing ->
                    Matcher.quoteReplacement(listing.group(1) + coloured(listing.group(2), "cskftm")));
        }

        static String keywords(String java) {
            return coloured(java, "k");
        }

        private static String coloured(String java, String kinds) {
            return TOKEN.matcher(java).replaceAll(token -> Matcher.quoteReplacement(kinds.chars()
                    .mapToObj(Character::toString).filter(kind -> token.group(kind) != null).findFirst()
                    .map(kind -> "<span class='" + kind + "'>" + token.group() + "</span>").orElse(token.group())));
        }
    }

    // ---- pages -----------------------------------------------------------------------------------------------------

    /** Puts the shell around each page. */
    private Map<Page, String> finish(List<Page> pages) throws IOException {
        String shell = Files.readString(root.resolve("book/theme/page.html"));
        Map<Page, String> finished = new LinkedHashMap<>();
        for (int i = 0; i < pages.size(); i++) {
            Page before = i == 0 ? null : pages.get(i - 1);
            Page after = i == pages.size() - 1 ? null : pages.get(i + 1);
            finished.put(pages.get(i), fill(shell, pages, pages.get(i), before, after));
        }
        return finished;
    }

    /** Writes all that belongs to the book, and returns where it is. */
    private List<Path> write(Map<Page, String> finished) throws IOException {
        List<Path> written = new ArrayList<>();
        copyTree(root.resolve("book/theme"), out, written);
        if (Files.isDirectory(root.resolve("book/chapters/images"))) {
            copyTree(root.resolve("book/chapters/images"), out.resolve("images"), written);
        }
        for (var page : finished.entrySet()) {
            written.add(Files.writeString(out.resolve(page.getKey().href()), page.getValue()));
        }
        String index = "window.BOOK_INDEX=" + searchIndex(finished.keySet()) + ";\n";
        written.add(Files.writeString(out.resolve("search-index.js"), index));
        if (isBuild()) {
            deleteOthers(written);  // a page of a chapter that is gone; another folder is not ours to clear
        }
        return written;
    }

    private String fill(String shell, List<Page> pages, Page page, Page before, Page after) {
        Optional<Lab> lab = curriculum.lab(page.name());
        boolean front = page.name().equals("index");
        String book = pages.getFirst().title();
        return shell.replace("%PAGE-TITLE%", text(front ? book : page.title() + " - " + book))
                .replace("%BOOK%", book)
                .replace("%KIND%", front ? "front" : lab.isPresent() ? "lab" : "plain")
                .replace("%THEME%", lab.map(Lab::theme).orElse("none"))
                .replace("%NAV%", navigation(pages, page))
                .replace("%TOC%", tableOfContents(page))
                .replace("%HEAD%", front ? cover(page) : head(page, lab))
                .replace("%TURN%", turn("prev", "Previous", before) + turn("next", "Next", after))
                .replace("%EDITION%", students ? "Students' edition, without the solutions." : "")
                .replace("%BODY%", page.body());
    }

    private String navigation(List<Page> pages, Page here) {
        var html = new StringBuilder("<ul class='plain'>" + entry(pages.getFirst(), "Start here", here) + "</ul>\n");
        curriculum.themes().forEach((letter, theme) -> {
            html.append("<h2 data-theme='%s'>%s</h2>\n<ul data-theme='%s'>".formatted(letter, theme, letter));
            curriculum.labsOf(letter).forEach(lab -> html.append(navigationEntry(pages, here, lab)));
            html.append("</ul>\n");
        });
        if (curriculum.labs().stream().anyMatch(lab -> !chapterNames.contains(lab.slug()))) {
            html.append("<p class='to-come' aria-hidden='true'>Grey: still to come.</p>\n");
        }
        html.append("<h2>Beside the labs</h2>\n<ul class='plain'>");
        pages.stream().skip(1).filter(page -> curriculum.lab(page.name()).isEmpty())
                .forEach(page -> html.append(entry(page, page.title(), here)));
        return html.append("</ul>").toString();
    }

    private String navigationEntry(List<Page> pages, Page here, Lab lab) {
        String name = "<span class='number'>%d</span> %s".formatted(lab.number(), lab.title());
        return pages.stream().filter(page -> page.name().equals(lab.slug())).findFirst()
                .map(page -> entry(page, name, here))
                .orElse("<li class='to-come'>" + name + "<span class='unseen'> (to come)</span></li>\n");
    }

    private static String entry(Page page, String name, Page here) {
        String current = page == here ? " aria-current='page'" : "";
        return "<li><a href='%s'%s>%s</a></li>\n".formatted(page.href(), current, name);
    }

    private static String tableOfContents(Page page) {
        if (page.headings().size() < 2) {
            return "";
        }
        String entries = page.headings().stream()
                .map(h -> "<li class='level%d'><a href='#%s'>%s</a></li>\n".formatted(h.level(), h.id(), h.title()))
                .collect(Collectors.joining());
        return "<nav class='toc' aria-label='On this page'><h2>On this page</h2><ul>\n" + entries + "</ul></nav>\n";
    }

    private String head(Page page, Optional<Lab> lab) {
        String title = "<h1 id='%s'>%s</h1>\n".formatted(page.id(), page.title());
        return "<header class='head'>\n" + lab.map(l -> """
                <p class='above'><a href='index.html#labs'>%s</a></p>
                <p class='lab-number' aria-hidden='true'>%d</p>
                %s<p class='facts'><span class='unseen'>Lab %d</span>
                <span>%s</span> <span>core %s</span> <span>further %s</span></p>
                """.formatted(curriculum.themes().get(l.theme()), l.number(), title, l.number(),
                LEVELS.get(l.level() - 1), hours(l.coreHours()), hours(l.furtherHours()))).orElse(title) + "</header>";
    }

    /** The cover: the labs as fields of one packet, a row of 32 bits for each theme. */
    private String cover(Page page) {
        var rows = new StringBuilder();
        curriculum.themes().forEach((letter, theme) -> {
            rows.append("<li data-theme='%s'><span class='unseen'>%s</span><ul>".formatted(letter, theme));
            curriculum.labsOf(letter).forEach(lab -> rows.append("<li>%s</li>".formatted(fieldOf(lab))));
            rows.append("</ul></li>\n");
        });
        return """
                <header class="cover">
                <h1 id="%s">%s</h1>
                <p class="ruler" aria-hidden="true">
                <span>0</span><span>8</span><span>16</span><span>24</span><span>31</span></p>
                <ul class="packet-rows" aria-label="The labs by theme">
                %s</ul>
                </header>""".formatted(page.id(), page.title(), rows);
    }

    private String fieldOf(Lab lab) {
        String name = "<span class='number'>%d</span> <span class='name'>%s</span>"
                .formatted(lab.number(), lab.title());
        return chapterNames.contains(lab.slug()) ? "<a href='%s.html'>%s</a>".formatted(lab.slug(), name)
                : "<span class='to-come'>" + name + "</span>";
    }

    private String turn(String rel, String label, Page page) {
        if (page == null) {
            return "";
        }
        String title = page.name().equals("index") ? "Start here"
                : curriculum.lab(page.name()).map(lab -> lab.number() + " ").orElse("") + page.title();
        return "<a rel='%s' class='%s' href='%s'><small>%s</small> %s</a>\n"
                .formatted(rel, rel, page.href(), label, title);
    }

    // ---- the index of RFCs and the search index --------------------------------------------------------------------

    /** A number, perhaps a section, perhaps the title in italics. */
    private static final Pattern RFC = Pattern.compile("RFC\\s?(\\d{3,5})"
            + "(?:,?\\s*(?:§§?\\s?|[Ss]ections? )([A-Z0-9][\\d.]*\\d|[A-Z0-9]))?(?:,? <em>(.+?)</em>)?");

    record Mention(String section, Part part) {}

    /** Every mention of an RFC in the text, and the sections of the book where it is. */
    private Page rfcIndex(List<Page> pages) {
        var mentions = new TreeMap<Integer, List<Mention>>();
        var titles = new HashMap<Integer, String>();
        for (Part part : pages.stream().flatMap(page -> parts(page).stream()).toList()) {
            String prose = swap("<pre.*?</pre>|<svg.*?</svg>|</?a\\b[^>]*>", part.html(), "").replace("&#160;", " ");
            RFC.matcher(prose).results().forEach(m -> {
                int number = Integer.parseInt(m.group(1));
                var mention = new Mention(Objects.requireNonNullElse(m.group(2), ""), part);
                mentions.computeIfAbsent(number, _ -> new ArrayList<>()).add(mention);
                if (m.group(3) != null) {
                    titles.putIfAbsent(number, m.group(3));
                }
            });
        }
        var html = new StringBuilder("""
                <div class="paragraph lead"><p>Every RFC that this book cites, and where.
                The links with numbers lead to the RFC itself, on the network; all others stay in the book.</p></div>
                <dl class="rfcs">
                """);
        mentions.forEach((number, all) -> html.append(rfcEntry(number, titles.getOrDefault(number, ""), all)));
        return new Page("rfcs", "rfcs", "Index of RFCs", html + "</dl>\n", List.of(), null);
    }

    private static String rfcEntry(int number, String title, List<Mention> mentions) {
        String url = "https://www.rfc-editor.org/rfc/rfc" + number;
        var bySection = new TreeMap<String, LinkedHashSet<String>>(Book::compareSections);
        for (Mention mention : mentions) {
            Part part = mention.part();
            String where = part.page().title() + (part.title().isEmpty() ? "" : ": " + escape(part.title()));
            bySection.computeIfAbsent(mention.section(), _ -> new LinkedHashSet<>())
                    .add("<a href='%s'>%s</a>".formatted(part.href(), where));
        }
        var html = new StringBuilder("<dt id='rfc-%d'><a href='%s'>RFC %d</a> %s</dt>\n"
                .formatted(number, url, number, title));
        bySection.forEach((section, places) -> {
            String kind = section.matches("[A-Z].*") ? "appendix" : "section";
            String link = section.isEmpty() ? "" : "<a class='rfc-section' href='%s#%s-%s'>%s %s</a> "
                    .formatted(url, kind, section, kind, section);
            html.append("<dd>" + link + String.join(" · ", places) + "</dd>\n");
        });
        return html.toString();
    }

    /** 2.9 before 2.10. */
    private static int compareSections(String a, String b) {
        String[] x = a.split("\\.");
        String[] y = b.split("\\.");
        return Arrays.compare(x, y, (p, q) -> p.length() != q.length() && p.matches("\\d+") && q.matches("\\d+")
                ? p.length() - q.length() : p.compareTo(q));
    }

    /** A term of the glossary begins a part like a heading does. */
    private static List<Part> parts(Page page) {
        var heading = html("(?:<h[2-5]|<dt class='hdlist1'><a) id='([\\w-]+)'>(.*?)</(?:h[2-5]|dt)>");
        List<Part> parts = new ArrayList<>();
        for (String html : html("(?=<h[2-5] id=|<dt class='hdlist1'><a id=)").split(page.body())) {
            Matcher m = heading.matcher(html);
            boolean found = m.lookingAt();
            String title = found ? text(swap("<span class='kind.*", m.group(2), "")) : "";
            parts.add(new Part(page, found ? m.group(1) : "", title, found ? html.substring(m.end()) : html));
        }
        return parts;
    }

    private static String searchIndex(Collection<Page> pages) throws IOException {
        List<List<String>> rows = pages.stream().flatMap(page -> parts(page).stream())
                .map(part -> List.of(part.href(), text(part.page().title()), part.title(), text(part.html())))
                .toList();
        return new ObjectMapper().writeValueAsString(rows).replace("],[", "],\n[");
    }

    // ---- checks of the finished pages ------------------------------------------------------------------------------

    /** Asciidoctor does not check links between pages, nor what is behind an image. */
    private void checkLinks(Map<Page, String> finished) {
        Map<String, Set<String>> ids = new HashMap<>();
        finished.forEach((page, html) -> {
            Set<String> known = new HashSet<>();
            html("\\sid='(.+?)'").matcher(html).results().map(m -> m.group(1)).filter(id -> !known.add(id))
                    .filter(id -> problems.stream().noneMatch(problem -> problem.endsWith("already in use: " + id)))
                    .forEach(id -> problem(page, id, "id used twice: " + id));
            ids.put(page.href(), known);
        });
        finished.forEach((page, html) -> {
            html("\\s(?:href|src)='(.+?)'").matcher(html).results()
                    .map(m -> m.group(1)).distinct().forEach(link -> checkLink(page, link, ids));
            html("<img [^>]*?src='(.+?)'[^>]*?alt='(.*?)'").matcher(page.body()).results()
                    .filter(m -> m.group(2).isBlank() || m.group(2).equals(defaultAlt(m.group(1))))
                    .forEach(m -> problem(page, fileName(m.group(1)), "image without alt: " + m.group(1)));
        });
    }

    private void checkLink(Page page, String link, Map<String, Set<String>> ids) {
        if (link.matches("(https?|mailto):.*")) {
            return;
        }
        int hash = link.indexOf('#');
        String file = hash == 0 ? page.href() : hash < 0 ? link : link.substring(0, hash);
        String id = hash < 0 ? "" : link.substring(hash + 1);
        String source = hash == 0 ? "<<" + id : link.replaceFirst("\\.html#", ".adoc#").replaceFirst("^images/", "");
        if (ids.containsKey(file)) {
            if (!id.isEmpty() && !ids.get(file).contains(id)) {
                problem(page, source, "link to a place that does not exist: " + link);
            }
        } else if (!Files.exists(out.resolve(file))) {
            problem(page, source, "link to a file that does not exist: " + link);
        }
    }

    /** What Asciidoctor makes of an image's name where the author gave no alt. */
    private static String defaultAlt(String src) {
        return fileName(src).replaceFirst("\\.\\w+$", "").replaceAll("[_-]", " ");
    }

    private static String fileName(String path) {
        return path.substring(path.lastIndexOf('/') + 1);
    }

    // ---- macros ----------------------------------------------------------------------------------------------------

    /** {@code labs::[]}: all labs by theme. */
    private final class LabsMacro extends BlockMacroProcessor {
        LabsMacro() {
            super("labs");
        }

        @Override
        public StructuralNode process(StructuralNode parent, String target, Map<String, Object> attributes) {
            var html = new StringBuilder("""
                    <table class="labs">
                    <thead><tr><th scope="col">Lab</th><th scope="col">Level</th><th scope="col">Core</th>\
                    <th scope="col">Further</th><th scope="col">Read first</th></tr></thead>
                    """);
            curriculum.themes().forEach((letter, theme) -> {
                html.append("<tbody data-theme='%s'><tr class='theme'>".formatted(letter));
                html.append("<th colspan='5' scope='rowgroup'>%s</th></tr>\n".formatted(theme));
                curriculum.labsOf(letter).forEach(lab -> html.append(row(lab)));
                html.append("</tbody>\n");
            });
            return createBlock(parent, "pass", html + "</table>");
        }

        private String row(Lab lab) {
            String title = chapterNames.contains(lab.slug())
                    ? "<a href='%s.html'>%s</a>".formatted(lab.slug(), lab.title())
                    : lab.title() + " <small class='to-come'>to come</small>";
            String level = "<span class='level' data-level='%d'>%s</span>"
                    .formatted(lab.level(), LEVELS.get(lab.level() - 1));
            String readFirst = lab.readFirst().stream().map(String::valueOf).collect(Collectors.joining(", "));
            return """
                    <tr><th scope="row"><span class="number">%d</span> %s</th>
                    <td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>
                    """.formatted(lab.number(), title, level, hours(lab.coreHours()), hours(lab.furtherHours()),
                    readFirst.isEmpty() ? "nothing" : readFirst);
        }
    }

    /** {@code hints::401[step=2]}: three collapsed blocks, each inside the one before: nobody reads too far. */
    private final class HintsMacro extends BlockMacroProcessor {
        private static final List<String> LABELS = List.of("A hint", "A stronger hint", "The strongest hint");
        private static final int LONGEST_INLINE = 60;

        HintsMacro() {
            super("hints");
        }

        @Override
        public StructuralNode process(StructuralNode parent, String target, Map<String, Object> attributes) {
            String macro = "hints::" + target + "[step=" + attributes.get("step");
            StructuralNode box = createBlock(parent, "open", List.of(), Map.of("role", "hints"));
            try {
                List<String> hints = hints(target, String.valueOf(attributes.get("step")));
                if (hints.size() == LABELS.size()) {
                    parseContent(box, nested(hints.stream().map(HintsMacro::withListings).toList()));
                } else {
                    problem(current.file(), current.lineOf(macro), macro + "]: " + hints.size() + " hints, not three");
                }
            } catch (IOException e) {
                problem(current.file(), current.lineOf(macro), macro + "]: " + why(e));
            }
            return box;
        }

        private List<String> hints(String number, String step) throws IOException {
            Path folder = list(root.resolve("tests"), "").stream()
                    .filter(path -> path.getFileName().toString().startsWith(number + "-")).findFirst()
                    .orElseThrow(() -> new IOException("no folder tests/" + number + "-..."));
            read.add(folder.resolve("hints.adoc"));
            List<String> lines = Files.readAllLines(folder.resolve("hints.adoc"));
            int heading = indexOf(lines, 0, line -> line.matches("== Step " + Pattern.quote(step) + "\\b.*"));
            int end = indexOf(lines, heading + 1, line -> line.startsWith("== "));
            List<String> hints = new ArrayList<>();
            for (String line : lines.subList(Math.min(heading + 1, end), end)) {
                if (line.startsWith(". ")) {
                    hints.add(line.substring(2));
                } else if (!hints.isEmpty()) {
                    hints.add(hints.removeLast() + "\n" + (line.equals("+") ? "" : line));
                }
            }
            return hints;
        }

        /** A hint is prose with code in it; what is too long for a line of prose becomes a listing of its own. */
        private static String withListings(String hint) {
            return Pattern.compile(" *`([^`\\n]+)`[.,;:]?\\s*").matcher(hint).replaceAll(code ->
                    Matcher.quoteReplacement(code.group(1).length() <= LONGEST_INLINE ? code.group()
                            : "\n\n[source,java]\n----\n" + OneLiner.laidOut(code.group(1)) + "\n----\n\n"));
        }

        private List<String> nested(List<String> hints) {
            List<String> lines = new ArrayList<>();
            for (int i = 0; i < hints.size(); i++) {
                lines.addAll(List.of("." + LABELS.get(i), "[%collapsible]", "=".repeat(4 + i)));
                hints.get(i).lines().forEach(lines::add);
                lines.add("");
            }
            for (int i = hints.size() - 1; i >= 0; i--) {
                lines.add("=".repeat(4 + i));
            }
            return lines;
        }
    }

    /** Java that was written in one line, laid out again: a statement a line, blocks indented, long lines broken. */
    private static final class OneLiner {
        private static final int WIDEST = 76;
        private static final String INDENT = "    ";
        private static final Pattern TOKEN =
                Pattern.compile("\"(?:\\\\.|[^\"\\\\])*\"|'(?:\\\\.|[^'\\\\])*'|\\{ *}|.");
        private static final Pattern SAME_LINE = Pattern.compile("[).,;]| *(?:catch|else|finally)\\b");
        private static final Pattern MAY_BREAK =
                Pattern.compile("(?<=, )|(?<= )(?=(?:\\+|&&|\\|\\||[?:]) )|(?<=\\))(?=\\.)");

        private final Deque<String> open = new ArrayDeque<>();   // brackets, the innermost first
        private final List<String> lines = new ArrayList<>();
        private final StringBuilder line = new StringBuilder();

        static String laidOut(String code) {
            var layout = new OneLiner();
            for (Matcher token = TOKEN.matcher(code); token.find(); ) {
                layout.take(token.group(), code.substring(token.end()));
            }
            layout.endLine();
            return String.join("\n", layout.lines);
        }

        private void take(String token, String rest) {
            if (token.equals("}")) {
                endLine();
                open.poll();
            }
            line.append(token.isBlank() && line.isEmpty() ? "" : token);
            boolean lineEnds = switch (token) {
                case "{" -> true;
                case "}" -> !SAME_LINE.matcher(rest).lookingAt();
                case ";" -> !"(".equals(open.peek());
                default -> false;
            };
            if (lineEnds) {
                endLine();
            }
            switch (token) {
                case "{" -> open.push("{");
                case "(", "[" -> open.push("(");
                case ")", "]" -> open.poll();
                default -> {}
            }
        }

        private void endLine() {
            String indent = INDENT.repeat((int) open.stream().filter("{"::equals).count());
            String text = line.isEmpty() ? "" : indent + line.toString().stripTrailing();
            line.setLength(0);
            while (text.length() > WIDEST && lastBreak(text) > 0) {
                int at = lastBreak(text);
                lines.add(text.substring(0, at).stripTrailing());
                text = indent + INDENT.repeat(2) + text.substring(at);
            }
            if (!text.isEmpty()) {
                lines.add(text);
            }
        }

        /** Where a line that is too long may end, outside of strings; 0 where nowhere. */
        private static int lastBreak(String text) {
            return MAY_BREAK.matcher(text).results().mapToInt(MatchResult::start)
                    .filter(at -> at <= WIDEST && !text.substring(0, at).isBlank())
                    .filter(at -> text.chars().limit(at).filter(c -> c == '"').count() % 2 == 0).max().orElse(0);
        }
    }

    /** {@code api::FILE[]}: read from the source by the compiler's own parser, so that it is never out of date. */
    private final class ApiMacro extends BlockMacroProcessor {
        ApiMacro() {
            super("api");
        }

        @Override
        public StructuralNode process(StructuralNode parent, String target, Map<String, Object> attributes) {
            Path file = root.resolve(target);
            read.add(file);
            if (!Files.exists(file)) {  // a students' copy has the skeleton only: the same public members
                file = root.resolve(target.replaceFirst("^solutions/", "labs/"));
                read.add(file);
            }
            try {
                String html = new Api(file, "package".equals(attributes.get("visible"))).html();
                return createBlock(parent, "pass", "<div class='api'>\n" + html + "</div>");
            } catch (IOException e) {
                int line = current.lineOf("api::" + target);
                problem(current.file(), line, "no API in " + target + ": " + why(e));
                return createBlock(parent, "pass", "");
            }
        }
    }

    // ---- the public API of a source file ---------------------------------------------------------------------------

    private static final class Api {
        private static final int WIDEST_SIGNATURE = 74;

        private final boolean packageToo;
        private final String source;
        private final CompilationUnitTree unit;
        private final DocTrees trees;

        Api(Path file, boolean packageToo) throws IOException {
            this.packageToo = packageToo;
            this.source = Files.readString(file);
            var compiler = ToolProvider.getSystemJavaCompiler();
            try (var manager = compiler.getStandardFileManager(null, null, null)) {
                var sources = manager.getJavaFileObjects(file);
                var task = (JavacTask) compiler.getTask(null, manager, _ -> {}, null, null, sources);
                unit = task.parse().iterator().next();
                trees = DocTrees.instance(task);
            }
        }

        String html() throws IOException {
            for (Tree type : unit.getTypeDecls()) {
                if (type instanceof ClassTree c && visible(c.getModifiers(), null)) {
                    return "<dl>\n" + typeEntry(c) + "</dl>\n";
                }
            }
            throw new IOException("it has no public type");
        }

        private String typeEntry(ClassTree type) {
            var members = new StringBuilder();
            type.getMembers().forEach(member -> members.append(memberEntry(type, member)));
            String list = members.isEmpty() ? "" : "<dl>\n" + members + "</dl>\n";
            String signature = code(head(type), type.getSimpleName());
            return "<dt>%s</dt>\n<dd>%s%s</dd>\n".formatted(signature, javadoc(type), list);
        }

        private String memberEntry(ClassTree owner, Tree member) {
            return switch (member) {
                case ClassTree type when visible(type.getModifiers(), owner) -> typeEntry(type);
                case VariableTree constant when isConstant(owner, constant) ->
                        entry(constant.getName().toString(), constant.getName(), member);
                case VariableTree field when visible(field.getModifiers(), owner) && !isComponent(owner, field) ->
                        entry(headOf(field, field.getInitializer()).replace(" =", ""), field.getName(), field);
                case MethodTree method when visible(method.getModifiers(), owner) && !isCanonical(owner, method) ->
                        entry(headOf(method, method.getBody()), name(owner, method), method);
                default -> "";
            };
        }

        /** Without a description of its own, even an empty one, a member would share that of the next. */
        private String entry(String signature, CharSequence name, Tree member) {
            return "<dt>" + code(signature, name) + "</dt>\n<dd>" + javadoc(member) + "</dd>\n";
        }

        private static boolean isConstant(ClassTree owner, VariableTree field) {
            return owner.getKind() == Tree.Kind.ENUM
                    && owner.getSimpleName().contentEquals(field.getType().toString());
        }

        private static CharSequence name(ClassTree owner, MethodTree method) {
            return method.getName().contentEquals("<init>") ? owner.getSimpleName() : method.getName();
        }

        /** The checking constructor of a record says nothing that its header does not say. */
        private static boolean isCanonical(ClassTree owner, MethodTree method) {
            return owner.getKind() == Tree.Kind.RECORD && method.getName().contentEquals("<init>");
        }

        private static boolean isComponent(ClassTree owner, VariableTree field) {
            return owner.getKind() == Tree.Kind.RECORD && !field.getModifiers().getFlags().contains(Modifier.STATIC);
        }

        private boolean visible(ModifiersTree modifiers, ClassTree owner) {
            var flags = modifiers.getFlags();
            boolean inside = owner != null && !flags.contains(Modifier.PRIVATE);
            return flags.contains(Modifier.PUBLIC) || flags.contains(Modifier.PROTECTED)
                    || inside && (packageToo || owner.getKind() == Tree.Kind.INTERFACE);
        }

        /** The text of a declaration up to its body, as the author wrote it. */
        private String head(ClassTree type) {
            return between(start(type), source.indexOf('{', (int) Math.max(start(type), end(type.getModifiers()))));
        }

        private String headOf(Tree member, Tree body) {
            return between(start(member), body == null ? end(member) : start(body));
        }

        private long start(Tree tree) {
            return trees.getSourcePositions().getStartPosition(unit, tree);
        }

        private long end(Tree tree) {
            return trees.getSourcePositions().getEndPosition(unit, tree);
        }

        private String between(long start, long end) {
            return source.substring((int) start, (int) end)
                    .replaceAll("//.*|(?s)/\\*.*?\\*/", " ").replaceAll("@\\w+(\\(.*?\\))?\\s+", "")
                    .replaceAll("\\s+", " ").replaceFirst(";\\s*$", "").replaceFirst("^public ", "").strip();
        }

        private static String code(String signature, CharSequence name) {
            int open = signature.indexOf('(');
            int close = signature.lastIndexOf(')');
            String text = signature;
            if (signature.length() > WIDEST_SIGNATURE && open > 0) {    // one parameter a line
                String parameters = signature.substring(open + 1, close).strip()
                        .replaceAll(",\\s*(?![^<]*>)", ",\n    ");
                text = signature.substring(0, open + 1) + "\n    " + parameters + signature.substring(close);
            }
            String html = JavaColours.keywords(escape(text));
            String word = "\\b" + Pattern.quote(name.toString()) + "\\b";
            return "<code>" + html.replaceFirst(word, "<b>$0</b>") + "</code>";
        }

        private String javadoc(Tree member) {
            DocCommentTree comment = trees.getDocCommentTree(TreePath.getPath(unit, member));
            if (comment == null) {
                return "";
            }
            String body = ("<p>" + inline(comment.getFullBody()) + "</p>").replaceAll("<p>\\s*</p>", "");
            String tags = comment.getBlockTags().stream().map(Api::blockTag).collect(Collectors.joining());
            return body + (tags.isEmpty() ? "" : "\n<dl class='tags'>\n" + tags + "</dl>\n");
        }

        private static String blockTag(DocTree tag) {
            return switch (tag) {
                case ParamTree p -> tag(code(p.getName()), inline(p.getDescription()));
                case ReturnTree r -> tag("returns", inline(r.getDescription()));
                case ThrowsTree t -> tag("throws " + code(t.getExceptionName()), inline(t.getDescription()));
                default -> "";
            };
        }

        private static String code(DocTree tree) {
            return "<code>" + escape(tree.toString().strip()) + "</code>";
        }

        private static String tag(String name, String text) {
            return "<dt>%s</dt><dd>%s</dd>\n".formatted(name, text);
        }

        private static String inline(List<? extends DocTree> parts) {
            return parts.stream().map(Api::inline).collect(Collectors.joining());
        }

        private static String inline(DocTree part) {
            return switch (part) {
                case TextTree text -> escape(text.getBody());
                case LiteralTree literal when literal.getKind() == DocTree.Kind.CODE -> code(literal.getBody());
                case LiteralTree literal -> escape(literal.getBody().getBody());
                case LinkTree link when !link.getLabel().isEmpty() -> inline(link.getLabel());
                case LinkTree link -> code(link.getReference()).replace(">#", ">").replace('#', '.');
                case EntityTree entity -> entity.toString();
                case StartElementTree element when element.getName().contentEquals("p") -> "</p><p>";
                case EndElementTree element when element.getName().contentEquals("p") -> "";
                case StartElementTree element when isBlock(element.getName()) -> "</p><" + element.getName() + ">";
                case EndElementTree element when isBlock(element.getName()) -> "</" + element.getName() + "><p>";
                case StartElementTree element -> "<" + element.getName() + ">";
                case EndElementTree element -> "</" + element.getName() + ">";
                default -> escape(part.toString());
            };
        }

        private static boolean isBlock(CharSequence element) {
            return Set.of("ul", "ol", "dl", "pre").contains(element.toString());
        }
    }

    // ---- drawings: text in, SVG out; the colours are the page's ----------------------------------------------------

    record Line(int number, String text) {}

    /** A line of a drawing that says nothing; becomes an error of the book with file and line. */
    private static final class Malformed extends Exception {
        private final Line line;

        Malformed(Line line, String message) {
            super(message);
            this.line = line;
        }
    }

    interface Drawing {
        Svg draw(List<Line> lines, Map<String, Object> attributes) throws Malformed;
    }

    /** The block around a drawing: reads the lines, insists on {@code alt}, reports what is malformed. */
    private final class DrawingBlock extends BlockProcessor {
        private final Drawing drawing;

        DrawingBlock(String name, Drawing drawing) {
            super(name, new HashMap<>(Map.of(Contexts.KEY, List.of(Contexts.LITERAL, Contexts.LISTING))));
            this.drawing = drawing;
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
                problem(current.file(), first, "[" + getName() + "] without alt: say in words what the drawing shows");
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
                String text = "[" + getName() + "] " + e.getMessage() + ": " + e.line.text();
                problem(current.file(), e.line.number(), text);
                return "";
            }
        }
    }

    /** SVG elements and the space that they take. */
    private static final class Svg {
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

        /** A drawing shrinks a little where there is no room; then one scrolls. */
        String element(String alt) {
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

    /**
     * {@code [packet]}: a header to scale. A line is a width in bits and a name: {@code 16 source port}. A row has
     * {@code bits=32} of them; a longer field goes on in the next row. {@code * data}, only last, has any length.
     */
    private static final class PacketDrawing implements Drawing {
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

    /**
     * {@code [bytes]}: bytes, with a brace under each field. A line is bytes in hex, a colon, and what they are:
     * {@code 68 65 6c 6c 6f : text}. Under each byte stands its character where it has one.
     */
    private static final class BytesDrawing implements Drawing {
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

    /**
     * {@code [sequence]}: who sends what, in order of time. First line: two to five participants,
     * {@code client, kernel}. Then {@code A -> B: text} a message, {@code A --> B: text} an answer (dashed),
     * {@code A -x B: text} one that is lost, {@code A: text} a note at A, {@code ... text} time passes.
     */
    private static final class SequenceDrawing implements Drawing {
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
            svg.elements.append(body.elements);
            svg.covers(body.left, 0);
            svg.covers(body.right, y - 14);
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

    /**
     * {@code [flow]}: boxes and arrows, {@code direction=right} (columns) or {@code direction=down} (rows). A line is
     * {@code box -> box: label -> box: label}; {@code -->} is a dashed arrow, {@code <->} one both ways.
     * {@code (name)} is round: a start, an end, an event; {@code !name} is where it goes wrong.
     * {@code group NAME: box, box} is a frame around boxes.
     *
     * <p>A box stands one layer after the last of those that lead to it; within a layer, in order of first mention. An
     * arrow over several layers takes a place of its own in each; an arrow back goes around everything.
     */
    private static final class FlowDrawing implements Drawing {
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

    /** A box of a flow, or, without a name, the place in a layer where a long arrow passes. */
    private static final class Node {
        final String name;
        final int order;
        String kind = "";
        int layer;
        double along;       // the centre, in the direction of the flow
        double across;
        double length;      // the size along it
        double breadth;

        Node(String name, int order) {
            this.name = name;
            this.order = order;
        }

        double begin() {
            return along - length / 2;
        }

        double end() {
            return along + length / 2;
        }

        double side() {
            return across + breadth / 2;
        }
    }

    record Edge(Node from, Node to, String kind, String label, int order) {}

    record Group(String name, List<Node> nodes) {}

    /** Thinks in «along» and «across»; which of them is x shows when it paints. */
    private static final class FlowPlan {
        private static final Pattern ARROW = Pattern.compile("\\s+(->|-->|<->)\\s+");
        private static final int LINE = 20;
        private static final int TIP = 7;

        private final boolean down;
        private final Map<String, Node> nodes = new LinkedHashMap<>();
        private final List<Edge> edges = new ArrayList<>();
        private final List<Edge> backward = new ArrayList<>();
        private final Map<Edge, List<Node>> routes = new LinkedHashMap<>();    // forward, with the places passed
        private final List<Group> groups = new ArrayList<>();
        private final List<List<Node>> layers = new ArrayList<>();
        private int count;

        FlowPlan(boolean down) {
            this.down = down;
        }

        // -- reading

        void read(Line line) throws Malformed {
            Matcher group = Pattern.compile("group ([^:]+):\\s*(.+)").matcher(line.text());
            if (group.matches()) {
                groups.add(group(line, group.group(1).strip(), group.group(2)));
                return;
            }
            List<String> boxes = List.of(ARROW.split(line.text()));
            List<String> arrows = ARROW.matcher(line.text()).results().map(m -> m.group(1)).toList();
            boolean unnamed = boxes.stream().anyMatch(box -> bare(box).isEmpty());
            if (arrows.isEmpty() || unnamed || boxes.getFirst().contains(": ")) {
                throw new Malformed(line, "expected box -> box: label, or group NAME: box, box");
            }
            Node before = node(boxes.getFirst());
            for (int i = 0; i < arrows.size(); i++) {
                String[] box = boxes.get(i + 1).split(":\\s+", 2);
                Node next = node(box[0]);
                if (next == before) {
                    throw new Malformed(line, "an arrow from a box to itself");
                }
                edges.add(new Edge(before, next, arrows.get(i), box.length > 1 ? box[1] : "", count++));
                before = next;
            }
        }

        private Group group(Line line, String name, String boxes) throws Malformed {
            List<Node> members = new ArrayList<>();
            for (String box : boxes.split("\\s*,\\s*")) {
                if (!nodes.containsKey(bare(box))) {
                    throw new Malformed(line, "no box «" + bare(box) + "» above this line");
                }
                members.add(nodes.get(bare(box)));
            }
            return new Group(name, members);
        }

        private Node node(String text) {
            Node node = nodes.computeIfAbsent(bare(text), name -> new Node(name, count++));
            if (text.strip().startsWith("(")) {
                node.kind = "round";
            } else if (text.strip().startsWith("!")) {
                node.kind = "bad";
            }
            return node;
        }

        private static String bare(String text) {
            return text.strip().replaceAll("^\\((.*)\\)$|^!", "$1").strip();
        }

        // -- layers

        void layers() {
            Set<Node> done = new HashSet<>();
            nodes.values().forEach(node -> findBackward(node, new LinkedHashSet<>(), done));
            List<Edge> forward = edges.stream().filter(edge -> !backward.contains(edge)).toList();
            for (boolean moved = true; moved; ) {   // ends, since the edges that are left have no cycle
                moved = false;
                for (Edge edge : forward) {
                    if (edge.to().layer <= edge.from().layer) {
                        edge.to().layer = edge.from().layer + 1;
                        moved = true;
                    }
                }
            }
            nodes.values().forEach(node -> layer(node.layer).add(node));
            forward.forEach(edge -> routes.put(edge, route(edge)));
            layers.forEach(layer -> layer.sort(Comparator.comparingInt(node -> node.order)));
        }

        private void findBackward(Node node, Set<Node> path, Set<Node> done) {
            if (!done.add(node)) {
                return;
            }
            path.add(node);
            for (Edge edge : edges) {
                if (edge.from() == node && path.contains(edge.to())) {
                    backward.add(edge);
                } else if (edge.from() == node) {
                    findBackward(edge.to(), path, done);
                }
            }
            path.remove(node);
        }

        private List<Node> route(Edge edge) {
            List<Node> route = new ArrayList<>(List.of(edge.from()));
            for (int layer = edge.from().layer + 1; layer < edge.to().layer; layer++) {
                var place = new Node(null, edge.order());
                layer(layer).add(place);
                route.add(place);
            }
            route.add(edge.to());
            return route;
        }

        private List<Node> layer(int number) {
            while (layers.size() <= number) {
                layers.add(new ArrayList<>());
            }
            return layers.get(number);
        }

        // -- places

        void place() {
            for (Node node : nodes.values()) {
                List<String> text = Svg.wrap(node.name, 20);
                double width = Math.max(64, text.stream().mapToDouble(Svg::width).max().orElse(0) + 28);
                double height = text.size() * LINE + 20;
                node.length = down ? height : width;
                node.breadth = down ? width : height;
            }
            double at = 0;
            for (List<Node> layer : layers) {
                double length = layer.stream().mapToDouble(node -> node.length).max().orElse(0);
                for (Node node : layer) {
                    node.along = at + length / 2;
                    node.length = node.name == null ? length : node.length;
                }
                spread(layer);
                at += length + gapAfter(layer);
            }
        }

        /** Each near those that lead to it, in order, without overlap. */
        private void spread(List<Node> layer) {
            double end = Double.NEGATIVE_INFINITY;
            double shift = 0;
            for (Node node : layer) {
                double wanted = wanted(node);
                double room = Math.max(node.breadth, down ? longestLabel(edge -> routes.get(edge).contains(node)
                        && edge.from() != node) : 24);
                node.across = Math.max(wanted, end + room / 2);
                end = node.across + room / 2 + (down ? 26 : 20);
                shift += (node.across - wanted) / layer.size();
            }
            for (Node node : layer) {
                node.across -= shift;
            }
        }

        private double wanted(Node node) {
            return routes.values().stream().filter(route -> route.indexOf(node) > 0)
                    .mapToDouble(route -> route.get(route.indexOf(node) - 1).across).average().orElse(0);
        }

        private double gapAfter(List<Node> layer) {
            double label = longestLabel(edge -> layer.contains(edge.from()));
            double frame = groups.isEmpty() ? 0 : 14;
            return frame + (!down ? Math.max(52, label + 38) : label > 0 ? 62 : 40);
        }

        private double longestLabel(Predicate<Edge> which) {
            return routes.keySet().stream().filter(which).mapToDouble(edge -> Svg.width(edge.label())).max().orElse(0);
        }

        // -- painting

        Svg paint() {
            var svg = new Svg();
            groups.forEach(group -> frame(svg, group));
            nodes.values().forEach(node -> box(svg, node));
            double lane = down ? svg.right : svg.bottom;
            for (Edge edge : backward) {
                lane += 24;
                around(svg, edge, lane);
            }
            routes.forEach((edge, route) -> arrow(svg, edge, route));
            return svg;
        }

        private double x(double along, double across) {
            return down ? across : along;
        }

        private double y(double along, double across) {
            return down ? along : across;
        }

        private String at(double along, double across) {
            return Svg.n(x(along, across)) + " " + Svg.n(y(along, across));
        }

        private void box(Svg svg, Node node) {
            double x = x(node.along, node.across);
            double y = y(node.along, node.across);
            double width = x(node.length, node.breadth);
            double height = y(node.length, node.breadth);
            double radius = node.kind.equals("round") ? height / 2 : 3;
            svg.box("box " + node.kind, x - width / 2, y - height / 2, width, height, radius);
            List<String> text = Svg.wrap(node.name, 20);
            for (int i = 0; i < text.size(); i++) {
                svg.text(node.kind, x, y + 5 + (i - (text.size() - 1) / 2.0) * LINE, text.get(i));
            }
        }

        private void frame(Svg svg, Group group) {
            var inside = new Svg();
            for (Node node : group.nodes()) {
                double x = x(node.along, node.across);
                double y = y(node.along, node.across);
                inside.covers(x - x(node.length, node.breadth) / 2 - 12, y - y(node.length, node.breadth) / 2 - 26);
                inside.covers(x + x(node.length, node.breadth) / 2 + 12, y + y(node.length, node.breadth) / 2 + 12);
            }
            svg.box("frame", inside.left, inside.top, inside.right - inside.left, inside.bottom - inside.top, 6);
            svg.text("small start frame-name", inside.left + 10, inside.top + 17, group.name());
        }

        private void arrow(Svg svg, Edge edge, List<Node> route) {
            var d = new StringBuilder("M" + at(edge.from().end(), edge.from().across));
            for (int i = 1; i < route.size(); i++) {
                Node a = route.get(i - 1);
                Node b = route.get(i);
                double end = b.begin() - (b.name == null ? 0 : TIP);
                double bend = (b.begin() - a.end()) * 0.45;
                d.append("L%sC%s %s %s".formatted(at(a.end(), a.across), at(a.end() + bend, a.across),
                        at(end - bend, b.across), at(end, b.across)));
            }
            svg.path(edge.kind().equals("-->") ? "arrow dashed" : "arrow", d.toString());
            Node to = edge.to();
            svg.arrowHead(x(to.begin(), to.across), y(to.begin(), to.across), down ? 90 : 0);
            if (edge.kind().equals("<->")) {
                Node from = edge.from();
                svg.arrowHead(x(from.end(), from.across), y(from.end(), from.across), down ? 270 : 180);
            }
            label(svg, edge.label(), route.get(0), route.get(1));
        }

        /** At the first piece of an arrow: above it, or, going down, on the side to which it bends. */
        private void label(Svg svg, String label, Node a, Node b) {
            double middle = (a.end() + b.begin()) / 2;
            double across = (a.across + b.across) / 2;
            double bend = b.across - a.across;
            if (!down) {
                svg.text("label", middle, across - 7, label);
            } else if (Math.abs(bend) < 4) {
                svg.beside(across + 9, middle + 5, label, false);
            } else {
                svg.beside(across + Math.copySign(6, bend), middle - 7, label, bend < 0);
            }
        }

        /** Below everything, or right of everything, and back. */
        private void around(Svg svg, Edge edge, double lane) {
            Node a = edge.from();
            Node b = edge.to();
            svg.path(edge.kind().equals("-->") ? "arrow dashed" : "arrow", "M%sL%sL%sL%s".formatted(
                    at(a.along, a.side()), at(a.along, lane), at(b.along, lane), at(b.along, b.side() + TIP)));
            svg.arrowHead(x(b.along, b.side()), y(b.along, b.side()), down ? 180 : 270);
            svg.covers(x(a.along, lane), y(a.along, lane));
            double middle = (a.along + b.along) / 2;
            if (down) {
                svg.beside(lane + 9, middle + 5, edge.label(), false);
            } else {
                svg.text("label", middle, lane + 5, edge.label());
            }
        }
    }

    // ---- small things ----------------------------------------------------------------------------------------------

    private static String hours(double hours) {
        int whole = (int) hours;
        String part = switch ((int) Math.round((hours - whole) * 4)) {
            case 1 -> "¼";
            case 2 -> "½";
            case 3 -> "¾";
            default -> "";
        };
        return (whole == 0 ? "" : whole) + part + " h";
    }

    private static String escape(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
                .replace("\"", "&quot;").replace("'", "&#39;");
    }

    /** The words of a piece of HTML. */
    private static String text(String html) {
        return html.replaceAll("(?s)<svg.*?</svg>", " ").replaceAll("</(p|li|dt|dd|td|th|div|pre)>", " ")
                .replaceAll("<[^>]+>", "").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"")
                .replaceAll("&#8217;|&#39;", "'").replace("&amp;", "&").replaceAll("&#?\\w+;", " ")
                .replaceAll("\\s+", " ").strip();
    }

    /** A pattern for HTML. It says ' where the HTML may have either quotation mark, so that it can be read. */
    private static Pattern html(String regex) {
        return Pattern.compile(regex.replace("'", "[\"']"), Pattern.DOTALL);
    }

    private static String swap(String regex, String html, String replacement) {
        return html(regex).matcher(html).replaceAll(replacement);
    }

    private static String swap(String regex, String html, Function<MatchResult, String> replacement) {
        return html(regex).matcher(html).replaceAll(m -> Matcher.quoteReplacement(replacement.apply(m)));
    }

    private static int indexOf(List<String> lines, int from, Predicate<String> wanted) {
        int i = from;
        while (i < lines.size() && !wanted.test(lines.get(i))) {
            i++;
        }
        return Math.min(i, lines.size());
    }

    /** A path as one would type it: seen from the workbook where it is inside. */
    private String shortest(Path path) {
        return path.startsWith(root) ? root.relativize(path).toString() : path.toString();
    }

    private static List<Path> list(Path folder, String ending) throws IOException {
        try (var files = Files.list(folder)) {
            return files.filter(file -> file.toString().endsWith(ending)).sorted().toList();
        }
    }

    private static void copyTree(Path folder, Path to, List<Path> copies) throws IOException {
        Path from = folder.toRealPath();
        try (var files = Files.walk(from)) {
            for (Path file : files.toList()) {
                Path target = to.resolve(from.relativize(file).toString());
                if (Files.isDirectory(file)) {
                    Files.createDirectories(target);
                } else if (!file.endsWith("page.html")) {
                    copies.add(Files.copy(file, target, StandardCopyOption.REPLACE_EXISTING));
                }
            }
        }
    }

    private void deleteOthers(List<Path> written) throws IOException {
        try (var files = Files.walk(out)) {
            for (Path file : files.filter(Files::isRegularFile).filter(file -> !written.contains(file)).toList()) {
                Files.delete(file);
            }
        }
    }

    private static void openInBrowser(Path page) throws IOException {
        String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        String url = page.toUri().toString();
        List<String> command = os.contains("win") ? List.of("rundll32", "url.dll,FileProtocolHandler", url)
                : List.of(os.contains("mac") ? "open" : "xdg-open", url);
        try {
            new ProcessBuilder(command).redirectErrorStream(true)
                    .redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
        } catch (IOException e) {
            System.err.println("book: cannot start a browser; open " + page + " yourself");
        }
    }

    private static String stackTrace(Throwable e) {
        var text = new StringWriter();
        e.printStackTrace(new PrintWriter(text));
        return text.toString();
    }
}
