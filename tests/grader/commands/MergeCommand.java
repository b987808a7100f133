package grader.commands;

import module java.base;

import grader.grade.ClassFile;
import grader.grade.ClassResult;
import grader.workbook.CannotCheck;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code jbang grade merge}. */
@Command(name = "merge", sortOptions = false, description = {
    "Joins the results of parts of a class, graded with --shard, and writes the reports of the whole.",
    "All parts must have been graded with the same tests, in the same way."},
        footer = {"", "${ROOT-COMMAND-NAME} grade merge shard-1 shard-2/class.json"})
public final class MergeCommand extends WorkbookCommand {
    @Parameters(arity = "1..*", paramLabel = "RESULT", description = "A report folder, or its class.json.")
    List<Path> parts;

    @Option(names = "--out", paramLabel = "DIR", description = "Where the reports go. Default: ${DEFAULT-VALUE}.")
    Path out = Path.of("reports");

    @Override
    int run() throws Exception {
        var results = new ArrayList<ClassResult>();
        for (var part : parts) {
            results.add(ClassFile.read(Files.isDirectory(part) ? part.resolve(ClassFile.NAME) : part));
        }
        for (int i = 1; i < results.size(); i++) {
            if (!results.get(i).isLike(results.getFirst())) {
                throw new CannotCheck(parts.get(i) + " and " + parts.getFirst()
                        + " were not graded with the same labs, tests, weights and options");
            }
        }
        return GradeCommand.write(ClassResult.joined(results), out);
    }
}
