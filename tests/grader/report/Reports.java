package grader.report;

import module java.base;

import grader.grade.ClassFile;
import grader.grade.ClassResult;
import grader.grade.ClassResult.Student;
import grader.report.Marks.StudentMark;

/**
 * All files of a report folder. {@code class.json}, {@code class.html} and {@code class.csv} are the teacher's;
 * {@code students} and {@code junit} show nothing of private checks, and of one student only.
 */
public final class Reports {
    private static final int LONGEST_NAME = 80;

    private Reports() {}

    public static void write(ClassResult result, Path folder) throws IOException {
        var marks = Marks.of(result);
        ClassFile.write(result, folder.resolve(ClassFile.NAME));
        write(folder.resolve("class.csv"), ClassCsv.of(marks));
        write(folder.resolve("class.html"), ClassPage.of(result, marks));
        var names = fileNames(result.students());
        for (var student : marks.students()) {
            var name = names.get(student.student());
            write(folder.resolve("junit", name + ".xml"), JUnitXml.of(student, result.began()));
            writeStudent(student, folder.resolve("students", name));
        }
    }

    private static void writeStudent(StudentMark student, Path folder) throws IOException {
        write(folder.resolve("result.txt"), StudentText.of(student));
        for (var lab : student.labs()) {
            write(folder.resolve("result-" + lab.lab().number() + ".json"), ExercismReport.of(lab));
        }
    }

    /** Half a character, where a message was cut, becomes a question mark. */
    static void write(Path file, String text) throws IOException {
        Files.createDirectories(file.toAbsolutePath().getParent());
        Files.write(file, text.getBytes(StandardCharsets.UTF_8));
    }

    /**
     * A file name for each student, on any system: what cannot stand in one is replaced, and where two would be the
     * same, even on a disk that does not tell large letters from small ones, the later one gets a number.
     */
    static Map<Student, String> fileNames(List<Student> students) {
        var names = new IdentityHashMap<Student, String>();
        var taken = new HashSet<String>();
        for (var student : students) {
            var plain = student.name().replaceAll("[\\p{Cntrl}\\p{Cs}\\\\/:*?\"<>|]", "_")
                    .replaceFirst("^[. ]+", "_").replaceFirst("[. ]+$", "_");
            plain = plain.isEmpty() ? "_" : plain.substring(0, Math.min(LONGEST_NAME, plain.length()));
            var name = plain;
            for (int i = 2; !taken.add(sameOnDisk(name)); i++) {
                name = plain + "-" + i;
            }
            names.put(student, name);
        }
        return names;
    }

    /** macOS also takes a letter with its accent, and the letter and the accent apart, for the same. */
    private static String sameOnDisk(String name) {
        return java.text.Normalizer.normalize(name, java.text.Normalizer.Form.NFC).toLowerCase(Locale.ROOT);
    }
}
