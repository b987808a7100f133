package verify.book;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import module java.base;

import grader.report.Reports;
import grader.workbook.Folders;
import org.jsoup.Jsoup;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import verify.Commands;
import verify.Selection;
import verify.tool.SampleClass;

/** The HTML report of a class: valid, accessible, whole in one file, and deaf to what a submission says. */
class ClassPageTest {
    private static final int PHONE = 390;
    private static final int TABLET = 820;
    private static final int DESKTOP = 1440;
    /** As wide as what is printed on A4 in landscape between its margins. */
    private static final int PAPER = 1000;

    private static Path folder;
    private static Path small;
    private static Path large;
    private static Browser browser;

    @BeforeAll
    static void write() throws IOException {
        folder = Files.createTempDirectory("class");
        Reports.write(SampleClass.small(), folder.resolve("small"));
        Reports.write(SampleClass.large(Selection.book(), 40, List.of("401", "402", "403", "404", "405")),
                folder.resolve("large"));
        small = folder.resolve("small", "class.html");
        large = folder.resolve("large", "class.html");
    }

    @AfterAll
    static void close() throws Exception {
        if (browser != null) {
            browser.close();
        }
        Folders.delete(folder);
    }

    private static Browser browser() throws Exception {
        assumeTrue(Browser.program().isPresent(), "it needs chromium");
        if (browser == null) {
            browser = Browser.start();
        }
        return browser;
    }

    private static String ask(String expression) throws Exception {
        return browser().evaluate(expression).asText();
    }

    /** The value of an expression after what has changed is drawn. */
    private static String whenDrawn(String expression) throws Exception {
        return ask("new Promise(go => requestAnimationFrame(() => requestAnimationFrame(() => go(%s))))"
                .formatted(expression));
    }

    @Test
    void vnu_finds_no_error() throws Exception {
        assertEquals("", PageChecks.vnu(List.of(small, large)));
    }

    @Test
    void axe_finds_no_violation() throws Exception {
        browser().looksLike(DESKTOP, 900, "light");
        assertEquals(List.of(), PageChecks.axe(browser(), small, "desktop, light", "0"));
        browser().looksLike(PHONE, 844, "dark");
        assertEquals(List.of(), PageChecks.axe(browser(), small, "phone, dark", "0"));
    }

    @Test
    void the_page_is_no_wider_than_its_window() throws Exception {
        for (int width : List.of(PHONE, TABLET, DESKTOP)) {
            browser().looksLike(width, 844, "light");
            browser().open(large.toUri());
            browser().evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })");
            assertEquals("true", ask("document.documentElement.scrollWidth <= innerWidth"), width + " px");
        }
    }

    @Test
    void the_file_refers_to_no_other_and_runs_no_script() throws Exception {
        var page = Jsoup.parse(large);
        assertEquals(List.of(), page.select("script, link, img, iframe, object, [onclick], [onerror]"));
        assertEquals(List.of(), page.select("a[href]").eachAttr("href").stream()
                .filter(link -> !link.startsWith("#")).toList());
        var style = page.selectFirst("style").data();
        assertFalse(Pattern.compile("url\\((?!data:)|@import").matcher(style).find(), "the style sheet loads nothing");
    }

    @Test
    void what_a_submission_says_is_text() throws Exception {
        var page = Jsoup.parse(small);
        var names = page.select(".student > h3").eachText();
        assertEquals(14, names.size());
        assertTrue(names.contains("<script>document.title = 'taken'</script>"), names.toString());
        assertTrue(names.contains("\"><img src=x onerror=alert(1)>"), names.toString());
        browser().open(small.toUri());
        assertEquals("Class report: labs 401 and 402", ask("document.title"));
    }

    @Test
    void the_table_says_in_words_and_figures_how_each_step_stands() throws Exception {
        var rows = Jsoup.parse(small).select(".map tbody tr");
        assertEquals("Ada Lovelace 12 of 12 ✓ passed ✓ passed ✓ passed ✓ passed", rows.get(0).text());
        assertEquals("Çağla Ünsal 7.67 of 12 ✓ passed 1/2 1/3 ✓ passed", rows.get(1).text());
        assertEquals("李小龍 1 of 12 1/3 – not run · to do no file", rows.get(2).text());
        assertEquals("Zoë 0 of 10 ? not compiled not graded", rows.get(3).text());
    }

    @Test
    void the_hardest_steps_come_first() throws Exception {
        var hardest = Jsoup.parse(small).select(".hardest tbody tr");
        assertEquals(List.of("401.3 Cap the connections", "401.2 Serve each client concurrently",
                "401.1 Listen on a port"), hardest.select("th").eachText());
        assertEquals("11 × the eleventh client waits", hardest.getFirst().select("li").getFirst().text());
    }

    @Test
    void a_cell_opens_the_message_and_the_lines_without_a_script() throws Exception {
        browser().looksLike(DESKTOP, 900, "light");
        browser().open(small.toUri());
        assertEquals("0", ask("document.querySelectorAll('details[open]').length"));
        browser().evaluate("document.querySelector('.map tbody tr:nth-child(2) .part a').click()");
        var opened = whenDrawn(
                "[...document.querySelectorAll('.student details[open]')].map(each => each.innerText).join('')");
        for (var words : List.of("2 Serve each client concurrently 1/2", "a thousand clients are served at once",
                "seen: «1 line» & more", ">   41", "int line41 = a < b && c > d ? 1 : 2;", "printed: «1 line»",
                "Passed: a slow client")) {
            assertTrue(opened.replace('\u00a0', ' ').contains(words), words + " is not in\n" + opened);
        }
        assertEquals("true", ask("""
                (() => {
                  const box = document.querySelector('.student details[open] summary').getBoundingClientRect();
                  return box.top >= 0 && box.bottom <= innerHeight;
                })()"""), "its heading is on the screen");
    }

    @Test
    void every_link_leads_somewhere() throws Exception {
        for (var file : List.of(small, large)) {
            var page = Jsoup.parse(file);
            assertEquals(List.of(), page.select("a[href]").eachAttr("href").stream()
                    .filter(link -> page.getElementById(link.substring(1)) == null).toList());
        }
    }

    /** As the keyboard reaches it: the cells that can be opened, in the order of the table. */
    @Test
    void every_cell_that_is_not_passed_is_a_link() throws Exception {
        var page = Jsoup.parse(large);
        assertEquals(List.of(), page.select(".map tbody td.heat:not(.full):not(:has(a))").eachText().stream()
                .filter(text -> !text.equals("no file")).toList());
        assertEquals(List.of(), page.select("[tabindex]").eachAttr("tabindex").stream()
                .filter(index -> !index.equals("0")).toList());
    }

    @Test
    void on_paper_the_table_is_whole_and_what_is_open_is_printed() throws Exception {
        browser().looksLike(PAPER, 700, "print");
        browser().open(large.toUri());
        assertEquals("[]", browser().evaluate("""
                [...document.querySelectorAll('.scroll, .map, td, p')]
                    .filter(each => each.checkVisibility() && each.scrollWidth > each.clientWidth + 1)
                    .map(each => each.textContent.slice(0, 60))""").toString(), "cut off");
        assertEquals("true", ask("""
                (() => {
                  const table = document.querySelector('.map').getBoundingClientRect();
                  return table.right <= innerWidth && table.height > 40 * 10;
                })()"""));
        browser().evaluate("document.querySelector('.student details').open = true");
        assertEquals("true false", whenDrawn("""
                [...document.querySelectorAll('.student details > .content')].slice(0, 2)
                    .map(each => each.checkVisibility()).join(' ')"""));
    }

    @Test
    void printed_pages_hold_every_student() throws Exception {
        assumeTrue(Commands.onPath("pdftotext").isPresent(), "it needs pdftotext");
        browser().looksLike(DESKTOP, 900, "light");
        browser().open(large.toUri());
        var pdf = Files.write(folder.resolve("printed.pdf"), browser().pdf());
        var text = Commands.run(Selection.root(), Map.of(), "pdftotext", "-layout", pdf.toString(), "-").output();
        assertTrue(text.contains("All students, all steps"), text);
        for (int i = 1; i <= 40; i++) {
            var name = "student-%02d with a name".formatted(i);
            assertTrue(text.split(name, -1).length >= 3, name + " is not in the table and among the students");
        }
    }
}
