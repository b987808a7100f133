package grader.workbook;

import module java.base;

/**
 * One lab of a workbook.
 *
 * @param slug for example {@code 401-tcp-server}
 * @param type the class that its file declares, for example {@code TcpServer}
 */
public record Lab(Workbook book, String slug, String type) {
    public String number() {
        return slug.substring(0, 3);
    }

    public String fileName() {
        return type + ".java";
    }

    public String testClass() {
        return type + "Test";
    }

    /** What the learner edits. */
    public Path file() {
        return book.root().resolve("labs", slug, fileName());
    }

    /** The full solution; a students' copy of the workbook has none. */
    public Path solution() {
        return book.root().resolve("solutions", slug, fileName());
    }

    public Path tests() {
        return book.root().resolve("tests", slug);
    }

    public Path chapter() {
        return book.root().resolve("book", "chapters", slug + ".adoc");
    }

    /**
     * The lab's file as a learner first gets it, beside the tests: they are compiled against it, and {@code reset}
     * restores it.
     */
    public Path skeletonFile() {
        return tests().resolve("skeleton.java.txt");
    }

    public String skeleton() throws IOException {
        try {
            return Files.readString(skeletonFile());
        } catch (NoSuchFileException e) {
            var remedy = Files.exists(solution()) ? "write it with " + Workbook.jbang() + " skeleton " + number()
                    : "copy it from the workbook that this copy was made from";
            throw new CannotCheck(book.shown(skeletonFile()) + " is missing, and lab " + number()
                    + " cannot be checked without it: " + remedy);
        }
    }

    @Override
    public String toString() {
        return slug;
    }
}
