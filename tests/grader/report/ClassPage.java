package grader.report;

import module java.base;

import grader.grade.ClassResult;
import grader.grade.ClassResult.Mark;
import grader.report.Marks.Hardness;
import grader.report.Marks.StudentMark;
import grader.show.StepTree;
import grader.workbook.Workbook;

/**
 * {@code class.html}: one file with all that it needs, in the book's look, for the teacher. The hardest steps, a table
 * of students and steps, and for each cell of it what failed, which opens without a script: the policy in its head
 * lets nothing run that a submission may have smuggled in.
 */
final class ClassPage {
    private static final int SHOWN_AT_ONCE = 8;
    private static final int MOST_FAILED = 3;
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("d MMMM uuuu, HH:mm", Locale.ENGLISH);
    private static final Pattern FONT = Pattern.compile("url\\((fonts/[\\w.-]+\\.woff2)\\)");

    private final ClassResult result;
    private final Marks marks;

    private ClassPage(ClassResult result, Marks marks) {
        this.result = result;
        this.marks = marks;
    }

    static String of(ClassResult result, Marks marks) throws IOException {
        return new ClassPage(result, marks).page(style(Workbook.find()));
    }

    /** The book's sheet with its fonts inside, and what this page needs beyond it. */
    private static String style(Workbook book) throws IOException {
        var theme = book.root().resolve("book", "theme");
        var sheet = Files.readString(theme.resolve("book.css"));
        var style = new StringBuilder();
        int at = 0;
        for (var font : FONT.matcher(sheet).results().toList()) {
            var bytes = Base64.getEncoder().encodeToString(Files.readAllBytes(theme.resolve(font.group(1))));
            style.append(sheet, at, font.start()).append("url(data:font/woff2;base64,").append(bytes).append(')');
            at = font.end();
        }
        return style.append(sheet.substring(at))
                .append(Files.readString(book.root().resolve("tests", "grader", "report", "class.css"))).toString();
    }

    private String page(String style) {
        return """
                <!DOCTYPE html>
                <html lang="en" data-kind="class">
                <head>
                <meta charset="utf-8">
                <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
                font-src data:; base-uri 'none'; form-action 'none'">
                <meta name="viewport" content="width=device-width, initial-scale=1">
                <meta name="color-scheme" content="light dark">
                <title>%s</title>
                <style>
                %s</style>
                </head>
                <body>
                <a class="skip" href="#class">Skip to the table of students</a>
                <main>
                %s%s%s%s<footer class="foot"><p>Written by <code>jbang grade</code>. The file <code>class.json</code> \
                holds the same as data. Tests: <code>%s</code></p></footer>
                </main>
                </body>
                </html>
                """.formatted(Escaped.xml(title()), style, head(), hardest(), HeatMap.of(marks), students(),
                Escaped.xml(result.tests().substring(0, Math.min(12, result.tests().length()))));
    }

    private String title() {
        var numbers = marks.labs().stream().map(ClassResult.Lab::number).toList();
        return "Class report: " + switch (numbers.size()) {
            case 0 -> "no lab";
            case 1 -> "lab " + numbers.getFirst();
            default -> "labs " + String.join(", ", numbers.subList(0, numbers.size() - 1)) + " and "
                    + numbers.getLast();
        };
    }

    private String head() {
        var all = Mark.sum(marks.students().stream().map(StudentMark::mark));
        return """
                <header class="head">
                <h1>%s</h1>
                <p class="facts"><span>%s</span><span>%s of all points</span><span>%s UTC</span></p>
                %s</header>
                """.formatted(Escaped.xml(title()), StepTree.count(marks.students().size(), "student"), all.percent(),
                TIME.format(result.began().atOffset(ZoneOffset.UTC)), notes());
    }

    /** What the teacher should look at before anything else. */
    private String notes() {
        var notes = new StringBuilder();
        for (int i = 0; i < marks.students().size(); i++) {
            var student = marks.students().get(i);
            var own = new ArrayList<>(student.student().notes());
            student.ungraded().ifPresent(own::add);
            for (var note : own) {
                notes.append("<li><a href=\"#s%d\">%s</a>: %s</li>\n".formatted(i + 1,
                        Escaped.xml(student.student().name()), Escaped.xml(Escaped.line(note))));
            }
        }
        return notes.isEmpty() ? "" : """
                <section class="notes" aria-labelledby="notes">
                <h2 id="notes">To look at first</h2>
                <p>What was not graded counts neither for nor against a student. \
                Type the same command again: it grades only what is missing.</p>
                <ul>
                %s</ul>
                </section>
                """.formatted(notes);
    }

    private String hardest() {
        var steps = marks.hardest().stream().filter(Hardness::costsPoints).toList();
        if (steps.isEmpty()) {
            return "";
        }
        int first = Math.min(SHOWN_AT_ONCE, steps.size());
        var rest = steps.subList(first, steps.size());
        return """
                <section aria-labelledby="hardest">
                <h2 id="hardest">Where the class is stuck</h2>
                <p>The figures count the students whose file was checked.</p>
                %s%s</section>
                """.formatted(table("The hardest steps first", steps.subList(0, first)), rest.isEmpty() ? "" : """
                <details>
                <summary>%s of which points are missing</summary>
                <div class="content">
                %s</div>
                </details>
                """.formatted(StepTree.count(rest.size(), "more step"),
                table("The steps after those", rest)));
    }

    private static String table(String caption, List<Hardness> steps) {
        return """
                <div class="scroll" role="region" aria-label="%1$s" tabindex="0">
                <table class="tableblock hardest">
                <caption class="title">%1$s</caption>
                <thead><tr><th scope="col">Step</th><th scope="col">Points</th>\
                <th scope="col">Passed</th><th scope="col">Partly</th><th scope="col">Not passed</th>\
                <th scope="col">What fails most often</th></tr></thead>
                <tbody>
                %2$s</tbody>
                </table>
                </div>
                """.formatted(caption, steps.stream().map(ClassPage::row).collect(Collectors.joining()));
    }

    private static String row(Hardness step) {
        var failed = step.mostFailed().stream().limit(MOST_FAILED)
                .map(each -> "<li>%d × %s</li>".formatted(each.getValue(), Escaped.xml(each.getKey().title())))
                .collect(Collectors.joining());
        long passed = step.count(each -> each == Standing.PASSED);
        long partly = step.count(each -> each == Standing.PARTLY);
        return """
                <tr><th scope="row"><span class="number">%s.%d</span> %s</th><td class="share" style="--share: %d%%">\
                %s</td><td>%d</td><td>%d</td><td>%d</td><td>%s</td></tr>
                """.formatted(step.lab().number(), step.step().number(), Escaped.xml(step.step().title()),
                Math.round(100 * step.mark().share().orElse(0)), step.mark().percent(), passed, partly,
                step.count(Standing::isGraded) - passed - partly, failed.isEmpty() ? "" : "<ul>" + failed + "</ul>");
    }

    private String students() {
        var sections = new StringBuilder();
        for (int i = 0; i < marks.students().size(); i++) {
            sections.append(StudentSection.of(marks.students().get(i), i + 1));
        }
        return """
                <section class="students" aria-labelledby="students">
                <h2 id="students">Each student <small>Printed with the messages of those steps that were open on the \
                screen.</small></h2>
                %s</section>
                """.formatted(sections);
    }
}
