package verify;

import module java.base;

import grader.workbook.CannotCheck;
import grader.workbook.Lab;
import grader.workbook.Workbook;

/** What this run looks at: set once, before any test begins. */
public final class Selection {
    private static Workbook book;
    private static List<Lab> labs;
    private static String mistake;
    private static int repeat;

    private Selection() {}

    public static void set(List<String> names, String partOfMistake, int times) throws IOException {
        book = Workbook.find();
        mistake = partOfMistake;
        repeat = times;
        labs = book.labs(names);
        if (!mistake.isEmpty() && labs.stream().noneMatch(Selection::hasMistake)) {
            throw new CannotCheck("no mistake's file name holds " + mistake);
        }
    }

    private static boolean hasMistake(Lab lab) {
        var names = lab.tests().resolve("mistakes").toFile().list();
        return names != null && Stream.of(names).anyMatch(name -> name.contains(mistake));
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

    /** What the file name of a mistake must hold; empty for all. */
    public static String mistake() {
        return mistake;
    }

    /** How often the same is checked; 0 if once is enough. */
    public static int repeat() {
        return repeat;
    }
}
