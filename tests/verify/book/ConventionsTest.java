package verify.book;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import grader.compile.Libraries;
import grader.workbook.Folders;
import org.junit.jupiter.api.Test;
import verify.Selection;

/** Rules that hold for every file of a kind. */
class ConventionsTest {
    private static List<Path> java(String folder) throws IOException {
        try (var files = Files.walk(Selection.root().resolve(folder))) {
            return files.filter(file -> file.toString().endsWith(".java")).sorted().toList();
        }
    }

    private static List<Path> labTests() throws IOException {
        return Selection.book().labs().stream().map(lab -> lab.tests().resolve(lab.testClass() + ".java")).toList();
    }

    /** Says where each match of the pattern stands; an empty list is what we want. */
    private static List<String> found(List<Path> files, String pattern) throws IOException {
        var wanted = Pattern.compile(pattern);
        var places = new ArrayList<String>();
        for (var file : files) {
            var lines = Files.readAllLines(file);
            for (int i = 0; i < lines.size(); i++) {
                if (wanted.matcher(lines.get(i)).find()) {
                    places.add(Selection.book().shown(file) + ":" + (i + 1) + ": " + lines.get(i).strip());
                }
            }
        }
        return places;
    }

    @Test
    void a_library_has_the_same_version_everywhere() throws IOException {
        var versions = new TreeMap<String, Set<String>>();
        for (var folder : List.of("labs", "solutions", "tests", "book")) {
            for (var file : java(folder)) {
                for (var name : Libraries.deps(Files.readString(file))) {
                    var part = name.split(":");
                    versions.computeIfAbsent(part[0] + ":" + part[1], key -> new TreeSet<>()).add(part[2]);
                }
            }
        }
        versions.values().removeIf(each -> each.size() == 1);
        assertEquals(Map.of(), versions);
    }

    /** What {@code .editorconfig} says. */
    @Test
    void the_machinery_is_at_most_120_columns_wide() throws IOException {
        for (var folder : List.of("tests/bench", "tests/grader", "tests/kit", "tests/verify", "book")) {
            assertEquals(List.of(), found(java(folder), "^.{121}"));
        }
    }

    /** Which tests there are, and which of them are disabled, must be known before a learner's code is loaded. */
    @Test
    void lab_tests_are_plain_tests() throws IOException {
        assertEquals(List.of(), found(labTests(), "@ParameterizedTest|@RepeatedTest|@TestFactory|@TestTemplate"));
        assertEquals(List.of(), found(labTests(), "@Disabled|@Enabled(?!If\\()|Assumptions|TestAbortedException"));
    }

    /** A sleep is no way to wait for something; where one belongs to the scenario, its line says which. */
    @Test
    void a_sleep_in_a_lab_test_says_what_it_is_for() throws IOException {
        assertEquals(List.of(), found(labTests(), "\\bsleep\\((?!.*; +// \\w+)"));
    }

    @Test
    void labs_depend_on_neither_kit_nor_grader() throws IOException {
        var all = new ArrayList<>(java("labs"));
        all.addAll(java("solutions"));
        assertEquals(List.of(), found(all, "\\b(kit|grader|verify)\\.|//SOURCES|^package "));
    }

    @Test
    void no_preview_feature_is_used() throws IOException {
        for (var folder : List.of("labs", "solutions", "tests", "book")) {   // and not the cache, which others write
            assertEquals(List.of(), found(java(folder), "--enable-" + "preview"));
        }
    }

    @Test
    void test_files_carry_what_an_ide_needs() throws IOException {
        for (var lab : Selection.book().labs()) {
            var text = Files.readString(lab.tests().resolve(lab.testClass() + ".java"));
            for (var line : List.of("//DEPS org.junit.jupiter:junit-jupiter:",
                    "//SOURCES ../../labs/" + lab.slug() + "/" + lab.fileName(), "//SOURCES ../kit/*.java")) {
                assertTrue(text.contains(line), lab.testClass() + ".java lacks " + line);
            }
        }
    }

    /** Where JBang is not installed, which is usual, a command that is copied must run all the same. */
    @Test
    void commands_in_the_book_are_typed_with_the_launcher() throws IOException {
        var pages = new ArrayList<>(Folders.files(Selection.root().resolve("book/transcripts")));
        pages.addAll(Folders.files(Selection.root().resolve("book/chapters")));
        assertEquals(List.of(), found(pages, "(?<![./\\w-])jbang "
                + "(lab-|solution-|test-|(test|watch|hint|progress|reset|bench|ide|book)\\b|book/)"));
    }

    @Test
    void the_readme_includes_nothing() throws IOException {
        assertEquals(List.of(), found(List.of(Selection.root().resolve("README.adoc")), "^include::"));
    }

    @Test
    void the_readme_lists_every_lab() throws IOException {
        var readme = Files.readString(Selection.root().resolve("README.adoc"));
        for (var lab : Selection.book().labs()) {
            var command = "jbang lab-" + lab.number();
            assertTrue(readme.contains(command), "README.adoc does not show " + command);
        }
    }
}
