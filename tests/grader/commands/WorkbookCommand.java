package grader.commands;

import module java.base;

import grader.show.ProgressList;
import grader.workbook.CannotCheck;
import grader.workbook.Lab;
import grader.workbook.Workbook;
import picocli.CommandLine.Option;

/** A command that runs inside a workbook. Its result is the exit status. */
abstract class WorkbookCommand implements Callable<Integer> {
    static final int DONE = 0;

    @Option(names = {"-h", "--help"}, usageHelp = true, description = "Show this help.")
    boolean help;

    Workbook book;

    @Override
    public final Integer call() throws Exception {
        book = Workbook.find();
        return run();
    }

    abstract int run() throws Exception;

    /** The lab of this number or name; without one, the first that is not solved. */
    final Lab labOrFirstUnsolved(String asked) throws IOException {
        return asked != null ? book.lab(asked) : ProgressList.firstUnsolved(book)
                .orElseThrow(() -> new CannotCheck("every lab here is solved: name one"));
    }
}
