///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION The agent's name gets another address: where do the datagrams go?

import module java.base;

/** The JDK looks names up in a file, which this program changes. */
public class Moved {

    public static void main(String[] args) throws IOException {
        var hosts = Files.createTempFile("hosts", "");
        System.setProperty("jdk.net.hosts.file", hosts.toString());
        Security.setProperty("networkaddress.cache.ttl", "0");
        Files.writeString(hosts, "127.0.0.1 metrics.test\n");
        try (var old = new DatagramSocket(0, InetAddress.getByName("127.0.0.1"));
             var moved = new DatagramSocket(old.getLocalPort(),
                     InetAddress.getByName("127.0.0.2"));
             var channel = DatagramChannel.open()) {
            channel.connect(new InetSocketAddress("metrics.test",
                    old.getLocalPort()));
            Files.writeString(hosts, "127.0.0.2 metrics.test\n");
            IO.println("a lookup now finds "
                    + InetAddress.getByName("metrics.test"));
            for (int i = 1; i <= 3; i++) {
                IO.println("write %d: %d bytes taken".formatted(i,
                        channel.write(ByteBuffer.wrap("order:1|c".getBytes()))));
            }
            IO.println("the old address got %d datagrams, the new one %d"
                    .formatted(count(old), count(moved)));
        } finally {
            Files.delete(hosts);
        }
    }

    private static int count(DatagramSocket agent) throws IOException {
        agent.setSoTimeout(100);
        int count = 0;
        try {
            while (true) {
                agent.receive(new DatagramPacket(new byte[100], 100));
                count++;
            }
        } catch (SocketTimeoutException e) {
            return count;
        }
    }
}
