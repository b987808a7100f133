///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION The first virtual thread that waits for a socket needs descriptors

import module java.base;

/** No descriptor is free when the first virtual thread calls read(). */
public class FirstWait {

    private static final InetAddress HERE = InetAddress.getLoopbackAddress();

    public static void main(String[] args) throws Exception {
        var listener = new ServerSocket(0, 50, HERE);
        var client = new Socket(HERE, listener.getLocalPort());
        var server = listener.accept();
        if (args.length > 0) {
            waitOnce();
        }
        var taken = takeAll();
        Thread.startVirtualThread(() -> read("none free", server)).join(500);
        while (!taken.isEmpty()) {
            taken.pop().close();
        }
        Thread.startVirtualThread(() -> read("all free", server)).join(500);
        client.close();
    }

    // tag::waitOnce[]
    private static void waitOnce() throws Exception {
        try (var nobody = new ServerSocket(0, 1, HERE)) {
            nobody.setSoTimeout(1);
            Thread.startVirtualThread(() -> {
                try {
                    nobody.accept();
                } catch (IOException timeout) {
                    // it has waited
                }
            }).join();
        }
    }
    // end::waitOnce[]

    private static Deque<Closeable> takeAll() {
        var taken = new ArrayDeque<Closeable>();
        try {
            while (true) {
                taken.push(DatagramChannel.open());
            }
        } catch (IOException full) {
            return taken;
        }
    }

    private static void read(String when, Socket server) {
        try {
            server.setSoTimeout(100);
            server.getInputStream().read();
        } catch (Throwable failure) {
            IO.println("%-9s  %s".formatted(when, failure));
        }
    }
}
