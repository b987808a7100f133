///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION An interrupt closes the socket that a virtual thread waits on

import module java.base;

/** Two threads wait in accept(), and both are interrupted. */
public class Interrupt {

    public static void main(String[] args) throws Exception {
        interrupt(Thread.ofVirtual(), "virtual");
        interrupt(Thread.ofPlatform(), "platform");
    }

    private static void interrupt(Thread.Builder kind, String name)
            throws Exception {
        var here = InetAddress.getLoopbackAddress();
        try (var server = new ServerSocket(0, 50, here)) {
            var thread = kind.start(() -> accept(server, name));
            Thread.sleep(200);
            thread.interrupt();
            thread.join(1000);
            IO.println("%-8s  one second later: %s, server socket %s".formatted(
                    name, thread.isAlive() ? "still in accept()" : "ended",
                    server.isClosed() ? "closed" : "open"));
        }
    }

    private static void accept(ServerSocket server, String name) {
        try (var socket = server.accept()) {
            IO.println(name + "  got " + socket);
        } catch (IOException e) {
            IO.println("%-8s  %s".formatted(name, e));
        }
    }
}
