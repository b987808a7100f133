package grader.runner;

import static org.junit.jupiter.api.Assertions.assertEquals;

import module java.base;

import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;

/**
 * Tests nothing: running it while the learner's file is being compiled loads and links JUnit, and what tests of labs
 * use first.
 */
class WarmUp {
    @Nested
    class Step {
        @Test
        void a_virtual_thread_echoes_a_line() throws Exception {
            try (var listening = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
                 var executor = Executors.newVirtualThreadPerTaskExecutor();
                 var socket = new Socket(listening.getInetAddress(), listening.getLocalPort())) {
                var echo = executor.submit(() -> {
                    try (var accepted = listening.accept()) {
                        return accepted.getInputStream().transferTo(accepted.getOutputStream());
                    }
                });
                socket.getOutputStream().write("%d line%n".formatted(1).getBytes(StandardCharsets.UTF_8));
                socket.shutdownOutput();
                assertEquals(7L, echo.get(), "bytes");
            }
        }
    }
}
