package program.html;

import static program.html.Html.pattern;
import static program.html.Html.swap;

import module java.base;

import program.read.Edition;
import program.read.Problems;

/** Links between pages: their words, and whether they lead anywhere. */
public final class Links {
    private final Edition edition;
    private final Problems problems;
    private final Map<String, Set<String>> ids = new HashMap<>();    // of each page, by its address

    public Links(Edition edition, Problems problems) {
        this.edition = edition;
        this.problems = problems;
    }

    /** Gives each link that has no words the title of its target. */
    public static List<Page> withTitles(List<Page> pages) {
        Map<String, String> titles = new HashMap<>();
        for (Page page : pages) {
            titles.put(page.href(), page.title());
            titles.put(page.href() + "#" + page.id(), page.title());
            page.headings().forEach(h -> titles.put(page.href() + "#" + h.id(), h.title()));
        }
        Set<String> cut = pages.stream().filter(p -> p.chapter() != null)
                .flatMap(p -> p.chapter().cutIds().stream()).collect(Collectors.toSet());
        return pages.stream().map(page -> page.withBody(linkTitles(unlinkCut(page.body(), cut), titles))).toList();
    }

    /** Links to what the students' edition left out become plain text. */
    private static String unlinkCut(String html, Set<String> cut) {
        return swap("<a href='[^>]*?#([\\w-]+)'>(.*?)</a>", html,
                m -> cut.contains(m.group(1)) ? m.group(2).replaceAll("^\\[.*]$", "the solution") : m.group());
    }

    /** A cross reference to another page has no text of its own: it gets the title of its target. */
    private static String linkTitles(String html, Map<String, String> titles) {
        return swap("<a href='([\\w.-]+\\.html(?:#[\\w.-]+)?)'>\\[?[\\w.-]+\\.html(?:#[\\w.-]+)?]?</a>", html,
                m -> "<a href='%s'>%s</a>".formatted(m.group(1), titles.getOrDefault(m.group(1), m.group(1))));
    }

    /** Asciidoctor does not check links between pages, nor what is behind an image. */
    public void check(Map<Page, String> finished) {
        finished.forEach(this::noteIds);
        finished.forEach((page, html) -> {
            pattern("\\s(?:href|src)='(.+?)'").matcher(html).results()
                    .map(m -> m.group(1)).distinct().forEach(link -> checkLink(page, link));
            pattern("<img [^>]*?src='(.+?)'[^>]*?alt='(.*?)'").matcher(page.body()).results()
                    .filter(m -> m.group(2).isBlank() || m.group(2).equals(defaultAlt(m.group(1))))
                    .forEach(m -> problem(page, fileName(m.group(1)), "image without alt: " + m.group(1)));
        });
    }

    private void noteIds(Page page, String html) {
        Set<String> known = new HashSet<>();
        pattern("\\sid='(.+?)'").matcher(html).results().map(m -> m.group(1)).filter(id -> !known.add(id))
                .filter(id -> !problems.anyEndsWith("already in use: " + id))    // Asciidoctor has said it
                .forEach(id -> problem(page, id, "id used twice: " + id));
        ids.put(page.href(), known);
    }

    private void checkLink(Page page, String link) {
        if (link.matches("(https?|mailto):.*")) {
            return;
        }
        int hash = link.indexOf('#');
        String file = hash == 0 ? page.href() : hash < 0 ? link : link.substring(0, hash);
        String id = hash < 0 ? "" : link.substring(hash + 1);
        String source = hash == 0 ? "<<" + id : link.replaceFirst("\\.html#", ".adoc#").replaceFirst("^images/", "");
        if (ids.containsKey(file)) {
            if (!id.isEmpty() && !ids.get(file).contains(id)) {
                problem(page, source, "link to a place that does not exist: " + link);
            }
        } else if (!Files.exists(edition.out().resolve(file))) {
            problem(page, source, "link to a file that does not exist: " + link);
        }
    }

    private void problem(Page page, String near, String text) {
        if (page.chapter() == null) {
            problems.add(page.href(), text);
        } else {
            problems.add(page.chapter(), near, text);
        }
    }

    /** What Asciidoctor makes of an image's name where the author gave no alt. */
    private static String defaultAlt(String src) {
        return fileName(src).replaceFirst("\\.\\w+$", "").replaceAll("[_-]", " ");
    }

    private static String fileName(String path) {
        return path.substring(path.lastIndexOf('/') + 1);
    }
}
