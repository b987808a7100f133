package grader.workbook;

import module java.base;

/**
 * The three hints of each step, weak to strong, from {@code hints.adoc}: {@code == Step 2} and a list, an item a hint.
 * Code of more than a few words stands in a listing: a continuation ({@code +}), {@code [source,java]} and lines
 * between {@code ----}.
 */
public final class Hints {
    private static final Pattern STEP = Pattern.compile("== Step (\\d+)");
    private static final String FENCE = "----";
    private static final String INDENT = "    ";

    private Hints() {}

    /** By step; the lines of a listing are indented. */
    public static Map<Integer, List<String>> of(Lab lab) throws IOException {
        var hints = new TreeMap<Integer, List<String>>();
        var current = new ArrayList<String>();
        boolean isListing = false;
        for (var line : Files.readAllLines(lab.tests().resolve("hints.adoc"))) {
            var step = STEP.matcher(line);
            if (line.equals(FENCE)) {
                isListing = !isListing;
            } else if (isListing) {
                append(current, INDENT + line);
            } else if (step.matches()) {
                current = new ArrayList<>();
                hints.put(Integer.valueOf(step.group(1)), current);
            } else if (line.startsWith(". ")) {
                current.add(line.substring(2).strip());
            } else if (!line.isBlank() && !line.equals("+") && !line.startsWith("//") && !line.startsWith("[source")) {
                append(current, line.strip());
            }
        }
        return hints;
    }

    private static void append(List<String> hints, String line) {
        if (!hints.isEmpty()) {
            hints.set(hints.size() - 1, hints.getLast() + "\n" + line);
        }
    }
}
