///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//SOURCES ../../labs/411-socket-deadlines/DeadlineSocket.java
//SOURCES ../kit/*.java

import static kit.Action.halfClose;
import static kit.Action.reset;
import static kit.Action.send;
import static kit.Action.sendJunk;
import static kit.Action.sendSplit;
import static kit.Expectation.end;
import static kit.Expectation.gone;
import static kit.Expectation.receive;
import static kit.Expectation.take;
import static kit.TestLifecycle.closeLater;

import module java.base;

import java.lang.management.ManagementFactory;
import kit.Await;
import kit.Check;
import kit.FakeClock;
import kit.History;
import kit.HttpPeer;
import kit.Lab;
import kit.Patience;
import kit.Peer;
import kit.PendingCall;
import kit.Step;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;

/**
 * Lab 411, step by step. Time stands still until a test moves it: sockets and
 * servers get a {@link FakeClock}, and a test that has moved it wakes all
 * threads that wait with the poller. {@code poller.waits()} tells when a thread
 * has taken what has come and waits again. A comment {@code rejects:} names the
 * wrong solutions that a test is there for.
 */
@Lab
class DeadlineSocketTest {

    @Nested
    @Step(value = 1, title = "Compute a deadline")
    class Compute_a_deadline {

        private static final long NOW = 7_000_000_000L;

        @Test
        void a_deadline_is_so_much_time_after_now() {
            // rejects: milliseconds
            for (long nanos : List.of(1L, 999L, 1_500_000L, 86_400_000_000_000L)) {
                var deadline = after(Duration.ofNanos(nanos), NOW);
                Check.equal(true, deadline.isSet(), "isSet() of after("
                        + nanos + " ns)", "only NONE is not set");
                Check.equal(nanos, deadline.remainingNanos(NOW),
                        "what is left of " + nanos + " ns at once",
                        "convert the Duration to nanoseconds and add it to"
                                + " now");
                Check.equal(nanos - 1, deadline.remainingNanos(NOW + 1),
                        "what is left of " + nanos + " ns after 1 ns",
                        "subtract the now that remainingNanos() is given");
            }
        }

        @Test
        void a_deadline_expires_at_its_instant_and_not_before() {
            // rejects: < instead of <=
            var deadline = after(Duration.ofMillis(5), NOW);
            expired(false, deadline, NOW + 4_999_999, "1 ns before");
            expired(true, deadline, NOW + 5_000_000, "at its instant");
            expired(true, deadline, NOW + 5_000_001, "1 ns later");
            expired(true, deadline, NOW + 3_600_000_000_000L, "an hour later");
        }

        @Test
        void nothing_is_left_of_zero_or_negative_time() {
            // rejects: a negative rest, which a wait takes for something else
            for (var time : List.of(Duration.ZERO, Duration.ofNanos(-1),
                    Duration.ofDays(-1), Duration.ofSeconds(Long.MIN_VALUE))) {
                var deadline = after(time, NOW);
                expired(true, deadline, NOW, "after " + time);
                Check.equal(0L, deadline.remainingNanos(NOW + 1),
                        "remainingNanos() 1 ns after a deadline of " + time,
                        "0 is the least that can be left");
            }
        }

        @Test
        void NONE_never_expires() {
            // rejects: one NONE that is recognised by its identity or by 0
            for (var none : List.of(DeadlineSocket.Deadline.NONE,
                    new DeadlineSocket.Deadline(false, NOW))) {
                for (long now : List.of(NOW, 0L, -1L, Long.MAX_VALUE,
                        Long.MIN_VALUE)) {
                    expired(false, none, now, none + " at " + now);
                    Check.equal(Long.MAX_VALUE, none.remainingNanos(now),
                            "remainingNanos() of " + none, "look at isSet:"
                                    + " without it nanoTime has no meaning");
                }
            }
        }

        @Test
        void the_longest_time_does_not_overflow() {
            // rejects: toNanos(); now + Long.MAX_VALUE
            for (var time : List.of(Duration.ofSeconds(Long.MAX_VALUE),
                    Duration.ofNanos(Long.MAX_VALUE), Duration.ofDays(73_000))) {
                for (long now : List.of(NOW, -NOW, Long.MAX_VALUE - 1)) {
                    var deadline = after(time, now);
                    expired(false, deadline, now, time + " from now");
                    expired(false, deadline, now - 1, time + " from now, for a"
                            + " thread that has read the clock 1 ns earlier");
                    expired(false, deadline, now + 3_600_000_000_000L, time
                            + " from now, in an hour");
                    Check.equal(Long.MAX_VALUE / 2, deadline.remainingNanos(
                            now), "what is left of " + time + " at once",
                            "a longer time counts as Long.MAX_VALUE / 2 ns");
                }
            }
        }

        @Test
        void a_clock_that_overflows_does_no_harm() {
            // rejects: nanoTime < now instead of a difference
            long now = Long.MAX_VALUE - 5;
            var deadline = after(Duration.ofNanos(10), now);
            Check.equal(10L, deadline.remainingNanos(now), "what is left when"
                    + " the clock is about to overflow", "nanoTime - now is"
                    + " right even then");
            expired(false, deadline, now + 9, "1 ns before, after an overflow");
            expired(true, deadline, now + 10, "at its instant, after an"
                    + " overflow");
            expired(false, after(Duration.ofNanos(10), -7L), -7L,
                    "10 ns after a negative now");
        }

        private static void expired(boolean expected,
                DeadlineSocket.Deadline deadline, long now, String what) {
            Check.equal(expected, deadline.expired(now), "expired(), " + what,
                    "compare by the difference to now, at least as much as is"
                            + " left; limit the time to Long.MAX_VALUE / 2");
        }
    }

    @Nested
    @Step(value = 2, title = "Read with a deadline")
    class Read_with_a_deadline {

        @Test
        void a_read_returns_what_has_come() throws Exception {
            var pair = Pair.open();
            // rejects: reads that wait until the array is full
            pair.peerSends("hello");
            var into = new byte[20];
            int count = pair.socket.read(into, 3, 17);
            Check.equal("hello", text(into, 3, count), "what the read brought",
                    "return what one channel.read() has brought");
        }

        @Test
        void a_read_at_the_end_of_stream_returns_minus_1() throws Exception {
            var pair = Pair.open();
            // rejects: only 1 and more is a result
            var read = pair.reads(10);
            pair.awaitWaiting(1);
            pair.peer.shutdownOutput();
            brings("-1", read);
            brings("-1", pair.reads(10));
            // rejects: a reset taken for the end of stream
            var other = Pair.open();
            var failing = other.reads(10);
            other.awaitWaiting(1);
            other.peerResets();
            failsWithoutTimeout(failing, "let the exception of channel.read()"
                    + " pass: a reset is no end of stream");
        }

        @Test
        void a_read_ends_at_its_deadline_and_not_before() throws Exception {
            var pair = Pair.open();
            pair.readDeadline(Duration.ofMillis(100));
            var read = pair.reads(10);
            pair.awaitWaiting(1);
            pair.advance(Duration.ofNanos(99_999_999));
            pair.peerSends("h");
            brings("h", read);
            var late = pair.reads(10);
            pair.awaitWaiting(1);
            pair.advance(Duration.ofNanos(1));
            timesOut(late);
        }

        @Test
        void arriving_bytes_do_not_extend_the_deadline() throws Exception {
            var pair = Pair.open();
            // rejects: setSoTimeout(), or a deadline computed in each read
            pair.readDeadline(Duration.ofMillis(100));
            for (int i = 0; i < 3; i++) {
                var read = pair.reads(1);
                pair.awaitWaiting(1);
                pair.advance(Duration.ofMillis(30));
                pair.peerSends("h");
                brings("h", read);
            }
            var read = pair.reads(1);
            pair.awaitWaiting(1);
            pair.advance(Duration.ofMillis(10));
            timesOut(read);
        }

        @Test
        void an_expired_deadline_ends_a_read_even_if_bytes_are_there()
                throws Exception {
            var pair = Pair.open();
            // rejects: a deadline that is looked at only before waiting, or
            // only when the call begins
            pair.readDeadline(Duration.ofHours(1));
            var late = pair.reads(5);
            pair.awaitWaiting(1);
            History.note("1 h passes, which wakes nobody");
            pair.clock.advance(Duration.ofHours(1));
            pair.peerSends("hello");
            timesOut(late);
            for (int i = 0; i < 2; i++) {
                var timeout = timesOut(pair.reads(5));
                Check.that(String.valueOf(timeout.getMessage())
                        .contains("read"), "a message that contains \"read\","
                        + " got " + timeout.getMessage(),
                        "checkDeadline() is told what the call was");
            }
        }

        @Test
        void no_byte_is_lost_by_a_timeout() throws Exception {
            var pair = Pair.open();
            // rejects: closing the socket; reading before the check
            pair.peerSends("hello, world");
            pair.peer.shutdownOutput();
            pair.readDeadline(Duration.ZERO);
            timesOut(pair.reads(20));
            pair.readDeadline(Duration.ofSeconds(1));
            var all = PendingCall.start(() ->
                    new String(pair.socket.input().readAllBytes()));
            Check.equal("hello, world", Await.value(all.outcome(), "that all"
                    + " is read with a later deadline", "a timeout neither"
                    + " closes the socket nor takes a byte"), "what was read",
                    "a timeout takes no byte");
            takesNothingWhenLate();
        }

        /** The deadline passes between any two looks at the clock. */
        private static void takesNothingWhenLate() throws Exception {
            // rejects: a check between channel.read() and the return
            History.note("a socket whose clock moves on by 1 ms whenever it is"
                    + " read, and read deadlines 1 to 9 ms from now");
            var clock = new AtomicLong();
            var quick = Pair.open(() -> clock.addAndGet(1_000_000), 0);
            quick.peerSends("hello");
            quick.peer.shutdownOutput();
            Object end = null;
            for (int millis = 1; millis <= 10 && (millis == 1
                    || end instanceof SocketTimeoutException); millis++) {
                quick.socket.setReadDeadline(millis == 10
                        ? DeadlineSocket.Deadline.NONE : after(
                                Duration.ofMillis(millis), clock.get()));
                end = ended(quick.reads(5), "that the read ends", "");
            }
            Check.equal("hello", end, "what the first read that returns has"
                    + " brought", "return what channel.read() has brought, and"
                    + " do not check the deadline once more: the bytes would"
                    + " be lost");
        }

        @Test
        void a_passed_deadline_can_be_replaced_by_NONE() throws Exception {
            var pair = Pair.open();
            pair.readDeadline(Duration.ZERO);
            timesOut(pair.reads(5));
            pair.socket.setReadDeadline(DeadlineSocket.Deadline.NONE);
            var read = pair.reads(5);
            pair.awaitWaiting(1);
            pair.advance(Duration.ofDays(30_000));
            pair.peerSends("h");
            brings("h", read);
        }

        @Test
        void a_passed_write_deadline_does_not_end_a_read() throws Exception {
            var pair = Pair.open();
            pair.socket.setWriteDeadline(pair.after(Duration.ZERO));
            pair.peerSends("h");
            brings("h", pair.reads(5));
        }

        @Test
        void on_the_real_clock_a_read_waits_for_the_deadline()
                throws Exception {
            var real = Pair.open(System::nanoTime, 0);
            long start = System.nanoTime();
            real.socket.setReadDeadline(
                    DeadlineSocket.Deadline.after(Duration.ofMillis(40)));
            timesOut(real.reads(5));
            atLeast(Duration.ofMillis(40), start, "the read");
        }
    }

    @Nested
    @Step(value = 3, title = "Write with a deadline")
    class Write_with_a_deadline {

        private static final int MUCH = 4 * 1024 * 1024;
        @Test
        void written_bytes_arrive_from_the_offset_in_order() throws Exception {
            var pair = Pair.small();
            var bytes = "--hello--".getBytes();
            pair.socket.write(bytes, 2, 5);
            pair.socket.write(bytes, 7, 1);
            pair.socket.close();
            Check.equal("hello-", text(pair.peer.getInputStream()
                    .readAllBytes()), "what the peer received", "write length"
                    + " bytes from the offset on");
        }

        @Test
        void a_write_waits_until_the_peer_reads() throws Exception {
            var pair = Pair.small();
            // rejects: a single channel.write(); pieces sent twice or left out
            var bytes = random(MUCH);
            var write = pair.writes(bytes);
            pair.awaitWaiting(1);
            var got = pair.peer.getInputStream().readNBytes(MUCH);
            written(write);
            Check.equal(-1, Arrays.mismatch(bytes, got), "the first byte that"
                    + " differs", "each piece begins where the last one ended:"
                    + " channel.write() may take less than it is given");
        }

        @Test
        void a_write_to_a_peer_that_does_not_read_ends_at_its_deadline()
                throws Exception {
            var pair = Pair.small();
            // rejects: a count of all calls
            written(pair.writes(new byte[5]));
            pair.writeDeadline(Duration.ofMillis(100));
            var write = pair.writes(new byte[MUCH]);
            pair.awaitWaiting(1);
            pair.tick(Duration.ofNanos(99_999_999));
            pair.advance(Duration.ofNanos(1));
            var timeout = timesOut(write);
            pair.socket.close();
            long drained = pair.drain() - 5;
            Check.equal(drained, (long) timeout.bytesTransferred,
                    "bytesTransferred", "count what channel.write() has taken,"
                            + " in this call");
            Check.that(drained > 0, "that the kernel takes a part, got "
                    + drained, "write before you wait");
        }

        @Test
        void a_peer_that_reads_slowly_does_not_extend_the_deadline()
                throws Exception {
            var pair = Pair.small();
            // rejects: the deadline computed again after each piece; a deadline
            // that is looked at only when the kernel takes nothing, or once
            // more when all is sent
            checksEachPiece();
            isWrittenWhenAllIsSent();
            pair.writeDeadline(Duration.ofMillis(100));
            var write = pair.writes(new byte[MUCH]);
            pair.awaitWaiting(1);
            for (int i = 0; i < 3; i++) {
                pair.tick(Duration.ofMillis(30));
                long before = pair.poller.waits();
                pair.peer.getInputStream().readNBytes(512 * 1024);
                pair.awaitWaits(before + 1);
            }
            pair.advance(Duration.ofMillis(10));
            timesOut(write);
        }

        @Test
        void an_expired_deadline_ends_a_write_before_its_first_byte()
                throws Exception {
            // rejects: broken after every timeout
            var pair = Pair.small();
            pair.writeDeadline(Duration.ZERO);
            var timeout = timesOut(pair.writes("lost".getBytes()));
            Check.that(String.valueOf(timeout.getMessage()).contains("write"),
                    "a message that contains \"write\", got "
                            + timeout.getMessage(), "checkDeadline() is told"
                            + " what the call was");
            Check.equal(0, timeout.bytesTransferred, "bytesTransferred",
                    "check the deadline before the first channel.write()");
            pair.socket.setWriteDeadline(DeadlineSocket.Deadline.NONE);
            Await.value(pair.writes("kept".getBytes()).outcome(), "that the"
                    + " next write returns", "the peer has no part of the first"
                    + " write: isBroken stays false");
            pair.socket.shutdownOutput();
            Check.equal("kept", text(pair.peer.getInputStream()
                    .readAllBytes()), "what the peer received", "the peer has"
                    + " no part of the first write: isBroken stays false");
        }

        @Test
        void after_a_partial_write_nothing_more_is_sent() throws Exception {
            var pair = Pair.small();
            // rejects: going on as Go does
            // rejects: the deadline checked before isBroken; a loop that a
            // write of 0 bytes does not enter
            breakWriting(pair);
            pair.socket.setWriteDeadline(DeadlineSocket.Deadline.NONE);
            for (int length : new int[] {4, 0, 4}) {
                var failure = Check.fails(IOException.class,
                        () -> pair.socket.write("more".getBytes(), 0, length),
                        "a write of " + length + " bytes after a partial one",
                        "set isBroken when a part was sent; look at it first");
                Check.that(!(failure instanceof InterruptedIOException), "an"
                        + " IOException that is no timeout, got " + failure,
                        "call checkBroken() before anything else, also before"
                                + " the deadline is checked");
                pair.writeDeadline(Duration.ZERO);
            }
            staysBroken(pair, "a timeout");
            // rejects: isBroken set for timeouts and interrupts only
            var other = Pair.small();
            var write = other.writes(new byte[MUCH]);
            other.awaitWaiting(1);
            other.poller.close();
            failsWithoutTimeout(write, "let the exception of awaitReady()"
                    + " pass");
            staysBroken(other, "the close of its poller");
        }

        private static void staysBroken(Pair pair, String cause) {
            Check.fails(IOException.class, pair.socket::shutdownOutput,
                    "shutdownOutput() after " + cause + " has ended a write"
                            + " with a part sent", "set isBroken whatever has"
                            + " ended the write, and see checkBroken(): the"
                            + " peer would take the part for the whole");
        }

        @Test
        void after_a_partial_write_reading_goes_on() throws Exception {
            var pair = Pair.small();
            // rejects: closing the socket
            breakWriting(pair);
            pair.peerSends("why?");
            brings("why?", pair.reads(10));
        }

        @Test
        void a_reset_ends_a_write_with_an_IOException() throws Exception {
            var pair = Pair.small();
            var write = pair.writes(new byte[MUCH]);
            pair.awaitWaiting(1);
            pair.peerResets();
            failsWithoutTimeout(write,
                    "let the exception of channel.write() pass");
        }

        @Test
        void a_passed_read_deadline_does_not_end_a_write() throws Exception {
            var pair = Pair.small();
            // rejects: one deadline for both directions
            var write = pair.writes(new byte[MUCH]);
            pair.awaitWaiting(1);
            pair.readDeadline(Duration.ofMillis(100));
            var read = pair.reads(10);
            pair.awaitWaiting(2);
            pair.advance(Duration.ofMillis(100));
            timesOut(read);
            pair.peer.getInputStream().readNBytes(MUCH);
            written(write);
        }

        @Test
        void on_the_real_clock_a_write_waits_for_the_deadline()
                throws Exception {
            var real = Pair.open(System::nanoTime, 64 * 1024);
            long start = System.nanoTime();
            real.socket.setWriteDeadline(
                    DeadlineSocket.Deadline.after(Duration.ofMillis(40)));
            timesOut(real.writes(new byte[MUCH]));
            atLeast(Duration.ofMillis(40), start, "the write");
        }

        /** A write must end while the kernel would still take bytes. */
        private void checksEachPiece() throws Exception {
            History.note("a socket whose clock moves on by 1 ms whenever it is"
                    + " read, and a write deadline 4 ms from now");
            var clock = new AtomicLong();
            var quick = Pair.open(() -> clock.addAndGet(1_000_000), 0);
            quick.socket.setWriteDeadline(
                    DeadlineSocketTest.after(Duration.ofMillis(4), 0));
            int sent = timesOut(quick.writes(new byte[MUCH])).bytesTransferred;
            Check.that(sent < 4 * 64 * 1024, "less than 4 pieces of 64 KiB to"
                    + " be written before the deadline, got " + sent
                    + " bytes", "check the deadline before each"
                    + " channel.write(), also when the kernel took the piece"
                    + " before; pass it no more than a piece()");
        }

        /** What the kernel has taken is written, however late it is. */
        private static void isWrittenWhenAllIsSent() throws Exception {
            History.note("a socket whose clock moves on by 1 ms whenever it is"
                    + " read, and write deadlines 1 to 9 ms from now");
            var clock = new AtomicLong();
            var quick = Pair.open(() -> clock.addAndGet(1_000_000), 0);
            for (int millis = 1; millis <= 9; millis++) {
                quick.socket.setWriteDeadline(DeadlineSocketTest.after(
                        Duration.ofMillis(millis), clock.get()));
                var end = ended(quick.writes("hello".getBytes()),
                        "that the write ends", "");
                Check.that("written".equals(end)
                        || end instanceof SocketTimeoutException timeout
                        && timeout.bytesTransferred < 5, "a write whose 5 bytes"
                        + " have all been sent to return, got " + end, "check"
                        + " the deadline before each channel.write(), and not"
                        + " after the last one");
            }
        }

        private void breakWriting(Pair pair) throws Exception {
            pair.writeDeadline(Duration.ofMillis(100));
            var write = pair.writes(new byte[MUCH]);
            pair.awaitWaiting(1);
            pair.advance(Duration.ofMillis(100));
            timesOut(write);
        }
    }

    @Nested
    @Step(value = 4, title = "Limit the time for a request head")
    class Limit_the_time_for_a_request_head {

        private final Site site = new Site();

        @Test
        void the_JDKs_HttpURLConnection_is_answered() throws Exception {
            site.start();
            var url = URI.create("http:/" + site.server.localAddress()
                    + "/slots").toURL();
            for (var body : List.of("", "Anna, 9:30", "last")) {
                var call = (HttpURLConnection) url.openConnection();
                call.setReadTimeout(Patience.millis());
                if (!body.isEmpty()) {
                    call.setDoOutput(true);
                    call.getOutputStream().write(body.getBytes());
                }
                Check.equal("200 " + site.echo("/slots", body),
                        call.getResponseCode() + " "
                                + text(call.getInputStream().readAllBytes()),
                        "the response", "nextHead() returns what readHead()"
                                + " has read");
                call.disconnect();
            }
            Await.until(() -> site.server.stats().served() == 3,
                    "stats().served() = 3, got " + site.server.stats(),
                    "nextHead() is called for each request");
        }

        @Test
        void a_head_that_comes_byte_by_byte_is_cut_after_headTimeout()
                throws Exception {
            // rejects: a timeout that starts again at every byte, or line
            var slow = site.connect("slow client");
            for (var part : List.of("G", "E", "T / HTTP/1.1\r", "\nX: y\r\n")) {
                site.sends(slow, part);
                site.tick(Duration.ofSeconds(1));
            }
            site.sends(slow, "Y: z\r\n");
            site.advance(Duration.ofSeconds(1));
            toldSlow(slow);
            Check.equal(1L, site.server.stats().timedOutHead(),
                    "stats().timedOutHead()", "count in timedOutHead");
        }

        @Test
        void a_head_of_one_byte_a_minute_is_cut_in_the_first_minute()
                throws Exception {
            var slow = site.connect("slow client");
            site.sends(slow, "G");
            site.advance(Duration.ofMinutes(1));
            toldSlow(slow);
        }

        @Test
        void the_time_for_the_first_head_counts_from_accept() throws Exception {
            // rejects: counted from the first byte
            var slow = site.connect("slow client");
            site.tick(Duration.ofSeconds(4));
            site.sends(slow, "GET / ");
            site.advance(Duration.ofSeconds(1));
            toldSlow(slow);
        }

        @Test
        void a_head_that_is_complete_just_in_time_is_answered()
                throws Exception {
            var client = site.connect("client");
            site.sends(client, "GET /a HTTP/1.1\r\n");
            site.tick(Duration.ofNanos(4_999_999_999L));
            client.play("", send("Host: h\r\n\r\n"));
            answered(client, "/a");
        }

        @Test
        void a_client_that_sends_nothing_is_closed_without_a_response()
                throws Exception {
            // rejects: 408 for a spare connection of a browser
            var silent = site.connect("silent client");
            site.tick(Duration.ofNanos(4_999_999_999L));
            site.advance(Duration.ofNanos(1));
            silent.play("no byte came: return empty, not a 408", end());
            Check.equal(1L, site.server.stats().timedOutIdle(),
                    "stats().timedOutIdle()", "count in timedOutIdle");
            Check.equal(0L, site.server.stats().timedOutHead(),
                    "stats().timedOutHead()", "no head has begun");
            // rejects: an exception, or a count, at the end of stream
            site.connect("client that ends").play("the connection is closed"
                    + " without a reset: return empty", halfClose(), end());
            site.connect("client that resets").play("", reset());
            Await.until(() -> site.server.stats().active() == 0, "that both"
                    + " connections are closed, got " + site.server.stats(),
                    "return empty, or let the exception pass");
            Check.equal(1L, site.server.stats().timedOutIdle(),
                    "stats().timedOutIdle()", "neither the end of stream nor a"
                            + " reset is a timeout");
        }

        @Test
        void an_empty_line_begins_a_head() throws Exception {
            var slow = site.connect("slow client");
            site.sends(slow, "\r\n");
            site.advance(Duration.ofSeconds(5));
            toldSlow(slow);
        }

        @Test
        void a_later_head_has_headTimeout_from_its_first_byte()
                throws Exception {
            // rejects: one deadline for the connection; idleTimeout for heads
            var client = site.connect("client");
            client.play("", send(GET));
            answered(client, "/");
            site.awaitWaiting(1);
            site.tick(Duration.ofSeconds(14));
            site.sends(client, "G");
            site.tick(Duration.ofNanos(4_999_999_999L), HEAD_LIMIT);
            site.sends(client, "E");
            site.advance(Duration.ofNanos(1));
            toldSlow(client);
        }

        @Test
        void an_idle_connection_is_closed_after_idleTimeout() throws Exception {
            var client = site.connect("client");
            for (int i = 0; i < 2; i++) {
                client.play("", send(GET));
                answered(client, "/");
                site.awaitWaiting(1);
                site.tick(Duration.ofNanos(14_999_999_999L));
            }
            site.advance(Duration.ofNanos(1));
            client.play("between two requests the limit is idleTimeout; a"
                    + " client that sends nothing gets no response", end());
            Check.equal(1L, site.server.stats().timedOutIdle(),
                    "stats().timedOutIdle()", "count in timedOutIdle");
        }

        @Test
        void a_request_in_progress_is_not_idle() throws Exception {
            // rejects: idle since the last byte that came
            site.handler = request -> {
                site.clock.advance(Duration.ofMinutes(10));
                return new DeadlineSocket.Response(200, "late".getBytes());
            };
            var client = site.connect("client");
            for (int i = 0; i < 2; i++) {
                client.play("", send(GET));
                Check.equal("late", client.answer("while the handler runs, no"
                        + " deadline counts").body(), "the body", "");
            }
            site.awaitWaiting(1);
            site.tick(Duration.ofSeconds(14));
        }

        @Test
        void a_pipelined_head_has_a_deadline_of_its_own() throws Exception {
            var client = site.connect("client");
            site.sends(client, "GET / HT");
            site.tick(Duration.ofSeconds(4));
            site.sends(client, "TP/1.1\r\nHost: h\r\n\r\nGET /b HTTP");
            answered(client, "/");
            site.awaitWaiting(1);
            site.tick(Duration.ofNanos(4_999_999_999L));
            site.sends(client, "/1.1\r\nHost:");
            site.advance(Duration.ofNanos(1));
            toldSlow(client);
        }

        @Test
        void five_slow_requests_in_time_are_all_answered() throws Exception {
            // rejects: one deadline for the connection
            var client = site.connect("client");
            for (int i = 0; i < 5; i++) {
                for (var part : List.of("GET /", "c HTTP/1.1\r\nHost:", " h\r",
                        "\n\r")) {
                    site.sends(client, part);
                    site.tick(Duration.ofMillis(1_249));
                }
                client.play("", send("\n"));
                answered(client, "/c");
                site.awaitWaiting(1);
            }
        }

        @Test
        void a_client_is_served_beside_40_slow_ones() throws Exception {
            var slow = new ArrayList<HttpPeer>();
            for (int i = 0; i < 40; i++) {
                slow.add(site.connect("slow client " + i));
                site.sends(slow.getLast(), "GET / HTTP/1.1\r\nX-a: ");
            }
            var probe = site.connect("probe");
            probe.play("", send(GET));
            answered(probe, "/");
            site.awaitWaiting(41);
            site.advance(Duration.ofSeconds(5));
            for (var each : slow) {
                toldSlow(each);
            }
            Check.equal(40L, site.server.stats().timedOutHead(),
                    "stats().timedOutHead()", "count in timedOutHead");
        }

        @Test
        void a_client_that_sends_on_after_408_gets_no_reset() throws Exception {
            // rejects: a close with unread input
            var slow = site.connect("slow client");
            site.sends(slow, "G");
            site.advance(Duration.ofSeconds(5));
            slow.answer("a head that has begun is answered with 408");
            // a reset is sure to be seen only if the socket is closed before
            Await.until(() -> site.waiting() == 1
                    || site.server.stats().active() == 0, "that the server"
                    + " reads what still comes", "call awaitReady() whenever"
                    + " the channel has moved no byte");
            var likely = "read what still comes before the socket is closed,"
                    + " however much it is: a close with unread input is a"
                    + " reset";
            for (int i = 0; i < 8; i++) {   // more than kernels buffer
                slow.play(likely, sendJunk(2_000_000));
            }
            slow.play(likely, end());
        }

        @Test
        void the_lingering_close_ends_after_a_second_whatever_comes()
                throws Exception {
            // rejects: a second after each byte
            var slow = site.connect("slow client");
            site.sends(slow, "G");
            site.advance(Duration.ofSeconds(5));
            toldSlow(slow);
            site.awaitWaiting(1);
            site.sends(slow, "j");
            site.tick(Duration.ofNanos(600_000_000));
            site.sends(slow, "j");
            site.advance(Duration.ofNanos(400_000_000));
            Await.until(() -> site.server.stats().active() == 0, "that the"
                    + " connection is closed 1 s after the response, got "
                    + site.server.stats(), "set one read deadline before the"
                    + " loop that reads what still comes");
        }

        @Test
        void the_lingering_close_ends_when_the_client_has_closed()
                throws Exception {
            // rejects: a fixed wait
            var client = site.connect("client");
            client.play("", send("GET / HTTP/1.1\r\nHost: h\r\n"
                    + "Connection: close\r\n\r\n"));
            answered(client, "/");
            client.play("the connection ends after a response with"
                    + " Connection: close", end(), halfClose());
            Await.until(() -> site.server.stats().active() == 0, "that the"
                    + " connection is closed at the client's end of stream",
                    "stop reading at -1");
        }

        @Test
        void a_time_of_zero_is_no_limit() throws Exception {
            // rejects: a zero that leaves the deadline before in force
            for (var zero : List.of("headTimeout and idleTimeout",
                    "headTimeout", "idleTimeout")) {
                History.note("a server without a limit for " + zero);
                var open = new Site();
                var head = open.options.headTimeout().dividedBy(3);
                var idle = open.options.idleTimeout().dividedBy(2);
                if (zero.contains("head")) {
                    open.options = open.options.withHeadTimeout(Duration.ZERO);
                    head = Duration.ofDays(1);
                }
                if (zero.contains("idle")) {
                    open.options = open.options.withIdleTimeout(Duration.ZERO);
                    idle = Duration.ofDays(1);
                }
                var likely = "zero is Deadline.NONE, which has to be set: else"
                        + " the deadline before it stays in force";
                var client = open.connect("client");
                open.tick(head, likely);
                for (int i = 0; i < 2; i++) {
                    open.sends(client, "GET /");
                    open.tick(head, likely);
                    client.play("", send(" HTTP/1.1\r\nHost: h\r\n\r\n"));
                    Check.equal(200, client.answer(likely).status(), "the"
                            + " status, without a limit for " + zero, likely);
                    open.awaitWaiting(1);
                    open.tick(idle, likely);
                }
            }
        }

        @Test
        void a_bad_request_is_told_and_closed() throws Exception {
            for (var bad : List.of("400 GET /", "400 GET / HTTP/1.1\nHost: h",
                    "400 GET / HTTP/1.1", "400 GET / HTTP/1.1\r\nHost: a\r\n"
                            + "Host: b", "400 POST / HTTP/1.1\r\nHost: h\r\n"
                            + "Content-Length: 1, 1",
                    "411 POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:"
                            + " chunked", "413 POST / HTTP/1.1\r\nHost: h\r\n"
                            + "Content-Length: 99999999999",
                    "431 GET / HTTP/1.1\r\nX: " + "x".repeat(20_000))) {
                var client = site.connect("client");
                client.play("", send(bad.substring(4) + "\r\n\r\n"));
                Check.equal(bad.substring(0, 3), "" + client.answer("let the"
                        + " exception of readHead() pass").status(),
                        "the status", "let the exception of readHead() pass");
                client.play("", end());
            }
            // rejects: a 408 for whatever ends a head
            site.connect("client").play("the connection ended in the middle of"
                    + " a head: let the EOFException of readHead() pass",
                    send("GET / HT"), halfClose(), gone());
            Check.equal(0L, site.server.stats().timedOutHead(),
                    "stats().timedOutHead()", "this was no timeout");
        }

        @Test
        void shutdown_lets_a_request_finish_and_closes_idle_connections()
                throws Exception {
            var running = new CountDownLatch(1);
            var go = new CountDownLatch(1);
            site.handler = request -> {
                if (request.target().equals("/work")) {
                    running.countDown();
                    go.await();
                }
                return new DeadlineSocket.Response(200, new byte[0]);
            };
            var idle = site.connect("idle client");
            idle.play("", send(GET));
            idle.answer("");
            var busy = site.connect("busy client");
            busy.play("", send("GET /work HTTP/1.1\r\nHost: h\r\n\r\n"));
            Await.open(running, "that the handler is called", "");
            site.awaitWaiting(1);
            var shutdown = PendingCall.start(() ->
                    site.server.shutdown(Duration.ofSeconds(60)));
            idle.play("nextHead() ends when the socket is closed", gone());
            go.countDown();
            Check.equal(200, busy.answer("").status(), "the status", "");
            busy.play("", end(), halfClose());
            Check.equal(true, Await.value(shutdown.outcome(), "that shutdown()"
                    + " returns", ""), "shutdown()", "nothing was cut");
        }

        @Test
        void on_the_real_clock_a_connection_is_closed_after_headTimeout()
                throws Exception {
            site.options = site.options.withNanoClock(System::nanoTime)
                    .withHeadTimeout(Duration.ofMillis(40));
            long start = System.nanoTime();
            site.start();
            HttpPeer.connect(site.server.localAddress(), "silent client").play(
                    "the first byte must come within headTimeout", end());
            atLeast(Duration.ofMillis(40), start, "the connection");
        }

        private static final String HEAD_LIMIT = "the head has one deadline,"
                + " headTimeout after accept (later heads: after their first"
                + " byte), on the clock of connection.now(); a timeout in"
                + " readHead() is a HttpStatusException(408)";

        private void toldSlow(HttpPeer slow) throws IOException {
            var answer = slow.answer(HEAD_LIMIT);
            Check.equal(408, answer.status(), "the status", "a timeout in"
                    + " readHead() is a 408");
            Check.equal(Optional.of("close"), answer.field("Connection"),
                    "the field Connection", "throw a HttpStatusException");
            slow.play("the connection is closed after a 408: lingeringClose()"
                    + " begins with shutdownOutput()", end());
        }

        private void answered(HttpPeer client, String target)
                throws IOException {
            var answer = client.answer("each head has its own deadline, which"
                    + " has not passed here");
            Check.equal(200, answer.status(), "the status of " + target,
                    "this head was in time");
            Check.equal(site.echo(target, ""), answer.body(), "the body",
                    "take no byte from in that belongs to what follows");
        }
    }

    @Nested
    @Step(value = 5, title = "Move the deadline of a blocked read",
            further = true)
    class Move_the_deadline_of_a_blocked_read {

        private static final int MUCH = 4 * 1024 * 1024;
        @Test
        void a_deadline_in_the_past_ends_a_blocked_read() throws Exception {
            var pair = Pair.small();
            // rejects: a deadline that is looked at when the next read begins
            var read = blockedRead(pair);
            pair.readDeadline(Duration.ofSeconds(-1));
            timesOut(read);
        }

        @Test
        void a_deadline_in_the_past_ends_a_blocked_write() throws Exception {
            var pair = Pair.small();
            var write = blockedWrite(pair);
            pair.writeDeadline(Duration.ZERO);
            var timeout = timesOut(write);
            pair.socket.close();
            Check.equal(pair.drain(), (long) timeout.bytesTransferred,
                    "bytesTransferred", "count what channel.write() has taken");
        }

        @Test
        void a_blocked_read_ends_at_a_deadline_moved_nearer() throws Exception {
            var pair = Pair.small();
            pair.readDeadline(Duration.ofSeconds(60));
            var read = blockedRead(pair);
            pair.readDeadline(Duration.ofSeconds(10));
            pair.tick(Duration.ofNanos(9_999_999_999L));
            pair.advance(Duration.ofNanos(1));
            timesOut(read);
        }

        @Test
        void a_blocked_read_outlives_a_deadline_moved_farther()
                throws Exception {
            var pair = Pair.small();
            // rejects: the earliest deadline ever set
            for (var farther : List.of(pair.after(Duration.ofSeconds(60)),
                    DeadlineSocket.Deadline.NONE)) {
                pair.readDeadline(Duration.ofSeconds(10));
                var read = blockedRead(pair);
                pair.socket.setReadDeadline(farther);
                pair.tick(Duration.ofSeconds(10));
                pair.peerSends("h");
                brings("h", read);
            }
        }

        @Test
        void setDeadline_moves_both() throws Exception {
            var pair = Pair.small();
            var read = pair.reads(10);
            var write = pair.writes(new byte[MUCH]);
            pair.awaitWaiting(2);
            pair.socket.setDeadline(pair.after(Duration.ZERO));
            timesOut(read);
            timesOut(write);
        }

        @Test
        void a_moved_read_deadline_leaves_a_blocked_write_alone()
                throws Exception {
            var pair = Pair.small();
            // rejects: one deadline for both directions
            var write = blockedWrite(pair);
            pair.readDeadline(Duration.ZERO);
            pair.peer.getInputStream().readNBytes(MUCH);
            written(write);
        }

        @Test
        void a_deadline_moved_while_a_read_is_about_to_wait_is_not_missed()
                throws Exception {
            // rejects: wake() before the deadline is set
            var moved = new AtomicBoolean();
            var self = new AtomicReference<DeadlineSocket>();
            var clock = new FakeClock();
            var own = Pair.open(() -> {
                if (self.get() != null && moved.compareAndSet(false, true)) {
                    var mover = Thread.startVirtualThread(() ->
                            self.get().setReadDeadline(after(
                                    Duration.ZERO, clock.getAsLong())));
                    joined(mover);
                }
                return clock.getAsLong();
            }, 0);
            self.set(own.socket);
            timesOut(own.reads(5));
        }

        @Test
        void an_interrupt_ends_a_blocked_read_and_the_socket_stays_open()
                throws Exception {
            var pair = Pair.small();
            // rejects: SocketTimeoutException; a cleared status; a close
            for (boolean virtual : List.of(true, false)) {
                var status = new AtomicBoolean();
                Callable<String> code = () -> {
                    try {
                        return pair.read(5);
                    } finally {
                        status.set(Thread.currentThread().isInterrupted());
                    }
                };
                var read = virtual ? PendingCall.start(code)
                        : PendingCall.startOnPlatformThread(code);
                pair.calls.add(read);
                pair.awaitWaiting(1);
                read.thread().interrupt();
                interrupted(read);
                Check.equal(true, status.get(), "the interrupt status after"
                        + " the read", "ask isInterrupted(), which leaves it"
                        + " set, and not Thread.interrupted()");
                pair.peerSends("h");
                brings("h", pair.reads(5));
            }
        }

        @Test
        void an_interrupted_thread_does_not_begin_to_wait() throws Exception {
            var pair = Pair.small();
            var read = PendingCall.start(() -> {
                Thread.currentThread().interrupt();
                return pair.read(5);
            });
            interrupted(read);
        }

        @Test
        void an_interrupted_write_tells_how_much_was_sent() throws Exception {
            var pair = Pair.small();
            var write = blockedWrite(pair);
            write.thread().interrupt();
            var failure = interrupted(write);
            Check.fails(IOException.class, pair.socket::shutdownOutput,
                    "shutdownOutput() after an interrupted write that has sent"
                            + " a part", "set isBroken whatever has ended the"
                            + " write");
            pair.socket.close();
            Check.equal(pair.drain(), (long) failure.bytesTransferred,
                    "bytesTransferred", "set it for every"
                            + " InterruptedIOException of the write");
        }

        @Test
        void close_ends_a_blocked_read_and_a_blocked_write() throws Exception {
            var pair = Pair.small();
            var read = pair.reads(10);
            var write = pair.writes(new byte[MUCH]);
            pair.awaitWaiting(2);
            pair.socket.close();
            for (var call : List.of(read, write)) {
                failsWithoutTimeout(call,
                        "read or write again after awaitReady()");
            }
        }

        private PendingCall<String> blockedRead(Pair pair) throws Exception {
            var read = pair.reads(10);
            pair.awaitWaiting(1);
            return read;
        }

        private PendingCall<String> blockedWrite(Pair pair) throws Exception {
            var write = pair.writes(new byte[MUCH]);
            pair.awaitWaiting(1);
            return write;
        }

        private static InterruptedIOException interrupted(PendingCall<?> call)
                throws Exception {
            var failure = fails(call);
            Check.that(failure instanceof InterruptedIOException
                    && !(failure instanceof SocketTimeoutException),
                    "an InterruptedIOException that is no"
                            + " SocketTimeoutException, got " + failure,
                    "awaitReady() throws it when the thread is interrupted");
            return (InterruptedIOException) failure;
        }

        private static void joined(Thread thread) {
            try {
                thread.join(Patience.duration());
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    @Nested
    @Step(value = 6, title = "Enforce a minimum data rate", further = true)
    class Enforce_a_minimum_data_rate {

        /** How long 128 KiB take at 500 B/s, and the grace period. */
        private static final Duration CREDIT = Duration.ofMillis(267_144);
        private final Site site = new Site();

        @Test
        void the_deadline_is_grace_and_the_time_that_the_bytes_take() {
            var options = DeadlineSocket.Options.defaults();
            for (var row : List.of(List.of(0L, 5_000L), List.of(1L, 5_002L),
                    List.of(500L, 6_000L), List.of(750L, 6_500L),
                    List.of(50_000L, 105_000L))) {
                for (long progress : List.of(0L, 4_000L)) {
                    rate(row.get(1), row.get(0), progress, options);
                }
            }
            rate(2_500L, 1_000L, 0L, options.withMinRate(2_000)
                    .withGracePeriod(Duration.ofSeconds(2)));
            rate(5_333L, 1L, 0L, options.withMinRate(3));
        }

        @Test
        void a_fast_client_cannot_rest_for_longer_than_the_credit() {
            // rejects: the average alone
            var options = DeadlineSocket.Options.defaults();
            long most = CREDIT.toMillis();
            rate(most, 131_072L, 0L, options);
            rate(most, 1_000_000L, 0L, options);
            rate(most + 1_000L, 1_000_000L, 1_000L, options);
            rate(8_000L + 262_144L / 2, 10_000_000L, 3_000L,
                    options.withMinRate(1_000));
        }

        @Test
        void many_bytes_do_not_overflow() {
            // rejects: bytes * 1_000_000_000 / rate; int arithmetic
            var options = DeadlineSocket.Options.defaults();
            for (long bytes : List.of(3_000_000L, 1L << 31, 1L << 34, 1L << 40)) {
                rate(CREDIT.toMillis(), bytes, 0L, options);
            }
            rate(5_000L, 1_000_000_000L, 0L, options.withMinRate(1 << 30));
        }

        @Test
        void without_a_rate_there_is_no_deadline() {
            Check.equal(false, DeadlineSocket.rateDeadline(0, 0, 1_000,
                    DeadlineSocket.Options.defaults().withMinRate(0)).isSet(),
                    "isSet() of the deadline with minRate 0",
                    "return NONE before you divide by the rate");
        }

        @Test
        void a_body_of_50_bytes_a_second_is_cut() throws Exception {
            // rejects: a limit for each byte; time counted from accept
            var slow = site.connect("client");
            site.tick(Duration.ofSeconds(4));
            site.sends(slow, postOf(10_000));
            int second = 0;
            while (second < 5) {
                site.sends(slow, "b".repeat(50));
                site.tick(Duration.ofSeconds(1));
                second++;
            }
            site.advance(Duration.ofMillis(500));   // 5 s, and 250 B / 500
            cutBody(slow);
        }

        @Test
        void a_body_of_one_byte_a_minute_is_cut() throws Exception {
            // rejects: an array of the announced length
            long before = allocated();
            for (int i = 0; i < 16; i++) {
                post(1024 * 1024);
            }
            long taken = allocated() - before;
            Check.that(taken < 8 * 1024 * 1024, "less than 8 MiB of memory to"
                    + " be allocated while 16 clients announce bodies of 1 MiB"
                    + " and send nothing, got " + taken + " bytes", "let the"
                    + " array grow with what has come");
            var slow = post(10_000);
            site.tick(Duration.ofNanos(4_999_999_999L));
            site.sends(slow, "b");
            site.advance(Duration.ofMinutes(1));
            cutBody(slow, 17);
        }

        /** By all threads so far; always 0 where the JVM does not count. */
        private static long allocated() {
            return ManagementFactory.getThreadMXBean()
                    instanceof com.sun.management.ThreadMXBean threads
                    ? threads.getTotalThreadAllocatedBytes() : 0;
        }

        @Test
        void a_body_of_600_bytes_a_second_takes_as_long_as_it_likes()
                throws Exception {
            // rejects: a fixed time for the body; a grace that is only once;
            // the time of CREDIT counted from the start
            var honest = post(240_000);
            for (int i = 0; i < 39; i++) {
                site.sends(honest, "b".repeat(6_000));
                site.tick(Duration.ofSeconds(10));
            }
            honest.play("", send("b".repeat(6_000)));
            Check.equal(site.echo("/", "b".repeat(240_000)), honest.answer("a"
                    + " body above minRate is read to its end").body(),
                    "the body", "keep all that has come");
        }

        @Test
        void a_body_that_began_fast_is_cut_when_it_stops() throws Exception {
            // rejects: the average alone
            var stops = post(1_000_000);
            stops.play("", sendJunk(900_000));
            passUntil(() -> site.server.stats().timedOutBody() == 1, CREDIT, 3,
                    "that a body which has stopped is cut", BODY);
            cutBody(stops);
        }

        @Test
        void a_whole_body_is_read_and_nothing_of_what_follows()
                throws Exception {
            // rejects: reads of more than the body has left
            var client = site.connect("client");
            site.sends(client, postOf(5) + "he");
            client.play("", send("llo" + postOf(0)), sendSplit(postOf(6)
                    + "world!" + GET, 411));
            for (var body : List.of("hello", "", "world!", "")) {
                Check.equal(site.echo("/", body), client.answer("read at most"
                        + " length bytes").body(), "the body", "read at most"
                        + " as many bytes as the body has left");
            }
        }

        @Test
        void a_body_of_a_mebibyte_arrives_as_it_was_sent() throws Exception {
            var bytes = new String(random(1024 * 1024),
                    StandardCharsets.ISO_8859_1).replaceAll("[^a-z]", "x");
            site.handler = request -> new DeadlineSocket.Response(200,
                    (request.body().length + " " + Arrays.equals(bytes
                            .getBytes(), request.body())).getBytes());
            var client = site.connect("client");
            client.play("", send(postOf(1024 * 1024) + bytes));
            Check.equal("1048576 true", client.answer("").body(), "length and"
                    + " equality of the body", "keep only the bytes that a"
                    + " read has brought, at their place");
        }

        @Test
        void a_body_that_ends_early_is_not_handled() throws Exception {
            // rejects: -1 taken for the end of the body
            var client = post(10);
            client.play("the connection ended before the body did: throw an"
                    + " EOFException", send("hello"), halfClose(), gone());
            Check.equal(0L, site.server.stats().served(), "stats().served()",
                    "-1 before length bytes is an EOFException");
            post(10).play("", reset());
            Await.until(() -> site.server.stats().active() == 0, "that both"
                    + " connections are closed, got " + site.server.stats(),
                    "let the exception of the read pass");
            Check.equal(0L, site.server.stats().timedOutBody(),
                    "stats().timedOutBody()", "neither the end of stream nor a"
                            + " reset is a timeout");
        }

        @Test
        void a_client_that_stops_reading_is_cut_after_the_credit()
                throws Exception {
            // rejects: no deadline for writes; the average alone
            var stops = download();
            stops.play("", take(BIG / 4));
            passUntil(() -> site.server.stats().timedOutWrite() == 1, CREDIT, 3,
                    "that a client which has stopped reading is cut", WRITE);
            cutWrite();
        }

        @Test
        void a_client_that_reads_a_byte_a_minute_is_cut() throws Exception {
            var slow = download();
            passUntil(() -> {
                slow.play("", take(1));
                return site.server.stats().timedOutWrite() == 1;
            }, Duration.ofMinutes(1), 8, "that the client is cut", WRITE);
            cutWrite();
        }

        @Test
        void a_client_that_reads_800_bytes_a_second_gets_all()
                throws Exception {
            // rejects: a fixed time for the response; pieces that take longer
            // than the credit
            var steady = download();
            int taken = 0;
            for (; taken < BIG / 2; taken += 32_000) {
                steady.play("", take(32_000));
                site.tick(Duration.ofSeconds(40), WRITE + "; a piece has at"
                        + " most PIECE bytes");
            }
            steady.play("a client above minRate is not cut",
                    take(BIG - taken - 1), take(1));
            Await.until(() -> site.server.stats().served() == 1, "served() = 1",
                    "send all pieces");
            // rejects: whatever ends a response counted as a timeout
            var leaver = HttpPeer.connect(site.server.localAddress(),
                    "client that resets", 64 * 1024);
            leaver.play("", send(GET), take(1));
            site.awaitWaiting(2);   // one of them in the write
            leaver.play("", reset());
            Await.until(() -> site.server.stats().active() == 1, "that the"
                    + " connection is closed, got " + site.server.stats(),
                    "let the exception of the write pass");
            Check.equal(0L, site.server.stats().timedOutWrite(),
                    "stats().timedOutWrite()", "a reset is no timeout");
        }

        @Test
        void without_a_rate_a_byte_a_day_will_do() throws Exception {
            site.options = site.options.withMinRate(0);
            var client = post(3);
            for (int i = 0; i < 2; i++) {
                site.sends(client, "b");
                site.tick(Duration.ofDays(1));
            }
            client.play("", send("b"));
            Check.equal(site.echo("/", "bbb"), client.answer("").body(),
                    "the body", "minRate 0 is no limit");
        }

        private static final int BIG = 4 * 1024 * 1024;
        private static final String BODY = "each read of the body waits until"
                + " rateDeadline(), computed anew before it";
        private static final String WRITE = "each piece of the response has a"
                + " write deadline, rateDeadline(), computed anew before it";

        private static void rate(long millis, long bytes, long progress,
                DeadlineSocket.Options options) {
            rate(9_000_000_000_000L, millis, bytes, progress, options);
            // rejects: min() of two instants; the clock overflows in between
            rate(Long.MAX_VALUE - 6_000_000_000L, millis, bytes, progress,
                    options);
        }

        private static void rate(long start, long millis, long bytes,
                long progress, DeadlineSocket.Options options) {
            var deadline = DeadlineSocket.rateDeadline(
                    start, start + progress * 1_000_000, bytes, options);
            double got = (deadline.nanoTime() - start) / 1e6;
            Check.that(deadline.isSet() && Math.abs(got - millis) < 1,
                    "the deadline %,d ms after the start (at %,d ns), with %,d"
                            .formatted(millis, start, bytes)
                            + " bytes, the last of them after "
                            + progress + " ms, minRate " + options.minRate()
                            + " and gracePeriod " + options.gracePeriod()
                            + ", got " + got + " ms",
                    "the earlier of start + gracePeriod + bytes / minRate and"
                            + " progress + gracePeriod + CREDIT / minRate;"
                            + " in nanoseconds, without overflow; compare the"
                            + " two by their difference");
        }

        private static String postOf(int length) {
            return "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " + length
                    + "\r\n\r\n";
        }

        private HttpPeer post(int length) throws Exception {
            var client = site.connect("client");
            site.sends(client, postOf(length));
            return client;
        }

        private HttpPeer download() throws Exception {
            // rejects: time counted from the request
            var handled = new CountDownLatch(1);
            site.handler = request -> {
                if (handled.getCount() > 0) {
                    site.clock.advance(Duration.ofMinutes(10));
                    handled.countDown();
                }
                return new DeadlineSocket.Response(200, new byte[BIG]);
            };
            site.start();
            var client = HttpPeer.connect(site.server.localAddress(), "client",
                    64 * 1024);
            client.play("", send(GET));
            Await.open(handled, "that the handler is called", "");
            site.awaitWaiting(1);   // in the write
            return client;
        }

        private void cutBody(HttpPeer client) throws Exception {
            cutBody(client, 1);
        }

        private void cutBody(HttpPeer client, long clients) throws Exception {
            Check.equal(408, client.answer(BODY).status(),
                    "the status", "a body below minRate is a 408");
            client.play("", end());
            Await.until(() -> site.server.stats().timedOutBody() == clients,
                    "stats().timedOutBody() = " + clients + ", got "
                            + site.server.stats(), "count in timedOutBody");
        }

        /** Lets time pass so many times at most, until something happens. */
        private void passUntil(Callable<Boolean> happened, Duration time,
                int times, String what, String likely) throws Exception {
            boolean has = happened.call();
            for (int i = 0; i < times && !has; i++) {
                long before = site.poller().waits();
                site.advance(time);
                Await.until(() -> site.poller().waits() > before
                        || site.server.stats().timedOutBody() > 0
                        || site.server.stats().timedOutWrite() > 0,
                        "that the server looks at its deadline", "");
                has = happened.call();
            }
            Check.that(has, what + " in " + times + " times " + time,
                    likely + "; after the last progress a client has"
                            + " gracePeriod and the time that CREDIT bytes"
                            + " take");
        }

        private void cutWrite() throws Exception {
            Await.until(() -> site.server.stats().active() == 0, "that the"
                    + " connection is closed, got " + site.server.stats(),
                    WRITE);
            Check.equal(1L, site.server.stats().timedOutWrite(),
                    "stats().timedOutWrite()", "count in timedOutWrite");
            Check.equal(0L, site.server.stats().served(), "stats().served()",
                    "throw the timeout again");
        }
    }

    @Nested
    @Step(value = 7, title = "Limit connections per address", further = true)
    class Limit_connections_per_address {

        private static final InetAddress ANNA = address("anna", 1);
        private static final InetAddress BEN = address("ben", 2);

        @Test
        void an_address_may_enter_as_often_as_maxPerAddress() {
            var admission = admission(100, 3);
            for (int i = 1; i <= 3; i++) {
                enter(true, admission, ANNA, "connection " + i + " of 3");
            }
            enter(false, admission, ANNA, "connection 4 of 3");
            enter(true, admission, BEN, "the first one of another address");
        }

        @Test
        void leaving_makes_room_for_one() {
            var admission = admission(100, 2);
            enter(true, admission, ANNA, "connection 1 of 2");
            enter(true, admission, ANNA, "connection 2 of 2");
            for (int i = 0; i < 3; i++) {
                admission.leave(ANNA);
                enter(true, admission, ANNA, "one after one has left");
                enter(false, admission, ANNA, "two after one has left");
            }
        }

        @Test
        void all_together_may_enter_as_often_as_maxConnections() {
            // rejects: the total counted by address
            var admission = admission(5, 3);
            for (int i = 0; i < 5; i++) {
                enter(true, admission, address("a", i), "address " + i);
            }
            enter(false, admission, ANNA, "connection 6 of 5");
            admission.leave(address("a", 4));
            enter(true, admission, address("a", 2), "one after one has left");
            enter(false, admission, address("a", 9), "connection 6 of 5");
        }

        @Test
        void a_refused_connection_is_not_counted() throws Exception {
            // rejects: counting first, and looking then
            var admission = admission(2, 1);
            enter(true, admission, ANNA, "connection 1 of 1");
            for (int i = 0; i < 10; i++) {
                enter(false, admission, ANNA, "connection 2 of 1");
            }
            enter(true, admission, BEN, "another address, after refusals");
            admission.leave(ANNA);
            enter(true, admission, ANNA, "one after one has left");
            manyThreads();
        }

        private static void manyThreads() throws Exception {
            // rejects: a look and a count that another thread can part
            var admission = admission(3, 2);
            var inside = new AtomicInteger();
            var most = new AtomicInteger();
            var start = new CyclicBarrier(4);
            var calls = Stream.generate(() -> PendingCall.startOnPlatformThread(
                    () -> {
                        start.await();
                        for (int i = 0; i < 100_000; i++) {
                            if (admission.enter(ANNA)) {
                                most.accumulateAndGet(inside.incrementAndGet(),
                                        Math::max);
                                inside.decrementAndGet();
                                admission.leave(ANNA);
                            }
                        }
                        return "";
                    })).limit(4).toList();
            for (var call : calls) {
                Await.value(call.outcome(), "that four threads have entered and"
                        + " left 100,000 times each", "");
            }
            var likely = "enter() and leave() run on different threads: each of"
                    + " them looks and counts under one lock";
            Check.that(most.get() <= 2, "at most 2 of four threads to be"
                    + " admitted at the same time, got " + most, likely);
            int number = 0;
            for (var next : List.of(ANNA, ANNA, ANNA, BEN, BEN)) {
                number++;
                Check.equal(number != 3 && number != 5, admission.enter(next),
                        "enter() number " + number + " for " + next + ", with"
                                + " maxPerAddress 2 and maxConnections 3, after"
                                + " four threads have entered and left", likely);
            }
        }

        @Test
        void an_address_that_has_left_is_forgotten() {
            // rejects: counts of 0 that stay; refused addresses that stay
            var admission = admission(3, 2);
            for (int i = 0; i < 1000; i++) {
                admission.enter(address("a", i));
                admission.enter(address("a", i));
                Check.equal(1, admission.addresses(), "addresses() with two"
                        + " connections of one address", "one entry for each"
                        + " address");
                admission.leave(address("a", i));
                Check.equal(1, admission.addresses(), "addresses() with one"
                        + " connection left", "remove an entry at 0 only");
                admission.leave(address("a", i));
                Check.equal(0, admission.addresses(), "addresses() when all"
                        + " have left", "remove the entry of an address without"
                        + " a connection");
            }
            for (int i = 0; i < 3; i++) {
                admission.enter(address("a", i));
            }
            admission.enter(ANNA);
            Check.equal(3, admission.addresses(), "addresses() after a refusal",
                    "a refused address is not remembered");
        }

        @Test
        void one_address_counts_once_whatever_its_name() {
            // rejects: toString() as the key
            var admission = admission(100, 1);
            enter(true, admission, ANNA, "connection 1 of 1");
            enter(false, admission, address("other.example", 1),
                    "the same address under another name");
        }

        @Test
        void a_connection_beyond_the_limit_gets_503() throws Exception {
            var site = site();
            site.options = site.options.withMaxPerAddress(2);
            var first = site.connect("first client");
            var second = site.connect("second client");
            var third = HttpPeer.connect(site.server.localAddress(), "third");
            rejected(third);
            for (var client : List.of(first, second)) {
                client.play("", send(GET));
                Check.equal(200, client.answer("").status(), "the status of a"
                        + " connection within the limit", "enter() returns"
                        + " true for it");
            }
            Check.equal(1L, site.server.stats().rejected(),
                    "stats().rejected()", "enter() returns false");
        }

        @Test
        void a_closed_connection_makes_room_for_another() throws Exception {
            var site = site();
            site.options = site.options.withMaxPerAddress(1);
            for (int i = 0; i < 3; i++) {
                var client = site.connect("client " + i);
                client.play("", send(GET));
                Check.equal(200, client.answer("leave() makes room").status(),
                        "the status", "leave() makes room");
                client.close();
                Await.until(() -> site.server.stats().active() == 0,
                        "that the connection has left", "");
                site.awaitWaiting(0);
            }
        }

        @Test
        @EnabledIf(value = "DeadlineSocketTest#isLinux",
                disabledReason = "uses 127.0.0.2 without configuring it")
        void an_address_at_its_limit_does_not_affect_another()
                throws Exception {
            var site = site();
            site.options = site.options.withMaxPerAddress(5);
            for (int i = 0; i < 5; i++) {
                site.connect("attacker " + i).play("", send("GET / HT"));
            }
            rejected(HttpPeer.connect(site.server.localAddress(), "attacker"));
            var other = closeLater(new Socket());
            other.bind(new InetSocketAddress("127.0.0.2", 0));
            other.connect(site.server.localAddress());
            other.setSoTimeout(Patience.millis());
            other.getOutputStream().write(GET.getBytes());
            Check.equal("HTTP/1.1 200", text(other.getInputStream()
                    .readNBytes(12)), "what a client of 127.0.0.2 received",
                    "count each address by itself");
        }

        /** Meets the TODO where there is one: a server asks enter() alone. */
        private static Site site() {
            admission(1, 1);
            return new Site();
        }

        private static DeadlineSocket.Admission admission(
                int maxConnections, int maxPerAddress) {
            var admission = new DeadlineSocket.Admission(
                    maxConnections, maxPerAddress);
            Check.equal(0, admission.addresses(), "addresses() at first",
                    "no address has a connection yet");
            return admission;
        }

        private static void enter(boolean expected,
                DeadlineSocket.Admission admission, InetAddress address,
                String what) {
            Check.equal(expected, admission.enter(address), "enter() for "
                    + what, "count what has entered and not left, in total and"
                    + " for each address; a refusal changes no count");
        }

        private static void rejected(HttpPeer client) throws IOException {
            Check.equal(503, client.answer("enter() returns false beyond"
                    + " maxPerAddress").status(), "the status", "enter()"
                    + " returns false beyond maxPerAddress");
            client.play("", end());
        }

        private static InetAddress address(String name, int last) {
            try {
                return InetAddress.getByAddress(name, new byte[] {10, 0,
                        (byte) (last >> 8), (byte) last});
            } catch (UnknownHostException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    static boolean isLinux() {
        return System.getProperty("os.name").equals("Linux");
    }

    private static final String GET = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

    private static DeadlineSocket.Deadline after(Duration time, long now) {
        return DeadlineSocket.Deadline.after(time, now);
    }

    private static String text(byte[] bytes) {
        return text(bytes, 0, bytes.length);
    }

    private static String text(byte[] bytes, int from, int count) {
        return new String(bytes, from, count, StandardCharsets.ISO_8859_1);
    }

    private static byte[] random(int length) {
        var bytes = new byte[length];
        new Random(411).nextBytes(bytes);
        return bytes;
    }

    private static final String TOO_EARLY = "a deadline ended a call too early"
            + " (from which instant does it count, and on which clock?), or the"
            + " thread does not wait with awaitReady()";

    private static void brings(String expected, PendingCall<String> read)
            throws InterruptedException {
        var end = ended(read, "that the read returns \"" + expected + "\"",
                "after awaitReady() read the channel again; return what it"
                + " brings, -1 as well");
        Check.that(!(end instanceof SocketTimeoutException), "that the read"
                + " returns \"" + expected + "\", got " + end, TOO_EARLY);
        Check.equal(expected, end, "what the read brought", "return what one"
                + " channel.read() has brought");
    }

    private static void written(PendingCall<String> write)
            throws InterruptedException {
        Check.equal("written", Await.value(write.outcome(), "that the write"
                + " returns", "go on until length bytes are done; after"
                + " awaitReady() write again"), "the write", "");
    }

    private static Throwable fails(PendingCall<?> call)
            throws InterruptedException {
        var failure = ended(call, "that the call ends", "a deadline is an"
                + " instant, and bytes that move do not move it; after"
                + " awaitReady() look at it again, at the one of this"
                + " direction, and then at the channel");
        if (failure instanceof Throwable thrown) {
            return thrown;
        }
        throw History.fail("expected an exception, but the call returned \""
                + failure + "\"", "look at the deadline before each attempt");
    }

    private static void failsWithoutTimeout(PendingCall<?> call, String likely)
            throws InterruptedException {
        var end = ended(call, "that the call ends", likely);
        Check.that(end instanceof IOException
                && !(end instanceof InterruptedIOException), "an IOException"
                + " that is no timeout, got " + end, likely);
    }

    /** What a call has returned or thrown. */
    private static Object ended(PendingCall<?> call, String what,
            String likely) throws InterruptedException {
        Object end = Await.value(call.outcome().handle((value, e) ->
                e == null ? value : e), what, likely);
        if (end instanceof UnsupportedOperationException todo) {
            throw todo;
        }
        return end;
    }

    private static SocketTimeoutException timesOut(PendingCall<?> call)
            throws InterruptedException {
        var failure = fails(call);
        Check.that(failure instanceof SocketTimeoutException,
                "a SocketTimeoutException, got " + failure,
                "checkDeadline() throws it, before each attempt to move bytes");
        History.note("the call ended: " + failure.getMessage());
        return (SocketTimeoutException) failure;
    }

    private static void atLeast(Duration time, long start, String what) {
        long took = System.nanoTime() - start;
        Check.that(took >= time.toNanos(), what + " to take at least "
                + time.toMillis() + " ms, took " + took / 1_000_000 + " ms",
                "wait until the deadline has passed");
    }

    /** What waits with a poller whose clock the test moves. */
    private static class Timed {

        final FakeClock clock;

        Timed(FakeClock clock) {
            this.clock = clock;
        }

        DeadlineSocket.Poller poller() {
            throw new IllegalStateException();
        }

        /** The calls that a test has begun. */
        List<PendingCall<String>> calls() {
            return List.of();
        }

        /** How many calls have timed out, where somebody counts them. */
        long cut() {
            return 0;
        }

        void awaitWaiting(int threads) throws InterruptedException {
            Await.until(() -> waiting() == threads, "that " + threads
                    + " thread(s) wait in awaitReady(), got "
                    + poller().waiting(), "call awaitReady() whenever the"
                    + " channel has moved no byte; check deadlines on the clock"
                    + " of poller.now(), not on another one");
        }

        /** A call that has met a TODO will never wait. */
        int waiting() {
            for (var call : calls()) {
                if (call.outcome().isCompletedExceptionally()
                        && call.outcome().exceptionNow()
                        instanceof UnsupportedOperationException todo) {
                    throw todo;
                }
            }
            return poller().waiting();
        }

        void awaitWaits(long count) throws InterruptedException {
            Await.until(() -> poller().waits() >= count, "that a thread waits"
                    + " in awaitReady() again", "a deadline that passes too"
                    + " early ends the wait: from which instant does it count,"
                    + " and on which clock? else a thread that is woken looks"
                    + " at the deadline and the channel, and waits again");
        }

        /** Lets time pass, and wakes all that wait. */
        void advance(Duration time) {
            History.note("%,.3f s pass".formatted(time.toNanos() / 1e9));
            clock.advance(time);
            poller().wakeup();
        }

        /** Lets time pass; all that wait must go on waiting. */
        void tick(Duration time) throws InterruptedException {
            tick(time, TOO_EARLY);
        }

        void tick(Duration time, String likely) throws InterruptedException {
            Await.until(() -> waiting() > 0, "that a thread waits", "call"
                    + " awaitReady() whenever the channel has moved no byte");
            int threads = poller().waiting();
            long before = poller().waits();
            long cut = cut();
            advance(time);
            Await.until(() -> cut() != cut
                    || poller().waits() >= before + threads
                    && waiting() == threads, "that " + threads
                    + " thread(s) still wait, because no deadline has passed"
                    + " yet", likely);
            // a thread may also wait in lingeringClose(), after a 408
            Check.equal(cut, cut(), "how many calls have timed out, when no"
                    + " deadline has passed yet", likely);
        }
    }

    /** A socket of the lab, and a plain one at the other end. */
    private static final class Pair extends Timed {

        final DeadlineSocket.Poller poller;
        final DeadlineSocket socket;
        final Socket peer;
        final List<PendingCall<String>> calls = new ArrayList<>();

        private Pair(LongSupplier clock, int buffer) throws IOException {
            super(clock instanceof FakeClock fake ? fake : new FakeClock());
            poller = closeLater(new DeadlineSocket.Poller(clock));
            try (var listener = new ServerSocket()) {
                if (buffer > 0) {
                    listener.setReceiveBufferSize(buffer);
                }
                listener.bind(new InetSocketAddress(
                        InetAddress.getLoopbackAddress(), 0));
                var channel = closeLater(SocketChannel.open());
                if (buffer > 0) {
                    channel.setOption(StandardSocketOptions.SO_SNDBUF, buffer);
                }
                channel.connect(listener.getLocalSocketAddress());
                peer = closeLater(listener.accept());
                socket = closeLater(DeadlineSocket.wrap(channel, poller));
            }
            peer.setSoTimeout(Patience.millis());
        }

        static Pair open() {
            return open(new FakeClock(), 0);
        }

        /** Its kernel buffers are soon full. */
        static Pair small() {
            return open(new FakeClock(), 64 * 1024);
        }

        /** @param buffer in bytes, at both ends; 0 leaves it to the system */
        static Pair open(LongSupplier clock, int buffer) {
            try {
                return new Pair(clock, buffer);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        @Override
        DeadlineSocket.Poller poller() {
            return poller;
        }

        @Override
        List<PendingCall<String>> calls() {
            return calls;
        }

        private PendingCall<String> start(Callable<String> code) {
            calls.add(PendingCall.start(code));
            return calls.getLast();
        }

        DeadlineSocket.Deadline after(Duration time) {
            return DeadlineSocketTest.after(time, clock.getAsLong());
        }

        void readDeadline(Duration time) {
            History.note("setReadDeadline(now + " + time + ")");
            socket.setReadDeadline(after(time));
        }

        void writeDeadline(Duration time) {
            History.note("setWriteDeadline(now + " + time + ")");
            socket.setWriteDeadline(after(time));
        }

        void peerSends(String text) throws IOException {
            History.note("the peer sends \"" + text + "\"");
            peer.getOutputStream().write(text.getBytes());
        }

        void peerResets() throws IOException {
            History.note("the peer resets the connection");
            peer.setSoLinger(true, 0);
            peer.close();
        }

        String read(int length) throws IOException {
            var into = new byte[length];
            int count = socket.read(into, 0, length);
            return count == -1 ? "-1" : text(into, 0, count);
        }

        PendingCall<String> reads(int length) {
            History.note("read() of at most " + length + " bytes begins");
            return start(() -> read(length));
        }

        PendingCall<String> writes(byte[] bytes) {
            History.note("write() of " + bytes.length + " bytes begins");
            return start(() -> {
                socket.write(bytes, 0, bytes.length);
                return "written";
            });
        }

        /** Reads to the end of stream. */
        long drain() throws IOException {
            return peer.getInputStream().transferTo(
                    OutputStream.nullOutputStream());
        }
    }

    /** A server of the lab whose handler tells what it was asked. */
    private static final class Site extends Timed {

        DeadlineSocket.Handler handler = request -> new DeadlineSocket.Response(
                200, echo(request.target(), text(request.body())).getBytes());
        DeadlineSocket.Options options;
        DeadlineSocket.Server server;

        Site() {
            super(new FakeClock());
            options = DeadlineSocket.Options.defaults().withNanoClock(clock);
        }

        @Override
        DeadlineSocket.Poller poller() {
            return server.poller();
        }

        @Override
        long cut() {
            var stats = server.stats();
            return stats.timedOutHead() + stats.timedOutBody()
                    + stats.timedOutWrite() + stats.timedOutIdle();
        }

        String echo(String target, String body) {
            return target + ": " + body;
        }

        void start() throws IOException {
            if (server == null) {
                server = closeLater(DeadlineSocket.Server.start(
                        new InetSocketAddress(InetAddress.getLoopbackAddress(),
                                0), handler, options),
                        it -> it.stats().toString());
            }
        }

        /** Connects, and waits until the server waits for the client. */
        HttpPeer connect(String name) throws Exception {
            start();
            long before = poller().waits();
            var client = HttpPeer.connect(server.localAddress(), name);
            awaitWaits(before + 1);
            return client;
        }

        /** Sends a part, and waits until the server waits for the rest. */
        void sends(HttpPeer client, String part) throws Exception {
            int threads = poller().waiting();
            long before = poller().waits();
            client.play("", send(part));
            awaitWaits(before + 1);
            awaitWaiting(threads);
        }
    }
}
