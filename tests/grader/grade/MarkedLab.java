package grader.grade;

import module java.base;

import grader.check.TestPlan;
import grader.check.Verdict;
import grader.compile.CompileAdvice;
import grader.compile.Javac;
import grader.grade.ClassResult.CheckResult;
import grader.grade.ClassResult.LabResult;
import grader.grade.ClassResult.Outcome;
import grader.grade.ClassResult.State;
import grader.grade.ClassResult.StepResult;
import grader.workbook.Lab;

/**
 * A lab as it is marked: which of its steps count, and what a verdict is in the class's result.
 *
 * @param digest of its tests, and of how they are run
 */
record MarkedLab(Lab lab, ClassResult.Lab result, String digest) {
    private static final int MOST_OUTPUT = 4_000;
    private static final Pattern LINE = Pattern.compile("\\.java:(\\d+)");

    static MarkedLab of(TestPlan plan, boolean coreOnly, Weights weights, String digest) {
        var lab = plan.lab();
        var steps = plan.steps().stream().filter(step -> !coreOnly || !step.further())
                .map(step -> new ClassResult.Step(step.number(), step.title(), step.further(), plan.of(step).size(),
                        plan.of(step).stream().map(test -> new ClassResult.Check(test.id(), test.title(),
                                test.isPrivate())).toList())).toList();
        var result = new ClassResult.Lab(lab.number(), lab.slug(), plan.title(), lab.fileName(),
                weights.weigh(lab.number(), steps));
        return new MarkedLab(lab, result, digest);
    }

    int lastStep() {
        return result.steps().getLast().number();
    }

    LabResult missing() {
        return unchecked(State.MISSING, digest, "there is no " + lab.fileName(), "", 0);
    }

    /** Neither a pass nor 0 points. */
    LabResult ungraded(String why, String source) {
        return unchecked(State.UNGRADED, "", why, source, 0);
    }

    LabResult of(Verdict verdict, String digest) {
        var source = verdict.submission().text();
        if (!verdict.findings().isEmpty()) {
            var message = verdict.findings().stream().limit(3).map(MarkedLab::told).collect(Collectors.joining("\n"));
            return unchecked(State.NOT_COMPILED, digest, message, source, verdict.millis());
        }
        var steps = result.steps().stream().map(step -> new StepResult(step.number(),
                verdict.steps().get(step.number() - 1).tests().stream().map(MarkedLab::checked).toList())).toList();
        return new LabResult(lab.number(), State.GRADED, "", digest, verdict.trouble().orElse(""), source,
                verdict.millis(), steps);
    }

    private LabResult unchecked(State state, String digest, String message, String source, long millis) {
        var steps = result.steps().stream().map(step -> new StepResult(step.number(), step.checks().stream()
                .map(check -> new CheckResult(check.id(), Outcome.NOT_RUN, "", "", 0, "", 0)).toList())).toList();
        return new LabResult(lab.number(), state, "", digest, message, source, millis, steps);
    }

    private static CheckResult checked(Verdict.TestResult test) {
        var outcome = Outcome.valueOf(test.status().name());
        var line = LINE.matcher(test.place());
        return new CheckResult(test.test().id(), outcome, test.message(), test.place(),
                line.find() ? Integer.parseInt(line.group(1)) : 0, cut(test.output()), test.millis());
    }

    /** A class has many thousand checks, and reports show a few lines of each. */
    private static String cut(String output) {
        return output.length() <= MOST_OUTPUT ? output
                : output.substring(0, MOST_OUTPUT) + "\n(more was printed: cut here)";
    }

    /** As the screen tells it: the compiler's words, the line with a caret, and advice. */
    private static String told(Javac.Finding finding) {
        var text = new StringBuilder("%s:%d: %s".formatted(finding.file(), finding.line(), finding.message()));
        if (!finding.source().isBlank()) {
            var caret = " ".repeat((int) Math.max(0, finding.column() - 1)) + "^";
            text.append("\n    ").append(finding.source().replace('\t', ' ')).append("\n    ").append(caret);
        }
        CompileAdvice.on(finding.message()).ifPresent(advice -> text.append("\n    ").append(advice));
        return text.toString();
    }
}
