package grader.commands;

import module java.base;

import grader.check.CheckListener;
import grader.check.CheckOptions;
import grader.check.Checker;
import grader.check.Submission;
import grader.report.ExercismReport;
import grader.show.StepTree;
import grader.workbook.Progress;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code jbang test-401}. */
@Command(name = "test", sortOptions = false, description = {
    "Checks a lab step by step and stops at the first step that is not passed.",
    "A step whose TODO line is still in the file is «to do»: delete the line when the step is written."},
        footer = {"", "${ROOT-COMMAND-NAME} test-401",
            "    checks your lab 401, as test 401 does",
            "${ROOT-COMMAND-NAME} test-401 solutions/401-tcp-server",
            "    checks any other file or folder, for example a submission",
            "", "Exit status: 0 all steps passed, 1 some step not passed, 2 could not check."})
public final class TestCommand extends WorkbookCommand {
    private static final int PASSED = 0;
    private static final int NOT_PASSED = 1;

    @Parameters(index = "0", paramLabel = "LAB", description = "Number or name of the lab.")
    String lab;

    @Parameters(index = "1", arity = "0..1", paramLabel = "PATH",
            description = "The file to check, or a folder that holds it. Default: your lab.")
    Path path;

    @Option(names = "--all",
            description = "Go on after a step that is not passed, and run the steps that are still to do.")
    boolean all;

    @Option(names = "--times", description = "Say how long the tests took, step by step.")
    boolean times;

    @Option(names = "--json",
            description = "Print the result as JSON in the shape of Exercism's test runner, version 3.")
    boolean json;

    @Option(names = "--timeout", paramLabel = "SECONDS",
            description = "How long one test may last. Default: 30, with --all 60.")
    Integer timeout;

    /** {@code test LAB}, without picocli. */
    public static TestCommand of(String lab, boolean times) {
        var test = new TestCommand();
        test.lab = lab;
        test.times = times;
        return test;
    }

    @Override
    int run() throws Exception {
        var found = book.lab(lab);
        var submission = path == null ? Submission.own(found) : Submission.at(found, path);
        try (var checker = new Checker(book)) {
            var listener = json ? new CheckListener() {} : new StepTree(System.out, times);
            var verdict = checker.check(submission, options(), listener);
            if (json) {
                IO.println(ExercismReport.of(verdict));
            }
            System.out.flush();
            // Somebody else's file is none of the learner's progress.
            if (submission.isOwn() && verdict.isAboutSteps()) {
                new Progress(book).save(found, verdict.passedSteps());
            }
            checker.sweep();
            return verdict.passed() ? PASSED : NOT_PASSED;
        }
    }

    private CheckOptions options() {
        var options = all ? CheckOptions.ALL : CheckOptions.LEARNER;
        return timeout == null ? options : options.withTestTimeout(Duration.ofSeconds(timeout));
    }
}
