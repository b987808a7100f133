///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION How many clients connect to a server that never accepts

import module java.base;

/** The kernel shakes hands for a server that never calls accept(). */
public class Backlog {

    public static void main(String[] args) throws IOException {
        var here = InetAddress.getLoopbackAddress();
        for (int backlog : new int[] {0, 10, 1024}) {   // 0: the default
            try (var server = new ServerSocket(0, backlog, here)) {
                IO.println("backlog %7s: %s".formatted(
                        backlog == 0 ? "default" : backlog,
                        connect(server.getLocalSocketAddress())));
            }
        }
    }

    private static String connect(SocketAddress server) throws IOException {
        var clients = new ArrayList<Socket>();
        try {
            while (true) {
                var client = new Socket();
                clients.add(client);
                client.connect(server, 1000);
            }
        } catch (SocketTimeoutException e) {
            return "%,d clients connected, then: %s".formatted(
                    clients.size() - 1, e.getMessage());
        } finally {
            for (var client : clients) {
                client.close();
            }
        }
    }
}
