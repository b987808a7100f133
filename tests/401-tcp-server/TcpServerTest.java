///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//SOURCES ../../labs/401-tcp-server/TcpServer.java
//SOURCES ../kit/*.java

import static kit.Action.close;
import static kit.Action.halfClose;
import static kit.Action.reset;
import static kit.Action.send;
import static kit.Action.sendJunk;
import static kit.Action.sendSingly;
import static kit.Action.sendSplit;
import static kit.Expectation.end;
import static kit.Expectation.gone;
import static kit.Expectation.receive;
import static kit.Expectation.silence;
import static kit.Expectation.take;
import static kit.TestLifecycle.closeLater;

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.net.BindException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import java.util.function.IntPredicate;
import kit.Action;
import kit.Await;
import kit.Check;
import kit.Expectation;
import kit.FakeClock;
import kit.History;
import kit.Lab;
import kit.LeakCheck;
import kit.Patience;
import kit.Peer;
import kit.Step;
import org.junit.jupiter.api.Test;

/**
 * Lab 401, step by step. The server is looked at from outside only: through its public methods and through its sockets.
 * A comment {@code rejects:} names the wrong servers that a test is there for.
 */
@Lab
class TcpServerTest {

    private static final TcpServer.Options PLAIN = TcpServer.Options.defaults();
    private static final InetSocketAddress ANY_PORT = loopback(0);

    @Step(value = 1, title = "Listen on a port")
    class Listen_on_a_port {

        @Test
        void port_0_becomes_a_real_port() throws IOException {   // rejects: localAddress() taken from the argument
            var server = serve(c -> {}, PLAIN);
            int port = server.localAddress().getPort();
            Check.that(port > 0, "localAddress() with a port above 0, got " + port,
                    "that is the port asked for; ask the listener which one the system chose");
            Check.that(server.isRunning(), "isRunning() after start(), got false", "the listener is closed already");
        }

        @Test
        void a_client_can_connect_as_soon_as_the_server_has_started() throws IOException {
            client(serve(c -> {}, PLAIN), "client");
        }

        @Test
        void it_listens_at_the_address_it_was_given_and_at_no_other() throws IOException {
            // rejects: new ServerSocket(port), which listens on every network of the machine
            var server = serve(c -> {}, PLAIN);
            Check.equal(ANY_PORT.getAddress(), server.localAddress().getAddress(), "localAddress().getAddress()",
                    "bind to the whole address, not to its port alone");
            int port = server.localAddress().getPort();
            Check.fails(IOException.class, () -> new Socket("127.0.0.2", port).close(),
                    "connecting to 127.0.0.2, where nobody was told to listen",
                    "the server listens at every address of this machine: bind to the whole address");
        }

        @Test
        void two_servers_on_port_0_get_two_ports() throws IOException {
            int one = serve(c -> {}, PLAIN).localAddress().getPort();
            int other = serve(c -> {}, PLAIN).localAddress().getPort();
            Check.that(one != other, "two ports, got " + one + " twice", "the servers share one listener");
        }

        @Test
        void a_taken_port_is_a_BindException() throws IOException {
            var taken = serve(c -> {}, PLAIN).localAddress();
            int open = LeakCheck.openSockets();
            Check.fails(BindException.class, () -> serve(taken, c -> {}, PLAIN), "start() on a taken port",
                    "bind() says so by itself: let its exception pass");
            Check.equal(open, LeakCheck.openSockets(), "the sockets open after a start() that has failed",
                    "close the listener before you pass the exception on");
        }

        @Test
        void after_close_nobody_listens_any_more() throws IOException {   // rejects: a listener that is never closed
            var server = serve(c -> {}, PLAIN);
            server.close();
            Check.that(!server.isRunning(), "isRunning() to be false after close(), got true", "close the listener");
            Check.fails(ConnectException.class, () -> connect(server).close(), "connecting after close()",
                    "close the listener");
        }

        @Test
        void a_closed_server_frees_its_port_for_the_next_one() throws Exception {
            checkPortIsFree(() -> {
                var first = serve(c -> c.in().read(), PLAIN);
                client(first, "client");
                first.close();
                return first.localAddress();
            });
        }

        @Test
        void closing_twice_is_as_good_as_once() throws IOException {
            var server = serve(c -> {}, PLAIN);
            server.close();
            server.close();
        }

        @Test
        void wrong_arguments_are_named() throws IOException {
            serve(c -> {}, PLAIN);   // right ones are fine
            named(NullPointerException.class, "bind", () -> TcpServer.start((InetSocketAddress) null, c -> {}, PLAIN));
            named(NullPointerException.class, "handler", () -> TcpServer.start(ANY_PORT, null, PLAIN));
            named(NullPointerException.class, "options", () -> TcpServer.start(ANY_PORT, c -> {}, null));
            named(IllegalArgumentException.class, "backlog", () -> PLAIN.withBacklog(0));
            named(IllegalArgumentException.class, "maxConnections", () -> PLAIN.withMaxConnections(0));
            named(IllegalArgumentException.class, "busyMessage", () -> PLAIN.withBusyMessage("b".repeat(1025)));
            named(IllegalArgumentException.class, "idleTimeout", () -> PLAIN.withIdleTimeout(Duration.ofMillis(-1)));
            named(IllegalArgumentException.class, "writeStall", () -> PLAIN.withWriteStall(Duration.ofMillis(-1)));
        }

        private void named(Class<? extends Exception> type, String name, Check.Code code) {
            var thrown = Check.fails(type, code, "a wrong " + name, "check the arguments first");
            Check.that(String.valueOf(thrown.getMessage()).contains(name),
                    "the message to name " + name + ", got " + thrown.getMessage(), "say which argument is wrong");
        }
    }

    @Step(value = 2, title = "Serve each client concurrently")
    class Serve_each_client_concurrently {

        @Test
        void a_client_is_served() throws IOException {
            client(serve(TcpServerTest::greet, PLAIN), "client").play("nobody accepts, or the handler does not run",
                    receive("hello\n"));
        }

        @Test
        void one_client_after_the_other_is_served() throws IOException {   // rejects: accept() without a loop
            var server = serve(c -> say(c, "hello\n"), PLAIN);
            for (var name : List.of("client 1", "client 2", "client 3")) {
                client(server, name).play("accept() again and again, not once", receive("hello\n"), end());
            }
            Check.equal(3L, server.stats().accepted(), "stats().accepted()", "count each client that accept() returns");
        }

        @Test
        void a_client_that_says_nothing_does_not_hold_up_the_next() throws IOException {
            // rejects: a handler on the accept thread
            var server = serve(c -> {
                c.in().read();
                say(c, "hello\n");
            }, PLAIN);
            client(server, "client 1");
            client(server, "client 2").play(
                    "the handler runs on the accept thread: start a virtual thread for each client",
                    send("?"), receive("hello\n"));
        }

        @Test
        void three_hundred_clients_are_served_at_the_same_time() throws Exception {
            // rejects: a pool of 200 threads
            var allHere = new CountDownLatch(300);
            var server = serve(c -> {
                allHere.countDown();
                allHere.await();
                greet(c);
            }, PLAIN);
            var clients = clients(server, 300);
            for (var client : clients) {
                client.play("each handler waits until all 300 run: a thread for each client, and no limit to them",
                        receive("hello\n"));
            }
            Check.equal(300, server.stats().active(), "stats().active()", "enter() each connection, once");
            Check.equal(300, server.stats().peak(), "stats().peak()", "enter() each connection, once");
        }

        @Test
        void a_handler_runs_on_a_virtual_thread() throws Exception {   // promised by the javadoc of Handler
            var virtual = new CompletableFuture<Boolean>();
            client(serve(c -> virtual.complete(Thread.currentThread().isVirtual()), PLAIN), "client");
            Check.that(Await.value(virtual, "that the handler runs", "nobody accepts"),
                    "a virtual thread, got a platform thread",
                    "ten thousand platform threads cost too much: Thread.ofVirtual()");
        }

        @Test
        void the_connection_ends_when_its_handler_returns() throws Exception {
            var server = serve(c -> say(c, "bye\n"), PLAIN);
            client(server, "client").play("close the connection when the handler has returned", receive("bye\n"),
                    end());
            Await.until(() -> server.stats().active() == 0, "that stats().active() becomes 0",
                    "the connection does not leave() when its handler has returned");
        }

        @Test
        void the_connection_ends_when_its_handler_throws() throws Exception {
            // rejects: a close that only a normal return reaches
            var server = serve(c -> {
                throw new IOException("this handler is broken");
            }, PLAIN);
            client(server, "client").play("close the connection in any case, also after an exception: finally", end());
            Await.until(() -> server.stats().active() == 0, "that stats().active() becomes 0",
                    "the connection does not leave() when its handler throws: finally");
            Check.equal(1L, server.stats().handlerFailures(), "stats().handlerFailures()", "an exception has failed()");
        }

        @Test
        void an_Error_in_a_handler_harms_nobody_else() throws Exception {   // rejects: catch (Exception e)
            var server = serve(c -> {
                if (c.id() == 1) {
                    throw new AssertionError("this handler is broken");
                }
                greet(c);
            }, PLAIN);
            client(server, "client 1").play("close the connection also after an Error: finally", end());
            client(server, "client 2").play("one broken handler has stopped the server", receive("hello\n"));
            Await.until(() -> server.stats().handlerFailures() == 1, "that stats().handlerFailures() becomes 1",
                    "an Error has failed(), too: catch Throwable");
            Check.equal(1, server.stats().active(), "stats().active()",
                    "after an Error, too, the connection must leave()");
        }

        @Test
        void a_client_that_resets_harms_nobody_else() throws Exception {   // rejects: a loop that ends with one client
            var server = serve(c -> {
                say(c, "hello\n");
                c.in().readAllBytes();
            }, PLAIN);
            client(server, "client 1").play("nobody serves it", receive("hello\n"), reset());
            client(server, "client 2").play("a reset of client 1 has stopped the server", receive("hello\n"));
            Await.until(() -> server.stats().active() == 1, "that stats().active() becomes 1",
                    "the connection does not leave() after a reset: finally");
        }

        @Test
        void every_connection_knows_its_client() throws Exception {   // rejects: one Connection shared by all
            var seen = new ConcurrentHashMap<Integer, Long>();
            var server = serve(c -> {
                seen.put(c.remoteAddress().getPort(), c.id());
                greet(c);
            }, PLAIN);
            var clients = clients(server, 20);
            for (var client : clients) {
                client.play("nobody serves it", receive("hello\n"));
                int port = client.localAddress().getPort();
                Check.that(seen.containsKey(port), "a remoteAddress() with port " + port + ", got " + seen.keySet(),
                        "make a Connection for each socket");
            }
            Check.equal(20L, seen.values().stream().distinct().count(), "different ids of 20 connections",
                    "make a Connection for each socket");
        }

        @Test
        void a_handler_may_close_its_connection_itself() throws Exception {
            var server = serve(c -> {
                say(c, "bye\n");
                c.close();
                c.close();
            }, PLAIN);
            client(server, "client").play("close() of a connection closes its socket", receive("bye\n"), end());
            Await.until(() -> server.stats().active() == 0, "that stats().active() becomes 0", "leave() in finally");
            Check.equal(0L, server.stats().handlerFailures(), "stats().handlerFailures()",
                    "closing what is closed already is no failure");
        }

        @Test
        void close_ends_every_conversation() throws Exception {   // rejects: handlers that nobody entered
            var server = serve(TcpServerTest::greet, PLAIN);
            var clients = clients(server, 3);
            for (var client : clients) {
                client.play("nobody serves it", receive("hello\n"));
            }
            server.close();
            for (var client : clients) {
                client.play("close() cuts the connections that were given to enter()", gone());
            }
            Await.until(() -> server.stats().active() == 0, "that stats().active() becomes 0",
                    "each connection must leave()");
        }
    }

    @Step(value = 3, title = "Answer line by line")
    class Answer_line_by_line {

        @Test
        void a_line_comes_back_in_upper_case() throws IOException {
            lineClient().play("answer as soon as the LF is there: the client waits for it",
                    send("hello\n"), receive("HELLO\n"), send("again\n"), receive("AGAIN\n"));
        }

        @Test
        void three_lines_in_one_write_are_three_answers_in_order() throws IOException {
            // rejects: a read() taken for a line
            lineClient().play("one read may bring several lines", send("one\ntwo\nthree\n"),
                    receive("ONE\nTWO\nTHREE\n"));
        }

        @Test
        void a_line_may_come_byte_by_byte() throws IOException {   // rejects: a read() taken for a line
            lineClient().play("a read may bring any part of a line: collect until LF",
                    sendSingly("hello there\n"), receive("HELLO THERE\n"));
        }

        @Test
        void lines_may_be_split_anywhere() throws IOException {
            // rejects: CR and LF expected in one read, and the like
            var client = lineClient();
            for (long seed = 1; seed <= 20; seed++) {
                client.play("a read may end anywhere, between CR and LF, too",
                        sendSplit("one\r\ntwo\n\nthree, four\r\n", seed), receive("ONE\nTWO\n\nTHREE, FOUR\n"));
            }
        }

        @Test
        void a_CR_before_the_LF_is_dropped() throws IOException {
            lineClient().play("the line end is LF or CR LF, the answer's always LF", send("hello\r\n"),
                    receive("HELLO\n"));
        }

        @Test
        void a_CR_inside_a_line_stays() throws IOException {   // rejects: BufferedReader.readLine(), replace("\r", "")
            lineClient().play("only LF ends a line (for readLine() CR does, too), and only the CR before it goes",
                    send("a\rb\r\r\n"), receive("A\rB\r\n"));
        }

        @Test
        void an_empty_line_is_answered_by_an_empty_line() throws IOException {   // rejects: empty taken for the end
            lineClient().play("an empty line is a line, not the end", send("\n\r\nx\n"), receive("\n\nX\n"));
        }

        @Test
        void the_last_line_needs_no_LF() throws IOException {
            lineClient().play("the client has closed its half only: answer what is left, then return",
                    send("one\ntwo"), halfClose(), receive("ONE\nTWO\n"), end());
        }

        @Test
        void a_client_that_has_nothing_to_say_gets_nothing() throws IOException {
            // rejects: an answer to the end itself
            lineClient().play("the end of the input is no line", halfClose(), end());
            lineClient().play("after a last LF there is no further line", send("one\n"), halfClose(),
                    receive("ONE\n"), end());
        }

        @Test
        void QUIT_ends_the_conversation() throws IOException {
            lineClient().play("return at QUIT, without an answer to it", send("one\nQUIT\n"), receive("ONE\n"), end());
            lineClient().play("the CR does not belong to the line", send("QUIT\r\n"), end());
            lineClient().play("nothing is answered after QUIT", send("QUIT\ntwo\n"), gone());
        }

        @Test
        void only_the_line_QUIT_ends_it() throws IOException {   // rejects: startsWith, equalsIgnoreCase, trim
            lineClient().play("QUIT is the whole line, in capitals", send("quit\nQUITE\n QUIT\nQUIT \n"),
                    receive("QUIT\nQUITE\n QUIT\nQUIT \n"));
        }

        @Test
        void bytes_that_are_no_ASCII_letters_stay_as_they_are() throws IOException {
            // rejects: String.toUpperCase(), and every charset
            var likely = "work on bytes: a charset, or toUpperCase(), changes what it does not know";
            lineClient().play(likely, send("grüße, ÿ, 你好\n"), receive("GRüßE, ÿ, 你好\n"));
            var server = serve(TcpServer.lineService(300), PLAIN);
            client(server, "client").play(likely, new Action.Send(everyByte('a')),
                    new Expectation.Receive(everyByte('A')));
        }

        /** All 256 bytes but CR and LF, letters from {@code a} on, and LF. */
        private static byte[] everyByte(char a) {
            var bytes = new ByteArrayOutputStream();
            for (int b = 0; b < 256; b++) {
                if (b != '\n' && b != '\r') {
                    bytes.write(b >= 'a' && b <= 'z' ? b - 'a' + a : b);
                }
            }
            bytes.write('\n');
            return bytes.toByteArray();
        }

        @Test
        void the_answer_does_not_depend_on_the_locale() throws IOException {   // rejects: toUpperCase() in Istanbul
            var before = Locale.getDefault();
            Locale.setDefault(Locale.of("tr"));
            try {
                lineClient().play("in Turkish toUpperCase() makes İ of i: work on bytes", send("title\n"),
                        receive("TITLE\n"));
            } finally {
                Locale.setDefault(before);
            }
        }

        @Test
        void a_line_of_maxLine_bytes_is_answered() throws IOException {   // rejects: off by one; a CR that counts
            lineClient().play("80 bytes are allowed, and the line end does not count",
                    send("a".repeat(80) + "\n"), receive("A".repeat(80) + "\n"),
                    send("b".repeat(80) + "\r\n"), receive("B".repeat(80) + "\n"));
        }

        @Test
        void a_line_of_one_byte_more_is_too_long() throws IOException {   // rejects: off by one
            lineClient().play("81 bytes are too long, even before the LF has come; after the error, return",
                    send("ok\n" + "a".repeat(81)), receive("OK\nerror: line too long\n"), gone());
            lineClient().play("a CR that no LF follows belongs to the line",
                    send("a".repeat(80) + "\rb"), receive("error: line too long\n"), gone());
        }

        @Test
        void an_endless_line_is_not_stored() throws IOException {
            // rejects: readLine(), readAllBytes(), split("\n"): they wait for an LF and store all that comes before it
            lineClient().play("the line is stored until its LF comes, which may be never: give up after maxLine bytes",
                    sendJunk(10_000), receive("error: line too long\n"), gone());
        }

        @Test
        void a_long_line_is_fine_where_maxLine_allows_it() throws IOException {   // rejects: one buffer of a fixed size
            var server = serve(TcpServer.lineService(100_000), PLAIN);
            client(server, "client").play("a line may be longer than any buffer",
                    send("a".repeat(100_000) + "\nb\n"), receive("A".repeat(100_000) + "\nB\n"));
        }

        @Test
        void each_client_has_a_conversation_of_its_own() throws IOException {   // rejects: a buffer shared by all
            var server = serve(TcpServer.lineService(80), PLAIN);
            var first = client(server, "client 1").play("", send("al"));
            var likely = "the handler is one for all clients: keep the line inside handle()";
            var second = client(server, "client 2").play(likely, send("be\n"), receive("BE\n"));
            first.play(likely, send("pha\n"), receive("ALPHA\n"));
            second.play(likely, send("ta\n"), receive("TA\n"));
        }

        @Test
        void a_client_of_the_JDK_gets_a_thousand_answers() throws Exception {   // a peer that nobody here wrote
            var server = serve(TcpServer.lineService(80), PLAIN);
            try (var channel = SocketChannel.open(server.localAddress());
                 var in = new BufferedReader(Channels.newReader(channel, StandardCharsets.US_ASCII))) {
                var writer = Thread.ofVirtual().name("kit-writer").start(() -> {
                    var out = new PrintStream(Channels.newOutputStream(channel), true, StandardCharsets.US_ASCII);
                    for (int i = 1; i <= 1000; i++) {
                        out.print("line " + i + "\r\n");
                    }
                });
                for (int i = 1; i <= 1000; i++) {
                    Check.equal("LINE " + i, in.readLine(), "answer " + i, "answers must be complete and in order");
                }
                Await.end(writer, "that 1000 lines can be sent", "read on while you answer");
            }
        }
    }

    @Step(value = 4, title = "Survive failing accepts", further = true)
    class Survive_failing_accepts {

        @Test
        void after_three_failures_the_next_client_is_served() throws Exception {   // rejects: catch around the loop
            var listening = new Listening(call -> call <= 3);
            var server = serve(listening, TcpServerTest::greet, PLAIN);
            client(server, "client").play("accept() failed three times, and the loop has ended: catch inside the loop",
                    receive("hello\n"));
            Check.equal(3L, server.stats().acceptFailures(), "stats().acceptFailures()", "count each failed accept()");
        }

        @Test
        void who_is_connected_notices_nothing() throws Exception {   // rejects: a failed accept that closes the server
            var listening = new Listening(call -> call >= 2 && call <= 4);
            var server = serve(listening, c -> {
                say(c, "hello\n");
                c.in().read();
                say(c, "still here\n");
            }, PLAIN);
            var client = client(server, "client 1").play("", receive("hello\n"));
            listening.awaitCall(5);
            client.play("a failed accept() is no reason to drop those who are connected", send("?"),
                    receive("still here\n"));
            client(server, "client 2").play("the loop has ended", receive("hello\n"));
        }

        @Test
        void it_waits_longer_after_each_failure_in_a_row() throws Exception {
            // rejects: a loop that spins (6 calls in 0.02 ms), a pause that is always the same (25 ms)
            var listening = new Listening(call -> true);
            serve(listening, TcpServerTest::greet, PLAIN);
            listening.awaitCall(6);
            long millis = listening.millisBetween(1, 6);
            Check.that(millis >= 60, "the 6th failing accept() at least 60 ms after the 1st, got " + millis + " ms",
                    "the loop spins, or waits equally long each time: 5 ms, then 10, 20, 40, 80");
        }

        @Test
        void a_success_makes_the_next_pause_short_again() throws Exception {   // rejects: a pause that only grows
            long pause;
            int tries = 0;
            do {   // a busy machine may make any pause longer, but none shorter
                var listening = new Listening(call -> call <= 5 || call == 7);
                var server = serve(listening, TcpServerTest::greet, PLAIN);
                client(server, "client").play("", receive("hello\n"));
                listening.awaitCall(8);
                pause = listening.millisBetween(7, 8);
                server.close();
            } while (pause >= 150 && ++tries < 5);
            Check.that(pause < 150, "a pause of 5 ms after 5 failures, a success and a failure, got " + pause + " ms",
                    "count failures in a row: a success sets them back to 0");
        }

        @Test
        void a_close_cuts_the_pause_short() throws Exception {
            // rejects: a sleep that swallows the interrupt and goes on
            long millis;
            int tries = 0;
            do {   // a busy machine may make any close longer, but no pause shorter
                var listening = new Listening(call -> true);
                var server = serve(listening, TcpServerTest::greet, PLAIN);
                listening.awaitCall(6);   // a pause of 160 ms begins
                Thread.sleep(10);         // and is under way
                server.close();
                millis = listening.millisSince(6);
            } while (millis >= 150 && ++tries < 5);
            Check.that(millis < 150, "close() to end a pause of 160 ms, got a pause of " + millis + " ms",
                    "close() interrupts the acceptor: let that end the pause");
        }

        @Test
        void the_end_of_the_listener_is_no_failure() throws Exception {
            // rejects: a stack trace for each shutdown, a count for it, a loop that goes on without a listener
            var before = System.err;
            var printed = new ByteArrayOutputStream();
            System.setErr(new PrintStream(printed, true));
            try {
                var server = serve(TcpServerTest::greet, PLAIN);
                client(server, "client").play("nobody serves it", receive("hello\n"));
                server.close();
                Check.equal(0L, server.stats().acceptFailures(), "stats().acceptFailures() after close()",
                        "that accept() throws when it is closed is no failure: look at isRunning() first");
                var listening = new Listening(call -> false);
                var other = serve(listening, TcpServerTest::greet, PLAIN);
                listening.awaitCall(1);
                listening.close();
                other.close();
                Check.equal(0L, other.stats().acceptFailures(),
                        "stats().acceptFailures() after the listener was closed",
                        "a closed listener is the end of the loop, not a failure: look at isRunning() first");
            } finally {
                System.setErr(before);
            }
            Check.equal("", printed.toString(), "what is printed at the end", "the loop ends without a sound");
        }
    }

    @Step(value = 5, title = "Cap the connections", further = true)
    class Cap_the_connections {

        private static final TcpServer.Options CAP_1 = PLAIN.withMaxConnections(1);
        private static final TcpServer.Options WAIT_1 = CAP_1.withOverCap(TcpServer.OverCap.WAIT);
        private static final String BUSY = "one client too many gets the busy message, and then the end";

        @Test
        void one_client_too_many_is_told_busy() throws Exception {
            var server = serve(TcpServerTest::greet, PLAIN.withMaxConnections(3));
            for (var client : clients(server, 3)) {
                client.play("three may come", receive("hello\n"));
            }
            client(server, "client 4").play(BUSY, receive("busy\n"), end());
            Check.equal(1L, server.stats().rejected(), "stats().rejected()", "count each client that is sent away");
            Await.until(() -> server.stats().accepted() == 4, "that stats().accepted() becomes 4",
                    "who is rejected was accepted first: accept() has returned him");
            Check.equal(3, server.stats().active(), "stats().active()", "who is rejected is not served");
            Check.equal(3, server.stats().peak(), "stats().peak()", "who is rejected is not served");
        }

        @Test
        void the_busy_message_is_that_of_the_options() throws Exception {   // rejects: "busy\n" written into the code
            var server = serve(TcpServerTest::greet, CAP_1.withBusyMessage("zajęte\r\n"));
            client(server, "client 1").play("one may come", receive("hello\n"));
            client(server, "client 2").play("send options.busyMessage()", receive("zajęte\r\n"), end());
            var silent = serve(TcpServerTest::greet, CAP_1.withBusyMessage(""));
            client(silent, "client 3").play("one may come", receive("hello\n"));
            client(silent, "client 4").play("an empty message is none", end());
        }

        @Test
        void a_place_that_becomes_free_is_given_away_again() throws Exception {
            var server = serve(TcpServerTest::greet, CAP_1);
            for (int i = 1; i <= 5; i++) {
                admitted(server, "client " + i, "the place of a client that has left is not given back").play("",
                        close());
            }
        }

        @Test
        void a_place_comes_back_however_its_handler_ends() throws Exception {   // rejects: a release that a throw skips
            var server = serve(c -> {
                say(c, "hello\n");
                if (c.id() % 2 == 0) {
                    throw new AssertionError("this handler is broken");
                }
                throw new IOException("this one, too");
            }, CAP_1);
            for (int i = 1; i <= 10; i++) {
                admitted(server, "client " + i, "the place of a handler that threw is not given back");
            }
        }

        @Test
        void a_rejected_client_neither_takes_a_place_nor_gives_one_back() throws Exception {
            // rejects: a release in two places, an acquire that a rejection keeps
            var server = serve(TcpServerTest::greet, PLAIN.withMaxConnections(2));
            var first = client(server, "client 1").play("two may come", receive("hello\n"));
            client(server, "client 2").play("two may come", receive("hello\n"));
            for (int i = 3; i <= 6; i++) {
                client(server, "client " + i).play("a rejection has given back a place that it never had",
                        receive("busy\n"), end(), close());
            }
            first.play("", close());
            admitted(server, "client 7", "a rejection has kept a place");
            client(server, "client 8").play("a rejection has given back a place that it never had", receive("busy\n"),
                    end());
        }

        @Test
        void a_rejected_client_that_just_stays_holds_up_nobody() throws Exception {
            // rejects: an acceptor that says farewell itself
            var server = serve(TcpServerTest::greet, CAP_1);
            client(server, "client 0").play("one may come", receive("hello\n"));
            clients(server, 20);   // rejected, and neither read nor close
            client(server, "the next client").play(
                    "the loop waits for those it rejects: say farewell on another thread",
                    receive("busy\n"), end());
        }

        @Test
        void a_crowd_never_gets_past_the_cap() throws Exception {
            // rejects: handlers counted on their own threads, but looked at on the acceptor's
            var allHere = new CountDownLatch(1);
            var allDecided = new CountDownLatch(1);
            var atWork = new AtomicInteger();
            var server = serve(new Listening(call -> opened(allHere)), c -> {
                atWork.incrementAndGet();
                allDecided.await();
            }, PLAIN.withMaxConnections(5));
            clients(server, 60);
            allHere.countDown();   // accept() gives all of them, one right after the other
            Await.until(() -> atWork.get() + server.stats().rejected() == 60,
                    "that each of 60 clients is served or rejected",
                    "with REJECT the loop accepts everybody, and counts each client that is sent away");
            allDecided.countDown();
            Check.equal(5, atWork.get(), "handlers at once, with maxConnections 5,",
                    "what the handler's thread counts comes too late for the acceptor: take the place there");
        }

        private static boolean opened(CountDownLatch latch) {
            try {
                latch.await();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            return false;
        }

        @Test
        void the_busy_message_reaches_a_client_that_has_sent_much() throws Exception {
            // rejects: abort(); on Linux a message as short as this one survives a close over unread input
            var server = serve(TcpServerTest::greet, CAP_1);
            client(server, "client 1").play("one may come", receive("hello\n"));
            for (int i = 2; i <= 6; i++) {
                client(server, "client " + i).play(
                        "a close over unread input is a reset: half-close, read on, then close",
                        sendJunk(64 * 1024), receive("busy\n"), end());
            }
        }

        @Test
        void with_WAIT_the_next_client_waits_its_turn() throws Exception {
            // rejects: a client that is accepted, and then waits
            var listening = new Listening(call -> false);
            var server = serve(listening, TcpServerTest::greet, WAIT_1);
            var first = client(server, "client 1").play("one may come", receive("hello\n"));
            var second = client(server, "client 2").play("with WAIT nobody is told anything",
                    silence(Duration.ofMillis(50)));
            Check.equal(1, listening.returned.get(), "accepted clients, with one place,",
                    "wait for the place before accept(): the backlog is where a client waits");
            first.play("", close());
            second.play("a place is free again, but nobody accepts", receive("hello\n"));
            Check.equal(0L, server.stats().rejected(), "stats().rejected()", "with WAIT nobody is rejected");
        }

        @Test
        void with_WAIT_a_crowd_is_served_in_the_end_and_never_gets_past_the_cap() throws Exception {
            var now = new AtomicInteger();
            var most = new AtomicInteger();
            var server = serve(c -> {
                most.accumulateAndGet(now.incrementAndGet(), Math::max);
                say(c, "hello\n");
                Thread.yield();
                now.decrementAndGet();
            }, WAIT_1.withMaxConnections(3));
            for (var client : clients(server, 100)) {
                client.play("with WAIT everybody is served in the end", receive("hello\n"), end());
            }
            Check.that(most.get() <= 3, "at most 3 handlers at once, got " + most,
                    "take the place before the handler starts");
        }

        @Test
        void with_WAIT_a_failed_accept_costs_no_place() throws Exception {
            // rejects: a place taken before accept() and lost
            var server = serve(new Listening(call -> call % 2 == 1), TcpServerTest::greet, WAIT_1);
            for (int i = 1; i <= 3; i++) {
                client(server, "client " + i).play("a place was taken, accept() failed, and nobody gave the place back",
                        receive("hello\n"), close());
            }
        }

        @Test
        void with_WAIT_the_backlog_holds_as_many_as_the_options_say() throws Exception {
            // rejects: a bind without the backlog, which leaves it at 50
            var server = serve(TcpServerTest::greet, WAIT_1.withBacklog(100));
            clients(server, 80);   // one is served, the others wait; the 52nd could not connect
        }

        @Test
        void a_close_does_not_wait_for_a_place() throws Exception {   // rejects: acquireUninterruptibly()
            var listening = new Listening(call -> false);
            var server = serve(listening, TcpServerTest::greet, WAIT_1);
            client(server, "client").play("one may come", receive("hello\n"));
            long start = System.nanoTime();
            server.close();
            long millis = (System.nanoTime() - start) / 1_000_000;
            Check.that(millis < 2500, "close() at once, got " + millis + " ms",
                    "close() interrupts the acceptor: let that end the wait for a place");
        }
    }

    @Step(value = 6, title = "Cut off slow peers", further = true)
    class Cut_off_slow_peers {

        private static final Duration STALL = Duration.ofMillis(80);   // of the fake clock
        private static final TcpServer.Options IDLE_50 = PLAIN.withIdleTimeout(Duration.ofMillis(50));

        @Test
        void a_silent_client_is_closed() throws Exception {
            var server = serve(TcpServer.lineService(80), IDLE_50);
            client(server, "client").play("setSoTimeout(idleTimeout) ends a read that waits too long", end());
            Await.until(() -> server.stats().active() == 0, "that stats().active() becomes 0",
                    "the handler still reads");
            Check.equal(1L, server.stats().idleClosed(), "stats().idleClosed()",
                    "the given stream counts a timeout: use it");
            Check.equal(0L, server.stats().handlerFailures(), "stats().handlerFailures()",
                    "a client that went silent is no failure of the handler");
        }

        @Test
        void the_handler_hears_of_the_silence_and_may_go_on() throws Exception {
            // rejects: a timer that closes the socket
            var asked = new AtomicBoolean();
            var server = serve(c -> {
                while (true) {
                    try {
                        c.in().read();
                        say(c, "good\n");
                        return;
                    } catch (SocketTimeoutException e) {
                        if (!asked.getAndSet(true)) {
                            say(c, "still there?\n");
                        }
                    }
                }
            }, IDLE_50);
            client(server, "client").play("the read throws SocketTimeoutException, and the connection stays open",
                    receive("still there?\n"), send("!"), receive("good\n"), end());
            Check.equal(1L, server.stats().idleClosed(), "stats().idleClosed()", "count each connection once");
        }

        @Test
        void a_client_that_drips_is_not_idle() throws Exception {   // rejects: a limit for the whole conversation
            for (int limit = 120; ; limit *= 2) {
                var server = serve(c -> c.in().transferTo(c.out()), PLAIN.withIdleTimeout(Duration.ofMillis(limit)));
                if (drips(server, limit)) {
                    return;
                }
                Check.that(limit < 2000, "a machine that can send a byte every 30 ms", "it is too busy: try again");
            }
        }

        /** Sends for longer than the limit; false when the test itself was as slow as an idle client. */
        private boolean drips(TcpServer server, int limit) throws Exception {
            long lastSent = System.nanoTime();   // the server's read has begun after that
            var client = client(server, "client with a limit of " + limit + " ms");
            for (int i = 0; i < 6; i++) {
                Thread.sleep(limit / 4);   // the client drips
                long sent = System.nanoTime();
                AssertionError failure = null;
                try {
                    client.play("idleTimeout is for each read, not for the conversation", send("x"), receive("x"));
                } catch (AssertionError e) {
                    failure = e;
                }
                if (System.nanoTime() - lastSent >= limit * 1_000_000L) {
                    return false;
                }
                if (failure != null) {
                    throw failure;
                }
                lastSent = sent;
            }
            return true;
        }

        @Test
        void an_idleTimeout_of_zero_is_no_limit_and_one_nanosecond_is_one() throws Exception {
            // rejects: toMillis() alone, which makes «no limit» of a nanosecond
            var patient = serve(TcpServer.lineService(80), PLAIN.withIdleTimeout(Duration.ZERO));
            client(patient, "client 1").play("zero means no limit", silence(Duration.ofMillis(30)), send("hello\n"),
                    receive("HELLO\n"));
            var hasty = serve(TcpServer.lineService(80), PLAIN.withIdleTimeout(Duration.ofNanos(1)));
            client(hasty, "client 2").play("less than a millisecond is no reason to wait for ever: round up", end());
        }

        @Test
        void a_client_that_never_reads_is_cut() throws Exception {
            // rejects: setSoTimeout() as a limit for writes; a count for each look of the watchdog
            var clock = new FakeClock();
            var failure = new CompletableFuture<Exception>();
            var server = serve(c -> {
                try {
                    flood(c);
                } catch (IOException e) {
                    failure.complete(e);
                    throw e;
                }
            }, PLAIN.withWriteStall(STALL).withNanoClock(clock));
            client(server, "client");
            awaitWhile(clock, () -> failure.isDone(), "that the blocked write of a handler ends",
                    "no timeout ends a blocked write: the watchdog has to close the socket");
            Await.until(() -> server.stats().active() == 0, "that stats().active() becomes 0",
                    "the handler still runs");
            Check.equal(1L, server.stats().stallClosed(), "stats().stallClosed()", "count each connection once");
            Check.equal(0L, server.stats().handlerFailures(), "stats().handlerFailures()",
                    "what the server cut is no failure of the handler: mark the connection as cut");
        }

        @Test
        void on_the_real_clock_too() throws Exception {
            var server = serve(c -> flood(c), PLAIN.withWriteStall(Duration.ofMillis(50)));
            client(server, "client");
            Await.until(() -> server.stats().stallClosed() == 1, "that stats().stallClosed() becomes 1",
                    "see the test before");
        }

        @Test
        void a_slow_but_steady_reader_is_never_cut() throws Exception {
            // rejects: a stall clock that starts once for each write()
            var likely = "the stall clock starts again with each 16 KiB: to take a piece now and then is enough";
            var clock = new FakeClock();
            int round = 4 << 20;   // far above what the buffers of both ends can hold: the server must have moved
            var server = serve(new SmallBuffers(), c -> {
                if (c.in().read() == '1') {
                    c.out().write(new byte[16 * round]);
                } else {
                    flood(c);
                }
            }, PLAIN.withWriteStall(STALL).withNanoClock(clock));
            var steady = Peer.connect(server.localAddress(), "the steady reader", SmallBuffers.SIZE);
            steady.play("", send("1"), take(1));   // its only write() is under way
            client(server, "the one that never reads").play("", send("2"));
            for (int rounds = 1; server.stats().stallClosed() == 0; rounds++) {
                Check.that(rounds < 16, "that the one that never reads is cut", "the watchdog has to close its socket");
                steady.play(likely, take(round));
                clock.advance(STALL.multipliedBy(6).dividedBy(10));
                for (int i = 0; i < 200 && rounds > 2 && server.stats().stallClosed() == 0; i++) {
                    Thread.sleep(1);   // gives the watchdog time to look
                }
            }
            steady.play(likely, take(round));
            Check.equal(1L, server.stats().stallClosed(), "stats().stallClosed()", "only one of the two is stalled");
        }

        @Test
        void a_handler_that_does_not_write_is_not_stalled() throws Exception {
            // rejects: an age since the last write, under way or not
            var clock = new FakeClock();
            var server = serve(c -> {
                say(c, "hello\n");
                if (c.in().read() == '2') {
                    flood(c);
                }
                say(c, "good\n");
            }, PLAIN.withWriteStall(STALL).withNanoClock(clock));
            var quiet = client(server, "the quiet one").play("", receive("hello\n"));
            client(server, "the one that never reads").play("", receive("hello\n"), send("2"));
            awaitWhile(clock, () -> server.stats().stallClosed() > 0, "that the one that never reads is cut",
                    "see the tests before");
            quiet.play("a write that has ended is no longer under way: forget when it began", send("1"),
                    receive("good\n"), end());
        }

        /** Lets the clock run until the condition holds. */
        private void awaitWhile(FakeClock clock, BooleanSupplier condition, String what, String likely)
                throws InterruptedException {
            Await.until(() -> {
                clock.advance(STALL);
                return condition.getAsBoolean();
            }, what, likely);
        }
    }

    @Step(value = 7, title = "Drain and close", further = true)
    class Drain_and_close {

        private static final Duration LONG = Duration.ofMinutes(1);
        private static final Duration SHORT = Duration.ofMillis(30);

        @Test
        void a_handler_at_work_may_finish() throws Exception {
            // rejects: a shutdown that does not wait, or cuts first
            var finished = new AtomicBoolean();
            var server = serve(c -> {
                workUntilDraining(c);
                Thread.sleep(20);   // the rest of its work
                finished.set(true);
                say(c, "done\n");
            }, PLAIN);
            var client = client(server, "client").play("nobody serves it", receive("at work\n"));
            boolean nobodyCut = server.shutdown(LONG);
            Check.that(finished.get(), "shutdown() to return after the handler, got an earlier return",
                    "wait for the handlers");
            client.play("shutdown() has cut a handler that only needed a moment", receive("done\n"), end());
            Check.that(nobodyCut, "true from shutdown(), got false", "nobody had to be cut");
            Check.equal(0, server.stats().active(), "stats().active() after shutdown()", "wait until all have left");
        }

        @Test
        void nobody_is_accepted_any_more() throws Exception {
            var server = serve(TcpServerTest::workUntilDraining, PLAIN);
            client(server, "client").play("nobody serves it", receive("at work\n"));
            server.shutdown(LONG);
            Check.that(!server.isRunning(), "isRunning() to be false after shutdown(), got true",
                    "stop listening first");
            Check.fails(ConnectException.class, () -> connect(server).close(), "connecting after shutdown()",
                    "stop listening first");
        }

        @Test
        void a_stuck_handler_is_cut_after_the_grace() throws Exception {
            // rejects: a wait without an end, a cut without an interrupt, true although somebody was cut
            var interrupted = new CompletableFuture<Boolean>();
            var server = serve(c -> {
                try {
                    stick(c);
                } catch (InterruptedException e) {
                    interrupted.complete(true);
                }
            }, PLAIN);
            var client = client(server, "client").play("nobody serves it", receive("stuck\n"));
            long start = System.nanoTime();
            boolean nobodyCut = server.shutdown(SHORT);
            Check.that(System.nanoTime() - start >= SHORT.toNanos(),
                    "a wait for all of the grace, got an earlier return",
                    "who is at work has the whole grace to finish");
            Check.that(!nobodyCut, "false from shutdown(), got true",
                    "a handler had to be cut, and shutdown() must say so");
            Await.value(interrupted, "that the stuck handler is interrupted",
                    "closing the socket does not wake who does not use it");
            client.play("the socket of a stuck handler must be closed", gone());
        }

        @Test
        void a_handler_that_waits_for_its_client_is_cut_after_the_grace() throws Exception {
            var server = serve(TcpServerTest::greet, PLAIN);
            var client = client(server, "client").play("nobody serves it", receive("hello\n"));
            Check.that(!server.shutdown(SHORT), "false from shutdown(), got true", "a handler had to be cut");
            client.play("closing the socket wakes who reads from it", gone());
            Check.equal(0L, server.stats().handlerFailures(), "stats().handlerFailures()",
                    "what the server cut is no failure of the handler");
        }

        @Test
        void every_caller_waits_and_gets_the_same_answer() throws Exception {
            // rejects: a second caller that returns early
            var likely = "a second caller returns before the end, or does not know how it went";
            for (var grace : List.of(LONG, SHORT)) {
                var go = new CountDownLatch(1);
                var server = serve(c -> {
                    workUntilDraining(c);
                    go.await();
                }, PLAIN);
                client(server, "client").play("nobody serves it", receive("at work\n"));
                var answers = Collections.synchronizedList(new ArrayList<String>());
                var callers = new ArrayList<Thread>();
                for (int i = 0; i < 8; i++) {
                    callers.add(Thread.startVirtualThread(() -> {
                        try {
                            boolean nobodyCut = server.shutdown(grace);
                            answers.add(nobodyCut + " with " + server.stats().active() + " at work");
                        } catch (InterruptedException e) {
                            answers.add("interrupted");
                        }
                    }));
                }
                if (grace.equals(LONG)) {
                    for (var caller : callers) {
                        Check.that(!caller.join(Duration.ofMillis(4)),
                                "that nobody returns while a handler is at work, but somebody did", likely);
                    }
                    go.countDown();
                }
                for (var caller : callers) {
                    Await.end(caller, "that every caller of shutdown() returns",
                            "somebody waits for an end that was signalled before");
                }
                Check.equal(Collections.nCopies(8, grace.equals(LONG) + " with 0 at work"), answers,
                        "the answers to 8 callers", likely);
                Check.equal(grace.equals(LONG), server.shutdown(Duration.ZERO), "the answer to a late caller",
                        "remember how it went");
            }
        }

        @Test
        void the_shortest_grace_counts() throws Exception {   // rejects: a close() that waits for somebody else's grace
            var server = serve(TcpServerTest::stick, PLAIN);
            client(server, "client").play("nobody serves it", receive("stuck\n"));
            var patient = new CompletableFuture<Boolean>();
            var caller = Thread.startVirtualThread(() -> complete(patient, () -> server.shutdown(LONG)));
            Await.until(() -> !server.isRunning(), "that isRunning() becomes false", "stop listening first");
            server.close();
            Check.that(!Await.value(patient, "that shutdown(1 min) ends when close() has cut everybody",
                    "wake who waits for the handlers"),
                    "false from shutdown(1 min), got true", "close() had to cut a handler");
            Await.end(caller, "the end of the caller", "");
        }

        @Test
        void a_handler_may_shut_the_server_down() throws Exception {
            // rejects: a handler that waits for itself, or cuts itself
            var itself = new CompletableFuture<TcpServer>();
            var server = serve(c -> say(c, "nobody cut: " + itself.join().shutdown(LONG) + "\n"), PLAIN);
            itself.complete(server);
            client(server, "client").play("shutdown() waits for the handler that called it, or cuts it",
                    receive("nobody cut: true\n"), end());
        }

        @Test
        void two_handlers_may_shut_the_server_down_at_once() throws Exception {
            // rejects: two that wait for each other
            var itself = new CompletableFuture<TcpServer>();
            var both = new CyclicBarrier(2);
            var server = serve(c -> {
                both.await();
                say(c, "nobody cut: " + itself.join().shutdown(LONG) + "\n");
            }, PLAIN);
            itself.complete(server);
            for (var client : clients(server, 2)) {
                client.play("two handlers in shutdown() wait for each other", receive("nobody cut: true\n"), end());
            }
        }

        @Test
        void a_handler_may_close_the_server() throws Exception {
            var itself = new CompletableFuture<TcpServer>();
            var server = serve(c -> {
                if (c.id() == 1) {
                    stick(c);
                }
                itself.join().close();
                say(c, "closed\n");
            }, PLAIN);
            itself.complete(server);
            var stuck = client(server, "client 1").play("nobody serves it", receive("stuck\n"));
            client(server, "client 2").play("close() waits for the handler that called it, or cuts it",
                    receive("closed\n"), end());
            stuck.play("close() cuts all other handlers", gone());
        }

        @Test
        void a_client_that_is_accepted_at_the_last_moment_is_not_forgotten() throws Exception {
            // rejects: connections cut before the loop has ended
            var late = new LateListening();
            var server = serve(late, c -> c.in().read(), PLAIN);
            var client = client(server, "client");
            Await.open(late.holdsClient, "that the client is accepted", "nobody accepts");
            server.shutdown(SHORT);
            client.play("a connection that came after the others were cut stays open for ever", gone());
            Await.until(() -> server.stats().active() == 0, "that stats().active() becomes 0",
                    "a connection that came after the others were cut goes on for ever");
        }

        @Test
        void the_line_service_ends_with_the_line_at_hand() throws Exception {
            // rejects: a service that never looks at draining()
            var server = serve(TcpServer.lineService(80), PLAIN);
            var client = client(server, "client").play("", send("one\n"), receive("ONE\n"));
            var nobodyCut = new CompletableFuture<Boolean>();
            var caller = Thread.startVirtualThread(() -> complete(nobodyCut, () -> server.shutdown(LONG)));
            Await.until(() -> !server.isRunning(), "that isRunning() becomes false", "stop listening first");
            client.play("", send("two\n"));
            Check.that(Await.value(nobodyCut, "that shutdown() ends when the client has had its last answer",
                    "the line service goes on reading: look at draining() after each answer"),
                    "true from shutdown(), got false", "");
            Await.end(caller, "the end of the caller", "");
        }

        @Test
        void who_waits_in_shutdown_may_be_interrupted() throws Exception {
            var server = serve(TcpServerTest::stick, PLAIN);
            client(server, "client").play("nobody serves it", receive("stuck\n"));
            var thrown = new CompletableFuture<Boolean>();
            var caller = Thread.startVirtualThread(() -> {
                try {
                    server.shutdown(LONG);
                    thrown.complete(false);
                } catch (InterruptedException e) {
                    thrown.complete(true);
                }
            });
            Await.until(() -> !server.isRunning(), "that isRunning() becomes false", "stop listening first");
            caller.interrupt();
            Check.that(Await.value(thrown, "that an interrupt ends shutdown()", "do not swallow it"),
                    "an InterruptedException, got a return", "do not swallow it");
            Await.end(caller, "the end of the caller", "");
        }

        @Test
        void the_port_is_free_when_shutdown_returns() throws Exception {
            checkPortIsFree(() -> {
                var first = serve(TcpServerTest::workUntilDraining, PLAIN);
                client(first, "client").play("nobody serves it", receive("at work\n"));
                first.shutdown(LONG);
                return first.localAddress();
            });
        }

        @Test
        void a_negative_grace_is_refused() throws Exception {
            var server = serve(c -> {}, PLAIN);
            var thrown = Check.fails(IllegalArgumentException.class, () -> server.shutdown(Duration.ofMillis(-1)),
                    "shutdown(-1 ms)", "check the argument first");
            Check.that(String.valueOf(thrown.getMessage()).contains("grace"),
                    "the message to name grace, got " + thrown.getMessage(), "say which argument is wrong");
        }
    }

    // Servers and clients.

    private static TcpServer serve(TcpServer.Handler handler, TcpServer.Options options) throws IOException {
        return serve(ANY_PORT, handler, options);
    }

    private static TcpServer serve(InetSocketAddress bind, TcpServer.Handler handler, TcpServer.Options options)
            throws IOException {
        return closeLater(
                TcpServer.start(bind, handler, options),
                server -> server.stats().toString());
    }

    private static TcpServer serve(ServerSocket listening, TcpServer.Handler handler, TcpServer.Options options) {
        return closeLater(TcpServer.start(closeLater(listening), handler, options));
    }

    private static Peer client(TcpServer server, String name) throws IOException {
        return Peer.connect(server.localAddress(), name);
    }

    /** A client of a line service that takes lines of 80 bytes. */
    private static Peer lineClient() throws IOException {
        return client(serve(TcpServer.lineService(80), PLAIN), "client");
    }

    private static List<Peer> clients(TcpServer server, int count) throws IOException {
        var clients = new ArrayList<Peer>();
        for (int i = 1; i <= count; i++) {
            clients.add(client(server, "client " + i));
        }
        return clients;
    }

    /** Comes back until it is greeted: a client may see the end of another before the server has the place back. */
    private static Peer admitted(TcpServer server, String name, String likely) throws Exception {
        var greeted = new CompletableFuture<Peer>();
        Await.until(() -> {
            try {
                var client = client(server, name);
                try {
                    greeted.complete(client.play("", receive("hello\n")));
                } catch (AssertionError rejected) {
                    client.close();
                    Thread.sleep(5);   // tries again a little later
                }
            } catch (IOException | InterruptedException e) {
                return false;
            }
            return greeted.isDone();
        }, "that " + name + " is served", likely);
        return greeted.join();
    }

    private static Socket connect(TcpServer server) throws IOException {
        return new Socket(server.localAddress().getAddress(), server.localAddress().getPort());
    }

    private static InetSocketAddress loopback(int port) {
        return new InetSocketAddress(InetAddress.getLoopbackAddress(), port);
    }

    /** Another process may be given the port in between: the whole scenario is tried five times. */
    private static void checkPortIsFree(Callable<InetSocketAddress> addressOfClosedServer) throws Exception {
        for (int i = 1; ; i++) {
            var address = addressOfClosedServer.call();
            try {
                serve(address, c -> {}, PLAIN);
                return;
            } catch (BindException e) {
                Check.that(i < 5, "the port of a closed server to be free at once, got " + e + " five times",
                        "the listener is still open, or a thread still in its accept(): close, and join, first");
            }
        }
    }

    private static <T> void complete(CompletableFuture<T> future, Callable<T> code) {
        try {
            future.complete(code.call());
        } catch (Exception e) {
            future.completeExceptionally(e);
        }
    }

    // Handlers.

    private static void say(TcpServer.Connection connection, String text) throws IOException {
        connection.out().write(text.getBytes(StandardCharsets.UTF_8));
    }

    /** Says hello, and stays until the client says something or closes. */
    private static void greet(TcpServer.Connection connection) throws IOException {
        say(connection, "hello\n");
        connection.in().read();
    }

    /** Never ends by itself. */
    private static void stick(TcpServer.Connection connection) throws IOException, InterruptedException {
        say(connection, "stuck\n");
        new CountDownLatch(1).await();
    }

    private static void workUntilDraining(TcpServer.Connection connection) throws IOException, InterruptedException {
        Check.that(!connection.draining(), "draining() to be false before the shutdown, got true", "");
        say(connection, "at work\n");
        while (!connection.draining()) {
            Thread.sleep(1);   // its work
        }
    }

    /** Writes until that fails. */
    private static void flood(TcpServer.Connection connection) throws IOException {
        var out = connection.out();
        while (true) {
            out.write(new byte[1 << 20]);
        }
    }

    // Listeners.

    /** Fails at some calls of accept(), counted from 1, as a listener does when the process has no descriptor left. */
    private static final class Listening extends ServerSocket {

        private final IntPredicate fails;
        private final List<Long> calls = Collections.synchronizedList(new ArrayList<>());
        private final AtomicInteger returned = new AtomicInteger();

        Listening(IntPredicate fails) throws IOException {
            super(0, 100, InetAddress.getLoopbackAddress());
            this.fails = fails;
        }

        @Override
        public Socket accept() throws IOException {
            if (isClosed()) {
                throw new SocketException("Socket closed");
            }
            calls.add(System.nanoTime());
            int call = calls.size();
            if (fails.test(call)) {
                History.note("accept() failed, call " + call);
                throw new IOException("Too many open files (the test says so)");
            }
            var socket = super.accept();
            returned.incrementAndGet();
            return socket;
        }

        void awaitCall(int call) throws InterruptedException {
            Await.until(() -> calls.size() >= call, "that accept() is called for the " + call + "th time",
                    "a failed accept() has ended the loop: catch inside the loop, and go on");
        }

        long millisBetween(int call, int later) {
            return (calls.get(later - 1) - calls.get(call - 1)) / 1_000_000;
        }

        long millisSince(int call) {
            return (System.nanoTime() - calls.get(call - 1)) / 1_000_000;
        }
    }

    /** Returns a client from accept() only when it is itself closed already. */
    private static final class LateListening extends ServerSocket {

        private final CountDownLatch holdsClient = new CountDownLatch(1);

        LateListening() throws IOException {
            super(0, 50, InetAddress.getLoopbackAddress());
        }

        @Override
        public Socket accept() throws IOException {
            var socket = super.accept();
            holdsClient.countDown();
            while (!isClosed()) {
                Thread.onSpinWait();
            }
            return socket;
        }
    }

    /** Its sockets buffer little, so that a writer soon feels whether its client reads. */
    private static final class SmallBuffers extends ServerSocket {

        static final int SIZE = 256 * 1024;

        SmallBuffers() throws IOException {
            super(0, 50, InetAddress.getLoopbackAddress());
        }

        @Override
        public Socket accept() throws IOException {
            var socket = super.accept();
            socket.setSendBufferSize(SIZE);
            return socket;
        }
    }
}
