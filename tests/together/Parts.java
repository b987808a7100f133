package together;

import module java.base;

import grader.check.CheckListener;
import grader.check.CheckOptions;
import grader.check.Checker;
import grader.check.Submission;
import grader.check.TestPlan;
import grader.compile.Javac;
import grader.compile.Libraries;
import grader.compile.SourceText;
import grader.speed.ContentCache;
import grader.speed.Jvm;
import grader.workbook.CannotCheck;
import grader.workbook.Lab;
import grader.workbook.Workbook;

/** The programs that take part, compiled, and their processes, all of which end with this. */
final class Parts implements AutoCloseable {
    /** The labs that take part, and the last step that each needs for it. */
    static final Map<String, Integer> NEEDED = Map.of("406", 5, "408", 4, "409", 3, "414", 5, "416", 3, "418", 4);

    /**
     * @param missing the first step that the learner's file lacks; 0 if it takes part
     * @param command without the program's own arguments
     */
    private record Program(int missing, List<String> command) {}

    private final Workbook book;
    private final boolean yours;
    private final ContentCache cache;
    private final Libraries libraries;
    private final Map<String, Program> programs = new HashMap<>();
    private final List<Part> begun = new CopyOnWriteArrayList<>();
    private final Thread atExit = new Thread(this::end);

    /** @param yours whether the learner's labs take part where they can */
    Parts(Workbook book, boolean yours) throws IOException {
        this.book = book;
        this.yours = yours;
        cache = new ContentCache(book.cache());
        libraries = new Libraries(book, cache);
        Runtime.getRuntime().addShutdownHook(atExit);
        try (var checker = new Checker(book)) {
            for (var lab : book.labs(NEEDED.keySet().stream().sorted().toList())) {
                int missing = yours ? missing(checker, lab) : 1;
                programs.put(lab.number(), new Program(missing,
                        command(lab, missing == 0 ? lab.file() : lab.solution(), checker.javac())));
            }
        }
    }

    private static int missing(Checker checker, Lab lab) throws IOException {
        int last = NEEDED.get(lab.number());
        var passed = checker.check(Submission.own(lab), CheckOptions.LEARNER.ofSteps(1, last),
                new CheckListener() {}).passedSteps();
        return IntStream.rangeClosed(1, last).filter(step -> !passed.contains(step)).findFirst().orElse(0);
    }

    private List<String> command(Lab lab, Path file, Javac javac) throws IOException {
        if (!Files.exists(file)) {
            throw new CannotCheck(book.shown(file) + " is missing: what is not yours must be a solution");
        }
        var source = Files.readString(file);
        var jars = libraries.classPath(List.of(source));
        var kind = "together-" + lab.number();
        var classes = cache.get(kind, ContentCache.hash(List.of(source, jars)),
                dir -> compile(lab, source, jars, dir, javac));
        cache.deleteOutdated(kind, classes);
        var command = new ArrayList<>(List.of(Jvm.java()));
        command.addAll(Jvm.SHORT_LIVED);
        command.addAll(TestPlan.options(source));
        command.addAll(List.of("-cp", Stream.concat(Stream.of(classes), jars.stream()).map(Path::toString)
                .collect(Collectors.joining(File.pathSeparator)), lab.type()));
        return command;
    }

    private static void compile(Lab lab, String source, List<Path> jars, Path dir, Javac javac) throws IOException {
        var findings = javac.compile(List.of(new SourceText(lab.fileName(), source)), jars, dir);
        if (!findings.isEmpty()) {
            throw new CannotCheck(lab + " does not compile: " + findings.getFirst().message());
        }
    }

    /** How many labs of the learner's own take part. */
    long yours() {
        return programs.values().stream().filter(program -> program.missing == 0).count();
    }

    /** Whose program a part runs, if that was asked. */
    private String whose(Part part) {
        int missing = programs.get(part.lab()).missing;
        return !yours ? "" : missing == 0 ? "yours" : "the solution: step " + missing + " of yours is missing";
    }

    /** Starts the lab with whose number the name begins. */
    Part start(String name, String... arguments) throws IOException {
        var command = new ArrayList<>(programs.get(name.substring(0, 3)).command());
        command.addAll(List.of(arguments));
        var part = new Part(name, command);
        begun.add(part);
        return part;
    }

    /** Waits until these are at work, and shows each. */
    void show(Part... parts) throws InterruptedException {
        for (var part : parts) {
            part.awaitReady();
            Together.show("%-20s  process %-8d %-16s %s".formatted(
                    part.name(), part.pid(), part.address(), whose(part)));
        }
    }

    /** Runs a lab to its end, and gives what it printed. */
    List<String> run(String name, String... arguments) throws IOException, InterruptedException {
        return start(name, arguments).output();
    }

    private void end() {
        begun.reversed().forEach(Part::close);
    }

    @Override
    public void close() {
        end();
        Runtime.getRuntime().removeShutdownHook(atExit);
    }
}
