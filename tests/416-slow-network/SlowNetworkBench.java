///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 416's benchmark: throughput beside a plain relay and socat, and what a latency takes from it
//SOURCES ../../solutions/416-slow-network/SlowNetwork.java
//SOURCES ../bench/*.java

import module java.base;

import bench.Arguments;
import bench.Figures;
import bench.Loopback;

/**
 * How fast are bytes echoed through the proxy, beside a relay that only copies?
 *
 * <p>All contestants run in turn, in one run; only what is compared within it means anything.
 */
public final class SlowNetworkBench {

    private static final String USAGE = """
            ./jbang bench 416                beside a plain relay, socat and no relay at all
                --rounds N                 measured rounds (5)
                --megabytes N              echoed in each (64)
            ./jbang bench 416 --help         this text""";

    private static final InetAddress HERE = InetAddress.getLoopbackAddress();
    private static final InetSocketAddress ANY = new InetSocketAddress(HERE, 0);

    private static int megabytes = 64;

    public static void main(String[] args) throws Exception {
        var given = Arguments.of(args, USAGE);
        int rounds = given.number("--rounds", 5, 9999);
        megabytes = given.number("--megabytes", megabytes, 9999);
        given.end();
        IO.println("%d MiB echoed, %d rounds; all share %d processors\n".formatted(megabytes, rounds,
                Runtime.getRuntime().availableProcessors()));
        int echo = Loopback.serve(client -> copy(client, client));
        int plain = Loopback.serve(client -> relay(client, echo));
        var upstream = new InetSocketAddress(HERE, echo);
        var delay = new SlowNetwork.Latency(Duration.ofMillis(20));
        var ours = SlowNetwork.start(ANY, upstream, SlowNetwork.Options.defaults());
        var slow = SlowNetwork.start(ANY, upstream, SlowNetwork.Options.defaults(),
                SlowNetwork.Toxic.of(SlowNetwork.Direction.DOWNSTREAM, delay));
        int port = Loopback.freePort();
        var socat = socat(port, echo);
        try {
            var contestants = new LinkedHashMap<String, Integer>();
            contestants.put("no relay", echo);
            contestants.put("socat", port);
            contestants.put("plain relay", plain);
            contestants.put("this lab", ours.localAddress().getPort());
            contestants.put("this lab, latency 20 ms", slow.localAddress().getPort());
            compare(contestants, rounds);
        } finally {
            socat.destroy();
            socat.waitFor();
        }
        System.exit(0);   // the accept loops below have no end
    }

    private static void compare(Map<String, Integer> contestants, int rounds) throws Exception {
        var figures = new LinkedHashMap<String, List<Double>>();
        for (int round = -1; round < rounds; round++) {   // the first one is to warm up
            for (var one : contestants.entrySet()) {
                double figure = echo(one.getValue());
                if (round >= 0) {
                    figures.computeIfAbsent(one.getKey(), _ -> new ArrayList<>()).add(figure);
                }
            }
        }
        figures.forEach((name, all) -> IO.println("  %-26s%s MB/s".formatted(name, Figures.spread("%.0f", all))));
        IO.println("\nratios within each round");
        ratio(figures, "this lab", "plain relay", "");
        ratio(figures, "this lab", "socat", "");
        ratio(figures, "plain relay", "no relay", "");
        ratio(figures, "socat", "no relay", "");
        ratio(figures, "this lab", "no relay", " (target 0.45)");
        ratio(figures, "this lab, latency 20 ms", "this lab", " (target 0.7)");
    }

    private static void ratio(Map<String, List<Double>> figures, String one, String other, String target) {
        var ratios = new ArrayList<Double>();
        for (int i = 0; i < figures.get(one).size(); i++) {
            ratios.add(figures.get(one).get(i) / figures.get(other).get(i));
        }
        IO.println("  %-40s%s%s".formatted(one + " / " + other, Figures.spread("%.2f", ratios), target));
    }

    /** In MB/s. */
    private static double echo(int port) throws Exception {
        var piece = new byte[64 * 1024];
        try (var socket = new Socket(HERE, port)) {
            long start = System.nanoTime();
            Thread.ofVirtual().start(() -> {
                try {
                    for (int i = 0; i < megabytes * 16; i++) {
                        socket.getOutputStream().write(piece);
                    }
                    socket.shutdownOutput();
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            });
            var buffer = new byte[64 * 1024];
            long bytes = 0;
            for (int count = 0; count != -1; count = socket.getInputStream().read(buffer)) {
                bytes += count;
            }
            if (bytes != megabytes * 1024L * 1024) {
                Arguments.giveUp("only " + bytes + " bytes came back");
            }
            return bytes * 1e3 / (System.nanoTime() - start);
        }
    }

    private static void relay(Socket client, int to) throws IOException {
        try (var server = new Socket(HERE, to)) {
            var up = Thread.ofVirtual().start(() -> {
                try {
                    copy(client, server);
                } catch (IOException e) {
                    // The other direction sees it as well.
                }
            });
            copy(server, client);
            up.join();
        } catch (InterruptedException e) {
            throw new InterruptedIOException();
        }
    }

    private static void copy(Socket from, Socket to) throws IOException {
        var buffer = new byte[32 * 1024];
        for (int count = from.getInputStream().read(buffer); count != -1; count = from.getInputStream().read(buffer)) {
            to.getOutputStream().write(buffer, 0, count);
        }
        to.shutdownOutput();
    }

    private static Process socat(int port, int to) throws Exception {
        var program = Path.of("/usr/bin/socat");
        if (!Files.isExecutable(program)) {
            Arguments.giveUp("this benchmark needs " + program + "; on Debian: apt-get install socat");
        }
        var process = new ProcessBuilder(program.toString(), "-b", "32768", "TCP-LISTEN:" + port
                + ",bind=127.0.0.1,fork,reuseaddr", "TCP:127.0.0.1:" + to).start();
        for (int i = 0; i < 100; i++) {
            try (var probe = new Socket(HERE, port)) {
                return process;
            } catch (IOException e) {
                Thread.sleep(50);
            }
        }
        process.destroy();
        throw new IOException("socat does not listen on port " + port);
    }
}
