package verify;

import module java.base;

import grader.workbook.Lab;
import grader.workbook.Workbook;

/** What this run looks at: set once, before any test begins. */
public final class Selection {
    private static Workbook book;
    private static List<Lab> labs;
    private static int repeat;

    private Selection() {}

    public static void set(List<String> names, int times) throws IOException {
        book = Workbook.find();
        repeat = times;
        labs = book.labs(names);
    }

    public static Workbook book() {
        return book;
    }

    public static Path root() {
        return book.root();
    }

    public static List<Lab> labs() {
        return labs;
    }

    public static int repeat() {
        return repeat;
    }
}
