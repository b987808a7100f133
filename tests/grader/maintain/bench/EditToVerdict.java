///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION From a saved edit to the verdict: test-401, watch, and Maven Surefire with the same test class, in one run

import module java.base;

/**
 * Runs in a copy of the workbook: an edit is a comment at the end of a solved lab file. Each round checks it in three
 * ways, one after the other; from each time the tests' own time is taken away, so that what is left is the price of the
 * tool.
 */
class EditToVerdict {
    private static final int ROUNDS = 10;
    private static final Pattern GRADERS_TESTS = Pattern.compile("the tests alone ([\\d,]+) ms");
    private static final Pattern SUREFIRES_TESTS = Pattern.compile("<testcase [^>]*time=\"([\\d.]+)\"");

    /** Both in milliseconds. */
    record Time(long whole, long tests) {
        long tool() {
            return whole - tests;
        }
    }

    private final Path root;
    private final Path lab;
    private int edits;

    EditToVerdict(Path root) {
        this.root = root;
        lab = root.resolve("labs/401-tcp-server/TcpServer.java");
    }

    public static void main(String[] args) throws Exception {
        if (args.length > 0) {
            IO.println("Usage: ./jbang bench edit-to-verdict\n"
                    + "Measures " + ROUNDS + " rounds in a copy of the workbook; needs Maven.");
            return;
        }
        var copy = Files.createTempDirectory("edit-to-verdict").toRealPath();
        try {
            copy(Path.of("").toAbsolutePath(), copy);
            new EditToVerdict(copy).measure();
        } finally {
            run(copy, "rm", "-rf", copy.toString());
        }
    }

    private static void copy(Path from, Path to) throws Exception {
        for (var each : List.of("jbang", "jbang-catalog.json", "labs", "solutions", "tests", "book")) {
            run(to, "cp", "-rp", from.resolve(each).toString(), to.toString());
        }
    }

    private void measure() throws Exception {
        Files.copy(root.resolve("solutions/401-tcp-server/TcpServer.java"), lab, StandardCopyOption.REPLACE_EXISTING);
        run(root, "./jbang", "--quiet", "ide", "401");   // Maven, too, has this lab alone to look after
        run(root, "mvn", "-q", "test", "-Dtest=TcpServerTest");   // fetches what Maven needs
        for (int i = 0; i < 3; i++) {
            grader();                                             // compiles the tests; then the caches are made
            Thread.sleep(8_000);
        }
        var grader = new ArrayList<Time>();
        var watch = new ArrayList<Time>();
        var maven = new ArrayList<Time>();
        try (var watching = new Watching()) {
            for (int round = 0; round < ROUNDS; round++) {
                watch.add(watching.save());
            }
        }
        for (int round = 0; round < ROUNDS; round++) {
            grader.add(grader());
            maven.add(maven());
        }
        IO.println("from a saved edit to the verdict, lab 401, median of %d, in ms".formatted(ROUNDS));
        IO.println("                           whole   tests alone   the tool (least to most)");
        show("jbang watch", watch);
        show("jbang test-401", grader);
        show("mvn -o -q test", maven);
        IO.println("mvn : test-401, the tool alone = %.1f".formatted(
                (double) median(maven, Time::tool) / median(grader, Time::tool)));
    }

    private static void show(String name, List<Time> times) {
        var tool = times.stream().mapToLong(Time::tool).summaryStatistics();
        IO.println("  %-22s %7d  %12d  %9d (%d to %d)".formatted(name, median(times, Time::whole),
                median(times, Time::tests), median(times, Time::tool), tool.getMin(), tool.getMax()));
    }

    private static long median(List<Time> times, ToLongFunction<Time> part) {
        return times.stream().mapToLong(part).sorted().skip(times.size() / 2).findFirst().orElseThrow();
    }

    private void edit() throws IOException {
        Files.writeString(lab, "// edit " + ++edits + "\n", StandardOpenOption.APPEND);
    }

    private Time grader() throws Exception {
        edit();
        long start = System.nanoTime();
        var output = run(root, "./jbang", "test-401", "--times");
        return new Time(since(start), millis(GRADERS_TESTS, output, 1));
    }

    private Time maven() throws Exception {
        edit();
        long start = System.nanoTime();
        // Without a fork, because this Maven runs on a JDK 25.
        run(root, "mvn", "-o", "-q", "test", "-Dtest=TcpServerTest", "-Dmaven.compiler.fork=false");
        long whole = since(start);
        try (var reports = Files.newDirectoryStream(root.resolve(".workbook/target/surefire-reports"), "*.xml")) {
            long tests = 0;
            for (var report : reports) {
                tests += millis(SUREFIRES_TESTS, Files.readString(report), 1000);
            }
            return new Time(whole, tests);
        }
    }

    /** One watch that stays up for all rounds. */
    private final class Watching implements AutoCloseable {
        private final Process process;
        private final BufferedReader out;

        private Watching() throws IOException {
            process = builder(root, "./jbang", "watch", "401", "--times").start();
            out = process.inputReader();
            untilVerdict();
        }

        private Time save() throws Exception {
            Thread.sleep(2_000);   // a learner types; the next runner is started meanwhile
            long start = System.nanoTime();
            edit();
            return new Time(since(start, untilVerdict()), tests);
        }

        private long tests;

        /** When the verdict was on the screen; the tests' own time is told in the line after it. */
        private long untilVerdict() throws IOException {
            long seen = 0;
            for (var line = out.readLine(); line != null; line = out.readLine()) {
                if (line.contains(" steps (core")) {
                    seen = System.nanoTime();
                }
                var alone = GRADERS_TESTS.matcher(line);
                if (alone.find()) {
                    tests = millis(GRADERS_TESTS, line, 1);
                    return seen;
                }
            }
            throw new IOException("watch ended");
        }

        @Override
        public void close() {
            process.descendants().forEach(ProcessHandle::destroy);
            process.destroy();
        }
    }

    private static long since(long start) {
        return since(start, System.nanoTime());
    }

    private static long since(long start, long end) {
        return (end - start) / 1_000_000;
    }

    private static long millis(Pattern pattern, String text, int scale) {
        return Math.round(pattern.matcher(text).results()
                .mapToDouble(found -> Double.parseDouble(found.group(1).replace(",", "")) * scale).sum());
    }

    private static ProcessBuilder builder(Path folder, String... command) {
        var builder = new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true);
        builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
        return builder;
    }

    private static String run(Path folder, String... command) throws IOException, InterruptedException {
        var process = builder(folder, command).start();
        process.getOutputStream().close();
        var output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (process.waitFor() != 0) {
            throw new IOException(String.join(" ", command) + " ended with " + process.exitValue() + "\n" + output);
        }
        return output;
    }
}
