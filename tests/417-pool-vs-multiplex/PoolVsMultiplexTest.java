///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:mockwebserver3:5.5.1
//SOURCES ../../labs/417-pool-vs-multiplex/PoolVsMultiplex.java
//SOURCES ../kit/*.java

import static kit.TestLifecycle.closeLater;

import module java.base;
import module java.logging;

import kit.Await;
import kit.Bytes;
import kit.Check;
import kit.History;
import kit.Lab;
import kit.Patience;
import kit.PendingCall;
import kit.Step;
import mockwebserver3.Dispatcher;
import mockwebserver3.MockResponse;
import mockwebserver3.MockWebServer;
import mockwebserver3.RecordedRequest;
import okhttp3.OkHttpClient;
import okhttp3.Protocol;
import okhttp3.Request;
import okhttp3.RequestBody;
import org.junit.jupiter.api.Test;

/**
 * Lab 417, step by step. Until step 3 the multiplexer speaks to a server whose
 * frames the test writes; the lab's server is spoken to by a client of that
 * kind. A comment {@code rejects:} names the wrong solutions that a test is
 * there for.
 */
@Lab
class PoolVsMultiplexTest {

    private static final InetAddress LOOPBACK =
            InetAddress.getLoopbackAddress();
    private static final InetSocketAddress ANY =
            new InetSocketAddress(LOOPBACK, 0);
    private static final Duration LIMIT = Duration.ofSeconds(60);
    private static final int MOST = Integer.MAX_VALUE;
    private static final PoolVsMultiplex.Options USUAL =
            PoolVsMultiplex.Options.defaults();
    private static final PoolVsMultiplex.Options WIDE =
            new PoolVsMultiplex.Options(MOST, MOST, 1000);
    private static final String ENDED = "when END_STREAM or RST_STREAM comes,"
            + " remove() the response: that frees its slot";

    /** One call by OkHttp: what it needs is loaded before the tests begin. */
    public static final class WarmUp implements Runnable {

        @Override
        public void run() {
            Logger.getLogger(MockWebServer.class.getName()).setLevel(Level.OFF);
            try (var server = new MockWebServer()) {
                server.setProtocols(List.of(Protocol.H2_PRIOR_KNOWLEDGE));
                server.enqueue(new MockResponse.Builder().body("warm").build());
                server.start(LOOPBACK, 0);
                var client = new OkHttpClient.Builder().protocols(
                        List.of(Protocol.H2_PRIOR_KNOWLEDGE)).build();
                client.newCall(new Request.Builder().url("http://127.0.0.1:"
                        + server.getPort()).build()).execute().close();
                client.connectionPool().evictAll();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    @Step(value = 1, title = "Send on a new stream")
    class Send_on_a_new_stream {

        @Test
        void a_frame_has_its_length_type_flags_stream_id_and_payload() {
            // rejects: a length with the header; 4 bytes of length; a sign
            var likely = "3 bytes for the length of the payload, 1 for the"
                    + " type, 1 for the flags, 4 for the stream id, and then"
                    + " the payload";
            encodes("00 00 00 00 00 00 00 00 00", 0, 0, 0, "", likely);
            encodes("00 00 02 00 01 00 00 00 03 68 69", 0, 1, 3, "hi", likely);
            encodes("00 00 01 ff 85 7f ff ff ff 61", 255, 0x85, MOST, "a",
                    likely);
            var long_ = new PoolVsMultiplex.Frame(8, 0, 0x01020304,
                    new byte[16384]).encode();
            Check.equal("00 40 00 08 00 01 02 03 04", hex(Arrays.copyOf(long_,
                    9)), "the header of a frame of type 8 on stream 0x01020304"
                    + " with 16384 bytes", likely);
            Check.equal(16393, long_.length, "the length of that frame in"
                    + " bytes", likely);
        }

        private static void encodes(String expected, int type, int flags,
                int id, String payload, String likely) {
            Check.equal(expected, hex(new PoolVsMultiplex.Frame(type, flags, id,
                    payload.getBytes()).encode()), "encode() of type " + type
                    + ", flags " + flags + ", stream " + id + " and \""
                    + payload + "\"", likely);
        }

        @Test
        void a_request_is_one_DATA_frame_that_ends_its_stream()
                throws Exception {
            for (var request : List.of("hello", "", "x".repeat(16384))) {
                var pair = Pair.of(USUAL);
                pair.mux.open(request.getBytes());
                pair.wire.expect(PoolVsMultiplex.DATA, 1, 1,
                        request.getBytes(), "send() one DATA frame with the"
                                + " flag END_STREAM and the whole request, be"
                                + " it empty; the first id is 1");
            }
        }

        @Test
        void stream_ids_are_odd_and_rise_by_two() throws Exception {
            // rejects: one id for all; nextId++
            var pair = Pair.of(USUAL);
            for (int id = 1; id <= 9; id += 2) {
                pair.mux.open(("request " + id).getBytes());
                pair.wire.expect(PoolVsMultiplex.DATA, 1, id,
                        ("request " + id).getBytes(), "each request has a"
                                + " stream of its own: add 2 to nextId");
            }
        }

        @Test
        void requests_of_many_threads_have_ids_that_rise_on_the_wire()
                throws Exception {
            // rejects: an id taken before, or a frame sent after, the lock
            var pair = Pair.of(WIDE);
            pair.mux.open("first".getBytes());
            var threads = IntStream.range(0, 8).mapToObj(thread ->
                    PendingCall.start(() -> {
                for (int i = 0; i < 40; i++) {
                    pair.mux.open((thread + "-" + i).getBytes());
                }
                return true;
            })).toList();
            var requests = new TreeSet<String>();
            for (int id = 1; id < 2 * 321; id += 2) {
                var seen = pair.wire.next("send the frame before the lock is"
                        + " released");
                Check.equal(id, seen.id, "the stream id of request number "
                        + (id / 2 + 1) + " on the wire", "take the id and send"
                        + " the frame while the same lock is held");
                requests.add(seen.text());
            }
            Check.equal(321, requests.size(), "the number of different requests"
                    + " among 321", "send the request that was given");
            for (var thread : threads) {
                Await.value(thread.outcome(), "open() to return", "");
            }
        }

        @Test
        void after_stream_2147483647_a_call_fails_and_sends_nothing()
                throws Exception {
            // rejects: ids that wrap around; a limit one too early
            var likely = "after stream 2^31 - 1, nextId + 2 is negative: throw"
                    + " a ConnectionLostException, not processed, before you"
                    + " send anything";
            var pair = Pair.of(USUAL, 100, MOST - 2);
            for (int id = MOST - 2; id > 0; id += 2) {
                pair.mux.open("last ones".getBytes());
                pair.wire.expect(PoolVsMultiplex.DATA, 1, id,
                        "last ones".getBytes(), "2^31 - 3 and 2^31 - 1 are"
                                + " valid ids");
            }
            for (int i = 0; i < 3; i++) {
                var lost = Check.fails(
                        PoolVsMultiplex.ConnectionLostException.class,
                        () -> pair.mux.open("one more".getBytes()),
                        "open() after stream 2147483647", likely);
                Check.that(lost.notProcessed(), "notProcessed() = true, got"
                        + " false", "nothing was sent, so the request was"
                        + " certainly not processed");
            }
            pair.mux.close();
            pair.wire.ends(likely);
        }

        @Test
        void the_exception_for_an_invalid_argument_names_the_argument()
                throws Exception {
            // given; here because these arguments are the lab's contract
            var mux = Pair.of(USUAL).mux;
            mux.open(new byte[16384]);   // valid
            named("request", () -> mux.call(new byte[16385], LIMIT));
            named("timeout", () -> mux.call(new byte[1],
                    Duration.ofNanos(-1)));
            named("streamWindow", () -> USUAL.withStreamWindow(-1));
            named("connectionWindow", () -> USUAL.withConnectionWindow(-1));
            named("maxConcurrentStreams",
                    () -> USUAL.withMaxConcurrentStreams(-1));
            named("size", () -> PoolVsMultiplex.Pool.create(ANY, 0, USUAL));
            named("calls", () -> PoolVsMultiplex.measure("", mux, 0, 1,
                    new byte[1], System::nanoTime));
            named("concurrency", () -> PoolVsMultiplex.measure("", mux, 1, 0,
                    new byte[1], System::nanoTime));
            named("request", () -> PoolVsMultiplex.measure("", mux, 1, 1,
                    new byte[16385], System::nanoTime));
        }

        private static void named(String name, Check.Code code) {
            var error = Check.fails(IllegalArgumentException.class, code,
                    "an invalid " + name, "leave the given checks as they are");
            Check.that(error.getMessage().contains(name), "the exception to"
                    + " name " + name + ", got " + error, "leave the given"
                    + " checks as they are");
        }
    }

    @Step(value = 2, title = "Match responses to calls")
    class Match_responses_to_calls {

        @Test
        void a_call_returns_the_response_on_its_stream() throws Exception {
            var pair = Pair.of(USUAL);
            var call = pair.call("question");
            int id = pair.request();
            pair.wire.data(id, 1, "answer");
            returns("answer", call, "deliver() the frame to its response;"
                    + " END_STREAM is the end of it");
        }

        @Test
        void responses_in_reverse_order_reach_their_calls() throws Exception {
            // rejects: a queue of calls, first in, first out
            var pair = Pair.of(USUAL);
            var calls = pair.calls(20);
            var ids = pair.requests(20);
            for (var id : ids.descendingMap().entrySet()) {
                pair.wire.data(id.getKey(), 1, "answer to " + id.getValue());
            }
            for (int i = 0; i < 20; i++) {
                returns("answer to " + i, calls.get(i), "the stream id of a"
                        + " frame says whose response it is, whatever the"
                        + " order");
            }
        }

        @Test
        void frames_of_two_responses_that_alternate_are_kept_apart()
                throws Exception {
            var pair = Pair.of(USUAL);
            var calls = pair.calls(2);
            var ids = pair.requests(2);
            for (var part : List.of("one ", "two ", "three")) {
                ids.forEach((id, request) -> pair.wire.data(id,
                        part.equals("three") ? 1 : 0, request + " " + part));
            }
            for (int i = 0; i < 2; i++) {
                returns(i + " one " + i + " two " + i + " three", calls.get(i),
                        "each response collects its own frames, in their"
                                + " order");
            }
        }

        @Test
        void an_empty_frame_ends_a_response_only_if_its_flag_says_so()
                throws Exception {
            // rejects: an empty frame taken for the end
            var pair = Pair.of(USUAL);
            var likely = "END_STREAM ends a response, be the frame empty or"
                    + " not; an empty frame without it ends nothing";
            var response = pair.mux.open("first".getBytes());
            int id = pair.request();
            pair.wire.data(id, 0, "").data(id, 0, "be").data(id, 0, "");
            piece("be", response, likely);
            var next = PendingCall.start(response::next);
            next.awaitWaiting();
            Check.that(!next.outcome().isDone(), "next() to wait after an empty"
                    + " frame, but it returned", likely);
            pair.wire.data(id, 0, "fore").data(id, 1, "");
            Check.equal("fore", new String(value(next, likely)), "what next()"
                    + " returns", likely);
            piece("", response, likely);
            var call = pair.call("second");
            pair.wire.data(pair.request(ENDED), 1, "");
            returns("", call, likely);
        }

        @Test
        void a_response_can_be_read_while_it_comes() throws Exception {
            // rejects: pieces that are handed out at the end only
            var pair = Pair.of(USUAL);
            var response = pair.mux.open("slow".getBytes());
            int id = pair.request();
            for (var part : List.of("a", "bc", "def")) {
                pair.wire.data(id, 0, part);
                piece(part, response, "next() returns as soon as there is a"
                        + " piece, in the order in which they came");
            }
            var next = PendingCall.start(response::next);
            next.awaitWaiting();
            pair.wire.data(id, 1, "");
            Check.equal(0, Await.value(next.outcome(), "next() to return when"
                    + " the end has come", "notifyAll() in deliver()").length,
                    "the length of what next() returns at the end",
                    "return an empty array when the response is over");
            piece("", response, "after the end, next() is empty again");
        }

        @Test
        void a_reset_of_a_stream_fails_its_own_call_with_its_code()
                throws Exception {
            // rejects: a reset of all calls; a reset that is ignored
            var pair = Pair.of(USUAL);
            var calls = pair.calls(2);
            var ids = pair.requests(2);
            ids.forEach((id, request) -> {
                if (request.equals("0")) {
                    pair.wire.number(PoolVsMultiplex.RST_STREAM, id, 77);
                }
            });
            var reset = fails(PoolVsMultiplex.StreamResetException.class,
                    calls.get(0), "a call whose stream is reset", "remove() the"
                            + " response of that stream, and fail() it");
            Check.equal(77, reset.code(), "the code of the exception",
                    "give it the code of the frame");
            ids.forEach((id, request) -> {
                if (request.equals("1")) {
                    pair.wire.data(id, 1, "unharmed");
                }
            });
            returns("unharmed", calls.get(1), "RST_STREAM ends one stream, and"
                    + " not the connection");
        }

        @Test
        void what_came_before_a_reset_can_be_read() throws Exception {
            // rejects: a failure that overtakes the pieces
            var pair = Pair.of(USUAL);
            var response = pair.mux.open("cut".getBytes());
            int id = pair.request();
            pair.wire.data(id, 0, "some").data(id, 0, "thing")
                    .number(PoolVsMultiplex.RST_STREAM, id, 2);
            pair.wire.data(1001, 1, "");
            pair.awaitReceived();
            for (var part : List.of("some", "thing")) {
                piece(part, response, "return the pieces first, then throw the"
                        + " failure");
            }
            Check.fails(PoolVsMultiplex.StreamResetException.class,
                    response::next, "next() after the last piece before a"
                            + " reset", "throw the failure; the response is"
                            + " not over");
        }

        @Test
        void all_calls_fail_when_the_connection_ends_and_none_hangs()
                throws Exception {
            // rejects: waiting calls that are forgotten; a safe retry promised
            for (var way : List.of("closes", "sends a frame of 2^24 - 1 bytes",
                    "sends half a frame and closes")) {
                History.note("the server " + way);
                var pair = Pair.of(USUAL);
                var calls = pair.calls(20);
                pair.requests(20);
                switch (way) {
                    case "closes" -> pair.wire.close();
                    case "sends half a frame and closes" -> pair.wire
                            .raw(0, 0, 9, 0, 0, 0, 0, 0, 1, 'h').close();
                    default -> pair.wire.raw(255, 255, 255, 0, 0, 0, 0, 0, 1);
                }
                for (var call : calls) {
                    var lost = fails(
                            PoolVsMultiplex.ConnectionLostException.class, call,
                            "a call in progress when the server " + way,
                            "fail() every response in failAll()");
                    Check.that(!lost.notProcessed(), "notProcessed() = false,"
                            + " got true", "the server had read the request, so"
                            + " it may have been processed");
                    Check.that(lost.getMessage() != null, "a message that says"
                            + " why, got none", "pass why on");
                }
            }
        }

        @Test
        void after_the_connection_has_ended_a_new_call_fails_at_once()
                throws Exception {
            // rejects: a call that waits for a response that cannot come
            var pair = Pair.of(USUAL);
            var call = pair.call("first");
            pair.request();
            pair.wire.close();
            fails(PoolVsMultiplex.ConnectionLostException.class, call,
                    "a call in progress when the server closes",
                    "fail() every response in failAll()");
            var lost = fails(PoolVsMultiplex.ConnectionLostException.class,
                    pair.call("late"), "a call after the server has closed",
                    "note in unusable why there is no connection any more");
            Check.that(lost.notProcessed(), "notProcessed() = true, got false",
                    "the request was not sent");
            Check.equal(0, pair.mux.connections(), "connections() of a"
                    + " multiplexer whose connection has ended", "note in"
                    + " unusable why");
        }

        @Test
        void close_fails_the_calls_in_progress_and_those_to_come()
                throws Exception {
            var pair = Pair.of(USUAL.withMaxConcurrentStreams(9), 2, 1);
            var calls = pair.calls(2);
            pair.requests(2);
            calls.add(pair.call("waits for a slot"));
            calls.getLast().awaitWaiting();
            pair.mux.close();
            pair.mux.close();
            calls.add(pair.call("late"));
            for (var call : calls) {
                var lost = fails(PoolVsMultiplex.ConnectionLostException.class,
                        call, "a call of a multiplexer that is closed",
                        "failAll() fails what is in progress, and notes why in"
                                + " unusable");
                Check.equal("closed", lost.getMessage(), "the message",
                        "pass why on");
            }
        }

        @Test
        void a_response_that_is_not_read_does_not_delay_the_others()
                throws Exception {
            // rejects: a reader thread that waits until its frame was taken
            var pair = Pair.of(USUAL);
            pair.mux.open("never read".getBytes());
            int unread = pair.request();
            var call = pair.call("other");
            int other = pair.request();
            for (int i = 0; i < 60; i++) {
                pair.wire.data(unread, 0, "x".repeat(1000));
            }
            pair.wire.data(other, 1, "in time");
            returns("in time", call, "deliver() adds to a queue and never"
                    + " waits");
        }

        @Test
        void a_stream_that_has_ended_makes_room_for_the_next_one()
                throws Exception {
            // rejects: responses that are never removed
            var pair = Pair.of(USUAL, 1, 1);
            for (int i = 0; i < 6; i++) {
                var opening = PendingCall.start(() -> pair.mux.open(
                        "not closed".getBytes()));
                int id = pair.request(ENDED);
                Await.value(opening.outcome(), "open() to return", ENDED);
                if (i % 2 == 0) {
                    pair.wire.data(id, 1, "done");
                } else {
                    pair.wire.number(PoolVsMultiplex.RST_STREAM, id, 2);
                }
            }
        }

        @Test
        void a_response_of_16_MiB_is_returned_and_a_longer_one_fails()
                throws Exception {
            // rejects: no limit; one byte less
            var pair = Pair.of(WIDE);
            var piece = new byte[16384];
            for (int extra = 0; extra <= 1; extra++) {
                var call = pair.call("much");
                int id = pair.request();
                for (int i = 0; i < 1024; i++) {
                    pair.wire.send(PoolVsMultiplex.DATA, 0, id, piece);
                }
                pair.wire.send(PoolVsMultiplex.DATA, 1, id, new byte[extra]);
                if (extra == 0) {
                    Check.equal(1 << 24, value(call, "collect all pieces;"
                            + " MAX_RESPONSE bytes are allowed").length, "the"
                            + " length of the response", "collect them all");
                } else {
                    var error = fails(IOException.class, call, "a call whose"
                            + " response has 16 MiB and a byte", "throw an"
                            + " IOException when more than MAX_RESPONSE bytes"
                            + " were collected");
                    Check.that(error.getClass() == IOException.class,
                            "an IOException of no other kind, got " + error,
                            "the connection is in order");
                }
            }
        }

        @Test
        void frames_of_unknown_types_and_streams_are_ignored()
                throws Exception {
            var pair = Pair.of(USUAL);
            var call = pair.call("patient");
            int id = pair.request();
            pair.wire.send(99, 255, id, new byte[100]);
            pair.wire.send(6, 0, 0, new byte[8]);
            pair.wire.data(id + 2, 1, "of no call");
            pair.wire.number(PoolVsMultiplex.RST_STREAM, id + 4, 2);
            pair.wire.data(id, 1, "fine");
            returns("fine", call, "a stream that is not, or no longer, among"
                    + " responses is no error");
        }
    }

    @Step(value = 3, title = "Serve streams concurrently")
    class Serve_streams_concurrently {

        @Test
        void the_response_is_what_the_handler_writes_to_the_same_request()
                throws Exception {
            var client = client(server((request, out) -> {
                out.write("you said ".getBytes());
                out.write(request);
            }));
            for (int id = 1; id <= 5; id += 2) {
                client.data(id, 1, "number " + id);
                Check.equal("you said number " + id, client.response(id,
                        "let the handler answer the request of the exchange"),
                        "the response on stream " + id,
                        "write with the exchange as the handler's output");
            }
        }

        @Test
        void responses_end_in_the_order_in_which_their_handlers_end()
                throws Exception {
            // rejects: one handler after the other
            var gates = Stream.generate(() -> new Semaphore(0))
                    .limit(3).toList();
            var client = client(server((request, out) -> {
                gates.get(request[0]).acquire();
                out.write(request);
            }));
            for (int i = 0; i < 3; i++) {
                client.send(PoolVsMultiplex.DATA, 1, 2 * i + 1,
                        new byte[] {(byte) i});
            }
            for (int i : new int[] {2, 0, 1}) {
                gates.get(i).release();
                var likely = "start() the exchange: its thread runs the"
                        + " handler, and the connection goes on reading";
                client.expect(PoolVsMultiplex.DATA, 0, 2 * i + 1,
                        new byte[] {(byte) i}, likely);
                client.expect(PoolVsMultiplex.DATA, 1, 2 * i + 1, new byte[0],
                        likely);
            }
        }

        @Test
        void a_handler_that_throws_resets_its_stream_and_no_other()
                throws Exception {
            // rejects: an exception that ends the response in good order;
            // catch (IOException e); catch (Exception e)
            var client = client(server((request, out) -> {
                out.write(request);
                switch (new String(request)) {
                    case "checked" -> throw new IOException("on purpose");
                    case "unchecked" -> throw new IllegalStateException();
                    case "error" -> throw new StackOverflowError();
                    default -> {}
                }
            }));
            int id = 1;
            for (var what : List.of("checked", "fine", "unchecked", "error",
                    "fine")) {
                client.data(id, 1, what);
                client.expect(PoolVsMultiplex.DATA, 0, id, what.getBytes(),
                        "what was written is sent");
                if (what.equals("fine")) {
                    client.expect(PoolVsMultiplex.DATA, 1, id, new byte[0],
                            "the connection goes on");
                } else {
                    client.expectNumber(PoolVsMultiplex.RST_STREAM, id, 2,
                            "whatever the handler throws, an Error as well: the"
                                    + " last frame is RST_STREAM with"
                                    + " INTERNAL_ERROR");
                }
                id += 2;
            }
        }

        @Test
        void a_request_beyond_the_limit_is_refused_and_reaches_no_handler()
                throws Exception {
            // rejects: no limit; one too many; a handler that runs anyway
            var gate = new Semaphore(0);
            var begun = new AtomicInteger();
            var server = server((request, out) -> {
                begun.incrementAndGet();
                gate.acquire();
                out.write(request);
            }, USUAL.withMaxConcurrentStreams(3));
            var client = client(server);
            var likely = "refuse as soon as maxConcurrentStreams exchanges are"
                    + " running";
            for (int id = 1; id <= 9; id += 2) {
                client.data(id, 1, "request");
            }
            for (int id = 7; id <= 9; id += 2) {
                client.expectNumber(PoolVsMultiplex.RST_STREAM, id, 7, likely);
            }
            gate.release();
            var ended = client.next("a refused stream harms no other one");
            client.next("");
            client.data(11, 1, "there is room again");
            gate.release(3);
            for (int i = 0; i < 6; i++) {
                var seen = client.next("end() takes the exchange from the"
                        + " table, so its place is free");
                Check.that(seen.type == PoolVsMultiplex.DATA && seen.id <= 11
                        && seen.id != ended.id, "the rest of the responses,"
                        + " got " + seen, "a refusal ends one stream");
            }
            Check.equal(4, begun.get(), "the number of requests that have"
                    + " reached the handler", likely);
        }

        @Test
        void an_invalid_request_is_answered_by_GOAWAY_and_the_end()
                throws Exception {
            // rejects: ids that nobody looks at; each id looked at alone
            var handled = new AtomicInteger();
            var server = server((request, out) -> {
                handled.incrementAndGet();
                out.write(request);
            });
            for (var ids : List.of(List.of(2), List.of(0), List.of(5, 4),
                    List.of(5, 5), List.of(5, 3), List.of(5, 1),
                    List.of(7, -9))) {
                var client = client(server);
                int last = 0;
                for (int id : ids.subList(0, ids.size() - 1)) {
                    client.data(id, 1, "valid");
                    client.response(id, "a first id above 1 is valid");
                    last = id;
                }
                int count = handled.get();
                int wrong = ids.getLast();
                client.send(PoolVsMultiplex.DATA, wrong < 0 ? 0 : 1,
                        Math.abs(wrong), "invalid".getBytes());
                var what = wrong < 0 ? "a request without END_STREAM"
                        : "a request on stream " + wrong + " after stream "
                                + last;
                client.goAway(last, PoolVsMultiplex.PROTOCOL_ERROR, what + ":"
                        + " the id must be odd and above lastId, and the frame"
                        + " must end the stream; lastId is that of the last"
                        + " valid one");
                client.ends("the server closes the connection");
                Check.equal(count, handled.get(), "requests handled after "
                        + what, "throw before anything is started");
            }
        }

        @Test
        void the_id_of_a_refused_request_cannot_be_used_again()
                throws Exception {
            // rejects: lastId noted only for requests that are accepted
            var client = client(server((_, _) -> {},
                    USUAL.withMaxConcurrentStreams(0)));
            client.data(5, 1, "refused");
            client.expectNumber(PoolVsMultiplex.RST_STREAM, 5, 7, "refuse it");
            client.data(3, 1, "too low");
            client.goAway(5, PoolVsMultiplex.PROTOCOL_ERROR, "note the id in"
                    + " lastId before you refuse the request");
        }

        @Test
        void a_multiplexer_has_64_calls_answered_at_the_same_time()
                throws Exception {
            // rejects: a lock that is held during the call
            var gate = new Semaphore(0);
            var server = server((request, out) -> {
                gate.acquire();
                out.write(request);
            });
            var mux = mux(server);
            var calls = IntStream.range(0, 64).mapToObj(i -> PendingCall.start(
                    () -> mux.call(("call " + i).getBytes(), LIMIT))).toList();
            Await.until(() -> server.stats().activeStreams() == 64, "64 active"
                    + " streams", "the handlers of one connection run at the"
                    + " same time");
            Check.equal(1, server.stats().connections(), "connections", "");
            gate.release(64);
            for (int i = 0; i < 64; i++) {
                returns("call " + i, calls.get(i), "");
            }
        }
    }

    @Step(value = 4, title = "Compare pool and multiplexer")
    class Compare_pool_and_multiplexer {

        @Test
        void percentiles_of_100_calls_are_the_50th_and_99th_shortest_times()
                throws Exception {
            // rejects: rank p * n / 100, counted from 0; times not sorted
            sample(5050, 50, 99, IntStream.rangeClosed(1, 100), "nearest rank:"
                    + " the time number ceil(n * percent / 100), counted from"
                    + " 1, in the sorted times");
            sample(5050, 50, 99, IntStream.rangeClosed(1, 100)
                    .map(i -> i * 37 % 101), "sort the times before you look"
                    + " for a rank");
        }

        @Test
        void percentiles_of_few_calls_are_rounded_up_to_a_rank()
                throws Exception {
            // rejects: interpolation; rounding to the nearest
            var likely = "round n * percent / 100 up to a whole rank";
            sample(7, 7, 7, IntStream.of(7), likely);
            sample(6, 2, 3, IntStream.of(1, 2, 3), likely);
            sample(30, 10, 20, IntStream.of(10, 20), likely);
            sample(55, 5, 10, IntStream.rangeClosed(1, 10), likely);
            sample(20301, 101, 199, IntStream.rangeClosed(1, 201), likely);
        }

        private static void sample(int total, int p50, int p99,
                IntStream times, String likely) throws Exception {
            var each = times.toArray();
            var fake = new Fake(each);
            var seen = PoolVsMultiplex.measure("fake", fake, each.length, 1,
                    "request".getBytes(), fake);
            Check.equal(new PoolVsMultiplex.Sample("fake", 3, each.length,
                    Duration.ofMillis(total), Duration.ofMillis(p50),
                    Duration.ofMillis(p99)), seen, "the sample of calls of "
                    + shown(each) + " ms, one after the other", likely);
        }

        private static String shown(int[] each) {
            return each.length < 11 ? Arrays.toString(each)
                    : each[0] + ", " + each[1] + ", ... " + each[each.length
                    - 1];
        }

        @Test
        void as_many_calls_as_asked_are_made_by_any_number_of_threads()
                throws Exception {
            // rejects: calls for each thread; calls / concurrency, rounded
            for (int threads : new int[] {1, 3, 7, 20}) {
                var count = new AtomicInteger();
                var client = new Fake() {
                    @Override
                    public byte[] call(byte[] request, Duration timeout) {
                        Check.equal("request", new String(request),
                                "the request", "pass the request on");
                        count.incrementAndGet();
                        return request;
                    }
                };
                PoolVsMultiplex.measure("", client, 10, threads,
                        "request".getBytes(), System::nanoTime);
                Check.equal(10, count.get(), "the calls of measure(10 calls, "
                        + threads + " at once)", "each thread takes the next"
                        + " number until all 10 are taken");
            }
        }

        @Test
        void as_many_calls_as_asked_are_in_progress_at_once()
                throws Exception {
            // rejects: one after the other; a thread for each call; a total
            // that is the sum of the times
            PoolVsMultiplex.measure("", new Fake(1), 1, 1, new byte[1],
                    System::nanoTime);   // or TODO
            var likely = "start a thread for each of concurrency, and each"
                    + " thread makes one call after the other";
            var now = new AtomicInteger();
            var most = new AtomicInteger();
            var gate = new CountDownLatch(1);
            var client = new Fake() {
                @Override
                public byte[] call(byte[] request, Duration timeout)
                        throws InterruptedException {
                    most.accumulateAndGet(now.incrementAndGet(), Math::max);
                    gate.await();
                    now.decrementAndGet();
                    return request;
                }
            };
            var measuring = PendingCall.start(() -> PoolVsMultiplex.measure("",
                    client, 40, 5, new byte[1], System::nanoTime));
            try {
                Await.until(() -> now.get() >= 5, "five calls of 40 at the same"
                        + " time", likely);
                measuring.awaitWaiting();
                // All threads are started. Those that are not yet running get
                // their turn before, or between, these.
                for (int i = 0; i < 200; i++) {
                    Await.value(PendingCall.start(() -> 0).outcome(), "", "");
                }
            } finally {
                gate.countDown();
            }
            Await.value(measuring.outcome(), "measure() to return", likely);
            Check.equal(5, most.get(), "the most calls at the same time",
                    likely);
            var two = new Fake() {
                private final CyclicBarrier both = new CyclicBarrier(2,
                        () -> pass(10));

                @Override
                public byte[] call(byte[] request, Duration timeout)
                        throws IOException {
                    try {
                        both.await(Patience.millis(), TimeUnit.MILLISECONDS);
                    } catch (Exception e) {
                        throw new IOException("two calls at once did not come",
                                e);
                    }
                    return request;
                }
            };
            var ten = Duration.ofMillis(10);
            Check.equal(new PoolVsMultiplex.Sample("two", 3, 2, ten, ten, ten),
                    PoolVsMultiplex.measure("two", two, 2, 2, new byte[1], two),
                    "the sample of two calls of 10 ms at the same time",
                    "total is the time from before the first call until after"
                            + " the last one, and not the sum of all times");
        }

        @Test
        void the_first_failure_is_thrown_and_no_call_is_begun_after_it()
                throws Exception {
            // rejects: a failure that is counted as a call
            var count = new AtomicInteger();
            var failure = new SocketTimeoutException("the third");
            var client = new Fake() {
                @Override
                public byte[] call(byte[] request, Duration timeout)
                        throws IOException {
                    if (count.incrementAndGet() == 3) {
                        throw failure;
                    }
                    return request;
                }
            };
            var seen = Check.fails(IOException.class, () ->
                    PoolVsMultiplex.measure("", client, 10, 1, new byte[1],
                            System::nanoTime), "measure() when the third call"
                    + " fails", "rethrow what the call has thrown");
            Check.that(seen == failure || seen.getCause() == failure,
                    "the failure of the call, got " + seen, "rethrow it");
            Check.equal(3, count.get(), "the calls made, when the third of 10"
                    + " fails", "take no more numbers after a failure");
            failureIsForAllThreads(false);
            failureIsForAllThreads(true);
        }

        /** One call fails; the other ends, or fails, when that was noted. */
        private static void failureIsForAllThreads(boolean bothFail)
                throws Exception {
            var count = new AtomicInteger();
            var failing = new CompletableFuture<Thread>();
            var gate = new CountDownLatch(1);
            var client = new Fake() {
                @Override
                public byte[] call(byte[] request, Duration timeout)
                        throws IOException, InterruptedException {
                    if (count.incrementAndGet() == 2) {
                        failing.complete(Thread.currentThread());
                        throw new IOException("the second");
                    }
                    gate.await();
                    if (bothFail) {
                        throw new IOException("later");
                    }
                    return request;
                }
            };
            var measuring = PendingCall.start(() -> PoolVsMultiplex.measure("",
                    client, 10, 2, new byte[1], System::nanoTime));
            try {
                var thread = Await.value(failing, "two calls at once", "");
                Await.until(() -> EnumSet.of(Thread.State.TERMINATED,
                        Thread.State.WAITING, Thread.State.TIMED_WAITING)
                        .contains(thread.getState()), "the thread whose call"
                        + " has failed to end", "take no more numbers after a"
                        + " failure");
            } finally {
                gate.countDown();
            }
            var seen = fails(IOException.class, measuring, "measure() when a"
                    + " thread has failed", "rethrow what the call has"
                    + " thrown");
            Check.that((seen + " " + seen.getCause()).contains("the second"),
                    "what the call that failed first has thrown, got " + seen,
                    "keep the first failure: compareAndSet(null, e)");
            Check.equal(2, count.get(), "the calls made, when the second of 10"
                    + " fails and the first is in progress", "the failure of"
                    + " one thread is the end for all: look at it before each"
                    + " call");
        }

        @Test
        void an_interrupt_ends_the_measurement_and_its_calls()
                throws Exception {
            // rejects: threads that go on calling
            PoolVsMultiplex.measure("", new Fake(1), 1, 1, new byte[1],
                    System::nanoTime);   // or TODO
            var begun = new CountDownLatch(4);
            var interrupted = new CountDownLatch(4);
            var client = new Fake() {
                @Override
                public byte[] call(byte[] request, Duration timeout)
                        throws InterruptedException {
                    begun.countDown();
                    try {
                        new CountDownLatch(1).await();
                    } finally {
                        interrupted.countDown();
                    }
                    return request;
                }
            };
            var measuring = PendingCall.start(() -> PoolVsMultiplex.measure("",
                    client, 9, 4, new byte[1], System::nanoTime));
            Await.open(begun, "four calls to begin", "start four threads");
            measuring.thread().interrupt();
            fails(InterruptedException.class, measuring, "measure() that is"
                    + " interrupted", "let the exception pass");
            Await.open(interrupted, "the four calls to be interrupted",
                    "interrupt the threads when measure() is interrupted");
        }

        @Test
        void a_pool_of_4_needs_16_rounds_for_64_calls_and_a_multiplexer_1()
                throws Exception {
            var gate = new Semaphore(0);
            var server = server((request, out) -> {
                gate.acquire();
                out.write(request);
            });
            var pool = closeLater(PoolVsMultiplex.Pool.create(
                    server.localAddress(), 4, USUAL));
            rounds(16, 4, 4, pool, server, gate);
            rounds(1, 64, 1, mux(server), server, gate);
        }

        private static void rounds(int rounds, int atOnce, int connections,
                PoolVsMultiplex.Client client, PoolVsMultiplex.Server server,
                Semaphore gate) throws Exception {
            var measuring = PendingCall.start(() -> PoolVsMultiplex.measure(
                    "", client, 64, 64, "request".getBytes(),
                    System::nanoTime));
            for (int i = 1; i <= rounds; i++) {
                Await.until(() -> server.stats().activeStreams() == atOnce
                        && gate.availablePermits() == 0, atOnce
                        + " requests at the server in round " + i + " of "
                        + rounds, "64 threads call at once; the client decides"
                        + " how many of them reach the server");
                gate.release(atOnce);
            }
            var sample = Await.value(measuring.outcome(), "the sample after "
                    + rounds + " rounds", "");
            Check.equal(connections, sample.connections(), "connections of the"
                    + " sample", "ask the client at the end");
        }

        @Test
        void a_pool_replaces_a_connection_that_the_server_has_closed()
                throws Exception {
            var listener = closeLater(new ServerSocket(0, 50, LOOPBACK));
            var pool = closeLater(PoolVsMultiplex.Pool.create(
                    (InetSocketAddress) listener.getLocalSocketAddress(), 1,
                    USUAL));
            for (int i = 0; i < 3; i++) {
                var call = PendingCall.start(() -> pool.call(
                        "again".getBytes(), LIMIT));
                var wire = Wire.accept(listener, USUAL);
                var seen = wire.next("");
                wire.data(seen.id, 1, "answer");
                returns("answer", call, "failAll() notes why in unusable, so"
                        + " the pool does not use that connection again");
                wire.close();
                Await.until(() -> pool.connections() == 0, "the pool to know"
                        + " that its connection is closed", "failAll() notes"
                        + " why in unusable");
            }
        }

        @Test
        void OkHttp_needs_4_connections_with_HTTP_1_and_1_with_HTTP_2()
                throws Exception {
            for (var protocol : List.of(Protocol.HTTP_1_1,
                    Protocol.H2_PRIOR_KNOWLEDGE)) {
                var server = closeLater(new MockWebServer());
                var four = new CyclicBarrier(4);
                server.setProtocols(List.of(protocol));
                server.setDispatcher(new Dispatcher() {
                    @Override
                    public MockResponse dispatch(RecordedRequest request) {
                        try {
                            if (!request.getTarget().equals("/warm")) {
                                four.await(Patience.millis(),
                                        TimeUnit.MILLISECONDS);
                            }
                            return new MockResponse.Builder().body("ok")
                                    .build();
                        } catch (Exception e) {
                            return new MockResponse.Builder().code(500).build();
                        }
                    }
                });
                server.start(LOOPBACK, 0);
                var client = closeLater(new OkClient(protocol,
                        server.getPort()));
                client.get("/warm");
                var sample = PoolVsMultiplex.measure("OkHttp", client, 12, 4,
                        new byte[1], System::nanoTime);
                Check.equal(protocol == Protocol.HTTP_1_1 ? 4 : 1,
                        sample.connections(), "OkHttp's connections for four"
                                + " calls at once by " + protocol, "four"
                                + " threads call at the same time");
            }
        }
    }

    @Step(value = 5, title = "Respect flow-control windows", further = true,
            leak = "a handler that waits for a window must end when it is"
                    + " interrupted: let the InterruptedException pass")
    class Respect_flow_control_windows {

        @Test
        void a_send_window_gives_what_it_has_and_no_more() throws Exception {
            var window = new PoolVsMultiplex.SendWindow(10);
            for (int[] row : new int[][] {{4, 4}, {4, 4}, {4, 2}}) {
                Check.equal(row[1], window.takeUpTo(row[0]), "takeUpTo("
                        + row[0] + ")", "take the lesser of most and what is"
                        + " available, and count it off");
            }
            window.add(3);
            Check.equal(3, window.takeUpTo(100), "takeUpTo(100) after add(3)",
                    "add() makes more available");
        }

        @Test
        void an_empty_send_window_makes_all_threads_wait_until_bytes_are_added()
                throws Exception {
            // rejects: 0 returned; notify(); if instead of while
            Check.equal(1, new PoolVsMultiplex.SendWindow(1).takeUpTo(9),
                    "takeUpTo(9) of a window of 1", "");
            var window = new PoolVsMultiplex.SendWindow(0);
            var calls = new ArrayList<PendingCall<Integer>>();
            for (int i = 0; i < 20; i++) {
                calls.add(PendingCall.start(() -> window.takeUpTo(5)));
                calls.getLast().awaitWaiting();
            }
            Check.that(calls.stream().noneMatch(c -> c.outcome().isDone()),
                    "takeUpTo() of an empty window to wait, but it returned",
                    "wait while nothing is available");
            window.add(5);
            Await.until(() -> calls.stream().anyMatch(c -> c.outcome()
                    .isDone()), "one of 20 takeUpTo(5) to return after add(5)",
                    "notifyAll() in add()");
            for (var call : calls) {
                call.awaitWaiting();   // again, if it was woken
            }
            window.add(95);
            for (var call : calls) {
                Check.equal(5, Await.value(call.outcome(), "each of 20"
                        + " takeUpTo(5) to return after add(5) and add(95)",
                        "wake all threads that wait, and let each look again"),
                        "what it has taken", "look again after each wait");
            }
        }

        @Test
        void an_interrupt_ends_the_wait_for_a_send_window() throws Exception {
            var window = new PoolVsMultiplex.SendWindow(0);
            var call = PendingCall.start(() -> window.takeUpTo(5));
            call.awaitWaiting();
            call.thread().interrupt();
            fails(InterruptedException.class, call, "takeUpTo() that is"
                    + " interrupted", "let the exception pass");
        }

        @Test
        void a_send_window_never_exceeds_2147483647() throws Exception {
            // rejects: an int that overflows; a window that is cut off there
            var window = new PoolVsMultiplex.SendWindow(MOST);
            Check.equal(5, window.takeUpTo(5), "takeUpTo(5) of 2^31 - 1", "");
            Check.that(window.add(5), "add(5) to 2^31 - 6 to be true, got"
                    + " false", "2^31 - 1 is allowed");
            for (int more : new int[] {1, MOST}) {
                Check.that(!window.add(more), "add(" + more + ") to 2^31 - 1 to"
                        + " be false, got true", "compare without an overflow");
            }
            Check.equal(MOST, window.takeUpTo(MOST), "what is available then",
                    "an add() that returns false changes nothing");
        }

        @Test
        void a_receive_window_tells_when_the_peer_sends_too_much() {
            // rejects: a window that opens on receipt
            var window = new PoolVsMultiplex.ReceiveWindow(10);
            window.receive(10);
            Check.equal(7, window.consume(7), "consume(7) of 10", "");
            Check.that(window.receive(7), "7 bytes to be allowed after 7 were"
                    + " returned, got false", "what is returned is not used"
                    + " any more");
            Check.that(!window.receive(1), "an 8th to be told by false, got"
                    + " true", "take off used only what is returned");
            window = new PoolVsMultiplex.ReceiveWindow(10);
            Check.that(window.receive(4) && window.receive(6), "10 bytes to be"
                    + " allowed by a window of 10, got false", "false only"
                    + " when more than size is used");
            Check.that(!window.receive(1), "an 11th byte to be told by false,"
                    + " got true", "bytes are used until they are returned");
        }

        @Test
        void a_receive_window_returns_bytes_when_half_of_it_is_consumed() {
            // rejects: each byte returned; all of size returned; none lost
            var likely = "return what was consumed once that is half of size or"
                    + " more; until then remember it";
            for (int size : new int[] {1, 9, 10, 65536}) {
                var window = new PoolVsMultiplex.ReceiveWindow(size);
                long received = 0;
                long returned = 0;
                int piece = Math.max(1, size / 5);
                for (int i = 1; i <= 50; i++) {
                    Check.that(window.receive(piece), "a peer that sends only"
                            + " what was returned to be allowed, window "
                            + size + ", piece " + i, likely);
                    received += piece;
                    returned += window.consume(piece);
                    Check.that(returned <= received, "at most the consumed "
                            + received + " bytes returned, got " + returned
                            + ", window " + size, likely);
                    Check.that(received - returned < (size + 1) / 2
                            || size == 1, "less than half of the window of "
                            + size + " to be held back, got "
                            + (received - returned) + " after " + i
                            + " pieces of " + piece, likely);
                }
            }
        }

        @Test
        void a_response_stops_at_the_window_of_its_stream() throws Exception {
            // rejects: only the connection's window; a window that is a hint
            var server = server((request, out) -> out.write(
                    new byte[Integer.parseInt(new String(request))]));
            var client = Wire.connect(server, 65536, 1 << 20);
            client.data(1, 1, "1000000");
            client.bytes(1, 65536, "take from exchange.window before each"
                    + " frame");
            client.data(3, 1, "100");
            Check.equal(100, client.response(3, "a response that has to wait"
                    + " stops no other, and sends no byte beyond its window")
                    .length(), "the length of another response", "");
            client.number(PoolVsMultiplex.WINDOW_UPDATE, 1, 5);
            client.bytes(1, 5, "WINDOW_UPDATE of a stream adds to"
                    + " exchange.window");
            client.data(5, 1, "100");
            Check.equal(100, client.response(5, "5 bytes were allowed, and no"
                    + " more").length(), "a third response", "");
        }

        @Test
        void all_responses_together_stop_at_the_window_of_the_connection()
                throws Exception {
            // rejects: only the stream's window
            var server = server((request, out) -> out.write(
                    new byte[Integer.parseInt(new String(request))]));
            var client = Wire.connect(server, 1000, 25);
            client.data(1, 1, "20");
            Check.equal(20, client.response(1, "20 of 25 bytes").length(),
                    "the first response", "");
            client.data(3, 1, "10");
            client.bytes(3, 5, "take from the window of the connection, too:"
                    + " 25 - 20 = 5 are left");
            client.data(5, 1, "0");
            Check.equal("", client.response(5, "an empty response needs no"
                    + " window; and no byte more than 25 may come"), "a"
                    + " response of 0 bytes", "");
            client.number(PoolVsMultiplex.WINDOW_UPDATE, 0, 100);
            Check.equal(5, client.response(3, "WINDOW_UPDATE on stream 0 adds"
                    + " to connection.window").length(), "the rest of the"
                    + " second response", "");
        }

        @Test
        void a_stream_whose_own_window_is_empty_uses_none_of_the_connection()
                throws Exception {
            // rejects: connection first, then stream; nothing given back
            var server = server((request, out) -> out.write(
                    new byte[Integer.parseInt(new String(request))]));
            var client = Wire.connect(server, 10, 10);
            client.data(1, 1, "1000");
            client.bytes(1, 10, "10 bytes are allowed by both windows");
            for (int id = 3; id < 80; id += 4) {
                client.number(PoolVsMultiplex.WINDOW_UPDATE, 0, 10);
                client.data(id, 1, "0");
                client.response(id, "an empty response needs no window");
                client.data(id + 2, 1, "10");
                Check.equal(10, client.response(id + 2, "stream 1 waits for its"
                        + " own window, and meanwhile it must not hold what the"
                        + " connection allows: take from the stream first")
                        .length(), "another response", "");
            }
        }

        @Test
        void a_stream_that_waits_for_the_connection_keeps_its_own_window()
                throws Exception {
            // rejects: what the connection did not have is lost, or what was
            // claimed before an interrupt
            var server = server((request, out) -> out.write(
                    new byte[Integer.parseInt(new String(request))]));
            var client = Wire.connect(server, 30, 10);
            client.data(1, 1, "30");
            client.bytes(1, 10, "the connection allows 10");
            for (int i = 0; i < 2; i++) {
                client.number(PoolVsMultiplex.WINDOW_UPDATE, 0, 10);
                client.bytes(1, 10, "its stream allows 30 in all: add to"
                        + " exchange.window what the connection's window did"
                        + " not have");
            }
            client.expect(PoolVsMultiplex.DATA, 1, 1, new byte[0], "an empty"
                    + " frame needs no window");
            interrupted();
        }

        /** By somebody on the server's side, and not by a reset. */
        private static void interrupted() throws Exception {
            var interrupted = new CountDownLatch(1);
            var server = server((_, out) -> {
                interrupted(out);   // both windows are open
                out.write(new byte[10]);
                interrupted(out);   // that of the connection is empty
                interrupted.countDown();
                out.write(new byte[20]);
            });
            var client = Wire.connect(server, 30, 10);
            client.data(1, 1, "");
            client.bytes(1, 10, "the connection allows 10");
            Await.open(interrupted, "a write that waits for the connection to"
                    + " be ended by an interrupt", "let the"
                    + " InterruptedException pass");
            client.number(PoolVsMultiplex.WINDOW_UPDATE, 0, 100);
            client.bytes(1, 20, "its stream allows 30 in all, and 10 were sent:"
                    + " when the wait for the connection is interrupted, add"
                    + " to exchange.window all that was taken from it");
            client.expect(PoolVsMultiplex.DATA, 1, 1, new byte[0], "an empty"
                    + " frame needs no window");
        }

        /** A write that fails at once; its handler goes on. */
        private static void interrupted(OutputStream out) throws IOException {
            Thread.currentThread().interrupt();
            try {
                out.write(new byte[8]);
            } catch (InterruptedIOException e) {
                // expected
            }
            Thread.interrupted();
        }

        @Test
        void a_window_update_of_0_or_too_much_resets_its_stream()
                throws Exception {
            // rejects: a stream's fault that ends the connection
            for (int increment : new int[] {0, 11}) {
                int code = increment == 0 ? 1 : 3;
                var client = Wire.connect(server((request, out) -> {
                    if (request.length > 0) {
                        new CountDownLatch(1).await();
                    }
                }), MOST - 10, 100);
                client.data(1, 1, "waits");
                client.number(PoolVsMultiplex.WINDOW_UPDATE, 1, increment);
                client.expectNumber(PoolVsMultiplex.RST_STREAM, 1, code, "an"
                        + " increment of 0 is a PROTOCOL_ERROR, one that makes"
                        + " more than 2^31 - 1 a FLOW_CONTROL_ERROR: reset()"
                        + " the exchange, and only that");
                for (int id : new int[] {1, 2, 99}) {
                    client.number(PoolVsMultiplex.WINDOW_UPDATE, id, increment);
                }
                client.data(3, 1, "");
                client.response(3, "the connection goes on; WINDOW_UPDATE for a"
                        + " stream that does not run is ignored");
            }
        }

        @Test
        void a_window_update_of_0_or_too_much_on_stream_0_is_the_end()
                throws Exception {
            for (int increment : new int[] {0, 11}) {
                int code = increment == 0 ? 1 : 3;
                var client = Wire.connect(server((_, _) -> {}), 100, MOST - 10);
                client.number(PoolVsMultiplex.WINDOW_UPDATE, 0, increment);
                client.goAway(0, code, "stream 0 is the connection: throw a"
                        + " ProtocolErrorException, 0 with PROTOCOL_ERROR, too"
                        + " much with FLOW_CONTROL_ERROR");
                client.ends("the connection is closed");
            }
        }

        @Test
        void bytes_that_are_not_read_are_not_returned() throws Exception {
            // rejects: credit on receipt
            var pair = Pair.of(USUAL);
            var response = pair.mux.open("unread".getBytes());
            int id = pair.request();
            for (int i = 0; i < 4; i++) {
                pair.wire.send(PoolVsMultiplex.DATA, 0, id, new byte[16384]);
            }
            var likely = "return bytes when they are read, and not when they"
                    + " come";
            for (int i = 0; i < 2; i++) {   // the second when all has come
                var other = pair.call("other");
                var seen = pair.wire.next("a request", likely);
                while (seen.type != PoolVsMultiplex.DATA) {
                    Check.that(seen.id != id, "a request, and no WINDOW_UPDATE"
                            + " for stream " + id + " before it\ngot " + seen,
                            likely);
                    seen = pair.wire.next("a request", likely);
                }
                pair.wire.data(seen.id, 1, "answer");
                returns("answer", other, "");
            }
            long returned = 0;
            for (int read = 16384; read <= 32768; read += 16384) {
                response.next();
            }
            while (returned < 32768) {
                var seen = pair.wire.next("WINDOW_UPDATE on stream " + id,
                        "update the stream when half of its window of 65536"
                                + " was read, by what was read");
                returned += seen.id == id ? seen.number(0) : 0;
            }
            Check.equal(32768L, returned, "the bytes returned on stream " + id
                    + " when 32768 were read", "return what was read, and no"
                    + " more");
            Check.equal(16384, response.next().length, "the next piece", "");
        }

        @Test
        void both_windows_are_returned_while_a_response_is_read()
                throws Exception {
            // rejects: only the stream; only the connection; more than read;
            // one window counted for both
            var pair = Pair.of(new PoolVsMultiplex.Options(1000, 3000, 1));
            var call = pair.call("long");
            int id = pair.request();
            long sent = 0;
            var returned = new long[2];
            var likely = "consumed() returns bytes on the stream and on stream"
                    + " 0, each by its own window";
            while (sent < 20_000) {
                while (sent + 500 <= Math.min(1000 + returned[1],
                        3000 + returned[0])) {
                    pair.wire.send(PoolVsMultiplex.DATA, 0, id, new byte[500]);
                    sent += 500;
                }
                var seen = pair.wire.next(likely);
                Check.that(seen.type == PoolVsMultiplex.WINDOW_UPDATE
                        && (seen.id == 0 || seen.id == id), "WINDOW_UPDATE on"
                        + " stream 0 or " + id + ", got " + seen, likely);
                returned[seen.id == 0 ? 0 : 1] += seen.number(0);
                Check.that(returned[seen.id == 0 ? 0 : 1] <= sent, "at most the"
                        + " " + sent + " bytes that were sent to be returned,"
                        + " got " + seen, likely);
            }
            pair.wire.data(id, 1, "");
            Check.equal((int) sent, value(call, likely).length,
                    "the length of the response", likely);
            pair = Pair.of(new PoolVsMultiplex.Options(1000, 3000, 1));
            for (int i = 1; i <= 20; i++) {
                call = pair.call("short");
                pair.wire.data(pair.request(), 1, "x".repeat(300));
                value(call, likely);
                pair.awaitReturned(300 * i - 1500, 300 * i, "short responses"
                        + " use up the window of the connection, too: count"
                        + " them in mux.window, whatever the window of the"
                        + " stream says, and each byte once");
            }
        }

        @Test
        void a_stream_that_has_ended_is_not_updated() throws Exception {
            // rejects: WINDOW_UPDATE for a stream that is closed
            var pair = Pair.of(USUAL.withConnectionWindow(60_000));
            var response = pair.mux.open("short".getBytes());
            int id = pair.request();
            for (int i = 0; i < 4; i++) {
                pair.wire.send(PoolVsMultiplex.DATA, i == 3 ? 1 : 0, id,
                        new byte[10_000]);
            }
            pair.awaitReceived();
            for (int i = 0; i < 4; i++) {
                response.next();
            }
            pair.mux.open("next".getBytes());
            long returned = 0;
            for (var seen = pair.wire.next(""); seen.type
                    != PoolVsMultiplex.DATA; seen = pair.wire.next("")) {
                if (seen.type == PoolVsMultiplex.WINDOW_UPDATE) {
                    Check.equal(0, seen.id, "the stream of " + seen, "after"
                            + " END_STREAM, update only stream 0: look among"
                            + " mux.responses");
                    returned += seen.number(0);
                }
            }
            Check.that(returned > 0 && returned <= 40_004, "the window of the"
                    + " connection to be returned, got " + returned, "stream 0"
                    + " is updated even if the stream has ended");
        }

        @Test
        void a_server_that_exceeds_a_window_loses_its_connection()
                throws Exception {
            for (var options : List.of(USUAL.withStreamWindow(100),
                    USUAL.withConnectionWindow(100))) {
                var pair = Pair.of(options);
                pair.mux.open("not read".getBytes());
                int id = pair.request();
                var call = pair.call("other");
                pair.request();
                pair.wire.data(id, 0, "x".repeat(100)).data(id, 0, "y");
                fails(PoolVsMultiplex.ConnectionLostException.class, call,
                        "a call on a connection whose server sends more than "
                                + options, "receive() is false when more than"
                                + " size is used");
                pair.wire.goAway(0, 3, "receive() is false, which makes the"
                        + " given code end the connection");
            }
        }
    }

    @Step(value = 6, title = "Cancel and time out", further = true,
            leak = "a handler whose stream is cancelled must be interrupted:"
                    + " abort() it")
    class Cancel_and_time_out {

        @Test
        void a_call_that_times_out_is_cancelled() throws Exception {
            // rejects: a timeout that leaves the stream open
            var pair = Pair.of(USUAL);
            long start = System.nanoTime();
            fails(SocketTimeoutException.class, PendingCall.start(
                    () -> pair.mux.call("slow".getBytes(),
                            Duration.ofMillis(30))), "a call with a timeout of"
                    + " 30 ms and no response", "waitUntil() throws when the"
                    + " deadline has come");
            long took = System.nanoTime() - start;
            Check.that(took >= 30_000_000, "the timeout not before 30 ms, got "
                    + took / 1_000_000 + " ms", "wait for what is left until"
                    + " the deadline");
            int id = pair.request();
            pair.wire.expectNumber(PoolVsMultiplex.RST_STREAM, id, 8,
                    "the given code closes the response: send RST_STREAM with"
                            + " CANCEL");
        }

        @Test
        void a_timeout_is_for_the_whole_call_and_not_for_each_piece()
                throws Exception {
            // rejects: a wait of the whole timeout after each wake-up
            var pair = Pair.of(USUAL);
            var call = PendingCall.start(() -> pair.mux.call("drip".getBytes(),
                    Duration.ofMillis(40)));
            int id = pair.request();
            for (int i = 0; i < 2000 && !call.outcome().isDone(); i++) {
                pair.wire.data(id, 0, "x");
                Thread.sleep(1);   // the pace of the pieces
            }
            Check.that(call.outcome().isDone(), "a call with a timeout of 40 ms"
                    + " to end while a byte comes each millisecond", "the"
                    + " deadline stays the same: wait for what is left");
            fails(SocketTimeoutException.class, call, "that call", "throw when"
                    + " nothing is left");
        }

        @Test
        void a_timeout_of_zero_does_not_wait() throws Exception {
            var pair = Pair.of(USUAL);
            fails(SocketTimeoutException.class, PendingCall.start(
                    () -> pair.mux.call("now".getBytes(), Duration.ZERO)),
                    "a call with a timeout of 0", "wait(0) waits for ever: look"
                            + " at what is left first");
        }

        @Test
        void closing_a_response_before_its_end_sends_CANCEL_once()
                throws Exception {
            var pair = Pair.of(USUAL);
            var response = pair.mux.open("long".getBytes());
            int id = pair.request();
            pair.wire.data(id, 0, "begin");
            piece("begin", response, "");
            response.close();
            response.close();
            pair.wire.expectNumber(PoolVsMultiplex.RST_STREAM, id, 8,
                    "remove() the response, and send RST_STREAM with CANCEL");
            pair.mux.open("next".getBytes());
            pair.wire.expect(PoolVsMultiplex.DATA, 1, id + 2,
                    "next".getBytes(), "send it only if remove() has found the"
                            + " response");
        }

        @Test
        void closing_a_response_at_its_end_sends_nothing() throws Exception {
            // rejects: RST_STREAM for each response
            var pair = Pair.of(USUAL);
            for (int i = 0; i < 3; i++) {
                var call = pair.call("short");
                int id = pair.request();
                pair.wire.data(id, 1, "answer");
                returns("answer", call, "");
            }
            var response = pair.mux.open("not read".getBytes());
            int id = pair.request();
            pair.wire.data(id, 1, "answer");
            pair.awaitReceived();
            response.close();
            pair.mux.open("next".getBytes());
            pair.wire.expect(PoolVsMultiplex.DATA, 1, id + 4,
                    "next".getBytes(), "the stream has ended: send RST_STREAM"
                            + " only if remove() finds the response");
        }

        @Test
        void a_closed_response_wakes_its_reader_and_gives_no_more_bytes()
                throws Exception {
            var pair = Pair.of(USUAL);
            var response = pair.mux.open("".getBytes());
            var reading = PendingCall.start(response::next);
            reading.awaitWaiting();
            response.close();
            fails(IOException.class, reading, "next() of a response that is"
                    + " closed meanwhile", "discard() it");
            response = pair.mux.open("".getBytes());
            pair.request();
            var seen = pair.wire.next("");
            Check.equal(PoolVsMultiplex.RST_STREAM, seen.type, "the type of "
                    + seen, "close() cancels");
            pair.wire.data(pair.request(), 0, "unread");
            pair.awaitReceived();
            response.close();
            Check.fails(IOException.class, response::next, "next() after"
                    + " close(), with bytes unread", "discard() what was not"
                    + " read");
        }

        @Test
        void an_interrupted_call_is_cancelled() throws Exception {
            var pair = Pair.of(USUAL);
            var call = pair.call("interrupted");
            int id = pair.request();
            call.awaitWaiting();
            call.thread().interrupt();
            fails(InterruptedException.class, call, "a call that is"
                    + " interrupted", "let the exception pass");
            pair.wire.expectNumber(PoolVsMultiplex.RST_STREAM, id, 8,
                    "close() cancels the call");
        }

        @Test
        void a_cancelled_call_makes_room_for_the_next_one() throws Exception {
            // rejects: a slot that is lost with each cancellation
            var pair = Pair.of(USUAL, 1, 1);
            for (int i = 0; i < 3; i++) {
                var opening = PendingCall.start(() -> pair.mux.open(
                        "cancelled".getBytes()));
                Await.value(opening.outcome(), "open() to return", "remove()"
                        + " the response: that frees its slot").close();
                int id = pair.request();
                pair.wire.expectNumber(PoolVsMultiplex.RST_STREAM, id, 8, "");
            }
            var likely = "remove() the response: that frees its slot";
            var call = pair.call("next");
            pair.wire.data(pair.request(likely), 1, "answer");
            returns("answer", call, likely);
        }

        @Test
        void late_frames_of_a_cancelled_call_are_ignored_but_counted()
                throws Exception {
            // rejects: late bytes that are not returned to the connection
            var pair = Pair.of(new PoolVsMultiplex.Options(10_000, 10_000, 9));
            pair.mux.open("cancelled".getBytes()).close();
            int id = pair.request();
            pair.wire.expectNumber(PoolVsMultiplex.RST_STREAM, id, 8, "");
            long returned = 0;
            for (int sent = 1000; sent <= 50_000; sent += 1000) {
                pair.wire.data(id, sent == 50_000 ? 1 : 0, "x".repeat(1000));
                while (sent - returned >= 5000) {
                    var seen = pair.wire.next("late bytes count in mux.window:"
                            + " discarded() returns them on stream 0");
                    Check.that(seen.type == PoolVsMultiplex.WINDOW_UPDATE
                            && seen.id == 0, "WINDOW_UPDATE on stream 0, got "
                            + seen, "the stream itself has ended");
                    returned += seen.number(0);
                    Check.that(returned <= sent, "at most " + sent + " bytes"
                            + " returned, got " + returned, "count each byte"
                            + " once");
                }
            }
            var call = pair.call("next");
            pair.wire.data(pair.request(), 1, "answer");
            returns("answer", call, "");
        }

        @Test
        void unread_bytes_of_a_cancelled_call_are_returned() throws Exception {
            // rejects: what was received, and not read, is lost for ever, at
            // the end of a stream at least; what was read is counted again
            var mux = mux(server((_, out) -> out.write(new byte[2 << 20])));
            for (int i = 0; i < 40; i++) {
                try (var response = mux.open(new byte[0])) {
                    value(PendingCall.start(response::next), "after " + i
                            + " cancelled responses the window of the"
                            + " connection is used up: discarded() must be told"
                            + " of what discard() returns");
                }
            }
            Check.equal(2 << 20, value(call(mux, ""), "bytes that were received"
                    + " and not read must be returned on stream 0").length,
                    "the length of a response after 40 cancelled ones", "");
            var pair = Pair.of(new PoolVsMultiplex.Options(9_000, 10_000, 9));
            for (int i = 1; i <= 20; i++) {   // 4,000 bytes each
                boolean ends = i % 2 == 0;
                History.note("response " + i + (ends ? " ends" : " is cut"));
                var response = pair.mux.open(new byte[0]);
                int id = pair.request();
                pair.wire.send(PoolVsMultiplex.DATA, 0, id, new byte[1000]);
                value(PendingCall.start(response::next), "");
                pair.wire.send(PoolVsMultiplex.DATA, ends ? 1 : 0, id,
                        new byte[3000]);
                pair.awaitReceived();
                response.close();
                long most = 4004L * i;
                pair.awaitReturned(most - 5000, most, "discard() returns what"
                        + " was not read, and discarded() is told of that, be"
                        + " the stream at its end or not");
            }
        }

        @Test
        void a_cancelled_handler_is_interrupted_and_sends_nothing_more()
                throws Exception {
            // rejects: a handler that works for no one; a stream that stops
            // counting while its handler runs (CVE-2023-44487)
            var begun = new CountDownLatch(1);
            var failed = new CountDownLatch(1);
            var client = client(server((request, out) -> {
                if (request.length == 0) {
                    begun.countDown();
                    try {
                        new CountDownLatch(1).await();
                    } catch (InterruptedException e) {
                        try {
                            out.write("too late".getBytes());
                        } catch (IOException closed) {
                            failed.countDown();
                        }
                    }
                }
            }));
            client.data(1, 1, "");
            Await.open(begun, "the handler to begin", "");
            client.number(PoolVsMultiplex.RST_STREAM, 1, 8);
            client.number(PoolVsMultiplex.RST_STREAM, 1, 8);
            client.number(PoolVsMultiplex.RST_STREAM, 99, 8);
            Await.open(failed, "the handler to be interrupted, and then its"
                    + " write to fail", "find() the exchange and abort() it");
            client.data(3, 1, "goes on");
            client.expect(PoolVsMultiplex.DATA, 1, 3, new byte[0], "RST_STREAM"
                    + " for a stream that has ended is ignored, and after it"
                    + " nothing is sent on that stream");
            countsUntilItEnds();
        }

        private static void countsUntilItEnds() throws Exception {
            var interrupted = new CountDownLatch(1);
            var gate = new Semaphore(0);
            var server = server((request, out) -> {
                if (request.length > 0) {
                    try {
                        new CountDownLatch(1).await();
                    } catch (InterruptedException e) {
                        interrupted.countDown();
                        gate.acquireUninterruptibly();
                    }
                }
            }, USUAL.withMaxConcurrentStreams(1));
            var client = client(server);
            client.data(1, 1, "stubborn");
            client.number(PoolVsMultiplex.RST_STREAM, 1, 8);
            try {
                Await.open(interrupted, "the handler to be interrupted",
                        "find() the exchange and abort() it");
                client.data(3, 1, "");
                client.expectNumber(PoolVsMultiplex.RST_STREAM, 3, 7, "a"
                        + " cancelled stream counts until its handler has"
                        + " ended: leave it among connection.exchanges, and"
                        + " count all of them");
            } finally {
                gate.release();
            }
            Await.until(() -> server.stats().activeStreams() == 0, "the"
                    + " handler to end", "");
            client.data(5, 1, "");
            client.response(5, "end() takes the exchange from the table");
        }
    }

    @Step(value = 7, title = "Shut down with GOAWAY", further = true)
    class Shut_down_with_GOAWAY {

        @Test
        void shutdown_tells_each_client_the_last_stream_it_will_answer()
                throws Exception {
            // rejects: GOAWAY with 0; with a code that means an error
            var server = server((request, out) -> out.write(request));
            var idle = client(server);
            var client = client(server);
            for (int id = 1; id <= 5; id += 4) {
                client.data(id, 1, "x");
                client.response(id, "");
            }
            Await.until(() -> server.stats().connections() == 2, "two"
                    + " connections", "");
            var down = PendingCall.start(() -> server.shutdown(LIMIT));
            var likely = "send GOAWAY with lastId of that connection, and"
                    + " NO_ERROR";
            client.goAway(5, 0, likely);
            idle.goAway(0, 0, likely);
            for (var each : List.of(client, idle)) {
                each.ends("the connection is closed after GOAWAY");
                each.close();
            }
            Check.equal(true, Await.value(down.outcome(), "shutdown() to"
                    + " return", ""), "shutdown() of a server that is idle",
                    "");
        }

        @Test
        void shutdown_lets_running_handlers_end_their_responses()
                throws Exception {
            var gate = new Semaphore(0);
            var server = server((request, out) -> {
                gate.acquire();
                out.write(request);
            });
            var mux = mux(server);
            var calls = IntStream.range(0, 3).mapToObj(i ->
                    call(mux, "call " + i)).toList();
            Await.until(() -> server.stats().activeStreams() == 3, "three"
                    + " active streams", "");
            var down = PendingCall.start(() -> server.shutdown(LIMIT));
            Await.until(() -> mux.connections() == 0, "the client to know that"
                    + " it cannot begin a call", "send GOAWAY; and when it"
                    + " comes, note in mux.unusable why");
            gate.release(3);
            for (int i = 0; i < 3; i++) {
                returns("call " + i, calls.get(i), "GOAWAY with lastId 5 fails"
                        + " only streams above 5");
            }
            Check.equal(true, Await.value(down.outcome(), "shutdown() to"
                    + " return", ""), "shutdown() when nothing was cut", "");
        }

        @Test
        void requests_after_GOAWAY_are_ignored() throws Exception {
            // rejects: a server that says one thing and does another
            var begun = new AtomicInteger();
            var server = server((request, out) -> {
                begun.incrementAndGet();
                out.write(request);
            });
            var client = Wire.connect(server, 5, 1 << 20);
            client.data(1, 1, "6 of 5");
            client.bytes(1, 5, "");
            var down = PendingCall.start(() -> server.shutdown(LIMIT));
            client.goAway(1, 0, "send GOAWAY");
            client.data(3, 1, "after").data(5, 1, "after");
            client.number(PoolVsMultiplex.WINDOW_UPDATE, 1, 1);   // read last
            Check.equal("5", client.response(1, "a request after GOAWAY is"
                    + " ignored, and the running exchange ends: note that the"
                    + " connection is leaving"), "the response to the request"
                    + " before GOAWAY", "");
            client.ends("a request after GOAWAY is ignored: note that the"
                    + " connection is leaving");
            client.close();
            Await.value(down.outcome(), "shutdown() to return", "");
            Check.equal(1, begun.get(), "requests that have reached the"
                    + " handler", "note that the connection is leaving");
        }

        @Test
        void shutdown_cuts_what_still_runs_after_the_grace_period()
                throws Exception {
            var interrupted = new CountDownLatch(1);
            var begun = new CountDownLatch(1);
            var server = server((_, _) -> {
                begun.countDown();
                try {
                    new CountDownLatch(1).await();
                } catch (InterruptedException e) {
                    interrupted.countDown();
                }
            });
            var call = call(mux(server), "endless");
            Await.open(begun, "the handler to begin", "");
            Check.equal(false, server.shutdown(Duration.ofMillis(20)),
                    "shutdown() of a server whose handler does not end", "");
            Await.open(interrupted, "the handler to be interrupted", "");
            var lost = fails(PoolVsMultiplex.ConnectionLostException.class,
                    call, "a call that is cut", "");
            Check.that(!lost.notProcessed(), "notProcessed() = false, got"
                    + " true", "its id is not above lastId: the handler has"
                    + " begun");
        }

        @Test
        void GOAWAY_fails_the_calls_above_its_last_stream_and_no_other()
                throws Exception {
            // rejects: all calls failed; >= instead of >; a response that
            // fails, stays in the table and is cancelled; one GOAWAY only
            var pair = Pair.of(USUAL);
            var calls = pair.calls(5);
            var ids = pair.requests(5);
            for (int lastId : new int[] {MOST, 5}) {
                pair.wire.send(PoolVsMultiplex.GOAWAY, 0, 0,
                        numbers(lastId, 0));
            }
            var likely = "fail() the responses whose id is above lastId, and"
                    + " no other; they were not processed";
            for (var id : ids.tailMap(7).values()) {
                var lost = fails(PoolVsMultiplex.ConnectionLostException.class,
                        calls.get(Integer.parseInt(id)), "a call above the last"
                                + " stream of GOAWAY", likely);
                Check.that(lost.notProcessed(), "notProcessed() = true, got"
                        + " false", likely);
            }
            for (var id : ids.headMap(7).entrySet()) {
                pair.wire.data(id.getKey(), 1, "still answered");
                returns("still answered",
                        calls.get(Integer.parseInt(id.getValue())), likely);
            }
            pair.mux.close();
            pair.wire.ends("remove() the responses above lastId: those calls"
                    + " are over, so there is nothing to cancel");
        }

        @Test
        void after_GOAWAY_new_calls_fail_and_send_nothing() throws Exception {
            var pair = Pair.of(USUAL);
            var call = pair.call("before");
            int id = pair.request();
            pair.wire.send(PoolVsMultiplex.GOAWAY, 0, 0, numbers(MOST, 0));
            Await.until(() -> pair.mux.connections() == 0, "connections() to be"
                    + " 0 after GOAWAY", "note in mux.unusable why no call can"
                    + " be begun");
            for (int i = 0; i < 3; i++) {
                var lost = fails(PoolVsMultiplex.ConnectionLostException.class,
                        pair.call("after"), "a call after GOAWAY", "note in"
                                + " mux.unusable why no call can be begun");
                Check.that(lost.notProcessed(), "notProcessed() = true, got"
                        + " false", "the request was not sent");
            }
            pair.wire.data(id, 1, "answer");
            returns("answer", call, "GOAWAY with the last stream 2^31 - 1 fails"
                    + " no call");
            pair.mux.close();
            pair.wire.ends("nothing may be sent for a call that fails");
        }

        @Test
        void GOAWAY_fails_the_calls_that_wait_for_a_slot() throws Exception {
            // rejects: calls that wait until another one has ended
            var pair = Pair.of(USUAL, 1, 1);
            var running = pair.call("running");
            int id = pair.request();
            var waiting = List.of(pair.call("waits"), pair.call("waits"));
            for (var call : waiting) {
                call.awaitWaiting();
            }
            pair.wire.send(PoolVsMultiplex.GOAWAY, 0, 0, numbers(id, 0));
            for (var call : waiting) {
                Check.that(fails(PoolVsMultiplex.ConnectionLostException.class,
                        call, "a call that waits for a slot when GOAWAY comes",
                        "wakeAll() threads that wait").notProcessed(),
                        "notProcessed() = true, got false", "");
            }
            pair.wire.data(id, 1, "answer");
            returns("answer", running, "");
        }
    }

    // What the tests share

    private static PoolVsMultiplex.Server server(
            PoolVsMultiplex.Handler handler) throws IOException {
        return server(handler, USUAL);
    }

    private static PoolVsMultiplex.Server server(
            PoolVsMultiplex.Handler handler, PoolVsMultiplex.Options options)
            throws IOException {
        new PoolVsMultiplex.Frame(0, 0, 0, numbers()).encode();   // or TODO
        return closeLater(PoolVsMultiplex.Server.start(ANY, handler, options));
    }

    private static Wire client(PoolVsMultiplex.Server server)
            throws IOException {
        return Wire.connect(server, 1 << 20, 1 << 20);
    }

    private static PoolVsMultiplex.Mux mux(PoolVsMultiplex.Server server)
            throws IOException {
        return closeLater(PoolVsMultiplex.Mux.connect(server.localAddress(),
                USUAL));
    }

    private static PendingCall<byte[]> call(PoolVsMultiplex.Mux mux,
            String request) {
        return PendingCall.start(() -> mux.call(request.getBytes(), LIMIT));
    }

    private static byte[] value(PendingCall<byte[]> call, String likely)
            throws InterruptedException {
        return Await.value(call.outcome(), "a response", likely);
    }

    private static void returns(String expected, PendingCall<byte[]> call,
            String likely) throws InterruptedException {
        var seen = new String(Await.value(call.outcome(), "the response \""
                + expected + "\"", likely));
        Check.equal(expected, seen, "the response", likely);
    }

    private static void piece(String expected,
            PoolVsMultiplex.Response response, String likely)
            throws InterruptedException {
        Check.equal(expected, new String(Await.value(PendingCall.start(
                response::next).outcome(), "next() to return \"" + expected
                + "\"", likely)), "what next() returns", likely);
    }

    private static <T extends Throwable> T fails(Class<T> type,
            PendingCall<?> call, String what, String likely)
            throws InterruptedException {
        Await.until(call.outcome()::isDone, what + " to end", likely);
        return Check.fails(type, () -> {
            try {
                call.outcome().get();
            } catch (ExecutionException e) {
                if (e.getCause() instanceof Error error) {
                    throw error;
                }
                throw (Exception) e.getCause();
            }
        }, what, likely);
    }

    private static byte[] numbers(int... numbers) {
        var bytes = ByteBuffer.allocate(4 * numbers.length);
        Arrays.stream(numbers).forEach(bytes::putInt);
        return bytes.array();
    }

    private static String hex(byte[] bytes) {
        return HexFormat.ofDelimiter(" ").formatHex(bytes);
    }

    /** A frame that has come. */
    private record Seen(int type, int flags, int id, byte[] payload) {

        String text() {
            return new String(payload);
        }

        int number(int index) {
            return ByteBuffer.wrap(payload).getInt(4 * index);
        }

        @Override
        public String toString() {
            var name = switch (type) {
                case PoolVsMultiplex.DATA -> "DATA";
                case PoolVsMultiplex.RST_STREAM -> "RST_STREAM";
                case PoolVsMultiplex.GOAWAY -> "GOAWAY";
                case PoolVsMultiplex.WINDOW_UPDATE -> "WINDOW_UPDATE";
                default -> "type " + type;
            };
            var what = type == PoolVsMultiplex.DATA
                    ? payload.length > 20 ? payload.length + " bytes"
                    : Bytes.shown(payload) : hex(payload);
            return name + (flags == 1 ? " END_STREAM" : flags == 0 ? ""
                    : " flags " + flags) + " on stream " + id + ": " + what;
        }
    }

    /** One end of a connection, whose frames the test writes and reads. */
    private static final class Wire implements AutoCloseable {

        private final Socket socket;
        private final InputStream in;
        private final String name;
        private long returned;   // by WINDOW_UPDATE on stream 0

        private Wire(Socket socket, String name) throws IOException {
            this.socket = socket;
            this.name = name;
            socket.setTcpNoDelay(true);
            in = new BufferedInputStream(socket.getInputStream());
        }

        /** A client of the lab's server. */
        static Wire connect(PoolVsMultiplex.Server server, int streamWindow,
                int connectionWindow) throws IOException {
            var wire = closeLater(new Wire(new Socket(LOOPBACK,
                    server.localAddress().getPort()), "the client"));
            wire.preface(streamWindow, connectionWindow, 0);
            return wire;
        }

        /** A server for the lab's client, of which it allows many streams. */
        static Wire accept(ServerSocket listener,
                PoolVsMultiplex.Options options) throws IOException {
            listener.setSoTimeout(Patience.millis());
            var wire = closeLater(new Wire(listener.accept(), "the server"));
            wire.preface(0, 0, options.maxConcurrentStreams());
            return wire;
        }

        private void preface(int... numbers) throws IOException {
            new PoolVsMultiplex.Frame(0, 0, 0, numbers()).encode();   // or TODO
            socket.getOutputStream().write(ByteBuffer.allocate(16)
                    .put("MUX1".getBytes()).put(numbers(numbers)).array());
            socket.setSoTimeout(Patience.millis());
            Check.equal("MUX1", new String(in.readNBytes(16), 0, 4),
                    "the preface", "leave the given code as it is");
        }

        Wire raw(int... bytes) {
            var out = new byte[bytes.length];
            for (int i = 0; i < out.length; i++) {
                out[i] = (byte) bytes[i];
            }
            return write(out);
        }

        private Wire write(byte[] bytes) {
            try {
                socket.getOutputStream().write(bytes);
            } catch (IOException e) {
                throw History.fail("expected " + name + " to be able to send,"
                        + " got " + e, "");
            }
            return this;
        }

        Wire send(int type, int flags, int id, byte[] payload) {
            var bytes = ByteBuffer.allocate(9 + payload.length)
                    .put((byte) (payload.length >> 16))
                    .putShort((short) payload.length).put((byte) type)
                    .put((byte) flags).putInt(id).put(payload);
            History.note(name + " sent " + new Seen(type, flags, id, payload));
            return write(bytes.array());
        }

        Wire data(int id, int flags, String text) {
            return send(PoolVsMultiplex.DATA, flags, id, text.getBytes());
        }

        Wire number(int type, int id, int number) {
            return send(type, 0, id, numbers(number));
        }

        /** The next frame. */
        Seen next(String likely) {
            return next("a frame", likely);
        }

        private Seen next(String what, String likely) {
            String got;
            long start = System.nanoTime();
            try {
                socket.setSoTimeout(Patience.millis());
                var header = ByteBuffer.wrap(in.readNBytes(9));
                if (header.remaining() == 9) {
                    int length = header.getInt() >>> 8;
                    var seen = new Seen(header.get(3) & 0xff, header.get()
                            & 0xff, header.getInt(), in.readNBytes(length));
                    History.note(name + " received " + seen);
                    returned += seen.type == PoolVsMultiplex.WINDOW_UPDATE
                            && seen.id == 0 ? seen.number(0) : 0;
                    return seen;
                }
                got = "the end of the connection";
            } catch (IOException e) {
                got = e instanceof SocketTimeoutException ? "nothing within "
                        + Patience.text() : e.toString();
            }
            throw History.fail("expected " + name + " to receive " + what
                    + ", got " + got, likely);
        }

        void expect(int type, int flags, int id, byte[] payload,
                String likely) {
            var wanted = new Seen(type, flags, id, payload);
            var seen = next(wanted.toString(), likely);
            while (seen.type == PoolVsMultiplex.WINDOW_UPDATE) {   // allowed
                seen = next(wanted.toString(), likely);
            }
            Check.that(seen.type == type && seen.flags == flags
                    && seen.id == id && Arrays.equals(payload, seen.payload),
                    name + " to receive " + wanted + "\ngot " + seen, likely);
        }

        void expectNumber(int type, int id, int number, String likely) {
            expect(type, 0, id, numbers(number), likely);
        }

        void goAway(int lastId, int code, String likely) {
            expect(PoolVsMultiplex.GOAWAY, 0, 0, numbers(lastId, code),
                    likely);
        }

        /** So many bytes of DATA on this stream, in any number of frames. */
        void bytes(int id, int count, String likely) {
            for (int left = count; left > 0; ) {
                var seen = next(left + " more bytes on stream " + id, likely);
                Check.that(seen.type == PoolVsMultiplex.DATA && seen.id == id
                        && seen.flags == 0 && seen.payload.length > 0
                        && seen.payload.length <= left, name + " to receive "
                        + left + " more bytes on stream " + id + "\ngot "
                        + seen, likely);
                left -= seen.payload.length;
            }
        }

        /** All of a response, and no frame of another stream before its end. */
        String response(int id, String likely) {
            var whole = new ByteArrayOutputStream();
            while (true) {
                var seen = next("the response on stream " + id, likely);
                Check.that(seen.type == PoolVsMultiplex.DATA && seen.id == id,
                        name + " to receive the response on stream " + id
                                + "\ngot " + seen, likely);
                whole.writeBytes(seen.payload);
                if (seen.flags == 1) {
                    return whole.toString();
                }
            }
        }

        /** No frame more, and then the end, or a reset. */
        void ends(String likely) {
            try {
                socket.setSoTimeout(Patience.millis());
                var rest = in.readAllBytes();
                for (int at = 0; at < rest.length; at += 13) {
                    Check.that(rest[at + 3] == PoolVsMultiplex.WINDOW_UPDATE,
                            name + " to see the end of the connection, got "
                                    + Bytes.shown(rest), likely);
                }
            } catch (SocketTimeoutException e) {
                throw History.fail("expected " + name + " to see the end of"
                        + " the connection, got nothing within "
                        + Patience.text(), likely);
            } catch (IOException e) {
                // a reset is as good
            }
        }

        @Override
        public void close() throws IOException {
            socket.close();
        }
    }

    /** The lab's multiplexer, and a server that the test plays. */
    private record Pair(PoolVsMultiplex.Mux mux, Wire wire) {

        static Pair of(PoolVsMultiplex.Options options) throws Exception {
            return of(options, 1000, 1);
        }

        static Pair of(PoolVsMultiplex.Options options, int streams,
                int firstId) throws Exception {
            var listener = closeLater(new ServerSocket(0, 50, LOOPBACK));
            var connecting = PendingCall.start(() ->
                    PoolVsMultiplex.Mux.connect((InetSocketAddress)
                            listener.getLocalSocketAddress(), options,
                            firstId));
            var wire = Wire.accept(listener,
                    USUAL.withMaxConcurrentStreams(streams));
            return new Pair(closeLater(Await.value(connecting.outcome(),
                    "connect() to return", "leave the given code as it is")),
                    wire);
        }

        PendingCall<byte[]> call(String request) {
            return PoolVsMultiplexTest.call(mux, request);
        }

        /** Calls whose requests are their numbers. */
        List<PendingCall<byte[]>> calls(int count) {
            return IntStream.range(0, count).mapToObj(i -> call("" + i))
                    .collect(Collectors.toCollection(ArrayList::new));
        }

        /** The id of the next request. */
        int request() {
            return request("each call sends its request, and nothing else is"
                    + " to be sent at this moment");
        }

        int request(String likely) {
            var seen = wire.next("a request", likely);
            while (seen.type == PoolVsMultiplex.RST_STREAM   // see steps 5, 6
                    || seen.type == PoolVsMultiplex.WINDOW_UPDATE) {
                seen = wire.next("a request", likely);
            }
            Check.that(seen.type == PoolVsMultiplex.DATA, "a request, got "
                    + seen, likely);
            return seen.id;
        }

        /** The requests that come next, by their ids. */
        TreeMap<Integer, String> requests(int count) {
            var requests = new TreeMap<Integer, String>();
            for (int i = 0; i < count; i++) {
                var seen = wire.next("a request", "each call sends its"
                        + " request");
                requests.put(seen.id, seen.text());
            }
            return requests;
        }

        /** Until so many bytes were returned on stream 0, and no more. */
        void awaitReturned(long least, long most, String likely) {
            while (wire.returned < least) {
                wire.next("WINDOW_UPDATE on stream 0: only " + wire.returned
                        + " of " + most + " bytes were returned", likely);
            }
            Check.that(wire.returned <= most, "at most " + most + " bytes to be"
                    + " returned on stream 0, got " + wire.returned, likely);
        }

        /** Until the multiplexer has received all that was sent so far. */
        void awaitReceived() throws Exception {
            var probe = call("probe");
            wire.data(request(), 1, "seen");
            returns("seen", probe, "");
        }
    }

    /** A client whose calls take as many milliseconds as it was told. */
    private static class Fake implements PoolVsMultiplex.Client, LongSupplier {

        private final PrimitiveIterator.OfInt times;
        private long now = -5;   // nanoTime() may be negative

        Fake(int... times) {
            this.times = Arrays.stream(times).iterator();
        }

        @Override
        public byte[] call(byte[] request, Duration timeout)
                throws IOException, InterruptedException {
            pass(times.nextInt());
            return request;
        }

        final void pass(int millis) {
            now += millis * 1_000_000L;
        }

        @Override
        public long getAsLong() {
            return now;
        }

        @Override
        public int connections() {
            return 3;
        }

        @Override
        public void close() {}
    }

    /** OkHttp, seen as a client of this lab. */
    private static final class OkClient implements PoolVsMultiplex.Client {

        private final OkHttpClient client;
        private final String url;

        OkClient(Protocol protocol, int port) {
            client = new OkHttpClient.Builder().protocols(List.of(protocol))
                    .build();
            url = "http://127.0.0.1:" + port;
        }

        byte[] get(String path) throws IOException {
            return send(new Request.Builder().url(url + path).build());
        }

        @Override
        public byte[] call(byte[] request, Duration timeout)
                throws IOException {
            return send(new Request.Builder().url(url).post(
                    RequestBody.create(request)).build());
        }

        private byte[] send(Request request) throws IOException {
            try (var response = client.newCall(request).execute()) {
                return response.body().bytes();
            }
        }

        @Override
        public int connections() {
            return client.connectionPool().connectionCount();
        }

        @Override
        public void close() {
            client.connectionPool().evictAll();
            client.dispatcher().executorService().shutdown();
        }
    }
}
