///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//SOURCES ../../labs/416-slow-network/SlowNetwork.java
//SOURCES ../kit/*.java

import static kit.Action.close;
import static kit.Action.halfClose;
import static kit.Action.reset;
import static kit.Action.send;
import static kit.Expectation.aborted;
import static kit.Expectation.end;
import static kit.Expectation.gone;
import static kit.Expectation.receive;
import static kit.TestLifecycle.closeLater;

import module java.base;

import com.sun.net.httpserver.HttpServer;
import kit.Await;
import kit.Check;
import kit.FakeTiming;
import kit.History;
import kit.Lab;
import kit.Peer;
import kit.PendingCall;
import kit.Step;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import org.junit.jupiter.api.Test;

/**
 * Lab 416, step by step. Most tests let a pipe write into a list, on a clock
 * that only the test moves. A comment {@code rejects:} names the wrong
 * solutions that a test is there for.
 */
@Lab
class SlowNetworkTest {

    private static final int QUEUE = 64 * 1024;
    private static final Duration LONG = Duration.ofHours(1);
    private static final Duration ENOUGH = Duration.ofSeconds(10);
    private static final InetAddress HERE = InetAddress.getLoopbackAddress();
    private static final InetSocketAddress ANY = new InetSocketAddress(HERE, 0);
    private static final String ROOM = "wait only while there is no room for"
            + " them; wake() the other thread; hold no lock during a sleep or"
            + " a write; a stall discards bytes at once, not when they are"
            + " due";
    private static final String TWO_MOVES = "the writer takes the head of the"
            + " queue when it is due, and put() only stamps it";

    /** Loads what takes long, so that no test has to wait for it. */
    public static final class WarmUp implements Runnable {

        @Override
        public void run() {
            try {
                var server = HttpServer.create(ANY, 0);
                server.createContext("/", call -> {
                    call.sendResponseHeaders(204, -1);
                    call.close();
                });
                server.start();
                var client = new OkHttpClient();
                get(client).get(URI.create("http://127.0.0.1:"
                        + server.getAddress().getPort() + "/"));
                server.stop(0);
            } catch (Exception e) {
                // Then the first test takes longer.
            }
        }

        private interface Getter {
            String get(URI uri) throws IOException;
        }

        private static Getter get(OkHttpClient client) {
            return uri -> body(client, uri);
        }
    }

    @Step(value = 1, title = "Delay a handler, delay accept")
    class Delay_a_handler_delay_accept {

        @Test
        void a_slow_handler_answers_after_the_delay() throws Exception {
            // rejects: no delay; a delay behind the answer; milliseconds
            var clock = new Clock();
            var calls = new AtomicInteger();
            var slow = SlowNetwork.slow(_ -> calls.incrementAndGet(),
                    millis(300).plusNanos(400_000), clock);
            var call = PendingCall.start(() -> {
                slow.handle(null);
                return true;
            });
            awaitSleeper(clock, call, "handle()", "wait by"
                    + " timing.sleepUntil() before you call the handler");
            clock.advance(millis(300).plusNanos(399_999));
            Check.that(clock.sleepers() == 1 && calls.get() == 0, "the handler"
                    + " not to be called before its delay of 300.4 ms is over,"
                    + " but it was", "sleep until nanoTime() +"
                    + " delay.toNanos()");
            clock.advance(Duration.ofNanos(1));
            Await.value(call.outcome(), "handle() to return after 300.4 ms",
                    "sleep until nanoTime() + delay.toNanos()");
            Check.equal(1, calls.get(), "calls of the handler after 300.4 ms",
                    "call handler.handle(exchange) after the pause");
        }

        @Test
        void requests_wait_at_the_same_time() throws Exception {
            // rejects: a lock around the pause, or around the handler; one
            // instant for all requests
            var clock = new Clock();
            var slow = SlowNetwork.slow(_ -> { }, millis(300), clock);
            Callable<Boolean> handle = () -> {
                slow.handle(null);
                return true;
            };
            var calls = new ArrayList<PendingCall<Boolean>>();
            for (int i = 1; i <= 3; i++) {
                var call = PendingCall.start(handle);
                calls.add(call);
                int sleepers = i;
                Await.until(() -> clock.sleepers() == sleepers
                        || call.outcome().isDone(), i + " requests that wait"
                        + " at the same time", "hold no lock during the pause");
            }
            clock.advance(millis(200));
            var late = PendingCall.start(handle);
            awaitSleepers(clock, 4, "a request that comes 200 ms later");
            clock.advance(millis(100));
            for (var call : calls) {
                Await.value(call.outcome(), "three requests that came at the"
                        + " same time to be answered after 300 ms", "each"
                        + " request waits for itself, from its own beginning");
            }
            Check.equal(1, clock.sleepers(), "requests that still wait when"
                    + " 300 ms have passed for three and 100 ms for a fourth",
                    "each request waits from its own beginning");
            clock.advance(millis(200));
            Await.value(late.outcome(), "the fourth request to be answered",
                    "");
            var both = new Phaser(2);
            closeLater(both::forceTermination);
            var busy = SlowNetwork.slow(_ -> both.arriveAndAwaitAdvance(),
                    Duration.ZERO, clock);
            for (int i = 0; i < 2; i++) {
                calls.set(i, PendingCall.start(() -> {
                    busy.handle(null);
                    return true;
                }));
            }
            for (var call : calls) {
                Await.value(call.outcome(), "two handlers to work at the same"
                        + " time", "hold no lock while the handler works");
            }
        }

        @Test
        void an_interrupt_ends_the_pause_and_the_handler_is_not_called()
                throws Exception {
            var clock = new Clock();
            var calls = new AtomicInteger();
            var slow = SlowNetwork.slow(_ -> calls.incrementAndGet(), LONG,
                    clock);
            var call = PendingCall.start(() -> thrownBy(() -> {
                slow.handle(null);
                return null;
            }));
            awaitSleeper(clock, call, "handle()", "wait by sleepUntil()");
            call.thread().interrupt();
            interrupted(call, "handle()");
            Check.equal(0, calls.get(), "calls of the handler after an"
                    + " interrupt", "let the exception of pause() pass");
        }

        @Test
        void a_slow_accept_does_not_delay_connect() throws Exception {
            // rejects: a pause before super.accept()
            var clock = new Clock();
            var listener = listener(millis(300), clock);
            var accept = PendingCall.start(listener::accept);
            accept.awaitWaiting();
            Check.equal(0L, clock.sleeps(), "pauses of accept() before a"
                    + " client has come", "call super.accept() first, and"
                    + " pause afterwards");
            var client = Peer.connect((InetSocketAddress)
                    listener.getLocalSocketAddress(), "client");
            awaitSleeper(clock, accept, "accept()", "pause() when"
                    + " super.accept() has returned");
            clock.advance(millis(300).minusNanos(1));
            Check.that(clock.sleepers() == 1, "accept() to wait for 300 ms"
                    + " after the client has come", "pause() for the delay");
            clock.advance(Duration.ofNanos(1));
            var socket = Await.value(accept.outcome(), "accept() to return"
                    + " after 300 ms", "return the socket of super.accept()");
            Peer.on(socket, "server").play("", send("welcome"));
            client.play("return the socket that was accepted",
                    receive("welcome"));
        }

        @Test
        void the_read_timeout_of_a_client_catches_a_slow_accept()
                throws Exception {
            // a client that nobody here wrote
            var clock = new Clock();
            var listener = listener(LONG, clock);
            var accept = PendingCall.start(() -> thrownBy(listener::accept));
            var client = okHttp(builder -> builder.readTimeout(millis(50)));
            var timeout = Check.fails(SocketTimeoutException.class,
                    () -> body(client, URI.create("http://127.0.0.1:"
                            + listener.getLocalPort() + "/")), "OkHttp with a"
                            + " read timeout of 50 ms, of a server that accepts"
                            + " after an hour", "accept, then pause()");
            var message = String.valueOf(timeout.getMessage());
            Check.that(!message.contains("connect"),
                    "a read timeout, got " + timeout, "accept() sleeps after"
                            + " the connection is there");
            awaitSleeper(clock, accept, "accept()", "accept, then pause()");
            clock.advance(LONG);
            Await.value(accept.outcome(), "accept() to return", "");
        }

        @Test
        void an_interrupt_during_the_pause_closes_the_connection()
                throws Exception {
            // rejects: a socket that is left open
            var clock = new Clock();
            var listener = listener(LONG, clock);
            var accept = PendingCall.start(() -> thrownBy(listener::accept));
            var client = Peer.connect((InetSocketAddress)
                    listener.getLocalSocketAddress(), "client");
            awaitSleeper(clock, accept, "accept()", "pause()");
            accept.thread().interrupt();
            interrupted(accept, "accept()");
            client.play("close the socket when pause() throws", gone());
        }

        @Test
        void a_listener_that_is_closed_during_the_pause_closes_the_connection()
                throws Exception {
            // rejects: a connection of a server that is no more
            var clock = new Clock();
            var listener = listener(millis(300), clock);
            var accept = PendingCall.start(() -> thrownBy(listener::accept));
            var client = Peer.connect((InetSocketAddress)
                    listener.getLocalSocketAddress(), "client");
            awaitSleeper(clock, accept, "accept()", "pause()");
            listener.close();
            clock.advance(millis(300));
            var thrown = Await.value(accept.outcome(), "accept() to end after"
                    + " 300 ms", "");
            Check.that(thrown.failure() instanceof SocketException,
                    "a SocketException from accept() when the listener was"
                            + " closed during the pause, got "
                            + thrown.failure(), "look at isClosed() after the"
                            + " pause");
            client.play("close the socket before you throw", gone());
        }
    }

    @Step(value = 2, title = "Add latency")
    class Add_latency {

        @Test
        void bytes_and_the_end_of_stream_pass_unchanged() throws Exception {
            // rejects: an order that changes; a whole array for a part
            var line = new Line(new Clock());
            var bytes = random(1_000_000);
            for (int at = 0; at < bytes.length; at += 10_000) {
                line.put(Arrays.copyOfRange(bytes, at, at + 10_000));
            }
            line.put(new byte[0]);
            line.ends(SlowNetwork.Action.END, "after the end of stream");
            Check.sameBytes(bytes, line.bytes(), "a million bytes that passed a pipe",
                    "write each chunk once, in the order of the queue");
        }

        @Test
        void each_byte_is_delayed_by_the_latency() throws Exception {
            // rejects: no delay; milliseconds for nanoseconds; a wait() that
            // is taken for a chunk
            var line = new Line(new Clock());
            var woken = "plan() again after each wait(), as long as the plan is"
                    + " IDLE";
            line.awaitIdle("run() to wait for a chunk", woken);
            var latency = millis(100).plusNanos(400_000);
            line.pipe.add(toxic("0", DOWN, new SlowNetwork.Latency(latency)));
            line.awaitIdle("run() to wait for a chunk still, when a toxic has"
                    + " been added", woken);
            line.put("abc");
            line.silentUntil(latency, "abc, read at 0 ms with a latency of"
                    + " 100.4 ms");
            line.wrote("100 ms abc", "due() is the instant at which the chunk"
                    + " was read, plus the latency");
        }

        @Test
        void chunks_that_are_read_together_are_written_together()
                throws Exception {
            // rejects: a sleep for each chunk
            var line = new Line(new Clock(), latency(100));
            for (int i = 0; i < 50; i++) {
                line.put("" + (char) ('0' + i));
            }
            line.silentUntil(100, "50 chunks, read at 0 ms with a latency of"
                    + " 100 ms");
            line.wrote("100 ms " + IntStream.range(0, 50).mapToObj(
                    i -> "" + (char) ('0' + i)).collect(Collectors.joining()),
                    "a latency delays all chunks at the same time: sleep until"
                            + " an instant that is counted from when the chunk"
                            + " was read, and not for 100 ms each");
        }

        @Test
        void the_latency_is_counted_from_the_read() throws Exception {
            // rejects: one counted from the last write, or from the wake-up
            var line = new Line(new Clock(), latency(100));
            line.put("a");
            line.asleep();
            line.clock.advance(millis(60));
            line.put("b");
            line.clock.advance(millis(40));
            line.wrote("100 ms a", "the first chunk was read at 0 ms");
            line.asleep();
            line.clock.advance(millis(59));
            line.asleep();
            line.clock.advance(millis(1));
            line.wrote("100 ms a|160 ms b", "stamp each chunk in put(), when it"
                    + " was read; \"b\" was read at 60 ms");
        }

        @Test
        void a_write_that_blocks_adds_no_latency_to_the_next_chunk()
                throws Exception {
            // rejects: a stamp of the writer
            var line = new Line(new Clock(), latency(100));
            var taken = line.holdWrites();
            line.put("a");
            line.asleep();
            line.clock.advance(millis(20));
            line.put("b");
            line.clock.advance(millis(80));
            Await.open(taken, "the first chunk to be written at 100 ms",
                    TWO_MOVES);
            line.put("c");
            line.clock.advance(millis(50));
            line.releaseWrites();
            line.silentUntilMore(50, "c, read at 100 ms, when a write blocked");
            line.wrote("150 ms ab|200 ms c", "\"b\" was due at 120 ms, while"
                    + " the writer was blocked until 150 ms: then it is"
                    + " written at once");
        }

        @Test
        void the_end_of_stream_has_the_same_latency() throws Exception {
            var line = new Line(new Clock(), latency(100));
            line.put("a");
            line.asleep();
            line.clock.advance(millis(50));
            line.put(new byte[0]);
            line.clock.advance(millis(50));
            line.wrote("100 ms a", "");
            line.asleep();
            line.clock.advance(millis(49));
            line.asleep();
            line.clock.advance(millis(1));
            line.ends(SlowNetwork.Action.END, "100 ms after the end of stream"
                    + " was put");
        }

        @Test
        void two_latencies_add_up() throws Exception {
            // rejects: the largest one, the last one
            var line = new Line(new Clock(), latency(100), latency(50));
            line.put("a");
            line.silentUntil(150, "a, read at 0 ms with latencies of 100 and"
                    + " 50 ms");
            line.wrote("150 ms a", "each effect is applied to the move that the"
                    + " one before it has made");
        }

        @Test
        void the_latency_is_right_when_nanoTime_overflows() throws Exception {
            // rejects: instants that are compared
            var clock = new Clock();
            clock.startAt(Long.MAX_VALUE - 50_000_000);
            var line = new Line(clock, latency(100));
            line.put("a");
            line.silentUntil(100, "a, 100 ms after it was read, when nanoTime()"
                    + " overflows after 50 ms");
            line.wrote("100 ms a", "compare due - nanoTime() with 0");
        }

        @Test
        void a_full_queue_makes_put_wait_for_room() throws Exception {
            // rejects: a queue without bounds; a bound that is exclusive; a
            // stamp after the wait
            var line = new Line(new Clock(), latency(100));
            line.put(new byte[QUEUE - 1]);
            line.put(new byte[1]);
            line.asleep();
            var put = line.startPut(new byte[1]);
            put.awaitWaiting();
            Check.that(!put.outcome().isDone(), "put() of one byte to wait"
                    + " while maxQueuedBytes are in the queue, but it returned",
                    "wait() while queuedBytes + bytes.length > maxQueuedBytes");
            line.clock.advance(millis(100));
            Await.value(put.outcome(), "put() to return when there is room",
                    "take() calls notifyAll(); wait in a loop");
            line.awaitBytes(QUEUE + 1, "the byte that had to wait for room, at"
                    + " 100 ms: it was read at 0 ms, so it is due then", "stamp"
                    + " the bytes before you wait for room");
            line.put("a");
            line.asleep();
            line.clock.advance(millis(50));
            line.put(new byte[QUEUE - 1]);
            put = line.startPut("bc".getBytes());
            put.awaitWaiting();
            line.clock.advance(millis(50));
            line.awaitBytes(QUEUE + 2, "\"a\" at 200 ms", "");
            line.asleep();
            put.awaitWaiting();
            Check.that(!put.outcome().isDone(), "put() of two bytes to wait"
                    + " while there is room for one, but it returned", "look"
                    + " again, in a loop, whether there is room for all bytes"
                    + " that are put");
            line.clock.advance(millis(50));
            Await.value(put.outcome(), "put() to return when there is room",
                    "take() calls notifyAll(); wait in a loop");
        }

        @Test
        void a_failed_write_ends_run_with_its_exception() throws Exception {
            var pipe = closeLater(new SlowNetwork.Pipe(_ -> {
                throw new IOException("Broken pipe");
            }, QUEUE, new Clock()));
            var run = PendingCall.start(() -> thrownBy(pipe::run));
            pipe.put(new byte[1]);
            var ended = Await.value(run.outcome(), "run() to end when a write"
                    + " fails", "let the exception pass");
            Check.equal("Broken pipe", ended.failure() == null ? "nothing"
                    : ended.failure().getMessage(), "what run() throws",
                    "let the exception of sink.write() pass");
        }

        @Test
        void close_ends_a_put_that_waits_and_a_run_that_sleeps()
                throws Exception {
            // rejects: a wait that asks for room only
            var clock = new Clock();
            var line = new Line(clock, new SlowNetwork.Latency(LONG));
            line.put(new byte[QUEUE]);
            line.asleep();
            var put = line.startPut(new byte[1]);
            put.awaitWaiting();
            line.pipe.close();
            Await.value(put.outcome(), "put() to return when the pipe is"
                    + " closed", "wait while there is no room and the pipe is"
                    + " not closed");
            Await.until(() -> line.run.outcome().isDone(), "run() to end when"
                    + " the pipe is closed during its sleep", "set sleeper to"
                    + " this thread before you sleep; return STOP");
            Check.equal(0, line.bytes().length, "bytes written at close()",
                    "return STOP at once");
        }

        @Test
        void a_half_close_ends_one_direction_only() throws Exception {
            // rejects: a connection that ends with its first direction
            var net = new Net(new Clock());
            net.connect();
            net.client.play("", send("how many?"), halfClose());
            net.server.play("END is shutdownOutput() of one direction",
                    receive("how many?"), end(), send("17 in stock"));
            net.client.play("run() returns END for its own direction only",
                    receive("17 in stock"));
            net.server.play("", close());
            net.client.play("", end());
        }

        @Test
        void each_direction_has_its_own_latency() throws Exception {
            // the first connection has the toxics of start()
            var net = new Net(new Clock(), toxic("slow", UP, latency(100)));
            net.connect();
            net.server.play("", send("welcome"));
            net.client.play("the toxic is for the other direction",
                    receive("welcome"));
            net.client.play("", send("hello"));
            awaitSleepers(net.clock, 1, "bytes of the first connection that are"
                    + " delayed");
            net.clock.advance(millis(100));
            net.server.play("", receive("hello"));
        }

        @Test
        void a_megabyte_passes_the_proxy_in_both_directions()
                throws Exception {
            var net = new Net(SlowNetwork.Timing.system());
            var bytes = random(1 << 20);
            var echo = PendingCall.start(() -> {
                try (var socket = net.listener.accept()) {
                    return socket.getInputStream().transferTo(
                            socket.getOutputStream());
                }
            });
            try (var client = new Socket(HERE, net.port())) {
                var got = PendingCall.start(
                        () -> client.getInputStream().readAllBytes());
                client.getOutputStream().write(bytes);
                client.shutdownOutput();
                Check.sameBytes(bytes, Await.value(got.outcome(), "an echo of 1 MiB", ""),
                        "an echo of 1 MiB", "write each chunk once, in order");
            }
            Await.value(echo.outcome(), "the echo to end", "");
            var stats = net.proxy.stats();
            Check.equal(List.of(1L << 20, 1L << 20), List.of(stats.readUp(),
                    stats.writtenDown()), "readUp and writtenDown", "");
        }

        @Test
        void toxicity_is_decided_by_one_draw_for_each_connection()
                throws Exception {
            var draws = new ConcurrentLinkedQueue<>(List.of(0.4, 0.5, 0.6));
            var net = new Net(new Clock(), draws::poll, new SlowNetwork.Toxic(
                    "some", DOWN, 0.5, new SlowNetwork.Latency(LONG)));
            for (int i = 1; i <= 3; i++) {
                net.connect();
                net.server.play("", send("a"));
                if (i == 1) {
                    awaitSleepers(net.clock, 1, "the bytes of a connection"
                            + " whose draw was 0.4, with a toxicity of 0.5");
                } else {
                    net.client.play("draw < toxicity", receive("a"));
                }
            }
            Check.equal(0, draws.size(), "draws left of 3", "");
        }

        @Test
        void a_closed_proxy_refuses_and_its_port_can_be_used_again()
                throws Exception {
            var net = new Net(new Clock());
            net.connect();
            net.client.play("", send("hello"));
            net.server.play("write what is due", receive("hello"));
            net.proxy.close();
            net.client.play("", gone());
            Check.fails(ConnectException.class, () -> new Socket(HERE,
                    net.port()).close(), "connect() to a closed proxy", "");
            var again = closeLater(SlowNetwork.start(net.proxy.localAddress(),
                    (InetSocketAddress) net.listener.getLocalSocketAddress(),
                    SlowNetwork.Options.defaults()));
            Check.equal(net.port(), again.localAddress().getPort(), "the port"
                    + " of a proxy that is started at the same address", "");
        }

    }

    @Step(value = 3, title = "Black-hole, truncate and reset")
    class Black_hole_truncate_and_reset {

        private static final String STALL = "DISCARD what would be written"
                + " during a stall, at once";

        @Test
        void a_stall_discards_bytes_and_goes_on_reading() throws Exception {
            // rejects: a reader that stops; bytes that are kept
            var line = new Line(new Clock(), timeout(0, 0));
            for (int i = 0; i < 32; i++) {
                line.put(new byte[QUEUE / 2]);
            }
            line.put(new byte[0]);
            line.ends(SlowNetwork.Action.END, "after the end of stream: it"
                    + " passes a stall");
            Check.equal(0, line.bytes().length, "bytes that pass a stall",
                    STALL);
            equal("END at 50", SlowNetwork.stall(new SlowNetwork.Timeout(
                    Duration.ofNanos(100), 0), SlowNetwork.Move.of(new byte[0],
                    50), 0, 0, 60), "stall() of an end of stream, before its"
                    + " timeout is over", "during a stall, only WRITE and IDLE"
                    + " change");
        }

        @Test
        void a_stall_discards_bytes_at_once_whatever_their_latency()
                throws Exception {
            // rejects: bytes that fill the queue until they are due
            var slow = new SlowNetwork.Latency(LONG);
            for (var faults : List.of(List.of(slow, timeout(0, 0)),
                    List.of(timeout(0, 0), slow))) {
                var line = new Line(new Clock(),
                        faults.toArray(SlowNetwork.Fault[]::new));
                for (int i = 0; i < 4; i++) {
                    line.put(new byte[QUEUE / 2]);
                }
                line.awaitRoom("all bytes to be discarded, though each has a"
                        + " latency of an hour, by " + faults, STALL + "; a"
                        + " latency does not change DISCARD: move.later()");
                Check.equal(0, line.bytes().length, "bytes that pass a stall",
                        STALL);
            }
        }

        @Test
        void the_timeout_closes_the_connection_though_bytes_keep_coming()
                throws Exception {
            // rejects: a timeout that each chunk starts again, as Toxiproxy's
            var line = new Line(new Clock(), timeout(100, 0));
            line.asleep();
            for (int i = 0; i < 3; i++) {
                line.put("x");
                line.clock.advance(millis(30));
                line.asleep();
            }
            line.put("y");
            line.clock.advance(millis(10).minusNanos(1));
            line.asleep();
            line.clock.advance(Duration.ofNanos(1));
            line.ends(SlowNetwork.Action.CLOSE, "100 ms after the stall began:"
                    + " the timeout is counted from last, which bytes that are"
                    + " discarded do not change");
            Check.equal(0, line.bytes().length, "bytes that pass a stall",
                    STALL);
        }

        @Test
        void the_timeout_closes_the_connection_though_no_byte_comes()
                throws Exception {
            // rejects: a timeout that only a chunk can start; the nanoseconds
            // within the second
            for (int millis : new int[] {100, 1_100}) {
                var line = new Line(new Clock(), timeout(millis, 0));
                line.silentUntil(millis, "a stall of " + millis + " ms");
                line.ends(SlowNetwork.Action.CLOSE, millis + " ms after the"
                        + " stall began: IDLE becomes CLOSE, at last +"
                        + " timeout.toNanos()");
            }
        }

        @Test
        void a_chunk_that_waits_when_the_timeout_is_over_is_not_written()
                throws Exception {
            var line = new Line(new Clock(), timeout(0, 0));
            line.put("x");
            line.awaitRoom("a stall to discard a byte", STALL);
            var move = new SlowNetwork.Move(SlowNetwork.Action.WRITE,
                    ByteBuffer.allocate(5), 90);
            var fault = new SlowNetwork.Timeout(Duration.ofNanos(100), 0);
            discards(SlowNetwork.stall(fault, move, 0, 0, 99), 99, "a chunk"
                    + " 1 ns before its timeout is over");
            discards(SlowNetwork.stall(fault, move.instead(
                    SlowNetwork.Action.WRITE, 190), 0, 0, 50), 50, "a chunk"
                    + " that is due at 190, with a timeout that is over at"
                    + " 100");
            equal("CLOSE at 100", SlowNetwork.stall(fault, move, 0, 0, 100),
                    "stall() of a chunk when its timeout is over",
                    "look at now first: while chunks keep coming, the"
                            + " connection would never be closed");
            equal("CLOSE at 100", SlowNetwork.stall(fault, move, 0, 0, 150),
                    "stall() of a chunk 50 ns after its timeout",
                    "it is due when the timeout was over");
        }

        private static void discards(SlowNetwork.Move move, long now,
                String what) {
            Check.that(move.action() == SlowNetwork.Action.DISCARD
                    && move.due() <= now, "stall() at " + now + " of " + what
                    + " to be DISCARD at " + now + " or earlier, got "
                    + move.action() + " at " + move.due(), STALL);
        }

        @Test
        void a_timeout_of_zero_never_closes_the_connection() throws Exception {
            // rejects: zero as a timeout that is over
            var line = new Line(new Clock(), timeout(0, 0));
            line.put("x");
            line.clock.advance(Duration.ofDays(1));
            line.put("y");
            line.awaitRoom("a stall without a timeout to go on for a day",
                    "a timeout of zero never closes");
        }

        @Test
        void so_many_bytes_pass_before_the_stall() throws Exception {
            // rejects: a chunk that passes whole; a stall that begins at once
            var line = new Line(new Clock(), timeout(100, 10));
            line.put("0123456");
            line.awaitBytes(7, "7 bytes before a stall", "before the stall,"
                    + " all bytes pass");
            line.clock.advance(millis(50));
            line.put("789abc");
            line.put("def");
            line.awaitBytes(10, "10 bytes before a stall", "before the stall,"
                    + " a move has at most the bytes that are left");
            line.asleep();
            line.clock.advance(millis(100).minusNanos(1));
            line.asleep();
            line.clock.advance(Duration.ofNanos(1));
            line.ends(SlowNetwork.Action.CLOSE, "100 ms after the tenth byte,"
                    + " with which the stall began");
            Check.equal("0 ms 0123456|50 ms 789", line.seen(), "what was"
                    + " written", "before the stall, not more bytes than are"
                    + " left");
            passes(timeout(0, Long.MAX_VALUE));
        }

        private static void passes(SlowNetwork.Fault fault)
                throws InterruptedException {
            var line = new Line(new Clock(), fault);
            line.put("abc");
            line.awaitBytes(3, "3 bytes to pass " + fault, "the number of bytes"
                    + " that are left is a long; atMost() takes it");
        }

        @Test
        void a_limit_closes_the_connection_after_exactly_so_many_bytes()
                throws Exception {
            // rejects: whole chunks; one byte too many; a close that waits
            limited(9, "0 ms 012345678", "0123456789");
            limited(10, "0 ms 0123456789", "0123456789");
            limited(11, "0 ms 0123456789a", "0123456789", "abc");
            limited(1, "0 ms 0", "0123456789", "abc");
            limited(13, "0 ms 0123456789abc", "0123456789", "abc");
            var line = new Line(new Clock(), limit(14));
            line.put("0123456789abc");
            line.put(new byte[0]);
            line.ends(SlowNetwork.Action.END, "after the end of stream, with a"
                    + " limit of 14 bytes, of which 13 have come");
            passes(new SlowNetwork.LimitData(Long.MAX_VALUE));
        }

        private static void limited(int limit, String expected,
                String... chunks) throws Exception {
            var line = new Line(new Clock(), new SlowNetwork.LimitData(limit));
            for (var chunk : chunks) {
                line.put(chunk);
            }
            line.ends(SlowNetwork.Action.CLOSE, "when " + limit + " bytes have"
                    + " passed, without another one");
            Check.equal(expected, line.seen(), "what passes a limit of "
                    + limit, "not more bytes than are left; count those of"
                    + " earlier chunks");
        }

        @Test
        void a_limit_of_zero_closes_the_connection_at_the_first_byte()
                throws Exception {
            // rejects: a close before a byte has come
            var line = new Line(new Clock(), new SlowNetwork.LimitData(0));
            line.awaitIdle("a limit of 0 to wait for a first byte",
                    "IDLE is not changed while no byte has passed");
            line.put("a");
            line.ends(SlowNetwork.Action.CLOSE, "at the first byte");
            Check.equal(0, line.bytes().length, "bytes that pass a limit of 0",
                    "CLOSE in place of WRITE");
            var silent = new Line(new Clock(), new SlowNetwork.LimitData(0));
            silent.put(new byte[0]);
            silent.ends(SlowNetwork.Action.END, "after the end of stream, which"
                    + " passes a limit of 0");
        }

        @Test
        void the_bytes_before_a_limit_keep_their_latency() throws Exception {
            // rejects: a close that waits for what comes behind the limit, or
            // an end of stream in place of it
            keepLatency("56789", latency(100), limit(5));
            keepLatency("56789", limit(5), latency(100));
            keepLatency("", limit(5), latency(100));
        }

        private static void keepLatency(String next,
                SlowNetwork.Fault... faults) throws InterruptedException {
            var line = new Line(new Clock(), faults);
            line.put("01234");
            line.asleep();
            line.clock.advance(millis(50));
            line.put(next.getBytes());
            var names = List.of(faults) + "";
            line.silentUntil(50, "01234, read at 0 ms with " + names);
            line.ends(SlowNetwork.Action.CLOSE, "at 100 ms, with the fifth"
                    + " byte, which a limit of 5 lets pass last: CLOSE at last,"
                    + " whatever comes next");
            Check.equal("100 ms 01234", line.seen(), "what passes " + names,
                    "CLOSE comes after the byte");
        }

        @Test
        void a_reset_comes_with_the_first_chunk_or_later() throws Exception {
            // rejects: a reset before anything has come; a chunk that passes
            for (var after : List.of(Duration.ZERO, Duration.ofNanos(400_000),
                    millis(50))) {
                for (var chunk : List.of("a", "")) {
                    var line = new Line(new Clock(),
                            new SlowNetwork.ResetPeer(after));
                    line.awaitIdle("no reset before anything has come",
                            "leave IDLE alone");
                    line.clock.advance(millis(10));
                    line.put(chunk.getBytes());
                    if (after.isPositive()) {
                        line.silentUntil(after, "a reset " + after + " after"
                                + " the first chunk");
                    }
                    line.ends(SlowNetwork.Action.RESET, after + " after "
                            + (chunk.isEmpty() ? "the end of stream"
                            : "the first chunk"));
                    Check.equal(0, line.bytes().length, "bytes written before"
                            + " a reset", "RESET in place of WRITE");
                }
            }
        }

        @Test
        void a_fault_acts_on_what_those_before_it_let_pass() throws Exception {
            // rejects: a reset or a close in place of DISCARD; a stall or a
            // close in place of RESET; the last effect applied first
            var reset = new SlowNetwork.ResetPeer(Duration.ZERO);
            for (var behind : List.of(reset, limit(0))) {
                var stalls = new Line(new Clock(), timeout(0, 0), behind);
                stalls.put("a");
                stalls.awaitRoom("a stall to let nothing come to the " + behind
                        + " behind it", "reset() changes WRITE and END only,"
                        + " a limit of 0 only WRITE; affected() begins with"
                        + " the effect that was added first");
            }
            for (var behind : List.of(timeout(0, 0), limit(0))) {
                var resets = new Line(new Clock(), reset, behind);
                resets.put("a");
                resets.ends(SlowNetwork.Action.RESET, "at the first chunk, when"
                        + " " + behind + " comes behind reset_peer: stall()"
                        + " changes WRITE and IDLE only, a limit of 0 only"
                        + " WRITE");
            }
        }

        @Test
        void a_reset_is_an_RST_and_a_limit_is_a_FIN() throws Exception {
            var net = new Net(new Clock(), toxic("reset", DOWN,
                    new SlowNetwork.ResetPeer(Duration.ZERO)));
            net.connect();
            net.server.play("", send("0123456789"));
            net.client.play("RESET in place of WRITE", aborted());
            net.server.play("a reset is for both sides", gone());
            var cut = new Net(new Clock(), toxic("limit", DOWN, limit(4)));
            for (int i = 0; i < 2; i++) {
                cut.connect();
                cut.server.play("", send("0123456789"));
                cut.client.play("each connection has its own count; a limit"
                        + " is CLOSE after the last byte", receive("0123"),
                        end());
                cut.server.play("a limit is for both sides", gone());
            }
        }

        @Test
        void the_other_direction_of_a_stall_goes_on() throws Exception {
            // rejects: a stall of the whole connection
            var net = new Net(new Clock(), toxic("hole", DOWN,
                    timeout(100, 0)));
            net.connect();
            net.client.play("", send("hello?"));
            net.server.play("the stall is downstream only", receive("hello?"),
                    send("x".repeat(200_000)));
            Await.until(() -> net.proxy.stats().readDown() == 200_000, "the"
                    + " proxy to read on during a stall", STALL);
            net.client.play("", send("hello??"));
            net.server.play("", receive("hello??"));
            net.clock.advance(millis(100));
            net.client.play("the timeout closes the connection, and no byte"
                    + " passes", end());
            net.server.play("the timeout closes both sides", gone());
            Check.equal(0L, net.proxy.stats().writtenDown(), "bytes written"
                    + " downstream", STALL);
        }
    }

    @Step(value = 4, title = "Test a client's timeouts")
    class Test_a_clients_timeouts {

        @Test
        void without_a_fault_the_client_gets_the_whole_answer()
                throws Exception {
            long start = System.nanoTime();
            var verdict = prove(uri -> {
                try (var socket = ask(uri)) {
                    var in = socket.getInputStream();
                    var head = new StringBuilder();
                    while (!head.toString().endsWith("\r\n\r\n")) {
                        head.append((char) in.read());
                    }
                    return new String(in.readNBytes(20_000));
                }
            }, SlowNetwork.Scenario.NONE);
            var all = Duration.ofNanos(System.nanoTime() - start);
            verdict(verdict, SlowNetwork.Outcome.ANSWER, true, "compare what"
                    + " the client returns with BODY");
            Check.that(verdict.took().compareTo(all) <= 0, "took() of a call"
                    + " that has ended not to be longer than prove() itself, "
                    + all + ", got " + verdict.took(), "measure until the call"
                    + " has ended, in nanoseconds");
        }

        @Test
        void refused_means_that_nobody_listens() throws Exception {
            var verdict = failed(SlowNetwork.Scenario.REFUSED, uri -> {
                new Socket(HERE, uri.getPort()).close();
                return "connected";
            });
            Check.that(verdict.cause().orElseThrow()
                    instanceof ConnectException, "a ConnectException as cause"
                    + " of REFUSED, got " + verdict.cause(), "");
        }

        @Test
        void a_black_hole_accepts_and_never_answers() throws Exception {
            var seen = new CompletableFuture<String>();
            failed(SlowNetwork.Scenario.BLACK_HOLE, uri -> {
                try (var socket = ask(uri)) {
                    socket.setSoTimeout(100);
                    seen.complete("read() = " + socket.getInputStream().read());
                    return "";
                } catch (SocketTimeoutException e) {
                    seen.complete("nothing");
                    throw e;
                } catch (IOException e) {
                    seen.complete(e.toString());
                    throw e;
                }
            });
            Check.equal("nothing", seen.join(), "what a client reads from a"
                    + " black hole in 100 ms", "Timeout of zero, downstream,"
                    + " from the first byte on");
        }

        @Test
        void a_trickle_comes_little_by_little() throws Exception {
            // rejects: an answer that is cut, or comes at once or too fast
            var read = new AtomicInteger();
            var there = new AtomicInteger();
            var millis = new AtomicLong();
            failed(SlowNetwork.Scenario.TRICKLE, uri -> {
                long start = System.nanoTime();
                try (var socket = ask(uri)) {
                    var in = socket.getInputStream();
                    for (int count = 0; read.get() < 250 && count != -1;
                            read.addAndGet(Math.max(count, 0))) {
                        count = in.read(new byte[100]);
                    }
                    there.set(read.get() + in.available());
                    millis.set((System.nanoTime() - start) / 1_000_000);
                    throw new IOException("seen enough");
                }
            });
            Check.that(read.get() >= 250 && there.get() <= millis.get() + 1,
                    "a trickle of 20,000 bytes to come at 1 kB/s, which is a"
                    + " byte each ms; in " + millis.get() + " ms, "
                    + there.get() + " bytes came", "Bandwidth(1), downstream");
        }

        @Test
        void a_reset_comes_instead_of_an_answer() throws Exception {
            var seen = new CompletableFuture<String>();
            var verdict = failed(SlowNetwork.Scenario.RESET, uri -> {
                try (var socket = ask(uri)) {
                    seen.complete("read() = " + socket.getInputStream().read());
                    return "";
                }
            });
            Check.that(!seen.isDone() && verdict.cause().orElseThrow()
                    instanceof SocketException, "a reset and no byte, got "
                    + seen.getNow("") + " " + verdict.cause(), "ResetPeer of"
                    + " zero, downstream");
        }

        @Test
        void a_cut_body_ends_in_the_middle() throws Exception {
            var length = new AtomicInteger();
            failed(SlowNetwork.Scenario.CUT_BODY, uri -> {
                try (var socket = ask(uri)) {
                    var all = new String(socket.getInputStream()
                            .readAllBytes());
                    length.set(all.substring(all.indexOf("\r\n\r\n") + 4)
                            .length());
                    throw new EOFException("cut");
                }
            });
            Check.that(length.get() > 1000 && length.get() < 19_000, "a part"
                    + " of the 20,000 bytes of the body, then the end; got "
                    + length + " bytes", "LimitData of half the body");
        }

        @Test
        void a_client_that_is_still_waiting_is_not_protected()
                throws Exception {
            // rejects: a wait without an end; a budget that is not kept
            var interrupted = new CompletableFuture<Boolean>();
            var budget = millis(50);
            var call = PendingCall.start(() -> SlowNetwork.prove(_ -> {
                try {
                    new CountDownLatch(1).await();
                    return "";
                } catch (InterruptedException e) {
                    interrupted.complete(true);
                    throw e;
                }
            }, SlowNetwork.Scenario.NONE, budget));
            var verdict = Await.value(call.outcome(), "prove() to return when"
                    + " the budget of 50 ms is used up", "wait for the budget"
                    + " at most");
            verdict(verdict, SlowNetwork.Outcome.STILL_WAITING, false,
                    "a TimeoutException of get() is STILL_WAITING");
            Check.that(verdict.took().compareTo(budget) >= 0, "prove() to wait"
                    + " for the whole budget of 50 ms, it took "
                    + verdict.took(), "wait for budget.toNanos()");
            Await.value(interrupted, "the client's thread to be interrupted",
                    "cancel(true) in a finally block");
            var released = new CompletableFuture<String>();
            closeLater(() -> released.complete(""));
            var stubborn = PendingCall.start(() -> SlowNetwork.prove(_ ->
                    released.exceptionally(_ -> "").join(),
                    SlowNetwork.Scenario.NONE, budget));
            verdict(Await.value(stubborn.outcome(), "prove() to return when the"
                    + " budget is used up, with a client that an interrupt does"
                    + " not end", "interrupt the client's thread, and do not"
                    + " wait for its end"), SlowNetwork.Outcome.STILL_WAITING,
                    false, "");
            var began = new CountDownLatch(1);
            var ended = new CompletableFuture<Boolean>();
            var proof = PendingCall.start(() -> thrownBy(() -> prove(_ -> {
                began.countDown();
                try {
                    new CountDownLatch(1).await();
                    return "";
                } finally {
                    ended.complete(true);
                }
            }, SlowNetwork.Scenario.NONE)));
            Await.open(began, "the client to be called", "start the task");
            proof.thread().interrupt();
            Check.that(Await.value(proof.outcome(), "prove() to end when its"
                    + " thread is interrupted", "let the exception pass")
                    .failure() instanceof InterruptedException, "an"
                    + " InterruptedException of prove()", "let it pass");
            Await.value(ended, "the client's thread to be interrupted when"
                    + " prove() is", "cancel(true) in a finally block");
        }

        @Test
        void an_answer_is_no_protection_from_a_fault() throws Exception {
            // rejects: a verdict of the time alone
            verdict(prove(_ -> SlowNetwork.BODY.substring(100),
                    SlowNetwork.Scenario.CUT_BODY),
                    SlowNetwork.Outcome.WRONG_ANSWER, false, "a part of BODY"
                            + " is no answer");
            verdict(prove(_ -> SlowNetwork.BODY, SlowNetwork.Scenario.RESET),
                    SlowNetwork.Outcome.ANSWER, false, "with a fault, only an"
                            + " IOException is right: this call has not gone"
                            + " through the proxy");
            for (var body : List.of("", SlowNetwork.BODY + "!",
                    "x".repeat(SlowNetwork.BODY.length()))) {
                verdict(prove(_ -> body, SlowNetwork.Scenario.NONE),
                        SlowNetwork.Outcome.WRONG_ANSWER, false, "compare the"
                                + " whole body with BODY");
            }
            verdict(prove(_ -> null, SlowNetwork.Scenario.NONE),
                    SlowNetwork.Outcome.WRONG_ANSWER, false, "compare with"
                            + " BODY; the client may return null");
        }

        @Test
        void only_an_IOException_is_protection() throws Exception {
            // rejects: any exception will do; an exception that is unwrapped
            // once more, or taken for one of observe() itself
            var io = new IOException("its cause");
            for (var thrown : List.of(new IllegalStateException("a defect", io),
                    new UncheckedIOException(io), new ExecutionException(io),
                    new TimeoutException("a get() of the client"),
                    new InterruptedException("the client's own"))) {
                var verdict = prove(_ -> {
                    throw thrown;
                }, SlowNetwork.Scenario.RESET);
                Check.equal(SlowNetwork.Outcome.FAILURE, verdict.outcome(),
                        "the outcome of " + verdict + ", whose client has"
                        + " thrown " + thrown, "whatever the client throws is"
                        + " a FAILURE");
                Check.that(verdict.cause().orElse(null) == thrown, "the cause"
                        + " to be what the client has thrown, " + thrown
                        + ", got " + verdict.cause(), "the cause is what the"
                        + " client has thrown: one getCause(), of the"
                        + " ExecutionException of get()");
                Check.equal(false, verdict.isProtected(), "isProtected() of "
                        + verdict, "the cause must be an IOException, and is"
                        + " what the client has thrown, not what caused that");
            }
            verdict(prove(_ -> {
                throw new StackOverflowError("a defect");
            }, SlowNetwork.Scenario.RESET), SlowNetwork.Outcome.FAILURE, false,
                    "whatever the client throws is the cause, an Error too");
            verdict(prove(_ -> {
                throw new IOException("too careful");
            }, SlowNetwork.Scenario.NONE), SlowNetwork.Outcome.FAILURE, false,
                    "without a fault, an exception is wrong");
        }

        @Test
        void OkHttp_with_a_call_timeout_is_protected() throws Exception {
            var patient = okHttp(builder -> builder.callTimeout(ENOUGH));
            var hasty = okHttp(builder -> builder.callTimeout(millis(150)));
            for (var scenario : SlowNetwork.Scenario.values()) {
                boolean waits = scenario == SlowNetwork.Scenario.BLACK_HOLE
                        || scenario == SlowNetwork.Scenario.TRICKLE;
                var client = waits ? hasty : patient;
                var verdict = prove(uri -> body(client, uri), scenario);
                Check.that(verdict.isProtected(), "OkHttp with a call timeout"
                        + " to be protected in " + scenario + ", got "
                        + verdict, "an IOException within the budget is"
                        + " protection");
            }
        }

    }

    @Step(value = 5, title = "Slice the bytes", further = true)
    class Slice_the_bytes {

        @Test
        void a_slice_has_at_most_its_size_and_no_byte_changes()
                throws Exception {
            // rejects: an empty slice; a rest that is dropped
            var line = new Line(new Clock(), slicer(3, 0));
            line.put("0123456789");
            line.put("abc");
            line.put("d");
            line.put(new byte[0]);
            line.ends(SlowNetwork.Action.END, "after the end of stream");
            Check.equal(List.of("012", "345", "678", "9", "abc", "d"),
                    line.pieces(), "slices of 3 bytes, of chunks with 10, 3 and"
                    + " 1 bytes", "at most size bytes of a chunk in one move");
        }

        @Test
        void slices_are_a_delay_apart() throws Exception {
            // rejects: a delay before the first slice; instants compared;
            // whole milliseconds; the nanoseconds within the second
            apart(new Clock());
            var clock = new Clock();
            clock.startAt(Long.MAX_VALUE - 5_000_000);
            apart(clock);
        }

        private static void apart(Clock clock) throws InterruptedException {
            var delay = millis(1_010).plusNanos(400_000);
            var line = new Line(clock, new SlowNetwork.Slicer(2, delay));
            line.put("abcde");
            line.awaitBytes(2, "the first slice at once", "the first slice"
                    + " does not wait");
            for (int i = 1; i <= 2; i++) {
                line.silentUntilMore(delay, "slice " + (i + 1) + ", with a"
                        + " delay of 1,010.4 ms,");
                line.awaitBytes(Math.min(5, 2 * i + 2), "another slice after"
                        + " 1,010.4 ms", "a slice is due a delay after last");
            }
            Check.equal("0 ms ab|1010 ms cd|2020 ms e", line.seen(), "slices of"
                    + " 2 bytes and 1,010.4 ms", "a slice is due a delay after"
                    + " last");
        }

        @Test
        void slices_of_two_chunks_are_a_delay_apart() throws Exception {
            // rejects: a delay that starts anew with each chunk, or is left
            // out before the last slice of one
            var line = new Line(new Clock(), slicer(2, 10));
            line.put("abc");
            line.awaitBytes(2, "the first slice at once", "");
            line.asleep();
            line.clock.advance(millis(10));
            line.awaitBytes(3, "the second slice after 10 ms", "");
            line.clock.advance(millis(4));
            line.put("d");
            line.asleep();
            line.clock.advance(millis(5));
            line.asleep();
            line.clock.advance(millis(1));
            line.wrote("0 ms ab|10 ms c|20 ms d", "the delay is counted from"
                    + " the last slice, of whatever chunk and size");
        }

        @Test
        void after_a_pause_a_slice_does_not_wait() throws Exception {
            // rejects: a delay behind each slice that is always slept
            var line = new Line(new Clock(), slicer(2, 10));
            line.put("ab");
            line.awaitBytes(2, "the first slice at once", "");
            line.clock.advance(millis(500));
            line.put("cd");
            line.wrote("0 ms ab|500 ms cd", "the delay after the last slice is"
                    + " over: due is the later one of two instants");
        }

        @Test
        void slices_have_the_latency_as_well() throws Exception {
            for (var faults : List.of(List.of(latency(100), slicer(2, 10)),
                    List.of(slicer(2, 10), latency(100)))) {
                var line = new Line(new Clock(),
                        faults.toArray(SlowNetwork.Fault[]::new));
                line.put("abcd");
                line.silentUntil(100, "abcd, with " + faults);
                line.awaitBytes(2, "the first slice after 100 ms", "");
                line.asleep();
                line.clock.advance(millis(10));
                line.put("ef");
                line.asleep();
                line.clock.advance(millis(99));
                line.asleep();
                line.clock.advance(millis(1));
                line.wrote("100 ms ab|110 ms cd|210 ms ef", "a slice is due at"
                        + " the later one of two instants: when the move was"
                        + " due, and a delay after the last slice");
            }
        }

        @Test
        void the_end_of_stream_is_not_sliced() throws Exception {
            // rejects: a delay of the end; an end that is cut off
            var line = new Line(new Clock(), slicer(2, 1000));
            line.put("ab");
            line.put(new byte[0]);
            line.ends(SlowNetwork.Action.END, "right after the last slice");
        }

        @Test
        void a_stalled_or_reset_connection_is_not_sliced() throws Exception {
            // rejects: WRITE in place of RESET
            var line = new Line(new Clock(),
                    new SlowNetwork.ResetPeer(Duration.ZERO), slicer(2, 10));
            line.put("abcd");
            line.ends(SlowNetwork.Action.RESET, "slice() changes WRITE only");
            var stalled = new Line(new Clock(), timeout(0, 2), slicer(2, 10));
            stalled.put("abcd");
            stalled.put("ef");
            stalled.put(new byte[0]);
            stalled.ends(SlowNetwork.Action.END, "after the end of stream, when"
                    + " a stall has discarded what came before it");
            Check.equal("0 ms ab", stalled.seen(), "what passes a stall after"
                    + " 2 bytes, and a slicer behind it", "slice() changes"
                    + " WRITE only");
        }

        @Test
        void a_slow_close_delays_the_end_of_stream_only() throws Exception {
            // rejects: bytes that are delayed
            var line = new Line(new Clock(), slowClose(100));
            line.put("abc");
            line.wrote("0 ms abc", "only END comes later");
            line.put(new byte[0]);
            line.silentUntilMore(100, "the end of stream with a slow_close of"
                    + " 100 ms");
            line.ends(SlowNetwork.Action.END, "100 ms after the end of stream"
                    + " was read");
            for (var fault : List.of(limit(2), new SlowNetwork.ResetPeer(
                    Duration.ZERO))) {
                var cut = new Line(new Clock(), fault, slowClose(100));
                cut.put("abc");
                Await.until(() -> cut.run.outcome().isDone()
                        || cut.clock.sleepers() > 0, "run() to end", "");
                Check.equal(0, cut.clock.sleepers(), "pauses before the end of"
                        + " a connection with " + fault, "only END comes"
                        + " later, and neither CLOSE nor RESET");
            }
        }

        @Test
        void a_slow_close_leaves_the_other_direction_alone() throws Exception {
            // rejects: a lock for the connection
            var net = new Net(new Clock(), toxic("late", UP, slowClose(100)));
            net.connect();
            net.client.play("", send("how many?"), halfClose());
            net.server.play("", receive("how many?"), send("17"));
            net.client.play("", receive("17"));
            awaitSleepers(net.clock, 1, "an end of stream that is delayed");
            net.clock.advance(millis(100));
            net.server.play("END comes after the delay", end());
        }
    }

    @Step(value = 6, title = "Add and remove toxics live",
            further = true)
    class Add_and_remove_toxics_live {

        private static final String WAKE = "wake() interrupts the sleeper, and"
                + " sleepUntil() returns; what to do is then planned anew";

        @Test
        void what_a_removed_latency_delayed_is_written_at_once()
                throws Exception {
            // rejects: a change that only later bytes notice
            var line = new Line(new Clock(), new SlowNetwork.Latency(LONG));
            line.put("abc");
            line.asleep();
            line.put("def");
            line.pipe.remove("0");
            line.wrote("0 ms abcdef", WAKE);
        }

        @Test
        void an_added_latency_delays_what_is_in_the_queue() throws Exception {
            var line = new Line(new Clock(), latency(50));
            line.put("abc");
            line.asleep();
            line.pipe.add(toxic("more", DOWN, latency(100)));
            line.clock.advance(millis(50));
            line.asleep();
            line.clock.advance(millis(100));
            line.wrote("150 ms abc", WAKE);
        }

        @Test
        void a_full_queue_is_discarded_by_a_timeout_that_is_added()
                throws Exception {
            // case: latency, then timeout, then the latency is removed
            var line = new Line(new Clock(), new SlowNetwork.Latency(LONG));
            line.put(new byte[QUEUE]);
            line.asleep();
            var put = line.startPut(new byte[10]);
            put.awaitWaiting();
            line.pipe.add(toxic("hole", DOWN, timeout(0, 0)));
            Await.value(put.outcome(), "put() to go on when a stall discards"
                    + " the queue", WAKE);
            line.pipe.remove("0");
            line.awaitRoom("the stall to go on without the latency", WAKE);
            Check.equal(0, line.bytes().length, "bytes written", WAKE);
        }

        @Test
        void bytes_are_discarded_while_the_timeout_runs() throws Exception {
            // rejects: a sleep for the timeout that no chunk ends
            var line = new Line(new Clock(), timeout(100, 0));
            line.asleep();
            for (int i = 0; i < 4; i++) {
                line.put(new byte[QUEUE]);
            }
            line.asleep();
            line.put(new byte[0]);
            line.ends(SlowNetwork.Action.END, "after the end of stream, while"
                    + " the timeout runs: " + WAKE);
        }

        @Test
        void a_change_does_not_interrupt_a_write() throws Exception {
            // rejects: an interrupt whatever the writer does, which closes
            // the socket of a virtual thread
            // the latency of 1 ms lets the writer sleep, and then write
            var net = new Net(SlowNetwork.Timing.system(), Math::random,
                    toxic("slow", DOWN, latency(1)));
            var bytes = random(12 << 20);
            try (var client = new Socket(HERE, net.port());
                 var server = net.listener.accept()) {
                var write = PendingCall.start(() -> {
                    server.getOutputStream().write(bytes);
                    server.shutdownOutput();
                    return true;
                });
                Await.until(() -> net.proxy.stats().writtenDown() > 100_000,
                        "bytes to be written", "");
                for (int i = 0; i < 100; i++) {
                    net.proxy.add(toxic("late", DOWN, slowClose(0)));
                    net.proxy.remove("late");
                }
                var read = PendingCall.start(() -> client.getInputStream()
                        .readNBytes(bytes.length));
                var likely = "interrupt only a thread that sleeps: a virtual"
                        + " thread that is interrupted while it writes closes"
                        + " its socket; remove() closes a connection only if a"
                        + " pipe asks for that";
                Check.sameBytes(bytes, Await.value(read.outcome(), "12 MiB to be read"
                        + " while toxics are added and removed", likely),
                        "12 MiB", likely);
                Await.value(write.outcome(), "all bytes to be written",
                        likely);
            }
        }

        @Test
        void an_interrupt_that_comes_too_late_is_cleared() throws Exception {
            // rejects: an interrupt that meets the next write
            for (boolean needsLock : new boolean[] {false, true}) {
                interruptsLate(needsLock);
            }
        }

        /** Wakes while the writer still sleeps, or then waits for the lock. */
        private static void interruptsLate(boolean needsLock)
                throws Exception {
            var asleep = new CountDownLatch(1);
            var wakes = new CountDownLatch(1);
            var clock = new SlowNetwork.Timing() {

                private volatile long now;

                @Override
                public long nanoTime() {
                    return now;
                }

                @Override
                public void sleepUntil(long instant) {
                    asleep.countDown();
                    boolean interrupted = false;
                    while (true) {
                        try {
                            wakes.await();
                            break;
                        } catch (InterruptedException e) {
                            interrupted = true;
                        }
                    }
                    now = instant;
                    if (interrupted) {
                        Thread.currentThread().interrupt();
                    }
                }
            };
            var flags = new LinkedBlockingQueue<Boolean>();
            var pipe = closeLater(new SlowNetwork.Pipe(_ -> flags.add(
                    Thread.currentThread().isInterrupted()), QUEUE, clock));
            pipe.add(toxic("slow", DOWN, latency(100)));
            var run = PendingCall.start(pipe::run);
            put(pipe, "abc".getBytes());
            Await.open(asleep, "the writer to sleep", "");
            if (needsLock) {
                synchronized (pipe) {
                    wakes.countDown();
                    Await.until(() -> run.thread().getState()
                            == Thread.State.BLOCKED || !flags.isEmpty()
                            || run.outcome().isDone(), "the writer to take the"
                            + " lock, or to write", WAKE);
                    pipe.remove("none");
                }
            } else {
                pipe.remove("none");
                wakes.countDown();
            }
            Await.until(() -> !flags.isEmpty() || run.outcome().isDone(),
                    "the bytes to be written", WAKE);
            Check.equal(Boolean.FALSE, flags.poll(), "isInterrupted() in the"
                    + " write after a sleep that was interrupted "
                    + (needsLock ? "when it had ended, while another thread"
                    + " held the lock" : "as it ended"),
                    "clear the interrupt when the sleep is over, under the"
                            + " lock");
        }

        @Test
        void no_byte_is_lost_by_two_hundred_changes() throws Exception {
            var line = new Line(SlowNetwork.Timing.system());
            var bytes = random(1_000_000);
            var puts = PendingCall.start(() -> {
                for (int at = 0; at < bytes.length; at += 1000) {
                    line.pipe.put(Arrays.copyOfRange(bytes, at, at + 1000));
                }
                line.pipe.put(new byte[0]);
                return true;
            });
            var random = new Random(416);
            for (int i = 0; i < 100; i++) {
                line.pipe.add(toxic("t", DOWN, switch (random.nextInt(3)) {
                    case 0 -> new SlowNetwork.Latency(LONG);
                    case 1 -> slicer(1 + random.nextInt(2000), 1);
                    default -> new SlowNetwork.Bandwidth(1000);
                }));
                Thread.onSpinWait();
                line.pipe.remove("t");
            }
            Await.value(puts.outcome(), "all bytes to be read", WAKE);
            line.ends(SlowNetwork.Action.END, "after 200 changes");
            Check.sameBytes(bytes, line.bytes(), "a million bytes during 200 changes",
                    "take each piece out of the queue once");
        }

        @Test
        void a_toxic_holds_for_open_connections_and_those_to_come()
                throws Exception {
            // rejects: one of the two forgotten; the wrong direction
            var net = new Net(new Clock());
            net.connect();
            var first = net.client;
            var firstServer = net.server;
            net.proxy.add(toxic("slow", UP, new SlowNetwork.Latency(LONG)));
            net.connect();
            first.play("", send("one"));
            net.client.play("", send("two"));
            awaitSleepers(net.clock, 2, "the bytes of an open connection and of"
                    + " a new one to be delayed");
            net.server.play("the toxic is for upstream", send("back"));
            net.client.play("the toxic is for upstream only", receive("back"));
            Check.equal(true, net.proxy.remove("slow"), "remove(\"slow\")",
                    "true if it was there");
            firstServer.play("remove() is for every open connection",
                    receive("one"));
            net.server.play("remove() is for every open connection",
                    receive("two"));
            net.connect();
            net.client.play("", send("three"));
            net.server.play("a toxic that is removed does not hold for"
                    + " connections to come", receive("three"));
        }

        @Test
        void one_draw_decides_for_each_open_connection() throws Exception {
            var draws = new ConcurrentLinkedQueue<>(List.of(0.4, 0.6));
            var net = new Net(new Clock(), draws::poll);
            net.connect();
            net.connect();
            net.proxy.add(new SlowNetwork.Toxic("some", DOWN, 0.5, limit(0)));
            Check.equal(0, draws.size(), "draws left of 2, for a toxic and two"
                    + " open connections", "infect() each connection once");
        }

        @Test
        void removing_a_stall_closes_the_connections_it_has_held()
                throws Exception {
            // rejects: a connection that goes on without some of its bytes
            for (var direction : List.of(UP, DOWN)) {
                var draws = new ConcurrentLinkedQueue<>(List.of(0.6, 0.4, 0.4));
                var net = new Net(new Clock(), draws::poll,
                        new SlowNetwork.Toxic("hole", direction, 0.5,
                                timeout(0, 0)));
                net.connect();
                var healthy = net.client;
                var healthyServer = net.server;
                net.connect();
                var held = net.client;
                net.connect();
                net.proxy.remove("hole");
                held.play("close the connection if remove() of one of its"
                        + " pipes returns true, and go on with the next"
                        + " connection", end());
                net.client.play("close the connection if remove() of one of its"
                        + " pipes returns true: the client reads the end",
                        end());
                net.server.play("close both sides", gone());
                healthy.play("", send("still here"));
                healthyServer.play("a connection without the toxic goes on",
                        receive("still here"), send("yes"));
                healthy.play("", receive("yes"));
            }
        }

        @Test
        void removing_a_stall_that_has_not_begun_closes_nothing()
                throws Exception {
            var net = new Net(new Clock(), toxic("hole", DOWN,
                    timeout(100, 5)));
            net.connect();
            net.server.play("", send("1234"));
            net.client.play("", receive("1234"));
            net.proxy.remove("hole");
            net.server.play("", send("567"));
            net.client.play("close a connection only if its pipe asks for"
                    + " that", receive("567"));
        }

        @Test
        void a_name_is_used_once() throws Exception {
            // rejects: a second toxic of the name; one that was added anyway,
            // to the list or to the open connections
            var net = new Net(new Clock(), toxic("a", UP, slowClose(1)));
            net.connect();
            net.proxy.add(toxic("b", DOWN, slowClose(2)));
            Check.fails(IllegalArgumentException.class, () -> net.proxy.add(
                    toxic("a", DOWN, limit(0))), "add() of a name that is"
                    + " taken", "look for the name first");
            net.server.play("", send("hello"));
            net.client.play("look for the name before you infect(): if it is"
                    + " taken, nothing changes", receive("hello"));
            Check.equal(List.of("a", "b"), net.names(), "the names of"
                    + " toxics()", "add to the end, and only if the name is"
                    + " free");
            Check.equal(true, net.proxy.remove("a"), "remove(\"a\")", "");
            Check.equal(false, net.proxy.remove("a"), "remove(\"a\"), again",
                    "false if there is none of this name");
            net.proxy.add(toxic("a", UP, slowClose(4)));
            Check.equal(List.of("b", "a"), net.names(), "the names of"
                    + " toxics()", "forget a toxic that is removed");
        }

        @Test
        void a_connection_that_has_ended_is_no_problem() throws Exception {
            // case: a toxic whose connection has died
            var net = new Net(new Clock(), toxic("slow", DOWN, latency(100)));
            net.connect();
            net.client.play("", reset());
            net.server.play("", gone());
            net.proxy.add(toxic("hole", UP, timeout(0, 0)));
            net.proxy.remove("slow");
            net.proxy.remove("hole");
            Await.until(() -> net.proxy.stats().connections() == 0, "no"
                    + " connection when both sides have ended", "");
        }

        @Test
        void OkHttp_recovers_when_the_fault_is_removed() throws Exception {
            var server = HttpServer.create(ANY, 0);
            server.createContext("/", call -> {
                call.sendResponseHeaders(200, 2);
                call.getResponseBody().write("17".getBytes());
                call.close();
            });
            server.start();
            closeLater(() -> server.stop(0));
            var proxy = closeLater(SlowNetwork.start(ANY, server.getAddress(),
                    SlowNetwork.Options.defaults()));
            var uri = URI.create("http://127.0.0.1:"
                    + proxy.localAddress().getPort() + "/");
            var client = okHttp(builder -> builder.callTimeout(ENOUGH));
            Check.equal("17", body(client, uri), "an answer without a fault",
                    "");
            proxy.add(toxic("reset", DOWN,
                    new SlowNetwork.ResetPeer(Duration.ZERO)));
            Check.fails(IOException.class, () -> body(client, uri), "OkHttp"
                    + " when the pooled connection and a new one are reset",
                    "add() is for open connections, too");
            proxy.remove("reset");
            Check.equal("17", body(client, uri), "the answer after remove()",
                    "remove() is for connections to come, too");
        }
    }

    private static final SlowNetwork.Direction UP =
            SlowNetwork.Direction.UPSTREAM;
    private static final SlowNetwork.Direction DOWN =
            SlowNetwork.Direction.DOWNSTREAM;

    private static Duration millis(long millis) {
        return Duration.ofMillis(millis);
    }

    private static SlowNetwork.Fault latency(int millis) {
        return new SlowNetwork.Latency(millis(millis));
    }

    private static SlowNetwork.Fault timeout(int millis, long afterBytes) {
        return new SlowNetwork.Timeout(millis(millis), afterBytes);
    }

    private static SlowNetwork.Fault limit(int bytes) {
        return new SlowNetwork.LimitData(bytes);
    }

    private static SlowNetwork.Fault slicer(int size, int millis) {
        return new SlowNetwork.Slicer(size, millis(millis));
    }

    private static SlowNetwork.Fault slowClose(int millis) {
        return new SlowNetwork.SlowClose(millis(millis));
    }

    private static SlowNetwork.Toxic toxic(String name,
            SlowNetwork.Direction direction, SlowNetwork.Fault fault) {
        return new SlowNetwork.Toxic(name, direction, 1, fault);
    }

    private static ServerSocket listener(Duration delay, Clock clock)
            throws IOException {
        var listener = closeLater(SlowNetwork.slowAccept(delay, clock));
        listener.bind(ANY);
        return listener;
    }

    /** What a call has thrown, and whether its thread was interrupted then. */
    private record Thrown(Throwable failure, boolean interrupted) {}

    private static Thrown thrownBy(Callable<?> code) {
        try {
            var result = code.call();
            if (result instanceof Closeable resource) {
                resource.close();
            }
            return new Thrown(null, Thread.interrupted());
        } catch (UnsupportedOperationException todo) {
            throw todo;
        } catch (Throwable e) {
            return new Thrown(e, Thread.interrupted());
        }
    }

    private static void interrupted(PendingCall<Thrown> call, String what)
            throws InterruptedException {
        var thrown = Await.value(call.outcome(), what + " to end when its"
                + " thread is interrupted", "let the exception pass");
        Check.that(thrown.failure() instanceof InterruptedIOException,
                "an InterruptedIOException from " + what + " when its thread is"
                        + " interrupted during the pause, got "
                        + thrown.failure(), "turn the InterruptedException"
                        + " into one in pause()");
        Check.that(thrown.interrupted(), "the thread to be interrupted still"
                + " when " + what + " has thrown, but the flag is clear",
                "call Thread.currentThread().interrupt() before you throw");
    }

    private static void awaitSleeper(Clock clock, PendingCall<?> call,
            String what, String likely) throws InterruptedException {
        Await.until(() -> clock.sleepers() == 1 || call.outcome().isDone(),
                what + " to sleep on the clock that it was given", likely);
        if (call.outcome().isDone()) {
            Await.value(call.outcome(), what + " to sleep", likely);
        }
        Check.equal(1, clock.sleepers(), "sleeps of " + what + " on the clock"
                + " that it was given", likely);
    }

    private static void awaitSleepers(Clock clock, int count, String what)
            throws InterruptedException {
        Await.until(() -> clock.sleepers() >= count, what, "a move that is not"
                + " due yet is slept for on the timing of the options");
    }

    private static void equal(String expected, SlowNetwork.Move move,
            String what, String likely) {
        Check.equal(expected, move.action() + " at " + move.due(), what,
                likely);
    }

    private static SlowNetwork.Verdict prove(SlowNetwork.Client client,
            SlowNetwork.Scenario scenario) throws Exception {
        return SlowNetwork.prove(client, scenario, ENOUGH);
    }

    /** Of a client that throws an IOException if the scenario is right. */
    private static SlowNetwork.Verdict failed(SlowNetwork.Scenario scenario,
            SlowNetwork.Client client) throws Exception {
        var verdict = prove(client, scenario);
        verdict(verdict, SlowNetwork.Outcome.FAILURE, true, "the scenario "
                + scenario + ": its toxics");
        return verdict;
    }

    private static void verdict(SlowNetwork.Verdict verdict,
            SlowNetwork.Outcome outcome, boolean isProtected, String likely) {
        Check.equal(outcome, verdict.outcome(), "the outcome of " + verdict,
                likely);
        Check.that(!(verdict.cause().orElse(null)
                instanceof ExecutionException), "the exception of the client as"
                + " cause, got " + verdict.cause(), "the cause is getCause() of"
                + " the ExecutionException");
        Check.equal(isProtected, verdict.isProtected(), "isProtected() of "
                + verdict, likely);
        Check.equal(outcome == SlowNetwork.Outcome.FAILURE,
                verdict.cause().isPresent(), "whether there is a cause in "
                + verdict, "a FAILURE has a cause, whatever was thrown; no"
                + " other outcome has one");
    }

    /** A socket that has sent a request. */
    private static Socket ask(URI uri) throws IOException {
        var socket = new Socket(HERE, uri.getPort());
        socket.getOutputStream().write(("GET " + uri.getPath() + " HTTP/1.1\r\n"
                + "Host: stock.test\r\n\r\n").getBytes());
        return socket;
    }

    private static OkHttpClient okHttp(
            UnaryOperator<OkHttpClient.Builder> settings) {
        var client = settings.apply(new OkHttpClient.Builder()).build();
        closeLater(() -> {
            client.dispatcher().executorService().shutdown();
            client.connectionPool().evictAll();
        });
        return client;
    }

    private static String body(OkHttpClient client, URI uri)
            throws IOException {
        var request = new Request.Builder().url(uri.toString()).build();
        try (var response = client.newCall(request).execute()) {
            return response.body().string();
        }
    }

    private static byte[] random(int size) {
        var bytes = new byte[size];
        new Random(416).nextBytes(bytes);
        return bytes;
    }

    private static void put(SlowNetwork.Pipe pipe, byte[] bytes)
            throws InterruptedException {
        Await.value(PendingCall.start(() -> {
            pipe.put(bytes);
            return true;
        }).outcome(), "put() of " + bytes.length + " bytes to return",
                ROOM);
    }

    /** A clock that a test owns. */
    private static final class Clock implements SlowNetwork.Timing {

        private final FakeTiming fake = FakeTiming.byHand();
        private volatile long offset;

        @Override
        public long nanoTime() {
            return fake.nanoTime() + offset;
        }

        @Override
        public void sleepUntil(long nanoTime) throws InterruptedException {
            fake.sleepUntil(nanoTime - offset);
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

        int sleepers() {
            return fake.sleepers();
        }

        long sleeps() {
            return fake.sleeps();
        }
    }

    /** A pipe that writes into a list, and remembers when. */
    private static final class Line {

        private record Piece(long millis, byte[] bytes) {}

        private final Clock clock;
        private final SlowNetwork.Pipe pipe;
        private final List<Piece> pieces =
                Collections.synchronizedList(new ArrayList<>());
        private final PendingCall<SlowNetwork.Action> run;
        private final CountDownLatch taken = new CountDownLatch(1);
        private final CountDownLatch released = new CountDownLatch(1);
        private volatile boolean holds;

        Line(SlowNetwork.Timing timing, SlowNetwork.Fault... faults) {
            clock = timing instanceof Clock own ? own : new Clock();
            pipe = closeLater(new SlowNetwork.Pipe(this::write, QUEUE,
                    timing));
            for (int i = 0; i < faults.length; i++) {
                pipe.add(toxic("" + i, DOWN, faults[i]));
            }
            run = PendingCall.start(pipe::run);
        }

        private void write(ByteBuffer buffer) throws IOException {
            if (holds) {
                taken.countDown();
                try {
                    released.await();
                } catch (InterruptedException e) {
                    throw new InterruptedIOException();
                }
            }
            var bytes = new byte[buffer.remaining()];
            buffer.duplicate().get(bytes);
            pieces.add(new Piece(clock.elapsed().toMillis(), bytes));
        }

        CountDownLatch holdWrites() {
            holds = true;
            return taken;
        }

        void releaseWrites() {
            holds = false;
            released.countDown();
        }

        void put(String text) throws InterruptedException {
            put(text.getBytes());
        }

        void put(byte[] bytes) throws InterruptedException {
            var put = startPut(bytes);
            var what = "put() of " + bytes.length + " bytes to return";
            Await.until(() -> put.outcome().isDone() || run.outcome().isDone()
                    && put.thread().getState() == Thread.State.WAITING, what,
                    ROOM);
            if (!put.outcome().isDone()) {
                var last = Await.value(run.outcome(), "run() to go on", "");
                Check.that(put.outcome().isDone(), "run() to go on while bytes"
                        + " are put, but it has returned " + last,
                        "only END, CLOSE, RESET and STOP end run()");
            }
            Await.value(put.outcome(), what, ROOM);
            History.note("put " + (bytes.length == 0 ? "the end of stream"
                    : bytes.length + " bytes") + at());
        }

        PendingCall<Boolean> startPut(byte[] bytes) {
            return PendingCall.start(() -> {
                pipe.put(bytes);
                return true;
            });
        }

        private String at() {
            return " at " + clock.elapsed().toMillis() + " ms";
        }

        /** Until the writer sleeps on the clock. */
        void asleep() throws InterruptedException {
            until(() -> clock.sleepers() == 1, "run() to sleep until the next"
                    + " move is due" + at(), "for a move that is not due yet,"
                    + " sleepUntil() its instant, on the timing of the pipe;"
                    + " compare instants by their difference");
            Check.equal(1, clock.sleepers(), "sleeping threads" + at()
                    + ", when " + (seen().isEmpty() ? "nothing" : seen())
                    + " was written", "the next move is not due yet");
        }

        /** Nothing is written earlier. */
        void silentUntil(int millis, String what) throws InterruptedException {
            silentUntil(millis(millis), what);
        }

        void silentUntil(Duration time, String what)
                throws InterruptedException {
            asleep();
            clock.advance(time.minusNanos(1));
            Check.equal(1, clock.sleepers(), "sleeping threads 1 ns before "
                    + what + ", is due", "it is due at the instant of its read,"
                    + " moved by each effect in turn; sleep until then");
            Check.equal("", seen(), "what is written 1 ns too early, of "
                    + what, "sleep until it is due");
            clock.advance(Duration.ofNanos(1));
        }

        void silentUntilMore(int millis, String what)
                throws InterruptedException {
            silentUntilMore(millis(millis), what);
        }

        /** As silentUntil, when something has been written already. */
        void silentUntilMore(Duration time, String what)
                throws InterruptedException {
            asleep();
            clock.advance(time.minusNanos(1));
            Check.equal(1, clock.sleepers(), "sleeping threads 1 ns before "
                    + what + " is due", "sleep until then");
            clock.advance(Duration.ofNanos(1));
        }

        /** Until so many bytes are written. */
        void awaitBytes(int count, String what, String likely)
                throws InterruptedException {
            until(() -> bytes().length >= count, what, likely);
            Check.equal(count, bytes().length, "bytes written" + at(), likely);
        }

        /** Until this is written: instants and text, with bars between. */
        void wrote(String expected, String likely)
                throws InterruptedException {
            int count = expected.replaceAll("(^|\\|)\\d+ ms ", "").length();
            until(() -> bytes().length >= count, "\"" + expected + "\" to be"
                    + " written" + at() + ", got \"" + seen() + "\"", likely);
            Check.equal(expected, seen(), "what was written, and when",
                    likely);
        }

        /**
         * Until all that was put has left the queue; more bytes are put, the
         * last ones when run() has taken those before them.
         */
        void awaitRoom(String what, String likely)
                throws InterruptedException {
            for (int i = 0; i < 2; i++) {
                Await.value(startPut(new byte[QUEUE]).outcome(), what, likely);
            }
        }

        /** Until the writer waits for a chunk. */
        void awaitIdle(String what, String likely)
                throws InterruptedException {
            until(() -> run.thread().getState() == Thread.State.WAITING
                    && clock.sleepers() == 0, what, likely);
            Check.that(!run.outcome().isDone(), what + ", but run() has"
                    + " returned", likely);
        }

        /** Until run() returns this. */
        void ends(SlowNetwork.Action last, String when)
                throws InterruptedException {
            var likely = "look at what each fault makes of WRITE, END and IDLE,"
                    + " in the order in which they were added; run() returns"
                    + " the first action that is not PAUSE, WRITE or DISCARD";
            Check.equal(last, Await.value(run.outcome(), "run() to return "
                    + last + " " + when, likely), "what run() returns, "
                    + when, likely);
        }

        private void until(BooleanSupplier condition, String what,
                String likely) throws InterruptedException {
            Await.until(() -> condition.getAsBoolean()
                    || run.outcome().isDone(), what, likely);
            if (run.outcome().isCompletedExceptionally()) {
                Await.value(run.outcome(), what, likely);
            }
        }

        byte[] bytes() {
            synchronized (pieces) {
                var all = new ByteArrayOutputStream();
                pieces.forEach(piece -> all.writeBytes(piece.bytes()));
                return all.toByteArray();
            }
        }

        List<String> pieces() {
            synchronized (pieces) {
                return pieces.stream().map(piece -> new String(piece.bytes()))
                        .toList();
            }
        }

        /** What was written at the same instant belongs together. */
        String seen() {
            synchronized (pieces) {
                var lines = new TreeMap<Long, String>();
                pieces.forEach(piece -> lines.merge(piece.millis(),
                        new String(piece.bytes()), String::concat));
                return lines.entrySet().stream().map(line -> line.getKey()
                        + " ms " + line.getValue())
                        .collect(Collectors.joining("|"));
            }
        }
    }

    /** A proxy, a server behind it, and the last connection. */
    private static final class Net {

        private final Clock clock;
        private final ServerSocket listener;
        private final SlowNetwork proxy;
        private Peer client;
        private Peer server;

        Net(SlowNetwork.Timing timing, SlowNetwork.Toxic... first)
                throws IOException {
            this(timing, Math::random, first);
        }

        Net(SlowNetwork.Timing timing, DoubleSupplier random,
                SlowNetwork.Toxic... first) throws IOException {
            clock = timing instanceof Clock own ? own : null;
            listener = closeLater(new ServerSocket(0, 50, HERE));
            proxy = closeLater(SlowNetwork.start(ANY, (InetSocketAddress)
                    listener.getLocalSocketAddress(), new SlowNetwork.Options(
                    4 * QUEUE, random, timing), first));
        }

        int port() {
            return proxy.localAddress().getPort();
        }

        List<String> names() {
            return proxy.toxics().stream().map(SlowNetwork.Toxic::name)
                    .toList();
        }

        /** A connection through the proxy: client and server are its ends. */
        void connect() throws Exception {
            client = Peer.connect(proxy.localAddress(), "client");
            var accept = PendingCall.start(listener::accept);
            server = Peer.on(Await.value(accept.outcome(), "the proxy to"
                    + " connect to the server", ""), "server");
        }
    }
}
