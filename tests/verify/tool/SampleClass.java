package verify.tool;

import module java.base;

import grader.grade.ClassResult;
import grader.grade.ClassResult.Check;
import grader.grade.ClassResult.CheckResult;
import grader.grade.ClassResult.Lab;
import grader.grade.ClassResult.LabResult;
import grader.grade.ClassResult.Outcome;
import grader.grade.ClassResult.State;
import grader.grade.ClassResult.Step;
import grader.grade.ClassResult.StepResult;
import grader.grade.ClassResult.Student;
import grader.workbook.Curriculum;
import grader.workbook.Workbook;

/** Results of classes, made by hand: what a report must show, and what it must not let through. */
public final class SampleClass {
    /** Each would do something in some report if it came through as it is. */
    public static final List<String> HOSTILE_NAMES = List.of("<script>document.title = 'taken'</script>",
            "=HYPERLINK(\"http://a.test\")", "@SUM(1)", "::error::forged", "x | y ](z) `w` ##[error]forged",
            "\"><img src=x onerror=alert(1)>", "]]><x/>", "ends with half a \ud83d", "+a\nb", "..");

    private static final List<String> OF_STEP_1 = List.of("start returns once a client can connect",
            "an ephemeral port is told", "one line is echoed");
    private static final Lab LAB = new Lab("401", "401-tcp-server", "TCP server", "TcpServer.java", List.of(
            step(1, "Listen on a port", false, 3, OF_STEP_1),
            step(2, "Serve each client concurrently", false, 2, List.of("a slow client does not block the next one",
                    "a thousand clients are served at once")),
            step(3, "Cap the connections", true, 5, List.of("the eleventh client waits", "a closed one makes room",
                    "the teacher's own check"))));
    private static final Lab SECOND = new Lab("402", "402-udp-client", "UDP client", "StatsdClient.java",
            List.of(step(1, "Connect without a packet", false, 2,
                    List.of("no packet is sent", "the name is resolved"))));

    private static final String SOURCE = IntStream.rangeClosed(1, 60)
            .mapToObj(line -> "    int line" + line + " = a < b && c > d ? 1 : 2;\n").collect(Collectors.joining());

    private SampleClass() {}

    private static Step step(int number, String title, boolean further, double points, List<String> checks) {
        return new Step(number, title, further, points, checks.stream()
                .map(check -> new Check(number + ":" + check, check, check.startsWith("the teacher's"))).toList());
    }

    /** A student in each state that there is; the last ten have the hostile names. */
    public static ClassResult small() {
        var students = new ArrayList<Student>();
        students.add(student("Ada Lovelace", graded("PPP PP PPP", ""), second(State.GRADED, "PP")));
        students.add(student("Çağla Ünsal", graded("PPP PF FPF", "«1 line» & more\nexpected <b>"),
                second(State.GRADED, "PS")));
        students.add(student("李小龍", graded("PFN NN TTT", "the run ended"), second(State.MISSING, "NN")));
        students.add(student("Zoë", new LabResult("401", State.NOT_COMPILED, "TcpServer.java", "d",
                "TcpServer.java:12: ';' expected\n    int a < b", SOURCE, 5, results(LAB, "NNN NN NNN", "")),
                second(State.UNGRADED, "NN")));
        HOSTILE_NAMES.forEach(name -> students.add(new Student(name, name, List.of("its folder is called " + name),
                List.of(graded("PPF FF FFF", name), second(State.GRADED, "SS")))));
        return new ClassResult("0123456789abcdef", Instant.parse("2026-11-28T10:20:30.123Z"), List.of(LAB, SECOND),
                students);
    }

    private static Student student(String name, LabResult... labs) {
        return new Student(name, name, List.of(), List.of(labs));
    }

    private static LabResult second(State state, String outcomes) {
        var message = switch (state) {
            case UNGRADED -> "the disk is full";
            case MISSING -> "there is no StatsdClient.java in the submission";
            default -> "";
        };
        return new LabResult("402", state, state == State.GRADED ? "402-udp-client/StatsdClient.java" : "", "d",
                message, "", 7, results(SECOND, outcomes, "the machine lacks IPv6"));
    }

    /** {@code "PPP PF T"}: the outcomes by their first letters, the steps apart. */
    private static LabResult graded(String outcomes, String words) {
        return new LabResult("401", State.GRADED, "labs/401-tcp-server/TcpServer.java", "d", "", SOURCE, 1234,
                results(LAB, outcomes, words));
    }

    private static List<StepResult> results(Lab lab, String outcomes, String words) {
        var letters = outcomes.replace(" ", "").chars().iterator();
        return lab.steps().stream().map(step -> new StepResult(step.number(), step.checks().stream()
                .map(check -> result(check, letters.nextInt(), words)).toList())).toList();
    }

    private static CheckResult result(Check check, int letter, String words) {
        return switch (letter) {
            case 'P' -> new CheckResult(check.id(), Outcome.PASS, "", "", 0, "", 12);
            case 'F' -> new CheckResult(check.id(), Outcome.FAIL, "  seen: " + words, "at TcpServer.java:41 (serve)",
                    41, "printed: " + words, 10_000);
            case 'T' -> new CheckResult(check.id(), Outcome.TODO, "", "", 50, "", 0);
            case 'S' -> new CheckResult(check.id(), Outcome.SKIPPED, words, "", 0, "", 0);
            default -> new CheckResult(check.id(), Outcome.NOT_RUN, "", "", 0, "", 0);
        };
    }

    /** As large as a class gets: these labs with the steps that they have, and students who get more or less far. */
    public static ClassResult large(Workbook book, int students, List<String> numbers) throws IOException {
        var random = new Random(14);
        var labs = new ArrayList<Lab>();
        for (var lab : book.labs(numbers)) {
            var entry = Curriculum.read(book).of(lab);
            labs.add(new Lab(lab.number(), lab.slug(), entry.title(), lab.fileName(), IntStream
                    .rangeClosed(1, entry.steps().size()).mapToObj(number -> step(number,
                            entry.steps().get(number - 1).title(), entry.steps().get(number - 1).further(), 4,
                            List.of("the first check of " + number, "the second", "the third", "the fourth one")))
                    .toList()));
        }
        return new ClassResult("fedcba98", Instant.parse("2026-11-28T10:20:30Z"), labs, IntStream
                .rangeClosed(1, students).mapToObj(each -> new Student("student-%02d with a name".formatted(each),
                        "student-%02d".formatted(each),
                        each == 7 ? List.of("2 files that nobody asked for") : List.of(),
                        labs.stream().map(lab -> any(lab, random)).toList())).toList());
    }

    /** The same student, each of whose failures says this. */
    public static Student withWords(Student student, String words) {
        return new Student(student.name(), student.path(), student.notes(), student.labs().stream().map(lab ->
                new LabResult(lab.lab(), State.GRADED, lab.file(), lab.digest(), "", lab.source(), lab.millis(),
                        lab.steps().stream().map(step -> withWords(step, words)).toList())).toList());
    }

    private static StepResult withWords(StepResult step, String words) {
        return new StepResult(step.number(), step.checks().stream()
                .map(check -> new CheckResult(check.id(), Outcome.FAIL, words, "", 0, words, 0)).toList());
    }

    private static LabResult any(Lab lab, Random random) {
        int kind = random.nextInt(20);
        var state = kind == 0 ? State.MISSING : kind == 1 ? State.NOT_COMPILED : kind == 2 ? State.UNGRADED
                : State.GRADED;
        int reached = random.nextInt(lab.steps().size() + 3);
        var steps = lab.steps().stream().map(step -> new StepResult(step.number(), step.checks().stream()
                .map(check -> result(check, state != State.GRADED ? 'N' : any(step.number() - reached, random),
                        "3 lines\nlikely: accept() and read() share one thread")).toList())).toList();
        var message = state == State.NOT_COMPILED ? lab.fileName() + ":12: ';' expected"
                : state == State.UNGRADED ? "the grader has run out of memory" : "";
        return new LabResult(lab.number(), state, lab.fileName(), "d", message, SOURCE, 2000, steps);
    }

    /** Well done up to where the student came, half done just after, and not begun further on. */
    private static char any(int stepsBeyond, Random random) {
        return stepsBeyond <= 0 ? random.nextInt(9) == 0 ? 'F' : 'P'
                : stepsBeyond > 2 ? 'T' : random.nextInt(3) == 0 ? 'P' : 'F';
    }
}
