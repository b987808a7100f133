///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION How much a kernel takes for a client that does not read

import module java.base;

/** Writes without waiting, then reads a KiB at a time and looks again. */
public class Buffers {

    public static void main(String[] args) throws Exception {
        IO.println("SO_SNDBUF  taken for a client   most that is read before");
        IO.println("           that never reads     a write goes on");
        for (int buffer : new int[] {0, 64 * 1024}) {
            measure(buffer);
        }
    }

    private static void measure(int buffer) throws Exception {
        var loopback = InetAddress.getLoopbackAddress();
        try (var listener = new ServerSocket(0, 1, loopback);
                var writer = SocketChannel.open();
                var selector = Selector.open()) {
            if (buffer > 0) {
                writer.setOption(StandardSocketOptions.SO_SNDBUF, buffer);
            }
            writer.connect(listener.getLocalSocketAddress());
            writer.configureBlocking(false);
            writer.register(selector, SelectionKey.OP_WRITE);
            try (var reader = listener.accept()) {
                long taken = fill(writer, selector);
                long most = 0;
                long since = 0;
                for (int i = 0; i < 2000; i++) {
                    since += reader.getInputStream().readNBytes(1024).length;
                    if (fill(writer, selector) > 0) {
                        most = Math.max(most, since);
                        since = 0;
                    }
                }
                IO.println("%-11s%,16d%,24d".formatted(buffer == 0
                        ? "default" : buffer / 1024 + " KiB", taken, most));
            }
        }
    }

    /** Until the selector has not been ready for 50 ms, or for 1 ms later. */
    private static long fill(SocketChannel writer, Selector selector)
            throws IOException {
        long sum = 0;
        while (selector.select(sum == 0 ? 2 : 50) > 0) {
            selector.selectedKeys().clear();
            sum += writer.write(ByteBuffer.allocate(64 * 1024));
        }
        return sum;
    }
}
