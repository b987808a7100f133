package grader.compile;

import module java.base;
import module java.compiler;

import grader.workbook.Folders;

/** A source file's name and text, already read: an editor that saves during the compile does no harm. */
public final class SourceText extends SimpleJavaFileObject {
    private final String text;

    public SourceText(String fileName, String text) {
        super(URI.create("text:///" + fileName), Kind.SOURCE);
        this.text = text;
    }

    public static SourceText of(Path file) throws IOException {
        return new SourceText(file.getFileName().toString(), Files.readString(file));
    }

    /** The Java files of a folder, by name. */
    public static List<SourceText> in(Path folder) throws IOException {
        var found = new ArrayList<SourceText>();
        for (var file : Folders.javaFiles(folder)) {
            found.add(of(file));
        }
        return found;
    }

    public String text() {
        return text;
    }

    @Override
    public CharSequence getCharContent(boolean ignoreEncodingErrors) {
        return text;
    }
}
