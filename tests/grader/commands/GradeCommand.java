package grader.commands;

import module java.base;

import grader.box.Box;
import grader.box.Bubblewrap;
import grader.grade.ClassResult;
import grader.grade.ClassResult.State;
import grader.grade.Grading;
import grader.grade.HandedIn;
import grader.grade.Submissions;
import grader.grade.Weights;
import grader.handout.GradescopeZip;
import grader.report.ClassTable;
import grader.report.Formats;
import grader.report.Reports;
import grader.show.GradeProgress;
import grader.workbook.CannotCheck;
import grader.workbook.Lab;
import grader.workbook.Workbook;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code jbang grade}. */
@Command(name = "grade", sortOptions = false, description = {
    "Grades the labs of one student or of a class, and writes reports.",
    "A student is a folder or a zip, with labs as the workbook has them, or loose lab files."},
        footer = {"", "${ROOT-COMMAND-NAME} grade submissions",
            "    grades each folder and each zip in submissions; type it again to go on after Ctrl-C",
            "${ROOT-COMMAND-NAME} grade submissions/ann --labs 401-405",
            "    grades one student",
            "${ROOT-COMMAND-NAME} grade submissions --shard 2/3 --out shard-2",
            "    grades the second of three parts; grade merge shard-1 shard-2 shard-3 joins them",
            "", "Exit status: 0 all steps passed, 1 some step not passed, 2 something could not be graded."},
        subcommands = MergeCommand.class)
public final class GradeCommand extends WorkbookCommand {
    private static final int NOT_PASSED = 1;
    private static final int NOT_GRADED = 2;
    private static final String NO_BOX = """
            --box=off grades without one: then each program may do what you may, for example delete your files.
            From Ubuntu 23.10 on, bwrap needs leave: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0""";

    @Parameters(arity = "0..*", paramLabel = "PATH",
            description = "A folder of students, or a student: a folder or a zip.")
    List<Path> paths = List.of();

    @Option(names = "--labs", paramLabel = "LABS", split = ",",
            description = "The labs to grade, for example 401-405,410. Default: those that anybody has handed in.")
    List<String> labs = List.of();

    @Option(names = "--steps", paramLabel = "core|all", description = "Which steps to mark. Default: all.")
    Steps steps = Steps.all;

    @Option(names = "--weights", paramLabel = "FILE", description = {
        "What steps are worth: lines «401.2 = 5» for a step, «401 = 20» for a lab, whose other steps share "
            + "what is left.", "Default: a point for each check. The checks of a step share its points."})
    Path weights;

    @Option(names = "--tests", paramLabel = "DIR", description = {
        "Your own tests, too: DIR/401-tcp-server/TcpServerPrivateTest.java, made like the workbook's, "
            + "counts for the steps that its @Step annotations name."})
    Path tests;

    @Option(names = "--shard", paramLabel = "I/N", description = "Grade only part I of N of the students.")
    Shard shard = new Shard(1, 1);

    @Option(names = "--out", paramLabel = "DIR", description = "Where the reports go. Default: ${DEFAULT-VALUE}.")
    Path out = Path.of("reports");

    enum Boxed { auto, on, off }

    enum Steps { core, all }

    /** Every n-th student, from the number-th on. */
    public record Shard(int number, int of) {
        public static Shard parse(String text) {
            if (!text.matches("[1-9]\\d{0,5}/[1-9]\\d{0,5}") || parts(text)[0] > parts(text)[1]) {
                throw new CommandLine.TypeConversionException("not a part such as 2/3: " + text);
            }
            return new Shard(parts(text)[0], parts(text)[1]);
        }

        private static int[] parts(String text) {
            return Stream.of(text.split("/")).mapToInt(Integer::parseInt).toArray();
        }

        List<HandedIn> of(List<HandedIn> students) {
            return IntStream.range(0, students.size()).filter(index -> index % of == number - 1)
                    .mapToObj(students::get).toList();
        }
    }

    @Option(names = "--box", paramLabel = "auto|on|off", description = {
        "Whether each program runs apart from everything else, in a box (Linux, with bwrap). Default: on, and auto for "
            + "one student.", "auto: where there can be none, a warning says so, and why."})
    Boxed box;

    @Option(names = "--timeout", paramLabel = "SECONDS",
            description = "How long one lab of one student may take. Default: ${DEFAULT-VALUE}.")
    int timeout = 60;

    @Option(names = "--jobs", paramLabel = "N", description = "How many to grade at a time. Default: one a core.")
    int jobs = Runtime.getRuntime().availableProcessors();

    @Mixin
    Formats formats;

    @Option(names = "--gradescope-zip", paramLabel = "FILE", description = {
        "Grade nothing: write an autograder for Gradescope, which grades with these options.",
        "With --labs, --steps, --weights, --tests, --timeout."})
    Path gradescopeZip;

    @Override
    int run() throws Exception {
        if (gradescopeZip != null) {
            return writeAutograder();
        }
        if (paths.isEmpty()) {
            throw new CannotCheck("name a folder of submissions: " + Workbook.jbang() + " grade --help says more");
        }
        formats.begin(System.out);
        var students = formats.areOfOneSubmission() ? Submissions.one(book, paths) : Submissions.find(book, paths);
        var progress = new GradeProgress(System.err);
        var grading = new Grading(book, options(box(students.size() == 1)), progress);
        Runtime.getRuntime().addShutdownHook(Thread.ofPlatform().unstarted(() -> {
            progress.clear();
            System.err.println("interrupted: the same command goes on from here");
        }));
        var result = grading.grade(shard.of(students), labs(students));
        grading.abandoned().ifPresent(why -> System.err.println("grading ended before its time: " + why + "\n"
                + "Put the workbook's files back (git status names them), and grade in a box: --box=on"));
        int status = write(result, out);
        formats.write(result, System.out);
        return status;
    }

    private int writeAutograder() throws IOException {
        var chosen = book.labs(labs);
        var options = new ArrayList<>(List.of("--timeout", Integer.toString(timeout)));
        if (steps == Steps.core) {
            options.addAll(List.of("--steps", "core"));
        }
        checkTests();
        GradescopeZip.write(book, chosen, options, Optional.ofNullable(tests), Optional.ofNullable(weights),
                gradescopeZip);
        IO.println(gradescopeZip + " is written: upload it as the autograder of a programming assignment");
        return DONE;
    }

    static int write(ClassResult result, Path out) throws IOException {
        Reports.write(result, out);
        ClassTable.print(result, System.out);
        return status(result);
    }

    private Box box(boolean isOneStudent) throws IOException {
        var asked = box != null ? box : isOneStudent ? Boxed.auto : Boxed.on;
        if (asked == Boxed.off) {
            return Box.DETACHED;
        }
        try {
            return Bubblewrap.tried();
        } catch (CannotCheck why) {
            if (asked == Boxed.on) {
                throw new CannotCheck("there can be no box here: " + why.getMessage() + "\n" + NO_BOX);
            }
            System.err.println("warning: without a box, each program may do what you may: " + why.getMessage());
            return Box.DETACHED;
        }
    }

    private Grading.Options options(Box box) throws IOException {
        checkTests();
        return new Grading.Options(box, steps == Steps.core, weights == null ? Weights.NONE : Weights.read(weights),
                Optional.ofNullable(tests), Duration.ofSeconds(Math.max(1, timeout)), Math.max(1, jobs),
                out);
    }

    private void checkTests() {
        if (tests != null && !Files.isDirectory(tests)) {
            throw new CannotCheck("there is no folder " + tests);
        }
    }

    private List<Lab> labs(List<HandedIn> students) throws IOException {
        if (!labs.isEmpty()) {
            return book.labs(labs);
        }
        var found = book.labs().stream()
                .filter(lab -> students.stream().anyMatch(student -> student.files().containsKey(lab))).toList();
        if (found.isEmpty()) {
            throw new CannotCheck("no lab's file was found in " + paths.getFirst()
                    + ": its name must be the lab's own, for example " + book.labs().getFirst().fileName());
        }
        return found;
    }

    private static int status(ClassResult result) {
        var labs = result.students().stream().flatMap(student -> student.labs().stream()).toList();
        if (labs.stream().anyMatch(lab -> lab.state() == State.UNGRADED)) {
            return NOT_GRADED;
        }
        boolean allPassed = result.students().stream().map(result::mark)
                .allMatch(mark -> mark.filter(each -> each.points() == each.of()).isPresent());
        return allPassed ? DONE : NOT_PASSED;
    }
}
