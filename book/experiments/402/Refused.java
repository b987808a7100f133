///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Six datagrams to a port where nobody listens

import module java.base;

/** Once over a connected channel, once over one that is not. */
public class Refused {

    public static void main(String[] args) throws IOException {
        var nobody = nobody();
        try (var connected = DatagramChannel.open();
             var unconnected = DatagramChannel.open()) {
            connected.connect(nobody);
            for (int i = 1; i <= 6; i++) {
                IO.println("%d  write: %-36s send: %s".formatted(i,
                        outcome(() -> connected.write(message())),
                        outcome(() -> unconnected.send(message(), nobody))));
            }
            IO.println("the connected channel is open: " + connected.isOpen());
        }
    }

    private static String outcome(Callable<Integer> call) {
        try {
            return call.call() + " bytes taken";
        } catch (Exception e) {
            return e.getClass().getSimpleName();
        }
    }

    private static ByteBuffer message() {
        return ByteBuffer.wrap("page.views:1|c".getBytes());
    }

    /** An address at which nobody listens any more. */
    private static SocketAddress nobody() throws IOException {
        try (var socket = new DatagramSocket(0,
                InetAddress.getLoopbackAddress())) {
            return socket.getLocalSocketAddress();
        }
    }
}
