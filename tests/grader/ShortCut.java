package grader;

import module java.base;

/**
 * The command line that started this program, left in {@code .workbook/cache/command} for the launcher: JBang's answer to
 * {@code test-401} stays the same until a source of the grader changes, and asking for it is a third of a check.
 */
record ShortCut(Workbook book, List<Path> jars, Path aot) {
    static ShortCut of(Workbook book) throws IOException {
        var jars = Stream.of(System.getProperty("java.class.path").split(File.pathSeparator)).map(Path::of).toList();
        return new ShortCut(book, jars, Aot.of(book).file("grader"));
    }

    /** A shell fragment: it sets {@code command}, if java and all jars are still there. */
    void write() throws IOException {
        var file = book.cache().resolve("command");
        var words = new ArrayList<>(List.of(Fork.java()));
        words.addAll(Fork.SHORT_LIVED);
        words.addAll(List.of("-XX:AOTCache=" + aot, "-cp", System.getProperty("java.class.path"), "grader.Main"));
        var command = words.stream().map(ShortCut::quoted).collect(Collectors.joining(" "));
        var here = jars.stream().map(jar -> " && [ -r " + quoted(jar.toString()) + " ]").collect(Collectors.joining());
        var text = "[ -x " + quoted(Fork.java()) + " ]" + here + " && command=" + quoted(command) + "\n";
        // Written anew each time: the launcher trusts it only while it is newer than every source.
        var fresh = Files.writeString(Files.createTempFile(book.cache(), ".command", ""), text);
        Files.move(fresh, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }

    private static String quoted(String text) {
        return "'" + text.replace("'", "'\\''") + "'";
    }
}
