package grader.commands;

import grader.show.ProgressList;
import picocli.CommandLine.Command;

/** {@code jbang progress}. */
@Command(name = "progress", description = "All labs, a line each, with the steps passed when they were last checked.")
public final class ProgressCommand extends WorkbookCommand {
    @Override
    int run() throws Exception {
        ProgressList.print(book, System.out);
        return DONE;
    }
}
