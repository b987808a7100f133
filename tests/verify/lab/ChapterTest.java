package verify.lab;

import static org.junit.jupiter.api.Assertions.assertEquals;

import module java.base;

import grader.check.TestPlan;
import grader.check.Verdict;
import grader.workbook.Lab;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** A chapter has the book's sections, and says what its lab's tests check. */
@Execution(ExecutionMode.CONCURRENT)
@ParameterizedClass(name = "{0}")
@MethodSource("verify.Selection#labs")
class ChapterTest {
    @Parameter
    Lab lab;

    private TestPlan plan;

    @BeforeEach
    void open() throws IOException {
        plan = WarmChecker.own().plan(lab);
    }

    @Test
    void the_chapter_has_its_twelve_sections_in_order() throws IOException {
        var sections = Chapter.SECTIONS.stream().map(name -> "lab-" + lab.number() + "-" + name).toList();
        assertEquals(sections, Chapter.of(lab).sections());
    }

    @Test
    @DisplayName("the chapter says what the tests check, step by step, word for word")
    void the_chapter_says_what_the_tests_check() throws IOException {
        var chapter = Chapter.of(lab);
        for (var step : plan.steps()) {
            assertEquals("Step " + step.number() + ": " + step.title(), chapter.heading(step.number()));
            var titles = plan.of(step).stream().map(Verdict.Expected::title).toList();
            assertEquals(titles, chapter.checks(step.number()), "[.checks] of step " + step.number());
        }
    }

    @Test
    void the_names_of_tests_are_sentences_and_differ() {
        var titles = plan.tests().stream().map(Verdict.Expected::title).toList();
        assertEquals(titles.stream().distinct().toList(), titles);
        assertEquals(List.of(), titles.stream().filter(title -> !title.contains(" ")).toList());
    }
}
