package verify.lab;

import module java.base;

import grader.check.CheckListener;
import grader.check.CheckOptions;
import grader.check.Checker;
import grader.check.Submission;
import grader.check.Verdict;
import grader.check.Verdict.Status;
import grader.workbook.Lab;
import verify.Selection;

/**
 * One checker a worker thread, whose compiler and runner stay warm from check to check: what is checked here are the
 * workbook's own programs, and a runner in which one of them hung is not used again.
 */
final class WarmChecker {
    private static final ThreadLocal<Checker> OWN =
            ThreadLocal.withInitial(() -> new Checker(Selection.book(), Checker.Reuse.WHILE_WELL));

    private static final Duration PATIENT = Duration.ofSeconds(10);
    private static final Duration IMPATIENT = Duration.ofSeconds(1);
    private static final Duration HANGS = Duration.ofSeconds(20);
    private static final Duration WALL_CLOCK = Duration.ofMinutes(5);

    private WarmChecker() {}

    static Checker own() {
        return OWN.get();
    }

    static Verdict check(Lab lab, String text, CheckOptions options) throws IOException {
        return own().check(Submission.of(lab, text), options, new CheckListener() {});
    }

    /** Waits of tests up to {@code done} are patient; those of later steps are expected to fail, and do it soon. */
    static CheckOptions expectingFailureAfter(int done) {
        return new CheckOptions(1, Integer.MAX_VALUE, true, step -> step > done,
                step -> step <= done ? PATIENT : IMPATIENT, HANGS, WALL_CLOCK, false);
    }

    /** All that went wrong. */
    static String story(Verdict verdict) {
        var findings = verdict.findings().stream().map(finding -> finding.line() + ": " + finding.message());
        var failures = verdict.steps().stream().flatMap(step -> step.tests().stream())
                .filter(test -> test.status() == Status.FAIL)
                .map(test -> "step " + test.test().step() + ", " + test.test().title() + ": "
                        + test.message() + " " + test.place());
        return Stream.of(findings, failures, verdict.trouble().stream()).flatMap(all -> all)
                .collect(Collectors.joining("\n"));
    }
}
