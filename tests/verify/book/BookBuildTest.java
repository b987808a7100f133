package verify.book;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import grader.workbook.Folders;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import verify.Commands;
import verify.Selection;

/** When {@code jbang book} renders, and what it writes, on a book of three small chapters. */
class BookBuildTest {
    private Path root;

    @BeforeEach
    void write() throws IOException {
        root = Files.createTempDirectory("workbook").toRealPath();
        write("jbang-catalog.json", "{}");
        write("book/curriculum.json", """
                {"themes": {"S": "Sockets"}, "labs": [
                  {"number": 401, "slug": "401-a", "title": "Lab A", "type": "A", "theme": "S", "level": 1, "coreHours": 1,
                   "furtherHours": 1, "readFirst": [], "steps": [{"title": "Begin", "further": false}]},
                  {"number": 402, "slug": "402-b", "title": "Lab B", "type": "B", "theme": "S", "level": 1, "coreHours": 1,
                   "furtherHours": 1, "readFirst": [401], "steps": [{"title": "Begin", "further": false}]}]}
                """);
        write("book/chapters/index.adoc", "[#front]\n= The book\n\nxref:401-a.adoc#lab-401[]\n\nlabs::[]\n");
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

    private void write(String path, String text) throws IOException {
        Files.createDirectories(root.resolve(path).getParent());
        Files.writeString(root.resolve(path), text);
    }

    private void copyTheme() throws IOException {
        var theme = Files.createDirectories(root.resolve("book", "theme"));
        try (var files = Files.list(Selection.root().resolve("book", "theme"))) {
            for (var file : files.filter(Files::isRegularFile).toList()) {
                Files.copy(file, theme.resolve(file.getFileName()));
            }
        }
    }

    /** Runs {@code jbang book} on this small book, and notes which classes it loads. */
    private Commands.Ended book(String... options) throws Exception {
        var command = new ArrayList<>(List.of("--quiet", "book", "--root", root.toString()));
        command.addAll(List.of(options));
        var log = "-Xlog:class+load:file=" + root.resolve("classes-%p.log");
        return Commands.jbang(Map.of("JAVA_TOOL_OPTIONS", log), command.toArray(String[]::new));
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

    @Test
    void a_folder_that_cannot_be_written_is_named_before_anything_is_rendered() throws Exception {
        var ended = book("--out", root.resolve("jbang-catalog.json").resolve("pages").toString());
        var complaints = ended.errors().lines().filter(line -> !line.startsWith("Picked up ")).toList();
        assertEquals(2, ended.status(), ended.all());
        assertEquals(List.of("book: cannot write to jbang-catalog.json/pages: name another folder with --out DIR"), complaints);
        assertTrue(!hasRendered(), "it rendered first");
    }
}
