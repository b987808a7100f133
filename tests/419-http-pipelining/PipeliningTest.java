///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:mockwebserver3:5.5.1
//SOURCES ../../labs/419-http-pipelining/Pipelining.java
//SOURCES ../kit/*.java

import static kit.TestLifecycle.closeLater;

import module java.base;
import module java.logging;

import com.sun.net.httpserver.HttpServer;
import java.lang.management.ManagementFactory;
import jdk.management.VirtualThreadSchedulerMXBean;
import kit.Action;
import kit.Await;
import kit.Check;
import kit.Expectation;
import kit.FakeClock;
import kit.History;
import kit.HttpPeer;
import kit.Lab;
import kit.Patience;
import kit.PendingCall;
import kit.Step;
import mockwebserver3.Dispatcher;
import mockwebserver3.MockResponse;
import mockwebserver3.MockWebServer;
import mockwebserver3.RecordedRequest;
import okhttp3.OkHttpClient;
import okhttp3.Protocol;
import org.junit.jupiter.api.Test;

/**
 * Lab 419, step by step. The server is asked by a peer that writes whatever
 * bytes it is told to; the client meets a scripted server, which reads requests
 * one by one and decides when each response is sent. So no test needs a delay:
 * what must not come is looked for behind what must. A comment {@code rejects:}
 * names the wrong solutions that a test is there for.
 */
@Lab
class PipeliningTest {

    /** OkHttp and MockWebServer load many classes at their first call. */
    public static final class WarmUp implements Runnable {
        @Override
        public void run() {
            try (var server = mock(_ -> new MockResponse.Builder()
                    .body("warm").build())) {
                var client = okHttp(Protocol.H2_PRIOR_KNOWLEDGE);
                get(client, server, "/");
                client.connectionPool().evictAll();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    @Step(value = 1, title = "Respond in order")
    class Respond_in_order {

        @Test
        void five_requests_in_one_segment_get_five_responses_in_order()
                throws IOException {
            // rejects: a new BufferedInputStream for each request; a response
            // that is only the first
            var server = echo();
            var peer = connect(server).play("", Action.send(
                    gets("/1", "/2", "/3", "/4", "/5")));
            responses(peer, "go on reading from the same connection.in",
                    "/1", "/2", "/3", "/4", "/5");
            Check.equal(5L, server.requests(), "requests()",
                    "count each valid request once");
        }

        @Test
        void requests_that_come_byte_by_byte_get_responses_in_order()
                throws IOException {
            var server = echo();
            var peer = connect(server).play("", Action.sendSingly(
                    gets("/1", "/2") + post("/3", "hello")));
            responses(peer, "a request may come in any number of pieces",
                    "/1", "/2", "/3 hello");
            Check.equal(3L, server.requests(), "requests()",
                    "count each valid request, a POST, too");
        }

        @Test
        void requests_and_responses_leave_what_follows_them()
                throws IOException {
            // the given codec, each row with one byte a read
            works();
            var rows = new LinkedHashMap<String, String>();
            rows.put(get("/"), "");
            rows.put(post("/", "hello"), "hello");
            rows.put("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked"
                    + "\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\n",
                    "hello");
            rows.put("\r\nGET / HTTP/1.0\r\n\r\n", "");
            for (var row : rows.entrySet()) {
                var in = new OneByOne(row.getKey() + "NEXT");
                Check.equal(row.getValue(), utf8(Pipelining.Messages
                        .readRequest(in).message().body()), "the body of "
                        + row.getKey(), "leave the given Messages as they are");
                Check.equal("NEXT", utf8(in.readAllBytes()), "what is left",
                        "leave the given Messages as they are");
            }
            for (var answer : List.of("200 hello", "204 ", "304 ")) {
                boolean empty = !answer.startsWith("200");
                var in = new OneByOne("HTTP/1.1 103 \r\nLink: x\r\n\r\n"
                        + "HTTP/1.1 " + answer.substring(0, 4) + "\r\n"
                        + "Content-Length: 5, 5\r\n\r\n".replace(", 5", "")
                        + answer.substring(4) + "NEXT");
                var message = Pipelining.Messages.readResponse(in, "GET")
                        .message();
                Check.equal(empty ? "" : "hello", utf8(message.body()),
                        "the body of a " + message.status(), "");
                Check.equal("NEXT", utf8(in.readAllBytes()), "what is left",
                        "leave the given Messages as they are");
            }
        }

        @Test
        void an_invalid_request_is_refused_after_the_responses_before_it()
                throws IOException {
            // rejects: a 400 that is not sent; one that overtakes; a
            // connection that goes on behind it
            var rows = new LinkedHashMap<String, Integer>();
            rows.put("GET /\r\n\r\n", 400);
            rows.put("GET / HTTP/1.1\r\n\r\n", 400);
            rows.put("GET / HTTP/1.1\nHost: h\n\n", 400);
            rows.put("GET / HTTP/1.1\r\nHost: a/b@c d\r\n\r\n", 400);
            rows.put("GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n", 400);
            rows.put("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
                    + "Transfer-Encoding: chunked\r\n\r\n", 400);
            rows.put("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
                    + "Content-Length: 5\r\n\r\n", 400);
            rows.put("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8388609"
                    + "\r\n\r\n", 413);
            rows.put("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                    + "\r\n", 417);
            rows.put("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, "
                    + "chunked\r\n\r\n", 501);
            rows.put("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505);
            rows.put("GET /" + "x".repeat(16384), 414);
            var server = echo();
            for (var row : rows.entrySet()) {
                try (var peer = connect(server).play("", Action.send(
                        get("/before") + row.getKey() + get("/behind")),
                        Action.halfClose())) {
                    responses(peer, "the valid request before it is answered"
                            + " first", "/before");
                    var answer = peer.answer("catch the BadMessageException"
                            + " and dispatch() a response with its status()");
                    Check.equal(row.getValue(), answer.status(),
                            "the response to " + row.getKey().lines()
                            .findFirst().orElseThrow(), "the exception tells"
                            + " the status");
                    Check.equal("close", answer.field("Connection").orElse(
                            "none"), "its field Connection", "the exchange is"
                            + " the last one: nobody knows where the next"
                            + " request begins");
                    peer.play("nothing behind an invalid request is read",
                            Expectation.end());
                }
            }
            Check.equal((long) rows.size(), server.requests(), "requests()",
                    "count valid requests only");
        }

        @Test
        void a_handler_that_fails_is_a_500_and_the_next_request_is_answered()
                throws IOException {
            // rejects: an exception that ends the connection; Exception only
            var server = serve(request -> switch (request.target()) {
                case "/exception" -> throw new IOException("of the handler");
                case "/error" -> throw new StackOverflowError();
                case "/null" -> null;
                default -> text(request.target());
            });
            var peer = connect(server).play("", Action.send(gets(
                    "/exception", "/error", "/null", "/4")));
            for (var what : List.of("Exception", "Error", "null")) {
                Check.equal(500, peer.answer("get() throws an"
                        + " ExecutionException when the handler has failed")
                        .status(), "the status after " + what,
                        "the task fails with an ExecutionException");
            }
            responses(peer, "a handler's failure leaves the connection as it"
                    + " is", "/4");
        }

        @Test
        void nothing_behind_a_request_with_close_is_handled()
                throws IOException {
            // rejects: a loop that goes on; a close without the field
            var server = echo();
            for (var close : List.of("HTTP/1.1\r\nHost: h\r\nConnection: close",
                    "HTTP/1.1\r\nHost: h\r\nconnection: x, CLOSE",
                    "HTTP/1.0")) {
                long before = server.requests();
                var peer = connect(server).play("", Action.send(
                        gets("/1", "/2") + "GET /3 " + close + "\r\n\r\n"
                        + gets("/4", "/5")), Action.halfClose());
                responses(peer, "", "/1", "/2");
                var third = peer.answer("answer the last request, too"
                        + " (in step 5, release slots after the response)");
                Check.equal("close", third.field("Connection").orElse("none"),
                        "Connection in the last response", "say it: the client"
                        + " learns that the requests behind are not handled");
                peer.play("return after the request with isLast",
                        Expectation.end());
                Check.equal(before + 3, server.requests(), "requests()",
                        "what stands behind a close is not read");
            }
        }

        @Test
        void a_response_to_HEAD_has_a_length_and_no_body() throws IOException {
            // rejects: encode() with "GET"
            var peer = connect(echo()).play("", Action.send(
                    "HEAD /1 HTTP/1.1\r\nHost: h\r\n\r\n" + get("/2")));
            var likely = "give the method of the request to encode()";
            Check.equal("2", peer.head(likely).field("Content-Length")
                    .orElse("none"), "Content-Length for HEAD", likely);
            responses(peer, likely, "/2");
        }

        @Test
        void a_client_that_has_sent_its_end_still_gets_all_responses()
                throws IOException {
            // rejects: closing at the end of the requests; half a request
            var server = echo();
            var peer = connect(server).play("", Action.send(gets("/1", "/2")
                    + "GET /half HTTP/1.1\r\nHo"), Action.halfClose());
            responses(peer, "answer what has come", "/1", "/2");
            peer.play("when no request comes any more, the connection ends",
                    Expectation.end());
            Check.equal(2L, server.requests(), "requests()",
                    "a request that is not whole is none");
        }

        @Test
        void a_connection_without_requests_is_closed_after_idleTimeout()
                throws Exception {
            var server = closeLater(Pipelining.Server.start(ANY,
                    request -> text(request.target()), options()
                    .withIdleTimeout(Duration.ofMillis(20))));
            connect(server).play("return when no request comes",
                    Expectation.end(), Action.close());
            Await.until(() -> server.connections() == 0, "connections() = 0",
                    "serve() returns when readRequest() brings nothing");
        }

        @Test
        void close_ends_the_connections_and_their_handlers() throws Exception {
            var ended = new CompletableFuture<String>();
            var started = new CountDownLatch(1);
            var server = serve(_ -> {
                started.countDown();
                try {
                    new CountDownLatch(1).await();
                } catch (InterruptedException e) {
                    ended.complete("interrupted");
                }
                return text("late");
            });
            var peer = connect(server).play("", Action.send(get("/")));
            Await.open(started, "that the handler runs", "dispatch() it");
            server.close();
            Check.equal("interrupted", Await.value(ended, "that the handler"
                    + " ends", ""), "the handler", "leave the InterruptedExc"
                    + "eption alone");
            peer.play("", Expectation.gone());
            server.close();
        }

        @Test
        void the_exception_for_an_invalid_argument_names_the_argument()
                throws IOException {
            works();
            var options = options();
            Check.named("maxDepth", () -> options.withMaxDepth(0));
            Check.named("responseTimeout", () -> options.withResponseTimeout(
                    Duration.ofNanos(-1)));
            Check.named("idleTimeout", () -> options.withIdleTimeout(
                    Duration.ofNanos(-1)));
            Check.named("nanoClock", () -> options.withNanoClock(null));
            Check.named("handler", () -> Pipelining.Server.start(ANY, null, options));
            Check.named("name", () -> new Pipelining.Header("a b", ""));
            Check.named("value", () -> new Pipelining.Header("a", "b\r\nc: d"));
            Check.named("target", () -> Pipelining.Request.get("/a b"));
            Check.named("status", () -> Pipelining.Response.text(100, ""));
        }
    }

    @Step(value = 2, title = "Pipeline requests on one connection")
    class Pipeline_requests_on_one_connection {

        @Test
        void requests_leave_before_the_first_response() throws Exception {
            // rejects: one request after the other
            var script = Script.start();
            var client = client(script);
            var calls = send(client, "/1", "/2", "/3", "/4", "/5");
            var connection = script.accept();
            connection.reads("a request does not wait for the response before",
                    "/1", "/2", "/3", "/4", "/5");
            connection.responds("/1", "/2", "/3", "/4", "/5");
            bring(calls, "/1", "/2", "/3", "/4", "/5");
            Check.equal(new Pipelining.Stats(1, 5, 5, 0), client.stats(),
                    "stats()", "count in take() and in receive()");
        }

        @Test
        void no_more_than_maxDepth_requests_are_outstanding() throws Exception {
            // rejects: no limit; a limit counted from 0; slots that never
            // come back
            var script = Script.start();
            var client = closeLater(Pipelining.Client.create(script.address(),
                    options().withMaxDepth(3)));
            var calls = send(client, "/1", "/2", "/3", "/4", "/5");
            var connection = script.accept();
            connection.reads("three may leave", "/1", "/2", "/3");
            settle();
            Check.equal("3 2", client.inFlight() + " " + client.queued(),
                    "inFlight() and queued() with maxDepth 3", "compare the"
                    + " size of outstanding with mostOutstanding()");
            connection.silent("the fourth waits for a response");
            connection.responds("/1");
            connection.reads("each response lets one more request leave: wake"
                    + " the writer by notifyAll()", "/4");
            connection.responds("/2", "/3", "/4");
            connection.reads("", "/5").responds("/5");
            bring(calls, "/1", "/2", "/3", "/4", "/5");
            Check.equal("0 0", client.inFlight() + " " + client.queued(),
                    "inFlight() and queued() at the end", "remove calls from"
                    + " queue and from outstanding");
        }

        @Test
        void each_response_goes_to_the_oldest_request() throws Exception {
            // rejects: a stack; two readers; a callback with the lock held
            var script = Script.start();
            var client = client(script);
            var order = new ConcurrentLinkedQueue<String>();
            var calls = send(client, "/1", "/2", "/3", "/4");
            for (var call : calls) {
                call.thenAccept(response -> order.add(utf8(response.body())));
            }
            var asked = calls.getFirst().thenApply(_ -> CompletableFuture
                    .supplyAsync(client::inFlight).orTimeout(
                    Patience.millis() / 2, TimeUnit.MILLISECONDS).join());
            script.accept().reads("", "/1", "/2", "/3", "/4")
                    .sendsSingly(ok("one") + ok("two"))
                    .sends(ok("three") + ok("four"));
            Await.value(asked, "that a callback gets inFlight() from another"
                    + " thread", "complete a future without the lock");
            bring(calls, "one", "two", "three", "four");
            Await.until(() -> order.size() == 4, "four callbacks", "");
            Check.equal("[one, two, three, four]", order.toString(),
                    "the order of the futures", "complete each future before"
                    + " the next response is read");
        }

        @Test
        void a_response_to_HEAD_in_the_middle_has_no_body() throws Exception {
            // rejects: the method of another request; no method at all
            var script = Script.start();
            var client = client(script);
            var head = new Pipelining.Request("HEAD", "/2", List.of(),
                    new byte[0]);
            var calls = List.of(client.send(request("/1")), client.send(head),
                    client.send(request("/3")));
            script.accept().reads("", "/1", "/2", "/3").sends(ok("/1")
                    + "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
                    + ok("/3"));
            bring(calls, "/1", "", "/3");
        }

        @Test
        void every_kind_of_response_ends_where_the_next_begins()
                throws Exception {
            // rejects: a 100 that counts as the response; a 500 that ends all
            var script = Script.start();
            var client = client(script);
            var calls = send(client, "/1", "/2", "/3", "/4", "/5", "/6");
            script.accept().reads("", "/1", "/2", "/3", "/4", "/5", "/6")
                    .sends("HTTP/1.1 100 \r\n\r\nHTTP/1.1 103 \r\nLink: x\r\n"
                    + "\r\n" + ok("/1") + "HTTP/1.1 500 \r\nContent-Length: 2"
                    + "\r\n\r\n/2HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"
                    + "\r\n\r\n1\r\n/\r\n1;x\r\n3\r\n0\r\nA: b\r\n\r\n"
                    + "HTTP/1.1 204 \r\n\r\nHTTP/1.1 304 \r\nContent-Length: 9"
                    + "\r\n\r\n" + ok("/6"));
            bring(calls, "/1", "/2", "/3", "", "", "/6");
            Check.equal(500, calls.get(1).join().status(), "the second status",
                    "a 500 is a response like any other");
        }

        @Test
        void a_cancelled_call_does_not_shift_the_responses() throws Exception {
            // rejects: a call removed from outstanding when it is cancelled
            var script = Script.start();
            var client = client(script);
            var calls = send(client, "/1", "/2", "/3");
            var connection = script.accept().reads("", "/1", "/2", "/3");
            calls.get(1).cancel(true);
            connection.responds("/1", "/2", "/3");
            bring(List.of(calls.get(0), calls.get(2)), "/1", "/3");
            Check.equal(3L, client.stats().responses(), "responses()",
                    "the response to a cancelled call is read and dropped");
        }

        @Test
        void a_response_that_nobody_asked_for_closes_the_connection()
                throws Exception {
            // rejects: one that is kept for the next request
            var script = Script.start();
            var client = client(script);
            var first = client.send(request("/1"));
            var connection = script.accept().reads("", "/1")
                    .sends(ok("/1") + ok("evil"));
            bring(List.of(first), "/1");
            connection.ends("a response without an outstanding call is a"
                    + " BadMessageException");
            var second = client.send(request("/2"));
            script.accept().reads("", "/2").responds("/2");
            bring(List.of(second), "/2");
        }

        @Test
        void an_idle_connection_that_the_server_closed_is_replaced()
                throws Exception {
            var script = Script.start();
            var client = client(script);
            for (int i = 1; i <= 2; i++) {
                var call = client.send(request("/" + i));
                var connection = script.accept().reads("a request opens a"
                        + " connection if there is none", "/" + i)
                        .responds("/" + i);
                bring(List.of(call), "/" + i);
                connection.finishes().ends("receive() returns when begins() is"
                        + " false");
            }
            var last = client.send(request("/3"));
            var connection = script.accept().reads("", "/3")
                    .sends(closing("/3"));
            bring(List.of(last), "/3");
            connection.ends("receive() returns when the connection does not"
                    + " persist");
            Check.equal(new Pipelining.Stats(3, 3, 3, 0), client.stats(),
                    "stats()", "a connection that was idle loses no request");
        }

        @Test
        void calls_of_many_threads_get_their_own_responses() throws Exception {
            // rejects: a queue and a wire in different orders
            var server = HttpServer.create(ANY, 0);
            server.createContext("/", exchange -> {
                var body = exchange.getRequestURI().toString().getBytes();
                exchange.sendResponseHeaders(200, body.length);
                exchange.getResponseBody().write(body);
                exchange.close();
            });
            server.start();
            try (var client = Pipelining.Client.create(server.getAddress(),
                    options())) {
                var threads = IntStream.range(0, 4).mapToObj(thread ->
                        PendingCall.start(() -> {
                    for (int i = 0; i < 50; i++) {
                        var target = "/" + thread + "/" + i;
                        Check.equal(target, utf8(client.send(request(target)).get(
                                Patience.millis(), TimeUnit.MILLISECONDS)
                                .body()), "the JDK's HttpServer's response to "
                                + target, "requests leave in the order in"
                                + " which they become outstanding");
                    }
                    return true;
                })).toList();
                for (var thread : threads) {
                    Await.value(thread.outcome(), "50 responses", "");
                }
                Check.equal(1L, client.stats().connectionsOpened(),
                        "connectionsOpened()", "all calls share a connection");
            } finally {
                server.stop(0);
            }
        }

        @Test
        void close_fails_all_calls_and_those_that_come_later()
                throws Exception {
            // rejects: a call that is queued after close() and never ends
            var script = Script.start();
            var client = closeLater(Pipelining.Client.create(script.address(),
                    options().withMaxDepth(1)));
            var sent = client.send(request("/sent"));
            script.accept().reads("", "/sent");
            var queued = client.send(request("/queued"));
            client.close();
            var later = client.send(request("/later"));
            for (var call : List.of(sent, queued, later)) {
                var failure = fails(call, "after close()", "fail() the call");
                Check.equal("closed", failure.getCause().getMessage(),
                        "the message of the cause", "fail() the call with"
                        + " closed()");
                Check.equal(call == sent, failure.mayHaveRun(), "mayHaveRun()",
                        "only the first was sent");
            }
            client.close();
        }

        @Test
        void a_server_that_cannot_be_reached_fails_the_calls()
                throws Exception {
            var address = new InetSocketAddress(ANY.getAddress(), freePort());
            var client = closeLater(Pipelining.Client.create(address,
                    options()));
            var failure = fails(client.send(request("/1")), "without a server",
                    "");
            Check.that(!failure.mayHaveRun() && failure.getCause()
                    instanceof IOException, "a cause that is an IOException,"
                    + " and that the request has not run, got " + failure, "");
        }

        @Test
        void a_request_that_only_the_client_can_frame_is_refused()
                throws Exception {
            var client = client(Script.start());
            client.send(request("/"));
            for (var name : List.of("Host", "connection", "Content-Length",
                    "Transfer-Encoding", "Expect", "Upgrade")) {
                Check.named("headers", () -> client.send(new Pipelining.Request("GET",
                        "/", List.of(new Pipelining.Header(name, "x")),
                        new byte[0])));
            }
            Check.named("method", () -> client.send(new Pipelining.Request("CONNECT",
                    "h:1", List.of(), new byte[0])));
        }
    }

    @Step(value = 3, title = "Compare sequential, pipelined and parallel",
            leak = "close all clients in finally")
    class Compare_sequential_pipelined_and_parallel {

        @Test
        void ten_requests_in_sequence_are_ten_rounds() throws Exception {
            // rejects: a sequence on ten connections
            var rounds = new Rounds(1);
            var race = rounds.race(script -> Pipelining.sequential(
                    script.address(), targets(10)));
            Check.equal("10 rounds, 1 connections", rounds + ", "
                    + race.connections() + " connections", "sequential()",
                    "one request at a time, all on one connection");
            isWhole(race, 10);
            Check.equal(race.each().stream().sorted().toList(), race.each(),
                    "each() of a sequence", "the times are those since the"
                    + " start, in the order of the requests");
        }

        @Test
        void ten_requests_in_a_pipeline_of_depth_ten_are_one_round()
                throws Exception {
            // rejects: the depth of Options.defaults()
            for (int depth : new int[] {10, 4}) {
                var rounds = new Rounds(depth);
                var race = rounds.race(script -> Pipelining.pipelined(
                        script.address(), targets(10), depth));
                Check.equal((depth == 10 ? 1 : 3) + " rounds, 1 connections",
                        rounds + ", " + race.connections() + " connections",
                        "pipelined() with depth " + depth,
                        "a Client with this maxDepth, which gets as many"
                        + " requests as that before the first response");
                isWhole(race, 10);
            }
        }

        @Test
        void ten_requests_on_five_connections_are_two_rounds()
                throws Exception {
            // rejects: one connection; a connection for each request
            for (int connections : new int[] {5, 20}) {
                int used = Math.min(connections, 10);
                var rounds = new Rounds(used);
                var race = rounds.race(script -> Pipelining.parallel(
                        script.address(), targets(10), connections));
                Check.equal("%d rounds, %d connections".formatted(10 / used,
                        used), rounds + ", " + race.connections()
                        + " connections", "parallel() on " + connections,
                        "one request at a time on each connection, and only"
                        + " those that were opened count");
                isWhole(race, 10);
            }
        }

        @Test
        void a_slow_response_delays_no_request_on_another_connection()
                throws Exception {
            // rejects: fixed shares, two requests for each of five connections
            var script = Script.start();
            var race = PendingCall.start(() -> Pipelining.parallel(
                    script.address(), targets(10), 5));
            var over = new CountDownLatch(9);
            var begin = new AtomicLong();
            var held = new AtomicLong();
            script.serve((connection, request) -> {
                begin.compareAndSet(0, System.nanoTime());
                if (request.target().equals("/0")) {
                    Await.open(over, "nine responses while the first is"
                            + " missing", "a connection that is free takes the"
                            + " next request, whichever that is");
                    Thread.sleep(30);   // the server is slow
                    held.set(System.nanoTime() - begin.get());
                } else {
                    over.countDown();
                }
                connection.responds(request.target());
            });
            var each = Await.value(race.outcome(), "the race to end",
                    "a connection that is free takes the next request").each();
            Check.that(each.getFirst().toNanos() >= held.get(), "the first of"
                    + " each() to be the time of the slow response, at least "
                    + held.get() / 1000 + " us, got " + each, "note the time"
                    + " of a response when it comes, at the place of its"
                    + " request");
        }

        @Test
        void a_request_that_fails_makes_the_race_fail() throws Exception {
            // rejects: a failure that is ignored; clients that stay open
            var dead = new InetSocketAddress(ANY.getAddress(), freePort());
            for (Check.Code race : List.<Check.Code>of(
                    () -> Pipelining.sequential(dead, targets(2)),
                    () -> Pipelining.pipelined(dead, targets(2), 2),
                    () -> Pipelining.parallel(dead, targets(2), 2))) {
                Check.fails(IOException.class, race, "a race without a server",
                        "await() each response");
            }
        }

        @Test
        void OkHttp_opens_a_connection_for_each_of_four_calls_at_once()
                throws Exception {
            // step 1's server is asked by a library; no client pipelines
            var all = new CyclicBarrier(4);
            var server = serve(request -> {
                all.await(Patience.millis(), TimeUnit.MILLISECONDS);
                return text(request.target());
            });
            var client = okHttp(Protocol.HTTP_1_1);
            var calls = IntStream.range(0, 4).mapToObj(i -> PendingCall.start(
                    () -> get(client, server.localAddress().getPort(),
                    "/" + i))).toList();
            for (int i = 0; i < 4; i++) {
                Check.equal("/" + i, Await.value(calls.get(i).outcome(),
                        "OkHttp's call to end", ""), "OkHttp's response", "");
            }
            Check.equal(4, server.connections(), "connections()", "");
            client.connectionPool().evictAll();
        }

        @Test
        void OkHttp_with_HTTP_2_needs_one_connection_and_no_order()
                throws Exception {
            works();
            var slow = new CountDownLatch(1);
            try (var server = mock(request -> {
                if (request.getTarget().equals("/slow")) {
                    Await.open(slow, "the fast response first", "");
                }
                return new MockResponse.Builder().body(request.getTarget())
                        .build();
            })) {
                var client = okHttp(Protocol.H2_PRIOR_KNOWLEDGE);
                get(client, server, "/connects");
                var late = PendingCall.start(
                        () -> get(client, server, "/slow"));
                Check.equal("/connects", server.takeRequest().getTarget(),
                        "the first request", "");
                Check.equal("/slow", server.takeRequest().getTarget(),
                        "the second request", "");
                Check.equal("/fast", get(client, server, "/fast"),
                        "the response that overtakes", "");
                slow.countDown();
                Check.equal("/slow", Await.value(late.outcome(),
                        "the slow response", ""), "the slow response", "");
                Check.equal(1, client.connectionPool().connectionCount(),
                        "OkHttp's connections", "");
                client.connectionPool().evictAll();
            }
        }
    }

    @Step(value = 4, title = "Hold back non-idempotent requests",
            further = true)
    class Hold_back_non_idempotent_requests {

        @Test
        void idempotent_methods_are_those_of_RFC_9110() {
            // rejects: all but POST; methods in any case
            for (var method : List.of("GET", "HEAD", "OPTIONS", "TRACE", "PUT",
                    "DELETE")) {
                Check.that(request(method, "/").idempotent(), method
                        + " to be idempotent, got false",
                        "see RFC 9110 section 9.2.2");
            }
            for (var method : List.of("POST", "PATCH", "get", "Put", "LOCK",
                    "GETX", "XPUT")) {
                Check.that(!request(method, "/").idempotent(), method
                        + " not to be idempotent, got true", "a method is"
                        + " case-sensitive, and an unknown one may do anything");
            }
        }

        @Test
        void PUT_and_DELETE_are_pipelined_like_GET() throws Exception {
            // rejects: safe methods only
            var script = Script.start();
            var client = client(script);
            var calls = Stream.of("PUT", "GET", "DELETE", "HEAD").map(method ->
                    client.send(request(method, "/" + method))).toList();
            script.accept().reads("idempotent requests need not wait",
                    "PUT /PUT", "GET /GET", "DELETE /DELETE", "HEAD /HEAD")
                    .responds("/PUT", "/GET", "/DELETE")
                    .sends("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
            bring(calls, "/PUT", "/GET", "/DELETE", "");
        }

        @Test
        void a_POST_waits_until_nothing_is_outstanding() throws Exception {
            // rejects: only the one before it; no waiting at all
            var script = Script.start();
            var client = client(script);
            var calls = send(client, "/1", "/2", "POST /3");
            var connection = script.accept().reads("", "/1", "/2");
            var likely = "a request that is not idempotent is sent when nothing"
                    + " is outstanding";
            for (int i = 0; i < 2; i++) {
                settle();
                connection.silent(likely);
                Check.equal(1, client.queued(), "queued()", likely);
                connection.responds("/" + (i + 1));
                bring(calls.subList(i, i + 1), "/" + (i + 1));
            }
            connection.reads(likely, "POST /3").responds("/3");
            bring(calls.subList(2, 3), "/3");
        }

        @Test
        void nothing_follows_a_POST_before_its_final_response()
                throws Exception {
            // rejects: a rule for the request that waits only; 1xx as final
            var script = Script.start();
            var client = client(script);
            var calls = send(client, "POST /1", "/2", "/3");
            var connection = script.accept().reads("", "POST /1");
            var likely = "nothing may follow a request that is not idempotent"
                    + " before its final response (RFC 9112 section 9.3.2)";
            settle();
            connection.silent(likely);
            connection.sends("HTTP/1.1 100 \r\n\r\n");
            Check.equal("1 2", client.inFlight() + " " + client.queued(),
                    "inFlight() and queued()", likely);
            connection.responds("/1").reads("afterwards the others leave, "
                    + "pipelined", "/2", "/3").responds("/2", "/3");
            bring(calls, "/1", "/2", "/3");
        }

        @Test
        void a_request_that_waits_is_not_overtaken() throws Exception {
            // rejects: the first call of queue that may be sent
            var script = Script.start();
            var client = client(script);
            var calls = send(client, "/1", "POST /2", "/3", "/4");
            var connection = script.accept().reads("", "/1");
            settle();
            connection.silent("a GET behind a POST that waits must wait, too:"
                    + " the order of send() is the order on the wire");
            connection.responds("/1").reads("", "POST /2").responds("/2")
                    .reads("", "/3", "/4").responds("/3", "/4");
            bring(calls, "/1", "/2", "/3", "/4");
        }

        @Test
        void POST_requests_are_sent_one_after_the_other() throws Exception {
            // rejects: a rule for GET behind POST only
            var script = Script.start();
            var client = client(script);
            var calls = send(client, "POST /1", "POST /2", "patch /3");
            var connection = script.accept();
            for (int i = 1; i <= 3; i++) {
                connection.reads("", "/" + i);
                settle();
                connection.silent("a POST does not follow a POST, either");
                connection.responds("/" + i);
            }
            bring(calls, "/1", "/2", "/3");
        }

        @Test
        void a_POST_has_its_body_and_its_length() throws Exception {
            // given; the only body that the other tests send is empty
            var script = Script.start();
            var client = client(script);
            var call = client.send(Pipelining.Request.post("/", "hello"));
            Check.equal("hello", script.accept().next("").body(), "the body",
                    "");
            Check.that(!call.isDone(), "a call that waits", "");
        }
    }

    @Step(value = 5, title = "Run safe requests concurrently", further = true,
            death = "let the IOException and the InterruptedException pass")
    class Run_safe_requests_concurrently {

        @Test
        void safe_methods_are_those_of_RFC_9110() throws IOException {
            // rejects: idempotent methods
            works();
            for (var method : List.of("GET", "HEAD", "OPTIONS", "TRACE")) {
                Check.that(request(method, "/").safe(), method
                        + " to be safe, got false",
                        "see RFC 9110 section 9.2.1");
            }
            for (var method : List.of("POST", "PUT", "DELETE", "PATCH", "get",
                    "GETX")) {
                Check.that(!request(method, "/").safe(), method
                        + " not to be safe, got true", "only read-only methods"
                        + " are safe");
            }
        }

        @Test
        void four_safe_handlers_run_at_the_same_time() throws Exception {
            // rejects: one after the other
            var running = new CyclicBarrier(4);
            var server = serve(request -> {
                running.await(Patience.millis(), TimeUnit.MILLISECONDS);
                return text(request.target());
            });
            var peer = connect(server).play("", Action.send(gets("/1", "/2")
                    + "OPTIONS /3 HTTP/1.1\r\nHost: h\r\n\r\n" + get("/4")));
            responses(peer, "execute() the task of a safe request on a thread"
                    + " of its own, and read on; send the responses in the"
                    + " order of unsent", "/1", "/2", "/3", "/4");
        }

        @Test
        void responses_are_in_order_when_the_last_handler_ends_first()
                throws Exception {
            // rejects: a response written when its handler ends
            var gates = new Gates("/1", "/2", "/3", "/4");
            var server = serve(gates);
            var peer = connect(server).play("", Action.send(
                    gets("/1", "/2", "/3", "/4")));
            for (var target : List.of("/4", "/3", "/2", "/1")) {
                gates.awaitStart(target);
                gates.open(target);
            }
            responses(peer, "send the responses in the order of unsent, which"
                    + " is that of the requests", "/1", "/2", "/3", "/4");
        }

        @Test
        void a_response_does_not_wait_for_the_handlers_behind_it()
                throws Exception {
            // rejects: all tasks joined before the first response
            var gates = new Gates("/2");
            var peer = connect(serve(gates)).play("", Action.send(
                    gets("/1", "/2")));
            gates.awaitStart("/2");
            responses(peer, "send a response as soon as it is first in line",
                    "/1");
            gates.open("/2");
            responses(peer, "", "/2");
        }

        @Test
        void an_unsafe_request_runs_alone() throws Exception {
            // rejects: POST beside GET, before or behind it; PUT taken as safe
            for (var method : List.of("POST", "PUT", "DELETE")) {
                var gates = new Gates("/1", "/2", "/3");
                var server = serve(gates);
                var peer = connect(server).play("", Action.send(gets("/1", "/2")
                        + method + " /3 HTTP/1.1\r\nHost: h\r\n\r\n"
                        + gets("/4")));
                var likely = method + " is not safe: it waits for all requests"
                        + " before it, and all behind it wait for it";
                gates.awaitStart("/1");
                gates.awaitStart("/2");
                settle();
                gates.never("/3", likely);
                gates.open("/2");
                settle();
                gates.never("/3", likely);
                gates.open("/1");
                gates.awaitStart("/3");
                settle();
                gates.never("/4", likely);
                gates.open("/3");
                responses(peer, likely, "/1", "/2", "/3", "/4");
            }
        }

        @Test
        void two_unsafe_requests_run_one_after_the_other() throws Exception {
            var gates = new Gates("/1");
            var peer = connect(serve(gates)).play("", Action.send(
                    post("/1", "a") + post("/2", "b")));
            gates.awaitStart("/1");
            settle();
            gates.never("/2", "a POST waits for the POST before it");
            gates.open("/1");
            responses(peer, "", "/1", "/2");
        }

        @Test
        void no_more_than_maxDepth_requests_are_in_the_servers_hands()
                throws Exception {
            // rejects: unlimited reading; a slot released when the handler
            // ends and not when its response is sent
            var targets = IntStream.range(0, 20).mapToObj(i -> "/" + i)
                    .toArray(String[]::new);
            var gates = new Gates(targets);
            var server = serve(gates);
            var peer = connect(server).play("", Action.send(gets(targets)));
            var likely = "acquire a slot before the handler starts, and release"
                    + " it when the response was sent";
            gates.awaitStart("/7");
            settle();
            gates.never("/8", likely);
            gates.open("/3");
            settle();
            gates.never("/8", likely);
            gates.open("/0");
            responses(peer, "", "/0");
            gates.awaitStart("/8");
            settle();
            gates.never("/9", likely);
            for (int i = 1; i < 20; i++) {
                gates.open("/" + i);
                responses(peer, likely, "/" + i);
            }
        }

        @Test
        void a_client_that_does_not_read_has_no_further_handlers_started()
                throws Exception {
            // rejects: responses that pile up in memory
            var started = new AtomicInteger();
            var big = new byte[8 << 20];
            var server = serve(_ -> {
                started.incrementAndGet();
                return new Pipelining.Response(200, List.of(), big);
            });
            var peer = HttpPeer.connect(server.localAddress(), "client", 4096)
                    .play("", Action.send(get("/").repeat(100)));
            Await.until(() -> started.get() >= 8, "8 handlers", "");
            settle();
            Check.equal(8, started.get(), "the handlers that have started while"
                    + " the first response, of 8 MiB, is not read",
                    "release a slot when the response was sent");
            responses(connect(echo()).play("", Action.send(get("/other"))),
                    "", "/other");
            peer.play("", Action.reset());
            Await.until(() -> server.connections() == 0, "that the connection"
                    + " of a client that has gone ends", "let the IOException"
                    + " of respond() pass");
        }

        @Test
        void a_handler_that_fails_in_the_middle_leaves_the_others_alone()
                throws Exception {
            var gates = new Gates("/1");
            var server = serve(request -> {
                if (request.target().equals("/2")) {
                    throw new IllegalStateException("of the handler");
                }
                return gates.handle(request);
            });
            var peer = connect(server).play("", Action.send(gets("/1", "/2",
                    "/3") + "BAD\r\n\r\n"));
            gates.awaitStart("/1");
            gates.awaitStart("/3");
            gates.open("/1");
            responses(peer, "", "/1");
            for (int status : new int[] {500, 200, 400}) {
                Check.equal(status, peer.answer("dispatch() sends every"
                        + " exchange in its turn").status(), "the status", "");
            }
            peer.play("", Expectation.end());
        }

        @Test
        void close_interrupts_all_handlers_of_a_connection() throws Exception {
            // rejects: threads that the server does not know
            var gates = new Gates("/1", "/2", "/3");
            var server = serve(gates);
            var peer = connect(server).play("", Action.send(
                    gets("/1", "/2", "/3")));
            for (var target : List.of("/1", "/2", "/3")) {
                gates.awaitStart(target);
            }
            server.close();
            for (var target : List.of("/1", "/2", "/3")) {
                gates.awaitInterrupt(target);
            }
            peer.play("", Expectation.gone());
        }
    }

    @Step(value = 6, title = "Recover a broken pipeline", further = true)
    class Recover_a_broken_pipeline {

        @Test
        void unanswered_requests_are_sent_again_in_order() throws Exception {
            // rejects: all six again; a reversed order; the rest failed
            for (int n = 0; n < 6; n++) {
                var script = Script.start();
                var client = client(script);
                var all = List.of("/1", "/2", "/3", "/4", "/5", "/6");
                var calls = send(client, all.toArray(String[]::new));
                script.accept().reads("", all.toArray(String[]::new))
                        .responds(all.subList(0, n).toArray(String[]::new))
                        .closes();
                var again = script.accept();
                var likely = "put the calls without a response back to the"
                        + " front of queue, in their order";
                for (var target : all.subList(n, 6)) {
                    again.reads(likely, target).responds(target);
                }
                bring(calls, all.toArray(String[]::new));
                Check.equal(new Pipelining.Stats(2, 12 - n, 6, 6 - n),
                        client.stats(), "stats() after " + n + " of 6 responses",
                        "only requests without a response are sent again");
            }
        }

        @Test
        void the_first_request_after_a_failure_is_sent_alone()
                throws Exception {
            // rejects: the whole pipeline again at once; alone for ever
            var script = Script.start();
            var client = client(script);
            var calls = send(client, "/1", "/2", "/3", "/4");
            script.accept().reads("", "/1", "/2", "/3", "/4").responds("/1")
                    .closes();
            var again = script.accept().reads("", "/2");
            settle();
            again.silent("after a failure, nothing is pipelined until a"
                    + " response has come (RFC 9112 section 9.3.2):"
                    + " mostOutstanding() is 1");
            again.responds("/2").reads("the connection is proven now: pipeline"
                    + " again", "/3", "/4").responds("/3", "/4");
            bring(calls, "/1", "/2", "/3", "/4");
        }

        @Test
        void a_response_that_ends_its_connection_proves_nothing()
                throws Exception {
            // rejects: afterFailure forgotten with the next connection
            for (var old : List.of("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n"
                    + "\r\n/1", "HTTP/1.1 200 OK\r\n\r\n/1")) {
                var script = Script.start();
                var client = client(script);
                var calls = send(client, "/1", "/2", "/3");
                script.accept().reads("", "/1", "/2", "/3").closes();
                script.accept().reads("", "/1").sends(old).closes();
                var third = script.accept().reads("", "/2");
                settle();
                third.silent("no response has shown that this server keeps"
                        + " connections open: send one request alone again");
                third.responds("/2").reads("", "/3").responds("/3");
                bring(calls, "/1", "/2", "/3");
            }
        }

        @Test
        void half_a_response_counts_as_none() throws Exception {
            // rejects: what has come taken as the body
            for (var half : List.of("HTTP/1.1 200 OK\r\nContent-Le",
                    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal",
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + "3\r\nhal\r\n", "HTTP/1.1 100 \r\n\r\n")) {
                var script = Script.start();
                var client = client(script);
                var calls = send(client, "/1", "/2", "/3");
                script.accept().reads("", "/1", "/2", "/3").responds("/1")
                        .sends(half).closes();
                script.accept().reads("a response that is not whole is none",
                        "/2").responds("/2").reads("", "/3").responds("/3");
                bring(calls, "/1", "/2", "/3");
            }
        }

        @Test
        void a_reset_and_an_invalid_response_are_failures_too()
                throws Exception {
            // rejects: recovery at the end of the stream only
            for (var how : List.of("reset", "ICY 200 OK\r\n\r\n")) {
                var script = Script.start();
                var client = client(script);
                var calls = send(client, "/1", "/2");
                var connection = script.accept().reads("", "/1", "/2");
                if (how.equals("reset")) {
                    connection.resets();
                } else {
                    connection.sends(how).ends("an invalid response ends the"
                            + " connection: nobody knows where it ends");
                }
                script.accept().reads("every end of a connection is a failure",
                        "/1").responds("/1").reads("", "/2").responds("/2");
                bring(calls, "/1", "/2");
            }
        }

        @Test
        void a_request_is_sent_again_only_once() throws Exception {
            // rejects: repeats without an end; each failure counted for all
            var script = Script.start();
            var client = client(script);
            var calls = send(client, "/1", "/2");
            script.accept().reads("", "/1", "/2").closes();
            script.accept().reads("", "/1").closes();
            var failure = fails(calls.get(0), "after two failures",
                    "a call that mayHaveRun marks already fails");
            Check.that(failure.mayHaveRun(), "mayHaveRun() of a request that"
                    + " was sent twice, got false", "nobody knows");
            script.accept().reads("the second request has failed once only",
                    "/2").responds("/2");
            bring(calls.subList(1, 2), "/2");
            Check.equal(2L, client.stats().retried(), "retried()", "");
        }

        @Test
        void a_POST_without_a_response_is_not_sent_again() throws Exception {
            // rejects: everything again; a POST that has not run for certain
            var script = Script.start();
            var client = client(script);
            var calls = send(client, "POST /1", "/2", "POST /3");
            script.accept().reads("", "POST /1").closes();
            var failure = fails(calls.get(0), "whose connection failed",
                    "it is not idempotent, so it must not run twice");
            Check.that(failure.mayHaveRun(), "mayHaveRun() of a POST that was"
                    + " sent, got false", "the server may have processed it");
            script.accept().reads("requests that were never sent are sent now",
                    "/2").responds("/2").reads("", "POST /3").responds("/3");
            bring(calls.subList(1, 3), "/2", "/3");
            Check.equal(0L, client.stats().retried(), "retried()",
                    "what was never sent is not sent again");
        }

        @Test
        void what_stands_behind_an_announced_close_has_not_run()
                throws Exception {
            // rejects: Connection: close taken for a failure
            var script = Script.start();
            var client = client(script);
            var calls = send(client, "/1", "/2", "/3", "/4", "PUT /5");
            var sent = new String[] {"/1", "/2", "/3", "/4", "/5"};
            for (int i = 0; i < 4; i += 2) {
                var rest = Arrays.copyOfRange(sent, i, 5);
                var connection = script.accept().reads("after an announced"
                        + " close the rest may be pipelined at once", rest)
                        .responds(sent[i]).sends(closing(sent[i + 1]));
                connection.ends("after a response with close the client closes"
                        + ", too");
            }
            script.accept().reads("a close that was announced costs no repeat:"
                    + " the server has not processed what is behind it", "/5")
                    .closes();
            var likely = "an announced close has cost no repeat, so one is left";
            script.accept(likely).reads(likely, "/5")
                    .responds("/5");
            bring(calls, sent);
            Check.equal(1L, client.stats().retried(), "retried()",
                    "count what is sent again after a failure only");
        }

        @Test
        void an_announced_close_proves_the_server_good() throws Exception {
            // failure, then a close that was announced: no need to be careful
            var script = Script.start();
            var client = client(script);
            var calls = send(client, "/1", "/2", "/3");
            script.accept().reads("", "/1", "/2", "/3").closes();
            script.accept().reads("", "/1").sends(closing("/1")).closes();
            var third = script.accept().reads("the connection before was closed"
                    + " explicitly, so these may be pipelined", "/2", "/3")
                    .responds("/2", "/3");
            bring(calls, "/1", "/2", "/3");
            third.finishes().ends("close when the server has closed");
            var more = send(client, "/4", "/5");
            script.accept().reads("a connection that was idle when it ended is"
                    + " no failure", "/4", "/5").responds("/4", "/5");
            bring(more, "/4", "/5");
        }

        @Test
        void a_response_of_unknown_length_takes_all_that_comes()
                throws Exception {
            // rejects: what is behind counted as answered, or as not run
            var script = Script.start();
            var client = client(script);
            var calls = send(client, "/1", "/2", "/3", "/4");
            script.accept().reads("", "/1", "/2", "/3", "/4").responds("/1")
                    .sends("HTTP/1.1 200 OK\r\n\r\nall " + ok("/3")).closes();
            var again = script.accept().reads("", "/3");
            settle();
            again.silent("no close was announced, so this is a failure, and the"
                    + " first request is sent alone");
            again.responds("/3").reads("", "/4").responds("/4");
            bring(calls, "/1", "all " + ok("/3"), "/3", "/4");
            Check.equal(2L, client.stats().retried(), "retried()", "");
        }

        @Test
        void a_response_before_its_request_is_whole_ends_the_connection()
                throws Exception {
            // rejects: one thread that writes and then reads
            var script = Script.start(4096);
            var client = client(script);
            var large = client.send(new Pipelining.Request("POST", "/large",
                    List.of(), new byte[8 << 20]));
            var small = client.send(request("/small"));
            var connection = script.accept();
            connection.head("");
            connection.sends("HTTP/1.1 413 \r\nContent-Length: 0\r\n\r\n");
            Check.equal(413, Await.value(large, "the response to a request that"
                    + " is still being written", "the reader does not wait for"
                    + " the writer").status(), "the status", "");
            script.accept().reads("the connection cannot be used any more",
                    "/small").responds("/small");
            bring(List.of(small), "/small");
        }

        @Test
        void a_server_that_does_not_come_back_fails_the_calls()
                throws Exception {
            // rejects: mayHaveRun forgotten with the second connection
            var script = Script.start();
            var client = client(script);
            var calls = send(client, "/1", "/2");
            var connection = script.accept().reads("", "/1", "/2");
            script.close();
            connection.closes();
            for (var call : calls) {
                Check.that(fails(call, "after a failure and a refused"
                        + " connection", "").mayHaveRun(), "mayHaveRun(), got"
                        + " false", "mark the calls that were sent, before they"
                        + " are put back to queue");
            }
        }

        @Test
        void calls_fail_in_the_order_of_the_wire() throws Exception {
            // rejects: failures from the end of outstanding
            var script = Script.start();
            var client = closeLater(Pipelining.Client.create(script.address(),
                    options().withMaxDepth(3)));
            var calls = send(client, "/1", "/2", "/3", "/4");
            var order = new ConcurrentLinkedQueue<String>();
            for (int i = 0; i < 3; i++) {
                var target = "/" + (i + 1);
                calls.get(i).exceptionally(_ -> {
                    order.add(target);
                    return null;
                });
            }
            script.accept().reads("", "/1", "/2", "/3").closes();
            var again = script.accept().reads("put calls that were sent back to"
                    + " the front of queue", "/1").responds("/1");
            again.reads("", "/2", "/3", "/4").closes();
            bring(calls.subList(0, 1), "/1");
            Await.until(() -> order.size() == 2, "that two calls fail",
                    "a call that mayHaveRun marks already fails");
            Check.equal("[/2, /3]", order.toString(), "the calls that failed",
                    "return those that fail in their order");
            script.accept().reads("the fourth has failed once only", "/4")
                    .responds("/4");
            bring(calls.subList(3, 4), "/4");
        }
    }

    @Step(value = 7, title = "Time out the response at the head",
            further = true)
    class Time_out_the_response_at_the_head {

        private static final Duration LIMIT = Duration.ofHours(10);
        private final FakeClock clock = new FakeClock();

        @Test
        void the_connection_ends_when_the_oldest_response_is_overdue()
                throws Exception {
            // rejects: another time-out than responseTimeout
            var script = Script.start();
            var client = client(script, LIMIT);
            var calls = send(client, "/1", "/2");
            var connection = script.accept().reads("", "/1", "/2");
            clock.advance(LIMIT.minusNanos(1));
            Pipelining.expireHead(client);
            settle();
            Check.equal(2, client.inFlight(), "inFlight() one nanosecond before"
                    + " responseTimeout", "compare with responseTimeout()");
            clock.advance(Duration.ofNanos(1));
            Pipelining.expireHead(client);
            connection.ends("link.fail() when responseTimeout is over");
            var again = script.accept().reads("step 6 decides what is sent"
                    + " again", "/1");
            again.responds("/1").reads("", "/2").responds("/2");
            bring(calls, "/1", "/2");
        }

        @Test
        void the_time_starts_when_a_request_becomes_the_oldest()
                throws Exception {
            // rejects: a time for each request since it was sent
            var script = Script.start();
            var client = client(script, LIMIT);
            var calls = send(client, "/1", "/2", "/3", "/4", "/5");
            var connection = script.accept().reads("", "/1", "/2", "/3", "/4",
                    "/5");
            for (int i = 0; i < 5; i++) {
                clock.advance(LIMIT.multipliedBy(8).dividedBy(10));
                Pipelining.expireHead(client);
                settle();
                Check.equal(5 - i, client.inFlight(), "inFlight(), each"
                        + " response 0.8 x responseTimeout after the one"
                        + " before", "call headChanged() when a response has"
                        + " been removed, too");
                connection.responds("/" + (i + 1));
                bring(calls.subList(i, i + 1), "/" + (i + 1));
            }
            Check.equal(new Pipelining.Stats(1, 5, 5, 0), client.stats(),
                    "stats() after five responses", "one connection suffices");
        }

        @Test
        void a_later_request_gives_the_oldest_no_more_time() throws Exception {
            // rejects: headChanged() with each request
            var script = Script.start();
            var client = client(script, LIMIT);
            send(client, "/1");
            var connection = script.accept().reads("", "/1");
            clock.advance(LIMIT.multipliedBy(6).dividedBy(10));
            send(client, "/2");
            connection.reads("", "/2");
            clock.advance(LIMIT.multipliedBy(6).dividedBy(10));
            Pipelining.expireHead(client);
            connection.ends("call headChanged() only when another call has"
                    + " become the oldest outstanding one");
        }

        @Test
        void a_client_without_outstanding_requests_is_not_timed()
                throws Exception {
            // rejects: the time since the last response; zero as a limit
            var script = Script.start();
            for (var limit : List.of(LIMIT, Duration.ZERO)) {
                var client = client(script, limit);
                var first = send(client, "/1");
                var connection = script.accept().reads("", "/1");
                if (limit.isZero()) {
                    clock.advance(LIMIT);
                    Pipelining.expireHead(client);
                    settle();
                    Check.equal(1L, client.stats().connectionsOpened(),
                            "connectionsOpened() with responseTimeout zero",
                            "zero is no limit");
                }
                connection.responds("/1");
                bring(first, "/1");
                clock.advance(LIMIT.plusHours(1));
                Pipelining.expireHead(client);
                var second = send(client, "/2");
                connection.reads("an idle connection is not overdue, and zero"
                        + " is no limit", "/2");
                Pipelining.expireHead(client);
                connection.responds("/2");
                bring(second, "/2");
                client.close();
            }
        }

        @Test
        void a_POST_that_is_overdue_may_have_run() throws Exception {
            var script = Script.start();
            var client = client(script, LIMIT);
            var calls = send(client, "POST /1", "/2");
            script.accept().reads("", "POST /1");
            clock.advance(LIMIT);
            Pipelining.expireHead(client);
            var failure = fails(calls.getFirst(), "that is overdue", "");
            Check.that(failure.mayHaveRun(), "mayHaveRun(), got false", "");
            Check.that(failure.getCause() instanceof SocketTimeoutException,
                    "a SocketTimeoutException as the cause, got "
                    + failure.getCause(), "link.fail() with overdue()");
            script.accept().reads("", "/2").responds("/2");
            bring(calls.subList(1, 2), "/2");
        }

        @Test
        void the_given_watcher_looks_at_the_real_clock() throws Exception {
            // rejects: a time-out that only a test can reach
            var script = Script.start();
            var client = closeLater(Pipelining.Client.create(script.address(),
                    options().withResponseTimeout(Duration.ofMillis(50))));
            long start = System.nanoTime();
            var call = client.send(Pipelining.Request.post("/", ""));
            script.accept().reads("", "POST /");
            fails(call, "that is never answered", "");
            long took = (System.nanoTime() - start) / 1_000_000;
            Check.that(took >= 50, "a failure after 50 ms, got " + took + " ms",
                    "not before responseTimeout is over");
        }

        private Pipelining.Client client(Script script, Duration limit) {
            return closeLater(Pipelining.Client.create(script.address(),
                    options().withResponseTimeout(limit)
                    .withNanoClock(clock)));
        }
    }

    private static final InetSocketAddress ANY =
            new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);

    private static Pipelining.Options options() {
        return Pipelining.Options.defaults();
    }

    private static Pipelining.Server serve(Pipelining.Handler handler)
            throws IOException {
        return closeLater(Pipelining.Server.start(ANY, handler, options()));
    }

    /** Responds with the target and the body of the request. */
    private static Pipelining.Server echo() throws IOException {
        return serve(request -> text((request.target() + " "
                + utf8(request.body())).strip()));
    }

    /** Step 1 is written. */
    private static void works() throws IOException {
        responses(connect(echo()).play("", Action.send(get("/"))), "", "/");
    }

    private static Pipelining.Response text(String text) {
        return Pipelining.Response.text(200, text);
    }

    private static Pipelining.Request request(String target) {
        return Pipelining.Request.get(target);
    }

    private static Pipelining.Request request(String method, String target) {
        return new Pipelining.Request(method, target, List.of(), new byte[0]);
    }

    private static List<Pipelining.Request> targets(int count) {
        return IntStream.range(0, count).mapToObj(i -> request("/" + i))
                .toList();
    }

    private static Pipelining.Client client(Script script) {
        return closeLater(Pipelining.Client.create(script.address(),
                options()));
    }

    /** Sends GET requests, or others: "POST /1". */
    private static List<CompletableFuture<Pipelining.Response>> send(
            Pipelining.Client client, String... requests) {
        return Stream.of(requests).map(each -> {
            var words = ("GET " + each).split(" ");
            return client.send(request(words[words.length - 2],
                    words[words.length - 1]));
        }).toList();
    }

    /** Each of these calls has this body as its response. */
    private static void bring(
            List<CompletableFuture<Pipelining.Response>> calls,
            String... bodies) throws InterruptedException {
        for (int i = 0; i < bodies.length; i++) {
            var what = "the response to call " + (i + 1);
            Check.equal(bodies[i], utf8(Await.value(calls.get(i), what,
                    "complete the future of the oldest outstanding call")
                    .body()), what, "each response belongs to the oldest"
                    + " outstanding call");
        }
    }

    private static Pipelining.UnansweredException fails(
            CompletableFuture<Pipelining.Response> call, String when,
            String likely) throws InterruptedException {
        var failure = call.handle((_, thrown) -> thrown);
        var thrown = Await.value(failure, "that a call " + when + " fails",
                likely);
        Check.that(thrown instanceof Pipelining.UnansweredException,
                "an UnansweredException for a call " + when + ", got " + thrown,
                likely);
        return (Pipelining.UnansweredException) thrown;
    }

    private static void isWhole(Pipelining.Race race, int count) {
        Check.equal(count, race.each().size(), "the size of each()",
                "a time for each request");
        Check.that(race.each().stream().allMatch(time -> time.isPositive()
                && time.compareTo(race.total()) <= 0), "times above 0 and up to"
                + " the total of " + race.total() + ", got " + race.each(),
                "measure from the start of the race");
    }

    /**
     * Waits until all virtual threads wait, those of the lab among them: what
     * they can do without another message, they have done. So a solution that
     * does what it must not do has done it. To be called on a platform thread.
     * (Threads that spin, or platform threads, get up to a second.)
     */
    private static void settle() throws InterruptedException {
        var threads = ManagementFactory.getPlatformMXBean(
                VirtualThreadSchedulerMXBean.class);
        long start = System.nanoTime();
        int idle = 0;
        while (idle < 3 && System.nanoTime() - start < 1_000_000_000) {
            idle = threads.getQueuedVirtualThreadCount() == 0
                    && threads.getMountedVirtualThreadCount() == 0
                    ? idle + 1 : 0;
            Thread.sleep(idle == 0 ? 1 : 0);   // and then looks again
        }
    }

    private static int freePort() throws IOException {
        try (var probe = new ServerSocket(0, 1, ANY.getAddress())) {
            return probe.getLocalPort();
        }
    }

    private static String utf8(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }

    private static String get(String target) {
        return "GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n";
    }

    private static String gets(String... targets) {
        return Stream.of(targets).map(PipeliningTest::get)
                .collect(Collectors.joining());
    }

    private static String post(String target, String body) {
        return "POST " + target + " HTTP/1.1\r\nHost: h\r\nContent-Length: "
                + body.length() + "\r\n\r\n" + body;
    }

    private static String ok(String body) {
        return "HTTP/1.1 200 OK\r\nContent-Length: " + body.length()
                + "\r\n\r\n" + body;
    }

    private static String closing(String body) {
        return ok(body).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    }

    private static HttpPeer connect(Pipelining.Server server)
            throws IOException {
        return HttpPeer.connect(server.localAddress(), "client");
    }

    /** The next responses are 200 and have these bodies. */
    private static void responses(HttpPeer peer, String likely,
            String... bodies) throws IOException {
        for (var body : bodies) {
            var answer = peer.answer(likely);
            Check.equal("200 " + body, answer.status() + " " + answer.body(),
                    "the next response", likely.isEmpty()
                    ? "responses go out in the order of the requests" : likely);
        }
    }

    private static OkHttpClient okHttp(Protocol protocol) {
        return new OkHttpClient.Builder().protocols(List.of(protocol)).build();
    }

    private static String get(OkHttpClient client, int port, String path)
            throws IOException {
        try (var response = client.newCall(new okhttp3.Request.Builder()
                .url("http://127.0.0.1:" + port + path).build()).execute()) {
            return response.body().string();
        }
    }

    private static String get(OkHttpClient client, MockWebServer server,
            String path) throws IOException {
        return get(client, server.getPort(), path);
    }

    /** Makes a response, perhaps after a while. */
    private interface Answers {
        MockResponse to(RecordedRequest request) throws InterruptedException;
    }

    /** OkHttp's own server, with HTTP/2 by prior knowledge. */
    private static MockWebServer mock(Answers answers) throws IOException {
        Logger.getLogger(MockWebServer.class.getName()).setLevel(Level.OFF);
        var server = new MockWebServer();
        server.setProtocols(List.of(Protocol.H2_PRIOR_KNOWLEDGE));
        server.setDispatcher(new Dispatcher() {
            @Override
            public MockResponse dispatch(RecordedRequest request)
                    throws InterruptedException {
                return answers.to(request);
            }
        });
        server.start(ANY.getAddress(), 0);
        return server;
    }

    /** Brings one byte a read. */
    private static final class OneByOne extends ByteArrayInputStream {
        OneByOne(String text) {
            super(text.getBytes(StandardCharsets.UTF_8));
        }

        @Override
        public synchronized int read(byte[] into, int offset, int length) {
            return super.read(into, offset, Math.min(length, 1));
        }
    }

    /** A handler that the test holds at some targets. */
    private static final class Gates implements Pipelining.Handler {
        private final Map<String, CountDownLatch> gates =
                new ConcurrentHashMap<>();
        private final Set<String> started = ConcurrentHashMap.newKeySet();
        private final Set<String> interrupted = ConcurrentHashMap.newKeySet();

        Gates(String... targets) {
            for (var target : targets) {
                gates.put(target, new CountDownLatch(1));
            }
        }

        @Override
        public Pipelining.Response handle(Pipelining.Request request)
                throws InterruptedException {
            var target = request.target();
            started.add(target);
            History.note("the handler of " + target + " started");
            if (gates.containsKey(target)) {
                try {
                    gates.get(target).await();
                } catch (InterruptedException e) {
                    interrupted.add(target);
                    throw e;
                }
            }
            return text(target);
        }

        void open(String target) {
            gates.get(target).countDown();
            History.note("the handler of " + target + " may end");
        }

        void awaitStart(String target) throws InterruptedException {
            Await.until(() -> started.contains(target), "that the handler of "
                    + target + " starts", "safe requests run concurrently");
        }

        void awaitInterrupt(String target) throws InterruptedException {
            Await.until(() -> interrupted.contains(target), "that the handler"
                    + " of " + target + " is interrupted", "execute() the tasks"
                    + " by the threads of the server");
        }

        void never(String target, String likely) {
            Check.that(!started.contains(target), "the handler of " + target
                    + " not to start yet, but it did", likely);
        }
    }

    /** A request as a {@link Script} has read it. */
    private record Seen(String method, String target, String body) {}

    /** Serves a request of a {@link Script}. */
    private interface Scene {
        void play(Scripted connection, Seen request) throws Exception;
    }

    /** A server that does as the test says. */
    private record Script(ServerSocket listener) implements AutoCloseable {

        static Script start() throws IOException {
            return start(0);
        }

        static Script start(int receiveBuffer) throws IOException {
            var listener = new ServerSocket();
            if (receiveBuffer > 0) {
                listener.setReceiveBufferSize(receiveBuffer);
            }
            listener.bind(ANY, 50);
            return closeLater(new Script(listener));
        }

        InetSocketAddress address() {
            return (InetSocketAddress) listener.getLocalSocketAddress();
        }

        Scripted accept() throws IOException {
            return accept("open a connection when there is a request and no"
                    + " connection");
        }

        Scripted accept(String likely) throws IOException {
            listener.setSoTimeout(Patience.millis());
            try {
                return closeLater(new Scripted(listener.accept()));
            } catch (SocketTimeoutException e) {
                throw Scripted.ranOut("a new connection", likely);
            }
        }

        /** Until it is closed: each connection on a thread of its own. */
        void serve(Scene scene) {
            PendingCall.start(() -> {
                while (true) {
                    var connection = new Scripted(listener.accept());
                    PendingCall.start(() -> {
                        try (connection) {
                            while (true) {
                                scene.play(connection, connection.next(""));
                            }
                        }
                    });
                }
            });
        }

        @Override
        public void close() throws IOException {
            listener.close();
        }
    }

    /** One connection of a {@link Script}. */
    private static final class Scripted implements AutoCloseable {
        private final Socket socket;
        private final InputStream in;

        Scripted(Socket socket) throws IOException {
            this.socket = socket;
            socket.setTcpNoDelay(true);
            in = new BufferedInputStream(socket.getInputStream());
            History.note("server accepted a connection");
        }

        static AssertionError ranOut(String what, String likely)
                throws IOException {
            try {
                Await.until(() -> false, what, likely);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            return new AssertionError();
        }

        /** The next requests: "/1", or with the method. */
        Scripted reads(String likely, String... requests) throws IOException {
            for (var wanted : requests) {
                var seen = next(likely + (likely.isEmpty() ? "" : "; ")
                        + "expected was " + wanted);
                Check.equal(wanted, wanted.contains(" ") ? seen.method() + " "
                        + seen.target() : seen.target(),
                        "the next request at the server", likely);
            }
            return this;
        }

        Seen next(String likely) throws IOException {
            var head = head(likely);
            var length = Pattern.compile("\r\nContent-Length: (\\d+)\r\n")
                    .matcher(head);
            var body = in.readNBytes(length.find()
                    ? Integer.parseInt(length.group(1)) : 0);
            var words = head.split(" ");
            History.note("server received " + words[0] + " " + words[1]);
            return new Seen(words[0], words[1], utf8(body));
        }

        /** Request line and fields. */
        String head(String likely) throws IOException {
            socket.setSoTimeout(Patience.millis());
            var head = new StringBuilder();
            try {
                while (!head.toString().endsWith("\r\n\r\n")) {
                    int next = in.read();
                    if (next == -1) {
                        throw new SocketException("the end");
                    }
                    head.append((char) next);
                }
            } catch (SocketTimeoutException e) {
                throw History.fail("expected the next request at the server,"
                        + " got nothing within " + Patience.text(), likely);
            } catch (SocketException e) {
                throw History.fail("expected the next request at the server,"
                        + " got " + e.getMessage(), likely);
            }
            return head.toString();
        }

        /** Nothing has come yet. To be called after {@link #settle}. */
        void silent(String likely) throws IOException {
            Check.equal(0, in.available(), "the number of bytes of further"
                    + " requests at the server", likely);
        }

        Scripted responds(String... bodies) throws IOException {
            return sends(Stream.of(bodies).map(PipeliningTest::ok)
                    .collect(Collectors.joining()));
        }

        Scripted sends(String text) throws IOException {
            socket.getOutputStream().write(
                    text.getBytes(StandardCharsets.UTF_8));
            History.note("server sent " + text.length() + " bytes, which end"
                    + " with " + text.substring(Math.max(0, text.length() - 12))
                    .replace("\r\n", "\\r\\n"));
            return this;
        }

        Scripted sendsSingly(String text) throws IOException {
            for (var each : text.split("")) {
                socket.getOutputStream().write(each.charAt(0));
            }
            return this;
        }

        /** The client closes, or has closed. */
        void ends(String likely) throws IOException {
            socket.setSoTimeout(Patience.millis());
            try {
                int next = in.read();
                Check.equal(-1, next, "the end of the connection", likely);
            } catch (SocketTimeoutException e) {
                throw History.fail("expected the client to close the"
                        + " connection, got nothing within " + Patience.text(),
                        likely);
            } catch (SocketException e) {
                // a reset, which is an end
            }
        }

        Scripted finishes() throws IOException {
            socket.shutdownOutput();
            History.note("server sent its end");
            return this;
        }

        void resets() throws IOException {
            socket.setSoLinger(true, 0);
            closes();
        }

        void closes() throws IOException {
            socket.close();
            History.note("server closed the connection");
        }

        @Override
        public void close() throws IOException {
            socket.close();
        }
    }

    /**
     * Holds all responses until so many requests have come, or all that are
     * left of ten, and counts how often.
     */
    private static final class Rounds {
        private final int size;
        private final List<Runnable> waiting = new ArrayList<>();
        private int answered, rounds, most;

        Rounds(int size) {
            this.size = size;
        }

        Pipelining.Race race(Race race) throws Exception {
            var script = Script.start();
            script.serve((connection, request) -> {
                synchronized (this) {
                    waiting.add(() -> {
                        try {
                            connection.responds(request.target());
                        } catch (IOException e) {
                            throw new UncheckedIOException(e);
                        }
                    });
                    if (waiting.size() != Math.min(size, 10 - answered)) {
                        return;
                    }
                }
                PendingCall.startOnPlatformThread(() -> {
                    settle();
                    return answer();
                });
            });
            var outcome = PendingCall.start(() -> race.run(script)).outcome();
            return Await.value(outcome, "that " + size + " requests come before"
                    + " the first response, and that the race ends",
                    "send all requests before you wait for a response");
        }

        private synchronized boolean answer() {
            rounds++;
            most = Math.max(most, waiting.size());
            answered += waiting.size();
            waiting.forEach(Runnable::run);
            waiting.clear();
            return true;
        }

        @Override
        public synchronized String toString() {
            return rounds + " rounds" + (most == size ? ""
                    : " of up to " + most + " requests");
        }

        private interface Race {
            Pipelining.Race run(Script script) throws Exception;
        }
    }
}
