package grader.show;

import module java.base;

import grader.grade.ClassResult.LabResult;
import grader.grade.ClassResult.Outcome;
import grader.grade.ClassResult.State;
import grader.grade.GradeListener;

/** How far grading has come: a bar with the time left on a terminal, else a line for each lab that is graded. */
public final class GradeProgress implements GradeListener {
    private static final int WIDTH = 24;

    private final PrintStream out;
    private final TerminalStyle style = TerminalStyle.ofTerminal();
    private final long began = System.nanoTime();
    private int all;
    private int done;

    public GradeProgress(PrintStream out) {
        this.out = out;
    }

    @Override
    public synchronized void began(int students, int labs) {
        all = labs;
        out.println(StepTree.count(students, "student") + ", " + StepTree.count(labs, "lab") + " to grade");
        out.flush();
    }

    @Override
    public synchronized void labBegan(String student, String lab) {
        bar(student + " " + lab);
    }

    @Override
    public synchronized void labEnded(String student, LabResult result) {
        done++;
        if (style.live()) {
            bar(student + " " + result.lab());
            if (done == all) {
                clear();
            }
        } else {
            out.printf("%d/%d  %s  %s  %s%n", done, all, student, result.lab(), told(result));
            out.flush();
        }
    }

    private static String told(LabResult result) {
        if (result.state() != State.GRADED) {
            return result.state().name().toLowerCase(Locale.ROOT).replace('_', ' ');
        }
        var checks = result.steps().stream().flatMap(step -> step.checks().stream()).toList();
        long passed = checks.stream().filter(check -> check.outcome() == Outcome.PASS).count();
        return passed + " of " + checks.size() + " checks";
    }

    /** What is wider than the terminal is cut by the terminal, not wrapped. */
    private void bar(String what) {
        if (style.live()) {
            int full = done * WIDTH / Math.max(1, all);
            out.print("\r\033[K\033[?7l  [" + "#".repeat(full) + ".".repeat(WIDTH - full) + "] " + done + "/" + all
                    + "  " + left() + "  " + what + "\033[?7h");
            out.flush();
        }
    }

    private String left() {
        if (done == 0) {
            return "";
        }
        var left = Duration.ofNanos((System.nanoTime() - began) / done * (all - done));
        return left.toMinutes() > 1 ? "about " + left.toMinutes() + " min left" : left.toSeconds() + " s left";
    }

    /** Takes the bar away. */
    public synchronized void clear() {
        if (style.live()) {
            out.print("\r\033[K");
            out.flush();
        }
    }
}
