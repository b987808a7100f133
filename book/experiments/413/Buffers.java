///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 413: what a sender gets rid of while a throttled reader reads 10 kB
//SOURCES ../../../solutions/413-traffic-throttle/Throttle.java

import module java.base;

/** A reader at 1 byte a second, after a burst of 10 kB. */
class Buffers {

    void main() throws Exception {
        IO.println("buffers            read by the application   sent by the peer");
        measure("default", 0);
        measure("SO_*BUF 16 KiB", 16 * 1024);
    }

    private void measure(String name, int buffer) throws Exception {
        try (var listener = new ServerSocket(); var sender = new Socket()) {
            if (buffer > 0) {
                listener.setReceiveBufferSize(buffer);   // before bind()
                sender.setSendBufferSize(buffer);        // before connect()
            }
            listener.bind(new InetSocketAddress("127.0.0.1", 0));
            sender.connect(listener.getLocalSocketAddress());
            var sent = new AtomicLong();
            Thread.startVirtualThread(() -> send(sender, sent));
            try (var socket = listener.accept()) {
                var in = Throttle.read(socket.getInputStream(),
                        Throttle.Limit.of(new Throttle.Bucket(1, 10_000,
                                Throttle.Timing.system())));
                int read = in.readNBytes(10_000).length;
                long before;
                do {
                    before = sent.get();
                    Thread.sleep(500);
                } while (sent.get() > before);
                IO.println("%-16s%,26d%,19d".formatted(name, read, sent.get()));
            }
        }
    }

    private static void send(Socket socket, AtomicLong sent) {
        var bytes = new byte[1000];
        try {
            while (true) {
                socket.getOutputStream().write(bytes);
                sent.addAndGet(bytes.length);
            }
        } catch (IOException e) {
            // The reader has closed the connection.
        }
    }
}
