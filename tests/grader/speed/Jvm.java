package grader.speed;

import module java.base;

/** How this workbook starts Java machines. */
public final class Jvm {
    /**
     * For a JVM that lives for a few seconds: the small compiler, the small collector, and eight megabytes for what is
     * new. With more, every object lies in memory that was never touched before, and to get that from the system is a
     * fifth of a check. {@code -Xlog} keeps the JVM's own warnings off standard output, where a program or a person
     * would read them.
     */
    public static final List<String> SHORT_LIVED =
            List.of("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmn8m", "-Xlog:disable");

    private Jvm() {}

    /** The program that runs this JVM. */
    public static String java() {
        return Path.of(System.getProperty("java.home"), "bin", "java").toString();
    }

    public static List<Path> classPath() {
        return Stream.of(System.getProperty("java.class.path").split(File.pathSeparator)).map(Path::of).toList();
    }
}
