///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION A server that never accepts, and what its clients notice

import module java.base;

/** Connects to a listener that nobody accepts from, and tells what happens. */
public class NobodyAccepts {

    public static void main(String[] args) throws Exception {
        var here = InetAddress.getLoopbackAddress();
        var listener = new ServerSocket(0, 2, here);   // backlog 2
        var clients = new ArrayList<Socket>();
        for (int i = 1; i <= 4; i++) {
            var client = new Socket();
            clients.add(client);
            long start = System.nanoTime();
            try {
                client.connect(listener.getLocalSocketAddress(), 500);
                client.getOutputStream().write("hi".getBytes());
                IO.println("client %d: connected, \"hi\" written".formatted(i));
            } catch (IOException e) {
                IO.println("client %d: %s after %d ms".formatted(i,
                        e.getMessage(), (System.nanoTime() - start) / 1000000));
            }
        }
        listener.close();
        IO.println("the listener closes");
        try {
            IO.println(clients.getFirst().getInputStream().read());
        } catch (IOException e) {
            IO.println("client 1: " + e.getMessage());
        }
    }
}
