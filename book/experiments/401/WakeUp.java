///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION How much a client must read until a blocked write goes on

import module java.base;

/** The writer is blocked: both buffers are full. Then the client reads. */
public class WakeUp {

    private static final int STEP = 4 * 1024;

    public static void main(String[] args) throws Exception {
        IO.println("SO_SNDBUF  taken by the kernel  read until a write ends");
        for (int size : new int[] {0, 1024, 256, 64}) {   // 0: the default
            measure(size);
        }
    }

    private static void measure(int kilobytes) throws Exception {
        var here = InetAddress.getLoopbackAddress();
        try (var listener = new ServerSocket(0, 50, here);
             var client = new Socket(here, listener.getLocalPort());
             var server = listener.accept()) {
            if (kilobytes > 0) {
                server.setSendBufferSize(kilobytes * 1024);
            }
            var written = new AtomicLong();
            Thread.startVirtualThread(() -> write(server, written));
            awaitBlocked(written);
            long taken = written.get();
            var reads = new ArrayList<Long>();
            while (reads.size() < 20) {
                reads.add(readUntilWritten(client, written));
            }
            Collections.sort(reads);
            IO.println("%9s  %,12d kB  %,8d to %,d kB".formatted(
                    kilobytes == 0 ? "default" : kilobytes + " kB", taken / 1024,
                    reads.get(1) / 1024, reads.get(18) / 1024));
        }
    }

    private static long readUntilWritten(Socket client, AtomicLong written)
            throws Exception {
        long before = written.get();
        long bytes = 0;
        while (written.get() == before) {
            bytes += client.getInputStream().readNBytes(STEP).length;
            Thread.sleep(1);   // a slow reader; and the writer may wake up
        }
        awaitBlocked(written);
        return bytes;
    }

    private static void awaitBlocked(AtomicLong written) throws Exception {
        long before = -1;
        while (written.get() != before) {
            before = written.get();
            Thread.sleep(30);
        }
    }

    private static void write(Socket server, AtomicLong written) {
        try {
            while (true) {
                server.getOutputStream().write(new byte[STEP]);
                written.addAndGet(STEP);
            }
        } catch (IOException e) {
            // The measurement is over, and the socket closed.
        }
    }
}
