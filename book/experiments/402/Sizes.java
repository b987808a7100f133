///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION How long may a datagram be, and what does a short buffer make of it?

import module java.base;

public class Sizes {

    public static void main(String[] args) throws IOException {
        try (var agent = new DatagramSocket(0, InetAddress.getLoopbackAddress());
             var channel = DatagramChannel.open()) {
            channel.connect(agent.getLocalSocketAddress());
            agent.setSoTimeout(100);
            for (int size : new int[] {65_508, 65_507, 0}) {
                IO.println("write of %,d bytes: %s".formatted(size,
                        write(channel, size)));
            }
            var packet = new DatagramPacket(new byte[10], 10);
            agent.receive(packet);
            IO.println("received into a buffer of 10: %d bytes, no exception"
                    .formatted(packet.getLength()));
            try {
                agent.receive(packet);
                IO.println("the rest, or the empty one, came as well");
            } catch (SocketTimeoutException e) {
                IO.println("and nothing after it: no rest, no empty datagram");
            }
        }
    }

    private static String write(DatagramChannel channel, int size) {
        try {
            return "%,d taken".formatted(channel.write(ByteBuffer.allocate(size)));
        } catch (IOException e) {
            return e.getMessage();
        }
    }
}
