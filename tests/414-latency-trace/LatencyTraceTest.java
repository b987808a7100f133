///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:okhttp-tls:5.5.1
//DEPS com.squareup.okhttp3:mockwebserver3:5.5.1
//DEPS org.hdrhistogram:HdrHistogram:2.2.2
//SOURCES ../../labs/414-latency-trace/LatencyTrace.java
//SOURCES ../kit/*.java

import static kit.TestLifecycle.closeLater;

import module java.base;
import module java.logging;

import java.net.Proxy;
import kit.Await;
import kit.Check;
import kit.FakeTiming;
import kit.History;
import kit.Lab;
import kit.PendingCall;
import kit.Step;
import mockwebserver3.MockResponse;
import mockwebserver3.MockWebServer;
import mockwebserver3.RecordedRequest;
import mockwebserver3.SocketEffect;
import okhttp3.Call;
import okhttp3.ConnectionSpec;
import okhttp3.EventListener;
import okhttp3.OkHttpClient;
import okhttp3.Protocol;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.tls.HandshakeCertificates;
import okhttp3.tls.HeldCertificate;
import org.HdrHistogram.Histogram;
import org.junit.jupiter.api.Test;

/**
 * Lab 414, step by step. Most tests play the events of a call, as OkHttp 5.5.1
 * was seen to report them, on a clock of their own; some make real calls to
 * OkHttp's MockWebServer. A comment {@code rejects:} names the wrong solutions
 * that a test is there for.
 */
@Lab
class LatencyTraceTest {

    private static final String COLD = """
            0 callStart
            10 dnsStart shop.lab.test
            25 dnsEnd
            30 connectStart A
            55 connectEnd A
            60 requestHeadersStart
            62 requestHeadersEnd
            92 responseHeadersStart
            93 responseHeadersEnd 200
            94 followUpDecision none
            95 responseBodyStart
            105 responseBodyEnd
            106 callEnd
            """;
    private static final String WARM = """
            0 callStart
            1 requestHeadersStart
            2 requestHeadersEnd
            32 responseHeadersStart
            33 responseHeadersEnd 200
            34 followUpDecision none
            35 responseBodyStart
            45 responseBodyEnd
            46 callEnd
            """;
    private static final String RETRIED = """
            0 callStart
            1 requestHeadersStart
            2 requestHeadersEnd
            10 responseFailed
            11 retryDecision again
            20 connectStart A
            30 connectEnd A
            31 requestHeadersStart
            32 requestHeadersEnd
            50 responseHeadersStart
            51 responseHeadersEnd 200
            52 callEnd
            """;
    private static final String EVENT = "one call of end() for each event that"
            + " ends a phase, and one OpenSpan for each that begins one";

    /** One call over TLS: what it needs is loaded before the tests begin. */
    public static final class WarmUp implements Runnable {

        @Override
        public void run() {
            Logger.getLogger(MockWebServer.class.getName()).setLevel(Level.OFF);
            try (var shop = new Shop(true)) {
                shop.client(EventListener.NONE).newCall(shop.request("/"))
                        .execute().close();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    @Step(value = 1, title = "Record the phases")
    class Record_the_phases {

        @Test
        void each_phase_of_a_new_connection_is_a_span() {
            // rejects: WAIT from the start of the request; BODY to callEnd
            spans("""
                    DNS 10-25 OK
                    CONNECT 30-55 OK
                    REQUEST 60-62 OK
                    WAIT 62-92 OK
                    BODY 95-105 OK
                    """, played(COLD), "WAIT begins at the end of the request"
                    + " and ends at responseHeadersStart; "
                    + EVENT);
        }

        @Test
        void a_trace_tells_the_call_and_its_total_time() {
            var trace = played(COLD);
            Check.equal(106L, trace.totalNanos(), "totalNanos()",
                    "finish() notes the time until now, since start()");
            Check.equal("GET http://shop.lab.test/search 200 OK ",
                    trace.method() + " " + trace.url() + " " + trace.status()
                            + " " + trace.outcome() + " " + trace.error(),
                    "method, url without user and query, status, outcome and"
                            + " error", "they are call.request(), redacted(),"
                            + " status, and the arguments of finish()");
            // rejects: a failure whose error and status are lost
            var failed = played("0 callStart\n7 responseHeadersEnd 503\n"
                    + "9 callFailed");
            Check.equal("9 503 FAILED java.io.IOException: a failure of the"
                    + " test", failed.totalNanos() + " " + failed.status() + " "
                    + failed.outcome() + " " + failed.error(), "totalNanos,"
                    + " status, outcome and error of a call that has failed",
                    "outcome and error are the arguments of finish()");
            Check.equal("shop.lab.test, 10.0.0.1:443, head", trace.spans()
                    .stream().map(LatencyTrace.Span::detail)
                    .filter(detail -> !detail.isEmpty())
                    .collect(Collectors.joining(", ")), "the details of the"
                    + " spans", "open() keeps the detail that it is given");
        }

        @Test
        void times_count_from_callStart() {
            // rejects: the clock itself; the time of newCall
            for (long start : new long[] {1_000, -40, Long.MAX_VALUE - 70}) {
                var script = new Script(start - 20);
                script.clock.set(start);
                script.start = start;
                script.play(COLD);
                var likely = "take startNanos in start(), and subtract it from"
                        + " the clock: the clock may begin anywhere, and its"
                        + " value may overflow";
                Check.equal(106L, script.trace().totalNanos(), "totalNanos() of"
                        + " a call that starts when the clock shows " + start,
                        likely);
                Check.equal("30-55", times(script.trace(),
                        LatencyTrace.Phase.CONNECT), "CONNECT, when the clock"
                        + " showed " + start + " at callStart", likely);
            }
        }

        @Test
        void a_request_body_is_a_second_REQUEST_and_WAIT_begins_after_it() {
            // rejects: WAIT from the end of the head
            var trace = played("""
                    0 callStart
                    10 requestHeadersStart
                    12 requestHeadersEnd
                    15 requestBodyStart
                    45 requestBodyEnd
                    50 responseHeadersStart
                    51 responseHeadersEnd 201
                    60 callEnd
                    """);
            spans("""
                    REQUEST 10-12 OK
                    REQUEST 15-45 OK
                    WAIT 45-50 OK
                    """, trace, "requestStart() forgets the WAIT that the end"
                    + " of the head has opened: the request goes on");
            Check.equal("head body ", trace.spans().stream()
                    .map(LatencyTrace.Span::detail).collect(
                            Collectors.joining(" ")), "the details of these"
                    + " spans", "requestStart() is told the part");
        }

        @Test
        void a_response_that_begins_before_the_request_body_ends_WAIT() {
            // rejects: WAIT from the last event of the request, which is later
            spans("""
                    REQUEST 10-12 OK
                    WAIT 12-40 OK
                    REQUEST 42-50 OK
                    """, played("""
                    0 callStart
                    10 requestHeadersStart
                    12 requestHeadersEnd
                    40 responseHeadersStart
                    42 requestBodyStart
                    50 requestBodyEnd
                    90 responseHeadersEnd 200
                    95 callEnd
                    """), "after 100 Continue the body comes later than"
                    + " responseHeadersStart: once isAnswered, the end of"
                    + " the body opens no WAIT, or it would have a negative"
                    + " length, or none");
        }

        @Test
        void a_call_that_waits_in_the_dispatcher_has_a_QUEUE_span() {
            // rejects: an end() that insists on an open span
            spans("QUEUE 5-300 OK\n", played("""
                    0 callStart
                    5 dispatcherQueueStart
                    300 dispatcherQueueEnd
                    305 responseBodyEnd
                    310 callEnd
                    """), EVENT + "; an end without a begin does nothing");
        }

        @Test
        void the_trace_is_made_when_the_call_ends() {
            // rejects: a trace at responseHeadersEnd, without the body
            var script = new Script();
            for (var event : COLD.lines().toList()) {
                Check.equal(0, script.traces.size(), "traces before the event "
                        + event, "callEnd and callFailed end a call, and"
                        + " nothing else");
                script.play(event);
            }
            Check.equal(1, script.traces.size(), "traces after callEnd",
                    "finish() delivers the trace");
        }

        @Test
        void calls_at_the_same_time_do_not_mix() {
            // rejects: one recorder, or one listener, for all calls
            var script = new Script();
            var other = new Script(script);
            var events = COLD.lines().toList();
            for (int i = 0; i < events.size(); i++) {
                script.play(events.get(i));
                if (i < WARM.lines().count()) {
                    other.at(script.now);
                    other.play(WARM.lines().toList().get(i)
                            .replaceFirst("\\d+", "" + script.now));
                }
            }
            var likely = "create() makes a new Events and a new Recorder for"
                    + " each call";
            Check.equal(2, script.traces.size(), "traces of two calls", likely);
            Check.equal(5, script.traces.getLast().spans().size(),
                    "spans of the call that opened a connection, while another"
                            + " call ran", likely);
            Check.equal(3, script.traces.getFirst().spans().size(),
                    "spans of the other call", likely);
        }

        @Test
        void openTraces_counts_calls_that_have_started_and_not_ended() {
            // rejects: counted when the listener is made
            var script = new Script();
            var other = new Script(script);
            open(0, script, "after two newCall() and no callStart",
                    "count in start(), and not in create(): a call that is"
                            + " never executed does not end");
            script.play("0 callStart");
            other.play("0 callStart");
            open(2, script, "after two callStart", "count in start()");
            script.play("10 responseHeadersEnd 200\n20 responseBodyStart");
            open(2, script, "while the body is read", "count down in finish()");
            script.play("30 callEnd");
            open(1, script, "after one callEnd", "count down in finish()");
            other.play("30 callFailed");
            open(0, script, "after a callEnd and a callFailed",
                    "count down in finish(), whatever the outcome");
        }

        @Test
        void the_sink_gets_each_trace_once() {
            // rejects: a trace for canceled, and one more for callFailed
            for (var ends : List.of("20 callFailed\n21 callEnd",
                    "20 callEnd\n21 callFailed", "20 callEnd\n21 callEnd",
                    "20 canceled\n21 callFailed\n22 canceled")) {
                var script = new Script();
                script.play("0 callStart\n" + ends);
                var likely = "isOver: only the first call of finish() counts";
                Check.equal(1, script.traces.size(), "traces after "
                        + ends.replace("\n", ", "), likely);
                open(0, script, "after " + ends.replace("\n", ", "), likely);
            }
        }

        @Test
        void an_exception_of_the_sink_does_not_reach_OkHttp() {
            var script = new Script();
            script.sink = _ -> {
                throw new IllegalStateException("the sink of the test fails");
            };
            var logged = new ArrayList<LogRecord>();
            var handler = new Handler() {
                @Override
                public void publish(LogRecord line) {
                    logged.add(line);
                }

                @Override
                public void flush() {}

                @Override
                public void close() {}
            };
            var log = Logger.getLogger(LatencyTrace.class.getName());
            log.setUseParentHandlers(false);
            log.addHandler(handler);
            try {
                script.play(WARM);
            } catch (IllegalStateException e) {
                throw History.fail("expected callEnd to return, got " + e,
                        "catch what the sink throws, and log it: a listener"
                                + " must not break the call");
            } finally {
                log.removeHandler(handler);
                log.setUseParentHandlers(true);
            }
            Check.that(!logged.isEmpty(), "a line in the log for an exception"
                    + " of the sink, got none", "use LOG, with Level.ERROR");
            open(0, script, "after a call whose sink threw", "count down before"
                    + " the sink is called");
        }

        @Test
        void the_sink_runs_without_the_lock_and_sees_the_call_ended()
                throws InterruptedException {
            // rejects: a synchronized finish(); a count after the sink
            var script = new Script();
            var seen = new ArrayList<String>();
            script.sink = _ -> {
                seen.add(script.tracer.openTraces() + " "
                        + Thread.currentThread().getName());
                var late = Thread.ofVirtual().start(() -> script.listener
                        .connectFailed(script.call, address("B"),
                                Proxy.NO_PROXY, null, new IOException()));
                try {
                    Await.end(late, "an event on another thread to return while"
                            + " the sink runs", "call the sink after the"
                            + " synchronized block");
                } catch (InterruptedException e) {
                    throw new AssertionError(e);
                }
            };
            script.play(COLD);
            Check.equal(List.of("0 " + Thread.currentThread().getName()), seen,
                    "openTraces() and the thread in the sink", "count down,"
                            + " then call the sink, once, on the same thread");
        }

        @Test
        void a_real_call_waits_as_long_as_the_server_takes()
                throws Exception {
            // rejects: WAIT from responseHeadersStart to responseHeadersEnd
            var shop = closeLater(new Shop(false));
            var tracer = new LatencyTrace(System::nanoTime, shop.traces::add);
            long start = System.nanoTime();
            shop.call(shop.client(tracer), "/think");
            long took = System.nanoTime() - start;
            var trace = shop.last();
            var phases = trace.spans().stream().map(LatencyTrace.Span::phase)
                    .toList();
            Check.equal(List.of(LatencyTrace.Phase.CONNECT,
                    LatencyTrace.Phase.REQUEST, LatencyTrace.Phase.WAIT,
                    LatencyTrace.Phase.BODY), phases, "the phases of a call to"
                    + " 127.0.0.1", EVENT);
            var wait = trace.spans().get(2);
            Check.that(wait.endNanos() - wait.startNanos() >= shop.thinking,
                    "WAIT to last at least the " + shop.thinking + " ns that"
                            + " the server took, got " + wait, "WAIT ends at"
                            + " responseHeadersStart");
            Check.that(trace.totalNanos() <= took && trace.spans().stream()
                    .allMatch(span -> span.startNanos() >= 0
                            && span.endNanos() <= trace.totalNanos()),
                    "all spans within the total, and that within " + took
                            + " ns, got " + trace, "subtract startNanos");
        }
    }

    @Step(value = 2, title = "Handle reuse and redirects")
    class Handle_reuse_and_redirects {

        @Test
        void a_phase_that_did_not_happen_has_no_length() {
            // rejects: zeros, which make averages and percentiles lie
            var trace = played(WARM);
            for (var phase : LatencyTrace.Phase.values()) {
                boolean happened = phase.ordinal()
                        >= LatencyTrace.Phase.REQUEST.ordinal();
                Check.equal(happened, trace.nanos(phase).isPresent(),
                        "nanos(" + phase + ").isPresent() of a call on a reused"
                                + " connection", "empty if there is no span of"
                                + " the phase that is OK");
            }
            nanos(30, trace, LatencyTrace.Phase.WAIT);
        }

        @Test
        void a_phase_that_took_no_time_has_a_length_of_zero() {
            // rejects: empty for a sum of 0
            nanos(0, trace("REQUEST 5-5 OK\n"), LatencyTrace.Phase.REQUEST);
        }

        @Test
        void spans_of_one_phase_are_added_up_if_they_are_OK() {
            // rejects: the first, the last or the longest; FAILED and CANCELED
            var trace = trace("""
                    CONNECT 10-20 FAILED
                    CONNECT 15-45 OK
                    CONNECT 15-80 CANCELED
                    CONNECT 100-107 OK
                    TLS 45-60 FAILED
                    WAIT 60-61 OK
                    """);
            nanos(37, trace, LatencyTrace.Phase.CONNECT);
            Check.equal(OptionalLong.empty(), trace.nanos(
                    LatencyTrace.Phase.TLS), "nanos(TLS), when the only"
                    + " handshake has failed", "only spans that are OK count");
        }

        @Test
        void a_call_that_opens_no_connection_is_reused() {
            reused(true, WARM, "a REQUEST has begun, and no CONNECT is OK");
            reused(false, COLD, "a CONNECT was OK");
            // rejects: reused = no CONNECT span
            reused(true, WARM.replace("1 requestHeadersStart", """
                    1 connectStart A on racer
                    1 connectFailed A on racer
                    1 requestHeadersStart"""), "a CONNECT that has failed is"
                    + " no connection: only one that is OK counts");
        }

        @Test
        void a_call_without_a_request_is_not_reused() {
            // rejects: reused = no connect
            reused(false, "0 callStart\n10 dnsStart shop.lab.test\n"
                    + "20 retryDecision no\n21 callFailed",
                    "without a REQUEST nothing was reused");
            reused(false, "0 callStart\n10 connectStart A\n20 connectFailed A\n"
                    + "21 retryDecision no\n22 callFailed",
                    "without a REQUEST nothing was reused");
            reused(false, "0 callStart\n1 callEnd", "a response from the cache"
                    + " has no REQUEST");
        }

        @Test
        void a_decision_against_another_request_begins_no_attempt() {
            // rejects: attempt + 1 at each decision
            attempts("0 BODY 35-45 OK\n", played(WARM.replace("33 response",
                    "33 retryDecision no\n33 response")), LatencyTrace.Phase
                    .BODY, "attempt + 1 only if another request follows");
        }

        @Test
        void a_redirect_begins_a_new_attempt() {
            // rejects: attempt + 1 at each request part; isAnswered kept, so
            // that the second WAIT is missing
            var trace = played("""
                    0 callStart
                    1 requestHeadersStart
                    2 requestHeadersEnd
                    12 responseHeadersStart
                    13 responseHeadersEnd 302
                    14 responseBodyStart
                    15 responseBodyEnd
                    16 followUpDecision again
                    20 requestHeadersStart
                    21 requestHeadersEnd
                    25 requestBodyStart
                    26 requestBodyEnd
                    46 responseHeadersStart
                    47 responseHeadersEnd 200
                    48 followUpDecision none
                    50 responseBodyStart
                    60 responseBodyEnd
                    61 callEnd
                    """);
            attempts("""
                    0 REQUEST 1-2 OK
                    0 WAIT 2-12 OK
                    0 BODY 14-15 OK
                    1 REQUEST 20-21 OK
                    1 REQUEST 25-26 OK
                    1 WAIT 26-46 OK
                    1 BODY 50-60 OK
                    """, trace, "decided(true) begins a new attempt, which is"
                    + " not answered yet");
            nanos(30, trace, LatencyTrace.Phase.WAIT);
            Check.equal("200 true", trace.status() + " " + trace.reused(),
                    "status() and reused() after a redirect on one connection",
                    "the status is that of the last response");
        }

        @Test
        void the_phases_of_a_redirect_to_another_host_are_added() {
            // rejects: reused, because the first attempt or the last one was
            for (int i = 1; i < 4; i++) {
                var first = i % 2 == 1 ? COLD : WARM;
                var second = i / 2 == 1 ? COLD : WARM;
                var trace = played(first.replace("followUpDecision none",
                        "followUpDecision again").replaceAll("\\d+ callEnd\n",
                        "") + second.replace("0 callStart\n", "")
                        .replace(" A", " B")
                        .replaceAll("(?m)^(\\d+) ", "1000$1 "));
                Check.equal(1, trace.spans().getLast().attempt(), "the attempt"
                        + " of the last span", "attempt + 1 in decided(true)");
                nanos(i == 3 ? 50 : 25, trace, LatencyTrace.Phase.CONNECT);
                Check.equal(false, trace.reused(), "reused() of a call that"
                        + " opened a connection for its attempt "
                        + List.of("0", "1", "0 and its attempt 1").get(i - 1),
                        "reused means that the whole call has opened no"
                                + " connection");
            }
        }

        @Test
        void a_retry_begins_a_new_attempt() {
            var trace = played(RETRIED);
            var good = trace.spans().stream().filter(span -> span.outcome()
                    == LatencyTrace.Outcome.OK).map(span -> span.attempt() + " "
                    + span.phase()).toList();
            Check.equal(List.of("0 REQUEST", "1 CONNECT", "1 REQUEST",
                    "1 WAIT"), good, "attempt and phase of the spans that are"
                    + " OK", "attempt + 1 in decided(true)");
            Check.equal(false, trace.reused(), "reused() of a call that was"
                    + " repeated on a new connection", "reused means that the"
                    + " whole call has opened no connection");
        }

        @Test
        void a_real_redirect_on_a_reused_connection_has_two_attempts()
                throws Exception {
            var shop = closeLater(new Shop(false));
            var client = shop.client(new LatencyTrace(System::nanoTime,
                    shop.traces::add));
            shop.call(client, "/");
            shop.call(client, "/moved");
            var first = shop.traces.getFirst();
            Check.equal("false true", first.reused() + " " + first.nanos(
                    LatencyTrace.Phase.CONNECT).isPresent(), "reused() and"
                    + " nanos(CONNECT).isPresent() of the first call", EVENT);
            var second = shop.last();
            Check.equal("true false", second.reused() + " " + second.nanos(
                    LatencyTrace.Phase.CONNECT).isPresent(), "reused() and"
                    + " nanos(CONNECT).isPresent() of the second call, "
                    + second, EVENT);
            Check.equal(List.of("0 REQUEST", "0 WAIT", "0 BODY", "1 REQUEST",
                    "1 WAIT", "1 BODY"), second.spans().stream().map(span ->
                    span.attempt() + " " + span.phase()).toList(), "the spans"
                    + " of a redirect", "decided(true) begins a new attempt");
        }
    }

    @Step(value = 3, title = "Separate connect from TLS")
    class Separate_connect_from_TLS {

        private static final String TLS = """
                0 callStart
                20 connectStart A on racer
                100 secureConnectStart
                180 secureConnectEnd
                185 connectEnd A
                """;
        private static final String HANDSHAKE = "CONNECT ends at tlsStartNanos"
                + " if there was a handshake on the way";

        @Test
        void CONNECT_ends_where_TLS_begins() {
            // rejects: TLS counted twice; connectEnd for the end of TLS
            spans("""
                    CONNECT 20-100 OK
                    TLS 100-180 OK
                    """, played(TLS + "200 callEnd"), HANDSHAKE
                    + "; TLS ends at secureConnectEnd");
        }

        @Test
        void without_TLS_CONNECT_lasts_until_connectEnd() {
            spans("CONNECT 30-55 OK\n", played(COLD),
                    LatencyTrace.Phase.CONNECT, "without a handshake CONNECT"
                            + " ends now");
        }

        @Test
        void a_plain_connection_after_a_handshake_lasts_until_connectEnd() {
            // rejects: tlsStartNanos of the first connection for the second
            spans("""
                    CONNECT 20-100 OK
                    TLS 100-180 OK
                    CONNECT 300-340 OK
                    """, played(TLS + """
                    290 followUpDecision again
                    300 connectStart B
                    340 connectEnd B
                    400 callEnd
                    """), "forget the handshake in connectEnd(): the next"
                    + " connection of the call may have none");
        }

        @Test
        void a_refused_address_is_a_FAILED_CONNECT_beside_the_good_one() {
            // rejects: one field for the start of the connect
            var trace = played("""
                    0 callStart
                    10 connectStart A on racer
                    20 connectFailed A on racer
                    21 connectStart B on racer
                    40 secureConnectStart
                    60 secureConnectEnd
                    61 connectEnd B
                    70 callEnd
                    """);
            spans("""
                    CONNECT 10-20 FAILED
                    CONNECT 21-40 OK
                    TLS 40-60 OK
                    """, trace, "connectFailed() on another thread than the"
                    + " handshake's ends the CONNECT of its address");
            nanos(19, trace, LatencyTrace.Phase.CONNECT);
        }

        @Test
        void a_refused_address_on_the_calling_thread_is_no_TLS_failure() {
            // rejects: tlsThread compared although there is no handshake
            spans("""
                    CONNECT 10-20 FAILED
                    CONNECT 21-40 FAILED
                    """, played("""
                    0 callStart
                    10 connectStart A
                    20 connectFailed A
                    21 connectStart B
                    40 connectFailed B
                    41 retryDecision no
                    42 callFailed
                    """), "without a handshake it is TCP that has failed");
        }

        @Test
        void connects_at_the_same_time_are_told_apart_by_address() {
            // rejects: the last one opened, or the first one; a map by host
            var likely = "end the CONNECT of the address that the event names,"
                    + " port included, and of several the last";
            spans("""
                    CONNECT 10-300 FAILED
                    CONNECT 260-280 OK
                    CONNECT 270-290 FAILED
                    """, played("""
                    0 callStart
                    10 connectStart A on racer
                    260 connectStart B on racer
                    270 connectStart A2 on racer
                    280 connectEnd B
                    290 connectFailed A2 on racer
                    300 connectFailed A on racer
                    310 callEnd
                    """), likely);
            var good = played("""
                    0 callStart
                    10 connectStart A on racer
                    260 connectStart B on racer
                    280 connectEnd B
                    290 retryDecision again
                    300 connectStart A on racer
                    320 connectEnd A
                    330 callEnd
                    """).spans().stream().filter(span -> span.startNanos()
                    >= 260).map(LatencyTraceTest::text).toList();
            Check.equal(List.of("CONNECT 260-280 OK", "CONNECT 300-320 OK"),
                    good, "the last two spans, when a connect to A has lost a"
                    + " race, and a second one ends well", likely);
        }

        @Test
        void a_connect_that_fails_during_the_handshake_of_another_is_TCP() {
            // rejects: a connectFailed after secureConnectStart means TLS
            spans("""
                    CONNECT 10-30 OK
                    CONNECT 20-50 FAILED
                    TLS 30-70 OK
                    """, played("""
                    0 callStart
                    10 connectStart A on racer
                    20 connectStart B on racer
                    30 secureConnectStart
                    50 connectFailed B on racer
                    70 secureConnectEnd
                    71 connectEnd A
                    80 callEnd
                    """), "a handshake runs on the calling thread, so only a"
                    + " connectFailed on tlsThread means that TLS has failed");
        }

        @Test
        void a_loser_may_fail_between_handshake_and_connectEnd() {
            spans("""
                    CONNECT 10-30 OK
                    CONNECT 20-71 FAILED
                    TLS 30-70 OK
                    """, played("""
                    0 callStart
                    10 connectStart A on racer
                    20 connectStart B on racer
                    30 secureConnectStart
                    70 secureConnectEnd
                    71 connectFailed B on racer
                    75 connectEnd A
                    80 callEnd
                    """), "a connectFailed on another thread does not end the"
                    + " handshake: A's CONNECT still ends where TLS began");
        }

        @Test
        void a_handshake_that_fails_is_a_FAILED_TLS_after_a_good_CONNECT() {
            // rejects: CONNECT FAILED as well, or until now; TLS left open;
            // the thread of callStart taken for that of the handshake
            for (var caller : List.of("", " on racer")) {
                var trace = played("0 callStart" + caller + "\n" + """
                        10 connectStart A on racer
                        30 secureConnectStart
                        80 connectFailed A
                        81 retryDecision no
                        82 callFailed
                        """);
                spans("""
                        CONNECT 10-30 OK
                        TLS 30-80 FAILED
                        """, trace, "on tlsThread, connectFailed() means:"
                        + " CONNECT was OK until tlsStartNanos, and TLS has"
                        + " failed now; tlsThread is the thread of tlsStart(),"
                        + " and callStart may come on another one");
            }
            // rejects: a handshake that is forgotten at secureConnectEnd
            spans("""
                    CONNECT 10-30 OK
                    TLS 30-60 OK
                    """, played("""
                    0 callStart
                    10 connectStart A on racer
                    30 secureConnectStart
                    60 secureConnectEnd
                    80 connectFailed A
                    81 retryDecision no
                    82 callFailed
                    """), "HTTP/2 may fail to start after the handshake:"
                    + " CONNECT was OK until tlsStartNanos, and end() finds no"
                    + " open TLS");
        }

        @Test
        void after_a_failed_handshake_the_next_address_starts_anew() {
            // rejects: tlsThread that is kept after the failure
            spans("""
                    CONNECT 10-30 OK
                    CONNECT 90-95 FAILED
                    CONNECT 100-115 OK
                    TLS 30-80 FAILED
                    """, played("""
                    0 callStart
                    10 connectStart A
                    30 secureConnectStart
                    80 connectFailed A
                    90 connectStart B
                    95 connectFailed B
                    100 connectStart A
                    115 connectEnd A
                    120 callEnd
                    """), "forget the handshake when it has failed");
        }

        @Test
        void connects_on_several_threads_lose_no_span()
                throws InterruptedException {
            // rejects: a list that is changed without the lock
            var script = new Script();
            script.play("0 callStart");
            var threads = IntStream.range(0, 4).mapToObj(i -> Thread
                    .ofPlatform().start(() -> {
                for (int port = 1; port <= 500; port++) {
                    var to = new InetSocketAddress("127.0.0." + (i + 1), port);
                    script.listener.connectStart(script.call, to,
                            Proxy.NO_PROXY);
                    script.listener.connectFailed(script.call, to,
                            Proxy.NO_PROXY, null, new IOException());
                }
            })).toList();
            for (var thread : threads) {
                Await.end(thread, "2,000 connects to be reported", "keep the"
                        + " methods of Recorder synchronized");
            }
            script.play("10 callEnd");
            Check.equal(2_000L, script.trace().spans().stream().filter(span ->
                    span.outcome() == LatencyTrace.Outcome.FAILED).count(),
                    "FAILED spans of 2,000 connects from four threads", "keep"
                            + " the methods of Recorder synchronized");
        }

        @Test
        void a_real_call_over_TLS_has_both_phases() throws Exception {
            var shop = closeLater(new Shop(true));
            shop.call(shop.client(new LatencyTrace(System::nanoTime,
                    shop.traces::add)), "/");
            var spans = shop.last().spans();
            Check.equal(List.of("DNS", "CONNECT", "TLS", "REQUEST", "WAIT",
                    "BODY"), spans.stream().map(span -> span.phase() + "")
                    .toList(), "the phases of a call over TLS", HANDSHAKE);
            var connect = spans.get(1);
            var tls = spans.get(2);
            Check.that(connect.endNanos() <= tls.startNanos(), "CONNECT to end"
                    + " before TLS begins, got " + connect + " and " + tls,
                    HANDSHAKE);
        }
    }

    @Step(value = 4, title = "Draw the waterfall")
    class Draw_the_waterfall {

        private static final int[] WIDTHS = {10, 40, 79, 200, 1000};

        @Test
        void a_bar_never_exceeds_its_field() {
            // rejects: start and length rounded up each for itself
            var random = new Random(414);
            for (int i = 0; i < 300; i++) {
                int total = 1 + random.nextInt(2_000);
                int from = random.nextInt(total + 1);
                int to = from + random.nextInt(total - from + 1);
                int width = 10 + random.nextInt(100);
                var bar = bars(trace(0, total, "WAIT " + from + "-" + to
                        + " OK\n"), width).getFirst();
                field(width, bar);
                Check.that(bar.matches(" *=+ *"), "blanks, marks, blanks, got |"
                        + bar + "|", "one mark for each column of the bar");
            }
        }

        @Test
        void a_bar_stands_where_its_span_was_open() {
            // rejects: every bar from column 0; proportions of the longest
            // span; rounding to whole percents
            var trace = trace(0, 9_999, """
                    DNS 0-1000 OK
                    CONNECT 1000-3500 OK
                    TLS 3333-6667 OK
                    WAIT 5001-9999 OK
                    BODY 9000-9999 OK
                    """);
            for (int width : WIDTHS) {
                var bars = bars(trace, width);
                for (int i = 0; i < bars.size(); i++) {
                    var span = trace.spans().get(i);
                    double from = span.startNanos() * width / 9_999.0;
                    double to = span.endNanos() * width / 9_999.0;
                    var bar = bars.get(i);
                    Check.that(Math.abs(bar.indexOf('=') - from) <= 1
                            && Math.abs(bar.lastIndexOf('=') + 1 - to) <= 1,
                            "a bar from column %.1f to column %.1f of %d for"
                                    .formatted(from, to, width) + " " + span
                                    + " of 9999 ns, got |" + bar + "|",
                            "column = time * width / totalNanos, for the start"
                                    + " and for the end");
                }
            }
        }

        @Test
        void every_span_has_at_least_one_mark() {
            // rejects: no mark for short spans; a mark behind the last column
            var trace = trace(0, 1_000_000, """
                    DNS 0-0 OK
                    CONNECT 0-1 OK
                    TLS 499999-500000 OK
                    REQUEST 999999-1000000 OK
                    BODY 1000000-1000000 OK
                    """);
            for (int width : WIDTHS) {
                for (var bar : bars(trace, width)) {
                    Check.that(bar.contains("="), "a mark for each span, got |"
                            + bar + "|", "a bar is at least one column wide,"
                            + " and starts before the last column ends");
                    field(width, bar);
                }
            }
        }

        @Test
        void the_mark_shows_the_outcome() {
            Check.equal(List.of("x", "=", "~"), bars(trace(0, 90, """
                    CONNECT 0-30 FAILED
                    CONNECT 30-60 OK
                    CONNECT 60-90 CANCELED
                    """), 30).stream().map(bar -> bar.strip().substring(0, 1))
                    .toList(), "the marks of a FAILED, an OK and a CANCELED"
                    + " span", "use mark(span.outcome())");
        }

        @Test
        void a_call_without_duration_is_drawn() {
            // rejects: a division by zero
            for (var bar : bars(trace(0, 0, "WAIT 0-0 OK\n"), 20)) {
                Check.equal("=", bar.strip(), "the bar of a span of 0 ns in a"
                        + " call of 0 ns", "divide by at least 1");
                field(20, bar);
            }
        }

        @Test
        void a_call_of_eleven_days_is_drawn() {
            // rejects: int arithmetic
            long total = 1_000_000_000_000_000L;
            var bar = bars(trace(0, total, "WAIT " + total / 2 + "-"
                    + total / 4 * 3 + " OK\n"), 1000).getFirst();
            Check.that(Math.abs(bar.indexOf('=') - 500) <= 1
                    && Math.abs(bar.lastIndexOf('=') + 1 - 750) <= 1,
                    "the third quarter of a call of 10^15 ns to be columns 500"
                            + " to 750 of 1000, got " + bar.indexOf('=')
                            + " to " + (bar.lastIndexOf('=') + 1),
                    "multiply in long");
        }

        @Test
        void lines_are_in_the_order_of_their_starts_in_any_language() {
            var trace = trace(0, 20_000_000, """
                    WAIT 12500000-20000000 OK
                    CONNECT 1000000-12500000 FAILED
                    """);
            var before = Locale.getDefault();
            try {
                Locale.setDefault(Locale.GERMANY);
                var lines = LatencyTrace.waterfall(trace, 10).lines().toList();
                var likely = "bar() returns the bar and nothing else: the"
                        + " layout is given";
                Check.equal(3, lines.size(), "lines for two spans", likely);
                Check.that(lines.get(1).contains("CONNECT")
                        && lines.get(1).contains("11.5 ms")
                        && lines.get(1).contains("FAILED")
                        && lines.get(2).contains("WAIT")
                        && lines.get(2).contains("7.5 ms"), "CONNECT, 11.5 ms,"
                        + " FAILED, then WAIT, 7.5 ms, got " + lines, likely);
            } finally {
                Locale.setDefault(before);
            }
        }
    }

    @Step(value = 5, title = "End spans on failure", further = true)
    class End_spans_on_failure {

        private static final String ALL = "endOpen() moves every open span to"
                + " spans, ended at this time, with this outcome";

        @Test
        void a_failure_in_any_phase_ends_its_span() {
            // rejects: open spans dropped, left at 0, or ended OK
            var connected = "10 connectStart A\n20 connectEnd A\n";
            var sent = connected + "30 requestHeadersStart\n"
                    + "31 requestHeadersEnd\n";
            var cases = new LinkedHashMap<String, String>();
            cases.put("QUEUE 5-90 FAILED", "5 dispatcherQueueStart");
            cases.put("DNS 5-90 FAILED", "5 dnsStart shop.lab.test");
            cases.put("REQUEST 30-90 FAILED", connected
                    + "30 requestHeadersStart\n90 requestFailed");
            cases.put("REQUEST 35-90 FAILED", sent
                    + "35 requestBodyStart\n90 requestFailed");
            cases.put("WAIT 31-90 FAILED", sent + "90 responseFailed");
            cases.put("BODY 50-90 FAILED", sent + "40 responseHeadersStart\n"
                    + "41 responseHeadersEnd 200\n50 responseBodyStart\n"
                    + "90 responseFailed");
            cases.forEach((expected, events) -> {
                for (var decided : List.of("", "90 retryDecision no\n")) {
                    var trace = played("0 callStart\n" + events + "\n" + decided
                            + "90 callFailed\n");
                    var failed = trace.spans().stream().filter(span -> span
                            .outcome() != LatencyTrace.Outcome.OK).map(
                                    LatencyTraceTest::text).toList();
                    Check.equal(List.of(expected), failed, "the spans that are"
                            + " not OK after " + events.replace("\n", ", "),
                            ALL);
                    Check.equal(LatencyTrace.Outcome.FAILED, trace.outcome(),
                            "the outcome of the call", ALL);
                }
            });
        }

        @Test
        void a_span_ends_when_the_attempt_fails_and_not_with_the_call() {
            // rejects: all open spans ended by finish() alone
            var trace = played(RETRIED);
            attempts("""
                    0 WAIT 2-10 FAILED
                    1 WAIT 32-50 OK
                    """, trace, LatencyTrace.Phase.WAIT, "responseFailed ends"
                    + " the open WAIT of the first attempt");
            nanos(18, trace, LatencyTrace.Phase.WAIT);
            Check.equal(LatencyTrace.Outcome.OK, trace.outcome(), "outcome() of"
                    + " a call whose second attempt went well", ALL);
        }

        @Test
        void a_failed_lookup_ends_at_the_decision_to_retry() {
            spans("""
                    DNS 5-20 FAILED
                    DNS 25-30 OK
                    """, played("""
                    0 callStart
                    5 dnsStart proxy.lab.test
                    20 retryDecision again
                    25 dnsStart shop.lab.test
                    30 dnsEnd
                    40 callEnd
                    """), "there is no event for a failed lookup, but"
                    + " retryDecision ends it, by endOpen()");
        }

        @Test
        void a_connect_that_loses_the_race_is_CANCELED_at_the_end() {
            // rejects: OK, FAILED or nothing for a connect without an end
            var trace = played("""
                    0 callStart
                    10 connectStart A on racer
                    260 connectStart B on racer
                    280 connectEnd B
                    300 callEnd
                    """);
            spans("""
                    CONNECT 10-300 CANCELED
                    CONNECT 260-280 OK
                    """, trace, "a CONNECT that is still open when the call"
                    + " ends is CANCELED, whatever the outcome of the call");
            nanos(20, trace, LatencyTrace.Phase.CONNECT);
        }

        @Test
        void a_connect_goes_on_when_an_attempt_fails() {
            // rejects: endOpen() that ends a running connect
            spans("""
                    CONNECT 10-300 FAILED
                    CONNECT 20-30 OK
                    """, played("""
                    0 callStart
                    10 connectStart A on racer
                    20 connectStart B on racer
                    30 connectEnd B
                    31 requestHeadersStart
                    32 requestHeadersEnd
                    50 responseFailed
                    51 retryDecision again
                    300 connectFailed A on racer
                    301 callFailed
                    """), LatencyTrace.Phase.CONNECT, "unless isLast, a CONNECT"
                    + " stays open: it runs on another thread, and tells its"
                    + " end itself");
        }

        @Test
        void a_failed_call_cancels_its_running_connects() {
            spans("CONNECT 10-100 CANCELED\nCONNECT 20-100 CANCELED\n",
                    played("""
                    0 callStart
                    10 connectStart A on racer
                    20 connectStart B on racer
                    100 callFailed
                    """), "a CONNECT that is still open when the call ends is"
                    + " CANCELED, whatever the outcome of the call");
        }

        @Test
        void events_after_the_end_change_nothing() {
            // rejects: a second trace; a list that is shared with the trace
            var script = new Script();
            script.play("0 callStart\n10 connectStart A on racer\n"
                    + "20 connectStart B\n30 connectEnd B\n40 callEnd");
            var before = spansOf(script.trace());
            script.play("400 connectFailed A on racer\n410 canceled\n"
                    + "420 responseBodyStart\n430 callFailed");
            Check.equal(before, spansOf(script.traces.getFirst()), "the spans"
                    + " of the trace after a late connectFailed", "the trace"
                    + " has its own list");
            Check.equal(1, script.traces.size(), "traces", "isOver");
            open(0, script, "after late events", "isOver");
        }

        @Test
        void a_call_that_is_canceled_ends_its_open_spans_CANCELED() {
            // rejects: FAILED for whatever callFailed reports
            for (var events : List.of("40 callFailed",
                    "40 responseFailed\n40 retryDecision again\n40 callFailed",
                    "40 canceled\n40 callFailed",
                    "40 callFailed\n41 canceled")) {
                var script = new Script();
                script.play("0 callStart\n1 requestHeadersStart\n"
                        + "2 requestHeadersEnd");
                script.call.cancel();
                script.play(events);
                spans("REQUEST 1-2 OK\nWAIT 2-40 CANCELED\n", script.trace(),
                        "endOpen() uses the outcome that it is given");
                Check.equal(LatencyTrace.Outcome.CANCELED,
                        script.trace().outcome(), "outcome() after cancel(), "
                                + events.replace("\n", ", "),
                        "the outcome is the argument of finish()");
            }
        }

        @Test
        void a_call_that_is_canceled_before_it_starts_has_one_trace() {
            var script = new Script();
            script.call.cancel();
            script.play("0 callStart\n1 callFailed");
            Check.equal("[]CANCELED", script.trace().spans() + ""
                    + script.trace().outcome(), "spans() and outcome()", ALL);
            open(0, script, "after callFailed", "count down in finish()");
        }

        @Test
        void real_failures_close_their_spans() throws Exception {
            var shop = closeLater(new Shop(false));
            var tracer = new LatencyTrace(System::nanoTime, shop.traces::add);
            var client = shop.client(tracer);
            shop.call(client, "/cut");
            last("BODY FAILED", shop);
            shop.call(client, "/no-response");
            last("WAIT FAILED", shop);
            shop.call(client.newBuilder().dns(name -> {
                throw new UnknownHostException(name);
            }).build(), new Request.Builder().url("http://unknown.lab.test/")
                    .build());
            last("DNS FAILED", shop);
            shop.call(client, new Request.Builder().url("http://127.0.0.1:"
                    + closedPort() + "/").build());
            last("CONNECT FAILED", shop);
            Check.equal(0, tracer.openTraces(), "openTraces() after four calls"
                    + " that failed", "count down in finish()");
        }

        private static void last(String expected, Shop shop) {
            var trace = shop.last();
            var span = trace.spans().getLast();
            Check.equal(expected, span.phase() + " " + span.outcome(),
                    "the last span of " + trace, ALL);
            Check.that(trace.spans().stream().allMatch(each -> each.startNanos()
                    <= each.endNanos() && each.endNanos()
                    <= trace.totalNanos()), "start <= end <= total for each"
                    + " span, got " + trace, ALL);
        }

        private static int closedPort() throws IOException {
            try (var socket = new ServerSocket(0, 1,
                    InetAddress.getLoopbackAddress())) {
                return socket.getLocalPort();
            }
        }
    }

    @Step(value = 6, title = "Summarise percentiles", further = true)
    class Summarise_percentiles {

        @Test
        void percentiles_of_a_phase_are_those_of_its_values() {
            // rejects: averages; microseconds; the interpolated median
            var summary = new LatencyTrace.Summary(Duration.ofMinutes(1), 3);
            for (int i = 1; i <= 1000; i++) {
                int millis = i * 7 % 1000 + 1;   // each of 1 to 1000 once
                summary.record(trace(0, 2_000_000_000, "WAIT 5-"
                        + (5 + millis * 1_000_000) + " OK\n"));
            }
            for (var percentile : new double[] {50, 90, 99, 99.9, 100}) {
                close(Math.round(percentile * 10) * 1_000_000, summary
                        .percentileNanos(LatencyTrace.Phase.WAIT, percentile),
                        "percentile " + percentile + " of WAIT, of 1 to 1000"
                                + " ms", "record nanos(phase) in the histogram"
                                + " of its phase, and ask that one");
            }
        }

        @Test
        void a_phase_that_did_not_happen_is_not_recorded() {
            // rejects: orElse(0)
            var summary = new LatencyTrace.Summary(Duration.ofMinutes(1), 3);
            for (int i = 0; i < 100; i++) {
                summary.record(trace(0, 90_000_000, (i == 50
                        ? "DNS 0-20000000 OK\n" : "")
                        + "WAIT 20000000-50000000 OK\n"));
            }
            var likely = "record a phase only if nanos() is present";
            Check.equal("1 100 100", summary.count(LatencyTrace.Phase.DNS) + " "
                    + summary.count(LatencyTrace.Phase.WAIT) + " "
                    + summary.count(), "count(DNS), count(WAIT) and count() of"
                    + " 100 calls of which one had a lookup", likely);
            close(20_000_000, summary.percentileNanos(LatencyTrace.Phase.DNS,
                    50), "the median of DNS", likely);
            var dns = summary.table().lines().filter(line -> line
                    .startsWith("DNS")).findFirst().orElse("no line");
            Check.that(dns.matches("DNS +1 +20\\.0 ms.*"), "a line of table()"
                    + " with the count 1 and 20.0 ms for DNS, got " + dns,
                    likely);
            Check.that(!summary.table().contains("TLS"), "no line for TLS, got "
                    + summary.table(), likely);
        }

        @Test
        void a_phase_of_no_time_counts() {
            var summary = new LatencyTrace.Summary(Duration.ofMinutes(1), 3);
            summary.record(trace(0, 0, "REQUEST 0-0 OK\n"));
            Check.equal(1L, summary.count(LatencyTrace.Phase.REQUEST),
                    "count(REQUEST)", "0 ns is a value");
            Check.equal(OptionalLong.of(0), summary.percentileNanos(
                    LatencyTrace.Phase.REQUEST, 50), "the median of REQUEST",
                    "0 ns is a value");
        }

        @Test
        void both_attempts_of_a_redirect_are_one_value() {
            // rejects: a value for each span
            var summary = new LatencyTrace.Summary(Duration.ofMinutes(1), 3);
            summary.record(trace(0, 90_000_000, """
                    CONNECT 0-5000000 FAILED
                    WAIT 0-10000000 OK
                    WAIT 12000000-15000000 FAILED
                    WAIT 20000000-50000000 OK
                    """));
            Check.equal(0L, summary.count(LatencyTrace.Phase.CONNECT),
                    "count(CONNECT) of a call whose only CONNECT has failed",
                    "record trace.nanos(phase), which only spans that are OK"
                            + " make up");
            Check.equal(1L, summary.count(LatencyTrace.Phase.WAIT),
                    "count(WAIT) of one call with two attempts", "record"
                            + " trace.nanos(phase), not each span");
            close(40_000_000, summary.percentileNanos(LatencyTrace.Phase.WAIT,
                    50), "the median of WAIT, of 10 + 30 ms", "record"
                    + " trace.nanos(phase), which adds them up");
        }

        @Test
        void the_total_is_that_of_the_call() {
            // rejects: the sum of the phases
            var summary = new LatencyTrace.Summary(Duration.ofMinutes(1), 3);
            Check.equal(OptionalLong.empty(), summary.totalPercentileNanos(50),
                    "the median of the total before any call", "empty if the"
                            + " histogram holds no value");
            summary.record(trace(0, 90_000_000, "WAIT 0-10000000 OK\n"));
            close(90_000_000, summary.totalPercentileNanos(50),
                    "the median of the total", "record totalNanos()");
            Check.equal(OptionalLong.empty(), summary.percentileNanos(
                    LatencyTrace.Phase.BODY, 99), "p99 of BODY, which never"
                    + " happened", "empty if the histogram holds no value");
        }

        @Test
        void only_calls_that_are_OK_count() {
            // rejects: failures, which may be quick
            var summary = new LatencyTrace.Summary(Duration.ofMinutes(1), 3);
            for (var outcome : LatencyTrace.Outcome.values()) {
                summary.record(new LatencyTrace.Trace("GET", "http://a.test/",
                        0, false, 50, parsed("DNS 0-10 OK\n"), outcome, ""));
            }
            Check.equal("1 1", summary.count() + " " + summary.count(
                    LatencyTrace.Phase.DNS), "count() and count(DNS) of an OK,"
                    + " a FAILED and a CANCELED call", "return at once if the"
                    + " outcome of the trace is not OK");
        }

        @Test
        void a_value_above_highest_counts_as_highest() {
            // rejects: an ArrayIndexOutOfBoundsException in OkHttp's thread;
            // the value left out
            var summary = new LatencyTrace.Summary(Duration.ofSeconds(1), 3);
            var trace = trace(0, 3_600_000_000_000L,
                    "WAIT 0-3600000000000 OK\n");
            try {
                summary.record(trace);
            } catch (ArrayIndexOutOfBoundsException e) {
                throw History.fail("expected record() to accept an hour, got "
                        + e, "Math.min(value, highest), for the total and for"
                        + " each phase");
            }
            close(1_000_000_000, summary.totalPercentileNanos(100),
                    "the maximum of the total, with highest = 1 s",
                    "Math.min(totalNanos, highest)");
            close(1_000_000_000, summary.percentileNanos(
                    LatencyTrace.Phase.WAIT, 100), "the maximum of WAIT, with"
                    + " highest = 1 s", "Math.min(nanos, highest)");
        }

        @Test
        void calls_from_several_threads_are_all_counted() throws Exception {
            // rejects: a Histogram without a lock
            var summary = new LatencyTrace.Summary(Duration.ofMinutes(1), 3);
            var trace = trace(0, 100, "WAIT 0-50 OK\n");
            var calls = IntStream.range(0, 4).mapToObj(_ -> PendingCall
                    .startOnPlatformThread(() -> {
                for (int i = 0; i < 5_000; i++) {
                    summary.record(trace);
                }
                return null;
            })).toList();
            for (var call : calls) {
                Await.value(call.outcome(), "5,000 calls of record()", "");
            }
            Check.equal("20000 20000", summary.count() + " " + summary.count(
                    LatencyTrace.Phase.WAIT), "count() and count(WAIT) after"
                    + " 20,000 calls of record() on four threads", "keep"
                    + " record() synchronized: a Histogram is not thread-safe");
        }
    }

    @Step(value = 7, title = "Send at a constant rate", further = true)
    class Send_at_a_constant_rate {

        private static final long SECOND = 1_000_000_000;
        private static final String DUE = "request i is due first + i * 10^9 /"
                + " perSecond, computed from i, whatever the answers do";

        @Test
        void requests_start_when_they_are_due() throws Exception {
            // rejects: the rounded period added up; a pause after each answer
            for (int rate : new int[] {3, 7, 1_000, 999_983}) {
                var clock = Clock.jumping();
                long first = clock.nanoTime();
                var starts = new ArrayList<Long>();
                LatencyTrace.openLoop(rate, 100, 1, clock, () -> {
                    starts.add(clock.nanoTime() - first);
                    return null;
                });
                Check.equal(100, starts.size(), "requests sent", DUE);
                for (int i = 0; i < 100; i++) {
                    Check.equal(i * SECOND / rate, starts.get(i), "the start of"
                            + " request " + i + " at " + rate + " a second, in"
                            + " ns", DUE + "; and acquire before you sleep");
                }
            }
        }

        @Test
        void a_stall_is_seen_in_responseTime_and_not_in_serviceTime()
                throws Exception {
            // rejects: a closed loop; both times from the same instant
            var clock = Clock.jumping();
            var calls = new AtomicInteger();
            var report = LatencyTrace.openLoop(500, 2_000, 1, clock, () -> {
                clock.sleepUntil(clock.nanoTime() + (calls.incrementAndGet()
                        == 1_000 ? SECOND : SECOND / 1_000));
                return null;
            });
            var response = new Histogram(Duration.ofHours(1).toNanos(), 3);
            long end = 0;
            long delay = 0;
            for (int i = 0; i < 2_000; i++) {
                long due = i * SECOND / 500;
                delay = Math.max(delay, end - due);
                end = Math.max(due, end)
                        + (i == 999 ? SECOND : SECOND / 1_000);
                response.recordValue(end - due);
            }
            Check.equal("2000 0", report.sent() + " " + report.failed(),
                    "sent() and failed()", DUE);
            for (double percentile : new double[] {50, 90, 99, 99.9, 100}) {
                Check.equal(response.getValueAtPercentile(percentile),
                        report.responseTime().getValueAtPercentile(percentile),
                        "percentile " + percentile + " of responseTime, of"
                                + " 2,000 requests of 1 ms at 500 a second with"
                                + " one stall of 1 s", "responseTime counts"
                                + " from when the request was due: the stall"
                                + " delays those that are due meanwhile");
            }
            long p99 = report.serviceTime().getValueAtPercentile(99);
            Check.that(p99 <= 1_001_000, "a p99 of serviceTime of 1 ms, got "
                    + p99 + " ns", "serviceTime counts from the start of the"
                    + " request");
            Check.equal(delay, report.maxStartDelayNanos(),
                    "maxStartDelayNanos()", "the longest time from due to"
                            + " start");
        }

        @Test
        void requests_do_not_wait_for_answers() throws Exception {
            // rejects: one request at a time; a start delay that is lost
            var clock = Clock.byHand();
            var answers = new Semaphore(0);
            var started = new AtomicInteger();
            var load = PendingCall.start(() -> LatencyTrace.openLoop(10, 5, 3,
                    clock, () -> {
                started.incrementAndGet();
                answers.acquire();
                return null;
            }));
            for (int i = 1; i <= 3; i++) {
                awaitStarted(i, started, load, "a permit for each of"
                        + " maxInFlight requests; nobody waits for an answer"
                        + " before that");
                if (i < 3) {
                    clock.awaitSleepers(1, "send each request on a thread of"
                            + " its own, and do not wait for its answer");
                    clock.advance(Duration.ofMillis(100));
                }
            }
            load.awaitWaiting();
            clock.advance(Duration.ofMillis(400));   // both others are due
            answers.release();
            awaitStarted(4, started, load, "release the permit when a request"
                    + " ends");
            answers.release();
            awaitStarted(5, started, load, "nothing is dropped");
            answers.release(3);
            var report = Await.value(load.outcome(), "openLoop() to return",
                    "wait for all requests");
            Check.equal("5 300000000", report.sent() + " "
                    + report.maxStartDelayNanos(), "sent() and"
                    + " maxStartDelayNanos(), when request 3 was due at 300 ms"
                    + " and started at 600 ms", "start minus due");
        }

        @Test
        void openLoop_returns_when_all_requests_have_ended() throws Exception {
            // rejects: a return after the last start
            var answer = new CountDownLatch(1);
            var running = new AtomicInteger();
            var load = PendingCall.start(() -> LatencyTrace.openLoop(1_000_000,
                    3, 5, LatencyTrace.Timing.system(), () -> {
                running.incrementAndGet();
                answer.await();
                return null;
            }));
            awaitStarted(3, running, load, DUE);
            load.awaitWaiting();
            Check.that(!load.outcome().isDone(), "openLoop() to wait for three"
                    + " requests that are running, but it returned",
                    "acquire all permits at the end");
            answer.countDown();
            Check.equal(3L, Await.value(load.outcome(), "openLoop() to return",
                    "").sent(), "sent()", "add() before the permit is"
                    + " released");
        }

        @Test
        void a_request_that_throws_is_counted_and_recorded() throws Exception {
            // rejects: an exception that ends the load, or keeps its permit
            var clock = Clock.jumping();
            var calls = new AtomicInteger();
            var report = LatencyTrace.openLoop(1_000, 30, 1, clock, () -> {
                clock.sleepUntil(clock.nanoTime() + 500_000);
                switch (calls.getAndIncrement() % 3) {
                    case 0 -> throw new IOException("a test");
                    case 1 -> throw new AssertionError("a test");
                    default -> {
                        return null;
                    }
                }
            });
            Check.equal("30 20 30", report.sent() + " " + report.failed() + " "
                    + report.responseTime().getTotalCount(), "sent(), failed()"
                    + " and the count of responseTime, when 20 of 30 requests"
                    + " throw", "catch Throwable, count it, and add() the times"
                    + " as for any other request");
        }

        @Test
        void never_more_than_maxInFlight_run_at_once() throws Exception {
            // rejects: no limit; a permit that is released too early
            for (int most : new int[] {1, 4}) {
                var running = new AtomicInteger();
                var peak = new AtomicInteger();
                var started = new AtomicInteger();
                var answers = new Semaphore(0);
                var load = PendingCall.start(() -> LatencyTrace.openLoop(
                        1_000_000, 20, most, LatencyTrace.Timing.system(),
                        () -> {
                    peak.accumulateAndGet(running.incrementAndGet(), Math::max);
                    started.incrementAndGet();
                    answers.acquire();
                    return running.decrementAndGet();
                }));
                for (int i = 0; i < 20; i++) {
                    awaitStarted(Math.min(most + i, 20), started, load,
                            "release the permit when a request ends");
                    load.awaitWaiting();
                    answers.release();
                }
                Await.value(load.outcome(), "openLoop() to return", "");
                Check.equal(most, peak.get(), "the most requests at once, with"
                        + " maxInFlight = " + most, "acquire a permit before a"
                        + " request, and release it after that");
            }
        }

        @Test
        void each_request_runs_on_a_virtual_thread_of_its_own()
                throws Exception {
            var threads = ConcurrentHashMap.<Thread>newKeySet();
            LatencyTrace.openLoop(1_000_000, 20, 2, Clock.jumping(),
                    () -> threads.add(Thread.currentThread()));
            Check.equal(20L, threads.stream().filter(Thread::isVirtual).count(),
                    "virtual threads that ran 20 requests", "use"
                            + " newVirtualThreadPerTaskExecutor()");
        }

        @Test
        void an_interrupt_ends_the_running_requests_first() throws Exception {
            // rejects: requests that go on, or are waited for without end; an
            // interrupt that only the sleep notices; a return that is too early
            interrupted("sleeps until request 1 is due", 5, 3);
            interrupted("waits for a permit", 5, 1);
            interrupted("waits for its last request", 1, 3);
        }

        private static void interrupted(String when, int count,
                int maxInFlight) throws Exception {
            History.note("interrupt openLoop() while it " + when);
            var clock = Clock.byHand();
            var running = new AtomicInteger();
            var interrupted = new AtomicInteger();
            var mayEnd = new Semaphore(0);
            var atReturn = new CompletableFuture<Integer>();
            var load = PendingCall.start(() -> {
                try {
                    return LatencyTrace.openLoop(1, count, maxInFlight, clock,
                            () -> {
                        running.incrementAndGet();
                        try {
                            mayEnd.acquire();
                        } catch (InterruptedException e) {
                            interrupted.incrementAndGet();
                            mayEnd.acquireUninterruptibly();
                        }
                        return running.decrementAndGet();
                    });
                } finally {
                    atReturn.complete(running.get());
                }
            });
            awaitStarted(1, running, load, DUE);
            if (count > 1 && maxInFlight > 1) {
                clock.awaitSleepers(1, DUE);
            }
            load.awaitWaiting();
            load.thread().interrupt();
            Await.until(() -> interrupted.get() == 1 || atReturn.isDone(), "the"
                    + " running request to be interrupted when openLoop() is,"
                    + " while it " + when, "every wait of openLoop() throws"
                    + " InterruptedException, and shutdownNow() in finally,"
                    + " before the executor is closed, interrupts the"
                    + " requests");
            load.awaitWaiting();
            mayEnd.release();
            int left = Await.value(atReturn, "openLoop() to end after an"
                    + " interrupt", "");
            Check.equal("0 1", left + " " + interrupted, "requests that still"
                    + " run, and requests that were interrupted, when"
                    + " openLoop() ends", "shutdownNow() interrupts them, and"
                    + " close() waits");
            Check.fails(InterruptedException.class, () -> {
                try {
                    load.outcome().get();
                } catch (ExecutionException e) {
                    throw (Exception) e.getCause();
                }
            }, "openLoop(), interrupted while it " + when,
                    "let the InterruptedException pass");
        }

        @Test
        void a_request_of_more_than_an_hour_counts_as_an_hour()
                throws Exception {
            var clock = Clock.jumping();
            var report = LatencyTrace.openLoop(1, 2, 1, clock, () -> {
                clock.sleepUntil(clock.nanoTime() + 7_200 * SECOND);
                return null;
            });
            Check.equal(2L, report.sent(), "sent()", "Math.min(time, HIGHEST):"
                    + " a Histogram throws for a value above its highest");
            close(3_600 * SECOND, OptionalLong.of(report.responseTime()
                    .getMaxValue()), "the maximum of responseTime",
                    "Math.min(time, HIGHEST)");
        }

        @Test
        void the_real_clock_is_kept_to() throws Exception {
            long start = System.nanoTime();
            var starts = Collections.synchronizedList(new ArrayList<Long>());
            LatencyTrace.openLoop(1_000, 20, 20, LatencyTrace.Timing.system(),
                    () -> starts.add(System.nanoTime() - start));
            starts.sort(null);
            for (int i = 0; i < 20; i++) {
                Check.that(starts.get(i) >= i * 1_000_000L, "request " + i
                        + " at 1,000 a second to start after " + i + " ms, got "
                        + starts, DUE);
            }
        }

        /** Until so many have started, or the load has ended. */
        private static void awaitStarted(int count, AtomicInteger started,
                PendingCall<?> load, String likely)
                throws InterruptedException {
            Await.until(() -> started.get() >= count
                    || load.outcome().isDone(), count + " requests to start",
                    likely);
            if (started.get() < count) {
                Await.value(load.outcome(), "openLoop() to return", likely);
            }
            Check.that(started.get() >= count, count + " requests to start,"
                    + " but openLoop() returned after " + started, likely);
        }
    }

    // ---- what the tests share ----

    /** The clock of a test, as the lab wants it. */
    private record Clock(FakeTiming fake) implements LatencyTrace.Timing {

        static Clock jumping() {
            return new Clock(FakeTiming.jumping());
        }

        static Clock byHand() {
            return new Clock(FakeTiming.byHand());
        }

        @Override
        public long nanoTime() {
            return fake.nanoTime();
        }

        @Override
        public void sleepUntil(long nanoTime) throws InterruptedException {
            fake.sleepUntil(nanoTime);
        }

        void advance(Duration time) {
            fake.advance(time);
        }

        void awaitSleepers(int count, String likely)
                throws InterruptedException {
            fake.awaitSleepers(count, likely);
        }
    }

    /**
     * A call that is never executed: the test plays its events. A line is the
     * time since callStart in nanoseconds, the event, an argument, and perhaps
     * {@code on racer}: on another thread than the other events.
     */
    private static final class Script {

        private static final OkHttpClient PLAIN = new OkHttpClient.Builder()
                .connectionSpecs(List.of(ConnectionSpec.CLEARTEXT)).build();

        final AtomicLong clock;
        final List<LatencyTrace.Trace> traces;
        final LatencyTrace tracer;
        final Call call;
        EventListener listener;
        Consumer<LatencyTrace.Trace> sink;
        long start;
        long now;

        Script() {
            this(4_140_000);
        }

        Script(long nanoTime) {
            start = nanoTime;
            clock = new AtomicLong(nanoTime);
            traces = new ArrayList<>();
            sink = traces::add;
            tracer = new LatencyTrace(clock::get, trace -> sink.accept(trace));
            call = newCall();
        }

        /** One more call of the same tracer, on the same clock. */
        Script(Script other) {
            start = other.start;
            clock = other.clock;
            traces = other.traces;
            tracer = other.tracer;
            call = newCall();
        }

        private Call newCall() {
            return PLAIN.newBuilder().eventListenerFactory(call ->
                    listener = tracer.create(call)).build().newCall(
                    new Request.Builder().url("http://anna:secret@shop.lab.test"
                            + "/search?q=chess").build());
        }

        void at(long nanos) {
            now = nanos;
            clock.set(start + nanos);
        }

        /** The only trace. */
        LatencyTrace.Trace trace() {
            Check.equal(1, traces.size(), "traces of one call that has ended",
                    "finish() delivers the trace");
            return traces.getFirst();
        }

        void play(String events) {
            for (var line : events.lines().toList()) {
                History.note(line);
                var words = line.split(" ");
                at(Long.parseLong(words[0]));
                var argument = words.length > 2 ? words[2] : "";
                if (line.endsWith(" on racer")) {
                    playElsewhere(words[1], argument);
                } else {
                    play(words[1], argument);
                }
            }
        }

        private void playElsewhere(String event, String argument) {
            var failure = new AtomicReference<RuntimeException>();
            var thread = Thread.ofPlatform().start(() -> {
                try {
                    play(event, argument);
                } catch (RuntimeException e) {
                    failure.set(e);
                }
            });
            try {
                Await.end(thread, event + " to return", "");
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
            if (failure.get() != null) {
                throw failure.get();
            }
        }

        private void play(String event, String argument) {
            var failure = new IOException("a failure of the test");
            switch (event) {
                case "callStart" -> listener.callStart(call);
                case "dispatcherQueueStart" -> listener.dispatcherQueueStart(
                        call, PLAIN.dispatcher());
                case "dispatcherQueueEnd" -> listener.dispatcherQueueEnd(
                        call, PLAIN.dispatcher());
                case "dnsStart" -> listener.dnsStart(call, argument);
                case "dnsEnd" -> listener.dnsEnd(call, argument, List.of());
                case "connectStart" -> listener.connectStart(call,
                        address(argument), Proxy.NO_PROXY);
                case "secureConnectStart" -> listener.secureConnectStart(call);
                case "secureConnectEnd" -> listener.secureConnectEnd(call,
                        null);
                case "connectEnd" -> listener.connectEnd(call,
                        address(argument), Proxy.NO_PROXY, Protocol.HTTP_1_1);
                case "connectFailed" -> listener.connectFailed(call,
                        address(argument), Proxy.NO_PROXY, null, failure);
                case "requestHeadersStart" -> listener.requestHeadersStart(
                        call);
                case "requestHeadersEnd" -> listener.requestHeadersEnd(call,
                        call.request());
                case "requestBodyStart" -> listener.requestBodyStart(call);
                case "requestBodyEnd" -> listener.requestBodyEnd(call, 5);
                case "requestFailed" -> listener.requestFailed(call, failure);
                case "responseHeadersStart" -> listener.responseHeadersStart(
                        call);
                case "responseHeadersEnd" -> listener.responseHeadersEnd(call,
                        response(Integer.parseInt(argument)));
                case "responseBodyStart" -> listener.responseBodyStart(call);
                case "responseBodyEnd" -> listener.responseBodyEnd(call, 5);
                case "responseFailed" -> listener.responseFailed(call, failure);
                case "retryDecision" -> listener.retryDecision(call, failure,
                        argument.equals("again"));
                case "followUpDecision" -> listener.followUpDecision(call,
                        response(200), argument.equals("again")
                                ? call.request() : null);
                case "canceled" -> listener.canceled(call);
                case "callEnd" -> listener.callEnd(call);
                case "callFailed" -> listener.callFailed(call, failure);
                default -> throw new AssertionError(event);
            }
        }

        private Response response(int code) {
            return new Response.Builder().request(call.request()).code(code)
                    .protocol(Protocol.HTTP_1_1).message("").build();
        }
    }

    /** A real server, and clients for it. */
    private static final class Shop implements AutoCloseable {

        private static final HeldCertificate HELD = new HeldCertificate
                .Builder().addSubjectAlternativeName("localhost").build();

        final MockWebServer server = new MockWebServer();
        final List<LatencyTrace.Trace> traces = new ArrayList<>();
        final List<OkHttpClient> clients = new ArrayList<>();
        final boolean tls;
        volatile long thinking;

        Shop(boolean tls) throws IOException {
            this.tls = tls;
            if (tls) {
                server.useHttps(new HandshakeCertificates.Builder()
                        .heldCertificate(HELD).build().sslSocketFactory());
            }
            server.setDispatcher(new mockwebserver3.Dispatcher() {
                @Override
                public MockResponse dispatch(RecordedRequest request) {
                    return answer(request.getTarget());
                }
            });
            server.start(InetAddress.getByName("127.0.0.1"), 0);
        }

        private MockResponse answer(String path) {
            var response = new MockResponse.Builder();
            switch (path) {
                case "/think" -> {
                    long start = System.nanoTime();
                    LockSupport.parkNanos(3_000_000);   // its work
                    thinking = System.nanoTime() - start;
                }
                case "/moved" -> {
                    // without a body: OkHttp would give it 100 ms to come
                    return response.code(302).addHeader("Location", "/")
                            .build();
                }
                case "/cut" -> response.onResponseBody(
                        new SocketEffect.CloseSocket());
                case "/no-response" -> response.onResponseStart(
                        new SocketEffect.CloseSocket());
                default -> { }
            }
            return response.body("chess").build();
        }

        OkHttpClient client(EventListener listener) {
            return client(_ -> listener);
        }

        OkHttpClient client(EventListener.Factory listeners) {
            var builder = new OkHttpClient.Builder()
                    .connectionPool(new okhttp3.ConnectionPool())
                    .protocols(List.of(Protocol.HTTP_1_1))
                    .dns(_ -> List.of(InetAddress.getByName("127.0.0.1")))
                    .eventListenerFactory(listeners);
            if (tls) {
                var trusted = new HandshakeCertificates.Builder()
                        .addTrustedCertificate(HELD.certificate()).build();
                builder.sslSocketFactory(trusted.sslSocketFactory(),
                        trusted.trustManager());
            } else {
                builder.connectionSpecs(List.of(ConnectionSpec.CLEARTEXT));
            }
            clients.add(builder.build());
            return clients.getLast();
        }

        Request request(String path) {
            return new Request.Builder().url((tls ? "https://localhost:"
                    : "http://127.0.0.1:") + server.getPort() + path).build();
        }

        void call(OkHttpClient client, String path) {
            call(client, request(path));
        }

        void call(OkHttpClient client, Request request) {
            History.note("call " + request.url());
            try (var response = client.newCall(request).execute()) {
                response.body().string();
            } catch (IOException e) {
                History.note(e.toString());
            }
        }

        /** The trace of the last call. */
        LatencyTrace.Trace last() {
            Check.that(!traces.isEmpty(), "a trace, got none",
                    "finish() delivers the trace");
            return traces.getLast();
        }

        @Override
        public void close() {
            clients.forEach(client -> client.connectionPool().evictAll());
            server.close();
        }
    }

    private static InetSocketAddress address(String name) {
        int port = name.endsWith("2") ? 8443 : 443;
        return new InetSocketAddress("10.0.0." + (name.charAt(0) - 'A' + 1),
                port);
    }

    private static LatencyTrace.Trace played(String events) {
        var script = new Script();
        script.play(events);
        return script.trace();
    }

    private static LatencyTrace.Trace trace(String spans) {
        return trace(0, 1_000, spans);
    }

    /** A trace that no call has made. */
    private static LatencyTrace.Trace trace(int status, long total,
            String spans) {
        return new LatencyTrace.Trace("GET", "http://shop.lab.test/", status,
                false, total, parsed(spans), LatencyTrace.Outcome.OK, "");
    }

    private static List<LatencyTrace.Span> parsed(String spans) {
        return spans.lines().map(line -> {
            var words = line.split("[ -]");
            return new LatencyTrace.Span(LatencyTrace.Phase.valueOf(words[0]),
                    0, Long.parseLong(words[1]), Long.parseLong(words[2]), "",
                    LatencyTrace.Outcome.valueOf(words[3]));
        }).toList();
    }

    private static String text(LatencyTrace.Span span) {
        return span.phase() + " " + span.startNanos() + "-" + span.endNanos()
                + " " + span.outcome();
    }

    private static String times(LatencyTrace.Trace trace,
            LatencyTrace.Phase phase) {
        return trace.spans().stream().filter(span -> span.phase() == phase)
                .map(span -> span.startNanos() + "-" + span.endNanos())
                .collect(Collectors.joining(", "));
    }

    private static String spansOf(LatencyTrace.Trace trace) {
        return trace.spans().stream().map(LatencyTraceTest::text).sorted()
                .collect(Collectors.joining("\n", "\n", "\n"));
    }

    private static void spans(String expected, LatencyTrace.Trace trace,
            String likely) {
        Check.equal("\n" + expected.lines().sorted().collect(
                Collectors.joining("\n")) + "\n", spansOf(trace),
                "the spans", likely);
    }

    private static void spans(String expected, LatencyTrace.Trace trace,
            LatencyTrace.Phase phase, String likely) {
        spans(expected, only(phase, trace), likely);
    }

    private static LatencyTrace.Trace only(LatencyTrace.Phase phase,
            LatencyTrace.Trace trace) {
        return new LatencyTrace.Trace("", "", 0, false, 0, trace.spans()
                .stream().filter(span -> span.phase() == phase).toList(),
                trace.outcome(), "");
    }

    private static void attempts(String expected, LatencyTrace.Trace trace,
            String likely) {
        Check.equal("\n" + expected, trace.spans().stream().map(span -> span
                .attempt() + " " + text(span)).collect(Collectors.joining("\n",
                "\n", "\n")), "attempts and spans", likely);
    }

    private static void attempts(String expected, LatencyTrace.Trace trace,
            LatencyTrace.Phase phase, String likely) {
        attempts(expected, only(phase, trace), likely);
    }

    private static void nanos(long expected, LatencyTrace.Trace trace,
            LatencyTrace.Phase phase) {
        Check.equal(OptionalLong.of(expected), trace.nanos(phase), "nanos("
                + phase + ") of" + spansOf(trace), "add up the spans of the"
                + " phase that are OK; 0 is a length, too");
    }

    private static void reused(boolean expected, String events,
            String likely) {
        Check.equal(expected, played(events).reused(), "reused()", likely);
    }

    private static void open(int expected, Script script, String when,
            String likely) {
        Check.equal(expected, script.tracer.openTraces(), "openTraces() "
                + when, likely);
    }

    /** The bars of a waterfall: what stands between two lines. */
    private static List<String> bars(LatencyTrace.Trace trace, int width) {
        return LatencyTrace.waterfall(trace, width).lines().skip(1)
                .map(line -> line.substring(line.indexOf('|') + 1,
                        line.lastIndexOf('|'))).toList();
    }

    private static void field(int width, String bar) {
        Check.equal(width, bar.length(), "the length of a bar |" + bar + "| in"
                + " a field of " + width, "the end is at most the width, and"
                + " blanks fill the rest");
    }

    private static void close(long expected, OptionalLong got, String what,
            String likely) {
        Check.that(got.isPresent() && Math.abs(got.getAsLong() - expected)
                <= expected / 999, what + " of about " + expected + " ns, got "
                + got, likely);
    }
}
