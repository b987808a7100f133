package kit;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;

/**
 * A client of HTTP/1.1 that sends whatever bytes it is told to, reads answers whole and not one byte further, and puts
 * each of them into the history of the test. It is closed when the test ends. For one thread.
 */
public final class HttpPeer implements AutoCloseable {

    private static final int LONGEST_HEAD = 64 * 1024;

    /** An answer: its fields as they came, a line each. */
    public record Answer(int status, List<String> fields, String body) {

        /** The value of the first field of this name, in whatever case. */
        public Optional<String> field(String name) {
            return fields.stream().filter(line -> line.regionMatches(true, 0, name + ":", 0, name.length() + 1))
                    .map(line -> line.substring(name.length() + 1).strip()).findFirst();
        }
    }

    private final Peer peer;

    private HttpPeer(Peer peer) {
        this.peer = peer;
    }

    /** Connects; fails where nobody listens. */
    public static HttpPeer connect(InetSocketAddress address, String name) throws IOException {
        return connect(address, name, 0);
    }

    /** Connects with a receive buffer of a given size in bytes, as the system understands it; 0 leaves it alone. */
    public static HttpPeer connect(InetSocketAddress address, String name, int receiveBuffer) throws IOException {
        return new HttpPeer(Peer.connect(address, name, receiveBuffer));
    }

    /** Plays a script as a {@link Peer} does. */
    public HttpPeer play(String likely, Peer.Move... script) throws IOException {
        peer.play(likely, script);
        return this;
    }

    /** The next final answer (1xx are passed over), with a body of as many bytes as its Content-Length says. */
    public Answer answer(String likely) throws IOException {
        var answer = head(likely);
        while (answer.status() / 100 == 1 && answer.status() != 101) {
            answer = head(likely);
        }
        int length = answer.field("Content-Length").map(Integer::parseInt).orElse(0);
        var body = new String(bytes(length, "a body of " + length + " bytes", likely), StandardCharsets.UTF_8);
        var shown = body.isEmpty() ? "" : " \"" + shortened(body) + "\"";
        History.note(peer.name() + " received " + answer.status() + shown);
        return new Answer(answer.status(), answer.fields(), body);
    }

    /** So many bytes, as they come. @param what names them: "a frame's payload" */
    public byte[] bytes(int count, String what, String likely) throws IOException {
        long start = System.nanoTime();
        try {
            var bytes = peer.input().readNBytes(count);
            if (bytes.length == count) {
                return bytes;
            }
            throw peer.failed("receive " + what, bytes.length + " bytes, then the end", likely, start);
        } catch (SocketTimeoutException | SocketException e) {
            throw peer.failed("receive " + what, Expectation.explain(e), likely, start);
        }
    }

    /** The head of the next answer, interim ones (1xx) included; its body, if it has one, is left to {@link #bytes}. */
    public Answer head(String likely) throws IOException {
        long start = System.nanoTime();
        var head = new ByteArrayOutputStream();
        while (!head.toString(StandardCharsets.ISO_8859_1).endsWith("\r\n\r\n")) {
            try {
                int next = peer.input().read();
                if (next < 0 || head.size() > LONGEST_HEAD) {
                    throw peer.failed("receive an answer", head.size() == 0 ? "the end"
                            : Bytes.shown(head.toByteArray()) + ", then the end", likely, start);
                }
                head.write(next);
            } catch (SocketTimeoutException | SocketException e) {
                throw peer.failed("receive an answer", Expectation.explain(e), likely, start);
            }
        }
        var lines = head.toString(StandardCharsets.ISO_8859_1).split("\r\n");
        if (!lines[0].matches("HTTP/1\\.1 \\d{3} .*")) {
            throw peer.failed("receive an answer", "\"" + shortened(lines[0]) + "\"", likely, start);
        }
        return new Answer(Integer.parseInt(lines[0].substring(9, 12)), List.of(lines).subList(1, lines.length), "");
    }

    private static String shortened(String text) {
        var line = text.strip();
        return line.length() <= 40 ? line : line.substring(0, 40) + "...";
    }

    /** The client's own address. */
    public InetSocketAddress localAddress() {
        return peer.localAddress();
    }

    @Override
    public void close() throws IOException {
        peer.close();
    }
}
