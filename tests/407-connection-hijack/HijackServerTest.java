///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//SOURCES ../../labs/407-connection-hijack/HijackServer.java
//SOURCES ../kit/*.java

import static kit.Action.close;
import static kit.Action.reset;
import static kit.Action.send;
import static kit.Action.sendSingly;
import static kit.Expectation.end;
import static kit.Expectation.gone;
import static kit.Expectation.receive;
import static kit.Expectation.silence;
import static kit.TestLifecycle.closeLater;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import kit.Action;
import kit.Await;
import kit.Check;
import kit.Expectation;
import kit.History;
import kit.HttpPeer;
import kit.Lab;
import kit.Patience;
import kit.PendingCall;
import kit.Step;
import okhttp3.ConnectionSpec;
import okhttp3.OkHttpClient;
import okhttp3.Response;
import okhttp3.WebSocket;
import okhttp3.WebSocketListener;
import org.junit.jupiter.api.Test;

/**
 * Lab 407, step by step. The server is looked at from outside only: through its public methods and its sockets; frames
 * also by the method {@code readFrame} that the skeleton names. A comment {@code rejects:} names the wrong servers that
 * a test is there for.
 */
@Lab
class HijackServerTest {

    private static final HijackServer.Options PLAIN = HijackServer.Options.defaults();
    private static final HijackServer.Limits LIMITS = HijackServer.Limits.defaults();
    private static final InetSocketAddress ANY_PORT = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);

    @Step(value = 1, title = "Serve plain requests")
    class Serve_plain_requests {

        private static final String LOOP = "answer() requests in a loop, on one connection, until one was the last";

        @Test
        void requests_are_answered_on_one_connection() throws Exception {   // rejects: one request a connection
            var server = serve((request, response) -> response.send(request.path()), PLAIN);
            var client = client(server, "client");
            for (int i = 1; i <= 5; i++) {
                client.play("", send(get("/" + i)));
                var answer = answered(client, 200, "/" + i, LOOP);
                Check.equal(Optional.empty(), answer.field("Connection"), "the field Connection of answer " + i,
                        "keepsAlive() is true for HTTP/1.1, unless the client says close");
            }
            Check.equal(5L, server.stats().requests(), "stats().requests()", "");
        }

        @Test
        void requests_sent_in_one_write_or_byte_by_byte_are_answered_in_order() throws Exception {
            // rejects: a reader made anew for each request, which loses what the one before has read ahead
            var client = client(serve((request, response) -> response.send(request.path()), PLAIN), "client");
            client.play("", send(get("/1") + get("/2") + get("/3")));
            for (int i = 1; i <= 3; i++) {
                answered(client, 200, "/" + i, LOOP);
            }
            client.play("", sendSingly(get("/4")));
            answered(client, 200, "/4", LOOP);
        }

        @Test
        void the_connection_closes_after_the_answer_that_says_Connection_close() throws Exception {
            // rejects: a rule that compares the whole field, a loop that does not ask response.keepsAlive()
            var server = serve((request, response) -> response.send("bye"), PLAIN);
            for (var value : List.of("close", "Close", "TE, close", "keep-alive,CLOSE")) {
                var client = client(server, "client").play("", send(get("/", "Connection: " + value) + get("/next")));
                var answer = answered(client, 200, "bye", "");
                Check.equal(Optional.of("close"), answer.field("Connection"), "the field Connection of the answer to "
                        + "«Connection: " + value + "»", "keepsAlive() is false then; Connection is a list of words: hasToken()");
                client.play("the answer has said close: end the loop, and leave()", gone());
            }
            var careful = serve((request, response) -> response.header("Connection", "close").send("bye"), PLAIN);
            var client = client(careful, "client").play("", send(get("/")));
            answered(client, 200, "bye", "");
            client.play("the handler has said close: whether the loop goes on is what response.keepsAlive() says", end());
            var old = client(server, "client").play("", send("GET / HTTP/1.0\r\n\r\n"));
            answered(old, 200, "bye", "");
            old.play("HTTP/1.0 knows no other sign of the end: keepsAlive() is false for it", end());
        }

        @Test
        void a_body_that_the_handler_did_not_read_is_skipped() throws Exception {
            // rejects: a loop that takes the body for the next request
            var client = client(serve((request, response) -> response.send(request.path()), PLAIN), "client");
            client.play("", send(post("/1", "Content-Length: 25") + "GET /lie HTTP/1.1\r\nx: y\r\n"),
                    send(post("/2", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n"), send(get("/3")));
            for (int i = 1; i <= 3; i++) {
                answered(client, 200, "/" + i, "the body lies before the next request: skipRest()");
            }
        }

        @Test
        void after_an_unread_body_that_is_long_or_malformed_the_connection_closes() throws Exception {
            // rejects: a loop that goes on although skipRest() said no, an answer 400 behind the answer 200
            var server = serve((request, response) -> response.send("no, thanks"), PLAIN);
            for (var body : List.of("Content-Length: 9000000|" + "j".repeat(100_000),
                    "Transfer-Encoding: chunked|5\r\nhello\r\nfive\r\n")) {
                var parts = body.split("[|]");
                var client = client(server, "client").play("", send(post("/", parts[0]) + parts[1] + get("/next")));
                answered(client, 200, "no, thanks", "the answer must arrive, whatever is still unread: client.close()");
                client.play("where skipRest() is false, the connection has to end, without another answer", gone());
            }
        }

        @Test
        void a_handler_that_throws_or_sends_nothing_is_answered_with_500() throws Exception {
            // rejects: a loop that leaves the client waiting, one that takes an IOException for the client's
            var server = serve((request, response) -> {
                switch (request.path()) {
                    case "/exception" -> throw new IllegalStateException("this handler is broken");
                    case "/io" -> throw new IOException("the database is gone");
                    default -> response.status(204);
                }
            }, PLAIN);
            for (var path : List.of("/exception", "/io", "/nothing")) {
                var client = client(server, "client").play("", send(get(path) + get("/next")));
                answered(client, 500, "", path.equals("/nothing")
                        ? "the handler has returned, and the response is still OPEN: fail()"
                        : "catch what the handler throws, and let the response fail()");
                client.play("after a failure the connection ends", gone());
            }
        }

        @Test
        void a_handler_that_throws_after_its_answer_adds_no_second_answer() throws Exception {
            // rejects: 500 after 200, catch (Exception e)
            var server = serve((request, response) -> {
                if (request.path().equals("/error")) {
                    throw new AssertionError("this handler is broken");
                }
                response.send("so far");
                if (request.path().equals("/")) {
                    throw new IOException("this one, too");
                }
            }, PLAIN);
            var broken = client(server, "client 1").play("", send(get("/error")));
            answered(broken, 500, "", "an Error, too, is this client's alone: catch Throwable");
            broken.play("after a failure the connection ends", gone());
            var client = client(server, "client 2").play("", send(get("/") + get("/next")));
            answered(client, 200, "so far", "");
            client.play("there is one answer to a request, and after a failure the connection ends", gone());
            answered(client(server, "client 3").play("", send(get("/fine"))), 200, "so far", "a broken handler harms nobody else");
        }

        @Test
        void a_malformed_request_is_refused_and_the_next_one_is_not_read() throws Exception {
            // rejects: a loop that goes on after refuse(): two programs then see two different requests (smuggling)
            var handled = new LinkedBlockingQueue<String>();
            var server = serve((request, response) -> {
                request.body().readAllBytes();
                handled.add(request.path());
                response.send("");
            }, PLAIN.withMaxHeadBytes(1000));
            var rows = List.of(
                    "400 GET / HTTP/1.1\r\n\r\n",
                    "400 GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                    "400 GET / HTTP/1.1\r\nHost: a\r\nx : y\r\n\r\n",
                    "400 GET / HTTP/1.1\r\nHost: a\r\nx: y\r\n z\r\n\r\n",
                    "400 POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                    "400 POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
                    "431 GET / HTTP/1.1\r\nHost: a\r\nx: " + "y".repeat(1000) + "\r\n\r\n",
                    "505 GET / HTTP/2.0\r\nHost: a\r\n\r\n",
                    "400 GET / HTTP/1.1\r\nHost: a/b@c d\r\n\r\n",
                    "400 GET / HTTP/1.1\nHost: a\n\n",
                    "400 POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
                    "501 POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
                    chunked("five\r\nhello\r\n"), chunked(";\r\n"), chunked(" 5\r\nhello\r\n"),
                    chunked("3\nabc\r\n0\r\n\r\n"), chunked("3;x\nyy\r\nabc\r\n0\r\n\r\n"),
                    chunked("3\r\nabc\n0\r\n\r\n"), chunked("3\r\nabcd\r\n0\r\n\r\n"));
            for (var row : rows) {
                var client = client(server, "client");
                client.play("", send(row.substring(4) + get("/smuggled")));
                var answer = client.answer("refuse() the client for a BadRequestException; where the handler passes "
                        + "one on, fail() answers it");
                Check.equal(Integer.parseInt(row.substring(0, 3)), answer.status(), "the status", "");
                client.play("nobody knows where the next request begins: refuse(), and leave()", gone());
            }
            Check.equal(List.of(), List.copyOf(handled), "the requests that were handled",
                    "after a bad request the loop must end");
            Check.equal(12L, server.stats().badRequests(), "stats().badRequests()", "refuse() counts each bad head once");
        }

        private static String chunked(String body) {
            return "400 POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body;
        }

        @Test
        void a_silent_client_and_a_slow_head_are_timed_out() throws Exception {   // rejects: a thread that dies of a timeout
            var server = serve((request, response) -> response.send("hello"),
                    PLAIN.withIdleTimeout(millis(20)).withHeadTimeout(millis(60)));
            client(server, "client 1").play("nextRequest() threw an IOException: leave()", end());
            var patient = serve((request, response) -> response.send("hello"), PLAIN.withHeadTimeout(millis(60)));
            var client = client(patient, "client 2").play("", send("GET / HT"));
            var dripping = Thread.ofVirtual().name("kit-drip").start(() -> {
                try {
                    while (true) {
                        Thread.sleep(10);   // each byte comes in time, all together do not
                        client.play("", send("T"));
                    }
                } catch (IOException | InterruptedException | AssertionError e) {
                    // The server has had enough.
                }
            });
            Check.equal(408, client.answer("a BadRequestException has to be answered: refuse()").status(), "the status", "");
            dripping.interrupt();
        }

        @Test
        void a_client_that_disconnects_does_not_affect_other_connections() throws Exception {
            var server = serve((request, response) -> {
                request.body().readAllBytes();
                response.send("whole");
            }, PLAIN);
            client(server, "client 1").play("", send("GET / HT"), close());
            client(server, "client 2").play("", send(post("/", "Content-Length: 10") + "half"), reset());
            client(server, "client 3").play("", send(get("/") + get("/")), close());
            answered(client(server, "client 4").play("", send(get("/"))), 200, "whole", "one client has stopped the server");
            Await.until(() -> server.stats().httpConnections() == 1, "that stats().httpConnections() becomes 1",
                    "leave() in finally: the connection stays open");
        }

        @Test
        void shutdown_waits_for_the_current_request() throws Exception {
            // rejects: a keepsAlive() that does not know of the shutdown
            var inHand = new CountDownLatch(1);
            var mayAnswer = new CountDownLatch(1);
            var server = serve((request, response) -> {
                if (request.path().equals("/slow")) {
                    inHand.countDown();
                    mayAnswer.await();
                }
                response.send("done");
            }, PLAIN);
            var idle = client(server, "client 1").play("", send(get("/")));
            answered(idle, 200, "done", "");
            var busy = client(server, "client 2").play("", send(get("/slow") + get("/next")));
            Await.open(inHand, "that the handler runs", "");
            var shutdown = background(() -> server.shutdown(Duration.ofSeconds(20)));
            idle.play("a client that waits for nothing is sent away by shutdown(), which is given", gone());
            mayAnswer.countDown();
            var answer = answered(busy, 200, "done", "shutdown() waits for it");
            Check.equal(Optional.of("close"), answer.field("Connection"), "the field Connection while the server closes",
                    "keepsAlive() is false while closing");
            busy.play("while the server closes, the request in hand is the last", end(), close());
            Check.that(Await.value(shutdown, "that shutdown() returns", "leave(), and end the loop"),
                    "shutdown() to be true, as nobody was cut, got false", "leave(), and end the loop");
        }

        @Test
        void OkHttp_sends_100_requests_on_one_connection() throws Exception {   // a peer that nobody here wrote
            var connections = new ArrayList<Integer>();
            var server = serve((request, response) -> response.send(request.method() + " "
                    + new String(request.body().readAllBytes(), StandardCharsets.UTF_8)), PLAIN);
            var okHttp = okHttp();
            for (int i = 1; i <= 100; i++) {
                var body = okhttp3.RequestBody.create("door " + i, null);
                var request = new okhttp3.Request.Builder().url("http://" + shown(server) + "/").post(body).build();
                try (var response = okHttp.newCall(request).execute()) {
                    Check.equal("POST door " + i, response.body().string(), "answer " + i, "");
                }
                connections.add(server.stats().httpConnections());
            }
            Check.equal(1L, connections.stream().distinct().count(), "different stats().httpConnections() on the way", LOOP);
            Check.equal(1, server.stats().httpConnections(), "stats().httpConnections()", LOOP);
        }

        @Test
        void the_exception_names_the_wrong_argument() throws Exception {
            var server = serve((request, response) -> {
                for (var field : List.of("X-Door|3\r\nX-Evil: 1", "X Door|3", "|3", "Content-Length|5",
                        "transfer-encoding|chunked")) {
                    var parts = field.split("[|]");
                    Check.fails(IllegalArgumentException.class, () -> response.header(parts[0], parts[1]),
                            "header(\"" + parts[0] + "\", …)", "that is given");
                }
                response.send("refused");
            }, PLAIN);
            answered(client(server, "client").play("", send(get("/"))), 200, "refused", "");
            Check.named("bind", () -> HijackServer.start(null, (request, response) -> { }, PLAIN));
            Check.named("handler", () -> HijackServer.start(ANY_PORT, null, PLAIN));
            Check.named("options", () -> HijackServer.start(ANY_PORT, (request, response) -> { }, null));
            Check.named("maxConnections", () -> PLAIN.withMaxConnections(0));
            Check.named("maxHeadBytes", () -> PLAIN.withMaxHeadBytes(63));
            Check.named("maxBodyBytes", () -> PLAIN.withMaxBodyBytes(-1));
            Check.named("headTimeout", () -> PLAIN.withHeadTimeout(millis(-1)));
            Check.named("idleTimeout", () -> PLAIN.withIdleTimeout(millis(-1)));
            Check.named("maxFrame", () -> LIMITS.withMaxFrame(124));
            Check.named("maxMessage", () -> LIMITS.withMaxMessage(0));
            Check.named("pingInterval", () -> LIMITS.withPingInterval(millis(-1)));
            Check.named("closeTimeout", () -> LIMITS.withCloseTimeout(millis(-1)));
        }
    }

    @Step(value = 2, title = "Hand over the connection")
    class Hand_over_the_connection {

        private static final String BUFFER = "the server has read ahead: hand out client.input, not the socket's own stream";
        private static final String LOOP_ENDS =
                "the server still reads: its loop ends when the connection was handed over";

        @Test
        void after_hijack_the_handler_reads_and_writes_the_connection() throws Exception {
            var server = serve((request, response) -> talk(response.hijack()), PLAIN);
            client(server, "client").play("handOver() lets the handler have the streams", send(get("/")),
                    receive("raw\n"), send("hello\n"), receive("hello\n"));
            Check.equal(1L, server.stats().hijackedTotal(), "stats().hijackedTotal()", "handOut() counts it");
            Check.equal(1, server.stats().hijackedOpen(), "stats().hijackedOpen()", "handOut() counts it");
            Check.equal(0, server.stats().httpConnections(), "stats().httpConnections()", "handOut() counts it");
        }

        @Test
        void bytes_that_came_with_the_request_are_read_first() throws Exception {
            // rejects: socket.getInputStream(), which knows nothing of what the server has read ahead
            var server = serve((request, response) -> talk(response.hijack()), PLAIN);
            client(server, "client 1").play(BUFFER, send(get("/") + "EARLYDATA"), receive("raw\nEARLYDATA"),
                    send(", and more"), receive(", and more"));
            client(server, "client 2").play("early bytes may come at any moment: do not look for them once",
                    sendSingly(get("/") + "EARLY"), receive("raw\nEARLY"));
            var early = numbers(20_000);   // more than any buffer holds
            client(server, "client 3").play(BUFFER, send(get("/") + early), receive("raw\n" + early));
        }

        @Test
        void the_second_request_of_a_connection_can_be_hijacked() throws Exception {
            // rejects: what was read ahead of the first request counted as the second's
            var server = serve((request, response) -> {
                if (request.path().equals("/plain")) {
                    response.send("plain");
                } else {
                    talk(response.hijack());
                }
            }, PLAIN);
            var client = client(server, "client").play("", send(get("/plain") + get("/raw") + "EARLY"));
            answered(client, 200, "plain", "");
            client.play(BUFFER, receive("raw\nEARLY"), send("LATE"), receive("LATE"));
        }

        @Test
        void buffered_returns_the_number_of_bytes_read_ahead() throws Exception {
            // how much a server reads ahead is its own choice: 0 is legal
            var before = new CompletableFuture<Integer>();
            var after = new CompletableFuture<Integer>();
            var server = serve((request, response) -> {
                try (var hijacked = response.hijack()) {
                    before.complete(hijacked.buffered());
                    hijacked.in().readNBytes(9);
                    after.complete(hijacked.buffered());
                }
            }, PLAIN);
            client(server, "client").play("", send(get("/") + "EARLYDATA"), gone());
            int count = Await.value(before, "that the handler runs", "");
            Check.that(count >= 0 && count <= 9, "buffered() of 0 to 9 before the 9 early bytes are read, got " + count, "");
            Check.equal(0, Await.value(after, "that 9 early bytes can be read", BUFFER),
                    "buffered() after all early bytes were read", BUFFER);
        }

        @Test
        void the_server_leaves_the_connection_alone_when_the_handler_returns() throws Exception {
            // rejects: 500 because nothing was sent, try-with-resources around the socket, a loop that still reads requests
            var taken = new CompletableFuture<Taken>();
            var server = serve((request, response) -> taken.complete(Taken.from(response)), PLAIN);
            var client = client(server, "client").play("", send(get("/")));
            var hijacked = afterItsHandler(taken);
            client.play("leave() does not close what was handed over, and nobody answers for it", silence(millis(20)));
            hijacked.out().write(bytes("still mine\n"));
            client.play("", receive("still mine\n"));
            client.play(LOOP_ENDS, send(get("/none")), silence(millis(20)));
            Check.equal(get("/none"), read(hijacked, get("/none").length()), "what another thread reads after the handler "
                    + "has returned", LOOP_ENDS);
            Check.equal(1L, server.stats().requests(), "stats().requests()", LOOP_ENDS);
        }

        @Test
        void a_hijacked_connection_has_no_timeout() throws Exception {   // rejects: HTTP's SO_TIMEOUT left on
            var options = PLAIN.withIdleTimeout(millis(50)).withHeadTimeout(millis(50));
            var server = serve((request, response) -> talk(response.hijack()), options);
            var client = hijacked(server);
            Thread.sleep(150);   // a silence three times as long as HTTP allows
            client.play("the timeout for HTTP is still on: setSoTimeout(0)", send("late\n"), receive("late\n"));
        }

        @Test
        void a_hijacked_connection_does_not_count_for_maxConnections() throws Exception {
            var server = serve((request, response) -> talk(response.hijack()), PLAIN.withMaxConnections(1));
            for (int i = 1; i <= 3; i++) {
                client(server, "client " + i).play("hand out by handOut(): HTTP has one place more then",
                        send(get("/")), receive("raw\n"));
            }
            Check.equal(3, server.stats().hijackedOpen(), "stats().hijackedOpen()", "");
        }

        @Test
        void each_connection_has_a_buffer_of_its_own() throws Exception {   // rejects: a buffer shared by all
            var server = serve((request, response) -> talk(response.hijack()), PLAIN);
            var first = client(server, "client 1").play(BUFFER, send(get("/") + "al"), receive("raw\nal"));
            client(server, "client 2").play(BUFFER, send(get("/") + "be"), receive("raw\nbe"), send("ta"), receive("ta"));
            first.play(BUFFER, send("pha"), receive("pha"));
        }

        @Test
        void hijack_after_an_answer_or_a_hijack_is_an_IllegalStateException() throws Exception {
            var server = serve((request, response) -> {
                if (request.path().equals("/late")) {
                    response.send("answered");
                    refusesToHijack(response, "hijack() after send()");
                    return;
                }
                var hijacked = response.hijack();
                refusesToHijack(response, "hijack() after hijack()");
                Check.fails(IllegalStateException.class, () -> response.send("too late"), "send() after hijack()", "");
                talk(hijacked);
            }, PLAIN);
            var client = client(server, "client 1");
            for (int i = 1; i <= 2; i++) {
                client.play("", send(get("/late")));
                answered(client, 200, "answered", "hijack() after send() is an IllegalStateException, and changes nothing");
            }
            Check.equal(0L, server.stats().hijackedTotal(), "stats().hijackedTotal()", "look at the state first");
            client(server, "client 2").play("the second hijack() is an IllegalStateException, and changes nothing",
                    send(get("/")), receive("raw\n"), send("hello"), receive("hello"));
            Check.equal(1L, server.stats().hijackedTotal(), "stats().hijackedTotal()", "look at the state first");
        }

        @Test
        void hijack_before_the_body_is_read_is_an_IllegalStateException() throws Exception {
            // rejects: early bytes that are really the rest of a body
            var server = serve((request, response) -> {
                refusesToHijack(response, "hijack() before the body is read");
                var body = new String(request.body().readAllBytes(), StandardCharsets.UTF_8);
                var hijacked = response.hijack();
                hijacked.out().write(bytes(body + "|"));
                talk(hijacked);
            }, PLAIN);
            var likely = "while the body is not read, hijack() is an IllegalStateException; afterwards it is fine";
            client(server, "client 1").play(likely, send(post("/", "Content-Length: 4") + "bodyEARLY"),
                    receive("body|raw\nEARLY"));
            client(server, "client 2").play(likely, send(post("/", "Transfer-Encoding: chunked")
                    + "4\r\nbody\r\n0\r\n\r\nEARLY"), receive("body|raw\nEARLY"));
        }

        /** A connection, and the thread of its handler. */
        private record Taken(HijackServer.Hijacked hijacked, Thread thread) {

            static Taken from(HijackServer.Response response) throws IOException {
                return new Taken(response.hijack(), Thread.currentThread());
            }
        }

        /**
         * The connection, when the handler has returned and the server has done what it does then. Both are on one
         * thread: where that does not end, the server goes on with the connection, and gets some time to show it.
         */
        private HijackServer.Hijacked afterItsHandler(CompletableFuture<Taken> taken) throws InterruptedException {
            var connection = Await.value(taken, "that the handler has the connection", "");
            connection.thread().join(millis(100));
            return closeLater(connection.hijacked());
        }

        /** On a busy machine a client may be too slow for HTTP's 50 ms: it may try again. */
        private HttpPeer hijacked(HijackServer server) throws IOException {
            for (int i = 1; ; i++) {
                try {
                    return client(server, "client").play("", send(get("/")), receive("raw\n"));
                } catch (AssertionError e) {
                    if (i == 5) {
                        throw e;
                    }
                }
            }
        }

        /** The handler fails, and the client is told 500, if hijack() does not refuse. */
        private void refusesToHijack(HijackServer.Response response, String what) {
            Check.fails(IllegalStateException.class, response::hijack, what, "");
        }
    }

    @Step(value = 3, title = "Settle who closes the connection")
    class Settle_who_closes_the_connection {

        @Test
        void close_closes_the_connection_and_may_be_called_again() throws Exception {   // rejects: a count for each call of close()
            var kept = new LinkedBlockingQueue<HijackServer.Hijacked>();
            var server = serve((request, response) -> kept.add(response.hijack()), PLAIN);
            var client = client(server, "client 1").play("", send(get("/") + "EARLY"));
            var first = taken(kept);
            var other = client(server, "client 2").play("", send(get("/")));
            var second = closeLater(taken(kept));
            first.out().write(bytes("bye\n"));
            first.close();
            first.close();
            first.in().close();
            client.play("close() ends what was handed over", receive("bye\n"), gone());
            Check.equal(1, server.stats().hijackedOpen(), "stats().hijackedOpen() of 2, one of them closed three times",
                    "end() takes the connection from hijacked, and only the first end() counts");
            second.out().write(bytes("still here\n"));
            other.play("", receive("still here\n"));
            Check.fails(IOException.class, () -> first.in().read(), "in().read() after close()", "close the socket");
            Check.fails(IOException.class, () -> first.out().write(1), "out().write() after close()", "close the socket");
        }

        @Test
        void close_wakes_a_thread_that_is_blocked_in_a_read() throws Exception {
            var kept = new LinkedBlockingQueue<HijackServer.Hijacked>();
            var woken = new CompletableFuture<String>();
            var server = serve((request, response) -> {
                var hijacked = response.hijack();
                kept.add(hijacked);
                try {
                    hijacked.out().write(bytes("reading\n"));
                    woken.complete("read " + hijacked.in().read());
                } catch (IOException e) {
                    woken.complete("an IOException");
                }
            }, PLAIN);
            client(server, "client").play("", send(get("/")), receive("reading\n"));
            taken(kept).close();
            Check.equal("an IOException", Await.value(woken, "that read() ends", "close the socket"), "the end of read()", "");
        }

        @Test
        void a_connection_is_closed_when_the_handler_that_hijacked_it_throws() throws Exception {
            // rejects: a connection that nobody will ever close
            var kept = new LinkedBlockingQueue<HijackServer.Hijacked>();
            var server = serve((request, response) -> {
                kept.add(response.hijack());
                if (request.path().equals("/error")) {
                    throw new AssertionError("this handler is broken");
                }
                throw new IOException("this one, too");
            }, PLAIN);
            for (var path : List.of("/exception", "/error")) {
                client(server, "client").play("a handler that threw cannot close any more: abandon() does", send(get(path)),
                        end());
            }
            Await.until(() -> server.stats().hijackedOpen() == 0, "that stats().hijackedOpen() becomes 0",
                    "abandon() lets end() do it");
            Check.equal(0L, server.stats().reclaimed(), "stats().reclaimed()", "the collector had nothing to do with it");
        }

        @Test
        void a_connection_that_is_no_longer_referenced_is_reclaimed_by_the_Cleaner() throws Exception {
            // rejects: a server that leaves it to luck, or holds what it hands out, or counts each that is collected
            var server = serve((request, response) -> {
                var hijacked = response.hijack();
                if (request.path().equals("/closed")) {
                    hijacked.close();
                }
            }, PLAIN);
            for (int i = 1; i <= 3; i++) {
                client(server, "client " + i).play("", send(get("/closed")), end());
            }
            var dropped = client(server, "client 4").play("", send(get("/dropped")));
            collect(server, 1);
            dropped.play("reclaim() lets end() close it", end());
            Check.equal(0, server.stats().hijackedOpen(), "stats().hijackedOpen()", "reclaim() lets end() do it");
            collectSome();
            Check.equal(1L, server.stats().reclaimed(), "stats().reclaimed() of 4 that were dropped, 3 of them closed",
                    "reclaim() counts only where its end() was the first");
        }

        @Test
        void shutdown_leaves_hijacked_connections_open() throws Exception {   // rejects: shutdown() that ends what was handed over
            var server = serve((request, response) -> talk(response.hijack()), PLAIN);
            var client = client(server, "client").play("", send(get("/")), receive("raw\n"));
            Check.that(server.shutdown(Duration.ZERO), "shutdown() to be true, as HTTP had nobody to cut, got false", "");
            client.play("shutdown() is for HTTP: it neither waits for hijacked connections nor ends them", send("alive\n"),
                    receive("alive\n"));
            Check.equal(1, server.stats().hijackedOpen(), "stats().hijackedOpen() after shutdown()", "");
        }

        @Test
        void close_of_the_server_closes_hijacked_connections() throws Exception {   // rejects: close() that is shutdown() alone
            var kept = new LinkedBlockingQueue<HijackServer.Hijacked>();
            var server = serve((request, response) -> {
                if (request.path().equals("/talk")) {
                    talk(response.hijack());
                } else {
                    kept.add(response.hijack());
                }
            }, PLAIN);
            var talking = client(server, "client 1").play("", send(get("/talk")), receive("raw\n"));
            var silent = client(server, "client 2").play("", send(get("/keep")));
            taken(kept);
            server.close();
            talking.play("close() ends hijacked connections as well: endHijacked()", gone());
            silent.play("close() ends hijacked connections as well: endHijacked()", gone());
            Check.equal(0, server.stats().hijackedOpen(), "stats().hijackedOpen() after close()",
                    "endHijacked() lets end() do it");
            Check.equal(0L, server.stats().reclaimed(), "stats().reclaimed()", "the collector had nothing to do with it");
        }

        @Test
        void a_reference_to_one_of_its_streams_keeps_the_connection_open() throws Exception {   // rejects: streams that do not hold what they belong to
            var in = new LinkedBlockingQueue<InputStream>();
            var out = new LinkedBlockingQueue<OutputStream>();
            var server = serve((request, response) -> {
                var hijacked = response.hijack();
                switch (request.path()) {
                    case "/in" -> in.add(hijacked.in());
                    case "/out" -> out.add(hijacked.out());
                    default -> { }   // dropped
                }
            }, PLAIN);
            var writer = client(server, "client 1").play("", send(get("/in")));
            var reader = client(server, "client 2").play("", send(get("/out")));
            client(server, "client 3").play("", send(get("/none")));
            collect(server, 1);
            collectSome();
            Check.equal(1L, server.stats().reclaimed(), "stats().reclaimed() of 3, two of which are held by a stream", "");
            writer.play("", send("!"));
            Check.equal((int) '!', Await.value(background(in.remove()::read), "that in() still reads", ""), "in().read()", "");
            out.remove().write(bytes("still open\n"));
            reader.play("", receive("still open\n"));
        }

        @Test
        void a_handler_that_has_hijacked_can_close_the_server() throws Exception {
            var returned = new CompletableFuture<Boolean>();
            var self = new CompletableFuture<HijackServer>();
            var server = serve((request, response) -> {
                response.hijack();
                self.join().close();
                returned.complete(true);
            }, PLAIN);
            self.complete(server);
            client(server, "client").play("", send(get("/")), gone());
            Await.value(returned, "that close() returns to the handler that calls it", "it waits for itself");
        }

        private HijackServer.Hijacked taken(BlockingQueue<HijackServer.Hijacked> kept) throws InterruptedException {
            var hijacked = kept.poll(Patience.millis(), TimeUnit.MILLISECONDS);
            Check.that(hijacked != null, "that the handler has the connection, but it did not happen", "");
            return hijacked;
        }

        private void collectSome() throws InterruptedException {
            for (int i = 0; i < 2; i++) {
                System.gc();
                Thread.sleep(5);   // for a cleaner that comes late
            }
        }

        /** The cleaner runs after the collector. To look again costs nothing, to collect again takes 20 ms. */
        private void collect(HijackServer server, long count) throws InterruptedException {
            var looks = new AtomicInteger();
            Await.until(() -> {
                if (looks.getAndIncrement() % 20 == 0) {
                    System.gc();
                }
                return server.stats().reclaimed() >= count;
            }, "that stats().reclaimed() becomes " + count, "the collector calls reclaim(): end it there, and count it");
        }
    }

    @Step(value = 4, title = "Complete the handshake", further = true)
    class Complete_the_handshake {

        private static final String KEY = "dGhlIHNhbXBsZSBub25jZQ==";

        @Test
        void acceptKey_gives_the_value_of_RFC_6455() {   // rejects: hex, the key decoded first, a wrong GUID
            Check.equal("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", HijackServer.WebSocket.acceptKey(KEY), "acceptKey(\"" + KEY + "\")",
                    "SHA-1 of the key as it came, followed by the GUID, in base64 (RFC 6455 section 1.3)");
            Check.equal("HSmrc0sMlYUkAGmm5OPpG2HaGWk=", HijackServer.WebSocket.acceptKey("x3JJHMbDL1EzLkh9GBhXDw=="),
                    "acceptKey(\"x3JJHMbDL1EzLkh9GBhXDw==\")", "");
        }

        @Test
        void a_handshake_is_answered_with_101() throws Exception {
            var server = serve(welcome(), PLAIN);
            var client = client(server, "client").play("", send(handshake()));
            var answer = client.answer("check the request, hijack, and write the 101");
            Check.equal(101, answer.status(), "the status", "check the request, hijack, and write the 101");
            Check.equal(Optional.of("websocket"), answer.field("Upgrade").map(String::toLowerCase), "the field Upgrade", "");
            Check.equal(Optional.of("upgrade"), answer.field("Connection").map(String::toLowerCase), "the field Connection", "");
            Check.equal(Optional.of("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), answer.field("Sec-WebSocket-Accept"),
                    "the field Sec-WebSocket-Accept", "acceptKey() of the client's key");
            Check.equal(Optional.empty(), answer.field("Sec-WebSocket-Protocol"), "the field Sec-WebSocket-Protocol",
                    "who offers no subprotocol is told none");
            client.play("after the empty line the frames begin", receiveFrame(0x81, "\7welcome"));
        }

        @Test
        void Connection_and_Upgrade_may_be_lists_in_any_case() throws Exception {   // rejects: equals("Upgrade"), equals("websocket")
            var server = serve(welcome(), PLAIN);
            for (var row : List.of("Connection: keep-alive, Upgrade|Upgrade: websocket",
                    "CONNECTION: upgrade|UPGRADE: WebSocket", "Connection: keep-alive|Connection: Upgrade|Upgrade: h2c, websocket")) {
                var client = client(server, "client");
                client.play("", send(get("/", (row + "|Sec-WebSocket-Version: 13|Sec-WebSocket-Key: " + KEY).split("\\|"))));
                Check.equal(101, client.answer("").status(), "the status for " + row,
                        "Connection and Upgrade are lists of words, in any case: hasToken()");
            }
        }

        @Test
        void a_request_that_is_no_handshake_is_refused_with_its_status() throws Exception {
            var seen = new LinkedBlockingQueue<Integer>();
            var server = serve((request, response) -> {
                try {
                    HijackServer.WebSocket.upgrade(request, response, LIMITS);
                    seen.add(101);
                } catch (HijackServer.HandshakeException e) {
                    seen.add(e.status());
                    throw e;
                }
            }, PLAIN);
            var good = handshake();
            var key = "Sec-WebSocket-Key: ";
            for (var row : List.of(
                    "405 " + good.replace("GET", "POST"),
                    "400 " + good.replace("HTTP/1.1", "HTTP/1.0"),
                    "400 " + good.replace("Upgrade: websocket\r\n", ""),
                    "400 " + good.replace("Upgrade: websocket", "Upgrade: websocket2"),
                    "400 " + good.replace("Connection: Upgrade", "Connection: keep-alive"),
                    "400 " + good.replace("Connection: Upgrade", "Connection: no-upgrade"),
                    "400 " + good.replace("Host:", "Content-Length: 2\r\nHost:") + "hi",
                    "426 " + good.replace("Version: 13", "Version: 8"),
                    "426 " + good.replace("Sec-WebSocket-Version: 13\r\n", ""),
                    "400 " + good.replace(key + KEY + "\r\n", ""),
                    "400 " + good.replace(KEY, "MTIzNDU2Nzg5MDEyMzQ1"),
                    "400 " + good.replace(KEY, "MTIzNDU2Nzg5MDEyMzQ1Njc="),
                    "400 " + good.replace(KEY, "1234567890123456"),
                    "400 " + good.replace(KEY, KEY.replace("=", "")),
                    "400 " + good.replace(KEY, "*".repeat(24)),
                    "400 " + good.replace(key + KEY, key + KEY + "\r\n" + key + KEY))) {
                int status = Integer.parseInt(row.substring(0, 3));
                var client = client(server, "client").play("", send(row.substring(4)));
                var answer = client.answer("refuse what is no handshake");
                Check.equal(status, answer.status(), "the status", "checkHandshake() lets this pass, or refuses it otherwise");
                Check.equal(status, seen.poll(Patience.millis(), TimeUnit.MILLISECONDS), "status() of the HandshakeException", "");
                if (status == 426) {
                    Check.equal(Optional.of("13"), answer.field("Sec-WebSocket-Version"), "Sec-WebSocket-Version", "");
                }
                client.play("", gone());
            }
            Check.equal(0L, server.stats().hijackedTotal(), "stats().hijackedTotal()", "check the request before you hijack");
        }

        @Test
        void the_server_chooses_the_first_of_its_subprotocols_that_was_offered() throws Exception {
            // rejects: the client's order, a subprotocol that nobody offered
            var opened = new LinkedBlockingQueue<Optional<String>>();
            var server = serve((request, response) -> {
                var socket = HijackServer.WebSocket.upgrade(request, response, LIMITS, "doors.v2", "doors.v1");
                opened.add(socket.subprotocol());
                new CountDownLatch(1).await();
            }, PLAIN);
            for (var row : List.of("doors.v1|doors.v1", "doors.v1, doors.v2|doors.v2", "lamps, doors.v1|doors.v1", "lamps|")) {
                var columns = (row + " ").split("\\|");
                var chosen = Optional.of(columns[1].strip()).filter(name -> !name.isEmpty());
                var client = client(server, "client");
                client.play("", send(handshake("Sec-WebSocket-Protocol: " + columns[0])));
                Check.equal(chosen, client.answer("").field("Sec-WebSocket-Protocol"), "Sec-WebSocket-Protocol for «"
                        + columns[0] + "»", "tell the client the one that was chosen, or nothing");
                Check.equal(chosen, opened.poll(Patience.millis(), TimeUnit.MILLISECONDS), "subprotocol()", "");
            }
        }

        @Test
        void a_failed_write_of_the_101_closes_the_connection() throws Exception {   // rejects: a 101 that fails, and a leak
            var handled = new CompletableFuture<Boolean>();
            var inHand = new CountDownLatch(1);
            var left = new CountDownLatch(1);
            var server = serve((request, response) -> {
                inHand.countDown();
                left.await();
                try (var socket = HijackServer.WebSocket.upgrade(request, response, LIMITS)) {
                    socket.ping(new byte[0]);
                } catch (IOException e) {
                    // It has left, and that is all right with this handler.
                }
                handled.complete(true);
            }, PLAIN);
            var client = client(server, "client").play("", send(handshake()));
            Await.open(inHand, "that the handler runs", "");
            client.play("", reset());
            left.countDown();
            Await.value(handled, "that the handler ends", "");
            Await.until(() -> server.stats().hijackedOpen() == 0, "that stats().hijackedOpen() becomes 0",
                    "when the 101 cannot be written, close what was hijacked");
        }

        @Test
        void the_JDKs_client_accepts_the_handshake() throws Exception {   // a peer that nobody here wrote
            var server = serve((request, response) -> {
                HijackServer.WebSocket.upgrade(request, response, LIMITS, "doors").sendText("welcome");
                new CountDownLatch(1).await();
            }, PLAIN);
            var listener = new JdkListener();
            var socket = jdkSocket(server, listener, "doors");
            Check.equal("doors", socket.getSubprotocol(), "getSubprotocol()", "");
            Check.equal("welcome", listener.next(), "the first text", "");
        }

        private HijackServer.Handler welcome() {
            return (request, response) -> {
                HijackServer.WebSocket.upgrade(request, response, LIMITS).sendText("welcome");
                new CountDownLatch(1).await();   // until the server closes
            };
        }
    }

    @Step(value = 5, title = "Read one frame", further = true)
    class Read_one_frame {

        @Test
        void the_example_frame_of_RFC_6455_is_read() throws Exception {   // rejects: a mask that is not taken off
            var frame = read("81 85 37fa213d 7f9f4d5158");
            Check.equal(true, frame.fin(), "fin", "the top bit of the first byte");
            Check.equal(1, frame.opcode(), "opcode", "the last four bits of the first byte");
            Check.equal("Hello", text(frame.payload()), "the payload",
                    "byte i of the payload was combined with byte i mod 4 of the mask, by exclusive or");
        }

        @Test
        void lengths_of_7_16_and_64_bits_are_read() throws Exception {   // rejects: 126 and 127 taken for lengths, a short as signed
            for (int length : new int[] {0, 1, 125, 126, 127, 128, 255, 256, 32_768, 65_535, 65_536, 70_000}) {
                var frame = read(client(0x82, letters(length)));
                Check.that(Arrays.equals(letters(length), frame.payload()), "a payload of " + length + " letters, got "
                        + frame.payload().length + " bytes", "7 bits; 126: 16 bits follow; 127: 64 bits follow, unsigned");
            }
        }

        @Test
        void every_payload_byte_is_unmasked_with_byte_i_mod_4_of_the_key() throws Exception {   // rejects: the tail forgotten, a signed mask
            for (int length = 0; length <= 40; length++) {
                for (var mask : List.of("37fa213d", "00000000", "ffffffff", "80000001", "7f80ff00")) {
                    var frame = read(frame(0x82, mask, letters(length)));
                    Check.equal(text(letters(length)), text(frame.payload()), "a payload under the mask " + mask,
                            "byte i goes with byte i mod 4 of the mask, to the last byte");
                }
            }
        }

        @Test
        void readFrame_reads_one_frame_and_not_one_byte_more() throws Exception {   // rejects: a buffer of its own, which swallows the next frame
            var in = new ByteArrayInputStream(hex("81 83 00000000 616263" + "89 80 01020304" + "00 82 00000000 6465"));
            Check.equal("abc", text(HijackServer.WebSocket.readFrame(in, 1000).payload()), "the first payload", "");
            Check.equal(14, in.available(), "bytes that are left for the next calls",
                    "the first call has read too far, or not far enough");
            Check.equal(9, HijackServer.WebSocket.readFrame(in, 1000).opcode(), "the opcode of the second frame", "");
            var last = HijackServer.WebSocket.readFrame(in, 1000);
            Check.equal("de", text(last.payload()), "the third payload", "");
            Check.equal(false, last.fin(), "fin of the third frame", "");
            for (int length : new int[] {5, 200, 70_000}) {   // rejects: read(bytes) taken to fill the array
                var frame = HijackServer.WebSocket.readFrame(dripping(client(0x82, letters(length))), 100_000);
                Check.that(Arrays.equals(letters(length), frame.payload()), "a payload of " + length
                        + " letters that come one by one, got others", "one read need not bring all: readFully()");
            }
        }

        @Test
        void a_frame_that_breaks_a_rule_is_1002_and_a_valid_one_is_read() throws Exception {
            // rejects: rules that allow too much or forbid too much, rules that are checked when the payload is there
            for (var row : List.of("unmasked: 81 05 48656c6c6f", "RSV1 is set: c1 80 00000000", "RSV2 is set: a1 80 00000000",
                    "RSV3 is set: 91 80 00000000", "opcode 3: 83 80 00000000", "opcode 7: 87 80 00000000",
                    "opcode 11: 8b 80 00000000", "opcode 15: 8f 80 00000000", "a ping in two parts: 09 80 00000000",
                    "a close in two parts: 08 80 00000000", "a ping of 126 bytes: 89 fe 007e 00000000",
                    "a close of 65536 bytes: 88 ff 0000000000010000 00000000", "125 in 16 bits: 82 fe 007d 00000000",
                    "0 in 16 bits: 82 fe 0000 00000000", "65535 in 64 bits: 82 ff 000000000000ffff 00000000",
                    "a length below zero: 82 ff 8000000000000001 00000000")) {
                var bytes = hex(row.substring(row.indexOf(':') + 1));
                Check.equal(1002, code(Arrays.copyOf(bytes, bytes.length + 200_000), 150_000), "closeCode() for a frame, " + row,
                        "RFC 6455 section 5.2 forbids it: a FrameException with PROTOCOL_ERROR");
            }
            for (var row : List.of("unmasked: 82 7e 03e8", "opcode 3: 83 fe", "a ping of 126 bytes: 89 fe")) {
                Check.equal(1002, code(hex(row.substring(row.indexOf(':') + 1)), 150_000), "closeCode() for the beginning of a "
                        + "frame, " + row, "these rules can be checked when two bytes are there");
            }
            for (var row : List.of("01 80 00000000", "02 80 00000000", "00 80 00000000", "80 80 00000000", "88 80 00000000",
                    "89 80 00000000", "8a 80 00000000", "8a fd 00000000" + "61".repeat(125))) {
                read(row);
            }
        }

        @Test
        void a_frame_over_maxFrame_is_1009_before_its_payload_is_read() throws Exception {
            // rejects: new byte[length] first, a length cast to int
            read(client(0x82, letters(1000)), 1000);
            for (var row : List.of("82 fe 03e9", "82 fe 03e9 00000000", "82 ff 0000000000010000 00000000", "82 ff 0000000080000000 00000000",
                    "82 ff 00000001000003e8 00000000", "82 ff 4000000000000000 00000000", "82 ff 7fffffffffffffff 00000000")) {
                Check.equal(1009, code(hex(row), 1000), "closeCode() for a frame " + row + " with maxFrame 1000",
                        "the client says how long it is: compare that, as a long, before you allocate or read");
            }
        }

        @Test
        void the_end_of_the_stream_is_an_EOFException() throws Exception {   // rejects: -1 taken for a byte
            var whole = hex("81 fe 0080 37fa213d" + "00".repeat(128));
            for (int length : new int[] {0, 1, 2, 3, 4, 7, 8, 9, whole.length - 1}) {
                var in = new ByteArrayInputStream(Arrays.copyOf(whole, length));
                Check.fails(EOFException.class, () -> HijackServer.WebSocket.readFrame(in, 1000),
                        "readFrame() after " + length + " bytes of " + whole.length, "-1 is no byte: a DataInputStream knows that");
            }
        }

        private HijackServer.Frame read(String hex) throws IOException {
            return read(hex(hex), 1000);
        }

        private HijackServer.Frame read(byte[] bytes) throws IOException {
            return read(bytes, 100_000);
        }

        private HijackServer.Frame read(byte[] bytes, int maxFrame) throws IOException {
            try {
                return HijackServer.WebSocket.readFrame(new ByteArrayInputStream(bytes), maxFrame);
            } catch (HijackServer.FrameException e) {
                throw History.fail("expected a frame beginning " + HexFormat.of().formatHex(bytes, 0, Math.min(10, bytes.length))
                        + " to be read, got " + e.closeCode() + ", " + e.getMessage(), "that is allowed: a rule is too strict");
            }
        }

        private int code(byte[] bytes, int maxFrame) throws IOException {
            try {
                HijackServer.WebSocket.readFrame(new ByteArrayInputStream(bytes), maxFrame);
                return 0;   // no rule was broken, it says
            } catch (HijackServer.FrameException e) {
                return e.closeCode();
            } catch (EOFException e) {
                return -1;   // it has read on
            } catch (NegativeArraySizeException | OutOfMemoryError e) {
                return -2;   // it has allocated
            }
        }

        private InputStream dripping(byte[] bytes) {
            return new ByteArrayInputStream(bytes) {
                @Override
                public synchronized int read(byte[] into, int offset, int length) {
                    return super.read(into, offset, Math.min(1, length));
                }
            };
        }
    }

    @Step(value = 6, title = "Assemble messages", further = true)
    class Assemble_messages {

        private final BlockingQueue<HijackServer.Message.Closed> ends = new LinkedBlockingQueue<>();

        @Test
        void text_and_binary_messages_are_received() throws Exception {   // rejects: everything taken for text
            var client = webSocket(serve(echo(LIMITS, ends), PLAIN));
            client.send(0x81, " lift 3\n").expect(0x81, " lift 3\n", "a frame with FIN is a whole message");
            client.send(0x81, "").expect(0x81, "", "an empty message is one, too");
            client.send(0x81, "Tür 3 öffnet € \uFFFD").expect(0x81, "Tür 3 öffnet € \uFFFD", "a text is UTF-8");
            client.send(0x82, hex("00 ff c0 80 ed a0 80")).expect(0x82, hex("00 ff c0 80 ed a0 80"),
                    "opcode 2 is a Binary, and need not be UTF-8");
        }

        @Test
        void two_binary_messages_do_not_share_an_array() throws Exception {   // rejects: one array for all messages
            var data = new LinkedBlockingQueue<byte[]>();
            var server = serve((request, response) -> {
                var socket = HijackServer.WebSocket.upgrade(request, response, LIMITS);
                while (socket.receive() instanceof HijackServer.Message.Binary(var bytes)) {
                    data.add(bytes);
                }
            }, PLAIN);
            webSocket(server).send(0x82, hex("0102")).send(0x82, hex("0304"));
            Await.until(() -> data.size() == 2, "that receive() returns twice", "");
            Check.equal("0102 0304", HexFormat.of().formatHex(data.remove()) + " " + HexFormat.of().formatHex(data.remove()),
                    "the data of two messages, looked at after both have come", "each message has an array of its own");
        }

        @Test
        void fragments_become_one_message() throws Exception {
            // rejects: a message for each frame, the kind of the last frame, a buffer that keeps the message before
            var client = webSocket(serve(echo(LIMITS, ends), PLAIN));
            client.send(0x01, "li").send(0x00, "ft").send(0x00, "").send(0x80, " 3").expect(0x81, "lift 3",
                    "collect the frames until one has FIN; the first frame says whether it is text");
            client.send(0x02, hex("ff")).send(0x80, hex("fe")).expect(0x82, hex("ff fe"),
                    "the first frame says whether it is text, and nothing of the message before is left");
            client.send(0x01, "").send(0x80, "").expect(0x81, "", "");
        }

        @Test
        void a_frame_that_came_with_the_request_is_read() throws Exception {   // rejects: early bytes lost
            var client = client(serve(echo(LIMITS, ends), PLAIN), "client");
            client.play("", sendBytes(concat(bytes(handshake()), client(0x81, bytes("early")))));
            Check.equal(101, client.answer("").status(), "the status", "");
            client.play("read frames from connection.in()", receiveFrame(0x81, "\5early"));
        }

        @Test
        void a_ping_is_answered_at_once_and_a_pong_is_ignored() throws Exception {
            // rejects: pongs only between messages, an empty pong
            var client = webSocket(serve(echo(LIMITS, ends), PLAIN));
            client.send(0x89, "are you there?").expect(0x8a, "are you there?", "a pong carries the bytes of its ping");
            client.send(0x01, "li").send(0x89, "still?").expect(0x8a, "still?",
                    "a ping may come between two fragments, and is answered before the message is whole");
            client.send(0x80, "ft").expect(0x81, "lift", "a control frame between two fragments leaves the message alone");
            client.send(0x89, letters(125)).expect(0x8a, letters(125), "");
            client.send(0x8a, "pong").send(0x01, "li").send(0x8a, "").send(0x80, "ft").expect(0x81, "lift",
                    "a pong that nobody asked for is no message, and no answer is due to it");
        }

        @Test
        void a_character_may_be_split_between_two_fragments() throws Exception {   // rejects: UTF-8 checked frame by frame
            var client = webSocket(serve(echo(LIMITS, ends), PLAIN));
            var text = bytes("ü€\uD83D\uDEAA");
            for (int cut = 1; cut < text.length; cut++) {
                client.send(0x01, Arrays.copyOf(text, cut)).send(0x80, Arrays.copyOfRange(text, cut, text.length))
                        .expect(0x81, text, "decode the whole message, not each frame");
            }
        }

        @Test
        void a_text_message_that_is_not_UTF_8_is_1007() throws Exception {   // rejects: new String(bytes, UTF_8), which replaces
            var server = serve(echo(LIMITS, ends), PLAIN);
            for (var bytes : List.of("ff", "c3 28", "c0 80", "e2 82", "ed a0 80", "f4 90 80 80", "61 80")) {
                webSocket(server).send(0x81, hex(bytes)).expectClose(1007, "a decoder that reports: " + bytes);
                Check.equal(1007, ended(ends).code(), "the code of Closed", "");
            }
            webSocket(server).send(0x01, hex("c3")).send(0x80, hex("28")).expectClose(1007, "decode the whole message");
        }

        @Test
        void fragments_out_of_order_are_1002() throws Exception {
            // rejects: a continuation of nothing, a message inside another
            var server = serve(echo(LIMITS, ends), PLAIN);
            webSocket(server).send(0x80, "ft").expectClose(1002, "no message has begun that this could continue");
            webSocket(server).send(0x01, "li").send(0x81, "new").expectClose(1002, "the message before is not finished");
            webSocket(server).send(0x02, "li").send(0x01, "new").expectClose(1002, "the message before is not finished");
            webSocket(server).send(0x81, "lift").expect(0x81, "lift", "").send(0x00, "x").expectClose(1002,
                    "the message before is finished: nothing is left to continue");
        }

        @Test
        void a_message_over_maxMessage_is_1009_with_the_frame_that_exceeds_it() throws Exception {
            // rejects: a limit for frames alone, a limit that is looked at in the end
            var server = serve(echo(LIMITS.withMaxMessage(1000), ends), PLAIN);
            webSocket(server).send(0x02, letters(600)).send(0x80, letters(400)).expect(0x82, concat(letters(600), letters(400)),
                    "1000 bytes are allowed");
            webSocket(server).send(0x82, letters(1001)).expectClose(1009, "maxMessage is a limit for whole frames, too");
            webSocket(server).send(0x02, letters(600)).send(0x00, letters(401)).expectClose(1009,
                    "one byte too many is too many, and the message may never end: look at each frame");
            webSocket(server).raw(hex("82 ff 0000000010000000 00000000")).raw(letters(100_000)).expectClose(1009,
                    "the length alone says that it is too much, and a client that is still sending hears why");
            webSocket(server).send(0x02, letters(600)).send(0x89, "").expect(0x8a, "", "").send(0x00, letters(600))
                    .expectClose(1009, "a ping between two fragments does not begin the count anew");
        }

        @Test
        void after_a_broken_rule_nothing_more_is_read() throws Exception {   // rejects: going on after a broken frame
            var seen = new LinkedBlockingQueue<HijackServer.Message>();
            var server = serve((request, response) -> {
                var socket = HijackServer.WebSocket.upgrade(request, response, LIMITS);
                for (int i = 0; i < 3; i++) {
                    seen.add(socket.receive());
                }
            }, PLAIN);
            var client = webSocket(server);
            client.raw(concat(hex("81 02 6869"), client(0x81, bytes("after")), client(0x89, bytes("after"))));
            client.expectClose(1002, "after a broken rule nothing more is read, and nothing but the close frame is sent");
            Await.until(() -> seen.size() == 3, "that receive() returns three times", "");
            for (var message : seen) {
                Check.that(message instanceof HijackServer.Message.Closed(int code, String reason) && code == 1002,
                        "a Closed with 1002 each time, got " + message, "");
            }
        }

        @Test
        void a_silent_client_is_pinged_and_then_reported_as_1006() throws Exception {   // rejects: frames read past connection.in()
            var hasty = serve(echo(LIMITS.withPingInterval(millis(20)), ends), PLAIN);
            webSocket(hasty).expect(0x89, "", "receive() pings a silent client, if frames are read from connection.in()")
                    .play("a second silence is the end", gone());
            Check.equal(1006, ended(ends).code(), "the code of Closed", "");
            var server = serve(echo(LIMITS.withPingInterval(millis(100)), ends), PLAIN);
            for (int i = 1; ; i++) {
                try {
                    webSocket(server).send(0x01, "li").expect(0x89, "", "").send(0x8a, "").expect(0x89, "",
                            "a pong begins the count anew").send(0x80, "ft").expect(0x81, "lift", "a ping loses no byte");
                    break;
                } catch (AssertionError e) {   // on a busy machine this client may be too slow: it may try again
                    if (i == 5) {
                        throw e;
                    }
                }
            }
        }

        @Test
        void the_JDKs_client_receives_what_it_sent() throws Exception {   // it sends fragments of 16 KiB
            var server = serve(echo(LIMITS, ends), PLAIN);
            var listener = new JdkListener();
            var socket = jdkSocket(server, listener);
            for (int length : new int[] {0, 1, 125, 126, 65_535, 65_536, 1_000_000}) {
                socket.sendText(text(letters(length)), true).get(Patience.millis(), TimeUnit.MILLISECONDS);
                var got = listener.next();
                Check.that(got.equals(text(letters(length))), "a text of " + length + " characters, got one of " + got.length(), "");
            }
            socket.sendText("in two ", false).get(Patience.millis(), TimeUnit.MILLISECONDS);
            socket.sendPing(ByteBuffer.wrap(bytes("p"))).get(Patience.millis(), TimeUnit.MILLISECONDS);
            socket.sendText("parts", true).get(Patience.millis(), TimeUnit.MILLISECONDS);
            Check.equal("in two parts", listener.next(), "the text that was sent in two parts, with a ping between", "");
        }

        @Test
        void frames_sent_by_several_threads_do_not_interleave() throws Exception {   // a peer that nobody here wrote: OkHttp
            var server = serve((request, response) -> {
                try (var socket = HijackServer.WebSocket.upgrade(request, response, LIMITS)) {
                    var threads = IntStream.range(0, 4).mapToObj(thread -> Thread.ofVirtual().start(() -> {
                        for (int i = 0; i < 200; i++) {
                            say(socket, thread + " " + i + " " + "x".repeat(i));
                        }
                    })).toList();
                    while (socket.receive() instanceof HijackServer.Message.Text(var text)) {
                        say(socket, text);
                    }
                    for (var thread : threads) {
                        thread.join();
                    }
                }
            }, PLAIN);
            var listener = new OkListener();
            var socket = okSocket(server, listener);
            for (int i = 0; i < 200; i++) {
                socket.send("4 " + i + " " + "x".repeat(i));
            }
            var next = new int[5];
            for (int i = 0; i < 1000; i++) {
                var words = listener.next().split(" ", 3);
                int thread = Integer.parseInt(words[0]);
                Check.equal(next[thread]++, Integer.parseInt(words[1]), "the next number of thread " + thread, "");
                Check.equal(Integer.parseInt(words[1]), words[2].length(), "the length of text " + words[1], "");
            }
            socket.cancel();
        }

        private void say(HijackServer.WebSocket socket, String text) {
            try {
                socket.sendText(text);
            } catch (IOException e) {
                // The client has what it wanted, and has left.
            }
        }
    }

    @Step(value = 7, title = "Complete the closing handshake", further = true)
    class Complete_the_closing_handshake {

        private static final String ECHO = "send the close frame back as it came, and end the connection";

        private final BlockingQueue<HijackServer.Message.Closed> ends = new LinkedBlockingQueue<>();

        @Test
        void a_Close_frame_is_sent_back_and_the_server_closes_TCP() throws Exception {
            // rejects: an echo without the end, an end without the echo
            var server = serve(echo(LIMITS, ends), PLAIN);
            webSocket(server).send(0x88, closing(1000, "")).expect(0x88, closing(1000, ""), ECHO).play(ECHO, end());
            Check.equal(new HijackServer.Message.Closed(1000, ""), ended(ends), "what receive() returns", "");
            webSocket(server).send(0x88, closing(4000, "door 3 löst aus")).expect(0x88, closing(4000, "door 3 löst aus"), ECHO)
                    .play(ECHO, end());
            Check.equal(new HijackServer.Message.Closed(4000, "door 3 löst aus"), ended(ends), "what receive() returns", "");
            Await.until(() -> server.stats().hijackedOpen() == 0, "that stats().hijackedOpen() becomes 0", ECHO);
        }

        @Test
        void a_Close_frame_without_a_code_is_1005_and_one_between_fragments_is_handled() throws Exception {
            // rejects: 1005 on the wire, an exception
            var server = serve(echo(LIMITS, ends), PLAIN);
            webSocket(server).send(0x88, "").expect(0x88, "", "an empty close frame is sent back empty: 1005 never travels")
                    .play(ECHO, end());
            Check.equal(new HijackServer.Message.Closed(1005, ""), ended(ends), "what receive() returns", "");
            webSocket(server).send(0x01, "li").send(0x88, closing(1001, "")).expect(0x88, closing(1001, ""), ECHO)
                    .play(ECHO, end());
            Check.equal(1001, ended(ends).code(), "the code of Closed", "");
        }

        @Test
        void a_valid_close_code_is_sent_back_and_an_invalid_Close_payload_is_1002_or_1007() throws Exception {
            // rejects: rules that forbid too much, an echo of whatever came, a signed short
            var server = serve(echo(LIMITS, ends), PLAIN);
            for (int code : new int[] {1000, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999}) {
                webSocket(server).send(0x88, closing(code, "")).expect(0x88, closing(code, ""), "code " + code + " is allowed");
                Check.equal(code, ended(ends).code(), "the code of Closed", "");
            }
            for (int code : new int[] {0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535}) {
                webSocket(server).send(0x88, closing(code, "")).expectClose(1002, "code " + code + " must not be on the wire");
                Check.equal(1002, ended(ends).code(), "the code of Closed", "");
            }
            webSocket(server).send(0x88, hex("03")).expectClose(1002, "a code has two bytes");
            webSocket(server).send(0x88, hex("03e8 ff")).expectClose(1007, "the reason is text, and text is UTF-8");
        }

        @Test
        void a_client_that_leaves_without_a_Close_frame_is_reported_as_1006() throws Exception {   // rejects: an exception that nobody expects
            var server = serve(echo(LIMITS, ends), PLAIN);
            webSocket(server).play("", close());
            Check.equal(1006, ended(ends).code(), "the code of Closed after the end", "");
            webSocket(server).send(0x01, "half a mess").play("", reset());
            Check.equal(1006, ended(ends).code(), "the code of Closed after a reset", "");
        }

        @Test
        void close_sends_a_Close_frame_and_waits_for_the_answer() throws Exception {
            // rejects: a close that does not wait; what is still on its way is then lost by a reset
            var opened = new CompletableFuture<HijackServer.WebSocket>();
            var server = serve(kept(opened, LIMITS), PLAIN);
            var client = webSocket(server);
            var socket = Await.value(opened, "that the handler has a WebSocket", "");
            var closing = PendingCall.start(() -> {
                socket.close(1001, "the lift is out of order");
                return true;
            });
            client.expect(0x88, closing(1001, "the lift is out of order"), "close() sends a close frame with code and reason");
            closing.awaitWaiting();
            client.play("close() waits until the client has sent its close frame", silence(millis(20)));
            Check.that(!closing.outcome().isDone(), "close() to wait for the client's close frame, but it has returned", "");
            client.send(0x81, "one more thing").play("a message is no close frame: receive() until it returns Closed",
                    silence(millis(50)));
            client.send(0x89, "ping").send(0x88, closing(1001, "")).play(
                    "after the client's close frame the server ends the connection, and sends nothing more", end());
            Await.value(closing.outcome(), "that close() returns", "receive() until it returns Closed");
            Check.equal(0, server.stats().hijackedOpen(), "stats().hijackedOpen()", "close the connection in finally");
        }

        @Test
        void close_returns_after_closeTimeout_when_no_Close_frame_comes() throws Exception {
            // rejects: a wait without a limit, a limit anew with each message, one that a reader in receive() holds up
            var opened = new LinkedBlockingQueue<HijackServer.WebSocket>();
            var server = serve((request, response) -> {
                var socket = HijackServer.WebSocket.upgrade(request, response, LIMITS.withCloseTimeout(millis(100)));
                opened.add(socket);
                if (request.path().equals("/reading")) {
                    socket.receive();
                }
            }, PLAIN);
            var closing = new ArrayList<CompletableFuture<Boolean>>();
            for (var path : List.of("/events", "/reading", "/chatting")) {
                var client = webSocket(server, path);
                Await.until(() -> !opened.isEmpty(), "that the handler has a WebSocket", "");
                var socket = opened.remove();
                closing.add(background(() -> {
                    socket.close();
                    return true;
                }));
                client.expect(0x88, closing(1000, ""), "close() is close(1000, \"\")");
                if (path.equals("/chatting")) {
                    chat(client);
                }
            }
            for (var what : List.of("a client that is silent", "one that is silent, with another thread in receive()",
                    "one that sends and sends, but no close frame")) {
                Await.value(closing.removeFirst(), "that close() returns after closeTimeout: " + what,
                        "cutAfter(closeTimeout) around all of it");
            }
            Check.equal(0, server.stats().hijackedOpen(), "stats().hijackedOpen()", "the connection ends in any case: finally");
        }

        /** Sends text after text, until the server has had enough. */
        private static void chat(Ws client) {
            var chatting = Thread.ofVirtual().name("kit-chat").start(() -> {
                try {
                    while (true) {
                        client.send(0x81, "and another thing");
                        Thread.sleep(5);   // faster than the limit, and no flood
                    }
                } catch (IOException | InterruptedException | AssertionError e) {
                    // The end.
                }
            });
            closeLater(chatting::interrupt);
        }

        @Test
        void close_returns_after_closeTimeout_when_a_write_is_blocked() throws Exception {
            // rejects: a limit that begins only when the close frame is written
            var opened = new CompletableFuture<HijackServer.WebSocket>();
            var server = serve(kept(opened, LIMITS.withCloseTimeout(millis(50))), PLAIN);
            webSocket(server, "/events", 4096);
            var socket = Await.value(opened, "that the handler has a WebSocket", "");
            var sent = new AtomicInteger();
            var flood = PendingCall.start(() -> {
                while (true) {
                    socket.sendBinary(new byte[100_000]);
                    sent.incrementAndGet();
                }
            });
            int before;
            do {
                before = sent.get();
                Thread.sleep(20);   // in which the client might take more
                flood.awaitWaiting();
            } while (sent.get() > before);   // it waits, and so long nothing was taken: the buffers are full
            Await.value(background(() -> {
                socket.close();
                return true;
            }), "that close() returns after closeTimeout", "another thread is blocked in a write: cutAfter() comes first");
            Check.fails(IOException.class, () -> {
                try {
                    flood.outcome().get(Patience.millis(), TimeUnit.MILLISECONDS);
                } catch (java.util.concurrent.ExecutionException e) {
                    throw (Exception) e.getCause();
                }
            }, "the blocked sendBinary()", "close the connection: nothing else ends a blocked write");
        }

        @Test
        void a_thread_in_receive_gets_Closed_when_another_thread_closes() throws Exception {   // rejects: two readers of one stream
            var opened = new CompletableFuture<HijackServer.WebSocket>();
            var server = serve((request, response) -> {
                var socket = HijackServer.WebSocket.upgrade(request, response, LIMITS);
                opened.complete(socket);
                ends.add((HijackServer.Message.Closed) socket.receive());
            }, PLAIN);
            var client = webSocket(server);
            var socket = Await.value(opened, "that the handler has a WebSocket", "");
            client.send(0x89, "reading?").expect(0x8a, "reading?", "");
            var closing = background(() -> {
                socket.close(1001, "");
                return true;
            });
            client.expect(0x88, closing(1001, ""), "").send(0x88, closing(1001, "")).play(ECHO, end());
            Check.equal(1001, ended(ends).code(), "the code of Closed", "");
            Await.value(closing, "that close() returns", "receive() in close() waits for the other thread, and then returns Closed");
        }

        @Test
        void simultaneous_Close_frames_from_both_sides_complete_the_handshake() throws Exception {   // rejects: an echo of the answer
            var opened = new CompletableFuture<HijackServer.WebSocket>();
            var server = serve(kept(opened, LIMITS), PLAIN);
            var client = webSocket(server).send(0x88, closing(1000, "me first"));
            var socket = Await.value(opened, "that the handler has a WebSocket", "");
            socket.close(1001, "no, me");
            client.expect(0x88, closing(1001, "no, me"), "").play("each side sends one close frame: writeClose()", end());
            Check.equal(new HijackServer.Message.Closed(1000, "me first"), socket.receive(), "what receive() returns", "");
        }

        @Test
        void sending_after_a_Close_frame_is_an_IOException() throws Exception {
            var opened = new CompletableFuture<HijackServer.WebSocket>();
            var server = serve(kept(opened, LIMITS), PLAIN);
            webSocket(server).send(0x88, closing(1000, ""));
            var socket = Await.value(opened, "that the handler has a WebSocket", "");
            socket.receive();
            Check.fails(IOException.class, () -> socket.sendText("too late"), "sendText() after the close frames", "");
            Check.fails(IOException.class, () -> socket.sendBinary(new byte[1]), "sendBinary() after the close frames", "");
            Check.fails(IOException.class, () -> socket.ping(new byte[1]), "ping() after the close frames", "");
            socket.close(1001, "once more");
            socket.close();
            socket.close();
        }

        @Test
        void close_with_an_invalid_code_or_a_long_reason_is_an_IllegalArgumentException() throws Exception {
            var opened = new CompletableFuture<HijackServer.WebSocket>();
            var client = webSocket(serve(kept(opened, LIMITS), PLAIN));
            var socket = Await.value(opened, "that the handler has a WebSocket", "");
            for (int code : new int[] {-1, 0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 66_536}) {
                Check.fails(IllegalArgumentException.class, () -> socket.close(code, ""), "close(" + code + ", \"\")",
                        "mayTravel() says which codes are for the wire");
            }
            Check.fails(IllegalArgumentException.class, () -> socket.close(1000, "ü".repeat(62)), "a reason of 124 bytes", "");
            client.send(0x88, closing(1000, ""));
            socket.close(1000, "ü".repeat(61));
            client.expect(0x88, closing(1000, "ü".repeat(61)), "a refused close() has sent nothing, and a reason may have 123 bytes");
        }

        @Test
        void the_JDKs_client_and_OkHttp_complete_the_closing_handshake() throws Exception {   // peers that nobody here wrote
            var server = serve(echo(LIMITS, ends), PLAIN);
            var jdk = new JdkListener();
            jdkSocket(server, jdk).sendClose(4001, "seen enough").get(Patience.millis(), TimeUnit.MILLISECONDS);
            Check.equal(new HijackServer.Message.Closed(4001, "seen enough"), ended(ends), "what receive() returns", "");
            Check.equal("4001 seen enough", jdk.next(), "what onClose() is told", ECHO);
            var opened = new CompletableFuture<HijackServer.WebSocket>();
            var closer = serve(kept(opened, LIMITS), PLAIN);
            var okHttp = new OkListener();
            okSocket(closer, okHttp);
            Await.value(opened, "that the handler has a WebSocket", "").close(1001, "going home");
            Check.equal("1001 going home", okHttp.next(), "what onClosing() is told", "");
            Check.equal("closed", okHttp.next(), "what comes then", "after the client's close frame the server ends the connection");
            Check.equal(0, closer.stats().hijackedOpen(), "stats().hijackedOpen()", "close the connection in finally");
        }

        /** A handler that gives its WebSocket away and returns. */
        private HijackServer.Handler kept(CompletableFuture<HijackServer.WebSocket> opened, HijackServer.Limits limits) {
            return (request, response) -> opened.complete(HijackServer.WebSocket.upgrade(request, response, limits));
        }
    }

    // Servers and clients.

    /** A TODO in a handler would only be a 500 to its client: it ends the test. */
    private static HijackServer serve(HijackServer.Handler handler, HijackServer.Options options) throws IOException {
        return closeLater(HijackServer.start(ANY_PORT, (request, response) -> {
            try {
                handler.handle(request, response);
            } catch (UnsupportedOperationException todo) {
                Thread.getDefaultUncaughtExceptionHandler().uncaughtException(Thread.currentThread(), todo);
                throw todo;
            }
        }, options));
    }

    /** Says "raw", and then sends back whatever comes. */
    private static void talk(HijackServer.Hijacked hijacked) throws IOException {
        try (hijacked) {
            hijacked.out().write(bytes("raw\n"));
            hijacked.in().transferTo(hijacked.out());
        }
    }

    /** Sends back every message, and tells how it ended. */
    private static HijackServer.Handler echo(HijackServer.Limits limits, BlockingQueue<HijackServer.Message.Closed> ends) {
        return (request, response) -> {
            var socket = HijackServer.WebSocket.upgrade(request, response, limits);
            while (true) {
                switch (socket.receive()) {
                    case HijackServer.Message.Text(var text) -> socket.sendText(text);
                    case HijackServer.Message.Binary(var data) -> socket.sendBinary(data);
                    case HijackServer.Message.Closed closed -> {
                        ends.add(closed);
                        return;
                    }
                }
            }
        };
    }

    private static HijackServer.Message.Closed ended(BlockingQueue<HijackServer.Message.Closed> ends)
            throws InterruptedException {
        Await.until(() -> !ends.isEmpty(), "that receive() returns a Closed", "");
        return ends.remove();
    }

    private static HttpPeer client(HijackServer server, String name) throws IOException {
        return HttpPeer.connect(server.localAddress(), name);
    }

    private static HttpPeer.Answer answered(HttpPeer client, int status, String body, String likely) throws IOException {
        var answer = client.answer(likely);
        Check.equal(status, answer.status(), "the status", likely);
        Check.equal(body, answer.body(), "the body", likely);
        return answer;
    }

    private static String shown(HijackServer server) {
        return "127.0.0.1:" + server.localAddress().getPort();
    }

    private static <T> CompletableFuture<T> background(Callable<T> code) {
        var future = new CompletableFuture<T>();
        Thread.ofVirtual().name("kit-background").start(() -> {
            try {
                future.complete(code.call());
            } catch (Throwable e) {
                future.completeExceptionally(e);
            }
        });
        return future;
    }

    private static String read(HijackServer.Hijacked hijacked, int count) throws InterruptedException {
        return text(Await.value(background(() -> hijacked.in().readNBytes(count)), "that " + count + " bytes can be read",
                "the server still reads, or has closed"));
    }

    // Requests.

    private static String get(String target, String... fields) {
        return request("GET", target, fields);
    }

    private static String post(String target, String... fields) {
        return request("POST", target, fields);
    }

    private static String request(String method, String target, String... fields) {
        return method + " " + target + " HTTP/1.1\r\nHost: test\r\n"
                + String.join("", Arrays.stream(fields).map(field -> field + "\r\n").toList()) + "\r\n";
    }

    /** The example of RFC 6455, section 1.2. */
    private static String handshake(String... fields) {
        var all = new ArrayList<>(List.of("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="));
        all.addAll(List.of(fields));
        return get("/events", all.toArray(String[]::new));
    }

    // Bytes and frames.

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }

    private static byte[] hex(String hex) {
        return HexFormat.of().parseHex(hex.replace(" ", ""));
    }

    private static byte[] concat(byte[]... parts) {
        var whole = new ByteArrayOutputStream();
        for (var part : parts) {
            whole.writeBytes(part);
        }
        return whole.toByteArray();
    }

    /** So many letters, a different one at each place of eight. */
    private static byte[] letters(int count) {
        var letters = new byte[count];
        for (int i = 0; i < count; i++) {
            letters[i] = (byte) ('a' + i % 23);
        }
        return letters;
    }

    /** Numbers in words of six characters: a lost or doubled part shows. */
    private static String numbers(int length) {
        var numbers = new StringBuilder();
        for (int i = 0; numbers.length() < length; i++) {
            numbers.append("%05d ".formatted(i));
        }
        return numbers.substring(0, length);
    }

    private static byte[] closing(int code, String reason) {
        return concat(new byte[] {(byte) (code >> 8), (byte) code}, bytes(reason));
    }

    private static Duration millis(long millis) {
        return Duration.ofMillis(millis);
    }

    private static Action sendBytes(byte[] bytes) {
        return new Action.Send(bytes);
    }

    /** This byte, and then the text. */
    private static Expectation receiveFrame(int first, String text) {
        return new Expectation.Receive(concat(new byte[] {(byte) first}, bytes(text)));
    }

    /** As a client sends it, masked. */
    private static byte[] client(int first, byte[] payload) {
        return frame(first, "37fa213d", payload);
    }

    private static byte[] frame(int first, String mask, byte[] payload) {
        var key = hex(mask);
        var masked = payload.clone();
        for (int i = 0; i < masked.length; i++) {
            masked[i] ^= key[i % 4];
        }
        return concat(header(first, 0x80, payload.length), key, masked);
    }

    /** As a server sends it, bare. */
    private static byte[] server(int first, byte[] payload) {
        return concat(header(first, 0, payload.length), payload);
    }

    private static byte[] header(int first, int maskBit, int length) {
        var header = ByteBuffer.allocate(length < 126 ? 2 : length < 65_536 ? 4 : 10).put((byte) first);
        return (switch (header.capacity()) {
            case 2 -> header.put((byte) (maskBit | length));
            case 4 -> header.put((byte) (maskBit | 126)).putShort((short) length);
            default -> header.put((byte) (maskBit | 127)).putLong(length);
        }).array();
    }

    /** A client that has shaken hands. */
    private record Ws(HttpPeer peer) {

        Ws raw(byte[] bytes) throws IOException {
            return play("", sendBytes(bytes));
        }

        Ws send(int first, byte[] payload) throws IOException {
            return raw(client(first, payload));
        }

        Ws send(int first, String payload) throws IOException {
            return send(first, bytes(payload));
        }

        Ws expect(int first, byte[] payload, String likely) throws IOException {
            return play(likely, new Expectation.Receive(server(first, payload)));
        }

        Ws expect(int first, String payload, String likely) throws IOException {
            return expect(first, bytes(payload), likely);
        }

        /** A close frame with this code and any reason, and the end. */
        void expectClose(int code, String likely) throws IOException {
            var head = peer.bytes(2, "a close frame with code " + code, likely);
            var payload = peer.bytes(head[1] & 0x7f, "the payload of a frame", likely);
            Check.equal("88", HexFormat.of().toHexDigits(head[0]), "the first byte of a close frame", likely);
            int got = payload.length < 2 ? 0 : (payload[0] & 0xff) << 8 | payload[1] & 0xff;
            Check.equal(code, got, "the code of the close frame", likely);
            History.note("client received a close frame with " + code);
            play("after a close frame the connection ends", gone(), close());
        }

        Ws play(String likely, kit.Peer.Move... script) throws IOException {
            peer.play(likely, script);
            return this;
        }
    }

    private static Ws webSocket(HijackServer server) throws IOException {
        return webSocket(server, "/events", 0);
    }

    private static Ws webSocket(HijackServer server, String path) throws IOException {
        return webSocket(server, path, 0);
    }

    private static Ws webSocket(HijackServer server, String path, int receiveBuffer) throws IOException {
        var request = handshake().replace("/events", path);
        var peer = HttpPeer.connect(server.localAddress(), "client", receiveBuffer).play("", send(request));
        Check.equal(101, peer.answer("").status(), "the status", "");
        return new Ws(peer);
    }

    /** A call by OkHttp and a handshake of the JDK's client, so that what they need is loaded before the tests begin. */
    public static final class WarmUp implements Runnable {
        @Override
        public void run() {
            try (var listener = new java.net.ServerSocket(0, 2, InetAddress.getLoopbackAddress())) {
                var answering = Thread.ofVirtual().start(() -> {
                    for (int i = 0; i < 2; i++) {
                        try (var socket = listener.accept()) {
                            socket.getInputStream().read(new byte[4096]);
                            socket.getOutputStream().write("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".getBytes());
                        } catch (IOException e) {
                            return;
                        }
                    }
                });
                var address = "127.0.0.1:" + listener.getLocalPort();
                var okHttp = new OkHttpClient.Builder().connectionSpecs(List.of(ConnectionSpec.CLEARTEXT)).build();
                okHttp.newCall(new okhttp3.Request.Builder().url("http://" + address).build()).execute().close();
                okHttp.connectionPool().evictAll();
                var noTls = SSLContext.getInstance("TLS");
                noTls.init(null, new TrustManager[0], null);
                try (var executor = Executors.newVirtualThreadPerTaskExecutor();
                     var client = HttpClient.newBuilder().executor(executor).sslContext(noTls).build()) {
                    client.newWebSocketBuilder().buildAsync(URI.create("ws://" + address), new java.net.http.WebSocket.Listener() {})
                            .exceptionally(refused -> null).join();
                }
                answering.join();
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        }
    }

    // The JDK's client and OkHttp.

    private static java.net.http.WebSocket jdkSocket(HijackServer server, JdkListener listener, String... subprotocols)
            throws Exception {
        var executor = Executors.newThreadPerTaskExecutor(Thread.ofVirtual().name("kit-jdk-client").factory());
        var noTls = SSLContext.getInstance("TLS");
        noTls.init(null, new TrustManager[0], null);   // the default loads the machine's trust store, which takes 0.1 s
        var client = HttpClient.newBuilder().executor(executor).sslContext(noTls).build();
        closeLater(() -> {
            client.shutdownNow();
            client.close();
        });
        var builder = client.newWebSocketBuilder();
        if (subprotocols.length > 0) {
            builder.subprotocols(subprotocols[0]);
        }
        var socket = Await.value(builder.buildAsync(URI.create("ws://" + shown(server) + "/events"), listener),
                "that the JDK's client can shake hands", "");
        closeLater(socket::abort);
        return socket;
    }

    private static final class JdkListener implements java.net.http.WebSocket.Listener {

        private final BlockingQueue<String> heard = new LinkedBlockingQueue<>();
        private final StringBuilder parts = new StringBuilder();

        @Override
        public CompletionStage<?> onText(java.net.http.WebSocket socket, CharSequence text, boolean last) {
            parts.append(text);
            if (last) {
                heard.add(parts.toString());
                parts.setLength(0);
            }
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onClose(java.net.http.WebSocket socket, int code, String reason) {
            heard.add(code + " " + reason);
            return null;
        }

        @Override
        public void onError(java.net.http.WebSocket socket, Throwable failure) {
            heard.add(failure.toString());
        }

        String next() throws InterruptedException {
            Await.until(() -> !heard.isEmpty(), "that the JDK's client hears something", "");
            return heard.remove();
        }
    }

    private static OkHttpClient okHttp() {
        var executor = Executors.newThreadPerTaskExecutor(Thread.ofVirtual().name("kit-okhttp").factory());
        var client = new OkHttpClient.Builder().dispatcher(new okhttp3.Dispatcher(executor))
                .connectionSpecs(List.of(ConnectionSpec.CLEARTEXT))   // TLS would load the machine's trust store as well
                .readTimeout(millis(Patience.millis())).build();
        closeLater(() -> {
            executor.shutdownNow();
            client.connectionPool().evictAll();
        });
        return client;
    }

    private static WebSocket okSocket(HijackServer server, OkListener listener) {
        var request = new okhttp3.Request.Builder().url("ws://" + shown(server) + "/events").build();
        var socket = okHttp().newWebSocket(request, listener);
        closeLater(socket::cancel);
        return socket;
    }

    private static final class OkListener extends WebSocketListener {

        private final BlockingQueue<String> heard = new LinkedBlockingQueue<>();

        @Override
        public void onMessage(WebSocket socket, String text) {
            heard.add(text);
        }

        @Override
        public void onClosing(WebSocket socket, int code, String reason) {
            heard.add(code + " " + reason);
            socket.close(code, null);
        }

        @Override
        public void onClosed(WebSocket socket, int code, String reason) {
            heard.add("closed");
        }

        @Override
        public void onFailure(WebSocket socket, Throwable failure, Response response) {
            heard.add(failure.toString());
        }

        String next() throws InterruptedException {
            Await.until(() -> !heard.isEmpty(), "that OkHttp hears something", "");
            return heard.remove();
        }
    }
}
