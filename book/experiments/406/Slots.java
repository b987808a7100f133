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

    public static void main(String[] args) throws Exception {
        var here = InetAddress.ofLiteral("127.0.0.1");
        for (int snapLength : new int[] {262_144, 1600, 96}) {
            for (boolean immediate : new boolean[] {true, false}) {
                try (var socket = new DatagramSocket(0, here)) {
                    IO.println("snaplen %,7d%-13s%,5d of %,d kept".formatted(
                            snapLength, immediate ? ", immediate" : "",
                            kept(socket, snapLength, immediate), SENT));
                }
            }
        }
    }

    private static int kept(DatagramSocket socket, int snapLength,
            boolean immediate) throws Exception {
        var handle = new PcapHandle.Builder("lo").snaplen(snapLength)
                .immediateMode(immediate).timeoutMillis(100).build();
        handle.setFilter("udp port " + socket.getLocalPort(),
                BpfCompileMode.OPTIMIZE);
        for (int i = 0; i < SENT; i++) {
            socket.send(new DatagramPacket(new byte[10], 10,
                    socket.getLocalSocketAddress()));
        }
        Thread.sleep(500);   // all that is kept may be read by now
        handle.setBlockingMode(BlockingMode.NONBLOCKING);
        int kept = 0;
        while (handle.getNextRawPacket() != null) {
            kept++;
        }
        handle.close();
        return kept;
    }
}
