package kit;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * One test while it runs. The threads that it starts belong to it, and so do the threads they start: that is how a
 * death, or a line of the history, finds the test it happened in.
 */
final class RunningTest {

    private static final InheritableThreadLocal<RunningTest> CURRENT = new InheritableThreadLocal<>();

    final int step;
    final String usualLeak;
    final String usualDeath;
    final History history = new History();
    private final Thread thread = Thread.currentThread();
    private final Deque<AutoCloseable> toClose = new ArrayDeque<>();   // guarded by this
    private final List<Supplier<String>> accounts = new ArrayList<>(); // guarded by this
    private Throwable death;                                           // guarded by this
    private boolean over;                                              // guarded by this

    private RunningTest(Step step) {
        this.step = step.value();
        usualLeak = step.leak();
        usualDeath = step.death();
    }

    static RunningTest begin(Step step) {
        var run = new RunningTest(step);
        CURRENT.set(run);
        return run;
    }

    /** The test that the calling thread belongs to. */
    static Optional<RunningTest> current() {
        return Optional.ofNullable(CURRENT.get());
    }

    /** A thread of this test has died: the first death ends the test, unless it is over already. */
    synchronized void died(Throwable failure) {
        if (over || death != null) {
            return;
        }
        death = failure;
        thread.interrupt();
        closeSoon();   // so that nobody stays blocked in a read that no interrupt ends
    }

    synchronized void closeLater(AutoCloseable resource) {
        toClose.push(resource);
        if (death != null) {
            closeSoon();
        }
    }

    synchronized void account(Supplier<String> account) {
        accounts.add(account);
    }

    /** What the lab itself says about what it has open, a line each. */
    synchronized List<String> accounts() {
        return accounts.stream().map(Supplier::get).toList();
    }

    /** Not on the dying thread, which the close may wait for. */
    private void closeSoon() {
        Thread.ofVirtual().name("kit-close").start(() -> {
            try {
                closeAll();
            } catch (Exception e) {
                // The test has its verdict already.
            }
        });
    }

    /** Closes what {@link #closeLater} was given, last one first, without a lock: it may wait for dying threads. */
    void closeAll() throws Exception {
        for (var next = next(); next.isPresent(); next = next()) {
            next.get().close();
        }
    }

    private synchronized Optional<AutoCloseable> next() {
        return Optional.ofNullable(toClose.poll());
    }

    synchronized Optional<Throwable> end() {
        over = true;
        Thread.interrupted();   // whoever interrupted this test meant nobody else
        return Optional.ofNullable(death);
    }

    synchronized Optional<Throwable> death() {
        return Optional.ofNullable(death);
    }
}
