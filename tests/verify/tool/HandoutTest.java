package verify.tool;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import com.fasterxml.jackson.databind.ObjectMapper;
import grader.workbook.Folders;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import verify.Commands;
import verify.Selection;

/** {@code jbang handout}: nothing of the solutions is in it, and all that a student types works. */
@Execution(ExecutionMode.CONCURRENT)
class HandoutTest {
    /** Three lines of code together that are at least this long are nobody's idiom. */
    private static final int DISTINCT = 50;

    private Path folder;

    @BeforeEach
    void make() throws IOException {
        folder = Files.createTempDirectory("handout").resolve("students' copy");
    }

    @AfterEach
    void delete() throws IOException {
        Folders.delete(folder.getParent());
    }

    private void handOut(String... options) throws Exception {
        try (var copy = WorkbookCopy.make()) {
            for (var lab : Selection.book().labs()) {   // a teacher who has solved the labs, too
                Files.copy(copy.path(lab.solution()), copy.path(lab.file()), StandardCopyOption.REPLACE_EXISTING);
            }
            var command = new ArrayList<>(List.of("handout", folder.toString()));
            command.addAll(List.of(options));
            var made = copy.grader(command.toArray(String[]::new));
            assertEquals(0, made.status(), made.all());
        }
    }

    private Commands.Ended jbang(String... arguments) throws Exception {
        var command = new ArrayList<>(List.of("sh", folder.resolve("jbang").toString(), "--quiet"));
        command.addAll(List.of(arguments));
        return Commands.run(folder, Map.of("WORKBOOK_NO_AOT", "1"), command.toArray(String[]::new));
    }

    private String mustEnd(int status, String... arguments) throws Exception {
        var ended = jbang(arguments);
        assertEquals(status, ended.status(), String.join(" ", arguments) + "\n" + ended.all());
        return ended.output();
    }

    /**
     * Each three lines that follow one another in a solution, where skeletons and tests have none of them. Hints may
     * quote them: they are what a student is given who asks.
     */
    private static Set<String> ofSolutions() throws IOException {
        var passages = new HashSet<String>();
        var given = new HashSet<String>();
        for (var lab : Selection.book().labs()) {
            var test = Files.readString(lab.tests().resolve(lab.testClass() + ".java"));
            (lab.skeleton() + test).lines().map(HandoutTest::squeezed).forEach(given::add);
        }
        for (var lab : Selection.book().labs()) {
            var lines = Files.readAllLines(lab.solution()).stream().map(HandoutTest::squeezed)
                    .filter(line -> !line.startsWith("//tag::") && !line.startsWith("//end::")).toList();
            for (int i = 3; i <= lines.size(); i++) {
                var three = lines.subList(i - 3, i);
                var passage = String.join("", three);
                if (three.stream().noneMatch(given::contains) && passage.length() >= DISTINCT) {
                    passages.add(passage);
                }
            }
        }
        return passages;
    }

    private static String squeezed(String text) {
        return text.replaceAll("\\s+", "");
    }

    /** Where such a passage stands, whatever kind of file it is. */
    private static List<String> found(Set<String> passages, List<Path> files) throws IOException {
        var starts = passages.stream().collect(Collectors.groupingBy(passage -> passage.substring(0, DISTINCT)));
        var found = new ArrayList<String>();
        for (var file : files) {
            var text = squeezed(unescaped(new String(Files.readAllBytes(file), StandardCharsets.UTF_8)));
            for (int i = 0; i + DISTINCT <= text.length(); i++) {
                for (var passage : starts.getOrDefault(text.substring(i, i + DISTINCT), List.of())) {
                    if (text.startsWith(passage, i)) {
                        found.add(file + ": " + passage);
                    }
                }
            }
        }
        return found;
    }

    /** A page of the book shows code as HTML. */
    private static String unescaped(String text) {
        return text.contains("<!DOCTYPE html>") ? text.replaceAll("<[^>]*>", "").replace("&lt;", "<")
                .replace("&gt;", ">").replace("&amp;", "&") : text;
    }

    @Test
    void nothing_of_the_solutions_is_in_any_file() throws Exception {
        handOut();
        var passages = ofSolutions();
        assertTrue(passages.size() > 500, passages.size() + " passages are looked for");
        var files = Folders.files(folder);
        assertEquals(List.of(),
                found(passages, files.stream().filter(file -> !file.endsWith("hints.adoc")).toList()));
        var solution = Selection.book().lab("401").solution();
        assertFalse(found(passages, List.of(solution)).isEmpty(), "the search finds nothing");
        var names = files.stream().map(file -> folder.relativize(file).toString()).toList();
        assertEquals(List.of(), names.stream().filter(name ->
                name.matches("(.*/)?(solutions|mistakes|\\.git|\\.workbook)(/.*)?|.*\\.patch")).toList());
        for (var lab : Selection.book().labs()) {
            assertEquals(lab.skeleton(), Files.readString(folder.resolve(Selection.book().path(lab.file()))));
        }
    }

    @Test
    void everything_that_a_student_types_works_in_it() throws Exception {
        handOut("--labs", "401,403");
        assertTrue(mustEnd(0, "lab-401").contains("next: step 1"));
        assertTrue(mustEnd(1, "test-401").contains("0 of 7 steps"));
        assertTrue(mustEnd(0, "hint", "401").contains("hint 1 of 3"));
        assertTrue(mustEnd(0, "progress").contains("403  Listen and dial"));
        assertTrue(mustEnd(0, "reset", "401").contains("is the skeleton again"));
        assertTrue(mustEnd(0, "ide").contains("pom.xml is written"));
        try (var watch = Conversation.in(folder, List.of("sh", "jbang", "--quiet", "watch", "401"))) {
            watch.expect("waiting for the next save");
        }
        var solution = Selection.book().lab("403").solution().toString();
        assertTrue(mustEnd(0, "test-403", solution).contains("all steps pass"), "the same checks as the teacher's");
        assertEquals(1, jbang("grade", "labs", "--box=off").status());
        assertTrue(Files.exists(folder.resolve("reports", "class.html")));
        assertTrue(mustEnd(0, "book").contains("students' edition, 4 of 4 chapters rendered, no problems"));
        assertEquals(List.of(), found(ofSolutions(), withoutHints(Folders.files(folder.resolve("book", "build")))));
    }

    /** Hints are in the pages, too: what they quote is asked for. */
    private List<Path> withoutHints(List<Path> pages) throws IOException {
        for (var page : pages.stream().filter(file -> file.toString().endsWith(".html")).toList()) {
            var document = org.jsoup.Jsoup.parse(page);
            document.select(".hints").remove();
            Files.writeString(page, document.outerHtml());
        }
        return pages.stream().filter(file -> !file.endsWith("search-index.js")).toList();
    }

    @Test
    void only_the_chosen_labs_are_in_it_and_every_alias_leads_to_a_file() throws Exception {
        handOut("--labs", "401-403");
        for (var part : List.of("labs", "tests", "book/chapters")) {
            try (var inside = Files.list(folder.resolve(part))) {
                assertEquals(List.of("401", "402", "403"), inside.map(each -> each.getFileName().toString())
                        .filter(name -> name.startsWith("4")).map(name -> name.substring(0, 3)).sorted().toList(),
                        part);
            }
        }
        var catalog = new ObjectMapper().readTree(folder.resolve("jbang-catalog.json").toFile());
        assertEquals(List.of(), catalog.findValuesAsText("script-ref").stream()
                .filter(file -> !Files.isRegularFile(folder.resolve(file))).toList());
        var aliases = new TreeSet<String>();
        catalog.path("aliases").fieldNames().forEachRemaining(aliases::add);
        assertEquals(Set.of("lab-401", "lab-402", "lab-403", "test-401", "test-402", "test-403", "test", "watch",
                "hint", "progress", "reset", "grade", "ide", "book"), aliases);
        var readme = Files.readString(folder.resolve("README.adoc"));
        assertFalse(readme.contains("solutions/") || readme.contains("jbang verify"), readme);
        assertTrue(readme.contains("|403 |*Listen and dial*"), readme);
        assertTrue(Files.isExecutable(folder.resolve("jbang")));
    }

    @Test
    void a_folder_that_holds_something_is_refused() throws Exception {
        Files.createDirectories(folder);
        Files.writeString(folder.resolve("notes"), "mine");
        try (var copy = WorkbookCopy.make()) {
            var refused = copy.grader("handout", folder.toString());
            assertEquals(2, refused.status(), refused.all());
            assertTrue(refused.errors().contains("is there already"), refused.all());
        }
        assertEquals("mine", Files.readString(folder.resolve("notes")));
    }
}
