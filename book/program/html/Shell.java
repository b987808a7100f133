package program.html;

import static program.html.Html.text;

import module java.base;

import grader.workbook.Curriculum.Entry;
import program.read.Course;
import program.read.Edition;

/** What is around each page: head, contents of the book and of the page, the pages before and after. */
public final class Shell {
    private final Edition edition;
    private final Course course;

    public Shell(Edition edition, Course course) {
        this.edition = edition;
        this.course = course;
    }

    /** Puts the shell around each page. */
    public Map<Page, String> around(List<Page> pages) throws IOException {
        String shell = Files.readString(edition.file("book/theme/page.html"));
        Map<Page, String> finished = new LinkedHashMap<>();
        for (int i = 0; i < pages.size(); i++) {
            Page before = i == 0 ? null : pages.get(i - 1);
            Page after = i == pages.size() - 1 ? null : pages.get(i + 1);
            finished.put(pages.get(i), fill(shell, pages, pages.get(i), before, after));
        }
        return finished;
    }

    private String fill(String shell, List<Page> pages, Page page, Page before, Page after) {
        Optional<Entry> lab = course.lab(page.name());
        boolean front = page.isFront();
        String book = pages.getFirst().title();
        return shell.replace("%PAGE-TITLE%", text(front ? book : page.title() + " - " + book))
                .replace("%BOOK%", book)
                .replace("%KIND%", front ? "front" : lab.isPresent() ? "lab" : "plain")
                .replace("%THEME%", lab.map(Entry::theme).orElse("none"))
                .replace("%NAV%", navigation(pages, page))
                .replace("%TOC%", tableOfContents(page))
                .replace("%HEAD%", front ? cover(page) : head(page, lab))
                .replace("%REFERRING%", lab.map(_ -> referring(pages, page)).orElse(""))
                .replace("%TURN%", turn("prev", "Previous", before) + turn("next", "Next", after))
                .replace("%EDITION%", edition.students() ? "Students' edition, without the solutions." : "")
                .replace("%BODY%", page.body());
    }

    private String navigation(List<Page> pages, Page here) {
        var html = new StringBuilder("<ul class='plain'>" + entry(pages.getFirst(), "Start here", here) + "</ul>\n");
        course.themes().forEach((letter, theme) -> {
            html.append("<h2 data-theme='%s'>%s</h2>\n<ul data-theme='%s'>".formatted(letter, theme, letter));
            course.labsOf(letter).forEach(lab -> html.append(navigationEntry(pages, here, lab)));
            html.append("</ul>\n");
        });
        if (course.curriculum().labs().stream().anyMatch(lab -> !course.isHere(lab))) {
            html.append("<p class='to-come' aria-hidden='true'>Grey: still to come.</p>\n");
        }
        html.append("<h2>Beside the labs</h2>\n<ul class='plain'>");
        pages.stream().skip(1).filter(page -> course.lab(page.name()).isEmpty())
                .forEach(page -> html.append(entry(page, page.title(), here)));
        return html.append("</ul>").toString();
    }

    private String navigationEntry(List<Page> pages, Page here, Entry lab) {
        String name = "<span class='number'>%d</span> %s".formatted(lab.number(), lab.title());
        return pages.stream().filter(page -> page.name().equals(lab.slug())).findFirst()
                .map(page -> entry(page, name, here))
                .orElse("<li class='to-come'>" + name + "<span class='unseen'> (to come)</span></li>\n");
    }

    private static String entry(Page page, String name, Page here) {
        String current = page == here ? " aria-current='page'" : "";
        return "<li><a href='%s'%s>%s</a></li>\n".formatted(page.href(), current, name);
    }

    private static String tableOfContents(Page page) {
        if (page.headings().size() < 2) {
            return "";
        }
        String entries = page.headings().stream()
                .map(h -> "<li class='level%d'><a href='#%s'>%s</a></li>\n".formatted(h.level(), h.id(), h.title()))
                .collect(Collectors.joining());
        return "<nav class='toc' aria-label='On this page'><h2>On this page</h2><ul>\n" + entries + "</ul></nav>\n";
    }

    private String head(Page page, Optional<Entry> lab) {
        String title = "<h1 id='%s'>%s</h1>\n".formatted(page.id(), page.title());
        return "<header class='head'>\n" + lab.map(l -> """
                <p class='above'><a href='index.html#labs'>%s</a></p>
                <p class='lab-number' aria-hidden='true'>%d</p>
                %s<p class='facts'><span class='unseen'>Lab %d</span>
                <span>%s</span> <span>core %s</span> <span>further %s</span></p>
                """.formatted(course.themes().get(l.theme()), l.number(), title, l.number(),
                Course.level(l), Course.hours(l.coreHours()), Course.hours(l.furtherHours()))).orElse(title)
                + "</header>";
    }

    /** The cover: the labs as fields of one packet, a row of 32 bits for each theme. */
    private String cover(Page page) {
        var rows = new StringBuilder();
        course.themes().forEach((letter, theme) -> {
            rows.append("<li data-theme='%s'><span class='unseen'>%s</span><ul>".formatted(letter, theme));
            course.labsOf(letter).forEach(lab -> rows.append("<li>%s</li>".formatted(fieldOf(lab))));
            rows.append("</ul></li>\n");
        });
        return """
                <header class="cover">
                <h1 id="%s">%s</h1>
                <p class="ruler" aria-hidden="true">
                <span>0</span><span>8</span><span>16</span><span>24</span><span>31</span></p>
                <ul class="packet-rows" aria-label="The labs by theme">
                %s</ul>
                </header>""".formatted(page.id(), page.title(), rows);
    }

    private String fieldOf(Entry lab) {
        String name = "<span class='number'>%d</span> <span class='name'>%s</span>"
                .formatted(lab.number(), lab.title());
        return course.isHere(lab) ? "<a href='%s.html'>%s</a>".formatted(lab.slug(), name)
                : "<span class='to-come'>" + name + "</span>";
    }

    private String turn(String rel, String label, Page page) {
        if (page == null) {
            return "";
        }
        return "<a rel='%s' class='%s' href='%s'><small>%s</small> %s</a>\n"
                .formatted(rel, rel, page.href(), label, name(page));
    }

    private String name(Page page) {
        return page.isFront() ? "Start here"
                : course.lab(page.name()).map(lab -> lab.number() + " ").orElse("") + page.title();
    }

    /** Where this chapter leads: those of the numbered chapters that have a link to it. */
    private String referring(List<Page> pages, Page here) {
        String links = pages.stream().filter(page -> page != here && page.name().matches("4.*"))
                .filter(page -> page.body().contains("href=\"" + here.href()))
                .map(page -> "<a href='%s'>%s</a>".formatted(page.href(), name(page)))
                .collect(Collectors.joining(", "));
        return links.isEmpty() ? ""
                : "<nav class='referring' aria-label='Chapters that refer to this one'><p>Chapters that refer to this"
                        + " one: " + links + "</p></nav>\n";
    }
}
