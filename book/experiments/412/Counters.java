///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+

import module java.base;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;

/** What the JVM's counters say when a platform thread and a virtual one allocate 100 arrays of 10,000 bytes each. */
static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();
static volatile byte[] garbage;

void main() throws Exception {
    for (boolean virtual : new boolean[] {false, true}) {
        var done = new CountDownLatch(1);
        var end = new CountDownLatch(1);
        var builder = virtual ? Thread.ofVirtual() : Thread.ofPlatform();
        long total = THREADS.getTotalThreadAllocatedBytes();
        long mine = THREADS.getCurrentThreadAllocatedBytes();
        var thread = builder.start(() -> {
            for (int i = 0; i < 100; i++) {
                garbage = new byte[10_000];
            }
            done.countDown();
            try {
                end.await();
            } catch (InterruptedException e) {
                // the end
            }
        });
        done.await();
        mine = THREADS.getCurrentThreadAllocatedBytes() - mine;
        total = THREADS.getTotalThreadAllocatedBytes() - total;
        long id = THREADS.getThreadAllocatedBytes(thread.threadId());
        end.countDown();
        IO.println("%-8s  getThreadAllocatedBytes(id) %s, total minus mine %.2f MB".formatted(
                virtual ? "virtual" : "platform", id < 0 ? "" + id : "%.2f MB".formatted(id / 1e6),
                (total - mine) / 1e6));
    }
}
