package grader.check;

import module java.base;

import grader.box.Box;
import grader.check.Verdict.Expected;
import grader.check.Verdict.Status;
import grader.check.Verdict.StepResult;
import grader.check.Verdict.TestResult;
import grader.compile.Javac;
import grader.compile.Libraries;
import grader.runner.CompilerProcess;
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
    private final Box box;
    private final Optional<Path> privateTests;
    private final ContentCache cache;
    private final Libraries libraries;
    private Optional<Javac> javac = Optional.empty();
    private Optional<CompilerProcess> compilerApart = Optional.empty();
    private Optional<RunnerProcess> ahead = Optional.empty();

    public Checker(Workbook book) {
        this(book, Reuse.NEVER);
    }

    public Checker(Workbook book, Reuse reuse) {
        this(book, reuse, Box.NONE, Optional.empty());
    }

    /**
     * For other people's files: each is compiled in another process, too.
     *
     * @param privateTests a folder of a teacher's own tests, in folders that are named as those of the workbook
     */
    public Checker(Workbook book, Box box, Optional<Path> privateTests) {
        this(book, Reuse.NEVER, box, privateTests);
        compilerApart = Optional.of(new CompilerProcess());
    }

    private Checker(Workbook book, Reuse reuse, Box box, Optional<Path> privateTests) {
        this.book = book;
        this.reuse = reuse;
        this.box = box;
        this.privateTests = privateTests;
        cache = new ContentCache(book.cache());
        libraries = new Libraries(book, cache);
    }

    public TestPlan plan(Lab lab) throws IOException {
        return TestPlan.prepare(lab, privateTests, cache, libraries, javac());
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
        } else if ((!options.goOn() || options.forMarks())
                && submission.text().equals(submission.lab().skeleton())) {
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
        prepare(plan, classes);   // it starts while the compiler works
        var runner = ahead.orElseThrow();
        ahead = Optional.empty();
        boolean well = false;
        try {
            var findings = compile(check.submission, plan, classes);
            if (findings.isEmpty()) {
                var trusted = plan.trustedFiles();
                runner.load(plan.libraries(), plan.classesWith(classes));
                check.run(runner);
                while (check.wantsAnotherRunner()) {
                    runner.close();
                    runner = start(plan, classes);
                    runner.load(plan.libraries(), plan.classesWith(classes));
                    check.run(runner);
                }
                well = reuse == Reuse.WHILE_WELL && check.endedWell();
                insistOn(trusted);
            } else {
                well = box == Box.NONE;   // no order has reached it; a box is made for one program
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
        var plan = plan(lab);
        prepare(plan, plan.pristine());
    }

    private void prepare(TestPlan plan, Path classes) throws IOException {
        if (ahead.filter(runner -> runner.isAlive() && runner.jvmOptions().equals(plan.jvmOptions())).isEmpty()) {
            ahead.ifPresent(RunnerProcess::close);
            ahead = Optional.of(start(plan, classes));
        } else {
            rehearse(plan, ahead.get());
        }
    }

    /** @param classes where the learner's classes will be */
    private RunnerProcess start(TestPlan plan, Path classes) throws IOException {
        var readable = new ArrayList<>(plan.libraries());
        readable.addAll(List.of(plan.folder(), classes));
        var runner = RunnerProcess.start(plan.jvmOptions(), box, readable, plan.readsPackets());
        rehearse(plan, runner);
        return runner;
    }

    private static void rehearse(TestPlan plan, RunnerProcess runner) throws IOException {
        runner.rehearse(plan.libraries(), plan.classesWith(plan.pristine()), plan.lab().testClass(),
                plan.conditional());
    }

    private List<Javac.Finding> compile(Submission submission, TestPlan plan, Path classes) throws IOException {
        var source = submission.compilable();
        var findings = compilerApart.isPresent() ? compilerApart.get().compile(source, plan.libraries(), classes)
                : javac().compile(List.of(source), plan.libraries(), classes);
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
        compilerApart.ifPresent(CompilerProcess::close);
        if (javac.isPresent()) {
            javac.get().close();
        }
    }

    /**
     * One conversation with a runner: a step is ordered when the one before it has ended. Where marks are given and the
     * program ends its runner, or hangs in it, the conversation goes on with another one.
     */
    private static final class Check {
        /** Long enough for a step that is done although its TODO line is still there. */
        private static final Duration PATIENCE_WITH_TODO = Duration.ofSeconds(2);

        private static final int FEW = 2;
        private static final Duration SHORT = Duration.ofSeconds(5);

        private final TestPlan plan;
        private final Submission submission;
        private final CheckOptions options;
        private final CheckListener listener;
        private final Set<Integer> toDo;
        private final List<StepResult> steps = new ArrayList<>();
        private final Map<String, TestResult> open = new LinkedHashMap<>();   // of the step that is not ended yet
        private Optional<String> trouble = Optional.empty();
        private Set<String> disabled = Set.of();
        private Optional<Instant> deadline = Optional.empty();
        private boolean testHasBegun;   // in the present runner
        private boolean renew;          // the tests that are left need another runner
        private boolean neverBegins;    // whatever the test, the program ends the runner before it
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
            renew = false;
            testHasBegun = false;
            disabled = runner.disabled();
            deadline = deadline.or(() -> Optional.of(Instant.now().plus(options.wallClock())));
            runner.limit(Duration.between(Instant.now(), deadline.get()),
                    "it was still running after " + options.wallClock().toSeconds() + " s");
            while (steps.size() < plan.steps().size() && !renew) {
                run(plan.steps().get(steps.size()), runner);
            }
            if (endedWell() && !renew) {
                runner.order("finish");
                if (!runner.next().equals(List.of("done"))) {
                    trouble = Optional.of(runner.whyEnded());
                }
            }
            runner.noLimit();
        }

        private void run(TestPlan.Step step, RunnerProcess runner) throws IOException {
            boolean isToDo = toDo.contains(step.number());
            if (stopped || !options.asksFor(step.number())) {
                end(step, all(step, isToDo ? Status.TODO : Status.NOT_RUN));
            } else if (isToDo && !options.goOn()) {
                end(step, all(step, Status.TODO));
                stopped = true;
            } else {
                runTests(step, runner);
                if (deservesAnotherGo(step.number())) {
                    open.replaceAll((id, result) -> isFailed(result) ? TestResult.notRun(result.test()) : result);
                    runTests(step, runner);
                }
                if (!renew) {
                    end(step, ended(step));
                    stopped |= !options.goOn() && !steps.getLast().passed();
                }
            }
        }

        /**
         * A class is graded on a busy machine, where a right program may fail a check once: for marks, few failed
         * checks of a step run again, if that does not take the time that the other steps need.
         */
        private boolean deservesAnotherGo(int step) {
            var failed = open.values().stream().filter(Check::isFailed).toList();
            long millis = failed.stream().mapToLong(TestResult::millis).sum();
            return options.forMarks() && !toDo.contains(step) && endedWell()
                    && !failed.isEmpty() && failed.size() <= FEW && millis <= SHORT.toMillis();
        }

        private static boolean isFailed(TestResult result) {
            return result.status() == Status.FAIL;
        }

        /** Whether another runner has to run what is left. */
        private boolean wantsAnotherRunner() {
            return renew;
        }

        private boolean endedWell() {
            return trouble.isEmpty() && !hung;
        }

        /** A step that may still be to do passes as a whole, or is. */
        private List<TestResult> ended(TestPlan.Step step) {
            var results = List.copyOf(open.values());
            open.clear();
            boolean isToDo = options.forMarks() && toDo.contains(step.number());
            return isToDo && !StepResult.of(step, results).passed() ? all(step, Status.TODO) : results;
        }

        private void end(TestPlan.Step step, List<TestResult> results) {
            steps.add(StepResult.of(step, results));
            listener.stepEnded(steps.getLast());
        }

        private List<TestResult> all(TestPlan.Step step, Status status) {
            return plan.of(step).stream().map(test -> new TestResult(test, status, "", "", "", 0)).toList();
        }

        /** All tests of the step, or those that a runner before this one has left over. */
        private void runTests(TestPlan.Step step, RunnerProcess runner) throws IOException {
            if (open.isEmpty()) {
                listener.stepBegan(step);
                plan.of(step).forEach(test -> open.put(test.id(), TestResult.notRun(test)));
            }
            boolean mayBeToDo = options.forMarks() && toDo.contains(step.number());
            var patience = mayBeToDo ? PATIENCE_WITH_TODO : options.patience().apply(step.number());
            boolean untilFirstFailed = mayBeToDo || options.untilFirstFailed().test(step.number());
            for (var testClass : plan.testClasses()) {
                var ids = open.values().stream().filter(result -> result.status() == Status.NOT_RUN)
                        .map(result -> result.test().id()).filter(id -> TestPlan.isOf(testClass, id)).toList();
                boolean isEnough = stopped || renew || untilFirstFailed && hasFailed();
                if (!ids.isEmpty() && !isEnough && !neverBegins) {
                    var order = new ArrayList<>(List.of("step", testClass, plan.lab().fileName(),
                            Long.toString(patience.toMillis()), Long.toString(options.testTimeout().toSeconds()),
                            Boolean.toString(untilFirstFailed)));
                    order.addAll(ids);
                    runner.order(order.toArray(String[]::new));
                    listen(runner);
                }
            }
            if (neverBegins) {
                failRest(trouble.orElseThrow(), "");
            }
        }

        private void failRest(String message, String place) {
            open.replaceAll((id, result) -> result.status() != Status.NOT_RUN ? result
                    : new TestResult(result.test(), Status.FAIL, message, place, "", 0));
        }

        private boolean hasFailed() {
            return open.values().stream().anyMatch(Check::isFailed);
        }

        /**
         * Takes the runner's records until the step is done. A test that began and did not end is where the program
         * died.
         */
        private void listen(RunnerProcess runner) throws IOException {
            var running = Optional.<Expected>empty();
            while (!stopped && !renew && !neverBegins) {
                var record = runner.next();
                switch (record.isEmpty() ? "ended" : record.getFirst()) {
                    case "start" -> {
                        testHasBegun = true;
                        running = Optional.ofNullable(open.get(record.get(1))).map(TestResult::test);
                        running.ifPresent(listener::testBegan);
                    }
                    case "end" -> {
                        running = Optional.empty();
                        open.computeIfPresent(record.get(1), (id, before) -> ended(before.test(), record));
                    }
                    case "container" -> failRest(record.get(1), record.get(2));
                    case "step-done" -> {
                        return;
                    }
                    default -> {   // "crash", or no more records
                        trouble = Optional.of(record.isEmpty() ? runner.whyEnded() : record.get(1));
                        died(running);
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
            renew |= options.forMarks() && word.equals("HUNG");
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

        /**
         * For marks the tests that are left get another runner, unless time is up, or the program has ended this one
         * before any test began, as it would end the next.
         */
        private void died(Optional<Expected> running) {
            boolean isTimeUp = !Instant.now().isBefore(deadline.orElseThrow());
            stopped = !options.forMarks() || isTimeUp;
            renew = !stopped && testHasBegun;
            neverBegins = !stopped && !testHasBegun;
            running.or(() -> stopped ? firstNotRun() : Optional.empty()).ifPresent(test -> {
                open.put(test.id(), new TestResult(test, Status.FAIL, trouble.orElseThrow(), "", "", 0));
                listener.testEnded(open.get(test.id()));
            });
        }

        private Optional<Expected> firstNotRun() {
            return open.values().stream().filter(result -> result.status() == Status.NOT_RUN)
                    .map(TestResult::test).findFirst();
        }

        private Verdict verdict(List<Javac.Finding> findings, long millis) {
            if (!findings.isEmpty()) {
                plan.steps().forEach(step -> steps.add(StepResult.of(step, all(step, Status.NOT_RUN))));
            }
            return new Verdict(plan, submission, findings, List.copyOf(steps), trouble, millis);
        }
    }
}
