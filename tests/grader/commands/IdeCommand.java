package grader.commands;

import module java.base;

import grader.maintain.Pom;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** {@code jbang ide}. */
@Command(name = "ide", description = {
    "Writes pom.xml, which any Java IDE can open: labs, tests and kit together.",
    "The file is for you alone; git ignores it. Write it again when a lab's libraries have changed or the JDK has "
        + "moved: it names the JDK to compile with."})
public final class IdeCommand extends WorkbookCommand {
    @Parameters(arity = "0..*", paramLabel = "LAB", description = "Numbers or names of labs. Default: all.")
    List<String> names = List.of();

    @Override
    int run() throws Exception {
        Files.writeString(book.root().resolve("pom.xml"), Pom.of(book.labs(names)));
        IO.println("pom.xml is written: open this folder in your IDE as a Maven project");
        return DONE;
    }
}
