package verify.tool;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import grader.Main;
import grader.check.CheckListener;
import grader.check.CheckOptions;
import grader.check.Checker;
import grader.check.Submission;
import grader.speed.Jvm;
import grader.workbook.Folders;
import grader.workbook.Lab;
import grader.workbook.Skeleton;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import verify.Commands;
import verify.Selection;

/** What a learner meets at the grader's commands, in a copy of the workbook. */
@Execution(ExecutionMode.CONCURRENT)
class GraderTest {
    private Lab lab;
    private WorkbookCopy copy;

    @BeforeEach
    void open() throws IOException {
        lab = Selection.book().lab("401");
        copy = WorkbookCopy.make();
    }

    @AfterEach
    void close() throws IOException {
        copy.close();
    }

    private static void assertSays(Commands.Ended ended, String... words) {
        for (var word : words) {
            assertTrue(ended.all().contains(word), "not said: «" + word + "»\n" + ended.all());
        }
    }

    @Test
    void the_skeleton_is_to_do_step_by_step() throws Exception {
        var ended = copy.grader("test", "401");
        assertEquals(1, ended.status(), ended.all());
        assertEquals(7, ended.output().lines().filter(line -> line.endsWith("to do")).count(), ended.output());
        var place = ended.output().lines().toList().get(2);
        assertTrue(place.matches(" +labs/401-tcp-server/TcpServer\\.java:\\d+"), place);
        assertSays(ended, "./jbang test-401", "./jbang hint 401", "0 of 7 steps");
    }

    @Test
    void the_solution_passes_and_reset_brings_the_skeleton_back() throws Exception {
        copy.write(lab, text -> text);
        var passed = copy.grader("test", "401");
        assertEquals(0, passed.status(), passed.all());
        assertSays(passed, "7 of 7 steps", "all steps pass");
        assertSays(copy.grader("progress"), "#######");
        assertSays(copy.grader("reset", "401"), "TcpServer.java.bak1");
        assertEquals(lab.skeleton(), Files.readString(copy.path(lab.file())));
        assertEquals(1, copy.grader("test", "401").status());
    }

    @Test
    void a_compile_error_is_shown_with_its_line_and_advice() throws Exception {
        copy.write(lab, text -> text.replaceFirst("return \\(InetSocketAddress\\)", "return (InetSocketAdress)"));
        var ended = copy.grader("test", "401");
        assertEquals(1, ended.status(), ended.all());
        assertSays(ended, "labs/401-tcp-server/TcpServer.java:", "cannot find symbol", "^", "spelled",
                "does not compile yet");
    }

    @Test
    void a_missing_file_is_no_verdict() throws Exception {
        Files.delete(copy.path(lab.file()));
        var ended = copy.grader("test", "401");
        assertEquals(2, ended.status(), ended.all());
        assertSays(ended, "is not there", "./jbang reset 401");
    }

    @Test
    void an_unknown_lab_is_no_verdict() throws Exception {
        var ended = copy.grader("test", "499");
        assertEquals(2, ended.status());
        assertSays(ended, "there is no lab 499");
    }

    @Test
    void a_submission_is_checked_wherever_it_lies() throws Exception {
        var text = Files.readString(lab.solution());
        var submissions = Files.createDirectories(copy.root().resolve("submissions"));
        var renamed = Files.writeString(submissions.resolve("alice.java"), text);
        var loose = Files.createDirectories(submissions.resolve("bob"));
        Files.writeString(loose.resolve(lab.fileName()), text);
        var layout = Files.createDirectories(submissions.resolve("carol/labs/" + lab.slug()));
        Files.writeString(layout.resolve(lab.fileName()), text);
        for (var path : List.of(renamed, loose, submissions.resolve("carol"))) {
            var ended = copy.grader("test", "401", path.toString());
            assertEquals(0, ended.status(), path + "\n" + ended.all());
        }
        assertEquals(2, copy.grader("test", "401", submissions.toString()).status(), "a folder without the file");
        assertSays(copy.grader("progress"), "0 of 7 steps");
    }

    @Test
    void json_has_the_shape_of_exercism_version_3() throws Exception {
        var todo = json(copy.grader("test", "401", "--json"));
        assertEquals(3, todo.path("version").asInt());
        assertEquals("fail", todo.path("status").asText());
        for (var test : todo.path("tests")) {
            assertTrue(!test.path("message").asText().isEmpty() && test.path("task_id").asInt() > 0, test.toString());
        }
        copy.write(lab, text -> text);
        var passed = json(copy.grader("test", "401", "--json"));
        assertEquals("pass", passed.path("status").asText());
        for (var test : passed.path("tests")) {
            assertEquals("pass", test.path("status").asText(), test.toString());
        }
        copy.write(lab, text -> text + "}");
        var error = json(copy.grader("test", "401", "--json"));
        assertEquals("error", error.path("status").asText());
        assertTrue(error.path("message").asText().contains("TcpServer.java:"), error.toString());
    }

    private static JsonNode json(Commands.Ended ended) throws IOException {
        return new ObjectMapper().readTree(ended.output());
    }

    @Test
    void hints_grow_stronger_and_begin_again() throws Exception {
        var first = copy.grader("hint", "401").output();
        assertTrue(first.contains("step 1: Listen on a port") && first.contains("hint 1 of 3"), first);
        assertSays(copy.grader("hint", "401"), "hint 2 of 3");
        assertSays(copy.grader("hint", "401"), "hint 3 of 3");
        assertSays(copy.grader("hint", "401"), "hint 1 of 3");
        assertSays(copy.grader("hint", "401", "5"), "step 5: Cap the connections", "hint 1 of 3");
        copy.grader("hint", "401", "2");
        var second = copy.grader("hint", "401", "2").output();
        assertEquals(List.of(), second.lines().filter(line -> line.length() > 96).toList());
        var third = copy.grader("hint", "401", "2").output();
        assertTrue(third.contains("\n    while (isRunning()) {\n        try {\n"), third);
        assertTrue(third.lines().noneMatch(line -> line.matches("\\+|----|\\[source.*")), third);
        assertEquals(2, copy.grader("hint", "401", "9").status());
    }

    @Test
    void damaged_progress_is_set_aside() throws Exception {
        copy.grader("test", "401");
        Files.writeString(copy.root().resolve(".workbook/progress.properties"), "401-tcp-server=passed 1 half a");
        var ended = copy.grader("progress");
        assertEquals(0, ended.status());
        assertSays(ended, "damaged", "0 of 7 steps");
    }

    @Test
    void help_is_there_for_every_command() throws Exception {
        var commands =
                List.of("test", "watch", "hint", "progress", "reset", "bench", "skeleton", "transcripts", "ide");
        for (var command : commands) {
            var ended = copy.grader(command, "--help");
            assertEquals(0, ended.status(), command);
            assertTrue(ended.output().startsWith("Usage: "), ended.all());
        }
        assertEquals(2, copy.grader("test").status(), "a command without its lab");
    }

    @Test
    void what_is_typed_wrong_is_told_as_it_was_typed() throws Exception {
        var many = copy.grader("test", "401", "a", "b");
        assertEquals(2, many.status(), many.all());
        assertTrue(many.errors().startsWith("not understood: 'b'\nUsage: ./jbang test "), many.all());
        var word = copy.grader("hint", "401", "two");
        assertEquals(2, word.status(), word.all());
        assertTrue(word.errors().startsWith("STEP: 'two' is not a number\nUsage: ./jbang hint "), word.all());
    }

    @Test
    void what_comes_after_the_lab_is_the_benchmarks_own() {
        var bench = Main.commandLine().parseArgs("bench", "401", "--help", "--rounds", "1").subcommand();
        assertTrue(!bench.isUsageHelpRequested(), "the grader takes the benchmark's --help");
        var given = bench.matchedPositionals().stream().flatMap(each -> each.stringValues().stream()).toList();
        assertEquals(List.of("401", "--help", "--rounds", "1"), given);
    }

    @Test
    void a_file_that_cannot_be_written_is_told_in_a_sentence() throws Exception {
        Files.createDirectories(copy.root().resolve("pom.xml/folder"));
        var ide = copy.grader("ide", "401");
        assertEquals(2, ide.status(), ide.all());
        assertEquals("pom.xml cannot be read or written: Is a directory\n",
                ide.errors().replace(copy.root() + "/", ""));
    }

    static boolean canBeRefused() throws Exception {
        return Commands.run(Path.of("/"), Map.of(), ordinary("true").toArray(String[]::new)).status() == 0;
    }

    /** A command without the rights by which root may read and write everything. */
    private static List<String> ordinary(String... command) {
        var all = new ArrayList<String>();
        if (System.getProperty("user.name").equals("root")) {
            all.addAll(List.of("setpriv", "--bounding-set=-dac_override,-dac_read_search"));
        }
        all.addAll(List.of(command));
        return all;
    }

    private Commands.Ended refused(Path file, String permissions, String... arguments)
            throws IOException, InterruptedException {
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString(permissions));
        try {
            var command = ordinary(copy.command(arguments).toArray(String[]::new)).toArray(String[]::new);
            return Commands.run(copy.root(), Map.of("WORKBOOK_NO_AOT", "1"), command);
        } finally {
            Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
        }
    }

    @Test
    @EnabledIf(value = "canBeRefused", disabledReason = "setpriv, of util-linux, takes the rights from root")
    void what_the_permissions_forbid_is_told_in_a_sentence() throws Exception {
        copy.write(lab, text -> text);
        var reset = refused(copy.path(lab.file()).getParent(), "r-xr-xr-x", "reset", "401");
        var test = refused(copy.path(lab.file()), "---------", "test", "401");
        for (var ended : List.of(reset, test)) {
            assertEquals(2, ended.status(), ended.all());
            assertSays(ended, "TcpServer.java may not be read", "permissions");
            assertTrue(!ended.all().contains("Exception"), ended.all());
        }
    }

    @Test
    void advice_on_another_file_leads_to_that_file() throws Exception {
        var folder = Files.createDirectories(copy.root().resolve("bob's labs"));
        Files.writeString(folder.resolve(lab.fileName()), lab.skeleton());
        assertSays(copy.grader("test", "401", "bob's labs"),
                "type: ./jbang test-401 'bob'\\''s labs/TcpServer.java'", "./jbang hint 401 1 ");
        copy.write(lab, text -> text);
        copy.grader("test", "401", "labs/401-tcp-server");
        assertSays(copy.grader("progress"), "7 of 7 steps");
    }

    @Test
    void from_another_folder_the_paths_that_are_told_can_be_opened() throws Exception {
        var command = copy.command("test", "401").toArray(String[]::new);
        var environment = Map.of("WORKBOOK_NO_AOT", "1", "WORKBOOK_ROOT", copy.root().toString());
        var ended = Commands.run(Path.of("/"), environment, command);
        assertSays(ended, "  " + copy.path(lab.file()) + ":", "chapter: " + copy.path(lab.chapter()));
    }

    @Test
    void the_maven_project_names_the_jdk_that_compiles_it() throws Exception {
        copy.grader("ide", "401");
        var pom = Files.readString(copy.root().resolve("pom.xml"));
        for (var property : Map.of("maven.compiler.executable", "javac", "jvm", "java").entrySet()) {
            var element = property.getKey();
            var program = pom.replaceFirst("(?s).*<" + element + ">(.*)</" + element + ">.*", "$1");
            assertEquals(Path.of(Jvm.java()).resolveSibling(property.getValue()), Path.of(program));
        }
    }

    @Test
    void the_maven_project_has_all_folders_that_the_tests_of_a_lab_use() throws Exception {
        copy.grader("ide", "401");
        var pom = Files.readString(copy.root().resolve("pom.xml"));
        var shared = Pattern.compile("(?m)^//SOURCES \\.\\./(\\w+)/");
        for (var file : Folders.javaFiles(lab.tests())) {
            shared.matcher(Files.readString(file)).results().forEach(line -> assertTrue(
                    pom.contains("<source>tests/" + line.group(1) + "</source>"), line.group() + " in " + file));
        }
    }

    @Test
    void all_goes_on_after_a_failed_step() throws Exception {
        var head = "public InetSocketAddress localAddress() {\n";
        var wrong = "if (options != null) { return new InetSocketAddress(\"127.0.0.1\", 1); }\n";
        copy.write(lab, text -> text.replace(head, head + wrong));
        var stopped = copy.grader("test", "401");
        assertSays(stopped, "FAIL", "not checked yet");
        assertTrue(!copy.grader("test", "401", "--all").output().contains("not checked yet"));
    }

    @Test
    void times_are_told_step_by_step() throws Exception {
        copy.write(lab, text -> text);
        var ended = copy.grader("test", "401", "--times");
        var timed = ended.output().lines().filter(line -> line.matches("  \\d  .* pass .* [\\d,]+ ms"));
        assertEquals(7, timed.count(), ended.output());
        assertSays(ended, "the tests alone");
    }

    @Test
    void a_file_that_does_not_compile_takes_no_progress_away() throws Exception {
        copy.write(lab, text -> text);
        copy.grader("test", "401");
        copy.write(lab, text -> text + "}");
        assertSays(copy.grader("test", "401"), "does not compile");
        assertSays(copy.grader("progress"), "7 of 7 steps");
        copy.write(lab, text -> text.replace("new ServerSocket()", "new ServerSocket(1)"));
        assertEquals(1, copy.grader("test", "401").status());
        assertSays(copy.grader("progress"), "0 of 7 steps (once 7)");
        assertSays(copy.grader("hint", "401"), "step 1");
    }

    @Test
    void an_empty_path_is_no_verdict() throws Exception {
        var ended = copy.grader("test", "401", "", "--json");
        assertEquals(2, ended.status(), ended.all());
        assertSays(ended, "is empty");
    }

    @Test
    void a_submission_that_is_a_link_out_of_its_folder_is_not_followed() throws Exception {
        var folder = Files.createDirectories(copy.root().resolve("submissions/bob"));
        var link = Files.createSymbolicLink(folder.resolve(lab.fileName()), copy.path(lab.solution()));
        for (var path : List.of(folder, link)) {
            var ended = copy.grader("test", "401", path.toString());
            assertEquals(1, ended.status(), ended.all());
            assertSays(ended, "symbolic link", "it was not compiled");
        }
    }

    @Test
    void a_copy_without_solutions_checks_all_the_same() throws Exception {
        Folders.delete(copy.root().resolve("solutions"));
        assertSays(copy.grader("test", "401"), "0 of 7 steps");
        assertSays(copy.grader("reset", "401"), "is the skeleton again");
        Files.delete(copy.path(lab.skeletonFile()));
        var ended = copy.grader("test", "401");
        assertEquals(2, ended.status(), ended.all());
        assertSays(ended, "skeleton.java.txt is missing", "copy it from the workbook");
    }

    /** As in {@code watch}, which starts the next runner ahead and may then be told to go to the next lab. */
    @Test
    void a_runner_that_was_started_for_one_lab_serves_another() throws Exception {
        var other = Selection.book().lab("403");
        try (var checker = new Checker(Selection.book())) {
            checker.prepare(lab);
            var submission = Submission.of(other, Skeleton.of(other.solution()).withSteps(1));
            var verdict = checker.check(submission, CheckOptions.LEARNER.ofSteps(1, 1), new CheckListener() {});
            assertEquals(Set.of(1), verdict.passedSteps(), () -> verdict.next().toString());
        }
    }

    @Test
    void a_lab_that_is_only_begun_disturbs_no_other() throws Exception {
        for (var begun : List.of("tests/402-udp-client", "labs/403-listen-and-dial")) {
            for (var folder : List.of("labs", "solutions", "tests")) {
                Folders.delete(copy.root().resolve(folder).resolve(Path.of(begun).getFileName()));
            }
            Files.createDirectories(copy.root().resolve(begun));
        }
        assertSays(copy.grader("test", "401"), "0 of 7 steps");
        assertSays(copy.grader("progress"), "402  UDP client               to come");
        assertEquals(2, copy.grader("test", "402").status());
    }
}
