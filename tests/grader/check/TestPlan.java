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
 * @param sources     what all of it was made from
 */
public record TestPlan(Lab lab, String title, List<Step> steps, List<Expected> tests, Path folder,
                       List<Path> libraries, List<String> jvmOptions, List<Path> sources) {
    public record Step(int number, String title, boolean further) {}

    private static final Pattern OPTIONS = Pattern.compile("^//(?:RUNTIME|JAVA)_OPTIONS (.*)$", Pattern.MULTILINE);
    private static final String LAYOUT = "4";   // to be counted up with each change of what a folder holds
    private static final String PLAN = "plan";
    private static final String LOOK = "look";

    public List<Expected> of(Step step) {
        return tests.stream().filter(test -> test.step() == step.number()).toList();
    }

    /** Kit, tests, and the classes that they test. */
    List<Path> classesWith(Path tested) {
        return List.of(folder.resolve("kit"), folder.resolve("classes"), tested);
    }

    /** The test classes, the workbook's own first. */
    List<String> testClasses() {
        return Stream.concat(Stream.of(lab.testClass()), tests.stream().filter(Expected::isPrivate)
                .map(test -> testClass(test.id()))).distinct().toList();
    }

    static boolean isOf(String testClass, String id) {
        return testClass(id).equals(testClass);
    }

    /** JUnit's ids begin {@code [engine:junit-jupiter]/[class:TcpServerTest]/}. */
    private static String testClass(String id) {
        int begin = id.indexOf("[class:") + "[class:".length();
        return id.substring(begin, id.indexOf(']', begin));
    }

    /** Whether the lab opens raw sockets. */
    boolean readsPackets() {
        return libraries.stream().anyMatch(library -> library.getFileName().toString().startsWith("pcap4j"));
    }

    /** The same as long as the tests ask the same, on any machine. */
    public String digest() throws IOException {
        return ContentCache.hash(sources);
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
    public TrustedFiles trustedFiles() throws IOException {
        var files = new ArrayList<>(sources);
        files.addAll(Folders.files(folder));
        files.addAll(libraries);
        files.addAll(Jvm.classPath());
        return TrustedFiles.of(files);
    }

    private static List<Path> sources(Lab lab, List<Path> privateTests) throws IOException {
        var files = new ArrayList<>(Folders.javaFiles(lab.book().root().resolve("tests", "kit")));
        files.addAll(List.of(lab.tests().resolve(lab.testClass() + ".java"), lab.skeletonFile(),
                lab.book().root().resolve("book", "curriculum.json")));
        files.addAll(privateTests);
        return files;
    }

    /** A teacher's own tests of a lab: the test classes in the folder of its name. */
    private static List<Path> privateTests(Lab lab, Optional<Path> folder) throws IOException {
        var dir = folder.map(each -> each.toAbsolutePath().resolve(lab.slug())).filter(Files::isDirectory);
        var found = dir.isPresent() ? Folders.javaFiles(dir.get()) : List.<Path>of();
        if (found.stream().anyMatch(file -> file.endsWith(lab.testClass() + ".java"))) {
            throw new CannotCheck("%s has the name of the workbook's own tests: call it %sPrivateTest.java, for example"
                    .formatted(dir.get().resolve(lab.testClass() + ".java"), lab.type()));
        }
        return found;
    }

    /**
     * Compiles what has changed since the last time, and takes the rest from the cache. How the sources looked then is
     * remembered, and how the compiled files looked stands beside them: to compare that is quicker than to read and
     * hash them, and tells of files that somebody else has written since.
     */
    static TestPlan prepare(Lab lab, Optional<Path> ownTests, ContentCache cache, Libraries libraries, Javac javac)
            throws IOException {
        var privateTests = privateTests(lab, ownTests);
        var sources = sources(lab, privateTests);
        var stamp = Runtime.version() + " " + TrustedFiles.of(sources);
        var madeWith = Integer.toHexString(List.of(Jvm.classPath(), privateTests).hashCode());
        var memory = lab.book().cache().resolve("stamp-" + lab.number() + "-" + madeWith);
        var lines = Files.exists(memory) ? Files.readAllLines(memory) : List.<String>of();
        if (lines.size() == 2 && lines.getFirst().equals(stamp) && isAsItWasMade(Path.of(lines.getLast()))) {
            var known = read(lab, sources, Path.of(lines.getLast()));
            if (known.libraries().stream().allMatch(Files::exists)) {
                return known;
            }
        }
        var folder = make(lab, privateTests, cache, libraries, javac);
        remember(memory, List.of(stamp, folder.toString()));
        return read(lab, sources, folder);
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

    private static Path make(Lab lab, List<Path> privateTests, ContentCache cache, Libraries libraries, Javac javac)
            throws IOException {
        var skeleton = lab.skeleton();
        var kit = SourceText.in(lab.book().root().resolve("tests", "kit"));
        var tests = new ArrayList<>(List.of(SourceText.of(lab.tests().resolve(lab.testClass() + ".java"))));
        for (var file : privateTests) {
            tests.add(SourceText.of(file));
        }
        var sources = Stream.of(Stream.of(skeleton), texts(tests), texts(kit)).flatMap(each -> each).toList();
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
            new Maker(lab, fresh, found, javac).make(skeleton, kit, tests);
            Files.writeString(fresh.resolve(LOOK), look(fresh));
        });
        cache.deleteOutdated(kind, made);
        return made;
    }

    private static Stream<String> texts(List<SourceText> sources) {
        return sources.stream().map(SourceText::text);
    }

    /** What these sources ask of the Java machine, in JBang's lines. */
    public static List<String> options(String sources) {
        return OPTIONS.matcher(sources).results()
                .flatMap(line -> Stream.of(line.group(1).strip().split("\\s+"))).distinct().toList();
    }

    private static TestPlan read(Lab lab, List<Path> sources, Path folder) throws IOException {
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
                        field[1], Integer.parseInt(field[2]), field[3], Boolean.parseBoolean(field[4]),
                        !isOf(lab.testClass(), field[1])));
            }
        }
        return new TestPlan(lab, title, List.copyOf(steps.values()), tests, folder, libraries, options, sources);
    }

    /** Fills the cache folder of one lab's tests. */
    private record Maker(Lab lab, Path dir, List<Path> libraries, Javac javac) {
        /** The grader's class path: first its own jar, whose classes no test sees, then JUnit and the rest. */
        private static final List<Path> GRADERS_LIBRARIES = Jvm.classPath().stream().skip(1).toList();

        /** @param tests the workbook's own first */
        void make(String skeleton, List<SourceText> kit, List<SourceText> tests) throws IOException {
            var kitClasses = Files.createDirectory(dir.resolve("kit"));
            var testClasses = Files.createDirectory(dir.resolve("classes"));
            var pristine = Files.createDirectory(dir.resolve("pristine"));
            var forTests = concat(GRADERS_LIBRARIES, libraries, List.of(kitClasses, testClasses, pristine));
            must(kit, concat(GRADERS_LIBRARIES, libraries), kitClasses);
            must(List.of(new SourceText(lab.fileName(), skeleton)), libraries, pristine);
            must(tests, forTests, testClasses);
            var plan = new ArrayList<>(List.of("lab\t" + Curriculum.read(lab.book()).of(lab).title()));
            libraries.forEach(library -> plan.add("library\t" + library));
            options(skeleton + tests.getFirst().text()).forEach(option -> plan.add("option\t" + option));
            plan.addAll(plan(tests, List.of(kitClasses, testClasses, pristine)));
            Files.write(dir.resolve(PLAN), plan);
        }

        private void must(List<SourceText> sources, List<Path> classPath, Path out) throws IOException {
            for (var finding : javac.compile(sources, classPath, out)) {
                throw new CannotCheck("%s, which the lab is checked with, does not compile, line %d: %s"
                        .formatted(finding.file(), finding.line(), finding.message()));
            }
        }

        private List<String> plan(List<SourceText> sources, List<Path> classes) throws IOException {
            var steps = new TreeMap<Integer, String>();
            var tests = new ArrayList<String>();   // in the order of their source: the most basic comes first
            try (var runner = RunnerProcess.start(List.of())) {
                runner.load(libraries, classes);
                for (var source : sources) {
                    var file = source.getName().substring(1);
                    runner.order("plan", file.replace(".java", ""));
                    for (var record : runner.nextUntil("planned", "the tests of " + file + " could not be listed")) {
                        boolean isPrivate = source != sources.getFirst();
                        addStep(steps, record, isPrivate ? file : "");
                        var title = record.get(6).replace('_', ' ');
                        tests.add(String.join("\t", "test", record.get(1), record.get(2), title, record.get(5)));
                    }
                }
            }
            int wanted = Curriculum.read(lab.book()).of(lab).steps().size();
            if (steps.size() != wanted) {
                throw new CannotCheck("lab %s has %d steps, but only %d of them have a test"
                        .formatted(lab.number(), wanted, steps.size()));
            }
            return Stream.of(steps.values(), tests).flatMap(Collection::stream).toList();
        }

        /** The workbook's own tests say which steps there are; a private test belongs to one of them. */
        private void addStep(Map<Integer, String> steps, List<String> test, String privateFile) {
            int number = Integer.parseInt(test.get(2));
            if (privateFile.isEmpty()) {
                steps.putIfAbsent(number, String.join("\t", "step", test.get(2), test.get(3), test.get(4)));
            } else if (!steps.containsKey(number)) {
                throw new CannotCheck("%s has tests for step %d, but lab %s has no such step"
                        .formatted(privateFile, number, lab.number()));
            }
        }

        @SafeVarargs
        private static List<Path> concat(List<Path>... paths) {
            return Stream.of(paths).flatMap(List::stream).toList();
        }
    }
}
