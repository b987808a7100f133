///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Renders the book: hands over to book/program/Book.java
//RUNTIME_OPTIONS -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xlog:disable

import module java.base;

/**
 * What {@code jbang book} finds: JBang takes a folder of that name before the catalog, and runs a copy of this file,
 * beside which there is no other source. So this hands over to {@code book/program/Book.java}: by the command line that
 * was left there the last time, or, where a source has changed since, by asking JBang.
 */
final class HandOver {
    private static final String PROGRAM = "book/program/Book.java";
    private static final List<String> SOURCES = List.of("book/program", "tests/grader/workbook",
            "tests/grader/speed", "jbang", "jbang-catalog.json");
    private static final boolean WINDOWS = System.getProperty("os.name").startsWith("Windows");

    public static void main(String[] args) throws IOException, InterruptedException {
        Path root = root();
        Path remembered = root.resolve(".workbook/cache/book-command");
        var command = new ArrayList<>(isCurrent(remembered, root)
                ? List.of(java().toString(), "@" + remembered) : jbang(root));
        command.addAll(List.of(args));
        System.exit(new ProcessBuilder(command).inheritIO().start().waitFor());
    }

    /** The workbook around the current folder, or else the one whose launcher was called. */
    private static Path root() {
        for (Path folder = Path.of("").toAbsolutePath(); folder != null; folder = folder.getParent()) {
            if (Files.exists(folder.resolve(PROGRAM))) {
                return folder;
            }
        }
        String launched = System.getenv("WORKBOOK_ROOT");
        if (launched == null || !Files.exists(Path.of(launched, PROGRAM))) {
            System.err.println("book: this folder is not inside the workbook: change into the folder you cloned");
            System.exit(2);
        }
        return Path.of(launched);
    }

    private static Path java() {
        return Path.of(System.getProperty("java.home"), "bin", "java");
    }

    /** Whether no source is newer, and the Java and the jars that it names are still there. */
    private static boolean isCurrent(Path remembered, Path root) throws IOException {
        if (!Files.exists(remembered)) {
            return false;
        }
        FileTime written = Files.getLastModifiedTime(remembered);
        for (String source : SOURCES) {
            try (var files = Files.walk(root.resolve(source))) {
                for (Path file : (Iterable<Path>) files::iterator) {
                    if (Files.getLastModifiedTime(file).compareTo(written) > 0) {
                        return false;
                    }
                }
            }
        }
        List<String> lines = Files.readAllLines(remembered);
        return lines.getFirst().equals("# " + java()) && lines.stream().filter(line -> line.startsWith("# "))
                .allMatch(line -> Files.exists(Path.of(line.substring(2))));
    }

    private static List<String> jbang(Path root) {
        String program = root.resolve(PROGRAM).toString();
        return WINDOWS ? List.of("cmd", "/c", "jbang", program)
                : List.of("sh", root.resolve("jbang").toString(), program);
    }
}
