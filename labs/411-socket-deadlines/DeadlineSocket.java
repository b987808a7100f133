///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 411: socket deadlines, and a server that outlasts Slowloris

import module java.base;

/**
 * A TCP connection whose reads and writes have a deadline: an instant that
 * does not move while bytes arrive. Around it, an HTTP/1.1 server that uses
 * such deadlines against clients that keep a connection busy without ever
 * finishing a request (Slowloris).
 *
 * <p>The one idea: a timeout that starts again at every byte limits nothing.
 * Compute one instant, and wait for what is left until then. Go's
 * {@code SetDeadline} works like this, too.
 *
 * <p>One thread may read while another writes. A call that is blocked ends
 * when its deadline passes, when the deadline is moved, when its thread is
 * interrupted, and when the socket is closed.
 *
 * <p>HTTP: RFC 9110; HTTP/1.1: RFC 9112. Left out: chunked request bodies,
 * Expect, Date, TLS.
 */
public final class DeadlineSocket implements AutoCloseable {

    /**
     * An instant on the scale of {@link System#nanoTime}, or none. Two of
     * these instants can be compared by subtraction only (see there).
     *
     * @param nanoTime has no meaning if {@code isSet} is false
     */
    public record Deadline(boolean isSet, long nanoTime) {

        /** Waits without a limit. */
        public static final Deadline NONE = new Deadline(false, 0);

        /** So much time from now; zero or less has passed already. */
        public static Deadline after(Duration time) {
            return after(time, System.nanoTime());
        }

        /**
         * So much time after an instant. A time of more than
         * {@code Long.MAX_VALUE / 2} ns, which is 146 years, counts as that:
         * a thread that has read the clock earlier must still be able to
         * subtract.
         *
         * @param now of the same clock that will be asked later
         */
        static Deadline after(Duration time, long now) {
            throw new UnsupportedOperationException(
                    "TODO step 1: convert the time to nanoseconds, limit it to Long.MAX_VALUE / 2 in either direction, and add it to now");
        }

        /** What is left: 0 once it has passed, Long.MAX_VALUE for NONE. */
        public long remainingNanos(long now) {
            throw new UnsupportedOperationException(
                    "TODO step 1: the difference to now, at least 0; for NONE Long.MAX_VALUE");
        }

        /** Whether it has passed: true at the very instant. */
        public boolean expired(long now) {
            throw new UnsupportedOperationException(
                    "TODO step 1: whether nothing is left; NONE never expires");
        }
    }

    private final SocketChannel channel;
    private final Poller poller;
    private final SelectionKey key;
    private final Direction reading = new Direction(SelectionKey.OP_READ);
    private final Direction writing = new Direction(SelectionKey.OP_WRITE);

    /**
     * Ends a call whose deadline has passed.
     *
     * @param what  the call, for the message: read or write
     * @param count how many bytes it has transferred
     * @throws SocketTimeoutException if so; its bytesTransferred is the count
     */
    private void checkDeadline(Direction direction, String what, int count)
            throws SocketTimeoutException {
        throw new UnsupportedOperationException(
                "TODO step 2: if direction.deadline has expired at poller.now(), throw a SocketTimeoutException that says what was done, and has its bytesTransferred set");
    }

    /**
     * Reads what has come, and waits for it if nothing has. A deadline that
     * has passed ends the call even if bytes are there. They stay there, and a
     * call with a later deadline reads them.
     *
     * @return how many, at least 1; -1 at the end of stream
     */
    private int readSome(ByteBuffer into) throws IOException {
        throw new UnsupportedOperationException(
                "TODO step 2: again and again: checkDeadline() of reading; channel.read(); if that gives 0, nothing has come: awaitReady()");
    }

    /**
     * Writes all the bytes: hands them to the kernel, and waits when it takes
     * no more. If this fails after a part has been handed over, the peer has
     * half a message, and nothing that is written later could make sense to
     * it: the socket is broken for writing.
     *
     * @throws IOException at once if the socket is broken for writing
     */
    private void writeAll(byte[] bytes, int offset, int length)
            throws IOException {
        throw new UnsupportedOperationException(
                "TODO step 3: checkBroken(); until length bytes are done: checkDeadline() of writing, channel.write() of the next piece(), and if that takes nothing, awaitReady(); if any of it throws after a part was done, set isBroken; a timeout, and an interrupt, say in bytesTransferred how much was done");
    }

    /** @throws IOException if the socket is broken for writing */
    private void checkBroken() throws IOException {
        // TODO step 3: throw an IOException that says why, if isBroken
    }

    // What the server does for each of its connections; it is given below.

    /**
     * Waits for the next request, and reads its head. A client has headTimeout
     * for a head: for the first one from accept, for a later one from its
     * first byte. Between two requests it has idleTimeout, counted from the
     * end of the last response. A client that has sent no byte of a request
     * when its time is over is not told anything (browsers open connections to
     * spare).
     *
     * @return empty if there is no other request: the connection is to be
     *         closed
     * @throws HttpStatusException 408 if a head has begun and is not complete
     *         in time (RFC 9110 section 15.5.9)
     */
    private static Optional<Head> nextHead(Connection connection)
            throws IOException {
        throw new UnsupportedOperationException(
                "TODO step 4: set the read deadline for the first byte, counted from connection.since; awaitByte(): false is the end, a timeout is counted in connection.server.timedOutIdle; set the deadline for the head, but a first one keeps the one it has; readHead(): a timeout is counted in timedOutHead, and is a 408");
    }

    /**
     * Called when the last response has been written: sends the end of stream,
     * then reads and ignores what the client still sends, until its end of
     * stream, for at most LINGER in all. A close with unread input would be a
     * reset, which can destroy the response (RFC 9112 section 9.6).
     */
    private static void lingeringClose(Connection connection)
            throws IOException {
        // TODO step 4: shutdownOutput() of the socket; set one read deadline; read until the end of stream; a timeout is no failure
        connection.socket.shutdownOutput();
    }

    // The next two belong to the socket again.

    /** Changes a deadline, also that of a call which is blocked. */
    private static void move(Direction direction, Deadline deadline) {
        Objects.requireNonNull(deadline, "deadline");
        // TODO step 5: set direction.deadline, and then wake() the thread that may wait for the old one
        direction.deadline = deadline;
    }

    /**
     * Waits until the socket is ready, the deadline has passed, or somebody
     * wakes the thread.
     *
     * @throws InterruptedIOException but no SocketTimeoutException, if the
     *         thread is interrupted; its interrupt status stays set, and the
     *         socket stays open
     */
    private void awaitReady(Direction direction) throws IOException {
        // TODO step 5: throw an InterruptedIOException if the thread is interrupted: poller.await() returns at once then; leave the status set
        poller.await(key, direction);
    }

    // And the rest to the server's connections.

    /**
     * Until when a client must have moved its next byte. The average rate must
     * reach minRate once gracePeriod is over; and a client that has been fast
     * may not rest on that for longer than CREDIT bytes take.
     *
     * @param start    when the body, or the response, began
     * @param progress when bytes moved last; start, if none have moved
     * @param bytes    how many have moved, at least 0
     * @return the earlier of start + gracePeriod + bytes / minRate, and
     *         progress + gracePeriod + CREDIT / minRate; NONE if minRate is 0
     */
    static Deadline rateDeadline(
            long start, long progress, long bytes, Options options) {
        throw new UnsupportedOperationException(
                "TODO step 6: NONE if there is no rate; else compute both deadlines with timeFor(), and return the earlier one");
    }

    /** gracePeriod, and as long as so many bytes take at minRate. */
    private static Duration timeFor(long bytes, Options options) {
        throw new UnsupportedOperationException(
                "TODO step 6: whole seconds and the rest apart: bytes times 10^9 may be more than a long can hold");
    }

    /**
     * Reads the body of a request. Memory is taken as bytes come, not as they
     * are announced.
     *
     * @throws HttpStatusException 408 if the client falls behind the rate
     * @throws EOFException if the connection ends before the body does
     */
    private static byte[] readBody(Connection connection, int length)
            throws IOException {
        // TODO step 6: until length bytes have come: set the read deadline to rateDeadline(), read what there is, at most PIECE bytes; -1 is an EOFException; a timeout is counted in connection.server.timedOutBody, and is a 408
        connection.socket.setReadDeadline(Deadline.NONE);
        return connection.in.readNBytes(length);
    }

    /**
     * Sends a response, in pieces of at most PIECE bytes.
     *
     * @throws SocketTimeoutException if the client falls behind the rate
     */
    private static void send(Connection connection, byte[] response)
            throws IOException {
        // TODO step 6: before each piece set the write deadline to rateDeadline(); a timeout is counted in connection.server.timedOutWrite, and thrown again
        connection.socket.write(response, 0, response.length);
    }

    /**
     * Counts the connections of a server, all of them and those of each
     * address. An address without a connection takes no memory. Thread-safe.
     */
    static final class Admission {

        private final int maxConnections;
        private final int maxPerAddress;

        Admission(int maxConnections, int maxPerAddress) {
            this.maxConnections = maxConnections;
            this.maxPerAddress = maxPerAddress;
        }

        /** False if there are too many; then nothing is counted. */
        synchronized boolean enter(InetAddress address) {
            // TODO step 7: false if the total is maxConnections, or the count of the address maxPerAddress; else add one to both
            return true;
        }

        /** Called once for each connection that has entered. */
        synchronized void leave(InetAddress address) {
            // TODO step 7: take one off both; a count of 0 is removed
        }

        /** How many addresses are remembered. */
        synchronized int addresses() {
            throw new UnsupportedOperationException(
                    "TODO step 7: the size of the map");
        }
    }

    // ---- given from here on ----

    private static final int PIECE = 16 * 1024;
    private static final int MOST_AT_ONCE = 64 * 1024;
    private static final int SEND_BUFFER = 64 * 1024;
    private static final int MOST_HEAD = 16 * 1024;
    private static final int MOST_BODY = 1024 * 1024;
    private static final int MOST_REJECTED = 64;
    private static final Duration LINGER = Duration.ofSeconds(1);
    /**
     * In bytes. Linux lets a blocked writer go on when about a third of the
     * send buffer is free, so what a client takes byte by byte is seen here in
     * steps of more than 100,000 bytes.
     */
    static final int CREDIT = 128 * 1024;

    private DeadlineSocket(SocketChannel channel, Poller poller)
            throws IOException {
        this.channel = channel;
        this.poller = poller;
        channel.configureBlocking(false);
        key = channel.register(poller.selector, 0, this);
    }

    /**
     * Opens a connection.
     *
     * @param timeout more than zero; rounded up to milliseconds
     * @param poller  waits for this socket, and must outlive it
     * @throws SocketTimeoutException if the connection is not there in time
     */
    public static DeadlineSocket connect(InetSocketAddress to,
            Duration timeout, Poller poller) throws IOException {
        need(timeout.isPositive(), "timeout", timeout);
        Objects.requireNonNull(to, "to");
        long millis = TimeUnit.MILLISECONDS.convert(timeout.plusNanos(999_999));
        var channel = SocketChannel.open();
        try {
            channel.socket().connect(to, Math.clamp(millis, 1, 1 << 30));
            return wrap(channel, poller);
        } catch (Throwable e) {
            channel.close();
            throw e;
        }
    }

    /**
     * Takes over a connected channel, and makes it non-blocking.
     *
     * @param poller waits for this socket, and must outlive it
     */
    public static DeadlineSocket wrap(SocketChannel connected, Poller poller)
            throws IOException {
        need(connected.isConnected(), "connected", connected);
        Objects.requireNonNull(poller, "poller");
        return new DeadlineSocket(connected, poller);
    }

    /** For this read and all later ones, until it is set again. */
    public void setReadDeadline(Deadline deadline) {
        move(reading, deadline);
    }

    /** For this write and all later ones, until it is set again. */
    public void setWriteDeadline(Deadline deadline) {
        move(writing, deadline);
    }

    /** Both, like Go's {@code SetDeadline}. */
    public void setDeadline(Deadline deadline) {
        setReadDeadline(deadline);
        setWriteDeadline(deadline);
    }

    /**
     * Waits until at least one byte has come, and reads what is there.
     *
     * @return how many bytes; -1 at the end of stream; 0 if length is 0
     * @throws SocketTimeoutException if the deadline has passed, even if bytes
     *         are there; no byte is lost, and a read with a later deadline
     *         goes on
     * @throws InterruptedIOException if the thread is interrupted while it
     *         waits; the interrupt status stays set, and the socket open
     * @throws IllegalStateException if another thread is reading
     */
    public int read(byte[] bytes, int offset, int length) throws IOException {
        Objects.checkFromIndexSize(offset, length, bytes.length);
        reading.enter();
        try {
            return length == 0 ? 0 : readSome(piece(bytes, offset, length));
        } finally {
            reading.exit();
        }
    }

    /**
     * Hands all the bytes to the kernel. That says nothing about the peer: it
     * may not have received them yet, or ever.
     *
     * @throws SocketTimeoutException if the deadline has passed first;
     *         {@code bytesTransferred} tells how many went out
     * @throws InterruptedIOException if the thread is interrupted while it
     *         waits; the interrupt status stays set, and the socket open
     * @throws IOException also if an earlier write has sent only a part of its
     *         bytes
     * @throws IllegalStateException if another thread is writing
     */
    public void write(byte[] bytes, int offset, int length)
            throws IOException {
        Objects.checkFromIndexSize(offset, length, bytes.length);
        writing.enter();
        try {
            writeAll(bytes, offset, length);
        } finally {
            writing.exit();
        }
    }

    /** {@link #read} as a stream; to close it is to close the socket. */
    public InputStream input() {
        return new InputStream() {
            @Override
            public int read() throws IOException {
                var one = new byte[1];
                return read(one, 0, 1) == -1 ? -1 : one[0] & 0xff;
            }

            @Override
            public int read(byte[] bytes, int offset, int length)
                    throws IOException {
                return DeadlineSocket.this.read(bytes, offset, length);
            }

            @Override
            public void close() {
                DeadlineSocket.this.close();
            }
        };
    }

    /**
     * Sends the end of stream; reading goes on.
     *
     * @throws IOException if a write has sent only a part of its bytes: the
     *         peer would take that for the whole
     */
    public void shutdownOutput() throws IOException {
        writing.enter();
        try {
            checkBroken();
            channel.shutdownOutput();
        } finally {
            writing.exit();
        }
    }

    /** Blocked calls get an IOException. The second close has no effect. */
    @Override
    public void close() {
        try {
            channel.close();
        } catch (IOException e) {
            // The descriptor is released all the same.
        }
        reading.wake();
        writing.wake();
        poller.selector.wakeup();   // else it keeps the descriptor for now
    }

    /** The JDK copies a whole buffer, however little of it is then moved. */
    private static ByteBuffer piece(byte[] bytes, int offset, int length) {
        return ByteBuffer.wrap(bytes, offset, Math.min(length, MOST_AT_ONCE));
    }

    private static void need(boolean holds, String name, Object value) {
        if (!holds) {
            throw new IllegalArgumentException("bad " + name + ": " + value);
        }
    }

    /** Reading or writing: its deadline, and the thread that does it. */
    private static final class Direction {

        final int operation;
        final AtomicReference<Thread> user = new AtomicReference<>();
        volatile Deadline deadline = Deadline.NONE;
        volatile boolean isWoken;

        Direction(int operation) {
            this.operation = operation;
        }

        void enter() {
            if (!user.compareAndSet(null, Thread.currentThread())) {
                throw new IllegalStateException("another thread is doing this");
            }
            isWoken = false;
        }

        void exit() {
            user.set(null);
        }

        /** If the thread is only about to wait, it will not. */
        void wake() {
            var thread = user.get();
            if (thread != null) {
                isWoken = true;
                LockSupport.unpark(thread);
            }
        }
    }

    /**
     * One thread that watches many sockets, and wakes the threads that wait
     * for one of them when bytes can be moved.
     */
    public static final class Poller implements AutoCloseable {

        private final Selector selector = Selector.open();
        private final LongSupplier nanoClock;
        private final AtomicInteger waiting = new AtomicInteger();
        private final AtomicLong waits = new AtomicLong();
        private volatile boolean isClosed;

        /** With a clock that tests move; then they call {@link #wakeup}. */
        Poller(LongSupplier nanoClock) throws IOException {
            this.nanoClock = Objects.requireNonNull(nanoClock, "nanoClock");
            Thread.ofPlatform().daemon().name("lab411-poller").start(this::run);
        }

        /** Starts its thread. */
        public static Poller start() throws IOException {
            return new Poller(System::nanoTime);
        }

        long now() {
            return nanoClock.getAsLong();
        }

        /** How many threads are waiting now. */
        int waiting() {
            return waiting.get();
        }

        /** How often a thread has begun to wait. */
        long waits() {
            return waits.get();
        }

        /** Makes all threads that wait look at the clock. */
        void wakeup() {
            selector.keys().forEach(key -> wake(key, ~0));   // both directions
        }

        /** Ends the thread. A thread that waits gets an IOException. */
        @Override
        public void close() {
            try {
                isClosed = true;
                wakeup();
                selector.close();
            } catch (ClosedSelectorException | IOException e) {
                // It was closed before.
            }
        }

        private void await(SelectionKey key, Direction direction)
                throws IOException {
            waiting.incrementAndGet();
            waits.incrementAndGet();
            try {
                key.interestOpsOr(direction.operation);
                selector.wakeup();   // a running select() misses the change
                while (!direction.isWoken && !isClosed
                        && !direction.deadline.expired(now())
                        && !Thread.currentThread().isInterrupted()) {
                    LockSupport.parkNanos(this,
                            direction.deadline.remainingNanos(now()));
                }
            } catch (CancelledKeyException e) {
                throw new IOException("closed", e);
            } finally {
                direction.isWoken = false;
                waiting.decrementAndGet();
            }
        }

        private void run() {
            try {
                while (true) {
                    selector.select(Poller::ready);
                }
            } catch (ClosedSelectorException e) {
                // The end.
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        private static void ready(SelectionKey key) {
            try {
                int ready = key.readyOps();
                key.interestOpsAnd(~ready);
                wake(key, ready);
            } catch (CancelledKeyException e) {
                // Its socket is closed, which wakes both directions.
            }
        }

        private static void wake(SelectionKey key, int operations) {
            var socket = (DeadlineSocket) key.attachment();
            Stream.of(socket.reading, socket.writing)
                    .filter(each -> (each.operation & operations) != 0)
                    .forEach(Direction::wake);
        }
    }

    /** A request that has come whole. */
    public record Request(String method, String target, byte[] body) {}

    /** @param status of a final response: 200 to 599 */
    public record Response(int status, byte[] body) {
        public Response {
            need(status >= 200 && status <= 599, "status", status);
            Objects.requireNonNull(body, "body");
        }
    }

    /** Answers requests, each on the thread of its connection. */
    @FunctionalInterface
    public interface Handler {
        /** Whatever this throws is answered with 500. */
        Response handle(Request request) throws Exception;
    }

    /**
     * Exact while nothing is in flight. {@code int}: now; {@code long}: since
     * the start.
     *
     * @param active        connections that are served
     * @param served        responses of the handler that were written
     * @param timedOutHead  request heads that were begun and not completed
     * @param timedOutBody  request bodies below the rate
     * @param timedOutWrite responses below the rate, also those of errors
     * @param timedOutIdle  connections on which no request was begun in time
     * @param rejected      connections beyond one of the two limits
     */
    public record Stats(int active, long served, long timedOutHead,
            long timedOutBody, long timedOutWrite, long timedOutIdle,
            long rejected) {}

    /** A response with this status tells the client; then it is closed. */
    private static final class HttpStatusException extends IOException {
        private static final long serialVersionUID = 1;
        final int status;

        HttpStatusException(int status, String reason) {
            super(reason);
            this.status = status;
        }
    }

    private static void check(boolean holds, int status, String otherwise)
            throws HttpStatusException {
        if (!holds) {
            throw new HttpStatusException(status, otherwise);
        }
    }

    /** What precedes the body of a request. */
    private record Head(String method, String target, int bodyLength,
            boolean persists) {}

    private static final String TOKEN = "([!#$%&'*+.^_`|~0-9A-Za-z-]+)";
    private static final Pattern REQUEST_LINE =
            Pattern.compile(TOKEN + " ([!-~]+) HTTP/1\\.([0-9])");
    private static final Pattern FIELD_LINE =
            Pattern.compile(TOKEN + ":[ \t]*(.*?)[ \t]*");

    /** @throws HttpStatusException 400, 411, 413, 431 */
    private static Head readHead(InputStream in) throws IOException {
        var start = readLine(in, MOST_HEAD);
        if (start.isEmpty()) {
            start = readLine(in, MOST_HEAD);   // RFC 9112 section 2.2
        }
        var words = REQUEST_LINE.matcher(start);
        check(words.matches(), 400, "invalid request line");
        boolean isHttp10 = words.group(3).equals("0");
        var fields = readFields(in, MOST_HEAD - start.length());
        var host = fields.getOrDefault("host", isHttp10 ? "" : ",");
        var length = fields.getOrDefault("content-length", "0");
        var options = fields.getOrDefault("connection", "").split(",");
        check(!host.contains(","), 400, "not one Host field");
        check(!fields.containsKey("transfer-encoding"), 411, "send a length");
        check(length.matches("[0-9]+"), 400, "invalid Content-Length");
        check(length.matches("0*[0-9]{1,9}")
                && Integer.parseInt(length) <= MOST_BODY, 413, "too large");
        return new Head(words.group(1), words.group(2),
                Integer.parseInt(length), !isHttp10 && Stream.of(options)
                .noneMatch(each -> each.strip().equalsIgnoreCase("close")));
    }

    /** Repeated fields become one, with commas (RFC 9110 section 5.2). */
    private static Map<String, String> readFields(InputStream in, int most)
            throws IOException {
        var fields = new HashMap<String, String>();
        int left = most;
        for (var line = readLine(in, left); !line.isEmpty();
                line = readLine(in, left)) {
            left -= line.length() + 2;
            var field = FIELD_LINE.matcher(line);
            check(field.matches(), 400, "invalid field line");
            fields.merge(field.group(1).toLowerCase(Locale.ROOT),
                    field.group(2), (one, two) -> one + ", " + two);
        }
        return fields;
    }

    private static String readLine(InputStream in, int most)
            throws IOException {
        var line = new StringBuilder();
        for (int next = in.read(); next != '\r'; next = in.read()) {
            if (next == -1) {
                throw new EOFException("the head is not complete");
            }
            check(next != '\n', 400, "LF without CR");
            check(line.length() < most, 431, "head too large");
            line.append((char) next);
        }
        check(in.read() == '\n', 400, "CR without LF");
        return line.toString();
    }

    /** One client of a server. For the thread that serves it. */
    private static final class Connection {

        final Server server;
        final DeadlineSocket socket;
        final InetAddress address;
        final InputStream in;
        final Options options;
        long since;               // accepted then, or the last response ended
        boolean isFirst = true;   // no request has been answered
        volatile boolean isIdle;  // waits for the first byte of a request

        Connection(Server server, SocketChannel accepted) throws IOException {
            this.server = server;
            address = accepted.socket().getInetAddress();
            accepted.setOption(StandardSocketOptions.TCP_NODELAY, true);
            accepted.setOption(StandardSocketOptions.SO_SNDBUF, SEND_BUFFER);
            socket = wrap(accepted, server.poller);
            in = new BufferedInputStream(socket.input());
            options = server.options;
            since = now();
        }

        long now() {
            return server.poller.now();
        }

        /** So much time after an instant; a time of zero is no limit. */
        void setReadDeadline(Duration time, long from) {
            socket.setReadDeadline(time.isZero()
                    ? Deadline.NONE : Deadline.after(time, from));
        }

        /** False at the end of stream. The byte stays to be read. */
        boolean awaitByte() throws IOException {
            isIdle = true;
            in.mark(1);
            boolean came = !server.isClosing && in.read() != -1;
            in.reset();
            isIdle = false;
            return came;
        }

        void converse() throws IOException {
            boolean persists = true;
            for (var next = nextHead(this); next.isPresent();
                    next = persists ? nextHead(this) : Optional.empty()) {
                var head = next.get();
                var response = answer(new Request(head.method, head.target,
                        readBody(this, head.bodyLength)));
                persists = head.persists && !server.isClosing;
                send(this, encode(response, "OK", persists,
                        !head.method.equals("HEAD")));
                server.served.increment();
                isFirst = false;
                since = now();
            }
            if (!persists) {
                lingeringClose(this);
            }
        }

        private Response answer(Request request) throws IOException {
            try {
                return Objects.requireNonNull(server.handler.handle(request));
            } catch (Throwable failure) {
                throw new HttpStatusException(500, "handler failed");
            }
        }

        /** Ends the connection with a response that says why. */
        void refuse(HttpStatusException e) {
            try {
                send(this, encode(new Response(e.status, new byte[0]),
                        e.getMessage(), false, true));
                lingeringClose(this);
            } catch (IOException gone) {
                abort();
            }
        }

        private static byte[] encode(Response response, String reason,
                boolean persists, boolean withBody) {
            var body = response.body();
            var head = "HTTP/1.1 %d %s\r\nContent-Length: %d\r\n%s\r\n"
                    .formatted(response.status(), reason, body.length,
                            persists ? "" : "Connection: close\r\n").getBytes();
            int length = withBody ? body.length : 0;
            var all = Arrays.copyOf(head, head.length + length);
            System.arraycopy(body, 0, all, head.length, length);
            return all;
        }

        /** Closes with a reset, and drops what the kernel has to send. */
        void abort() {
            try {
                socket.channel.setOption(StandardSocketOptions.SO_LINGER, 0);
            } catch (IOException e) {
                // It is closed already.
            }
            socket.close();
        }
    }

    /** An HTTP/1.1 server with a virtual thread for each client. */
    public static final class Server implements AutoCloseable {

        private final ServerSocketChannel listener;
        private final Handler handler;
        private final Options options;
        private final LongAdder served = new LongAdder(),
                rejected = new LongAdder(), timedOutHead = new LongAdder(),
                timedOutBody = new LongAdder(), timedOutWrite = new LongAdder(),
                timedOutIdle = new LongAdder();
        private final Admission admission;
        private final Semaphore rejections = new Semaphore(MOST_REJECTED);
        private final Set<Connection> live = ConcurrentHashMap.newKeySet();
        private final ExecutorService executor =
                Executors.newVirtualThreadPerTaskExecutor();
        private final Poller poller;
        private final Thread acceptor;
        private volatile boolean isClosing;

        private Server(ServerSocketChannel listener, Handler handler,
                Options options) throws IOException {
            this.listener = listener;
            this.handler = Objects.requireNonNull(handler, "handler");
            this.options = Objects.requireNonNull(options, "options");
            admission = new Admission(
                    options.maxConnections(), options.maxPerAddress());
            poller = new Poller(options.nanoClock());
            acceptor = Thread.ofPlatform().name("lab411-accept")
                    .start(this::accept);
        }

        /**
         * Starts a server.
         *
         * @param bind where to listen; port 0 takes any free port
         * @throws BindException if the port is taken; no socket stays open
         */
        public static Server start(InetSocketAddress bind, Handler handler,
                Options options) throws IOException {
            Objects.requireNonNull(bind, "bind");
            var listener = ServerSocketChannel.open();
            try {
                listener.bind(bind, 1024);
                return new Server(listener, handler, options);
            } catch (Throwable e) {
                listener.close();
                throw e;
            }
        }

        /** Where the server listens, with the real port. */
        public InetSocketAddress localAddress() {
            return (InetSocketAddress)
                    listener.socket().getLocalSocketAddress();
        }

        /** What the server has done so far, and does now. */
        public Stats stats() {
            return new Stats(live.size(), served.sum(), timedOutHead.sum(),
                    timedOutBody.sum(), timedOutWrite.sum(), timedOutIdle.sum(),
                    rejected.sum());
        }

        /** All threads of the server wait with this one. */
        Poller poller() {
            return poller;
        }

        /**
         * Stops accepting, closes the connections that have no request under
         * way, and lets requests finish for the time {@code grace}. What is
         * left then is cut, and awaited for at most 5 s. Any thread may call
         * this, and again.
         *
         * @param grace zero or more; zero cuts at once
         * @return true if this call has cut nothing
         */
        public boolean shutdown(Duration grace) throws InterruptedException {
            need(!grace.isNegative(), "grace", grace);
            isClosing = true;
            try {
                listener.close();
                acceptor.join();
                live.stream().filter(each -> each.isIdle)
                        .forEach(each -> each.socket.close());
                executor.shutdown();
                boolean done = executor.awaitTermination(
                        TimeUnit.NANOSECONDS.convert(grace),
                        TimeUnit.NANOSECONDS);
                live.forEach(Connection::abort);
                executor.shutdownNow();
                executor.awaitTermination(5, TimeUnit.SECONDS);
                return done;
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            } finally {
                live.forEach(Connection::abort);
                poller.close();
            }
        }

        /** Cuts everything at once. The second close has no effect. */
        @Override
        public void close() {
            try {
                shutdown(Duration.ZERO);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();   // all is cut already
            }
        }

        private void accept() {
            while (!isClosing) {
                try {
                    begin(listener.accept());
                } catch (Throwable failure) {   // an Error must not end it
                    LockSupport.parkNanos(isClosing ? 0 : 20_000_000);
                }
            }
        }

        /** At most MOST_REJECTED threads are there to say 503. */
        private void begin(SocketChannel accepted) throws IOException {
            try {
                var connection = new Connection(this, accepted);
                boolean isAdmitted = admission.enter(connection.address);
                if (isAdmitted) {
                    live.add(connection);
                } else {
                    rejected.increment();
                }
                if (isAdmitted || rejections.tryAcquire()) {
                    executor.execute(() -> serve(connection, isAdmitted));
                } else {
                    connection.abort();
                }
            } catch (IOException | RejectedExecutionException e) {
                accepted.close();   // it is reset already; or shutdown() runs
            }
        }

        private void serve(Connection connection, boolean isAdmitted) {
            try {
                check(isAdmitted, 503, "too many connections");
                connection.converse();
            } catch (HttpStatusException e) {
                connection.refuse(e);
            } catch (IOException e) {
                connection.abort();   // it has gone, or takes nothing
            } finally {
                connection.socket.close();
                if (live.remove(connection)) {
                    admission.leave(connection.address);
                } else {
                    rejections.release();
                }
            }
        }
    }

    /**
     * The limits of a server. Zero means no limit, for a Duration and for the
     * rate.
     *
     * @param headTimeout    time for the head of a request
     * @param idleTimeout    time between two requests of a connection
     * @param gracePeriod    time before the rate counts; more than zero, at
     *                       most 36,500 days
     * @param minRate        in bytes a second, for the body of a request, and
     *                       for a response
     * @param maxConnections of all clients
     * @param maxPerAddress  connections of the clients with one IP address
     * @param nanoClock      as {@link System#nanoTime}; for all of these limits
     */
    public record Options(Duration headTimeout, Duration idleTimeout,
            Duration gracePeriod, int minRate, int maxConnections,
            int maxPerAddress, LongSupplier nanoClock) {

        public Options {
            need(!headTimeout.isNegative(), "headTimeout", headTimeout);
            need(!idleTimeout.isNegative(), "idleTimeout", idleTimeout);
            need(gracePeriod.isPositive() && gracePeriod.compareTo(
                    Duration.ofDays(36_500)) <= 0, "gracePeriod", gracePeriod);
            need(minRate >= 0, "minRate", minRate);
            need(maxConnections > 0, "maxConnections", maxConnections);
            need(maxPerAddress > 0, "maxPerAddress", maxPerAddress);
            Objects.requireNonNull(nanoClock, "nanoClock");
        }

        /** 5, 15 and 5 s; 500 bytes a second; 1,000 connections, 100 each. */
        public static Options defaults() {
            return new Options(Duration.ofSeconds(5), Duration.ofSeconds(15),
                    Duration.ofSeconds(5), 500, 1000, 100, System::nanoTime);
        }

        /** The same with another headTimeout. */
        public Options withHeadTimeout(Duration headTimeout) {
            return new Options(headTimeout, idleTimeout, gracePeriod, minRate,
                    maxConnections, maxPerAddress, nanoClock);
        }

        /** The same with another idleTimeout. */
        public Options withIdleTimeout(Duration idleTimeout) {
            return new Options(headTimeout, idleTimeout, gracePeriod, minRate,
                    maxConnections, maxPerAddress, nanoClock);
        }

        /** The same with another gracePeriod. */
        public Options withGracePeriod(Duration gracePeriod) {
            return new Options(headTimeout, idleTimeout, gracePeriod, minRate,
                    maxConnections, maxPerAddress, nanoClock);
        }

        /** The same with another minRate. */
        public Options withMinRate(int minRate) {
            return new Options(headTimeout, idleTimeout, gracePeriod, minRate,
                    maxConnections, maxPerAddress, nanoClock);
        }

        /** The same with another maxConnections. */
        public Options withMaxConnections(int maxConnections) {
            return new Options(headTimeout, idleTimeout, gracePeriod, minRate,
                    maxConnections, maxPerAddress, nanoClock);
        }

        /** The same with another maxPerAddress. */
        public Options withMaxPerAddress(int maxPerAddress) {
            return new Options(headTimeout, idleTimeout, gracePeriod, minRate,
                    maxConnections, maxPerAddress, nanoClock);
        }

        /** The same with another nanoClock. */
        public Options withNanoClock(LongSupplier nanoClock) {
            return new Options(headTimeout, idleTimeout, gracePeriod, minRate,
                    maxConnections, maxPerAddress, nanoClock);
        }
    }

    // The demo: one scene for each step.

    private static final List<String> STEPS = List.of("Compute a deadline",
            "Read with a deadline", "Write with a deadline",
            "Limit the time for a request head",
            "Move the deadline of a blocked read",
            "Enforce a minimum data rate", "Limit connections per address");
    private static final Duration TENTH = Duration.ofMillis(100);

    /** No argument: the demo; {@code serve [HOST:]PORT} until Ctrl-C. */
    public static void main(String[] args) throws Exception {
        Thread.setDefaultUncaughtExceptionHandler((t, e) -> next(e));
        var words = String.join(" ", args);
        if (words.isEmpty()) {
            demo();
        } else if (words.matches("serve (\\S+:)?\\d{1,5}")) {
            int colon = words.lastIndexOf(':');
            var server = serve(colon < 0 ? "127.0.0.1"
                    : words.substring("serve ".length(), colon),
                    Integer.parseInt(words.replaceFirst(".*[ :]", "")),
                    Options.defaults().withMaxConnections(2000)
                            .withMaxPerAddress(2000));
            IO.println("listening on " + server.localAddress());
            Thread.currentThread().join();
        } else {
            boolean help = words.matches("-h|(--)?help");
            (help ? System.out : System.err).println((help ? ""
                    : "not understood: " + words + "\n") + """
                    lab-411                    the demo, step by step
                    lab-411 serve [HOST:]PORT  an HTTP server until Ctrl-C""");
            System.exit(help ? 0 : 2);
        }
    }

    private static Server serve(String host, int port, Options options)
            throws IOException {
        return Server.start(new InetSocketAddress(host, port), request ->
                new Response(200, "open\n".repeat(request.target().equals("/")
                        ? 1 : 50_000).getBytes()), options);
    }

    private static void demo() throws Exception {
        IO.println("lab 411  Socket deadlines");
        var options = Options.defaults().withHeadTimeout(TENTH)
                .withGracePeriod(TENTH.multipliedBy(3));
        try (var poller = Poller.start(); var peers = new ServerSocket(0);
                var server = serve("127.0.0.1", 0, options);
                var strict = serve("127.0.0.1", 0,
                        Options.defaults().withMaxPerAddress(2))) {
            var never = Deadline.after(Duration.ofSeconds(Long.MAX_VALUE));
            show(1, "after 292,000,000,000 years", "expired: false",
                    "expired: " + never.expired(System.nanoTime()));

            var to = new InetSocketAddress("127.0.0.1", peers.getLocalPort());
            var socket = connect(to, TENTH, poller);
            var peer = peers.accept();
            var end = System.nanoTime() + 500_000_000;
            later(20, () -> {
                while (System.nanoTime() - end < 0) {
                    peer.getOutputStream().write('.');
                    Thread.sleep(20);
                }
            });
            socket.setDeadline(Deadline.after(TENTH));
            show(2, "20 ms for each byte, 100 for all", ".*passed.*",
                    outcome(() -> socket.input().readAllBytes()));
            var big = new byte[1 << 26];
            socket.setDeadline(Deadline.after(TENTH));
            show(3, "64 MiB to a peer that never reads", ".*passed.*",
                    outcome(() -> socket.write(big, 0, big.length)));

            var slow = new ArrayList<Socket>();
            for (int i = 0; i < 20; i++) {
                slow.add(client(server, "GET / HTTP/1.1\r\nX-Slow: "));
            }
            show(4, "a client beside 20 slow heads", "HTTP/1.1 200 OK",
                    line(client(server, GET)));
            show(4, "the slow ones, after 100 ms", "20 .*", slow.stream()
                    .map(DeadlineSocket::line).filter(line ->
                            line.contains("408")).count() + " got 408");

            var silent = connect(to, TENTH, poller);
            later(100, () -> silent.setDeadline(Deadline.after(Duration.ZERO)));
            later(1000, () -> silent.setDeadline(Deadline.NONE));
            later(1001, silent::close);
            show(5, "deadline moved to now", ".*passed.*",
                    outcome(() -> silent.input().readAllBytes()));
            show(6, "a body of which 1 byte of 9 comes", ".* 408 .*",
                    line(client(server, GET.replace("\r\n\r\n",
                            "\r\nContent-Length: 9\r\n\r\n1"))));
            client(strict, "");
            client(strict, "");
            show(7, "one connection more than are allowed", ".* 503 .*",
                    line(client(strict, GET)));
            IO.println("\nall seven steps work");
        } catch (UnsupportedOperationException todo) {
            next(todo);
        }
    }

    private static final String GET = "GET / HTTP/1.1\r\nHost: demo\r\n\r\n";

    private interface Code {
        void run() throws Exception;
    }

    private static void later(int millis, Code code) {
        Executors.newVirtualThreadPerTaskExecutor().submit(() -> {
            Thread.sleep(millis);
            code.run();
            return null;
        });
    }

    private static String outcome(Code code) throws Exception {
        try {
            code.run();
            return "no exception";
        } catch (SocketTimeoutException e) {
            return "%s, after %d kB".formatted(
                    e.getMessage(), e.bytesTransferred / 1000);
        } catch (IOException e) {
            return "no timeout";
        }
    }

    private static Socket client(Server server, String text)
            throws IOException {
        var to = server.localAddress();
        var client = new Socket(to.getAddress(), to.getPort());
        client.setSoTimeout(3000);
        client.getOutputStream().write(text.getBytes());
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

    private static void show(int step, String what, String wanted,
            String seen) {
        IO.println("  %d  %-36s %s".formatted(step, what, seen));
        if (!seen.matches(wanted)) {
            next(new Exception("TODO step " + step + ": search the file"));
        }
    }

    private static synchronized void next(Throwable failure) {
        var todo = String.valueOf(failure.getMessage());
        if (!todo.startsWith("TODO step ")) {
            failure.printStackTrace();
            return;
        }
        int step = todo.charAt("TODO step ".length()) - '0';
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/DeadlineSocket.java";
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        IO.println("\nnext: step " + step + ", " + STEPS.get(step - 1) + "\n  "
                + todo + (failure instanceof UnsupportedOperationException
                        ? "\n  " + failure.getStackTrace()[0] : "")
                + (isHere ? "" : "\n  in a clone of the workbook:")
                + ("\n  check  " + jbang + " test-411 " + file).stripTrailing()
                + "\n  hint   " + jbang + " hint 411 " + step);
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }
}
