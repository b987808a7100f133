package grader.report;

import module java.base;

import grader.grade.ClassResult.Lab;
import grader.grade.ClassResult.Mark;
import grader.grade.ClassResult.State;
import grader.report.Marks.LabMark;
import grader.report.Marks.StepMark;
import grader.report.Marks.StudentMark;

/**
 * Students × steps as a table. A colour never says alone how a step stands: the cell says it too. A cell that is not
 * all passed leads to what failed; the browser opens it there.
 */
final class HeatMap {
    /** As many columns of steps as fit on a page: more labs make a second table. */
    private static final int MOST_STEPS = 36;

    private final Marks marks;
    private final int from;
    private final int to;

    /** Labs {@code from}, inclusive, {@code to}, exclusive. */
    private HeatMap(Marks marks, int from, int to) {
        this.marks = marks;
        this.from = from;
        this.to = to;
    }

    static String of(Marks marks) {
        var tables = new StringBuilder();
        for (int from = 0; from < marks.labs().size(); ) {
            int to = from + 1;
            int steps = marks.labs().get(from).steps().size();
            while (to < marks.labs().size() && steps + marks.labs().get(to).steps().size() <= MOST_STEPS) {
                steps += marks.labs().get(to++).steps().size();
            }
            tables.append(new HeatMap(marks, from, to).table());
            from = to;
        }
        return """
                <section id="class" aria-labelledby="map">
                <h2 id="map">All students, all steps</h2>
                <p class="legend"><span class="heat full">✓</span> passed, <span class="heat part">3/5</span> checks \
                passed, <span class="heat none">0/5</span> no check passed, <span class="heat open">·</span> not \
                written yet. A cell that is not passed leads to what failed.</p>
                %s</section>
                """.formatted(tables);
    }

    private String table() {
        var labs = marks.labs().subList(from, to);
        var first = labs.getFirst().number();
        var name = labs.size() == 1 ? "Lab " + first : "Labs " + first + " to " + labs.getLast().number();
        return """
                <div class="scroll" role="region" aria-label="%1$s, all students" tabindex="0">
                <table class="map">
                <caption class="unseen">%1$s, all students</caption>
                <thead>
                <tr><th scope="col" rowspan="2">Student</th><th scope="col" rowspan="2">Points</th>%2$s</tr>
                <tr>%3$s</tr>
                </thead>
                <tbody>
                %4$s</tbody>
                <tfoot>
                <tr><th scope="row">All</th><td>%5$s</td>%6$s</tr>
                </tfoot>
                </table>
                </div>
                """.formatted(name, labs.stream().map(HeatMap::labHead).collect(Collectors.joining()),
                labs.stream().map(HeatMap::stepHeads).collect(Collectors.joining()), rows(),
                Mark.sum(marks.students().stream().map(StudentMark::mark)).percent(), shares());
    }

    private static String labHead(Lab lab) {
        return "<th scope=\"colgroup\" class=\"lab\" colspan=\"%d\"><span class=\"number\">%s</span> %s</th>".formatted(
                lab.steps().size(), lab.number(), Escaped.xml(lab.title()));
    }

    private static String stepHeads(Lab lab) {
        return lab.steps().stream().map(step ->
                "<th scope=\"col\" title=\"%1$s\">%2$d<span class=\"unseen\"> %1$s%3$s</span></th>".formatted(
                        Escaped.xml(step.title()), step.number(), step.further() ? ", further" : ""))
                .collect(Collectors.joining());
    }

    private String rows() {
        var rows = new StringBuilder();
        for (int i = 0; i < marks.students().size(); i++) {
            var student = marks.students().get(i);
            int id = i + 1;
            rows.append("<tr id=\"row%d-%d\"><th scope=\"row\"><a href=\"#s%d\">%s</a></th><td>%s%s</td>%s</tr>\n"
                    .formatted(from, id, id, Escaped.xml(student.student().name()), student.mark(),
                            student.isComplete() ? "" : " <span title=\"not all of it was graded\">?</span>",
                            student.labs().subList(from, to).stream().map(lab -> cells(lab, id))
                                    .collect(Collectors.joining())));
        }
        return rows.toString();
    }

    private static String cells(LabMark lab, int student) {
        var to = "s%d-%s".formatted(student, lab.lab().number());
        if (lab.state() == State.GRADED) {
            var cells = lab.steps().stream().map(step -> cell(step, to + "-" + step.step().number()))
                    .collect(Collectors.joining());
            return cells.replaceFirst("class=\"", "class=\"first ");
        }
        var inside = switch (lab.state()) {
            case MISSING -> Standing.MISSING.words;   // nothing to open
            case NOT_COMPILED -> link(to, Standing.NOT_COMPILED.words, "");
            default -> link(to, Standing.UNGRADED.words, "");
        };
        var look = switch (lab.state()) {
            case MISSING -> "open";
            case NOT_COMPILED -> "none";
            default -> "ungraded";
        };
        return "<td class=\"first heat %s\" colspan=\"%d\">%s</td>".formatted(look, lab.steps().size(), inside);
    }

    private static String cell(StepMark step, String to) {
        return switch (step.standing()) {
            case PASSED -> "<td class=\"heat full\">✓<span class=\"unseen\"> passed</span></td>";
            case PARTLY -> "<td class=\"heat part\" style=\"--share: %d%%\">%s</td>".formatted(
                    Math.round(100 * step.mark().share().orElse(0)), link(to, step.shortly(), ""));
            case FAILED -> "<td class=\"heat none\">%s</td>".formatted(link(to, step.shortly(), ""));
            case TO_DO -> "<td class=\"heat open\">%s</td>".formatted(link(to, "·", "to do"));
            default -> "<td class=\"heat ungraded\">%s</td>".formatted(link(to, "–", step.standing().words));
        };
    }

    private static String link(String to, String sign, String words) {
        return "<a href=\"#%s\">%s%s</a>".formatted(to, sign,
                words.isEmpty() ? "" : "<span class=\"unseen\"> " + words + "</span>");
    }

    /** How much of each step's points the class has. */
    private String shares() {
        var shares = new StringBuilder();
        for (int lab = from; lab < to; lab++) {
            for (int step = 0; step < marks.labs().get(lab).steps().size(); step++) {
                int l = lab;
                int s = step;
                var mark = Mark.sum(marks.students().stream().map(each -> each.labs().get(l).steps().get(s).mark()));
                shares.append("<td>").append(mark.percent().replace(" %", "")).append("</td>");
            }
        }
        return shares.toString();
    }
}
