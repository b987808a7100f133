package grader.workbook;

import module java.base;

/** Starts JBang the way this workbook was started: by its launcher, or, where there is no shell, from the PATH. */
public final class JBang {
    private static final boolean WINDOWS = System.getProperty("os.name").startsWith("Windows");

    private JBang() {}

    public static ProcessBuilder command(Workbook book, String... arguments) {
        var command = new ArrayList<String>();
        command.addAll(WINDOWS ? List.of("cmd", "/c", "jbang")
                : List.of("sh", book.root().resolve("jbang").toString()));
        command.addAll(List.of(arguments));
        return new ProcessBuilder(command).directory(book.root().toFile());
    }

    /** Runs a script of the workbook on this terminal, and gives its exit status. */
    public static int run(Workbook book, Path script, List<String> arguments) throws IOException, InterruptedException {
        var all = new ArrayList<>(List.of(script.toString()));
        all.addAll(arguments);
        var process = command(book, all.toArray(String[]::new)).inheritIO().start();
        try {
            return process.waitFor();
        } finally {
            process.destroy();
        }
    }
}
