///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 404: a pool that lends connections to many threads

import module java.base;

/**
 * Lends connections to many threads, one at a time, and keeps them for the
 * next one.
 *
 * <p>The one idea: places are bounded, not connections kept. Each of at most
 * {@code maxTotal} places is lent, or idle with a connection, or handed, with
 * a connection or empty, to whoever has waited longest. Whatever fails, its
 * place must not get lost.
 *
 * <p>Thread-safe. It starts no thread, and no method of the {@link Factory}
 * is ever called under the lock: each of them may take its time.
 *
 * @param <C> a connection
 */
public final class ConnectionPool<C> implements AutoCloseable {

    private final Factory<C> factory;
    private final Options options;
    private final ReentrantLock lock = new ReentrantLock();
    private final Deque<Place<C>> idle = new ArrayDeque<>();  // guarded by lock
    private final Queue<Waiter> waiters = new ArrayDeque<>(); // guarded by lock
    private int total;                       // places taken; guarded by lock

    /** A pool without connections: they are made when they are wanted. */
    public ConnectionPool(Factory<C> factory, Options options) {
        this.factory = Objects.requireNonNull(factory, "factory");
        this.options = Objects.requireNonNull(options, "options");
    }

    /**
     * Lends a connection: the one that came back last, or a new one.
     *
     * @param timeout how long to wait in the queue, and to look at one idle
     *                connection after the other; then a new one is made. Zero
     *                does not wait. No method of the factory is cut short
     * @throws PoolTimeoutException if all were lent until then
     * @throws ExecutionException   if {@link Factory#connect} failed
     * @throws PoolClosedException  if the pool is closed, or closes meanwhile
     */
    // tag::borrow[]
    public Lease<C> borrow(Duration timeout) throws PoolTimeoutException,
            ExecutionException, InterruptedException {
        var deadline = Deadline.in(requireNotNegative("timeout", timeout));
        requireOpen();
        var place = take(deadline);
        try {
            while (!isFit(place)) {
                discard(place);
                place = exchange(place, deadline);
            }
            if (place.isEmpty()) {
                connect(place);
            }
            return lend(place);
        } catch (Throwable e) {
            giveUp(place);
            throw e;
        }
    }
    // end::borrow[]

    /** A place for {@link #borrow}, with an idle connection or empty. */
    // tag::take[]
    private Place<C> take(Deadline deadline)
            throws PoolTimeoutException, InterruptedException {
        // tag::step1[] under the lock: the idle place that came back last; else a newPlace() if hasRoom(), else awaitTurn()
        lock.lock();
        try {
            if (!idle.isEmpty()) {
                return idle.pop();
            }
            return hasRoom() ? newPlace() : awaitTurn(deadline);
        } finally {
            lock.unlock();
        }
        // end::step1[]
    }
    // end::take[]

    /** Fills an empty place. */
    // tag::connect[]
    private void connect(Place<C> place)
            throws ExecutionException, InterruptedException {
        // tag::step1[] fill() it with a new connection, and count that; what connect() throws becomes an ExecutionException
        try {
            place.fill(factory.connect(), now());
            counters.created.increment();
        } catch (InterruptedException e) {
            throw e;
        } catch (Exception e) {
            counters.connectFailures.increment();
            throw new ExecutionException("cannot connect", e);
        }
        // end::step1[]
    }
    // end::connect[]

    /**
     * Called for a place that came back with its connection in good order.
     *
     * @return false if the connection is one too many
     */
    // tag::keep[]
    private boolean keep(Place<C> place) {
        // tag::step1[] under the lock: passOn() to a waiter, or else keep it idle, if that makes no more than maxIdle
        lock.lock();
        try {
            // tag::step7[] a closed pool keeps nothing // until then:
            if (closed) {
                return false;
            }
            // end::step7[]
            if (passOn(place)) {
                return true;
            }
            if (idle.size() >= options.maxIdle()) {
                return false;
            }
            idle.push(place);
            return true;
        } finally {
            lock.unlock();
        }
        // end::step1[]
    }
    // end::keep[]

    /** Ends the connection of a place, if it holds one, and frees the place. */
    // tag::throwAway[]
    private void throwAway(Place<C> place) {
        // tag::step1[] discard() first, without the lock; then, under it, passOn() the empty place, or else dropPlace()
        discard(place);
        lock.lock();
        try {
            if (!passOn(place)) {
                dropPlace();
            }
        } finally {
            lock.unlock();
        }
        // end::step1[]
    }
    // end::throwAway[]

    /**
     * A connection for a while. To be closed in a try-with-resources
     * statement; any thread may do so. A lease that is garbage before it was
     * closed takes its connection with it, so hold on to it, and not only to
     * what {@link #get} returns.
     */
    public static final class Lease<C> implements AutoCloseable {

        private final ConnectionPool<C> pool;
        private final Loan<C> loan;

        private Lease(ConnectionPool<C> pool, Loan<C> loan) {
            this.pool = pool;
            this.loan = loan;
        }

        /**
         * The connection, always the same.
         *
         * @throws IllegalStateException after the end of the lease
         */
        // tag::lease[]
        public C get() {
            // tag::step1[] the connection of the loan, as long as that is not over
            if (loan.isOver()) {
                throw new IllegalStateException("this lease has ended");
            }
            return loan.connection;
            // end::step1[]
        }

        /** Gives the connection back. Only the first end of a lease counts. */
        @Override
        public void close() {
            // tag::step1[] if this call is the end() of the loan, the pool is to takeBack() it
            if (loan.end()) {
                pool.takeBack(loan);
            }
            // end::step1[]
        }
        // end::lease[]

        /**
         * Ends the lease of a connection that must not be lent again: it is
         * destroyed. The {@link #close} that follows does nothing.
         */
        public void invalidate() {
            pool.invalidate(loan);
        }
    }

    /** Under the lock: whether there may be one place more. */
    private boolean hasRoom() {
        // tag::step2[] there are less than maxTotal // until then: return true;
        return total < options.maxTotal();
        // end::step2[]
    }

    /**
     * Under the lock, when all places are taken: waits in the queue.
     *
     * @throws PoolTimeoutException made by {@link #timedOut}
     */
    // tag::awaitTurn[]
    private Place<C> awaitTurn(Deadline deadline)
            throws PoolTimeoutException, InterruptedException {
        // tag::step2[] join the waiters, and wait until passOn() has given this one a place, or the time is over
        var waiter = new Waiter();
        waiters.add(waiter);
        try {
            long left = deadline.left();
            while (waiter.mustWait() && left > 0) {
                left = waiter.turn.awaitNanos(left);
            }
        } catch (InterruptedException e) {
            if (waiter.place == null) {
                throw e;
            }
            Thread.currentThread().interrupt();   // its turn came first
        } finally {
            waiters.remove(waiter);
        }
        if (waiter.place == null) {
            throw timedOut(deadline);
        }
        return waiter.place;
        // end::step2[]
    }
    // end::awaitTurn[]

    /**
     * Under the lock: hands a place to whoever has waited longest.
     *
     * @return false if nobody waits
     */
    // tag::passOn[]
    private boolean passOn(Place<C> place) {
        // tag::step2[] give it to the first of the waiters, and wake that one // until then: return false;
        var first = waiters.poll();
        if (first == null) {
            return false;
        }
        first.place = place;
        first.turn.signal();
        return true;
        // end::step2[]
    }
    // end::passOn[]

    /**
     * Whether the connection of a place, which is not empty, may be lent.
     *
     * @throws InterruptedException if the check was interrupted
     */
    // tag::isHealthy[]
    private boolean isHealthy(Place<C> place) throws InterruptedException {
        // tag::step3[] ask the factory if it was idle for validateAfter; a check that throws is a no; count each no // until then: return true;
        if (idleTime(place) < nanos(options.validateAfter())) {
            return true;
        }
        boolean healthy;
        try {
            healthy = factory.isHealthy(place.connection);
        } catch (InterruptedException e) {
            throw e;
        } catch (Exception e) {
            healthy = false;
        }
        if (!healthy) {
            counters.unhealthy.increment();
        }
        return healthy;
        // end::step3[]
    }
    // end::isHealthy[]

    /**
     * Called when the connection of a place was no good, and is destroyed:
     * the next idle one may be better.
     *
     * @return a place with a connection, for which the empty one is given up;
     *         or the empty one
     */
    // tag::exchange[]
    private Place<C> exchange(Place<C> empty, Deadline deadline) {
        // tag::step3[] under the lock: if one is idle and there is time left, dropPlace() the empty one, and take that
        lock.lock();
        try {
            if (idle.isEmpty() || deadline.left() <= 0) {
                return empty;
            }
            dropPlace();
            return idle.pop();
        } finally {
            lock.unlock();
        }
        // end::step3[]
    }
    // end::exchange[]

    /** The health of a TCP connection on which nothing is awaited. */
    // tag::isQuiet[]
    private static boolean isQuiet(SocketChannel channel) throws IOException {
        // tag::step3[] read without blocking: only «nothing yet» is healthy; leave the channel as it was // until then: return true;
        channel.configureBlocking(false);
        try {
            return channel.read(ByteBuffer.allocate(1)) == 0;
        } finally {
            channel.configureBlocking(true);
        }
        // end::step3[]
    }
    // end::isQuiet[]

    /** Called by {@link #borrow} when it fails, for the place that it holds. */
    private void giveUp(Place<C> place) {
        // tag::step4[] neither the place nor a connection in it may get lost // until then:
        throwAway(place);
        // end::step4[]
    }

    // tag::invalidate[]
    private void invalidate(Loan<C> loan) {
        // tag::step4[] if this call is the end() of the loan, forget() it, and throw its place away
        if (loan.end()) {
            forget(loan);
            throwAway(loan.place);
        }
        // end::step4[]
    }
    // end::invalidate[]

    /**
     * Called for a connection that came back, before anybody else gets it.
     *
     * @return false if it must not be lent again
     */
    // tag::reset[]
    private boolean reset(Place<C> place) {
        // tag::step4[] let the factory reset() it; if that throws, keepInterrupt() and return false // until then: return true;
        try {
            factory.reset(place.connection);
            return true;
        } catch (Exception e) {
            keepInterrupt(e);
            return false;
        }
        // end::step4[]
    }
    // end::reset[]

    /** Whether the connection of a place, which is not empty, is too old. */
    // tag::isExpired[]
    private boolean isExpired(Place<C> place) {
        // tag::step5[] true if it was made maxLifetime ago or is idle for idleTtl; zero is no limit // until then: return false;
        return isOver(now() - place.madeAt, options.maxLifetime())
                || isOver(idleTime(place), options.idleTtl());
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

    /** Called for each loan when it begins. */
    // tag::track[]
    private void track(Lease<C> lease, Loan<C> loan) {
        // tag::step6[] leakAfter not zero: note the stack, and the loan; and let the CLEANER reclaim() it when the lease is garbage // until then:
        if (!options.leakAfter().isZero()) {
            loan.stack = new Throwable();
            loans.add(loan);
        }
        loan.cleanable = CLEANER.register(lease, () -> reclaim(loan));
        // end::step6[]
    }
    // end::track[]

    /** Called for each loan when it ends. */
    // tag::forget[]
    private void forget(Loan<C> loan) {
        // tag::step6[] neither the loans nor the CLEANER need to know it any more // until then:
        loans.remove(loan);
        loan.cleanable.clean();
        // end::step6[]
    }
    // end::forget[]

    // tag::step6[]
    /** Nobody can close the lease of this loan any more. */
    // tag::reclaim[]
    private void reclaim(Loan<C> loan) {
        if (loan.end()) {
            counters.reclaimed.increment();
            loans.remove(loan);
            throwAway(loan.place);
        }
    }
    // end::reclaim[]
    // end::step6[]

    /**
     * Leases held for {@code leakAfter} or longer, the oldest first; none if
     * {@code leakAfter} is zero.
     */
    // tag::leaks[]
    public List<Leak> leaks() {
        // tag::step6[] the report of each loan that is old enough
        return loans.stream().map(loan -> loan.report(now()))
                .filter(leak ->
                        leak.heldFor().compareTo(options.leakAfter()) >= 0)
                .sorted(Comparator.comparing(Leak::heldFor).reversed())
                .toList();
        // end::step6[]
    }
    // end::leaks[]

    /** Ends the lending, now and for good. May be called again. */
    // tag::shut[]
    private void shut() {
        // tag::step7[] under the lock: closed, no more waiters, nothing idle; then throw away what was idle // until then:
        List<Place<C>> left;
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

    /** Whether all places were free before the time was over. */
    // tag::awaitAllFree[]
    private boolean awaitAllFree(Deadline deadline)
            throws InterruptedException {
        // tag::step7[] wait for the condition allFree until no place is taken, at most until the deadline
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

    /** One thread for all pools, which the JDK keeps and no pool owns. */
    private static final Cleaner CLEANER = Cleaner.create();

    private final Counters counters = new Counters();
    private final AtomicLong ids = new AtomicLong();
    private final Set<Loan<C>> loans = ConcurrentHashMap.newKeySet();
    private final Condition allFree = lock.newCondition();
    private volatile boolean closed;         // written under the lock

    /**
     * Lends nothing more, destroys what is idle, and waits for the leases.
     * Those that have not come back by then stay usable, and are destroyed
     * when they do.
     *
     * @param grace how long to wait; zero does not wait
     * @return true if all came back
     * @throws InterruptedException if the caller is interrupted while it
     *         waits; the pool is closed all the same
     */
    public boolean shutdown(Duration grace) throws InterruptedException {
        var deadline = Deadline.in(requireNotNegative("grace", grace));
        shut();
        return awaitAllFree(deadline);
    }

    /**
     * Lends nothing more, and destroys what is idle. Does not wait: a lease
     * stays usable, and its connection is destroyed when it comes back. Any
     * thread may call it, as often as it likes.
     */
    @Override
    public void close() {
        shut();
    }

    /**
     * Destroys what has been idle or has lived too long. The pool has no
     * thread for it: call it now and then from one of yours.
     *
     * @return how many were destroyed
     */
    // tag::evict[]
    public int evict() {
        List<Place<C>> expired;
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

    /** What the pool has done so far, and holds now. */
    public Stats stats() {
        lock.lock();
        try {
            return counters.stats(total, idle.size(), waiters.size());
        } finally {
            lock.unlock();
        }
    }

    private boolean isFit(Place<C> place) throws InterruptedException {
        return place.isEmpty() || !isExpired(place) && isHealthy(place);
    }

    private Lease<C> lend(Place<C> place) {
        requireOpen();
        if (place.lentBefore) {
            counters.reused.increment();
        }
        place.lentBefore = true;
        var loan = new Loan<>(ids.incrementAndGet(), place, now());
        var lease = new Lease<>(this, loan);
        track(lease, loan);
        return lease;
    }

    // tag::takeBack[]
    private void takeBack(Loan<C> loan) {
        forget(loan);
        var place = loan.place;
        boolean kept = false;
        try {
            place.idleSince = now();
            kept = !isExpired(place) && reset(place) && keep(place);
        } finally {
            if (!kept) {
                throwAway(place);
            }
        }
    }
    // end::takeBack[]

    /** Destroys what a place holds, if anything. Not under the lock. */
    // tag::discard[]
    private void discard(Place<C> place) {
        if (place.isEmpty()) {
            return;
        }
        try {
            factory.destroy(place.connection);
        } catch (Throwable e) {   // an Error, too: the place must not be lost
            keepInterrupt(e);
        } finally {
            place.clear();
            counters.destroyed.increment();
        }
    }
    // end::discard[]

    /** Under the lock. */
    private Place<C> newPlace() {
        total++;
        return new Place<>();
    }

    /** Under the lock, for an empty place. */
    private void dropPlace() {
        total--;
        if (total == 0) {
            allFree.signalAll();
        }
    }

    /** How long it has been idle; for one just handed on, next to nothing. */
    private long idleTime(Place<C> place) {
        return now() - place.idleSince;
    }

    private long now() {
        return options.nanoClock().getAsLong();
    }

    private void requireOpen() {
        if (closed) {
            throw new PoolClosedException();
        }
    }

    /** @throws PoolClosedException if that is the reason */
    private PoolTimeoutException timedOut(Deadline deadline) {
        requireOpen();
        counters.timeouts.increment();
        var now = stats();
        return new PoolTimeoutException(("no connection within %s: %d of %d "
                + "exist, %d are lent, %d callers wait").formatted(
                shown(deadline.timeout()), now.total(), options.maxTotal(),
                now.leased(), now.waiting()));
    }

    /** For an exception that goes no further: its interrupt does. */
    private static void keepInterrupt(Throwable swallowed) {
        if (swallowed instanceof InterruptedException) {
            Thread.currentThread().interrupt();
        }
    }

    /**
     * Room for one connection. Belongs to the thread that has taken it, and
     * while it is idle or waits to be fetched, to who holds the lock.
     */
    private static final class Place<C> {
        private C connection;   // null: the place is empty
        private long madeAt;
        private long idleSince;
        private boolean lentBefore;

        boolean isEmpty() {
            return connection == null;
        }

        void fill(C connection, long now) {
            this.connection = Objects.requireNonNull(connection, "connect()");
            madeAt = now;
            idleSince = now;
            lentBefore = false;
        }

        void clear() {
            connection = null;
        }
    }

    /** One who waits for his turn. All of it under the lock. */
    private final class Waiter {
        private final Condition turn = lock.newCondition();
        private Place<C> place;   // null: not yet his turn

        /** False when a place has come, or the pool is closed. */
        boolean mustWait() {
            return place == null && !closed;
        }
    }

    /** What the pool knows about a lease; it must not know the lease. */
    private static final class Loan<C> {
        private final long id;
        private final Place<C> place;
        private final C connection;
        private final long since;
        private final String thread = Thread.currentThread().getName();
        private final AtomicBoolean over = new AtomicBoolean();
        private Throwable stack;
        private Cleaner.Cleanable cleanable;

        Loan(long id, Place<C> place, long now) {
            this.id = id;
            this.place = place;
            this.connection = place.connection;
            this.since = now;
        }

        /** True for the first call, and for no other. */
        boolean end() {
            return over.compareAndSet(false, true);
        }

        boolean isOver() {
            return over.get();
        }

        /** Needs the stack. */
        Leak report(long now) {
            var callers = Arrays.stream(stack.getStackTrace())
                    .dropWhile(at -> !at.getMethodName().equals("borrow"))
                    .skip(1).toList();
            return new Leak(id, Duration.ofNanos(now - since), callers,
                    thread);
        }
    }

    /** The end of a wait, in real time. */
    private record Deadline(Duration timeout, long end) {

        static Deadline in(Duration timeout) {
            return new Deadline(timeout, System.nanoTime() + nanos(timeout));
        }

        /** Nanoseconds; zero or less when the time is over. */
        long left() {
            return end - System.nanoTime();
        }
    }

    /**
     * Makes and ends connections. Any thread that uses the pool may call it,
     * many at once; never two for the same connection. A method that waits
     * for a peer should have a limit of its own: the pool cuts nobody short.
     */
    public interface Factory<C> {
        /** A new connection. Whatever it throws is for the borrower. */
        C connect() throws Exception;

        /** Whether an idle one is still good; an exception means no. */
        default boolean isHealthy(C connection) throws Exception {
            return true;
        }

        /** Makes one that came back fit for the next; if it throws, it is
         *  destroyed. */
        default void reset(C connection) throws Exception {}

        /** Ends a connection. What it throws is ignored. */
        void destroy(C connection) throws Exception;
    }

    /**
     * TCP connections to one peer, without Nagle's delay. Healthy is one on
     * which nothing has arrived: neither the end nor a byte that nobody asked
     * for. A peer that has vanished without a word looks healthy, too.
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
     * The limits of a pool. A time that has come to its limit is over.
     *
     * @param maxTotal      most connections at any instant, at least 1; those
     *                      being made, checked or destroyed count
     * @param maxIdle       most that are kept while nobody wants them, 0 to
     *                      maxTotal
     * @param idleTtl       how long one may be idle; zero is no limit
     * @param maxLifetime   how long one may live; zero is no limit. One that
     *                      is lent may finish
     * @param validateAfter after so much idle time it is checked before it is
     *                      lent; zero means always
     * @param leakAfter     a lease this old is reported; zero: none is
     * @param nanoClock     what ages are measured with, in nanoseconds; waits
     *                      take real time
     */
    public record Options(int maxTotal, int maxIdle, Duration idleTtl,
            Duration maxLifetime, Duration validateAfter, Duration leakAfter,
            LongSupplier nanoClock) {

        public Options {
            requireRange("maxTotal", maxTotal, 1, Integer.MAX_VALUE);
            requireRange("maxIdle", maxIdle, 0, maxTotal);
            requireNotNegative("idleTtl", idleTtl);
            requireNotNegative("maxLifetime", maxLifetime);
            requireNotNegative("validateAfter", validateAfter);
            requireNotNegative("leakAfter", leakAfter);
            Objects.requireNonNull(nanoClock, "nanoClock");
        }

        /** 8 connections, idle for 1 min at most, 30 min old at most, checked
         *  after half a second; no report, for a stack costs a microsecond. */
        public static Options defaults() {
            return new Options(8, 8, Duration.ofMinutes(1),
                    Duration.ofMinutes(30), Duration.ofMillis(500),
                    Duration.ZERO, System::nanoTime);
        }

        /** The same with another bound; all of them may be idle. */
        public Options withMaxTotal(int maxTotal) {
            return new Options(maxTotal, maxTotal, idleTtl, maxLifetime,
                    validateAfter, leakAfter, nanoClock);
        }

        /** The same with another number of idle ones. */
        public Options withMaxIdle(int maxIdle) {
            return new Options(maxTotal, maxIdle, idleTtl, maxLifetime,
                    validateAfter, leakAfter, nanoClock);
        }

        /** The same with another limit for being idle. */
        public Options withIdleTtl(Duration idleTtl) {
            return new Options(maxTotal, maxIdle, idleTtl, maxLifetime,
                    validateAfter, leakAfter, nanoClock);
        }

        /** The same with another limit for a life. */
        public Options withMaxLifetime(Duration maxLifetime) {
            return new Options(maxTotal, maxIdle, idleTtl, maxLifetime,
                    validateAfter, leakAfter, nanoClock);
        }

        /** The same with another time after which one is checked. */
        public Options withValidateAfter(Duration validateAfter) {
            return new Options(maxTotal, maxIdle, idleTtl, maxLifetime,
                    validateAfter, leakAfter, nanoClock);
        }

        /** The same with another time after which a lease is reported. */
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
     * Exact while nobody borrows or returns. {@code int}: now; {@code long}:
     * since the beginning.
     *
     * @param total           places taken: {@code idle + leased}
     * @param idle            connections that nobody uses
     * @param leased          lent, or about to be: being made or checked; also
     *                        those being destroyed
     * @param waiting         callers of borrow() that wait for their turn
     * @param created         connections made
     * @param destroyed       connections destroyed
     * @param reused          leases of a connection that was lent before
     * @param unhealthy       connections that failed their check
     * @param timeouts        calls of borrow() that ran out of time
     * @param connectFailures calls of connect() that failed
     * @param reclaimed       leases that were garbage before they were closed
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
     * A lease that has been held for long.
     *
     * @param borrowedAt the stack, from the line that called borrow() on
     * @param thread     the name of the thread that did
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

    /** The wait for a connection took too long. */
    public static final class PoolTimeoutException extends TimeoutException {
        private static final long serialVersionUID = 1;

        private PoolTimeoutException(String message) {
            super(message);
        }
    }

    /** The pool lends nothing any more. */
    public static final class PoolClosedException
            extends IllegalStateException {
        private static final long serialVersionUID = 1;

        private PoolClosedException() {
            super("the pool is closed");
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

    private static Duration requireNotNegative(String name, Duration value) {
        if (Objects.requireNonNull(value, name).isNegative()) {
            throw new IllegalArgumentException(
                    name + " must not be negative, not " + value);
        }
        return value;
    }

    /** Three centuries at most, for want of bits. */
    private static long nanos(Duration time) {
        var most = Duration.ofNanos(Long.MAX_VALUE);
        return time.compareTo(most) < 0 ? time.toNanos() : Long.MAX_VALUE;
    }

    /** Rounded up, so that only zero becomes 0; 24 days at most. */
    private static int millis(Duration time) {
        return (int) Math.min(Math.ceilDiv(nanos(time), 1_000_000L),
                Integer.MAX_VALUE);
    }

    private static String shown(Duration time) {
        return time.toMillis() < 1000 ? time.toMillis() + " ms"
                : time.toSeconds() + " s";
    }

    // The demo: a scene for each step, in their order.

    private static final List<String> STEPS = List.of("Borrow and return",
            "Bound and wait in turn", "Check before lending",
            "Free the slot on failure", "Expire by age", "Find leaks",
            "Close the pool");
    private static final Duration SECOND = Duration.ofSeconds(1);
    private static final Duration AT_ONCE = Duration.ZERO;

    /** No argument: the demo; {@code help} lists what else there is. */
    public static void main(String[] args) throws Exception {
        try {
            switch (String.join(" ", args)) {
                case "" -> demo();
                case String peer when peer.matches(
                        "--peer \\S+:\\d{1,5}( \\d{1,4})?") ->
                    visit(args[1], args.length < 3 ? 3 : Integer.parseInt(
                            args[2]));
                default -> usage("""
                        lab-404                         the demo
                        lab-404 --peer HOST:PORT [SECONDS]
                            asks a server that answers line by line, twice,
                            with a pause of 3 or so many seconds between
                        lab-404 help                    this text""", args);
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
        IO.println("lab 404  Connection pool");
        try (var server = new LineServer()) {
            var options = Options.defaults().withMaxTotal(4)
                    .withValidateAfter(Duration.ZERO);
            var pool = new ConnectionPool<>(tcp(server.address(), SECOND),
                    options);
            var first = pool.borrow(SECOND);
            first.close();
            IO.println();
            try (var _ = pool.borrow(SECOND)) {
                show(1, "borrow, return, borrow", "created "
                        + pool.stats().created() + ", reused "
                        + pool.stats().reused(), pool.stats().reused() == 1);
            }
            var longest = Duration.ofNanos(ask(pool, 40, 50).longest());
            var stats = pool.stats();
            show(2, "40 workers, 4 places", "created " + stats.created()
                    + ", reused " + stats.reused() + ", longest wait "
                    + shown(longest), stats.created() <= 4);
            server.hangUp(2);
            int failed = ask(pool, 40, 10).failed();
            show(3, "the server closes 2 of 4", "unhealthy "
                    + pool.stats().unhealthy() + ", requests failed "
                    + failed, failed == 0 && pool.stats().unhealthy() == 2);
        }
        threeFailures();
        var clock = new AtomicLong();
        var pool = new ConnectionPool<>(scripted(0), Options.defaults()
                .withNanoClock(clock::get).withMaxTotal(4)
                .withLeakAfter(Duration.ofMinutes(1)));
        var leases = new ArrayList<Lease<String>>();
        for (int i = 0; i < 4; i++) {
            leases.add(pool.borrow(AT_ONCE));
        }
        leases.forEach(Lease::close);
        clock.addAndGet(61_000_000_000L);
        int evicted = pool.evict();
        show(5, "4 are idle for 61 s", "evicted " + evicted, evicted == 4);
        forget(pool, clock);
        end(pool);
        IO.println("\nall seven steps at work");
    }

    private static void threeFailures() throws Exception {
        var pool = new ConnectionPool<>(scripted(3),
                Options.defaults().withMaxTotal(2));
        var told = new ArrayList<String>();
        for (int i = 0; i < 4; i++) {
            try {
                told.add(pool.borrow(AT_ONCE).get());
            } catch (ExecutionException e) {
                told.add("failed");
            } catch (PoolTimeoutException e) {
                told.add("no place left");
            }
        }
        show(4, "3 connects fail, 2 places", String.join(", ", told),
                told.getLast().equals("line 1"));
    }

    private static void forget(ConnectionPool<String> pool, AtomicLong clock)
            throws Exception {
        pool.borrow(AT_ONCE);   // and nobody holds the lease
        clock.addAndGet(61_000_000_000L);
        pool.leaks().forEach(leak -> show(6, "a lease is forgotten",
                "held for " + shown(leak.heldFor()) + ", borrowed in line "
                + leak.borrowedAt().getFirst().getLineNumber(), true));
        for (int i = 0; i < 100 && pool.stats().reclaimed() == 0; i++) {
            System.gc();
            Thread.sleep(10);
        }
        long reclaimed = pool.stats().reclaimed();
        show(6, "after a garbage collection", "reclaimed " + reclaimed,
                reclaimed == 1);
    }

    private static void end(ConnectionPool<String> pool) throws Exception {
        var lease = pool.borrow(AT_ONCE);
        Thread.startVirtualThread(() -> {
            while (!pool.closed) {
                Thread.onSpinWait();
            }
            lease.close();
        });
        boolean all = pool.shutdown(SECOND);
        var stats = pool.stats();
        show(7, "shutdown, 1 lent", (all ? "it came back" : "it did not "
                + "come back") + ", created " + stats.created()
                + ", destroyed " + stats.destroyed(),
                all && stats.created() == stats.destroyed());
    }

    /** A factory of texts, which fails so many times first. */
    private static Factory<String> scripted(int failures) {
        var calls = new AtomicInteger();
        return new Factory<>() {
            @Override
            public String connect() throws IOException {
                int call = calls.incrementAndGet();
                if (call <= failures) {
                    throw new ConnectException("Connection refused");
                }
                return "line " + (call - failures);
            }

            @Override
            public void destroy(String line) {}
        };
    }

    private record Asked(long longest, int failed) {}

    /** So many workers ask so many times each. */
    private static Asked ask(ConnectionPool<SocketChannel> pool, int workers,
            int times) throws Exception {
        var longest = new LongAccumulator(Math::max, 0);
        var failed = new AtomicInteger();
        Callable<Void> worker = () -> {
            for (int i = 0; i < times; i++) {
                long start = System.nanoTime();
                try (var lease = pool.borrow(Duration.ofSeconds(10))) {
                    longest.accumulate(System.nanoTime() - start);
                    ask(lease.get(), "PING");
                } catch (IOException | ExecutionException
                         | PoolTimeoutException e) {
                    failed.incrementAndGet();
                }
            }
            return null;
        };
        try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
            for (var end : threads.invokeAll(Collections.nCopies(
                    workers, worker))) {
                end.get();
            }
        } catch (ExecutionException e) {
            throw e.getCause() instanceof UnsupportedOperationException todo
                    ? todo : e;
        }
        return new Asked(longest.get(), failed.get());
    }

    private static String ask(SocketChannel channel, String question)
            throws IOException {
        channel.write(ByteBuffer.wrap((question + "\r\n").getBytes()));
        var answer = new StringBuilder();
        var in = channel.socket().getInputStream();
        for (int next = in.read(); next != '\n'; next = in.read()) {
            if (next == -1) {
                throw new EOFException("no answer to " + question);
            }
            answer.append((char) next);
        }
        return answer.toString().strip();
    }

    private static void visit(String where, int pause) throws Exception {
        int colon = where.lastIndexOf(':');
        var peer = new InetSocketAddress(where.substring(0, colon),
                Integer.parseInt(where.substring(colon + 1)));
        try (var pool = new ConnectionPool<>(tcp(peer, SECOND),
                Options.defaults().withMaxTotal(4))) {
            try (var lease = pool.borrow(SECOND)) {
                IO.println("PING is answered " + ask(lease.get(), "PING"));
            }
            for (int round = 1; round <= 2; round++) {
                int failed = ask(pool, 40, 50).failed();
                var stats = pool.stats();
                IO.println(("2000 requests, failed %d; created %d, reused %d,"
                        + " unhealthy %d").formatted(failed, stats.created(),
                        stats.reused(), stats.unhealthy()));
                if (round == 1) {
                    IO.println("a pause of " + pause + " s");
                    Thread.sleep(Duration.ofSeconds(pause));
                }
            }
        } catch (ExecutionException e) {
            IO.println("cannot connect to " + where + ": "
                    + e.getCause().getMessage());
            System.exit(1);
        }
    }

    /** Answers each line with OK, and can hang up. */
    private static final class LineServer implements AutoCloseable {

        private final ServerSocket listener = new ServerSocket(0, 50,
                InetAddress.getLoopbackAddress());
        private final Queue<Socket> clients = new ConcurrentLinkedQueue<>();

        LineServer() throws IOException {
            Thread.startVirtualThread(() -> {
                try {
                    while (true) {
                        var client = listener.accept();
                        clients.add(client);
                        Thread.startVirtualThread(() -> serve(client));
                    }
                } catch (IOException e) {
                    // closed
                }
            });
        }

        InetSocketAddress address() {
            return (InetSocketAddress) listener.getLocalSocketAddress();
        }

        private void serve(Socket client) {
            try (client) {
                var in = new BufferedInputStream(client.getInputStream());
                for (int next = in.read(); next != -1; next = in.read()) {
                    if (next == '\n') {
                        client.getOutputStream().write("OK\n".getBytes());
                    }
                }
            } catch (IOException e) {
                // hung up
            }
        }

        void hangUp(int count) throws IOException {
            for (int i = 0; i < count; i++) {
                clients.remove().close();
            }
        }

        @Override
        public void close() throws IOException {
            listener.close();
            hangUp(clients.size());
        }
    }

    private static void show(int step, String what, String seen,
            boolean good) {
        IO.println("  %d  %-27s %s%s".formatted(step, what, seen,
                good ? "" : "   <- step " + step));
        if (!good) {
            next(step, "search ConnectionPool.java for TODO step " + step);
        }
    }

    private static void next(UnsupportedOperationException todo) {
        var text = String.valueOf(todo.getMessage());
        if (!text.matches("TODO step [1-7]: .*")) {
            throw todo;
        }
        var place = todo.getStackTrace()[0];
        next(text.charAt("TODO step ".length()) - '0',
                "%s\n  %s, line %d".formatted(text, place.getFileName(),
                        place.getLineNumber()));
    }

    private static void next(int step, String where) {
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
