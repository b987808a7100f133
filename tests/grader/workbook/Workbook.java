package grader.workbook;

import module java.base;

/**
 * The folders of one workbook.
 *
 * @param root  holds {@code jbang-catalog.json}, {@code labs}, {@code tests} and the rest
 * @param state holds what the grader keeps between runs: caches and progress
 */
public record Workbook(Path root, Path state) {
    private static final Pattern SLUG = Pattern.compile("4\\d\\d-[a-z0-9-]+");
    private static final Pattern RANGE = Pattern.compile("4\\d\\d-4\\d\\d");
    private static final String TEST = "Test.java";

    /** The workbook around the current folder, or else the one whose launcher was called. */
    public static Workbook find() {
        for (var dir = Path.of("").toAbsolutePath(); dir != null; dir = dir.getParent()) {
            if (isRoot(dir)) {
                return at(dir);
            }
        }
        var launched = System.getenv("WORKBOOK_ROOT");
        if (launched != null && isRoot(Path.of(launched))) {
            return at(Path.of(launched));
        }
        throw new CannotCheck("this folder is not inside the workbook: "
                + "change into the folder you cloned, and try again");
    }

    private static boolean isRoot(Path dir) {
        return Files.isRegularFile(dir.resolve("jbang-catalog.json")) && Files.isDirectory(dir.resolve("tests", "kit"));
    }

    /** State lies in {@code .workbook}, or, where the workbook may not be written, in the user's cache. */
    private static Workbook at(Path root) {
        var inside = root.resolve(".workbook");
        if (Files.isWritable(inside) || !Files.exists(inside) && Files.isWritable(root)) {
            return new Workbook(root, inside);
        }
        return new Workbook(root, userCache().resolve("state-" + Integer.toHexString(root.hashCode())));
    }

    private static Path userCache() {
        return Stream.of(System.getenv("WORKBOOK_CACHE"), System.getProperty("user.home") + "/.cache/workbook",
                        System.getProperty("java.io.tmpdir") + "/workbook-" + System.getProperty("user.name"))
                .filter(Objects::nonNull).map(Path::of)
                .filter(Workbook::canBeMade).findFirst()
                .orElseThrow(() -> new CannotCheck("no folder can be written to: set WORKBOOK_CACHE to one that can"));
    }

    private static boolean canBeMade(Path dir) {
        try {
            return Files.isWritable(Files.createDirectories(dir));
        } catch (IOException e) {
            return false;
        }
    }

    public Path cache() {
        return state.resolve("cache");
    }

    /**
     * All labs that are here, by number. A folder without a test class is a lab that somebody has only begun: it is
     * none yet.
     */
    public List<Lab> labs() throws IOException {
        try (var dirs = Files.list(root.resolve("tests"))) {
            return dirs.map(dir -> dir.getFileName().toString()).filter(name -> SLUG.matcher(name).matches()).sorted()
                    .flatMap(slug -> bySlug(slug).stream()).toList();
        }
    }

    /** A lab by its number or its slug. */
    public Lab lab(String asked) throws IOException {
        return labs().stream().filter(lab -> lab.slug().equals(asked) || lab.number().equals(asked)).findFirst()
                .orElseThrow(() -> new CannotCheck(
                        "there is no lab " + asked + " here; " + jbang() + " progress lists the labs"));
    }

    /**
     * The labs of these numbers or slugs, in this order; all labs where none is named. {@code 401-405} are those from
     * 401 to 405 that are here.
     */
    public List<Lab> labs(List<String> asked) throws IOException {
        var found = new LinkedHashSet<Lab>();
        for (var each : asked) {
            found.addAll(RANGE.matcher(each).matches() ? range(each) : List.of(lab(each)));
        }
        return asked.isEmpty() ? labs() : List.copyOf(found);
    }

    private List<Lab> range(String asked) throws IOException {
        var ends = asked.split("-");
        var found = labs().stream().filter(lab -> lab.number().compareTo(ends[0]) >= 0
                && lab.number().compareTo(ends[1]) <= 0).toList();
        if (found.isEmpty()) {
            throw new CannotCheck("no lab from " + ends[0] + " to " + ends[1] + " is here");
        }
        return found;
    }

    private Optional<Lab> bySlug(String slug) {
        try (var files = Files.list(root.resolve("tests", slug))) {
            return files.map(file -> file.getFileName().toString()).filter(name -> name.endsWith(TEST))
                    .sorted().findFirst()
                    .map(test -> new Lab(this, slug, test.substring(0, test.length() - TEST.length())));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** A path inside this workbook, from its root. */
    public String path(Path file) {
        return root.relativize(file).toString().replace('\\', '/');
    }

    /** A path as a reader can use it: from the root of the workbook for who is in the workbook, else as it is. */
    public String shown(Path file) {
        var absolute = file.toAbsolutePath().normalize();
        boolean isInside = absolute.startsWith(root) && Path.of("").toAbsolutePath().startsWith(root);
        return isInside ? path(absolute) : file.toString().replace('\\', '/');
    }

    /** CI, or a maintainer, asks for everything: then nothing may be left out. */
    public static boolean requiresAll() {
        return "all".equals(System.getenv("WORKBOOK_REQUIRE"));
    }

    /** A path as it is typed in a shell. */
    public static String typed(Path file) {
        var path = file.toString();
        return path.matches("[\\w./+-]+") ? path : "'" + path.replace("'", "'\\''") + "'";
    }

    /**
     * What the reader types for JBang: {@code ./jbang} where this workbook's launcher was called; already quoted where
     * need be.
     */
    public static String jbang() {
        return Objects.requireNonNullElse(System.getenv("WORKBOOK_JBANG"), "jbang");
    }
}
