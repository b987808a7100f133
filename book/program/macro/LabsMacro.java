package program.macro;

import module java.base;

import grader.workbook.Curriculum.Entry;
import org.asciidoctor.ast.StructuralNode;
import org.asciidoctor.extension.BlockMacroProcessor;
import program.read.Course;

/** {@code labs::[]}: all labs by theme. */
public final class LabsMacro extends BlockMacroProcessor {
    private final Course course;

    public LabsMacro(Course course) {
        super("labs");
        this.course = course;
    }

    @Override
    public StructuralNode process(StructuralNode parent, String target, Map<String, Object> attributes) {
        var html = new StringBuilder("""
                <table class="labs">
                <thead><tr><th scope="col">Lab</th><th scope="col">Level</th><th scope="col">Core</th>\
                <th scope="col">Further</th><th scope="col">Read first</th></tr></thead>
                """);
        course.themes().forEach((letter, theme) -> {
            html.append("<tbody data-theme='%s'><tr class='theme'>".formatted(letter));
            html.append("<th colspan='5' scope='rowgroup'>%s</th></tr>\n".formatted(theme));
            course.labsOf(letter).forEach(lab -> html.append(row(lab)));
            html.append("</tbody>\n");
        });
        return createBlock(parent, "pass", html + "</table>");
    }

    private String row(Entry lab) {
        String title = course.isHere(lab)
                ? "<a href='%s.html'>%s</a>".formatted(lab.slug(), lab.title())
                : lab.title() + " <small class='to-come'>to come</small>";
        String level = "<span class='level' data-level='%d'>%s</span>"
                .formatted(lab.level(), Course.level(lab));
        String readFirst = lab.readFirst().stream().map(String::valueOf).collect(Collectors.joining(", "));
        return """
                <tr><th scope="row"><span class="number">%d</span> %s</th>
                <td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>
                """.formatted(lab.number(), title, level, Course.hours(lab.coreHours()),
                Course.hours(lab.furtherHours()), readFirst.isEmpty() ? "nothing" : readFirst);
    }
}
