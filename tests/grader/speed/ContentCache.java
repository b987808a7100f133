package grader.speed;

import module java.base;

import grader.workbook.Folders;

/**
 * Folders named by the hash of what made them. A folder is filled under another name and moved into place, so a reader
 * sees all of it or nothing, and of two runs that fill the same folder at once the later one throws its copy away.
 */
public final class ContentCache {
    /** Fills a new folder. */
    @FunctionalInterface
    public interface Maker {
        void fill(Path dir) throws IOException;
    }

    private static final Duration LEFT_BEHIND = Duration.ofHours(1);
    /**
     * Several programs with class paths of their own (grader, verify) use one cache, so the newest folder of a kind is
     * not the only good one.
     */
    private static final Duration OUTDATED = Duration.ofDays(1);

    /** A runner in a box is another user. */
    private static final Set<PosixFilePermission> READABLE = PosixFilePermissions.fromString("rwxr-xr-x");

    private final Path root;

    public ContentCache(Path root) {
        this.root = root;
    }

    public Path get(String kind, String key, Maker maker) throws IOException {
        var ready = folder(kind, key);
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

    public void forget(String kind, String key) throws IOException {
        Folders.delete(folder(kind, key));
    }

    /** Where such a folder is, or would be. */
    public Path folder(String kind, String key) {
        return root.resolve(kind + "-" + key);
    }

    /** A new folder that whoever asked for it deletes. */
    public Path temporary(String kind) throws IOException {
        var folder = Files.createTempDirectory(Files.createDirectories(root), "." + kind + "-");
        if (FileSystems.getDefault().supportedFileAttributeViews().contains("posix")) {
            Files.setPosixFilePermissions(folder, READABLE);
        }
        return folder;
    }

    /**
     * Where a new folder makes the older ones of its kind worthless: deletes those, but for what others may use today.
     */
    public void deleteOutdated(String kind, Path newest) throws IOException {
        deleteOlder(kind + "-*", OUTDATED, each -> !each.equals(newest));
    }

    /** Removes what runs that were ended by force have left behind. */
    public void sweep() throws IOException {
        deleteOlder(".*", LEFT_BEHIND, each -> true);
    }

    private void deleteOlder(String glob, Duration age, Predicate<Path> which) throws IOException {
        var old = Instant.now().minus(age);
        try (var found = Files.newDirectoryStream(root, glob)) {
            for (var each : found) {
                if (which.test(each) && Files.getLastModifiedTime(each).toInstant().isBefore(old)) {
                    Folders.delete(each);
                }
            }
        } catch (NoSuchFileException e) {
            // Another run deletes the same.
        }
    }

    /** Hashes texts, and the contents of files, in order. */
    public static String hash(List<?> parts) throws IOException {
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
