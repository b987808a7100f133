package verify;

import module java.base;

/** Runs commands as a user would, and waits for their end. */
public final class Commands {
    private static final Duration LONGEST = Duration.ofMinutes(20);   // a class with programs that never end

    /** How a command ended. {@code output} is standard output, {@code errors} standard error. */
    public record Ended(int status, String output, String errors) {
        public String all() {
            return output + errors;
        }
    }

    private Commands() {}

    /** The workbook's launcher. */
    public static Ended jbang(String... arguments) throws IOException, InterruptedException {
        return jbang(Map.of(), arguments);
    }

    public static Ended jbang(Map<String, String> environment, String... arguments)
            throws IOException, InterruptedException {
        var command = new ArrayList<>(List.of("sh", Selection.root().resolve("jbang").toString()));
        command.addAll(List.of(arguments));
        return run(Selection.root(), environment, command.toArray(String[]::new));
    }

    /** Where a program of this name is. */
    public static Optional<Path> onPath(String program) {
        return Stream.of(System.getenv("PATH").split(File.pathSeparator)).map(dir -> Path.of(dir, program))
                .filter(Files::isExecutable).findFirst();
    }

    /** A value of "" takes a variable out of the environment. */
    public static Ended run(Path folder, Map<String, String> environment, String... command)
            throws IOException, InterruptedException {
        var output = Files.createTempFile("verify", ".out");
        var errors = Files.createTempFile("verify", ".err");
        var builder = new ProcessBuilder(command).directory(folder.toFile())
                .redirectOutput(output.toFile()).redirectError(errors.toFile());
        builder.environment().put("NO_COLOR", "1");
        builder.environment().putAll(environment);
        builder.environment().values().removeIf(String::isEmpty);
        var process = builder.start();
        try {
            process.getOutputStream().close();
            if (!process.waitFor(LONGEST.toSeconds(), TimeUnit.SECONDS)) {
                throw new AssertionError(
                        String.join(" ", command) + " did not end within " + LONGEST.toSeconds() + " s");
            }
            return new Ended(process.exitValue(), Files.readString(output), Files.readString(errors));
        } finally {
            process.descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly();
            Files.deleteIfExists(output);
            Files.deleteIfExists(errors);
        }
    }
}
