///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Renders the book: book/chapters/*.adoc become book/build/*.html
//DEPS org.asciidoctor:asciidoctorj:3.0.1
//DEPS info.picocli:picocli:4.7.7
//DEPS com.fasterxml.jackson.core:jackson-databind:2.19.2
//SOURCES draw/*.java
//SOURCES html/*.java
//SOURCES keep/*.java
//SOURCES macro/*.java
//SOURCES read/*.java
//SOURCES render/*.java
//SOURCES ../../tests/grader/workbook/*.java
//SOURCES ../../tests/grader/speed/Jvm.java
//SOURCES ../../tests/grader/speed/RememberedCommand.java
//CDS
//RUNTIME_OPTIONS --sun-misc-unsafe-memory-access=allow -XX:+UseSerialGC -XX:TieredStopAtLevel=1
//RUNTIME_OPTIONS -Xmn160m -XX:ReservedCodeCacheSize=160m -Xlog:disable -Dworkbook.remember=true
package program;

import module java.base;

import grader.speed.RememberedCommand;
import grader.workbook.CannotCheck;
import grader.workbook.Curriculum;
import grader.workbook.Workbook;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import program.html.Links;
import program.html.OutputFolder;
import program.html.Page;
import program.html.RfcIndex;
import program.html.SearchIndex;
import program.html.Shell;
import program.keep.ClassArchive;
import program.keep.Made;
import program.keep.Renderings;
import program.read.Chapter;
import program.read.Course;
import program.read.Edition;
import program.read.Problems;
import program.render.Renderer;

/**
 * Renders the book. Each chapter {@code book/chapters/NAME.adoc} becomes the page {@code book/build/NAME.html}, which
 * works from the disk: no request leaves it. Only what has changed is rendered.
 *
 * <p>What chapters can use beyond AsciiDoc:
 * <ul>
 * <li>{@code `code`}: nothing between backticks means anything to AsciiDoc;
 * <li>{@code labs::[]} the table of all labs, from {@code book/curriculum.json};
 * <li>{@code hints::401[step=2]} the three hints of a step, each inside the one before, from {@code hints.adoc};
 * <li>{@code api::solutions/401-tcp-server/TcpServer.java[]} the public API with its javadoc, read from the source;
 *     {@code [visible=package]} shows package-visible members too;
 * <li>{@code [.checks]} above a list: what the tests of a step check;
 * <li>{@code [packet]}, {@code [bytes]}, {@code [sequence]}, {@code [flow]} drawings; their formats stand at
 *     the classes of the package {@code draw}.
 * </ul>
 *
 * <p>The students' edition leaves out the sections whose id ends in {@code -solution}, the blocks with role
 * {@code solution}, and what stands between {@code ifndef::students[]} and {@code endif::[]}.
 */
@Command(sortOptions = false, description = {"Renders the book to HTML pages that work offline.",
    "Only what has changed since the last time is rendered."},
        footer = {"", "Exit status: 0 all is well, 1 something in the book is wrong, 2 it could not be rendered."})
public final class Book implements Callable<Integer> {
    private static final int WELL = 0;
    private static final int WRONG = 1;
    private static final int NOT_RENDERED = 2;
    private static final int FEW = 4;

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

    private final long start = System.nanoTime();
    private Edition edition;
    private Problems problems;

    /** Picocli takes longer than to see that nothing has changed: what is typed most does without it. */
    public static void main(String[] args) {
        boolean isPlain = args.length == 0 || args.length == 1 && args[0].equals("--open");
        System.exit(isPlain ? plain(args.length == 1) : new CommandLine(new Book())
                .setCommandName(Workbook.jbang() + " book").setUsageHelpWidth(96)
                .setExecutionExceptionHandler((e, _, _) -> notRendered(e)).execute(args));
    }

    private static int plain(boolean open) {
        var book = new Book();
        book.open = open;
        try {
            return book.call();
        } catch (Exception e) {
            return notRendered(e);
        }
    }

    private static int notRendered(Exception e) {
        System.out.flush();
        if (e instanceof CannotCheck || e instanceof IOException || e instanceof UncheckedIOException) {
            System.err.println("book: " + CannotCheck.sentence(e));
        } else {
            e.printStackTrace();
        }
        return NOT_RENDERED;
    }

    @Override
    public Integer call() throws IOException {
        edition = Edition.of(findWorkbook(), students, out);
        problems = new Problems(edition);
        var made = new Made(edition);
        String done = made.isCurrent() ? "nothing has changed" : build(made);
        Path front = edition.out().resolve("index.html");
        System.out.printf("book: %s%s, %.1f s, %s%n", edition.students() ? "students' edition, " : "", done,
                (System.nanoTime() - start) / 1e9, edition.shown(front));
        remember(edition.workbook());
        if (open) {
            openInBrowser(front);
        }
        return problems.isEmpty() ? WELL : WRONG;
    }

    private Workbook findWorkbook() {
        if (root == null) {
            return Workbook.find();
        }
        Path folder = root.toAbsolutePath().normalize();
        if (!Files.isDirectory(folder.resolve("book/chapters"))) {
            throw new CannotCheck("no workbook in " + folder + ": it has no book/chapters");
        }
        return new Workbook(folder, folder.resolve(".workbook"));
    }

    /** Renders the chapters that have changed, and writes the pages that follow from that. */
    private String build(Made made) throws IOException {
        var output = new OutputFolder(edition);
        output.makeSure();
        List<Chapter> chapters = Chapter.all(edition);
        var renderings = new Renderings(edition, chapters);
        List<Chapter> stale = renderings.stale(chapters);
        var course = new Course(Curriculum.read(edition.workbook()), Chapter.names(chapters));
        var rendered = render(new ConcurrentLinkedQueue<>(stale), course, renderings);
        renderings.read();
        waitFor(rendered);
        List<Page> pages = new ArrayList<>();
        chapters.forEach(chapter -> pages.add(renderings.of(chapter).page(chapter)));
        pages.add(RfcIndex.of(pages));
        Map<Page, String> finished = new Shell(edition, course).around(Links.withTitles(pages));
        List<Path> written = output.write(finished, SearchIndex.of(finished.keySet()));
        new Links(edition, problems).check(finished);
        problems.print();
        made.note(renderings.sources(), written, problems.isEmpty());
        return "%d of %d chapters rendered, %s".formatted(stale.size(), chapters.size(), problems);
    }

    /** With two renderers, each on a core, unless there is too little for the second to start for. */
    private CompletableFuture<Void> render(Queue<Chapter> stale, Course course, Renderings renderings) {
        int renderers = stale.size() > FEW ? 2 : Math.min(1, stale.size());
        return CompletableFuture.allOf(Stream.generate(() -> new Renderer(edition, course, problems)).limit(renderers)
                .map(each -> CompletableFuture.runAsync(() -> each.render(stale, renderings),
                        Thread.ofPlatform().daemon()::start))
                .toArray(CompletableFuture[]::new));
    }

    private static void waitFor(CompletableFuture<Void> rendered) throws IOException {
        try {
            rendered.join();
        } catch (CompletionException e) {
            if (e.getCause() instanceof UncheckedIOException io) {
                throw io.getCause();
            }
            throw e;
        }
    }

    /** For the launcher, which then need not ask JBang the next time. */
    private static void remember(Workbook workbook) throws IOException {
        String name = "book-command";
        List<String> options = ClassArchive.options();
        ClassArchive.deleteOther(RememberedCommand.file(workbook, name), options);
        RememberedCommand.write(workbook, name, options, "program.Book");
    }

    private static void openInBrowser(Path page) {
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
}
