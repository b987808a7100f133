///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION setSoTimeout is no deadline: a byte now and then resets it

import module java.base;

/** The server allows 300 ms; the client sends a byte every 200 ms. */
public class Drip {

    public static void main(String[] args) throws Exception {
        var here = InetAddress.getLoopbackAddress();
        try (var listener = new ServerSocket(0, 50, here);
             var client = new Socket(here, listener.getLocalPort());
             var server = listener.accept()) {
            Thread.startVirtualThread(() -> drip(client));
            // tag::read[]
            server.setSoTimeout(300);
            long start = System.nanoTime();
            int bytes = 0;
            try {
                while (server.getInputStream().read() != -1) {
                    bytes++;
                }
            } catch (SocketTimeoutException e) {
                IO.println("%d bytes, then %s after %,d ms".formatted(bytes,
                        e.getMessage(), millisSince(start)));
            }
            // end::read[]
            client.getOutputStream().write('x');
            IO.println("the socket is still usable: read "
                    + (char) server.getInputStream().read());
        }
    }

    private static void drip(Socket client) {
        try {
            for (int i = 0; i < 10; i++) {
                client.getOutputStream().write('.');
                Thread.sleep(200);
            }
        } catch (IOException | InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private static long millisSince(long start) {
        return (System.nanoTime() - start) / 1_000_000;
    }
}
