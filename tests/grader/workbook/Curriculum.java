package grader.workbook;

import module java.base;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;

/** The twenty labs as one course, read from {@code book/curriculum.json}: titles, steps, themes, times. */
@JsonIgnoreProperties(ignoreUnknown = true)
public record Curriculum(Map<String, String> themes, List<Entry> labs) {
    /**
     * A lab, whether it is here already or still to come.
     *
     * @param level     1 to 3
     * @param coreHours of a learner's work, as {@code furtherHours}
     * @param readFirst numbers of the chapters that this one builds on
     * @param needs     what it takes beyond the JDK; null where the lab is still to come
     */
    public record Entry(int number, String slug, String title, String type, String theme, int level, double coreHours,
                 double furtherHours, List<Integer> readFirst, String needs, List<StepTitle> steps) {}

    public record StepTitle(String title, boolean further) {}

    public static Curriculum read(Workbook book) throws IOException {
        return new ObjectMapper().readValue(book.root().resolve("book", "curriculum.json").toFile(), Curriculum.class);
    }

    public Entry of(Lab lab) {
        return labs.stream().filter(entry -> entry.slug().equals(lab.slug())).findFirst()
                .orElseThrow(() -> new CannotCheck("book/curriculum.json does not know " + lab.slug()));
    }
}
