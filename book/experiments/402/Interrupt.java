///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION An interrupted thread sends one metric; does the channel survive it?

import module java.base;

public class Interrupt {

    public static void main(String[] args) throws IOException {
        var agent = new DatagramSocket(0, InetAddress.getLoopbackAddress());
        for (boolean blocking : new boolean[] {true, false}) {
            var channel = DatagramChannel.open();
            channel.configureBlocking(blocking);
            channel.connect(agent.getLocalSocketAddress());
            Thread.currentThread().interrupt();
            String outcome;
            try {
                outcome = channel.write(ByteBuffer.allocate(14)) + " bytes taken";
            } catch (IOException e) {
                outcome = e.getClass().getSimpleName();
            }
            Thread.interrupted();
            IO.println("%-13s %-27s channel open: %s".formatted(
                    blocking ? "blocking" : "non-blocking", outcome,
                    channel.isOpen()));
        }
        agent.close();
    }
}
