package verify;

import module java.base;

import grader.Folders;
import grader.Fork;
import grader.Workbook;

/** A copy of the workbook to do harm in, as a learner would: the grader is called in it, without JBang around it. */
final class Clone implements AutoCloseable {
    private static final Set<String> LEFT_OUT = Set.of(".git", ".workbook", "build", "pom.xml");

    private final Path root;

    private Clone(Path root) {
        this.root = root;
    }

    static Clone make() throws IOException {
        var from = Scope.root();
        var root = Files.createTempDirectory("clone").toRealPath();
        Files.walkFileTree(from, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult preVisitDirectory(Path dir, BasicFileAttributes attributes) throws IOException {
                if (!dir.equals(from) && LEFT_OUT.contains(dir.getFileName().toString())) {
                    return FileVisitResult.SKIP_SUBTREE;
                }
                Files.createDirectories(root.resolve(from.relativize(dir).toString()));
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                Files.copy(file, root.resolve(from.relativize(file).toString()), StandardCopyOption.COPY_ATTRIBUTES);
                return FileVisitResult.CONTINUE;
            }
        });
        // What is cached is named by its content: the copy may share it, and need not compile every test anew.
        Files.createSymbolicLink(Files.createDirectory(root.resolve(".workbook")).resolve("cache"), Files.createDirectories(Scope.book().cache()));
        var clone = new Clone(root);
        for (var lab : Scope.book().labs()) {   // the reader's own file may have come along
            Files.writeString(clone.path(lab.file()), lab.skeleton());
        }
        return clone;
    }

    Path root() {
        return root;
    }

    /** Where a file of the workbook lies in this copy. */
    Path path(Path original) {
        return root.resolve(Scope.root().relativize(original).toString());
    }

    Commands.Ended grader(String... arguments) throws IOException, InterruptedException {
        return grader(Map.of(), arguments);
    }

    Commands.Ended grader(Map<String, String> environment, String... arguments) throws IOException, InterruptedException {
        var all = new HashMap<>(environment);
        all.put("WORKBOOK_NO_AOT", "1");
        all.put("WORKBOOK_JBANG", "./jbang");
        return Commands.run(root, all, command(arguments).toArray(String[]::new));
    }

    List<String> command(String... arguments) {
        var command = new ArrayList<>(List.of(Fork.java(),
                "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", System.getProperty("java.class.path"), "grader.Main"));
        command.addAll(List.of(arguments));
        return command;
    }

    /** Puts the solution, changed, where the learner's file is. */
    void write(Workbook.Lab lab, UnaryOperator<String> change) throws IOException {
        var solution = grader.Skeleton.of(lab.solution());
        var changed = change.apply(solution.withSteps(solution.steps()));
        Files.writeString(path(lab.file()), changed);
    }

    @Override
    public void close() throws IOException {
        Folders.delete(root);
    }
}
