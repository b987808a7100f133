///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION A tunnel that closes at the first end, and one that passes it on

import module java.base;

/** The client sends a question and its end; the server answers after that. */
public class HalfClose {

    private static final InetAddress HERE = InetAddress.getLoopbackAddress();

    interface Ending {
        void end(Socket from, Socket to) throws IOException;
    }

    public static void main(String[] args) throws Exception {
        ask("close both sockets", (from, to) -> {
            from.close();
            to.close();
        });
        // tag::halfClose[]
        ask("to.shutdownOutput()", (from, to) -> to.shutdownOutput());
        // end::halfClose[]
    }

    private static void ask(String name, Ending ending) throws Exception {
        try (var server = new ServerSocket(0, 9, HERE);
             var tunnel = new ServerSocket(0, 9, HERE);
             var client = new Socket(HERE, tunnel.getLocalPort())) {
            Thread.startVirtualThread(() -> answer(server));
            var one = tunnel.accept();
            var two = new Socket(HERE, server.getLocalPort());
            Thread.startVirtualThread(() -> copy(one, two, ending));
            Thread.startVirtualThread(() -> copy(two, one, ending));
            client.getOutputStream().write("how many?".getBytes());
            client.shutdownOutput();
            IO.println("%-20s the client reads \"%s\"".formatted(name, read(client)));
        }
    }

    private static void answer(ServerSocket server) {
        try (var client = server.accept()) {
            int size = client.getInputStream().readAllBytes().length;
            client.getOutputStream().write((size + " bytes").getBytes());
        } catch (IOException e) {
            // The tunnel has gone.
        }
    }

    private static void copy(Socket from, Socket to, Ending ending) {
        try {
            from.getInputStream().transferTo(to.getOutputStream());
            ending.end(from, to);
        } catch (IOException e) {
            // The other direction has closed both.
        }
    }

    private static String read(Socket client) {
        try {
            return new String(client.getInputStream().readAllBytes());
        } catch (IOException e) {
            return e.getMessage();
        }
    }
}
