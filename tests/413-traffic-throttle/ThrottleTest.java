///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//SOURCES ../../labs/413-traffic-throttle/Throttle.java
//SOURCES ../kit/*.java

import static kit.TestLifecycle.closeLater;

import module java.base;

import com.sun.net.httpserver.HttpServer;
import kit.Await;
import kit.Check;
import kit.FakeTiming;
import kit.History;
import kit.Lab;
import kit.PendingCall;
import kit.Step;
import org.junit.jupiter.api.Test;

/**
 * Lab 413, step by step. The tests give the throttle a clock of their own, so
 * nearly all waits take no real time. A comment {@code rejects:} names the
 * wrong solutions that a test is there for.
 */
@Lab
class ThrottleTest {

    private static final int QUANTUM = 16 * 1024;
    private static final int MOST = Integer.MAX_VALUE;
    private static final long MAX_RATE = Throttle.Bucket.MAX_RATE;
    private static final String GATE = "wait in gate.pay(), let its exception"
            + " pass, and close this gate in close()";
    private static final InetAddress HERE = InetAddress.getLoopbackAddress();

    @Step(value = 1, title = "Refill the token bucket")
    class Refill_the_token_bucket {

        @Test
        void a_new_bucket_is_full() {
            // rejects: a bucket that starts empty
            available(100, new Throttle.Bucket(10, 100, Clock.byHand()),
                    "a new bucket with a burst of 100",
                    "the constructor sets tokens to the burst");
        }

        @Test
        void an_empty_bucket_gains_tokens_at_its_rate() {
            // rejects: time counted from zero; milliseconds; bits;
            // now <= refilled; time that passes between two readings
            gainsTokens(Clock.byHand(), "", "refill() adds elapsed nanoseconds"
                    + " * rate / 10^9, and sets refilled to the present"
                    + " instant");
            var clock = Clock.byHand();
            clock.startAt(Long.MAX_VALUE - 700_000_000);
            gainsTokens(clock, ", when nanoTime() overflows after 700 ms",
                    "compare elapsed with 0; now and refilled themselves must"
                            + " not be compared, because nanoTime() may"
                            + " overflow");
            var running = new RunningClock();
            var bucket = emptied(1_000_000, MOST, running);
            long start = running.now();
            for (int i = 0; i < 1000; i++) {
                bucket.available();
            }
            long micros = (running.now() - start) / 1000;
            Check.that(Math.abs(bucket.available() - micros) <= 3, "a bucket"
                    + " with a rate of 1,000,000 a second to have gained "
                    + micros + " tokens in " + micros + " us and 1000 refills,"
                    + " on a clock that runs on by 1 us at each reading, got "
                    + bucket.available(), "read the clock once in refill(), and"
                    + " set refilled to that instant: the time between two"
                    + " readings is lost");
        }

        private static void gainsTokens(Clock clock, String when,
                String likely) {
            var bucket = emptied(10, 100, clock);
            for (int tokens = 5; tokens <= 20; tokens += 5) {
                clock.advance(Duration.ofMillis(500));
                available(tokens, bucket, "a bucket with a rate of 10 a second,"
                        + " " + tokens * 100 + " ms after it was emptied"
                        + when, likely);
            }
        }

        @Test
        void a_bucket_never_holds_more_than_its_burst() {
            // rejects: no cap; a cap for whole seconds only; one too early
            var likely = "cap the tokens at the burst in refill(), and not"
                    + " before";
            for (int millis : new int[] {500, 1000, 2000}) {
                var clock = Clock.byHand();
                var bucket = emptied(10, 25, clock);
                for (int i = 1; i <= 20; i++) {
                    clock.advance(Duration.ofMillis(millis));
                    available(Math.min(25, i * millis / 100), bucket,
                            "a bucket with a burst of 25, " + i * millis
                                    + " ms after it was emptied, at 10 a"
                                    + " second", likely);
                }
            }
        }

        @Test
        void a_full_bucket_keeps_no_fraction_of_a_token() {
            // rejects: a remainder that is kept when the bucket is full
            for (int idle : new int[] {900, 3_900}) {
                var clock = Clock.byHand();
                var bucket = new Throttle.Bucket(1, 2, clock);
                clock.advance(Duration.ofMillis(idle));
                bucket.tryAcquire(2);
                clock.advance(Duration.ofMillis(999));
                available(0, bucket, "999 ms after a bucket was emptied that"
                        + " had been full for " + idle + " ms, at 1 a second",
                        "tryAcquire() calls refill(), and what accrues while"
                                + " the bucket is full is lost, with its"
                                + " fraction: set remainder to 0");
            }
        }

        @Test
        void fractions_of_a_token_are_not_lost() {
            // rejects: elapsed * rate / 10^9, rounded down; double
            var clock = Clock.byHand();
            var bucket = emptied(3, 200_000, clock);
            for (int i = 0; i < 1000; i++) {
                clock.advance(Duration.ofMillis(1));
                bucket.available();
            }
            available(3, bucket, "a bucket with a rate of 3 a second, looked at"
                    + " each millisecond for a second", "each refill loses its"
                    + " fraction of a token: carry it over in remainder");
            bucket = emptied(11, 200_000, clock);
            for (int i = 0; i < 50_000; i++) {
                clock.advance(Duration.ofMillis(110));
                bucket.available();
            }
            available(60_500, bucket, "11 a second for 5,500 s, in 50,000"
                    + " refills", "a little is lost at each refill: carry the"
                    + " remainder over exactly, in whole numbers; double is"
                    + " not exact");
        }

        @Test
        void rates_from_1_byte_to_8_GiB_a_second_are_exact() {
            // rejects: an int for the rate; whole nanoseconds for a token
            var clock = Clock.byHand();
            var slow = emptied(1, 100, clock);
            var fast = emptied(5_000_000_000L, MOST, clock);
            var fastest = emptied(MAX_RATE, MOST, clock);
            clock.advance(Duration.ofNanos(10));
            var likely = "a token takes less than a nanosecond at this rate:"
                    + " multiply the time by the rate, then divide; in long";
            available(50, fast, "10 ns at 5,000,000,000 a second", likely);
            available(85, fastest, "10 ns at 2^33 a second", likely);
            clock.advance(Duration.ofNanos(199_999_990));
            available(1_000_000_000, fast, "200 ms at 5,000,000,000 a second",
                    likely);
            available(1_717_986_918, fastest, "200 ms at 2^33 a second, after a"
                    + " refill at 10 ns", "set refilled to the present instant,"
                    + " and keep what is left over in remainder, as a fraction"
                    + " of a token: whole nanoseconds are not exact enough");
            clock.advance(Duration.ofNanos(799_999_999));
            available(0, slow, "a nanosecond less than a second at 1 a second",
                    "there is no whole token yet");
            clock.advance(Duration.ofNanos(1));
            available(1, slow, "a second at 1 a second",
                    "carry the remainder over exactly");
        }

        @Test
        void a_clock_that_stands_still_adds_no_tokens() {
            var clock = Clock.byHand();
            var bucket = emptied(MAX_RATE, MOST, clock);
            for (int i = 0; i < 10_000; i++) {
                available(0, bucket, "an empty bucket while its clock stands"
                        + " still", "no time has passed, so nothing accrues");
            }
        }

        @Test
        void a_jump_of_the_clock_fills_the_bucket_to_its_burst() {
            // rejects: elapsed * rate, which a long cannot hold
            for (long rate : new long[] {1_000_000, 1_000_000_007,
                    5_000_000_000L, MAX_RATE}) {
                for (var jump : List.of(Duration.ofHours(1),
                        Duration.ofHours(3), Duration.ofDays(1),
                        Duration.ofDays(36_500), Duration.ofDays(100_000))) {
                    var clock = Clock.byHand();
                    var bucket = emptied(rate, MOST, clock);
                    clock.advance(jump);
                    available(MOST, bucket, "a bucket with a rate of " + rate
                            + " after " + jump.toHours() + " hours",
                            "elapsed * rate overflows: count whole seconds"
                                    + " apart, and first see whether they fill"
                                    + " the bucket");
                }
            }
            var clock = Clock.byHand();
            var slow = emptied(1, MOST, clock);
            clock.advance(Duration.ofDays(10_950));
            available(946_080_000, slow, "30 years at 1 a second",
                    "the bucket is not full yet: add seconds * rate");
        }

        @Test
        void tryAcquire_takes_all_of_the_tokens_or_none() {
            var clock = Clock.byHand();
            var bucket = emptied(1, 10, clock);
            clock.advance(Duration.ofSeconds(5));
            takes(false, bucket, 6, "5 tokens", "compare before you take");
            available(5, bucket, "after a tryAcquire(6) that returned false",
                    "tryAcquire() takes nothing when it returns false");
            takes(true, bucket, 5, "5 tokens, which accrued just now",
                    "call refill() first; 5 tokens are enough for 5 bytes");
            available(0, bucket, "after tryAcquire(5) with 5 tokens",
                    "take the tokens when there are enough");
        }

        @Test
        void tryAcquire_of_more_than_the_burst_is_false() {
            var clock = Clock.byHand();
            var bucket = new Throttle.Bucket(1, 10, clock);
            clock.advance(Duration.ofHours(1));
            takes(false, bucket, 11, "a burst of 10", "a full bucket has 10");
            available(10, bucket, "after a tryAcquire(11) that returned false",
                    "tryAcquire() takes nothing when it returns false");
        }

        @Test
        void callers_on_several_threads_take_each_token_once()
                throws InterruptedException {
            // rejects: tokens that are compared and taken without the lock
            var bucket = new Throttle.Bucket(1, 200_000, Clock.byHand());
            var calls = IntStream.range(0, 4).mapToObj(_ -> PendingCall
                    .startOnPlatformThread(() -> {
                int taken = 0;
                while (bucket.tryAcquire(1)) {
                    taken++;
                }
                return taken;
            })).toList();
            int sum = 0;
            for (var call : calls) {
                sum += Await.value(call.outcome(), "tryAcquire(1) to be false"
                        + " at last", "take the tokens");
            }
            Check.equal(200_000, sum, "the tokens that four threads have taken"
                    + " from a bucket of 200000", "compare and take under one"
                    + " lock: tryAcquire() is synchronized");
        }

        @Test
        void setRate_counts_the_time_before_it_at_the_old_rate() {
            // rejects: the new rate for all the time since the last refill
            var clock = Clock.byHand();
            var bucket = emptied(10, 1000, clock);
            clock.advance(Duration.ofSeconds(2));
            bucket.setRate(100);
            Check.equal(100L, bucket.rate(), "rate() after setRate(100)",
                    "set the rate");
            available(20, bucket, "2 s at 10 a second, then setRate(100)",
                    "call refill() before you set the rate");
            clock.advance(Duration.ofMillis(1_255));
            bucket.setRate(1);
            available(145, bucket, "1.255 s more, at 100 a second, then"
                    + " setRate(1)", "saved tokens stay: call refill(), then"
                    + " set the rate, and nothing else");
            clock.advance(Duration.ofMillis(500));
            available(146, bucket, "half a second later, at 1 a second, with"
                    + " half a token from before", "a new rate does not change"
                    + " the remainder, which is a fraction of a token");
        }

        @Test
        void the_exception_for_an_invalid_argument_names_the_argument() {
            var clock = Clock.byHand();
            var bucket = new Throttle.Bucket(MAX_RATE, MOST, clock);   // valid
            Check.named("bytesPerSecond", () -> new Throttle.Bucket(0, 1, clock));
            Check.named("bytesPerSecond",
                    () -> new Throttle.Bucket(MAX_RATE + 1, 1, clock));
            Check.named("burst", () -> new Throttle.Bucket(1, 0, clock));
            Check.named("timing", () -> new Throttle.Bucket(1, 1, null));
            Check.named("bytesPerSecond", () -> bucket.setRate(0));
            Check.named("bytes", () -> bucket.tryAcquire(0));
        }

        private static void takes(boolean expected, Throttle.Bucket bucket,
                int bytes, String with, String likely) {
            Check.equal(expected, bucket.tryAcquire(bytes), "tryAcquire("
                    + bytes + ") with " + with, likely);
        }
    }

    @Step(value = 2, title = "Reserve tokens and wait",
            leak = "a thread that waits for tokens must end when it is"
                    + " interrupted: let no catch block swallow that")
    class Reserve_tokens_and_wait {

        @Test
        void reserve_returns_an_instant_that_has_come_while_tokens_are_left() {
            // rejects: a wait for tokens that are there
            var clock = Clock.byHand();
            var bucket = new Throttle.Bucket(100, 100, clock);
            for (int bytes : new int[] {30, 70}) {
                Check.that(bucket.reserve(bytes) - clock.nanoTime() <= 0,
                        "reserve(" + bytes + ") with that many tokens or more"
                                + " to return an instant that is not in the"
                                + " future, but it is", "return refilled when"
                                + " there is no debt");
            }
            available(0, bucket, "after reserve(30) and reserve(70) of 100",
                    "reserve() takes the tokens");
        }

        @Test
        void reserve_takes_tokens_in_advance_and_returns_when_they_accrue() {
            // rejects: a debt that is forgotten; a duration, not an instant
            var clock = Clock.byHand();
            var bucket = emptied(100, 100, clock);
            for (int second = 1; second <= 2; second++) {
                instant(second * 1000, bucket.reserve(100), clock, "reserve("
                        + "100), call " + second + " on an empty bucket, at 100"
                        + " a second", "the debt adds up: tokens becomes"
                        + " negative, and the wait is debt / rate");
            }
            available(-200, bucket, "after reserve(100) twice on an empty"
                    + " bucket", "tokens may be negative: that is the debt");
            clock.advance(Duration.ofMillis(500));
            var likely = "call refill() first: what has accrued meanwhile"
                    + " reduces the debt";
            instant(1_600, bucket.reserve(10), clock, "reserve(10) half a"
                    + " second later", likely);
            bucket.reserve(100);
            clock.advance(Duration.ofMillis(2_500));
            available(-10, bucket, "with a debt of 260, 2.5 s later, at 100 a"
                    + " second", likely + "; whole seconds fill the bucket only"
                    + " if they pay the debt as well");
        }

        @Test
        void the_instant_is_the_earliest_at_which_the_debt_is_paid() {
            // rejects: rounding down; no remainder; whole milliseconds;
            // double; a wait that is counted from a later reading
            for (long rate : new long[] {1, 3, 7, 999, 1_000_003,
                    5_000_000_000L, MAX_RATE}) {
                var clock = Clock.byHand();
                var bucket = emptied(rate, 1000, clock);
                exact(Math.ceilDiv(700 * 1_000_000_000L, rate),
                        bucket.reserve(700), clock,
                        "reserve(700) on an empty bucket at " + rate);
                exact(Math.ceilDiv(MOST * 1_000_000_000L, rate),
                        emptied(rate, MOST, clock).reserve(MOST), clock,
                        "reserve(2^31 - 1) on an empty bucket at " + rate);
            }
            var clock = Clock.byHand();
            var bucket = emptied(3, 10, clock);
            clock.advance(Duration.ofMillis(100));
            exact(233_333_334, bucket.reserve(1), clock,
                    "reserve(1) with 0.3 tokens at 3");
            exact(900_000_000, bucket.reserve(2), clock,
                    "reserve(2) with a debt of 0.7 tokens at 3");
            var running = new RunningClock();
            var other = emptied(1_000_000, 1000, running);
            long start = running.now();
            long wait = other.reserve(1000) - start;
            Check.that(wait >= 997_000 && wait <= 1_000_000, "reserve(1000) on"
                    + " an empty bucket at 1,000,000 a second to return the"
                    + " instant 1000 us after it was emptied, on a clock that"
                    + " runs on by 1 us at each reading; got " + wait / 1000
                    + " us", "count the wait from refilled, and not from"
                    + " another reading of the clock");
        }

        private static void exact(long expected, long instant, Clock clock,
                String what) {
            long wait = instant - clock.nanoTime();
            Check.that(wait >= expected && wait <= expected + 1, what + " a"
                    + " second to return the instant in " + expected + " ns,"
                    + " got " + wait + " ns", wait < expected
                    ? "the tokens have not all accrued by then: round up, and"
                            + " compute in long, because double is not exact"
                    : "divide debt * 10^9 - remainder by the rate, in long;"
                            + " double is not exact");
        }

        @Test
        void a_debt_of_centuries_does_not_overflow() {
            // rejects: debt * 10^9; seconds * 10^9 without a limit
            var clock = Clock.byHand();
            var bucket = emptied(1, MOST, clock);
            long before = clock.nanoTime();
            for (int i = 1; i <= 12; i++) {
                long instant = bucket.reserve(MOST);
                Check.that(instant - before >= 0 && instant - clock.nanoTime()
                        > Duration.ofDays(365).toNanos(), "call " + i + " of"
                        + " reserve(2^31 - 1), at 1 a second, to return an"
                        + " instant that is years from now, and not before that"
                        + " of the previous call; got "
                        + (instant - clock.nanoTime()) + " ns from now",
                        "debt * 10^9 overflows: count whole seconds apart, and"
                                + " at most MOST_SECONDS of them");
                before = instant;
            }
        }

        @Test
        void reserve_of_more_than_the_burst_is_an_IllegalArgumentException() {
            var bucket = emptied(1, 10, Clock.byHand());
            Check.named("bytes", () -> bucket.reserve(11));
            Check.named("bytes", () -> bucket.reserve(0));
            Check.named("bytes", () -> bucket.acquire(0));
            available(0, bucket, "after calls with invalid arguments",
                    "check the argument before you take tokens");
        }

        @Test
        void acquire_returns_when_the_tokens_are_there_and_not_earlier()
                throws InterruptedException {
            // rejects: no wait; a wait in whole milliseconds; instant <= now
            returnsInTime(Clock.byHand(), "", "sleep until the instant that"
                    + " reserve() has returned");
            var clock = Clock.byHand();
            clock.startAt(Long.MAX_VALUE - 200_000_000);
            returnsInTime(clock, ", when nanoTime() overflows after 200 ms",
                    "compare instants by their difference, a - b > 0, or leave"
                            + " that to sleepUntil()");
        }

        private static void returnsInTime(Clock clock, String when,
                String likely) throws InterruptedException {
            var bucket = emptied(100, 100, clock);
            var call = taking(bucket, 50);
            clock.settle(call);
            waits(call, "acquire(50) on an empty bucket" + when, likely);
            clock.advance(Duration.ofNanos(499_999_999));
            clock.settle(call);
            waits(call, "acquire(50) at 100 a second, 1 ns before half a second"
                    + " is over" + when, likely);
            clock.advance(Duration.ofNanos(1));
            clock.settle(call);
            returns(call, "acquire(50) at 100 a second to return after half a"
                    + " second" + when, likely);
            available(0, bucket, "after acquire(50) and half a second",
                    "take the tokens once");
        }

        @Test
        void acquire_does_not_wait_while_tokens_are_left()
                throws InterruptedException {
            var clock = Clock.byHand();
            var call = taking(new Throttle.Bucket(100, 100, clock), 100);
            clock.settle(call);
            returns(call, "acquire(100) on a full bucket to return at once",
                    "the instant that reserve() returns has come already");
        }

        @Test
        void no_lock_is_held_while_a_caller_waits()
                throws InterruptedException {
            // rejects: a synchronized acquire()
            var clock = Clock.byHand();
            var bucket = emptied(100, 100, clock);
            var waiting = taking(bucket, 50);
            clock.settle(waiting);
            var others = PendingCall.start(() -> bucket.available() + " "
                    + bucket.tryAcquire(1) + " "
                    + (bucket.reserve(1) - clock.nanoTime()));
            Check.equal("-50 false 510000000", Await.value(others.outcome(),
                    "available(), tryAcquire(1) and reserve(1) to return while"
                            + " another thread waits in acquire(50)",
                    "acquire() must not sleep with the lock: do not make it"
                            + " synchronized, reserve() is"),
                    "available(), tryAcquire(1), and the ns to the instant of"
                            + " reserve(1), while acquire(50) waits",
                    "the caller that waits has reserved its tokens: take them"
                            + " before the sleep, and do not wait until there"
                            + " are enough");
            clock.advance(Duration.ofSeconds(1));
            clock.settle(waiting);
            returns(waiting, "acquire(50) to return after a second", "");
        }

        @Test
        void acquire_of_more_than_the_burst_is_served_in_pieces()
                throws Exception {
            // rejects: a wait for ever; a free piece; an int that overflows
            for (long rate : new long[] {1, 1000, 3_000_000_000L}) {
                for (int bytes : new int[] {11, 20, 1000, 1005}) {
                    var clock = Clock.jumping();
                    new Throttle.Bucket(rate, 10, clock).acquire(bytes);
                    elapsed(clock, bytes - 10, rate, bytes / 10 + 1, "acquire("
                            + bytes + ") on a full bucket with a burst of 10",
                            "reserve pieces of at most the burst until all"
                                    + " bytes are paid, each of them once");
                }
            }
            var waiting = Clock.byHand();
            var bucket = emptied(100, 100, waiting);
            var call = taking(bucket, 300);
            waiting.settle(call);
            available(-100, bucket, "an empty bucket with a burst of 100, while"
                    + " acquire(300) waits for its first piece", "reserve the"
                    + " next piece when the sleep for this one is over, or"
                    + " others wait behind all of it");
            call.thread().interrupt();
            waiting.settle(call);
            var clock = Clock.jumping();
            new Throttle.Bucket(5_000_000_000L, 1 << 30, clock).acquire(MOST);
            elapsed(clock, MOST - (1 << 30), 5_000_000_000L, 2,
                    "acquire(2^31 - 1) with a burst of 2^30",
                    "done + burst overflows an int: compare bytes - done");
        }

        @Test
        void sleeps_that_last_too_long_do_not_lower_the_rate()
                throws Exception {
            // rejects: a sleep of bytes / rate for each call
            var clock = Clock.oversleeping();
            var bucket = emptied(1_000_000, 64 * 1024, clock);
            for (int i = 0; i < 10_000; i++) {
                bucket.acquire(1000);
            }
            elapsed(clock, 10_000_000, 1_000_000, 1_000_000, "10,000 times"
                    + " acquire(1000), where each sleep lasts 30 % too long",
                    "compute each wait from the clock: the tokens that accrued"
                            + " while you overslept count");
        }

        @Test
        void callers_that_wait_are_served_in_the_order_of_their_calls()
                throws InterruptedException {
            // rejects: a small request that overtakes a large one
            var clock = Clock.byHand();
            var bucket = emptied(100, 100, clock);
            var calls = new ArrayList<PendingCall<?>>();
            for (int bytes : new int[] {100, 1, 50}) {
                calls.add(taking(bucket, bytes));
                clock.settle(calls);
            }
            var likely = "reserve() gives each caller an instant after those of"
                    + " the callers before it";
            for (int millis : new int[] {1000, 10, 500}) {
                clock.advance(Duration.ofMillis(millis - 1));
                clock.settle(calls);
                for (var call : calls) {
                    waits(call, "each of the callers whose tokens come later",
                            likely);
                }
                clock.advance(Duration.ofMillis(1));
                clock.settle(calls);
                returns(calls.removeFirst(), "the caller that came first to be"
                        + " served after " + millis + " ms", likely);
            }
        }

        @Test
        void an_interrupt_ends_the_wait_and_the_thread_stays_interrupted()
                throws InterruptedException {
            // rejects: an interrupt that is swallowed, or only thrown
            var clock = Clock.byHand();
            var call = taking(emptied(100, 100, clock), 50);
            clock.settle(call);
            interrupted(call, "acquire(50)");
        }

        @Test
        void an_interrupted_acquire_gives_its_tokens_back()
                throws InterruptedException {
            // rejects: tokens that are lost; those of the last piece only;
            // those of pieces that were never reserved
            var clock = Clock.byHand();
            var bucket = emptied(100, 100, clock);
            var likely = "giveBack() all that this call has reserved, earlier"
                    + " pieces included";
            var call = taking(bucket, 50);
            clock.settle(call);
            interrupted(call, "acquire(50)");
            available(0, bucket, "after acquire(50) on an empty bucket was"
                    + " interrupted", likely);

            var other = taking(bucket, 70);
            clock.settle(other);
            var first = taking(bucket, 300);
            clock.settle(List.of(other, first));
            interrupted(first, "acquire(300), in its first piece");
            available(-70, bucket, "with a burst of 100, after acquire(300) was"
                    + " interrupted in its first piece, while acquire(70) waits",
                    "giveBack() what this call has reserved, and no more: not"
                            + " the pieces that were still to come, nor the"
                            + " tokens of others");
            clock.advance(Duration.ofMillis(700));
            clock.settle(other);
            returns(other, "acquire(70) to return after 700 ms", "giveBack()"
                    + " does not wake or delay other callers");

            var pieces = taking(bucket, 180);
            clock.settle(pieces);
            clock.advance(Duration.ofMillis(1_200));
            clock.settle(pieces);
            interrupted(pieces, "acquire(180), in its second piece");
            available(100, bucket, "with a burst of 100, 1.2 s after it was"
                    + " empty, when acquire(180) was interrupted", likely
                    + "; the bucket holds at most its burst");
        }

        @Test
        void tokens_that_are_given_back_never_exceed_the_burst()
                throws InterruptedException {
            // rejects: tokens + bytes, without a cap
            var clock = Clock.byHand();
            var suspended = new Throttle.Timing() {
                @Override
                public long nanoTime() {
                    return clock.nanoTime();
                }

                @Override
                public void sleepUntil(long nanoTime)
                        throws InterruptedException {
                    clock.advance(Duration.ofHours(1));
                    throw new InterruptedException();
                }
            };
            var bucket = emptied(100, 100, suspended);
            var call = taking(bucket, 80);
            Await.until(() -> call.outcome().isDone(), "acquire(80) to end"
                    + " when its sleep is interrupted", "throw");
            available(100, bucket, "with a burst of 100, when 80 tokens are"
                    + " given back after an hour", "giveBack() must cap the"
                    + " tokens at the burst, too");
        }

        @Test
        void setRate_keeps_the_instants_of_callers_that_wait()
                throws InterruptedException {
            var clock = Clock.byHand();
            var bucket = emptied(100, 100, clock);
            var call = taking(bucket, 100);
            clock.settle(call);
            bucket.setRate(10);
            var likely = "call refill(), then divide the debt by the present"
                    + " rate";
            instant(20_000, bucket.reserve(100), clock, "reserve(100) behind a"
                    + " debt of 100, after setRate(10)", likely);
            clock.advance(Duration.ofSeconds(1));
            clock.settle(call);
            returns(call, "a caller that was waiting before setRate(10) to keep"
                    + " its instant", "setRate() does not wake or delay it");
            bucket.setRate(1000);
            instant(290, bucket.reserve(100), clock, "reserve(100) behind a"
                    + " debt of 190, after setRate(1000)", likely);
        }
    }

    @Step(value = 3, title = "Throttle a stream",
            leak = "a thread that waits for tokens must end when its stream is"
                    + " closed: wait in gate.pay()")
    class Throttle_a_stream {

        @Test
        void the_bytes_that_are_read_and_written_are_unchanged()
                throws IOException {
            // rejects: an offset that is forgotten; a count of the array
            var data = random(5_000);
            var clock = Clock.jumping();
            var in = Throttle.read(new ByteArrayInputStream(data),
                    limit(1000, 100, clock));
            var read = new byte[data.length + 50];
            int end = 50;
            while (end < read.length) {
                int count = in.read(read, end, Math.min(77, read.length - end));
                if (count == -1) {
                    break;
                }
                end += count;
            }
            Check.sameBytes(data, Arrays.copyOfRange(read, 50, end), "the bytes"
                    + " read through a throttled stream, at offset 50",
                    "read into bytes from offset on, and return the count");
            var sink = new ByteArrayOutputStream();
            Throttle.write(sink, limit(1000, 100, clock))
                    .write(read, 50, data.length);
            Check.sameBytes(data, sink.toByteArray(), "the bytes written through a"
                    + " throttled stream, from offset 50",
                    "write bytes from offset + done on");
        }

        @Test
        void a_read_returns_at_most_a_quantum_and_does_not_wait_for_it()
                throws InterruptedException {
            // rejects: a payment before the read returns; a read that fills
            var clock = Clock.byHand();
            var in = Throttle.read(new ByteArrayInputStream(new byte[1000]),
                    new Throttle.Limit(List.of(emptied(100, 100, clock)), 40));
            var call = PendingCall.start(() -> in.read(new byte[200]));
            clock.settle(call);
            int count = returns(call, "the first read to return at once, though"
                    + " the bucket is empty", "pay for these bytes at the"
                    + " beginning of the next read, so that an interrupt loses"
                    + " none of them");
            Check.that(count >= 1 && count <= 40, "1 to 40 bytes from"
                    + " read(byte[200]) with a quantum of 40, got " + count,
                    "read once, at most min(length, limit.quantum()) bytes");
        }

        @Test
        void the_next_read_pays_for_the_bytes_that_were_really_read()
                throws IOException {
            // rejects: payment for the length of the array; readNBytes
            var clock = Clock.jumping();
            var bucket = new Throttle.Bucket(100, 100, clock);
            var one = new FilterInputStream(
                    new ByteArrayInputStream(new byte[50])) {
                @Override
                public int read(byte[] into, int offset, int length)
                        throws IOException {
                    return super.read(into, offset, Math.min(length, 1));
                }
            };
            var in = Throttle.read(one, Throttle.Limit.of(bucket));
            for (int i = 1; i <= 50; i++) {
                Check.equal(1, in.read(new byte[80]), "read(byte[80]) of a"
                        + " stream that returns 1 byte at a time", "read once,"
                        + " by read(bytes, offset, most) of the stream below,"
                        + " and return its count; do not wait for more");
            }
            Check.equal(Duration.ZERO, clock.elapsed(), "the time that 50 reads"
                    + " of one byte took, with 100 tokens", "nothing waits"
                    + " while there are tokens: owe the count that the read"
                    + " returned, not its length; and if step 5 is written,"
                    + " begin latest at timing.nanoTime(), because instants may"
                    + " be negative");
            available(51, bucket, "with a burst of 100, after 50 reads of one"
                    + " byte each, of which the last is not paid yet",
                    "owe the count that the read returned, not its length");
        }

        @Test
        void all_bytes_are_paid_at_the_end_of_stream_and_it_costs_nothing()
                throws IOException {
            // rejects: a count of -1 that is given to the bucket
            for (int size : new int[] {0, 1, 100, 950}) {
                var clock = Clock.jumping();
                var bucket = new Throttle.Bucket(100, 100, clock);
                var in = Throttle.read(new ByteArrayInputStream(
                        new byte[size]), Throttle.Limit.of(bucket));
                in.readAllBytes();
                for (int i = 0; i < 3; i++) {
                    Check.equal(-1, in.read(new byte[10]), "read() at the end"
                            + " of stream", "return what the stream returns");
                }
                var likely = "pay each byte once; -1 is no number of bytes";
                elapsed(clock, Math.max(0, size - 100), 100, size + 1, size
                        + " bytes read to the end, with a burst of 100",
                        likely);
                available(Math.max(0, 100 - size), bucket, "with a burst of"
                        + " 100, after " + size + " bytes and the end of"
                        + " stream", likely);
            }
        }

        @Test
        void single_bytes_and_skip_and_transferTo_are_paid()
                throws IOException {
            var clock = Clock.jumping();
            var in = Throttle.read(new ByteArrayInputStream(new byte[1000]),
                    limit(100, 10, clock));
            for (int i = 0; i < 100; i++) {
                in.read();
            }
            Check.equal(200L, in.skip(200), "skip(200)", "it reads");
            in.readNBytes(300);
            Check.equal(400L, in.transferTo(OutputStream.nullOutputStream()),
                    "transferTo() at byte 600 of 1000", "it reads");
            elapsed(clock, 990, 100, 1000, "1000 bytes, some read one by one,"
                    + " some by skip, readNBytes and transferTo, with a burst"
                    + " of 10", "all of them call read(byte[], int, int): pay"
                    + " there");
        }

        @Test
        void reads_never_exceed_burst_and_rate_by_more_than_a_quantum()
                throws IOException {
            // rejects: payment for every other read
            var clock = Clock.jumping();
            var in = Throttle.read(new ByteArrayInputStream(new byte[5000]),
                    new Throttle.Limit(List.of(
                            new Throttle.Bucket(1000, 200, clock)), 50));
            long total = 0;
            for (int count = 0; count != -1;
                    count = in.read(new byte[130])) {
                total += count;
                long most = 200 + clock.elapsed().toMillis() + 50;
                Check.that(total <= most, "at most " + most + " bytes after "
                        + clock.elapsed().toMillis() + " ms, at 1000 a second"
                        + " with a burst of 200 and a quantum of 50, got "
                        + total, "pay for the last read before the next one");
            }
        }

        @Test
        void each_quantum_is_written_as_soon_as_it_is_paid()
                throws IOException {
            // rejects: payment after the write; one payment for all pieces
            var clock = Clock.jumping();
            var sink = new Sink(clock);
            var out = Throttle.write(sink, new Throttle.Limit(List.of(
                    new Throttle.Bucket(1000, 200, clock)), 50));
            out.write(new byte[1230]);
            out.write(7);
            long total = 0;
            for (var piece : sink.pieces) {
                total += piece.size();
                Check.that(piece.size() <= 50, "pieces of at most 50 bytes, the"
                        + " quantum, got one of " + piece.size(), "write at"
                        + " most limit.quantum() bytes at a time");
                long most = 200 + piece.millis();
                Check.that(total <= most, "at most " + most + " bytes written"
                        + " after " + piece.millis() + " ms, at 1000 a second"
                        + " with a burst of 200, got " + total,
                        "pay for each piece before you write it");
                Check.that(piece.millis() == 0 || total >= most - 50,
                        "at least " + (most - 50) + " bytes written after "
                                + piece.millis() + " ms, got " + total,
                        "write each piece as soon as it is paid, not when all"
                                + " are");
            }
            Check.equal(1231L, total, "the number of bytes written",
                    "continue until all bytes are written");
        }

        @Test
        void an_empty_read_or_write_and_a_flush_do_not_wait()
                throws Exception {
            var clock = Clock.byHand();
            var sink = new Sink(clock);
            var in = Throttle.read(new ByteArrayInputStream(new byte[20]),
                    Throttle.Limit.of(emptied(1, 10, clock)));
            var out = Throttle.write(sink, Throttle.Limit.of(
                    emptied(1, 10, clock)));
            var call = PendingCall.start(() -> {
                out.write(new byte[0]);
                out.flush();
                in.read(new byte[10]);
                return in.read(new byte[0]);
            });
            clock.settle(call);
            returns(call, "a write of no bytes, a flush, and a read of no bytes"
                    + " while 10 are owed, to return at once",
                    "an empty write has no piece to pay for; the rest is"
                            + " given");
            Check.equal(1, sink.flushes, "calls of flush() of the stream below",
                    "flush() is given: leave it as it is");
        }

        @Test
        void an_interrupted_read_loses_no_byte_and_they_are_still_owed()
                throws Exception {
            // rejects: bytes read before the payment; a debt that is forgotten
            var data = random(30);
            var clock = Clock.byHand();
            var in = Throttle.read(new ByteArrayInputStream(data),
                    Throttle.Limit.of(emptied(10, 10, clock)));
            var first = in.readNBytes(10);
            var call = PendingCall.start(ending(() -> in.read(new byte[10])));
            clock.settle(call);
            waits(call, "the second read", "it pays for the first one");
            interrupted(call, "the second read");
            var again = PendingCall.start(() -> in.readNBytes(10));
            clock.settle(again);
            waits(again, "the read after an interrupted one", "what was owed"
                    + " before the interrupt is still owed: set owed to 0 after"
                    + " the payment");
            clock.advance(Duration.ofSeconds(1));
            clock.settle(again);
            var second = returns(again, "it to return after a second, at 10 a"
                    + " second", "the interrupted wait gave its tokens back");
            Check.sameBytes(Arrays.copyOfRange(data, 10, 20), second, "the 10 bytes"
                    + " after the first 10", "pay first, then read: the bytes"
                    + " of a read that fails are lost");
            Check.sameBytes(Arrays.copyOf(data, 10), first, "the first 10 bytes",
                    "return the bytes that were read");
        }

        @Test
        void an_interrupted_write_says_how_many_bytes_were_written()
                throws Exception {
            var clock = Clock.byHand();
            var bucket = new Throttle.Bucket(10, 20, clock);
            var sink = new Sink(clock);
            var out = Throttle.write(sink,
                    new Throttle.Limit(List.of(bucket), 10));
            var call = PendingCall.start(ending(
                    () -> out.write(new byte[60], 5, 50)));
            clock.settle(call);
            clock.advance(Duration.ofSeconds(1));
            clock.settle(call);
            var failure = interrupted(call, "a write of 50 bytes");
            Check.equal(30, sink.bytes(), "the bytes written before the"
                    + " interrupt: 20 at once, 10 after a second",
                    "pay for a piece, then write it");
            Check.equal(30, failure.bytesTransferred, "bytesTransferred of the"
                    + " InterruptedIOException", "set it before you rethrow");
            available(0, bucket, "after the interrupt", "the tokens of the"
                    + " piece that was not written are given back");
        }

        @Test
        void close_ends_a_wait_with_an_IOException() throws Exception {
            // rejects: a payment that the gate does not know
            var clock = Clock.byHand();
            var in = Throttle.read(new ByteArrayInputStream(new byte[30]),
                    Throttle.Limit.of(emptied(1, 10, clock)));
            in.readNBytes(10);
            var read = PendingCall.start(ending(in::read));
            clock.settle(read);
            in.close();
            closed(read, "a read that waits for tokens",
                    GATE);
            var out = Throttle.write(OutputStream.nullOutputStream(),
                    Throttle.Limit.of(emptied(1, 10, clock)));
            var write = PendingCall.start(ending(() -> out.write(1)));
            clock.settle(write);
            out.close();
            closed(write, "a write that waits for tokens",
                    GATE);
            for (var use : List.<Check.Code>of(in::read, () -> out.write(1))) {
                Check.fails(IOException.class, use, "the use of a closed"
                        + " stream", "gate.requireOpen() is given");
            }
        }

        @Test
        void an_exception_of_the_stream_below_is_passed_on()
                throws IOException {
            // rejects: bytesTransferred set for a failure of the write itself;
            // bytes that are owed until a read succeeds
            var bucket = new Throttle.Bucket(1, 100, Clock.byHand());
            var broken = new SocketTimeoutException("the test says so");
            var in = Throttle.read(new InputStream() {
                private int left = 5;

                @Override
                public int read() throws IOException {
                    if (left-- > 0) {
                        return 1;
                    }
                    throw broken;
                }
            }, Throttle.Limit.of(bucket));
            Check.equal(5, in.read(new byte[5]), "read(byte[5])",
                    "return what the stream returns");
            for (int i = 0; i < 3; i++) {
                Check.equal(broken, Check.fails(IOException.class,
                        () -> in.read(new byte[5]), "a read of a stream that"
                                + " fails", "let the exception pass"),
                        "the exception of the read", "let it pass");
            }
            available(95, bucket, "with a burst of 100, after a read of 5 bytes"
                    + " and three reads that failed", "a read that fails costs"
                    + " nothing, and the 5 bytes are paid once: set owed to 0"
                    + " after the payment, whether the read fails or not");
            broken.bytesTransferred = 42;
            var out = Throttle.write(new OutputStream() {
                @Override
                public void write(int one) throws IOException {
                    throw broken;
                }
            }, Throttle.Limit.of(bucket));
            Check.equal(broken, Check.fails(IOException.class,
                    () -> out.write(new byte[5]), "a write to a stream that"
                            + " fails", "let the exception pass"),
                    "the exception of the write", "let it pass");
            Check.equal(42, broken.bytesTransferred, "bytesTransferred of a"
                    + " SocketTimeoutException from the stream below", "it is"
                    + " an InterruptedIOException, too: catch it around the"
                    + " payment alone");
        }

        @Test
        void GZIP_streams_work_over_throttled_streams() throws IOException {
            // the JDK's own streams, which read and write as they like
            var data = random(3_000);
            var clock = Clock.jumping();
            var compressed = new ByteArrayOutputStream();
            try (var out = new GZIPOutputStream(Throttle.write(compressed,
                    limit(10_000, 300, clock)))) {
                out.write(data);
            }
            elapsed(clock, compressed.size() - 300, 10_000, 100, "to write "
                    + compressed.size() + " bytes through a GZIPOutputStream,"
                    + " with a burst of 300", "pay each byte once");
            try (var in = new GZIPInputStream(Throttle.read(
                    new ByteArrayInputStream(compressed.toByteArray()),
                    limit(10_000, 300, Clock.jumping())))) {
                Check.sameBytes(data, in.readAllBytes(), "what a GZIPInputStream"
                        + " reads", "pass the bytes on unchanged");
            }
        }

        @Test
        void on_the_real_clock_a_write_takes_its_time() throws IOException {
            long start = System.nanoTime();
            Throttle.write(OutputStream.nullOutputStream(), limit(1_000_000,
                    QUANTUM, Throttle.Timing.system()))
                    .write(new byte[4 * QUANTUM]);
            long micros = (System.nanoTime() - start) / 1000;
            Check.that(micros >= 49_152, "a write of 65536 bytes at 1 MB/s with"
                    + " a burst of 16384 to take 49152 us or more, got "
                    + micros + " us", "pay for each piece");
        }
    }

    @Step(value = 4, title = "Throttle both directions", further = true,
            leak = "close() closes the socket itself, not only its streams")
    class Throttle_both_directions {

        @Test
        void each_direction_has_its_own_limit() throws Exception {
            // rejects: swapped limits; one direction only; one limit for both
            var up = Clock.jumping();
            var down = Clock.jumping();
            try (var pair = Pair.open(limit(2000, 100, up),
                    limit(1000, 100, down))) {
                pair.ours.output().write(new byte[10_100]);
                elapsed(up, 10_000, 2000, 200, "10100 bytes written to a"
                        + " socket with an upload limit of 2000 a second",
                        "upload is for output(), which writes to the socket");
                Check.equal(Duration.ZERO, down.elapsed(), "the time that the"
                        + " download limit has taken so far", "use one limit"
                        + " for each direction");
                pair.peer.getOutputStream().write(new byte[5_100]);
                pair.peer.shutdownOutput();
                pair.ours.input().readAllBytes();
                elapsed(down, 5_000, 1000, 200, "5100 bytes read from a socket"
                        + " with a download limit of 1000 a second",
                        "download is for input(), which reads from the socket");
            }
        }

        @Test
        void the_bytes_of_both_directions_are_unchanged() throws Exception {
            var data = random(20_000);
            var clock = Clock.jumping();
            try (var pair = Pair.open(limit(MAX_RATE, 1000, clock),
                    limit(MAX_RATE, 1000, clock))) {
                var echo = PendingCall.start(() -> pair.peer.getInputStream()
                        .transferTo(pair.peer.getOutputStream()));
                var back = PendingCall.start(
                        () -> pair.ours.input().readNBytes(data.length));
                pair.ours.output().write(data);
                Check.sameBytes(data, Await.value(back.outcome(), "20000 bytes to"
                        + " be echoed through the socket", "use the socket's"
                        + " own streams"), "what an echo sends back",
                        "use the socket's own streams");
                pair.ours.shutdownOutput();
                Await.value(echo.outcome(), "the peer to read the end of"
                        + " stream", "shutdownOutput() half-closes the socket");
            }
        }

        @Test
        void a_wait_in_one_direction_does_not_delay_the_other()
                throws Exception {
            // rejects: one lock, or one bucket, for both directions
            var clock = Clock.byHand();
            try (var pair = Pair.open(Throttle.Limit.of(
                    emptied(1, 100, clock)), limit(1, 1000, clock))) {
                var write = PendingCall.start(ending(
                        () -> pair.ours.output().write(1)));
                clock.settle(write);
                waits(write, "a write", "its bucket is empty");
                pair.peer.getOutputStream().write(new byte[500]);
                var read = PendingCall.start(
                        () -> pair.ours.input().readNBytes(500));
                Await.value(read.outcome(), "500 bytes to be read while a write"
                        + " waits for tokens", "the directions share nothing"
                        + " but the gate, which is not locked in a wait");
                clock.advance(Duration.ofSeconds(1));
                clock.settle(write);
                returns(write, "the write to return after a second", "");
                Check.equal(1, pair.peer.getInputStream().read(), "the byte at"
                        + " the peer", "write it when it is paid");
            }
        }

        @Test
        void shutdownOutput_ends_only_the_direction_of_output()
                throws Exception {
            // rejects: a close of the whole socket; nothing at all
            var clock = Clock.jumping();
            try (var pair = Pair.open(limit(1000, 100, clock),
                    limit(1000, 100, clock))) {
                pair.ours.output().write(new byte[] {1, 2, 3});
                pair.ours.shutdownOutput();
                var all = PendingCall.start(
                        () -> pair.peer.getInputStream().readAllBytes());
                Check.sameBytes(new byte[] {1, 2, 3}, Await.value(all.outcome(),
                        "the peer to read the end of stream after"
                                + " shutdownOutput()", "call shutdownOutput()"
                                + " of the socket"), "what the peer has read",
                        "half-close after the bytes");
                pair.peer.getOutputStream().write(new byte[] {4, 5});
                pair.peer.shutdownOutput();
                var rest = PendingCall.start(ending(() -> Check.sameBytes(
                        new byte[] {4, 5}, pair.ours.input().readAllBytes(),
                        "what can be read after shutdownOutput()",
                        "close only one direction")));
                Await.until(() -> rest.outcome().isDone(), "the end of stream"
                        + " to be read after shutdownOutput()", "");
                returns(rest, "input() to be read after shutdownOutput()",
                        "close only one direction: shutdownOutput() of the"
                                + " socket, and no stream");
            }
        }

        @Test
        void close_ends_the_waits_in_both_directions() throws Exception {
            // rejects: a gate for each stream, of which one is closed
            var clock = Clock.byHand();
            var pair = closeLater(Pair.open(
                    Throttle.Limit.of(emptied(1, 100, clock)),
                    Throttle.Limit.of(emptied(1, 100, clock))));
            pair.peer.getOutputStream().write(new byte[10]);
            pair.ours.input().readNBytes(10);
            var read = PendingCall.start(ending(pair.ours.input()::read));
            var write = PendingCall.start(ending(
                    () -> pair.ours.output().write(1)));
            clock.settle(List.of(read, write));
            pair.ours.close();
            closed(read, "a read that waits for tokens",
                    GATE);
            closed(write, "a write that waits for tokens",
                    GATE);
        }

        @Test
        void close_closes_the_socket_and_ends_a_blocked_read()
                throws Exception {
            // rejects: a close of the gate alone
            var clock = Clock.byHand();
            var pair = closeLater(Pair.open(limit(1, 100, clock),
                    limit(1, 100, clock)));
            var read = PendingCall.start(ending(pair.ours.input()::read));
            read.awaitWaiting();
            pair.ours.close();
            closed(read, "a read that waits for the peer",
                    "close() closes the socket, too");
            var end = PendingCall.start(() -> pair.peer.getInputStream()
                    .read());
            Check.equal(-1, Await.value(end.outcome(), "the peer to read the"
                    + " end of stream", "close the socket"), "what the peer"
                    + " reads after close()", "close the socket");
            pair.close();
        }

        @Test
        void closing_either_stream_closes_the_socket() throws Exception {
            var clock = Clock.byHand();
            for (boolean input : new boolean[] {true, false}) {
                var pair = closeLater(Pair.open(limit(1, 100, clock),
                        limit(1, 100, clock)));
                if (input) {
                    pair.ours.input().close();
                } else {
                    pair.ours.output().close();
                }
                Check.fails(IOException.class, () -> pair.ours.output()
                        .write(1), "a write after the close of a stream",
                        "both streams use the gate of the socket");
                Check.fails(IOException.class, pair.ours.input()::read,
                        "a read after the close of a stream",
                        "both streams use the gate of the socket");
            }
        }

        @Test
        void a_socket_that_is_not_connected_is_an_IOException()
                throws IOException {
            var limit = limit(1, 1, Clock.byHand());
            try (var socket = new Socket()) {
                Check.fails(IOException.class, () -> Throttle.ThrottledSocket
                        .wrap(socket, limit, limit), "wrap() of a socket that"
                        + " is not connected", "getInputStream() and"
                        + " getOutputStream() throw it");
                Check.named("upload", () -> Throttle.ThrottledSocket.wrap(socket,
                        null, limit));
            }
        }
    }

    @Step(value = 5, title = "Share a limit between connections",
            further = true)
    class Share_a_limit_between_connections {

        @Test
        void a_transfer_waits_until_every_bucket_has_the_tokens()
                throws Exception {
            // rejects: the first bucket; the last one; the sum of both waits
            for (boolean swapped : new boolean[] {false, true}) {
                var clock = Clock.byHand();
                var slow = emptied(100, 100, clock);
                var fast = emptied(1000, 100, clock);
                var out = Throttle.write(OutputStream.nullOutputStream(),
                        swapped ? Throttle.Limit.of(fast, slow)
                                : Throttle.Limit.of(slow, fast));
                var call = PendingCall.start(ending(
                        () -> out.write(new byte[100])));
                clock.settle(call);
                clock.advance(Duration.ofMillis(999));
                clock.settle(call);
                waits(call, "100 bytes at 100 and at 1000 a second, after 999"
                        + " ms", "reserve in every bucket, and sleep until the"
                        + " latest instant");
                clock.advance(Duration.ofMillis(1));
                clock.settle(call);
                returns(call, "the 100 bytes to be written after 1 s", "reserve"
                        + " in all buckets first, then sleep once: the waits"
                        + " overlap");
            }
        }

        @Test
        void a_wait_for_one_bucket_takes_the_tokens_of_the_others_once()
                throws Exception {
            // rejects: a bucket that pays again at each attempt, or never;
            // attempts without a reservation
            var clock = Clock.byHand();
            var empty = emptied(100, 100, clock);
            var full = new Throttle.Bucket(1, 100, clock);
            var out = Throttle.write(OutputStream.nullOutputStream(),
                    Throttle.Limit.of(empty, full));
            var call = PendingCall.start(ending(
                    () -> out.write(new byte[60])));
            clock.settle(call);
            var likely = "reserve in every bucket before the sleep: what is not"
                    + " reserved, another connection may take";
            available(-60, empty, "the first, empty bucket, while 60 bytes wait"
                    + " for it", likely);
            available(40, full, "the second bucket, of 100 tokens, while 60"
                    + " bytes wait for the first", likely);
            clock.advance(Duration.ofMillis(600));
            clock.settle(call);
            returns(call, "60 bytes at 100 a second after 600 ms", "sleep until"
                    + " the latest instant");
            available(40, full, "the second bucket, of 100 tokens, after 60"
                    + " bytes", "each bucket pays each byte once");
            available(0, empty, "the first bucket, after 60 bytes and 600 ms",
                    "each bucket pays each byte once");
        }

        @Test
        void two_connections_share_one_rate() throws Exception {
            // rejects: a limit that looks at the connection's own bucket only;
            // a limit that is locked while a stream waits
            var clock = Clock.byHand();
            var global = new Throttle.Bucket(1000, 100, clock);
            var common = Throttle.Limit.of(global);
            share(clock, () -> Throttle.Limit.of(new Throttle.Bucket(1_000_000,
                    100, clock), global));
            clock.advance(Duration.ofMillis(100));   // the bucket is full again
            share(clock, () -> common);
        }

        private static void share(Clock clock, Supplier<Throttle.Limit> limit)
                throws InterruptedException {
            var sink = new Sink(clock);
            var flows = Stream.generate(() -> Throttle.write(sink, limit.get()))
                    .limit(2).map(out -> PendingCall.start(ending(
                            () -> out.write(new byte[1000])))).toList();
            clock.settle(flows);
            for (int i = 1; i <= 19; i++) {
                Check.equal(100 * i, sink.bytes(), "the bytes that two flows"
                        + " have written together after " + (i - 1) * 100
                        + " ms, at 1000 a second with a burst of 100", "a"
                        + " bucket that both limits hold counts for both");
                clock.advance(Duration.ofMillis(100));
                clock.settle(flows);
            }
            for (var flow : flows) {
                returns(flow, "each flow to end after 1.9 s", "");
            }
        }

        @Test
        void a_connection_alone_gets_what_the_limits_allow() throws Exception {
            // rejects: a share that is fixed by the number of connections
            var clock = Clock.jumping();
            var global = new Throttle.Bucket(1500, 100, clock);
            var flows = Stream.generate(() -> Throttle.write(
                    OutputStream.nullOutputStream(), Throttle.Limit.of(
                            new Throttle.Bucket(1000, 100, clock), global)))
                    .limit(2).toList();
            for (int i = 0; i < 30; i++) {
                for (var flow : flows) {
                    flow.write(new byte[50]);
                }
            }
            elapsed(clock, 2900, 1500, 100, "3000 bytes of two flows, with"
                    + " 1000 each and 1500 together", "the global bucket limits"
                    + " the sum");
            flows.getFirst().write(new byte[1000]);
            var total = clock.elapsed().toMillis();
            Check.that(total >= 2_833 && total <= 2_934, "1000 bytes of one"
                    + " flow alone to take 0.9 to 1 s more, at its own 1000 a"
                    + " second; after 1.933 s the clock is at " + total + " ms",
                    "no flow has to wait for one that sends nothing");
        }

        @Test
        void a_wait_for_its_own_bucket_does_not_delay_another_connection()
                throws Exception {
            // rejects: a lock of the shared bucket that is held in a wait
            var clock = Clock.byHand();
            var global = new Throttle.Bucket(1000, 1000, clock);
            var slow = Throttle.write(OutputStream.nullOutputStream(),
                    Throttle.Limit.of(global, emptied(1, 100, clock)));
            var call = PendingCall.start(ending(
                    () -> slow.write(new byte[100])));
            clock.settle(call);
            var quick = PendingCall.start(ending(() -> Throttle.write(
                    OutputStream.nullOutputStream(), Throttle.Limit.of(global,
                            new Throttle.Bucket(1000, 1000, clock)))
                    .write(new byte[900])));
            clock.settle(List.of(call, quick));
            returns(quick, "900 bytes to be written while another connection"
                    + " waits for its own bucket", "sleep without a lock, and"
                    + " until the latest instant of this transfer only");
            call.thread().interrupt();
            clock.settle(call);
        }

        @Test
        void an_interrupted_wait_gives_every_bucket_its_tokens_back()
                throws Exception {
            // rejects: one bucket after the other; the first bucket only
            var clock = Clock.byHand();
            var buckets = List.of(new Throttle.Bucket(100, 100, clock),
                    emptied(100, 100, clock), emptied(1, 100, clock));
            var out = Throttle.write(OutputStream.nullOutputStream(),
                    new Throttle.Limit(buckets, 100));
            var call = PendingCall.start(ending(
                    () -> out.write(new byte[80])));
            clock.settle(call);
            interrupted(call, "a write that waits for three buckets");
            for (int i = 0; i < 3; i++) {
                available(i == 0 ? 100 : 0, buckets.get(i), "bucket " + (i + 1)
                        + " after the interrupt", "giveBack() to every bucket"
                        + " what was reserved in it");
            }
        }

        @Test
        void close_gives_the_tokens_of_a_wait_back() throws Exception {
            var clock = Clock.byHand();
            var own = emptied(1, 100, clock);
            var global = new Throttle.Bucket(100, 100, clock);
            var out = Throttle.write(OutputStream.nullOutputStream(),
                    Throttle.Limit.of(own, global));
            var call = PendingCall.start(ending(
                    () -> out.write(new byte[80])));
            clock.settle(call);
            out.close();
            closed(call, "a write that waits for its own bucket",
                    GATE);
            available(100, global, "the shared bucket after a connection was"
                    + " closed that had reserved 80 of 100 tokens",
                    "giveBack() to every bucket when the sleep is interrupted");
        }

        @Test
        void instants_are_compared_when_nanoTime_overflows() throws Exception {
            // rejects: instant > latest; Math.max
            var clock = Clock.byHand();
            clock.startAt(Long.MAX_VALUE - 500_000_000);
            for (boolean swapped : new boolean[] {false, true}) {
                var soon = emptied(1000, 100, clock);
                var late = emptied(100, 100, clock);
                var out = Throttle.write(OutputStream.nullOutputStream(),
                        swapped ? Throttle.Limit.of(late, soon)
                                : Throttle.Limit.of(soon, late));
                var call = PendingCall.start(ending(
                        () -> out.write(new byte[100])));
                clock.settle(call);
                clock.advance(Duration.ofMillis(400));
                clock.settle(call);
                waits(call, "100 bytes at 100 a second after 400 ms, when"
                        + " nanoTime() overflows at 500 ms", "compare instants"
                        + " by their difference: a - b > 0");
                clock.advance(Duration.ofMillis(600));
                clock.settle(call);
                returns(call, "them to be written after 1 s", "compare instants"
                        + " by their difference");
                clock.startAt(Long.MAX_VALUE - 500_000_000);
            }
        }

        @Test
        void a_limit_names_what_is_wrong_with_it() {
            var clock = Clock.byHand();
            var bucket = new Throttle.Bucket(1, 10, clock);
            var other = new Throttle.Bucket(1, 100, Clock.byHand());
            Check.named("buckets", () -> new Throttle.Limit(List.of(), 1));
            Check.named("buckets", () -> Throttle.Limit.of(bucket, other));
            Check.named("quantum", () -> new Throttle.Limit(List.of(bucket), 0));
            Check.named("quantum", () -> new Throttle.Limit(List.of(bucket,
                    new Throttle.Bucket(1, 100, clock)), 11));
        }
    }

    @Step(value = 6, title = "Share the rate fairly", further = true,
            leak = "the relay closes what it has opened: leave that as given")
    class Share_the_rate_fairly {

        @Test
        void the_quantum_is_16_KiB_or_the_smallest_burst() {
            var clock = Clock.byHand();
            for (int burst : new int[] {1, 100, QUANTUM - 1, QUANTUM,
                    QUANTUM + 1, MOST}) {
                Check.equal(Math.min(burst, QUANTUM), Throttle.Limit.of(
                        new Throttle.Bucket(1, MOST, clock),
                        new Throttle.Bucket(1, burst, clock)).quantum(),
                        "the quantum of buckets with bursts of 2^31 - 1 and "
                                + burst, "16 KiB, or the smallest burst if that"
                                + " is less");
            }
        }

        @Test
        void a_small_write_waits_for_at_most_two_quanta_of_a_large_one()
                throws Exception {
            // rejects: a large write that reserves a burst at a time
            var clock = Clock.byHand();
            var bucket = emptied(QUANTUM, 64 * QUANTUM, clock);
            var large = PendingCall.start(ending(() -> Throttle.write(
                    OutputStream.nullOutputStream(), Throttle.Limit.of(bucket))
                    .write(new byte[640 * QUANTUM])));
            clock.settle(large);
            var small = PendingCall.start(ending(() -> Throttle.write(
                    OutputStream.nullOutputStream(), Throttle.Limit.of(bucket))
                    .write(new byte[1024])));
            clock.settle(List.of(large, small));
            clock.advance(Duration.ofSeconds(1));
            clock.settle(List.of(large, small));
            clock.advance(Duration.ofSeconds(1));
            clock.settle(List.of(large, small));
            returns(small, "1 KiB to be written after the time of two quanta,"
                    + " beside a write of 10 MiB", "the default quantum must be"
                    + " small, however large the burst is");
            large.thread().interrupt();
            clock.settle(large);
        }

        @Test
        void connections_that_share_a_bucket_take_turns() throws Exception {
            // rejects: a flow that reserves ahead
            var clock = Clock.byHand();
            var bucket = emptied(QUANTUM, 4 * QUANTUM, clock);
            var sinks = List.of(new Sink(clock), new Sink(clock));
            var flows = new ArrayList<PendingCall<?>>();
            for (var sink : sinks) {
                flows.add(PendingCall.start(ending(() -> Throttle.write(sink,
                        Throttle.Limit.of(bucket))
                        .write(new byte[10 * QUANTUM]))));
                clock.settle(flows);
            }
            for (int second = 1; second <= 20; second++) {
                clock.advance(Duration.ofSeconds(1));
                clock.settle(flows);
                int first = sinks.get(0).bytes() / QUANTUM;
                int other = sinks.get(1).bytes() / QUANTUM;
                Check.that(first + other == second && first - other >= 0
                        && first - other <= 1, "the quanta of two flows after "
                        + second + " s, at one quantum a second, to be equal or"
                        + " one apart and " + second + " in all, got " + first
                        + " and " + other, "each flow reserves one quantum, and"
                        + " the next one when that is written");
            }
        }

        @Test
        void the_relay_limits_each_connection_by_a_bucket_of_its_own()
                throws InterruptedException, IOException {
            // rejects: one bucket for all connections, or for both
            // directions; another rate or burst
            var clock = Clock.jumping();
            try (var server = new Server(10_000);
                    var relay = relay(server, Throttle.Options.defaults()
                            .withRate(1000).withBurst(5_000)
                            .withTiming(clock))) {
                for (int i = 1; i <= 3; i++) {
                    Check.equal(10_000, exchange(relay, 0), "the bytes of a"
                            + " download through the relay", "leave the given"
                            + " part of the relay as it is");
                    elapsed(clock, i * 5_000, 1000, 1000, i + " downloads of 10"
                            + " kB through the relay, each on a new connection"
                            + " with a burst of 5 kB", "limit() makes a new"
                            + " bucket, with this.rate, and the burst and the"
                            + " timing of the options");
                }
                exchange(relay, 10_000);
                awaitEnd(relay);
                long millis = clock.elapsed().toMillis() - 15_000;
                Check.that(millis >= 5_000 && millis <= 10_100, "10 kB in each"
                        + " direction of a connection to take 5 s if they"
                        + " overlap and 10 s if not, got " + millis + " ms",
                        "the directions share no bucket: limit() is called"
                                + " once for each, and makes a new bucket each"
                                + " time");
            }
        }

        @Test
        void all_connections_of_the_relay_share_the_global_bucket()
                throws IOException {
            // rejects: a global bucket for each connection
            var clock = Clock.jumping();
            try (var server = new Server(10_000);
                    var relay = relay(server, Throttle.Options.defaults()
                            .withGlobal(1000).withBurst(5_000)
                            .withTiming(clock))) {
                for (int i = 1; i <= 3; i++) {
                    exchange(relay, 0);
                    elapsed(clock, i * 10_000 - 5_000, 1000, 1000, i
                            + " downloads of 10 kB through the relay, with a"
                            + " global rate of 1 kB/s and a burst of 5 kB",
                            "the limit of a connection holds its own bucket,"
                                    + " and the global one, which is made once"
                                    + " for all connections");
                }
            }
        }

        @Test
        void the_relay_limits_uploads_as_well() throws IOException {
            var clock = Clock.jumping();
            try (var server = new Server(0);
                    var relay = relay(server, Throttle.Options.defaults()
                            .withRate(1000).withBurst(5_000)
                            .withTiming(clock))) {
                exchange(relay, 20_000);
                elapsed(clock, 15_000, 1000, 1000, "an upload of 20 kB through"
                        + " the relay at 1 kB/s with a burst of 5 kB",
                        "limit() is called once for each direction");
                Check.equal(20_000L, server.received.get(), "the bytes that the"
                        + " server has received", "leave the given part of the"
                        + " relay as it is");
            }
        }

        @Test
        void HTTP_through_the_relay_takes_its_time()
                throws InterruptedException, IOException {
            // the JDK's server and client
            var body = random(10_000);
            var http = HttpServer.create(new InetSocketAddress(HERE, 0), 0);
            http.createContext("/", exchange -> {
                exchange.getResponseHeaders().set("Connection", "close");
                exchange.sendResponseHeaders(200, body.length);
                exchange.getResponseBody().write(body);
                exchange.close();
            });
            http.start();
            closeLater((AutoCloseable) () -> http.stop(0));
            var clock = Clock.jumping();
            var relay = closeLater(Throttle.Relay.start(
                    new InetSocketAddress(HERE, 0), http.getAddress(),
                    Throttle.Options.defaults().withRate(1000).withBurst(5_000)
                            .withTiming(clock)));
            var client = URI.create("http://127.0.0.1:"
                    + relay.localAddress().getPort() + "/").toURL()
                    .openConnection();
            try (var in = client.getInputStream()) {
                Check.sameBytes(body, in.readAllBytes(), "a body fetched through the"
                        + " relay", "leave the given part of the relay as it"
                        + " is");
            }
            awaitEnd(relay);   // the last quantum is paid after it is read
            Check.that(clock.elapsed().toMillis() >= 5_000, "an HTTP response"
                    + " with a body of 10 kB to take 5 s or more at 1 kB/s"
                    + " with a burst of 5 kB, got " + clock.elapsed()
                    .toMillis() + " ms", "limit() makes a new bucket with"
                    + " this.rate");
        }

        @Test
        void setRates_changes_the_rate_of_open_connections()
                throws InterruptedException, IOException {
            // rejects: a new rate for new connections only, for the last one,
            // or for one direction
            for (boolean upload : new boolean[] {false, true}) {
                var clock = Clock.byHand();
                try (var server = new Server(upload ? 0 : 50_000);
                        var relay = relay(server, Throttle.Options.defaults()
                                .withRate(1000).withBurst(1000)
                                .withTiming(clock))) {
                    var clients = Stream.generate(() -> PendingCall.start(() ->
                            exchange(relay, upload ? 50_000 : 0))).limit(2)
                            .toList();
                    clock.awaitSleepers(2);
                    relay.setRates(100_000, MAX_RATE);
                    clock.advance(Duration.ofSeconds(1));   // for the waits
                    for (int i = 1; i <= 10; i++) {
                        clock.awaitSleepers(2);
                        clock.advance(Duration.ofMillis(10));
                    }
                    Await.until(() -> (upload ? server.received.get()
                            : relay.stats().bytesDown()) >= 18_000, "about 10"
                            + " kB more on each of two connections, 100 ms"
                            + " after the rate of open " + (upload ? "uploads"
                            : "downloads") + " was raised to 100 kB/s",
                            "limit() adds each bucket to own, and setRates()"
                                    + " sets the rate of each bucket in own");
                    Await.until(() -> {
                        clock.advance(Duration.ofSeconds(1));
                        return clients.stream().allMatch(
                                client -> client.outcome().isDone());
                    }, "the transfers to end", "set all rates");
                }
            }
        }

        @Test
        void setRates_changes_the_global_rate_in_both_directions()
                throws InterruptedException, IOException {
            // rejects: one of the two global buckets; the two rates swapped
            var clock = Clock.jumping();
            try (var server = new Server(10_000);
                    var relay = relay(server, Throttle.Options.defaults()
                            .withGlobal(1).withBurst(1000)
                            .withTiming(clock))) {
                relay.setRates(MAX_RATE, 2000);
                exchange(relay, 10_000);
                awaitEnd(relay);
                long millis = clock.elapsed().toMillis();
                Check.that(millis >= 4_500 && millis <= 9_100, "10 kB in each"
                        + " direction, after setRates(2^33, 2000), to take 4.5"
                        + " s if they overlap and 9 s if not, got " + millis
                        + " ms", "set the rate of globalUp and of globalDown to"
                        + " global");
            }
        }

        @Test
        void setRates_holds_for_connections_to_come() throws IOException {
            // rejects: a rate that is changed in own only
            var clock = Clock.jumping();
            try (var server = new Server(10_000);
                    var relay = relay(server, Throttle.Options.defaults()
                            .withRate(1).withBurst(5_000).withTiming(clock))) {
                relay.setRates(1000, MAX_RATE);
                exchange(relay, 0);
                elapsed(clock, 5_000, 1000, 1000, "a download of 10 kB that"
                        + " began after setRates(1000, 2^33), with a burst of 5"
                        + " kB", "setRates() sets this.rate, and limit() gives"
                                + " this.rate, not options.rate(), to its"
                                + " bucket");
            }
        }

        @Test
        void shutdown_of_the_relay_ends_the_waits_of_its_connections()
                throws InterruptedException, IOException {
            var clock = Clock.byHand();
            try (var server = new Server(100_000)) {
                var relay = relay(server, Throttle.Options.defaults()
                        .withRate(1).withBurst(1000).withTiming(clock));
                var client = PendingCall.start(() -> exchange(relay, 0));
                clock.awaitSleepers(1);
                var likely = "leave the given part of the relay as it is";
                Check.equal(false, relay.shutdown(Duration.ZERO),
                        "shutdown(0) while a connection is open", likely);
                Check.equal(0, relay.stats().connections(), "the connections"
                        + " that are open after shutdown()", likely);
                Await.until(() -> client.outcome().isDone(), "the download to"
                        + " end when the relay is shut down", likely);
            }
        }

        /** The client has read all; the upload may still wait for tokens. */
        private static void awaitEnd(Throttle.Relay relay)
                throws InterruptedException {
            Await.until(() -> relay.stats().connections() == 0, "the connection"
                    + " of the relay to end after both half-closes",
                    "leave the given part of the relay as it is");
        }

        private static Throttle.Relay relay(Server server,
                Throttle.Options options) throws IOException {
            return closeLater(Throttle.Relay.start(
                    new InetSocketAddress(HERE, 0), server.address(),
                    options));
        }
    }

    private static void available(long expected, Throttle.Bucket bucket,
            String what, String likely) {
        Check.equal(expected, bucket.available(), "available() of " + what,
                likely);
    }

    private static Throttle.Bucket emptied(long rate, int burst,
            Throttle.Timing timing) {
        var bucket = new Throttle.Bucket(rate, burst, timing);
        Check.that(bucket.tryAcquire(burst), "tryAcquire(" + burst + ") on a"
                + " new bucket with this burst to return true, got false",
                "a new bucket is full; 2^31 - 1 tokens must fit in tokens");
        return bucket;
    }

    private static Throttle.Limit limit(long rate, int burst,
            Throttle.Timing timing) {
        return Throttle.Limit.of(new Throttle.Bucket(rate, burst, timing));
    }

    private static void instant(long millis, long instant, Clock clock,
            String what, String likely) {
        long wait = instant - clock.nanoTime();
        Check.that(wait >= millis * 1_000_000 && wait <= millis * 1_000_000 + 1,
                what + " to return the instant in " + millis + " ms, got "
                        + wait + " ns", likely);
    }

    /** Up to so many nanoseconds more may be due to rounding. */
    private static void elapsed(Clock clock, long bytes, long rate,
            long rounding, String what, String likely) {
        long expected = bytes * 1_000_000_000 / rate;
        long got = clock.elapsed().toNanos();
        Check.that(got >= expected && got <= expected + rounding, what
                + " to take " + expected + " ns, which is " + bytes
                + " bytes at " + rate + " a second; got " + got + " ns",
                likely);
    }

    /** How a call has ended: normally, or by a failure. */
    private record Ended(IOException failure, boolean interrupted) {}

    private static Callable<Ended> ending(Check.Code code) {
        return () -> {
            try {
                code.run();
                return new Ended(null, Thread.interrupted());
            } catch (IOException e) {
                return new Ended(e, Thread.interrupted());
            }
        };
    }

    private static PendingCall<Ended> taking(Throttle.Bucket bucket,
            int bytes) {
        return PendingCall.start(ending(() -> bucket.acquire(bytes)));
    }

    /** To be called when the clock has settled. */
    private static void waits(PendingCall<?> call, String what, String likely)
            throws InterruptedException {
        if (call.outcome().isDone()) {
            var result = Await.value(call.outcome(), what + " to wait", likely);
            throw History.fail("expected " + what + " to wait, but it returned "
                    + result, likely);
        }
    }

    /** To be called when the clock has settled. */
    private static <T> T returns(PendingCall<T> call, String what,
            String likely) throws InterruptedException {
        Check.that(call.outcome().isDone(), what + ", but it waits", likely);
        var result = Await.value(call.outcome(), what, likely);
        if (result instanceof Ended ended && ended.failure() != null) {
            throw History.fail("expected " + what + ", got " + ended.failure(),
                    likely);
        }
        return result;
    }

    private static InterruptedIOException interrupted(PendingCall<Ended> call,
            String what) throws InterruptedException {
        call.thread().interrupt();
        var ended = Await.value(call.outcome(), what + " to end when its thread"
                + " is interrupted", "let the InterruptedException out of the"
                + " loop, as an InterruptedIOException");
        Check.that(ended.failure() instanceof InterruptedIOException,
                "an InterruptedIOException from " + what + " when its thread is"
                        + " interrupted, got " + ended.failure(),
                "turn the InterruptedException into one");
        Check.that(ended.interrupted(), "the thread to be interrupted still"
                + " when " + what + " has thrown, but the flag is clear",
                "call Thread.currentThread().interrupt() before you throw");
        return (InterruptedIOException) ended.failure();
    }

    private static void closed(PendingCall<Ended> call, String what,
            String likely) throws InterruptedException {
        var ended = Await.value(call.outcome(), what + " to end when it is"
                + " closed", likely);
        Check.that(ended.failure() != null && !(ended.failure()
                instanceof InterruptedIOException), "an IOException from "
                + what + ", and no InterruptedIOException, when it is closed;"
                + " got " + ended.failure(), likely);
        Check.that(!ended.interrupted(), "the thread not to be interrupted"
                + " after " + what + " was closed, but the flag is set",
                likely);
    }

    private static byte[] random(int size) {
        var bytes = new byte[size];
        new Random(413).nextBytes(bytes);
        return bytes;
    }

    /** A clock that a test owns. */
    private static final class Clock implements Throttle.Timing {

        private static final int MOST_CALLS = 5_000_000;

        private final FakeTiming fake;
        private final double factor;
        private final AtomicInteger calls = new AtomicInteger();
        private volatile long offset;

        private Clock(FakeTiming fake, double factor) {
            this.fake = fake;
            this.factor = factor;
        }

        /** Only advance() moves it. */
        static Clock byHand() {
            return new Clock(FakeTiming.byHand(), 1);
        }

        /** Each sleep moves it. */
        static Clock jumping() {
            return new Clock(FakeTiming.jumping(), 1);
        }

        /** Each sleep moves it, 30 % too far. */
        static Clock oversleeping() {
            return new Clock(FakeTiming.jumping(), 1.3);
        }

        @Override
        public long nanoTime() {
            count();
            return fake.nanoTime() + offset;
        }

        @Override
        public void sleepUntil(long nanoTime) throws InterruptedException {
            count();
            long now = fake.nanoTime();
            long wait = nanoTime - offset - now;
            fake.sleepUntil(wait <= 0 ? now
                    : now + (factor == 1 ? wait : (long) (wait * factor)));
        }

        /** Ends a loop that would never end by itself. */
        private void count() {
            if (calls.incrementAndGet() > MOST_CALLS) {
                throw new IllegalStateException("the clock was asked "
                        + MOST_CALLS + " times: this loop does not end");
            }
        }

        void startAt(long nanoTime) {
            offset = nanoTime - fake.nanoTime();
        }

        void advance(Duration time) {
            fake.advance(time);
        }

        Duration elapsed() {
            return fake.elapsed();
        }

        void awaitSleepers(int count) throws InterruptedException {
            fake.awaitSleepers(count, "wait for tokens by"
                    + " timing.sleepUntil()");
        }

        void settle(PendingCall<?> call) throws InterruptedException {
            settle(List.of(call));
        }

        /** Until each of these calls is done, or sleeps on this clock. */
        void settle(List<? extends PendingCall<?>> calls)
                throws InterruptedException {
            Await.until(() -> calls.stream().filter(
                    call -> !call.outcome().isDone()).count()
                    == fake.sleepers(), "each call to return, or to sleep on"
                    + " the clock that the bucket was given",
                    "wait by timing.sleepUntil(), without a lock");
        }
    }

    /** A clock that runs on by a microsecond whenever somebody looks at it. */
    private static final class RunningClock implements Throttle.Timing {

        private final AtomicLong now = new AtomicLong();

        @Override
        public long nanoTime() {
            return now.addAndGet(1000);
        }

        @Override
        public void sleepUntil(long nanoTime) {
            throw new IllegalStateException("this call must not wait");
        }

        /** What it has shown last. */
        long now() {
            return now.get();
        }
    }

    /** Remembers the pieces that are written to it. */
    private static final class Sink extends OutputStream {

        private record Piece(int size, long millis) {}

        private final Clock clock;
        private final List<Piece> pieces =
                Collections.synchronizedList(new ArrayList<>());
        private volatile int flushes;

        Sink(Clock clock) {
            this.clock = clock;
        }

        @Override
        public void write(int one) {
            write(new byte[1], 0, 1);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) {
            pieces.add(new Piece(length, clock.elapsed().toMillis()));
        }

        @Override
        public void flush() {
            flushes++;
        }

        int bytes() {
            synchronized (pieces) {
                return pieces.stream().mapToInt(Piece::size).sum();
            }
        }
    }

    /** A throttled socket, and its peer. */
    private record Pair(Throttle.ThrottledSocket ours, Socket peer)
            implements AutoCloseable {

        static Pair open(Throttle.Limit upload, Throttle.Limit download)
                throws IOException {
            try (var listener = new ServerSocket(0, 1, HERE)) {
                var socket = closeLater(new Socket(HERE,
                        listener.getLocalPort()));
                return new Pair(Throttle.ThrottledSocket.wrap(socket, upload,
                        download), closeLater(listener.accept()));
            }
        }

        /** Again, perhaps, and after a half-close. */
        @Override
        public void close() throws IOException {
            try {
                ours.close();
            } catch (IOException e) {
                throw History.fail("expected close() to throw nothing, also"
                        + " after shutdownOutput() and after close(), got " + e,
                        "close() closes the gate and the socket, and does"
                                + " nothing else");
            }
            peer.close();
        }
    }

    /** Sends each client so many bytes, then reads until it is done. */
    private static final class Server implements AutoCloseable {

        private final ServerSocket listener = new ServerSocket(0, 50, HERE);
        private final int size;
        private final AtomicLong received = new AtomicLong();

        Server(int size) throws IOException {
            this.size = size;
            Thread.ofVirtual().start(() -> {
                while (!listener.isClosed()) {
                    accept();
                }
            });
        }

        private void accept() {
            try {
                var client = listener.accept();
                Thread.ofVirtual().start(() -> serve(client));
            } catch (IOException e) {
                // The test has closed the listener.
            }
        }

        private void serve(Socket client) {
            try (client) {
                client.getOutputStream().write(new byte[size]);
                var in = client.getInputStream();
                var piece = new byte[1024];
                for (int count = in.read(piece); count != -1;
                        count = in.read(piece)) {
                    received.addAndGet(count);
                }
            } catch (IOException e) {
                // Closed, because the relay was.
            }
        }

        InetSocketAddress address() {
            return (InetSocketAddress) listener.getLocalSocketAddress();
        }

        @Override
        public void close() throws IOException {
            listener.close();
        }
    }

    /** Sends bytes through the relay, and counts those that come back. */
    private static int exchange(Throttle.Relay relay, int bytes)
            throws IOException {
        try (var socket = new Socket(HERE, relay.localAddress().getPort())) {
            socket.getOutputStream().write(new byte[bytes]);
            socket.shutdownOutput();
            return socket.getInputStream().readAllBytes().length;
        }
    }
}
