package grader.commands;

import grader.show.Watcher;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code jbang watch}. */
@Command(name = "watch",
        description = "Checks a lab at every save. Without a number: the first lab that is not solved.",
        footer = {"", "Keys: h hint, n next lab, l list of labs, r run again, q quit."})
public final class WatchCommand extends WorkbookCommand {
    @Parameters(arity = "0..1", paramLabel = "LAB", description = "Number or name of the lab.")
    String lab;

    @Option(names = "--times", description = "Say how long the tests took, step by step.")
    boolean times;

    @Override
    int run() throws Exception {
        new Watcher(book, times).watch(labOrFirstUnsolved(lab));
        return DONE;
    }
}
