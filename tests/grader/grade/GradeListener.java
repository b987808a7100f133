package grader.grade;

/** Hears how grading goes on, from several threads. */
public interface GradeListener {
    /** @param labs how many are to be graded, of all students; those that are known already are not among them */
    void began(int students, int labs);

    void labBegan(String student, String lab);

    void labEnded(String student, ClassResult.LabResult result);
}
