package grader.runner;

import module java.base;

import grader.box.Box;
import grader.speed.Jvm;
import grader.workbook.CannotCheck;

/**
 * The grader's half of a runner JVM. Orders go to its standard input; its sealed records come over a Unix-domain socket
 * of their own, because standard output belongs to the program under test: native code and child processes write there
 * as well. A runner is started early, gets its orders later, and is ended by force at the wall clock. For one thread.
 */
public final class RunnerProcess implements AutoCloseable {
    private static final int LONGEST_LINE = 1 << 20;
    private static final int KEY_BYTES = 32;

    /** Runners that are at work: none of them outlives the grader. */
    private static final Set<RunnerProcess> RUNNING = ConcurrentHashMap.newKeySet();

    private static volatile boolean graderEnds;

    static {
        Runtime.getRuntime().addShutdownHook(Thread.ofPlatform().unstarted(() -> {
            graderEnds = true;
            RUNNING.forEach(RunnerProcess::close);
        }));
    }

    private final Process process;
    private final Box.Room room;
    private final List<String> jvmOptions;
    private final ServerSocketChannel listener;
    private final SealedRecords records;
    private final Strays strays;
    private final ScheduledThreadPoolExecutor clock =
            new ScheduledThreadPoolExecutor(1, Thread.ofPlatform().daemon().factory());
    private Optional<InputStream> in = Optional.empty();
    private List<Path> rehearsed = List.of();
    private Optional<Set<String>> disabled = Optional.empty();   // of the last rehearsal, once it was asked for
    private Optional<Future<?>> limit = Optional.empty();
    private volatile String ended = "";

    private RunnerProcess(Process process, Box.Room room, List<String> jvmOptions, ServerSocketChannel listener,
                          SealedRecords records, Strays strays) {
        this.process = process;
        this.room = room;
        this.jvmOptions = jvmOptions;
        this.listener = listener;
        this.records = records;
        this.strays = strays;
        process.onExit().thenRun(this::stopListening);   // or whoever waits for its connection would wait for ever
    }

    /** The export is for the kit's list of threads. */
    private static final List<String> FLAGS = List.of("-Xmx256m", "-XX:-UsePerfData", "-Dfile.encoding=UTF-8",
            "-Duser.language=en", "-Duser.country=US", "--add-exports=java.base/jdk.internal.vm=ALL-UNNAMED");

    /** Starts a runner. @param jvmOptions a lab's own, after ours */
    public static RunnerProcess start(List<String> jvmOptions) throws IOException {
        return start(jvmOptions, Box.NONE, List.of(), false);
    }

    /**
     * Starts a runner in a box.
     *
     * @param readable     what it reads beside its own class path
     * @param readsPackets whether it captures packets
     */
    public static RunnerProcess start(List<String> jvmOptions, Box box, List<Path> readable, boolean readsPackets)
            throws IOException {
        var listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX).bind(null);
        var address = ((UnixDomainSocketAddress) listener.getLocalAddress()).getPath();
        var command = new ArrayList<>(List.of(Jvm.java()));
        command.addAll(Jvm.SHORT_LIVED);
        command.addAll(FLAGS);
        command.addAll(jvmOptions);
        command.addAll(List.of("-cp", System.getProperty("java.class.path"),
                "grader.runner.RunnerMain", address.toString()));
        var files = Stream.concat(Jvm.classPath().stream(), readable.stream()).toList();
        var room = box.roomFor(new Box.Program(command, files, Optional.of(address), readsPackets));
        var builder = room.builder()
                .redirectOutput(ProcessBuilder.Redirect.DISCARD).redirectError(ProcessBuilder.Redirect.DISCARD);
        builder.environment().put("LC_ALL", "C.UTF-8");   // the operating system's messages in English, everywhere
        var strays = Strays.of(HexFormat.of().formatHex(random()));
        strays.mark(builder.environment());
        var key = random();
        var runner = new RunnerProcess(builder.start(), room, jvmOptions, listener, new SealedRecords(key), strays);
        RUNNING.add(runner);
        runner.order(HexFormat.of().formatHex(key));
        return runner;
    }

    /** The kernel's own source: {@code SecureRandom} would load its providers first. */
    private static byte[] random() throws IOException {
        var bytes = new byte[KEY_BYTES];
        try (var source = new FileInputStream("/dev/urandom")) {
            source.readNBytes(bytes, 0, bytes.length);
        } catch (FileNotFoundException e) {
            new SecureRandom().nextBytes(bytes);
        }
        return bytes;
    }

    public List<String> jvmOptions() {
        return jvmOptions;
    }

    /** Ends the runner, and says why, when this much time has gone by, unless {@link #noLimit} comes first. */
    public void limit(Duration left, String why) {
        noLimit();
        limit = Optional.of(clock.schedule(() -> end(why), left.toMillis(), TimeUnit.MILLISECONDS));
    }

    public void noLimit() {
        limit.ifPresent(each -> each.cancel(false));
    }

    /**
     * Gets ready for the tests of a class, before there is anything to test. It does not get ready twice.
     *
     * @param classes     kit, tests and the pristine skeleton
     * @param conditional the ids of the tests that have a condition
     */
    public void rehearse(List<Path> libraries, List<Path> classes, String testClass, List<String> conditional)
            throws IOException {
        if (classes.equals(rehearsed)) {
            return;
        }
        if (!rehearsed.isEmpty()) {
            disabled();   // what it tells of the other tests must not be taken for records of these
        }
        rehearsed = classes;
        disabled = Optional.empty();
        var order = new ArrayList<>(List.of("rehearse", joined(libraries), joined(classes), testClass));
        order.addAll(conditional);
        order(order.toArray(String[]::new));
    }

    /** The ids of the tests that their conditions disable on this machine: to be asked after {@link #rehearse}. */
    public Set<String> disabled() throws IOException {
        if (disabled.isEmpty()) {
            disabled = Optional.of(Set.copyOf(nextUntil("rehearsed", "the tests could not be loaded").stream()
                    .map(List::getLast).toList()));
        }
        return disabled.get();
    }

    /** Gives what follows a class path of its own. */
    public void load(List<Path> libraries, List<Path> classes) {
        order("load", joined(libraries), joined(classes));
    }

    /** What the compiler finds in a file, and a last record that says how it is now. */
    List<List<String>> compile(String name, Path text, List<Path> classPath, Path out) throws IOException {
        order("compile", name, text.toString(), joined(classPath), out.toString());
        return nextUpTo(record -> record.getFirst().equals("compiled"), "the compiler ended");
    }

    private static String joined(List<Path> paths) {
        return paths.stream().map(Path::toString).collect(Collectors.joining(File.pathSeparator));
    }

    public void order(String... fields) {
        try {
            process.getOutputStream().write((String.join("\t", fields) + "\n").getBytes(StandardCharsets.UTF_8));
            process.getOutputStream().flush();
        } catch (IOException e) {
            // The runner is gone: whoever reads its records sees its end.
        }
    }

    /**
     * The next record, or an empty list when the runner has ended, or when somebody else has written into its
     * connection.
     */
    public List<String> next() throws IOException {
        var line = line();
        if (line.isEmpty()) {
            if (graderEnds) {
                throw new CannotCheck("the grader was ended");
            }
            return List.of();
        }
        var fields = records.open(line.get());
        if (fields.isEmpty()) {
            end("it wrote into the runner's own connection to the grader");
        }
        return fields;
    }

    /**
     * The records before the one that says {@code end}, of a runner in which no code of a learner's runs yet.
     *
     * @throws CannotCheck if it ends before: {@code trouble}, and why
     */
    public List<List<String>> nextUntil(String end, String trouble) throws IOException {
        var records = nextUpTo(record -> record.equals(List.of(end)), trouble);
        records.removeLast();
        return records;
    }

    private List<List<String>> nextUpTo(Predicate<List<String>> isLast, String trouble) throws IOException {
        var records = new ArrayList<List<String>>();
        do {
            var record = next();
            if (record.isEmpty() || record.getFirst().equals("crash")) {
                throw new CannotCheck(trouble + ": " + (record.isEmpty() ? whyEnded() : record.getLast()));
            }
            records.add(record);
        } while (!isLast.test(records.getLast()));
        return records;
    }

    private Optional<String> line() throws IOException {
        var line = new ByteArrayOutputStream(256);
        try {
            for (int next; (next = in().read()) != '\n'; ) {
                if (next < 0) {
                    return Optional.empty();
                }
                if (line.size() < LONGEST_LINE) {
                    line.write(next);
                }
            }
        } catch (ClosedChannelException e) {
            return Optional.empty();   // ended before it had connected
        }
        return Optional.of(line.toString(StandardCharsets.UTF_8));
    }

    private InputStream in() throws IOException {
        if (in.isEmpty()) {
            in = Optional.of(new BufferedInputStream(Channels.newInputStream(listener.accept()), 64 * 1024));
            stopListening();
        }
        return in.get();
    }

    private void stopListening() {
        try {
            var address = (UnixDomainSocketAddress) listener.getLocalAddress();
            listener.close();
            Files.deleteIfExists(address.getPath());
        } catch (IOException e) {
            // Closed already.
        }
    }

    /** Why it ended before its time, for the reader; call it when {@link #next} has found the end. */
    public String whyEnded() {
        if (!ended.isEmpty()) {
            return ended;
        }
        try {
            boolean hasEnded = process.waitFor(5, TimeUnit.SECONDS);
            if (room.limitReached().isPresent()) {
                return room.limitReached().get();
            }
            return hasEnded ? "the program ended the Java machine itself, with status " + process.exitValue()
                            + " (System.exit or Runtime.halt?)"
                    : "the program closed the runner's connection to the grader";
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return "the check was interrupted";
        }
    }

    private void end(String why) {
        if (ended.isEmpty()) {
            ended = why;
        }
        process.descendants().forEach(ProcessHandle::destroyForcibly);
        process.destroyForcibly();
    }

    public boolean isAlive() {
        return process.isAlive();
    }

    @Override
    public void close() {
        clock.shutdownNow();
        end("the check was over");
        strays.end();
        stopListening();
        room.close();
        RUNNING.remove(this);
    }
}
