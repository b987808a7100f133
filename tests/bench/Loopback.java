package bench;

import module java.base;

/** Plain peers on 127.0.0.1, until the program ends. */
public final class Loopback {
    private static final InetAddress ADDRESS = InetAddress.ofLiteral("127.0.0.1");

    private Loopback() {}

    /** Serves one client; then its socket is closed. */
    @FunctionalInterface
    public interface Handler {
        void serve(Socket client) throws IOException;
    }

    /** Serves each client on a thread of its own, and returns the port. */
    public static int serve(Handler handler) throws IOException {
        return serve(new ServerSocket(), handler);
    }

    /** The same with a listener that is not bound yet, because its options come first. */
    public static int serve(ServerSocket listener, Handler handler) throws IOException {
        listener.bind(new InetSocketAddress(ADDRESS, 0), 50);
        Thread.ofVirtual().start(() -> {
            while (true) {
                try {
                    var client = listener.accept();
                    Thread.ofVirtual().start(() -> {
                        try (client) {
                            handler.serve(client);
                        } catch (IOException e) {
                            // a client that went away
                        }
                    });
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            }
        });
        return listener.getLocalPort();
    }

    /** A port whose bytes are passed on to this server, and back, each of them 20 ms later. */
    public static int delayed(InetSocketAddress server) throws IOException {
        return serve(client -> {
            try (var peer = new Socket(server.getAddress(), server.getPort())) {
                var back = Thread.startVirtualThread(() -> passLater(peer, client));
                passLater(client, peer);
                back.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        });
    }

    /** At the end, what is on its way still arrives; then both are closed, so that the other direction ends, too. */
    private static void passLater(Socket from, Socket to) {
        try (to; from; var timer = Executors.newSingleThreadScheduledExecutor()) {
            to.setTcpNoDelay(true);
            while (true) {
                var bytes = new byte[64 << 10];
                int count = from.getInputStream().read(bytes);
                if (count == -1) {
                    return;
                }
                timer.schedule(() -> {
                    to.getOutputStream().write(bytes, 0, count);
                    return null;
                }, 20, TimeUnit.MILLISECONDS);
            }
        } catch (IOException e) {
            // one of them was closed
        }
    }

    /** A port that nobody uses now, for a program that has to be told one. */
    public static int freePort() throws IOException {
        try (var probe = new ServerSocket(0, 1, ADDRESS)) {
            return probe.getLocalPort();
        }
    }
}
