package grader;

import module java.base;

/**
 * What one check found: the result that the terminal, the reports and {@code verify} all read.
 *
 * @param findings compile errors; where there are any, no step was checked
 * @param steps    all steps of the lab, in order
 * @param trouble  why the run ended before its time, or empty
 * @param millis   from the order to the verdict
 */
public record Verdict(LabTests lab, Source source, List<Javac.Finding> findings, List<StepResult> steps, Optional<String> trouble, long millis) {
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

    /** A test that must report: known before the learner's code runs. */
    public record Expected(String id, int step, String title) {}

    /**
     * One test's end.
     *
     * @param place  where in the learner's file, or empty
     * @param output what the learner's program printed, at most 64 KiB
     */
    public record TestResult(Expected test, Status status, String message, String place, String output, long millis) {
        static TestResult notRun(Expected test) {
            return new TestResult(test, Status.NOT_RUN, "", "", "", 0);
        }
    }

    public record StepResult(LabTests.Step step, List<TestResult> tests, Status status) {
        static StepResult of(LabTests.Step step, List<TestResult> tests) {
            return new StepResult(step, tests, worst(tests));
        }

        private static Status worst(List<TestResult> tests) {
            for (var status : List.of(Status.FAIL, Status.TODO, Status.NOT_RUN)) {
                if (tests.stream().anyMatch(test -> test.status() == status)) {
                    return status;
                }
            }
            return tests.stream().allMatch(test -> test.status() == Status.SKIPPED) ? Status.SKIPPED : Status.PASS;
        }

        /** A step passes when nothing failed in it; a skipped test says why, and is no failure on a learner's machine. */
        public boolean passed() {
            return status == Status.PASS || status == Status.SKIPPED;
        }

        long points() {
            return tests.stream().filter(test -> test.status() == Status.PASS).count();
        }
    }

    public boolean passed() {
        return findings.isEmpty() && trouble.isEmpty() && stepsPassed() == lab.steps().size();
    }

    public long stepsPassed() {
        return steps.stream().filter(StepResult::passed).count();
    }

    long points() {
        return steps.stream().mapToLong(StepResult::points).sum();
    }

    /** The step to work on: the first that is not passed. */
    public Optional<StepResult> next() {
        return steps.stream().filter(step -> !step.passed()).findFirst();
    }
}
