///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION A thread that is still inside accept() keeps the port

import module java.base;

/** Closes a listening socket, and binds its port again at once. */
public class Rebind {

    public static void main(String[] args) throws Exception {
        IO.println("bind right after close():       %d of 300 failed"
                .formatted(failures(false)));
        IO.println("bind after close() and join():  %d of 300 failed"
                .formatted(failures(true)));
    }

    private static int failures(boolean join) throws Exception {
        var here = InetAddress.getLoopbackAddress();
        int failures = 0;
        for (int i = 0; i < 300; i++) {
            var listener = new ServerSocket(0, 50, here);
            var acceptor = Thread.ofPlatform().start(() -> accept(listener));
            Thread.sleep(3);   // it is inside accept() now
            listener.close();
            if (join) {
                acceptor.join();
            }
            try (var next = new ServerSocket(listener.getLocalPort(), 50, here)) {
                acceptor.join();
            } catch (BindException e) {
                failures++;
            }
            acceptor.join();
        }
        return failures;
    }

    private static void accept(ServerSocket listener) {
        try {
            listener.accept();
        } catch (IOException e) {
            // Closed.
        }
    }
}
