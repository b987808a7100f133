///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 413's benchmark: accuracy beside iperf3 and nginx, cost beside a relay without limits, fairness
//SOURCES ../../solutions/413-traffic-throttle/Throttle.java
//SOURCES ../bench/*.java

import module java.base;

import bench.Arguments;
import bench.Figures;
import bench.Loopback;

/**
 * Does a throttled socket reach the rate it was given? What does a limit cost? Do flows that share one get equal parts?
 *
 * <p>All contestants run in turn, in one run; only what is compared within it means anything.
 */
public final class ThrottleBench {

    private static final String USAGE = """
            ./jbang bench 413                beside iperf3, nginx and a relay without limits
                --rounds N                 measured rounds (3)
                --seconds N                length of one measurement (3)
            ./jbang bench 413 --help         this text""";

    private static final InetAddress HERE = InetAddress.getLoopbackAddress();
    private static final int BUFFER = 64 * 1024;
    private static final int FLOWS = 4;

    private static final String CONFIG = """
            daemon off;
            master_process off;
            pid DIR/pid;
            error_log DIR/error.log;
            events {}
            http {
                access_log off;
                client_body_temp_path DIR/body;
                proxy_temp_path DIR/proxy;
                fastcgi_temp_path DIR/fastcgi;
                uwsgi_temp_path DIR/uwsgi;
                scgi_temp_path DIR/scgi;
                server {
                    listen 127.0.0.1:PORT;
                    root DIR;
                    location /1/ { limit_rate 1000000; alias DIR/; }
                    location /10/ { limit_rate 10000000; alias DIR/; }
                    location /100/ { limit_rate 100000000; alias DIR/; }
                }
            }
            """;

    private interface Measure {
        double at(int megabytes) throws Exception;
    }

    private static int rounds = 3;
    private static int seconds = 3;

    public static void main(String[] args) throws Exception {
        var given = Arguments.of(args, USAGE);
        rounds = given.number("--rounds", rounds, 9999);
        seconds = given.number("--seconds", seconds, 9999);
        given.end();
        IO.println("%d rounds of %d s for each; senders and receivers share %d processors\n".formatted(
                rounds, seconds, Runtime.getRuntime().availableProcessors()));
        accuracy();
        cost();
        fairness();
        System.exit(0);   // the accept loops below have no end
    }

    private static void accuracy() throws Exception {
        var dir = Files.createTempDirectory("bench413");
        try (var file = new RandomAccessFile(dir.resolve("zeros").toFile(), "rw")) {
            file.setLength(100_000_000L * (seconds + 2));   // a sparse file
        }
        int web = Loopback.freePort();
        Files.writeString(dir.resolve("conf"), CONFIG.replace("DIR", dir.toString()).replace("PORT", "" + web));
        var nginx = start(Path.of("/usr/sbin/nginx"), "-c", dir.resolve("conf").toString());
        int port = Loopback.freePort();
        var iperf3 = start(Path.of("/usr/bin/iperf3"), "--server", "--port", "" + port);
        try {
            awaitServer(web);
            Thread.sleep(500);   // iperf3 would take a probe for its client
            int sink = sink();
            IO.println("reached rate / target, after the burst (target 0.99 to 1.01)");
            for (int megabytes : new int[] {1, 10, 100}) {
                compare(megabytes, "this lab", rate -> throttled(sink, rate));
                compare(megabytes, "iperf3 --bitrate", rate -> iperf3(port, rate));
                compare(megabytes, "nginx limit_rate", rate -> nginx(web, rate));
            }
        } finally {
            for (var process : List.of(nginx, iperf3)) {
                process.destroy();
                process.waitFor();
            }
            try (var files = Files.walk(dir)) {
                files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
            }
        }
    }

    private static void compare(int megabytes, String name, Measure measure) throws Exception {
        var ratios = new ArrayList<Double>();
        for (int i = 0; i < rounds; i++) {
            ratios.add(measure.at(megabytes) / megabytes);
        }
        IO.println("  %3d MB/s  %-20s%s".formatted(megabytes, name, Figures.spread("%.3f", ratios)));
    }

    /** In MB/s, as all that follow. */
    private static double throttled(int sink, int megabytes) throws IOException {
        int burst = megabytes * 100_000;   // 100 ms: makes up for stalls of the machine that last no longer
        var bucket = new Throttle.Bucket(megabytes * 1_000_000L, burst, Throttle.Timing.system());
        try (var socket = new Socket(HERE, sink)) {
            var out = Throttle.write(socket.getOutputStream(), Throttle.Limit.of(bucket));
            out.write(new byte[burst]);
            long start = System.nanoTime();
            long bytes = 0;
            for (var piece = new byte[16 * 1024]; System.nanoTime() - start < seconds * 1e9; bytes += piece.length) {
                out.write(piece);
            }
            return bytes * 1e3 / (System.nanoTime() - start);
        }
    }

    private static double iperf3(int port, int megabytes) throws Exception {
        var client = new ProcessBuilder("iperf3", "--client", "127.0.0.1", "--port", "" + port, "--bitrate",
                megabytes * 8 + "M", "--time", "" + seconds, "--format", "k").redirectErrorStream(true).start();
        try (var lines = client.inputReader()) {
            var line = lines.lines().filter(each -> each.contains("receiver")).findFirst()
                    .orElseThrow(() -> new IOException("iperf3 has said nothing"));
            return Double.parseDouble(line.replaceAll(".* ([\\d.]+) Kbits/sec.*", "$1")) / 8000;
        } finally {
            client.waitFor();
        }
    }

    /** From the first byte of the body on. */
    private static double nginx(int port, int megabytes) throws IOException {
        try (var socket = new Socket(HERE, port)) {
            socket.getOutputStream().write("GET /%d/zeros HTTP/1.0\r\n\r\n".formatted(megabytes).getBytes());
            var in = socket.getInputStream();
            in.readNBytes(300);
            long start = System.nanoTime();
            long bytes = 0;
            for (var piece = new byte[64 * 1024]; System.nanoTime() - start < seconds * 1e9; ) {
                bytes += in.read(piece);
            }
            return bytes * 1e3 / (System.nanoTime() - start);
        }
    }

    /** Both relays in turn, 0.5 s each, so that whatever else the machine does meets both. */
    private static void cost() throws Exception {
        int sink = sink();
        var limited = Throttle.Relay.start(new InetSocketAddress(HERE, 0), new InetSocketAddress(HERE, sink),
                Throttle.Options.defaults());
        int plain = plainRelay(sink);
        var ratios = new ArrayList<Double>();
        pump(limited.localAddress().getPort(), 1);
        pump(plain, 1);
        for (int i = 0; i < rounds; i++) {
            double ours = 0;
            double theirs = 0;
            for (int slice = 0; slice < seconds * 2; slice++) {
                ours += pump(limited.localAddress().getPort(), 0.5);
                theirs += pump(plain, 0.5);
            }
            ratios.add(ours / theirs);
        }
        limited.close();
        IO.println("\nthroughput of the relay without a limit / of one without buckets (target 0.7)");
        IO.println("  %s".formatted(Figures.spread("%.2f", ratios)));
    }

    private static double pump(int port, double seconds) throws IOException {
        try (var socket = new Socket(HERE, port)) {
            var piece = new byte[64 * 1024];
            long start = System.nanoTime();
            long bytes = 0;
            for (; System.nanoTime() - start < seconds * 1e9; bytes += piece.length) {
                socket.getOutputStream().write(piece);
            }
            socket.shutdownOutput();
            socket.getInputStream().read();   // all has arrived
            return bytes * 1e3 / (System.nanoTime() - start);
        }
    }

    private static void fairness() throws Exception {
        var indexes = new ArrayList<Double>();
        int sink = sink();
        for (int i = 0; i < rounds; i++) {
            try (var relay = Throttle.Relay.start(new InetSocketAddress(HERE, 0), new InetSocketAddress(HERE, sink),
                    Throttle.Options.defaults().withGlobal(10_000_000));
                    var flows = Executors.newVirtualThreadPerTaskExecutor()) {
                int port = relay.localAddress().getPort();
                Callable<Double> flow = () -> pump(port, seconds);
                var rates = flows.invokeAll(Collections.nCopies(FLOWS, flow)).stream()
                        .mapToDouble(Future::resultNow).toArray();
                double sum = Arrays.stream(rates).sum();
                double squares = Arrays.stream(rates).map(rate -> rate * rate).sum();
                indexes.add(sum * sum / (FLOWS * squares));
            }
        }
        IO.println("\nJain's fairness index of %d flows that share 10 MB/s (target 0.98; 1 is equal)".formatted(FLOWS));
        IO.println("  %s".formatted(Figures.spread("%.3f", indexes)));
    }

    /** A server that reads what comes; then it closes the connection. */
    private static int sink() throws IOException {
        return Loopback.serve(listener(), client -> client.getInputStream().transferTo(OutputStream.nullOutputStream()));
    }

    private static ServerSocket listener() throws IOException {
        var listener = new ServerSocket();
        listener.setReceiveBufferSize(BUFFER);
        return listener;
    }

    private static int plainRelay(int to) throws IOException {
        return Loopback.serve(listener(), client -> {
            try (var upstream = new Socket()) {
                upstream.setReceiveBufferSize(BUFFER);
                upstream.connect(new InetSocketAddress(HERE, to));
                for (var socket : List.of(client, upstream)) {
                    socket.setSendBufferSize(BUFFER);
                    socket.setTcpNoDelay(true);
                }
                var buffer = new byte[16 * 1024];
                var in = client.getInputStream();
                for (int count = in.read(buffer); count != -1; count = in.read(buffer)) {
                    upstream.getOutputStream().write(buffer, 0, count);
                }
                upstream.shutdownOutput();
                upstream.getInputStream().read();
            }
        });
    }

    private static Process start(Path program, String... arguments) throws IOException {
        if (!Files.isExecutable(program)) {
            Arguments.giveUp("this benchmark needs " + program + "; on Debian: apt-get install nginx-light iperf3");
        }
        var command = Stream.concat(Stream.of(program.toString()), Stream.of(arguments)).toList();
        return new ProcessBuilder(command).redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
    }

    private static void awaitServer(int port) throws InterruptedException {
        for (int i = 0; i < 100; i++) {
            try {
                new Socket(HERE, port).close();
                return;
            } catch (IOException e) {
                Thread.sleep(50);
            }
        }
        Arguments.giveUp("nothing answers on port " + port);
    }
}
