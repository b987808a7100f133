package grader.show;

import module java.base;

import grader.workbook.Curriculum;
import grader.workbook.Lab;
import grader.workbook.Progress;
import grader.workbook.Workbook;

/** All labs, a line each, and what was reached in them. */
public final class ProgressList {
    private ProgressList() {}

    public static void print(Workbook book, PrintStream out) throws IOException {
        var progress = new Progress(book);
        var here = book.labs().stream().collect(Collectors.toMap(Lab::slug, lab -> lab));
        for (var entry : Curriculum.read(book).labs()) {
            if (here.containsKey(entry.slug())) {
                out.println(line(entry, progress.of(here.get(entry.slug()))));
            } else {
                out.printf("  %d  %-24s to come%n", entry.number(), entry.title());
            }
        }
    }

    private static String line(Curriculum.Entry lab, Progress.Entry reached) {
        int all = lab.steps().size();
        var steps = IntStream.rangeClosed(1, all).mapToObj(step -> reached.passed().contains(step) ? "#" : ".")
                .collect(Collectors.joining());
        long core = lab.steps().stream().filter(step -> !step.further()).count();
        long corePassed = reached.passed().stream().filter(step -> step <= core).count();
        var best = reached.best() > reached.passed().size() ? " (once " + reached.best() + ")" : "";
        return "  %d  %-24s %-8s %d of %d steps%s, core %d of %d".formatted(lab.number(), lab.title(), steps,
                reached.passed().size(), all, best, corePassed, core);
    }

    /** The first lab, in the order of the course, of which not every step was passed when it was last checked. */
    public static Optional<Lab> firstUnsolved(Workbook book) throws IOException {
        var progress = new Progress(book);
        var curriculum = Curriculum.read(book);
        for (var lab : book.labs()) {
            if (progress.of(lab).passed().size() < curriculum.of(lab).steps().size()) {
                return Optional.of(lab);
            }
        }
        return Optional.empty();
    }
}
