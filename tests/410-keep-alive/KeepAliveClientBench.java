///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 410's benchmark: small GETs to nginx, beside OkHttp
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//SOURCES ../../solutions/410-keep-alive/KeepAliveClient.java
//SOURCES ../bench/*.java

import module java.base;
import module java.net.http;

import bench.Arguments;
import bench.Figures;
import okhttp3.OkHttpClient;

/**
 * How many small GET requests a second does one thread get answered by nginx?
 *
 * <p>The contestants take turns in one run, on one platform thread; only their
 * ratio means anything. The raw socket writes the same
 * bytes each time, reads the same number of bytes back and understands none of
 * them: no client can be faster.
 */
public final class KeepAliveClientBench {

    private static final String USAGE = """
            ./jbang bench 410                beside OkHttp, HttpClient and sockets
                --rounds N                 measured rounds (5)
                --seconds N                length of one measurement (2)
            ./jbang bench 410 --help         this text""";

    private static final String CONFIG = """
            daemon off;
            master_process off;
            pid DIR/pid;
            error_log DIR/error.log;
            events {}
            http {
                access_log off;
                keepalive_requests 1000000000;
                client_body_temp_path DIR/body;
                proxy_temp_path DIR/proxy;
                fastcgi_temp_path DIR/fastcgi;
                uwsgi_temp_path DIR/uwsgi;
                scgi_temp_path DIR/scgi;
                server {
                    listen 127.0.0.1:PORT;
                    location / { return 200 "hello, world\\n"; }
                }
            }
            """;

    /** One request, and its whole response. */
    private interface Work {
        void run() throws Exception;
    }

    private record Contestant(String name, Work work, List<Double> rates) {
        Contestant(String name, Work work) {
            this(name, work, new ArrayList<>());
        }
    }

    public static void main(String[] args) throws Exception {
        var given = Arguments.of(args, USAGE);
        int rounds = given.number("--rounds", 5, 9999);
        int seconds = given.number("--seconds", 2, 9999);
        given.end();
        var dir = Files.createTempDirectory("bench410");
        int port;
        try (var probe = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            port = probe.getLocalPort();
        }
        var nginx = nginx(dir, port);
        try {
            awaitServer(port);
            IO.println(("%d rounds of %d s for each, after one to warm up;"
                    + " nginx and the client share %d processors\n").formatted(
                    rounds, seconds, Runtime.getRuntime().availableProcessors()));
            compare(port, rounds, seconds);
        } finally {
            nginx.destroy();
            nginx.waitFor();
            try (var files = Files.walk(dir)) {
                files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
            }
        }
        System.exit(0);   // OkHttp's threads may live on for a minute
    }

    private static Process nginx(Path dir, int port) throws IOException {
        var config = dir.resolve("nginx.conf");
        Files.writeString(config, CONFIG.replace("DIR", dir.toString()).replace("PORT", "" + port));
        for (var name : List.of("nginx", "/usr/sbin/nginx")) {
            try {
                return new ProcessBuilder(name, "-c", config.toString()).redirectErrorStream(true)
                        .redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
            } catch (IOException e) {
                // not there
            }
        }
        Arguments.giveUp("this benchmark needs nginx; on Debian: apt-get install nginx-light");
        throw new IllegalStateException();
    }

    private static void awaitServer(int port) throws InterruptedException {
        for (int i = 0; i < 100; i++) {
            try {
                new Socket("127.0.0.1", port).close();
                return;
            } catch (IOException e) {
                Thread.sleep(50);
            }
        }
        Arguments.giveUp("nginx does not answer on port " + port);
    }

    private static void compare(int port, int rounds, int seconds) throws Exception {
        var uri = URI.create("http://127.0.0.1:" + port + "/");
        var ours = new KeepAliveClient(KeepAliveClient.Options.defaults());
        var request = KeepAliveClient.Request.get(uri);
        var okhttp = new OkHttpClient();
        var theirs = new okhttp3.Request.Builder().url(uri.toString()).build();
        var jdk = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        var plain = HttpRequest.newBuilder(uri).build();
        var raw = new Raw(port);
        var contestants = List.of(
                new Contestant("this client", () -> {
                    try (var response = ours.send(request)) {
                        check(response.body().readAllBytes().length);
                    }
                }),
                new Contestant("OkHttp", () -> {
                    try (var response = okhttp.newCall(theirs).execute()) {
                        check(response.body().bytes().length);
                    }
                }),
                new Contestant("HttpClient", () ->
                        check(jdk.send(plain, HttpResponse.BodyHandlers.ofByteArray()).body().length)),
                new Contestant("raw socket", raw::exchange),
                new Contestant("this client, new connections", () -> {
                    try (var one = new KeepAliveClient(KeepAliveClient.Options.defaults());
                         var response = one.send(request)) {
                        check(response.body().readAllBytes().length);
                    }
                }));
        for (int round = 0; round <= rounds; round++) {
            measure(contestants, seconds);
        }
        contestants.forEach(contestant -> contestant.rates.removeFirst());
        IO.println("GET requests a second, one after the other");
        for (var contestant : contestants) {
            IO.println("  %-30s%s".formatted(contestant.name, Figures.spread("%,.0f", contestant.rates)));
        }
        IO.println("\nthis client, compared in each round");
        ratio("beside OkHttp", contestants, 1, 1.2);
        ratio("beside the raw socket", contestants, 3, 0.7);
        ratio("beside new connections", contestants, 4, 3);
        ours.close();
        raw.close();
    }

    private static void check(int length) {
        if (length != 13) {
            throw new IllegalStateException("a body of " + length + " bytes");
        }
    }

    private static void ratio(String what, List<Contestant> contestants, int other, double target) {
        var ours = contestants.getFirst().rates;
        var ratios = IntStream.range(0, ours.size())
                .mapToObj(i -> ours.get(i) / contestants.get(other).rates.get(i)).toList();
        IO.println("  %-30s%s, target %.1f".formatted(what, Figures.spread("%.2f", ratios), target));
    }

    /** In slices of 50 ms, so that whatever else the machine does meets all contestants alike. */
    private static void measure(List<Contestant> contestants, int seconds) throws Exception {
        var counts = new long[contestants.size()];
        var nanos = new long[contestants.size()];
        for (int slice = 0; slice < seconds * 20; slice++) {
            for (int i = 0; i < counts.length; i++) {
                long start = System.nanoTime();
                while (System.nanoTime() - start < 50_000_000) {
                    contestants.get(i).work.run();
                    counts[i]++;
                }
                nanos[i] += System.nanoTime() - start;
            }
        }
        for (int i = 0; i < counts.length; i++) {
            contestants.get(i).rates.add(counts[i] * 1e9 / nanos[i]);
        }
    }

    /** Knows how long each response is, because the first one was. */
    private static final class Raw implements AutoCloseable {

        private final Socket socket;
        private final byte[] request;
        private final byte[] response;

        Raw(int port) throws IOException {
            socket = new Socket("127.0.0.1", port);
            socket.setTcpNoDelay(true);
            request = ("GET / HTTP/1.1\r\nHost: 127.0.0.1:" + port + "\r\n\r\n").getBytes();
            socket.getOutputStream().write(request);
            var first = new ByteArrayOutputStream();
            while (!first.toString().endsWith("hello, world\n")) {
                first.write(socket.getInputStream().read());
            }
            response = first.toByteArray();
        }

        void exchange() throws IOException {
            socket.getOutputStream().write(request);
            if (socket.getInputStream().readNBytes(response, 0, response.length) != response.length) {
                throw new EOFException();
            }
        }

        @Override
        public void close() throws IOException {
            socket.close();
        }
    }
}
