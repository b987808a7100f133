///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 406's benchmark: dissect() beside pcap4j and tcpdump, and the flow table
//SOURCES ../../solutions/406-raw-packets/PacketLab.java
//SOURCES ../bench/*.java

import module java.base;
import module java.management;

import bench.Arguments;
import bench.Figures;
import org.pcap4j.packet.EthernetPacket;
import org.pcap4j.packet.TcpPacket;

/**
 * How many packets a second are taken apart: one small packet from memory again and again, then a capture file of a
 * million packets, read and dissected, and packets of ten thousand flows counted in the flow table. Contestants take
 * turns in one run; only their ratio means anything. All is measured in processor time, that of the thread or of
 * tcpdump's process, which a busy machine changes less than the time on the wall.
 */
public final class PacketLabBench {

    private static final String USAGE = """
            ./jbang bench 406              dissect() beside pcap4j and tcpdump, and the flow table
                --rounds N                 measured rounds (5)
                --seconds N                length of one measurement in memory (1)
                --packets N                packets in the capture file (1000000)
            ./jbang bench 406 --help       this text""";

    private static final int FLOWS = 10_000;
    private static final int BATCH = 1000;
    private static final int WARM_UP = 5;   // times as long as what is measured
    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

    /** Does its work once, and says how many packets that was. */
    private interface Work {
        long run() throws Exception;
    }

    /** @param clock the processor time, in nanoseconds, of whoever does the work */
    private record Contestant(String name, Work work, LongSupplier clock, List<Double> rates) {
        Contestant(String name, Work work) {
            this(name, work, THREADS::getCurrentThreadCpuTime, new ArrayList<>());
        }

        /** At least once. */
        void measure(int seconds) throws Exception {
            long start = clock.getAsLong();
            long packets = 0;
            do {
                packets += work.run();
            } while (clock.getAsLong() - start < seconds * 1_000_000_000L);
            rates.add(packets * 1e9 / (clock.getAsLong() - start));
        }
    }

    private static long sink;   // what is computed is used, or the compiler would leave it out

    public static void main(String[] args) throws Exception {
        var given = Arguments.of(args, USAGE);
        int rounds = given.number("--rounds", 5, 99_999_999);
        int seconds = given.number("--seconds", 1, 99_999_999);
        int packets = given.number("--packets", 1_000_000, 99_999_999);
        given.end();
        IO.println("%d rounds, after one to warm up; %d processors\n".formatted(
                rounds, Runtime.getRuntime().availableProcessors()));
        inMemory(rounds, seconds);
        flows(rounds, seconds);
        fromFile(rounds, packets);
    }

    private static void inMemory(int rounds, int seconds) throws Exception {
        var bytes = tcp(0, 0, 5);
        var frame = new PacketLab.Frame(Instant.EPOCH, 1, bytes.length, bytes);
        compare("one TCP packet of " + bytes.length + " bytes, packets a second of processor time", 4,
                rounds, seconds, List.of(
                        new Contestant("dissect()", () -> {
                            for (int i = 0; i < BATCH; i++) {
                                sink += PacketLab.dissect(frame).layer(PacketLab.Tcp.class).orElseThrow().sequence();
                            }
                            return BATCH;
                        }),
                        new Contestant("pcap4j", () -> {
                            for (int i = 0; i < BATCH; i++) {
                                sink += pcap4j(bytes);
                            }
                            return BATCH;
                        })));
    }

    private static long pcap4j(byte[] bytes) throws Exception {
        return EthernetPacket.newPacket(bytes, 0, bytes.length).get(TcpPacket.class).getHeader()
                .getSequenceNumberAsLong();
    }

    private static void flows(int rounds, int seconds) throws Exception {
        var packets = IntStream.range(0, 4 * FLOWS).mapToObj(i -> tcp(i % FLOWS, i / FLOWS, 5))
                .map(bytes -> PacketLab.dissect(new PacketLab.Frame(Instant.EPOCH, 1, bytes.length, bytes))).toList();
        compare("the flow table, %,d flows in turn, packets a second of processor time".formatted(FLOWS), 0, rounds,
                seconds, List.of(
                new Contestant("add()", () -> {
                    var table = new PacketLab.FlowTable(FLOWS, Duration.ofDays(1));
                    for (int round = 0; round < 10; round++) {
                        packets.forEach(table::add);
                    }
                    return 10L * packets.size();
                })));
    }

    private static void fromFile(int rounds, int packets) throws Exception {
        var file = Files.createTempFile("bench406-", ".pcap");
        try {
            write(file, packets);
            var contestants = new ArrayList<>(List.of(
                    new Contestant("dissect()", () -> {
                        long count = 0;
                        try (var reader = new PacketLab.PcapReader(Files.newInputStream(file))) {
                            for (var frame : reader) {
                                sink += PacketLab.dissect(frame).layer(PacketLab.Tcp.class).orElseThrow().sequence();
                                count++;
                            }
                        }
                        return count;
                    }),
                    new Contestant("pcap4j", () -> {
                        long count = 0;
                        try (var reader = new PacketLab.PcapReader(Files.newInputStream(file))) {
                            for (var frame : reader) {
                                sink += pcap4j(frame.bytes());
                                count++;
                            }
                        }
                        return count;
                    })));
            if (processorTime("tcpdump --version").isPresent()) {
                var spent = new AtomicLong();
                contestants.add(new Contestant("tcpdump -nr", () -> {
                    spent.addAndGet(processorTime("tcpdump -nr " + file).orElseThrow());
                    return packets;
                }, spent::get, new ArrayList<>()));
            } else {
                IO.println("(tcpdump is not here)");
            }
            compare("a capture file of %,d packets, %,d MB, packets a second of processor time".formatted(
                    packets, Files.size(file) / 1_000_000), 0, rounds, 0, contestants);
        } finally {
            Files.delete(file);
        }
    }

    /** In nanoseconds, of a command that succeeds: the shell's "times" tells it of its children, in its second line. */
    private static OptionalLong processorTime(String command) throws IOException, InterruptedException {
        var shell = new ProcessBuilder("sh", "-c", command + " >/dev/null 2>&1 && times").start();
        var lines = shell.inputReader().readAllLines();
        if (shell.waitFor() != 0) {
            return OptionalLong.empty();
        }
        double seconds = 0;
        for (var time : lines.getLast().split(" ")) {   // 0m1.250000s for the program, the same for the kernel
            var parts = time.split("[ms]");
            seconds += 60 * Double.parseDouble(parts[0]) + Double.parseDouble(parts[1]);
        }
        return OptionalLong.of((long) (seconds * 1e9));
    }

    private static void write(Path file, int packets) throws IOException {
        var random = new Random(406);
        try (var writer = new PacketLab.PcapWriter(Files.newOutputStream(file), 1, PacketLab.MAX_CAPTURED)) {
            for (int i = 0; i < packets; i++) {
                var bytes = tcp(i % FLOWS, i / FLOWS, random.nextInt(300));
                writer.write(new PacketLab.Frame(Instant.EPOCH.plusNanos(1000L * i), 1, bytes.length, bytes));
            }
        }
    }

    /** The n-th segment of a flow, with sequence numbers that go on. */
    private static byte[] tcp(int flow, int n, int payload) {
        var packet = ByteBuffer.allocate(54 + payload);
        packet.putLong(0x0200_0000_0002_0200L).putInt(1).putShort((short) 0x0800);
        packet.put((byte) 0x45).put((byte) 0).putShort((short) (40 + payload)).putInt(0x0001_4000);
        packet.putShort((short) 0x4006).putShort((short) 0).putInt(0x0a01_0000 + (flow >> 4)).putInt(0x0a00_0001);
        packet.putShort((short) (40_000 + (flow & 15))).putShort((short) 80).putInt(1 + 300 * n).putInt(1);
        packet.putShort((short) 0x5010).putShort((short) 0xfaf0);
        return packet.array();
    }

    /** All in turn, in changing order; ratios are those of the first to each of the others. A target of 0 is none. */
    private static void compare(String what, double target, int rounds, int seconds, List<Contestant> contestants)
            throws Exception {
        for (int round = 0; round <= rounds; round++) {
            for (var contestant : round % 2 == 0 ? contestants : contestants.reversed()) {
                contestant.measure(round == 0 ? WARM_UP * seconds : seconds);
            }
        }
        IO.println(what);
        for (var contestant : contestants) {
            contestant.rates.removeFirst();
            IO.println("  %-15s%s".formatted(contestant.name, Figures.spread("%,.0f", contestant.rates)));
        }
        for (var peer : contestants.subList(1, contestants.size())) {
            var ratios = IntStream.range(0, rounds)
                    .mapToObj(i -> contestants.getFirst().rates.get(i) / peer.rates.get(i)).toList();
            IO.println("  %-15s%s%s".formatted(contestants.size() > 2 ? "to " + peer.name : "ratio",
                    Figures.spread("%.2f", ratios), target > 0 ? ", target %.1f".formatted(target) : ""));
        }
        IO.println();
    }
}
