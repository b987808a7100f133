///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 411's benchmark: what deadlines cost, and a probe beside 1,000 slow clients
//SOURCES ../../solutions/411-socket-deadlines/DeadlineSocket.java
//SOURCES ../bench/*.java

import module java.base;

import bench.Arguments;
import bench.Figures;

/**
 * Small GET requests of wrk on 64 connections, to the lab's server with and
 * without limits, and to a server with blocking sockets and no deadline at all.
 * They take turns in one run; only their ratio means anything. Then a probe:
 * requests on connections of their own, first alone, then beside slowhttptest.
 */
public final class DeadlineSocketBench {

    private static final String USAGE = """
            ./jbang bench 411                with and without limits, and under attack
                --rounds N                 measured rounds (5)
                --seconds N                length of one measurement (2)
            ./jbang bench 411 --help         this text""";

    private static final byte[] BODY = "open\n".getBytes();

    private record Contestant(String name, int port, List<Double> rates) {
        Contestant(String name, int port) {
            this(name, port, new ArrayList<>());
        }
    }

    public static void main(String[] args) throws Exception {
        var given = Arguments.of(args, USAGE);
        int rounds = given.number("--rounds", 5, 9999);
        int seconds = given.number("--seconds", 2, 9999);
        given.end();
        var options = DeadlineSocket.Options.defaults().withMaxConnections(2000).withMaxPerAddress(2000);
        var without = options.withHeadTimeout(Duration.ZERO).withIdleTimeout(Duration.ZERO).withMinRate(0);
        try (var limits = start(options); var free = start(without); var blocking = new Blocking()) {
            var contestants = List.of(new Contestant("this server", limits.localAddress().getPort()),
                    new Contestant("without limits", free.localAddress().getPort()),
                    new Contestant("blocking sockets", blocking.port()));
            IO.println("%d rounds of %d s for each, after one to warm up; all share %d processors\n".formatted(
                    rounds, seconds, Runtime.getRuntime().availableProcessors()));
            compare(contestants, rounds, seconds);
            attack(limits);
        }
        System.exit(0);
    }

    private static DeadlineSocket.Server start(DeadlineSocket.Options options) throws IOException {
        return DeadlineSocket.Server.start(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
                request -> new DeadlineSocket.Response(200, BODY), options);
    }

    private static void compare(List<Contestant> contestants, int rounds, int seconds) throws Exception {
        for (int round = 0; round <= rounds; round++) {
            for (var each : round % 2 == 0 ? contestants : contestants.reversed()) {
                each.rates.add(rate(each.port, seconds));
            }
        }
        contestants.forEach(each -> each.rates.removeFirst());
        IO.println("GET requests a second, wrk with 64 connections");
        contestants.forEach(each -> IO.println("  %-30s%s".formatted(each.name, Figures.spread("%,.0f", each.rates))));
        IO.println("\nthis server, compared in each round");
        ratio("beside one without limits", contestants, 1, 0.9);
        ratio("beside blocking sockets", contestants, 2, 0.6);
    }

    private static double rate(int port, int seconds) throws Exception {
        var wrk = run("wrk", "-t1", "-c64", "-d" + seconds + "s", url(port));
        var output = new String(wrk.getInputStream().readAllBytes());
        var rate = Pattern.compile("Requests/sec: +([0-9.]+)").matcher(output);
        if (wrk.waitFor() != 0 || !rate.find() || output.contains("Socket errors")) {
            Arguments.giveUp("wrk failed:\n" + output);
        }
        return Double.parseDouble(rate.group(1));
    }

    private static Process run(String... command) throws IOException {
        try {
            return new ProcessBuilder(command).redirectErrorStream(true).start();
        } catch (IOException e) {
            Arguments.giveUp("this benchmark needs " + command[0] + "; on Debian: apt-get install wrk slowhttptest");
            throw e;
        }
    }

    private static String url(int port) {
        return "http://127.0.0.1:" + port + "/";
    }

    private static void ratio(String what, List<Contestant> contestants, int other, double target) {
        var ours = contestants.getFirst().rates;
        var ratios = IntStream.range(0, ours.size())
                .mapToObj(i -> ours.get(i) / contestants.get(other).rates.get(i)).toList();
        IO.println("  %-30s%s, target %.1f".formatted(what, Figures.spread("%.2f", ratios), target));
    }

    private static void attack(DeadlineSocket.Server server) throws Exception {
        int port = server.localAddress().getPort();
        probe(port, 2000);
        double quiet = probe(port, 2000);
        var slow = run("slowhttptest", "-H", "-c", "1000", "-r", "1000", "-i", "1", "-l", "10", "-u", url(port));
        var output = Thread.startVirtualThread(() -> slow.inputReader().lines().forEach(line -> {}));
        while (server.stats().active() < 1000) {
            Thread.sleep(10);
        }
        double attacked = probe(port, 2000);
        int active = server.stats().active();
        slow.waitFor();
        output.join();
        IO.println("\n99th percentile of 2,000 requests, each on a connection of its own, one after the other");
        IO.println("  alone                         %.2f ms".formatted(quiet));
        IO.println("  beside %,5d slow heads       %.2f ms".formatted(active, attacked));
        IO.println("  ratio                         %.1f, target at most 5".formatted(attacked / quiet));
        IO.println("  slow heads cut                %,d".formatted(server.stats().timedOutHead()));
    }

    /** In milliseconds. */
    private static double probe(int port, int requests) throws IOException {
        var times = new long[requests];
        var request = "GET / HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n".getBytes();
        for (int i = 0; i < requests; i++) {
            long start = System.nanoTime();
            try (var socket = new Socket("127.0.0.1", port)) {
                socket.getOutputStream().write(request);
                if (socket.getInputStream().readAllBytes().length < BODY.length) {
                    throw new EOFException();
                }
            }
            times[i] = System.nanoTime() - start;
        }
        Arrays.sort(times);
        return times[requests * 99 / 100] / 1e6;
    }

    /** Reads heads with blocking sockets, on virtual threads, for as long as they take. */
    private static final class Blocking implements AutoCloseable {

        private static final byte[] RESPONSE = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nopen\n".getBytes();
        private final ServerSocket listener = new ServerSocket(0, 1024, InetAddress.getLoopbackAddress());

        Blocking() throws IOException {
            Thread.startVirtualThread(() -> {
                while (true) {
                    try {
                        var socket = listener.accept();
                        Thread.startVirtualThread(() -> serve(socket));
                    } catch (IOException e) {
                        return;   // closed
                    }
                }
            });
        }

        int port() {
            return listener.getLocalPort();
        }

        private static void serve(Socket socket) {
            try (socket) {
                socket.setTcpNoDelay(true);
                var in = new BufferedInputStream(socket.getInputStream());
                var line = new StringBuilder();
                for (int next = in.read(); next != -1; next = in.read()) {
                    if (next != '\n') {
                        line.append((char) next);
                    } else if (line.length() > 1) {
                        line.setLength(0);
                    } else {
                        line.setLength(0);
                        socket.getOutputStream().write(RESPONSE);
                    }
                }
            } catch (IOException e) {
                // The client has gone.
            }
        }

        @Override
        public void close() throws IOException {
            listener.close();
        }
    }
}
