///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//SOURCES ../../../solutions/409-http2-server/Http2Server.java
//SOURCES ../../../tests/kit/*.java
//DESCRIPTION Asks the lab's server each rule of RFC 9113 that can be asked from outside

import static kit.Http2Peer.*;

import module java.base;
import module java.logging;

import kit.Http2Peer;

/**
 * Each rule gets a connection of its own, on which something is sent; then two PINGs tell what the server had to say.
 * An answer is «GOAWAY n» or «RST n» with an error code, «end» for a connection that was closed without GOAWAY,
 * «answered» for a response that came to its end, and «ignored» if PING is answered and nothing else happens. A stream
 * error may be told as a connection error (section 5.4).
 */
public class Rules {

    @FunctionalInterface
    private interface Act {
        void on(Http2Peer client) throws Exception;
    }

    private record Rule(String section, String what, Set<String> right, Act act) {}

    private static final List<Rule> RULES = new ArrayList<>();
    private static final Logger NETTY = Logger.getLogger("io.netty");
    private static final byte[] GET = {(byte) 0x82, (byte) 0x84, (byte) 0x86};
    private static final int ALL = END_HEADERS | END_STREAM;

    public static void main(String[] args) throws Exception {
        NETTY.setLevel(Level.WARNING);
        connectionAndFrames();
        streams();
        frameTypes();
        settingsAndWindows();
        messages();
        var options = Http2Server.Options.defaults().withMaxStreams(5, 8);
        var sections = new TreeMap<Integer, int[]>();
        try (var server = Http2Server.start(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
                Rules::handle, options)) {
            for (var rule : RULES) {
                var seen = ask(server, rule);
                var count = sections.computeIfAbsent(Integer.parseInt(rule.section.split("\\.")[0]), _ -> new int[2]);
                count[0]++;
                if (rule.right.stream().noneMatch(seen::contains)) {
                    count[1]++;
                    IO.println("%-6s %s: %s, not %s".formatted(rule.section, rule.what,
                            String.join(", ", seen), String.join(" or ", rule.right)));
                } else if (List.of(args).contains("--all")) {
                    IO.println("%-6s %s: %s".formatted(rule.section, rule.what, String.join(", ", seen)));
                }
            }
        }
        sections.forEach((section, count) -> IO.println("section %-2d %3d rules asked, %d answered differently"
                .formatted(section, count[0], count[1])));
        System.exit(0);
    }

    /** Reads the body, and answers with its length; {@code /stay} waits for the reset. */
    private static void handle(Http2Server.Exchange exchange) throws Exception {
        if (exchange.request().path().endsWith("stay")) {
            new CountDownLatch(1).await();
        }
        int count = exchange.body().readAllBytes().length;
        exchange.respond(200, List.of());
        exchange.output().write(("" + count).getBytes());
    }

    private static Set<String> ask(Http2Server server, Rule rule) throws Exception {
        var seen = new TreeSet<String>();
        try (var client = Http2Peer.connect(server.localAddress())) {
            rule.act.on(client);
            boolean waits = rule.right.contains("answered");
            for (int pings = 0; pings < (waits ? 0 : 2); pings++) {
                client.send(PING, 0, 0, "question".getBytes());
                collect(client, seen, frame -> frame.is(PING, 0) && frame.flags() == ACK
                        && frame.text().equals("question"));
            }
            if (waits) {
                collect(client, seen, frame -> frame.endsStream() || frame.type() == RST_STREAM);
            }
        }
        return seen.isEmpty() ? Set.of("ignored") : seen;
    }

    private static void collect(Http2Peer client, Set<String> seen, Predicate<Frame> last) throws IOException {
        while (true) {
            var frame = client.next("an answer");
            boolean closing = seen.stream().anyMatch(each -> each.startsWith("GOAWAY"));
            if (frame.isClosed() && !closing) {
                seen.add("end");
            } else if (frame.type() == GOAWAY) {
                seen.add("GOAWAY " + frame.code());
            } else if (frame.type() == RST_STREAM) {
                seen.add("RST " + frame.code());
            } else if (frame.endsStream()) {
                seen.add("answered");
            }
            if (frame.isClosed() || last.test(frame)) {
                return;
            }
        }
    }

    private static void rule(String section, String what, String right, Act act) {
        RULES.add(new Rule(section, what, new LinkedHashSet<>(List.of(right.split(" \\| "))), act));
    }

    /** A connection error, with this code. */
    private static void fatal(String section, String what, int code, Act act) {
        rule(section, what, "GOAWAY " + code + " | end", client -> act.on(client.hello()));
    }

    /** A stream error, which may be told as a connection error. */
    private static void error(String section, String what, int code, Act act) {
        rule(section, what, "RST " + code + " | GOAWAY " + code, client -> act.on(client.hello()));
    }

    private static void fine(String section, String what, Act act) {
        rule(section, what, "ignored", client -> act.on(client.hello()));
    }

    private static void answered(String section, String what, Act act) {
        rule(section, what, "answered", client -> act.on(client.hello()));
    }

    private static void connectionAndFrames() {
        rule("3.4", "a preface that is wrong", "GOAWAY 1 | end",
                client -> client.raw("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".getBytes()));
        rule("3.4", "a request of HTTP/1.1", "GOAWAY 1 | end",
                client -> client.raw("GET / HTTP/1.1\r\nHost: lab.test\r\n\r\n".getBytes()));
        rule("3.4", "a preface without SETTINGS", "GOAWAY 1 | end", client -> client.raw(
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".getBytes()).send(PING, 0, 0, new byte[8]));
        fine("4.1", "a frame of an unknown type", client -> client.send(0xfe, 0, 0, new byte[8]));
        fine("4.1", "an unknown type on an idle stream", client -> client.send(0xfe, 0, 9, new byte[8]));
        fine("4.1", "unknown flags", client -> client.send(PING, 0xfe, 0, new byte[8]));
        answered("4.1", "the reserved bit", client -> client.send(HEADERS, ALL, 0x80000001, GET));
        answered("4.2", "DATA of 16,384 bytes", client -> client.request(1, "POST", "/").data(1, true, 16_384));
        error("4.2", "DATA of 16,385 bytes", 6, client -> client.request(1, "POST", "/").data(1, true, 16_385));
        fatal("4.2", "HEADERS of 16,385 bytes", 6, client -> client.send(HEADERS, ALL, 1, new byte[16_385]));
        fatal("4.3", "an index that is in no table", 9, client -> client.send(HEADERS, ALL, 1, (byte) 0xc6));
        fatal("4.3", "the index 0", 9, client -> client.send(HEADERS, ALL, 1, (byte) 0x80));
        fatal("4.3", "a literal that is cut short", 9, client -> client.send(HEADERS, ALL, 1,
                (byte) 0x82, (byte) 0, (byte) 5, (byte) 'x'));
        fatal("4.3", "an integer without an end", 9, client -> client.send(HEADERS, ALL, 1,
                bytes(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)));
        fatal("4.3", "a table size above the limit", 9, client -> client.send(HEADERS, ALL, 1,
                bytes(0x3f, 0xe2, 0x1f, 0x82, 0x84, 0x86)));
        fatal("4.3", "a table size behind a field", 9, client -> client.send(HEADERS, ALL, 1,
                bytes(0x82, 0x84, 0x86, 0x20)));
        fatal("4.3", "Huffman padding of 8 bits", 9, client -> client.send(HEADERS, ALL, 1,
                bytes(0x82, 0x84, 0x86, 0x00, 0x01, 0x78, 0x82, 0x1f, 0xff)));
        fatal("4.3", "Huffman padding of zeros", 9, client -> client.send(HEADERS, ALL, 1,
                bytes(0x82, 0x84, 0x86, 0x00, 0x01, 0x78, 0x81, 0x18)));
        fatal("4.3", "the end-of-string symbol of Huffman", 9, client -> client.send(HEADERS, ALL, 1,
                bytes(0x82, 0x84, 0x86, 0x00, 0x01, 0x78, 0x84, 0xff, 0xff, 0xff, 0xff)));
        fatal("4.3", "a frame between HEADERS and CONTINUATION", 1, client -> client.send(HEADERS, END_STREAM, 1, GET)
                .send(PING, 0, 0, new byte[8]));
        fatal("4.3", "HEADERS between HEADERS and CONTINUATION", 1, client -> client
                .send(HEADERS, END_STREAM, 1, GET).send(HEADERS, ALL, 3, GET));
        fatal("4.3", "CONTINUATION of another stream", 1, client -> client.send(HEADERS, END_STREAM, 1, GET)
                .send(CONTINUATION, END_HEADERS, 3));
        fatal("5.5", "an unknown type between HEADERS and CONTINUATION", 1, client -> client
                .send(HEADERS, END_STREAM, 1, GET).send(0xfe, 0, 0));
    }

    private static void streams() {
        fatal("5.1", "idle: DATA", 1, client -> client.data(1, true, 5));
        fatal("5.1", "idle: RST_STREAM", 1, client -> client.number(RST_STREAM, 1, 8));
        fatal("5.1", "idle: WINDOW_UPDATE", 1, client -> client.number(WINDOW_UPDATE, 1, 8));
        fatal("5.1", "idle: CONTINUATION", 1, client -> client.send(CONTINUATION, END_HEADERS, 1, GET));
        fine("5.1", "idle: PRIORITY", client -> client.send(PRIORITY, 0, 1, new byte[5]));
        error("5.1", "half-closed: DATA", 5, client -> stay(client, ALL).data(1, true, 5));
        error("5.1", "half-closed: HEADERS", 5, client -> stay(client, ALL).send(HEADERS, ALL, 1, GET));
        fatal("5.1", "half-closed: CONTINUATION", 1, client -> stay(client, ALL).send(CONTINUATION, 4, 1, GET));
        fine("5.1", "half-closed: PRIORITY", client -> stay(client, ALL).send(PRIORITY, 0, 1, new byte[5]));
        fine("5.1", "half-closed: WINDOW_UPDATE", client -> stay(client, ALL).number(WINDOW_UPDATE, 1, 9));
        error("5.1", "reset by the client: DATA", 5, client -> reset(client).data(1, true, 5));
        error("5.1", "reset by the client: HEADERS", 5, client -> reset(client).send(HEADERS, ALL, 1, GET));
        fatal("5.1", "reset by the client: CONTINUATION", 1, client -> reset(client).send(CONTINUATION, 4, 1, GET));
        fine("5.1", "reset by the client: PRIORITY", client -> reset(client).send(PRIORITY, 0, 1, new byte[5]));
        error("5.1", "ended by both: DATA", 5, client -> ended(client).data(1, true, 5));
        fatal("5.1", "ended by both: HEADERS", 5, client -> ended(client).send(HEADERS, ALL, 1, GET));
        fatal("5.1", "ended by both: CONTINUATION", 1, client -> ended(client).send(CONTINUATION, 4, 1, GET));
        fine("5.1", "ended by both: PRIORITY", client -> ended(client).send(PRIORITY, 0, 1, new byte[5]));
        fine("5.1", "ended by both: WINDOW_UPDATE", client -> ended(client).number(WINDOW_UPDATE, 1, 9));
        fine("5.1", "ended by both: RST_STREAM", client -> ended(client).number(RST_STREAM, 1, 8));
        fatal("5.1.1", "an even stream id", 1, client -> client.send(HEADERS, ALL, 2, GET));
        fatal("5.1.1", "a stream id that falls", 1, client -> {
            client.request(5, "GET", "/stay");
            client.send(HEADERS, ALL, 3, GET);
        });
        fatal("5.1.1", "a stream id that falls, in parts", 1, client -> {
            client.request(5, "GET", "/stay");
            for (var part : Http2Peer.bytes(HEADERS, ALL, 3, GET)) {
                client.raw(new byte[] {part});
            }
        });
        answered("5.1.1", "a stream id that leaps", client -> client.send(HEADERS, ALL, 2_000_001, GET));
        answered("5.1.1", "trailers after a higher stream id", client -> client.request(1, "POST", "/")
                .request(2_000_001, "GET", "/stay").headers(1, true, "x-sum", "1"));
        rule("5.1.2", "one stream more than allowed", "RST 7 | RST 1", client -> {
            client.hello();
            for (int id = 1; id < 13; id += 2) {
                client.request(id, "GET", "/stay");
            }
        });
    }

    private static Http2Peer stay(Http2Peer client, int flags) throws IOException {
        return client.send(HEADERS, flags, 1, block(":method", "GET", ":scheme", "http", ":path", "/stay"));
    }

    private static Http2Peer reset(Http2Peer client) throws IOException {
        return stay(client, END_HEADERS).number(RST_STREAM, 1, 8);
    }

    private static Http2Peer ended(Http2Peer client) throws IOException {
        client.send(HEADERS, ALL, 1, GET);
        while (!client.next("the response").endsStream()) {
            // HEADERS
        }
        return client;
    }

    private static void frameTypes() {
        fatal("6.1", "DATA on stream 0", 1, client -> client.data(0, true, 5));
        error("6.1", "DATA with more padding than payload", 1, client -> client.request(1, "POST", "/")
                .send(DATA, PADDED, 1, bytes(9, 1, 2)));
        answered("6.1", "DATA of padding alone", client -> client.request(1, "POST", "/")
                .send(DATA, PADDED | END_STREAM, 1, bytes(2, 0, 0)));
        fatal("6.2", "HEADERS on stream 0", 1, client -> client.send(HEADERS, ALL, 0, GET));
        error("6.2", "HEADERS with more padding than payload", 1, client -> client
                .send(HEADERS, ALL | PADDED, 1, bytes(9, 0x82, 0x84)));
        answered("6.2", "HEADERS with padding and priority", client -> client.send(HEADERS, ALL | PADDED | 0x20, 1,
                bytes(1, 0, 0, 0, 0, 15, 0x82, 0x84, 0x86, 0)));
        fatal("6.3", "PRIORITY on stream 0", 1, client -> client.send(PRIORITY, 0, 0, new byte[5]));
        error("6.3", "PRIORITY of 4 bytes", 6, client -> client.send(PRIORITY, 0, 1, new byte[4]));
        fatal("6.4", "RST_STREAM on stream 0", 1, client -> client.number(RST_STREAM, 0, 8));
        fatal("6.4", "RST_STREAM of 3 bytes", 6, client -> stay(client, ALL).send(RST_STREAM, 0, 1, new byte[3]));
        fatal("6.6", "PUSH_PROMISE of a client", 1, client -> stay(client, END_HEADERS)
                .send(PUSH_PROMISE, END_HEADERS, 1, bytes(0, 0, 0, 2, 0x82, 0x84, 0x86)));
        fatal("6.7", "PING on stream 1", 1, client -> client.send(PING, 0, 1, new byte[8]));
        fatal("6.7", "PING of 7 bytes", 6, client -> client.send(PING, 0, 0, new byte[7]));
        fine("6.7", "an acknowledgement of no PING", client -> client.send(PING, ACK, 0, new byte[8]));
        fatal("6.8", "GOAWAY on stream 1", 1, client -> client.send(GOAWAY, 0, 1, new byte[8]));
        fatal("6.8", "GOAWAY of 7 bytes", 6, client -> client.send(GOAWAY, 0, 0, new byte[7]));
        answered("6.10", "a header block in three frames", client -> client.send(HEADERS, END_STREAM, 1, GET)
                .send(CONTINUATION, 0, 1, block("x-a", "1")).send(CONTINUATION, END_HEADERS, 1, block("x-b", "2")));
        fatal("6.10", "CONTINUATION on stream 0", 1, client -> client.send(HEADERS, END_STREAM, 1, GET)
                .send(CONTINUATION, END_HEADERS, 0));
        fatal("6.10", "CONTINUATION behind END_HEADERS", 1, client -> stay(client, ALL)
                .send(CONTINUATION, END_HEADERS, 1, block("x-a", "1")));
        fatal("6.10", "CONTINUATION behind DATA", 1, client -> stay(client, END_HEADERS).data(1, false, 1)
                .send(CONTINUATION, END_HEADERS, 1, block("x-a", "1")));
    }

    private static void settingsAndWindows() {
        fatal("6.5", "an acknowledgement with a payload", 6, client -> client.send(SETTINGS, ACK, 0, new byte[6]));
        fatal("6.5", "SETTINGS on stream 1", 1, client -> client.send(SETTINGS, 0, 1, new byte[6]));
        fatal("6.5", "SETTINGS of 5 bytes", 6, client -> client.send(SETTINGS, 0, 0, new byte[5]));
        fatal("6.5.2", "ENABLE_PUSH 2", 1, client -> client.settings(2, 2));
        fatal("6.5.2", "INITIAL_WINDOW_SIZE 2^31", 3, client -> client.settings(4, Integer.MIN_VALUE));
        fatal("6.5.2", "MAX_FRAME_SIZE 16,383", 1, client -> client.settings(5, 16_383));
        fatal("6.5.2", "MAX_FRAME_SIZE 2^24", 1, client -> client.settings(5, 1 << 24));
        fine("6.5.2", "an unknown setting", client -> client.settings(0x99, 5));
        fine("6.5.2", "HEADER_TABLE_SIZE 0", client -> client.settings(1, 0));
        fatal("6.9", "WINDOW_UPDATE 0 on stream 0", 1, client -> client.number(WINDOW_UPDATE, 0, 0));
        error("6.9", "WINDOW_UPDATE 0 on a stream", 1, client -> stay(client, ALL).number(WINDOW_UPDATE, 1, 0));
        fatal("6.9", "WINDOW_UPDATE of 3 bytes", 6, client -> client.send(WINDOW_UPDATE, 0, 0, new byte[3]));
        fatal("6.9.1", "a connection window above 2^31 - 1", 3, client -> client
                .number(WINDOW_UPDATE, 0, Integer.MAX_VALUE).number(WINDOW_UPDATE, 0, 1));
        error("6.9.1", "a stream window above 2^31 - 1", 3, client -> stay(client, ALL)
                .number(WINDOW_UPDATE, 1, Integer.MAX_VALUE).number(WINDOW_UPDATE, 1, 1));
        fatal("6.9.2", "SETTINGS that lift a window above 2^31 - 1", 3, client -> stay(client, ALL)
                .number(WINDOW_UPDATE, 1, 100_000).settings(4, Integer.MAX_VALUE));
        error("6.9.1", "more DATA than the windows allow", 3, client -> {
            client.request(1, "POST", "/stay");
            for (int i = 0; i < 5; i++) {
                client.data(1, false, 16_384);
            }
        });
    }

    private static void messages() {
        answered("8.1", "trailers", client -> client.request(1, "POST", "/").data(1, false, 5)
                .headers(1, true, "x-sum", "1"));
        error("8.1", "trailers without END_STREAM", 1, client -> client.request(1, "POST", "/stay")
                .data(1, false, 5).headers(1, false, "x-sum", "1"));
        error("8.1", "a pseudo-header in trailers", 1, client -> client.request(1, "POST", "/stay")
                .data(1, false, 5).headers(1, true, ":path", "/"));
        error("8.1.1", "content-length above the body", 1, client -> client
                .request(1, "POST", "/stay", "content-length", "5").data(1, true, 4));
        error("8.1.1", "content-length below the body", 1, client -> client
                .request(1, "POST", "/stay", "content-length", "5").data(1, true, 6));
        error("8.1.1", "content-length below the body of two frames", 1, client -> client
                .request(1, "POST", "/stay", "content-length", "5").data(1, false, 3).data(1, true, 3));
        error("8.1.1", "content-length without a body", 1, client -> client.headers(1, true, ":method", "POST",
                ":scheme", "http", ":path", "/stay", "content-length", "5"));
        error("8.1.1", "two content-lengths that differ", 1, client -> client
                .request(1, "POST", "/stay", "content-length", "5", "content-length", "6").data(1, true, 5));
        error("8.1.1", "a content-length that is no number", 1, client -> client
                .request(1, "POST", "/stay", "content-length", "five").data(1, true, 5));
        malformed("8.2.1", "an upper-case name", "X-Lab", "1");
        malformed("8.2.1", "a name with a space", "x lab", "1");
        malformed("8.2.1", "a name with a colon inside", "x:lab", "1");
        malformed("8.2.1", "a name beyond ASCII", "x-läb", "1");
        malformed("8.2.1", "an empty name", "", "1");
        malformed("8.2.1", "a value with LF", "x-lab", "1\n2");
        malformed("8.2.1", "a value with CR", "x-lab", "1\r2");
        malformed("8.2.1", "a value with NUL", "x-lab", "1\0002");
        malformed("8.2.1", "a value that begins with a space", "x-lab", " 1");
        malformed("8.2.1", "a value that ends with a tab", "x-lab", "1\t");
        for (var name : List.of("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade")) {
            malformed("8.2.2", "the field " + name, name, "x");
        }
        malformed("8.2.2", "te: gzip", "te", "gzip");
        answered("8.2.2", "te: trailers", client -> client.request(1, "GET", "/", "te", "trailers"));
        malformed("8.3", "an unknown pseudo-header", ":lab", "1");
        malformed("8.3", ":status in a request", ":status", "200");
        fields("8.3", "a pseudo-header behind a field", ":method", "GET", "x-lab", "1", ":scheme", "http",
                ":path", "/stay");
        malformed("8.3", "a second :method", ":method", "GET");
        malformed("8.3", "a second :scheme", ":scheme", "http");
        malformed("8.3", "a second :path", ":path", "/");
        malformed("8.3", "a second :authority", ":authority", "lab.test");
        fields("8.3.1", "no :method", ":scheme", "http", ":path", "/stay");
        fields("8.3.1", "no :scheme", ":method", "GET", ":path", "/stay");
        fields("8.3.1", "no :path", ":method", "GET", ":scheme", "http");
        fields("8.3.1", "an empty :path", ":method", "GET", ":scheme", "http", ":path", "");
        fields("8.3.1", "a :path without a slash", ":method", "GET", ":scheme", "http", ":path", "stay");
        fields("8.3.1", ":authority with a user", ":method", "GET", ":scheme", "http", ":path", "/stay",
                ":authority", "anna@lab.test");
        malformed("8.3.1", "host that differs from :authority", "host", "other.test");
        fields("8.5", "CONNECT with :scheme and :path", ":method", "CONNECT", ":scheme", "http", ":path", "/stay",
                ":authority", "lab.test:443");
    }

    /** A request that is in order but for this field, in front of the others if it is a pseudo-header. */
    private static void malformed(String section, String what, String name, String value) {
        var fields = new ArrayList<>(List.of(":method", "GET", ":scheme", "http", ":path", "/stay",
                ":authority", "lab.test"));
        fields.addAll(List.of(name, value));
        fields(section, what, fields.toArray(String[]::new));
    }

    private static void fields(String section, String what, String... fields) {
        error(section, what, 1, client -> client.headers(1, true, fields));
    }

    private static byte[] bytes(int... values) {
        var bytes = new byte[values.length];
        for (int i = 0; i < values.length; i++) {
            bytes[i] = (byte) values[i];
        }
        return bytes;
    }
}
