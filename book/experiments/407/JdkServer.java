///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Can a handler of the JDK's own HTTP server speak another protocol?

import module java.base;
import module jdk.httpserver;

/** Says 101, and then tries to say something else. */
public class JdkServer {

    public static void main(String[] args) throws Exception {
        var here = InetAddress.getLoopbackAddress();
        var server = HttpServer.create(new InetSocketAddress(here, 0), 0);
        // tag::handler[]
        server.createContext("/", exchange -> {
            exchange.getResponseHeaders().set("Upgrade", "lines");
            exchange.sendResponseHeaders(101, -1);
            try {
                exchange.getResponseBody().write("lift 3 opens\n".getBytes());
            } catch (IOException e) {
                IO.println("server: " + e);
            }
        });
        // end::handler[]
        server.start();
        try (var client = new Socket(here, server.getAddress().getPort())) {
            client.getOutputStream().write(
                    "GET / HTTP/1.1\r\nHost: x\r\n\r\n".getBytes());
            client.setSoTimeout(500);
            IO.println("client: " + new BufferedReader(new InputStreamReader(
                    client.getInputStream())).readLine());
        }
        server.stop(0);
    }
}
