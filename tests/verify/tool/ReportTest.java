package verify.tool;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;
import module java.xml;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.harrel.jsonschema.ValidatorFactory;
import dev.harrel.jsonschema.providers.JacksonNode;
import grader.grade.ClassFile;
import grader.grade.ClassResult;
import grader.report.ClassTable;
import grader.report.Formats;
import grader.report.Reports;
import grader.workbook.CannotCheck;
import grader.workbook.Folders;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import picocli.CommandLine;
import verify.Selection;

/** The reports of a class that was made by hand: valid, right, and harmless whatever a submission says. */
@Execution(ExecutionMode.CONCURRENT)
class ReportTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Path SCHEMAS = Selection.root().resolve("tests", "verify", "schemas");

    private final ClassResult small = SampleClass.small();
    private Path folder;

    @BeforeEach
    void write() throws IOException {
        folder = Files.createTempDirectory("reports");
        Reports.write(small, folder);
    }

    @AfterEach
    void delete() throws IOException {
        Folders.delete(folder);
    }

    private static List<String> errors(String schema, String json) throws IOException {
        return new ValidatorFactory().withJsonNodeFactory(new JacksonNode.Factory())
                .validate(Files.readString(SCHEMAS.resolve(schema)), json).getErrors().stream()
                .map(error -> error.getInstanceLocation() + ": " + error.getError()).toList();
    }

    private JsonNode json(String path) throws IOException {
        return JSON.readTree(folder.resolve(path).toFile());
    }

    /** A class of one: what the formats for one submission are given. */
    private ClassResult only(int student) {
        return new ClassResult(small.tests(), small.began(), small.labs(), List.of(small.students().get(student)));
    }

    @Test
    void class_json_follows_its_schema_and_reads_back_as_it_was() throws Exception {
        var file = folder.resolve("class.json");
        assertEquals(List.of(), errors("class.json", Files.readString(file)));
        var again = folder.resolve("again.json");
        ClassFile.write(ClassFile.read(file), again);
        assertEquals(-1, Files.mismatch(file, again));
        var read = ClassFile.read(file);
        assertEquals(small.labs(), read.labs());
        assertEquals(small.students().subList(0, 4), read.students().subList(0, 4));
    }

    /** Or the schema would say nothing. */
    @Test
    void the_schemas_refuse_what_lacks_a_field() throws Exception {
        var whole = json("class.json");
        for (var path : List.of("/students/0", "/students/0/labs/0", "/students/0/labs/0/steps/0/checks/0", "/labs/0",
                "/labs/0/steps/0", "/labs/0/steps/0/checks/0", "")) {
            for (var field : JSON.convertValue(whole.at(path), Map.class).keySet()) {
                var broken = whole.deepCopy();
                ((com.fasterxml.jackson.databind.node.ObjectNode) broken.at(path)).remove((String) field);
                assertFalse(errors("class.json", broken.toString()).isEmpty(), path + " without " + field);
            }
        }
        assertFalse(errors("exercism.json", "{\"version\": 3, \"status\": \"fail\"}").isEmpty());
        assertFalse(errors("gradescope.json", "{\"output\": \"\"}").isEmpty());
        assertFalse(errors("classroom50.json", "{\"schema\": \"classroom50/result/v1\"}").isEmpty());
    }

    @Test
    void a_file_that_is_no_result_is_told_apart() throws IOException {
        var file = Files.writeString(folder.resolve("x.json"), "{\"tests\": ");
        assertThrows(CannotCheck.class, () -> ClassFile.read(file));
    }

    private static org.w3c.dom.Document xml(Path file) throws Exception {
        var schema = SchemaFactory.newInstance(XMLConstants.W3C_XML_SCHEMA_NS_URI)
                .newSchema(SCHEMAS.resolve("junit.xsd").toFile());
        schema.newValidator().validate(new StreamSource(file.toFile()));
        return DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(file.toFile());
    }

    @Test
    void junit_xml_follows_its_schema_and_counts_right() throws Exception {
        var files = Folders.files(folder.resolve("junit"));
        assertEquals(small.students().size(), files.size());
        for (var file : files) {
            var suites = xml(file).getElementsByTagName("testsuite");
            assertEquals(2, suites.getLength());
            for (int i = 0; i < suites.getLength(); i++) {
                var suite = (org.w3c.dom.Element) suites.item(i);
                for (var kind : Map.of("tests", "testcase", "failures", "failure", "errors", "error",
                        "skipped", "skipped").entrySet()) {
                    assertEquals(suite.getElementsByTagName(kind.getValue()).getLength(),
                            Integer.parseInt(suite.getAttribute(kind.getKey())), file + " " + kind.getKey());
                }
            }
        }
        var failures = xml(folder.resolve("junit", "Çağla Ünsal.xml")).getElementsByTagName("failure");
        assertEquals(3, failures.getLength());
        assertEquals("  seen: «1 line» & more\nexpected <b>\nat TcpServer.java:41 (serve)",
                failures.item(0).getTextContent());
    }

    @Test
    void what_the_machine_failed_at_is_an_error_and_no_failure() throws Exception {
        var file = xml(folder.resolve("junit", "Zoë.xml"));
        assertEquals(8, file.getElementsByTagName("failure").getLength(), "the file that does not compile");
        assertEquals(2, file.getElementsByTagName("error").getLength(), "the lab that was not graded");
    }

    @Test
    void the_junit_schema_refuses_what_no_reader_expects() throws Exception {
        var good = Files.readString(folder.resolve("junit", "Zoë.xml"));
        for (var change : Map.of(" hostname=\"localhost\"", "", "<properties>", "<system-err/><properties>",
                "time=\"0.005\"", "time=\"soon\"", "package=\"401-tcp-server\"", "package=\"\"").entrySet()) {
            assertTrue(good.contains(change.getKey()), change.getKey());
            var bad = Files.writeString(folder.resolve("bad.xml"),
                    good.replaceFirst(Pattern.quote(change.getKey()), change.getValue()));
            assertThrows(org.xml.sax.SAXException.class, () -> xml(bad), change.toString());
        }
    }

    @Test
    void exercism_results_follow_their_schema() throws Exception {
        var files = Folders.files(folder.resolve("students")).stream()
                .filter(file -> file.toString().endsWith(".json")).toList();
        assertEquals(2 * small.students().size(), files.size());
        for (var file : files) {
            assertEquals(List.of(), errors("exercism.json", Files.readString(file)), file.toString());
        }
        assertEquals("pass", json("students/Ada Lovelace/result-401.json").path("status").asText());
        var some = json("students/Çağla Ünsal/result-401.json");
        assertEquals("fail", some.path("status").asText());
        assertEquals(2, some.path("tests").get(3).path("task_id").asInt());
        assertEquals("error", json("students/Zoë/result-401.json").path("status").asText());
        assertTrue(json("students/Zoë/result-402.json").path("message").asText().contains("not the student's fault"));
    }

    @Test
    void the_spreadsheet_has_a_row_a_student_and_no_zero_for_what_was_not_graded() throws Exception {
        var text = Files.readString(folder.resolve("class.csv"));
        assertTrue(text.startsWith("\ufeffstudent,folder,points,of,percent,core points,core of,not graded,"
                + "401,401.1,401.2,401.3,402,402.1,notes\r\n"), text);
        assertTrue(text.contains("\r\nÇağla Ünsal,Çağla Ünsal,7.67,12,63.89,6,7,,5.67,3,1,1.67,2,2,\r\n"), text);
        assertTrue(text.contains("\r\nZoë,Zoë,,10,,,5,402,0,0,0,0,,,\r\n"), text);
    }

    @Test
    void no_cell_of_the_spreadsheet_is_a_formula() throws Exception {
        var text = Files.readString(folder.resolve("class.csv"));
        assertTrue(text.contains("\r\n\"'=HYPERLINK(\"\"http://a.test\"\")\",\"'=HYPERLINK(\"\"http://a.test\"\")\","),
                text);
        assertFalse(Pattern.compile("(^|[,\n])\"?[=@+-]").matcher(text).find(), text);
    }

    @Test
    void a_student_reads_everything_that_failed_but_not_the_private_checks() throws Exception {
        var text = Files.readString(folder.resolve("students", "Çağla Ünsal", "result.txt"));
        for (var words : List.of("Lab 401  TCP server", "labs/401-tcp-server/TcpServer.java",
                "  2  Serve each client concurrently               partly 1/2\n",
                "         seen: «1 line» & more\n", "printed: «1 line»", "not checked here: the machine lacks IPv6",
                "the teacher's own check\n       one of your teacher's own checks\n", "7.67 of 12 points")) {
            assertTrue(text.contains(words), words + " is not in\n" + text);
        }
        var begun = Files.readString(folder.resolve("students", "李小龍", "result.txt"));
        for (var words : List.of("an ephemeral port is told\n         seen: the run ended\n",
                "one line is echoed\n       not run: the run had ended before\n", "                to do\n"
                + "     to do: the TODO of this step is still in the file\n")) {
            assertTrue(begun.contains(words), words + " is not in\n" + begun);
        }
        assertEquals(2, text.split("seen: ", -1).length - 1, "the message of the private check is not there");
        var xml = Files.readString(folder.resolve("junit", "Çağla Ünsal.xml"));
        assertEquals(4, xml.split("seen: ", -1).length - 1, "two failures, each with an attribute and a text");
    }

    @Test
    void the_folders_of_the_reports_have_names_that_every_system_takes() throws Exception {
        try (var folders = Files.list(folder.resolve("students"))) {
            var names = folders.map(each -> each.getFileName().toString()).toList();
            assertEquals(small.students().size(), names.size());
            assertEquals(List.of(), names.stream()
                    .filter(name -> name.matches("(?s).*[\\p{Cntrl}\\\\/:*?\"<>|].*|\\..*")).toList());
        }
        try (var all = Files.list(folder)) {
            assertEquals(List.of("class.csv", "class.html", "class.json", "junit", "students"),
                    all.map(each -> each.getFileName().toString()).sorted().toList());
        }
    }

    private static String table(ClassResult result) {
        var bytes = new ByteArrayOutputStream();
        ClassTable.print(result, new PrintStream(bytes, true, StandardCharsets.UTF_8));
        return bytes.toString(StandardCharsets.UTF_8);
    }

    @Test
    void the_terminal_shows_each_student_on_a_line_and_where_they_are_stuck() throws Exception {
        var lines = table(small).lines().toList();
        assertTrue(lines.get(1).matches(" +Ada Lovelace +12 of 12 +### +#"), lines.get(1));
        assertTrue(lines.get(2).matches(" +Çağla Ünsal +7\\.67 of 12 +#\\+\\+ +#"), lines.get(2));
        assertTrue(lines.get(3).matches(" +李小龍 +1 of 12 +\\+\\.\\. +-"), lines.get(3));
        assertEquals(lines.get(1).indexOf("12 of") - 3, lines.get(3).indexOf("1 of"),
                "each of the three letters takes two columns");
        assertTrue(lines.get(4).matches(" +Zoë +0 of 10 \\? +xxx +\\?"), lines.get(4));
        int hardest = lines.indexOf("  hardest steps, with the share of their points that those have whose file was "
                + "checked");
        assertTrue(lines.get(hardest + 1).matches(" +401\\.3 +Cap the connections +10 %"), lines.get(hardest + 1));
        assertEquals("           11 fail: the eleventh client waits", lines.get(hardest + 2));
        assertTrue(lines.contains("  Zoë: not graded: 402 (the disk is full)"), lines.toString());
        assertEquals(5 + SampleClass.HOSTILE_NAMES.size(), lines.stream().limit(15).toList().size());
    }

    @Test
    void the_terminal_table_is_below_100_columns_for_five_labs_and_for_all() throws Exception {
        for (var labs : List.of(List.of("401", "402", "403", "404", "405"), List.<String>of())) {
            var wide = table(SampleClass.large(Selection.book(), 40, labs)).lines()
                    .filter(line -> line.length() >= 100).toList();
            assertEquals(List.of(), wide);
        }
    }

    /** What these options, given on a command line, print. */
    private static String formats(ClassResult result, String... options) throws Exception {
        return formats(Map.of(), result, options);
    }

    private static String formats(Map<String, String> environment, ClassResult result, String... options)
            throws Exception {
        var formats = new Formats(environment);
        new CommandLine(formats).parseArgs(options);
        var bytes = new ByteArrayOutputStream();
        var out = new PrintStream(bytes, true, StandardCharsets.UTF_8);
        formats.begin(out);
        formats.write(result, out);
        return bytes.toString(StandardCharsets.UTF_8);
    }

    @Test
    void gradescope_results_follow_their_schema_and_add_up() throws Exception {
        var file = folder.resolve("results.json");
        for (int student : List.of(0, 1, 2, 4, 11)) {
            formats(only(student), "--gradescope", file.toString());
            assertEquals(List.of(), errors("gradescope.json", Files.readString(file)));
        }
        formats(only(1), "--gradescope", file.toString());
        var tests = JSON.readTree(file.toFile()).path("tests");
        assertEquals(7.6667, tests.valueStream().mapToDouble(test -> test.path("score").asDouble()).sum(), 0.0001);
        assertEquals(12, tests.valueStream().mapToDouble(test -> test.path("max_score").asDouble()).sum());
        assertEquals("401.2 failed", tests.get(1).path("number").asText() + " " + tests.get(1).path("status").asText());
        assertFalse(tests.get(2).path("output").asText().contains("own check\n    seen"), "a private message");
    }

    @Test
    void a_format_for_one_submission_refuses_two_and_what_was_not_graded() {
        var file = folder.resolve("results.json").toString();
        assertThrows(CannotCheck.class, () -> formats(small, "--gradescope", file));
        var ungraded = assertThrows(CannotCheck.class, () -> formats(only(3), "--gradescope", file));
        assertTrue(ungraded.getMessage().contains("402 (the disk is full)"), ungraded.getMessage());
        assertFalse(Files.exists(Path.of(file)));
    }

    @Test
    void a_format_of_a_ci_system_says_what_the_environment_lacks() {
        var github = assertThrows(CannotCheck.class, () -> formats(only(1), "--github"));
        assertTrue(github.getMessage().contains("GITHUB_STEP_SUMMARY"), github.getMessage());
        var classroom = assertThrows(CannotCheck.class, () -> formats(only(1), "--classroom50", "x"));
        assertTrue(classroom.getMessage().contains("SUBMISSION_TAG"), classroom.getMessage());
    }

    private static final Map<String, String> CLASSROOM_50 = Map.of("CLASSROOM", "networking", "ASSIGNMENT", "tcp",
            "SUBMISSION_TAG", "submit/2026-11-28T10-20-30Z-abc", "COMMIT_URL", "http://a.test/c",
            "RELEASE_URL", "http://a.test/r");

    @Test
    void classroom_50_results_follow_their_schema_in_whole_points() throws Exception {
        var file = folder.resolve("result.json");
        for (var student : Map.of(0, "12 of 12", 1, "767 of 1200").entrySet()) {
            formats(CLASSROOM_50, only(student.getKey()), "--classroom50", file.toString());
            assertEquals(List.of(), errors("classroom50.json", Files.readString(file)));
        }
        var result = JSON.readTree(file.toFile());
        assertEquals("2026-11-28T10:20:30Z", result.path("datetime").asText());
        assertEquals("http://a.test/c", result.path("review").asText(), "where the runner names none, the commit");
    }

    private String gitHub(ClassResult result) throws Exception {
        return formats(Map.of("GITHUB_STEP_SUMMARY", folder.resolve("summary.md").toString()), result, "--github");
    }

    @Test
    void an_annotation_names_the_step_and_stands_at_the_line() throws Exception {
        var said = gitHub(only(1)).lines().toList();
        assertEquals(4, said.size(), said.toString());
        assertEquals("::error file=labs/401-tcp-server/TcpServer.java,line=41,title=401.2 Serve each client "
                + "concurrently::a thousand clients are served at once%0A  seen: «1 line» & more%0Aexpected <b>%0A"
                + "at TcpServer.java:41 (serve)", said.get(2));
        var summary = Files.readString(folder.resolve("summary.md"));
        assertTrue(summary.startsWith("## 7.67 of 12 points\n\n| Step | | Checks | Points |\n"), summary);
        assertTrue(summary.contains("| 401\\.2 Serve each client concurrently | partly | 1/2 | 1 of 2 |\n"), summary);
        assertTrue(summary.contains("seen: «1 line» &amp; more\n"), summary);
    }

    /** Whatever a student's folder or program is called or says: between these lines GitHub takes no command. */
    @Test
    void github_takes_no_command_from_a_submission() throws Exception {
        for (int student = 4; student < small.students().size(); student++) {
            var said = gitHub(only(student)).lines().toList();
            var pause = said.getFirst().replaceFirst("^::stop-commands::([0-9a-f]{32})$", "$1");
            assertEquals("::" + pause + "::", said.get(1));
            var forged = said.stream().skip(2).filter(line -> !line.startsWith("::error file=labs/")
                    || line.indexOf("::", 2) != line.indexOf("::", line.indexOf("title="))).toList();
            assertEquals(List.of(), forged);
        }
        assertEquals(2, gitHub(small).lines().count(), "a class has no annotations");
    }

    /** As GitHub reads it: HTML elements that are not escaped, and cells of a table. */
    @Test
    void the_summary_holds_no_markup_of_a_submission() throws Exception {
        gitHub(small);
        for (int student = 4; student < small.students().size(); student++) {
            gitHub(only(student));
        }
        var summary = Files.readString(folder.resolve("summary.md"));
        assertEquals(Set.of("<details>", "<summary>", "</summary>", "<pre>", "</pre>", "</details>"),
                Pattern.compile("<[^>]*>").matcher(summary).results().map(MatchResult::group)
                        .collect(Collectors.toSet()));
        var cells = summary.lines().filter(line -> line.startsWith("| ")).map(line -> line.split("(?<!\\\\)\\|").length)
                .collect(Collectors.toSet());
        assertEquals(Set.of(5), cells, "rows of both tables have four cells");
        assertFalse(Pattern.compile("@\\w").matcher(summary.replaceAll("(?s)<pre>.*?</pre>", "")).find(), summary);
    }

    @Test
    void a_summary_is_never_larger_than_github_takes() throws Exception {
        var large = SampleClass.large(Selection.book(), 1, List.of());
        var wordy = new ClassResult(large.tests(), large.began(), large.labs(), large.students().stream()
                .map(student -> SampleClass.withWords(student, "€".repeat(60_000))).toList());
        gitHub(wordy);
        assertTrue(Files.size(folder.resolve("summary.md")) < 1 << 20);
        assertTrue(Files.readString(folder.resolve("summary.md")).contains("The rest is in the log"));
    }
}
