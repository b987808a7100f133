package grader.runner;

import module java.base;

/**
 * Processes that a program under test has started and that are no longer below it: {@code setsid}, or a parent that has
 * ended. They are found by a variable in the environment that they inherit. Linux only; a process that clears its
 * environment gets away, which takes a box to prevent.
 */
record Strays(String token) {
    private static final String VARIABLE = "WORKBOOK_CHECK";
    private static final Path PROCESSES = Path.of("/proc");
    /** A stray may start another one while it is looked for. */
    private static final int ROUNDS = 5;

    static Strays of(String token) {
        return new Strays(token);
    }

    void mark(Map<String, String> environment) {
        environment.put(VARIABLE, token);
    }

    void end() {
        for (int round = 0; round < ROUNDS; round++) {
            var found = find();
            if (found.isEmpty()) {
                return;
            }
            found.forEach(ProcessHandle::destroyForcibly);
        }
    }

    private List<ProcessHandle> find() {
        var found = new ArrayList<ProcessHandle>();
        try (var processes = Files.newDirectoryStream(PROCESSES, "[0-9]*")) {
            for (var process : processes) {
                if (environment(process).contains(VARIABLE + "=" + token)) {
                    var pid = Long.parseLong(process.getFileName().toString());
                    ProcessHandle.of(pid).filter(ProcessHandle::isAlive).ifPresent(found::add);
                }
            }
        } catch (IOException e) {
            // No Linux.
        }
        return found;
    }

    private static String environment(Path process) {
        try {
            return Files.readString(process.resolve("environ"), StandardCharsets.ISO_8859_1);
        } catch (IOException e) {
            return "";   // somebody else's, or it has just ended
        }
    }
}
