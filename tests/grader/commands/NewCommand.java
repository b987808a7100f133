package grader.commands;

import grader.maintain.NewLab;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code jbang new}. */
@Command(name = "new", description = {
    "For maintainers: begins a lab: every file that it needs, compiling, for you to replace.",
    "Title and steps come from book/curriculum.json; a lab that is not there gets an entry with two steps."},
        footer = {"", "./jbang new 408-proxy-server ProxyServer",
            "./jbang verify 408                    says what is still owed"})
public final class NewCommand extends WorkbookCommand {
    @Spec
    CommandSpec spec;

    @Parameters(index = "0", paramLabel = "NAME", description = "Number and words, for example 408-proxy-server.")
    String slug;

    @Parameters(index = "1", paramLabel = "CLASS",
            description = "The class of the lab's file, for example ProxyServer.")
    String type;

    @Override
    int run() throws Exception {
        NewLab.of(book, slug, type).write().forEach(file -> IO.println(book.shown(file)));
        RegisterCommand.write(RegisterCommand.of(book, spec.parent().commandLine()));
        return DONE;
    }
}
