package grader.check;

import module java.base;

import grader.check.Verdict.Expected;
import grader.compile.Javac;
import grader.compile.Libraries;
import grader.compile.SourceText;
import grader.runner.RunnerProcess;
import grader.speed.ContentCache;
import grader.speed.Jvm;
import grader.workbook.CannotCheck;
import grader.workbook.Curriculum;
import grader.workbook.Folders;
import grader.workbook.Lab;

/**
 * A lab's tests, ready to run. They are compiled against the pristine skeleton, apart from the learner's file: a class
 * of the learner's named {@code Assertions} can shadow nothing, and what must be reported is known before the learner's
 * code runs.
 *
 * @param folder     holds {@code kit}, {@code classes} and the {@code pristine} skeleton, compiled, and the plan
 * @param libraries  what the learner's file is compiled with
 * @param jvmOptions what the lab and its tests ask of the Java machine
 */
public record TestPlan(Lab lab, String title, List<Step> steps, List<Expected> tests, Path folder,
                       List<Path> libraries, List<String> jvmOptions) {
    public record Step(int number, String title, boolean further) {}

    private static final Pattern OPTIONS = Pattern.compile("^//(?:RUNTIME|JAVA)_OPTIONS (.*)$", Pattern.MULTILINE);
    private static final String LAYOUT = "2";   // to be counted up with each change of what a folder holds
    private static final String PLAN = "plan";
    private static final String LOOK = "look";

    public List<Expected> of(Step step) {
        return tests.stream().filter(test -> test.step() == step.number()).toList();
    }

    /** Kit, tests, and the classes that they test. */
    List<Path> classesWith(Path tested) {
        return List.of(folder.resolve("kit"), folder.resolve("classes"), tested);
    }

    /** The ids of the tests that have a condition. */
    List<String> conditional() {
        return tests.stream().filter(Expected::mayBeSkipped).map(Expected::id).toList();
    }

    /** The skeleton, compiled. */
    Path pristine() {
        return folder.resolve("pristine");
    }

    /** All that the verdict rests on, but the JDK. */
    TrustedFiles trustedFiles() throws IOException {
        var files = new ArrayList<>(sources(lab));
        files.addAll(Folders.files(folder));
        files.addAll(libraries);
        files.addAll(Jvm.classPath());
        return TrustedFiles.of(files);
    }

    /** What the tests are made from. */
    private static List<Path> sources(Lab lab) throws IOException {
        var files = new ArrayList<>(Folders.javaFiles(lab.book().root().resolve("tests", "kit")));
        files.addAll(List.of(lab.tests().resolve(lab.testClass() + ".java"), lab.skeletonFile(),
                lab.book().root().resolve("book", "curriculum.json")));
        return files;
    }

    /**
     * Compiles what has changed since the last time, and takes the rest from the cache. How the sources looked then is
     * remembered, and how the compiled files looked stands beside them: to compare that is quicker than to read and
     * hash them, and tells of files that somebody else has written since.
     */
    static TestPlan prepare(Lab lab, ContentCache cache, Libraries libraries, Javac javac) throws IOException {
        var stamp = Runtime.version() + " " + TrustedFiles.of(sources(lab));
        var classPath = Integer.toHexString(Jvm.classPath().hashCode());
        var memory = lab.book().cache().resolve("stamp-" + lab.number() + "-" + classPath);
        var lines = Files.exists(memory) ? Files.readAllLines(memory) : List.<String>of();
        if (lines.size() == 2 && lines.getFirst().equals(stamp) && isAsItWasMade(Path.of(lines.getLast()))) {
            var known = read(lab, Path.of(lines.getLast()));
            if (known.libraries().stream().allMatch(Files::exists)) {
                return known;
            }
        }
        var folder = make(lab, cache, libraries, javac);
        remember(memory, List.of(stamp, folder.toString()));
        return read(lab, folder);
    }

    /** Whoever reads it meanwhile sees the old lines or the new ones. */
    private static void remember(Path memory, List<String> lines) throws IOException {
        var fresh = Files.write(Files.createTempFile(memory.getParent(), ".stamp", ""), lines);
        Files.move(fresh, memory, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }

    private static boolean isAsItWasMade(Path folder) throws IOException {
        return Files.exists(folder.resolve(LOOK)) && Files.readString(folder.resolve(LOOK)).equals(look(folder));
    }

    private static String look(Path folder) throws IOException {
        var files = Folders.files(folder).stream().filter(file -> !file.endsWith(LOOK)).toList();
        return TrustedFiles.of(files).looksBelow(folder);
    }

    private static Path make(Lab lab, ContentCache cache, Libraries libraries, Javac javac) throws IOException {
        var skeleton = lab.skeleton();
        var kit = SourceText.in(lab.book().root().resolve("tests", "kit"));
        var test = SourceText.of(lab.tests().resolve(lab.testClass() + ".java"));
        var sources = Stream.concat(Stream.of(skeleton, test.text()), kit.stream().map(SourceText::text)).toList();
        var found = libraries.classPath(sources);
        var key = new ArrayList<Object>(List.of(LAYOUT, Runtime.version(), Maker.GRADERS_LIBRARIES, found));
        key.addAll(sources);
        key.add(lab.book().root().resolve("book", "curriculum.json"));
        var kind = "tests-" + lab.number();
        var hash = ContentCache.hash(key);
        var known = cache.folder(kind, hash);
        if (Files.isDirectory(known) && !isAsItWasMade(known)) {
            cache.forget(kind, hash);
        }
        var made = cache.get(kind, hash, fresh -> {
            new Maker(lab, fresh, found, cache, javac).make(skeleton, kit, test);
            Files.writeString(fresh.resolve(LOOK), look(fresh));
        });
        cache.deleteOutdated(kind, made);
        return made;
    }

    /** What these sources ask of the Java machine, in JBang's lines. */
    public static List<String> options(String sources) {
        return OPTIONS.matcher(sources).results()
                .flatMap(line -> Stream.of(line.group(1).strip().split("\\s+"))).distinct().toList();
    }

    private static TestPlan read(Lab lab, Path folder) throws IOException {
        var title = "";
        var libraries = new ArrayList<Path>();
        var options = new ArrayList<String>();
        var steps = new TreeMap<Integer, Step>();
        var tests = new ArrayList<Expected>();
        for (var line : Files.readAllLines(folder.resolve(PLAN))) {
            var field = line.split("\t");
            switch (field[0]) {
                case "lab" -> title = field[1];
                case "library" -> libraries.add(Path.of(field[1]));
                case "option" -> options.add(field[1]);
                case "step" -> steps.put(Integer.valueOf(field[1]),
                        new Step(Integer.parseInt(field[1]), field[2], Boolean.parseBoolean(field[3])));
                default -> tests.add(new Expected(
                        field[1], Integer.parseInt(field[2]), field[3], Boolean.parseBoolean(field[4])));
            }
        }
        return new TestPlan(lab, title, List.copyOf(steps.values()), tests, folder, libraries, options);
    }

    /** Fills the cache folder of one lab's tests. */
    private record Maker(Lab lab, Path dir, List<Path> libraries, ContentCache cache, Javac javac) {
        /** The grader's class path: first its own jar, whose classes no test sees, then JUnit and the rest. */
        private static final List<Path> GRADERS_LIBRARIES = Jvm.classPath().stream().skip(1).toList();

        void make(String skeleton, List<SourceText> kit, SourceText test) throws IOException {
            var kitClasses = Files.createDirectory(dir.resolve("kit"));
            var testClasses = Files.createDirectory(dir.resolve("classes"));
            var pristine = Files.createDirectory(dir.resolve("pristine"));
            var forTests = concat(GRADERS_LIBRARIES, libraries, List.of(kitClasses, testClasses, pristine));
            must(kit, concat(GRADERS_LIBRARIES, libraries), kitClasses);
            must(List.of(new SourceText(lab.fileName(), skeleton)), libraries, pristine);
            must(List.of(test), forTests, testClasses);
            var plan = new ArrayList<>(List.of("lab\t" + Curriculum.read(lab.book()).of(lab).title()));
            libraries.forEach(library -> plan.add("library\t" + library));
            options(skeleton + test.text()).forEach(option -> plan.add("option\t" + option));
            plan.addAll(plan(List.of(kitClasses, testClasses, pristine)));
            Files.write(dir.resolve(PLAN), plan);
        }

        private void must(List<SourceText> sources, List<Path> classPath, Path out) throws IOException {
            for (var finding : javac.compile(sources, classPath, out)) {
                throw new CannotCheck("the workbook's own " + finding.file() + " does not compile, line "
                        + finding.line() + ": " + finding.message());
            }
        }

        private List<String> plan(List<Path> classes) throws IOException {
            var steps = new TreeSet<String>();
            var tests = new ArrayList<String>();   // in the order of their source: the most basic comes first
            try (var runner = RunnerProcess.start(List.of())) {
                runner.load(libraries, classes);
                runner.order("plan", lab.testClass());
                var trouble = "the tests of lab " + lab.number() + " could not be listed";
                for (var record : runner.nextUntil("planned", trouble)) {
                    steps.add(String.join("\t", "step", record.get(2), record.get(3), record.get(4)));
                    var title = record.get(6).replace('_', ' ');
                    tests.add(String.join("\t", "test", record.get(1), record.get(2), title, record.get(5)));
                }
            }
            int wanted = Curriculum.read(lab.book()).of(lab).steps().size();
            if (steps.size() != wanted) {
                throw new CannotCheck("lab %s has %d steps, but only %d of them have a test"
                        .formatted(lab.number(), wanted, steps.size()));
            }
            return Stream.of(steps, tests).flatMap(Collection::stream).toList();
        }

        @SafeVarargs
        private static List<Path> concat(List<Path>... paths) {
            return Stream.of(paths).flatMap(List::stream).toList();
        }
    }
}
