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
        void a_request_is_answered() throws Exception {
            var client = client(serve((request, response) -> response.send(request.path()), PLAIN), "client");
            client.play("", send(get("/lift/3")));
            answered(client, 200, "/lift/3", "the loop runs the handler for each request that nextRequest() brings");
        }

        @Test
        void the_next_request_comes_on_the_same_connection() throws Exception {   // rejects: one request a connection
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
        void three_requests_in_one_write_get_three_answers_in_order() throws Exception {
            // rejects: a reader made anew for each request, which loses what the one before has read ahead
            var client = client(serve((request, response) -> response.send(request.path()), PLAIN), "client");
            client.play("", send(get("/1") + get("/2") + get("/3")));
            for (int i = 1; i <= 3; i++) {
                answered(client, 200, "/" + i, LOOP);
            }
        }

        @Test
        void a_request_may_come_byte_by_byte() throws Exception {
            var client = client(serve((request, response) -> response.send(request.path()), PLAIN), "client");
            client.play("", sendSingly(get("/slow")));
            answered(client, 200, "/slow", LOOP);
        }

        @Test
        void who_says_Connection_close_gets_the_end_after_the_answer() throws Exception {
            // rejects: a rule that compares the whole field, a loop that does not ask response.keepsAlive()
            var server = serve((request, response) -> response.send("bye"), PLAIN);
            for (var value : List.of("close", "Close", "TE, close", "keep-alive,CLOSE")) {
                var client = client(server, "client");
                client.play("", send(get("/", "Connection: " + value)));
                var answer = answered(client, 200, "bye", "");
                Check.equal(Optional.of("close"), answer.field("Connection"), "the field Connection of the answer to "
                        + "«Connection: " + value + "»", "keepsAlive() is false then; Connection is a list of words: hasToken()");
                client.play("the answer has said close: end the loop, and leave()", end());
            }
        }

        @Test
        void a_handler_may_say_close_as_well() throws Exception {   // rejects: a loop that asks the request alone
            var server = serve((request, response) -> response.header("Connection", "close").send("bye"), PLAIN);
            var client = client(server, "client").play("", send(get("/")));
            answered(client, 200, "bye", "");
            client.play("whether the loop goes on is what response.keepsAlive() says", end());
        }

        @Test
        void a_client_of_HTTP_1_0_gets_the_end_after_the_answer() throws Exception {
            var client = client(serve((request, response) -> response.send("old"), PLAIN), "client");
            client.play("", send("GET / HTTP/1.0\r\n\r\n"));
            answered(client, 200, "old", "");
            client.play("it knows no other sign of the end: keepsAlive() is false for HTTP/1.0", end());
        }

        @Test
        void a_body_that_nobody_read_is_passed_over() throws Exception {
            // rejects: a loop that takes the body for the next request
            var client = client(serve((request, response) -> response.send(request.path()), PLAIN), "client");
            client.play("", send(post("/1", "Content-Length: 24") + "GET /lie HTTP/1.1\r\nx: y\r\n"),
                    send(post("/2", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n"), send(get("/3")));
            for (int i = 1; i <= 3; i++) {
                answered(client, 200, "/" + i, "the body lies before the next request: skipRest()");
            }
        }

        @Test
        void who_sends_too_much_that_nobody_reads_gets_the_answer_and_the_end() throws Exception {
            // rejects: a loop that goes on although skipRest() said no
            var server = serve((request, response) -> response.send("no, thanks"), PLAIN);
            var client = client(server, "client");
            client.play("", send(post("/", "Content-Length: 9000000") + "j".repeat(100_000)));
            answered(client, 200, "no, thanks", "the answer must arrive, whatever is still unread: client.close()");
            client.play("where skipRest() is false, the connection has to end", gone());
        }

        @Test
        void a_handler_that_throws_is_answered_by_500() throws Exception {
            var server = serve((request, response) -> {
                throw new IllegalStateException("this handler is broken");
            }, PLAIN);
            var client = client(server, "client").play("", send(get("/") + get("/next")));
            answered(client, 500, "", "catch what the handler throws, and let the response fail()");
            client.play("after a failure the connection ends", gone());
        }

        @Test
        void a_handler_that_sends_nothing_is_answered_by_500() throws Exception {
            // rejects: a loop that leaves the client waiting
            var client = client(serve((request, response) -> response.status(204), PLAIN), "client");
            client.play("", send(get("/")));
            answered(client, 500, "", "the handler has returned, and the response is still OPEN: fail()");
            client.play("after a failure the connection ends", gone());
        }

        @Test
        void what_was_sent_before_the_handler_threw_arrives_once() throws Exception {   // rejects: 500 after 200
            var server = serve((request, response) -> {
                response.send("so far");
                throw new IOException("this handler is broken");
            }, PLAIN);
            var client = client(server, "client").play("", send(get("/") + get("/next")));
            answered(client, 200, "so far", "");
            client.play("there is one answer to a request, and after a failure the connection ends", gone());
        }

        @Test
        void an_Error_in_a_handler_harms_nobody_else() throws Exception {   // rejects: catch (Exception e)
            var server = serve((request, response) -> {
                if (request.path().equals("/broken")) {
                    throw new AssertionError("this handler is broken");
                }
                response.send("fine");
            }, PLAIN);
            var broken = client(server, "client 1").play("", send(get("/broken")));
            answered(broken, 500, "", "an Error, too, is this client's alone: catch Throwable");
            answered(client(server, "client 2").play("", send(get("/"))), 200, "fine", "");
            broken.play("after a failure the connection ends", gone());
        }

        @Test
        void a_bad_request_is_refused_and_the_one_behind_it_is_not_read() throws Exception {
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
                    "400 POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n");
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
            Check.equal(8L, server.stats().badRequests(), "stats().badRequests()", "refuse() counts each bad head once");
        }

        @Test
        void a_silent_client_is_sent_away() throws Exception {   // rejects: a thread that dies of a timeout
            var server = serve((request, response) -> response.send("hello"), PLAIN.withIdleTimeout(millis(20)));
            client(server, "client").play("nextRequest() threw an IOException: leave()", end());
        }

        @Test
        void a_head_that_drips_is_told_408() throws Exception {
            var server = serve((request, response) -> response.send("hello"), PLAIN.withHeadTimeout(millis(60)));
            var client = client(server, "client").play("", send("GET / HT"));
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
        void a_client_that_leaves_too_soon_harms_nobody_else() throws Exception {
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
        void a_shutdown_waits_for_the_request_in_hand() throws Exception {
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
        void OkHttp_sends_a_hundred_requests_on_one_connection() throws Exception {   // a peer that nobody here wrote
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
        void wrong_arguments_are_named() throws Exception {
            var server = serve((request, response) -> {
                try {
                    response.header("X-Door", "3\r\nX-Evil: 1");
                } catch (IllegalArgumentException e) {
                    response.send("refused");
                }
            }, PLAIN);
            answered(client(server, "client").play("", send(get("/"))), 200, "refused", "");
            named(NullPointerException.class, "bind", () -> HijackServer.start(null, (request, response) -> { }, PLAIN));
            named(NullPointerException.class, "handler", () -> HijackServer.start(ANY_PORT, null, PLAIN));
            named(NullPointerException.class, "options", () -> HijackServer.start(ANY_PORT, (request, response) -> { }, null));
            named(IllegalArgumentException.class, "maxConnections", () -> PLAIN.withMaxConnections(0));
            named(IllegalArgumentException.class, "maxHeadBytes", () -> PLAIN.withMaxHeadBytes(63));
            named(IllegalArgumentException.class, "maxBodyBytes", () -> PLAIN.withMaxBodyBytes(-1));
            named(IllegalArgumentException.class, "headTimeout", () -> PLAIN.withHeadTimeout(millis(-1)));
            named(IllegalArgumentException.class, "idleTimeout", () -> PLAIN.withIdleTimeout(millis(-1)));
            named(IllegalArgumentException.class, "maxFrame", () -> LIMITS.withMaxFrame(124));
            named(IllegalArgumentException.class, "maxMessage", () -> LIMITS.withMaxMessage(0));
            named(IllegalArgumentException.class, "closeTimeout", () -> LIMITS.withCloseTimeout(millis(-1)));
        }
    }

    @Step(value = 2, title = "Hand over the connection")
    class Hand_over_the_connection {

        private static final String BUFFER = "the server has read ahead: hand out client.input, not the socket's own stream";
        private static final String LOOP_ENDS =
                "the server still reads: its loop ends when the connection was handed over";

        @Test
        void the_handler_talks_to_the_client_itself() throws Exception {
            var server = serve((request, response) -> talk(response.hijack()), PLAIN);
            client(server, "client").play("handOver() lets the handler have the streams", send(get("/")),
                    receive("raw\n"), send("hello\n"), receive("hello\n"));
            Check.equal(1L, server.stats().hijackedTotal(), "stats().hijackedTotal()", "handOut() counts it");
            Check.equal(1, server.stats().hijackedOpen(), "stats().hijackedOpen()", "handOut() counts it");
            Check.equal(0, server.stats().httpConnections(), "stats().httpConnections()", "handOut() counts it");
        }

        @Test
        void what_came_with_the_request_is_read_first() throws Exception {
            // rejects: socket.getInputStream(), which knows nothing of what the server has read ahead
            var server = serve((request, response) -> talk(response.hijack()), PLAIN);
            client(server, "client").play(BUFFER, send(get("/") + "EARLYDATA"), receive("raw\nEARLYDATA"),
                    send(", and more"), receive(", and more"));
        }

        @Test
        void more_early_bytes_than_any_buffer_holds_come_in_order() throws Exception {
            var early = numbers(20_000);
            var server = serve((request, response) -> talk(response.hijack()), PLAIN);
            client(server, "client").play(BUFFER, send(get("/") + early), receive("raw\n" + early));
        }

        @Test
        void a_request_in_small_pieces_is_handed_over_too() throws Exception {
            // rejects: early bytes looked for at one moment only
            var server = serve((request, response) -> talk(response.hijack()), PLAIN);
            client(server, "client").play(BUFFER, sendSingly(get("/") + "EARLY"), receive("raw\nEARLY"));
        }

        @Test
        void the_second_request_may_be_the_one() throws Exception {
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
        void buffered_says_how_much_is_still_read_ahead() throws Exception {
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
        void the_server_adds_no_byte_and_no_end_when_the_handler_returns() throws Exception {
            // rejects: 500 because nothing was sent, try-with-resources around the socket
            var taken = new CompletableFuture<Taken>();
            var server = serve((request, response) -> taken.complete(Taken.from(response)), PLAIN);
            var client = client(server, "client").play("", send(get("/")));
            var hijacked = afterItsHandler(taken);
            client.play("leave() does not close what was handed over, and nobody answers for it", silence(millis(20)));
            hijacked.out().write(bytes("still mine\n"));
            client.play("", receive("still mine\n"), send("yours\n"));
            Check.equal("yours\n", read(hijacked, 6), "what another thread reads after the handler has returned",
                    LOOP_ENDS);
        }

        @Test
        void what_the_client_says_then_is_no_request() throws Exception {
            // rejects: a loop that still reads requests, and answers them or throws them away
            var taken = new CompletableFuture<Taken>();
            var server = serve((request, response) -> taken.complete(Taken.from(response)), PLAIN);
            var client = client(server, "client").play("", send(get("/")));
            var hijacked = afterItsHandler(taken);
            client.play(LOOP_ENDS, send(get("/none")), silence(millis(20)));
            Check.equal(get("/none"), read(hijacked, get("/none").length()), "what the handler's side reads", LOOP_ENDS);
            Check.equal(1L, server.stats().requests(), "stats().requests()", LOOP_ENDS);
        }

        @Test
        void a_hijacked_connection_knows_no_timeout() throws Exception {   // rejects: HTTP's SO_TIMEOUT left on
            var options = PLAIN.withIdleTimeout(millis(50)).withHeadTimeout(millis(50));
            var server = serve((request, response) -> talk(response.hijack()), options);
            var client = hijacked(server);
            Thread.sleep(150);   // a silence three times as long as HTTP allows
            client.play("the timeout for HTTP is still on: setSoTimeout(0)", send("late\n"), receive("late\n"));
        }

        @Test
        void a_hijacked_connection_takes_no_place() throws Exception {
            var server = serve((request, response) -> talk(response.hijack()), PLAIN.withMaxConnections(1));
            for (int i = 1; i <= 3; i++) {
                client(server, "client " + i).play("hand out by handOut(): HTTP has one place more then",
                        send(get("/")), receive("raw\n"));
            }
            Check.equal(3, server.stats().hijackedOpen(), "stats().hijackedOpen()", "");
        }

        @Test
        void two_connections_do_not_mix() throws Exception {   // rejects: a buffer shared by all
            var server = serve((request, response) -> talk(response.hijack()), PLAIN);
            var first = client(server, "client 1").play(BUFFER, send(get("/") + "al"), receive("raw\nal"));
            client(server, "client 2").play(BUFFER, send(get("/") + "be"), receive("raw\nbe"), send("ta"), receive("ta"));
            first.play(BUFFER, send("pha"), receive("pha"));
        }

        @Test
        void nobody_hijacks_after_an_answer() throws Exception {
            var server = serve((request, response) -> {
                response.send("answered");
                refusesToHijack(response);
            }, PLAIN);
            var client = client(server, "client").play("", send(get("/")));
            answered(client, 200, "answered", "");
            client.play("", send(get("/")));
            answered(client, 200, "answered", "hijack() after send() is an IllegalStateException, and changes nothing");
            Check.equal(0L, server.stats().hijackedTotal(), "stats().hijackedTotal()", "look at the state first");
        }

        @Test
        void nobody_hijacks_twice() throws Exception {
            var server = serve((request, response) -> {
                var hijacked = response.hijack();
                refusesToHijack(response);
                talk(hijacked);
            }, PLAIN);
            client(server, "client").play("the second hijack() is an IllegalStateException, and changes nothing",
                    send(get("/")), receive("raw\n"), send("hello"), receive("hello"));
            Check.equal(1L, server.stats().hijackedTotal(), "stats().hijackedTotal()", "look at the state first");
        }

        @Test
        void nobody_answers_after_a_hijack() throws Exception {
            var server = serve((request, response) -> {
                var hijacked = response.hijack();
                Check.fails(IllegalStateException.class, () -> response.send("too late"), "send() after hijack()", "");
                talk(hijacked);
            }, PLAIN);
            client(server, "client").play("", send(get("/")), receive("raw\n"));
        }

        @Test
        void a_body_has_to_be_read_before() throws Exception {
            // rejects: early bytes that are really the rest of a body
            var server = serve((request, response) -> {
                refusesToHijack(response);
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
        private void refusesToHijack(HijackServer.Response response) {
            Check.fails(IllegalStateException.class, response::hijack, "hijack()", "");
        }
    }

    @Step(value = 3, title = "Settle who closes")
    class Settle_who_closes {

        @Test
        void closing_it_ends_the_connection() throws Exception {
            var server = serve((request, response) -> {
                var hijacked = response.hijack();
                hijacked.out().write(bytes("bye\n"));
                hijacked.close();
            }, PLAIN);
            client(server, "client").play("close() ends what was handed over", send(get("/")), receive("bye\n"), end());
            Await.until(() -> server.stats().hijackedOpen() == 0, "that stats().hijackedOpen() becomes 0",
                    "end() takes the connection from hijacked");
        }

        @Test
        void closing_twice_is_as_good_as_once() throws Exception {   // rejects: a count for each call of close()
            var kept = new LinkedBlockingQueue<HijackServer.Hijacked>();
            var server = serve((request, response) -> kept.add(response.hijack()), PLAIN);
            client(server, "client 1").play("", send(get("/")));
            client(server, "client 2").play("", send(get("/")));
            var first = taken(kept);
            var second = closeLater(taken(kept));
            first.close();
            first.close();
            first.in().close();
            Check.equal(1, server.stats().hijackedOpen(), "stats().hijackedOpen() of 2, one of them closed three times",
                    "only the first end() of a connection counts");
            second.out().write(bytes("still here\n"));
        }

        @Test
        void after_close_its_streams_say_closed() throws Exception {
            var kept = new LinkedBlockingQueue<HijackServer.Hijacked>();
            var server = serve((request, response) -> kept.add(response.hijack()), PLAIN);
            client(server, "client").play("", send(get("/") + "EARLY"));
            var hijacked = taken(kept);
            hijacked.close();
            Check.fails(IOException.class, () -> hijacked.in().read(), "in().read() after close()", "close the socket");
            Check.fails(IOException.class, () -> hijacked.out().write(1), "out().write() after close()", "close the socket");
        }

        @Test
        void a_close_wakes_who_reads() throws Exception {
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
        void a_handler_that_hijacks_and_throws_leaves_nothing_open() throws Exception {
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
        void one_that_everybody_has_dropped_is_reclaimed() throws Exception {
            // rejects: a server that leaves it to luck, or that holds what it hands out
            var server = serve((request, response) -> response.hijack(), PLAIN);
            var client = client(server, "client").play("", send(get("/")));
            collect(server, 1);
            client.play("reclaim() lets end() close it", end());
            Check.equal(0, server.stats().hijackedOpen(), "stats().hijackedOpen()", "reclaim() lets end() do it");
        }

        @Test
        void one_that_was_closed_is_not_reclaimed() throws Exception {   // rejects: a count for each that is collected
            var server = serve((request, response) -> {
                var hijacked = response.hijack();
                if (request.path().equals("/closed")) {
                    hijacked.close();
                }
            }, PLAIN);
            for (int i = 1; i <= 3; i++) {
                client(server, "client " + i).play("", send(get("/closed")), end());
            }
            client(server, "client 4").play("", send(get("/dropped")));
            collect(server, 1);
            collectSome();
            Check.equal(1L, server.stats().reclaimed(), "stats().reclaimed() of 4 that were dropped, 3 of them closed",
                    "reclaim() counts only where its end() was the first");
        }

        @Test
        void a_shutdown_does_not_concern_it() throws Exception {   // rejects: shutdown() that ends what was handed over
            var server = serve((request, response) -> talk(response.hijack()), PLAIN);
            var client = client(server, "client").play("", send(get("/")), receive("raw\n"));
            Check.that(server.shutdown(Duration.ZERO), "shutdown() to be true, as HTTP had nobody to cut, got false", "");
            client.play("shutdown() is for HTTP: it neither waits for hijacked connections nor ends them", send("alive\n"),
                    receive("alive\n"));
            Check.equal(1, server.stats().hijackedOpen(), "stats().hijackedOpen() after shutdown()", "");
        }

        @Test
        void a_close_of_the_server_ends_it() throws Exception {   // rejects: close() that is shutdown() alone
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
        void a_stream_alone_keeps_it_open() throws Exception {   // rejects: streams that do not hold what they belong to
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
        void who_has_hijacked_may_close_the_server() throws Exception {
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

    @Step(value = 4, title = "Shake hands", further = true)
    class Shake_hands {

        private static final String KEY = "dGhlIHNhbXBsZSBub25jZQ==";

        @Test
        void the_accept_value_proves_that_the_key_was_read() {   // rejects: hex, the key decoded first, a wrong GUID
            Check.equal("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", HijackServer.WebSocket.acceptKey(KEY), "acceptKey(\"" + KEY + "\")",
                    "SHA-1 of the key as it came, followed by the GUID, in base64 (RFC 6455 section 1.3)");
            Check.equal("HSmrc0sMlYUkAGmm5OPpG2HaGWk=", HijackServer.WebSocket.acceptKey("x3JJHMbDL1EzLkh9GBhXDw=="),
                    "acceptKey(\"x3JJHMbDL1EzLkh9GBhXDw==\")", "");
        }

        @Test
        void a_handshake_is_answered_by_101() throws Exception {
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
        void its_fields_may_be_lists_in_any_case() throws Exception {   // rejects: equals("Upgrade"), equals("websocket")
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
        void what_is_no_handshake_is_refused() throws Exception {
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
                    "426 " + good.replace("Version: 13", "Version: 8"),
                    "426 " + good.replace("Sec-WebSocket-Version: 13\r\n", ""),
                    "400 " + good.replace(key + KEY + "\r\n", ""),
                    "400 " + good.replace(KEY, "MTIzNDU2Nzg5MDEyMzQ1"),
                    "400 " + good.replace(KEY, "MTIzNDU2Nzg5MDEyMzQ1Njc="),
                    "400 " + good.replace(KEY, "1234567890123456"),
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
        void the_server_chooses_the_subprotocol() throws Exception {
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
        void a_client_that_has_left_costs_nothing() throws Exception {   // rejects: a 101 that fails, and a leak
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
        void the_frame_of_the_RFC_is_read() throws Exception {   // rejects: a mask that is not taken off
            var frame = read("81 85 37fa213d 7f9f4d5158");
            Check.equal(true, frame.fin(), "fin", "the top bit of the first byte");
            Check.equal(1, frame.opcode(), "opcode", "the last four bits of the first byte");
            Check.equal("Hello", text(frame.payload()), "the payload",
                    "byte i of the payload was combined with byte i mod 4 of the mask, by exclusive or");
        }

        @Test
        void every_length_has_its_form() throws Exception {   // rejects: 126 and 127 taken for lengths, a short as signed
            for (int length : new int[] {0, 1, 125, 126, 127, 128, 255, 256, 32_768, 65_535, 65_536, 70_000}) {
                var frame = read(client(0x82, letters(length)));
                Check.that(Arrays.equals(letters(length), frame.payload()), "a payload of " + length + " letters, got "
                        + frame.payload().length + " bytes", "7 bits; 126: 16 bits follow; 127: 64 bits follow, unsigned");
            }
        }

        @Test
        void every_byte_is_unmasked_by_its_own() throws Exception {   // rejects: the tail forgotten, a signed mask
            for (int length = 0; length <= 40; length++) {
                for (var mask : List.of("37fa213d", "00000000", "ffffffff", "80000001", "7f80ff00")) {
                    var frame = read(frame(0x82, mask, letters(length)));
                    Check.equal(text(letters(length)), text(frame.payload()), "a payload under the mask " + mask,
                            "byte i goes with byte i mod 4 of the mask, to the last byte");
                }
            }
        }

        @Test
        void it_reads_not_one_byte_more() throws Exception {   // rejects: a buffer of its own, which swallows the next frame
            var in = new ByteArrayInputStream(hex("81 83 00000000 616263" + "89 80 01020304" + "00 82 00000000 6465"));
            Check.equal("abc", text(HijackServer.WebSocket.readFrame(in, 1000).payload()), "the first payload", "");
            Check.equal(14, in.available(), "bytes that are left for the next calls",
                    "the first call has read too far, or not far enough");
            Check.equal(9, HijackServer.WebSocket.readFrame(in, 1000).opcode(), "the opcode of the second frame", "");
            var last = HijackServer.WebSocket.readFrame(in, 1000);
            Check.equal("de", text(last.payload()), "the third payload", "");
            Check.equal(false, last.fin(), "fin of the third frame", "");
        }

        @Test
        void it_may_come_byte_by_byte() throws Exception {   // rejects: read(bytes) taken to fill the array
            for (int length : new int[] {5, 200, 70_000}) {
                var frame = HijackServer.WebSocket.readFrame(dripping(client(0x82, letters(length))), 100_000);
                Check.that(Arrays.equals(letters(length), frame.payload()), "a payload of " + length + " letters, got others",
                        "one read need not bring all: readFully()");
            }
        }

        @Test
        void what_breaks_a_rule_is_1002() throws Exception {
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
        }

        @Test
        void what_is_allowed_is_read() throws Exception {   // rejects: rules that forbid too much
            for (var row : List.of("01 80 00000000", "02 80 00000000", "00 80 00000000", "80 80 00000000", "88 80 00000000",
                    "89 80 00000000", "8a 80 00000000", "8a fd 00000000" + "61".repeat(125))) {
                read(row);
            }
        }

        @Test
        void a_frame_over_the_limit_is_1009_before_its_payload_is_read() throws Exception {
            // rejects: new byte[length] first, a length cast to int
            read(client(0x82, letters(1000)), 1000);
            for (var row : List.of("82 fe 03e9 00000000", "82 ff 0000000000010000 00000000", "82 ff 0000000080000000 00000000",
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
        void a_text_comes_back() throws Exception {
            var client = webSocket(serve(echo(LIMITS, ends), PLAIN));
            client.send(0x81, "lift 3").expect(0x81, "lift 3", "a frame with FIN is a whole message");
            client.send(0x81, "").expect(0x81, "", "an empty message is one, too");
            client.send(0x81, "Tür 3 öffnet €").expect(0x81, "Tür 3 öffnet €", "a text is UTF-8");
        }

        @Test
        void bytes_come_back_as_bytes() throws Exception {   // rejects: everything taken for text
            var client = webSocket(serve(echo(LIMITS, ends), PLAIN));
            client.send(0x82, hex("00 ff c0 80 ed a0 80")).expect(0x82, hex("00 ff c0 80 ed a0 80"),
                    "opcode 2 is a Binary, and need not be UTF-8");
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
        void a_frame_in_one_segment_with_the_request_is_read() throws Exception {   // rejects: early bytes lost
            var client = client(serve(echo(LIMITS, ends), PLAIN), "client");
            client.play("", sendBytes(concat(bytes(handshake()), client(0x81, bytes("early")))));
            Check.equal(101, client.answer("").status(), "the status", "");
            client.play("read frames from connection.in()", receiveFrame(0x81, "\5early"));
        }

        @Test
        void a_ping_is_answered_at_once_with_its_own_bytes() throws Exception {
            // rejects: pongs only between messages, an empty pong
            var client = webSocket(serve(echo(LIMITS, ends), PLAIN));
            client.send(0x89, "are you there?").expect(0x8a, "are you there?", "a pong carries the bytes of its ping");
            client.send(0x01, "li").send(0x89, "still?").expect(0x8a, "still?",
                    "a ping may come between two fragments, and is answered before the message is whole");
            client.send(0x80, "ft").expect(0x81, "lift", "a control frame between two fragments leaves the message alone");
            client.send(0x89, letters(125)).expect(0x8a, letters(125), "");
        }

        @Test
        void a_pong_that_nobody_asked_for_is_passed_over() throws Exception {   // rejects: a pong as a message
            var client = webSocket(serve(echo(LIMITS, ends), PLAIN));
            client.send(0x8a, "pong").send(0x01, "li").send(0x8a, "").send(0x80, "ft").expect(0x81, "lift",
                    "a pong is no message, and no answer is due to it");
        }

        @Test
        void a_character_may_lie_in_two_fragments() throws Exception {   // rejects: UTF-8 checked frame by frame
            var client = webSocket(serve(echo(LIMITS, ends), PLAIN));
            var text = bytes("ü€\uD83D\uDEAA");
            for (int cut = 1; cut < text.length; cut++) {
                client.send(0x01, Arrays.copyOf(text, cut)).send(0x80, Arrays.copyOfRange(text, cut, text.length))
                        .expect(0x81, text, "decode the whole message, not each frame");
            }
        }

        @Test
        void a_text_that_is_no_UTF_8_is_1007() throws Exception {   // rejects: new String(bytes, UTF_8), which replaces
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
        void a_message_over_the_limit_is_1009_as_soon_as_that_is_clear() throws Exception {
            // rejects: a limit for frames alone, a limit that is looked at in the end
            var server = serve(echo(LIMITS.withMaxMessage(1000), ends), PLAIN);
            webSocket(server).send(0x02, letters(600)).send(0x80, letters(400)).expect(0x82, concat(letters(600), letters(400)),
                    "1000 bytes are allowed");
            webSocket(server).send(0x82, letters(1001)).expectClose(1009, "maxMessage is a limit for whole frames, too");
            webSocket(server).send(0x02, letters(600)).send(0x00, letters(401)).expectClose(1009,
                    "one byte too many is too many, and the message may never end: look at each frame");
        }

        @Test
        void a_broken_rule_is_the_end() throws Exception {   // rejects: going on after a broken frame
            var client = webSocket(serve(echo(LIMITS, ends), PLAIN));
            client.raw(concat(hex("81 02 6869"), client(0x81, bytes("after")), client(0x89, bytes("after"))));
            client.expectClose(1002, "after a broken rule nothing more is read, and nothing but the close frame is sent");
            Check.equal(1002, ended(ends).code(), "the code of Closed", "");
        }

        @Test
        void a_client_that_is_still_sending_hears_why() throws Exception {   // rejects: waiting for a payload too long
            var client = webSocket(serve(echo(LIMITS, ends), PLAIN));
            client.raw(hex("82 ff 0000000010000000 00000000")).raw(letters(100_000));
            client.expectClose(1009, "the length alone says that it is too much");
        }

        @Test
        void after_the_end_receive_says_so_again_and_again() throws Exception {
            var seen = new LinkedBlockingQueue<HijackServer.Message>();
            var server = serve((request, response) -> {
                var socket = HijackServer.WebSocket.upgrade(request, response, LIMITS);
                for (int i = 0; i < 3; i++) {
                    seen.add(socket.receive());
                }
            }, PLAIN);
            webSocket(server).send(0x83, "x").expectClose(1002, "");
            Await.until(() -> seen.size() == 3, "that receive() returns three times", "");
            for (var message : seen) {
                Check.that(message instanceof HijackServer.Message.Closed(int code, String reason) && code == 1002,
                        "a Closed with 1002 each time, got " + message, "");
            }
        }

        @Test
        void the_JDKs_client_gets_back_what_it_sends() throws Exception {   // it sends fragments of 16 KiB
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
        void frames_of_many_threads_do_not_mix() throws Exception {   // a peer that nobody here wrote: OkHttp
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

    @Step(value = 7, title = "Close both ways", further = true)
    class Close_both_ways {

        private static final String ECHO = "send the close frame back as it came, and end the connection";

        private final BlockingQueue<HijackServer.Message.Closed> ends = new LinkedBlockingQueue<>();

        @Test
        void a_goodbye_is_sent_back_and_the_server_hangs_up() throws Exception {
            // rejects: an echo without the end, an end without the echo
            var server = serve(echo(LIMITS, ends), PLAIN);
            webSocket(server).send(0x88, goodbye(1000, "")).expect(0x88, goodbye(1000, ""), ECHO).play(ECHO, end());
            Check.equal(new HijackServer.Message.Closed(1000, ""), ended(ends), "what receive() returns", "");
            webSocket(server).send(0x88, goodbye(4000, "door 3 löst aus")).expect(0x88, goodbye(4000, "door 3 löst aus"), ECHO)
                    .play(ECHO, end());
            Check.equal(new HijackServer.Message.Closed(4000, "door 3 löst aus"), ended(ends), "what receive() returns", "");
            Await.until(() -> server.stats().hijackedOpen() == 0, "that stats().hijackedOpen() becomes 0", ECHO);
        }

        @Test
        void a_goodbye_without_a_code_is_1005() throws Exception {   // rejects: 1005 on the wire, an exception
            webSocket(serve(echo(LIMITS, ends), PLAIN)).send(0x88, "").expect(0x88, "",
                    "an empty close frame is sent back empty: 1005 never travels").play(ECHO, end());
            Check.equal(new HijackServer.Message.Closed(1005, ""), ended(ends), "what receive() returns", "");
        }

        @Test
        void a_goodbye_in_the_middle_of_a_message_counts() throws Exception {
            webSocket(serve(echo(LIMITS, ends), PLAIN)).send(0x01, "li").send(0x88, goodbye(1001, "")).expect(0x88,
                    goodbye(1001, ""), ECHO).play(ECHO, end());
            Check.equal(1001, ended(ends).code(), "the code of Closed", "");
        }

        @Test
        void codes_that_may_travel_are_sent_back() throws Exception {   // rejects: rules that forbid too much
            var server = serve(echo(LIMITS, ends), PLAIN);
            for (int code : new int[] {1000, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999}) {
                webSocket(server).send(0x88, goodbye(code, "")).expect(0x88, goodbye(code, ""), "code " + code + " is allowed");
                Check.equal(code, ended(ends).code(), "the code of Closed", "");
            }
        }

        @Test
        void codes_that_may_not_are_1002() throws Exception {   // rejects: an echo of whatever came, a signed short
            var server = serve(echo(LIMITS, ends), PLAIN);
            for (int code : new int[] {0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535}) {
                webSocket(server).send(0x88, goodbye(code, "")).expectClose(1002, "code " + code + " must not be on the wire");
                Check.equal(1002, ended(ends).code(), "the code of Closed", "");
            }
        }

        @Test
        void half_a_code_is_1002_and_a_reason_must_be_UTF_8() throws Exception {
            var server = serve(echo(LIMITS, ends), PLAIN);
            webSocket(server).send(0x88, hex("03")).expectClose(1002, "a code has two bytes");
            webSocket(server).send(0x88, hex("03e8 ff")).expectClose(1007, "the reason is text, and text is UTF-8");
        }

        @Test
        void who_leaves_without_a_goodbye_is_1006() throws Exception {   // rejects: an exception that nobody expects
            var server = serve(echo(LIMITS, ends), PLAIN);
            webSocket(server).play("", close());
            Check.equal(1006, ended(ends).code(), "the code of Closed after the end", "");
            webSocket(server).send(0x01, "half a mess").play("", reset());
            Check.equal(1006, ended(ends).code(), "the code of Closed after a reset", "");
        }

        @Test
        void the_server_says_goodbye_and_waits_for_the_answer() throws Exception {
            // rejects: a close that does not wait; what is still on its way is then lost by a reset
            var opened = new CompletableFuture<HijackServer.WebSocket>();
            var server = serve(kept(opened, LIMITS), PLAIN);
            var client = webSocket(server);
            var socket = Await.value(opened, "that the handler has a WebSocket", "");
            var closing = PendingCall.start(() -> {
                socket.close(1001, "the lift is out of order");
                return true;
            });
            client.expect(0x88, goodbye(1001, "the lift is out of order"), "close() sends a close frame with code and reason");
            closing.awaitWaiting();
            client.play("close() waits until the client has said goodbye, too", silence(millis(20)));
            Check.that(!closing.outcome().isDone(), "close() to wait for the client's goodbye, but it has returned", "");
            client.send(0x81, "one more thing").play("a message is no goodbye: receive() until it says Closed",
                    silence(millis(50)));
            client.send(0x89, "ping").send(0x88, goodbye(1001, "")).play(
                    "after the client's goodbye the server ends the connection, without a word more", end());
            Await.value(closing.outcome(), "that close() returns", "receive() until it says Closed");
            Check.equal(0, server.stats().hijackedOpen(), "stats().hijackedOpen()", "close the connection in finally");
        }

        @Test
        void a_client_that_does_not_answer_is_waited_for_in_vain() throws Exception {   // rejects: a wait without a limit
            var opened = new CompletableFuture<HijackServer.WebSocket>();
            var server = serve(kept(opened, LIMITS.withCloseTimeout(millis(100))), PLAIN);
            var client = webSocket(server);
            var socket = Await.value(opened, "that the handler has a WebSocket", "");
            var closing = background(() -> {
                socket.close();
                return true;
            });
            client.expect(0x88, goodbye(1000, ""), "close() is close(1000, \"\")");
            Await.value(closing, "that close() returns after closeTimeout", "cutAfter(closeTimeout)");
            client.play("the connection ends in any case: finally", gone());
        }

        @Test
        void a_client_that_reads_nothing_cannot_hold_up_the_close() throws Exception {
            // rejects: a limit that begins only when the close frame is written
            var opened = new CompletableFuture<HijackServer.WebSocket>();
            var server = serve(kept(opened, LIMITS.withCloseTimeout(millis(50))), PLAIN);
            webSocket(server, 4096);
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
        void who_waits_in_receive_hears_of_the_close() throws Exception {   // rejects: two readers of one stream
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
            client.expect(0x88, goodbye(1001, ""), "").send(0x88, goodbye(1001, "")).play(ECHO, end());
            Check.equal(1001, ended(ends).code(), "the code of Closed", "");
            Await.value(closing, "that close() returns", "receive() in close() waits for the other thread, and then says Closed");
        }

        @Test
        void two_goodbyes_that_cross_are_enough() throws Exception {   // rejects: an echo of the answer
            var opened = new CompletableFuture<HijackServer.WebSocket>();
            var server = serve(kept(opened, LIMITS), PLAIN);
            var client = webSocket(server).send(0x88, goodbye(1000, "me first"));
            var socket = Await.value(opened, "that the handler has a WebSocket", "");
            socket.close(1001, "no, me");
            client.expect(0x88, goodbye(1001, "no, me"), "").play("each side says goodbye once: writeClose()", end());
            Check.equal(new HijackServer.Message.Closed(1000, "me first"), socket.receive(), "what receive() returns", "");
        }

        @Test
        void nothing_is_sent_after_the_goodbye() throws Exception {
            var opened = new CompletableFuture<HijackServer.WebSocket>();
            var server = serve(kept(opened, LIMITS), PLAIN);
            webSocket(server).send(0x88, goodbye(1000, ""));
            var socket = Await.value(opened, "that the handler has a WebSocket", "");
            socket.receive();
            Check.fails(IOException.class, () -> socket.sendText("too late"), "sendText() after the goodbye", "");
            Check.fails(IOException.class, () -> socket.sendBinary(new byte[1]), "sendBinary() after the goodbye", "");
            Check.fails(IOException.class, () -> socket.ping(new byte[1]), "ping() after the goodbye", "");
            socket.close(1001, "once more");
            socket.close();
            socket.close();
        }

        @Test
        void a_close_that_cannot_be_said_is_refused() throws Exception {
            var opened = new CompletableFuture<HijackServer.WebSocket>();
            var client = webSocket(serve(kept(opened, LIMITS), PLAIN));
            var socket = Await.value(opened, "that the handler has a WebSocket", "");
            for (int code : new int[] {-1, 0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 66_536}) {
                Check.fails(IllegalArgumentException.class, () -> socket.close(code, ""), "close(" + code + ", \"\")",
                        "mayTravel() says which codes are for the wire");
            }
            Check.fails(IllegalArgumentException.class, () -> socket.close(1000, "ü".repeat(62)), "a reason of 124 bytes", "");
            client.send(0x88, goodbye(1000, ""));
            socket.close(1000, "ü".repeat(61));
            client.expect(0x88, goodbye(1000, "ü".repeat(61)), "a refused close() has sent nothing, and a reason may have 123 bytes");
        }

        @Test
        void the_JDKs_client_says_goodbye() throws Exception {   // a peer that nobody here wrote
            var server = serve(echo(LIMITS, ends), PLAIN);
            var listener = new JdkListener();
            jdkSocket(server, listener).sendClose(4001, "seen enough").get(Patience.millis(), TimeUnit.MILLISECONDS);
            Check.equal(new HijackServer.Message.Closed(4001, "seen enough"), ended(ends), "what receive() returns", "");
            Check.equal("4001 seen enough", listener.next(), "what onClose() is told", ECHO);
        }

        @Test
        void OkHttp_understands_the_goodbye() throws Exception {   // another one
            var opened = new CompletableFuture<HijackServer.WebSocket>();
            var server = serve(kept(opened, LIMITS), PLAIN);
            var listener = new OkListener();
            okSocket(server, listener);
            var socket = Await.value(opened, "that the handler has a WebSocket", "");
            socket.close(1001, "going home");
            Check.equal("1001 going home", listener.next(), "what onClosing() is told", "");
            Check.equal("closed", listener.next(), "what comes then", "after the client's goodbye the server ends the connection");
            Check.equal(0, server.stats().hijackedOpen(), "stats().hijackedOpen()", "close the connection in finally");
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

    private static void named(Class<? extends Exception> type, String name, Check.Code code) {
        var thrown = Check.fails(type, code, "a wrong " + name, "check the arguments first");
        Check.that(String.valueOf(thrown.getMessage()).contains(name),
                "the message to name " + name + ", got " + thrown.getMessage(), "say which argument is wrong");
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

    private static byte[] goodbye(int code, String reason) {
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
        return webSocket(server, 0);
    }

    private static Ws webSocket(HijackServer server, int receiveBuffer) throws IOException {
        var peer = HttpPeer.connect(server.localAddress(), "client", receiveBuffer).play("", send(handshake()));
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
