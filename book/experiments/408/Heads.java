///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Nine questionable requests, sent to several servers

import module java.base;
import module jdk.httpserver;

/** Arguments: NAME=PORT for each server; the JDK's own one is always there. */
public class Heads {

    private static final InetAddress HERE = InetAddress.getLoopbackAddress();
    private static final String HOST = "Host: zoo.test\r\n";

    public static void main(String[] args) throws IOException {
        var jdk = HttpServer.create(new InetSocketAddress(HERE, 0), 0);
        jdk.createContext("/", exchange -> {
            exchange.getRequestBody().readAllBytes();
            exchange.sendResponseHeaders(200, -1);
            exchange.close();
        });
        jdk.start();
        var servers = new LinkedHashMap<String, Integer>();
        for (var arg : args) {
            servers.put(arg.split("=")[0], Integer.parseInt(arg.split("=")[1]));
        }
        servers.put("JDK", jdk.getAddress().getPort());
        IO.println("%-36s".formatted("") + servers.keySet().stream()
                .map("%-9s"::formatted).collect(Collectors.joining()).strip());
        var heads = new LinkedHashMap<String, String>();
        heads.put("length and chunked", "Content-Length: 5\r\n"
                + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
        heads.put("two lengths, 5 and 6",
                "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!");
        heads.put("Content-Length: +5", "Content-Length: +5\r\n\r\nhello");
        heads.put("Transfer-Encoding: xchunked",
                "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n");
        heads.put("a space before the colon",
                "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n");
        heads.put("a folded line", "X: a\r\n b\r\n\r\n");
        heads.put("a second Host", "Host: other.test\r\n\r\n");
        heads.put("a bare LF as line end", "X: a\nY: b\r\n\r\n");
        heads.put("a chunk line that ends in a bare LF",
                "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n");
        for (var head : heads.entrySet()) {
            IO.println("%-36s".formatted(head.getKey()) + servers.values()
                    .stream().map(port -> "%-9s".formatted(ask(port,
                            head.getValue())))
                    .collect(Collectors.joining()).strip());
        }
        jdk.stop(0);
    }

    private static String ask(int port, String rest) {
        try (var socket = new Socket(HERE, port)) {
            socket.setSoTimeout(1000);
            socket.getOutputStream().write(
                    ("POST / HTTP/1.1\r\n" + HOST + rest).getBytes());
            var status = new String(socket.getInputStream().readNBytes(12));
            return status.length() == 12 ? status.substring(9) : "closed";
        } catch (SocketTimeoutException e) {
            return "waits";
        } catch (IOException e) {
            return "reset";
        }
    }
}
