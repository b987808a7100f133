///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION What does a pool see when a firewall forgets its connections?
//SOURCES ../../../solutions/404-connection-pool/ConnectionPool.java

import module java.base;

/** Needs root, nft, and a network of its own: see silent-drop.sh. */
public class SilentDrop {

    private static final Duration SECOND = Duration.ofSeconds(1);

    public static void main(String[] args) throws Exception {
        var listener = new ServerSocket(0, 9, InetAddress.getLoopbackAddress());
        Thread.startVirtualThread(() -> serve(listener));
        var tcp = ConnectionPool.tcp((InetSocketAddress)
                listener.getLocalSocketAddress(), SECOND);
        var options = ConnectionPool.Options.defaults()
                .withValidateAfter(Duration.ZERO);
        try (var quiet = new ConnectionPool<>(tcp, options);
             var asking = new ConnectionPool<>(new Asking(tcp), options)) {
            SocketChannel channel;
            try (var one = quiet.borrow(SECOND);
                 var other = asking.borrow(SECOND)) {
                channel = one.get();
                IO.println("both pools: " + ask(one.get()) + ", "
                        + ask(other.get()));
                forget(one.get(), other.get());
            }
            IO.println("the firewall forgets both connections");
            IO.println("  isConnected(): " + channel.isConnected());
            use("a probe on this side", quiet);
            use("a question", asking);
        }
    }

    private static void use(String check, ConnectionPool<SocketChannel> pool)
            throws Exception {
        long start = System.nanoTime();
        try (var lease = pool.borrow(SECOND)) {
            IO.println("%s: leased after %d ms, unhealthy %d".formatted(check,
                    (System.nanoTime() - start) / 1_000_000,
                    pool.stats().unhealthy()));
            IO.println("  " + ask(lease.get()));
        }
    }

    /** Without a limit of its own, the check would wait like a borrower. */
    // tag::ask[]
    private static String ask(SocketChannel channel) throws IOException {
        var socket = channel.socket();
        int before = socket.getSoTimeout();
        socket.setSoTimeout(500);
        try {
            socket.getOutputStream().write('?');
            return socket.getInputStream().read() == '?'
                    ? "answered" : "closed";
        } catch (SocketTimeoutException e) {
            return "written without an exception, never answered";
        } finally {
            socket.setSoTimeout(before);
        }
    }
    // end::ask[]

    /** As the given factory, but a connection is healthy if it is answered. */
    // tag::asking[]
    private record Asking(ConnectionPool.Factory<SocketChannel> tcp)
            implements ConnectionPool.Factory<SocketChannel> {

        @Override
        public SocketChannel connect() throws Exception {
            return tcp.connect();
        }

        @Override
        public boolean isHealthy(SocketChannel channel) throws Exception {
            return tcp.isHealthy(channel) && ask(channel).equals("answered");
        }

        @Override
        public void destroy(SocketChannel channel) throws Exception {
            tcp.destroy(channel);
        }
    }
    // end::asking[]

    private static void forget(SocketChannel... channels) throws Exception {
        var ports = Stream.of(channels)
                .map(channel -> "" + channel.socket().getLocalPort())
                .collect(Collectors.joining(", "));
        new ProcessBuilder("nft", "add table ip firewall; "
                + "add chain ip firewall arriving "
                + "{ type filter hook input priority 0; }; "
                + "add rule ip firewall arriving tcp sport { " + ports
                + " } drop").inheritIO().start().waitFor();
    }

    private static void serve(ServerSocket listener) {
        while (true) {
            try {
                var client = listener.accept();
                Thread.startVirtualThread(() -> echo(client));
            } catch (IOException e) {
                return;
            }
        }
    }

    private static void echo(Socket client) {
        try (client) {
            client.getInputStream().transferTo(client.getOutputStream());
        } catch (IOException e) {
            // the end
        }
    }
}
