///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 403's benchmark: dial() beside new Socket(), and the parser beside one made of split()
//SOURCES ../../solutions/403-listen-and-dial/ListenAndDial.java
//SOURCES ../bench/*.java

import module java.base;

import bench.Arguments;
import bench.Figures;
import bench.Programs;

/**
 * What does the dialler cost where it is not needed, and how fast is the parser of the state table?
 *
 * <p>The server that is dialled lives in a JVM of its own. Every client resets its connection, so that no port is left
 * in TIME-WAIT: there are only 28,000 of them. Contestants take turns in one run; only their ratio means anything.
 */
public final class ListenAndDialBench {

    private static final String USAGE = """
            ./jbang bench 403              dial() beside new Socket(), parse() beside split()
                --rounds N                 measured rounds (5)
                --seconds N                length of one measurement (1)
            ./jbang bench 403 --help       this text""";

    private static final InetAddress HERE = InetAddress.getLoopbackAddress();
    private static final Duration LIMIT = Duration.ofSeconds(10);
    private static final int ROWS = 10_000;
    private static final Pattern COLUMNS = Pattern.compile("\\s+");

    /** Does its work once, and says how many units that was. */
    private interface Work {
        long run() throws Exception;
    }

    private record Contestant(String name, Work work, List<Double> rates) {
        Contestant(String name, Work work) {
            this(name, work, new ArrayList<>());
        }

        void measure(int seconds) throws Exception {
            long start = System.nanoTime();
            long end = start + seconds * 1_000_000_000L;
            long units = 0;
            while (System.nanoTime() < end) {
                units += work.run();
            }
            rates.add(units * 1e9 / (System.nanoTime() - start));
        }
    }

    public static void main(String[] args) throws Exception {
        var given = Arguments.of(args, USAGE);
        if (given.has("--serve")) {
            serve();
            return;
        }
        int rounds = given.number("--rounds", 5, 9999);
        int seconds = given.number("--seconds", 1, 9999);
        given.end();
        var server = startServer();
        try {
            int port = Integer.parseInt(server.inputReader().readLine());
            IO.println("%d rounds of %d s for each, after one to warm up; %d processors\n".formatted(
                    rounds, seconds, Runtime.getRuntime().availableProcessors()));
            compare("dial and close, one address, a second", 0.7, rounds, seconds,
                    new Contestant("dial()", () -> dial(port, List.of(HERE))),
                    new Contestant("new Socket()", () -> reset(new Socket(HERE, port))));
            compare("the same, two addresses, the first one good", 0, rounds, seconds,
                    new Contestant("dial()", () -> dial(port, List.of(HERE, InetAddress.ofLiteral("::1")))),
                    new Contestant("new Socket()", () -> reset(new Socket(HERE, port))));
        } finally {
            server.destroyForcibly();
        }
        var table = table();
        compare("rows of the state table, a second", 3, rounds, seconds,
                new Contestant("parse()", () -> ListenAndDial.parse(table, ByteOrder.LITTLE_ENDIAN).size()),
                new Contestant("split()", () -> table.lines().map(ListenAndDialBench::splitRow).toList().size()));
    }

    /** Both in turn, in changing order. A target of 0 is none. */
    private static void compare(String what, double target, int rounds, int seconds, Contestant ours, Contestant peer)
            throws Exception {
        for (int round = 0; round <= rounds; round++) {
            for (var contestant : round % 2 == 0 ? List.of(peer, ours) : List.of(ours, peer)) {
                contestant.measure(seconds);
            }
        }
        ours.rates.removeFirst();
        peer.rates.removeFirst();
        IO.println(what);
        for (var contestant : List.of(ours, peer)) {
            IO.println("  %-14s%s".formatted(contestant.name, Figures.spread("%,.0f", contestant.rates)));
        }
        var ratios = IntStream.range(0, rounds).mapToObj(i -> ours.rates.get(i) / peer.rates.get(i)).toList();
        IO.println("  %-14s%s%s\n".formatted("ratio", Figures.spread("%.2f", ratios),
                target > 0 ? ", target %.1f".formatted(target) : ""));
    }

    // Dialling.

    private static long dial(int port, List<InetAddress> addresses) throws Exception {
        return reset(ListenAndDial.dial("here", port, LIMIT, LIMIT, _ -> addresses).socket());
    }

    private static long reset(Socket socket) throws IOException {
        socket.setSoLinger(true, 0);
        socket.close();
        return 1;
    }

    private static Process startServer() throws IOException {
        return Programs.startJava(List.of(), ListenAndDialBench.class.getName(), "--serve");
    }

    /** Accepts and closes until its standard input ends. */
    private static void serve() throws IOException {
        var listener = new ServerSocket(0, 4096, HERE);
        IO.println(listener.getLocalPort());
        Thread.ofPlatform().daemon().start(() -> {
            while (true) {
                try {
                    listener.accept().close();
                } catch (IOException e) {
                    // a client that was reset before it was accepted
                }
            }
        });
        while (System.in.read() != -1) {
            // waits for the end
        }
    }

    // Parsing.

    private static String table() {
        var table = new StringBuilder("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n");
        for (int i = 0; i < ROWS; i++) {
            table.append(("%4d: 0000000000000000FFFF00000100007F:%04X 0000000000000000FFFF00000100007F:%04X 06 "
                    + "00000000:%08X 03:00000866 00000000     0        0 %d 3 00000000a1718591\n")
                    .formatted(i, i, 65_535 - i, i, i));
        }
        return table.toString();
    }

    /** As one writes it first: a regular expression for the columns, one byte after the other for the address. */
    private static ListenAndDial.Row splitRow(String line) {
        var columns = COLUMNS.split(line.strip());
        if (columns.length < 10) {
            return null;
        }
        var queues = columns[4].split(":");
        return new ListenAndDial.Row(splitAddress(columns[1]), splitAddress(columns[2]),
                ListenAndDial.TcpState.of(Integer.parseInt(columns[3], 16)),
                Long.parseLong(queues[0], 16), Long.parseLong(queues[1], 16), Long.parseLong(columns[9]));
    }

    private static InetSocketAddress splitAddress(String text) {
        var parts = text.split(":");
        var bytes = new byte[parts[0].length() / 2];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i ^ 3] = (byte) Integer.parseInt(parts[0].substring(2 * i, 2 * i + 2), 16);
        }
        try {
            return new InetSocketAddress(InetAddress.getByAddress(bytes), Integer.parseInt(parts[1], 16));
        } catch (UnknownHostException e) {
            throw new IllegalStateException(e);
        }
    }
}
