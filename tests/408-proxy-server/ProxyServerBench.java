///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 408's benchmark: our proxy beside nginx and HAProxy, in front of the same origin
//SOURCES ../../solutions/408-proxy-server/ProxyServer.java
//SOURCES ../bench/*.java

import module java.base;

import bench.Arguments;
import bench.Figures;
import bench.Programs;

/**
 * How many requests a second, and how many bytes a second, go through a proxy?
 *
 * <p>The origin is nginx. Three reverse proxies stand in front of it: ours, in a JVM of its own, nginx and HAProxy,
 * with one thread each and with connections kept on both sides. wrk is the client, one proxy after the other in each
 * round, in changing order, so that the ratios within a round mean something on a machine that has other work. Then
 * curl fetches one gigabyte through a tunnel: ours by CONNECT, HAProxy's by forwarding bytes (mode tcp).
 */
public final class ProxyServerBench {

    private static final String USAGE = """
            ./jbang bench 408                requests a second, then one tunnel of 1 GiB
                --rounds N                 measured rounds, each of all proxies (5)
                --seconds N                length of one measurement (3)
                --body N                   bytes of a response (100)
            ./jbang bench 408 --help         this text
            It needs nginx, haproxy, wrk and curl.""";
    private static final int CONNECTIONS = 32;
    private static final int WARM_UP = 20;
    private static final long GIB = 1L << 30;

    public static void main(String[] args) throws Exception {
        var given = Arguments.of(args, USAGE);
        int rounds = given.number("--rounds", 5, 999_999);
        int seconds = given.number("--seconds", 3, 999_999);
        int body = given.number("--body", 100, 999_999);
        given.end();
        Programs.need("nginx haproxy wrk curl", List.of("nginx", "haproxy", "wrk", "curl"));
        var folder = Programs.folder("bench408");
        try {
            compare(folder, rounds, seconds, body);
        } finally {
            Programs.end(folder);
        }
    }

    private static void compare(Path folder, int rounds, int seconds, int bytes) throws Exception {
        int[] ports = freePorts(5);
        var origin = "127.0.0.1:" + ports[0];
        origin(folder, ports[0], bytes);
        var proxies = new LinkedHashMap<String, Proxy>();
        proxies.put("ours", ours("serve", "--upstream", origin));
        proxies.put("nginx", nginx(folder, ports[1], origin));
        proxies.put("HAProxy", haproxy(folder, ports[2], ports[3], origin));
        IO.println("""
                GET of %d bytes from nginx, %d connections, wrk with one thread; %d rounds of %d s, \
                after 20 s to warm up
                all of it on %d processors; one thread each for nginx and HAProxy, connections kept on both sides
                """.formatted(bytes, CONNECTIONS, rounds, seconds, Runtime.getRuntime().availableProcessors()));
        var rates = new LinkedHashMap<String, List<Run>>();
        proxies.keySet().forEach(proxy -> rates.put(proxy, new ArrayList<>()));
        wrk(proxies.get("ours"), WARM_UP);   // the JVM's compilers need it, most of all on a machine with other work
        for (int round = 0; round <= rounds; round++) {
            var order = new ArrayList<>(proxies.keySet());
            Collections.rotate(order, round);
            for (var proxy : order) {
                rates.get(proxy).add(wrk(proxies.get(proxy), seconds));
            }
            IO.println("  %-8s %s".formatted(round == 0 ? "warm-up" : "round " + round, rates.entrySet().stream()
                    .map(each -> "%s %,7.0f/s".formatted(each.getKey(), each.getValue().getLast().rate))
                    .collect(Collectors.joining("   "))));
        }
        rates.values().forEach(List::removeFirst);
        IO.println("\nproxy     requests a second             99 % within, ms        CPU for each, us");
        rates.forEach((proxy, runs) -> IO.println("%-9s %-29s %-22s %s".formatted(proxy,
                Figures.spread("%,.0f", runs.stream().mapToDouble(Run::rate)),
                Figures.spread("%.1f", runs.stream().mapToDouble(Run::p99)),
                Figures.spread("%.0f", runs.stream().mapToDouble(Run::cpu)))));
        for (var peer : List.of("nginx", "HAProxy")) {
            IO.println("ratio     ours to %-8s %s%s".formatted(peer,
                    ratio(rates.get("ours"), rates.get(peer), Run::rate),
                    peer.equals("nginx") ? ", target 0.50; 99 %: " + ratio(rates.get("ours"), rates.get(peer), Run::p99)
                            + ", target 3 at most" : ""));
            IO.println("CPU       ours to %-8s %s".formatted(peer,
                    ratio(rates.get("ours"), rates.get(peer), Run::cpu)));
        }
        tunnels(ours("forward", "--allow", origin).port, ports[3], origin);
    }

    /** One gigabyte, through a tunnel of each kind; in megabytes a second. */
    private static void tunnels(int ours, int haproxy, String origin) throws Exception {
        var speeds = new LinkedHashMap<String, List<Double>>();
        for (int round = 0; round < 4; round++) {
            for (var proxy : round % 2 == 0 ? List.of("ours", "HAProxy") : List.of("HAProxy", "ours")) {
                var command = new ArrayList<>(List.of("curl", "-sS", "-o", "/dev/null", "-w",
                        "%{speed_download} %{size_download}"));
                command.addAll(proxy.equals("ours")
                        ? List.of("-p", "-x", "http://127.0.0.1:" + ours, "http://" + origin + "/gigabyte")
                        : List.of("http://127.0.0.1:" + haproxy + "/gigabyte"));
                var answer = Programs.output(command).split(" ");
                if (Long.parseLong(answer[1].strip()) != GIB) {
                    throw new IOException("curl got " + answer[1] + " bytes through " + proxy);
                }
                if (round > 0) {
                    speeds.computeIfAbsent(proxy, key -> new ArrayList<>()).add(Double.parseDouble(answer[0]) / 1e6);
                }
            }
        }
        IO.println("\n1 GiB in a tunnel: MB a second, 3 rounds after one to warm up");
        speeds.forEach((proxy, each) -> IO.println("%-9s %s".formatted(proxy,
                Figures.spread("%,.0f", each))));
        IO.println("ratio     %s, target 0.50".formatted(Figures.spread("%.2f", IntStream.range(0, 3)
                .mapToDouble(i -> speeds.get("ours").get(i) / speeds.get("HAProxy").get(i)))));
    }

    /** One that listens, and the process that does it. */
    private record Proxy(int port, Process process) {

        double cpuMicros() {
            return Programs.cpuMicros(process);
        }
    }

    /**
     * Requests a second; how long the slowest but one in a hundred took, in ms; processor time of the proxy for each,
     * in us.
     */
    private record Run(double rate, double p99, double cpu) {}

    private static Run wrk(Proxy proxy, int seconds) throws Exception {
        double before = proxy.cpuMicros();
        var text = Programs.output(List.of("wrk", "-t1", "-c" + CONNECTIONS, "-d" + seconds + "s", "--latency",
                "http://127.0.0.1:" + proxy.port + "/"));
        double cpu = proxy.cpuMicros() - before;
        if (text.contains("Non-2xx") || text.contains("Socket errors")) {
            throw new IOException("wrk saw errors:\n" + text);
        }
        var rate = Pattern.compile("Requests/sec: +([\\d.]+)").matcher(text);
        var p99 = Pattern.compile("99% +([\\d.]+)(us|ms|s)").matcher(text);
        var count = Pattern.compile("(\\d+) requests in").matcher(text);
        if (!rate.find() || !p99.find() || !count.find()) {
            throw new IOException("wrk said something else:\n" + text);
        }
        double unit = Map.of("us", 1e-3, "ms", 1.0, "s", 1e3).get(p99.group(2));
        return new Run(Double.parseDouble(rate.group(1)), Double.parseDouble(p99.group(1)) * unit,
                cpu / Long.parseLong(count.group(1)));
    }

    private static String ratio(List<Run> ours, List<Run> theirs, ToDoubleFunction<Run> figure) {
        return Figures.spread("%.2f", IntStream.range(0, ours.size())
                .mapToDouble(i -> figure.applyAsDouble(ours.get(i)) / figure.applyAsDouble(theirs.get(i))));
    }

    // The programs that this one starts.

    private static Proxy ours(String verb, String option, String target) throws IOException {
        var process = Programs.startJava(List.of(), "ProxyServer", verb, "0", option, target);
        var line = process.inputReader().readLine();
        return new Proxy(Integer.parseInt(line.substring(line.lastIndexOf(':') + 1)), process);
    }

    private static void origin(Path folder, int port, int bytes) throws Exception {
        Files.writeString(folder.resolve("index.html"), "o".repeat(bytes));
        try (var file = new RandomAccessFile(folder.resolve("gigabyte").toFile(), "rw")) {
            file.setLength(GIB);   // zeros, which take no place on the disk
        }
        startNginx(folder, "origin", port, "root " + folder + "; location / { }", "");
    }

    private static Proxy nginx(Path folder, int port, String origin) throws Exception {
        return startNginx(folder, "proxy", port, "location / { proxy_pass http://origin; proxy_http_version 1.1; "
                + "proxy_set_header Connection \"\"; }", "upstream origin { server " + origin
                + "; keepalive 64; keepalive_requests 10000000; }");
    }

    private static Proxy startNginx(Path folder, String name, int port, String server, String http) throws Exception {
        return new Proxy(port, Programs.startNginx(folder, name, 1, port, server, http));
    }

    private static Proxy haproxy(Path folder, int port, int tunnel, String origin) throws Exception {
        var config = Files.writeString(folder.resolve("haproxy.cfg"), """
                global
                    nbthread 1
                defaults
                    timeout connect 5s
                    timeout client 60s
                    timeout server 60s
                listen http
                    mode http
                    bind 127.0.0.1:%d
                    http-reuse always
                    server origin %s
                listen tcp
                    mode tcp
                    bind 127.0.0.1:%d
                    server origin %s
                """.formatted(port, origin, tunnel, origin));
        var process = Programs.start(List.of(Programs.find("haproxy"), "-db", "-f", config.toString()));
        Programs.awaitPort(port);
        return new Proxy(port, process);
    }

    private static int[] freePorts(int count) throws IOException {
        var held = new ArrayList<ServerSocket>();
        try {
            for (int i = 0; i < count; i++) {
                held.add(new ServerSocket(0, 1, InetAddress.getLoopbackAddress()));
            }
            return held.stream().mapToInt(ServerSocket::getLocalPort).toArray();
        } finally {
            for (var socket : held) {
                socket.close();
            }
        }
    }
}
