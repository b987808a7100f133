///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.pcap4j:pcap4j-core:1.8.2
//DEPS org.pcap4j:pcap4j-packetfactory-static:1.8.2
//DEPS net.java.dev.jna:jna:5.19.1
//DEPS org.slf4j:slf4j-nop:1.7.36
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED
//DESCRIPTION Lab 406: capture packets, and read what is in their bytes

import module java.base;

import org.pcap4j.core.BpfProgram.BpfCompileMode;
import org.pcap4j.core.NotOpenException;
import org.pcap4j.core.PcapHandle;
import org.pcap4j.core.PcapNativeException;
import org.pcap4j.core.PcapNetworkInterface;
import org.pcap4j.core.PcapNetworkInterface.PromiscuousMode;
import org.pcap4j.core.Pcaps;
import org.pcap4j.core.RawPacketListener;

/**
 * Reads capture files, takes packets apart, follows their flows, and captures
 * live through libpcap.
 *
 * <p>A length in a packet is a claim of whoever sent it. Each one is compared
 * with the bytes that are there before it is used.
 *
 * <p>Capture files: draft-ietf-opsawg-pcap. IPv4: RFC 791; IPv6: RFC 8200;
 * TCP: RFC 9293; UDP: RFC 768.
 */
public final class PacketLab {

    /** No record of a capture file may claim to hold more bytes. */
    public static final int MAX_CAPTURED = 262_144;

    private PacketLab() {}

    /**
     * A capture file, read once from its beginning to its end, by one thread.
     *
     * <p>Its iterator throws an {@link UncheckedIOException} where the file is
     * bad, after all the frames before that place, and then it has ended. The
     * cause is an {@link EOFException} if the file ends inside a record, and a
     * {@link BadCaptureException} if a record cannot be true.
     */
    public static final class PcapReader
            implements Iterable<Frame>, AutoCloseable {

        private final InputStream in;
        private final FileHeader header;

        /**
         * Reads the header of the file.
         *
         * @throws BadCaptureException if there is none, or one of another
         *         format; the stream stays open
         */
        public PcapReader(InputStream in) throws IOException {
            this.in = new BufferedInputStream(
                    Objects.requireNonNull(in, "in"), 1 << 16);
            header = readHeader(this.in);
        }

        /** 24 bytes: magic, version 2.4, two unused, snaplen, link type. */
        private static FileHeader readHeader(InputStream in)
                throws IOException {
            throw new UnsupportedOperationException(
                    "TODO step 1: of 24 bytes the first 4, the magic, tell order and unit; or they are bad");
        }

        /**
         * The next record: seconds, fraction, captured length, original
         * length, 32 bits each, and then the captured bytes.
         *
         * @return empty at the end of the file
         */
        private Optional<Frame> readFrame() throws IOException {
            throw new UnsupportedOperationException(
                    "TODO step 1: 16 bytes, or none at the end; believe no length that cannot be; then the frame");
        }

        /** What the frames begin with; 1 is Ethernet. */
        public int linkType() {
            return header.linkType();
        }

        /** The most bytes of a frame that were kept, so the header claims. */
        public long snapLength() {
            return header.snapLength();
        }

        /** Of the rest: a second iterator goes on where one stopped. */
        @Override
        public Iterator<Frame> iterator() {
            return new FrameIterator(this::readFrame);
        }

        /** Closes the stream. */
        @Override
        public void close() throws IOException {
            in.close();
        }
    }

    /**
     * Takes a frame apart, layer by layer. Whatever its bytes are, nothing is
     * thrown: where they make no sense, {@link Packet#problem} says so.
     *
     * <p>A layer is found if its whole header was captured and is true to
     * itself. What follows the last header that was found is payload.
     */
    public static Packet dissect(Frame frame) {
        var dissection = new Dissection(Objects.requireNonNull(frame, "frame"));
        dissection.link(frame.linkType());
        return dissection.packet();
    }

    /**
     * What each protocol's header means. In all methods {@code offset} is
     * where the header at hand begins, {@code end} where the layer around it
     * ends, which may lie beyond the {@code bytes} that were captured.
     *
     * <p>Given, in {@link Cursor}: u8, u16, u32, mac and address4 read what
     * stands so many bytes behind the offset; add() takes a layer, and moves
     * the offset behind its header; network() and transport() go on with what
     * a header says that follows; problem() tells what makes no sense.
     */
    private static final class Dissection extends Cursor {

        Dissection(Frame frame) {
            super(frame);
        }

        /** An unsigned number, big end first, of 1 to 6 bytes. */
        @Override
        long number(int at, int length) {
            throw new UnsupportedOperationException(
                    "TODO step 2: the bytes from offset + at on, each of them 0 to 255");
        }

        /**
         * Whether the header at hand has so many bytes, and may be read. If
         * the layer around it is too short for it, that is a problem; if only
         * the capture is, it is none.
         */
        @Override
        boolean has(String layer, int length) {
            throw new UnsupportedOperationException(
                    "TODO step 2: compare with end, which may be a problem(), and with the captured bytes");
        }

        /**
         * Called by a layer that says how long it is, header included, before
         * it is added. It may end before the layer around it, never after.
         */
        private void endsAfter(String layer, int length) {
            throw new UnsupportedOperationException(
                    "TODO step 2: bring end forward to that place; if it was before it already, that is a problem()");
        }

        @Override
        void ethernet() {
            throw new UnsupportedOperationException(
                    "TODO step 2: 14 bytes: destination, source, type; add() the layer, and go on with network()");
        }

        @Override
        void ipv4() {
            throw new UnsupportedOperationException(
                    "TODO step 2: the fields of RFC 791 (total length 0: to the end of the frame); endsAfter(), add() and transport(), but no transport() in later fragments");
        }

        @Override
        void tcp() {
            // TODO step 3: the fields of RFC 9293, 3.1; the header is 4 times the data offset long
            unknown(6, "IP protocol");
        }

        @Override
        void udp() {
            // TODO step 3: 8 bytes; its length includes them; a fragment may be shorter than its datagram
            unknown(17, "IP protocol");
        }

        @Override
        void ipv6() {
            // TODO step 4: the fields of RFC 8200 (jumbogram: to the end of the frame), then its chain of extension headers, 16 at most
            unknown(0x86dd, "EtherType");
        }
    }

    /**
     * The TCP connections and UDP conversations in a capture, for one thread.
     * Its clock is that of the frames: the time of the packet at hand.
     */
    public static final class FlowTable {

        private final Entries entries;

        /**
         * Makes an empty table.
         *
         * @param maxFlows at least 1; if there are more, the flow that has
         *                 been idle for the longest time is forgotten
         * @param idle     a flow that has been idle for longer is forgotten;
         *                 more than zero
         */
        public FlowTable(int maxFlows, Duration idle) {
            entries = new Entries(maxFlows, idle);
        }

        /** Counts a packet. One that is neither TCP nor UDP is no flow's. */
        public void add(Packet packet) {
            Objects.requireNonNull(packet, "packet");
            throw new UnsupportedOperationException(
                    "TODO step 5: of its Segment: expire(), entryOf(), count it on its side, touch(), and follow() TCP");
        }

        /** The same for both directions, and for no other flow. */
        private static Key keyOf(Segment segment) {
            throw new UnsupportedOperationException(
                    "TODO step 5: both endpoints, each whole, in an order that does not depend on the direction");
        }

        /** The flow that a segment belongs to, a new one if need be. */
        private Entry entryOf(Segment segment) {
            var key = keyOf(segment);
            throw new UnsupportedOperationException(
                    "TODO step 5: find() it; begin() one if there is none, or if that one is over and this is a SYN");
        }

        /** What a TCP segment says about its connection. */
        private static void follow(
                Entry entry, Side side, Segment segment, Tcp tcp) {
            throw new UnsupportedOperationException(
                    "TODO step 5: count what isRepeated(); the handshake, and its RTT after a single SYN; RST; a FIN from both sides");
        }

        /**
         * Whether a segment that takes sequence numbers (payload, SYN, FIN)
         * has none that is new. If it has, {@code side.reached} moves on.
         */
        private static boolean isRepeated(
                Side side, Segment segment, Tcp tcp) {
            throw new UnsupportedOperationException(
                    "TODO step 5: the numbers go round at 2^32: of two ints, a - b tells which is ahead");
        }

        /** All that are not forgotten, in the order of their beginnings. */
        public List<Flow> flows() {
            return entries.flows();
        }

        /** How many flows were forgotten. */
        public long evicted() {
            return entries.evicted;
        }
    }

    /**
     * Captures until {@link Capture#close}. The sink is called on a thread of
     * the capture's own, with one frame at a time; while it works, the kernel
     * keeps what it can, and drops the rest.
     *
     * @param device     one of {@link #devices}
     * @param bpf        a filter of pcap-filter(7); empty for every packet
     * @param snapLength bytes to keep of each frame, 1 to MAX_CAPTURED
     * @throws IOException one sentence that says what is missing: libpcap, the
     *         right to capture, the device, or sense in the filter
     */
    public static Capture capture(String device, String bpf, int snapLength,
            Consumer<Frame> sink) throws IOException {
        Objects.requireNonNull(device, "device");
        Objects.requireNonNull(bpf, "bpf");
        requireRange("snapLength", snapLength, 1, MAX_CAPTURED);
        Objects.requireNonNull(sink, "sink");
        throw new UnsupportedOperationException(
                "TODO step 6: build() a PcapHandle with 50 ms of timeout, setFilter(), each explained(); start() a Capture with it");
    }

    /** A capture that runs. Any thread may call it, the sink's as well. */
    public static final class Capture implements AutoCloseable {

        private final PcapHandle handle;
        private final Consumer<Frame> sink;
        private final Thread thread;
        private final int linkType;
        private final AtomicLong delivered = new AtomicLong();
        private final AtomicLong sinkFailures = new AtomicLong();
        private volatile long dropped;

        private Capture(PcapHandle handle, Consumer<Frame> sink) {
            this.handle = handle;
            this.sink = sink;
            linkType = linkType(handle.getDlt().value());
            thread = Thread.ofPlatform().daemon().name("lab406-capture")
                    .unstarted(this::run);
        }

        /** In files, raw IP is 101; for libpcap it is 12, on OpenBSD 14. */
        private static int linkType(int dlt) {
            return dlt == 12 || dlt == 14 ? 101 : dlt;
        }

        private Capture start() {
            thread.start();
            return this;
        }

        /** The thread's whole life; the handle is closed at its end. */
        private void run() {
            throw new UnsupportedOperationException(
                    "TODO step 6: loop() over raw packets for ever, and deliver() each; whatever ends it, closeHandle()");
        }

        /** What the sink throws is counted, and the capture goes on. */
        private void deliver(byte[] bytes) {
            throw new UnsupportedOperationException(
                    "TODO step 6: count it, and give the sink a Frame: the handle knows time and original length");
        }

        /** Exact when no frame is under way, and after {@link #close}. */
        public Stats stats() {
            noteDropped();
            return new Stats(delivered.get(), dropped, sinkFailures.get());
        }

        /**
         * Ends the capture, and waits until the sink has returned, at most
         * 5 s, even if the calling thread is interrupted, which then stays so.
         * Called by the sink, it does not wait. Then nothing is open, and the
         * sink is not called any more.
         */
        @Override
        public void close() {
            throw new UnsupportedOperationException(
                    "TODO step 6: breakLoop() wakes the thread, also on an idle device; wait for its end");
        }

        private void joinThread() {
            long deadline = System.nanoTime() + 5_000_000_000L;
            boolean interrupted = Thread.interrupted();
            while (thread.isAlive() && System.nanoTime() < deadline) {
                try {
                    thread.join(Duration.ofNanos(
                            Math.max(1, deadline - System.nanoTime())));
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }

        /** To be called when the loop has ended, and not before. */
        private void closeHandle() {
            noteDropped();
            handle.close();
        }

        private void noteDropped() {
            try {
                dropped = handle.getStats().getNumPacketsDropped();
            } catch (PcapNativeException | NotOpenException e) {
                // A closed handle tells nothing any more: the last one stays.
            }
        }
    }

    // ---- given from here on ----

    private static final int MICROSECONDS = 0xa1b2c3d4;
    private static final int NANOSECONDS = 0xa1b23c4d;
    private static final int PCAPNG = 0x0a0d0d0a;

    /** IPv6 extension headers: hop-by-hop, routing, fragment, AH, options. */
    private static final Set<Integer> EXTENSIONS = Set.of(0, 43, 44, 51, 60);
    private static final int MAX_EXTENSIONS = 16;
    private static final int HOP_BY_HOP = 0;
    private static final int FRAGMENT = 44;
    private static final int AUTHENTICATION = 51;

    /** The names of what {@link #capture} can listen to. */
    public static List<String> devices() throws IOException {
        return explained("list the devices", () -> Pcaps.findAllDevs().stream()
                .map(PcapNetworkInterface::getName).toList());
    }

    /** A call of pcap4j. */
    @FunctionalInterface
    private interface Native<T> {
        T call() throws PcapNativeException, NotOpenException;
    }

    /**
     * Calls pcap4j, and says in one sentence why that failed. A library that
     * is missing is an {@code UnsatisfiedLinkError} the first time only; then
     * it is a {@code NoClassDefFoundError}.
     *
     * @param what reads on after "cannot"
     */
    private static <T> T explained(String what, Native<T> call)
            throws IOException {
        try {
            return call.call();
        } catch (LinkageError e) {
            throw new IOException("cannot " + what + ": no libpcap to load; "
                    + "Debian: apt install libpcap0.8, Windows: Npcap", e);
        } catch (PcapNativeException | NotOpenException e) {
            var why = String.valueOf(e.getMessage()).strip()
                    .replaceFirst("^Error occurred in \\w+: ", "");
            boolean right = why.contains("ermission")
                    || why.contains("not permitted");
            throw new IOException("cannot " + what + ": " + (right
                    ? "that takes root or the capability CAP_NET_RAW"
                    : why), e);
        }
    }

    /**
     * Bytes that passed by.
     *
     * @param time           when they were captured
     * @param linkType       what they begin with, as in a capture file:
     *                       a LINKTYPE_ number of tcpdump.org's list
     * @param originalLength how many they were, at least as many as captured
     * @param bytes          those that were captured; not copied, not to be
     *                       modified
     */
    public record Frame(
            Instant time, int linkType, int originalLength, byte[] bytes) {
        public Frame {
            Objects.requireNonNull(time, "time");
            Objects.requireNonNull(bytes, "bytes");
            requireRange("originalLength", originalLength, bytes.length,
                    Integer.MAX_VALUE);
        }
    }

    /** What the header of a capture file says, numbers unsigned. */
    private record FileHeader(ByteOrder order, boolean nanoseconds,
            long snapLength, int linkType) {

        /** @param header in the order of the file */
        static FileHeader of(ByteBuffer header, boolean nanoseconds)
                throws BadCaptureException {
            int version = header.getShort(4);
            if (version != 2) {
                throw new BadCaptureException("version " + version
                        + " of the format, only 2 is known");
            }
            return new FileHeader(header.order(), nanoseconds,
                    Integer.toUnsignedLong(header.getInt(16)),
                    header.getInt(20) & 0xffff);
        }
    }

    /** A file that is no capture, or a record that cannot be true. */
    public static final class BadCaptureException extends IOException {
        private static final long serialVersionUID = 1;

        BadCaptureException(String message) {
            super(message);
        }
    }

    /** Reads ahead by one frame, or by one failure, which is the last. */
    private static final class FrameIterator implements Iterator<Frame> {

        /** Empty at the end. */
        private interface Source {
            Optional<Frame> read() throws IOException;
        }

        private final Source source;
        private Optional<Frame> next = Optional.empty();
        private Optional<IOException> failure = Optional.empty();
        private boolean ended;

        FrameIterator(Source source) {
            this.source = source;
        }

        @Override
        public boolean hasNext() {
            if (next.isEmpty() && failure.isEmpty() && !ended) {
                readAhead();
            }
            return next.isPresent() || failure.isPresent();
        }

        private void readAhead() {
            try {
                next = source.read();
                ended = next.isEmpty();
            } catch (IOException e) {
                failure = Optional.of(e);
                ended = true;
            }
        }

        @Override
        public Frame next() {
            if (!hasNext()) {
                throw new NoSuchElementException();
            }
            if (failure.isPresent()) {
                var thrown = new UncheckedIOException(failure.get());
                failure = Optional.empty();
                throw thrown;
            }
            var frame = next.orElseThrow();
            next = Optional.empty();
            return frame;
        }
    }

    /**
     * Writes a capture file, for one thread: little-endian, in nanoseconds, so
     * that no time is rounded.
     */
    public static final class PcapWriter implements AutoCloseable {

        private final OutputStream out;
        private final int linkType;

        /**
         * Writes the header.
         *
         * @param linkType   that of every frame, 0 to 65535
         * @param snapLength the most bytes of a frame that were kept, as far
         *                   as is known; at least 1
         */
        public PcapWriter(OutputStream out, int linkType, int snapLength)
                throws IOException {
            this.out = new BufferedOutputStream(
                    Objects.requireNonNull(out, "out"), 1 << 16);
            this.linkType = requireRange("linkType", linkType, 0, 0xffff);
            requireRange("snapLength", snapLength, 1, Integer.MAX_VALUE);
            write(NANOSECONDS, 4 << 16 | 2, 0, 0, snapLength, linkType);
        }

        /**
         * Writes a frame of the file's link type, of at most MAX_CAPTURED
         * bytes, captured between 1970 and 2106.
         */
        public void write(Frame frame) throws IOException {
            requireRange("linkType", frame.linkType(), linkType, linkType);
            requireRange("bytes", frame.bytes().length, 0, MAX_CAPTURED);
            long seconds = frame.time().getEpochSecond();
            if (seconds != (seconds & 0xffff_ffffL)) {
                throw new IllegalArgumentException(
                        "time must be 1970 to 2106, not " + frame.time());
            }
            write((int) seconds, frame.time().getNano(), frame.bytes().length,
                    frame.originalLength());
            out.write(frame.bytes());
        }

        private void write(int... numbers) throws IOException {
            var buffer = ByteBuffer.allocate(4 * numbers.length)
                    .order(ByteOrder.LITTLE_ENDIAN);
            IntStream.of(numbers).forEach(buffer::putInt);
            out.write(buffer.array());
        }

        /** Writes what is buffered, and closes the stream. */
        @Override
        public void close() throws IOException {
            out.close();
        }
    }

    /** One header of a packet. */
    public sealed interface Layer {}

    /** @param etherType what follows; below 1536 it is a length */
    public record Ethernet(Mac source, Mac destination, int etherType)
            implements Layer {}

    /** IEEE 802.1Q. */
    public record Vlan(int id, int priority, int etherType)
            implements Layer {}

    /**
     * RFC 826, for IPv4 on Ethernet.
     *
     * @param operation 1 asks, 2 answers
     */
    public record Arp(int operation, Inet4Address sender, Inet4Address target)
            implements Layer {}

    /**
     * RFC 791.
     *
     * @param totalLength    in bytes, as the header claims
     * @param fragmentOffset in bytes
     * @param checksumOk     of the header; what this machine sends may be
     *                       captured before its network card fills it in
     */
    public record Ipv4(Inet4Address source, Inet4Address destination,
            int protocol, int ttl, int totalLength, int id,
            boolean dontFragment, boolean moreFragments, int fragmentOffset,
            boolean checksumOk) implements Layer {}

    /**
     * RFC 8200, extension headers included.
     *
     * @param nextHeader     the protocol after all extension headers
     * @param payloadLength  in bytes, as the header claims
     * @param extensions     the types of the extension headers, in order
     * @param fragment       whether a fragment header is among them
     * @param fragmentOffset in bytes
     */
    public record Ipv6(Inet6Address source, Inet6Address destination,
            int nextHeader, int hopLimit, int payloadLength,
            List<Integer> extensions, boolean fragment, int fragmentOffset)
            implements Layer {
        public Ipv6 {
            extensions = List.copyOf(extensions);
        }
    }

    /**
     * RFC 9293.
     *
     * @param sequence        0 to 2^32 - 1
     * @param acknowledgement 0 to 2^32 - 1, of no meaning without ACK
     * @param flags           CWR, ECE, URG, ACK, PSH, RST, SYN, FIN: 8 bits
     * @param mss             the option, -1 without it
     * @param windowScale     the option, -1 without it
     */
    public record Tcp(int sourcePort, int destinationPort, long sequence,
            long acknowledgement, int flags, int window, int mss,
            int windowScale, boolean sackOk) implements Layer {

        /** Whether it is the first of its direction. */
        public boolean isSyn() {
            return (flags & 0x02) != 0;
        }

        /** Whether it acknowledges anything. */
        public boolean isAck() {
            return (flags & 0x10) != 0;
        }

        /** Whether it is the last of its direction. */
        public boolean isFin() {
            return (flags & 0x01) != 0;
        }

        /** Whether it breaks the connection off. */
        public boolean isRst() {
            return (flags & 0x04) != 0;
        }

        /** Whether the receiver is asked to hand the data on. */
        public boolean isPsh() {
            return (flags & 0x08) != 0;
        }
    }

    /**
     * RFC 768.
     *
     * @param length header included, as the header claims
     */
    public record Udp(int sourcePort, int destinationPort, int length)
            implements Layer {}

    /**
     * RFC 792, or RFC 4443.
     *
     * @param version that of IP, 4 or 6
     */
    public record Icmp(int version, int type, int code) implements Layer {}

    /**
     * Something that is not taken apart here. It has no header: its bytes are
     * payload.
     *
     * @param what     what kind of number the selector is
     * @param selector the number that named it
     */
    public record Unknown(int selector, String what) implements Layer {}

    /** An address of a network card: 48 bits. */
    public record Mac(long bits) {
        /** As {@code 02:00:00:00:00:01}. */
        @Override
        public String toString() {
            var digits = HexFormat.of().toHexDigits(bits, 12);
            return String.join(":", digits.split("(?<=\\G..)"));
        }
    }

    /**
     * A frame, taken apart.
     *
     * @param layers        from the outermost to the innermost
     * @param payloadOffset where in the frame's bytes the payload begins
     * @param payloadLength what it measured on the wire: it may reach beyond
     *                      the captured bytes
     * @param problem       empty, or what makes no sense, in one sentence
     */
    public record Packet(Frame frame, List<Layer> layers, int payloadOffset,
            int payloadLength, String problem) {
        public Packet {
            layers = List.copyOf(layers);
        }

        /** The outermost layer of a type. */
        public <L extends Layer> Optional<L> layer(Class<L> type) {
            for (var layer : layers) {
                if (type.isInstance(layer)) {
                    return Optional.of(type.cast(layer));
                }
            }
            return Optional.empty();
        }

        /** Whether bytes of the packet are missing: the snap length cut it. */
        public boolean truncated() {
            return payloadOffset + payloadLength > frame.bytes().length;
        }

        /** What was captured of the payload, a copy. */
        public byte[] payload() {
            return Arrays.copyOfRange(frame.bytes(), payloadOffset,
                    Math.min(payloadOffset + payloadLength,
                            frame.bytes().length));
        }

        /** One line for a reader. */
        public String summary() {
            var words = layers.stream()
                    .filter(layer -> !(layer instanceof Ethernet))
                    .map(Packet::shown)
                    .collect(Collectors.joining("  ", "", "  "));
            return words + payloadLength + " bytes"
                    + (truncated() ? ", cut" : "")
                    + (problem.isEmpty() ? "" : ", bad: " + problem);
        }

        private static String shown(Layer layer) {
            return switch (layer) {
                case Ethernet e -> e.source() + " > " + e.destination();
                case Vlan vlan -> "VLAN " + vlan.id();
                case Arp(var op, var sender, var target) -> "ARP "
                        + sender.getHostAddress() + (op == 1
                        ? " asks for " : " answers ") + target.getHostAddress();
                case Ipv4 ip -> "IPv4 " + ip.source().getHostAddress() + " > "
                        + ip.destination().getHostAddress()
                        + part(ip.fragmentOffset(), ip.moreFragments())
                        + (ip.checksumOk() ? "" : " checksum wrong");
                case Ipv6 ip -> "IPv6 " + ip.source().getHostAddress() + " > "
                        + ip.destination().getHostAddress()
                        + part(ip.fragmentOffset(), ip.fragment());
                case Tcp tcp -> "TCP " + tcp.sourcePort() + " > "
                        + tcp.destinationPort() + (tcp.isSyn() ? " SYN" : "")
                        + (tcp.isFin() ? " FIN" : "")
                        + (tcp.isRst() ? " RST" : "")
                        + (tcp.isAck() ? " ACK" : "");
                case Udp udp -> "UDP " + udp.sourcePort() + " > "
                        + udp.destinationPort();
                case Icmp icmp -> (icmp.version() == 4 ? "ICMP " : "ICMPv6 ")
                        + icmp.type() + "/" + icmp.code();
                case Unknown(var selector, var what) -> what + " " + selector;
            };
        }

        private static String part(int offset, boolean fragment) {
            return offset > 0 || fragment ? " fragment at " + offset : "";
        }
    }

    /** The given half of {@link Dissection}: fields, dispatch, the rest. */
    private abstract static class Cursor {

        final byte[] bytes;
        int offset;
        int end;
        private final Frame frame;
        private final List<Layer> layers = new ArrayList<>(4);
        private String problem = "";

        Cursor(Frame frame) {
            this.frame = frame;
            bytes = frame.bytes();
            end = frame.originalLength();
        }

        abstract long number(int at, int length);

        abstract boolean has(String layer, int length);

        abstract void ethernet();

        abstract void ipv4();

        abstract void ipv6();

        abstract void tcp();

        abstract void udp();

        /** The byte at offset + at, unsigned. */
        int u8(int at) {
            return (int) number(at, 1);
        }

        /** The 16 bits at offset + at, unsigned. */
        int u16(int at) {
            return (int) number(at, 2);
        }

        /** The 32 bits at offset + at, unsigned. */
        long u32(int at) {
            return number(at, 4);
        }

        Mac mac(int at) {
            return new Mac(number(at, 6));
        }

        Inet4Address address4(int at) {
            try {
                return (Inet4Address) InetAddress.getByAddress(
                        Arrays.copyOfRange(
                                bytes, offset + at, offset + at + 4));
            } catch (UnknownHostException e) {
                throw new AssertionError(e);   // 4 bytes always are one
            }
        }

        /** Goes on behind a header. */
        void add(Layer layer, int headerLength) {
            layers.add(layer);
            offset += headerLength;
        }

        void unknown(int selector, String what) {
            layers.add(new Unknown(selector, what));
        }

        /** Keeps the first one, because the others may follow from it. */
        void problem(String sentence) {
            if (problem.isEmpty()) {
                problem = sentence;
            }
        }

        /** Whether the IP packet is a fragment of what was sent. */
        boolean isFragment() {
            return switch (layers.getLast()) {
                case Ipv4 ip -> ip.moreFragments() || ip.fragmentOffset() > 0;
                case Ipv6 ip -> ip.fragment();
                default -> false;
            };
        }

        /** Goes on with what a link type says. */
        void link(int type) {
            switch (type) {
                case 0 -> family();
                case 1 -> ethernet();
                case 101 -> raw();
                case 228 -> ipv4();
                case 229 -> ipv6();
                case 113 -> cooked(16, 14);
                case 276 -> cooked(20, 0);
                default -> unknown(type, "link type");
            }
        }

        /** BSD loopback: a number in the order of who captured. */
        private void family() {
            if (has("loopback", 4)) {
                int family = u8(0) + u8(3);
                offset += 4;
                switch (family) {
                    case 2 -> ipv4();
                    case 10, 24, 28, 30 -> ipv6();
                    default -> unknown(family, "address family");
                }
            }
        }

        private void raw() {
            if (has("IP", 1)) {
                switch (u8(0) >> 4) {
                    case 4 -> ipv4();
                    case 6 -> ipv6();
                    default -> problem("IP version " + (u8(0) >> 4));
                }
            }
        }

        /** Linux, device any. */
        private void cooked(int headerLength, int at) {
            if (has("cooked capture", headerLength)) {
                int etherType = u16(at);
                offset += headerLength;
                network(etherType);
            }
        }

        /** Goes on with what an EtherType says. */
        void network(int etherType) {
            switch (etherType) {
                case 0x0800 -> ipv4();
                case 0x86dd -> ipv6();
                case 0x0806 -> arp();
                case 0x8100, 0x88a8 -> vlan(etherType);
                default -> unknown(etherType, "EtherType");
            }
        }

        private void vlan(int etherType) {
            if (layers.stream().filter(Vlan.class::isInstance).count() == 2) {
                unknown(etherType, "EtherType");
            } else if (has("VLAN", 4)) {
                int tag = u16(0);
                int inner = u16(2);
                add(new Vlan(tag & 0x0fff, tag >> 13, inner), 4);
                network(inner);
            }
        }

        private void arp() {
            if (!has("ARP", 28)) {
                return;
            }
            if (number(0, 6) != 0x0001_0800_0604L) {
                unknown(0x0806, "EtherType");
                return;
            }
            add(new Arp(u16(6), address4(14), address4(24)), 28);
        }

        /** Goes on with what an IP header says. */
        void transport(int protocol) {
            switch (protocol) {
                case 1 -> icmp(4);
                case 6 -> tcp();
                case 17 -> udp();
                case 58 -> icmp(6);
                case 59 -> {}   // IPv6: nothing follows
                default -> unknown(protocol, "IP protocol");
            }
        }

        private void icmp(int version) {
            if (has("ICMP", 8)) {
                add(new Icmp(version, u8(0), u8(1)), 8);
            }
        }

        record TcpOptions(int mss, int windowScale, boolean sackOk) {}

        /** Options of RFC 9293 section 3.2, RFC 7323 and RFC 2018. */
        TcpOptions tcpOptions(int headerLength) {
            int mss = -1;
            int windowScale = -1;
            boolean sackOk = false;
            for (int at = 20; at < headerLength && u8(at) != 0; ) {
                int left = headerLength - at;
                int length = u8(at) == 1 ? 1 : left < 2 ? 0 : u8(at + 1);
                if (length > left || length < 1
                        || length == 1 && u8(at) != 1) {
                    problem("TCP option of a length that cannot be");
                    break;
                }
                switch (u8(at) << 8 | length) {
                    case 0x0204 -> mss = u16(at + 2);
                    case 0x0303 -> windowScale = u8(at + 2);
                    case 0x0402 -> sackOk = true;
                    default -> {}
                }
                at += length;
            }
            return new TcpOptions(mss, windowScale, sackOk);
        }

        Packet packet() {
            return new Packet(frame, layers, offset, end - offset, problem);
        }
    }

    /** One end of a conversation. */
    public record Endpoint(InetAddress address, int port)
            implements Comparable<Endpoint> {

        /** IPv4 first, then by address, then by port. */
        @Override
        public int compareTo(Endpoint other) {
            var mine = address.getAddress();
            var theirs = other.address.getAddress();
            int order = Integer.compare(mine.length, theirs.length);
            if (order == 0) {
                order = Arrays.compareUnsigned(mine, theirs);
            }
            return order != 0 ? order : Integer.compare(port, other.port);
        }

        @Override
        public String toString() {
            var host = address.getHostAddress();
            return (host.contains(":") ? "[" + host + "]" : host) + ":" + port;
        }
    }

    /** How far a TCP connection has come, as far as was seen. */
    public enum Handshake {
        /** It is not TCP. */
        NONE,
        /** The client has asked. */
        SYN_SEEN,
        /** The server has answered. */
        SYN_ACK_SEEN,
        /** The client has acknowledged that. */
        ESTABLISHED,
        /** Its beginning was not captured. */
        MIDSTREAM,
        /** Both have sent their FIN. */
        CLOSED,
        /** One has sent a RST. */
        RESET
    }

    /**
     * A TCP connection, or all UDP between two endpoints.
     *
     * @param protocol        6 or 17
     * @param client          who began, as far as was seen
     * @param packetsOut      of the client; {@code packetsIn}: of the server
     * @param bytesOut        payload on the wire, repetitions included
     * @param rtt             from the SYN to the SYN-ACK, at the place of the
     *                        capture; empty where they were not seen, or where
     *                        the SYN was repeated
     * @param retransmissions segments in which nothing was new
     */
    public record Flow(int protocol, Endpoint client, Endpoint server,
            long packetsOut, long packetsIn, long bytesOut, long bytesIn,
            Instant first, Instant last, Handshake state,
            Optional<Duration> rtt, long retransmissions) {

        /** One line for a reader. */
        public String summary() {
            return "%s > %s %s, %d/%d packets, %d/%d bytes%s%s".formatted(
                    client, server, protocol == 6 ? state : "UDP",
                    packetsOut, packetsIn, bytesOut, bytesIn,
                    rtt.map(time -> ", rtt %.1f ms"
                            .formatted(time.toNanos() / 1e6)).orElse(""),
                    retransmissions == 0 ? ""
                            : ", " + retransmissions + " repeated");
        }
    }

    /** What a packet adds to its flow; the transport is Tcp or Udp. */
    private record Segment(int protocol, Endpoint from, Endpoint to,
            Instant time, int payloadLength, Layer transport) {

        boolean isSyn() {
            return transport instanceof Tcp tcp && tcp.isSyn();
        }

        boolean isSynAck() {
            return transport instanceof Tcp tcp && tcp.isSyn() && tcp.isAck();
        }

        /** Empty unless it is IP with TCP or UDP. */
        static Optional<Segment> of(Packet packet) {
            return packet.layer(Ipv4.class)
                    .map(ip -> of(packet, ip.source(), ip.destination()))
                    .or(() -> packet.layer(Ipv6.class).map(ip ->
                            of(packet, ip.source(), ip.destination())))
                    .flatMap(segment -> segment);
        }

        private static Optional<Segment> of(Packet packet, InetAddress source,
                InetAddress destination) {
            return switch (packet.layers().getLast()) {
                case Tcp tcp -> Optional.of(new Segment(6,
                        new Endpoint(source, tcp.sourcePort()),
                        new Endpoint(destination, tcp.destinationPort()),
                        packet.frame().time(), packet.payloadLength(), tcp));
                case Udp udp -> Optional.of(new Segment(17,
                        new Endpoint(source, udp.sourcePort()),
                        new Endpoint(destination, udp.destinationPort()),
                        packet.frame().time(), packet.payloadLength(), udp));
                default -> Optional.empty();
            };
        }
    }

    /** What all packets of a flow have in common, whoever sends them. */
    private record Key(int protocol, Endpoint one, Endpoint other) {}

    /** What one end of a flow has sent. */
    private static final class Side {
        private long packets;
        private long bytes;
        private boolean fin;
        private boolean begun;   // whether reached means anything
        private int reached;     // the sequence number after the last new one
    }

    /** A flow while it grows. */
    private static final class Entry {
        private final Key key;
        private final Endpoint client;
        private final Endpoint server;
        private final long serial;
        private final Side out = new Side();
        private final Side in = new Side();
        private Instant first;
        private Instant last;
        private Handshake state = Handshake.NONE;
        private Optional<Duration> rtt = Optional.empty();
        private long retransmissions;

        Entry(Key key, Endpoint client, Endpoint server, long serial) {
            this.key = key;
            this.client = client;
            this.server = server;
            this.serial = serial;
        }

        Side side(Endpoint from) {
            return from.equals(client) ? out : in;
        }

        boolean isOver() {
            return state == Handshake.CLOSED || state == Handshake.RESET;
        }

        Flow flow() {
            return new Flow(key.protocol(), client, server, out.packets,
                    in.packets, out.bytes, in.bytes, first, last, state, rtt,
                    retransmissions);
        }
    }

    /** The entries of a table: by key, and by how long they are idle. */
    private static final class Entries {
        private final int most;
        private final Duration idle;
        private final Map<Key, Entry> current = new HashMap<>();
        private final LinkedHashSet<Entry> longestIdleFirst =
                new LinkedHashSet<>();
        private long serial;
        private long evicted;

        Entries(int most, Duration idle) {
            this.most = requireRange("maxFlows", most, 1, Integer.MAX_VALUE);
            this.idle = Objects.requireNonNull(idle, "idle");
            if (!idle.isPositive()) {
                throw new IllegalArgumentException(
                        "idle must be more than zero, not " + idle);
            }
        }

        Optional<Entry> find(Key key) {
            return Optional.ofNullable(current.get(key));
        }

        /** From now on this one is found by that key. */
        Entry begin(Key key, Endpoint client, Endpoint server) {
            if (longestIdleFirst.size() == most) {
                evict();
            }
            var entry = new Entry(key, client, server, serial++);
            current.put(key, entry);
            longestIdleFirst.add(entry);
            return entry;
        }

        /** Forgets the flows that have been idle for too long. */
        void expire(Instant now) {
            while (!longestIdleFirst.isEmpty() && Duration.between(
                    longestIdleFirst.getFirst().last, now)
                            .compareTo(idle) > 0) {
                evict();
            }
        }

        private void evict() {
            var entry = longestIdleFirst.removeFirst();
            current.remove(entry.key, entry);
            evicted++;
        }

        /** Notes the time; this entry is idle for the shortest time now. */
        void touch(Entry entry, Instant now) {
            entry.first = entry.first == null ? now : entry.first;
            entry.last = now;
            longestIdleFirst.addLast(entry);
        }

        List<Flow> flows() {
            return longestIdleFirst.stream()
                    .sorted(Comparator.comparingLong(entry -> entry.serial))
                    .map(Entry::flow).toList();
        }
    }

    /**
     * Counted since the capture began.
     *
     * @param delivered    frames that the sink was given
     * @param dropped      frames that the kernel had no room for
     * @param sinkFailures frames at which the sink threw something
     */
    public record Stats(long delivered, long dropped, long sinkFailures) {}

    private static int requireRange(
            String name, int value, int least, int most) {
        if (value < least || value > most) {
            throw new IllegalArgumentException(
                    "%s must be %d to %d, not %d"
                            .formatted(name, least, most, value));
        }
        return value;
    }

    // The demo: a scene for each step, in their order.

    private static final List<String> STEPS = List.of("Read a capture file",
            "Dissect Ethernet and IPv4", "Dissect TCP and UDP",
            "Dissect IPv6", "Track flows", "Capture live");

    /**
     * A card reader at 10.0.0.9 and its server: milliseconds, direction, and
     * the frame after its two Ethernet addresses, a layer on each line.
     */
    private static final String SAMPLE = """
            0.0 > 0806
             0001080006040001 0200000000090a000009 0000000000000a000002 ;
            0.4 < 0806
             0001080006040002 0200000000020a000002 0200000000090a000009 ;
            1.0 > 0800 4500002c00014000400626c10a0000090a000002
             9c402187000003e8000000006002faf0c77b0000020405b4 ;
            13.0 < 0800 4500002c00024000400626c00a0000020a000009
             21879c4000001388000003e96012faf0b3e20000020405b4 ;
            13.2 > 0800 4500002800034000400626c30a0000090a000002
             9c402187000003e9000013895010faf0cb9f0000 ;
            20.0 > 0800 4500003300044000400626b70a0000090a000002
             9c402187000003e9000013895018faf09a760000
             53414c452031322e35300a ;
            60.0 < 0800 4500002b00054000400626be0a0000020a000009
             21879c4000001389000003f45018faf0723e0000 4f4b0a ;
            5060.0 < 0800 4500002800064000400626c00a0000020a000009
             21879c400000138c000003f45011faf0cb900000 ;
            5061.0 > 0800 4500002800074000400626bf0a0000090a000002
             9c402187000003f40000138d5011faf0cb8f0000 ;
            5073.0 < 0800 4500002800084000400626be0a0000020a000009
             21879c400000138d000003f55010faf0cb8f0000 ;
            5080.0 > 0800 4500003700094000401126700a0000090a000035
             9c41003500238014 1a2b01000001000000000000
             046361726404746573740000010001 ;
            5081.0 > 86dd 6000000000231140
             fd000000000000000000000000000009fd000000000000000000000000000053
             9c4200350023 99f3 1a2b01000001000000000000
             046361726404746573740000010001 ;
            5090.0 > 0800 450005dc000a400040fd20110a0000090a000002
             3f3f3f3f""";

    /** No argument: the demo; {@code help} lists what else there is. */
    public static void main(String[] args) throws Exception {
        var words = new ArrayList<>(List.of(args));
        var verb = words.isEmpty() ? "" : words.removeFirst();
        try {
            switch (verb.replaceFirst("^--", "")) {
                case "" -> demo();
                case String read when read.equals("read")
                        && words.size() == 1 -> read(Path.of(args[1]));
                case String live when live.equals("live")
                        && words.size() % 2 == 1 -> live(words);
                case "devices" -> devices().forEach(IO::println);
                default -> usage("""
                        lab-406               the demo
                        lab-406 read FILE     each frame, and the flows
                        lab-406 devices       where packets can be captured
                        lab-406 live DEVICE   captures until you press Enter;
                                              takes libpcap and root
                            --filter "tcp port 80"   pcap-filter(7)
                            --seconds 5              ends by itself
                            --write FILE             into a capture file
                        lab-406 help          this text""", args);
            }
        } catch (UnsupportedOperationException todo) {
            var text = String.valueOf(todo.getMessage());
            if (!text.matches("TODO step [1-6]: .*")) {
                throw todo;
            }
            if (!words.isEmpty()) {
                IO.println("(live DEVICE --write FILE works as it is)");
            }
            var place = todo.getStackTrace()[0];
            next(text.charAt("TODO step ".length()) - '0', "%s\n  %s, line %d"
                    .formatted(text, place.getFileName(),
                            place.getLineNumber()));
        } catch (IllegalArgumentException wrong) {
            if (args.length == 0) {
                throw wrong;
            }
            System.err.println(wrong.getMessage());
            System.exit(2);
        } catch (UncheckedIOException | IOException e) {
            IO.println(e instanceof NoSuchFileException
                    ? "there is no file " + e.getMessage() : e.getMessage());
            System.exit(1);
        }
    }

    private static void demo() throws Exception {
        IO.println("lab 406  Raw packets");
        var frames = new ArrayList<Frame>();
        try (var reader = new PcapReader(sampleFile())) {
            reader.forEach(frames::add);
            IO.println("\n  1  " + frames.size() + " frames, link type "
                    + reader.linkType());
        }
        var packets = frames.stream().map(PacketLab::dissect).toList();
        show(2, packets.get(0), Arp.class);
        show(2, packets.get(12), Ipv4.class);
        for (var packet : packets.subList(2, 11)) {
            show(3, packet, packet == packets.get(10) ? Udp.class : Tcp.class);
        }
        show(4, packets.get(11), Ipv6.class);
        var table = new FlowTable(1000, Duration.ofMinutes(5));
        packets.forEach(table::add);
        table.flows().forEach(flow -> IO.println("  5  " + flow.summary()));
        try {
            IO.println("  6  " + ownDatagram() + "\n\nall six steps at work");
        } catch (IOException e) {
            IO.println("  6  " + e.getMessage() + "\n\nfive steps at work");
        }
    }

    private static InputStream sampleFile() throws IOException {
        var file = new ByteArrayOutputStream();
        try (var writer = new PcapWriter(file, 1, MAX_CAPTURED)) {
            for (var line : SAMPLE.split(";")) {
                var words = line.strip().split("\\s+", 3);
                var ends = words[1].equals(">")
                        ? "020000000002020000000009"
                        : "020000000009020000000002";
                var bytes = HexFormat.of().parseHex(
                        ends + words[2].replaceAll("\\s", ""));
                long micros = Math.round(1000 * Double.parseDouble(words[0]));
                writer.write(new Frame(Instant.EPOCH.plusNanos(1000 * micros),
                        1, bytes.length, bytes));
            }
        }
        return new ByteArrayInputStream(file.toByteArray());
    }

    private static void show(
            int step, Packet packet, Class<? extends Layer> wanted) {
        IO.println("  " + step + "  " + packet.summary());
        if (packet.layer(wanted).isEmpty()) {
            next(step, "search PacketLab.java for TODO step " + step);
        }
    }

    /** Sent to ourselves, and captured on its way. */
    private static String ownDatagram() throws Exception {
        var device = devices().stream()
                .filter(name -> name.matches("lo0?")).findFirst();
        if (device.isEmpty()) {
            return "no loopback device here";
        }
        var caught = new LinkedBlockingQueue<Frame>();
        try (var socket = new DatagramSocket(
                     0, InetAddress.getLoopbackAddress());
             var _ = capture(device.get(), "udp port " + socket.getLocalPort(),
                     MAX_CAPTURED, caught::add)) {
            var hello = "hello, wire".getBytes();
            socket.send(new DatagramPacket(hello, hello.length,
                    socket.getLocalSocketAddress()));
            var frame = caught.poll(5, TimeUnit.SECONDS);
            return frame == null ? "nothing came"
                    : "live on " + device.get() + ", a datagram to ourselves: "
                            + new String(dissect(frame).payload());
        }
    }

    private static void read(Path file) throws IOException {
        var table = new FlowTable(100_000, Duration.ofDays(1));
        var layers = new TreeMap<String, Integer>();
        int frames = 0;
        int bad = 0;
        try (var reader = new PcapReader(Files.newInputStream(file))) {
            for (var frame : reader) {
                var packet = dissect(frame);
                IO.println("%5d  %s".formatted(++frames, packet.summary()));
                packet.layers().forEach(layer -> layers.merge(
                        layer.getClass().getSimpleName(), 1, Integer::sum));
                bad += packet.problem().isEmpty() ? 0 : 1;
                table.add(packet);
            }
        }
        IO.println(frames + " frames, " + bad + " bad, " + layers);
        table.flows().forEach(flow -> IO.println(flow.summary()));
    }

    private static void live(List<String> words)
            throws IOException, InterruptedException {
        var device = words.getFirst();
        var filter = option(words, "--filter").orElse("");
        var seconds = option(words, "--seconds").map(Long::parseLong);
        var file = option(words, "--write");
        if (file.isPresent()) {
            record(device, filter, seconds, file.get());
            return;
        }
        try (var capture = capture(device, filter, MAX_CAPTURED,
                frame -> IO.println(dissect(frame).summary()))) {
            awaitEnd(seconds);
            IO.println(capture.stats());
        }
    }

    /** Of the seconds, or else a key or the end of standard input. */
    private static void awaitEnd(Optional<Long> seconds)
            throws IOException, InterruptedException {
        if (seconds.isPresent()) {
            TimeUnit.SECONDS.sleep(seconds.get());
        } else {
            int _ = System.in.read();
        }
    }

    private static Optional<String> option(List<String> words, String name) {
        int at = words.indexOf(name);
        return at < 0 ? Optional.empty() : Optional.of(words.get(at + 1));
    }

    /** The kernel may keep a frame for so many milliseconds. */
    private static final int LATE = 100;

    /** Without a line of yours: libpcap writes the file by itself. */
    private static void record(String device, String filter,
            Optional<Long> seconds, String file) throws IOException {
        var handle = explained("capture on " + device, () ->
                new PcapHandle.Builder(device).snaplen(MAX_CAPTURED)
                        .timeoutMillis(LATE).build());
        explained("write " + file, () -> {
            handle.setFilter(filter, BpfCompileMode.OPTIMIZE);
            try (var dumper = handle.dumpOpen(file)) {
                Thread.ofPlatform().daemon().start(
                        () -> breakAtEnd(handle, seconds));
                IO.println("capturing on " + device);
                handle.loop(-1, dumper);
            } catch (InterruptedException e) {
                // The loop was broken.
            }
            return handle;
        }).close();
        IO.println("wrote " + file + ", " + Files.size(Path.of(file))
                + " bytes; now: read " + file);
    }

    private static void breakAtEnd(PcapHandle handle, Optional<Long> seconds) {
        try {
            awaitEnd(seconds);
            TimeUnit.MILLISECONDS.sleep(2 * LATE);
            handle.breakLoop();
        } catch (IOException | InterruptedException | NotOpenException e) {
            // It has ended before.
        }
    }

    private static void next(int step, String where) {
        IO.println("""

                next: step %d, %s
                  %s
                  %s""".formatted(
                step, STEPS.get(step - 1), where, commands(step)));
        System.exit(0);
    }

    /** What to type next; the workbook's launcher says how. */
    private static String commands(int step) {
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/PacketLab.java";
        return (isHere ? "" : "in a clone of the workbook:\n  ")
                + "check  %s test-406 %s".formatted(jbang, file).strip()
                + "\n  hint   %s hint 406 %d".formatted(jbang, step);
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
