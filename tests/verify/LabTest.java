package verify;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import module java.base;

import grader.CheckListener;
import grader.Checker.Order;
import grader.Checker;
import grader.Curriculum;
import grader.Folders;
import grader.Fork;
import grader.Hints;
import grader.Javac;
import grader.Skeleton;
import grader.Source;
import grader.Verdict.Status;
import grader.Verdict;
import grader.Workbook;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** One lab: skeleton, prefixes, solution, mistakes and chapter agree. Two checks run at once, of one lab or of two. */
@Execution(ExecutionMode.CONCURRENT)
@ParameterizedClass(name = "{0}")
@MethodSource("verify.Scope#labs")
class LabTest {
    private static final int WIDEST = 80;
    private static final int FEWEST_MISTAKES = 5;
    private static final Duration PATIENT = Duration.ofSeconds(10);
    private static final Duration IMPATIENT = Duration.ofSeconds(1);
    private static final Duration HANGS = Duration.ofSeconds(20);

    @Parameter
    Workbook.Lab lab;

    private Checker checker;
    private Skeleton skeleton;

    @BeforeEach
    void open() throws IOException {
        checker = new Checker(Scope.book());
        skeleton = Skeleton.of(lab.solution());
    }

    @AfterEach
    void close() throws IOException {
        checker.close();
    }

    private Source source(String text) {
        return new Source(lab, lab.file(), text);
    }

    /** Waits of tests up to {@code done} are patient; those of later steps are expected to fail, and do it soon. */
    private static Order order(int done, int last, IntPredicate untilFirstFailed) {
        return new Order(last, true, untilFirstFailed, step -> step <= done ? PATIENT : IMPATIENT, HANGS, Duration.ofMinutes(5));
    }

    private Verdict check(String text, Order order) throws IOException {
        return checker.check(source(text), order, new CheckListener() {});
    }

    private static String story(Verdict verdict) {
        var findings = verdict.findings().stream().map(finding -> finding.line() + ": " + finding.message());
        var failures = verdict.steps().stream().flatMap(step -> step.tests().stream()).filter(test -> test.status() == Status.FAIL)
                .map(test -> "step " + test.test().step() + ", " + test.test().title() + ": " + test.message() + " " + test.place());
        return Stream.of(findings, failures, verdict.trouble().stream()).flatMap(all -> all).collect(Collectors.joining("\n"));
    }

    @Test
    void the_lab_file_is_the_skeleton_that_the_solution_gives() throws IOException {
        boolean same = Files.exists(lab.file()) && Files.readString(lab.file()).equals(skeleton.withSteps(0));
        assumeTrue(same || Scope.requiresAll(), "yours, not checked: " + Scope.book().shown(lab.file()));
        assertTrue(same, Scope.book().shown(lab.file()) + " differs from what its solution gives: jbang skeleton " + lab.number());
    }

    @Test
    void every_prefix_compiles_without_a_warning() throws IOException {
        var tests = checker.tests(lab);
        var classes = Files.createTempDirectory("prefix");
        try (var javac = new Javac()) {
            for (int done = 0; done <= skeleton.steps(); done++) {
                var text = new Javac.Text(lab.fileName(), skeleton.withSteps(done));
                assertEquals(List.of(), javac.compile(List.of(text), tests.libraries(), classes, "-Xlint:all", "-Werror"), "with steps 1 to " + done);
            }
        } finally {
            Folders.delete(classes);
        }
    }

    @Test
    void every_prefix_passes_its_own_steps_and_fails_each_later_one() throws IOException {
        for (int done = 0; done <= skeleton.steps(); done++) {
            int last = done;
            var verdict = check(skeleton.withSteps(done), order(done, Integer.MAX_VALUE, step -> step > last));
            for (var step : verdict.steps()) {
                boolean shouldPass = step.step().number() <= done;
                assertEquals(shouldPass, step.passed(), "step %d with steps 1 to %d written%n%s".formatted(step.step().number(), done, story(verdict)));
            }
        }
    }

    @Test
    void with_nothing_written_every_test_fails_by_a_todo() throws IOException {
        for (var step : check(skeleton.withSteps(0), order(0, Integer.MAX_VALUE, step -> false)).steps()) {
            for (var test : step.tests()) {
                assertTrue(test.status() == Status.SKIPPED || test.message().startsWith("TODO step "), "step %d, %s: %s %s".formatted(step.step().number(), test.test().title(), test.status(), test.message()));
            }
        }
    }

    @Test
    void the_demo_of_every_prefix_ends_well_and_names_the_next_step() throws Exception {
        for (int done = 0; done <= skeleton.steps(); done++) {
            var folder = Files.createTempDirectory("demo");
            try {
                var ended = demo(skeleton.withSteps(done), folder);
                assertEquals(0, ended.status(), "with steps 1 to " + done + "\n" + ended.all());
                assertTrue(!ended.all().contains("Exception"), "the demo prints an exception\n" + ended.all());
                if (done < skeleton.steps()) {
                    assertTrue(ended.output().contains("step " + (done + 1)), "the demo with steps 1 to " + done + " does not name step " + (done + 1) + "\n" + ended.output());
                }
                if (done == 0) {
                    assertTrue(ended.output().contains("test-" + lab.number()), "the skeleton's demo does not say what to type\n" + ended.output());
                }
            } finally {
                Folders.delete(folder);
            }
        }
    }

    private Commands.Ended demo(String text, Path folder) throws IOException, InterruptedException {
        var tests = checker.tests(lab);
        try (var javac = new Javac()) {
            assertEquals(List.of(), javac.compile(List.of(new Javac.Text(lab.fileName(), text)), tests.libraries(), folder));
        }
        var path = Stream.concat(Stream.of(folder), tests.libraries().stream()).map(Path::toString).collect(Collectors.joining(File.pathSeparator));
        var command = new ArrayList<>(List.of(Fork.java()));
        command.addAll(tests.jvmOptions());
        command.addAll(List.of("-cp", path, lab.type()));
        return Commands.run(folder, Map.of("WORKBOOK_JBANG", "./jbang"), command.toArray(String[]::new));
    }

    @Test
    void the_solution_passes_whole() throws IOException {
        var verdict = check(Files.readString(lab.solution()), Order.ALL);
        assertTrue(verdict.passed(), story(verdict));
    }

    @TestFactory
    Stream<DynamicTest> every_mistake_is_rejected_by_its_step_with_its_words() throws IOException {
        var mistakes = Mistake.of(lab);
        assertTrue(mistakes.size() >= FEWEST_MISTAKES, mistakes.size() + " mistakes, fewer than " + FEWEST_MISTAKES);
        return mistakes.stream().map(mistake -> DynamicTest.dynamicTest(lab.number() + " " + mistake.name(), () -> isRejected(mistake)));
    }

    /** With a checker of its own: two mistakes are looked at at once. */
    private void isRejected(Mistake mistake) throws IOException {
        try (var own = new Checker(Scope.book())) {
            var wrong = source(mistake.applied(skeleton.withSteps(skeleton.steps())));
            var verdict = own.check(wrong, order(mistake.step() - 1, mistake.step(), step -> true), new CheckListener() {});
            boolean isTold = mistake.isToldIn(story(verdict));
            assumeTrue(isTold || !hasSkipped(verdict.steps().get(mistake.step() - 1)), "a test that may tell it is skipped on this machine");
            var failed = verdict.steps().stream().filter(step -> step.status() == Status.FAIL).map(step -> step.step().number()).toList();
            assertEquals(List.of(mistake.step()), failed, () -> story(verdict));
            assertTrue(isTold, () -> "it should be told «" + mistake.says() + "»\n" + story(verdict));
        }
    }

    private static boolean hasSkipped(Verdict.StepResult step) {
        return step.tests().stream().anyMatch(test -> test.status() == Status.SKIPPED);
    }

    @Test
    void steps_of_solution_tests_and_curriculum_are_the_same() throws IOException {
        var steps = checker.tests(lab).steps();
        assertEquals(skeleton.steps(), steps.size(), "steps in the solution and in the tests");
        assertEquals(Curriculum.read(Scope.book()).of(lab).steps(),
                steps.stream().map(step -> new Curriculum.StepTitle(step.title(), step.further())).toList());
    }

    @Test
    void every_step_of_the_skeleton_has_a_todo_and_the_first_stands_near_the_top() throws IOException {
        var todos = source(skeleton.withSteps(0)).todos();
        assertEquals(skeleton.steps(), (int) todos.stream().map(Source.Todo::step).distinct().count());
        assertEquals(todos.stream().map(Source.Todo::step).sorted().toList(), todos.stream().map(Source.Todo::step).toList(), "TODOs from top to bottom");
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
            assertTrue(!line.contains("new UnsupportedOperationException"), "line " + (i + 1) + ": that type is kept for TODOs");
        }));
    }

    @Test
    void every_step_has_three_hints() throws IOException {
        var hints = Hints.of(lab);
        assertEquals(IntStream.rangeClosed(1, skeleton.steps()).boxed().toList(), List.copyOf(hints.keySet()));
        hints.forEach((step, each) -> assertEquals(3, each.size(), "hints of step " + step));
        assertEquals(3 * skeleton.steps(), (int) hints.values().stream().flatMap(List::stream).distinct().count(), "hints that differ");
    }

    @Test
    void the_chapter_has_its_twelve_sections_in_order() throws IOException {
        assertEquals(Chapter.SECTIONS.stream().map(name -> "lab-" + lab.number() + "-" + name).toList(), Chapter.of(lab).sections());
    }

    @Test
    @DisplayName("the chapter says what the tests check, step by step, word for word")
    void the_chapter_says_what_the_tests_check() throws IOException {
        var tests = checker.tests(lab);
        var chapter = Chapter.of(lab);
        for (var step : tests.steps()) {
            assertEquals("Step " + step.number() + ": " + step.title(), chapter.heading(step.number()));
            assertEquals(tests.of(step).stream().map(Verdict.Expected::title).toList(), chapter.checks(step.number()), "[.checks] of step " + step.number());
        }
    }

    @Test
    void the_names_of_tests_are_sentences_and_differ() throws IOException {
        var titles = checker.tests(lab).tests().stream().map(Verdict.Expected::title).toList();
        assertEquals(titles.stream().distinct().toList(), titles);
        assertEquals(List.of(), titles.stream().filter(title -> !title.contains(" ")).toList());
    }
}
