///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//SOURCES ../../labs/404-connection-pool/ConnectionPool.java
//SOURCES ../kit/*.java

import static kit.TestLifecycle.closeLater;

import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.ReentrantLock;
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
 * blocks where a test wants it to; some of step 3 are real. A test that needs two threads to meet holds the lock of the
 * pool until both are there. A comment {@code rejects:} names the wrong pools that a test is there for.
 */
@Lab
class ConnectionPoolTest {

    private static final Duration AT_ONCE = Duration.ZERO;
    private static final Duration LONG = Duration.ofMinutes(1);   // only a mistake waits that long
    private static final Duration TEN_SECONDS = Duration.ofSeconds(10);
    private static final Duration NANOSECOND = Duration.ofNanos(1);

    private final FakeClock clock = new FakeClock();
    private final Lines lines = new Lines();
    /** All leases, and the calls that get some: a lease to which nothing refers may be reclaimed at any time. */
    private final List<Object> held = Collections.synchronizedList(new ArrayList<>());

    @Step(value = 1, title = "Borrow and return")
    class Borrow_and_return {

        @Test
        void a_connection_is_made_when_borrow_needs_one() throws Exception {
            var pool = pool(plain());
            Check.equal(0, lines.made.size(), "connections made by a new pool", "make a connection in borrow()");
            var lease = borrow(pool);
            checkIs(1, lease.get(), "the result of get()", "return the connection that connect() has made");
            Check.equal(1, lines.made.size(), "connections made", "one borrow() needs one");
        }

        @Test
        void a_returned_connection_is_reused() throws Exception {
            var pool = pool(plain());
            for (int i = 0; i < 3; i++) {
                var lease = borrow(pool);
                checkIs(1, lease.get(), "the result of get()", "lease an idle connection before you make one");
                close(lease);
            }
            Check.equal(1, lines.made.size(), "connections made", "lease an idle connection before you make one");
        }

        @Test
        void a_leased_connection_is_not_leased_again_before_it_is_returned() throws Exception {
            var pool = pool(plain());
            close(borrow(pool));
            checkTwo(borrow(pool), borrow(pool), "take() must remove the slot from idle: pop(), not peek()");
        }

        @Test
        void the_most_recently_returned_connection_is_borrowed_first() throws Exception {   // rejects: a FIFO queue
            var pool = pool(plain());
            var a = borrow(pool);
            var b = borrow(pool);
            var c = borrow(pool);
            var returned = List.of(b.get(), c.get(), a.get());
            List.of(b, c, a).forEach(ConnectionPoolTest::close);
            var borrowed = List.of(borrow(pool).get(), borrow(pool).get(), borrow(pool).get());
            Check.equal(returned.reversed(), borrowed, "connections of three more borrow()",
                    "idle is a stack: push() and pop() at the same end");
        }

        @Test
        void closing_a_lease_twice_returns_its_connection_once() throws Exception {
            var pool = pool(plain());
            var lease = borrow(pool);
            close(lease);
            close(lease);
            checkTwo(borrow(pool), borrow(pool), "the second close() returned the connection again: only the call that"
                    + " is the end() of the state may do that");
        }

        @Test
        void a_late_close_does_not_end_a_later_lease() throws Exception {
            // rejects: a close() that asks whether the connection is leased, not whether this lease has ended
            var pool = pool(plain());
            var old = borrow(pool);
            close(old);
            var lease = borrow(pool);
            close(old);
            checkIs(1, lease.get(), "get() of the lease that is still open", "the first lease had ended before");
            checkTwo(lease, borrow(pool), "the first lease had ended: its close() must not return the connection of"
                    + " the second");
        }

        @Test
        void get_after_close_throws_IllegalStateException() throws Exception {
            var lease = borrow(pool(plain()));
            close(lease);
            Check.fails(IllegalStateException.class, lease::get, "get() after close()",
                    "another thread may use the connection now: ask the state whether it hasEnded()");
        }

        @Test
        void any_thread_may_close_a_lease() throws Exception {   // rejects: a lock held while a connection is leased
            var pool = pool(plain());
            var lease = borrow(pool);
            finish(asked(() -> close(lease)), "close() on another thread", "a lease is not bound to its borrower");
            checkIs(1, borrow(pool).get(), "the connection of the next borrow()", "close() must return it");
        }

        @Test
        void returned_connections_above_maxIdle_are_destroyed() throws Exception {
            var pool = pool(plain().withMaxIdle(2).withMaxTotal(9));
            List.of(borrow(pool), borrow(pool), borrow(pool)).forEach(ConnectionPoolTest::close);
            Check.equal("[#3]", lines.destroyed.toString(), "connections destroyed after #1, #2 and #3 were returned"
                    + " with maxIdle 2", "keep() returns false if idleLimit() slots are idle; throwAway() discards");
            Check.equal(2, pool.stats().idle(), "stats().idle()", "push() the slots that are kept");
            var none = pool(plain().withMaxIdle(0));
            close(borrow(none));
            Check.equal("[#3, #4]", lines.destroyed.toString(), "connections destroyed, after one more with maxIdle 0",
                    "with maxIdle 0 no connection is kept");
        }

        @Test
        void stats_count_slots_and_connections() throws Exception {
            var pool = pool(plain().withMaxIdle(1));
            checkStats(pool, 0, 0, 0, "of a new pool");
            var first = borrow(pool);
            var second = borrow(pool);
            checkStats(pool, 2, 0, 2, "when two are leased");
            close(first);
            checkStats(pool, 2, 1, 1, "when one is returned");
            close(second);
            checkStats(pool, 1, 1, 0, "when both are returned with maxIdle 1");
            close(borrow(pool));
            var stats = pool.stats();
            Check.equal("created 2, destroyed 1, reused 1", "created %d, destroyed %d, reused %d".formatted(
                    stats.created(), stats.destroyed(), stats.reused()), "the counters", "connect() counts created");
        }

        @Test
        void what_connect_throws_is_the_cause_of_an_ExecutionException() throws Exception {
            var pool = pool(plain());
            var causes = List.of(new ConnectException("Connection refused"), new IllegalArgumentException("no host"));
            for (var cause : causes) {
                lines.connecting = _ -> {
                    throw cause;
                };
                var thrown = Check.fails(ExecutionException.class, () -> pool.borrow(AT_ONCE), "borrow() when connect()"
                        + " throws " + cause, "wrap what connect() throws, checked or not");
                Check.equal(cause, thrown.getCause(), "the cause", "pass the exception on as the cause");
            }
            Check.equal(2L, pool.stats().connectFailures(), "stats().connectFailures()", "count each failure");
        }

        @Test
        void an_interrupt_while_connecting_is_an_InterruptedException() throws Exception {
            // rejects: one catch for everything; an interrupted channel that counts as a failed connect
            for (var hook : List.of(interruptedWait(), interruptedChannel())) {
                var pool = pool(plain());
                lines.connecting = hook;
                thrownBy(asked(() -> pool.borrow(AT_ONCE)), InterruptedException.class, "borrow() when its thread is "
                        + "interrupted in connect()", "call rethrowInterrupt() before you wrap the exception");
                Check.equal(0L, pool.stats().connectFailures(), "stats().connectFailures() after an interrupt",
                        "call rethrowInterrupt() before you count");
            }
        }

        @Test
        void an_invalid_factory_option_or_timeout_is_named() throws Exception {
            Check.named("factory", () -> new ConnectionPool<Line>(null, plain()));
            Check.named("options", () -> new ConnectionPool<>(lines, null));
            Check.named("maxTotal", () -> plain().withMaxTotal(0));
            Check.named("maxIdle", () -> plain().withMaxIdle(-1));
            Check.named("idleTtl", () -> plain().withIdleTtl(NANOSECOND.negated()));
            Check.named("nanoClock", () -> plain().withNanoClock(null));
            var pool = pool(plain());
            Check.named("timeout", () -> pool.borrow(null));
            Check.named("timeout", () -> pool.borrow(NANOSECOND.negated()));
            close(borrow(pool));
        }

        private void checkTwo(ConnectionPool.Lease<Line> first, ConnectionPool.Lease<Line> second, String likely) {
            Check.that(first.get() != second.get(), "two connections for two open leases, got " + first.get()
                    + " for both", likely);
        }

        private void checkStats(ConnectionPool<Line> pool, int total, int idle, int leased, String when) {
            var stats = pool.stats();
            Check.equal("total %d, idle %d, leased %d".formatted(total, idle, leased), "total %d, idle %d, leased %d"
                    .formatted(stats.total(), stats.idle(), stats.leased()), "stats() " + when,
                    "newSlot() and dropSlot() count: throwAway() must drop each slot that is not handed over, once");
        }
    }

    @Step(value = 2, title = "Limit the pool and queue fairly")
    class Limit_the_pool_and_queue_fairly {

        private static final String MEET = "look for the slot first: a waiter whose wait has ended may have been handed"
                + " one, and must return it or hand it over";

        @Test
        void at_most_maxTotal_connections_exist() throws Exception {
            // rejects: a limit of the idle ones; a count that is read and changed under two locks
            var pool = pool(plain().withMaxTotal(5));
            lines.connecting = _ -> Thread.yield();
            crowd(64, () -> {
                for (int i = 0; i < 30; i++) {
                    try (var lease = pool.borrow(Patience.duration())) {
                        lease.get().use();
                    }
                }
            });
            Check.that(lines.most() <= 5, "at most 5 connections for 64 threads with maxTotal 5, got " + lines.most(),
                    "hasRoom() compares total, not idle.size(), with maxTotal");
            var stats = pool.stats();
            Check.equal("leased 0, waiting 0", "leased %d, waiting %d".formatted(stats.leased(), stats.waiting()),
                    "stats() when all threads have ended", "a slot was lost, for example two returns went to one "
                    + "waiter: handOver() must remove the waiter from the queue, poll(), not peek()");
        }

        @Test
        void when_all_are_leased_borrow_waits_for_a_return() throws Exception {
            var pool = pool(plain().withMaxTotal(1));
            var lease = borrow(pool);
            var waiting = waiter(pool, 1);
            close(lease);
            checkIs(1, got(waiting).get(), "the connection of the waiter", "hand over the slot with its connection");
            Check.equal(1, lines.made.size(), "connections made", "the waiter gets the returned connection");
        }

        @Test
        void five_waiters_are_served_in_order() throws Exception {   // rejects: a stack of waiters, an unfair Semaphore
            var pool = pool(plain().withMaxTotal(1));
            var served = new CopyOnWriteArrayList<Integer>();
            var lease = borrow(pool);
            var waiting = new ArrayList<PendingCall<ConnectionPool.Lease<Line>>>();
            for (int i = 1; i <= 5; i++) {
                int number = i;
                waiting.add(asked(() -> {
                    var mine = pool.borrow(LONG);
                    served.add(number);
                    return mine;
                }));
                awaitQueue(pool, i, waiting.getLast());
                History.note("waiter " + i + " waits");
            }
            for (int i = 1; i <= 5; i++) {
                close(lease);
                int size = i;
                Await.until(() -> served.size() >= size, "that a return serves a waiter",
                        "handOver() must signal the turn of the waiter that it gives the slot");
                Check.equal(i, served.getLast(), "the number of the waiter that is served",
                        "serve the waiter that has waited longest: add at the end, poll() at the front");
                lease = got(waiting.get(i - 1));
            }
        }

        @Test
        void a_newcomer_does_not_overtake_a_waiter() throws Exception {
            // rejects: a return that only wakes a waiter; it then finds that a newcomer was faster
            var pool = pool(plain().withMaxTotal(1));
            var lease = borrow(pool);
            var waiting = waiter(pool, 1);
            withLock(pool, () -> {
                lease.close();
                Check.that(tried(pool).isEmpty(), "the returned connection to be the waiter's, but a newcomer got it",
                        "hand the slot over to the waiter under the lock; do not make it idle and wake the waiter");
            });
            checkIs(1, got(waiting).get(), "the connection of the waiter", "hand over the slot with its connection");
        }

        @Test
        void borrow_throws_PoolTimeoutException_when_its_timeout_has_elapsed() throws Exception {
            // rejects: a wait that is measured with nanoClock, which stands still here; a wait that ends early
            var pool = pool(plain().withMaxTotal(1));
            var lease = borrow(pool);
            var waiting = asked(() -> {
                long start = System.nanoTime();
                var thrown = Check.fails(ConnectionPool.PoolTimeoutException.class, () -> pool.borrow(
                        Duration.ofMillis(20)), "borrow(20 ms) when all are leased", "throw timedOut()");
                long micros = (System.nanoTime() - start) / 1000;
                Check.that(micros >= 20_000, "borrow(20 ms) to wait for 20,000 µs, got " + micros + " µs",
                        "wait on, until deadline.left() is 0 or less");
                return thrown.getMessage();
            });
            var message = finish(waiting, "borrow(20 ms) when all are leased",
                    "waits take real time: wait on your turn for at most deadline.left()");
            Check.that(message.contains("20 ms"), "a message that contains 20 ms, got " + message, "throw timedOut()");
            Check.equal("waiting 0, timeouts 1", "waiting %d, timeouts %d".formatted(pool.stats().waiting(),
                    pool.stats().timeouts()), "stats()", "leave the waiters in finally; timedOut() counts");
            close(lease);
            close(borrow(pool));
        }

        @Test
        void a_timeout_may_be_zero_a_nanosecond_or_centuries() throws Exception {   // rejects: milliseconds, overflow
            var pool = pool(plain().withMaxTotal(1));
            var lease = borrow(pool);
            for (var brief : List.of(AT_ONCE, NANOSECOND)) {
                thrownBy(asked(() -> pool.borrow(brief)), ConnectionPool.PoolTimeoutException.class, "borrow(" + brief
                        + ") when all are leased", "wait only while left is above 0, in nanoseconds");
            }
            for (var time : List.of(Duration.ofDays(365 * 200), Duration.ofSeconds(Long.MAX_VALUE))) {
                var waiting = asked(() -> pool.borrow(time));
                awaitQueue(pool, 1, waiting);
                close(lease);
                lease = got(waiting);
            }
            close(lease);
            checkIs(1, borrow(pool).get(), "the result of borrow(0) when one is idle", "zero takes what is idle");
        }

        @Test
        void a_waiter_whose_timeout_has_elapsed_leaves_the_queue() throws Exception {
            var pool = pool(plain().withMaxTotal(1));
            var lease = borrow(pool);
            var impatient = asked(() -> pool.borrow(Duration.ofMillis(20)));
            awaitQueue(pool, 1, impatient);
            var patient = asked(() -> pool.borrow(LONG));
            thrownBy(impatient, ConnectionPool.PoolTimeoutException.class, "borrow(20 ms)", "throw timedOut()");
            awaitQueue(pool, 1, patient);   // and no longer two
            close(lease);
            checkIs(1, got(patient).get(), "the connection of the second waiter",
                    "the first one has given up: leave the waiters in finally");
        }

        @Test
        void an_interrupt_ends_the_wait() throws Exception {
            var pool = pool(plain().withMaxTotal(1));
            var lease = borrow(pool);
            var waiting = waiter(pool, 1);
            waiting.thread().interrupt();
            thrownBy(waiting, InterruptedException.class, "an interrupted borrow()",
                    "do not swallow the InterruptedException");
            Check.equal(0, pool.stats().waiting(), "stats().waiting()", "leave the waiters in finally");
            close(lease);
            borrow(pool, "the slot went to a waiter that was interrupted: leave the waiters in finally");
        }

        @Test
        void a_slot_handed_over_while_its_waiter_is_interrupted_is_not_lost() throws Exception {
            var pool = pool(plain().withMaxTotal(1));
            var lease = borrow(pool);
            var waiting = asked(() -> {
                pool.borrow(LONG).close();
                return Thread.currentThread().isInterrupted();
            });
            awaitQueue(pool, 1, waiting);
            withLock(pool, () -> {
                waiting.thread().interrupt();
                awaitAtLock(pool, waiting);
                lease.close();
            });
            try {
                Check.that(finish(waiting, "borrow() after an interrupt and a return", MEET), "the interrupt status of "
                        + "a waiter that was interrupted and got a slot to be set, it is not",
                        "call Thread.currentThread().interrupt() when you keep the slot");
            } catch (InterruptedException e) {
                // Then the slot must have been handed over.
            }
            borrow(pool, MEET);
        }

        @Test
        void a_slot_handed_over_while_the_timeout_elapses_is_not_lost() throws Exception {
            // rejects: if (awaitNanos(left) <= 0) throw timedOut()
            var pool = pool(plain().withMaxTotal(1));
            boolean[] met = {false};
            for (int millis = 10; !met[0] && millis < 1000; millis *= 3) {   // longer on a slow machine
                var lease = borrow(pool, MEET);
                var timeout = Duration.ofMillis(millis);
                var waiting = asked(() -> pool.borrow(timeout));
                awaitQueue(pool, 1, waiting);
                withLock(pool, () -> {
                    if (pool.stats().waiting() == 1) {
                        awaitAtLock(pool, waiting);
                        lease.close();
                        met[0] = true;
                    }
                });
                lease.close();
                try {
                    finish(waiting, "borrow() after a timeout and a return", MEET).close();
                } catch (ConnectionPool.PoolTimeoutException e) {
                    // Then the slot must have been handed over.
                }
            }
            borrow(pool, MEET);
        }

        @Test
        void a_waiter_gets_a_connection_that_would_not_be_kept_idle() throws Exception {
            // rejects: maxIdle asked first
            var pool = pool(plain().withMaxTotal(1).withMaxIdle(0));
            var lease = borrow(pool);
            var waiting = waiter(pool, 1);
            close(lease);
            checkIs(1, got(waiting).get(), "the connection of the waiter, with maxIdle 0",
                    "in keep(), handOver() comes before the question for idleLimit()");
        }

        @Test
        void a_slot_is_released_after_destroy_has_returned() throws Exception {
            // rejects: a slot that is released first, so that for a moment one connection too many exists
            var pool = pool(plain().withMaxTotal(1).withMaxIdle(0));
            var gate = new Gate();
            lines.destroying = _ -> gate.pass();
            var lease = borrow(pool);
            var closing = asked(() -> close(lease));
            gate.awaitEntered(closing, "destroy() to be called for a connection above maxIdle");
            thrownBy(asked(() -> pool.borrow(AT_ONCE)), ConnectionPool.PoolTimeoutException.class,
                    "borrow(0) while destroy() runs", "discard() the connection first, then release its slot");
            var waiting = waiter(pool, 1);
            gate.close();
            checkIs(2, got(waiting).get(), "the connection of a waiter when destroy() has returned",
                    "hand over the empty slot, in which the waiter makes a connection");
            finish(closing, "close()", "");
        }
    }

    @Step(value = 3, title = "Validate before borrowing")
    class Validate_before_borrowing {

        {
            lines.step = 3;
        }

        @Test
        void an_idle_connection_is_checked_before_it_is_leased() throws Exception {
            var pool = pool(checked());
            close(borrow(pool));
            Check.equal("[]", lines.checked.toString(), "connections checked", "a new connection is not checked");
            borrow(pool);
            Check.equal("[#1]", lines.checked.toString(), "connections checked, with validateAfter zero",
                    "ask isHealthy() of the factory unless idleTime() is less than validateAfter: <, not <=");
        }

        @Test
        void an_unhealthy_connection_is_destroyed_and_the_next_idle_one_is_leased() throws Exception {
            var pool = pool(checked());
            List.of(borrow(pool), borrow(pool), borrow(pool)).forEach(ConnectionPoolTest::close);
            lines.healthy = line -> line.number != 3;
            checkIs(2, borrowInTime(pool).get(), "the connection that is leased when #3 is unhealthy",
                    "exchange() returns the next idle slot if there is one");
            Check.equal("[#3]", lines.destroyed.toString(), "connections destroyed", "destroy the unhealthy one only");
            Check.equal("total 2, unhealthy 1", "total %d, unhealthy %d".formatted(pool.stats().total(),
                    pool.stats().unhealthy()), "stats()", "exchange() drops the empty slot; isHealthy() counts");
        }

        @Test
        void when_all_idle_connections_are_unhealthy_a_new_one_is_made() throws Exception {
            var pool = pool(checked().withMaxTotal(3));
            List.of(borrow(pool), borrow(pool), borrow(pool)).forEach(ConnectionPoolTest::close);
            lines.healthy = line -> line.number > 3;
            checkIs(4, borrowInTime(pool).get(), "the connection that is leased when #1, #2 and #3 are unhealthy",
                    "exchange() returns the empty slot if none is idle");
            Check.equal(3L, pool.stats().unhealthy(), "stats().unhealthy()", "count each of them");
            borrow(pool, "the slots of two unhealthy connections are still taken: dropSlot() in exchange()");
            borrow(pool, "the slots of two unhealthy connections are still taken: dropSlot() in exchange()");
            Check.that(tried(pool).isEmpty(), "at most three connections with maxTotal 3, got a fourth",
                    "a slot was dropped twice");
        }

        @Test
        void a_check_that_throws_means_unhealthy() throws Exception {
            var pool = pool(checked());
            for (var failure : List.of(new IOException("no answer"), new IllegalStateException("out of step"))) {
                close(borrow(pool));
                lines.healthy = line -> {
                    throw failure;
                };
                checkIs(lines.made.size() + 1, borrowInTime(pool).get(), "the connection that is leased when the check "
                        + "of the idle one throws " + failure, "catch what isHealthy() throws");
                lines.healthy = _ -> true;
            }
            Check.equal(2L, pool.stats().unhealthy(), "stats().unhealthy()", "count a check that throws, too");
        }

        @Test
        void an_interrupt_during_a_check_is_an_InterruptedException() throws Exception {
            // rejects: an interrupt that counts as unhealthy, and then destroys one idle connection after the other
            for (var hook : List.of(interruptedWait(), interruptedChannel())) {
                var pool = pool(checked());
                List.of(borrow(pool), borrow(pool), borrow(pool)).forEach(ConnectionPoolTest::close);
                lines.healthy = line -> {
                    hook.on(line);
                    return true;
                };
                thrownBy(asked(() -> pool.borrow(LONG)), InterruptedException.class, "borrow() when its thread is "
                        + "interrupted in isHealthy()", "an interrupt is no answer: call rethrowInterrupt()");
                Check.equal("idle 2, unhealthy 0", "idle %d, unhealthy %d".formatted(pool.stats().idle(),
                        pool.stats().unhealthy()), "stats()", "an interrupt is no answer: call rethrowInterrupt()");
                lines.healthy = _ -> true;
            }
        }

        @Test
        void a_connection_is_checked_only_after_validateAfter() throws Exception {
            var pool = pool(plain().withValidateAfter(TEN_SECONDS));
            lines.healthy = _ -> false;
            close(borrow(pool));
            clock.advance(TEN_SECONDS.minus(NANOSECOND));
            checkIs(1, close(borrow(pool)), "the connection that is leased 9.999999999 s after its return, with "
                    + "validateAfter 10 s", "lease it without a check if it was idle for less than validateAfter");
            clock.advance(TEN_SECONDS.minus(NANOSECOND));
            checkIs(1, close(borrow(pool)), "the connection that is leased 9.999999999 s after its second return",
                    "the idle time starts again at each return: use idleTime()");
            clock.advance(TEN_SECONDS);
            checkIs(2, borrowInTime(pool).get(), "the connection that is leased when #1 is unhealthy and was idle for "
                    + "10 s", "an idle time that equals validateAfter has reached it: check the connection");
        }

        @Test
        void a_connection_handed_to_a_waiter_is_checked_too() throws Exception {
            // rejects: only idle ones are checked
            var pool = pool(checked().withMaxTotal(1));
            lines.healthy = _ -> false;
            var lease = borrow(pool);
            var first = waiter(pool, 1);
            var second = waiter(pool, 2);
            close(lease);
            lease = got(first);
            checkIs(2, lease.get(), "the connection of the first waiter when #1 is unhealthy",
                    "with validateAfter zero each connection is checked, also one that is handed over");
            close(lease);
            checkIs(3, got(second).get(), "the connection of the second waiter when #2 is unhealthy",
                    "with validateAfter zero each connection is checked, also one that is handed over");
        }

        @Test
        void a_slow_check_does_not_block_other_callers() throws Exception {
            var pool = pool(checked().withMaxTotal(2));
            var gate = new Gate();
            lines.healthy = line -> line.number > 1 || gate.pass();
            var other = borrow(pool);
            var lease = borrow(pool);
            close(other);
            var slow = asked(() -> pool.borrow(LONG));
            gate.awaitEntered(slow, "isHealthy() to be called for #1");
            var likely = "call isHealthy() without the lock";
            var stats = finish(asked(pool::stats), "stats() during a check", likely);
            Check.equal("idle 0, leased 2", "idle %d, leased %d".formatted(stats.idle(), stats.leased()),
                    "stats() during a check", "a connection that is being checked counts as leased");
            finish(asked(() -> close(lease)), "a return during a check", likely);
            checkIs(2, got(asked(() -> pool.borrow(LONG))).get(), "the connection of borrow() during a check", likely);
            gate.close();
            checkIs(1, got(slow).get(), "the connection that is leased after the check", "it is healthy: lease it");
        }

        @Test
        void no_further_check_begins_after_the_timeout() throws Exception {
            // rejects: a borrow(1 s) that checks ten dead connections for one second each
            var pool = pool(checked().withMaxTotal(3));
            List.of(borrow(pool), borrow(pool), borrow(pool)).forEach(ConnectionPoolTest::close);
            lines.healthy = line -> {
                long end = System.nanoTime() + 5_000_000;   // longer than the timeout
                while (System.nanoTime() - end < 0) {
                    TimeUnit.NANOSECONDS.sleep(end - System.nanoTime());   // a slow check
                }
                return false;
            };
            var lease = pool.borrow(Duration.ofMillis(4));
            held.add(lease);
            Check.equal("[#3]", lines.checked.toString(), "connections checked by borrow(4 ms) when a check takes 5 ms",
                    "exchange() must look at deadline.left() before it returns another idle slot");
            checkIs(4, lease.get(), "the connection that is leased", "make a new connection in the empty slot");
            Check.equal(2, pool.stats().idle(), "stats().idle()", "the other two connections stay idle");
        }

        @Test
        void a_quiet_TCP_connection_is_reused_unchanged() throws Exception {
            // rejects: a probe that leaves the channel non-blocking, leaves a timeout, or waits for a byte
            var server = new Server();
            var pool = tcpPool(server);
            var lease = pool.borrow(AT_ONCE);
            var channel = lease.get();
            var peer = server.accept();
            lease.close();
            var again = finish(asked(() -> pool.borrow(LONG)), "borrow()", "the probe must not wait for a byte");
            held.add(again);
            Check.equal(channel, again.get(), "the channel that is leased", "a read that returns 0 means healthy");
            Check.that(channel.isBlocking(), "a blocking channel after the probe, it is non-blocking",
                    "configureBlocking(true) in finally");
            Check.equal(0, channel.socket().getSoTimeout(), "SO_TIMEOUT after the probe",
                    "leave the socket's options as they were");
            peer.getOutputStream().write("hi".getBytes());
            var in = channel.socket().getInputStream();
            Check.equal("hi", finish(asked(() -> new String(in.readNBytes(2))), "a read", "the peer has sent 2 bytes"),
                    "what the borrower reads", "a connection that the probe calls healthy must not lose a byte to it");
        }

        @Test
        void a_TCP_connection_that_the_peer_closed_or_sent_a_byte_on_is_replaced() throws Exception {
            // rejects: isConnected(), isClosed(), isOpen(); a probe for which only -1 is unhealthy
            for (boolean closes : List.of(true, false)) {
                var server = new Server();
                var pool = tcpPool(server);
                var lease = pool.borrow(AT_ONCE);
                var channel = lease.get();
                var peer = server.accept();
                if (closes) {
                    peer.close();
                } else {
                    peer.getOutputStream().write('?');
                }
                lease.close();
                var likely = closes ? "only a read tells that the peer has closed: it returns -1"
                        : "an unrequested byte would be read as part of the next answer: a read of 1 means unhealthy";
                Await.until(() -> {   // what the peer did has to arrive first
                    try (var next = pool.borrow(Patience.duration())) {
                        return next.get() != channel;
                    } catch (Exception e) {
                        throw History.fail("expected another connection from borrow(), got " + e, likely);
                    }
                }, "another connection from borrow() after the peer " + (closes ? "closed" : "sent a byte"), likely);
                Check.that(!channel.isOpen(), "the old channel to be closed, it is open", "destroy it");
            }
        }

        private ConnectionPool.Options checked() {
            return plain().withValidateAfter(Duration.ZERO);
        }

        private ConnectionPool<SocketChannel> tcpPool(Server server) {
            return closeLater(new ConnectionPool<>(closedInTheEnd(ConnectionPool.tcp(server.address(), LONG)),
                    checked().withMaxTotal(1)));
        }
    }

    @Step(value = 4, title = "Free the slot on failure", further = true)
    class Free_the_slot_on_failure {

        {
            lines.step = 4;
        }

        @Test
        void a_failed_connect_releases_its_slot() throws Exception {
            var pool = pool(plain().withMaxTotal(2));
            lines.connecting = _ -> {
                throw new ConnectException("Connection refused");
            };
            for (int i = 0; i < 10; i++) {
                Check.fails(ExecutionException.class, () -> pool.borrow(AT_ONCE), "borrow() when connect() fails",
                        "the slot of an earlier failure is still taken: giveUp() must release an empty slot, too");
            }
            lines.connecting = _ -> {};
            borrow(pool);
            borrow(pool);
            Check.that(tried(pool).isEmpty(), "at most two connections with maxTotal 2, got a third",
                    "a failure released its slot twice");
        }

        @Test
        void an_Error_releases_its_slot() throws Exception {   // rejects: catch (Exception e)
            var pool = pool(plain().withMaxTotal(1).withValidateAfter(Duration.ZERO));
            lines.connecting = _ -> {
                throw new LinkageError("no TLS here");
            };
            Check.fails(LinkageError.class, () -> pool.borrow(AT_ONCE), "borrow() when connect() throws a LinkageError",
                    "do not catch Errors");
            lines.connecting = _ -> {};
            close(borrow(pool, "an Error of connect() must release the slot"));
            lines.healthy = _ -> {
                throw new LinkageError("no TLS here");
            };
            Check.fails(LinkageError.class, () -> pool.borrow(AT_ONCE), "borrow() when isHealthy() throws a "
                    + "LinkageError", "do not catch Errors");
            Check.equal("[#2]", lines.destroyed.toString(), "connections destroyed after isHealthy() threw a "
                    + "LinkageError", "giveUp() must destroy the connection of the slot");
            borrow(pool, "an Error of isHealthy() must release the slot");
        }

        @Test
        void an_interrupt_in_connect_or_isHealthy_releases_the_slot() throws Exception {
            var pool = pool(plain().withMaxTotal(1).withValidateAfter(Duration.ZERO));
            lines.connecting = interruptedChannel();
            thrownBy(asked(() -> pool.borrow(AT_ONCE)), InterruptedException.class, "borrow() when its thread is "
                    + "interrupted in connect()", "call rethrowInterrupt()");
            lines.connecting = _ -> {};
            close(borrow(pool, "an interrupt in connect() must release the slot"));
            lines.healthy = _ -> {
                throw new InterruptedException();
            };
            thrownBy(asked(() -> pool.borrow(AT_ONCE)), InterruptedException.class, "borrow() when its thread is "
                    + "interrupted in isHealthy()", "call rethrowInterrupt()");
            Check.equal("[#2]", lines.destroyed.toString(), "connections destroyed after an interrupted check",
                    "the state of a connection after half a check is unknown: giveUp() must destroy it");
            borrow(pool, "an interrupt in isHealthy() must release the slot");
        }

        @Test
        void a_slow_connect_does_not_block_other_callers() throws Exception {
            var pool = pool(plain().withMaxTotal(2));
            var gate = new Gate();
            lines.connecting = line -> {
                if (line.number == 2) {
                    gate.pass();
                }
            };
            var lease = borrow(pool);
            var slow = asked(() -> pool.borrow(LONG));
            gate.awaitEntered(slow, "connect() to be called by the second borrow()");
            var likely = "call connect() without the lock";
            finish(asked(() -> close(lease)), "a return during a connect()", likely);
            checkIs(1, got(asked(() -> pool.borrow(LONG))).get(), "the connection of a borrow() during a connect()",
                    likely);
            Check.equal(2, finish(asked(pool::stats), "stats() during a connect()", likely).leased(),
                    "stats().leased() during a connect()", "take a slot before you connect");
            Check.that(finish(asked(() -> tried(pool)), "borrow(0) during a connect()", likely).isEmpty(),
                    "at most two connections with maxTotal 2, got a third", "take a slot before you connect");
            gate.close();
            got(slow);
        }

        @Test
        void a_waiter_behind_a_failing_connect_makes_its_own_connection() throws Exception {
            var pool = pool(plain().withMaxTotal(1));
            var gate = new Gate();
            lines.connecting = line -> {
                if (line.number == 1) {
                    gate.pass();
                    throw new ConnectException("Connection refused");
                }
            };
            var failing = asked(() -> pool.borrow(LONG));
            gate.awaitEntered(failing, "connect() to be called by the first borrow()");
            var waiting = waiter(pool, 1);
            gate.close();
            thrownBy(failing, ExecutionException.class, "the borrow() whose connect() fails", "");
            checkIs(2, got(waiting).get(), "the connection of the waiter", "hand over the empty slot");
        }

        @Test
        void invalidate_destroys_the_connection_once() throws Exception {
            var pool = pool(plain());
            var lease = borrow(pool);
            lease.invalidate();
            lease.invalidate();
            close(lease);
            Check.equal("[#1]", lines.destroyed.toString(), "connections destroyed by invalidate(), invalidate() and "
                    + "close()", "only the call that is the end() of the state counts");
            Check.fails(IllegalStateException.class, lease::get, "get() after invalidate()", "the lease has ended");
            var next = borrow(pool);
            checkIs(2, next.get(), "the connection of the next borrow()", "throwAway() the slot of the state");
            close(next);
            next.invalidate();
            Check.equal("[#1]", lines.destroyed.toString(), "connections destroyed, after a close() and an invalidate()"
                    + " of the second lease", "only the call that is the end() of the state counts");
        }

        @Test
        void invalidate_gives_the_slot_to_a_waiter() throws Exception {
            var pool = pool(plain().withMaxTotal(1));
            var lease = borrow(pool);
            var waiting = waiter(pool, 1);
            lease.invalidate();
            checkIs(2, got(waiting).get(), "the connection of the waiter", "throwAway() hands over the empty slot");
        }

        @Test
        void a_returned_connection_is_reset_before_it_is_leased_again() throws Exception {
            var pool = pool(plain().withMaxTotal(1));
            for (int i = 1; i <= 2; i++) {
                var lease = borrow(pool);
                Check.equal(0, lease.get().dirt, "changes of the last borrower that the next one finds",
                        "let the factory reset() a returned connection");
                lease.get().dirt++;
                var waiting = waiter(pool, 1);
                close(lease);
                var mine = got(waiting);
                Check.equal(0, mine.get().dirt, "changes of the last borrower that a waiter finds",
                        "reset() the connection before you hand it over");
                mine.get().dirt++;
                close(mine);
            }
        }

        @Test
        void a_connection_that_cannot_be_reset_is_destroyed() throws Exception {
            var pool = pool(plain().withMaxTotal(1));
            lines.resetting = line -> {
                throw line.number == 1 ? new IOException("no answer") : new IllegalStateException("out of step");
            };
            var lease = borrow(pool);
            for (int i = 1; i <= 2; i++) {
                var waiting = waiter(pool, 1);
                try {
                    close(lease);
                } catch (Exception e) {
                    throw History.fail("expected close() to throw nothing when reset() fails, got " + e,
                            "catch what reset() throws, checked or not");
                }
                lease = got(waiting);
                Check.equal(i, lines.destroyed.size(), "connections destroyed when reset() has thrown",
                        "return false from reset()");
                checkIs(i + 1, lease.get(), "the connection of the waiter", "hand over the empty slot");
            }
        }

        @Test
        void an_interrupt_during_reset_is_kept_in_the_interrupt_status() throws Exception {
            for (var hook : List.of(interruptedWait(), interruptedChannel())) {
                var pool = pool(plain().withMaxTotal(1));
                lines.resetting = hook;
                var lease = borrow(pool);
                int destroyed = lines.destroyed.size();
                var closing = asked(() -> {
                    lease.close();
                    return Thread.currentThread().isInterrupted();
                });
                Check.that(finish(closing, "close()", ""), "the interrupt status to be set after close() when reset() "
                        + "was interrupted, it is not", "call keepInterrupt() with what reset() has thrown");
                Check.equal(destroyed + 1, lines.destroyed.size(), "connections destroyed", "reset() returns false");
                lines.resetting = _ -> {};
                borrow(pool, "the slot of a connection that could not be reset is still taken");
            }
        }

        @Test
        void after_many_failures_no_slot_is_lost() throws Exception {
            var pool = pool(plain().withMaxTotal(5).withMaxIdle(3).withValidateAfter(Duration.ZERO));
            var calls = new AtomicInteger();
            lines.connecting = _ -> failOnce(calls, 3);
            lines.healthy = _ -> calls.incrementAndGet() % 4 > 0;
            lines.resetting = _ -> failOnce(calls, 5);
            lines.destroying = _ -> {
                Thread.yield();
                throw new IOException("it is closed already");
            };
            crowd(32, () -> {
                for (int i = 0; i < 40; i++) {
                    try (var lease = pool.borrow(Patience.duration())) {
                        lease.get().use();
                        if (i % 7 == 0) {
                            lease.invalidate();
                        }
                    } catch (ExecutionException e) {
                        // A connect has failed.
                    }
                }
            });
            Check.that(lines.most() <= 5, "at most 5 connections with maxTotal 5, got " + lines.most(),
                    "a slot was released twice, or before its connection was destroyed");
            var stats = pool.stats();
            Check.equal(stats.idle(), stats.total(), "stats().total() when nothing is leased and " + stats.idle()
                    + " are idle", stats.total() > stats.idle() ? "a way out of borrow() or of a lease keeps its slot"
                    : "a slot was released twice");
            Check.equal((long) stats.total(), stats.created() - stats.destroyed(), "created - destroyed",
                    "a slot was released without discard()");
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

        {
            lines.step = 4;
        }

        @Test
        void a_limit_of_zero_or_of_more_than_292_years_is_never_reached() throws Exception {
            // rejects: zero that expires at once; toNanos(), which throws
            for (var limit : List.of(Duration.ZERO, Duration.ofSeconds(Long.MAX_VALUE))) {
                var pool = pool(ageless().withIdleTtl(limit).withMaxLifetime(limit));
                close(borrow(pool));
                clock.advance(Duration.ofDays(365 * 100));
                int number = lines.made.size();
                checkIs(number, borrow(pool).get(), "the connection that is leased after a century, with limits of "
                        + limit, "zero means no limit; nanos() does not overflow, toNanos() does");
            }
        }

        @Test
        void a_connection_idle_for_idleTtl_is_not_leased() throws Exception {
            var pool = pool(ageless().withIdleTtl(TEN_SECONDS));
            close(borrow(pool));
            clock.advance(TEN_SECONDS.minus(NANOSECOND));
            checkIs(1, close(borrow(pool)), "the connection that is leased after 9.999999999 s, with idleTtl 10 s",
                    "it was idle for less than idleTtl");
            clock.advance(TEN_SECONDS);
            checkIs(2, close(borrow(pool)), "the connection that is leased when #1 was idle for 10 s",
                    "an age that equals its limit has reached it: >=, not >");
            Check.equal("[#1]", lines.destroyed.toString(), "connections destroyed", "");
            Check.equal(0L, pool.stats().unhealthy(), "stats().unhealthy()", "an expired connection is not checked");
        }

        @Test
        void a_connection_made_maxLifetime_ago_is_not_leased() throws Exception {
            var pool = pool(ageless().withMaxLifetime(TEN_SECONDS));
            close(borrow(pool));
            clock.advance(TEN_SECONDS.minus(NANOSECOND));
            checkIs(1, close(borrow(pool)), "the connection that is leased after 9.999999999 s, with maxLifetime 10 s",
                    "it has existed for less than maxLifetime");
            clock.advance(NANOSECOND);
            checkIs(2, borrow(pool).get(), "the connection that is leased when #1 was made 10 s ago",
                    "the lifetime starts with connect() and never again: use madeAt");
        }

        @Test
        void a_connection_returned_after_maxLifetime_is_destroyed() throws Exception {
            var pool = pool(ageless().withMaxLifetime(TEN_SECONDS).withMaxTotal(1));
            var lease = borrow(pool);
            clock.advance(TEN_SECONDS);
            checkIs(1, lease.get(), "get() after maxLifetime", "a leased connection stays usable");
            var waiting = waiter(pool, 1);
            close(lease);
            Check.equal("[#1]", lines.destroyed.toString(), "connections destroyed", "compare madeAt with maxLifetime");
            checkIs(2, got(waiting).get(), "the connection of the waiter", "hand over the empty slot");
        }

        @Test
        void the_time_of_a_lease_is_not_idle_time() throws Exception {   // rejects: idle time since the return before
            var pool = pool(ageless().withIdleTtl(TEN_SECONDS));
            close(borrow(pool));
            var lease = borrow(pool);
            clock.advance(LONG);
            close(lease);
            Check.equal("[]", lines.destroyed.toString(), "connections destroyed after a lease of 1 min, with idleTtl "
                    + "10 s", "use idleTime(), which starts at the return");
            clock.advance(TEN_SECONDS.minus(NANOSECOND));
            checkIs(1, borrow(pool).get(), "the connection that is leased 9.999999999 s later",
                    "use idleTime(), which starts at the return");
        }

        @Test
        void the_clock_may_overflow() throws Exception {   // rejects: now >= since + limit
            var pool = pool(ageless().withIdleTtl(TEN_SECONDS).withMaxLifetime(LONG));
            clock.advance(Duration.ofNanos(Long.MAX_VALUE - clock.getAsLong() - TEN_SECONDS.toNanos() / 2));
            var likely = "compare the difference of two times with the limit";
            close(borrow(pool));
            clock.advance(TEN_SECONDS.minus(NANOSECOND));
            checkIs(1, close(borrow(pool)), "the connection that is leased after 9.999999999 s, when nanoClock went "
                    + "from Long.MAX_VALUE to Long.MIN_VALUE", likely);
            clock.advance(TEN_SECONDS);
            checkIs(2, borrow(pool).get(), "the connection that is leased when #1 was idle for 10 s", likely);
        }

        @Test
        void evict_destroys_expired_idle_connections() throws Exception {
            var pool = pool(ageless().withIdleTtl(TEN_SECONDS).withMaxLifetime(LONG));
            var leased = borrow(pool);
            List.of(borrow(pool), borrow(pool), borrow(pool)).forEach(ConnectionPoolTest::close);
            clock.advance(TEN_SECONDS.minus(NANOSECOND));
            Check.equal(0, pool.evict(), "evict() after 9.999999999 s, with idleTtl 10 s", "none has expired");
            checkIs(4, close(borrow(pool)), "the connection that is leased then", "");
            clock.advance(NANOSECOND);
            Check.equal(2, pool.evict(), "evict() when two of three were idle for 10 s", "both have expired");
            Check.equal(2, lines.destroyed.size(), "connections destroyed", "");
            clock.advance(LONG);
            Check.equal(1, pool.evict(), "evict() when one is idle and one is leased for more than a minute",
                    "evict() asks isExpired() for the idle slots only");
            checkIs(1, leased.get(), "get() of the open lease", "");
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

        {
            lines.step = 4;
        }

        @Test
        void a_lease_open_for_leakAfter_is_reported_unless_that_is_zero() throws Exception {
            var pool = pool(plain().withLeakAfter(TEN_SECONDS));
            borrow(pool);
            clock.advance(TEN_SECONDS.minus(NANOSECOND));
            Check.equal(List.of(), pool.leaks(), "leaks() after 9.999999999 s, with leakAfter 10 s",
                    "leave out the leases that are younger than leakAfter");
            clock.advance(NANOSECOND);
            Check.equal(TEN_SECONDS, only(pool.leaks()).heldFor(), "heldFor()", "its age by nanoClock");
            var silent = pool(plain().withLeakAfter(Duration.ZERO));
            borrow(silent);
            clock.advance(LONG);
            Check.equal(List.of(), silent.leaks(), "leaks() with leakAfter zero",
                    "add the state to tracked only if leakAfter is not zero");
        }

        @Test
        void the_report_names_the_caller_and_the_thread_of_borrow() throws Exception {
            // rejects: the stack of the thread that asks for the report
            for (var name : List.of("worker-7", "")) {
                var pool = pool(plain().withLeakAfter(TEN_SECONDS));
                var borrower = asked(() -> {
                    Thread.currentThread().setName(name);
                    return careless(pool);
                });
                var lease = got(borrower);
                clock.advance(TEN_SECONDS);
                var leak = only(pool.leaks());
                Check.equal(name.isEmpty() ? "thread #" + borrower.thread().threadId() : name, leak.thread(),
                        "thread() for a virtual thread named \"" + name + "\"", "report() of the state names it");
                Check.that(!leak.borrowedAt().isEmpty() && leak.borrowedAt().getFirst().getMethodName().equals(
                        "careless"), "borrowedAt() to begin with the method careless, got " + leak.borrowedAt(),
                        "set state.stack to a new Throwable() in track()");
                close(lease);
            }
        }

        @Test
        void the_oldest_lease_comes_first() throws Exception {
            var pool = pool(plain().withLeakAfter(TEN_SECONDS));
            for (int i = 0; i < 8; i++) {
                borrow(pool);
                clock.advance(Duration.ofSeconds(2));
            }
            Check.equal(List.of(16L, 14L, 12L, 10L), pool.leaks().stream().map(l -> l.heldFor().toSeconds()).toList(),
                    "heldFor() of all leaks() in seconds", "sort by age, and leave out leases younger than leakAfter");
        }

        @Test
        void an_ended_lease_is_not_reported() throws Exception {
            var pool = pool(plain().withLeakAfter(TEN_SECONDS));
            var closed = borrow(pool);
            var invalidated = borrow(pool);
            clock.advance(TEN_SECONDS);
            close(closed);
            invalidated.invalidate();
            Check.equal(List.of(), pool.leaks(), "leaks() when all leases have ended",
                    "untrack() must remove the state from tracked");
        }

        @Test
        void a_dropped_lease_is_reclaimed_and_its_slot_released() throws Exception {
            // rejects: a cleaning action, or a collection, that refers to the lease
            for (var leakAfter : List.of(TEN_SECONDS, Duration.ZERO)) {
                var pool = pool(plain().withMaxTotal(1).withLeakAfter(leakAfter));
                int destroyed = lines.destroyed.size();
                int made = lines.made.size();
                careless(pool);
                var waiting = waiter(pool, 1);
                collect(pool, 1, leakAfter);
                var lease = got(waiting);
                checkIs(made + 2, lease.get(), "the connection of the waiter",
                        "the state of a dropped connection is unknown: destroy it, do not keep it");
                Check.equal(destroyed + 1, lines.destroyed.size(), "connections destroyed", "throwAway() the slot");
                close(lease);
                clock.advance(TEN_SECONDS);
                Check.equal(List.of(), pool.leaks(), "leaks() 10 s after the lease was reclaimed",
                        "reclaim() must remove the state from tracked");
            }
        }

        @Test
        void an_open_or_ended_lease_is_not_reclaimed() throws Exception {   // rejects: an action that asks nothing
            var pool = pool(plain().withMaxIdle(1));
            var used = borrow(pool);
            close(careless(pool));
            var second = borrow(pool);           // the connection of the lease that was closed and dropped
            careless(pool).invalidate();
            careless(pool);
            collect(pool, 1, Duration.ZERO);
            careless(pool);
            collect(pool, 2, Duration.ZERO);     // now the cleaning of all that was garbage before has ended
            Check.equal(2L, pool.stats().reclaimed(), "stats().reclaimed() when two leases were dropped open",
                    "a lease that has ended must not be reclaimed: ask end()");
            checkIs(1, used.get(), "get() of a lease in use", "only a lease that is garbage may be reclaimed");
            checkIs(2, second.get(), "get() of the second lease of #2", "the first lease of #2 was closed: ask end()");
            Await.until(() -> lines.destroyed.size() >= 3, "three connections to be destroyed, one invalidated and two "
                    + "reclaimed", "throwAway() the slot in reclaim()");
            Check.that(!lines.destroyed.contains(used.get()) && !lines.destroyed.contains(second.get()),
                    "the connections of open leases not to be destroyed, but destroyed are " + lines.destroyed,
                    "a lease that has ended must not be reclaimed: ask end()");
        }

        /** The caller drops the lease that it gets from this method. */
        private ConnectionPool.Lease<Line> careless(ConnectionPool<Line> pool) throws Exception {
            return pool.borrow(AT_ONCE);
        }

        private ConnectionPool.Leak only(List<ConnectionPool.Leak> leaks) {
            Check.equal(1, leaks.size(), "leases that leaks() reports", "add the state to tracked when leakAfter is not"
                    + " zero, and report those that are old enough");
            return leaks.getFirst();
        }

        private void collect(ConnectionPool<Line> pool, int leases, Duration leakAfter) throws InterruptedException {
            History.note("a lease is dropped, leakAfter is " + leakAfter + "; garbage collection");
            var looks = new AtomicInteger();
            Await.until(() -> {
                // One collection is mostly enough, but then the Cleaner's thread needs a moment.
                if (looks.getAndIncrement() % 50 == 0) {
                    System.gc();
                }
                return pool.stats().reclaimed() >= leases;
            }, "stats().reclaimed() to become " + leases, "register the lease with the CLEANER also when leakAfter is "
                    + "zero, or: the registered action or a collection of the pool refers to the lease, and may only "
                    + "refer to its state");
        }
    }

    @Step(value = 7, title = "Close the pool", further = true)
    class Close_the_pool {

        {
            lines.step = 4;
        }

        @Test
        void close_ends_the_wait_of_all_waiters() throws Exception {   // rejects: signal() for one of them
            var pool = pool(plain().withMaxTotal(1));
            var lease = borrow(pool);
            var waiting = new ArrayList<PendingCall<ConnectionPool.Lease<Line>>>();
            for (int i = 1; i <= 10; i++) {
                waiting.add(waiter(pool, i));
            }
            pool.close();
            for (int i = 1; i <= 10; i++) {
                thrownBy(waiting.get(i - 1), ConnectionPool.PoolClosedException.class, "the borrow() of waiter " + i
                        + " of 10", "set closed and signal the turn of each waiter, under one lock; "
                        + "awaitTurn() without a slot throws timedOut()");
            }
            Check.equal(0, pool.stats().waiting(), "stats().waiting()", "remove all waiters");
            close(lease);
            checkAllDestroyed(pool);
        }

        @Test
        void close_destroys_idle_connections_once_and_ends_borrowing() throws Exception {
            var pool = pool(plain());
            List.of(borrow(pool), borrow(pool), borrow(pool)).forEach(ConnectionPoolTest::close);
            pool.close();
            pool.close();
            lines.checkFaults();
            Check.equal(3, lines.destroyed.size(), "connections destroyed by close(), called twice",
                    "take all idle slots under the lock, then throwAway() each of them");
            Check.fails(ConnectionPool.PoolClosedException.class, () -> pool.borrow(AT_ONCE), "borrow() after close()",
                    "set closed");
            Check.equal(3, lines.made.size(), "connections made", "a closed pool makes no connection");
            checkAllDestroyed(pool);
        }

        @Test
        void a_leased_connection_stays_usable_and_is_destroyed_when_it_is_returned() throws Exception {
            var pool = pool(plain());
            var closed = borrow(pool);
            var invalidated = borrow(pool);
            pool.close();
            checkIs(1, closed.get(), "get() when the pool is closed", "leases stay open");
            Check.equal("[]", lines.destroyed.toString(), "connections destroyed by close()", "leases stay open");
            close(closed);
            close(closed);
            Check.equal("[#1]", lines.destroyed.toString(), "connections destroyed when #1 was returned",
                    "idleLimit() of a closed pool is 0");
            invalidated.invalidate();
            checkAllDestroyed(pool);
        }

        @Test
        void a_borrower_that_is_connecting_gets_PoolClosedException() throws Exception {
            var pool = pool(plain());
            var gate = new Gate();
            lines.connecting = _ -> gate.pass();
            var connecting = asked(() -> pool.borrow(LONG));
            gate.awaitEntered(connecting, "connect() to be called");
            Check.equal(false, finish(asked(() -> pool.shutdown(AT_ONCE)), "shutdown(0) during a connect()", ""),
                    "shutdown(0) during a connect()", "its slot exists: total is not 0");
            gate.close();
            thrownBy(connecting, ConnectionPool.PoolClosedException.class,
                    "the borrow() that was connecting during shutdown()", "set closed");
            checkAllDestroyed(pool);
        }

        @Test
        void a_borrow_that_meets_close_makes_no_connection() throws Exception {
            // rejects: a look at closed before the lock is held
            var pool = pool(plain());
            close(borrow(pool));
            var meeting = new ArrayList<PendingCall<ConnectionPool.Lease<Line>>>();
            withLock(pool, () -> {
                meeting.add(asked(() -> pool.borrow(LONG)));
                awaitAtLock(pool, meeting.getFirst());
                pool.close();
            });
            thrownBy(meeting.getFirst(), ConnectionPool.PoolClosedException.class,
                    "a borrow() that waits for the lock while the pool is closed", "take all idle slots in shut()");
            Check.equal(1, lines.made.size(), "connections made", "a closed pool makes no connection");
            checkAllDestroyed(pool);
        }

        @Test
        void a_return_that_meets_close_destroys_its_connection() throws Exception {
            // rejects: a look at closed before the lock is held
            var pool = pool(plain());
            var lease = borrow(pool);
            var meeting = new ArrayList<PendingCall<Line>>();
            withLock(pool, () -> {
                meeting.add(asked(() -> close(lease)));
                awaitAtLock(pool, meeting.getFirst());
                pool.close();
            });
            finish(meeting.getFirst(), "a close() that waits for the lock while the pool is closed", "");
            checkAllDestroyed(pool);
        }

        @Test
        void shutdown_waits_until_all_connections_are_returned() throws Exception {
            // rejects: signal() for one of two
            var pool = pool(plain());
            var first = borrow(pool);
            var second = borrow(pool);
            close(borrow(pool));
            var stopping = List.of(asked(() -> pool.shutdown(LONG)), asked(() -> pool.shutdown(LONG)));
            Await.until(() -> lines.destroyed.size() == 1, "shutdown() to destroy the idle connection",
                    "throwAway() the idle slots in shut(), before you wait");
            for (var each : stopping) {
                each.awaitWaiting();
            }
            close(first);
            for (var each : stopping) {
                each.awaitWaiting();
                Check.that(!each.outcome().isDone(), "shutdown() to wait for the second return, it has returned",
                        "wait while total is above 0");
            }
            close(second);
            for (var each : stopping) {
                Check.equal(true, finish(each, "shutdown() after the last return", "wait on the condition allFree"),
                        "shutdown() after the last return", "return whether total is 0");
            }
            checkAllDestroyed(pool);
        }

        @Test
        void shutdown_returns_false_when_its_grace_has_elapsed() throws Exception {
            var pool = pool(plain());
            var lease = borrow(pool);
            Check.equal(false, finish(asked(() -> pool.shutdown(AT_ONCE)), "shutdown(0)", "zero does not wait"),
                    "shutdown(0) when one is leased", "return whether total is 0");
            var stopping = asked(() -> {
                long start = System.nanoTime();
                boolean all = pool.shutdown(Duration.ofMillis(20));
                long micros = (System.nanoTime() - start) / 1000;
                Check.that(micros >= 20_000, "shutdown(20 ms) to wait for 20,000 µs, got " + micros + " µs",
                        "wait on, until deadline.left() is 0 or less");
                return all;
            });
            Check.equal(false, finish(stopping, "shutdown(20 ms) when one is leased", "wait for at most "
                    + "deadline.left()"), "shutdown(20 ms) when one is leased", "return whether total is 0");
            close(lease);
            Check.equal(true, pool.shutdown(AT_ONCE), "shutdown(0) after the last return", "return whether total is 0");
            Check.named("grace", () -> pool.shutdown(NANOSECOND.negated()));
        }

        @Test
        void an_interrupt_ends_shutdown_and_the_pool_is_closed() throws Exception {
            var pool = pool(plain());
            var lease = borrow(pool);
            var stopping = asked(() -> pool.shutdown(LONG));
            stopping.awaitWaiting();
            stopping.thread().interrupt();
            thrownBy(stopping, InterruptedException.class, "an interrupted shutdown()",
                    "do not swallow the InterruptedException");
            Check.fails(ConnectionPool.PoolClosedException.class, () -> pool.borrow(AT_ONCE), "borrow() after that",
                    "set closed");
            close(lease);
        }

        @Test
        void after_close_under_load_every_connection_is_destroyed() throws Exception {
            for (int round = 0; round < 3; round++) {
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
                        // That is how it ends.
                    }
                });
                finish(closing, "close()", "");
                checkAllDestroyed(pool);
            }
        }

        private void checkAllDestroyed(ConnectionPool<Line> pool) {
            Check.equal(lines.made.size(), lines.destroyed.size(), "connections destroyed in the end, of "
                    + lines.made.size() + " made", "keep() asks idleLimit() while it holds the lock, so that a closed "
                    + "pool keeps no connection; awaitTurn() throws nothing when it has a slot");
            Check.equal(0, pool.stats().total(), "stats().total() in the end", "throwAway() the slots, do not only "
                    + "discard() them");
        }
    }

    // What the tests are made of.

    private ConnectionPool.Options plain() {
        return ConnectionPool.Options.defaults().withNanoClock(clock);
    }

    private ConnectionPool<Line> pool(ConnectionPool.Options options) {
        closeLater(lines);
        var pool = new ConnectionPool<>(lines, options);
        lines.lock = pool.lock;
        AutoCloseable end = () -> {
            lines.lock = new ReentrantLock();   // how it closes is for step 7
            pool.close();
        };
        closeLater(end);
        return pool;
    }

    /** From a pool that can lease a connection without waiting. */
    private ConnectionPool.Lease<Line> borrow(ConnectionPool<Line> pool) throws Exception {
        return borrow(pool, "one is idle, or there is room: a slot was lost, or hasRoom() is wrong");
    }

    private ConnectionPool.Lease<Line> borrow(ConnectionPool<Line> pool, String likely) throws Exception {
        try {
            return noted(pool.borrow(AT_ONCE));
        } catch (ConnectionPool.PoolTimeoutException e) {
            throw History.fail("expected a connection from borrow(0), got\n  " + e.getMessage(), likely);
        }
    }

    /** From a pool that may have to check several connections before it leases one. */
    private ConnectionPool.Lease<Line> borrowInTime(ConnectionPool<Line> pool) throws Exception {
        return noted(pool.borrow(Patience.duration()));
    }

    /** Empty where borrow(0) has no connection. */
    private Optional<ConnectionPool.Lease<Line>> tried(ConnectionPool<Line> pool) throws Exception {
        try {
            return Optional.of(noted(pool.borrow(AT_ONCE)));
        } catch (ConnectionPool.PoolTimeoutException e) {
            return Optional.empty();
        }
    }

    private ConnectionPool.Lease<Line> noted(ConnectionPool.Lease<Line> lease) {
        Check.that(lease != null, "a lease from borrow(), got null", "return a lease or throw");
        held.add(lease);
        History.note("borrowed " + lease.get());
        return lease;
    }

    private static Line close(ConnectionPool.Lease<Line> lease) {
        Line line = null;
        try {
            line = lease.get();
        } catch (IllegalStateException e) {
            // It was closed before.
        }
        History.note(line == null ? "closed a lease again" : "closed the lease of " + line);
        lease.close();
        return line;
    }

    /** A call of borrow() when it waits as the n-th one. */
    private PendingCall<ConnectionPool.Lease<Line>> waiter(ConnectionPool<Line> pool, int number) throws Exception {
        var waiting = asked(() -> pool.borrow(LONG));
        awaitQueue(pool, number, waiting);
        if (waiting.outcome().isDone()) {
            got(waiting);
            throw History.fail("expected the next borrow() to wait, but it got a connection",
                    "all are leased, and at most maxTotal may exist");
        }
        return waiting;
    }

    /** Until so many wait, or the last one has ended. */
    private void awaitQueue(ConnectionPool<Line> pool, int length, PendingCall<?> last) throws Exception {
        Await.until(() -> pool.stats().waiting() == length || last.outcome().isDone(),
                "stats().waiting() to become " + length,
                "a borrow() that finds no slot joins the waiters, and leaves them in finally");
    }

    /** Runs with the lock of the pool held, so that other threads that need it wait. */
    private void withLock(ConnectionPool<Line> pool, Check.Code code) throws Exception {
        lines.lock = new ReentrantLock();   // this thread may hold the lock when it calls the factory
        pool.lock.lock();
        try {
            code.run();
        } finally {
            pool.lock.unlock();
            lines.lock = pool.lock;
        }
    }

    private static void awaitAtLock(ConnectionPool<Line> pool, PendingCall<?> call) throws InterruptedException {
        Await.until(() -> pool.lock.hasQueuedThread(call.thread()) || call.outcome().isDone(),
                "a call on another thread to need the lock", "use the pool's lock");
    }

    /** What a borrow() on another thread gets, or throws. */
    private <C> ConnectionPool.Lease<C> got(PendingCall<ConnectionPool.Lease<C>> asked) throws Exception {
        return finish(asked, "borrow() on another thread",
                "each slot that is released goes through handOver(), which sets the slot of the first waiter and "
                        + "signals its turn");
    }

    /** What a call on another thread throws. */
    private <T extends Throwable> T thrownBy(PendingCall<?> asked, Class<T> type, String what, String likely) {
        return Check.fails(type, () -> finish(asked, what, likely), what, likely);
    }

    /** What a call on another thread returns, or throws. */
    private <T> T finish(PendingCall<T> asked, String what, String likely) throws Exception {
        var ended = asked.outcome().handle((_, _) -> true);   // however it ends
        try {
            Await.value(ended, "that " + what + " returns", likely);
        } catch (AssertionError e) {
            lines.checkFaults();
            throw e;
        }
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
                finish(member, "the work of each of " + size + " threads", "a slot was lost, or a waiter not signaled");
            } catch (ConnectionPool.PoolTimeoutException e) {
                throw History.fail("expected each of " + size + " threads to get a connection, got\n  "
                        + e.getMessage(), "a slot was lost, or a waiter not signaled");
            }
        }
    }

    private static void checkIs(int number, Line line, String what, String likely) {
        Check.equal("#" + number, String.valueOf(line), what, likely);
    }

    /** An interrupt as a waiting method tells it: by the exception. */
    private static Lines.Hook interruptedWait() {
        return _ -> {
            throw new InterruptedException();
        };
    }

    /** An interrupt as a channel tells it: by an IOException, with the interrupt status set. */
    private static Lines.Hook interruptedChannel() {
        return _ -> {
            Thread.currentThread().interrupt();
            try (var channel = ServerSocketChannel.open()) {
                channel.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0)).accept();
            }
        };
    }

    /** Where a factory blocks until the test opens the gate, or ends. */
    private final class Gate implements AutoCloseable {

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

        /** Until a thread is here, which is that of the call. */
        void awaitEntered(PendingCall<?> asked, String what) throws Exception {
            Await.until(() -> entered.getCount() == 0 || asked.outcome().isDone(), what, "");
            if (entered.getCount() > 0) {
                lines.checkFaults();
                finish(asked, what, "");
                throw History.fail("expected " + what + ", but the call has ended without that", "");
            }
            History.note("a method of the factory blocks");
        }

        @Override
        public void close() {
            open.countDown();
        }
    }

    /** A connection of no protocol. */
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
                lines.faults.add(this + " was leased to two at once");
            }
            if (lines.destroyed.contains(this)) {
                lines.faults.add(this + " was leased after it was destroyed");
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
        volatile ReentrantLock lock;
        int step = 1;   // a fault of a later step is not told before
        private final AtomicInteger numbers = new AtomicInteger();
        private final AtomicInteger exist = new AtomicInteger();
        private final AtomicInteger most = new AtomicInteger();

        @Override
        public Line connect() throws Exception {
            requireUnlocked("connect()", 1);
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
            requireUnlocked("isHealthy()", 3);
            requireAlive(line, "checked");
            checked.add(line);
            return healthy.of(line);
        }

        @Override
        public void reset(Line line) throws Exception {
            requireUnlocked("reset()", 4);
            requireAlive(line, "reset");
            resetting.on(line);
            line.dirt = 0;
        }

        @Override
        public void destroy(Line line) throws Exception {
            requireUnlocked("destroy()", 1);
            requireAlive(line, "destroyed");
            destroyed.add(line);
            History.note("destroyed " + line);
            try {
                destroying.on(line);
            } finally {
                exist.decrementAndGet();
            }
        }

        /** The most lines at once, those being made or destroyed included. */
        int most() {
            return most.get();
        }

        private void requireAlive(Line line, String what) {
            if (destroyed.contains(line)) {
                faults.add(line + " was " + what + " after it was destroyed");
            }
        }

        private void requireUnlocked(String method, int since) {
            if (step >= since && lock.isHeldByCurrentThread()) {
                faults.add(method + " was called with the lock held");
                throw fault();
            }
        }

        /** Tells the cause before its consequences. */
        void checkFaults() {
            if (!faults.isEmpty()) {
                throw fault();
            }
        }

        private AssertionError fault() {
            var first = faults.getFirst();
            return History.fail("expected no misuse of the factory and its connections, got\n  "
                    + String.join("\n  ", faults.stream().limit(3).toList()), first.endsWith("held")
                            ? "call no method of the factory under the lock: it may block, and all callers with it"
                            : "a leased connection is not idle, a destroyed one is gone, a lease ends once");
        }

        @Override
        public void close() {
            checkFaults();
        }
    }

    /** A peer of real connections. */
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
