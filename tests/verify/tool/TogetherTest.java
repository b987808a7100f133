package verify.tool;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import module java.base;

import grader.compile.Libraries;
import grader.workbook.CannotCheck;
import grader.workbook.Skeleton;
import grader.workbook.Workbook;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import together.Part;
import verify.Commands;
import verify.Selection;

/** {@code jbang together}: six labs as processes, with the solutions and with learners' files. */
@Execution(ExecutionMode.SAME_THREAD)
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class TogetherTest {
    /** What the chapter promises: with these steps written, and no more, a learner's lab takes part. */
    private static final Map<String, Integer> NEEDED =
            Map.of("418", 4, "409", 3, "408", 4, "416", 3, "406", 5, "414", 5);

    private Commands.Ended solutions;
    private Commands.Ended learners;

    @BeforeAll
    void run() throws Exception {
        try (var copy = WorkbookCopy.make()) {
            solutions = copy.together("--yours");   // the copy has skeletons
            for (var each : NEEDED.entrySet()) {
                var lab = Selection.book().lab(each.getKey());
                Files.writeString(copy.path(lab.file()), Skeleton.of(lab.solution()).withSteps(each.getValue()));
            }
            learners = copy.together("--yours");
        }
    }

    /** The lines of a scene, without its heading. */
    private static List<String> scene(Commands.Ended run, int number) {
        return run.output().lines().dropWhile(line -> !line.startsWith("  " + number + "  ")).skip(1)
                .takeWhile(line -> !line.isBlank()).map(String::strip).toList();
    }

    private static void assertMatches(String pattern, String text, Commands.Ended run) {
        assertTrue(Pattern.compile(pattern, Pattern.DOTALL).matcher(text).find(),
                () -> "«" + pattern + "» is not in\n" + run.all());
    }

    @Test
    void it_ends_well() {
        assertEquals(0, solutions.status(), solutions.all());
        assertEquals(List.of(), solutions.errors().lines()
                .filter(line -> !line.startsWith(Libraries.FETCHING)).toList());
    }

    @Test
    void the_scenes_are_those_of_the_chapter() throws Exception {
        var recorded = Files.readString(Selection.root().resolve("book", "transcripts", "together", "run.txt"));
        assertEquals(titles(recorded), titles(solutions.output()), solutions.all());
    }

    private static List<String> titles(String text) {
        return text.lines().filter(line -> line.matches("  [1-6]  .*")).toList();
    }

    @Test
    void each_part_is_a_process_of_its_own_and_none_is_left() {
        var processes = Pattern.compile("process (\\d+)").matcher(solutions.output()).results()
                .map(found -> Long.parseLong(found.group(1))).toList();
        assertTrue(processes.size() >= 5, solutions.all());
        assertEquals(processes.size(), Set.copyOf(processes).size(), solutions.all());
        assertEquals(List.of(), processes.stream().filter(pid -> ProcessHandle.of(pid).isPresent()).toList());
    }

    @Test
    void with_skeletons_every_part_is_a_solution_and_its_line_says_why() {
        var lines = scene(solutions, 1).stream().filter(line -> line.contains("process")).toList();
        assertEquals(lines, lines.stream()
                .filter(line -> line.endsWith("the solution: step 1 of yours is missing")).toList());
        assertTrue(solutions.output().endsWith("\nwith yours: 0 of 6\n"), solutions.all());
    }

    @Test
    void lab_418_finds_the_proxy() {
        assertMatches("proxy\\.lab\\.test A 127\\.0\\.0\\.1", scene(solutions, 2).toString(), solutions);
    }

    @Test
    void the_first_call_looks_up_and_connects_and_the_second_reuses() {
        var calls = String.join("\n", scene(solutions, 3)).split("(?=GET )");
        assertEquals(2, calls.length, solutions.all());
        assertMatches("  200 .* DNS .* CONNECT .* TLS .* WAIT ", calls[0], solutions);
        assertMatches("  200 .*reused\n0 REQUEST .* WAIT ", calls[1], solutions);
    }

    @Test
    void lab_406_sees_three_hops_with_the_same_bytes_on_both_sides_of_the_link() {
        assumeCaptured();
        var hops = scene(solutions, 4);
        assertEquals(3, hops.size(), solutions.all());
        var bytes = hops.stream().map(line -> line.replaceFirst(".*packets, (\\d+/\\d+) bytes.*", "$1")).toList();
        assertAll(() -> assertMatches("^client to link", hops.get(0), solutions),
                () -> assertMatches("^link to proxy", hops.get(1), solutions),
                () -> assertMatches("^proxy to server", hops.get(2), solutions),
                () -> assertFalse(bytes.get(1).equals(bytes.get(2)), "the tunnel's CONNECT stays at the proxy"));
    }

    private void assumeCaptured() {
        assumeTrue(Workbook.requiresAll() || !solutions.output().contains("406 is skipped"),
                "this user may not capture packets");
    }

    @Test
    void the_stall_is_a_call_that_ended_in_its_body() {
        assertMatches("BODY .*CANCELED.*timeout", String.join("\n", scene(solutions, 5)), solutions);
    }

    @Test
    void the_link_that_stalls_has_read_on_and_written_no_more() {
        var figures = scene(solutions, 5).stream().filter(line -> line.startsWith("416 connections")).findFirst()
                .orElse("nothing");
        assertMatches("writtenDown=65536\\b", figures, solutions);
    }

    @Test
    void the_counts_at_the_end_are_those_of_three_calls_in_two_tunnels() {
        var counts = String.join("\n", scene(solutions, 6));
        assertMatches("418 questions=3\n416 .*\n408 .*tunnels=2,.*\n409 openStreams=0", counts, solutions);
    }

    @Test
    void with_the_steps_that_the_chapter_names_six_labs_of_a_learner_take_part() {
        assertEquals(0, learners.status(), learners.all());
        assertTrue(learners.output().endsWith("\nwith yours: 6 of 6\n"), learners.all());
        assertMatches("  200 .*reused", String.join("\n", scene(learners, 3)), learners);
        assertMatches("BODY .*CANCELED.*timeout", String.join("\n", scene(learners, 5)), learners);
    }

    @Test
    void a_part_that_dies_is_named_with_its_last_lines() throws Exception {
        try (var part = new Part("416 link", List.of("sh", "-c", "echo no such port; exit 3"))) {
            var said = assertThrows(CannotCheck.class, part::awaitReady).getMessage();
            assertEquals("""
                    416 link ended before it printed «listening on HOST:PORT»
                    its last lines:
                      no such port""", said);
        }
    }

    @Test
    void a_part_that_says_nothing_is_named() throws Exception {
        try (var part = new Part("408 proxy", List.of("cat"), Duration.ofSeconds(1))) {
            var said = assertThrows(CannotCheck.class, part::awaitReady).getMessage();
            assertEquals("408 proxy had not printed, after 1 s, «listening on HOST:PORT»\nit printed nothing", said);
        }
    }

    @Test
    void what_is_not_understood_is_told() throws Exception {
        try (var copy = WorkbookCopy.make()) {
            var ended = copy.together("--mine");
            assertEquals(2, ended.status(), ended.all());
            assertTrue(ended.errors().startsWith("not understood: --mine\n"), ended.all());
        }
    }
}
