package program.read;

import module java.base;

/**
 * A chapter's source.
 *
 * @param cutIds the places in it that the students' edition does not have
 */
public record Chapter(String name, Path file, List<String> lines, Set<String> cutIds) {
    private static final String ENDING = ".adoc";

    /** All chapters in the order of reading: the front page, the labs, the rest. */
    public static List<Chapter> all(Edition edition) throws IOException {
        List<Chapter> chapters = new ArrayList<>();
        try (var files = Files.newDirectoryStream(edition.file("book/chapters"), "*" + ENDING)) {
            for (Path file : files) {
                List<String> lines = Files.readAllLines(file);
                Set<String> cut = edition.students() ? cutSolution(lines) : Set.of();
                chapters.add(new Chapter(file.getFileName().toString().replace(ENDING, ""), file, lines, cut));
            }
        }
        chapters.sort(Comparator.comparing(Chapter::place).thenComparing(Chapter::name));
        return chapters;
    }

    public static Set<String> names(List<Chapter> chapters) {
        return chapters.stream().map(Chapter::name).collect(Collectors.toCollection(TreeSet::new));
    }

    private int place() {
        return switch (name) {
            case "index" -> 0;
            case "teachers" -> 2;
            case "glossary" -> 3;
            default -> 1;
        };
    }

    /** Blanks the section whose id ends in -solution, so that line numbers stay; returns the ids that went with it. */
    private static Set<String> cutSolution(List<String> lines) {
        int anchor = indexOf(lines, 0, line -> line.matches("\\[#[\\w-]+-solution\\b.*"));
        if (anchor == lines.size()) {
            return Set.of();
        }
        int heading = indexOf(lines, anchor, line -> line.startsWith("== "));
        int end = indexOf(lines, heading + 1, line -> line.startsWith("== "));
        while (end < lines.size() && end > heading && lines.get(end - 1).matches("\\[.*]|//.*|\\s*")) {
            end--;
        }
        Set<String> ids = new HashSet<>();
        for (String line : lines.subList(anchor, end)) {
            Pattern.compile("\\[#([\\w-]+)").matcher(line).results().forEach(m -> ids.add(m.group(1)));
        }
        lines.subList(anchor, end).replaceAll(_ -> "");
        return ids;
    }

    /** The first line, counted from 1, that contains the text; 1 where none does. */
    public int lineOf(String text) {
        int at = indexOf(lines, 0, line -> line.contains(text));
        return at < lines.size() ? at + 1 : 1;
    }

    /** Where the first such line is; the number of lines where there is none. */
    public static int indexOf(List<String> lines, int from, Predicate<String> wanted) {
        int i = from;
        while (i < lines.size() && !wanted.test(lines.get(i))) {
            i++;
        }
        return Math.min(i, lines.size());
    }
}
