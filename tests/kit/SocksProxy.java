package kit;

import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Function;

/**
 * A SOCKS5 proxy on loopback (RFC 1928, and RFC 1929 for the login) that says in the history what it was asked for.
 * Names are nobody's but the test's: the test says where a target is. Closed when the test ends, with all connections.
 */
public final class SocksProxy implements AutoCloseable {

    /** What a client asked for: {@code kind} is "name", "IPv4" or "IPv6". */
    public record Target(String kind, String host, int port) {
        @Override
        public String toString() {
            return kind + " " + host + ":" + port;
        }
    }

    /** What the proxy does with a client that has just connected. */
    @FunctionalInterface
    public interface Script {
        void play(SocksProxy proxy, Socket client) throws IOException;
    }

    private static final byte[] GRANTED = {5, 0, 0, 1, 0, 0, 0, 0, 0, 0};

    private final ServerSocket listener;
    private final Script script;
    private final List<Target> targets = Collections.synchronizedList(new ArrayList<>());
    private final ConcurrentLinkedQueue<Socket> open = new ConcurrentLinkedQueue<>();
    private volatile int connections;
    private volatile boolean closed;

    private SocksProxy(Script script) throws IOException {
        this.script = script;
        listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    }

    /** Each client is played the script, on a thread of its own. */
    public static SocksProxy playing(Script script) throws IOException {
        var proxy = TestLifecycle.closeLater(new SocksProxy(script));
        Thread.ofVirtual().name("kit-socks").start(proxy::accept);
        return proxy;
    }

    /** Connects anybody to where the test says that the target is. */
    public static SocksProxy open(Function<Target, InetSocketAddress> route) throws IOException {
        return playing((proxy, client) -> {
            proxy.chooseMethod(client, 0);
            proxy.connect(client, route);
        });
    }

    /** Connects who knows user and password; the others are told that they do not. */
    public static SocksProxy guarded(String user, String password, Function<Target, InetSocketAddress> route)
            throws IOException {
        return playing((proxy, client) -> {
            if (proxy.chooseMethod(client, 2) && proxy.logIn(client, user + ":" + password)) {
                proxy.connect(client, route);
            }
        });
    }

    public InetSocketAddress address() {
        return (InetSocketAddress) listener.getLocalSocketAddress();
    }

    /** What was asked for, in order. */
    public List<Target> targets() {
        synchronized (targets) {
            return List.copyOf(targets);
        }
    }

    /** Clients that have connected. */
    public int connections() {
        return connections;
    }

    private void accept() {
        try {
            while (true) {
                var client = keep(listener.accept());
                connections++;
                Thread.ofVirtual().name("kit-socks").start(() -> serve(client));
            }
        } catch (IOException e) {
            // Closed.
        }
    }

    private void serve(Socket client) {
        try (client) {
            client.setTcpNoDelay(true);
            script.play(this, client);
        } catch (EOFException e) {
            History.note("the client hung up at the proxy");
        } catch (IOException e) {
            // One of the two ends is gone, or the test is over.
        }
    }

    /** Reads what methods the client has, and chooses this one; no method (0xff) if the client does not have it. */
    public boolean chooseMethod(Socket client, int method) throws IOException {
        var in = new DataInputStream(client.getInputStream());
        expect(in.readUnsignedByte(), 5, "the version of SOCKS");
        var methods = new byte[in.readUnsignedByte()];
        in.readFully(methods);
        boolean has = new String(methods, StandardCharsets.ISO_8859_1).indexOf(method) >= 0;
        client.getOutputStream().write(new byte[] {5, (byte) (has ? method : 0xff)});
        return has;
    }

    private boolean logIn(Socket client, String expected) throws IOException {
        var in = new DataInputStream(client.getInputStream());
        expect(in.readUnsignedByte(), 1, "the version of the login");
        boolean right = (text(in) + ":" + text(in)).equals(expected);
        History.note("the proxy was given " + (right ? "the right login" : "a wrong login"));
        client.getOutputStream().write(new byte[] {1, (byte) (right ? 0 : 1)});
        return right;
    }

    /** Reads what the client asks for. */
    public Target readTarget(Socket client) throws IOException {
        var in = new DataInputStream(client.getInputStream());
        expect(in.readUnsignedByte(), 5, "the version of SOCKS");
        expect(in.readUnsignedByte(), 1, "CONNECT");
        expect(in.readUnsignedByte(), 0, "the reserved byte");
        var target = switch (in.readUnsignedByte()) {
            case 1 -> new Target("IPv4", address(in, 4), in.readUnsignedShort());
            case 3 -> new Target("name", text(in), in.readUnsignedShort());
            case 4 -> new Target("IPv6", address(in, 16), in.readUnsignedShort());
            default -> throw new IOException("an unknown kind of address");
        };
        History.note("the proxy was asked for " + target);
        targets.add(target);
        return target;
    }

    private void connect(Socket client, Function<Target, InetSocketAddress> route) throws IOException {
        var to = route.apply(readTarget(client));
        var server = keep(new Socket(to.getAddress(), to.getPort()));
        server.setTcpNoDelay(true);
        try (server) {
            client.getOutputStream().write(GRANTED);
            Thread.ofVirtual().name("kit-socks").start(() -> relay(server, client));
            relay(client, server);
        }
    }

    private static void relay(Socket from, Socket to) {
        try (to) {
            from.getInputStream().transferTo(to.getOutputStream());
        } catch (IOException e) {
            // One of the two ends is gone.
        }
    }

    private static String text(DataInputStream in) throws IOException {
        var text = new byte[in.readUnsignedByte()];
        in.readFully(text);
        return new String(text, StandardCharsets.UTF_8);
    }

    private static String address(DataInputStream in, int length) throws IOException {
        var address = new byte[length];
        in.readFully(address);
        return InetAddress.getByAddress(address).getHostAddress();
    }

    private static void expect(int got, int expected, String what) throws IOException {
        if (got != expected) {
            History.note("the proxy got %d where %s, %d, should be, and hung up".formatted(got, what, expected));
            throw new IOException("not SOCKS5");
        }
    }

    /** It is closed with the proxy, also when the proxy is closed already. */
    private Socket keep(Socket socket) throws IOException {
        open.add(socket);
        if (closed) {
            socket.close();
        }
        return socket;
    }

    @Override
    public void close() throws IOException {
        closed = true;
        listener.close();
        for (var socket : open) {
            socket.close();
        }
    }
}
