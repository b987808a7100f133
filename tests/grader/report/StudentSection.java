package grader.report;

import module java.base;

import grader.grade.ClassResult.LabResult;
import grader.grade.ClassResult.Outcome;
import grader.grade.ClassResult.State;
import grader.report.Marks.CheckMark;
import grader.report.Marks.LabMark;
import grader.report.Marks.StepMark;
import grader.report.Marks.StudentMark;

/** What failed in one submission, step by step: messages, what was printed, and the lines that are meant. */
final class StudentSection {
    private static final int LINES_AROUND = 4;
    private static final int MOST_OUTPUT = 2_000;
    private static final int LONGEST_LINE = 300;

    private final StudentMark student;
    private final int id;

    private StudentSection(StudentMark student, int id) {
        this.student = student;
        this.id = id;
    }

    static String of(StudentMark student, int id) {
        return new StudentSection(student, id).section();
    }

    private String section() {
        var notes = student.student().notes().stream().map(note -> "<p>" + Escaped.xml(Escaped.line(note)) + "</p>\n")
                .collect(Collectors.joining());
        return """
                <section id="s%d" class="student">
                <h3>%s</h3>
                <p class="marks">%s points, %s <a href="#row0-%d">back to the table</a></p>
                %s%s</section>
                """.formatted(id, Escaped.xml(student.student().name()), student.mark(), student.mark().percent(), id,
                notes, student.labs().stream().map(this::lab).collect(Collectors.joining()));
    }

    private String lab(LabMark lab) {
        var head = "<h4><span class=\"number\">%s</span> %s <small>%s</small></h4>\n".formatted(lab.lab().number(),
                Escaped.xml(lab.lab().title()),
                lab.mark().of() == 0 ? lab.state() == State.GRADED ? Standing.SKIPPED.words : Standing.UNGRADED.words
                        : lab.mark() + " points");
        var place = "s%d-%s".formatted(id, lab.lab().number());
        return head + switch (lab.state()) {
            case MISSING -> "<p>%s</p>\n".formatted(Escaped.xml(StudentText.why(lab)));
            case NOT_COMPILED -> folded(place, Standing.NOT_COMPILED.words,
                    pre(StudentText.why(lab)) + lines(lab.result(), lineIn(lab)));
            case UNGRADED -> folded(place, Standing.UNGRADED.words, pre(StudentText.why(lab)));
            case GRADED -> early(lab.result()) + lab.steps().stream()
                    .filter(step -> step.standing() != Standing.PASSED)
                    .map(step -> step(step, lab, place)).collect(Collectors.joining());
        };
    }

    private static String early(LabResult lab) {
        return lab.message().isEmpty() ? "" : "<p>The run ended early: %s</p>\n".formatted(
                Escaped.xml(Escaped.line(lab.message())));
    }

    private static String step(StepMark step, LabMark lab, String place) {
        var failed = step.checks().stream().filter(check -> check.outcome() == Outcome.FAIL)
                .map(check -> check(check, lab.result())).collect(Collectors.joining());
        var rest = Stream.of(Outcome.TODO, Outcome.NOT_RUN, Outcome.SKIPPED, Outcome.PASS)
                .map(outcome -> list(outcome, step, lab.result())).collect(Collectors.joining());
        var head = "<span class=\"number\">%d</span> %s <small>%s</small>".formatted(step.step().number(),
                Escaped.xml(step.step().title()), step.shortly());
        return folded(place + "-" + step.step().number(), head, failed + rest);
    }

    /** Closed until it is wanted. A link to what is inside opens it, so the id is not the element's own. */
    private static String folded(String id, String head, String inside) {
        return """
                <details>
                <summary>%s</summary>
                <div class="content" id="%s">
                %s</div>
                </details>
                """.formatted(head, id, inside);
    }

    private static String check(CheckMark check, LabResult lab) {
        var result = check.result();
        var printed = result.output().stripTrailing();
        var shown = printed.substring(0, Math.min(MOST_OUTPUT, printed.length()));
        return """
                <h5>%s%s</h5>
                %s%s%s""".formatted(Escaped.xml(check.check().title()),
                check.check().isPrivate() ? " <span class=\"kind\">private</span>" : "",
                pre(StudentText.messageAndPlace(result)), lines(lab, result.line()),
                printed.isEmpty() ? "" : "<p class=\"title\">The program printed%s:</p>\n%s".formatted(
                        printed.length() > shown.length() ? " (the beginning; the rest is in class.json)" : "",
                        pre(shown)));
    }

    /** The checks of a step that ended like this, in one paragraph, and the line of a TODO. */
    private static String list(Outcome outcome, StepMark step, LabResult lab) {
        var checks = step.checks().stream().filter(check -> check.outcome() == outcome).toList();
        if (checks.isEmpty()) {
            return "";
        }
        var words = switch (outcome) {
            case TODO -> "To do";
            case NOT_RUN -> "Not run";
            case SKIPPED -> "Skipped on this machine";
            default -> "Passed";
        };
        var titles = checks.stream().map(check -> Escaped.xml(title(check))).collect(Collectors.joining("; "));
        int todo = checks.getFirst().result().line();
        return "<p><strong>%s:</strong> %s</p>\n%s".formatted(words, titles,
                outcome == Outcome.TODO ? lines(lab, todo) : "");
    }

    private static String title(CheckMark check) {
        var why = check.outcome() == Outcome.SKIPPED ? check.result().message() : "";
        return check.check().title() + (why.isEmpty() ? "" : " (" + why + ")");
    }

    private static String pre(String text) {
        return "<pre>" + Escaped.xml(text.lines().map(StudentSection::cut).collect(Collectors.joining("\n")))
                + "</pre>\n";
    }

    private static String cut(String line) {
        return line.length() <= LONGEST_LINE ? line : line.substring(0, LONGEST_LINE) + "…";
    }

    /** The line that the compiler names first; 0 where it names none. */
    private static int lineIn(LabMark lab) {
        var named = Pattern.compile(Pattern.quote(lab.lab().fileName()) + ":(\\d{1,6})\\b")
                .matcher(lab.result().message());
        return named.find() ? Integer.parseInt(named.group(1)) : 0;
    }

    /** The student's lines around one, which is marked. */
    private static String lines(LabResult lab, int line) {
        var source = lab.source().lines().toList();
        if (line < 1 || line > source.size()) {
            return "";
        }
        int first = Math.max(1, line - LINES_AROUND);
        int last = Math.min(source.size(), line + LINES_AROUND);
        var rows = IntStream.rangeClosed(first, last).mapToObj(each ->
                "<span class=\"%s\">%s%5d  %s\n</span>".formatted(each == line ? "here" : "near",
                        each == line ? "&gt;" : " ", each, Escaped.xml(cut(source.get(each - 1)))))
                .collect(Collectors.joining());
        return "<pre class=\"lines\"><code>" + rows + "</code></pre>\n";
    }
}
