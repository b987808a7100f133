///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//SOURCES ../../../solutions/418-dns-lookups/DnsLookup.java

import module java.base;
import module java.management;

/**
 * Decodes a million mutated messages: what is thrown, how long the slowest
 * takes, and how much the largest allocates. Mutations.java [SEED [COUNT]]
 */
class Mutations {

    // responses of bind and dnsmasq
    private static final List<String> CAPTURED = List.of(
            "12348500000100020000000005616c696173036c61620474657374000001000"
                    + "1c00c000500010000012c000603777777c012c02c00010001000001"
                    + "2c00040a00000a",
            "123485030001000000010000046e6f7065036c616204746573740000010001c"
                    + "011000600010000003c0021026e73c0110561646d696ec011000000"
                    + "0100000e1000000258000151800000003c",
            "123485800001000200000000036c6162047465737400000f0001c00c000f000"
                    + "100000000000e000a0161036c6162047465737400c00c000f000100"
                    + "000000000e00140162036c6162047465737400");

    public static void main(String[] args) throws Exception {
        long seed = args.length > 0 ? Long.parseLong(args[0]) : 418;
        int count = args.length > 1 ? Integer.parseInt(args[1]) : 1_000_000;
        var random = new Random(seed);
        var originals = CAPTURED.stream().map(HexFormat.of()::parseHex).toList();
        var threads = (com.sun.management.ThreadMXBean)
                ManagementFactory.getThreadMXBean();
        int malformed = 0;
        int other = 0;
        long most = 0;
        for (int i = 0; i < count; i++) {
            var wire = mutated(originals.get(i % originals.size()), random);
            long before = threads.getCurrentThreadAllocatedBytes();
            try {
                DnsLookup.decode(wire);
            } catch (DnsLookup.MalformedMessageException e) {
                malformed++;
            } catch (Throwable e) {
                other++;
                IO.println(HexFormat.of().formatHex(wire) + " " + e);
            }
            if (i >= 100_000) {   // warmed up, formats loaded
                most = Math.max(most,
                        threads.getCurrentThreadAllocatedBytes() - before);
            }
        }
        IO.println("seed %d: %,d messages, %,d decoded, %,d malformed, %d other"
                .formatted(seed, count, count - malformed - other, malformed,
                        other));
        IO.println("most allocated for one message: %,d octets".formatted(most));
        largest(threads);
    }

    /** One to eight octets changed; one in four cut or longer. */
    private static byte[] mutated(byte[] original, Random random) {
        var wire = random.nextInt(4) > 0 ? original.clone() : Arrays.copyOf(
                original, random.nextInt(original.length + 40));
        for (int n = random.nextInt(1, 9); n > 0 && wire.length > 0; n--) {
            wire[random.nextInt(wire.length)] = (byte) random.nextInt(256);
        }
        return wire;
    }

    /** 65,535 octets: many questions, whose names are as long as can be. */
    private static void largest(com.sun.management.ThreadMXBean threads)
            throws Exception {
        for (int pointers : new int[] {127, 128}) {
            var wire = questions(pointers);
            for (int round = 0; round < 20; round++) {
                long before = threads.getCurrentThreadAllocatedBytes();
                long start = System.nanoTime();
                String came;
                try {
                    came = "decoded";
                    DnsLookup.decode(wire);
                } catch (DnsLookup.MalformedMessageException e) {
                    came = "malformed";
                }
                long took = (System.nanoTime() - start) / 1_000_000;
                if (round == 19) {
                    IO.println(("10,000 names with %d pointers each: %s, %d ms,"
                            + " %.1f MB allocated").formatted(pointers, came,
                            took, (threads.getCurrentThreadAllocatedBytes()
                                    - before) / 1e6));
                }
            }
        }
    }

    /** The names are 250 octets of 0, behind a chain of pointers. */
    private static byte[] questions(int pointers) {
        var wire = ByteBuffer.allocate(65_535).putLong(0).putInt(0);
        for (int length : new int[] {63, 63, 63, 61}) {
            wire.put((byte) length).put(new byte[length]);
        }
        wire.put((byte) 0).putInt(0x00010001);
        int last = 12;
        int count = 1;
        for (; count < 10_000; count++) {
            int here = wire.position();
            wire.putShort((short) (0xc000 | last)).putInt(0x00010001);
            last = count < pointers ? here : last;
        }
        return wire.putShort(4, (short) count).array();
    }
}
