package verify.lab;

import module java.base;

import grader.workbook.Lab;

/** What a chapter's source promises, read line by line. */
record Chapter(List<String> lines) {
    static final List<String> SECTIONS = List.of("problem", "answer", "how", "go", "lab", "run", "mistakes", "solution", "library", "check", "sources");
    private static final Pattern SECTION_ID = Pattern.compile("\\[#(lab-\\d+-[a-z]+).*]");

    static Chapter of(Lab lab) throws IOException {
        return new Chapter(Files.readAllLines(lab.chapter()));
    }

    /** The ids of the second-level sections, in order. */
    List<String> sections() {
        return IntStream.range(0, lines.size() - 1).filter(i -> lines.get(i + 1).startsWith("== "))
                .mapToObj(i -> SECTION_ID.matcher(lines.get(i))).filter(Matcher::matches).map(id -> id.group(1)).toList();
    }

    String heading(int step) {
        return lines.get(place(step) + 1).replaceFirst("=+ ", "");
    }

    /** The items of the list that ends a step's section. */
    List<String> checks(int step) {
        var section = lines.subList(place(step) + 2, lines.size());
        int checks = section.indexOf("[.checks]");
        return section.subList(checks + 1, section.size()).stream().dropWhile(String::isBlank).takeWhile(line -> line.startsWith("* "))
                .map(line -> line.substring(2).strip()).toList();
    }

    private int place(int step) {
        int place = lines.indexOf("[#step-" + step + "]");
        if (place < 0) {
            throw new AssertionError("the chapter has no [#step-" + step + "]");
        }
        return place;
    }
}
