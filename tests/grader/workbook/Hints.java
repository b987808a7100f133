package grader.workbook;

import module java.base;

/** The three hints of each step, weak to strong, from {@code hints.adoc}: {@code == Step 2} and a list, an item a hint. */
public final class Hints {
    private static final Pattern STEP = Pattern.compile("== Step (\\d+)");

    private Hints() {}

    public static Map<Integer, List<String>> of(Lab lab) throws IOException {
        var hints = new TreeMap<Integer, List<String>>();
        var current = new ArrayList<String>();
        for (var line : Files.readAllLines(lab.tests().resolve("hints.adoc"))) {
            var step = STEP.matcher(line);
            if (step.matches()) {
                current = new ArrayList<>();
                hints.put(Integer.valueOf(step.group(1)), current);
            } else if (line.startsWith(". ")) {
                current.add(line.substring(2).strip());
            } else if (!line.isBlank() && !line.startsWith("//") && !current.isEmpty()) {
                current.set(current.size() - 1, current.getLast() + "\n" + (line.equals("+") ? "" : line.strip()));
            }
        }
        return hints;
    }
}
