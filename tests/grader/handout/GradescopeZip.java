package grader.handout;

import module java.base;

import grader.workbook.CannotCheck;
import grader.workbook.Folders;
import grader.workbook.Lab;
import grader.workbook.Workbook;

/**
 * An autograder for Gradescope: the workbook without its solutions, a teacher's own tests and weights, and the two
 * scripts that Gradescope runs. They have to lie at the root of the zip.
 */
public final class GradescopeZip {
    private static final String PLACE = "/autograder/source/workbook";
    private static final Set<PosixFilePermission> EXECUTABLE = PosixFilePermissions.fromString("rwxr-xr-x");

    private GradescopeZip() {}

    /**
     * Writes the zip.
     *
     * @param options of {@code grade}, for example {@code --steps core}
     * @param tests   the teacher's own, or empty
     * @param weights what steps are worth, or empty
     */
    public static void write(Workbook book, List<Lab> labs, List<String> options, Optional<Path> tests,
                             Optional<Path> weights, Path zip) throws IOException {
        if (Files.exists(zip)) {
            throw new CannotCheck(zip + " is there already: name a file that is not");
        }
        var folder = Files.createTempDirectory("gradescope");
        try {
            StudentsCopy.write(book, labs, new LinkedHashMap<>(Map.of("grade", "Grades the labs of one student")),
                    folder.resolve("workbook"));
            var command = new ArrayList<>(options);
            if (tests.isPresent()) {
                copy(tests.get(), folder.resolve("private-tests"));
                command.addAll(List.of("--tests", "../private-tests"));
            }
            if (weights.isPresent()) {
                Files.copy(weights.get(), folder.resolve("weights.txt"));
                command.addAll(List.of("--weights", "../weights.txt"));
            }
            var numbers = labs.stream().map(Lab::number).toList();
            Files.writeString(folder.resolve("setup.sh"), setUp(numbers));
            Files.writeString(folder.resolve("run_autograder"), run(numbers, command));
            pack(folder, zip);
        } finally {
            Folders.delete(folder);
        }
    }

    /** Runs once, as root, when the image is built. A check of each skeleton fetches all that grading needs. */
    private static String setUp(List<String> labs) {
        return """
                #!/usr/bin/env bash
                # Gradescope runs this once, while it builds the image of the autograder.
                set -euo pipefail
                cd %s
                export DEBIAN_FRONTEND=noninteractive
                apt-get install -y --no-install-recommends curl unzip ca-certificates bubblewrap libpcap0.8
                apt-get install -y --no-install-recommends openjdk-25-jdk-headless || {
                    apt-get install -y --no-install-recommends default-jre-headless
                    ./jbang jdk install 25
                }
                for lab in %s; do
                    ./jbang --quiet grade labs --labs "$lab" --box=auto --out /tmp/reports || [ $? = 1 ]
                done
                rm -rf /tmp/reports
                """.formatted(PLACE, String.join(" ", labs));
    }

    /** Runs for each submission. Status 2, that something could not be graded, must not become a mark. */
    private static String run(List<String> labs, List<String> options) {
        var words = options.isEmpty() ? "" : " " + options.stream()
                .map(word -> Workbook.typed(Path.of(word))).collect(Collectors.joining(" "));
        return """
                #!/usr/bin/env bash
                # Gradescope runs this for each submission, and takes the marks from results.json.
                cd %s
                ./jbang --quiet grade /autograder/submission --labs %s%s --box=auto \\
                    --out /autograder/reports --gradescope /autograder/results/results.json
                status=$?
                [ $status -le 1 ] || exit $status
                """.formatted(PLACE, String.join(",", labs), words);
    }

    private static void copy(Path from, Path to) throws IOException {
        for (var file : Folders.files(from)) {
            var copied = to.resolve(from.relativize(file).toString());
            Files.createDirectories(copied.getParent());
            Files.copy(file, copied);
        }
    }

    private static void pack(Path folder, Path zip) throws IOException {
        var address = URI.create("jar:" + zip.toAbsolutePath().toUri());
        try (var packed = FileSystems.newFileSystem(address,
                Map.of("create", "true", "enablePosixFileAttributes", "true"))) {
            for (var file : Folders.files(folder)) {
                var name = folder.relativize(file).toString().replace('\\', '/');
                var entry = packed.getPath("/" + name);
                Files.createDirectories(entry.getParent());
                Files.copy(file, entry);
                if (Set.of("setup.sh", "run_autograder", "workbook/jbang").contains(name)) {
                    Files.setPosixFilePermissions(entry, EXECUTABLE);
                }
            }
        }
    }
}
