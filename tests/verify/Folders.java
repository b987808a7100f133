package verify;

import module java.base;

final class Folders {
    private Folders() {}

    static void delete(Path folder) throws IOException {
        try (var walk = Files.walk(folder)) {
            for (var each : walk.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(each);
            }
        }
    }
}
