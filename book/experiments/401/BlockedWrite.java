///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION What ends a blocked write: not setSoTimeout, but close()

import module java.base;

/** The client never reads. The server's write has a limit of 200 ms, or not? */
public class BlockedWrite {

    public static void main(String[] args) throws Exception {
        var here = InetAddress.getLoopbackAddress();
        try (var listener = new ServerSocket(0, 50, here);
             var client = new Socket(here, listener.getLocalPort());
             var server = listener.accept()) {
            server.setSoTimeout(200);
            var writer = Thread.startVirtualThread(() -> write(server));
            for (int second = 1; second <= 3; second++) {
                Thread.sleep(1000);
                IO.println("after %d s the writer is %s".formatted(
                        second, writer.getState()));
            }
            IO.println("now another thread closes the socket");
            server.close();
            writer.join();
        }
    }

    private static void write(Socket server) {
        long bytes = 0;
        try {
            while (true) {
                server.getOutputStream().write(new byte[16 * 1024]);
                bytes += 16 * 1024;
            }
        } catch (IOException e) {
            IO.println("%,d kB were taken, then: %s".formatted(
                    bytes / 1024, e));
        }
    }
}
