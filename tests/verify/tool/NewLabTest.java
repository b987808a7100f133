package verify.tool;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

/** {@code jbang new}: from nothing to a lab that compiles, is checked, and says what is left to write. */
@Execution(ExecutionMode.CONCURRENT)
class NewLabTest {
    @Test
    void a_new_lab_is_checked_step_by_step_and_is_in_the_catalog() throws Exception {
        try (var copy = WorkbookCopy.make()) {
            var made = copy.grader("new", "499-echo-twice", "EchoTwice");
            assertEquals(0, made.status(), made.all());
            var skeleton = copy.grader("test", "499");
            assertEquals(1, skeleton.status(), skeleton.all());
            assertTrue(skeleton.output().contains("0 of 2 steps (core 0 of 1)"), skeleton.all());
            var solution = copy.grader("test", "499", "solutions/499-echo-twice");
            assertEquals(0, solution.status(), solution.all());
            assertTrue(copy.grader("progress").output().contains("499  Echo twice"));
            assertTrue(Files.readString(copy.root().resolve("jbang-catalog.json")).contains("\"lab-499\""));
            assertTrue(Files.readString(copy.root().resolve("README.adoc")).contains("jbang lab-499"));
            var again = copy.grader("new", "499-echo-twice", "EchoTwice");
            assertEquals(2, again.status(), "what is there is not written over");
        }
    }

    @Test
    void a_name_that_is_none_is_refused() throws Exception {
        try (var copy = WorkbookCopy.make()) {
            var refused = copy.grader("new", "proxy", "proxyServer");
            assertEquals(2, refused.status(), refused.all());
            assertTrue(refused.errors().contains("408-proxy-server ProxyServer"), refused.all());
        }
    }
}
