///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION What the JDK's own classes do with CONNECT, proxied fields and addresses

import module java.base;
import module java.net.http;
import module jdk.httpserver;

/** The JDK's HTTP server as a forward proxy, its HTTP client as an upstream. */
public class BuiltIn {

    private static final InetAddress HERE = InetAddress.getLoopbackAddress();

    public static void main(String[] args) throws Exception {
        var server = HttpServer.create(new InetSocketAddress(HERE, 0), 0);
        server.createContext("/", exchange -> {
            exchange.sendResponseHeaders(200, -1);
            exchange.close();
        });
        server.start();
        var port = server.getAddress().getPort();
        try (var client = new Socket(HERE, port)) {
            client.getOutputStream().write(("CONNECT zoo.test:443 HTTP/1.1\r\n"
                    + "Host: zoo.test:443\r\n\r\n").getBytes());
            var answer = client.getInputStream().readAllBytes();
            IO.println("HttpServer, CONNECT: " + answer.length + " bytes, "
                    + "then the end");
        }
        for (var name : List.of("Host", "Connection", "Content-Length",
                "Transfer-Encoding", "TE", "Via")) {
            String seen = "may be set";
            try {
                HttpRequest.newBuilder().setHeader(name, "x");
            } catch (IllegalArgumentException e) {
                seen = e.getMessage();
            }
            IO.println("HttpClient, %-18s %s".formatted(name + ":", seen));
        }
        try (var listener = new ServerSocket(0, 9, HERE);
             var client = HttpClient.newHttpClient()) {
            client.sendAsync(HttpRequest.newBuilder(URI.create("http://127.0.0.1:"
                    + listener.getLocalPort())).build(),
                    HttpResponse.BodyHandlers.discarding());
            try (var socket = listener.accept();
                 var lines = new BufferedReader(new InputStreamReader(
                         socket.getInputStream()))) {
                IO.println("HttpClient adds:");
                for (var line = lines.readLine(); !line.isEmpty();
                        line = lines.readLine()) {
                    if (line.matches("(Connection|Upgrade):.*")) {
                        IO.println("  " + line);
                    }
                }
            }
            client.shutdownNow();
        }
        for (var text : List.of("127.1", "2130706433")) {
            IO.println("InetAddress, %-17s %s".formatted(text + ":",
                    InetAddress.getByName(text).getHostAddress()));
        }
        server.stop(0);
    }
}
