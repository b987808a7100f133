package grader.runner;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;

/** Tests nothing: running it while the learner's file is being compiled loads and links JUnit. */
class WarmUp {
    @Nested
    class Step {
        @Test
        void nothing() {
            assertEquals(1, 1, "one is one");
        }
    }
}
