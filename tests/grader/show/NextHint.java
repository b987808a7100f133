package grader.show;

import module java.base;

import grader.workbook.CannotCheck;
import grader.workbook.Curriculum;
import grader.workbook.Hints;
import grader.workbook.Lab;
import grader.workbook.Progress;

/** The hint that comes next: each is remembered as shown, and after the last the first comes again. */
public final class NextHint {
    private static final int WIDTH = 96;

    private NextHint() {}

    /** @param asked the step, or empty for the first that was not passed when the lab was last checked */
    public static String of(Lab lab, OptionalInt asked) throws IOException {
        var progress = new Progress(lab.book());
        var reached = progress.of(lab);
        var steps = Curriculum.read(lab.book()).of(lab).steps();
        int step = asked.orElseGet(() -> IntStream.rangeClosed(1, steps.size())
                .filter(number -> !reached.passed().contains(number)).findFirst().orElse(steps.size()));
        var hints = Hints.of(lab).get(step);
        if (hints == null) {
            throw new CannotCheck("lab " + lab.number() + " has steps 1 to " + steps.size() + ", no step " + step);
        }
        int next = reached.hints().getOrDefault(step, 0) % hints.size();
        progress.hintShown(lab, step, next + 1);
        var text = "hint %d of %d: %s".formatted(next + 1, hints.size(), hints.get(next));
        return "Lab %s, step %d: %s\n".formatted(lab.number(), step, steps.get(step - 1).title())
                + text.lines().map(NextHint::wrapped).collect(Collectors.joining("\n"));
    }

    /** A line of prose, broken at spaces; code, which is indented, stays as it is. */
    private static String wrapped(String line) {
        var lines = new StringBuilder();
        var rest = line;
        while (rest.length() > WIDTH && !rest.startsWith(" ") && rest.lastIndexOf(' ', WIDTH) > 0) {
            int end = rest.lastIndexOf(' ', WIDTH);
            lines.append(rest, 0, end).append('\n');
            rest = rest.substring(end + 1);
        }
        return lines + rest;
    }
}
