package kit;

import java.io.IOException;
import java.io.InputStream;
import java.net.ConnectException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;

/**
 * One end of a TCP connection that plays a script of actions and expectations, and puts each line of it into the
 * history of the test. It is closed when the test ends. For one thread.
 */
public final class Peer implements AutoCloseable {

    /** A line of the script; {@code toString} says in the past tense what happened. */
    public sealed interface Move permits Action, Expectation {}

    private final Socket socket;
    private final String name;

    private Peer(Socket socket, String name) {
        this.socket = socket;
        this.name = name;
    }

    /** Connects; fails where nobody listens. */
    public static Peer connect(InetSocketAddress address, String name) throws IOException {
        return connect(address, name, 0);
    }

    /** Connects with a receive buffer of a given size in bytes, as the system understands it; 0 leaves it alone. */
    public static Peer connect(InetSocketAddress address, String name, int receiveBuffer) throws IOException {
        var peer = TestLifecycle.closeLater(new Peer(new Socket(), name));
        if (receiveBuffer > 0) {
            peer.socket.setReceiveBufferSize(receiveBuffer);
        }
        peer.socket.setTcpNoDelay(true);   // a write is a segment, as far as it can be
        try {
            peer.socket.connect(address, Patience.millis());
        } catch (IOException e) {
            throw History.fail("expected " + name + " to connect to " + shown(address) + "\ngot " + e, usualCause(e));
        }
        History.note(name + " connected to " + shown(address));
        return peer;
    }

    private static String usualCause(IOException failure) {
        return switch (failure) {
            case ConnectException refused -> "nobody listens there";
            case SocketTimeoutException timeout -> "the backlog is full, because nobody accepts";
            case SocketException reset when "Connection reset".equals(reset.getMessage()) ->
                    "the other side has reset the connection at once: an abort, or a close with unread input";
            default -> "";
        };
    }

    /** The other end of a connection that a server of the test's own has accepted. */
    public static Peer on(Socket accepted, String name) throws IOException {
        var peer = TestLifecycle.closeLater(new Peer(accepted, name));
        accepted.setTcpNoDelay(true);
        History.note(name + " accepted a connection");
        return peer;
    }

    /** Plays the script. @param likely what mistake usually makes it fail */
    public Peer play(String likely, Move... script) throws IOException {
        for (var move : script) {
            switch (move) {
                case Action action -> perform(action, likely);
                case Expectation expectation -> check(expectation, likely);
            }
            History.note(name + " " + move);
        }
        return this;
    }

    private void perform(Action action, String likely) {
        try {
            action.perform(socket);
        } catch (IOException e) {
            throw History.fail("expected " + name + " to be able to say: " + action + "\ngot " + e, likely);
        }
    }

    private void check(Expectation expectation, String likely) throws SocketException {
        socket.setSoTimeout(Patience.millis());
        long start = System.nanoTime();
        try {
            expectation.check(socket);
        } catch (Expectation.Surprise e) {
            throw failed(expectation.wish(), e.getMessage(), likely, start);
        } catch (IOException e) {
            throw failed(expectation.wish(), Expectation.explain(e), likely, start);
        }
    }

    /**
     * What the test is told.
     *
     * @param wish  reads on after "expected client to"
     * @param start when the peer began to wait, in nanoseconds
     */
    AssertionError failed(String wish, String got, String likely, long start) {
        var failure = History.fail("expected " + name + " to " + wish + "\ngot " + got, likely);
        if (System.nanoTime() - start >= Patience.duration().toNanos()) {
            Patience.ranOut();
        }
        return failure;
    }

    String name() {
        return name;
    }

    /** What comes, each read of it with the patience of now. */
    InputStream input() throws IOException {
        socket.setSoTimeout(Patience.millis());
        return socket.getInputStream();
    }

    /** The client's own address: the server's {@code remoteAddress()}. */
    public InetSocketAddress localAddress() {
        return (InetSocketAddress) socket.getLocalSocketAddress();
    }

    private static String shown(InetSocketAddress address) {
        return address.getAddress().getHostAddress() + ":" + address.getPort();
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
