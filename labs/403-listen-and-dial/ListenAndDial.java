///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 403: listen and dial, and what each failure means

import module java.base;

/**
 * The two ways to open a TCP connection, and a client that tries every address
 * of a name.
 *
 * <p>The one idea: the kernel completes the handshake, not your program. A
 * client is connected before the server calls accept(), and the exception of a
 * failed connect tells who answered: the host, a router, your own machine, or
 * nobody.
 *
 * <p>Passive and active open: RFC 9293 section 3.9.1.1. The race of addresses:
 * Happy Eyeballs, RFC 8305, without its rules for DNS.
 */
public final class ListenAndDial {

    /** What RFC 8305 section 8 recommends between the starts of attempts. */
    public static final Duration STAGGER = Duration.ofMillis(250);

    private ListenAndDial() {}

    /**
     * A passive open. Clients can connect and write as soon as it is open;
     * until they are accepted they wait in the kernel's queue. One thread at a
     * time may accept; any thread may close.
     */
    public static final class Listener implements AutoCloseable {

        private final ServerSocket socket;

        private Listener(ServerSocket socket) {
            this.socket = socket;
        }

        /**
         * Listens.
         *
         * @param bind    where; port 0 takes any free port
         * @param backlog clients that may wait, at least 1; Linux lets one
         *                more in, and none beyond net.core.somaxconn
         * @throws BindException when the port is taken; nothing is left behind
         */
        public static Listener open(InetSocketAddress bind, int backlog)
                throws IOException {
            Objects.requireNonNull(bind, "bind");
            requireRange("backlog", backlog, 1, Integer.MAX_VALUE);
            throw new UnsupportedOperationException(
                    "TODO step 1: bind a ServerSocket to the address, with the backlog, and wrap it in a Listener");
        }

        /** Where it listens: the real port, also after {@code bind} 0. */
        public InetSocketAddress localAddress() {
            return (InetSocketAddress) socket.getLocalSocketAddress();
        }

        /**
         * Takes a client from the queue, the one that has waited longest. An
         * interrupt of a virtual thread that waits here closes the listener,
         * as {@link ServerSocket#accept} says; a platform thread waits on.
         *
         * @param timeout longest wait; zero waits for a millisecond at most
         * @return empty when no client came in time, or when {@link #close}
         *         ended the wait
         * @throws IOException if the listener was closed before the call
         */
        public Optional<Socket> accept(Duration timeout) throws IOException {
            requireNotNegative("timeout", timeout);
            if (socket.isClosed()) {
                throw new IOException("closed");
            }
            throw new UnsupportedOperationException(
                    "TODO step 1: a client, or empty: after the timeout, and when close() wakes accept()");
        }

        /**
         * How many clients wait to be accepted, as the kernel counts them;
         * empty where there is no /proc/net/tcp, and after {@link #close}.
         */
        public OptionalInt waiting() {
            return socket.isClosed()
                    ? OptionalInt.empty() : waitingAt(localAddress());
        }

        /**
         * Stops listening and wakes {@link #accept}. Linux resets the
         * connections that are still in the queue; accepted ones stay open.
         */
        @Override
        public void close() {
            closeQuietly(socket);
        }
    }

    /**
     * What a failure to connect means. The type decides, and the message (of
     * an English system) only where the type is not enough. Of an exception and
     * its causes the deepest one that is not OTHER decides.
     *
     * @return never CONNECTED; OTHER for what has no name here
     */
    public static Outcome classify(Throwable failure) {
        Objects.requireNonNull(failure, "failure");
        throw new UnsupportedOperationException(
                "TODO step 2: go through withCauses(failure): the outcome of the deepest one that has one; OTHER if none has");
    }

    /**
     * Connects to one address, without a thread of its own. An interrupt ends
     * it at once, on a platform thread and on a virtual one. Later, too: an
     * interrupt of a thread that is blocked in a read of this socket closes it,
     * because it belongs to a {@link SocketChannel}.
     *
     * @param timeout more than zero
     * @throws DialException with the one attempt
     */
    static Dialed dialOne(InetSocketAddress to, Duration timeout)
            throws DialException, InterruptedException {
        requireDialable(to, timeout);
        long start = System.nanoTime();
        try {
            // unlike new Socket(), a channel lets a platform thread be woken
            return connect(SocketChannel.open().socket(), to, timeout);
        } catch (DialException e) {
            throw e;
        } catch (IOException e) {   // no descriptor left for a socket
            throw new DialException(
                    Attempt.ended(to, Outcome.OTHER, start, e.getMessage()), e);
        }
    }

    /**
     * The attempt itself, recorded by {@link Attempt#ended}. If it throws, the
     * socket is closed.
     *
     * @param socket not connected; it may be bound to a local address
     * @throws InterruptedException if that is why connect() failed; the
     *         thread's interrupt status is cleared then
     */
    static Dialed connect(Socket socket, InetSocketAddress to,
            Duration timeout) throws DialException, InterruptedException {
        long start = System.nanoTime();
        throw new UnsupportedOperationException(
                "TODO step 3: connect within the timeout; what failed, or isSelf(), is closed and thrown");
    }

    /**
     * Reads the text of /proc/net/tcp or /proc/net/tcp6. Lines that are not
     * rows, such as the header, are ignored, whatever is wrong with them.
     *
     * @param kernelOrder the byte order of the kernel that wrote the text
     */
    public static List<Row> parse(String procNetTcp, ByteOrder kernelOrder) {
        Objects.requireNonNull(procNetTcp, "procNetTcp");
        Objects.requireNonNull(kernelOrder, "kernelOrder");
        throw new UnsupportedOperationException(
                "TODO step 4: split each line into Fields by fields(), and make a Row of them, if they are good");
    }

    /**
     * The TCP sockets of this machine, or of its network namespace, as the
     * kernel sees them now: the rows of /proc/net/tcp and of /proc/net/tcp6.
     * Empty where neither file exists.
     */
    public static Optional<List<Row>> table() {
        throw new UnsupportedOperationException(
                "TODO step 4: parse() what proc(\"tcp\") and proc(\"tcp6\") give; either may be missing");
    }

    /** For {@link Listener#waiting}. */
    private static OptionalInt waitingAt(InetSocketAddress listener) {
        throw new UnsupportedOperationException(
                "TODO step 4: find its row in the table(): there rxQueue is the number of clients that wait");
    }

    /**
     * The addresses in the order in which they are tried (RFC 8305 section 4):
     * the families alternate, beginning with that of the first address; within
     * a family the order stays.
     *
     * @return a new list of the same addresses
     */
    public static List<InetAddress> interleave(List<InetAddress> in) {
        Objects.requireNonNull(in, "in");
        throw new UnsupportedOperationException(
                "TODO step 5: split them by family, and take one of each in turn; the rest of the longer family follows");
    }

    /**
     * Connects to the first address of a name that accepts a connection.
     *
     * @param port    1 to 65535
     * @param timeout for all attempts together, more than zero; how long the
     *                resolver takes is not limited
     * @param stagger how long after an attempt the next one begins; zero begins
     *                all of them at once. RFC 8305 section 5 wants at least
     *                10 ms, and recommends {@link #STAGGER}
     * @return the connection; the caller closes it
     * @throws DialException if no address could be connected to in time, or if
     *         the name has none
     */
    public static Dialed dial(String host, int port, Duration timeout,
            Duration stagger, Resolver resolver)
            throws DialException, InterruptedException {
        Objects.requireNonNull(host, "host");
        requireRange("port", port, 1, 65_535);
        requirePositive("timeout", timeout);
        requireNotNegative("stagger", stagger);
        Objects.requireNonNull(resolver, "resolver");
        throw new UnsupportedOperationException(
                "TODO step 6: resolve the host, interleave() its addresses, and race() them; no address: unknownHost()");
    }

    /** How one address is connected to: {@link #dialOne}, but for tests. */
    @FunctionalInterface
    interface Connector {
        Dialed connect(InetSocketAddress to, Duration timeout)
                throws DialException, InterruptedException;
    }

    /**
     * Tries the addresses in their order: the next attempt begins when the
     * stagger is over, or at once when an attempt has failed. The first
     * connection wins. When this method returns or throws, no other attempt is
     * under way, and no other socket is open.
     *
     * @param to      at least one
     * @param timeout for all together, more than zero
     * @param stagger zero or more
     * @throws DialException with the attempts in the order of their ends
     */
    static Dialed race(List<InetSocketAddress> to, Duration timeout,
            Duration stagger, Connector connector)
            throws DialException, InterruptedException {
        to.forEach(address -> requireDialable(address, timeout));
        throw new UnsupportedOperationException(
                "TODO step 6: run an attempt() for each on virtual threads; the first to connect wins, the others are closed");
    }

    // ---- given from here on ----

    /**
     * One attempt of a race.
     *
     * @param startedAfter how long after the start of the race it begins
     */
    private static Dialed attempt(Connector connector, InetSocketAddress to,
            Duration timeout, Duration startedAfter)
            throws DialException, InterruptedException {
        try {
            var dialed = connector.connect(to, timeout);
            return new Dialed(dialed.socket(),
                    later(dialed.attempts(), startedAfter));
        } catch (DialException e) {
            throw new DialException(e.getMessage(),
                    later(e.attempts(), startedAfter), e.getCause());
        }
    }

    private static List<Attempt> later(List<Attempt> attempts, Duration by) {
        return attempts.stream().map(attempt -> attempt.later(by)).toList();
    }

    /** An exception and its causes, outermost first; a cycle ends. */
    private static Collection<Throwable> withCauses(Throwable failure) {
        var seen = Collections.newSetFromMap(
                new IdentityHashMap<Throwable, Boolean>());
        var causes = new ArrayList<Throwable>();
        for (var t = failure; t != null && seen.add(t); t = t.getCause()) {
            causes.add(t);
        }
        return causes;
    }

    /**
     * Whether a socket is connected to itself. That happens when the system
     * chooses the destination port as the source port: a simultaneous open
     * (RFC 9293 section 3.5) with one socket.
     */
    static boolean isSelf(Socket socket) {
        return socket.getLocalPort() == socket.getPort()
                && socket.getLocalAddress().equals(socket.getInetAddress());
    }

    /** A listener on the wildcard address may have it in either family. */
    private static boolean isSame(InetSocketAddress one,
            InetSocketAddress other) {
        return one.getPort() == other.getPort()
                && (one.getAddress().equals(other.getAddress())
                || one.getAddress().isAnyLocalAddress()
                && other.getAddress().isAnyLocalAddress());
    }

    /** The columns that a {@link Row} is made of, as text. */
    private record Fields(String local, String remote, String state,
            String queues, String inode) {}

    /** Empty where the line has fewer columns than a row. */
    private static Optional<Fields> fields(String line) {
        var columns = new StringTokenizer(line);
        var all = new String[10];
        for (int i = 0; i < all.length; i++) {
            if (!columns.hasMoreTokens()) {
                return Optional.empty();
            }
            all[i] = columns.nextToken();
        }
        return Optional.of(new Fields(all[1], all[2], all[3], all[4], all[9]));
    }

    /** All of /proc/net/NAME; empty where there is no such file. */
    private static Optional<String> proc(String name) {
        try {
            return Optional.of(Files.readString(Path.of("/proc/net", name)));
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    /** The states of a socket (RFC 9293 section 3.3.2), as Linux counts. */
    public enum TcpState {
        UNKNOWN, ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT1, FIN_WAIT2,
        TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING, NEW_SYN_RECV;

        /** 1 to 12, and 0 for UNKNOWN. */
        public int code() {
            return ordinal();
        }

        /** UNKNOWN for a code that has no name here. */
        public static TcpState of(int code) {
            return code > 0 && code < values().length
                    ? values()[code] : UNKNOWN;
        }
    }

    /**
     * A socket in the kernel's table. An IPv4 address that an IPv6 socket holds
     * as {@code ::ffff:a.b.c.d} is an Inet4Address here.
     *
     * @param txQueue bytes not yet acknowledged; 0 for a listener
     * @param rxQueue bytes not yet read; for a listener, clients that wait
     * @param inode   0 when no process has the socket open: it is not accepted
     *                yet, or closed already
     */
    public record Row(InetSocketAddress local, InetSocketAddress remote,
            TcpState state, long txQueue, long rxQueue, long inode) {}

    /**
     * How an attempt to connect ended, in the order of how far it got: of
     * several failed attempts, the first in this order tells most.
     */
    public enum Outcome {
        /** The connection is established. */
        CONNECTED,
        /** It was established, and the peer has reset it. */
        RESET,
        /** The host, or a firewall in its place, refused. */
        REFUSED,
        /** The socket was connected to itself, so no server listens there. */
        SELF_CONNECT,
        /** A router or this machine reported that it cannot reach the host. */
        HOST_UNREACHABLE,
        /** Nothing came back in time. */
        TIMED_OUT,
        /** There is no route to that network. */
        NETWORK_UNREACHABLE,
        /** The system does not let this program connect there. */
        DENIED,
        /** The local address is in use, or not one of this machine. */
        LOCAL_ADDRESS,
        /** The name has no address. */
        UNKNOWN_HOST,
        /** Anything else. */
        OTHER
    }

    /**
     * One attempt at one address.
     *
     * @param startedAfter since the race began
     * @param took         how long it took
     * @param detail       the message of the exception; empty when connected
     */
    public record Attempt(InetSocketAddress to, Outcome outcome,
            Duration startedAfter, Duration took, String detail)
            implements Serializable {

        /** An attempt that began at {@code start} and ends now. */
        private static Attempt ended(InetSocketAddress to, Outcome outcome,
                long start, String detail) {
            return new Attempt(to, outcome, Duration.ZERO,
                    Duration.ofNanos(System.nanoTime() - start),
                    String.valueOf(detail));
        }

        private Attempt later(Duration by) {
            return new Attempt(
                    to, outcome, startedAfter.plus(by), took, detail);
        }

        @Override
        public String toString() {
            return shown(to) + " " + outcome
                    + (detail.isEmpty() ? "" : " (" + detail + ")");
        }
    }

    /**
     * A connection.
     *
     * @param socket   the caller closes it
     * @param attempts those that had failed by then, and last the one that
     *                 connected; those still under way are not in the list
     */
    public record Dialed(Socket socket, List<Attempt> attempts) {
        public Dialed {
            attempts = List.copyOf(attempts);
        }

        /** The same with the attempts that had failed before. */
        private Dialed after(List<DialException> failures) {
            return new Dialed(socket, Stream.concat(
                    failures.stream().flatMap(e -> e.attempts().stream()),
                    attempts.stream()).toList());
        }
    }

    /** No address could be connected to. The message names every attempt. */
    public static final class DialException extends IOException {
        private static final long serialVersionUID = 1;

        private final Outcome outcome;
        private final Attempt[] attempts;   // a List is not Serializable

        private DialException(String message, List<Attempt> attempts,
                Throwable cause) {
            super(message, cause);
            this.attempts = attempts.toArray(Attempt[]::new);
            outcome = attempts.stream().map(Attempt::outcome)
                    .min(Comparator.naturalOrder())
                    .orElse(Outcome.UNKNOWN_HOST);
        }

        /** Of all attempts of a race, which become suppressed exceptions. */
        static DialException of(List<DialException> failures) {
            var all = failures.stream().flatMap(e -> e.attempts().stream())
                    .toList();
            var together = new DialException(all.stream()
                    .map(Attempt::toString).collect(Collectors.joining(", ")),
                    all, null);
            failures.forEach(together::addSuppressed);
            return together;
        }

        /** @param cause null where no exception was the reason */
        DialException(Attempt attempt, IOException cause) {
            this(attempt.toString(), List.of(attempt), cause);
        }

        /** @param cause null where the resolver returned an empty list */
        static DialException unknownHost(String host,
                UnknownHostException cause) {
            return new DialException(host + " " + Outcome.UNKNOWN_HOST,
                    List.of(), cause);
        }

        /** That of the attempt that got furthest. */
        public Outcome outcome() {
            return outcome;
        }

        /** In the order of their ends; empty if the name has no address. */
        public List<Attempt> attempts() {
            return List.of(attempts);
        }
    }

    /** Finds the addresses of a name. */
    @FunctionalInterface
    public interface Resolver {
        /** All of them, the preferred one first. */
        List<InetAddress> resolve(String host) throws UnknownHostException;

        /** The JDK's, which by default puts IPv4 addresses first. */
        static Resolver system() {
            return host -> List.of(InetAddress.getAllByName(host));
        }
    }

    private static void requireRange(String name, int value, int least,
            int most) {
        if (value < least || value > most) {
            throw new IllegalArgumentException(
                    "%s must be %d to %d, not %d"
                            .formatted(name, least, most, value));
        }
    }

    private static void requireNotNegative(String name, Duration value) {
        if (Objects.requireNonNull(value, name).isNegative()) {
            throw new IllegalArgumentException(
                    name + " must not be negative, not " + value);
        }
    }

    private static void requirePositive(String name, Duration value) {
        if (!Objects.requireNonNull(value, name).isPositive()) {
            throw new IllegalArgumentException(
                    name + " must be more than zero, not " + value);
        }
    }

    private static void requireDialable(InetSocketAddress to,
            Duration timeout) {
        requireRange("port", Objects.requireNonNull(to, "to").getPort(),
                1, 65_535);
        requirePositive("timeout", timeout);
    }

    /** Rounded up, so that only zero becomes 0; 24 days at most. */
    private static int millis(Duration time) {
        return (int) Math.min(Math.ceilDiv(nanos(time), 1_000_000L),
                Integer.MAX_VALUE);
    }

    /** Capped at Long.MAX_VALUE, 292 years. */
    private static long nanos(Duration time) {
        var most = Duration.ofNanos(Long.MAX_VALUE);
        return time.compareTo(most) < 0 ? time.toNanos() : Long.MAX_VALUE;
    }

    private static void closeQuietly(Closeable socket) {
        try {
            socket.close();
        } catch (IOException e) {
            // The descriptor is gone all the same: close() is not repeated.
        }
    }

    private static String shown(InetSocketAddress address) {
        if (address.isUnresolved()) {
            return address.getHostString() + ":" + address.getPort();
        }
        var host = address.getAddress().getHostAddress();
        return (host.contains(":") ? "[" + host + "]" : host)
                + ":" + address.getPort();
    }

    // The demo: a scene for each step, in their order.

    private static final List<String> STEPS = List.of("Open a listener",
            "Classify the failure", "Connect to one address",
            "Read the state table", "Interleave the addresses",
            "Race the addresses");
    private static final Duration SECOND = Duration.ofSeconds(1);

    /** No argument: the demo; {@code help} lists what else there is. */
    public static void main(String[] args) throws Exception {
        try {
            switch (String.join(" ", args)) {
                case "" -> demo();
                case String verb when verb.matches(
                        "listen (\\S+:)?\\d{1,5}( \\d{1,5})?") ->
                    stay(args[1], args.length < 3 ? "50" : args[2]);
                case String verb when verb.matches(
                        "dial \\S+:\\d{1,5}( --timeout \\d{1,5}ms)?") ->
                    diagnose(args[1], args.length < 4 ? "2000ms" : args[3]);
                default -> usage("""
                        lab-403                               the demo
                        lab-403 listen [HOST:]PORT [BACKLOG]  never accepts
                        lab-403 dial HOST:PORT [--timeout 2000ms]
                        lab-403 help                          this text""",
                        args);
            }
        } catch (UnsupportedOperationException todo) {
            next(todo);
        } catch (IllegalArgumentException wrong) {
            if (args.length == 0) {
                throw wrong;
            }
            System.err.println(wrong.getMessage());
            System.exit(2);
        }
    }

    private static void demo() throws Exception {
        IO.println("lab 403  Listen and dial");
        nobodyAccepts();
        show(2, "\"Connection refused\"", classify(
                new ConnectException("Connection refused")));
        show(2, "\"Network is unreachable\"", classify(
                new SocketException("Network is unreachable")));
        noAndNothing();
        fromListenToTimeWait();
        show(5, "IPv6, IPv6, IPv6, IPv4 become", interleave(
                addresses("::a", "::b", "::c", "0.0.0.4")).stream()
                .map(a -> a instanceof Inet4Address ? "IPv4" : "IPv6")
                .collect(Collectors.joining(", ")));
        firstIsDead();
        IO.println("\nall six steps work");
    }

    private static void nobodyAccepts() throws IOException {
        try (var listener = Listener.open(loopback(0), 2);
             var client = client(listener)) {
            IO.println();
            client.getOutputStream().write("hello".getBytes());
            client.shutdownOutput();
            show(1, "before accept()", "connected, hello sent");
            try (var accepted = listener.accept(SECOND).orElseThrow()) {
                show(1, "after accept()", new String(accepted
                        .getInputStream().readAllBytes()) + " is there");
            }
        }
    }

    private static void noAndNothing() throws Exception {
        var closed = Listener.open(loopback(0), 1);
        closed.close();
        show(3, "dial: no listener", dialled(closed.localAddress()));
        try (var full = Listener.open(loopback(0), 1)) {
            var waiting = List.of(client(full), client(full));
            show(3, "dial: the backlog is full", dialled(full.localAddress()));
            waiting.forEach(ListenAndDial::closeQuietly);
        }
    }

    private static String dialled(InetSocketAddress to) throws Exception {
        try (var socket = dialOne(to, Duration.ofMillis(200)).socket()) {
            return "CONNECTED to " + socket.getPort();
        } catch (DialException e) {
            return e.outcome() + after(e.attempts().getFirst());
        }
    }

    private static String after(Attempt attempt) {
        return " after %.1f ms".formatted(attempt.took().toNanos() / 1e6);
    }

    private static void fromListenToTimeWait() throws Exception {
        try (var listener = Listener.open(loopback(0), 1)) {
            var client = client(listener);
            showEnds("connected, not accepted", client, listener);
            var accepted = listener.accept(SECOND).orElseThrow();
            client.close();
            showEnds("the client has closed", client, listener);
            accepted.close();
            showEnds("the server has closed, too", client, listener);
        }
    }

    private static void showEnds(String when, Socket client, Listener listener)
            throws InterruptedException {
        Thread.sleep(20);   // FIN and its ACK take a moment
        var server = listener.localAddress();
        var port = loopback(client.getLocalPort());
        show(4, when, "client " + state(port, server)
                + ", server " + state(server, port));
    }

    private static String state(SocketAddress local, SocketAddress remote) {
        return table().map(rows -> rows.stream()
                .filter(row -> row.local().equals(local))
                .filter(row -> row.remote().equals(remote))
                .map(row -> row.state().name()).findFirst().orElse("gone"))
                .orElse("(not visible here)");
    }

    private static void firstIsDead() throws Exception {
        try (var listener = Listener.open(loopback(0), 1);
             var socket = dial("demo", listener.localAddress().getPort(),
                     SECOND, STAGGER, _ -> addresses("::1", "127.0.0.1"))
                     .socket()) {
            show(6, "::1 is dead, 127.0.0.1 is not", "connected to "
                    + socket.getInetAddress().getHostAddress());
        }
    }

    private static void stay(String where, String backlog) throws Exception {
        int colon = where.lastIndexOf(':');
        var bind = new InetSocketAddress(
                colon < 0 ? "127.0.0.1" : where.substring(0, colon),
                Integer.parseInt(where.substring(colon + 1)));
        try (var listener = Listener.open(bind, Integer.parseInt(backlog))) {
            IO.println("listening on " + shown(listener.localAddress())
                    + ", without accepting; Ctrl-C ends");
            Thread.currentThread().join();
        } catch (IOException e) {
            IO.println("cannot listen on " + where + ": " + e.getMessage());
            System.exit(1);
        }
    }

    private static void diagnose(String where, String timeout)
            throws InterruptedException {
        int colon = where.lastIndexOf(':');
        try {
            var dialed = dial(where.substring(0, colon),
                    Integer.parseInt(where.substring(colon + 1)),
                    Duration.ofMillis(Long.parseLong(
                            timeout.replace("ms", ""))),
                    STAGGER, Resolver.system());
            closeQuietly(dialed.socket());
            dialed.attempts().forEach(a -> IO.println(a + after(a)));
        } catch (DialException e) {
            e.attempts().forEach(a -> IO.println(a + after(a)));
            IO.println(switch (e.outcome()) {
                case REFUSED -> "the host, or a firewall in its place, refused";
                case TIMED_OUT -> "no answer came";
                case HOST_UNREACHABLE, NETWORK_UNREACHABLE ->
                    "a router or this machine reports: unreachable";
                case UNKNOWN_HOST -> "the name has no address";
                default -> "this machine did not connect";
            });
            System.exit(1);
        }
    }

    private static List<InetAddress> addresses(String... literals)
            throws UnknownHostException {
        var addresses = new ArrayList<InetAddress>();
        for (var literal : literals) {
            addresses.add(InetAddress.getByName(literal));
        }
        return addresses;
    }

    private static InetSocketAddress loopback(int port) {
        return new InetSocketAddress(InetAddress.getLoopbackAddress(), port);
    }

    private static Socket client(Listener listener) throws IOException {
        var to = listener.localAddress();
        return new Socket(to.getAddress(), to.getPort());
    }

    private static void show(int step, String what, Object seen) {
        IO.println("  %d  %-30s %s".formatted(step, what, seen));
    }

    private static void next(UnsupportedOperationException todo) {
        var text = String.valueOf(todo.getMessage());
        if (!text.matches("TODO step [1-6]: .*")) {
            throw todo;
        }
        int step = text.charAt("TODO step ".length()) - '0';
        var place = todo.getStackTrace()[0];
        IO.println("""

                next: step %d, %s
                  %s
                  %s, line %d
                  %s""".formatted(step, STEPS.get(step - 1),
                text, place.getFileName(), place.getLineNumber(),
                commands(step)));
    }

    /** What to type next; the workbook's launcher says how. */
    private static String commands(int step) {
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/ListenAndDial.java";
        return (isHere ? "" : "in a clone of the workbook:\n  ")
                + "check  %s test-403 %s".formatted(jbang, file).strip()
                + "\n  hint   %s hint 403 %d".formatted(jbang, step);
    }

    /** What was typed is wrong, unless it was help. */
    private static void usage(String text, String... typed) {
        var words = String.join(" ", typed);
        if (words.matches("-h|(--)?help")) {
            IO.println(text);
            return;
        }
        System.err.println("not understood: " + words + "\n" + text);
        System.exit(2);
    }
}
