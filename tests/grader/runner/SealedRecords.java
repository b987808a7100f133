package grader.runner;

import module java.base;

/**
 * The records from runner to grader: one a line, a seal, a sequence number, tab-separated fields. The seal is SHA-256
 * over key, line and key: a learner's program shares the runner's JVM, but it does not know the key. (HMAC would load a
 * security provider, which costs 25 ms of every check.)
 */
final class SealedRecords {
    private final byte[] key;
    private final MessageDigest digest;
    private long sequence;

    SealedRecords(byte[] key) {
        this.key = key;
        try {
            digest = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);
        }
    }

    synchronized String seal(List<String> fields) {
        var text = sequence++ + "\t" + fields.stream().map(SealedRecords::escape).collect(Collectors.joining("\t"));
        return mac(text) + "\t" + text;
    }

    /** The fields of a line, or an empty list where the line is not the other side's next one. */
    synchronized List<String> open(String line) {
        int tab = line.indexOf('\t');
        if (tab < 0 || !mac(line.substring(tab + 1)).equals(line.substring(0, tab))) {
            return List.of();
        }
        var parts = line.substring(tab + 1).split("\t", -1);
        if (!parts[0].equals(Long.toString(sequence))) {
            return List.of();
        }
        sequence++;
        return Arrays.stream(parts).skip(1).map(SealedRecords::unescape).toList();
    }

    private String mac(String text) {
        digest.update(key);
        digest.update(text.getBytes(StandardCharsets.UTF_8));
        digest.update(key);
        return HexFormat.of().formatHex(digest.digest(), 0, 16);
    }

    private static String escape(String field) {
        return field.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r");
    }

    private static String unescape(String field) {
        if (field.indexOf('\\') < 0) {
            return field;
        }
        var out = new StringBuilder();
        for (int i = 0; i < field.length(); i++) {
            char c = field.charAt(i);
            out.append(c != '\\' ? c : switch (field.charAt(++i)) {
                case 't' -> '\t';
                case 'n' -> '\n';
                case 'r' -> '\r';
                default -> '\\';
            });
        }
        return out.toString();
    }
}
