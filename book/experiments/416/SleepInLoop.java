///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 416: a relay that sleeps for each chunk, beside one that stamps the chunks
//SOURCES ../../../solutions/416-slow-network/SlowNetwork.java

import module java.base;

/** 20 writes, 10 ms apart, and 4 MiB, each with a latency of 100 ms. */
class SleepInLoop {

    private static final InetAddress HERE = InetAddress.getLoopbackAddress();

    void main() throws Exception {
        try (var server = new ServerSocket(0, 50, HERE);
             var sleeping = new ServerSocket(0, 50, HERE);
             var proxy = SlowNetwork.start(new InetSocketAddress(HERE, 0), new InetSocketAddress(HERE,
                     server.getLocalPort()), SlowNetwork.Options.defaults(), SlowNetwork.Toxic.of(
                     SlowNetwork.Direction.UPSTREAM, new SlowNetwork.Latency(Duration.ofMillis(100))))) {
            Thread.ofVirtual().start(() -> relay(sleeping, server.getLocalPort()));
            for (int port : new int[] {sleeping.getLocalPort(), proxy.localAddress().getPort()}) {
                IO.println(port == sleeping.getLocalPort() ? "Thread.sleep(100) for each chunk"
                        : "an instant for each chunk");
                IO.println("  20 writes, 10 ms apart  " + send(server, port, 20, 1, 10));
                IO.println("  4 MiB                   " + send(server, port, 1, 4 << 20, 0));
            }
        }
    }

    /** Until the server has read the end. */
    private static String send(ServerSocket server, int port, int writes, int size, int pause) throws Exception {
        try (var client = new Socket(HERE, port); var peer = server.accept()) {
            client.setTcpNoDelay(true);
            long start = System.nanoTime();
            var reader = new FutureTask<>(() -> peer.getInputStream().readAllBytes().length);
            Thread.ofVirtual().start(reader);
            for (int i = 0; i < writes; i++) {
                client.getOutputStream().write(new byte[size]);
                Thread.sleep(pause);
            }
            client.shutdownOutput();
            reader.get();
            return "%.2f s".formatted((System.nanoTime() - start) / 1e9);
        }
    }

    private static void relay(ServerSocket listener, int to) {
        while (true) {
            try (var client = listener.accept(); var server = new Socket(HERE, to)) {
                var buffer = new byte[32 * 1024];
                for (int count = client.getInputStream().read(buffer); count != -1;
                        count = client.getInputStream().read(buffer)) {
                    Thread.sleep(100);
                    server.getOutputStream().write(buffer, 0, count);
                }
            } catch (IOException | InterruptedException e) {
                return;
            }
        }
    }
}
