package verify.lab;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import module java.base;

import grader.check.Submission;
import grader.maintain.NewLab;
import grader.workbook.Curriculum;
import grader.workbook.Folders;
import grader.workbook.Hints;
import grader.workbook.Lab;
import grader.workbook.Skeleton;
import grader.workbook.Workbook;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;
import verify.Selection;

/** The files of one lab agree with one another. */
@Execution(ExecutionMode.CONCURRENT)
@ParameterizedClass(name = "{0}")
@MethodSource("verify.Selection#labs")
class LabFilesTest {
    private static final int WIDEST = 80;
    private static final Pattern CODE = Pattern.compile("`([^`\n]*)`");

    @Parameter
    Lab lab;

    private Skeleton skeleton;

    @BeforeEach
    void open() throws IOException {
        skeleton = Skeleton.of(lab.solution());
    }

    @Test
    void the_skeleton_beside_the_tests_is_what_the_solution_gives() throws IOException {
        assertTrue(lab.skeleton().equals(skeleton.withSteps(0)), Selection.book().shown(lab.skeletonFile())
                + " differs from what its solution gives: jbang skeleton " + lab.number());
    }

    @Test
    void the_lab_file_is_the_skeleton() throws IOException {
        boolean same = Files.exists(lab.file()) && Files.readString(lab.file()).equals(lab.skeleton());
        assumeTrue(same || Workbook.requiresAll(), "yours, not checked: " + Selection.book().shown(lab.file()));
        assertTrue(same, Selection.book().shown(lab.file()) + " is not the skeleton: jbang skeleton " + lab.number());
    }

    @Test
    void steps_of_solution_tests_and_curriculum_are_the_same() throws IOException {
        var steps = WarmChecker.own().plan(lab).steps();
        assertEquals(skeleton.steps(), steps.size(), "steps in the solution and in the tests");
        assertEquals(Curriculum.read(Selection.book()).of(lab).steps(),
                steps.stream().map(step -> new Curriculum.StepTitle(step.title(), step.further())).toList());
    }

    @Test
    void every_step_of_the_skeleton_has_a_todo_and_the_first_stands_near_the_top() throws IOException {
        var todos = Submission.of(lab, skeleton.withSteps(0)).todos();
        var steps = todos.stream().map(Submission.Todo::step).toList();
        assertEquals(skeleton.steps(), (int) steps.stream().distinct().count());
        assertEquals(steps.stream().sorted().toList(), steps, "TODOs from top to bottom");
        assertTrue(todos.getFirst().line() <= 80, "the first TODO is in line " + todos.getFirst().line());
    }

    @Test
    void the_solution_is_fit_to_print() throws IOException {
        var lines = Files.readAllLines(lab.solution());
        assertAll(IntStream.range(0, lines.size()).mapToObj(i -> () -> {
            var line = lines.get(i);
            boolean tag = line.strip().startsWith("// tag::") || line.strip().startsWith("// end::");
            assertTrue(tag || line.length() <= WIDEST, "line " + (i + 1) + " is " + line.length() + " wide");
            assertTrue(tag || !line.contains("// TODO"), "line " + (i + 1) + " holds a TODO");
            assertTrue(!line.contains("new UnsupportedOperationException"),
                    "line " + (i + 1) + ": that type is kept for TODOs");
        }));
    }

    @Test
    void every_step_has_three_hints() throws IOException {
        var hints = Hints.of(lab);
        assertEquals(IntStream.rangeClosed(1, skeleton.steps()).boxed().toList(), List.copyOf(hints.keySet()));
        hints.forEach((step, each) -> assertEquals(3, each.size(), "hints of step " + step));
        var different = hints.values().stream().flatMap(List::stream).distinct().count();
        assertEquals(3 * skeleton.steps(), (int) different, "hints that differ");
    }

    /** In a sentence and in a terminal nobody reads code that is longer. */
    @Test
    void long_code_in_a_hint_is_a_listing() throws IOException {
        for (var hint : Hints.of(lab).values().stream().flatMap(List::stream).toList()) {
            var code = CODE.matcher(hint).results().map(span -> span.group(1))
                    .filter(span -> span.length() > 60).toList();
            assertEquals(List.of(), code, "put it between ---- lines, as other hints do");
            var tooWide = hint.lines().filter(line -> line.startsWith(" ") && line.length() > 84).toList();
            assertEquals(List.of(), tooWide, "wider than 80 columns");
        }
    }

    @Test
    void nothing_waits_to_be_written() throws IOException {
        var files = new ArrayList<>(List.of(lab.solution(), lab.chapter()));
        files.addAll(Folders.files(lab.tests()));
        var places = new ArrayList<String>();
        for (var file : files) {
            var lines = Files.readAllLines(file);
            var path = Selection.book().shown(file);
            IntStream.range(0, lines.size()).filter(i -> lines.get(i).contains(NewLab.TO_WRITE))
                    .forEach(i -> places.add(path + ":" + (i + 1) + ": " + lines.get(i).strip()));
        }
        assertEquals("", String.join("\n", places), "places that jbang new has left to be written");
    }
}
