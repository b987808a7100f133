///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 401's benchmark: our server beside a Netty one, and 10,000 clients at once
//DEPS io.netty:netty-all:4.2.18.Final
//SOURCES ../../solutions/401-tcp-server/TcpServer.java
//SOURCES ../bench/*.java
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED

import module java.base;

import bench.Arguments;
import bench.Figures;
import bench.Programs;
import com.sun.management.UnixOperatingSystemMXBean;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import java.lang.management.ManagementFactory;

/**
 * How fast is a virtual thread per connection, and how many connections does it hold?
 *
 * <p>Servers and clients live in JVMs of their own, so that none borrows another's heap, compiler or file descriptors.
 * This JVM starts them; each obeys commands from its standard input, a line each, and answers with a line of numbers.
 *
 * <p>The load is a closed loop: every connection always has one message of 64 bytes under way. Two figures that were
 * taken a few seconds apart on one machine may be divided by each other; neither means much alone.
 */
public final class TcpServerBench {

    private static final String USAGE = """
            ./jbang bench 401              our echo server beside Netty's, 1,000 and 5,000 connections
                --rounds N                 measured rounds, each of both servers (5)
                --seconds N                length of one measurement (3)
                --no-limits                our server without its idle and stall limits: what do they cost?
            ./jbang bench 401 --clients N  N clients of the line service, all connected at once
            ./jbang bench 401 --help       this text""";

    private static final InetSocketAddress ANY_PORT = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
    private static final int MESSAGE_BYTES = 64;
    private static final int MANY = 5_000;
    private static final int FEW = 1_000;
    private static final int SPARE_FILES = 100;   // jars, pipes and the like

    public static void main(String[] args) throws Exception {
        if (args.length > 0 && args[0].equals("--role")) {
            play(Role.valueOf(args[1]), Integer.parseInt(args[2]));
        }
        var given = Arguments.of(args, USAGE);
        int rounds = given.number("--rounds", 5, 999_999);
        int seconds = given.number("--seconds", 3, 999_999);
        int clients = given.number("--clients", 0, 999_999);
        var ours = given.has("--no-limits") ? Role.UNLIMITED : Role.OURS;
        given.end();
        if (clients == 0) {
            compare(ours, rounds, seconds);
        } else if (!prove(clients)) {
            System.exit(1);
        }
    }

    private static void requireFiles(int connections) {
        if (ManagementFactory.getOperatingSystemMXBean() instanceof UnixOperatingSystemMXBean system
                && system.getMaxFileDescriptorCount() < connections + SPARE_FILES) {
            Arguments.giveUp("%,d connections need %,d open files in one process; `ulimit -n` allows %,d here: raise it first"
                    .formatted(connections, connections + SPARE_FILES, system.getMaxFileDescriptorCount()));
        }
    }

    // What is measured.

    /** Every client is connected while every other is, and each gets an answer. */
    private static boolean prove(int clients) throws IOException {
        requireFiles(clients);
        try (var server = Child.start(Role.LINES, clients); var load = Child.start(Role.LOAD, clients)) {
            long memory = server.ask("memory")[0];
            var connected = load.ask("open LINES " + clients + " " + server.ask("port")[0]);
            var answered = load.ask("exchange LINES 0");
            long served = server.ask("served")[0];
            String line = "  %-24s %,7d of " + "%,d".formatted(clients);
            IO.println("the line service in one JVM, its clients in another");
            IO.println((line + " in %,d ms").formatted("connected", connected[0], connected[1] / 1_000_000));
            IO.println((line + " in %,d ms").formatted("answered", answered[0], answered[1] / 1_000_000));
            IO.println(line.formatted("all open at that moment", served));
            IO.println("  server's memory             " + memory(memory, server.ask("memory")[0], clients));
            return LongStream.of(connected[0], answered[0], served).allMatch(count -> count == clients);
        }
    }

    private static void compare(Role contestant, int rounds, int seconds) throws IOException {
        requireFiles(2 * MANY);   // the load client holds the connections to both
        try (var ours = Child.start(contestant, MANY);
             var netty = Child.start(Role.NETTY, MANY);
             var load = Child.start(Role.LOAD, 2 * MANY)) {
            IO.println("""
                    echo of %d bytes; a client sends again as soon as it was answered
                    %d rounds of %d s for each server, after one to warm up
                    both servers and the clients share %d processors
                    ours: %s; Netty 4.2 NIO: no limits
                    """.formatted(MESSAGE_BYTES, rounds, seconds, Runtime.getRuntime().availableProcessors(),
                    contestant == Role.OURS ? "idle limit, stall limit and cap" : "only the cap"));
            IO.println("memory with %,d connections, each after one message".formatted(MANY));
            IO.println("  ours    " + connect(ours, load, MANY));   // now, before the heaps grow for other reasons
            IO.println("  Netty   " + connect(netty, load, MANY));
            var many = race(ours, netty, load, MANY, rounds, seconds);
            connect(ours, load, FEW);
            connect(netty, load, FEW);
            var few = race(ours, netty, load, FEW, rounds, seconds);
            IO.print("\n%-12s%-7s%-30s%s\n".formatted(
                    "connections", "server", "round trips a second", "CPU for each, us") + few + many);
        }
    }

    /** Says what memory the connections take; a small crowd comes first, so that they are not charged for code. */
    private static String connect(Child server, Child load, int connections) throws IOException {
        long memory = 0;
        for (long count : new long[] {200, connections}) {
            memory = server.ask("memory")[0];
            long connected = load.ask("open " + server.role + " " + count + " " + server.ask("port")[0])[0];
            long answered = load.ask("exchange " + server.role + " 0")[0];
            if (connected < count || answered < count) {
                throw new IOException("%s: of %,d clients %,d could connect, %,d were answered".formatted(
                        server.role, count, connected, answered));
            }
        }
        return memory(memory, server.ask("memory")[0], connections);
    }

    private static String memory(long before, long after, int connections) {
        return before < 0 ? "not measured: no /proc here" : "%.1f kB a connection (VmRSS %.1f to %.1f MB)".formatted(
                (after - before) / (double) connections, before / 1024.0, after / 1024.0);
    }

    /** Both in turn, in changing order; returns their lines of the table. */
    private static String race(Child ours, Child netty, Child load, int connections, int rounds, int seconds)
            throws IOException {
        var runs = Map.of(ours, new ArrayList<Run>(), netty, new ArrayList<Run>());
        IO.println("\n%,d connections".formatted(connections));
        for (int round = 0; round <= rounds; round++) {
            for (var server : round % 2 == 0 ? List.of(netty, ours) : List.of(ours, netty)) {
                runs.get(server).add(measure(server, load, seconds));
            }
            IO.println("  %-8s ours %,8.0f/s   Netty %,8.0f/s".formatted(round == 0 ? "warm-up" : "round " + round,
                    runs.get(ours).getLast().rate, runs.get(netty).getLast().rate));
        }
        runs.values().forEach(ArrayList::removeFirst);
        var ratios = IntStream.range(0, rounds).mapToDouble(
                round -> runs.get(ours).get(round).rate / runs.get(netty).get(round).rate);
        return "%-12s%s\n%12s%s\n%12sratio  %s, target 0.80\n".formatted("%,d".formatted(connections),
                row("ours", runs.get(ours)), "", row("Netty", runs.get(netty)), "", Figures.spread("%.2f", ratios));
    }

    private static Run measure(Child server, Child load, int seconds) throws IOException {
        var cpu = server.cpu();
        var roundTrips = load.ask("exchange " + server.role + " " + seconds);
        return new Run(roundTrips[0] * 1e9 / roundTrips[1],
                server.cpu().minus(cpu).toNanos() / 1e3 / roundTrips[0]);
    }

    /** Round trips a second, and what each cost the server. */
    private record Run(double rate, double cpuMicros) {}

    private static String row(String server, List<Run> runs) {
        return "%-7s%-30s%s".formatted(server, Figures.spread("%,.0f", runs.stream().mapToDouble(Run::rate)),
                Figures.spread("%.1f", runs.stream().mapToDouble(Run::cpuMicros)));
    }

    // The JVMs that this one starts.

    private enum Role { OURS, UNLIMITED, LINES, NETTY, LOAD }

    /** Ends when its standard input does, which it does however this JVM ends: no child is left over. */
    private record Child(Role role, Process process) implements AutoCloseable {

        static Child start(Role role, int connections) throws IOException {
            return new Child(role, Programs.startJava(List.of("--enable-native-access=ALL-UNNAMED"),
                    TcpServerBench.class.getName(), "--role", role.name(), "" + connections));
        }

        long[] ask(String command) throws IOException {
            var commands = process.outputWriter();
            commands.write(command + "\n");
            commands.flush();
            var answer = process.inputReader().readLine();
            if (answer == null) {
                throw new IOException("the JVM " + role + " ended instead of answering: " + command);
            }
            return Stream.of(answer.split(" ")).mapToLong(Long::parseLong).toArray();
        }

        Duration cpu() {
            return process.info().totalCpuDuration().orElse(Duration.ZERO);
        }

        @Override
        public void close() {
            process.destroyForcibly();
        }
    }

    private interface Action {
        long perform(String[] command) throws IOException;
    }

    private static void play(Role role, int connections) throws IOException {
        var options = TcpServer.Options.defaults().withMaxConnections(connections);
        switch (role) {
            case OURS -> serveOurs(TcpServerBench::echo, options);
            case UNLIMITED -> serveOurs(TcpServerBench::echo,
                    options.withIdleTimeout(Duration.ZERO).withWriteStall(Duration.ZERO));
            case LINES -> serveOurs(TcpServer.lineService(MESSAGE_BYTES), options);
            case NETTY -> serveNetty();
            case LOAD -> load();
        }
        System.exit(0);
    }

    private static void obey(Action action) throws IOException {
        var commands = new BufferedReader(new InputStreamReader(System.in));
        for (var command = commands.readLine(); command != null; command = commands.readLine()) {
            long start = System.nanoTime();
            long count = action.perform(command.split(" "));
            System.out.println(count + " " + (System.nanoTime() - start));
        }
    }

    private static void serveOurs(TcpServer.Handler handler, TcpServer.Options options) throws IOException {
        try (var server = TcpServer.start(ANY_PORT, handler, options)) {
            obey(command -> switch (command[0]) {
                case "port" -> server.localAddress().getPort();
                case "served" -> server.stats().active();
                default -> residentKilobytes();
            });
        }
    }

    private static void echo(TcpServer.Connection connection) throws IOException {
        var in = connection.in();
        var out = connection.out();
        var bytes = new byte[1024];
        for (int count = in.read(bytes); count != -1; count = in.read(bytes)) {
            out.write(bytes, 0, count);
        }
    }

    private static void serveNetty() throws IOException {
        var listening = new ServerBootstrap().group(new MultiThreadIoEventLoopGroup(NioIoHandler.newFactory()))
                .channel(NioServerSocketChannel.class)
                .option(ChannelOption.SO_BACKLOG, TcpServer.Options.defaults().backlog())
                .childHandler(new ChannelInitializer<Channel>() {
                    @Override
                    protected void initChannel(Channel channel) {
                        channel.pipeline().addLast(new NettyEcho());
                    }
                }).bind(ANY_PORT).syncUninterruptibly().channel();
        obey(command -> command[0].equals("port")
                ? ((InetSocketAddress) listening.localAddress()).getPort() : residentKilobytes());
    }

    private static final class NettyEcho extends ChannelInboundHandlerAdapter {
        @Override
        public void channelRead(ChannelHandlerContext context, Object bytes) {
            context.write(bytes);
        }

        @Override
        public void channelReadComplete(ChannelHandlerContext context) {
            context.flush();
        }
    }

    /** What this process holds in memory after a collection, or -1 where there is no /proc. */
    private static long residentKilobytes() throws IOException {
        System.gc();
        var status = Path.of("/proc/self/status");
        if (!Files.exists(status)) {
            return -1;
        }
        var resident = Files.readAllLines(status).stream().filter(line -> line.startsWith("VmRSS:")).findFirst();
        return Long.parseLong(resident.orElseThrow().replaceAll("\\D", ""));
    }

    // The clients.

    private static void load() throws IOException {
        var crowds = new EnumMap<Role, Crowd>(Role.class);
        obey(command -> {
            var server = Role.valueOf(command[1]);
            int number = Integer.parseInt(command[2]);
            if (command[0].equals("exchange")) {
                return crowds.get(server).exchange(Duration.ofSeconds(number));
            }
            if (crowds.containsKey(server)) {
                crowds.get(server).close();
            }
            crowds.put(server, new Crowd());
            return crowds.get(server).connect(number, Integer.parseInt(command[3]));
        });
    }

    /** All clients of one server, on one thread with one selector. */
    private static final class Crowd implements Closeable {
        private static final long PATIENCE_MILLIS = 10_000;
        private final Selector selector = Selector.open();
        private final List<Client> clients = new ArrayList<>();

        private Crowd() throws IOException {}

        /** How many could connect. */
        long connect(int count, int port) throws IOException {
            try {
                while (clients.size() < count) {
                    var channel = SocketChannel.open(new InetSocketAddress(ANY_PORT.getAddress(), port));
                    channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
                    channel.configureBlocking(false);
                    var client = Client.of(channel, clients.size());
                    channel.register(selector, SelectionKey.OP_READ, client);
                    clients.add(client);
                }
            } catch (IOException e) {
                System.err.println("client " + (clients.size() + 1) + ": " + e.getMessage());
            }
            return clients.size();
        }

        /** One message from everybody at least, further ones for this time; how many came back as they should. */
        long exchange(Duration time) throws IOException {
            long start = System.nanoTime();
            for (var client : clients) {
                client.send();
            }
            long answers = 0;
            int waiting = clients.size();
            while (waiting > 0 && selector.select(PATIENCE_MILLIS) > 0) {
                boolean goOn = System.nanoTime() - start < time.toNanos();
                for (var key : selector.selectedKeys()) {
                    var client = (Client) key.attachment();
                    if (!client.receive()) {
                        continue;
                    }
                    answers++;
                    if (goOn) {
                        client.send();
                    } else {
                        waiting--;
                    }
                }
                selector.selectedKeys().clear();
            }
            return answers;
        }

        @Override
        public void close() throws IOException {
            for (var client : clients) {
                client.channel.close();
            }
            selector.close();
        }
    }

    private record Client(SocketChannel channel, ByteBuffer message, ByteBuffer answer) {

        /** What it says is upper case already: the line service sends it back unchanged, as an echo does. */
        static Client of(SocketChannel channel, int number) {
            var message = ByteBuffer.allocateDirect(MESSAGE_BYTES);
            message.put("CLIENT %-56d\n".formatted(number).getBytes(StandardCharsets.US_ASCII));
            return new Client(channel, message, ByteBuffer.allocateDirect(MESSAGE_BYTES));
        }

        void send() throws IOException {
            answer.clear();
            channel.write(message.rewind());   // 64 bytes always fit: the last 64 have come back
        }

        /** True once the whole answer is there. Who is cut, or told something else, is missing in the count. */
        boolean receive() throws IOException {
            try {
                int count = channel.read(answer);
                if (count != -1 && answer.hasRemaining()) {
                    return false;
                }
                if (count != -1 && answer.rewind().equals(message.rewind())) {
                    return true;
                }
                System.err.println("a client was " + (count == -1 ? "cut" : "told something else"));
            } catch (IOException e) {
                System.err.println("a client was cut: " + e.getMessage());
            }
            channel.close();
            return false;
        }
    }
}
