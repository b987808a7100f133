///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:okhttp-tls:5.5.1
//DEPS org.hdrhistogram:HdrHistogram:2.2.2
//DESCRIPTION Lab 414: the phases of an HTTP call, and percentiles of many

import module java.base;

import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.net.Proxy;
import javax.naming.NamingException;
import javax.naming.directory.InitialDirContext;
import okhttp3.*;
import okhttp3.EventListener;
import okhttp3.tls.Certificates;
import okhttp3.tls.HandshakeCertificates;
import okhttp3.tls.HeldCertificate;
import org.HdrHistogram.Histogram;

/**
 * Tells how long each phase of an HTTP call took, from the events of OkHttp:
 * pass an instance to {@code OkHttpClient.Builder.eventListenerFactory}.
 *
 * <p>The one idea: measure every time between two events that have really
 * happened. A phase that did not happen has no length, a span that a failure
 * has cut off is not a success, and the latency of a request counts from the
 * instant at which it should have been sent, even if it was sent later.
 *
 * <p>All times are of the client. All durations are in nanoseconds.
 * Thread-safe.
 */
public final class LatencyTrace implements EventListener.Factory {

    private final LongSupplier nanoClock;
    private final Consumer<Trace> sink;
    private final AtomicInteger openTraces = new AtomicInteger();

    /**
     * @param nanoClock as {@link System#nanoTime}
     * @param sink      gets each trace once, on the thread on which the call
     *                  ended; what it throws is logged
     */
    public LatencyTrace(LongSupplier nanoClock, Consumer<Trace> sink) {
        this.nanoClock = Objects.requireNonNull(nanoClock, "nanoClock");
        this.sink = Objects.requireNonNull(sink, "sink");
    }

    /** The listener of one call; OkHttp asks for it in {@code newCall}. */
    // tag::create[]
    @Override
    public EventListener create(Call call) {
        // tag::step1[] return new Events, which pass on what happens in this call to a new Recorder of its own
        return new Events(new Recorder(call));
        // end::step1[]
    }
    // end::create[]

    /**
     * How many calls have started and not ended. A call whose response is
     * neither read to its end nor closed does not end.
     */
    public int openTraces() {
        return openTraces.get();
    }

    /**
     * What is known of one call. The methods are called by {@link Events} when
     * something happens, from several threads.
     */
    final class Recorder {

        private final Call call;
        // all that follow are guarded by this
        private final List<OpenSpan> open = new ArrayList<>();
        private final List<Span> spans = new ArrayList<>();
        private long startNanos;       // of the call, on nanoClock
        private int attempt;           // 0 for the first request of the call
        private boolean isAnswered;    // this attempt's response has begun
        private int status;
        private Thread tlsThread;      // on which a TLS handshake runs, or null
        private long tlsStartNanos;
        private boolean isOver;

        private Recorder(Call call) {
            this.call = call;
        }

        /** The call starts: from now on it is counted as open. */
        // tag::start[]
        synchronized void start() {
            // tag::step1[] set startNanos, and count the call in openTraces
            startNanos = nanoClock.getAsLong();
            openTraces.incrementAndGet();
            // end::step1[]
        }
        // end::start[]

        /** Nanoseconds since the call started. */
        private long now() {
            return nanoClock.getAsLong() - startNanos;
        }

        /** A phase begins. */
        // tag::openAndClose[]
        synchronized void open(Phase phase, String detail) {
            // tag::step1[] add an OpenSpan to open: it belongs to this attempt and begins now
            open.add(new OpenSpan(phase, attempt, now(), detail));
            // end::step1[]
        }

        /** A phase ends well. */
        synchronized void close(Phase phase) {
            // tag::step1[] end() the open span of this phase now, with Outcome.OK
            end(span -> span.phase() == phase, now(), Outcome.OK);
            // end::step1[]
        }

        /** Ends the last of the open spans that is meant, if there is one. */
        private void end(Predicate<OpenSpan> meant, long at, Outcome outcome) {
            // tag::step1[] look for it from the end of open; move it to spans, as span.end(at, outcome)
            for (var span : open.reversed()) {
                if (meant.test(span)) {
                    open.remove(span);
                    spans.add(span.end(at, outcome));
                    return;
                }
            }
            // end::step1[]
        }
        // end::openAndClose[]

        /** A part of the request, its head or its body, is to be written. */
        // tag::wait[]
        synchronized void requestStart(String part) {
            // tag::step1[] the request goes on, so forget an open WAIT; then open REQUEST, with this part as its detail
            open.removeIf(span -> span.phase() == Phase.WAIT);
            open(Phase.REQUEST, part);
            // end::step1[]
        }

        /** The part has been written, at least into a buffer. */
        synchronized void requestEnd() {
            // tag::step1[] close REQUEST; open WAIT with an empty detail, unless the response has begun already
            close(Phase.REQUEST);
            if (!isAnswered) {
                open(Phase.WAIT, "");
            }
            // end::step1[]
        }

        /** The first head of the response has been read. */
        synchronized void responseStart() {
            // tag::step1[] set isAnswered, and close WAIT
            isAnswered = true;
            close(Phase.WAIT);
            // end::step1[]
        }
        // end::wait[]

        /** The head of a response has been read. */
        synchronized void responseHead(int status) {
            this.status = status;
        }

        /** The call has ended; there is nothing to be added any more. */
        // tag::finish[]
        void finish(Outcome outcome, String error) {
            // tag::step1[] the first time only: endOpen() what is open; make the Trace, with the time until now, isReused() and the outcome; uncount the call; then give the Trace to deliver(), without holding the lock
            Trace trace;
            synchronized (this) {
                if (isOver) {
                    return;
                }
                isOver = true;
                long total = now();
                endOpen(open, spans, total, outcome, true);
                trace = new Trace(call.request().method(),
                        redacted(call.request().url()), status,
                        isReused(spans), total, spans, outcome, error);
            }
            openTraces.decrementAndGet();
            deliver(trace);
            // end::step1[]
        }
        // end::finish[]

        // tag::deliver[]
        private void deliver(Trace trace) {
            // tag::step1[] hand it to the sink; if that throws a RuntimeException, LOG it
            try {
                sink.accept(trace);
            } catch (RuntimeException e) {
                LOG.log(System.Logger.Level.ERROR, "the sink failed", e);
            }
            // end::step1[]
        }
        // end::deliver[]

        /** OkHttp has decided whether to send one more request. */
        // tag::decided[]
        synchronized void decided(boolean again) {
            // tag::step2[] if so, a new attempt begins, which is not answered yet // until then:
            if (again) {
                attempt++;
                isAnswered = false;
            }
            // end::step2[]
        }
        // end::decided[]

        /** How long a phase took in all: the sum of its spans that are OK. */
        // tag::nanos[]
        private static OptionalLong nanos(List<Span> spans, Phase phase) {
            // tag::step2[] empty if there is no span of this phase that is OK
            var lengths = spans.stream().filter(span -> span.phase() == phase
                    && span.outcome() == Outcome.OK)
                    .mapToLong(Span::nanos).toArray();
            return lengths.length == 0 ? OptionalLong.empty()
                    : OptionalLong.of(LongStream.of(lengths).sum());
            // end::step2[]
        }

        /** Whether a request was sent, and no connection was opened for it. */
        private static boolean isReused(List<Span> spans) {
            // tag::step2[] true if a REQUEST has begun, and no CONNECT is OK // until then: return false;
            return spans.stream()
                    .anyMatch(span -> span.phase() == Phase.REQUEST)
                    && nanos(spans, Phase.CONNECT).isEmpty();
            // end::step2[]
        }
        // end::nanos[]

        /** OkHttp tries to connect; it may try several addresses at once. */
        synchronized void connectStart(InetSocketAddress address) {
            open(Phase.CONNECT, text(address));
        }

        /** The TLS handshake begins, on this thread, on one of the sockets. */
        // tag::connect[]
        synchronized void tlsStart() {
            // tag::step3[] remember this thread and the time in tlsThread and tlsStartNanos // until then:
            tlsThread = Thread.currentThread();
            tlsStartNanos = now();
            // end::step3[]
            open(Phase.TLS, "");
        }

        /** This connection is ready: TCP, and TLS if there was a handshake. */
        synchronized void connectEnd(InetSocketAddress address) {
            // tag::step3[] end the CONNECT of this address: when TLS started if there was a handshake, or else now; after that there is no handshake // until then: close(Phase.CONNECT);
            end(connectTo(address), tlsThread == null ? now() : tlsStartNanos,
                    Outcome.OK);
            tlsThread = null;
            // end::step3[]
        }

        /** This attempt to connect has failed, in TCP or in TLS. */
        synchronized void connectFailed(InetSocketAddress address) {
            // tag::step3[] on the thread of the handshake, TLS has failed now, and CONNECT was OK until it started; on any other thread, or without a handshake, this CONNECT has failed now // until then:
            if (tlsThread == Thread.currentThread()) {
                end(connectTo(address), tlsStartNanos, Outcome.OK);
                end(span -> span.phase() == Phase.TLS, now(), Outcome.FAILED);
                tlsThread = null;
            } else {
                end(connectTo(address), now(), Outcome.FAILED);
            }
            // end::step3[]
        }
        // end::connect[]

        private static Predicate<OpenSpan> connectTo(InetSocketAddress to) {
            return span -> span.phase() == Phase.CONNECT
                    && span.detail().equals(text(to));
        }

        /** The attempt has failed; OkHttp may make another one. */
        synchronized void failed() {
            endOpen(open, spans, now(), failure(), false);
        }

        /** Of a call that fails; the event canceled may come too late. */
        private Outcome failure() {
            return call.isCanceled() ? Outcome.CANCELED : Outcome.FAILED;
        }
    }

    /**
     * Draws a span: so many characters, blank except for the time in which it
     * was open, which begins and ends in the right column, or in one beside it.
     *
     * @param totalNanos of the call, 0 to 10^15 (11 days)
     * @param width      1 to 1000
     */
    // tag::bar[]
    static String bar(Span span, long totalNanos, int width) {
        // tag::step4[] blanks, then mark(span.outcome()), then blanks: in proportion to the total; at least one mark, and never more than width characters, whatever is rounded; a total of 0 is drawn, too
        long total = Math.max(totalNanos, 1);
        int from = (int) Math.min(span.startNanos() * width / total, width - 1);
        int to = Math.clamp(Math.ceilDiv(span.endNanos() * width, total),
                from + 1, width);
        return " ".repeat(from) + mark(span.outcome()).repeat(to - from)
                + " ".repeat(width - to);
        // end::step4[]
    }
    // end::bar[]

    /**
     * Ends the open spans: an attempt has failed, or the call has ended. A
     * CONNECT may still be running on another thread while an attempt fails;
     * when the call ends, nobody needs it any more.
     *
     * @param outcome of the attempt or the call
     * @param isLast  whether the call has ended
     */
    // tag::endOpen[]
    private static void endOpen(List<OpenSpan> open, List<Span> spans, long at,
            Outcome outcome, boolean isLast) {
        // tag::step5[] move every open span to spans, ended at this time with this outcome; but a CONNECT stays open unless isLast, and then its outcome is CANCELED // until then:
        for (var span : List.copyOf(open)) {
            boolean isConnect = span.phase() == Phase.CONNECT;
            if (isLast || !isConnect) {
                open.remove(span);
                spans.add(span.end(at, isConnect ? Outcome.CANCELED : outcome));
            }
        }
        // end::step5[]
    }
    // end::endOpen[]

    /**
     * Percentiles over many calls. Only calls whose outcome is OK count: a
     * failure may be very quick, or last until a timeout. Thread-safe.
     */
    public static final class Summary {

        private final long highest;
        // both guarded by this; a Histogram alone is not thread-safe
        private final Map<Phase, Histogram> phases = new EnumMap<>(Phase.class);
        private final Histogram totals;

        /**
         * @param highest values above it are counted as this one; from 1 µs
         * @param digits  how many decimal digits of a value are kept, 1 to 5
         */
        public Summary(Duration highest, int digits) {
            this.highest = highest.toNanos();
            require(this.highest >= 1000, "highest", highest);
            require(digits >= 1 && digits <= 5, "digits", digits);
            totals = new Histogram(this.highest, digits);
            for (var phase : Phase.values()) {
                phases.put(phase, new Histogram(this.highest, digits));
            }
        }

        /** Counts a call, and each phase that happened in it. */
        // tag::record[]
        public synchronized void record(Trace trace) {
            // tag::step6[] if it is OK: its total into totals, and into phases the nanos() of each phase that happened; a Histogram throws for a value above highest
            if (trace.outcome() != Outcome.OK) {
                return;
            }
            totals.recordValue(Math.min(trace.totalNanos(), highest));
            phases.forEach((phase, histogram) -> trace.nanos(phase).ifPresent(
                    nanos -> histogram.recordValue(Math.min(nanos, highest))));
            // end::step6[]
        }
        // end::record[]

        /** How many calls were counted. */
        public synchronized long count() {
            return totals.getTotalCount();
        }

        /** In how many of them this phase happened. */
        public synchronized long count(Phase phase) {
            return phases.get(phase).getTotalCount();
        }

        /**
         * How long the phase took at most in so many percent of the calls in
         * which it happened; empty if it never did.
         *
         * @param percentile 0 to 100, which is the maximum
         */
        public OptionalLong percentileNanos(Phase phase, double percentile) {
            return percentile(phases.get(phase), percentile);
        }

        /** The same for the whole calls; empty if none was counted. */
        public OptionalLong totalPercentileNanos(double percentile) {
            return percentile(totals, percentile);
        }

        // tag::percentile[]
        private synchronized OptionalLong percentile(Histogram histogram,
                double percentile) {
            require(percentile >= 0 && percentile <= 100, "percentile",
                    percentile);
            // tag::step6[] the histogram's value at this percentile, if it holds any
            return histogram.getTotalCount() == 0 ? OptionalLong.empty()
                    : OptionalLong.of(
                            histogram.getValueAtPercentile(percentile));
            // end::step6[]
        }
        // end::percentile[]

        /** A line for each phase that happened, and one for the calls. */
        public synchronized String table() {
            var rows = new StringBuilder("phase     count      p50      p99"
                    + "    p99.9      max\n");
            phases.forEach((phase, values) -> rows.append(
                    values.getTotalCount() == 0 ? "" : row(phase, values)));
            return rows + row("total", totals);
        }

        private String row(Object name, Histogram values) {
            return DoubleStream.of(50, 99, 99.9, 100).mapToObj(percentile ->
                    " %5s ms".formatted(millis(percentile(values, percentile)
                            .orElse(0)))).collect(Collectors.joining("",
                    "%-8s%7d".formatted(name, values.getTotalCount()), "\n"));
        }
    }

    /**
     * Sends requests at a constant rate, whatever the answers do: request
     * {@code i} is due {@code i / perSecond} seconds after the first one.
     * Each runs on a virtual thread of its own. While {@code maxInFlight} are
     * running, the next ones wait, and start as soon as one of them has ended.
     * Returns when all have ended.
     *
     * @param perSecond   1 to 1,000,000
     * @param count       how many requests, at least 1
     * @param maxInFlight how many may run at once, at least 1
     * @param request     called from several threads; has failed if it throws
     * @throws InterruptedException if this thread is interrupted; the requests
     *         that are running are interrupted as well, and have ended
     */
    // tag::openLoop[]
    public static LoadReport openLoop(int perSecond, int count, int maxInFlight,
            Timing timing, Callable<?> request) throws InterruptedException {
        require(perSecond >= 1 && perSecond <= 1_000_000, "perSecond",
                perSecond);
        require(count >= 1, "count", count);
        require(maxInFlight >= 1, "maxInFlight", maxInFlight);
        Objects.requireNonNull(timing, "timing");
        Objects.requireNonNull(request, "request");
        // tag::step7[] for each request: acquire a permit, sleep until it is due, and send() it on a virtual thread, which releases the permit; then wait for all; if interrupted, interrupt the requests and wait for them
        var load = new Load();
        var permits = new Semaphore(maxInFlight);
        long first = timing.nanoTime();
        try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
            try {
                for (int i = 0; i < count; i++) {
                    long due = first + i * 1_000_000_000L / perSecond;
                    permits.acquire();
                    timing.sleepUntil(due);
                    threads.execute(() -> {
                        try {
                            load.send(due, timing, request);
                        } finally {
                            permits.release();
                        }
                    });
                }
                permits.acquire(maxInFlight);   // until the last has ended
            } finally {
                threads.shutdownNow();
            }
        }
        return load.report();
        // end::step7[]
    }
    // end::openLoop[]

    /** The requests of one open loop. Thread-safe. */
    private static final class Load {

        private static final long HIGHEST = Duration.ofHours(1).toNanos();

        // all that follow are guarded by this
        private final Histogram responseTime = new Histogram(HIGHEST, 3);
        private final Histogram serviceTime = new Histogram(HIGHEST, 3);
        private long failed;
        private long maxStartDelay;

        /** Calls the request, which was due at this instant. */
        // tag::send[]
        private void send(long due, Timing timing, Callable<?> request) {
            // tag::step7[] note the time, call the request, note the time again; then add() both, also if the request has failed
            long start = timing.nanoTime();
            boolean isFailure = false;
            try {
                request.call();
            } catch (Throwable e) {
                isFailure = true;
            }
            add(due, start, timing.nanoTime(), isFailure);
            // end::step7[]
        }

        private synchronized void add(long due, long start, long end,
                boolean isFailure) {
            // tag::step7[] serviceTime counts from the start, responseTime from when the request was due, at most HIGHEST each; update failed and maxStartDelay
            serviceTime.recordValue(Math.min(end - start, HIGHEST));
            responseTime.recordValue(Math.min(end - due, HIGHEST));
            failed += isFailure ? 1 : 0;
            maxStartDelay = Math.max(maxStartDelay, start - due);
            // end::step7[]
        }
        // end::send[]

        private synchronized LoadReport report() {
            return new LoadReport(serviceTime.getTotalCount(), failed,
                    maxStartDelay, responseTime, serviceTime);
        }
    }

    // ---- given from here on ----

    private static final System.Logger LOG =
            System.getLogger(LatencyTrace.class.getName());

    /** In the order in which they usually happen. */
    public enum Phase {
        /** An asynchronous call waits for other calls to end. */
        QUEUE,
        DNS,
        /** TCP alone, and the CONNECT request where there is a proxy. */
        CONNECT,
        TLS,
        /** The request is written; a small one into a buffer only. */
        REQUEST,
        /** From the end of the request until the response's head is read. */
        WAIT,
        /** From the first bytes of the body that were read to its end. */
        BODY
    }

    public enum Outcome {
        OK, FAILED,
        /** By {@code cancel()}, by a callTimeout, or because not needed. */
        CANCELED
    }

    /**
     * A phase of one attempt.
     *
     * @param attempt    0 for the first request of the call; 1 or more after a
     *                   redirect or a retry
     * @param startNanos since the call started
     * @param endNanos   since the call started, not before startNanos
     * @param detail     DNS: the name; CONNECT: address and port; REQUEST:
     *                   "head" or "body"; otherwise empty
     */
    public record Span(Phase phase, int attempt, long startNanos, long endNanos,
            String detail, Outcome outcome) {

        public long nanos() {
            return endNanos - startNanos;
        }
    }

    /** A span that has not ended. */
    private record OpenSpan(Phase phase, int attempt, long startNanos,
            String detail) {

        Span end(long at, Outcome outcome) {
            return new Span(phase, attempt, startNanos, at, detail, outcome);
        }
    }

    /**
     * One call, from its start to its end. Immutable.
     *
     * @param url    of the first request, without user, password and query,
     *               which may be secret
     * @param status of the last response, or 0
     * @param reused whether a request was sent, and the whole call has opened
     *               no connection
     * @param spans  by their start
     * @param error  what the call threw, or empty
     */
    public record Trace(String method, String url, int status, boolean reused,
            long totalNanos, List<Span> spans, Outcome outcome, String error) {

        public Trace {
            spans = spans.stream()
                    .sorted(Comparator.comparingLong(Span::startNanos))
                    .toList();
        }

        /** The sum of the phase's spans that are OK; empty if there is none. */
        public OptionalLong nanos(Phase phase) {
            return Recorder.nanos(spans, phase);
        }
    }

    /**
     * @param sent               requests that were called
     * @param failed             of these, the ones that threw
     * @param maxStartDelayNanos the longest time from the instant at which a
     *                           request was due to its start
     * @param responseTime       from when it was due to its end, in nanoseconds
     * @param serviceTime        from its start to its end, in nanoseconds
     */
    public record LoadReport(long sent, long failed, long maxStartDelayNanos,
            Histogram responseTime, Histogram serviceTime) {}

    /** A clock, and the sleep that goes with it. Thread-safe. */
    public interface Timing {

        /** As {@link System#nanoTime}: only differences mean anything. */
        long nanoTime();

        /** Returns when the clock has reached this time, or at once if so. */
        void sleepUntil(long nanoTime) throws InterruptedException;

        /** The real clock. */
        static Timing system() {
            return new Timing() {
                @Override
                public long nanoTime() {
                    return System.nanoTime();
                }

                @Override
                public void sleepUntil(long nanoTime)
                        throws InterruptedException {
                    TimeUnit.NANOSECONDS.sleep(nanoTime - System.nanoTime());
                }
            };
        }
    }

    /** What each event of OkHttp means for the recorder. */
    private static final class Events extends EventListener {

        private final Recorder recorder;

        private Events(Recorder recorder) {
            this.recorder = recorder;
        }

        @Override public void callStart(Call call) {
            recorder.start();
        }

        @Override public void dispatcherQueueStart(Call call,
                Dispatcher dispatcher) {
            recorder.open(Phase.QUEUE, "");
        }

        @Override public void dispatcherQueueEnd(Call call,
                Dispatcher dispatcher) {
            recorder.close(Phase.QUEUE);
        }

        @Override public void dnsStart(Call call, String name) {
            recorder.open(Phase.DNS, name);
        }

        @Override public void dnsEnd(Call call, String name,
                List<InetAddress> addresses) {
            recorder.close(Phase.DNS);
        }

        @Override public void connectStart(Call call, InetSocketAddress address,
                Proxy proxy) {
            recorder.connectStart(address);
        }

        @Override public void secureConnectStart(Call call) {
            recorder.tlsStart();
        }

        @Override public void secureConnectEnd(Call call, Handshake handshake) {
            recorder.close(Phase.TLS);
        }

        @Override public void connectEnd(Call call, InetSocketAddress address,
                Proxy proxy, Protocol protocol) {
            recorder.connectEnd(address);
        }

        @Override public void connectFailed(Call call,
                InetSocketAddress address, Proxy proxy, Protocol protocol,
                IOException e) {
            recorder.connectFailed(address);
        }

        // tag::eventsExcerpt[]
        @Override public void requestHeadersStart(Call call) {
            recorder.requestStart("head");
        }

        @Override public void requestHeadersEnd(Call call, Request request) {
            recorder.requestEnd();
        }

        @Override public void requestBodyStart(Call call) {
            recorder.requestStart("body");
        }

        @Override public void requestBodyEnd(Call call, long bytes) {
            recorder.requestEnd();
        }

        @Override public void requestFailed(Call call, IOException e) {
            recorder.failed();
        }

        @Override public void responseHeadersStart(Call call) {
            recorder.responseStart();
        }
        // end::eventsExcerpt[]

        @Override public void responseHeadersEnd(Call call, Response response) {
            recorder.responseHead(response.code());
        }

        @Override public void responseBodyStart(Call call) {
            recorder.open(Phase.BODY, "");
        }

        @Override public void responseBodyEnd(Call call, long bytes) {
            recorder.close(Phase.BODY);
        }

        @Override public void responseFailed(Call call, IOException e) {
            recorder.failed();
        }

        @Override public void retryDecision(Call call, IOException e,
                boolean retry) {
            recorder.failed();
            recorder.decided(retry);
        }

        @Override public void followUpDecision(Call call, Response response,
                Request next) {
            recorder.decided(next != null);
        }

        @Override public void callEnd(Call call) {
            recorder.finish(Outcome.OK, "");
        }

        @Override public void callFailed(Call call, IOException e) {
            recorder.finish(recorder.failure(), e.toString());
        }
    }

    /**
     * A line for the call, and one for each of its spans.
     *
     * @param columns of the bars, 10 to 1000
     */
    public static String waterfall(Trace trace, int columns) {
        require(columns >= 10 && columns <= 1000, "columns", columns);
        var lines = new StringBuilder("%s %s  %s  %s ms%s\n".formatted(
                trace.method(), trace.url(),
                trace.status() == 0 ? "-" : trace.status(),
                millis(trace.totalNanos()), trace.reused() ? "  reused" : ""));
        for (var span : trace.spans()) {
            lines.append("  %d %-7s |%s| %6s ms  %s".formatted(span.attempt(),
                    span.phase(), bar(span, trace.totalNanos(), columns),
                    millis(span.nanos()), (span.detail() + " " + span.outcome()
                            .toString().replace("OK", "")).strip())
                    .stripTrailing()).append("\n");
        }
        return lines + (trace.error().isEmpty() ? ""
                : "  " + trace.outcome() + ": " + trace.error() + "\n");
    }

    private static String mark(Outcome outcome) {
        return switch (outcome) {
            case OK -> "=";
            case FAILED -> "x";
            case CANCELED -> "~";
        };
    }

    private static String millis(long nanos) {
        return String.format(Locale.ROOT, "%.1f", nanos / 1e6);
    }

    private static String text(InetSocketAddress address) {
        var text = address.toString();   // NAME/127.0.0.1:80
        return address.isUnresolved()
                ? address.getHostString() + ":" + address.getPort()
                : text.substring(text.indexOf('/') + 1);
    }

    private static String redacted(HttpUrl url) {
        return url.newBuilder().username("").password("").query(null)
                .fragment(null).build().toString();
    }

    private static void require(boolean valid, String name, Object value) {
        if (!valid) {
            throw new IllegalArgumentException("bad " + name + ": " + value);
        }
    }

    // The demo: one scene for each step. The network is real, but the clock is
    // moved by fixed delays alone, so that each run shows the same.

    private static final List<String> STEPS = List.of("Record the phases",
            "Handle reuse and redirects", "Separate connect from TLS",
            "Draw the waterfall", "End spans on failure",
            "Summarise percentiles", "Send at a constant rate");
    private static final AtomicLong NOW = new AtomicLong();
    private static final AtomicLong CALLS = new AtomicLong();

    /** No argument: the demo; a URL: calls it and draws the waterfall. */
    public static void main(String[] args) throws Exception {
        var words = String.join(" ", args);
        try {
            if (args.length == 0) {
                demo();
            } else if (args[0].matches("https?://.+")) {
                System.exit(get(args) ? 0 : 1);
            } else {
                boolean help = words.matches("(--)?help");
                (help ? System.out : System.err).println((help ? ""
                        : "not understood: " + words + "\n") + """
                        lab-414       the demo, step by step
                        lab-414 URL [--times 2] [--call-timeout 200ms]
                            [--dns HOST:PORT] [--proxy NAME:PORT] [--trust PEM]
                                      calls it, and draws the waterfalls""");
                System.exit(help ? 0 : 2);
            }
        } catch (UnsupportedOperationException todo) {
            next(todo.getMessage() + "\n  " + todo.getStackTrace()[0]);
        } catch (IOException | IllegalArgumentException e) {
            System.err.println(words + ": " + e.getMessage());
            System.exit(1);
        }
    }

    /** @return whether all calls went well */
    private static boolean get(String[] args) throws Exception {
        var traces = new ArrayList<Trace>();
        var builder = new OkHttpClient.Builder().eventListenerFactory(
                new LatencyTrace(System::nanoTime, traces::add));
        int times = 1;
        for (int i = 1; i < args.length; i += 2) {
            require(i + 1 < args.length, "argument", args[i]);
            var value = args[i + 1];
            switch (args[i]) {
                case "--dns" -> builder.dns(name -> lookUp(name, value));
                case "--proxy" -> {
                    var to = HttpUrl.get("http://" + value);
                    builder.proxy(new Proxy(Proxy.Type.HTTP, InetSocketAddress
                            .createUnresolved(to.host(), to.port())));
                }
                case "--trust" -> trust(builder,
                        Certificates.decodeCertificatePem(
                                Files.readString(Path.of(value))));
                case "--call-timeout" -> builder.callTimeout(Duration.ofMillis(
                        Long.parseLong(value.replaceFirst("ms$", "")
                                .replaceFirst("s$", "000"))));
                case "--times" -> times = Integer.parseInt(value);
                default -> require(false, "argument", args[i]);
            }
        }
        var client = builder.build();
        for (int i = 0; i < times; i++) {
            IO.print(waterfall(call(client, args[0], traces), 40));
        }
        return traces.stream().allMatch(
                trace -> trace.outcome() == Outcome.OK);
    }

    private static List<InetAddress> lookUp(String name, String server)
            throws UnknownHostException {
        var found = new ArrayList<InetAddress>();
        try {
            var records = new InitialDirContext().getAttributes(
                    "dns://" + server + "/" + name, new String[] {"A"})
                    .get("A");
            for (int i = 0; records != null && i < records.size(); i++) {
                found.add(InetAddress.getByName((String) records.get(i)));
            }
        } catch (NamingException e) {
            throw new UnknownHostException(name + ": " + e.getMessage());
        }
        return found;   // OkHttp throws if it is empty
    }

    private static void trust(OkHttpClient.Builder builder,
            java.security.cert.X509Certificate certificate) {
        var trusted = new HandshakeCertificates.Builder()
                .addTrustedCertificate(certificate).build();
        builder.sslSocketFactory(trusted.sslSocketFactory(),
                trusted.trustManager());
    }

    private static void demo() throws Exception {
        IO.println("lab 414  Latency trace");
        System.setProperty("sun.net.httpserver.nodelay", "true");
        var held = new HeldCertificate.Builder()
                .addSubjectAlternativeName("localhost").build();
        var server = HttpsServer.create(new InetSocketAddress("127.0.0.1", 0),
                0);
        server.setHttpsConfigurator(new HttpsConfigurator(
                new HandshakeCertificates.Builder().heldCertificate(held)
                        .build().sslContext()));
        server.createContext("/", exchange -> {
            var path = exchange.getRequestURI().getPath();
            exchange.getResponseHeaders().add("Location", "/search");
            exchange.sendResponseHeaders(path.equals("/old") ? 302 : 200,
                    path.equals("/cut") ? 100 : 5);
            exchange.getResponseBody().write("chess".getBytes());
            exchange.close();
        });
        server.start();
        var builder = new OkHttpClient.Builder();
        trust(builder, held.certificate());
        try (AutoCloseable _ = () -> server.stop(0)) {
            scenes("https://localhost:" + server.getAddress().getPort(),
                    builder);
        }
    }

    private static void scenes(String url, OkHttpClient.Builder builder)
            throws Exception {
        var traces = new ArrayList<Trace>();
        var tracer = new LatencyTrace(NOW::get, traces::add);
        var client = builder.eventListenerFactory(call -> tracer.create(call)
                .plus(new Delays())).dns(name -> List.of(
                InetAddress.getByName("127.0.0.1"))).build();
        var cold = call(client, url + "/search", traces);
        show(1, "cold call", told(cold), "WAIT 30.0, BODY 10.0");
        var warm = call(client, url + "/search", traces);
        show(2, "warm call", told(warm), "reused");
        var redirect = call(client, url + "/old", traces);
        show(2, "redirect", told(redirect), "reused");
        var fallback = call(builder.fastFallback(false).dns(name -> List.of(
                InetAddress.getByName("::1"),
                InetAddress.getByName("127.0.0.1"))).build(),
                url + "/search", traces);
        show(3, "::1 refuses", told(fallback),
                "CONNECT 25.0 FAILED, CONNECT 25.0, TLS 40.0");
        for (var trace : List.of(cold, redirect, fallback)) {
            show(4, "waterfall", "\n" + waterfall(trace, 40)
                    .replaceAll(":\\d{4,5}", "").stripTrailing(), "=");
        }
        show(5, "unknown name", told(call(builder.dns(name -> {
            throw new UnknownHostException(name);
        }).build(), url + "/search", traces)), "DNS 15.0 FAILED");
        show(5, "body cut off", told(call(client, url + "/cut", traces)),
                "BODY 10.0 FAILED");
        var summary = new Summary(Duration.ofMinutes(1), 3);
        summary.record(cold);
        for (int i = 1; i < 200; i++) {
            summary.record(call(client, url + "/search", traces));
        }
        show(6, "200 calls", "\n" + summary.table().indent(5).stripTrailing(),
                "WAIT        200 ");
        var report = openLoop(500, 1000, 1, new Delays(), () -> {
            pass(CALLS.incrementAndGet() == 500 ? 300 : 1);
            return null;
        });
        show(7, "300 ms stall", "p99 from the start of a request %s ms, from"
                .formatted(p99(report.serviceTime())) + " when it was due "
                + p99(report.responseTime()) + " ms", "29");
        IO.println("\nall seven steps work");
    }

    private static Trace call(OkHttpClient client, String url,
            List<Trace> traces) {
        var request = new Request.Builder().url(url).build();
        try (var response = client.newCall(request).execute()) {
            response.body().byteStream().transferTo(
                    OutputStream.nullOutputStream());
        } catch (IOException e) {
            // the trace tells it
        }
        return traces.getLast();
    }

    private static String p99(Histogram histogram) {
        return millis(histogram.getValueAtPercentile(99));
    }

    /** What takes time in the demo, and its clock. */
    private static final class Delays extends EventListener implements Timing {

        @Override public void dnsStart(Call call, String name) {
            pass(15);
        }

        @Override public void connectStart(Call call, InetSocketAddress address,
                Proxy proxy) {
            pass(25);
        }

        @Override public void secureConnectStart(Call call) {
            pass(40);
        }

        @Override public void requestHeadersEnd(Call call, Request request) {
            pass(CALLS.incrementAndGet() % 60 == 0 ? 300 : 30);
        }

        @Override public void responseBodyStart(Call call) {
            pass(10);
        }

        @Override public long nanoTime() {
            return NOW.get();
        }

        @Override public void sleepUntil(long nanoTime) {
            NOW.accumulateAndGet(nanoTime, Math::max);
        }
    }

    private static void pass(int millis) {
        NOW.addAndGet(millis * 1_000_000L);
    }

    private static String told(Trace trace) {
        return trace.spans().stream().filter(span -> span.nanos() > 0)
                .map(span -> span.phase() + " " + millis(span.nanos())
                        + (span.outcome() == Outcome.OK ? "" : " FAILED"))
                .collect(Collectors.joining(", "))
                + (trace.reused() ? ", reused" : "");
    }

    private static void show(int step, String what, String seen, String part) {
        IO.println("  %d  %-13s %s".formatted(step, what, seen));
        if (!seen.contains(part)) {
            next("TODO step " + step + ": search LatencyTrace.java for it");
        }
    }

    private static void next(String todo) {
        int step = todo.charAt("TODO step ".length()) - '0';
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/LatencyTrace.java";
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        IO.println("\nnext: step " + step + ", " + STEPS.get(step - 1) + "\n  "
                + todo + (isHere ? "" : "\n  in a clone of the workbook:")
                + ("\n  check  " + jbang + " test-414 " + file).stripTrailing()
                + "\n  hint   " + jbang + " hint 414 " + step);
        System.exit(0);
    }
}
