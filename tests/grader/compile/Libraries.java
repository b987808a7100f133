package grader.compile;

import module java.base;

import grader.speed.ContentCache;
import grader.workbook.CannotCheck;
import grader.workbook.JBang;
import grader.workbook.Workbook;

/** Class paths of labs: JBang is asked once for each set of {@code //DEPS} lines, and fetches what is missing. */
public final class Libraries {
    public static final String FETCHING = "fetching libraries (once): ";

    private static final String KIND = "libraries";
    private static final Duration PATIENCE = Duration.ofMinutes(10);

    private final Workbook book;
    private final ContentCache cache;

    public Libraries(Workbook book, ContentCache cache) {
        this.book = book;
        this.cache = cache;
    }

    /** The libraries that these files name, beyond those the grader runs with. */
    public List<Path> classPath(List<String> sources) throws IOException {
        var names = new TreeSet<String>();
        for (var source : sources) {
            names.addAll(deps(source));
        }
        names.removeIf(name -> name.startsWith("org.junit."));   // the grader's own JUnit runs the tests
        if (names.isEmpty()) {
            return List.of();
        }
        var key = ContentCache.hash(List.copyOf(names));
        var found = read(key, names);
        if (!found.stream().allMatch(Files::exists)) {           // the local repository was cleaned
            cache.forget(KIND, key);
            found = read(key, names);
        }
        return found;
    }

    public static List<String> deps(String source) {
        return source.lines().filter(line -> line.startsWith("//DEPS "))
                .flatMap(line -> Stream.of(line.substring("//DEPS ".length()).strip().split("[\\s,]+"))).toList();
    }

    private List<Path> read(String key, Set<String> names) throws IOException {
        var dir = cache.get(KIND, key, fresh -> Files.writeString(fresh.resolve("classpath"), askJBang(names, fresh)));
        return Stream.of(Files.readString(dir.resolve("classpath")).strip().split(File.pathSeparator))
                .filter(path -> !path.isBlank()).map(Path::of).toList();
    }

    private String askJBang(Set<String> names, Path dir) throws IOException {
        System.err.println(FETCHING + String.join(" ", names));
        var deps = names.stream().map(name -> "//DEPS " + name + "\n").collect(Collectors.joining());
        var script = Files.writeString(dir.resolve("Libraries.java"),
                "//JAVA 25+\n" + deps + "class Libraries {}\n");
        var log = dir.resolve("log");
        var process = JBang.command(book, "--quiet", "info", "classpath", "--deps-only", script.toString())
                .redirectError(log.toFile()).start();
        process.getOutputStream().close();
        var answer = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        try {
            if (!process.waitFor(PATIENCE.toSeconds(), TimeUnit.SECONDS) || process.exitValue() != 0) {
                process.destroy();
                throw new CannotCheck("could not fetch " + String.join(" ", names) + ": is there a network?\n"
                        + Files.readString(log).strip());
            }
        } catch (InterruptedException e) {
            process.destroy();
            throw new CannotCheck("interrupted while fetching " + names, e);
        }
        return answer;
    }
}
