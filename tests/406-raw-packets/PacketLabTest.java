///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS org.pcap4j:pcap4j-core:1.8.2
//DEPS org.pcap4j:pcap4j-packetfactory-static:1.8.2
//DEPS net.java.dev.jna:jna:5.19.1
//DEPS org.slf4j:slf4j-nop:1.7.36
//SOURCES ../../labs/406-raw-packets/PacketLab.java
//SOURCES ../kit/*.java

import static kit.TestLifecycle.closeLater;

import com.sun.jna.Memory;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.Inet4Address;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import kit.Await;
import kit.Check;
import kit.History;
import kit.Lab;
import kit.Patience;
import kit.PendingCall;
import kit.Step;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;
import org.pcap4j.core.PcapNativeException;
import org.pcap4j.core.PcapNetworkInterface;
import org.pcap4j.core.Pcaps;
import org.pcap4j.packet.IpV4Packet;
import org.pcap4j.packet.IpV4Rfc791Tos;
import org.pcap4j.packet.IpV6Packet;
import org.pcap4j.packet.IpV6SimpleFlowLabel;
import org.pcap4j.packet.IpV6SimpleTrafficClass;
import org.pcap4j.packet.Packet;
import org.pcap4j.packet.TcpMaximumSegmentSizeOption;
import org.pcap4j.packet.TcpPacket;
import org.pcap4j.packet.UdpPacket;
import org.pcap4j.packet.UnknownPacket;
import org.pcap4j.packet.namednumber.EtherType;
import org.pcap4j.packet.namednumber.IpNumber;
import org.pcap4j.packet.namednumber.IpVersion;
import org.pcap4j.packet.namednumber.TcpPort;
import org.pcap4j.packet.namednumber.UdpPort;

/**
 * Lab 406, step by step. Files and packets are put together here byte by byte, or by the builders of pcap4j, which
 * nobody here wrote; only step 6 needs libpcap. A comment {@code rejects:} names the wrong solutions that a test is
 * there for.
 */
@Lab
class PacketLabTest {

    private static final Instant NOON = Instant.ofEpochSecond(1_700_000_000L, 123_456_000);
    private static final int EXPERIMENT = 253;   // an IP protocol that nobody takes apart
    private static final int MAX = 262_144;

    @Step(value = 1, title = "Read a capture file")
    class Read_a_capture_file {

        private static final int MICROS = 0xa1b2c3d4;
        private static final int NANOS = 0xa1b23c4d;
        private static final ByteOrder LITTLE = ByteOrder.LITTLE_ENDIAN;
        private static final ByteOrder BIG = ByteOrder.BIG_ENDIAN;

        @Test
        void the_header_gives_link_type_and_snap_length() throws IOException {
            try (var reader = new PacketLab.PcapReader(stream(header(LITTLE, MICROS, 65_535, 101)))) {
                Check.equal(101, reader.linkType(), "linkType()", "it stands in the last 4 of the 24 bytes");
                Check.equal(65_535L, reader.snapLength(), "snapLength()", "it stands in bytes 16 to 19");
                Check.equal(false, reader.iterator().hasNext(), "hasNext() of a file without frames",
                        "a file may end after its header: return an empty Optional");
            }
            var file = join(header(LITTLE, MICROS, 65_535, 0x4400_0001), record("x"));
            var reader = new PacketLab.PcapReader(stream(file));
            Check.equal(1, reader.linkType(), "linkType() where the upper bits speak of checksums",
                    "the link type is the lower 16 bits");
            Check.equal(1, reader.iterator().next().linkType(), "linkType() of its frame", "");
        }

        @Test
        void a_frame_has_the_time_lengths_and_bytes_of_its_record() throws IOException {
            // rejects: captured and original length mixed up; seconds alone
            var frame = only(file(LITTLE, MICROS, record(LITTLE, 1_700_000_000, 123_456, 1500, text("hello"))));
            Check.equal(NOON, frame.time(), "time()", "seconds first, then microseconds");
            Check.equal(1, frame.linkType(), "linkType()", "that of the file's header");
            Check.equal(1500, frame.originalLength(), "originalLength()",
                    "first the captured length, then the original");
            checkBytes(text("hello"), frame.bytes());
        }

        @Test
        void frames_come_in_the_order_of_the_file_until_it_ends() throws IOException {
            var frames = all(file(LITTLE, MICROS, record("one"), record("three"), record(""), record("two")));
            Check.equal("[one, three, , two]", frames.stream().map(frame -> string(frame.bytes())).toList().toString(),
                    "the frames", "each record says how long it is; the next one begins right behind it");
        }

        @Test
        void the_magic_number_decides_byte_order_and_unit_of_time() throws IOException {
            // rejects: little-endian as a matter of course
            var file = header(BIG, MICROS, 65_535, 101);
            PacketLab.PcapReader reader;
            try {
                reader = new PacketLab.PcapReader(stream(file));
            } catch (IOException e) {
                throw History.fail("expected that a big-endian file is read, got\n  " + e,
                        "the magic a1b2c3d4 may stand in either order, and then all numbers do");
            }
            Check.equal(101, reader.linkType(), "linkType() of a big-endian file", "all numbers are in that order");
            Check.equal(65_535L, reader.snapLength(), "snapLength() of a big-endian file", "");
            var frame = only(file(BIG, MICROS, record(BIG, 1_700_000_000, 123_456, 1500, text("hello"))));
            Check.equal(NOON, frame.time(), "time() in a big-endian file", "the records are in that order, too");
            Check.equal(1500, frame.originalLength(), "originalLength() in a big-endian file", "");
            checkBytes(text("hello"), frame.bytes());
            // rejects: microseconds as a matter of course
            for (var order : List.of(LITTLE, BIG)) {
                var fine = only(file(order, NANOS, record(order, 1_700_000_000, 999_999_999, 5, text("hello"))));
                Check.equal(Instant.ofEpochSecond(1_700_000_000L, 999_999_999), fine.time(),
                        "time() in a file of nanoseconds, " + order, "the magic a1b23c4d says that");
            }
        }

        @Test
        void the_numbers_of_the_file_are_unsigned() throws IOException {
            var file = join(header(LITTLE, MICROS, 0xffff_ffff, 1), record(LITTLE, 0xf000_0000, 1, 5, text("hello")));
            var reader = new PacketLab.PcapReader(stream(file));
            Check.equal(4_294_967_295L, reader.snapLength(), "snapLength()", "Integer.toUnsignedLong");
            Check.equal(Instant.ofEpochSecond(0xf000_0000L, 1_000), reader.iterator().next().time(), "time()",
                    "seconds are unsigned: they last until 2106");
            var odd = only(file(LITTLE, NANOS, record(LITTLE, 1, 0x8000_0000, 5, text("hello"))));
            Check.equal(Instant.ofEpochSecond(1, 0x8000_0000L), odd.time(), "time() with the fraction 80000000",
                    "the fraction is unsigned as well: Integer.toUnsignedLong");
        }

        @Test
        void a_stream_that_gives_one_byte_at_a_time_is_read() throws IOException {   // rejects: a read() is a record
            var file = file(LITTLE, MICROS, record("hello"), record("world"));
            var drip = new InputStream() {
                private int next;

                @Override
                public int read() {
                    return next < file.length ? file[next++] & 0xff : -1;
                }

                @Override
                public int read(byte[] to, int offset, int length) {
                    int one = length == 0 ? 0 : read();
                    if (length > 0 && one >= 0) {
                        to[offset] = (byte) one;
                    }
                    return length == 0 ? 0 : one < 0 ? -1 : 1;
                }
            };
            var frames = new ArrayList<PacketLab.Frame>();
            var likely = "read(bytes) may give fewer bytes than you asked for, and available() may be 0: readNBytes"
                    + " waits for all of them";
            try {
                new PacketLab.PcapReader(drip).forEach(frames::add);
            } catch (IOException | UncheckedIOException e) {
                throw History.fail("expected two frames from a stream that gives one byte at a time, got\n  " + e,
                        likely);
            }
            Check.equal("[hello, world]", frames.stream().map(frame -> string(frame.bytes())).toList().toString(),
                    "frames from a stream that gives one byte at a time", likely);
        }

        @Test
        void a_file_that_ends_inside_a_record_fails_after_its_whole_frames() throws IOException {
            var file = file(LITTLE, MICROS, record("whole"), record("cut"));
            for (int length = file.length - 1; length > file.length - 19; length--) {
                var what = "a file cut " + (file.length - length) + " bytes before its end";
                var frames = new PacketLab.PcapReader(stream(Arrays.copyOf(file, length))).iterator();
                checkBytes(text("whole"), frames.next().bytes());
                checkEnds(EOFException.class, frames, what);
            }
        }

        @Test
        void a_record_that_claims_too_much_is_refused_and_costs_no_memory() throws IOException {
            // rejects: new byte[captured]; a limit that the header may set
            for (int claim : new int[] {Integer.MAX_VALUE, Integer.MIN_VALUE, -1, MAX + 1}) {
                var file = join(header(LITTLE, MICROS, -1, 1), record("good"), numbers(LITTLE, 1, 2, claim, claim),
                        new byte[MAX + 1]);
                var frames = new PacketLab.PcapReader(stream(file)).iterator();
                var what = "a record that claims " + Integer.toUnsignedString(claim) + " bytes";
                try {
                    frames.next();
                    checkEnds(PacketLab.BadCaptureException.class, frames, what);
                } catch (OutOfMemoryError e) {
                    throw History.fail("expected a BadCaptureException for " + what + ", got no more memory",
                            "look at the claim before you make an array of that length");
                }
            }
            var most = only(file(LITTLE, MICROS, record(LITTLE, 1, 2, MAX, new byte[MAX])));
            Check.equal(MAX, most.bytes().length, "the length of the longest frame", "MAX_CAPTURED itself is allowed");
            for (int original : new int[] {4, 0, Integer.MIN_VALUE}) {
                var frames = new PacketLab.PcapReader(
                        stream(file(LITTLE, MICROS, record(LITTLE, 1, 2, original, text("hello"))))).iterator();
                checkEnds(PacketLab.BadCaptureException.class, frames,
                        "5 bytes captured of " + Integer.toUnsignedString(original));
            }
        }

        @Test
        void a_file_that_is_no_capture_file_is_refused_and_pcapng_by_name() {
            var good = header(LITTLE, MICROS, 65_535, 1);
            refused(new byte[0], "an empty file");
            refused(Arrays.copyOf(good, 23), "a file of 23 bytes");
            refused("GET / HTTP/1.1\r\nHost: example.test\r\n\r\n".getBytes(), "a file of text");
            refused(put(good, 4, 3), "version 3.4 of the format");
            refused(put(good, 0, 0xd5), "another magic");
            var pcapng = join(numbers(LITTLE, 0x0a0d0d0a, 28, 0x1a2b3c4d, 1, -1, -1, 28));
            var message = refused(pcapng, "a pcapng file").getMessage();
            Check.that(String.valueOf(message).contains("pcapng"), "a message that says pcapng, got " + message,
                    "it begins with 0a0d0d0a, the same in both orders");
        }

        @Test
        void an_exception_of_the_stream_is_passed_on() throws IOException {   // rejects: every IOException is an end
            var broken = new IOException("disk error");
            for (int good : new int[] {10, 24, 30, 50}) {
                var stream = new InputStream() {
                    private final byte[] file = file(LITTLE, MICROS, record("hello"), record("world"));
                    private int next;

                    @Override
                    public int read() throws IOException {
                        if (next == good) {
                            throw broken;
                        }
                        return file[next++] & 0xff;
                    }

                    @Override
                    public int read(byte[] to, int offset, int length) throws IOException {
                        if (length > 0) {
                            to[offset] = (byte) read();
                        }
                        return Math.min(length, 1);
                    }
                };
                var thrown = Check.fails(Exception.class,
                        () -> new PacketLab.PcapReader(stream).forEach(frame -> {}),
                        "a stream that breaks after " + good + " bytes", "let an IOException of the stream pass");
                Check.that(thrown == broken || thrown.getCause() == broken,
                        "the stream's own exception, got " + thrown,
                        "let an IOException of the stream pass");
            }
        }

        @Test
        void the_reader_reads_what_the_writer_has_written() throws IOException {
            var random = new Random(406);
            var frames = IntStream.range(0, 1000).mapToObj(i -> {
                var bytes = new byte[random.nextInt(200)];
                random.nextBytes(bytes);
                return new PacketLab.Frame(Instant.ofEpochSecond(random.nextLong(1L << 32),
                        random.nextInt(1_000_000_000)),
                        113, bytes.length + random.nextInt(2000), bytes);
            }).toList();
            var file = new ByteArrayOutputStream();
            try (var writer = new PacketLab.PcapWriter(file, 113, MAX)) {
                for (var frame : frames) {
                    writer.write(frame);
                }
            }
            var read = all(file.toByteArray());
            Check.equal(1000, read.size(), "frames", "");
            for (int i = 0; i < 1000; i++) {
                Check.equal(frames.get(i).time(), read.get(i).time(), "time() of frame " + i, "");
                Check.equal(frames.get(i).originalLength(), read.get(i).originalLength(),
                        "originalLength() of frame " + i, "");
                Check.that(Arrays.equals(frames.get(i).bytes(), read.get(i).bytes()), "the bytes of frame " + i, "");
            }
        }

        private void checkEnds(Class<? extends IOException> cause, Iterator<PacketLab.Frame> frames, String what) {
            Check.equal(true, frames.hasNext(), "hasNext() before the failure, " + what,
                    "only where a record would begin may a file end");
            var thrown = Check.fails(UncheckedIOException.class, frames::next, "next(), " + what,
                    "look at the lengths before you believe them, and throw an exception: the iterator passes it on");
            Check.that(cause.isInstance(thrown.getCause()),
                    "a " + cause.getSimpleName() + " for " + what + ", got " + thrown.getCause(),
                    "an EOFException where bytes are missing, a BadCaptureException where a length cannot be");
            Check.equal(false, frames.hasNext(), "hasNext() after the failure", "");
        }

        private PacketLab.BadCaptureException refused(byte[] file, String what) {
            return Check.fails(PacketLab.BadCaptureException.class, () -> new PacketLab.PcapReader(stream(file)), what,
                    "look at the length, the magic and the major version before anything else");
        }

        private byte[] header(ByteOrder order, int magic, int snapLength, int linkType) {
            var header = ByteBuffer.allocate(24).order(order);
            return header.putInt(magic).putShort((short) 2).putShort((short) 4).putInt(0).putInt(0).putInt(snapLength)
                    .putInt(linkType).array();
        }

        private byte[] record(ByteOrder order, int seconds, int fraction, int original, byte[] bytes) {
            return join(numbers(order, seconds, fraction, bytes.length, original), bytes);
        }

        private byte[] record(String text) {
            return record(LITTLE, 1_700_000_000, 123_456, text.length(), text(text));
        }

        private byte[] numbers(ByteOrder order, int... numbers) {
            var bytes = ByteBuffer.allocate(4 * numbers.length).order(order);
            IntStream.of(numbers).forEach(bytes::putInt);
            return bytes.array();
        }

        private byte[] file(ByteOrder order, int magic, byte[]... records) {
            return join(header(order, magic, 65_535, 1), join(records));
        }

        private InputStream stream(byte[] file) {
            return new ByteArrayInputStream(file);
        }

        private List<PacketLab.Frame> all(byte[] file) throws IOException {
            var frames = new ArrayList<PacketLab.Frame>();
            new PacketLab.PcapReader(stream(file)).forEach(frames::add);
            return frames;
        }

        private PacketLab.Frame only(byte[] file) throws IOException {
            var frames = all(file);
            Check.equal(1, frames.size(), "the number of frames", "one record is one frame");
            return frames.getFirst();
        }

        private void checkBytes(byte[] expected, byte[] got) {
            Check.that(Arrays.equals(expected, got), "the frame's bytes " + kit.Bytes.shown(expected)
                    + ", got " + kit.Bytes.shown(got), "after 16 bytes of lengths and time come the captured bytes");
        }
    }

    @Step(value = 2, title = "Dissect Ethernet and IPv4")
    class Dissect_Ethernet_and_IPv4 {

        @Test
        void Ethernet_has_a_destination_a_source_and_a_type() {
            var seen = dissect("EtherType 0842", join(hex("020304050607 020000000001 0842"), text("hello")));
            var ethernet = seen.first(PacketLab.Ethernet.class);
            seen.equal("02:03:04:05:06:07", ethernet.destination().toString(), "destination()",
                    "it comes first, so that a switch can decide early");
            seen.equal("02:00:00:00:00:01", ethernet.source().toString(), "source()", "the second 6 bytes");
            seen.equal(0x0842, ethernet.etherType(), "etherType()", "2 bytes, the high one first");
            seen.layers("Ethernet, Unknown");
            seen.payload(text("hello"), "14 bytes are header");
        }

        @Test
        void an_IPv4_header_is_read_field_by_field() {
            var ip = hex("45 00 0019 1234 4000 40 fd 0000 0a000001 c0a80002");
            var seen = dissect("IPv4", ethernet(0x0800, join(checked(ip), text("hello"))));
            seen.layers("Ethernet, Ipv4, Unknown");
            var ipv4 = seen.first(PacketLab.Ipv4.class);
            seen.equal("10.0.0.1", ipv4.source().getHostAddress(), "source()", "bytes 12 to 15");
            seen.equal("192.168.0.2", ipv4.destination().getHostAddress(), "destination()", "bytes 16 to 19");
            seen.equal(EXPERIMENT, ipv4.protocol(), "protocol()", "byte 9, unsigned: & 0xff");
            seen.equal(64, ipv4.ttl(), "ttl()", "byte 8");
            seen.equal(25, ipv4.totalLength(), "totalLength()", "bytes 2 and 3");
            seen.equal(0x1234, ipv4.id(), "id()", "bytes 4 and 5");
            seen.equal(true, ipv4.dontFragment(), "dontFragment()", "bit 0x4000 of the 16 bits at 6");
            seen.equal(false, ipv4.moreFragments(), "moreFragments()", "bit 0x2000 of the 16 bits at 6");
            seen.equal(0, ipv4.fragmentOffset(), "fragmentOffset()", "the lower 13 of the 16 bits at 6");
            seen.equal(true, ipv4.checksumOk(), "checksumOk()",
                    "the sum of all 16-bit words with their carries is ffff");
            seen.payload(text("hello"), "");
            // rejects: b[i] without & 0xff
            var link = dissect("EtherType 88b5", hex("fefdfcfbfaf9 020000000080 88b5"));
            link.equal("fe:fd:fc:fb:fa:f9", link.first(PacketLab.Ethernet.class).destination().toString(),
                    "destination()",
                    "a byte of Java is signed: & 0xff");
            link.equal(0x88b5, link.first(PacketLab.Ethernet.class).etherType(), "etherType()",
                    "a byte of Java is signed: & 0xff");
            var large = hex("45 00 8f19 ffff 0000 ff fd 0000 ffffffff 80ff80ff");
            var high = dissect("IPv4", ethernet(0x0800, join(checked(large), new byte[0x8f19 - 20])));
            var fields = high.first(PacketLab.Ipv4.class);
            high.equal(0x8f19, fields.totalLength(), "totalLength()", "a byte of Java is signed: & 0xff");
            high.equal(0xffff, fields.id(), "id()", "a byte of Java is signed: & 0xff");
            high.equal(255, fields.ttl(), "ttl()", "a byte of Java is signed: & 0xff");
            high.equal(253, fields.protocol(), "protocol()", "a byte of Java is signed: & 0xff");
            high.equal("255.255.255.255", fields.source().getHostAddress(), "source()", "");
        }

        @Test
        void IPv4_packets_built_by_pcap4j_are_decoded() throws UnknownHostException {
            var random = new Random(1);
            for (int i = 0; i < 200; i++) {
                var built = new IpV4Packet.Builder().version(IpVersion.IPV4)
                        .tos(IpV4Rfc791Tos.newInstance((byte) random.nextInt()))
                        .identification((short) random.nextInt()).dontFragmentFlag(random.nextBoolean())
                        .moreFragmentFlag(random.nextBoolean()).fragmentOffset((short) random.nextInt(1 << 13))
                        .ttl((byte) random.nextInt()).protocol(IpNumber.getInstance((byte) EXPERIMENT))
                        .srcAddr(address4(random)).dstAddr(address4(random))
                        .payloadBuilder(raw(random, 1 + random.nextInt(100)))
                        .correctChecksumAtBuild(true).correctLengthAtBuild(true).build();
                var header = built.getHeader();
                var seen = dissect("what pcap4j says of it: " + header.toString().lines().skip(1)
                        .map(String::strip).collect(Collectors.joining(", ")), ethernet(0x0800, built.getRawData()));
                seen.equal(new PacketLab.Ipv4(header.getSrcAddr(), header.getDstAddr(), EXPERIMENT,
                                header.getTtlAsInt(), header.getTotalLengthAsInt(), header.getIdentificationAsInt(),
                                header.getDontFragmentFlag(), header.getMoreFragmentFlag(),
                                8 * header.getFragmentOffset(), true), seen.first(PacketLab.Ipv4.class),
                        "the layer", "the offset of a fragment counts in units of 8 bytes");
                seen.payload(built.getPayload().getRawData(), "");
            }
        }

        @Test
        void IPv4_options_belong_to_the_header() {   // rejects: 20 bytes as a matter of course
            for (int words = 5; words <= 15; words++) {
                var ip = put(ip4(EXPERIMENT, new byte[4 * words - 20 + 5]), 0, 0x40 | words);
                Arrays.fill(ip, 20, 4 * words, (byte) 1);   // options that do nothing
                System.arraycopy(text("hello"), 0, ip, 4 * words, 5);
                ip = checked(ip);
                var seen = dissect("a header of " + 4 * words + " bytes", ethernet(0x0800, ip));
                seen.layers("Ethernet, Ipv4, Unknown", "the lower 4 bits of the first byte count words of 4 bytes");
                seen.payload(text("hello"), "the lower 4 bits of the first byte count words of 4 bytes");
                seen.equal(true, seen.first(PacketLab.Ipv4.class).checksumOk(), "checksumOk()",
                        "the checksum is over the whole header, options included");
            }
        }

        @Test
        void the_total_length_ends_the_payload_where_the_frame_goes_on() {   // rejects: payload to the end of the frame
            var seen = dissect("5 bytes of payload, padded to 60",
                    pad(ethernet(0x0800, ip4(EXPERIMENT, text("hello")))));
            seen.payload(text("hello"), "Ethernet pads short frames: what is behind the total length is nobody's");
            seen.fine();
        }

        @Test
        void a_later_fragment_has_no_transport_header() {   // rejects: TCP found in the middle of a stream
            for (int flags : new int[] {0x2000, 0x2001, 0x3fff, 0x0001, 0x1fff, 0x0100}) {
                var ip = checked(put(ip4(1, hex("0800 f7ff 0000 0000 0102")), 6, flags >> 8, flags));
                var seen = dissect("a fragment of a ping, flags and offset %04x".formatted(flags),
                        ethernet(0x0800, ip));
                var ipv4 = seen.first(PacketLab.Ipv4.class);
                seen.equal((flags & 0x1fff) * 8, ipv4.fragmentOffset(), "fragmentOffset()", "in units of 8 bytes");
                seen.equal((flags & 0x2000) != 0, ipv4.moreFragments(), "moreFragments()", "");
                seen.layers(flags == 0x2000 ? "Ethernet, Ipv4, Icmp" : "Ethernet, Ipv4");
                seen.payload(flags == 0x2000 ? hex("0102") : hex("0800 f7ff 0000 0000 0102"),
                        "only the first fragment has the header of what is inside");
                seen.fine();
            }
        }

        @Test
        void a_wrong_header_checksum_is_reported_by_checksumOk_alone() {
            // rejects: carries that are not added; a sum over 20 bytes; a packet refused for its checksum
            var good = checked(put(ip4(EXPERIMENT, join(hex("94040000"), text("hello"))), 0, 0x46));
            for (int at : new int[] {1, 4, 5, 8, 9, 10, 11, 12, 15, 16, 19, 20, 21, 22, 23}) {
                var seen = dissect("byte " + at + " of the header changed",
                        ethernet(0x0800, put(good, at, good[at] ^ 0x80)));
                seen.equal(false, seen.first(PacketLab.Ipv4.class).checksumOk(), "checksumOk()",
                        "every word of the header counts, options included");
                seen.fine("a wrong checksum is told by checksumOk(), and is no problem");
            }
            var right = dissect("nothing changed", ethernet(0x0800, good));
            right.equal(true, right.first(PacketLab.Ipv4.class).checksumOk(), "checksumOk()",
                    "every word of the header counts, options included");
            var zero = dissect("a checksum of 0", ethernet(0x0800, put(good, 10, 0, 0)));
            zero.equal(false, zero.first(PacketLab.Ipv4.class).checksumOk(), "checksumOk()", "");
            zero.payload(text("hello"), "what this machine sends has no checksum yet: dissect it all the same");
            zero.fine("a packet that this machine sends may be captured before its checksum is filled in");
        }

        @Test
        void a_cut_packet_is_decoded_as_far_as_it_goes() {
            // rejects: reading before looking; a cut that is called bad; half a header that counts
            for (int words : new int[] {5, 8}) {
                var ip = checked(put(ip4(EXPERIMENT, new byte[40]), 0, 0x40 | words));
                var whole = ethernet(0x0800, ip);
                for (int kept = 0; kept <= whole.length; kept++) {
                    var seen = dissect(cut(whole, kept), "%d of %d bytes, IPv4 header of %d".formatted(
                            kept, whole.length, 4 * words));
                    int headers = kept < 14 ? 0 : kept < 14 + 4 * words ? 14 : 14 + 4 * words;
                    seen.layers(headers == 0 ? "" : headers == 14 ? "Ethernet" : "Ethernet, Ipv4, Unknown");
                    seen.fine("what the snap length has cut is no problem of the packet's");
                    seen.equal(kept < whole.length, seen.packet.truncated(), "truncated()",
                            "payloadLength is what it was on the wire");
                    seen.equal(whole.length - headers, seen.packet.payloadLength(), "payloadLength()",
                            "it is measured on the wire, and reaches beyond what was captured");
                    seen.equal(kept - headers, seen.packet.payload().length, "payload().length", "");
                }
            }
            var padded = dissect(cut(pad(ethernet(0x0800, ip4(EXPERIMENT, text("hello")))), 45),
                    "only padding was cut");
            padded.equal(false, padded.packet.truncated(), "truncated()", "the packet ends before its padding");
        }

        @Test
        void a_frame_too_short_for_its_headers_is_a_problem() {
            var whole = ethernet(0x0800, ip4(EXPERIMENT, text("hello")));
            for (int length = 0; length < whole.length; length++) {
                var seen = dissect("a frame of " + length + " bytes", Arrays.copyOf(whole, length));
                seen.layers(length < 14 ? "" : length < 34 ? "Ethernet" : "Ethernet, Ipv4, Unknown");
                seen.bad("all that was sent was captured, and it is too short");
                seen.payload(Arrays.copyOfRange(whole, length < 14 ? 0 : length < 34 ? 14 : 34, length),
                        "what follows the last whole header");
            }
        }

        @Test
        void a_total_length_beyond_the_frame_is_a_problem() {
            for (int claim : new int[] {26, 60, 1500, 65_535}) {
                var seen = dissect("total length " + claim + " of 25 bytes", ethernet(0x0800,
                        checked(put(ip4(EXPERIMENT, text("hello")), 2, claim >> 8, claim))));
                seen.layers("Ethernet, Ipv4, Unknown");
                seen.equal(claim, seen.first(PacketLab.Ipv4.class).totalLength(), "totalLength()",
                        "the claim as it is");
                seen.payload(text("hello"), "no claim makes the frame longer");
                seen.equal(false, seen.packet.truncated(), "truncated()", "nothing was cut: the header lies");
                seen.bad("a layer cannot be longer than the one around it");
            }
            // and if the frame was cut as well, the frame's own end counts
            var both = dissect(cut(ethernet(0x0800, checked(put(ip4(EXPERIMENT, text("hello")), 2, 5, 220))), 36),
                    "total length 1500, and cut");
            both.equal(5, both.packet.payloadLength(), "payloadLength()", "what is left of the frame on the wire");
            both.bad("a layer cannot be longer than the one around it");
        }

        @Test
        void a_total_length_of_0_means_the_rest_of_the_frame() {   // rejects: a problem; no payload at all
            for (int size : new int[] {5, 70_000}) {
                var seen = dissect("total length 0, as before segmentation by the network card",
                        unfinished(size));
                seen.layers("Ethernet, Ipv4, Unknown");
                seen.equal(0, seen.first(PacketLab.Ipv4.class).totalLength(), "totalLength()", "the claim as it is");
                seen.equal(size, seen.packet.payloadLength(), "payloadLength()",
                        "the network card has not filled in the length yet: the packet ends with the frame");
                seen.fine("with segmentation offload, a large packet is captured before it has a length");
            }
            var cut = dissect(cut(unfinished(70_000), 96),
                    "total length 0, cut by the snap length");
            cut.equal(70_000, cut.packet.payloadLength(), "payloadLength()", "the frame's end on the wire counts");
            cut.fine();
        }

        @Test
        void an_IPv4_header_that_contradicts_itself_is_a_problem() {
            var good = ip4(EXPERIMENT, text("hello"));
            for (int words = 0; words < 5; words++) {
                impossible("a header of " + words + " words", put(good, 0, 0x40 | words));
            }
            for (int version : new int[] {0, 5, 6, 15}) {
                impossible("version " + version, put(good, 0, version << 4 | 5));
            }
            for (int length : new int[] {1, 19}) {
                impossible("total length " + length, put(good, 2, 0, length));
            }
            impossible("total length 23, header 24", put(put(good, 0, 0x46), 2, 0, 23));
            impossible("a header of 60 bytes in a frame of 39", put(put(good, 0, 0x4f), 2, 0, 60));
        }

        @Test
        void IPv4_is_decoded_behind_VLAN_tags_and_other_link_types() {
            // rejects: offsets that count from the frame's first byte
            var ip = ip4(EXPERIMENT, text("hello"));
            found("one VLAN", 1, ethernet(0x8100, join(hex("6007 0800"), ip)));
            found("two VLANs", 1, ethernet(0x88a8, join(hex("0001 8100 0002 0800"), ip)));
            found("raw IP", 101, ip);
            found("raw IPv4", 228, ip);
            found("Linux, device any", 113, join(hex("0000 0001 0006 020000000001 0000 0800"), ip));
            found("Linux, device any, version 2", 276,
                    join(hex("0800 0000 00000001 0001 00 06 0200000000010000"), ip));
            found("BSD loopback", 0, join(hex("02000000"), ip));
        }

        @Test
        void dissect_throws_nothing_whatever_the_bytes_are() {
            fuzz(2, List.of(ethernet(0x0800, ip4(EXPERIMENT, text("hello"))),
                    ethernet(0x8100, join(hex("6007 0800"), ip4(1, new byte[12]))),
                    ethernet(0x0806, hex("0001080006040001 0200000000090a000009 0000000000000a000002"))));
        }

        /** As the kernel hands it to a network card that segments. */
        private byte[] unfinished(int payload) {
            var header = checked(put(ip4(EXPERIMENT, new byte[0]), 2, 0, 0));
            return ethernet(0x0800, join(header, new byte[payload]));
        }

        private void impossible(String what, byte[] ip) {
            var seen = dissect(what, ethernet(0x0800, ip));
            seen.layers("Ethernet");
            seen.bad("what a header says of itself must be possible: look before you believe it");
            seen.equal(ip.length, seen.packet.payloadLength(), "payloadLength()",
                    "what follows the last header that was found: all of it");
        }

        private void found(String what, int linkType, byte[] bytes) {
            var seen = dissect(new PacketLab.Frame(NOON, linkType, bytes.length, bytes), what);
            seen.equal("10.0.0.1", seen.first(PacketLab.Ipv4.class).source().getHostAddress(), "source()",
                    "positions count from offset, where this header begins; is the rest of the field right?");
            seen.equal(true, seen.first(PacketLab.Ipv4.class).checksumOk(), "checksumOk()",
                    "positions count from offset, where this header begins; is the rest of the field right?");
            seen.payload(text("hello"), "offset and end are places in the frame");
            seen.fine();
        }
    }

    @Step(value = 3, title = "Dissect TCP and UDP")
    class Dissect_TCP_and_UDP {

        @Test
        void a_TCP_header_is_read_field_by_field() {
            var seen = dissect("TCP", ethernet(0x0800, ip4(6, join(
                    hex("1234 0050 01020304 05060708 50 18 2000 0000 0000"), text("hello")))));
            seen.layers("Ethernet, Ipv4, Tcp");
            seen.equal(new PacketLab.Tcp(0x1234, 80, 0x01020304, 0x05060708, 0x18, 0x2000, -1, -1, false),
                    seen.first(PacketLab.Tcp.class), "the layer",
                            "ports, sequence, acknowledgement, offset, flags, window");
            seen.payload(text("hello"), "the header is 20 bytes long here");
            seen.fine();
            var high = dissect("TCP", ethernet(0x0800, ip4(6,
                    hex("c350 ffff fffffff0 80000000 50 10 ffff 0000 0000"))));
            high.equal(new PacketLab.Tcp(50_000, 65_535, 0xffff_fff0L, 0x8000_0000L, 0x10, 65_535, -1, -1, false),
                    high.first(PacketLab.Tcp.class), "the layer", "32 bits that are unsigned need a long");
        }

        @Test
        void each_of_the_eight_flags_has_its_bit() {
            for (int flags = 0; flags < 256; flags++) {
                var seen = dissect("flags %02x".formatted(flags), ethernet(0x0800, ip4(6,
                        put(hex("1234 0050 01020304 05060708 50 00 2000 0000 0000"), 13, flags))));
                var tcp = seen.first(PacketLab.Tcp.class);
                seen.equal(flags, tcp.flags(), "flags()", "8 bits, at byte 13");
                seen.equal((flags & 0x02) != 0, tcp.isSyn(), "isSyn()", "");
            }
        }

        @Test
        void the_data_offset_ends_the_header() {   // rejects: 20 bytes as a matter of course
            for (int words = 5; words <= 15; words++) {
                var tcp = new byte[4 * words + 5];
                System.arraycopy(hex("1234 0050 01020304 05060708 0002 2000 0000 0000"), 0, tcp, 0, 20);
                tcp[12] = (byte) (words << 4 | words);   // the lower 4 bits are reserved
                System.arraycopy(text("hello"), 0, tcp, 4 * words, 5);
                var seen = dissect("a TCP header of " + 4 * words + " bytes, reserved bits set",
                        ethernet(0x0800, ip4(6, tcp)));
                seen.layers("Ethernet, Ipv4, Tcp");
                seen.payload(text("hello"), "the upper 4 bits of byte 12 count words of 4 bytes");
                seen.fine();
            }
        }

        @Test
        void the_options_of_a_SYN_are_in_its_Tcp_layer() {
            var seen = dissect("a SYN", ethernet(0x0800, ip4(6, hex(
                    "1234 0050 01020304 00000000 a0 02 faf0 0000 0000"
                            + "0204ffd7 0402 080a0102030400000000 01 030307"))));
            seen.equal(new PacketLab.Tcp(0x1234, 80, 0x01020304, 0, 2, 0xfaf0, 65_495, 7, true),
                    seen.first(PacketLab.Tcp.class), "the layer", "tcpOptions(headerLength) reads them");
        }

        @Test
        void TCP_segments_built_by_pcap4j_are_decoded() throws UnknownHostException {
            var random = new Random(3);
            for (int i = 0; i < 200; i++) {
                var source = address4(random);
                var destination = address4(random);
                var tcp = tcp(random, source, destination);
                var built = ip4(IpNumber.TCP, source, destination, tcp);
                var seen = dissect("segment " + i + " of pcap4j", pad(ethernet(0x0800, built.getRawData())));
                checkTcp(seen, built.get(TcpPacket.class));
            }
        }

        @Test
        void the_payload_of_TCP_ends_where_IP_ends() {   // rejects: padding that is read as data
            var seen = dissect("an ACK without payload, padded to 60", pad(ethernet(0x0800, ip4(6,
                    hex("1234 0050 01020304 05060708 50 10 2000 0000 0000")))));
            seen.payload(new byte[0], "TCP has no length of its own: the total length of IP ends it, not the frame");
            seen.fine();
        }

        @Test
        void a_data_offset_below_5_or_beyond_the_packet_is_a_problem() {
            for (int words : new int[] {0, 1, 4, 7, 15}) {
                var tcp = join(hex("1234 0050 01020304 05060708 00 18 2000 0000 0000"), text("hello"));
                tcp[12] = (byte) (words << 4);
                var seen = dissect("data offset " + words + " in a segment of 25 bytes",
                        pad(ethernet(0x0800, ip4(6, tcp))));
                seen.layers("Ethernet, Ipv4");
                seen.bad("at least 5 words, and not more than IP has left");
                seen.payload(tcp, "what follows the last header that was found");
            }
        }

        @Test
        void a_TCP_header_that_was_cut_gives_no_Tcp_layer() {
            var whole = ethernet(0x0800, ip4(6,
                    join(hex("1234 0050 01020304 00000000 60 02 2000 0000 0000 020405b4"), text("hello"))));
            for (int kept = 34; kept <= whole.length; kept++) {
                var seen = dissect(cut(whole, kept), kept + " of " + whole.length + " bytes captured");
                seen.layers(kept < 58 ? "Ethernet, Ipv4" : "Ethernet, Ipv4, Tcp");
                seen.fine("what the snap length has cut is no problem of the packet's");
                seen.equal(whole.length - (kept < 58 ? 34 : 58), seen.packet.payloadLength(), "payloadLength()", "");
            }
            for (int length = 0; length < 20; length++) {
                var seen = dissect("IP with " + length + " bytes of TCP, padded to 60", pad(ethernet(0x0800,
                        ip4(6, Arrays.copyOfRange(whole, 34, 34 + length)))));
                seen.layers("Ethernet, Ipv4");
                seen.bad("padding is no header: IP ends before TCP does");
            }
        }

        @Test
        void a_UDP_header_is_read_field_by_field() {
            var seen = dissect("UDP", pad(ethernet(0x0800, ip4(17, join(hex("c350 0035 000d 0000"), text("hello"))))));
            seen.layers("Ethernet, Ipv4, Udp");
            seen.equal(new PacketLab.Udp(50_000, 53, 13), seen.first(PacketLab.Udp.class), "the layer",
                    "source, destination, length");
            seen.payload(text("hello"), "the header is 8 bytes long");
            seen.fine();
        }

        @Test
        void UDP_datagrams_built_by_pcap4j_are_decoded() throws UnknownHostException {
            var random = new Random(4);
            for (int i = 0; i < 200; i++) {
                var source = address4(random);
                var destination = address4(random);
                var built = ip4(IpNumber.UDP, source, destination, udp(random, source, destination));
                var seen = dissect("datagram " + i + " of pcap4j", pad(ethernet(0x0800, built.getRawData())));
                checkUdp(seen, built.get(UdpPacket.class));
            }
        }

        @Test
        void the_UDP_length_ends_the_payload() {
            var seen = dissect("UDP length 13, and 3 bytes more in IP", ethernet(0x0800, ip4(17,
                    join(hex("c350 0035 000d 0000"), text("hello???")))));
            seen.payload(text("hello"), "UDP may end before IP does");
            seen.fine();
        }

        @Test
        void a_UDP_length_below_8_or_beyond_the_packet_is_a_problem() {
            for (int length = 0; length < 8; length++) {
                var udp = put(join(hex("c350 0035 0000 0000"), text("hello")), 5, length);
                var seen = dissect("UDP length " + length, ethernet(0x0800, ip4(17, udp)));
                seen.layers("Ethernet, Ipv4");
                seen.bad("the length includes the header of 8 bytes");
                seen.payload(udp, "what follows the last header that was found");
            }
            for (int length : new int[] {14, 100, 65_535}) {
                var seen = dissect("UDP length " + length + " of 13 bytes", pad(ethernet(0x0800, ip4(17,
                        put(join(hex("c350 0035 0000 0000"), text("hello")), 4, length >> 8, length)))));
                seen.layers("Ethernet, Ipv4, Udp");
                seen.bad("a layer cannot be longer than the one around it");
                seen.payload(text("hello"), "no claim makes the packet longer");
            }
            var cut = dissect(cut(ethernet(0x0800, ip4(17, join(hex("c350 0035 0064 0000"), new byte[92]))), 60),
                    "UDP of 100 bytes, cut by the snap length");
            cut.fine();
            cut.equal(92, cut.packet.payloadLength(), "payloadLength()", "what was cut is no problem");
        }

        @Test
        void a_first_fragment_may_be_shorter_than_its_UDP_length() {   // rejects: a UDP length without a look at IP
            var datagram = join(hex("c350 0035 0bc0 0000"), new byte[2000]);
            var first = dissect("the first fragment of a datagram of 3008 bytes", ethernet(0x0800,
                    checked(put(ip4(17, Arrays.copyOf(datagram, 1480)), 6, 0x20, 0))));
            first.layers("Ethernet, Ipv4, Udp");
            first.equal(3008, first.first(PacketLab.Udp.class).length(), "length()", "");
            first.equal(1472, first.packet.payloadLength(), "payloadLength()", "the fragment's own part");
            first.fine("the UDP length is that of the whole datagram, of which this is a part");
            var short13 = join(hex("c350 0035 000d 0000"), text("hello???"));
            var early = dissect("UDP length 13 in a first fragment with 3 bytes more", ethernet(0x0800,
                    checked(put(ip4(17, short13), 6, 0x20, 0))));
            early.payload(text("hello"), "a UDP length that ends inside the fragment ends the payload");
            early.fine();
            var later = dissect("the second fragment", ethernet(0x0800,
                    checked(put(ip4(17, Arrays.copyOf(datagram, 1480)), 6, 0x20, 185))));
            later.layers("Ethernet, Ipv4");
            later.equal(1480, later.packet.payloadLength(), "payloadLength()", "no header: all of it is payload");
        }

        @Test
        void no_segment_and_no_datagram_makes_dissect_throw() {
            fuzz(3, List.of(
                    ethernet(0x0800, ip4(6, hex("1234 0050 01020304 00000000 a0 02 faf0 0000 0000 0204ffd7 0402"
                            + "080a0102030400000000 01 030307"))),
                    ethernet(0x0800, ip4(17, join(hex("c350 0035 000d 0000"), text("hello"))))));
        }
    }

    @Step(value = 4, title = "Dissect IPv6", further = true)
    class Dissect_IPv6 {

        @Test
        void an_IPv6_header_is_read_field_by_field() throws UnknownHostException {
            var seen = dissect("IPv6", pad(ethernet(0x86dd, join(hex("6 ab 12345 0005 fd ff"
                    + "fd000000000000000000000000000001 20010db8000000000000000000000002"), text("hello")))));
            seen.layers("Ethernet, Ipv6, Unknown");
            seen.equal(new PacketLab.Ipv6((Inet6Address) InetAddress.getByName("fd00::1"),
                            (Inet6Address) InetAddress.getByName("2001:db8::2"), EXPERIMENT, 255, 5, List.of(), false,
                                    0),
                    seen.first(PacketLab.Ipv6.class), "the layer",
                            "length at 4, next header at 6, hop limit at 7, addresses");
            seen.payload(text("hello"), "the length does not include the 40 bytes of the header");
            seen.fine();
        }

        @Test
        void IPv6_packets_built_by_pcap4j_are_decoded() throws UnknownHostException {
            var random = new Random(5);
            for (int i = 0; i < 200; i++) {
                var source = address6(random);
                var destination = address6(random);
                boolean tcp = i % 2 == 0;
                var built = new IpV6Packet.Builder().version(IpVersion.IPV6)
                        .trafficClass(IpV6SimpleTrafficClass.newInstance((byte) random.nextInt()))
                        .flowLabel(IpV6SimpleFlowLabel.newInstance(random.nextInt(1 << 20)))
                        .nextHeader(tcp ? IpNumber.TCP : IpNumber.UDP).hopLimit((byte) random.nextInt())
                        .srcAddr(source).dstAddr(destination).correctLengthAtBuild(true)
                        .payloadBuilder(tcp ? tcp(random, source, destination) : udp(random, source,
                                destination)).build();
                var seen = dissect("packet " + i + " of pcap4j", pad(ethernet(0x86dd, built.getRawData())));
                var header = built.getHeader();
                seen.equal(new PacketLab.Ipv6(header.getSrcAddr(), header.getDstAddr(), tcp ? 6 : 17,
                                header.getHopLimitAsInt(), header.getPayloadLengthAsInt(), List.of(), false, 0),
                        seen.first(PacketLab.Ipv6.class), "the layer", "");
                if (tcp) {
                    checkTcp(seen, built.get(TcpPacket.class));
                } else {
                    checkUdp(seen, built.get(UdpPacket.class));
                }
            }
        }

        @Test
        void IPv6_is_decoded_behind_VLAN_tags_and_other_link_types() {
            var ip = ip6(17, UDP);
            for (var frame : List.of(new PacketLab.Frame(NOON, 101, ip.length, ip),
                    new PacketLab.Frame(NOON, 229, ip.length, ip),
                    frame(ethernet(0x8100, join(hex("6007 86dd"), ip))))) {
                var seen = dissect(frame, "link type " + frame.linkType());
                seen.equal("fd00:0:0:0:0:0:0:1", seen.first(PacketLab.Ipv6.class).source().getHostAddress(),
                        "source()",
                        "positions count from offset, where this header begins; is the rest of the field right?");
                seen.payload(text("hello"), "");
            }
        }

        @Test
        void extension_headers_are_skipped_and_listed() {
            // rejects: lengths that count bytes; a list that forgets one
            var seen = dissect("hop-by-hop of 8 bytes, routing of 32, options of 2048", ethernet(0x86dd, ip6(0, join(
                    hex("2b00 000000000000"), hex("3c03"), new byte[30], hex("11ff"), new byte[2046], UDP))));
            seen.layers("Ethernet, Ipv6, Udp", "their length counts units of 8 bytes, without the first one");
            var ipv6 = seen.first(PacketLab.Ipv6.class);
            seen.equal(List.of(0, 43, 60), ipv6.extensions(), "extensions()", "each one says what the next one is");
            seen.equal(17, ipv6.nextHeader(), "nextHeader()", "what the last of them says");
            seen.payload(text("hello"), "their length counts units of 8 bytes, without the first one");
            seen.fine();
            var authentication = dissect("an authentication header of 24 bytes", ethernet(0x86dd, ip6(51, join(
                    hex("1104"), new byte[22], UDP))));
            var likely = "its length counts units of 4 bytes, without the first two (RFC 4302)";
            authentication.layers("Ethernet, Ipv6, Udp", likely);
            authentication.payload(text("hello"), likely);
            authentication.equal(List.of(51), authentication.first(PacketLab.Ipv6.class).extensions(),
                    "extensions()", "");
        }

        @Test
        void a_fragment_header_gives_the_offset_of_the_fragment() {
            // rejects: its reserved byte as a length; flags as part of the offset; UDP found in later fragments
            for (int field : new int[] {0x0001, 0x0000, 0x0006}) {
                var seen = dissect("a first fragment, offset and flags %04x".formatted(field), ethernet(0x86dd, ip6(44,
                        join(hex("11ff"), hex("%04x".formatted(field)), hex("01020304"), UDP))));
                seen.layers("Ethernet, Ipv6, Udp",
                        "it always has 8 bytes: its second byte is reserved, and is no length");
                var ipv6 = seen.first(PacketLab.Ipv6.class);
                seen.equal(true, ipv6.fragment(), "fragment()", "there is a fragment header");
                seen.equal(0, ipv6.fragmentOffset(), "fragmentOffset()", "the lower 3 bits are no part of it");
                seen.equal(List.of(44), ipv6.extensions(), "extensions()", "");
            }
            var chain = dissect("a first fragment whose fragment header is followed by destination options",
                    ethernet(0x86dd, ip6(44, join(hex("3c00 0001 01020304"), hex("1100 000000000000"), UDP))));
            chain.layers("Ethernet, Ipv6, Udp", "after the header of a first fragment the chain goes on");
            chain.equal(List.of(44, 60), chain.first(PacketLab.Ipv6.class).extensions(), "extensions()",
                    "after the header of a first fragment the chain goes on");
            for (int field : new int[] {0x0008, 0x0009, 0x05c9, 0xfff8}) {
                var seen = dissect("a later fragment, offset and flags %04x".formatted(field), ethernet(0x86dd, ip6(44,
                        join(hex("0000"), hex("%04x".formatted(field)), hex("01020304"), UDP))));
                seen.layers("Ethernet, Ipv6", "behind a later fragment's header is payload");
                var ipv6 = seen.first(PacketLab.Ipv6.class);
                seen.equal(field & 0xfff8, ipv6.fragmentOffset(), "fragmentOffset()",
                        "13 bits of units of 8 bytes: with the lower 3 bits cleared they are bytes");
                seen.equal(0, ipv6.nextHeader(), "nextHeader()", "what the fragment header says");
                seen.equal(List.of(44), ipv6.extensions(), "extensions()",
                        "behind a later fragment's header is payload");
                seen.payload(UDP, "behind a later fragment's header is payload");
                seen.fine();
            }
            var udp = dissect("UDP length 3008 in a first fragment", ethernet(0x86dd, ip6(44,
                    join(hex("1100 0001 01020304"), hex("c350 0035 0bc0 0000"), new byte[100]))));
            udp.layers("Ethernet, Ipv6, Udp");
            udp.equal(100, udp.packet.payloadLength(), "payloadLength()", "");
            udp.fine("the UDP length is that of the whole datagram, of which this is a part");
        }

        @Test
        void after_next_header_59_the_rest_is_payload() {
            var seen = dissect("next header 59",
                    ethernet(0x86dd, ip6(60, join(hex("3b00 000000000000"), text("hello")))));
            seen.layers("Ethernet, Ipv6");
            seen.equal(59, seen.first(PacketLab.Ipv6.class).nextHeader(), "nextHeader()", "");
            seen.payload(text("hello"), "");
            seen.fine();
        }

        @Test
        void sixteen_extension_headers_are_read_and_seventeen_are_a_problem() {
            for (int count : new int[] {15, 16, 17, 100}) {
                var chain = new byte[8 * count];
                for (int i = 0; i < count; i++) {
                    chain[8 * i] = (byte) (i == count - 1 ? 17 : 60);
                }
                var seen = dissect(count + " extension headers", ethernet(0x86dd, ip6(60, join(chain, UDP))));
                if (count <= 16) {
                    seen.layers("Ethernet, Ipv6, Udp");
                    seen.equal(count, seen.first(PacketLab.Ipv6.class).extensions().size(), "extensions().size()", "");
                    seen.fine();
                } else {
                    seen.layers("Ethernet", "nobody sends so many: stop at the limit");
                    seen.bad("nobody sends so many: stop at the limit");
                }
            }
        }

        @Test
        void a_chain_that_leaves_the_packet_is_a_problem() {
            for (var chain : List.of(hex("11ff 000000000000"), hex("1100"), hex("3c00000000000000"),
                    hex("3c00000000000000 11"))) {
                var seen = dissect("hop-by-hop header in a chain of " + chain.length + " bytes, and padding",
                        join(ethernet(0x86dd, ip6(0, chain)), new byte[100]));
                seen.layers("Ethernet", "each extension header must lie inside the packet, padding is none");
                seen.bad("each extension header must lie inside the packet, padding is none");
                seen.payload(join(ip6(0, chain)), "what follows the last header that was found, without the padding");
            }
        }

        @Test
        void a_chain_cut_by_the_snap_length_is_no_problem() {
            var whole = ethernet(0x86dd, ip6(0, join(hex("3c00 000000000000"), hex("1101"), new byte[14], UDP)));
            for (int kept = 14; kept <= whole.length; kept++) {
                var seen = dissect(cut(whole, kept), kept + " of " + whole.length + " bytes captured");
                seen.layers(kept < 78 ? "Ethernet" : kept < 86 ? "Ethernet, Ipv6" : "Ethernet, Ipv6, Udp");
                seen.fine();
                seen.equal(kept < whole.length, seen.packet.truncated(), "truncated()", "");
            }
        }

        @Test
        void an_IPv4_mapped_address_stays_an_Inet6Address() {   // rejects: InetAddress.getByAddress, and a cast
            var seen = dissect("from ::ffff:10.0.0.1", ethernet(0x86dd,
                    put(ip6(17, UDP), 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1)));
            seen.layers("Ethernet, Ipv6, Udp");
            Check.equal("00000000000000000000ffff0a000001", HexFormat.of().formatHex(
                    seen.first(PacketLab.Ipv6.class).source().getAddress()), "source().getAddress()",
                    "Inet6Address.getByAddress keeps it");
        }

        @Test
        void a_payload_length_beyond_the_frame_is_a_problem() {
            var seen = dissect("payload length 1500 of 13 bytes", ethernet(0x86dd, put(ip6(17, UDP), 4, 5, 220)));
            seen.layers("Ethernet, Ipv6, Udp");
            seen.payload(text("hello"), "no claim makes the frame longer");
            seen.bad("a layer cannot be longer than the one around it");
            var cut = dissect(cut(ethernet(0x86dd, put(ip6(EXPERIMENT, new byte[1500]), 4, 5, 220)), 100),
                    "1500 bytes, cut");
            cut.equal(1500, cut.packet.payloadLength(), "payloadLength()", "what was cut is no problem");
            cut.fine();
        }

        @Test
        void a_jumbogram_ends_with_its_frame() {   // rejects: a payload length of 0 that is believed
            var jumbo = put(ip6(0, join(hex("1100 c204 00011180"), hex("c350 0035 0000 0000"))), 4, 0, 0);
            var seen = dissect("a jumbogram: payload length 0, hop-by-hop option c2 (RFC 2675)",
                    ethernet(0x86dd, join(jumbo, new byte[70_000])));
            seen.equal(List.of(0), seen.first(PacketLab.Ipv6.class).extensions(), "extensions()",
                    "payload length 0 and a hop-by-hop header: the packet ends with the frame");
            var empty = dissect("payload length 0 without a hop-by-hop header, padded",
                    pad(ethernet(0x86dd, ip6(59, new byte[0]))));
            empty.payload(new byte[0], "without a hop-by-hop header 0 is a length like any other");
            empty.fine();
        }

        @Test
        void a_version_that_is_not_6_is_a_problem() {
            for (int first : new int[] {0x00, 0x45, 0x70}) {
                var seen = dissect("first byte %02x".formatted(first), ethernet(0x86dd, put(ip6(17, UDP), 0, first)));
                seen.layers("Ethernet");
                seen.bad("the upper 4 bits of the first byte are the version");
            }
            for (int length = 0; length < 40; length++) {
                var seen = dissect("IPv6 of " + length + " bytes",
                        ethernet(0x86dd, Arrays.copyOf(ip6(17, UDP), length)));
                seen.layers("Ethernet");
                seen.bad("the header has 40 bytes");
            }
        }

        @Test
        void no_chain_makes_dissect_throw_or_loop() {
            fuzz(4, List.of(ethernet(0x86dd, ip6(0, join(hex("3c00 000000000000"), hex("2c01"), new byte[14],
                    hex("3300 0000 01020304"), hex("1104"), new byte[22], UDP))), ethernet(0x86dd, ip6(17, UDP))));
        }
    }

    @Step(value = 5, title = "Track flows", further = true)
    class Track_flows {

        @Test
        void both_directions_belong_to_one_flow() {   // rejects: a key of source and destination
            var talk = new Talk();
            talk.out("SYN", 1000, 0).in("SYN ACK", 5000, 0).out("ACK", 1001, 0);
            var flow = talk.only();
            Check.equal(6, flow.protocol(), "protocol()", "");
            Check.equal("10.0.0.1:40000", flow.client().toString(), "client()", "");
            Check.equal("10.0.0.2:80", flow.server().toString(), "server()", "");
        }

        @Test
        void packets_and_payload_are_counted_for_each_direction() {
            var talk = new Talk().handshake();
            talk.out("ACK", 1001, 5).in("ACK", 5001, 11).out("ACK", 1006, 0).out("ACK", 1006, 7);
            talk.counts(5, 2, 12, 11);
        }

        @Test
        void bytes_that_the_capture_cut_are_counted() {
            var talk = new Talk();
            talk.add(packet(CLIENT, SERVER, new PacketLab.Tcp(40_000, 80, 1000, 0, 0x10, 100, -1, -1, false),
                    NOON, 1460, 64));
            talk.counts(1, 0, 1460, 0);
        }

        @Test
        void the_sender_of_the_SYN_is_the_client() {   // rejects: the lower port, the lower address
            for (var ends : List.of(List.of("10.0.0.1:40000", "10.0.0.2:80"), List.of("10.0.0.2:80", "10.0.0.1:40000"),
                    List.of("10.0.0.1:80", "10.0.0.2:40000"), List.of("200.0.0.1:1", "100.0.0.1:1"))) {
                var talk = new Talk(endpoint(ends.get(0)), endpoint(ends.get(1)));
                talk.handshake();
                Check.equal(ends, List.of(talk.only().client().toString(), talk.only().server().toString()),
                        "client() and server()", "neither port nor address tells: the SYN does");
                talk.counts(2, 1, 0, 0);
            }
        }

        @Test
        void the_receiver_of_a_SYN_ACK_is_the_client() {
            var talk = new Talk();
            talk.in("SYN ACK", 5000, 0).out("ACK", 1001, 0).out("ACK", 1001, 5);
            Check.equal("10.0.0.1:40000", talk.only().client().toString(), "client()",
                    "a SYN ACK is an answer: who gets it has asked");
            talk.state(PacketLab.Handshake.MIDSTREAM);
            talk.counts(2, 1, 5, 0);
            Check.equal(Optional.empty(), talk.only().rtt(), "rtt()", "nobody saw the SYN");
        }

        @Test
        void without_a_handshake_the_first_sender_is_the_client() {
            var talk = new Talk(endpoint("10.0.0.2:80"), endpoint("10.0.0.1:40000"));
            talk.out("ACK", 7000, 100).in("ACK", 9000, 0);
            Check.equal("10.0.0.2:80", talk.only().client().toString(), "client()", "nothing else is known");
            talk.state(PacketLab.Handshake.MIDSTREAM);
        }

        @Test
        void the_state_follows_the_handshake() {
            var talk = new Talk();
            talk.out("SYN", 1000, 0).state(PacketLab.Handshake.SYN_SEEN);
            talk.in("SYN ACK", 5000, 0).state(PacketLab.Handshake.SYN_ACK_SEEN);
            talk.out("ACK", 1001, 0).state(PacketLab.Handshake.ESTABLISHED);
            talk.out("ACK", 1001, 5).in("ACK", 5001, 0).state(PacketLab.Handshake.ESTABLISHED);
            var quick = new Talk();   // the client's ACK brings data
            quick.out("SYN", 1000, 0).in("SYN ACK", 5000, 0).out("ACK", 1001, 5);
            quick.state(PacketLab.Handshake.ESTABLISHED);
            // rejects: a state that any packet moves on
            var half = new Talk();
            half.out("SYN", 1000, 0).out("ACK", 1001, 0).state(PacketLab.Handshake.SYN_SEEN);
            var other = new Talk();
            other.out("SYN", 1000, 0).in("SYN ACK", 5000, 0).in("ACK", 5001,
                    3).state(PacketLab.Handshake.SYN_ACK_SEEN);
            var refused = new Talk();
            refused.out("SYN", 1000, 0).in("ACK", 5000, 0).state(PacketLab.Handshake.SYN_SEEN);
        }

        @Test
        void the_RTT_is_the_time_from_the_SYN_to_the_SYN_ACK() {   // rejects: SYN ACK to ACK; the whole handshake
            var talk = new Talk();
            talk.out("SYN", 1000, 0);
            Check.equal(Optional.empty(), talk.only().rtt(), "rtt() after the SYN", "");
            talk.after(12_345_678).in("SYN ACK", 5000, 0);
            talk.after(700_000).out("ACK", 1001, 0).after(5_000_000).in("ACK", 5001, 9);
            Check.equal(Optional.of(Duration.ofNanos(12_345_678)), talk.only().rtt(), "rtt()",
                    "the time between those two frames, and no other");
            var twice = new Talk();
            twice.out("SYN", 1000, 0).after(12_000_000).in("SYN ACK", 5000, 0);
            twice.after(1_000_000_000).in("SYN ACK", 5000, 0).out("ACK", 1001, 0);
            twice.state(PacketLab.Handshake.ESTABLISHED);
            Check.equal(Optional.of(Duration.ofMillis(12)), twice.only().rtt(), "rtt()", "the first answer counts");
            twice.repeated(1);
        }

        @Test
        void after_a_second_SYN_there_is_no_RTT() {   // rejects: the first or the last SYN; RFC 6298 section 3
            var talk = new Talk();
            talk.out("SYN", 1000, 0).after(1_000_000_000).out("SYN", 1000, 0).after(12_000_000).in("SYN ACK", 5000, 0);
            talk.out("ACK", 1001, 0).state(PacketLab.Handshake.ESTABLISHED);
            Check.equal(Optional.empty(), talk.only().rtt(), "rtt()",
                    "nobody knows which of the two SYNs was answered");
            talk.repeated(1);
            talk.counts(3, 1, 0, 0);
            var fresh = new Talk();   // another attempt on the same ports, with a number of its own
            fresh.out("SYN", 1000, 0).after(60_000_000_000L).in("ACK", 77, 0);
            fresh.out("SYN", 9000, 0).after(12_000_000).in("SYN ACK", 5000, 0);
            Check.equal(Optional.empty(), fresh.only().rtt(), "rtt() after two SYNs with different numbers",
                    "nobody knows which of the two SYNs was answered");
        }

        @Test
        void only_FINs_from_both_sides_close_the_flow() {   // rejects: the first FIN is the end
            var talk = new Talk().handshake();
            talk.out("FIN ACK", 1001, 0).state(PacketLab.Handshake.ESTABLISHED);
            talk.in("ACK", 5001, 500).state(PacketLab.Handshake.ESTABLISHED);
            talk.in("FIN ACK", 5501, 0).state(PacketLab.Handshake.CLOSED);
            talk.out("ACK", 1002, 0).state(PacketLab.Handshake.CLOSED);
            talk.counts(4, 3, 0, 500);
            var twice = new Talk().handshake();
            twice.out("FIN ACK", 1001, 0).out("FIN ACK", 1001, 0).state(PacketLab.Handshake.ESTABLISHED);
            var middle = new Talk();
            middle.in("ACK", 5001, 0).in("FIN ACK", 5001, 0).out("FIN ACK", 1001, 0).state(PacketLab.Handshake.CLOSED);
        }

        @Test
        void a_RST_from_either_side_resets_the_flow() {
            var refused = new Talk();
            refused.out("SYN", 1000, 0).in("RST ACK", 0, 0).state(PacketLab.Handshake.RESET);
            var cut = new Talk().handshake();
            cut.out("ACK", 1001, 5).out("RST", 1006, 0).state(PacketLab.Handshake.RESET);
            cut.in("ACK", 5001, 3).state(PacketLab.Handshake.RESET);
            var first = new Talk();
            first.out("RST", 1000, 0).state(PacketLab.Handshake.RESET);
            var late = new Talk().handshake();
            late.out("FIN ACK", 1001, 0).in("FIN ACK", 5001, 0).out("RST", 1002, 0).state(PacketLab.Handshake.CLOSED);
        }

        @Test
        void a_SYN_after_CLOSED_or_RESET_begins_another_flow() {
            // rejects: ports that belong to one connection for ever
            var talk = new Talk().handshake();
            talk.out("FIN ACK", 1001, 0).in("FIN ACK", 5001, 0).out("ACK", 1002, 0);
            talk.after(1_000_000).out("SYN", 90_000, 0).after(2_000_000).in("SYN ACK", 70_000, 0).out("ACK", 90_001,
                    0);
            talk.out("RST", 90_001, 0).out("SYN", 100, 0);
            var flows = talk.table.flows();
            Check.equal("[CLOSED, RESET, SYN_SEEN]", flows.stream().map(PacketLab.Flow::state).toList().toString(),
                    "the states of the flows", "a new SYN on ports whose connection is over is a new connection");
            Check.equal("[4, 3, 1]", flows.stream().map(PacketLab.Flow::packetsOut).toList().toString(),
                    "packetsOut() of the flows", "what comes now is counted for the new one");
            Check.equal(Optional.of(Duration.ofMillis(2)), flows.get(1).rtt(), "rtt() of the second flow", "");
            Check.equal(0L, flows.get(1).retransmissions(), "retransmissions() of the second flow",
                    "its sequence numbers are its own");
        }

        @Test
        void a_SYN_on_an_open_flow_belongs_to_that_flow() {
            var talk = new Talk().handshake();
            talk.out("SYN", 1000, 0).state(PacketLab.Handshake.ESTABLISHED);
            Check.equal(1, talk.table.flows().size(), "flows().size()",
                    "a SYN that the network delays is no new flow");
            talk.repeated(1);
        }

        @Test
        void a_segment_with_nothing_new_is_a_retransmission() {   // rejects: seq below the last one; ACKs that count
            var talk = new Talk().handshake();
            talk.out("ACK", 1001, 100).out("ACK", 1101, 100).repeated(0);
            talk.out("ACK", 1001, 100).repeated(1);
            talk.out("ACK", 1101, 100).repeated(2);
            talk.out("ACK", 1151, 50).repeated(3);
            talk.out("ACK", 1151, 51).repeated(3);   // its last byte is new
            talk.out("ACK", 1202, 0).out("ACK", 1202, 0).out("ACK", 1000, 0).repeated(3);   // no payload, no number
            talk.out("ACK", 1502, 100).repeated(3);   // after a gap
            talk.out("FIN ACK", 1602, 0).repeated(3).out("FIN ACK", 1602, 0).repeated(4);
        }

        @Test
        void each_direction_has_its_own_sequence_numbers() {
            var talk = new Talk().handshake();
            talk.out("ACK", 1_000_000, 100).in("ACK", 5001, 100).out("ACK", 1_000_100, 100).in("ACK", 5101,
                    100).repeated(0);
        }

        @Test
        void sequence_numbers_wrap_around() {   // rejects: longs that are compared as they are
            var talk = new Talk();
            talk.out("SYN", 0xffff_ffe0L, 0).in("SYN ACK", 0xffff_ffffL, 0).out("ACK", 0xffff_ffe1L, 0);
            talk.out("ACK", 0xffff_ffe1L, 64).repeated(0);   // reaches to 0x21
            talk.out("ACK", 0x21, 10).repeated(0);
            talk.out("ACK", 0xffff_ffe1L, 64).repeated(1);
            talk.in("ACK", 0, 10).repeated(1);
            talk.out("ACK", 0x7fff_0000L, 10).out("ACK", 0x8000_0010L, 10).repeated(1);
        }

        @Test
        void the_same_addresses_with_swapped_ports_are_another_flow() {
            // rejects: addresses and ports that are sorted apart
            var talk = new Talk(endpoint("10.0.0.1:5000"), endpoint("10.0.0.2:80"));
            talk.out("SYN", 1, 0);
            var swapped = new Talk(talk.table, endpoint("10.0.0.2:5000"), endpoint("10.0.0.1:80"));
            swapped.out("SYN", 1, 0).in("SYN ACK", 1, 0);
            talk.in("SYN ACK", 1, 0);
            Check.equal("[10.0.0.1:5000, 10.0.0.2:5000]",
                    talk.table.flows().stream().map(flow -> flow.client().toString()).toList().toString(),
                    "the clients of the flows", "an endpoint is an address and its port, and both go together");
            Check.equal("[1, 1]", talk.table.flows().stream().map(PacketLab.Flow::packetsIn).toList().toString(),
                    "packetsIn() of the flows", "");
        }

        @Test
        void UDP_flows_have_the_state_NONE() {
            var talk = new Talk();
            talk.out("SYN", 1000, 0);
            for (var ends : List.of(List.of(CLIENT, SERVER), List.of(SERVER, CLIENT))) {
                var from = ends.get(0);
                talk.add(packet(from, ends.get(1), new PacketLab.Udp(from.port(), ends.get(1).port(), 30), talk.now,
                        22, 22));
            }
            Check.equal(2, talk.table.flows().size(), "flows().size() with TCP and UDP between the same endpoints",
                    "the protocol belongs to the key");
            var udp = talk.table.flows().getLast();
            Check.equal(17, udp.protocol(), "protocol()", "");
            Check.equal(PacketLab.Handshake.NONE, udp.state(), "state() of UDP", "only TCP shakes hands");
            Check.equal(CLIENT, udp.client(), "client() of UDP", "the first sender");
            Check.equal(List.of(1L, 1L, 22L, 22L), List.of(udp.packetsOut(), udp.packetsIn(), udp.bytesOut(),
                    udp.bytesIn()), "packets and bytes, out and in", "");
        }

        @Test
        void IPv6_flows_are_followed() {
            var talk = new Talk(endpoint("[fd00::1]:40000"), endpoint("[fd00::2]:80"));
            talk.handshake().state(PacketLab.Handshake.ESTABLISHED);
            talk.counts(2, 1, 0, 0);
        }

        @Test
        void a_packet_that_is_neither_TCP_nor_UDP_is_ignored() {
            var talk = new Talk();
            var frame = new PacketLab.Frame(NOON, 1, 60, new byte[60]);
            var ip = new PacketLab.Ipv4((Inet4Address) CLIENT.address(), (Inet4Address) SERVER.address(), 1, 64, 46, 1,
                    false, false, 0, true);
            for (var layers : List.<List<PacketLab.Layer>>of(List.of(), List.of(ip),
                    List.of(ip, new PacketLab.Icmp(4, 8, 0)), List.of(new PacketLab.Unknown(127, "link type")))) {
                talk.table.add(new PacketLab.Packet(frame, layers, 0, 60, ""));
            }
            Check.equal(List.of(), talk.table.flows(), "flows()", "such packets are passed over");
            talk.handshake().state(PacketLab.Handshake.ESTABLISHED);
        }

        @Test
        void an_idle_flow_is_evicted_by_the_time_of_the_frames() {   // rejects: the clock of this machine
            var talk = new Talk();
            talk.handshake();
            var other = new Talk(talk.table, endpoint("10.0.0.3:1"), endpoint("10.0.0.4:2"));
            other.now = talk.now.plus(IDLE);
            other.out("SYN", 1, 0);
            Check.equal(2, talk.table.flows().size(), "flows().size() when a flow was idle for just a minute", "");
            other.after(1).out("SYN", 1, 0);
            Check.equal(List.of(endpoint("10.0.0.3:1")),
                    talk.table.flows().stream().map(PacketLab.Flow::client).toList(),
                    "the clients of the flows, a nanosecond later", "call expire() with the time of the packet");
            Check.equal(1L, talk.table.evicted(), "evicted()", "");
            var alone = new Talk();
            alone.handshake().after(IDLE.toNanos() + 1).out("ACK", 1001, 5);
            Check.equal(List.of(PacketLab.Handshake.MIDSTREAM, 1L),
                    List.of(alone.only().state(), alone.only().packetsOut()),
                    "state() and packetsOut() of a flow whose next packet comes after the idle time",
                    "expire() before you look for the flow: an old one is not continued");
            var forever = new Talk(new PacketLab.FlowTable(10, Duration.ofSeconds(Long.MAX_VALUE)), CLIENT, SERVER);
            forever.handshake().after(IDLE.toNanos()).out("ACK", 1001, 5).state(PacketLab.Handshake.ESTABLISHED);
            talk.now = other.now;
            talk.out("ACK", 1001, 5);
            Check.equal(PacketLab.Handshake.MIDSTREAM, talk.table.flows().getLast().state(),
                    "state() of the flow that goes on", "what was forgotten begins anew");
            var busy = new Talk();
            busy.handshake();
            for (int i = 0; i < 5; i++) {
                busy.after(IDLE.toNanos()).out("ACK", 1001 + i, 1);
            }
            Check.equal(PacketLab.Handshake.ESTABLISHED, busy.only().state(), "state()",
                    "touch() an entry at each packet, so that it is not forgotten");
            Check.equal(NOON, busy.only().first(), "first()", "touch() notes the times");
            Check.equal(busy.now, busy.only().last(), "last()", "touch() notes the times");
        }

        @Test
        void of_too_many_flows_the_one_idle_longest_is_evicted() {
            var table = new PacketLab.FlowTable(1000, Duration.ofDays(1));
            var first = new Talk(table, endpoint("10.9.9.9:9"), SERVER);
            first.out("SYN", 1, 0);
            for (int i = 0; i < 1000; i++) {
                if (i == 500) {
                    first.out("ACK", 2, 1);   // so it is not idle longest
                }
                new Talk(table, endpoint("10.0.1.1:" + (1000 + i)), SERVER).out("SYN", 1, 0);
            }
            Check.equal(1000, table.flows().size(), "flows().size() after 1001 flows in a table of 1000", "");
            Check.equal(1L, table.evicted(), "evicted()", "");
            Check.equal("10.9.9.9:9", table.flows().getFirst().client().toString(), "the first flow",
                    "the one that goes is idle longest: touch() an entry at each packet");
            Check.equal("10.0.1.1:1001", table.flows().get(1).client().toString(), "the second flow", "");
        }
    }

    @Step(value = 6, title = "Capture live", further = true)
    class Capture_live {

        /** JNA's own cleaning thread starts with its first native thing, and lives while there is one. */
        private static final Optional<Memory> NATIVE = touchJna();
        private static final Optional<Loopback> LOOPBACK = Loopback.find();

        @Test
        void without_libpcap_every_call_says_so() throws Exception {
            // rejects: UnsatisfiedLinkError alone: the second call gets a NoClassDefFoundError
            System.setProperty(Apart.LIBRARY, "/nonexistent");   // pcap4j reads it once, when it is loaded
            try {
                var capture = (Callable<?>) new Apart().loadClass(OneCapture.class.getName())
                        .getDeclaredConstructor().newInstance();
                for (int call = 1; call <= 2; call++) {
                    var likely = "explained() makes one of every LinkageError";
                    var thrown = Check.fails(IOException.class, capture::call,
                            "call " + call + " of capture() on a machine without libpcap", likely);
                    Check.that(String.valueOf(thrown.getMessage()).contains("libpcap"),
                            "a message that says libpcap, got " + thrown.getMessage(), likely);
                }
            } finally {
                System.clearProperty(Apart.LIBRARY);
            }
        }

        @Test
        @NeedsLoopback
        void an_unknown_device_or_invalid_filter_is_named_and_leaves_nothing_open() {
            var thrown = Check.fails(IOException.class,
                    () -> closeLater(PacketLab.capture("nope0", "", MAX, frame -> {})),
                    "capture() on nope0", "explained() makes an IOException of what pcap4j throws");
            Check.that(String.valueOf(thrown.getMessage()).contains("nope0"),
                    "a message that names nope0, got " + thrown.getMessage(),
                            "tell explained() what you were about to do");
            // rejects: a handle that stays open; the check for leaks sees its socket
            var invalid = Check.fails(IOException.class, () -> capture("tcp portt 1", MAX, frame -> {}),
                    "capture() with the filter tcp portt 1", "explained() makes an IOException of what pcap4j throws");
            Check.that(String.valueOf(invalid.getMessage()).contains("tcp portt 1"),
                    "a message that names tcp portt 1, got " + invalid.getMessage(),
                            "tell explained() what you were about to do");
        }

        @Test
        @NeedsLoopback
        void close_returns_on_an_idle_device() throws Exception {
            // rejects: a read that only a packet wakes; a close() of the handle while the loop holds its lock
            var wire = new Datagrams();
            closed(capture(wire.filter(), MAX, frame -> {}), "at once");
            var caught = new LinkedBlockingQueue<PacketLab.Frame>();
            var capture = capture(wire.filter(), MAX, caught::add);
            wire.send("one");
            next(caught);
            Thread.sleep(30);   // lets the capture be idle
            closed(capture, "on an idle device");
            closed(capture, "again");
        }

        @Test
        @NeedsLoopback
        void each_frame_is_delivered_with_its_own_bytes_time_and_lengths() throws Exception {
            // rejects: no thread of its own; a buffer that must be full first; one array for all frames
            var wire = new Datagrams();
            var caught = new LinkedBlockingQueue<PacketLab.Frame>();
            capture(wire.filter(), MAX, caught::add);
            var frames = new ArrayList<PacketLab.Frame>();
            for (var text : List.of("one", "two", "three")) {
                wire.send(text);
                frames.add(next(caught));
            }
            for (int i = 0; i < 3; i++) {
                var frame = frames.get(i);
                Check.equal(List.of("one", "two", "three").get(i), wire.payload(frame), "the end of frame " + (i + 1),
                        "each frame has bytes of its own");
                Check.equal(loopback().linkType, frame.linkType(), "linkType()", "the handle's getDlt().value()");
                Check.equal(frame.bytes().length, frame.originalLength(), "originalLength()", "nothing was cut");
            }
        }

        @Test
        @NeedsLoopback
        void frames_are_kept_while_the_sink_is_busy() throws Exception {
            // rejects: immediate mode with the whole snap length: some 16 frames; the clock of the delivery
            var wire = new Datagrams();
            var caught = new LinkedBlockingQueue<PacketLab.Frame>();
            var busy = new CompletableFuture<Void>();
            var before = Instant.now();
            capture(wire.filter(), MAX, frame -> {
                caught.add(frame);
                busy.join();
            });
            wire.send("first");
            var frames = new ArrayList<>(List.of(next(caught)));
            for (int i = 0; i < 300; i++) {
                wire.sendQuietly("datagram " + i);
            }
            var after = Instant.now();
            History.note("sent 300 datagrams while the sink was busy with the first one");
            busy.complete(null);
            while (frames.size() < 301) {
                var frame = caught.poll(Patience.millis(), TimeUnit.MILLISECONDS);
                Check.that(frame != null, "all 301 frames to be delivered, got " + frames.size(),
                        "in immediate mode each frame takes a slot of the largest possible size, and few fit");
                Check.equal("datagram " + (frames.size() - 1), wire.payload(frame),
                        "the end of frame " + (frames.size() + 1), "one frame at a time, in their order");
                frames.add(frame);
            }
            for (var frame : frames) {
                Check.that(frame.time().isAfter(before.minusMillis(5)) && frame.time().isBefore(after.plusMillis(5)),
                        "a time() between " + before + " and " + after + ", got " + frame.time(),
                        "getTimestamp() of the handle: when the kernel saw the frame, not when the sink was given it");
            }
        }

        @Test
        @NeedsLoopback
        void a_TCP_connection_is_found_in_a_live_capture() throws Exception {
            var table = new PacketLab.FlowTable(10, Duration.ofDays(1));
            var caught = new LinkedBlockingQueue<PacketLab.Frame>();
            try (var listener = new ServerSocket(0, 1, LOCALHOST)) {
                capture("tcp port " + listener.getLocalPort(), MAX, caught::add);
                try (var client = new Socket(LOCALHOST, listener.getLocalPort()); var server = listener.accept()) {
                    client.getOutputStream().write(text("hello"));
                    server.getInputStream().readNBytes(5);
                    server.getOutputStream().write(text("good morning"));
                    client.getInputStream().readNBytes(12);
                }
                for (boolean closed = false; !closed; ) {
                    table.add(PacketLab.dissect(next(caught)));
                    closed = table.flows().getFirst().state() == PacketLab.Handshake.CLOSED;
                }
                var flow = table.flows().getFirst();
                Check.equal(1, table.flows().size(), "flows().size()", "");
                Check.equal(listener.getLocalPort(), flow.server().port(), "server().port()", "");
                Check.equal("5 12", flow.bytesOut() + " " + flow.bytesIn(), "bytesOut() and bytesIn()", "");
                Check.that(flow.rtt().isPresent(), "an RTT of the handshake", "begin to capture before you return");
            }
        }

        @Test
        @NeedsLoopback
        void only_frames_that_pass_the_filter_are_delivered_and_all_pass_an_empty_one() throws Exception {
            var wanted = new Datagrams();
            var other = new Datagrams();
            var caught = new LinkedBlockingQueue<PacketLab.Frame>();
            capture(wanted.filter(), MAX, caught::add);
            other.send("another");
            wanted.send("one");
            Check.equal("one", wanted.payload(next(caught)), "the end of the first frame",
                    "setFilter() before the loop");
            var wire = new Datagrams();
            var found = new CompletableFuture<Void>();
            capture("", MAX, frame -> {
                if (wire.payload(frame).equals("this as well")) {
                    found.complete(null);
                }
            });
            Await.until(() -> {   // where much passes by, one may be dropped
                wire.sendQuietly("this as well");
                return found.isDone();
            }, "that a datagram is delivered when the filter is empty", "an empty filter is a filter for pcap, too");
        }

        @Test
        @NeedsLoopback
        void the_snap_length_cuts_the_bytes_and_not_the_original_length() throws Exception {
            var wire = new Datagrams();
            var caught = new LinkedBlockingQueue<PacketLab.Frame>();
            capture(wire.filter(), 60, caught::add);
            wire.send("x".repeat(1000));
            var frame = next(caught);
            Check.that(frame.bytes().length > 40 && frame.bytes().length <= 60,
                    "bytes().length of 60 or a few less, got " + frame.bytes().length, "snaplen() of the handle");
            Check.equal(1000 + loopback().headers(), frame.originalLength(), "originalLength()",
                    "the handle's getOriginalLength() belongs to the frame");
        }

        @Test
        @NeedsLoopback
        void a_failing_sink_is_counted_and_the_capture_goes_on() throws Exception {
            var wire = new Datagrams();
            var caught = new LinkedBlockingQueue<PacketLab.Frame>();
            var capture = capture(wire.filter(), MAX, frame -> {
                caught.add(frame);
                switch (wire.payload(frame)) {
                    case "bad" -> throw new IllegalStateException("the sink of the test");
                    case "worse" -> throw new AssertionError("the sink of the test");
                    default -> {}
                }
            });
            for (var text : List.of("good", "bad", "good", "worse", "good")) {
                wire.send(text);
                Check.equal(text, wire.payload(next(caught)), "the end of the next frame",
                        "catch whatever the sink throws, an Error as well");
            }
            capture.close();
            Check.equal(5L, capture.stats().delivered(), "stats().delivered()", "every frame that the sink was given");
            Check.equal(2L, capture.stats().sinkFailures(), "stats().sinkFailures()",
                    "pcap4j swallows what a listener throws, so count it yourself: exceptions and errors");
        }

        @Test
        @NeedsLoopback
        void close_waits_for_the_sink_and_then_nothing_is_delivered() throws Exception {
            var wire = new Datagrams();
            var entered = new LinkedBlockingQueue<PacketLab.Frame>();
            var leave = new CompletableFuture<Void>();
            var left = new AtomicInteger();
            var capture = capture(wire.filter(), MAX, frame -> {
                entered.add(frame);
                leave.join();
                left.incrementAndGet();
            });
            wire.send("one");
            next(entered);
            var closing = PendingCall.start(() -> {
                capture.close();
                return left.get();
            });
            closing.awaitWaiting();   // or a close() that does not wait returns
            leave.complete(null);
            int done = Await.value(closing.outcome(), "that close() returns when the sink has",
                    "it waits for the thread of the capture");
            Check.that(done > 0, "close() to wait until the sink has returned, it returned before",
                    "breakLoop() only asks: call joinThread()");
            var before = capture.stats();
            wire.send("two");
            Check.equal(0, entered.size(), "frames delivered after close()",
                    "close the handle before close() returns");
            Check.equal(before, capture.stats(), "stats() after close()", "they stay as they were");
        }

        @Test
        @NeedsLoopback
        void the_sink_may_close_its_capture() throws Exception {   // rejects: a thread that waits for itself
            var wire = new Datagrams();
            var own = new CompletableFuture<PacketLab.Capture>();
            var returned = new CompletableFuture<Void>();
            own.complete(capture(wire.filter(), MAX, frame -> {
                own.join().close();
                returned.complete(null);
            }));
            wire.send("one");
            Await.value(returned, "that close() returns when the sink calls it",
                    "a thread cannot wait for its own end");
            closed(own.join(), "after that");
        }

        @Test
        @NeedsLoopback
        void two_captures_are_independent() throws Exception {
            var one = new Datagrams();
            var two = new Datagrams();
            var caughtOne = new LinkedBlockingQueue<PacketLab.Frame>();
            var caughtTwo = new LinkedBlockingQueue<PacketLab.Frame>();
            var first = capture(one.filter(), MAX, caughtOne::add);
            capture(two.filter(), MAX, caughtTwo::add);
            one.send("one");
            two.send("two");
            Check.equal("one", one.payload(next(caughtOne)), "what the first one delivers", "");
            first.close();
            two.send("three");
            Check.equal("two", two.payload(next(caughtTwo)), "what the second one delivers", "");
            Check.equal("three", two.payload(next(caughtTwo)), "what it delivers when the first one is closed", "");
            Check.equal(1L, first.stats().delivered(), "stats().delivered() of the first one", "");
        }

        private PacketLab.Capture capture(String filter, int snapLength, Consumer<PacketLab.Frame> sink)
                throws IOException {
            return closeLater(PacketLab.capture(loopback().device, filter, snapLength, sink));
        }

        private PacketLab.Frame next(BlockingQueue<PacketLab.Frame> caught) throws InterruptedException {
            var frame = caught.poll(Patience.millis(), TimeUnit.MILLISECONDS);
            if (frame == null) {
                Await.until(() -> !caught.isEmpty(), "that a frame is delivered",
                        "give the handle a timeoutMillis(), loop on a thread of your own, and deliver each frame");
            }
            return frame;
        }

        private void closed(PacketLab.Capture capture, String when) throws InterruptedException {
            var closed = new CompletableFuture<Void>();
            Thread.startVirtualThread(() -> {
                capture.close();
                closed.complete(null);
            });
            Await.value(closed, "that close() returns, " + when,
                    "no timeout ends a read of libpcap: breakLoop() wakes the thread, which then closes the handle");
        }

        private static Optional<Memory> touchJna() {
            try {
                return Optional.of(new Memory(8));
            } catch (LinkageError e) {
                return Optional.empty();   // then nothing is captured either
            }
        }

        /** UDP from one socket to another, which never reads. */
        private static final class Datagrams {
            private final DatagramSocket from;
            private final DatagramSocket to;

            Datagrams() throws IOException {
                from = closeLater(new DatagramSocket(0, LOCALHOST));
                to = closeLater(new DatagramSocket(0, LOCALHOST));
            }

            String filter() {
                return "udp dst port " + to.getLocalPort();
            }

            void sendQuietly(String text) {
                try {
                    from.send(new DatagramPacket(text(text), text.length(), to.getLocalSocketAddress()));
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            }

            void send(String text) {
                sendQuietly(text);
                History.note("sent a datagram: " + (text.length() > 40 ? text.length() + " bytes" : text));
            }

            String payload(PacketLab.Frame frame) {
                int headers = Math.min(loopback().headers(), frame.bytes().length);
                return string(Arrays.copyOfRange(frame.bytes(), headers, frame.bytes().length));
            }
        }

        /** Marks the tests that capture, which not every machine allows. */
        @Retention(RetentionPolicy.RUNTIME)
        @EnabledIf(value = "canCapture", disabledReason = "to capture needs libpcap (on Debian and Ubuntu: "
                + "apt install libpcap0.8), and root or the capability CAP_NET_RAW")
        private @interface NeedsLoopback {}

        private static boolean canCapture() {
            return LOOPBACK.isPresent();
        }

        private static Loopback loopback() {
            return LOOPBACK.orElseThrow();
        }

        /** Where to capture. */
        private record Loopback(String device, int linkType) {

            static Optional<Loopback> find() {
                try {
                    for (var device : Pcaps.findAllDevs()) {
                        if (device.isLoopBack() && device.getName().startsWith("lo")) {
                            var handle = device.openLive(100, PcapNetworkInterface.PromiscuousMode.NONPROMISCUOUS,
                                    100);
                            int linkType = handle.getDlt().value();
                            handle.close();
                            return Optional.of(new Loopback(device.getName(), linkType));
                        }
                    }
                    return Optional.empty();
                } catch (LinkageError | PcapNativeException e) {
                    return Optional.empty();   // no libpcap, or no right to capture
                }
            }

            /** Before the payload of UDP: Ethernet on Linux, a number of 4 bytes elsewhere. */
            int headers() {
                return (linkType == 1 ? 14 : 4) + 20 + 8;
            }
        }
    }

    /** Loads the lab and pcap4j once more, apart from those that the other tests use. */
    private static final class Apart extends ClassLoader {

        static final String LIBRARY = "org.pcap4j.core.pcapLibName";

        Apart() {
            super(PacketLabTest.class.getClassLoader());
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            boolean anew = name.startsWith("PacketLab") || name.startsWith("org.pcap4j.");
            if (!anew) {
                return super.loadClass(name, resolve);
            }
            var loaded = findLoadedClass(name);
            return loaded != null ? loaded : findClass(name);
        }

        @Override
        protected Class<?> findClass(String name) throws ClassNotFoundException {
            try (var file = getResourceAsStream(name.replace('.', '/') + ".class")) {
                var bytes = file.readAllBytes();
                return defineClass(name, bytes, 0, bytes.length);
            } catch (IOException e) {
                throw new ClassNotFoundException(name, e);
            }
        }
    }

    /** What {@link Apart} is asked for. */
    public static final class OneCapture implements Callable<Void> {
        @Override
        public Void call() throws IOException {
            PacketLab.capture("lo", "", 100, frame -> {}).close();
            return null;
        }
    }

    // What the tests are made of.

    private static final InetAddress LOCALHOST = InetAddress.ofLiteral("127.0.0.1");
    private static final Duration IDLE = Duration.ofMinutes(1);
    private static final PacketLab.Endpoint CLIENT = endpoint("10.0.0.1:40000");
    private static final PacketLab.Endpoint SERVER = endpoint("10.0.0.2:80");
    private static final byte[] UDP = join(hex("c350 0035 000d 0000"), text("hello"));

    /** Spaces are for the reader. */
    private static byte[] hex(String digits) {
        return HexFormat.of().parseHex(digits.replace(" ", ""));
    }

    private static byte[] text(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }

    private static String string(byte[] bytes) {
        return new String(bytes, StandardCharsets.US_ASCII);
    }

    private static byte[] join(byte[]... parts) {
        var all = new ByteArrayOutputStream();
        for (var part : parts) {
            all.writeBytes(part);
        }
        return all.toByteArray();
    }

    /** A copy with other bytes at a place. */
    private static byte[] put(byte[] bytes, int at, int... values) {
        var copy = bytes.clone();
        for (int i = 0; i < values.length; i++) {
            copy[at + i] = (byte) values[i];
        }
        return copy;
    }

    private static byte[] ethernet(int type, byte[] inside) {
        return join(hex("020000000002 020000000001 %04x".formatted(type)), inside);
    }

    /** To the 60 bytes that Ethernet asks for. */
    private static byte[] pad(byte[] frame) {
        var padded = Arrays.copyOf(frame, Math.max(60, frame.length));
        Arrays.fill(padded, frame.length, padded.length, (byte) 0xee);
        return padded;
    }

    private static byte[] ip4(int protocol, byte[] payload) {
        int length = 20 + payload.length;
        return checked(join(hex("4500 %04x 0001 0000 40 %02x 0000 0a000001 0a000002".formatted(length, protocol)),
                payload));
    }

    private static byte[] ip6(int next, byte[] payload) {
        return join(hex("60000000 %04x %02x 40".formatted(payload.length, next)
                + "fd000000000000000000000000000001 fd000000000000000000000000000002"), payload);
    }

    /** A copy with the right header checksum (RFC 1071). */
    private static byte[] checked(byte[] ip) {
        var copy = put(ip, 10, 0, 0);
        int sum = 0;
        for (int at = 0; at < 4 * (ip[0] & 0x0f); at += 2) {
            sum += (copy[at] & 0xff) << 8 | copy[at + 1] & 0xff;
            sum = (sum & 0xffff) + (sum >> 16);
        }
        return put(copy, 10, ~sum >> 8, ~sum);
    }

    private static PacketLab.Frame frame(byte[] bytes) {
        return new PacketLab.Frame(NOON, 1, bytes.length, bytes);
    }

    /** What a snap length leaves of a frame. */
    private static PacketLab.Frame cut(byte[] bytes, int kept) {
        return new PacketLab.Frame(NOON, 1, bytes.length, Arrays.copyOf(bytes, kept));
    }

    private static Seen dissect(String what, byte[] bytes) {
        return dissect(frame(bytes), what);
    }

    private static Seen dissect(PacketLab.Frame frame, String what) {
        try {
            return new Seen(what, frame, PacketLab.dissect(frame));
        } catch (RuntimeException e) {
            if (e instanceof UnsupportedOperationException) {
                throw e;   // still to do
            }
            tell(what, frame);
            var failure = History.fail("expected that dissect() throws nothing, whatever the bytes are, got\n  " + e,
                    "ask has() before you read");
            failure.setStackTrace(e.getStackTrace());
            throw failure;
        }
    }

    private static void tell(String what, PacketLab.Frame frame) {
        History.note(what);
        var bytes = frame.bytes();
        History.note("frame of %d bytes, link type %d%s".formatted(frame.originalLength(), frame.linkType(),
                bytes.length < frame.originalLength() ? ", of which " + bytes.length + " were captured" : ""));
        for (int at = 0; at < Math.min(bytes.length, 96); at += 16) {
            History.note("%4d  %s".formatted(at, HexFormat.ofDelimiter(" ").formatHex(
                    bytes, at, Math.min(at + 16, bytes.length))));
        }
    }

    /** What dissect() has made of a frame. A check that fails shows the frame. */
    private record Seen(String what, PacketLab.Frame frame, PacketLab.Packet packet) {

        void equal(Object expected, Object got, String name, String likely) {
            if (!Objects.equals(expected, got)) {
                tell(what, frame);
                Check.equal(expected, got, name, likely);
            }
        }

        void layers(String names) {
            layers(names, "a layer is found if its whole header was captured and makes sense");
        }

        /** Their names, in order. */
        void layers(String names, String likely) {
            equal(names, packet.layers().stream().map(layer -> layer.getClass().getSimpleName())
                    .collect(Collectors.joining(", ")), "the layers",
                    likely + (packet.problem().isEmpty() ? "" : "\n  problem() says: " + packet.problem()));
        }

        <L extends PacketLab.Layer> L first(Class<L> type) {
            var layer = packet.layer(type);
            if (layer.isEmpty()) {
                tell(what, frame);
                Check.that(false, "a layer " + type.getSimpleName() + ", got " + packet.layers(),
                        packet.problem().isEmpty() ? "add() it" : "problem() says: " + packet.problem());
            }
            return layer.orElseThrow();
        }

        void payload(byte[] expected, String likely) {
            boolean inside = packet.payloadLength() >= 0 && packet.payloadOffset() <= frame.bytes().length;
            var got = inside ? packet.payload() : new byte[0];
            if (packet.payloadLength() != expected.length || !Arrays.equals(expected, got)) {
                tell(what, frame);
                Check.that(false, "the payload " + kit.Bytes.shown(expected) + "\n  got " + kit.Bytes.shown(got)
                        + ", payloadOffset " + packet.payloadOffset() + ", payloadLength " + packet.payloadLength(),
                                likely);
            }
        }

        void fine() {
            fine("this is an ordinary packet");
        }

        void fine(String likely) {
            if (!packet.problem().isEmpty()) {
                tell(what, frame);
                Check.that(false, "no problem(), got: " + packet.problem(), likely);
            }
        }

        void bad(String likely) {
            if (packet.problem().isEmpty()) {
                tell(what, frame);
                Check.that(false, "a problem(), got none", likely);
            }
        }
    }

    /** Mutations of good frames, and frames of noise: nothing is thrown, and nothing is claimed that is not there. */
    private static void fuzz(long seed, List<byte[]> good) {
        var random = new Random(seed);
        for (int i = 0; i < 40_000; i++) {
            var bytes = good.get(i % good.size()).clone();
            if (i % 5 == 0) {
                int header = Math.min(bytes.length, 15);   // so that the noise is taken for IP
                bytes = Arrays.copyOf(bytes, header + random.nextInt(100));
                for (int at = header; at < bytes.length; at++) {
                    bytes[at] = (byte) random.nextInt();
                }
            }
            for (int change = random.nextInt(6); change > 0; change--) {
                bytes[random.nextInt(bytes.length)] = (byte) random.nextInt(random.nextBoolean() ? 256 : 16);
            }
            if (seed < 4 && bytes.length > 13) {
                System.arraycopy(good.get(i % good.size()), 12, bytes, 12, 2);   // no IPv6 yet
            }
            bytes = Arrays.copyOf(bytes, random.nextInt(bytes.length + 1));
            int original = bytes.length + (random.nextBoolean() ? 0 : random.nextInt(3000));
            int linkType = seed == 4 && random.nextInt(50) == 0 ? 101 : 1;
            var seen = dissect(new PacketLab.Frame(NOON, linkType, original, bytes),
                    "noise, number " + i);
            var packet = seen.packet();
            boolean inside = packet.payloadOffset() >= 0 && packet.payloadOffset() <= bytes.length
                    && packet.payloadLength() >= 0 && packet.payloadOffset() + packet.payloadLength() <= original;
            if (!inside) {   // to word this for every frame would take longer than to dissect it
                seen.equal(true, inside, "whether payloadOffset %d and payloadLength %d are inside the frame"
                        .formatted(packet.payloadOffset(), packet.payloadLength()),
                        "no header that was found and no payload may reach beyond the frame");
            }
        }
    }

    // Packets of pcap4j.

    private static Inet4Address address4(Random random) throws UnknownHostException {
        var bytes = new byte[4];
        random.nextBytes(bytes);
        return (Inet4Address) InetAddress.getByAddress(bytes);
    }

    private static Inet6Address address6(Random random) throws UnknownHostException {
        var bytes = new byte[16];
        random.nextBytes(bytes);
        return Inet6Address.getByAddress(null, bytes, -1);
    }

    private static UnknownPacket.Builder raw(Random random, int length) {
        var bytes = new byte[length];
        random.nextBytes(bytes);
        return new UnknownPacket.Builder().rawData(bytes);
    }

    private static IpV4Packet ip4(IpNumber protocol, Inet4Address source, Inet4Address destination,
            Packet.Builder payload) {
        return new IpV4Packet.Builder().version(IpVersion.IPV4).tos(IpV4Rfc791Tos.newInstance((byte) 0)).ttl((byte) 64)
                .protocol(protocol).srcAddr(source).dstAddr(destination).payloadBuilder(payload)
                .correctChecksumAtBuild(true).correctLengthAtBuild(true).build();
    }

    private static TcpPacket.Builder tcp(Random random, InetAddress source, InetAddress destination) {
        var builder = new TcpPacket.Builder().srcPort(TcpPort.getInstance((short) random.nextInt()))
                .dstPort(TcpPort.getInstance((short) random.nextInt())).sequenceNumber(random.nextInt())
                .acknowledgmentNumber(random.nextInt()).window((short) random.nextInt()).syn(random.nextBoolean())
                .ack(random.nextBoolean()).fin(random.nextBoolean())
                .rst(random.nextBoolean()).psh(random.nextBoolean())
                .urg(random.nextBoolean()).srcAddr(source).dstAddr(destination).paddingAtBuild(true)
                .correctChecksumAtBuild(true).correctLengthAtBuild(true);
        if (random.nextBoolean()) {
            builder.options(List.of(new TcpMaximumSegmentSizeOption.Builder().maxSegSize((short) random.nextInt())
                    .correctLengthAtBuild(true).build()));
        }
        return random.nextInt(4) == 0 ? builder : builder.payloadBuilder(raw(random, 1 + random.nextInt(100)));
    }

    private static UdpPacket.Builder udp(Random random, InetAddress source, InetAddress destination) {
        return new UdpPacket.Builder().srcPort(UdpPort.getInstance((short) random.nextInt()))
                .dstPort(UdpPort.getInstance((short) random.nextInt())).srcAddr(source).dstAddr(destination)
                .payloadBuilder(raw(random,
                        1 + random.nextInt(100))).correctChecksumAtBuild(true).correctLengthAtBuild(true);
    }

    private static void checkTcp(Seen seen, TcpPacket built) {
        var header = built.getHeader();
        int mss = header.getOptions().stream().filter(TcpMaximumSegmentSizeOption.class::isInstance)
                .map(TcpMaximumSegmentSizeOption.class::cast).mapToInt(TcpMaximumSegmentSizeOption::getMaxSegSizeAsInt)
                .findFirst().orElse(-1);
        int flags = (header.getUrg() ? 0x20 : 0) | (header.getAck() ? 0x10 : 0) | (header.getPsh() ? 0x08 : 0)
                | (header.getRst() ? 0x04 : 0) | (header.getSyn() ? 0x02 : 0) | (header.getFin() ? 0x01 : 0);
        seen.equal(new PacketLab.Tcp(header.getSrcPort().valueAsInt(), header.getDstPort().valueAsInt(),
                        header.getSequenceNumberAsLong(), header.getAcknowledgmentNumberAsLong(), flags,
                        header.getWindowAsInt(), mss, -1, false), seen.first(PacketLab.Tcp.class), "the layer",
                "pcap4j, which has built it, says so");
        seen.payload(built.getPayload() == null ? new byte[0] : built.getPayload().getRawData(), "");
        seen.fine();
    }

    private static void checkUdp(Seen seen, UdpPacket built) {
        var header = built.getHeader();
        seen.equal(new PacketLab.Udp(header.getSrcPort().valueAsInt(), header.getDstPort().valueAsInt(),
                        header.getLengthAsInt()), seen.first(PacketLab.Udp.class), "the layer",
                "pcap4j, which has built it, says so");
        seen.payload(built.getPayload().getRawData(), "");
        seen.fine();
    }

    // Flows.

    private static PacketLab.Endpoint endpoint(String text) {
        int colon = text.lastIndexOf(':');
        return new PacketLab.Endpoint(InetAddress.ofLiteral(text.substring(0, colon).replaceAll("[\\[\\]]", "")),
                Integer.parseInt(text.substring(colon + 1)));
    }

    private static PacketLab.Packet packet(PacketLab.Endpoint from, PacketLab.Endpoint to, PacketLab.Layer transport,
            Instant time, int payload, int captured) {
        var ip = from.address() instanceof Inet4Address source
                ? new PacketLab.Ipv4(source, (Inet4Address) to.address(), transport instanceof PacketLab.Tcp ? 6 : 17,
                        64,
                        40 + payload, 1, false, false, 0, true)
                : new PacketLab.Ipv6((Inet6Address) from.address(), (Inet6Address) to.address(), 6, 64, 20 + payload,
                        List.of(), false, 0);
        var frame = new PacketLab.Frame(time, 101, 100 + payload, new byte[100 + Math.min(payload, captured)]);
        return new PacketLab.Packet(frame, List.of(ip, transport), 100, payload, "");
    }

    /** Who says what to whom, and when; the table hears it. */
    private static final class Talk {

        private final PacketLab.FlowTable table;
        private final PacketLab.Endpoint left;
        private final PacketLab.Endpoint right;
        /** What each end sends next, and so what the other one acknowledges. */
        private final Map<PacketLab.Endpoint, Long> next = new HashMap<>();
        private Instant now = NOON;

        Talk() {
            this(CLIENT, SERVER);
        }

        Talk(PacketLab.Endpoint left, PacketLab.Endpoint right) {
            this(new PacketLab.FlowTable(100, IDLE), left, right);
        }

        Talk(PacketLab.FlowTable table, PacketLab.Endpoint left, PacketLab.Endpoint right) {
            this.table = table;
            this.left = left;
            this.right = right;
        }

        Talk after(long nanos) {
            now = now.plusNanos(nanos);
            return this;
        }

        Talk out(String flags, long sequence, int payload) {
            return say(left, right, flags, sequence, payload);
        }

        Talk in(String flags, long sequence, int payload) {
            return say(right, left, flags, sequence, payload);
        }

        /** Each side has sent a SYN, with the numbers 1000 and 5000, and all is acknowledged. */
        Talk handshake() {
            return out("SYN", 1000, 0).in("SYN ACK", 5000, 0).out("ACK", 1001, 0);
        }

        private Talk say(PacketLab.Endpoint from, PacketLab.Endpoint to, String flags, long sequence, int payload) {
            int bits = (flags.contains("ACK") ? 0x10 : 0) | (flags.contains("SYN") ? 0x02 : 0)
                    | (flags.contains("FIN") ? 0x01 : 0) | (flags.contains("RST") ? 0x04 : 0);
            long acknowledgement = flags.contains("ACK") ? next.getOrDefault(to, 0L) : 0;
            next.put(from, sequence + payload + (bits & 1) + (bits >> 1 & 1) & 0xffff_ffffL);
            var tcp = new PacketLab.Tcp(from.port(), to.port(), sequence, acknowledgement, bits, 1000, -1, -1, false);
            History.note("%10.3f ms  %s > %s  %s, seq %d, ack %d, %d bytes".formatted(
                    Duration.between(NOON, now).toNanos() / 1e6, from, to, flags, sequence, acknowledgement,
                    payload));
            table.add(packet(from, to, tcp, now, payload, payload));
            return this;
        }

        void add(PacketLab.Packet packet) {
            History.note("a packet of " + packet.payloadLength() + " bytes of payload");
            table.add(packet);
        }

        PacketLab.Flow only() {
            Check.equal(1, table.flows().size(), "flows().size()", "one conversation is one flow, in both directions");
            return table.flows().getFirst();
        }

        Talk state(PacketLab.Handshake expected) {
            Check.equal(expected, only().state(), "state()",
                    "each state follows from the one before and a flag of the right side");
            return this;
        }

        Talk repeated(long expected) {
            Check.equal(expected, only().retransmissions(), "retransmissions()",
                    "a segment counts if it takes numbers and none is new; of two ints a - b tells who is ahead");
            return this;
        }

        void counts(long packetsOut, long packetsIn, long bytesOut, long bytesIn) {
            var flow = only();
            Check.equal("%d/%d packets, %d/%d bytes".formatted(packetsOut, packetsIn, bytesOut, bytesIn),
                    "%d/%d packets, %d/%d bytes".formatted(flow.packetsOut(), flow.packetsIn(), flow.bytesOut(),
                            flow.bytesIn()), "what was sent by client/server", table.evicted() == 0
                            ? "payload only, as long as it was on the wire"
                            : "a flow was forgotten: expire() by the time of the frame at hand, years ago perhaps");
        }
    }
}
