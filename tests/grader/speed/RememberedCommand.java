package grader.speed;

import module java.base;

import grader.workbook.Workbook;

/**
 * The command line that started a program, left in {@code .workbook/cache} for the launcher: JBang's answer to
 * {@code test-401} or {@code book} stays the same until a source of the program changes, and asking for it takes longer
 * than many a run.
 *
 * <p>The file is what {@code java @file} reads. Its comments are for the launcher: the Java to run and the jars that
 * must be there, a line each.
 */
public final class RememberedCommand {
    /**
     * Set by the {@code //RUNTIME_OPTIONS} of a main class: only what JBang has started, or this file, is remembered.
     */
    private static final String SWITCH = "workbook.remember";

    private RememberedCommand() {}

    public static Path file(Workbook book, String name) {
        return book.cache().resolve(name);
    }

    /**
     * Written anew each time: the launcher trusts the file only while it is newer than every source. So it is as old as
     * this JVM: a source that is saved during a long {@code watch} is newer.
     *
     * @param name of the file
     */
    public static void write(Workbook book, String name, List<String> jvmOptions, String mainClass) throws IOException {
        if (!Boolean.getBoolean(SWITCH) || !Files.isDirectory(book.cache())) {
            return;
        }
        var lines = new ArrayList<>(List.of("# " + Jvm.java()));
        Jvm.classPath().forEach(jar -> lines.add("# " + jar));
        jvmOptions.forEach(option -> lines.add(quoted(option)));
        lines.add("-D" + SWITCH + "=true");
        lines.addAll(List.of("-cp", quoted(System.getProperty("java.class.path")), mainClass));
        var fresh = Files.createTempFile(book.cache(), ".command", "");
        Files.write(fresh, lines);
        var began = ProcessHandle.current().info().startInstant().orElseGet(Instant::now);
        Files.setLastModifiedTime(fresh, FileTime.from(began));
        Files.move(fresh, file(book, name), StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }

    private static String quoted(String argument) {
        return '"' + argument.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }
}
