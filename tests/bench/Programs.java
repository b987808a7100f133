package bench;

import module java.base;

/** Programs that a benchmark starts; they end with it. */
public final class Programs {
    private static final Deque<Process> STARTED = new ConcurrentLinkedDeque<>();

    static {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> STARTED.forEach(Process::destroy)));
    }

    private Programs() {}

    /** Ends the benchmark with a sentence if one of them is not installed. @param packages Debian's names for them */
    public static void need(String packages, List<String> programs) {
        for (var program : programs) {
            if (path(program).isEmpty()) {
                Arguments.giveUp(program + " is not installed; Debian's packages: " + packages);
            }
        }
    }

    /** Where it is. */
    public static String find(String program) {
        return path(program).orElseThrow();
    }

    /** On the PATH, or where Debian puts servers. */
    private static Optional<String> path(String program) {
        return Stream.concat(Stream.of(System.getenv("PATH").split(File.pathSeparator)), Stream.of("/usr/sbin"))
                .map(folder -> Path.of(folder, program)).filter(Files::isExecutable).map(Path::toString).findFirst();
    }

    /** Starts a program whose errors are shown. */
    public static Process start(List<String> command) throws IOException {
        var process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        STARTED.push(process);
        return process;
    }

    /** Starts a class of this class path in a JVM of its own. */
    public static Process startJava(List<String> options, String mainClass, String... arguments) throws IOException {
        var command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp", System.getProperty("java.class.path")));
        command.addAll(options);
        command.add(mainClass);
        command.addAll(List.of(arguments));
        return start(command);
    }

    /** All that the program prints; fails if it fails. */
    public static String output(List<String> command) throws IOException, InterruptedException {
        var process = new ProcessBuilder(command).redirectErrorStream(true).start();
        var text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (process.waitFor() != 0) {
            throw new IOException(command + " failed: " + text);
        }
        return text;
    }

    /** nginx with one server. @param http what stands beside the server in the block {@code http} */
    public static Process startNginx(Path folder, String name, int workers, int port, String server, String http)
            throws IOException, InterruptedException {
        var paths = Stream.of("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
                .map(each -> each + "_temp_path " + folder + "/" + each + ";").collect(Collectors.joining(" "));
        var config = Files.writeString(folder.resolve(name + ".conf"), """
                daemon off; worker_processes %d; pid %s/%s.pid; error_log stderr crit;
                events { worker_connections 1024; }
                http { access_log off; keepalive_requests 1000000000; %s %s
                       server { listen 127.0.0.1:%d; %s } }
                """.formatted(workers, folder, name, paths, http, port, server));
        var process = start(List.of(find("nginx"), "-e", "stderr", "-p", folder.toString(), "-c", config.toString()));
        awaitPort(port);
        return process;
    }

    /** Until somebody listens there. */
    public static void awaitPort(int port) throws IOException, InterruptedException {
        for (int i = 0; i < 500; i++) {
            try (var socket = new Socket()) {
                socket.connect(new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
                return;
            } catch (ConnectException e) {
                Thread.sleep(20);
            }
        }
        throw new IOException("nobody listens on port " + port);
    }

    /** Processor time of the process and its children, in microseconds: nginx serves in children. */
    public static double cpuMicros(Process process) {
        return Stream.concat(Stream.of(process.toHandle()), process.descendants())
                .map(each -> each.info().totalCpuDuration().orElse(Duration.ZERO))
                .mapToLong(Duration::toNanos).sum() / 1e3;
    }

    /** A new folder that nginx's worker, who is nobody, may read. */
    public static Path folder(String name) throws IOException {
        var folder = Files.createTempDirectory(name);
        Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxr-xr-x"));
        return folder;
    }

    /** Ends all that were started, and deletes the folder. */
    public static void end(Path folder) throws IOException, InterruptedException {
        for (var process : STARTED) {
            process.destroy();
            process.waitFor();
        }
        try (var files = Files.walk(folder)) {
            files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
        }
    }
}
