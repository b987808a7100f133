///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 417: many calls on one connection, beside a connection pool

import module java.base;

/**
 * A multiplexer, which carries many calls at once on one connection, its
 * server, and a connection pool that speaks the same protocol.
 *
 * <p>The one idea: each frame carries the number of its stream. So the frames
 * of many calls can share a connection, and responses can come in any order.
 *
 * <p>The protocol is a small part of HTTP/2 (RFC 9113), with the same 9-byte
 * frame header. Each side first sends a preface of 16 bytes: {@code MUX1} and
 * its {@link Options}. A request is one DATA frame with END_STREAM, at most
 * 16 KiB long; the DATA frames of that stream in the other direction are the
 * response. Flow control applies to responses only.
 */
public final class PoolVsMultiplex {

    // Types of frames, the one flag, and error codes (RFC 9113 sections 6, 7).
    static final int DATA = 0, RST_STREAM = 3, GOAWAY = 7, WINDOW_UPDATE = 8;
    static final int END_STREAM = 1;
    public static final int NO_ERROR = 0, PROTOCOL_ERROR = 1,
            INTERNAL_ERROR = 2, FLOW_CONTROL_ERROR = 3, FRAME_SIZE_ERROR = 6,
            REFUSED_STREAM = 7, CANCEL = 8;

    /** The longest payload of a frame, and so the longest request. */
    public static final int MAX_PAYLOAD = 16 * 1024;
    /** The longest response that {@link Client#call} collects. */
    public static final int MAX_RESPONSE = 16 * 1024 * 1024;

    private PoolVsMultiplex() {}

    /**
     * A frame (RFC 9113 section 4.1).
     *
     * @param type     0 to 255; a receiver ignores types it does not know
     * @param flags    0 to 255
     * @param streamId 0 to 2^31 - 1; 0 is the connection as a whole
     * @param payload  at most {@link #MAX_PAYLOAD} bytes
     */
    public record Frame(int type, int flags, int streamId, byte[] payload) {

        /** Length (3 bytes), type, flags, stream id (4 bytes), payload. */
        public byte[] encode() {
            throw new UnsupportedOperationException(
                    "TODO step 1: put the fields into a ByteBuffer in the order above, each with its most significant byte first; the length is that of the payload");
        }

        /** A frame whose payload is these numbers, 4 bytes each. */
        static Frame of(int type, int streamId, int... numbers) {
            var payload = ByteBuffer.allocate(4 * numbers.length);
            Arrays.stream(numbers).forEach(payload::putInt);
            return new Frame(type, 0, streamId, payload.array());
        }

        /** The first 4 bytes of the payload. */
        int number() {
            return ByteBuffer.wrap(payload).getInt();
        }

        boolean endsStream() {
            return (flags & END_STREAM) != 0;
        }
    }

    /** Sends requests to one server. Thread-safe. */
    public interface Client extends AutoCloseable {

        /**
         * Sends the request and waits for the whole response. A call that
         * fails, or that is interrupted, is cancelled.
         *
         * @param request at most {@link #MAX_PAYLOAD} bytes
         * @param timeout the longest wait, be it for a free connection, for
         *                other calls to end, or for the response; zero does not
         *                wait at all. A new connection of a pool takes its time
         *                on top of that
         * @throws SocketTimeoutException  if the time is over
         * @throws StreamResetException    if the server has reset the stream
         * @throws ConnectionLostException if the connection has failed, or
         *         takes no more calls
         * @throws IOException if the response has more than
         *         {@link #MAX_RESPONSE} bytes, or no connection can be made
         */
        byte[] call(byte[] request, Duration timeout)
                throws IOException, InterruptedException;

        /** How many connections are open. */
        int connections();

        /** Closes all connections; calls in progress fail. */
        @Override
        void close();
    }

    /** One connection that carries many calls at once. Thread-safe. */
    public static final class Mux extends Link implements Client {

        private final InetSocketAddress server;
        private final Options options;
        private final Semaphore slots;   // as many as the server allows streams
        // all that follow are guarded by this
        private final Map<Integer, Response> responses = new HashMap<>();
        private final ReceiveWindow window;
        private int nextId;
        private String unusable;         // why no call can be begun any more

        /**
         * Sends the request on a stream of its own. When this is called, the
         * server allows one more stream.
         *
         * @throws ConnectionLostException if no stream can be begun
         */
        private synchronized Response begin(byte[] request)
                throws ConnectionLostException {
            requireUsable();
            throw new UnsupportedOperationException(
                    "TODO step 1: if nextId is negative, all ids are used up: throw a ConnectionLostException, not processed; else make a Response with nextId, add 2 to nextId, put the response into responses, and send() the request as a DATA frame with END_STREAM");
        }

        /** DATA for a response that is not over; the lock is held. */
        private void receiveData(Response response, Frame frame) {
            throw new UnsupportedOperationException(
                    "TODO step 2: deliver() the frame to the response; if it ends the stream, remove() the response");
        }

        /** RST_STREAM; the lock is held. */
        private void receiveReset(int id, int code) {
            throw new UnsupportedOperationException(
                    "TODO step 2: remove() the response, and if there was one, fail() it with a StreamResetException");
        }

        /** The connection has ended; the lock is held. */
        private void failAll(String why) {
            // TODO step 2: note why in unusable; fail() every response with a ConnectionLostException that says why, and which may have been processed; clear responses
        }

        /**
         * The whole response; all its bytes count as read.
         *
         * @throws IOException if it has more than MAX_RESPONSE bytes
         */
        private byte[] collect(Response response, long deadline)
                throws IOException, InterruptedException {
            throw new UnsupportedOperationException(
                    "TODO step 2: until next() gives an empty array: collect what it gives, and tell consumed(); give up as soon as that is more than MAX_RESPONSE bytes");
        }

        private Mux(InetSocketAddress server, Options options, int firstId)
                throws IOException {
            super(new Socket(), options);
            this.server = server;
            this.options = options;
            nextId = firstId;
            window = new ReceiveWindow(options.connectionWindow());
            try {
                socket.connect(server, PREFACE_MILLIS);
                writer.start();
                slots = new Semaphore(
                        Math.min(MANY, handshake().maxConcurrentStreams()));
            } catch (IOException e) {
                disconnect();
                throw e;
            }
            Thread.ofVirtual().name("lab417-mux").start(this::receiveAll);
        }

        /**
         * Connects, for at most 5 s, and reads the server's preface, for at
         * most 5 s each time it waits for bytes.
         *
         * @throws IOException if that fails
         */
        public static Mux connect(InetSocketAddress server, Options options)
                throws IOException {
            return connect(server, options, 1);
        }

        /** @param firstId of the first stream; an odd number */
        static Mux connect(InetSocketAddress server, Options options,
                int firstId) throws IOException {
            return new Mux(Objects.requireNonNull(server, "server"),
                    Objects.requireNonNull(options, "options"), firstId);
        }

        @Override
        public byte[] call(byte[] request, Duration timeout)
                throws IOException, InterruptedException {
            long deadline = deadline(timeout);
            try (var response = open(request, deadline)) {
                return collect(response, deadline);
            } catch (SocketTimeoutException e) {
                throw new SocketTimeoutException("no response from " + server
                        + " within " + timeout.toMillis() + " ms");
            }
        }

        /**
         * Sends the request, and returns a response that can be read while it
         * comes. It has to be closed.
         */
        public Response open(byte[] request)
                throws IOException, InterruptedException {
            return open(request, deadline(FOREVER));
        }

        private Response open(byte[] request, long deadline)
                throws IOException, InterruptedException {
            require(request.length <= MAX_PAYLOAD, "request", request.length);
            if (!slots.tryAcquire(left(deadline).toNanos(),
                    TimeUnit.NANOSECONDS)) {
                throw new SocketTimeoutException();
            }
            try {
                return begin(request);
            } catch (ConnectionLostException e) {
                slots.release();
                throw e;
            }
        }

        private void requireUsable() throws ConnectionLostException {
            if (unusable != null) {
                throw new ConnectionLostException(unusable, true);
            }
        }

        private Optional<Response> remove(int id) {
            var response = Optional.ofNullable(responses.remove(id));
            response.ifPresent(_ -> slots.release());
            return response;
        }

        @Override
        synchronized void receive(Frame frame) throws ProtocolErrorException {
            int id = frame.streamId();
            switch (frame.type()) {
                case DATA -> {
                    int count = frame.payload().length;
                    var response = responses.get(id);
                    if (!window.receive(count) || response != null
                            && !response.window.receive(count)) {
                        throw protocolError(FLOW_CONTROL_ERROR,
                                "more DATA than the window allows");
                    }
                    if (response == null) {
                        discarded(this, count);   // it was cancelled
                    } else {
                        receiveData(response, frame);
                    }
                }
                case RST_STREAM -> receiveReset(id, frame.number());
                case GOAWAY -> receiveGoAway(this, frame.number());
                default -> {}   // unknown types (RFC 9113 section 5.5)
            }
        }

        @Override
        synchronized void ended(String why) {
            failAll(why);
            wakeAll();
        }

        /** The threads that wait for a slot find that it is unusable. */
        private void wakeAll() {
            slots.drainPermits();
            slots.release(MANY);
        }

        /** Allows the server to send so many bytes more. */
        private void update(int id, int increment) {
            if (increment > 0) {
                send(Frame.of(WINDOW_UPDATE, id, increment));
            }
        }

        /** 1, or 0 when it takes no more calls. */
        @Override
        public synchronized int connections() {
            return unusable == null ? 1 : 0;
        }

        @Override
        public void close() {
            ended("closed");
            disconnect();
        }
    }

    /**
     * The response to one call, read piece by piece. For one thread; another
     * one may close it.
     */
    public static final class Response implements AutoCloseable {

        private final Mux mux;
        private final int id;
        private final ReceiveWindow window;   // guarded by mux
        // all that follow are guarded by this
        private final Queue<byte[]> pieces = new ArrayDeque<>();
        private boolean over;                 // END_STREAM has come
        private IOException failure;

        private Response(Mux mux, int id) {
            this.mux = mux;
            this.id = id;
            window = new ReceiveWindow(mux.options.streamWindow());
        }

        /** DATA has come. */
        private synchronized void deliver(Frame frame) {
            throw new UnsupportedOperationException(
                    "TODO step 2: add the payload to pieces, unless it is empty; the response is over if the frame ends the stream; wake the thread in next()");
        }

        private synchronized void fail(IOException why) {
            failure = why;
            notifyAll();
        }

        private synchronized byte[] next(long deadline)
                throws IOException, InterruptedException {
            throw new UnsupportedOperationException(
                    "TODO step 2: waitUntil() there is a piece, or the response is over or has failed; remove and return the first piece; if there is none, throw the failure, or return an empty array");
        }

        /**
         * Waits for the next bytes of the response, and allows the server to
         * send as many more.
         *
         * @return 1 byte to {@link #MAX_PAYLOAD}; none if the response is over
         * @throws IOException as {@link Client#call}, or if it is closed
         */
        public byte[] next() throws IOException, InterruptedException {
            var piece = next(deadline(FOREVER));
            consumed(mux, this, piece.length);
            return piece;
        }

        /** Forgets what was not read, and counts it; next() fails from now. */
        private synchronized int discard() {
            int count = pieces.stream().mapToInt(piece -> piece.length).sum();
            pieces.clear();
            fail(new IOException("closed"));
            return count;
        }

        /** Cancels the call, unless all of the response has come. */
        @Override
        public void close() {
            cancel(mux, this);
        }
    }

    /** Answers requests, each on a virtual thread of its own. */
    @FunctionalInterface
    public interface Handler {

        /**
         * @param request the whole request
         * @param out     the response. A write of a byte or more sends a frame
         *                or several, and waits until the client's windows allow
         *                them. It need not be closed. When the stream is reset,
         *                the handler is interrupted, and writes fail. A write
         *                that is interrupted throws an InterruptedIOException,
         *                and may have sent a part
         * @throws Exception becomes RST_STREAM with INTERNAL_ERROR, as an Error
         *         does
         */
        void handle(byte[] request, OutputStream out) throws Exception;
    }

    /** Answers the calls that come on its connections. Thread-safe. */
    public static final class Server implements AutoCloseable {

        private final Handler handler;
        private final Options options;
        private final ServerSocket listener = new ServerSocket();
        private final Set<Connection> connections =
                ConcurrentHashMap.newKeySet();

        /** DATA of the client, which is a request; the connection is locked. */
        private void request(Connection connection, Frame frame)
                throws ProtocolErrorException {
            throw new UnsupportedOperationException(
                    "TODO step 3: throw protocolError(PROTOCOL_ERROR, …) unless the id is odd and above connection.lastId, and the frame ends the stream; note the id in lastId; if options.maxConcurrentStreams() exchanges are running, send RST_STREAM with REFUSED_STREAM; else put a new Exchange into connection.exchanges and start() it");
        }

        /** Runs on the thread of the exchange. */
        private void answer(Exchange exchange) {
            throw new UnsupportedOperationException(
                    "TODO step 3: let the handler answer exchange.request, with the exchange as its output; then end() the exchange with an empty DATA frame that ends the stream, or, whatever the handler has thrown, with RST_STREAM and INTERNAL_ERROR");
        }

        private Server(InetSocketAddress bind, Handler handler, Options options)
                throws IOException {
            this.handler = Objects.requireNonNull(handler, "handler");
            this.options = Objects.requireNonNull(options, "options");
            try {
                listener.bind(Objects.requireNonNull(bind, "bind"), 1024);
            } catch (IOException e) {
                closeQuietly(listener);
                throw e;
            }
        }

        /**
         * Listens, and answers each request by the handler. Port 0 chooses a
         * free port.
         *
         * @throws IOException if the address cannot be bound
         */
        public static Server start(InetSocketAddress bind, Handler handler,
                Options options) throws IOException {
            var server = new Server(bind, handler, options);
            Thread.ofVirtual().name("lab417-accept").start(server::accept);
            return server;
        }

        /** Where it listens. */
        public InetSocketAddress localAddress() {
            return (InetSocketAddress) listener.getLocalSocketAddress();
        }

        /** What it does now. */
        public Stats stats() {
            return new Stats(connections.size(), connections.stream()
                    .mapToInt(each -> each.running().size()).sum());
        }

        private void accept() {
            while (!listener.isClosed()) {
                try {
                    var connection = new Connection(this, listener.accept());
                    connections.add(connection);
                    Thread.ofVirtual().name("lab417-connection")
                            .start(connection::run);
                    if (listener.isClosed()) {
                        connection.cut();   // close() may have missed it
                    }
                } catch (IOException e) {
                    LockSupport.parkNanos(5_000_000);   // too many open files
                }
            }
        }

        /**
         * Takes no new connections, sends GOAWAY to all clients, waits for the
         * exchanges that are running, and closes all connections.
         *
         * @param grace the longest wait; what runs then is cut
         * @return true if nothing was cut. A handler that calls this is cut
         */
        public boolean shutdown(Duration grace) throws InterruptedException {
            long deadline = deadline(grace);
            closeQuietly(listener);
            try (this) {
                connections.forEach(PoolVsMultiplex::goAway);
                boolean ended = true;
                for (var connection : connections) {
                    ended &= connection.awaitExchanges(deadline);
                }
                for (var connection : connections) {
                    ended &= connection.writer.join(left(deadline));
                }
                long linger = Math.min(deadline, deadline(LINGER));
                for (var connection : connections) {   // clients close first
                    connection.gone.await(left(linger).toNanos(),
                            TimeUnit.NANOSECONDS);
                }
                return ended;
            }
        }

        /** Closes all connections and interrupts all handlers. */
        @Override
        public void close() {
            closeQuietly(listener);
            connections.forEach(Connection::cut);
        }
    }

    /**
     * Makes calls, a number of them at once, and measures how long each takes.
     *
     * @param calls       at least 1
     * @param concurrency how many threads make them, one call after the other;
     *                    at least 1
     * @param request     at most {@link #MAX_PAYLOAD} bytes
     * @param nanoClock   as {@link System#nanoTime}
     * @return what was measured. A percentile is the nearest rank: the shortest
     *         time that at least so many percent of the calls did not exceed
     * @throws IOException what the first call that failed has thrown; no call
     *         is begun after that
     */
    public static Sample measure(String name, Client client, int calls,
            int concurrency, byte[] request, LongSupplier nanoClock)
            throws IOException, InterruptedException {
        require(calls >= 1, "calls", calls);
        require(concurrency >= 1, "concurrency", concurrency);
        require(request.length <= MAX_PAYLOAD, "request", request.length);
        throw new UnsupportedOperationException(
                "TODO step 4: start as many virtual threads; each takes a number until all calls are taken or one has failed, makes the call with CALL_TIMEOUT, and notes how long that took; wait for all threads, and interrupt them if you are interrupted; throw the first failure; sort the times and return the sample");
    }

    /**
     * How many bytes may still be sent, on one stream or on the connection
     * (RFC 9113 section 6.9.1). Thread-safe.
     */
    static final class SendWindow {

        private int available;   // guarded by this

        SendWindow(int available) {
            this.available = available;
        }

        /**
         * Waits until the window is open, and takes what there is.
         *
         * @param most at least 1
         * @return how much was taken, 1 to most
         */
        synchronized int takeUpTo(int most) throws InterruptedException {
            throw new UnsupportedOperationException(
                    "TODO step 5: wait until something is available; take it, but no more than most");
        }

        /** False, and no change, if that makes more than 2^31 - 1. */
        synchronized boolean add(int count) {
            // TODO step 5: make count more available, and wake all threads that wait
            return true;
        }
    }

    /** How many bytes the peer may still send. Not thread-safe. */
    static final class ReceiveWindow {

        private final int size;

        ReceiveWindow(int size) {
            this.size = size;
        }

        /** DATA has come. False if the peer was not allowed to send it. */
        boolean receive(int count) {
            // TODO step 5: these bytes are used; false if more than size are
            return true;
        }

        /** Bytes were read. Returns the increment to send now, or 0. */
        int consume(int count) {
            throw new UnsupportedOperationException(
                    "TODO step 5: these bytes are consumed; as soon as half of size or more is, return it all: it is neither used nor consumed any more");
        }
    }

    /** Waits until both windows of an exchange allow something; takes it. */
    private static int claim(Exchange exchange, int most)
            throws InterruptedException {
        // TODO step 5: take from exchange.window, then as much from the window of exchange.connection; add to the first again what the second did not have, or all of it if an interrupt ends the wait for the second
        return most;
    }

    /** WINDOW_UPDATE of the client; stream 0 is the connection as a whole. */
    private static void credit(Connection connection, int id, int increment)
            throws ProtocolErrorException {
        // TODO step 5: add the increment to the window of the connection, or of the exchange, if it is running; an increment of 0 is a PROTOCOL_ERROR, one that does not fit a FLOW_CONTROL_ERROR: for the connection throw protocolError(), for an exchange call reset()
    }

    /** The application has read bytes of the response. */
    private static void consumed(Mux mux, Response response, int count) {
        synchronized (mux) {
            // TODO step 5: mux.update() stream 0 by what mux.window says when it consumes them; and if the response is still among mux.responses, update its stream by what its own window says
        }
    }

    /** Waits for notifyAll() at most until then; the caller has the lock. */
    private static void waitUntil(Object lock, long deadline)
            throws SocketTimeoutException, InterruptedException {
        // TODO step 6: throw a SocketTimeoutException if System.nanoTime() has reached the deadline; else wait for what is left
        lock.wait();
    }

    /** The response is closed, at its end or before. */
    private static void cancel(Mux mux, Response response) {
        synchronized (mux) {
            // TODO step 6: remove() the response from mux; if it was still there, send RST_STREAM with CANCEL; discard() what was not read of it, and tell discarded()
        }
    }

    /** Bytes that no one will read; mux is locked. */
    private static void discarded(Mux mux, int count) {
        // TODO step 6: mux.update() stream 0 by what mux.window says when it consumes them
    }

    /** RST_STREAM of the client. */
    private static void receiveCancel(Connection connection, int id) {
        // TODO step 6: find() the exchange, and abort() it
    }

    /** GOAWAY of the server; mux is locked. */
    private static void receiveGoAway(Mux mux, int lastId) {
        // TODO step 7: mux is unusable from now on; remove() the responses whose id is above lastId, and fail() them with a ConnectionLostException, not processed; wakeAll() threads that wait for a slot
    }

    /** The server answers no more requests on this connection. */
    private static void goAway(Connection connection) {
        synchronized (connection) {
            // TODO step 7: the connection is leaving, so it ignores requests from now on; send GOAWAY with its lastId and NO_ERROR
        }
    }

    // ---- given from here on ----

    private static final int PREFACE_MILLIS = 5_000;
    private static final Duration LINGER = Duration.ofSeconds(1);
    private static final int MANY = 1 << 20;   // more than threads that wait
    private static final Duration FOREVER = Duration.ofDays(36_500);
    private static final Duration CALL_TIMEOUT = Duration.ofSeconds(30);

    /**
     * One end of a connection. All frames wait in a queue for the thread that
     * sends them. No other thread writes to the socket: an interrupt of a
     * virtual thread in a write closes the socket (javadoc of
     * {@link Socket#getOutputStream}), and with it all streams.
     */
    private abstract static class Link {

        private static final byte[] LAST = {};
        private static final int MOST_WAITING = 10_000;

        final Socket socket;
        final TransferQueue<byte[]> queue = new LinkedTransferQueue<>();
        final Thread writer =
                Thread.ofVirtual().name("lab417-writer").unstarted(this::write);
        InputStream in;
        int lastId;   // of the last stream that the server has accepted

        /** @param own what this end announces */
        Link(Socket socket, Options own) {
            this.socket = socket;
            queue.add(own.preface());
        }

        /** A frame has come. */
        abstract void receive(Frame frame) throws ProtocolErrorException;

        /** No more frames will be received. */
        abstract void ended(String why);

        /** What the other end announces. */
        final Options handshake() throws IOException {
            socket.setTcpNoDelay(true);
            socket.setSoTimeout(PREFACE_MILLIS);
            in = new BufferedInputStream(socket.getInputStream(), 1 << 16);
            var peer = Options.read(in);
            socket.setSoTimeout(0);
            return peer;
        }

        final void receiveAll() {
            try {
                while (true) {
                    receive(readFrame(in));
                }
            } catch (ProtocolErrorException e) {
                send(Frame.of(GOAWAY, 0, lastId, e.code));
                finish();
                ended(e.getMessage());
                drain();
            } catch (IOException e) {
                ended(socket.isClosed() ? "closed" : e.getMessage());
            } finally {
                disconnect();
            }
        }

        /** To close with bytes unread would reset, and GOAWAY might be lost. */
        private void drain() {
            try {
                socket.setSoTimeout(PREFACE_MILLIS);
                in.transferTo(OutputStream.nullOutputStream());
            } catch (IOException e) {
                // the peer is gone
            }
        }

        /** Does not wait. A peer that does not read is disconnected. */
        final void send(Frame frame) {
            queue.add(frame.encode());
            if (queue.size() > MOST_WAITING) {
                disconnect();
            }
        }

        /** What is in the queue is sent, and then the end. */
        final void finish() {
            queue.add(LAST);
        }

        private void write() {
            try {
                var out = new BufferedOutputStream(
                        socket.getOutputStream(), 1 << 16);
                for (var next = queue.take(); next != LAST;
                        next = queue.take()) {
                    out.write(next);
                    if (queue.isEmpty()) {
                        out.flush();
                    }
                }
                out.flush();
                socket.shutdownOutput();
            } catch (IOException | InterruptedException e) {
                closeQuietly(socket);   // the reader will notice
            }
        }

        final void disconnect() {
            finish();
            closeQuietly(socket);
        }
    }

    /** A connection of the server. */
    private static final class Connection extends Link {

        private final Server server;
        private final CountDownLatch gone = new CountDownLatch(1);
        private int streamWindow;    // set once, before the first frame
        private SendWindow window;   // set once, before the first frame
        // all that follow are guarded by this
        private final Map<Integer, Exchange> exchanges = new HashMap<>();
        private boolean leaving;

        Connection(Server server, Socket socket) {
            super(socket, server.options);
            this.server = server;
            writer.start();
        }

        private void run() {
            try {
                var client = handshake();
                streamWindow = client.streamWindow();
                window = new SendWindow(client.connectionWindow());
                receiveAll();
            } catch (IOException e) {
                disconnect();
            } finally {
                server.connections.remove(this);
                gone.countDown();
            }
        }

        @Override
        synchronized void receive(Frame frame) throws ProtocolErrorException {
            int id = frame.streamId();
            switch (frame.type()) {
                case DATA -> {
                    if (!leaving) {
                        server.request(this, frame);
                    }
                }
                case WINDOW_UPDATE -> credit(this, id,
                        frame.number() & Integer.MAX_VALUE);
                case RST_STREAM -> receiveCancel(this, id);
                default -> {}
            }
        }

        /** An exchange that is running and not reset. */
        private synchronized Optional<Exchange> find(int id) {
            return Optional.ofNullable(exchanges.get(id))
                    .filter(exchange -> !exchange.closed);
        }

        private synchronized List<Exchange> running() {
            return List.copyOf(exchanges.values());
        }

        /** False if exchanges are still running then. No frame follows. */
        private boolean awaitExchanges(long deadline)
                throws InterruptedException {
            boolean ended = true;
            for (var exchange : running()) {
                ended &= exchange.thread != Thread.currentThread()
                        && exchange.thread.join(left(deadline));
            }
            finish();
            return ended;
        }

        @Override
        void ended(String why) {
            running().forEach(Exchange::abort);
        }

        private void cut() {
            ended("closed");
            disconnect();
        }
    }

    /** A request that is being answered; the response is written to it. */
    private static final class Exchange extends OutputStream {

        private final Connection connection;
        private final int id;
        private final byte[] request;
        private final SendWindow window;
        private final Thread thread;
        private volatile boolean closed;   // set with connection locked

        Exchange(Connection connection, int id, byte[] request) {
            this.connection = connection;
            this.id = id;
            this.request = request;
            window = new SendWindow(connection.streamWindow);
            thread = Thread.ofVirtual().name("lab417-stream-" + id)
                    .unstarted(() -> connection.server.answer(this));
        }

        void start() {
            thread.start();
        }

        @Override
        public void write(int b) throws IOException {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override
        public void write(byte[] from, int offset, int length)
                throws IOException {
            Objects.checkFromIndexSize(offset, length, from.length);
            for (int at = offset, end = offset + length; at < end; ) {
                if (closed) {
                    throw new IOException("stream " + id + " is closed");
                }
                try {
                    int count = claim(this, Math.min(end - at, MAX_PAYLOAD));
                    send(Arrays.copyOfRange(from, at, at + count));
                    at += count;
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                    throw new InterruptedIOException("interrupted");
                }
            }
        }

        private void send(byte[] data) throws InterruptedException {
            try {
                // waits until the writer takes it: a slow peer slows us down
                connection.queue.transfer(
                        new Frame(DATA, 0, id, data).encode());
            } catch (InterruptedException e) {
                window.add(data.length);   // it was not sent
                connection.window.add(data.length);
                throw e;
            }
        }

        /** The last frame, unless the stream is closed already. */
        void end(Frame last) {
            synchronized (connection) {
                connection.exchanges.remove(id);   // before the client knows
                if (!closed) {
                    closed = true;
                    connection.send(last);
                }
            }
        }

        void reset(int code) {
            connection.send(Frame.of(RST_STREAM, id, code));
            abort();
        }

        /** Sends nothing more, and interrupts the handler. */
        void abort() {
            synchronized (connection) {
                closed = true;
                thread.interrupt();
            }
        }
    }

    /**
     * A bounded pool of connections, each of which carries one call at a time.
     * Calls wait in the order in which they came, and the connection that was
     * returned last is used first. After a call that has failed, its connection
     * is closed. Thread-safe.
     */
    public static final class Pool implements Client {

        private final InetSocketAddress server;
        private final Options options;
        private final Semaphore permits;
        private final Deque<Mux> idle = new ConcurrentLinkedDeque<>();
        private final Set<Mux> open = ConcurrentHashMap.newKeySet();
        private volatile boolean closed;

        private Pool(InetSocketAddress server, int size, Options options) {
            this.server = Objects.requireNonNull(server, "server");
            this.options = Objects.requireNonNull(options, "options");
            permits = new Semaphore(size, true);
        }

        /** @param size the most connections, at least 1; none is opened yet */
        public static Pool create(InetSocketAddress server, int size,
                Options options) {
            require(size >= 1, "size", size);
            return new Pool(server, size, options);
        }

        @Override
        public byte[] call(byte[] request, Duration timeout)
                throws IOException, InterruptedException {
            long deadline = deadline(timeout);
            if (!permits.tryAcquire(left(deadline).toNanos(),
                    TimeUnit.NANOSECONDS)) {
                throw new SocketTimeoutException("no connection to " + server
                        + " was free within " + timeout.toMillis() + " ms");
            }
            Mux mux = null;
            boolean done = false;
            try {
                mux = borrow();
                var response = mux.call(request, left(deadline));
                done = true;
                return response;
            } finally {
                if (done) {
                    idle.push(mux);
                } else if (mux != null) {
                    discard(mux);
                }
                permits.release();
            }
        }

        private Mux borrow() throws IOException {
            for (var mux = idle.poll(); mux != null; mux = idle.poll()) {
                if (mux.connections() == 1) {
                    return mux;
                }
                discard(mux);   // the server has closed it
            }
            var mux = Mux.connect(server, options);
            open.add(mux);
            if (closed) {
                discard(mux);
                throw new IOException("closed");
            }
            return mux;
        }

        private void discard(Mux mux) {
            open.remove(mux);
            mux.close();
        }

        /** Those in use and those that are idle. */
        @Override
        public int connections() {
            return open.stream().mapToInt(Mux::connections).sum();
        }

        @Override
        public void close() {
            closed = true;
            open.forEach(this::discard);
        }
    }

    /**
     * What {@link #measure} has measured.
     *
     * @param total from before the first call until after the last one
     * @param p50   half of the calls took so long or less
     * @param p99   99 % of the calls took so long or less
     */
    public record Sample(String name, int connections, int calls,
            Duration total, Duration p50, Duration p99) {}

    /** Both: now. */
    public record Stats(int connections, int activeStreams) {}

    /**
     * What each end announces in its preface.
     *
     * @param streamWindow         how many bytes of one response the server may
     *                             send before a WINDOW_UPDATE, 0 to 2^31 - 1
     * @param connectionWindow     the same for all responses together
     * @param maxConcurrentStreams how many requests the server answers at the
     *                             same time on one connection, 0 to 2^31 - 1
     */
    public record Options(int streamWindow, int connectionWindow,
            int maxConcurrentStreams) {

        public Options {
            require(streamWindow >= 0, "streamWindow", streamWindow);
            require(connectionWindow >= 0, "connectionWindow",
                    connectionWindow);
            require(maxConcurrentStreams >= 0, "maxConcurrentStreams",
                    maxConcurrentStreams);
        }

        /** Windows of 64 KiB and 1 MiB, and 100 streams. */
        public static Options defaults() {
            return new Options(64 * 1024, 1024 * 1024, 100);
        }

        /** The same with another streamWindow. */
        public Options withStreamWindow(int streamWindow) {
            return new Options(streamWindow, connectionWindow,
                    maxConcurrentStreams);
        }

        /** The same with another connectionWindow. */
        public Options withConnectionWindow(int connectionWindow) {
            return new Options(streamWindow, connectionWindow,
                    maxConcurrentStreams);
        }

        /** The same with another maxConcurrentStreams. */
        public Options withMaxConcurrentStreams(int maxConcurrentStreams) {
            return new Options(streamWindow, connectionWindow,
                    maxConcurrentStreams);
        }

        private byte[] preface() {
            return ByteBuffer.allocate(16).put("MUX1".getBytes())
                    .putInt(streamWindow).putInt(connectionWindow)
                    .putInt(maxConcurrentStreams).array();
        }

        private static Options read(InputStream in) throws IOException {
            var preface = ByteBuffer.wrap(in.readNBytes(16));
            try {
                require(preface.getInt() == 0x4d555831, "preface", "not MUX1");
                return new Options(preface.getInt(), preface.getInt(),
                        preface.getInt());
            } catch (BufferUnderflowException | IllegalArgumentException e) {
                throw new ProtocolException("bad preface: " + e.getMessage());
            }
        }
    }

    /** The server has reset one stream (RST_STREAM), and nothing else. */
    public static final class StreamResetException extends IOException {

        private static final long serialVersionUID = 1;
        private final int code;

        StreamResetException(int id, int code) {
            super("stream " + id + " was reset with error code " + code);
            this.code = code;
        }

        /** After {@link #REFUSED_STREAM} the request was not processed. */
        public int code() {
            return code;
        }
    }

    /** The connection takes no more calls, or has failed. */
    public static final class ConnectionLostException extends IOException {

        private static final long serialVersionUID = 1;
        private final boolean notProcessed;

        ConnectionLostException(String message, boolean notProcessed) {
            super(message);
            this.notProcessed = notProcessed;
        }

        /**
         * True if the server has certainly not processed the request, so that
         * it may be sent again, whatever it asks for (RFC 9113 section 8.7).
         */
        public boolean notProcessed() {
            return notProcessed;
        }
    }

    /** The peer has broken the protocol, so the connection has to end. */
    private static final class ProtocolErrorException extends IOException {

        private static final long serialVersionUID = 1;
        private final int code;

        ProtocolErrorException(int code, String message) {
            super(message + " (error code " + code + ")");
            this.code = code;
        }
    }

    private static ProtocolErrorException protocolError(int code, String what) {
        return new ProtocolErrorException(code, what);
    }

    /** The next frame. The first bit of the stream id is ignored. */
    private static Frame readFrame(InputStream in) throws IOException {
        var header = ByteBuffer.wrap(readFully(in, 9));
        int length = header.getInt() >>> 8;
        int type = header.get(3) & 0xff;
        boolean fits = switch (type) {
            case RST_STREAM, WINDOW_UPDATE -> length == 4;
            case GOAWAY -> length >= 8 && length <= MAX_PAYLOAD;
            default -> length <= MAX_PAYLOAD;
        };
        if (!fits) {
            throw protocolError(FRAME_SIZE_ERROR,
                    "frame of type " + type + " with " + length + " bytes");
        }
        int flags = header.get() & 0xff;
        int id = header.getInt() & Integer.MAX_VALUE;
        return new Frame(type, flags, id, readFully(in, length));
    }

    private static byte[] readFully(InputStream in, int count)
            throws IOException {
        var bytes = in.readNBytes(count);
        if (bytes.length < count) {
            throw new EOFException("the peer has closed the connection");
        }
        return bytes;
    }

    private static long deadline(Duration timeout) {
        require(!timeout.isNegative(), "timeout", timeout);
        return System.nanoTime() + Math.min(
                TimeUnit.NANOSECONDS.convert(timeout), Long.MAX_VALUE / 2);
    }

    private static Duration left(long deadline) {
        return Duration.ofNanos(Math.max(0, deadline - System.nanoTime()));
    }

    private static void closeQuietly(Closeable closeable) {
        try {
            closeable.close();
        } catch (IOException e) {
            // The descriptor is released even if close() reports an error.
        }
    }

    private static void require(boolean valid, String name, Object value) {
        if (!valid) {
            throw new IllegalArgumentException("bad " + name + ": " + value);
        }
    }

    // The demo: one scene for each step.

    private static final List<String> STEPS = List.of("Send on a new stream",
            "Match responses to calls", "Serve streams concurrently",
            "Compare pool and multiplexer", "Respect flow-control windows",
            "Cancel and time out", "Shut down with GOAWAY");

    /** No argument: the demo; {@code serve} echoes until Ctrl-C. */
    public static void main(String[] args) throws Exception {
        var words = String.join(" ", args);
        var any = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
        if (args.length == 0) {
            Thread.setDefaultUncaughtExceptionHandler((thread, failure) -> {
                boolean isTodo = failure instanceof
                        UnsupportedOperationException;
                LockSupport.parkNanos(!isTodo ? 1_000_000_000
                        : thread.getName().equals("main") ? 0 : 300_000_000);
                next(isTodo ? failure.getMessage() + "\n  "
                        + failure.getStackTrace()[0] : "TODO step " + 2
                        + ": see why " + failure);
            });
            demo(any);
        } else if (words.matches("serve (\\S+:)?\\d{1,5}")) {
            var at = args[1].split(":(?=\\d+$)");
            var host = at.length == 1 ? "127.0.0.1" : at[0];
            var server = Server.start(new InetSocketAddress(host,
                    Integer.parseInt(at[at.length - 1])),
                    (request, out) -> out.write(request), Options.defaults());
            IO.println("listening on " + host + ":"
                    + server.localAddress().getPort());
            Thread.currentThread().join();
        } else {
            boolean help = words.matches("(--)?help");
            (help ? System.out : System.err).println((help ? ""
                    : "not understood: " + words + "\n") + """
                    lab-417                      the demo, step by step
                    lab-417 serve [HOST:]PORT    echoes until Ctrl-C""");
            System.exit(help ? 0 : 2);
        }
    }

    private static void demo(InetSocketAddress any) throws Exception {
        IO.println("lab 417  Pool vs multiplex");
        show(1, "a frame", HexFormat.ofDelimiter(" ").formatHex(
                new Frame(DATA, END_STREAM, 1, "hi".getBytes()).encode()),
                "00 00 02 00 01 00 00 00 01 68 69");
        var order = new LinkedBlockingQueue<String>();
        try (var server = Server.start(any, (request, out) -> {
            var text = new String(request);
            if (text.matches("\\d+")) {
                Thread.sleep(Integer.parseInt(text));
            } else if (text.equals("forever")) {
                try (out) {
                    new CountDownLatch(1).await();
                } catch (InterruptedException e) {
                    order.add("interrupted");
                }
            }
            out.write(text.equals("big") ? new byte[1 << 20] : request);
        }, Options.defaults());
             var mux = Mux.connect(server.localAddress(), Options.defaults());
             var pool = Pool.create(server.localAddress(), 6,
                     Options.defaults())) {
            var limit = Duration.ofSeconds(5);
            show(2, "call(\"hello\")", new String(mux.call("hello".getBytes(),
                    limit)), "hello");
            var threads = Stream.of("450", "300", "150").map(each ->
                    Thread.startVirtualThread(() -> {
                try {
                    order.add(new String(mux.call(each.getBytes(), limit)));
                } catch (IOException | InterruptedException e) {
                    order.add(e.toString());
                }
            })).toList();
            for (var thread : threads) {
                thread.join();
            }
            show(3, "450, 300 and 150 ms, all at once", order, "[150, 300, 4");
            order.clear();
            for (var client : List.of(pool, mux)) {
                var seen = measure("", client, 200, 64, "40".getBytes(),
                        System::nanoTime);
                show(4, "200 calls of 40 ms by " + client.getClass()
                        .getSimpleName(), "%d connection(s), %.2f s".formatted(
                        seen.connections(), seen.total().toMillis() / 1e3),
                        "conn");
            }
            try (var _ = mux.open("big".getBytes())) {
                Thread.sleep(100);
                show(5, "1 MiB unread, another call", new String(mux.call(
                        "ok".getBytes(), limit)), "ok");
                show(5, "still with the server", server.stats(), "reams=1");
            }
            mux.open("forever".getBytes()).close();
            show(6, "a cancelled handler", order.poll(1, TimeUnit.SECONDS),
                    "interrupted");
            var last = mux.open("1000".getBytes());
            mux.call("so the server has read both".getBytes(), limit);
            Thread.startVirtualThread(new FutureTask<>(
                    () -> server.shutdown(limit)));
            var late = "";
            for (int i = 0; i < 50 && !late.contains("down"); i++) {
                Thread.sleep(10);
                try {
                    late = new String(mux.call("answered".getBytes(), limit));
                } catch (ConnectionLostException e) {
                    late = e.getMessage();
                }
            }
            show(7, "a call after GOAWAY", late, "shutting down");
            show(7, "a call before it", new String(last.next()), "1000");
        }
        IO.println("\nall seven steps work");
    }

    private static void show(int step, String what, Object seen, String part) {
        IO.println("  %d  %-37s %s".formatted(step, what, seen));
        if (!String.valueOf(seen).contains(part)) {
            next("TODO step " + step + ": search PoolVsMultiplex.java for it");
        }
    }

    private static void next(String todo) {
        int step = todo.charAt("TODO step ".length()) - '0';
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/PoolVsMultiplex.java";
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        IO.println("\nnext: step " + step + ", " + STEPS.get(step - 1) + "\n  "
                + todo + (isHere ? "" : "\n  in a clone of the workbook:")
                + ("\n  check  " + jbang + " test-417 " + file).stripTrailing()
                + "\n  hint   " + jbang + " hint 417 " + step);
        System.exit(0);
    }
}
