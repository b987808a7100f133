package verify.book;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import grader.speed.Jvm;
import grader.workbook.Folders;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import verify.Commands;
import verify.Selection;

/** When {@code jbang book} renders, and what it writes, on a book of three small chapters. */
class BookBuildTest {
    private Path root;
    private Instant written = Instant.now().minus(Duration.ofDays(1));

    @BeforeEach
    void write() throws IOException {
        root = Files.createTempDirectory("workbook").toRealPath();
        write("jbang-catalog.json", "{}");
        write("book/curriculum.json", """
                {"themes": {"S": "Sockets"}, "labs": [
                  {"number": 401, "slug": "401-a", "title": "Lab A", "type": "A", "theme": "S", "level": 1,
                   "coreHours": 1, "furtherHours": 1, "readFirst": [], "steps": [{"title": "Begin", "further": false}]},
                  {"number": 402, "slug": "402-b", "title": "Lab B", "type": "B", "theme": "S", "level": 1,
                   "coreHours": 1, "furtherHours": 1, "readFirst": [401], "steps": []}]}
                """);
        write("book/chapters/index.adoc",
                "[#front]\n= The book\n\nxref:401-a.adoc#lab-401[]\n\n[#labs]\n== Labs\n\nlabs::[]\n");
        write("book/chapters/401-a.adoc", """
                [#lab-401]
                = Lab A

                RFC 9293, section 3.1.

                include::{root}/book/transcripts/401/run.txt[]

                [#step-1]
                == Step 1: Begin

                hints::401[step=1]

                api::solutions/401-a/A.java[]
                """);
        write("book/chapters/402-b.adoc", "[#lab-402]\n= Lab B\n\n[#b-part]\n== A part\n\nxref:401-a.adoc#step-1[]\n");
        write("book/transcripts/401/run.txt", "what it printed\n");
        write("solutions/401-a/A.java", "/** The first. */\npublic class A {}\n");
        write("tests/401-a/hints.adoc", "== Step 1\n\n. one\n. two\n. three\n");
        copyTheme();
    }

    @AfterEach
    void delete() throws IOException {
        Folders.delete(root);
    }

    /** As if it had been written some time ago: each time a minute later. */
    private void write(String path, String text) throws IOException {
        Files.createDirectories(root.resolve(path).getParent());
        written = written.plusSeconds(60);
        Files.setLastModifiedTime(Files.writeString(root.resolve(path), text), FileTime.from(written));
    }

    private void copyTheme() throws IOException {
        var theme = Files.createDirectories(root.resolve("book", "theme"));
        try (var files = Files.list(Selection.root().resolve("book", "theme"))) {
            for (var file : files.filter(Files::isRegularFile).toList()) {
                Files.copy(file, theme.resolve(file.getFileName()));
            }
        }
    }

    /**
     * Runs the program on this small book by the command line that it leaves behind, and notes which classes it loads.
     */
    private Commands.Ended book(String... options) throws Exception {
        RenderedBook.folder();
        var remembered = "@" + Selection.book().cache().resolve("book-command");
        var command = new ArrayList<>(List.of(Jvm.java(), remembered, "--root", root.toString()));
        command.addAll(List.of(options));
        return Commands.run(root, notingClasses(), command.toArray(String[]::new));
    }

    /** No option on a command line goes before this variable's. */
    private Map<String, String> notingClasses() {
        return Map.of("_JAVA_OPTIONS", "-Xlog:class+load:file=" + root.resolve("classes-%p.log"));
    }

    private void mustRender(String chapters, String... options) throws Exception {
        var ended = book(options);
        assertEquals(0, ended.status(), ended.all());
        assertTrue(ended.output().contains(chapters), ended.all());
    }

    /** Asciidoctor runs on JRuby, whose start takes longer than everything else. */
    private boolean hasRendered() throws IOException {
        try (var logs = Files.newDirectoryStream(root, "classes-*.log")) {
            boolean found = false;
            for (var log : logs) {
                found |= Files.readString(log).contains("org.jruby.Ruby ");
                Files.delete(log);
            }
            return found;
        }
    }

    /** What {@code jbang book} has made, file by file. */
    private Map<String, String> pages(String folder) throws IOException {
        var pages = new TreeMap<String, String>();
        try (var files = Files.walk(root.resolve(folder))) {
            for (var file : files.filter(Files::isRegularFile).toList()) {
                var name = root.resolve(folder).relativize(file).toString();
                pages.put(name, Files.readString(file, StandardCharsets.ISO_8859_1));
            }
        }
        return pages;
    }

    /** Renders what has changed; then the same without anything from before. */
    private Map<String, String> afterChange(String rendered, String... options) throws Exception {
        mustRender(rendered, options);
        var pages = pages("book/build");
        Folders.delete(root.resolve(".workbook"));
        Folders.delete(root.resolve("book/build"));
        mustRender(" chapters rendered", options);
        assertEquals(pages("book/build"), pages);
        return pages;
    }

    @Test
    void a_book_in_which_nothing_has_changed_is_left_as_it_is() throws Exception {
        mustRender("3 of 3 chapters rendered");
        assertTrue(hasRendered());
        mustRender("");
        assertTrue(!hasRendered(), "it rendered again");
        mustRender("nothing has changed");
        Files.delete(root.resolve("book/build/401-a.html"));
        mustRender("0 of 3 chapters rendered");
        assertTrue(!hasRendered(), "it rendered again");
        assertTrue(Files.exists(root.resolve("book/build/401-a.html")), "a page that was deleted comes back");
    }

    @Test
    void only_what_has_changed_is_rendered_and_the_book_is_the_same_as_if_all_were() throws Exception {
        mustRender("3 of 3 chapters rendered");
        var chapter = Files.readString(root.resolve("book/chapters/401-a.adoc"));
        write("book/chapters/401-a.adoc", chapter.replace("Step 1: Begin", "Step 1: Begin anew") + "RFC 768.\n");
        var pages = afterChange("1 of 3 chapters rendered");
        assertTrue(pages.get("402-b.html").contains("Step 1: Begin anew"), "a reference in another chapter");
        assertTrue(pages.get("rfcs.html").contains("RFC 768"), "the index of RFCs");
        write("book/transcripts/401/run.txt", "what it prints now\n");
        assertTrue(afterChange("1 of 3 chapters rendered").get("search-index.js").contains("prints now"), "the search");
        write("solutions/401-a/A.java", "/** The second. */\npublic class A {}\n");
        write("tests/401-a/hints.adoc", "== Step 1\n\n. one\n. two\n. the third\n");
        pages = afterChange("1 of 3 chapters rendered");
        assertTrue(pages.get("401-a.html").contains("The second."), "the API");
        assertTrue(pages.get("401-a.html").contains("the third"), "the hint");
        write("book/theme/book.css", "body { color: red }\n");
        var shell = Files.readString(root.resolve("book/theme/page.html"));
        write("book/theme/page.html", shell.replace("Skip to", "Go to"));
        pages = afterChange("0 of 3 chapters rendered");
        assertEquals("body { color: red }\n", pages.get("book.css"));
        assertTrue(pages.get("402-b.html").contains("Go to the text"), "the shell of a page");
        Files.delete(root.resolve("book/chapters/402-b.adoc"));
        pages = afterChange(" of 2 chapters rendered");
        assertTrue(!pages.containsKey("402-b.html"), "the page of a removed chapter");
        assertTrue(!pages.get("index.html").contains("402-b.html"), "a link to a removed chapter");
    }

    @Test
    void the_students_edition_and_the_full_one_take_turns() throws Exception {
        mustRender("3 of 3 chapters rendered");
        var full = pages("book/build");
        mustRender("3 of 3 chapters rendered", "--students");
        assertTrue(pages("book/build").get("index.html").contains("Students' edition"));
        mustRender("0 of 3 chapters rendered");
        assertEquals(full, pages("book/build"));
        mustRender("0 of 3 chapters rendered", "--out", root.resolve("elsewhere").toString());
        assertEquals(full, pages("elsewhere"));
    }

    @Test
    void a_problem_is_told_again_until_it_is_mended() throws Exception {
        write("book/chapters/402-b.adoc", "[#lab-402]\n= Lab B\n\ninclude::{root}/book/transcripts/none.txt[]\n");
        for (int i = 0; i < 2; i++) {
            var ended = book();
            assertEquals(1, ended.status(), ended.all());
            assertTrue(ended.errors().contains("book/chapters/402-b.adoc:4: include file not found"), ended.all());
        }
        write("book/transcripts/none.txt", "here it is\n");
        mustRender("1 of 3 chapters rendered");
    }

    @Test
    void a_folder_that_cannot_be_written_is_named_before_anything_is_rendered() throws Exception {
        var out = root.resolve("jbang-catalog.json").resolve("pages").toString();
        var ended = Commands.jbang(notingClasses(), "--quiet", "book", "--root", root.toString(), "--out", out);
        var complaints = ended.errors().lines().filter(line -> line.startsWith("book: ")).toList();
        assertEquals(2, ended.status(), ended.all());
        assertEquals(List.of("book: cannot write to " + out + ": name another folder with --out DIR"), complaints);
        assertTrue(!hasRendered(), "it rendered first");
    }

    /** Renderers run on threads of their own. */
    @Test
    void what_stops_a_renderer_is_told_in_a_sentence() throws Exception {
        write(".workbook/cache/book", "a file in the place of a folder");
        var ended = Commands.jbang(notingClasses(), "--quiet", "book", "--root", root.toString());
        assertEquals(2, ended.status(), ended.all());
        var folder = root.resolve(".workbook/cache/book").toString();
        assertTrue(ended.errors().lines().anyMatch(line -> line.startsWith("book: " + folder)), ended.all());
        assertTrue(!ended.all().contains("\tat "), ended.all());
    }
}
