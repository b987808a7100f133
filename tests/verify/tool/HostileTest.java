package verify.tool;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import grader.check.CheckListener;
import grader.check.CheckOptions;
import grader.check.Checker;
import grader.check.Submission;
import grader.show.StepTree;
import grader.workbook.Skeleton;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import verify.Selection;

/**
 * Programs that end, hang, flood or lie are ordinary results in plain words: not passed, and no frame that is not the
 * learner's.
 */
@Execution(ExecutionMode.CONCURRENT)
class HostileTest {
    private static final ThreadLocal<Checker> CHECKER = ThreadLocal.withInitial(() -> new Checker(Selection.book()));
    private static final Pattern FRAMEWORK =
            Pattern.compile("org\\.junit|java\\.base/|jdk\\.internal|opentest4j|\\bat (kit|grader|java)\\.");

    private static final String NO_IDEA = "if (isRunning()) { throw new IllegalStateException(\"no idea\"); }";

    /** What the learner's file does, and what must be said of it. */
    private record Attack(String name, UnaryOperator<String> change, String... says) {}

    private static final List<Attack> ATTACKS = List.of(
            new Attack("ends the JVM", called("System.exit(0);"), "System.exit"),
            new Attack("halts the JVM", called("Runtime.getRuntime().halt(0);"), "ended the Java machine"),
            new Attack("ends the JVM while its class is loaded", loaded("System.exit(0);"), "System.exit"),
            new Attack("overflows the stack", called("if (isRunning()) { return localAddress(); }"),
                    "the stack overflowed", "TcpServer.java:"),
            new Attack("uses up the memory", called("""
                    var all = new ArrayList<byte[]>();
                    while (isRunning()) { all.add(new byte[1 << 20]); }
                    """), "memory is used up"),
            new Attack("floods standard output", called("""
                    for (int i = 0; i < 20_000; i++) { IO.println("flood ".repeat(10)); }
                    """ + NO_IDEA), "no idea", "your program printed:", "lines more"),
            new Attack("floods descriptor 1", called("""
                    try (var raw = new FileOutputStream(FileDescriptor.out)) {
                        for (int i = 0; i < 100; i++) { raw.write(new byte[1 << 20]); }
                    } catch (IOException e) { throw new UncheckedIOException(e); }
                    """ + NO_IDEA), "no idea"),
            new Attack("leaves half a line on descriptor 1", called("""
                    try { new FileOutputStream(FileDescriptor.out).write("half a line".getBytes()); }
                    catch (IOException e) { throw new UncheckedIOException(e); }
                    """ + NO_IDEA), "no idea"),
            new Attack("forges a good report and ends", called("""
                    new PrintStream(new FileOutputStream(FileDescriptor.out)).println("0000\\t1\\tdone");
                    Runtime.getRuntime().halt(0);
                    """), "ended the Java machine"),
            new Attack("switches JUnit to a dry run",
                    loaded("System.setProperty(\"junit.platform.execution.dryRun.enabled\", \"true\");")
                            .andThen(called(NO_IDEA))::apply, "no idea"),
            new Attack("aborts the test with JUnit's own exception", called("""
                    try {
                        var type = Class.forName("org.opentest4j.TestAbortedException");
                        var abort = (RuntimeException) type.getConstructor(String.class).newInstance("skip me");
                        if (isRunning()) { throw abort; }
                    } catch (ReflectiveOperationException e) { throw new IllegalStateException(e); }
                    """), "the test was aborted", "skip me"),
            new Attack("steers the terminal", called("""
                    if (isRunning()) { throw new IllegalStateException("\\033[2J\\u009b2J\\u202e"); }
                    """), "^[[2J\\u009b2J\\u202e"),
            new Attack("closes standard output", called("System.out.close(); System.setOut(null);" + NO_IDEA),
                    "no idea"),
            new Attack("interrupts every thread",
                    called("Thread.getAllStackTraces().keySet().forEach(Thread::interrupt);" + NO_IDEA), "FAIL"),
            new Attack("throws what nobody expects", called(NO_IDEA),
                    "IllegalStateException: no idea", "TcpServer.java:"),
            new Attack("leaves a thread behind",
                    called("Thread.ofPlatform().start(() -> { while (true) { LockSupport.park(); } });"),
                    "the lab itself says: Stats[active=", "still there:\n", "thread"),
            new Attack("has its own Assertions", called(NO_IDEA).andThen(text -> text + """
                    class Assertions {
                        static void assertEquals(Object a, Object b, String c) {}
                        static void assertTrue(boolean a, String b) {}
                    }
                    @interface Test {}
                    class TcpServerTest {}
                    """)::apply, "no idea"),
            new Attack("never comes back", called("while (options != null) { Thread.onSpinWait(); }"),
                    "did not come to its end", "TcpServer.java:"),
            new Attack("never comes back from its static initialiser",
                    loaded("while (System.nanoTime() != 1) { Thread.onSpinWait(); }"), "did not come to its end"));

    /** Code at the head of a method that step 1 calls. */
    private static UnaryOperator<String> called(String code) {
        var head = "public InetSocketAddress localAddress() {\n";
        return text -> text.replace(head, head + code + "\n");
    }

    /** Code that runs when the class is loaded. */
    private static UnaryOperator<String> loaded(String code) {
        var head = "public final class TcpServer implements AutoCloseable {\n";
        return text -> text.replace(head, head + "static { " + code + " }\n");
    }

    @TestFactory
    Stream<DynamicTest> an_attack_is_an_ordinary_result() {
        return ATTACKS.stream().map(attack -> DynamicTest.dynamicTest(
                attack.name(), () -> check(attack.change(), attack.says())));
    }

    @TestFactory
    Stream<DynamicTest> a_file_that_no_longer_fits_is_told_so() {
        return Stream.of(
                new Attack("a renamed method", text -> text.replace("localAddress()", "whereAmI()"),
                        "no longer has the method", "localAddress"),
                new Attack("a package line", text -> "package kit;\n" + text, "take the package line out"),
                new Attack("an empty file", text -> "", "no longer has the type"),
                new Attack("another class in the file", text -> "class Other {}\n", "no longer has the type"),
                new Attack("a file of zeros", text -> "\0\0\0\0", "does not compile"),
                new Attack("an expression that is nested too deeply", text -> text + "class Deep { int deep = "
                        + "(".repeat(20_000) + "1" + ")".repeat(20_000) + "; }\n",
                        "the compiler gave up", "nested too deeply"),
                new Attack("more than a mebibyte", text -> text + "// more\n".repeat(200_000),
                        "may hold 1 MiB", "it was not compiled"))
                .map(misfit -> DynamicTest.dynamicTest(misfit.name(), () -> check(misfit.change(), misfit.says())));
    }

    /** What the JDK starts for all users of a JVM is no leak of the program that was the first to ask for it. */
    @Test
    void a_thread_of_the_JDKs_own_is_none_that_the_program_leaves_behind() throws Exception {
        var lab = Selection.book().lab("401");
        var skeleton = Skeleton.of(lab.solution());
        var text = called("new CompletableFuture<Void>().orTimeout(1, TimeUnit.MILLISECONDS);")
                .apply(skeleton.withSteps(skeleton.steps()));
        var firstStep = CheckOptions.LEARNER.ofSteps(1, 1);
        var verdict = CHECKER.get().check(Submission.of(lab, text), firstStep, new CheckListener() {});
        assertEquals(List.of(1), List.copyOf(verdict.passedSteps()), () -> verdict.next().toString());
    }

    /** A program that hides libpcap passes no step by it: what a machine has is asked before the program is loaded. */
    @Test
    void a_program_that_makes_a_machine_look_poor_passes_nothing() throws Exception {
        var lab = Selection.book().lab("406");
        var skeleton = Skeleton.of(lab.solution());
        var head = "public final class PacketLab {\n";
        var hide = "static { System.setProperty(\"org.pcap4j.core.pcapLibName\", \"/nonexistent\"); }\n";
        var text = skeleton.withSteps(5).replace("TODO step 6", "nothing written").replace(head, head + hide);
        var options = CheckOptions.LEARNER.ofSteps(6, 6);
        var verdict = CHECKER.get().check(Submission.of(lab, text), options, new CheckListener() {});
        assertEquals(Set.of(), verdict.passedSteps(), () -> verdict.steps().toString());
    }

    /** As the grader does it, but in this process, where the compiler is warm; each program has a runner of its own. */
    private static void check(UnaryOperator<String> change, String... says) throws Exception {
        var lab = Selection.book().lab("401");
        var skeleton = Skeleton.of(lab.solution());
        var shown = new ByteArrayOutputStream();
        var submission = Files.createTempFile("hostile", ".java");
        try (var screen = new PrintStream(shown, true, StandardCharsets.UTF_8)) {
            Files.writeString(submission, change.apply(skeleton.withSteps(skeleton.steps())));
            var options = CheckOptions.LEARNER.withTestTimeout(Duration.ofSeconds(15));
            var verdict = CHECKER.get().check(Submission.at(lab, submission), options, new StepTree(screen, false));
            var said = shown.toString(StandardCharsets.UTF_8);
            for (var words : says) {
                assertTrue(said.contains(words), "not said: «" + words + "»\n" + said);
            }
            var frames = said.lines().filter(line -> FRAMEWORK.matcher(line).find()).toList();
            assertEquals(List.of(), frames, said);
            assertTrue(!verdict.passed(), said);
        } finally {
            Files.delete(submission);
        }
    }

    /** The tests are what they were, and what comes after is checked as before. */
    @Test
    void a_program_that_shortens_the_plan_gets_no_verdict_and_harms_no_later_one() throws Exception {
        var lab = Selection.book().lab("401");
        try (var copy = WorkbookCopy.withCacheOfItsOwn()) {
            copy.write(lab, called("""
                    try (var plans = Files.find(Path.of("%s"), 3, (path, attributes) -> path.endsWith("plan"))) {
                        for (var plan : plans.toList()) {
                            var lines = Files.readAllLines(plan).stream().filter(line ->
                                    !line.contains("nested-class:") || line.contains("nested-class:Listen"));
                            Files.write(plan, lines.toList());
                        }
                    } catch (IOException e) { throw new UncheckedIOException(e); }
                    """.formatted(copy.root().resolve(".workbook/cache")))::apply);
            var tampered = copy.grader("test", "401");
            assertEquals(2, tampered.status(), tampered.all());
            assertTrue(tampered.errors().contains("have changed during the check"), tampered.all());
            copy.write(lab, called(NO_IDEA));
            var later = copy.grader("test", "401");
            assertEquals(1, later.status(), later.all());
            assertTrue(later.all().contains("no idea"), later.all());
        }
    }

    /** One that leaves its parent's process group and session, as a daemon does. */
    @Test
    @EnabledOnOs(value = OS.LINUX, disabledReason = "a process is found by its environment in /proc, which Linux has")
    void a_process_that_the_program_has_started_does_not_outlive_the_check() throws Exception {
        var seconds = Integer.toString(100_000 + ProcessHandle.current().hashCode() % 100_000);
        try (var copy = WorkbookCopy.make()) {
            copy.write(Selection.book().lab("401"), called("""
                    try { new ProcessBuilder("setsid", "--fork", "sleep", "%s").start().waitFor(); }
                    catch (IOException | InterruptedException e) { throw new IllegalStateException(e); }
                    """.formatted(seconds))::apply);
            copy.grader("test", "401");
            var left = ProcessHandle.allProcesses().filter(process -> process.info().arguments()
                    .map(words -> List.of(words).contains(seconds)).orElse(false)).map(ProcessHandle::pid).toList();
            assertEquals(List.of(), left, "processes left");
        }
    }
}
