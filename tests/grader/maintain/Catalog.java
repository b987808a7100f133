package grader.maintain;

import module java.base;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import grader.workbook.CannotCheck;
import grader.workbook.Curriculum;
import grader.workbook.Lab;
import grader.workbook.Workbook;

/**
 * What is written from the facts of the labs, which stand in {@code book/curriculum.json} and at the head of each lab's
 * file: {@code jbang-catalog.json}, and the table of labs in {@code README.adoc}.
 *
 * @param commands the grader's commands by name, each with its description
 */
public record Catalog(Workbook book, SequencedMap<String, String> commands) {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String GRADER = "tests/grader/Main.java";
    private static final String BEGIN = "// labs: written by jbang register\n";
    private static final String END = "// end of labs\n";
    /** Verify works for minutes, so it wants more room than the grader, whose options JBang gives it as well. */
    private static final String FOR_MINUTES = "-Xmn256m";
    private static final Pattern DESCRIPTION = Pattern.compile("^//DESCRIPTION Lab \\d+: (.*)$", Pattern.MULTILINE);

    public Path file() {
        return book.root().resolve("jbang-catalog.json");
    }

    public Path readmeFile() {
        return book.root().resolve("README.adoc");
    }

    /** The catalog: an alias a line, which a person can read as well. */
    public String json() throws IOException {
        var aliases = new ArrayList<String>();
        var templates = new ArrayList<String>();
        for (var lab : book.labs()) {
            var name = "Lab " + lab.number() + ": " + Curriculum.read(book).of(lab).title();
            aliases.add(script("lab-" + lab.number(), book.path(lab.file()), name + ", your file"));
            add(aliases, "solution-" + lab.number(), book.path(lab.solution()), name + ", the full solution");
            aliases.add(grader("test-" + lab.number(), List.of("test", lab.number()),
                    "Checks lab " + lab.number() + " step by step"));
            templates.add("    %s: { \"file-refs\": { \"{filename}\": %s }, \"description\": %s }".formatted(
                    quoted("lab-" + lab.number()), quoted(book.path(lab.file())),
                    quoted(name + ", the skeleton: name it " + lab.fileName())));
        }
        for (var command : commands.entrySet()) {
            aliases.add(grader(command.getKey(), List.of(command.getKey()), command.getValue()));
        }
        add(aliases, "together", "tests/together/Together.java",
                "Runs six labs together, each in a process of its own");
        add(aliases, "book", "book/program/Book.java", "Renders the HTML book");
        add(aliases, "verify", "tests/verify/Main.java", "For maintainers: checks the workbook itself", FOR_MINUTES);
        return "{\n  \"aliases\": {\n" + String.join(",\n", aliases) + "\n  },\n"
                + "  \"templates\": {\n" + String.join(",\n", templates) + "\n  }\n}\n";
    }

    /** A students' copy does not have every file. */
    private void add(List<String> aliases, String alias, String file, String description, String... javaOptions)
            throws JsonProcessingException {
        if (Files.exists(book.root().resolve(file))) {
            aliases.add(script(alias, file, description, javaOptions));
        }
    }

    private static String script(String alias, String file, String description, String... javaOptions)
            throws JsonProcessingException {
        var options = javaOptions.length == 0 ? ""
                : "\"java-options\": %s, ".formatted(JSON.writeValueAsString(javaOptions));
        return "    %s: { \"script-ref\": %s, %s\"description\": %s }".formatted(
                quoted(alias), quoted(file), options, quoted(description));
    }

    private static String grader(String alias, List<String> arguments, String description)
            throws JsonProcessingException {
        return "    %s: { \"script-ref\": %s, \"arguments\": %s, \"description\": %s }".formatted(
                quoted(alias), quoted(GRADER), JSON.writeValueAsString(arguments), quoted(description));
    }

    private static String quoted(String text) throws JsonProcessingException {
        return JSON.writeValueAsString(text);
    }

    /** The README with the table of today's labs. */
    public String readme() throws IOException {
        var text = Files.readString(readmeFile());
        int begin = text.indexOf(BEGIN);
        int end = text.indexOf(END);
        if (begin < 0 || end < begin) {
            throw new CannotCheck("README.adoc has no lines «" + BEGIN.strip() + "» and «" + END.strip() + "»");
        }
        return text.substring(0, begin) + BEGIN + table() + text.substring(end);
    }

    private String table() throws IOException {
        var rows = new StringBuilder("""
                [cols="1,5,2,4"]
                |===
                |Lab |What you build |Run |What it needs beyond the JDK

                """);
        var curriculum = Curriculum.read(book);
        for (var lab : book.labs()) {
            var facts = curriculum.of(lab);
            rows.append("|%s |*%s*: %s |`./jbang lab-%s` |%s%n".formatted(
                    lab.number(), facts.title(), description(lab), lab.number(), facts.needs()));
        }
        var here = book.labs().stream().map(Lab::slug).toList();
        var toCome = curriculum.labs().stream().filter(entry -> !here.contains(entry.slug()))
                .map(entry -> entry.number() + " " + entry.title()).toList();
        if (!toCome.isEmpty()) {
            rows.append("4+|to come: ").append(String.join(", ", toCome)).append('\n');
        }
        return rows.append("|===\n").toString();
    }

    /** From the head of the lab's file. */
    private static String description(Lab lab) throws IOException {
        var line = DESCRIPTION.matcher(lab.skeleton());
        if (!line.find()) {
            throw new CannotCheck(lab.fileName() + " has no line «//DESCRIPTION Lab " + lab.number() + ": …»");
        }
        return line.group(1);
    }
}
