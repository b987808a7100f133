///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 416: a proxy that makes a network slow, to prove timeouts

import module java.base;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpHandler;
import com.sun.net.httpserver.HttpServer;

/**
 * A TCP proxy between a client and the server that it needs, which delays,
 * stalls, truncates or resets connections as a test asks for. The faults have
 * the names of Toxiproxy's toxics.
 *
 * <p>The one idea: each chunk is stamped when it is read, and every fault moves
 * the instant at which it is written to a later one. The thread that reads
 * never sleeps, so a delay of 100 ms delays each byte by 100 ms, and all of
 * them at the same time.
 *
 * <p>A proxy works on the bytes of TCP connections (RFC 9293): packets are
 * neither lost nor reordered. All methods are thread-safe.
 */
public final class SlowNetwork implements AutoCloseable {

    /**
     * A handler that waits first, and then lets {@code handler} answer. If the
     * thread is interrupted while it waits, {@code handler} is not called.
     */
    // tag::slow[]
    public static HttpHandler slow(HttpHandler handler, Duration delay,
            Timing timing) {
        // tag::step1[] return a handler that calls pause(), then handler
        return exchange -> {
            pause(delay, timing);
            handler.handle(exchange);
        };
        // end::step1[]
    }
    // end::slow[]

    /**
     * A listener, not bound yet, whose {@code accept} accepts a connection and
     * only then waits. If the wait is interrupted, or the listener was closed
     * meanwhile, the connection is closed and {@code accept} throws.
     */
    public static ServerSocket slowAccept(Duration delay, Timing timing)
            throws IOException {
        return new ServerSocket() {
            // tag::slowAccept[]
            @Override
            public Socket accept() throws IOException {
                // tag::step1[] accept as super does, then pause(); if that throws, or this listener is closed afterwards, close the socket and throw
                var socket = super.accept();
                try {
                    pause(delay, timing);
                    if (isClosed()) {
                        throw new SocketException("Socket closed");
                    }
                    return socket;
                } catch (IOException e) {
                    socket.close();
                    throw e;
                }
                // end::step1[]
            }
            // end::slowAccept[]
        };
    }

    /**
     * Waits.
     *
     * @throws InterruptedIOException if the thread is interrupted; it stays
     *         interrupted
     */
    // tag::pause[]
    private static void pause(Duration delay, Timing timing)
            throws InterruptedIOException {
        // tag::step1[] timing.sleepUntil() now + delay; turn an InterruptedException into an InterruptedIOException, and keep the thread interrupted
        try {
            timing.sleepUntil(timing.nanoTime() + delay.toNanos());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("interrupted during a pause");
        }
        // end::step1[]
    }
    // end::pause[]

    // tag::latency[]
    /** Each byte, and the end of stream, comes later by the same time. */
    static Move latency(Latency fault, Move move) {
        // tag::step2[] the same move, later by the latency of the fault
        return move.later(fault.latency());
        // end::step2[]
    }
    // end::latency[]

    /**
     * One direction of a connection. What has been read waits here, in one
     * queue, until it is due; a second thread writes it. Thread-safe.
     */
    static final class Pipe extends Sleeper implements AutoCloseable {

        private final Sink sink;
        private final int maxQueuedBytes;
        private final Deque<Move> queue = new ArrayDeque<>();
        private final Map<String, Effect> effects = new LinkedHashMap<>();
        private int queuedBytes;   // all but sink: guarded by this
        private boolean closed;

        Pipe(Sink sink, int maxQueuedBytes, Timing timing) {
            super(timing);
            this.sink = sink;
            this.maxQueuedBytes = maxQueuedBytes;
        }

        /**
         * Puts what has just been read into the queue. Waits while there is no
         * room; after close() it drops the bytes.
         *
         * @param bytes empty for the end of stream; at most maxQueuedBytes
         */
        // tag::put[]
        synchronized void put(byte[] bytes) throws InterruptedException {
            // tag::step2[] stamp the bytes with the present instant: Move.of(bytes, instant); wait() while there is no room for them and the pipe is not closed; add the move to queue and its size to queuedBytes; wake() the writer
            var chunk = Move.of(bytes, timing.nanoTime());
            while (queuedBytes + bytes.length > maxQueuedBytes && !closed) {
                wait();
            }
            queue.add(chunk);
            queuedBytes += bytes.length;
            wake();
            // end::step2[]
        }
        // end::put[]

        /**
         * Makes one move after the other, each when it is due.
         *
         * @return the last one, which the caller has to make: END of stream for
         *         this direction, CLOSE or RESET for the connection, or STOP
         */
        // tag::run[]
        Action run() throws IOException, InterruptedException {
            // tag::step2[] in a loop, next(): for a PAUSE, sleepUntil() it is due; WRITE its bytes to the sink; for DISCARD, nothing; return any other action
            while (true) {
                var move = next();
                switch (move.action()) {
                    case PAUSE -> sleepUntil(move.due());
                    case WRITE -> sink.write(move.bytes());
                    case DISCARD -> { }
                    default -> {
                        return move.action();
                    }
                }
            }
            // end::step2[]
        }
        // end::run[]

        /** The next move if it is due, and else a pause until then. */
        // tag::next[]
        private synchronized Move next() throws InterruptedException {
            // tag::step2[] plan(); as long as that is IDLE, wait() and plan again; if it is not due yet, set sleeper to this thread and return a PAUSE in its stead; else take() it and return it
            var move = plan();
            while (move.action() == Action.IDLE) {
                wait();
                move = plan();
            }
            if (move.due() - timing.nanoTime() > 0) {
                sleeper = Thread.currentThread();
                return move.instead(Action.PAUSE, move.due());
            }
            take(move);
            return move;
            // end::step2[]
        }
        // end::next[]

        /** What to do next, as things are now. */
        private Move plan() {
            long now = timing.nanoTime();
            var head = queue.peek();
            if (closed) {
                return new Move(Action.STOP, NOTHING, now);
            } else if (head == null) {
                return affected(new Move(Action.IDLE, NOTHING, now), now);
            }
            var piece = affected(head, now);
            return piece.size() == head.size() ? piece
                    : affected(head.atMost(piece.size()), now);
        }

        // tag::affected[]
        /** What the effects, one after the other, make of a move. */
        private Move affected(Move move, long now) {
            // tag::step2[] each effect applies to what those before it have made of the move
            for (var effect : effects.values()) {
                move = effect.apply(move, now);
            }
            return move;
            // end::step2[]
        }
        // end::affected[]

        /** Removes the bytes of this move from the head of the queue. */
        private void take(Move move) {
            if (move.size() == 0) {
                return;
            }
            var head = queue.remove();
            queuedBytes -= move.size();
            if (move.size() < head.size()) {
                queue.addFirst(head.without(move.size()));
            }
            if (move.action() == Action.WRITE) {
                var stage = head.atMost(move.size());
                for (var effect : effects.values()) {
                    stage = effect.apply(stage, timing.nanoTime());
                    effect.passed += move.size();
                    effect.last = stage.due();
                }
            }
            notifyAll();   // put() may wait for this room
        }

        /** The fault holds from now on, for what is in the queue as well. */
        synchronized void add(Toxic toxic) {
            effects.put(toxic.name(),
                    new Effect(toxic.fault(), timing.nanoTime()));
            wake();
        }

        /**
         * The fault no longer holds, not even for what is in the queue.
         *
         * @return true if it may have discarded bytes
         */
        synchronized boolean remove(String name) {
            var effect = effects.remove(name);
            wake();
            return effect != null && effect.fault instanceof Timeout stall
                    && effect.passed >= stall.afterBytes();
        }

        /** run() and put() return, or throw, soon. */
        @Override
        public synchronized void close() {
            closed = true;
            notifyAll();
            if (sleeper != null) {
                sleeper.interrupt();
            }
        }
    }

    // tag::stall[]
    /**
     * Lets a number of bytes pass; from then on it discards bytes, and at last
     * it closes the connection. The end of stream always passes.
     *
     * @param passed bytes that have passed
     * @param last   when the last of them was due; if there is none, when the
     *               fault began
     */
    static Move stall(Timeout fault, Move move, long passed, long last,
            long now) {
        // tag::step3[] before the stall, not more bytes than are left; during it, only WRITE and IDLE change: if a timeout that is not zero is over, CLOSE when it was; else DISCARD at once what would be written, and let IDLE wait for the timeout, if there is one // until then: return move;
        if (passed < fault.afterBytes()) {
            return move.atMost(fault.afterBytes() - passed);
        }
        boolean writes = move.action() == Action.WRITE;
        if (!writes && move.action() != Action.IDLE) {
            return move;
        }
        boolean closes = fault.timeout().isPositive();
        long end = last + fault.timeout().toNanos();
        if (closes && (!writes || end - now <= 0)) {
            return move.instead(Action.CLOSE, end);
        }
        return writes ? move.instead(Action.DISCARD, now) : move;
        // end::step3[]
    }
    // end::stall[]

    // tag::limit[]
    /**
     * Lets a number of bytes pass and closes the connection after the last. A
     * limit of 0 closes it when the first byte comes.
     */
    static Move limit(LimitData fault, Move move, long passed, long last) {
        // tag::step3[] not more bytes than are left; if none is left, and some have passed, CLOSE at the instant last instead of any move; if the limit is 0, CLOSE instead of the first WRITE // until then: return move;
        if (passed < fault.bytes()) {
            return move.atMost(fault.bytes() - passed);
        } else if (passed > 0) {
            return move.instead(Action.CLOSE, last);
        }
        boolean writes = move.action() == Action.WRITE;
        return writes ? move.instead(Action.CLOSE, move.due()) : move;
        // end::step3[]
    }
    // end::limit[]

    // tag::reset[]
    /** Whatever comes first, bytes or the end of stream, is a reset later. */
    static Move reset(ResetPeer fault, Move move) {
        // tag::step3[] WRITE and END become RESET, later by the time of the fault // until then: return move;
        boolean comes = move.action() == Action.WRITE
                || move.action() == Action.END;
        return comes ? move.instead(Action.RESET, move.due())
                .later(fault.after()) : move;
        // end::step3[]
    }
    // end::reset[]

    /**
     * Lets a client make one call through a proxy with this fault, and tells
     * how the call ended. When this method returns, proxy and server are
     * closed, and the client's thread has been interrupted if it was still at
     * work.
     *
     * @param client its whole answer should be {@link #BODY}
     * @param budget how long the call may take
     */
    public static Verdict prove(Client client, Scenario scenario,
            Duration budget) throws IOException, InterruptedException {
        var toxics = toxics(scenario);
        var server = origin();
        var proxy = start(ANY, server.getAddress(), Options.defaults(), toxics);
        try {
            if (scenario == Scenario.REFUSED) {
                proxy.close();
            }
            var uri = URI.create("http://127.0.0.1:%d/stock".formatted(
                    proxy.localAddress().getPort()));
            return observe(() -> client.get(uri), scenario, budget);
        } finally {
            proxy.close();
            server.stop(0);
        }
    }

    /** Tells how a call ends, on a thread of its own, within the budget. */
    // tag::observe[]
    private static Verdict observe(Callable<String> call, Scenario scenario,
            Duration budget) throws InterruptedException {
        // tag::step4[] run the call as a FutureTask on a virtual thread, and wait for the budget at most; the outcome is ANSWER (BODY), WRONG_ANSWER, FAILURE with its cause, or STILL_WAITING; in the end interrupt the thread
        var task = new FutureTask<>(call);
        long start = System.nanoTime();
        Thread.ofVirtual().name("lab416-client").start(task);
        var outcome = Outcome.FAILURE;
        Optional<Throwable> cause = Optional.empty();
        try {
            var body = task.get(budget.toNanos(), TimeUnit.NANOSECONDS);
            outcome = BODY.equals(body) ? Outcome.ANSWER : Outcome.WRONG_ANSWER;
        } catch (ExecutionException e) {
            cause = Optional.of(e.getCause());
        } catch (TimeoutException e) {
            outcome = Outcome.STILL_WAITING;
        } finally {
            task.cancel(true);
        }
        return new Verdict(scenario, outcome, cause,
                Duration.ofNanos(System.nanoTime() - start));
        // end::step4[]
    }
    // end::observe[]

    /** What is wrong with the way back in this scenario. */
    // tag::toxics[]
    private static Toxic[] toxics(Scenario scenario) {
        // tag::step4[] downstream(): BLACK_HOLE discards everything and never closes, TRICKLE has 1 kB/s, RESET resets at once, CUT_BODY ends after half the BODY; NONE and REFUSED need no toxic
        return switch (scenario) {
            case NONE, REFUSED -> new Toxic[0];
            case BLACK_HOLE -> downstream(new Timeout(Duration.ZERO, 0));
            case TRICKLE -> downstream(new Bandwidth(1));
            case RESET -> downstream(new ResetPeer(Duration.ZERO));
            case CUT_BODY -> downstream(new LimitData(BODY.length() / 2));
        };
        // end::step4[]
    }
    // end::toxics[]

    private static Toxic[] downstream(Fault fault) {
        return new Toxic[] {Toxic.of(Direction.DOWNSTREAM, fault)};
    }

    /**
     * The result of a proof.
     *
     * @param cause what the client threw, if its call failed
     * @param took  until the call ended, or until the budget was used up
     */
    public record Verdict(Scenario scenario, Outcome outcome,
            Optional<Throwable> cause, Duration took) {

        /**
         * True if the client ended the call by itself, within the budget, and
         * in the right way.
         */
        // tag::isProtected[]
        public boolean isProtected() {
            // tag::step4[] NONE: the whole answer is right; any other scenario: an IOException
            return scenario == Scenario.NONE ? outcome == Outcome.ANSWER
                    : cause.orElse(null) instanceof IOException;
            // end::step4[]
        }
        // end::isProtected[]
    }

    // tag::slice[]
    /** Small pieces, with a delay between two of them. */
    static Move slice(Slicer fault, Move move, long passed, long last) {
        // tag::step5[] bytes to WRITE: at most a slice of them, and, unless it is the first slice, not before the delay after the last one // until then: return move;
        if (move.action() != Action.WRITE) {
            return move;
        }
        var slice = move.atMost(fault.size());
        long earliest = last + fault.delay().toNanos();
        return passed == 0 ? slice
                : slice.instead(Action.WRITE, later(move.due(), earliest));
        // end::step5[]
    }
    // end::slice[]

    // tag::slowClose[]
    /** The end of stream comes later, and the bytes do not. */
    static Move slowClose(SlowClose fault, Move move) {
        // tag::step5[] only END, later by the delay of the fault // until then: return move;
        return move.action() == Action.END ? move.later(fault.delay()) : move;
        // end::step5[]
    }
    // end::slowClose[]

    /** A thread that sleeps on a clock, and can be woken. */
    private abstract static class Sleeper {

        final Timing timing;
        Thread sleeper;   // is asleep, or about to; guarded by this

        Sleeper(Timing timing) {
            this.timing = timing;
        }

        // tag::sleeper[]
        /** Called without the lock, when sleeper is set. */
        void sleepUntil(long instant) throws InterruptedException {
            // tag::step6[] sleep on timing; an InterruptedException only ends the sleep; finally, with the lock, forget the sleeper and clear an interrupt that came too late // until then: timing.sleepUntil(instant);
            try {
                timing.sleepUntil(instant);
            } catch (InterruptedException e) {
                // From wake() or close(): what to do is planned anew.
            } finally {
                synchronized (this) {
                    sleeper = null;
                    Thread.interrupted();
                }
            }
            // end::step6[]
        }

        /** Called with the lock: what was planned may be out of date. */
        void wake() {
            notifyAll();
            // tag::step6[] interrupt the sleeper if there is one, and no other thread // until then:
            if (sleeper != null) {
                sleeper.interrupt();
            }
            // end::step6[]
        }
        // end::sleeper[]
    }

    /**
     * Adds a toxic to all connections, those that are open included. What is on
     * its way is delayed, discarded or cut as well.
     *
     * @throws IllegalArgumentException if there is a toxic of this name
     */
    // tag::add[]
    public synchronized void add(Toxic toxic) {
        // tag::step6[] refuse a name that is taken; remember the toxic for connections to come, and infect() each that is open
        if (toxics.stream().anyMatch(one -> one.name().equals(toxic.name()))) {
            throw new IllegalArgumentException(
                    "there is a toxic of the name " + toxic.name());
        }
        toxics.add(toxic);
        connections.forEach(connection -> infect(connection, toxic));
        // end::step6[]
    }
    // end::add[]

    /**
     * Removes a toxic from all connections. What it has delayed is written at
     * once. Connections of which it may have discarded bytes are closed.
     *
     * @return false if there is none of this name
     */
    // tag::remove[]
    public synchronized boolean remove(String name) {
        // tag::step6[] forget it; remove it from both pipes of each open connection, and close the connection if a pipe asks for that
        if (!toxics.removeIf(toxic -> toxic.name().equals(name))) {
            return false;
        }
        for (var connection : List.copyOf(connections)) {
            if (connection.up.remove(name) || connection.down.remove(name)) {
                connection.close();
            }
        }
        return true;
        // end::step6[]
    }
    // end::remove[]

    // ---- given from here on ----

    private static final InetAddress HERE = InetAddress.ofLiteral("127.0.0.1");
    private static final int CHUNK = 32 * 1024;
    private static final int CONNECT_MILLIS = 5_000;
    private static final InetSocketAddress ANY = new InetSocketAddress(HERE, 0);

    private final InetSocketAddress upstream;
    private final Options options;
    private final Set<Connection> connections = ConcurrentHashMap.newKeySet();
    private final LongAdder readUp = new LongAdder();
    private final LongAdder readDown = new LongAdder();
    private final LongAdder writtenUp = new LongAdder();
    private final LongAdder writtenDown = new LongAdder();
    private final ServerSocket listener;
    private final Thread acceptor;
    private final List<Toxic> toxics;   // guarded by this

    /**
     * Starts a proxy that listens and passes all connections on.
     *
     * @param bind     where it listens; port 0 lets the system choose
     * @param upstream the server, which is not asked before a client comes
     * @param first    what all connections have from their first byte on
     * @throws IllegalArgumentException if two toxics have the same name
     */
    public static SlowNetwork start(InetSocketAddress bind,
            InetSocketAddress upstream, Options options, Toxic... first)
            throws IOException {
        return new SlowNetwork(bind, upstream, options, first);
    }

    private SlowNetwork(InetSocketAddress bind, InetSocketAddress upstream,
            Options options, Toxic... first) throws IOException {
        this.upstream = Objects.requireNonNull(upstream, "upstream");
        this.options = Objects.requireNonNull(options, "options");
        toxics = new ArrayList<>(List.of(first));
        var names = toxics.stream().map(Toxic::name).distinct().count();
        require(names == first.length, "first", toxics);
        Objects.requireNonNull(bind, "bind");
        listener = new ServerSocket(bind.getPort(), 50, bind.getAddress());
        acceptor = Thread.ofVirtual().name("lab416-accept")
                .start(this::acceptLoop);
    }

    /** Where it listens, or listened before it was closed. */
    public InetSocketAddress localAddress() {
        return (InetSocketAddress) listener.getLocalSocketAddress();
    }

    /** The toxics of connections to come, in the order of their addition. */
    public synchronized List<Toxic> toxics() {
        return List.copyOf(toxics);
    }

    /** Counts of now and since the start. */
    public Stats stats() {
        return new Stats(connections.size(), readUp.sum(), readDown.sum(),
                writtenUp.sum(), writtenDown.sum());
    }

    /**
     * Ends all connections. When it returns, nobody listens any more, and the
     * same address can be used again; the other threads end soon after.
     */
    @Override
    public void close() {
        closeQuietly(listener);
        try {
            acceptor.join();   // it keeps the port as long as it accepts
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        connections.forEach(Connection::close);
    }

    private void acceptLoop() {
        while (!listener.isClosed()) {
            try {
                begin(listener.accept());
            } catch (IOException e) {
                if (!listener.isClosed()) {
                    LockSupport.parkNanos(5_000_000);   // EMFILE, perhaps
                }
            }
        }
    }

    /** One lock: each connection has exactly the toxics of its time. */
    private synchronized void begin(Socket client) {
        var connection = new Connection(client);
        connections.add(connection);
        toxics.forEach(toxic -> infect(connection, toxic));
        Thread.ofVirtual().name("lab416-upstream").start(connection::run);
    }

    /** One draw for each toxic of a connection. */
    private void infect(Connection connection, Toxic toxic) {
        if (options.random().getAsDouble() < toxic.toxicity()) {
            (toxic.direction() == Direction.UPSTREAM ? connection.up
                    : connection.down).add(toxic);
        }
    }

    private interface Work {
        void run() throws IOException, InterruptedException;
    }

    /** Two sockets and two pipes, with a reader and a writer for each. */
    private final class Connection {

        private final Socket client;
        private final Socket server = new Socket();
        private final Pipe up;
        private final Pipe down;

        Connection(Socket client) {
            this.client = client;
            up = pipe(server, writtenUp);
            down = pipe(client, writtenDown);
        }

        private Pipe pipe(Socket to, LongAdder written) {
            return new Pipe(bytes -> {
                to.getOutputStream().write(bytes.array(), bytes.arrayOffset(),
                        bytes.remaining());
                written.add(bytes.remaining());
            }, options.maxQueuedBytes(), options.timing());
        }

        void run() {
            try {
                server.connect(upstream, CONNECT_MILLIS);
                server.setTcpNoDelay(true);
                client.setTcpNoDelay(true);
                var writers = List.of(start(() -> write(up, server)),
                        start(() -> write(down, client)));
                start(() -> read(server, down, readDown));
                start(() -> read(client, up, readUp));
                for (var writer : writers) {
                    writer.join();
                }
            } catch (IOException | InterruptedException e) {
                // Nobody to connect to, or a reset. A proxy has accepted
                // already, so all that it can do is to close.
            } finally {
                close();
            }
        }

        private Thread start(Work work) {
            return Thread.ofVirtual().name("lab416-pipe").start(() -> {
                try {
                    work.run();
                } catch (IOException e) {
                    reset();   // what befalls one side befalls the other
                } catch (InterruptedException e) {
                    close();
                }
            });
        }

        private void read(Socket from, Pipe pipe, LongAdder bytes)
                throws IOException, InterruptedException {
            var buffer = new byte[CHUNK];
            int count = from.getInputStream().read(buffer);
            while (count != -1) {
                bytes.add(count);
                pipe.put(Arrays.copyOf(buffer, count));
                count = from.getInputStream().read(buffer);
            }
            pipe.put(new byte[0]);
        }

        private void write(Pipe pipe, Socket to)
                throws IOException, InterruptedException {
            var last = pipe.run();
            if (last == Action.RESET) {
                reset();
            } else if (last != Action.STOP) {
                to.shutdownOutput();
            }
            if (last == Action.CLOSE) {
                close();   // after the last byte and the end of stream
            }
        }

        void reset() {
            for (var socket : List.of(client, server)) {
                try {
                    socket.setSoLinger(true, 0);   // close() sends an RST
                } catch (IOException e) {
                    // It is closed already.
                }
            }
            close();
        }

        void close() {
            connections.remove(this);
            closeQuietly(client);
            closeQuietly(server);
            up.close();
            down.close();
        }
    }

    private static void closeQuietly(AutoCloseable resource) {
        try {
            resource.close();
        } catch (Exception e) {
            // The descriptor is released even if close() reports an error.
        }
    }

    /** Where a pipe writes to. */
    interface Sink {
        void write(ByteBuffer bytes) throws IOException;
    }

    private static final ByteBuffer NOTHING = ByteBuffer.allocate(0);

    /** What a pipe can do. The last four are the last that it does. */
    enum Action { WRITE, DISCARD, IDLE, PAUSE, END, CLOSE, RESET, STOP }

    /**
     * What a pipe is going to do, with which bytes, and when. In its queue are
     * moves that are due when they are read: WRITE, and END without bytes.
     */
    record Move(Action action, ByteBuffer bytes, long due) {

        static Move of(byte[] bytes, long readAt) {
            return new Move(bytes.length == 0 ? Action.END : Action.WRITE,
                    ByteBuffer.wrap(bytes), readAt);
        }

        int size() {
            return bytes.remaining();
        }

        Move later(Duration time) {
            return instead(action, action == Action.IDLE
                    || action == Action.DISCARD ? due : due + time.toNanos());
        }

        Move atMost(long count) {
            return count >= size() ? this
                    : new Move(action, bytes.slice(0, (int) count), due);
        }

        Move instead(Action action, long due) {
            return new Move(action, bytes, due);
        }

        Move without(int count) {
            return new Move(action, bytes.slice(count, size() - count), due);
        }
    }

    /** A fault at work on one direction of one connection. */
    private static final class Effect {

        final Fault fault;
        long passed;   // bytes; both are guarded by the pipe
        long last;     // the instant of the last of them, or of the beginning

        Effect(Fault fault, long now) {
            this.fault = fault;
            last = now;
        }

        Move apply(Move move, long now) {
            return switch (fault) {
                case Latency latency -> latency(latency, move);
                case Bandwidth bandwidth -> bandwidth(bandwidth, move, last);
                case Timeout stall -> stall(stall, move, passed, last, now);
                case LimitData limit -> limit(limit, move, passed, last);
                case ResetPeer reset -> reset(reset, move);
                case Slicer slicer -> slice(slicer, move, passed, last);
                case SlowClose slow -> slowClose(slow, move);
            };
        }
    }

    /** Each byte takes its time, after the last one; pieces of 100 ms. */
    private static Move bandwidth(Bandwidth fault, Move move, long last) {
        if (move.action() != Action.WRITE) {
            return move;
        }
        var piece = move.atMost(fault.kilobytesPerSecond() * 100L);
        long nanos = piece.size() * 1_000_000L
                / fault.kilobytesPerSecond();
        return piece.instead(Action.WRITE, later(move.due(), last) + nanos);
    }

    private static long later(long one, long other) {
        return one - other > 0 ? one : other;
    }

    /** From the client to the server, or back. */
    public enum Direction { UPSTREAM, DOWNSTREAM }

    /**
     * A fault in one direction.
     *
     * @param name     by which it is removed, not empty
     * @param toxicity the share of connections that have it, 0 to 1; decided by
     *                 one draw for each connection
     */
    public record Toxic(String name, Direction direction, double toxicity,
            Fault fault) {

        public Toxic {
            require(!name.isEmpty(), "name", name);
            Objects.requireNonNull(direction, "direction");
            require(toxicity >= 0 && toxicity <= 1, "toxicity", toxicity);
            Objects.requireNonNull(fault, "fault");
        }

        /** For all connections, under a name such as latency_downstream. */
        public static Toxic of(Direction direction, Fault fault) {
            var words = fault.getClass().getSimpleName()
                    .replaceAll("(?<=[a-z])(?=[A-Z])", "_");
            return new Toxic((words + "_" + direction).toLowerCase(Locale.ROOT),
                    direction, 1, fault);
        }
    }

    /** What can be wrong with one direction of a connection. */
    public sealed interface Fault {}

    /** @param latency added to each byte and to the end of stream */
    public record Latency(Duration latency) implements Fault {
        public Latency { requireTime("latency", latency); }
    }

    /** @param kilobytesPerSecond at least 1; 1 kB is 1,000 bytes */
    public record Bandwidth(int kilobytesPerSecond) implements Fault {
        public Bandwidth {
            require(kilobytesPerSecond >= 1, "kilobytesPerSecond",
                    kilobytesPerSecond);
        }
    }

    /**
     * A stall, also called a black hole.
     *
     * @param timeout    after which the connection is closed, counted from the
     *                   beginning of the stall; zero: never
     * @param afterBytes how many bytes pass first, at least 0
     */
    public record Timeout(Duration timeout, long afterBytes) implements Fault {
        public Timeout {
            requireTime("timeout", timeout);
            require(afterBytes >= 0, "afterBytes", afterBytes);
        }
    }

    /** @param bytes that pass; then the connection is closed; at least 0 */
    public record LimitData(long bytes) implements Fault {
        public LimitData { require(bytes >= 0, "bytes", bytes); }
    }

    /** @param after from the first chunk, or the end of stream, to the reset */
    public record ResetPeer(Duration after) implements Fault {
        public ResetPeer { requireTime("after", after); }
    }

    /**
     * @param size  of a slice in bytes, at least 1; the last slice of a chunk
     *              may be smaller
     * @param delay between two slices
     */
    public record Slicer(int size, Duration delay) implements Fault {
        public Slicer {
            require(size >= 1, "size", size);
            requireTime("delay", delay);
        }
    }

    /** @param delay of the end of stream */
    public record SlowClose(Duration delay) implements Fault {
        public SlowClose { requireTime("delay", delay); }
    }

    /**
     * What the network does in a proof: nothing wrong; nobody listens; no byte
     * of an answer comes; it comes at 1 kB/s, 100 bytes at once; an RST comes
     * instead; the connection is closed in the middle of the body.
     */
    public enum Scenario { NONE, REFUSED, BLACK_HOLE, TRICKLE, RESET, CUT_BODY }

    /** The code whose timeouts are to be proved. */
    @FunctionalInterface
    public interface Client {

        /** The body of the answer. An interrupt should end the call. */
        String get(URI uri) throws Exception;
    }

    /** How a call ended. */
    public enum Outcome { ANSWER, WRONG_ANSWER, FAILURE, STILL_WAITING }

    /** The answer of the server in a proof: 20,000 characters. */
    static final String BODY = "17 in stock\n".repeat(1667).substring(4);

    private static HttpServer origin() throws IOException {
        var server = HttpServer.create(ANY, 0);
        server.createContext("/", call -> {
            call.sendResponseHeaders(200, BODY.length());
            try (var out = call.getResponseBody()) {
                out.write(BODY.getBytes());
            }
        });
        server.start();
        return server;
    }

    /** A clock, and the sleep that goes with it. Thread-safe. */
    public interface Timing {

        /** As {@link System#nanoTime}: only differences mean anything. */
        long nanoTime();

        /** Returns when the clock has come so far; at once, if it has. */
        void sleepUntil(long nanoTime) throws InterruptedException;

        /** The real clock. */
        static Timing system() {
            return new Timing() {
                @Override
                public long nanoTime() {
                    return System.nanoTime();
                }

                @Override
                public void sleepUntil(long time) throws InterruptedException {
                    TimeUnit.NANOSECONDS.sleep(time - System.nanoTime());
                }
            };
        }
    }

    /**
     * How a proxy works.
     *
     * @param maxQueuedBytes held in each direction of a connection, at least
     *                       32 KiB; not more than that passes in the time of
     *                       a latency
     * @param random         one draw in [0, 1) for each connection and toxic
     * @param timing         for all delays
     */
    public record Options(int maxQueuedBytes, DoubleSupplier random,
            Timing timing) {

        public Options {
            require(maxQueuedBytes >= CHUNK, "maxQueuedBytes", maxQueuedBytes);
            Objects.requireNonNull(random, "random");
            Objects.requireNonNull(timing, "timing");
        }

        /** 4 MiB in each direction, and the real clock. */
        public static Options defaults() {
            return new Options(4 << 20, Math::random, Timing.system());
        }
    }

    /**
     * {@code int}: now; {@code long}: since the start. What was read and not
     * written is in a queue, or was discarded.
     *
     * @param connections open now
     * @param readUp      bytes read from clients
     * @param readDown    bytes read from the server
     * @param writtenUp   bytes written to the server
     * @param writtenDown bytes written to clients
     */
    public record Stats(int connections, long readUp, long readDown,
            long writtenUp, long writtenDown) {}

    private static void require(boolean valid, String name, Object value) {
        if (!valid) {
            throw new IllegalArgumentException("bad " + name + ": " + value);
        }
    }

    private static void requireTime(String name, Duration time) {
        Objects.requireNonNull(time, name);
        require(!time.isNegative() && time.compareTo(Duration.ofDays(1)) <= 0,
                name, time);
    }

    // The demo: one scene for each step.

    private static final List<String> STEPS = List.of(
            "Delay a handler, delay accept", "Add latency",
            "Black-hole, truncate and reset", "Test a client's timeouts",
            "Slice the bytes", "Add and remove toxics live");

    /** No argument: the demo; a proxy runs until its input ends. */
    public static void main(String[] args) throws Exception {
        var words = String.join(" ", args);
        var proxy = Pattern.compile("(?:proxy|--to) (\\S+):(\\d{1,5})"
                + "(?: --listen (\\d{1,5}))?(?: --latency (\\d{1,7})(m?s))?"
                + "(?: --stall-after (\\d{1,12}))?").matcher(words);
        try {
            if (args.length == 0) {
                demo();
            } else if (proxy.matches()) {
                serve(proxy);
            } else {
                boolean help = words.matches("(--)?help");
                (help ? System.out : System.err).println((help ? ""
                        : "not understood: " + words + "\n") + """
                        lab-416   the demo, step by step
                        lab-416 --to HOST:PORT [--listen PORT] \
                        [--latency 200ms] [--stall-after BYTES]
                                  a proxy, until its input ends: delays both
                                  ways, stalls the way back after BYTES;
                                  "proxy HOST:PORT" is the same\
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

    private static void serve(Matcher words) throws Exception {
        var latency = new Latency(Duration.of(number(words.group(4), 0),
                "s".equals(words.group(5)) ? ChronoUnit.SECONDS
                        : ChronoUnit.MILLIS));
        var stall = new Timeout(Duration.ZERO,
                number(words.group(6), Long.MAX_VALUE));
        try (var proxy = start(new InetSocketAddress(HERE,
                (int) number(words.group(3), 0)), new InetSocketAddress(
                words.group(1), (int) number(words.group(2), 0)),
                Options.defaults(), Toxic.of(Direction.UPSTREAM, latency),
                Toxic.of(Direction.DOWNSTREAM, latency),
                Toxic.of(Direction.DOWNSTREAM, stall))) {
            IO.println("listening on 127.0.0.1:"
                    + proxy.localAddress().getPort());
            System.in.transferTo(OutputStream.nullOutputStream());
            IO.println("stats " + proxy.stats());
        }
    }

    private static long number(String text, long otherwise) {
        return text == null ? otherwise : Long.parseLong(text);
    }

    private static void demo() throws Exception {
        IO.println("lab 416  Slow network");
        var delay = Duration.ofMillis(100);
        slow(_ -> { }, delay, Timing.system()).handle(null);
        try (var listener = slowAccept(delay, Timing.system())) {
            listener.bind(ANY);
            long start = System.nanoTime();
            new Socket(HERE, listener.getLocalPort()).close();
            show(1, "slow accept: connect", since(start));
            listener.accept().close();
            show(1, "slow accept: accept", since(start));
        }
        var pipe = new Pipe(_ -> { }, CHUNK, Timing.system());
        pipe.put(NOTHING.array());
        show(2, "an empty pipe ends with", pipe.run() + "");
        talk(2, "10000 bytes", new Latency(delay));
        talk(3, "0 bytes", new Timeout(delay, 0));
        talk(3, "100 bytes", new LimitData(100));
        talk(3, "Connection reset", new ResetPeer(Duration.ZERO));
        for (var scenario : Scenario.values()) {
            var verdict = prove(SlowNetwork::get, scenario,
                    Duration.ofSeconds(1));
            show(4, "read timeout, " + scenario, verdict.isProtected()
                    ? "protected" : "NOT PROTECTED");
        }
        talk(5, "3 bytes", new Slicer(3, delay));
        talk(6, "10000 bytes", new Latency(Duration.ofHours(1)));
        IO.println("\nall six steps work");
    }

    /** A client with a timeout for each read, and for nothing else. */
    private static String get(URI uri) throws IOException {
        var call = uri.toURL().openConnection();
        call.setReadTimeout(500);
        try (var in = call.getInputStream()) {
            return new String(in.readAllBytes());
        }
    }

    /** A server writes 10,000 bytes at once; what does its client read? */
    private static void talk(int step, String expected, Fault fault)
            throws IOException {
        var toxic = Toxic.of(Direction.DOWNSTREAM, fault);
        var seen = "";
        try (var listener = new ServerSocket(0, 1, HERE);
             var proxy = start(ANY, new InetSocketAddress(HERE,
                     listener.getLocalPort()), Options.defaults(), toxic);
             var client = new Socket(HERE, proxy.localAddress().getPort());
             var server = listener.accept()) {
            long start = System.nanoTime();
            server.getOutputStream().write(new byte[10_000]);
            if (step == 6) {
                proxy.remove(toxic.name());
            }
            var in = client.getInputStream();
            int count = step == 5 ? in.read(new byte[10_000])
                    : in.readNBytes(10_000).length;
            seen = count + " bytes after " + since(start);
        } catch (SocketException e) {
            seen = e.getMessage();
        }
        show(step, toxic.name() + (step == 6 ? ", removed" : ""), seen);
        if (!seen.startsWith(expected)) {
            next("TODO step " + step + ": search SlowNetwork.java for it");
        }
    }

    private static String since(long start) {
        return Math.round((System.nanoTime() - start) / 1e6) + " ms";
    }

    private static void show(int step, String what, String seen) {
        IO.println("  %d  %-32s %s".formatted(step, what, seen));
    }

    private static void next(String todo) {
        int step = todo.charAt("TODO step ".length()) - '0';
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/SlowNetwork.java";
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        IO.println("\nnext: step " + step + ", " + STEPS.get(step - 1) + "\n  "
                + todo + (isHere ? "" : "\n  in a clone of the workbook:")
                + ("\n  check  " + jbang + " test-416 " + file).stripTrailing()
                + "\n  hint   " + jbang + " hint 416 " + step);
        System.exit(0);
    }
}
