package verify.book;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import com.fasterxml.jackson.databind.ObjectMapper;
import grader.commands.RegisterCommand;
import grader.maintain.Catalog;
import grader.workbook.Curriculum;
import org.junit.jupiter.api.Test;
import verify.Commands;
import verify.Selection;

/** Catalog, folders, chapters, tests and curriculum know the same labs. */
class CatalogTest {
    private static final Set<String> TOP_LEVEL = Set.of("README.adoc", "labs", "solutions", "tests", "book",
            "jbang-catalog.json", "jbang", "LICENSE");

    private final Catalog catalog = RegisterCommand.of(Selection.book(), grader.Main.commandLine());

    @Test
    void catalog_and_readme_are_what_register_writes() throws IOException {
        assertEquals(catalog.json(), Files.readString(catalog.file()), "jbang-catalog.json: type jbang register");
        assertEquals(catalog.readme(), Files.readString(catalog.readmeFile()), "README.adoc: type jbang register");
    }

    @Test
    void every_alias_and_every_template_leads_to_a_file() throws IOException {
        var json = new ObjectMapper().readTree(catalog.file().toFile());
        var scripts = json.findValuesAsText("script-ref").stream();
        var templates = json.findValuesAsText("{filename}").stream();
        assertEquals(List.of(), Stream.concat(scripts, templates)
                .filter(file -> !Files.isRegularFile(Selection.root().resolve(file))).toList());
    }

    @Test
    void every_lab_has_its_files() throws IOException {
        for (var lab : Selection.book().labs()) {
            for (var file : List.of(lab.file(), lab.solution(), lab.chapter(),
                    lab.tests().resolve(lab.testClass() + ".java"), lab.tests().resolve(lab.type() + "Bench.java"),
                    lab.tests().resolve("hints.adoc"), lab.tests().resolve("mistakes"))) {
                assertTrue(Files.exists(file), Selection.book().shown(file) + " is missing");
            }
        }
    }

    @Test
    void labs_solutions_tests_and_curriculum_name_the_same_folders() throws IOException {
        var slugs = Selection.book().labs().stream().map(lab -> lab.slug()).toList();
        for (var folder : List.of("labs", "solutions")) {
            try (var found = Files.list(Selection.root().resolve(folder))) {
                var names = found.map(dir -> dir.getFileName().toString()).sorted().toList();
                assertEquals(slugs, names, folder + " beside tests");
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
