package program.keep;

import module java.base;

import program.html.Heading;
import program.html.Page;
import program.read.Chapter;

/** A chapter as Asciidoctor rendered it; it knows nothing of other pages. */
public record Rendering(String id, String title, String body, List<Heading> headings) {
    public Page page(Chapter chapter) {
        return new Page(chapter.name(), id, title, body, headings, chapter);
    }
}
