///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Closing a socket over unread input can destroy the answer

import module java.base;

/** The server answers 200 kB without reading what the client has sent. */
public class UnreadInput {

    private interface Ending {
        void end(Socket server) throws IOException;
    }

    public static void main(String[] args) throws Exception {
        IO.println("close():");
        tenTimes(Socket::close);
        IO.println("shutdownOutput(), read to the end, close():");
        tenTimes(server -> {
            server.shutdownOutput();
            server.getInputStream().transferTo(OutputStream.nullOutputStream());
            server.close();
        });
    }

    private static void tenTimes(Ending ending) throws Exception {
        var here = InetAddress.getLoopbackAddress();
        var seen = new TreeMap<String, Integer>();
        try (var listener = new ServerSocket(0, 50, here)) {
            for (int i = 0; i < 10; i++) {
                var client = new Socket(here, listener.getLocalPort());
                client.getOutputStream().write(new byte[1000]);
                var server = listener.accept();
                Thread.startVirtualThread(() -> answer(server, ending));
                seen.merge(read(client), 1, Integer::sum);
            }
        }
        seen.forEach((what, times) -> IO.println(
                "  %2d of 10 clients read %s".formatted(times, what)));
    }

    private static void answer(Socket server, Ending ending) {
        try {
            server.getOutputStream().write(new byte[200_000]);
            ending.end(server);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static String read(Socket client) throws Exception {
        int bytes = 0;
        try (client) {
            Thread.sleep(20);   // as if it were far away, or busy
            var buffer = new byte[8 * 1024];
            int count = client.getInputStream().read(buffer);
            while (count != -1) {
                bytes += count;
                count = client.getInputStream().read(buffer);
            }
            return "%,d bytes, then the end of stream".formatted(bytes);
        } catch (SocketException e) {
            return "%,d bytes, then %s".formatted(bytes, e.getMessage());
        }
    }
}
