package grader.check;

import module java.base;

/**
 * Files that a verdict rests on, and how they looked: size, time of the last change, and, on Unix, the time at which
 * the kernel saw the file changed, which no program can set back. A learner's program runs with the rights of whoever
 * checks it: it can write to these files, but not without being seen.
 */
public final class TrustedFiles {
    private static final boolean UNIX = FileSystems.getDefault().supportedFileAttributeViews().contains("unix");
    private static final String ATTRIBUTES = UNIX ? "unix:size,lastModifiedTime,ctime,ino" : "size,lastModifiedTime";

    private final SequencedMap<Path, String> looks = new LinkedHashMap<>();

    public static TrustedFiles of(Collection<Path> files) {
        var trusted = new TrustedFiles();
        files.forEach(file -> trusted.looks.put(file, look(file)));
        return trusted;
    }

    private static String look(Path file) {
        try {
            var attributes = new TreeMap<>(Files.readAttributes(file, ATTRIBUTES));
            return attributes.values().stream().map(Object::toString).collect(Collectors.joining(" "));
        } catch (IOException e) {
            return "missing";
        }
    }

    /** These, and those. */
    public TrustedFiles and(TrustedFiles others) {
        var all = new TrustedFiles();
        all.looks.putAll(looks);
        others.looks.forEach(all.looks::putIfAbsent);
        return all;
    }

    /** Those that look different now. */
    public List<Path> changed() {
        return looks.entrySet().stream().filter(each -> !look(each.getKey()).equals(each.getValue()))
                .map(Map.Entry::getKey).toList();
    }

    /** One line that is the same as long as no file has changed. */
    @Override
    public String toString() {
        return looksBelow(Path.of(""));
    }

    /** The same with paths that are relative to a folder, which may then move. */
    String looksBelow(Path folder) {
        var lines = new StringJoiner(" | ");
        looks.forEach((file, look) ->
                lines.add((file.startsWith(folder) ? folder.relativize(file) : file) + " " + look));
        return lines.toString();
    }
}
