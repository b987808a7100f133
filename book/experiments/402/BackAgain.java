///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION The agent was away and is back: which packet pays for it?

import module java.base;

/** Three packets after the agent's return, without and with a second write. */
public class BackAgain {

    public static void main(String[] args) throws IOException {
        for (boolean again : new boolean[] {false, true}) {
            IO.println(again ? "with a second write:" : "without:");
            var loopback = InetAddress.getLoopbackAddress();
            var agent = new DatagramSocket(0, loopback);
            var channel = DatagramChannel.open();
            channel.connect(agent.getLocalSocketAddress());
            int port = agent.getLocalPort();
            agent.close();
            channel.write(ByteBuffer.wrap("lost".getBytes()));
            try (var back = new DatagramSocket(port, loopback); channel) {
                for (int i = 1; i <= 3; i++) {
                    write(channel, "order:" + i + "|c", again);
                }
                read(back);
            }
        }
    }

    // tag::write[]
    private static void write(DatagramChannel channel, String line,
            boolean again) throws IOException {
        var packet = ByteBuffer.wrap(line.getBytes());
        try {
            channel.write(packet);
        } catch (PortUnreachableException e) {
            IO.println("  %s: %s, %d bytes left in the buffer".formatted(
                    line, e.getClass().getSimpleName(), packet.remaining()));
            if (again) {
                channel.write(packet);
            }
        }
    }
    // end::write[]

    private static void read(DatagramSocket agent) throws IOException {
        agent.setSoTimeout(100);
        var packet = new DatagramPacket(new byte[100], 100);
        try {
            while (true) {
                agent.receive(packet);
                IO.println("  the agent got "
                        + new String(packet.getData(), 0, packet.getLength()));
            }
        } catch (SocketTimeoutException e) {
            // That was all.
        }
    }
}
