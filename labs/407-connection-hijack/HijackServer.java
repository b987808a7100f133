///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 407: an HTTP server whose handlers may take the connection

import module java.base;

import java.net.http.HttpClient;

/**
 * A small HTTP/1.1 server whose handlers may take the TCP connection away from
 * it, to speak another protocol on it: WebSocket, for one.
 *
 * <p>The one idea: whoever takes the connection takes what the server has read
 * ahead of it, and the duty to close it.
 *
 * <p>Thread-safe, but for {@link Request} and {@link Response}, which belong to
 * their handler. HTTP/1.1: RFC 9112; WebSocket: RFC 6455. HTTP/2 has no
 * connection to give away (RFC 8441 says what it has instead).
 */
public final class HijackServer implements AutoCloseable {

    /** Answers requests, or takes their connections. */
    @FunctionalInterface
    public interface Handler {
        /**
         * Runs on a virtual thread that belongs to the connection. If it throws
         * before it has answered, the client is told 500; the connection ends,
         * also one that it has hijacked.
         */
        void handle(Request request, Response response) throws Exception;
    }

    private final ServerSocket listener;
    private final Handler handler;
    private final Options options;
    private final Counters counters = new Counters();
    /** Who was handed over and is still open. */
    private final Set<Client> hijacked = ConcurrentHashMap.newKeySet();

    private HijackServer(
            ServerSocket listening, Handler handler, Options options) {
        this.listener = listening;
        this.handler = Objects.requireNonNull(handler, "handler");
        this.options = Objects.requireNonNull(options, "options");
    }

    /**
     * A client's whole time in HTTP. {@link Client#nextRequest} waits for a
     * request; there is none at the end of what the client sends.
     */
    private void converse(Client client) {
        throw new UnsupportedOperationException(
                "TODO step 1: answer() one request after the other; refuse() a bad one; leave() in any case");
    }

    /** @return whether another request may follow on this connection */
    private boolean answer(Client client, Request request) throws IOException {
        throw new UnsupportedOperationException(
                "TODO step 1: run the handler; if it threw or sent nothing, fail() and abandon(); skipRest() of the body");
    }

    /** Asked when a response is sent: may another request follow this one? */
    private boolean keepsAlive(Request request) {
        throw new UnsupportedOperationException(
                "TODO step 1: only in HTTP/1.1, if the client has not said \"Connection: close\", and the server is not closing");
    }

    /**
     * Hands the connection to the handler: {@link Response#hijack} says when
     * and when not. The client was read through {@code client.input}, under
     * timeouts that were HTTP's.
     */
    private Hijacked handOver(Client client, Request request, State state)
            throws IOException {
        throw new UnsupportedOperationException(
                "TODO step 2: check the state and the body; clear the timeout; handOut() the client, and the stream to read it through");
    }

    /** Called once, when the conversation in HTTP is over. */
    private void leave(Client client) {
        // TODO step 2: close the connection, unless it was handed over
        client.close();
    }

    /** Ends what was handed over. {@link Hijacked#close} calls it. */
    private boolean end(Client client) {
        // TODO step 3: take it from hijacked and close its socket, once: true if this was the call that did
        client.closeSocket();
        return true;
    }

    /** Called when a handler has thrown. */
    private void abandon(Client client) {
        // TODO step 3: nobody else will close what was handed over to it: end() it
    }

    /** Called by the garbage collector: no {@link Hijacked} is left of it. */
    private void reclaim(Client client) {
        // TODO step 3: end() it, and count it as reclaimed if nobody had ended it before
    }

    /** Called by {@link #close}, and not by {@link #shutdown}. */
    private void endHijacked() {
        // TODO step 3: end() whatever is still handed over
    }

    /**
     * The server's side of a WebSocket (RFC 6455). One thread receives; any
     * may send, and frames never mix. A write to a client that does not read
     * waits, until another thread closes.
     */
    public static final class WebSocket implements AutoCloseable {

        private final Hijacked connection;
        private final Limits limits;
        private final Optional<String> subprotocol;
        private final FrameWriter writer;
        private final ReentrantLock reading = new ReentrantLock();
        private Optional<Message.Closed> end = Optional.empty();  // reading

        private WebSocket(Hijacked connection, Limits limits,
                Optional<String> subprotocol) throws IOException {
            this.connection = connection;
            this.limits = limits;
            this.subprotocol = subprotocol;
            writer = new FrameWriter(connection.out());
            connection.client.input.waitTwice(
                    limits.pingInterval(), writer::ping);
        }

        /**
         * Turns a request into a WebSocket: answers 101 and hijacks the
         * connection. A request that is no good handshake is answered here,
         * with 400, 405 or 426, and the connection ends.
         *
         * @param subprotocols those the server speaks, the best one first
         * @throws HandshakeException when the request was refused
         * @throws IllegalStateException as {@link Response#hijack}
         */
        public static WebSocket upgrade(Request request, Response response,
                Limits limits, String... subprotocols) throws IOException {
            Objects.requireNonNull(limits, "limits");
            try {
                if (!request.isRead()) {
                    throw refuse(400, "a handshake has no body");
                }
                checkHandshake(request);
            } catch (HandshakeException e) {
                e.answer(response);
                throw e;
            }
            var subprotocol = choose(request, List.of(subprotocols));
            throw new UnsupportedOperationException(
                    "TODO step 4: hijack; write the 101 with its fields; close the connection if that fails");
        }

        /** RFC 6455 section 4.2.1, as far as a server has to insist. */
        private static void checkHandshake(Request request)
                throws HandshakeException {
            throw new UnsupportedOperationException(
                    "TODO step 4: refuse() with 405 what is no GET, with 426 any version but 13, the rest with 400");
        }

        /** The proof that the handshake was understood (section 4.2.2). */
        public static String acceptKey(String key) {
            Objects.requireNonNull(key, "key");
            throw new UnsupportedOperationException(
                    "TODO step 4: SHA-1 of the key and 258EAFA5-E914-47DA-95CA-C5AB0DC85B11, in base64");
        }

        /**
         * The next frame of a client, unmasked, and not one byte more.
         *
         * @throws FrameException when the client breaks a rule of section 5
         * @throws EOFException when the stream ends, wherever
         */
        static Frame readFrame(InputStream in, int maxFrame)
                throws IOException {
            throw new UnsupportedOperationException(
                    "TODO step 5: two bytes, the rest of the length, four bytes of mask, the payload; check before you allocate");
        }

        /** Called by {@link #receive}; a broken rule is its FrameException. */
        private Message nextMessage() throws IOException {
            throw new UnsupportedOperationException(
                    "TODO step 6: read frames from connection.in() until a message is whole; answer a ping at once; a close frame is for closeReceived()");
        }

        /** UTF-8, and nothing else (section 8.1). */
        private static String text(byte[] bytes) throws FrameException {
            throw new UnsupportedOperationException(
                    "TODO step 6: decode; where it is no UTF-8, a FrameException with NOT_UTF_8");
        }

        /** Whether a close frame may carry this code (section 7.4). */
        private static boolean mayTravel(int code) {
            // TODO step 7: 1000 to 1003, 1007 to 1014, 3000 to 4999
            return true;
        }

        /** The client's close frame: the server answers it, and closes. */
        private Message closeReceived(Frame frame) throws IOException {
            // TODO step 7: check code and reason, send the same back, and it is over(): with the code, or NO_CODE
            return over(LOST, "");
        }

        /**
         * Sends a close frame, waits for the client's, and ends the TCP
         * connection; all of it takes at most {@code closeTimeout}. What comes
         * in between is thrown away. Any thread may call it, again and again;
         * a thread in {@link #receive} gets the {@link Message.Closed}.
         *
         * @param code   1000 to 1003, 1007 to 1014 or 3000 to 4999
         * @param reason at most 123 bytes in UTF-8
         */
        public void close(int code, String reason) {
            var payload = closePayload(code, reason);
            // TODO step 7: in cutAfter(closeTimeout): write the close frame, receive() until Closed; in any case close the connection
            connection.close();
        }

        // ---- given from here on ----

        /**
         * Waits for the next message, and answers pings meanwhile. After the
         * end every call returns the same {@link Message.Closed}. A client that
         * breaks the protocol is sent the code of the rule it broke, and the
         * connection ends. A client that sends nothing for {@code pingInterval}
         * is sent a ping; if nothing comes for as long again, the result is
         * 1006.
         */
        public Message receive() {
            reading.lock();
            try {
                return end.isPresent() ? end.get() : nextMessage();
            } catch (FrameException e) {
                return fail(e);
            } catch (IOException e) {
                return over(LOST, "");
            } finally {
                reading.unlock();
            }
        }

        /** The subprotocol that the server has chosen, if any. */
        public Optional<String> subprotocol() {
            return subprotocol;
        }

        /** @throws IOException "closed" after either side's close frame */
        public void sendText(String text) throws IOException {
            send(TEXT, utf8(text));
        }

        /** @throws IOException "closed" after either side's close frame */
        public void sendBinary(byte[] data) throws IOException {
            send(BINARY, data);
        }

        /**
         * Asks for a pong, which {@link #receive} passes over.
         *
         * @param data at most 125 bytes
         */
        public void ping(byte[] data) throws IOException {
            requireRange("bytes of data", data.length, 0, 125);
            send(PING, data);
        }

        /** With code 1000, and no reason. */
        @Override
        public void close() {
            close(1000, "");
        }

        private void send(int opcode, byte[] payload) throws IOException {
            if (!writer.write(opcode, payload)) {
                throw new IOException("closed");
            }
        }

        /** Ends the TCP connection; receive() returns this from now on. */
        private Message over(int code, String reason) {
            end = Optional.of(new Message.Closed(code, reason));
            connection.close();
            return end.get();
        }

        /** Sends the code of the broken rule, and closes in two steps. */
        private Message fail(FrameException e) {
            try (var _ = cutAfter(limits.closeTimeout())) {
                writer.writeClose(closePayload(e.closeCode, e.getMessage()));
                connection.client.hangUp();
            } catch (IOException gone) {
                // Nobody listens any more.
            }
            return over(e.closeCode, e.getMessage());
        }

        private static byte[] closePayload(int code, String reason) {
            var bytes = utf8(Objects.requireNonNull(reason, "reason"));
            if (!mayTravel(code)) {
                throw new IllegalArgumentException(
                        "code " + code + " must not be sent");
            }
            requireRange("bytes of reason", bytes.length, 0, 123);
            return ByteBuffer.allocate(2 + bytes.length)
                    .putShort((short) code).put(bytes).array();
        }

        /** A timer that ends with the block it is used in. */
        private record Cut(Thread timer) implements AutoCloseable {
            @Override
            public void close() {
                timer.interrupt();
            }
        }

        /** Only a close ends a blocked write, so a timer closes. */
        private Cut cutAfter(Duration limit) {
            return new Cut(Thread.ofVirtual().name("lab407-cut").start(() -> {
                try {
                    Thread.sleep(limit.isZero() ? FOREVER : limit);
                    connection.close();
                } catch (InterruptedException e) {
                    // In time.
                }
            }));
        }

        private static HandshakeException refuse(int status, String why) {
            return new HandshakeException(status, why);
        }

        private static void check(boolean kept, String rule)
                throws FrameException {
            if (!kept) {
                throw new FrameException(PROTOCOL_ERROR, rule);
            }
        }

        /** The first of the server's that the client has offered. */
        private static Optional<String> choose(
                Request request, List<String> spoken) {
            var offered = values(request.headers(), "Sec-WebSocket-Protocol")
                    .flatMap(HijackServer::split).toList();
            return spoken.stream().filter(offered::contains).findFirst();
        }
    }

    private static final int CONTINUATION = 0;
    private static final int TEXT = 1;
    private static final int BINARY = 2;
    private static final int CLOSE = 8;
    private static final int PING = 9;
    private static final int PONG = 10;

    private static final int PROTOCOL_ERROR = 1002;
    private static final int NO_CODE = 1005;    // is never sent
    private static final int LOST = 1006;       // is never sent
    private static final int NOT_UTF_8 = 1007;
    private static final int TOO_BIG = 1009;

    /** One frame of a client (RFC 6455 section 5.2). */
    record Frame(boolean fin, int opcode, byte[] payload) {}

    /** Sends frames, which a server does not mask. Thread-safe. */
    private static final class FrameWriter {

        private final OutputStream out;
        private final ReentrantLock lock = new ReentrantLock();
        private boolean closeSent;   // guarded by lock

        FrameWriter(OutputStream out) {
            this.out = out;
        }

        /** @return false after a close frame, when nothing is sent any more */
        boolean write(int opcode, byte[] payload) throws IOException {
            lock.lock();
            try {
                if (closeSent) {
                    return false;
                }
                closeSent = opcode == CLOSE;
                out.write(frame(opcode, payload));
                return true;
            } finally {
                lock.unlock();
            }
        }

        /** A second close frame is not sent. */
        void writeClose(byte[] payload) throws IOException {
            write(CLOSE, payload);
        }

        /** Asks a silent client for a pong, unless a write is under way. */
        void ping() {
            if (lock.tryLock()) {
                try {
                    write(PING, new byte[0]);
                } catch (IOException e) {
                    // Whoever reads will notice.
                } finally {
                    lock.unlock();
                }
            }
        }

        /** The whole frame in one array, for a single write. */
        private static byte[] frame(int opcode, byte[] payload) {
            int length = payload.length;
            int head = length < 126 ? 2 : length < 0x10000 ? 4 : 10;
            var frame = ByteBuffer.allocate(head + length)
                    .put((byte) (0x80 | opcode));
            switch (head) {
                case 2 -> frame.put((byte) length);
                case 4 -> frame.put((byte) 126).putShort((short) length);
                default -> frame.put((byte) 127).putLong(length);
            }
            return frame.put(payload).array();
        }
    }

    /** What a WebSocket receives. */
    public sealed interface Message {

        /** A text message, whole. */
        record Text(String text) implements Message {}

        /** A binary message, whole. */
        record Binary(byte[] data) implements Message {}

        /**
         * The end.
         *
         * @param code   the client's, or that of the rule it broke; 1005 when
         *               it gave none, 1006 when no close frame came
         * @param reason may be empty
         */
        record Closed(int code, String reason) implements Message {}
    }

    /**
     * The limits of a WebSocket.
     *
     * @param maxFrame     bytes of one frame's payload, at least 125
     * @param maxMessage   bytes of one message, at least 1
     * @param pingInterval silence after which {@link WebSocket#receive} sends a
     *                     ping, and how long it then waits; zero means no limit
     * @param closeTimeout how long a close may take; zero means no limit
     */
    public record Limits(int maxFrame, int maxMessage, Duration pingInterval,
            Duration closeTimeout) {

        public Limits {
            requireRange("maxFrame", maxFrame, 125, 1 << 30);
            requireRange("maxMessage", maxMessage, 1, 1 << 30);
            requireNotNegative("pingInterval", pingInterval);
            requireNotNegative("closeTimeout", closeTimeout);
        }

        /** Frames of 1 MiB, messages of 4 MiB, pings after 30 s, 5 s. */
        public static Limits defaults() {
            return new Limits(1 << 20, 4 << 20, Duration.ofSeconds(30),
                    Duration.ofSeconds(5));
        }

        /** The same with another limit for frames. */
        public Limits withMaxFrame(int bytes) {
            return new Limits(bytes, maxMessage, pingInterval, closeTimeout);
        }

        /** The same with another limit for messages. */
        public Limits withMaxMessage(int bytes) {
            return new Limits(maxFrame, bytes, pingInterval, closeTimeout);
        }

        /** The same with another limit for silence. */
        public Limits withPingInterval(Duration limit) {
            return new Limits(maxFrame, maxMessage, limit, closeTimeout);
        }

        /** The same with another limit for a close. */
        public Limits withCloseTimeout(Duration limit) {
            return new Limits(maxFrame, maxMessage, pingInterval, limit);
        }
    }

    /** A request that is no handshake; it has been answered already. */
    public static final class HandshakeException extends IOException {
        private static final long serialVersionUID = 1;
        private final int status;

        HandshakeException(int status, String message) {
            super(message);
            this.status = status;
        }

        /** What the client was told: 400, 405 or 426. */
        public int status() {
            return status;
        }

        private void answer(Response response) throws IOException {
            switch (status) {
                case 405 -> response.header("Allow", "GET");
                case 426 -> response.header("Upgrade", "websocket")
                        .header("Sec-WebSocket-Version", "13")
                        .header("Connection", "Upgrade");
                default -> { }
            }
            response.status(status).header("Connection", "close")
                    .send(getMessage() + "\n");
        }
    }

    /** A client has broken a rule of WebSocket. */
    static final class FrameException extends IOException {
        private static final long serialVersionUID = 1;
        private final int closeCode;

        FrameException(int closeCode, String rule) {
            super(rule);
            this.closeCode = closeCode;
        }

        /** What the client has to be told. */
        int closeCode() {
            return closeCode;
        }
    }

    /** A client has broken a rule of HTTP. */
    private static final class BadRequestException extends IOException {
        private static final long serialVersionUID = 1;
        private final int status;

        BadRequestException(int status, String rule) {
            super(rule);
            this.status = status;
        }
    }

    private static final Duration FIVE_SECONDS = Duration.ofSeconds(5);
    private static final Duration FOREVER = Duration.ofNanos(Long.MAX_VALUE);
    private static final Cleaner CLEANER = Cleaner.create();

    private final ReentrantLock lock = new ReentrantLock();
    private final Condition changed = lock.newCondition();
    /** Whose threads have not ended. Guarded by lock. */
    private final Set<Client> clients = new HashSet<>();
    private boolean closed;              // guarded by lock
    private volatile boolean closing;    // set once, never taken back
    private Semaphore places;
    private Thread acceptor;

    /**
     * Starts a server.
     *
     * @param bind where to listen; port 0 takes any free port
     * @throws BindException when the port is taken; nothing is left behind
     */
    public static HijackServer start(InetSocketAddress bind, Handler handler,
            Options options) throws IOException {
        Objects.requireNonNull(bind, "bind");
        var listening = new ServerSocket();
        var server = new HijackServer(listening, handler, options);
        try {
            listening.bind(bind, 1024);
        } catch (IOException e) {
            listening.close();
            throw e;
        }
        server.places = new Semaphore(options.maxConnections());
        server.acceptor = Thread.ofPlatform().daemon()
                .name("lab407-accept-" + listening.getLocalPort())
                .start(server::acceptLoop);
        return server;
    }

    /** Where the server listens: the real port, also after {@code bind} 0. */
    public InetSocketAddress localAddress() {
        return (InetSocketAddress) listener.getLocalSocketAddress();
    }

    /** What the server has done so far, and does now. */
    public Stats stats() {
        lock.lock();
        try {
            return new Stats(counters.requests.sum(),
                    counters.badRequests.sum(), (int) inHttp().count(),
                    hijacked.size(), counters.hijackedTotal.sum(),
                    counters.reclaimed.sum());
        } finally {
            lock.unlock();
        }
    }

    /** Call it under the lock. */
    private Stream<Client> inHttp() {
        return clients.stream().filter(client -> client.isInHttp);
    }

    private void acceptLoop() {
        try {
            while (!closing) {
                places.acquire();
                serve(accept());
            }
        } catch (InterruptedException e) {
            // Only shutdown() interrupts.
        }
    }

    /** Tries again after a failure: usually descriptors have run out. */
    private Socket accept() throws InterruptedException {
        while (true) {
            try {
                var socket = listener.accept();
                socket.setTcpNoDelay(true);   // no answer waits for an ACK
                return socket;
            } catch (IOException e) {
                if (closing) {
                    throw new InterruptedException();
                }
                Thread.sleep(50);
            }
        }
    }

    private void serve(Socket socket) {
        var client = new Client(this, socket);
        client.thread = Thread.ofVirtual()
                .name("lab407-client-" + socket.getPort())
                .unstarted(() -> {
                    try {
                        converse(client);
                    } finally {
                        leaveHttp(client);
                        update(() -> clients.remove(client));
                    }
                });
        lock.lock();
        try {
            if (closing) {
                client.closeSocket();
                return;
            }
            clients.add(client);
        } finally {
            lock.unlock();
        }
        client.thread.start();
    }

    private void leaveHttp(Client client) {
        update(() -> {
            if (client.isInHttp) {
                client.isInHttp = false;
                places.release();
            }
        });
    }

    private void update(Runnable change) {
        lock.lock();
        try {
            change.run();
            changed.signalAll();
        } finally {
            lock.unlock();
        }
    }

    /**
     * From here on the connection is hijacked: HTTP has one place more, and
     * the garbage collector watches what the handler gets.
     *
     * @param in what the handler will read
     */
    private Hijacked handOut(Client client, InputStream in) throws IOException {
        lock.lock();
        try {
            if (closed || client.socket.isClosed()) {
                throw new IOException("closed");
            }
            client.isHijacked = true;
            hijacked.add(client);
        } finally {
            lock.unlock();
        }
        counters.hijackedTotal.increment();
        leaveHttp(client);
        var handedOut = new Hijacked(client, in);
        CLEANER.register(handedOut, () -> reclaim(client));
        return handedOut;
    }

    /**
     * Stops accepting, waits for the requests in hand, at most {@code grace},
     * and cuts the rest. Connections that wait for a request are closed at
     * once; those that were hijacked live on, and are not waited for. A handler
     * that calls it is neither waited for nor cut.
     *
     * @param grace zero or more; zero cuts at once
     * @return true when nobody had to be cut
     */
    public boolean shutdown(Duration grace) throws InterruptedException {
        requireNotNegative("grace", grace);
        update(() -> {
            closing = true;
            inHttp().filter(client -> client.isIdle)
                    .forEach(Client::closeSocket);
        });
        closeQuietly(listener);
        acceptor.interrupt();
        acceptor.join(FIVE_SECONDS);
        lock.lock();
        try {
            awaitOthers(client -> client.isInHttp, grace);
            var rest = inHttp().filter(Client::isAnother).toList();
            rest.forEach(Client::closeSocket);
            rest.forEach(client -> client.thread.interrupt());
            awaitOthers(client -> client.isInHttp, FIVE_SECONDS);
            return rest.isEmpty();
        } finally {
            lock.unlock();
        }
    }

    /** Waits until no other thread's client is such. Call it under the lock. */
    private void awaitOthers(Predicate<Client> such, Duration limit)
            throws InterruptedException {
        long left = nanos(limit);
        while (left > 0
                && clients.stream().anyMatch(such.and(Client::isAnother))) {
            left = changed.awaitNanos(left);
        }
    }

    /**
     * Cuts everybody at once, hijacked connections as well, and waits for their
     * handlers at most 5 s. Any thread may call it, a handler too, which is
     * then not waited for; a second call finds nothing to do.
     */
    @Override
    public void close() {
        boolean interrupted = Thread.interrupted();   // it closes even so
        try {
            shutdown(Duration.ZERO);
            lock.lockInterruptibly();
            try {
                closed = true;   // who hijacks now has come too late
                endHijacked();
                clients.stream().filter(Client::isAnother)
                        .forEach(client -> client.thread.interrupt());
                awaitOthers(client -> true, FIVE_SECONDS);
            } finally {
                lock.unlock();
            }
        } catch (InterruptedException e) {
            endHijacked();
            interrupted = true;
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /** One TCP connection, and the one buffer that it is read through. */
    private static final class Client {

        private static final long HANG_UP_NANOS = 1_000_000_000;

        private final HijackServer server;
        private final Socket socket;
        private final Input input;
        private Thread thread;                // set once, before it starts
        private boolean isInHttp = true;      // guarded by the server's lock
        private boolean isIdle;               // guarded by the server's lock
        private volatile boolean isHijacked;

        Client(HijackServer server, Socket socket) {
            this.server = server;
            this.socket = socket;
            input = new Input(socket);
        }

        boolean isHijacked() {
            return isHijacked;
        }

        private boolean isAnother() {
            return thread != Thread.currentThread();
        }

        /**
         * Waits for a request, at most idleTimeout for its first byte and
         * headTimeout for the rest of its head; empty at the client's end.
         */
        Optional<Request> nextRequest() throws IOException {
            var options = server.options;
            input.waitAtMost(options.idleTimeout());
            server.update(() -> isIdle = true);   // shutdown closes it then
            boolean hasMore = !server.closing && input.fill();
            server.update(() -> isIdle = false);
            if (!hasMore) {
                return Optional.empty();
            }
            input.endAfter(options.headTimeout());
            try {
                var request = readRequest(input, options);
                server.counters.requests.increment();
                return Optional.of(request);
            } catch (SocketTimeoutException e) {
                throw new BadRequestException(408, "a slow head");
            } finally {
                input.waitAtMost(options.idleTimeout());
            }
        }

        /** Tells the client what was wrong. This is its last answer. */
        void refuse(BadRequestException e) {
            server.counters.badRequests.increment();
            var none = new Request("GET", "/", "HTTP/1.0", List.of(),
                    new Body(input, 0, false, server.options));
            new Response(this, none).fail(e);
        }

        /** In two steps. */
        void close() {
            try (socket) {
                hangUp();
            } catch (IOException e) {
                // The client was faster.
            }
        }

        /**
         * Half-closes, and reads on until the client has closed, for at most
         * 1 s: what was sent last then survives a client that is still sending
         * (RFC 9112 section 9.6).
         */
        void hangUp() throws IOException {
            socket.shutdownOutput();
            var bin = new byte[8 * 1024];
            long began = System.nanoTime();
            long left = HANG_UP_NANOS;
            int count = 0;
            while (count >= 0 && left > 0) {
                socket.setSoTimeout(millis(Duration.ofNanos(left)));
                count = socket.getInputStream().read(bin);
                left = HANG_UP_NANOS - (System.nanoTime() - began);
            }
        }

        void closeSocket() {
            closeQuietly(socket);
        }
    }

    /**
     * All that is ever read from a connection is read through this buffer, and
     * what it has read ahead stays in it.
     */
    private static final class Input extends InputStream {

        private final Socket socket;
        private final byte[] buffer = new byte[8 * 1024];
        private int from;
        private int to;
        private OptionalLong deadline = OptionalLong.empty();
        private Optional<Runnable> whenSilent = Optional.empty();

        Input(Socket socket) {
            this.socket = socket;
        }

        /** Read ahead, and not yet asked for. */
        int buffered() {
            return to - from;
        }

        @Override
        public int read() throws IOException {
            return fill() ? buffer[from++] & 0xff : -1;
        }

        @Override
        public int read(byte[] bytes, int offset, int length)
                throws IOException {
            Objects.checkFromIndexSize(offset, length, bytes.length);
            if (length == 0 || !fill()) {
                return length == 0 ? 0 : -1;
            }
            int count = Math.min(length, to - from);
            System.arraycopy(buffer, from, bytes, offset, count);
            from += count;
            return count;
        }

        /** Waits for a byte where none is left; false at the end. */
        boolean fill() throws IOException {
            if (from < to) {
                return true;
            }
            if (deadline.isPresent()) {
                long left = deadline.getAsLong() - System.nanoTime();
                if (left <= 0) {
                    throw new SocketTimeoutException("the head took too long");
                }
                socket.setSoTimeout(millis(Duration.ofNanos(left)));
            }
            int count = readSocket();
            from = 0;
            to = Math.max(0, count);
            return to > 0;
        }

        private int readSocket() throws IOException {
            var in = socket.getInputStream();
            try {
                return in.read(buffer);
            } catch (SocketTimeoutException e) {
                whenSilent.orElseThrow(() -> e).run();
                return in.read(buffer);   // waits once more
            }
        }

        /** From now on, a limit for each single read; zero means none. */
        void waitAtMost(Duration limit) throws IOException {
            deadline = OptionalLong.empty();
            socket.setSoTimeout(millis(limit));
        }

        /** The same, with something to do before a read waits once more. */
        void waitTwice(Duration limit, Runnable between) throws IOException {
            waitAtMost(limit);
            whenSilent = Optional.of(between);
        }

        /** From now on, one limit for all reads together; zero means none. */
        void endAfter(Duration limit) throws IOException {
            waitAtMost(Duration.ZERO);
            if (!limit.isZero()) {
                deadline = OptionalLong.of(System.nanoTime() + nanos(limit));
            }
        }

        /** The next line without its CRLF, of at most so many bytes. */
        String line(int most) throws IOException {
            var line = new StringBuilder();
            for (int next = next(); next != '\r'; next = next()) {
                require(line.length() < most, 431, "the head is too long");
                require(next >= ' ' && next != 127 || next == '\t', 400,
                        "a control character");   // a bare LF is one, too
                line.append((char) next);
            }
            require(next() == '\n', 400, "a CR without LF");
            return line.toString();
        }

        private int next() throws IOException {
            int next = read();
            if (next < 0) {
                throw new EOFException("the client has left");
            }
            return next;
        }
    }

    private static final Pattern REQUEST =
            Pattern.compile("(\\S+) (\\S+) (HTTP/\\d\\.\\d)");
    private static final Pattern FIELD = Pattern.compile(
            "([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*");
    private static final Pattern HOST = Pattern.compile(
            "([\\w.~!$&'()*+,;=%-]*|\\[[0-9A-Fa-f:.]+])(:\\d*)?");
    private static final Pattern CHUNK =
            Pattern.compile("([0-9a-fA-F]{1,15})([ \t]*;.*)?");

    /**
     * Reads the head of a request. What two programs may understand in two
     * ways is refused (RFC 9112 sections 2.2, 3, 5 and 6).
     */
    private static Request readRequest(Input input, Options options)
            throws IOException {
        int left = options.maxHeadBytes();
        var line = input.line(left);
        if (line.isEmpty()) {   // one is forgiven: section 2.2
            line = input.line(left);
        }
        left -= line.length();
        var first = REQUEST.matcher(line);
        require(first.matches(), 400, "no request line");
        require(first.group(3).startsWith("HTTP/1."), 505, first.group(3));
        var version = first.group(3).replaceFirst("1\\.[1-9]", "1.1");
        var headers = new ArrayList<Header>();
        for (line = input.line(left); !line.isEmpty();
                line = input.line(left)) {
            var field = FIELD.matcher(line);
            require(field.matches(), 400, "no header field");
            headers.add(new Header(field.group(1), field.group(2)));
            left -= line.length() + 2;
            require(left > 0, 431, "the head is too long");
        }
        var hosts = values(headers, "Host").toList();
        require(hosts.size() == 1 || hosts.isEmpty()
                && version.equals("HTTP/1.0"), 400, "one Host is needed");
        require(hosts.stream().allMatch(host -> HOST.matcher(host).matches()),
                400, "no Host");
        return new Request(first.group(1), first.group(2), version,
                List.copyOf(headers), body(headers, input, options));
    }

    private static Body body(List<Header> headers, Input input, Options options)
            throws IOException {
        var lengths = values(headers, "Content-Length").toList();
        var codings = values(headers, "Transfer-Encoding")
                .flatMap(HijackServer::split)
                .map(each -> each.toLowerCase(Locale.ROOT)).toList();
        if (!codings.isEmpty()) {
            require(lengths.isEmpty(), 400, "two lengths of one body");
            require(codings.getLast().equals("chunked"), 400,
                    "a body without an end");
            require(codings.size() == 1, 501, "only chunked is known");
            return new Body(input, 0, true, options);
        }
        require(lengths.size() <= 1, 400, "two lengths of one body");
        var length = lengths.isEmpty() ? "0" : lengths.getFirst();
        require(length.matches("\\d{1,18}"), 400, "no Content-Length");
        long bytes = Long.parseLong(length);
        require(bytes <= options.maxBodyBytes(), 413, "a long body");
        return new Body(input, bytes, false, options);
    }

    private static void require(boolean kept, int status, String otherwise)
            throws BadRequestException {
        if (!kept) {
            throw new BadRequestException(status, otherwise);
        }
    }

    private static Stream<String> values(List<Header> headers, String name) {
        return headers.stream().filter(h -> h.name().equalsIgnoreCase(name))
                .map(Header::value);
    }

    private static Stream<String> split(String list) {
        return Stream.of(list.split(",")).map(String::strip)
                .filter(each -> !each.isEmpty());
    }

    /** The body of one request, and not one byte more. */
    private static final class Body extends InputStream {

        private static final int MOST_TO_SKIP = 64 * 1024;

        private final Input input;
        private final Options options;
        private final boolean chunked;
        private long left;             // of the body, or of the chunk at hand
        private long taken;            // by chunks so far
        private boolean ended;
        private boolean broken;

        Body(Input input, long length, boolean chunked, Options options) {
            this.input = input;
            this.options = options;
            this.chunked = chunked;
            left = length;
            ended = !chunked && length == 0;
        }

        @Override
        public int read() throws IOException {
            var one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] bytes, int offset, int length)
                throws IOException {
            Objects.checkFromIndexSize(offset, length, bytes.length);
            require(!broken, 400, "a broken body");
            broken = true;   // unless the next lines come to their end
            if (!ended && left == 0) {
                beginChunk();
            }
            int count = ended ? -1 : length == 0 ? 0 : take(bytes, offset,
                    (int) Math.min(length, left));
            broken = false;
            return count;
        }

        private int take(byte[] bytes, int offset, int most)
                throws IOException {
            int count = input.read(bytes, offset, most);
            if (count < 0) {
                throw new EOFException("the body is not whole");
            }
            left -= count;
            if (left == 0) {
                ended = !chunked;
                require(ended || input.line(2).isEmpty(), 400, "a chunk");
            }
            return count;
        }

        private void beginChunk() throws IOException {
            var size = CHUNK.matcher(input.line(256));
            require(size.matches(), 400, "a chunk's size");
            left = Long.parseLong(size.group(1), 16);
            require(left <= options.maxBodyBytes() - taken, 413, "a long body");
            taken += left;
            if (left == 0) {
                int most = options.maxHeadBytes();
                for (var line = input.line(most); !line.isEmpty();
                        line = input.line(most)) {
                    most -= line.length();   // a trailer: nobody asked
                }
                ended = true;
            }
        }

        /** Reads to the end where that is near: false where it is not. */
        boolean skipRest() throws IOException {
            var bin = new byte[8 * 1024];
            int skipped = 0;
            try {
                while (!ended && skipped <= MOST_TO_SKIP
                        && left <= MOST_TO_SKIP) {
                    skipped += Math.max(0, read(bin));
                }
            } catch (BadRequestException e) {
                return false;   // there was one answer, and it is sent
            }
            return ended;
        }
    }

    /** A header field. */
    public record Header(String name, String value) {}

    /**
     * What a client asks. For the handler's thread.
     *
     * @param target  as it came: {@code /doors?lift=3}
     * @param version {@code HTTP/1.0} or {@code HTTP/1.1}
     * @param headers in the order in which they came
     * @param body    what comes after the head; empty where nothing does. A
     *                read waits at most idleTimeout
     */
    public record Request(String method, String target, String version,
            List<Header> headers, InputStream body) {

        /** The target without host and query: {@code /doors}. */
        public String path() {
            return target.replaceFirst("^https?://[^/?]*", "")
                    .replaceFirst("[?].*", "");
        }

        /** The values of all fields of this name, in whatever case. */
        public List<String> headers(String name) {
            return values(headers, name).toList();
        }

        /** The first of them. */
        public Optional<String> header(String name) {
            return values(headers, name).findFirst();
        }

        /** Whether a list, {@code a, b, c}, holds this word in any case. */
        public boolean hasToken(String header, String token) {
            return values(headers, header).flatMap(HijackServer::split)
                    .anyMatch(token::equalsIgnoreCase);
        }

        private boolean isRead() {
            return ((Body) body).ended;
        }

        /** @return false if there is so much left that it is not worth it */
        private boolean skipRest() throws IOException {
            return ((Body) body).skipRest();
        }
    }

    /** What has become of a response. */
    private enum State { OPEN, SENT, HIJACKED }

    /** What the client is told, at most once. For the handler's thread. */
    public static final class Response {

        private static final DateTimeFormatter DATE = DateTimeFormatter
                .ofPattern("EEE, dd MMM yyyy HH:mm:ss 'GMT'", Locale.ENGLISH)
                .withZone(ZoneOffset.UTC);
        private static final Map<Integer, String> REASONS = Map.of(200, "OK",
                400, "Bad Request", 404, "Not Found", 405, "Method Not Allowed",
                426, "Upgrade Required", 500, "Internal Server Error");

        private final Client client;
        private final Request request;
        private final List<Header> headers = new ArrayList<>();
        private State state = State.OPEN;
        private int status = 200;
        private boolean keepsAlive;

        private Response(Client client, Request request) {
            this.client = client;
            this.request = request;
        }

        /** @param code 200 (the default) to 599 */
        public Response status(int code) {
            requireRange("code", code, 200, 599);
            status = code;
            return this;
        }

        /**
         * Adds a field. The server itself adds Date and Content-Length, and
         * "Connection: close" where it will close.
         *
         * @throws IllegalArgumentException for a name that is no token, for a
         *         control character in the value, and for Content-Length and
         *         Transfer-Encoding, which are the server's
         */
        public Response header(String name, String value) {
            if (!FIELD.matcher(name + ":").matches() || value.chars()
                    .anyMatch(c -> c < ' ' && c != '\t' || c == 127)) {
                throw new IllegalArgumentException("no header field: " + name);
            }
            if (name.matches("(?i)content-length|transfer-encoding")) {
                throw new IllegalArgumentException(name + " is the server's");
            }
            headers.add(new Header(name, value));
            return this;
        }

        /** Sends text, in UTF-8. */
        public void send(String body) throws IOException {
            if (values(headers, "Content-Type").findAny().isEmpty()) {
                header("Content-Type", "text/plain; charset=utf-8");
            }
            send(utf8(body));
        }

        /** @throws IllegalStateException if it was sent, or hijacked */
        public void send(byte[] body) throws IOException {
            if (state != State.OPEN) {
                throw new IllegalStateException("it is " + state + " already");
            }
            boolean closes = values(headers, "Connection")
                    .flatMap(HijackServer::split)
                    .anyMatch("close"::equalsIgnoreCase);
            keepsAlive = !closes && client.server.keepsAlive(request);
            if (!keepsAlive && !closes) {
                header("Connection", "close");
            }
            boolean hasBody = status != 204 && status != 304;
            var head = new StringBuilder("HTTP/1.1 " + status + " "
                    + REASONS.getOrDefault(status, "") + "\r\n");
            headers.forEach(h -> head.append(h.name()).append(": ")
                    .append(h.value()).append("\r\n"));
            head.append("Date: ").append(DATE.format(Instant.now()));
            if (hasBody) {
                head.append("\r\nContent-Length: ").append(body.length);
            }
            var bytes = new ByteArrayOutputStream();
            bytes.writeBytes(latin1(head + "\r\n\r\n"));
            if (hasBody && !request.method().equals("HEAD")) {
                bytes.writeBytes(body);
            }
            state = State.SENT;
            bytes.writeTo(client.socket.getOutputStream());
        }

        /**
         * Takes the connection. The server sends nothing on it, reads nothing
         * from it, and does not close it when the handler returns. No answer
         * is sent, not even a 101.
         *
         * @throws IllegalStateException if the response was sent, the
         *         connection was hijacked before, or the request has a body
         *         that was not read to its end
         * @throws IOException "closed" if the server has closed meanwhile
         */
        public Hijacked hijack() throws IOException {
            var handedOut = client.server.handOver(client, request, state);
            state = State.HIJACKED;
            return handedOut;
        }

        private State state() {
            return state;
        }

        /** Whether the client was told that it may send another request. */
        private boolean keepsAlive() {
            return keepsAlive;
        }

        /** Tells the client that something went wrong, if it still can. */
        private void fail(Throwable failure) {
            if (state != State.OPEN) {
                return;
            }
            headers.clear();
            header("Connection", "close");
            try {
                if (failure instanceof BadRequestException e) {
                    status(e.status).send(e.getMessage() + "\n");
                } else {
                    status(500).send("");   // why, is not the client's
                }
            } catch (IOException e) {
                // The client does not want to know.
            }
        }
    }

    /**
     * A connection that belongs to whoever holds this, and who has to close it.
     * Its streams belong to it: as long as anybody holds one of the three, the
     * connection is open. If all are dropped, the garbage collector closes it
     * at some later time.
     */
    public static final class Hijacked implements AutoCloseable {

        private final Client client;
        private final InputStream in;
        private final OutputStream out;

        private Hijacked(Client client, InputStream in) throws IOException {
            this.client = client;
            this.in = new In(in);
            this.out = new Out(client.socket.getOutputStream());
        }

        /** What the client sends, first what the server had read ahead. */
        public InputStream in() {
            return in;
        }

        /** What the client gets, unbuffered. */
        public OutputStream out() {
            return out;
        }

        /** Bytes that the server had read ahead, and nobody has read since. */
        public int buffered() {
            return client.input.buffered();
        }

        /** Any thread may; who is blocked on a stream gets an IOException. */
        @Override
        public void close() {
            client.server.end(client);
        }

        private final class In extends FilterInputStream {

            private In(InputStream in) {
                super(in);
            }

            @Override
            public int read() throws IOException {
                var one = new byte[1];
                return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
            }

            @Override
            public int read(byte[] bytes, int offset, int length)
                    throws IOException {
                requireOpen();
                try {
                    return in.read(bytes, offset, length);
                } finally {   // while it waits, too, somebody holds this
                    Reference.reachabilityFence(Hijacked.this);
                }
            }

            @Override
            public void close() {
                Hijacked.this.close();
            }
        }

        private final class Out extends FilterOutputStream {

            private Out(OutputStream out) {
                super(out);
            }

            @Override
            public void write(byte[] bytes, int offset, int length)
                    throws IOException {
                requireOpen();
                try {
                    out.write(bytes, offset, length);
                } finally {
                    Reference.reachabilityFence(Hijacked.this);
                }
            }

            @Override
            public void write(int one) throws IOException {
                write(new byte[] {(byte) one}, 0, 1);
            }

            @Override
            public void close() {
                Hijacked.this.close();
            }
        }

        private void requireOpen() throws IOException {
            if (client.socket.isClosed()) {
                throw new IOException("closed");
            }
        }
    }

    /**
     * The limits of a server.
     *
     * @param maxConnections clients in HTTP at once, at least 1; one more waits
     *                       in the backlog; hijacked ones do not count
     * @param maxHeadBytes   of a request's head, at least 64
     * @param maxBodyBytes   of a request's body, 0 or more
     * @param headTimeout    for a whole head, from its first byte on; zero
     *                       means no limit
     * @param idleTimeout    for the wait for a request, and for each read of a
     *                       body; zero means no limit
     */
    public record Options(int maxConnections, int maxHeadBytes,
            long maxBodyBytes, Duration headTimeout, Duration idleTimeout) {

        public Options {
            requireRange("maxConnections", maxConnections, 1,
                    Integer.MAX_VALUE);
            requireRange("maxHeadBytes", maxHeadBytes, 64, 1 << 30);
            requireRange("maxBodyBytes", maxBodyBytes, 0, Long.MAX_VALUE);
            requireNotNegative("headTimeout", headTimeout);
            requireNotNegative("idleTimeout", idleTimeout);
        }

        /** 10,000 clients, 16 KiB of head, 10 MB of body, 10 s, 1 min. */
        public static Options defaults() {
            return new Options(10_000, 16 * 1024, 10_000_000,
                    Duration.ofSeconds(10), Duration.ofMinutes(1));
        }

        /** The same with another cap. */
        public Options withMaxConnections(int cap) {
            return new Options(cap, maxHeadBytes, maxBodyBytes, headTimeout,
                    idleTimeout);
        }

        /** The same with another limit for heads. */
        public Options withMaxHeadBytes(int bytes) {
            return new Options(maxConnections, bytes, maxBodyBytes,
                    headTimeout, idleTimeout);
        }

        /** The same with another limit for bodies. */
        public Options withMaxBodyBytes(long bytes) {
            return new Options(maxConnections, maxHeadBytes, bytes,
                    headTimeout, idleTimeout);
        }

        /** The same with another time for a head. */
        public Options withHeadTimeout(Duration limit) {
            return new Options(maxConnections, maxHeadBytes, maxBodyBytes,
                    limit, idleTimeout);
        }

        /** The same with another time for silence. */
        public Options withIdleTimeout(Duration limit) {
            return new Options(maxConnections, maxHeadBytes, maxBodyBytes,
                    headTimeout, limit);
        }
    }

    /**
     * Exact while nothing happens. {@code int}: now; {@code long}: since the
     * start.
     *
     * @param requests        whose heads were good
     * @param badRequests     that were refused by the server itself
     * @param httpConnections of which HTTP is spoken
     * @param hijackedOpen    handed over, and not closed
     * @param hijackedTotal   handed over
     * @param reclaimed       handed over, dropped, and closed by the garbage
     *                        collector
     */
    public record Stats(long requests, long badRequests, int httpConnections,
            int hijackedOpen, long hijackedTotal, long reclaimed) {}

    private static final class Counters {
        final LongAdder requests = new LongAdder();
        final LongAdder badRequests = new LongAdder();
        final LongAdder hijackedTotal = new LongAdder();
        final LongAdder reclaimed = new LongAdder();
    }

    private static void requireRange(String name, long value, long least,
            long most) {
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

    private static void closeQuietly(Closeable socket) {
        try {
            socket.close();
        } catch (IOException e) {
            // The descriptor is gone all the same: close() is not repeated.
        }
    }

    /** For setSoTimeout, where 0 is no limit: at least 1 ms for any other. */
    private static int millis(Duration limit) {
        long millis = Math.ceilDiv(nanos(limit), 1_000_000L);
        return (int) Math.min(millis, Integer.MAX_VALUE);
    }

    /** At most the 292 years that fit in a long. */
    private static long nanos(Duration time) {
        return time.compareTo(FOREVER) < 0 ? time.toNanos() : Long.MAX_VALUE;
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] latin1(String text) {
        return text.getBytes(StandardCharsets.ISO_8859_1);
    }

    // The demo: one scene for each step.

    private static final List<String> STEPS = List.of("Serve plain requests",
            "Hand over the connection", "Settle who closes the connection",
            "Complete the handshake", "Read one frame", "Assemble messages",
            "Complete the closing handshake");
    private static final String GET = "GET /lift/3 HTTP/1.1\r\nHost: demo\r\n";
    private static volatile int scene;

    /** No argument: the demo; {@code serve [HOST:]PORT} until Ctrl-C. */
    public static void main(String[] args) throws Exception {
        Thread.setDefaultUncaughtExceptionHandler((_, e) -> died(e));
        switch (String.join(" ", args)) {
            case "" -> demo();
            case String verb when verb.matches("serve (\\S+:)?\\d{1,5}") ->
                stay(verb.substring("serve ".length()));
            default -> usage("""
                    lab-407                    the demo, step by step
                    lab-407 serve [HOST:]PORT  lift doors until Ctrl-C: /doors,
                                               /events is a WebSocket, /lines
                                               a protocol of its own
                    lab-407 help               this text""", args);
        }
    }

    private static void stay(String where) throws Exception {
        scene = STEPS.size();
        int colon = where.lastIndexOf(':');
        var host = colon < 0 ? "127.0.0.1" : where.substring(0, colon);
        int port = Integer.parseInt(where.substring(colon + 1));
        try {
            var server = start(new InetSocketAddress(host, port),
                    new Doors(), Options.defaults());
            IO.println("listening on " + host + ":"
                    + server.localAddress().getPort() + ", Ctrl-C ends");
            Thread.currentThread().join();
        } catch (IOException | IllegalArgumentException e) {
            IO.println("cannot listen on " + where + ": " + e.getMessage());
            System.exit(1);
        }
    }

    /** The number of a lift moves its door, and every watcher is told. */
    private static final class Doors implements Handler {

        private final Set<String> open = ConcurrentHashMap.newKeySet();
        private final Map<WebSocket, BlockingQueue<String>> watchers =
                new ConcurrentHashMap<>();

        @Override
        public void handle(Request request, Response response)
                throws IOException {
            switch (request.path()) {
                case "/doors" -> response.send("open: " + open + "\n");
                case "/events" -> watch(WebSocket.upgrade(request, response,
                        Limits.defaults(), "doors"));
                case "/lines" -> lines(request, response);
                default -> response.status(404).send("no such page\n");
            }
        }

        private void watch(WebSocket watcher) {
            var events = new ArrayBlockingQueue<String>(100);
            watchers.put(watcher, events);
            // A client that does not read blocks this thread, and no other.
            var sender = Thread.startVirtualThread(() -> {
                try {
                    while (true) {
                        watcher.sendText(events.take());
                    }
                } catch (IOException | InterruptedException e) {
                    // It has left.
                }
            });
            try (watcher) {
                while (watcher.receive() instanceof Message.Text(var lift)) {
                    move(lift);
                }
            } finally {
                watchers.remove(watcher);
                sender.interrupt();
            }
        }

        private void lines(Request request, Response response)
                throws IOException {
            if (!request.hasToken("Upgrade", "lines")) {
                response.status(426).header("Upgrade", "lines")
                        .header("Connection", "Upgrade").send("lines only\n");
                return;
            }
            try (var taken = response.hijack()) {
                taken.out().write(utf8("HTTP/1.1 101 Switching Protocols\r\n"
                        + "Upgrade: lines\r\nConnection: Upgrade\r\n\r\n"
                        + taken.buffered() + " bytes came with the request\n"));
                var lines = new Scanner(taken.in());
                while (lines.hasNextInt()) {
                    taken.out().write(utf8(move(lines.next()) + "\n"));
                }
            }
        }

        private String move(String lift) {
            if (!lift.matches("\\d{1,3}")) {
                return "no lift";
            }
            boolean opens = open.add(lift);
            if (!opens) {
                open.remove(lift);
            }
            var event = "lift " + lift + (opens ? " opens" : " closes");
            watchers.forEach((watcher, events) -> {
                if (!events.offer(event) && watchers.remove(watcher, events)) {
                    Thread.startVirtualThread(watcher::close);
                }
            });
            return event;
        }
    }

    private static void demo() throws Exception {
        IO.println("lab 407  Connection hijack");
        scene = 1;
        var heard = heard((q, r) -> r.send(""),
                (GET + "\r\n").repeat(2) + GET + "Connection: close\r\n\r\n");
        IO.println();
        show("3 requests in one write", "3 answers",
                heard.split("HTTP/1.1 200", -1).length - 1 + " answers");
        scene = 2;
        show("9 bytes that came too early", "EARLYDATA", heard((q, r) -> {
            try (var taken = r.hijack()) {
                taken.out().write(taken.in().readNBytes(9));
            }
        }, GET + "\r\nEARLYDATA"));
        scene = 3;
        show("a handler that hijacks and throws", "", heard((q, r) -> {
            r.hijack();
            throw new IOException("this handler is broken");
        }, GET + "\r\n"));
        try (var server = demoServer((q, r) -> r.hijack());
             var _ = client(server, GET + "\r\n")) {
            for (int i = 0; i < 100 && server.stats().reclaimed() == 0; i++) {
                System.gc();
                Thread.sleep(10);
            }
            show("a handler that drops it", "reclaimed: 1, open: 0",
                    "reclaimed: %d, open: %d".formatted(server.stats()
                            .reclaimed(), server.stats().hijackedOpen()));
        }
        scene = 4;
        show("the key of RFC 6455", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
                WebSocket.acceptKey("dGhlIHNhbXBsZSBub25jZQ=="));
        scene = 5;
        var frame = WebSocket.readFrame(new ByteArrayInputStream(HexFormat.of()
                .parseHex("818537fa213d7f9f4d5158")), 125);
        show("81 85 37 fa 21 3d 7f 9f ...", "Hello",
                new String(frame.payload()));
        jdkClient();
        IO.println("\nall seven steps work");
    }

    private static void jdkClient() throws Exception {
        var told = new LinkedBlockingQueue<String>();
        try (var server = demoServer((q, r) -> {
            try (var socket = WebSocket.upgrade(q, r, Limits.defaults())) {
                var next = socket.receive();
                for (; next instanceof Message.Text(var text);
                        next = socket.receive()) {
                    told.add(text.length() + " characters");
                }
                told.add(next.toString());
            }
        }); var http = HttpClient.newHttpClient()) {
            scene = 6;
            var socket = http.newWebSocketBuilder().buildAsync(
                    URI.create("ws://127.0.0.1:" + server.localAddress()
                            .getPort()), new java.net.http.WebSocket
                            .Listener() {}).get(10, TimeUnit.SECONDS);
            socket.sendText("x".repeat(200_000), true);
            show("a message in 13 frames", "200000 characters", next(told));
            scene = 7;
            socket.sendClose(1000, "bye");
            show("the client closes", "Closed.code=1000, reason=bye.",
                    next(told));
            socket.abort();
        }
    }

    private static String next(BlockingQueue<String> told)
            throws InterruptedException {
        return String.valueOf(told.poll(2, TimeUnit.SECONDS));
    }

    private static HijackServer demoServer(Handler handler)
            throws IOException {
        return start(new InetSocketAddress("127.0.0.1", 0), (q, r) -> {
            try {
                handler.handle(q, r);
            } catch (UnsupportedOperationException todo) {
                died(todo);
                throw todo;
            }
        }, Options.defaults());
    }

    private static Socket client(HijackServer server, String says)
            throws IOException {
        var client = new Socket("127.0.0.1", server.localAddress().getPort());
        client.setSoTimeout(1500);
        client.getOutputStream().write(latin1(says));
        return client;
    }

    /** All that a client hears until the end. */
    private static String heard(Handler handler, String says)
            throws IOException {
        try (var server = demoServer(handler);
             var client = client(server, says)) {
            return new String(client.getInputStream().readAllBytes());
        } catch (SocketTimeoutException e) {
            return "no end";
        }
    }

    private static void show(String what, String expected, String seen) {
        IO.println("  %d  %-34s %s".formatted(scene, what,
                seen.isEmpty() ? "the connection ends" : seen));
        if (!seen.matches(expected) && !seen.equals(expected)) {
            next(scene, "search HijackServer.java for TODO step " + scene);
        }
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
                : "PATH/TO/HijackServer.java";
        return (isHere ? "" : "in a clone of the workbook:\n  ")
                + "check  %s test-407 %s".formatted(jbang, file).strip()
                + "\n  hint   %s hint 407 %d".formatted(jbang, step);
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
