///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 419's benchmark: pipelined requests to our server and the JDK's, and our client beside HttpClient
//SOURCES ../../solutions/419-http-pipelining/Pipelining.java
//SOURCES ../bench/*.java

import module java.base;
import module java.net.http;

import bench.Arguments;
import bench.Figures;
import bench.Loopback;
import com.sun.net.httpserver.HttpServer;

/**
 * How many requests a second do 8 connections bring, each of which sends 16 before it reads the responses? And how many
 * does one connection bring, to our client and to the JDK's?
 *
 * <p>All of it runs in this JVM over loopback, in turn; only the ratios of one round mean anything.
 */
public final class PipeliningBench {

    private static final String USAGE = """
            ./jbang bench 419                our server beside the JDK's, our client beside HttpClient
                --rounds N                 measured rounds (5)
                --requests N               for each connection to a server, and for each client (8000)
            ./jbang bench 419 --help         this text""";

    private static final InetSocketAddress ANY = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
    private static final byte[] REQUEST = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n".getBytes();

    public static void main(String[] args) throws Exception {
        var given = Arguments.of(args, USAGE);
        int rounds = given.number("--rounds", 5, 9999);
        int requests = given.number("--requests", 8_000, 100_000_000);
        given.end();
        System.setProperty("sun.net.httpserver.nodelay", "true");   // else a batch waits 40 ms (Nagle)
        var body = "hello, world!".getBytes();
        var jdk = HttpServer.create(ANY, 100);
        jdk.setExecutor(Executors.newVirtualThreadPerTaskExecutor());
        jdk.createContext("/", exchange -> {
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        jdk.start();
        var options = Pipelining.Options.defaults().withMaxDepth(16);
        try (var ours = Pipelining.Server.start(ANY, _ -> new Pipelining.Response(200, List.of(), body), options);
             var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build()) {
            var far = new InetSocketAddress(ANY.getAddress(), Loopback.delayed(ours.localAddress()));
            IO.println("%d rounds after one to warm up; clients and servers share %d processors\n".formatted(rounds,
                    Runtime.getRuntime().availableProcessors()));
            var rates = new TreeMap<String, List<Double>>();
            for (int round = 0; round <= rounds; round++) {
                note(rates, "our server", round, load(ours.localAddress(), requests));
                note(rates, "JDK HttpServer", round, load(jdk.getAddress(), requests));
                note(rates, "our client, depth 1", round, ours(ours.localAddress(), 1, requests));
                note(rates, "our client, depth 16", round, ours(ours.localAddress(), 16, requests));
                note(rates, "JDK HttpClient", round, theirs(client, ours.localAddress(), requests));
                note(rates, "our client, depth 16, 40 ms", round, ours(far, 16, 160));
                note(rates, "JDK HttpClient, 40 ms", round, theirs(client, far, 16));
            }
            IO.println("requests a second, 8 connections, 16 outstanding on each");
            show(rates, "our server", "JDK HttpServer");
            IO.println("requests a second on one connection");
            show(rates, "our client, depth 1", "our client, depth 16", "JDK HttpClient");
            IO.println("the same with a round trip of 40 ms");
            show(rates, "our client, depth 16, 40 ms", "JDK HttpClient, 40 ms");
            IO.println("\nours, compared in each round");
            ratio(rates, "our server", "JDK HttpServer", 1.5);
            ratio(rates, "our client, depth 1", "JDK HttpClient", 1);
            ratio(rates, "our client, depth 16", "JDK HttpClient", 1);
            ratio(rates, "our client, depth 16, 40 ms", "JDK HttpClient, 40 ms", 5);
        }
        jdk.stop(0);
        System.exit(0);
    }

    private static void note(Map<String, List<Double>> rates, String name, int round, double rate) {
        if (round > 0) {
            rates.computeIfAbsent(name, _ -> new ArrayList<>()).add(rate);
        }
    }

    private static void show(Map<String, List<Double>> rates, String... names) {
        for (var name : names) {
            IO.println("  %-30s%s".formatted(name, Figures.spread("%,.0f", rates.get(name))));
        }
    }

    private static void ratio(Map<String, List<Double>> rates, String ours, String theirs, double target) {
        var ratios = IntStream.range(0, rates.get(ours).size())
                .mapToObj(i -> rates.get(ours).get(i) / rates.get(theirs).get(i)).toList();
        IO.println("  %-30s%s, target %.1f".formatted(ours, Figures.spread("%.2f", ratios), target));
    }

    /** Eight plain sockets: 16 requests in one write, and then their responses. */
    private static double load(InetSocketAddress server, int requests) throws Exception {
        var batch = new ByteArrayOutputStream();
        for (int i = 0; i < 16; i++) {
            batch.write(REQUEST);
        }
        long start = System.nanoTime();
        var failure = new AtomicReference<IOException>();
        var threads = IntStream.range(0, 8).mapToObj(_ -> Thread.startVirtualThread(() -> {
            try (var socket = new Socket(server.getAddress(), server.getPort())) {
                socket.setTcpNoDelay(true);
                var in = new BufferedInputStream(socket.getInputStream());
                for (int sent = 0; sent < requests; sent += 16) {
                    batch.writeTo(socket.getOutputStream());
                    for (int i = 0; i < 16; i++) {
                        check(Pipelining.Messages.readResponse(in, "GET").message());
                    }
                }
            } catch (IOException e) {
                failure.set(e);
            }
        })).toList();
        for (var thread : threads) {
            thread.join();
        }
        if (failure.get() != null) {
            throw failure.get();
        }
        return 8.0 * Math.ceilDiv(requests, 16) * 16 * 1e9 / (System.nanoTime() - start);
    }

    private static double ours(InetSocketAddress server, int depth, int requests) throws Exception {
        var request = Pipelining.Request.get("/a");
        try (var client = Pipelining.Client.create(server, Pipelining.Options.defaults().withMaxDepth(depth))) {
            check(client.send(request).get());   // connects
            var calls = new ArrayDeque<Future<Pipelining.Response>>();
            long start = System.nanoTime();
            for (int i = 0; i < requests; i++) {
                calls.add(client.send(request));
                if (calls.size() == depth) {
                    check(calls.remove().get());
                }
            }
            for (var call : calls) {
                check(call.get());
            }
            return requests * 1e9 / (System.nanoTime() - start);
        }
    }

    private static double theirs(HttpClient client, InetSocketAddress server, int requests) throws Exception {
        var request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + server.getPort() + "/a")).build();
        client.send(request, HttpResponse.BodyHandlers.ofString());   // connects
        long start = System.nanoTime();
        for (int i = 0; i < requests; i++) {
            if (!client.send(request, HttpResponse.BodyHandlers.ofString()).body().equals("hello, world!")) {
                throw new IllegalStateException("another body");
            }
        }
        return requests * 1e9 / (System.nanoTime() - start);
    }

    private static void check(Pipelining.Response response) {
        if (response.status() != 200 || response.body().length != 13) {
            throw new IllegalStateException("another response: " + response);
        }
    }
}
