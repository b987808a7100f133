///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 402: a metrics client over UDP that does not slow its program

import module java.base;

/**
 * Sends metrics to a StatsD agent. A failing or missing agent neither slows
 * nor fails the program that is measured.
 *
 * <p>A UDP write hands one whole message to the kernel and returns; it cannot
 * tell whether the message arrives. So this client does not wait for the
 * network, throws nothing because of it, and counts the metrics that it knows
 * to be lost.
 *
 * <p>Thread-safe. UDP: RFC 768; how to use it: RFC 8085; the lines: StatsD,
 * docs/metric_types.md, with the tags of DogStatsD.
 */
public final class StatsdClient implements AutoCloseable {

    private DatagramChannel channel;                    // see exclusively()
    private volatile InetSocketAddress localAddress;
    private final Options options;
    private final Thread flusher;
    private Thread follower;             // null if nothing is looked up again
    private final Counters counters = new Counters();   // see exclusively()
    private boolean closed;                             // see exclusively()
    // tag::step5[]
    private final ByteBuffer pending;   // whole lines; see exclusively()
    // end::step5[]
    // tag::step7[]
    private final ReentrantLock lock = new ReentrantLock();
    // end::step7[]

    private StatsdClient(DatagramChannel connected, Options options)
            throws IOException {
        this.channel = Objects.requireNonNull(connected, "connected");
        this.options = Objects.requireNonNull(options, "options");
        localAddress = (InetSocketAddress) connected.getLocalAddress();
        flusher = Thread.ofVirtual().name("lab402-flush")
                .unstarted(this::flushLoop);
        // tag::step5[]
        pending = ByteBuffer.allocateDirect(options.maxPacketBytes());
        // end::step5[]
    }

    /**
     * Opens the channel of a client, connected to the agent and non-blocking.
     * Sends nothing.
     *
     * @throws UnknownHostException if the agent's name has no address
     * @throws IOException if the channel cannot be connected; it is closed
     */
    // tag::open[]
    static DatagramChannel open(InetSocketAddress agent) throws IOException {
        // tag::step1[] refuse an agent that isUnresolved(); open a DatagramChannel, make it non-blocking, connect it; close it if that fails
        if (agent.isUnresolved()) {
            throw new UnknownHostException(agent.getHostString());
        }
        var channel = DatagramChannel.open();
        try {
            channel.configureBlocking(false);
            return channel.connect(agent);
        } catch (IOException e) {
            channel.close();
            throw e;
        } catch (UnsupportedAddressTypeException e) {   // it is unchecked
            channel.close();
            throw new SocketException("this JVM has no IPv6: " + agent);
        }
        // end::step1[]
    }
    // end::open[]

    /** Adds {@code delta} to a counter. */
    public void count(String name, long delta) {
        count(name, delta, 1);
    }

    /**
     * Adds {@code delta} to a counter, but sends only a random sample of the
     * calls. The agent reads the rate and divides by it.
     *
     * @param rate share of the calls that are sent, above 0 and at most 1
     */
    public void count(String name, long delta, double rate) {
        submit(new Counter(name, delta, rate));
    }

    /** Sets a gauge. The value must be finite and may be negative. */
    public void gauge(String name, double value) {
        submit(new Gauge(name, value));
    }

    /** Changes a gauge by {@code delta}, which must be finite. */
    public void gaugeDelta(String name, double delta) {
        submit(new GaugeDelta(name, delta));
    }

    /** Records a duration, rounded to microseconds. */
    public void timing(String name, Duration time) {
        submit(new Timer(name, time));
    }

    /** Adds a value to a set; the agent counts the distinct values. */
    public void unique(String name, String value) {
        submit(new Unique(name, value));
    }

    /** Runs the body and records how long it took, even if it throws. */
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
     * One metric in UTF-8: {@code NAME:VALUE|TYPE}, then {@code |@RATE} if it
     * is sampled, then {@code |#TAG,TAG} if the options have tags. One line
     * without an LF; a negative gauge has two, with an LF between them.
     */
    // tag::encode[]
    byte[] encode(Metric metric) {
        // tag::step2[] make the line of each kind of metric: prefix, name, value, type, rate, tags, in UTF-8 and in no locale
        var text = switch (metric) {
            case Counter(var name, var delta, var rate) -> line(name,
                    "" + delta, rate < 1 ? "c|@" + plain(rate) : "c");
            case Gauge(var name, var value) when value < 0 ->   // not a delta
                    line(name, "0", "g") + "\n"
                            + line(name, plain(value), "g");
            case Gauge(var name, var value) ->
                    line(name, plain(value), "g");
            case GaugeDelta(var name, var delta) ->
                    line(name, (delta < 0 ? "" : "+") + plain(delta), "g");
            case Timer(var name, var time) ->
                    line(name, millis(time), "ms");
            case Unique(var name, var value) ->
                    line(name, value, "s");
        };
        return text.getBytes(StandardCharsets.UTF_8);
        // end::step2[]
    }
    // end::encode[]

    // tag::step2[]
    // tag::line[]
    private String line(String name, String value, String type) {
        var tags = options.tags().isEmpty()
                ? "" : "|#" + String.join(",", options.tags());
        return options.prefix() + name + ":" + value + "|" + type + tags;
    }

    /** Has no exponent and does not depend on the locale. */
    private static String plain(double value) {
        return plain(BigDecimal.valueOf(value));
    }

    private static String millis(Duration time) {
        return plain(BigDecimal.valueOf(time.toNanos(), 6)
                .setScale(3, RoundingMode.HALF_UP));
    }

    private static String plain(BigDecimal value) {
        return value.stripTrailingZeros().toPlainString();
    }
    // end::line[]
    // end::step2[]

    /** Whether this metric belongs to the calls that are not sent. */
    // tag::isSampledOut[]
    private boolean isSampledOut(Metric metric) {
        // tag::step3[] for a counter with a rate below 1, draw once from chance(): it is sent if the draw is below the rate
        return metric instanceof Counter(_, _, var rate) && rate < 1
                && options.chance().getAsDouble() >= rate;
        // end::step3[]
    }
    // end::isSampledOut[]

    /**
     * Hands one packet to the kernel and counts the outcome. Throws nothing if
     * the kernel or the network fails.
     *
     * @param metrics how many metrics the packet holds
     */
    // tag::send[]
    void send(ByteBuffer packet, int metrics) {
        // tag::step3[] write(packet); count packets, bytes and metricsInPackets, or add metrics to dropped, and count errors
        try {
            int written = write(packet);
            if (written > 0) {
                counters.packets++;
                counters.bytes += written;
                counters.metricsInPackets += metrics;
            } else {
                counters.dropped += metrics;   // the kernel has no room
            }
        } catch (IOException e) {
            counters.dropped += metrics;
            counters.errors++;
        }
        // end::step3[]
    }
    // end::send[]

    /**
     * Writes one packet and returns its length, or 0 if the kernel had no
     * room. An exception that reports an older packet is only counted.
     */
    // tag::write[]
    private int write(ByteBuffer packet) throws IOException {
        // tag::step4[] count a PortUnreachableException in refused, and write the same packet once more // until then: return channel.write(packet);
        try {
            return channel.write(packet);
        } catch (PortUnreachableException older) {
            counters.refused++;
            return channel.write(packet);   // this one was not sent
        }
        // end::step4[]
    }
    // end::write[]

    /**
     * Adds one metric, as {@link #encode} made it, to the pending packet. Its
     * lines are not split, and {@code counters.pending} counts it.
     */
    // tag::add[]
    private void add(byte[] unit) {
        // tag::step5[] drop a unit that fits no packet; if it does not fit now, flushPending(); join units by LF; count pending // until then: send(ByteBuffer.wrap(unit), 1);
        if (unit.length > options.maxPacketBytes()) {
            counters.dropped++;
            return;
        }
        if (counters.pending > 0 && pending.remaining() < 1 + unit.length) {
            flushPending();
        }
        if (counters.pending > 0) {
            pending.put((byte) '\n');
        }
        pending.put(unit);
        counters.pending++;
        // end::step5[]
    }
    // end::add[]

    /** Sends the pending packet, if there is one. */
    // tag::flushPending[]
    private void flushPending() {
        // tag::step5[] if anything is pending, send it with its number of metrics; then nothing is pending // until then:
        if (counters.pending > 0) {
            int metrics = counters.pending;
            counters.pending = 0;
            send(pending.flip(), metrics);
            pending.clear();
        }
        // end::step5[]
    }
    // end::flushPending[]

    /**
     * Runs on the flusher's virtual thread, which is not started if
     * flushInterval is zero. close() interrupts it.
     */
    // tag::flushLoop[]
    private void flushLoop() {
        // tag::step6[] sleepUntil() the end of each interval, then flush(); skip intervals that were missed; end when interrupted
        var timing = options.timing();
        long interval = nanos(options.flushInterval());
        long next = timing.nanoTime() + interval;
        try {
            while (true) {
                timing.sleepUntil(next);
                flush();
                long late = timing.nanoTime() - next;
                next += interval + Math.max(0, late - late % interval);
            }
        } catch (InterruptedException e) {
            // close() flushes what is pending.
        }
        // end::step6[]
    }
    // end::flushLoop[]

    /**
     * Runs an action that uses the channel, the counters, the pending packet
     * or {@code closed}. All such actions are run by this method.
     */
    // tag::exclusively[]
    private void exclusively(Runnable action) {
        // tag::step7[] run it while no other thread runs one, also after an action that threw // until then: action.run();
        lock.lock();
        try {
            action.run();
        } finally {
            lock.unlock();
        }
        // end::step7[]
    }
    // end::exclusively[]

    /** Called exclusively by every close(), after the flusher has ended. */
    // tag::finish[]
    private void finish() {
        // tag::step7[] the first time only: send what is pending, set closed, close(channel) // until then: close(channel);
        if (!closed) {
            closed = true;
            flushPending();
            close(channel);
        }
        // end::step7[]
    }
    // end::finish[]

    // ---- given from here on ----

    private static final Duration LAST_FLUSH = Duration.ofMillis(500);

    /**
     * Makes a client for an agent. Sends nothing; no agent need listen yet. If
     * the agent is given by name, {@code options.lookup()} is asked for the
     * name again each {@code lookupInterval}, and the client follows.
     *
     * @throws UnknownHostException if the agent's name has no address
     * @throws IOException if the system knows no way to the agent; nothing is
     *         left open
     */
    public static StatsdClient connect(
            InetSocketAddress agent, Options options) throws IOException {
        Objects.requireNonNull(agent, "agent");
        Objects.requireNonNull(options, "options");
        var client = start(open(agent), options);
        boolean isName = !agent.getHostString().equals(
                agent.getAddress().getHostAddress());
        if (isName && !options.lookupInterval().isZero()) {
            client.follower = Thread.ofVirtual().name("lab402-lookup")
                    .start(() -> client.follow(agent));
        }
        return client;
    }

    /** Sends on a connected channel, which belongs to the client now. */
    static StatsdClient start(DatagramChannel connected, Options options)
            throws IOException {
        try {
            var client = new StatsdClient(connected, options);
            if (!options.flushInterval().isZero()) {
                client.flusher.start();
            }
            return client;
        } catch (IOException e) {
            connected.close();
            throw e;
        }
    }

    /** Looks the agent up again and again, until it is interrupted. */
    private void follow(InetSocketAddress agent) {
        var timing = options.timing();
        var current = agent;
        try {
            while (true) {
                timing.sleepUntil(timing.nanoTime()
                        + nanos(options.lookupInterval()));
                current = lookUp(current, agent.getHostString());
            }
        } catch (InterruptedException e) {
            // The client is closed.
        }
    }

    /** Where the agent is now; the same address while it is still listed. */
    private InetSocketAddress lookUp(InetSocketAddress current, String host) {
        try {
            var addresses = options.lookup().addresses(host);
            if (addresses.contains(current.getAddress())) {
                return current;
            }
            var next = new InetSocketAddress(
                    addresses.getFirst(), current.getPort());
            moveTo(open(next));
            return next;
        } catch (IOException | NoSuchElementException e) {
            return current;   // a lookup that fails proves nothing
        }
    }

    private void moveTo(DatagramChannel next) throws IOException {
        var address = (InetSocketAddress) next.getLocalAddress();
        exclusively(() -> {
            close(closed ? next : channel);
            if (!closed) {
                channel = next;
                localAddress = address;
                counters.moved++;
            }
        });
    }

    /** Where the packets come from; changes only when the agent has moved. */
    public InetSocketAddress localAddress() {
        return localAddress;
    }

    // tag::submit[]
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
    // end::submit[]

    /** Hands the pending packet to the kernel; does not wait for room there. */
    public void flush() {
        exclusively(this::flushPending);
    }

    /** The outcome of all metrics so far. */
    public Stats stats() {
        var stats = new AtomicReference<Stats>();
        exclusively(() -> stats.set(counters.stats()));
        return stats.get();
    }

    /**
     * Sends what is pending and closes the client. Later metrics are counted
     * as dropped. Any thread may call it; only the first call has an effect.
     */
    @Override
    public void close() {
        if (follower != null) {
            follower.interrupt();
        }
        endFlusher();                // not exclusively: it may be flushing
        exclusively(this::finish);
    }

    private void endFlusher() {
        if (options.flushInterval().isZero()) {
            return;
        }
        boolean interrupted = Thread.interrupted();   // set again below
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

    private static void close(DatagramChannel channel) {
        try {
            channel.close();
        } catch (IOException e) {
            // Linux has released the descriptor, see close(2).
        }
    }

    /** One call of the API with valid arguments. */
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
     * @param maxPacketBytes most bytes of payload in a packet, 16 to 65507
     * @param flushInterval  longest wait of a pending metric; zero: it waits
     *                       until the packet is full, flush() or close()
     * @param lookupInterval time between two lookups of an agent that was
     *                       given by name; zero: one lookup, before connect()
     * @param tags           added to every metric, as in {@code "env:prod"}
     * @param chance         draws a number in [0,1) for each sampled metric
     * @param lookup         finds the addresses of the agent's name
     * @param timing         the clock of flusher, lookups and timed()
     */
    public record Options(String prefix, int maxPacketBytes,
            Duration flushInterval, Duration lookupInterval,
            List<String> tags, DoubleSupplier chance, Lookup lookup,
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
            requireNotNegative("lookupInterval", lookupInterval);
            tags = List.copyOf(Objects.requireNonNull(tags, "tags"));
            tags.forEach(tag -> requireText("tags", tag, "|#,"));
            Objects.requireNonNull(chance, "chance");
            Objects.requireNonNull(lookup, "lookup");
            Objects.requireNonNull(timing, "timing");
        }

        /** 1,432 bytes, a flush each second, a lookup each 30 seconds. */
        public static Options defaults() {
            return new Options("", 1432, Duration.ofSeconds(1),
                    Duration.ofSeconds(30), List.of(), Math::random,
                    host -> List.of(InetAddress.getAllByName(host)),
                    Timing.system());
        }

        /** The same with another prefix. */
        public Options withPrefix(String prefix) {
            return new Options(prefix, maxPacketBytes, flushInterval,
                    lookupInterval, tags, chance, lookup, timing);
        }

        /** The same with packets of another size. */
        public Options withMaxPacketBytes(int maxPacketBytes) {
            return new Options(prefix, maxPacketBytes, flushInterval,
                    lookupInterval, tags, chance, lookup, timing);
        }

        /** The same with another interval. */
        public Options withFlushInterval(Duration flushInterval) {
            return new Options(prefix, maxPacketBytes, flushInterval,
                    lookupInterval, tags, chance, lookup, timing);
        }

        /** The same with another time between lookups. */
        public Options withLookupInterval(Duration lookupInterval) {
            return new Options(prefix, maxPacketBytes, flushInterval,
                    lookupInterval, tags, chance, lookup, timing);
        }

        /** The same with other tags. */
        public Options withTags(List<String> tags) {
            return new Options(prefix, maxPacketBytes, flushInterval,
                    lookupInterval, tags, chance, lookup, timing);
        }

        /** The same with another chance. */
        public Options withChance(DoubleSupplier chance) {
            return new Options(prefix, maxPacketBytes, flushInterval,
                    lookupInterval, tags, chance, lookup, timing);
        }

        /** The same with another way to look names up. */
        public Options withLookup(Lookup lookup) {
            return new Options(prefix, maxPacketBytes, flushInterval,
                    lookupInterval, tags, chance, lookup, timing);
        }

        /** The same with another clock. */
        public Options withTiming(Timing timing) {
            return new Options(prefix, maxPacketBytes, flushInterval,
                    lookupInterval, tags, chance, lookup, timing);
        }
    }

    /** Looks up a name; may block, since no metric waits for it. */
    @FunctionalInterface
    public interface Lookup {

        /** All addresses of the host, the preferred one first. */
        List<InetAddress> addresses(String host) throws UnknownHostException;
    }

    /** A clock, and the sleep that goes with it. */
    public interface Timing {

        /** Like {@link System#nanoTime}: only differences have a meaning. */
        long nanoTime();

        /** Returns when the clock has reached this time. */
        void sleepUntil(long nanoTime) throws InterruptedException;

        /** The clock of the JVM. */
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
     * {@code metrics == metricsInPackets + sampledOut + dropped + pending}
     * whenever stats() returns. {@code int}: now; {@code long}: since the
     * start.
     *
     * @param metrics          metrics that the program has passed in
     * @param metricsInPackets metrics in packets that the kernel took, which
     *                         does not tell that they arrived
     * @param sampledOut       metrics that were not sent because of their rate
     * @param dropped          metrics known to be lost: too long, after close,
     *                         or in a packet that the kernel did not take
     * @param pending          metrics that wait for their packet
     * @param packets          packets that the kernel took
     * @param bytes            payload of those packets
     * @param refused          packets whose first write reported that an older
     *                         packet was refused
     * @param errors           packets dropped because of an exception
     * @param moved            lookups that found the agent at a new address
     */
    public record Stats(long metrics, long metricsInPackets, long sampledOut,
            long dropped, int pending, long packets, long bytes, long refused,
            long errors, long moved) {}

    /** The fields are those of {@link Stats}. */
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
        private long moved;

        Stats stats() {
            return new Stats(metrics, metricsInPackets, sampledOut, dropped,
                    pending, packets, bytes, refused, errors, moved);
        }
    }

    private static void requireName(String what, String name) {
        requireText(what, name, ":|@#");
    }

    /** The text is not empty and has no control or forbidden character. */
    private static void requireText(
            String what, String text, String forbidden) {
        Objects.requireNonNull(text, what);
        if (text.isEmpty() || text.chars().anyMatch(c ->
                Character.isISOControl(c) || forbidden.indexOf(c) >= 0)) {
            throw new IllegalArgumentException(
                    "%s must not be empty or contain %s or control characters: "
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

    /** Capped at Long.MAX_VALUE nanoseconds, which is 292 years. */
    private static long nanos(Duration duration) {
        var most = Duration.ofNanos(Long.MAX_VALUE);
        return duration.compareTo(most) < 0
                ? duration.toNanos() : Long.MAX_VALUE;
    }

    // The demo: one scene for each step.

    private static final List<String> STEPS = List.of(
            "Connect without sending a packet", "Encode one metric",
            "Send one datagram", "Survive a refused packet",
            "Batch metrics into packets", "Flush on time",
            "Be safe for many threads");
    private static final Options BY_HAND =
            Options.defaults().withFlushInterval(Duration.ZERO);
    private static volatile int scene = 1;

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
                BY_HAND.withChance(() -> 0))) {   // every metric is sent
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
        try (var agent = new Agent(0); var client = client(agent, BY_HAND)) {
            show("connect", ".*: 0", "from 127.0.0.1:" + client.localAddress()
                    .getPort() + ", packets sent: " + agent.packets.size());

            show("a page view, sampled", "page.views:1\\|c\\|@0.5", new String(
                    client.encode(new Counter("page.views", 1, 0.5)),
                    StandardCharsets.UTF_8));

            client.gauge("basket", 12.5);
            client.flush();
            show("a gauge", ".* basket:12.5\\|g", "the agent got "
                    + String.join(" ", agent.await(1)));
        }

        var first = new Agent(0);
        try (var client = client(first, BY_HAND)) {
            first.close();
            views(client, 5, true);
            try (var second = new Agent(first.address.getPort())) {
                views(client, 5, true);
                show("agent away, agent back", ".*, 5 arrived",
                        "5 sent after its return, " + second.await(5).size()
                                + " arrived");
            }
        }

        try (var agent = new Agent(0); var client = client(agent, BY_HAND)) {
            views(client, 10, false);
            client.flush();
            var ten = client.stats();
            for (int i = 0; i < 10; i++) {   // the agent's buffer is small
                views(client, 1000, false);
                agent.await(client.stats().packets());
            }
            client.flush();
            show("10 page views, then 10,000", "1 packet .*",
                    "%d packet of %d bytes, then %d packets".formatted(
                            ten.packets(), ten.bytes(),
                            client.stats().packets() - ten.packets()));
        }

        try (var agent = new Agent(0); var client = client(agent,
                BY_HAND.withFlushInterval(Duration.ofMillis(50)))) {
            views(client, 1, false);
            show("a page view, no flush()", ".*: 1", "flushInterval 50 ms, "
                    + "packets that arrived: " + agent.await(1).size());
        }

        try (var agent = new Agent(0)) {
            var client = client(agent, BY_HAND);
            var threads = Stream.generate(() -> Thread.startVirtualThread(
                    () -> views(client, 1000, false))).limit(4).toList();
            for (var thread : threads) {
                thread.join();
            }
            client.close();
            int whole = Collections.frequency(
                    agent.await(client.stats().packets()).stream()
                            .flatMap(String::lines).toList(), "page.views:1|c");
            show("4 threads, 1000 views each", "4000 .*",
                    whole + " whole lines arrived");
        }
        IO.println("\nall seven steps work");
    }

    private static StatsdClient client(Agent agent, Options options)
            throws IOException {
        return connect(agent.address, options);
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
            // Without step 7 threads may collide; the scene counts the lines.
        }
    }

    /** Keeps the packets that it receives. */
    private static final class Agent implements AutoCloseable {
        private final DatagramSocket socket;
        private final InetSocketAddress address;
        private final List<String> packets = new CopyOnWriteArrayList<>();
        private final Thread listener;

        Agent(int port) throws IOException {
            socket = new DatagramSocket(port, InetAddress.getLoopbackAddress());
            address = new InetSocketAddress("127.0.0.1", socket.getLocalPort());
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
                // The socket was closed.
            }
        }

        /** The packets so far; waits up to 1.5 s for this many. */
        List<String> await(long count) throws InterruptedException {
            for (int i = 0; i < 300 && packets.size() < count; i++) {
                Thread.sleep(5);
            }
            return packets;
        }

        /** The port is free as soon as the listener has left receive(). */
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

    private static void show(String what, String expected, String seen) {
        IO.println("  %d  %-27s %s".formatted(scene, what, seen));
        if (!seen.matches(expected)) {
            next(scene, "search StatsdClient.java for TODO step " + scene);
        }
        scene++;
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
