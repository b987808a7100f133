package grader.grade;

import module java.base;

import grader.check.Submission;
import grader.workbook.CannotCheck;
import grader.workbook.Lab;
import grader.workbook.Printable;

/**
 * What one student has handed in. It is read before any program of a student's runs, so that none of them changes it.
 *
 * @param name  what the reports show
 * @param path  where it lies, below the folder that was named
 * @param notes what the teacher should know of it
 * @param files by lab; a lab that is not among them is missing
 * @param error why nothing of it could be read, or empty
 */
public record HandedIn(String name, String path, List<String> notes, Map<Lab, LabFile> files,
                       Optional<String> error) {
    /** @param path below the student's folder, or in the zip */
    record LabFile(String path, Submission submission) {}

    private static final int MOST_NAMES = 5;

    /** @param labs all labs of the workbook */
    static HandedIn read(String name, Path place, String path, List<Lab> labs) {
        try (var contents = Contents.of(place)) {
            var files = new LinkedHashMap<Lab, LabFile>();
            var notes = new ArrayList<>(contents.notes());
            for (var lab : labs) {
                var found = candidates(contents, lab);
                if (!found.isEmpty()) {
                    var submission = contents.files().get(found.getFirst()).read(lab);
                    files.put(lab, new LabFile(Printable.of(found.getFirst()), submission));
                }
                if (found.size() > 1) {
                    notes.add("of %s the one that counts is %s; also there: %s".formatted(
                            lab.fileName(), found.getFirst(), some(found.subList(1, found.size()))));
                }
            }
            notes.addAll(notAskedFor(contents, labs));
            return new HandedIn(name, path, notes.stream().map(Printable::of).toList(), files, Optional.empty());
        } catch (IOException | CannotCheck e) {
            var why = "it could not be read: " + (e instanceof FileSystemException || e instanceof CannotCheck
                    ? CannotCheck.sentence(e) : e.getMessage());
            return new HandedIn(name, path, List.of(), Map.of(), Optional.of(Printable.of(why)));
        }
    }

    HandedIn named(String other) {
        return new HandedIn(other, path, notes, files, error);
    }

    /** The files of the lab's name, the best place first: where the workbook has it, then near the top. */
    private static List<String> candidates(Contents contents, Lab lab) {
        var places = List.of("/labs/" + lab.slug() + "/" + lab.fileName(), "/" + lab.slug() + "/" + lab.fileName());
        ToIntFunction<String> rank = path -> places.stream().filter(("/" + path)::endsWith).findFirst()
                .map(places::indexOf).orElse(places.size());
        return contents.files().keySet().stream().filter(path -> ("/" + path).endsWith("/" + lab.fileName()))
                .sorted(Comparator.comparingInt(rank).thenComparing(path -> path.split("/").length)
                        .thenComparing(Comparator.naturalOrder())).toList();
    }

    /** A lab is one file: what lies beside it is not compiled with it. */
    private static List<String> notAskedFor(Contents contents, List<Lab> labs) {
        var names = labs.stream().map(lab -> "/" + lab.fileName()).toList();
        var others = contents.files().keySet().stream()
                .filter(path -> path.endsWith(".java") && names.stream().noneMatch(("/" + path)::endsWith)).toList();
        return others.isEmpty() ? List.of() : List.of("not read, because no lab's file has this name: " + some(others));
    }

    private static String some(List<String> names) {
        var more = names.size() > MOST_NAMES ? " and %,d more".formatted(names.size() - MOST_NAMES) : "";
        return names.stream().limit(MOST_NAMES).collect(Collectors.joining(", ")) + more;
    }
}
