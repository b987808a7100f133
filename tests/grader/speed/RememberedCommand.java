package grader.speed;

import module java.base;

import grader.workbook.Workbook;

/**
 * The command line that started this program, left in {@code .workbook/cache/command} for the launcher: JBang's answer to
 * {@code test-401} stays the same until a source of the grader changes, and asking for it is a third of a check.
 *
 * <p>The file is what {@code java @file} reads. Its comments are for the launcher: the Java to run and the jars that must be
 * there, a line each.
 */
public final class RememberedCommand {
    /** Set by the {@code //RUNTIME_OPTIONS} of the grader's main class, so that no other program with this class is remembered. */
    private static final String SWITCH = "workbook.remember";

    private RememberedCommand() {}

    /**
     * Written anew each time: the launcher trusts the file only while it is newer than every source. So it is as old as this
     * JVM: a source that is saved during a long {@code watch} is newer.
     */
    public static void write(Workbook book) throws IOException {
        if (!Boolean.getBoolean(SWITCH)) {
            return;
        }
        var lines = new ArrayList<>(List.of("# " + Jvm.java()));
        Jvm.classPath().forEach(jar -> lines.add("# " + jar));
        lines.addAll(Jvm.SHORT_LIVED);
        lines.add("-D" + SWITCH + "=true");
        lines.add(quoted("-XX:AOTCache=" + AotCache.of(book).file()));
        lines.addAll(List.of("-cp", quoted(System.getProperty("java.class.path")), "grader.Main"));
        var fresh = Files.createTempFile(book.cache(), ".command", "");
        Files.write(fresh, lines);
        Files.setLastModifiedTime(fresh, FileTime.from(ProcessHandle.current().info().startInstant().orElseGet(Instant::now)));
        Files.move(fresh, book.cache().resolve("command"), StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }

    private static String quoted(String argument) {
        return '"' + argument.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }
}
