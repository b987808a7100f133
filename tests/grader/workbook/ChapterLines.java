package grader.workbook;

import module java.base;

/** The source of a chapter, line by line, for the book and for what students get of it. */
public final class ChapterLines {
    private ChapterLines() {}

    /** Blanks the section whose id ends in -solution, so that line numbers stay; returns the ids that went with it. */
    public static Set<String> cutSolution(List<String> lines) {
        int anchor = indexOf(lines, 0, line -> line.matches("\\[#[\\w-]+-solution\\b.*"));
        if (anchor == lines.size()) {
            return Set.of();
        }
        int heading = indexOf(lines, anchor, line -> line.startsWith("== "));
        int end = indexOf(lines, heading + 1, line -> line.startsWith("== "));
        while (end < lines.size() && end > heading && lines.get(end - 1).matches("\\[.*]|//.*|\\s*")) {
            end--;
        }
        var ids = new HashSet<String>();
        for (var line : lines.subList(anchor, end)) {
            Pattern.compile("\\[#([\\w-]+)").matcher(line).results().forEach(m -> ids.add(m.group(1)));
        }
        lines.subList(anchor, end).replaceAll(_ -> "");
        return ids;
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
