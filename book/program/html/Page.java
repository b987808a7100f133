package program.html;

import module java.base;

import program.read.Chapter;

/** A rendered page, without the shell around it; {@code chapter} is null where this program wrote the page itself. */
public record Page(String name, String id, String title, String body, List<Heading> headings, Chapter chapter) {
    String href() {
        return name + ".html";
    }

    boolean isFront() {
        return name.equals("index");
    }

    Page withBody(String other) {
        return new Page(name, id, title, other, headings, chapter);
    }

    Path in(Path folder) {
        return folder.resolve(href());
    }
}
