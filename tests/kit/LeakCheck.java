package kit;

import java.io.IOException;
import java.lang.reflect.Method;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.InvocationInterceptor;
import org.junit.jupiter.api.extension.ReflectiveInvocationContext;

/**
 * After a test that passed, and closed what it opened, nothing of the lab may be left: no thread that was started since
 * the test began, no socket that was opened since (Linux only). Both may take a moment to go. What the JVM must be
 * started with to tell of virtual threads is said in {@link Threads}.
 */
public final class LeakCheck implements InvocationInterceptor {

    /** Whoever has left something behind once in a step mostly does it in each of its tests. */
    private static final Duration AGAIN = Duration.ofMillis(200);
    /** In milliseconds. To look more often makes garbage, and the collector would close what was forgotten. */
    private static final long SELDOM = 250;
    private static final Path DESCRIPTORS = Path.of("/proc/self/fd");

    static {
        try (var listener = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
             var socket = new Socket(listener.getInetAddress(), listener.getLocalPort())) {
            socket.setSoTimeout(1);
            // the JDK opens a socket of its own, for good, with the first one it closes
            socket.getInputStream().read();
        } catch (IOException e) {
            // The timeout, for one.
        }
    }

    @Override
    public void interceptTestMethod(Invocation<Void> invocation, ReflectiveInvocationContext<Method> method,
                                    ExtensionContext context) throws Throwable {
        long firstThread = Thread.ofVirtual().unstarted(() -> {}).threadId();   // ids are given in order
        var sockets = sockets();
        invocation.proceed();
        check(firstThread, sockets);
    }

    private static void check(long firstThread, Set<String> before) throws InterruptedException {
        long start = System.nanoTime();
        var limit = Patience.isWorn() ? AGAIN : Patience.duration();
        long pause = 1;
        for (var left = left(firstThread, before); !left.isEmpty(); left = left(firstThread, before)) {
            if (System.nanoTime() - start > limit.toNanos()) {
                var failure = told(left);
                Patience.ranOut();
                throw failure;
            }
            Thread.sleep(pause);
            pause = Math.min(2 * pause, SELDOM);
        }
    }

    /** What the lab says of itself comes first: a thread of given code may live on because of a count that is wrong. */
    private static AssertionError told(List<String> left) {
        var run = RunningTest.current().orElseThrow();
        var accounts = run.accounts().stream().map(account -> "the lab itself says: " + account + "\n")
                .collect(Collectors.joining());
        return History.fail("expected no thread and no socket left when everything is closed\n" + accounts
                + "still there:\n  " + String.join("\n  ", left), run.usualLeak);
    }

    private static List<String> left(long firstThread, Set<String> before) {
        var left = new ArrayList<>(Threads.since(firstThread));
        var sockets = sockets();
        sockets.removeAll(before);
        if (!sockets.isEmpty()) {
            left.add(sockets.size() == 1 ? "1 socket" : sockets.size() + " sockets");
        }
        return left;
    }

    /** How many sockets this process has open; 0 where the system does not tell. */
    public static int openSockets() {
        return sockets().size();
    }

    /** The sockets of this process by inode; none where the system does not tell. */
    private static Set<String> sockets() {
        var sockets = new HashSet<String>();
        try (var descriptors = Files.newDirectoryStream(DESCRIPTORS)) {
            for (var descriptor : descriptors) {
                var target = target(descriptor);
                if (target.startsWith("socket:")) {
                    sockets.add(target);
                }
            }
        } catch (IOException e) {
            return new HashSet<>();   // no Linux
        }
        return sockets;
    }

    private static String target(Path descriptor) {
        try {
            return Files.readSymbolicLink(descriptor).toString();
        } catch (IOException e) {
            return "";   // closed in this moment
        }
    }
}
