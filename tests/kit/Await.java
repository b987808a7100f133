package kit;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BooleanSupplier;

/** Waits for what other threads do, each time for {@link Patience} at most. {@code what} reads on after "expected". */
public final class Await {

    private Await() {}

    /** Until the condition holds, looked at every millisecond. */
    public static void until(BooleanSupplier condition, String what, String likely) throws InterruptedException {
        long start = System.nanoTime();
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() - start > Patience.duration().toNanos()) {
                throw ranOut(what, likely);
            }
            Thread.sleep(1);
        }
    }

    /** Until the latch is open. */
    public static void open(CountDownLatch latch, String what, String likely) throws InterruptedException {
        if (!latch.await(Patience.millis(), TimeUnit.MILLISECONDS)) {
            throw ranOut(what, likely);
        }
    }

    /** Until the value is there. */
    public static <T> T value(Future<T> future, String what, String likely) throws InterruptedException {
        try {
            return future.get(Patience.millis(), TimeUnit.MILLISECONDS);
        } catch (TimeoutException e) {
            throw ranOut(what, likely);
        } catch (ExecutionException e) {
            Todo.passOn(e.getCause());
            throw History.fail("expected " + what + ", got " + e.getCause(), likely);
        }
    }

    /** Until the thread has ended. */
    public static void end(Thread thread, String what, String likely) throws InterruptedException {
        if (!thread.join(Patience.duration())) {
            throw ranOut(what, likely);
        }
    }

    private static AssertionError ranOut(String what, String likely) {
        return ranOut(RunningTest.current().map(run -> run.history).orElseGet(History::new), what, likely);
    }

    static AssertionError ranOut(History history, String what, String likely) {
        var failure = history.failure("expected " + what + " within " + Patience.text() + ", but it did not happen",
                likely);
        Patience.ranOut();
        return failure;
    }
}
