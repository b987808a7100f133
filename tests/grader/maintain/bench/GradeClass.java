///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Grades a class of solutions in a box, without one, and then twice as many: rates, and the price of grading
//DEPS com.fasterxml.jackson.core:jackson-databind:2.19.2

import module java.base;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;

/**
 * Each student hands in the solutions of five labs, with a comment of their own, so that no result serves for two. All
 * runs are made one after the other. The processor time is the whole machine's, because that of a program in a box is
 * lost with the box: on a machine that has other work it says too much. Linux only.
 */
class GradeClass {
    private static final List<String> LABS = List.of("401-tcp-server/TcpServer.java",
            "402-udp-client/StatsdClient.java", "403-listen-and-dial/ListenAndDial.java",
            "404-connection-pool/ConnectionPool.java", "405-http-transport/HttpTransport.java");
    private static final int STUDENTS = 30;

    private final Path root = Path.of("").toAbsolutePath();
    private final Path folder;

    private GradeClass(Path folder) {
        this.folder = folder;
    }

    public static void main(String[] args) throws Exception {
        if (args.length > 1 || args.length == 1 && !args[0].matches("[1-9]\\d*")) {
            IO.println("Usage: ./jbang bench grade [STUDENTS]\nDefault: " + STUDENTS + " students.");
            return;
        }
        int students = args.length == 1 ? Integer.parseInt(args[0]) : STUDENTS;
        var folder = Files.createTempDirectory("grade-class").toRealPath();
        try {
            new GradeClass(folder).measure(students);
        } finally {
            new ProcessBuilder("rm", "-rf", folder.toString()).start().waitFor();
        }
    }

    private void measure(int students) throws Exception {
        grade("warm-up", 1, "--box=on");   // compiles the grader and the tests
        IO.println("each student: the solutions of %d labs".formatted(LABS.size()));
        IO.println("                          wall   students/min   cores busy   CPU a lab   tests alone, a lab");
        var boxed = grade("in a box", students, "--box=on");
        var open = grade("without a box", students, "--box=off");
        var twice = grade("in a box, twice as many", 2 * students, "--box=on");
        IO.println("box : no box, CPU = %.2f".formatted(boxed.cpu() / open.cpu()));
        IO.println("twice the students : once, wall = %.2f".formatted(twice.wall() / boxed.wall()));
    }

    /** In seconds. */
    private record Run(double wall, double cpu) {}

    private Run grade(String name, int students, String box) throws Exception {
        var submissions = folder.resolve(name);
        for (int student = 1; student <= students; student++) {
            for (var lab : LABS) {
                var file = submissions.resolve("student " + student).resolve("labs").resolve(lab);
                Files.createDirectories(file.getParent());
                Files.writeString(file, Files.readString(root.resolve("solutions").resolve(lab))
                        + "// " + name + ", student " + student + "\n");
            }
        }
        var reports = folder.resolve("reports of " + name);
        double busyBefore = busy();
        long began = System.nanoTime();
        var process = new ProcessBuilder(
                root.resolve("jbang").toString(), "grade", submissions.toString(), "--out", reports.toString(), box)
                .redirectErrorStream(true).start();
        var said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (process.waitFor() != 0) {
            throw new IOException("grading ended with " + process.exitValue() + "\n" + said);
        }
        var run = new Run((System.nanoTime() - began) / 1e9, busy() - busyBefore);
        int labs = students * LABS.size();
        if (!name.equals("warm-up")) {
            IO.println("%-24s %4.0f s %12.1f %12.2f %9.2f s %12.2f s".formatted(name, run.wall(),
                    60 * students / run.wall(), run.cpu() / run.wall(), run.cpu() / labs, tests(reports) / labs));
        }
        return run;
    }

    /** For how many seconds the machine's processors have been busy; its unit is a hundredth. */
    private static double busy() throws IOException {
        var fields = Files.readAllLines(Path.of("/proc/stat")).getFirst().split(" +");
        return Stream.of(1, 2, 3, 6, 7, 8).mapToDouble(field -> Double.parseDouble(fields[field])).sum() / 100;
    }

    /** The sum of the checks' own times, in seconds. */
    private static double tests(Path reports) throws IOException {
        double millis = 0;
        for (var steps : new ObjectMapper().readTree(reports.resolve("class.json").toFile()).findValues("checks")) {
            for (JsonNode check : steps) {
                millis += check.path("millis").asDouble();
            }
        }
        return millis / 1000;
    }
}
