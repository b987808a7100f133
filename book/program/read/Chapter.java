package program.read;

import module java.base;

import grader.workbook.ChapterLines;

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
                Set<String> cut = edition.students() ? ChapterLines.cutSolution(lines) : Set.of();
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

    /** The first line, counted from 1, that contains the text; 1 where none does. */
    public int lineOf(String text) {
        int at = ChapterLines.indexOf(lines, 0, line -> line.contains(text));
        return at < lines.size() ? at + 1 : 1;
    }
}
