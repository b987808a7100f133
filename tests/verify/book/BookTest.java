package verify.book;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import module java.base;

import grader.maintain.Transcript;
import grader.workbook.Folders;
import grader.workbook.Workbook;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import verify.Commands;
import verify.Selection;

/** The book renders without a warning, and its transcripts of our own commands, and of some peers, are still right. */
class BookTest {
    @Test
    void the_book_renders_without_a_warning() throws Exception {
        assertEquals(0, RenderedBook.ended().status(), RenderedBook.ended().all());
        for (var lab : Selection.book().labs()) {
            assertTrue(Files.exists(RenderedBook.folder().resolve(lab.slug() + ".html")), "no page for " + lab.slug());
        }
    }

    @Test
    void the_students_edition_has_no_solution() throws Exception {
        var out = Files.createTempDirectory("students");
        try {
            var ended = Commands.jbang("--quiet", "book", "--students", "--out", out.toString());
            assertEquals(0, ended.status(), ended.all());
            for (var lab : Selection.book().labs()) {
                var page = Files.readString(out.resolve(lab.slug() + ".html"));
                assertTrue(!page.contains("lab-" + lab.number() + "-solution"), lab.slug() + " still has its solution");
            }
        } finally {
            Folders.delete(out);
        }
    }

    @TestFactory
    Stream<DynamicTest> a_transcript_is_what_the_commands_print() throws IOException {
        return Transcript.files(Selection.book(), List.of()).stream()
                .map(file -> DynamicTest.dynamicTest(Selection.book().shown(file), () -> compare(file)));
    }

    private static boolean labsAreSkeletons() throws IOException {
        for (var lab : Selection.book().labs()) {
            if (!Files.exists(lab.file()) || !Files.readString(lab.file()).equals(lab.skeleton())) {
                return false;
            }
        }
        return true;
    }

    private static void compare(Path file) throws Exception {
        var transcript = Transcript.of(Selection.book(), file);
        if (transcript.canBeCompared()) {
            assumeTrue(Workbook.requiresAll() || !transcript.readsLabs() || labsAreSkeletons(),
                    "it shows a lab file, and yours are changed");
            assertEquals(Optional.empty(), transcript.difference());
        } else if (!transcript.runAgainWith().isEmpty()) {
            for (var need : transcript.runAgainWith()) {
                assumeTrue(isHere(need), "it needs " + need);
            }
            assertEquals(Optional.empty(), transcript.difference());
        } else {
            assertTrue(Files.readString(file).startsWith("# "),
                    "a transcript of other tools begins with their versions and the date: # …");
        }
    }

    private static boolean isHere(String need) throws IOException, InterruptedException {
        return switch (need) {
            case "root" -> System.getProperty("user.name").equals("root");
            case "unshare" -> Commands.onPath(need).isPresent()   // root in a container often may not
                    && Commands.run(Selection.root(), Map.of(), need, "--net", "--mount", "true").status() == 0;
            default -> need.startsWith("/") ? Files.exists(Path.of(need)) : Commands.onPath(need).isPresent();
        };
    }
}
