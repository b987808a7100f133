package grader.commands;

import module java.base;

import grader.workbook.JBang;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** {@code jbang bench}. */
@Command(name = "bench", description = "Measures a lab's solution beside a peer, in one run.")
public final class BenchCommand extends WorkbookCommand {
    private static final String TOOL = "edit-to-verdict";
    private static final String CLASS = "grade";

    @Parameters(index = "0", paramLabel = "LAB",
            description = "Number or name of the lab, or «" + TOOL + "»: the workbook's own speed, beside Maven; "
                    + "or «" + CLASS + "»: how many students it grades in a minute.")
    String lab;

    @Parameters(index = "1..*", arity = "0..*", paramLabel = "OPTION",
            description = "The benchmark's own: bench 401 --help shows them.")
    List<String> options = List.of();

    @Override
    int run() throws Exception {
        return JBang.run(book, script(), options);
    }

    private Path script() throws IOException {
        var own = book.root().resolve("tests", "grader", "maintain", "bench");
        if (lab.equals(TOOL)) {
            return own.resolve("EditToVerdict.java");
        }
        if (lab.equals(CLASS)) {
            return own.resolve("GradeClass.java");
        }
        var found = book.lab(lab);
        return found.tests().resolve(found.type() + "Bench.java");
    }
}
