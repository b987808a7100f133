///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 402's benchmark: our client beside a write for each metric, and beside DogStatsD's client
//DEPS com.datadoghq:java-dogstatsd-client:4.4.3
//SOURCES ../../solutions/402-udp-client/StatsdClient.java
//SOURCES ../bench/*.java

import module java.base;

import bench.Arguments;
import bench.Figures;
import bench.Programs;
import com.sun.management.ThreadMXBean;
import com.timgroup.statsd.NonBlockingStatsDClientBuilder;
import java.lang.management.ManagementFactory;

/**
 * What does a call of {@code count("page.views", 1)} cost the program that makes it?
 *
 * <p>Each client runs in a JVM of its own, so that no client uses code that the JIT has compiled for another. This JVM
 * starts them and is the agent, which reads every packet and discards it. The clients count as fast as they can, which
 * no real program does, so only ratios within one run have a meaning.
 */
public final class StatsdClientBench {

    private static final String USAGE = """
            ./jbang bench 402              our client, a write for each metric, and DogStatsD's client
                --rounds N                 measured rounds of each (5)
                --millis N                 length of one measurement (1000)
            ./jbang bench 402 --help       this text""";

    private static final int MANY_THREADS = 4;

    public static void main(String[] args) throws Exception {
        if (args.length > 0 && args[0].equals("--role")) {
            play(Role.valueOf(args[1]), Integer.parseInt(args[2]));
        }
        var given = Arguments.of(args, USAGE);
        int rounds = given.number("--rounds", 5, 999_999);
        int millis = given.number("--millis", 1000, 999_999);
        given.end();
        compare(rounds, millis);
    }

    // What is measured.

    private enum Role {
        OURS("ours"), NAIVE("a write for each"), DOGSTATSD("DogStatsD 4.4.3");

        private final String words;

        Role(String words) {
            this.words = words;
        }
    }

    /** What calls a second, bytes allocated for a call by its thread, metrics in a packet. */
    private record Run(double rate, double bytes, double perPacket) {}

    private static void compare(int rounds, int millis) throws IOException {
        IO.println("""
                count("page.views", 1) as fast as one thread, and as fast as %d threads can
                %d rounds of %d ms for each client, after two to warm up; %d processors, shared with the agent
                """.formatted(MANY_THREADS, rounds, millis, Runtime.getRuntime().availableProcessors()));
        try (var agent = new DatagramSocket(0, InetAddress.getLoopbackAddress())) {
            Thread.ofPlatform().daemon().start(() -> drain(agent));
            var clients = new EnumMap<Role, Child>(Role.class);
            for (var role : Role.values()) {
                clients.put(role, Child.start(role, agent.getLocalPort()));
            }
            for (int threads : new int[] {1, MANY_THREADS}) {
                report(threads, race(clients, threads, rounds, millis));
            }
            clients.values().forEach(Child::close);
        }
    }

    private static Map<Role, List<Run>> race(Map<Role, Child> clients, int threads, int rounds, int millis)
            throws IOException {
        var runs = new EnumMap<Role, List<Run>>(Role.class);
        for (int round = -1; round <= rounds; round++) {
            for (var role : Role.values()) {
                var numbers = clients.get(role).ask(threads + " " + millis);
                if (round > 0) {
                    runs.computeIfAbsent(role, key -> new ArrayList<>()).add(new Run(numbers[0] * 1e9 / numbers[1],
                            (double) numbers[2] / numbers[0], (double) numbers[0] / numbers[3]));
                }
            }
        }
        return runs;
    }

    private static void report(int threads, Map<Role, List<Run>> runs) {
        IO.println("%-20s%-36s%-11s%-17s%s".formatted(threads == 1 ? "1 thread" : threads + " threads",
                "calls a second", "ns a call", "bytes allocated", "metrics a packet"));
        runs.forEach((role, all) -> {
            double rate = Figures.median(all.stream().mapToDouble(Run::rate));
            double perPacket = Figures.median(all.stream().mapToDouble(Run::perPacket));
            IO.println("  %-18s%-36s%-11.0f%-17.0f%s".formatted(role.words,
                    Figures.spread("%,.0f", all.stream().mapToDouble(Run::rate)), 1e9 * threads / rate,
                    Figures.median(all.stream().mapToDouble(Run::bytes)),
                    Double.isFinite(perPacket) ? "%.0f".formatted(perPacket) : "-"));
        });
        var ratios = IntStream.range(0, runs.get(Role.OURS).size()).mapToDouble(
                round -> runs.get(Role.OURS).get(round).rate / runs.get(Role.NAIVE).get(round).rate);
        IO.println("  ours : a write for each = %s, target %d\n".formatted(
                Figures.spread("%.1f", ratios), threads == 1 ? 15 : 8));
    }

    private static void drain(DatagramSocket agent) {
        var packet = new DatagramPacket(new byte[2048], 2048);
        try {
            while (true) {
                agent.receive(packet);
            }
        } catch (IOException e) {
            // Closed.
        }
    }

    // The JVMs that this one starts.

    /** Ends when its standard input ends, and that ends with this JVM, so no child is left. */
    private record Child(Role role, Process process) implements AutoCloseable {

        static Child start(Role role, int port) throws IOException {
            return new Child(role, Programs.startJava(List.of(),
                    StatsdClientBench.class.getName(), "--role", role.name(), "" + port));
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

        @Override
        public void close() {
            process.destroyForcibly();
        }
    }

    /** A client, and how many packets it has sent so far; 0 if the client does not tell. */
    private record Contestant(Runnable count, LongSupplier packets) {}

    private static void play(Role role, int port) throws Exception {
        var contestant = switch (role) {
            case OURS -> ours(port);
            case NAIVE -> naive(port);
            case DOGSTATSD -> dogstatsd(port);
        };
        var commands = new BufferedReader(new InputStreamReader(System.in));
        for (var command = commands.readLine(); command != null; command = commands.readLine()) {
            var words = command.split(" ");
            IO.println(run(contestant, Integer.parseInt(words[0]), Long.parseLong(words[1])));
        }
        System.exit(0);
    }

    private static Contestant ours(int port) throws IOException {
        var client = StatsdClient.connect(new InetSocketAddress(InetAddress.getLoopbackAddress(), port),
                StatsdClient.Options.defaults());
        return new Contestant(() -> client.count("page.views", 1), () -> client.stats().packets());
    }

    /** One connected write for each metric. */
    private static Contestant naive(int port) throws IOException {
        var channel = DatagramChannel.open();
        channel.connect(new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
        var packets = new LongAdder();
        return new Contestant(() -> {
            try {
                channel.write(ByteBuffer.wrap(("page.views" + ":" + 1 + "|c").getBytes(StandardCharsets.UTF_8)));
                packets.increment();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }, packets::sum);
    }

    /** Waits when its queue is full, and does not aggregate; otherwise it would drop or merge most of these calls. */
    private static Contestant dogstatsd(int port) {
        var client = new NonBlockingStatsDClientBuilder().hostname("127.0.0.1").port(port).maxPacketSizeBytes(1432)
                .blocking(true).enableAggregation(false).enableTelemetry(false).originDetectionEnabled(false).build();
        return new Contestant(() -> client.count("page.views", 1), () -> 0);
    }

    /** Calls, nanoseconds, bytes allocated, packets. */
    private static String run(Contestant contestant, int threads, long millis) throws Exception {
        long packets = contestant.packets().getAsLong();
        var allocated = new LongAdder();
        var calls = new LongAdder();
        var running = new ArrayList<Thread>();
        long start = System.nanoTime();
        for (int t = 0; t < threads; t++) {
            running.add(Thread.ofPlatform().start(() -> {
                var bean = (ThreadMXBean) ManagementFactory.getThreadMXBean();
                long before = bean.getCurrentThreadAllocatedBytes();
                long count = 0;
                for (long now = start; now - start < millis * 1_000_000; now = System.nanoTime()) {
                    for (int i = 0; i < 100; i++) {
                        contestant.count().run();
                    }
                    count += 100;
                }
                calls.add(count);
                allocated.add(bean.getCurrentThreadAllocatedBytes() - before);
            }));
        }
        for (var thread : running) {
            thread.join();
        }
        long nanos = System.nanoTime() - start;
        return calls.sum() + " " + nanos + " " + allocated.sum() + " " + (contestant.packets().getAsLong() - packets);
    }
}
