package grader;

import module java.base;
import module java.compiler;

/** The compiler, in this process. Its file manager is kept: opening the class path again is half of a warm compile. */
public final class Javac implements AutoCloseable {
    /** What the compiler found, 1-based; {@code source} is the line it points at, {@code column} the caret's place in it. */
    public record Finding(String file, long line, long column, String source, String message) {}

    /** A source file's name and text, already read: an editor that saves during the compile does no harm. */
    public static final class Text extends SimpleJavaFileObject {
        private final String text;

        public Text(String fileName, String text) {
            super(URI.create("text:///" + fileName), Kind.SOURCE);
            this.text = text;
        }

        public static Text of(Path file) throws IOException {
            return new Text(file.getFileName().toString(), Files.readString(file));
        }

        String text() {
            return text;
        }

        @Override
        public CharSequence getCharContent(boolean ignoreEncodingErrors) {
            return text;
        }
    }

    private final JavaCompiler compiler = javax.tools.ToolProvider.getSystemJavaCompiler();
    private final StandardJavaFileManager files;

    public Javac() {
        if (compiler == null) {
            throw new Trouble("this Java has no compiler: install a JDK 25, not a JRE");
        }
        files = compiler.getStandardFileManager(null, Locale.ROOT, StandardCharsets.UTF_8);
    }

    /** Compiles into {@code out}; no finding means success. {@code lint} options may be empty. */
    public List<Finding> compile(List<Text> sources, List<Path> classPath, Path out, String... lint) throws IOException {
        files.setLocationFromPaths(StandardLocation.CLASS_PATH, classPath);
        files.setLocationFromPaths(StandardLocation.CLASS_OUTPUT, List.of(out));
        var options = new ArrayList<>(List.of("-proc:none", "-implicit:none"));
        options.addAll(lint.length == 0 ? List.of("-nowarn", "-Xlint:none") : List.of(lint));
        if (Runtime.version().feature() != 25) {   // without it the compiler reads its own JDK, which is quicker
            options.addAll(List.of("--release", "25"));
        }
        var found = new DiagnosticCollector<JavaFileObject>();
        boolean good = compiler.getTask(new StringWriter(), files, found, options, null, sources).call();
        return good ? List.of() : found.getDiagnostics().stream()
                .filter(each -> each.getKind() == Diagnostic.Kind.ERROR || lint.length > 0).map(Javac::finding).toList();
    }

    private static Finding finding(Diagnostic<? extends JavaFileObject> found) {
        var message = found.getMessage(Locale.ROOT);
        if (!(found.getSource() instanceof Text text)) {
            return new Finding("", 0, 0, "", message);
        }
        var line = text.text.lines().skip(Math.max(0, found.getLineNumber() - 1)).findFirst().orElse("");
        return new Finding(text.getName().substring(1), found.getLineNumber(), found.getColumnNumber(), line, message);
    }

    @Override
    public void close() throws IOException {
        files.close();
    }
}
