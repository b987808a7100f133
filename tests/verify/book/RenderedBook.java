package verify.book;

import static org.junit.jupiter.api.Assertions.assertEquals;

import module java.base;

import org.jsoup.Jsoup;
import org.jsoup.nodes.Document;
import verify.Commands;
import verify.Selection;

/** The pages of {@code jbang book}, rendered once in a run of {@code verify}, however many tests look at them. */
final class RenderedBook {
    private static Commands.Ended ended;   // guarded by this class

    private RenderedBook() {}

    /** How {@code jbang book} ended. */
    static synchronized Commands.Ended ended() throws IOException, InterruptedException {
        if (ended == null) {
            ended = Commands.jbang("--quiet", "book");
        }
        return ended;
    }

    static Path folder() throws IOException, InterruptedException {
        assertEquals(0, ended().status(), ended().all());
        return Selection.root().resolve("book", "build");
    }

    static List<Path> pages() throws IOException, InterruptedException {
        try (var files = Files.list(folder())) {
            return files.filter(file -> file.toString().endsWith(".html")).sorted().toList();
        }
    }

    /** The page of a chapter, by the name of its source without the ending. */
    static Document page(String chapter) throws IOException, InterruptedException {
        return Jsoup.parse(folder().resolve(chapter + ".html").toFile(), "UTF-8");
    }
}
