package program.html;

import module java.base;

import grader.workbook.CannotCheck;
import grader.workbook.Folders;
import program.read.Edition;

/** The folder that the pages go to. */
public record OutputFolder(Edition edition) {
    private static final String SHELL = "page.html";

    /** To render takes seconds: whether the pages can be written is tried before. */
    public void makeSure() {
        try {
            Files.createDirectories(edition.out());
            Files.delete(Files.createTempFile(edition.out(), ".book-", ""));
        } catch (IOException e) {
            throw new CannotCheck("cannot write to " + edition.shown(edition.out())
                    + ": name another folder with --out DIR");
        }
    }

    /** Writes all that belongs to the book, and returns where it is. */
    public List<Path> write(Map<Page, String> pages, String searchIndex) throws IOException {
        List<Path> written = new ArrayList<>();
        copy(edition.file("book/theme"), edition.out(), written);
        copy(edition.file("book/chapters/images"), edition.out().resolve("images"), written);
        for (var page : pages.entrySet()) {
            written.add(Files.writeString(page.getKey().in(edition.out()), page.getValue()));
        }
        written.add(Files.writeString(edition.out().resolve("search-index.js"), searchIndex));
        if (edition.isBuild()) {    // another folder is not ours to clear
            deleteOthers(Set.copyOf(written));
        }
        return written;
    }

    private static void copy(Path folder, Path to, List<Path> copies) throws IOException {
        if (!Files.isDirectory(folder)) {
            return;
        }
        for (Path file : Folders.files(folder.toRealPath())) {
            Path target = to.resolve(folder.toRealPath().relativize(file).toString());
            if (!file.endsWith(SHELL)) {
                Files.createDirectories(target.getParent());
                copies.add(Files.copy(file, target, StandardCopyOption.REPLACE_EXISTING));
            }
        }
    }

    /** Such as the page of a chapter that is gone. */
    private void deleteOthers(Set<Path> written) throws IOException {
        for (Path file : Folders.files(edition.out())) {
            if (!written.contains(file)) {
                Files.delete(file);
            }
        }
    }
}
