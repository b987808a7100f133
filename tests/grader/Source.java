package grader;

import module java.base;

/**
 * A learner's file as it was when the check began.
 *
 * @param file where it lies; the compiler is given the lab's own file name, whatever this one is called
 */
public record Source(Workbook.Lab lab, Path file, String text) {
    private static final Pattern TODO = Pattern.compile("TODO step (\\d+): (.*?)(?:\"\\);)?\\s*$");

    /** A TODO that is still in the file: its step, the 1-based line of its statement or comment, and what it asks for. */
    public record Todo(int step, int line, String text) {}

    public static Source read(Workbook.Lab lab, Path file) throws IOException {
        if (!Files.isRegularFile(file)) {
            throw new Trouble(file.equals(lab.file())
                    ? lab.book().shown(file) + " is not there. To put the skeleton in its place: " + Workbook.jbang() + " reset " + lab.number()
                    : "there is no file " + file);
        }
        try {
            return new Source(lab, file, Files.readString(file));
        } catch (CharacterCodingException e) {
            throw new Trouble(lab.book().shown(file) + " is not UTF-8 text: save it as UTF-8");
        }
    }

    /** A lab's file in somebody's folder: the file itself, the whole {@code labs} layout, or loose files. */
    static Source submitted(Workbook.Lab lab, Path path) throws IOException {
        if (!Files.isDirectory(path)) {
            return read(lab, path);
        }
        return read(lab, Stream.of(path.resolve("labs", lab.slug()), path.resolve(lab.slug()), path)
                .map(dir -> dir.resolve(lab.fileName())).filter(Files::exists).findFirst()
                .orElseThrow(() -> new Trouble("there is no " + lab.fileName() + " in " + path)));
    }

    public List<Todo> todos() {
        var found = new ArrayList<Todo>();
        var lines = text.lines().toList();
        for (int i = 0; i < lines.size(); i++) {
            var todo = TODO.matcher(lines.get(i));
            if (todo.find()) {
                boolean thrown = i > 0 && lines.get(i - 1).endsWith("new UnsupportedOperationException(");
                found.add(new Todo(Integer.parseInt(todo.group(1)), thrown ? i : i + 1, todo.group(2).replace("\\\"", "\"")));
            }
        }
        return found;
    }

    Optional<Todo> todo(int step) {
        return todos().stream().filter(todo -> todo.step() == step).findFirst();
    }

    Javac.Text compilable() {
        return new Javac.Text(lab.fileName(), text);
    }
}
