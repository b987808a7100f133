///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION How many threads of the system serve a thousand waiting clients

import module java.base;

/** A thousand virtual threads wait for a byte, each inside a monitor. */
public class Carriers {

    public static void main(String[] args) throws Exception {
        int clients = 1000;
        var here = InetAddress.getLoopbackAddress();
        var carriers = ConcurrentHashMap.<String>newKeySet();
        var reading = new CountDownLatch(clients);
        var answered = new CountDownLatch(clients);
        var before = platformThreads();
        var sockets = new ArrayList<Socket>();
        try (var listener = new ServerSocket(0, 50, here)) {
            for (int i = 0; i < clients; i++) {
                sockets.add(new Socket(here, listener.getLocalPort()));
                var server = listener.accept();
                Thread.startVirtualThread(() -> {
                    synchronized (server) {   // would pin before JDK 24
                        carriers.add(carrier());
                        reading.countDown();
                        read(server);
                    }
                    answered.countDown();
                });
            }
        }
        reading.await();
        IO.println("%,d threads wait in read(); they ran on %d carriers"
                .formatted(clients, carriers.size()));
        var threads = platformThreads();
        IO.println("platform threads: %d before, %d now".formatted(
                before.size(), threads.size()));
        threads.removeAll(before);
        threads.forEach(name -> IO.println("  new: " + name));
        for (var socket : sockets) {
            socket.close();
        }
        answered.await();
    }

    private static Set<String> platformThreads() {
        return Thread.getAllStackTraces().keySet().stream()
                .map(Thread::getName)
                .collect(Collectors.toCollection(TreeSet::new));
    }

    /** {@code VirtualThread[#31]/runnable@ForkJoinPool-1-worker-1}. */
    private static String carrier() {
        return Thread.currentThread().toString().replaceAll(".*@", "");
    }

    private static void read(Socket server) {
        try (server) {
            server.getInputStream().read();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
