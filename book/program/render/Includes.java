package program.render;

import module java.base;

import org.asciidoctor.ast.Document;
import org.asciidoctor.extension.IncludeProcessor;
import org.asciidoctor.extension.PreprocessorReader;
import program.read.Edition;
import program.read.Reading;

/**
 * Sees every include; Asciidoctor does the work. Only in the students' edition it takes those from solutions/: they may
 * only stand where they are left out.
 */
final class Includes extends IncludeProcessor {
    private final Edition edition;
    private final Reading reading;

    Includes(Edition edition, Reading reading) {
        this.edition = edition;
        this.reading = reading;
    }

    @Override
    public boolean handles(String target) {
        reading.include(target);
        return edition.students() && (target.contains("/solutions/") || target.startsWith("solutions/"));
    }

    @Override
    public void process(Document document, PreprocessorReader reader, String target, Map<String, Object> attributes) {
        reading.problem(reader.getLineNumber() - 1, "a solution would show in the students' edition: "
                + "put it into the section -solution, or between ifndef::students[] and endif::[]");
    }
}
