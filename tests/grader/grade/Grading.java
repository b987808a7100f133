package grader.grade;

import module java.base;

import grader.box.Box;
import grader.check.CheckListener;
import grader.check.CheckOptions;
import grader.check.Checker;
import grader.check.TrustedFiles;
import grader.grade.ClassResult.LabResult;
import grader.grade.ClassResult.Student;
import grader.speed.ContentCache;
import grader.workbook.CannotCheck;
import grader.workbook.Lab;
import grader.workbook.Workbook;

/**
 * Grades submissions, several at a time, each lab as {@code jbang test --all} checks it. What cannot be graded for a
 * reason that is not the student's is ungraded, and is tried again the next time.
 */
public final class Grading {
    /**
     * How to grade.
     *
     * @param coreOnly whether the further steps are left out
     * @param limit    how long one lab of one submission may take
     * @param jobs     how many are graded at a time
     * @param reports  the folder that keeps what was graded
     */
    public record Options(Box box, boolean coreOnly, Weights weights, Optional<Path> privateTests, Duration limit,
                          int jobs, Path reports) {}

    /** One lab of one student, which a worker may have to grade. */
    private record Task(HandedIn student, MarkedLab lab, CompletableFuture<LabResult> result) {
        HandedIn.LabFile file() {
            return student.files().get(lab.lab());
        }

        void end(LabResult found) {
            result.complete(file() == null ? found : found.at(file().path()));
        }
    }

    private static final String REMEMBERED = ".graded";

    private final Workbook book;
    private final Options options;
    private final GradeListener listener;
    private final Remembered remembered;
    private TrustedFiles trusted = TrustedFiles.of(List.of());
    private volatile Optional<String> abandoned = Optional.empty();

    public Grading(Workbook book, Options options, GradeListener listener) {
        this.book = book;
        this.options = options;
        this.listener = listener;
        remembered = new Remembered(options.reports().resolve(REMEMBERED));
    }

    /** Why grading ended before all was graded, or empty. */
    public Optional<String> abandoned() {
        return abandoned;
    }

    /** @param students in the order of the result */
    public ClassResult grade(List<HandedIn> students, List<Lab> labs) throws IOException, InterruptedException {
        var began = Instant.now();
        var marked = marked(labs);
        var tasks = students.stream().map(student -> marked.stream()
                .map(lab -> new Task(student, lab, new CompletableFuture<>())).toList()).toList();
        var open = new LinkedHashMap<String, List<Task>>();
        for (var task : tasks.stream().flatMap(List::stream).toList()) {
            prepare(task, open);
        }
        listener.began(students.size(), open.values().stream().mapToInt(List::size).sum());
        run(open);
        var results = tasks.stream().map(Grading::student).toList();
        return new ClassResult(ContentCache.hash(marked.stream().map(MarkedLab::digest).toList()), began,
                marked.stream().map(MarkedLab::result).toList(), results);
    }

    private static Student student(List<Task> labs) {
        var student = labs.getFirst().student();
        return new Student(student.name(), student.path(), student.notes(),
                labs.stream().map(task -> task.result().join()).toList());
    }

    /** Compiles the tests of all labs, and sees how they look, before a program of a student's runs. */
    private List<MarkedLab> marked(List<Lab> labs) throws IOException {
        var marked = new ArrayList<MarkedLab>();
        try (var checker = checker()) {
            for (var lab : labs) {
                var plan = checker.plan(lab);
                var digest = ContentCache.hash(List.of(plan.digest(), isBoxed(), options.coreOnly(), options.limit()));
                marked.add(MarkedLab.of(plan, options.coreOnly(), options.weights(), digest));
                trusted = trusted.and(plan.trustedFiles());
            }
        }
        return marked;
    }

    private Checker checker() {
        return new Checker(book, options.box(), options.privateTests());
    }

    private boolean isBoxed() {
        return options.box() != Box.DETACHED;
    }

    /** Known results are read now: nothing that a program of a student's leaves in their place is taken for one. */
    private void prepare(Task task, Map<String, List<Task>> open) throws IOException {
        if (task.student().error().isPresent()) {
            task.end(task.lab().ungraded(task.student().error().get(), ""));
        } else if (task.file() == null) {
            task.end(task.lab().missing());
        } else {
            var file = task.file().submission();
            var digest = ContentCache.hash(List.of(task.lab().digest(), file.text(), file.refusal().orElse("")));
            remembered.find(digest).ifPresentOrElse(task::end,
                    () -> open.computeIfAbsent(digest, key -> new ArrayList<>()).add(task));
        }
    }

    /**
     * The same file of several students is graded once. Platform threads: a runner ends when the thread that started it
     * ends.
     */
    private void run(Map<String, List<Task>> open) throws InterruptedException {
        var queue = new ConcurrentLinkedQueue<>(open.keySet());
        var workers = IntStream.range(0, Math.min(options.jobs(), open.size())).mapToObj(number ->
                Thread.ofPlatform().name("grading-" + number).start(() -> work(queue, open))).toList();
        for (var worker : workers) {
            worker.join();
        }
    }

    private void work(Queue<String> queue, Map<String, List<Task>> open) {
        try (var checker = checker()) {
            for (var digest = queue.poll(); digest != null; digest = queue.poll()) {
                var tasks = open.get(digest);
                var result = result(tasks.getFirst(), digest, checker);
                for (var task : tasks) {
                    task.end(result);
                    listener.labEnded(task.student().name(), result);
                }
            }
        } catch (IOException e) {
            // Only closing the compiler can fail, when everything is done.
        }
    }

    private LabResult result(Task task, String digest, Checker checker) {
        var lab = task.lab();
        var file = task.file().submission();
        try {
            listener.labBegan(task.student().name(), lab.lab().number());
            var how = CheckOptions.MARKS.ofSteps(1, lab.lastStep()).withWallClock(options.limit());
            insistOnTrustedFiles();
            var result = lab.of(checker.check(file, how, new CheckListener() {}), digest);
            insistOnTrustedFiles();
            remembered.keep(result);
            return result;
        } catch (IOException | RuntimeException | Error e) {
            return lab.ungraded(abandoned.orElse(CannotCheck.sentence(e)), file.text());
        }
    }

    /** Without a box a program may write to the tests: then none that ran meanwhile has a result. */
    private void insistOnTrustedFiles() {
        if (!isBoxed() && abandoned.isEmpty()) {
            var changed = trusted.changed();
            if (!changed.isEmpty()) {
                abandoned = Optional.of("files that the verdicts rest on have changed meanwhile, for example "
                        + book.shown(changed.getFirst()));
            }
        }
        if (abandoned.isPresent()) {
            throw new CannotCheck(abandoned.get());
        }
    }
}
