///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Checks labs step by step, gives hints, keeps progress
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS org.junit.platform:junit-platform-launcher:6.1.3
//DEPS info.picocli:picocli:4.7.7
//DEPS org.jline:jline-terminal:3.30.6
//DEPS com.fasterxml.jackson.core:jackson-databind:2.19.2
//SOURCES commands/*.java
//SOURCES workbook/*.java
//SOURCES box/*.java
//SOURCES check/*.java
//SOURCES compile/*.java
//SOURCES runner/*.java
//SOURCES show/*.java
//SOURCES grade/*.java
//SOURCES report/*.java
//SOURCES handout/*.java
//SOURCES speed/*.java
//SOURCES maintain/*.java
//RUNTIME_OPTIONS -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmn8m -Xlog:disable -Dworkbook.remember=true
package grader;

import module java.base;

import grader.commands.BenchCommand;
import grader.commands.GradeCommand;
import grader.commands.RegisterCommand;
import grader.commands.HandoutCommand;
import grader.commands.HintCommand;
import grader.commands.IdeCommand;
import grader.commands.NewCommand;
import grader.commands.PrepareCommand;
import grader.commands.ProgressCommand;
import grader.commands.ResetCommand;
import grader.commands.SkeletonCommand;
import grader.commands.TestCommand;
import grader.commands.TranscriptsCommand;
import grader.commands.WatchCommand;
import grader.speed.AotCache;
import grader.speed.RememberedCommand;
import grader.workbook.CannotCheck;
import grader.workbook.Workbook;
import picocli.CommandLine;
import picocli.CommandLine.Command;

/**
 * The program behind {@code jbang test-401}, {@code watch}, {@code hint}, {@code progress}, {@code reset} and what
 * maintainers use. {@code tests/README.adoc} is its map.
 */
@Command(name = "jbang", mixinStandardHelpOptions = true, synopsisSubcommandLabel = "COMMAND",
        description = "The workbook's commands. A LAB is a number (401) or a name (401-tcp-server).",
        footer = {"", "Exit status: 0 all passed, 1 some step not passed, 2 could not check."},
        subcommands = {TestCommand.class, WatchCommand.class, HintCommand.class, ProgressCommand.class,
            ResetCommand.class, GradeCommand.class, HandoutCommand.class, IdeCommand.class, BenchCommand.class,
            NewCommand.class, SkeletonCommand.class, TranscriptsCommand.class, RegisterCommand.class,
            PrepareCommand.class})
public final class Main {
    private static final int COULD_NOT_CHECK = 2;

    private Main() {}

    public static void main(String[] args) {
        int status;
        try {
            status = run(args);
        } catch (Throwable e) {
            status = couldNotCheck(e);
        }
        prepareNext();
        System.out.flush();
        Runtime.getRuntime().halt(status);
    }

    /**
     * {@code test 401} goes straight to work: picocli's classes are too old for an ahead-of-time cache, and loading
     * them would be a tenth of a check.
     */
    private static int run(String[] args) throws Exception {
        var arguments = List.of(args);
        boolean isPlainTest = args.length >= 2 && args[0].equals("test") && args[1].matches("\\w[\\w-]*");
        if (isPlainTest && (args.length == 2 || arguments.subList(2, args.length).equals(List.of("--times")))) {
            return TestCommand.of(args[1], args.length == 3).call();
        }
        return commandLine().execute(args);
    }

    /** All commands. */
    public static CommandLine commandLine() {
        var commands = new CommandLine(new Main()).setCommandName(Workbook.jbang())
                .setUsageHelpWidth(96).setExpandAtFiles(false)
                .setExecutionExceptionHandler((e, line, parsed) -> couldNotCheck(e))
                .setParameterExceptionHandler(Main::notUnderstood);
        // What comes after the lab is the benchmark's.
        commands.getSubcommands().get("bench").setStopAtPositional(true);
        commands.getSubcommands().get("grade").registerConverter(GradeCommand.Shard.class, GradeCommand.Shard::parse);
        return commands;
    }

    /** What the launcher may run the next time instead of asking JBang, and the cache that makes it quick. */
    private static void prepareNext() {
        try {
            var book = Workbook.find();
            if (Files.isDirectory(book.cache())) {
                var classes = AotCache.of(book);
                RememberedCommand.write(book, "command", classes.withOptions(), "grader.Main");
                classes.prepareInBackground();
            }
        } catch (IOException | CannotCheck e) {
            // Without them the next run is slower, no more.
        }
    }

    private static int couldNotCheck(Throwable e) {
        System.out.flush();
        System.err.println(CannotCheck.sentence(e));
        if (System.getenv("WORKBOOK_DEBUG") != null) {
            e.printStackTrace();
        }
        return COULD_NOT_CHECK;
    }

    /**
     * picocli counts arguments from 0, and among them the command that an alias stands for: the argument itself is
     * told.
     */
    private static int notUnderstood(CommandLine.ParameterException wrong, String[] args) {
        var words = wrong.getMessage().replaceFirst("^Unmatched arguments? (at|from) index \\d+:", "not understood:")
                .replaceFirst("^Invalid value for "
                        + "(?:option '(.+?)'|positional parameter at index \\d+ \\((.+?)\\))", "$1$2")
                .replaceFirst("is not an int$", "is not a number")
                .replace("Missing required parameter", "missing");
        System.err.println(words);
        wrong.getCommandLine().usage(System.err);
        return COULD_NOT_CHECK;
    }
}
