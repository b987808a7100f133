///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION A web server that answers with the request as it has arrived

import module java.base;

/** The body of each answer is the request's head and the size of its body. */
public class Origin {

    public static void main(String[] args) throws IOException {
        var here = InetAddress.getLoopbackAddress();
        var listener = new ServerSocket(Integer.parseInt(args[0]), 50, here);
        IO.println("listening on 127.0.0.1:" + listener.getLocalPort());
        while (true) {
            var client = listener.accept();
            Thread.startVirtualThread(() -> serve(client));
        }
    }

    private static void serve(Socket client) {
        try (client) {
            var in = new BufferedInputStream(client.getInputStream());
            var out = client.getOutputStream();
            for (var head = head(in); !head.isEmpty(); head = head(in)) {
                if (has(head, "Expect: 100-continue")) {
                    out.write("HTTP/1.1 100 Continue\r\n\r\n".getBytes());
                }
                long size = has(head, "Transfer-Encoding: chunked")
                        ? skipChunks(in) : skip(in, length(head));
                var text = String.join("\n", head) + "\n"
                        + (size == 0 ? "" : "%,d bytes\n".formatted(size));
                out.write(("HTTP/1.1 200 OK\r\nContent-Length: "
                        + text.length() + "\r\n\r\n" + text).getBytes());
            }
        } catch (IOException e) {
            // The client has gone.
        }
    }

    private static List<String> head(InputStream in) throws IOException {
        var lines = new ArrayList<String>();
        for (var line = line(in); !line.isEmpty(); line = line(in)) {
            lines.add(line);
        }
        return lines;
    }

    private static String line(InputStream in) throws IOException {
        var line = new StringBuilder();
        for (int next = in.read(); next != '\n' && next != -1;
                next = in.read()) {
            line.append((char) next);
        }
        return line.toString().strip();
    }

    private static boolean has(List<String> head, String field) {
        return head.stream().anyMatch(field::equalsIgnoreCase);
    }

    private static long length(List<String> head) {
        return head.stream().filter(line ->
                line.toLowerCase().startsWith("content-length:"))
                .mapToLong(line -> Long.parseLong(line.substring(15).strip()))
                .findFirst().orElse(0);
    }

    private static long skip(InputStream in, long size) throws IOException {
        var piece = new byte[16 * 1024];
        for (long left = size; left > 0;) {
            int read = in.read(piece, 0, (int) Math.min(left, piece.length));
            if (read == -1) {
                throw new EOFException();
            }
            left -= read;
        }
        return size;
    }

    private static long skipChunks(InputStream in) throws IOException {
        long all = 0;
        long size = Long.parseLong(line(in), 16);
        for (; size > 0; size = Long.parseLong(line(in), 16)) {
            all += skip(in, size);
            line(in);
        }
        line(in);
        return all;
    }
}
