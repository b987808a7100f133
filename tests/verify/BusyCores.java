package verify;

import module java.base;

/** Keeps cores busy, so that tests which lean on a quiet machine give themselves away. */
public final class BusyCores implements AutoCloseable {
    private final AtomicBoolean over = new AtomicBoolean();
    private final AtomicLong turns = new AtomicLong();

    public BusyCores(int cores) {
        for (int i = 0; i < cores; i++) {
            Thread.ofPlatform().daemon().name("load").start(this::turn);
        }
    }

    private void turn() {
        while (!over.get()) {
            turns.lazySet(turns.getPlain() + 1);
        }
    }

    @Override
    public void close() {
        over.set(true);
    }
}
