package grader.grade;

import module java.base;

import grader.check.Submission;
import grader.workbook.Lab;

/**
 * The files of a submission, a folder or a zip. Nothing is unpacked, no link is followed out of the folder, and nothing
 * is read but the labs' files.
 *
 * @param files by their path, with slashes
 * @param notes what is odd about them, for the teacher
 */
record Contents(SequencedMap<String, Reader> files, List<String> notes, Closeable archive) implements Closeable {
    /** Reads one file as that of a lab. */
    interface Reader {
        Submission read(Lab lab) throws IOException;
    }

    /** No student hands in as many: more are a mistake, or a trap. */
    private static final int MOST_FILES = 20_000;
    private static final long LARGEST_ZIP = 64 << 20;
    /** Whose copies of a lab's file are not the student's own. */
    private static final Set<String> IGNORED =
            Set.of("solutions", "tests", "book", "build", "target", "node_modules", "__MACOSX");

    static Contents of(Path path) throws IOException {
        return Files.isDirectory(path) ? ofFolder(path) : ofZip(path);
    }

    private static Contents ofFolder(Path folder) throws IOException {
        var files = new TreeMap<String, Reader>();
        var notes = new ArrayList<String>();
        Files.walkFileTree(folder, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult preVisitDirectory(Path dir, BasicFileAttributes attributes) {
                return dir.equals(folder) || !isIgnored(dir.getFileName().toString())
                        ? FileVisitResult.CONTINUE : FileVisitResult.SKIP_SUBTREE;
            }

            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
                var path = folder.relativize(file).toString().replace(File.separatorChar, '/');
                if (attributes.isSymbolicLink() && Files.isDirectory(file)) {
                    notes.add(path + " is a symbolic link to a folder, and was not followed");
                } else {
                    files.put(path, lab -> Submission.inside(folder, lab, file));
                }
                return files.size() < MOST_FILES ? FileVisitResult.CONTINUE : FileVisitResult.TERMINATE;
            }

            @Override
            public FileVisitResult visitFileFailed(Path file, IOException e) {
                notes.add(folder.relativize(file) + " may not be read");
                return FileVisitResult.CONTINUE;
            }
        });
        return new Contents(files, withLimit(files, notes), () -> {});
    }

    /** @throws IOException also where the archive is damaged, or encrypted, or no zip at all */
    private static Contents ofZip(Path path) throws IOException {
        if (Files.size(path) > LARGEST_ZIP) {
            throw new IOException("the archive is larger than 64 MiB");
        }
        var zip = open(path);
        var files = new TreeMap<String, Reader>();
        var notes = new ArrayList<String>();
        zip.stream().filter(entry -> !entry.isDirectory()).limit(MOST_FILES).forEach(entry -> {
            var name = entry.getName().replace('\\', '/');
            var folders = List.of(name.split("/"));
            if (name.startsWith("/") || folders.contains("..")) {
                notes.add("the archive holds a path that leads out of it: " + name);
            } else if (folders.stream().limit(folders.size() - 1).noneMatch(Contents::isIgnored)) {
                files.put(name, lab -> {
                    try (var in = zip.getInputStream(entry)) {
                        return Submission.read(lab, path.resolveSibling(lab.fileName()), in);
                    } catch (ZipException e) {
                        return Submission.refused(lab, path, "cannot be read from the archive: " + e.getMessage());
                    }
                });
            }
        });
        return new Contents(files, withLimit(files, notes), zip);
    }

    /** Names that are not UTF-8 come from an old Windows. */
    private static ZipFile open(Path path) throws IOException {
        try {
            return new ZipFile(path.toFile());
        } catch (ZipException e) {
            return new ZipFile(path.toFile(), Charset.forName("IBM437"));
        }
    }

    private static boolean isIgnored(String folder) {
        return folder.startsWith(".") || IGNORED.contains(folder);
    }

    private static List<String> withLimit(Map<String, Reader> files, List<String> notes) {
        if (files.size() >= MOST_FILES) {
            notes.add("only the first %,d files were looked at".formatted(MOST_FILES));
        }
        return notes;
    }

    @Override
    public void close() throws IOException {
        archive.close();
    }
}
