package grader.check;

import module java.base;

import grader.compile.SourceText;
import grader.workbook.CannotCheck;
import grader.workbook.Lab;
import grader.workbook.Workbook;

/**
 * A learner's file as it was when the check began.
 *
 * @param file    where it lies; the compiler is given the lab's own file name, whatever this one is called
 * @param refusal why it is not even compiled, or empty; the text is empty then
 */
public record Submission(Lab lab, Path file, String text, Optional<String> refusal) {
    private static final Pattern TODO = Pattern.compile("TODO step (\\d+): (.*?)(?:\"\\);)?\\s*$");
    private static final int MOST_BYTES = 1 << 20;

    private static final String LINK =
            "is a symbolic link that leads out of its folder, and is not followed: hand in the file itself";

    /**
     * A TODO that is still in the file: its step, the 1-based line of its statement or comment, and what it asks for.
     */
    public record Todo(int step, int line, String text) {}

    public static Submission of(Lab lab, String text) {
        return new Submission(lab, lab.file(), text, Optional.empty());
    }

    /** The learner's own file. */
    public static Submission own(Lab lab) throws IOException {
        if (!Files.isRegularFile(lab.file())) {
            throw new CannotCheck(lab.book().shown(lab.file()) + " is not there. To put the skeleton in its place: "
                    + Workbook.jbang() + " reset " + lab.number());
        }
        return read(lab, lab.file());
    }

    /**
     * A lab's file from somebody else: the file itself, or a folder with the whole {@code labs} layout or loose files.
     */
    public static Submission at(Lab lab, Path path) throws IOException {
        if (path.toString().isBlank()) {
            throw new CannotCheck("the path of the file to check is empty: is a variable of your script not set?");
        }
        if (!Files.isDirectory(path)) {
            var folder = Objects.requireNonNullElse(path.getParent(), Path.of(""));
            return within(folder, lab, path);
        }
        var file = Stream.of(path.resolve("labs", lab.slug()), path.resolve(lab.slug()), path)
                .map(dir -> dir.resolve(lab.fileName())).filter(Files::exists).findFirst()
                .orElseThrow(() -> new CannotCheck("there is no " + lab.fileName() + " in " + path));
        return within(path, lab, file);
    }

    /** A symbolic link in a submission may lead to the solution, or to what is nobody's business. */
    private static Submission within(Path folder, Lab lab, Path file) throws IOException {
        if (!Files.isRegularFile(file)) {
            throw new CannotCheck("there is no file " + file);
        }
        return inside(folder, lab, file);
    }

    /** A file of somebody's folder, whatever it is. */
    public static Submission inside(Path folder, Lab lab, Path file) throws IOException {
        if (!Files.isRegularFile(file)) {   // a pipe would wait for ever
            return refused(lab, file, Files.isSymbolicLink(file) ? LINK : "is no regular file");
        }
        return file.toRealPath().startsWith(folder.toRealPath()) ? read(lab, file)
                : refused(lab, file, LINK);
    }

    private static Submission read(Lab lab, Path file) throws IOException {
        try (var in = Files.newInputStream(file)) {
            return read(lab, file, in);
        } catch (AccessDeniedException e) {
            throw new CannotCheck(lab.book().shown(file) + " may not be read: look at its permissions");
        }
    }

    /** The file's content from a folder or an archive; no more of it is read than a lab's file may hold. */
    public static Submission read(Lab lab, Path file, InputStream in) throws IOException {
        var bytes = in.readNBytes(MOST_BYTES + 1);
        if (bytes.length > MOST_BYTES) {
            return refused(lab, file, "is too large: a lab's file may hold 1 MiB");
        }
        try {
            var text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
            return new Submission(lab, file, text, Optional.empty());
        } catch (CharacterCodingException e) {
            return refused(lab, file, "is not UTF-8 text: save it as UTF-8");
        }
    }

    public static Submission refused(Lab lab, Path file, String why) {
        return new Submission(lab, file, "", Optional.of("the file " + why));
    }

    /** Whether this is the learner's own file, named by a path or not. */
    public boolean isOwn() {
        return file.toAbsolutePath().normalize().equals(lab.file());
    }

    public List<Todo> todos() {
        var found = new ArrayList<Todo>();
        var lines = text.lines().toList();
        for (int i = 0; i < lines.size(); i++) {
            var todo = TODO.matcher(lines.get(i));
            if (todo.find()) {
                boolean thrown = i > 0 && lines.get(i - 1).endsWith("new UnsupportedOperationException(");
                found.add(new Todo(Integer.parseInt(todo.group(1)), thrown ? i : i + 1,
                        todo.group(2).replace("\\\"", "\"")));
            }
        }
        return found;
    }

    public Optional<Todo> todo(int step) {
        return todos().stream().filter(todo -> todo.step() == step).findFirst();
    }

    SourceText compilable() {
        return new SourceText(lab.fileName(), text);
    }
}
