package grader.grade;

import module java.base;

/**
 * What grading a class found: the one result that {@code class.json} keeps, that {@code merge} joins, and that every
 * report is written from. All texts are printable: control characters are shown, not sent.
 *
 * @param tests    digest of all that the verdicts rest on: results of other tests are not merged
 * @param labs     the labs that were asked for, in order
 * @param students in the order of their names
 */
public record ClassResult(String tests, Instant began, List<Lab> labs, List<Student> students) {
    /** A lab as it is marked. */
    public record Lab(String number, String slug, String title, String fileName, List<Step> steps) {
        public double points() {
            return steps.stream().mapToDouble(Step::points).sum();
        }
    }

    /**
     * A step as it is marked.
     *
     * @param points what all its checks together are worth: as many as it has checks, where no weight is given
     * @param checks their titles, in order, with those of private tests at the end
     */
    public record Step(int number, String title, boolean further, double points, List<Check> checks) {}

    /** @param isPrivate of a teacher's own tests: no report for students shows more of it than its title */
    public record Check(String id, String title, boolean isPrivate) {}

    /**
     * One submission.
     *
     * @param name  what the reports show: the folder's name, with a number where two have the same
     * @param path  where it lay, below the folder of submissions
     * @param notes what the teacher should know of it, for example that it holds files nobody asked for
     */
    public record Student(String name, String path, List<String> notes, List<LabResult> labs) {}

    /** How a lab of a submission stands. */
    public enum State {
        /** Its steps were checked. */
        GRADED,
        /** The file does not compile, or is not one that a compiler is given: no points, and the message says why. */
        NOT_COMPILED,
        /** There is no such file in the submission. */
        MISSING,
        /** The machine, not the student, is the cause: neither a pass nor 0 points, and to be graded again. */
        UNGRADED
    }

    /**
     * One lab of one submission.
     *
     * @param file    where it lay, below the student's folder; or empty
     * @param digest  of the file and of the tests: the same digest needs no second check
     * @param message why it was not graded, or why the run ended before its time; or empty
     * @param source  the submitted file, for the lines that a message points to; or empty
     */
    public record LabResult(String lab, State state, String file, String digest, String message, String source,
                            long millis, List<StepResult> steps) {}

    public record StepResult(int number, List<CheckResult> checks) {}

    /** How one check of a submission ended. */
    public enum Outcome { PASS, FAIL, TODO, SKIPPED, NOT_RUN }

    /**
     * @param line   in the submitted file, counted from 1; 0 where none is known
     * @param output what the program printed meanwhile, cut to 64 KiB
     */
    public record CheckResult(String id, Outcome outcome, String message, String place, int line, String output,
                              long millis) {}
}
