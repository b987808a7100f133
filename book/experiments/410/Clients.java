///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DESCRIPTION How many connections do five requests need?

import module java.base;
import module java.net.http;
import com.sun.net.httpserver.HttpServer;
import okhttp3.OkHttpClient;

/** Three clients, and what they do with a body that is not read. */
public class Clients {

    private static final Set<Object> CONNECTIONS =
            ConcurrentHashMap.newKeySet();
    private static final List<AutoCloseable> LEAKED = new ArrayList<>();


    private interface Use {
        void of(InputStream body) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        var server = HttpServer.create(
                new InetSocketAddress("127.0.0.1", 0), 0);
        server.setExecutor(Executors.newVirtualThreadPerTaskExecutor());
        server.createContext("/", exchange -> {
            CONNECTIONS.add(exchange.getRemoteAddress());
            var path = exchange.getRequestURI().getPath();
            var body = new byte[Integer.parseInt(path.substring(1))];
            exchange.sendResponseHeaders(200, body.length);
            try (exchange) {
                exchange.getResponseBody().write(body);
            } catch (IOException e) {
                // the client has closed the connection
            }
        });
        server.start();
        var root = "http://127.0.0.1:" + server.getAddress().getPort() + "/";

        IO.println("%-26s %8s %11s %18s".formatted(
                "connections of 5 requests", "OkHttp", "HttpClient",
                "HttpURLConnection"));
        row("read to the end", root + 100, InputStream::readAllBytes);
        Use early = body -> {
            body.read();
            body.close();
        };
        row("1 of 100 bytes, then close", root + 100, early);
        row("1 of 2,000,000, then close", root + 2_000_000, early);
        row("100 bytes, neither", root + 100, LEAKED::add);
        row("2,000,000 bytes, neither", root + 2_000_000, LEAKED::add);
        System.exit(0);
    }

    private static void row(String what, String uri, Use use)
            throws Exception {
        var okhttp = new OkHttpClient();
        var jdk = HttpClient.newHttpClient();
        IO.println("%-26s %8d %11d %18d".formatted(what,
                count(use, () -> okhttp.newCall(new okhttp3.Request.Builder()
                        .url(uri).build()).execute().body().byteStream()),
                count(use, () -> jdk.send(HttpRequest.newBuilder(
                        URI.create(uri)).build(),
                        HttpResponse.BodyHandlers.ofInputStream()).body()),
                count(use, () -> URI.create(uri).toURL().openConnection()
                        .getInputStream())));
    }

    private static int count(Use use, Callable<InputStream> client)
            throws Exception {
        CONNECTIONS.clear();
        for (int i = 0; i < 5; i++) {
            use.of(client.call());
        }
        return CONNECTIONS.size();
    }
}
