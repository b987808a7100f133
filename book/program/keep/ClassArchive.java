package program.keep;

import module java.base;
import module java.management;

/**
 * The class archive that JBang lets each new version of this program write at its first end ({@code //CDS}), 46 MB.
 * Later runs are started with it, and the one of the version before is worthless then.
 */
public final class ClassArchive {
    private static final String TO_WRITE = "-XX:ArchiveClassesAtExit=";
    private static final String TO_USE = "-XX:SharedArchiveFile=";
    private static final String REMEMBERED = "-Dworkbook.remember";

    private ClassArchive() {}

    /** The options of this JVM, as they are the next time. */
    public static List<String> options() {
        return ManagementFactory.getRuntimeMXBean().getInputArguments().stream()
                .filter(option -> !option.startsWith(REMEMBERED))
                .map(option -> option.replace(TO_WRITE, TO_USE)).toList();
    }

    /** Deletes the archive that a remembered command names, unless these options name it, too. */
    public static void deleteOther(Path remembered, List<String> options) throws IOException {
        if (!Files.exists(remembered)) {
            return;
        }
        for (String line : Files.readAllLines(remembered)) {
            String option = line.replace("\"", "");
            if (option.startsWith(TO_USE) && !options.contains(option)) {
                Files.deleteIfExists(Path.of(option.substring(TO_USE.length())));
            }
        }
    }
}
