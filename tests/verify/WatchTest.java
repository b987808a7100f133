package verify;

import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import org.junit.jupiter.api.Test;

/** {@code jbang watch} without a terminal: a verdict at every save, and it survives a file that is gone for a while. */
class WatchTest {
    private static final Duration LONGEST = Duration.ofSeconds(60);

    @Test
    void every_save_gets_a_verdict() throws Exception {
        var lab = Scope.book().lab("401");
        try (var clone = Clone.make()) {
            var builder = new ProcessBuilder(clone.command("watch", "401")).directory(clone.root().toFile()).redirectErrorStream(true);
            builder.environment().put("WORKBOOK_NO_AOT", "1");
            var process = builder.start();
            try (var out = new BufferedReader(new InputStreamReader(process.getInputStream()))) {
                var killer = Thread.ofVirtual().start(() -> endAfter(process));
                expect(out, "0 of 7 steps");
                clone.write(lab, text -> text);
                expect(out, "7 of 7 steps");
                Files.delete(clone.path(lab.file()));
                expect(out, "is not there");
                Files.writeString(clone.path(lab.file()), "class Broken {");
                expect(out, "does not compile");
                Files.writeString(clone.path(lab.file()), lab.skeleton());
                expect(out, "0 of 7 steps");
                killer.interrupt();
            } finally {
                process.descendants().forEach(ProcessHandle::destroyForcibly);
                process.destroyForcibly();
            }
        }
    }

    private static void endAfter(Process process) {
        try {
            Thread.sleep(LONGEST);
            process.destroyForcibly();
        } catch (InterruptedException e) {
            // All was seen in time.
        }
    }

    private static void expect(BufferedReader out, String words) throws IOException {
        var seen = new StringJoiner("\n");
        for (var line = out.readLine(); line != null; line = out.readLine()) {
            seen.add(line);
            if (line.contains(words)) {
                return;
            }
        }
        assertTrue(false, "watch ended without «" + words + "»\n" + seen);
    }
}
