package kit;

import com.sun.management.HotSpotDiagnosticMXBean;
import com.sun.management.HotSpotDiagnosticMXBean.ThreadDumpFormat;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.regex.Pattern;

/**
 * The threads that a lab has started. Only a thread dump lists virtual threads, so it is written to a file and read.
 * The JDK's own threads (pollers, carriers, cleaners) do not count, nor do JUnit's and the kit's.
 */
final class Threads {

    private static final Pattern THREAD = Pattern.compile(
            "\"tid\": \"?(\\d+)\"?,(.*?)\"stack\": \\[(.*?)]", Pattern.DOTALL);
    private static final Pattern NAME = Pattern.compile("\"name\": \"(.*?)\"");
    private static final Pattern FRAME = Pattern.compile("\"(?:[^\"/]*\\\\?/)?([^\"/]+?)\"");

    private Threads() {}

    /** Descriptions of the living threads whose id is at least {@code first}. */
    static List<String> since(long first) {
        var platform = platformThreads();
        var threads = new ArrayList<String>();
        var all = THREAD.matcher(dump());
        while (all.find()) {
            long id = Long.parseLong(all.group(1));
            boolean virtual = all.group(2).contains("\"virtual\": true");
            var frames = FRAME.matcher(all.group(3)).results().map(frame -> frame.group(1)).toList();
            var name = NAME.matcher(all.group(2)).results().map(found -> found.group(1)).findFirst().orElse("");
            if (id >= first && (virtual ? !isPoller(frames) : platform.contains(id)) && !isOurs(name)) {
                threads.add(describe(name, virtual, frames));
            }
        }
        return threads;
    }

    /** The JDK's own platform threads live in other groups. */
    private static Set<Long> platformThreads() {
        var group = new ThreadGroup("kit").getParent();
        while (group.getParent() != null && !group.getName().equals("main")) {
            group = group.getParent();
        }
        var threads = new Thread[2 * group.activeCount() + 64];
        int count = group.enumerate(threads);
        var ids = new HashSet<Long>();
        Arrays.stream(threads, 0, count).forEach(thread -> ids.add(thread.threadId()));
        return ids;
    }

    private static boolean isPoller(List<String> frames) {
        return frames.stream().anyMatch(frame -> frame.contains("ollerLoop("));
    }

    private static boolean isOurs(String name) {
        return name.startsWith("junit-") || name.startsWith("kit-");
    }

    private static String describe(String name, boolean virtual, List<String> frames) {
        var labs = frames.stream().filter(frame -> frame.indexOf('(') > 0 && frame.lastIndexOf('.',
                frame.indexOf('(')) > 0
                && !frame.startsWith("java.") && !frame.startsWith("jdk.") && !frame.startsWith("sun.")).findFirst();
        return (virtual ? "virtual thread" : "thread") + (name.isEmpty() ? "" : " " + name)
                + labs.or(() -> frames.stream().findFirst()).map(frame -> " at " + frame).orElse("");
    }

    private static String dump() {
        var file = Path.of(System.getProperty("java.io.tmpdir"), "kit-" + ProcessHandle.current().pid() + "-"
                + UUID.randomUUID());
        try {
            ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class)
                    .dumpThreads(file.toAbsolutePath().toString(), ThreadDumpFormat.JSON);
            var dump = Files.readString(file);
            Files.delete(file);
            return dump;
        } catch (IOException | LinkageError e) {
            return "";   // no such dump here: no check of virtual threads
        }
    }
}
