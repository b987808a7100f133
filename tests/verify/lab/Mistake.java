package verify.lab;

import module java.base;

import com.github.difflib.UnifiedDiffUtils;
import com.github.difflib.patch.PatchFailedException;
import grader.workbook.Lab;

/**
 * A known wrong answer: a patch against the solution without its tags, under a head that says what it gets wrong.
 *
 * @param step the step that must reject it
 * @param says words that the failure's message must hold; between « | » stand those of several tests, where luck
 *             decides which one tells
 */
public record Mistake(String name, String misconception, int step, String says, List<String> patch) {
    public static List<Mistake> of(Lab lab) throws IOException {
        try (var files = Files.list(lab.tests().resolve("mistakes"))) {
            var mistakes = new ArrayList<Mistake>();
            for (var file : files.filter(each -> each.toString().endsWith(".patch")).sorted().toList()) {
                var lines = Files.readAllLines(file);
                mistakes.add(new Mistake(file.getFileName().toString(), head(lines, "misconception: ", file),
                        Integer.parseInt(head(lines, "rejected-by: step ", file)), head(lines, "says: ", file), lines));
            }
            return mistakes;
        }
    }

    private static String head(List<String> lines, String key, Path file) {
        return lines.stream().filter(line -> line.startsWith(key)).findFirst()
                .orElseThrow(() -> new AssertionError(file.getFileName() + " has no line «" + key + "…»"))
                .substring(key.length()).strip();
    }

    boolean isToldIn(String message) {
        return Stream.of(says.split(" \\| ")).anyMatch(message::contains);
    }

    /** Lines may have moved, but what the patch replaces must still be there. */
    public String applied(String solution) {
        try {
            var lines = UnifiedDiffUtils.parseUnifiedDiff(patch).applyFuzzy(solution.lines().toList(), 0);
            return String.join("\n", lines) + "\n";
        } catch (PatchFailedException e) {
            throw new AssertionError(name + " no longer applies to the solution: " + e.getMessage(), e);
        }
    }
}
