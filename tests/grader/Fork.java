package grader;

import module java.base;

/** The grader's half of a runner JVM: started early, given its orders later, ended by force at the wall clock or when it says too much. */
public final class Fork implements AutoCloseable {
    private static final long MOST_BYTES = 64L << 20;
    private static final int LONGEST_LINE = 1 << 20;
    private static final int KEY_BYTES = 32;

    private final Process process;
    private final Wire wire;
    private final InputStream in;
    private final ScheduledThreadPoolExecutor clock = new ScheduledThreadPoolExecutor(1, Thread.ofPlatform().daemon().factory());
    private long heard;
    private volatile String ended = "";

    private Fork(Process process, Wire wire) {
        this.process = process;
        this.wire = wire;
        in = new BufferedInputStream(process.getInputStream(), 64 * 1024);
    }

    /**
     * For a JVM that lives for a few seconds: the small compiler, the small collector, and eight megabytes for what is new. With
     * more, every object lies in memory that was never touched before, and to get that from the system is a fifth of a check.
     */
    static final List<String> SHORT_LIVED = List.of("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmn8m", "-Xlog:disable");

    /** The export is for the kit's list of threads. */
    static List<String> flags() {
        var flags = new ArrayList<>(SHORT_LIVED);
        flags.addAll(List.of("-Xmx256m", "-XX:-UsePerfData", "-Dfile.encoding=UTF-8", "-Duser.language=en", "-Duser.country=US",
                "--add-exports=java.base/jdk.internal.vm=ALL-UNNAMED"));
        return flags;
    }

    /** The program that runs this JVM. */
    public static String java() {
        return Path.of(System.getProperty("java.home"), "bin", "java").toString();
    }

    /**
     * Starts a runner.
     *
     * @param options  a lab's own JVM options, after ours
     * @param appended class path after the grader's own, which stays the prefix that an AOT cache asks for
     */
    static Fork start(List<String> options, List<Path> appended, Optional<Path> aot) throws IOException {
        var command = new ArrayList<>(List.of(java()));
        command.addAll(flags());
        command.addAll(options);
        aot.ifPresent(cache -> command.add("-XX:AOTCache=" + cache));
        var path = new StringJoiner(File.pathSeparator).add(System.getProperty("java.class.path"));
        appended.forEach(each -> path.add(each.toString()));
        command.addAll(List.of("-cp", path.toString(), "grader.Runner"));
        var builder = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD);
        builder.environment().put("LC_ALL", "C.UTF-8");   // the operating system's messages in English, everywhere
        var key = new byte[KEY_BYTES];
        random(key);
        var fork = new Fork(builder.start(), new Wire(key));
        fork.order(HexFormat.of().formatHex(key));
        return fork;
    }

    /** The kernel's own source: {@code SecureRandom} would load its providers first. */
    private static void random(byte[] key) throws IOException {
        try (var source = new FileInputStream("/dev/urandom")) {
            source.readNBytes(key, 0, key.length);
        } catch (FileNotFoundException e) {
            new SecureRandom().nextBytes(key);
        }
    }

    /** Ends the runner when this much time has gone by. */
    void limit(Duration wallClock) {
        clock.schedule(() -> end("it was still running after " + wallClock.toSeconds() + " s"), wallClock.toMillis(), TimeUnit.MILLISECONDS);
    }

    void order(String... fields) {
        try {
            process.getOutputStream().write((String.join("\t", fields) + "\n").getBytes(StandardCharsets.UTF_8));
            process.getOutputStream().flush();
        } catch (IOException e) {
            // The runner is gone: whoever listens sees its end.
        }
    }

    /** The next record that carries the seal, or an empty list when the runner has ended. Anything else it prints is passed over. */
    List<String> next() throws IOException {
        for (var line = line(); line.isPresent(); line = line()) {
            var fields = wire.open(line.get());
            if (!fields.isEmpty()) {
                return fields;
            }
        }
        return List.of();
    }

    private Optional<String> line() throws IOException {
        var line = new ByteArrayOutputStream(256);
        for (int next; (next = read()) != '\n'; ) {
            if (next < 0) {
                return Optional.empty();
            }
            if (line.size() < LONGEST_LINE) {
                line.write(next);
            }
        }
        return Optional.of(line.toString(StandardCharsets.UTF_8));
    }

    private int read() throws IOException {
        if (++heard > MOST_BYTES) {
            end("it printed more than " + (MOST_BYTES >> 20) + " MB past System.out");
            return -1;
        }
        try {
            return in.read();
        } catch (IOException e) {
            return -1;   // ended by force while we were reading
        }
    }

    /** Why it ended before its time, for the reader; call it when {@link #next} has found the end. */
    String whyEnded() {
        if (!ended.isEmpty()) {
            return ended;
        }
        try {
            return process.waitFor(5, TimeUnit.SECONDS)
                    ? "the program ended the Java machine itself, with status " + process.exitValue() + " (System.exit or Runtime.halt?)"
                    : "the program closed the Java machine's standard output";
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

    boolean isAlive() {
        return process.isAlive();
    }

    @Override
    public void close() {
        clock.shutdownNow();
        end("the check was over");
    }
}
