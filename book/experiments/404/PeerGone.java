///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION What does a socket know when the peer has closed?

import module java.base;

public class PeerGone {

    public static void main(String[] args) throws Exception {
        var here = InetAddress.getLoopbackAddress();
        try (var listener = new ServerSocket(0, 1, here);
             var channel = SocketChannel.open(
                     listener.getLocalSocketAddress())) {
            var socket = channel.socket();
            var peer = listener.accept();
            show("one read", () -> probe(channel));
            peer.close();
            Thread.sleep(50);   // the FIN arrives

            IO.println("the peer has closed");
            show("isConnected()", socket::isConnected);
            show("isClosed()", socket::isClosed);
            show("isInputShutdown()", socket::isInputShutdown);
            show("available()", () -> socket.getInputStream().available());
            show("one read", () -> probe(channel));
            for (var write : List.of("first write", "second write")) {
                show(write, () -> {
                    socket.getOutputStream().write("PING\n".getBytes());
                    return "no exception";
                });
                Thread.sleep(50);   // the RST arrives
            }
        }
        cost();
    }

    /** 0: nothing has come, and the peer has not closed. */
    private static int probe(SocketChannel channel) throws IOException {
        channel.configureBlocking(false);
        try {
            return channel.read(ByteBuffer.allocate(1));
        } finally {
            channel.configureBlocking(true);
        }
    }

    /** What one look at a healthy connection costs, in two ways. */
    private static void cost() throws Exception {
        var here = InetAddress.getLoopbackAddress();
        try (var listener = new ServerSocket(0, 1, here);
             var channel = SocketChannel.open(
                     listener.getLocalSocketAddress());
             var _ = listener.accept()) {
            var socket = channel.socket();
            socket.setSoTimeout(1);
            for (int i = 0; i < 20_000; i++) {
                probe(channel);
            }
            long read = timed(() -> probe(channel));
            long timeout = timed(() -> {
                try {
                    return socket.getInputStream().read();
                } catch (SocketTimeoutException e) {
                    return 0;
                }
            });
            IO.println("a look, %,d ns; with setSoTimeout(1), %,d ns"
                    .formatted(read, timeout));
        }
    }

    private static long timed(Callable<?> code) throws Exception {
        int times = 100;
        long start = System.nanoTime();
        for (int i = 0; i < times; i++) {
            code.call();
        }
        return (System.nanoTime() - start) / times;
    }

    private static void show(String what, Callable<?> code) {
        Object seen;
        try {
            seen = code.call();
        } catch (Exception e) {
            seen = e.getMessage();
        }
        IO.println("%-18s %s".formatted(what, seen));
    }
}
