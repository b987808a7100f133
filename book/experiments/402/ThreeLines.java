///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION The smallest metrics client: one page view

import module java.base;

public class ThreeLines {

    public static void main(String[] args) throws IOException {
        int port = Integer.parseInt(args[0]);
        // tag::client[]
        var channel = DatagramChannel.open();
        channel.connect(new InetSocketAddress("127.0.0.1", port));
        channel.write(ByteBuffer.wrap("page.views:1|c".getBytes()));
        // end::client[]
        IO.println("sent from " + channel.getLocalAddress());
    }
}
