package grader.commands;

import module java.base;

import grader.handout.StudentsCopy;
import grader.workbook.Lab;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code jbang handout}. */
@Command(name = "handout", sortOptions = false, description = {
    "Writes the students' copy of the workbook: without solutions, known mistakes and history.",
    "All commands that students type work in it; its book is the students' edition."},
        footer = {"", "${ROOT-COMMAND-NAME} handout ../for-students",
            "${ROOT-COMMAND-NAME} handout ../first-weeks --labs 401-405"})
public final class HandoutCommand extends WorkbookCommand {
    private static final Set<String> TEACHERS = Set.of("handout", "bench");

    @Parameters(paramLabel = "DIR", description = "A folder that is not there yet, or empty.")
    Path folder;

    @Option(names = "--labs", paramLabel = "LABS", split = ",",
            description = "The labs to hand out, for example 401-405,410. Default: all.")
    List<String> labs = List.of();

    @Spec
    CommandSpec spec;

    @Override
    int run() throws Exception {
        var chosen = book.labs(labs);
        StudentsCopy.write(book, chosen, studentsCommands(spec.parent().commandLine()), folder);
        IO.println("written to " + folder + ": lab "
                + chosen.stream().map(Lab::number).collect(Collectors.joining(", ")));
        return DONE;
    }

    /** The grader's commands, but those for maintainers and teachers. */
    static SequencedMap<String, String> studentsCommands(CommandLine grader) {
        var commands = RegisterCommand.commands(grader);
        commands.entrySet().removeIf(each ->
                TEACHERS.contains(each.getKey()) || each.getValue().startsWith("For maintainers:"));
        return commands;
    }
}
