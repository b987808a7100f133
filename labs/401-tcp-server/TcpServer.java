///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 401: a TCP server with a virtual thread for each client

import module java.base;

/**
 * A TCP server that holds ten thousand clients, and goes on serving when
 * things go wrong.
 *
 * <p>The one idea: plain blocking code on a virtual thread per client (JEP
 * 444). The rest keeps that idea alive: an accept loop that survives failures,
 * a cap on connections, time limits for slow peers, a shutdown that drains.
 *
 * <p>Thread-safe; only {@link Connection#in} and {@link Connection#out} belong
 * to the handler's own thread. TCP itself: RFC 9293.
 */
public final class TcpServer implements AutoCloseable {

    /**
     * Talks to one client, on a virtual thread of its own. The connection is
     * closed when it returns or throws.
     */
    @FunctionalInterface
    public interface Handler {
        /** Whatever it throws ends this one connection and is counted. */
        void handle(Connection connection) throws Exception;
    }

    private final ServerSocket listener;
    private final Handler handler;
    private final Options options;
    private final Counters counters = new Counters();
    private final Thread acceptor;

    private TcpServer(
            ServerSocket listening, Handler handler, Options options) {
        this.listener = Objects.requireNonNull(listening, "listening");
        this.handler = Objects.requireNonNull(handler, "handler");
        this.options = Objects.requireNonNull(options, "options");
        acceptor = Thread.ofPlatform().unstarted(this::acceptLoop);
        acceptor.setName("lab401-accept-" + listening.getLocalPort());
    }

    /**
     * Starts a server.
     *
     * @param bind where to listen; port 0 takes any free port
     * @throws BindException when the port is taken; nothing is left behind
     */
    public static TcpServer start(
            InetSocketAddress bind, Handler handler, Options options)
            throws IOException {
        Objects.requireNonNull(bind, "bind");
        Objects.requireNonNull(handler, "handler");
        Objects.requireNonNull(options, "options");
        throw new UnsupportedOperationException(
                "TODO step 1: bind a ServerSocket to the address, with the backlog, and start() on it");
    }

    /** Where the server listens: the real port, also after {@code bind} 0. */
    public InetSocketAddress localAddress() {
        throw new UnsupportedOperationException(
                "TODO step 1: ask the listener: only it knows the port that the system chose");
    }

    /** Frees the port. A thread in {@code accept()} gets a SocketException. */
    private void stopListening() {
        throw new UnsupportedOperationException(
                "TODO step 1: close the listener; whatever happens, nothing is thrown from here");
    }

    /**
     * The acceptor's whole life. For each client: {@link #awaitPlace}, accept,
     * {@link #admit}, {@link #serve}. A failed accept while the server runs
     * goes to {@link #backOff}.
     */
    private void acceptLoop() {
        throw new UnsupportedOperationException(
                "TODO step 2: accept clients while isRunning(), and end without a sound when that is over");
    }

    /** Lets {@link #converse} run beside the loop, which goes on at once. */
    private void serve(Socket socket) {
        throw new UnsupportedOperationException(
                "TODO step 2: make a Connection and a virtual thread that will converse(); enter() both; start");
    }

    /** One client, from its first byte to its last. */
    private void converse(Connection connection) {
        throw new UnsupportedOperationException(
                "TODO step 2: run the handler; whatever it throws has failed(); in any case close and leave()");
    }

    /**
     * A handler that sends each line back with its ASCII letters in upper case,
     * all other bytes as they came. A line ends with LF; a CR at its end is
     * dropped; the last one before the client's end needs no LF. The line
     * {@code QUIT} ends the conversation. A line of more than {@code maxLine}
     * bytes is answered {@code error: line too long}, and ends it too. While
     * the server drains, the line at hand is the last.
     *
     * @param maxLine in bytes, without the line end, at least 1; no line costs
     *                more memory than that
     */
    public static Handler lineService(int maxLine) {
        requireRange("maxLine", maxLine, 1, 1 << 30);
        throw new UnsupportedOperationException(
                "TODO step 3: for each line: read it, at most maxLine bytes of it, and write the answer");
    }

    /**
     * Called by the loop after {@code accept()} failed: most often the process
     * is out of descriptors, and only time can free some. The acceptor is
     * interrupted when the server closes.
     *
     * @param failuresInARow 1 for the first one after a success
     */
    private void backOff(int failuresInARow) {
        throw new UnsupportedOperationException(
                "TODO step 4: count it; wait 5 ms, twice as long after each failure in a row, at most 1 s");
    }

    /**
     * Called by the loop before each accept. With {@link OverCap#WAIT} it
     * returns when there is a place for one more client; the acceptor is
     * interrupted when the server closes.
     */
    private void awaitPlace() {
        // TODO step 5: with WAIT, return when a place is free; with REJECT, at once
    }

    /**
     * Called by the loop: whether this client is to be served. One that is not
     * gets its {@link #sayBusy} on a thread of its own, so that it cannot hold
     * up the loop; with 64 such {@code farewells} under way, {@link #abort}.
     */
    private boolean admit(Socket socket) {
        // TODO step 5: take a place: true; where none is free, count and reject the client: false
        return true;
    }

    /** Called once for each connection that has left. */
    private void giveBackPlace() {
        // TODO step 5: the place is free for the next client
    }

    /** Called for each connection before its handler reads. */
    private void limitReads(Socket socket) throws IOException {
        // TODO step 6: no single read may wait longer than idleTimeout
    }

    /** Called for each write of a handler; {@code to} is its connection. */
    private void write(Connection to, byte[] bytes, int offset, int length)
            throws IOException {
        var out = to.socket.getOutputStream();
        // TODO step 6: write pieces of at most 16 KiB; let cutStalled() see when each began
        out.write(bytes, offset, length);
    }

    /** Called by the watchdog, again and again. */
    private void cutStalled() {
        // TODO step 6: count and cut each live connection with a piece under way for writeStall
    }

    /**
     * The end of every shutdown; nobody is accepted any more.
     *
     * @return true when no handler had to be cut
     */
    private boolean finish(Duration grace) throws InterruptedException {
        // TODO step 7: wait for the handlers, at most the grace; cut() the rest, and wait for them
        cutAll();
        return true;
    }

    // ---- given from here on ----

    private static final Duration LAST_WORDS = Duration.ofSeconds(5);
    private static final Duration FAREWELL = Duration.ofSeconds(1);
    private static final int FAREWELLS_AT_ONCE = 64;

    private volatile boolean closing;            // set once, never taken back
    private final AtomicLong ids = new AtomicLong();
    private final Set<Socket> farewells = ConcurrentHashMap.newKeySet();
    private final CountDownLatch ended = new CountDownLatch(1);

    private final ReentrantLock lock = new ReentrantLock();
    private final Condition someoneLeft = lock.newCondition();
    private final Set<Connection> live = new HashSet<>();   // guarded by lock
    private int peak;                                       // guarded by lock
    private boolean someoneCut;                             // guarded by lock
    private boolean over;                                   // guarded by lock

    /** Serves on a socket that listens already; the server owns it now. */
    static TcpServer start(
            ServerSocket listening, Handler handler, Options options) {
        var server = new TcpServer(listening, handler, options);
        waitOnce();
        server.acceptor.start();
        if (!options.writeStall().isZero()) {
            Thread.ofVirtual().name("lab401-watchdog").start(server::watch);
        }
        return server;
    }

    /**
     * The first virtual thread that waits for a socket makes the JDK open
     * descriptors for its pollers. If none is free in that moment, no virtual
     * thread can ever wait for a socket in this process. So one waits here,
     * before any client can have taken the last descriptor.
     */
    private static void waitOnce() {
        CompletableFuture.runAsync(() -> {
            try (var nobody = new ServerSocket()) {
                nobody.bind(loopback(0));
                nobody.setSoTimeout(1);
                nobody.accept();
            } catch (IOException e) {
                // The timeout: it has waited.
            }
        }, Thread::startVirtualThread).join();
    }

    /** True as long as new clients are accepted. */
    public boolean isRunning() {
        return !closing && !listener.isClosed();
    }

    /** What the server has done so far, and does now. */
    public Stats stats() {
        lock.lock();
        try {
            return counters.stats(live.size(), peak);
        } finally {
            lock.unlock();
        }
    }

    /**
     * Stops accepting, waits for the handlers, at most {@code grace}, and cuts
     * the rest: their sockets are closed, their threads interrupted. Any thread
     * may call it, as often as it likes; the shortest grace of all callers
     * counts, and all get the same answer. A handler that calls it is neither
     * waited for nor cut by its own call.
     *
     * @param grace zero or more; zero cuts at once
     * @return true when nobody had to be cut
     * @throws InterruptedException if the caller is interrupted while it waits;
     *         the server then accepts nobody, and {@link #close} ends it
     */
    public boolean shutdown(Duration grace) throws InterruptedException {
        requireNotNegative("grace", grace);
        closing = true;                 // draining() is true from here on
        stopListening();
        acceptor.interrupt();           // ends its waits, but no accept()
        acceptor.join(LAST_WORDS);      // the port is not free before it is out
        endWatchdog();
        boolean nobodyCut = finish(grace);
        farewells.forEach(TcpServer::abort);
        return nobodyCut;
    }

    /**
     * Cuts everybody at once, and waits for their end at most 5 s. Any thread
     * may call it, a handler too, which is then neither cut nor waited for; a
     * second call finds nothing to do.
     */
    @Override
    public void close() {
        boolean interrupted = Thread.interrupted();   // it closes even so
        try {
            shutdown(Duration.ZERO);
        } catch (InterruptedException e) {
            cutAll();
            interrupted = true;
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /** From here on the connection is live: counted, and cut at the end. */
    private void enter(Connection connection, Thread thread) {
        lock.lock();
        try {
            connection.thread = thread;
            live.add(connection);
            peak = Math.max(peak, live.size());
            if (over) {
                cut(connection);   // it has come too late to be waited for
            }
        } finally {
            lock.unlock();
        }
    }

    /** Counts a handler that threw, unless the server itself was the cause. */
    private void failed(Connection connection) {
        if (!connection.isCut.get() && !connection.wentIdle) {
            counters.handlerFailures.increment();
        }
    }

    /** Once for each connection that entered, when all is done. */
    private void leave(Connection connection) {
        giveBackPlace();
        lock.lock();
        try {
            live.remove(connection);
            someoneLeft.signalAll();
            endWatchdog();
        } finally {
            lock.unlock();
        }
    }

    private List<Connection> live() {
        lock.lock();
        try {
            return List.copyOf(live);
        } finally {
            lock.unlock();
        }
    }

    /** Closes the socket and interrupts the handler; call it under the lock. */
    private void cut(Connection connection) {
        someoneCut = true;
        connection.markCut();
        connection.close();
        connection.thread.interrupt();
    }

    private void cutAll() {
        lock.lock();
        try {
            over = true;
            live.forEach(this::cut);
            someoneLeft.signalAll();
        } finally {
            lock.unlock();
        }
        farewells.forEach(TcpServer::abort);
        endWatchdog();
    }

    /** Nothing but a close from another thread ends a blocked write. */
    private void watch() {
        long tick = Math.clamp(nanos(options.writeStall()) / 8,
                1_000_000, 100_000_000);
        try {
            while (!ended.await(tick, TimeUnit.NANOSECONDS)) {
                cutStalled();
            }
        } catch (InterruptedException e) {
            throw new AssertionError("nobody interrupts the watchdog", e);
        }
    }

    private void endWatchdog() {
        lock.lock();
        try {
            if (closing && live.isEmpty()) {
                ended.countDown();
            }
        } finally {
            lock.unlock();
        }
    }

    /** Takes up to a second: never call it on the accept thread. */
    private void sayBusy(Socket socket) {
        try {
            socket.getOutputStream().write(utf8(options.busyMessage()));
            closePolitely(socket);
        } catch (IOException e) {
            abort(socket);   // the client did not wait for its answer
        } finally {
            farewells.remove(socket);
        }
    }

    /**
     * A close over unread input sends RST, which can destroy the last answer
     * on its way (RFC 9293 section 3.6.1). So: half-close, read on until the
     * client has closed too, for at most a second, and close then.
     */
    private static void closePolitely(Socket socket) throws IOException {
        try (socket) {
            socket.shutdownOutput();
            long end = System.nanoTime() + FAREWELL.toNanos();
            var bin = new byte[8 * 1024];
            long left = FAREWELL.toNanos();
            while (left > 0) {
                socket.setSoTimeout(millis(Duration.ofNanos(left)));
                if (socket.getInputStream().read(bin) == -1) {
                    return;
                }
                left = end - System.nanoTime();
            }
        }
    }

    /** Closes with RST: what is queued is dropped (RFC 9293 section 3.6). */
    private static void abort(Socket socket) {
        try (socket) {
            socket.setSoLinger(true, 0);
        } catch (IOException e) {
            // It is closed already, which is all we want.
        }
    }

    /** What happens to a client when {@code maxConnections} are served. */
    public enum OverCap {
        /** It is accepted, told the busy message, and closed. */
        REJECT,
        /** It waits in the kernel's backlog until there is a place. */
        WAIT
    }

    /**
     * The limits of a server.
     *
     * @param backlog        clients that the kernel holds until they are
     *                       accepted, at least 1; the system may hold fewer
     * @param maxConnections handlers at work at once, at least 1
     * @param overCap        what happens to one client more
     * @param busyMessage    what a rejected client is told, in UTF-8, at most
     *                       1024 bytes, so that telling it never blocks
     * @param idleTimeout    longest wait of one read; zero means no limit
     * @param writeStall     longest time in which a client may take nothing of
     *                       the 16 KiB at hand; zero means no limit
     * @param nanoClock      what the age of a write is measured with, in
     *                       nanoseconds; waits themselves take real time
     */
    public record Options(int backlog, int maxConnections, OverCap overCap,
            String busyMessage, Duration idleTimeout, Duration writeStall,
            LongSupplier nanoClock) {

        public Options {
            requireRange("backlog", backlog, 1, Integer.MAX_VALUE);
            requireRange("maxConnections", maxConnections, 1,
                    Integer.MAX_VALUE);
            Objects.requireNonNull(overCap, "overCap");
            Objects.requireNonNull(busyMessage, "busyMessage");
            requireRange("bytes of busyMessage \"" + busyMessage + "\"",
                    utf8(busyMessage).length, 0, 1024);
            requireNotNegative("idleTimeout", idleTimeout);
            requireNotNegative("writeStall", writeStall);
            Objects.requireNonNull(nanoClock, "nanoClock");
        }

        /** Ten thousand clients, 5 min for a read, 30 s for a write. */
        public static Options defaults() {
            return new Options(1024, 10_000, OverCap.REJECT, "busy\n",
                    Duration.ofMinutes(5), Duration.ofSeconds(30),
                    System::nanoTime);
        }

        /** The same with another backlog. */
        public Options withBacklog(int backlog) {
            return new Options(backlog, maxConnections, overCap, busyMessage,
                    idleTimeout, writeStall, nanoClock);
        }

        /** The same with another cap. */
        public Options withMaxConnections(int maxConnections) {
            return new Options(backlog, maxConnections, overCap, busyMessage,
                    idleTimeout, writeStall, nanoClock);
        }

        /** The same with another answer to one client too many. */
        public Options withOverCap(OverCap overCap) {
            return new Options(backlog, maxConnections, overCap, busyMessage,
                    idleTimeout, writeStall, nanoClock);
        }

        /** The same with another busy message. */
        public Options withBusyMessage(String busyMessage) {
            return new Options(backlog, maxConnections, overCap, busyMessage,
                    idleTimeout, writeStall, nanoClock);
        }

        /** The same with another limit for one read. */
        public Options withIdleTimeout(Duration idleTimeout) {
            return new Options(backlog, maxConnections, overCap, busyMessage,
                    idleTimeout, writeStall, nanoClock);
        }

        /** The same with another limit for a stalled write. */
        public Options withWriteStall(Duration writeStall) {
            return new Options(backlog, maxConnections, overCap, busyMessage,
                    idleTimeout, writeStall, nanoClock);
        }

        /** The same with another clock. */
        public Options withNanoClock(LongSupplier nanoClock) {
            return new Options(backlog, maxConnections, overCap, busyMessage,
                    idleTimeout, writeStall, nanoClock);
        }
    }

    /**
     * Exact while no connection comes or goes. {@code int}: now; {@code long}:
     * since the start.
     *
     * @param active          handlers at work
     * @param peak            most handlers at work at once
     * @param accepted        clients accepted, also those rejected afterwards
     * @param rejected        clients told the busy message, or aborted
     * @param acceptFailures  failed accepts; the close of the listener is none
     * @param handlerFailures handlers that threw, unless the server cut them
     * @param idleClosed      connections with a read longer than idleTimeout
     * @param stallClosed     connections cut because of a stalled write
     */
    public record Stats(int active, int peak, long accepted, long rejected,
            long acceptFailures, long handlerFailures, long idleClosed,
            long stallClosed) {}

    private static final class Counters {
        final LongAdder accepted = new LongAdder();
        final LongAdder rejected = new LongAdder();
        final LongAdder acceptFailures = new LongAdder();
        final LongAdder handlerFailures = new LongAdder();
        final LongAdder idleClosed = new LongAdder();
        final LongAdder stallClosed = new LongAdder();

        Stats stats(int active, int peak) {
            return new Stats(active, peak, accepted.sum(), rejected.sum(),
                    acceptFailures.sum(), handlerFailures.sum(),
                    idleClosed.sum(), stallClosed.sum());
        }
    }

    /**
     * One client. The streams are for the handler's thread, the rest for any.
     */
    public static final class Connection implements AutoCloseable {

        private final TcpServer server;
        private final Socket socket;
        private final long id;
        private final AtomicBoolean isCut = new AtomicBoolean();
        private boolean wentIdle;         // the handler's thread alone
        private Thread thread;            // guarded by the server's lock

        private Connection(TcpServer server, Socket socket) {
            this.server = server;
            this.socket = socket;
            this.id = server.ids.incrementAndGet();
        }

        /** Unique in its server; 1, 2, 3 … in the order of arrival. */
        public long id() {
            return id;
        }

        /** The client's address, also after the end. */
        public InetSocketAddress remoteAddress() {
            return (InetSocketAddress) socket.getRemoteSocketAddress();
        }

        /**
         * What the client sends. A read that waits longer than idleTimeout
         * throws SocketTimeoutException. Its close closes the connection.
         */
        public InputStream in() throws IOException {
            server.limitReads(socket);
            return new Input(socket.getInputStream());
        }

        /**
         * What the client gets, unbuffered. A write of which the client takes
         * nothing for writeStall cuts the connection and throws IOException.
         * Its close closes the connection.
         */
        public OutputStream out() throws IOException {
            socket.setTcpNoDelay(true);   // as Go: no answer waits for an ACK
            return new Output(socket.getOutputStream());
        }

        /** True once the server closes: finish the work at hand and return. */
        public boolean draining() {
            return server.closing;
        }

        /** Closes the socket; a handler blocked on it gets an IOException. */
        @Override
        public void close() {
            try {
                socket.close();
            } catch (IOException e) {
                // The descriptor is gone all the same: close() is not repeated.
            }
        }

        /** The server, not the handler, ends this. True for the first call. */
        private boolean markCut() {
            return isCut.compareAndSet(false, true);
        }

        private final class Input extends FilterInputStream {

            private Input(InputStream in) {
                super(in);
            }

            @Override
            public int read() throws IOException {
                var one = new byte[1];
                return read(one, 0, 1) == -1 ? -1 : one[0] & 0xff;
            }

            @Override
            public int read(byte[] bytes, int offset, int length)
                    throws IOException {
                try {
                    return in.read(bytes, offset, length);
                } catch (SocketTimeoutException e) {
                    if (!wentIdle) {
                        wentIdle = true;
                        server.counters.idleClosed.increment();
                    }
                    throw e;
                }
            }
        }

        private final class Output extends FilterOutputStream {

            private Output(OutputStream out) {
                super(out);
            }

            @Override
            public void write(int one) throws IOException {
                write(new byte[] {(byte) one}, 0, 1);
            }

            @Override
            public void write(byte[] bytes, int offset, int length)
                    throws IOException {
                Objects.checkFromIndexSize(offset, length, bytes.length);
                server.write(Connection.this, bytes, offset, length);
            }
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

    /** For setSoTimeout, where 0 is no limit: at least 1 ms for any other. */
    private static int millis(Duration limit) {
        long millis = Math.ceilDiv(nanos(limit), 1_000_000L);
        return (int) Math.min(millis, Integer.MAX_VALUE);
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Three centuries at most, for want of bits. */
    private static long nanos(Duration duration) {
        var most = Duration.ofNanos(Long.MAX_VALUE);
        return duration.compareTo(most) < 0
                ? duration.toNanos() : Long.MAX_VALUE;
    }

    // The demo: a scene for each step, in their order.

    private static final List<String> STEPS = List.of("Listen on a port",
            "Serve each client concurrently", "Answer line by line",
            "Survive failing accepts", "Cap the connections",
            "Cut off slow peers", "Drain and close");
    private static final int CROWD = 1000;
    private static volatile int scene;

    /** No argument: the demo; {@code serve [HOST:]PORT} until Ctrl-C. */
    public static void main(String[] args) throws Exception {
        Thread.setDefaultUncaughtExceptionHandler((t, e) -> died(e));
        switch (String.join(" ", args)) {
            case "" -> demo();
            case String verb when verb.matches("serve (\\S+:)?\\d{1,5}") ->
                stay(verb.substring("serve ".length()));
            default -> usage("""
                    lab-401                    the demo, step by step
                    lab-401 serve [HOST:]PORT  upper-cases lines until Ctrl-C
                    lab-401 help               this text""", args);
        }
    }

    private static void stay(String where) throws Exception {
        int colon = where.lastIndexOf(':');
        var host = colon < 0 ? "127.0.0.1" : where.substring(0, colon);
        int port = Integer.parseInt(where.substring(colon + 1));
        scene = STEPS.size();
        try (var probe = demoServer(c -> {}, Options.defaults());
             var client = client(probe)) {
            line(client);   // so that a TODO of step 1 or 2 is met first
        }
        try {
            var server = start(new InetSocketAddress(host, port),
                    lineService(8 * 1024), Options.defaults());
            Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                try {
                    server.shutdown(Duration.ofSeconds(5));
                } catch (InterruptedException e) {
                    server.close();
                }
            }));
            IO.println("listening on " + shown(server) + ", Ctrl-C ends");
            Thread.currentThread().join();
        } catch (IOException | IllegalArgumentException e) {
            IO.println("cannot listen on " + where + ": " + e.getMessage());
            System.exit(1);
        }
    }

    private static void demo() throws Exception {
        IO.println("lab 401  TCP server");
        listen();
        crowd();
        conversation();
        failingAccepts();
        oneTooMany();
        slowPeers();
        drain();
        IO.println("\nall seven steps at work");
    }

    private static void listen() throws IOException {
        scene = 1;
        try (var server = demoServer(c -> {}, Options.defaults())) {
            var address = shown(server);
            IO.println();
            show("listen on port 0", address, true);
        }
    }

    private static void crowd() throws Exception {
        scene = 2;
        var allHere = new CountDownLatch(CROWD);
        var clients = new ArrayList<Socket>();
        long start = System.nanoTime();
        try (var server = demoServer(connection -> {
            allHere.countDown();
            connection.in().read();
        }, Options.defaults())) {
            for (int i = 0; i < CROWD; i++) {
                clients.add(client(server));
            }
            boolean good = allHere.await(3, TimeUnit.SECONDS);
            show(CROWD + " clients at once", server.stats().active()
                    + " handlers at work after " + since(start), good);
        } finally {
            clients.forEach(TcpServer::abort);
        }
    }

    private static void conversation() throws IOException {
        scene = 3;
        var service = lineService(80);
        try (var server = demoServer(service, Options.defaults());
             var client = client(server)) {
            client.getOutputStream().write(utf8("hello\nQUIT\n"));
            var told = line(client) + ", then " + line(client);
            show("\"hello\", then \"QUIT\"", told,
                    told.equals("\"HELLO\", then the end"));
        }
    }

    private static void failingAccepts() throws Exception {
        scene = 4;
        var calls = Collections.synchronizedList(new ArrayList<Long>());
        var listening = new ServerSocket(0, 9, loopback(0).getAddress()) {
            @Override
            public Socket accept() throws IOException {
                calls.add(System.nanoTime());
                if (calls.size() <= 3) {
                    throw new IOException("Too many open files");
                }
                return super.accept();
            }
        };
        try (var server = start(listening, lineService(80), Options.defaults());
             var client = client(server)) {
            client.getOutputStream().write(utf8("hello\n"));
            boolean good = line(client).equals("\"HELLO\"");
            var pauses = IntStream.range(1, Math.min(calls.size(), 4))
                    .mapToObj(i -> calls.get(i) - calls.get(i - 1))
                    .map(nanos -> nanos / 1_000_000 + " ms").toList();
            show("accept() fails 3 times", (good ? "survived" : "not survived")
                    + ", with pauses of " + String.join(", ", pauses), good);
        }
    }

    private static void oneTooMany() throws IOException {
        scene = 5;
        var options = Options.defaults().withMaxConnections(2);
        try (var server = demoServer(c -> {
            c.out().write(utf8("welcome\n"));
            c.in().read();
        }, options); var first = client(server); var second = client(server);
             var third = client(server)) {
            var told = line(first) + ", " + line(second) + ", " + line(third);
            show("3 clients, a cap of 2", told, told.endsWith("\"busy\""));
        }
    }

    private static void slowPeers() throws Exception {
        scene = 6;
        var options = Options.defaults()
                .withIdleTimeout(Duration.ofMillis(100))
                .withWriteStall(Duration.ofMillis(200));
        try (var server = demoServer(connection -> {
            while (connection.in().read() != -1) {
                connection.out().write(new byte[64 * 1024 * 1024]);
            }
        }, options); var silent = client(server); var greedy = client(server)) {
            greedy.getOutputStream().write(1);
            var told = line(silent);
            for (int i = 0; i < 150 && told.equals("the end")
                    && server.stats().stallClosed() == 0; i++) {
                Thread.sleep(10);
            }
            var stats = server.stats();
            show("one silent, one not reading", "closed as idle: "
                    + stats.idleClosed() + ", as stalled: "
                    + stats.stallClosed(), told.equals("the end")
                    && stats.idleClosed() + stats.stallClosed() == 2);
        }
    }

    private static void drain() throws Exception {
        scene = 7;
        try (var server = demoServer(connection -> {
            connection.out().write(utf8("wait\n"));
            while (!connection.draining()) {
                Thread.sleep(1);
            }
            Thread.sleep(300);
            connection.out().write(utf8("done\n"));
        }, Options.defaults()); var client = client(server)) {
            line(client);
            long start = System.nanoTime();
            boolean nobodyCut = server.shutdown(Duration.ofSeconds(5));
            var told = line(client);
            show("shutdown, a client at work", "after " + since(start)
                    + (nobodyCut ? " nobody cut" : " somebody cut")
                    + ", it was told " + told, told.equals("\"done\""));
        }
    }

    private static TcpServer demoServer(Handler handler, Options options)
            throws IOException {
        return start(loopback(0), handler, options);
    }

    private static InetSocketAddress loopback(int port) {
        return new InetSocketAddress(InetAddress.getLoopbackAddress(), port);
    }

    private static Socket client(TcpServer server) throws IOException {
        var address = server.localAddress();
        var socket = new Socket(address.getAddress(), address.getPort());
        socket.setSoTimeout(1500);
        return socket;
    }

    private static String line(Socket client) {
        try {
            var line = new StringBuilder();
            int next = client.getInputStream().read();
            for (; next != '\n' && next != -1; ) {
                line.append((char) next);
                next = client.getInputStream().read();
            }
            return next == -1 ? "the end" : "\"" + line + "\"";
        } catch (IOException e) {
            return "nothing (" + e.getMessage() + ")";
        }
    }

    private static String shown(TcpServer server) {
        var address = server.localAddress();
        return address.getAddress().getHostAddress() + ":" + address.getPort();
    }

    private static String since(long start) {
        return (System.nanoTime() - start) / 1_000_000 + " ms";
    }

    private static void show(String what, String seen, boolean good) {
        IO.println("  %d  %-28s %s%s".formatted(scene, what, seen,
                good ? "" : "   <- step " + scene));
        if (!good) {
            next(scene, "search TcpServer.java for TODO step " + scene);
        }
    }

    /** On any thread. The TODO of a step whose scene is to come can wait. */
    private static void died(Throwable failure) {
        var todo = Pattern.compile("TODO step (\\d+): .*")
                .matcher(String.valueOf(failure.getMessage()));
        if (!todo.matches()) {
            failure.printStackTrace();
        } else if (Integer.parseInt(todo.group(1)) <= scene) {
            var place = failure.getStackTrace()[0];
            next(Integer.parseInt(todo.group(1)), "%s\n  %s, line %d".formatted(
                    todo.group(), place.getFileName(), place.getLineNumber()));
        }
    }

    private static synchronized void next(int step, String where) {
        IO.println("""

                next: step %d, %s
                  %s
                  %s""".formatted(
                step, STEPS.get(step - 1), where, commands(step)));
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    /** What to type next; the workbook's launcher says how. */
    private static String commands(int step) {
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/TcpServer.java";
        return (isHere ? "" : "in a clone of the workbook:\n  ")
                + "check  %s test-401 %s".formatted(jbang, file).strip()
                + "\n  hint   %s hint 401 %d".formatted(jbang, step);
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
