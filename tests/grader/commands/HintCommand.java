package grader.commands;

import module java.base;

import grader.show.NextHint;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** {@code jbang hint}. */
@Command(name = "hint", description = {
    "Prints the next hint for the first step that is not passed, or for the step you name.",
    "There are three for each step, from weak to strong. After the third, the first comes again."})
public final class HintCommand extends WorkbookCommand {
    @Parameters(index = "0", arity = "0..1", paramLabel = "LAB",
            description = "Number or name of the lab. Default: the first that is not solved.")
    String lab;

    @Parameters(index = "1", arity = "0..1", paramLabel = "STEP", description = "Number of the step.")
    Integer step;

    @Override
    int run() throws Exception {
        IO.println(NextHint.of(labOrFirstUnsolved(lab), step == null ? OptionalInt.empty() : OptionalInt.of(step)));
        return DONE;
    }
}
