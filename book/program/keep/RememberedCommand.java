package program.keep;

import module java.base;
import module java.management;

import grader.speed.Jvm;
import grader.workbook.Workbook;

/**
 * The command line that started this program, left in {@code .workbook/cache/book-command}: what JBang answers to
 * {@code jbang book} stays the same until a source of this program changes, and to ask it takes longer than most runs.
 * The file is what {@code java @file} reads. Its comments name the Java and the jars that must be there, a line each.
 */
public final class RememberedCommand {
    /** Set by the {@code //RUNTIME_OPTIONS} of the main class: only what JBang has started is remembered. */
    private static final String SWITCH = "book.remember";
    private static final String ARCHIVE_TO_WRITE = "-XX:ArchiveClassesAtExit=";
    private static final String ARCHIVE = "-XX:SharedArchiveFile=";

    private RememberedCommand() {}

    public static void write(Workbook workbook) throws IOException {
        if (!Boolean.getBoolean(SWITCH) || !Files.isDirectory(workbook.cache())) {
            return;
        }
        List<String> lines = new ArrayList<>(List.of("# " + Jvm.java()));
        Jvm.classPath().forEach(jar -> lines.add("# " + jar));
        for (String option : ManagementFactory.getRuntimeMXBean().getInputArguments()) {
            if (!option.startsWith("-D" + SWITCH)) {
                lines.add(quoted(option.replace(ARCHIVE_TO_WRITE, ARCHIVE)));
            }
        }
        lines.addAll(List.of("-cp", quoted(System.getProperty("java.class.path")), "program.Book"));
        Path remembered = workbook.cache().resolve("book-command");
        deleteArchive(remembered, lines);
        Path fresh = Files.createTempFile(workbook.cache(), ".command", "");
        Files.write(fresh, lines);
        // As old as this JVM: a source that was saved since is newer.
        Files.setLastModifiedTime(fresh, FileTime.from(
                ProcessHandle.current().info().startInstant().orElseGet(Instant::now)));
        Files.move(fresh, remembered, StandardCopyOption.ATOMIC_MOVE);
    }

    /** The class archive of an older version of this program is worthless, and 46 MB. */
    private static void deleteArchive(Path remembered, List<String> lines) throws IOException {
        if (!Files.exists(remembered)) {
            return;
        }
        for (String line : Files.readAllLines(remembered)) {
            if (line.startsWith('"' + ARCHIVE) && !lines.contains(line)) {
                Files.deleteIfExists(Path.of(line.substring(1 + ARCHIVE.length(), line.length() - 1)));
            }
        }
    }

    private static String quoted(String argument) {
        return '"' + argument.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }
}
