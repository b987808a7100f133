package grader;

import module java.base;

import grader.Verdict.Expected;
import grader.Verdict.Status;
import grader.Verdict.StepResult;
import grader.Verdict.TestResult;

/**
 * Checks labs: compile, run, report. The one way to check anything. What can be kept between checks is kept: the compiler, the
 * compiled tests, and a runner JVM that is started ahead. Not thread-safe: a checker a thread.
 */
public final class Checker implements AutoCloseable {
    /**
     * How to check.
     *
     * @param lastStep         the last step to look at
     * @param goOn             also run the steps after the first that is not passed, and those still to do
     * @param untilFirstFailed whether a step ends at its first failed test, by step
     * @param patience         how long a single wait of a test may last, by step
     * @param testTimeout      how long one test may last
     * @param wallClock        how long the whole run may last
     */
    public record Order(int lastStep, boolean goOn, IntPredicate untilFirstFailed, IntFunction<Duration> patience, Duration testTimeout, Duration wallClock) {
        public static final Order LEARNER = new Order(Integer.MAX_VALUE, false, step -> false, step -> Duration.ofSeconds(10), Duration.ofSeconds(30), Duration.ofMinutes(3));
        public static final Order ALL = new Order(Integer.MAX_VALUE, true, step -> false, step -> Duration.ofSeconds(10), Duration.ofSeconds(60), Duration.ofMinutes(5));

        public Order withTestTimeout(Duration timeout) {
            return new Order(lastStep, goOn, untilFirstFailed, patience, timeout, wallClock);
        }
    }

    private record Ready(LabTests tests, Path classes, Fork fork) {}

    private final Cache cache;
    private final Deps deps;
    private final Optional<Path> aot;
    private Javac javac;
    private Ready ahead;

    public Checker(Workbook book) throws IOException {
        cache = new Cache(book.cache());
        deps = new Deps(book, cache);
        aot = Aot.of(book).runner();
    }

    public LabTests tests(Workbook.Lab lab) throws IOException {
        return LabTests.prepare(lab, cache, deps, javac());
    }

    public Verdict check(Source source, Order order, CheckListener listener) throws IOException {
        long began = System.nanoTime();
        if (ahead == null || !ahead.fork().isAlive()) {
            prepare(source.lab());
        }
        var ready = ahead;
        ahead = null;
        try (var fork = ready.fork()) {
            listener.began(ready.tests(), source);
            var findings = compile(source, ready);
            var run = new Run(ready.tests(), source, order, fork, listener);
            if (findings.isEmpty()) {
                run.go();
            }
            var verdict = run.verdict(findings, (System.nanoTime() - began) / 1_000_000);
            listener.ended(verdict);
            return verdict;
        } finally {
            Folders.delete(ready.classes());
        }
    }

    /** Starts the next runner before it is needed. */
    void prepare(Workbook.Lab lab) throws IOException {
        var tests = tests(lab);
        var classes = cache.temporary("lab");
        var path = new ArrayList<>(tests.appended());
        path.add(classes);
        ahead = new Ready(tests, classes, Fork.start(tests.jvmOptions(), path, aot));
    }

    private List<Javac.Finding> compile(Source source, Ready ready) throws IOException {
        var findings = javac().compile(List.of(source.compilable()), ready.tests().libraries(), ready.classes());
        if (findings.isEmpty() && !onlyUnnamedPackage(ready.classes())) {
            return List.of(new Javac.Finding(source.lab().fileName(), 1, 1, source.text().lines().findFirst().orElse(""),
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

    private Javac javac() {
        if (javac == null) {
            javac = new Javac();
        }
        return javac;
    }

    void sweep() throws IOException {
        cache.sweep();
    }

    @Override
    public void close() throws IOException {
        if (ahead != null) {
            ahead.fork().close();
            Folders.delete(ahead.classes());
        }
        if (javac != null) {
            javac.close();
        }
    }

    /** One conversation with a runner: a step is ordered when the one before it has ended. */
    private static final class Run {
        private final LabTests tests;
        private final Source source;
        private final Order order;
        private final Fork fork;
        private final CheckListener listener;
        private final Set<Integer> toDo;
        private final List<StepResult> steps = new ArrayList<>();
        private Optional<String> trouble = Optional.empty();
        private boolean stopped;

        private Run(LabTests tests, Source source, Order order, Fork fork, CheckListener listener) {
            this.tests = tests;
            this.source = source;
            this.order = order;
            this.fork = fork;
            this.listener = listener;
            toDo = source.todos().stream().map(Source.Todo::step).collect(Collectors.toSet());
        }

        private void go() throws IOException {
            fork.limit(order.wallClock());
            for (var step : tests.steps()) {
                boolean isToDo = toDo.contains(step.number());
                if (stopped || step.number() > order.lastStep()) {
                    end(step, all(step, isToDo ? Status.TODO : Status.NOT_RUN));
                } else if (isToDo && !order.goOn()) {
                    end(step, all(step, Status.TODO));
                    stopped = true;
                } else {
                    listener.stepBegan(step);
                    end(step, run(step));
                    stopped |= !order.goOn() && !steps.getLast().passed();
                }
            }
            if (!stopped) {
                fork.order("end");
                if (!fork.next().equals(List.of("done"))) {
                    trouble = Optional.of(fork.whyEnded());
                }
            }
        }

        private void end(LabTests.Step step, List<TestResult> results) {
            steps.add(StepResult.of(step, results));
            listener.stepEnded(steps.getLast());
        }

        private List<TestResult> all(LabTests.Step step, Status status) {
            return tests.of(step).stream().map(test -> new TestResult(test, status, "", "", "", 0)).toList();
        }

        private List<TestResult> run(LabTests.Step step) throws IOException {
            var expected = tests.of(step);
            var order = new ArrayList<>(List.of("step", source.lab().testClass(), source.lab().fileName(),
                    Long.toString(this.order.patience().apply(step.number()).toMillis()), Long.toString(this.order.testTimeout().toSeconds()),
                    Boolean.toString(this.order.untilFirstFailed().test(step.number()))));
            expected.forEach(test -> order.add(test.id()));
            fork.order(order.toArray(String[]::new));
            var results = new LinkedHashMap<String, TestResult>();
            expected.forEach(test -> results.put(test.id(), TestResult.notRun(test)));
            listen(results);
            return List.copyOf(results.values());
        }

        /** Takes the runner's records until the step is done. A test that began and did not end is where the program died. */
        private void listen(Map<String, TestResult> results) throws IOException {
            var running = Optional.<Expected>empty();
            while (!stopped) {
                var record = fork.next();
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
                        trouble = Optional.of(record.isEmpty() ? fork.whyEnded() : record.get(1));
                        died(running, results);
                        stopped = true;
                    }
                }
            }
        }

        private TestResult ended(Expected test, List<String> record) {
            var result = new TestResult(test, status(record), record.get(4), record.get(5), record.get(6), Long.parseLong(record.get(3)));
            listener.testEnded(result);
            stopped |= !order.goOn() && record.get(2).equals("HUNG");   // its thread may spin on, and slow all that follow
            return result;
        }

        /** Under {@code WORKBOOK_REQUIRE=all} nothing may be missing on the machine. */
        private static Status status(List<String> record) {
            return switch (record.get(2)) {
                case "PASSED" -> Status.PASS;
                case "SKIPPED" -> "all".equals(System.getenv("WORKBOOK_REQUIRE")) ? Status.FAIL : Status.SKIPPED;
                default -> Status.FAIL;
            };
        }

        private void died(Optional<Expected> running, Map<String, TestResult> results) {
            var test = running.or(() -> results.values().stream().filter(result -> result.status() == Status.NOT_RUN).map(TestResult::test).findFirst());
            test.ifPresent(where -> {
                results.put(where.id(), new TestResult(where, Status.FAIL, trouble.orElseThrow(), "", "", 0));
                listener.testEnded(results.get(where.id()));
            });
        }

        private Verdict verdict(List<Javac.Finding> findings, long millis) {
            if (!findings.isEmpty()) {
                tests.steps().forEach(step -> steps.add(StepResult.of(step, all(step, Status.NOT_RUN))));
            }
            return new Verdict(tests, source, findings, List.copyOf(steps), trouble, millis);
        }
    }
}
