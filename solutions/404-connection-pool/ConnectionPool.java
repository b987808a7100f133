///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 404: a connection pool for many threads

import module java.base;

/**
 * Keeps connections open for reuse and leases each to one borrower at a time.
 *
 * <p>The pool limits the connections that exist, not only the idle ones. It
 * has {@code maxTotal} slots, and each slot is room for one connection. A slot
 * belongs to a borrower, is idle with its connection, or does not exist yet.
 * Whatever fails, its slot must be released.
 *
 * <p>Thread-safe. The pool starts no thread, and calls no method of the
 * {@link Factory} while it holds its lock, because each of them may block.
 *
 * @param <C> the type of the connections
 */
public final class ConnectionPool<C> implements AutoCloseable {

    private final Factory<C> factory;
    private final Options options;
    final ReentrantLock lock = new ReentrantLock();   // the tests hold it, too
    private final Deque<Slot<C>> idle = new ArrayDeque<>();   // guarded by lock
    private final Queue<Waiter> waiters = new ArrayDeque<>(); // guarded by lock
    private int total;                   // slots that exist; guarded by lock

    /** A pool without connections; {@link #borrow} makes them. */
    public ConnectionPool(Factory<C> factory, Options options) {
        this.factory = Objects.requireNonNull(factory, "factory");
        this.options = Objects.requireNonNull(options, "options");
    }

    /**
     * Borrows a connection: the most recently returned one, or a new one.
     *
     * <p>The timeout limits the wait in the queue and the search among idle
     * connections. When it has elapsed, no further check begins. It does not
     * cut short a method of the factory: a check that is running ends, its
     * connection is destroyed if it is unhealthy, and one new connection is
     * made. So give the methods of the factory limits of their own.
     *
     * @param timeout zero does not wait in the queue
     * @throws PoolTimeoutException if no slot became free in time
     * @throws ExecutionException   if {@link Factory#connect} failed
     * @throws InterruptedException if the thread is interrupted while it
     *         waits, or while a method of the factory runs and fails
     * @throws PoolClosedException  if the pool is closed, or closes meanwhile
     */
    // tag::borrow[]
    public Lease<C> borrow(Duration timeout) throws PoolTimeoutException,
            ExecutionException, InterruptedException {
        var deadline = Deadline.in(requireNotNegative("timeout", timeout));
        var slot = take(deadline);
        try {
            while (!isFit(slot)) {
                discard(slot);
                slot = exchange(slot, deadline);
            }
            if (slot.isEmpty()) {
                requireOpen();
                connect(slot);
            }
            return lease(slot);
        } catch (Throwable e) {
            giveUp(slot);
            throw e;
        }
    }
    // end::borrow[]

    /** A slot for {@link #borrow}: an idle one, or an empty one. */
    // tag::take[]
    private Slot<C> take(Deadline deadline)
            throws PoolTimeoutException, InterruptedException {
        // tag::step1[] under the lock: the most recently returned idle slot; if none is idle, a newSlot() if hasRoom(), otherwise awaitTurn()
        lock.lock();
        try {
            if (!idle.isEmpty()) {
                return idle.pop();
            }
            return hasRoom() ? newSlot() : awaitTurn(deadline);
        } finally {
            lock.unlock();
        }
        // end::step1[]
    }
    // end::take[]

    /** Fills an empty slot. */
    // tag::connect[]
    private void connect(Slot<C> slot)
            throws ExecutionException, InterruptedException {
        // tag::step1[] fill() the slot with a new connection and count it as created; if that throws: rethrowInterrupt(), else count a connectFailure and throw an ExecutionException
        try {
            slot.fill(factory.connect(), now());
            counters.created.increment();
        } catch (Exception e) {
            rethrowInterrupt(e);
            counters.connectFailures.increment();
            throw new ExecutionException("cannot connect", e);
        }
        // end::step1[]
    }
    // end::connect[]

    /**
     * Called for a returned connection that may be leased again.
     *
     * @return false if the pool does not keep it
     */
    // tag::keep[]
    private boolean keep(Slot<C> slot) {
        // tag::step1[] under the lock: handOver() the slot to a waiter; if nobody waits, make it idle unless idleLimit() slots are
        lock.lock();
        try {
            if (handOver(slot)) {
                return true;
            }
            if (idle.size() >= idleLimit()) {
                return false;
            }
            idle.push(slot);
            return true;
        } finally {
            lock.unlock();
        }
        // end::step1[]
    }
    // end::keep[]

    /** Destroys the connection of a slot, if it has one; releases the slot. */
    // tag::throwAway[]
    private void throwAway(Slot<C> slot) {
        // tag::step1[] discard() the connection without the lock; then, under it, handOver() the empty slot, or else dropSlot()
        discard(slot);
        lock.lock();
        try {
            if (!handOver(slot)) {
                dropSlot();
            }
        } finally {
            lock.unlock();
        }
        // end::step1[]
    }
    // end::throwAway[]

    /**
     * The right to use a connection until {@link #close}; use it in a
     * try-with-resources statement. Any thread may close it. Keep a reference
     * to the lease while you use the connection: a lease that is garbage is
     * reclaimed, and its connection destroyed.
     */
    public static final class Lease<C> implements AutoCloseable {

        private final ConnectionPool<C> pool;
        private final LeaseState<C> state;

        private Lease(ConnectionPool<C> pool, LeaseState<C> state) {
            this.pool = pool;
            this.state = state;
        }

        /**
         * The connection, each time the same.
         *
         * @throws IllegalStateException if the lease has ended
         */
        // tag::lease[]
        public C get() {
            // tag::step1[] the connection of the state, unless the state hasEnded()
            if (state.hasEnded()) {
                throw new IllegalStateException("this lease has ended");
            }
            return state.connection;
            // end::step1[]
        }

        /** Returns the connection. Only the first end of a lease counts. */
        @Override
        public void close() {
            // tag::step1[] if this call is the end() of the state, the pool must takeBack() the state
            if (state.end()) {
                pool.takeBack(state);
            }
            // end::step1[]
        }
        // end::lease[]

        /**
         * Ends the lease and destroys the connection, because it must not be
         * used again. The {@link #close} that follows does nothing.
         */
        public void invalidate() {
            pool.invalidate(state);
        }
    }

    /** Under the lock: whether one more slot may exist. */
    private boolean hasRoom() {
        // tag::step2[] true if fewer than maxTotal slots exist // until then: return true;
        return total < options.maxTotal();
        // end::step2[]
    }

    /**
     * Under the lock, when no slot is free: waits in the queue.
     *
     * @throws PoolTimeoutException made by {@link #timedOut}
     */
    // tag::awaitTurn[]
    private Slot<C> awaitTurn(Deadline deadline)
            throws PoolTimeoutException, InterruptedException {
        // tag::step2[] join the waiters, and wait on your turn while you mustWait() and time is left; then leave the waiters; return the slot if there is one, otherwise throw timedOut()
        var waiter = new Waiter();
        waiters.add(waiter);
        try {
            long left = deadline.left();
            while (waiter.mustWait() && left > 0) {
                left = waiter.turn.awaitNanos(left);
            }
        } catch (InterruptedException e) {
            if (waiter.slot == null) {
                throw e;
            }
            Thread.currentThread().interrupt();   // the slot came first
        } finally {
            waiters.remove(waiter);
        }
        if (waiter.slot == null) {
            throw timedOut(deadline);
        }
        return waiter.slot;
        // end::step2[]
    }
    // end::awaitTurn[]

    /**
     * Under the lock: gives a slot to the waiter that has waited longest.
     *
     * @return false if nobody waits
     */
    // tag::handOver[]
    private boolean handOver(Slot<C> slot) {
        // tag::step2[] remove the first of the waiters, set its slot and signal its turn // until then: return false;
        var first = waiters.poll();
        if (first == null) {
            return false;
        }
        first.slot = slot;
        first.turn.signal();
        return true;
        // end::step2[]
    }
    // end::handOver[]

    /**
     * Whether the connection of a slot, which is not empty, may be leased.
     *
     * @throws InterruptedException if the check was interrupted
     */
    // tag::isHealthy[]
    private boolean isHealthy(Slot<C> slot) throws InterruptedException {
        // tag::step3[] true if its idleTime() is less than validateAfter; else ask the factory; if that throws: rethrowInterrupt(), else it is unhealthy; count the unhealthy // until then: return true;
        if (idleTime(slot) < nanos(options.validateAfter())) {
            return true;
        }
        boolean healthy = false;
        try {
            healthy = factory.isHealthy(slot.connection);
        } catch (Exception e) {
            rethrowInterrupt(e);
        }
        if (!healthy) {
            counters.unhealthy.increment();
        }
        return healthy;
        // end::step3[]
    }
    // end::isHealthy[]

    /**
     * Called when the connection of a slot was unfit and has been destroyed.
     *
     * @return an idle slot, for which the empty one is dropped; or the empty
     *         one
     */
    // tag::exchange[]
    private Slot<C> exchange(Slot<C> empty, Deadline deadline) {
        // tag::step3[] under the lock: if a slot is idle and time is left, dropSlot() for the empty one and return the idle one
        lock.lock();
        try {
            if (idle.isEmpty() || deadline.left() <= 0) {
                return empty;
            }
            dropSlot();
            return idle.pop();
        } finally {
            lock.unlock();
        }
        // end::step3[]
    }
    // end::exchange[]

    /** The health of a TCP connection on which no answer is outstanding. */
    // tag::isQuiet[]
    private static boolean isQuiet(SocketChannel channel) throws IOException {
        // tag::step3[] read without blocking: healthy only if nothing is there yet; leave the channel blocking // until then: return true;
        channel.configureBlocking(false);
        try {
            return channel.read(ByteBuffer.allocate(1)) == 0;
        } finally {
            channel.configureBlocking(true);
        }
        // end::step3[]
    }
    // end::isQuiet[]

    /** Called by {@link #borrow} when it fails, for the slot that it holds. */
    private void giveUp(Slot<C> slot) {
        // tag::step4[] release the slot, and destroy the connection if there is one // until then:
        throwAway(slot);
        // end::step4[]
    }

    // tag::invalidate[]
    private void invalidate(LeaseState<C> state) {
        // tag::step4[] if this call is the end() of the state, untrack() it and throwAway() its slot
        if (state.end()) {
            untrack(state);
            throwAway(state.slot);
        }
        // end::step4[]
    }
    // end::invalidate[]

    /**
     * Called for a returned connection before it is leased again.
     *
     * @return false if it must be destroyed
     */
    // tag::reset[]
    private boolean reset(Slot<C> slot) {
        // tag::step4[] let the factory reset() the connection; if that throws, keepInterrupt() and return false // until then: return true;
        try {
            factory.reset(slot.connection);
            return true;
        } catch (Exception e) {
            keepInterrupt(e);
            return false;
        }
        // end::step4[]
    }
    // end::reset[]

    /** Whether the connection of a slot, which is not empty, is too old. */
    // tag::isExpired[]
    private boolean isExpired(Slot<C> slot) {
        // tag::step5[] true if it has existed for maxLifetime or been idle for idleTtl; a limit of zero is no limit // until then: return false;
        return isOver(now() - slot.madeAt, options.maxLifetime())
                || isOver(idleTime(slot), options.idleTtl());
        // end::step5[]
    }
    // end::isExpired[]

    // tag::step5[]
    // tag::isOver[]
    private static boolean isOver(long nanos, Duration limit) {
        return !limit.isZero() && nanos >= nanos(limit);
    }
    // end::isOver[]
    // end::step5[]

    /** Called for each lease when it begins. */
    // tag::track[]
    private void track(Lease<C> lease, LeaseState<C> state) {
        // tag::step6[] always: register the lease with the CLEANER, so that it calls reclaim(state), which you write; only if leakAfter is not zero: set state.stack, add the state to tracked // until then:
        if (!options.leakAfter().isZero()) {
            state.stack = new Throwable();
            tracked.add(state);
        }
        state.cleanable = CLEANER.register(lease, () -> reclaim(state));
        // end::step6[]
    }
    // end::track[]

    /** Called for each lease when it is closed or invalidated. */
    // tag::untrack[]
    private void untrack(LeaseState<C> state) {
        // tag::step6[] remove the state from tracked, and clean() its cleanable // until then:
        tracked.remove(state);
        state.cleanable.clean();
        // end::step6[]
    }
    // end::untrack[]

    // tag::step6[]
    /** Called by the CLEANER when the lease of this state is garbage. */
    // tag::reclaim[]
    private void reclaim(LeaseState<C> state) {
        if (state.end()) {
            tracked.remove(state);
            counters.reclaimed.increment();
            throwAway(state.slot);
        }
    }
    // end::reclaim[]
    // end::step6[]

    /**
     * Leases that have been open for {@code leakAfter} or longer, the oldest
     * first; none if {@code leakAfter} is zero.
     */
    // tag::leaks[]
    public List<Leak> leaks() {
        // tag::step6[] the report() of each tracked state that is old enough, the oldest first
        long now = now();
        return tracked.stream()
                .filter(state -> now - state.since
                        >= nanos(options.leakAfter()))
                .sorted(Comparator.comparingLong(state -> state.since - now))
                .map(state -> state.report(now)).toList();
        // end::step6[]
    }
    // end::leaks[]

    /** Under the lock: how many slots may be idle. */
    // tag::idleLimit[]
    private int idleLimit() {
        // tag::step7[] a closed pool keeps no connection // until then: return options.maxIdle();
        return closed ? 0 : options.maxIdle();
        // end::step7[]
    }
    // end::idleLimit[]

    /** Ends the leasing for good. May be called again. */
    // tag::shut[]
    private void shut() {
        // tag::step7[] under the lock: set closed, signal and remove all waiters, take all idle slots; then, without it, throwAway() those slots // until then:
        List<Slot<C>> left;
        lock.lock();
        try {
            closed = true;
            waiters.forEach(waiter -> waiter.turn.signal());
            waiters.clear();
            left = List.copyOf(idle);
            idle.clear();
        } finally {
            lock.unlock();
        }
        left.forEach(this::throwAway);
        // end::step7[]
    }
    // end::shut[]

    /** Whether no slot existed any more before the deadline. */
    // tag::awaitAllFree[]
    private boolean awaitAllFree(Deadline deadline)
            throws InterruptedException {
        // tag::step7[] wait on the condition allFree while slots exist and time is left
        lock.lockInterruptibly();
        try {
            long left = deadline.left();
            while (total > 0 && left > 0) {
                left = allFree.awaitNanos(left);
            }
            return total == 0;
        } finally {
            lock.unlock();
        }
        // end::step7[]
    }
    // end::awaitAllFree[]

    // ---- given from here on ----

    /** One daemon thread for all pools; it is started with this class. */
    private static final Cleaner CLEANER = Cleaner.create();

    private final Counters counters = new Counters();
    private final AtomicLong ids = new AtomicLong();
    private final Set<LeaseState<C>> tracked = ConcurrentHashMap.newKeySet();
    private final Condition allFree = lock.newCondition();
    private volatile boolean closed;         // written under the lock

    /**
     * Closes the pool and waits until all connections have been returned.
     * Those that are still leased after the grace stay usable, and are
     * destroyed when they are returned. If the result is true, the pool calls
     * no method of the factory any more.
     *
     * @param grace how long to wait; zero does not wait
     * @return true if no connection is leased, being made or being destroyed
     * @throws InterruptedException if the thread is interrupted while it
     *         waits; the pool is closed nevertheless
     */
    public boolean shutdown(Duration grace) throws InterruptedException {
        var deadline = Deadline.in(requireNotNegative("grace", grace));
        shut();
        return awaitAllFree(deadline);
    }

    /**
     * Closes the pool: destroys the idle connections and does not wait for
     * leases. A leased connection stays usable, and is destroyed when it is
     * returned. Any thread may call this, also repeatedly.
     */
    @Override
    public void close() {
        shut();
    }

    /**
     * Destroys the idle connections that have expired. The pool has no thread
     * for this, so call it regularly from one of yours.
     *
     * @return how many were destroyed
     */
    // tag::evict[]
    public int evict() {
        List<Slot<C>> expired;
        lock.lock();
        try {
            expired = idle.stream().filter(this::isExpired).toList();
            idle.removeAll(expired);
        } finally {
            lock.unlock();
        }
        expired.forEach(this::throwAway);
        return expired.size();
    }
    // end::evict[]

    /** What the pool holds now and has done so far. */
    public Stats stats() {
        lock.lock();
        try {
            return counters.stats(total, idle.size(), waiters.size());
        } finally {
            lock.unlock();
        }
    }

    private boolean isFit(Slot<C> slot) throws InterruptedException {
        return slot.isEmpty() || !isExpired(slot) && isHealthy(slot);
    }

    private Lease<C> lease(Slot<C> slot) {
        requireOpen();
        if (slot.leasedBefore) {
            counters.reused.increment();
        }
        slot.leasedBefore = true;
        var state = new LeaseState<>(ids.incrementAndGet(), slot, now());
        var lease = new Lease<>(this, state);
        track(lease, state);
        return lease;
    }

    // tag::takeBack[]
    private void takeBack(LeaseState<C> state) {
        untrack(state);
        var slot = state.slot;
        boolean kept = false;
        try {
            slot.idleSince = now();
            kept = !isExpired(slot) && reset(slot) && keep(slot);
        } finally {
            if (!kept) {
                throwAway(slot);
            }
        }
    }
    // end::takeBack[]

    /** Destroys the connection of a slot, if it has one. Without the lock. */
    // tag::discard[]
    private void discard(Slot<C> slot) {
        if (slot.isEmpty()) {
            return;
        }
        try {
            factory.destroy(slot.connection);
        } catch (Throwable e) {   // even an Error must not keep the slot
            keepInterrupt(e);
        } finally {
            slot.clear();
            counters.destroyed.increment();
        }
    }
    // end::discard[]

    /** Under the lock. */
    private Slot<C> newSlot() {
        requireOpen();
        total++;
        return new Slot<>();
    }

    /** Under the lock, for an empty slot. */
    private void dropSlot() {
        total--;
        if (total == 0) {
            allFree.signalAll();
        }
    }

    /** Nanoseconds; close to zero for a connection just handed over. */
    private long idleTime(Slot<C> slot) {
        return now() - slot.idleSince;
    }

    private long now() {
        return options.nanoClock().getAsLong();
    }

    private void requireOpen() {
        if (closed) {
            throw new PoolClosedException();
        }
    }

    /** @throws PoolClosedException if the pool is closed */
    private PoolTimeoutException timedOut(Deadline deadline) {
        requireOpen();
        counters.timeouts.increment();
        var now = stats();
        return new PoolTimeoutException(("no connection within %s: %d of %d "
                + "slots exist, %d are leased, %d callers wait").formatted(
                shown(deadline.timeout()), now.total(), options.maxTotal(),
                now.leased(), now.waiting()));
    }

    /**
     * Throws an InterruptedException if that is what {@code e} stands for.
     * Socket operations report an interrupt by an IOException, and leave the
     * interrupt status set.
     */
    // tag::rethrowInterrupt[]
    private static void rethrowInterrupt(Exception e)
            throws InterruptedException {
        if (e instanceof InterruptedException interrupt) {
            throw interrupt;
        }
        if (Thread.interrupted()) {
            var interrupt = new InterruptedException(e.toString());
            interrupt.initCause(e);
            throw interrupt;
        }
    }
    // end::rethrowInterrupt[]

    /** Where an exception is swallowed, its interrupt must not be lost. */
    private static void keepInterrupt(Throwable swallowed) {
        if (swallowed instanceof InterruptedException) {
            Thread.currentThread().interrupt();
        }
    }

    /**
     * Room for one connection. Belongs to the thread that has taken it; while
     * it is idle, or on its way to a waiter, it is guarded by the lock.
     */
    private static final class Slot<C> {
        private C connection;   // null: the slot is empty
        private long madeAt;
        private long idleSince;
        private boolean leasedBefore;

        boolean isEmpty() {
            return connection == null;
        }

        void fill(C connection, long now) {
            this.connection = Objects.requireNonNull(connection, "connect()");
            madeAt = now;
            idleSince = now;
            leasedBefore = false;
        }

        void clear() {
            connection = null;
        }
    }

    /** A thread that waits for a slot. Guarded by the lock. */
    private final class Waiter {
        private final Condition turn = lock.newCondition();
        private Slot<C> slot;   // null until one is handed over

        boolean mustWait() {
            return slot == null && !closed;
        }
    }

    /** What the pool knows of a lease. Must not refer to the lease. */
    private static final class LeaseState<C> {
        private final long id;
        private final Slot<C> slot;
        private final C connection;
        private final long since;
        private final String thread = nameOf(Thread.currentThread());
        private final AtomicBoolean ended = new AtomicBoolean();
        private Throwable stack;
        private Cleaner.Cleanable cleanable;

        LeaseState(long id, Slot<C> slot, long now) {
            this.id = id;
            this.slot = slot;
            this.connection = slot.connection;
            this.since = now;
        }

        /** True for the first call only. */
        boolean end() {
            return ended.compareAndSet(false, true);
        }

        boolean hasEnded() {
            return ended.get();
        }

        /** Needs the stack. */
        Leak report(long now) {
            var callers = Arrays.stream(stack.getStackTrace())
                    .dropWhile(at -> !at.getMethodName().equals("borrow"))
                    .skip(1).toList();
            return new Leak(id, Duration.ofNanos(now - since), callers,
                    thread);
        }

        private static String nameOf(Thread thread) {
            var name = thread.getName();   // empty for most virtual threads
            return name.isEmpty() ? "thread #" + thread.threadId() : name;
        }
    }

    /** The end of a wait, in real time. */
    private record Deadline(Duration timeout, long end) {

        static Deadline in(Duration timeout) {
            return new Deadline(timeout, System.nanoTime() + nanos(timeout));
        }

        /** Nanoseconds; zero or less when the time has elapsed. */
        long left() {
            return end - System.nanoTime();
        }
    }

    /**
     * Makes and destroys connections. Any thread that uses the pool may call
     * these methods, several at the same time, but never two for one
     * connection. The pool cuts none of them short, so a method that waits
     * for a peer needs a limit of its own. A method that is interrupted
     * throws an InterruptedException, or any exception with the interrupt
     * status set, as channels do.
     */
    public interface Factory<C> {
        /** Makes a connection. */
        C connect() throws Exception;

        /** Whether a connection may be leased; an exception means no. */
        default boolean isHealthy(C connection) throws Exception {
            return true;
        }

        /** Prepares a returned connection for the next borrower. If this
         *  throws, the connection is destroyed. */
        default void reset(C connection) throws Exception {}

        /** Destroys a connection. Exceptions are ignored. */
        void destroy(C connection) throws Exception;
    }

    /**
     * TCP connections to one peer, with TCP_NODELAY. A connection is healthy
     * if the peer has not closed it and has sent nothing unrequested. A peer
     * that has vanished without a FIN or RST looks healthy, too.
     *
     * @param connectTimeout more than zero
     */
    public static Factory<SocketChannel> tcp(InetSocketAddress peer,
            Duration connectTimeout) {
        Objects.requireNonNull(peer, "peer");
        if (requireNotNegative("connectTimeout", connectTimeout).isZero()) {
            throw new IllegalArgumentException("connectTimeout must not be 0");
        }
        return new Factory<>() {
            @Override
            public SocketChannel connect() throws IOException {
                var channel = SocketChannel.open();
                try {
                    channel.socket().connect(peer, millis(connectTimeout));
                    channel.socket().setTcpNoDelay(true);
                    return channel;
                } catch (IOException | RuntimeException e) {
                    channel.close();
                    throw e;
                }
            }

            @Override
            public boolean isHealthy(SocketChannel channel)
                    throws IOException {
                return isQuiet(channel);
            }

            @Override
            public void destroy(SocketChannel channel) throws IOException {
                channel.close();
            }
        };
    }

    /**
     * The limits of a pool. An age that equals its limit has reached it.
     *
     * @param maxTotal      connections at any instant, at least 1, those being
     *                      made, checked or destroyed included
     * @param maxIdle       idle connections, 0 or more
     * @param idleTtl       how long a connection may be idle; zero: no limit
     * @param maxLifetime   how long a connection may exist; zero: no limit. A
     *                      leased connection stays usable
     * @param validateAfter a connection that was idle for so long is checked
     *                      before it is leased; zero: each one is
     * @param leakAfter     a lease this old is reported; zero: none is
     * @param nanoClock     measures ages, in nanoseconds; waits take real time
     */
    public record Options(int maxTotal, int maxIdle, Duration idleTtl,
            Duration maxLifetime, Duration validateAfter, Duration leakAfter,
            LongSupplier nanoClock) {

        public Options {
            requireAtLeast("maxTotal", maxTotal, 1);
            requireAtLeast("maxIdle", maxIdle, 0);
            requireNotNegative("idleTtl", idleTtl);
            requireNotNegative("maxLifetime", maxLifetime);
            requireNotNegative("validateAfter", validateAfter);
            requireNotNegative("leakAfter", leakAfter);
            Objects.requireNonNull(nanoClock, "nanoClock");
        }

        /** 8 connections, all of which may be idle, for 1 min; 30 min old at
         *  most, checked after half a second; no leak report. */
        public static Options defaults() {
            return new Options(8, Integer.MAX_VALUE, Duration.ofMinutes(1),
                    Duration.ofMinutes(30), Duration.ofMillis(500),
                    Duration.ZERO, System::nanoTime);
        }

        /** The same with another limit of all connections. */
        public Options withMaxTotal(int maxTotal) {
            return new Options(maxTotal, maxIdle, idleTtl, maxLifetime,
                    validateAfter, leakAfter, nanoClock);
        }

        /** The same with another limit of idle connections. */
        public Options withMaxIdle(int maxIdle) {
            return new Options(maxTotal, maxIdle, idleTtl, maxLifetime,
                    validateAfter, leakAfter, nanoClock);
        }

        /** The same with another limit of the idle time. */
        public Options withIdleTtl(Duration idleTtl) {
            return new Options(maxTotal, maxIdle, idleTtl, maxLifetime,
                    validateAfter, leakAfter, nanoClock);
        }

        /** The same with another limit of the age. */
        public Options withMaxLifetime(Duration maxLifetime) {
            return new Options(maxTotal, maxIdle, idleTtl, maxLifetime,
                    validateAfter, leakAfter, nanoClock);
        }

        /** The same with another idle time before a check. */
        public Options withValidateAfter(Duration validateAfter) {
            return new Options(maxTotal, maxIdle, idleTtl, maxLifetime,
                    validateAfter, leakAfter, nanoClock);
        }

        /** The same with another age of a reported lease. */
        public Options withLeakAfter(Duration leakAfter) {
            return new Options(maxTotal, maxIdle, idleTtl, maxLifetime,
                    validateAfter, leakAfter, nanoClock);
        }

        /** The same with another clock. */
        public Options withNanoClock(LongSupplier nanoClock) {
            return new Options(maxTotal, maxIdle, idleTtl, maxLifetime,
                    validateAfter, leakAfter, nanoClock);
        }
    }

    /**
     * Exact while no thread borrows or returns. {@code int}: now; {@code
     * long}: since the pool was made.
     *
     * @param total           slots that exist: {@code idle + leased}
     * @param idle            idle connections
     * @param leased          leased, or being made, checked or destroyed
     * @param waiting         calls of borrow() that wait in the queue
     * @param created         connections made
     * @param destroyed       connections destroyed
     * @param reused          leases of a connection that was leased before
     * @param unhealthy       connections that failed their check
     * @param timeouts        calls of borrow() that ran out of time
     * @param connectFailures calls of connect() that failed
     * @param reclaimed       leases that became garbage without being closed
     */
    public record Stats(int total, int idle, int leased, int waiting,
            long created, long destroyed, long reused, long unhealthy,
            long timeouts, long connectFailures, long reclaimed) {}

    private static final class Counters {
        final LongAdder created = new LongAdder();
        final LongAdder destroyed = new LongAdder();
        final LongAdder reused = new LongAdder();
        final LongAdder unhealthy = new LongAdder();
        final LongAdder timeouts = new LongAdder();
        final LongAdder connectFailures = new LongAdder();
        final LongAdder reclaimed = new LongAdder();

        Stats stats(int total, int idle, int waiting) {
            return new Stats(total, idle, total - idle, waiting,
                    created.sum(), destroyed.sum(), reused.sum(),
                    unhealthy.sum(), timeouts.sum(), connectFailures.sum(),
                    reclaimed.sum());
        }
    }

    /**
     * A lease that has been open for a long time.
     *
     * @param borrowedAt the stack, beginning with the caller of borrow()
     * @param thread     the name of that thread, or its number
     */
    public record Leak(long leaseId, Duration heldFor,
            List<StackTraceElement> borrowedAt, String thread) {
        public Leak {
            borrowedAt = List.copyOf(borrowedAt);
        }

        @Override
        public String toString() {
            return "lease %d, held for %s by %s, borrowed at %s".formatted(
                    leaseId, shown(heldFor), thread, borrowedAt.isEmpty()
                            ? "an unknown place" : borrowedAt.getFirst());
        }
    }

    /** No slot became free in time. */
    public static final class PoolTimeoutException extends TimeoutException {
        private static final long serialVersionUID = 1;

        private PoolTimeoutException(String message) {
            super(message);
        }
    }

    /** The pool is closed. */
    public static final class PoolClosedException
            extends IllegalStateException {
        private static final long serialVersionUID = 1;

        private PoolClosedException() {
            super("the pool is closed");
        }
    }

    private static void requireAtLeast(String name, int value, int least) {
        if (value < least) {
            throw new IllegalArgumentException("%s must be at least %d, not %d"
                    .formatted(name, least, value));
        }
    }

    private static Duration requireNotNegative(String name, Duration value) {
        if (Objects.requireNonNull(value, name).isNegative()) {
            throw new IllegalArgumentException(
                    name + " must not be negative, not " + value);
        }
        return value;
    }

    /** Capped at Long.MAX_VALUE ns, about 292 years. */
    private static long nanos(Duration time) {
        var most = Duration.ofNanos(Long.MAX_VALUE);
        return time.compareTo(most) < 0 ? time.toNanos() : Long.MAX_VALUE;
    }

    /** Rounded up, so that only zero becomes 0; capped at 24 days. */
    private static int millis(Duration time) {
        return (int) Math.min(Math.ceilDiv(nanos(time), 1_000_000L),
                Integer.MAX_VALUE);
    }

    private static String shown(Duration time) {
        return time.toMillis() < 1000 ? time.toMillis() + " ms"
                : time.toSeconds() + " s";
    }

    // The demo: one scene for each step.

    private static final List<String> STEPS = List.of("Borrow and return",
            "Limit the pool and queue fairly", "Validate before borrowing",
            "Free the slot on failure", "Expire by age", "Find leaks",
            "Close the pool");
    private static final Duration SECOND = Duration.ofSeconds(1);
    private static volatile int scene = 1;

    /** No argument: the demo; {@code --peer}: workers ask a real server. */
    public static void main(String[] args) throws Exception {
        Thread.setDefaultUncaughtExceptionHandler((_, e) -> died(e));
        switch (String.join(" ", args)) {
            case "" -> demo();
            case String peer when peer.matches(
                    "--peer \\S+:\\d{1,5}( \\d{1,4})?") ->
                visit(args[1], args.length < 3 ? 3 : Integer.parseInt(args[2]));
            default -> usage("""
                    lab-404                            the demo, step by step
                    lab-404 --peer HOST:PORT [SECONDS] 40 workers ask a server
                        that answers line by line, and again after a pause of 3
                        or so many seconds
                    lab-404 help                       this text""", args);
        }
    }

    private static void visit(String where, int pause) throws Exception {
        scene = STEPS.size();
        int colon = where.lastIndexOf(':');
        try (var pool = new ConnectionPool<>(tcp(new InetSocketAddress(
                where.substring(0, colon), Integer.parseInt(
                where.substring(colon + 1))), SECOND), smallPool())) {
            try (var lease = pool.borrow(SECOND)) {
                IO.println("PING is answered " + ask(lease.get()));
            }
            IO.println(crowd(pool, 50, channel -> ask(channel)));
            IO.println("a pause of " + pause + " s");
            Thread.sleep(Duration.ofSeconds(pause));
            IO.println(crowd(pool, 50, channel -> ask(channel)));
        } catch (ExecutionException | IllegalArgumentException e) {
            IO.println("cannot connect to " + where + ": " + (e.getCause()
                    == null ? e : e.getCause()).getMessage());
            System.exit(1);
        }
    }

    private static Options smallPool() {
        return Options.defaults().withMaxTotal(4)
                .withValidateAfter(Duration.ZERO);
    }

    private static void demo() throws Exception {
        IO.println("lab 404  Connection pool");
        try (var server = new ServerSocket(0, 50,
                InetAddress.getLoopbackAddress())) {
            var pool = new ConnectionPool<>(tcp((InetSocketAddress)
                    server.getLocalSocketAddress(), SECOND), smallPool());
            for (int i = 0; i < 2; i++) {
                pool.borrow(SECOND).close();
            }
            show("borrow, return, borrow", "created 1, reused 1",
                    "created %d, reused %d".formatted(pool.stats().created(),
                            pool.stats().reused()));
            show("40 workers, 4 connections", ".*, failed 0; created 4, .*",
                    crowd(pool, 10, _ -> Thread.sleep(1)));
            for (int i = 0; i < 2; i++) {
                server.accept().close();
            }
            show("the server closes 2 of 4", ".*, failed 0; .* unhealthy 2",
                    crowd(pool, 10, _ -> Thread.sleep(1)));
        }

        var clock = new AtomicLong();
        var pool = new ConnectionPool<>(new Lines(), smallPool()
                .withMaxTotal(2).withNanoClock(clock::get)
                .withLeakAfter(Duration.ofMinutes(1)));
        var outcomes = new ArrayList<String>();
        for (int i = 0; i < 4; i++) {
            try (var lease = pool.borrow(Duration.ZERO)) {
                outcomes.add(lease.get());
            } catch (ExecutionException | PoolTimeoutException e) {
                outcomes.add(e.getCause() == null ? "no slot" : "failed");
            }
        }
        show("3 connects fail, 2 slots", "failed, failed, failed, line 4",
                String.join(", ", outcomes));

        clock.addAndGet(61_000_000_000L);
        show("1 idle for 61 s", "evicted 1", "evicted " + pool.evict());

        pool.borrow(SECOND);   // and the lease is dropped
        clock.addAndGet(61_000_000_000L);
        IO.println("     " + pool.leaks());
        for (int i = 0; i < 100 && pool.stats().destroyed() < 2; i++) {
            System.gc();
            Thread.sleep(10);
        }
        show("a lease is dropped", "reclaimed 1", "reclaimed "
                + pool.stats().reclaimed());

        var lease = pool.borrow(SECOND);
        boolean early = pool.shutdown(Duration.ZERO);
        lease.close();
        show("shutdown, 1 leased", "false, then true", early + ", then "
                + pool.shutdown(Duration.ZERO));
        IO.println("\nall seven steps work");
    }

    /** The first three calls of connect() fail. */
    private static final class Lines implements Factory<String> {
        private int calls;

        @Override
        public String connect() throws IOException {
            if (++calls <= 3) {
                throw new ConnectException("Connection refused");
            }
            return "line " + calls;
        }

        @Override
        public void destroy(String line) {}
    }

    private interface Work {
        void use(SocketChannel channel) throws Exception;
    }

    /** 40 workers, each of which borrows so many times. */
    private static String crowd(ConnectionPool<SocketChannel> pool, int times,
            Work work) throws InterruptedException {
        var failed = new AtomicInteger();
        var workers = Stream.generate(() -> Thread.startVirtualThread(() -> {
            for (int i = 0; i < times; i++) {
                try (var lease = pool.borrow(Duration.ofSeconds(10))) {
                    work.use(lease.get());
                } catch (UnsupportedOperationException todo) {
                    throw todo;
                } catch (Exception e) {
                    failed.incrementAndGet();
                }
            }
        })).limit(40).toList();
        for (var worker : workers) {
            worker.join();
        }
        var stats = pool.stats();
        return "%d uses, failed %d; created %d, reused %d, unhealthy %d"
                .formatted(40 * times, failed.get(), stats.created(),
                        stats.reused(), stats.unhealthy());
    }

    private static String ask(SocketChannel channel) throws IOException {
        channel.write(ByteBuffer.wrap("PING\r\n".getBytes()));
        var answer = new StringBuilder();
        var in = channel.socket().getInputStream();
        for (int next = in.read(); next != '\n'; next = in.read()) {
            if (next == -1) {
                throw new EOFException("the peer has closed");
            }
            answer.append((char) next);
        }
        return answer.toString().strip();
    }

    private static void show(String what, String expected, String seen) {
        IO.println("  %d  %-27s %s".formatted(scene, what, seen));
        if (!seen.matches(expected)) {
            next(scene, "search ConnectionPool.java for TODO step " + scene);
        }
        scene++;
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
                : "PATH/TO/ConnectionPool.java";
        return (isHere ? "" : "in a clone of the workbook:\n  ")
                + "check  %s test-404 %s".formatted(jbang, file).strip()
                + "\n  hint   %s hint 404 %d".formatted(jbang, step);
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
