package program.keep;

import module java.base;

import com.fasterxml.jackson.databind.ObjectMapper;
import program.read.Chapter;
import program.read.Edition;

/**
 * The renderings of all chapters: those of earlier runs, kept in {@code .workbook/cache/book}, and those of this run.
 * Beside each of them is a list of the files that it was made from, with their hashes. It is good as long as these are
 * the same, and the context as well: what all chapters depend on, which is this program, the curriculum, and the names
 * of the chapters. Several renderers may put theirs at the same time.
 */
public final class Renderings {
    private static final String SOURCES = ".sources";
    private static final String BODY = ".json";

    private final Edition edition;
    private final Path folder;
    private final String context;
    private final Map<String, Rendering> renderings = new HashMap<>();    // by the name of the chapter
    private final Map<String, Set<String>> sources = new HashMap<>();
    private final Map<String, String> hashes = new HashMap<>();

    public Renderings(Edition edition, List<Chapter> chapters) throws IOException {
        this.edition = edition;
        folder = edition.kept().resolve(edition.name());
        context = edition.root() + " " + hash(Made.program().toString()) + " " + hash("book/curriculum.json") + " "
                + Chapter.names(chapters);
    }

    /** What a file contains, in short; "none" where there is no such file. */
    private String hash(String path) throws IOException {
        String known = hashes.get(path);
        if (known == null) {
            known = Files.exists(edition.file(path)) ? digest(Files.readAllBytes(edition.file(path))) : "none";
            hashes.put(path, known);
        }
        return known;
    }

    private static String digest(byte[] content) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content), 0, 16);
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);    // every JDK has it
        }
    }

    /** Those whose rendering was not kept, or is no longer what would come out. */
    public List<Chapter> stale(List<Chapter> chapters) throws IOException {
        List<Chapter> stale = new ArrayList<>();
        for (Chapter chapter : chapters) {
            if (!isCurrent(chapter)) {
                stale.add(chapter);
            }
        }
        return stale;
    }

    private boolean isCurrent(Chapter chapter) throws IOException {
        Path list = folder.resolve(chapter.name() + SOURCES);
        if (!Files.exists(list) || !Files.exists(folder.resolve(chapter.name() + BODY))) {
            return false;
        }
        List<String> lines = Files.readAllLines(list);
        if (!lines.getFirst().equals(context)) {
            return false;
        }
        Set<String> files = new TreeSet<>();
        for (String line : lines.subList(1, lines.size())) {
            String file = line.substring(line.indexOf(' ') + 1);
            if (!line.equals(hash(file) + " " + file)) {
                return false;
            }
            files.add(file);
        }
        sources.put(chapter.name(), files);
        return true;
    }

    /** Reads those that are current. */
    public synchronized void read() throws IOException {
        var json = new ObjectMapper();
        for (String name : sources.keySet()) {
            renderings.put(name, json.readValue(folder.resolve(name + BODY).toFile(), Rendering.class));
        }
    }

    /** Takes a new rendering, and keeps it for the next run if it {@code lasts}. */
    public synchronized void put(Chapter chapter, Rendering rendering, Set<Path> files, boolean lasts)
            throws IOException {
        Set<String> paths = new TreeSet<>();
        files.forEach(file -> paths.add(edition.root().relativize(file).toString()));
        renderings.put(chapter.name(), rendering);
        sources.put(chapter.name(), paths);
        Path list = folder.resolve(chapter.name() + SOURCES);
        Files.deleteIfExists(list);
        if (lasts && edition.keeps()) {
            Files.createDirectories(folder);
            new ObjectMapper().writeValue(folder.resolve(chapter.name() + BODY).toFile(), rendering);
            List<String> lines = new ArrayList<>(List.of(context));
            for (String path : paths) {
                lines.add(hash(path) + " " + path);
            }
            Files.write(list, lines);
        }
    }

    public Rendering of(Chapter chapter) {
        return renderings.get(chapter.name());
    }

    /** All files that the chapters are made from. */
    public Set<Path> sources() {
        return sources.values().stream().flatMap(Set::stream).map(edition::file)
                .collect(Collectors.toCollection(TreeSet::new));
    }
}
