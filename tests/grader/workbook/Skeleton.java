package grader.workbook;

import module java.base;

/**
 * A solution, cut at its AsciiDoc tags. A region whose step is not written yet becomes
 * <pre>
 *   // tag::step2[] text                        throw new UnsupportedOperationException("TODO step 2: text");
 *   // tag::step5[] text // until then: CODE    // TODO step 5: text      and the CODE
 *   // tag::step5[]                             nothing
 * </pre>
 * A described region inside one that is not written yet leaves a line which says that its step comes back here. Tags of
 * any other name belong to the book: their lines go, what they hold stays. {@code book.md} in the design calls this
 * rule «one source of truth».
 */
public final class Skeleton {
    private static final Pattern TAG = Pattern.compile("( *)// (tag|end)::(?:step(\\d+)|[\\w-]+)\\[](?: (.*))?");
    private static final String UNTIL_THEN = "// until then:";
    /** Stands where something was left out, until blank lines are tidied. */
    private static final String LEFT_OUT = "\f";

    private sealed interface Part permits Line, Region {}

    private record Line(String text) implements Part {}

    private record Region(int step, String indent, String todo, Optional<String> untilThen, List<Part> parts)
            implements Part {}

    private final String name;
    private final List<Part> parts;
    private final int steps;

    private Skeleton(String name, List<String> solution) {
        this.name = name;
        parts = parse(new ArrayDeque<>(solution), 0, solution.size());
        steps = countSteps(parts);
    }

    public static Skeleton of(Path solution) throws IOException {
        return new Skeleton(solution.getFileName().toString(), Files.readAllLines(solution));
    }

    /** How many steps the solution has. */
    public int steps() {
        return steps;
    }

    /**
     * The solution with steps 1 to {@code done} in place: 0 gives the skeleton, {@link #steps()} the solution without
     * its tags.
     */
    public String withSteps(int done) {
        var lines = new ArrayList<String>();
        write(parts, done, lines);
        return tidy(String.join("\n", lines).concat("\n"));
    }

    private int countSteps(List<Part> all) {
        var asked = new TreeSet<Integer>();
        collect(all, asked);
        require(!asked.isEmpty() && asked.first() == 1 && asked.last() == asked.size(),
                "its described steps are " + asked + ", but must be 1, 2, 3 and so on");
        return asked.size();
    }

    private static void collect(List<Part> parts, Set<Integer> asked) {
        for (var part : parts) {
            if (part instanceof Region region) {
                if (!region.todo().isEmpty()) {
                    asked.add(region.step());
                }
                collect(region.parts(), asked);
            }
        }
    }

    /** Reads up to the end tag of {@code step}, or to the end of the file where {@code step} is 0. */
    private List<Part> parse(Deque<String> lines, int step, int total) {
        var found = new ArrayList<Part>();
        while (!lines.isEmpty()) {
            var where = "line " + (total - lines.size() + 1) + ": ";
            var line = lines.pop();
            var tag = TAG.matcher(line);
            if (!tag.matches()) {
                require(!line.contains("::step"), where + "not quite a tag: " + line.strip());
                found.add(new Line(line));
            } else if (tag.group(3) != null) {
                int tagged = Integer.parseInt(tag.group(3));
                if (tag.group(2).equals("end")) {
                    require(tagged == step, where + "the end of step " + tagged + " inside step " + step);
                    return found;
                }
                require(tagged > step, where + "step " + tagged + " would have to wait for step " + step);
                found.add(region(tag, tagged, parse(lines, tagged, total)));
            }
        }
        require(step == 0, "step " + step + " has no end");
        return found;
    }

    private static Region region(Matcher tag, int step, List<Part> parts) {
        var text = Objects.requireNonNullElse(tag.group(4), "");
        int until = text.indexOf(UNTIL_THEN);
        return until < 0
                ? new Region(step, tag.group(1), text, Optional.empty(), parts)
                : new Region(step, tag.group(1), text.substring(0, until).strip(),
                        Optional.of(text.substring(until + UNTIL_THEN.length()).strip()), parts);
    }

    private static void write(List<Part> parts, int done, List<String> out) {
        for (var part : parts) {
            switch (part) {
                case Line(var text) -> out.add(text);
                case Region region when region.step() <= done -> write(region.parts(), done, out);
                case Region region when region.todo().isEmpty() -> out.add(LEFT_OUT);
                case Region region -> writeTodo(region, out);
            }
        }
    }

    private static void writeTodo(Region region, List<String> out) {
        var what = "TODO step " + region.step() + ": " + region.todo();
        if (region.untilThen().isPresent()) {
            out.add(region.indent() + "// " + what);
            Stream.of(region.untilThen().get().split("(?<=;) ")).filter(code -> !code.isEmpty())
                    .forEach(code -> out.add(region.indent() + code));
            return;
        }
        out.add(region.indent() + "throw new UnsupportedOperationException(");
        out.add(region.indent() + "        \"" + what.replace("\\", "\\\\").replace("\"", "\\\"") + "\");");
        for (var part : region.parts()) {
            if (part instanceof Region later && !later.todo().isEmpty()) {
                out.add(region.indent() + "// step " + later.step() + " comes back here: " + later.todo());
            }
        }
    }

    /** Where something was left out, one blank line is enough, and none beside a brace. */
    private static String tidy(String text) {
        return text.replaceAll("(" + LEFT_OUT + "\n)+", LEFT_OUT + "\n")
                .replace("\n\n" + LEFT_OUT + "\n\n", "\n\n")
                .replace("{\n" + LEFT_OUT + "\n\n", "{\n")
                .replaceAll("\n\n" + LEFT_OUT + "\n( *})", "\n$1")
                .replace(LEFT_OUT + "\n", "");
    }

    private void require(boolean condition, String otherwise) {
        if (!condition) {
            throw new CannotCheck("the step tags of " + name + " are wrong: " + otherwise);
        }
    }
}
