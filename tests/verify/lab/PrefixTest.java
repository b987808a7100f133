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
                assertEquals(List.of(), WarmChecker.own().javac().compile(List.of(text), libraries, classes, "-Xlint:all", "-Werror"), "with steps 1 to " + done);
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
                assertEquals(shouldPass, step.passed(),
                        "step %d with steps 1 to %d written%n%s".formatted(step.step().number(), done, WarmChecker.story(verdict)));
            }
        }
    }

    @Test
    void with_nothing_written_every_test_fails_by_a_todo() throws IOException {
        var patient = WarmChecker.expectingFailureAfter(0);
        var whole = new CheckOptions(1, patient.lastStep(), true, step -> false, patient.patience(), patient.testTimeout(), patient.wallClock());
        for (var step : WarmChecker.check(lab, skeleton.withSteps(0), whole).steps()) {
            for (var test : step.tests()) {
                assertTrue(test.status() == Status.SKIPPED || test.message().startsWith("TODO step "),
                        "step %d, %s: %s %s".formatted(step.step().number(), test.test().title(), test.status(), test.message()));
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
                var ended = demo(skeleton.withSteps(done), folder);
                assertEquals(0, ended.status(), "with steps 1 to " + done + "\n" + ended.all());
                assertTrue(!ended.all().contains("Exception"), "the demo prints an exception\n" + ended.all());
                if (done < skeleton.steps()) {
                    assertTrue(ended.output().contains("step " + (done + 1)),
                            "the demo with steps 1 to " + done + " does not name step " + (done + 1) + "\n" + ended.output());
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
        var plan = WarmChecker.own().plan(lab);
        assertEquals(List.of(), WarmChecker.own().javac().compile(List.of(new SourceText(lab.fileName(), text)), plan.libraries(), folder));
        var path = Stream.concat(Stream.of(folder), plan.libraries().stream()).map(Path::toString).collect(Collectors.joining(File.pathSeparator));
        var command = new ArrayList<>(List.of(Jvm.java()));
        command.addAll(plan.jvmOptions());
        command.addAll(List.of("-cp", path, lab.type()));
        return Commands.run(folder, Map.of("WORKBOOK_JBANG", "./jbang"), command.toArray(String[]::new));
    }
}
