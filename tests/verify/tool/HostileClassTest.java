package verify.tool;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import grader.grade.ClassFile;
import grader.grade.ClassResult;
import grader.workbook.Folders;
import grader.workbook.Lab;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import verify.Commands;
import verify.Selection;

/** A class with everything that has been tried against a grader, in one command: each gets the verdict it must get. */
class HostileClassTest {
    private Lab lab;
    private WorkbookCopy copy;
    private Path folder;

    @BeforeEach
    void open() throws IOException {
        lab = Selection.book().lab("401");
        copy = WorkbookCopy.withCacheOfItsOwn();
        folder = Files.createTempDirectory("class").toRealPath();
    }

    @AfterEach
    void close() throws IOException {
        copy.close();
        Folders.delete(folder);
    }

    private Path submissions() {
        return folder.resolve("submissions");
    }

    private Commands.Ended grade(String... options) throws Exception {
        var command = new ArrayList<>(List.of("grade", submissions().toString(),
                "--out", folder.resolve("reports").toString(), "--labs", "401"));
        command.addAll(List.of(options));
        // On a machine that lacks something, a check is left out, for a student as for a class.
        return copy.grader(Map.of("WORKBOOK_REQUIRE", ""), command.toArray(String[]::new));
    }

    private ClassResult result() throws IOException {
        return ClassFile.read(folder.resolve("reports").resolve(ClassFile.NAME));
    }

    private void write(HostileClass students) throws Exception {
        Files.createDirectories(submissions());
        students.writeTo(submissions());
    }

    /** All verdicts are as expected, and nothing else has changed. */
    private void assertVerdicts(HostileClass students, Commands.Ended ended) throws IOException {
        var wrong = new StringJoiner("\n");
        var byPath = result().students().stream().collect(Collectors.toMap(ClassResult.Student::path, each -> each));
        assertEquals(students.students().keySet(), byPath.keySet(), ended.all());
        students.students().values().forEach(student -> {
            var differs = student.expected().differs(byPath.get(student.name()).labs().getFirst());
            if (!differs.isEmpty()) {
                wrong.add(student.name() + ": " + differs);
            }
        });
        assertEquals("", wrong.toString(), ended.errors());
    }

    private HostileClass everybody() throws Exception {
        var solution = copy.path(lab.solution());
        return new HostileClass(lab).honest().oddFiles(solution).oddPrograms().attacks(submissions())
                .attacksOnTheMachine(copy.root());
    }

    @Test
    void in_a_box_each_gets_the_verdict_it_must_get() throws Exception {
        var students = everybody();
        assertTrue(students.students().size() >= 40, "students: " + students.students().size());
        write(students);
        var before = files(copy.root());
        var ended = grade("--box=on");
        assertVerdicts(students, ended);
        assertEquals(before, files(copy.root()), "files of the workbook");
        assertEquals(List.of(), daemons(), "processes left");
    }

    /** Of the workbook, but for what is made anew. */
    private static SequencedSet<String> files(Path root) throws IOException {
        return Folders.files(root).stream().map(root::relativize).filter(file -> !file.startsWith(".workbook"))
                .map(Path::toString).collect(Collectors.toCollection(TreeSet::new));
    }

    private static List<Long> daemons() {
        return ProcessHandle.allProcesses().filter(process -> process.info().arguments()
                .map(words -> List.of(words).contains(HostileClass.daemon())).orElse(false))
                .map(ProcessHandle::pid).toList();
    }

    @Test
    void without_a_box_too_what_hurts_only_itself_is_an_ordinary_result() throws Exception {
        var students = new HostileClass(lab).attacks(submissions());
        write(students);
        assertVerdicts(students, grade("--box=off"));
    }
}
