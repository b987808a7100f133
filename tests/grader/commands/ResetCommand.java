package grader.commands;

import module java.base;

import grader.workbook.Progress;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** {@code jbang reset}. */
@Command(name = "reset",
        description = "Puts a lab's skeleton back. Your file is kept beside it, with the ending .bak and a number.")
public final class ResetCommand extends WorkbookCommand {
    @Parameters(paramLabel = "LAB", description = "Number or name of the lab.")
    String lab;

    @Override
    int run() throws Exception {
        var found = book.lab(lab);
        var skeleton = found.skeleton();
        if (Files.exists(found.file()) && Files.mismatch(found.file(), found.skeletonFile()) >= 0) {
            IO.println("your file is kept as " + book.shown(backUp(found.file())));
        }
        Files.createDirectories(found.file().getParent());
        Files.writeString(found.file(), skeleton);
        new Progress(book).forget(found);
        IO.println(book.shown(found.file()) + " is the skeleton again");
        return DONE;
    }

    private static Path backUp(Path file) throws IOException {
        for (int i = 1; ; i++) {
            var backup = file.resolveSibling(file.getFileName() + ".bak" + i);
            if (!Files.exists(backup)) {
                return Files.move(file, backup);
            }
        }
    }
}
