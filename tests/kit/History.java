package kit;

import java.util.ArrayList;
import java.util.List;

/** What was done and seen in a test, so that its failure can tell the story. */
public final class History {

    private static final int FIRST = 6;
    private static final int LAST = 8;

    private final List<String> lines = new ArrayList<>();   // guarded by this

    History() {}

    /** Adds a line to the history of the running test. */
    public static void note(String line) {
        RunningTest.current().ifPresent(run -> run.history.add(line));
    }

    /**
     * The failure of the running test: history, what was expected, what mistake usually causes it.
     *
     * @param expected a sentence that begins with "expected"
     * @param likely   may be empty
     */
    public static AssertionError fail(String expected, String likely) {
        return RunningTest.current().map(run -> run.history).orElseGet(History::new).failure(expected, likely);
    }

    synchronized AssertionError failure(String expected, String likely) {
        var story = new StringBuilder();
        for (int i = 0; i < lines.size(); i++) {
            if (i < FIRST || i >= lines.size() - LAST) {
                story.append("%3d. %s%n".formatted(i + 1, lines.get(i)));
            } else if (i == FIRST) {
                story.append("     ...%n".formatted());
            }
        }
        story.append(expected);
        if (!likely.isEmpty()) {
            story.append("%nlikely: %s".formatted(likely));
        }
        return new AssertionError(story.toString());
    }

    private synchronized void add(String line) {
        lines.add(line);
    }
}
