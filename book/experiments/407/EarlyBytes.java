///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Where are the bytes that came with the request?

import module java.base;

/** Reads a request through a buffer, as every server does, and looks then. */
public class EarlyBytes {

    public static void main(String[] args) throws Exception {
        var here = InetAddress.getLoopbackAddress();
        try (var listener = new ServerSocket(0, 50, here);
             var client = new Socket(here, listener.getLocalPort());
             var server = listener.accept()) {
            client.getOutputStream().write(
                    "GET / HTTP/1.1\r\nUpgrade: x\r\n\r\nEARLYDATA".getBytes());
            // tag::read[]
            var reader = new BufferedReader(
                    new InputStreamReader(server.getInputStream()));
            while (!reader.readLine().isEmpty()) {
                // a field of the head
            }
            int inTheSocket = server.getInputStream().available();
            var inTheBuffer = new char[100];
            int count = reader.read(inTheBuffer);
            // end::read[]
            IO.println("in the socket: %d bytes".formatted(inTheSocket));
            IO.println("in the buffer: %d bytes, %s".formatted(count,
                    new String(inTheBuffer, 0, count)));
        }
    }
}
