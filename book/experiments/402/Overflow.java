///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Two thousand datagrams to an agent that is busy with something else

import module java.base;

/** Every write succeeds. How many datagrams are there afterwards? */
public class Overflow {

    public static void main(String[] args) throws IOException {
        try (var agent = new DatagramSocket(0, InetAddress.getLoopbackAddress());
             var channel = DatagramChannel.open()) {
            agent.setReceiveBufferSize(128 * 1024);
            IO.println("the agent's receive buffer: %,d bytes"
                    .formatted(agent.getReceiveBufferSize()));
            channel.connect(agent.getLocalSocketAddress());
            int written = 0;
            for (int i = 0; i < 2000; i++) {
                written += channel.write(ByteBuffer.allocate(500)) == 500 ? 1 : 0;
            }
            IO.println("%,d writes of 500 bytes, %,d taken by the kernel"
                    .formatted(2000, written));
            IO.println("dropped, says /proc/net/udp: %,d"
                    .formatted(drops(agent.getLocalPort())));
            IO.println("read by the agent: %,d".formatted(read(agent)));
        }
    }

    private static int read(DatagramSocket agent) throws IOException {
        agent.setSoTimeout(100);
        int count = 0;
        try {
            while (true) {
                agent.receive(new DatagramPacket(new byte[500], 500));
                count++;
            }
        } catch (SocketTimeoutException e) {
            return count;
        }
    }

    /** The last column of the socket's line; the JDK's socket is an IPv6 one. */
    private static int drops(int port) throws IOException {
        var address = ":%04X ".formatted(port);
        return Stream.of("/proc/net/udp", "/proc/net/udp6").map(Path::of)
                .flatMap(file -> {
                    try {
                        return Files.readAllLines(file).stream();
                    } catch (IOException e) {
                        return Stream.empty();
                    }
                }).filter(line -> line.substring(0, 50).contains(address))
                .map(line -> line.strip().split(" +"))
                .mapToInt(columns -> Integer.parseInt(columns[columns.length - 1]))
                .sum();
    }
}
