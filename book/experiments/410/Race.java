///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DESCRIPTION A server closes a reused connection instead of responding

import module java.base;
import module java.net.http;
import okhttp3.OkHttpClient;
import okhttp3.RequestBody;

/** What do three clients do then, and how often is a request executed? */
public class Race {

    private interface Client {
        String send(String method) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        IO.println("%-17s  %-10s  %s".formatted(
                "client", "server saw", "caller gets"));
        for (var method : List.of("GET", "POST")) {
            try (var server = new Server()) {
                var client = new OkHttpClient();
                show("OkHttp", method, server, verb -> {
                    var body = verb.equals("GET") ? null
                            : RequestBody.create(new byte[0]);
                    var request = new okhttp3.Request.Builder()
                            .url(server.uri()).method(verb, body).build();
                    try (var response = client.newCall(request).execute()) {
                        return response.code() + " " + response.body().string();
                    }
                });
            }
            try (var server = new Server()) {
                var client = HttpClient.newHttpClient();
                show("HttpClient", method, server, verb -> {
                    var response = client.send(HttpRequest.newBuilder(
                            URI.create(server.uri())).method(verb,
                            HttpRequest.BodyPublishers.noBody()).build(),
                            HttpResponse.BodyHandlers.ofString());
                    return response.statusCode() + " " + response.body();
                });
            }
            try (var server = new Server()) {
                show("HttpURLConnection", method, server, verb -> {
                    var connection = (HttpURLConnection) URI.create(
                            server.uri()).toURL().openConnection();
                    connection.setRequestMethod(verb);
                    if (verb.equals("POST")) {
                        connection.setDoOutput(true);
                        connection.getOutputStream().close();
                    }
                    var body = connection.getInputStream().readAllBytes();
                    return connection.getResponseCode() + " "
                            + new String(body);
                });
            }
        }
        System.exit(0);
    }

    private static void show(String name, String method, Server server,
            Client client) throws Exception {
        client.send("GET");   // so that a connection is idle
        server.seen.clear();
        String result;
        try {
            result = client.send(method);
        } catch (IOException e) {
            result = e.getClass().getSimpleName() + ": " + e.getMessage();
        }
        IO.println("%-17s  %-10s  %s".formatted(name,
                server.seen.size() + " x " + method, result));
    }

    /** Responds to the first request of each connection, and to no other. */
    private static final class Server implements AutoCloseable {

        final List<String> seen = new CopyOnWriteArrayList<>();
        private final ServerSocket listener = new ServerSocket(0, 50,
                InetAddress.getLoopbackAddress());

        Server() throws IOException {
            Thread.startVirtualThread(() -> {
                try {
                    while (true) {
                        var socket = listener.accept();
                        Thread.startVirtualThread(() -> serve(socket));
                    }
                } catch (IOException e) {
                    // closed
                }
            });
        }

        String uri() {
            return "http://127.0.0.1:" + listener.getLocalPort() + "/";
        }

        private void serve(Socket socket) {
            try (socket) {
                read(socket);
                socket.getOutputStream().write(("HTTP/1.1 200 OK\r\n"
                        + "Content-Length: 2\r\n\r\nok").getBytes());
                read(socket);   // and closes
            } catch (IOException e) {
                // the client was first
            }
        }

        private void read(Socket socket) throws IOException {
            var head = new StringBuilder();
            while (head.indexOf("\r\n\r\n") < 0) {
                int next = socket.getInputStream().read();
                if (next == -1) {
                    throw new EOFException();
                }
                head.append((char) next);
            }
            seen.add(head.substring(0, head.indexOf(" ")));
        }

        @Override
        public void close() throws IOException {
            listener.close();
        }
    }
}
