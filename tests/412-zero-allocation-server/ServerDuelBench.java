///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 412's benchmark: both servers beside Netty's plain one, blocking sockets, Go and nginx
//DEPS io.netty:netty-codec-http:4.2.18.Final
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED
//SOURCES ../../solutions/412-zero-allocation-server/ServerDuel.java
//SOURCES ../bench/*.java

import module java.base;

import bench.Arguments;
import bench.Figures;
import bench.Loopback;
import bench.Programs;
import com.sun.management.ThreadMXBean;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.PooledByteBufAllocator;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.epoll.Epoll;
import io.netty.channel.epoll.EpollIoHandler;
import io.netty.channel.epoll.EpollServerSocketChannel;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpObject;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.codec.http.HttpVersion;
import java.lang.management.ManagementFactory;

/**
 * How many requests a second does each server answer, and how many bytes does it allocate for each?
 *
 * <p>Seven servers run all the time, each in a process of its own, and wrk asks one after the other in each round, in
 * changing order, so that the ratios within a round mean something on a machine that has other work. Each answers
 * {@code GET /plaintext} with 13 bytes and a Date field. The Java ones are asked before and after each measurement what
 * their threads have allocated (ThreadMXBean.getTotalThreadAllocatedBytes), and Go what its heap has
 * (runtime.MemStats.TotalAlloc).
 */
public final class ServerDuelBench {

    private static final String USAGE = """
            ./jbang bench 412                requests a second, and bytes allocated for each
                --rounds N                 measured rounds, each of all servers (5)
                --seconds N                length of one measurement (3)
                --connections N            of wrk (64)
                --pipeline N               requests that wrk sends in one write (1)
            ./jbang bench 412 --help         this text
            It needs nginx, wrk and Go.""";
    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    private static final String OURS = "NETTY", PLAIN = "Netty plain", GO = "Go net/http", NGINX = "nginx";
    private static final byte[] HELLO = "Hello, world!".getBytes();

    public static void main(String[] args) throws Exception {
        if (args.length > 0 && args[0].equals("serve")) {
            serve(args[1]);
            return;
        }
        var given = Arguments.of(args, USAGE);
        int rounds = given.number("--rounds", 5, 999_999);
        int seconds = given.number("--seconds", 3, 999_999);
        int connections = given.number("--connections", 64, 10_000);
        int pipeline = given.number("--pipeline", 1, 256);
        given.end();
        Programs.need("nginx-light wrk golang", List.of("nginx", "wrk", "go"));
        var folder = Programs.folder("bench412");
        try {
            compare(folder, rounds, seconds, connections, pipeline);
        } finally {
            Programs.end(folder);
        }
    }

    private static void compare(Path folder, int rounds, int seconds, int connections, int pipeline)
            throws Exception {
        var script = Files.writeString(folder.resolve("pipeline.lua"), """
                local batch = {}
                init = function(args)
                  for i = 1, %d do batch[i] = wrk.format(nil, "/plaintext") end
                  batch = table.concat(batch)
                end
                request = function() return batch end
                """.formatted(pipeline));
        var wrk = new Wrk(connections, pipeline > 1 ? Optional.of(script) : Optional.empty());
        var servers = new LinkedHashMap<String, Server>();
        for (var kind : List.of("JDK", OURS, OURS + " on NIO", PLAIN, "blocking")) {
            servers.put(kind, java(kind));
        }
        servers.put(GO, go(folder));
        servers.put(NGINX, nginx(folder));
        IO.println("""
                GET of 13 bytes, wrk with one thread and %d connections%s; %d rounds of %d s
                all of it on %d processors; two threads or processes for each server that has a number of them
                """.formatted(connections, pipeline == 1 ? "" : ", " + pipeline + " requests in a write", rounds,
                seconds, Runtime.getRuntime().availableProcessors()));
        var runs = new LinkedHashMap<String, List<Run>>();
        servers.keySet().forEach(each -> runs.put(each, new ArrayList<>()));
        for (int round = -2; round < rounds; round++) {
            var order = new ArrayList<>(servers.keySet());
            Collections.rotate(order, round + 2);
            for (var each : order) {
                runs.get(each).add(wrk.run(servers.get(each), round < 0 ? 3 : seconds));
            }
        }
        runs.values().forEach(each -> each.subList(0, 2).clear());   // to warm up
        IO.println("%-14s %-30s %-26s %s".formatted("server", "requests a second", "bytes allocated for each",
                "processor time for each, us"));
        runs.forEach((server, each) -> IO.println("%-14s %-30s %-26s %s".formatted(server,
                Figures.spread("%,.0f", each.stream().mapToDouble(Run::rate)),
                server.equals(NGINX) ? "-" : Figures.spread("%,.0f", each.stream().mapToDouble(Run::bytes)),
                Figures.spread("%.1f", each.stream().mapToDouble(Run::cpu)))));
        IO.println("");
        for (var row : List.of(PLAIN + ", target 1.00", "JDK, target 1.50", NGINX + ", target 0.80", GO, "blocking")) {
            var peer = row.replaceAll(",.*", "");
            IO.println("ratio     NETTY to %-27s %s".formatted(row, ratio(runs.get(OURS), runs.get(peer), Run::rate)));
        }
        IO.println("CPU       NETTY to %-27s %s".formatted(PLAIN, ratio(runs.get(OURS), runs.get(PLAIN), Run::cpu)));
    }

    private static String ratio(List<Run> ours, List<Run> theirs, ToDoubleFunction<Run> figure) {
        return Figures.spread("%.2f", IntStream.range(0, ours.size())
                .mapToDouble(i -> figure.applyAsDouble(ours.get(i)) / figure.applyAsDouble(theirs.get(i))));
    }

    /** One that listens; what it has allocated so far, in bytes, if it can tell. */
    private record Server(int port, Process process) {

        double cpuMicros() {
            return Programs.cpuMicros(process);
        }

        long allocated() throws IOException {
            if (process.info().command().orElse("").contains("nginx")) {
                return 0;
            }
            process.outputWriter().write("\n");
            process.outputWriter().flush();
            return Long.parseLong(process.inputReader().readLine());
        }
    }

    /** Requests a second; for each of them bytes allocated, and processor time of the server in us. */
    private record Run(double rate, double bytes, double cpu) {}

    private record Wrk(int connections, Optional<Path> script) {

        Run run(Server server, int seconds) throws Exception {
            long before = server.allocated();
            double cpu = server.cpuMicros();
            var command = new ArrayList<>(List.of("wrk", "-t1", "-c" + connections, "-d" + seconds + "s"));
            script.ifPresent(lua -> command.addAll(List.of("-s", lua.toString())));
            command.add("http://127.0.0.1:" + server.port + "/plaintext");
            var text = Programs.output(command);
            long bytes = server.allocated() - before;
            if (text.contains("Non-2xx") || text.contains("Socket errors")) {
                throw new IOException("wrk saw errors:\n" + text);
            }
            var rate = Pattern.compile("Requests/sec: +([\\d.]+)").matcher(text);
            var count = Pattern.compile("(\\d+) requests in").matcher(text);
            if (!rate.find() || !count.find()) {
                throw new IOException("wrk said something else:\n" + text);
            }
            double requests = Double.parseDouble(count.group(1));
            return new Run(Double.parseDouble(rate.group(1)), bytes / requests,
                    (server.cpuMicros() - cpu) / requests);
        }
    }

    // The servers in Java: each prints its port, and for each line that it reads what it has allocated.

    private static Server java(String kind) throws IOException {
        return started(Programs.startJava(List.of("--enable-native-access=ALL-UNNAMED", "-Xmx512m",
                "-Dio.netty.transport.noNative=" + kind.endsWith("NIO")), "ServerDuelBench", "serve", kind));
    }

    private static Server started(Process process) throws IOException {
        var line = process.inputReader().readLine();
        if (line == null) {
            throw new IOException("a server did not start");
        }
        return new Server(Integer.parseInt(line), process);
    }

    private static void serve(String kind) throws Exception {
        var any = new InetSocketAddress(InetAddress.ofLiteral("127.0.0.1"), 0);
        int port = switch (kind) {
            case "JDK" -> ServerDuel.start(ServerDuel.Kind.JDK, any).localAddress().getPort();
            case PLAIN -> servePlain(any);
            case "blocking" -> serveBlocking();
            default -> ServerDuel.start(ServerDuel.Kind.NETTY, any).localAddress().getPort();
        };
        IO.println(port);
        while (IO.readln() != null) {
            IO.println(THREADS.getTotalThreadAllocatedBytes());
        }
        System.exit(0);
    }

    /** Netty as its users write it: HttpServerCodec, and an object for each request and each response. */
    private static int servePlain(InetSocketAddress bind) {
        boolean epoll = Epoll.isAvailable();
        var group = new MultiThreadIoEventLoopGroup(Runtime.getRuntime().availableProcessors(),
                epoll ? EpollIoHandler.newFactory() : NioIoHandler.newFactory());
        var date = new AtomicReference<>(date());
        group.next().scheduleAtFixedRate(() -> date.set(date()), 1, 1, TimeUnit.SECONDS);
        var channel = new ServerBootstrap().group(group)
                .channel(epoll ? EpollServerSocketChannel.class : NioServerSocketChannel.class)
                .option(ChannelOption.SO_BACKLOG, 1024)
                .childOption(ChannelOption.ALLOCATOR, PooledByteBufAllocator.DEFAULT)
                .childHandler(new ChannelInitializer<Channel>() {
                    @Override
                    protected void initChannel(Channel client) {
                        client.pipeline().addLast(new HttpServerCodec(), new PlainHandler(date));
                    }
                }).bind(bind).syncUninterruptibly().channel();
        return ((InetSocketAddress) channel.localAddress()).getPort();
    }

    private static String date() {
        return DateTimeFormatter.ofPattern("EEE, dd MMM uuuu HH:mm:ss 'GMT'", Locale.US)
                .format(Instant.now().atZone(ZoneOffset.UTC));
    }

    private static final class PlainHandler extends SimpleChannelInboundHandler<HttpObject> {
        private final AtomicReference<String> date;

        PlainHandler(AtomicReference<String> date) {
            this.date = date;
        }

        @Override
        protected void channelRead0(ChannelHandlerContext ctx, HttpObject message) {
            if (message instanceof HttpRequest request) {
                boolean found = request.uri().equals("/plaintext");
                var response = new DefaultFullHttpResponse(HttpVersion.HTTP_1_1,
                        found ? HttpResponseStatus.OK : HttpResponseStatus.NOT_FOUND,
                        found ? Unpooled.wrappedBuffer(HELLO) : Unpooled.EMPTY_BUFFER);
                response.headers().set(HttpHeaderNames.DATE, date.get())
                        .set(HttpHeaderNames.CONTENT_TYPE, "text/plain")
                        .setInt(HttpHeaderNames.CONTENT_LENGTH, response.content().readableBytes());
                ctx.write(response);
            }
        }

        @Override
        public void channelReadComplete(ChannelHandlerContext ctx) {
            ctx.flush();
        }

        @Override
        public void exceptionCaught(ChannelHandlerContext ctx, Throwable why) {
            ctx.close();   // wrk resets its connections at the end
        }
    }

    /** A virtual thread and one array for each connection; it looks for the empty line and at nothing else. */
    private static int serveBlocking() throws IOException {
        var clock = new AtomicReference<>(response());
        Thread.ofPlatform().daemon().start(() -> {
            while (true) {
                LockSupport.parkNanos(1_000_000_000);
                clock.set(response());
            }
        });
        var listener = new ServerSocket();
        return Loopback.serve(listener, client -> {
            client.setTcpNoDelay(true);
            var in = client.getInputStream();
            var out = client.getOutputStream();
            var bytes = new byte[8 * 1024];
            var all = new byte[64 * 1024];
            for (int count, matched = 0; (count = in.read(bytes)) > 0; ) {
                int length = 0;
                var response = clock.get();
                for (int i = 0; i < count; i++) {
                    matched = bytes[i] == "\r\n\r\n".charAt(matched) ? matched + 1 : bytes[i] == '\r' ? 1 : 0;
                    if (matched == 4) {
                        System.arraycopy(response, 0, all, length, response.length);
                        length += response.length;
                        matched = 0;
                    }
                }
                out.write(all, 0, length);
            }
        });
    }

    private static byte[] response() {
        return ("HTTP/1.1 200 OK\r\nDate: " + date() + "\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n"
                + "Hello, world!").getBytes();
    }

    // The others.

    private static Server go(Path folder) throws Exception {
        var source = Files.writeString(folder.resolve("server.go"), """
                package main

                import (
                	"bufio"
                	"fmt"
                	"net"
                	"net/http"
                	"os"
                	"runtime"
                )

                func main() {
                	listener, err := net.Listen("tcp", "127.0.0.1:0")
                	if err != nil {
                		panic(err)
                	}
                	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
                	http.HandleFunc("/plaintext", func(w http.ResponseWriter, r *http.Request) {
                		w.Header().Set("Content-Type", "text/plain")
                		w.Write([]byte("Hello, world!"))
                	})
                	go http.Serve(listener, nil)
                	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
                		var stats runtime.MemStats
                		runtime.ReadMemStats(&stats)
                		fmt.Println(stats.TotalAlloc)
                	}
                }
                """);
        var program = folder.resolve("server");
        var build = new ProcessBuilder(Programs.find("go"), "build", "-o", program.toString(), source.toString())
                .redirectErrorStream(true);
        build.environment().put("GOCACHE", folder.resolve("cache").toString());
        build.environment().put("GO111MODULE", "off");
        var building = build.start();
        var said = new String(building.getInputStream().readAllBytes());
        if (building.waitFor() != 0) {
            throw new IOException("go build: " + said);
        }
        return started(Programs.start(List.of(program.toString())));
    }

    private static Server nginx(Path folder) throws Exception {
        int port = Loopback.freePort();
        return new Server(port, Programs.startNginx(folder, "nginx", 2, port,
                "location = /plaintext { default_type text/plain; return 200 \"Hello, world!\"; }", ""));
    }
}
