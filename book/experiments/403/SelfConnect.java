///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Dials a port where nobody listens, until somebody answers

import module java.base;

/** A retry loop that ends up connected to itself. */
public class SelfConnect {

    public static void main(String[] args) throws IOException {
        var here = InetAddress.getLoopbackAddress();
        var to = new InetSocketAddress(here, 40_000);   // nobody listens there
        for (int tries = 1; ; tries++) {
            try (var socket = new Socket()) {
                socket.connect(to, 1000);
                IO.println("try %,d: connected, from port %d to port %d"
                        .formatted(tries, socket.getLocalPort(),
                                socket.getPort()));
                socket.getOutputStream().write("hello, server".getBytes());
                IO.println("it answers: " + new String(
                        socket.getInputStream().readNBytes(13)));
                return;
            } catch (ConnectException refused) {
                // the deploy script tries again
            }
        }
    }
}
