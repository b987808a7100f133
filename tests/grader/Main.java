///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Checks labs step by step, gives hints, keeps progress
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS org.junit.platform:junit-platform-launcher:6.1.3
//DEPS info.picocli:picocli:4.7.7
//DEPS org.jline:jline-terminal:3.30.6
//DEPS com.fasterxml.jackson.core:jackson-databind:2.19.2
//SOURCES *.java
//RUNTIME_OPTIONS -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmn8m -Xlog:disable
package grader;

import module java.base;

import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The program behind {@code jbang test-401}, {@code watch}, {@code hint}, {@code progress}, {@code reset} and what maintainers use. */
@Command(name = "grader", mixinStandardHelpOptions = true, synopsisSubcommandLabel = "COMMAND",
        description = "The workbook's commands. A LAB is a number (401) or a name (401-tcp-server).",
        footer = {"", "Exit status: 0 all passed, 1 some step not passed, 2 could not check."},
        subcommands = {Main.Test.class, Main.Watch.class, Main.Hint.class, Main.ShowProgress.class, Main.Reset.class,
            Main.Bench.class, Main.WriteSkeleton.class, Main.RecordTranscripts.class, Main.Ide.class, Main.Prepare.class})
public final class Main {
    private static final int PASSED = 0;
    private static final int NOT_PASSED = 1;
    private static final int COULD_NOT_CHECK = 2;

    /** A command that runs inside a workbook. */
    private abstract static class InWorkbook implements Callable<Integer> {
        @Option(names = {"-h", "--help"}, usageHelp = true, description = "Show this help.")
        boolean help;

        Workbook book;

        @Override
        public final Integer call() throws Exception {
            book = Workbook.find();
            return run();
        }

        abstract int run() throws Exception;
    }

    @Command(name = "test", sortOptions = false, description = {
        "Checks a lab step by step and stops at the first step that is not passed.",
        "A step whose TODO line is still in the file is «to do»: delete the line when the step is written."},
        footer = {"", "jbang test-401                      your lab 401", "jbang test-401 solutions/401-tcp-server",
            "                                    any other file or folder, for example a submission",
            "", "Exit status: 0 all steps passed, 1 some step not passed, 2 could not check."})
    static final class Test extends InWorkbook {
        @Parameters(index = "0", paramLabel = "LAB", description = "Number or name of the lab.")
        String lab;

        @Parameters(index = "1", arity = "0..1", paramLabel = "PATH", description = "The file to check, or a folder that holds it. Default: your lab.")
        Path path;

        @Option(names = "--all", description = "Go on after a step that is not passed, and run the steps that are still to do.")
        boolean all;

        @Option(names = "--json", description = "Print the result as JSON in the shape of Exercism's test runner, version 3.")
        boolean json;

        @Option(names = "--timeout", paramLabel = "SECONDS", description = "How long one test may last. Default: 30, with --all 60.")
        Integer timeout;

        @Override
        int run() throws Exception {
            var found = book.lab(lab);
            var order = all ? Checker.Order.ALL : Checker.Order.LEARNER;
            if (timeout != null) {
                order = order.withTestTimeout(Duration.ofSeconds(timeout));
            }
            var source = path == null ? Source.read(found, found.file()) : Source.submitted(found, path);
            try (var checker = new Checker(book)) {
                var verdict = checker.check(source, order, json ? new CheckListener() {} : new Terminal(System.out));
                if (json) {
                    IO.println(ExercismReport.of(verdict));
                }
                System.out.flush();
                if (path == null) {
                    new Progress(book).save(verdict);
                }
                checker.sweep();
                return verdict.passed() ? PASSED : NOT_PASSED;
            }
        }
    }

    @Command(name = "watch", description = "Checks a lab at every save. Without a number: the first lab that is not solved.",
            footer = {"", "Keys: h hint, n next lab, l list of labs, r run again, q quit."})
    static final class Watch extends InWorkbook {
        @Parameters(arity = "0..1", paramLabel = "LAB", description = "Number or name of the lab.")
        String lab;

        @Override
        int run() throws Exception {
            var found = lab != null ? book.lab(lab) : firstUnsolved(book).orElseThrow(() -> new Trouble("every lab here is solved: name one"));
            return new Watcher(book).watch(found);
        }
    }

    @Command(name = "hint", description = {"Prints the next hint for the first step that is not passed, or for the step you name.",
        "There are three for each step, from weak to strong. After the third, the first comes again."})
    static final class Hint extends InWorkbook {
        @Parameters(index = "0", arity = "0..1", paramLabel = "LAB", description = "Number or name of the lab. Default: the first that is not solved.")
        String lab;

        @Parameters(index = "1", arity = "0..1", paramLabel = "STEP", description = "Number of the step.")
        Integer step;

        @Override
        int run() throws Exception {
            var found = lab != null ? book.lab(lab) : firstUnsolved(book).orElseThrow(() -> new Trouble("every lab here is solved: name one"));
            IO.println(nextHint(book, found, step));
            return PASSED;
        }
    }

    @Command(name = "progress", description = "All labs, a line each, with the steps passed when they were last checked.")
    static final class ShowProgress extends InWorkbook {
        @Override
        int run() throws Exception {
            list(book, System.out);
            return PASSED;
        }
    }

    @Command(name = "reset", description = "Puts a lab's skeleton back. Your file is kept beside it, with the ending .bak and a number.")
    static final class Reset extends InWorkbook {
        @Parameters(paramLabel = "LAB", description = "Number or name of the lab.")
        String lab;

        @Override
        int run() throws Exception {
            var found = book.lab(lab);
            var skeleton = found.skeleton();
            if (Files.exists(found.file()) && !Files.readString(found.file()).equals(skeleton)) {
                IO.println("your file is kept as " + book.shown(backUp(found.file())));
            }
            Files.createDirectories(found.file().getParent());
            Files.writeString(found.file(), skeleton);
            new Progress(book).forget(found);
            IO.println(book.shown(found.file()) + " is the skeleton again");
            return PASSED;
        }

        private static Path backUp(Path file) throws IOException {
            for (int i = 1; ; i++) {
                var backup = file.resolveSibling(file.getFileName() + ".bak" + i);
                if (!Files.exists(backup)) {
                    return Files.move(file, backup);
                }
            }
        }
    }

    @Command(name = "bench", description = "Measures a lab's solution beside a peer, in one run. Options after the number are the benchmark's own: try --help there.")
    static final class Bench extends InWorkbook {
        @Parameters(index = "0", paramLabel = "LAB", description = "Number or name of the lab, or «grader»: from an edit to the verdict.")
        String lab;

        @CommandLine.Unmatched
        List<String> options = new ArrayList<>();

        @Override
        int run() throws Exception {
            return JBang.run(book, script(), options);
        }

        private Path script() throws IOException {
            if (lab.equals("grader")) {
                return book.root().resolve("tests", "grader", "bench", "EditToVerdict.java");
            }
            var found = book.lab(lab);
            return found.tests().resolve(found.type() + "Bench.java");
        }
    }

    @Command(name = "skeleton", description = "For maintainers: writes the skeletons of labs from their solutions.")
    static final class WriteSkeleton extends InWorkbook {
        @Parameters(arity = "1..*", paramLabel = "LAB", description = "Numbers or names of labs.")
        List<String> labs;

        @Override
        int run() throws Exception {
            for (var lab : labs) {
                var found = book.lab(lab);
                var skeleton = Skeleton.of(found.solution()).withSteps(0);
                Files.createDirectories(found.file().getParent());
                Files.writeString(found.file(), skeleton);
                IO.println(book.shown(found.file()) + ": " + Terminal.count(skeleton.lines().count(), "line"));
            }
            return PASSED;
        }
    }

    @Command(name = "transcripts", description = "For maintainers: records the book's terminal transcripts anew, by running their commands.")
    static final class RecordTranscripts extends InWorkbook {
        @Parameters(arity = "0..*", paramLabel = "LAB|FILE", description = "Numbers of labs, or single files. Default: all.")
        List<String> names = List.of();

        @Override
        int run() throws Exception {
            for (var file : Transcript.files(book, names)) {
                IO.println(book.shown(file));
                Transcript.of(book, file).record();
            }
            return PASSED;
        }
    }

    @Command(name = "ide", description = {"Writes pom.xml, which any Java IDE can open: labs, tests and kit together.",
        "The file is for you alone; git ignores it. Write it again after a lab's libraries have changed."})
    static final class Ide extends InWorkbook {
        @Parameters(arity = "0..*", paramLabel = "LAB", description = "Numbers or names of labs. Default: all.")
        List<String> names = List.of();

        @Override
        int run() throws Exception {
            Files.writeString(book.root().resolve("pom.xml"), Pom.of(book.labs(names)));
            IO.println("pom.xml is written: open this folder in your IDE as a Maven project");
            return PASSED;
        }
    }

    @Command(name = "prepare", hidden = true, description = "Makes the ahead-of-time caches.")
    static final class Prepare extends InWorkbook {
        @Override
        int run() throws Exception {
            Aot.of(book).prepare();
            return PASSED;
        }
    }

    static Optional<Workbook.Lab> firstUnsolved(Workbook book) throws IOException {
        var progress = new Progress(book);
        var curriculum = Curriculum.read(book);
        for (var lab : book.labs()) {
            if (progress.of(lab).passed().size() < curriculum.of(lab).steps().size()) {
                return Optional.of(lab);
            }
        }
        return Optional.empty();
    }

    static String nextHint(Workbook book, Workbook.Lab lab, Integer asked) throws IOException {
        var progress = new Progress(book);
        var entry = progress.of(lab);
        var steps = Curriculum.read(book).of(lab).steps();
        int step = asked != null ? asked : IntStream.rangeClosed(1, steps.size()).filter(n -> !entry.passed().contains(n)).findFirst().orElse(steps.size());
        var hints = Hints.of(lab).get(step);
        if (hints == null) {
            throw new Trouble("lab " + lab.number() + " has steps 1 to " + steps.size() + ", no step " + step);
        }
        int next = entry.hints().getOrDefault(step, 0) % hints.size();
        progress.hintShown(lab, step, next + 1);
        return "Lab %s, step %d: %s\nhint %d of %d: %s".formatted(lab.number(), step, steps.get(step - 1).title(), next + 1, hints.size(), hints.get(next));
    }

    static void list(Workbook book, PrintStream out) throws IOException {
        var progress = new Progress(book);
        var here = book.labs().stream().collect(Collectors.toMap(Workbook.Lab::slug, lab -> lab));
        for (var entry : Curriculum.read(book).labs()) {
            if (!here.containsKey(entry.slug())) {
                out.printf("  %d  %-24s to come%n", entry.number(), entry.title());
                continue;
            }
            var passed = progress.of(here.get(entry.slug())).passed();
            var steps = IntStream.rangeClosed(1, entry.steps().size()).mapToObj(n -> passed.contains(n) ? "#" : ".").collect(Collectors.joining());
            long core = entry.steps().stream().filter(step -> !step.further()).count();
            out.printf("  %d  %-24s %-8s %d of %d steps, core %d of %d%n", entry.number(), entry.title(), steps, passed.size(), entry.steps().size(),
                    passed.stream().filter(n -> n <= core).count(), core);
        }
    }

    /**
     * {@code test 401} goes straight to work: picocli's classes are too old for an ahead-of-time cache, and loading them would
     * be a tenth of a check. Everything with an option goes through picocli.
     */
    public static void main(String[] args) {
        int status;
        if (args.length == 2 && args[0].equals("test") && !args[1].startsWith("-")) {
            var test = new Test();
            test.lab = args[1];
            try {
                status = test.call();
            } catch (Exception e) {
                status = trouble(e);
            }
        } else {
            status = new CommandLine(new Main()).setUsageHelpWidth(96).setExecutionExceptionHandler((e, line, parsed) -> trouble(e)).execute(args);
        }
        leaveCommand();
        System.out.flush();
        Runtime.getRuntime().halt(status);
    }

    /** What the launcher may run the next time instead of asking JBang, and the caches that make it quick. */
    private static void leaveCommand() {
        try {
            var book = Workbook.find();
            if (Files.isDirectory(book.cache())) {
                ShortCut.of(book).write();
                Aot.of(book).prepareInBackground();
            }
        } catch (IOException | Trouble e) {
            // Without them the next run is slower, no more.
        }
    }

    private static int trouble(Exception e) {
        System.out.flush();
        System.err.println(e instanceof Trouble ? e.getMessage() : "the grader itself failed: " + e);
        if (System.getenv("WORKBOOK_DEBUG") != null) {
            e.printStackTrace();
        }
        return COULD_NOT_CHECK;
    }
}
