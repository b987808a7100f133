///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Checks the workbook itself: what CI runs
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS org.junit.platform:junit-platform-launcher:6.1.3
//DEPS info.picocli:picocli:4.7.7
//DEPS org.jline:jline-terminal:3.30.6
//DEPS com.fasterxml.jackson.core:jackson-databind:2.19.2
//DEPS io.github.java-diff-utils:java-diff-utils:4.12
//DEPS org.jsoup:jsoup:1.24.1
//DEPS dev.harrel:json-schema:1.8.1
//MAIN verify.Main
//SOURCES *.java
//SOURCES lab/*.java
//SOURCES tool/*.java
//SOURCES book/*.java
//SOURCES ../together/*.java
//SOURCES ../grader/Main.java
//SOURCES ../grader/commands/*.java
//SOURCES ../grader/workbook/*.java
//SOURCES ../grader/box/*.java
//SOURCES ../grader/check/*.java
//SOURCES ../grader/compile/*.java
//SOURCES ../grader/runner/*.java
//SOURCES ../grader/grade/*.java
//SOURCES ../grader/show/*.java
//SOURCES ../grader/grade/*.java
//SOURCES ../grader/report/*.java
//SOURCES ../grader/handout/*.java
//SOURCES ../grader/speed/*.java
//SOURCES ../grader/maintain/*.java
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xlog:disable
package verify;

import module java.base;

import grader.workbook.CannotCheck;
import grader.workbook.Workbook;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Runs the tests of this folder, and ends with a line that counts them. */
@Command(name = "verify", sortOptions = false, description = {
    "Checks the workbook itself: catalog, labs, tests, mistakes, chapters, grader, launcher.",
    "With LAB only what belongs to those labs; with --repeat only their tests, again and again."},
        footer = {"", "./jbang verify                           everything, as CI does",
            "./jbang verify 401 --repeat 30 --load 2  hunts tests that fail by luck",
            "./jbang verify 401 --mistake patch --repeat 5 --load 2  hunts mistakes that pass by luck",
            "", "WORKBOOK_REQUIRE=all in the environment makes every skipped test a failure.",
            "Exit status: 0 nothing failed, 1 something failed, 2 could not check."})
public final class Main implements Callable<Integer> {
    private static final List<String> OF_LABS =
            List.of("lab.LabFilesTest", "lab.ChapterTest", "lab.PrefixTest", "lab.MistakeTest");
    private static final List<String> OF_THE_REST = List.of("book.CatalogTest", "book.ConventionsTest", "book.BookTest",
            "book.BookTextTest", "book.BookPagesTest", "book.BookBuildTest", "book.ClassPageTest",
            "tool.GraderTest", "tool.GradeTest", "tool.ReportTest", "tool.HandoutTest", "tool.GradescopeZipTest",
            "tool.NewLabTest", "tool.HostileTest", "tool.HostileClassTest", "tool.WatchTest", "tool.TogetherTest",
            "tool.LauncherTest");
    private static final String PARALLEL = "junit.jupiter.execution.parallel.";
    /** Twice the cores: a check waits as often as it works. */
    private static final int WORKERS = 2 * Runtime.getRuntime().availableProcessors();

    @Parameters(arity = "0..*", paramLabel = "LAB", description = "Numbers or names of labs. Default: everything.")
    List<String> labs = List.of();

    @Option(names = "--repeat", paramLabel = "N",
            description = "Check the solution of each lab N times, and nothing else.")
    int repeat;

    @Option(names = "--mistake", paramLabel = "TEXT",
            description = "Check only the mistakes whose file name holds TEXT (patch: all of them), with --repeat N "
                    + "times each.")
    Optional<String> mistake = Optional.empty();

    @Option(names = "--load", paramLabel = "N", description = "Keep N cores busy meanwhile.")
    int load;

    @Option(names = "--only", paramLabel = "TEST",
            description = "Run this class of tests/verify alone, for example LauncherTest.")
    List<String> only = List.of();

    @Option(names = {"-h", "--help"}, usageHelp = true, description = "Show this help.")
    boolean help;

    @Override
    public Integer call() throws Exception {
        Selection.set(labs, mistake.orElse(""), repeat);
        try (var report = new ConsoleReport(); var busy = new BusyCores(load)) {
            var request = LauncherDiscoveryRequestBuilder.request()
                    .selectors(classes().map(name -> DiscoverySelectors.selectClass("verify." + name)).toList())
                    .configurationParameter(PARALLEL + "enabled", "true")   // for the classes that ask for it
                    .configurationParameter(PARALLEL + "config.executor-service", "WORKER_THREAD_POOL")
                    .configurationParameter(PARALLEL + "config.strategy", "fixed")
                    .configurationParameter(PARALLEL + "config.fixed.parallelism", Integer.toString(WORKERS)).build();
            LauncherFactory.create().execute(request, report);
            return report.failed() == 0 ? 0 : 1;
        }
    }

    private Stream<String> classes() {
        if (mistake.isPresent()) {
            return Stream.of("lab.MistakeTest");
        }
        if (repeat > 0) {
            return Stream.of("lab.RepeatTest");
        }
        return Stream.of(OF_LABS, labs.isEmpty() ? OF_THE_REST : List.<String>of()).flatMap(List::stream)
                .filter(name -> only.isEmpty() || only.contains(name.substring(name.indexOf('.') + 1)));
    }

    public static void main(String[] args) {
        int status = new CommandLine(new Main()).setCommandName(Workbook.jbang() + " verify").setUsageHelpWidth(96)
                .setExecutionExceptionHandler((failure, line, parsed) -> couldNotCheck(failure)).execute(args);
        System.out.flush();
        Runtime.getRuntime().halt(status);   // threads of broken labs may still run
    }

    private static int couldNotCheck(Exception failure) {
        System.err.println(failure instanceof CannotCheck ? failure.getMessage() : "verify itself failed: " + failure);
        return 2;
    }
}
