package verify.tool;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import module java.base;

import grader.workbook.Folders;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;
import verify.Commands;
import verify.Selection;

/** {@code ./jbang} on machines that lack something: one clear sentence and a status that is not 0. */
class LauncherTest {
    private Path folder;
    private Path bin;
    private Path cache;

    @BeforeEach
    void open() throws IOException {
        folder = Files.createTempDirectory("launcher").toRealPath();
        bin = Files.createDirectory(folder.resolve("bin"));
        cache = folder.resolve("cache");
        for (var tool : List.of("sh", "sed", "readlink", "dirname", "mkdir", "mktemp", "mv", "rm", "sha256sum", "tar", "cat", "sort", "head")) {
            Files.createSymbolicLink(bin.resolve(tool), Commands.onPath(tool).orElseThrow());
        }
    }

    @AfterEach
    void close() throws IOException {
        Folders.delete(folder);
    }

    private void stub(String name, String script) throws IOException {
        Files.writeString(bin.resolve(name), "#!/bin/sh\n" + script + "\n").toFile().setExecutable(true);
    }

    /** With nothing on the PATH but a few tools of the system and the stubs. */
    private Commands.Ended launch(Map<String, String> environment, String... arguments) throws IOException, InterruptedException {
        var all = new HashMap<>(Map.of("PATH", bin.toString(), "WORKBOOK_CACHE", cache.toString(), "JAVA_HOME", ""));
        all.putAll(environment);
        return Commands.jbang(all, arguments);
    }

    private static void assertOneSentence(Commands.Ended ended, String words) {
        assertTrue(ended.status() != 0, ended.all());
        var complaints = ended.errors().lines().filter(line -> !line.contains("(once)")).toList();
        assertEquals(1, complaints.size(), ended.all());
        assertTrue(complaints.getFirst().contains(words), ended.all());
        assertEquals("", ended.output());
    }

    @Test
    void without_a_network_the_first_run_says_so() throws Exception {
        stub("mvn", "echo 'much noise'; echo 'more noise' >&2; exit 1");
        assertOneSentence(launch(Map.of(), "--version"), "is there a network?");
    }

    @Test
    void a_damaged_download_is_not_used() throws Exception {
        stub("mvn", "for a; do case $a in -DoutputDirectory=*) echo damaged >\"${a#*=}/jbang-cli-0.132.1-all.jar\" ;; esac; done");
        assertOneSentence(launch(Map.of(), "--version"), "damaged");
        try (var left = Files.list(cache)) {
            assertEquals(List.of(), left.toList(), "left in the cache");
        }
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
        assertOneSentence(launch(Map.of("WORKBOOK_CACHE", folder.resolve("file/cache").toString()), "--version"), "WORKBOOK_CACHE");
    }

    static boolean canHideJava() throws Exception {
        return Commands.run(Path.of("/"), Map.of(), "unshare", "-m", "mount", "-t", "tmpfs", "none", "/usr/lib/jvm").status() == 0;
    }

    @Test
    @EnabledIf(value = "canHideJava", disabledReason = "hiding the machine's JDKs takes root and Linux")
    void without_java_it_says_so() throws Exception {
        var script = "mount -t tmpfs none /usr/lib/jvm && PATH=%s HOME=%s exec sh %s lab-401".formatted(bin, folder, Selection.root().resolve("jbang"));
        assertOneSentence(Commands.run(folder, Map.of("JAVA_HOME", "", "WORKBOOK_CACHE", cache.toString()), "unshare", "-m", "sh", "-c", script), "install a JDK 25");
    }

    @Test
    void a_jbang_on_the_path_goes_first() throws Exception {
        stub("jbang", "[ \"$1\" = --version ] && { echo 0.140.0; exit; }; printf '<%s>' \"$@\"; exit 7");
        for (int i = 0; i < 2; i++) {   // the second time its version is known
            var ended = launch(Map.of(), "lab-401", "a b", "$x", "");
            assertEquals("<lab-401><a b><$x><>", ended.output(), ended.all());
            assertEquals(7, ended.status());
        }
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
        stub("jbang", "exec sh '" + Selection.root().resolve("jbang") + "' \"$@\"");
        stub("mvn", "exit 1");
        var ended = launch(Map.of(), "--version");
        assertTrue(ended.errors().contains("so it is not used"), ended.all());
        assertTrue(ended.errors().contains("is there a network?"), ended.all());
    }

    @Test
    void arguments_and_exit_status_pass_through() throws Exception {
        var script = Files.writeString(folder.resolve("Args.java"), """
                //JAVA 25+
                void main(String[] args) {
                    for (var arg : args) { IO.print("<" + arg + ">"); }
                    System.exit(42);
                }
                """);
        var ended = Commands.jbang("--quiet", script.toString(), "a b", "$HOME", "it's", "\"q\"", "*", "é", "a\\b", "--flag=x y");
        assertEquals("<a b><$HOME><it's><\"q\"><*><é><a\\b><--flag=x y>", ended.output(), ended.all());
        assertEquals(42, ended.status());
    }

    @Test
    void it_works_from_any_folder() throws Exception {
        var ended = Commands.run(folder, Map.of(), "sh", Selection.root().resolve("jbang").toString(), "progress");
        assertEquals(0, ended.status(), ended.all());
        assertTrue(ended.output().contains("TCP server"), ended.all());
    }

    @Test
    void the_launcher_is_short_enough_to_read_in_two_minutes() throws IOException {
        assertTrue(Files.readAllLines(Selection.root().resolve("jbang")).size() <= 140);
    }
}
