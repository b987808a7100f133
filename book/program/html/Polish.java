package program.html;

import static program.html.Html.swap;

import module java.base;

import grader.workbook.Curriculum.Entry;

/** What Asciidoctor's HTML of one page still needs. */
public final class Polish {
    private Polish() {}

    public static String of(String html, Optional<Entry> lab) {
        html = html.replaceAll("</code>'(?=\\p{L})", "</code>&#8217;");     // Asciidoctor wants a letter before it
        html = stepKinds(html, lab);
        html = terminals(JavaColours.of(callouts(html)));
        return boxes(html);
    }

    private static String stepKinds(String html, Optional<Entry> lab) {
        return lab.isEmpty() ? html : swap("(<h3 id='step-(\\d)'>)(.*?)</h3>", html, m -> {
            int number = Integer.parseInt(m.group(2));
            boolean known = number >= 1 && number <= lab.get().steps().size();
            String kind = known && lab.get().steps().get(number - 1).further() ? "further" : "core";
            return m.group(1) + m.group(3) + " <span class='kind " + kind + "'>" + kind + "</span></h3>";
        });
    }

    /** The comment sign before a callout is for the compiler, the brackets around it for browsers without styles. */
    private static String callouts(String html) {
        html = swap("(?://|#)\\s*(?=<b class='conum'>)", html, "");
        return swap("<b class='conum'>\\((\\d+)\\)</b>", html, "<b class='conum'>$1</b>");
    }

    private static String terminals(String html) {
        return swap("(<code[^>]* data-lang='console'>)(.*?)(</code>)", html,
                m -> m.group(1) + terminal(m.group(2).split("\n", -1)) + m.group(3));
    }

    /**
     * Commands, output and verdicts are told apart; the copy button takes the commands. A row holds its own line end:
     * so a row that is too wide for paper can be a block, with what follows after the break indented.
     */
    private static String terminal(String[] lines) {
        var rows = new StringBuilder();
        boolean goesOn = false;
        boolean started = false;
        for (String line : lines) {
            boolean isCommand = line.startsWith("$ ") || goesOn;
            boolean isNote = !isCommand && !started && line.startsWith("# ");
            String row = isCommand ? command(line) : isNote ? "<span class='note'>" + line + "</span>" : verdicts(line);
            rows.append("<span class='row'>").append(row).append("\n</span>");
            goesOn = isCommand && line.endsWith("\\");
            started |= isCommand;
        }
        return rows.toString();
    }

    private static String command(String line) {
        return line.replaceFirst("^(\\$ )?(.*)$", "<span class='gp'>$1</span><span class='cmd'>$2</span>");
    }

    private static String verdicts(String line) {
        return line.replaceAll("\\b(pass|ok)(?=(\\s+\\d+/\\d+)?\\s*$)", "<span class='pass'>$1</span>")
                .replaceAll("\\b(FAIL|FAILED)(?=(\\s+\\d+/\\d+)?\\s*$)", "<span class='fail'>$1</span>")
                .replaceAll("\\b(to do)(?=\\s*$)", "<span class='todo'>$1</span>");
    }

    /** Tables may scroll, an empty cell heads nothing, a layout table is no table, a list of checks has a title. */
    private static String boxes(String html) {
        html = swap("<table class='(?:tableblock|labs)", html, "<div class='scroll'>$0");
        html = swap("(?<=</tbody>\n)</table>", html, "</table></div>");
        html = swap("<th( class='[^>]*)></th>", html, "<td$1></td>");
        html = swap("(<div class='admonitionblock \\w+'>\\s*)<table>", html, "$1<table role='presentation'>");
        html = swap("(<a class='anchor' href='[^>]+)></a>", html, "$1 aria-hidden='true' tabindex='-1'></a>");
        return swap("(<div class='ulist checks'>\\s*)<ul", html, "$1<div class='title'>The tests check</div>\n<ul");
    }
}
