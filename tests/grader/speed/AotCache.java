package grader.speed;

import module java.base;

import grader.workbook.Lab;
import grader.workbook.Workbook;

/**
 * The grader's ahead-of-time cache: its classes already loaded and linked, good for one JDK and one class path. It is
 * made in the background after the first check, and never needed: without it everything is only slower. (Runners have
 * none: one starts while the learner's file is compiled, which takes longer.)
 */
public final class AotCache {
    /** A maker that was ended by force leaves its lock behind; after this long another may try. */
    private static final Duration STALE = Duration.ofMinutes(2);
    private static final String NAME = "grader-*.aot";

    private final Workbook book;
    private final String key;

    private AotCache(Workbook book, String key) {
        this.book = book;
        this.key = key;
    }

    /**
     * The JVM itself checks path, size and time of every jar; the key only keeps two versions from fighting over one
     * file. So a few bits are enough: a digest would be loaded for this alone.
     */
    public static AotCache of(Workbook book) throws IOException {
        var parts = new ArrayList<Object>(List.of(Runtime.version().toString(), System.getProperty("java.home")));
        for (var jar : Jvm.classPath()) {
            parts.add(jar.toString());
            parts.add(Files.getLastModifiedTime(jar).toMillis());
        }
        return new AotCache(book, Integer.toHexString(parts.hashCode()));
    }

    /** What a JVM that uses it is started with, whether it is there already or not. */
    public List<String> withOptions() {
        return Stream.concat(Jvm.SHORT_LIVED.stream(), Stream.of("-XX:AOTCache=" + file())).toList();
    }

    private Path file() {
        return book.cache().resolve(NAME.replace("*", key));
    }

    /** Starts {@code prepare} in a JVM of its own that outlives this one, unless the cache is there or being made. */
    public void prepareInBackground() throws IOException {
        if (System.getenv("WORKBOOK_NO_AOT") == null && !Files.exists(file()) && lock()) {
            quiet(List.of("-cp", System.getProperty("java.class.path"), "grader.Main", "prepare")).start();
        }
    }

    private Path lockFile() {
        return book.cache().resolve("aot.lock");
    }

    private boolean lock() throws IOException {
        var lock = lockFile();
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

    /** Makes the cache, from what a check of a solved lab loads; the caches of older builds are worthless then. */
    public void prepare() throws IOException, InterruptedException {
        var fresh = book.cache().resolve("." + ProcessHandle.current().pid() + ".aot");
        var command = new ArrayList<>(Jvm.SHORT_LIVED);
        command.addAll(List.of("-XX:AOTCacheOutput=" + fresh, "-cp", System.getProperty("java.class.path"),
                "grader.Main", "test"));
        command.addAll(solved(book.labs().getFirst()));
        var builder = quiet(command);
        builder.environment().put("WORKBOOK_NO_AOT", "1");
        builder.start().waitFor();
        if (Files.exists(fresh)) {
            Files.move(fresh, file(), StandardCopyOption.ATOMIC_MOVE);
            deleteOthers();
        }
        Files.deleteIfExists(lockFile());
    }

    private static List<String> solved(Lab lab) {
        return List.of(lab.number(), (Files.exists(lab.solution()) ? lab.solution() : lab.file()).toString());
    }

    private void deleteOthers() throws IOException {
        try (var caches = Files.newDirectoryStream(book.cache(), NAME)) {
            for (var each : caches) {
                if (!each.equals(file())) {
                    Files.deleteIfExists(each);
                }
            }
        }
    }

    private ProcessBuilder quiet(List<String> arguments) {
        var command = new ArrayList<>(List.of(Jvm.java()));
        command.addAll(arguments);
        return new ProcessBuilder(command).directory(book.root().toFile()).redirectInput(nothing())
                .redirectOutput(ProcessBuilder.Redirect.DISCARD).redirectError(ProcessBuilder.Redirect.DISCARD);
    }

    private static File nothing() {
        return new File(System.getProperty("os.name").startsWith("Windows") ? "NUL" : "/dev/null");
    }
}
