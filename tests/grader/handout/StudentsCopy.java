package grader.handout;

import module java.base;

import grader.maintain.Catalog;
import grader.workbook.CannotCheck;
import grader.workbook.Folders;
import grader.workbook.Lab;
import grader.workbook.Workbook;

/**
 * A workbook without its solutions: what students get, and what grades them elsewhere. What is copied is listed, so
 * that whatever else lies in a teacher's folder stays there.
 */
public final class StudentsCopy {
    /** Beside the parts of each lab. */
    private static final List<String> FOLDERS = List.of("tests/grader", "tests/kit", "book/program", "book/theme");
    private static final List<String> FILES = List.of("jbang", "LICENSE", ".gitignore", ".editorconfig",
            "book/curriculum.json", "book/main.java");
    private static final List<String> CHAPTERS = List.of("index", "glossary");
    private static final Pattern NOT_FOR_STUDENTS =
            Pattern.compile("// the full workbook alone\n.*?// end of the full workbook alone\n", Pattern.DOTALL);

    private final Workbook from;
    private final List<Lab> labs;
    private final Workbook to;

    private StudentsCopy(Workbook from, List<Lab> labs, Path root) {
        this.from = from;
        this.labs = labs;
        to = new Workbook(root, root.resolve(".workbook"));
    }

    /**
     * Writes into a folder that is not there, or empty.
     *
     * @param commands those of the grader that the copy offers, with their descriptions
     */
    public static void write(Workbook from, List<Lab> labs, SequencedMap<String, String> commands, Path folder)
            throws IOException {
        var root = folder.toAbsolutePath().normalize();
        if (Files.exists(root) && !(Files.isDirectory(root) && isEmpty(root))) {
            throw new CannotCheck(folder + " is there already: name a folder that is not");
        }
        new StudentsCopy(from, labs, root).write(commands);
    }

    private static boolean isEmpty(Path folder) throws IOException {
        try (var files = Files.list(folder)) {
            return files.findFirst().isEmpty();
        }
    }

    private void write(SequencedMap<String, String> commands) throws IOException {
        for (var folder : FOLDERS) {
            for (var file : Folders.files(from.root().resolve(folder))) {
                copy(from.path(file));
            }
        }
        for (var file : FILES) {
            copy(file);
        }
        for (var lab : labs) {
            writeLab(lab);
        }
        writeChapters();
        writeText("README.adoc", NOT_FOR_STUDENTS.matcher(
                Files.readString(from.root().resolve("README.adoc"))).replaceAll(""));
        var catalog = new Catalog(to, commands);
        Files.writeString(catalog.file(), catalog.json());
        Files.writeString(catalog.readmeFile(), catalog.readme());
    }

    /** The skeleton, also where the teacher has written in its place. */
    private void writeLab(Lab lab) throws IOException {
        writeText(from.path(lab.file()), lab.skeleton());
        for (var name : List.of(lab.testClass() + ".java", "hints.adoc", lab.skeletonFile().getFileName().toString())) {
            copy(from.path(lab.tests().resolve(name)));
        }
    }

    private void writeChapters() throws IOException {
        var names = Stream.concat(CHAPTERS.stream(), labs.stream().map(Lab::slug))
                .collect(Collectors.toCollection(TreeSet::new));
        for (var name : names) {
            var path = "book/chapters/" + name + ".adoc";
            var lines = StudentsChapter.of(from.root().resolve(path), names);
            writeText(path, String.join("\n", lines) + "\n");
            for (var file : StudentsChapter.includes(lines)) {
                copy(file);
            }
        }
    }

    private void writeText(String path, String text) throws IOException {
        Files.createDirectories(to.root().resolve(path).getParent());
        Files.writeString(to.root().resolve(path), text);
    }

    private void copy(String path) throws IOException {
        Files.createDirectories(to.root().resolve(path).getParent());
        Files.copy(from.root().resolve(path), to.root().resolve(path), StandardCopyOption.COPY_ATTRIBUTES,
                StandardCopyOption.REPLACE_EXISTING);
    }
}
