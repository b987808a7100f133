package kit;

import java.lang.Thread.UncaughtExceptionHandler;
import java.lang.reflect.Method;
import java.util.function.Function;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.InvocationInterceptor;
import org.junit.jupiter.api.extension.ReflectiveInvocationContext;
import org.opentest4j.TestAbortedException;

/**
 * Watches the threads of the lab. One that dies ends the test at once and is its failure, so that nobody waits for an
 * answer that will not come. The TODO of a later step is no such death: the tests of a step are about that step. A
 * thread that outlives its test is nobody's business any more: it neither prints nor fails another test.
 */
public final class TestLifecycle implements InvocationInterceptor {

    private static final UncaughtExceptionHandler BEFORE = Thread.getDefaultUncaughtExceptionHandler();

    static {
        Thread.setDefaultUncaughtExceptionHandler(TestLifecycle::died);   // for good: threads may outlive their test
    }

    private static void died(Thread thread, Throwable failure) {
        var run = RunningTest.current();   // that of the dying thread, which is the one that calls
        if (run.isPresent()) {
            if (Todo.step(failure) <= run.get().step) {
                run.get().died(failure);
            }
        } else if (BEFORE != null) {
            BEFORE.uncaughtException(thread, failure);
        }
    }

    /** Closed when the test ends, or as soon as a thread of the lab dies. */
    public static <T extends AutoCloseable> T closeLater(T resource) {
        running().closeLater(resource);
        return resource;
    }

    /**
     * The same.
     *
     * @param account what the resource says of itself, to be shown where something is left when it is closed
     */
    public static <T extends AutoCloseable> T closeLater(T resource, Function<T, String> account) {
        running().account(() -> account.apply(resource));
        return closeLater(resource);
    }

    private static RunningTest running() {
        return RunningTest.current().orElseThrow(() -> new IllegalStateException("no test of a @Lab runs here"));
    }

    @Override
    public void interceptTestMethod(Invocation<Void> invocation, ReflectiveInvocationContext<Method> method,
                                    ExtensionContext context) throws Throwable {
        var step = context.getRequiredTestClass().getAnnotation(Step.class);
        Patience.beginStep(step.value());
        var run = RunningTest.begin(step);
        Throwable failure = null;
        try {
            invocation.proceed();
        } catch (Throwable thrown) {
            failure = thrown;
        }
        var death = run.end();
        try {
            close(run);
        } catch (Throwable thrown) {
            failure = failure == null ? thrown : failure;
        }
        if (death.isPresent()) {
            throw Todo.step(death.get()) > 0 ? death.get()
                    : wrapped(run, death.get(), "every thread to live on, one died of ", run.usualDeath);
        } else if (failure != null) {
            throw verdict(run, failure);
        }
    }

    /** On a thread of its own: the close of a lab may hang, and then that is what has to be said. */
    private static void close(RunningTest run) throws Throwable {
        var failure = new Throwable[1];
        var closer = Thread.ofVirtual().name("kit-close").start(() -> {
            try {
                run.closeAll();
            } catch (Throwable thrown) {
                failure[0] = thrown;
            }
        });
        if (!closer.join(Patience.duration())) {
            closer.interrupt();
            throw Await.ranOut(run.history, "that close() returns",
                    "close() waits for something that does not come: a thread that nobody wakes, or itself");
        }
        if (failure[0] != null) {
            throw failure[0];
        }
    }

    /** A TODO, an assertion and an assumption speak for themselves; any other exception gets the history. */
    private static Throwable verdict(RunningTest run, Throwable failure) {
        boolean speaks = Todo.step(failure) > 0 || failure instanceof AssertionError
                || failure instanceof TestAbortedException || failure instanceof VirtualMachineError;
        return speaks ? failure : wrapped(run, failure, "no exception, got ", "");
    }

    /** With the stack of the cause, where the place in the lab's file is to be found. */
    private static AssertionError wrapped(RunningTest run, Throwable failure, String expected, String likely) {
        var error = run.history.failure("expected " + expected + failure, likely);
        error.initCause(failure);
        error.setStackTrace(failure.getStackTrace());
        return error;
    }
}
