package verify.book;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import module java.base;

import grader.speed.Jvm;
import verify.Commands;
import verify.Selection;

/** What the judges of pages say: vnu of their HTML, and axe, inside a browser, of how accessible they are. */
final class PageChecks {
    private PageChecks() {}

    /** A file of a package that npm has installed globally. */
    private static Path npm(String module, String file) throws Exception {
        assumeTrue(Commands.onPath("npm").isPresent(), "it needs npm's " + module);
        var root = Commands.run(Selection.root(), Map.of(), "npm", "root", "--global").output().strip();
        var found = Path.of(root, module, file);
        assumeTrue(Files.exists(found), "it needs npm's " + module);
        return found;
    }

    /** The errors; empty where there is none. Of style sheets inside a page vnu knows less than browsers do. */
    static String vnu(List<Path> pages) throws Exception {
        var vnu = npm("vnu-jar", "build/dist/vnu.jar").toString();
        var command = new ArrayList<>(List.of(Jvm.java(), "-XX:+UseSerialGC", "-jar", vnu, "--format", "gnu",
                "--filterpattern", "CSS: .*"));
        pages.forEach(page -> command.add(page.toString()));
        var ended = Commands.run(Selection.root(), Map.of(), command.toArray(String[]::new));
        return ended.status() == 0 ? ended.all() : ended.all() + "vnu ended with status " + ended.status();
    }

    /** Violations on a page with all unfolded that a reader can unfold, after this script. */
    static List<String> axe(Browser browser, Path page, String look, String script) throws Exception {
        var axe = Files.readString(npm("axe-core", "axe.min.js"));
        browser.open(page.toUri());
        browser.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })");
        browser.evaluate(script);
        browser.evaluate(axe + "; 0");
        var violations = browser.evaluate("axe.run({ resultTypes: ['violations'] }).then(told => told.violations)");
        return violations.valueStream().flatMap(rule -> rule.path("nodes").valueStream()
                .map(node -> "%s (%s): %s: %s".formatted(page.getFileName(), look, rule.path("help").asText(),
                        node.path("html").asText()))).toList();
    }
}
