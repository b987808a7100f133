package grader.box;

import module java.base;

/**
 * How much memory and how many tasks a box may use: by a cgroup of its own where the kernel lets us make one (root,
 * mostly; version 1 or 2), else by {@code prlimit}, which is coarser.
 *
 * @param groups the folders of the cgroup; none means {@code prlimit}
 */
record Limits(List<Path> groups) {
    private static final Path CGROUPS = Path.of("/sys/fs/cgroup");
    private static final long MEMORY = 1L << 30;
    private static final int TASKS = 512;
    /** A Java machine reserves far more addresses than it uses memory. */
    private static final long ADDRESSES = 4L << 30;
    private static final String PREFIX = "workbook-box-";
    private static final AtomicInteger NUMBER = new AtomicInteger();

    /** Limits for the next box. */
    static Limits make() {
        var name = PREFIX + ProcessHandle.current().pid() + "-" + NUMBER.incrementAndGet();
        try {
            return new Limits(Files.exists(CGROUPS.resolve("cgroup.controllers")) ? version2(name) : version1(name));
        } catch (IOException e) {   // not ours to make: an ordinary user, or a container
            return new Limits(List.of());
        }
    }

    private static List<Path> version2(String name) throws IOException {
        var group = Files.createDirectory(CGROUPS.resolve(name));
        try {
            Files.writeString(group.resolve("memory.max"), Long.toString(MEMORY));
            Files.writeString(group.resolve("memory.swap.max"), "0");
            Files.writeString(group.resolve("pids.max"), Integer.toString(TASKS));
            return List.of(group);
        } catch (IOException e) {
            Files.delete(group);
            throw e;
        }
    }

    private static List<Path> version1(String name) throws IOException {
        var memory = Files.createDirectory(CGROUPS.resolve("memory").resolve(name));
        Files.writeString(memory.resolve("memory.limit_in_bytes"), Long.toString(MEMORY));
        var tasks = Files.createDirectory(CGROUPS.resolve("pids").resolve(name));
        Files.writeString(tasks.resolve("pids.max"), Integer.toString(TASKS));
        return List.of(memory, tasks);
    }

    /** What stands before a command, so that it and all that it starts come under these limits; deaf to Ctrl-C. */
    List<String> before() {
        var enter = groups.stream().map(group -> "echo $$ >" + group.resolve("cgroup.procs") + " && ")
                .collect(Collectors.joining());
        var before = new ArrayList<>(List.of("sh", "-c", "trap '' INT; " + enter + "exec \"$@\"", "sh"));
        if (groups.isEmpty()) {
            before.addAll(List.of("prlimit", "--nproc=" + (tasksOfThisUser() + TASKS), "--as=" + ADDRESSES, "--"));
        }
        return before;
    }

    /** This limit counts every thread of the user's. */
    private static long tasksOfThisUser() {
        var user = ProcessHandle.current().info().user();
        return ProcessHandle.allProcesses().filter(process -> process.info().user().equals(user)).mapToLong(process -> {
            var tasks = Path.of("/proc", Long.toString(process.pid()), "task").toFile().list();
            return tasks == null ? 1 : tasks.length;
        }).sum();
    }

    /** In words, where one of them was reached. */
    Optional<String> reached() {
        for (var group : groups) {
            if (count(group.resolve("memory.oom_control"), "oom_kill ") + count(group.resolve("memory.events"),
                    "oom_kill ") > 0) {
                return Optional.of("the program used more memory than the box has (" + (MEMORY >> 30) + " GiB)");
            }
            if (count(group.resolve("pids.events"), "max ") > 0) {
                return Optional.of("the program started more threads and processes than the box has room for ("
                        + TASKS + ")");
            }
        }
        return Optional.empty();
    }

    private static long count(Path file, String key) {
        try (var lines = Files.lines(file)) {
            return lines.filter(line -> line.startsWith(key)).mapToLong(line ->
                    Long.parseLong(line.substring(key.length()).strip())).sum();
        } catch (IOException | UncheckedIOException e) {
            return 0;   // the other version of cgroups
        }
    }

    /** The kernel takes an empty group only, and processes that were killed take a moment to go. */
    void remove() {
        for (var group : groups) {
            for (int attempt = 0; attempt < 100 && !group.toFile().delete() && Files.exists(group); attempt++) {
                LockSupport.parkNanos(10_000_000);
            }
        }
    }

    /** Groups that are left of a grader which was ended by force. */
    static void sweep() {
        for (var folder : List.of(CGROUPS, CGROUPS.resolve("memory"), CGROUPS.resolve("pids"))) {
            var left = folder.toFile().listFiles((dir, name) -> name.startsWith(PREFIX));
            for (var group : left == null ? new File[0] : left) {
                long owner = Long.parseLong(group.getName().substring(PREFIX.length()).split("-")[0]);
                if (ProcessHandle.of(owner).isEmpty()) {
                    group.delete();
                }
            }
        }
    }
}
