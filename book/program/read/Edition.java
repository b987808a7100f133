package program.read;

import module java.base;

import grader.workbook.Workbook;

/**
 * Which book is made of a workbook.
 *
 * @param students without the solutions
 * @param out      where its pages are written
 */
public record Edition(Workbook workbook, boolean students, Path out) {
    private static final String BUILD = "book/build";

    public static Edition of(Workbook workbook, boolean students, Path out) {
        boolean hasSolutions = Files.isDirectory(workbook.root().resolve("solutions"));
        return new Edition(workbook, students || !hasSolutions,
                out == null ? workbook.root().resolve(BUILD) : out.toAbsolutePath().normalize());
    }

    public Path root() {
        return workbook.root();
    }

    public Path file(String path) {
        return root().resolve(path);
    }

    public String name() {
        return students ? "students" : "full";
    }

    /** Whether the pages go to this program's own folder, which holds nothing else. */
    public boolean isBuild() {
        return out.equals(file(BUILD));
    }

    /** What is kept for the next run. */
    public Path kept() {
        return workbook.cache().resolve("book");
    }

    /** Whether anything can be kept: the workbook may lie where nothing can be written. */
    public boolean keeps() {
        try {
            return Files.isWritable(Files.createDirectories(kept()));
        } catch (IOException e) {
            return false;
        }
    }

    /** A path as one would type it: see {@link Workbook#shown}. */
    public String shown(Path path) {
        return workbook.shown(path);
    }
}
