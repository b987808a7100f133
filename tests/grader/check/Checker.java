package grader.check;

import module java.base;

import grader.check.Verdict.Expected;
import grader.check.Verdict.Status;
import grader.check.Verdict.StepResult;
import grader.check.Verdict.TestResult;
import grader.compile.Javac;
import grader.compile.Libraries;
import grader.runner.RunnerProcess;
import grader.speed.ContentCache;
import grader.workbook.CannotCheck;
import grader.workbook.Folders;
import grader.workbook.Lab;
import grader.workbook.Workbook;

/**
 * Checks labs: compile, run, report. The one way to check anything. What can be kept between checks is kept: the
 * compiler, the compiled tests, and a runner JVM. Not thread-safe: a checker a thread.
 */
public final class Checker implements AutoCloseable {
    /** What becomes of a runner after a check. */
    public enum Reuse {
        /** Each check has a JVM of its own: whatever a program leaves behind is gone. */
        NEVER,
        /** A JVM runs check after check, as long as none of them hangs or dies. For programs of the workbook's own. */
        WHILE_WELL
    }

    private final Workbook book;
    private final Reuse reuse;
    private final ContentCache cache;
    private final Libraries libraries;
    private Optional<Javac> javac = Optional.empty();
    private Optional<RunnerProcess> ahead = Optional.empty();

    public Checker(Workbook book) {
        this(book, Reuse.NEVER);
    }

    public Checker(Workbook book, Reuse reuse) {
        this.book = book;
        this.reuse = reuse;
        cache = new ContentCache(book.cache());
        libraries = new Libraries(book, cache);
    }

    public TestPlan plan(Lab lab) throws IOException {
        return TestPlan.prepare(lab, cache, libraries, javac());
    }

    /** The compiler that this checker keeps warm. */
    public Javac javac() {
        if (javac.isEmpty()) {
            javac = Optional.of(new Javac());
        }
        return javac.get();
    }

    public Verdict check(Submission submission, CheckOptions options, CheckListener listener) throws IOException {
        long began = System.nanoTime();
        var plan = plan(submission.lab());
        listener.began(plan, submission);
        var check = new Check(plan, submission, options, listener);
        var findings = List.<Javac.Finding>of();
        if (submission.refusal().isPresent()) {
            findings = List.of(Javac.Finding.about(submission.lab().fileName(), submission.refusal().get()));
        } else if (!options.goOn() && submission.text().equals(submission.lab().skeleton())) {
            check.nothingWritten();
        } else {
            findings = compileAndRun(check);
        }
        var verdict = check.verdict(findings, (System.nanoTime() - began) / 1_000_000);
        listener.ended(verdict);
        return verdict;
    }

    private List<Javac.Finding> compileAndRun(Check check) throws IOException {
        var plan = check.plan;
        var classes = cache.temporary("lab");
        prepare(plan);   // it starts while the compiler works
        var runner = ahead.orElseThrow();
        ahead = Optional.empty();
        boolean well = false;
        try {
            var findings = compile(check.submission, plan, classes);
            if (findings.isEmpty()) {
                var trusted = plan.trustedFiles();
                runner.load(plan.libraries(), plan.classesWith(classes));
                check.run(runner);
                well = reuse == Reuse.WHILE_WELL && check.endedWell();
                insistOn(trusted);
            } else {
                well = true;   // no order has reached it
            }
            return findings;
        } finally {
            if (well) {
                ahead = Optional.of(runner);
            } else {
                runner.close();
            }
            Folders.delete(classes);
        }
    }

    /** A program that has written to what judges it gets no verdict. */
    private void insistOn(TrustedFiles trusted) {
        var changed = trusted.changed();
        if (!changed.isEmpty()) {
            throw new CannotCheck("files that the verdict rests on have changed during the check, so there is none:\n"
                    + changed.stream().limit(5).map(file -> "  " + book.shown(file)).collect(Collectors.joining("\n"))
                    + "\nlikely: the program under test has written to them. Put the workbook's files back"
                    + " (git status names them),"
                    + "\nand delete " + book.shown(book.cache()) + ", which is made anew");
        }
    }

    /** Starts the next runner before it is needed. */
    public void prepare(Lab lab) throws IOException {
        prepare(plan(lab));
    }

    private void prepare(TestPlan plan) throws IOException {
        if (ahead.filter(runner -> runner.isAlive() && runner.jvmOptions().equals(plan.jvmOptions())).isEmpty()) {
            ahead.ifPresent(RunnerProcess::close);
            ahead = Optional.of(RunnerProcess.start(plan.jvmOptions()));
        }
        ahead.get().rehearse(plan.libraries(), plan.classesWith(plan.pristine()), plan.lab().testClass(),
                plan.conditional());
    }

    private List<Javac.Finding> compile(Submission submission, TestPlan plan, Path classes) throws IOException {
        var findings = javac().compile(List.of(submission.compilable()), plan.libraries(), classes);
        if (findings.isEmpty() && !onlyUnnamedPackage(classes)) {
            var firstLine = submission.text().lines().findFirst().orElse("");
            return List.of(new Javac.Finding(submission.lab().fileName(), 1, 1, firstLine,
                    "a lab's file has no package: take the package line out"));
        }
        return findings;
    }

    /** A class in a package could stand in for one of the kit's or of JUnit's. */
    private static boolean onlyUnnamedPackage(Path classes) throws IOException {
        try (var files = Files.list(classes)) {
            return files.noneMatch(Files::isDirectory);
        }
    }

    /** Removes what checks that were ended by force have left behind. */
    public void sweep() throws IOException {
        cache.sweep();
    }

    @Override
    public void close() throws IOException {
        ahead.ifPresent(RunnerProcess::close);
        if (javac.isPresent()) {
            javac.get().close();
        }
    }

    /** One conversation with a runner: a step is ordered when the one before it has ended. */
    private static final class Check {
        private final TestPlan plan;
        private final Submission submission;
        private final CheckOptions options;
        private final CheckListener listener;
        private final Set<Integer> toDo;
        private final List<StepResult> steps = new ArrayList<>();
        private Optional<String> trouble = Optional.empty();
        private Set<String> disabled = Set.of();
        private boolean stopped;
        private boolean hung;

        private Check(TestPlan plan, Submission submission, CheckOptions options, CheckListener listener) {
            this.plan = plan;
            this.submission = submission;
            this.options = options;
            this.listener = listener;
            toDo = submission.todos().stream().map(Submission.Todo::step).collect(Collectors.toSet());
        }

        /** The skeleton as it is: neither a compiler nor a runner is needed to tell that everything is to do. */
        private void nothingWritten() {
            plan.steps().forEach(step -> end(step, all(step, Status.TODO)));
        }

        private void run(RunnerProcess runner) throws IOException {
            runner.limit(options.wallClock());
            disabled = runner.disabled();
            for (var step : plan.steps()) {
                boolean isToDo = toDo.contains(step.number());
                if (stopped || !options.asksFor(step.number())) {
                    end(step, all(step, isToDo ? Status.TODO : Status.NOT_RUN));
                } else if (isToDo && !options.goOn()) {
                    end(step, all(step, Status.TODO));
                    stopped = true;
                } else {
                    listener.stepBegan(step);
                    end(step, run(step, runner));
                    stopped |= !options.goOn() && !steps.getLast().passed();
                }
            }
            if (endedWell()) {
                runner.order("finish");
                if (!runner.next().equals(List.of("done"))) {
                    trouble = Optional.of(runner.whyEnded());
                }
            }
            runner.noLimit();
        }

        private boolean endedWell() {
            return trouble.isEmpty() && !hung;
        }

        private void end(TestPlan.Step step, List<TestResult> results) {
            steps.add(StepResult.of(step, results));
            listener.stepEnded(steps.getLast());
        }

        private List<TestResult> all(TestPlan.Step step, Status status) {
            return plan.of(step).stream().map(test -> new TestResult(test, status, "", "", "", 0)).toList();
        }

        private List<TestResult> run(TestPlan.Step step, RunnerProcess runner) throws IOException {
            var lab = plan.lab();
            var expected = plan.of(step);
            var patience = options.patience().apply(step.number());
            boolean untilFirstFailed = options.untilFirstFailed().test(step.number());
            var order = new ArrayList<>(List.of("step", lab.testClass(), lab.fileName(),
                    Long.toString(patience.toMillis()), Long.toString(options.testTimeout().toSeconds()),
                    Boolean.toString(untilFirstFailed)));
            expected.forEach(test -> order.add(test.id()));
            runner.order(order.toArray(String[]::new));
            var results = new LinkedHashMap<String, TestResult>();
            expected.forEach(test -> results.put(test.id(), TestResult.notRun(test)));
            listen(runner, results);
            return List.copyOf(results.values());
        }

        /**
         * Takes the runner's records until the step is done. A test that began and did not end is where the program
         * died.
         */
        private void listen(RunnerProcess runner, Map<String, TestResult> results) throws IOException {
            var running = Optional.<Expected>empty();
            while (!stopped) {
                var record = runner.next();
                switch (record.isEmpty() ? "ended" : record.getFirst()) {
                    case "start" -> {
                        running = Optional.ofNullable(results.get(record.get(1))).map(TestResult::test);
                        running.ifPresent(listener::testBegan);
                    }
                    case "end" -> {
                        running = Optional.empty();
                        results.computeIfPresent(record.get(1), (id, before) -> ended(before.test(), record));
                    }
                    case "container" -> results.replaceAll((id, result) -> result.status() != Status.NOT_RUN ? result
                            : new TestResult(result.test(), Status.FAIL, record.get(1), record.get(2), "", 0));
                    case "step-done" -> {
                        return;
                    }
                    default -> {   // "crash", or no more records
                        trouble = Optional.of(record.isEmpty() ? runner.whyEnded() : record.get(1));
                        died(running, results);
                        stopped = true;
                    }
                }
            }
        }

        private TestResult ended(Expected test, List<String> record) {
            var word = record.get(2);
            var result = new TestResult(test, status(test, word), message(test, word, record.get(4)),
                    record.get(5), record.get(6), Long.parseLong(record.get(3)));
            listener.testEnded(result);
            hung |= word.equals("HUNG");
            stopped |= !options.goOn() && hung;   // its thread may spin on, and slow all that follow
            return result;
        }

        /** Under {@code WORKBOOK_REQUIRE=all} nothing may be missing on the machine. */
        private Status status(Expected test, String word) {
            return switch (word) {
                case "PASSED" -> Status.PASS;
                case "SKIPPED" -> isDisabled(test) && !Workbook.requiresAll() ? Status.SKIPPED : Status.FAIL;
                default -> Status.FAIL;
            };
        }

        /** By its own condition, and before any code of the learner's was loaded. */
        private boolean isDisabled(Expected test) {
            return disabled.contains(test.id());
        }

        private String message(Expected test, String word, String message) {
            return switch (word) {
                case "ABORTED" -> "the test was aborted, which only JUnit's own exception does: " + message
                        + "\nlikely: the program under test throws that exception; it is a failure like any other";
                case "SKIPPED" -> isDisabled(test) ? message : "the test did not run: " + message
                        + "\nlikely: the program under test has changed how JUnit works,"
                        + " or what this machine looks like";
                default -> message;
            };
        }

        private void died(Optional<Expected> running, Map<String, TestResult> results) {
            var test = running.or(() -> results.values().stream()
                    .filter(result -> result.status() == Status.NOT_RUN).map(TestResult::test).findFirst());
            test.ifPresent(where -> {
                results.put(where.id(), new TestResult(where, Status.FAIL, trouble.orElseThrow(), "", "", 0));
                listener.testEnded(results.get(where.id()));
            });
        }

        private Verdict verdict(List<Javac.Finding> findings, long millis) {
            if (!findings.isEmpty()) {
                plan.steps().forEach(step -> steps.add(StepResult.of(step, all(step, Status.NOT_RUN))));
            }
            return new Verdict(plan, submission, findings, List.copyOf(steps), trouble, millis);
        }
    }
}
