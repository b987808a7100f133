package verify;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Programs that end, hang, flood or lie are ordinary results in plain words: not passed, and no frame that is not the learner's. */
class HostileTest {
    private static final Pattern FRAMEWORK = Pattern.compile("org\\.junit|java\\.base/|jdk\\.internal|opentest4j|\\bat (kit|grader|java)\\.");

    private static final String NO_IDEA = "if (isRunning()) { throw new IllegalStateException(\"no idea\"); }";

    /** What the learner's file does, and what must be said of it. */
    private record Attack(String name, UnaryOperator<String> change, String... says) {}

    private static final List<Attack> ATTACKS = List.of(
            new Attack("ends the JVM", called("System.exit(0);"), "System.exit"),
            new Attack("halts the JVM", called("Runtime.getRuntime().halt(0);"), "ended the Java machine"),
            new Attack("ends the JVM while its class is loaded", loaded("System.exit(0);"), "System.exit"),
            new Attack("overflows the stack", called("if (isRunning()) { return localAddress(); }"), "the stack overflowed", "TcpServer.java:"),
            new Attack("uses up the memory", called("var all = new ArrayList<byte[]>(); while (isRunning()) { all.add(new byte[1 << 20]); }"), "memory is used up"),
            new Attack("floods standard output", called("for (int i = 0; i < 20_000; i++) { IO.println(\"flood \".repeat(10)); }" + NO_IDEA),
                    "no idea", "your program printed:", "lines more"),
            new Attack("floods the pipe to the grader", called("""
                    try (var raw = new FileOutputStream(FileDescriptor.out)) {
                        while (isRunning()) { raw.write(new byte[1 << 20]); }
                    } catch (IOException e) { throw new UncheckedIOException(e); }
                    """), "printed more than 64 MB"),
            new Attack("forges a good report and ends", called("""
                    new PrintStream(new FileOutputStream(FileDescriptor.out)).println("0000\\t1\\tdone");
                    Runtime.getRuntime().halt(0);
                    """), "ended the Java machine"),
            new Attack("closes standard output", called("System.out.close(); System.setOut(null);" + NO_IDEA), "no idea"),
            new Attack("throws what nobody expects", called(NO_IDEA), "IllegalStateException: no idea", "TcpServer.java:"),
            new Attack("leaves a thread behind", called("Thread.ofPlatform().start(() -> { while (true) { LockSupport.park(); } });"), "thread"),
            new Attack("has its own Assertions", called(NO_IDEA).andThen(text -> text
                    + "class Assertions { static void assertEquals(Object a, Object b, String c) {} static void assertTrue(boolean a, String b) {} }\n"
                    + "@interface Test {}\nclass TcpServerTest {}\n")::apply, "no idea"),
            new Attack("never comes back", called("while (options != null) { Thread.onSpinWait(); }"), "did not come to its end", "TcpServer.java:"),
            new Attack("never comes back from its static initialiser", loaded("while (System.nanoTime() != 1) { Thread.onSpinWait(); }"), "did not come to its end"));

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
        return ATTACKS.stream().map(attack -> DynamicTest.dynamicTest(attack.name(), () -> check(attack.change(), attack.says())));
    }

    @TestFactory
    Stream<DynamicTest> a_file_that_no_longer_fits_is_told_so() {
        return Stream.of(
                new Attack("a renamed method", text -> text.replace("localAddress()", "whereAmI()"), "no longer has the method", "localAddress"),
                new Attack("a package line", text -> "package kit;\n" + text, "take the package line out"),
                new Attack("an empty file", text -> "", "no longer has the type"),
                new Attack("another class in the file", text -> "class Other {}\n", "no longer has the type"),
                new Attack("a file of zeros", text -> "\0\0\0\0", "does not compile"))
                .map(misfit -> DynamicTest.dynamicTest(misfit.name(), () -> check(misfit.change(), misfit.says())));
    }

    private static void check(UnaryOperator<String> change, String... says) throws Exception {
        try (var clone = Clone.make()) {
            clone.write(Scope.book().lab("401"), change);
            var ended = clone.grader("test", "401", "--timeout", "15");
            for (var words : says) {
                assertTrue(ended.all().contains(words), "not said: «" + words + "»\n" + ended.all());
            }
            var frame = ended.all().lines().filter(line -> FRAMEWORK.matcher(line).find()).findFirst();
            assertEquals(Optional.empty(), frame, ended.all());
            assertEquals(1, ended.status(), ended.all());
        }
    }
}
