package verify.book;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import module java.base;

import com.fasterxml.jackson.databind.JsonNode;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import verify.Commands;
import verify.Selection;

/** The pages are valid and accessible, show readers where they are, and can be printed, by vnu, axe and Chromium. */
class BookPagesTest {
    private static final int PHONE = 390;
    private static final int TABLET = 820;
    private static final int SMALL_DESKTOP = 1000;
    private static final int DESKTOP = 1440;
    /** As wide as what is printed on A4 between its margins. */
    private static final int PAPER = 672;
    private static final String CHAPTER = "401-tcp-server";

    private static Browser browser;

    private static Browser browser() throws Exception {
        assumeTrue(Browser.program().isPresent(), "it needs chromium");
        if (browser == null) {
            browser = Browser.start();
        }
        return browser;
    }

    @AfterAll
    static void close() throws Exception {
        if (browser != null) {
            browser.close();
        }
    }

    private static URI page(String name) throws Exception {
        return RenderedBook.folder().resolve(name + ".html").toUri();
    }

    @Test
    void vnu_finds_no_error() throws Exception {
        assertEquals("", PageChecks.vnu(RenderedBook.pages()));
    }

    /** Colours differ between light and dark, everything else between wide and narrow: so two looks see all of both. */
    @Test
    void axe_finds_no_violation() throws Exception {
        var found = new ArrayList<String>();
        for (var page : RenderedBook.pages()) {
            browser().looksLike(DESKTOP, 900, "light");
            found.addAll(violations(page, "desktop, light"));
            browser().looksLike(PHONE, 844, "dark");
            found.addAll(violations(page, "phone, dark"));
        }
        assertEquals(List.of(), found);
    }

    /** On the front page, which is short, with the contents and the search as well. */
    private static List<String> violations(Path page, String look) throws Exception {
        return PageChecks.axe(browser(), page, look, page.endsWith("index.html")
                ? "box.value = 'socket'; box.dispatchEvent(new Event('input')); menu.click()" : "0");
    }

    @Test
    void the_contents_open_where_the_reader_is() throws Exception {
        for (int width : List.of(PHONE, TABLET)) {
            browser().looksLike(width, 844, "light");
            browser().open(page(CHAPTER));
            browser().evaluate("scrollTo(0, 9000)");
            assertEquals(0, linksInSight(), "links of the contents in sight before they are opened, " + width + " px");
            browser().evaluate("menu.click()");
            assertTrue(linksInSight() > 5, "the contents are not in sight, " + width + " px");
            assertEquals(9000, browser().evaluate("scrollY").asInt(), "the page stays where it was, " + width + " px");
            browser().evaluate("document.querySelector('.nav a').scrollIntoView()");
            assertTrue(linksInSight() > 5, "the contents of the book are not in sight, " + width + " px");
            browser().evaluate("""
                    contents.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true }))""");
            assertEquals("menu", browser().evaluate("document.activeElement.id").asText(), "Escape leads back");
            assertEquals(0, linksInSight(), "links of the contents in sight after Escape, " + width + " px");
        }
        for (int width : List.of(SMALL_DESKTOP, DESKTOP)) {
            browser().looksLike(width, 844, "light");
            browser().open(page(CHAPTER));
            browser().evaluate("scrollTo(0, 9000)");
            assertTrue(linksInSight() > 5, "the contents are not beside the text, " + width + " px");
        }
    }

    /** How many links of the two contents a click would reach. */
    private static int linksInSight() throws Exception {
        return browser().evaluate("""
                [...document.querySelectorAll('.contents a')].filter(link => {
                  const box = link.getBoundingClientRect();
                  return link.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2));
                }).length""").asInt();
    }

    @Test
    void the_section_on_the_screen_is_marked() throws Exception {
        for (int width : List.of(PHONE, DESKTOP)) {
            browser().looksLike(width, 844, "light");
            browser().open(page(CHAPTER));
            int end = browser().evaluate("document.documentElement.scrollHeight - innerHeight").asInt();
            var down = IntStream.iterate(0, y -> y < end, y -> y + 997);
            var up = IntStream.iterate(end, y -> y > 0, y -> y - 613);
            var wrong = IntStream.concat(down, up).mapToObj(BookPagesTest::mark)
                    .filter(told -> !isRight(told)).map(JsonNode::toString).toList();
            assertEquals("", String.join("\n", wrong), width + " px wide, wrong " + wrong.size() + " times");
        }
    }

    /** Scrolls, and tells which entry is marked then, and how far from the top its heading and the next one are. */
    private static JsonNode mark(int y) {
        return browser.evaluate("""
                (async () => {
                  const frame = () => new Promise(requestAnimationFrame);
                  scrollTo(0, %d);
                  await frame();
                  await frame();
                  const marks = [...document.querySelectorAll('.toc a')].map(link => link.ariaCurrent === 'true');
                  const headings = [...document.querySelectorAll('.text :is(h2, h3)')];
                  const tops = headings.map(each => each.getBoundingClientRect().top);
                  const mark = marks.indexOf(true);
                  return {
                    scrollY, end: scrollY + innerHeight >= document.documentElement.scrollHeight - 2,
                    marks: marks.filter(each => each).length, mark, last: marks.length - 1, headings: headings.length,
                    here: tops[mark] ?? 0, next: tops[mark + 1] ?? 9e9
                  };
                })()""".formatted(y));
    }

    /** The heading is near the top or above, and the next one is not above yet; at the end it is the last heading. */
    private static boolean isRight(JsonNode told) {
        boolean sameHeadings = told.path("last").asInt() + 1 == told.path("headings").asInt();
        boolean inPlace = told.path("end").asBoolean() ? told.path("mark").equals(told.path("last"))
                : told.path("here").asDouble() < 200 && told.path("next").asDouble() > 90;
        return sameHeadings && inPlace && told.path("marks").asInt() == (told.path("mark").asInt() < 0 ? 0 : 1);
    }

    @Test
    void no_page_is_wider_than_its_window() throws Exception {
        var found = new ArrayList<String>();
        for (var page : RenderedBook.pages()) {
            browser().open(page.toUri());
            for (int width : List.of(PHONE, 580, TABLET, DESKTOP)) {
                browser().looksLike(width, 844, "light");
                int is = browser().evaluate("document.documentElement.scrollWidth").asInt();
                if (is > width) {
                    found.add(page.getFileName() + ": " + is + " of " + width + " px");
                }
            }
        }
        assertEquals(List.of(), found);
    }

    @Test
    void no_table_is_wider_than_the_text() throws Exception {
        var found = new ArrayList<String>();
        browser().looksLike(DESKTOP, 844, "light");
        for (var page : RenderedBook.pages()) {
            browser().open(page.toUri());
            var wide = browser().evaluate("""
                    [...document.querySelectorAll('.scroll')].filter(each => each.querySelector('table'))
                        .filter(each => each.scrollWidth > each.clientWidth + 2).map(each => each.textContent)
                    """);
            wide.forEach(text -> found.add(page.getFileName() + ": " + text.asText().strip().lines().findFirst()));
        }
        assertEquals(List.of(), found, "shorten the code in its cells, which does not wrap");
    }

    @Test
    void on_paper_nothing_is_folded_up_or_cut_off() throws Exception {
        browser().looksLike(PAPER, 844, "print");
        for (var page : RenderedBook.pages()) {
            browser().open(page.toUri());
            assertEquals("[]", browser().evaluate("""
                    [...document.querySelectorAll('details > .content')]
                        .filter(each => !each.checkVisibility()).map(each => each.textContent)
                    """).toString(), page.getFileName() + ": folded up");
            assertEquals("[]", browser().evaluate("""
                    [...document.querySelectorAll('pre, .scroll, p, td')]
                        .filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.textContent)
                    """).toString(), page.getFileName() + ": cut off");
        }
    }

    @Test
    void printed_pages_have_numbers() throws Exception {
        assumeTrue(Commands.onPath("pdftotext").isPresent(), "it needs pdftotext");
        browser().looksLike(DESKTOP, 900, "light");
        browser().open(page(CHAPTER));
        var pdf = Files.write(Files.createTempFile("printed", ".pdf"), browser().pdf());
        try {
            var text = Commands.run(Selection.root(), Map.of(), "pdftotext", "-layout", pdf.toString(), "-").output();
            var pages = text.strip().split("\f");
            assertTrue(pages.length > 20, pages.length + " pages");
            for (int i = 0; i < pages.length; i++) {
                assertEquals(String.valueOf(i + 1), pages[i].stripTrailing().lines().toList().getLast().strip());
            }
        } finally {
            Files.delete(pdf);
        }
    }
}
