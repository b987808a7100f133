///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:mockwebserver3:5.5.1
//SOURCES ../../../solutions/419-http-pipelining/Pipelining.java
//SOURCES ../../../tests/bench/Loopback.java
//DESCRIPTION Sequential, pipelined, pooled and multiplexed requests under a delay

import module java.base;
import module java.logging;

import bench.Loopback;
import mockwebserver3.Dispatcher;
import mockwebserver3.MockResponse;
import mockwebserver3.MockWebServer;
import mockwebserver3.RecordedRequest;
import okhttp3.Call;
import okhttp3.Callback;
import okhttp3.OkHttpClient;
import okhttp3.Protocol;
import okhttp3.Request;
import okhttp3.Response;

/**
 * Each client makes ten requests through a relay that delays every byte by 20
 * ms each way, and then ten of which the server takes 300 ms for the first.
 */
public class Compare {

    private static final InetSocketAddress ANY =
            new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);

    private interface Client {
        Pipelining.Race race(InetSocketAddress server,
                List<Pipelining.Request> requests) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        Logger.getLogger(MockWebServer.class.getName()).setLevel(Level.OFF);
        var clients = new LinkedHashMap<String, Client>();
        clients.put("sequential", Pipelining::sequential);
        clients.put("pipelined, depth 10", (server, requests) ->
                Pipelining.pipelined(server, requests, 10));
        clients.put("pool of 5", (server, requests) ->
                Pipelining.parallel(server, requests, 5));
        clients.put("OkHttp, HTTP/1.1", (server, requests) ->
                okHttp(server, requests, Protocol.HTTP_1_1));
        clients.put("OkHttp, HTTP/2", (server, requests) ->
                okHttp(server, requests, Protocol.H2_PRIOR_KNOWLEDGE));
        IO.println("""
                |                                 ten       the first one slow:
                |                    connections  requests  total   300 ms or more"""
                .replaceAll("(?m)^\\|", ""));
        var ten = Collections.nCopies(10, Pipelining.Request.get("/"));
        var slow = new ArrayList<>(ten);
        slow.set(0, Pipelining.Request.get("/slow"));
        try (var server = Pipelining.Server.start(ANY, request -> {
                 Thread.sleep(request.target().equals("/slow") ? 300 : 0);
                 return Pipelining.Response.text(200, "done");
             }, Pipelining.Options.defaults().withMaxDepth(10));
             var mock = mock()) {
            for (var client : clients.entrySet()) {
                var name = client.getKey();
                var far = new InetSocketAddress(ANY.getAddress(),
                        Loopback.delayed(name.endsWith("2")
                        ? new InetSocketAddress(ANY.getAddress(),
                        mock.getPort()) : server.localAddress()));
                client.getValue().race(far, ten);   // to warm up
                var fast = client.getValue().race(far, ten);
                var late = client.getValue().race(far, slow);
                IO.println("%-20s %9d  %5d ms  %5d ms %8d of 10".formatted(
                        name, fast.connections(), fast.total().toMillis(),
                        late.total().toMillis(), late.each().stream()
                        .filter(each -> each.toMillis() >= 300).count()));
            }
        }
        System.exit(0);
    }

    /** All at once; OkHttp itself makes five calls to a host at a time. */
    private static Pipelining.Race okHttp(InetSocketAddress server,
            List<Pipelining.Request> requests, Protocol protocol)
            throws Exception {
        var client = new OkHttpClient.Builder().protocols(List.of(protocol))
                .build();
        if (protocol == Protocol.H2_PRIOR_KNOWLEDGE) {
            client.dispatcher().setMaxRequestsPerHost(10);
            get(client, server, "/", System.nanoTime()).get();   // connects
        }
        long start = System.nanoTime();
        var calls = requests.stream().map(request ->
                get(client, server, request.target(), start)).toList();
        var each = new ArrayList<Duration>();
        for (var call : calls) {
            each.add(call.get());
        }
        int connections = client.connectionPool().connectionCount();
        var total = Duration.ofNanos(System.nanoTime() - start);
        client.connectionPool().evictAll();
        return new Pipelining.Race("OkHttp", connections, total, each);
    }

    private static CompletableFuture<Duration> get(OkHttpClient client,
            InetSocketAddress server, String path, long start) {
        var future = new CompletableFuture<Duration>();
        client.newCall(new Request.Builder().url("http://127.0.0.1:"
                + server.getPort() + path).build()).enqueue(new Callback() {
            @Override
            public void onFailure(Call call, IOException failure) {
                future.completeExceptionally(failure);
            }

            @Override
            public void onResponse(Call call, Response response)
                    throws IOException {
                try (response) {
                    response.body().bytes();
                    future.complete(Duration.ofNanos(
                            System.nanoTime() - start));
                }
            }
        });
        return future;
    }

    private static MockWebServer mock() throws IOException {
        var server = new MockWebServer();
        server.setProtocols(List.of(Protocol.H2_PRIOR_KNOWLEDGE));
        server.setDispatcher(new Dispatcher() {
            @Override
            public MockResponse dispatch(RecordedRequest request)
                    throws InterruptedException {
                Thread.sleep(request.getTarget().equals("/slow") ? 300 : 0);
                return new MockResponse.Builder().body("done").build();
            }
        });
        server.start(ANY.getAddress(), 0);
        return server;
    }
}
