///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 402: a metrics client over UDP that never slows its program

import module java.base;

/**
 * Sends metrics to a StatsD agent, and neither slows nor fails the program
 * that it measures, whatever becomes of the agent.
 *
 * <p>The one idea: a UDP write hands one whole message to the kernel and
 * returns. It cannot tell whether anybody reads it, so this client does not
 * wait, does not throw, and counts what it knows to be lost.
 *
 * <p>Thread-safe. UDP: RFC 768; its use: RFC 8085; the lines that travel:
 * StatsD, docs/metric_types.md, with tags as DogStatsD has them.
 */
public final class StatsdClient implements AutoCloseable {

    private final DatagramChannel channel;
    private final InetSocketAddress localAddress;
    private final Options options;
    private final Thread flusher;
    private final Counters counters = new Counters();   // see exclusively()
    private boolean closed;                             // see exclusively()

    private StatsdClient(DatagramChannel connected, Options options)
            throws IOException {
        this.channel = Objects.requireNonNull(connected, "connected");
        this.options = Objects.requireNonNull(options, "options");
        localAddress = (InetSocketAddress) connected.getLocalAddress();
        flusher = Thread.ofVirtual().name("lab402-flush")
                .unstarted(this::flushLoop);
    }

    /**
     * Makes a client for an agent. Nothing is sent, and nobody need listen.
     *
     * @param agent where the metrics go; resolved once, here and now
     * @throws UnknownHostException when the agent's name has no address
     * @throws IOException when the system finds no way to the agent; nothing
     *         is left open
     */
    public static StatsdClient connect(
            InetSocketAddress agent, Options options) throws IOException {
        Objects.requireNonNull(agent, "agent");
        Objects.requireNonNull(options, "options");
        throw new UnsupportedOperationException(
                "TODO step 1: connect a non-blocking DatagramChannel to the agent, and start() on it");
    }

    /** Adds {@code delta} to a counter. */
    public void count(String name, long delta) {
        count(name, delta, 1);
    }

    /**
     * Adds {@code delta} to a counter, in a sample of all calls; the agent is
     * told the rate, and makes up for it.
     *
     * @param rate how many of the calls travel, above 0 and at most 1
     */
    public void count(String name, long delta, double rate) {
        submit(new Counter(name, delta, rate));
    }

    /** Sets a gauge, below zero, too. The value must be finite. */
    public void gauge(String name, double value) {
        submit(new Gauge(name, value));
    }

    /** Moves a gauge up or down. The delta must be finite. */
    public void gaugeDelta(String name, double delta) {
        submit(new GaugeDelta(name, delta));
    }

    /** Says how long something took, to the microsecond. */
    public void timing(String name, Duration time) {
        submit(new Timer(name, time));
    }

    /** Adds a value to a set, of which the agent counts the different ones. */
    public void unique(String name, String value) {
        submit(new Unique(name, value));
    }

    /** Runs the body and says how long it took, also where it throws. */
    public <T> T timed(String name, Callable<T> body) throws Exception {
        requireName("name", name);
        long start = options.timing().nanoTime();
        try {
            return body.call();
        } finally {
            timing(name, Duration.ofNanos(
                    Math.max(0, options.timing().nanoTime() - start)));
        }
    }

    /**
     * What the agent reads: {@code NAME:VALUE|TYPE}, then {@code |@RATE} and
     * {@code |#TAG,TAG} where there are any. One line, or the two of a negative
     * gauge with an LF between them, in UTF-8.
     */
    byte[] encode(Metric metric) {
        throw new UnsupportedOperationException(
                "TODO step 2: the line of each kind of metric, in bytes that no locale changes");
    }

    /** Whether chance wants this metric not to travel. */
    private boolean isSampledOut(Metric metric) {
        throw new UnsupportedOperationException(
                "TODO step 3: a counter with a rate below 1 travels if one draw of chance() is below it");
    }

    /**
     * Hands one packet to the kernel, and counts what became of it. The
     * network's troubles end here: no exception leaves this method.
     *
     * @param metrics how many metrics the packet holds
     */
    private void send(ByteBuffer packet, int metrics) {
        throw new UnsupportedOperationException(
                "TODO step 3: write() it; count packet, bytes and metrics, or what is dropped, and errors");
    }

    /**
     * Writes one packet; 0 bytes mean that the kernel did not take it. An
     * exception that only reports the fate of an older packet is counted.
     */
    private int write(ByteBuffer packet) throws IOException {
        // TODO step 4: count a PortUnreachableException as refused, and write the packet once more
        return channel.write(packet);
    }

    /**
     * Takes what {@link #encode} made of one metric, which is never split. It
     * waits in {@code counters.pending} until its packet is sent.
     */
    private void add(byte[] unit) {
        // TODO step 5: join it to what is pending by an LF; what does not fit waits for the next packet
        send(ByteBuffer.wrap(unit), 1);
    }

    /** Called by flush() and, at the end, by you. */
    private void flushPending() {
        // TODO step 5: send what is pending, if anything is, and begin anew
    }

    /**
     * The flusher's whole life; it is not started where flushInterval is zero.
     * The close of the client interrupts it.
     */
    private void flushLoop() {
        throw new UnsupportedOperationException(
                "TODO step 6: sleepUntil() the end of each interval, then flush(); end when interrupted");
    }

    /**
     * Runs an action that touches counters, pending lines or {@code closed}.
     * All such actions come through here, each whole.
     */
    private void exclusively(Runnable action) {
        // TODO step 7: one thread at a time, also after an action that threw
        action.run();
    }

    /** The end of every close(), exclusively; the flusher has ended before. */
    private void finish() {
        // TODO step 7: the first time, send what is pending, set closed, and closeChannel()
        closeChannel();
    }

    // ---- given from here on ----

    private static final Duration LAST_FLUSH = Duration.ofMillis(500);

    /** Sends on a channel that is connected already; the client owns it now. */
    static StatsdClient start(DatagramChannel connected, Options options)
            throws IOException {
        var client = new StatsdClient(connected, options);
        if (!options.flushInterval().isZero()) {
            client.flusher.start();
        }
        return client;
    }

    /** Where the packets come from; the port stays the same for ever. */
    public InetSocketAddress localAddress() {
        return localAddress;
    }

    private void submit(Metric metric) {
        exclusively(() -> {
            boolean sampledOut = !closed && isSampledOut(metric);
            counters.metrics++;
            if (closed) {
                counters.dropped++;
            } else if (sampledOut) {
                counters.sampledOut++;
            } else {
                add(encode(metric));
            }
        });
    }

    /** Hands what is pending to the kernel. Never blocks, never throws. */
    public void flush() {
        exclusively(this::flushPending);
    }

    /** What has become of all metrics so far. */
    public Stats stats() {
        var stats = new AtomicReference<Stats>();
        exclusively(() -> stats.set(counters.stats()));
        return stats.get();
    }

    /**
     * Sends what is pending, and ends the client. Metrics that come later are
     * counted as dropped. Any thread may call it, as often as it likes.
     */
    @Override
    public void close() {
        endFlusher();                // not exclusively: it may be flushing
        exclusively(this::finish);
    }

    private void endFlusher() {
        if (options.flushInterval().isZero()) {
            return;
        }
        boolean interrupted = Thread.interrupted();   // it closes even so
        flusher.interrupt();
        try {
            flusher.join(LAST_FLUSH);
        } catch (InterruptedException e) {
            interrupted = true;
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private void closeChannel() {
        try {
            channel.close();
        } catch (IOException e) {
            // The descriptor is gone all the same: close() is not repeated.
        }
    }

    /** One call of the API, its arguments checked. */
    sealed interface Metric {}

    record Counter(String name, long delta, double rate) implements Metric {
        Counter {
            requireName("name", name);
            if (!(rate > 0 && rate <= 1)) {
                throw new IllegalArgumentException(
                        "rate must be above 0 and at most 1, not " + rate);
            }
        }
    }

    record Gauge(String name, double value) implements Metric {
        Gauge {
            requireName("name", name);
            requireFinite("value", value);
        }
    }

    record GaugeDelta(String name, double delta) implements Metric {
        GaugeDelta {
            requireName("name", name);
            requireFinite("delta", delta);
        }
    }

    record Timer(String name, Duration time) implements Metric {
        Timer {
            requireName("name", name);
            requireNotNegative("time", time);
            if (time.compareTo(Duration.ofDays(36500)) > 0) {
                throw new IllegalArgumentException(
                        "time must be at most a century, not " + time);
            }
        }
    }

    record Unique(String name, String value) implements Metric {
        Unique {
            requireName("name", name);
            requireText("value", value, ":|");
        }
    }

    /**
     * How a client works.
     *
     * @param prefix         stands before every name, as in {@code "shop."};
     *                       may be empty
     * @param maxPacketBytes payload of a packet, 16 to 65507
     * @param flushInterval  longest wait of a metric; zero means until the
     *                       packet is full, flush() or close()
     * @param tags           go with every metric, as in {@code "env:prod"}
     * @param chance         a number in [0,1) for each metric that is sampled
     * @param timing         the clock of the flusher, and of timed()
     */
    public record Options(String prefix, int maxPacketBytes,
            Duration flushInterval, List<String> tags, DoubleSupplier chance,
            Timing timing) {

        public Options {
            if (!Objects.requireNonNull(prefix, "prefix").isEmpty()) {
                requireName("prefix", prefix);
            }
            if (maxPacketBytes < 16 || maxPacketBytes > 65_507) {
                throw new IllegalArgumentException(
                        "maxPacketBytes must be 16 to 65507, not "
                                + maxPacketBytes);
            }
            requireNotNegative("flushInterval", flushInterval);
            tags = List.copyOf(Objects.requireNonNull(tags, "tags"));
            tags.forEach(tag -> requireText("tags", tag, "|#,"));
            Objects.requireNonNull(chance, "chance");
            Objects.requireNonNull(timing, "timing");
        }

        /** 1,432 bytes, which fit an Ethernet frame; a flush each second. */
        public static Options defaults() {
            return new Options("", 1432, Duration.ofSeconds(1), List.of(),
                    Math::random, Timing.system());
        }

        /** The same with another prefix. */
        public Options withPrefix(String prefix) {
            return new Options(prefix, maxPacketBytes, flushInterval, tags,
                    chance, timing);
        }

        /** The same with packets of another size. */
        public Options withMaxPacketBytes(int maxPacketBytes) {
            return new Options(prefix, maxPacketBytes, flushInterval, tags,
                    chance, timing);
        }

        /** The same with another interval. */
        public Options withFlushInterval(Duration flushInterval) {
            return new Options(prefix, maxPacketBytes, flushInterval, tags,
                    chance, timing);
        }

        /** The same with other tags. */
        public Options withTags(List<String> tags) {
            return new Options(prefix, maxPacketBytes, flushInterval, tags,
                    chance, timing);
        }

        /** The same with another chance. */
        public Options withChance(DoubleSupplier chance) {
            return new Options(prefix, maxPacketBytes, flushInterval, tags,
                    chance, timing);
        }

        /** The same with another clock. */
        public Options withTiming(Timing timing) {
            return new Options(prefix, maxPacketBytes, flushInterval, tags,
                    chance, timing);
        }
    }

    /** A clock, and the sleep that goes with it. */
    public interface Timing {

        /** As {@link System#nanoTime}: only differences mean anything. */
        long nanoTime();

        /** Returns when the clock has come so far; at once, if it has. */
        void sleepUntil(long nanoTime) throws InterruptedException;

        /** The real one. */
        static Timing system() {
            return new Timing() {
                @Override
                public long nanoTime() {
                    return System.nanoTime();
                }

                @Override
                public void sleepUntil(long nanoTime)
                        throws InterruptedException {
                    TimeUnit.NANOSECONDS.sleep(nanoTime - System.nanoTime());
                }
            };
        }
    }

    /**
     * {@code metrics == metricsInPackets + sampledOut + dropped + pending},
     * exactly, while no other thread uses the client. {@code int}: now;
     * {@code long}: since the start.
     *
     * @param metrics          calls that were given a metric
     * @param metricsInPackets metrics that the kernel took; nobody knows more
     * @param sampledOut       metrics that chance did not let travel
     * @param dropped          metrics known to be lost: too long, too late, or
     *                         in a packet that the kernel did not take
     * @param pending          metrics that wait for their packet
     * @param packets          packets that the kernel took
     * @param bytes            payload of those packets
     * @param refused          packets that were written twice, because the
     *                         first write reported an older one as refused
     * @param errors           packets given up because of an exception
     */
    public record Stats(long metrics, long metricsInPackets, long sampledOut,
            long dropped, int pending, long packets, long bytes, long refused,
            long errors) {}

    /** Each field counts what the field of {@link Stats} says. */
    private static final class Counters {
        private long metrics;
        private long metricsInPackets;
        private long sampledOut;
        private long dropped;
        private int pending;
        private long packets;
        private long bytes;
        private long refused;
        private long errors;

        Stats stats() {
            return new Stats(metrics, metricsInPackets, sampledOut, dropped,
                    pending, packets, bytes, refused, errors);
        }
    }

    private static void requireName(String what, String name) {
        requireText(what, name, ":|@#");
    }

    /** Not empty, no control character, and none of those forbidden. */
    private static void requireText(
            String what, String text, String forbidden) {
        Objects.requireNonNull(text, what);
        if (text.isEmpty() || text.chars().anyMatch(c ->
                Character.isISOControl(c) || forbidden.indexOf(c) >= 0)) {
            throw new IllegalArgumentException(
                    "%s must not be empty, nor hold %s or control characters: "
                            .formatted(what, forbidden) + '"' + text + '"');
        }
    }

    private static void requireFinite(String what, double value) {
        if (!Double.isFinite(value)) {
            throw new IllegalArgumentException(
                    what + " must be finite, not " + value);
        }
    }

    private static void requireNotNegative(String what, Duration value) {
        if (Objects.requireNonNull(value, what).isNegative()) {
            throw new IllegalArgumentException(
                    what + " must not be negative, not " + value);
        }
    }

    /** Three centuries at most, for want of bits. */
    private static long nanos(Duration duration) {
        var most = Duration.ofNanos(Long.MAX_VALUE);
        return duration.compareTo(most) < 0
                ? duration.toNanos() : Long.MAX_VALUE;
    }

    // The demo: a scene for each step, in their order.

    private static final List<String> STEPS = List.of(
            "Connect without a packet", "Encode one metric",
            "Send one datagram", "Survive a refusal", "Pack metrics together",
            "Flush on time", "Stay whole under threads");
    private static final Options BY_HAND =
            Options.defaults().withFlushInterval(Duration.ZERO);
    private static volatile int scene;

    /** No argument: the demo; {@code send HOST:PORT}: one of each metric. */
    public static void main(String[] args) throws Exception {
        Thread.setDefaultUncaughtExceptionHandler((t, e) -> died(e));
        switch (String.join(" ", args)) {
            case "" -> demo();
            case String verb when verb.matches("send \\S+:\\d{1,5}") ->
                sendTo(verb.substring("send ".length()));
            default -> usage("""
                    lab-402                 the demo, step by step
                    lab-402 send HOST:PORT  one of each metric, in one packet
                    lab-402 help            this text""", args);
        }
    }

    private static void sendTo(String where) {
        int colon = where.lastIndexOf(':');
        scene = STEPS.size();
        try (var client = connect(new InetSocketAddress(
                where.substring(0, colon),
                Integer.parseInt(where.substring(colon + 1))),
                BY_HAND.withChance(() -> 0))) {   // every metric travels
            client.count("page.views", 3);
            client.count("cache.hits", 1, 0.5);
            client.gauge("basket", 12.5);
            client.gauge("celsius", -7);
            client.gaugeDelta("celsius", 2);
            client.timing("checkout", Duration.ofNanos(1_500_000));
            client.unique("visitors", "Zoë");
            client.flush();
            var stats = client.stats();
            IO.println("%d metrics in %d packet of %d bytes".formatted(
                    stats.metrics(), stats.packets(), stats.bytes()));
        } catch (IOException | IllegalArgumentException e) {
            IO.println("cannot send to " + where + ": " + e);
            System.exit(1);
        }
    }

    private static void demo() throws Exception {
        IO.println("lab 402  UDP client");
        connecting();
        encoding();
        oneDatagram();
        refusal();
        packing();
        onTime();
        threads();
        IO.println("\nall seven steps at work");
    }

    private static void connecting() throws Exception {
        scene = 1;
        try (var agent = new Agent(0); var client = demoClient(agent)) {
            var address = client.localAddress();
            IO.println();
            show("connect", "from 127.0.0.1:" + address.getPort()
                    + ", packets sent: " + agent.packets.size(), true);
        }
    }

    private static void encoding() throws Exception {
        scene = 2;
        var options = BY_HAND.withTags(List.of("env:demo"));
        try (var agent = new Agent(0);
             var client = connect(agent.address(), options)) {
            var line = new String(client.encode(
                    new Counter("page.views", 1, 0.5)), StandardCharsets.UTF_8);
            show("a page view, sampled", line,
                    line.equals("page.views:1|c|@0.5|#env:demo"));
        }
    }

    private static void oneDatagram() throws Exception {
        scene = 3;
        try (var agent = new Agent(0); var client = demoClient(agent)) {
            client.gauge("basket", 12.5);
            client.flush();
            var told = agent.await(1).toString();
            show("a gauge", "the agent got " + told,
                    told.equals("[basket:12.5|g]"));
        }
    }

    private static void refusal() throws Exception {
        scene = 4;
        var first = new Agent(0);
        try (var client = demoClient(first)) {
            first.close();
            views(client, 5, true);
            try (var second = new Agent(first.address().getPort())) {
                views(client, 5, true);
                int arrived = second.await(5).size();
                var stats = client.stats();
                boolean noReports = stats.refused() + stats.errors() == 0;
                show("agent away, agent back", "survived; 5 sent then, "
                        + arrived + " arrived", arrived == 5
                        && (stats.refused() > 0 || noReports));
            }
        }
    }

    private static void packing() throws Exception {
        scene = 5;
        try (var agent = new Agent(0); var client = demoClient(agent)) {
            views(client, 10, false);
            client.flush();
            agent.await(1);
            var ten = client.stats();
            for (int i = 0; i < 10; i++) {   // the agent's buffer is small
                views(client, 1000, false);
                agent.await((int) client.stats().packets());
            }
            client.flush();
            show("10 page views, then 10,000", "%d packet of %d bytes, then %d"
                    .formatted(ten.packets(), ten.bytes(),
                            client.stats().packets() - 1), ten.packets() == 1);
        }
    }

    private static void onTime() throws Exception {
        scene = 6;
        var options = BY_HAND.withFlushInterval(Duration.ofMillis(50));
        try (var agent = new Agent(0);
             var client = connect(agent.address(), options)) {
            long start = System.nanoTime();
            views(client, 1, false);
            boolean good = !agent.await(1).isEmpty();
            show("a page view, no flush()", (good ? "there after "
                    : "not there after ") + (System.nanoTime() - start)
                    / 1_000_000 + " ms, flushInterval 50 ms", good);
        }
    }

    private static void threads() throws Exception {
        scene = 7;
        try (var agent = new Agent(0)) {
            var client = demoClient(agent);
            var threads = new ArrayList<Thread>();
            for (int i = 0; i < 4; i++) {
                threads.add(Thread.startVirtualThread(
                        () -> views(client, 1000, false)));
            }
            for (var thread : threads) {
                thread.join();
            }
            client.close();
            var lines = agent.await((int) client.stats().packets()).stream()
                    .flatMap(String::lines).toList();
            int whole = Collections.frequency(lines, "page.views:1|c");
            show("4 threads, 1000 views each", lines.size() + " lines, "
                    + whole + " of them whole", whole == 4000);
        }
    }

    private static StatsdClient demoClient(Agent agent) throws IOException {
        return connect(agent.address(), BY_HAND);
    }

    private static void views(StatsdClient client, int count, boolean flush) {
        try {
            for (int i = 0; i < count; i++) {
                client.count("page.views", 1);
                if (flush) {
                    client.flush();
                }
            }
        } catch (UnsupportedOperationException todo) {
            throw todo;
        } catch (RuntimeException e) {
            // Threads that meet without step 7: the lines will show it.
        }
    }

    /** Keeps what it is sent. */
    private static final class Agent implements AutoCloseable {
        private final DatagramSocket socket;
        private final InetSocketAddress address;
        private final List<String> packets = new CopyOnWriteArrayList<>();
        private final Thread listener;

        Agent(int port) throws IOException {
            var loopback = InetAddress.getLoopbackAddress();
            socket = new DatagramSocket(port, loopback);
            address = (InetSocketAddress) socket.getLocalSocketAddress();
            listener = Thread.startVirtualThread(this::listen);
        }

        private void listen() {
            try {
                while (true) {
                    var packet = new DatagramPacket(new byte[1500], 1500);
                    socket.receive(packet);
                    packets.add(new String(packet.getData(), 0,
                            packet.getLength(), StandardCharsets.UTF_8));
                }
            } catch (IOException e) {
                // Closed.
            }
        }

        InetSocketAddress address() {
            return address;
        }

        /** What has come, after at most 1.5 s for so many packets. */
        List<String> await(int count) throws InterruptedException {
            for (int i = 0; i < 300 && packets.size() < count; i++) {
                Thread.sleep(5);
            }
            return packets;
        }

        /** The port is free when the listener is out of receive(). */
        @Override
        public void close() {
            socket.close();
            try {
                listener.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private static void show(String what, String seen, boolean good) {
        IO.println("  %d  %-27s %s%s".formatted(scene, what, seen,
                good ? "" : "   <- step " + scene));
        if (!good) {
            next(scene, "search StatsdClient.java for TODO step " + scene);
        }
    }

    /** On any thread. The TODO of a step whose scene is to come can wait. */
    private static void died(Throwable failure) {
        var todo = Pattern.compile("TODO step (\\d+): .*")
                .matcher(String.valueOf(failure.getMessage()));
        if (!todo.matches()) {
            failure.printStackTrace();
        } else if (Integer.parseInt(todo.group(1)) <= scene) {
            var place = failure.getStackTrace()[0];
            next(Integer.parseInt(todo.group(1)), "%s\n  %s, line %d".formatted(
                    todo.group(), place.getFileName(), place.getLineNumber()));
        }
    }

    private static synchronized void next(int step, String where) {
        IO.println("""

                next: step %d, %s
                  %s
                  %s""".formatted(
                step, STEPS.get(step - 1), where, commands(step)));
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    /** What to type next; the workbook's launcher says how. */
    private static String commands(int step) {
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/StatsdClient.java";
        return (isHere ? "" : "in a clone of the workbook:\n  ")
                + "check  %s test-402 %s".formatted(jbang, file).strip()
                + "\n  hint   %s hint 402 %d".formatted(jbang, step);
    }

    /** What was typed is wrong, unless it was help. */
    private static void usage(String text, String... typed) {
        var words = String.join(" ", typed);
        if (words.matches("-h|(--)?help")) {
            IO.println(text);
            return;
        }
        System.err.println("not understood: " + words + "\n" + text);
        System.exit(2);
    }
}
