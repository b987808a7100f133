package verify.tool;

import module java.base;

import grader.speed.Jvm;
import grader.workbook.Folders;
import grader.workbook.Lab;
import grader.workbook.Skeleton;
import verify.Commands;
import verify.Selection;

/** A copy of the workbook to do harm in, as a learner would: the grader is called in it, without JBang around it. */
public final class WorkbookCopy implements AutoCloseable {
    private static final Set<String> LEFT_OUT = Set.of(".git", ".workbook", "build", "pom.xml");

    private final Path root;

    private WorkbookCopy(Path root) {
        this.root = root;
    }

    /** What is cached is named by its content: the copy may share it, and need not compile every test anew. */
    static WorkbookCopy make() throws IOException {
        var copy = withCacheOfItsOwn();
        var cache = Files.createDirectories(Selection.book().cache());
        Files.createSymbolicLink(copy.root.resolve(".workbook", "cache"), cache);
        return copy;
    }

    static WorkbookCopy withCacheOfItsOwn() throws IOException {
        var from = Selection.root();
        var root = Files.createTempDirectory("workbook").toRealPath();
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
                if (!LEFT_OUT.contains(file.getFileName().toString())) {
                    var copied = root.resolve(from.relativize(file).toString());
                    Files.copy(file, copied, StandardCopyOption.COPY_ATTRIBUTES);
                }
                return FileVisitResult.CONTINUE;
            }
        });
        Files.createDirectory(root.resolve(".workbook"));
        var copy = new WorkbookCopy(root);
        for (var lab : Selection.book().labs()) {   // the reader's own file may have come along
            Files.writeString(copy.path(lab.file()), lab.skeleton());
        }
        return copy;
    }

    Path root() {
        return root;
    }

    /** Where a file of the workbook lies in this copy. */
    Path path(Path original) {
        return root.resolve(Selection.root().relativize(original).toString());
    }

    Commands.Ended grader(String... arguments) throws IOException, InterruptedException {
        return grader(Map.of(), arguments);
    }

    Commands.Ended grader(Map<String, String> environment, String... arguments)
            throws IOException, InterruptedException {
        return run(environment, command(arguments));
    }

    Commands.Ended together(String... arguments) throws IOException, InterruptedException {
        return run(Map.of(), program("together.Together", arguments));
    }

    private Commands.Ended run(Map<String, String> environment, List<String> command)
            throws IOException, InterruptedException {
        var all = new HashMap<>(environment);
        all.put("WORKBOOK_NO_AOT", "1");
        all.put("WORKBOOK_JBANG", "./jbang");
        return Commands.run(root, all, command.toArray(String[]::new));
    }

    List<String> command(String... arguments) {
        return program("grader.Main", arguments);
    }

    private static List<String> program(String type, String... arguments) {
        var command = new ArrayList<>(List.of(Jvm.java(), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
                "-cp", System.getProperty("java.class.path"), type));
        command.addAll(List.of(arguments));
        return command;
    }

    /** Puts the solution, changed, where the learner's file is. */
    void write(Lab lab, UnaryOperator<String> change) throws IOException {
        var solution = Skeleton.of(lab.solution());
        var changed = change.apply(solution.withSteps(solution.steps()));
        Files.writeString(path(lab.file()), changed);
    }

    @Override
    public void close() throws IOException {
        Folders.delete(root);
    }
}
