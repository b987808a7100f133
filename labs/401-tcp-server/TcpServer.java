///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 401: a TCP server with a virtual thread for each client

import module java.base;

/**
 * A TCP server that holds ten thousand connections, and keeps serving when
 * {@code accept()} fails, when clients are slow, and while it shuts down.
 *
 * <p>The one idea: each client gets a virtual thread of its own, and that
 * thread runs plain blocking code (JEP 444). TCP itself: RFC 9293.
 *
 * <p>Thread-safe, except that {@link Connection#in} and {@link Connection#out}
 * are for the handler's thread.
 */
public final class TcpServer implements AutoCloseable {

    /**
     * Talks to one client, on a virtual thread of its own. The server closes
     * the connection when the handler returns or throws.
     */
    @FunctionalInterface
    public interface Handler {
        /** An exception or an Error ends this connection only. */
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
     * @throws BindException if the port is taken; no socket stays open
     */
    public static TcpServer start(
            InetSocketAddress bind, Handler handler, Options options)
            throws IOException {
        Objects.requireNonNull(bind, "bind");
        Objects.requireNonNull(handler, "handler");
        Objects.requireNonNull(options, "options");
        throw new UnsupportedOperationException(
                "TODO step 1: bind a ServerSocket to the address, with options.backlog(), and start() on it");
    }

    /**
     * Where the server listens, with the real port if it asked for port 0; also
     * after it is closed.
     */
    public InetSocketAddress localAddress() {
        throw new UnsupportedOperationException(
                "TODO step 1: ask the listener: only it knows the port that the system chose");
    }

    /** Frees the port. A thread in {@code accept()} gets a SocketException. */
    private void stopListening() {
        throw new UnsupportedOperationException(
                "TODO step 1: close the listener, and throw nothing");
    }

    /**
     * The accept thread runs this. For each client it calls
     * {@link #awaitPermit}, {@code accept()}, {@link #admit} and, if that
     * returns true, {@link #serve}. Whatever any of these throws while the
     * server runs, an Error included, goes to {@link #backOff}; then the loop
     * continues.
     */
    private void acceptLoop() {
        throw new UnsupportedOperationException(
                "TODO step 2: while isRunning(): accept, count it in counters.accepted, admit(), serve()");
    }

    /**
     * Starts {@link #runHandler} on a thread of its own, and returns. If the
     * thread cannot be started, the client is closed and leaves.
     */
    private void serve(Socket socket) {
        throw new UnsupportedOperationException(
                "TODO step 2: make a Connection and a virtual thread for runHandler(); enter() both; start it");
    }

    /** Serves one client from the first byte to the close. */
    private void runHandler(Connection connection) {
        throw new UnsupportedOperationException(
                "TODO step 2: call the handler; countFailure() of all that it throws; always close, then leave()");
    }

    /**
     * A handler that sends each line back, with its ASCII letters in upper case
     * and all other bytes unchanged. A line ends with LF; the last one may end
     * with the end of stream instead. A CR at the end of a line is dropped. The
     * line {@code QUIT} closes the connection. A line of more than
     * {@code maxLine} bytes is answered with {@code error: line too long}, LF
     * and a {@link #lingeringClose}. While the server is {@link
     * Connection#draining draining}, the current line is the last.
     *
     * <p>The line end, LF or CR LF, does not count: with a {@code maxLine} of
     * 5, {@code abcde} CR LF is a line. A CR as the sixth byte decides nothing
     * yet. Any other sixth byte, or a byte other than LF after that CR, is
     * answered with the error at once.
     *
     * @param maxLine in bytes, without the line end, at least 1; the handler
     *                stores at most this much of a line, and a CR
     */
    public static Handler lineService(int maxLine) {
        require(maxLine >= 1 && maxLine <= 1 << 30, "maxLine", maxLine);
        throw new UnsupportedOperationException(
                "TODO step 3: return a handler: read a line of at most maxLine bytes, write the answer, again");
    }

    /**
     * The loop calls this when {@code accept()} has failed, most often because
     * the process has no file descriptor left. It counts the failure in
     * {@code counters.acceptFailures} and waits. {@code close()} interrupts the
     * accept thread, and the wait ends at once.
     *
     * @param failures how many calls have failed in a row, at least 1; there
     *                 may be thousands, and each wait is 1 s then
     */
    private void backOff(int failures) {
        throw new UnsupportedOperationException(
                "TODO step 4: count the failure; sleep on options.timing(): 5 ms, 10, 20, ... at most 1 s");
    }

    /**
     * The loop calls this before each {@code accept()}. {@code close()}
     * interrupts the accept thread, and the wait ends at once.
     */
    private void awaitPermit() {
        // TODO step 5: with WAIT, return when a permit is free, or when interrupted; else at once
    }

    /** The loop calls this for each client; true means: serve it. */
    private boolean admit(Socket socket) {
        // TODO step 5: acquire a permit: true; if none is free, reject() the client: false
        return true;
    }

    /** {@link #leave} calls this once for each connection. */
    private void releasePermit() {
        // TODO step 5: release the permit of one connection
    }

    /**
     * Counts the client in {@code counters.rejected} and disconnects it.
     * {@link #sayBusy} takes up to a second, so it needs a virtual thread of
     * its own; while 64 are at it, further clients are aborted.
     */
    private void reject(Socket socket) {
        // TODO step 5: count it; add it to lingering and sayBusy() on a thread; from 64 on, abort() it
    }

    /** Called before a handler reads from its connection. */
    private void limitReads(Socket socket) throws IOException {
        // TODO step 6: a read that waits longer than idleTimeout must throw; use millis()
    }

    /**
     * Called for each write of a handler. A field that you add to
     * {@link Connection} tells {@link #cutStalled} when the current piece
     * began; it needs a value for «no write» that is no time, not 0.
     */
    private void write(Connection to, byte[] bytes, int offset, int length)
            throws IOException {
        var out = to.socket.getOutputStream();
        // TODO step 6: write pieces of at most 16 KiB; note when each begins, until it has ended
        out.write(bytes, offset, length);
    }

    /**
     * The watchdog thread calls this several times in each writeStall. It
     * counts in {@code counters.stallClosed} whom it cuts, and {@code isCut}
     * makes sure that each connection is cut and counted once.
     */
    private void cutStalled() {
        // TODO step 6: set isCut, count and abort() each live connection whose piece is writeStall old
    }

    /**
     * The last part of every shutdown: no client is accepted any more. After
     * the cut, it waits for the handlers again, for at most AFTER_CUT. While it
     * waits, handlers leave: wait() gives up the monitor, join() does not.
     *
     * @return true if no handler has been cut, by this call or another
     */
    private synchronized boolean drain(Duration grace)
            throws InterruptedException {
        // TODO step 7: closeIdle(); wait for the handlers, at most the grace; cut() the rest; wait again
        live.forEach(this::cut);
        return true;
    }

    // ---- given from here on ----

    private static final Duration AFTER_CUT = Duration.ofSeconds(5);
    private static final Duration LINGER = Duration.ofSeconds(1);
    private static final int MOST_LINGERING = 64;
    private static boolean hasWaited;            // guarded by the class

    private volatile boolean closing;            // never false again
    private final AtomicLong ids = new AtomicLong();
    private final Set<Socket> lingering = ConcurrentHashMap.newKeySet();
    private final Set<Connection> live = ConcurrentHashMap.newKeySet();
    private volatile Thread watchdog;
    private volatile int peak;                   // written under this lock
    private boolean someoneCut;                  // guarded by this

    /** Serves on a socket that listens already; the server closes it. */
    static TcpServer start(
            ServerSocket listening, Handler handler, Options options) {
        var server = new TcpServer(listening, handler, options);
        waitOnce();
        server.acceptor.start();
        if (!options.writeStall().isZero()) {
            server.watchdog = Thread.ofVirtual().name("lab401-watchdog")
                    .start(server::watch);
        }
        return server;
    }

    /**
     * The first virtual thread that waits for a socket makes the JDK open the
     * descriptors of its pollers. If none is free at that moment, no virtual
     * thread can wait for a socket for the rest of the process's life. So one
     * waits here, before clients can have taken all descriptors.
     */
    private static synchronized void waitOnce() {
        if (hasWaited) {
            return;
        }
        CompletableFuture.runAsync(() -> {
            try (var unused = new ServerSocket(0, 1, ANY_PORT.getAddress())) {
                unused.setSoTimeout(1);
                unused.accept();
            } catch (IOException e) {
                // The timeout: the thread has waited.
            }
        }, Thread::startVirtualThread).join();
        hasWaited = true;
    }

    /** True as long as the server accepts clients. */
    public boolean isRunning() {
        return !closing && !listener.isClosed();
    }

    /** What the server has done so far, and does now. */
    public Stats stats() {
        return new Stats(live.size(), peak, counters.accepted.sum(),
                counters.rejected.sum(), counters.acceptFailures.sum(),
                counters.handlerFailures.sum(), counters.idleClosed.sum(),
                counters.stallClosed.sum());
    }

    /**
     * Drains the server. It stops accepting, and {@link Connection#draining}
     * becomes true. An idle connection, whose handler waits for the first byte
     * of a request, ends at once: the handler's read throws an IOException. All
     * other handlers get the time {@code grace} to return. Those that have not
     * returned then are cut: their sockets are closed, their threads
     * interrupted, and this method waits for them for at most 5 s.
     *
     * <p>Any thread may call this, at any time and repeatedly. Of several
     * callers, the shortest grace counts, and all wait for the end. A handler
     * may call it, too; this call then neither awaits nor cuts that handler or
     * another one that has called it. A later call from elsewhere does.
     *
     * @param grace zero or more; zero cuts at once
     * @return true if no handler has been cut so far
     * @throws InterruptedException if the caller is interrupted while it waits;
     *         the server then accepts no one, and {@link #close} ends the rest
     */
    public boolean shutdown(Duration grace) throws InterruptedException {
        requireNotNegative("grace", grace);
        closing = true;                 // draining() is true from here on
        stopListening();
        acceptor.interrupt();           // ends its waits, but not accept()
        acceptor.join(AFTER_CUT);       // a thread in accept() holds the port
        LockSupport.unpark(watchdog);
        try {
            return drain(grace);
        } finally {
            lingering.forEach(TcpServer::abort);
        }
    }

    /**
     * Cuts all connections at once, and waits for their handlers for at most
     * 5 s. Any thread may call it; of a handler that does, the same is true as
     * for {@link #shutdown}. To close a closed server has no effect.
     */
    @Override
    public void close() {
        boolean interrupted = Thread.interrupted();
        try {
            shutdown(Duration.ZERO);
        } catch (InterruptedException e) {
            close();   // nothing keeps it from closing
            interrupted = true;
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    /** From here on the connection is active, and a shutdown sees it. */
    private synchronized void enter(Connection connection, Thread thread) {
        connection.thread = thread;
        if (!connection.hasLeft) {   // else its thread was started before
            peak = Math.max(peak, live.size() + 1);
            live.add(connection);
        }
    }

    /** For a connection whose handler has ended and whose socket is closed. */
    private synchronized void leave(Connection connection) {
        if (!connection.hasLeft) {
            connection.hasLeft = true;
            live.remove(connection);
            releasePermit();
            notifyAll();
            LockSupport.unpark(watchdog);
        }
    }

    /** Counts what a handler threw, unless the server is the cause. */
    private void countFailure(Connection connection, Throwable failure) {
        boolean causedByServer = connection.isCut.get()
                || Stream.iterate(failure, c -> c != null, Throwable::getCause)
                        .limit(10).anyMatch(c -> c == connection.thrownByRead);
        if (!causedByServer) {
            counters.handlerFailures.increment();
        }
    }

    /** Closes the socket and interrupts the handler. */
    private synchronized void cut(Connection connection) {
        someoneCut = true;
        connection.isCut.set(true);
        connection.close();
        connection.thread.interrupt();
        notifyAll();   // no caller of shutdown() waits for its grace any more
    }

    /** Ends the reads of idle connections; a later idle read ends itself. */
    private void closeIdle() {
        for (var connection : live) {
            if (connection.idle) {
                connection.closedIdle = true;
                try {
                    connection.socket.shutdownInput();   // read() returns -1
                } catch (IOException e) {
                    // The client was faster.
                }
            }
        }
    }

    /** Only a close by another thread ends a blocked write. */
    private void watch() {
        long tick = Math.clamp(nanos(options.writeStall()) / 8,
                1_000_000, 100_000_000);
        while (!closing || !live.isEmpty()) {
            cutStalled();
            LockSupport.parkNanos(tick);
        }
    }

    /** Takes up to a second. */
    private void sayBusy(Socket socket) {
        try {
            socket.getOutputStream().write(utf8(options.busyMessage()));
            lingeringClose(socket);
        } catch (IOException e) {
            abort(socket);   // the client has not waited for the message
        } finally {
            lingering.remove(socket);
        }
    }

    /**
     * Closes the sending side, reads until the client has closed its own, for
     * at most a second, and then closes the socket. A plain close while input
     * is unread sends a reset, which can destroy what was written last (RFC
     * 9293 section 3.6.1, RFC 9112 section 9.6).
     */
    private static void lingeringClose(Socket socket) {
        long end = System.nanoTime() + LINGER.toNanos();
        try (socket) {
            socket.shutdownOutput();
            var ignored = new byte[8 * 1024];
            do {
                long left = Math.max(end - System.nanoTime(), 1);
                socket.setSoTimeout(millis(Duration.ofNanos(left)));
            } while (socket.getInputStream().read(ignored) != -1
                    && System.nanoTime() - end < 0);
        } catch (IOException e) {
            // The client has stayed for a second, or has reset the connection.
        }
    }

    /** Closes with a reset; queued data is dropped (RFC 9293, 3.10.5). */
    private static void abort(Socket socket) {
        try (socket) {
            socket.setSoLinger(true, 0);
        } catch (IOException e) {
            // It is closed already.
        }
    }

    /** What happens to a client beyond {@code maxConnections}. */
    public enum OverCap {
        /** It is accepted, reads the busy message, and is disconnected. */
        REJECT,
        /** It waits in the kernel's backlog until a permit is free. */
        WAIT
    }

    /** A clock, and the sleep that goes with it; by default, the real ones. */
    public interface Timing {

        /**
         * As {@link System#nanoTime}: it may be negative or 0, and only
         * differences mean anything. Write {@code now - began >= limit}: the
         * sum in {@code began + limit <= now} can overflow.
         */
        default long nanoTime() {
            return System.nanoTime();
        }

        /**
         * Returns when this clock, {@link #nanoTime}, has come so far; at once,
         * if it has.
         */
        default void sleepUntil(long nanoTime) throws InterruptedException {
            TimeUnit.NANOSECONDS.sleep(nanoTime - System.nanoTime());
        }
    }

    /**
     * The limits of a server.
     *
     * @param backlog        connections that the kernel holds until they are
     *                       accepted, at least 1; the system may hold fewer
     * @param maxConnections handlers at work at the same time, at least 1
     * @param overCap        what happens to a client beyond that
     * @param busyMessage    what a rejected client reads, in UTF-8, at most
     *                       1024 bytes, so that the write cannot block
     * @param idleTimeout    longest wait of one read; zero means no limit
     * @param writeStall     longest time in which a client may take nothing of
     *                       the current 16 KiB; zero means no limit
     * @param sendBuffer     bytes that the kernel may queue for a client
     *                       (SO_SNDBUF); zero leaves it to the system. Linux
     *                       resumes a blocked write when about a third of the
     *                       buffer is free, so that much must be read in each
     *                       writeStall: with the default, 256 KiB are enough
     * @param timing         for the pauses after failed accepts and the age of
     *                       writes; all other waits take real time
     */
    public record Options(int backlog, int maxConnections, OverCap overCap,
            String busyMessage, Duration idleTimeout, Duration writeStall,
            int sendBuffer, Timing timing) {

        public Options {
            Objects.requireNonNull(overCap, "overCap");
            Objects.requireNonNull(busyMessage, "busyMessage");
            Objects.requireNonNull(timing, "timing");
            require(backlog >= 1, "backlog", backlog);
            require(maxConnections >= 1, "maxConnections", maxConnections);
            int bytes = utf8(busyMessage).length;
            require(bytes <= 1024, "the length of busyMessage", bytes);
            requireNotNegative("idleTimeout", idleTimeout);
            requireNotNegative("writeStall", writeStall);
            require(sendBuffer >= 0, "sendBuffer", sendBuffer);
        }

        /** Ten thousand clients, 5 min for a read, 30 s for 16 KiB. */
        public static Options defaults() {
            return new Options(1024, 10_000, OverCap.REJECT, "busy\n",
                    Duration.ofMinutes(5), Duration.ofSeconds(30),
                    256 * 1024, new Timing() {});
        }

        /** The same with another backlog. */
        public Options withBacklog(int backlog) {
            return new Options(backlog, maxConnections, overCap, busyMessage,
                    idleTimeout, writeStall, sendBuffer, timing);
        }

        /** The same with another maxConnections. */
        public Options withMaxConnections(int maxConnections) {
            return new Options(backlog, maxConnections, overCap, busyMessage,
                    idleTimeout, writeStall, sendBuffer, timing);
        }

        /** The same with another overCap. */
        public Options withOverCap(OverCap overCap) {
            return new Options(backlog, maxConnections, overCap, busyMessage,
                    idleTimeout, writeStall, sendBuffer, timing);
        }

        /** The same with another busyMessage. */
        public Options withBusyMessage(String busyMessage) {
            return new Options(backlog, maxConnections, overCap, busyMessage,
                    idleTimeout, writeStall, sendBuffer, timing);
        }

        /** The same with another idleTimeout. */
        public Options withIdleTimeout(Duration idleTimeout) {
            return new Options(backlog, maxConnections, overCap, busyMessage,
                    idleTimeout, writeStall, sendBuffer, timing);
        }

        /** The same with another writeStall. */
        public Options withWriteStall(Duration writeStall) {
            return new Options(backlog, maxConnections, overCap, busyMessage,
                    idleTimeout, writeStall, sendBuffer, timing);
        }

        /** The same with another sendBuffer. */
        public Options withSendBuffer(int sendBuffer) {
            return new Options(backlog, maxConnections, overCap, busyMessage,
                    idleTimeout, writeStall, sendBuffer, timing);
        }

        /** The same with another timing. */
        public Options withTiming(Timing timing) {
            return new Options(backlog, maxConnections, overCap, busyMessage,
                    idleTimeout, writeStall, sendBuffer, timing);
        }
    }

    /**
     * Exact while no connection comes or goes. {@code int}: now; {@code long}:
     * since the start.
     *
     * @param active          connections being served
     * @param peak            the highest value of active so far
     * @param accepted        clients accepted, including those rejected later
     * @param rejected        clients beyond maxConnections, with REJECT
     * @param acceptFailures  calls of accept() that failed; those that failed
     *                        because the listener was closed do not count
     * @param handlerFailures handlers that threw something, unless the server
     *                        had cut the connection or ended the read
     * @param idleClosed      connections in which a read exceeded idleTimeout
     * @param stallClosed     connections cut because a write stalled
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
    }

    /**
     * One client. The streams are for the handler's thread, the rest for any.
     */
    public static final class Connection implements AutoCloseable {

        private final TcpServer server;
        private final Socket socket;
        private final long id;
        private final AtomicBoolean isCut = new AtomicBoolean();
        private Thread thread;            // guarded by the server
        private boolean hasLeft;          // guarded by the server
        private OutputStream out;         // these three: the handler's thread
        private boolean inRequest;        // bytes have come since a write
        private IOException thrownByRead;
        private volatile boolean idle;    // in a read, and not inRequest
        private volatile boolean closedIdle;

        private Connection(TcpServer server, Socket socket) {
            this.server = server;
            this.socket = socket;
            this.id = server.ids.incrementAndGet();
        }

        /** Unique in its server: 1, 2, 3 … in the order of arrival. */
        public long id() {
            return id;
        }

        /** The client's address, also after the connection is closed. */
        public InetSocketAddress remoteAddress() {
            return (InetSocketAddress) socket.getRemoteSocketAddress();
        }

        /**
         * What the client sends. A read that waits longer than idleTimeout
         * throws SocketTimeoutException, and the handler may read again. While
         * the server drains, a read throws IOException if it has to wait and
         * nothing has come in since the last write. To close the stream is to
         * close the connection.
         */
        public InputStream in() throws IOException {
            server.limitReads(socket);
            return new Input(socket.getInputStream());
        }

        /**
         * What is sent to the client, unbuffered. A write of which the client
         * takes nothing for writeStall throws IOException, and the connection
         * is cut. To close the stream is to close the connection.
         */
        public OutputStream out() throws IOException {
            if (out == null) {
                socket.setTcpNoDelay(true);   // no answer waits for an ACK
                if (server.options.sendBuffer() > 0) {
                    socket.setSendBufferSize(server.options.sendBuffer());
                }
                out = new Output(socket.getOutputStream());
            }
            return out;
        }

        /** True once the server shuts down: finish this request and return. */
        public boolean draining() {
            return server.closing;
        }

        /** Closes the socket; a handler blocked on it gets an IOException. */
        @Override
        public void close() {
            try {
                socket.close();
            } catch (IOException e) {
                // The descriptor is released even if close() reports an error.
            }
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
                idle = !inRequest;   // then look at closing: see closeIdle()
                try {
                    boolean end = idle && server.closing
                            && in.available() == 0;
                    int count = end ? -1 : in.read(bytes, offset, length);
                    if (end || closedIdle && count == -1) {
                        thrownByRead = new IOException("the server is closing");
                        throw thrownByRead;
                    }
                    inRequest |= count > 0;
                    return count;
                } catch (SocketTimeoutException e) {
                    if (thrownByRead == null) {
                        server.counters.idleClosed.increment();
                    }
                    thrownByRead = e;
                    throw e;
                } finally {
                    idle = false;
                }
            }

            @Override
            public long skip(long count) throws IOException {
                return readNBytes(Math.clamp(count, 0, 8192)).length;
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
                inRequest = false;
                server.write(Connection.this, bytes, offset, length);
            }
        }
    }

    private static void require(boolean valid, String name, Object value) {
        if (!valid) {
            throw new IllegalArgumentException(name + " cannot be " + value);
        }
    }

    private static void requireNotNegative(String name, Duration value) {
        Objects.requireNonNull(value, name);
        require(!value.isNegative(), name, value);
    }

    /** For setSoTimeout, where 0 is no limit: at least 1 ms for any other. */
    private static int millis(Duration limit) {
        return (int) Math.min(Math.ceilDiv(nanos(limit), 1_000_000L),
                Integer.MAX_VALUE);
    }

    /** At most Long.MAX_VALUE, which is 292 years. */
    private static long nanos(Duration duration) {
        return TimeUnit.NANOSECONDS.convert(duration);
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    // The demo: one scene for each step.

    private static final List<String> STEPS = List.of("Listen on a port",
            "Serve each client concurrently", "Answer line by line",
            "Survive failing accepts", "Cap the connections",
            "Cut off slow peers", "Drain and close");
    private static final InetSocketAddress ANY_PORT =
            new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
    private static volatile int scene = 1;

    /** No argument: the demo; {@code serve [HOST:]PORT} until Ctrl-C. */
    public static void main(String[] args) throws Exception {
        Thread.setDefaultUncaughtExceptionHandler((t, e) -> died(e));
        switch (String.join(" ", args)) {
            case "" -> demo(Options.defaults());
            case String verb when verb.matches("serve (\\S+:)?\\d{1,5}") ->
                serve(verb.substring("serve ".length()));
            default -> usage("""
                    lab-401                    the demo, step by step
                    lab-401 serve [HOST:]PORT  answers lines until Ctrl-C
                    lab-401 help               this text""", args);
        }
    }

    private static void serve(String where) throws Exception {
        int colon = where.lastIndexOf(':');
        var host = where.substring(0, Math.max(colon, 0));
        int port = Integer.parseInt(where.substring(colon + 1));
        scene = STEPS.size();
        try (var probe = start(ANY_PORT, c -> {}, Options.defaults())) {
            line(client(probe, ""));   // meets a TODO of step 1 or 2 first
        }
        try {
            var server = start(new InetSocketAddress(
                    host.isEmpty() ? "127.0.0.1" : host, port),
                    lineService(8 * 1024), Options.defaults());
            Runtime.getRuntime().addShutdownHook(new Thread(server::close));
            IO.println("listening on " + shown(server) + ", Ctrl-C ends");
            Thread.currentThread().join();
        } catch (IOException | IllegalArgumentException e) {
            IO.println("cannot listen on " + where + ": " + e.getMessage());
            System.exit(1);
        }
    }

    private static void demo(Options options) throws Exception {
        IO.println("lab 401  TCP server");
        try (var server = start(ANY_PORT, c -> {}, options)) {
            show("listen on port 0", "127.*", shown(server));
        }

        var clients = new ArrayList<Socket>();
        var served = new CountDownLatch(1000);
        try (var server = start(ANY_PORT, c -> {
            served.countDown();
            c.in().read();
        }, options)) {
            while (clients.size() < 1000) {
                clients.add(client(server, ""));
            }
            served.await(3, TimeUnit.SECONDS);
            show("1000 clients at once", "1000.*", server.stats().active()
                    + " handlers wait in read()");
        }

        try (var server = start(ANY_PORT, lineService(80), options)) {
            show("hello", "HELLO", line(client(server, "hello\n")));
        }

        var listening = new ServerSocket(0, 9, ANY_PORT.getAddress()) {
            int calls;

            @Override
            public Socket accept() throws IOException {
                if (++calls <= 3) {
                    throw new IOException("Too many open files");
                }
                return super.accept();
            }
        };
        try (var server = start(listening, lineService(80), options)) {
            show("hello, after 3 failed accepts", "HELLO",
                    line(client(server, "hello\n")));
        }

        try (var server = start(ANY_PORT, c -> c.in().read(),
                options.withMaxConnections(1))) {
            clients.add(client(server, ""));
            show("a second client, 1 permit", "busy", line(client(server, "")));
        }

        try (var server = start(ANY_PORT, c -> {
            c.in().read();
            c.out().write(new byte[64 * 1024 * 1024]);
        }, options.withIdleTimeout(Duration.ofMillis(100))
                .withWriteStall(Duration.ofMillis(200)))) {
            clients.add(client(server, ""));
            clients.add(client(server, "x"));
            for (int i = 0; i < 200 && server.stats().stallClosed() == 0; i++) {
                Thread.sleep(10);
            }
            show("one silent, one not reading", "idle 1, stalled 1",
                    "idle %d, stalled %d".formatted(server.stats().idleClosed(),
                            server.stats().stallClosed()));
        }

        var atWork = new CountDownLatch(1);
        try (var server = start(ANY_PORT, c -> {
            c.in().read();
            atWork.countDown();
            Thread.sleep(300);
            c.out().write(utf8("done\n"));
        }, options)) {
            clients.add(client(server, ""));
            var busy = client(server, "x");
            atWork.await(3, TimeUnit.SECONDS);
            show("shutdown, one idle, one busy", "true, done",
                    server.shutdown(Duration.ofSeconds(5)) + ", " + line(busy));
        }
        IO.println("\nall seven steps work");
    }

    private static void show(String what, String expected, String seen) {
        IO.println("  %d  %-30s %s".formatted(scene, what, seen));
        if (!seen.matches(expected)) {
            next(scene, "search TcpServer.java for TODO step " + scene);
        }
        scene++;
    }

    private static Socket client(TcpServer server, String text)
            throws IOException {
        var address = server.localAddress();
        var client = new Socket(address.getAddress(), address.getPort());
        client.setSoTimeout(1500);
        client.getOutputStream().write(utf8(text));
        return client;
    }

    private static String line(Socket client) {
        try (client) {
            return "" + new BufferedReader(new InputStreamReader(
                    client.getInputStream())).readLine();
        } catch (IOException e) {
            return e.getMessage();
        }
    }

    private static String shown(TcpServer server) {
        var address = server.localAddress();
        return address.getAddress().getHostAddress() + ":" + address.getPort();
    }

    /** On any thread. The TODO of a step whose scene is to come can wait. */
    private static void died(Throwable failure) {
        var todo = Pattern.compile("TODO step (\\d+): .*")
                .matcher(String.valueOf(failure.getMessage()));
        int step = todo.matches() ? Integer.parseInt(todo.group(1)) : 0;
        if (step == 0) {
            failure.printStackTrace();
        } else if (step <= scene) {
            next(step, todo.group() + "\n  " + failure.getStackTrace()[0]);
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
