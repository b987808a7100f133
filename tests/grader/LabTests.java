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
        var stamp = stamp(lab);
        var stamped = lab.book().cache().resolve("stamp-" + lab.number());
        var lines = Files.exists(stamped) ? Files.readAllLines(stamped) : List.<String>of();
        if (lines.size() == 2 && lines.getFirst().equals(stamp) && Files.isDirectory(Path.of(lines.getLast()))) {
            var known = read(lab, Path.of(lines.getLast()));
            if (known.libraries().stream().allMatch(Files::exists)) {
                return known;
            }
        }
        var made = make(lab, cache, deps, javac);
        Files.write(stamped, List.of(stamp, made.toString()));
        return read(lab, made);
    }

    /** Place, time and size of all that the tests are made from: to compare these is quicker than to read and hash it. */
    private static String stamp(Workbook.Lab lab) throws IOException {
        var files = new ArrayList<>(Workbook.javaFiles(lab.book().root().resolve("tests", "kit")));
        files.add(lab.tests().resolve(lab.testClass() + ".java"));
        files.add(Files.exists(lab.solution()) ? lab.solution() : lab.tests().resolve("skeleton.java.txt"));
        files.add(lab.book().root().resolve("book", "curriculum.json"));
        var stamp = new StringJoiner(" ").add(Runtime.version().toString()).add(System.getProperty("java.class.path"));
        for (var file : files) {
            var attributes = Files.readAttributes(file, BasicFileAttributes.class);
            stamp.add(file.toString()).add(attributes.lastModifiedTime().toString()).add(Long.toString(attributes.size()));
        }
        return stamp.toString();
    }

    private static Path make(Workbook.Lab lab, Cache cache, Deps deps, Javac javac) throws IOException {
        var skeleton = lab.skeleton();
        var kit = texts(lab.book().root().resolve("tests", "kit"));
        var test = Javac.Text.of(lab.tests().resolve(lab.testClass() + ".java"));
        var sources = Stream.concat(Stream.of(skeleton, test.text()), kit.stream().map(Javac.Text::text)).toList();
        var libraries = deps.classPath(sources);
        var key = new ArrayList<Object>(List.of(Runtime.version(), Maker.LIBRARIES, libraries));
        key.addAll(sources);
        key.add(lab.book().root().resolve("book", "curriculum.json"));
        return cache.get("tests", Cache.hash(key), fresh -> new Maker(lab, fresh, libraries, cache, javac).make(skeleton, kit, test));
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

    private static LabTests read(Workbook.Lab lab, Path ready) throws IOException {
        var title = "";
        var libraries = new ArrayList<Path>();
        var options = new ArrayList<String>();
        var steps = new TreeMap<Integer, Step>();
        var tests = new ArrayList<Expected>();
        for (var line : Files.readAllLines(ready.resolve(PLAN))) {
            var field = line.split("\t");
            switch (field[0]) {
                case "lab" -> title = field[1];
                case "library" -> libraries.add(Path.of(field[1]));
                case "option" -> options.add(field[1]);
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

        void make(String skeleton, List<Javac.Text> kit, Javac.Text test) throws IOException {
            var kitClasses = Files.createDirectory(dir.resolve("kit"));
            var testClasses = Files.createDirectory(dir.resolve("classes"));
            var pristine = cache.temporary("pristine");
            try {
                must(kit, concat(LIBRARIES, libraries), kitClasses);
                must(List.of(new Javac.Text(lab.fileName(), skeleton)), libraries, pristine);
                must(List.of(test), concat(LIBRARIES, libraries, List.of(kitClasses, testClasses, pristine)), testClasses);
                var plan = new ArrayList<>(List.of("lab\t" + Curriculum.read(lab.book()).of(lab).title()));
                libraries.forEach(library -> plan.add("library\t" + library));
                options(skeleton + test.text()).forEach(option -> plan.add("option\t" + option));
                plan.addAll(plan(concat(List.of(kitClasses, testClasses), libraries, List.of(pristine))));
                Files.write(dir.resolve(PLAN), plan);
            } finally {
                Folders.delete(pristine);
            }
        }

        private void must(List<Javac.Text> sources, List<Path> classPath, Path out) throws IOException {
            for (var finding : javac.compile(sources, classPath, out)) {
                throw new Trouble("the workbook's own " + finding.file() + " does not compile, line " + finding.line() + ": " + finding.message());
            }
        }

        private List<String> plan(List<Path> appended) throws IOException {
            var steps = new TreeSet<String>();
            var tests = new ArrayList<String>();   // in the order of their source: the most basic comes first
            try (var fork = Fork.start(List.of(), appended, Optional.empty())) {
                fork.order("plan", lab.testClass());
                for (var record = fork.next(); !record.equals(List.of("planned")); record = fork.next()) {
                    if (record.isEmpty() || record.getFirst().equals("crash")) {
                        throw new Trouble("the tests of lab " + lab.number() + " could not be listed: " + (record.isEmpty() ? fork.whyEnded() : record.get(1)));
                    }
                    steps.add(String.join("\t", "step", record.get(2), record.get(3), record.get(4)));
                    tests.add(String.join("\t", "test", record.get(1), record.get(2), record.get(5).replace('_', ' ')));
                }
            }
            if (tests.isEmpty()) {
                throw new Trouble("lab " + lab.number() + " has no tests");
            }
            return Stream.of(steps, tests).flatMap(Collection::stream).toList();
        }

        @SafeVarargs
        private static List<Path> concat(List<Path>... paths) {
            return Stream.of(paths).flatMap(List::stream).toList();
        }
    }
}
