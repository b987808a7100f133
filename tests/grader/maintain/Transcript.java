package grader.maintain;

import module java.base;

import grader.compile.Libraries;
import grader.workbook.CannotCheck;
import grader.workbook.Workbook;

/**
 * A recorded terminal session, and at the same time the script to record it again: lines that begin with {@code $ } are
 * commands, the lines below each are what it printed. All commands of a file run in one shell; one that ends in
 * {@code &} runs on beside the next, and is ended with the session. Ports 4001 to 4099 stand for free ports: they are
 * replaced when the commands run and put back in what they print. Lines at the top that begin with {@code # } are kept;
 * one of them may say that verify runs it again.
 */
public final class Transcript {
    private static final Pattern PORT = Pattern.compile("\\b40(?!00)\\d\\d\\b");
    private static final Pattern OURS = Pattern.compile("\\./jbang (lab|solution|test)-\\d+( [\\w/. -]*)?");
    private static final Duration LONGEST = Duration.ofMinutes(10);
    private static final Duration LONGEST_AGAIN = Duration.ofMinutes(3);
    private static final Pattern AGAIN = Pattern.compile("# jbang verify runs it again, with (.*)");
    /** What a first run says, and every JVM where JAVA_TOOL_OPTIONS is set. */
    private static final List<String> NOT_SHOWN =
            List.of("[jbang] ", Libraries.FETCHING, "Picked up JAVA_TOOL_OPTIONS");
    /** Marks the end of one command's output. */
    private static final String END = "(end of the command)";

    private record Command(String line, List<String> output) {
        /** Runs beside the next command; it has begun when it has printed as many lines as it did before. */
        boolean staysOn() {
            return line.endsWith("&");
        }

        /** The next line of the file still belongs to this command. */
        boolean goesOn() {
            return line.endsWith("\\");
        }

        Command with(String nextLine) {
            return new Command(line + "\n" + nextLine, output);
        }
    }

    private final Workbook book;
    private final Path file;
    private final List<String> head;
    private final List<Command> commands;

    private Transcript(Workbook book, Path file, List<String> head, List<Command> commands) {
        this.book = book;
        this.file = file;
        this.head = head;
        this.commands = commands;
    }

    public static List<Path> files(Workbook book, List<String> names) throws IOException {
        var folder = book.root().resolve("book", "transcripts");
        var wanted = names.stream()
                .map(name -> name.endsWith(".txt") ? Path.of(name).toAbsolutePath() : folder.resolve(name)).toList();
        for (var each : wanted) {
            if (!Files.exists(each)) {
                throw new CannotCheck("there is no transcript " + book.shown(each));
            }
        }
        try (var files = Files.walk(folder)) {
            return files.filter(file -> file.toString().endsWith(".txt"))
                    .filter(file -> wanted.isEmpty() || wanted.stream().anyMatch(file::startsWith)).sorted().toList();
        }
    }

    public static Transcript of(Workbook book, Path file) throws IOException {
        var head = new ArrayList<String>();
        var commands = new ArrayList<Command>();
        for (var line : Files.readAllLines(file)) {
            if (!commands.isEmpty() && commands.getLast().goesOn()) {
                commands.add(commands.removeLast().with(line));
            } else if (line.startsWith("$ ")) {
                commands.add(new Command(line.substring(2), new ArrayList<>()));
            } else if (commands.isEmpty()) {
                head.add(line);
            } else {
                commands.getLast().output().add(line);
            }
        }
        return new Transcript(book, file, head, commands);
    }

    /** Only the workbook's own commands: their output is the same everywhere, but for what {@link #masked} hides. */
    public boolean canBeCompared() {
        return commands.stream().allMatch(command -> OURS.matcher(command.line()).matches());
    }

    /**
     * With what verify runs a transcript of other people's programs again: their names, paths of files that they
     * need, and perhaps «root». Empty: it does not.
     */
    public List<String> runAgainWith() {
        return head.stream().map(AGAIN::matcher).filter(Matcher::matches)
                .flatMap(line -> Stream.of(line.group(1).split(", "))).toList();
    }

    /** Some command looks at a learner's own file. */
    public boolean readsLabs() {
        return commands.stream().anyMatch(command -> command.line().matches("\\./jbang (lab|test)-\\d+"));
    }

    public void record() throws IOException, InterruptedException {
        Files.write(file, run(LONGEST));
    }

    /** What differs between the file and a run of now; empty when nothing does. */
    public Optional<String> difference() throws IOException, InterruptedException {
        var before = Files.readAllLines(file).stream().map(Transcript::masked).toList();
        var now = run(LONGEST_AGAIN).stream().map(Transcript::masked).toList();
        for (int i = 0; i < Math.max(before.size(), now.size()); i++) {
            var was = i < before.size() ? before.get(i) : "(nothing)";
            var is = i < now.size() ? now.get(i) : "(nothing)";
            if (!was.equals(is)) {
                return Optional.of("line %d was «%s», is «%s»".formatted(i + 1, was, is));
            }
        }
        return Optional.empty();
    }

    /**
     * Times, ephemeral ports, sizes of memory and rates differ from run to run, and so does the space that aligns them.
     */
    static String masked(String line) {
        return line.replaceAll("chapter: \\S+", "chapter: PLACE")
                .replaceAll("\\b(127\\.0\\.0\\.1|localhost|\\[::1]):\\d{5}\\b", "$1:PORT")
                .replaceAll("\\b[\\d,.]*\\d ?(ns|us|µs|ms|s|kB|MB|KiB|MiB|/s)(?![\\w])", "# $1")
                .replaceAll(" +", " ");
    }

    private List<String> run(Duration longest) throws IOException, InterruptedException {
        var ports = freePorts();
        var lines = new ArrayList<>(head);
        var shell = shell();
        var killer = Thread.ofVirtual().start(() -> endAfter(shell, longest));
        try (var in = new PrintStream(shell.getOutputStream(), true, StandardCharsets.UTF_8);
             var out = new BufferedReader(new InputStreamReader(shell.getInputStream(), StandardCharsets.UTF_8))) {
            for (var command : commands) {
                in.println("{ " + replaced(command.line(), ports, true) + "\n} </dev/null");
                in.println(command.staysOn() ? "" : "printf '" + END + "\\n'");
                ("$ " + command.line()).lines().forEach(lines::add);
                read(out, command).forEach(line -> lines.add(replaced(line, ports, false)));
            }
            end(shell);   // before its input closes: it would end by itself then, and lose sight of what it has started
        } finally {
            killer.interrupt();
            end(shell);
        }
        return lines;
    }

    private List<String> read(BufferedReader out, Command command) throws IOException {
        var lines = new ArrayList<String>();
        int enough = command.staysOn() ? command.output().size() : Integer.MAX_VALUE;
        while (lines.size() < enough) {
            var line = out.readLine();
            if (line == null) {
                throw new CannotCheck(book.shown(file) + ": the shell ended at «" + command.line() + "»");
            }
            if (line.endsWith(END)) {   // what comes before it on the line had no line end of its own
                var rest = line.substring(0, line.length() - END.length());
                if (!rest.isEmpty()) {
                    lines.add(rest);
                }
                return lines;
            }
            if (NOT_SHOWN.stream().noneMatch(line::startsWith)) {
                lines.add(line.stripTrailing());
            }
        }
        return lines;
    }

    private static void endAfter(Process shell, Duration limit) {
        try {
            Thread.sleep(limit);
            end(shell);
        } catch (InterruptedException e) {
            // Ended in time.
        }
    }

    private static void end(Process shell) {
        shell.descendants().forEach(ProcessHandle::destroy);
        shell.destroy();
    }

    private Process shell() throws IOException {
        var builder = new ProcessBuilder("bash", "--norc", "--noprofile")
                .directory(book.root().toFile()).redirectErrorStream(true);
        builder.environment().putAll(
                Map.of("NO_COLOR", "1", "LC_ALL", "C.UTF-8", "WORKBOOK_JBANG", "./jbang", "COLUMNS", "80"));
        return builder.start();
    }

    private Map<String, String> freePorts() throws IOException {
        var names = commands.stream().flatMap(command -> PORT.matcher(command.line()).results())
                .map(MatchResult::group).distinct().toList();
        var ports = new LinkedHashMap<String, String>();
        var held = new ArrayList<ServerSocket>();
        try {
            for (var name : names) {
                held.add(new ServerSocket(0));
                ports.put(name, Integer.toString(held.getLast().getLocalPort()));
            }
        } finally {
            for (var socket : held) {
                socket.close();
            }
        }
        return ports;
    }

    private static String replaced(String line, Map<String, String> ports, boolean forward) {
        for (var port : ports.entrySet()) {
            line = forward ? line.replaceAll("\\b" + port.getKey() + "\\b", port.getValue())
                    : line.replaceAll("\\b" + port.getValue() + "\\b", port.getKey());
        }
        return line;
    }
}
