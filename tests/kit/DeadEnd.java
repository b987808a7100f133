package kit;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.util.ArrayDeque;
import java.util.Deque;
import org.opentest4j.TestAbortedException;

/** An address where no connection comes about, until the test ends: one that refuses, or one that is silent. */
public final class DeadEnd implements AutoCloseable {

    private static final int PROBE_MILLIS = 30;
    private static final int LET_IN = 2;   // by Linux with a backlog of 1
    private static final int MOST_TRIES = 8;

    private final Deque<AutoCloseable> sockets = new ArrayDeque<>();
    private InetSocketAddress address;

    private DeadEnd() {
        TestLifecycle.closeLater(this);
    }

    /** Says no: the port is taken, so that no other program can be given it, but nobody listens. */
    public static DeadEnd refusing() throws IOException {
        var deadEnd = new DeadEnd();
        var taken = deadEnd.with(new Socket());
        taken.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
        deadEnd.address = (InetSocketAddress) taken.getLocalSocketAddress();
        return deadEnd;
    }

    /** Says nothing: its backlog is full, and Linux drops the SYN then. Where the system does not, the test is skipped. */
    public static DeadEnd silent() throws IOException {
        var deadEnd = new DeadEnd();
        var listener = deadEnd.with(new ServerSocket(0, 1, InetAddress.getLoopbackAddress()));
        deadEnd.address = (InetSocketAddress) listener.getLocalSocketAddress();
        int letIn = 0;
        for (int tries = 0; tries < MOST_TRIES; tries++) {
            try {
                deadEnd.with(new Socket()).connect(deadEnd.address, PROBE_MILLIS);
                letIn++;
            } catch (SocketTimeoutException e) {
                if (letIn >= LET_IN) {
                    return deadEnd;
                }
            } catch (IOException e) {
                break;   // this system refuses when the backlog is full
            }
        }
        throw new TestAbortedException("needs a system that drops a SYN when the backlog is full, as Linux does");
    }

    /** Where nobody can connect to. */
    public InetSocketAddress address() {
        return address;
    }

    private <T extends AutoCloseable> T with(T socket) {
        sockets.push(socket);
        return socket;
    }

    @Override
    public void close() throws Exception {
        for (var socket : sockets) {
            socket.close();
        }
    }
}
