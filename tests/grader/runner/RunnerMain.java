package grader.runner;

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import module java.base;

import grader.compile.Javac;
import grader.compile.SourceText;
import grader.workbook.Workbook;
import org.junit.jupiter.engine.JupiterTestEngine;
import org.junit.platform.engine.CancellationToken;
import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;
import org.junit.platform.launcher.core.LauncherConfig;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherExecutionRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * The child JVM: takes orders on standard input, runs tests, and writes sealed records into the socket that its
 * argument names. The first line is the key. Then come, as often as the grader likes,
 * <pre>
 *   rehearse LIBRARIES CLASSES CLASS ID…                warms up for the tests of a class, tells which are disabled
 *   load LIBRARIES CLASSES                              a class path of its own for what follows
 *   plan CLASS                                          lists the tests of a class
 *   step CLASS FILE PATIENCE TIMEOUT FIRST ID…          runs tests
 *   compile NAME TEXT CLASSPATH OUT                     compiles one file
 *   finish                                              is answered when all before it has been done
 * </pre>
 * It ends with {@code halt}, whatever threads the learner's program has left.
 */
public final class RunnerMain {
    /** Said of a compiler that cannot take another file. */
    static final String BUSY = "busy";

    private static final int MOST_OUTPUT = 64 * 1024;

    private final PrintStream out;
    private final InputStream in = System.in;
    private final Capture printed = new Capture();
    private final Launcher launcher = quietLauncher();
    private final TestClassPath classPath = new TestClassPath();
    private Optional<Javac> javac = Optional.empty();
    private SealedRecords records;

    private RunnerMain(SocketChannel grader) {
        out = new PrintStream(Channels.newOutputStream(grader), false, StandardCharsets.UTF_8);
    }

    public static void main(String[] args) throws IOException {
        var runner = new RunnerMain(SocketChannel.open(UnixDomainSocketAddress.of(args[0])));
        try {
            runner.obey();
        } catch (Throwable broken) {   // out of memory, most likely
            runner.send("crash", FailureText.message(broken));
        }
        Runtime.getRuntime().halt(0);
    }

    private void obey() throws IOException, ReflectiveOperationException, InterruptedException {
        records = new SealedRecords(HexFormat.of().parseHex(line()));
        System.setIn(InputStream.nullInputStream());
        launcher.execute(request(List.of(selectClass(WarmUp.class)), "10"), new TestExecutionListener() {});
        for (var order = line().split("\t", -1); !order[0].isEmpty(); order = line().split("\t", -1)) {
            switch (order[0]) {
                case "rehearse" -> {
                    load(order[1], order[2]);
                    classPath.load(order[3]);   // before any code of a learner's, a failure is not the learner's
                    warmUp(order[3]);
                    tellDisabled(List.of(order).subList(4, order.length));
                }
                case "load" -> load(order[1], order[2]);
                case "plan" -> plan(order[1]);
                case "step" -> {
                    var limit = Duration.ofSeconds(Long.parseLong(order[4]));
                    initialise(order[2].replace(".java", ""), limit);
                    link(classPath.load(order[1]));
                    classPath.setPatience(Duration.ofMillis(Long.parseLong(order[3])));
                    var ids = List.of(order).subList(6, order.length);
                    runStep(order[2], order[4], Boolean.parseBoolean(order[5]), ids);
                }
                case "compile" -> compile(order[1], Path.of(order[2]), order[3], Path.of(order[4]));
                default -> send("done");
            }
        }
    }

    /**
     * Nothing of an earlier check stays in force: its classes, its handlers, what it had put in the place of the
     * streams.
     */
    private void load(String libraries, String classes) throws IOException {
        classPath.open(libraries, classes);
        Thread.currentThread().setContextClassLoader(classPath.loader());
        Thread.setDefaultUncaughtExceptionHandler(null);
        var captured = new PrintStream(printed, true, StandardCharsets.UTF_8);
        System.setOut(captured);
        System.setErr(captured);
    }

    /**
     * With the pristine skeleton in the place of the learner's classes. The libraries stay loaded; kit and tests are
     * loaded again for the check itself. What goes wrong here, the tests will meet; CI is told at once.
     */
    private void warmUp(String testClass) {
        try {
            ((Runnable) classPath.load(testClass + "$WarmUp").getDeclaredConstructor().newInstance()).run();
        } catch (ClassNotFoundException e) {
            // Few test classes have one.
        } catch (ReflectiveOperationException | RuntimeException | LinkageError e) {
            if (Workbook.requiresAll()) {
                throw new IllegalStateException(testClass + ".WarmUp: " + e, e);
            }
        }
    }

    private void tellDisabled(List<String> ids) {
        for (var test : tests(ids.stream().map(DiscoverySelectors::selectUniqueId).toList())) {
            try {
                if (!Conditions.hold((MethodSource) test.getSource().orElseThrow())) {
                    send("disabled", test.getUniqueId());
                }
            } catch (ReflectiveOperationException | LinkageError e) {
                // JUnit fails in the same way, and says why.
            }
        }
        send("rehearsed");
    }

    private void plan(String testClass) throws ClassNotFoundException {
        for (var test : tests(List.of(selectClass(classPath.load(testClass))))) {
            var source = (MethodSource) test.getSource().orElseThrow();
            var type = source.getJavaClass();
            send("test", test.getUniqueId(), step(type, "value"), step(type, "title"), step(type, "further"),
                    Boolean.toString(Conditions.stand(source)), source.getMethodName());
        }
        send("planned");
    }

    private void compile(String name, Path text, String libraries, Path out) throws IOException {
        javac = javac.or(() -> Optional.of(new Javac()));
        var source = new SourceText(name, Files.readString(text));
        var path = Stream.of(libraries.split(File.pathSeparator)).filter(each -> !each.isEmpty()).map(Path::of)
                .toList();
        for (var found : javac.get().compile(List.of(source), path, out)) {
            send("found", found.file(), Long.toString(found.line()), Long.toString(found.column()), found.source(),
                    found.message());
        }
        send("compiled", javac.get().isBusy() ? BUSY : "ready");
    }

    private List<TestIdentifier> tests(List<? extends DiscoverySelector> selectors) {
        var found = new ArrayList<TestIdentifier>();
        if (selectors.isEmpty()) {
            return found;
        }
        var plan = launcher.discover(request(selectors, "10"));
        plan.accept(new TestPlan.Visitor() {
            @Override
            public void visit(TestIdentifier test) {
                if (test.isTest()) {
                    found.add(test);
                }
            }
        });
        return found;
    }

    /** An element of the step's annotation: by name, because the kit is not on the grader's own class path. */
    private static String step(Class<?> testClass, String element) {
        for (var annotation : testClass.getAnnotations()) {
            if (annotation.annotationType().getName().equals("kit.Step")) {
                try {
                    return annotation.annotationType().getMethod(element).invoke(annotation).toString();
                } catch (ReflectiveOperationException e) {
                    throw new IllegalStateException(e);
                }
            }
        }
        throw new IllegalStateException(testClass.getName() + " has no @Step");
    }

    /**
     * JUnit limits the time of tests, but the first of them might not even begin. What else goes wrong here, the tests
     * will meet.
     */
    private void initialise(String type, Duration limit) throws InterruptedException {
        var initialiser = Thread.ofPlatform().daemon().unstarted(() -> {
            try {
                Class.forName(type, true, classPath.loader());
            } catch (ClassNotFoundException | LinkageError e) {
                // Told by the tests.
            }
        });
        initialiser.start();
        if (!initialiser.join(limit)) {
            throw new AssertionError("the static initialiser of " + type + " did not come to its end\n"
                    + "likely: it waits for what never comes, or loops for ever");
        }
    }

    /**
     * Fails by itself where the learner's file no longer has a type that the tests name; JUnit would tell it in a page
     * of frames.
     */
    private static void link(Class<?> tests) {
        tests.getDeclaredMethods();
        tests.getDeclaredFields();
        Stream.of(tests.getDeclaredClasses()).forEach(RunnerMain::link);
    }

    private void runStep(String file, String timeoutSeconds, boolean untilFirstFailed, List<String> ids) {
        var request = request(ids.stream().map(DiscoverySelectors::selectUniqueId).toList(), timeoutSeconds);
        var enough = CancellationToken.create();
        var reporter = new Reporter(file, untilFirstFailed ? Optional.of(enough) : Optional.empty());
        launcher.execute(LauncherExecutionRequestBuilder.request(request)
                .listeners(reporter).cancellationToken(enough).build());
        send("step-done");
    }

    private final class Reporter implements TestExecutionListener {
        private final String file;
        private final Optional<CancellationToken> atFirstFailure;
        private TestPlan plan;
        private long began;

        private Reporter(String file, Optional<CancellationToken> atFirstFailure) {
            this.file = file;
            this.atFirstFailure = atFirstFailure;
        }

        @Override
        public void testPlanExecutionStarted(TestPlan plan) {
            this.plan = plan;
        }

        @Override
        public void executionStarted(TestIdentifier test) {
            if (test.isTest()) {
                printed.clear();
                began = System.nanoTime();
                send("start", test.getUniqueId());
            }
        }

        /** A step that is skipped as a whole skips its tests, but JUnit tells of the step alone. */
        @Override
        public void executionSkipped(TestIdentifier skipped, String reason) {
            boolean enough = atFirstFailure.map(CancellationToken::isCancellationRequested).orElse(false);
            if (!enough) {
                Stream.concat(Stream.of(skipped), plan.getDescendants(skipped).stream()).filter(TestIdentifier::isTest)
                        .forEach(test -> send("end", test.getUniqueId(), "SKIPPED", "0", reason, "", ""));
            }
        }

        @Override
        public void executionFinished(TestIdentifier test, TestExecutionResult result) {
            var failure = result.getThrowable().orElse(null);
            if (test.isTest()) {
                send("end", test.getUniqueId(), status(result), Long.toString((System.nanoTime() - began) / 1_000_000),
                        FailureText.message(failure), FailureText.place(failure, file), printed.text());
                if (result.getStatus() == TestExecutionResult.Status.FAILED) {
                    atFirstFailure.ifPresent(CancellationToken::cancel);
                }
            } else if (failure != null) {
                send("container", FailureText.message(failure), FailureText.place(failure, file));
            }
        }
    }

    private static String status(TestExecutionResult result) {
        return switch (result.getStatus()) {
            case SUCCESSFUL -> "PASSED";
            case ABORTED -> "ABORTED";
            case FAILED -> result.getThrowable().orElseThrow() instanceof TimeoutException ? "HUNG" : "FAILED";
        };
    }

    /** Nothing is looked up on the class path: no listener of somebody else's, no second engine. */
    private static Launcher quietLauncher() {
        return LauncherFactory.create(LauncherConfig.builder()
                .enableTestEngineAutoRegistration(false).addTestEngines(new JupiterTestEngine())
                .enableLauncherSessionListenerAutoRegistration(false)
                .enableLauncherDiscoveryListenerAutoRegistration(false)
                .enableTestExecutionListenerAutoRegistration(false)
                .enablePostDiscoveryFilterAutoRegistration(false).build());
    }

    private static LauncherDiscoveryRequest request(List<? extends DiscoverySelector> selectors,
                                                    String timeoutSeconds) {
        return LauncherDiscoveryRequestBuilder.request().selectors(selectors)
                .enableImplicitConfigurationParameters(false)   // neither system properties nor files of the learner's
                .configurationParameter("junit.jupiter.execution.timeout.testable.method.default",
                        timeoutSeconds + " s")
                .configurationParameter("junit.jupiter.execution.timeout.thread.mode.default", "SEPARATE_THREAD")
                .configurationParameter("junit.jupiter.extensions.autodetection.enabled", "false")
                .configurationParameter("junit.platform.stacktrace.pruning.enabled", "false").build();
    }

    /**
     * A thread that somebody has interrupted would close the channel by writing to it, so the interrupt has to wait.
     */
    private void send(String... fields) {
        boolean interrupted = Thread.interrupted();
        synchronized (out) {
            out.println(records.seal(List.of(fields)));
            out.flush();
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    /** Byte by byte: what follows the line belongs to nobody else. */
    private String line() throws IOException {
        var text = new ByteArrayOutputStream();
        for (int next; (next = in.read()) >= 0 && next != '\n'; ) {
            text.write(next);
        }
        return text.toString(StandardCharsets.UTF_8);
    }

    /** What the learner's program prints during one test, up to a limit. */
    private static final class Capture extends OutputStream {
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        private boolean more;

        @Override
        public synchronized void write(int one) {
            write(new byte[] {(byte) one}, 0, 1);
        }

        @Override
        public synchronized void write(byte[] from, int offset, int length) {
            int room = Math.min(length, MOST_OUTPUT - bytes.size());
            bytes.write(from, offset, room);
            more |= room < length;
        }

        private synchronized void clear() {
            bytes.reset();
            more = false;
        }

        private synchronized String text() {
            return bytes.toString(StandardCharsets.UTF_8) + (more ? "\n(more was printed: cut here)" : "");
        }
    }
}
