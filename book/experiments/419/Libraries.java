///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DESCRIPTION What HttpClient and OkHttp do with four calls at once, and when a reused connection dies

import module java.base;
import module java.net.http;

import okhttp3.OkHttpClient;
import okhttp3.Protocol;
import okhttp3.Request;
import okhttp3.RequestBody;

/**
 * The server answers "/first" and keeps the connection. Any other request on a
 * connection that is in use for the second time is counted, and the connection
 * closed; so is a request for "/dies" on a new connection.
 */
public class Libraries {

    private static final AtomicInteger CONNECTIONS = new AtomicInteger();
    private static final AtomicInteger SEEN = new AtomicInteger();
    private static final CyclicBarrier FOUR = new CyclicBarrier(4);

    private interface Client {
        void send(String method, String path) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        var listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        Thread.startVirtualThread(() -> accept(listener));
        var url = "http://127.0.0.1:" + listener.getLocalPort();
        IO.println("""
                |                     connections   requests sent, when a
                |                     for 4 calls   reused connection dies
                |                     at once       GET  PUT  POST"""
                .replaceAll("(?m)^\\|", ""));
        show("JDK HttpClient", () -> jdk(url));
        show("OkHttp", () -> okHttp(url, true));
        show("OkHttp, no retries", () -> okHttp(url, false));
        System.exit(0);
    }

    private static void show(String name, Supplier<Client> clients)
            throws Exception {
        CONNECTIONS.set(0);
        var client = clients.get();
        var threads = IntStream.range(0, 4).mapToObj(_ ->
                Thread.startVirtualThread(() -> {
            try {
                client.send("GET", "/four");
            } catch (Exception e) {
                IO.println(e);
            }
        })).toList();
        for (var thread : threads) {
            thread.join();
        }
        var line = "%-20s %11d  ".formatted(name, CONNECTIONS.get());
        for (var method : List.of("GET", "PUT", "POST")) {
            var fresh = clients.get();
            fresh.send("GET", "/first");
            SEEN.set(0);
            try {
                fresh.send(method, "/dies");
            } catch (IOException e) {
                // no response
            }
            line += " %4d".formatted(SEEN.get());
        }
        IO.println(line);
    }

    private static Client jdk(String url) {
        var client = HttpClient.newBuilder()
                .version(HttpClient.Version.HTTP_1_1).build();
        return (method, path) -> client.send(HttpRequest.newBuilder(
                URI.create(url + path)).method(method, method.equals("GET")
                ? HttpRequest.BodyPublishers.noBody()
                : HttpRequest.BodyPublishers.ofString("x")).build(),
                HttpResponse.BodyHandlers.ofString());
    }

    private static Client okHttp(String url, boolean retries) {
        var client = new OkHttpClient.Builder()
                .protocols(List.of(Protocol.HTTP_1_1))
                .retryOnConnectionFailure(retries).build();
        return (method, path) -> {
            try (var response = client.newCall(new Request.Builder()
                    .url(url + path).method(method, method.equals("GET") ? null
                    : RequestBody.create("x".getBytes())).build()).execute()) {
                response.body().string();
            }
        };
    }

    private static void accept(ServerSocket listener) {
        try {
            while (true) {
                var socket = listener.accept();
                CONNECTIONS.incrementAndGet();
                Thread.startVirtualThread(() -> serve(socket));
            }
        } catch (IOException e) {
            // closed
        }
    }

    private static void serve(Socket socket) {
        try (socket) {
            var in = new BufferedReader(new InputStreamReader(
                    socket.getInputStream(), StandardCharsets.ISO_8859_1));
            for (var line = in.readLine(); line != null; line = in.readLine()) {
                var path = line.split(" ")[1];
                int length = 0;
                for (var field = in.readLine(); !field.isEmpty();
                        field = in.readLine()) {
                    if (field.toLowerCase().startsWith("content-length:")) {
                        length = Integer.parseInt(field.substring(15).strip());
                    }
                }
                for (int i = 0; i < length; i++) {
                    in.read();
                }
                if (path.equals("/dies")) {
                    SEEN.incrementAndGet();
                    return;
                }
                if (path.equals("/four")) {
                    FOUR.await();
                }
                socket.getOutputStream().write(("HTTP/1.1 200 OK\r\n"
                        + "Content-Length: 0\r\n\r\n").getBytes());
            }
        } catch (IOException | InterruptedException
                | BrokenBarrierException e) {
            // the client has gone
        }
    }
}
