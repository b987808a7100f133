package verify.book;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertIterableEquals;

import module java.base;

import grader.workbook.Folders;
import grader.workbook.Hints;
import grader.workbook.Lab;
import org.jsoup.Jsoup;
import org.jsoup.nodes.Element;
import org.jsoup.nodes.TextNode;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.function.Executable;
import verify.Commands;
import verify.Selection;
import verify.lab.Chapter;

/** What stands between backticks, in a hint or in a list of checks reads on the page as it does in the source. */
class BookTextTest {
    /** What stands between two backticks of a line is code, and nothing in it means anything to AsciiDoc. */
    private static final Pattern CODE = Pattern.compile("`([^`\n]+)`");
    /** Emphasis that an author means: «*word*» and «_word_». */
    private static final Pattern EMPHASIS = Pattern.compile("(?<!\\w)([*_])(\\w[^*_]*)\\1(?!\\w)");

    /** Whatever AsciiDoc would replace, drop or obey elsewhere. */
    private static final List<String> HARD = List.of("f((a) -> b)", "*a* _b_ #c# ~d~ ^e^", "*.suffix", "<-x => y <= z",
            "{root} {none}", "i++ + ++j", "+a+ ++b++ $$c$$ pass:[d]", "a -- b ... c", "(C) (R) it's", "http://a.test/b",
            "<<a>> xref:b[c] image:d[e] kbd:[f]", "\\* \\\\", "&lt; &amp;", "footnote:[a] [.b]", "List::of",
            "\"a\" 'b'", "x", "-");
    private static final String EVERYWHERE = """

            == A heading `%1$s`

            Code `%1$s` in a paragraph, plural `%1$s`s, in *strong `%1$s` words* and in link:index.html[a link `%1$s`].

            .A title `%1$s`
            * an item `%1$s`

            a term `%1$s`::
            a description `%1$s`

            |===
            | a cell `%1$s`
            |===

            NOTE: a note `%1$s`
            """;
    private static final int PLACES = 11;

    @Test
    void code_is_literal_wherever_it_stands() throws Exception {
        var root = Files.createTempDirectory("workbook");
        try {
            var chapters = Files.createDirectories(root.resolve("book", "chapters"));
            Files.createSymbolicLink(root.resolve("book", "theme"), Selection.root().resolve("book", "theme"));
            Files.writeString(root.resolve("book", "curriculum.json"), "{\"themes\": {}, \"labs\": []}");
            Files.writeString(root.resolve("jbang-catalog.json"), "{}");
            Files.writeString(chapters.resolve("index.adoc"), HARD.stream().map(EVERYWHERE::formatted)
                    .collect(Collectors.joining("", "[#front]\n= A chapter\n", "")));
            var ended = Commands.jbang("--quiet", "book", "--root", root.toString());
            assertEquals(0, ended.status(), ended.all());
            var text = Jsoup.parse(root.resolve("book", "build", "index.html").toFile(), "UTF-8").selectFirst(".text");
            assertIterableEquals(HARD.stream().flatMap(code -> Collections.nCopies(PLACES, code).stream()).toList(),
                    text.select("code").stream().map(Element::wholeText).toList());
        } finally {
            Folders.delete(root);
        }
    }

    @TestFactory
    Stream<DynamicTest> code_in_a_chapter_reads_as_in_its_source() throws Exception {
        var chapters = Selection.root().resolve("book", "chapters");
        try (var files = Files.list(chapters)) {
            return files.map(file -> file.getFileName().toString()).filter(name -> name.endsWith(".adoc")).sorted()
                    .map(name -> name.replace(".adoc", "")).toList().stream()
                    .map(name -> DynamicTest.dynamicTest(name, () -> compareCode(name)));
        }
    }

    private static void compareCode(String chapter) throws Exception {
        var source = Selection.root().resolve("book", "chapters", chapter + ".adoc");
        var written = CODE.matcher(new Chapter(Files.readAllLines(source)).prose()).results()
                .map(code -> squeezed(code.group(1).replace("\\|", "|"))).toList();
        var text = RenderedBook.page(chapter).selectFirst(".text");
        text.select(".hints, .api, pre, svg").remove();
        assertIterableEquals(written, text.select("code").eachText().stream().map(BookTextTest::squeezed).toList());
        assertEquals(List.of(), text.getAllElements().textNodes().stream().map(TextNode::text)
                .filter(words -> words.contains("`")).toList(), "backticks that AsciiDoc does not take for code");
    }

    @Test
    void every_hint_reads_as_in_its_source() throws Exception {
        var comparisons = new ArrayList<Executable>();
        for (var lab : Selection.book().labs()) {
            var page = RenderedBook.page(lab.slug());
            for (var hints : Hints.of(lab).entrySet()) {
                var section = page.selectFirst("#step-" + hints.getKey()).parent();
                var rendered = section.select(".hints details > .content");
                for (int i = 0; i < hints.getValue().size(); i++) {
                    var place = lab + ", step " + hints.getKey() + ", hint " + (i + 1);
                    var written = plain(hints.getValue().get(i));
                    var shown = i < rendered.size() ? withoutNextHint(rendered.get(i)) : "nothing";
                    comparisons.add(() -> assertEquals(written, shown, place));
                }
            }
        }
        assertAll(comparisons);
    }

    /** Each hint lies inside the one before it. */
    private static String withoutNextHint(Element hint) {
        var own = hint.clone();
        own.select("details").remove();
        return squeezed(own.text().replace('’', '\''));
    }

    private static String plain(String asciidoc) {
        var text = new StringBuilder();
        int at = 0;
        for (var code : CODE.matcher(asciidoc).results().toList()) {
            text.append(EMPHASIS.matcher(asciidoc.substring(at, code.start())).replaceAll("$2")).append(code.group(1));
            at = code.end();
        }
        return squeezed(text + EMPHASIS.matcher(asciidoc.substring(at)).replaceAll("$2"));
    }

    @Test
    void every_list_of_checks_reads_as_in_its_source() throws Exception {
        var comparisons = new ArrayList<Executable>();
        for (var lab : Selection.book().labs()) {
            compareChecks(lab, comparisons);
        }
        assertAll(comparisons);
    }

    private static void compareChecks(Lab lab, List<Executable> comparisons) throws Exception {
        var page = RenderedBook.page(lab.slug());
        for (var step : Hints.of(lab).keySet()) {
            var written = Chapter.of(lab).checks(step).stream().map(BookTextTest::plain).toList();
            var section = page.selectFirst("#step-" + step).parent();
            var shown = section.select(".checks li").eachText().stream().map(BookTextTest::squeezed).toList();
            comparisons.add(() -> assertEquals(written, shown, lab + ", step " + step));
        }
    }

    /** Without white space: a browser breaks lines where it likes. */
    private static String squeezed(String text) {
        return text.replaceAll("[\\s\\u200b]+", "");
    }
}
