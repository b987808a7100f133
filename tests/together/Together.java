///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Runs six labs together, each in a process of its own
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS org.junit.platform:junit-platform-launcher:6.1.3
//DEPS com.fasterxml.jackson.core:jackson-databind:2.19.2
//SOURCES Part.java
//SOURCES Parts.java
//SOURCES ../grader/workbook/*.java
//SOURCES ../grader/box/*.java
//SOURCES ../grader/check/*.java
//SOURCES ../grader/compile/*.java
//SOURCES ../grader/runner/*.java
//SOURCES ../grader/speed/*.java
//RUNTIME_OPTIONS -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xlog:disable
package together;

import module java.base;

import grader.workbook.CannotCheck;
import grader.workbook.Folders;
import grader.workbook.Workbook;

/**
 * Six labs at work on one call. Lab 414 asks lab 418 where the proxy is, goes through the slow link of lab 416 and a
 * tunnel of lab 408 to the HTTP/2 server of lab 409, and lab 406 watches the wire. Then the link stalls.
 */
public final class Together {
    private static final String HELP = """
            together           runs six labs together, each in a process of its own
            together --yours   takes your lab wherever it passes the steps that are needed
            together help      this text
            """;
    private static final int COULD_NOT_RUN = 2;
    private static final String PROXY = "proxy.lab.test";
    /** The link that stalls lets so much pass. */
    private static final int STALL_AFTER = 65_536;
    private static final int BIG = 1_000_000;

    private final Parts parts;
    private final Path folder;
    private final Path certificate;

    private Together(Parts parts, Path folder) {
        this.parts = parts;
        this.folder = folder;
        certificate = folder.resolve("server.pem");
    }

    public static void main(String[] args) {
        int status = 0;
        var words = String.join(" ", args);
        try {
            if (words.matches("(-h|(--)?help)")) {
                IO.print(HELP);
            } else if (words.matches("(--yours)?")) {
                run(args.length == 1);
            } else {
                System.err.print("not understood: " + words + "\n" + HELP);
                status = COULD_NOT_RUN;
            }
        } catch (Exception e) {
            System.err.println(CannotCheck.sentence(e));
            status = COULD_NOT_RUN;
        }
        System.exit(status);
    }

    private static void run(boolean yours) throws Exception {
        var folder = Files.createTempDirectory("together");
        try (var parts = new Parts(Workbook.find(), yours)) {
            IO.println("together: six labs, each in a process of its own");
            new Together(parts, folder).scenes();
            IO.println(yours ? "\nwith yours: %d of %d".formatted(parts.yours(), Parts.NEEDED.size())
                    : "\nyour own labs take part with: " + Workbook.jbang() + " together --yours");
        } finally {
            Folders.delete(folder);
        }
    }

    private void scenes() throws Exception {
        scene(1, "the processes");
        var zone = parts.start("418 zone", "zone", PROXY + "=127.0.0.1");
        var server = parts.start("409 server", "serve", "0", "--tls", "--certificate", certificate.toString());
        parts.show(zone, server);
        var proxy = parts.start("408 proxy", "forward", "0", "--allow", "localhost:" + server.port());
        parts.show(proxy);
        var link = parts.start("416 link", "--to", proxy.address(), "--latency", "20ms");
        var stalling = parts.start("416 link that stalls", "--to", proxy.address(), "--stall-after", "" + STALL_AFTER);
        parts.show(link, stalling);
        var filter = Stream.of(server, proxy, link, stalling).map(part -> "tcp port " + part.port())
                .collect(Collectors.joining(" or "));
        var capture = capture(filter, "calls");

        scene(2, "418 answers: where is the proxy?");
        parts.run("418 query", "@" + zone.address(), PROXY, "A").forEach(Together::show);

        scene(3, "414 calls the server twice, through the link and a tunnel");
        call(server, zone, link, "/", "--times", "2").forEach(Together::show);

        scene(4, "406 has seen, hop by hop");
        flows(capture, "calls", link, proxy, server);

        scene(5, "a link that stalls, %,d bytes into a response of %,d".formatted(STALL_AFTER, BIG));
        capture = capture(filter, "stall");
        call(server, zone, stalling, "/bytes/" + BIG, "--call-timeout", "3s").forEach(Together::show);
        // When the link has ended, what is behind it sees its connections end.
        show("416 " + stalling.end());
        flows(capture, "stall", stalling, proxy, server);

        scene(6, "what the others have counted");
        for (var part : List.of(zone, link, proxy, server)) {
            show(part.lab() + " " + part.end());
        }
    }

    /** What lab 414 prints about its calls. */
    private List<String> call(Part server, Part zone, Part link, String path, String... options) throws Exception {
        var arguments = new ArrayList<>(List.of("https://localhost:" + server.port() + path, "--dns", zone.address(),
                "--proxy", PROXY + ":" + link.port(), "--trust", certificate.toString()));
        arguments.addAll(List.of(options));
        return parts.run("414 call", arguments.toArray(String[]::new));
    }

    private Path pcap(String name) {
        return folder.resolve(name + ".pcap");
    }

    /** Begins to watch. Where this user may not, it says why, and gives nothing. */
    private Optional<Part> capture(String filter, String name) throws Exception {
        var capture = parts.start("406 capture", "live", "lo", "--filter", filter, "--write", pcap(name).toString());
        try {
            parts.show(capture);
            return Optional.of(capture);
        } catch (CannotCheck mayNot) {
            if (Workbook.requiresAll()) {
                throw mayNot;
            }
            show("406 is skipped: " + String.join(" ", capture.output()));
            return Optional.empty();
        }
    }

    /** Lab 406's line for each connection of the capture, by the hop that it is. */
    private void flows(Optional<Part> capture, String name, Part link, Part proxy, Part server) throws Exception {
        if (capture.isPresent()) {
            capture.get().end();
            var lines = parts.run("406 read", "read", pcap(name).toString());
            flows(lines, "client to link", link);
            flows(lines, "link to proxy", proxy);
            flows(lines, "proxy to server", server);
        }
    }

    private static void flows(List<String> lines, String hop, Part to) {
        lines.stream().filter(line -> line.matches("\\S+ > \\S+:" + to.port() + " \\w+, .*"))
                .forEach(line -> show("%-16s %s".formatted(hop, line.replaceFirst("\\S+ > \\S+ ", ""))));
    }

    private static void scene(int number, String title) {
        IO.println("\n  " + number + "  " + title);
    }

    static void show(String line) {
        IO.println(("     " + line).stripTrailing());
    }
}
