package kit;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * A clock whose sleeps the test owns. Made {@link #byHand}, it moves only when the test says so, and whoever sleeps
 * wakes when it has come far enough. Made {@link #jumping}, it is moved by the sleeps themselves, which take no real
 * time. The two methods of a lab's own {@code Timing} call the two of the same names here. Thread-safe.
 */
public final class FakeTiming {

    private static final long START = -402_000_000_000L;   // from anywhere, as nanoTime

    private final boolean jumps;
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition moved = lock.newCondition();
    private final List<Long> sleepers = new ArrayList<>();   // when each wakes; guarded by lock
    private long now = START;                                // guarded by lock
    private long sleeps;                                     // guarded by lock
    private long lateSleeps;                                 // guarded by lock

    private FakeTiming(boolean jumps) {
        this.jumps = jumps;
    }

    /** Moves when {@link #advance} is called, and not by itself. */
    public static FakeTiming byHand() {
        return new FakeTiming(false);
    }

    /** Moves to the end of each sleep as soon as the sleep begins: for code that one thread runs. */
    public static FakeTiming jumping() {
        return new FakeTiming(true);
    }

    public long nanoTime() {
        lock.lock();
        try {
            return now;
        } finally {
            lock.unlock();
        }
    }

    /** Returns when the clock has come so far; at once, if it has. */
    public void sleepUntil(long nanoTime) throws InterruptedException {
        lock.lockInterruptibly();
        Long wake = nanoTime;
        try {
            sleeps++;
            if (nanoTime - now <= 0) {
                lateSleeps++;
            } else if (jumps) {
                now = nanoTime;
            }
            sleepers.add(wake);
            while (nanoTime - now > 0) {
                moved.await();
            }
        } finally {
            sleepers.remove(wake);
            lock.unlock();
        }
    }

    /** Lets this much time pass at once, and wakes who has slept enough. */
    public void advance(Duration time) {
        lock.lock();
        try {
            now += time.toNanos();
            moved.signalAll();
        } finally {
            lock.unlock();
        }
    }

    /** How much time has passed on this clock. */
    public Duration elapsed() {
        return Duration.ofNanos(nanoTime() - START);
    }

    /** How many threads sleep now, those not counted that have slept enough and only wait for a processor. */
    public int sleepers() {
        lock.lock();
        try {
            return (int) sleepers.stream().filter(wake -> wake - now > 0).count();
        } finally {
            lock.unlock();
        }
    }

    /**
     * Until so many threads sleep; after {@link #advance}, until those it woke have done their work and sleep again.
     */
    public void awaitSleepers(int count, String likely) throws InterruptedException {
        Await.until(() -> sleepers() >= count, count == 1 ? "a thread that sleeps on the clock it was given"
                : count + " threads that sleep on the clock they were given", likely);
    }

    /** Calls of {@link #sleepUntil} so far. */
    public long sleeps() {
        lock.lock();
        try {
            return sleeps;
        } finally {
            lock.unlock();
        }
    }

    /** Calls of {@link #sleepUntil} for a time that had come already, so that nobody slept. */
    public long lateSleeps() {
        lock.lock();
        try {
            return lateSleeps;
        } finally {
            lock.unlock();
        }
    }
}
