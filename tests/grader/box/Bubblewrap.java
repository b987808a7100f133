package grader.box;

import module java.base;

import grader.speed.Jvm;
import grader.workbook.CannotCheck;

/**
 * A box made by {@code bwrap}: processes, a network that is a loopback interface alone, and a file system of its own,
 * which holds the system's programs, the JDK and what the runner reads, all read-only, and an empty {@code /tmp}. It
 * has no workbook, no solutions, no home folder and no other student's file. The program in it is nobody: not root, and
 * without capabilities.
 */
public final class Bubblewrap implements Box {
    private static final String NOBODY = "65534";
    private static final long TMP_BYTES = 64 << 20;
    /** What programs and the JDK read in order to start, and to look up names of this machine. */
    private static final Pattern ETC =
            Pattern.compile("hosts|nsswitch\\.conf|ld\\.so\\.cache|alternatives|ssl|protocols|services|java-.*");

    private final boolean root = Integer.valueOf(0).equals(userId());

    private Bubblewrap() {}

    private static Object userId() {
        try {
            return Files.getAttribute(Path.of("/proc/self"), "unix:uid");
        } catch (IOException | UnsupportedOperationException e) {
            return "no Linux";
        }
    }

    /** @throws CannotCheck saying why there can be no box here */
    public static Box tried() throws IOException {
        Limits.sweep();
        var box = new Bubblewrap();
        var wanted = List.of("bwrap", box.root ? "setpriv" : "prlimit");
        var missing = wanted.stream().filter(program -> !isInstalled(program)).findFirst();
        if (missing.isPresent()) {
            throw new CannotCheck("the program " + missing.get()
                    + " is not installed (on Debian and Ubuntu: apt install bubblewrap util-linux)");
        }
        box.tryIt();
        return box;
    }

    private static boolean isInstalled(String program) {
        return Stream.of(System.getenv().getOrDefault("PATH", "").split(File.pathSeparator))
                .anyMatch(folder -> Files.isExecutable(Path.of(folder, program)));
    }

    private void tryIt() throws IOException {
        var command = new ArrayList<>(List.of(Jvm.java(), "-Xmx32m"));
        command.addAll(Jvm.SHORT_LIVED);
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), Inside.class.getName()));
        try (var room = roomFor(new Program(command, Jvm.classPath(), Optional.empty(), false))) {
            var process = room.builder().redirectErrorStream(true).start();
            process.getOutputStream().close();
            var said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
            if (!said.equals(Inside.WORKS)) {
                throw new CannotCheck(said.isEmpty() ? "bwrap ended and said nothing" : said);
            }
        }
    }

    @Override
    public Room roomFor(Program program) throws IOException {
        var limits = Limits.make();
        if (root && program.socket().isPresent()) {
            Files.setAttribute(program.socket().get(), "unix:uid", Integer.valueOf(NOBODY));
        }
        var command = new ArrayList<>(limits.before());
        command.addAll(walls(program));
        command.addAll(root ? asNobody(program) : List.of());
        command.addAll(program.command());
        return new Walled(new ProcessBuilder(command), limits);
    }

    private List<String> walls(Program program) throws IOException {
        var walls = new ArrayList<>(List.of("bwrap", "--die-with-parent", "--new-session", "--unshare-pid",
                "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "lab"));
        walls.addAll(root ? List.of() : asNobodyOfItsOwn(program));
        walls.addAll(capabilities(program));
        walls.addAll(List.of("--ro-bind", "/usr", "/usr"));
        for (var folder : List.of("/bin", "/sbin", "/lib", "/lib32", "/lib64")) {
            walls.addAll(sameAs(Path.of(folder)));
        }
        walls.addAll(List.of("--dir", "/etc"));   // a folder that bwrap makes unasked, only root may pass
        try (var etc = Files.list(Path.of("/etc"))) {
            etc.filter(file -> ETC.matcher(file.getFileName().toString()).matches()).sorted()
                    .forEach(file -> walls.addAll(readable(file)));
        }
        walls.addAll(List.of("--proc", "/proc", "--dev", "/dev",
                "--perms", "1777", "--size", Long.toString(TMP_BYTES), "--tmpfs", "/tmp", "--chdir", "/tmp"));
        var files = Stream.concat(Stream.of(Path.of(System.getProperty("java.home"))), program.readable().stream())
                .map(Path::toAbsolutePath).toList();
        files.stream().flatMap(Bubblewrap::folders).distinct()
                .forEach(folder -> walls.addAll(List.of("--dir", folder.toString())));
        files.forEach(file -> walls.addAll(readable(file)));
        program.socket().map(Path::toString).ifPresent(file -> walls.addAll(List.of("--bind", file, file)));
        walls.addAll(List.of("--clearenv", "--setenv", "PATH", "/usr/bin:/usr/sbin", "--setenv", "HOME", "/tmp",
                "--setenv", "LC_ALL", "C.UTF-8"));
        return walls;
    }

    private static List<String> readable(Path file) {
        return List.of("--ro-bind", file.toString(), file.toString());
    }

    /** That a file lies in, from the outermost on, where the box does not have them yet. */
    private static Stream<Path> folders(Path file) {
        return IntStream.range(1, file.getNameCount())
                .mapToObj(length -> file.getRoot().resolve(file.subpath(0, length)))
                .filter(folder -> !folder.startsWith("/usr") && !folder.equals(Path.of("/tmp")));
    }

    /** Links to {@code /usr}, on most systems. */
    private static List<String> sameAs(Path folder) throws IOException {
        if (Files.isSymbolicLink(folder)) {
            return List.of("--symlink", Files.readSymbolicLink(folder).toString(), folder.toString());
        }
        return Files.isDirectory(folder) ? readable(folder) : List.of();
    }

    /** An ordinary user makes the box as root of a user namespace; to open raw sockets the program stays that root. */
    private static List<String> asNobodyOfItsOwn(Program program) {
        var user = program.readsPackets() ? "0" : NOBODY;
        return List.of("--unshare-user", "--uid", user, "--gid", user);
    }

    private List<String> capabilities(Program program) {
        var kept = new ArrayList<>(root ? List.of("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP") : List.<String>of());
        kept.addAll(program.readsPackets() ? List.of("CAP_NET_RAW") : List.of());
        return Stream.concat(Stream.of("--cap-drop", "ALL"),
                kept.stream().flatMap(each -> Stream.of("--cap-add", each))).toList();
    }

    /** Root makes the box as it is, and the program becomes somebody else in it. */
    private static List<String> asNobody(Program program) {
        var kept = program.readsPackets() ? "-all,+net_raw" : "-all";
        var command = new ArrayList<>(List.of("setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups",
                "--no-new-privs", "--bounding-set", kept, "--inh-caps", kept));
        command.addAll(program.readsPackets() ? List.of("--ambient-caps", kept) : List.of());
        command.add("--");
        return command;
    }

    private record Walled(ProcessBuilder builder, Limits limits) implements Room {
        @Override
        public Optional<String> limitReached() {
            return limits.reached();
        }

        @Override
        public void close() {
            limits.remove();
        }
    }
}
