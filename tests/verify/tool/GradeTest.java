package verify.tool;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import grader.grade.ClassFile;
import grader.grade.ClassResult;
import grader.grade.ClassResult.LabResult;
import grader.grade.ClassResult.Outcome;
import grader.grade.ClassResult.State;
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

/** {@code jbang grade}, as a teacher meets it. {@code HostileClassTest} has the class that does not mean well. */
@Execution(ExecutionMode.CONCURRENT)
class GradeTest {
    private Lab lab;
    private Skeleton skeleton;
    private WorkbookCopy copy;
    private Path folder;
    private Path submissions;

    @BeforeEach
    void open() throws IOException {
        lab = Selection.book().lab("401");
        skeleton = Skeleton.of(lab.solution());
        copy = WorkbookCopy.make();
        folder = Files.createTempDirectory("class").toRealPath();
        submissions = Files.createDirectory(folder.resolve("submissions"));
    }

    @AfterEach
    void close() throws IOException {
        copy.close();
        Folders.delete(folder);
    }

    private Commands.Ended grade(String... arguments) throws Exception {
        return grade(Map.of(), arguments);
    }

    private Commands.Ended grade(Map<String, String> environment, String... arguments) throws Exception {
        var all = new HashMap<>(environment);
        all.put("WORKBOOK_REQUIRE", "");
        return copy.grader(all, Stream.concat(Stream.of("grade"), Stream.of(arguments)).toArray(String[]::new));
    }

    /** The folder of submissions, into the report folder of that name; one at a time, as other tests run meanwhile. */
    private String[] into(String reports, String... options) {
        return Stream.concat(Stream.of(submissions.toString(), "--out", folder.resolve(reports).toString(), "--jobs=1"),
                Stream.of(options)).toArray(String[]::new);
    }

    private ClassResult result(String reports) throws IOException {
        return ClassFile.read(folder.resolve(reports).resolve(ClassFile.NAME));
    }

    private LabResult result(String reports, String student) throws IOException {
        return result(reports).students().stream().filter(each -> each.name().equals(student)).findFirst()
                .orElseThrow(() -> new AssertionError("there is no student " + student)).labs().getFirst();
    }

    /** Of what ought to pass as a whole. */
    private static String failures(ClassResult result) {
        return result.students().stream().flatMap(student -> student.labs().stream())
                .flatMap(lab -> Stream.concat(Stream.of(lab.message()), lab.steps().stream()
                        .flatMap(step -> step.checks().stream()).filter(check -> check.outcome() != Outcome.PASS)
                        .map(check -> check.id() + ": " + check.message() + " " + check.place())))
                .filter(line -> !line.isEmpty()).collect(Collectors.joining("\n"));
    }

    private Path hand(String student, String text) throws IOException {
        var own = Files.createDirectories(submissions.resolve(student));
        return Files.writeString(own.resolve(lab.fileName()), text);
    }

    private String solution() {
        return skeleton.withSteps(skeleton.steps());
    }

    /** Code at the head of a method that every step's tests call. */
    private String attack(String code) {
        var head = "public InetSocketAddress localAddress() {\n";
        return solution().replace(head, head + code + "\n");
    }

    private static void assertSays(Commands.Ended ended, String... words) {
        for (var word : words) {
            assertTrue(ended.all().contains(word), "not said: «" + word + "»\n" + ended.all());
        }
    }

    @Test
    void a_student_is_graded_as_a_class_of_one_and_nothing_but_the_reports_is_written() throws Exception {
        hand("ann", solution());
        var before = Folders.files(copy.root());
        var ended = copy.grader("grade", submissions.resolve("ann").toString(), "--box=auto");
        assertEquals("", failures(ClassFile.read(copy.root().resolve("reports").resolve(ClassFile.NAME))));
        assertEquals(0, ended.status(), ended.all());
        assertSays(ended, "1 student, 1 lab to grade", "96 of 96");
        var written = new TreeSet<>(Folders.files(copy.root()));
        before.forEach(written::remove);
        var elsewhere = written.stream().map(file -> copy.root().relativize(file).toString())
                .filter(file -> !file.startsWith("reports/") && !file.startsWith(".workbook/")).toList();
        assertEquals(List.of(), elsewhere);
        try (var files = Files.walk(submissions)) {
            assertEquals(3, files.count(), "files and folders in the submissions");
        }
    }

    @Test
    void a_file_of_which_two_have_the_same_is_graded_once_and_a_student_in_two_folders_is_two_students()
            throws Exception {
        hand("ann", skeleton.withSteps(1));
        hand("Ann", skeleton.withSteps(1));
        hand("bob", skeleton.withSteps(1));
        var ended = grade(into("reports", "--box=off"));
        assertEquals(1, ended.status(), ended.all());
        try (var graded = Files.list(folder.resolve("reports/.graded"))) {
            assertEquals(1, graded.count(), "results kept");
        }
        var names = result("reports").students().stream().map(ClassResult.Student::name).toList();
        assertEquals(List.of("Ann", "ann (2)", "bob"), names);
        assertEquals(9, result("reports", "bob").steps().getFirst().passed());
    }

    @Test
    void what_was_graded_before_the_grader_was_killed_is_not_graded_again() throws Exception {
        for (var name : List.of("ann", "bob", "cid", "dan")) {
            hand(name, solution() + "// " + name + "\n");
        }
        var grader = start(into("reports", "--box=off"));
        int kept = waitForResults(2);
        grader.destroyForcibly().waitFor();
        kept = Math.max(kept, results());
        assertFalse(Files.exists(folder.resolve("reports/class.json")), "a result of a run that was killed");
        var ended = grade(into("reports", "--box=off"));
        assertEquals(0, ended.status(), ended.all());
        assertSays(ended, 4 - kept + (4 - kept == 1 ? " lab" : " labs") + " to grade");
        assertEquals(4, result("reports").students().size());
    }

    /** As a terminal does it, to every process of the command. */
    @Test
    @EnabledIf(value = "hasSetsid", disabledReason = "the program setsid is not here")
    void after_control_c_no_half_result_is_kept() throws Exception {
        for (var name : List.of("ann", "bob", "cid")) {
            hand(name, solution() + "// " + name + "\n");
        }
        var command = new ArrayList<>(List.of("setsid"));
        command.addAll(copy.command("grade"));
        command.addAll(List.of(into("reports", "--box=off")));
        var grader = start(command);
        waitForResults(1);
        assertEquals(0, Commands.run(folder, Map.of(), "kill", "-INT", "--", "-" + grader.pid()).status());
        assertTrue(grader.waitFor(60, TimeUnit.SECONDS), "the grader did not end");
        var ended = grade(into("reports", "--box=off"));
        assertEquals(0, ended.status(), ended.all());
        for (var student : result("reports").students()) {
            assertEquals(State.GRADED, student.labs().getFirst().state(), student.toString());
        }
    }

    static boolean hasSetsid() {
        return Commands.onPath("setsid").isPresent();
    }

    private Process start(String... arguments) throws IOException {
        return start(copy.command(Stream.concat(Stream.of("grade"), Stream.of(arguments)).toArray(String[]::new)));
    }

    private Process start(List<String> command) throws IOException {
        var builder = new ProcessBuilder(command).directory(copy.root().toFile())
                .redirectOutput(ProcessBuilder.Redirect.DISCARD).redirectError(ProcessBuilder.Redirect.DISCARD);
        builder.environment().put("WORKBOOK_NO_AOT", "1");
        builder.environment().remove("WORKBOOK_REQUIRE");
        return builder.start();
    }

    private int results() {
        var names = folder.resolve("reports/.graded").toFile().list((dir, name) -> !name.startsWith("."));
        return names == null ? 0 : names.length;
    }

    private int waitForResults(int wanted) {
        var deadline = Instant.now().plus(Duration.ofMinutes(5));
        while (results() < wanted) {
            assertTrue(Instant.now().isBefore(deadline), "there are still " + results() + " results");
            LockSupport.parkNanos(20_000_000);
        }
        return results();
    }

    @Test
    void shards_make_the_same_result_as_the_whole_class() throws Exception {
        hand("ann", solution());
        hand("bob", skeleton.withSteps(0));
        hand("cid", skeleton.withSteps(2));
        grade(into("whole", "--box=off"));
        grade(into("1", "--box=off", "--shard=1/2"));
        grade(into("2", "--box=off", "--shard=2/2"));
        assertEquals(2, result("1").students().size());
        var ended = grade("merge", folder.resolve("1").toString(), folder.resolve("2/class.json").toString(),
                "--out", folder.resolve("merged").toString());
        assertEquals(1, ended.status(), ended.all());
        assertEquals(outcomes(result("whole")), outcomes(result("merged")));
        var twice = grade("merge", folder.resolve("1").toString(), folder.resolve("whole").toString());
        assertEquals(2, twice.status(), twice.all());
        assertSays(twice, "ann is in two of the results");
        grade(into("core", "--box=off", "--steps=core"));
        var mixed = grade("merge", folder.resolve("1").toString(), folder.resolve("core").toString());
        assertEquals(2, mixed.status(), mixed.all());
        assertSays(mixed, "were not graded with the same labs, tests, weights and options");
    }

    private static Map<String, List<Outcome>> outcomes(ClassResult result) {
        return result.students().stream().collect(Collectors.toMap(ClassResult.Student::name,
                student -> student.labs().stream().flatMap(each -> each.steps().stream())
                        .flatMap(step -> step.checks().stream()).map(ClassResult.CheckResult::outcome).toList()));
    }

    /** A second failure counts, and so do more than two failures of a step. */
    @Test
    void what_fails_once_on_a_busy_machine_costs_nothing() throws Exception {
        hand("ann", attack(failing("seen == 1")));
        hand("bob", attack(failing("true")));
        var ended = grade(into("reports", "--box=off"));
        assertEquals(1, ended.status(), ended.all());
        assertEquals(96, points("ann"), failures(result("reports")));
        assertTrue(points("bob") < 48, "points of bob: " + points("bob"));
        var atHome = copy.grader(Map.of(), "test", "401", submissions.resolve("ann").toString());
        assertEquals(1, atHome.status(), "what fails once is told at home: " + atHome.all());
    }

    private static String failing(String when) {
        return "int seen = Integer.getInteger(\"seen\", 0) + 1; System.setProperty(\"seen\", \"\" + seen);"
                + " if (" + when + ") { throw new IllegalStateException(\"call \" + seen); }";
    }

    private long points(String student) throws IOException {
        return result("reports", student).steps().stream().mapToLong(step -> step.passed()).sum();
    }

    @Test
    void weights_and_core_steps_make_the_mark() throws Exception {
        hand("ann", skeleton.withSteps(2));
        var weights = Files.writeString(folder.resolve("weights"), """
                # the first step is a gift
                401.1 = 2
                401 = 20
                """);
        var ended = grade(into("reports", "--box=off", "--steps=core", "--weights", weights.toString()));
        assertEquals(1, ended.status(), ended.all());
        var result = result("reports");
        var steps = result.labs().getFirst().steps();
        assertEquals(List.of(1, 2, 3, 4), steps.stream().map(ClassResult.Step::number).toList());
        assertEquals(20, result.labs().getFirst().points(), 1e-9);
        assertEquals(2, steps.getFirst().points(), 1e-9);
        double second = 18.0 * steps.get(1).checks().size()
                / steps.stream().skip(1).mapToInt(step -> step.checks().size()).sum();
        assertEquals(2 + second, result.mark(result.students().getFirst()).orElseThrow().points(), 1e-9);
        var wrong = Files.writeString(folder.resolve("wrong"), "401.9 = 2\n");
        var refused = grade(into("reports", "--box=off", "--weights", wrong.toString()));
        assertEquals(2, refused.status(), refused.all());
        assertSays(refused, "401.9");
    }

    @Test
    void private_tests_count_for_their_step_and_students_see_their_titles_alone() throws Exception {
        hand("ann", solution());
        var own = Files.createDirectories(folder.resolve("private").resolve(lab.slug()));
        Files.writeString(own.resolve("TcpServerPrivateTest.java"), """
                import kit.Check;
                import kit.Lab;
                import kit.Step;
                import org.junit.jupiter.api.Nested;
                import org.junit.jupiter.api.Test;

                @Lab
                class TcpServerPrivateTest {
                    private static TcpServer start() throws Exception {
                        var anyPort = new java.net.InetSocketAddress("127.0.0.1", 0);
                        return TcpServer.start(anyPort, connection -> {}, TcpServer.Options.defaults());
                    }

                    @Nested
                    @Step(value = 1, title = "Listen on a port")
                    class Own {
                        @Test
                        void the_port_is_odd_and_even_at_once() throws Exception {
                            try (var server = start()) {
                                int port = server.localAddress().getPort();
                                Check.that(port < 0, "the teacher's secret", "this cannot be passed");
                            }
                        }

                        @Test
                        void it_runs() throws Exception {
                            try (var server = start()) {
                                Check.that(server.isRunning(), "it to run", "");
                            }
                        }
                    }
                }
                """);
        var ended = grade(into("reports", "--box=on", "--tests", own.getParent().toString()));
        assertEquals(1, ended.status(), ended.all());
        var result = result("reports");
        var step = result.labs().getFirst().steps().getFirst();
        assertEquals(List.of("the port is odd and even at once", "it runs"),
                step.checks().stream().filter(ClassResult.Check::isPrivate).map(ClassResult.Check::title).toList());
        var checks = result("reports", "ann").steps().getFirst().checks();
        assertEquals(List.of(Outcome.FAIL, Outcome.PASS),
                checks.subList(checks.size() - 2, checks.size()).stream().map(each -> each.outcome()).toList());
        assertTrue(checks.get(checks.size() - 2).message().contains("the teacher's secret"), checks.toString());
        for (var file : Folders.files(folder.resolve("reports/students"))) {
            assertFalse(Files.readString(file).contains("the teacher's secret"), file.toString());
        }
    }

    @Test
    void where_there_can_be_no_box_grading_stops_and_with_auto_a_warning_says_so() throws Exception {
        hand("ann", skeleton.withSteps(0));
        hand("bob", skeleton.withSteps(0));
        var programs = Files.createDirectory(folder.resolve("programs"));
        Files.createSymbolicLink(programs.resolve("sh"), Path.of("/bin/sh"));
        var without = Map.of("PATH", programs.toString());
        var stopped = grade(without, into("reports"));
        assertEquals(2, stopped.status(), stopped.all());
        assertSays(stopped, "there can be no box here: the program bwrap is not installed", "--box=off");
        assertFalse(Files.exists(folder.resolve("reports")), "reports");
        var warned = grade(without, into("reports", "--box=auto"));
        assertEquals(1, warned.status(), warned.all());
        assertSays(warned, "warning: without a box, each program may do what you may");
    }

    /** Nobody loses points by it, nor gets any. */
    @Test
    void without_a_box_a_program_that_deletes_the_tests_leaves_everybody_ungraded() throws Exception {
        hand("ann", attack("""
                try (var files = Files.walk(Path.of("%s"))) {
                    files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
                } catch (IOException | UncheckedIOException e) { }
                """.formatted(copy.root().resolve("tests"))));
        hand("bob", solution());
        var ended = grade(into("reports", "--box=off"));
        assertEquals(2, ended.status(), ended.all());
        assertSays(ended, "files that the verdicts rest on have changed", "--box=on");
        assertEquals(State.UNGRADED, result("reports", "ann").state());
        assertEquals(State.UNGRADED, result("reports", "bob").state());
        assertEquals(Optional.empty(), result("reports").mark(result("reports").students().getFirst()));
        assertEquals(0, results(), "results kept");
    }

    @Test
    void without_a_box_a_program_that_kills_the_grader_leaves_the_others_results() throws Exception {
        hand("ann", solution());
        var killer = hand("bob", attack("ProcessHandle.current().parent().ifPresent(ProcessHandle::destroyForcibly);"));
        var killed = grade(into("reports", "--box=off"));
        assertEquals(137, killed.status(), killed.all());
        assertEquals(1, results(), "results kept");
        Files.delete(killer);
        var ended = grade(into("reports", "--box=off"));
        assertSays(ended, "0 labs to grade");
        assertEquals(State.MISSING, result("reports", "bob").state());
    }

    static boolean isRoot() throws IOException {
        return Files.getFileStore(Path.of("/")).supportsFileAttributeView("unix")
                && Integer.valueOf(0).equals(Files.getAttribute(Path.of("/proc/self"), "unix:uid"));
    }

    @Test
    @EnabledIf(value = "isRoot", disabledReason = "only root can become somebody else")
    void an_ordinary_user_has_a_box_too() throws Exception {
        copy.close();
        copy = WorkbookCopy.withCacheOfItsOwn();   // the other one is root's
        hand("ann", solution());
        hand("bob", attack("if (isRunning()) { throw new IllegalStateException(\"home: \""
                + " + Files.exists(Path.of(\"" + copy.root().resolve("solutions") + "\"))); }"));
        var jars = Files.createDirectory(folder.resolve("jars"));
        var classPath = new StringJoiner(File.pathSeparator);
        for (var jar : Jvm.classPath()) {
            classPath.add(Files.copy(jar, jars.resolve(jar.getFileName())).toString());
        }
        for (var root : List.of(copy.root(), folder)) {
            try (var files = Files.walk(root)) {
                for (var file : files.toList()) {
                    Files.setAttribute(file, "unix:uid", 12_345, LinkOption.NOFOLLOW_LINKS);
                    Files.setAttribute(file, "unix:gid", 12_345, LinkOption.NOFOLLOW_LINKS);
                }
            }
        }
        var command = new ArrayList<>(List.of("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups",
                Jvm.java(), "-cp", classPath.toString(), "grader.Main", "grade"));
        command.addAll(List.of(into("reports", "--box=on")));
        var ended = Commands.run(copy.root(), Map.of("HOME", folder.toString(), "WORKBOOK_REQUIRE", "",
                "WORKBOOK_NO_AOT", "1"), command.toArray(String[]::new));
        assertEquals(1, ended.status(), ended.all());
        assertEquals(96, points("ann"), ended.all());
        var messages = result("reports", "bob").steps().getFirst().checks().stream().map(each -> each.message())
                .collect(Collectors.joining("\n"));
        assertTrue(messages.contains("home: false") && !messages.contains("home: true"), messages);
    }
}
