package verify.lab;

import module java.base;

import grader.workbook.Lab;

/** What a chapter's source promises, read line by line. */
public record Chapter(List<String> lines) {
    static final List<String> SECTIONS = List.of("problem", "answer", "how", "go", "lab", "run", "mistakes",
            "solution", "library", "check", "sources");
    private static final Pattern VERBATIM = Pattern.compile("-{4,}|\\.{4,}|\\+{4,}|/{4,}");
    private static final Pattern NOT_TEXT = Pattern.compile("//|\\[.*]$|(include|ifdef|ifndef|endif|hints|api|labs)::");
    private static final Pattern SECTION_ID = Pattern.compile("\\[#(lab-\\d+-[a-z]+).*]");

    public static Chapter of(Lab lab) throws IOException {
        return new Chapter(Files.readAllLines(lab.chapter()));
    }

    /** The ids of the second-level sections, in order. */
    List<String> sections() {
        return IntStream.range(0, lines.size() - 1).filter(i -> lines.get(i + 1).startsWith("== "))
                .mapToObj(i -> SECTION_ID.matcher(lines.get(i))).filter(Matcher::matches)
                .map(id -> id.group(1)).toList();
    }

    String heading(int step) {
        return lines.get(place(step) + 1).replaceFirst("=+ ", "");
    }

    /** The items of the list that ends a step's section. */
    public List<String> checks(int step) {
        var section = lines.subList(place(step) + 2, lines.size());
        int checks = section.indexOf("[.checks]");
        return section.subList(checks + 1, section.size()).stream().dropWhile(String::isBlank)
                .takeWhile(line -> line.startsWith("* ")).map(line -> line.substring(2).strip()).toList();
    }

    /** The running text: without listings, drawings, comments and what is said to AsciiDoc alone. */
    public String prose() {
        var prose = new StringJoiner("\n");
        var delimiter = "";
        for (var line : lines) {
            if (!delimiter.isEmpty()) {
                delimiter = line.equals(delimiter) ? "" : delimiter;
            } else if (VERBATIM.matcher(line).matches()) {
                delimiter = line;
            } else if (!NOT_TEXT.matcher(line).lookingAt()) {
                prose.add(line);
            }
        }
        return prose.toString();
    }

    private int place(int step) {
        int place = lines.indexOf("[#step-" + step + "]");
        if (place < 0) {
            throw new AssertionError("the chapter has no [#step-" + step + "]");
        }
        return place;
    }
}
