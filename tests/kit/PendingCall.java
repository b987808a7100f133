package kit;

import java.util.EnumSet;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;

/** A call on a thread of its own, which may wait, and shows when it does. */
public final class PendingCall<T> {

    private static final Set<Thread.State> WAITS = EnumSet.of(Thread.State.WAITING, Thread.State.TIMED_WAITING);

    private final CompletableFuture<T> outcome = new CompletableFuture<>();
    private final Thread thread;

    private PendingCall(Thread.Builder builder, Callable<T> code) {
        thread = builder.start(() -> {
            try {
                outcome.complete(code.call());
            } catch (Throwable e) {
                outcome.completeExceptionally(e);
            }
        });
    }

    /** On a virtual thread, of which can be seen whether it waits, in a read as well. */
    public static <T> PendingCall<T> start(Callable<T> code) {
        return new PendingCall<>(Thread.ofVirtual(), code);
    }

    /** On a platform thread, which an interrupt wakes in other places. */
    public static <T> PendingCall<T> startOnPlatformThread(Callable<T> code) {
        return new PendingCall<>(Thread.ofPlatform(), code);
    }

    /** What the call returns or throws. */
    public CompletableFuture<T> outcome() {
        return outcome;
    }

    /** Where the call runs. */
    public Thread thread() {
        return thread;
    }

    /** Until the call waits for something, or has ended. For calls on virtual threads. */
    public void awaitWaiting() throws InterruptedException {
        Await.until(() -> outcome.isDone() || WAITS.contains(thread.getState()), "that the call waits", "");
    }
}
