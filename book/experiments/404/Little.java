///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION How many requests a second does a pool of a given size make?
//SOURCES ../../../solutions/404-connection-pool/ConnectionPool.java

import module java.base;

/** 64 workers ask a server that takes 5 ms for each answer. */
public class Little {

    public static void main(String[] args) throws Exception {
        IO.println("size  requests/s  size / 5 ms  mean wait");
        for (int size = 1; size <= 64; size *= 2) {
            measure(size);
        }
    }

    private static void measure(int size) throws Exception {
        var pool = new ConnectionPool<>(new FiveMillis(),
                ConnectionPool.Options.defaults().withMaxTotal(size));
        var requests = new LongAdder();
        var waits = new LongAdder();
        long start = System.nanoTime();
        long end = start + 1_000_000_000L;
        try (var workers = Executors.newVirtualThreadPerTaskExecutor()) {
            for (int i = 0; i < 64; i++) {
                workers.submit(() -> {
                    while (System.nanoTime() - end < 0) {
                        long asked = System.nanoTime();
                        try (var _ = pool.borrow(Duration.ofSeconds(10))) {
                            waits.add(System.nanoTime() - asked);
                            Thread.sleep(5);   // the server's time
                        }
                        requests.increment();
                    }
                    return null;
                });
            }
        }
        double seconds = (System.nanoTime() - start) / 1e9;
        IO.println("%4d %,11.0f %,12d %7.1f ms".formatted(size,
                requests.sum() / seconds, size * 200,
                waits.sum() / 1e6 / requests.sum()));
        pool.close();
    }

    private static final class FiveMillis
            implements ConnectionPool.Factory<Object> {
        @Override
        public Object connect() {
            return new Object();
        }

        @Override
        public void destroy(Object connection) {}
    }
}
