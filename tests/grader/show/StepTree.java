package grader.show;

import module java.base;

import grader.check.CheckListener;
import grader.check.Submission;
import grader.check.TestPlan;
import grader.check.Verdict;
import grader.check.Verdict.Status;
import grader.check.Verdict.StepResult;
import grader.check.Verdict.TestResult;
import grader.compile.CompileAdvice;
import grader.workbook.Lab;
import grader.workbook.Workbook;

/** The step tree on a screen: a line a step as it ends, and the first step that is not passed in full. */
public final class StepTree implements CheckListener {
    private static final int MOST_OUTPUT_LINES = 12;
    private static final int MOST_FINDINGS = 3;

    private final PrintStream out;
    private final TerminalStyle style;
    private final boolean times;
    private TestPlan plan;
    private Submission submission;
    private int done;
    private boolean told;

    /** @param times also say how long the tests took, step by step */
    public StepTree(PrintStream out, boolean times) {
        this.out = out;
        this.times = times;
        style = TerminalStyle.ofTerminal();
    }

    /** To be shown at once: the first line of a result may take a while. */
    public void checking(Lab lab) {
        var line = "checking lab " + lab.number() + " …";
        if (style.live()) {
            live(line);
        } else {
            out.println(line);
        }
        out.flush();
    }

    @Override
    public void began(TestPlan plan, Submission submission) {
        this.plan = plan;
        this.submission = submission;
        told = false;
        clear();
        var headline = "Lab %s  %-34s".formatted(plan.lab().number(), plan.title());
        out.println(style.bold(headline) + style.faint(shownFile()));
    }

    private String shownFile() {
        return plan.lab().book().shown(submission.file());
    }

    @Override
    public void stepBegan(TestPlan.Step step) {
        done = 0;
        progress(step, "");
    }

    @Override
    public void testBegan(Verdict.Expected test) {
        progress(plan.steps().get(test.step() - 1), test.title());
    }

    @Override
    public void testEnded(TestResult result) {
        done++;
    }

    private void progress(TestPlan.Step step, String test) {
        if (style.live()) {
            live("  %d  %-44s %d/%d  %s".formatted(step.number(), step.title(), done, plan.of(step).size(), test));
        }
    }

    /** One line that is written over; what is wider than the terminal is cut by the terminal, not wrapped. */
    private void live(String line) {
        out.print("\r\033[K\033[?7l" + line + "\033[?7h");
        out.flush();
    }

    private void clear() {
        if (style.live()) {
            out.print("\r\033[K");
        }
    }

    @Override
    public void stepEnded(StepResult result) {
        clear();
        var step = result.step();
        out.printf("  %d  %-44s %s%s%n", step.number(), step.title(), mark(result), times ? time(result) : "");
        if (!result.passed() && !told) {
            told = true;
            if (result.status() == Status.TODO) {
                todo(step);
            } else {
                result.tests().stream().filter(test -> test.status() == Status.FAIL).findFirst()
                        .ifPresent(this::failure);
            }
        }
        result.tests().stream().filter(test -> test.status() == Status.SKIPPED)
                .forEach(test -> out.printf("     not checked here: %s (%s)%n", test.test().title(), test.message()));
    }

    private String mark(StepResult result) {
        var points = result.points() + "/" + result.tests().size();
        return switch (result.status()) {
            case PASS -> style.green("pass   ") + points;
            case SKIPPED -> style.yellow("skipped");
            case FAIL -> style.red("FAIL   ") + points;
            case TODO -> style.yellow("to do");
            case NOT_RUN -> style.faint("not checked yet");
        };
    }

    private static String time(StepResult result) {
        return "   %,d ms".formatted(result.tests().stream().mapToLong(TestResult::millis).sum());
    }

    private void todo(TestPlan.Step step) {
        submission.todo(step.number()).ifPresent(todo -> {
            out.printf("     %s:%d%n       %s%n", shownFile(), todo.line(), todo.text());
            out.printf("     write it, delete the TODO line, then type: %s test-%s%s%n", Workbook.jbang(),
                    plan.lab().number(), submission.isOwn() ? "" : " " + Workbook.typed(submission.file()));
        });
    }

    private void failure(TestResult test) {
        out.println("     " + style.bold(test.test().title()));
        test.message().lines().forEach(line -> out.println("       " + line));
        test.place().lines().forEach(line -> out.println("       " + line));
        var printed = test.output().lines().toList();
        if (!printed.isEmpty()) {
            out.println("       your program printed:");
            printed.stream().limit(MOST_OUTPUT_LINES)
                    .forEach(line -> out.println("         " + TerminalStyle.cut(line)));
            if (printed.size() > MOST_OUTPUT_LINES) {
                out.printf("         … and %,d lines more%n", printed.size() - MOST_OUTPUT_LINES);
            }
        }
    }

    @Override
    public void ended(Verdict verdict) {
        if (!verdict.findings().isEmpty()) {
            findings(verdict);
            return;
        }
        verdict.trouble().ifPresent(why -> out.println("  " + style.red("the run ended early: ") + why));
        out.println("  " + summary(verdict));
        out.println("  " + next(verdict));
        if (times) {
            out.printf("  the tests alone %,d ms%n", verdict.testMillis());
        }
        out.flush();
    }

    private void findings(Verdict verdict) {
        for (var finding : verdict.findings().stream().limit(MOST_FINDINGS).toList()) {
            var message = finding.message().lines().collect(Collectors.joining("\n      "));
            out.printf("  %s:%d: %s%n", shownFile(), finding.line(), message);
            if (!finding.source().isBlank()) {
                var indent = " ".repeat((int) Math.max(0, finding.column() - 1));
                out.printf("      %s%n      %s^%n", finding.source().replace('\t', ' '), indent);
            }
            CompileAdvice.on(finding.message()).ifPresent(advice -> out.println("      " + advice));
        }
        var why = verdict.submission().refusal().isPresent() ? "it was not compiled"
                : "it does not compile yet (" + count(verdict.findings().size(), "error") + ")";
        out.println("  " + why + ", so no step was checked");
        out.flush();
    }

    private String summary(Verdict verdict) {
        long core = plan.steps().stream().filter(step -> !step.further()).count();
        long corePassed = verdict.steps().stream().filter(step -> !step.step().further() && step.passed()).count();
        return "%d of %d checks, %d of %d steps (core %d of %d), %s s".formatted(verdict.points(), plan.tests().size(),
                verdict.stepsPassed(), plan.steps().size(), corePassed, core,
                new BigDecimal(verdict.millis()).movePointLeft(3).setScale(1, RoundingMode.HALF_UP));
    }

    private String next(Verdict verdict) {
        var lab = plan.lab();
        var chapter = lab.book().root().resolve("book", "build", lab.slug() + ".html");
        var place = verdict.next().map(step -> "#step-" + step.step().number()).orElse("");
        var read = "chapter: "
                + (Files.exists(chapter) ? lab.book().shown(chapter) + place : lab.book().shown(lab.chapter()));
        if (verdict.next().isPresent()) {   // progress knows nothing of somebody else's file
            var step = submission.isOwn() ? "" : " " + verdict.next().get().step().number();
            return "next: " + Workbook.jbang() + " hint " + lab.number() + step + "     " + read;
        }
        var compare = Files.exists(lab.solution()) ? "compare: solutions/" + lab.slug() + "     " : "";
        return "all steps pass     " + compare + read;
    }

    /** {@code 1 error}, {@code 2 errors}. */
    public static String count(long many, String what) {
        return many + " " + what + (many == 1 ? "" : "s");
    }
}
