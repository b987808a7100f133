///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS io.netty:netty-transport:4.2.18.Final
//DEPS io.netty:netty-transport-native-epoll:4.2.18.Final:linux-x86_64
//SOURCES ../../../solutions/412-zero-allocation-server/ServerDuel.java
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED

import module java.base;

import com.sun.management.ThreadMXBean;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.lang.management.ManagementFactory;

/** What some ways to read a request's head allocate, with the compiler's escape analysis and without. */
public class Heads {

    static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    static final ByteBuf HEAD = Unpooled.wrappedBuffer(("GET /plaintext HTTP/1.1\r\nHost: a.test\r\n"
            + "User-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n").getBytes());
    static final ServerDuel.Parser PARSER = new ServerDuel.Parser(16 * 1024, 64 * 1024);
    static Object kept;

    public static void main(String[] args) {
        measure("in place", () -> PARSER.parse(HEAD.readerIndex(0)));
        measure("one toString()", () -> kept = HEAD.toString(0, HEAD.capacity(), StandardCharsets.US_ASCII));
        measure("a toString() that nobody keeps", () -> {
            if (HEAD.toString(0, 3, StandardCharsets.US_ASCII).equals("PUT")) {
                throw new AssertionError();
            }
        });
        measure("lines and a map of fields", () -> {
            var lines = HEAD.toString(0, HEAD.capacity(), StandardCharsets.US_ASCII).split("\r\n");
            var fields = new HashMap<String, String>();
            for (int i = 1; i < lines.length; i++) {
                int colon = lines[i].indexOf(':');
                fields.put(lines[i].substring(0, colon).toLowerCase(Locale.ROOT),
                        lines[i].substring(colon + 1).strip());
            }
            kept = fields;
        });
        measure("one String.format()", () -> kept = String.format("%d", HEAD.capacity()));
    }

    static void measure(String what, Runnable code) {
        double least = Double.MAX_VALUE;
        for (int round = 0; round < 20; round++) {
            long before = THREADS.getCurrentThreadAllocatedBytes();
            for (int i = 0; i < 20_000; i++) {
                code.run();
            }
            least = Math.min(least, (THREADS.getCurrentThreadAllocatedBytes() - before) / 20_000.0);
        }
        IO.println("%-32s %7.1f bytes".formatted(what, Math.abs(least) < 0.05 ? 0 : least));
    }
}
