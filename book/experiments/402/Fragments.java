///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION A datagram that fits an Ethernet frame, and one that does not

import module java.base;
import jdk.net.ExtendedSocketOptions;

/** To be run where the loopback interface has an MTU of 1500, as Ethernet. */
public class Fragments {

    public static void main(String[] args) throws IOException {
        int port = Integer.parseInt(args[0]);
        try (var channel = DatagramChannel.open(StandardProtocolFamily.INET)) {
            channel.connect(new InetSocketAddress("127.0.0.1", port));
            write(channel, 1472);
            write(channel, 1473);
            channel.setOption(ExtendedSocketOptions.IP_DONTFRAGMENT, true);
            IO.println("don't fragment:");
            write(channel, 1472);
            write(channel, 1473);
        }
    }

    private static void write(DatagramChannel channel, int size) {
        try {
            channel.write(ByteBuffer.allocate(size));
            IO.println(size + " bytes: taken");
        } catch (IOException e) {
            IO.println(size + " bytes: " + e.getMessage());
        }
    }
}
