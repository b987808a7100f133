package grader.show;

import module java.base;

import grader.workbook.CannotCheck;
import grader.workbook.Curriculum;
import grader.workbook.Hints;
import grader.workbook.Lab;
import grader.workbook.Progress;

/** The hint that comes next: each is remembered as shown, and after the last the first comes again. */
public final class NextHint {
    private NextHint() {}

    /** @param asked the step, or empty for the first that was not passed when the lab was last checked */
    public static String of(Lab lab, OptionalInt asked) throws IOException {
        var progress = new Progress(lab.book());
        var reached = progress.of(lab);
        var steps = Curriculum.read(lab.book()).of(lab).steps();
        int step = asked.orElseGet(() -> IntStream.rangeClosed(1, steps.size()).filter(n -> !reached.passed().contains(n)).findFirst().orElse(steps.size()));
        var hints = Hints.of(lab).get(step);
        if (hints == null) {
            throw new CannotCheck("lab " + lab.number() + " has steps 1 to " + steps.size() + ", no step " + step);
        }
        int next = reached.hints().getOrDefault(step, 0) % hints.size();
        progress.hintShown(lab, step, next + 1);
        return "Lab %s, step %d: %s\nhint %d of %d: %s".formatted(lab.number(), step, steps.get(step - 1).title(), next + 1, hints.size(), hints.get(next));
    }
}
