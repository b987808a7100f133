package verify.tool;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import grader.workbook.Lab;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;
import verify.Commands;
import verify.Selection;

/**
 * {@code jbang watch}: a verdict at every save, keys where there is a terminal, and it survives a file that is gone for
 * a while.
 */
class WatchTest {
    private static final String NEEDS_SCRIPT = "script, of util-linux or bsdutils, makes the pseudo-terminal";

    private Lab lab;
    private WorkbookCopy copy;

    @BeforeEach
    void open() throws IOException {
        lab = Selection.book().lab("401");
        copy = WorkbookCopy.make();
    }

    @AfterEach
    void close() throws IOException {
        copy.close();
    }

    private static long runners(Process watch) {
        return watch.descendants().map(process -> process.info().arguments().orElse(new String[0]))
                .filter(words -> List.of(words).contains("grader.runner.RunnerMain")).count();
    }

    @Test
    void every_save_gets_a_verdict() throws Exception {
        try (var watch = Conversation.with(copy, copy.command("watch", "401"))) {
            watch.expect("checking lab 401");
            watch.expect("0 of 7 steps");
            copy.write(lab, text -> text);
            watch.expect("checking lab 401");
            watch.expect("7 of 7 steps");
            for (int i = 0; i < 3; i++) {
                Files.delete(copy.path(lab.file()));
                watch.expect("is not there");
                Files.writeString(copy.path(lab.file()), "class Broken {");
                watch.expect("does not compile");
                watch.expect("waiting for the next save");
            }
            assertTrue(runners(watch.process()) <= 1, "runners left: " + runners(watch.process()));
            Files.writeString(copy.path(lab.file()), lab.skeleton());
            watch.expect("0 of 7 steps");
        }
    }

    @Test
    void it_ends_when_nobody_reads_what_it_prints() throws Exception {
        try (var watch = Conversation.with(copy, copy.command("watch", "401"))) {
            watch.expect("waiting for the next save");
            watch.hangUp();
            copy.write(lab, text -> text);
            assertEquals(0, watch.process().waitFor());
        }
    }

    static boolean hasPseudoTerminals() {
        return Commands.onPath("script").isPresent();
    }

    private Conversation onTerminal(int columns, String... arguments) throws IOException {
        var command = copy.command(arguments).stream().map(word -> "'" + word + "'").collect(Collectors.joining(" "));
        var script = "stty cols " + columns + "; exec " + command;
        return Conversation.with(copy, List.of("script", "-qfec", script, "/dev/null"));
    }

    @Test
    @EnabledIf(value = "hasPseudoTerminals", disabledReason = NEEDS_SCRIPT)
    void keys_are_obeyed_and_the_next_lab_is_checked_with_its_own_tests() throws Exception {
        copy.write(lab, text -> text);
        var tests = Files.readString(
                Selection.book().root().resolve("tests/402-udp-client/StatsdClientTest.java"));
        var noneOf402 = "0 of " + (tests.split("@Test\\b", -1).length - 1) + " checks";
        try (var watch = onTerminal(100, "watch", "401")) {
            watch.expect("checking lab 401");
            watch.expect("7 of 7 steps");
            watch.expect("q quit");
            watch.press('n');
            watch.expect("Lab 402");
            watch.expect("labs/402-udp-client/StatsdClient.java:");
            watch.expect(noneOf402);
            watch.expect("q quit");
            watch.press('h');
            watch.expect("Lab 402, step 1");
            watch.press('l');
            watch.expect("401  TCP server               #######");
            watch.press('r');
            watch.expect("checking lab 402");
            watch.expect(noneOf402);
            watch.expect("q quit");
            watch.press('q');
            assertEquals(0, watch.end());
        }
        assertTrue(copy.grader("progress").output().contains("7 of 7 steps"));
    }

    /** A line that is written over must not wrap, or only its last part would be written over. */
    @Test
    @EnabledIf(value = "hasPseudoTerminals", disabledReason = NEEDS_SCRIPT)
    void on_a_narrow_terminal_the_live_line_is_cut() throws Exception {
        copy.write(lab, text -> text);
        try (var test = onTerminal(40, "test", "401")) {
            var said = test.expect("7 of 7 steps");
            var mayWrap = said.lines().flatMap(line -> Stream.of(line.split("\r")))
                    .filter(part -> part.matches("\033\\[K  \\d  .* \\d+/\\d+  .*")).toList();
            assertEquals(List.of(), mayWrap);
            assertTrue(said.contains("\033[K\033[?7l  1  Listen on a port"), said);
        }
    }
}
