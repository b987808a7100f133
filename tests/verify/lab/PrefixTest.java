package verify.lab;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import grader.check.CheckOptions;
import grader.check.Verdict.Status;
import grader.compile.SourceText;
import grader.speed.Jvm;
import grader.workbook.Folders;
import grader.workbook.Lab;
import grader.workbook.Skeleton;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;
import verify.Commands;

/** The solution with steps 1 to k written, for each k: it passes those steps, and none that comes later. */
@Execution(ExecutionMode.CONCURRENT)
@ParameterizedClass(name = "{0}")
@MethodSource("verify.Selection#labs")
class PrefixTest {
    @Parameter
    Lab lab;

    private Skeleton skeleton;

    @BeforeEach
    void open() throws IOException {
        skeleton = Skeleton.of(lab.solution());
    }

    @Test
    void every_prefix_compiles_without_a_warning() throws IOException {
        var classes = Files.createTempDirectory("prefix");
        try {
            var libraries = WarmChecker.own().plan(lab).libraries();
            for (int done = 0; done <= skeleton.steps(); done++) {
                var text = new SourceText(lab.fileName(), skeleton.withSteps(done));
                var found = WarmChecker.own().javac()
                        .compile(List.of(text), libraries, classes, "-Xlint:all", "-Werror");
                assertEquals(List.of(), found, "with steps 1 to " + done);
            }
        } finally {
            Folders.delete(classes);
        }
    }

    @Test
    void every_prefix_passes_its_own_steps_and_fails_each_later_one() throws IOException {
        for (int done = 0; done <= skeleton.steps(); done++) {
            var verdict = WarmChecker.check(lab, skeleton.withSteps(done), WarmChecker.expectingFailureAfter(done));
            for (var step : verdict.steps()) {
                boolean shouldPass = step.step().number() <= done;
                assertEquals(shouldPass, step.passed(), "step %d with steps 1 to %d written%n%s"
                        .formatted(step.step().number(), done, WarmChecker.story(verdict)));
            }
        }
    }

    @Test
    void with_nothing_written_every_test_fails_by_a_todo() throws IOException {
        var patient = WarmChecker.expectingFailureAfter(0);
        var whole = new CheckOptions(1, patient.lastStep(), true, step -> false, patient.patience(),
                patient.testTimeout(), patient.wallClock(), false);
        for (var step : WarmChecker.check(lab, skeleton.withSteps(0), whole).steps()) {
            for (var test : step.tests()) {
                assertTrue(test.status() == Status.SKIPPED || test.message().startsWith("TODO step "),
                        () -> "step %d, %s: %s %s".formatted(step.step().number(), test.test().title(),
                                test.status(), test.message()));
            }
        }
    }

    @Test
    void the_solution_passes_whole() throws IOException {
        var verdict = WarmChecker.check(lab, Files.readString(lab.solution()), CheckOptions.ALL);
        assertTrue(verdict.passed(), WarmChecker.story(verdict));
    }

    @Test
    void the_demo_of_every_prefix_ends_well_and_names_the_next_step() throws Exception {
        for (int done = 0; done <= skeleton.steps(); done++) {
            var folder = Files.createTempDirectory("demo");
            try {
                var ended = run(compiled(skeleton.withSteps(done), folder), Map.of("WORKBOOK_JBANG", "./jbang"));
                assertEquals(0, ended.status(), "with steps 1 to " + done + "\n" + ended.all());
                assertTrue(!ended.all().contains("Exception"), "the demo prints an exception\n" + ended.all());
                if (done < skeleton.steps()) {
                    var next = "step " + (done + 1);
                    assertTrue(ended.output().contains(next), "the demo with steps 1 to " + done
                            + " does not name " + next + "\n" + ended.output());
                }
                if (done == 0) {
                    assertTrue(ended.output().contains("test-" + lab.number()),
                            "the skeleton's demo does not say what to type\n" + ended.output());
                }
            } finally {
                Folders.delete(folder);
            }
        }
    }

    @Test
    void the_skeleton_says_what_to_type_wherever_it_is_run() throws Exception {
        var folder = Files.createTempDirectory("demo");
        try {
            compiled(skeleton.withSteps(0), folder);
            var quoted = Map.of("WORKBOOK_JBANG", "'../net works/jbang'", "WORKBOOK_FILE", "'my lab.java'");
            assertSays(run(folder, quoted), """
                      check  '../net works/jbang' test-%s 'my lab.java'
                      hint   '../net works/jbang' hint %s 1
                    """);
            var plain = Map.of("WORKBOOK_JBANG", "./jbang", "WORKBOOK_FILE", "");
            assertSays(run(folder, plain), "  check  ./jbang test-%s\n  hint   ./jbang hint %s 1\n");
            assertSays(run(folder, Map.of("WORKBOOK_JBANG", "")), "  in a clone of the workbook:\n"
                    + "  check  ./jbang test-%s PATH/TO/" + lab.fileName() + "\n");
        } finally {
            Folders.delete(folder);
        }
    }

    private void assertSays(Commands.Ended ended, String words) {
        assertTrue(ended.output().contains(words.formatted(lab.number(), lab.number())), ended.all());
    }

    @Test
    void an_argument_that_the_program_does_not_know_is_told_with_what_can_be_typed() throws Exception {
        var folder = Files.createTempDirectory("demo");
        try {
            compiled(Files.readString(lab.solution()), folder);
            var wrong = run(folder, Map.of(), "sing", "loud");
            assertEquals(2, wrong.status(), wrong.all());
            assertTrue(wrong.errors().startsWith("not understood: sing loud\nlab-" + lab.number() + " "), wrong.all());
            var help = run(folder, Map.of(), "--help");
            assertEquals(0, help.status(), help.all());
            assertTrue(help.output().startsWith("lab-" + lab.number() + " "), help.all());
        } finally {
            Folders.delete(folder);
        }
    }

    private Path compiled(String text, Path folder) throws IOException {
        var source = new SourceText(lab.fileName(), text);
        var libraries = WarmChecker.own().plan(lab).libraries();
        assertEquals(List.of(), WarmChecker.own().javac().compile(List.of(source), libraries, folder));
        return folder;
    }

    private Commands.Ended run(Path folder, Map<String, String> environment, String... arguments)
            throws IOException, InterruptedException {
        var plan = WarmChecker.own().plan(lab);
        var path = Stream.concat(Stream.of(folder), plan.libraries().stream()).map(Path::toString)
                .collect(Collectors.joining(File.pathSeparator));
        var command = new ArrayList<>(List.of(Jvm.java()));
        command.addAll(Jvm.SHORT_LIVED);
        command.addAll(plan.jvmOptions());
        command.addAll(List.of("-cp", path, lab.type()));
        command.addAll(List.of(arguments));
        return Commands.run(folder, environment, command.toArray(String[]::new));
    }
}
