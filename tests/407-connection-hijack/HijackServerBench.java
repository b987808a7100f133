///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 407's benchmark: WebSocket beside Java-WebSocket, plain HTTP beside the JDK's server
//DEPS org.java-websocket:Java-WebSocket:1.6.0
//SOURCES ../../solutions/407-connection-hijack/HijackServer.java
//SOURCES ../bench/*.java

import module java.base;
import module jdk.httpserver;

import bench.Arguments;
import bench.Figures;
import bench.Programs;
import org.java_websocket.WebSocket;
import org.java_websocket.exceptions.WebsocketNotConnectedException;
import org.java_websocket.handshake.ClientHandshake;
import org.java_websocket.server.WebSocketServer;

/**
 * How many messages does an echo over WebSocket carry, and how many requests the server below it?
 *
 * <p>Servers and clients live in JVMs of their own. The load is a closed loop: each of 64 connections sends again as soon
 * as it was answered. Contestants take turns in one run; only their ratio means anything.
 */
public final class HijackServerBench {

    private static final String USAGE = """
            ./jbang bench 407              echo of 125 B and 64 kB over WebSocket, and GETs, each beside a peer
                --rounds N                 measured rounds, each of both servers (5)
                --seconds N                length of one measurement (2)
            ./jbang bench 407 --help       this text""";

    private static final InetAddress HERE = InetAddress.getLoopbackAddress();
    private static final int CONNECTIONS = 64;
    private static final String KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    private static final String GET = "GET /events HTTP/1.1\r\nHost: bench\r\n";
    private static final String HANDSHAKE = GET + "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            + "Sec-WebSocket-Version: 13\r\n" + KEY + "\r\n";

    private enum Role { OURS, JAVA_WEBSOCKET, JDK }

    public static void main(String[] args) throws Exception {
        switch (args.length == 0 ? "" : args[0]) {
            case "--serve" -> serve(Role.valueOf(args[1]));
            case "--load" -> load();
            default -> { }   // a human's
        }
        var given = Arguments.of(args, USAGE);
        int rounds = given.number("--rounds", 5, 999_999);
        int seconds = given.number("--seconds", 2, 999_999);
        given.end();
        IO.println("%d connections, each sends again as soon as it was answered".formatted(CONNECTIONS));
        IO.println("%d rounds of %d s for each server, after one to warm up; servers and clients share %d processors\n"
                .formatted(rounds, seconds, Runtime.getRuntime().availableProcessors()));
        try (var ours = Child.start("--serve", "OURS"); var webSocket = Child.start("--serve", "JAVA_WEBSOCKET");
             var jdk = Child.start("--serve", "JDK"); var load = Child.start("--load")) {
            race("echo of 125 bytes", "125", ours, webSocket, "Java-WebSocket", load, rounds, seconds, 1.5);
            race("echo of 65,536 bytes", "65536", ours, webSocket, "Java-WebSocket", load, rounds, seconds, 1.0);
            race("GET over HTTP", "get", ours, jdk, "JDK", load, rounds, seconds, 0.9);
        }
    }

    /** Both in turn, in changing order. */
    private static void race(String what, String message, Child ours, Child peer, String peerName, Child load, int rounds,
            int seconds, double target) throws IOException {
        var rates = Map.of(ours, new ArrayList<Double>(), peer, new ArrayList<Double>());
        for (int round = 0; round <= rounds; round++) {
            for (var server : round % 2 == 0 ? List.of(peer, ours) : List.of(ours, peer)) {
                double rate = load.ask(message + " " + server.port + " " + seconds);
                if (round > 0) {
                    rates.get(server).add(rate);
                }
            }
        }
        var ratios = IntStream.range(0, rounds).mapToObj(i -> rates.get(ours).get(i) / rates.get(peer).get(i)).toList();
        IO.println("%s\n  %-16s%s\n  %-16s%s\n  %-16s%s, target %.1f\n".formatted(what, "ours",
                Figures.spread("%,.0f/s", rates.get(ours)), peerName, Figures.spread("%,.0f/s", rates.get(peer)), "ratio",
                Figures.spread("%.2f", ratios), target));
    }

    /** Another JVM, which says its port first. It ends when its standard input does. */
    private record Child(Process process, String port) implements AutoCloseable {

        static Child start(String... role) throws IOException {
            var process = Programs.startJava(
                    List.of("-Dslf4j.internal.verbosity=ERROR"),   // Java-WebSocket would log, and nobody here listens
                    HijackServerBench.class.getName(), role);
            return new Child(process, process.inputReader().readLine());
        }

        double ask(String command) throws IOException {
            process.outputWriter().write(command + "\n");
            process.outputWriter().flush();
            var answer = process.inputReader().readLine();
            if (answer == null) {
                throw new IOException("the load client ended instead of answering: " + command);
            }
            return Double.parseDouble(answer);
        }

        @Override
        public void close() {
            process.destroyForcibly();
        }
    }

    // The servers.

    private static void serve(Role role) throws Exception {
        var any = new InetSocketAddress(HERE, 0);
        switch (role) {
            case OURS -> IO.println(HijackServer.start(any, HijackServerBench::handle, HijackServer.Options.defaults())
                    .localAddress().getPort());
            case JAVA_WEBSOCKET -> new JavaWebSocketEcho(any).start();
            case JDK -> {
                var server = HttpServer.create(any, 1024);
                server.setExecutor(Executors.newVirtualThreadPerTaskExecutor());
                server.createContext("/", exchange -> {
                    exchange.getResponseHeaders().set("Content-Type", "text/plain; charset=utf-8");
                    exchange.sendResponseHeaders(200, 13);
                    exchange.getResponseBody().write("lift 3 opens\n".getBytes(StandardCharsets.US_ASCII));
                    exchange.close();
                });
                server.start();
                IO.println(server.getAddress().getPort());
            }
        }
        while (System.in.read() != -1) {
            // until the end
        }
        System.exit(0);
    }

    private static void handle(HijackServer.Request request, HijackServer.Response response) throws IOException {
        if (!request.hasToken("Upgrade", "websocket")) {
            response.send("lift 3 opens\n");
            return;
        }
        try (var socket = HijackServer.WebSocket.upgrade(request, response, HijackServer.Limits.defaults())) {
            while (socket.receive() instanceof HijackServer.Message.Binary(var data)) {
                socket.sendBinary(data);
            }
        }
    }

    private static final class JavaWebSocketEcho extends WebSocketServer {

        JavaWebSocketEcho(InetSocketAddress bind) {
            super(bind, Runtime.getRuntime().availableProcessors());
            setTcpNoDelay(true);
        }

        @Override
        public void onStart() {
            IO.println(getPort());
        }

        @Override
        public void onMessage(WebSocket socket, ByteBuffer message) {
            socket.send(message);
        }

        @Override
        public void onMessage(WebSocket socket, String message) {
            socket.send(message);
        }

        @Override
        public void onOpen(WebSocket socket, ClientHandshake handshake) {
            // nothing to do
        }

        @Override
        public void onClose(WebSocket socket, int code, String reason, boolean remote) {
            // nothing to do
        }

        @Override
        public void onError(WebSocket socket, Exception failure) {
            if (!(failure instanceof WebsocketNotConnectedException)) {   // a client that left in the middle
                failure.printStackTrace();
            }
        }
    }

    // The clients.

    private static void load() throws IOException {
        IO.println("none");   // it has no port
        var commands = new BufferedReader(new InputStreamReader(System.in));
        for (var command = commands.readLine(); command != null; command = commands.readLine()) {
            var words = command.split(" ");
            IO.println(measure(words[0], Integer.parseInt(words[1]), Integer.parseInt(words[2])));
        }
        System.exit(0);
    }

    /** Answers a second. */
    private static double measure(String message, int port, int seconds) throws IOException {
        var clients = new ArrayList<Client>();
        try (var selector = Selector.open()) {
            for (int i = 0; i < CONNECTIONS; i++) {
                var client = Client.connect(port, message);
                client.channel.configureBlocking(false);
                client.channel.register(selector, SelectionKey.OP_READ, client);
                clients.add(client);
            }
            for (var client : clients) {
                client.begin();
            }
            long answers = 0;
            long start = System.nanoTime();
            while (System.nanoTime() - start < seconds * 1_000_000_000L) {
                selector.select(1000);
                for (var key : selector.selectedKeys()) {
                    var client = (Client) key.attachment();
                    answers += client.goOn() ? 1 : 0;
                    key.interestOps(client.request.hasRemaining()
                            ? SelectionKey.OP_READ | SelectionKey.OP_WRITE : SelectionKey.OP_READ);
                }
                selector.selectedKeys().clear();
            }
            return answers * 1e9 / (System.nanoTime() - start);
        } finally {
            for (var client : clients) {
                client.channel.close();
            }
        }
    }

    private record Client(SocketChannel channel, ByteBuffer request, ByteBuffer answer) {

        static Client connect(int port, String message) throws IOException {
            var channel = SocketChannel.open(new InetSocketAddress(HERE, port));
            channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
            if (message.equals("get")) {
                var get = ByteBuffer.wrap((GET + "\r\n").getBytes(StandardCharsets.US_ASCII));
                channel.write(get.duplicate());
                int length = head(channel).length() + "lift 3 opens\n".length();
                channel.read(ByteBuffer.allocate(100));
                return new Client(channel, get, ByteBuffer.allocate(length));
            }
            channel.write(ByteBuffer.wrap(HANDSHAKE.getBytes(StandardCharsets.US_ASCII)));
            head(channel);
            int length = Integer.parseInt(message);
            var frame = frame(length);
            return new Client(channel, frame, ByteBuffer.allocate(frame.capacity() - 4));
        }

        private static String head(SocketChannel channel) throws IOException {
            var head = new StringBuilder();
            var one = ByteBuffer.allocate(1);
            while (head.indexOf("\r\n\r\n") < 0 && channel.read(one.clear()) > 0) {
                head.append((char) one.get(0));
            }
            return head.toString();
        }

        /** A binary frame, masked. */
        private static ByteBuffer frame(int length) {
            var frame = ByteBuffer.allocate((length < 126 ? 2 : length < 65_536 ? 4 : 10) + 4 + length).put((byte) 0x82);
            if (length < 126) {
                frame.put((byte) (0x80 | length));
            } else if (length < 65_536) {
                frame.put((byte) 0xfe).putShort((short) length);
            } else {
                frame.put((byte) 0xff).putLong(length);
            }
            frame.putInt(0x37fa213d);
            while (frame.hasRemaining()) {
                frame.put((byte) frame.position());
            }
            return frame.rewind();
        }

        void begin() throws IOException {
            request.rewind();
            channel.write(request);
        }

        /** True when a whole answer has come, and the next message is on its way. */
        boolean goOn() throws IOException {
            if (request.hasRemaining()) {
                channel.write(request);
            }
            if (channel.read(answer) < 0) {
                throw new EOFException("a client was cut");
            }
            if (answer.hasRemaining()) {
                return false;
            }
            answer.clear();
            begin();
            return true;
        }
    }
}
