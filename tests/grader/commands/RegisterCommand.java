package grader.commands;

import module java.base;

import grader.maintain.Catalog;
import grader.workbook.Lab;
import grader.workbook.Workbook;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** {@code jbang register}. */
@Command(name = "register", description = "For maintainers: writes jbang-catalog.json and the README's table of labs, "
        + "from book/curriculum.json and the labs.")
public final class RegisterCommand extends WorkbookCommand {
    @Spec
    CommandSpec spec;

    @Override
    int run() throws Exception {
        write(of(book, spec.parent().commandLine()));
        return DONE;
    }

    static void write(Catalog catalog) throws IOException {
        Files.writeString(catalog.file(), catalog.json());
        Files.writeString(catalog.readmeFile(), catalog.readme());
        var numbers = catalog.book().labs().stream().map(Lab::number).collect(Collectors.joining(", "));
        IO.println("jbang-catalog.json and README.adoc name lab " + numbers);
    }

    /** @param grader all commands of the grader */
    public static Catalog of(Workbook book, CommandLine grader) {
        return new Catalog(book, commands(grader));
    }

    /** By name, with what each does. */
    static SequencedMap<String, String> commands(CommandLine grader) {
        var commands = new LinkedHashMap<String, String>();
        grader.getSubcommands().forEach((name, command) -> {
            if (!command.getCommandSpec().usageMessage().hidden()) {
                commands.put(name, command.getCommandSpec().usageMessage().description()[0]);
            }
        });
        return commands;
    }
}
