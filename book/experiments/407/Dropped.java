///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Who closes a socket that everybody has forgotten?

import module java.base;

/** Forgets 40 sockets, and counts the descriptors of this process. */
public class Dropped {

    public static void main(String[] args) throws Exception {
        var here = InetAddress.getLoopbackAddress();
        try (var listener = new ServerSocket(0, 100, here)) {
            var accepted = new ArrayList<Socket>();
            new Socket(here, listener.getLocalPort()).close();
            listener.accept().close();
            IO.println("at the start                        " + open());
            // tag::forget[]
            for (int i = 0; i < 40; i++) {
                new Socket(here, listener.getLocalPort());   // forgotten
            }
            // end::forget[]
            for (int i = 0; i < 40; i++) {
                accepted.add(listener.accept());
            }
            IO.println("40 forgotten, their other ends kept " + open());
            collect();
            IO.println("after a collection                  " + open());
            // tag::wait[]
            for (int i = 0; i < 40; i++) {
                var socket = new Socket(here, listener.getLocalPort());
                Thread.startVirtualThread(() -> readFor(socket));   // forgotten
            }
            // end::wait[]
            for (int i = 0; i < 40; i++) {
                accepted.add(listener.accept());
            }
            collect();
            IO.println("40 more, a thread reads from each   " + open());
            for (var socket : accepted) {
                socket.close();
            }
        }
    }

    private static void readFor(Socket socket) {
        try {
            socket.getInputStream().read();
        } catch (IOException e) {
            // closed
        }
    }

    private static void collect() throws InterruptedException {
        for (int i = 0; i < 3; i++) {
            System.gc();
            Thread.sleep(100);
        }
    }

    private static long open() throws IOException {
        try (var files = Files.list(Path.of("/proc/self/fd"))) {
            return files.filter(file -> {
                try {
                    return Files.readSymbolicLink(file).toString()
                            .startsWith("socket:");
                } catch (IOException e) {
                    return false;
                }
            }).count();
        }
    }
}
