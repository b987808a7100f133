///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION How often accept() fails while no descriptor is free

import module java.base;

/** Takes every descriptor of this process, while a client waits. */
public class FailingAccept {

    public static void main(String[] args) throws IOException {
        var here = InetAddress.getLoopbackAddress();
        var server = new ServerSocket(0, 50, here);
        var client = new Socket(here, server.getLocalPort());
        var taken = new ArrayDeque<Closeable>();
        try {
            while (true) {
                taken.push(DatagramChannel.open());
            }
        } catch (IOException full) {
            IO.println("no descriptor is free: " + full.getMessage());
        }
        IO.println("loop that goes on at once:      " + accept(server, 0));
        IO.println("loop that waits 5, 10, 20 … ms: " + accept(server, 5));
        taken.pop().close();
        taken.pop().close();
        IO.println("descriptors are free again:     " + accept(server, 0));
        client.close();
    }

    // tag::loop[]
    private static String accept(ServerSocket server, long pause) {
        long start = System.nanoTime();
        int failures = 0;
        while (System.nanoTime() - start < 300_000_000) {
            try (var socket = server.accept()) {
                return "client accepted";
            } catch (IOException e) {
                failures++;
                sleep(pause << (failures - 1));
            }
        }
        return "%,d failures in 300 ms".formatted(failures);
    }
    // end::loop[]

    private static void sleep(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            throw new IllegalStateException("nobody interrupts this", e);
        }
    }
}
