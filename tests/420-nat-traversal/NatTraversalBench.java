///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 420's benchmark: Binding requests answered, beside coturn, and messages encoded and decoded
//SOURCES ../../solutions/420-nat-traversal/NatTraversal.java
//SOURCES ../bench/*.java

import module java.base;

import bench.Arguments;
import bench.Figures;
import bench.Loopback;

/** One client with 16 requests under way, which waits for each response before it sends another. */
public final class NatTraversalBench {

    private static final String USAGE = """
            ./jbang bench 420                beside coturn's turnserver
                --rounds N                 measured rounds (5)
                --seconds N                length of one measurement (1)
            ./jbang bench 420 --help         this text""";
    private static final int UNDER_WAY = 16;

    public static void main(String[] args) throws Exception {
        var given = Arguments.of(args, USAGE);
        int rounds = given.number("--rounds", 5, 9999);
        int seconds = given.number("--seconds", 1, 9999);
        given.end();
        var folder = Files.createTempDirectory("bench-420");
        int port = Loopback.freePort();
        var coturn = coturn(port, folder);
        try (var socket = NatTraversal.Datagrams.udp(new InetSocketAddress("127.0.0.1", 0))) {
            Thread.ofPlatform().daemon().start(() -> serve(socket));
            IO.println("%d rounds of %d s for each, after one to warm up; client and servers share %d processors\n"
                    .formatted(rounds, seconds, Runtime.getRuntime().availableProcessors()));
            var ours = new ArrayList<Double>();
            var theirs = new ArrayList<Double>();
            for (int round = 0; round <= rounds; round++) {
                theirs.add(exchanges(new InetSocketAddress("127.0.0.1", port), seconds));
                ours.add(exchanges(socket.localAddress(), seconds));
            }
            ours.removeFirst();
            theirs.removeFirst();
            IO.println("Binding requests answered, a second");
            IO.println("  this lab           " + Figures.spread("%,.0f", ours));
            IO.println("  coturn             " + Figures.spread("%,.0f", theirs));
            IO.println("  this lab / coturn  " + Figures.spread("%.2f", IntStream.range(0, rounds)
                    .mapToDouble(i -> ours.get(i) / theirs.get(i))) + ", target 0.9");
            IO.println("\nencode and decode a request and its response: %.2f µs, target 2".formatted(codec()));
        } finally {
            coturn.destroy();
            coturn.waitFor();
            for (var file : Objects.requireNonNull(folder.toFile().listFiles())) {
                Files.delete(file.toPath());
            }
            Files.delete(folder);
        }
        System.exit(0);
    }

    private static void serve(NatTraversal.Datagrams socket) {
        try {
            while (true) {
                var packet = socket.receive(Duration.ofSeconds(100));
                if (packet.isPresent()) {
                    NatTraversal.serveStun(List.of(socket), 0, packet.get());
                }
            }
        } catch (IOException e) {
            // the benchmark is over
        }
    }

    private static double exchanges(InetSocketAddress server, int seconds) throws IOException {
        try (var channel = DatagramChannel.open().bind(new InetSocketAddress("127.0.0.1", 0))) {
            channel.connect(server);
            channel.socket().setSoTimeout(5000);
            var request = ByteBuffer.wrap(NatTraversal.Message.request(1).raw());
            var response = new DatagramPacket(new byte[1500], 1500);
            for (int i = 0; i < UNDER_WAY; i++) {
                channel.write(request.rewind());
            }
            long start = System.nanoTime();
            long count = 0;
            for (; System.nanoTime() - start < seconds * 1e9; count++) {
                channel.socket().receive(response);
                channel.write(request.rewind());
            }
            return count * 1e9 / (System.nanoTime() - start);
        } catch (SocketTimeoutException e) {
            Arguments.giveUp("no response from " + server);
            throw e;
        }
    }

    /** In microseconds. */
    private static double codec() throws IOException {
        var mapped = new InetSocketAddress("203.0.113.7", 40_000);
        long start = 0;
        int count = 500_000;
        for (int i = 0; i < 2 * count; i++) {
            start = i == count ? System.nanoTime() : start;
            var request = NatTraversal.Message.decode(NatTraversal.Message.request(1).raw());
            var response = NatTraversal.Message.decode(request.success()
                    .with(NatTraversal.XOR_MAPPED_ADDRESS, mapped).raw());
            if (!response.address(NatTraversal.XOR_MAPPED_ADDRESS).orElseThrow().equals(mapped)) {
                throw new IllegalStateException("a wrong address");
            }
        }
        return (System.nanoTime() - start) / 1e3 / count;
    }

    private static Process coturn(int port, Path folder) throws Exception {
        try {
            var process = new ProcessBuilder("turnserver", "-n", "-c", "/dev/null", "--no-tls", "--no-dtls", "--no-cli",
                    "-p", "" + port, "-L", "127.0.0.1", "-E", "127.0.0.1", "-S", "--pidfile", folder + "/pid",
                    "--db", folder + "/db", "--log-file", folder + "/log").redirectErrorStream(true)
                    .redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
            try (var probe = new DatagramSocket()) {
                probe.setSoTimeout(100);
                var request = NatTraversal.Message.request(1).raw();
                for (int i = 0; i < 100; i++) {
                    probe.send(new DatagramPacket(request, request.length, new InetSocketAddress("127.0.0.1", port)));
                    try {
                        probe.receive(new DatagramPacket(new byte[1500], 1500));
                        return process;
                    } catch (IOException e) {
                        // not yet
                    }
                }
            }
            process.destroy();
            Arguments.giveUp("coturn does not answer");
        } catch (IOException e) {
            Arguments.giveUp("this benchmark needs coturn's turnserver; on Debian: apt-get install coturn");
        }
        throw new IllegalStateException();
    }
}
