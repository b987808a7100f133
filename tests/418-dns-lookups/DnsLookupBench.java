///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 418's benchmark: queries to dnsmasq and decoding, beside dnsjava and Netty
//DEPS dnsjava:dnsjava:3.6.3
//DEPS io.netty:netty-resolver-dns:4.2.18.Final
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED -Dslf4j.internal.verbosity=ERROR
//SOURCES ../../solutions/418-dns-lookups/DnsLookup.java
//SOURCES ../bench/*.java

import module java.base;

import bench.Arguments;
import bench.Figures;
import bench.Loopback;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioDatagramChannel;
import io.netty.handler.codec.dns.DefaultDnsQuestion;
import io.netty.handler.codec.dns.DnsRecordType;
import io.netty.resolver.dns.DnsNameResolverBuilder;
import io.netty.resolver.dns.NoopDnsCache;
import io.netty.resolver.dns.SingletonDnsServerAddressStreamProvider;
import org.xbill.DNS.DClass;
import org.xbill.DNS.Message;
import org.xbill.DNS.Name;
import org.xbill.DNS.Record;
import org.xbill.DNS.SimpleResolver;
import org.xbill.DNS.Type;

/** Queries one after the other, each with a new port and a new id; decoding; and answers from the cache. */
public final class DnsLookupBench {

    private static final String USAGE = """
            ./jbang bench 418                beside dnsjava and Netty, with dnsmasq
                --rounds N                 measured rounds (5)
                --seconds N                length of one measurement (1)
            ./jbang bench 418 --help         this text""";

    private interface Work {
        void run() throws Exception;
    }

    private record Contestant(String name, Work work, List<Double> rates) {
        Contestant(String name, Work work) {
            this(name, work, new ArrayList<>());
        }
    }

    public static void main(String[] args) throws Exception {
        var given = Arguments.of(args, USAGE);
        int rounds = given.number("--rounds", 5, 9999);
        int seconds = given.number("--seconds", 1, 9999);
        given.end();
        int port = Loopback.freePort();
        var dnsmasq = dnsmasq(port);
        var group = new MultiThreadIoEventLoopGroup(1, NioIoHandler.newFactory());
        try {
            IO.println("%d rounds of %d s for each, after one to warm up; client and server share %d processors\n"
                    .formatted(rounds, seconds, Runtime.getRuntime().availableProcessors()));
            var server = new InetSocketAddress("127.0.0.1", port);
            awaitAnswer(server);
            queries(server, group, rounds, seconds);
            decoding(server, rounds, seconds);
            cache(server);
        } finally {
            dnsmasq.destroy();
            dnsmasq.waitFor();
        }
        System.exit(0);   // Netty's and dnsjava's threads
    }

    private static void queries(InetSocketAddress server, MultiThreadIoEventLoopGroup group, int rounds,
                                int seconds) throws Exception {
        var ours = DnsLookup.create(DnsLookup.Options.of(server));
        var asked = DnsLookup.Question.of("www.lab.test", DnsLookup.Type.A);
        var dnsjava = new SimpleResolver(server);
        dnsjava.setEDNS(-1);
        var question = Message.newQuery(Record.newRecord(Name.fromString("www.lab.test."), Type.A, DClass.IN));
        var netty = new DnsNameResolverBuilder(group.next()).datagramChannelType(NioDatagramChannel.class)
                .resolveCache(NoopDnsCache.INSTANCE).optResourceEnabled(false)
                .nameServerProvider(new SingletonDnsServerAddressStreamProvider(server)).build();
        IO.println("queries for an A record to dnsmasq, a second, one after the other");
        compare(rounds, seconds, List.of(
                new Contestant("this lab", () -> need(ours.ask(asked).answers().size() == 1)),
                new Contestant("dnsjava SimpleResolver", () -> {
                    var query = (Message) question.clone();
                    query.getHeader().setID(ThreadLocalRandom.current().nextInt(65_536));
                    need(dnsjava.send(query).getSection(1).size() == 1);
                }),
                new Contestant("Netty DnsNameResolver", () -> {
                    var records = netty.resolveAll(new DefaultDnsQuestion("www.lab.test.", DnsRecordType.A)).get();
                    need(records.size() == 1);
                    records.forEach(io.netty.util.ReferenceCountUtil::release);
                })), 2, 1);
        netty.close();
    }

    private static void decoding(InetSocketAddress server, int rounds, int seconds) throws Exception {
        var wire = exchange(server);
        IO.println("\nresponses of " + wire.length + " octets decoded, a second");
        compare(rounds, seconds, List.of(
                new Contestant("this lab", () -> need(DnsLookup.decode(wire).answers().size() == 2)),
                new Contestant("dnsjava", () -> need(new Message(wire).getSection(1).size() == 2))), 1.5);
    }

    private static void cache(InetSocketAddress server) throws Exception {
        var client = DnsLookup.create(DnsLookup.Options.of(server));
        long start = 0;
        int count = 2_000_000;
        for (int i = 0; i < 2 * count; i++) {
            start = i == count ? System.nanoTime() : start;
            need(client.query("www.lab.test", DnsLookup.Type.A).ttl() > 0);
        }
        IO.println("\nan answer from the cache: %.2f µs, target 1"
                .formatted((System.nanoTime() - start) / 1e3 / count));
    }

    private static void compare(int rounds, int seconds, List<Contestant> contestants, double... targets)
            throws Exception {
        for (int round = 0; round <= rounds; round++) {
            var counts = new long[contestants.size()];
            var nanos = new long[contestants.size()];
            for (int slice = 0; slice < seconds * 20; slice++) {   // in turn, so that other load meets all of them
                for (int i = 0; i < counts.length; i++) {
                    long start = System.nanoTime();
                    for (; System.nanoTime() - start < 50_000_000; counts[i]++) {
                        contestants.get(i).work.run();
                    }
                    nanos[i] += System.nanoTime() - start;
                }
            }
            for (int i = 0; i < counts.length; i++) {
                contestants.get(i).rates.add(counts[i] * 1e9 / nanos[i]);
            }
        }
        for (var contestant : contestants) {
            contestant.rates.removeFirst();
            IO.println("  %-26s%s".formatted(contestant.name, Figures.spread("%,.0f", contestant.rates)));
        }
        var ours = contestants.getFirst().rates;
        for (int i = 1; i < contestants.size(); i++) {
            var theirs = contestants.get(i).rates;
            var ratios = IntStream.range(0, rounds).mapToObj(r -> ours.get(r) / theirs.get(r)).toList();
            IO.println("  this lab / %-15s%s, target %.1f".formatted(contestants.get(i).name.split(" ")[0],
                    Figures.spread("%.2f", ratios), targets[i - 1]));
        }
    }

    /** A response with an alias and an address. */
    private static byte[] exchange(InetSocketAddress server) throws IOException {
        try (var socket = new DatagramSocket()) {
            var query = DnsLookup.encode(1, DnsLookup.Question.of("alias.lab.test", DnsLookup.Type.A));
            socket.connect(server);
            socket.setSoTimeout(2000);
            socket.send(new DatagramPacket(query, query.length));
            var packet = new DatagramPacket(new byte[512], 512);
            socket.receive(packet);
            return Arrays.copyOf(packet.getData(), packet.getLength());
        }
    }

    private static void need(boolean right) {
        if (!right) {
            throw new IllegalStateException("a wrong answer");
        }
    }

    private static Process dnsmasq(int port) {
        for (var name : List.of("dnsmasq", "/usr/sbin/dnsmasq")) {
            try {
                return new ProcessBuilder(name, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
                        "--no-hosts", "--pid-file=", "--port=" + port, "--listen-address=127.0.0.1",
                        "--bind-interfaces", "--local=/lab.test/", "--host-record=www.lab.test,10.0.0.10,300",
                        "--cname=alias.lab.test,www.lab.test,300").redirectErrorStream(true)
                        .redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
            } catch (IOException e) {
                // not there
            }
        }
        Arguments.giveUp("this benchmark needs dnsmasq; on Debian: apt-get install dnsmasq-base");
        throw new IllegalStateException();
    }

    private static void awaitAnswer(InetSocketAddress server) throws InterruptedException {
        for (int i = 0; i < 100; i++) {
            try {
                exchange(server);
                return;
            } catch (IOException e) {
                Thread.sleep(50);
            }
        }
        Arguments.giveUp("dnsmasq does not answer");
    }
}
