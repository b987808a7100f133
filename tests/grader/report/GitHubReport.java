package grader.report;

import module java.base;

import grader.grade.ClassResult.Outcome;
import grader.grade.ClassResult.State;
import grader.report.Marks.CheckMark;
import grader.report.Marks.LabMark;
import grader.report.Marks.StepMark;
import grader.report.Marks.StudentMark;

/**
 * For GitHub Actions: a summary of the job in Markdown, and, for one submission, an annotation for each step that is
 * not passed, at the line where it failed. Students read both: of private checks they show the titles.
 */
final class GitHubReport {
    private static final int MOST_ANNOTATIONS = 10;   // GitHub shows no more of one step of a job
    private static final int LONGEST_SUMMARY = 900_000;   // GitHub takes 1 MiB
    private static final int LONGEST_MESSAGE = 4_000;

    private GitHubReport() {}

    static String summary(Marks marks) {
        return marks.students().size() == 1 ? ofOne(marks.students().getFirst()) : ofClass(marks);
    }

    private static String ofOne(StudentMark student) {
        var table = new StringBuilder("## %s points\n\n| Step | | Checks | Points |\n|---|---|---|---|\n"
                .formatted(student.mark()));
        var details = new StringBuilder("\n");
        for (var lab : student.labs()) {
            if (lab.state() != State.GRADED) {
                details.append(details(lab.lab().number() + " " + lab.lab().title(), StudentText.why(lab)));
            }
            for (var step : lab.steps()) {
                var title = "%s.%d %s".formatted(lab.lab().number(), step.step().number(), step.step().title());
                table.append("| %s | %s | %s | %s |\n".formatted(Escaped.markdown(title), step.standing().words,
                        Escaped.markdown(step.shortly()), Escaped.markdown(step.mark().toString())));
                if (step.checks().stream().anyMatch(check -> check.outcome() == Outcome.FAIL)) {
                    details.append(details(title, StudentText.of(step)));
                }
            }
        }
        return table + cut(details);
    }

    /** Folded, and literal: what begins with {@code <pre} is no Markdown up to its end. */
    private static String details(String title, String text) {
        var shown = text.substring(0, Math.min(LONGEST_MESSAGE, text.length()));
        return "<details><summary>%s</summary>\n\n<pre>%s</pre>\n</details>\n\n".formatted(
                Escaped.xml(title), Escaped.xml(shown));
    }

    private static String cut(StringBuilder details) {
        if (details.length() <= LONGEST_SUMMARY / 4) {   // a character is at most four bytes
            return details.toString();
        }
        int end = details.lastIndexOf("</details>", LONGEST_SUMMARY / 4) + "</details>".length();
        return details.substring(0, end) + "\n\nThe rest is in the log and in the report files.\n";
    }

    private static String ofClass(Marks marks) {
        var labs = marks.labs().stream().map(lab -> lab.number() + " |").collect(Collectors.joining(" "));
        var summary = new StringBuilder("| Student | Points | %s\n|---|---|%s\n".formatted(labs,
                "---|".repeat(marks.labs().size())));
        for (var student : marks.students()) {
            summary.append("| %s | %s | %s |\n".formatted(Escaped.markdown(student.student().name()),
                    Escaped.markdown(student.mark() + (student.isComplete() ? "" : " ?")),
                    student.labs().stream().map(lab -> cell(lab)).collect(Collectors.joining(" | "))));
        }
        summary.append("\nHardest steps:\n\n");
        marks.hardest().stream().filter(Marks.Hardness::costsPoints).limit(MOST_ANNOTATIONS).forEach(step ->
                summary.append("- %s\\.%d %s: %s\n".formatted(step.lab().number(), step.step().number(),
                        Escaped.markdown(step.step().title()), step.mark().percent())));
        return summary.toString();
    }

    private static String cell(LabMark lab) {
        return switch (lab.state()) {
            case GRADED -> Escaped.markdown(lab.mark().toString());
            case NOT_COMPILED -> Standing.NOT_COMPILED.words;
            case MISSING -> Standing.MISSING.words;
            case UNGRADED -> Standing.UNGRADED.words;
        };
    }

    /** Workflow commands, a line each. */
    static List<String> annotations(StudentMark student) {
        var all = new ArrayList<String>();
        for (var lab : student.labs()) {
            if (lab.state() == State.NOT_COMPILED || lab.state() == State.UNGRADED) {
                all.add(error(lab, 0, lab.lab().number() + " " + lab.lab().title(), StudentText.why(lab)));
            }
            for (var step : lab.steps()) {
                step.checks().stream().filter(check -> check.outcome() == Outcome.FAIL).findFirst()
                        .ifPresent(check -> all.add(failed(lab, step, check)));
            }
        }
        return all.subList(0, Math.min(MOST_ANNOTATIONS, all.size()));
    }

    private static String failed(LabMark lab, StepMark step, CheckMark check) {
        int line = StudentText.shown(check).map(result -> result.line()).orElse(0);
        return error(lab, line, "%s.%d %s".formatted(lab.lab().number(), step.step().number(), step.step().title()),
                check.check().title() + "\n" + StudentText.message(check));
    }

    private static String error(LabMark lab, int line, String title, String message) {
        var where = lab.result().file().isEmpty() ? ""
                : "file=" + Escaped.property(lab.result().file()) + (line > 0 ? ",line=" + line : "") + ",";
        return "::error %stitle=%s::%s".formatted(where, Escaped.property(title),
                Escaped.command(message.substring(0, Math.min(LONGEST_MESSAGE, message.length()))));
    }
}
