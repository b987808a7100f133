package program.read;

import module java.base;

import grader.workbook.Curriculum;
import grader.workbook.Curriculum.Entry;

/**
 * The curriculum, and which of its labs have a chapter already.
 *
 * @param chapters the names of all chapters
 */
public record Course(Curriculum curriculum, Set<String> chapters) {
    private static final List<String> LEVELS = List.of("first steps", "solid", "demanding");

    public Map<String, String> themes() {
        return curriculum.themes();
    }

    public List<Entry> labsOf(String theme) {
        return curriculum.labs().stream().filter(lab -> lab.theme().equals(theme)).toList();
    }

    /** The lab that a chapter is about. */
    public Optional<Entry> lab(String chapter) {
        return curriculum.labs().stream().filter(lab -> lab.slug().equals(chapter)).findFirst();
    }

    public Optional<Entry> lab(int number) {
        return curriculum.labs().stream().filter(lab -> lab.number() == number).findFirst();
    }

    public boolean isHere(Entry lab) {
        return chapters.contains(lab.slug());
    }

    public static String level(Entry lab) {
        return LEVELS.get(lab.level() - 1);
    }

    /** Hours as people write them: ½ h, 2¼ h. */
    public static String hours(double hours) {
        int whole = (int) hours;
        String part = switch ((int) Math.round((hours - whole) * 4)) {
            case 1 -> "¼";
            case 2 -> "½";
            case 3 -> "¾";
            default -> "";
        };
        return (whole == 0 ? "" : whole) + part + " h";
    }
}
