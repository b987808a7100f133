package grader.workbook;

import module java.base;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;

/** The twenty labs as one course, read from {@code book/curriculum.json}: titles, steps, themes, times. */
@JsonIgnoreProperties(ignoreUnknown = true)
public record Curriculum(Map<String, String> themes, List<Entry> labs) {
    /** A lab, whether it is here already or still to come. Hours are those of a learner's work. */
    public record Entry(int number, String slug, String title, String type, String theme, int level, double coreHours,
                 double furtherHours, List<Integer> readFirst, List<StepTitle> steps) {}

    public record StepTitle(String title, boolean further) {}

    public static Curriculum read(Workbook book) throws IOException {
        return new ObjectMapper().readValue(book.root().resolve("book", "curriculum.json").toFile(), Curriculum.class);
    }

    public Entry of(Lab lab) {
        return labs.stream().filter(entry -> entry.slug().equals(lab.slug())).findFirst()
                .orElseThrow(() -> new CannotCheck("book/curriculum.json does not know " + lab.slug()));
    }
}
