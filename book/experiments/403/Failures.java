///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION What connect() throws, and when

import module java.base;

/** An argument is {@code HOST:PORT what is there}; see failures.sh. */
public class Failures {

    public static void main(String[] args) throws IOException {
        new ServerSocket(0).close();   // what is loaded once is not measured
        for (var arg : args) {
            var label = arg.substring(arg.indexOf(' ') + 1);
            var to = arg.substring(0, arg.indexOf(' ')).split(":");
            int limit = label.endsWith("no limit") ? 0
                    : label.endsWith("neighbour") ? 10_000 : 2000;
            long start = System.nanoTime();
            try (var socket = new Socket()) {
                socket.connect(new InetSocketAddress(
                        to[0], Integer.parseInt(to[1])), limit);
                IO.println(label + " connected");
            } catch (IOException e) {
                long millis = (System.nanoTime() - start) / 1_000_000;
                IO.println("%-22s %-24s%-24s%s".formatted(label,
                        e.getClass().getSimpleName(), e.getMessage(),
                        millis < 100 ? "at once" : millis + " ms"));
            }
        }
    }
}
