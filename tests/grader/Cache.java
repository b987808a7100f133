package grader;

import module java.base;

/**
 * Folders named by the hash of what made them. A folder is filled under another name and moved into place, so a reader sees
 * all of it or nothing, and of two runs that fill the same folder at once the later one throws its copy away.
 */
final class Cache {
    /** Fills a new folder. */
    @FunctionalInterface
    interface Maker {
        void fill(Path dir) throws IOException;
    }

    private static final Duration LEFT_BEHIND = Duration.ofHours(1);

    private final Path root;

    Cache(Path root) {
        this.root = root;
    }

    Path get(String kind, String key, Maker maker) throws IOException {
        var ready = root.resolve(kind + "-" + key);
        if (Files.isDirectory(ready)) {
            return ready;
        }
        var fresh = temporary(kind);
        try {
            maker.fill(fresh);
            Files.move(fresh, ready, StandardCopyOption.ATOMIC_MOVE);
        } catch (FileSystemException e) {
            if (!Files.isDirectory(ready)) {
                throw e;
            }
        } finally {
            Folders.delete(fresh);
        }
        return ready;
    }

    /** A new folder that whoever asked for it deletes. */
    Path temporary(String kind) throws IOException {
        return Files.createTempDirectory(Files.createDirectories(root), "." + kind + "-");
    }

    /** Removes what runs that were ended by force have left behind. */
    void sweep() throws IOException {
        var old = Instant.now().minus(LEFT_BEHIND);
        try (var hidden = Files.newDirectoryStream(root, ".*")) {
            for (var each : hidden) {
                if (Files.getLastModifiedTime(each).toInstant().isBefore(old)) {
                    Folders.delete(each);
                }
            }
        }
    }

    /** Hashes texts, and the contents of files, in order. */
    static String hash(List<?> parts) throws IOException {
        try {
            var digest = MessageDigest.getInstance("SHA-256");
            for (var part : parts) {
                var bytes = part instanceof Path file && Files.isRegularFile(file)
                        ? Files.readAllBytes(file) : part.toString().getBytes(StandardCharsets.UTF_8);
                digest.update((bytes.length + ":").getBytes(StandardCharsets.US_ASCII));
                digest.update(bytes);
            }
            return HexFormat.of().formatHex(digest.digest(), 0, 10);
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);
        }
    }
}
