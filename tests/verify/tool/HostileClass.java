package verify.tool;

import module java.base;

import grader.grade.ClassResult.LabResult;
import grader.grade.ClassResult.Outcome;
import grader.grade.ClassResult.State;
import grader.workbook.Lab;
import grader.workbook.Skeleton;
import verify.lab.Mistake;

/**
 * A class to grade: honest solutions, half-done ones and mistakes, and what has been tried to get marks without the
 * work, each with the verdict that it must get.
 */
final class HostileClass {
    /** Writes one submission; the path is that of its folder, which is not there yet. */
    interface Writer {
        void write(Path folder) throws Exception;
    }

    /** One student. */
    record Student(String name, Writer writer, Expected expected) {}

    /**
     * The verdict on lab 401.
     *
     * @param passed the steps all of whose checks pass
     * @param open   the steps that may pass or not
     * @param says   words in the message of the lab or of one of its checks
     */
    record Expected(State state, Set<Integer> passed, Set<Integer> open, List<String> says) {
        static Expected steps(int... passed) {
            return new Expected(State.GRADED, IntStream.of(passed).boxed().collect(Collectors.toSet()), Set.of(),
                    List.of());
        }

        /** A mistake may be seen in later steps, too. */
        static Expected rejectedAt(int step, String says) {
            var before = IntStream.range(1, step).boxed().collect(Collectors.toSet());
            var after = IntStream.rangeClosed(step + 1, 9).boxed().collect(Collectors.toSet());
            return new Expected(State.GRADED, before, after, List.of(says.split(" \\| ")[0]));
        }

        static Expected of(State state, String... says) {
            return new Expected(state, Set.of(), Set.of(), List.of(says));
        }

        static Expected notCompiled(String... says) {
            return of(State.NOT_COMPILED, says);
        }

        Expected saying(String... words) {
            return new Expected(state, passed, open, List.of(words));
        }

        /** What is not as expected, or empty. */
        String differs(LabResult result) {
            var steps = result.steps().stream().filter(step -> step.passed() == step.checks().size())
                    .map(step -> step.number()).filter(step -> !open.contains(step)).collect(Collectors.toSet());
            var said = Stream.concat(Stream.of(result.message()), result.steps().stream()
                    .flatMap(step -> step.checks().stream()).filter(check -> check.outcome() != Outcome.PASS)
                    .map(check -> check.message() + " " + check.place())).distinct().collect(Collectors.joining("\n"));
            boolean isSo = result.state() == state && steps.equals(passed) && says.stream().allMatch(said::contains);
            return isSo ? "" : "%s, steps %s instead of %s, steps %s, saying %s:\n%s".formatted(
                    result.state(), steps, state, passed, says, said.substring(0, Math.min(2000, said.length())));
        }
    }

    private static final String NO_IDEA = "if (isRunning()) { throw new IllegalStateException(\"no idea\"); }\n";

    private final Lab lab;
    private final Skeleton skeleton;
    private final String solution;
    private final SequencedMap<String, Student> students = new LinkedHashMap<>();

    HostileClass(Lab lab) throws IOException {
        this.lab = lab;
        skeleton = Skeleton.of(lab.solution());
        solution = skeleton.withSteps(skeleton.steps());
    }

    /** Writes them all into a folder. */
    void writeTo(Path folder) throws Exception {
        for (var student : students.values()) {
            student.writer().write(folder.resolve(student.name()));
        }
    }

    SequencedMap<String, Student> students() {
        return students;
    }

    private HostileClass add(String name, Expected expected, Writer writer) {
        students.put(name, new Student(name, writer, expected));
        return this;
    }

    private HostileClass add(String name, Expected expected, String text) {
        return add(name, expected, folder -> put(folder.resolve(lab.fileName()), text));
    }

    private static void put(Path file, String text) throws IOException {
        Files.createDirectories(file.getParent());
        Files.writeString(file, text);
    }

    private Expected all() {
        return Expected.steps(IntStream.rangeClosed(1, skeleton.steps()).toArray());
    }

    private Expected stepsBefore(int step) {
        return Expected.steps(IntStream.range(1, step).toArray());
    }

    /** Code at the head of a method that every step's tests call. */
    private String called(String code) {
        return changed("public InetSocketAddress localAddress() {\n", code);
    }

    /** Code that runs when the class is loaded. */
    private String loaded(String code) {
        return changed("public final class TcpServer implements AutoCloseable {\n", "static { " + code + " }");
    }

    /** Code at the head of a method that only the last step's tests call in this way. */
    private String late(String code) {
        return changed("public boolean shutdown(Duration grace) throws InterruptedException {\n",
                "if (!grace.isZero() && grace.toSeconds() < 60) { " + code + " }");
    }

    private String changed(String head, String code) {
        if (!solution.contains(head)) {
            throw new AssertionError("the solution has no line " + head);
        }
        return solution.replace(head, head + code + "\n");
    }

    /** Solutions, prefixes, mistakes, skeletons, in folders and archives of all kinds. */
    HostileClass honest() throws Exception {
        add("solution", all(), solution);
        add("skeleton", Expected.steps(), skeleton.withSteps(0));
        for (int step = 1; step < skeleton.steps(); step++) {
            add("steps up to " + step, stepsBefore(step + 1), skeleton.withSteps(step));
        }
        for (int step = 1; step <= skeleton.steps(); step++) {
            int rejectedBy = step;
            var mistake = Mistake.of(lab).stream().filter(each -> each.step() == rejectedBy).findFirst().orElseThrow();
            add("mistake of step " + step, Expected.rejectedAt(step, mistake.says()), mistake.applied(solution));
        }
        add("all done but a TODO line left", all(), solution + "// TODO step 3: answer each line\n");
        add("labs as the workbook has them", all(), folder ->
                put(folder.resolve("labs").resolve(lab.slug()).resolve(lab.fileName()), solution + "// labs\n"));
        add("Åse Ødegård 李", all(), folder ->
                put(folder.resolve("my work").resolve(lab.fileName()), solution + "// not ASCII: ä\n"));
        add("handed in nothing", Expected.of(State.MISSING, "there is no TcpServer.java"),
                folder -> Files.createDirectories(folder));
        add("does not compile", Expected.notCompiled("TcpServer.java:", "';' expected"),
                solution.replace("return (InetSocketAddress) listener.getLocalSocketAddress();", "return null"));
        add("zipped.zip", all(), folder -> zip(folder, Map.of("zipped/labs/" + lab.slug() + "/" + lab.fileName(),
                solution + "// zipped\n")));
        add("solution.zip", all(), folder -> zip(folder, Map.of(lab.fileName(), solution)));
        return this;
    }

    private static void zip(Path file, Map<String, String> entries) throws IOException {
        try (var zip = new ZipOutputStream(Files.newOutputStream(file))) {
            for (var entry : entries.entrySet()) {
                zip.putNextEntry(new ZipEntry(entry.getKey()));
                zip.write(entry.getValue().getBytes(StandardCharsets.UTF_8));
            }
        }
    }

    /** Files that are no programs. */
    HostileClass oddFiles(Path secret) {
        add("not Java", Expected.notCompiled("TcpServer.java:"), "Dear teacher,\nmy laptop was stolen.\n");
        add("not text", Expected.notCompiled("not UTF-8"), folder -> {
            Files.createDirectories(folder);
            Files.write(folder.resolve(lab.fileName()), new byte[] {(byte) 0xff, (byte) 0xfe, 0, 1});
        });
        add("empty file", Expected.steps().saying("no longer has the type"), "");
        add("100 MB", Expected.notCompiled("may hold 1 MiB"), folder -> {
            Files.createDirectories(folder);
            try (var file = new RandomAccessFile(folder.resolve(lab.fileName()).toFile(), "rw")) {
                file.setLength(100_000_000);
            }
        });
        add("link to a solution", Expected.notCompiled("leads out of its folder"), folder ->
                Files.createSymbolicLink(Files.createDirectories(folder).resolve(lab.fileName()), secret));
        add("link to a folder", Expected.of(State.MISSING), folder ->
                Files.createSymbolicLink(Files.createDirectories(folder).resolve("labs"), secret.getParent()));
        add("is a link", Expected.of(State.UNGRADED, "leads out of"), folder ->
                Files.createSymbolicLink(folder, secret.getParent()));
        add("a pipe", Expected.notCompiled("no regular file"), folder -> {
            Files.createDirectories(folder);
            new ProcessBuilder("mkfifo", folder.resolve(lab.fileName()).toString()).start().waitFor();
        });
        add("a folder of that name", Expected.of(State.MISSING), folder ->
                Files.createDirectories(folder.resolve(lab.fileName())));
        add("zip that leads out.zip", Expected.of(State.MISSING), folder ->
                zip(folder, Map.of("../../" + lab.fileName(), solution)));
        add("zip bomb.zip", Expected.notCompiled("may hold 1 MiB"), folder -> {
            try (var zip = new ZipOutputStream(Files.newOutputStream(folder))) {
                zip.putNextEntry(new ZipEntry(lab.fileName()));
                for (int i = 0; i < 1000; i++) {
                    zip.write(new byte[1 << 20]);
                }
            }
        });
        add("damaged.zip", Expected.of(State.UNGRADED, "could not be read"), folder ->
                Files.writeString(folder, "PK\3\4 and then nothing"));
        return this;
    }

    /** What the compiler meets. */
    HostileClass oddPrograms() {
        add("in a package", Expected.notCompiled("take the package line out"), "package org.junit;\n" + solution);
        add("renamed method", Expected.steps().saying("no longer has the method"),
                solution.replace("localAddress()", "whereAmI()"));
        add("own Assertions", Expected.steps().saying("no idea"), called(NO_IDEA) + """
                class Assertions {
                    static void assertEquals(Object a, Object b, String c) {}
                    static void assertTrue(boolean a, String b) {}
                }
                @interface Test {}
                class TcpServerTest {}
                """);
        add("second file", all(), folder -> {
            put(folder.resolve(lab.fileName()), "//SOURCES Helper.java\n" + solution);
            put(folder.resolve("Helper.java"), "class Helper {}\n");
        });
        add("needs a second file", Expected.notCompiled("cannot find symbol"), folder -> {
            put(folder.resolve(lab.fileName()), "//SOURCES Helper.java\n" + called("Helper.help();"));
            put(folder.resolve("Helper.java"), "class Helper { static void help() {} }\n");
        });
        add("never compiles to an end", Expected.notCompiled("was not done"), solution + neverCompiled());
        return this;
    }

    /** All but one of 2,048 cases: to find out that it is missing takes the compiler longer than anybody waits. */
    private static String neverCompiled() {
        int parts = 11;
        var cases = IntStream.range(1, 1 << parts).mapToObj(bits -> IntStream.range(0, parts)
                .mapToObj(part -> ((bits >> part & 1) == 0 ? "A a" : "B b") + part)
                .collect(Collectors.joining(", ", "case R(", ") -> 1;\n"))).collect(Collectors.joining());
        var components = IntStream.range(0, parts).mapToObj(part -> "S s" + part).collect(Collectors.joining(", "));
        return """
                class Endless {
                    sealed interface S permits A, B {}
                    record A() implements S {}
                    record B() implements S {}
                    record R(%s) {}
                    int endless(R r) { return switch (r) { %s }; }
                }
                """.formatted(components, cases);
    }

    /** Programs that end, hang, flood, lie or break things, and that may run without a box. */
    HostileClass attacks(Path classFolder) {
        add("exits while loaded", Expected.steps().saying("System.exit"), loaded("System.exit(0);"));
        add("halts late", stepsBefore(7).saying("ended the Java machine"), late("Runtime.getRuntime().halt(0);"));
        add("loops late", stepsBefore(7).saying("did not come to its end"),
                late("while (options != null) { Thread.onSpinWait(); }"));
        add("loops while loaded", Expected.steps().saying("static initialiser of TcpServer did not come to its end"),
                loaded("while (System.nanoTime() != 1) { Thread.onSpinWait(); }"));
        add("thread that stays", all(),
                loaded("Thread.ofPlatform().start(() -> { while (true) { LockSupport.park(); } });"));
        add("endless shutdown hook", all(), loaded("Runtime.getRuntime().addShutdownHook(new Thread(() -> {"
                + " while (true) { LockSupport.park(); } }));"));
        add("overflows the stack", Expected.steps().saying("the stack overflowed"),
                called("if (isRunning()) { return localAddress(); }"));
        add("keeps memory late", stepsBefore(7).saying("memory"), late("""
                var all = new ArrayList<byte[]>();
                while (options != null) { all.add(new byte[1 << 20]); }
                """));
        add("keeps memory for ever", stepsBefore(7).saying("memory"), late("""
                var all = new ArrayList<byte[]>();
                System.getProperties().put("all", all);
                while (options != null) { all.add(new byte[1 << 20]); }
                """));
        add("interrupts what loads it", all(), loaded("Thread.currentThread().interrupt();"));
        add("floods standard output", all(), late("""
                var line = "flood ".repeat(10_000);
                for (int i = 0; i < 200; i++) { IO.println(line); }
                """));
        add("floods descriptor 1", all(), late("""
                try (var raw = new FileOutputStream("/proc/self/fd/1")) {
                    var mebibyte = new byte[1 << 20];
                    for (int i = 0; i < 1_000; i++) { raw.write(mebibyte); }
                } catch (IOException e) { throw new UncheckedIOException(e); }
                """));
        add("forges a report", Expected.steps().saying("ended the Java machine"), called("""
                new PrintStream(new FileOutputStream(FileDescriptor.out)).println("0000\\t1\\tdone");
                Runtime.getRuntime().halt(0);
                """));
        add("closes standard output", all(), called("if (System.out != null) { System.out.close(); }"
                + "System.setOut(null);"));
        add("steers the terminal", Expected.steps().saying("^[[2J\\u009b2J\\u202e"),
                called("if (isRunning()) { throw new IllegalStateException(\"\\033[2J\\u009b2J\\u202e\"); }"));
        add("looks for the key", Expected.steps().saying("keys found: 0"), called("""
                try {
                    var seen = Files.readString(Path.of("/proc/self/environ"), StandardCharsets.ISO_8859_1)
                            + Files.readString(Path.of("/proc/self/cmdline"), StandardCharsets.ISO_8859_1);
                    var keys = Pattern.compile("[0-9a-f]{64}").matcher(seen.replaceAll("WORKBOOK_CHECK=\\\\w+", ""));
                    long found = keys.results().filter(key -> !seen.contains("java." + key.group())).count();
                    if (isRunning()) { throw new IllegalStateException("keys found: " + found); }
                } catch (IOException e) { throw new UncheckedIOException(e); }
                """));
        add("deletes what was handed in", all(), called(deleting(classFolder)));
        return this;
    }

    private static String deleting(Path folder) {
        return """
                try (var files = Files.walk(Path.of("%s"))) {
                    files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
                } catch (IOException | UncheckedIOException e) { }
                """.formatted(folder);
    }

    /** What only a box stands up to; with what happens there. */
    HostileClass attacksOnTheMachine(Path workbook) {
        add("deletes the tests", all(), called(deleting(workbook.resolve("tests"))));
        add("deletes the cache", all(), called(deleting(workbook.resolve(".workbook"))));
        add("kills its parent", all(),
                called("ProcessHandle.current().parent().ifPresent(ProcessHandle::destroyForcibly);"));
        add("kills every process", all(), called("ProcessHandle.allProcesses()"
                + ".filter(each -> !each.equals(ProcessHandle.current())).forEach(ProcessHandle::destroyForcibly);"));
        add("starts a daemon", all(), called("""
                try {
                    if (System.setProperty("daemon", "started") == null) {
                        new ProcessBuilder("setsid", "--fork", "env", "-i", "sleep", "%s").start().waitFor();
                    }
                } catch (IOException | InterruptedException e) { throw new IllegalStateException(e); }
                """.formatted(daemon())));
        add("takes 2 GB", stepsBefore(7).saying("memory"), late("""
                var arena = Arena.ofShared();
                for (int i = 0; i < 8; i++) { arena.allocate(1 << 28).fill((byte) 1); }
                """));
        add("reads the solution", Expected.steps().saying("NoSuchFileException"), called("""
                try { Files.readString(Path.of("%s")); }
                catch (IOException e) { throw new UncheckedIOException(e.toString(), e); }
                """.formatted(workbook.resolve("solutions").resolve(lab.slug()).resolve(lab.fileName()))));
        add("asks the network", Expected.steps().saying("unreachable"), called("""
                try (var socket = new Socket()) { socket.connect(new InetSocketAddress("192.0.2.1", 80), 1000); }
                catch (IOException e) { throw new UncheckedIOException(e); }
                """));
        add("fills the disk", stepsBefore(7).saying("No space left"), late("""
                try (var file = new FileOutputStream(Files.createTempFile("fills", "").toFile())) {
                    var mebibyte = new byte[1 << 20];
                    for (int i = 0; i < 4_000; i++) { file.write(mebibyte); }
                } catch (IOException e) { throw new UncheckedIOException(e); }
                """));
        add("starts threads without end", stepsBefore(7), late("""
                for (int i = 0; i < 100_000; i++) { Thread.ofPlatform().daemon().start(LockSupport::park); }
                """));
        add("starts a thousand processes", stepsBefore(7), late("""
                try { for (int i = 0; i < 1000; i++) { new ProcessBuilder("sleep", "1000").start(); } }
                catch (IOException e) { throw new UncheckedIOException(e); }
                """));
        return this;
    }

    /** How long the daemon sleeps: nobody else sleeps as long. */
    static String daemon() {
        return Integer.toString(200_000 + (int) (ProcessHandle.current().pid() % 100_000));
    }
}
