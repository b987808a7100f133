package grader;

import module java.base;

import grader.Verdict.Status;
import grader.Verdict.StepResult;
import grader.Verdict.TestResult;

/** The step tree on a screen: a line a step as it ends, and the first step that is not passed in full. */
final class Terminal implements CheckListener {
    private static final int MOST_OUTPUT_LINES = 12;

    private final PrintStream out;
    private final Style style;
    private LabTests tests;
    private Source source;
    private int done;
    private boolean told;

    Terminal(PrintStream out) {
        this.out = out;
        style = Style.ofTerminal();
    }

    @Override
    public void began(LabTests tests, Source source) {
        this.tests = tests;
        this.source = source;
        told = false;
        var lab = tests.lab();
        out.printf("%s%n", style.bold("Lab %s  %-34s".formatted(lab.number(), tests.title())) + style.faint(lab.book().shown(source.file())));
    }

    @Override
    public void stepBegan(LabTests.Step step) {
        done = 0;
        if (style.live()) {
            progress(step, "");
        }
    }

    @Override
    public void testBegan(Verdict.Expected test) {
        if (style.live()) {
            progress(tests.steps().get(test.step() - 1), test.title());
        }
    }

    @Override
    public void testEnded(TestResult result) {
        done++;
    }

    /** One line that is written over until the step has ended. */
    private void progress(LabTests.Step step, String test) {
        var line = "  %d  %-44s %d/%d  %s".formatted(step.number(), step.title(), done, tests.of(step).size(), test);
        out.print("\r\033[K" + line.substring(0, Math.min(line.length(), 79)));
        out.flush();
    }

    @Override
    public void stepEnded(StepResult result) {
        if (style.live()) {
            out.print("\r\033[K");
        }
        var step = result.step();
        out.printf("  %d  %-44s %s%n", step.number(), step.title(), mark(result));
        if (!result.passed() && !told) {
            told = true;
            if (result.status() == Status.TODO) {
                todo(step);
            } else {
                result.tests().stream().filter(test -> test.status() == Status.FAIL).findFirst().ifPresent(this::failure);
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

    private void todo(LabTests.Step step) {
        var todo = source.todo(step.number()).orElseThrow();
        out.printf("     %s:%d%n       %s%n", source.lab().book().shown(source.file()), todo.line(), todo.text());
        out.printf("     write it, delete the TODO line, then type: %s test-%s%n", Workbook.jbang(), source.lab().number());
    }

    private void failure(TestResult test) {
        out.println("     " + style.bold(test.test().title()));
        test.message().lines().forEach(line -> out.println("       " + line));
        test.place().lines().forEach(line -> out.println("       " + line));
        var printed = test.output().lines().toList();
        if (!printed.isEmpty()) {
            out.println("       your program printed:");
            printed.stream().limit(MOST_OUTPUT_LINES).forEach(line -> out.println("         " + style.plain(line)));
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
        if (System.getenv("WORKBOOK_TIMING") != null) {
            out.println("  tests alone %d ms".formatted(verdict.steps().stream().flatMap(step -> step.tests().stream()).mapToLong(TestResult::millis).sum()));
        }
        out.flush();
    }

    private void findings(Verdict verdict) {
        var shown = source.lab().book().shown(source.file());
        for (var finding : verdict.findings().subList(0, Math.min(3, verdict.findings().size()))) {
            out.printf("  %s:%d: %s%n", shown, finding.line(), finding.message().lines().collect(Collectors.joining("\n      ")));
            if (!finding.source().isBlank()) {
                out.printf("      %s%n      %s^%n", finding.source().replace('\t', ' '), " ".repeat((int) Math.max(0, finding.column() - 1)));
            }
            Advice.on(finding.message()).ifPresent(advice -> out.println("      " + advice));
        }
        out.printf("  it does not compile yet (%s), so no step was checked%n", count(verdict.findings().size(), "error"));
        out.flush();
    }

    private String summary(Verdict verdict) {
        long core = tests.steps().stream().filter(step -> !step.further()).count();
        long corePassed = verdict.steps().stream().filter(step -> !step.step().further() && step.passed()).count();
        return "%d of %d checks, %d of %d steps (core %d of %d), %s s".formatted(verdict.points(), tests.tests().size(),
                verdict.stepsPassed(), tests.steps().size(), corePassed, core,
                new BigDecimal(verdict.millis()).movePointLeft(3).setScale(1, RoundingMode.HALF_UP));
    }

    private String next(Verdict verdict) {
        var lab = tests.lab();
        var chapter = lab.book().root().resolve("book", "build", lab.slug() + ".html");
        var place = verdict.next().map(step -> "#step-" + step.step().number()).orElse("");
        var read = Files.exists(chapter) ? lab.book().shown(chapter) + place : lab.book().shown(lab.chapter());
        return verdict.next().isPresent()
                ? "next: %s hint %s     chapter: %s".formatted(Workbook.jbang(), lab.number(), read)
                : "all steps pass     compare: solutions/%s     chapter: %s".formatted(lab.slug(), read);
    }

    static String count(long many, String what) {
        return many + " " + what + (many == 1 ? "" : "s");
    }
}
