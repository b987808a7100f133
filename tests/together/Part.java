package together;

import module java.base;

import grader.workbook.CannotCheck;

/** A lab's program, running: its lines are read as they come, and waited for. */
public final class Part implements AutoCloseable {
    private static final Duration PATIENCE = Duration.ofSeconds(10);
    private static final Duration FAREWELL = Duration.ofSeconds(2);
    private static final Pattern READY = Pattern.compile("listening on (\\S+:\\d+).*|capturing on (\\S+)");
    private static final int SHOWN = 5;

    private final String name;
    private final Duration patience;
    private final Process process;
    private final List<String> lines = new ArrayList<>();   // under the monitor, and so is the next
    private boolean atEnd;
    private String address = "";

    public Part(String name, List<String> command) throws IOException {
        this(name, command, PATIENCE);
    }

    /** @param patience how long to wait for its first line, and for its end when that was asked for */
    public Part(String name, List<String> command, Duration patience) throws IOException {
        this.name = name;
        this.patience = patience;
        process = new ProcessBuilder(command).redirectErrorStream(true).start();
        Thread.ofVirtual().start(this::read);
    }

    private void read() {
        try (var output = process.inputReader(StandardCharsets.UTF_8)) {
            output.lines().forEach(line -> change(() -> lines.add(line)));
        } catch (IOException | UncheckedIOException e) {
            // It was ended by force.
        }
        change(() -> atEnd = true);
    }

    private synchronized void change(Runnable change) {
        change.run();
        notifyAll();
    }

    /** The number of its lab, with which its name begins. */
    String lab() {
        return name.substring(0, 3);
    }

    String name() {
        return name;
    }

    long pid() {
        return process.pid();
    }

    /**
     * Waits for the line in which it says where it listens, or what it captures on.
     *
     * @throws CannotCheck with its last lines, if it ends or is silent instead
     */
    public void awaitReady() throws InterruptedException {
        address = await("«listening on HOST:PORT»", () -> lines.stream().map(READY::matcher).filter(Matcher::matches)
                .map(line -> Objects.requireNonNullElse(line.group(1), line.group(2))).findFirst());
    }

    /** What {@link #awaitReady} has found. */
    String address() {
        return address;
    }

    int port() {
        return Integer.parseInt(address.substring(address.lastIndexOf(':') + 1));
    }

    /** Ends its input, and waits for its end. Gives the figures from its line {@code stats Stats[…]}. */
    String end() throws IOException, InterruptedException {
        process.getOutputStream().close();
        return output().stream().filter(line -> line.startsWith("stats ")).findFirst()
                .map(line -> line.replaceAll("^stats (Stats\\[)?|]$", "")).orElse("has printed no figures");
    }

    /** All that it prints until it ends. */
    List<String> output() throws InterruptedException {
        return await("its last line", () -> atEnd ? Optional.of(List.copyOf(lines)) : Optional.empty());
    }

    private synchronized <T> T await(String what, Supplier<Optional<T>> find) throws InterruptedException {
        long deadline = System.nanoTime() + patience.toNanos();
        for (var found = find.get(); ; found = find.get()) {
            if (found.isPresent()) {
                return found.get();
            }
            long millis = (deadline - System.nanoTime()) / 1_000_000;
            if (atEnd || millis <= 0) {
                throw new CannotCheck(name + (atEnd ? " ended before it printed "
                        : " had not printed, after " + patience.toSeconds() + " s, ") + what + lastLines());
            }
            wait(millis);
        }
    }

    private String lastLines() {
        return lines.isEmpty() ? "\nit printed nothing" : lines.stream().skip(Math.max(0, lines.size() - SHOWN))
                .collect(Collectors.joining("\n  ", "\nits last lines:\n  ", ""));
    }

    /** Asks it to end, and after two seconds makes it. */
    @Override
    public void close() {
        try {
            process.getOutputStream().close();
        } catch (IOException e) {
            // It has ended.
        }
        try {
            process.waitFor(FAREWELL);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } finally {
            process.destroyForcibly();
        }
    }
}
