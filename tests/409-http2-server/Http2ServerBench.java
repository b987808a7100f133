///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 409's benchmark: small responses, beside a bare Netty server and nghttpd
//DEPS io.netty:netty-codec-http2:4.2.18.Final
//SOURCES ../../solutions/409-http2-server/Http2Server.java
//SOURCES ../bench/*.java

import module java.base;

import bench.Arguments;
import bench.Figures;
import bench.Loopback;
import bench.Programs;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.Unpooled;
import io.netty.channel.*;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http2.*;

/**
 * How many responses of 13 bytes a second does h2load get, with 8 connections of 32 streams each, from the lab's
 * server, from a Netty server whose handler is two lines on the event loop, and from nghttpd, which is written in C++?
 *
 * <p>The first two run in this JVM, h2load and nghttpd in processes of their own; only the ratios of one round mean
 * anything.
 */
public final class Http2ServerBench {

    private static final String USAGE = """
            ./jbang bench 409                beside a bare Netty server and nghttpd
                --rounds N                 measured rounds (5)
                --requests N               requests in each measurement (100000)
            ./jbang bench 409 --help         this text

            needs h2load and nghttpd (Debian's nghttp2-client and nghttp2-server)""";
    private static final byte[] HELLO = "hello, world\n".getBytes();
    private static final Pattern RATE = Pattern.compile("finished in .*, ([\\d.]+) req/s");
    private static final Pattern DONE = Pattern.compile("(\\d+) succeeded, 0 failed, 0 errored");

    public static void main(String[] args) throws Exception {
        var given = Arguments.of(args, USAGE);
        int rounds = given.number("--rounds", 5, 9999);
        int requests = given.number("--requests", 100_000, 100_000_000);
        given.end();
        var any = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
        Programs.need("nghttp2-client nghttp2-server", List.of("h2load", "nghttpd"));
        var files = Programs.folder("bench409");
        Files.write(files.resolve("index.html"), HELLO);
        int port = Loopback.freePort();
        Programs.start(List.of("nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", files.toString(), "" + port));
        Programs.awaitPort(port);
        try (var lab = Http2Server.start(any, exchange -> {
            exchange.respond(200, List.of());
            exchange.output().write(HELLO);
        }, Http2Server.Options.defaults())) {
            var servers = new LinkedHashMap<String, Integer>();
            servers.put("this lab, virtual threads", lab.localAddress().getPort());
            servers.put("bare Netty, event loop", bareNetty(any));
            servers.put("nghttpd", port);
            var rates = new HashMap<String, List<Double>>();
            for (int round = -1; round <= rounds; round++) {
                for (var server : servers.entrySet()) {
                    double rate = rate(server.getValue(), requests);
                    if (round > 0) {
                        rates.computeIfAbsent(server.getKey(), _ -> new ArrayList<>()).add(rate);
                    }
                }
            }
            IO.println("""
                    %d rounds after two to warm up; h2load -n %d -c 8 -m 32 -t 1
                    shares %d processors with the servers

                    responses of 13 bytes a second""".formatted(rounds, requests,
                    Runtime.getRuntime().availableProcessors()));
            servers.keySet().forEach(name -> IO.println("  %-32s%s".formatted(name,
                    Figures.spread("%,.0f", rates.get(name)))));
            IO.println("\nthis lab, compared in each round");
            ratio(rates, servers, "bare Netty, event loop", 0.6);
            ratio(rates, servers, "nghttpd", 0.12);
        } finally {
            Programs.end(files);
        }
        System.exit(0);
    }

    private static void ratio(Map<String, List<Double>> rates, SequencedMap<String, Integer> servers, String peer,
            double target) {
        var ours = rates.get(servers.firstEntry().getKey());
        var ratios = IntStream.range(0, ours.size()).mapToObj(i -> ours.get(i) / rates.get(peer).get(i)).toList();
        IO.println("  %-32s%s, target %.2f".formatted("beside " + peer, Figures.spread("%.2f", ratios), target));
    }

    private static double rate(int port, int requests) throws Exception {
        var output = Programs.output(List.of("h2load", "-n", "" + requests, "-c", "8", "-m", "32", "-t", "1",
                "http://127.0.0.1:" + port + "/"));
        var rate = RATE.matcher(output);
        var done = DONE.matcher(output);
        if (!rate.find() || !done.find() || Integer.parseInt(done.group(1)) != requests) {
            throw new IllegalStateException("h2load did not get all responses:\n" + output);
        }
        return Double.parseDouble(rate.group(1));
    }

    /** The least that a multiplexing server needs, with as many event loops as the lab's. */
    private static int bareNetty(InetSocketAddress bind) throws Exception {
        var loops = new MultiThreadIoEventLoopGroup(Math.ceilDiv(Runtime.getRuntime().availableProcessors(), 2),
                NioIoHandler.newFactory());
        var answer = new ChannelInboundHandlerAdapter() {
            @Override
            public boolean isSharable() {
                return true;
            }

            @Override
            public void channelRead(ChannelHandlerContext stream, Object frame) {
                if (frame instanceof Http2HeadersFrame) {
                    stream.write(new DefaultHttp2HeadersFrame(new DefaultHttp2Headers().status("200")));
                    stream.write(new DefaultHttp2DataFrame(Unpooled.wrappedBuffer(HELLO), true));
                }
            }

            @Override
            public void channelReadComplete(ChannelHandlerContext stream) {
                stream.flush();
            }
        };
        var listener = new ServerBootstrap().group(loops).channel(NioServerSocketChannel.class)
                .childHandler(new ChannelInitializer<Channel>() {
                    @Override
                    protected void initChannel(Channel channel) {
                        channel.pipeline().addLast(Http2FrameCodecBuilder.forServer().build(),
                                new Http2MultiplexHandler(answer));
                    }
                }).bind(bind).sync().channel();
        return ((InetSocketAddress) listener.localAddress()).getPort();
    }
}
