package grader.compile;

import module java.base;
import module java.compiler;
import module java.management;

import grader.workbook.CannotCheck;
import grader.workbook.Printable;

/**
 * The compiler, in this process. Its file manager is kept: opening the class path again is half of a warm compile. For
 * one thread.
 */
public final class Javac implements AutoCloseable {
    /**
     * What the compiler found, 1-based; {@code source} is the line it points at, {@code column} the caret's place in
     * it.
     */
    public record Finding(String file, long line, long column, String source, String message) {
        public Finding {
            source = Printable.of(source);
            message = Printable.of(message);
        }

        /** A finding about the file as a whole. */
        public static Finding about(String file, String message) {
            return new Finding(file, 1, 1, "", message);
        }
    }

    /** Of processor time. */
    private static final Duration LONGEST = Duration.ofSeconds(30);
    private static final Duration LOOK = Duration.ofSeconds(1);

    private final JavaCompiler compiler = javax.tools.ToolProvider.getSystemJavaCompiler();
    private StandardJavaFileManager files;
    private boolean busy;

    public Javac() {
        if (compiler == null) {
            throw new CannotCheck("this Java has no compiler: install a JDK 25, not a JRE");
        }
        files = fileManager();
    }

    private StandardJavaFileManager fileManager() {
        return compiler.getStandardFileManager(null, Locale.ROOT, StandardCharsets.UTF_8);
    }

    /** Compiles into {@code out}; no finding means success. {@code lint} options may be empty. */
    public List<Finding> compile(List<SourceText> sources, List<Path> classPath, Path out, String... lint)
            throws IOException {
        files.setLocationFromPaths(StandardLocation.CLASS_PATH, classPath);
        files.setLocationFromPaths(StandardLocation.CLASS_OUTPUT, List.of(out));
        var options = new ArrayList<>(List.of("-g", "-proc:none", "-implicit:none"));
        options.addAll(lint.length == 0 ? List.of("-nowarn", "-Xlint:none") : List.of(lint));
        if (Runtime.version().feature() != 25) {   // without it the compiler reads its own JDK, which is quicker
            options.addAll(List.of("--release", "25"));
        }
        var found = new DiagnosticCollector<JavaFileObject>();
        var words = new StringWriter();
        var task = compiler.getTask(words, files, found, options, null, sources);
        var file = sources.getFirst().getName().substring(1);
        return switch (outcome(task)) {
            case SUCCESS -> List.of();
            case ERRORS -> {
                var errors = errors(found, lint.length > 0);
                yield errors.isEmpty() ? gaveUp(file, words.toString()) : errors;
            }
            case BROKE_DOWN -> gaveUp(file, words.toString());
            case TOO_LONG -> {
                files = fileManager();   // the compiler that works on has the other one
                busy = true;
                yield List.of(Finding.about(file, "the compiler had worked for " + LONGEST.toSeconds()
                        + " s and was not done\nlikely: a generated table, or generic calls nested in one another"));
            }
        };
    }

    /** Whether a file that took too long is still being compiled: nothing but the end of the JVM ends that. */
    public boolean isBusy() {
        return busy;
    }

    private enum Outcome { SUCCESS, ERRORS, BROKE_DOWN, TOO_LONG }

    /** On a thread of its own: nothing ends a compiler that is busy, but nobody has to wait for it. */
    private static Outcome outcome(JavaCompiler.CompilationTask task) throws IOException {
        var outcome = new CompletableFuture<Outcome>();
        var thread = Thread.ofPlatform().daemon().name("javac").start(() -> {
            try {
                outcome.complete(task.call() ? Outcome.SUCCESS : Outcome.ERRORS);
            } catch (Throwable e) {   // a stack overflow, or a fault of the compiler
                outcome.complete(Outcome.BROKE_DOWN);
            }
        });
        try {
            for (long waited = 0; !thread.join(LOOK); waited += LOOK.toSeconds()) {
                if (waited >= LONGEST.toSeconds() && worked(thread).compareTo(LONGEST) >= 0) {
                    return Outcome.TOO_LONG;
                }
            }
            return outcome.join();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("interrupted during a compile");
        }
    }

    /** On a machine that has much else to do, a compile may last long without having worked long. */
    private static Duration worked(Thread thread) {
        return Duration.ofNanos(ManagementFactory.getThreadMXBean().getThreadCpuTime(thread.threadId()));
    }

    private static List<Finding> errors(DiagnosticCollector<JavaFileObject> found, boolean withWarnings) {
        return found.getDiagnostics().stream().filter(each -> withWarnings || each.getKind() == Diagnostic.Kind.ERROR)
                .map(Javac::finding).toList();
    }

    /**
     * The compiler has named no error and made no class: mostly it ran out of stack, and says so in words of its own.
     */
    private static List<Finding> gaveUp(String file, String words) {
        var first = words.lines().filter(line -> !line.isBlank()).findFirst()
                .map(line -> ": " + line.strip()).orElse("");
        return List.of(Finding.about(file, "the compiler gave up and named no line" + first
                + "\nlikely: an expression that is nested too deeply"));
    }

    private static Finding finding(Diagnostic<? extends JavaFileObject> found) {
        var message = found.getMessage(Locale.ROOT);
        if (!(found.getSource() instanceof SourceText source)) {
            return Finding.about("", message);
        }
        var line = source.text().lines().skip(Math.max(0, found.getLineNumber() - 1)).findFirst().orElse("");
        return new Finding(source.getName().substring(1), found.getLineNumber(), found.getColumnNumber(), line,
                message);
    }

    @Override
    public void close() throws IOException {
        files.close();
    }
}
