///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION The JDK's HTTP server with a pool of 50 threads

import module java.base;
import com.sun.net.httpserver.HttpServer;

/** Usage: Victim.java PORT */
public class Victim {

    public static void main(String[] args) throws Exception {
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1",
                Integer.parseInt(args[0])), 1024);
        server.setExecutor(Executors.newFixedThreadPool(50));
        server.createContext("/", exchange -> {
            exchange.sendResponseHeaders(200, 5);
            exchange.getResponseBody().write("open\n".getBytes());
            exchange.close();
        });
        server.start();
        IO.println("listening on " + server.getAddress());
    }
}
