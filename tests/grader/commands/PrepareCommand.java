package grader.commands;

import grader.speed.AotCache;
import picocli.CommandLine.Command;

/** Run in the background by the grader itself. */
@Command(name = "prepare", hidden = true, description = "Makes the ahead-of-time cache.")
public final class PrepareCommand extends WorkbookCommand {
    @Override
    int run() throws Exception {
        AotCache.of(book).prepare();
        return DONE;
    }
}
