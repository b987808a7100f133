package grader.grade;

import module java.base;

import grader.workbook.CannotCheck;
import grader.workbook.Lab;
import grader.workbook.Printable;
import grader.workbook.Workbook;

/**
 * Finds submissions: a student is a folder or a zip, and holds lab files, loose or in folders as the workbook has them.
 * A path that is named is a student, or a folder of students.
 */
public final class Submissions {
    private final List<Lab> labs;

    private Submissions(List<Lab> labs) {
        this.labs = labs;
    }

    /** In the order of their names, of which no two are the same on any file system. */
    public static List<HandedIn> find(Workbook book, List<Path> paths) throws IOException {
        var submissions = new Submissions(book.labs());
        var found = new ArrayList<HandedIn>();
        for (var path : paths) {
            found.addAll(submissions.at(path));
        }
        if (found.isEmpty()) {
            throw new CannotCheck("there is no submission in " + paths.getFirst() + ": neither a folder nor a zip");
        }
        return withNamesOfTheirOwn(found);
    }

    /** One student, who may have handed in anything or nothing. */
    public static List<HandedIn> one(Workbook book, List<Path> paths) throws IOException {
        if (paths.size() != 1) {
            throw new CannotCheck("name one submission, not " + paths.size());
        }
        check(paths.getFirst());
        return List.of(new Submissions(book.labs()).student(paths.getFirst()));
    }

    private static void check(Path path) {
        if (!Files.exists(path)) {
            throw new CannotCheck("there is no " + path);
        }
        if (!Files.isDirectory(path) && !isZip(path)) {
            throw new CannotCheck(path + " is neither a folder nor a zip");
        }
    }

    private HandedIn student(Path path) {
        var absolute = path.toAbsolutePath().normalize();
        return HandedIn.read(name(absolute), path, absolute.getFileName().toString(), labs);
    }

    private List<HandedIn> at(Path path) throws IOException {
        check(path);
        if (!Files.isDirectory(path) || isStudent(path)) {
            return List.of(student(path));
        }
        try (var inside = Files.list(path)) {
            return inside.filter(each -> !each.getFileName().toString().startsWith("."))
                    .filter(each -> Files.isDirectory(each) || isZip(each)).sorted()
                    .map(each -> student(path, each)).toList();
        }
    }

    /** Whether lab files lie in the folder itself, or in folders of the labs' names. */
    private boolean isStudent(Path folder) {
        return labs.stream().flatMap(lab -> Stream.of("labs", lab.slug(), lab.fileName()))
                .anyMatch(name -> Files.exists(folder.resolve(name)));
    }

    private HandedIn student(Path folder, Path each) {
        var path = each.getFileName().toString();
        try {
            if (!each.toRealPath().startsWith(folder.toRealPath())) {
                return new HandedIn(name(each), path, List.of(), Map.of(), Optional.of("it is a symbolic link that "
                        + "leads out of " + folder + ": name the folder that it leads to, if it is to be graded"));
            }
        } catch (IOException e) {
            return new HandedIn(name(each), path, List.of(), Map.of(), Optional.of(CannotCheck.sentence(e)));
        }
        return HandedIn.read(name(each), each, path, labs);
    }

    private static boolean isZip(Path path) {
        return path.getFileName().toString().toLowerCase(Locale.ROOT).endsWith(".zip") && Files.isRegularFile(path);
    }

    /** Of a folder, or of a zip without its ending: printable, and good for a folder of the reports. */
    private static String name(Path path) {
        var file = path.getFileName().toString();
        var stem = isZip(path) ? file.substring(0, file.length() - ".zip".length()).strip() : file;
        var name = Normalizer.normalize(Printable.of(stem), Normalizer.Form.NFC).replace('\n', ' ').replace('\t', ' ');
        return name.isBlank() || name.startsWith(".") ? "_" + name : name;
    }

    private static List<HandedIn> withNamesOfTheirOwn(List<HandedIn> found) {
        var taken = new HashSet<String>();
        var named = new ArrayList<HandedIn>();
        for (var each : found) {
            var name = each.name();
            for (int number = 2; !taken.add(name.toLowerCase(Locale.ROOT)); number++) {
                name = each.name() + " (" + number + ")";
            }
            named.add(each.named(name));
        }
        named.sort(Comparator.comparing(HandedIn::name, ClassResult.BY_NAME));
        return named;
    }
}
