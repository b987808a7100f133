package grader;

import module java.base;

/**
 * Ahead-of-time caches of the runner and of the grader itself: classes already loaded and linked, good for one JDK and one class
 * path. They are made in the background after the first check, and never needed: without them everything is only slower.
 */
public final class Aot {
    /** A maker that was ended by force leaves its lock behind; after this long another may try. */
    private static final Duration STALE = Duration.ofMinutes(2);
    /** The grader and verify have different class paths, and so a cache each; one that nobody made today belongs to an older build. */
    private static final Duration WORTHLESS = Duration.ofDays(1);

    private final Workbook book;
    private final String key;

    private Aot(Workbook book, String key) {
        this.book = book;
        this.key = key;
    }

    /**
     * The JVM itself checks path, size and time of every jar; the key only keeps two versions from fighting over one file. So a
     * few bits are enough: a digest would be loaded for this alone.
     */
    public static Aot of(Workbook book) throws IOException {
        var parts = new ArrayList<Object>(List.of(Runtime.version().toString(), System.getProperty("java.home")));
        for (var jar : System.getProperty("java.class.path").split(File.pathSeparator)) {
            parts.add(jar);
            parts.add(Files.getLastModifiedTime(Path.of(jar)).toMillis());
        }
        return new Aot(book, Integer.toHexString(parts.hashCode()));
    }

    Optional<Path> runner() {
        return Optional.of(file("runner")).filter(Files::exists);
    }

    Path file(String which) {
        return book.cache().resolve(which + "-" + key + ".aot");
    }

    /** Starts {@code prepare} in a JVM of its own that outlives this one, unless the caches are there or being made. */
    void prepareInBackground() throws IOException {
        if (System.getenv("WORKBOOK_NO_AOT") != null || Files.exists(file("grader")) || !lock()) {
            return;
        }
        quiet(List.of("-cp", System.getProperty("java.class.path"), "grader.Main", "prepare")).redirectInput(nothing()).start();
    }

    private boolean lock() throws IOException {
        var lock = book.cache().resolve("aot.lock");
        if (Files.exists(lock) && Files.getLastModifiedTime(lock).toInstant().isBefore(Instant.now().minus(STALE))) {
            Files.deleteIfExists(lock);
        }
        try {
            Files.createFile(lock);
            return true;
        } catch (FileAlreadyExistsException e) {
            return false;
        }
    }

    /** Makes the runner's cache by its training tests, unless it is there: a third of the time of a short check. */
    public void prepareRunner() throws IOException, InterruptedException {
        if (Files.exists(file("runner"))) {
            return;
        }
        var training = "00\nstep\tgrader.Training\t-\t10000\t10\tfalse\t[engine:junit-jupiter]/[class:grader.Training]\n\n";
        make("runner", Fork.flags(), List.of("grader.Runner"), training);
    }

    /** Makes both caches; the grader's by checking a lab. */
    void prepare() throws IOException, InterruptedException {
        prepareRunner();
        var lab = book.labs().getFirst();
        var file = Files.exists(lab.solution()) ? lab.solution() : lab.file();
        make("grader", Fork.SHORT_LIVED, List.of("grader.Main", "test", lab.number(), file.toString()), "");
        prune();
        Files.deleteIfExists(book.cache().resolve("aot.lock"));
    }

    private void make(String which, List<String> flags, List<String> main, String stdin) throws IOException, InterruptedException {
        var fresh = book.cache().resolve("." + which + "-" + ProcessHandle.current().pid() + ".aot");
        var command = new ArrayList<>(flags);
        command.addAll(List.of("-XX:AOTCacheOutput=" + fresh, "-cp", System.getProperty("java.class.path")));
        command.addAll(main);
        var builder = quiet(command);
        builder.environment().put("WORKBOOK_NO_AOT", "1");
        var process = builder.start();
        try (var in = process.getOutputStream()) {
            in.write(stdin.getBytes(StandardCharsets.UTF_8));
        }
        process.waitFor();
        if (Files.exists(fresh)) {
            Files.move(fresh, file(which), StandardCopyOption.ATOMIC_MOVE);
        }
    }

    /** A rebuild makes the caches before it worthless, and they are 20 MB each. */
    private void prune() throws IOException {
        var old = Instant.now().minus(WORTHLESS);
        try (var caches = Files.newDirectoryStream(book.cache(), "*.aot")) {
            for (var each : caches) {
                if (Files.getLastModifiedTime(each).toInstant().isBefore(old) && !each.equals(file("runner")) && !each.equals(file("grader"))) {
                    Files.deleteIfExists(each);
                }
            }
        }
    }

    private ProcessBuilder quiet(List<String> arguments) {
        var command = new ArrayList<>(List.of(Fork.java()));
        command.addAll(arguments);
        return new ProcessBuilder(command).directory(book.root().toFile())
                .redirectOutput(ProcessBuilder.Redirect.DISCARD).redirectError(ProcessBuilder.Redirect.DISCARD);
    }

    private static File nothing() {
        return new File(System.getProperty("os.name").startsWith("Windows") ? "NUL" : "/dev/null");
    }
}
