package kit;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.util.ArrayDeque;
import java.util.Deque;

/** An address where no connection comes about, until the test ends: one that refuses, or one that is silent. */
public final class DeadEnd implements AutoCloseable {

    private static final int LET_IN = 2;            // by Linux with a backlog of 1
    private static final int LET_IN_MILLIS = 1_000;
    private static final int MOST = 8;              // a few more, when the kernel has not counted those before them yet
    private static final int PROBE_MILLIS = 10;     // one that is let in takes microseconds

    private static Boolean canBeSilent;             // null: not asked yet; guarded by the class

    private final Deque<AutoCloseable> sockets = new ArrayDeque<>();
    private InetSocketAddress address;

    private DeadEnd() {}

    /** Says no: the port is taken, so that no other program can be given it, but nobody listens. */
    public static DeadEnd refusing() throws IOException {
        var deadEnd = TestLifecycle.closeLater(new DeadEnd());
        var taken = deadEnd.with(new Socket());
        taken.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
        deadEnd.address = (InetSocketAddress) taken.getLocalSocketAddress();
        return deadEnd;
    }

    /** Says nothing: its backlog is full, and the system drops the SYN then. Where it {@link #canBeSilent}. */
    public static DeadEnd silent() throws IOException {
        var deadEnd = TestLifecycle.closeLater(new DeadEnd());
        if (!deadEnd.fillBacklog()) {
            throw new IllegalStateException("the system does not drop a SYN when the backlog is full");
        }
        return deadEnd;
    }

    /** Whether this system drops a SYN when the backlog is full, as Linux does; others refuse. A condition of tests. */
    public static synchronized boolean canBeSilent() throws Exception {
        if (canBeSilent == null) {
            try (var probe = new DeadEnd()) {
                canBeSilent = probe.fillBacklog();
            }
        }
        return canBeSilent;
    }

    /** True when nobody else is let in, and nobody is refused either. */
    private boolean fillBacklog() throws IOException {
        var listener = with(new ServerSocket(0, 1, InetAddress.getLoopbackAddress()));
        address = (InetSocketAddress) listener.getLocalSocketAddress();
        int letIn = 0;
        try {
            for (; letIn < MOST; letIn++) {
                with(new Socket()).connect(address, letIn < LET_IN ? LET_IN_MILLIS : PROBE_MILLIS);
            }
            return false;
        } catch (SocketTimeoutException e) {
            return letIn >= LET_IN;
        } catch (IOException e) {
            return false;   // refused
        }
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
