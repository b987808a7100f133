package grader.commands;

import module java.base;

import grader.show.StepTree;
import grader.workbook.Skeleton;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** {@code jbang skeleton}. */
@Command(name = "skeleton", description = "For maintainers: writes the skeletons of labs from their solutions, "
        + "into labs and beside the tests.")
public final class SkeletonCommand extends WorkbookCommand {
    @Parameters(arity = "1..*", paramLabel = "LAB", description = "Numbers or names of labs.")
    List<String> labs;

    @Override
    int run() throws Exception {
        for (var lab : book.labs(labs)) {
            var skeleton = Skeleton.of(lab.solution()).withSteps(0);
            for (var file : List.of(lab.file(), lab.skeletonFile())) {
                Files.createDirectories(file.getParent());
                Files.writeString(file, skeleton);
            }
            IO.println(book.shown(lab.file()) + ": " + StepTree.count(skeleton.lines().count(), "line"));
        }
        return DONE;
    }
}
