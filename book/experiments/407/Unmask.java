///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Taking a mask off, byte by byte and eight bytes at a time

import module java.base;

/** Five rounds of each, in turn, over 64 KiB. */
public class Unmask {

    private static final byte[] PAYLOAD = new byte[64 * 1024];

    public static void main(String[] args) {
        var rates = new double[2][5];
        for (int round = -2; round < 5; round++) {
            double one = rate(Unmask::byByte);
            double eight = rate(Unmask::byLong);
            if (round >= 0) {
                rates[0][round] = one;
                rates[1][round] = eight;
            }
        }
        Arrays.sort(rates[0]);
        Arrays.sort(rates[1]);
        IO.println("one by one  %4.1f GB/s".formatted(rates[0][2]));
        IO.println("by eight    %4.1f GB/s, %.1f times as fast".formatted(
                rates[1][2], rates[1][2] / rates[0][2]));
    }

    // tag::loops[]
    private static void byByte(byte[] payload, int mask) {
        var key = ByteBuffer.allocate(4).putInt(mask).array();
        for (int i = 0; i < payload.length; i++) {
            payload[i] = (byte) (payload[i] ^ key[i & 3]);
        }
    }

    private static void byLong(byte[] payload, int mask) {
        long twice = (long) mask << 32 | mask & 0xffff_ffffL;
        var bytes = ByteBuffer.wrap(payload);
        for (int at = 0; at + 8 <= payload.length; at += 8) {
            bytes.putLong(at, bytes.getLong(at) ^ twice);
        }
    }
    // end::loops[]

    private static double rate(BiConsumer<byte[], Integer> unmask) {
        long start = System.nanoTime();
        long bytes = 0;
        while (System.nanoTime() - start < 300_000_000L) {
            for (int i = 0; i < 50; i++) {
                unmask.accept(PAYLOAD, 0x37fa213d);
                bytes += PAYLOAD.length;
            }
        }
        return bytes / (double) (System.nanoTime() - start);
    }
}
