///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION What becomes of those who wait when newcomers may pass them?

import module java.base;

/** 64 workers, 4 permits, a millisecond of work for each. */
public class Barging {

    public static void main(String[] args) throws Exception {
        IO.println("              median     99 of 100     longest");
        for (var semaphore : List.of(new Semaphore(4, true),
                new Semaphore(4, false))) {
            var waits = new ConcurrentLinkedQueue<Long>();
            long end = System.nanoTime() + 3_000_000_000L;
            try (var workers = Executors.newVirtualThreadPerTaskExecutor()) {
                for (int i = 0; i < 64; i++) {
                    workers.submit(() -> {
                        while (System.nanoTime() - end < 0) {
                            long asked = System.nanoTime();
                            semaphore.acquire();
                            waits.add(System.nanoTime() - asked);
                            Thread.sleep(1);
                            semaphore.release();
                        }
                        return null;
                    });
                }
            }
            var sorted = waits.stream().sorted().toList();
            int size = sorted.size();
            IO.println("%-10s %6.1f ms %10.1f ms %8.1f ms".formatted(
                    semaphore.isFair() ? "in turn" : "barging",
                    sorted.get(size / 2) / 1e6,
                    sorted.get(size * 99 / 100) / 1e6,
                    sorted.getLast() / 1e6));
        }
    }
}
