///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS io.netty:netty-transport:4.2.18.Final
//SOURCES ../../labs/412-zero-allocation-server/ServerDuel.java
//SOURCES ../kit/*.java

import static kit.TestLifecycle.closeLater;

import module java.base;
import module java.net.http;

import com.sun.management.ThreadMXBean;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.PooledByteBufAllocator;
import io.netty.buffer.Unpooled;
import io.netty.buffer.UnpooledByteBufAllocator;
import io.netty.channel.embedded.EmbeddedChannel;
import java.lang.management.ManagementFactory;
import kit.Action;
import kit.Await;
import kit.Check;
import kit.Expectation;
import kit.History;
import kit.HttpPeer;
import kit.Lab;
import kit.PendingCall;
import kit.Step;
import org.junit.jupiter.api.Test;

/**
 * Lab 412, step by step. The parser is given bytes, the handler of NETTY an
 * EmbeddedChannel, and only where sockets matter a server is started. What is
 * allocated is read from the JVM's own counters. A comment {@code rejects:}
 * names the wrong solutions that a test is there for.
 */
@Lab
class ServerDuelTest {

    private static final InetSocketAddress ANY = new InetSocketAddress(
            InetAddress.ofLiteral("127.0.0.1"), 0);
    private static final ThreadMXBean THREADS =
            (ThreadMXBean) ManagementFactory.getThreadMXBean();
    private static final int MAX_HEAD = 16 * 1024, MAX_BODY = 64 * 1024;
    private static final String GET = " HTTP/1.1\r\nHost: a\r\n\r\n";
    private static final String DRAIN = "close the exchange in finally, or by"
            + " try-with-resources: that reads what is left of the request";

    /** Loads both servers and the embedded channel. */
    public static final class WarmUp implements Runnable {

        @Override
        public void run() {
            try {
                var netty = ServerDuel.class.getDeclaredMethod("fastHandler");
                netty.setAccessible(true);
                new EmbeddedChannel(
                        (io.netty.channel.ChannelHandler) netty.invoke(null))
                        .close();
                ServerDuel.start(ServerDuel.Kind.NETTY, ANY).close();
                HttpClient.newHttpClient().close();
            } catch (ReflectiveOperationException | IOException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    @Step(value = 1, title = "Serve with the convenient API",
            leak = "start() returns a Running with the given stop")
    class Serve_with_the_convenient_API {

        @Test
        void GET_plaintext_is_200_with_a_text() throws IOException {
            var answer = jdk().ask("GET /plaintext" + GET);
            is(answer, 200, "Hello, world!", "respond(exchange, 200, HELLO)");
            field(answer, "Content-Type", "text/plain", "use text()");
            field(answer, "Content-Length", "13", "set Content-Length; with 0"
                    + " as length, sendResponseHeaders() chooses chunked");
        }

        @Test
        void GET_count_is_the_number_of_requests_with_itself()
                throws IOException {
            // rejects: counted behind the response; only some routes counted
            var server = closeLater(ServerDuel.start(ServerDuel.Kind.JDK, ANY));
            var client = client(server);
            var likely = "count each request at the beginning of serve()";
            is(client.ask("GET /count" + GET), 200, "1", likely);
            is(client.ask("GET /none" + GET), 404, "", likely);
            is(client.ask("PUT /count" + GET), 405, "", likely);
            is(client.ask("GET /count" + GET), 200, "4", likely);
            Check.equal(4L, server.requests(), "requests() after four requests",
                    "return the LongAdder that serve() increments");
        }

        @Test
        void HEAD_has_the_fields_of_GET_and_no_body() throws IOException {
            // rejects: a body behind HEAD; Content-Length 0; 405
            var client = jdk();
            var likely = "for HEAD set Content-Length and call"
                    + " sendResponseHeaders(status, -1), and write no body";
            var head = client.head("HEAD /plaintext" + GET);
            is(head, 200, "", likely);
            field(head, "Content-Length", "13", likely);
            field(head, "Content-Type", "text/plain", likely);
            is(client.ask("GET /count" + GET), 200, "2", likely);
        }

        @Test
        void POST_echo_returns_the_same_bytes() throws IOException {
            // rejects: a body taken for text; an empty body that is chunked
            var client = jdk();
            for (int size : new int[] {0, 1, 256, MAX_BODY}) {
                var body = bytes(size);
                var head = client.head(post("/echo", size), body);
                is(head, 200, "", "the body is bytes, not text");
                field(head, "Content-Length", "" + size, "as long as the"
                        + " request's body; -1 if there is none");
                Check.sameBytes(body, client.bytes(size), "what /echo returned"
                        + " of " + size + " bytes", "readNBytes(), no Reader");
            }
        }

        @Test
        void a_body_of_more_than_64_KiB_is_413() throws IOException {
            // rejects: no limit; the beginning echoed; all of it read first
            for (int length : new int[] {MAX_BODY + 1, 1 << 30}) {
                var answer = jdk().ask(post("/echo", length),
                        bytes(MAX_BODY + 1));
                is(answer, 413, "", "read MAX_BODY + 1 bytes at most, and see"
                        + " whether there are so many");
            }
        }

        @Test
        void an_unknown_path_is_404_with_Content_Length_0()
                throws IOException {
            // rejects: prefixes; chunked empty bodies
            var client = jdk();
            for (var path : List.of("/", "/plaintext/", "/counts", "/ECHO",
                    "/plain")) {
                var answer = client.ask("GET " + path + GET);
                is(answer, 404, "", "a context matches by prefix: compare the"
                        + " whole path, with Route.of()");
                field(answer, "Content-Length", "0", "set Content-Length and"
                        + " call sendResponseHeaders(404, -1)");
            }
            is(client.ask("DELETE /none" + GET), 404, "", "route.allows():"
                    + " 405 is for a path that exists");
        }

        @Test
        void another_method_is_405_with_Allow() throws IOException {
            var client = jdk();
            for (var row : List.of("DELETE /plaintext: GET, HEAD",
                    "POST /count: GET, HEAD", "GET /echo: POST",
                    "HEAD /echo: POST", "get /count: GET, HEAD")) {
                var parts = row.split(": ");
                var answer = client.head(parts[0] + GET);
                is(answer, 405, "", "route.allows(); case matters");
                field(answer, "Allow", parts[1], "set Allow to route.allow");
                field(answer, "Content-Length", "0", "no body");
            }
        }

        @Test
        void the_query_and_the_host_of_the_target_are_no_part_of_the_path()
                throws IOException {
            // rejects: getRequestURI().toString(); getPath(), which decodes
            var client = jdk();
            var likely = "ask getRequestURI() for its raw path";
            is(client.ask("GET /plaintext?a=/count" + GET), 200,
                    "Hello, world!", likely);
            is(client.ask("GET http://a:80/plaintext" + GET), 200,
                    "Hello, world!", likely);
            is(client.ask("GET /%63ount" + GET), 404, "", likely);
        }

        @Test
        void the_connection_is_kept_after_an_unread_body() throws IOException {
            // rejects: an exchange that is not closed
            var client = jdk();
            for (var path : List.of("/none", "/count", "/plaintext")) {
                is(client.ask(post(path, 5), bytes(5)),
                        path.equals("/none") ? 404 : 405, "", DRAIN);
            }
            is(client.ask("GET /plaintext" + GET), 200, "Hello, world!", DRAIN);
        }

        @Test
        void a_client_that_sends_slowly_does_not_delay_others()
                throws IOException {
            // rejects: no executor, which means the dispatcher's thread
            var server = closeLater(ServerDuel.start(ServerDuel.Kind.JDK, ANY));
            var slow = client(server);
            var likely = "setExecutor(threads)";
            slow.send(post("/echo", 2) + "a");
            for (int i = 0; i < 20; i++) {
                is(client(server).ask("GET /plaintext" + GET), 200,
                        "Hello, world!", likely);
            }
            slow.send("b");
            is(slow.answer(), 200, "ab", likely);
        }

        private static Client jdk() throws IOException {
            return client(closeLater(
                    ServerDuel.start(ServerDuel.Kind.JDK, ANY)));
        }
    }

    @Step(value = 2, title = "Measure bytes per request")
    class Measure_bytes_per_request {

        @Test
        void percentile_is_the_nearest_rank() {
            // rejects: rounded down; counted from 0; interpolated
            var rows = new int[][] {{1, 50, 1}, {1, 99, 1}, {2, 50, 1},
                    {2, 51, 2}, {4, 50, 2}, {5, 50, 3}, {100, 99, 99},
                    {100, 1, 1}, {101, 99, 100}, {1000, 99, 990},
                    {7, 100, 7}};
            for (var row : rows) {
                var sorted = LongStream.rangeClosed(1, row[0]).toArray();
                Check.equal((long) row[2],
                        ServerDuel.percentile(sorted, row[1]),
                        "percentile(1 to " + row[0] + ", " + row[1] + ")",
                        "rank = length * percent / 100, rounded up, counted"
                                + " from 1");
            }
        }

        @Test
        void bytes_per_request_are_what_the_server_allocates()
                throws Exception {
            // rejects: all bytes not divided; by batches; the own thread only
            for (int cost : new int[] {2_000, 20_000}) {
                allocates(cost, () -> new Known(_ -> cost, false),
                        new ServerDuel.Load(2, 5, 200, 1000));
            }
        }

        @Test
        void what_virtual_and_ended_threads_allocate_is_counted()
                throws Exception {
            // rejects: getThreadAllocatedBytes() of the server's threads; the
            // sum over all live threads
            allocates(20_000, () -> new Known(_ -> 20_000, true),
                    new ServerDuel.Load(2, 5, 200, 1000));
            allocates(20_000, () -> new Known(_ -> Known.inShortThread(20_000),
                    false), new ServerDuel.Load(2, 5, 50, 200));
        }

        @Test
        void the_warm_up_is_not_counted() throws Exception {
            // rejects: the counter read before the warm-up; no warm-up
            allocates(2_000, () -> new Known(i -> i < 100 ? 500_000 : 2_000,
                    false), new ServerDuel.Load(1, 10, 100, 400));
        }

        @Test
        void what_the_client_allocates_is_not_counted() throws Exception {
            // rejects: the total alone: 16 KiB for 10 requests
            var server = new Known(_ -> 0, false);
            try (server) {
                ServerDuel.measure(server.address(),
                        new ServerDuel.Load(1, 1, 50, 50));
            }
            allocates(0, () -> new Known(_ -> 0, false),
                    new ServerDuel.Load(1, 1, 200, 10));
        }

        @Test
        void requests_are_counted_in_whole_batches() throws Exception {
            // rejects: load.requests() for run.requests(), in any figure
            var load = new ServerDuel.Load(3, 4, 13, 1);
            long start = System.nanoTime();
            var server = new Known(i -> {
                LockSupport.parkNanos(i == 24 ? 20_000_000 : 0);
                return 20_000;
            }, false);
            ServerDuel.Measurement measured;
            try (server) {
                measured = ServerDuel.measure(server.address(), load);
            }
            double least = 12e9 / (System.nanoTime() - start);
            Check.equal(12L, measured.requests(), "requests() for 1 request on"
                    + " 3 connections with batches of 4", "run.requests()");
            Check.equal(24 + 12, server.served.get(), "the requests that"
                    + " reached the server, 24 of them to warm up", "run"
                    + " the warm-up once, and the requests once");
            Check.that(measured.bytesPerRequest() < 100_000, "about 20,000"
                    + " bytes a request, got " + measured.bytesPerRequest(),
                    "divide by run.requests(), not by load.requests()");
            Check.that(measured.perSecond() >= least, "at least " + least
                    + " requests a second, got " + measured.perSecond(),
                    "run.requests() by its seconds, not load.requests()");
        }

        @Test
        void rate_and_percentiles_are_in_their_units() throws Exception {
            // rejects: per millisecond; nanoseconds; unsorted percentiles
            long start = System.nanoTime();
            var slow = new AtomicInteger();
            var server = new Known(i -> {
                if (i % 10 == 4) {   // the middle one, if nobody sorts
                    LockSupport.parkNanos(20_000_000);
                    slow.incrementAndGet();
                }
                return 0;
            }, false);
            ServerDuel.Measurement measured;
            try (server) {
                measured = ServerDuel.measure(server.address(),
                        new ServerDuel.Load(1, 1, 0, 10));
            }
            double whole = (System.nanoTime() - start) / 1e9;
            Check.equal(1, slow.get(), "slow responses among ten", "run the"
                    + " requests once, and no warm-up if it has 0 requests");
            Check.that(measured.p50Micros() < 20_000, "a p50Micros below"
                    + " 20,000, because nine of ten responses come at once,"
                    + " got " + measured.p50Micros(), "sort the nanos before"
                    + " percentile() looks at them");
            Check.that(measured.p99Micros() >= 20_000
                    && measured.p99Micros() <= whole * 1e6, "a p99Micros of"
                    + " 20,000 or more, because one of ten responses takes 20"
                    + " ms, and at most " + (long) (whole * 1e6) + ", got "
                    + measured.p99Micros(), "sort the nanos; a thousandth");
            Check.that(measured.perSecond() >= 10 / whole
                    && measured.perSecond() <= 10 / 0.02, "between "
                    + (long) (10 / whole) + " and 500 requests a second, got "
                    + measured.perSecond(), "requests / elapsedNanos * 10^9");
        }

        @Test
        void the_JDK_server_allocates_thousands_of_bytes_for_a_request()
                throws Exception {
            var measured = ServerDuel.measure(ServerDuel.Kind.JDK,
                    new ServerDuel.Load(4, 1, 400, 400));
            Check.that(measured.bytesPerRequest() > 3_000
                    && measured.bytesPerRequest() < 300_000, "from 3,000 to"
                    + " 300,000 bytes a request by the JDK's server, got "
                    + measured.bytesPerRequest(), "the threads of the server"
                    + " have them: getTotalThreadAllocatedBytes()");
        }

        private static void allocates(int cost, Callable<Known> server,
                ServerDuel.Load load) throws Exception {
            double seen = Double.MAX_VALUE;
            double most = cost * 1.05 + 1000;
            // what is left of other tests may allocate too: measured again
            for (int i = 0; i < 3 && seen > most; i++) {
                try (var known = server.call()) {
                    seen = ServerDuel.measure(known.address(), load)
                            .bytesPerRequest();
                }
            }
            Check.that(seen >= cost * 0.99 && seen <= most,
                    "about " + cost + " bytes a request, which is what the"
                            + " test's server allocates, got " + seen,
                    "total of all threads minus this one's, after minus"
                            + " before, the warm-up first; divide by"
                            + " run.requests()");
        }
    }

    @Step(value = 3, title = "Parse the request line in place")
    class Parse_the_request_line_in_place {

        @Test
        void the_parser_finds_method_and_route() {
            // rejects: a prefix that matches; state of the head before
            var parser = parser();
            for (var row : List.of("GET /plaintext: GET PLAINTEXT",
                    "HEAD /count: HEAD COUNT", "POST /echo: POST ECHO",
                    "GET /: GET NOT_FOUND", "GET /coun: GET NOT_FOUND",
                    "GET /count: GET COUNT", "GET /counts: GET NOT_FOUND",
                    "GET /plaintext/: GET NOT_FOUND",
                    "GET /xlaintext: GET NOT_FOUND",
                    "GET /plainxext: GET NOT_FOUND",
                    "GET //count: GET NOT_FOUND",
                    "GET /COUNT: GET NOT_FOUND",
                    "DELETE /count: OTHER COUNT", "GE /count: OTHER COUNT",
                    "GETS /count: OTHER COUNT", "get /count: OTHER COUNT",
                    "P0ST! /echo: OTHER ECHO", "POST /echo: POST ECHO")) {
                var parts = row.split(": ");
                finds(parser, parts[0] + GET, parts[1] + " keepAlive", "compare"
                        + " each byte with the words; a word matches if it is"
                        + " as long as what came; begin() clears them");
            }
        }

        @Test
        void the_query_and_the_host_of_the_target_are_no_part_of_the_route() {
            var parser = parser();
            var likely = "in QUERY nothing is added to paths; a path begins"
                    + " at the slash";
            for (var target : List.of("/count?", "/count?a=1", "/count?/echo",
                    "/count?a?b", "http://a/count", "HTTP://a.test:8080/count",
                    "http://[::1]:80/count?a=http://b/")) {
                finds(parser, "GET " + target + GET, "GET COUNT keepAlive",
                        likely);
            }
            for (var target : List.of("http://a", "http://a?/count",
                    "http://a/", "/http://a/count", "/%63ount")) {
                finds(parser, "GET " + target + GET, "GET NOT_FOUND keepAlive",
                        likely);
            }
        }

        @Test
        void HTTP_1_1_and_later_1_x_keep_the_connection_and_1_0_does_not() {
            var parser = parser();
            for (var row : List.of("1.0: GET COUNT", "1.1: GET COUNT keepAlive",
                    "1.2: GET COUNT keepAlive", "1.9: GET COUNT keepAlive",
                    "1.0: GET COUNT")) {
                var parts = row.split(": ");
                finds(parser, "GET /count HTTP/" + parts[0]
                        + "\r\nHost: a\r\n\r\n", parts[1], "the digit is"
                        + " the minor version; from 1 on it is 1");
            }
        }

        @Test
        void a_head_may_be_split_anywhere() {
            // rejects: state that is lost; a CR taken for the end
            for (var head : List.of("HEAD /plaintext?x HTTP/1.1\r\nA: b\r\n"
                    + "Host: c\r\n\r\n", "GET http://a/count" + GET)) {
                for (int cut = 1; cut < head.length(); cut++) {
                    var parser = parser();
                    parses(ServerDuel.Progress.NEED_MORE, parser,
                            buffer(head.substring(0, cut)), "the first " + cut
                                    + " bytes of " + shown(head));
                    parses(ServerDuel.Progress.READY, parser,
                            buffer(head.substring(cut)), "the rest, after "
                                    + cut + " bytes, of " + shown(head));
                }
                var parser = parser();
                for (int i = 0; i < head.length(); i++) {
                    boolean isLast = i == head.length() - 1;
                    parses(isLast ? ServerDuel.Progress.READY
                            : ServerDuel.Progress.NEED_MORE, parser,
                            buffer(head.substring(i, i + 1)), "byte " + (i + 1)
                                    + " of " + shown(head));
                }
                Check.that(parser.route() != ServerDuel.Route.NOT_FOUND,
                        "the route after single bytes, got NOT_FOUND", "keep"
                                + " the words' state between calls");
            }
        }

        @Test
        void READY_reads_exactly_one_head() {
            // rejects: the whole buffer read; one byte too many
            var parser = parser();
            var two = buffer("\r\nGET /count" + GET + "\r\nPOST /echo" + GET + "body");
            finds(parser, two, "GET COUNT keepAlive", "stop at READY");
            finds(parser, two, "POST ECHO keepAlive", "stop at READY: the next"
                    + " byte belongs to the next head");
            Check.equal("body", two.toString(StandardCharsets.US_ASCII),
                    "what is left in the buffer", "a head ends with the empty"
                            + " line, and what follows is not the parser's");
        }

        @Test
        void NEED_MORE_reads_all_bytes_and_an_empty_buffer_is_NEED_MORE() {
            // rejects: bytes left until the line is whole
            var parser = parser();
            parses(ServerDuel.Progress.NEED_MORE, parser, buffer(""),
                    "no byte");
            var some = buffer("GET /cou");
            parses(ServerDuel.Progress.NEED_MORE, parser, some, "GET /cou");
            Check.equal(0, some.readableBytes(), "bytes left in the buffer"
                    + " after NEED_MORE", "read each byte once, and keep the state");
            parses(ServerDuel.Progress.NEED_MORE, parser, buffer(""),
                    "no byte in the middle");
            finds(parser, "nt" + GET, "GET COUNT keepAlive", "begin() only"
                    + " after READY, not at each call");
        }

        @Test
        void an_invalid_request_line_is_400() {
            // rejects: blanks and control characters that are let through
            for (var line : List.of("\r", " ", "GET", "GET ", "GET  /count",
                    " GET /count HTTP/1.1", "GET /count\r\n",
                    "GET /co\tunt HTTP/1.1", "GET /co\0unt HTTP/1.1",
                    "GET /count?\u007f HTTP/1.1", "GET /count?\n HTTP/1.1",
                    "GET /c\u0080 HTTP/1.1", "GET count HTTP/1.1",
                    "GET http:/count HTTP/1.1", "GET * HTTP/1.1",
                    "GET http:///count HTTP/1.1", "GET http:// HTTP/1.1",
                    "G(T /count HTTP/1.1", "GET /count HTTP/1.1 ",
                    "GET /count  HTTP/1.1", "GET /count HTTP/1.1\n",
                    "G\u00c4T /count HTTP/1.1")) {
                bad(400, line + "\r\nHost: a\r\n\r\n", "a method is a token;"
                        + " targets have the bytes from ! to ~; CR and LF end"
                        + " the line, and there is one blank between parts");
            }
            bad(400, "GET /count HTTP/1.1\nHost: a\r\n\r\n", "LF alone ends"
                    + " no line");
            bad(400, "GET /count HTTP/1.1\rHost: a\r\n\r\n", "LF must follow"
                    + " CR");
        }

        @Test
        void another_version_is_505() {
            for (var version : List.of("HTTP/2.0", "HTTP/0.9", "HTTP/3.0",
                    "HTTP/1.10", "HTTP/1.1x", "HTTP/1.1.",
                    "HTTP/1.", "http/1.1", "HTTP/10.1", "")) {
                bad(505, "GET /count " + version + "\r\nHost: a\r\n\r\n",
                        "version.match() is the prefix alone, and one digit"
                                + " comes behind it");
            }
        }

        @Test
        void BAD_is_final_and_reads_nothing_more() {
            // rejects: a parser that begins anew
            var parser = parser();
            var in = buffer("GET\t" + "GET /count" + GET);
            parses(ServerDuel.Progress.BAD, parser, in, "GET and a tab");
            int left = in.readableBytes();
            parses(ServerDuel.Progress.BAD, parser, in, "what follows");
            Check.equal(left, in.readableBytes(), "bytes left after a second"
                    + " call", "read nothing when badStatus is set");
            Check.equal(("GET /count" + GET).length(), left, "bytes left at the"
                    + " first BAD", "stop at the first bad byte");
            Check.equal(400, parser.badStatus(), "badStatus()",
                    "the first finding stands");
        }

        @Test
        void a_head_may_have_16_KiB_and_a_target_8_KiB() {
            // rejects: a limit of 8 KiB; >= for >
            var parser = new ServerDuel.Parser(MAX_HEAD, MAX_BODY);
            finds(parser, "GET /count?" + "q".repeat(8 * 1024) + GET,
                    "GET COUNT keepAlive", "the limit is maxHeadBytes");
            var head = "GET /count HTTP/1.1\r\nHost: a\r\nX: ";
            head += "x".repeat(MAX_HEAD - head.length() - 4) + "\r\n\r\n";
            for (int i = 0; i < 2; i++) {
                finds(parser, head, "GET COUNT keepAlive", "headBytes begins at"
                        + " 0 with each head, and may reach maxHeadBytes");
            }
        }

        @Test
        void a_longer_head_is_414_or_431_at_the_first_byte_too_many() {
            // rejects: a limit for whole heads only; 431 for both
            for (int status : new int[] {414, 431}) {
                var parser = new ServerDuel.Parser(1000, 0);
                var head = status == 414 ? "GET /" + "a".repeat(995)
                        : "GET / HTTP/1.1\r\nHost: a\r\nX: " + "a".repeat(972);
                head = head.substring(0, 1000);
                parses(ServerDuel.Progress.NEED_MORE, parser, buffer(head),
                        "1,000 bytes of 1,000");
                parses(ServerDuel.Progress.BAD, parser, buffer("a"),
                        "the byte after 1,000 of 1,000");
                Check.equal(status, parser.badStatus(), "badStatus() for a"
                        + " head that is too long, " + (status == 414 ? "in"
                        : "behind") + " the request line", "414 is for the"
                        + " request line, 431 for the fields");
            }
        }

        @Test
        void request_lines_cost_no_allocation() {
            // rejects: toString, split, boxing, an array, a lambda
            var heads = List.of("GET /plaintext" + GET, "HEAD /count?x" + GET,
                    "OPTIONS /none" + GET, "GET http://a/count" + GET);
            for (var head : heads) {
                parsesForNothing(head);
            }
        }
    }

    @Step(value = 4, title = "Respond from preallocated bytes",
            leak = "the given stop ends the event loops")
    class Respond_from_preallocated_bytes {

        @Test
        void GET_plaintext_is_the_whole_response() {
            var channel = channel();
            var response = exchange(channel, "GET /plaintext" + GET);
            var date = response.replaceAll("(?s).*\r\nDate: (.*?)\r\n.*", "$1");
            Check.equal("HTTP/1.1 200 OK\r\nDate: " + date + "\r\nContent-Type:"
                    + " text/plain\r\nContent-Length: 13\r\n\r\nHello, world!",
                    response, "the response",
                    "OK, date, TEXT, length(), HELLO");
            var age = Duration.between(ZonedDateTime.parse(date,
                    DateTimeFormatter.RFC_1123_DATE_TIME).toInstant(),
                    Instant.now());
            Check.that(age.abs().toMinutes() < 60, "a Date of now, got " + date,
                    "write date behind the status line");
        }

        @Test
        void the_count_includes_the_request_itself() {
            // rejects: counted later; only some routes counted
            var channel = channel();
            for (int i = 1; i <= 1200; i += 3) {
                body("" + i, exchange(channel, "GET /count" + GET),
                        "increment requests first");
                exchange(channel, "PUT /count" + GET);
                exchange(channel, "GET /none" + GET);
            }
        }

        @Test
        void a_response_to_HEAD_has_a_length_and_no_body() {
            var channel = channel();
            for (var row : List.of("/plaintext 13", "/count 1")) {
                var parts = row.split(" ");
                var response = exchange(channel, "HEAD " + parts[0] + GET);
                body("", response, "no body for HEAD");
                Check.that(response.contains("\r\nContent-Length: " + parts[1]
                        + "\r\n"), "Content-Length: " + parts[1] + " for HEAD "
                        + parts[0] + ", got " + shown(response), "the length of"
                        + " the body that GET would have");
            }
        }

        @Test
        void an_unknown_path_is_404_and_another_method_405_with_Allow() {
            var channel = channel();
            for (var row : List.of("GET /none: 404 Not Found: ",
                    "DELETE /none: 404 Not Found: ",
                    "DELETE /count: 405 Method Not Allowed: GET, HEAD",
                    "POST /plaintext: 405 Method Not Allowed: GET, HEAD",
                    "HEAD /echo: 405 Method Not Allowed: POST",
                    "GET /echo: 405 Method Not Allowed: POST")) {
                var parts = row.split(": ");
                var response = exchange(channel, parts[0] + GET);
                var allow = parts.length < 3 ? ""
                        : "\r\nAllow: " + parts[2];
                Check.equal("HTTP/1.1 " + parts[1] + allow
                        + "\r\nContent-Length: 0\r\n\r\n",
                        response.replaceAll("\r\nDate: [^\r]*", ""),
                        "the response to " + parts[0] + ", without Date",
                        "status, date, ALLOW_GET or ALLOW_POST, EMPTY");
            }
        }

        @Test
        void requests_of_one_read_are_answered_in_order_by_one_write() {
            // rejects: a write for each response; a flush for each
            var channel = channel();
            channel.writeInbound(buffer(("GET /count" + GET).repeat(16)));
            Check.equal(1, channel.outboundMessages().size(), "writes for 16"
                    + " requests that came in one read", "collect the responses"
                    + " in out, and write it in send()");
            var counts = bodies(sent(channel));
            Check.equal(IntStream.rangeClosed(1, 16).mapToObj(i -> "" + i)
                    .toList(), counts, "the bodies", "one after the other");
        }

        @Test
        void each_buffer_that_is_written_is_a_new_one() {
            // rejects: out used again; a shared buffer written twice
            var channel = channel();
            channel.writeInbound(buffer("GET /plaintext" + GET));
            channel.writeInbound(buffer("GET /plaintext" + GET));
            Check.equal(2, channel.outboundMessages().size(), "writes for two"
                    + " reads", "send() writes what was made in each read");
            ByteBuf first = channel.readOutbound();
            ByteBuf second = channel.readOutbound();
            Check.that(first != second, "two buffers for two writes, got the"
                    + " same one twice", "Netty releases it after the write,"
                    + " so set out to NOTHING");
            for (var each : List.of(first, second)) {
                Check.equal(1, each.refCnt(), "refCnt() of what was written",
                        "hand over your only reference");
                body("Hello, world!", each.toString(
                        StandardCharsets.US_ASCII), "a buffer of its own");
                each.release();
            }
        }

        @Test
        void a_request_may_be_split_anywhere() {
            // rejects: a parser for each read; a response before its request
            var request = "GET /plaintext" + GET;
            for (int cut = 1; cut < request.length(); cut++) {
                var channel = channel();
                channel.writeInbound(buffer(request.substring(0, cut)));
                Check.equal(0, channel.outboundMessages().size(), "writes after"
                        + " " + cut + " bytes of a request", "NEED_MORE: wait");
                channel.writeInbound(buffer(request.substring(cut)));
                body("Hello, world!", sent(channel), "parse what has come, and"
                        + " keep the parser for the next read");
            }
        }

        @Test
        void a_response_does_not_wait_for_the_rest_of_the_next_request() {
            var channel = channel();
            channel.writeInbound(buffer("GET /count" + GET + "GET /cou"));
            body("1", sent(channel), "send() at the end of each read");
            channel.writeInbound(buffer("nt" + GET));
            body("2", sent(channel), "the rest of the second request");
        }

        @Test
        void HTTP_1_0_and_bad_requests_end_the_connection() {
            // rejects: what follows is served; no Connection: close
            for (var row : List.of("GET /plaintext HTTP/1.0\r\n\r\n: 200",
                    "HEAD /count HTTP/1.0\r\n\r\n: 200",
                    "GET /none HTTP/1.0\r\n\r\n: 404",
                    "PUT /count HTTP/1.0\r\n\r\n: 405",
                    "GET /plaintext HTTP/3.0\r\n\r\n: 505", "G(T: 400")) {
                var parts = row.split(": ");
                var channel = channel();
                channel.writeInbound(buffer(parts[0] + "GET /count" + GET));
                var response = sent(channel);
                Check.that(response.startsWith("HTTP/1.1 " + parts[1] + " ")
                        && response.contains("\r\nConnection: close\r\n"),
                        parts[1] + " with Connection: close for "
                                + shown(parts[0]) + ", got " + shown(response),
                        "last is !keepAlive(); CLOSE; refuse() if BAD");
                Check.equal(1, response.split("HTTP/1.1 ", -1).length - 1,
                        "responses", "serve nothing after the last request");
                Check.that(!channel.isOpen(), "the connection to be closed",
                        "send() closes it when last is set");
            }
        }

        @Test
        void a_response_costs_no_allocation() {
            // rejects: Long.toString; a view or a promise for each response
            for (var path : List.of("GET /plaintext", "GET /count",
                    "HEAD /count", "GET /none", "GET /echo")) {
                respondsForNothing(path + GET);
            }
        }

        @Test
        void all_buffers_are_released() {
            // rejects: a request or a response that is kept
            var allocator = new UnpooledByteBufAllocator(false);
            var channel = channel();
            channel.config().setAllocator(allocator);
            var requests = buffer(("GET /count" + GET).repeat(40) + "GET /c");
            channel.writeInbound(requests);
            sent(channel);
            Check.equal(0, requests.refCnt(), "refCnt() of the buffer that was"
                    + " read", "serve() releases in when it is read, behind its"
                    + " loop: do not return from the loop");
            channel.writeInbound(buffer("ount" + GET + "G"));
            sent(channel);
            channel.close();
            Check.equal(0L, allocator.metric().usedHeapMemory()
                    + allocator.metric().usedDirectMemory(), "bytes in buffers"
                    + " after the connection was closed", "every buffer is"
                    + " released once, by whoever had it last");
        }

        @Test
        void the_JDK_client_is_served_by_both_servers() throws Exception {
            var bodies = new ArrayList<String>();
            try (var client = HttpClient.newHttpClient()) {
                for (var kind : ServerDuel.Kind.values()) {
                    try (var server = ServerDuel.start(kind, ANY)) {
                        for (var path : List.of("/plaintext", "/count", "/")) {
                            var request = HttpRequest.newBuilder(URI.create(
                                    "http:/" + server.localAddress() + path))
                                    .timeout(Duration.ofSeconds(10)).build();
                            var response = client.send(request,
                                    HttpResponse.BodyHandlers.ofString());
                            bodies.add(response.statusCode() + " "
                                    + response.body());
                        }
                        Check.equal(3L, server.requests(), "requests() of "
                                + kind, "count each request once");
                    }
                }
            }
            Check.equal(List.of("200 Hello, world!", "200 2", "404 "),
                    bodies.subList(3, 6), "what NETTY answered", "flush");
            Check.equal(bodies.subList(0, 3), bodies.subList(3, 6), "what NETTY"
                    + " answered, as JDK does", "the same service");
        }

        @Test
        void NETTY_allocates_less_than_a_quarter_of_what_JDK_does()
                throws Exception {
            // rejects: objects on the way that the parser's test cannot see
            var load = new ServerDuel.Load(4, 1, 400, 400);
            var jdk = ServerDuel.measure(ServerDuel.Kind.JDK, load);
            var netty = ServerDuel.measure(ServerDuel.Kind.NETTY, load);
            Check.that(netty.bytesPerRequest() < jdk.bytesPerRequest() / 4,
                    "less than a quarter of JDK's " + jdk.bytesPerRequest()
                            + " bytes a request, got "
                            + netty.bytesPerRequest(), "find the objects that"
                            + " are made for each request");
        }
    }

    @Step(value = 5, title = "Parse the header fields in place",
            further = true, leak = "the given stop ends the event loops")
    class Parse_the_header_fields_in_place {

        @Test
        void Content_Length_is_found_in_any_case_and_between_blanks() {
            var parser = parser();
            for (var field : List.of("Content-Length: 5", "content-length:5",
                    "CONTENT-LENGTH: \t 5 \t ", "Content-Length: 005")) {
                length(5, parser, field);
            }
            length(0, parser, "Content-Length: 0");
            length(MAX_BODY, parser, "Content-Length: 65536");
            for (var other : List.of("X: 5", "Content-Lengt: 5",
                    "Content-Length2: 5", "X-Content-Length: 5",
                    "ContentXLength: 5")) {
                length(0, parser, other);
            }
        }

        @Test
        void an_invalid_Content_Length_is_400() {
            for (var value : List.of("", " ", "+5", "-5", "5 5", "5,5", "5, 5",
                    "0x5", "5.0", "five", "5;", "\u0665", "5\u00a0")) {
                bad(400, head("Content-Length: " + value), "digits, one at"
                        + " least, and nothing else between the blanks");
            }
            bad(400, head("Content-Length: 5\r\nContent-Length: 5"), "a second"
                    + " Content-Length is refused, even an equal one");
            bad(400, head("Content-Length: 5\r\ncontent-length: 6"), "names"
                    + " are case-insensitive");
        }

        @Test
        void a_larger_body_is_413() {
            // rejects: an int that overflows
            for (var value : List.of("65537", "2147483648", "4294967301",
                    "9223372036854775808", "18446744073709551621",
                    "9".repeat(300))) {
                bad(413, head("Content-Length: " + value), "clamp the number"
                        + " while you read it, then compare it with the limit");
            }
        }

        @Test
        void Transfer_Encoding_is_501_and_with_Content_Length_400() {
            // rejects: ignored; only «chunked» looked for
            for (var value : List.of("chunked", "gzip", "", "identity")) {
                bad(501, head("transfer-encoding: " + value), "any"
                        + " Transfer-Encoding is refused");
                bad(400, head("Transfer-Encoding: " + value
                        + "\r\nContent-Length: 5"), "both: 400");
                bad(400, head("Content-Length: 5\r\nTransfer-Encoding: "
                        + value), "both, in either order: 400");
            }
            bad(400, "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
                    "HTTP/1.0 has no Transfer-Encoding: 400");
        }

        @Test
        void HTTP_1_1_needs_one_valid_Host() {
            bad(400, "GET / HTTP/1.1\r\n\r\n", "no Host: 400");
            bad(400, "GET / HTTP/1.1\r\nHosts: a\r\n\r\n", "no Host: 400");
            bad(400, head("Host: a"), "a second Host: 400");
            for (var host : List.of("a/b", "a b", "b@c", "a?", "a#", "a\"",
                    "\u00e4")) {
                bad(400, "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n",
                        "Host has isHost() bytes only");
            }
            bad(400, "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
                    "two are too many in HTTP/1.0, too");
            var parser = parser();
            for (var host : List.of("", "a.test:8080", "[::1]:80", " 1.2.3.4 ",
                    "A-z_%41")) {
                finds(parser, "GET / HTTP/1.1\r\nHost:" + host + "\r\n\r\n",
                        "GET NOT_FOUND keepAlive", "Host may be empty, and"
                                + " blanks around it are no part of it");
            }
            finds(parser, "GET / HTTP/1.0\r\n\r\n", "GET NOT_FOUND",
                    "HTTP/1.0 needs no Host");
        }

        @Test
        void Connection_close_is_an_option_in_a_list() {
            // rejects: contains("close"); the last field alone
            var parser = parser();
            for (var value : List.of("close", "Close", "CLOSE", "a, close",
                    "close,b", " close ,", "keep-alive, close", ",close")) {
                finds(parser, head("connection: " + value), "GET NOT_FOUND",
                        "endOption() behind each option, in lower case");
            }
            for (var value : List.of("keep-alive", "", "closed", "not-close",
                    "clos", "clo,se", "cl", "\"close\"")) {
                finds(parser, head("Connection: " + value),
                        "GET NOT_FOUND keepAlive", "an option is close as a"
                                + " whole, or it is not");
            }
            for (var both : List.of("close/b", "b/close", "b/close/c")) {
                finds(parser, head("Connection: " + both.replace("/",
                        "\r\nConnection: ")), "GET NOT_FOUND",
                        "all Connection fields together");
            }
            finds(parser, head("Connections: close\r\nX: close"),
                    "GET NOT_FOUND keepAlive", "Connection alone counts");
            finds(parser, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                    "GET NOT_FOUND", "HTTP/1.0 always ends here");
        }

        @Test
        void an_invalid_field_is_400() {
            for (var field : List.of("Host : a", ": a", "X", "X Y: a",
                    " X: a", "X: a\r\n b", "X: a\nY: b", "X: a\0b", "X: \u0001",
                    "X: \u007f", "X: a\rb", "(: a", "\u00e4: a", "\tX: a",
                    "X: a\r\r\n", "Connection: \0")) {
                bad(400, head(field), "a name is a token, with the colon right"
                        + " behind it; a value has no control character but"
                        + " HTAB; CR and LF come in pairs");
            }
            var parser = parser();
            for (var field : List.of("X:", "X: ", "X: a\tb  c", "X: \u00e4",
                    "X: a:b::", "!#$%&'*+-.^_`|~09: a", "X: \"()<>@,;\"")) {
                finds(parser, head(field), "GET NOT_FOUND keepAlive",
                        "values may have any byte but control characters; a"
                                + " byte of Java has a sign: & 0xff in parse()");
            }
        }

        @Test
        void a_head_knows_nothing_of_the_one_before_it() {
            // rejects: lengths, hosts, close that stay
            var parser = parser();
            for (int i = 0; i < 3; i++) {
                finds(parser, "POST /echo HTTP/1.1\r\nHost: a\r\n"
                        + "Content-Length: 7\r\nConnection: close\r\n\r\n", "POST ECHO",
                        "begin() clears the counts");
                finds(parser, "GET /count" + GET, "GET COUNT keepAlive",
                        "begin() clears close");
                Check.equal(0, parser.contentLength(), "contentLength() of a"
                        + " head without one, after one with 7", "begin()"
                        + " clears it");
            }
        }

        @Test
        void fields_may_be_split_anywhere() {
            var head = "POST /echo HTTP/1.1\r\nHost: a.test:80\r\n"
                    + "conTent-lengTh:  1234 \r\nX-Y: close \r\nConnection: a, close\r\n\r\n";
            for (int cut = 1; cut < head.length(); cut++) {
                var parser = parser();
                parses(ServerDuel.Progress.NEED_MORE, parser,
                        buffer(head.substring(0, cut)), "the first " + cut
                                + " bytes of " + shown(head));
                finds(parser, head.substring(cut), "POST ECHO", "keep the state"
                        + " of a field between calls");
                Check.equal(1234, parser.contentLength(), "contentLength(),"
                        + " split after " + cut + " bytes", "digits add up over"
                        + " several calls");
            }
        }

        @Test
        void fields_and_bodies_cost_no_allocation() {
            // rejects: a view of the body; a copy that nobody releases
            parsesForNothing("POST /echo HTTP/1.1\r\nHost: a.test\r\n"
                    + "User-Agent: curl/7.88.1\r\nAccept: */*\r\nConnection: keep-alive"
                    + "\r\nContent-Length: 12345\r\n\r\n");
            respondsForNothing(post("/echo", 5) + "hello");
        }

        @Test
        void POST_echo_returns_the_body_however_it_is_split() {
            // rejects: a body in the first read only; the next head in it
            var request = post("/echo", 10) + "0123456789";
            for (int cut = 1; cut < request.length(); cut++) {
                var channel = channel();
                channel.writeInbound(buffer(request.substring(0, cut)));
                var first = sent(channel);
                channel.writeInbound(buffer(request.substring(cut)
                        + "GET /count" + GET));
                Check.equal(List.of("0123456789", "2"), bodies(first
                        + sent(channel)), "the bodies, split after " + cut
                        + " bytes", "copy at most left bytes, and parse"
                        + " what follows");
            }
        }

        @Test
        void a_body_that_is_not_echoed_is_skipped() {
            // rejects: the body parsed as a request; echoed behind a 404
            var channel = channel();
            var smuggled = "GET /count" + GET;
            for (var row : List.of("POST /none", "POST /count", "PUT /echo")) {
                channel.writeInbound(buffer(post(row.split(" ")[1],
                        smuggled.length()).replace("POST /", row.substring(0,
                        row.indexOf('/') + 1)) + smuggled.substring(0, 5)));
                channel.writeInbound(buffer(smuggled.substring(5)
                        + "GET /plaintext" + GET));
                Check.equal(List.of("", "Hello, world!"), bodies(sent(channel)),
                        "the bodies after " + row + " with a body and GET"
                                + " /plaintext", "skip left bytes, unless it"
                                + " is /echo and the method is allowed");
            }
            channel.writeInbound(buffer("GET /plaintext HTTP/1.1\r\nHost: a\r\n"
                    + "Content-Length: 3\r\n\r\nabcGET /count" + GET));
            Check.equal(List.of("Hello, world!", "8"), bodies(sent(channel)),
                    "the bodies after a GET with a body", "skip it as well");
        }

        @Test
        void Connection_close_ends_the_connection_after_the_body() {
            var channel = channel();
            channel.writeInbound(buffer("POST /echo HTTP/1.1\r\nHost: a\r\n"
                    + "Connection: close\r\nContent-Length: 6\r\n\r\nabc"));
            var first = sent(channel);
            Check.that(channel.isOpen(), "the connection to stay open until the"
                    + " body has come", "it is over when no byte is left, too");
            channel.writeInbound(buffer("defGET /count" + GET));
            Check.equal(List.of("abcdef"), bodies(first + sent(channel)),
                    "the bodies", "serve nothing after the last request");
            Check.that(first.contains("\r\nConnection: close\r\n"),
                    "Connection: close, got " + shown(first), "CLOSE if last");
            Check.that(!channel.isOpen(), "the connection to be closed",
                    "last && body.left == 0");
        }

        @Test
        void both_servers_give_the_same_responses() throws Exception {
            // rejects: differences in status, body, fields, keep-alive
            var rows = List.of("GET /plaintext" + GET, "HEAD /plaintext" + GET,
                    "GET /count" + GET, "HEAD /count" + GET,
                    "GET /plaintext?a" + GET, "GET http://a/count" + GET,
                    "GET /none" + GET, "HEAD /none" + GET, "GET /" + GET,
                    "PUT /none" + GET, "POST /plaintext" + GET,
                    "DELETE /count" + GET, "PATCH /echo" + GET,
                    "GET /echo" + GET, "get /plaintext" + GET,
                    post("/echo", 0), post("/echo", 3) + "a\0b",
                    post("/echo", 1000) + "x".repeat(1000),
                    post("/none", 3) + "abc", post("/count", 3) + "abc",
                    "GET /plaintext HTTP/1.0\r\n\r\n",
                    "GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close"
                            + "\r\n\r\n",
                    "GET /none HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n"
                            + "\r\n",
                    "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                            + "Content-Length: 2\r\n\r\nhi",
                    "GET /count HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
                            + "\r\nhi");
            var jdk = closeLater(ServerDuel.start(ServerDuel.Kind.JDK, ANY));
            var netty = closeLater(
                    ServerDuel.start(ServerDuel.Kind.NETTY, ANY));
            for (var row : rows) {
                Check.equal(told(jdk, row), told(netty, row), "what NETTY"
                        + " answers to " + shown(row) + ", as JDK does",
                        "status, Content-Type, Content-Length, Allow, body,"
                                + " and whether the connection stays");
            }
        }

        @Test
        void a_413_reaches_a_client_that_is_still_sending() throws Exception {
            var told = exchange(channel(), post("/echo", 1 << 20));
            Check.that(told.startsWith("HTTP/1.1 413 "), "413 for a length of"
                    + " 1 MiB, got " + shown(told), "bad(413) in end()");
            var server = closeLater(
                    ServerDuel.start(ServerDuel.Kind.NETTY, ANY));
            var client = client(server);
            client.send(post("/echo", 1 << 20));
            for (int i = 0; i < 4; i++) {
                client.send("x".repeat(1 << 16));
            }
            is(client.answer(), 413, "", "keep close() as it was given: it"
                    + " reads on for a while, or else a reset may overtake the"
                    + " response");
            Check.equal(0L, server.requests(), "requests() after a head that"
                    + " was BAD", "respond() counts, refuse() does not");
        }

        private static String told(ServerDuel.Running server, String row)
                throws IOException {
            try (var client = client(server)) {
                var answer = row.startsWith("HEAD") ? client.head(row)
                        : client.ask(row);
                var fields = Stream.of("Content-Type", "Content-Length",
                        "Allow").map(name -> name + "=" + answer.field(name)
                        .orElse("none")).toList();
                // the count differs in nothing but that it grows
                return answer.status() + " " + fields + " " + answer.body()
                        + " " + (client.isServedAgain() ? "stays" : "ends");
            }
        }
    }

    @Step(value = 6, title = "Apply backpressure", further = true,
            leak = "a connection whose client does not read is closed with"
                    + " the server")
    class Apply_backpressure {

        private static final String STOP = "mayRespond() is false while the"
                + " channel is not writable";
        private static final String GO_ON = "channelWritabilityChanged():"
                + " setAutoRead(), and if it is writable serve() and send()";

        @Test
        void no_response_is_made_while_the_channel_is_not_writable() {
            // rejects: setAutoRead(false) alone
            var channel = channel();
            writable(channel, false);
            channel.writeInbound(buffer(("GET /count" + GET).repeat(3)));
            Check.equal(0, channel.outboundMessages().size(), "writes while the"
                    + " channel is not writable", STOP);
            writable(channel, true);
            Check.equal(List.of("1", "2", "3"), bodies(sent(channel)), "the"
                    + " bodies when it is writable again", GO_ON);
        }

        @Test
        void the_socket_is_read_only_while_the_channel_is_writable() {
            var channel = channel();
            body("1", exchange(channel, "GET /count" + GET), "a response");
            for (int i = 0; i < 2; i++) {
                for (boolean writable : new boolean[] {false, true}) {
                    writable(channel, writable);
                    Check.equal(writable, channel.config().isAutoRead(),
                            "isAutoRead() when the channel is " + (writable
                                    ? "" : "not ") + "writable", GO_ON);
                }
            }
        }

        @Test
        void bytes_that_come_meanwhile_are_served_in_their_order() {
            // rejects: a read that replaces what was left; auto-read that
            // stays off because something was left
            var channel = channel();
            channel.writeInbound(buffer("GET /cou"));
            writable(channel, false);
            var buffers = Stream.of("nt" + GET + post("/echo", 6), "abc",
                    "defGET /co", "unt" + GET).map(ServerDuelTest::buffer)
                    .toList();
            buffers.forEach(channel::writeInbound);
            Check.equal(0, channel.outboundMessages().size(), "writes while the"
                    + " channel is not writable", STOP);
            writable(channel, true);
            Check.equal(List.of("1", "abcdef", "3"), bodies(sent(channel)),
                    "the bodies when it is writable again", GO_ON);
            for (var each : buffers) {
                Check.equal(0, each.refCnt(), "refCnt() of a buffer that was"
                        + " read", "serve() releases in");
            }
            Check.equal(true, channel.config().isAutoRead(), "isAutoRead()"
                    + " when what was left is served", "setAutoRead() to"
                    + " whether the channel is writable, whatever is in in");
        }

        @Test
        void responses_are_handed_over_in_portions() {
            // rejects: one buffer for all responses to a read
            var channel = channel();
            channel.writeInbound(buffer(("GET /plaintext" + GET)
                    .repeat(10_000)));
            int largest = channel.outboundMessages().stream().mapToInt(each ->
                    ((ByteBuf) each).readableBytes()).max().orElse(0);
            Check.that(largest > 0 && largest < 64 * 1024, "writes of less than"
                    + " 64 KiB for 10,000 requests in one read, got one of "
                    + largest, "send() when out has MAX_OUT bytes");
            Check.equal(10_000, bodies(sent(channel)).size(), "responses",
                    "go on behind each portion while the channel is writable");
        }

        @Test
        void a_buffer_that_waits_is_released_with_the_connection() {
            var channel = channel();
            writable(channel, false);
            var waits = buffer("GET /count" + GET);
            channel.writeInbound(waits);
            channel.close();
            Check.equal(0, waits.refCnt(), "refCnt() of a buffer that waited"
                    + " when the connection was closed", "keep"
                    + " channelInactive() as it was given, and keep what waits in in");
        }

        @Test
        void a_client_that_does_not_read_is_not_served_for_ever()
                throws Exception {
            // rejects: responses that pile up; one view of a shared response
            body("1", exchange(channel(), "GET /count" + GET), "a response");
            int many = 10_000;
            try (var server = ServerDuel.start(ServerDuel.Kind.NETTY, ANY,
                    4 * 1024);
                 var socket = new Socket()) {
                socket.setReceiveBufferSize(4 * 1024);
                socket.setSendBufferSize(4 * 1024);
                socket.setSoTimeout(10_000);
                socket.connect(server.localAddress());
                var request = ("GET /count" + GET).getBytes();
                var written = new AtomicInteger();
                var writer = PendingCall.start(() -> {
                    for (int i = 0; i < many; i++) {
                        socket.getOutputStream().write(request);
                        written.incrementAndGet();
                    }
                    return null;
                });
                stands(written, server, many);
                Check.that(server.requests() < many, "less than " + many
                        + " requests to be served while the client reads"
                        + " nothing, got all", "stop parsing and reading while"
                        + " the channel is not writable");
                var in = new BufferedInputStream(socket.getInputStream());
                for (int i = 1; i <= many; i++) {
                    var body = response(in);
                    if (!body.equals("" + i)) {
                        throw History.fail("expected response " + i + " to have"
                                + " the body " + i + ", got " + body, "all"
                                + " responses, in order, each byte once");
                    }
                }
                Await.value(writer.outcome(), "the client to have written all",
                        GO_ON);
            }
        }

        /** Until neither the client's writes nor the server go on. */
        private static void stands(AtomicInteger written,
                ServerDuel.Running server, int many) throws Exception {
            long before = -1;
            for (int still = 0; still < 5 && written.get() < many; still++) {
                long now = written.get() + server.requests();
                still = now == before ? still : -1;
                before = now;
                Thread.sleep(10);   // both may be about to go on
            }
        }

        private static String response(InputStream in) throws IOException {
            var head = new StringBuilder();
            while (head.length() < 4 || head.indexOf("\r\n\r\n",
                    head.length() - 4) < 0) {
                int next = in.read();
                if (next < 0) {
                    throw History.fail("expected a response, got the end of"
                            + " the connection after " + shown("" + head), "");
                }
                head.append((char) next);
            }
            int at = head.indexOf("Content-Length: ") + 16;
            int length = Integer.parseInt(head.substring(at,
                    head.indexOf("\r", at)));
            return new String(in.readNBytes(length));
        }

        private static void writable(EmbeddedChannel channel, boolean is) {
            History.note("the channel is " + (is ? "" : "not ") + "writable");
            channel.unsafe().outboundBuffer().setUserDefinedWritability(1, is);
            channel.runPendingTasks();
            channel.checkException();
        }
    }

    // What the steps share.

    private static ByteBuf buffer(String text) {
        return Unpooled.wrappedBuffer(
                text.getBytes(StandardCharsets.ISO_8859_1));
    }

    private static ServerDuel.Parser parser() {
        return new ServerDuel.Parser(MAX_HEAD, MAX_BODY);
    }

    private static String head(String fields) {
        return "GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n\r\n";
    }

    private static String post(String path, int length) {
        return "POST " + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: "
                + length + "\r\n\r\n";
    }

    private static byte[] bytes(int size) {
        var bytes = new byte[size];
        for (int i = 0; i < size; i++) {
            bytes[i] = (byte) i;
        }
        return bytes;
    }

    /** In quotes, control characters as in a Java string. */
    private static String shown(String text) {
        var shown = text.length() <= 70 ? text : text.substring(0, 70) + "...";
        return "\"" + shown.replace("\r", "\\r").replace("\n", "\\n")
                .replace("\t", "\\t").replace("\0", "\\0")
                .replace("\u007f", "\\x7f") + "\"";
    }

    private static void parses(ServerDuel.Progress expected,
            ServerDuel.Parser parser, ByteBuf in, String what) {
        Check.equal(expected, parser.parse(in), "parse() of " + what,
                "READY comes at the LF of the empty line, not before; keep the"
                        + " state between calls");
    }

    private static void finds(ServerDuel.Parser parser, String head,
            String expected, String likely) {
        finds(parser, buffer(head), expected, likely);
    }

    private static void finds(ServerDuel.Parser parser, ByteBuf in,
            String expected, String likely) {
        var text = shown(in.toString(StandardCharsets.ISO_8859_1));
        var progress = parser.parse(in);
        var seen = progress == ServerDuel.Progress.BAD
                ? "BAD " + parser.badStatus()
                : progress == ServerDuel.Progress.NEED_MORE ? "NEED_MORE"
                : parser.method() + " " + parser.route()
                + (parser.keepAlive() ? " keepAlive" : "");
        Check.equal(expected, seen, "what the parser finds in " + text, likely);
    }

    /** Also byte by byte, because a status must not depend on that. */
    private static void bad(int status, String head, String likely) {
        var parser = parser();
        finds(parser, head, "BAD " + status, likely);
        Check.equal(status, parser.badStatus(), "badStatus()", likely);
        var single = parser();
        var progress = ServerDuel.Progress.NEED_MORE;
        for (int i = 0; i < head.length() && progress
                == ServerDuel.Progress.NEED_MORE; i++) {
            progress = single.parse(buffer(head.substring(i, i + 1)));
        }
        Check.equal(progress + " " + status, "BAD " + single.badStatus(),
                "what the parser finds in " + shown(head) + ", byte by byte",
                likely);
    }

    private static void length(int expected, ServerDuel.Parser parser,
            String field) {
        finds(parser, head(field), "GET NOT_FOUND keepAlive",
                "lower(b) in names; blanks around a value are no part of it;"
                        + " a length equal to the limit is allowed");
        Check.equal(expected, parser.contentLength(), "contentLength() of "
                + shown(field), "names.match(), in lower case; digits add up");
    }

    /** Whole, and in two buffers; after a warm-up. */
    private static void parsesForNothing(String head) {
        var parser = parser();
        var whole = buffer(head);
        var first = buffer(head.substring(0, 9));
        var second = buffer(head.substring(9));
        int runs = 5_000;
        long before = 0;
        for (int i = -200; i < runs; i++) {
            if (i == 0) {
                before = THREADS.getCurrentThreadAllocatedBytes();
            }
            parser.parse(whole.readerIndex(0));
            parser.parse(first.readerIndex(0));
            parser.parse(second.readerIndex(0));
        }
        double each = (THREADS.getCurrentThreadAllocatedBytes() - before)
                / 2.0 / runs;
        Check.equal(ServerDuel.Progress.READY, parser.parse(
                whole.readerIndex(0)), "parse() of " + shown(head), "");
        Check.that(each < 1, "less than a byte allocated for parsing "
                + shown(head) + ", got " + each, "no String, no boxing, no"
                + " array, no iterator, no values() of an enum: compare bytes"
                + " where they lie");
    }

    /** Many of one read, so that what Netty needs for a read is little. */
    private static void respondsForNothing(String request) {
        var channel = channel();
        channel.config().setAllocator(PooledByteBufAllocator.DEFAULT);
        var batch = buffer(request.repeat(400));
        double least = Double.MAX_VALUE;
        for (int round = 0; round < 5; round++) {
            long before = THREADS.getCurrentThreadAllocatedBytes();
            for (int i = 0; i < 5; i++) {
                batch.readerIndex(0);
                channel.writeInbound(batch.retain());
                while (channel.readOutbound() instanceof ByteBuf out) {
                    out.release();
                }
            }
            least = Math.min(least, (THREADS.getCurrentThreadAllocatedBytes()
                    - before) / 2e3);
        }
        Check.that(least < 16, "less than 16 bytes allocated for each of 400"
                + " requests " + shown(request) + " in one read, got " + least,
                "copy prepared bytes, and bodies with writeBytes(in, count);"
                        + " format numbers with writeNumber(); make no object"
                        + " in respond()");
    }

    /** A connection to NETTY's handler, without sockets. */
    private static EmbeddedChannel channel() {
        return new EmbeddedChannel(ServerDuel.fastHandler());
    }

    private static String exchange(EmbeddedChannel channel, String request) {
        channel.writeInbound(buffer(request));
        return sent(channel);
    }

    /** All that was written, which is released. */
    private static String sent(EmbeddedChannel channel) {
        var sent = new StringBuilder();
        while (channel.readOutbound() instanceof ByteBuf each) {
            sent.append(each.toString(StandardCharsets.ISO_8859_1));
            each.release();
        }
        return sent.toString();
    }

    private static void body(String expected, String response, String likely) {
        Check.equal(List.of(expected), response.contains("\r\n\r\n")
                ? List.of(response.substring(response.indexOf("\r\n\r\n") + 4))
                : List.of(), "the bodies that were sent", likely);
    }

    /** Of several responses, by their Content-Length. */
    private static List<String> bodies(String responses) {
        var bodies = new ArrayList<String>();
        for (int at = 0; at < responses.length(); ) {
            int end = responses.indexOf("\r\n\r\n", at);
            var length = Pattern.compile("Content-Length: (\\d+)").matcher(
                    end < 0 ? "" : responses.substring(at, end));
            if (!length.find()) {
                throw History.fail("expected a response with Content-Length,"
                        + " got " + shown(responses.substring(at)), "status"
                        + " line, date, fields, an empty line, and as many"
                        + " bytes of a body as Content-Length says");
            }
            at = end + 4 + Integer.parseInt(length.group(1));
            bodies.add(responses.substring(end + 4,
                    Math.min(at, responses.length())));
        }
        return bodies;
    }

    private static void is(HttpPeer.Answer answer, int status, String body,
            String likely) {
        Check.equal(status + " " + shown(body), answer.status() + " "
                + shown(answer.body()), "status and body", likely);
    }

    private static void field(HttpPeer.Answer answer, String name,
            String value, String likely) {
        Check.equal(value, answer.field(name).orElse("none"), name, likely);
    }

    private static Client client(ServerDuel.Running server)
            throws IOException {
        return closeLater(new Client(HttpPeer.connect(server.localAddress(),
                "client")));
    }

    /** A connection to a server. */
    private record Client(HttpPeer peer) implements AutoCloseable {

        private static final String LIKELY = "start the server; close the"
                + " exchange, however serve() ends; Content-Length must be true, and -1 is for"
                + " no body; one thread cannot serve all exchanges: set the"
                + " executor";

        void send(String text) throws IOException {
            peer.play(LIKELY, new Action.Send(
                    text.getBytes(StandardCharsets.ISO_8859_1)));
        }

        HttpPeer.Answer ask(String request) throws IOException {
            send(request);
            return answer();
        }

        HttpPeer.Answer ask(String head, byte[] body) throws IOException {
            send(head);
            peer.play(LIKELY, new Action.Send(body));
            return answer();
        }

        HttpPeer.Answer answer() throws IOException {
            return peer.answer(LIKELY);
        }

        HttpPeer.Answer head(String request) throws IOException {
            send(request);
            return peer.head(LIKELY);
        }

        HttpPeer.Answer head(String head, byte[] body) throws IOException {
            send(head);
            peer.play(LIKELY, new Action.Send(body));
            return peer.head(LIKELY);
        }

        byte[] bytes(int count) throws IOException {
            return peer.bytes(count, count + " bytes of a body", LIKELY);
        }

        /** Whether the connection still serves; if not, it must be closed. */
        boolean isServedAgain() throws IOException {
            try {
                return head("HEAD /plaintext" + GET).status() == 200;
            } catch (AssertionError | IOException e) {
                return false;
            }
        }

        @Override
        public void close() throws IOException {
            peer.close();
        }
    }

    /** A server that allocates so many bytes for its n-th request. */
    private static final class Known implements AutoCloseable {

        final AtomicInteger served = new AtomicInteger();
        private static volatile byte[] garbage;
        private final ServerSocket listener = new ServerSocket();
        private final IntUnaryOperator cost;
        private final List<Thread> threads = new ArrayList<>();

        Known(IntUnaryOperator cost, boolean virtual) throws IOException {
            this.cost = cost;
            listener.bind(ANY);
            var builder = virtual ? Thread.ofVirtual() : Thread.ofPlatform();
            threads.add(builder.start(() -> {
                try {
                    while (true) {
                        var socket = listener.accept();
                        synchronized (threads) {
                            threads.add(builder.start(() -> serve(socket)));
                        }
                    }
                } catch (IOException e) {
                    // closed
                }
            }));
        }

        /** Allocates so many bytes in a thread that ends; 0 for itself. */
        static int inShortThread(int size) {
            var thread = Thread.ofPlatform().start(
                    () -> garbage = new byte[size]);
            try {
                thread.join();
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
            return 0;
        }

        InetSocketAddress address() {
            return (InetSocketAddress) listener.getLocalSocketAddress();
        }

        private void serve(Socket socket) {
            var response = ("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n"
                    + "Hello, world!").getBytes();
            var bytes = new byte[4 * 1024];
            int newlines = 0;
            try (socket) {
                socket.setTcpNoDelay(true);
                for (int count; (count = socket.getInputStream().read(bytes))
                        > 0; ) {
                    for (int i = 0; i < count; i++) {
                        newlines = bytes[i] == '\n' ? newlines + 1
                                : bytes[i] == '\r' ? newlines : 0;
                        if (newlines == 2) {
                            int size = cost.applyAsInt(
                                    served.getAndIncrement());
                            garbage = size == 0 ? null : new byte[size];
                            socket.getOutputStream().write(response);
                            newlines = 0;
                        }
                    }
                }
            } catch (IOException e) {
                // the client has gone
            }
        }

        @Override
        public void close() throws Exception {
            listener.close();
            List<Thread> all;
            synchronized (threads) {
                all = List.copyOf(threads);
            }
            for (var thread : all) {
                thread.join(10_000);
            }
        }
    }
}
