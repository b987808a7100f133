///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION HttpRequest.timeout and a body that stalls

import module java.base;
import module java.net.http;

/** The response begins at once; its body ends after 3 s. */
public class RequestTimeout {

    public static void main(String[] args) throws Exception {
        var loopback = InetAddress.getLoopbackAddress();
        try (var listener = new ServerSocket(0, 1, loopback)) {
            Thread.startVirtualThread(() -> serve(listener));
            var uri = URI.create("http://127.0.0.1:" + listener.getLocalPort());
            var client = HttpClient.newHttpClient();
            var request = HttpRequest.newBuilder(uri)
                    .timeout(Duration.ofMillis(500)).build();
            long start = System.nanoTime();
            var end = "";
            try {
                end = "body " + client.send(request,
                        HttpResponse.BodyHandlers.ofString()).body();
            } catch (HttpTimeoutException e) {
                end = e.toString();
            }
            IO.println("timeout 500 ms: %s after %,d ms".formatted(
                    end, (System.nanoTime() - start) / 1_000_000));
        }
        System.exit(0);
    }

    private static Object serve(ServerSocket listener) {
        try (var socket = listener.accept()) {
            var out = socket.getOutputStream();
            socket.getInputStream().read(new byte[4096]);
            out.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlo"
                    .getBytes());
            Thread.sleep(3000);
            out.write("ng".getBytes());
            return null;
        } catch (IOException | InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
