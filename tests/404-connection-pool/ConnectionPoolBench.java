///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 404's benchmark: the pool beside commons-pool2
//DEPS org.apache.commons:commons-pool2:2.12.1
//SOURCES ../../solutions/404-connection-pool/ConnectionPool.java
//SOURCES ../bench/*.java

import module java.base;

import bench.Arguments;
import bench.Figures;
import org.apache.commons.pool2.BasePooledObjectFactory;
import org.apache.commons.pool2.PooledObject;
import org.apache.commons.pool2.impl.DefaultPooledObject;
import org.apache.commons.pool2.impl.GenericObjectPool;
import org.apache.commons.pool2.impl.GenericObjectPoolConfig;

/**
 * How long does it take to borrow and return, with one thread and with many?
 *
 * <p>The pools lease plain objects, so that only the pool is measured. Both hold 8 and serve in turn. Ours checks
 * age and health, and reclaims what was forgotten; the third contestant is ours with a stack noted for each lease.
 * Contestants take turns in one run; only their ratio means anything.
 */
public final class ConnectionPoolBench {

    private static final String USAGE = """
            ./jbang bench 404              the pool beside commons-pool2
                --rounds N                 measured rounds (5)
                --seconds N                length of one measurement (1)
            ./jbang bench 404 --help       this text""";

    private static final int SIZE = 8;
    private static final Duration LIMIT = Duration.ofSeconds(30);

    /** Borrows once, and returns. */
    private interface Work {
        void run() throws Exception;
    }

    private record Contestant(String name, Work work, List<Double> rates) {
        Contestant(String name, Work work) {
            this(name, work, new ArrayList<>());
        }
    }

    public static void main(String[] args) throws Exception {
        var given = Arguments.of(args, USAGE);
        int rounds = given.number("--rounds", 5, 9999);
        int seconds = given.number("--seconds", 1, 9999);
        given.end();
        IO.println("%d rounds of %d s for each, after one to warm up; %d processors\n".formatted(
                rounds, seconds, Runtime.getRuntime().availableProcessors()));
        compare("borrow and return, 1 virtual thread, a second", 1, 1.0, rounds, seconds);
        compare("the same, 64 virtual threads", 64, 2.0, rounds, seconds);
        waits(seconds);
    }

    /** Both in turn, in changing order. */
    private static void compare(String what, int threads, double target, int rounds, int seconds) throws Exception {
        var pool = ours(Duration.ZERO);
        var peer = theirs();
        var watchful = ours(Duration.ofMinutes(1));
        var contestants = List.of(new Contestant("this pool", () -> pool.borrow(LIMIT).close()),
                new Contestant("commons-pool2", () -> peer.returnObject(peer.borrowObject(LIMIT))),
                new Contestant("with leaks()", () -> watchful.borrow(LIMIT).close()));
        for (int round = 0; round <= rounds; round++) {
            for (var contestant : round % 2 == 0 ? contestants : contestants.reversed()) {
                contestant.rates.add(rate(contestant.work, threads, seconds));
            }
        }
        contestants.forEach(contestant -> contestant.rates.removeFirst());
        IO.println(what);
        for (var contestant : contestants) {
            IO.println("  %-14s%s".formatted(contestant.name, Figures.spread("%,.0f", contestant.rates)));
        }
        var ratios = IntStream.range(0, rounds).mapToObj(i -> contestants.getFirst().rates.get(i)
                / contestants.get(1).rates.get(i)).toList();
        IO.println("  %-14s%s, target %.1f\n".formatted("ratio", Figures.spread("%.2f", ratios), target));
        pool.close();
        peer.close();
        watchful.close();
    }

    private static double rate(Work work, int threads, int seconds) throws Exception {
        var done = new LongAdder();
        long start = System.nanoTime();
        long end = start + seconds * 1_000_000_000L;
        crowd(threads, () -> {
            long count = 0;
            while (System.nanoTime() - end < 0) {
                work.run();
                count++;
            }
            done.add(count);
        });
        return done.sum() * 1e9 / (System.nanoTime() - start);
    }

    private static void crowd(int threads, Work work) throws Exception {
        try (var executor = Executors.newVirtualThreadPerTaskExecutor()) {
            for (var end : executor.invokeAll(Collections.nCopies(threads, () -> {
                work.run();
                return null;
            }))) {
                end.get();
            }
        }
    }

    /** Whether the queue is fair: nobody waits much longer than the others. */
    private static void waits(int seconds) throws Exception {
        var pool = ours(Duration.ZERO);
        var waits = new ConcurrentLinkedQueue<long[]>();
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        crowd(64, () -> {
            var mine = new long[1 << 16];
            int count = 0;
            while (System.nanoTime() - end < 0 && count < mine.length) {
                long start = System.nanoTime();
                try (var _ = pool.borrow(LIMIT)) {
                    mine[count++] = System.nanoTime() - start;
                    Thread.sleep(1);   // 1 ms of work
                }
            }
            waits.add(Arrays.copyOf(mine, count));
        });
        var sorted = waits.stream().flatMapToLong(Arrays::stream).sorted().toArray();
        double median = sorted[sorted.length / 2] / 1e6;
        double late = sorted[sorted.length * 99 / 100] / 1e6;
        IO.println("""
                waiting for one of 8, 64 virtual threads that use it for 1 ms
                  median        %.1f ms
                  99 of 100     %.1f ms
                  ratio         %.1f, target at most 10""".formatted(median, late, late / median));
        pool.close();
    }

    private static ConnectionPool<Object> ours(Duration leakAfter) {
        return new ConnectionPool<>(new ConnectionPool.Factory<>() {
            @Override
            public Object connect() {
                return new Object();
            }

            @Override
            public void destroy(Object connection) {}
        }, ConnectionPool.Options.defaults().withMaxTotal(SIZE).withLeakAfter(leakAfter));
    }

    private static GenericObjectPool<Object> theirs() {
        var config = new GenericObjectPoolConfig<Object>();
        config.setMaxTotal(SIZE);
        config.setMaxIdle(SIZE);
        config.setFairness(true);
        config.setJmxEnabled(false);
        return new GenericObjectPool<>(new BasePooledObjectFactory<>() {
            @Override
            public Object create() {
                return new Object();
            }

            @Override
            public PooledObject<Object> wrap(Object connection) {
                return new DefaultPooledObject<>(connection);
            }
        }, config);
    }
}
