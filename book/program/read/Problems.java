package program.read;

import module java.base;

/** What is wrong in the book, each with its file and line. Thread-safe while it is added to. */
public final class Problems {
    private final Edition edition;
    private final Set<String> texts = Collections.synchronizedSet(new LinkedHashSet<>());

    public Problems(Edition edition) {
        this.edition = edition;
    }

    public void add(Path file, int line, String text) {
        texts.add(edition.shown(file) + ":" + line + ": " + text);
    }

    /** @param near a piece of the chapter's source by which the line is found */
    public void add(Chapter chapter, String near, String text) {
        add(chapter.file(), chapter.lineOf(near), text);
    }

    /** On a page that no chapter is the source of. */
    public void add(String page, String text) {
        texts.add(page + ": " + text);
    }

    public boolean anyEndsWith(String text) {
        return texts.stream().anyMatch(each -> each.endsWith(text));
    }

    public boolean isEmpty() {
        return texts.isEmpty();
    }

    /** File by file, as two renderers may have found them in any order. */
    public void print() {
        texts.stream().sorted(Comparator.comparing(text -> text.substring(0, text.indexOf(':'))))
                .forEach(System.err::println);
    }

    /** How many there are, in words. */
    @Override
    public String toString() {
        return texts.isEmpty() ? "no problems" : texts.size() + (texts.size() == 1 ? " problem" : " problems");
    }
}
