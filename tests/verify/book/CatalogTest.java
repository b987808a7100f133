package verify.book;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import grader.workbook.Curriculum;
import org.junit.jupiter.api.Test;
import verify.Commands;
import verify.Selection;

/** Catalog, folders, chapters, tests and curriculum know the same labs. */
class CatalogTest {
    private static final Set<String> TOP_LEVEL = Set.of("README.adoc", "labs", "solutions", "tests", "book", "jbang-catalog.json", "jbang", "LICENSE");

    private final JsonNode catalog = new ObjectMapper().readTree(Selection.root().resolve("jbang-catalog.json").toFile());

    CatalogTest() throws IOException {}

    private JsonNode alias(String name) {
        var alias = catalog.path("aliases").path(name);
        assertTrue(alias.isObject(), "jbang-catalog.json has no alias " + name);
        return alias;
    }

    @Test
    void every_lab_has_its_three_aliases_and_its_template() throws IOException {
        for (var lab : Selection.book().labs()) {
            assertEquals("labs/" + lab.slug() + "/" + lab.fileName(), alias("lab-" + lab.number()).path("script-ref").asText());
            assertEquals("solutions/" + lab.slug() + "/" + lab.fileName(), alias("solution-" + lab.number()).path("script-ref").asText());
            assertEquals("tests/grader/Main.java", alias("test-" + lab.number()).path("script-ref").asText());
            assertEquals("[\"test\",\"" + lab.number() + "\"]", alias("test-" + lab.number()).path("arguments").toString());
            var refs = catalog.path("templates").path("lab-" + lab.number()).path("file-refs");
            assertTrue(refs.valueStream().anyMatch(ref -> ref.asText().equals("labs/" + lab.slug() + "/" + lab.fileName())),
                    "no template lab-" + lab.number() + " that gives the skeleton");
        }
    }

    @Test
    void every_alias_leads_to_a_file() {
        catalog.path("aliases").properties().forEach(alias -> assertTrue(
                Files.isRegularFile(Selection.root().resolve(alias.getValue().path("script-ref").asText())), alias.getKey() + " leads nowhere"));
    }

    @Test
    void no_numbered_alias_stands_for_a_lab_that_is_not_here() throws IOException {
        var here = Selection.book().labs().stream().map(lab -> lab.number()).toList();
        var named = Pattern.compile("(?:lab|solution|test)-(\\d+)");
        catalog.path("aliases").fieldNames().forEachRemaining(alias -> {
            var number = named.matcher(alias);
            assertTrue(!number.matches() || here.contains(number.group(1)), "alias " + alias + " has no lab");
        });
    }

    @Test
    void every_lab_has_its_files() throws IOException {
        for (var lab : Selection.book().labs()) {
            for (var file : List.of(lab.file(), lab.solution(), lab.chapter(), lab.tests().resolve(lab.testClass() + ".java"),
                    lab.tests().resolve(lab.type() + "Bench.java"), lab.tests().resolve("hints.adoc"), lab.tests().resolve("mistakes"))) {
                assertTrue(Files.exists(file), Selection.book().shown(file) + " is missing");
            }
        }
    }

    @Test
    void labs_solutions_tests_and_curriculum_name_the_same_folders() throws IOException {
        var slugs = Selection.book().labs().stream().map(lab -> lab.slug()).toList();
        for (var folder : List.of("labs", "solutions")) {
            try (var found = Files.list(Selection.root().resolve(folder))) {
                assertEquals(slugs, found.map(dir -> dir.getFileName().toString()).sorted().toList(), folder + " beside tests");
            }
        }
        var curriculum = Curriculum.read(Selection.book());
        assertEquals(20, curriculum.labs().size(), "labs in book/curriculum.json");
        for (var lab : Selection.book().labs()) {
            assertEquals(lab.type(), curriculum.of(lab).type(), "the class of lab " + lab.number());
        }
    }

    @Test
    void the_top_level_holds_what_the_design_says_and_nothing_else() throws Exception {
        var tracked = Commands.run(Selection.root(), Map.of(), "git", "ls-files").output().lines();
        assertEquals(List.of(), tracked.map(path -> path.split("/")[0]).distinct()
                .filter(name -> !name.startsWith(".") && !TOP_LEVEL.contains(name)).toList());
    }
}
