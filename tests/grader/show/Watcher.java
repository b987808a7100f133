package grader.show;

import module java.base;

import grader.check.CheckOptions;
import grader.check.Checker;
import grader.check.Submission;
import grader.check.Verdict;
import grader.speed.ContentCache;
import grader.workbook.CannotCheck;
import grader.workbook.Lab;
import grader.workbook.Progress;
import grader.workbook.Workbook;
import org.jline.terminal.Attributes;
import org.jline.terminal.TerminalBuilder;
import org.jline.utils.NonBlockingReader;

/**
 * Checks a lab at every save. File events say when to look, the content says whether anything has changed, and a look
 * twice a second finds what events miss. Between checks the compiler stays warm and the next runner waits.
 */
public final class Watcher {
    private static final Duration LOOK = Duration.ofMillis(500);
    private static final Duration SETTLE = Duration.ofMillis(10);

    private final Workbook book;
    private final Progress progress;
    private final StepTree screen;
    private final BlockingQueue<Event> events = new LinkedBlockingQueue<>();

    private sealed interface Event permits Changed, Key {}

    private record Changed() implements Event {}

    private record Key(int letter) implements Event {}

    public Watcher(Workbook book, boolean times) {
        this.book = book;
        progress = new Progress(book);
        screen = new StepTree(System.out, times);
    }

    /** Until the key {@code q}, Ctrl-C, or nobody reads what is printed any more. */
    public void watch(Lab first) throws IOException, InterruptedException {
        try (var checker = new Checker(book);
             var files = book.root().getFileSystem().newWatchService();
             var keys = Keys.open(events)) {
            Thread.ofVirtual().start(() -> forward(files));
            for (var lab = Optional.of(first); lab.isPresent(); ) {
                Files.createDirectories(lab.get().file().getParent())
                        .register(files, StandardWatchEventKinds.ENTRY_CREATE, StandardWatchEventKinds.ENTRY_MODIFY);
                lab = stayWith(lab.get(), checker, keys.isPresent());
            }
        }
    }

    private void forward(WatchService files) {
        try {
            for (var key = files.take(); ; key = files.take()) {
                key.pollEvents();
                key.reset();
                events.add(new Changed());
            }
        } catch (InterruptedException | ClosedWatchServiceException e) {
            // The watch is over.
        }
    }

    /** Watches one lab until a key asks for another one (the answer) or for the end (empty). */
    private Optional<Lab> stayWith(Lab lab, Checker checker, boolean hasKeys) throws IOException, InterruptedException {
        var seen = "";
        while (!System.out.checkError()) {
            var now = settled(lab);
            if (!now.equals(seen)) {
                seen = now;
                say(() -> check(lab, checker));
                System.out.println(hasKeys ? "  h hint   n next lab   l list   r run again   q quit"
                        : "  waiting for the next save");
                say(() -> checker.prepare(lab));
            }
            switch (events.poll(LOOK.toMillis(), TimeUnit.MILLISECONDS)) {
                case Key(int key) when key == 'q' || key == 3 || key < 0 -> {
                    return Optional.empty();
                }
                case Key(int key) when key == 'n' -> {
                    return Optional.of(next(lab));
                }
                case Key(int key) when key == 'r' -> seen = "";
                case Key(int key) when key == 'h' ->
                        say(() -> System.out.println(NextHint.of(lab, OptionalInt.empty())));
                case Key(int key) when key == 'l' -> say(() -> ProgressList.print(book, System.out));
                case null, default -> { }
            }
        }
        return Optional.empty();
    }

    private void check(Lab lab, Checker checker) throws IOException {
        screen.checking(lab);
        var verdict = checker.check(Submission.own(lab), CheckOptions.LEARNER, screen);
        if (verdict.isAboutSteps()) {
            progress.save(lab, verdict.passedSteps());
        }
    }

    @FunctionalInterface
    private interface Saying {
        void run() throws IOException;
    }

    /** Whatever is wrong with the workbook is told, and the watch goes on. */
    private static void say(Saying saying) {
        try {
            saying.run();
        } catch (IOException | CannotCheck e) {
            System.out.println("  " + CannotCheck.sentence(e));
        }
    }

    private Lab next(Lab lab) throws IOException {
        var labs = book.labs();
        return labs.get((labs.indexOf(lab) + 1) % labs.size());
    }

    /** An editor may write in two strokes, or move a new file into place: wait until two looks agree. */
    private static String settled(Lab lab) throws InterruptedException {
        for (var last = look(lab); ; ) {
            Thread.sleep(SETTLE);
            var next = look(lab);
            if (next.equals(last)) {
                return next;
            }
            last = next;
        }
    }

    private static String look(Lab lab) {
        try {
            return Files.size(lab.file()) + " " + ContentCache.hash(List.of(lab.file()));
        } catch (IOException e) {
            return "not there, or not to be read";
        }
    }

    /** Single keys, where somebody sits at a terminal. */
    private record Keys(org.jline.terminal.Terminal terminal, Attributes before, boolean isPresent)
            implements AutoCloseable {
        static Keys open(BlockingQueue<Event> events) throws IOException {
            if (!TerminalStyle.ofTerminal().live()) {
                return new Keys(null, null, false);
            }
            var terminal = TerminalBuilder.builder().system(true).build();
            var keys = new Keys(terminal, terminal.enterRawMode(), true);
            Thread.ofPlatform().daemon().start(() -> keys.read(terminal.reader(), events));
            return keys;
        }

        private void read(NonBlockingReader reader, BlockingQueue<Event> events) {
            try {
                for (int key = reader.read(); key != NonBlockingReader.EOF; key = reader.read()) {
                    events.add(new Key(key));
                }
            } catch (IOException e) {
                // The terminal is gone: so is whoever would press a key.
            }
            events.add(new Key(-1));
        }

        @Override
        public void close() throws IOException {
            if (isPresent) {
                terminal.setAttributes(before);
                terminal.close();
            }
        }
    }
}
