package verify.tool;

import static org.junit.jupiter.api.Assertions.fail;

import module java.base;


/** A program that goes on, what it has said so far, and what is typed to it. */
final class Conversation implements AutoCloseable {
    private static final Duration LONGEST = Duration.ofMinutes(5);

    private final Process process;
    private final InputStream out;
    private final StringBuilder said = new StringBuilder();
    private int heard;

    private Conversation(Process process) {
        this.process = process;
        out = process.getInputStream();
        process.onExit().orTimeout(LONGEST.toSeconds(), TimeUnit.SECONDS)
                .whenComplete((ended, late) -> process.destroyForcibly());
    }

    static Conversation with(WorkbookCopy copy, List<String> command) throws IOException {
        return in(copy.root(), command);
    }

    static Conversation in(Path folder, List<String> command) throws IOException {
        var builder = new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true);
        builder.environment().putAll(Map.of("WORKBOOK_NO_AOT", "1", "TERM", "xterm"));
        builder.environment().remove("NO_COLOR");
        return new Conversation(builder.start());
    }

    Process process() {
        return process;
    }

    /** Reads on until these words come, and returns what came since the words that were expected before. */
    String expect(String words) throws IOException {
        var bytes = new byte[8192];
        while (said.indexOf(words, heard) < 0) {
            int read = out.read(bytes);
            if (read < 0) {
                fail("the program ended without «" + words + "»\n" + said.substring(heard));
            }
            said.append(new String(bytes, 0, read, StandardCharsets.UTF_8));
        }
        int end = said.indexOf(words, heard) + words.length();
        var since = said.substring(heard, end);
        heard = end;
        return since;
    }

    void press(char key) throws IOException {
        process.getOutputStream().write(key);
        process.getOutputStream().flush();
    }

    /** As {@code | head} does: what the program prints next, nobody will read. */
    void hangUp() throws IOException {
        out.close();
    }

    /** Waits for the program's end, and gives its exit status. */
    int end() throws IOException, InterruptedException {
        out.transferTo(OutputStream.nullOutputStream());
        return process.waitFor();
    }

    @Override
    public void close() {
        process.descendants().forEach(ProcessHandle::destroyForcibly);
        process.destroyForcibly();
    }
}
