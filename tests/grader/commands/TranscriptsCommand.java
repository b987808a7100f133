package grader.commands;

import module java.base;

import grader.maintain.Transcript;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** {@code jbang transcripts}. */
@Command(name = "transcripts",
        description = "For maintainers: records the book's terminal transcripts anew, by running their commands.")
public final class TranscriptsCommand extends WorkbookCommand {
    @Parameters(arity = "0..*", paramLabel = "LAB|FILE",
            description = "Numbers of labs, or single files. Default: all.")
    List<String> names = List.of();

    @Override
    int run() throws Exception {
        for (var file : Transcript.files(book, names)) {
            IO.println(book.shown(file));
            Transcript.of(book, file).record();
        }
        return DONE;
    }
}
