package program.read;

import module java.base;

/** The chapter that is being rendered: the files that it turns out to be made from, and what is wrong with it. */
public final class Reading {
    private final Edition edition;
    private final Problems problems;
    private final Set<Path> files = new TreeSet<>();
    private Chapter chapter;
    private boolean lasts;

    public Reading(Edition edition, Problems problems) {
        this.edition = edition;
        this.problems = problems;
    }

    public void begin(Chapter next) {
        chapter = next;
        lasts = true;
        files.clear();
        files.add(next.file());
    }

    public Chapter chapter() {
        return chapter;
    }

    public Path file(String path) {
        Path file = edition.file(path);
        files.add(file);
        return file;
    }

    public Set<Path> files() {
        return files;
    }

    /** What was made without a file cannot be kept: it is not known where Asciidoctor has looked for it. */
    public void include(String target) {
        lasts &= Files.exists(file(target));
    }

    public void problem(Path file, int line, String text) {
        lasts = false;
        problems.add(file, line, text);
    }

    public void problem(int line, String text) {
        problem(chapter.file(), line, text);
    }

    /** @param near a piece of the chapter's source by which the line is found */
    public void problem(String near, String text) {
        problem(chapter.lineOf(near), text);
    }

    public void problem(String near, String text, IOException why) {
        problem(near, text + ": " + (why instanceof NoSuchFileException missing
                ? "no file " + edition.shown(Path.of(missing.getFile())) : why.getMessage()));
    }

    /** Whether the rendering can be kept: nothing was wrong, and all files are known. */
    public boolean lasts() {
        return lasts;
    }
}
