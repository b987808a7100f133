package verify;

import module java.base;

import grader.runner.FailureText;
import grader.workbook.Workbook;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.TestExecutionResult.Status;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;

/** A line a test, the failures in full, and one line that counts. */
public final class ConsoleReport implements TestExecutionListener, AutoCloseable {
    private final long began = System.nanoTime();
    private final Map<String, Long> starts = new ConcurrentHashMap<>();
    private final Map<String, String> titles = new ConcurrentHashMap<>();
    private final List<String> failures = new ArrayList<>();   // guarded by this
    private int passed;                                        // guarded by this
    private int skipped;                                       // guarded by this

    @Override
    public void executionStarted(TestIdentifier test) {
        starts.put(test.getUniqueId(), System.nanoTime());
        titles.put(test.getUniqueId(), title(test));
    }

    @Override
    public synchronized void executionSkipped(TestIdentifier test, String reason) {
        skip(test, reason);
    }

    @Override
    public synchronized void executionFinished(TestIdentifier test, TestExecutionResult result) {
        var seconds = (System.nanoTime() - starts.get(test.getUniqueId())) / 1e9;
        if (result.getStatus() == Status.ABORTED) {
            skip(test, FailureText.message(result.getThrowable().orElse(null)));
        } else if (result.getStatus() == Status.FAILED) {
            var failure = result.getThrowable().orElseThrow();
            failures.add(place(test));
            System.out.printf("  FAILED   %s  (%.1f s)%n%s%n", place(test), seconds,
                    words(failure).indent(11).stripTrailing());
        } else if (test.isTest()) {
            passed++;
            System.out.printf("  passed   %s  (%.1f s)%n", place(test), seconds);
        }
    }

    private void skip(TestIdentifier test, String reason) {
        if (Workbook.requiresAll()) {
            failures.add(place(test));
            System.out.printf("  FAILED   %s: skipped, though WORKBOOK_REQUIRE=all (%s)%n", place(test), reason);
        } else {
            skipped++;
            System.out.printf("  skipped  %s (%s)%n", place(test), reason);
        }
    }

    /** The lab or the class, then the test: two run at once, so a headline would not tell. */
    private String place(TestIdentifier test) {
        return test.getParentId().map(titles::get).map(parent -> parent + ": ").orElse("") + title(test);
    }

    private static String title(TestIdentifier test) {
        return test.getDisplayName().replace("()", "").replace('_', ' ');
    }

    /** An assertion says all in its message; anything else is a fault of ours, and its trace is wanted. */
    private static String words(Throwable failure) {
        if (failure instanceof AssertionError && failure.getMessage() != null) {
            return failure.getMessage();
        }
        var trace = new StringWriter();
        failure.printStackTrace(new PrintWriter(trace));
        return trace.toString();
    }

    synchronized int failed() {
        return failures.size();
    }

    @Override
    public synchronized void close() {
        System.out.printf("in %.0f s%n", (System.nanoTime() - began) / 1e9);
        failures.forEach(each -> System.out.println("failed: " + each));
        System.out.printf("%d passed, %d failed, %d skipped%n", passed, failures.size(), skipped);
    }
}
