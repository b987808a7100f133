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
import java.io.FilterInputStream;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
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
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.IntFunction;
import java.util.function.IntSupplier;
import java.util.stream.IntStream;
import kit.Action;
import kit.Await;
import kit.Check;
import kit.Expectation;
import kit.FakeTiming;
import kit.History;
import kit.Lab;
import kit.LeakCheck;
import kit.Patience;
import kit.Peer;
import kit.PendingCall;
import kit.Step;
import org.junit.jupiter.api.Test;

/**
 * Lab 401, step by step. The tests see the server from outside: through its public methods, its sockets, the listening
 * socket and the clock that they give it. A comment {@code rejects:} names the wrong servers that a test is there for.
 */
@Lab
class TcpServerTest {

    private static final TcpServer.Options DEFAULTS = TcpServer.Options.defaults();
    private static final InetSocketAddress ANY_PORT = loopback(0);
    private static final Duration LONG = Duration.ofMinutes(1);
    private static final Duration SHORT = Duration.ofMillis(25);

    @Step(value = 1, title = "Listen on a port",
            leak = "a start() that fails must close its socket, and stopListening() must close the listener")
    class Listen_on_a_port {

        @Test
        void localAddress_reports_the_port_that_the_system_chose_for_port_0() throws IOException {
            // rejects: localAddress() taken from the argument; one listener shared by all servers
            var ports = new HashSet<Integer>();
            for (int i = 1; i <= 2; i++) {
                var server = serve(c -> {}, DEFAULTS);
                int port = server.localAddress().getPort();
                Check.that(port > 0, "localAddress() with a port above 0, got " + port,
                        "that is the port asked for; ask the listener which one the system chose");
                Check.that(ports.add(port), "another port for a second server, got " + port + " again",
                        "the servers share one listener");
                Check.that(server.isRunning(), "isRunning() to be true after start(), got false",
                        "the listener is closed already");
            }
        }

        @Test
        void a_client_can_connect_as_soon_as_start_has_returned() throws IOException {
            client(serve(c -> {}, DEFAULTS), "client");
        }

        @Test
        void the_server_listens_at_the_given_address_only() throws IOException {
            // rejects: new ServerSocket(port), which listens on every network of the machine; a localAddress() that
            // knows the port only
            var server = serve(c -> {}, DEFAULTS);
            Check.equal(ANY_PORT.getAddress(), server.localAddress().getAddress(), "localAddress().getAddress()",
                    "bind to the whole address, not to its port alone");
            int port = server.localAddress().getPort();
            Check.fails(IOException.class, () -> new Socket("127.0.0.2", port).close(),
                    "connecting to 127.0.0.2, an address that start() was not given",
                    "the server listens at every address of this machine: bind to the whole address");
            for (var other : anotherLoopbackAddress()) {
                var there = serve(new InetSocketAddress(other, 0), c -> {}, DEFAULTS);
                Check.equal(other, there.localAddress().getAddress(), "localAddress().getAddress() of a server at "
                        + other.getHostAddress(), "bind to the whole address, and ask the listener for its address");
                client(there, "client");
            }
        }

        /** Linux has all of 127.0.0.0/8, other systems mostly ::1; none where a socket can be bound to neither. */
        private List<InetAddress> anotherLoopbackAddress() throws IOException {
            for (var name : List.of("127.0.0.2", "::1")) {
                var address = InetAddress.getByName(name);
                try (var probe = new ServerSocket()) {
                    probe.bind(new InetSocketAddress(address, 0));
                    return List.of(address);
                } catch (IOException e) {
                    // This machine does not have it.
                }
            }
            return List.of();
        }

        @Test
        void the_kernel_holds_as_many_connections_as_the_backlog_option_says() throws IOException {
            // rejects: a bind without the backlog, which leaves it at 50
            var server = serve(TcpServerTest::stay, DEFAULTS.withBacklog(100)
                    .withMaxConnections(1).withOverCap(TcpServer.OverCap.WAIT));   // one at most is accepted
            for (int i = 1; i <= 80; i++) {
                var client = closeLater(new Socket());
                try {
                    client.connect(server.localAddress(), Patience.millis());
                } catch (IOException e) {
                    throw History.fail("expected 80 clients to connect with a backlog of 100, client " + i + " got " + e,
                            "pass options.backlog() to bind(): without it the JDK asks for 50");
                }
            }
        }

        @Test
        void start_on_a_taken_port_throws_BindException_and_leaves_no_socket_open() throws IOException {
            var taken = serve(c -> {}, DEFAULTS).localAddress();
            int open = LeakCheck.openSockets();
            Check.fails(BindException.class, () -> serve(taken, c -> {}, DEFAULTS), "start() on a taken port",
                    "bind() throws it: let it pass");
            Check.equal(open, LeakCheck.openSockets(), "the number of open sockets after a start() that has failed",
                    "close the socket before you rethrow the exception of bind()");
        }

        @Test
        void a_connection_attempt_after_close_is_refused() throws IOException {   // rejects: a listener that stays open
            var server = serve(c -> {}, DEFAULTS);
            var address = server.localAddress();
            server.close();
            Check.that(!server.isRunning(), "isRunning() to be false after close(), got true", "close the listener");
            Check.fails(ConnectException.class, () -> connect(address).close(), "connecting after close()",
                    "close the listener");
            Check.equal(address, server.localAddress(), "localAddress() after close()",
                    "a ServerSocket still knows its local address when it is closed: ask it, as before");
        }

        @Test
        void the_port_can_be_bound_again_at_once_after_close() throws Exception {
            checkPortIsFree(() -> {
                var first = serve(TcpServerTest::stay, DEFAULTS);
                var address = first.localAddress();
                client(first, "client");
                first.close();
                return address;
            });
        }

        @Test
        void close_on_a_closed_server_has_no_effect() throws IOException {
            // rejects: a stopListening() that passes an IOException on, as it is or unchecked
            var server = serve(c -> {}, DEFAULTS);
            server.close();
            server.close();
            var closes = new AtomicInteger();
            var listening = new ServerSocket(0, 1, InetAddress.getLoopbackAddress()) {
                @Override
                public void close() throws IOException {
                    super.close();
                    if (closes.incrementAndGet() == 1) {
                        throw new IOException("closed, but with an error (the test says so)");
                    }
                }
            };
            var other = serve(listening, c -> {}, DEFAULTS);
            try {
                other.close();
            } catch (RuntimeException e) {
                throw History.fail("expected close() to return although the listener's close() throws\ngot " + e,
                        "stopListening() throws nothing: there is no more that it could do about the listener");
            }
            other.close();
        }

        @Test
        void the_exception_for_an_invalid_argument_names_the_argument() throws IOException {
            serve(c -> {}, DEFAULTS);   // valid ones are fine
            named(NullPointerException.class, "bind", () -> TcpServer.start((InetSocketAddress) null, c -> {}, DEFAULTS));
            named(NullPointerException.class, "handler", () -> TcpServer.start(ANY_PORT, null, DEFAULTS));
            named(NullPointerException.class, "options", () -> TcpServer.start(ANY_PORT, c -> {}, null));
            named(NullPointerException.class, "timing", () -> DEFAULTS.withTiming(null));
            named(IllegalArgumentException.class, "backlog", () -> DEFAULTS.withBacklog(0));
            named(IllegalArgumentException.class, "maxConnections", () -> DEFAULTS.withMaxConnections(0));
            named(IllegalArgumentException.class, "busyMessage", () -> DEFAULTS.withBusyMessage("b".repeat(1025)));
            named(IllegalArgumentException.class, "idleTimeout", () -> DEFAULTS.withIdleTimeout(Duration.ofMillis(-1)));
            named(IllegalArgumentException.class, "writeStall", () -> DEFAULTS.withWriteStall(Duration.ofMillis(-1)));
            named(IllegalArgumentException.class, "sendBuffer", () -> DEFAULTS.withSendBuffer(-1));
        }

        private void named(Class<? extends Exception> type, String name, Check.Code code) {
            var thrown = Check.fails(type, code, "an invalid " + name, "check the arguments first");
            Check.that(String.valueOf(thrown.getMessage()).contains(name),
                    "the message to name " + name + ", got " + thrown.getMessage(), "say which argument is invalid");
        }
    }

    @Step(value = 2, title = "Serve each client concurrently",
            leak = "runHandler() must close the connection and call leave(), each in finally or by try-with-resources",
            death = "runHandler() must catch whatever a handler throws, an Error too: catch Throwable")
    class Serve_each_client_concurrently {

        @Test
        void the_handler_is_called_for_a_client() throws IOException {
            client(serve(TcpServerTest::greet, DEFAULTS), "client").play("no thread accepts, or the handler is not called",
                    receive("hello\n"));
        }

        @Test
        void clients_that_come_one_after_another_are_served() throws IOException {   // rejects: one accept(), no loop
            var server = serve(c -> say(c, "hello\n"), DEFAULTS);
            for (var name : List.of("client 1", "client 2", "client 3")) {
                client(server, name).play("call accept() in a loop", receive("hello\n"), end());
            }
            Check.equal(3L, server.stats().accepted(), "stats().accepted()",
                    "count each client that accept() returns in counters.accepted");
        }

        @Test
        void a_silent_client_does_not_delay_the_next_one() throws IOException {
            // rejects: a handler on the accept thread
            var server = serve(c -> {
                c.in().read();
                say(c, "hello\n");
            }, DEFAULTS);
            client(server, "client 1");
            client(server, "client 2").play(
                    "the handler runs on the accept thread: start a virtual thread for each client",
                    send("?"), receive("hello\n"));
        }

        @Test
        void three_hundred_clients_are_served_at_the_same_time() throws Exception {
            // rejects: a pool of 200 threads; a thread that is started before enter()
            var itself = new CompletableFuture<TcpServer>();
            var begun = new AtomicInteger();
            var early = new AtomicInteger();
            var allHere = new CountDownLatch(300);
            var server = serve(c -> {
                int handlers = begun.incrementAndGet();
                if (itself.join().stats().active() < handlers) {
                    early.incrementAndGet();
                }
                allHere.countDown();
                allHere.await();
                greet(c);
            }, DEFAULTS);
            itself.complete(server);
            for (var client : clients(server, 300)) {
                client.play("each handler waits until all 300 run: a thread for each client, without a limit",
                        receive("hello\n"));
            }
            var likely = "call enter() for each connection, before its thread starts";
            Await.until(() -> server.stats().active() == 300, "that stats().active() becomes 300", likely);
            Check.equal(300, server.stats().peak(), "stats().peak()", likely);
            Check.equal(0, early.get(), "the number of handlers that ran before stats().active() counted them", likely);
        }

        @Test
        void each_handler_runs_on_a_virtual_thread_of_its_own() throws Exception {   // promised by the javadoc
            var threads = ConcurrentHashMap.<Thread>newKeySet();
            var server = serve(c -> {
                threads.add(Thread.currentThread());
                greet(c);
            }, DEFAULTS);
            for (var client : clients(server, 3)) {
                client.play("no thread accepts, or the handler is not called", receive("hello\n"));
            }
            Check.equal(3, threads.size(), "the number of threads that run 3 handlers", "start a thread for each client");
            Check.that(threads.stream().allMatch(Thread::isVirtual), "virtual threads, got platform threads",
                    "ten thousand platform threads are too expensive: Thread.ofVirtual()");
        }

        @Test
        void the_connection_is_closed_when_the_handler_returns() throws Exception {
            var server = serve(c -> say(c, "bye\n"), DEFAULTS);
            client(server, "client").play("close the connection when the handler has returned", receive("bye\n"),
                    end());
            awaitInactive(server, "call leave() when the handler has returned");
            Check.equal(0L, server.stats().handlerFailures(), "stats().handlerFailures()", "nothing was thrown");
        }

        @Test
        void the_connection_is_closed_when_the_handler_throws() throws Exception {
            // rejects: a close that is reached only when the handler returns
            var server = serve(c -> {
                throw new IOException("this handler is broken");
            }, DEFAULTS);
            client(server, "client").play(
                    "close() the connection also after an exception, in finally; abort() would reset it", end());
            awaitInactive(server, "call leave() also after an exception: finally");
            Check.equal(1L, server.stats().handlerFailures(), "stats().handlerFailures()",
                    "pass what the handler throws to countFailure(), once");
        }

        @Test
        void an_Error_in_a_handler_does_not_affect_other_connections() throws Exception {
            // rejects: catch (Exception e), a VirtualMachineError that is thrown again
            var errors = List.of(new AssertionError("this handler is broken (the test says so)"),
                    new OutOfMemoryError("the heap is full (the test says so)"),
                    new StackOverflowError("a recursion without an end (the test says so)"));
            var server = serve(c -> {
                if (c.id() <= errors.size()) {
                    throw errors.get((int) c.id() - 1);
                }
                greet(c);
            }, DEFAULTS);
            for (var error : errors) {
                client(server, "the client of a handler that throws " + error.getClass().getSimpleName())
                        .play("close the connection also after an Error: finally", end());
            }
            client(server, "the next client").play("one broken handler has stopped the server", receive("hello\n"));
            Await.until(() -> server.stats().handlerFailures() == 3, "that stats().handlerFailures() becomes 3",
                    "an Error counts, too: catch Throwable");
            Check.equal(1, server.stats().active(), "stats().active()",
                    "call leave() also after an Error: finally");
        }

        @Test
        void a_client_that_resets_its_connection_does_not_affect_others() throws Exception {
            // rejects: a loop that ends with one client
            var server = serve(c -> {
                say(c, "hello\n");
                c.in().readAllBytes();
            }, DEFAULTS);
            client(server, "client 1").play("no thread accepts, or the handler is not called", receive("hello\n"),
                    reset());
            client(server, "client 2").play("a reset by client 1 has stopped the server", receive("hello\n"));
            Await.until(() -> server.stats().active() == 1, "that stats().active() becomes 1",
                    "call leave() also after a reset: finally");
        }

        @Test
        void each_connection_has_its_own_id_and_remote_address() throws Exception {
            // rejects: one Connection shared by all
            var seen = new ConcurrentHashMap<Integer, Long>();
            var server = serve(c -> {
                seen.put(c.remoteAddress().getPort(), c.id());
                greet(c);
            }, DEFAULTS);
            for (var client : clients(server, 20)) {
                client.play("no thread accepts, or the handler is not called", receive("hello\n"));
                int port = client.localAddress().getPort();
                Check.that(seen.containsKey(port), "a remoteAddress() with port " + port + ", got " + seen.keySet(),
                        "make a Connection for each socket");
            }
            Check.equal(20, new HashSet<>(seen.values()).size(), "the number of different ids of 20 connections",
                    "make a Connection for each socket");
        }

        @Test
        void a_handler_may_close_its_connection_itself() throws Exception {
            var server = serve(c -> {
                say(c, "bye\n");
                c.close();
                c.close();
            }, DEFAULTS);
            client(server, "client").play("close() of a connection closes its socket", receive("bye\n"), end());
            awaitInactive(server, "call leave() in finally");
            Check.equal(0L, server.stats().handlerFailures(), "stats().handlerFailures()",
                    "to close a closed connection is no failure");
        }

        @Test
        void a_connection_is_active_until_its_socket_is_closed() throws Exception {
            // rejects: leave() before close(), so that a shutdown returns while sockets are open
            var server = new CompletableFuture<TcpServer>();
            var activeAtClose = new ConcurrentHashMap<Long, Integer>();
            var tap = new Tap() {
                @Override
                void closing(Socket socket) {
                    activeAtClose.putIfAbsent(Thread.currentThread().threadId(), server.join().stats().active());
                }
            };
            server.complete(serve(tap, c -> {
                if (c.in().read() == 'x') {
                    throw new IOException("this handler is broken");
                }
            }, DEFAULTS));
            for (var text : List.of("r", "x")) {
                client(server.join(), "client").play("close the connection in any case", send(text), end());
                awaitInactive(server.join(), "call leave() in finally");
            }
            Check.equal(List.of(1, 1), List.copyOf(activeAtClose.values()),
                    "stats().active() at the moment when each of two connections is closed",
                    "close the connection before it leaves (try-with-resources closes before finally runs), and call"
                            + " enter() before its thread starts");
        }

        @Test
        void close_ends_every_connection() throws Exception {   // rejects: handlers that were not entered
            var server = serve(TcpServerTest::greet, DEFAULTS);
            var clients = clients(server, 3);
            for (var client : clients) {
                client.play("no thread accepts, or the handler is not called", receive("hello\n"));
            }
            server.close();
            for (var client : clients) {
                client.play("close() cuts the connections that were given to enter()", gone());
            }
            awaitInactive(server, "each connection must leave()");
        }
    }

    @Step(value = 3, title = "Answer line by line",
            leak = "the handler does not return at the end of stream, at QUIT or after a line that is too long")
    class Answer_line_by_line {

        @Test
        void a_line_is_answered_in_upper_case_as_soon_as_it_is_complete() throws IOException {
            lineClient().play("write the answer, and flush it, as soon as LF is there: the client waits for it",
                    send("hello\n"), receive("HELLO\n"), send("again\n"), receive("AGAIN\n"));
        }

        @Test
        void several_lines_in_one_write_are_answered_in_order() throws IOException {   // rejects: a read is a line
            lineClient().play("one read may bring several lines", send("one\ntwo\nthree\n"),
                    receive("ONE\nTWO\nTHREE\n"));
        }

        @Test
        void a_line_that_arrives_byte_by_byte_is_answered_once() throws IOException {   // rejects: a read is a line
            var server = serve(new Portions(() -> 1), TcpServer.lineService(80), DEFAULTS);
            client(server, "client").play("a read may bring any part of a line: collect until LF",
                    sendSingly("hello there\n"), receive("HELLO THERE\n"));
        }

        @Test
        void lines_may_be_split_between_any_two_bytes() throws IOException {
            // rejects: CR and LF expected in one read, and the like
            var random = new Random(401);
            var server = serve(new Portions(() -> 1 + random.nextInt(4)), TcpServer.lineService(80), DEFAULTS);
            var client = client(server, "client");
            for (long seed = 1; seed <= 20; seed++) {
                client.play("a read may end anywhere, between CR and LF, too",
                        sendSplit("one\r\ntwo\n\nthree, four\r\n", seed), receive("ONE\nTWO\n\nTHREE, FOUR\n"));
            }
        }

        @Test
        void a_CR_before_LF_is_dropped() throws IOException {
            lineClient().play("a line ends with LF or CR LF, an answer always with LF", send("hello\r\n"),
                    receive("HELLO\n"));
        }

        @Test
        void a_CR_before_the_end_of_stream_is_dropped() throws IOException {   // rejects: a CR that only LF drops
            lineClient(5).play("the line end may be cut off after its CR, which is no part of the line",
                    send("abcde\r"), halfClose(), receive("ABCDE\n"), end());
            lineClient(5).play("QUIT may end with CR, too", send("QUIT\r"), halfClose(), end());
        }

        @Test
        void a_CR_inside_a_line_is_kept() throws IOException {   // rejects: BufferedReader.readLine(), replace("\r", "")
            lineClient().play("only LF ends a line (for readLine() a lone CR does, too); drop one CR before it, no other",
                    send("a\rb\r\r\n"), receive("A\rB\r\n"));
        }

        @Test
        void an_empty_line_is_answered_with_an_empty_line() throws IOException {   // rejects: empty is the end
            lineClient().play("an empty line is a line, not the end of stream", send("\n\r\nx\n"), receive("\n\nX\n"));
        }

        @Test
        void the_last_line_may_end_with_the_end_of_stream() throws IOException {
            lineClient().play("the client has closed its own side only: answer the rest, flush it, then return",
                    send("one\ntwo"), halfClose(), receive("ONE\nTWO\n"), end());
        }

        @Test
        void the_end_of_stream_itself_gets_no_answer() throws IOException {   // rejects: an empty last line
            lineClient().play("the end of stream is no line", halfClose(), end());
            lineClient().play("after a last LF there is no further line", send("one\n"), halfClose(),
                    receive("ONE\n"), end());
        }

        @Test
        void QUIT_closes_the_connection_without_an_answer() throws IOException {
            lineClient().play("answer the lines before QUIT, and flush the answers before you return",
                    send("one\nQUIT\n"), receive("ONE\n")).play("return at QUIT, without an answer", end());
            lineClient().play("the CR is no part of the line", send("QUIT\r\n"), end());
            lineClient().play("nothing is answered after QUIT", send("QUIT\ntwo\n"), gone());
        }

        @Test
        void lines_that_only_resemble_QUIT_are_answered() throws IOException {   // rejects: startsWith, ignoring case, trim
            lineClient().play("QUIT is the whole line, in capitals", send("quit\nQUITE\n QUIT\nQUIT \n"),
                    receive("QUIT\nQUITE\n QUIT\nQUIT \n"));
        }

        @Test
        void bytes_other_than_ASCII_letters_are_sent_back_unchanged() throws IOException {
            // rejects: String.toUpperCase(), and every charset
            var likely = "work on bytes: a charset, or toUpperCase(), changes what it does not know";
            lineClient().play(likely, send("grüße, ÿ, 你好\n"), receive("GRüßE, ÿ, 你好\n"));
            lineClient(300).play(likely, new Action.Send(everyByte('a')),
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
        void the_answer_does_not_depend_on_the_default_locale() throws IOException {   // rejects: toUpperCase()
            var before = Locale.getDefault();
            Locale.setDefault(Locale.of("tr"));
            try {
                lineClient().play("with a Turkish locale toUpperCase() makes İ of i: work on bytes", send("title\n"),
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
            lineClient(100_000).play("a line may be longer than any buffer",   // rejects: one buffer of a fixed size
                    send("a".repeat(100_000) + "\nb\n"), receive("A".repeat(100_000) + "\nB\n"));
        }

        @Test
        void a_longer_line_is_answered_with_an_error_before_its_LF_arrives() throws IOException {
            // rejects: off by one; readLine(), split("\n") and the like, which store all that comes before LF; CRs that
            // never count, so that a client can fill the heap with them
            readError(lineClient(), "give up at the first byte beyond maxLine: the LF may never come",
                    send("ok\n"), receive("OK\n"), send("a".repeat(81)));
            var likely = "only one CR, with LF or the end of stream behind it, is part of the line end; any other CR"
                    + " is a byte of the line, and counts";
            for (var line : List.of("abcde\rf", "abcde\r\r", "\r\r\r\r\r\r\r")) {
                readError(lineClient(5), likely, send(line));
            }
            readError(lineClient(5), "return after the error: no further line is answered", send("abcdef\nnext\n"));
        }

        /** Reads the error behind a line that is too long, and the end of stream, when it has played its script. */
        private static Peer readError(Peer client, String likely, Peer.Move... script) throws IOException {
            return client.play(likely, script)
                    .play(likely + " (and flush the error before lingeringClose())", receive("error: line too long"))
                    .play("the error is a line: it ends with LF, as every answer does", receive("\n"))
                    .play(likely, end());
        }

        @Test
        void a_client_that_is_still_sending_reads_the_error_and_the_end_of_stream() throws IOException {
            // rejects: a close over unread input, which is a reset
            var likely = "a close over unread input sends a reset: lingeringClose() after the error";
            readError(lineClient(), likely, sendJunk(64 * 1024)).play(likely, sendJunk(1000), sendJunk(1000));
        }

        @Test
        void a_client_that_stays_after_the_error_is_no_handler_failure() throws Exception {
            var tap = new Tap() {
                @Override
                int read(Socket socket, InputStream in, byte[] bytes, int offset, int length) throws IOException {
                    if (socket.isOutputShutdown()) {
                        throw new SocketTimeoutException("the client has stayed for a second (the test says so)");
                    }
                    return in.read(bytes, offset, length);
                }
            };
            var server = serve(tap, TcpServer.lineService(5), DEFAULTS);
            readError(client(server, "client of lineService(5)"), "write the error, then call lingeringClose()",
                    send("too long"));
            awaitInactive(server, "return after the error");
            Check.equal(0L, server.stats().handlerFailures(), "stats().handlerFailures()",
                    "a client that does not close is no failure of the handler, which has done its work");
        }

        @Test
        void each_client_has_its_own_conversation() throws Exception {   // rejects: a buffer shared by all
            var listening = closeLater(new Tap());
            var server = serve(listening, TcpServer.lineService(80), DEFAULTS);
            var first = client(server, "client 1").play("", send("al"));
            listening.awaitRead(first, 2);
            var likely = "one handler serves all clients: keep the line in a local variable of handle()";
            var second = client(server, "client 2").play(likely, send("be\n"), receive("BE\n"));
            first.play(likely, send("pha\n"), receive("ALPHA\n"));
            second.play(likely, send("ta\n"), receive("TA\n"));
        }

        @Test
        void a_thousand_lines_from_a_JDK_channel_are_answered_in_order() throws Exception {   // a peer of the JDK
            var server = serve(TcpServer.lineService(80), DEFAULTS);
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

        @Test
        void while_the_server_drains_the_current_line_is_the_last() throws Exception {
            // rejects: a handler that never looks at draining()
            var listening = closeLater(new SlowToStop());
            var server = serve(listening, TcpServer.lineService(80), DEFAULTS);
            var client = client(server, "client").play("", send("one\n"), receive("ONE\n"), send("tw"));
            listening.awaitRead(client, 6);
            Await.until(() -> listening.calls.get() == 2, "that accept() is called again", "call accept() in a loop");
            var shutdown = PendingCall.start(() -> server.shutdown(LONG));
            Await.until(() -> !server.isRunning(), "that isRunning() becomes false", "close the listener");
            client.play("look at connection.draining() after each answer, and return", send("o\nthree\n"),
                    receive("TWO\n"), gone());
            listening.mayStop.countDown();
            Await.value(shutdown.outcome(), "that shutdown() returns", "");
        }
    }

    @Step(value = 4, title = "Survive failing accepts",
            leak = "the accept thread still sleeps in backOff(): close() interrupts it, and that must end the sleep",
            death = "the accept loop must survive whatever accept() throws, an Error too: catch Throwable inside the loop")
    class Survive_failing_accepts {

        private static final String LIKELY = "the loop has ended, or backOff() sleeps in real time: catch inside the"
                + " loop, and sleep with sleepUntil() of options.timing()";

        @Test
        void the_next_client_is_served_after_three_failures() throws Exception {   // rejects: a catch around the loop
            var timing = FakeTiming.jumping();
            var server = serve(new Listening(timing, call -> call <= 3 ? noDescriptor() : null), TcpServerTest::greet,
                    DEFAULTS.withTiming(clock(timing)));
            client(server, "client").play(LIKELY, receive("hello\n"));
            Check.equal(3L, server.stats().acceptFailures(), "stats().acceptFailures()",
                    "count each failed call of accept() in counters.acceptFailures");
        }

        @Test
        void the_pause_is_5_ms_and_doubles_with_each_consecutive_failure_up_to_1_s() throws Exception {
            // rejects: a loop that spins, pauses that are constant, linear, start at 10 ms or grow without a limit, and
            // 5 << n, which overflows: an int at the 30th failure, a long at the 62nd
            var timing = FakeTiming.jumping();
            int failures = 70;
            var listening = new Listening(timing, call -> call <= failures ? noDescriptor() : null);
            var server = serve(listening, TcpServerTest::greet, DEFAULTS.withTiming(clock(timing)));
            client(server, "client").play(LIKELY, receive("hello\n"));
            var pauses = listening.pauses(1, failures + 1);
            boolean mixed = pauses.stream().anyMatch(millis -> millis < 0 || millis > 600_000);
            var likely = mixed ? "two clocks are mixed: sleepUntil() takes a point on the clock of options.timing(), so"
                    + " add the pause to its nanoTime(), not to System.nanoTime()"
                    : "sleep on options.timing() for 5 ms, twice as long after each consecutive failure, at most 1 s";
            Check.equal(List.of(5L, 10L, 20L, 40L, 80L, 160L, 320L, 640L, 1000L, 1000L, 1000L), pauses.subList(0, 11),
                    "the pauses in ms between 12 calls of accept()", likely);
            for (int failure = 12; failure <= failures; failure++) {
                Check.equal(1000L, pauses.get(failure - 1), "the pause in ms after consecutive failure " + failure,
                        "each further pause is 1 s; 5 << n overflows when the failures go on: limit n first");
            }
        }

        @Test
        void a_successful_accept_resets_the_pause_to_5_ms() throws Exception {   // rejects: a pause that only grows
            var timing = FakeTiming.jumping();
            var listening = new Listening(timing, call -> call <= 5 || call == 7 || call == 8 ? noDescriptor() : null);
            var server = serve(listening, TcpServerTest::greet, DEFAULTS.withTiming(clock(timing)));
            client(server, "client 1").play(LIKELY, receive("hello\n"));
            client(server, "client 2").play(LIKELY, receive("hello\n"));
            Check.equal(List.of(5L, 10L), listening.pauses(7, 9), "the pauses in ms after 5 failures and a success",
                    "the loop must count consecutive failures: set the count back to 0 after a success");
        }

        @Test
        void the_loop_survives_whatever_accept_throws() throws Exception {
            // rejects: catch (IOException e), after which a server says that it runs, and accepts nobody; a
            // VirtualMachineError that is thrown again; a SocketException that is taken for the end of the listener
            var timing = FakeTiming.jumping();
            var failures = List.of(new Error("something is broken (the test says so)"),
                    new OutOfMemoryError("no native memory (the test says so)"),
                    new StackOverflowError("the stack is full (the test says so)"),
                    new IllegalStateException("this listener is broken (the test says so)"),
                    new SocketException("Software caused connection abort (the test says so)"));
            var server = serve(new Listening(timing, call -> call <= 5 ? failures.get(call - 1) : null),
                    TcpServerTest::greet, DEFAULTS.withTiming(clock(timing)));
            client(server, "client").play(LIKELY, receive("hello\n"));
            Check.equal(5L, server.stats().acceptFailures(), "stats().acceptFailures()",
                    "count whatever accept() throws, not IOException alone");
        }

        @Test
        void connected_clients_are_served_while_accept_fails() throws Exception {
            // rejects: a failed accept that closes the server
            var timing = FakeTiming.byHand();
            var server = serve(new Listening(timing, call -> call == 2 ? noDescriptor() : null), c -> {
                say(c, "hello\n");
                c.in().read();
                say(c, "still here\n");
            }, DEFAULTS.withTiming(clock(timing)));
            var client = client(server, "client 1").play("no thread accepts", receive("hello\n"));
            timing.awaitSleepers(1, LIKELY);
            client.play("a failed accept() is no reason to close connections", send("?"), receive("still here\n"),
                    end());
            timing.advance(Duration.ofMillis(5));
            client(server, "client 2").play("the first pause is longer than 5 ms, or the loop has ended",
                    receive("hello\n"));
        }

        @Test
        void close_interrupts_the_pause() throws Exception {   // rejects: a sleep that ignores the interrupt
            var timing = FakeTiming.byHand();
            var server = serve(new Listening(timing, call -> noDescriptor()), TcpServerTest::greet,
                    DEFAULTS.withTiming(clock(timing)));
            timing.awaitSleepers(1, LIKELY);
            var close = PendingCall.start(() -> {
                server.close();
                return true;
            });
            var likely = "close() interrupts the accept thread: return from backOff() when the sleep throws";
            Await.value(close.outcome(), "that close() ends the pause and returns", likely);
            Check.equal(0, timing.sleepers(), "the number of threads that sleep after close()", likely);
            Check.equal(1L, server.stats().acceptFailures(), "stats().acceptFailures()",
                    "the loop must look at isRunning() after the pause");
        }

        @Test
        void closing_the_listener_is_not_counted_as_an_accept_failure() throws Exception {
            // rejects: a stack trace at each shutdown, a count for it, a loop that goes on without a listener
            var before = System.err;
            var printed = new ByteArrayOutputStream();
            System.setErr(new PrintStream(printed, true));
            try {
                var server = serve(TcpServerTest::greet, DEFAULTS);
                client(server, "client").play("no thread accepts", receive("hello\n"));
                server.close();
                Check.equal(0L, server.stats().acceptFailures(), "stats().acceptFailures() after close()",
                        "accept() throws when the listener is closed: look at isRunning() before you call backOff()");
                var listening = new Listening(FakeTiming.jumping(), call -> null);
                var other = serve(listening, TcpServerTest::greet, DEFAULTS);
                listening.awaitCall(1);
                listening.close();
                other.close();
                Check.equal(0L, other.stats().acceptFailures(),
                        "stats().acceptFailures() after the listener was closed by someone else",
                        "a closed listener ends the loop: look at isRunning() before you call backOff()");
            } finally {
                System.setErr(before);
            }
            Check.equal("", printed.toString(), "the output on System.err", "a loop that ends has nothing to report");
        }
    }

    @Step(value = 5, title = "Cap the connections", further = true,
            leak = "a rejected client's socket that nobody closes, or an accept thread that waits for a permit after close()")
    class Cap_the_connections {

        private static final TcpServer.Options ONE = DEFAULTS.withMaxConnections(1);
        private static final TcpServer.Options WAIT_ONE = ONE.withOverCap(TcpServer.OverCap.WAIT);
        private static final String BUSY = "if admit() gets no permit, reject(): the busy message, then a lingering close";

        @Test
        void a_client_beyond_maxConnections_reads_the_busy_message_and_the_end_of_stream() throws Exception {
            var server = serve(TcpServerTest::greet, DEFAULTS.withMaxConnections(3));
            for (var client : clients(server, 3)) {
                client.play("three are allowed", receive("hello\n"));
            }
            client(server, "client 4").play(BUSY, receive("busy\n"), end());
            Check.equal(1L, server.stats().rejected(), "stats().rejected()",
                    "count each rejected client in counters.rejected");
            Await.until(() -> server.stats().accepted() == 4, "that stats().accepted() becomes 4",
                    "a rejected client counts as accepted, too: accept() has returned it");
            Check.equal(3, server.stats().active(), "stats().active()", "a rejected client is not served");
            Check.equal(3, server.stats().peak(), "stats().peak()", "a rejected client is not served");
        }

        @Test
        void the_busy_message_is_taken_from_the_options() throws Exception {   // rejects: "busy\n" written into the code
            var server = serve(TcpServerTest::greet, ONE.withBusyMessage("zajęte\r\n"));
            client(server, "client 1").play("one is allowed", receive("hello\n"));
            client(server, "client 2").play("send options.busyMessage()", receive("zajęte\r\n"), end());
            var silent = serve(TcpServerTest::greet, ONE.withBusyMessage(""));
            client(silent, "client 3").play("one is allowed", receive("hello\n"));
            client(silent, "client 4").play("an empty message is none", end());
        }

        @Test
        void a_rejected_client_neither_acquires_nor_releases_a_permit() throws Exception {
            // rejects: a release in two places, an acquire that a rejection keeps
            var server = serve(TcpServerTest::greet, DEFAULTS.withMaxConnections(2));
            var first = client(server, "client 1").play("two are allowed", receive("hello\n"));
            client(server, "client 2").play("two are allowed", receive("hello\n"));
            for (int i = 3; i <= 6; i++) {
                client(server, "client " + i).play("a rejection has released a permit that it did not have",
                        receive("busy\n"), end(), close());
            }
            first.play("", close());
            admitted(server, "client 7", "a rejection has kept a permit, or leaving does not release it");
            client(server, "client 8").play("the client that left has released more than its one permit",
                    receive("busy\n"), end());
        }

        @Test
        void a_permit_is_released_once_when_its_client_has_left() throws Exception {
            // rejects: a permit that is kept, or released twice
            var server = serve(TcpServerTest::greet, ONE);
            for (int i = 1; i <= 5; i++) {
                admitted(server, "client " + i, "the permit of a client that has left is not released").play("",
                        close());
            }
            admitted(server, "client 6", "the permit of a client that has left is not released");
            client(server, "client 7").play("the permit of a client that has left is released twice",
                    receive("busy\n"), end());
        }

        @Test
        void a_permit_is_released_when_the_handler_throws() throws Exception {   // rejects: a release that is skipped
            var server = serve(c -> {
                say(c, "hello\n");
                if (c.id() % 2 == 0) {
                    throw new AssertionError("this handler is broken");
                }
                throw new IOException("this one, too");
            }, ONE);
            for (int i = 1; i <= 6; i++) {
                admitted(server, "client " + i, "the permit of a handler that threw is not released");
            }
        }

        @Test
        void the_busy_message_reaches_a_client_that_is_still_sending() throws Exception {
            // rejects: a plain close, or abort(), while input is unread
            var server = serve(TcpServerTest::greet, ONE);
            client(server, "client 1").play("one is allowed", receive("hello\n"));
            for (int i = 2; i <= 4; i++) {
                client(server, "client " + i).play("a close over unread input is a reset: use sayBusy()",
                        sendJunk(64 * 1024), receive("busy\n"), end(), sendJunk(1000), sendJunk(1000), close());
            }
        }

        @Test
        void rejected_clients_that_stay_do_not_delay_the_next_one() throws Exception {
            // rejects: a lingering close on the accept thread
            var server = serve(TcpServerTest::greet, ONE);
            client(server, "client 0").play("one is allowed", receive("hello\n"));
            clients(server, 20);   // rejected, and neither read nor close
            client(server, "the next client").play(
                    "the accept thread waits for clients that it rejects: sayBusy() on another thread",
                    receive("busy\n"), end());
        }

        @Test
        void while_64_rejected_clients_linger_the_next_one_is_reset() throws Exception {
            // rejects: a thread and a socket for each of any number of rejected clients
            var tap = new Tap() {
                @Override
                int read(Socket socket, InputStream in, byte[] bytes, int offset, int length) throws IOException {
                    if (socket.isOutputShutdown()) {
                        socket.setSoTimeout(0);   // a second may last as long as the test
                    }
                    return in.read(bytes, offset, length);
                }
            };
            var server = serve(tap, TcpServerTest::greet, ONE);
            client(server, "client 0").play("one is allowed", receive("hello\n"));
            for (var client : clients(server, 64)) {
                client.play(BUSY, receive("busy\n"), end());
            }
            var likely = "the 65th is not worth another thread: abort() it while 64 are lingering";
            Check.fails(SocketException.class, () -> {
                try (var client = connect(server.localAddress())) {   // the reset may come before this has returned
                    client.setSoTimeout(Patience.millis());
                    client.getInputStream().read();
                }
            }, "connecting and reading, as the 65th rejected client", likely);
            Check.equal(65L, server.stats().rejected(), "stats().rejected()", "a client that is reset counts, too");
            server.close();   // does not wait until they have gone
        }

        @Test
        void maxConnections_is_not_exceeded_by_clients_that_arrive_together() throws Exception {
            // rejects: handlers counted on their own threads, but looked at on the accept thread
            var allHere = new CountDownLatch(1);
            var allDecided = new CountDownLatch(1);
            var atWork = new AtomicInteger();
            var server = serve(new Listening(FakeTiming.jumping(), call -> {
                awaitUninterruptibly(allHere);
                return null;
            }), c -> {
                atWork.incrementAndGet();
                allDecided.await();
            }, DEFAULTS.withMaxConnections(5));
            clients(server, 40);
            allHere.countDown();   // accept() returns all of them, one right after another
            Await.until(() -> atWork.get() + server.stats().rejected() == 40,
                    "that each of 40 clients is served or rejected",
                    "with REJECT the loop accepts every client, and counts each one that it rejects");
            allDecided.countDown();
            Check.equal(5, atWork.get(), "handlers at the same time, with maxConnections 5,",
                    "a count by the handler's own thread comes too late: acquire the permit on the accept thread");
        }

        @Test
        void a_rejected_client_resets_the_pause_after_failed_accepts() throws Exception {
            // rejects: a count of failures that only an admitted client resets
            var timing = FakeTiming.jumping();
            var listening = new Listening(timing, call -> call == 2 || call == 3 || call == 5 ? noDescriptor() : null);
            var server = serve(listening, TcpServerTest::greet, ONE.withTiming(clock(timing)));
            client(server, "client 1").play("one is allowed", receive("hello\n"));
            client(server, "client 2").play(BUSY, receive("busy\n"), end());
            listening.awaitCall(6);
            Check.equal(List.of(5L), listening.pauses(5, 6),
                    "the pause in ms after two failures, a rejected client and a failure",
                    "accept() has succeeded, whatever becomes of the client: set the count of failures to 0");
        }

        @Test
        void with_WAIT_a_client_is_not_accepted_until_a_permit_is_free() throws Exception {
            // rejects: a client that is accepted, and then waits
            var listening = new Listening(FakeTiming.jumping(), call -> null);
            var server = serve(listening, TcpServerTest::greet, WAIT_ONE);
            var first = client(server, "client 1").play("one is allowed", receive("hello\n"));
            var second = client(server, "client 2").play("with WAIT a client reads nothing while it waits",
                    silence(Duration.ofMillis(30)));
            Check.equal(1, listening.returned.get(), "the number of accepted clients, with one permit,",
                    "wait for a permit before accept(): the client waits in the backlog");
            first.play("", close());
            second.play("a permit is free again, but the loop does not accept", receive("hello\n"));
            Check.equal(0L, server.stats().rejected(), "stats().rejected()", "with WAIT no client is rejected");
        }

        @Test
        void with_WAIT_every_client_is_served_and_maxConnections_is_not_exceeded() throws Exception {
            var now = new AtomicInteger();
            var most = new AtomicInteger();
            var server = serve(c -> {
                most.accumulateAndGet(now.incrementAndGet(), Math::max);
                say(c, "hello\n");
                Thread.yield();
                now.decrementAndGet();
            }, WAIT_ONE.withMaxConnections(3));
            for (var client : clients(server, 60)) {
                client.play("with WAIT every client is served in the end", receive("hello\n"), end());
            }
            var likely = "acquire the permit before the handler starts";
            Check.that(most.get() <= 3, "at most 3 handlers at the same time, got " + most, likely);
            Check.that(server.stats().peak() <= 3, "a peak of at most 3, got " + server.stats().peak(), likely);
        }

        @Test
        void with_WAIT_a_failed_accept_costs_no_permit() throws Exception {
            // rejects: a permit acquired before accept() and lost
            var timing = FakeTiming.jumping();
            var server = serve(new Listening(timing, call -> call % 2 == 1 ? noDescriptor() : null),
                    TcpServerTest::greet, WAIT_ONE.withTiming(clock(timing)));
            for (int i = 1; i <= 3; i++) {
                client(server, "client " + i).play("a permit was acquired, accept() failed, and the permit was kept",
                        receive("hello\n"), close());
            }
        }

        @Test
        void close_interrupts_the_wait_for_a_permit() throws Exception {   // rejects: acquireUninterruptibly()
            var release = new CountDownLatch(1);
            var server = serve(c -> {
                say(c, "hello\n");
                awaitUninterruptibly(release);   // so that close() frees no permit
            }, WAIT_ONE);
            var client = client(server, "client").play("one is allowed", receive("hello\n"));
            long start = System.nanoTime();
            var close = PendingCall.start(() -> {
                server.close();
                return true;
            });
            try {
                client.play("close() interrupts the accept thread: let that end the wait for a permit", gone());
                long millis = (System.nanoTime() - start) / 1_000_000;   // the given join() gives up after 5 s
                Check.that(millis < 2500, "close() to cut the connection at once, got " + millis + " ms",
                        "close() interrupts the accept thread: let that end the wait for a permit");
            } finally {
                release.countDown();
            }
            Await.value(close.outcome(), "that close() returns", "");
        }
    }

    @Step(value = 6, title = "Cut off slow peers", further = true,
            leak = "a handler that waits for ever in a read or a write",
            death = "toNanos() and toMillis() overflow for very long limits: nanos() and millis() do not")
    class Cut_off_slow_peers {

        private static final Duration IDLE = Duration.ofMillis(25);
        private static final Duration STALL = Duration.ofMillis(8);   // of the fake clock; the watchdog looks each ms
        private static final Duration FOR_EVER = Duration.ofSeconds(Long.MAX_VALUE);

        @Test
        void a_client_that_is_silent_for_idleTimeout_is_disconnected() throws Exception {
            var server = serve(TcpServer.lineService(80), DEFAULTS.withIdleTimeout(IDLE));
            client(server, "client").play("setSoTimeout(idleTimeout) ends a read that waits too long", end());
            awaitInactive(server, "the handler still reads");
            Check.equal(1L, server.stats().idleClosed(), "stats().idleClosed()",
                    "the given stream counts a SocketTimeoutException: let the socket throw it");
            Check.equal(0L, server.stats().handlerFailures(), "stats().handlerFailures()",
                    "a silent client is no failure of the handler");
        }

        @Test
        void the_handler_may_catch_the_timeout_and_read_again() throws Exception {
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
            }, DEFAULTS.withIdleTimeout(IDLE));
            client(server, "client").play("the read throws SocketTimeoutException, and the connection stays open",
                    receive("still there?\n"), send("!"), receive("good\n"), end());
            Check.equal(1L, server.stats().idleClosed(), "stats().idleClosed()", "a connection counts once");
        }

        @Test
        void a_failure_after_a_caught_timeout_is_counted_but_the_timeout_itself_is_not() throws Exception {
            var options = DEFAULTS.withIdleTimeout(IDLE);
            var broken = serve(c -> {
                try {
                    c.in().read();
                } catch (SocketTimeoutException e) {
                    throw new NullPointerException("a bug, after the timeout (the test says so)");
                }
            }, options);
            var wrapping = serve(c -> {
                try {
                    c.in().skipNBytes(10);
                } catch (SocketTimeoutException e) {
                    throw new IOException("no answer", e);
                }
            }, options);
            client(broken, "client 1");
            client(wrapping, "client 2");
            Await.until(() -> broken.stats().idleClosed() == 1 && wrapping.stats().idleClosed() == 1,
                    "that each server counts one connection as idleClosed", "set the limit before the handler reads");
            awaitInactive(broken, "");
            awaitInactive(wrapping, "");
            Check.equal(List.of(1L, 0L), List.of(broken.stats().handlerFailures(), wrapping.stats().handlerFailures()),
                    "stats().handlerFailures() of a handler with a bug and of one that reports the timeout",
                    "pass what the handler throws to countFailure(), as it is");
        }

        @Test
        void idleTimeout_starts_again_with_each_read() throws Exception {   // rejects: a limit for the conversation
            for (int limit = 80; ; limit *= 2) {
                var server = serve(c -> c.in().transferTo(c.out()), DEFAULTS.withIdleTimeout(Duration.ofMillis(limit)));
                if (isServedWhileItDrips(server, limit)) {
                    return;
                }
                Check.that(limit < 2000, "a machine that can send a byte every 20 ms", "it is too busy: try again");
            }
        }

        /** Sends for longer than the limit; false when the test itself was as slow as an idle client. */
        private boolean isServedWhileItDrips(TcpServer server, int limit) throws Exception {
            long lastSent = System.nanoTime();   // the server's read has begun after that
            var client = client(server, "client with a limit of " + limit + " ms");
            for (int i = 0; i < 5; i++) {
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
        void a_zero_or_very_long_idleTimeout_ends_no_read_and_one_of_a_nanosecond_does() throws Exception {
            // rejects: toMillis() alone, which makes zero of a nanosecond, and overflows
            var hasty = serve(TcpServer.lineService(80), DEFAULTS.withIdleTimeout(Duration.ofNanos(1)));
            var waiting = new ArrayList<Peer>();
            for (var limit : List.of(Duration.ZERO, FOR_EVER)) {
                waiting.add(client(serve(TcpServer.lineService(80), DEFAULTS.withIdleTimeout(limit)),
                        "client with a limit of " + limit));
            }
            client(hasty, "client with a limit of 1 ns").play("to setSoTimeout() zero means no limit: round up", end());
            for (var client : waiting) {
                client.play("zero and very long limits: millis() converts both", silence(Duration.ofMillis(5)),
                        send("hello\n"), receive("HELLO\n"));
            }
        }

        @Test
        void a_write_that_stalls_for_writeStall_ends_and_its_connection_is_cut() throws Exception {
            // rejects: setSoTimeout() as a limit for writes; a watchdog that cuts one connection, early, or late; a
            // time of 0 that means «no write»
            var timing = new Watched();
            timing.advanceTo(Duration.ZERO);
            var tap = new HeldWrites();
            tap.closeEndsIt = false;   // so that the watchdog looks at it again
            var failures = Collections.synchronizedList(new ArrayList<IOException>());
            var server = serve(tap, c -> {
                try {
                    say(c, "hello\n");
                } catch (IOException e) {
                    failures.add(e);
                    throw e;
                }
            }, DEFAULTS.withWriteStall(STALL).withTiming(timing));
            var clients = clients(server, 3);
            tap.awaitBegun(3);
            timing.awaitLooks();
            timing.advance(STALL.minusMillis(1));
            timing.awaitLooks();
            Check.equal(0L, server.stats().stallClosed(), "stats().stallClosed() 1 ms before writeStall has passed",
                    "the age of a write is nanoTime() of options.timing() minus that at its beginning");
            timing.advance(Duration.ofMillis(1));
            var likely = "no timeout ends a blocked write: cutStalled() has to abort() the socket of each write that is"
                    + " writeStall old or older; one that began when nanoTime() was 0, as here, is no exception";
            Await.until(() -> server.stats().stallClosed() >= 3, "that stats().stallClosed() becomes 3", likely);
            for (var client : clients) {
                client.play(likely, gone());
            }
            timing.awaitLooks();
            Check.equal(3L, server.stats().stallClosed(), "stats().stallClosed()",
                    "count a connection once: compareAndSet() of isCut is true for the first call only");
            tap.release(3);
            awaitInactive(server, "the write to an aborted socket throws: pass the exception on");
            Check.equal(0L, server.stats().handlerFailures(), "stats().handlerFailures()",
                    "the server has cut the connection: set its isCut");
            Check.equal(3, failures.size(), "the number of handlers whose write threw IOException", likely);
        }

        @Test
        void on_the_real_clock_a_stalled_connection_is_reset() throws Exception {
            // rejects: a close, after which the kernel keeps megabytes for a client that does not read
            var server = serve(c -> {
                while (true) {
                    c.out().write(new byte[1 << 20]);
                }
            }, DEFAULTS.withWriteStall(Duration.ofMillis(20)));
            try (var client = connect(server.localAddress())) {
                Await.until(() -> server.stats().stallClosed() == 1, "that stats().stallClosed() becomes 1",
                        "see the test before");
                client.setSoTimeout(Patience.millis());
                Check.fails(SocketException.class, () -> client.getInputStream().readAllBytes(),
                        "reading what the server has sent before it cut the connection",
                        "abort() the socket: close() leaves what is queued to the kernel");
            }
        }

        @Test
        void a_write_is_passed_on_in_pieces_of_at_most_16_KiB() throws Exception {
            // rejects: one write() for all, larger pieces, an offset or a rest that is forgotten
            var bytes = new byte[100_000];
            for (int i = 0; i < bytes.length; i++) {
                bytes[i] = (byte) (i * 31 >> 3);
            }
            var largest = new AtomicInteger();
            var tap = new Tap() {
                @Override
                void write(Socket socket, OutputStream out, byte[] all, int offset, int length) throws IOException {
                    largest.accumulateAndGet(length, Math::max);
                    out.write(all, offset, length);
                }
            };
            var server = serve(tap, c -> c.out().write(bytes, 5, 99_000), DEFAULTS);
            client(server, "client").play("pass on each piece with its own offset and length",
                    new Expectation.Receive(Arrays.copyOfRange(bytes, 5, 99_005)), end());
            Check.that(largest.get() <= 16 * 1024, "pieces of at most 16384 bytes, got one of " + largest,
                    "divide what the handler writes");
        }

        @Test
        void writeStall_starts_again_with_each_piece() throws Exception {   // rejects: a stall clock for each write()
            var timing = new Watched();
            var tap = new HeldWrites();
            var server = serve(tap, c -> c.out().write(new byte[10 * 16 * 1024]),
                    DEFAULTS.withWriteStall(STALL).withTiming(timing));
            var client = client(server, "client");
            for (int piece = 1; piece <= 10; piece++) {
                tap.awaitBegun(piece);
                timing.advance(STALL.multipliedBy(6).dividedBy(10));
                timing.awaitLooks();
                Check.equal(0L, server.stats().stallClosed(), "stats().stallClosed() at piece " + piece
                        + ", each of which has taken 0.6 x writeStall", "note the time again when each piece begins");
                tap.release(1);
            }
            tap.release(1000);   // smaller pieces are fine
            client.play("", take(10 * 16 * 1024), end());
        }

        @Test
        void a_client_that_reads_sendBuffer_bytes_in_each_writeStall_is_not_cut() throws Exception {
            // rejects: a send buffer that grows to megabytes, of which a third must be free before the writer wakes
            var timing = new Watched();
            var begun = new AtomicInteger();
            var tap = new Tap() {
                @Override
                void write(Socket socket, OutputStream out, byte[] bytes, int offset, int length) throws IOException {
                    begun.incrementAndGet();
                    out.write(bytes, offset, length);
                }
            };
            int buffer = DEFAULTS.sendBuffer();
            var server = serve(tap, c -> c.out().write(new byte[16 << 20]),   // more than all buffers hold
                    DEFAULTS.withWriteStall(STALL).withTiming(timing));
            int receiveBuffer = 64 * 1024;   // fixed: Linux makes that of a client that reads fast ever larger
            var client = Peer.connect(server.localAddress(), "client", receiveBuffer).play("", take(1));
            var likely = "a blocked write resumes when a part of the buffer is free, and must then note its time again";
            for (int round = 1; round <= 6; round++) {
                awaitSettled(begun);
                int before = begun.get();
                client.play(likely, take(buffer));
                Await.until(() -> begun.get() > before,
                        "that the server goes on writing when its client has read " + buffer + " bytes", likely);
                timing.advance(STALL.multipliedBy(9).dividedBy(10));
                timing.awaitLooks();
                Check.equal(0L, server.stats().stallClosed(), "stats().stallClosed() in round " + round, likely);
            }
        }

        /** Until the buffers are full and the writer blocks. */
        private void awaitSettled(AtomicInteger count) throws InterruptedException {
            for (int before = -1; before != count.get(); ) {
                before = count.get();
                Thread.sleep(2);   // for the writer to go on, if it can
            }
        }

        @Test
        void a_connection_without_a_write_in_progress_is_not_stalled() throws Exception {
            // rejects: an age since the last write, ended or failed
            var timing = new Watched();
            var tap = new HeldWrites() {
                @Override
                void write(Socket socket, OutputStream out, byte[] bytes, int offset, int length) throws IOException {
                    switch (bytes[offset]) {
                        case 'f' -> throw new IOException("a write that fails (the test says so)");
                        case 'h' -> super.write(socket, out, bytes, offset, length);   // holds it
                        default -> out.write(bytes, offset, length);
                    }
                }
            };
            var hasFailed = new CountDownLatch(1);
            var server = serve(tap, c -> {
                for (int next = c.in().read(); next != -1; next = c.in().read()) {
                    try {
                        say(c, (char) next + "\n");
                    } catch (IOException e) {
                        hasFailed.countDown();   // and the handler works on
                    }
                }
            }, DEFAULTS.withWriteStall(STALL).withTiming(timing));
            var quiet = client(server, "the quiet client").play("", send("q"), receive("q\n"));
            var failed = client(server, "the client of a failed write").play("", send("f"));
            Await.open(hasFailed, "that a write fails when its socket throws", "pass the exception on");
            client(server, "the stalled client").play("", send("h"));
            tap.awaitBegun(1);
            Await.until(() -> {
                timing.advance(STALL);
                return server.stats().stallClosed() > 0;
            }, "that the stalled client is cut", "see the tests before");
            client(server, "a client in a short write").play("", send("h"));
            tap.awaitBegun(2);
            timing.awaitLooks();
            var likely = "a write that has ended or failed is no longer in progress: forget its time, in finally";
            Check.equal(1L, server.stats().stallClosed(), "stats().stallClosed()", likely);
            quiet.play(likely, send("a"), receive("a\n"));
            failed.play(likely, send("b"), receive("b\n"));
            tap.release(1);
        }

        @Test
        void a_zero_or_very_long_writeStall_cuts_no_connection() throws Exception {
            // rejects: an age of zero or more, which stalls at once; toNanos(), which overflows and ends the watchdog;
            // a limit that is added to a time, which overflows where the clock is positive
            checkNotCut(Duration.ZERO, Duration.ofSeconds(-10));
            checkNotCut(FOR_EVER, Duration.ofSeconds(-10));
            checkNotCut(FOR_EVER, Duration.ofSeconds(10));
        }

        /** @param clock what nanoTime() says when the write begins */
        private void checkNotCut(Duration limit, Duration clock) throws Exception {
            var timing = new Watched();
            timing.advanceTo(clock);
            var seen = new CompletableFuture<String>();
            var tap = new HeldWrites() {
                @Override
                void write(Socket socket, OutputStream out, byte[] bytes, int offset, int length) throws IOException {
                    super.write(socket, out, bytes, offset, length);   // holds it
                    throw new IOException("the network is down (the test says so)");
                }
            };
            var server = serve(tap, c -> {
                try {
                    if (c.in().read() == 'w') {
                        c.out().write('x');
                    }
                } catch (IOException e) {
                    seen.complete(e.toString());
                }
            }, DEFAULTS.withWriteStall(limit).withTiming(timing));
            client(server, "client with a limit of " + limit).play("", send("w"));
            tap.awaitBegun(1);
            for (var later : List.of(Duration.ofSeconds(5), Duration.ofDays(1000))) {
                timing.advance(later);
                if (!limit.isZero()) {
                    long looks = timing.looks.get();
                    client(server, "a client that leaves, upon which the watchdog looks").play("", close());
                    timing.awaitLooks(looks + 1);
                }
            }
            tap.release(1);
            var told = Await.value(seen, "that the write fails", "");
            Check.equal(0L, server.stats().stallClosed(), "stats().stallClosed() with a writeStall of " + limit
                    + ", when nanoTime() was " + clock.toNanos() + " at the beginning of the write",
                    "the limit has not passed: compare now - began >= limit; a sum of a time and a limit can overflow");
            Check.that(told.contains("the network is down"), "the exception of the failed write, got " + told,
                    "say «write stalled» only when cutStalled() has cut the connection");
        }
    }

    @Step(value = 7, title = "Drain and close", further = true,
            leak = "a handler that is neither awaited nor cut: cut() all that are left, and wait for them",
            death = "shutdown() threw in a thread of the test: only the caller's own interrupt may end its wait")
    class Drain_and_close {

        @Test
        void shutdown_waits_for_all_handlers_at_work_and_returns_true() throws Exception {
            // rejects: a shutdown that does not wait, or cuts first
            var finished = new AtomicInteger();
            var server = serve(c -> {
                workUntilDraining(c);
                Thread.sleep(5 * c.id());   // the rest of its work
                finished.incrementAndGet();
                say(c, "done\n");
            }, DEFAULTS);
            var clients = clients(server, 3);
            for (var client : clients) {
                client.play("", receive("at work\n"));
            }
            boolean nobodyCut = server.shutdown(LONG);
            Check.equal(3, finished.get(), "the number of handlers that had finished when shutdown() returned",
                    "wait until no handler is live, in a loop: a wait ends when any of them leaves");
            for (var client : clients) {
                client.play("shutdown() has cut a handler that needed a moment only", receive("done\n"), end());
            }
            Check.that(nobodyCut, "true from shutdown(), got false", "no handler had to be cut");
            Check.equal(0, server.stats().active(), "stats().active() after shutdown()", "wait until no handler is live");
        }

        @Test
        void a_connection_attempt_after_shutdown_is_refused() throws Exception {
            var server = serve(TcpServerTest::workUntilDraining, DEFAULTS);
            client(server, "client").play("", receive("at work\n"));
            var address = server.localAddress();
            server.shutdown(LONG);
            Check.that(!server.isRunning(), "isRunning() to be false after shutdown(), got true", "stop listening first");
            Check.fails(ConnectException.class, () -> connect(address).close(), "connecting after shutdown()",
                    "stop listening first");
        }

        @Test
        void idle_connections_end_at_once() throws Exception {
            // rejects: a drain that waits for clients that send nothing
            var server = serve(TcpServer.lineService(80), DEFAULTS);
            var greeting = serve(TcpServerTest::greet, DEFAULTS);
            var clients = new ArrayList<>(clients(server, 10));   // new ones, which have sent nothing
            for (var client : clients(server, 10)) {
                clients.add(client.play("", send("hello\n"), receive("HELLO\n")));
            }
            for (var client : clients(greeting, 10)) {
                clients.add(client.play("", receive("hello\n")));
            }
            var likely = "a client that sends nothing would hold the shutdown for all of the grace: closeIdle() first";
            for (var each : List.of(server, greeting)) {
                var shutdown = PendingCall.start(() -> each.shutdown(LONG));
                Check.that(Await.value(shutdown.outcome(), "that shutdown(1 min) ends while all clients are idle", likely),
                        "true from shutdown(), got false", "to end an idle connection is not to cut it");
                Check.equal(0L, each.stats().handlerFailures(), "stats().handlerFailures()",
                        "pass what the handler throws to countFailure(), as it is");
            }
            for (var client : clients) {
                client.play(likely, end());
            }
        }

        @Test
        void a_handler_that_begins_to_wait_for_a_request_while_draining_ends_at_once() throws Exception {
            var begin = new CountDownLatch(1);
            var server = serve(c -> {
                begin.await();
                TcpServer.lineService(80).handle(c);
            }, DEFAULTS);
            var silent = client(server, "the silent client");
            var asking = client(server, "the client that has asked").play("", send("one\ntwo\n"));
            Await.until(() -> server.stats().active() == 2, "that stats().active() becomes 2", "");
            var shutdown = PendingCall.start(() -> server.shutdown(LONG));
            Await.until(() -> !server.isRunning(), "that isRunning() becomes false", "stop listening first");
            begin.countDown();
            silent.play("its handler has nothing to read: the given read() throws", end());
            asking.play("its line had arrived: the handler reads and answers it", receive("ONE\n"), gone());
            Check.that(Await.value(shutdown.outcome(), "that shutdown(1 min) ends", "wait until no handler is live"),
                    "true from shutdown(), got false", "no handler had to be cut");
        }

        @Test
        void a_client_in_the_middle_of_a_line_is_answered_within_the_grace() throws Exception {
            // rejects: a shutdown that ends every read
            var tap = new Tap();
            var server = serve(tap, TcpServer.lineService(80), DEFAULTS);
            var client = client(server, "client").play("", send("one\n"), receive("ONE\n"), send("tw"));
            tap.awaitRead(client, 6);
            var shutdown = PendingCall.start(() -> server.shutdown(LONG));
            Await.until(() -> !server.isRunning(), "that isRunning() becomes false", "stop listening first");
            client.play("its handler is at work on a line, and has the grace to finish", send("o\nthree\n"),
                    receive("TWO\n"), gone());
            Check.that(Await.value(shutdown.outcome(), "that shutdown() ends when the handler returns",
                    "wake the thread that waits for the handlers, and wait for live ones only"),
                    "true from shutdown(), got false", "no handler had to be cut");
        }

        @Test
        void an_incomplete_line_is_never_answered_as_the_last_one() throws Exception {
            var tap = new Tap();
            var server = serve(tap, TcpServer.lineService(80), DEFAULTS);
            var idle = client(server, "the client with a half line behind its answer").play("",
                    send("one\ntw"), receive("ONE\n"));
            var busy = client(server, "the client with a half line").play("", send("one\n"), receive("ONE\n"),
                    send("tw"));
            tap.awaitRead(idle, 6);
            tap.awaitRead(busy, 6);
            server.shutdown(SHORT);
            idle.play("the end of a read is no end of stream here: pass the exception on", gone());
            busy.play("the end of a read is no end of stream here: pass the exception on", gone());
        }

        @Test
        void a_handler_in_the_middle_of_a_request_is_cut_after_the_grace() throws Exception {
            var tap = new Tap();
            var server = serve(tap, TcpServer.lineService(80), DEFAULTS);
            var client = client(server, "client").play("", send("tw"));
            tap.awaitRead(client, 2);
            Check.that(!server.shutdown(SHORT), "false from shutdown(), got true",
                    "a handler had to be cut, and shutdown() must say so");
            client.play("closing the socket ends its handler's read", gone());
            Check.equal(0L, server.stats().handlerFailures(), "stats().handlerFailures()",
                    "the server has cut it: use cut()");
        }

        @Test
        void stuck_handlers_are_cut_together_after_one_grace() throws Exception {
            // rejects: a wait without an end, a grace for each handler, a cut without an interrupt, a wrong answer
            var times = Collections.synchronizedList(new ArrayList<Long>());
            for (int tries = 1; ; tries++) {
                times.clear();
                var server = serve(c -> {
                    try {
                        stick(c);
                    } catch (InterruptedException e) {
                        times.add(System.nanoTime());
                    }
                }, DEFAULTS);
                var clients = clients(server, 10);
                for (var client : clients) {
                    client.play("", receive("stuck\n"));
                }
                long start = System.nanoTime();
                boolean nobodyCut = server.shutdown(SHORT);
                Check.that(System.nanoTime() - start >= SHORT.toNanos(),
                        "a wait for all of the grace, got an earlier return", "a handler at work has the whole grace");
                Check.that(!nobodyCut, "false from shutdown(), got true",
                        "handlers had to be cut, and shutdown() must say so");
                Await.until(() -> times.size() == 10, "that each of 10 stuck handlers is interrupted",
                        "closing the socket does not wake a handler that does not use it: use cut()");
                for (var client : clients) {
                    client.play("the socket of a stuck handler must be closed: use cut()", gone());
                }
                long between = Collections.max(times) - Collections.min(times);
                if (between < 4 * SHORT.toNanos()) {
                    return;   // a busy machine may be slower, but a grace for each takes nine times as long
                }
                Check.that(tries < 4, "10 stuck handlers to be cut together, got " + between / 1_000_000
                        + " ms between the first and the last", "the grace is for all of them, not for each");
            }
        }

        @Test
        void a_handler_that_returns_does_not_extend_the_grace() throws Exception {
            // rejects: a wait that begins anew each time a handler leaves
            var grace = SHORT.multipliedBy(4);
            var returned = new AtomicInteger();
            var server = serve(c -> {
                workUntilDraining(c);
                if (c.id() == 1) {
                    stick(c);
                }
                Thread.sleep(15 * c.id());   // its work: one of them returns every 15 ms
                returned.incrementAndGet();
            }, DEFAULTS);
            for (var client : clients(server, 120)) {
                client.play("", receive("at work\n"));
            }
            Check.that(!server.shutdown(grace), "false from shutdown(), got true", "a handler had to be cut");
            Check.that(returned.get() < 119, "handlers to be cut " + grace.toMillis() + " ms after shutdown(), got 119"
                    + " that returned within 1800 ms, and one that was cut after them",
                    "the grace has one end, whoever leaves before it: wait for what is left of it");
        }

        @Test
        void each_of_several_callers_waits_until_no_handler_is_live() throws Exception {
            // rejects: a second caller that returns early
            var go = new CountDownLatch(1);
            var server = serve(c -> {
                workUntilDraining(c);
                go.await();
            }, DEFAULTS);
            client(server, "client").play("", receive("at work\n"));
            var callers = callers(server, LONG);
            for (var caller : callers) {
                caller.awaitWaiting();
                Check.that(!caller.outcome().isDone(), "each caller of shutdown() to wait while a handler is at work, "
                        + "but one has returned", "a second caller has to wait as well");
            }
            go.countDown();
            answers(callers, "true with 0 active");
            Check.that(server.shutdown(Duration.ZERO), "true for a later caller, got false", "nobody was cut");
        }

        @Test
        void each_of_several_callers_waits_for_the_handlers_that_are_cut() throws Exception {
            // rejects: a caller that returns right after the cut, or that does not know of it
            var server = serve(c -> {
                try {
                    stick(c);
                } catch (InterruptedException e) {
                    Thread.sleep(10);   // clears up
                }
            }, DEFAULTS);
            client(server, "client").play("", receive("stuck\n"));
            answers(callers(server, SHORT), "false with 0 active");
            Check.that(!server.shutdown(LONG), "false for a later caller, got true", "remember that a handler was cut");
        }

        private List<PendingCall<String>> callers(TcpServer server, Duration grace) {
            return IntStream.range(0, 8).mapToObj(i -> PendingCall.start(() ->
                    server.shutdown(grace) + " with " + server.stats().active() + " active")).toList();
        }

        private void answers(List<PendingCall<String>> callers, String expected) throws InterruptedException {
            for (var caller : callers) {
                var answer = Await.value(caller.outcome(), "that each of 8 callers of shutdown() returns",
                        "one of them waits for a change that was signalled before: look at the state before you wait");
                Check.equal(expected, answer, "what one of 8 callers of shutdown() was told", likely(answer));
            }
        }

        private static String likely(String answer) {
            if (answer.endsWith(" 0 active")) {
                return "the answer is the same for all: has any handler been cut?";
            }
            return answer.startsWith("true") ? "a second caller has to wait as well"
                    : "after cut(), wait again: a handler that is cut has not left yet";
        }

        @Test
        void the_shortest_grace_of_all_callers_counts() throws Exception {
            // rejects: a close() that waits for another caller's grace; a caller that is not woken by a cut
            var server = serve(TcpServerTest::stick, DEFAULTS);
            client(server, "client").play("", receive("stuck\n"));
            var patient = PendingCall.start(() -> server.shutdown(LONG));
            Await.until(() -> !server.isRunning(), "that isRunning() becomes false", "stop listening first");
            patient.awaitWaiting();
            server.close();
            Check.that(!Await.value(patient.outcome(), "that shutdown(1 min) ends when close() has cut the handler",
                    "wake all threads that wait for the handlers"),
                    "false from shutdown(1 min), got true", "close() had to cut a handler");
        }

        @Test
        void a_handler_that_calls_shutdown_is_neither_awaited_nor_cut_by_its_call() throws Exception {
            // rejects: a handler that waits for itself, or cuts itself, at once or after it has returned
            var itself = new CompletableFuture<TcpServer>();
            var go = new CountDownLatch(1);
            var server = serve(c -> {
                say(c, "nobody cut: " + itself.join().shutdown(LONG) + "\n");
                go.await();   // works on
                say(c, "done\n");
            }, DEFAULTS);
            itself.complete(server);
            var client = client(server, "client").play("shutdown() waits for the handler that called it, or cuts it",
                    receive("nobody cut: true\n"));
            Check.equal(1, server.stats().active(), "stats().active() while the handler works on", "");
            go.countDown();
            client.play("a handler that works on after its own shutdown() was cut", receive("done\n"), end());
        }

        @Test
        void a_later_close_from_elsewhere_cuts_the_handler_that_has_called_shutdown() throws Exception {
            // rejects: a mark that protects a handler from everybody
            var itself = new CompletableFuture<TcpServer>();
            var interrupted = new CompletableFuture<Boolean>();
            var server = serve(c -> {
                itself.join().shutdown(LONG);
                try {
                    stick(c);
                } catch (InterruptedException e) {
                    interrupted.complete(true);
                }
            }, DEFAULTS);
            itself.complete(server);
            var client = client(server, "client").play("shutdown() waits for the handler that called it, or cuts it",
                    receive("stuck\n"));
            server.close();
            var likely = "a caller that is no handler awaits and cuts all that are live";
            Await.value(interrupted, "that the handler is interrupted", likely);
            client.play(likely, gone());
            Check.equal(0, server.stats().active(), "stats().active() after close()", likely);
        }

        @Test
        void two_handlers_that_call_shutdown_do_not_wait_for_each_other() throws Exception {
            var itself = new CompletableFuture<TcpServer>();
            var both = new CyclicBarrier(2);
            var server = serve(c -> {
                both.await();
                say(c, "nobody cut: " + itself.join().shutdown(LONG) + "\n");
                both.await();   // works on, until the other has returned from shutdown() as well
            }, DEFAULTS);
            itself.complete(server);
            for (var client : clients(server, 2)) {
                client.play("mark a handler that calls shutdown(), and wake the other one: it need not wait any more",
                        receive("nobody cut: true\n"));
            }
        }

        @Test
        void a_handler_may_close_the_server_and_cuts_all_others() throws Exception {
            var itself = new CompletableFuture<TcpServer>();
            var server = serve(c -> {
                if (c.id() < 3) {
                    stick(c);
                }
                itself.join().close();
                say(c, "closed\n");
            }, DEFAULTS);
            itself.complete(server);
            var stuck = clients(server, 2);
            for (var client : stuck) {
                client.play("", receive("stuck\n"));
            }
            client(server, "client 3").play("close() waits for the handler that called it, or cuts it",
                    receive("closed\n"), end());
            for (var client : stuck) {
                client.play("close() cuts all other handlers", gone());
            }
        }

        @Test
        void a_client_that_is_accepted_while_shutdown_begins_is_cut_after_the_grace() throws Exception {
            // rejects: connections cut before the loop has ended
            var late = new LateListening();
            var server = serve(late, TcpServerTest::stick, DEFAULTS);
            var client = client(server, "client");
            Await.open(late.holdsClient, "that the client is accepted", "no thread accepts");
            server.shutdown(SHORT);
            client.play("a connection that came after the others were cut stays open for ever",
                    receive("stuck\n"), gone());
            Check.equal(0, server.stats().active(), "stats().active() after shutdown()",
                    "look for live connections when the accept thread has ended");
        }

        @Test
        void an_interrupt_ends_shutdown_and_close_does_the_rest() throws Exception {
            var server = serve(TcpServerTest::stick, DEFAULTS);
            var client = client(server, "client").play("", receive("stuck\n"));
            var call = PendingCall.start(() -> server.shutdown(LONG));
            Await.until(() -> !server.isRunning(), "that isRunning() becomes false", "stop listening first");
            call.awaitWaiting();
            call.thread().interrupt();
            Check.fails(InterruptedException.class, () -> outcome(call), "shutdown() in an interrupted thread",
                    "do not catch the InterruptedException of a wait");
            server.close();
            client.play("close() cuts what an interrupted shutdown() has left", gone());
            Check.equal(0, server.stats().active(), "stats().active() after close()", "wait until no handler is live");
        }

        private static boolean outcome(PendingCall<Boolean> call) throws Exception {
            try {
                return call.outcome().get(Patience.millis(), TimeUnit.MILLISECONDS);
            } catch (ExecutionException e) {
                throw e.getCause() instanceof Exception cause ? cause : e;
            }
        }

        @Test
        void when_shutdown_returns_its_sockets_are_closed_and_the_port_is_free() throws Exception {
            checkPortIsFree(() -> {
                var server = serve(TcpServerTest::workUntilDraining, DEFAULTS);
                var address = server.localAddress();
                int before = LeakCheck.openSockets();
                var clients = clients(server, 3);
                for (var client : clients) {
                    client.play("", receive("at work\n"));
                }
                server.shutdown(LONG);
                int open = LeakCheck.openSockets() - before;
                Check.that(open <= clients.size() - 1, "shutdown() to close the listener and the sockets of 3 connections"
                        + " before it returns, got " + (open - clients.size() + 1) + " still open",
                        "a connection must be closed before it leaves, and all must have left");
                return address;
            });
        }

        @Test
        void the_grace_may_be_very_long_but_not_negative() throws Exception {   // rejects: toNanos(), which overflows
            var server = serve(TcpServerTest::workUntilDraining, DEFAULTS);
            client(server, "client").play("", receive("at work\n"));
            var thrown = Check.fails(IllegalArgumentException.class, () -> server.shutdown(Duration.ofMillis(-1)),
                    "shutdown(-1 ms)", "check the argument first");
            Check.that(String.valueOf(thrown.getMessage()).contains("grace"),
                    "the message to name grace, got " + thrown.getMessage(), "say which argument is invalid");
            Check.that(server.isRunning(), "isRunning() after a shutdown() that was refused, got false",
                    "check the argument first");
            var call = PendingCall.start(() -> server.shutdown(Duration.ofSeconds(Long.MAX_VALUE)));
            Check.that(Await.value(call.outcome(), "that shutdown(292 years) ends with the handler",
                    "use nanos(): toNanos() overflows"), "true from shutdown(292 years), got false", "");
        }
    }

    // Servers and clients.

    private static TcpServer serve(TcpServer.Handler handler, TcpServer.Options options) throws IOException {
        return serve(ANY_PORT, handler, options);
    }

    private static TcpServer serve(InetSocketAddress bind, TcpServer.Handler handler, TcpServer.Options options)
            throws IOException {
        return closeLater(TcpServer.start(bind, handler, options), server -> server.stats().toString());
    }

    private static TcpServer serve(ServerSocket listening, TcpServer.Handler handler, TcpServer.Options options) {
        return closeLater(TcpServer.start(closeLater(listening), handler, options), server -> server.stats().toString());
    }

    private static Peer client(TcpServer server, String name) throws IOException {
        return Peer.connect(server.localAddress(), name);
    }

    private static Peer lineClient() throws IOException {
        return lineClient(80);
    }

    private static Peer lineClient(int maxLine) throws IOException {
        return client(serve(TcpServer.lineService(maxLine), DEFAULTS), "client of lineService(" + maxLine + ")");
    }

    private static List<Peer> clients(TcpServer server, int count) throws IOException {
        var clients = new ArrayList<Peer>();
        for (int i = 1; i <= count; i++) {
            clients.add(client(server, "client " + i));
        }
        return clients;
    }

    /** Tries until it is greeted: a client may read the end of stream of another before that one's permit is free. */
    private static Peer admitted(TcpServer server, String name, String likely) throws Exception {
        var greeted = new CompletableFuture<Peer>();
        Await.until(() -> {
            try {
                var client = client(server, name);
                try {
                    greeted.complete(client.play("", receive("hello\n")));
                } catch (AssertionError rejected) {
                    client.close();
                    Thread.sleep(2);   // tries again a little later
                }
            } catch (IOException | InterruptedException e) {
                return false;
            }
            return greeted.isDone();
        }, "that " + name + " is served", likely);
        return greeted.join();
    }

    private static Socket connect(InetSocketAddress address) throws IOException {
        return new Socket(address.getAddress(), address.getPort());
    }

    private static void awaitInactive(TcpServer server, String likely) throws InterruptedException {
        Await.until(() -> server.stats().active() == 0, "that stats().active() becomes 0", likely);
    }

    private static InetSocketAddress loopback(int port) {
        return new InetSocketAddress(InetAddress.getLoopbackAddress(), port);
    }

    /** Another process may be given the port in between: the whole scenario is tried five times. */
    private static void checkPortIsFree(Callable<InetSocketAddress> addressOfClosedServer) throws Exception {
        for (int i = 1; ; i++) {
            var address = addressOfClosedServer.call();
            try {
                serve(address, c -> {}, DEFAULTS);
                return;
            } catch (BindException e) {
                Check.that(i < 5, "the port of a closed server to be free at once, got " + e + " five times",
                        "the listener is still open, or a thread is still in its accept(): close, and join, first");
            }
        }
    }

    private static void awaitUninterruptibly(CountDownLatch latch) {
        for (boolean open = false; !open; ) {
            try {
                latch.await();
                open = true;
            } catch (InterruptedException e) {
                // The test says when.
            }
        }
    }

    // Handlers.

    private static void say(TcpServer.Connection connection, String text) throws IOException {
        connection.out().write(text.getBytes(StandardCharsets.UTF_8));
    }

    /** Says hello, and stays until the client sends something or closes. */
    private static void greet(TcpServer.Connection connection) throws IOException {
        say(connection, "hello\n");
        connection.in().read();
    }

    /** Returns when its client has sent something or the connection has ended, and throws nothing. */
    private static void stay(TcpServer.Connection connection) {
        try {
            connection.in().read();
        } catch (IOException e) {
            // The server has closed.
        }
    }

    /** Never returns by itself. */
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

    // Clocks.

    private static TcpServer.Timing clock(FakeTiming timing) {
        return new TcpServer.Timing() {
            @Override
            public long nanoTime() {
                return timing.nanoTime();
            }

            @Override
            public void sleepUntil(long nanoTime) throws InterruptedException {
                timing.sleepUntil(nanoTime);
            }
        };
    }

    /** A clock that moves by hand, and counts how often it is looked at. */
    private static final class Watched implements TcpServer.Timing {

        private final FakeTiming timing = FakeTiming.byHand();
        private final AtomicLong looks = new AtomicLong();

        @Override
        public long nanoTime() {
            looks.incrementAndGet();
            return timing.nanoTime();
        }

        @Override
        public void sleepUntil(long nanoTime) throws InterruptedException {
            timing.sleepUntil(nanoTime);
        }

        void advance(Duration time) {
            timing.advance(time);
        }

        /** To where nanoTime() says so much: it starts below zero. */
        void advanceTo(Duration time) {
            timing.advance(time.minusNanos(timing.nanoTime()));
        }

        /** While all writers are blocked: until the watchdog has looked at each write of up to three, with this time. */
        void awaitLooks() throws InterruptedException {
            awaitLooks(looks.get() + 6);
        }

        void awaitLooks(long count) throws InterruptedException {
            Await.until(() -> looks.get() >= count, "that cutStalled() looks at the clock of the options",
                    "the age of a write is nanoTime() of options.timing() minus that at its beginning");
        }
    }

    // Listeners.

    private static IOException noDescriptor() {
        return new IOException("Too many open files (the test says so)");
    }

    /** Asks a script before each call of accept(), counted from 1: it may return what is thrown, or take its time. */
    private static final class Listening extends ServerSocket {

        private final FakeTiming timing;
        private final IntFunction<Throwable> script;
        private final List<Duration> calls = Collections.synchronizedList(new ArrayList<>());
        private final AtomicInteger returned = new AtomicInteger();

        Listening(FakeTiming timing, IntFunction<Throwable> script) throws IOException {
            super(0, 100, InetAddress.getLoopbackAddress());
            this.timing = timing;
            this.script = script;
        }

        @Override
        public Socket accept() throws IOException {
            if (isClosed()) {
                throw new SocketException("Socket closed");
            }
            calls.add(timing.elapsed());
            int call = calls.size();
            switch (script.apply(call)) {
                case null -> {}
                case IOException e -> throw noted(call, e);
                case RuntimeException e -> throw noted(call, e);
                case Throwable e -> throw noted(call, (Error) e);
            }
            var socket = super.accept();
            returned.incrementAndGet();
            return socket;
        }

        private static <T extends Throwable> T noted(int call, T failure) {
            History.note("accept() threw " + failure.getClass().getSimpleName() + ", call " + call);
            return failure;
        }

        void awaitCall(int call) throws InterruptedException {
            Await.until(() -> calls.size() >= call, "that accept() is called for the " + call + "th time",
                    "the loop has ended: catch inside the loop");
        }

        /** The pauses between these calls, in milliseconds of its clock. */
        List<Long> pauses(int from, int to) throws InterruptedException {
            awaitCall(to);
            return IntStream.range(from, to).mapToObj(i -> calls.get(i).minus(calls.get(i - 1)).toMillis()).toList();
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

    /** Its connections show the test each read, write and close of the server, which it may hold, change or let fail. */
    private static class Tap extends ServerSocket {

        private final ConcurrentHashMap<Integer, Long> bytesRead = new ConcurrentHashMap<>();       // by client's port
        private final ConcurrentHashMap<Integer, Long> atLastRead = new ConcurrentHashMap<>();

        Tap() throws IOException {
            super(0, 100, InetAddress.getLoopbackAddress());
        }

        int read(Socket socket, InputStream in, byte[] bytes, int offset, int length) throws IOException {
            return in.read(bytes, offset, length);
        }

        int available(InputStream in) throws IOException {
            return in.available();
        }

        void write(Socket socket, OutputStream out, byte[] bytes, int offset, int length) throws IOException {
            out.write(bytes, offset, length);
        }

        void closing(Socket socket) {}

        /** Until the handler of this client has read so many bytes, has used them, and reads again. */
        void awaitRead(Peer client, long bytes) throws InterruptedException {
            int port = client.localAddress().getPort();
            Await.until(() -> atLastRead.getOrDefault(port, 0L) >= bytes, "that the handler reads " + bytes + " bytes", "");
        }

        @Override
        public Socket accept() throws IOException {
            var socket = new Socket() {
                @Override
                public InputStream getInputStream() throws IOException {
                    return new FilterInputStream(super.getInputStream()) {
                        @Override
                        public int read() throws IOException {
                            var one = new byte[1];
                            return read(one, 0, 1) == -1 ? -1 : one[0] & 0xff;
                        }

                        @Override
                        public int read(byte[] bytes, int offset, int length) throws IOException {
                            atLastRead.put(getPort(), bytesRead.getOrDefault(getPort(), 0L));
                            int count = Tap.this.read(socket(), in, bytes, offset, length);
                            bytesRead.merge(getPort(), (long) count, Long::sum);
                            return count;
                        }

                        @Override
                        public int available() throws IOException {
                            return Tap.this.available(in);
                        }
                    };
                }

                @Override
                public OutputStream getOutputStream() throws IOException {
                    return new FilterOutputStream(super.getOutputStream()) {
                        @Override
                        public void write(int one) throws IOException {
                            write(new byte[] {(byte) one}, 0, 1);
                        }

                        @Override
                        public void write(byte[] bytes, int offset, int length) throws IOException {
                            Tap.this.write(socket(), out, bytes, offset, length);
                        }
                    };
                }

                @Override
                public void close() throws IOException {
                    closing(this);
                    super.close();
                }

                private Socket socket() {
                    return this;
                }
            };
            implAccept(socket);
            return socket;
        }
    }

    /** Each read of the server brings so many bytes at most, however many have arrived. */
    private static final class Portions extends Tap {

        private final IntSupplier most;

        Portions(IntSupplier most) throws IOException {
            this.most = most;
        }

        @Override
        int read(Socket socket, InputStream in, byte[] bytes, int offset, int length) throws IOException {
            return in.read(bytes, offset, Math.min(length, most.getAsInt()));
        }

        @Override
        int available(InputStream in) {
            return 0;   // a BufferedInputStream would read on
        }
    }

    /** When it is closed, accept() ends only when the test says so; until then a shutdown waits, and cuts no handler. */
    private static final class SlowToStop extends Tap {

        private final AtomicInteger calls = new AtomicInteger();
        private final CountDownLatch mayStop = new CountDownLatch(1);

        SlowToStop() throws IOException {}

        @Override
        public Socket accept() throws IOException {
            calls.incrementAndGet();
            try {
                return super.accept();
            } catch (SocketException e) {
                awaitUninterruptibly(mayStop);
                throw e;
            }
        }
    }

    /** Each write waits until the test releases it, or the server closes the connection, as a write to a full buffer. */
    private static class HeldWrites extends Tap {

        private final Semaphore released = new Semaphore(0);
        private final AtomicInteger begun = new AtomicInteger();
        private volatile boolean closeEndsIt = true;

        HeldWrites() throws IOException {}

        @Override
        void write(Socket socket, OutputStream out, byte[] bytes, int offset, int length) throws IOException {
            begun.incrementAndGet();
            try {
                while (!released.tryAcquire(1, TimeUnit.MILLISECONDS)) {
                    if (closeEndsIt && socket.isClosed()) {
                        throw new SocketException("Socket closed");
                    }
                }
            } catch (InterruptedException e) {
                throw new SocketException("Closed by interrupt");
            }
            out.write(bytes, offset, length);
        }

        /** Until so many writes have begun; those that are not released wait. */
        void awaitBegun(int count) throws InterruptedException {
            Await.until(() -> begun.get() >= count, "that write " + count + " to a socket begins",
                    "pass what the handler writes on to the socket");
        }

        void release(int writes) {
            released.release(writes);
        }
    }
}
