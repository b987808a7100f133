package program.keep;

import module java.base;

import program.read.Edition;

/**
 * A note of all that {@code book/build} was made from and of all that was written there, with times and sizes: while
 * they are the same, there is nothing to do. It is looked at first of all, so that to open the book takes no time.
 */
public final class Made {
    /** How exactly file systems tell times, in milliseconds: those that tell whole seconds may count by two. */
    private static final long FINE = 20;
    private static final long COARSE = 2_000;

    private final Edition edition;
    private final Path note;
    private final long start = System.currentTimeMillis();

    public Made(Edition edition) {
        this.edition = edition;
        note = edition.kept().resolve("made");
    }

    public boolean isCurrent() throws IOException {
        if (!edition.isBuild() || !Files.exists(note)) {
            return false;
        }
        List<String> lines = Files.readAllLines(note);
        for (String line : lines.subList(1, lines.size())) {
            if (!line.equals(stamp(edition.file(line.substring(line.indexOf('\t') + 1))))) {
                return false;
            }
        }
        return lines.getFirst().equals(maker());
    }

    /** Which edition it is, and of which program. */
    private String maker() throws IOException {
        return edition.name() + " " + stamp(program());
    }

    /** The jar that JBang has made of this program. */
    static Path program() {
        return Path.of(URI.create(Made.class.getProtectionDomain().getCodeSource().getLocation().toString()));
    }

    private static String stamp(Path file) throws IOException {
        String stamp = "none";
        if (Files.exists(file)) {
            var attributes = Files.readAttributes(file, BasicFileAttributes.class);
            long size = attributes.isDirectory() ? 0 : attributes.size();
            stamp = attributes.lastModifiedTime().toMillis() + " " + size;
        }
        return stamp + "\t" + file;
    }

    /** A file this young may have been changed since it was read: its stamp is one that fits no file. */
    private String stampOfSource(Path file) throws IOException {
        long time = Files.exists(file) ? Files.getLastModifiedTime(file).toMillis() : 0;
        long tick = time % 1_000 == 0 ? COARSE : FINE;
        return time > start - tick ? "young\t" + file : stamp(file);
    }

    /** A book with problems is made anew each time, so that they are told each time. */
    public void note(Set<Path> sources, List<Path> written, boolean isWell) throws IOException {
        Files.deleteIfExists(note);
        if (!edition.isBuild() || !isWell || !edition.keeps()) {
            return;
        }
        List<String> lines = new ArrayList<>(List.of(maker()));
        for (Path source : all(sources)) {
            lines.add(stampOfSource(source));
        }
        for (Path page : written) {
            lines.add(stamp(page));
        }
        Files.write(note, lines);
    }

    /** A folder is one of them: its time changes when a file comes or goes. */
    private Set<Path> all(Set<Path> sources) throws IOException {
        var all = new TreeSet<>(sources);
        all.add(edition.file("book/curriculum.json"));
        all.add(edition.file("solutions"));
        for (String folder : List.of("book/chapters", "book/theme")) {
            try (var files = Files.walk(edition.file(folder))) {
                files.forEach(all::add);
            }
        }
        return all;
    }
}
