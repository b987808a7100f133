///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 413: token buckets that limit the rate of streams and sockets

import module java.base;

/**
 * Limits the rate of streams and sockets, in bytes a second, by token buckets.
 *
 * <p>The one idea: compute each wait from the clock, and carry the debt. A
 * bucket gains tokens at its rate, up to its burst, and each byte costs one. A
 * transfer that finds too few tokens takes them anyway and waits until
 * the instant at which the debt is paid. If a sleep lasts too long, more tokens
 * have accrued meanwhile, and the next wait is shorter: the error does not add
 * up.
 *
 * <p>A token bucket is described in RFC 2697 and RFC 3290, appendix A. This one
 * delays what exceeds its rate, which is called shaping (RFC 2475 section 1.2).
 */
public final class Throttle {

    private static final long SECOND = 1_000_000_000;   // in nanoseconds

    private Throttle() {}

    /**
     * Tokens, each of which allows one byte to be transferred. The bucket
     * starts full. It gains tokens at its rate and never holds more than its
     * burst. A negative number of tokens is a debt: tokens that callers have
     * reserved and are waiting for.
     *
     * <p>Thread-safe. Only {@link #acquire} waits, and it holds no lock while
     * it does.
     */
    public static final class Bucket {

        /** In bytes a second, 69 Gbit/s: in practice, no limit. */
        public static final long MAX_RATE = 1L << 33;

        private static final long MOST_SECONDS = Long.MAX_VALUE / 2 / SECOND;

        private final int burst;
        private final Timing timing;
        private long rate;        // bytes a second; these four: guarded by this
        private long tokens;
        private long remainder;   // billionths of a token, fewer than 10^9
        private long refilled;    // the instant for which tokens is right

        /**
         * A full bucket.
         *
         * @param bytesPerSecond 1 to {@link #MAX_RATE}
         * @param burst          the most tokens that it can hold, at least 1
         */
        public Bucket(long bytesPerSecond, int burst, Timing timing) {
            requireRate("bytesPerSecond", bytesPerSecond);
            require(burst >= 1, "burst", burst);
            this.rate = bytesPerSecond;
            this.burst = burst;
            this.timing = Objects.requireNonNull(timing, "timing");
            throw new UnsupportedOperationException(
                    "TODO step 1: the bucket starts full, at the present instant of its timing: set tokens and refilled");
        }

        /**
         * Adds the tokens that have accrued since {@code refilled}: elapsed
         * time * rate, up to the burst. The fraction of a token that is left
         * over is kept in {@code remainder}. The caller holds the lock.
         */
        private void refill() {
            throw new UnsupportedOperationException(
                    "TODO step 1: unless the clock stands still: move refilled to the present instant, and add the tokens that have accrued since then; keep the fraction in remainder; stop at the burst, where the remainder is 0; no product may overflow");
        }

        /**
         * Takes the tokens if they are there now, and never waits.
         *
         * @param bytes at least 1; a bucket never holds more than its burst
         * @return false if there are fewer tokens; then none is taken
         */
        public synchronized boolean tryAcquire(int bytes) {
            require(bytes >= 1, "bytes", bytes);
            throw new UnsupportedOperationException(
                    "TODO step 1: refill(); take the tokens if there are enough");
        }

        /**
         * Changes the rate from now on. The tokens, or the debt, stay as they
         * are. Callers that are waiting already keep their instants.
         *
         * @param bytesPerSecond 1 to {@link #MAX_RATE}
         */
        public synchronized void setRate(long bytesPerSecond) {
            requireRate("bytesPerSecond", bytesPerSecond);
            throw new UnsupportedOperationException(
                    "TODO step 1: count the time until now at the old rate, then set the new one");
        }

        /**
         * Takes the tokens now, even if they have not accrued yet, and does not
         * wait. The caller must not use them before the instant that is
         * returned. As long as the rate does not change and no tokens are given
         * back, a caller that comes later gets a later instant.
         *
         * @param bytes 1 to burst
         * @return the instant at which the tokens have accrued, on the clock
         *         {@link Timing#nanoTime}: not in the future if they are there
         *         now; at most 146 years from now
         */
        public synchronized long reserve(int bytes) {
            require(bytes >= 1 && bytes <= burst, "bytes", bytes);
            throw new UnsupportedOperationException(
                    "TODO step 2: refill(); take the tokens; return refilled if there is no debt, or else the earliest instant at which it is paid: remainder counts, nothing may overflow, and MOST_SECONDS is the longest wait");
        }

        /**
         * Takes the tokens, and waits until they are there. A request for more
         * than the burst is served in pieces of at most the burst.
         *
         * @param bytes at least 1
         * @throws InterruptedIOException if the thread is interrupted while it
         *         waits; the thread stays interrupted, and all tokens that this
         *         call has taken are given back
         */
        public void acquire(int bytes) throws InterruptedIOException {
            require(bytes >= 1, "bytes", bytes);
            throw new UnsupportedOperationException(
                    "TODO step 2: for each piece of at most burst tokens: reserve() it, then sleep() until its instant; if that throws, giveBack() the tokens of all pieces reserved so far");
        }

        /** Returns tokens that were taken and will not be used. */
        private synchronized void giveBack(int bytes) {
            throw new UnsupportedOperationException(
                    "TODO step 2: refill(), then add them, up to the burst, where the remainder is 0");
        }

        /** Sleeps until this instant of the timing. */
        private static void sleep(Timing timing, long instant)
                throws InterruptedIOException {
            throw new UnsupportedOperationException(
                    "TODO step 2: timing.sleepUntil() the instant; turn an InterruptedException into an InterruptedIOException, and keep the thread interrupted");
        }

        /** The tokens that are there now; negative if there is a debt. */
        public synchronized long available() {
            refill();
            return tokens;
        }

        /** In bytes a second. */
        public synchronized long rate() {
            return rate;
        }
    }

    /**
     * A stream that reads at the rate of the limit. Each read first pays for
     * the bytes of the previous read, then reads at most a quantum, once, and
     * returns what has come. So an interrupted wait loses no byte. The end of
     * stream costs nothing. {@code skip} and {@code transferTo} read, so they
     * pay, too.
     *
     * <p>One thread at a time may read. Any thread may call {@code close}: it
     * closes {@code in}, never waits, and ends a wait for tokens with an
     * IOException. A wait that is interrupted throws InterruptedIOException.
     */
    public static InputStream read(InputStream in, Limit limit) {
        Objects.requireNonNull(in, "in");
        Objects.requireNonNull(limit, "limit");
        return new ThrottledInput(in, limit, new Gate());
    }

    /**
     * A stream that writes at the rate of the limit: before each quantum it
     * waits for the tokens. {@code flush} calls {@code out.flush()}.
     *
     * <p>One thread at a time may write. Any thread may call {@code close}: it
     * closes {@code out}, never waits, and ends a wait for tokens with an
     * IOException. A wait that is interrupted throws InterruptedIOException,
     * whose {@code bytesTransferred} says how many bytes of this call were
     * written.
     */
    public static OutputStream write(OutputStream out, Limit limit) {
        Objects.requireNonNull(out, "out");
        Objects.requireNonNull(limit, "limit");
        return new ThrottledOutput(out, limit, new Gate());
    }

    private static final class ThrottledInput extends InputStream {

        private final InputStream in;
        private final Limit limit;
        private final Gate gate;
        private int owed;   // bytes of the last read, not paid yet

        private ThrottledInput(InputStream in, Limit limit, Gate gate) {
            this.in = in;
            this.limit = limit;
            this.gate = gate;
        }

        @Override
        public int read(byte[] bytes, int offset, int length)
                throws IOException {
            Objects.checkFromIndexSize(offset, length, bytes.length);
            gate.requireOpen();
            if (length == 0) {
                return 0;
            }
            throw new UnsupportedOperationException(
                    "TODO step 3: gate.pay() what is owed; read once, at most a quantum; owe the number of bytes that were read");
        }

        @Override
        public int read() throws IOException {
            var one = new byte[1];
            return read(one, 0, 1) == -1 ? -1 : one[0] & 0xff;
        }

        @Override
        public int available() throws IOException {
            return in.available();
        }

        @Override
        public void close() throws IOException {
            gate.close();
            in.close();
        }
    }

    private static final class ThrottledOutput extends OutputStream {

        private final OutputStream out;
        private final Limit limit;
        private final Gate gate;

        private ThrottledOutput(OutputStream out, Limit limit, Gate gate) {
            this.out = out;
            this.limit = limit;
            this.gate = gate;
        }

        @Override
        public void write(byte[] bytes, int offset, int length)
                throws IOException {
            Objects.checkFromIndexSize(offset, length, bytes.length);
            gate.requireOpen();
            throw new UnsupportedOperationException(
                    "TODO step 3: for each piece of at most a quantum: gate.pay(), then write it; if the payment is interrupted, set bytesTransferred to the bytes written so far");
        }

        @Override
        public void write(int one) throws IOException {
            write(new byte[] {(byte) one}, 0, 1);
        }

        @Override
        public void flush() throws IOException {
            out.flush();
        }

        @Override
        public void close() throws IOException {
            gate.close();
            out.close();
        }
    }

    /**
     * A connected socket with a limit for each direction. One thread at a time
     * may read, and another may write; any thread may call {@code close}.
     */
    public static final class ThrottledSocket implements AutoCloseable {

        private final Socket socket;
        private final Gate gate = new Gate();
        private final InputStream input;
        private final OutputStream output;

        private ThrottledSocket(Socket socket, Limit upload, Limit download)
                throws IOException {
            this.socket = socket;
            throw new UnsupportedOperationException(
                    "TODO step 4: set input and output: the throttled streams of the socket, each with the limit of its direction, both with this gate");
        }

        /**
         * Wraps a socket, which must be used only through the result.
         *
         * @param socket   connected
         * @param upload   for what is written to the socket
         * @param download for what is read from it
         * @throws IOException if the socket is not connected, or is closed
         */
        public static ThrottledSocket wrap(Socket socket, Limit upload,
                Limit download) throws IOException {
            return new ThrottledSocket(Objects.requireNonNull(socket, "socket"),
                    Objects.requireNonNull(upload, "upload"),
                    Objects.requireNonNull(download, "download"));
        }

        /** As {@link Throttle#read}; closing it closes the socket. */
        public InputStream input() {
            return input;
        }

        /** As {@link Throttle#write}; closing it closes the socket. */
        public OutputStream output() {
            return output;
        }

        /** Half-close: the peer reads the end of stream; input() stays open. */
        public void shutdownOutput() throws IOException {
            throw new UnsupportedOperationException(
                    "TODO step 4: end the direction of output() only");
        }

        /**
         * Closes the socket and never waits. Calls that are waiting in either
         * direction throw an IOException. A second call has no effect.
         */
        @Override
        public void close() throws IOException {
            throw new UnsupportedOperationException(
                    "TODO step 4: close the gate, which ends the waits for tokens, and the socket");
        }
    }

    /**
     * Buckets that must all allow a transfer: for example, a bucket of the
     * connection's own, and one that all connections share.
     *
     * @param buckets at least one; all have the same Timing, because instants
     *                of two clocks cannot be compared
     * @param quantum the most bytes that a stream pays for at a time, 1 to the
     *                smallest burst; flows that share a bucket take turns after
     *                each quantum
     */
    public record Limit(List<Bucket> buckets, int quantum) {

        public Limit {
            buckets = List.copyOf(
                    Objects.requireNonNull(buckets, "buckets"));
            require(!buckets.isEmpty(), "buckets", buckets);
            var timing = buckets.getFirst().timing;
            require(buckets.stream().allMatch(each -> each.timing == timing),
                    "buckets", "of different timings");
            require(quantum >= 1 && quantum <= smallestBurst(buckets),
                    "quantum", quantum);
        }

        /** A quantum of 16 KiB, or the smallest burst if that is less. */
        public static Limit of(Bucket... buckets) {
            var all = List.of(buckets);
            return new Limit(all, fairQuantum(all));
        }

        /**
         * Takes the tokens from every bucket, and waits until they are there
         * in all of them. If the thread is interrupted, every bucket gets its
         * tokens back.
         *
         * @param bytes 1 to quantum
         */
        private void acquire(int bytes) throws InterruptedIOException {
            // TODO step 5: reserve() in every bucket; sleep() once, until the latest of the instants; if that throws, giveBack() to every bucket
            buckets.getFirst().acquire(bytes);
        }

        /** How much a flow takes before another flow has its turn. */
        private static int fairQuantum(List<Bucket> buckets) {
            // TODO step 6: 16 KiB, or the smallest burst if that is less
            return smallestBurst(buckets);
        }

        private static int smallestBurst(List<Bucket> buckets) {
            return buckets.stream().mapToInt(b -> b.burst).min().orElse(1);
        }
    }

    /**
     * A TCP relay that limits the rate of what it forwards, in each direction:
     * a bucket for each connection, and a global one for all of them. It serves
     * 1,000 connections at a time; others wait in the backlog. It has no idle
     * timeout. Thread-safe.
     */
    public static final class Relay implements AutoCloseable {

        private final ServerSocket listener;
        private final InetSocketAddress to;
        private final Options options;
        private final Bucket globalUp;
        private final Bucket globalDown;
        private final Set<Bucket> own = new HashSet<>();   // guarded by this
        private long rate;                                 // guarded by this

        /** The limit of a new connection, in one of its directions. */
        private synchronized Limit limit(Bucket global) {
            throw new UnsupportedOperationException(
                    "TODO step 6: a new bucket with this.rate and the burst and timing of the options; add it to own; the limit is this bucket and the global one");
        }

        /**
         * Changes the rates from now on, for open connections, too.
         *
         * @param rate   of each connection, each way: 1 to MAX_RATE
         * @param global of all connections together, each way: 1 to MAX_RATE
         */
        public synchronized void setRates(long rate, long global) {
            requireRate("rate", rate);
            requireRate("global", global);
            throw new UnsupportedOperationException(
                    "TODO step 6: set this.rate for connections to come, and the rate of each bucket in own and of both global buckets");
        }

        // ---- given from here on ----

        private static final int BACKLOG = 1024;
        private static final int MOST_CONNECTIONS = 1000;
        private static final int SOCKET_BUFFER = 64 * 1024;
        private static final int CONNECT_MILLIS = 5000;
        private static final Duration AFTER_CUT = Duration.ofSeconds(5);

        private final Thread acceptor;
        private final ExecutorService threads =
                Executors.newVirtualThreadPerTaskExecutor();
        private final Semaphore permits = new Semaphore(MOST_CONNECTIONS);
        private final Set<Connection> live = ConcurrentHashMap.newKeySet();
        private final LongAdder bytesUp = new LongAdder();
        private final LongAdder bytesDown = new LongAdder();
        private volatile boolean someoneCut;

        private Relay(ServerSocket listener, InetSocketAddress to,
                Options options) {
            this.listener = listener;
            this.to = to;
            this.options = options;
            var timing = options.timing();
            rate = options.rate();
            globalUp = new Bucket(options.global(), options.burst(), timing);
            globalDown = new Bucket(options.global(), options.burst(), timing);
            acceptor = Thread.ofVirtual().name("lab413-accept")
                    .unstarted(this::acceptLoop);
        }

        /**
         * Starts a relay.
         *
         * @param bind where it listens; port 0 takes any free port
         * @param to   where it connects to, for each of its clients
         * @throws BindException if the port is taken; no socket stays open
         */
        public static Relay start(InetSocketAddress bind, InetSocketAddress to,
                Options options) throws IOException {
            Objects.requireNonNull(bind, "bind");
            Objects.requireNonNull(to, "to");
            Objects.requireNonNull(options, "options");
            var listener = new ServerSocket();
            try {
                listener.setReceiveBufferSize(SOCKET_BUFFER);   // before bind
                listener.bind(bind, BACKLOG);
            } catch (IOException e) {
                listener.close();
                throw e;
            }
            var relay = new Relay(listener, to, options);
            relay.acceptor.start();
            return relay;
        }

        /** Where the relay listens, with its real port. */
        public InetSocketAddress localAddress() {
            return (InetSocketAddress) listener.getLocalSocketAddress();
        }

        /** What the relay has forwarded, and how many connections are open. */
        public Stats stats() {
            return new Stats(live.size(), bytesUp.sum(), bytesDown.sum());
        }

        /**
         * Stops accepting, and waits until the connections have ended. The
         * connections that are open after {@code grace} are cut: their sockets
         * are closed.
         *
         * @param grace zero or more; zero does not wait
         * @return true if no connection was cut
         */
        public boolean shutdown(Duration grace) throws InterruptedException {
            Objects.requireNonNull(grace, "grace");
            require(!grace.isNegative(), "grace", grace);
            closeQuietly(listener);
            acceptor.interrupt();
            acceptor.join(AFTER_CUT);
            threads.shutdown();
            if (!ended(grace)) {
                someoneCut = true;
                live.forEach(Connection::cut);
                ended(AFTER_CUT);
            }
            return !someoneCut;
        }

        private boolean ended(Duration limit) throws InterruptedException {
            long nanos = TimeUnit.NANOSECONDS.convert(limit);   // saturates
            return threads.awaitTermination(nanos, TimeUnit.NANOSECONDS);
        }

        /** Cuts all connections, and waits at most 5 s for their threads. */
        @Override
        public void close() {
            try {
                shutdown(Duration.ZERO);
            } catch (InterruptedException e) {
                close();   // the flag is clear now
                Thread.currentThread().interrupt();
            }
        }

        private void acceptLoop() {
            while (!listener.isClosed()) {
                try {
                    permits.acquire();
                    var connection = new Connection(listener.accept());
                    live.add(connection);
                    threads.execute(connection);
                } catch (InterruptedException e) {
                    return;   // close() wants it to end
                } catch (Throwable e) {   // closed, or no descriptor is left
                    permits.release();
                    LockSupport.parkNanos(SECOND / 20);
                }
            }
        }

        /** A client, and the server that its bytes go to. */
        private final class Connection implements Runnable {

            private final Socket client;
            private final Socket upstream = new Socket();
            private volatile AutoCloseable server = upstream;

            private Connection(Socket client) {
                this.client = client;
            }

            @Override
            public void run() {
                try (client; upstream) {
                    relay(limit(globalUp), limit(globalDown));
                } catch (IOException | InterruptedException e) {
                    // The client, the server or close() has ended it.
                } finally {
                    live.remove(this);
                    permits.release();
                }
            }

            private void relay(Limit up, Limit down)
                    throws IOException, InterruptedException {
                try {
                    upstream.setReceiveBufferSize(SOCKET_BUFFER);   // at first
                    upstream.connect(to, CONNECT_MILLIS);
                    for (var socket : List.of(client, upstream)) {
                        socket.setSendBufferSize(SOCKET_BUFFER);
                        socket.setTcpNoDelay(true);
                    }
                    var throttled = ThrottledSocket.wrap(upstream, up, down);
                    server = throttled;
                    var upload = Thread.ofVirtual().name("lab413-upload")
                            .start(() -> upload(throttled));
                    download(throttled);
                    upload.join();
                } finally {
                    forget(up, down);
                }
            }

            private void upload(ThrottledSocket server) {
                try {
                    pass(client.getInputStream(), server.output(), bytesUp);
                    server.shutdownOutput();
                } catch (IOException e) {
                    cut();   // a failure ends both directions
                }
            }

            private void download(ThrottledSocket server) {
                try {
                    pass(server.input(), client.getOutputStream(), bytesDown);
                    client.shutdownOutput();
                } catch (IOException e) {
                    cut();
                }
            }

            private void pass(InputStream in, OutputStream out, LongAdder bytes)
                    throws IOException {
                var buffer = new byte[16 * 1024];
                for (int count = in.read(buffer); count != -1;
                        count = in.read(buffer)) {
                    out.write(buffer, 0, count);
                    bytes.add(count);
                }
            }

            private void cut() {
                closeQuietly(client);
                closeQuietly(server);
            }
        }

        private synchronized void forget(Limit up, Limit down) {
            own.removeAll(up.buckets());
            own.removeAll(down.buckets());
        }

        private static void closeQuietly(AutoCloseable resource) {
            try {
                resource.close();
            } catch (Exception e) {
                // The descriptor is released even if close() reports an error.
            }
        }
    }

    /** Lets close() end the waits for tokens of the streams that share it. */
    private static final class Gate {

        private final Set<Thread> payers = new HashSet<>();   // guarded by this
        private boolean closed;                               // guarded by this

        /** Takes the tokens, and waits for them unless it is closed. */
        void pay(Limit limit, int bytes) throws IOException {
            synchronized (this) {
                requireOpen();
                payers.add(Thread.currentThread());
            }
            try {
                limit.acquire(bytes);
            } finally {
                leave();
            }
        }

        private synchronized void leave() throws IOException {
            if (!payers.remove(Thread.currentThread())) {
                Thread.interrupted();   // it was close() that interrupted
                throw new IOException("closed");
            }
        }

        synchronized void requireOpen() throws IOException {
            if (closed) {
                throw new IOException("closed");
            }
        }

        synchronized void close() {
            closed = true;
            payers.forEach(Thread::interrupt);   // nothing else ends a sleep
            payers.clear();
        }
    }

    /** A clock, and the sleep that goes with it. Thread-safe. */
    public interface Timing {

        /** As {@link System#nanoTime}: only differences mean anything. */
        long nanoTime();

        /** Returns when the clock has come so far; at once, if it has. */
        void sleepUntil(long nanoTime) throws InterruptedException;

        /** The real clock. */
        static Timing system() {
            return SYSTEM;
        }
    }

    private static final Timing SYSTEM = new Timing() {

        @Override
        public long nanoTime() {
            return System.nanoTime();
        }

        @Override
        public void sleepUntil(long nanoTime) throws InterruptedException {
            TimeUnit.NANOSECONDS.sleep(nanoTime - System.nanoTime());
        }
    };

    /**
     * The limits of a relay. They hold for each direction separately.
     *
     * @param rate   of each connection, in bytes a second, 1 to MAX_RATE
     * @param global of all connections together, 1 to MAX_RATE
     * @param burst  of every bucket, in bytes, at least 1
     * @param timing for all waits for tokens
     */
    public record Options(long rate, long global, int burst, Timing timing) {

        public Options {
            requireRate("rate", rate);
            requireRate("global", global);
            require(burst >= 1, "burst", burst);
            Objects.requireNonNull(timing, "timing");
        }

        /** The highest rates, and a burst of 64 KiB. */
        public static Options defaults() {
            return new Options(Bucket.MAX_RATE, Bucket.MAX_RATE, 64 * 1024,
                    Timing.system());
        }

        /** The same with another rate. */
        public Options withRate(long rate) {
            return new Options(rate, global, burst, timing);
        }

        /** The same with another global. */
        public Options withGlobal(long global) {
            return new Options(rate, global, burst, timing);
        }

        /** The same with another burst. */
        public Options withBurst(int burst) {
            return new Options(rate, global, burst, timing);
        }

        /** The same with another timing. */
        public Options withTiming(Timing timing) {
            return new Options(rate, global, burst, timing);
        }
    }

    /**
     * Exact while nothing is in flight. {@code int}: now; {@code long}: since
     * the start.
     *
     * @param connections from clients, open now
     * @param bytesUp     forwarded from clients to the server
     * @param bytesDown   forwarded from the server to clients
     */
    public record Stats(int connections, long bytesUp, long bytesDown) {}

    private static void require(boolean valid, String name, Object value) {
        if (!valid) {
            throw new IllegalArgumentException("bad " + name + ": " + value);
        }
    }

    private static void requireRate(String name, long value) {
        require(value >= 1 && value <= Bucket.MAX_RATE, name, value);
    }

    // The demo: one scene for each step, on a clock that only sleeps move.

    private static final List<String> STEPS = List.of("Refill the token bucket",
            "Reserve tokens and wait", "Throttle a stream",
            "Throttle both directions", "Share a limit between connections",
            "Share the rate fairly");
    private static final InetAddress HERE = InetAddress.getLoopbackAddress();
    private static final AtomicLong NOW = new AtomicLong();

    /** No argument: the demo; {@code serve} relays until Ctrl-C. */
    public static void main(String[] args) throws Exception {
        var words = String.join(" ", args);
        var serve = Pattern.compile("serve (?:(\\S+):)?(\\d{1,5}) --to (\\S+)"
                + ":(\\d{1,5})(?: --rate (\\d{1,6}[kM]?)B)?"
                + "(?: --global (\\d{1,6}[kM]?)B)?").matcher(words);
        boolean help = words.matches("(--)?help");
        try {
            if (args.length == 0) {
                demo();
            } else if (serve.matches()) {
                serve(address(serve.group(1), serve.group(2)),
                        address(serve.group(3), serve.group(4)),
                        Options.defaults().withRate(rate(serve.group(5)))
                                .withGlobal(rate(serve.group(6))));
            } else {
                (help ? System.out : System.err).println((help ? ""
                        : "not understood: " + words + "\n") + """
                        lab-413   the demo, step by step
                        lab-413 serve [HOST:]PORT --to HOST:PORT [--rate 1MB] \
                        [--global 4MB]
                                  relays until Ctrl-C; bytes a second, each way\
                        """);
                System.exit(help ? 0 : 2);
            }
        } catch (UnsupportedOperationException todo) {
            next(todo.getMessage() + "\n  " + todo.getStackTrace()[0]);
        } catch (IOException | IllegalArgumentException e) {
            System.err.println(words + ": " + e.getMessage());
            System.exit(1);
        }
    }

    private static void serve(InetSocketAddress bind, InetSocketAddress to,
            Options options) throws Exception {
        var relay = Relay.start(bind, to, options);
        relay.setRates(options.rate(), options.global());   // or its TODO
        Runtime.getRuntime().addShutdownHook(new Thread(relay::close));
        IO.println("listening on " + relay.localAddress().getHostString() + ":"
                + relay.localAddress().getPort());
        Thread.currentThread().join();
    }

    private static InetSocketAddress address(String host, String port) {
        return new InetSocketAddress(host == null ? "127.0.0.1" : host,
                Integer.parseInt(port));
    }

    /** 500, 64k or 1M, in powers of 1000; null is no limit. */
    private static long rate(String text) {
        return text == null ? Bucket.MAX_RATE : Long.parseLong(
                text.replace("k", "000").replace("M", "000000"));
    }

    private static void demo() throws Exception {
        IO.println("lab 413  Traffic throttle");
        var time = new Demo(1);
        var ten = new Bucket(10, 100, time);
        ten.tryAcquire(100);
        var tokens = new ArrayList<Long>();
        for (int millis : new int[] {0, 500, 500, 59_000}) {
            NOW.addAndGet(millis * 1_000_000L);
            tokens.add(ten.available());
        }
        show(1, "tokens after 0, 0.5, 1 and 60 s", tokens, "[0, 5, 10, 100]");
        var late = new Demo(1.3);   // each sleep lasts 30 % too long
        var exact = new Bucket(1_000_000, 1000, late);
        show(2, "1 MB, acquire() for each kB", took(1000,
                () -> exact.acquire(1000)), "1.00 s");
        show(2, "1 MB, a sleep of 1 ms for each kB", took(1000,
                () -> late.sleepUntil(NOW.get() + 1_000_000)), "1.30 s");

        var data = new byte[100_000];
        var in = read(new ByteArrayInputStream(data), limit(1_000_000));
        show(3, "100 kB read at 1 MB/s", took(1, in::readAllBytes), "0.10 s");
        try (var listener = new ServerSocket(0, 1, HERE);
             var ours = ThrottledSocket.wrap(new Socket(HERE,
                     listener.getLocalPort()), limit(2_000_000),
                     limit(1_000_000));
             var peer = listener.accept()) {
            show(4, "100 kB up at 2 MB/s",
                    took(1, () -> ours.output().write(data)), "0.05 s");
            peer.getOutputStream().write(data);
            peer.shutdownOutput();
            show(4, "100 kB down at 1 MB/s",
                    took(1, ours.input()::readAllBytes), "0.10 s");
        }

        var global = new Bucket(1_500_000, 1000, time);
        var flows = Stream.generate(() -> new Bucket(1_000_000, 1000, time))
                .map(own -> write(OutputStream.nullOutputStream(),
                        Limit.of(own, global))).limit(2).toList();
        show(5, "3 MB by two flows at 1.5 MB/s", took(1500, () -> {
            flows.get(0).write(data, 0, 1000);
            flows.get(1).write(data, 0, 1000);
        }), "2.00 s");
        var shared = new Bucket(1_000_000, 1_000_000, time);
        shared.reserve(1_000_000);
        shared.reserve(Limit.of(shared).quantum());   // a large flow's turn
        show(6, "1 kB behind a large flow at 1 MB/s",
                took(1, () -> shared.acquire(1000)), "0.02 s");
        var any = new InetSocketAddress(HERE, 0);
        try (var relay = Relay.start(any, any,
                Options.defaults().withTiming(time))) {
            var limit = relay.limit(shared);   // of a new connection
            relay.setRates(500_000, 4_000_000);
            show(6, "a connection's limit after setRates()",
                    limit.buckets().getFirst().rate() + " B/s", "500000 B/s");
        }
        IO.println("\nall six steps work");
    }

    private static Limit limit(long rate) {
        return Limit.of(new Bucket(rate, 1000, new Demo(1)));
    }

    /** A clock on which each sleep lasts so many times as long. */
    private record Demo(double factor) implements Timing {

        @Override
        public long nanoTime() {
            return NOW.get();
        }

        @Override
        public void sleepUntil(long nanoTime) {
            NOW.updateAndGet(now -> now
                    + Math.round(Math.max(nanoTime - now, 0) * factor));
        }
    }

    private interface Work {
        void run() throws Exception;
    }

    private static String took(int times, Work work) throws Exception {
        long start = NOW.get();
        for (int i = 0; i < times; i++) {
            work.run();
        }
        return "%.2f s".formatted((NOW.get() - start) / 1e9);
    }

    private static void show(int step, String what, Object seen,
            String expected) {
        IO.println("  %d  %-36s %s".formatted(step, what, seen));
        if (!seen.toString().equals(expected)) {
            next("TODO step " + step + ": search Throttle.java for it");
        }
    }

    private static void next(String todo) {
        int step = todo.charAt("TODO step ".length()) - '0';
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/Throttle.java";
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        IO.println("\nnext: step " + step + ", " + STEPS.get(step - 1) + "\n  "
                + todo + (isHere ? "" : "\n  in a clone of the workbook:")
                + ("\n  check  " + jbang + " test-413 " + file).stripTrailing()
                + "\n  hint   " + jbang + " hint 413 " + step);
        System.exit(0);
    }
}
