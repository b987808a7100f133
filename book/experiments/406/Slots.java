///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.pcap4j:pcap4j-core:1.8.2
//DEPS org.pcap4j:pcap4j-packetfactory-static:1.8.2
//DEPS net.java.dev.jna:jna:5.19.1
//DEPS org.slf4j:slf4j-nop:1.7.36
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED
//DESCRIPTION How many small packets wait in libpcap's buffer of 2 MB

import module java.base;

import org.pcap4j.core.BpfProgram.BpfCompileMode;
import org.pcap4j.core.PcapHandle;
import org.pcap4j.core.PcapHandle.BlockingMode;

public class Slots {

    private static final int SENT = 5000;
    private static final int WHOLE = 262_144;

    public static void main(String[] args) throws Exception {
        kept(WHOLE, true, 100);
        kept(1600, true, 100);
        kept(96, true, 100);
        kept(WHOLE, false, 10);
        kept(WHOLE, false, 50);
        kept(WHOLE, false, 100);
    }

    /** A packet every 0.1 ms for half a second, and nobody reads. */
    private static void kept(int snapLength, boolean immediate, int timeout)
            throws Exception {
        var here = InetAddress.ofLiteral("127.0.0.1");
        try (var socket = new DatagramSocket(0, here);
                var handle = new PcapHandle.Builder("lo").snaplen(snapLength)
                        .immediateMode(immediate).timeoutMillis(timeout)
                        .build()) {
            handle.setFilter("udp port " + socket.getLocalPort(),
                    BpfCompileMode.OPTIMIZE);
            long start = System.nanoTime();
            for (int i = 0; i < SENT; i++) {
                LockSupport.parkNanos(start + 100_000L * i - System.nanoTime());
                socket.send(new DatagramPacket(new byte[10], 10,
                        socket.getLocalSocketAddress()));
            }
            Thread.sleep(500);   // all that is kept may be read by now
            handle.setBlockingMode(BlockingMode.NONBLOCKING);
            int kept = 0;
            while (handle.getNextRawPacket() != null) {
                kept++;
            }
            IO.println("snaplen %,7d, %-16s %,5d of %,d kept".formatted(
                    snapLength, immediate ? "immediate mode"
                            : "timeout " + timeout + " ms", kept, SENT));
        }
    }
}
