package grader;

import module java.base;

/**
 * The command line that started this program, left in {@code .workbook/cache/command} for the launcher: JBang's answer to
 * {@code test-401} stays the same until a source of the grader changes, and asking for it is a third of a check.
 */
record ShortCut(Workbook book, Path jar, Path aot) {
    static ShortCut of(Workbook book) throws IOException {
        var first = System.getProperty("java.class.path").split(File.pathSeparator)[0];
        return new ShortCut(book, Path.of(first), Aot.of(book).file("grader"));
    }

    /** A shell fragment: it tests that java and jar are still there, and sets {@code command}. */
    void write() throws IOException {
        var file = book.cache().resolve("command");
        var command = Stream.of(Fork.java(), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xlog:disable", "-XX:AOTCache=" + aot,
                "-cp", System.getProperty("java.class.path"), "grader.Main").map(ShortCut::quoted).collect(Collectors.joining(" "));
        var text = "java=%s jar=%s command=%s\n".formatted(quoted(Fork.java()), quoted(jar.toString()), quoted(command));
        if (!Files.exists(file) || !Files.readString(file).equals(text)) {
            var fresh = Files.writeString(Files.createTempFile(book.cache(), ".command", ""), text);
            Files.move(fresh, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        }
    }

    private static String quoted(String text) {
        return "'" + text.replace("'", "'\\''") + "'";
    }
}
