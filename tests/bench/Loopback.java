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

    /** A port that nobody uses now, for a program that has to be told one. */
    public static int freePort() throws IOException {
        try (var probe = new ServerSocket(0, 1, ADDRESS)) {
            return probe.getLocalPort();
        }
    }
}
