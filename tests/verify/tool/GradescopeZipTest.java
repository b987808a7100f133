package verify.tool;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import grader.workbook.Folders;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import verify.Commands;
import verify.Selection;

/** Gradescope's autograder: packed as Gradescope wants it, and run as Gradescope runs it, but for the image. */
@Execution(ExecutionMode.CONCURRENT)
class GradescopeZipTest {
    /** Stands for Gradescope's folder {@code /autograder}. */
    private Path autograder;

    @BeforeEach
    void make() throws Exception {
        autograder = Files.createTempDirectory("autograder").toRealPath();
        var zip = autograder.resolve("autograder.zip");
        try (var copy = WorkbookCopy.make()) {
            var weights = Files.writeString(copy.root().resolve("weights"), "401.1 = 7\n");
            var made = copy.grader("grade", "--gradescope-zip", zip.toString(), "--labs", "401", "--steps", "core",
                    "--weights", weights.toString());
            assertEquals(0, made.status(), made.all());
            assertEquals(2, copy.grader("grade", "--gradescope-zip", zip.toString()).status(), "written over");
        }
        try (var packed = FileSystems.newFileSystem(zip, Map.of("enablePosixFileAttributes", "true"))) {
            unpack(packed.getPath("/"), autograder.resolve("source"));
        }
        for (var folder : List.of("results", "submission")) {
            Files.createDirectory(autograder.resolve(folder));
        }
    }

    @AfterEach
    void delete() throws IOException {
        Folders.delete(autograder);
    }

    private static void unpack(Path from, Path to) throws IOException {
        for (var file : Folders.files(from)) {
            var unpacked = to.resolve(from.relativize(file).toString());
            Files.createDirectories(unpacked.getParent());
            Files.copy(file, unpacked);
            Files.setPosixFilePermissions(unpacked, Files.getPosixFilePermissions(file));
        }
    }

    /** The script as it is, but for the place of its folder. */
    private Commands.Ended run() throws Exception {
        var script = autograder.resolve("source", "run_autograder");
        Files.writeString(script, Files.readString(script).replace("/autograder/", autograder + "/"));
        return Commands.run(autograder, Map.of("WORKBOOK_NO_AOT", "1"), script.toString());
    }

    private JsonNode results() throws IOException {
        return new ObjectMapper().readTree(autograder.resolve("results", "results.json").toFile());
    }

    private double sum(String field) throws IOException {
        return results().path("tests").valueStream().mapToDouble(test -> test.path(field).asDouble()).sum();
    }

    @Test
    void the_zip_holds_the_scripts_at_its_root_and_no_solution() throws Exception {
        var source = autograder.resolve("source");
        for (var script : List.of("setup.sh", "run_autograder", "workbook/jbang")) {
            assertTrue(Files.isExecutable(source.resolve(script)), script);
        }
        assertEquals(0, Commands.run(source, Map.of(), "bash", "-n", "setup.sh").status(), "setup.sh is no script");
        try (var inside = Files.list(source)) {
            assertEquals(List.of("run_autograder", "setup.sh", "weights.txt", "workbook"),
                    inside.map(each -> each.getFileName().toString()).sorted().toList());
        }
        assertFalse(Files.exists(source.resolve("workbook/solutions")));
        assertFalse(Files.exists(source.resolve("workbook/tests/402-udp-client")), "a lab that was not asked for");
    }

    @Test
    void a_submission_gets_its_marks() throws Exception {
        var lab = Selection.book().lab("401");
        Files.copy(lab.solution(), autograder.resolve("submission", lab.fileName()));
        var ended = run();
        assertEquals(0, ended.status(), ended.all());
        assertEquals(sum("max_score"), sum("score"), ended.all());
        assertEquals(List.of("401.1", "401.2", "401.3", "401.4"),
                results().path("tests").findValuesAsText("number"), "the core alone");
        assertEquals(7, results().at("/tests/0/max_score").asDouble(), "the weight");
        Folders.delete(autograder.resolve("results"));
        Files.createDirectory(autograder.resolve("results"));
        Files.delete(autograder.resolve("submission", lab.fileName()));
        Files.writeString(autograder.resolve("submission", "essay.txt"), "sorry");
        assertEquals(0, run().status(), "a file that nobody asked for");
        assertEquals(0, sum("score"));
        assertTrue(results().at("/tests/0/output").asText().contains("there is no TcpServer.java"));
    }
}
