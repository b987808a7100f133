///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:mockwebserver3:5.5.1
//SOURCES ../../labs/410-keep-alive/KeepAliveClient.java
//SOURCES ../kit/*.java

import static kit.TestLifecycle.closeLater;

import module java.base;
import module java.logging;

import javax.net.ServerSocketFactory;
import kit.Await;
import kit.Bytes;
import kit.Check;
import kit.DeadEnd;
import kit.FakeClock;
import kit.History;
import kit.Lab;
import kit.Patience;
import kit.PendingCall;
import kit.Step;
import mockwebserver3.Dispatcher;
import mockwebserver3.MockResponse;
import mockwebserver3.MockResponseBody;
import mockwebserver3.MockWebServer;
import mockwebserver3.RecordedRequest;
import mockwebserver3.SocketEffect;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okio.BufferedSink;
import org.junit.jupiter.api.Test;

/**
 * Lab 410, step by step. Step 1 watches OkHttp at OkHttp's own MockWebServer.
 * Steps 2 and 3 read bodies from bytes. From step 4 on a scripted server sends
 * the bytes it is told to, and counts connections and requests. A comment
 * {@code rejects:} names the wrong solutions that a test is there for.
 */
@Lab
class KeepAliveClientTest {

    private static final String HELLO = response("Content-Length: 5", "hello");
    private static final String CHUNKS = "5;x=y\r\nhello\r\n6\r\n world\r\n"
            + "0\r\nExpires: never\r\n\r\n";
    private static final String NEXT = "HTTP/1.1 200 OK\r\n";

    /** One call by OkHttp: what it needs is loaded before the tests begin. */
    public static final class WarmUp implements Runnable {

        @Override
        public void run() {
            Logger.getLogger(MockWebServer.class.getName()).setLevel(Level.OFF);
            try (var server = new MockWebServer()) {
                server.enqueue(new MockResponse.Builder().body("warm").build());
                server.start(LOOPBACK, 0);
                var client = new OkHttpClient();
                client.newCall(new Request.Builder().url("http://127.0.0.1:"
                        + server.getPort()).build()).execute().close();
                client.connectionPool().evictAll();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    @Step(value = 1, title = "Count OkHttp's connections",
            leak = "responses that were leaked are closed only after the counts"
                    + " were taken, in finally, so also when a later call has"
                    + " failed; then evictAll()")
    class Count_OkHttp_s_connections {

        @Test
        void five_calls_that_read_their_bodies_share_one_connection()
                throws IOException {
            reports(5, 1, 5, 1, 1, "/short", KeepAliveClient.BodyUse.READ,
                    "read each body to its end before the next call; use one"
                            + " client for all calls");
        }

        @Test
        void five_calls_that_leak_their_responses_open_five_connections()
                throws IOException {
            // rejects: responses closed before the pool is looked at
            reports(5, 5, 5, 0, 5, "/short", KeepAliveClient.BodyUse.LEAK,
                    "LEAK neither reads nor closes a response before the pool"
                            + " has been looked at");
        }

        @Test
        void closing_early_keeps_the_connection_when_the_rest_has_come()
                throws IOException {
            reports(5, 1, 5, 1, 1, "/short",
                    KeepAliveClient.BodyUse.CLOSE_EARLY,
                    "CLOSE_EARLY reads one byte and closes the response, before"
                            + " the next call");
        }

        @Test
        void closing_early_closes_the_connection_when_the_rest_is_late()
                throws IOException {
            // rejects: CLOSE_EARLY that reads the whole body
            reports(2, 2, 2, 0, 0, "/late",
                    KeepAliveClient.BodyUse.CLOSE_EARLY,
                    "CLOSE_EARLY reads one byte, and not the whole body");
        }

        @Test
        void each_observation_starts_with_an_empty_pool() throws IOException {
            // rejects: one OkHttpClient for all observations
            var server = start();
            for (int i = 0; i < 2; i++) {
                var report = observe(server, "/short", 2,
                        KeepAliveClient.BodyUse.READ);
                Check.equal(new KeepAliveClient.ReuseReport(2, 1, 2, 1, 1),
                        report, "the report", "build a new OkHttpClient in each"
                                + " call of observeOkHttp()");
            }
        }

        @Test
        void a_call_that_fails_throws_and_leaves_nothing_open()
                throws IOException {
            // rejects: a failure that is counted and forgotten; a cleanup
            // after a success only
            for (var use : KeepAliveClient.BodyUse.values()) {
                for (var path : List.of("/fails", "/works-once")) {
                    Check.fails(IOException.class,
                            () -> observe(path, 2, use), "observeOkHttp() at a"
                            + " server that closes without a response",
                            "let the IOException pass");
                }
            }
        }

        @Test
        void a_wrong_argument_is_named() throws IOException {
            observe("/short", 1, KeepAliveClient.BodyUse.READ);
            var uri = URI.create("http://127.0.0.1/");
            Check.named("calls", () -> KeepAliveClient.observeOkHttp(uri, 0,
                    KeepAliveClient.BodyUse.READ));
            Check.named("use", () -> KeepAliveClient.observeOkHttp(uri, 1, null));
            Check.named("options", () -> new KeepAliveClient(null));
            var options = KeepAliveClient.Options.defaults();
            var minus = Duration.ofMillis(-1);
            Check.named("maxConnectionsPerHost",
                    () -> options.withMaxConnectionsPerHost(0));
            Check.named("drainBytes", () -> options.withDrainBytes(-1));
            Check.named("drainTime", () -> options.withDrainTime(minus));
            Check.named("idleTimeout", () -> options.withIdleTimeout(minus));
            Check.named("acquireTimeout", () -> options.withAcquireTimeout(minus));
            Check.named("readTimeout", () -> options.withReadTimeout(minus));
            Check.named("nanoClock", () -> options.withNanoClock(null));
            Check.named("uri", () -> get(URI.create("https://127.0.0.1/")));
            Check.named("uri", () -> get(URI.create("http://127.0.0.1:65536/")));
            Check.named("method", () -> request("GET /", uri));
            Check.named("headers", () -> request("GET", uri, "Content-Length: 1"));
            Check.named("value", () -> headers("X: a\r\nHost: b"));
        }

        private static KeepAliveClient.ReuseReport observe(String path,
                int calls, KeepAliveClient.BodyUse use) throws IOException {
            return observe(start(), path, calls, use);
        }

        private static KeepAliveClient.ReuseReport observe(MockWebServer server,
                String path, int calls, KeepAliveClient.BodyUse use)
                throws IOException {
            History.note("observeOkHttp(\"" + path + "\", " + calls + ", " + use
                    + ")");
            return KeepAliveClient.observeOkHttp(URI.create("http://127.0.0.1:"
                    + server.getPort() + path), calls, use);
        }

        /** Its bodies have 100 bytes. */
        private static MockWebServer start() throws IOException {
            Logger.getLogger(MockWebServer.class.getName()).setLevel(Level.OFF);
            var server = new MockWebServer();
            var over = new CountDownLatch(1);
            var served = new AtomicInteger();
            server.setServerSocketFactory(new NoDelay());
            server.setDispatcher(new Dispatcher() {
                @Override
                public MockResponse dispatch(RecordedRequest request) {
                    var response = new MockResponse.Builder();
                    var path = request.getTarget();
                    int nth = served.incrementAndGet();
                    if (path.equals("/late")) {
                        response.body(new LateBody(over));
                    } else if (path.equals("/fails")
                            || path.equals("/works-once") && nth > 1) {
                        response.onResponseStart(
                                new SocketEffect.CloseSocket());
                    } else {
                        response.body("b".repeat(100));
                    }
                    return response.build();
                }
            });
            closeLater(server).start(LOOPBACK, 0);
            closeLater((AutoCloseable) over::countDown);
            return server;
        }

        private static void reports(int calls, int starts, int acquired,
                int idle, int total, String path, KeepAliveClient.BodyUse use,
                String likely) throws IOException {
            var report = observe(path, calls, use);
            Check.equal(calls, report.calls(), "calls()", "report calls");
            Check.equal(starts, report.connectStarts(), "connectStarts()",
                    likely + "; count in connectStart()");
            Check.equal(acquired, report.acquired(), "acquired()",
                    "count in connectionAcquired(), which is called for a"
                            + " reused connection as well");
            Check.equal(idle, report.idleAfter(), "idleAfter()",
                    likely + "; ask connectionPool().idleConnectionCount()"
                            + " before anything is cleaned up");
            Check.equal(total, report.totalAfter(), "totalAfter()",
                    likely + "; ask connectionPool().connectionCount() before"
                            + " anything is cleaned up");
        }

        /** One byte, and the rest only when the test is over. */
        private record LateBody(CountDownLatch over)
                implements MockResponseBody {

            @Override
            public long getContentLength() {
                return 100;
            }

            @Override
            public void writeTo(BufferedSink sink) throws IOException {
                sink.writeUtf8("b").flush();
                try {
                    over.await();
                } catch (InterruptedException e) {
                    throw new InterruptedIOException();
                }
            }
        }

        /** Nagle's algorithm would add 40 ms to most responses. */
        private static final class NoDelay extends ServerSocketFactory {

            @Override
            public ServerSocket createServerSocket() throws IOException {
                return new ServerSocket() {
                    @Override
                    public Socket accept() throws IOException {
                        var accepted = super.accept();
                        accepted.setTcpNoDelay(true);
                        return accepted;
                    }
                };
            }

            @Override
            public ServerSocket createServerSocket(int port)
                    throws IOException {
                return createServerSocket(port, 0, LOOPBACK);
            }

            @Override
            public ServerSocket createServerSocket(int port, int backlog)
                    throws IOException {
                return createServerSocket(port, backlog, LOOPBACK);
            }

            @Override
            public ServerSocket createServerSocket(int port, int backlog,
                    InetAddress address) throws IOException {
                var listener = createServerSocket();
                listener.bind(new InetSocketAddress(address, port), backlog);
                return listener;
            }
        }
    }

    @Step(value = 2, title = "Determine the message body length")
    class Determine_the_message_body_length {

        @Test
        void a_body_has_as_many_bytes_as_Content_Length_says()
                throws IOException {
            // rejects: a buffer of the body's own; readAllBytes() of raw
            for (var field : List.of("Content-Length: 5",
                    "content-LENGTH: 5")) {
                for (var reading : Reading.values()) {
                    var raw = Raw.of("hello" + NEXT);
                    reads("hello", () -> reading.of(body(raw, field)),
                            "the body with " + field + ", " + reading,
                            "read at most as many bytes as the body has left");
                    Check.equal(NEXT, raw.left(), "what is left in raw, "
                            + reading, "take no byte from raw that belongs to"
                            + " what follows: no buffer of your own");
                }
            }
        }

        @Test
        void only_HEAD_and_1xx_and_204_and_304_have_no_body()
                throws IOException {
            // rejects: Content-Length looked at first; all of 2xx and 3xx
            for (var answer : List.of("HEAD 200", "HEAD 404", "GET 100",
                    "GET 103", "GET 204", "GET 304", "DELETE 204")) {
                for (var field : List.of("Content-Length: 5",
                        "Transfer-Encoding: chunked", "X: y")) {
                    var raw = Raw.only("", "no byte of raw belongs to " + answer
                            + ": decide by method and status first");
                    reads("", () -> text(answered(answer, raw, field)),
                            "the body of " + answer + " with " + field,
                            "decide by method and status first");
                }
            }
            for (int status : List.of(200, 203, 205, 300, 303, 305, 404, 504)) {
                reads("hello", () -> text(answered("GET " + status,
                        Raw.of("hello" + NEXT), "Content-Length: 5")),
                        "the body of a " + status,
                        "only 1xx, 204 and 304 have no body");
            }
        }

        @Test
        void a_body_without_a_length_ends_with_the_connection()
                throws IOException {
            // rejects: a body that ends, but is not over
            for (var reading : Reading.values()) {
                var raw = Raw.of("all that comes");
                var body = body(raw, "Server: old");
                reads("all that comes", () -> reading.of(body),
                        "the body without a length, " + reading,
                        "without Content-Length and Transfer-Encoding the body"
                                + " ends when raw ends");
                int ends = raw.ends;
                Check.equal(-1, body.read(), "a read after the end", "");
                Check.equal(ends, raw.ends, "how often raw was read when it had"
                        + " ended", "set over when raw ends: a body that is"
                        + " over does not read from raw any more");
            }
        }

        @Test
        void equal_lengths_count_once_and_different_ones_are_refused()
                throws IOException {
            // rejects: the first field; the last field; every repetition
            for (var fields : List.of(List.of("Content-Length: 5, 5"),
                    List.of("Content-Length: 5", "content-length: 5"))) {
                reads("hello", () -> text(body(Raw.of("hello" + NEXT),
                        fields.toArray(String[]::new))), "the body with "
                        + fields, "equal values are one value");
            }
            for (var fields : List.of(List.of("Content-Length: 5, 6"),
                    List.of("Content-Length: 5", "Content-Length: 6"),
                    List.of("Content-Length: 6", "Content-Length: 5"))) {
                refused(fields, "different values are no length: look at the"
                        + " elements() of all fields");
            }
        }

        @Test
        void an_invalid_length_is_a_ProtocolException() {
            // rejects: Long.parseLong() alone, which takes signs and digits
            // of other scripts; elements() alone, which drops empty values
            for (var value : List.of("", "-1", "+5", "5x", "0x5", "5 5", "5.0",
                    "9223372036854775808", "99999999999999999999",
                    "\u00b2", "\u00a05")) {
                refused(List.of("Content-Length: " + value),
                        "the value must be ASCII digits, at least one, and at"
                                + " most 2^63-1; an empty value is no absence");
            }
        }

        @Test
        void a_coding_other_than_chunked_ends_with_the_connection()
                throws Exception {
            // rejects: Content-Length looked at before Transfer-Encoding
            for (var coding : List.of("gzip", "chunked, gzip", "identity",
                    "xchunked", "chunked\u00a0", "", ",")) {
                var all = "0\r\n\r\nall that comes";
                var got = orRefused(() -> text(body(Raw.of(all),
                        "Content-Length: 5", "Transfer-Encoding: " + coding)));
                Check.that(got.equals(all) || got.equals(REFUSED), "the whole"
                        + " of raw as the body, or a ProtocolException, with"
                        + " Content-Length: 5 and Transfer-Encoding: " + coding
                        + ", got \"" + shown(got) + "\"", "Transfer-Encoding"
                        + " overrides Content-Length, be it empty: isPresent();"
                        + " if its last coding is not chunked, the body ends"
                        + " with the connection");
            }
        }

        @Test
        void a_body_that_is_too_short_is_an_EOFException() throws IOException {
            // rejects: -1 passed on; readNBytes() without a look at its result
            for (var sent : List.of("", "hell")) {
                for (var reading : Reading.values()) {
                    var body = body(Raw.of(sent), "Content-Length: 5");
                    for (int i = 1; i <= 2; i++) {
                        Check.fails(EOFException.class,
                                () -> reading.of(body),
                                "reading a body of 5 bytes, " + reading
                                        + ", of which " + sent.length()
                                        + " came, time " + i,
                                "raw has returned -1 before the body was over:"
                                        + " that is no end of the body");
                    }
                }
            }
        }

        @Test
        void each_read_returns_what_has_come() throws IOException {
            // rejects: reads that wait until the array is full
            for (var field : List.of("Content-Length: 9", "X: y")) {
                var raw = Raw.only("hello", "one read of the body is at most"
                        + " one read of raw: return what it brought");
                var into = new byte[20];
                int count = body(raw, field).read(into, 3, 17);
                Check.equal("hello", latin1(into).substring(3, 3 + count),
                        "what the first read brought, with " + field,
                        "store at the offset, and return the count");
            }
        }

        @Test
        void a_length_of_more_than_4_GiB_is_kept() throws IOException {
            // rejects: an int that counts; a limit for the number of digits
            for (var length : List.of("4294967301", "9223372036854775807",
                    "00000000000000000004294967301")) {
                var raw = Raw.of("hello, world");
                reads("hello, wor", () -> latin1(body(raw,
                        "Content-Length: " + length).readNBytes(10)),
                        "10 bytes of a body of " + length + " bytes", "count in"
                                + " a long, do not cast the length to int, and"
                                + " accept zeros before it");
            }
        }

        @Test
        void a_request_is_sent_and_its_response_read() throws Exception {
            var server = Server.start(it -> it.send("HTTP/1.1 404 Not Found\r\n"
                    + "X-Shelf: left\r\nContent-Length: 5\r\n\r\nhello"));
            try (var response = client().send(request("GET",
                    server.uri("/books?page=2"), "Accept: text/plain"))) {
                Check.equal("GET /books?page=2 HTTP/1.1\r\nHost: 127.0.0.1:"
                        + server.port() + "\r\nAccept: text/plain\r\n\r\n",
                        server.heads.getFirst(), "what the server received",
                        "leave the given code as it is");
                Check.equal(404, response.status(), "status()", "");
                Check.equal(headers("X-Shelf: left", "Content-Length: 5"),
                        response.headers(), "headers()", "");
                Check.equal("hello", text(response.body()), "the body", "");
            }
        }

        private static InputStream answered(String answer, Raw raw,
                String field) throws IOException {
            var words = answer.split(" ");
            return KeepAliveClient.bodyOf(words[0], Integer.parseInt(words[1]),
                    headers(field), raw);
        }

        private static void refused(List<String> fields, String likely) {
            Check.fails(ProtocolException.class, () -> body(Raw.of("hello!!"),
                    fields.toArray(String[]::new)).readAllBytes(),
                    "bodyOf() with " + fields, likely);
        }
    }

    @Step(value = 3, title = "Decode the chunked coding")
    class Decode_the_chunked_coding {

        @Test
        void the_data_of_all_chunks_is_the_body() throws IOException {
            for (var reading : Reading.values()) {
                for (var coding : List.of("chunked", "CHUNKED", " chunked ,")) {
                    var raw = Raw.of("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
                            + NEXT);
                    reads("hello world", () -> reading.of(body(raw,
                            "transfer-ENCODING: " + coding)),
                            "the body, " + reading, "the body is the data of"
                            + " the chunks, without sizes and line ends");
                    Check.equal(NEXT, raw.left(), "what is left in raw, "
                            + reading, "the body ends with the empty line after"
                            + " the last chunk, and nothing behind it is read");
                }
            }
        }

        @Test
        void extensions_and_trailers_are_read_and_ignored() throws IOException {
            // rejects: the size is the whole line; an end without trailers
            for (var sent : List.of(CHUNKS,
                    "b;a=1;b=\"2\";c\r\nhello world\r\n0;last\r\n\r\n",
                    "B ;x=y\r\nhello world\r\n0\r\nA: b\r\nC: d\r\n\r\n",
                    "0000000000000000000b\t;\r\nhello world\r\n000\r\n\r\n")) {
                var raw = Raw.of(sent + NEXT);
                reads("hello world", () -> text(chunked(raw)), "the body of "
                        + shown(sent), "the size ends at a blank or semicolon,"
                        + " and is in hex, of either case, zeros before it"
                        + " included; after the last chunk come trailers, up to"
                        + " an empty line: readFields()");
                Check.equal(NEXT, raw.left(), "what is left after "
                        + shown(sent), "after the last chunk come trailers, up"
                        + " to an empty line: readFields()");
            }
        }

        @Test
        void a_body_that_comes_in_two_parts_is_decoded() throws IOException {
            // rejects: a line or the data of a chunk expected in one read
            for (int first = 1; first < CHUNKS.length(); first++) {
                var raw = Raw.split(CHUNKS, first);
                reads("hello world", () -> text(chunked(raw)), "the body, of"
                        + " which " + first + " bytes came first",
                        "a read of raw may end anywhere: loop, or readLine()");
            }
            reads("hello world", () -> text(chunked(Raw.singly(CHUNKS))),
                    "the body, of which each read brings one byte", "");
        }

        @Test
        void a_chunk_is_returned_before_the_next_one_has_come()
                throws IOException {
            // rejects: a body that is collected; a look at the next size
            var raw = Raw.only("5\r\nhello\r\n", "a read returns the data that"
                    + " has come, and reads on only if there is none");
            var into = new byte[20];
            int count = chunked(raw).read(into, 3, 17);
            Check.equal("hello", latin1(into).substring(3, 3 + count),
                    "what the first read brought", "");
        }

        @Test
        void a_chunked_body_that_ends_early_is_an_EOFException()
                throws IOException {
            // rejects: an end at the size 0, before the trailers; -1 passed on
            for (int length = 0; length < CHUNKS.length(); length++) {
                var sent = CHUNKS.substring(0, length);
                var body = chunked(Raw.of(sent));
                for (int i = 1; i <= 2; i++) {
                    Check.fails(EOFException.class, () -> text(body),
                            "the body of " + shown(sent) + ", time " + i,
                            "the body is over only after the empty line behind"
                                    + " the last chunk");
                }
            }
        }

        @Test
        void an_invalid_size_is_a_ProtocolException() throws IOException {
            // rejects: Long.parseLong(size, 16), strip() and trim() alone
            for (var size : List.of("", " ", ";x=y", "-1", "+1", " 5", "5 5",
                    "0x5", "5g", "g5", "5\u000b", "5,x", "\u00b2", "h",
                    "5\0")) {
                Check.fails(ProtocolException.class, () -> text(chunked(
                        Raw.of(size + "\r\nhello\r\n0\r\n\r\n"))),
                        "a chunk of the size \"" + shown(size) + "\"",
                        "a size is one or more hex digits, and after blanks"
                                + " only a semicolon may follow");
            }
        }

        @Test
        void a_size_may_have_63_bits_and_no_more() throws IOException {
            // rejects: an int; an overflow that starts again at 0
            for (var size : List.of("7fffffffffffffff", "100000005",
                    "07FFFFFFFFFFFFFFF")) {
                var body = chunked(Raw.of(size + "\r\nhello, world"));
                reads("hello, wor", () -> latin1(body.readNBytes(10)),
                        "10 bytes of a chunk of " + size + " bytes",
                        "parse and count in a long");
            }
            for (var size : List.of("8000000000000000", "ffffffffffffffff",
                    "10000000000000005", "FFFFFFFFFFFFFFFFF")) {
                Check.fails(ProtocolException.class, () -> text(chunked(
                        Raw.of(size + "\r\nhello\r\n0\r\n\r\n"))),
                        "a chunk of " + size + " bytes",
                        "a size of 2^63 or more does not fit into a long");
            }
        }

        @Test
        void a_line_end_other_than_CRLF_is_a_ProtocolException()
                throws IOException {
            // rejects: two bytes skipped without a look; readLine() of Java
            for (var sent : List.of("5\nhello\r\n0\r\n\r\n",
                    "5;x\ny\r\nhello\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n",
                    "5\r\nhello0\r\n\r\n", "5\r\nhello!!0\r\n\r\n",
                    "5\r\nhelloworld\r\n0\r\n\r\n",
                    "5\r\nhello\r\n0\n\n", "5\r\nhello\r\n0\r\n\n\r\n",
                    "5\r\nhello\r\n0\r\nA: b\n\r\n", "5\rhello\r\n0\r\n\r\n",
                    "5\r\nhello\r0\r\n\r\n")) {
                Check.fails(ProtocolException.class,
                        () -> text(chunked(Raw.of(sent))),
                        "the body of " + shown(sent),
                        "each line, and the data of each chunk, ends with CRLF:"
                                + " check both bytes, with readLine()");
            }
        }

        @Test
        void a_line_or_a_trailer_section_without_end_is_refused()
                throws Exception {
            // rejects: lines without a limit, or with a lower one
            for (int length : List.of(4_000, 4_200)) {
                var sent = "b;" + "x".repeat(length - 2)
                        + "\r\nhello world\r\n0\r\n\r\n";
                Check.equal(length == 4_000 ? "hello world" : REFUSED,
                        orRefused(() -> text(chunked(Raw.of(sent)))), "the body"
                        + " after a chunk line of " + length + " bytes",
                        "give readLine() MAX_CHUNK_LINE, 4,096 bytes");
            }
            for (var sent : List.of("5;", "5\r\nhello\r\n0\r\n",
                    "5\r\nhello\r\n0\r\nA: ")) {
                var repeated = sent.endsWith("\n") ? "A: b\r\n" : "x";
                var raw = Raw.endless(sent, repeated);
                Check.fails(ProtocolException.class, () -> text(chunked(raw)),
                        "the body of " + shown(sent) + " and " + shown(repeated)
                                + " for ever", "give readLine() the limit"
                                + " MAX_CHUNK_LINE, and leave trailers to"
                                + " readFields()");
                int most = sent.equals("5;") ? 5_000 : 34_000;
                Check.that(raw.taken() < most, "less than " + most + " bytes to"
                        + " be read, got " + raw.taken(),
                        "a chunk line has at most MAX_CHUNK_LINE bytes");
            }
        }

        @Test
        void chunked_overrides_Content_Length_and_frames_other_codings()
                throws Exception {
            // rejects: Content-Length first; what is left of gzip not decoded
            for (var fields : List.of(
                    List.of("Content-Length: 3", "Transfer-Encoding: chunked"),
                    List.of("Transfer-Encoding: gzip, chunked"),
                    List.of("Transfer-Encoding: gzip",
                            "Transfer-Encoding: chunked"))) {
                var raw = Raw.of(CHUNKS + NEXT);
                var likely = "if the last coding is chunked, the chunks are the"
                        + " body, whatever else the fields say";
                var got = orRefused(() -> text(body(raw,
                        fields.toArray(String[]::new))));
                if (got.equals(REFUSED) && fields.toString().contains("gzip")) {
                    continue;   // right, too
                }
                Check.equal("hello world", got, "the body with " + fields,
                        likely);
                Check.equal(NEXT, raw.left(), "what is left", likely);
            }
        }

        private static InputStream chunked(Raw raw) throws IOException {
            return body(raw, "Transfer-Encoding: chunked");
        }
    }

    @Step(value = 4, title = "Reuse the connection",
            leak = "a connection that is neither kept nor disconnected: each"
                    + " end of a body leads to one of both, once")
    class Reuse_the_connection {

        @Test
        void three_requests_use_one_connection() throws Exception {
            // rejects: connections that are closed, or never come back; a
            // response without a body that must be read or closed; a failure
            // of the request taken for a failure of the connection
            for (var response : List.of(HELLO,
                    response("Content-Length: 5\r\nConnection: keep-alive"
                            + "\r\nKeep-Alive: timeout=5", "hello"),
                    HELLO.replace("200 OK", "404 Not Found"),
                    HELLO.replace("200 OK", "500 Internal Server Error"),
                    response("Transfer-Encoding: chunked", CHUNKS),
                    "HTTP/1.1 204 No Content\r\n\r\n",
                    "HTTP/1.1 304 Not Modified\r\n\r\n",
                    "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                    response("X-Asked: HEAD\r\nContent-Length: 7", ""),
                    response("X-Asked: HEAD", ""))) {
                var method = response.contains("HEAD") ? "HEAD" : "GET";
                var server = Server.start(it -> it.send(response));
                var client = client();
                for (int i = 1; i <= 3; i++) {
                    var got = send(client, request(method, server.uri("/" + i)),
                            "");
                    if (response.endsWith("hello") || response.equals(
                            response("Transfer-Encoding: chunked", CHUNKS))) {
                        text(got);   // the others have no body to read
                    }
                    Check.equal(1L, got.connectionId(), "connectionId() of"
                            + " response " + i + " to " + method + ", "
                            + shown(response),
                            "keep the connection when the body is over; a body"
                                    + " of no bytes is over at once");
                    Check.equal(i > 1, got.reused(), "reused() of response "
                            + i, "");
                }
                Check.equal(new KeepAliveClient.Stats(0, 1, 1, 2, 0, 0),
                        client.stats(), "stats()", "idle connections are idle,"
                        + " and no longer in use");
                Check.equal(1, server.connections.size(),
                        "connections that the server has seen", "");
            }
        }

        @Test
        void the_last_byte_frees_the_connection_without_close()
                throws Exception {
            // rejects: a connection that only close() or -1 releases
            var server = Server.start(it -> it.send(HELLO));
            var client = client();
            var first = send(client, get(server.uri("/1")), "");
            Check.equal("hello", take(first.body(), 5),
                    "5 of 5 bytes", "");
            var second = send(client, get(server.uri("/2")), "");
            Check.equal(1L, second.connectionId(), "connectionId() after the"
                    + " last byte was read, and nothing closed",
                    "look after each read whether the body is over");
            text(second);
        }

        @Test
        void an_unread_response_keeps_its_connection() throws Exception {
            // rejects: a connection that is free when the head has come
            var server = Server.start(it -> it.send(response(
                    "Content-Length: 1", it.target().substring(1))));
            var client = client();
            var first = send(client, get(server.uri("/1")), "");
            var second = send(client, get(server.uri("/2")), "");
            Check.equal(2L, second.connectionId(), "connectionId() of a request"
                    + " while another response is unread",
                    "a connection is kept only when the body is over");
            Check.equal("2", text(second), "the second body", "");
            Check.equal("1", text(first), "the first body", "");
        }

        @Test
        void a_chunked_response_keeps_its_connection_until_the_last_CRLF()
                throws Exception {
            // rejects: over after the last chunk, with its trailers on the way
            var goOn = new CountDownLatch(1);
            var server = Server.start(it -> {
                int end = CHUNKS.length() - 2;
                it.send(response("Transfer-Encoding: chunked",
                        CHUNKS.substring(0, end)));
                if (it.target().equals("/1")) {
                    goOn.await();
                }
                it.send(CHUNKS.substring(end));
            });
            closeLater((AutoCloseable) goOn::countDown);
            var client = client();
            var first = send(client, get(server.uri("/1")), "");
            Check.equal("hello world", take(first.body(), 11),
                    "the data of both chunks", "");
            var likely = "a chunked body is over when the empty line behind the"
                    + " trailers was read, and not before";
            var second = send(client, get(server.uri("/2")), likely);
            Check.equal(2L, second.connectionId(), "connectionId() of a request"
                    + " while the end of a chunked body is on its way", likely);
            Check.equal("hello world", text(second), "the second body",
                    likely);
            goOn.countDown();
            Check.equal("", text(first), "the rest of the first body",
                    likely);
            Check.equal(2, client.stats().idle(), "stats().idle()", likely);
        }

        @Test
        void a_body_that_is_over_stays_over() throws Exception {
            // rejects: an old body that reads from the next response
            var server = Server.start(it -> it.send(HELLO));
            var client = client();
            var first = send(client, get(server.uri("/1")), "");
            text(first);
            var second = send(client, get(server.uri("/2")), "");
            Check.equal(-1, first.body().read(), "a read of the first body,"
                    + " while its connection carries the second", "");
            Check.equal("hello", text(second), "the second body", "");
        }

        @Test
        void a_connection_is_released_once() throws Exception {
            // rejects: released at the end and at close: two users of one
            var server = Server.start(it -> it.send(HELLO));
            var client = client();
            var first = send(client, get(server.uri("/1")), "");
            text(first);
            Check.equal(-1, first.body().read(), "a read after the end", "");
            first.close();
            first.close();
            var likely = "the connection was released more than once, and two"
                    + " requests got it: only the first release counts";
            Check.equal(1, client.stats().idle(), "stats().idle()", likely);
            var second = send(client, get(server.uri("/2")), likely);
            var third = send(client, get(server.uri("/3")), likely);
            Check.that(second.connectionId() != third.connectionId(),
                    "two connections for two requests at once, got connection "
                            + second.connectionId() + " for both", likely);
            text(second);
            text(third);
        }

        @Test
        void a_connection_that_must_not_go_on_is_closed() throws Exception {
            // rejects: a Connection field compared as a whole or by case
            for (var response : List.of(
                    response("Content-Length: 5\r\nConnection: close", "hello"),
                    response("Content-Length: 5\r\nconnection: x, CLOSE ,y",
                            "hello"),
                    response("Content-Length: 5\r\nConnection: keep-alive\r\n"
                            + "Connection: close", "hello"),
                    HELLO.replace("1.1", "1.0"),
                    response("Content-Length: 5\r\nConnection: keep-alive\r\n"
                            + "Connection: close", "hello")
                            .replace("1.1", "1.0"),
                    response("Connection: keep-alive\r\nTransfer-Encoding:"
                            + " chunked", CHUNKS).replace("1.1", "1.0"),
                    response("Content-Length: 5\r\nTransfer-Encoding: chunked",
                            CHUNKS),
                    HELLO + "!", HELLO + HELLO, "HTTP/1.1 204 No Content"
                    + "\r\n\r\n!", response("Transfer-Encoding: chunked",
                            CHUNKS) + "!",
                    "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")) {
                closesAfter(response, "");
            }
            closesAfter(response("Connection: keep-alive", "until the end"),
                    "");
            closesAfter(HELLO, "Connection: close");
            closesAfter(HELLO, "Connection: x, Close");
            closesAfter(HELLO.replace("1.1", "1.0"), "Connection: keep-alive");
        }

        @Test
        void an_HTTP_1_0_connection_with_keep_alive_is_reused()
                throws Exception {
            for (var option : List.of("keep-alive", "x , Keep-Alive")) {
                var server = Server.start(it -> it.send(response("Connection: "
                        + option + "\r\nContent-Length: 5", "hello")
                        .replace("1.1", "1.0")));
                var client = client();
                for (int i = 1; i <= 2; i++) {
                    var got = send(client, get(server.uri("/" + i)), "");
                    text(got);
                    Check.equal(1L, got.connectionId(), "connectionId() after"
                            + " HTTP/1.0 with Connection: " + option,
                            "compare each element of Connection");
                }
            }
        }

        @Test
        void the_most_recently_released_connection_is_used_first()
                throws Exception {
            // rejects: a queue
            var server = Server.start(it -> it.send(HELLO));
            var client = client();
            var responses = new ArrayList<KeepAliveClient.Response>();
            for (int i = 1; i <= 3; i++) {
                responses.add(send(client, get(server.uri("/" + i)), ""));
            }
            for (int index : List.of(1, 2, 0)) {
                text(responses.get(index));
            }
            var used = new ArrayList<Long>();
            for (int i = 4; i <= 6; i++) {
                used.add(send(client, get(server.uri("/" + i)), "")
                        .connectionId());
            }
            Check.equal(List.of(1L, 3L, 2L), used, "the connections of three"
                    + " requests, after 2, 3 and 1 were released in this order",
                    "put released connections where takeIdle() looks first");
        }

        @Test
        void host_and_port_decide_which_connection_is_reused()
                throws Exception {
            // rejects: the host alone; the text of the URI
            var server = Server.start(it -> it.send(HELLO));
            var other = Server.start(it -> it.send(HELLO));
            var client = client();
            var used = new ArrayList<Long>();
            for (var uri : List.of("http://localhost:" + server.port() + "/a",
                    "http://LOCALhost:" + server.port() + "/b?c",
                    "http://localhost:" + other.port() + "/a",
                    "http://127.0.0.1:" + server.port() + "/a",
                    "http://localhost:" + server.port() + "/a")) {
                var got = send(client, get(URI.create(uri)), "");
                text(got);
                used.add(got.connectionId());
            }
            Check.equal(List.of(1L, 1L, 2L, 3L, 1L), used, "the connections of"
                    + " requests to localhost, LOCALhost, localhost with"
                    + " another port, 127.0.0.1 and localhost",
                    "hostKey() is the host in lower case and the port, and"
                            + " nothing else");
        }

        @Test
        void interim_responses_are_skipped() throws Exception {
            // 100 and 103 have no body, and are not the response
            var server = Server.start(it -> it.send("HTTP/1.1 100 Continue\r\n"
                    + "\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n"
                    + "Connection: close\r\n\r\n" + HELLO));
            var client = client();
            for (int i = 1; i <= 2; i++) {
                var got = send(client, get(server.uri("/" + i)), "");
                Check.equal(200, got.status(), "status()", "");
                Check.equal("hello", text(got), "the body", "");
                Check.equal(1L, got.connectionId(), "connectionId()",
                        "the fields of the last head count");
            }
        }

        @Test
        void a_body_that_fails_closes_its_connection() throws Exception {
            // rejects: a broken connection that is kept
            for (var bad : List.of("Content-Length: 9",
                    "Transfer-Encoding: chunked")) {
                var server = Server.start(it -> {
                    it.send(response(bad, "x5\r\n"));
                    if (bad.startsWith("Content")) {
                        it.close();
                    }
                });
                var client = client();
                var got = send(client, get(server.uri("/")), "");
                Check.fails(IOException.class, () -> text(got.body()),
                        "a broken body with " + bad, "");
                Check.fails(IOException.class, () -> got.body().read(),
                        "a read after the failure", "");
                Check.equal(new KeepAliveClient.Stats(0, 0, 1, 0, 0, 0),
                        client.stats(), "stats() after the failure",
                        "release() it as not reusable");
            }
        }

        @Test
        void an_idle_connection_is_evicted_after_idleTimeout()
                throws Exception {
            var clock = new FakeClock();
            var server = Server.start(it -> it.send(HELLO));
            var client = client(options().withNanoClock(clock));
            text(send(client, get(server.uri("/1")), ""));
            clock.advance(Duration.ofMillis(29_999));
            var likely = "set idleSince from options.nanoClock() each time that"
                    + " the connection is kept";
            Check.equal(0, client.evictExpired(), "evictExpired() after 29.999"
                    + " s of 30 s", likely);
            text(send(client, get(server.uri("/2")), ""));
            clock.advance(Duration.ofMillis(29_999));
            Check.equal(0, client.evictExpired(), "evictExpired() 29.999 s"
                    + " after the second request", likely);
            clock.advance(Duration.ofMillis(1));
            Check.equal(1, client.evictExpired(), "evictExpired() after 30 s",
                    likely);
            text(send(client, get(server.uri("/3")), ""));
            clock.advance(Duration.ofMinutes(1));
            var got = send(client, get(server.uri("/4")), "");
            Check.equal(3L, got.connectionId(), "connectionId() of a request"
                    + " after a minute", likely);
            text(got);
            var reused = send(client, get(server.uri("/5")), "");
            clock.advance(Duration.ofMinutes(1));
            text(reused);
            Check.equal(0, client.evictExpired(), "evictExpired() after a"
                    + " minute in use", likely);
        }

        @Test
        void close_ends_idle_and_busy_connections() throws Exception {
            // rejects: connections kept by a closed client
            // rejects: a lock held while a request waits for its response
            var server = Server.start(it -> it.send(switch (it.target()) {
                case "/idle" -> HELLO;
                case "/busy" -> response("Content-Length: 5", "h");
                default -> "";
            }));
            var client = client();
            var busy = send(client, get(server.uri("/busy")), "");
            var silent = PendingCall.start(
                    () -> client.send(get(server.uri("/silent"))));
            Await.until(() -> server.requests().contains("GET /silent"),
                    "that GET /silent reaches the server", "");
            var idle = PendingCall.start(
                    () -> text(client.send(get(server.uri("/idle"))).body()));
            Await.value(idle.outcome(), "that a request is answered while"
                    + " another one, on another connection, waits for its"
                    + " response", "hold no lock while a request is under way");
            Check.equal('h', (char) busy.body().read(), "the first byte", "");
            var reader = PendingCall.start(() -> busy.body().read());
            reader.awaitWaiting();
            client.close();
            client.close();
            closed(() -> reader.outcome().get(Patience.millis(),
                    TimeUnit.MILLISECONDS), "a read that was waiting");
            closed(() -> silent.outcome().get(Patience.millis(),
                    TimeUnit.MILLISECONDS), "a send() that was waiting");
            closed(() -> client.send(get(server.uri("/"))), "send()");
            for (int i = 1; i <= 3; i++) {
                server.awaitEnd(i, "close() closes every open connection");
            }
            Check.equal(0, client.stats().idle(), "stats().idle()",
                    "keepIdle() returns false when the client is closed");
        }

        private static void closed(Check.Code code, String what) {
            try {
                code.run();
            } catch (Exception e) {
                var cause = e instanceof ExecutionException
                        ? e.getCause() : e;
                Check.that(cause instanceof IOException
                        && "closed".equals(cause.getMessage()), "an IOException"
                        + " with the message \"closed\" from " + what + ", got "
                        + cause, "leave the given code as it is");
                return;
            }
            throw History.fail("expected an IOException from " + what
                    + ", but nothing was thrown", "");
        }

        private static void closesAfter(String response, String field)
                throws Exception {
            var server = Server.start(it -> {
                it.send(response);
                if (response.endsWith("end")) {
                    it.close();
                }
            });
            var client = client();
            var first = send(client, field.isEmpty() ? get(server.uri("/1"))
                    : request("GET", server.uri("/1"), field), "");
            text(first);
            var what = shown(response)
                    + (field.isEmpty() ? "" : " to a request with " + field);
            var likely = "mayReuse() lets a connection go on that RFC 9112"
                    + " section 9.3 or 6.1 ends, or bytes behind the body are"
                    + " ignored: connection.in.available()";
            Check.equal(new KeepAliveClient.Stats(0, 0, 1, 0, 0, 0),
                    client.stats(), "stats() after " + what, likely);
            server.awaitEnd(1, likely);
            text(send(client, get(server.uri("/2")), likely));
            Check.equal(2L, client.stats().connects(), "connections after the"
                    + " next request", likely);
        }
    }

    @Step(value = 5, title = "Close a body early", further = true)
    class Close_a_body_early {

        @Test
        void a_short_rest_is_read_and_the_connection_reused() throws Exception {
            // rejects: close() that always disconnects; a drainTime that
            // does not fit into a long of nanoseconds
            for (var response : List.of(
                    response("Content-Length: 11", "hello world"),
                    response("Transfer-Encoding: chunked", CHUNKS))) {
                for (int read : List.of(0, 1, 5, 9)) {
                    var server = Server.start(it -> it.send(response));
                    var client = client(options().withDrainTime(
                            Duration.ofSeconds(Long.MAX_VALUE)));
                    var got = send(client, get(server.uri("/1")), "");
                    take(got.body(), read);
                    got.close();
                    var next = send(client, get(server.uri("/2")), "");
                    Check.equal(1L, next.connectionId(), "connectionId() after "
                            + shown(response) + " was closed with " + read
                            + " bytes read", "drain() reads the rest, until the"
                            + " body is over");
                    Check.equal("hello world", text(next), "the next"
                            + " body", "drain() reads until the body is over,"
                            + " and not further");
                }
            }
        }

        @Test
        void a_rest_that_comes_within_drainTime_is_waited_for()
                throws Exception {
            // rejects: a drain of what has come already; one that holds a lock
            var goOn = new CountDownLatch(1);
            closeLater((AutoCloseable) goOn::countDown);
            var server = Server.start(it -> {
                it.send(response("Content-Length: 5", "h"));
                goOn.await();
                it.send("ello");
            });
            var client = client();
            var got = send(client, get(server.uri("/")), "");
            Check.equal('h', (char) got.body().read(), "the first byte", "");
            var call = PendingCall.start(() -> {
                got.close();
                return true;
            });
            call.awaitWaiting();
            var other = Server.start(it -> it.send(HELLO));
            var meanwhile = PendingCall.start(
                    () -> text(client.send(get(other.uri("/"))).body()));
            Await.value(meanwhile.outcome(), "that a request to another host is"
                    + " answered while close() waits for a rest",
                    "hold no lock while drain() waits");
            Check.that(!call.outcome().isDone(), "close() to wait for the rest"
                    + " of the body, but it has returned", "drain() waits for"
                    + " the rest, for drainTime at most");
            goOn.countDown();
            var likely = "drain() waits for the rest, for drainTime at most";
            Await.value(call.outcome(), "that close() returns", likely);
            Check.equal(2, client.stats().idle(), "stats().idle()", likely);
        }

        @Test
        void the_longest_rest_has_drainBytes_bytes() throws Exception {
            // rejects: a limit that is off by one, or counts what was read;
            // no look at what follows the last byte of the data
            for (int rest : List.of(20_000, 20_001)) {
                var chunks = ("3e8\r\n" + "b".repeat(1_000) + "\r\n")
                        .repeat(20) + (rest == 20_000 ? "" : "1\r\nb\r\n")
                        + "0\r\n\r\n";
                var chunked = Server.start(it -> it.send(response(
                        "Transfer-Encoding: chunked", chunks)));
                var second = client(options().withDrainBytes(20_000)
                        .withDrainTime(Duration.ZERO));
                send(second, get(chunked.uri("/")), "").close();
                Check.equal(rest == 20_000 ? 1 : 0, second.stats().idle(),
                        "stats().idle() after close() with a rest of " + rest
                                + " bytes in chunks and drainBytes 20000",
                        rest == 20_000 ? "drain() goes on until the body is"
                                + " over, which is after the last chunk"
                                : "drain() counts what it reads, and stops"
                                + " after drainBytes");
                var server = Server.start(it -> it.send(response(
                        "Content-Length: 50000", "b".repeat(50_000))));
                var client = client(options().withDrainBytes(20_000)
                        .withDrainTime(Duration.ZERO));
                var got = send(client, get(server.uri("/1")), "");
                take(got.body(), 50_000 - rest);
                got.close();
                Check.equal(rest == 20_000 ? 1 : 0, client.stats().idle(),
                        "stats().idle() after close() with a rest of " + rest
                                + " bytes and drainBytes 20000",
                        "compare the rest of the body with drainBytes");
            }
        }

        @Test
        void a_known_rest_beyond_drainBytes_is_not_waited_for()
                throws Exception {
            // rejects: drainBytes read in vain
            for (var sent : List.of(response("Content-Length: 100000", "b"),
                    response("Transfer-Encoding: chunked", "186a0\r\nb"))) {
                var server = Server.start(it -> it.send(sent));
                var client = client(options().withDrainTime(Duration.ZERO));
                var got = send(client, get(server.uri("/")), "");
                Check.equal('b', (char) got.body().read(), "a byte", "");
                var likely = "if the rest is known to exceed drainBytes, there"
                        + " is no use in reading any of it";
                closeOf(got, likely);
                server.awaitEnd(1, likely);
                Check.equal(0, client.stats().inUse(), "stats().inUse()",
                        likely);
            }
        }

        @Test
        void an_endless_body_is_read_up_to_drainBytes() throws Exception {
            // rejects: readAllBytes() in close()
            var server = Server.start(it -> {
                it.send(response("Transfer-Encoding: chunked", ""));
                while (true) {
                    it.sendSilently("64\r\n" + "b".repeat(100) + "\r\n");
                }
            });
            var client = client(options().withDrainTime(Duration.ZERO));
            var got = send(client, get(server.uri("/")), "");
            var likely = "drain() counts what it reads, and stops after"
                    + " drainBytes";
            closeOf(got, likely);
            server.awaitEnd(1, likely);
            Check.equal(0, client.stats().idle(), "stats().idle()", likely);
        }

        @Test
        void a_rest_that_is_late_is_cut_off_after_drainTime() throws Exception {
            // rejects: drainTime for each read; a drain without a timeout,
            // which is what 0 ms mean to a socket
            for (var drainTime : List.of(Duration.ofMillis(20),
                    Duration.ofMillis(21), Duration.ofNanos(900_000))) {
                boolean drips = drainTime.toMillis() == 20;
                var server = Server.start(it -> {
                    it.send(response("Content-Length: 60000", "b"));
                    while (drips) {
                        it.sendSilently("b");
                        Thread.sleep(5);   // the server is slow
                    }
                });
                var client = client(options().withDrainTime(drainTime)
                        .withNanoClock(new FakeClock()));
                var got = send(client, get(server.uri("/")), "");
                var likely = drips ? "drainTime limits all reads together:"
                        + " compute what is left of it before each read, by"
                        + " System.nanoTime()"
                        : "limit the read by waitAtMost(), which rounds up to"
                                + " milliseconds, or it waits for readTimeout";
                closeOf(got, likely);
                server.awaitEnd(1, likely);
                Check.equal(0, client.stats().inUse(), "stats().inUse()",
                        likely);
            }
        }

        @Test
        void a_close_delimited_body_is_not_read() throws Exception {
            // rejects: a drain that cannot save the connection
            var server = Server.start(it -> it.send(response("X: y", "b")));
            var client = client(options().withDrainTime(Duration.ZERO));
            var got = send(client, get(server.uri("/")), "");
            var likely = "a body that ends with the connection cannot be"
                    + " drained for reuse";
            closeOf(got, likely);
            server.awaitEnd(1, likely);
        }

        @Test
        void a_closed_response_cannot_be_read() throws Exception {
            var server = Server.start(it -> it.send(HELLO));
            var client = client();
            for (int i = 1; i <= 2; i++) {
                var got = send(client, get(server.uri("/" + i)), "");
                try (var body = got.body()) {   // closes the response
                    Check.equal('h', (char) body.read(), "the first byte", "");
                }
                got.close();
                Check.fails(IOException.class, () -> got.body().read(),
                        "a read of a closed response", "");
                Check.equal(1, client.stats().idle(), "stats().idle() after two"
                        + " calls of close()", "read through response.body(),"
                        + " which releases the connection at the end");
            }
        }

        /** Fails when close() takes as long as only a mistake does. */
        private static void closeOf(KeepAliveClient.Response response,
                String likely) throws InterruptedException {
            var call = PendingCall.start(() -> {
                response.close();
                return true;
            });
            Await.value(call.outcome(), "that close() returns", likely);
        }
    }

    @Step(value = 6, title = "Retry after a stale connection", further = true)
    class Retry_after_a_stale_connection {

        @Test
        void a_connection_closed_while_idle_is_not_used() throws Exception {
            // rejects: available() == 0 taken for alive; a write that tries
            var server = Server.start(it -> {
                it.send(HELLO);
                it.close();   // a graceful restart, each time
            });
            var client = client();
            var likely = "a read that does not block returns -1 when the server"
                    + " has closed the connection";
            for (int i = 1; i <= 3; i++) {
                var got = send(client, post(server.uri("/" + i)), likely);
                text(got);
                Check.equal((long) i, got.connectionId(), "connectionId() of"
                        + " POST /" + i, likely);
                server.awaitEnd(i, "");
            }
            Check.equal(List.of("POST /1", "POST /2", "POST /3"),
                    server.requests(), "the requests", "each is sent once");
            Check.equal(0L, client.stats().retries(), "stats().retries()",
                    "nothing was sent twice: to leave a stale connection is no"
                            + " retry");
        }

        @Test
        void a_connection_reset_while_idle_breaks_no_request()
                throws Exception {
            // rejects: a check whose exception ends the request
            var server = Server.start(it -> it.send(HELLO));
            var client = client();
            text(send(client, get(server.uri("/1")), ""));
            server.connections.getFirst().end(End.RST);
            server.connections.getFirst().awaitReset();
            var likely = "after a reset the read throws an IOException: the"
                    + " connection is stale";
            var got = send(client, post(server.uri("/2")), likely);
            Check.equal("hello", text(got), "the body", likely);
            Check.equal(2L, got.connectionId(), "connectionId()", likely);
        }

        @Test
        void a_connection_with_unexpected_bytes_is_not_used() throws Exception {
            // rejects: only -1 taken for stale
            var server = Server.start(it -> it.send(HELLO));
            var client = client();
            text(send(client, get(server.uri("/1")), ""));
            server.connections.getFirst().send("HTTP/1.1 408 Request Timeout"
                    + "\r\nContent-Length: 0\r\n\r\n");
            server.connections.getFirst().end(End.FIN);
            var likely = "bytes that no request has asked for would be taken"
                    + " for the next response: 0 is the only good result";
            var got = send(client, get(server.uri("/2")), likely);
            Check.equal(200, got.status(), "status()", likely);
            Check.equal(2L, got.connectionId(), "connectionId()", likely);
            text(got);
        }

        @Test
        void all_stale_connections_are_passed_over() throws Exception {
            // rejects: a second idle connection that is used unseen
            var server = Server.start(it -> it.send(HELLO));
            var client = client();
            var responses = List.of(send(client, get(server.uri("/1")), ""),
                    send(client, get(server.uri("/2")), ""),
                    send(client, get(server.uri("/3")), ""));
            for (var each : responses) {
                text(each);   // 3 will be the first to be looked at
            }
            server.connections.get(2).end(End.FIN);
            server.connections.get(1).end(End.FIN);
            var likely = "look at each idle connection before you use it";
            var got = send(client, post(server.uri("/4")), likely);
            text(got);
            Check.equal(1L, got.connectionId(), "connectionId() when 2 of 3"
                    + " idle connections are stale", likely);
            Check.equal(1, client.stats().idle(), "stats().idle()", likely);
            Check.equal(0, client.stats().inUse(), "stats().inUse(), which"
                    + " counts open connections that are not idle",
                    "disconnect() those that are stale");
        }

        @Test
        void an_idempotent_request_is_sent_again() throws Exception {
            // rejects: no retry; GET alone; a retry on a reset only
            for (var end : End.values()) {
                for (var method : List.of("GET", "HEAD", "OPTIONS", "PUT",
                        "DELETE", "TRACE")) {
                    var server = endsReused(end);
                    var client = client();
                    text(send(client, get(server.uri("/1")), ""));
                    var got = send(client, new KeepAliveClient.Request(method,
                            server.uri("/2"), List.of(), bytes(
                            method.equals("PUT") ? "book" : "")),
                            method + " is idempotent: retry it on a new"
                                    + " connection");
                    Check.equal(2L, got.connectionId(), "connectionId() of the"
                            + " second " + method, "use a new connection");
                    text(got);
                    Check.equal(List.of("GET /1", method + " /2",
                            method + " /2"), server.requests(), "the requests,"
                            + " with a " + end + " instead of a response", "");
                    Check.equal(1L, client.stats().retries(),
                            "stats().retries()", "count each retry");
                    if (method.equals("PUT")) {
                        Check.equal(List.of("", "book", "book"), server.bodies,
                                "the bodies of the requests", "");
                    }
                }
            }
        }

        @Test
        void a_POST_is_never_sent_again() throws Exception {
            // rejects: «nothing came back, so nothing happened»
            for (var end : End.values()) {
                for (var method : List.of("POST", "PATCH", "LOCK", "get")) {
                    var server = endsReused(end);
                    var client = client();
                    text(send(client, get(server.uri("/1")), ""));
                    var likely = "the server may have acted on the request:"
                            + " retry idempotent methods only";
                    Check.fails(IOException.class, () -> client.send(request(
                            method, server.uri("/2"))), method + ", answered by"
                            + " a " + end, likely);
                    Check.equal(List.of("GET /1", method + " /2"),
                            server.requests(), "the requests", likely);
                    Check.equal(0L, client.stats().retries(),
                            "stats().retries()", likely);
                }
            }
        }

        @Test
        void no_request_is_repeated_once_a_byte_has_come() throws Exception {
            // rejects: a retry whenever the head is incomplete
            for (var sent : List.of("H", "HTTP/1.1 2",
                    "HTTP/1.1 103 Early Hints\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n")) {
                var server = Server.start(it -> {
                    it.send(it.nth == 1 ? HELLO : sent);
                    if (it.nth > 1) {
                        it.close();
                    }
                });
                var client = client();
                text(send(client, get(server.uri("/1")), ""));
                var likely = "the server has begun to respond, so the request"
                        + " has been processed: connection.answered";
                Check.fails(IOException.class, () -> client.send(
                        get(server.uri("/2"))), "a GET that got " + shown(sent)
                        + " and then the end", likely);
                Check.equal(List.of("GET /1", "GET /2"), server.requests(),
                        "the requests", likely);
            }
        }

        @Test
        void a_retry_is_not_retried() throws Exception {
            // rejects: a loop
            var server = Server.start(it -> {
                if (it.target().equals("/1")) {
                    it.send(HELLO);
                } else {
                    it.close();
                }
            });
            var client = client();
            text(send(client, get(server.uri("/1")), ""));
            var likely = "retry once, and not again: RFC 9110 section 9.2.2";
            Check.fails(IOException.class, () -> client.send(
                    get(server.uri("/2"))), "a GET to a server that closes"
                    + " without a response each time", likely);
            Check.equal(List.of("GET /1", "GET /2", "GET /2"),
                    server.requests(), "the requests", likely);
            Check.equal(1L, client.stats().retries(), "stats().retries()",
                    "count a retry that fails, too");
            // rejects: the exception of the first attempt
            var mail = Server.start(it -> {
                if (it.nth == 1) {
                    it.send(it.connection == 1 ? HELLO : "220 ready\r\n");
                } else {
                    it.close();
                }
            });
            var second = client();
            text(send(second, get(mail.uri("/1")), ""));
            Check.fails(ProtocolException.class, () -> second.send(
                    get(mail.uri("/2"))), "a GET whose retry is answered by"
                    + " 220 ready", "the exception of the retry goes to the"
                    + " caller");
        }

        @Test
        void a_new_connection_that_fails_is_no_reason_to_retry()
                throws Exception {
            // rejects: a retry after every failure
            var server = Server.start(it -> {
                if (it.connection == 1) {
                    it.send(HELLO);
                } else {
                    it.close();
                }
            });
            var client = client();
            var first = send(client, get(server.uri("/1")), "");
            var likely = "a server that closes a new connection without a"
                    + " response has not closed it for being idle";
            Check.fails(IOException.class, () -> client.send(
                    get(server.uri("/2"))), "a GET on a new connection, which"
                    + " the server closes without a response", likely);
            Check.equal(List.of("GET /1", "GET /2"), server.requests(),
                    "the requests", likely);
            text(first);
        }

        @Test
        void a_retry_uses_a_new_connection() throws Exception {
            // rejects: the next idle connection, which may be as old
            var server = endsReused(End.FIN);
            var client = client();
            var first = send(client, get(server.uri("/1")), "");
            var second = send(client, get(server.uri("/2")), "");
            text(first);
            text(second);
            var likely = "the other idle connections may be as stale as the"
                    + " first: retry on a new one";
            var got = send(client, get(server.uri("/3")), likely);
            text(got);
            Check.equal(3L, got.connectionId(), "connectionId() of the retry",
                    likely);
            Check.equal(List.of("GET /1", "GET /2", "GET /3", "GET /3"),
                    server.requests(), "the requests", likely);
        }

        @Test
        void a_timeout_is_not_retried() throws Exception {
            // rejects: a retry after every IOException
            var server = Server.start(it -> it.send(
                    it.nth == 1 ? HELLO : ""));
            var client = used(server, options().withReadTimeout(
                    Duration.ofMillis(30)));
            var likely = "a server that is slow has not closed the connection";
            var thrown = Check.fails(SocketTimeoutException.class,
                    () -> client.send(get(server.uri("/2"))),
                    "a GET that gets no response within readTimeout", likely);
            Check.that(thrown.getMessage().contains("127.0.0.1:"
                    + server.port()) && thrown.getMessage().contains("30"),
                    "the host and the time in the message, got "
                            + thrown.getMessage(), "");
            Await.until(() -> server.requests().contains("GET /2"),
                    "that GET /2 reaches the server", likely);
            try (var last = new Socket(LOOPBACK, server.port())) {
                last.getOutputStream().write(
                        "GET /3 HTTP/1.1\r\n\r\n".getBytes());
                Await.until(() -> server.requests().contains("GET /3"),
                        "that GET /3, sent after the timeout, arrives", "");
            }
            Check.equal(1, Collections.frequency(server.requests(), "GET /2"),
                    "how often GET /2 was sent", likely);
        }

        /** A client with an idle connection, though its limit is short. */
        private static KeepAliveClient used(Server server,
                KeepAliveClient.Options options) throws IOException {
            for (int i = 1; ; i++) {
                var client = client(options);
                try {
                    text(client.send(get(server.uri("/1"))).body());
                    return client;
                } catch (SocketTimeoutException e) {   // a machine under load
                    Check.that(i < 50, "a response within "
                            + options.readTimeout() + ", got none 50 times",
                            "");
                }
            }
        }

        /** Responds to the first request of each connection only. */
        private static Server endsReused(End end) throws IOException {
            return Server.start(it -> {
                if (it.nth == 1) {
                    it.send(HELLO.substring(0, it.head.startsWith("HEAD")
                            ? HELLO.length() - 5 : HELLO.length()));
                } else {
                    it.end(end);
                }
            });
        }
    }

    @Step(value = 7, title = "Limit connections per host", further = true)
    class Limit_connections_per_host {

        @Test
        void a_request_waits_until_a_connection_is_released() throws Exception {
            for (var limit : List.of(Patience.duration(), Duration.ZERO,
                    Duration.ofSeconds(Long.MAX_VALUE))) {
                waitsInTurn(limit);
            }
        }

        private static void waitsInTurn(Duration acquireTimeout)
                throws Exception {
            // rejects: an exception at once; zero taken for no time at all
            var server = Server.start(it -> it.send(HELLO));
            var client = client(options().withMaxConnectionsPerHost(1)
                    .withAcquireTimeout(acquireTimeout));
            var first = send(client, get(server.uri("/0")), "");
            var calls = new ArrayList<PendingCall<String>>();
            for (int i = 1; i <= 3; i++) {
                int number = i;
                calls.add(PendingCall.start(() -> text(client.send(
                        get(server.uri("/" + number))).body())));
                calls.getLast().awaitWaiting();
                Check.that(!calls.getLast().outcome().isDone(), "request " + i
                        + " to wait while the only connection is in use, with"
                        + " acquireTimeout " + acquireTimeout + ", but send()"
                        + " has ended", "acquirePermit() waits for a permit,"
                        + " for nanos(acquireTimeout) at most, and a response"
                        + " keeps its permit until it is over");
            }
            Check.equal(List.of("GET /0"), server.requests(), "the requests"
                    + " while the only connection is in use",
                    "acquirePermit() before attempt()");
            text(first);
            for (var call : calls) {
                Check.equal("hello", Await.value(call.outcome(), "that each"
                        + " waiting request is sent", "release a permit when a"
                        + " connection is released"), "the body", "");
            }
            Check.equal(List.of("GET /0", "GET /1", "GET /2", "GET /3"),
                    server.requests(), "the requests in their order",
                    "host.permits is fair, unless you call tryAcquire() without"
                            + " a time");
        }

        @Test
        void a_new_request_does_not_overtake_a_waiting_one() throws Exception {
            // rejects: tryAcquire() without a time, which is not fair; 20
            // rounds, because it overtakes only if it is fast enough
            var server = Server.start(it -> it.send(HELLO));
            var client = client(options().withMaxConnectionsPerHost(1));
            var waiting = KeepAliveClient.Request.get(server.uri("/waiting"));
            var late = KeepAliveClient.Request.get(server.uri("/new"));
            var held = client.send(late);
            for (int i = 1; i <= 20; i++) {
                var call = PendingCall.start(
                        () -> text(client.send(waiting).body()));
                call.awaitWaiting();
                take(held.body(), 5);   // its permit is free now
                held = client.send(late);
                var likely = "the new request took the permit that the waiting"
                        + " one should have: host.permits is fair, unless you"
                        + " call tryAcquire() without a time";
                Await.value(call.outcome(), "that the waiting request is sent",
                        likely);
                Check.equal(List.of("GET /waiting", "GET /new"),
                        server.requests().subList(2 * i - 1, 2 * i + 1),
                        "the requests of round " + i, likely);
            }
        }

        @Test
        void never_more_connections_than_allowed_are_open() throws Exception {
            // rejects: a limit for idle connections
            var server = Server.start(it -> it.send(HELLO));
            var client = client(options().withMaxConnectionsPerHost(4));
            var calls = new ArrayList<PendingCall<Integer>>();
            for (int i = 0; i < 8; i++) {
                calls.add(PendingCall.start(() -> {
                    int length = 0;
                    for (int j = 0; j < 10; j++) {
                        try (var got = client.send(get(server.uri("/")))) {
                            length += text(got).length();
                        }
                    }
                    return length;
                }));
            }
            for (var call : calls) {
                Check.equal(50, Await.value(call.outcome(), "that 10 requests"
                        + " of each of 8 threads are answered", "a permit was"
                        + " not released"), "bytes read by a thread", "");
            }
            Check.that(server.connections.size() <= 4, "at most 4 connections,"
                    + " got " + server.connections.size(),
                    "acquirePermit() before a connection is taken or opened");
            Check.equal(0, client.stats().inUse(), "stats().inUse()", "");

            // rejects: a permit released before the connection is idle. The
            // clock is asked while the connection is being kept
            var keeping = new AtomicBoolean();
            var seen = new CompletableFuture<String>();
            var asked = new AtomicReference<KeepAliveClient>();
            asked.set(client(options().withMaxConnectionsPerHost(1)
                    .withAcquireTimeout(Duration.ofMillis(1))
                    .withNanoClock(() -> {
                if (keeping.compareAndSet(true, false)) {
                    seen.complete(thrownBy(() -> asked.get().send(
                            get(server.uri("/")))).toString());
                }
                return System.nanoTime();
            })));
            var last = send(asked.get(), get(server.uri("/")), "");
            keeping.set(true);
            text(last);
            var got = Await.value(seen, "that nanoClock is asked when the"
                    + " connection is kept", "");
            Check.that(got.contains("no connection to"), "no permit to be free"
                    + " before the connection is kept, but a request at that"
                    + " moment ended with " + got,
                    "releasePermit() after keepIdle(): otherwise a request that"
                    + " waits finds no idle connection, and opens one more");
        }

        @Test
        void the_wait_ends_after_acquireTimeout() throws Exception {
            // rejects: tryAcquire() without a time; milliseconds for nanos
            var server = Server.start(it -> it.send(HELLO));
            var client = client(options().withMaxConnectionsPerHost(2)
                    .withAcquireTimeout(Duration.ofMillis(20)));
            var leaked = List.of(send(client, get(server.uri("/1")), ""),
                    send(client, get(server.uri("/2")), ""));
            for (int i = 1; i <= 2; i++) {
                long start = System.nanoTime();
                var likely = "throw noPermit() when nanos(acquireTimeout) are"
                        + " over; a call that got no permit has none to"
                        + " release";
                var call = PendingCall.start(() -> thrownBy(
                        () -> client.send(get(server.uri("/3")))));
                var thrown = Await.value(call.outcome(),
                        "that the wait for a permit ends after 20 ms", likely);
                Check.that(thrown instanceof SocketTimeoutException,
                        "a SocketTimeoutException from send() with 2 of 2"
                                + " connections in use, got " + thrown, likely);
                Check.that(System.nanoTime() - start >= 20_000_000,
                        "a wait of at least 20 ms, got less",
                        "wait for nanos(acquireTimeout)");
                for (var part : List.of("127.0.0.1:" + server.port(), "20 ms",
                        "2 in use")) {
                    Check.that(thrown.getMessage().contains(part), "\"" + part
                            + "\" in the message, got " + thrown.getMessage(),
                            "throw noPermit()");
                }
            }
            text(leaked.getFirst());
            text(send(client, get(server.uri("/4")),
                    "the permit of a released connection is free"));
        }

        @Test
        void each_host_has_its_own_limit() throws Exception {
            // rejects: one semaphore for all
            var server = Server.start(it -> it.send(HELLO));
            var other = Server.start(it -> it.send(HELLO));
            var client = client(options().withMaxConnectionsPerHost(1));
            var first = send(client, get(server.uri("/")), "");
            text(send(client, get(other.uri("/")), "each Host has permits of"
                    + " its own"));
            text(first);
        }

        @Test
        void a_request_that_fails_gives_its_permit_back() throws Exception {
            // rejects: a release in the success path alone
            var server = Server.start(it -> {
                if (it.target().equals("/good")) {
                    it.send(HELLO);
                } else {
                    it.send(it.target().equals("/bad") ? "220 ready\r\n" : "");
                    it.close();
                }
            });
            var client = client(options().withMaxConnectionsPerHost(1));
            text(send(client, get(server.uri("/good")), ""));
            var likely = "release the permit whatever attempt() throws";
            for (var path : List.of("/bad", "/nothing")) {
                for (int i = 1; i <= 2; i++) {
                    failsQuickly(client, post(server.uri(path)), likely);
                }
            }
            text(send(client, get(server.uri("/good")), likely));
            var nobody = URI.create("http://127.0.0.1:"
                    + DeadEnd.refusing().address().getPort() + "/");
            for (int i = 1; i <= 2; i++) {
                failsQuickly(client, get(nobody), likely);
            }
            Check.equal(0, client.stats().inUse(), "stats().inUse()", "");
        }

        @Test
        void every_end_of_a_response_releases_one_permit() throws Exception {
            // rejects: a release at the end of the body alone, or for each end
            var server = Server.start(it -> {
                switch (it.target()) {
                    case "/none" -> it.send("HTTP/1.1 204 No Content\r\n\r\n");
                    case "/cut" -> {
                        it.send(response("Content-Length: 9", "hello"));
                        it.close();
                    }
                    case "/long" -> it.send(response(
                            "Content-Length: 99999", "hello"));
                    default -> it.send(HELLO);
                }
            });
            var client = client(options().withMaxConnectionsPerHost(1)
                    .withAcquireTimeout(Duration.ofMillis(20)));
            for (var path : List.of("/none", "/read", "/closed", "/cut",
                    "/long", "/both")) {
                var got = unlocked(client, get(server.uri(path)), "after the"
                        + " response before " + path);
                switch (path) {
                    case "/none" -> { }
                    case "/cut" -> Check.fails(EOFException.class,
                            () -> text(got.body()), "a body cut off", "");
                    case "/read" -> text(got);
                    case "/both" -> {
                        text(got);
                        got.close();
                        got.close();
                    }
                    default -> {
                        got.close();
                        got.close();
                    }
                }
            }
            var last = unlocked(client, get(server.uri("/last")), "at last");
            var likely = "a response released more than one permit: only the"
                    + " first release() of a response counts";
            Check.fails(SocketTimeoutException.class, () -> client.send(
                    get(server.uri("/more"))), "a request beside one in use",
                    likely);
            text(last);
        }

        @Test
        void a_retry_keeps_its_permit() throws Exception {
            // rejects: a second acquire for the retry
            var server = Server.start(it -> {
                if (it.nth == 1) {
                    it.send(HELLO);
                } else {
                    it.close();
                }
            });
            var client = client(options().withMaxConnectionsPerHost(1));
            for (int i = 1; i <= 3; i++) {
                text(send(client, get(server.uri("/" + i)), "a retry needs no"
                        + " permit of its own, and releases none"));
            }
            Check.equal(2L, client.stats().retries(), "stats().retries()", "");
        }

        @Test
        void an_interrupt_ends_the_wait() throws Exception {
            // rejects: an interrupt that is swallowed, or costs a permit
            var server = Server.start(it -> it.send(HELLO));
            var client = client(options().withMaxConnectionsPerHost(1));
            var first = send(client, get(server.uri("/1")), "");
            var likely = "turn the InterruptedException into an"
                    + " InterruptedIOException, and interrupt the thread again";
            var call = PendingCall.start(() -> {
                var thrown = thrownBy(() -> client.send(get(server.uri("/2"))));
                return thrown + ", interrupted: " + Thread.interrupted();
            });
            call.awaitWaiting();
            call.thread().interrupt();
            var told = Await.value(call.outcome(), "that an interrupt ends the"
                    + " wait", likely);
            Check.that(told.startsWith(InterruptedIOException.class.getName())
                    && told.endsWith("interrupted: true"), "an"
                    + " InterruptedIOException, and the thread to be"
                    + " interrupted still, got " + told, likely);
            text(first);
            text(send(client, get(server.uri("/3")), "a wait that has ended"
                    + " holds no permit"));
            Check.equal(List.of("GET /1", "GET /3"), server.requests(),
                    "the requests", likely);
        }

        @Test
        void close_wakes_requests_that_wait_for_a_permit() throws Exception {
            var server = Server.start(it -> it.send(HELLO));
            var client = client(options().withMaxConnectionsPerHost(1));
            send(client, get(server.uri("/1")), "");
            var call = PendingCall.start(() -> thrownBy(
                    () -> client.send(get(server.uri("/2")))));
            call.awaitWaiting();
            client.close();
            var likely = "wait for host.permits, which close() fills";
            var thrown = Await.value(call.outcome(), "that close() wakes a"
                    + " request that waits", likely);
            Check.that(thrown instanceof IOException
                    && "closed".equals(thrown.getMessage()), "an IOException"
                    + " with the message \"closed\", got " + thrown, likely);
        }

        private static void failsQuickly(KeepAliveClient client,
                KeepAliveClient.Request request, String likely) {
            var thrown = Check.fails(IOException.class,
                    () -> client.send(request), "a request that cannot succeed",
                    likely);
            Check.that(!(thrown instanceof SocketTimeoutException),
                    "the failure of the connection, got " + thrown, likely);
        }

        private static KeepAliveClient.Response unlocked(KeepAliveClient client,
                KeepAliveClient.Request request, String when)
                throws IOException {
            try {
                return client.send(request);
            } catch (SocketTimeoutException e) {
                throw History.fail("expected a free permit " + when + ", got "
                        + e, "each way in which a response ends releases its"
                        + " permit: release() calls releasePermit()");
            }
        }
    }

    // Clients.

    /** Limits that only a mistake reaches. */
    private static KeepAliveClient.Options options() {
        return KeepAliveClient.Options.defaults()
                .withDrainTime(Patience.duration())
                .withAcquireTimeout(Patience.duration())
                .withReadTimeout(Patience.duration());
    }

    private static KeepAliveClient client() {
        return client(options());
    }

    private static KeepAliveClient client(KeepAliveClient.Options options) {
        return closeLater(new KeepAliveClient(options),
                client -> client.stats().toString());
    }

    private static KeepAliveClient.Request get(URI uri) {
        return KeepAliveClient.Request.get(uri);
    }

    private static KeepAliveClient.Request post(URI uri) {
        return KeepAliveClient.Request.post(uri, bytes("order"));
    }

    private static KeepAliveClient.Request request(String method, URI uri,
            String... fields) {
        return new KeepAliveClient.Request(method, uri, headers(fields),
                new byte[0]);
    }

    /** What the code throws. */
    private static Exception thrownBy(Check.Code code) {
        try {
            code.run();
        } catch (UnsupportedOperationException todo) {
            throw todo;
        } catch (Exception e) {
            return e;
        }
        return new Exception("nothing was thrown");
    }

    /** The response, which must come. */
    private static KeepAliveClient.Response send(KeepAliveClient client,
            KeepAliveClient.Request request, String likely) throws IOException {
        try {
            return client.send(request);
        } catch (IOException e) {
            throw History.fail("expected a response to " + request.method()
                    + " " + request.uri().getPath() + ", got " + e,
                    likely.isEmpty() ? "the request went to a connection that"
                            + " is in use or has ended" : likely);
        } catch (IllegalBlockingModeException e) {
            throw History.fail("expected a response to " + request.method()
                    + " " + request.uri().getPath() + ", got " + e,
                    "isStale() has left the channel in non-blocking mode; if"
                            + " its read threw, the server has reset the"
                            + " connection, which is stale then");
        }
    }

    // Bodies and bytes.

    private static InputStream body(Raw raw, String... fields)
            throws IOException {
        return KeepAliveClient.bodyOf("GET", 200, headers(fields), raw);
    }

    private static List<KeepAliveClient.Header> headers(String... fields) {
        return Stream.of(fields).map(field -> field.split(":", 2))
                .map(parts -> new KeepAliveClient.Header(parts[0], parts[1]))
                .toList();
    }

    private static String response(String fields, String body) {
        return "HTTP/1.1 200 OK\r\n" + fields + "\r\n\r\n" + body;
    }

    private static String text(InputStream in) throws IOException {
        return latin1(in.readAllBytes());
    }

    /** The body, which must be readable to its end. */
    private static String text(KeepAliveClient.Response response) {
        try {
            return text(response.body());
        } catch (ClosedChannelException | SocketException e) {
            throw History.fail("expected the whole body of the response on"
                    + " connection " + response.connectionId() + ", got " + e,
                    "the connection was closed before the body was over, or"
                    + " releaseIfOver() asked connection.in after the release");
        } catch (IOException e) {
            throw History.fail("expected the whole body of the response on"
                    + " connection " + response.connectionId() + ", got " + e,
                    "two responses"
                    + " share the connection, or the body was ended too early");
        }
    }

    private static void reads(String expected, Callable<String> reading,
            String what, String likely) {
        String got;
        try {
            got = reading.call();
        } catch (UnsupportedOperationException todo) {
            throw todo;
        } catch (Exception e) {
            throw History.fail("expected " + what + " = " + shown(expected)
                    + ", got " + e, likely);
        }
        Check.that(got.equals(expected), what + " = " + shown(expected)
                + ", got " + shown(got), likely);
    }

    private static final String REFUSED = "a ProtocolException";

    private static String orRefused(Callable<String> reading) throws Exception {
        try {
            return reading.call();
        } catch (ProtocolException e) {
            return REFUSED;
        }
    }

    /** So many bytes, read one by one: no read ever asks for none. */
    private static String take(InputStream in, int count) throws IOException {
        var text = new StringBuilder();
        while (text.length() < count) {
            int next = in.read();
            Check.that(next != -1, count + " bytes of the body, got the end"
                    + " after " + text.length(), "the body was over too early");
            text.append((char) next);
        }
        return text.toString();
    }

    private static String latin1(byte[] bytes) {
        return new String(bytes, StandardCharsets.ISO_8859_1);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.ISO_8859_1);
    }

    /** On one line. */
    private static String shown(String text) {
        var line = text.replace("\r", "\\r").replace("\n", "\\n");
        return line.length() <= 90 ? line : line.substring(0, 90) + "...";
    }

    /** Ways to read a stream to its end. */
    private enum Reading {
        AT_ONCE, BYTE_BY_BYTE, IN_THREES, BUFFERED;

        String of(InputStream in) throws IOException {
            var out = new ByteArrayOutputStream();
            switch (this) {
                case AT_ONCE -> in.transferTo(out);
                case BUFFERED -> new BufferedInputStream(in).transferTo(out);
                case BYTE_BY_BYTE -> {
                    for (int next = in.read(); next != -1; next = in.read()) {
                        out.write(next);
                    }
                }
                case IN_THREES -> {
                    var three = new byte[3];
                    for (int count = in.read(three, 0, 3); count != -1;
                            count = in.read(three, 0, 3)) {
                        out.write(three, 0, count);
                    }
                }
            }
            return latin1(out.toByteArray());
        }
    }

    /** What a connection brings, in reads that end where the test says. */
    private static final class Raw extends InputStream {

        private static final int ENOUGH = 1 << 20;

        private final byte[] bytes;
        private final byte[] repeated;   // after those, for ever
        private final IntUnaryOperator most;   // of a read at this place
        private final String likely;     // why nobody may ask for more
        private int at;
        private int readsOfNothing;
        private int ends;                // how often a read has returned -1

        private Raw(String text, String repeated, IntUnaryOperator most,
                String likely) {
            this.bytes = KeepAliveClientTest.bytes(text);
            this.repeated = KeepAliveClientTest.bytes(repeated);
            this.most = most;
            this.likely = likely;
        }

        static Raw of(String text) {
            return new Raw(text, "", at -> 8192, "");
        }

        static Raw singly(String text) {
            return new Raw(text, "", at -> 1, "");
        }

        static Raw split(String text, int first) {
            return new Raw(text, "", at -> at < first ? first - at : 8192, "");
        }

        static Raw endless(String text, String repeated) {
            return new Raw(text, repeated, at -> 8192, "");
        }

        /** A read after these bytes would wait: it fails instead. */
        static Raw only(String text, String likely) {
            return new Raw(text, "", at -> 8192, likely);
        }

        @Override
        public int read() {
            var one = new byte[1];
            return read(one, 0, 1) == -1 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] into, int offset, int length) {
            Objects.checkFromIndexSize(offset, length, into.length);
            if (length == 0) {
                Check.that(++readsOfNothing < 100, "reads of raw that ask for a"
                        + " byte or more, got 100 that ask for none",
                        "rest is wrong: is it negative?");
                return 0;
            }
            if (at >= ENOUGH) {
                throw History.fail("expected less than " + ENOUGH + " bytes to"
                        + " be read, got all of them", "a line has a limit:"
                        + " give readLine() MAX_CHUNK_LINE, and leave trailers"
                        + " to readFields()");
            }
            if (at >= bytes.length && repeated.length == 0) {
                if (likely.isEmpty()) {
                    ends++;
                    return -1;
                }
                throw History.fail("expected no read of raw after the "
                        + bytes.length + " bytes that have come, got one",
                        likely);
            }
            int count = Math.min(length, most.applyAsInt(at));
            if (repeated.length == 0) {
                count = Math.min(count, bytes.length - at);
            }
            for (int i = 0; i < count; i++, at++) {
                into[offset + i] = at < bytes.length ? bytes[at]
                        : repeated[(at - bytes.length) % repeated.length];
            }
            return count;
        }

        int taken() {
            return at;
        }

        /** What nobody has read yet. */
        String left() {
            return latin1(Arrays.copyOfRange(bytes, at, bytes.length));
        }
    }

    // The scripted server.

    private static final InetAddress LOOPBACK = loopback();

    private static InetAddress loopback() {
        try {
            return InetAddress.getByName("127.0.0.1");
        } catch (UnknownHostException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** How a server ends a connection. */
    private enum End { FIN, RST }

    /** What the server does with each request. */
    @FunctionalInterface
    private interface Script {
        void respond(Exchange exchange) throws Exception;
    }

    /**
     * Reads requests, one after the other on each connection, and does with
     * each what the script says. Connections are numbered from 1.
     */
    private static final class Server implements AutoCloseable {

        final List<Served> connections = new CopyOnWriteArrayList<>();
        final List<String> heads = new CopyOnWriteArrayList<>();
        final List<String> bodies = new CopyOnWriteArrayList<>();
        private final ServerSocket listener = new ServerSocket(0, 50, LOOPBACK);
        private final Script script;

        private Server(Script script) throws IOException {
            this.script = script;
        }

        static Server start(Script script) throws IOException {
            var server = closeLater(new Server(script));
            Thread.ofVirtual().name("kit-server").start(server::accept);
            return server;
        }

        private void accept() {
            try {
                while (true) {
                    var socket = listener.accept();
                    socket.setTcpNoDelay(true);
                    var served = new Served(this, connections.size() + 1,
                            socket);
                    connections.add(served);
                    Thread.ofVirtual().name("kit-served").start(served::serve);
                }
            } catch (IOException e) {
                // closed
            }
        }

        int port() {
            return listener.getLocalPort();
        }

        URI uri(String path) {
            return URI.create("http://127.0.0.1:" + port() + path);
        }

        /** Method and target of each, in the order in which they came. */
        List<String> requests() {
            return heads.stream().map(head -> head.substring(0,
                    head.indexOf(" HTTP/"))).toList();
        }

        /** Until the connection has ended, by whichever side. */
        void awaitEnd(int connection, String likely)
                throws InterruptedException {
            Await.until(() -> connections.size() >= connection
                    && connections.get(connection - 1).ended.isDone(),
                    "that connection " + connection + " ends", likely);
        }

        @Override
        public void close() throws IOException {
            listener.close();
            for (var served : connections) {
                served.socket.close();
            }
        }
    }

    /** One connection of the server. */
    private static final class Served {

        final CompletableFuture<Void> ended = new CompletableFuture<>();
        private final Server server;
        private final int number;
        private final Socket socket;

        Served(Server server, int number, Socket socket) {
            this.server = server;
            this.number = number;
            this.socket = socket;
        }

        void serve() {
            try (socket) {
                var in = new BufferedInputStream(socket.getInputStream());
                for (int nth = 1; ; nth++) {
                    var head = new StringBuilder();
                    while (head.indexOf("\r\n\r\n") < 0) {
                        int next = in.read();
                        if (next == -1) {
                            note("was closed by the client");
                            return;
                        }
                        head.append((char) next);
                    }
                    var length = Pattern.compile("Content-Length: (\\d+)")
                            .matcher(head);
                    server.bodies.add(latin1(in.readNBytes(length.find()
                            ? Integer.parseInt(length.group(1)) : 0)));
                    server.heads.add(head.toString());
                    var exchange = new Exchange(this, number, nth,
                            head.toString());
                    note("brought " + exchange.head.split(" HTTP/")[0]);
                    server.script.respond(exchange);
                }
            } catch (IOException | InterruptedException e) {
                note("ended: " + e.getMessage());
            } catch (Exception e) {
                note("failed: " + e);
            } finally {
                ended.complete(null);
            }
        }

        void send(String text) throws IOException {
            if (!text.isEmpty()) {
                note("carried " + Bytes.shown(bytes(text)));
                socket.getOutputStream().write(bytes(text));
            }
        }

        void end(End end) throws IOException {
            note("was ended by the server, with a " + end);
            // with a limit above 0, close() waits until the FIN has arrived
            socket.setSoLinger(true, end == End.RST ? 0 : 5);
            socket.close();
        }

        /** Until the client's kernel knows of it, where that can be seen. */
        void awaitReset() throws InterruptedException {
            var sockets = Pattern.compile("(?m)^ *\\d+: \\w+:%04X \\w+:%04X 01"
                    .formatted(socket.getPort(), server.port()));
            Await.until(() -> Stream.of("/proc/net/tcp", "/proc/net/tcp6")
                    .map(Path::of).filter(Files::exists).noneMatch(table -> {
                try {
                    return sockets.matcher(Files.readString(table)).find();
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            }), "that the client's socket is reset", "");
        }

        private void note(String what) {
            History.note("connection " + number + " " + what);
        }
    }

    /** A request, and what the script may do about it. */
    private static final class Exchange {

        final int connection;
        final int nth;       // on its connection, from 1
        final String head;   // with the empty line
        private final Served served;

        Exchange(Served served, int connection, int nth, String head) {
            this.served = served;
            this.connection = connection;
            this.nth = nth;
            this.head = head;
        }

        String target() {
            return head.split(" ")[1];
        }

        void send(String text) throws IOException {
            served.send(text);
        }

        /** Without a line in the history. */
        void sendSilently(String text) throws IOException {
            served.socket.getOutputStream().write(bytes(text));
        }

        void close() throws IOException {
            end(End.FIN);
        }

        void end(End end) throws IOException {
            served.end(end);
        }
    }
}
