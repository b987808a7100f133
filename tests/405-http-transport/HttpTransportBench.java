///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 405's benchmark: a client with all layers beside bare OkHttp
//SOURCES ../../solutions/405-http-transport/HttpTransport.java
//SOURCES ../bench/*.java
//DEPS io.netty:netty-all:4.2.18.Final
//JAVA_OPTIONS --enable-native-access=ALL-UNNAMED

import module java.base;
import module java.management;
import module jdk.management;

import bench.Arguments;
import bench.Figures;
import bench.Programs;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http2.DefaultHttp2DataFrame;
import io.netty.handler.codec.http2.DefaultHttp2Headers;
import io.netty.handler.codec.http2.DefaultHttp2HeadersFrame;
import io.netty.handler.codec.http2.Http2FrameCodecBuilder;
import io.netty.handler.codec.http2.Http2HeadersFrame;
import io.netty.handler.codec.http2.Http2MultiplexHandler;
import io.netty.handler.codec.http2.Http2StreamFrame;
import okhttp3.Dns;
import okhttp3.OkHttpClient;
import okhttp3.Protocol;
import okhttp3.Request;

/**
 * What do the layers cost a call? HTTP/2 with prior knowledge over loopback, a response of 1,000 bytes, one connection.
 * The server is Netty's, in a JVM of its own. Contestants take turns in one run; only their ratio means anything.
 */
public final class HttpTransportBench {

    private static final String USAGE = """
            ./jbang bench 405              all layers beside bare OkHttp
                --rounds N                 measured rounds (5)
                --seconds N                length of one measurement (1)
            ./jbang bench 405 --help       this text""";

    private static final int BODY = 1_000;
    private static final int WARM = 2;   // rounds
    private static final com.sun.management.ThreadMXBean MEMORY =
            (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();

    private record Contestant(String name, OkHttpClient client, List<Double> rates, List<Double> bytes) {
        Contestant(String name, OkHttpClient client) {
            this(name, client, new ArrayList<>(), new ArrayList<>());
        }

        /** Calls per second, and bytes allocated per call, by so many callers at once. */
        void measure(Request request, int callers, int seconds) throws InterruptedException {
            long allocated = MEMORY.getTotalThreadAllocatedBytes();
            long start = System.nanoTime();
            long end = start + seconds * 1_000_000_000L;
            var calls = new LongAdder();
            var threads = IntStream.range(0, callers).mapToObj(_ -> Thread.ofPlatform().start(() -> {
                while (System.nanoTime() < end) {
                    call(request);
                    calls.increment();
                }
            })).toList();
            for (var thread : threads) {
                thread.join();
            }
            rates.add(calls.sum() * 1e9 / (System.nanoTime() - start));
            bytes.add((double) (MEMORY.getTotalThreadAllocatedBytes() - allocated) / calls.sum());
        }

        private void call(Request request) {
            try (var response = client.newCall(request).execute()) {
                if (response.body().bytes().length != BODY) {
                    throw new IllegalStateException("a body of another length");
                }
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    public static void main(String[] args) throws Exception {
        var given = Arguments.of(args, USAGE);
        if (given.has("--serve")) {
            serve();
            return;
        }
        int rounds = given.number("--rounds", 5, 9999);
        int seconds = given.number("--seconds", 1, 9999);
        given.end();
        var server = startServer();
        try {
            var port = Integer.parseInt(server.inputReader().readLine());
            IO.println("%d rounds of %d s for each, after %d to warm up; %d processors\n".formatted(
                    rounds, seconds, WARM, Runtime.getRuntime().availableProcessors()));
            compare("GETs a second, one caller", 0.85, port, 1, rounds, seconds);
            compare("GETs a second, eight callers on one connection", 0, port, 8, rounds, seconds);
        } finally {
            server.destroyForcibly();
        }
    }

    private static OkHttpClient allLayers(int port) {
        var told = new LongAdder();
        return new HttpTransport.Builder()
                .dns(new HttpTransport.StaticDns(Map.of("*.lab.test", List.of(InetAddress.getLoopbackAddress())),
                        Dns.SYSTEM))
                .log(exchange -> told.add(exchange.responsePreview().bytes()),
                        new HttpTransport.Redactor(Set.of("X-Api-Key"), Set.of("token")), BODY)
                .auth(new HttpTransport.BearerAuth(Set.of("http://api.lab.test:" + port), Set.of("X-Api-Key"),
                        _ -> "a-token"))
                .http2Only(true).build();
    }

    private static OkHttpClient bare() {
        return new OkHttpClient.Builder().dns(_ -> List.of(InetAddress.getLoopbackAddress()))
                .protocols(List.of(Protocol.H2_PRIOR_KNOWLEDGE)).build();
    }

    /** Both in turn, in changing order. A target of 0 is none. */
    private static void compare(String what, double target, int port, int callers, int rounds, int seconds)
            throws InterruptedException {
        var request = new Request.Builder().url("http://api.lab.test:" + port + "/menu?page=2&token=invented").build();
        var ours = new Contestant("all layers", allLayers(port));
        var peer = new Contestant("bare OkHttp", bare());
        for (int round = 0; round < WARM + rounds; round++) {
            for (var contestant : round % 2 == 0 ? List.of(peer, ours) : List.of(ours, peer)) {
                contestant.measure(request, callers, seconds);
            }
        }
        IO.println(what);
        for (var contestant : List.of(ours, peer)) {
            contestant.rates.subList(0, WARM).clear();
            contestant.bytes.subList(0, WARM).clear();
            IO.println("  %-14s%-34s%s bytes allocated a call".formatted(contestant.name,
                    Figures.spread("%,.0f", contestant.rates), "%,.0f".formatted(Figures.median(contestant.bytes))));
            contestant.client.connectionPool().evictAll();
        }
        var ratios = IntStream.range(0, rounds).mapToObj(i -> ours.rates.get(i) / peer.rates.get(i)).toList();
        IO.println("  %-14s%s%s\n".formatted("ratio", Figures.spread("%.2f", ratios),
                target > 0 ? ", target %.2f".formatted(target) : ""));
    }

    // The server.

    private static Process startServer() throws IOException {
        return Programs.startJava(List.of("--enable-native-access=ALL-UNNAMED"),
                HttpTransportBench.class.getName(), "--serve");
    }

    /** Answers every request with the same body, until its standard input ends. */
    private static void serve() throws Exception {
        var group = new MultiThreadIoEventLoopGroup(1, NioIoHandler.newFactory());
        var channel = new ServerBootstrap().group(group).channel(NioServerSocketChannel.class)
                .childHandler(new ChannelInitializer<>() {
                    @Override
                    protected void initChannel(Channel connection) {
                        connection.pipeline().addLast(Http2FrameCodecBuilder.forServer().build(),
                                new Http2MultiplexHandler(new Answers()));
                    }
                }).bind(InetAddress.getLoopbackAddress(), 0).sync().channel();
        IO.println(((InetSocketAddress) channel.localAddress()).getPort());
        while (System.in.read() != -1) {
            // waits for the end
        }
        group.shutdownGracefully();
    }

    @io.netty.channel.ChannelHandler.Sharable
    private static final class Answers extends SimpleChannelInboundHandler<Http2StreamFrame> {
        private static final byte[] BYTES = "x".repeat(BODY).getBytes(StandardCharsets.US_ASCII);

        @Override
        protected void channelRead0(ChannelHandlerContext stream, Http2StreamFrame frame) {
            if (frame instanceof Http2HeadersFrame headers && headers.isEndStream()) {
                stream.write(new DefaultHttp2HeadersFrame(new DefaultHttp2Headers().status("200")
                        .set("content-type", "text/plain").set("content-length", "" + BODY)));
                stream.writeAndFlush(new DefaultHttp2DataFrame(Unpooled.wrappedBuffer(BYTES), true));
            }
        }
    }
}
