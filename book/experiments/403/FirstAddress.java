///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Who tries the second address of a name?
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS io.netty:netty-all:4.2.18.Final
//DEPS org.slf4j:slf4j-nop:1.7.36
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED

import module java.base;
import module java.net.http;

import io.netty.bootstrap.Bootstrap;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioSocketChannel;
import okhttp3.OkHttpClient;
import okhttp3.Request;

/** The name scanner.test has two addresses; a server listens at the second. */
public class FirstAddress {

    public static void main(String[] args) throws Exception {
        var hosts = Files.writeString(Files.createTempFile("hosts", ""),
                "127.0.0.9 scanner.test\n127.0.0.1 scanner.test\n");
        System.setProperty("jdk.net.hosts.file", hosts.toString());
        var server = new ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"));
        Thread.startVirtualThread(() -> answer(server));
        int port = server.getLocalPort();
        var url = "http://scanner.test:" + port + "/";

        IO.println(Arrays.toString(InetAddress.getAllByName("scanner.test")));
        show("Socket", () -> new Socket("scanner.test", port).close());
        show("SocketChannel", () -> SocketChannel.open(
                new InetSocketAddress("scanner.test", port)).close());
        show("HttpURLConnection", () ->
                URI.create(url).toURL().openStream().close());
        show("HttpClient", () -> HttpClient.newHttpClient().send(
                HttpRequest.newBuilder(URI.create(url)).build(),
                HttpResponse.BodyHandlers.ofString()));
        show("Netty's Bootstrap", () -> new Bootstrap()
                .group(new MultiThreadIoEventLoopGroup(
                        1, NioIoHandler.newFactory()))
                .channel(NioSocketChannel.class)
                .handler(new ChannelInboundHandlerAdapter())
                .connect("scanner.test", port).sync());
        show("OkHttp", () -> new OkHttpClient().newCall(
                new Request.Builder().url(url).build()).execute().close());
        Files.delete(hosts);
        System.exit(0);
    }

    private interface Code {
        void run() throws Exception;
    }

    private static void show(String who, Code code) {
        try {
            code.run();
            IO.println("%-18s connected".formatted(who));
        } catch (Exception e) {
            IO.println("%-18s %s".formatted(who, e.getClass().getSimpleName()));
        }
    }

    private static void answer(ServerSocket server) {
        while (true) {
            try (var client = server.accept()) {
                client.getOutputStream().write(
                        "HTTP/1.1 204 No Content\r\n\r\n".getBytes());
                client.shutdownOutput();
                client.getInputStream().transferTo(
                        OutputStream.nullOutputStream());
            } catch (IOException e) {
                // the next client
            }
        }
    }
}
