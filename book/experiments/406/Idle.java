///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.pcap4j:pcap4j-core:1.8.2
//DEPS org.pcap4j:pcap4j-packetfactory-static:1.8.2
//DEPS net.java.dev.jna:jna:5.19.1
//DEPS org.slf4j:slf4j-nop:1.7.36
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED
//DESCRIPTION Does the timeout of a capture end a read that finds nothing?

import module java.base;

import org.pcap4j.core.BpfProgram.BpfCompileMode;
import org.pcap4j.core.PcapHandle;
import org.pcap4j.core.RawPacketListener;

public class Idle {

    public static void main(String[] args) throws Exception {
        for (boolean immediate : new boolean[] {false, true}) {
            var handle = new PcapHandle.Builder("lo").snaplen(100)
                    .immediateMode(immediate).timeoutMillis(10).build();
            handle.setFilter("udp port 9", BpfCompileMode.OPTIMIZE);
            var reader = Thread.ofPlatform().start(() -> loop(handle));
            reader.join(Duration.ofSeconds(3));
            IO.println("timeout 10 ms" + (immediate ? ", immediate" : "")
                    + ", after 3 s: " + where(reader));
            long start = System.nanoTime();
            handle.breakLoop();
            reader.join();
            IO.println("  breakLoop(): ended after %.1f ms"
                    .formatted((System.nanoTime() - start) / 1e6));
            handle.close();
        }
    }

    private static void loop(PcapHandle handle) {
        try {
            handle.loop(-1, (RawPacketListener) bytes -> {});
        } catch (Exception e) {
            IO.println("  loop() threw " + e.getClass().getSimpleName());
        }
    }

    private static String where(Thread thread) {
        return thread.isAlive() ? "still in " + Stream.of(
                        thread.getStackTrace()).map(
                        StackTraceElement::getMethodName)
                .filter(name -> name.startsWith("pcap_")).findFirst()
                .orElse("Java") : "ended";
    }
}
