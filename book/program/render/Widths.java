package program.render;

import module java.base;

import grader.workbook.ChapterLines;
import org.asciidoctor.ast.Block;
import org.asciidoctor.ast.Document;
import org.asciidoctor.ast.StructuralNode;
import program.read.Edition;
import program.read.Reading;

/** Checks that code is narrow enough to be read. Terminals may be wider: their width is not the author's choice. */
record Widths(Edition edition, Reading reading) {
    private static final int WIDEST = 80;
    private static final String CALLOUTS = "\\s*(//|#|<!--)?(\\s*<[\\d.]+>)+\\s*$";

    void check(Document document) {
        for (StructuralNode listing : document.findBy(Map.of("context", ":listing"))) {
            if (!"console".equals(listing.getAttribute("language"))) {
                ((Block) listing).getLines().stream().filter(line -> width(line) > WIDEST).forEach(this::report);
            }
        }
    }

    private static int width(String line) {
        return line.replaceAll(CALLOUTS, "").length();
    }

    /** In the file that the line stands in. */
    private void report(String line) {
        String text = "code line of %d columns, at most %d: %s".formatted(width(line), WIDEST, line.strip());
        Path chapter = reading.chapter().file();
        for (Path file : reading.files()) {
            List<String> lines = file.equals(chapter) ? List.of() : lines(file);
            int at = ChapterLines.indexOf(lines, 0, source -> source.strip().equals(line.strip()));
            if (at < lines.size()) {
                reading.problem(file, at + 1, text + " (included by " + edition.shown(chapter) + ")");
                return;
            }
        }
        reading.problem(line, text);
    }

    private static List<String> lines(Path file) {
        try {
            return Files.readAllLines(file);
        } catch (IOException e) {
            return List.of();
        }
    }
}
