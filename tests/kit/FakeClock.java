package kit;

import java.time.Duration;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;

/** A clock like {@code System.nanoTime()} that moves only when the test says so. Thread-safe. */
public final class FakeClock implements LongSupplier {

    private final AtomicLong now = new AtomicLong(4_010_000_000L);   // from anywhere, as nanoTime

    @Override
    public long getAsLong() {
        return now.get();
    }

    /** Lets this much time pass at once. */
    public void advance(Duration time) {
        now.addAndGet(time.toNanos());
    }
}
