package grader.check;

import module java.base;

import grader.compile.Javac;
import grader.workbook.Printable;

/**
 * What one check found: the result that the terminal, the reports and {@code verify} all read.
 *
 * @param findings compile errors, or why the file was not compiled; where there are any, no step was checked
 * @param steps    all steps of the lab, in order
 * @param trouble  why the run ended before its time, or empty
 * @param millis   from the order to the verdict
 */
public record Verdict(TestPlan plan, Submission submission, List<Javac.Finding> findings, List<StepResult> steps,
                      Optional<String> trouble, long millis) {
    /** How a test or a step stands. */
    public enum Status {
        PASS,
        FAIL,
        /** The step's TODO is still in the file. */
        TODO,
        /** The machine lacks what the test needs. */
        SKIPPED,
        /** An earlier step failed, or the program ended before. */
        NOT_RUN
    }

    /**
     * A test that must report: known before the learner's code runs.
     *
     * @param mayBeSkipped it has a condition, for example that a program is installed
     * @param isPrivate    of a teacher's own tests
     */
    public record Expected(String id, int step, String title, boolean mayBeSkipped, boolean isPrivate) {}

    /**
     * One test's end.
     *
     * @param place  where in the learner's file, or empty
     * @param output what the learner's program printed, at most 64 KiB
     */
    public record TestResult(Expected test, Status status, String message, String place, String output, long millis) {
        public TestResult {
            message = Printable.of(message);
            place = Printable.of(place);
            output = Printable.of(output);
        }

        static TestResult notRun(Expected test) {
            return new TestResult(test, Status.NOT_RUN, "", "", "", 0);
        }
    }

    public record StepResult(TestPlan.Step step, List<TestResult> tests, Status status) {
        static StepResult of(TestPlan.Step step, List<TestResult> tests) {
            return new StepResult(step, tests, worst(tests));
        }

        private static Status worst(List<TestResult> tests) {
            if (tests.isEmpty()) {
                return Status.NOT_RUN;   // a step that nothing checks has not passed
            }
            for (var status : List.of(Status.FAIL, Status.TODO, Status.NOT_RUN)) {
                if (tests.stream().anyMatch(test -> test.status() == status)) {
                    return status;
                }
            }
            return tests.stream().allMatch(test -> test.status() == Status.SKIPPED) ? Status.SKIPPED : Status.PASS;
        }

        /**
         * A step passes when nothing failed in it; a skipped test says why, and is no failure on a learner's machine.
         */
        public boolean passed() {
            return status == Status.PASS || status == Status.SKIPPED;
        }

        public long points() {
            return tests.stream().filter(test -> test.status() == Status.PASS).count();
        }
    }

    public boolean passed() {
        return findings.isEmpty() && trouble.isEmpty() && stepsPassed() == plan.steps().size();
    }

    public long stepsPassed() {
        return steps.stream().filter(StepResult::passed).count();
    }

    /** Their numbers. */
    public Set<Integer> passedSteps() {
        return steps.stream().filter(StepResult::passed).map(step -> step.step().number())
                .collect(Collectors.toCollection(TreeSet::new));
    }

    public long points() {
        return steps.stream().mapToLong(StepResult::points).sum();
    }

    /** Whether any test ran: where the file did not compile, the verdict says nothing about its steps. */
    public boolean isAboutSteps() {
        return findings.isEmpty();
    }

    /** The tests' own time. */
    public long testMillis() {
        return steps.stream().flatMap(step -> step.tests().stream()).mapToLong(TestResult::millis).sum();
    }

    /** The step to work on: the first that is not passed. */
    public Optional<StepResult> next() {
        return steps.stream().filter(step -> !step.passed()).findFirst();
    }
}
