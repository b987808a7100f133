///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION How many of a hundred writes to a port without a socket report a refusal?

import module java.base;

public class Reports {

    public static void main(String[] args) throws Exception {
        try (var channel = DatagramChannel.open()) {
            channel.connect(new InetSocketAddress(args[0], 4001));
            int refused = 0;
            for (int i = 0; i < 100; i++) {
                try {
                    channel.write(ByteBuffer.wrap("page.views:1|c".getBytes()));
                } catch (PortUnreachableException e) {
                    refused++;
                }
                Thread.sleep(20);
            }
            IO.println(args[0] + ": 100 writes, " + refused + " refused");
        }
    }
}
