///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION One stall of 500 ms, seen by a closed loop and by an open loop
//SOURCES ../../../solutions/414-latency-trace/LatencyTrace.java

import module java.base;

import org.HdrHistogram.Histogram;

/**
 * A service that takes 1 ms and serves one request at a time stalls for 500 ms,
 * once in 1,000 requests. First a client that sends the next request when the
 * answer has come and 5 ms have passed; then openLoop at 200 a second. The
 * third column is HdrHistogram's correction of the first. The clock is moved by
 * the service and by sleeps alone, so that nothing else of the machine shows.
 */
public class Omission {

    private static final int REQUESTS = 1_000;
    private static final long PERIOD = 5_000_000;   // nanoseconds
    private static final AtomicLong NOW = new AtomicLong();
    private static int calls;

    public static void main(String[] args) throws Exception {
        var time = new LatencyTrace.Timing() {
            @Override
            public long nanoTime() {
                return NOW.get();
            }

            @Override
            public void sleepUntil(long nanoTime) {
                NOW.accumulateAndGet(nanoTime, Math::max);
            }
        };
        var closed = new Histogram(Duration.ofHours(1).toNanos(), 3);
        for (int i = 0; i < REQUESTS; i++) {
            long start = time.nanoTime();
            serve();
            closed.recordValue(time.nanoTime() - start);
            time.sleepUntil(start + PERIOD);
        }
        calls = 0;
        var open = LatencyTrace.openLoop(200, REQUESTS, 1, time, () -> {
            serve();
            return null;
        }).responseTime();
        var corrected = closed.copyCorrectedForCoordinatedOmission(PERIOD);
        IO.println("percentile   closed loop     open loop   corrected");
        for (double percentile : new double[] {50, 75, 90, 95, 99, 99.9, 100}) {
            IO.println("%-10s %10s %13s %11s".formatted(percentile,
                    millis(closed, percentile), millis(open, percentile),
                    millis(corrected, percentile)));
        }
    }

    private static void serve() {
        NOW.addAndGet(++calls == REQUESTS / 2 ? 500_000_000 : 1_000_000);
    }

    private static String millis(Histogram histogram, double percentile) {
        return "%.1f ms".formatted(histogram.getValueAtPercentile(percentile)
                / 1e6);
    }
}
