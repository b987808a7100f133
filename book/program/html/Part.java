package program.html;

import static program.html.Html.pattern;
import static program.html.Html.swap;
import static program.html.Html.text;

import module java.base;

/** A page from one heading to the next. The part before the first heading has no id and no title. */
record Part(Page page, String id, String title, String html) {
    private static final String BEGIN = "(?=<h[2-5] id=|<dt class='hdlist1'><a id=)";
    private static final Pattern HEADING =
            pattern("(?:<h[2-5]|<dt class='hdlist1'><a) id='([\\w-]+)'>(.*?)</(?:h[2-5]|dt)>");

    /** The parts of all pages. A term of the glossary begins a part like a heading does. */
    static List<Part> of(Collection<Page> pages) {
        return pages.parallelStream().flatMap(page -> of(page).stream()).toList();
    }

    private static List<Part> of(Page page) {
        List<Part> parts = new ArrayList<>();
        for (String html : pattern(BEGIN).split(page.body())) {
            Matcher m = HEADING.matcher(html);
            boolean found = m.lookingAt();
            String title = found ? text(swap("<span class='kind.*", m.group(2), "")) : "";
            parts.add(new Part(page, found ? m.group(1) : "", title, found ? html.substring(m.end()) : html));
        }
        return parts;
    }

    String href() {
        return page.href() + (id.isEmpty() ? "" : "#" + id);
    }
}
