///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//SOURCES ../../labs/402-udp-client/StatsdClient.java
//SOURCES ../kit/*.java

import static kit.ScriptedChannel.Fate.FAILS;
import static kit.ScriptedChannel.Fate.FULL;
import static kit.ScriptedChannel.Fate.HELD;
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
import java.util.EnumSet;
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
 * Lab 402, step by step. The client is looked at from outside only: through its public methods and through the
 * datagrams that arrive. A comment {@code rejects:} names the wrong clients that a test is there for.
 */
@Lab
class StatsdClientTest {

    /** Nothing leaves but by flush(), a full packet, or close(). */
    private static final StatsdClient.Options BY_HAND =
            StatsdClient.Options.defaults().withFlushInterval(Duration.ZERO);

    private static final String REFUSALS_ARE_REPORTED = "kit.UdpSink#reportsRefusals";
    private static final String NO_REPORTS = "this system does not tell a sender that nobody listens at a UDP port of"
            + " 127.0.0.1; Linux does, unless a firewall rule drops such reports (ICMP port unreachable)";

    @Step(value = 1, title = "Connect without a packet")
    class Connect_without_a_packet {

        @Test
        void nobody_need_listen() throws Exception {   // rejects: a greeting that waits for its answer
            closeLater(StatsdClient.connect(deadAddress(), BY_HAND));
        }

        @Test
        void connecting_and_closing_send_nothing() throws Exception {   // rejects: a probe, an empty datagram
            var agent = UdpSink.open("agent");
            client(agent, BY_HAND).close();
            agent.expectNothing("connect() of UDP is no handshake: send nothing");
        }

        @Test
        void the_client_has_an_address_of_its_own() throws Exception {
            // rejects: a channel that is neither connected nor bound
            var agent = UdpSink.open("agent");
            var one = client(agent, BY_HAND).localAddress();
            var other = client(agent, BY_HAND).localAddress();
            for (var address : Arrays.asList(one, other)) {
                Check.that(address != null && address.getAddress().isLoopbackAddress() && address.getPort() > 0,
                        "localAddress() on loopback with a port above 0, got " + address,
                        "connect() the channel to the agent: that chooses address and port of this side");
            }
            Check.that(!one.equals(other) && !one.equals(agent.address()), "an address for each client, got " + one
                    + " and " + other, "open a channel for each client");
        }

        @Test
        @EnabledIf(value = REFUSALS_ARE_REPORTED, disabledReason = NO_REPORTS)
        void strangers_are_kept_out() throws Exception {   // rejects: a channel that is bound, but not connected
            var client = client(UdpSink.open("agent"), BY_HAND);
            try (var stranger = DatagramChannel.open()) {
                stranger.connect(new InetSocketAddress("127.0.0.1", client.localAddress().getPort()));
                History.note("a stranger sends to the client");
                Await.until(() -> isRefused(stranger), "that the stranger is told that nobody listens",
                        "a socket that is not connected takes datagrams from everybody: connect() it");
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
        void a_name_without_an_address_is_an_UnknownHostException() {
            // rejects: UnresolvedAddressException, which nobody catches
            var thrown = Check.fails(UnknownHostException.class, () -> StatsdClient.connect(
                            InetSocketAddress.createUnresolved("metrics.test", 8125), BY_HAND).close(),
                    "connect() to a name without an address",
                    "connect() throws an unchecked exception for an agent that isUnresolved(): look first");
            Check.that(String.valueOf(thrown.getMessage()).contains("metrics.test"),
                    "the message to name metrics.test, got " + thrown.getMessage(), "say which host has no address");
        }

        @Test
        void a_connect_that_fails_leaves_nothing_open() {
            // and, by the check for leaks, no socket
            Check.fails(SocketException.class, () -> StatsdClient.connect(new InetSocketAddress("127.0.0.1", 0),
                    BY_HAND).close(), "connect() to port 0", "the channel says so by itself: let its exception pass");
        }

        @Test
        void an_agent_may_have_an_IPv6_address() throws Exception {   // rejects: open(StandardProtocolFamily.INET)
            var address = closeLater(StatsdClient.connect(new InetSocketAddress(hasIpv6() ? "::1" : "127.0.0.1", 8125),
                    BY_HAND)).localAddress();
            Check.that(address.getAddress().isLoopbackAddress(), "a loopback address, got " + address,
                    "open() without an argument knows both families");
        }

        @Test
        void closing_twice_is_as_good_as_once() throws Exception {
            var client = client(UdpSink.open("agent"), BY_HAND);
            client.close();
            client.close();
        }

        @Test
        void wrong_arguments_are_named() throws Exception {
            lonely(BY_HAND);   // rejects: right arguments refused
            var defaults = StatsdClient.Options.defaults();
            named(NullPointerException.class, "agent", () -> StatsdClient.connect(null, defaults).close());
            named(NullPointerException.class, "options", () -> StatsdClient.connect(deadAddress(), null).close());
            named(IllegalArgumentException.class, "prefix", () -> defaults.withPrefix("shop:"));
            named(IllegalArgumentException.class, "maxPacketBytes", () -> defaults.withMaxPacketBytes(15));
            named(IllegalArgumentException.class, "maxPacketBytes", () -> defaults.withMaxPacketBytes(65_508));
            named(IllegalArgumentException.class, "flushInterval",
                    () -> defaults.withFlushInterval(Duration.ofMillis(-1)));
            named(IllegalArgumentException.class, "tags", () -> defaults.withTags(List.of("a,b")));
        }
    }

    @Step(value = 2, title = "Encode one metric")
    class Encode_one_metric {

        @Test
        void a_counter_is_its_name_a_number_and_c() throws Exception {
            var client = lonely(BY_HAND);
            var likely = "NAME:VALUE|c";
            encodes(client, counter("page.views", 1, 1), "page.views:1|c", likely);
            encodes(client, counter("stock", -3, 1), "stock:-3|c", likely);
            encodes(client, counter("stock", 0, 1), "stock:0|c", likely);
            encodes(client, counter("bytes", Long.MAX_VALUE, 1), "bytes:9223372036854775807|c", "no double in between");
            encodes(client, counter("bytes", Long.MIN_VALUE, 1), "bytes:-9223372036854775808|c",
                    "no double in between");
        }

        @Test
        void a_sampled_counter_says_its_rate() throws Exception {
            // rejects: the value multiplied as well; a rate of 1.0E-4, which statsd reads as 1.0
            var client = lonely(BY_HAND);
            var likely = "the value stays as it is, the rate follows in as few digits as it needs,"
                    + "\n  and the agent does the multiplication";
            encodes(client, counter("hits", 1, 0.5), "hits:1|c|@0.5", likely);
            encodes(client, counter("hits", 7, 0.1), "hits:7|c|@0.1", likely);
            encodes(client, counter("hits", 1, 0.0001), "hits:1|c|@0.0001", "no exponent: statsd reads 1.0E-4 as 1.0");
        }

        @Test
        void a_rate_of_1_is_not_mentioned() throws Exception {
            encodes(lonely(BY_HAND), counter("hits", 1, 1.0), "hits:1|c", "a rate of 1 is what a line means by itself");
        }

        @Test
        void a_gauge_is_a_plain_number() throws Exception {
            // rejects: Double.toString(), String.format("%.3f")
            var client = lonely(BY_HAND);
            var numbers = Map.of(5.0, "5", 12.5, "12.5", 0.1, "0.1", 0.0, "0", -0.0, "0", 1e10, "10000000000",
                    1e-7, "0.0000001", 100.0, "100", 123456789.123, "123456789.123");
            numbers.forEach((number, text) -> encodes(client, new StatsdClient.Gauge("g", number), "g:" + text + "|g",
                    "digits and at most one point: no exponent, no trailing zeros, nothing rounded, no negative zero"));
        }

        @Test
        void a_negative_gauge_is_set_to_zero_first() throws Exception {   // rejects: -7|g alone, which means «7 less»
            var client = lonely(BY_HAND);
            var likely = "for a gauge a sign means a change: set it to 0 first, on a line of its own, then to -7";
            encodes(client, new StatsdClient.Gauge("celsius", -7), "celsius:0|g\ncelsius:-7|g", likely);
            encodes(client, new StatsdClient.Gauge("celsius", -0.25), "celsius:0|g\ncelsius:-0.25|g", likely);
        }

        @Test
        void a_change_of_a_gauge_always_has_its_sign() throws Exception {   // rejects: 4|g, which means «set to 4»
            var client = lonely(BY_HAND);
            var likely = "without a sign the agent sets the gauge";
            encodes(client, new StatsdClient.GaugeDelta("basket", 4), "basket:+4|g", likely);
            encodes(client, new StatsdClient.GaugeDelta("basket", -4.5), "basket:-4.5|g", likely);
            encodes(client, new StatsdClient.GaugeDelta("basket", 0), "basket:+0|g", likely);
            encodes(client, new StatsdClient.GaugeDelta("basket", -0.0), "basket:+0|g", likely);
        }

        @Test
        void a_timing_is_in_milliseconds_with_up_to_three_decimals() throws Exception {   // rejects: toMillis()
            var client = lonely(BY_HAND);
            var times = Map.of(Duration.ofMillis(320), "320", Duration.ofNanos(1_500_000), "1.5", Duration.ZERO, "0",
                    Duration.ofNanos(1_000), "0.001", Duration.ofNanos(499), "0", Duration.ofNanos(1_234_567), "1.235",
                    Duration.ofNanos(1_234_400), "1.234", Duration.ofHours(1), "3600000");
            times.forEach((time, text) -> encodes(client, new StatsdClient.Timer("t", time), "t:" + text + "|ms",
                    "milliseconds, rounded to three decimals, no trailing zeros"));
        }

        @Test
        void a_value_of_a_set_stays_as_it_is() throws Exception {
            encodes(lonely(BY_HAND), new StatsdClient.Unique("visitors", "user #42 @home"), "visitors:user #42 @home|s",
                    "NAME:VALUE|s");
        }

        @Test
        void the_prefix_stands_before_every_name() throws Exception {   // rejects: a prefix in the first line only
            var client = lonely(BY_HAND.withPrefix("shop."));
            encodes(client, counter("page.views", 1, 1), "shop.page.views:1|c", "PREFIX and NAME, nothing between");
            encodes(client, new StatsdClient.Gauge("celsius", -7), "shop.celsius:0|g\nshop.celsius:-7|g",
                    "both lines of a negative gauge are lines like any other");
        }

        @Test
        void the_tags_come_last() throws Exception {   // rejects: tags before the rate, tags on one line only
            var client = lonely(BY_HAND.withTags(List.of("env:prod", "host:db-1")));
            var likely = "|#TAG,TAG at the end of each line, after the rate";
            encodes(client, counter("hits", 1, 1), "hits:1|c|#env:prod,host:db-1", likely);
            encodes(client, counter("hits", 1, 0.5), "hits:1|c|@0.5|#env:prod,host:db-1", likely);
            encodes(client, new StatsdClient.Gauge("celsius", -7),
                    "celsius:0|g|#env:prod,host:db-1\ncelsius:-7|g|#env:prod,host:db-1", likely);
        }

        @Test
        void text_travels_in_UTF_8() throws Exception {   // rejects: another charset
            encodes(lonely(BY_HAND), new StatsdClient.Unique("größe", "你好"), "größe:你好|s",
                    "getBytes(StandardCharsets.UTF_8)");
        }

        @Test
        void the_locale_changes_nothing() throws Exception {
            // rejects: String.format, which writes 0,5 in Germany, and other digits in Egypt
            var before = Locale.getDefault();
            for (var locale : List.of("de-DE", "ar-EG-u-nu-arab", "tr-TR")) {
                Locale.setDefault(Locale.forLanguageTag(locale));
                History.note("the locale is " + locale);
                try {
                    var client = lonely(BY_HAND);
                    var likely = "String.format follows the locale";
                    encodes(client, counter("hits", 1234567, 0.5), "hits:1234567|c|@0.5", likely);
                    encodes(client, new StatsdClient.Gauge("g", 1234.5), "g:1234.5|g", likely);
                    encodes(client, new StatsdClient.Timer("t", Duration.ofNanos(1_500_000)), "t:1.5|ms", likely);
                } finally {
                    Locale.setDefault(before);
                }
            }
        }

        @Test
        void names_that_would_break_a_line_are_refused() throws Exception {
            var client = lonely(BY_HAND);
            for (var bad : List.of("", "a:b", "a|b", "a@b", "a#b", "a\nb", "a\tb", "a\u0000b", "a\u0085b")) {
                named(IllegalArgumentException.class, "name", () -> client.count(bad, 1));
                named(IllegalArgumentException.class, "name", () -> client.unique(bad, "x"));
            }
            named(IllegalArgumentException.class, "rate", () -> client.count("a", 1, 0));
            named(IllegalArgumentException.class, "rate", () -> client.count("a", 1, 1.1));
            named(IllegalArgumentException.class, "value", () -> client.gauge("a", Double.NaN));
            named(IllegalArgumentException.class, "delta", () -> client.gaugeDelta("a", Double.POSITIVE_INFINITY));
            named(IllegalArgumentException.class, "time", () -> client.timing("a", Duration.ofNanos(-1)));
            named(IllegalArgumentException.class, "value", () -> client.unique("a", "x|s"));
            checkStats(client, "a wrong argument is no metric", "metrics=0");
        }
    }

    @Step(value = 3, title = "Send one datagram")
    class Send_one_datagram {

        @Test
        void a_metric_is_a_datagram() throws Exception {   // rejects: a line feed at the end
            var agent = UdpSink.open("agent");
            send(client(agent, BY_HAND), "count a page view", c -> c.count("page.views", 1));
            agent.expect("page.views:1|c", "write() what encode() made, and nothing more");
        }

        @Test
        void every_kind_of_metric_arrives() throws Exception {
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withChance(() -> 0));
            var likely = "each metric is one datagram, the two lines of a negative gauge as well";
            send(client, "count", c -> c.count("a", 2));
            agent.expect("a:2|c", likely);
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
        }

        @Test
        void all_packets_come_from_one_address() throws Exception {   // rejects: a socket for each metric
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND);
            for (int i = 1; i <= 3; i++) {
                view(client);
                Check.equal(client.localAddress(), agent.expect("page.views:1|c", "nothing was sent").from(),
                        "the sender of packet " + i, "one channel serves the client for its whole life");
            }
        }

        @Test
        void an_agent_on_IPv6_is_reached() throws Exception {
            var agent = UdpSink.open("agent", new InetSocketAddress(hasIpv6() ? "::1" : "127.0.0.1", 0));
            view(client(agent, BY_HAND));
            agent.expect("page.views:1|c", "the channel knows where to: write() to it");
        }

        @Test
        void what_was_sent_is_counted() throws Exception {
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND);
            view(client);
            view(client);
            send(client, "gauge below zero", c -> c.gauge("celsius", -7));
            checkStats(client, "count the packet, its bytes and its metrics when the kernel has taken it; a negative"
                    + "\n  gauge is one metric", "metrics=3", "metricsInPackets=3", "packets=3", "bytes=52",
                    "dropped=0", "errors=0", "refused=0", "pending=0");
        }

        @Test
        void a_thousand_packets_arrive_in_order() throws Exception {
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND);
            for (int i = 1; i <= 1000; i++) {
                client.count("n", i);
                client.flush();
                agent.keepUp(i, "each metric is a packet");
            }
            for (int i = 1; i <= 1000; i++) {
                Check.equal("n:" + i + "|c", agent.await(i, "each metric is a packet").text(), "packet " + i,
                        "on loopback packets keep their order: send them in theirs");
            }
        }

        @Test
        void a_draw_below_the_rate_travels() throws Exception {   // rejects: <=, and chance turned around
            var agent = UdpSink.open("agent");
            for (double draw : new double[] {0, 0.49}) {
                var client = client(agent, BY_HAND.withChance(() -> draw));
                send(client, "count at a rate of 0.5, draw " + draw, c -> c.count("hits", 1, 0.5));
                agent.expect("hits:1|c|@0.5", "a draw below the rate travels");
            }
            for (double draw : new double[] {0.5, 0.51, 0.99}) {
                var client = client(agent, BY_HAND.withChance(() -> draw));
                send(client, "count at a rate of 0.5, draw " + draw, c -> c.count("hits", 1, 0.5));
                agent.expectNothing("a draw that is not below the rate does not travel: draws are 0 <= d < 1");
                checkStats(client, "isSampledOut() decides", "metrics=1", "sampledOut=1", "dropped=0", "packets=0");
            }
        }

        @Test
        void there_is_one_draw_for_each_sampled_counter_and_no_other() throws Exception {
            // rejects: a draw for everything, a draw for each question
            var agent = UdpSink.open("agent");
            var draws = new ArrayList<String>();
            var client = client(agent, BY_HAND.withChance(() -> {
                draws.add("draw");
                return 0;
            }));
            send(client, "count without a rate", c -> c.count("hits", 1));
            send(client, "count at a rate of 1", c -> c.count("hits", 1, 1));
            send(client, "gauge", c -> c.gauge("basket", 1));
            Check.equal(0, draws.size(), "draws", "what is not sampled needs no draw");
            send(client, "count at a rate of 0.5", c -> c.count("hits", 1, 0.5));
            Check.equal(1, draws.size(), "draws", "a second draw would be another decision");
        }

        @Test
        void what_the_kernel_does_not_take_is_dropped() throws Exception {
            // rejects: a loop until it is taken, an exception, a count of what was not sent
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), FULL);
            var client = client(channel, BY_HAND);
            view(client);
            var likely = "write() that returns 0 did not take the packet: drop it, do not wait";
            checkStats(client, likely, "metrics=1", "dropped=1", "metricsInPackets=0", "packets=0", "bytes=0",
                    "errors=0");
            Check.equal(1, channel.writes(), "calls of write()", likely);
            view(client);
            agent.expect("page.views:1|c", "the next packet has nothing to do with it");
        }

        @Test
        void trouble_with_the_network_reaches_nobody() throws Exception {
            // rejects: an exception that passes; a packet repeated whatever the trouble
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), FAILS);
            var client = client(channel, BY_HAND);
            view(client);
            checkStats(client, "an IOException costs one packet: dropped, and an error", "metrics=1", "dropped=1",
                    "errors=1", "packets=0", "refused=0");
            Check.equal(1, channel.writes(), "calls of write()", "nothing says that a second write would do better");
            view(client);
            agent.expect("page.views:1|c", "the client goes on with the same channel");
        }

        @Test
        void an_interrupted_thread_may_send() throws Exception {
            // rejects: a blocking channel, which an interrupt closes for good; lockInterruptibly()
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND);
            History.note("the thread is interrupted");
            Thread.currentThread().interrupt();
            view(client);
            Check.that(Thread.interrupted(), "that the thread stays interrupted, it is not",
                    "the interrupt is the caller's: leave it alone");
            view(client);
            var likely = "an interrupt closes a channel that blocks, for good: configureBlocking(false);"
                    + "\n  it also ends lockInterruptibly(), and the metric is lost";
            agent.expect("page.views:1|c", likely);
            agent.expect("page.views:1|c", likely);
        }

        @Test
        void timed_measures_what_returns_and_what_throws() throws Exception {   // given
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
        void the_real_statsd_understands_every_kind() throws Exception {   // a peer that nobody here wrote
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

    @Step(value = 4, title = "Survive a refusal")
    class Survive_a_refusal {

        @Test
        void a_report_about_an_older_packet_does_not_cost_this_one() throws Exception {
            // rejects: PortUnreachableException caught, and the packet at hand forgotten
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), REFUSED);
            var client = client(channel, BY_HAND);
            view(client);
            var likely = "the exception is about an older packet, and this one was not sent: write it again";
            agent.expect("page.views:1|c", likely);
            agent.expectNothing("once is enough");
            checkStats(client, likely, "metrics=1", "refused=1", "dropped=0", "errors=0", "packets=1",
                    "metricsInPackets=1", "bytes=14");
            Check.equal(2, channel.writes(), "calls of write()", "write it once more, on the same channel");
        }

        @Test
        void a_second_refusal_is_the_end_of_the_packet() throws Exception {   // rejects: a loop until it goes out
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), REFUSED, REFUSED);
            var client = client(channel, BY_HAND);
            view(client);
            Check.equal(2, channel.writes(), "calls of write()",
                    "once more is enough: a loop would hold up the program as long as the agent is away");
            checkStats(client, "the second exception is an error, and the packet is dropped", "dropped=1", "errors=1",
                    "packets=0");
            Check.that(client.stats().refused() >= 1, "stats().refused() of 1 at least, got 0",
                    "count the first report");
            view(client);
            agent.expect("page.views:1|c", "the next packet has nothing to do with it");
            agent.expectNothing("the dropped packet is gone");
        }

        @Test
        void a_second_write_may_fail_in_other_ways() throws Exception {
            // rejects: a second write whose outcome nobody looks at
            var agent = UdpSink.open("agent");
            var client = client(ScriptedChannel.to(agent.address(), REFUSED, FULL, REFUSED, FAILS), BY_HAND);
            view(client);
            checkStats(client, "the second write returned 0: dropped, but no error", "dropped=1", "errors=0",
                    "refused=1", "packets=0");
            view(client);
            checkStats(client, "the second write threw: dropped, and an error", "dropped=2", "errors=1", "refused=2",
                    "packets=0");
        }

        @Test
        @EnabledIf(value = REFUSALS_ARE_REPORTED, disabledReason = NO_REPORTS)
        void a_dead_agent_harms_nobody() throws Exception {   // rejects: an exception that the program sees
            var client = lonely(BY_HAND);
            Await.until(() -> {
                view(client);
                return client.stats().refused() >= 3;
            }, "that stats().refused() becomes 3", "count each PortUnreachableException that a write begins with");
        }

        @Test
        @EnabledIf(value = REFUSALS_ARE_REPORTED, disabledReason = NO_REPORTS)
        void when_the_agent_is_back_nothing_is_lost() throws Exception {
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
            Await.until(() -> {   // the last packet that went out is the next one's trouble
                long before = client.stats().packets();
                view(client);
                return client.stats().refused() >= 1 && client.stats().packets() > before;
            }, "that stats().refused() becomes 1", "count each PortUnreachableException that a write begins with");
            var back = UdpSink.open("agent, back again", agent.address());
            for (int n = 1; n <= 20; n++) {
                client.count("order", n);
                client.flush();
            }
            for (int n = 1; n <= 20; n++) {
                back.expect("order:" + n + "|c", "the first write after the agent's return still reports the past:"
                        + "\n  write the same packet again");
            }
        }

        @Test
        void the_client_keeps_its_port() throws Exception {   // rejects: a new channel after each refusal
            var agent = UdpSink.open("agent");
            var client = client(ScriptedChannel.to(agent.address(), REFUSED, REFUSED, REFUSED), BY_HAND);
            var likely = "a refusal does no harm to the channel: go on with the same one";
            view(client);
            view(client);
            Check.equal(client.localAddress(), agent.expect("page.views:1|c", likely).from(), "the sender", likely);
        }
    }

    @Step(value = 5, title = "Pack metrics together", further = true)
    class Pack_metrics_together {

        @Test
        void ten_metrics_are_one_packet_of_ten_lines() throws Exception {
            // rejects: a packet for each; a line feed at the end
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND);
            views(client, 10);
            flush(client);
            agent.expect(lines(10), "lines are joined by LF, with none at the end");
            checkStats(client, "one packet with ten metrics", "packets=1", "bytes=149", "metrics=10",
                    "metricsInPackets=10", "pending=0");
        }

        @Test
        void nothing_leaves_before_the_packet_is_full_or_flushed() throws Exception {
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND);
            views(client, 10);
            checkStats(client, "metrics wait in counters.pending", "pending=10", "packets=0", "metricsInPackets=0");
            agent.expectNothing("a metric waits for others: send when the packet is full, or flushed");
        }

        @Test
        void a_flush_with_nothing_pending_sends_nothing() throws Exception {
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
            var likely = "no packet goes out when nothing is pending: look before you write";
            checkStats(client, likely, "packets=1", "metricsInPackets=1", "dropped=0");
            Check.equal(1, channel.writes(), "calls of write()", likely);
        }

        @Test
        void a_packet_leaves_when_the_next_line_does_not_fit() throws Exception {
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withMaxPacketBytes(50));   // 3 x 14 + 2 = 44
            views(client, 4);
            agent.expect(lines(3), "44 bytes, and 15 more would be too many: send first, then begin anew");
            checkStats(client, "the fourth line waits", "pending=1", "metricsInPackets=3", "packets=1");
            flush(client);
            agent.expect("page.views:1|c", "what did not fit begins the next packet");
        }

        @Test
        void a_packet_may_be_full_to_the_last_byte() throws Exception {
            // rejects: a line feed at the end that is counted, < for <=
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withMaxPacketBytes(44));
            views(client, 3);
            flush(client);
            agent.expect(lines(3), "14 + 1 + 14 + 1 + 14 = 44 bytes are allowed");
        }

        @Test
        void a_packet_is_never_one_byte_too_long() throws Exception {   // rejects: the line feed that is not counted
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withMaxPacketBytes(43));
            views(client, 3);
            flush(client);
            agent.expect(lines(2), "the LF between two lines counts as well");
            agent.expect("page.views:1|c", "the third line begins the next packet");
        }

        @Test
        void bytes_count_and_not_characters() throws Exception {   // rejects: String.length()
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withMaxPacketBytes(19));   // é:1|c is 6 bytes, 5 characters
            for (int i = 0; i < 4; i++) {
                add(client, "count é", c -> c.count("é", 1));
            }
            flush(client);
            agent.expect("é:1|c\né:1|c", "é is two bytes in UTF-8: count bytes");
            agent.expect("é:1|c\né:1|c", "é is two bytes in UTF-8: count bytes");
        }

        @Test
        void a_negative_gauge_is_never_split() throws Exception {   // rejects: lines that are packed one by one
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withMaxPacketBytes(52));
            views(client, 1);
            add(client, "gauge below zero", c -> c.gauge("celsius", -7));   // 14 + 1 + 24 = 39 bytes
            add(client, "gauge below zero", c -> c.gauge("celsius", -8));   // room for its first line only
            flush(client);
            var likely = "between the two lines another packet, or its loss, could come: keep them together";
            agent.expect("page.views:1|c\ncelsius:0|g\ncelsius:-7|g", likely);
            agent.expect("celsius:0|g\ncelsius:-8|g", likely);
        }

        @Test
        void what_fits_no_packet_is_dropped() throws Exception {
            // rejects: an exception; a packet that is too long; neighbours that are sent or lost as well
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withMaxPacketBytes(50));
            views(client, 1);
            add(client, "count with a name of 50 characters", c -> c.count("n".repeat(50), 1));
            checkStats(client, "a line longer than any packet is dropped, and what is pending stays pending",
                    "dropped=1", "pending=1", "packets=0");
            views(client, 1);
            flush(client);
            agent.expect(lines(2), "its neighbours travel as if nothing had happened");
        }

        @Test
        void a_line_may_fill_a_packet_alone() throws Exception {   // rejects: off by one, a packet that stays empty
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withMaxPacketBytes(50));
            add(client, "count with a name of 46 characters", c -> c.count("n".repeat(46), 1));
            views(client, 1);
            flush(client);
            agent.expect("n".repeat(46) + ":1|c", "50 bytes are allowed, and no LF is needed");
            agent.expect("page.views:1|c", "the next one begins a packet of its own");
        }

        @Test
        void ten_thousand_page_views_are_106_packets() throws Exception {
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND);
            for (int i = 0; i < 100; i++) {
                for (int n = 0; n < 100; n++) {
                    client.count("page.views", 1);
                }
                agent.keepUp(client.stats().packets(), "packets arrive");
            }
            flush(client);
            checkStats(client, "95 lines of 14 bytes fit into 1,432", "packets=106", "bytes=149894",
                    "metricsInPackets=10000");
            agent.await(106, "stats() counts packets that were never sent");
        }

        @Test
        void whatever_comes_is_packed_as_tightly_as_it_can_be() throws Exception {
            // rejects: every other kind of packing, and lines out of order
            var random = new Random(402);
            for (int max : new int[] {64, 100, 511, 512, 1432}) {
                var agent = UdpSink.open("agent");
                var client = client(agent, BY_HAND.withMaxPacketBytes(max));
                var units = new ArrayList<String>();
                for (int i = 0; i < 400; i++) {
                    var name = (random.nextBoolean() ? "é" : "e").repeat(1 + random.nextInt(max / 3));
                    int value = random.nextInt(-50, 50);
                    client.gauge(name, value);
                    units.add((value < 0 ? name + ":0|g\n" : "") + name + ":" + value + "|g");
                    agent.keepUp(client.stats().packets(), "packets arrive");
                }
                flush(client);
                var dropped = units.stream().filter(unit -> utf8(unit) > max).count();
                units.removeIf(unit -> utf8(unit) > max);
                var likely = "send only when the next metric would not fit into " + max + " bytes";
                for (var packet : packed(units, max)) {
                    agent.expect(packet, likely);
                }
                checkStats(client, "only what fits no packet is dropped", "metrics=400", "dropped=" + dropped,
                        "pending=0");
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
        void a_packet_that_is_lost_counts_with_all_its_metrics() throws Exception {
            // rejects: dropped counted by packets; a lost packet that is sent again with the next one
            var agent = UdpSink.open("agent");
            var client = client(ScriptedChannel.to(agent.address(), FULL, FAILS), BY_HAND);
            views(client, 10);
            flush(client);
            checkStats(client, "ten metrics are lost with this packet", "dropped=10", "pending=0", "packets=0");
            views(client, 5);
            flush(client);
            checkStats(client, "five more are lost with the next one", "dropped=15", "pending=0", "errors=1",
                    "packets=0");
            views(client, 1);
            flush(client);
            agent.expect("page.views:1|c", "a lost packet is gone: begin anew, whatever became of it");
        }

        @Test
        void a_refused_packet_is_sent_again_whole() throws Exception {
            // rejects: a buffer that is empty after one write
            var agent = UdpSink.open("agent");
            var client = client(ScriptedChannel.to(agent.address(), REFUSED), BY_HAND);
            views(client, 10);
            flush(client);
            agent.expect(lines(10), "the second write needs all of the packet");
            checkStats(client, "", "metricsInPackets=10", "refused=1", "bytes=149");
        }
    }

    @Step(value = 6, title = "Flush on time", further = true)
    class Flush_on_time {

        private static final Duration INTERVAL = Duration.ofSeconds(10);
        private static final String SLEEP = "the flusher waits by options.timing().sleepUntil(), again and again";

        private final FakeTiming time = FakeTiming.byHand();
        private final StatsdClient.Options options = BY_HAND.withFlushInterval(INTERVAL).withTiming(timing(time));

        @Test
        void a_metric_leaves_when_the_interval_is_over() throws Exception {
            var agent = UdpSink.open("agent");
            var client = client(agent, options);
            time.awaitSleepers(1, SLEEP);
            views(client, 1);
            pass(INTERVAL);
            agent.expect("page.views:1|c", "flush() at the end of each interval");
        }

        @Test
        void it_does_not_leave_before() throws Exception {   // rejects: milliseconds taken for nanoseconds
            var agent = UdpSink.open("agent");
            var client = client(agent, options);
            time.awaitSleepers(1, SLEEP);
            views(client, 1);
            pass(INTERVAL.minusNanos(1));
            time.awaitSleepers(1, SLEEP);   // one that woke has flushed when it sleeps again
            agent.expectNothing("sleep for the whole interval, in nanoseconds, and flush then");
            pass(Duration.ofNanos(1));
            agent.expect("page.views:1|c", "flush() at the end of each interval");
        }

        @Test
        void every_interval_has_its_flush() throws Exception {   // rejects: a flusher that flushes once
            var agent = UdpSink.open("agent");
            var client = client(agent, options);
            for (int i = 1; i <= 5; i++) {
                time.awaitSleepers(1, SLEEP);
                views(client, i);
                pass(INTERVAL);
                agent.next(SLEEP);
            }
            checkStats(client, "one packet for each interval", "packets=5", "metricsInPackets=15", "pending=0");
        }

        @Test
        void intervals_without_metrics_send_nothing() throws Exception {   // rejects: empty packets, or their count
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
        void what_was_slept_through_is_not_made_up_for() throws Exception {
            // rejects: next += interval alone, which flushes a hundred times in a row
            var agent = UdpSink.open("agent");
            var client = client(agent, options);
            time.awaitSleepers(1, SLEEP);
            views(client, 1);
            pass(INTERVAL.multipliedBy(100).plusSeconds(5));
            agent.expect("page.views:1|c", SLEEP);
            time.awaitSleepers(1, SLEEP);
            Check.that(time.lateSleeps() <= 1, "that the flusher sleeps again after one flush, but it flushed "
                    + (1 + time.lateSleeps()) + " times in a row", "skip the intervals that are over");
            views(client, 1);
            pass(INTERVAL);
            agent.expect("page.views:1|c", "the next flush comes within one interval");
        }

        @Test
        void trouble_with_the_network_does_not_end_the_flusher() throws Exception {
            // rejects: a loop that ends with the first error
            var agent = UdpSink.open("agent");
            var client = client(ScriptedChannel.to(agent.address(), FAILS, FULL), options);
            for (int i = 1; i <= 3; i++) {
                time.awaitSleepers(1, "the flusher has ended with the first trouble");
                views(client, 1);
                pass(INTERVAL);
            }
            agent.expect("page.views:1|c", "the flusher has ended with the first trouble");
        }

        @Test
        void the_flusher_does_not_keep_the_program_alive() throws Exception {
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
            Check.that(Await.value(flusher, "a flusher that sleeps", SLEEP).isDaemon(), "a daemon thread, got another",
                    "virtual threads are daemons, and so are platform threads that are told to be");
        }

        @Test
        void without_an_interval_nobody_flushes() throws Exception {   // given
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
                    "close() interrupts it: let the InterruptedException end the loop");
        }

        @Test
        void on_the_real_clock_too() throws Exception {
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withFlushInterval(Duration.ofMillis(20)));
            views(client, 1);
            agent.expect("page.views:1|c", "nanoseconds in, nanoseconds out");
        }

        private void pass(Duration duration) {
            History.note(BigDecimal.valueOf(duration.toNanos(), 9).stripTrailingZeros().toPlainString() + " s pass");
            time.advance(duration);
        }
    }

    @Step(value = 7, title = "Stay whole under threads", further = true)
    class Stay_whole_under_threads {

        private static final String TOGETHER = "two threads are inside at once: one at a time, through exclusively()";

        @Test
        void close_sends_what_is_pending() throws Exception {
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND);
            views(client, 3);
            client.close();
            agent.expect(lines(3), "the last metrics are pending when the program ends:"
                    + "\n  send them, and close the channel after that");
            checkStats(client, "", "packets=1", "metricsInPackets=3", "pending=0");
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
            agent.expectNothing("closed is closed");
            checkStats(client, "set closed: then submit(), which is given, drops what comes", "metrics=3", "dropped=2",
                    "pending=0", "errors=0", "packets=1");
        }

        @Test
        void a_metric_that_comes_while_another_thread_sends_harms_no_line() throws Exception {
            // rejects: no lock, or one around the counters alone
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), HELD);
            var client = client(channel, BY_HAND);
            views(client, 3);
            var sending = Beside.run("flush()", client::flush);
            channel.awaitHeld("flush() sends what is pending");
            var counting = Beside.run("count(\"late\", 1)", () -> client.count("late", 1));
            counting.settle();
            channel.release();
            sending.finish(TOGETHER);
            counting.finish(TOGETHER);
            checkStats(client, "who cannot get in at once waits for its turn: else a metric is lost, and not even"
                    + "\n  counted", "metrics=4");
            flush(client);
            agent.expect(lines(3), TOGETHER);
            agent.expect("late:1|c", TOGETHER);
            checkStats(client, TOGETHER, "metricsInPackets=4", "packets=2", "pending=0");
        }

        @Test
        void two_threads_that_flush_send_one_packet() throws Exception {   // rejects: no lock around the flush
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), HELD);
            var client = client(channel, BY_HAND);
            views(client, 3);
            var one = Beside.run("flush()", client::flush);
            channel.awaitHeld("flush() sends what is pending");
            var other = Beside.run("flush()", client::flush);
            other.settle();
            channel.release();
            one.finish(TOGETHER);
            other.finish(TOGETHER);
            agent.expect(lines(3), TOGETHER);
            agent.expectNothing(TOGETHER);
            checkStats(client, TOGETHER, "packets=1", "metricsInPackets=3");
        }

        @Test
        void two_threads_that_close_send_one_packet() throws Exception {
            // rejects: closed set after the flush, outside the lock
            var agent = UdpSink.open("agent");
            var channel = ScriptedChannel.to(agent.address(), HELD);
            var client = client(channel, BY_HAND);
            views(client, 3);
            var one = Beside.run("close()", client::close);
            channel.awaitHeld("close() sends what is pending");
            var other = Beside.run("close()", client::close);
            other.settle();
            channel.release();
            one.finish(TOGETHER);
            other.finish(TOGETHER);
            agent.expect(lines(3), TOGETHER);
            agent.expectNothing("only the first close() flushes");
            checkStats(client, "only the first close() flushes", "packets=1", "metricsInPackets=3", "errors=0",
                    "dropped=0");
        }

        @Test
        void a_chance_that_throws_harms_nobody_else() throws Exception {   // rejects: an unlock that is not in finally
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withChance(() -> {
                throw new IllegalStateException("no chance");
            }));
            History.note("count at a rate of 0.5, and chance() throws");
            Check.fails(IllegalStateException.class, () -> client.count("hits", 1, 0.5),
                    "count(), because chance() threw it", "what the program's own code throws is the program's");
            var likely = "after an exception nobody gets in any more: unlock in finally";
            Beside.run("count a page view, flush", () -> {
                client.count("page.views", 1);
                client.flush();
            }).finish(likely);
            agent.expect("page.views:1|c", likely);
        }

        @Test
        void an_interrupted_thread_may_count_and_close() throws Exception {
            // rejects: a close that an interrupt cuts short
            var agent = UdpSink.open("agent");
            var client = client(agent, BY_HAND.withFlushInterval(Duration.ofHours(1)));
            History.note("the thread is interrupted");
            Thread.currentThread().interrupt();
            views(client, 1);
            client.close();
            Check.that(Thread.interrupted(), "that the thread stays interrupted, it is not",
                    "the interrupt is the caller's: leave it alone");
            agent.expect("page.views:1|c", "close() flushes, whoever calls it");
        }

        @Test
        void the_lines_of_many_threads_stay_whole() throws Exception {   // rejects: every kind of race
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
                        "each line once, and those of one thread in their order");
                last.put(name, number);
            }
            Check.equal(8 * 5000, last.values().stream().mapToInt(Integer::intValue).sum(), "lines", TOGETHER);
        }

        @Test
        void a_close_while_others_count_loses_nothing_uncounted() throws Exception {
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
                checkStats(client, TOGETHER, "metrics=100", "pending=0", "sampledOut=0");
                Check.equal(100L, stats.metricsInPackets() + stats.dropped(), "metricsInPackets + dropped",
                        "what was counted before close() is sent, what comes later is dropped, nothing is in between");
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

    /** Its agent does not exist. */
    private static StatsdClient lonely(StatsdClient.Options options) throws IOException {
        return closeLater(StatsdClient.connect(deadAddress(), options));
    }

    /** Nobody listens there. */
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

    private static StatsdClient.Timing timing(FakeTiming time) {
        return new StatsdClient.Timing() {
            @Override
            public long nanoTime() {
                return time.nanoTime();
            }

            @Override
            public void sleepUntil(long nanoTime) throws InterruptedException {
                time.sleepUntil(nanoTime);
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

    private static void named(Class<? extends Exception> type, String name, Check.Code code) {
        var thrown = Check.fails(type, code, "a wrong " + name, "check the arguments first");
        Check.that(String.valueOf(thrown.getMessage()).contains(name),
                "the message to name " + name + ", got " + thrown.getMessage(), "say which argument is wrong");
    }

    /** Each one as in "dropped=1". Those not mentioned may be anything. */
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

    /** Code that runs beside the test. */
    private record Beside(String what, Thread thread, FutureTask<Void> task) {

        static Beside run(String what, Check.Code code) {
            History.note("on another thread: " + what);
            var task = new FutureTask<Void>(() -> {
                code.run();
                return null;
            });
            return new Beside(what, Thread.ofPlatform().daemon().name("beside").start(task), task);
        }

        /** Until it is done, or has to wait for another thread. */
        void settle() throws InterruptedException {
            var settled = EnumSet.of(Thread.State.BLOCKED, Thread.State.WAITING, Thread.State.TIMED_WAITING,
                    Thread.State.TERMINATED);
            Await.until(() -> settled.contains(thread.getState()), "that " + what + " returns or waits", "");
        }

        void finish(String likely) throws InterruptedException {
            Await.value(task, "that " + what + " returns", likely);
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
                    .map(folder -> Path.of(folder, "node_modules", "statsd", "stats.js")).filter(Files::exists).findFirst();
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
            Await.until(statsd::isReady, "that the real statsd starts", "node is too slow, or its port is taken");
            History.note("the real statsd listens at 127.0.0.1:" + statsd.port);
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
            }, "that the real statsd has, among its " + kind + ", " + name + " = " + value,
                    "compare with «Encode one metric»");
            History.note("the real statsd says: " + name + " = " + value);
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
