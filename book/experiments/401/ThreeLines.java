///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION The smallest TCP server: an echo, and nothing that keeps it alive

import module java.base;

public class ThreeLines {

    public static void main(String[] args) throws IOException {
        var here = InetAddress.getLoopbackAddress();
        int port = Integer.parseInt(args[0]);
        // tag::server[]
        var listener = new ServerSocket(port, 1024, here);
        // end::server[]
        IO.println("listening");
        // tag::server[]
        while (true) {
            var client = listener.accept();
            Thread.startVirtualThread(() -> echo(client));
        }
        // end::server[]
    }

    // tag::echo[]
    private static void echo(Socket client) {
        try (client) {
            client.getInputStream().transferTo(client.getOutputStream());
        } catch (IOException e) {
            IO.println(client.getRemoteSocketAddress() + ": " + e);
        }
    }
    // end::echo[]
}
