///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 414's benchmark: what a listener costs a call
//DEPS com.squareup.okhttp3:logging-interceptor:5.5.1
//SOURCES ../../solutions/414-latency-trace/LatencyTrace.java
//SOURCES ../bench/*.java

import module java.base;
import module java.management;
import module jdk.management;

import bench.Arguments;
import bench.Figures;
import okhttp3.ConnectionSpec;
import okhttp3.EventListener;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.logging.LoggingEventListener;

/**
 * How much processor time does a call on a kept connection take, with and
 * without LatencyTrace, and with OkHttp's own LoggingEventListener, whose lines
 * go nowhere? Contestants take turns in one run; only their ratio means
 * anything. The server is a thread of this process that answers each request
 * with the same bytes. Then, how late does openLoop start its requests?
 */
public final class LatencyTraceBench {

    private static final String USAGE = """
            ./jbang bench 414              a call with and without a listener
                --rounds N                 measured rounds (7)
                --seconds N                length of one measurement (1)
            ./jbang bench 414 --help       this text""";
    private static final byte[] RESPONSE =
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nchess".getBytes();
    private static final int WARM = 4;   // rounds

    private record Contestant(String name, OkHttpClient client,
            List<Double> micros, List<Double> bytes) {
        Contestant(String name, EventListener.Factory listeners) {
            this(name, new OkHttpClient.Builder()
                    .connectionSpecs(List.of(ConnectionSpec.CLEARTEXT))
                    .eventListenerFactory(listeners).build(),
                    new ArrayList<>(), new ArrayList<>());
        }

        void measure(Request request, int seconds) throws IOException {
            var memory = (com.sun.management.ThreadMXBean)
                    ManagementFactory.getThreadMXBean();
            long before = memory.getCurrentThreadAllocatedBytes();
            long processor = memory.getCurrentThreadCpuTime();
            long start = System.nanoTime();
            long calls = 0;
            while (System.nanoTime() - start < seconds * 1_000_000_000L) {
                try (var response = client.newCall(request).execute()) {
                    response.body().bytes();
                }
                calls++;
            }
            micros.add((memory.getCurrentThreadCpuTime() - processor) / 1e3
                    / calls);
            bytes.add((memory.getCurrentThreadAllocatedBytes() - before)
                    / (double) calls);
        }
    }

    public static void main(String[] args) throws Exception {
        var given = Arguments.of(args, USAGE);
        int rounds = given.number("--rounds", 7, 9999);
        int seconds = given.number("--seconds", 1, 9999);
        given.end();
        IO.println("%d rounds of %d s for each, after %d to warm up; the server"
                .formatted(rounds, seconds, WARM) + " and the client share %d"
                .formatted(Runtime.getRuntime().availableProcessors())
                + " processors\n");
        var server = new ServerSocket(0, 50,
                InetAddress.getLoopbackAddress());
        Thread.ofPlatform().daemon().start(() -> accept(server));
        compare(rounds, seconds, new Request.Builder().url("http://127.0.0.1:"
                + server.getLocalPort() + "/").build());
        lateness();
        System.exit(0);
    }

    private static void compare(int rounds, int seconds, Request request)
            throws IOException {
        var seen = new LongAdder();
        var without = new Contestant("no listener", _ -> EventListener.NONE);
        var traced = new Contestant("LatencyTrace", new LatencyTrace(
                System::nanoTime, trace -> seen.add(trace.spans().size())));
        var logging = new Contestant("LoggingEventListener",
                new LoggingEventListener.Factory(seen::equals));
        var all = List.of(without, traced, logging);
        for (int round = 0; round < rounds + WARM; round++) {
            for (var each : round % 2 == 0 ? all : all.reversed()) {
                each.measure(request, seconds);
            }
        }
        all.forEach(each -> {
            each.micros.subList(0, WARM).clear();
            each.bytes.subList(0, WARM).clear();
        });
        IO.println("a call: processor time of its thread in µs, bytes allocated");
        all.forEach(each -> IO.println("  %-21s %-24s %,6.0f".formatted(
                each.name, Figures.spread("%.1f", each.micros),
                Figures.median(each.bytes))));
        IO.println("\nno listener, as a part of this, in each round");
        for (var each : List.of(traced, logging)) {
            var ratios = IntStream.range(0, rounds).mapToObj(i -> without
                    .micros.get(i) / each.micros.get(i)).toList();
            IO.println("  %-21s %s%s".formatted(each.name,
                    Figures.spread("%.2f", ratios), each == traced
                            ? ", target 0.95" : ""));
        }
        IO.println("  bytes for each call   %,.0f, target 1,500".formatted(
                Figures.median(traced.bytes) - Figures.median(without.bytes)));
    }

    /** The start delay is the difference of both times of an empty request. */
    private static void lateness() throws InterruptedException {
        LatencyTrace.openLoop(1_000, 1_000, 100, LatencyTrace.Timing.system(),
                () -> null);
        var report = LatencyTrace.openLoop(1_000, 5_000, 100,
                LatencyTrace.Timing.system(), () -> null);
        IO.println(("\nopenLoop, 5,000 empty requests at 1,000 a second: late by"
                + "\n  p50 %.2f ms, p99 %.2f ms, at most %.2f ms; target for p99"
                + " 2 ms").formatted(
                report.responseTime().getValueAtPercentile(50) / 1e6,
                report.responseTime().getValueAtPercentile(99) / 1e6,
                report.maxStartDelayNanos() / 1e6));
    }

    private static void accept(ServerSocket server) {
        while (true) {
            try {
                var socket = server.accept();
                Thread.ofPlatform().daemon().start(() -> answer(socket));
            } catch (IOException e) {
                return;
            }
        }
    }

    /** The client waits for each response, so a read holds one request. */
    private static void answer(Socket socket) {
        try (socket) {
            socket.setTcpNoDelay(true);
            var buffer = new byte[8192];
            while (socket.getInputStream().read(buffer) > 0) {
                socket.getOutputStream().write(RESPONSE);
            }
        } catch (IOException e) {
            // the client has gone
        }
    }
}
