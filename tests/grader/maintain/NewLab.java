package grader.maintain;

import module java.base;

import grader.workbook.CannotCheck;
import grader.workbook.Curriculum;
import grader.workbook.Lab;
import grader.workbook.Skeleton;
import grader.workbook.Workbook;

/**
 * The files of a lab that is about to be written: they compile, step by step they are checked, and everything in them
 * waits to be replaced. Steps and title come from {@code book/curriculum.json}, where the lab gets an entry if it has
 * none.
 */
public record NewLab(Lab lab) {
    /** Stands in all that is to be replaced; {@code verify} names each place that still has it. */
    public static final String TO_WRITE = "(to write)";

    private static final String ENTRY = """
                {"number": %d, "slug": "%s", "title": "%s", "type": "%s", "theme": "S", "level": 1, \
                "coreHours": 1, "furtherHours": 1, "readFirst": [], "needs": "nothing",
                  "steps": [
                    {"title": "Take the first step", "further": false},
                    {"title": "Take the second step", "further": true} ] }""";

    public static NewLab of(Workbook book, String slug, String type) throws IOException {
        if (!slug.matches("4\\d\\d-[a-z0-9-]+") || !type.matches("[A-Z][A-Za-z0-9]*")) {
            throw new CannotCheck("a lab is named like 421-echo-twice EchoTwice: "
                    + "number and words in small letters, then its class");
        }
        var lab = new Lab(book, slug, type);
        for (var file : List.of(lab.solution(), lab.tests().resolve(lab.testClass() + ".java"))) {
            if (Files.exists(file)) {
                throw new CannotCheck(book.shown(file) + " is there already");
            }
        }
        return new NewLab(lab);
    }

    /** Writes all files, and gives those it has written. */
    public List<Path> write() throws IOException {
        addToCurriculum();
        var facts = Curriculum.read(lab.book()).of(lab);
        var files = new LinkedHashMap<Path, String>();
        files.put(lab.solution(), solution(facts));
        files.put(lab.tests().resolve(lab.testClass() + ".java"), tests(facts));
        files.put(lab.tests().resolve("hints.adoc"), hints(facts));
        files.put(lab.tests().resolve("mistakes", "one-less.patch"), mistake());
        files.put(lab.tests().resolve(lab.type() + "Bench.java"), bench());
        files.put(lab.chapter(), chapter(facts));
        for (var file : files.entrySet()) {
            Files.createDirectories(file.getKey().getParent());
            Files.writeString(file.getKey(), file.getValue());
        }
        var skeleton = Skeleton.of(lab.solution()).withSteps(0);
        for (var file : List.of(lab.file(), lab.skeletonFile())) {
            Files.createDirectories(file.getParent());
            files.put(Files.writeString(file, skeleton), skeleton);
        }
        return List.copyOf(files.keySet());
    }

    private void addToCurriculum() throws IOException {
        var known = Curriculum.read(lab.book()).labs().stream()
                .filter(entry -> entry.slug().startsWith(lab.number())).findFirst();
        if (known.isEmpty()) {
            var file = lab.book().root().resolve("book", "curriculum.json");
            var text = Files.readString(file);
            var entry = ENTRY.formatted(Integer.parseInt(lab.number()), lab.slug(), title(), lab.type());
            var end = ",\n" + Matcher.quoteReplacement(entry) + "\n  ]\n}\n";
            Files.writeString(file, text.replaceFirst("\\s*\\]\\s*\\}\\s*$", end));
        } else if (!known.get().slug().equals(lab.slug()) || !known.get().type().equals(lab.type())) {
            throw new CannotCheck("book/curriculum.json knows lab " + lab.number() + " as " + known.get().slug() + " "
                    + known.get().type());
        }
    }

    /** {@code 421-echo-twice} becomes «Echo twice». */
    private String title() {
        var words = lab.slug().substring(4).replace('-', ' ');
        return Character.toUpperCase(words.charAt(0)) + words.substring(1);
    }

    private static <T> String each(List<T> all, BiFunction<Integer, T, String> text) {
        return IntStream.range(0, all.size()).mapToObj(i -> text.apply(i + 1, all.get(i)))
                .collect(Collectors.joining("\n"));
    }

    private String solution(Curriculum.Entry facts) {
        var methods = each(facts.steps(), (n, step) -> """
                    /** (to write) what this method promises. */
                    public static int step%1$d() {
                        // tag::step%1$d[] (to write) what this step asks for: %2$s
                        return %1$d;
                        // end::step%1$d[]
                    }
                """.formatted(n, step.title()));
        var scenes = each(facts.steps(), (n, step) -> ("            scene = %1$d;\n"
                + "            IO.println(\"step %1$d gives \" + step%1$d());").formatted(n));
        return """
                ///usr/bin/env jbang "$0" "$@" ; exit $?
                //JAVA 25+
                //DESCRIPTION Lab %1$s: (to write) half a line on what the learner builds

                import module java.base;

                /**
                 * (to write) What this is, the RFC it obeys, and its one idea.
                 */
                public final class %2$s {

                    private %2$s() {}

                %3$s
                    // ---- given from here on ----

                    private static int scene;

                    /** One scene for each step. */
                    public static void main(String[] args) {
                        if (args.length > 0) {
                            usage(\"""
                                    lab-%1$s         the demo, step by step
                                    lab-%1$s help    this text\""", args);
                            return;
                        }
                        try {
                %4$s
                        } catch (UnsupportedOperationException todo) {
                            IO.println("\\nnext: step " + scene);
                            IO.println("  " + todo.getMessage());
                            IO.println("  " + commands(scene));
                        }
                    }

                    /** What to type next; the workbook's launcher says how. */
                    private static String commands(int step) {
                        var env = System.getenv();
                        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                                || Files.exists(Path.of("jbang-catalog.json"));
                        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
                        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                                : "PATH/TO/%2$s.java";
                        return (isHere ? "" : "in a clone of the workbook:\\n  ")
                                + "check  %%s test-%1$s %%s".formatted(jbang, file).strip()
                                + "\\n  hint   %%s hint %1$s %%d".formatted(jbang, step);
                    }

                    /** What was typed is wrong, unless it was help. */
                    private static void usage(String text, String... typed) {
                        var words = String.join(" ", typed);
                        if (words.matches("-h|(--)?help")) {
                            IO.println(text);
                            return;
                        }
                        System.err.println("not understood: " + words + "\\n" + text);
                        System.exit(2);
                    }
                }
                """.formatted(lab.number(), lab.type(), methods, scenes);
    }

    private String tests(Curriculum.Entry facts) {
        var steps = each(facts.steps(), (n, step) -> """
                    @Nested
                    @Step(value = %1$d, title = "%2$s"%3$s)
                    class %4$s {

                        @Test
                        void step_%1$d_gives_its_number() {
                            Check.equal(%1$d, %5$s.step%1$d(), "step%1$d()",
                                    "(to write) which mistake usually causes this");
                        }
                    }
                """.formatted(n, step.title(), step.further() ? ", further = true" : "",
                step.title().replaceAll("[^A-Za-z0-9]+", "_"), lab.type()));
        return """
                //JAVA 25+
                //DEPS org.junit.jupiter:junit-jupiter:6.1.3
                //SOURCES ../../labs/%s/%s
                //SOURCES ../kit/*.java

                import kit.Check;
                import kit.Lab;
                import kit.Step;
                import org.junit.jupiter.api.Nested;
                import org.junit.jupiter.api.Test;

                /** (to write) How these tests see the lab. */
                @Lab
                class %s {

                %s}
                """.formatted(lab.slug(), lab.fileName(), lab.testClass(), steps);
    }

    private static String hints(Curriculum.Entry facts) {
        return each(facts.steps(), (n, step) -> """
                == Step %1$d

                . (to write) A question that leads towards «%2$s».
                . (to write) Which class or method helps with «%2$s».
                . (to write) The code of «%2$s», nearly whole.
                """.formatted(n, step.title()));
    }

    private String mistake() {
        return """
                misconception: (to write) what somebody believes who writes this
                rejected-by: step 1
                says: step1() = 1, got 0

                --- %1$s
                +++ %1$s
                @@ -14,1 +14,1 @@
                -        return 1;
                +        return 0;
                """.formatted(lab.fileName());
    }

    private String bench() {
        return """
                ///usr/bin/env jbang "$0" "$@" ; exit $?
                //JAVA 25+
                //DESCRIPTION Measures lab %s beside a peer, in one run
                //SOURCES ../../solutions/%s/%s
                //SOURCES ../bench/*.java

                class %sBench {
                    void main() {
                        IO.println("(to write) nothing is measured yet");
                    }
                }
                """.formatted(lab.number(), lab.slug(), lab.fileName(), lab.type());
    }

    private String chapter(Curriculum.Entry facts) {
        var steps = each(facts.steps(), (n, step) -> """
                [#step-%1$d]
                === Step %1$d: %2$s

                (to write) What to write, and what is promised.

                [.checks]
                * step %1$d gives its number

                hints::%3$s[step=%1$d]
                """.formatted(n, step.title(), lab.number()));
        return """
                [#lab-%1$s]
                = %2$s
                ifndef::root[:root: ../..]

                [.lead]
                (to write) One sentence that says what the reader will be able to do.

                [.box]
                ****
                You need:: the JDK.
                Run your file:: `./jbang lab-%1$s`. It is `labs/%3$s/%4$s`.
                Check it:: `./jbang test-%1$s`, or `./jbang watch %1$s` at every save. Stuck? `./jbang hint %1$s`.
                ****

                [#lab-%1$s-problem]
                == The problem

                (to write)

                [#lab-%1$s-answer]
                == The short answer

                (to write)

                [#lab-%1$s-how]
                == How it works

                (to write)

                [#lab-%1$s-go]
                == Coming from Go

                (to write)

                [#lab-%1$s-lab]
                == The lab

                api::solutions/%3$s/%4$s[]

                %5$s
                [#lab-%1$s-run]
                == Run it for real

                (to write)

                [#lab-%1$s-mistakes]
                == Mistakes people make

                (to write)

                [#lab-%1$s-solution]
                == The solution

                (to write)

                [#lab-%1$s-library]
                == What the real library does

                (to write)

                [#lab-%1$s-check]
                == Check yourself

                (to write)

                [#lab-%1$s-sources]
                == Sources

                (to write)
                """.formatted(lab.number(), facts.title(), lab.slug(), lab.fileName(), steps);
    }
}
