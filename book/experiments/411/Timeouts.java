///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION What SO_TIMEOUT limits, and what it does not

import module java.base;

/** Four calls on java.net.Socket with an SO_TIMEOUT of 300 ms. */
public class Timeouts {

    public static void main(String[] args) throws Exception {
        show("10 bytes, one every 200 ms", (socket, peer) -> {
            Thread.startVirtualThread(() -> drip(peer));
            // tag::drip[]
            socket.setSoTimeout(300);
            socket.getInputStream().readNBytes(10);
            // end::drip[]
        });
        show("no byte", (socket, peer) -> {
            socket.setSoTimeout(300);
            socket.getInputStream().readNBytes(10);
        });
        show("no byte, set during the read", (socket, peer) -> {
            after(100, () -> socket.setSoTimeout(300));
            socket.getInputStream().readNBytes(10);
        });
        show("write to a peer that never reads", (socket, peer) -> {
            socket.setSoTimeout(300);
            socket.getOutputStream().write(new byte[64 * 1024 * 1024]);
        });
        System.exit(0);
    }

    private interface Call {
        void run(Socket socket, Socket peer) throws Exception;
    }

    /** Closes the socket after 3 s. */
    private static void show(String what, Call call) throws Exception {
        var loopback = InetAddress.getLoopbackAddress();
        try (var listener = new ServerSocket(0, 1, loopback);
                var socket = new Socket(loopback, listener.getLocalPort());
                var peer = listener.accept()) {
            after(3000, socket::close);
            long start = System.nanoTime();
            var end = "returned";
            try {
                call.run(socket, peer);
            } catch (IOException e) {
                end = e.toString().replaceFirst("java.net.", "");
            }
            IO.println("%-34s%,6d ms  %s".formatted(what,
                    (System.nanoTime() - start) / 1_000_000, end));
        }
    }

    private static void drip(Socket peer) {
        try {
            for (int i = 0; i < 10; i++) {
                Thread.sleep(200);
                peer.getOutputStream().write('.');
            }
        } catch (IOException | InterruptedException e) {
            // The socket was closed.
        }
    }

    private interface Action {
        void run() throws Exception;
    }

    private static void after(int millis, Action action) {
        Thread.startVirtualThread(() -> {
            try {
                Thread.sleep(millis);
                action.run();
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
    }
}
