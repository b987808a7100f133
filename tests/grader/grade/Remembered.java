package grader.grade;

import module java.base;

import grader.grade.ClassResult.LabResult;
import grader.workbook.CannotCheck;

/**
 * What was graded already, a file for each content and tests, in the report folder: grading that was interrupted goes
 * on where it was, and a file that two students share is graded once.
 */
record Remembered(Path folder) {
    Optional<LabResult> find(String digest) {
        try {
            return Optional.of(ClassFile.read(file(digest), LabResult.class));
        } catch (IOException | CannotCheck e) {
            return Optional.empty();   // there is none, or one that cannot be read: it is graded again
        }
    }

    void keep(LabResult result) throws IOException {
        ClassFile.write(result, file(result.digest()));
    }

    private Path file(String digest) {
        return folder.resolve(digest + ".json");
    }
}
