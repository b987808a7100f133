package grader;

import module java.base;

import grader.Verdict.Expected;

/**
 * A lab's tests, ready to run. They are compiled against the pristine skeleton, apart from the learner's file: a class of the
 * learner's named {@code Assertions} can shadow nothing, and what must be reported is known before the learner's code runs.
 *
 * @param libraries  what the learner's file is compiled with
 * @param appended   the runner's class path after the grader's own: kit, tests, libraries
 * @param jvmOptions what the lab and its tests ask of the Java machine
 */
public record LabTests(Workbook.Lab lab, String title, List<Step> steps, List<Expected> tests, List<Path> libraries,
                List<Path> appended, List<String> jvmOptions) {
    public record Step(int number, String title, boolean further) {}

    private static final Pattern OPTIONS = Pattern.compile("^//(?:RUNTIME|JAVA)_OPTIONS (.*)$", Pattern.MULTILINE);
    private static final String PLAN = "plan";

    public List<Expected> of(Step step) {
        return tests.stream().filter(test -> test.step() == step.number()).toList();
    }

    /** Compiles what has changed since the last time; reads the rest from the cache. */
    static LabTests prepare(Workbook.Lab lab, Cache cache, Deps deps, Javac javac) throws IOException {
        var skeleton = lab.skeleton();
        var kit = texts(lab.book().root().resolve("tests", "kit"));
        var test = List.of(Javac.Text.of(lab.tests().resolve(lab.testClass() + ".java")));
        var testText = test.getFirst().getCharContent(true).toString();
        var libraries = deps.classPath(Stream.concat(Stream.of(skeleton, testText), kit.stream().map(text -> text.getCharContent(true).toString())).toList());
        var ready = cache.get("tests", key(lab, skeleton, libraries), fresh -> new Maker(lab, fresh, libraries, cache, javac).make(skeleton, kit, test));
        return read(lab, ready, libraries, options(skeleton + testText));
    }

    private static String key(Workbook.Lab lab, String skeleton, List<Path> libraries) throws IOException {
        var parts = new ArrayList<Object>(List.of(skeleton, Runtime.version(), Maker.LIBRARIES, libraries));
        parts.addAll(Workbook.javaFiles(lab.book().root().resolve("tests", "kit")));
        parts.add(lab.tests().resolve(lab.testClass() + ".java"));
        parts.add(lab.book().root().resolve("book", "curriculum.json"));
        return Cache.hash(parts);
    }

    private static List<Javac.Text> texts(Path dir) throws IOException {
        var found = new ArrayList<Javac.Text>();
        for (var file : Workbook.javaFiles(dir)) {
            found.add(Javac.Text.of(file));
        }
        return found;
    }

    private static List<String> options(String sources) {
        return OPTIONS.matcher(sources).results().flatMap(line -> Stream.of(line.group(1).strip().split("\\s+"))).distinct().toList();
    }

    private static LabTests read(Workbook.Lab lab, Path ready, List<Path> libraries, List<String> options) throws IOException {
        var title = "";
        var steps = new TreeMap<Integer, Step>();
        var tests = new ArrayList<Expected>();
        for (var line : Files.readAllLines(ready.resolve(PLAN))) {
            var field = line.split("\t");
            switch (field[0]) {
                case "lab" -> title = field[1];
                case "step" -> steps.put(Integer.valueOf(field[1]), new Step(Integer.parseInt(field[1]), field[2], Boolean.parseBoolean(field[3])));
                default -> tests.add(new Expected(field[1], Integer.parseInt(field[2]), field[3]));
            }
        }
        var appended = new ArrayList<>(List.of(ready.resolve("kit"), ready.resolve("classes")));
        appended.addAll(libraries);
        return new LabTests(lab, title, List.copyOf(steps.values()), tests, libraries, appended, options);
    }

    /** Fills the cache folder of one lab's tests: {@code kit}, {@code classes} and the plan of all tests. */
    private record Maker(Workbook.Lab lab, Path dir, List<Path> libraries, Cache cache, Javac javac) {
        /** The grader's class path: first its own jar, whose classes no test sees, then JUnit and the rest. */
        private static final List<Path> LIBRARIES = Stream.of(System.getProperty("java.class.path").split(File.pathSeparator)).skip(1).map(Path::of).toList();

        void make(String skeleton, List<Javac.Text> kit, List<Javac.Text> test) throws IOException {
            var kitClasses = Files.createDirectory(dir.resolve("kit"));
            var testClasses = Files.createDirectory(dir.resolve("classes"));
            var pristine = cache.temporary("pristine");
            try {
                must(kit, concat(LIBRARIES, libraries), kitClasses);
                must(List.of(new Javac.Text(lab.fileName(), skeleton)), libraries, pristine);
                must(test, concat(LIBRARIES, libraries, List.of(kitClasses, pristine)), testClasses);
                Files.write(dir.resolve(PLAN), plan(concat(List.of(kitClasses, testClasses), libraries, List.of(pristine)),
                        test.getFirst().getCharContent(true).toString()));
            } finally {
                Cache.delete(pristine);
            }
        }

        private void must(List<Javac.Text> sources, List<Path> classPath, Path out) throws IOException {
            for (var finding : javac.compile(sources, classPath, out)) {
                throw new Trouble("the workbook's own " + finding.file() + " does not compile, line " + finding.line() + ": " + finding.message());
            }
        }

        private List<String> plan(List<Path> appended, String testText) throws IOException {
            var steps = new TreeSet<String>();
            var tests = new TreeMap<Integer, String>();   // by their place in the source: the most basic comes first
            try (var fork = Fork.start(List.of(), appended, Optional.empty())) {
                fork.order("plan", lab.testClass());
                for (var record = fork.next(); !record.equals(List.of("planned")); record = fork.next()) {
                    if (record.isEmpty() || record.getFirst().equals("crash")) {
                        throw new Trouble("the tests of lab " + lab.number() + " could not be listed: " + (record.isEmpty() ? fork.whyEnded() : record.get(1)));
                    }
                    steps.add(String.join("\t", "step", record.get(2), record.get(3), record.get(4)));
                    var place = Pattern.compile("\\bvoid " + record.get(5) + "\\(").matcher(testText);
                    tests.put(place.find() ? place.start() : testText.length() + tests.size(),
                            String.join("\t", "test", record.get(1), record.get(2), record.get(5).replace('_', ' ')));
                }
            }
            if (tests.isEmpty()) {
                throw new Trouble("lab " + lab.number() + " has no tests");
            }
            var title = "lab\t" + Curriculum.read(lab.book()).of(lab).title();
            return Stream.of(List.of(title), steps, tests.values()).flatMap(Collection::stream).toList();
        }

        @SafeVarargs
        private static List<Path> concat(List<Path>... paths) {
            return Stream.of(paths).flatMap(List::stream).toList();
        }
    }
}
