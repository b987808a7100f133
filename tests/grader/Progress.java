package grader;

import module java.base;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.databind.ObjectMapper;

/** What was last seen of each lab, kept in {@code progress.json}. It is never a reason to fail. */
final class Progress {
    /**
     * @param passed numbers of the passed steps
     * @param hints  how many hints of a step were shown, by the step's number
     */
    record Entry(Set<Integer> passed, Map<Integer, Integer> hints) {
        static final Entry NONE = new Entry(Set.of(), Map.of());
    }

    /** By slug; a class of its own, so that JSON knows the types inside. */
    static final class Entries extends TreeMap<String, Entry> {
        private static final long serialVersionUID = 1;
    }

    private static final ObjectMapper JSON = new ObjectMapper();

    private final Path file;

    Progress(Workbook book) {
        file = book.state().resolve("progress.json");
    }

    Entry of(Workbook.Lab lab) {
        return read().getOrDefault(lab.slug(), Entry.NONE);
    }

    void save(Verdict verdict) {
        var passed = verdict.steps().stream().filter(Verdict.StepResult::passed).map(step -> step.step().number()).collect(Collectors.toCollection(TreeSet::new));
        update(verdict.lab().lab(), entry -> new Entry(passed, entry.hints()));
    }

    void hintShown(Workbook.Lab lab, int step, int hint) {
        update(lab, entry -> {
            var hints = new TreeMap<>(entry.hints());
            hints.put(step, hint);
            return new Entry(entry.passed(), hints);
        });
    }

    void forget(Workbook.Lab lab) {
        update(lab, entry -> Entry.NONE);
    }

    private void update(Workbook.Lab lab, UnaryOperator<Entry> change) {
        var all = read();
        all.merge(lab.slug(), change.apply(all.getOrDefault(lab.slug(), Entry.NONE)), (before, now) -> now);
        try {
            Files.createDirectories(file.getParent());
            var fresh = Files.createTempFile(file.getParent(), ".progress", "");
            JSON.writeValue(fresh.toFile(), all);
            Files.move(fresh, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException e) {
            System.err.println("progress could not be saved in " + file + ": " + e.getMessage());
        }
    }

    private Entries read() {
        try {
            return Files.exists(file) ? JSON.readValue(file.toFile(), Entries.class) : new Entries();
        } catch (JacksonException e) {
            return setAside();
        } catch (IOException e) {
            System.err.println("progress could not be read from " + file + ": " + e.getMessage());
            return new Entries();
        }
    }

    private Entries setAside() {
        var aside = file.resolveSibling("progress.json.damaged");
        try {
            Files.move(file, aside, StandardCopyOption.REPLACE_EXISTING);
            System.err.println("progress.json was damaged: it is now " + aside + ", and progress starts anew");
        } catch (IOException e) {
            System.err.println("progress.json is damaged: delete " + file);
        }
        return new Entries();
    }
}
