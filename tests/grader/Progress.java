package grader;

import module java.base;

/**
 * What was last seen of each lab, kept in {@code progress.properties}: JSON would be a tenth of a check, for its classes alone.
 * It is never a reason to fail.
 */
final class Progress {
    /**
     * @param passed numbers of the passed steps
     * @param hints  how many hints of a step were shown, by the step's number
     */
    record Entry(Set<Integer> passed, Map<Integer, Integer> hints) {
        static final Entry NONE = new Entry(Set.of(), Map.of());

        /** {@code passed 1 2 3 hints 4 2}: hints come in pairs, a step and how many. */
        private static Entry of(String text) {
            var passed = new TreeSet<Integer>();
            var hints = new TreeMap<Integer, Integer>();
            var words = new ArrayDeque<>(List.of(text.split(" ")));
            for (words.remove(); !words.peek().equals("hints"); ) {
                passed.add(Integer.valueOf(words.remove()));
            }
            for (words.remove(); !words.isEmpty(); ) {
                hints.put(Integer.valueOf(words.remove()), Integer.valueOf(words.remove()));
            }
            return new Entry(passed, hints);
        }

        private String text() {
            var text = new StringJoiner(" ").add("passed");
            passed.forEach(step -> text.add(step.toString()));
            text.add("hints");
            hints.forEach((step, shown) -> text.add(step.toString()).add(shown.toString()));
            return text.toString();
        }
    }

    private final Path file;

    Progress(Workbook book) {
        file = book.state().resolve("progress.properties");
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
        all.put(lab.slug(), change.apply(all.getOrDefault(lab.slug(), Entry.NONE)));
        var text = new Properties();
        all.forEach((slug, entry) -> text.setProperty(slug, entry.text()));
        try {
            Files.createDirectories(file.getParent());
            var fresh = Files.createTempFile(file.getParent(), ".progress", "");
            try (var out = Files.newBufferedWriter(fresh)) {
                text.store(out, null);
            }
            Files.move(fresh, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException e) {
            System.err.println("progress could not be saved in " + file + ": " + e.getMessage());
        }
    }

    private Map<String, Entry> read() {
        var all = new TreeMap<String, Entry>();
        var text = new Properties();
        try (var in = Files.newBufferedReader(file)) {
            text.load(in);
            text.forEach((slug, entry) -> all.put(slug.toString(), Entry.of(entry.toString())));
            return all;
        } catch (NoSuchFileException e) {
            return all;
        } catch (RuntimeException | CharacterCodingException e) {
            setAside();
        } catch (IOException e) {
            System.err.println("progress could not be read from " + file + ": " + e.getMessage());
        }
        return new TreeMap<>();
    }

    private void setAside() {
        var aside = file.resolveSibling(file.getFileName() + ".damaged");
        try {
            Files.move(file, aside, StandardCopyOption.REPLACE_EXISTING);
            System.err.println(file.getFileName() + " was damaged: it is now " + aside + ", and progress starts anew");
        } catch (IOException e) {
            System.err.println(file.getFileName() + " is damaged: delete " + file);
        }
    }
}
