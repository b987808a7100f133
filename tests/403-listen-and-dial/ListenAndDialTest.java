///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//SOURCES ../../labs/403-listen-and-dial/ListenAndDial.java
//SOURCES ../kit/*.java

import static kit.Action.send;
import static kit.Expectation.gone;
import static kit.TestLifecycle.closeLater;

import java.io.EOFException;
import java.io.IOException;
import java.net.BindException;
import java.net.ConnectException;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.NoRouteToHostException;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.net.StandardProtocolFamily;
import java.net.UnknownHostException;
import java.nio.ByteOrder;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.channels.UnresolvedAddressException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import kit.Await;
import kit.Check;
import kit.DeadEnd;
import kit.History;
import kit.Lab;
import kit.Patience;
import kit.Peer;
import kit.PendingCall;
import kit.Step;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;

/**
 * Lab 403, step by step. Kernels listen and answer here, nobody is scripted: a listener that nobody accepts from, a
 * port where nobody listens, a backlog that is full. A comment {@code rejects:} names the wrong solutions that a test
 * is there for.
 */
@Lab
class ListenAndDialTest {

    private static final InetSocketAddress ANY_PORT = loopback(0);
    private static final Duration LONG = Duration.ofMinutes(1);   // nothing waits that long but a mistake
    private static final Duration HOUR = Duration.ofHours(1);
    private static final Duration MONTH = Duration.ofDays(30);    // more milliseconds than an int holds

    private static final ListenAndDial.Outcome CONNECTED = ListenAndDial.Outcome.CONNECTED;
    private static final ListenAndDial.Outcome RESET = ListenAndDial.Outcome.RESET;
    private static final ListenAndDial.Outcome REFUSED = ListenAndDial.Outcome.REFUSED;
    private static final ListenAndDial.Outcome SELF_CONNECT = ListenAndDial.Outcome.SELF_CONNECT;
    private static final ListenAndDial.Outcome HOST_UNREACHABLE = ListenAndDial.Outcome.HOST_UNREACHABLE;
    private static final ListenAndDial.Outcome TIMED_OUT = ListenAndDial.Outcome.TIMED_OUT;
    private static final ListenAndDial.Outcome NETWORK_UNREACHABLE = ListenAndDial.Outcome.NETWORK_UNREACHABLE;
    private static final ListenAndDial.Outcome DENIED = ListenAndDial.Outcome.DENIED;
    private static final ListenAndDial.Outcome LOCAL_ADDRESS = ListenAndDial.Outcome.LOCAL_ADDRESS;
    private static final ListenAndDial.Outcome UNKNOWN_HOST = ListenAndDial.Outcome.UNKNOWN_HOST;
    private static final ListenAndDial.Outcome OTHER = ListenAndDial.Outcome.OTHER;

    private static final String SILENCE = "kit.DeadEnd#canBeSilent";
    private static final String NO_SILENCE = "this system refuses a connection when the backlog is full, instead of"
            + " dropping its SYN; to run this check as well, use Linux, in a virtual machine or WSL 2 if need be";
    private static final String PROC = "ListenAndDialTest#hasProc";
    private static final String NO_PROC = "this system has no /proc/net/tcp; to run this check as well, use Linux, in a"
            + " virtual machine or WSL 2 if need be";

    @Step(value = 1, title = "Open a listener")
    class Open_a_listener {

        @Test
        void localAddress_has_the_real_port_when_0_was_given() throws IOException {
            int port = listen(5).localAddress().getPort();
            Check.that(port > 0, "localAddress() with a port above 0, got " + port, "bind the socket in open()");
        }

        @Test
        void it_listens_on_the_given_address_only() throws IOException {
            // rejects: new ServerSocket(port), which listens on every network of the machine
            var listener = listen(5);
            Check.equal(ANY_PORT.getAddress(), listener.localAddress().getAddress(), "localAddress().getAddress()",
                    "bind to the whole address, not to its port alone");
            Check.fails(IOException.class, () -> new Socket("127.0.0.2", listener.localAddress().getPort()).close(),
                    "connecting to 127.0.0.2, where nobody was told to listen",
                    "bind to the whole address, not to its port alone");
        }

        @Test
        void clients_connect_and_write_before_accept_is_called() throws IOException {
            var listener = listen(5);
            for (var name : List.of("1", "2", "3", "4", "5")) {
                client(listener, "client " + name).play("", send(name));
            }
            History.note("nobody has accepted yet");
            for (var name : List.of("1", "2", "3", "4", "5")) {
                Check.equal(name, firstByte(accept(listener)), "what the next one in the queue has sent",
                        "accept() takes one client from the queue, the one that has waited longest");
            }
        }

        @Test
        void Linux_queues_one_client_more_than_the_backlog_and_ignores_the_next() throws IOException {
            // rejects: a backlog that is not passed on; a thread that accepts before accept() is called
            var listener = listen(3);
            for (int i = 1; i <= 4; i++) {
                client(listener, "client " + i);
            }
            int letIn = 4;
            for (; letIn < 10 && letsIn(listener); letIn++) {
                History.note("client " + (letIn + 1) + " connected");
            }
            Check.that(letIn <= 5,   // 5: when the kernel had not counted the 4th yet
                    "a listener with a backlog of 3 to let 4 clients in before any is accepted, got " + letIn,
                    "the backlog is not passed to bind(), or a thread accepts before accept() is called");
        }

        @Test
        void accept_waits_for_a_client() throws Exception {
            var listener = listen(5);
            var accepting = waiting(() -> listener.accept(LONG));
            client(listener, "client").play("", send("x"));
            var accepted = Await.value(accepting.outcome(), "that accept() returns the client", "nobody accepts");
            Check.that(accepted.isPresent(), "a client from accept(1 min), got none", "wait for the whole timeout");
            Check.equal("x", firstByte(closeLater(accepted.get())), "what it has sent", "return what was accepted");
        }

        @Test
        void accept_returns_empty_after_its_timeout_and_not_before() throws Exception {
            var listener = listen(5);
            long start = System.nanoTime();
            Check.equal(Optional.empty(), listener.accept(Duration.ofMillis(20)), "accept(20 ms) without a client",
                    "a timeout is no failure here: return an empty Optional");
            long millis = (System.nanoTime() - start) / 1_000_000;
            Check.that(millis >= 20, "accept(20 ms) to wait for 20 ms, got " + millis + " ms", "wait for the timeout");
            client(listener, "client");
            accept(listener);   // the listener is as good as before
        }

        @Test
        void a_timeout_of_zero_a_nanosecond_or_a_month_is_valid() throws Exception {
            // rejects: setSoTimeout(0), which waits for ever; toMillis(), which makes 0 of a nanosecond; an int that overflows
            var listener = listen(5);
            checkIsEmptyAtOnce(listener, Duration.ZERO);
            checkIsEmptyAtOnce(listener, Duration.ofNanos(1));
            client(listener, "client").play("", send("x"));
            var taken = new CompletableFuture<Socket>();
            Await.until(() -> {
                try {
                    listener.accept(Duration.ZERO).map(taken::complete);
                } catch (IOException e) {
                    taken.completeExceptionally(e);
                }
                return taken.isDone();
            }, "that accept(0) returns a client that waits", "zero means: take a client that is there already");
            Check.equal("x", firstByte(closeLater(taken.get())), "what it has sent", "return what was accepted");
            for (var timeout : List.of(MONTH, Duration.ofSeconds(Long.MAX_VALUE))) {
                client(listener, "client");
                Check.that(listener.accept(timeout).map(kit.TestLifecycle::closeLater).isPresent(),
                        "a client from accept(" + timeout + "), got none",
                        "milliseconds fit into an int for 24 days only");
            }
        }

        @Test
        void close_wakes_accept_which_returns_empty() throws Exception {   // rejects: the SocketException that a close causes
            var listener = listen(5);
            var accepting = waiting(() -> listener.accept(LONG));
            listener.close();
            Check.equal(Optional.empty(), Await.value(accepting.outcome(), "that accept() returns when close() is called",
                    "after close() accept() throws a SocketException: return an empty Optional"),
                    "accept() during a close()", "after close() accept() throws a SocketException");
        }

        @Test
        void close_refuses_new_clients_and_resets_those_in_the_queue() throws IOException {
            var listener = listen(5);
            var client = client(listener, "client");
            listener.close();
            listener.close();
            client.play("a thread has accepted the client before accept() was called", gone());
            Check.fails(ConnectException.class, () -> connect(listener).close(), "connecting after close()",
                    "close the socket that listens");
            var thrown = Check.fails(IOException.class, () -> listener.accept(LONG), "accept() after close()",
                    "leave the given check where it is");
            Check.equal("closed", thrown.getMessage(), "its message", "leave the given check where it is");
        }

        @Test
        void a_taken_port_is_a_BindException() throws IOException {
            // and, by the check for leaks, leaves nothing open
            var taken = listen(5).localAddress();
            Check.fails(BindException.class, () -> closeLater(ListenAndDial.Listener.open(taken, 5)),
                    "open() on a taken port", "bind() says so by itself: let its exception pass");
        }

        @Test
        void the_exception_names_a_wrong_bind_backlog_or_timeout() throws IOException {
            Check.named("bind", () -> ListenAndDial.Listener.open(null, 5));
            Check.named("backlog", () -> ListenAndDial.Listener.open(ANY_PORT, 0));
            var listener = listen(5);
            Check.named("timeout", () -> listener.accept(null));
            Check.named("timeout", () -> listener.accept(Duration.ofNanos(-1)));
        }

        private void checkIsEmptyAtOnce(ListenAndDial.Listener listener, Duration timeout) throws Exception {
            var accepting = background(() -> listener.accept(timeout));
            Check.equal(Optional.empty(), Await.value(accepting.outcome(), "that accept(" + timeout + ") returns at once",
                    "to setSoTimeout zero means for ever: never pass it on"),
                    "accept(" + timeout + ") without a client", "a timeout is no failure here");
        }

        /** Tries for 100 ms: on a busy machine a queue may be full for a moment, though a thread empties it. */
        private boolean letsIn(ListenAndDial.Listener listener) throws IOException {
            for (int tries = 0; tries < 10; tries++) {
                try {
                    closeLater(new Socket()).connect(listener.localAddress(), 10);
                    return true;
                } catch (IOException e) {
                    // Linux drops the SYN, other systems refuse.
                }
            }
            return false;
        }
    }

    @Step(value = 2, title = "Classify the failure")
    class Classify_the_failure {

        @Test
        void a_refused_connect_is_REFUSED() throws IOException {
            var nobody = DeadEnd.refusing().address();
            classified(REFUSED, thrownBy(() -> new Socket().connect(nobody, 1000)));
            classified(REFUSED, thrownBy(() -> SocketChannel.open(nobody).close()));
            classified(REFUSED, new ConnectException("Connection refused"));
        }

        @Test
        void a_timeout_is_TIMED_OUT_whichever_exception_reports_it() {   // rejects: every ConnectException is REFUSED
            classified(TIMED_OUT, new SocketTimeoutException("Connect timed out"));
            classified(TIMED_OUT, new SocketTimeoutException("Read timed out"));
            classified(TIMED_OUT, new SocketTimeoutException());
            classified(TIMED_OUT, new ConnectException("Connection timed out"));
            classified(TIMED_OUT, new ConnectException("connection timed out after 500 ms: /192.0.2.1:80"));
        }

        @Test
        void an_unreachable_host_or_network_has_its_own_outcome() {   // rejects: types alone
            classified(HOST_UNREACHABLE, new NoRouteToHostException("No route to host"));
            classified(NETWORK_UNREACHABLE, new SocketException("Network is unreachable"));
            classified(NETWORK_UNREACHABLE, new SocketException("Network is unreachable (connect failed)"));
        }

        @Test
        void a_BindException_is_LOCAL_ADDRESS_or_DENIED() throws IOException {
            classified(LOCAL_ADDRESS,
                    thrownBy(() -> closeLater(new Socket()).bind(new InetSocketAddress("192.0.2.1", 0))));
            classified(LOCAL_ADDRESS, new BindException("Address already in use"));
            classified(DENIED, new BindException("Permission denied"));
            classified(DENIED, new BindException("Operation not permitted"));
        }

        @Test
        void an_unresolved_name_is_UNKNOWN_HOST_for_a_Socket_and_a_SocketChannel() {
            // rejects: IOException alone; the channel's exception is an unchecked one
            var unresolved = InetSocketAddress.createUnresolved("scanner.test", 4001);
            classified(UNKNOWN_HOST, thrownBy(() -> new Socket().connect(unresolved)));
            classified(UNKNOWN_HOST, thrownBy(() -> SocketChannel.open(unresolved)));
            classified(UNKNOWN_HOST, new UnknownHostException("scanner.test"));
            classified(UNKNOWN_HOST, new UnresolvedAddressException());
        }

        @Test
        void a_reset_connection_is_RESET() {
            classified(RESET, new SocketException("Connection reset"));
            classified(RESET, new SocketException("Connection reset by peer"));
            classified(RESET, new IOException("Connection reset by peer"));
            classified(RESET, new SocketException("Broken pipe"));
        }

        @Test
        void where_the_type_decides_the_message_is_ignored() {   // rejects: messages first
            classified(REFUSED, new ConnectException("Verbindungsaufbau abgelehnt"));
            classified(REFUSED, new ConnectException());
            classified(HOST_UNREACHABLE, new NoRouteToHostException("Keine Route zum Zielrechner"));
            classified(TIMED_OUT, new SocketTimeoutException("Zeitüberschreitung"));
            classified(TIMED_OUT, new SocketTimeoutException("Connection refused"));
            classified(UNKNOWN_HOST, new UnknownHostException("refused.example: timed out"));
            classified(HOST_UNREACHABLE, new NoRouteToHostException("Network is unreachable"));
        }

        @Test
        void the_cause_decides_where_the_exception_has_no_outcome() {   // rejects: the outermost exception alone
            classified(REFUSED, new ExecutionException(
                    new IOException("handshake failed", new ConnectException("Connection refused"))));
            classified(UNKNOWN_HOST,
                    new RuntimeException(new UnknownHostException("scanner.test")));
        }

        @Test
        void the_deepest_cause_with_an_outcome_decides() {
            // rejects: the first one that has a name; OkHttp and the JDK's HttpClient wrap like this
            var kernel = new ConnectException("Connection timed out");
            classified(TIMED_OUT, causedBy(new ConnectException("Failed to connect to /192.0.2.1:80"), kernel));
            classified(REFUSED, causedBy(new ConnectException(), new IOException("channel closed")));
            classified(HOST_UNREACHABLE, causedBy(new ConnectException("Connection refused"),
                    causedBy(new IOException("no name"), new NoRouteToHostException("No route to host"))));
        }

        @Test
        void causes_that_form_a_cycle_end() throws Exception {   // rejects: a loop until getCause() is null
            var first = new IOException("first");
            var second = new SocketException("Connection reset");
            first.initCause(second);
            second.initCause(first);
            Check.equal(RESET, Await.value(background(() -> ListenAndDial.classify(first)).outcome(),
                    "that classify() of an exception that is its own cause's cause returns",
                    "withCauses() ends at the first exception that comes again"), "classify()", "");
        }

        @Test
        void any_other_exception_is_OTHER() {   // rejects: contains() on a message that is null
            for (var failure : List.of(new SocketException("Invalid argument"), new SocketException("Socket closed"),
                    new SocketException(), new EOFException(), new IOException("Too many open files"),
                    new IOException(), new IllegalStateException("Connection refused"), new AssertionError())) {
                classified(OTHER, failure);
            }
        }

        private void classified(ListenAndDial.Outcome expected, Throwable failure) {
            var cause = failure.getCause() == null ? "" : ", caused by " + failure.getCause();
            Check.equal(expected, ListenAndDial.classify(failure), "classify(" + failure + cause + ")",
                    "types first, from the most specific to the most general; then messages, which may be null");
        }

        private Throwable causedBy(Throwable failure, Throwable cause) {
            return failure.initCause(cause);
        }

        private Throwable thrownBy(Check.Code code) {
            return Check.fails(Exception.class, code, "a connect that must fail", "");
        }
    }

    @Step(value = 3, title = "Connect to one address")
    class Connect_to_one_address {

        @Test
        void a_connection_is_returned_with_its_one_attempt() throws Exception {
            var server = server();
            var dialed = dialOne(address(server), LONG);
            Check.that(dialed.socket().isConnected() && !dialed.socket().isClosed(),
                    "a connected socket, got " + dialed.socket(), "return the socket that has connected");
            var accepted = closeLater(server.accept());
            dialed.socket().getOutputStream().write('x');
            Check.equal("x", firstByte(accepted), "what arrives at the server", "return the socket that has connected");
            Check.equal(1, dialed.attempts().size(), "attempts().size()", "the one attempt, CONNECTED");
            checkAttempt(address(server), CONNECTED, dialed.attempts().getFirst());
        }

        @Test
        void a_port_where_nobody_listens_is_REFUSED() throws Exception {
            var to = DeadEnd.refusing().address();
            var failure = dialFails(to, LONG);
            Check.equal(REFUSED, failure.outcome(), "outcome()", "classify() what connect() throws");
            Check.equal(1, failure.attempts().size(), "attempts().size()", "the one attempt that failed");
            checkAttempt(to, REFUSED, failure.attempts().getFirst());
            Check.that(failure.getCause() instanceof ConnectException,
                    "the ConnectException as the cause, got " + failure.getCause(),
                    "pass what connect() threw as the cause");
        }

        @Test
        @EnabledIf(value = SILENCE, disabledReason = NO_SILENCE)
        void a_silent_address_is_TIMED_OUT_and_not_before_the_timeout() throws Exception {   // rejects: no timeout
            var to = DeadEnd.silent().address();
            var dialling = background(() -> dialFails(to, Duration.ofMillis(20)));
            var attempt = Await.value(dialling.outcome(), "that a dial with a timeout of 20 ms ends",
                    "pass the timeout to connect(): without one it sends SYNs for two minutes").attempts().getFirst();
            checkAttempt(to, TIMED_OUT, attempt);
            Check.that(attempt.took().toMillis() >= 20, "an attempt of at least 20 ms, got " + shown(attempt.took()),
                    "measure from before connect() until it has ended");
        }

        @Test
        @EnabledIf(value = SILENCE, disabledReason = NO_SILENCE)
        void a_timeout_of_a_nanosecond_or_a_month_is_valid() throws Exception {
            // rejects: toMillis(), which makes 0 of a nanosecond: no limit at all; an int that overflows
            var to = DeadEnd.silent().address();
            var dialling = background(() -> dialFails(to, Duration.ofNanos(1)));
            Check.equal(TIMED_OUT, Await.value(dialling.outcome(),
                    "that a dial with a timeout of 1 ns ends", "to connect() a timeout of zero is no limit").outcome(),
                    "outcome()", "round up");
            dialOne(address(server()), MONTH);
            dialOne(address(server()), Duration.ofSeconds(Long.MAX_VALUE));
        }

        @Test
        void a_socket_that_is_connected_to_itself_is_SELF_CONNECT_and_closed() throws Exception {   // rejects: connected is connected
            var socket = closeLater(new Socket());
            socket.bind(ANY_PORT);
            var itself = (InetSocketAddress) socket.getLocalSocketAddress();
            History.note("dialled port %1$d from port %1$d, where nobody listens".formatted(itself.getPort()));
            var failure = Check.fails(ListenAndDial.DialException.class,
                    () -> ListenAndDial.connect(socket, itself, LONG), "a dial that reaches its own socket",
                    "a port can answer itself: ask isSelf() before you call it a connection");
            checkAttempt(itself, SELF_CONNECT, failure.attempts().getFirst());
            Check.that(socket.isClosed(), "its socket to be closed, got an open one", "close what you do not return");
            var other = serverAt("127.0.0.2");
            var samePort = boundTo(other.getLocalPort());
            for (int i = 0; samePort.isEmpty() && i < 20; i++) {   // another program may have that port
                other = serverAt("127.0.0.2");
                samePort = boundTo(other.getLocalPort());
            }
            History.note("dialled 127.0.0.2:%1$d from 127.0.0.1:%1$d".formatted(other.getLocalPort()));
            ListenAndDial.connect(samePort.orElseThrow(), address(other), LONG);   // rejects: ports without their addresses
        }

        private ServerSocket serverAt(String address) throws IOException {
            return closeLater(new ServerSocket(0, 5, InetAddress.getByName(address)));
        }

        private Optional<Socket> boundTo(int port) {
            var socket = closeLater(new Socket());
            try {
                socket.bind(loopback(port));
                return Optional.of(socket);
            } catch (IOException e) {
                return Optional.empty();
            }
        }

        @Test
        void connect_uses_the_given_socket_with_its_local_address() throws Exception {
            // rejects: a new socket instead of the one that was given
            var server = server();
            var socket = closeLater(new Socket());
            socket.bind(ANY_PORT);
            var dialed = ListenAndDial.connect(socket, address(server), LONG);
            Check.that(dialed.socket() == socket, "the socket that was given, got another one",
                    "connect that very socket");
        }

        @Test
        void an_unresolved_address_is_UNKNOWN_HOST() throws Exception {
            var failure = dialFails(InetSocketAddress.createUnresolved("scanner.test", 4001), LONG);
            Check.equal(UNKNOWN_HOST, failure.outcome(), "outcome()", "classify() what connect() throws");
        }

        @Test
        void a_failed_connect_leaves_no_socket_open() throws Exception {   // the check for leaks looks after this test
            var to = DeadEnd.refusing().address();
            for (int i = 0; i < 50; i++) {
                dialFails(to, LONG);
            }
        }

        @Test
        @EnabledIf(value = SILENCE, disabledReason = NO_SILENCE)
        void an_interrupt_ends_connect_with_an_InterruptedException() throws Exception {   // rejects: an interrupt reported as a failed attempt
            var to = DeadEnd.silent().address();
            var dialling = waiting(() -> thrownBy(() -> ListenAndDial.dialOne(to, LONG)));
            dialling.thread().interrupt();
            checkInterrupted(dialling, "dialOne() of a silent address");
        }

        @Test
        void the_exception_names_a_wrong_address_or_timeout() {
            Check.named("port", () -> ListenAndDial.dialOne(loopback(0), LONG));
            Check.named("timeout", () -> ListenAndDial.dialOne(loopback(1), Duration.ZERO));
            Check.named("to", () -> ListenAndDial.dialOne(null, LONG));
            Check.named("timeout", () -> ListenAndDial.dialOne(loopback(1), null));
            Check.fails(ListenAndDial.DialException.class, () -> ListenAndDial.connect(closeLater(new Socket()),
                    DeadEnd.refusing().address(), LONG), "connect() where nobody listens", "");   // right ones are not
        }

        private ListenAndDial.DialException dialFails(InetSocketAddress to, Duration timeout) {
            return Check.fails(ListenAndDial.DialException.class, () -> dialOne(to, timeout),
                    "a dial to " + to, "what connect() throws becomes a DialException");
        }
    }

    @Step(value = 4, title = "Read the state table", further = true)
    class Read_the_state_table {

        private static final String V4 = """
                  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt  uid timeout inode
                   0: 0100007F:0FA1 00000000:0000 0A 00000000:00000003 00:00000000 00000000 1000 0 48123 1 7a2b1c00
                   1: 0A02000A:9C42 076FA8C0:01BB 01 00000400:00000005 01:00000014 00000000    0 0 59807 3 52f0d3c8
                   2: 0100007F:0FA1 0100007F:D431 06 00000000:00000000 03:00001573 00000000    0 0 0 3 a1718591
                """;
        private static final String V6_HEAD = "  sl  local_address                         remote_address          "
                + "              st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

        @Test
        void a_row_is_read_for_each_line_but_the_header() {
            var rows = rows(V4);
            Check.equal(3, rows.size(), "rows of a table with three,\nsize()", "a row for each line but the header");
            var row = rows.getFirst();
            Check.equal(new InetSocketAddress("127.0.0.1", 4001), row.local(), "local()",
                    "0100007F is 127.0.0.1, 0FA1 is 4001");
            Check.equal(new InetSocketAddress("0.0.0.0", 0), row.remote(), "remote()", "");
            Check.equal(48123L, row.inode(), "inode()", "the only decimal number among them");
            Check.equal("LISTEN ESTABLISHED TIME_WAIT", rows.stream().map(each -> each.state().name())
                    .collect(Collectors.joining(" ")), "the states of three rows", "0A is 10, the code of LISTEN");
            Check.equal("/10.0.2.10:40002 /192.168.111.7:443", rows.get(1).local() + " " + rows.get(1).remote(),
                    "the addresses of the second row", "");
        }

        @Test
        void the_first_queue_is_txQueue_the_second_rxQueue() {   // rejects: queues the other way round
            var row = rows(V4).get(1);
            Check.equal(1024L, row.txQueue(), "txQueue() of 00000400:00000005", "tx stands before the colon, in hex");
            Check.equal(5L, row.rxQueue(), "rxQueue() of 00000400:00000005", "rx stands behind the colon, in hex");
        }

        @Test
        void queues_and_inode_need_a_long() {   // rejects: Integer.parseInt
            var row = rows(row("0100007F:0FA1", "0100007F:D431", "01", "FFFFFFFF:80000000", "4294967297"));
            Check.equal(1, row.size(), "rows for a line with the queues FFFFFFFF:80000000 and inode 4294967297,\nsize()",
                    "eight hex digits need a long");
            Check.equal(List.of(4294967295L, 2147483648L, 4294967297L), row.stream()
                    .flatMap(r -> Stream.of(r.txQueue(), r.rxQueue(), r.inode())).toList(),
                    "queues and inode of FFFFFFFF:80000000 and 4294967297", "eight hex digits need a long");
        }

        @Test
        void an_IPv6_address_is_four_words_of_32_bits() throws UnknownHostException {
            // rejects: the sixteen bytes turned round as one number
            for (var printed : List.of("B80D0120000000000000000001000000 2001:db8::1",
                    "000080FE00000000FF005450B6AD1DFE fe80::5054:ff:fe1d:adb6")) {
                checkAddress(printed, ByteOrder.LITTLE_ENDIAN, "each word of 32 bits has its own byte order");
            }
        }

        @Test
        void an_IPv4_mapped_address_is_an_Inet4Address() {   // rejects: Inet6Address.getByAddress(host, bytes, scope)
            var local = rows(V6_HEAD + row("0000000000000000FFFF00000100007F:0FA1",
                    "00000000000000000000000000000000:0000", "0A", "00000000:00000000", "7")).getFirst().local();
            Check.that(local.getAddress() instanceof Inet4Address, "an Inet4Address, got a " + local.getAddress(),
                    "InetAddress.getByAddress makes an IPv4 address of ::ffff:127.0.0.1 by itself");
            Check.equal(new InetSocketAddress("127.0.0.1", 4001), local, "local()", "");
        }

        @Test
        void kernelOrder_decides_the_order_of_the_bytes() throws UnknownHostException {
            // rejects: bytes that are always turned round
            for (var printed : List.of("7F000001 127.0.0.1", "C0A86F07 192.168.111.7",
                    "20010DB8000000000000000000000001 2001:db8::1", "00000000000000000000FFFF7F000001 127.0.0.1")) {
                checkAddress(printed, ByteOrder.BIG_ENDIAN, "a word has the order of kernelOrder, not always yours");
            }
        }

        @Test
        void a_state_code_without_a_name_is_UNKNOWN() {
            for (var named : List.of("01 ESTABLISHED", "02 SYN_SENT", "03 SYN_RECV", "04 FIN_WAIT1", "05 FIN_WAIT2",
                    "06 TIME_WAIT", "07 CLOSE", "08 CLOSE_WAIT", "09 LAST_ACK", "0A LISTEN", "0B CLOSING",
                    "0C NEW_SYN_RECV", "0D UNKNOWN", "FF UNKNOWN")) {
                var code = named.substring(0, 2);
                var rows = rows(row("0100007F:0FA1", "0100007F:0FA2", code, "00000000:00000000", "7"));
                Check.equal(1, rows.size(), "rows for a line with the state code " + code + ",\nsize()",
                        "codes are hexadecimal");
                var row = rows.getFirst();
                Check.equal(named.substring(3), row.state().name(), "the state of code " + code,
                        "codes are hexadecimal; a code without a name is UNKNOWN");
            }
        }

        @Test
        void a_line_that_is_no_row_is_ignored() {   // rejects: a parser that throws, or stops, at the first odd line
            var good = row("0100007F:0FA1", "0100007F:0FA2", "01", "00000000:00000000", "7");
            for (var odd : List.of("", "   ", "not a row\n", V6_HEAD, good.substring(0, 40) + "\n",
                    row("0100007G:0FA1", "0100007F:0FA2", "01", "00000000:00000000", "7"),
                    row("0100007F", "0100007F:0FA2", "01", "00000000:00000000", "7"),
                    row("0100007:0FA1", "0100007F:0FA2", "01", "00000000:00000000", "7"),
                    row("0100007F0100:0FA1", "0100007F:0FA2", "01", "00000000:00000000", "7"),
                    row("0100007F0100007F:0FA1", "0100007F:0FA2", "01", "00000000:00000000", "7"),
                    row("0100007F:10FA1", "0100007F:0FA2", "01", "00000000:00000000", "7"),
                    row("0100007F:0FA1", ":", "01", "00000000:00000000", "7"),
                    row("0100007F:0FA1", "0100007F:0FA2", "XY", "00000000:00000000", "7"),
                    row("0100007F:0FA1", "0100007F:0FA2", "01", "00000000", "7"),
                    row("0100007F:0FA1", "0100007F:0FA2", "01", "00000000:-", "7"),
                    row("0100007F:0FA1", "0100007F:0FA2", "01", "00000000:-0000003", "7"),
                    row("0100007F:+FA1", "0100007F:0FA2", "01", "00000000:00000000", "7"),
                    row("0100007F:0FA1", "0100007F:0FA2", "01", "00000000:00000000", "seven"))) {
                int found;
                try {
                    found = rows(odd + good).size();
                } catch (RuntimeException e) {
                    Check.that(e instanceof UnsupportedOperationException, "no exception of parse(), got " + e
                            + "\nfor the line " + odd.strip(), "ignore a line that is no row, whatever is wrong with it");
                    throw e;
                }
                Check.equal(1, found, "rows in a text of one odd line and a good one\n  " + odd.strip() + "\nsize()",
                        "ignore the odd line, and only that one; signs are no hex digits");
            }
            Check.equal(List.of(), rows(""), "parse(\"\")", "");
        }

        @Test
        @EnabledIf(value = PROC, disabledReason = NO_PROC)
        void listeners_of_both_families_are_in_the_table() throws Exception {
            // rejects: one of the two files alone; Java's sockets are in tcp6, even those for 127.0.0.1
            var listener = listen(5);
            var row = row(listener.localAddress(), null, "the rows of /proc/net/tcp6 belong to the table as well");
            Check.equal(ListenAndDial.TcpState.LISTEN, row.state(), "its state()", "");
            var ipv4 = closeLater(ServerSocketChannel.open(StandardProtocolFamily.INET)).bind(ANY_PORT);
            row = row(address(ipv4), null, "a program that opens an IPv4 socket has its row in /proc/net/tcp");
            Check.equal(ListenAndDial.TcpState.LISTEN, row.state(), "its state()", "");
        }

        @Test
        @EnabledIf(value = PROC, disabledReason = NO_PROC)
        void a_connection_on_this_machine_has_a_row_for_each_end() throws Exception {
            var listener = listen(5);
            var client = client(listener, "client").play("", send("hello"));
            var near = row(client.localAddress(), listener.localAddress(), "the table holds all rows");
            var far = row(listener.localAddress(), client.localAddress(), "the table holds all rows");
            Check.equal(ListenAndDial.TcpState.ESTABLISHED, near.state(), "the client's end", "");
            Check.equal(ListenAndDial.TcpState.ESTABLISHED, far.state(), "the end that nobody accepted", "");
            Await.until(() -> far.rxQueue() == 5 || row(listener.localAddress(), client.localAddress())
                    .map(ListenAndDial.Row::rxQueue).equals(Optional.of(5L)),
                    "that the server's end holds 5 unread bytes", "rx is the second queue");
        }

        @Test
        @EnabledIf(value = PROC, disabledReason = NO_PROC)
        void waiting_is_the_number_of_clients_not_yet_accepted() throws Exception {
            // rejects: a thread that accepts before accept() is called; tx instead of rx
            var listener = listen(5);
            checkWaiting(0, listener);
            for (int i = 1; i <= 3; i++) {
                client(listener, "client " + i);
            }
            checkWaiting(3, listener);
            accept(listener);
            History.note("one client accepted");
            checkWaiting(2, listener);
            listener.close();
            Check.equal(OptionalInt.empty(), listener.waiting(), "waiting() after close()", "that is given");
        }

        @Test
        @EnabledIf(value = PROC, disabledReason = NO_PROC)
        void waiting_looks_at_address_and_port() throws Exception {   // rejects: a row found by its port alone
            var one = listen(5);
            var other = listenAtTheSamePort(one);
            client(one, "client 1 of one");
            client(other, "client 1 of the other");
            client(other, "client 2 of the other");
            checkWaiting(1, one);
            checkWaiting(2, other);
        }

        /** @param printed the hex digits and the address that they stand for */
        private void checkAddress(String printed, ByteOrder order, String likely) throws UnknownHostException {
            var parts = printed.split(" ");
            var rows = ListenAndDial.parse(V6_HEAD + row("00000000:0000", parts[0] + ":0FA1", "01",
                    "00000000:00000000", "7"), order);
            Check.equal(1, rows.size(), "rows of a table with one row, for %s:0FA1,\nsize()".formatted(parts[0]),
                    "an address has 8 or 32 hex digits");
            Check.equal(new InetSocketAddress(InetAddress.getByName(parts[1]), 4001), rows.getFirst().remote(),
                    parts[0] + ":0FA1 of a " + order + " kernel\n ", likely);
        }

        private List<ListenAndDial.Row> rows(String text) {
            return ListenAndDial.parse(text, ByteOrder.LITTLE_ENDIAN);
        }

        private String row(String local, String remote, String state, String queues, String inode) {
            return "   0: %s %s %s %s 00:00000000 00000000     0        0 %s 1 0000000000000000 100 0 0 10 0\n"
                    .formatted(local, remote, state, queues, inode);
        }

        private ListenAndDial.Row row(InetSocketAddress local, InetSocketAddress remote, String likely)
                throws Exception {
            var found = new AtomicReference<ListenAndDial.Row>();
            Await.until(() -> {
                row(local, remote).ifPresent(found::set);
                return found.get() != null;
            }, "a row in the table() with local address " + shown(local)
                    + (remote == null ? "" : "\nand remote address " + shown(remote)), likely);
            return found.get();
        }

        private Optional<ListenAndDial.Row> row(InetSocketAddress local, InetSocketAddress remote) {
            return ListenAndDial.table().orElse(List.of()).stream().filter(row -> row.local().equals(local))
                    .filter(row -> remote == null || row.remote().equals(remote)).findFirst();
        }

        private void checkWaiting(int expected, ListenAndDial.Listener listener) throws Exception {
            Await.until(() -> listener.waiting().equals(OptionalInt.of(expected)),
                    "that waiting() at " + shown(listener.localAddress()) + " becomes " + expected,
                    "rxQueue of the row in state LISTEN with this address and port is the number of clients that wait");
        }

        private ListenAndDial.Listener listenAtTheSamePort(ListenAndDial.Listener one) throws IOException {
            return closeLater(ListenAndDial.Listener.open(
                    new InetSocketAddress("127.0.0.2", one.localAddress().getPort()), 5));
        }
    }

    @Step(value = 5, title = "Interleave the addresses", further = true)
    class Interleave_the_addresses {

        @Test
        void IPv6_and_IPv4_addresses_alternate() {
            mixed("6a 4a 6b 4b", "6a 6b 4a 4b");
        }

        @Test
        void the_family_of_the_first_address_begins() {   // rejects: IPv6 always first
            mixed("4a 6a 4b 6b", "4a 4b 6a 6b");
            mixed("4a 6a", "4a 6a");
        }

        @Test
        void the_order_within_a_family_is_kept() {   // rejects: sorting
            mixed("6c 4b 6a 4a 6b", "6c 6a 6b 4b 4a");
            mixed("6b 4c 6a 4a", "6b 4c 4a 6a");
        }

        @Test
        void the_rest_of_the_longer_family_follows() {   // rejects: a loop as long as the shorter one
            mixed("6a 4a 6b 6c 6d", "6a 6b 6c 6d 4a");
            mixed("6a 4a 4b 4c", "6a 4a 4b 4c");
        }

        @Test
        void one_family_and_duplicates_are_kept_as_they_are() {   // rejects: a set
            mixed("4c 4a 4b", "4c 4a 4b");
            mixed("6a", "6a");
            mixed("", "");
            mixed("4a 6a 4a 6a", "4a 4a 6a 6a");
        }

        @Test
        void the_given_list_is_not_changed() {   // rejects: taking addresses out of it
            var given = new ArrayList<>(addresses("6a 6b 4a"));
            ListenAndDial.interleave(given);
            Check.equal("6a 6b 4a", names(given), "the list afterwards", "make a list of your own");
            Check.equal("6a 4a 6b", names(ListenAndDial.interleave(Collections.unmodifiableList(given))),
                    "interleave() of a list that cannot be changed", "make a list of your own");
        }

        private void mixed(String expected, String given) {
            var mixed = ListenAndDial.interleave(new ArrayList<>(addresses(given)));
            Check.equal(expected, names(mixed), "interleave(" + given + ")",
                    "the family of the first address first, then one of each in turn");
        }

        /** "6b" is ::b, "4c" is 0.0.0.12. */
        private List<InetAddress> addresses(String names) {
            return Arrays.stream(names.split(" ")).filter(name -> !name.isEmpty()).map(name -> {
                var bytes = new byte[name.charAt(0) == '6' ? 16 : 4];
                bytes[bytes.length - 1] = (byte) Character.digit(name.charAt(1), 16);
                try {
                    return InetAddress.getByAddress(bytes);
                } catch (UnknownHostException e) {
                    throw new IllegalStateException(e);
                }
            }).toList();
        }

        private String names(List<InetAddress> addresses) {
            return addresses.stream().map(address -> (address instanceof Inet4Address ? "4" : "6")
                    + Character.forDigit(address.getAddress()[address.getAddress().length - 1], 16))
                    .collect(Collectors.joining(" "));
        }
    }

    @Step(value = 6, title = "Race the addresses", further = true)
    class Race_the_addresses {

        @Test
        void a_single_address_is_connected_to() throws Exception {
            var to = address(server());
            checkOutcomes(List.of(CONNECTED), race(LONG, HOUR, to).attempts());
        }

        @Test
        void no_second_attempt_begins_before_the_stagger_is_over() throws Exception {   // rejects: all at once
            for (int round = 0; round < 5; round++) {
                var second = closeLater(ServerSocketChannel.open()).bind(ANY_PORT);
                race(LONG, HOUR, address(server()), (InetSocketAddress) second.getLocalAddress());
                second.configureBlocking(false);
                var accepted = second.accept();
                Check.that(accepted == null, "nobody at the second address, got a connection from " + accepted,
                        "the second attempt begins after the stagger, an hour here");
            }
        }

        @Test
        void after_a_failure_the_next_attempt_begins_at_once() throws Exception {
            // rejects: a stagger that is always waited for
            var dialed = race(enough(), HOUR, DeadEnd.refusing().address(), DeadEnd.refusing().address(),
                    address(server()));
            checkOutcomes(List.of(REFUSED, REFUSED, CONNECTED), dialed.attempts());
        }

        @Test
        @EnabledIf(value = SILENCE, disabledReason = NO_SILENCE)
        void when_the_first_address_is_silent_the_next_attempt_begins_after_the_stagger() throws Exception {
            var good = address(server());
            var dialed = race(enough(), Duration.ofMillis(20), DeadEnd.silent().address(), good);
            checkAttempt(good, CONNECTED, dialed.attempts().getLast());
            checkOutcomes(List.of(CONNECTED), dialed.attempts());   // the silent one was still under way
            var startedAfter = dialed.attempts().getLast().startedAfter();
            Check.that(startedAfter.toMillis() >= 20, "the second attempt to begin after a stagger of 20 ms, got "
                    + shown(startedAfter), "the first attempt has this long for itself");
        }

        @Test
        @EnabledIf(value = SILENCE, disabledReason = NO_SILENCE)
        void a_stagger_of_zero_begins_all_attempts_at_once() throws Exception {
            var silent = DeadEnd.silent().address();
            var addresses = new ArrayList<>(Collections.nCopies(9, silent));
            addresses.add(address(server()));
            checkOutcomes(List.of(CONNECTED), race(enough(), Duration.ZERO,
                    addresses.toArray(InetSocketAddress[]::new)).attempts());
        }

        @Test
        void an_attempt_that_is_slower_than_the_stagger_can_still_win() throws Exception {
            // rejects: the stagger as the limit of an attempt; a race that gives up an attempt when the next one begins
            var slow = loopback(1);
            var nextHasBegun = new CountDownLatch(1);
            var socket = closeLater(new Socket());
            var limits = Collections.synchronizedList(new ArrayList<Duration>());
            var dialed = raced(LONG, Duration.ofMillis(5), (to, timeout) -> {
                if (to.equals(slow)) {
                    limits.addFirst(timeout);
                    await(nextHasBegun);
                    return connected(to, socket);
                }
                limits.add(timeout);
                nextHasBegun.countDown();
                Thread.sleep(timeout);   // until the race ends it
                throw new ListenAndDial.DialException(attempt(to, TIMED_OUT), null);
            }, slow, loopback(2));
            Check.that(dialed.socket() == socket, "the first address to win, as it connects and the second does not, got "
                    + dialed.attempts(), "an attempt goes on when the next one begins");
            Check.that(limits.getFirst().compareTo(Duration.ofSeconds(30)) > 0, "a timeout near 1 min for the first attempt, got "
                    + shown(limits.getFirst()), "the stagger says when the next attempt begins, not when this one ends");
            Check.that(limits.getLast().compareTo(LONG.minusMillis(5)) <= 0, "a timeout of at most 59.995 s for the second attempt,"
                    + " which begins after 5 ms, got " + limits.getLast(), "an attempt has what is left of the timeout");
        }

        @Test
        void of_several_connections_one_is_kept() throws Exception {   // rejects: a loser that nobody closes
            var servers = Stream.generate(ListenAndDialTest::channel).limit(8).toList();
            for (int round = 0; round < 10; round++) {
                var addresses = servers.stream().map(ListenAndDialTest::address).toArray(InetSocketAddress[]::new);
                var winner = race(LONG, Duration.ZERO, addresses).socket();
                for (var server : servers) {
                    for (var peer = server.accept(); peer != null; peer = server.accept()) {
                        var accepted = closeLater(peer).socket();
                        checkLoser(accepted, winner);
                    }
                }
                winner.close();
            }
        }

        @Test
        void when_race_returns_every_other_attempt_has_ended_and_is_closed() throws Exception {
            // rejects: losers that are closed later, or only if they have connected by then, or that nobody stops
            var slow = loopback(1);
            var slowHasBegun = new CountDownLatch(1);
            var loser = closeLater(new Socket());
            var server = server();
            var winner = raced(enough(), Duration.ofMillis(1), (to, timeout) -> {
                if (to.equals(slow)) {
                    slowHasBegun.countDown();
                    try {
                        Thread.sleep(HOUR);   // until the race ends it
                    } catch (InterruptedException e) {
                        Thread.sleep(20);   // an attempt may connect in spite of an interrupt, and some time after it
                    }
                    loser.connect(server.getLocalSocketAddress());
                    return connected(to, loser);
                }
                await(slowHasBegun);
                return ListenAndDial.dialOne(to, timeout);
            }, slow, address(server));
            Check.that(loser.isClosed(), "the socket of a slower attempt to be closed when race() returns, it is still open",
                    "wait until no attempt is under way, and then close every connection but the winner");
            Check.that(!winner.socket().isClosed(), "the winner to be open, it is closed", "close the others only");
        }

        @Test
        void a_late_failure_begins_no_attempt_twice_and_loses_none() throws Exception {
            // rejects: a failure that is taken for that of the last attempt, or that begins the race anew
            var thirdHasBegun = new CountDownLatch(1);
            var begun = Collections.synchronizedList(new ArrayList<Integer>());
            var failure = Check.fails(ListenAndDial.DialException.class, () -> raced(LONG, Duration.ofMillis(5), (to, timeout) -> {
                begun.add(to.getPort());
                if (to.getPort() == 3) {
                    thirdHasBegun.countDown();
                }
                await(thirdHasBegun);
                throw new ListenAndDial.DialException(attempt(to, REFUSED), new ConnectException("Connection refused"));
            }, loopback(1), loopback(2), loopback(3)), "a race in which all refuse after the third has begun", "");
            Check.equal(List.of(1, 2, 3), begun.stream().sorted().toList(), "the ports that were tried",
                    "the next attempt begins when the stagger is over, although none has ended");
            Check.equal(3, failure.attempts().size(), "attempts().size()", "an attempt for each address");
            Check.equal(List.of(REFUSED, REFUSED, REFUSED), Arrays.stream(failure.getSuppressed())
                    .map(ListenAndDial::classify).toList(), "classify() of the suppressed exceptions",
                    "DialException.of(failures) keeps the causes of all attempts");
        }

        private static void await(CountDownLatch latch) throws InterruptedException {
            if (!latch.await(Patience.millis(), TimeUnit.MILLISECONDS)) {
                throw new IllegalStateException("another attempt should have begun");
            }
        }

        private static ListenAndDial.Dialed connected(InetSocketAddress to, Socket socket) {
            return new ListenAndDial.Dialed(socket, List.of(attempt(to, CONNECTED)));
        }

        private static ListenAndDial.Attempt attempt(InetSocketAddress to, ListenAndDial.Outcome outcome) {
            return new ListenAndDial.Attempt(to, outcome, Duration.ZERO, Duration.ZERO, "");
        }

        @Test
        void the_returned_connection_is_open() throws Exception {   // rejects: cleaning up that closes the winner, too
            var server = server();
            var socket = race(LONG, Duration.ZERO, DeadEnd.refusing().address(), address(server)).socket();
            var accepted = closeLater(server.accept());
            accepted.getOutputStream().write('x');
            Check.equal("x", firstByte(socket), "what arrives at the winner", "close all sockets but the winner's");
        }

        @Test
        void when_all_attempts_fail_the_exception_has_all_of_them() throws Exception {
            var addresses = List.of(DeadEnd.refusing().address(), DeadEnd.refusing().address(),
                    DeadEnd.refusing().address());
            var failure = raceFails(LONG, HOUR, addresses);
            checkOutcomes(List.of(REFUSED, REFUSED, REFUSED), failure.attempts());
            Check.equal(addresses, failure.attempts().stream().map(ListenAndDial.Attempt::to).toList(),
                    "the addresses of the attempts", "an attempt for each address, in the order in which they ended");
            for (var attempt : failure.getSuppressed()) {
                Check.that(attempt.getCause() instanceof ConnectException, "the ConnectException as the cause of each suppressed"
                        + " exception, got " + attempt.getCause(), "DialException.of(failures) keeps them");
            }
            Check.equal(3, failure.getSuppressed().length, "getSuppressed().length", "DialException.of(failures) keeps them");
        }

        @Test
        @EnabledIf(value = SILENCE, disabledReason = NO_SILENCE)
        void the_outcome_is_that_of_the_attempt_that_got_furthest() throws Exception {   // rejects: the last one's
            var failure = raceFails(Duration.ofMillis(60), Duration.ZERO,
                    List.of(DeadEnd.silent().address(), DeadEnd.refusing().address()));
            checkOutcomes(List.of(REFUSED, TIMED_OUT), failure.attempts());
            Check.equal(REFUSED, failure.outcome(), "outcome()", "give DialException all attempts: it finds out");
        }

        @Test
        @EnabledIf(value = SILENCE, disabledReason = NO_SILENCE)
        void the_timeout_limits_all_attempts_together() throws Exception {   // rejects: a timeout for each address
            var silent = DeadEnd.silent().address();
            var timeout = Duration.ofMillis(40);
            var failure = raceFails(timeout, HOUR, List.of(silent, silent, silent));
            Check.equal(TIMED_OUT, failure.outcome(), "outcome()", "");
            var last = failure.attempts().getLast();
            Check.that(last.startedAfter().compareTo(timeout) < 0,
                    "no attempt to begin when the 40 ms are over, got one after " + shown(last.startedAfter()),
                    "the timeout is for the whole dial: an attempt has what is left of it");
            Check.that(last.startedAfter().plus(last.took()).toMillis() >= 40, "the last attempt to last until 40 ms "
                    + "are over, got " + shown(last.startedAfter().plus(last.took())), "it has all that is left");
        }

        @Test
        void dial_resolves_the_name_once_and_tries_all_its_addresses() throws Exception {   // rejects: the first address alone
            var server = server();
            var asked = new ArrayList<String>();
            var dialed = ListenAndDial.dial("scanner.test", server.getLocalPort(), LONG, HOUR, host -> {
                asked.add(host);
                return List.of(InetAddress.getByName("::1"), InetAddress.getByName("127.0.0.1"));
            });
            closeLater(dialed.socket());
            checkAttempt(address(server), CONNECTED, dialed.attempts().getLast());
            Check.equal(2, dialed.attempts().size(), "attempts().size()", "the failed one counts, too");
            Check.equal(List.of("scanner.test"), asked, "what the resolver was asked", "ask it once, for the host");
        }

        @Test
        void dial_interleaves_the_addresses() throws Exception {
            int port = DeadEnd.refusing().address().getPort();
            var addresses = new ArrayList<InetAddress>();
            for (var literal : List.of("127.0.0.1", "127.0.0.2", "::1")) {
                addresses.add(InetAddress.getByName(literal));
            }
            var failure = Check.fails(ListenAndDial.DialException.class,
                    () -> dial("scanner.test", port, LONG, HOUR, _ -> addresses), "a dial to nobody", "");
            Check.equal("[127.0.0.1, 0:0:0:0:0:0:0:1, 127.0.0.2]", failure.attempts().stream()
                    .map(attempt -> attempt.to().getAddress().getHostAddress()).toList().toString(),
                    "the addresses in the order of the attempts", "interleave() what the resolver finds");
        }

        @Test
        void a_name_without_an_address_is_UNKNOWN_HOST() {
            for (ListenAndDial.Resolver resolver : List.<ListenAndDial.Resolver>of(_ -> List.of(), host -> {
                throw new UnknownHostException(host);
            })) {
                var failure = Check.fails(ListenAndDial.DialException.class,
                        () -> dial("scanner.test", 4001, LONG, HOUR, resolver), "a dial to an unknown name",
                        "what the resolver throws becomes a DialException, and so does an empty list");
                Check.equal(UNKNOWN_HOST, failure.outcome(), "outcome()", "");
                Check.equal(List.of(), failure.attempts(), "attempts()", "there was nothing to try");
                Check.that(failure.getMessage().contains("scanner.test"),
                        "the message to name scanner.test, got " + failure.getMessage(), "unknownHost() says it");
            }
        }

        @Test
        @EnabledIf(value = SILENCE, disabledReason = NO_SILENCE)
        void an_interrupt_ends_all_attempts() throws Exception {   // what they leave open, the check for leaks finds
            var silent = List.of(DeadEnd.silent().address(), DeadEnd.silent().address());
            for (boolean virtual : List.of(true, false)) {
                Callable<Throwable> race =
                        () -> thrownBy(() -> ListenAndDial.race(silent, HOUR, Duration.ofMillis(1),
                                ListenAndDial::dialOne));
                var dialling = virtual ? PendingCall.start(race) : PendingCall.startOnPlatformThread(race);
                if (virtual) {
                    dialling.awaitWaiting();
                } else {
                    Thread.sleep(20);   // lets the attempts begin: a platform thread in a select() does not show it
                }
                dialling.thread().interrupt();
                checkInterrupted(dialling, "race() of silent addresses");
            }
        }

        @Test
        @EnabledIf(value = SILENCE, disabledReason = NO_SILENCE)
        void an_interrupt_ends_dial_of_a_single_address() throws Exception {
            var silent = DeadEnd.silent().address();
            var dialling = waiting(() -> thrownBy(() -> ListenAndDial.dial("scanner.test", silent.getPort(), HOUR, HOUR,
                    _ -> List.of(silent.getAddress()))));
            dialling.thread().interrupt();
            checkInterrupted(dialling, "dial() of a silent address");
        }

        @Test
        void the_exception_names_a_wrong_host_port_timeout_or_stagger() throws Exception {
            ListenAndDial.Resolver resolver = _ -> List.of(ANY_PORT.getAddress());
            for (int port : new int[] {-1, 0, 65_536}) {
                Check.named("port", () -> dial("scanner.test", port, LONG, HOUR, resolver));
            }
            Check.named("timeout",
                    () -> dial("scanner.test", 1, Duration.ZERO, HOUR, resolver));
            Check.named("stagger",
                    () -> dial("scanner.test", 1, LONG, Duration.ofNanos(-1), resolver));
            Check.named("host", () -> dial(null, 1, LONG, HOUR, resolver));
            Check.named("resolver", () -> dial("scanner.test", 1, LONG, HOUR, null));
            dial("scanner.test", server().getLocalPort(), LONG, HOUR, resolver);   // and right ones are not
        }

        private void dial(String host, int port, Duration timeout, Duration stagger, ListenAndDial.Resolver resolver)
                throws Exception {
            closeLater(ListenAndDial.dial(host, port, timeout, stagger, resolver).socket());
        }

        /** More than the patience of the check for leaks: whoever is left behind is found. */
        private Duration enough() {
            return Patience.duration().multipliedBy(2);
        }

        private ListenAndDial.Dialed race(Duration timeout, Duration stagger, InetSocketAddress... to)
                throws Exception {
            try {
                return raced(timeout, stagger, to);
            } catch (ListenAndDial.DialException e) {
                throw History.fail("expected a connection, for somebody answers, got\n  " + e,
                        "the race goes on until somebody connects, all have failed, or the time is over");
            }
        }

        private ListenAndDial.Dialed raced(Duration timeout, Duration stagger, InetSocketAddress... to)
                throws Exception {
            return raced(timeout, stagger, ListenAndDial::dialOne, to);
        }

        /** A connector that throws an IOException of its own has a bug, which the race passes on. */
        private interface Connector {
            ListenAndDial.Dialed connect(InetSocketAddress to, Duration timeout) throws IOException, InterruptedException;
        }

        private ListenAndDial.Dialed raced(Duration timeout, Duration stagger, Connector connector, InetSocketAddress... to)
                throws Exception {
            History.note("dialled " + (to.length > 3 ? to.length + " addresses" : Stream.of(to)
                    .map(ListenAndDialTest::shown).collect(Collectors.joining(", "))));
            History.note("timeout " + shown(timeout) + ", stagger " + shown(stagger));
            var dialed = ListenAndDial.race(List.of(to), timeout, stagger, (address, limit) -> {
                try {
                    return connector.connect(address, limit);
                } catch (ListenAndDial.DialException e) {
                    throw e;
                } catch (IOException e) {
                    throw new IllegalStateException(e);
                }
            });
            closeLater(dialed.socket());
            History.note("attempts: " + dialed.attempts());
            return dialed;
        }

        private ListenAndDial.DialException raceFails(Duration timeout, Duration stagger, List<InetSocketAddress> to) {
            return Check.fails(ListenAndDial.DialException.class,
                    () -> raced(timeout, stagger, to.toArray(InetSocketAddress[]::new)), "a race that nobody can win",
                    "when all attempts have failed, the race is over");
        }

        private void checkOutcomes(List<ListenAndDial.Outcome> expected, List<ListenAndDial.Attempt> attempts) {
            Check.equal(expected, attempts.stream().map(ListenAndDial.Attempt::outcome).toList(),
                    "the outcomes of attempts()", "those that failed, as they ended, and last the one that connected");
        }

        /** Whoever is connected and is not the winner sees an end. */
        private void checkLoser(Socket accepted, Socket winner) throws IOException {
            if (accepted.getPort() == winner.getLocalPort() && accepted.getLocalPort() == winner.getPort()) {
                return;
            }
            accepted.setSoTimeout(Patience.millis());
            try {
                Check.equal(-1, accepted.getInputStream().read(), "what a server reads that lost the race", "");
            } catch (SocketTimeoutException e) {
                throw History.fail("expected a connection that has lost the race to be closed, it is still open",
                        "two attempts may connect at the same time: close every socket but the winner's");
            } catch (SocketException e) {
                // A reset, which is an end as well.
            }
        }
    }

    // What the tests are made of.

    static boolean hasProc() {
        return Files.exists(Path.of("/proc/net/tcp")) || Files.exists(Path.of("/proc/net/tcp6"));
    }

    private static ListenAndDial.Listener listen(int backlog) throws IOException {
        return closeLater(ListenAndDial.Listener.open(ANY_PORT, backlog));
    }

    private static Peer client(ListenAndDial.Listener listener, String name) throws IOException {
        return Peer.connect(listener.localAddress(), name);
    }

    private static Socket connect(ListenAndDial.Listener listener) throws IOException {
        return new Socket(listener.localAddress().getAddress(), listener.localAddress().getPort());
    }

    private static Socket accept(ListenAndDial.Listener listener) throws IOException {
        var accepted = listener.accept(Patience.duration());
        Check.that(accepted.isPresent(), "a client from accept(), got none", "one waits in the queue: accept() it");
        return closeLater(accepted.get());
    }

    private static String firstByte(Socket socket) throws IOException {
        socket.setSoTimeout(Patience.millis());
        return new String(socket.getInputStream().readNBytes(1), StandardCharsets.US_ASCII);
    }

    /** A listener of the JDK, for the lab to dial. */
    private static ServerSocket server() throws IOException {
        return closeLater(new ServerSocket(0, 50, ANY_PORT.getAddress()));
    }

    private static ServerSocketChannel channel() {
        try {
            var server = closeLater(ServerSocketChannel.open()).bind(ANY_PORT);
            server.configureBlocking(false);
            return server;
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    private static InetSocketAddress address(ServerSocket server) {
        return (InetSocketAddress) server.getLocalSocketAddress();
    }

    private static InetSocketAddress address(ServerSocketChannel server) {
        return address(server.socket());
    }

    private static String shown(InetSocketAddress address) {
        return address.getHostString().replace("localhost", "127.0.0.1") + ":" + address.getPort();
    }

    private static String shown(Duration time) {
        return time.compareTo(Duration.ofMinutes(1)) >= 0 ? time.toMinutes() + " min" : time.toNanos() / 1e6 + " ms";
    }

    private static InetSocketAddress loopback(int port) {
        return new InetSocketAddress(InetAddress.getLoopbackAddress(), port);
    }

    private static ListenAndDial.Dialed dialOne(InetSocketAddress to, Duration timeout) throws Exception {
        History.note("dialled " + shown(to) + ", timeout " + shown(timeout));
        var dialed = ListenAndDial.dialOne(to, timeout);
        closeLater(dialed.socket());
        return dialed;
    }

    private static void checkAttempt(InetSocketAddress to, ListenAndDial.Outcome outcome,
            ListenAndDial.Attempt attempt) {
        Check.equal(to, attempt.to(), "to() of the attempt", "the address that was dialled");
        Check.equal(outcome, attempt.outcome(), "outcome() of the attempt", "");
        Check.that(!attempt.took().isNegative() && !attempt.startedAfter().isNegative(),
                "times that are not negative, got " + attempt, "");
    }

    /** What the code throws, as its result. */
    private static Throwable thrownBy(Check.Code code) throws Exception {
        try {
            code.run();
        } catch (UnsupportedOperationException todo) {
            throw todo;
        } catch (Exception e) {
            return e;
        }
        throw History.fail("expected an exception, but nothing was thrown", "");
    }

    private static void checkInterrupted(PendingCall<Throwable> asked, String what) throws Exception {
        var thrown = Await.value(asked.outcome(), "that an interrupt ends " + what,
                "who waits is told by an InterruptedException: let it pass");
        Check.that(thrown instanceof InterruptedException, "an InterruptedException from " + what + ", got " + thrown,
                "an interrupted connect() fails with an IOException, and the thread is marked as interrupted");
    }

    private static <T> PendingCall<T> background(Callable<T> code) {
        return PendingCall.start(code);
    }

    /** On a virtual thread, which shows when it waits. */
    private static <T> PendingCall<T> waiting(Callable<T> code) throws InterruptedException {
        var asked = background(code);
        asked.awaitWaiting();
        return asked;
    }
}
