package grader.workbook;

import module java.base;

/**
 * What was last seen of each lab, and the best that was ever seen, kept in {@code progress.properties}: JSON would be a
 * tenth of a check, for its classes alone. It is never a reason to fail.
 */
public final class Progress {
    /**
     * @param passed the steps that passed in the last check that ran any test
     * @param best   how many steps passed at once in the best check so far
     * @param hints  how many hints of a step were shown, by the step's number
     */
    public record Entry(Set<Integer> passed, int best, Map<Integer, Integer> hints) {
        static final Entry NONE = new Entry(Set.of(), 0, Map.of());

        /**
         * {@code passed 1 2 best 3 hints 4 2}: hints come in pairs, a step and how many. The best is missing in old
         * files.
         */
        private static Entry of(String text) {
            var words = new ArrayDeque<>(List.of(text.split(" ")));
            var passed = new TreeSet<Integer>();
            var hints = new TreeMap<Integer, Integer>();
            expect("passed", words);
            while (Character.isDigit(words.peek().charAt(0))) {
                passed.add(Integer.valueOf(words.remove()));
            }
            int best = passed.size();
            if (words.peek().equals("best")) {
                words.remove();
                best = Integer.parseInt(words.remove());
            }
            for (expect("hints", words); !words.isEmpty(); ) {
                hints.put(Integer.valueOf(words.remove()), Integer.valueOf(words.remove()));
            }
            return new Entry(passed, best, hints);
        }

        private static void expect(String word, Deque<String> words) {
            if (!words.remove().equals(word)) {
                throw new IllegalArgumentException("no «" + word + "»");
            }
        }

        private String text() {
            var text = new StringJoiner(" ").add("passed");
            passed.forEach(step -> text.add(step.toString()));
            text.add("best").add(Integer.toString(best)).add("hints");
            hints.forEach((step, shown) -> text.add(step.toString()).add(shown.toString()));
            return text.toString();
        }
    }

    private final Path file;

    public Progress(Workbook book) {
        file = book.state().resolve("progress.properties");
    }

    public Entry of(Lab lab) {
        return read().getOrDefault(lab.slug(), Entry.NONE);
    }

    /** To be called when tests have run: a file that did not compile says nothing about what was reached before. */
    public void save(Lab lab, Set<Integer> passed) {
        update(lab, entry -> new Entry(passed, Math.max(entry.best(), passed.size()), entry.hints()));
    }

    public void hintShown(Lab lab, int step, int hint) {
        update(lab, entry -> {
            var hints = new TreeMap<>(entry.hints());
            hints.put(step, hint);
            return new Entry(entry.passed(), entry.best(), hints);
        });
    }

    public void forget(Lab lab) {
        update(lab, entry -> Entry.NONE);
    }

    private void update(Lab lab, UnaryOperator<Entry> change) {
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
            System.err.println("progress could not be saved: " + CannotCheck.sentence(e));
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
            System.err.println("progress could not be read: " + CannotCheck.sentence(e));
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
