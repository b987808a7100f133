package grader.handout;

import module java.base;

import grader.workbook.ChapterLines;

/**
 * A chapter's source without what students do not get: sections on the solution, what stands between
 * {@code ifndef::students[]} and {@code endif::[]}, and links to chapters that are not handed out. Lines that go are
 * left blank, so that line numbers stay; anchors and headings of a cut section stay too, because the book turns links
 * to them into plain text.
 */
final class StudentsChapter {
    private static final Pattern ANCHOR = Pattern.compile("\\[#.*|=+ .*");
    private static final Pattern LINK = Pattern.compile(
            "xref:([\\w-]+)\\.adoc(?:#[\\w-]+)?\\[([^\\]]*)]|<<([\\w-]+)\\.adoc(?:#[\\w-]+)?(?:,([^>]*))?>>");
    private static final Pattern INCLUDE = Pattern.compile("include::\\{root}/(.+?)\\[.*");

    private StudentsChapter() {}

    /** @param handedOut the names of the chapters that links may lead to, without ending */
    static List<String> of(Path chapter, Set<String> handedOut) throws IOException {
        var whole = Files.readAllLines(chapter);
        var lines = new ArrayList<>(whole);
        ChapterLines.cutSolution(lines);
        boolean isForTeachers = false;
        for (int i = 0; i < lines.size(); i++) {
            isForTeachers |= lines.get(i).equals("ifndef::students[]");
            var line = ANCHOR.matcher(whole.get(i)).matches() ? whole.get(i) : lines.get(i);
            lines.set(i, isForTeachers ? "" : withoutLinks(line, chapter, handedOut));
            isForTeachers &= !whole.get(i).equals("endif::[]");
        }
        return lines;
    }

    private static String withoutLinks(String line, Path chapter, Set<String> handedOut) {
        return LINK.matcher(line).replaceAll(link -> {
            var name = Objects.requireNonNullElse(link.group(1), link.group(3));
            var words = Objects.requireNonNullElse(link.group(2), Objects.requireNonNullElse(link.group(4), ""));
            return Matcher.quoteReplacement(handedOut.contains(name) ? link.group()
                    : words.isEmpty() ? title(chapter.resolveSibling(name + ".adoc")) : words);
        });
    }

    private static String title(Path chapter) {
        try (var lines = Files.lines(chapter)) {
            return lines.filter(line -> line.startsWith("= ")).findFirst().orElse("= " + chapter).substring(2);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The files that a chapter shows, from the root of the workbook. */
    static Set<String> includes(List<String> lines) {
        return lines.stream().map(INCLUDE::matcher).filter(Matcher::matches).map(include -> include.group(1))
                .collect(Collectors.toCollection(TreeSet::new));
    }
}
