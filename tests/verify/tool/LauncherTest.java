package verify.tool;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import grader.speed.Jvm;
import grader.workbook.Folders;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;
import verify.Commands;
import verify.Selection;

/**
 * {@code ./jbang} on machines that lack something, beside another JBang, from any folder, and when it need not ask
 * JBang.
 */
class LauncherTest {
    private static final Path LAUNCHER = Selection.root().resolve("jbang");
    private static final List<String> TOOLS = List.of("sh", "sed", "readlink", "dirname", "mkdir", "mktemp", "mv", "rm",
            "sha256sum", "cat", "sort", "head", "grep");

    private Path folder;
    private Path bin;
    private Path cache;

    @BeforeEach
    void open() throws IOException {
        folder = Files.createTempDirectory("launcher").toRealPath();
        bin = Files.createDirectory(folder.resolve("bin"));
        cache = folder.resolve("cache");
        for (var tool : TOOLS) {
            Files.createSymbolicLink(bin.resolve(tool), Commands.onPath(tool).orElseThrow());
        }
    }

    @AfterEach
    void close() throws IOException {
        Folders.delete(folder);
    }

    private void stub(String name, String script) throws IOException {
        program(bin.resolve(name), script);
    }

    private static Path program(Path file, String script) throws IOException {
        Files.createDirectories(file.getParent());
        Files.writeString(file, "#!/bin/sh\n" + script + "\n").toFile().setExecutable(true);
        return file;
    }

    /** What the launcher takes for a JDK. Its {@code java} is this script. */
    private Path jdk(String version, String java) throws IOException {
        var home = folder.resolve("jdk-" + version);
        program(home.resolve("bin/java"), java);
        program(home.resolve("bin/javac"), "");
        Files.writeString(home.resolve("release"), "JAVA_VERSION=\"" + version + "\"\n");
        return home;
    }

    /** With nothing on the PATH but a few tools of the system and the stubs. */
    private Commands.Ended launch(Map<String, String> environment, String... arguments)
            throws IOException, InterruptedException {
        return launch(LAUNCHER, environment, arguments);
    }

    private Commands.Ended launch(Path launcher, Map<String, String> environment, String... arguments)
            throws IOException, InterruptedException {
        var all = new HashMap<>(Map.of("PATH", bin.toString(), "WORKBOOK_CACHE", cache.toString(),
                "JAVA_HOME", "", "WORKBOOK_JBANG", ""));
        all.putAll(environment);
        var command = Stream.concat(Stream.of("sh", launcher.toString()), Stream.of(arguments)).toArray(String[]::new);
        return Commands.run(launcher.getParent(), all, command);
    }

    private static void assertOneSentence(Commands.Ended ended, String words) {
        assertEquals(2, ended.status(), ended.all());
        var complaints = ended.errors().lines().filter(line -> !line.contains("(once)")).toList();
        assertEquals(1, complaints.size(), ended.all());
        assertTrue(complaints.getFirst().contains(words), ended.all());
        assertEquals("", ended.output());
    }

    // What the machine lacks.

    @Test
    void without_a_network_the_first_run_says_so() throws Exception {
        stub("mvn", "echo 'much noise'; echo 'more noise' >&2; exit 1");
        assertOneSentence(launch(Map.of(), "--version"), "is there a network?");
    }

    @Test
    void a_damaged_download_by_mvn_is_not_used() throws Exception {
        stub("mvn", "for a; do case $a in "
                + "-DoutputDirectory=*) echo damaged >\"${a#*=}/jbang-cli-0.132.1-all.jar\" ;; esac; done");
        assertOneSentence(launch(Map.of(), "--version"), "damaged");
        assertCacheIsEmpty();
    }

    @Test
    void a_damaged_download_by_curl_is_not_used() throws Exception {
        stub("curl", "while [ \"$1\" != -o ]; do shift; done; echo damaged >\"$2\"");
        assertOneSentence(launch(Map.of(), "--version"), "damaged");
        assertCacheIsEmpty();
    }

    private void assertCacheIsEmpty() throws IOException {
        try (var left = Files.list(cache)) {
            assertEquals(List.of(), left.toList(), "left in the cache");
        }
    }

    @Test
    void what_nothing_can_check_is_not_used() throws Exception {
        stub("curl", "while [ \"$1\" != -o ]; do shift; done; echo something >\"$2\"");
        Files.delete(bin.resolve("sha256sum"));
        assertOneSentence(launch(Map.of(), "--version"), "neither sha256sum nor shasum");
    }

    /** The archive of a release, but for its bytes: a stub says that its checksum is the published one. */
    @Test
    void a_download_by_curl_is_unpacked_and_used() throws Exception {
        var archive = folder.resolve("release.zip");
        try (var zip = new ZipOutputStream(Files.newOutputStream(archive))) {
            zip.putNextEntry(new ZipEntry("jbang-0.132.1/bin/jbang.jar"));
            zip.write("the jar".getBytes(StandardCharsets.UTF_8));
        }
        var published = Files.readAllLines(LAUNCHER).stream().filter(line -> line.startsWith("zip_sha256="))
                .findFirst().orElseThrow().replaceAll("^zip_sha256=| .*", "");
        stub("curl", "while [ \"$1\" != -o ]; do shift; done; "
                + "echo \"$3\" >'" + folder + "/asked'; cat '" + archive + "' >\"$2\"");
        Files.delete(bin.resolve("sha256sum"));
        stub("sha256sum", "echo '" + published + "  -'");
        Files.createSymbolicLink(bin.resolve("jar"), Path.of(Jvm.java()).resolveSibling("jar"));
        var home = jdk("25.0.1", "while [ \"$1\" != -cp ]; do shift; done; cat \"$2\"; exit 7");
        Files.createSymbolicLink(home.resolve("bin/jar"), Path.of(Jvm.java()).resolveSibling("jar"));
        var ended = launch(Map.of("JAVA_HOME", home.toString()), "--version");
        assertEquals("the jar", ended.output(), ended.all());
        assertEquals(7, ended.status());
        assertTrue(Files.readString(folder.resolve("asked")).endsWith("/jbang-0.132.1.zip\n"));
    }

    @Test
    void a_download_by_curl_that_fails_says_so() throws Exception {
        stub("curl", "exit 6");
        assertOneSentence(launch(Map.of(), "--version"), "is there a network?");
    }

    @Test
    void with_neither_mvn_nor_curl_it_says_what_to_install() throws Exception {
        assertOneSentence(launch(Map.of(), "--version"), "install");
    }

    @Test
    void a_cache_that_cannot_be_written_is_named() throws Exception {
        Files.createFile(folder.resolve("file"));
        var noFolder = folder.resolve("file/cache").toString();
        assertOneSentence(launch(Map.of("WORKBOOK_CACHE", noFolder), "--version"), "WORKBOOK_CACHE");
    }

    static boolean canHideJava() throws Exception {
        var hide = List.of("unshare", "-m", "mount", "-t", "tmpfs", "none", "/usr/lib/jvm");
        return Commands.run(Path.of("/"), Map.of(), hide.toArray(String[]::new)).status() == 0;
    }

    /** Where no installer has put a JDK. */
    private Commands.Ended launchWithoutJdks(Path javaHome, String... arguments)
            throws IOException, InterruptedException {
        var script = "mount -t tmpfs none /usr/lib/jvm && PATH=%s HOME=%s exec sh %s %s"
                .formatted(bin, folder, LAUNCHER, String.join(" ", arguments));
        var environment = Map.of("JAVA_HOME", javaHome.toString(), "WORKBOOK_CACHE", cache.toString(),
                "WORKBOOK_JBANG", "./jbang");
        return Commands.run(folder, environment, "unshare", "-m", "sh", "-c", script);
    }

    @Test
    @EnabledIf(value = "canHideJava", disabledReason = "hiding the machine's JDKs takes root and Linux")
    void without_java_it_says_so() throws Exception {
        assertOneSentence(launchWithoutJdks(Path.of(""), "lab-401"), "install a JDK 25");
    }

    @Test
    @EnabledIf(value = "canHideJava", disabledReason = "hiding the machine's JDKs takes root and Linux")
    void with_an_older_jdk_alone_it_says_where_to_get_a_newer_one() throws Exception {
        var old = jdk("17.0.15", "echo 'this is 17'; exit 4");
        Files.createSymbolicLink(bin.resolve("java"), old.resolve("bin/java"));
        Files.createFile(Files.createDirectories(cache).resolve("jbang-0.132.1.jar"));
        var ended = launchWithoutJdks(old, "lab-401");
        assertEquals(4, ended.status(), ended.all());
        assertEquals("this is 17\n", ended.output(), "JBang is asked all the same: it may download a JDK");
        for (var words : List.of("no JDK 25 was found", "./jbang jdk install 25", "https://adoptium.net", "SDKMAN",
                "apt install openjdk-25-jdk-headless")) {
            assertTrue(ended.errors().contains(words), words + "\n" + ended.all());
        }
        assertEquals("", launchWithoutJdks(old, "jdk", "install", "25").errors());
    }

    // Another JBang on the PATH.

    @Test
    void a_jbang_on_the_path_goes_first_and_is_asked_for_its_version_once() throws Exception {
        stub("jbang", """
                if [ "$1" = --version ]; then
                    echo asked >>'%s/asked'
                    echo 'Picked up JAVA_TOOL_OPTIONS: -Dx=0.1' >&2
                    echo 0.132.1 >&2   # as JBang 0.132.1 does
                    exit
                fi
                printf '<%%s>' "$@"; exit 7""".formatted(folder));
        for (int i = 0; i < 3; i++) {
            var ended = launch(Map.of(), "lab-401", "a b", "$x", "");
            assertEquals("<lab-401><a b><$x><>", ended.output(), ended.all());
            assertEquals("", ended.errors());
            assertEquals(7, ended.status());
        }
        assertEquals("asked\n", Files.readString(folder.resolve("asked")));
    }

    @Test
    void a_jbang_that_prints_its_version_on_standard_output_is_taken_too() throws Exception {
        stub("jbang", "[ \"$1\" = --version ] && { echo 0.140.0; exit; }; echo taken");
        assertEquals("taken\n", launch(Map.of(), "lab-401").output());
    }

    @Test
    void a_jbang_that_is_too_old_is_passed_over() throws Exception {
        stub("jbang", "[ \"$1\" = --version ] && { echo 0.99.1; exit; }; echo old; exit 7");
        stub("mvn", "exit 1");
        var ended = launch(Map.of(), "--version");
        assertTrue(ended.errors().contains("or newer, so it is not used"), ended.all());
        assertTrue(ended.errors().contains("is there a network?"), ended.all());
        assertEquals("", ended.output());
    }

    @Test
    void a_jbang_that_leads_back_to_the_launcher_is_passed_over() throws Exception {
        stub("jbang", "exec sh '" + LAUNCHER + "' \"$@\"");
        stub("mvn", "exit 1");
        var ended = launch(Map.of(), "--version");
        assertTrue(ended.errors().contains("so it is not used"), ended.all());
        assertTrue(ended.errors().contains("is there a network?"), ended.all());
    }

    // What goes through it.

    private Path script() throws IOException {
        return Files.writeString(Files.createDirectories(folder.resolve("übung")).resolve("Args.java"), """
                //JAVA 25+
                void main(String[] args) {
                    for (var arg : args) { IO.print("<" + arg + ">"); }
                    System.exit(42);
                }
                """);
    }

    @Test
    void arguments_and_exit_status_pass_through() throws Exception {
        var ended = Commands.jbang("--quiet", script().toString(),
                "a b", "$HOME", "it's", "\"q\"", "*", "é", "a\\b", "--flag=x y", "two\nlines");
        assertEquals("<a b><$HOME><it's><\"q\"><*><é><a\\b><--flag=x y><two\nlines>", ended.output(), ended.all());
        assertEquals(42, ended.status());
    }

    @Test
    void in_a_locale_that_is_not_installed_letters_beyond_ascii_pass_through() throws Exception {
        for (var locale : List.of("xx_XX.ISO-8859-1", "xx_XX.UTF-8", "C")) {
            var ended = Commands.jbang(Map.of("LC_ALL", locale), "--quiet", script().toString(), "é");
            assertEquals(42, ended.status(), locale + ": " + ended.all());
        }
    }

    /**
     * The log of JBang's own JVM would otherwise be run as if JBang had asked for it; the log of the script's JVM is
     * the user's wish.
     */
    @Test
    void what_the_jvm_logs_is_never_run() throws Exception {
        var ended = Commands.jbang(Map.of("JAVA_TOOL_OPTIONS", "-Xlog:gc"), "--quiet", script().toString(), "a");
        assertEquals(42, ended.status(), ended.all());
        assertTrue(ended.output().matches("(?s)\\[.*gc.*<a>\\R?(\\[.*)?"), ended.all());
    }

    @Test
    void a_log_that_cannot_be_turned_off_is_not_run_either() throws Exception {
        Files.createFile(Files.createDirectories(cache).resolve("jbang-0.132.1.jar"));
        var home = jdk("25.0.1", "echo '[0.004s][info][gc] Using Serial'; echo 'echo run'; exit 255");
        var ended = launch(Map.of("JAVA_HOME", home.toString()), "lab-401");
        assertOneSentence(ended, "Java wrote its log where JBang's answer was expected");
    }

    // Names of the workbook.

    @Test
    void it_works_from_any_folder() throws Exception {
        var ended = Commands.run(folder, Map.of(), "sh", LAUNCHER.toString(), "progress");
        assertEquals(0, ended.status(), ended.all());
        assertTrue(ended.output().contains("TCP server"), ended.all());
    }

    @Test
    void test_is_a_name_like_watch() throws Exception {
        var ended = Commands.jbang("test", "401", "--help");
        assertEquals(0, ended.status(), ended.all());
        assertTrue(ended.output().contains("Checks a lab step by step"), ended.all());
    }

    @Test
    void a_lab_that_is_not_here_is_told_by_the_launcher() throws Exception {
        stub("jbang", "echo 'JBang is not asked'");
        for (var name : List.of("lab-499", "solution-499", "test-499")) {
            var ended = launch(fakeWorkbook(), Map.of("WORKBOOK_JBANG", "./jbang"), name);
            assertOneSentence(ended, "there is no lab 499 here; ./jbang progress lists the labs");
        }
    }

    @Test
    void labs_are_told_how_the_launcher_was_called_and_for_which_file() throws Exception {
        stub("jbang", "[ \"$1\" = --version ] && { echo 0.132.1; exit; }; "
                + "printf '%s|%s' \"$WORKBOOK_JBANG\" \"$WORKBOOK_FILE\"");
        var launcher = fakeWorkbook();
        var file = Files.createFile(launcher.resolveSibling("My Lab.java"));
        assertEquals("'%s'|'%s'".formatted(launcher.toString().replace("'", "'\\''"), file.getFileName()),
                launch(launcher, Map.of(), "--quiet", "My Lab.java", "--other", "Other.java").output());
        var called = launcher.getParent().getFileName().toString();
        var told = Map.of("WORKBOOK_JBANG", called, "WORKBOOK_FILE", "Stale.java");
        assertEquals(called + "|", launch(launcher, told, "--quiet").output());
    }

    // The remembered command.

    /** A folder whose launcher remembers a command: a stub that tells its arguments. Asking JBang prints «asked». */
    private Path fakeWorkbook() throws IOException {
        var root = Files.createDirectories(folder.resolve("it's a \"new work\" böok"));
        Files.copy(LAUNCHER, root.resolve("jbang"), StandardCopyOption.REPLACE_EXISTING);
        Files.writeString(root.resolve("jbang-catalog.json"), "{}");
        Files.createDirectories(root.resolve("tests/grader/show"));
        Files.writeString(root.resolve("tests/grader/Main.java"), "");
        return root.resolve("jbang");
    }

    private Path remember(Path launcher, Path java) throws IOException {
        var jar = Files.writeString(folder.resolve("a jar"), "");
        var memo = launcher.resolveSibling(".workbook/cache/command");
        Files.createDirectories(memo.getParent());
        Files.write(memo, List.of("# " + java, "# " + jar, "-cp", "\"x\""));
        Files.setLastModifiedTime(memo, FileTime.from(Instant.now().plusSeconds(60)));
        return jar;
    }

    @Test
    void a_remembered_command_is_run_without_asking_jbang_until_something_has_changed() throws Exception {
        stub("jbang", "[ \"$1\" = --version ] && { echo 0.132.1; exit; }; echo asked");
        var launcher = fakeWorkbook();
        var java = jdk("25.0.1", "shift; printf '<%s>' \"$@\"; exit 3").resolve("bin/java");
        var jar = remember(launcher, java);
        var ended = launch(launcher, Map.of(), "test-401", "a b", "");
        assertEquals("<test><401><a b><>", ended.output(), ended.all());
        assertEquals(3, ended.status());
        assertEquals("<hint><401>", launch(launcher, Map.of(), "hint", "401").output());
        assertEquals("asked\n", launch(launcher, Map.of(), "lab-401.java").output(), "what is none of the grader's");

        Files.delete(jar);
        assertEquals("asked\n", launch(launcher, Map.of(), "hint").output(), "a jar is gone");
        for (var changed : List.of("tests/grader/Main.java", "tests/grader/show", "jbang-catalog.json", "jbang")) {
            remember(launcher, java);
            assertEquals("<hint>", launch(launcher, Map.of(), "hint").output());
            Files.setLastModifiedTime(launcher.resolveSibling(changed), FileTime.from(Instant.now().plusSeconds(120)));
            assertEquals("asked\n", launch(launcher, Map.of(), "hint").output(), changed + " is newer");
            Files.setLastModifiedTime(launcher.resolveSibling(changed), FileTime.from(Instant.now()));
        }
        remember(launcher, java);
        Files.delete(java);
        assertEquals("asked\n", launch(launcher, Map.of(), "hint").output(), "its Java is gone");
    }

    @Test
    void a_remembered_command_yields_to_another_jdk_25_in_java_home() throws Exception {
        stub("jbang", "[ \"$1\" = --version ] && { echo 0.132.1; exit; }; echo asked");
        var launcher = fakeWorkbook();
        var home = jdk("25.0.1", "echo remembered");
        remember(launcher, home.resolve("bin/java"));
        var same = Files.createSymbolicLink(folder.resolve("current"), home);
        for (var kept : List.of("", home.toString(), same.toString(), jdk("17.0.15", "").toString(), "/nonsense")) {
            assertEquals("remembered\n", launch(launcher, Map.of("JAVA_HOME", kept), "hint").output(), kept);
        }
        assertEquals("asked\n", launch(launcher, Map.of("JAVA_HOME", jdk("26", "").toString()), "hint").output());
    }

    /**
     * A workbook in a folder whose name needs quoting: what the grader writes is what {@code java @file} and the
     * launcher read.
     */
    @Test
    void what_the_grader_remembers_is_what_the_launcher_runs() throws Exception {
        stub("jbang", "echo 0.132.1");   // also when it is asked
        try (var copy = WorkbookCopy.withCacheOfItsOwn()) {
            var root = Files.move(copy.root(), folder.resolve("it's a \"new work\" böok"));
            var command = new ArrayList<>(copy.command("progress"));
            command.add(1, "-Dworkbook.remember=true");
            Files.createDirectories(root.resolve(".workbook/cache"));
            var first = Commands.run(root, Map.of("WORKBOOK_NO_AOT", "1"), command.toArray(String[]::new));
            assertTrue(first.output().contains("TCP server"), first.all());
            var memo = root.resolve(".workbook/cache/command");
            var written = ((FileTime) Files.getAttribute(memo, "unix:ctime")).toInstant();
            assertTrue(Files.getLastModifiedTime(memo).toInstant().isBefore(written.minusMillis(50)),
                    "as old as the program that wrote it, so that what was saved meanwhile is newer");
            Files.setLastModifiedTime(memo, FileTime.from(Instant.now()));
            var again = launch(root.resolve("jbang"), Map.of("WORKBOOK_NO_AOT", "1"), "progress");
            assertEquals(first.output(), again.output(), again.all());
        }
    }

    @Test
    void the_shells_of_small_systems_read_it() throws Exception {
        var shells = Stream.of(List.of("dash"), List.of("busybox", "sh"), List.of("bash", "--posix"))
                .filter(shell -> Commands.onPath(shell.getFirst()).isPresent()).toList();
        var environment = Map.of("PATH", bin.toString(), "WORKBOOK_CACHE", cache.toString(), "JAVA_HOME", "");
        var launcher = fakeWorkbook();
        remember(launcher, jdk("25.0.1", "echo remembered").resolve("bin/java"));
        stub("jbang", "[ \"$1\" = --version ] && { echo 0.132.1; exit; }; echo asked");
        assertTrue(!shells.isEmpty());
        for (var shell : shells) {
            for (var expected : Map.of("hint", "remembered\n", "--help", "asked\n").entrySet()) {
                var command = new ArrayList<>(List.of(Commands.onPath(shell.getFirst()).orElseThrow().toString()));
                command.addAll(shell.subList(1, shell.size()));
                command.addAll(List.of(launcher.toString(), expected.getKey()));
                var ended = Commands.run(launcher.getParent(), environment, command.toArray(String[]::new));
                assertEquals(expected.getValue(), ended.output(), shell + " " + ended.all());
            }
        }
    }

    @Test
    void the_launcher_is_short_enough_to_read_in_two_minutes() throws IOException {
        assertTrue(Files.readAllLines(LAUNCHER).size() <= 160);
    }
}
