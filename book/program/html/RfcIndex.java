package program.html;

import static program.html.Html.escape;
import static program.html.Html.swap;

import module java.base;

/** The page that lists every mention of an RFC, and the sections of the book where it is. */
public final class RfcIndex {
    /** A number, perhaps a section, perhaps the title in italics. */
    private static final Pattern RFC = Pattern.compile("RFC\\s?(\\d{3,5})"
            + "(?:,?\\s*(?:§§?\\s?|[Ss]ections? )([A-Z0-9][\\d.]*\\d|[A-Z0-9]))?(?:,? <em>(.+?)</em>)?");

    private record Mention(String section, Part part) {}

    private RfcIndex() {}

    public static Page of(List<Page> pages) {
        var mentions = new TreeMap<Integer, List<Mention>>();
        var titles = new HashMap<Integer, String>();
        for (Part part : Part.of(pages)) {
            String prose = swap("<pre.*?</pre>|<svg.*?</svg>|</?a\\b[^>]*>", part.html(), "").replace("&#160;", " ");
            RFC.matcher(prose).results().forEach(m -> {
                int number = Integer.parseInt(m.group(1));
                var mention = new Mention(Objects.requireNonNullElse(m.group(2), ""), part);
                mentions.computeIfAbsent(number, _ -> new ArrayList<>()).add(mention);
                if (m.group(3) != null) {
                    titles.putIfAbsent(number, m.group(3));
                }
            });
        }
        var html = new StringBuilder("""
                <div class="paragraph lead"><p>Every RFC that this book cites, and where.
                The links with numbers lead to the RFC itself, on the network; all others stay in the book.</p></div>
                <dl class="rfcs">
                """);
        mentions.forEach((number, all) -> html.append(entry(number, titles.getOrDefault(number, ""), all)));
        return new Page("rfcs", "rfcs", "Index of RFCs", html + "</dl>\n", List.of(), null);
    }

    private static String entry(int number, String title, List<Mention> mentions) {
        String url = "https://www.rfc-editor.org/rfc/rfc" + number;
        var bySection = new TreeMap<String, LinkedHashSet<String>>(RfcIndex::compareSections);
        for (Mention mention : mentions) {
            Part part = mention.part();
            String where = part.page().title() + (part.title().isEmpty() ? "" : ": " + escape(part.title()));
            bySection.computeIfAbsent(mention.section(), _ -> new LinkedHashSet<>())
                    .add("<a href='%s'>%s</a>".formatted(part.href(), where));
        }
        var html = new StringBuilder("<dt id='rfc-%d'><a href='%s'>RFC %d</a> %s</dt>\n"
                .formatted(number, url, number, title));
        bySection.forEach((section, places) -> {
            String kind = section.matches("[A-Z].*") ? "appendix" : "section";
            String link = section.isEmpty() ? "" : "<a class='rfc-section' href='%s#%s-%s'>%s %s</a> "
                    .formatted(url, kind, section, kind, section);
            html.append("<dd>" + link + String.join(" · ", places) + "</dd>\n");
        });
        return html.toString();
    }

    /** 2.9 before 2.10. */
    private static int compareSections(String a, String b) {
        String[] x = a.split("\\.");
        String[] y = b.split("\\.");
        return Arrays.compare(x, y, (p, q) -> p.length() != q.length() && p.matches("\\d+") && q.matches("\\d+")
                ? p.length() - q.length() : p.compareTo(q));
    }
}
