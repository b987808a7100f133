package kit;

import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/**
 * The threads that a lab has started. The JDK's own (pollers, carriers, cleaners, the common pool) do not count unless
 * they are at work for the lab, nor do JUnit's and the kit's.
 *
 * <p>No public method lists virtual threads but a thread dump, and in JDK 25.0.3 a dump as JSON can crash the JVM while
 * virtual threads come and go. So the JDK's own list is read, where the JVM was started with
 * {@code --add-exports java.base/jdk.internal.vm=ALL-UNNAMED}; elsewhere platform threads alone are looked at.
 */
final class Threads {

    /** OkHttp, Okio and Netty share them among all users of a JVM, and let them idle for a while. */
    private static final Set<String> SHARED = Set.of("OkHttp TaskRunner", "Okio Watchdog");

    /** The JDK starts them for all users of a JVM, when the first one asks for a pool thread or a timeout. */
    private static final List<String> OF_THE_JDK =
            List.of("ForkJoinPool.commonPool-", "CompletableFutureDelayScheduler");

    /** Netty's for all users of a JVM: it tells them that a group of event loops has ended, and ends a second later. */
    private static final String OF_NETTY = "globalEventExecutor-";

    private Threads() {}

    /** Descriptions of the living threads whose id is at least {@code first}: ids are given in order. */
    static List<String> since(long first) {
        return Stream.concat(platformThreads(), virtualThreads())
                .filter(thread -> thread.threadId() >= first && thread.isAlive())
                .filter(thread -> !isOurs(thread.getName()) && !isIdleOfTheJdk(thread) && !isIdleOfOkHttp(thread))
                .map(Threads::describe).toList();
    }

    /** The JDK's own platform threads live in other groups. */
    private static Stream<Thread> platformThreads() {
        var group = Thread.currentThread().getThreadGroup();
        while (!group.getName().equals("main") && group.getParent() != null) {
            group = group.getParent();
        }
        var threads = new Thread[2 * group.activeCount() + 64];
        return Arrays.stream(threads, 0, group.enumerate(threads));
    }

    private static Stream<Thread> virtualThreads() {
        try {
            return virtualThreads(Class.forName("jdk.internal.vm.ThreadContainers").getMethod("root").invoke(null));
        } catch (IllegalAccessException e) {
            return Stream.empty();   // the JVM was started without the option
        } catch (ReflectiveOperationException e) {
            throw new AssertionError("this JDK lists its threads in another way: kit.Threads has to follow", e);
        }
    }

    /** An executor is a container of its own; the JDK's pollers have one, too. */
    private static Stream<Thread> virtualThreads(Object container) throws ReflectiveOperationException {
        var type = Class.forName("jdk.internal.vm.ThreadContainer");
        var found = ((Stream<?>) type.getMethod("threads").invoke(container)).map(Thread.class::cast)
                .filter(thread -> thread.isVirtual() && !thread.getName().contains("Poller")).toList().stream();
        for (var child : ((Stream<?>) type.getMethod("children").invoke(container)).toList()) {
            found = Stream.concat(found, virtualThreads(child));
        }
        return found;
    }

    private static boolean isOurs(String name) {
        return name.startsWith("junit-") || name.startsWith("kit-") || name.startsWith(OF_NETTY)
                || SHARED.contains(name);
    }

    private static boolean isIdleOfTheJdk(Thread thread) {
        return OF_THE_JDK.stream().anyMatch(thread.getName()::startsWith)
                && Arrays.stream(thread.getStackTrace()).allMatch(frame -> frame.getModuleName() != null);
    }

    /** While it waits for the next task of any client, such a thread keeps the name of its last one. */
    private static boolean isIdleOfOkHttp(Thread thread) {
        return Arrays.stream(thread.getStackTrace())
                .anyMatch(frame -> frame.getClassName().equals("okhttp3.internal.concurrent.TaskRunner")
                        && frame.getMethodName().equals("awaitTaskToRun"));
    }

    private static String describe(Thread thread) {
        var stack = thread.getStackTrace();
        var place = Arrays.stream(stack).filter(frame -> frame.getModuleName() == null).findFirst()
                .or(() -> Arrays.stream(stack).findFirst());
        var kind = thread.isVirtual() ? "virtual thread" : "thread";
        var name = thread.getName().isEmpty() ? "" : " " + thread.getName();
        return kind + name + place.map(frame -> " at " + frame).orElse("");
    }
}
