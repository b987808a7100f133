///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Checks the workbook itself: what CI runs
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS org.junit.platform:junit-platform-launcher:6.1.3
//DEPS info.picocli:picocli:4.7.7
//DEPS org.jline:jline-terminal:3.30.6
//DEPS com.fasterxml.jackson.core:jackson-databind:2.19.2
//DEPS io.github.java-diff-utils:java-diff-utils:4.12
//MAIN verify.Main
//SOURCES *.java
//SOURCES ../grader/*.java
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xlog:disable
package verify;

import module java.base;

import grader.Aot;
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
        footer = {"", "jbang verify                          everything, as CI does",
            "jbang verify 401 --repeat 30 --load 2  hunts tests that fail by luck",
            "", "WORKBOOK_REQUIRE=all in the environment makes every skipped test a failure.",
            "Exit status: 0 nothing failed, 1 something failed, 2 could not check."})
public final class Main implements Callable<Integer> {
    private static final List<Class<?>> WHOLE = List.of(CatalogTest.class, ConventionsTest.class, LabTest.class, BookTest.class,
            GraderTest.class, HostileTest.class, WatchTest.class, LauncherTest.class);
    private static final List<Class<?>> OF_ONE_LAB = List.of(LabTest.class);
    private static final List<Class<?>> REPEATED = List.of(RepeatTest.class);

    @Parameters(arity = "0..*", paramLabel = "LAB", description = "Numbers or names of labs. Default: everything.")
    List<String> labs = List.of();

    @Option(names = "--repeat", paramLabel = "N", description = "Check the solution of each lab N times, and nothing else.")
    int repeat;

    @Option(names = "--load", paramLabel = "N", description = "Keep N cores busy meanwhile.")
    int load;

    @Option(names = "--only", paramLabel = "TEST", description = "Run these classes of tests/verify alone, for example LauncherTest.")
    List<String> only = List.of();

    @Option(names = {"-h", "--help"}, usageHelp = true, description = "Show this help.")
    boolean help;

    @Override
    public Integer call() throws Exception {
        Scope.set(labs, repeat);
        Aot.of(Scope.book()).prepareRunner();
        var classes = repeat > 0 ? REPEATED : !only.isEmpty() ? WHOLE.stream().filter(each -> only.contains(each.getSimpleName())).toList()
                : labs.isEmpty() ? WHOLE : OF_ONE_LAB;
        try (var report = new Report(); var busy = new Load(load)) {
            var request = LauncherDiscoveryRequestBuilder.request()
                    .selectors(classes.stream().map(DiscoverySelectors::selectClass).toList())
                    .configurationParameter("junit.jupiter.testclass.order.default", "org.junit.jupiter.api.ClassOrderer$ClassName")
                    .configurationParameter("junit.jupiter.execution.parallel.enabled", "true")   // for the classes that ask for it
                    .configurationParameter("junit.jupiter.execution.parallel.config.executor-service", "WORKER_THREAD_POOL")
                    .configurationParameter("junit.jupiter.execution.parallel.config.strategy", "fixed")
                    .configurationParameter("junit.jupiter.execution.parallel.config.fixed.parallelism", "2").build();
            LauncherFactory.create().execute(request, report);
            return report.failed() == 0 ? 0 : 1;
        }
    }

    public static void main(String[] args) {
        int status = new CommandLine(new Main()).setUsageHelpWidth(96).setExecutionExceptionHandler((failure, line, parsed) -> {
            System.err.println(failure.getMessage());
            return 2;
        }).execute(args);
        System.out.flush();
        Runtime.getRuntime().halt(status);   // threads of broken labs may still run
    }
}
