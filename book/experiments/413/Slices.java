///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 413: a sleep for each slice, and a token bucket, beside a target of 1 MB/s
//SOURCES ../../../solutions/413-traffic-throttle/Throttle.java

import module java.base;

/** 2 MB in pieces of 1,000 bytes, at 1 MB/s, on the real clock. */
class Slices {

    private static final int PIECES = 2000;

    interface Piece {
        void send() throws Exception;
    }

    void main() throws Exception {
        measure("sleep(1) for each piece", () -> Thread.sleep(1));
        var bucket = new Throttle.Bucket(1_000_000, 100_000,
                Throttle.Timing.system());
        bucket.acquire(100_000);
        measure("acquire(1000) for each piece", () -> bucket.acquire(1000));
    }

    private void measure(String name, Piece piece) throws Exception {
        for (int i = 0; i < 100; i++) {
            piece.send();   // to warm up
        }
        long start = System.nanoTime();
        for (int i = 0; i < PIECES; i++) {
            piece.send();
        }
        double seconds = (System.nanoTime() - start) / 1e9;
        IO.println("%-30s%.2f s, %.2f MB/s".formatted(name, seconds,
                PIECES * 1000 / seconds / 1e6));
    }
}
