///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//SOURCES ../../labs/402-udp-client/StatsdClient.java
//SOURCES ../kit/*.java

import static kit.ScriptedChannel.Fate.FAILS;
import static kit.ScriptedChannel.Fate.FULL;
import static kit.ScriptedChannel.Fate.HELD;
import static kit.ScriptedChannel.Fate.PASSES;
import static kit.ScriptedChannel.Fate.REFUSED;
import static kit.TestLifecycle.closeLater;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.lang.reflect.RecordComponent;
import java.math.BigDecimal;
import java.net.BindException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.PortUnreachableException;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import kit.Await;
import kit.Bytes;
import kit.Check;
import kit.FakeTiming;
import kit.History;
import kit.Lab;
import kit.ScriptedChannel;
import kit.Step;
import kit.UdpSink;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;

/**
 * Lab 402, step by step. The tests use the public methods, {@code open}, {@code start}, {@code encode} and
 * {@code send}, and read the datagrams that arrive. A comment {@code rejects:} names wrong clients that a test is for.
 */
@Lab
class StatsdClientTest {

    /** Packets are sent by flush(), by a full packet and by close() only. */
    private static final StatsdClient.Options BY_HAND =
            StatsdClient.Options.defaults().withFlushInterval(Duration.ZERO);

    private static final String REFUSALS_ARE_REPORTED = "kit.UdpSink#reportsRefusals";
    private static final String NO_REPORTS = "this system does not report to a sender that no socket is bound to a"
            + " UDP port of 127.0.0.1; Linux does, unless a firewall rule drops such reports (ICMP port unreachable)";

    @Step(value = 1, title = "Connect without sending a packet", leak = "a channel that no client closes: one whose"
            + " connect() failed, one kept in a static field, or a second one")
    class Connect_without_sending_a_packet {

        @Test
        void connect_succeeds_when_no_agent_listens() throws Exception {   // rejects: a greeting that awaits an answer
            closeLater(StatsdClient.connect(deadAddress(), BY_HAND));
        }

        @Test
        void connect_and_close_send_nothing() throws Exception {   // rejects: a probe, an empty datagram
            var agent = UdpSink.open("agent");
            client(agent, BY_HAND).close();
            agent.expectNothing("connect() of a datagram channel is no handshake: nothing has to be sent");
        }

        @Test
        void the_channel_is_connected_and_non_blocking() throws Exception {
            // rejects: a channel that is only bound, open(StandardProtocolFamily.INET), a channel left blocking
            for (var host : hasIpv6() ? List.of("127.0.0.1", "::1") : List.of("127.0.0.1")) {
                var agent = new InetSocketAddress(host, 8125);
                try (var channel = StatsdClient.open(agent)) {
                    Check.that(channel.isOpen() && channel.isConnected() && agent.equals(channel.getRemoteAddress()),
                            "open() to return an open channel connected to " + agent + ", got a channel connected to "
                                    + channel.getRemoteAddress(),
                            "connect(agent) on a channel of DatagramChannel.open()");
                    Check.that(!channel.isBlocking(), "a non-blocking channel, got a blocking one",
                            "configureBlocking(false)");
                }
            }
        }

        @Test
        void each_client_has_a_local_address_of_its_own() throws Exception {
            // rejects: a channel that is neither connected nor bound, one channel for all clients
            var agent = UdpSink.open("agent");
            var one = client(agent, BY_HAND).localAddress();
            var other = client(agent, BY_HAND).localAddress();
            for (var address : Arrays.asList(one, other)) {
                Check.that(address != null && address.getAddress().isLoopbackAddress() && address.getPort() > 0,
                        "localAddress() with a loopback address and a port above 0, got " + address,
                        "connect() the channel to the agent: the system then chooses the local address and port");
            }
            Check.that(!one.equals(other) && !one.equals(agent.address()), "a different address for each client, got "
                    + one + " and " + other, "open() must open a new channel at each call");
        }

        @Test
        @EnabledIf(value = REFUSALS_ARE_REPORTED, disabledReason = NO_REPORTS)
        void a_datagram_from_another_sender_is_refused() throws Exception {   // rejects: bound, but not connected
            var client = client(UdpSink.open("agent"), BY_HAND);
            try (var stranger = DatagramChannel.open()) {
                stranger.connect(new InetSocketAddress("127.0.0.1", client.localAddress().getPort()));
                History.note("another sender sends to the client's port");
                Await.until(() -> isRefused(stranger), "that the sender gets a PortUnreachableException",
                        "a socket that is not connected receives from everybody: connect() the channel to the agent");
            }
        }

        private static boolean isRefused(DatagramChannel stranger) {
            try {
                stranger.write(ByteBuffer.wrap(new byte[] {'?'}));
                return false;
            } catch (PortUnreachableException e) {
                return true;
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        @Test
        void an_agent_name_without_an_address_is_reported_as_UnknownHostException() {
            // rejects: UnresolvedAddressException, which is unchecked
            var thrown = Check.fails(UnknownHostException.class, () -> StatsdClient.connect(
                            InetSocketAddress.createUnresolved("metrics.test", 8125), BY_HAND).close(),
                    "connect() to an unresolved address",
                    "channel.connect() throws an unchecked exception for an unresolved address:"
                            + "\n  test agent.isUnresolved() before you open the channel");
            Check.that(String.valueOf(thrown.getMessage()).contains("metrics.test"),
                    "the message to contain metrics.test, got " + thrown.getMessage(), "pass agent.getHostString()");
        }

        @Test
        void a_failed_connect_throws_an_IOException_and_leaves_no_socket_open() throws Exception {
            // and, by the check for leaks, no socket
            var likely = "let the channel's IOException pass, and close the channel first";
            Check.fails(SocketException.class, () -> StatsdClient.connect(new InetSocketAddress("127.0.0.1", 0),
                    BY_HAND).close(), "connect() to port 0", likely);
            if (hasIpv6()) {
                var seen = WithoutIpv6.run();
                Check.that(seen.matches("(IOException|SocketException|ConnectException), sockets left open: 0"),
                        "an IOException from open([::1]:8125) in a JVM without IPv6, and no socket left open,"
                                + "\ngot " + seen, "connect() of the channel throws UnsupportedAddressTypeException,"
                                + "\n  and open(INET6) throws UnsupportedOperationException; both are unchecked:"
                                + "\n  call open() without an argument, close the channel, and throw an IOException");
            }
        }

        @Test
        void a_second_close_has_no_effect() throws Exception {
            var client = client(UdpSink.open("agent"), BY_HAND);
            client.close();
            client.close();
        }

        @Test
        void the_exception_for_an_invalid_argument_names_the_argument() throws Exception {
            lonely(BY_HAND);   // rejects: valid arguments refused
            var defaults = StatsdClient.Options.defaults();
            Check.named("agent", () -> StatsdClient.connect(null, defaults).close());
            Check.named("options", () -> StatsdClient.connect(deadAddress(), null).close());
            Check.named("prefix", () -> defaults.withPrefix("shop:"));
            Check.named("maxPacketBytes", () -> defaults.withMaxPacketBytes(15));
            Check.named("maxPacketBytes", () -> defaults.withMaxPacketBytes(65_508));
            Check.named("flushInterval", () -> defaults.withFlushInterval(Duration.ofMillis(-1)));
            Check.named("lookupInterval", () -> defaults.withLookupInterval(Duration.ofMillis(-1)));
            Check.named("tags", () -> defaults.withTags(List.of("a,b")));
        }
    }

    @Step(value = 2, title = "Encode one metric")
    class Encode_one_metric {

        @Test
        void a_counter_is_encoded_as_NAME_VALUE_c() throws Exception {
            var client = lonely(BY_HAND);
            var likely = "NAME:VALUE|c, and no rate when it is 1";
            encodes(client, counter("page.views", 1, 1), "page.views:1|c", likely);
            encodes(client, counter("stock", -3, 1), "stock:-3|c", likely);
            encodes(client, counter("stock", 0, 1), "stock:0|c", likely);
            var exact = "a double has 53 bits of precision, a long 63: write the long itself";
            encodes(client, counter("bytes", Long.MAX_VALUE, 1), "bytes:9223372036854775807|c", exact);
            encodes(client, counter("bytes", Long.MIN_VALUE, 1), "bytes:-9223372036854775808|c", exact);
            encodes(client, counter("bytes", (1L << 53) + 1, 1), "bytes:9007199254740993|c", exact);
        }

        @Test
        void a_sampled_counter_states_its_rate() throws Exception {
            // rejects: the value multiplied as well; a rate of 1.0E-4, which statsd reads as 1.0
            var client = lonely(BY_HAND);
            var likely = "the value stays as it is and the rate follows as a plain decimal number:"
                    + "\n  the agent does the multiplication";
            encodes(client, counter("hits", 1, 0.5), "hits:1|c|@0.5", likely);
            encodes(client, counter("hits", 7, 0.1), "hits:7|c|@0.1", likely);
            encodes(client, counter("hits", 7, 1.0 / 3), "hits:7|c|@0.3333333333333333", likely);
            encodes(client, counter("hits", 7, Math.nextDown(1.0)), "hits:7|c|@0.9999999999999999", likely);
            var digits = "no exponent (statsd reads 1.0E-4 as 1.0), and no digit is rounded away";
            encodes(client, counter("hits", 1, 0.0001), "hits:1|c|@0.0001", digits);
            encodes(client, counter("hits", 1, 1e-5), "hits:1|c|@0.00001", digits);
            encodes(client, counter("hits", 1, 2.5e-13), "hits:1|c|@0.00000000000025", digits);
        }

        @Test
        void a_gauge_is_encoded_as_a_plain_decimal_number() throws Exception {
            // rejects: Double.toString(), String.format("%.3f"), a cast to long
            var client = lonely(BY_HAND);
            var numbers = new HashMap<>(Map.of(5.0, "5", 12.5, "12.5", 0.1, "0.1", 0.0, "0", -0.0, "0",
                    1e10, "10000000000", 1e-7, "0.0000001", 100.0, "100", 123456789.123, "123456789.123"));
            numbers.putAll(Map.of(1e-12, "0.000000000001", 0.1 + 0.2, "0.30000000000000004", 1e22, "1" + "0".repeat(22),
                    Double.MAX_VALUE, "17976931348623157" + "0".repeat(292)));
            numbers.forEach((number, text) -> encodes(client, new StatsdClient.Gauge("g", number), "g:" + text + "|g",
                    "digits and at most one point: no exponent, no trailing zeros, no rounding, no negative zero"));
        }

        @Test
        void a_negative_gauge_is_first_set_to_zero() throws Exception {   // rejects: -7|g alone, which means «7 less»
            var client = lonely(BY_HAND);
            var likely = "for a gauge, a sign means a change: set it to 0 in a line of its own, then to -7";
            encodes(client, new StatsdClient.Gauge("celsius", -7), "celsius:0|g\ncelsius:-7|g", likely);
            encodes(client, new StatsdClient.Gauge("celsius", -0.25), "celsius:0|g\ncelsius:-0.25|g", likely);
            encodes(client, new StatsdClient.Gauge("c", -1e-12), "c:0|g\nc:-0.000000000001|g", likely);
        }

        @Test
        void a_gauge_delta_always_has_a_sign() throws Exception {   // rejects: 4|g, which means «set to 4»
            var client = lonely(BY_HAND);
            var likely = "without a sign the agent sets the gauge to the value";
            encodes(client, new StatsdClient.GaugeDelta("basket", 4), "basket:+4|g", likely);
            encodes(client, new StatsdClient.GaugeDelta("basket", -4.5), "basket:-4.5|g", likely);
            encodes(client, new StatsdClient.GaugeDelta("basket", 0), "basket:+0|g", likely);
            encodes(client, new StatsdClient.GaugeDelta("basket", -0.0), "basket:+0|g", likely);
            encodes(client, new StatsdClient.GaugeDelta("basket", 1e-12), "basket:+0.000000000001|g", likely);
        }

        @Test
        void a_timing_is_in_milliseconds_with_at_most_three_decimals() throws Exception {
            // rejects: toMillis(), HALF_EVEN, a double in between
            var client = lonely(BY_HAND);
            var times = new HashMap<>(Map.of(Duration.ofMillis(320), "320", Duration.ofNanos(1_500_000), "1.5",
                    Duration.ZERO, "0", Duration.ofNanos(1_000), "0.001", Duration.ofNanos(499), "0",
                    Duration.ofNanos(1_234_567), "1.235", Duration.ofNanos(1_234_400), "1.234",
                    Duration.ofHours(1), "3600000"));
            times.putAll(Map.of(Duration.ofNanos(500), "0.001", Duration.ofNanos(2_500), "0.003",
                    Duration.ofNanos(1_499), "0.001", Duration.ofDays(36_499).plusNanos(1_000), "3153513600000.001"));
            times.forEach((time, text) -> encodes(client, new StatsdClient.Timer("t", time), "t:" + text + "|ms",
                    "milliseconds, rounded half up to three decimals, no trailing zeros"));
        }

        @Test
        void a_set_value_is_sent_unchanged_and_all_text_in_UTF_8() throws Exception {   // rejects: another charset
            var client = lonely(BY_HAND);
            encodes(client, new StatsdClient.Unique("visitors", " user #42 @home "), "visitors: user #42 @home |s",
                    "NAME:VALUE|s with the value as it is");
            encodes(client, new StatsdClient.Unique("größe", "你好 🛒"), "größe:你好 🛒|s",
                    "getBytes(StandardCharsets.UTF_8)");
        }

        @Test
        void the_prefix_precedes_every_name() throws Exception {   // rejects: a prefix in the first line only
            var client = lonely(BY_HAND.withPrefix("shop."));
            encodes(client, counter("page.views", 1, 1), "shop.page.views:1|c", "PREFIX and NAME with nothing between");
            encodes(client, new StatsdClient.Gauge("celsius", -7), "shop.celsius:0|g\nshop.celsius:-7|g",
                    "both lines of a negative gauge begin with the prefix");
            encodes(client, new StatsdClient.Unique("page", "home"), "shop.page:home|s", "every kind of metric has it");
        }

        @Test
        void the_tags_end_every_line() throws Exception {   // rejects: tags before the rate, tags in one line only
            var client = lonely(BY_HAND.withTags(List.of("env:prod", "host:db-1")));
            var likely = "|#TAG,TAG at the end of each line, after the rate";
            encodes(client, counter("hits", 1, 1), "hits:1|c|#env:prod,host:db-1", likely);
            encodes(client, counter("hits", 1, 0.5), "hits:1|c|@0.5|#env:prod,host:db-1", likely);
            encodes(client, new StatsdClient.Gauge("celsius", -7),
                    "celsius:0|g|#env:prod,host:db-1\ncelsius:-7|g|#env:prod,host:db-1", likely);
            encodes(client, new StatsdClient.Timer("t", Duration.ofMillis(1)), "t:1|ms|#env:prod,host:db-1", likely);
        }

        @Test
        void the_default_locale_has_no_effect() throws Exception {
            // rejects: String.format, which writes 0,5 in Germany, and other digits in Egypt
            var before = Locale.getDefault();
            for (var locale : List.of("de-DE", "ar-EG-u-nu-arab", "tr-TR")) {
                Locale.setDefault(Locale.forLanguageTag(locale));
                History.note("the default locale is " + locale);
                try {
                    var client = lonely(BY_HAND);
                    var likely = "String.format follows the locale, unless Locale.ROOT is its first argument";
                    encodes(client, counter("hits", 1234567, 0.5), "hits:1234567|c|@0.5", likely);
                    encodes(client, new StatsdClient.Gauge("g", 1234.5), "g:1234.5|g", likely);
                    encodes(client, new StatsdClient.GaugeDelta("g", -1234.5), "g:-1234.5|g", likely);
                    encodes(client, new StatsdClient.Timer("t", Duration.ofNanos(1_500_000)), "t:1.5|ms", likely);
                } finally {
                    Locale.setDefault(before);
                }
            }
        }

        @Test
        void an_invalid_name_value_or_rate_is_an_exception_and_no_metric() throws Exception {   // given
            var client = lonely(BY_HAND);
            for (var bad : List.of("", "a:b", "a|b", "a@b", "a#b", "a\nb", "a\tb", "a\u0000b", "a\u0085b")) {
                Check.named("name", () -> client.count(bad, 1));
                Check.named("name", () -> client.unique(bad, "x"));
            }
            Check.named("rate", () -> client.count("a", 1, 0));
            Check.named("rate", () -> client.count("a", 1, 1.1));
            Check.named("value", () -> client.gauge("a", Double.NaN));
            Check.named("delta", () -> client.gaugeDelta("a", Double.POSITIVE_INFINITY));
            Check.named("time", () -> client.timing("a", Duration.ofNanos(-1)));
            Check.named("value", () -> client.unique("a", "x|s"));
            checkStats(client, "a call with an invalid argument is not counted as a metric", "metrics=0");
        }
    }

    @Step(value = 3, title = "Send one datagram")
    class Send_one_datagram {

        @Test
        void each_metric_is_sent_as_one_datagram() throws Exception {   // rejects: an LF at the end; two datagrams
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withChance(() -> 0));
            var likely = "write() the bytes that encode() made, in one call, and nothing more;"
                    + "\n  the two lines of a negative gauge are one datagram as well";
            send(client, "count a page view", c -> c.count("page.views", 1));
            agent.expect("page.views:1|c", likely);
            send(client, "count, sampled", c -> c.count("a", 2, 0.5));
            agent.expect("a:2|c|@0.5", likely);
            send(client, "gauge", c -> c.gauge("b", 1.5));
            agent.expect("b:1.5|g", likely);
            send(client, "gauge below zero", c -> c.gauge("b", -1.5));
            agent.expect("b:0|g\nb:-1.5|g", likely);
            send(client, "gauge delta", c -> c.gaugeDelta("b", 1.5));
            agent.expect("b:+1.5|g", likely);
            send(client, "timing", c -> c.timing("d", Duration.ofMillis(7)));
            agent.expect("d:7|ms", likely);
            send(client, "unique", c -> c.unique("e", "x"));
            agent.expect("e:x|s", likely);
            client.close();
            agent.expectNothing(likely);
        }

        @Test
        void all_packets_come_from_the_same_local_address() throws Exception {   // rejects: a socket for each metric
            for (var host : hasIpv6() ? List.of("127.0.0.1", "::1") : List.of("127.0.0.1")) {
                var agent = UdpSink.open("agent", new InetSocketAddress(host, 0));
                var client = client(agent, BY_HAND);
                for (int i = 1; i <= 3; i++) {
                    view(client);
                    Check.equal(client.localAddress(), agent.expect("page.views:1|c", "nothing was sent").from(),
                            "the sender of packet " + i, "use the one channel of the client for all its packets");
                }
            }
        }

        @Test
        void stats_counts_packets_bytes_and_metrics() throws Exception {   // rejects: one metric for each packet
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND);
            view(client);
            view(client);
            send(client, "gauge below zero", c -> c.gauge("celsius", -7));
            var likely = "when the kernel has taken a packet, add 1 to packets, its length to bytes,"
                    + "\n  and the parameter metrics to metricsInPackets; a negative gauge is one metric";
            checkStats(client, likely, "metrics=3", "metricsInPackets=3", "packets=3", "bytes=52",
                    "dropped=0", "errors=0", "refused=0", "pending=0");
            History.note("send() one packet of 4 bytes that holds 3 metrics");
            client.send(ByteBuffer.wrap("test".getBytes(StandardCharsets.US_ASCII)), 3);
            checkStats(client, likely, "metricsInPackets=6", "packets=4", "bytes=56", "dropped=0");
        }

        @Test
        void a_thousand_packets_arrive_in_order() throws Exception {
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND);
            for (int i = 1; i <= 1000; i++) {
                client.count("n", i);
                client.flush();
                agent.keepUp(i, "each metric is sent as a packet of its own");
            }
            for (int i = 1; i <= 1000; i++) {
                Check.equal("n:" + i + "|c", agent.await(i, "each metric is a packet").text(), "packet " + i,
                        "packets keep their order on loopback: write each before its call returns");
            }
        }

        @Test
        void a_sampled_counter_is_sent_if_the_draw_is_below_the_rate() throws Exception {
            // rejects: <=, and chance turned around
            var agent = UdpSink.open("agent");
            for (double draw : new double[] {0, 0.49, Math.nextDown(0.5)}) {
                var client = client(agent, BY_HAND.withChance(() -> draw));
                send(client, "count at a rate of 0.5, draw " + draw, c -> c.count("hits", 1, 0.5));
                agent.expect("hits:1|c|@0.5", "a metric is sent if the draw is below its rate");
                checkStats(client, "a metric that is sent is not sampled out", "sampledOut=0", "packets=1");
            }
            for (double draw : new double[] {0.5, 0.51, 0.99}) {
                var client = client(agent, BY_HAND.withChance(() -> draw));
                send(client, "count at a rate of 0.5, draw " + draw, c -> c.count("hits", 1, 0.5));
                agent.expectNothing("a metric is not sent if the draw is the rate or above: draws are 0 <= d < 1");
                checkStats(client, "isSampledOut() must return true", "metrics=1", "sampledOut=1", "dropped=0",
                        "packets=0");
            }
        }

        @Test
        void chance_is_asked_once_for_each_sampled_counter_and_for_nothing_else() throws Exception {
            // rejects: a draw for everything, a draw for each question
            var agent = UdpSink.open("agent");
            var draws = new ArrayList<String>();
            var client = client(agent, BY_HAND.withChance(() -> {
                draws.add("draw");
                return 0.7;
            }));
            send(client, "count without a rate", c -> c.count("hits", 1));
            send(client, "count at a rate of 1", c -> c.count("hits", 1, 1));
            send(client, "gauge", c -> c.gauge("basket", 1));
            Check.equal(0, draws.size(), "draws", "only a counter with a rate below 1 is sampled");
            send(client, "count at a rate of 0.5", c -> c.count("hits", 1, 0.5));
            Check.equal(1, draws.size(), "draws", "one draw decides about one metric");
            send(client, "count at a rate of 0.8", c -> c.count("hits", 1, 0.8));
            Check.equal(2, draws.size(), "draws", "one draw decides about one metric");
            checkStats(client, "each counter is compared with its own rate", "sampledOut=1", "metricsInPackets=4");
        }

        @Test
        void a_packet_that_the_kernel_does_not_take_is_dropped() throws Exception {
            // rejects: a loop until it is taken, an exception, a count of what was not sent
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), FULL, FULL);
            var client = client(channel, BY_HAND);
            view(client);
            var likely = "write() returned 0, so the kernel has not taken the packet:"
                    + "\n  add its metrics to dropped, and do not write it again";
            checkStats(client, likely, "metrics=1", "dropped=1", "metricsInPackets=0", "packets=0", "bytes=0",
                    "errors=0");
            Check.equal(1, channel.writes(), "calls of write()", likely);
            History.note("send() one packet of 4 bytes that holds 3 metrics");
            client.send(ByteBuffer.wrap("test".getBytes(StandardCharsets.US_ASCII)), 3);
            checkStats(client, "add the parameter metrics to dropped, not 1", "dropped=4", "errors=0", "packets=0");
            view(client);
            agent.expect("page.views:1|c", "a dropped packet must not affect the next one");
            agent.expectNothing("a dropped packet must not be sent later");
        }

        @Test
        void an_IOException_drops_one_packet_and_reaches_no_caller() throws Exception {
            // rejects: an exception that passes; a packet repeated after any exception
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), FAILS, FAILS);
            var client = client(channel, BY_HAND);
            view(client);
            Check.equal(1, channel.writes(), "calls of write()", "only a PortUnreachableException is a reason to write"
                    + "\n  the packet again");
            checkStats(client, "after an IOException add the packet's metrics to dropped, and 1 to errors", "metrics=1",
                    "dropped=1", "errors=1", "packets=0", "refused=0");
            History.note("send() one packet of 4 bytes that holds 3 metrics");
            client.send(ByteBuffer.wrap("test".getBytes(StandardCharsets.US_ASCII)), 3);
            checkStats(client, "add the parameter metrics to dropped, and 1 to errors", "dropped=4", "errors=2");
            view(client);
            agent.expect("page.views:1|c", "after an exception the client goes on with the same channel");
            agent.expectNothing("a dropped packet must not be sent later");
        }

        @Test
        void an_interrupted_thread_can_send() throws Exception {
            // rejects: a blocking channel, which an interrupt closes for good; lockInterruptibly()
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND);
            History.note("the thread is interrupted");
            Thread.currentThread().interrupt();
            view(client);
            Check.that(Thread.interrupted(), "the thread to stay interrupted, but its interrupt status is cleared",
                    "do not clear the caller's interrupt status");
            view(client);
            var likely = "if the channel blocks, an interrupt closes it for good: configureBlocking(false) in step 1;"
                    + "\n  if the channel is open, look for lockInterruptibly() in step 7";
            agent.expect("page.views:1|c", likely);
            agent.expect("page.views:1|c", likely);
        }

        @Test
        void timed_records_a_body_that_returns_and_one_that_throws() throws Exception {   // given
            var agent = UdpSink.open("agent");
            var time = FakeTiming.byHand();
            var client = client(agent, BY_HAND.withTiming(timing(time)));
            var result = client.timed("checkout", () -> {
                time.advance(Duration.ofNanos(1_500_000));
                return "paid";
            });
            client.flush();
            Check.equal("paid", result, "the result of timed()", "");
            agent.expect("checkout:1.5|ms", "nothing was sent");
            Check.fails(IllegalStateException.class, () -> client.timed("checkout", () -> {
                time.advance(Duration.ofMillis(20));
                throw new IllegalStateException("no money");
            }), "a body that throws it", "");
            client.flush();
            agent.expect("checkout:20|ms", "nothing was sent");
        }

        @Test
        @EnabledIf(value = "StatsdClientTest#statsdIsInstalled", disabledReason = "the StatsD server of Etsy is not"
                + " installed on this machine; to run this check as well, install Node.js, then type"
                + " npm install -g --ignore-scripts statsd")
        void the_StatsD_server_reads_every_kind_of_metric() throws Exception {   // a peer that nobody here wrote
            view(lonely(BY_HAND));   // a TODO shows before the server is started
            var statsd = RealStatsd.start();
            var client = closeLater(StatsdClient.connect(statsd.address(), BY_HAND.withChance(() -> 0)));
            send(client, "count 1", c -> c.count("page.views", 1));
            send(client, "count 3 at a rate of 0.5", c -> c.count("page.views", 3, 0.5));
            send(client, "count 1 at a rate of 0.0001", c -> c.count("rare", 1, 0.0001));
            send(client, "gauge 12.5", c -> c.gauge("basket", 12.5));
            send(client, "gauge delta -2", c -> c.gaugeDelta("basket", -2));
            send(client, "gauge -3", c -> c.gauge("celsius", -3));
            send(client, "gauge -7", c -> c.gauge("celsius", -7));
            send(client, "timing", c -> c.timing("checkout", Duration.ofNanos(1_500_000)));
            statsd.expect("counters", "page.views", "7");
            statsd.expect("counters", "rare", "10000");
            statsd.expect("gauges", "basket", "10.5");
            statsd.expect("gauges", "celsius", "-7");
            statsd.expect("timers", "checkout", "[ 1.5 ]");
            statsd.expect("counters", "statsd.bad_lines_seen", "0");
        }
    }

    @Step(value = 4, title = "Survive a refused packet")
    class Survive_a_refused_packet {

        @Test
        void an_error_about_an_older_packet_does_not_drop_this_one() throws Exception {
            // rejects: PortUnreachableException caught, and the current packet forgotten
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), REFUSED);
            var client = client(channel, BY_HAND);
            view(client);
            var likely = "the exception is about an older packet, and the current one was not sent: write it again";
            agent.expect("page.views:1|c", likely);
            agent.expectNothing("write it once more, not more often");
            checkStats(client, likely, "metrics=1", "refused=1", "dropped=0", "errors=0", "packets=1",
                    "metricsInPackets=1", "bytes=14");
            Check.equal(2, channel.writes(), "calls of write() on the client's channel",
                    "with 1 call, the packet went out on another channel; write it once more on the same channel");
        }

        @Test
        void a_second_refusal_drops_the_packet() throws Exception {   // rejects: a loop until it goes out
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), REFUSED, REFUSED);
            var client = client(channel, BY_HAND);
            view(client);
            Check.equal(2, channel.writes(), "calls of write() on the client's channel", "once more is enough:"
                    + " a loop would hold up the program for as long as the agent is away");
            checkStats(client, "the second exception drops the packet and is an error; refused counts the first one",
                    "dropped=1", "errors=1", "packets=0", "refused=1");
            view(client);
            agent.expect("page.views:1|c", "a dropped packet must not affect the next one");
            agent.expectNothing("a dropped packet must not be sent later");
        }

        @Test
        void the_result_of_the_second_write_decides() throws Exception {
            // rejects: a second write whose outcome nobody looks at
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), REFUSED, FULL, REFUSED, FAILS);
            var client = client(channel, BY_HAND);
            view(client);
            checkStats(client, "the second write returned 0: dropped, but no error", "dropped=1", "errors=0",
                    "refused=1", "packets=0");
            view(client);
            checkStats(client, "the second write threw: dropped, and an error", "dropped=2", "errors=1", "refused=2",
                    "packets=0");
            Check.equal(4, channel.writes(), "calls of write() on the client's channel", "there is no third write");
        }

        @Test
        @EnabledIf(value = REFUSALS_ARE_REPORTED, disabledReason = NO_REPORTS)
        void a_program_does_not_notice_that_no_agent_listens() throws Exception {   // rejects: an exception that passes
            var client = lonely(BY_HAND);
            Await.until(() -> {
                view(client);
                return client.stats().refused() >= 3;
            }, "that stats().refused() becomes 3", "count each PortUnreachableException of a first write");
        }

        @Test
        @EnabledIf(value = REFUSALS_ARE_REPORTED, disabledReason = NO_REPORTS)
        void no_metric_is_lost_after_the_agent_has_come_back() throws Exception {
            // rejects: an error swallowed together with the first packet
            for (int i = 1; ; i++) {   // another process may take the port in between
                try {
                    goAwayAndComeBack();
                    return;
                } catch (BindException e) {
                    Check.that(i < 5, "a port that stays free, got " + e + " five times", "");
                }
            }
        }

        private void goAwayAndComeBack() throws Exception {
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND);
            agent.close();
            History.note("the agent goes away");
            Await.until(() -> {   // the last packet that went out leaves an error for the next one
                long before = client.stats().packets();
                view(client);
                return client.stats().refused() >= 1 && client.stats().packets() > before;
            }, "that stats().refused() becomes 1", "count each PortUnreachableException of a first write");
            var back = UdpSink.open("agent, back again", agent.address());
            for (int n = 1; n <= 20; n++) {
                client.count("order", n);
                client.flush();
            }
            for (int n = 1; n <= 20; n++) {
                back.expect("order:" + n + "|c", "the first write after the agent's return still reports an older"
                        + "\n  packet: write the current packet again");
            }
        }

        @Test
        void the_client_keeps_its_channel_after_refusals() throws Exception {   // rejects: a new channel each time
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), REFUSED, REFUSED, REFUSED);
            var client = client(channel, BY_HAND);
            var likely = "the channel is usable after a PortUnreachableException: go on with the same one";
            view(client);
            view(client);
            Check.equal(client.localAddress(), agent.expect("page.views:1|c", likely).from(), "the sender", likely);
            view(client);
            Check.equal(client.localAddress(), agent.expect("page.views:1|c", likely).from(), "the sender", likely);
            Check.equal(5, channel.writes(), "calls of write() on the client's channel", likely);
        }

        @Test
        @EnabledIf(value = "StatsdClientTest#hasSecondAddress", disabledReason = "this system has no address 127.0.0.2")
        void a_client_follows_an_agent_whose_name_gets_another_address() throws Exception {   // given
            for (int i = 1; ; i++) {   // another process may have this port of the second address
                try {
                    moveAway();
                    return;
                } catch (BindException e) {
                    Check.that(i < 5, "a port that is free on both addresses, got " + e + " five times", "");
                }
            }
        }

        private void moveAway() throws Exception {
            var old = UdpSink.open("the old address");
            int port = old.address().getPort();
            var moved = UdpSink.open("the new address", new InetSocketAddress("127.0.0.2", port));
            var time = FakeTiming.byHand();
            var addresses = new AtomicReference<>(List.of(old.address().getAddress()));
            var client = closeLater(StatsdClient.connect(named("metrics.test", old.address()), BY_HAND
                    .withLookup(host -> addresses.get()).withTiming(timing(time))));
            var likely = "the given lookup passes the channel that open(agent) returns to the client:"
                    + "\n  open() must connect to its argument, and write() must use the field channel";
            for (var found : List.of(List.of(moved.address().getAddress(), old.address().getAddress()),
                    List.of(moved.address().getAddress()))) {
                time.awaitSleepers(1, likely);
                view(client);
                Check.equal(client.localAddress(), old.expect("page.views:1|c", likely).from(), "the sender", likely);
                addresses.set(found);
                History.note("a lookup finds " + found);
                time.advance(Duration.ofSeconds(30));
            }
            time.awaitSleepers(1, likely);
            view(client);
            Check.equal(client.localAddress(), moved.expect("page.views:1|c", likely).from(), "the sender", likely);
            old.expectNothing(likely);
            checkStats(client, likely, "moved=1", "metricsInPackets=3", "dropped=0");
        }

        @Test
        void a_failed_lookup_changes_nothing() throws Exception {   // given
            var agent = UdpSink.open("agent");
            var time = FakeTiming.byHand();
            var client = closeLater(StatsdClient.connect(named("metrics.test", agent.address()), BY_HAND
                    .withLookup(host -> {
                        throw new UnknownHostException(host);
                    }).withTiming(timing(time))));
            for (int i = 1; i <= 3; i++) {
                time.awaitSleepers(1, "");
                time.advance(Duration.ofSeconds(30));
            }
            time.awaitSleepers(1, "");
            view(client);
            agent.expect("page.views:1|c", "the client goes on with its channel");
            checkStats(client, "", "moved=0", "metricsInPackets=1");
        }
    }

    @Step(value = 5, title = "Batch metrics into packets", further = true)
    class Batch_metrics_into_packets {

        @Test
        void ten_metrics_are_sent_as_one_packet_of_ten_lines() throws Exception {
            // rejects: a packet for each; an LF at the end
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND);
            views(client, 10);
            flush(client);
            agent.expect(lines(10), "lines are joined by LF, with none at the end");
            checkStats(client, "one packet with ten metrics", "packets=1", "bytes=149", "metrics=10",
                    "metricsInPackets=10", "pending=0");
        }

        @Test
        void nothing_is_sent_before_the_packet_is_full_or_flushed() throws Exception {
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND);
            views(client, 10);
            checkStats(client, "counters.pending counts the metrics that wait", "pending=10", "packets=0",
                    "metricsInPackets=0");
            agent.expectNothing("send a packet when the next metric does not fit, or in flushPending()");
        }

        @Test
        void a_flush_with_nothing_pending_does_not_call_write() throws Exception {
            // rejects: an empty write, and the packets that it is counted as
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address());
            var client = client(channel, BY_HAND);
            flush(client);
            views(client, 1);
            flush(client);
            flush(client);
            agent.expect("page.views:1|c", "flush() sends what is pending");
            agent.expectNothing("after a flush nothing is pending");
            var likely = "test in flushPending() whether anything is pending before you write";
            checkStats(client, likely, "packets=1", "metricsInPackets=1", "dropped=0");
            Check.equal(1, channel.writes(), "calls of write()", likely);
        }

        @Test
        void a_packet_is_sent_when_the_next_metric_does_not_fit() throws Exception {
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withMaxPacketBytes(50));   // 3 x 14 + 2 = 44
            views(client, 4);
            agent.expect(lines(3), "44 bytes, an LF and 14 bytes are more than 50: send the pending packet first");
            checkStats(client, "the fourth metric is pending", "pending=1", "metricsInPackets=3", "packets=1");
            flush(client);
            agent.expect("page.views:1|c", "the metric that did not fit begins the next packet");
        }

        @Test
        void a_packet_may_be_full_to_the_last_byte_and_is_never_longer() throws Exception {
            // rejects: an LF at the end that is counted, < for <=, an LF between two lines that is not counted
            var agent = UdpSink.open("agent");
            var full = client(agent, BY_HAND.withMaxPacketBytes(44));
            views(full, 3);
            flush(full);
            agent.expect(lines(3), "14 + 1 + 14 + 1 + 14 = 44 bytes are allowed: look for < where <= is meant");
            var tooLong = client(agent, BY_HAND.withMaxPacketBytes(43));
            views(tooLong, 3);
            flush(tooLong);
            agent.expect(lines(2), "the LF between two lines counts as well");
            agent.expect("page.views:1|c", "the third line begins the next packet");
        }

        @Test
        void the_length_of_a_packet_is_counted_in_bytes() throws Exception {   // rejects: String.length()
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withMaxPacketBytes(19));   // é:1|c is 6 bytes, 5 characters
            for (int i = 0; i < 4; i++) {
                add(client, "count é", c -> c.count("é", 1));
            }
            flush(client);
            var likely = "é is two bytes in UTF-8: count bytes, not characters";
            agent.expect("é:1|c\né:1|c", likely);
            agent.expect("é:1|c\né:1|c", likely);
        }

        @Test
        void the_two_lines_of_a_negative_gauge_are_never_split() throws Exception {   // rejects: lines added one by one
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withMaxPacketBytes(52));
            views(client, 1);
            add(client, "gauge -7", c -> c.gauge("celsius", -7));   // 14 + 1 + 24 = 39 bytes
            add(client, "gauge -8", c -> c.gauge("celsius", -8));   // room for its first line only
            flush(client);
            var likely = "if only one of two packets arrived, the gauge would be wrong: keep both lines together";
            agent.expect("page.views:1|c\ncelsius:0|g\ncelsius:-7|g", likely);
            agent.expect("celsius:0|g\ncelsius:-8|g", likely);
            checkStats(client, "a negative gauge has two lines, but is one metric", "metricsInPackets=3", "pending=0");
        }

        @Test
        void a_metric_longer_than_any_packet_is_dropped_alone() throws Exception {
            // rejects: an exception; a packet that is too long; neighbours that are sent or lost as well
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withMaxPacketBytes(50));
            views(client, 1);
            add(client, "count with a name of 47 characters, 51 bytes", c -> c.count("n".repeat(47), 1));
            checkStats(client, "a metric longer than maxPacketBytes is dropped, and what is pending stays pending",
                    "dropped=1", "pending=1", "packets=0", "errors=0");
            views(client, 1);
            flush(client);
            agent.expect(lines(2), "the metrics before and after it are not affected");
        }

        @Test
        void a_metric_may_fill_a_packet_by_itself() throws Exception {   // rejects: off by one, a packet that is empty
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address());
            var client = client(channel, BY_HAND.withMaxPacketBytes(50));
            add(client, "count with a name of 46 characters", c -> c.count("n".repeat(46), 1));
            views(client, 1);
            flush(client);
            agent.expect("n".repeat(46) + ":1|c", "50 bytes are allowed, and a single line needs no LF");
            agent.expect("page.views:1|c", "the next metric begins a packet of its own");
            Check.equal(2, channel.writes(), "calls of write()", "do not send an empty packet before a full one");
        }

        @Test
        void ten_thousand_page_views_are_sent_as_106_packets() throws Exception {
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND);
            for (int i = 0; i < 100; i++) {
                for (int n = 0; n < 100; n++) {
                    client.count("page.views", 1);
                }
                agent.keepUp(client.stats().packets(), "packets arrive");
            }
            flush(client);
            checkStats(client, "95 lines of 14 bytes and 94 LFs fit into 1,432 bytes", "packets=106", "bytes=149894",
                    "metricsInPackets=10000");
            agent.await(106, "stats() counts packets that were never sent");
        }

        @Test
        void every_packet_holds_as_many_metrics_as_fit() throws Exception {
            // rejects: every other kind of packing, metrics out of order, a buffer of a fixed size
            var random = new Random(402);
            for (int max : new int[] {16, 64, 100, 511, 512, 1432, 8932, 65_507}) {
                var agent = UdpSink.open("agent");
                var client = client(agent, BY_HAND.withMaxPacketBytes(max));
                var units = new ArrayList<String>();
                int count = max > 1432 ? 40 : 400;
                for (int i = 0; i < count; i++) {
                    var name = (random.nextBoolean() ? "é" : "e").repeat(1 + random.nextInt(max / 3));
                    int value = random.nextInt(-50, 50);
                    client.gauge(name, value);
                    units.add((value < 0 ? name + ":0|g\n" : "") + name + ":" + value + "|g");
                    agent.keepUp(client.stats().packets(), "packets arrive");
                }
                flush(client);
                var dropped = units.stream().filter(unit -> utf8(unit) > max).count();
                units.removeIf(unit -> utf8(unit) > max);
                var likely = "send a packet only when the next metric would not fit into " + max + " bytes,"
                        + "\n  which are options.maxPacketBytes()";
                for (var packet : packed(units, max)) {
                    agent.expect(packet, likely);
                }
                checkStats(client, "only a metric longer than any packet is dropped", "metrics=" + count,
                        "dropped=" + dropped, "pending=0");
            }
        }

        /** Each packet takes as many of the next metrics as fit. */
        private static List<String> packed(List<String> units, int max) {
            var packets = new ArrayList<String>();
            int length = max;   // of the last packet, in bytes
            for (var unit : units) {
                if (length + 1 + utf8(unit) > max) {
                    packets.add(unit);
                    length = utf8(unit);
                } else {
                    packets.set(packets.size() - 1, packets.getLast() + "\n" + unit);
                    length += 1 + utf8(unit);
                }
            }
            return packets;
        }

        @Test
        void all_metrics_of_a_lost_packet_are_dropped() throws Exception {
            // rejects: dropped counted by packets; a lost packet that is sent again with the next one
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), FULL, FAILS, FULL);
            var client = client(channel, BY_HAND.withMaxPacketBytes(149));
            views(client, 10);
            flush(client);
            checkStats(client, "ten metrics are lost with this packet", "dropped=10", "pending=0", "packets=0");
            views(client, 5);
            flush(client);
            checkStats(client, "five more are lost with the next one", "dropped=15", "pending=0", "errors=1",
                    "packets=0");
            views(client, 11);   // the eleventh does not fit, so that add() sends ten
            checkStats(client, "the packet that add() sends is lost, and the metric after it is pending", "dropped=25",
                    "pending=1", "errors=1", "packets=0");
            flush(client);
            agent.expect("page.views:1|c", "after a lost packet the next one begins empty");
            Check.equal(4, channel.writes(), "calls of write()", "a lost packet is not written again");
        }

        @Test
        void a_refused_packet_is_written_again_whole() throws Exception {
            // rejects: a buffer that is empty after one write; a full packet that is sent by another way
            var agent = UdpSink.open("agent");
            var client = client(ScriptedChannel.to(agent.address(), REFUSED, PASSES, REFUSED),
                    BY_HAND.withMaxPacketBytes(149));
            var likely = "the second write must hold all lines of the packet, whether flush() sends it or add()";
            views(client, 10);
            flush(client);
            agent.expect(lines(10), likely);
            checkStats(client, likely, "metricsInPackets=10", "packets=1", "bytes=149", "refused=1");
            views(client, 11);   // the eleventh does not fit, so that add() sends ten
            agent.expect(lines(10), likely);
            checkStats(client, likely, "metricsInPackets=20", "packets=2", "bytes=298", "refused=2", "pending=1",
                    "dropped=0");
        }
    }

    @Step(value = 6, title = "Flush on time", further = true)
    class Flush_on_time {

        private static final Duration INTERVAL = Duration.ofSeconds(10);
        private static final String SLEEP = "the flusher must sleep by options.timing().sleepUntil() before each flush";

        private final FakeTiming time = FakeTiming.byHand();
        private final StatsdClient.Options options = BY_HAND.withFlushInterval(INTERVAL).withTiming(timing(time));

        @Test
        void a_metric_is_sent_at_the_end_of_the_interval_and_not_before() throws Exception {
            // rejects: milliseconds taken for nanoseconds
            var agent = UdpSink.open("agent");
            var client = client(agent, options);
            time.awaitSleepers(1, SLEEP);
            views(client, 1);
            pass(INTERVAL.minusNanos(1));
            time.awaitSleepers(1, SLEEP);   // one that woke has flushed when it sleeps again
            agent.expectNothing("sleep for the whole interval, in nanoseconds, before the first flush");
            pass(Duration.ofNanos(1));
            agent.expect("page.views:1|c", "call flush() at the end of each interval");
        }

        @Test
        void every_interval_ends_with_a_flush() throws Exception {   // rejects: a flusher that flushes once
            var agent = UdpSink.open("agent");
            var client = client(agent, options);
            for (int i = 1; i <= 5; i++) {
                time.awaitSleepers(1, SLEEP);
                views(client, i);
                pass(INTERVAL);
                agent.expect(lines(i), SLEEP);
            }
            checkStats(client, "one packet for each interval", "packets=5", "metricsInPackets=15", "pending=0");
        }

        @Test
        void an_interval_without_metrics_sends_nothing() throws Exception {   // rejects: empty packets, or their count
            var agent = UdpSink.open("agent");
            var client = client(agent, options);
            for (int i = 1; i <= 20; i++) {
                time.awaitSleepers(1, SLEEP);
                pass(INTERVAL);
            }
            time.awaitSleepers(1, SLEEP);
            agent.expectNothing("with nothing pending there is nothing to send");
            checkStats(client, "with nothing pending there is nothing to send", "packets=0", "bytes=0");
        }

        @Test
        void missed_intervals_are_skipped_and_later_flushes_keep_their_times() throws Exception {
            // rejects: next += interval alone; next = now + interval; now < next, which fails when nanoTime overflows
            for (boolean overflows : new boolean[] {false, true}) {
                var clock = FakeTiming.byHand();
                long offset = overflows ? Long.MAX_VALUE - clock.nanoTime() - 25_000_000_000L : 0;
                History.note(overflows ? "the clock passes Long.MAX_VALUE after 25 s" : "the clock begins below zero");
                var agent = UdpSink.open("agent");
                var client = client(agent, options.withTiming(timing(clock, offset)));
                for (var late : List.of(Duration.ofSeconds(1003), Duration.ofSeconds(27), Duration.ofSeconds(43))) {
                    clock.awaitSleepers(1, SLEEP);
                    views(client, 1);
                    pass(clock, late);   // until 1003 s, 1030 s and 1073 s after the start
                    agent.expect("page.views:1|c", SLEEP);
                    clock.awaitSleepers(1, SLEEP);
                    Check.equal(0L, clock.lateSleeps(), "calls of sleepUntil() with a time that had come already",
                            "after a late flush, skip all intervals that are over;\n  compare times by their"
                                    + " difference, next - now > 0, because nanoTime() may overflow");
                }
                views(client, 1);
                pass(clock, Duration.ofSeconds(7).minusNanos(1));
                clock.awaitSleepers(1, SLEEP);
                agent.expectNothing("the intervals are counted from the start: this flush is due 1080 s after it");
                pass(clock, Duration.ofNanos(1));
                agent.expect("page.views:1|c", "the intervals are counted from the start: this flush is due 1080 s"
                        + " after it,\n  although the flushes before it were late");
            }
        }

        @Test
        void a_failing_network_does_not_end_the_flusher() throws Exception {
            // rejects: a loop that ends with the first error
            var agent = UdpSink.open("agent");
            var client = client(ScriptedChannel.to(agent.address(), FAILS, FULL, REFUSED, REFUSED), options);
            for (int i = 1; i <= 4; i++) {
                time.awaitSleepers(1, "the flusher has ended after a failed packet");
                views(client, 1);
                pass(INTERVAL);
            }
            agent.expect("page.views:1|c", "the flusher has ended after a failed packet");
        }

        @Test
        void the_flusher_does_not_keep_the_JVM_alive() throws Exception {
            var flusher = new CompletableFuture<Thread>();
            client(UdpSink.open("agent"), options.withTiming(new StatsdClient.Timing() {
                @Override
                public long nanoTime() {
                    return time.nanoTime();
                }

                @Override
                public void sleepUntil(long nanoTime) throws InterruptedException {
                    flusher.complete(Thread.currentThread());
                    time.sleepUntil(nanoTime);
                }
            }));
            Check.that(Await.value(flusher, "a flusher that sleeps", SLEEP).isDaemon(),
                    "a daemon thread, got another",
                    "flushLoop() runs on a virtual thread, which is a daemon: sleep there, on no thread of your own");
        }

        @Test
        void a_flushInterval_of_zero_starts_no_flusher() throws Exception {   // given
            var agent = UdpSink.open("agent");
            var client = client(agent, options.withFlushInterval(Duration.ZERO));
            views(client, 1);
            pass(INTERVAL);
            agent.expectNothing("zero means no flusher");
            Check.equal(0L, time.sleeps(), "sleeps", "zero means no flusher");
        }

        @Test
        void close_ends_the_flusher() throws Exception {
            // rejects: an interrupt that the loop swallows; and, by the check for leaks, a thread that stays
            var client = client(UdpSink.open("agent"), options);
            time.awaitSleepers(1, SLEEP);
            client.close();
            Await.until(() -> time.sleepers() == 0, "that the flusher ends when the client closes",
                    "close() interrupts the flusher: let the InterruptedException end the loop");
        }

        @Test
        void the_flusher_works_with_the_system_clock() throws Exception {
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withFlushInterval(Duration.ofMillis(20)));
            for (int i = 1; i <= 2; i++) {
                views(client, 1);
                agent.expect("page.views:1|c", "times and intervals are in nanoseconds");
            }
        }

        private void pass(Duration duration) {
            pass(time, duration);
        }

        private static void pass(FakeTiming clock, Duration duration) {
            History.note(BigDecimal.valueOf(duration.toNanos(), 9).stripTrailingZeros().toPlainString() + " s pass");
            clock.advance(duration);
        }
    }

    @Step(value = 7, title = "Be safe for many threads", further = true)
    class Be_safe_for_many_threads {

        private static final String TOGETHER =
                "two threads run an action at once: exclusively() must let in one at a time";
        private static final Duration LONG = Duration.ofSeconds(3);

        @Test
        void close_sends_what_is_pending_and_closes_the_channel() throws Exception {
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), REFUSED);
            var client = client(channel, BY_HAND);
            views(client, 3);
            client.close();
            Check.equal(2, channel.writes(), "calls of write() when close() returns, the first of which is refused,",
                    "finish() must send what is pending by flushPending(), on the thread that calls close()");
            agent.expect(lines(3), "finish() must send what is pending before it closes the channel");
            checkStats(client, "finish() sends by flushPending(), as flush() does", "packets=1", "metricsInPackets=3",
                    "pending=0", "refused=1");
            Check.that(!channel.isOpen(), "the channel to be closed when close() returns, it is open",
                    "finish() must close the channel: close(channel)");
            var failing = ScriptedChannel.to(agent.address(), FAILS);
            var unlucky = client(failing, BY_HAND);
            views(unlucky, 3);
            unlucky.close();
            checkStats(unlucky, "a packet that cannot be sent at close() is dropped", "dropped=3", "pending=0");
            Check.that(!failing.isOpen(), "the channel to be closed although its last write failed, it is open",
                    "finish() must close the channel: close(channel)");
            views(unlucky, 1);
            flush(unlucky);
            checkStats(unlucky, "finish() must set closed, also if the last packet is lost", "dropped=4", "errors=1");
        }

        @Test
        void after_close_metrics_are_dropped() throws Exception {
            // rejects: metrics that wait for ever; an error for each; an exception
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND);
            views(client, 1);
            client.close();
            agent.expect("page.views:1|c", "close() sends what is pending");
            views(client, 2);
            flush(client);
            client.close();
            agent.expectNothing("nothing is sent after close()");
            checkStats(client, "finish() must set closed: submit(), which is given, then drops each metric",
                    "metrics=3", "dropped=2", "pending=0", "errors=0", "packets=1");
        }

        @Test
        void a_metric_waits_while_another_thread_sends() throws Exception {
            // rejects: no lock, one around the counters alone, tryLock() with and without a time
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), HELD);
            var client = client(channel, BY_HAND);
            views(client, 3);
            var sending = Beside.run("flush()", client::flush);
            channel.awaitHeld("flush() sends what is pending");
            countWhileHeld(client, channel, TOGETHER);
            sending.finish(TOGETHER);
            flush(client);
            agent.expect(lines(3), TOGETHER);
            agent.expect("late:1|c", TOGETHER);
            checkStats(client, TOGETHER, "metricsInPackets=4", "packets=2", "pending=0");
        }

        @Test
        void a_metric_waits_while_the_flusher_sends() throws Exception {   // rejects: flushPending() in flushLoop()
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), HELD);
            var time = FakeTiming.byHand();
            var client = client(channel, BY_HAND.withFlushInterval(Duration.ofSeconds(10)).withTiming(timing(time)));
            views(client, 3);
            var likely = "flushLoop() must call flush(), which calls flushPending() exclusively;"
                    + "\n  if it does, " + TOGETHER;
            time.awaitSleepers(1, likely);
            History.note("10 s pass");
            time.advance(Duration.ofSeconds(10));
            channel.awaitHeld("the flusher sends what is pending");
            countWhileHeld(client, channel, likely);
            client.close();
            agent.expect(lines(3), likely);
            agent.expect("late:1|c", likely);
            checkStats(client, likely, "metricsInPackets=4", "packets=2", "pending=0");
        }

        /** Counts one metric on another thread while a write is held up, and then lets the write go on. */
        private static void countWhileHeld(StatsdClient client, ScriptedChannel channel, String likely)
                throws Exception {
            var counting = Beside.run("count(\"late\", 1)", () -> client.count("late", 1));
            counting.settle();
            if (counting.thread().getState() == Thread.State.TIMED_WAITING) {
                counting.thread().join(LONG);   // does it give up?
            }
            channel.release();
            counting.finish(likely);
            checkStats(client, "a thread that finds another one inside must wait, however long it takes:"
                    + "\n  tryLock() gives up, and its metric is lost and not even counted", "metrics=4");
        }

        @Test
        void two_threads_that_flush_or_close_send_one_packet() throws Exception {
            // rejects: no lock around the flush; closed set after the flush, outside the lock
            two("flush()", StatsdClient::flush);
            two("close()", StatsdClient::close);
        }

        private void two(String what, Consumer<StatsdClient> call) throws Exception {
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), HELD);
            var client = client(channel, BY_HAND);
            views(client, 3);
            var one = Beside.run(what, () -> call.accept(client));
            channel.awaitHeld(what + " sends what is pending");
            var other = Beside.run(what, () -> call.accept(client));
            other.settle();
            Check.that(one.thread().isAlive(), what + " to return after its packet is written, it returned before",
                    "send on the thread that calls, and start no other thread for it");
            channel.release();
            one.finish(TOGETHER);
            other.finish(TOGETHER);
            agent.expect(lines(3), TOGETHER);
            agent.expectNothing(TOGETHER);
            checkStats(client, TOGETHER, "packets=1", "metricsInPackets=3", "errors=0", "dropped=0", "pending=0");
        }

        @Test
        void an_action_that_throws_lets_the_next_thread_in() throws Exception {   // rejects: no unlock in finally
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withChance(() -> {
                throw new IllegalStateException("no chance");
            }));
            History.note("count at a rate of 0.5, and chance() throws");
            Check.fails(IllegalStateException.class, () -> client.count("hits", 1, 0.5),
                    "count(), because chance() threw it", "an exception of an action must reach the caller");
            var likely = "after an exception no thread gets in any more: unlock in finally";
            Beside.run("count a page view, flush", () -> {
                client.count("page.views", 1);
                client.flush();
            }).finish(likely);
            agent.expect("page.views:1|c", likely);
            checkStats(client, "a call that throws is not counted as a metric", "metrics=1");
        }

        @Test
        void an_interrupt_ends_neither_the_wait_nor_a_close() throws Exception {
            // rejects: lockInterruptibly(), a close that an interrupt cuts short
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), HELD);
            var client = client(channel, BY_HAND.withFlushInterval(Duration.ofHours(1)));
            views(client, 1);
            var sending = Beside.run("flush()", client::flush);
            channel.awaitHeld("flush() sends what is pending");
            var likely = "lock() waits on when it is interrupted, and keeps the interrupt status;"
                    + "\n  lockInterruptibly() throws, and the metric is lost";
            var counting = Beside.run("count(\"late\", 1)", () -> {
                client.count("late", 1);
                Check.that(Thread.interrupted(), "the thread to stay interrupted, but its interrupt status is cleared",
                        likely);
            });
            counting.settle();
            History.note("the thread that waits is interrupted");
            counting.thread().interrupt();
            channel.release();
            sending.finish(TOGETHER);
            counting.finish(likely);
            checkStats(client, likely, "metrics=2");
            agent.expect("page.views:1|c", TOGETHER);
            History.note("an interrupted thread closes the client");
            Thread.currentThread().interrupt();
            client.close();
            Check.that(Thread.interrupted(), "the thread to stay interrupted, but its interrupt status is cleared",
                    "do not clear the caller's interrupt status");
            agent.expect("late:1|c", "close() sends what is pending, also on an interrupted thread");
        }

        @Test
        void the_lines_of_many_threads_arrive_whole_and_once() throws Exception {   // rejects: every kind of race
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND);
            var threads = new ArrayList<Beside>();
            for (int t = 1; t <= 8; t++) {
                var name = "thread-" + t;
                threads.add(Beside.run(name + " counts 5000 times", () -> {
                    for (int n = 1; n <= 5000; n++) {
                        client.count(name, n);
                        if (n % 200 == 0) {
                            agent.keepUp(client.stats().packets(), TOGETHER);
                        }
                    }
                }));
            }
            for (var thread : threads) {
                thread.finish(TOGETHER);
            }
            client.close();
            checkStats(client, TOGETHER, "metrics=40000", "metricsInPackets=40000", "dropped=0", "pending=0",
                    "errors=0");
            agent.await((int) client.stats().packets(), TOGETHER);
            var last = new HashMap<String, Integer>();
            var whole = Pattern.compile("(thread-[1-8]):([1-9]\\d{0,3})\\|c");   // compiled once for 40,000 lines
            for (var line : agent.all().stream().flatMap(packet -> packet.text().lines()).toList()) {
                var parts = whole.matcher(line);
                Check.that(parts.matches(), "whole lines only, got " + line, TOGETHER);
                var name = parts.group(1);
                int number = Integer.parseInt(parts.group(2));
                Check.equal(last.getOrDefault(name, 0) + 1, number, "the next number of " + name,
                        "each line must arrive once, and the lines of one thread in their order");
                last.put(name, number);
            }
            Check.equal(8 * 5000, last.values().stream().mapToInt(Integer::intValue).sum(), "lines", TOGETHER);
        }

        @Test
        void a_metric_counted_during_a_close_is_either_sent_or_dropped() throws Exception {
            var agent = UdpSink.open("agent");
            var threads = Executors.newFixedThreadPool(2);   // for all rounds: starting new ones takes most of a round
            closeLater(threads::shutdownNow);
            History.note("200 times two threads count 50 page views each, and a third one closes the client");
            long packets = 0;
            long lines = 0;
            for (int i = 0; i < 200; i++) {
                var client = client(agent, BY_HAND.withMaxPacketBytes(100));
                var started = new CountDownLatch(2);
                var counting = new ArrayList<Future<?>>();
                for (int t = 0; t < 2; t++) {
                    counting.add(threads.submit(() -> {
                        for (int n = 0; n < 50; n++) {
                            client.count("page.views", 1);
                            started.countDown();
                        }
                    }));
                }
                Await.open(started, "that two threads count", TOGETHER);
                client.close();
                for (var thread : counting) {
                    Await.value(thread, "that counting 50 page views ends", TOGETHER);
                }
                var stats = client.stats();
                checkStats(client, TOGETHER, "metrics=100", "pending=0", "sampledOut=0", "errors=0");
                Check.equal(100L, stats.metricsInPackets() + stats.dropped(), "metricsInPackets + dropped",
                        "a metric counted before close() is sent, a later one is dropped");
                packets += stats.packets();
                lines += stats.metricsInPackets();
                agent.keepUp(packets, TOGETHER);
            }
            agent.await((int) packets, "packets were counted that were never sent");
            Check.equal(lines, agent.all().stream().flatMap(packet -> packet.text().lines())
                    .filter("page.views:1|c"::equals).count(), "lines at the agent",
                    "as many as metricsInPackets says");
        }
    }

    // Clients.

    private static StatsdClient client(UdpSink agent, StatsdClient.Options options) throws IOException {
        return closeLater(StatsdClient.connect(agent.address(), options));
    }

    private static StatsdClient client(ScriptedChannel channel, StatsdClient.Options options) throws IOException {
        return closeLater(StatsdClient.start(channel, options));
    }

    /** A client whose agent does not exist. */
    private static StatsdClient lonely(StatsdClient.Options options) throws IOException {
        return closeLater(StatsdClient.connect(deadAddress(), options));
    }

    /** No socket is bound there. */
    private static InetSocketAddress deadAddress() throws IOException {
        try (var socket = new DatagramSocket(0, InetAddress.getLoopbackAddress())) {
            return (InetSocketAddress) socket.getLocalSocketAddress();
        }
    }

    private static boolean hasIpv6() {
        try (var socket = new DatagramSocket(new InetSocketAddress("::1", 0))) {
            return true;
        } catch (SocketException e) {
            return false;
        }
    }

    static boolean hasSecondAddress() {
        try (var socket = new DatagramSocket(new InetSocketAddress("127.0.0.2", 0))) {
            return true;
        } catch (SocketException e) {
            return false;
        }
    }

    /** The same address, as if this name had been looked up. */
    private static InetSocketAddress named(String host, InetSocketAddress address) throws IOException {
        return new InetSocketAddress(InetAddress.getByAddress(host, address.getAddress().getAddress()),
                address.getPort());
    }

    private static StatsdClient.Timing timing(FakeTiming time) {
        return timing(time, 0);
    }

    /** A clock that is ahead of the other by an offset, which may make it overflow. */
    private static StatsdClient.Timing timing(FakeTiming time, long offset) {
        return new StatsdClient.Timing() {
            @Override
            public long nanoTime() {
                return time.nanoTime() + offset;
            }

            @Override
            public void sleepUntil(long nanoTime) throws InterruptedException {
                time.sleepUntil(nanoTime - offset);
            }
        };
    }

    // Metrics.

    private static StatsdClient.Counter counter(String name, long delta, double rate) {
        return new StatsdClient.Counter(name, delta, rate);
    }

    /** Sends one metric at once. */
    private static void send(StatsdClient client, String what, Consumer<StatsdClient> metric) {
        History.note(what + ", flush");
        metric.accept(client);
        client.flush();
    }

    private static void view(StatsdClient client) {
        send(client, "count a page view", c -> c.count("page.views", 1));
    }

    private static void add(StatsdClient client, String what, Consumer<StatsdClient> metric) {
        History.note(what);
        metric.accept(client);
    }

    private static void views(StatsdClient client, int count) {
        add(client, "count %d page view%s".formatted(count, count == 1 ? "" : "s"), c -> {
            for (int i = 0; i < count; i++) {
                c.count("page.views", 1);
            }
        });
    }

    private static void flush(StatsdClient client) {
        add(client, "flush", StatsdClient::flush);
    }

    /** So many page views, as they travel. */
    private static String lines(int count) {
        return String.join("\n", Collections.nCopies(count, "page.views:1|c"));
    }

    private static int utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8).length;
    }

    // Checks.

    private static void encodes(StatsdClient client, StatsdClient.Metric metric, String expected, String likely) {
        var got = client.encode(metric);
        if (!Arrays.equals(expected.getBytes(StandardCharsets.UTF_8), got)) {
            throw History.fail("expected %s as\n  %s\ngot\n  %s".formatted(metric, expected.replace("\n", "\n  "),
                    new String(got, StandardCharsets.UTF_8).replace("\n", "\n  ")) + "\n"
                    + Bytes.diff(expected.getBytes(StandardCharsets.UTF_8), got), likely);
        }
    }

    /** Fields are given as "dropped=1"; the others may have any value. */
    private static void checkStats(StatsdClient client, String likely, String... expected) {
        var stats = client.stats();
        var all = Arrays.stream(StatsdClient.Stats.class.getRecordComponents())
                .collect(Collectors.toMap(RecordComponent::getName, part -> value(part, stats)));
        var wrong = Arrays.stream(expected).map(each -> each.split("="))
                .filter(each -> Long.parseLong(each[1]) != all.get(each[0])).toList();
        Check.that(wrong.isEmpty(), "stats() with " + shown(wrong, each -> each[1]) + "\n     got stats() with "
                + shown(wrong, each -> all.get(each[0]).toString()), likely);
    }

    private static long value(RecordComponent part, StatsdClient.Stats stats) {
        try {
            return ((Number) part.getAccessor().invoke(stats)).longValue();
        } catch (ReflectiveOperationException e) {
            throw new AssertionError(e);
        }
    }

    private static String shown(List<String[]> fields, Function<String[], String> value) {
        return fields.stream().map(field -> field[0] + " " + value.apply(field)).collect(Collectors.joining(", "));
    }

    // Threads.

    /** Code that runs on a thread of its own. */
    private record Beside(String what, Thread thread, FutureTask<Void> task) {

        static Beside run(String what, Check.Code code) {
            History.note("on another thread: " + what);
            var task = new FutureTask<Void>(() -> {
                code.run();
                return null;
            });
            return new Beside(what, Thread.ofPlatform().daemon().name("beside").start(task), task);
        }

        /** Until it has ended or waits for another thread: longer than a thread waits while a class is loaded. */
        void settle() throws InterruptedException {
            var seen = new ArrayList<Thread.State>();
            Await.until(() -> {
                var state = thread.getState();
                if (!seen.isEmpty() && state != seen.getLast()) {
                    seen.clear();
                }
                seen.add(state);
                return state != Thread.State.RUNNABLE && seen.size() >= 15 || state == Thread.State.TERMINATED;
            }, "that " + what + " returns or waits", "the thread runs in a loop instead of waiting for the other one");
        }

        void finish(String likely) throws InterruptedException {
            Await.value(task, "that " + what + " returns", likely);
        }
    }

    // A JVM without IPv6.

    /** Opens a channel to ::1 in a JVM that was told to use IPv4 only. */
    public static final class WithoutIpv6 {

        private WithoutIpv6() {}

        /** What {@link #main} prints: the exception's class, and how many sockets are left. */
        static String run() throws Exception {
            var folder = Files.createTempDirectory("lab402");
            closeLater(() -> {
                try (var files = Files.walk(folder)) {
                    for (var file : files.sorted(Collections.reverseOrder()).toList()) {
                        Files.delete(file);
                    }
                }
            });
            var types = new ArrayList<>(List.of(StatsdClient.class.getNestMembers()));
            types.add(WithoutIpv6.class);
            for (var type : types) {
                var file = type.getName() + ".class";
                try (var in = type.getResourceAsStream(file)) {
                    Files.copy(in, folder.resolve(file));
                }
            }
            var java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
            var process = new ProcessBuilder(java, "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
                    "-Djava.net.preferIPv4Stack=true", "-cp", folder.toString(), WithoutIpv6.class.getName())
                    .redirectErrorStream(true).start();
            closeLater(() -> process.destroyForcibly().waitFor());
            return new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
        }

        public static void main(String[] args) throws Exception {
            sockets();   // the JDK opens one of its own, for good
            long before = sockets();
            String seen;
            try (var channel = StatsdClient.open(new InetSocketAddress("::1", 8125))) {
                seen = "no exception";
            } catch (Exception e) {
                seen = e.getClass().getSimpleName();
            }
            System.out.println(seen + ", sockets left open: " + (sockets() - before));
        }

        private static long sockets() throws IOException {
            long count = 0;
            var folder = Path.of("/proc/self/fd");
            if (Files.exists(folder)) {
                DatagramChannel.open().close();
                try (var files = Files.newDirectoryStream(folder)) {
                    for (var file : files) {
                        // the descriptor of this very folder may be gone
                        count += Files.isSymbolicLink(file)
                                && Files.readSymbolicLink(file).toString().startsWith("socket:") ? 1 : 0;
                    }
                }
            }
            return count;
        }
    }

    // A peer that nobody here wrote.

    static boolean statsdIsInstalled() {
        return RealStatsd.program().isPresent();
    }

    /** The StatsD server of Etsy, as npm has it; it answers questions on a TCP port of its own. */
    private static final class RealStatsd {

        private final int port = freePort();
        private final int management = freePort();

        /** Where npm puts it when it installs it for the whole machine. */
        static Optional<Path> program() {
            return Stream.of("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib")
                    .map(folder -> Path.of(folder, "node_modules", "statsd", "stats.js"))
                    .filter(Files::exists).findFirst();
        }

        static RealStatsd start() throws Exception {
            var statsd = new RealStatsd();
            var config = Files.writeString(Files.createTempFile("statsd", ".js"), """
                    {port: %d, mgmt_port: %d, address: "127.0.0.1", mgmt_address: "127.0.0.1",
                     backends: [], flushInterval: 3600000}""".formatted(statsd.port, statsd.management));
            closeLater(() -> Files.delete(config));
            var process = new ProcessBuilder("node", program().orElseThrow().toString(), config.toString())
                    .redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
            closeLater(() -> process.destroyForcibly().waitFor());
            Await.until(statsd::isReady, "that the StatsD server starts", "node is too slow, or its port is taken");
            History.note("the StatsD server listens at 127.0.0.1:" + statsd.port);
            return statsd;
        }

        InetSocketAddress address() {
            return new InetSocketAddress("127.0.0.1", port);
        }

        private boolean isReady() {
            try (var probe = new DatagramSocket()) {
                var line = "ready:1|c".getBytes(StandardCharsets.US_ASCII);
                probe.send(new DatagramPacket(line, line.length, address()));
                return ask("counters").contains("ready");
            } catch (IOException e) {
                return false;
            }
        }

        private String ask(String question) throws IOException {
            try (var socket = new Socket("127.0.0.1", management)) {
                socket.getOutputStream().write((question + "\n").getBytes(StandardCharsets.US_ASCII));
                var in = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
                return in.lines().takeWhile(line -> !line.equals("END")).collect(Collectors.joining("\n"));
            }
        }

        /** @param kind counters, gauges or timers */
        void expect(String kind, String name, String value) throws InterruptedException {
            var wanted = Pattern.compile("\\b" + Pattern.quote(name) + "'?: " + Pattern.quote(value) + "[,\\s}]");
            Await.until(() -> {
                try {
                    return wanted.matcher(ask(kind)).find();
                } catch (IOException e) {
                    return false;
                }
            }, "that the StatsD server has, among its " + kind + ", " + name + " = " + value,
                    "compare the lines with those of step 2");
            History.note("the StatsD server says: " + name + " = " + value);
        }

        private static int freePort() {
            try (var socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
                return socket.getLocalPort();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }
}
