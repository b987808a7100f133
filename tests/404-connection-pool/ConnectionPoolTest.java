///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//SOURCES ../../labs/404-connection-pool/ConnectionPool.java
//SOURCES ../kit/*.java

import static kit.TestLifecycle.closeLater;

import java.io.IOException;
import java.lang.ref.Reference;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import kit.Await;
import kit.Check;
import kit.FakeClock;
import kit.History;
import kit.Lab;
import kit.Patience;
import kit.PendingCall;
import kit.Step;
import org.junit.jupiter.api.Test;

/**
 * Lab 404, step by step. Most connections here are numbered lines of a factory that notes what is done to them, and
 * stops where a test wants it to; those of step 3 are real as well. A comment {@code rejects:} names the wrong pools
 * that a test is there for.
 */
@Lab
class ConnectionPoolTest {

    private static final Duration AT_ONCE = Duration.ZERO;
    private static final Duration LONG = Duration.ofMinutes(1);   // nothing waits that long but a mistake
    private static final Duration TEN_SECONDS = Duration.ofSeconds(10);
    private static final Duration NANOSECOND = Duration.ofNanos(1);

    private final FakeClock clock = new FakeClock();
    private final Lines lines = new Lines();
    /** All leases, and the calls that get some: one to which nobody refers is reclaimed, whenever the collector likes. */
    private final List<Object> held = Collections.synchronizedList(new ArrayList<>());

    @Step(value = 1, title = "Borrow and return")
    class Borrow_and_return {

        @Test
        void a_connection_is_made_when_it_is_wanted() throws Exception {
            var pool = pool(plain());
            Check.equal(0, lines.made.size(), "connections made by a new pool", "make one when borrow() needs it");
            var lease = borrow(pool);
            checkIs(1, lease.get(), "what get() returns", "the connection that connect() has made");
            Check.equal(1, lines.made.size(), "connections made", "one borrow() needs one");
            lease.close();
        }

        @Test
        void what_came_back_is_lent_again() throws Exception {
            var pool = pool(plain());
            for (int i = 0; i < 3; i++) {
                var lease = borrow(pool);
                checkIs(1, lease.get(), "what get() returns", "an idle one is lent before one is made");
                close(lease);
            }
            Check.equal(1, lines.made.size(), "connections made", "an idle one is lent before a new one is made");
        }

        @Test
        void what_is_lent_belongs_to_nobody_else() throws Exception {
            var pool = pool(plain());
            close(borrow(pool));
            var first = borrow(pool);
            var second = borrow(pool);
            Check.that(first.get() != second.get(), "two connections for two leases, got " + first.get() + " twice",
                    "a connection that is lent is not idle: take it out");
            close(first);
            close(second);
        }

        @Test
        void the_last_one_back_is_the_first_one_out() throws Exception {   // rejects: a queue of idle ones
            var pool = pool(plain());
            var a = borrow(pool);
            var b = borrow(pool);
            var c = borrow(pool);
            var back = List.of(a.get(), b.get(), c.get());
            List.of(a, b, c).forEach(ConnectionPoolTest::close);
            var out = new ArrayList<Line>();
            for (int i = 0; i < 3; i++) {
                out.add(borrow(pool).get());
            }
            Check.equal(back.reversed(), out, "what three more borrow() get",
                    "a stack, not a queue: so that those that nobody needs grow old");
        }

        @Test
        void a_lease_that_is_closed_twice_comes_back_once() throws Exception {   // rejects: one connection, two leases
            var pool = pool(plain());
            var lease = borrow(pool);
            close(lease);
            close(lease);
            var first = borrow(pool);
            var second = borrow(pool);
            Check.that(first.get() != second.get(), "two connections for two leases, got " + first.get() + " twice",
                    "the second close() has given it back a second time: only one call ends a loan");
        }

        @Test
        void a_late_close_does_not_end_the_next_lease() throws Exception {
            // rejects: a close() that looks whether the connection is lent, instead of whether this lease has ended
            var pool = pool(plain());
            var old = borrow(pool);
            close(old);
            var lease = borrow(pool);
            close(old);
            checkIs(1, lease.get(), "get() of the lease that is still open", "");
            Check.that(borrow(pool).get() != lease.get(), "a connection of its own for the third lease, got "
                    + lease.get() + " again", "the first lease had ended: its close() must not end another's");
        }

        @Test
        void get_after_close_is_an_IllegalStateException() throws Exception {
            var lease = borrow(pool(plain()));
            close(lease);
            Check.fails(IllegalStateException.class, lease::get, "get() after close()",
                    "the connection may be somebody else's by now: ask whether the loan is over");
        }

        @Test
        void any_thread_may_close_a_lease() throws Exception {   // rejects: a ReentrantLock held while it is lent
            var pool = pool(plain());
            var lease = borrow(pool);
            finish(asked(() -> {
                close(lease);
                return null;
            }), "close() on another thread", "a lease does not belong to the thread that has borrowed it");
            checkIs(1, borrow(pool).get(), "what is lent next", "it came back, whoever has closed it");
        }

        @Test
        void no_more_than_maxIdle_are_kept() throws Exception {
            var pool = pool(plain().withMaxIdle(2));
            var leases = List.of(borrow(pool), borrow(pool), borrow(pool));
            leases.forEach(ConnectionPoolTest::close);
            Check.equal(1, lines.destroyed.size(), "connections destroyed after three came back, with a maxIdle of 2",
                    "destroy() what is one too many");
            Check.equal(2, pool.stats().idle(), "stats().idle()", "the other two stay");
            for (int i = 0; i < 3; i++) {
                borrow(pool);
            }
            Check.equal(4, lines.made.size(), "connections made when three are borrowed again", "two were idle");
        }

        @Test
        void with_a_maxIdle_of_zero_none_is_kept() throws Exception {
            var pool = pool(plain().withMaxIdle(0));
            close(borrow(pool));
            close(borrow(pool));
            Check.equal("[#1, #2]", lines.destroyed.toString(), "connections destroyed",
                    "each is one too many");
        }

        @Test
        void stats_tell_what_is_lent_and_what_is_idle() throws Exception {
            var pool = pool(plain().withMaxIdle(1));
            checkStats(pool, 0, 0, 0, "nothing has happened");
            var first = borrow(pool);
            var second = borrow(pool);
            checkStats(pool, 2, 0, 2, "two are lent");
            close(first);
            checkStats(pool, 2, 1, 1, "one came back");
            close(second);
            checkStats(pool, 1, 1, 0, "of two that came back one was kept");
            close(borrow(pool));
            var stats = pool.stats();
            Check.equal("created 2, destroyed 1, reused 1", "created %d, destroyed %d, reused %d".formatted(
                    stats.created(), stats.destroyed(), stats.reused()), "the counters", "count what you create");
        }

        @Test
        void a_connect_that_fails_is_an_ExecutionException() throws Exception {
            var pool = pool(plain());
            var cause = new ConnectException("Connection refused");
            lines.connecting = _ -> {
                throw cause;
            };
            var thrown = Check.fails(ExecutionException.class, () -> pool.borrow(AT_ONCE), "borrow()",
                    "what connect() throws is the cause of an ExecutionException");
            Check.equal(cause, thrown.getCause(), "its cause", "what connect() has thrown");
            Check.equal(1L, pool.stats().connectFailures(), "stats().connectFailures()", "count it");
            lines.connecting = _ -> {
                throw new IllegalArgumentException("no such host");
            };
            Check.fails(ExecutionException.class, () -> pool.borrow(AT_ONCE), "borrow()", "unchecked ones, too");
        }

        @Test
        void an_interrupt_while_connecting_stays_an_interrupt() {   // rejects: one catch for all
            var pool = pool(plain());
            lines.connecting = _ -> {
                throw new InterruptedException();
            };
            Check.fails(InterruptedException.class, () -> pool.borrow(AT_ONCE), "borrow()",
                    "borrow() may throw it: let it pass, or nobody learns of the interrupt");
        }

        @Test
        void a_wrong_factory_option_or_timeout_is_named() throws Exception {
            named(NullPointerException.class, "factory", () -> new ConnectionPool<Line>(null, plain()));
            named(NullPointerException.class, "options", () -> new ConnectionPool<>(lines, null));
            named(IllegalArgumentException.class, "maxTotal", () -> plain().withMaxTotal(0));
            named(IllegalArgumentException.class, "maxIdle", () -> plain().withMaxTotal(3).withMaxIdle(4));
            named(IllegalArgumentException.class, "idleTtl", () -> plain().withIdleTtl(NANOSECOND.negated()));
            named(NullPointerException.class, "nanoClock", () -> plain().withNanoClock(null));
            var pool = pool(plain());
            named(NullPointerException.class, "timeout", () -> pool.borrow(null));
            named(IllegalArgumentException.class, "timeout", () -> pool.borrow(NANOSECOND.negated()));
            close(borrow(pool));   // and a right one is not
        }

        private void checkStats(ConnectionPool<Line> pool, int total, int idle, int leased, String when) {
            var stats = pool.stats();
            Check.equal("total %d, idle %d, leased %d".formatted(total, idle, leased), "total %d, idle %d, leased %d"
                    .formatted(stats.total(), stats.idle(), stats.leased()), "stats() when " + when,
                    "newPlace() and dropPlace() count the places");
        }
    }

    @Step(value = 2, title = "Bound and wait in turn")
    class Bound_and_wait_in_turn {

        @Test
        void never_more_than_maxTotal_exist_however_many_borrow() throws Exception {
            // rejects: a bound for idle ones only; a look at the count and a change of it under two locks
            var pool = pool(plain().withMaxTotal(5));
            lines.connecting = _ -> Thread.yield();
            crowd(64, () -> {
                for (int i = 0; i < 50; i++) {
                    try (var lease = pool.borrow(Patience.duration())) {
                        lease.get().use();
                    }
                }
            });
            Check.that(lines.most() <= 5, "at most 5 connections at once, for 64 threads with a maxTotal of 5, got "
                    + lines.most(), "maxTotal is for all that exist, lent or idle, and not only for the idle ones");
            var stats = pool.stats();
            Check.equal("leased 0, waiting 0", "leased %d, waiting %d".formatted(stats.leased(), stats.waiting()),
                    "stats() when all have ended", "every place comes back");
        }

        @Test
        void when_all_are_lent_the_next_one_waits_for_a_return() throws Exception {
            var pool = pool(plain().withMaxTotal(1));
            var lease = borrow(pool);
            var waiting = waiter(pool, 1);
            close(lease);
            checkIs(1, got(waiting).get(), "what the waiter gets", "the connection that came back");
            Check.equal(1, lines.made.size(), "connections made", "");
        }

        @Test
        void five_waiters_are_served_in_their_order() throws Exception {   // rejects: notify(), an unfair Semaphore
            var pool = pool(plain().withMaxTotal(1));
            var order = Collections.synchronizedList(new ArrayList<Integer>());
            var lease = borrow(pool);
            var waiting = new ArrayList<PendingCall<ConnectionPool.Lease<Line>>>();
            for (int i = 1; i <= 5; i++) {
                int number = i;
                waiting.add(asked(() -> {
                    var mine = pool.borrow(LONG);
                    order.add(number);
                    return mine;
                }));
                awaitQueue(pool, i, waiting.getLast());
                History.note("waiter " + i + " waits");
            }
            for (int i = 1; i <= 5; i++) {
                close(lease);
                int number = i;
                Await.until(() -> order.size() >= number, "that a waiter is served", "a return wakes one who waits");
                Check.equal(number, order.getLast(), "the number of the waiter who got it",
                        "a queue: whoever has waited longest is the next");
                lease = got(waiting.get(i - 1));
            }
        }

        @Test
        void a_newcomer_does_not_pass_a_waiter() throws Exception {
            // rejects: a return that only wakes a waiter, who then finds that somebody was faster
            var pool = pool(plain().withMaxTotal(1));
            var lease = borrow(pool);
            for (int i = 0; i < 100; i++) {
                var waiting = waiter(pool, 1);
                lease.close();
                var newcomer = tried(pool);
                Check.that(newcomer.isEmpty(), "the connection to go to the one who waits, a newcomer got it",
                        "hand it over to the waiter: put back where all can see it, it is gone when he wakes");
                lease = got(waiting);
            }
        }

        @Test
        void the_wait_ends_when_the_time_is_over_and_not_before() throws Exception {
            // rejects: a wait that is measured with nanoClock, which stands still here
            var pool = pool(plain().withMaxTotal(1));
            var lease = borrow(pool);
            long start = System.nanoTime();
            var waiting = asked(() -> pool.borrow(Duration.ofMillis(20)));
            var thrown = thrownBy(waiting, ConnectionPool.PoolTimeoutException.class,
                    "borrow(20 ms) when all are lent", "waiting takes real time: ask the deadline what is left");
            long millis = (System.nanoTime() - start) / 1_000_000;
            Check.that(millis >= 20, "borrow(20 ms) to wait for 20 ms, got " + millis + " ms", "wait until it is over");
            Check.that(thrown.getMessage().contains("20 ms"), "a message that tells the time, got "
                    + thrown.getMessage(), "timedOut() makes it");
            Check.equal("waiting 0, timeouts 1", "waiting %d, timeouts %d".formatted(pool.stats().waiting(),
                    pool.stats().timeouts()), "stats()", "whoever goes leaves the queue");
            close(lease);
            close(borrow(pool));   // the pool is as good as before
        }

        @Test
        void zero_does_not_wait() throws Exception {
            var pool = pool(plain().withMaxTotal(2));
            var lease = borrow(pool);
            borrow(pool);
            var trying = asked(() -> pool.borrow(AT_ONCE));
            thrownBy(trying, ConnectionPool.PoolTimeoutException.class, "borrow(0) when all are lent",
                    "no time is left at the beginning: do not wait at all");
            close(lease);
            checkIs(1, borrow(pool).get(), "what borrow(0) gets when one is idle", "take what is there");
        }

        @Test
        void a_time_may_be_a_nanosecond_or_centuries() throws Exception {   // rejects: milliseconds, and an overflow
            var pool = pool(plain().withMaxTotal(1));
            var lease = borrow(pool);
            var brief = asked(() -> pool.borrow(NANOSECOND));
            thrownBy(brief, ConnectionPool.PoolTimeoutException.class, "borrow(1 ns)",
                    "less than a millisecond is not for ever");
            for (var time : List.of(Duration.ofDays(365 * 200), Duration.ofSeconds(Long.MAX_VALUE))) {
                var waiting = asked(() -> pool.borrow(time));
                awaitQueue(pool, 1, waiting);
                close(lease);
                lease = got(waiting);
            }
        }

        @Test
        void whoever_gave_up_gets_nothing() throws Exception {   // rejects: a waiter that stays in the queue
            var pool = pool(plain().withMaxTotal(1));
            var lease = borrow(pool);
            var impatient = asked(() -> pool.borrow(Duration.ofMillis(30)));
            awaitQueue(pool, 1, impatient);
            var patient = asked(() -> pool.borrow(LONG));
            thrownBy(impatient, ConnectionPool.PoolTimeoutException.class, "borrow(30 ms)", "");
            awaitQueue(pool, 1, patient);   // and no longer two
            close(lease);
            checkIs(1, got(patient).get(), "what the second waiter gets",
                    "the first has given up: leave the queue in finally");
        }

        @Test
        void an_interrupt_ends_the_wait() throws Exception {
            var pool = pool(plain().withMaxTotal(1));
            var lease = borrow(pool);
            var waiting = waiter(pool, 1);
            waiting.thread().interrupt();
            thrownBy(waiting, InterruptedException.class, "an interrupted borrow()",
                    "let the InterruptedException pass");
            Check.equal(0, pool.stats().waiting(), "stats().waiting()", "whoever goes leaves the queue: finally");
            close(lease);
            Check.that(tried(pool).isPresent(), "the connection that came back to be lent, got none",
                    "it was given to the waiter who was interrupted: leave the queue in finally");
        }

        @Test
        void nothing_is_lost_when_an_interrupt_meets_a_return() throws Exception {
            // rejects: an interrupted waiter that does not look whether it was handed a place
            var pool = pool(plain().withMaxTotal(1));
            try (var _ = new Onlookers(pool)) {
                for (int i = 0; i < 60; i++) {
                    var lease = tried(pool);
                    Check.that(lease.isPresent(), "the connection to be lent once more after " + i + " interrupts, it "
                            + "is gone", "a waiter was interrupted just when it was handed the place: it must keep "
                            + "it, or pass it on");
                    var knows = new AtomicBoolean(true);
                    var waiting = asked(() -> {
                        var lent = pool.borrow(LONG);
                        knows.set(Thread.currentThread().isInterrupted());
                        return lent;
                    });
                    awaitQueue(pool, 1, waiting);
                    waiting.thread().interrupt();
                    awaitNoticed(waiting);
                    lease.get().close();
                    try {
                        finish(waiting, "borrow() after an interrupt and a return", "").close();
                        Check.that(knows.get(), "a thread that was interrupted, and got a place all the same, to be "
                                + "marked as interrupted still", "its interrupt is for whoever waits next: set it again");
                    } catch (InterruptedException e) {
                        // that is one of two good ends
                    }
                }
            }
        }

        @Test
        void nothing_is_lost_when_a_timeout_meets_a_return() throws Exception {
            // rejects: a look at the clock before the look at what was handed over
            var pool = pool(plain().withMaxTotal(1));
            for (int i = 0; i < 100; i++) {
                var lease = tried(pool);
                Check.that(lease.isPresent(), "the connection to be lent once more after " + i + " timeouts, it is "
                        + "gone", "a waiter's time was over just when it was handed the place: look for the place "
                        + "first, then at the time");
                long start = System.nanoTime();
                var waiting = asked(() -> pool.borrow(Duration.ofNanos(200_000)));
                long meet = start + 200_000 + i * 3_000;   // a few microseconds later each time
                while (System.nanoTime() - meet < 0) {
                    Thread.onSpinWait();
                }
                lease.get().close();
                try {
                    finish(waiting, "borrow(0.2 ms)", "").close();
                } catch (ConnectionPool.PoolTimeoutException e) {
                    // that is one of two good ends
                }
            }
        }

        @Test
        void who_waits_gets_even_what_would_not_be_kept() throws Exception {   // rejects: maxIdle asked first
            var pool = pool(plain().withMaxTotal(1).withMaxIdle(0));
            var lease = borrow(pool);
            var waiting = waiter(pool, 1);
            close(lease);
            checkIs(1, got(waiting).get(), "what the waiter gets, with a maxIdle of 0",
                    "it is not idle, somebody wants it: ask the waiters before maxIdle");
        }

        @Test
        void a_place_is_free_when_destroy_has_returned() throws Exception {
            // rejects: a place that is freed first, so that for a while one more exists; destroy() under the lock
            var pool = pool(plain().withMaxTotal(1).withMaxIdle(0));
            var gate = new Gate();
            lines.destroying = _ -> gate.pass();
            var lease = borrow(pool);
            var closing = asked(() -> {
                close(lease);
                return null;
            });
            gate.awaitEntered(closing, "that destroy() is called for what is one too many");
            var trying = asked(() -> pool.borrow(AT_ONCE));
            thrownBy(trying, ConnectionPool.PoolTimeoutException.class, "borrow(0) while destroy() is at work",
                    "destroy() without the lock, it may take its time; but free the place only after it");
            var waiting = waiter(pool, 1);
            gate.close();
            checkIs(2, got(waiting).get(), "what a waiter gets when destroy() has returned",
                    "hand him the empty place: he makes a connection of his own");
            finish(closing, "close()", "");
        }
    }

    @Step(value = 3, title = "Check before lending")
    class Check_before_lending {

        @Test
        void an_idle_connection_is_checked_before_it_is_lent() throws Exception {
            var pool = pool(checked());
            close(borrow(pool));
            Check.equal("[]", lines.checked.toString(), "connections checked so far", "a new one needs no check");
            borrow(pool);
            Check.equal("[#1]", lines.checked.toString(), "connections checked", "ask isHealthy() of the factory");
        }

        @Test
        void an_unhealthy_one_is_destroyed_and_the_next_idle_one_lent() throws Exception {
            var pool = pool(checked());
            var leases = List.of(borrow(pool), borrow(pool), borrow(pool));
            leases.forEach(ConnectionPoolTest::close);
            lines.healthy = line -> line.number != 3;
            checkIs(2, borrowInTime(pool).get(), "what is lent when #3 is unhealthy",
                    "look at the next idle one before you make a new one");
            Check.equal("[#3]", lines.destroyed.toString(), "connections destroyed", "destroy the unhealthy one");
            Check.equal("total 2, unhealthy 1", "total %d, unhealthy %d".formatted(pool.stats().total(),
                    pool.stats().unhealthy()), "stats()", "the place of an unhealthy one is free");
        }

        @Test
        void when_all_idle_ones_are_unhealthy_one_is_made() throws Exception {
            var pool = pool(checked().withMaxTotal(3));
            var leases = List.of(borrow(pool), borrow(pool), borrow(pool));
            leases.forEach(ConnectionPoolTest::close);
            lines.healthy = line -> line.number > 3;
            checkIs(4, borrowInTime(pool).get(), "what is lent when #1, #2 and #3 are unhealthy", "");
            Check.equal(3L, pool.stats().unhealthy(), "stats().unhealthy()", "count each");
            borrow(pool);
            borrow(pool);
            Check.that(tried(pool).isEmpty(), "three connections and no more, with a maxTotal of 3, got a fourth",
                    "a place was given up twice");
        }

        @Test
        void a_check_that_throws_is_a_no() throws Exception {
            var pool = pool(checked());
            for (var failure : List.of(new IOException("no answer"), new IllegalStateException("out of step"))) {
                close(borrow(pool));
                lines.healthy = line -> {
                    throw failure;
                };
                int made = lines.made.size();
                checkIs(made + 1, borrowInTime(pool).get(),
                        "what is lent when the check of the idle one throws " + failure,
                        "an exception of isHealthy() means no");
                lines.healthy = _ -> true;
            }
            Check.equal(2L, pool.stats().unhealthy(), "stats().unhealthy()", "a check that throws counts, too");
        }

        @Test
        void it_is_checked_only_after_validateAfter() throws Exception {
            var pool = pool(plain().withValidateAfter(TEN_SECONDS));
            lines.healthy = _ -> false;
            close(borrow(pool));
            clock.advance(TEN_SECONDS.minus(NANOSECOND));
            checkIs(1, close(borrow(pool)), "what is lent after 9.999999999 s, with a validateAfter of "
                    + "10 s", "it was idle for less: lend it without a check");
            clock.advance(TEN_SECONDS.minus(NANOSECOND));
            checkIs(1, close(borrow(pool)), "what is lent after 9.999999999 s more",
                    "its idle time begins anew when it comes back");
            clock.advance(TEN_SECONDS);
            checkIs(2, borrowInTime(pool).get(), "what is lent when #1 was idle for 10 s, and is unhealthy",
                    "a time that has come to its limit is over: check it");
        }

        @Test
        void what_is_handed_to_a_waiter_is_checked_as_well() throws Exception {   // rejects: a check of idle ones only
            var pool = pool(checked().withMaxTotal(1));
            lines.healthy = _ -> false;
            var lease = borrow(pool);
            var waiting = waiter(pool, 1);
            close(lease);
            checkIs(2, got(waiting).get(), "what the waiter gets when #1 is unhealthy",
                    "with a validateAfter of zero it is checked each time, also when it goes from hand to hand");
        }

        @Test
        void a_slow_check_holds_up_nobody_else() throws Exception {   // rejects: a check under the lock
            var pool = pool(checked().withMaxTotal(2));
            var gate = new Gate();
            lines.healthy = line -> line.number > 1 || gate.pass();
            var other = borrow(pool);
            var lease = borrow(pool);
            close(other);
            var slow = asked(() -> pool.borrow(LONG));
            gate.awaitEntered(slow, "that #1 is checked");
            var stats = finish(asked(pool::stats), "stats() during a check", "check without the lock");
            Check.equal("idle 0, leased 2", "idle %d, leased %d".formatted(stats.idle(), stats.leased()),
                    "stats() during a check", "what is being checked is not idle any more");
            finish(asked(() -> close(lease)), "a return during a check", "check without the lock");
            checkIs(2, got(asked(() -> pool.borrow(LONG))).get(), "what is lent during a check", "");
            gate.close();
            checkIs(1, got(slow).get(), "what is lent after the check", "");
        }

        @Test
        void when_the_time_is_over_no_other_idle_one_is_checked() throws Exception {
            // rejects: a borrow(1 s) that checks ten dead connections, a second each
            var pool = pool(checked().withMaxTotal(3));
            var leases = List.of(borrow(pool), borrow(pool), borrow(pool));
            leases.forEach(ConnectionPoolTest::close);
            lines.healthy = line -> {
                Thread.sleep(10);   // longer than the borrower has
                return false;
            };
            var lease = pool.borrow(Duration.ofMillis(5));
            checkIs(4, lease.get(), "what borrow(5 ms) gets when the check of the first "
                    + "idle one says no after 10 ms", "the time is over: make a new one, in the place of the first");
            Check.equal("[#3]", lines.checked.toString(), "connections checked", "the time was over after the first: "
                    + "look at the deadline before you take the next one");
            Check.equal(2, pool.stats().idle(), "stats().idle()", "nobody has looked at the other two");
            close(lease);
        }

        @Test
        void a_quiet_TCP_connection_is_lent_again() throws Exception {
            // rejects: a probe that leaves the channel non-blocking, one that waits for a byte
            var server = new Server();
            var pool = tcpPool(server);
            var lease = pool.borrow(AT_ONCE);
            var channel = lease.get();
            var end = server.accept();
            lease.close();
            var again = finish(asked(() -> pool.borrow(LONG)), "borrow()", "the probe must not wait for a byte");
            Check.equal(channel, again.get(), "what is lent again", "nothing to read is healthy: that is 0, not -1");
            Check.that(channel.isBlocking(), "a channel that blocks, got one that does not", "make it block again");
            end.getOutputStream().write("hi".getBytes());
            var in = channel.socket().getInputStream();
            Check.equal("hi", finish(asked(() -> new String(in.readNBytes(2))), "a read", ""),
                    "what the borrower reads", "the probe has taken something away");
        }

        @Test
        void one_that_the_peer_has_closed_is_not() throws Exception {   // rejects: isConnected(), isClosed(), isOpen()
            var server = new Server();
            var pool = tcpPool(server);
            var lease = pool.borrow(AT_ONCE);
            var channel = lease.get();
            server.accept().close();
            lease.close();
            checkReplaced(pool, channel, "only a read tells of the peer's end: it returns -1");
            Check.that(!channel.isOpen(), "the old channel to be closed, it is open", "destroy it");
        }

        @Test
        void one_with_a_byte_that_nobody_asked_for_is_not() throws Exception {   // rejects: everything but -1 is good
            var server = new Server();
            var pool = tcpPool(server);
            var lease = pool.borrow(AT_ONCE);
            var channel = lease.get();
            server.accept().getOutputStream().write('?');
            lease.close();
            checkReplaced(pool, channel, "the next borrower would take that byte for his answer: unhealthy");
        }

        private ConnectionPool.Options checked() {
            return plain().withValidateAfter(Duration.ZERO);
        }

        private ConnectionPool<SocketChannel> tcpPool(Server server) {
            return closeLater(new ConnectionPool<>(closedInTheEnd(ConnectionPool.tcp(server.address(), LONG)),
                    checked().withMaxTotal(1)));
        }

        /** What the peer did has to arrive first. */
        private void checkReplaced(ConnectionPool<SocketChannel> pool, SocketChannel old, String likely)
                throws Exception {
            Await.until(() -> {
                try (var lease = pool.borrow(Patience.duration())) {
                    return lease.get() != old;
                } catch (Exception e) {
                    throw History.fail("expected another connection from borrow(), got " + e, likely);
                }
            }, "another connection from borrow()", likely);
        }
    }

    @Step(value = 4, title = "Free the slot on failure", further = true)
    class Free_the_slot_on_failure {

        @Test
        void a_connect_that_fails_frees_its_place() throws Exception {
            var pool = pool(plain().withMaxTotal(2));
            lines.connecting = _ -> {
                throw new ConnectException("Connection refused");
            };
            for (int i = 0; i < 10; i++) {
                Check.fails(ExecutionException.class, () -> pool.borrow(AT_ONCE), "borrow() when connect() fails",
                        "the place of the one that failed before is still taken");
            }
            lines.connecting = _ -> {};
            borrow(pool, "the places of those that failed are still taken");
            borrow(pool, "the places of those that failed are still taken");
            Check.that(tried(pool).isEmpty(), "two connections and no more, with a maxTotal of 2, got a third",
                    "a failure has freed more than one place");
        }

        @Test
        void an_Error_frees_the_place_too() throws Exception {   // rejects: catch (Exception e)
            var pool = pool(plain().withMaxTotal(1).withValidateAfter(Duration.ZERO));
            lines.connecting = _ -> {
                throw new LinkageError("no TLS here");
            };
            Check.fails(LinkageError.class, () -> pool.borrow(AT_ONCE), "borrow() when connect() throws an Error", "");
            lines.connecting = _ -> {};
            close(borrow(pool, "an Error of connect() must free the place"));
            lines.healthy = _ -> {
                throw new LinkageError("no TLS here");
            };
            Check.fails(LinkageError.class, () -> pool.borrow(AT_ONCE), "borrow() when isHealthy() throws an Error",
                    "an Error is no answer: let it pass");
            Check.equal("[#2]", lines.destroyed.toString(), "connections destroyed", "it is not idle, and not lent");
            borrow(pool, "an Error of isHealthy() must free the place");
        }

        @Test
        void a_slow_connect_holds_up_nobody() throws Exception {   // rejects: connect() under the lock
            var pool = pool(plain().withMaxTotal(2));
            var gate = new Gate();
            lines.connecting = line -> {
                if (line.number == 2) {
                    gate.pass();
                }
            };
            var lease = borrow(pool);
            var slow = asked(() -> pool.borrow(LONG));
            gate.awaitEntered(slow, "that the second borrow() connects");
            var likely = "connect() without the lock";
            finish(asked(() -> close(lease)), "a return during a connect()", likely);
            checkIs(1, got(asked(() -> pool.borrow(LONG))).get(), "what is lent meanwhile", likely);
            var stats = finish(asked(pool::stats), "stats() during a connect()", likely);
            Check.equal(2, stats.leased(), "stats().leased() during a connect()", "its place is taken");
            Check.that(finish(asked(() -> tried(pool)), "borrow(0) during a connect()", likely).isEmpty(),
                    "no third connection, with a maxTotal of 2, got one", "its place is taken before it connects");
            gate.close();
            got(slow);
        }

        @Test
        void who_waits_behind_a_failing_connect_tries_for_himself() throws Exception {
            var pool = pool(plain().withMaxTotal(1));
            var gate = new Gate();
            lines.connecting = line -> {
                if (line.number == 1) {
                    gate.pass();
                    throw new ConnectException("Connection refused");
                }
            };
            var failing = asked(() -> pool.borrow(LONG));
            gate.awaitEntered(failing, "that the first borrow() connects");
            var waiting = waiter(pool, 1);
            gate.close();
            thrownBy(failing, ExecutionException.class, "the borrow() whose connect() fails", "");
            checkIs(2, got(waiting).get(), "what the waiter gets",
                    "hand him the empty place, he connects himself");
        }

        @Test
        void a_check_that_is_interrupted_loses_nothing() throws Exception {
            // rejects: an interrupt taken for a no, and swallowed
            var pool = pool(plain().withMaxTotal(1).withValidateAfter(Duration.ZERO));
            close(borrow(pool));
            lines.healthy = _ -> {
                throw new InterruptedException();
            };
            Check.fails(InterruptedException.class, () -> pool.borrow(AT_ONCE), "borrow() whose check is interrupted",
                    "borrow() may throw it: let it pass, or nobody learns of the interrupt");
            Check.equal("[#1]", lines.destroyed.toString(), "connections destroyed",
                    "half checked it is out of step: destroy it");
            borrow(pool, "the place is still taken");
        }

        @Test
        void an_invalidated_connection_is_destroyed() throws Exception {
            var pool = pool(plain());
            var lease = borrow(pool);
            lease.invalidate();
            lease.invalidate();
            close(lease);
            Check.equal("[#1]", lines.destroyed.toString(), "connections destroyed after invalidate(), twice, and "
                    + "close()", "the first end of a lease counts, and no other");
            Check.fails(IllegalStateException.class, lease::get, "get() after invalidate()", "the lease has ended");
            checkIs(2, borrow(pool).get(), "what is lent next", "it must not be lent again");
        }

        @Test
        void invalidate_after_close_does_nothing() throws Exception {
            var pool = pool(plain());
            var lease = borrow(pool);
            close(lease);
            lease.invalidate();
            Check.equal("[]", lines.destroyed.toString(), "connections destroyed by invalidate() after close()",
                    "the lease has ended: it is not his connection any more");
            checkIs(1, borrow(pool).get(), "what is lent next", "it came back in peace");
        }

        @Test
        void invalidate_makes_room_for_a_waiter() throws Exception {
            var pool = pool(plain().withMaxTotal(1));
            var lease = borrow(pool);
            var waiting = waiter(pool, 1);
            lease.invalidate();
            checkIs(2, got(waiting).get(), "what the waiter gets", "hand him the empty place");
        }

        @Test
        void what_comes_back_is_reset_before_the_next_one_gets_it() throws Exception {
            var pool = pool(plain().withMaxTotal(1));
            for (int i = 1; i <= 2; i++) {
                var lease = borrow(pool);
                Check.equal(0, lease.get().dirt, "what the last borrower has left on it", "reset() it on return");
                lease.get().dirt++;
                var waiting = waiter(pool, 1);
                close(lease);
                var mine = got(waiting);
                Check.equal(0, mine.get().dirt, "what the last borrower has left on it, for one who has waited",
                        "reset() it before it is handed over");
                mine.get().dirt++;
                close(mine);
            }
        }

        @Test
        void one_that_cannot_be_reset_is_destroyed() throws Exception {
            var pool = pool(plain().withMaxTotal(1));
            lines.resetting = line -> {
                throw line.number == 1 ? new IOException("no answer") : new IllegalStateException("out of step");
            };
            var lease = borrow(pool);
            for (int i = 1; i <= 2; i++) {
                var waiting = waiter(pool, 1);
                close(lease);   // which throws nothing
                lease = got(waiting);
                Check.equal(i, lines.destroyed.size(), "connections destroyed", "if reset() throws, it is no good");
                checkIs(i + 1, lease.get(), "what the waiter gets", "an empty place, in which he makes a new one");
            }
        }

        @Test
        void a_slow_reset_holds_up_nobody() throws Exception {   // rejects: reset() under the lock
            var pool = pool(plain());
            var gate = new Gate();
            lines.resetting = _ -> gate.pass();
            var lease = borrow(pool);
            var closing = asked(() -> close(lease));
            gate.awaitEntered(closing, "that reset() is called");
            got(asked(() -> pool.borrow(LONG)));
            gate.close();
            finish(closing, "close()", "");
        }

        @Test
        void a_destroy_that_throws_frees_the_place_too() throws Exception {
            var pool = pool(plain().withMaxTotal(1));
            lines.destroying = _ -> {
                throw new IOException("it was closed already");
            };
            borrow(pool).invalidate();
            borrow(pool, "what destroy() throws must not keep the place");
        }

        @Test
        void in_a_storm_of_failures_nothing_gets_lost() throws Exception {
            var pool = pool(plain().withMaxTotal(5).withMaxIdle(3).withValidateAfter(Duration.ZERO));
            var calls = new AtomicInteger();
            lines.connecting = _ -> failOnce(calls, 3);
            lines.healthy = _ -> calls.incrementAndGet() % 4 > 0;
            lines.resetting = _ -> failOnce(calls, 5);
            lines.destroying = _ -> Thread.yield();
            crowd(32, () -> {
                for (int i = 0; i < 40; i++) {
                    try (var lease = pool.borrow(Patience.duration())) {
                        lease.get().use();
                        if (i % 7 == 0) {
                            lease.invalidate();
                        }
                    } catch (ExecutionException e) {
                        // a connect that failed
                    }
                }
            });
            Check.that(lines.most() <= 5, "at most 5 connections at once, got " + lines.most(),
                    "a place is free when its connection is destroyed, and not before");
            var stats = pool.stats();
            Check.equal(stats.idle(), stats.total(), "stats().total() when nothing is lent, and idle is "
                    + stats.idle(), "a place got lost, or was freed twice");
            Check.equal((long) stats.total(), stats.created() - stats.destroyed(), "created - destroyed",
                    "a connection got lost");
        }

        private void failOnce(AtomicInteger calls, int in) throws IOException {
            Thread.yield();
            if (calls.incrementAndGet() % in == 0) {
                throw new IOException("one of " + in + " fails");
            }
        }
    }

    @Step(value = 5, title = "Expire by age", further = true)
    class Expire_by_age {

        @Test
        void zero_is_no_limit() throws Exception {
            var pool = pool(ageless());
            close(borrow(pool));
            clock.advance(Duration.ofDays(365 * 100));
            checkIs(1, borrow(pool).get(), "what is lent after a century, without limits",
                    "an idleTtl or a maxLifetime of zero is no limit");
        }

        @Test
        void one_that_was_idle_for_idleTtl_is_not_lent() throws Exception {
            var pool = pool(ageless().withIdleTtl(TEN_SECONDS));
            close(borrow(pool));
            clock.advance(TEN_SECONDS.minus(NANOSECOND));
            checkIs(1, close(borrow(pool)), "what is lent after 9.999999999 s, with an idleTtl of 10 s",
                    "it was idle for less");
            clock.advance(TEN_SECONDS);
            checkIs(2, close(borrow(pool)), "what is lent when #1 was idle for 10 s",
                    "a time that has come to its limit is over: >=, not >");
            Check.equal("[#1]", lines.destroyed.toString(), "connections destroyed", "");
            Check.equal(0L, pool.stats().unhealthy(), "stats().unhealthy()", "it was too old, nobody has checked it");
        }

        @Test
        void one_that_was_made_maxLifetime_ago_is_not_lent() throws Exception {
            var pool = pool(ageless().withMaxLifetime(TEN_SECONDS));
            close(borrow(pool));
            clock.advance(TEN_SECONDS.minus(NANOSECOND));
            checkIs(1, close(borrow(pool)), "what is lent after 9.999999999 s, with a maxLifetime of "
                    + "10 s", "it is younger");
            clock.advance(NANOSECOND);
            checkIs(2, borrow(pool).get(), "what is lent when #1 was made 10 s ago",
                    "a life begins with connect() and never anew");
        }

        @Test
        void one_that_comes_back_after_its_lifetime_is_destroyed() throws Exception {
            var pool = pool(ageless().withMaxLifetime(TEN_SECONDS).withMaxTotal(1));
            var lease = borrow(pool);
            clock.advance(TEN_SECONDS);
            checkIs(1, lease.get(), "get() after its lifetime", "one that is lent may finish");
            var waiting = waiter(pool, 1);
            close(lease);
            Check.equal("[#1]", lines.destroyed.toString(), "connections destroyed", "it is too old to be kept");
            checkIs(2, got(waiting).get(), "what the waiter gets", "");
        }

        @Test
        void a_long_use_is_no_idle_time() throws Exception {   // rejects: an idle time that begins with the last return
            var pool = pool(ageless().withIdleTtl(TEN_SECONDS));
            close(borrow(pool));
            var lease = borrow(pool);
            clock.advance(LONG);
            close(lease);
            Check.equal("[]", lines.destroyed.toString(), "connections destroyed after a use of a minute, "
                    + "with an idleTtl of 10 s", "while it is lent it is not idle");
            clock.advance(TEN_SECONDS.minus(NANOSECOND));
            checkIs(1, borrow(pool).get(), "what is lent 9.999999999 s later",
                    "its idle time begins when it comes back");
        }

        @Test
        void a_limit_may_be_longer_than_the_clock_counts() throws Exception {   // rejects: toNanos(), which throws
            var forever = Duration.ofSeconds(Long.MAX_VALUE);
            var pool = pool(ageless().withIdleTtl(forever).withMaxLifetime(forever));
            close(borrow(pool));
            clock.advance(TEN_SECONDS);
            checkIs(1, borrow(pool, "toNanos() overflows: nanos() does not").get(), "what is lent", "");
        }

        @Test
        void the_clock_may_overflow() throws Exception {
            // rejects: now > since + limit; only differences of nanoTime() mean anything, as its javadoc says
            var pool = pool(ageless().withIdleTtl(TEN_SECONDS).withMaxLifetime(LONG));
            clock.advance(Duration.ofNanos(Long.MAX_VALUE - clock.getAsLong() - TEN_SECONDS.toNanos() / 2));
            close(borrow(pool));
            clock.advance(TEN_SECONDS.minus(NANOSECOND));
            checkIs(1, close(borrow(pool)), "what is lent after 9.999999999 s, in which the clock went "
                    + "from Long.MAX_VALUE to Long.MIN_VALUE", "compare the difference of two times with the limit");
            clock.advance(TEN_SECONDS);
            checkIs(2, borrow(pool).get(), "what is lent when #1 was idle for 10 s, on such a clock",
                    "compare the difference of two times with the limit");
        }

        @Test
        void evict_destroys_what_is_too_old() throws Exception {
            var pool = pool(ageless().withIdleTtl(TEN_SECONDS).withMaxLifetime(LONG));
            var lent = borrow(pool);
            var leases = List.of(borrow(pool), borrow(pool), borrow(pool));
            leases.forEach(ConnectionPoolTest::close);
            clock.advance(TEN_SECONDS.minus(NANOSECOND));
            Check.equal(0, pool.evict(), "evict() after 9.999999999 s, with an idleTtl of 10 s", "");
            checkIs(4, close(borrow(pool)), "what is lent then", "the last one back");
            clock.advance(NANOSECOND);
            Check.equal(2, pool.evict(), "evict() when two of three were idle for 10 s", "");
            Check.equal(2, lines.destroyed.size(), "connections destroyed", "");
            clock.advance(LONG);
            Check.equal(1, pool.evict(), "evict() when one is idle, and one lent, for more than a minute",
                    "one that is lent may finish");
            checkIs(1, lent.get(), "get() of the one that is lent", "");
            Check.equal("total 1, idle 0", "total %d, idle %d".formatted(pool.stats().total(), pool.stats().idle()),
                    "stats()", "");
        }

        private ConnectionPool.Options ageless() {
            return plain().withIdleTtl(Duration.ZERO).withMaxLifetime(Duration.ZERO)
                    .withValidateAfter(Duration.ofDays(365 * 200));
        }
    }

    @Step(value = 6, title = "Find leaks", further = true)
    class Find_leaks {

        @Test
        void a_lease_that_is_held_for_leakAfter_is_reported() throws Exception {
            var pool = pool(plain().withLeakAfter(TEN_SECONDS));
            borrow(pool);
            clock.advance(TEN_SECONDS.minus(NANOSECOND));
            Check.equal(List.of(), pool.leaks(), "leaks() after 9.999999999 s, with a leakAfter of 10 s", "");
            clock.advance(NANOSECOND);
            var leak = only(pool.leaks());
            Check.equal(TEN_SECONDS, leak.heldFor(), "heldFor()", "its age by nanoClock");
        }

        @Test
        void the_report_names_the_line_and_the_thread_that_borrowed() throws Exception {
            // rejects: the stack of whoever asks for the report
            var pool = pool(plain().withLeakAfter(TEN_SECONDS));
            var borrower = Thread.ofVirtual().name("worker-7");
            var lease = new CompletableFuture<ConnectionPool.Lease<Line>>();
            borrower.start(() -> lease.complete(forgetful(pool)));
            Await.value(lease, "that borrow() returns", "");
            clock.advance(TEN_SECONDS);
            var leak = only(pool.leaks());
            Check.equal("worker-7", leak.thread(), "thread()", "the thread that has borrowed");
            Check.that(!leak.borrowedAt().isEmpty(), "a stack, got none",
                    "note it when the loan begins, with a new Throwable()");
            Check.equal("forgetful", leak.borrowedAt().getFirst().getMethodName(),
                    "the method that has called borrow(), by borrowedAt()", "note the stack when the loan begins");
            Reference.reachabilityFence(lease);
        }

        @Test
        void the_oldest_one_comes_first() throws Exception {
            var pool = pool(plain().withLeakAfter(TEN_SECONDS));
            for (int i = 0; i < 8; i++) {
                borrow(pool);
                clock.advance(Duration.ofSeconds(2));
            }
            Check.equal(List.of(16L, 14L, 12L, 10L), pool.leaks().stream().map(l -> l.heldFor().toSeconds()).toList(),
                    "heldFor() of all leaks(), in seconds", "sort them, and leave out the young ones");
        }

        @Test
        void what_has_ended_is_not_reported() throws Exception {
            var pool = pool(plain().withLeakAfter(TEN_SECONDS));
            var closed = borrow(pool);
            var invalidated = borrow(pool);
            clock.advance(TEN_SECONDS);
            close(closed);
            invalidated.invalidate();
            Check.equal(List.of(), pool.leaks(), "leaks() when all have ended", "forget() what has ended");
        }

        @Test
        void with_a_leakAfter_of_zero_nothing_is_reported() throws Exception {
            var pool = pool(plain().withLeakAfter(Duration.ZERO));
            var lease = borrow(pool);
            clock.advance(LONG);
            Check.equal(List.of(), pool.leaks(), "leaks() with a leakAfter of zero", "zero means: no report");
            close(lease);
        }

        @Test
        void a_forgotten_lease_gives_its_place_back() throws Exception {
            // rejects: a cleaning action, or a list of leases, that holds the lease itself
            for (var leakAfter : List.of(TEN_SECONDS, Duration.ZERO)) {
                var pool = pool(plain().withMaxTotal(1).withLeakAfter(leakAfter));
                int before = lines.destroyed.size();
                forgetful(pool);
                var waiting = waiter(pool, 1);
                collect(pool, 1);
                var lease = got(waiting);
                checkDestroyed(before + 1, "connections destroyed", "who knows what state it is in: destroy it");
                Check.equal(List.of(), pool.leaks(), "leaks() when it was reclaimed", "");
                close(lease);
            }
        }

        @Test
        void a_lease_in_use_is_left_alone() throws Exception {
            var pool = pool(plain());
            var used = borrow(pool);
            forgetful(pool);
            collect(pool, 1);
            checkIs(1, used.get(), "get() of a lease that is held",
                    "only a lease that is garbage may be reclaimed");
            checkDestroyed(1, "connections destroyed", "");
            close(used);
        }

        @Test
        void a_lease_that_was_closed_is_not_reclaimed() throws Exception {   // rejects: an action that asks nobody
            var pool = pool(plain());
            close(forgetful(pool));
            forgetful(pool).invalidate();
            close(forgetful(pool));
            forgetful(pool);
            forgetful(pool);
            collect(pool, 2);
            forgetful(pool);
            collect(pool, 3);   // in their order: whatever was garbage before has had its turn
            Check.equal(3L, pool.stats().reclaimed(), "stats().reclaimed()", "who has ended is not reclaimed");
            checkDestroyed(4, "connections destroyed: one invalidated, three reclaimed",
                    "the first end of a lease counts, and no other");
        }

        /** Returns a lease that a careless caller drops. */
        private ConnectionPool.Lease<Line> forgetful(ConnectionPool<Line> pool) {
            try {
                return pool.borrow(AT_ONCE);
            } catch (ConnectionPool.PoolTimeoutException | ExecutionException | InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }

        private ConnectionPool.Leak only(List<ConnectionPool.Leak> leaks) {
            Check.equal(1, leaks.size(), "leases that leaks() reports", "track() each loan, until it ends");
            return leaks.getFirst();
        }

        private void collect(ConnectionPool<Line> pool, int leases) throws InterruptedException {
            History.note(leases + " forgotten, the garbage is collected");
            var looks = new AtomicInteger();
            Await.until(() -> {
                // One collection is mostly enough, but then the Cleaner's thread needs a moment.
                if (looks.getAndIncrement() % 20 == 0) {
                    System.gc();
                }
                return pool.stats().reclaimed() >= leases;
            }, "that a forgotten lease is reclaimed", "something still refers to the lease: the action that the "
                    + "Cleaner is given, or a list of the pool. They may know the loan, not the lease");
        }

        /** A pool may count what it reclaims before it destroys it, and it does both on another thread. */
        private void checkDestroyed(int expected, String what, String likely) throws InterruptedException {
            Await.until(() -> lines.destroyed.size() >= expected, "that so many connections are destroyed: " + expected,
                    likely);
            Check.equal(expected, lines.destroyed.size(), what, likely);
        }
    }

    @Step(value = 7, title = "Close the pool", further = true)
    class Close_the_pool {

        @Test
        void close_sends_everybody_away_who_waits() throws Exception {   // rejects: signal() for one of them
            var pool = pool(plain().withMaxTotal(1));
            var lease = borrow(pool);
            var waiting = new ArrayList<PendingCall<ConnectionPool.Lease<Line>>>();
            for (int i = 1; i <= 10; i++) {
                waiting.add(waiter(pool, i));
            }
            pool.close();
            for (var waiter : waiting) {
                thrownBy(waiter, ConnectionPool.PoolClosedException.class, "a borrow() that waits",
                        "wake each of the waiters");
            }
            Check.equal(0, pool.stats().waiting(), "stats().waiting()", "");
            close(lease);
            checkAllDestroyed(pool);
        }

        @Test
        void a_closed_pool_lends_nothing() throws Exception {
            var pool = pool(plain());
            close(borrow(pool));
            pool.close();
            Check.fails(ConnectionPool.PoolClosedException.class, () -> pool.borrow(AT_ONCE), "borrow() after close()",
                    "closed is closed");
            Check.equal(1, lines.made.size(), "connections made", "");
        }

        @Test
        void what_is_idle_is_destroyed_at_once() throws Exception {
            var pool = pool(plain());
            var leases = List.of(borrow(pool), borrow(pool), borrow(pool));
            leases.forEach(ConnectionPoolTest::close);
            pool.close();
            pool.close();
            Check.equal(3, lines.destroyed.size(), "connections destroyed by close(), called twice",
                    "each idle one, once");
            checkAllDestroyed(pool);
        }

        @Test
        void what_is_lent_stays_usable_and_is_destroyed_when_it_comes_back() throws Exception {
            var pool = pool(plain());
            var closed = borrow(pool);
            var invalidated = borrow(pool);
            pool.close();   // and does not wait for them
            checkIs(1, closed.get(), "get() when the pool is closed", "its user may finish");
            Check.equal("[]", lines.destroyed.toString(), "connections destroyed", "its user may finish");
            close(closed);
            close(closed);
            Check.equal("[#1]", lines.destroyed.toString(), "connections destroyed when one came back",
                    "a closed pool keeps nothing");
            invalidated.invalidate();
            checkAllDestroyed(pool);
        }

        @Test
        void who_connects_meanwhile_gets_nothing_either() throws Exception {
            var pool = pool(plain());
            var gate = new Gate();
            lines.connecting = _ -> gate.pass();
            var connecting = asked(() -> pool.borrow(LONG));
            gate.awaitEntered(connecting, "that borrow() connects");
            pool.close();
            gate.close();
            thrownBy(connecting, ConnectionPool.PoolClosedException.class,
                    "a borrow() that connects during close()", "look whether the pool is closed before you lend");
            checkAllDestroyed(pool);
        }

        @Test
        void a_slow_destroy_does_not_hold_the_lock() throws Exception {
            var pool = pool(plain());
            var lease = borrow(pool);
            close(borrow(pool));
            var gate = new Gate();
            lines.destroying = line -> {
                if (line.number == 2) {
                    gate.pass();
                }
            };
            var closing = asked(() -> {
                pool.close();
                return null;
            });
            gate.awaitEntered(closing, "that close() destroys what is idle");
            finish(asked(() -> close(lease)), "a return while close() destroys", "destroy without the lock");
            gate.close();
            finish(closing, "close()", "");
            checkAllDestroyed(pool);
        }

        @Test
        void shutdown_waits_until_all_have_come_back() throws Exception {   // rejects: a wait for one of two
            var pool = pool(plain());
            var first = borrow(pool);
            var second = borrow(pool);
            close(borrow(pool));
            var stopping = List.of(asked(() -> pool.shutdown(LONG)), asked(() -> pool.shutdown(LONG)));
            Await.until(() -> lines.destroyed.size() == 1, "that shutdown() destroys what is idle", "");
            for (var each : stopping) {
                each.awaitWaiting();
            }
            close(first);
            Check.that(!stopping.getFirst().outcome().isDone(), "shutdown() to wait for the second one, it has returned",
                    "wait until no place is taken");
            close(second);
            for (var each : stopping) {
                Check.equal(true, finish(each, "shutdown() when the last one came back", "wake all who wait for it"),
                        "shutdown()", "all came back");
            }
            checkAllDestroyed(pool);
        }

        @Test
        void shutdown_gives_up_after_its_grace_and_not_before() throws Exception {
            var pool = pool(plain());
            var lease = borrow(pool);
            long start = System.nanoTime();
            Check.equal(false, finish(asked(() -> pool.shutdown(Duration.ofMillis(20))), "shutdown(20 ms)",
                    "wait for the grace, and no longer"), "shutdown(20 ms) when one does not come back", "");
            long millis = (System.nanoTime() - start) / 1_000_000;
            Check.that(millis >= 20, "shutdown(20 ms) to wait for 20 ms, got " + millis + " ms", "");
            close(lease);
            Check.equal(true, pool.shutdown(AT_ONCE), "shutdown(0) when it came back after all", "");
        }

        @Test
        void shutdown_with_zero_does_not_wait() throws Exception {
            var pool = pool(plain());
            var lease = borrow(pool);
            Check.equal(false, finish(asked(() -> pool.shutdown(AT_ONCE)), "shutdown(0)", "zero does not wait"),
                    "shutdown(0) when one is lent", "it has not come back");
            close(lease);
            named(IllegalArgumentException.class, "grace", () -> pool.shutdown(NANOSECOND.negated()));
        }

        @Test
        void an_interrupt_ends_the_shutdown_and_the_pool_is_closed() throws Exception {
            var pool = pool(plain());
            var lease = borrow(pool);
            var stopping = asked(() -> pool.shutdown(LONG));
            stopping.awaitWaiting();
            stopping.thread().interrupt();
            thrownBy(stopping, InterruptedException.class, "an interrupted shutdown()",
                    "let the InterruptedException pass");
            Check.fails(ConnectionPool.PoolClosedException.class, () -> pool.borrow(AT_ONCE), "borrow() then", "");
            close(lease);
        }

        @Test
        void after_a_storm_all_that_was_made_is_destroyed() throws Exception {
            // rejects: a connection that comes back while close() is at work, and is kept
            for (int round = 0; round < 20; round++) {
                var pool = pool(plain().withMaxTotal(4));
                var go = new CountDownLatch(200);
                var closing = asked(() -> {
                    go.await();
                    pool.close();
                    return null;
                });
                crowd(16, () -> {
                    try {
                        while (true) {
                            try (var lease = pool.borrow(LONG)) {
                                lease.get().use();
                                go.countDown();
                            }
                        }
                    } catch (ConnectionPool.PoolClosedException e) {
                        // that is how it ends
                    }
                });
                finish(closing, "close()", "");
                checkAllDestroyed(pool);
            }
        }

        private void checkAllDestroyed(ConnectionPool<Line> pool) {
            Check.equal(lines.made.size(), lines.destroyed.size(), "connections destroyed in the end, of all that were "
                    + "made", "a closed pool keeps nothing, not even what comes back at the very moment it closes");
            Check.equal(0, pool.stats().total(), "stats().total() in the end", "");
        }
    }

    // What the tests are made of.

    private ConnectionPool.Options plain() {
        return ConnectionPool.Options.defaults().withNanoClock(clock);
    }

    private ConnectionPool<Line> pool(ConnectionPool.Options options) {
        closeLater(lines);
        return closeLater(new ConnectionPool<>(lines, options));
    }

    /** From a pool that can lend without waiting. */
    private ConnectionPool.Lease<Line> borrow(ConnectionPool<Line> pool) throws Exception {
        return borrow(pool, "one is idle, or a place is free");
    }

    private ConnectionPool.Lease<Line> borrow(ConnectionPool<Line> pool, String likely) throws Exception {
        try {
            var lease = pool.borrow(AT_ONCE);
            held.add(lease);
            History.note("borrowed " + lease.get());
            return lease;
        } catch (ConnectionPool.PoolTimeoutException e) {
            throw History.fail("expected a connection from borrow(0), got\n  " + e.getMessage(), likely);
        }
    }

    /** From a pool that may have to look at several connections before it lends one. */
    private ConnectionPool.Lease<Line> borrowInTime(ConnectionPool<Line> pool) throws Exception {
        var lease = pool.borrow(Patience.duration());
        held.add(lease);
        History.note("borrowed " + lease.get());
        return lease;
    }

    /** Empty where nothing is to be had at once. */
    private Optional<ConnectionPool.Lease<Line>> tried(ConnectionPool<Line> pool) throws Exception {
        try {
            var lease = pool.borrow(AT_ONCE);
            held.add(lease);
            return Optional.of(lease);
        } catch (ConnectionPool.PoolTimeoutException e) {
            return Optional.empty();
        }
    }

    private static Line close(ConnectionPool.Lease<Line> lease) {
        Line line = null;
        try {
            line = lease.get();
        } catch (IllegalStateException e) {
            // closed before
        }
        History.note(line == null ? "closed it again" : "closed " + line);
        lease.close();
        return line;
    }

    /** Somebody who borrows, when he waits as the n-th one. */
    private PendingCall<ConnectionPool.Lease<Line>> waiter(ConnectionPool<Line> pool, int number)
            throws Exception {
        var waiting = asked(() -> pool.borrow(LONG));
        awaitQueue(pool, number, waiting);
        if (waiting.outcome().isDone()) {
            got(waiting);
            throw History.fail("expected the next borrow() to wait, it got one",
                    "all are lent, and no more than maxTotal may exist");
        }
        return waiting;
    }

    /** Until so many wait, or the one who was to wait does not. */
    private void awaitQueue(ConnectionPool<Line> pool, int length, PendingCall<?> last) throws Exception {
        var queue = asked(() -> {
            while (pool.stats().waiting() != length && !last.outcome().isDone()) {
                Thread.sleep(Duration.ofNanos(50_000));   // between two looks
            }
            return null;
        });
        try {
            finish(queue, "stats().waiting() becomes " + length + ", and",
                    "whoever finds no place joins the waiters, and leaves them in any case: finally");
        } finally {
            queue.thread().interrupt();
        }
    }

    /** What a borrow() on another thread gets, or throws. */
    private static <C> ConnectionPool.Lease<C> got(PendingCall<ConnectionPool.Lease<C>> asked) throws Exception {
        return finish(asked, "a borrow()", "whoever waits is handed what comes free");
    }

    /** What a call on another thread throws. */
    private static <T extends Throwable> T thrownBy(PendingCall<?> asked, Class<T> type, String what, String likely) {
        return Check.fails(type, () -> finish(asked, what, likely), what, likely);
    }

    /** What a call on another thread returns, or throws. */
    private static <T> T finish(PendingCall<T> asked, String what, String likely) throws Exception {
        var ended = asked.outcome().handle((_, _) -> true);   // however it ends
        Await.value(ended, "that " + what + " returns", likely);
        try {
            return asked.outcome().get();
        } catch (ExecutionException e) {
            if (e.getCause() instanceof Error error) {
                throw error;
            }
            throw (Exception) e.getCause();
        }
    }

    private <T> PendingCall<T> asked(Callable<T> code) {
        var asked = PendingCall.start(code);
        held.add(asked);
        return asked;
    }

    /** Many threads that do the same at once, until all have ended. */
    private void crowd(int size, Check.Code code) throws Exception {
        var members = new ArrayList<PendingCall<Void>>();
        for (int i = 0; i < size; i++) {
            members.add(asked(() -> {
                code.run();
                return null;
            }));
        }
        for (var member : members) {
            try {
                finish(member, "the work of each of " + size + " threads", "a place got lost, or nobody was woken");
            } catch (ConnectionPool.PoolTimeoutException e) {
                throw History.fail("expected each of " + size + " threads to get a connection in the end, got\n  "
                        + e.getMessage(), "a place got lost, or a waiter was not woken");
            }
        }
    }

    private static void checkIs(int number, Line line, String what, String likely) {
        Check.equal("#" + number, line.toString(), what, likely);
    }

    private static void named(Class<? extends Exception> type, String name, Check.Code code) {
        var thrown = Check.fails(type, code, "a wrong " + name, "check the arguments first");
        Check.that(String.valueOf(thrown.getMessage()).contains(name),
                "the message to name " + name + ", got " + thrown.getMessage(), "say which argument is wrong");
    }

    /** Until a call has noticed its interrupt: it is awake, but may have no lock yet. At most 20 ms. */
    private static void awaitNoticed(PendingCall<?> call) {
        long end = System.nanoTime() + 20_000_000;
        while (call.thread().isInterrupted() && !call.outcome().isDone() && System.nanoTime() - end < 0) {
            Thread.onSpinWait();
        }
    }

    /** They look at the pool all the time, so that whoever wakes may have to wait for its lock. */
    private static final class Onlookers implements AutoCloseable {

        private final List<Thread> threads = new ArrayList<>();
        private volatile boolean over;

        Onlookers(ConnectionPool<Line> pool) {
            for (int i = 0; i < 2; i++) {
                threads.add(Thread.ofPlatform().name("kit-onlooker").start(() -> {
                    while (!over) {
                        pool.stats();
                    }
                }));
            }
        }

        @Override
        public void close() throws InterruptedException {
            over = true;
            for (var thread : threads) {
                thread.join();
            }
        }
    }

    /** Where a factory stops until the test lets it go on, or ends. */
    private static final class Gate implements AutoCloseable {

        private final CountDownLatch entered = new CountDownLatch(1);
        private final CountDownLatch open = new CountDownLatch(1);

        Gate() {
            closeLater(this);
        }

        boolean pass() throws InterruptedException {
            entered.countDown();
            open.await();
            return true;
        }

        /** Until somebody stands here; it is the call that was asked for, or one that it waits for. */
        void awaitEntered(PendingCall<?> asked, String what) throws Exception {
            Await.until(() -> entered.getCount() == 0 || asked.outcome().isDone(), what, "");
            if (entered.getCount() > 0) {
                finish(asked, what, "");
                throw History.fail("expected " + what + ", the call has ended without", "");
            }
            History.note("it takes its time");
        }

        @Override
        public void close() {
            open.countDown();
        }
    }

    /** A connection of no protocol at all. */
    private static final class Line {

        final int number;
        volatile int dirt;
        private final Lines lines;
        private final AtomicInteger users = new AtomicInteger();

        Line(Lines lines, int number) {
            this.lines = lines;
            this.number = number;
        }

        void use() {
            if (users.incrementAndGet() > 1) {
                lines.faults.add(this + " lent to two at once");
            }
            if (lines.destroyed.contains(this)) {
                lines.faults.add(this + " lent after it was destroyed");
            }
            Thread.yield();
            users.decrementAndGet();
        }

        @Override
        public String toString() {
            return "#" + number;
        }
    }

    /** Makes lines, #1, #2 and so on, as the test tells it to. */
    private static final class Lines implements ConnectionPool.Factory<Line>, AutoCloseable {

        interface Hook {
            void on(Line line) throws Exception;
        }

        interface Health {
            boolean of(Line line) throws Exception;
        }

        final List<Line> made = new CopyOnWriteArrayList<>();
        final List<Line> checked = new CopyOnWriteArrayList<>();
        final List<Line> destroyed = new CopyOnWriteArrayList<>();
        final List<String> faults = new CopyOnWriteArrayList<>();
        volatile Hook connecting = _ -> {};
        volatile Health healthy = _ -> true;
        volatile Hook resetting = _ -> {};
        volatile Hook destroying = _ -> {};
        private final AtomicInteger numbers = new AtomicInteger();
        private final AtomicInteger exist = new AtomicInteger();
        private final AtomicInteger most = new AtomicInteger();

        @Override
        public Line connect() throws Exception {
            var line = new Line(this, numbers.incrementAndGet());
            most.accumulateAndGet(exist.incrementAndGet(), Math::max);
            try {
                connecting.on(line);
            } catch (Throwable e) {
                exist.decrementAndGet();
                throw e;
            }
            made.add(line);
            return line;
        }

        @Override
        public boolean isHealthy(Line line) throws Exception {
            alive(line, "checked");
            checked.add(line);
            return healthy.of(line);
        }

        @Override
        public void reset(Line line) throws Exception {
            alive(line, "reset");
            resetting.on(line);
            line.dirt = 0;
        }

        @Override
        public void destroy(Line line) throws Exception {
            alive(line, "destroyed");
            destroyed.add(line);
            History.note("destroyed " + line);
            try {
                destroying.on(line);
            } finally {
                exist.decrementAndGet();
            }
        }

        /** Most lines at once, those included that were about to be made or destroyed. */
        int most() {
            return most.get();
        }

        private void alive(Line line, String what) {
            if (destroyed.contains(line)) {
                faults.add(line + " " + what + " after it was destroyed");
            }
        }

        @Override
        public void close() {
            Check.that(faults.isEmpty(), "no line to be lent to two at once, or touched after its end, got\n  "
                    + String.join("\n  ", faults.stream().limit(3).toList()),
                    "what is lent is not idle, what is destroyed is gone, and each loan ends once");
        }
    }

    /** A peer of real connections, as far as the kernel is one. */
    private static final class Server {

        private final ServerSocket listener = closeLater(new ServerSocket(0, 50, InetAddress.getLoopbackAddress()));

        Server() throws IOException {}

        InetSocketAddress address() {
            return (InetSocketAddress) listener.getLocalSocketAddress();
        }

        Socket accept() throws IOException {
            listener.setSoTimeout(Patience.millis());
            return closeLater(listener.accept());
        }
    }

    /** As the given factory, but what it makes is closed when the test ends, whatever the pool does. */
    private static ConnectionPool.Factory<SocketChannel> closedInTheEnd(ConnectionPool.Factory<SocketChannel> tcp) {
        return new ConnectionPool.Factory<>() {
            @Override
            public SocketChannel connect() throws Exception {
                return closeLater(tcp.connect());
            }

            @Override
            public boolean isHealthy(SocketChannel channel) throws Exception {
                return tcp.isHealthy(channel);
            }

            @Override
            public void destroy(SocketChannel channel) throws Exception {
                tcp.destroy(channel);
            }
        };
    }
}
