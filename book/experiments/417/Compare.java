///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:mockwebserver3:5.5.1
//SOURCES ../../../solutions/417-pool-vs-multiplex/PoolVsMultiplex.java
//DESCRIPTION Pools and multiplexers under a delay, and when something stalls

import module java.base;
import module java.logging;

import mockwebserver3.Dispatcher;
import mockwebserver3.MockResponse;
import mockwebserver3.MockWebServer;
import mockwebserver3.RecordedRequest;
import okhttp3.ConnectionPool;
import okhttp3.OkHttpClient;
import okhttp3.Protocol;
import okhttp3.Request;
import okhttp3.RequestBody;

/**
 * Each client reaches its server through a relay that delays every byte by 20
 * ms each way. A request is a number: how many milliseconds the server takes.
 */
public class Compare {

    private static final InetAddress HERE = InetAddress.getLoopbackAddress();
    private static final Duration LIMIT = Duration.ofSeconds(30);

    public static void main(String[] args) throws Exception {
        Logger.getLogger(MockWebServer.class.getName()).setLevel(Level.OFF);
        var options = PoolVsMultiplex.Options.defaults();
        IO.println("""
                |                     200 calls, 64 at once           24 calls: those that
                |                                                     take 500 ms or more
                |                     connec-                         one      one connec-
                |                     tions     total    p50     p99  stalls   tion stalls"""
                .replaceAll("(?m)^\\|", ""));
        for (var name : List.of("pool of 1", "pool of 6", "multiplexer",
                "OkHttp, HTTP/1.1, 6", "OkHttp, HTTP/2")) {
            var protocol = name.endsWith("2") ? Protocol.H2_PRIOR_KNOWLEDGE
                    : Protocol.HTTP_1_1;
            boolean isOkHttp = name.startsWith("OkHttp");
            try (var server = isOkHttp ? null : PoolVsMultiplex.Server.start(
                    new InetSocketAddress(HERE, 0), (request, out) -> {
                        Thread.sleep(Integer.parseInt(new String(request)));
                        out.write(request);
                    }, options);
                 var mock = isOkHttp ? mock(protocol) : null;
                 var relay = new Relay(isOkHttp ? mock.getPort()
                         : server.localAddress().getPort())) {
                var client = switch (name) {
                    case "pool of 1" -> PoolVsMultiplex.Pool.create(
                            relay.address(), 1, options);
                    case "pool of 6" -> PoolVsMultiplex.Pool.create(
                            relay.address(), 6, options);
                    case "multiplexer" -> PoolVsMultiplex.Mux.connect(
                            relay.address(), options);
                    default -> new OkClient(protocol, relay.address());
                };
                try (client) {
                    client.call("0".getBytes(), LIMIT);   // connects
                    var sample = PoolVsMultiplex.measure(name, client, 200, 64,
                            "0".getBytes(), System::nanoTime);
                    IO.println("%-20s %6d  %6d ms %4d ms %4d ms  %6d  %12d"
                            .formatted(name, sample.connections(),
                                    sample.total().toMillis(),
                                    sample.p50().toMillis(),
                                    sample.p99().toMillis(),
                                    slow(client, "600", () -> {}),
                                    slow(client, "0", relay::stall)));
                }
            }
        }
        System.exit(0);   // OkHttp's threads may live on for a minute
    }

    /** Of 24 calls: the first, and then 23 that take no time at the server. */
    private static long slow(PoolVsMultiplex.Client client, String first,
            Runnable then) throws Exception {
        then.run();
        var times = new ConcurrentLinkedQueue<Long>();
        var threads = new ArrayList<Thread>();
        for (int i = 0; i < 24; i++) {
            var request = (i == 0 ? first : "0").getBytes();
            threads.add(Thread.startVirtualThread(() -> {
                long start = System.nanoTime();
                try {
                    client.call(request, LIMIT);
                    times.add((System.nanoTime() - start) / 1_000_000);
                } catch (IOException | InterruptedException e) {
                    IO.println(e);
                }
            }));
            Thread.sleep(i == 0 ? 10 : 0);
        }
        for (var thread : threads) {
            thread.join();
        }
        return times.stream().filter(time -> time >= 500).count();
    }

    private static MockWebServer mock(Protocol protocol) throws IOException {
        var server = new MockWebServer();
        server.setProtocols(List.of(protocol));
        server.setDispatcher(new Dispatcher() {
            @Override
            public MockResponse dispatch(RecordedRequest request)
                    throws InterruptedException {
                Thread.sleep(Integer.parseInt(request.getBody().utf8()));
                return new MockResponse.Builder().body("done").build();
            }
        });
        server.start(HERE, 0);
        return server;
    }

    /** OkHttp: at most 6 calls at once over HTTP/1.1, 100 over HTTP/2. */
    private static final class OkClient implements PoolVsMultiplex.Client {

        private final OkHttpClient client;
        private final String url;
        private final Semaphore permits;

        OkClient(Protocol protocol, InetSocketAddress server) {
            client = new OkHttpClient.Builder().protocols(List.of(protocol))
                    .connectionPool(new ConnectionPool(6, 5, TimeUnit.MINUTES))
                    .build();
            url = "http://127.0.0.1:" + server.getPort() + "/";
            permits = new Semaphore(
                    protocol == Protocol.HTTP_1_1 ? 6 : 100, true);
        }

        @Override
        public byte[] call(byte[] request, Duration timeout)
                throws IOException, InterruptedException {
            permits.acquire();
            try (var response = client.newCall(new Request.Builder().url(url)
                    .post(RequestBody.create(request)).build()).execute()) {
                return response.body().bytes();
            } finally {
                permits.release();
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

    /** Delays each byte by 20 ms; can stall its oldest connection. */
    private static final class Relay implements AutoCloseable {

        private record Piece(long due, byte[] bytes) {}

        private final int port;
        private final ServerSocket listener = new ServerSocket(0, 200, HERE);
        private volatile long stalledUntil = System.nanoTime();

        Relay(int port) throws IOException {
            this.port = port;
            Thread.startVirtualThread(this::accept);
        }

        InetSocketAddress address() {
            return (InetSocketAddress) listener.getLocalSocketAddress();
        }

        /** For 600 ms the client gets nothing on its first connection. */
        void stall() {
            stalledUntil = System.nanoTime() + 600_000_000;
        }

        private void accept() {
            try {
                for (int i = 0; ; i++) {
                    var client = listener.accept();
                    var server = new Socket(HERE, port);
                    boolean isFirst = i == 0;
                    pump(client, server, false);
                    pump(server, client, isFirst);
                }
            } catch (IOException e) {
                // closed
            }
        }

        private void pump(Socket from, Socket to, boolean mayStall)
                throws IOException {
            to.setTcpNoDelay(true);
            var queue = new LinkedBlockingQueue<Piece>();
            Thread.startVirtualThread(() -> {
                var buffer = new byte[1 << 16];
                try (from) {
                    for (int n = from.getInputStream().read(buffer); n >= 0;
                            n = from.getInputStream().read(buffer)) {
                        queue.add(new Piece(System.nanoTime() + 20_000_000,
                                Arrays.copyOf(buffer, n)));
                    }
                } catch (IOException e) {
                    // closed
                }
                queue.add(new Piece(System.nanoTime(), new byte[0]));
            });
            Thread.startVirtualThread(() -> {
                try (to) {
                    for (var next = queue.take(); next.bytes.length > 0;
                            next = queue.take()) {
                        long due = mayStall && stalledUntil - next.due > 0
                                ? stalledUntil : next.due;
                        TimeUnit.NANOSECONDS.sleep(due - System.nanoTime());
                        to.getOutputStream().write(next.bytes);
                    }
                } catch (IOException | InterruptedException e) {
                    // closed
                }
            });
        }

        @Override
        public void close() throws IOException {
            listener.close();
        }
    }
}
