package grader.report;

import module java.base;

import grader.grade.ClassResult;
import grader.report.Marks.StudentMark;
import grader.workbook.CannotCheck;
import picocli.CommandLine.Option;

/** The result in the formats of other systems, as options of {@code jbang grade}. */
public final class Formats {
    private static final String SUMMARY = "GITHUB_STEP_SUMMARY";
    private static final List<String> OF_CLASSROOM_50 = List.of("CLASSROOM", "ASSIGNMENT", "SUBMISSION_TAG",
            "COMMIT_URL", "RELEASE_URL");

    @Option(names = "--github",
            description = "In GitHub Actions: write a job summary and annotations.")
    boolean github;

    @Option(names = "--gradescope", paramLabel = "FILE",
            description = "Write the result of one submission as Gradescope's results.json.")
    Path gradescope;

    @Option(names = "--classroom50", paramLabel = "FILE",
            description = "Write the result of one submission as Classroom 50's result.json.")
    Path classroom50;

    private final Map<String, String> environment;
    private final String pause = HexFormat.of().formatHex(randomBytes());

    public Formats() {
        this(System.getenv());
    }

    /** @param environment what the CI system has set */
    public Formats(Map<String, String> environment) {
        this.environment = environment;
    }

    private static byte[] randomBytes() {
        var bytes = new byte[16];
        new SecureRandom().nextBytes(bytes);
        return bytes;
    }

    /** Whether the folder to grade is one submission, whatever it holds. */
    public boolean areOfOneSubmission() {
        return gradescope != null || classroom50 != null;
    }

    /**
     * To be called before anything of a submission is printed: says what is missing in the environment, and makes
     * GitHub take nothing that is printed for a command.
     */
    public void begin(PrintStream out) {
        if (github) {
            need(List.of(SUMMARY), "--github is for a job of GitHub Actions");
            out.println("::stop-commands::" + pause);
        }
        if (classroom50 != null) {
            need(OF_CLASSROOM_50, "--classroom50 is for an autograder of Classroom 50");
        }
    }

    private void need(List<String> variables, String purpose) {
        var missing = variables.stream().filter(name -> !environment.containsKey(name)).toList();
        if (!missing.isEmpty()) {
            throw new CannotCheck(purpose + ": not set in the environment: " + String.join(", ", missing));
        }
    }

    /** To be called when all is printed. */
    public void write(ClassResult result, PrintStream out) throws IOException {
        var marks = Marks.of(result);
        if (github) {
            Files.write(Path.of(environment.get(SUMMARY)), GitHubReport.summary(marks).getBytes(StandardCharsets.UTF_8),
                    StandardOpenOption.CREATE, StandardOpenOption.APPEND);
            out.println("::" + pause + "::");
            if (marks.students().size() == 1) {
                GitHubReport.annotations(marks.students().getFirst()).forEach(out::println);
            }
        }
        if (gradescope != null) {
            Reports.write(gradescope, GradescopeReport.of(only(marks, "--gradescope")));
        }
        if (classroom50 != null) {
            Reports.write(classroom50, Classroom50Report.of(only(marks, "--classroom50"), environment,
                    result.began()));
        }
    }

    /** Where something could not be graded, no file is written: those systems then say so, and give no mark. */
    private static StudentMark only(Marks marks, String option) {
        if (marks.students().size() != 1) {
            throw new CannotCheck("%s takes the result of one submission, and here are %d".formatted(option,
                    marks.students().size()));
        }
        var student = marks.students().getFirst();
        student.ungraded().ifPresent(why -> {
            throw new CannotCheck(why);
        });
        return student;
    }
}
