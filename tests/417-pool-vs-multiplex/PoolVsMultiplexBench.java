///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 417's benchmark: small calls and a large response, beside a pool and OkHttp
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:mockwebserver3:5.5.1
//SOURCES ../../solutions/417-pool-vs-multiplex/PoolVsMultiplex.java
//SOURCES ../bench/*.java

import module java.base;
import module java.logging;

import bench.Arguments;
import bench.Figures;
import mockwebserver3.Dispatcher;
import mockwebserver3.MockResponse;
import mockwebserver3.MockWebServer;
import mockwebserver3.RecordedRequest;
import okhttp3.OkHttpClient;
import okhttp3.Protocol;
import okhttp3.Request;
import okhttp3.RequestBody;

/**
 * How many echoes of 100 bytes a second do 64 threads get, through one connection, through a pool of 64, and through
 * OkHttp over HTTP/2? And how fast does one large response come, beside the same bytes on a plain socket?
 *
 * <p>All of it runs in this JVM over loopback, in turn; only the ratios of one round mean anything.
 */
public final class PoolVsMultiplexBench {

    private static final String USAGE = """
            ./jbang bench 417                beside a pool of 64, OkHttp and a plain socket
                --rounds N                 measured rounds (5)
                --calls N                  calls in each measurement (40000)
            ./jbang bench 417 --help         this text""";

    private static final InetAddress HERE = InetAddress.getLoopbackAddress();
    private static final int LARGE = 256 << 20;
    private static final Duration LIMIT = Duration.ofSeconds(60);

    public static void main(String[] args) throws Exception {
        var given = Arguments.of(args, USAGE);
        int rounds = given.number("--rounds", 5, 9999);
        int calls = given.number("--calls", 40_000, 100_000_000);
        given.end();
        Logger.getLogger(MockWebServer.class.getName()).setLevel(Level.OFF);
        var options = PoolVsMultiplex.Options.defaults();
        var piece = new byte[1 << 16];
        try (var server = PoolVsMultiplex.Server.start(new InetSocketAddress(HERE, 0), (request, out) -> {
                 if (request.length > 0) {
                     out.write(request);
                     return;
                 }
                 for (int sent = 0; sent < LARGE; sent += piece.length) {
                     out.write(piece);
                 }
             }, options);
             var mux = PoolVsMultiplex.Mux.connect(server.localAddress(), options);
             var wide = PoolVsMultiplex.Mux.connect(server.localAddress(),
                     options.withStreamWindow(4 << 20).withConnectionWindow(4 << 20));
             var pool = PoolVsMultiplex.Pool.create(server.localAddress(), 64, options);
             var mock = mock();
             var okhttp = new OkClient(mock.getPort());
             var plain = plain(piece)) {
            IO.println("%d rounds after one to warm up; clients and servers share %d processors\n".formatted(rounds,
                    Runtime.getRuntime().availableProcessors()));
            var clients = new LinkedHashMap<String, PoolVsMultiplex.Client>();
            clients.put("multiplexer, 1 connection", mux);
            clients.put("pool, 64 connections", pool);
            clients.put("OkHttp over HTTP/2", okhttp);
            var rates = new TreeMap<String, List<Double>>();
            for (int round = 0; round <= rounds; round++) {
                for (var client : clients.entrySet()) {
                    note(rates, client.getKey(), round, rate(client.getValue(), calls));
                }
                note(rates, "window of 64 KiB", round, multiplexed(mux));
                note(rates, "window of 4 MiB", round, multiplexed(wide));
                note(rates, "plain socket", round, plain(plain.getLocalPort()));
            }
            IO.println("echoes of 100 bytes a second, 64 at once");
            clients.keySet().forEach(name -> show(name, "%,.0f", rates.get(name)));
            IO.println("a response of 256 MiB, in MB/s");
            for (var name : List.of("window of 64 KiB", "window of 4 MiB", "plain socket")) {
                show(name, "%,.0f", rates.get(name));
            }
            IO.println("\nthe multiplexer, compared in each round");
            ratio(rates, "multiplexer, 1 connection", "pool, 64 connections", 0.9);
            ratio(rates, "multiplexer, 1 connection", "OkHttp over HTTP/2", 3);
            ratio(rates, "window of 64 KiB", "plain socket", 0.6);
            ratio(rates, "window of 4 MiB", "plain socket", 0.6);
        }
        System.exit(0);   // OkHttp's threads may live on for a minute
    }

    private static void note(Map<String, List<Double>> rates, String name, int round, double rate) {
        if (round > 0) {
            rates.computeIfAbsent(name, _ -> new ArrayList<>()).add(rate);
        }
    }

    private static void show(String name, String format, List<Double> figures) {
        IO.println("  %-30s%s".formatted(name, Figures.spread(format, figures)));
    }

    private static void ratio(Map<String, List<Double>> rates, String ours, String theirs, double target) {
        var ratios = IntStream.range(0, rates.get(ours).size())
                .mapToObj(i -> rates.get(ours).get(i) / rates.get(theirs).get(i)).toList();
        var what = ours.startsWith("window") ? ours + ", beside it" : "beside " + theirs;
        IO.println("  %-30s%s, target %.1f".formatted(what, Figures.spread("%.2f", ratios), target));
    }

    private static double rate(PoolVsMultiplex.Client client, int calls) throws Exception {
        var sample = PoolVsMultiplex.measure("", client, calls, 64, new byte[100], System::nanoTime);
        return calls * 1e9 / sample.total().toNanos();
    }

    private static double multiplexed(PoolVsMultiplex.Mux mux) throws Exception {
        long start = System.nanoTime();
        long bytes = 0;
        try (var response = mux.open(new byte[0])) {
            for (var next = response.next(); next.length > 0; next = response.next()) {
                bytes += next.length;
            }
        }
        return megabytes(bytes, start);
    }

    private static double plain(int port) throws IOException {
        long start = System.nanoTime();
        long bytes = 0;
        try (var socket = new Socket(HERE, port)) {
            var buffer = new byte[1 << 16];
            for (int n = socket.getInputStream().read(buffer); n >= 0; n = socket.getInputStream().read(buffer)) {
                bytes += n;
            }
        }
        return megabytes(bytes, start);
    }

    private static double megabytes(long bytes, long start) {
        if (bytes != LARGE) {
            throw new IllegalStateException(bytes + " bytes came");
        }
        return bytes * 1e3 / (System.nanoTime() - start);
    }

    /** Writes the large response to whoever connects. */
    private static ServerSocket plain(byte[] piece) throws IOException {
        var listener = new ServerSocket(0, 50, HERE);
        Thread.startVirtualThread(() -> {
            while (!listener.isClosed()) {
                try (var socket = listener.accept()) {
                    for (int sent = 0; sent < LARGE; sent += piece.length) {
                        socket.getOutputStream().write(piece);
                    }
                } catch (IOException e) {
                    // closed
                }
            }
        });
        return listener;
    }

    private static MockWebServer mock() throws IOException {
        var server = new MockWebServer();
        server.setProtocols(List.of(Protocol.H2_PRIOR_KNOWLEDGE));
        server.setDispatcher(new Dispatcher() {
            @Override
            public MockResponse dispatch(RecordedRequest request) {
                return new MockResponse.Builder().body(request.getBody().utf8()).build();
            }
        });
        server.start(HERE, 0);
        return server;
    }

    private static final class OkClient implements PoolVsMultiplex.Client {

        private final OkHttpClient client = new OkHttpClient.Builder()
                .protocols(List.of(Protocol.H2_PRIOR_KNOWLEDGE)).build();
        private final String url;

        OkClient(int port) throws IOException {
            url = "http://127.0.0.1:" + port + "/";
            call(new byte[1], LIMIT);   // the first call connects, so that the others share that connection
        }

        @Override
        public byte[] call(byte[] request, Duration timeout) throws IOException {
            try (var response = client.newCall(new Request.Builder().url(url).post(RequestBody.create(request))
                    .build()).execute()) {
                return response.body().bytes();
            }
        }

        @Override
        public int connections() {
            return client.connectionPool().connectionCount();
        }

        @Override
        public void close() {
            client.connectionPool().evictAll();
        }
    }
}
