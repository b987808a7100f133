///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS io.netty:netty-codec-dns:4.2.18.Final
//SOURCES ../../labs/418-dns-lookups/DnsLookup.java
//SOURCES ../kit/*.java

import module java.base;

import io.netty.buffer.Unpooled;
import io.netty.channel.embedded.EmbeddedChannel;
import io.netty.handler.codec.dns.DatagramDnsQuery;
import io.netty.handler.codec.dns.DatagramDnsQueryDecoder;
import io.netty.handler.codec.dns.DatagramDnsResponse;
import io.netty.handler.codec.dns.DatagramDnsResponseEncoder;
import io.netty.handler.codec.dns.DefaultDnsQuestion;
import io.netty.handler.codec.dns.DefaultDnsRawRecord;
import io.netty.handler.codec.dns.DnsQuestion;
import io.netty.handler.codec.dns.DnsRecordType;
import io.netty.handler.codec.dns.DnsSection;
import kit.Await;
import kit.Bytes;
import kit.Check;
import kit.DeadEnd;
import kit.FakeClock;
import kit.History;
import kit.Lab;
import kit.PendingCall;
import kit.Step;
import kit.TestLifecycle;
import kit.UdpSink;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;

/**
 * Steps 1, 2 and 5 are about octets, which these tests write themselves. Steps
 * 3 and 6 speak with scripted servers on loopback. Steps 4 and 7 use the lab's
 * seam {@code Exchange}, and a clock that stands still.
 */
@Lab
class DnsLookupTest {

    private static final int A = 1;
    private static final int CNAME = 5;
    private static final int MX = 15;
    private static final int TXT = 16;
    private static final int AAAA = 28;
    private static final int CH = 3;   // another class
    private static final InetAddress HERE = InetAddress.getLoopbackAddress();
    private static final DnsLookup.Question WWW =
            DnsLookup.Question.of("www.lab.test", DnsLookup.Type.A);

    @Step(value = 1, title = "Encode a question")
    class Encode_a_question {

        @Test
        void a_query_has_a_header_and_one_question() throws IOException {
            // rejects: no RD; QR set; the wrong count; type and class swapped
            encodes("1234 0100 0001 0000 0000 0000"
                    + "03 777777 03 6c6162 04 74657374 00 0001 0001",
                    0x1234, WWW, "12 octets of header, then the labels, each"
                            + " with its length before it, a zero octet, type"
                            + " and class; all numbers in 16 bits, the more"
                            + " significant octet first");
            // rejects: letters, digits and hyphens only
            encodes("0001 0100 0001 0000 0000 0000 06 5f646d617263 01 2a"
                    + "05 4c614220 21 00 0010 0001", 1, DnsLookup.Question.of(
                    "_dmarc.*.LaB !", DnsLookup.Type.TXT), "a label may hold"
                    + " any ASCII character but a dot and a backslash");
        }

        @Test
        void numbers_up_to_65535_take_two_octets() throws IOException {
            // rejects: one octet for the type; a masked id
            encodes("fedc 0100 0001 0000 0000 0000 01 61 00 ff02 80fe",
                    0xfedc, new DnsLookup.Question("a", 0xff02, 0x80fe),
                    "write the id, the type and the class with putShort()");
        }

        @Test
        void the_root_is_a_single_zero_octet() throws IOException {
            encodes("0001 0100 0001 0000 0000 0000 00 000f 0001", 1,
                    DnsLookup.Question.of(".", DnsLookup.Type.MX),
                    "the name \".\" has no label");
        }

        @Test
        void a_label_has_1_to_63_octets() throws IOException {
            // rejects: 64; an empty label, which would end the name
            var longest = "x".repeat(63);
            encodes("0001 0100 0001 0000 0000 0000 3f" + "78".repeat(63)
                    + "3f" + "78".repeat(63) + "00 0001 0001", 1,
                    DnsLookup.Question.of(longest + "." + longest,
                            DnsLookup.Type.A), "63 octets are allowed");
            for (var name : List.of(longest + "x", longest + "x.lab.test",
                    "lab." + longest + "x", "", "a..b", ".a", "a.", "..")) {
                badName(name, "each label has 1 to 63 octets; split() needs"
                        + " the limit -1 in order to keep empty labels at the"
                        + " end");
            }
        }

        @Test
        void a_name_has_at_most_255_octets_with_lengths_and_root()
                throws IOException {
            // rejects: 255 characters; the root forgotten; total - 1
            var labels = ("x".repeat(49) + ".").repeat(5);   // 250 octets
            encodes("0001 0100 0001 0000 0000 0000"
                    + ("31" + "78".repeat(49)).repeat(5) + "03 797979 00"
                    + "0001 0001", 1, DnsLookup.Question.of(labels + "yyy",
                    DnsLookup.Type.A), "250 octets, 4 for the last label and"
                    + " 1 for the root are 255, which is allowed");
            for (var rest : List.of("yyyy", "yy.y", "y".repeat(63))) {
                badName(labels + rest, "the length octets and the root count"
                        + " as well");
            }
        }

        @Test
        void a_name_with_a_backslash_or_beyond_ASCII_is_refused() {
            // rejects: US_ASCII, which makes a '?' of it
            for (var name : List.of("b\u00fccher.test", "caf\u00e9",
                    "a\\.b.test", "lab\\046test", "\u212aelvin.test")) {
                badName(name, "only ASCII can be asked for, and a backslash"
                        + " would begin an escape; getBytes(US_ASCII) makes"
                        + " '?' of other characters without an exception");
            }
        }

        @Test
        void Netty_decodes_the_question_and_the_case_of_its_name()
                throws IOException {
            var here = new InetSocketAddress(HERE, 5353);
            var decoder = new EmbeddedChannel(new DatagramDnsQueryDecoder());
            decoder.writeInbound(new io.netty.channel.socket.DatagramPacket(
                    Unpooled.wrappedBuffer(DnsLookup.encode(0xbeef,
                            DnsLookup.Question.of("Mail.lab.test",
                                    DnsLookup.Type.MX))), here, here));
            DatagramDnsQuery query = decoder.readInbound();
            DnsQuestion question = query.recordAt(DnsSection.QUESTION);
            Check.equal("48879 true Mail.lab.test. MX 1", query.id() + " "
                    + query.isRecursionDesired() + " " + question.name() + " "
                    + question.type().name() + " " + question.dnsClass(),
                    "what Netty's decoder reads: id, RD, name, type, class",
                    "compare your octets with RFC 1035 section 4.1; the case of"
                            + " a name is kept");
            query.release();
        }

        private static void encodes(String hex, int id,
                DnsLookup.Question question, String likely)
                throws IOException {
            var expected = octets(hex);
            byte[] got;
            try {
                got = DnsLookup.encode(id, question);
            } catch (DnsLookup.DnsException e) {
                throw History.fail("expected octets from encode(" + id + ", "
                        + question + "), got " + e.getMessage(), likely);
            }
            if (!Arrays.equals(expected, got)) {
                throw History.fail("expected encode(" + id + ", " + question
                        + ") = " + Bytes.shown(expected) + "\ngot "
                        + Bytes.diff(expected, got), likely);
            }
        }

        private static void badName(String name, String likely) {
            kind(DnsLookup.Kind.BAD_NAME, () -> DnsLookup.encode(1,
                    DnsLookup.Question.of(name, DnsLookup.Type.A)),
                    "encode() of the name \"" + name + "\"", likely);
        }
    }

    @Step(value = 2, title = "Decode a response")
    class Decode_a_response {

        @Test
        void the_header_is_read() throws IOException {
            // rejects: signed octets
            var message = decode(octets("fedc 8183 0000 0000 0000 0000"));
            Check.equal("65244 true 0 false 3", message.id() + " "
                    + message.response() + " " + message.opcode() + " "
                    + message.truncated() + " " + message.rcode(),
                    "id, QR, opcode, TC and rcode of the header fedc 8183",
                    "u16() is made of two octets, u8() << 8 | u8()");
            message = decode(octets("00ff 2205 0000 0000 0000 0000"));
            Check.equal("255 false 4 true 5", message.id() + " "
                    + message.response() + " " + message.opcode() + " "
                    + message.truncated() + " " + message.rcode(),
                    "id, QR, opcode, TC and rcode of the header 00ff 2205",
                    "u16() is made of two octets, u8() << 8 | u8()");
        }

        @Test
        void A_holds_an_address_and_CNAME_NS_and_PTR_a_name()
                throws IOException {
            decodes(List.of("www.lab.test 1 1 300 Address 200.0.129.255"),
                    new Msg().question("www.lab.test", A).answer("www.lab.test",
                            A, 300, ipv4("200.0.129.255")),
                    "the RDATA of an A record is four octets");
            decodes(List.of("a.test 5 1 1 Name www.lab.test",
                    "a.test 2 1 1 Name ns.lab.test",
                    "a.test 12 1 1 Name ."), new Msg().question("a.test", A)
                    .answer("a.test", CNAME, 1, name("www.lab.test"))
                    .answer("a.test", 2, 1, name("ns.lab.test"))
                    .answer("a.test", 12, 1, name(".")),
                    "the RDATA is a name(); \".\" is the name without labels");
        }

        @Test
        void numbers_are_unsigned() throws IOException {
            // rejects: int for the TTL; short for the preference
            decodes(List.of("lab.test 15 1 4294967295 Mx 65535 a.lab.test",
                    "lab.test 15 1 2147483648 Mx 32768 b.lab.test"),
                    new Msg().question("lab.test", MX)
                            .answer("lab.test", MX, 0xffff_ffffL,
                                    mx(65535, "a.lab.test"))
                            .answer("lab.test", MX, 0x8000_0000L,
                                    mx(32768, "b.lab.test")),
                    "a 32-bit number needs a long: (long) u16() << 16 | u16()");
        }

        @Test
        void a_pointer_continues_the_name_where_another_may_follow()
                throws IOException {
            // rejects: a pointer that ends the message; only whole pointers
            var likely = "a pointer is two octets, of which 14 bits are the"
                    + " position; after it the record goes on behind the"
                    + " *first* pointer of the name";
            decodes(List.of("www.lab.test 1 1 60 Address 10.0.0.1",
                    "lab.test 1 1 60 Address 10.0.0.2",
                    "mail.lab.test 1 1 60 Address 10.0.0.3"),
                    new Msg().question("www.lab.test", A)
                            .answer(pointer(12), A, 60, ipv4("10.0.0.1"))
                            .answer(pointer(16), A, 60, ipv4("10.0.0.2"))
                            .answer(cat(label("mail"), pointer(16)), A, 60,
                                    ipv4("10.0.0.3")), likely);
            // rejects: going on behind the last pointer
            // 12: www.lab.test, 30: mail + pointer to 16, 37: A record's rest
            decodes(List.of("mail.lab.test 1 1 60 Address 10.0.0.1",
                    "a.mail.lab.test 1 1 60 Address 10.0.0.2",
                    "b.a.mail.lab.test 5 1 60 Name a.mail.lab.test"),
                    new Msg().question("www.lab.test", A)
                            .answer(cat(label("mail"), pointer(16)), A, 60,
                                    ipv4("10.0.0.1"))
                            .answer(cat(label("a"), pointer(30)), A, 60,
                                    ipv4("10.0.0.2"))
                            .answer(cat(label("b"), pointer(51)), CNAME, 60,
                                    pointer(51)),
                    "follow each pointer, and go on behind the first one");
        }

        @Test
        void a_pointer_has_14_bits() throws IOException {
            // rejects: the second octet alone; a signed octet
            for (int padding : new int[] {130, 220, 300, 10_000, 16_000}) {
                var filled = new Msg().question("www.lab.test", A)
                        .answer(".", 99, 0, new byte[padding]);
                int at = filled.length();
                decodes(List.of(". 99 1 0 Unknown " + padding,
                        "mail.test 5 1 60 Name x.mail.test"), filled
                        .answer("mail.test", CNAME, 60,
                                cat(label("x"), pointer(at))),
                        "the position is (first & 0x3f) << 8 | u8(), here "
                                + at);
            }
        }

        @Test
        void a_pointer_in_RDATA_leads_out_of_it() throws IOException {
            // rejects: a name limited by RDLENGTH after its pointer
            decodes(List.of("lab.test 15 1 60 Mx 10 a.lab.test",
                    "lab.test 15 1 61 Mx 20 lab.test",
                    "lab.test 1 1 62 Address 10.0.0.1"),
                    new Msg().question("lab.test", MX)
                            .answer(pointer(12), MX, 60, cat(octets("000a"),
                                    label("a"), pointer(12)))
                            .answer(pointer(12), MX, 61,
                                    cat(octets("0014"), pointer(12)))
                            .answer(pointer(12), A, 62, ipv4("10.0.0.1")),
                    "RDLENGTH counts the octets of the pointer, not of the"
                            + " name that it leads to; set end back after the"
                            + " name");
        }

        @Test
        void octets_that_would_be_ambiguous_are_escaped() throws IOException {
            decodes(List.of("a\\046b.\\092\\000\\255.c 1 1 0 Address 10.0.0.1"),
                    new Msg().question("c", A).answer(octets(
                            "03 612e62 03 5c00ff 01 63 00"), A, 0,
                            ipv4("10.0.0.1")),
                    "a dot inside a label must not look like two labels: use"
                            + " append() for each label");
        }

        @Test
        void the_types_whose_decoding_is_given_are_read() throws IOException {
            decodes(List.of("a.test 28 1 9 Address fd00:0:0:0:0:0:0:10",
                    "a.test 28 1 9 Address 0:0:0:0:0:ffff:a00:1",
                    "a.test 16 1 9 Txt [v=spf1, -all]",
                    "a.test 6 1 9 Soa Soa[mname=ns.test, rname=me.test,"
                            + " serial=4294967295, refresh=2, retry=3,"
                            + " expire=4, minimum=5]",
                    "a.test 99 1 9 Unknown 3", "a.test 1 3 9 Unknown 2"),
                    new Msg().question("a.test", A)
                            .answer("a.test", AAAA, 9, octets(
                                    "fd00" + "0000".repeat(6) + "0010"))
                            .answer("a.test", AAAA, 9, octets(
                                    "0000".repeat(5) + "ffff 0a00 0001"))
                            .answer("a.test", TXT, 9, cat(label("v=spf1"),
                                    label("-all")))
                            .answer("a.test", 6, 9, cat(name("ns.test"),
                                    name("me.test"), octets("ffffffff"
                                            + "00000002 00000003 00000004"
                                            + "00000005")))
                            .answer("a.test", 99, 9, new byte[3])
                            .record(1, name("a.test"), A, CH, 9, new byte[2]),
                    "they need name(), u16() and u32()");
        }

        @Test
        void responses_of_dnsmasq_and_unbound_and_bind_are_read()
                throws IOException {
            for (var captured : Captured.values()) {
                var message = decode(octets(captured.hex));
                Check.equal(captured.answers, records(message.answers()),
                        "the answers of " + captured + " for "
                                + message.questions(),
                        "compare with the captured octets, " + captured.hex);
            }
        }

        @Test
        void a_response_that_Netty_has_encoded_is_read() throws IOException {
            var here = new InetSocketAddress(HERE, 5353);
            var response = new DatagramDnsResponse(here, here, 4711);
            response.addRecord(DnsSection.QUESTION,
                    new DefaultDnsQuestion("www.lab.test.", DnsRecordType.A));
            response.addRecord(DnsSection.ANSWER, new DefaultDnsRawRecord(
                    "www.lab.test.", DnsRecordType.A, 300,
                    Unpooled.wrappedBuffer(ipv4("10.0.0.10"))));
            var encoder = new EmbeddedChannel(new DatagramDnsResponseEncoder());
            encoder.writeOutbound(response);
            io.netty.channel.socket.DatagramPacket packet =
                    encoder.readOutbound();
            var wire = new byte[packet.content().readableBytes()];
            packet.content().readBytes(wire);
            packet.release();
            var message = decode(wire);
            Check.equal("4711 [www.lab.test 1 1] "
                    + "[www.lab.test 1 1 300 Address 10.0.0.10]",
                    message.id() + " " + questions(message) + " "
                            + records(message.answers()), "what Netty encoded",
                    "compare name() with RFC 1035 section 4.1.4");
        }

        private static void decodes(List<String> answers, Msg message,
                String likely) throws IOException {
            var wire = message.bytes();
            History.note("decode() of " + HexFormat.of().formatHex(wire, 0,
                    Math.min(wire.length, 120)));
            try {
                Check.equal(answers, records(decode(wire).answers()),
                        "the answers of this message", likely);
            } catch (DnsLookup.MalformedMessageException e) {
                throw History.fail("expected this message to be well-formed,"
                        + " got " + e, likely);
            }
        }
    }

    @Step(value = 3, title = "Query over UDP", leak = "open the"
            + " DatagramChannel in a try with resources")
    class Query_over_UDP {

        private static final String FORGED = "anybody may send a datagram that"
                + " looks like a response: ignore it and receive() again";

        @Test
        void ask_sends_the_question_and_returns_NOERROR_or_NXDOMAIN()
                throws Exception {
            var server = Server.open(query -> List.of(good(query)));
            var response = ask(client(server));
            Check.equal(List.of(GOOD), records(response.answers()),
                    "the answers of ask()", "return the response");
            var query = server.query(0);
            Check.equal(HexFormat.of().formatHex(DnsLookup.encode(id(query),
                    WWW)), HexFormat.of().formatHex(query),
                    "the datagram that the server got, in hex",
                    "send what encode() returns, and no more");
            Check.equal(1, server.queries(), "datagrams at the server",
                    "return as soon as the response is there");
            var negative = Server.open(q -> List.of(
                    forged(q, w -> w[3] = (byte) 0x83)));
            var unused = Server.open(q -> List.of(good(q)));
            var absent = ask(DnsLookup.create(DnsLookup.Options.of(
                    negative.address(), unused.address())));
            Check.equal(3, absent.rcode(), "the rcode of the response",
                    "return a response of NXDOMAIN as it is");
            Check.equal(0, unused.queries(), "queries to the second server",
                    "NXDOMAIN is an answer: ask nobody else");
            // rejects: a question that must have the class IN
            var echo = Server.open(q -> {
                var wire = q.clone();
                wire[2] = (byte) 0x81;
                return List.of(wire);
            });
            var chaos = PendingCall.start(() -> client(echo).ask(
                    new DnsLookup.Question("version.bind", TXT, CH)));
            Check.equal("[version.bind 16 3]", questions(Await.value(
                    chaos.outcome(), "that ask() returns the response to a"
                            + " question of class 3", "compare its class with"
                            + " that of the question")).toString(),
                    "the question in this response", "return the response");
        }

        @Test
        void responses_with_another_id_are_ignored() throws Exception {
            // rejects: the first datagram wins; one retry; half an id
            var server = Server.open(query -> List.of(
                    forged(query, w -> w[1] ^= 1),
                    forged(query, w -> w[0] ^= 1),
                    forged(query, w -> w[0] ^= 0x80), good(query)));
            ignores(server, "compare the id; " + FORGED);
        }

        @Test
        void responses_to_another_question_are_ignored() throws Exception {
            // rejects: the id alone; an rcode looked at before the question
            var server = Server.open(query -> List.of(
                    forged(query, w -> w[14] ^= 1), forged(query, w -> w[27]++),
                    forged(query, w -> w[29]++),
                    new Msg().id(id(query)).flags(0x8183).bytes(),
                    new Msg().id(id(query)).flags(0x8182).bytes(),
                    new Msg().id(id(query)).flags(0x8185).bytes(),
                    new Msg().id(id(query)).answer("www.lab.test", A, 300,
                            ipv4("10.6.6.6")).bytes(),
                    new Msg().id(id(query)).question("www.lab.test", A)
                            .question("www.lab.test", A).answer("www.lab.test",
                            A, 300, ipv4("10.6.6.6")).bytes(), good(query)));
            ignores(server, "there must be one question, with the name, the"
                    + " type and the class that were asked for; " + FORGED);
        }

        @Test
        void what_is_a_query_or_no_message_at_all_is_ignored()
                throws Exception {
            var server = Server.open(query -> List.of(
                    forged(query, w -> w[2] &= 0x7f),
                    forged(query, w -> w[2] |= 0x20), good(query)));
            ignores(server, "QR is set in a response, and the opcode is 0;"
                    + " " + FORGED);
            // rejects: MalformedMessageException that ends the try
            var junk = Server.open(query -> List.of(new byte[0], new byte[11],
                    Arrays.copyOf(query, 5), good(query)));
            ignores(junk, "catch MalformedMessageException inside the"
                    + " loop; " + FORGED);
        }

        @Test
        void a_response_from_another_address_is_not_received()
                throws Exception {
            // rejects: a socket that is not connected
            try (var other = new DatagramSocket(0, HERE)) {
                var server = Server.open((query, from) -> {
                    var wire = forged(query, w -> { });
                    other.send(new DatagramPacket(wire, wire.length, from));
                    return List.of(good(query));
                });
                ignores(server, "connect() the channel: then the kernel"
                        + " drops datagrams from any other address");
            }
        }

        @Test
        void the_name_in_the_question_is_compared_without_case()
                throws Exception {
            var server = Server.open(query -> {
                var wire = good(query);
                wire[13] = 'W';
                wire[17] = 'L';
                return List.of(wire);
            });
            Check.equal(List.of("Www.Lab.test 1 1 300 Address 10.0.0.10"),
                    records(ask(client(server)).answers()), "the answers of a"
                    + " response to Www.Lab.test", "a server may change the"
                    + " case of the question: compare what fold() makes of"
                    + " both names");
        }

        @Test
        void each_query_has_a_new_id_and_a_new_port() throws Exception {
            // rejects: one socket for all; a counter; ids of 8 or 15 bits
            var server = Server.open(query -> List.of(good(query)));
            var client = client(server);
            for (int i = 0; i < 64; i++) {
                ask(client);
            }
            var ids = IntStream.range(0, 64).map(i -> id(server.query(i)))
                    .boxed().toList();
            Check.that(new HashSet<>(ids).size() >= 60, "at least 60 different"
                    + " ids in 64 queries, got " + new HashSet<>(ids).size(),
                    "draw a new id for each query");
            Check.that(Set.copyOf(server.ports()).size() >= 50, "at least 50"
                    + " different ports in 64 queries, got "
                    + Set.copyOf(server.ports()).size(), "open a new channel"
                    + " for each query, so that the port cannot be guessed");
            long steps = IntStream.range(1, 64).filter(i ->
                    Math.abs(ids.get(i) - ids.get(i - 1)) <= 16).count();
            Check.that(steps < 8, "ids that cannot be guessed, got " + ids,
                    "RANDOM.nextInt(1 << 16), and no counter");
            for (int bit : new int[] {0x8000, 0x100, 0x80, 1}) {
                Check.that(ids.stream().anyMatch(id -> (id & bit) == 0)
                        && ids.stream().anyMatch(id -> (id & bit) != 0),
                        "bit " + Integer.toHexString(bit) + " of the ids to be"
                                + " 0 in some of 64 queries and 1 in others,"
                                + " got " + ids, "an id has 16 random bits:"
                                + " RANDOM.nextInt(1 << 16)");
            }
        }

        @Test
        void silent_servers_are_asked_twice_each_and_end_in_a_timeout()
                throws Exception {
            // rejects: one try; retries without end
            var first = Server.open(_ -> List.of());
            var second = Server.open(_ -> List.of());
            var client = DnsLookup.create(DnsLookup.Options.of(
                    first.address(), second.address())
                    .withTimeout(Duration.ofMillis(30)));
            kind(DnsLookup.Kind.TIMEOUT, () -> ask(client), "ask() of two"
                    + " silent servers", "when no server has answered at all,"
                    + " the kind is TIMEOUT");
            for (var server : List.of(first, second)) {
                server.await(2);
                Check.equal(2, server.queries(), "queries to each of two silent"
                        + " servers", "two rounds over all servers");
            }
            var silent = Server.open(_ -> List.of());
            var server = Server.open(query -> List.of(good(query)));
            var other = DnsLookup.create(DnsLookup.Options.of(
                    silent.address(), server.address())
                    .withTimeout(Duration.ofMillis(100)));
            answersGood(other, "the second server, after a silent one",
                    "a SocketTimeoutException moves on to the next server");
        }

        @Test
        void servers_are_asked_in_order_and_then_once_more() throws Exception {
            // rejects: retrying one server before the next; an id or a port
            // for all tries of a call
            var order = new ConcurrentLinkedQueue<String>();
            var ids = ConcurrentHashMap.<Integer>newKeySet();
            var ports = ConcurrentHashMap.<Integer>newKeySet();
            var servers = Stream.of("first", "second", "third").map(name ->
                    Server.open((query, from) -> {
                        order.add(name);
                        ids.add(id(query));
                        ports.add(from.getPort());
                        return List.of(forged(query, w -> w[3] |= 2));
                    }).address()).toArray(InetSocketAddress[]::new);
            kind(DnsLookup.Kind.SERVER_FAILURE, () -> ask(DnsLookup.create(
                    DnsLookup.Options.of(servers))), "ask() of three servers"
                    + " that fail", "only NOERROR and NXDOMAIN are"
                    + " answers; any other rcode is a SERVER_FAILURE");
            Check.equal("[first, second, third, first, second, third]",
                    order.toString(), "the order in which servers are asked",
                    "two rounds, and all servers in each of them");
            Check.that(ids.size() >= 5 && ports.size() >= 5, "at least 5"
                    + " different ids and 5 different ports in six tries of one"
                    + " call, got the ids " + ids + " and the ports " + ports,
                    "each try draws an id and opens a channel");
        }

        @Test
        void forged_datagrams_do_not_prolong_the_wait() throws Exception {
            // rejects: a timeout that starts anew with each datagram
            var over = new AtomicBoolean();
            var self = new AtomicReference<Server>();
            self.set(Server.open((query, from) -> {
                Thread.ofVirtual().start(() -> self.get().flood(
                        forged(query, w -> w[1]++), from, over));
                return List.of();
            }));
            var server = self.get();
            var client = client(server, Duration.ofMillis(40));
            var call = PendingCall.start(() -> ask(client));
            try {
                var failure = failure(call,
                        "that ask() ends at its deadline, although forged"
                                + " datagrams keep arriving", "set the timeout"
                                + " anew before each receive(), to"
                                + " millisLeft(deadline)");
                Check.equal(DnsLookup.Kind.TIMEOUT, kindOf(failure),
                        "the kind, when only forged datagrams come",
                        "ignored datagrams are no answer");
            } finally {
                over.set(true);
                call.thread().interrupt();
            }
        }

        @Test
        void after_a_failure_the_next_server_is_asked_and_the_failure_told()
                throws Exception {
            // rejects: SERVFAIL as an answer; TIMEOUT told in its place
            for (int rcode : new int[] {1, 2, 4, 5, 9}) {
                var failing = Server.open(query -> List.of(
                        forged(query, w -> w[3] = (byte) (0x80 | rcode))));
                var server = Server.open(query -> List.of(good(query)));
                var client = DnsLookup.create(DnsLookup.Options.of(
                        failing.address(), server.address()));
                answersGood(client, "the second server, after one with rcode "
                        + rcode, "only NOERROR and NXDOMAIN are answers");
                var failure = kind(DnsLookup.Kind.SERVER_FAILURE,
                        () -> ask(client(failing)), "ask() of a server with"
                                + " rcode " + rcode, "SERVER_FAILURE when a"
                                + " server has answered with an error");
                Check.that(failure.getMessage().contains("rcode " + rcode),
                        "the message to contain \"rcode " + rcode + "\", got "
                                + failure.getMessage(), "name the rcode");
            }
            var last = Server.open(query -> List.of(
                    forged(query, w -> w[3] |= 2)));
            var silent = Server.open(_ -> List.of());
            var failure = kind(DnsLookup.Kind.SERVER_FAILURE, () -> ask(
                    DnsLookup.create(DnsLookup.Options.of(last.address(),
                            silent.address()).withTimeout(
                            Duration.ofMillis(100)))), "ask() of a server that"
                    + " fails and one that is silent", "a timeout does not"
                    + " replace the failure of another server");
            Check.that(failure.getMessage().contains("rcode 2"), "the message"
                    + " for a server with rcode 2 and one that is silent to"
                    + " contain \"rcode 2\", got " + failure.getMessage(),
                    "a timeout does not replace the failure of another server");
            var refusing = Server.open(query -> List.of(
                    forged(query, w -> w[3] |= 5)));
            failure = kind(DnsLookup.Kind.SERVER_FAILURE, () -> ask(
                    DnsLookup.create(DnsLookup.Options.of(refusing.address(),
                            last.address()))), "ask() of servers with rcode 5"
                    + " and rcode 2", "both have failed");
            Check.that(failure.getMessage().contains("rcode 2"), "the message"
                    + " for servers with rcode 5 and rcode 2 to contain"
                    + " \"rcode 2\", got " + failure.getMessage(),
                    "tell the last failure");
        }

        @Test
        @EnabledIf("DnsLookupTest#refusalsAreReported")
        void a_closed_port_moves_on_at_once() throws Exception {
            // rejects: PortUnreachableException that ends ask(), or that waits
            var dead = new DatagramSocket(0, HERE);
            var gone = (InetSocketAddress) dead.getLocalSocketAddress();
            dead.close();
            var server = Server.open(query -> List.of(good(query)));
            var client = DnsLookup.create(DnsLookup.Options.of(gone,
                    server.address()).withTimeout(Duration.ofHours(1)));
            var call = PendingCall.start(() -> ask(client));
            var response = Await.value(call.outcome(), "that ask() moves on"
                    + " from a closed port", "a connected channel throws"
                    + " PortUnreachableException: catch IOException around"
                    + " askOne(), and ask the next server");
            Check.equal(List.of(GOOD), records(response.answers()),
                    "the answers of the second server", "");
            kind(DnsLookup.Kind.SERVER_FAILURE, () -> DnsLookup.create(
                    DnsLookup.Options.of(gone)).ask(WWW),
                    "ask() of a closed port alone",
                    "a server that cannot be reached is a SERVER_FAILURE");
        }

        @Test
        void an_interrupt_ends_the_wait() throws Exception {
            for (boolean virtual : List.of(false, true)) {
                var server = Server.open(_ -> List.of());
                interrupted(virtual, server, server::queries, "a query",
                        "send it", "receive() of channel.socket() is"
                                + " interruptible; a DatagramSocket of your own"
                                + " is not. Let InterruptedException pass");
            }
        }

        @Test
        void a_name_that_cannot_be_asked_for_is_not_sent() throws Exception {
            var server = Server.open(query -> List.of(good(query)));
            kind(DnsLookup.Kind.BAD_NAME, () -> client(server).ask(
                    DnsLookup.Question.of("a..b", DnsLookup.Type.A)),
                    "ask() for a..b", "a DnsException is an IOException, too:"
                            + " catch it first, and pass it on");
            Check.equal(0, server.queries(), "datagrams at the server",
                    "encode() throws before anything is sent");
        }

        private static void ignores(Server server, String likely)
                throws Exception {
            answersGood(client(server, Duration.ofSeconds(9)), "the right"
                    + " response, which comes last", likely);
            Check.equal(1, server.queries(), "datagrams at the server",
                    "keep waiting for this query; do not send another");
        }
    }

    @Step(value = 4, title = "Follow aliases and tell NODATA from NXDOMAIN")
    class Follow_aliases_and_tell_NODATA_from_NXDOMAIN {

        private static final String CHAIN = "look for records at the current"
                + " name; a CNAME there makes its target the current name";

        @Test
        void records_of_the_name_and_type_are_found_for_CNAME_as_well()
                throws Exception {
            var dns = new Script().on("www.lab.test A", answer(
                    a("www.lab.test", 300, "10.0.0.1"),
                    a("www.lab.test", 200, "10.0.0.2")));
            var found = found(dns, "www.lab.test", DnsLookup.Type.A);
            Check.equal("[www.lab.test 1 1 300 Address 10.0.0.1,"
                    + " www.lab.test 1 1 200 Address 10.0.0.2] [] 200 false",
                    shown(found), "records, aliases, ttl and fromCache",
                    "all records, as they came; ttl is the smallest of theirs");
            Check.equal(List.of("www.lab.test A"), dns.asked, "the questions",
                    "ask once");
            var alias = new Script().on("a.test CNAME", answer(
                    cname("a.test", 9, "b.test"), cname("b.test", 9, "c")));
            Check.equal("[a.test 5 1 9 Name b.test] [] 9 false", shown(found(
                    alias, "a.test", DnsLookup.Type.CNAME)),
                    "records, aliases, ttl and fromCache", "records of the type"
                    + " asked for are the answer: look for them first");
        }

        @Test
        void NODATA_and_NXDOMAIN_are_different_answers() throws Exception {
            // rejects: an empty list for both; NXDOMAIN as an exception
            var dns = new Script()
                    .on("www.lab.test MX", message(0, List.of(),
                            List.of(soa("lab.test", 300, 60)), List.of()))
                    .on("nope.lab.test A", message(3, List.of(),
                            List.of(soa("lab.test", 300, 60)), List.of()))
                    .on("odd.lab.test A", message(3, List.of(
                            a("odd.lab.test", 9, "10.0.0.1")),
                            List.of(soa("lab.test", 300, 60)), List.of()));
            Check.equal("NoData[name=www.lab.test, ttl=60]", dns.client().query(
                    "www.lab.test", DnsLookup.Type.MX).toString(), "the answer"
                    + " for rcode 0 without records", "the name exists, but has"
                    + " no such record: NoData");
            Check.equal("NoSuchName[name=nope.lab.test, ttl=60]", dns.client()
                    .query("nope.lab.test", DnsLookup.Type.A).toString(),
                    "the answer for rcode 3", "rcode 3 is NoSuchName");
            // rejects: the rcode before the records
            Check.equal("Found", dns.client().query("odd.lab.test",
                    DnsLookup.Type.A).getClass().getSimpleName(), "the answer"
                    + " for rcode 3 with a record of the name and the type",
                    "records at the end of the walk are the answer; the rcode"
                            + " counts where there are none");
        }

        @Test
        void aliases_are_followed_in_whatever_order_they_come()
                throws Exception {
            // rejects: a single pass; the last record taken for the answer
            var dns = new Script().on("a.test A", answer(
                    a("d.test", 300, "10.0.0.1"),
                    cname("c.test", 60, "d.test"),
                    cname("a.test", 70, "b.test"),
                    cname("b.test", 80, "c.test")));
            var found = found(dns, "a.test", DnsLookup.Type.A);
            Check.equal("[d.test 1 1 300 Address 10.0.0.1]"
                    + " [b.test, c.test, d.test] 60 false", shown(found),
                    "records, aliases, ttl and fromCache", CHAIN
                    + "; ttl is the smallest of aliases and records");
            Check.equal(1, dns.asked.size(), "questions",
                    "the response holds all that is needed");
        }

        @Test
        void the_target_is_asked_for_when_the_response_ends_with_an_alias()
                throws Exception {
            var dns = new Script()
                    .on("a.test A", answer(cname("a.test", 50, "b.test")))
                    .on("b.test A", answer(cname("b.test", 90, "c.test"),
                            a("c.test", 80, "10.0.0.1")));
            var found = found(dns, "a.test", DnsLookup.Type.A);
            Check.equal("[c.test 1 1 80 Address 10.0.0.1] [b.test, c.test] 50"
                    + " false", shown(found),
                    "records, aliases, ttl and fromCache", "a response with"
                    + " nothing but a CNAME says nothing about the target: ask"
                    + " for it; the TTLs of the first response count as well");
            Check.equal(List.of("a.test A", "b.test A"), dns.asked,
                    "the questions", "ask for the last target");
        }

        @Test
        void at_most_16_aliases_are_followed() throws Exception {
            // rejects: 15, 17; a count that starts anew with each response
            for (int step : new int[] {20, 5, 1}) {
                for (int length : new int[] {16, 17}) {
                    var dns = chain(length, step);
                    var what = "a chain of " + length + " aliases, "
                            + Math.min(step, length) + " in a response";
                    if (length == 16) {
                        Object came;
                        try {
                            came = found(dns, "n0.test", DnsLookup.Type.A)
                                    .aliases().size();
                        } catch (AssertionError e) {
                            came = "none";
                        }
                        Check.equal(16, came, "aliases of " + what,
                                "16 aliases are allowed");
                    } else {
                        kind(DnsLookup.Kind.ALIAS_LOOP, () -> dns.client()
                                .query("n0.test", DnsLookup.Type.A), what,
                                "the 17th alias is too much, however many"
                                        + " responses they come in");
                    }
                }
            }
        }

        @Test
        void aliases_that_lead_back_are_an_alias_loop() throws Exception {
            // rejects: endless; NoData for an alias to itself
            for (var links : List.of(
                    List.of(cname("a.test", 9, "a.test")),
                    List.of(cname("a.test", 9, "A.TEST")),
                    List.of(cname("a.test", 9, "b.test"),
                            cname("b.test", 9, "a.test")))) {
                var dns = new Script().on("a.test A", answer(links.toArray(
                        DnsLookup.ResourceRecord[]::new)));
                var call = PendingCall.start(() -> dns.client().query("a.test",
                        DnsLookup.Type.A));
                var failure = failure(call,
                        "that query() ends", "count the aliases");
                Check.equal(DnsLookup.Kind.ALIAS_LOOP, kindOf(failure),
                        "the kind for " + records(links), "count the aliases,"
                                + " and stop after MAX_ALIASES");
            }
        }

        @Test
        void records_and_aliases_that_come_twice_count_once() throws Exception {
            // rejects: a loop that is found by counting CNAME records
            var link = cname("a.test", 9, "b.test");
            var dns = new Script().on("a.test A", answer(link, link,
                    cname("b.test", 9, "c.test"), a("c.test", 9, "10.0.0.1"),
                    link, cname("b.test", 9, "c.test"),
                    a("c.test", 9, "10.0.0.1")));
            Check.equal("[c.test 1 1 9 Address 10.0.0.1] [b.test, c.test] 9"
                    + " false", shown(found(dns, "a.test", DnsLookup.Type.A)),
                    "records, aliases, ttl and fromCache", "equal records are"
                    + " one record; a repeated link is no loop");
        }

        @Test
        void only_records_of_the_chain_count_whatever_the_case_of_names()
                throws Exception {
            // rejects: the first record of the type, whoever owns it
            var stray = a("bank.test", 300, "10.6.6.6");
            var dns = new Script().on("www.lab.test A", message(0,
                    List.of(stray, rr("www.lab.test", AAAA, 1, 9, addr("::1")),
                            rr("www.lab.test", A, CH, 9,
                                    new DnsLookup.Data.Unknown(2)),
                            a("www.lab.test", 60, "10.0.0.1")),
                    List.of(), List.of()));
            Check.equal("[www.lab.test 1 1 60 Address 10.0.0.1] [] 60 false",
                    shown(found(dns, "www.lab.test", DnsLookup.Type.A)),
                    "records, aliases, ttl and fromCache", "take records with"
                    + " the current name, the type and class IN, and no other");
            var elsewhere = new Script().on("www.lab.test A", message(0,
                    List.of(stray, rr("www.lab.test", CNAME, CH, 9,
                            new DnsLookup.Data.Name("bank.test"))),
                    List.of(a("www.lab.test", 60, "10.6.6.6"),
                            cname("www.lab.test", 60, "bank.test")),
                    List.of(a("www.lab.test", 60, "10.6.6.6"),
                            cname("www.lab.test", 60, "bank.test"))));
            elsewhere.likely = "only the answer section answers, and only its"
                    + " CNAME records of class IN are followed";
            Check.equal("NoData[name=www.lab.test, ttl=0]", elsewhere.client()
                    .query("www.lab.test", DnsLookup.Type.A).toString(),
                    "the answer when only other sections, or another class,"
                            + " hold a record of the name", elsewhere.likely);
            var mixed = new Script().on("www.lab.test A", answer(
                    cname("WWW.lab.TEST", 60, "Host.Lab.test"),
                    a("hOST.lAB.test", 60, "10.0.0.1")));
            Check.equal("[hOST.lAB.test 1 1 60 Address 10.0.0.1]"
                    + " [Host.Lab.test] 60 false", shown(found(mixed,
                    "www.LAB.test", DnsLookup.Type.A)),
                    "records, aliases, ttl and fromCache", "compare what fold()"
                    + " makes of the names, and return them as they came");
        }

        @Test
        void a_negative_answer_behind_an_alias_is_about_the_target()
                throws Exception {
            for (int rcode : new int[] {0, 3}) {
                var dns = new Script().on("a.test A", message(rcode, List.of(
                        cname("a.test", 90, "b.test"),
                        cname("b.test", 80, "c.test")), List.of(
                        soa("test", 300, 60)), List.of()));
                Check.equal((rcode == 0 ? "NoData" : "NoSuchName")
                        + "[name=c.test, ttl=60]", dns.client().query("a.test",
                        DnsLookup.Type.A).toString(), "the answer for rcode "
                        + rcode + " behind two aliases", "the rcode and the SOA"
                        + " are about the last name of the chain");
                Check.equal(1, dns.asked.size(), "questions", "the response"
                        + " says that the target has no record: do not ask");
            }
        }

        @Test
        void an_alias_without_SOA_is_asked_for_once() throws Exception {
            // rejects: NODATA taken from a bare alias; an endless loop
            var dns = new Script()
                    .on("a.test A", answer(cname("a.test", 90, "b.test")))
                    .on("b.test A", answer());
            var call = PendingCall.start(() -> dns.client().query("a.test",
                    DnsLookup.Type.A));
            Check.equal("NoData[name=b.test, ttl=0]", Await.value(
                    call.outcome(), "that query() ends", "a response without"
                            + " any CNAME is final").toString(), "the answer",
                    "ask for the target; its empty response is NODATA, which"
                            + " cannot be cached without a SOA");
            Check.equal(List.of("a.test A", "b.test A"), dns.asked,
                    "the questions", "ask for the target once");
            var none = new Script().on("a.test A", message(3, List.of(
                    cname("a.test", 90, "b.test")), List.of(), List.of()));
            Check.equal("NoSuchName[name=b.test, ttl=0]", none.client().query(
                    "a.test", DnsLookup.Type.A).toString(), "the answer for"
                    + " rcode 3 and an alias, without a SOA",
                    "NXDOMAIN is about the last name; without a SOA ttl is 0");
            // rejects: a ttl of the last response alone
            var brief = new Script()
                    .on("a.test A", answer(cname("a.test", 7, "b.test")))
                    .on("b.test A", message(0, List.of(), List.of(
                            soa("test", 300, 60)), List.of()));
            Check.equal("NoData[name=b.test, ttl=7]", brief.client().query(
                    "a.test", DnsLookup.Type.A).toString(), "the answer when"
                    + " the alias, in a response of its own, has a TTL of 7",
                    "the TTLs of all aliases on the way count");
        }

        @Test
        void the_ttl_of_a_negative_answer_comes_from_the_SOA()
                throws Exception {
            // rejects: minimum alone; the SOA's TTL alone; no alias counted
            long[][] rows = {{300, 60, 999, 60}, {50, 60, 999, 50},
                {300, 60, 7, 7}, {0, 60, 999, 0}, {300, 0, 999, 0}};
            for (var row : rows) {
                var dns = new Script().on("a.test A", message(3, List.of(
                        cname("a.test", row[2], "b.test")), List.of(
                        rr("test", 2, 1, 1, new DnsLookup.Data.Name("ns")),
                        soa("test", row[0], row[1])), List.of()));
                Check.equal(row[3], dns.client().query("a.test",
                        DnsLookup.Type.A).ttl(), "ttl() with a SOA of TTL "
                        + row[0] + " and minimum " + row[1] + ", behind an"
                        + " alias of TTL " + row[2], "the smallest of the three"
                        + " (RFC 2308 section 5)");
            }
        }

        @Test
        void a_SOA_of_another_zone_is_not_used() throws Exception {
            // rejects: any SOA; endsWith() without the dot
            for (var zone : List.of("other.test", "b.test", "x.www.lab.test",
                    "w.lab.test")) {
                var dns = new Script().on("www.lab.test A", message(0,
                        List.of(), List.of(soa(zone, 300, 60)), List.of()));
                Check.equal("NoData[name=www.lab.test, ttl=0]", dns.client()
                        .query("www.lab.test", DnsLookup.Type.A).toString(),
                        "the answer for www.lab.test with a SOA of " + zone,
                        "a SOA counts if the name isWithin() its zone");
            }
            for (var zone : List.of("www.lab.test", "LAB.test", ".")) {
                var dns = new Script().on("www.lab.test A", message(0,
                        List.of(), List.of(soa(zone, 300, 60)), List.of()));
                Check.equal(60L, dns.client().query("www.lab.test",
                        DnsLookup.Type.A).ttl(), "ttl() with a SOA of " + zone,
                        "the name isWithin() this zone");
            }
            var behind = new Script().on("www.lab.test A", message(0,
                    List.of(), List.of(soa("other.test", 300, 9),
                            soa("lab.test", 300, 60)), List.of()));
            Check.equal(60L, behind.client().query("www.lab.test",
                    DnsLookup.Type.A).ttl(), "ttl() with a SOA of lab.test"
                    + " behind one of other.test", "look for the first SOA"
                    + " whose zone the name isWithin()");
            var elsewhere = new Script().on("www.lab.test A", message(0,
                    List.of(soa("lab.test", 300, 60)), List.of(),
                    List.of(soa("lab.test", 300, 60))));
            Check.equal(0L, elsewhere.client().query("www.lab.test",
                    DnsLookup.Type.A).ttl(), "ttl() when the SOA is in the"
                    + " answer and the additional section", "only a SOA in the"
                    + " authority section counts");
            var foreign = new Script()
                    .on("a.test A", message(0, List.of(cname("a.test", 9,
                            "b.other")), List.of(soa("test", 300, 60)),
                            List.of()))
                    .on("b.other A", answer(a("b.other", 8, "10.0.0.1")));
            Check.equal("[b.other 1 1 8 Address 10.0.0.1] [b.other] 8 false",
                    shown(found(foreign, "a.test", DnsLookup.Type.A)),
                    "records, aliases, ttl and fromCache, when the SOA is the"
                            + " alias's and not the target's",
                    "this SOA says nothing about the target: ask for it");
        }

        @Test
        void mail_servers_are_ordered_by_preference() throws Exception {
            // rejects: descending; text order; a set without equal ones
            var dns = new Script().on("lab.test MX", answer(
                    mail("lab.test", 100, "c"), mail("lab.test", 20, "b2"),
                    mail("lab.test", 20, "b1"), mail("lab.test", 9, "a")))
                    .on("alias.test MX", answer(mail("lab.test", 9, "a"),
                            cname("alias.test", 9, "lab.test")))
                    .on("null.test MX", answer(mail("null.test", 0, ".")))
                    .on("none.test MX", answer())
                    .on("nope.test MX", message(3, List.of(), List.of(),
                            List.of()));
            Check.equal("[a, b2, b1, c]", dns.client().mailServers("lab.test")
                    .stream().map(DnsLookup.Data.Mx::exchange).toList()
                    .toString(), "mailServers() of preferences 100, 20, 20, 9",
                    "sort by preference as a number, the smallest first; equal"
                            + " ones stay in their order");
            Check.equal("[Mx[preference=9, exchange=a]]", dns.client()
                    .mailServers("alias.test").toString(), "mailServers() of"
                    + " an alias", "use found(): it follows aliases");
            Check.equal("[Mx[preference=0, exchange=.]]", dns.client()
                    .mailServers("null.test").toString(), "mailServers() of a"
                    + " null MX", "return it as it came: no mail is accepted");
            Check.equal("[]", dns.client().mailServers("none.test").toString(),
                    "mailServers() without an MX record", "use found()");
            kind(DnsLookup.Kind.NO_SUCH_NAME, () -> dns.client().mailServers(
                    "nope.test"), "mailServers() of a name that does not exist",
                    "use found(), which throws for NoSuchName");
        }

        @Test
        void responses_of_dnsmasq_and_unbound_and_bind_are_interpreted()
                throws Exception {
            var dns = new Script();
            for (var captured : Captured.values()) {
                dns.fixed = DnsLookup.decode(octets(captured.hex));
                var asked = dns.fixed.questions().getFirst();
                if (!captured.answer.isEmpty()) {
                    Check.equal(captured.answer, dns.client().query(
                            asked.name(), DnsLookup.Type.of(asked.type())
                                    .orElseThrow()).toString()
                                    .replaceAll("records=.*?], ", ""),
                            "the answer of " + captured, "see the chapter's"
                                    + " table of answers");
                }
            }
        }
    }

    @Step(value = 5, title = "Reject malformed messages", further = true)
    class Reject_malformed_messages {

        private static final String LOOP = "each pointer must lead to a"
                + " position before the target of the previous one, and the"
                + " first one before the start of the name: then a name always"
                + " ends";

        @Test
        void a_pointer_leads_back_and_not_into_the_header()
                throws Exception {
            // rejects: no check; only the pointer itself; a count of pointers
            // the owner of the answer begins at 30
            var names = new LinkedHashMap<String, byte[]>();
            names.put("a pointer to itself", pointer(30));
            names.put("a label, and a pointer to the label",
                    cat(label("a"), pointer(30)));
            names.put("a label, and a pointer to itself",
                    cat(label("a"), pointer(32)));
            names.put("a label of 3 octets, and a pointer to the second one",
                    cat(octets("03 017800"), pointer(31)));
            names.put("a pointer to what follows it",
                    cat(pointer(32), label("b"), new byte[1]));
            names.put("two pointers that lead to each other",
                    cat(pointer(32), pointer(30)));
            for (var each : names.entrySet()) {
                endless(new Msg().question("www.lab.test", A).answer(
                        each.getValue(), A, 9, ipv4("10.0.0.1")).bytes(),
                        each.getKey());
            }
            // the RDATA of the first record begins at 41
            endless(new Msg().question("www.lab.test", A)
                    .answer(".", 99, 0, cat(pointer(43), pointer(41)))
                    .answer(pointer(43), A, 9, ipv4("10.0.0.1")).bytes(),
                    "a pointer back to two pointers that lead to each other");
            for (int target : new int[] {0, 1, 4, 11}) {
                malformed(new Msg().id(0).flags(0).question("www.lab.test", A)
                        .answer(pointer(target), A, 9, ipv4("10.0.0.1"))
                        .bytes(), "a pointer to " + target, "the header takes"
                        + " 12 octets, and no name begins there");
            }
        }

        @Test
        void a_name_follows_at_most_127_pointers() throws IOException {
            // rejects: no limit; a limit of 10; a count for the whole message
            var likely = "count the pointers of each name, from 0 for each: 127"
                    + " are allowed, as many as a name can have labels";
            for (var name : List.of("lab.test", ".")) {
                var wire = chainOfPointers(name, 127);
                try {
                    Check.equal(name, decode(wire).answers().getLast().name(),
                            "the name behind 127 pointers that lead back",
                            likely);
                } catch (DnsLookup.MalformedMessageException e) {
                    throw History.fail("expected " + name + " behind 127"
                            + " pointers that lead back, got " + e, likely);
                }
                malformed(chainOfPointers(name, 128), "a name behind 128"
                        + " pointers that lead back", "without a limit, each of"
                        + " thousands of names may follow the same thousands of"
                        + " pointers; " + likely);
            }
            // each label has a pointer behind it: 127 labels, 255 octets
            var wire = new Msg().question(cat(label("z"), new byte[1]), A);
            int at = 12;
            for (int i = 0; i < 126; i++) {
                int here = wire.length();
                wire.answer(cat(label("x"), pointer(at)), A, 9,
                        ipv4("10.0.0.1"));
                at = here;
            }
            var name = "x.".repeat(126) + "z";
            wire.answer(pointer(at), A, 9, ipv4("10.0.0.1"));
            Check.equal(name, decode(wire.bytes()).answers().getLast().name(),
                    "a name of 127 labels and 127 pointers", likely);
        }

        /** Each answer's name is a pointer to the name before it. */
        private static byte[] chainOfPointers(String name, int pointers) {
            var wire = new Msg().question(name, A);
            int at = 12;
            for (int i = 0; i < pointers; i++) {
                int here = wire.length();
                wire.answer(pointer(at), A, 9, ipv4("10.0.0.1"));
                at = here;
            }
            return wire.bytes();
        }

        @Test
        void labels_of_the_types_01_and_10_are_malformed() {
            for (int first : new int[] {0x40, 0x41, 0x7f, 0x80, 0xbf}) {
                malformed(new Msg().question(cat(new byte[] {(byte) first},
                        new byte[200]), A).bytes(), "a label that begins with"
                        + " octet " + Integer.toHexString(first),
                        "a label has at most 63 octets: its first two bits are"
                                + " 00");
            }
        }

        @Test
        void a_name_has_at_most_255_octets() throws IOException {
            // rejects: no limit; one for each label run; 256
            var fifty = label("x".repeat(49));
            var five = cat(fifty, fifty, fifty, fifty, fifty);
            decode(new Msg().question(cat(five, label("yyy"), new byte[1]), A)
                    .bytes());
            var likely = "count the length octets, the root, and the labels"
                    + " behind pointers";
            decode(new Msg().question(cat(fifty, fifty, fifty, new byte[1]),
                    A).answer(cat(fifty, fifty, label("yyy"), pointer(12)), A,
                    9, ipv4("10.0.0.1")).bytes());
            malformed(new Msg().question(cat(five, label("yyyy"),
                    new byte[1]), A).bytes(), "a name of 256 octets", likely);
            malformed(new Msg().question(cat(fifty, fifty, fifty, new byte[1]),
                    A).answer(cat(fifty, fifty, label("yyyy"), pointer(12)), A,
                    9, ipv4("10.0.0.1")).bytes(), "a name of 256 octets,"
                    + " through a pointer", likely);
        }

        @Test
        void RDLENGTH_is_exactly_the_length_of_the_data() {
            // rejects: RDLENGTH as a skip; no check of the end
            var likely = "RDATA ends where RDLENGTH says: nothing may be read"
                    + " behind it, and nothing may be left";
            record Row(int type, String hex) {}
            for (var row : List.of(new Row(A, "0a0000"),
                    new Row(A, "0a00000102"), new Row(A, ""),
                    new Row(AAAA, "00".repeat(15)),
                    new Row(AAAA, "00".repeat(17)), new Row(CNAME, ""),
                    new Row(CNAME, "0161"), new Row(CNAME, "01610000"),
                    new Row(CNAME, "c00c00"), new Row(CNAME, "c0"),
                    new Row(MX, "000a"), new Row(MX, "00"),
                    new Row(MX, "000a0162"), new Row(TXT, "0361"),
                    new Row(6, "0000" + "00".repeat(19)),
                    new Row(6, "0000" + "00".repeat(21)))) {
                malformed(new Msg().question("www.lab.test", A).answer(
                        "www.lab.test", row.type, 9, octets(row.hex))
                        .answer("www.lab.test", A, 9, ipv4("10.0.0.1")).bytes(),
                        "type " + row.type + " with the RDATA \"" + row.hex
                                + "\", and a record behind it", likely);
            }
            var wire = new Msg().question("www.lab.test", A).answer(
                    "www.lab.test", 99, 9, new byte[4]).bytes();
            wire[wire.length - 5] = 5;
            malformed(wire, "an RDLENGTH of 5 with 4 octets left", likely);
        }

        @Test
        void a_message_that_ends_early_is_malformed_and_a_longer_one_is_not()
                throws Exception {
            // rejects: ArrayIndexOutOfBoundsException; zeros
            for (var captured : Captured.values()) {
                var whole = octets(captured.hex);
                for (int length = 0; length < whole.length; length++) {
                    malformed(Arrays.copyOf(whole, length), "the first "
                            + length + " octets of the response of " + captured,
                            "check that the octets are there before you read"
                                    + " them; Arrays.copyOfRange() fills up"
                                    + " with zeros");
                }
            }
            for (int count = 4; count <= 10; count += 2) {
                var wire = new byte[12];
                wire[count] = (byte) 0xff;
                wire[count + 1] = (byte) 0xff;
                malformed(wire, "a header with the count 65535 at octet "
                        + count + ", and nothing else", "the counts may lie");
            }
            octetsAfterTheLastRecord();
            // rejects: octets of the buffer that this datagram did not bring
            answersGood(client(Server.open(query -> List.of(
                    Arrays.copyOf(bad(query), 44), good(query)))), "the second"
                    + " datagram, after one that lacks its last two octets",
                    "decode() only the octets of this datagram: what follows"
                            + " them in the buffer is not part of it");
        }

        private static void octetsAfterTheLastRecord() throws IOException {
            var wire = new Msg().question("www.lab.test", A).answer(
                    pointer(12), A, 300, ipv4("10.0.0.10")).bytes();
            Check.equal(List.of(GOOD), records(decode(cat(wire, octets(
                    "c00cffff"))).answers()), "the answers of a message with"
                    + " four more octets at its end",
                    "stop when all counted records are read");
        }

        @Test
        void mutated_messages_throw_nothing_but_MalformedMessageException()
                throws Exception {
            long seed = 418;
            var random = new Random(seed);
            var originals = Stream.of(Captured.values()).map(captured ->
                    octets(captured.hex)).toList();
            var call = PendingCall.startOnPlatformThread(() -> {
                for (int i = 0; i < 5_000; i++) {
                    var wire = originals.get(i % originals.size()).clone();
                    for (int n = random.nextInt(1, 5); n > 0; n--) {
                        wire[random.nextInt(wire.length)] =
                                (byte) random.nextInt(256);
                    }
                    try {
                        DnsLookup.decode(wire);
                    } catch (DnsLookup.MalformedMessageException e) {
                        // This is what it is for.
                    } catch (UnsupportedOperationException todo) {
                        throw todo;
                    } catch (RuntimeException e) {
                        return "decode() of " + HexFormat.of().formatHex(wire)
                                + ": " + e;
                    }
                }
                return "";
            });
            Check.equal("", Await.value(call.outcome(), "that decode() of 5,000"
                    + " mutated messages ends", LOOP), "the first message that"
                    + " throws something else (seed " + seed + ")",
                    "all reads go through u8() and octets(), which check");
        }

        /** On a thread of its own, because it may not end. */
        private static void endless(byte[] wire, String what)
                throws Exception {
            var call = PendingCall.startOnPlatformThread(() -> {
                try {
                    return DnsLookup.decode(wire).toString();
                } catch (IOException | StackOverflowError e) {
                    return e.getClass().getSimpleName();
                }
            });
            Check.equal("MalformedMessageException", Await.value(call.outcome(),
                    "that decode() of " + what + " ends", LOOP),
                    "what decode() of " + what + " throws", LOOP);
        }

        private static void malformed(byte[] wire, String what,
                String likely) {
            Object came = "a Message";
            try {
                DnsLookup.decode(wire);
            } catch (UnsupportedOperationException todo) {
                throw todo;
            } catch (Exception | StackOverflowError e) {
                came = e;
            }
            Check.that(came instanceof DnsLookup.MalformedMessageException,
                    "a MalformedMessageException for " + what + ", got " + came
                            + "\n  octets " + HexFormat.of().formatHex(wire),
                    likely);
        }
    }

    @Step(value = 6, title = "Fall back to TCP", further = true,
            leak = "open the SocketChannel in a try with resources")
    class Fall_back_to_TCP {

        @Test
        void a_truncated_response_is_asked_for_again_over_TCP()
                throws Exception {
            // rejects: the records of the truncated response; both together
            var server = Server.open(query -> List.of(truncated(query)))
                    .tcp((query, out) -> send(out, good(query)));
            Check.equal(List.of(GOOD), records(ask(client(server)).answers()),
                    "the answers, when the UDP response is truncated and holds"
                            + " 10.6.6.6", "a truncated response is no answer:"
                            + " use the one that TCP brings, alone");
            Check.equal("1 1", server.queries() + " " + server.tcpQueries(),
                    "queries over UDP and TCP", "once each");
            var query = server.tcpQuery(0);
            Check.equal(HexFormat.of().formatHex(DnsLookup.encode(id(query),
                    WWW)), HexFormat.of().formatHex(query), "the query over"
                    + " TCP, without its length", "send the same question");
            for (int i = 1; i < 8; i++) {
                ask(client(server));
            }
            var ids = IntStream.range(0, 8).boxed().flatMap(i -> Stream.of(
                    id(server.query(i)), id(server.tcpQuery(i)))).toList();
            Check.that(new HashSet<>(ids).size() >= 14, "at least 14 different"
                    + " ids in 8 queries over UDP and 8 over TCP, got " + ids,
                    "draw a new id for the query over TCP");
            // rejects: TC only with records, or only with NOERROR
            for (int flags : new int[] {0x8380, 0x8383, 0x8382}) {
                var empty = Server.open(q -> List.of(new Msg().id(id(q))
                        .flags(flags).question("www.lab.test", A).bytes()))
                        .tcp((q, out) -> send(out, good(q)));
                answersGood(client(empty), "a server whose truncated response"
                        + " has no record and rcode " + (flags & 0xf), "use TCP"
                        + " whenever TC is set, whatever else the response"
                        + " says");
            }
            var whole = Server.open(q -> List.of(good(q)))
                    .tcp((q, out) -> send(out, good(q)));
            ask(client(whole));
            var none = Server.open(q -> List.of(new Msg().id(id(q))
                    .question("www.lab.test", A).bytes()))
                    .tcp((q, out) -> send(out, good(q)));
            ask(client(none));
            Check.equal("0 0", whole.tcpQueries() + " " + none.tcpQueries(),
                    "queries over TCP when the UDP response is complete, with a"
                            + " record and without any",
                    "use TCP only if TC is set");
        }

        @Test
        void a_response_may_arrive_in_pieces() throws Exception {
            // rejects: one read for the length; one read for the message
            var server = Server.open(query -> List.of(truncated(query)))
                    .tcp((query, out) -> {
                        var framed = framed(good(query));
                        for (int at : new int[] {0, 1, 2, 3, 47}) {
                            out.write(framed, at, (at == 3 ? 47 : at + 1) - at);
                            Thread.sleep(10);   // so that the pieces are two
                        }
                        hold(out);
                    });
            answersGood(client(server), "a server whose TCP response comes in"
                    + " pieces", "read() returns what is there: read until all"
                    + " octets have come");
        }

        @Test
        void a_response_has_up_to_65535_octets() throws Exception {
            // rejects: a signed length; a buffer of 4096
            for (int octets : new int[] {5_000, 40_000, 65_535}) {
                var server = Server.open(query -> List.of(truncated(query)))
                        .tcp((query, out) -> {
                            var wire = new Msg().id(id(query)).question(
                                    "www.lab.test", A);
                            send(out, wire.answer(".", 99, 0, new byte[octets
                                    - wire.length() - 11]).bytes());
                        });
                Object came;
                try {
                    came = records(ask(client(server)).answers());
                } catch (DnsLookup.DnsException
                        | NegativeArraySizeException e) {
                    came = e;
                }
                Check.equal(List.of(". 99 1 0 Unknown " + (octets - 41)), came,
                        "the answers in a response of " + octets + " octets",
                        "the length has 16 bits without a sign: & 0xffff");
            }
        }

        @Test
        void a_response_to_another_query_or_a_malformed_one_is_no_answer()
                throws Exception {
            var second = Server.open(query -> List.of(good(query)));
            for (UnaryOperator<byte[]> change : List.<UnaryOperator<byte[]>>of(
                    w -> changed(w, 1, 1), w -> changed(w, 2, 0x80),
                    w -> changed(w, 14, 1), w -> changed(w, 27, 1))) {
                var server = Server.open(query -> List.of(truncated(query)))
                        .tcp((query, out) -> send(out,
                                change.apply(bad(query))));
                Check.equal(List.of(GOOD), records(ask(DnsLookup.create(
                        DnsLookup.Options.of(server.address(),
                                second.address()))).answers()),
                        "the answers of the second server, when the first one"
                                + " sends a response to another query over TCP",
                        "call matches() for TCP as well, and throw an"
                                + " IOException: ask() moves on");
            }
            var server = Server.open(query -> List.of(truncated(query)))
                    .tcp((query, out) -> send(out, Arrays.copyOf(good(query),
                            40)));
            Check.equal(List.of(GOOD), records(ask(DnsLookup.create(
                    DnsLookup.Options.of(server.address(), second.address())))
                    .answers()), "the answers of the second server, when the"
                    + " first one sends a malformed message over TCP",
                    "MalformedMessageException is an IOException: let it pass");
        }

        @Test
        void a_server_without_TCP_is_passed_over_for_the_next()
                throws Exception {
            var server = Server.open(query -> List.of(truncated(query)));
            var second = Server.open(query -> List.of(good(query)));
            Check.equal(List.of(GOOD), records(ask(DnsLookup.create(
                    DnsLookup.Options.of(server.address(), second.address())))
                    .answers()), "the answers of the second server, when the"
                    + " first one refuses TCP", "let the ConnectException"
                    + " pass: ask() moves on");
            kind(DnsLookup.Kind.SERVER_FAILURE, () -> ask(client(server)),
                    "ask() of a server that refuses TCP, alone",
                    "a truncated response is no answer, not even the last one");
        }

        @Test
        @EnabledIf("kit.DeadEnd#canBeSilent")
        void a_server_that_does_not_accept_over_TCP_ends_in_a_timeout()
                throws Exception {
            // rejects: connect() without a timeout, which takes minutes
            var server = Server.open(query -> List.of(truncated(query)))
                    .silentTcp();
            var call = PendingCall.start(() -> ask(client(server,
                    Duration.ofMillis(40))));
            try {
                var likely = "connect() the socket with the timeout"
                        + " millisLeft(deadline), and let the"
                        + " SocketTimeoutException pass";
                var failure = failure(call, "that ask() ends at its deadline,"
                        + " although the server drops the SYN", likely);
                Check.equal(DnsLookup.Kind.TIMEOUT, kindOf(failure), "the kind,"
                        + " when the server drops the SYN", likely);
            } finally {
                call.thread().interrupt();
            }
        }

        @Test
        void a_connection_that_ends_early_is_no_answer() throws Exception {
            // rejects: -1 added to the count; a partly filled array decoded
            for (int length : new int[] {0, 1, 2, 3, 40, 47}) {
                var server = Server.open(query -> List.of(truncated(query)))
                        .tcp((query, out) -> out.write(Arrays.copyOf(
                                framed(good(query)), length)));
                var call = PendingCall.start(() -> ask(client(server)));
                var failure = failure(call,
                        "that ask() ends when the server closes after " + length
                                + " octets", "read() returns -1 at the end of"
                                + " stream: throw an EOFException");
                Check.equal(DnsLookup.Kind.SERVER_FAILURE, kindOf(failure),
                        "the kind, when the server closes after " + length
                                + " of 48 octets", "an EOFException ends the"
                                + " try");
            }
        }

        @Test
        void the_deadline_holds_for_UDP_and_TCP_together() throws Exception {
            // rejects: SO_TIMEOUT set once, which each octet prolongs
            var over = new AtomicBoolean();
            var server = Server.open(query -> List.of(truncated(query)))
                    .tcp((_, out) -> {
                        out.write(new byte[] {(byte) 0xff, (byte) 0xff});
                        while (!over.get()) {
                            out.write(0);
                            Thread.sleep(2);   // slow, but never silent
                        }
                    });
            var call = PendingCall.start(() -> ask(client(server,
                    Duration.ofMillis(60))));
            tcpGetsWhatUdpHasLeft();
            try {
                var failure = failure(call,
                        "that ask() ends at its deadline, although an octet"
                                + " arrives now and then", "set the timeout"
                                + " anew before each read, to"
                                + " millisLeft(deadline)");
                Check.equal(DnsLookup.Kind.TIMEOUT, kindOf(failure),
                        "the kind, when the server is too slow",
                        "let the SocketTimeoutException pass");
            } finally {
                over.set(true);
                call.thread().interrupt();
            }
        }

        /** TC comes after half of the time, and the answer when it is over. */
        private static void tcpGetsWhatUdpHasLeft() throws Exception {
            // rejects: a deadline of its own for TCP
            var asked = new AtomicLong();
            var server = Server.open(query -> {
                asked.set(System.nanoTime());
                Thread.sleep(75);   // half of the time
                return List.of(truncated(query));
            }).tcp((query, out) -> {
                while (System.nanoTime() - asked.get() < 160_000_000) {
                    Thread.sleep(1);   // until the deadline is over
                }
                send(out, good(query));
            });
            kind(DnsLookup.Kind.TIMEOUT, () -> ask(client(server,
                    Duration.ofMillis(150))), "ask() with a timeout of 150 ms,"
                    + " when the truncated response comes after 75 ms, and the"
                    + " one over TCP after 160 ms", "askTcp() has the deadline"
                    + " of askUdp(), and not a new one");
        }

        @Test
        void an_interrupt_ends_a_wait_for_TCP() throws Exception {
            for (boolean virtual : List.of(false, true)) {
                var server = Server.open(query -> List.of(truncated(query)))
                        .tcp((_, out) -> hold(out));
                interrupted(virtual, server, server::tcpQueries,
                        "a query over TCP", "send the length and the query",
                        "the socket() of a SocketChannel is interruptible; new"
                                + " Socket() is not");
            }
        }

        private static byte[] changed(byte[] wire, int at, int bits) {
            wire[at] ^= (byte) bits;
            return wire;
        }
    }

    @Step(value = 7, title = "Cache by TTL", further = true)
    class Cache_by_TTL {

        private final FakeClock clock = new FakeClock();

        @Test
        void an_answer_is_kept_until_its_ttl_is_over() throws Exception {
            // rejects: the original TTL from the cache; ages in ms; <= for <
            var dns = new Script().on("www.lab.test A", answer(
                    a("www.lab.test", 300, "10.0.0.1")));
            var client = dns.client(clock);
            Check.equal("[www.lab.test 1 1 300 Address 10.0.0.1] [] 300 false",
                    shown(found(client, "www.lab.test")), "the first answer",
                    "the first one is not from the cache");
            long[][] rows = {{0, 300}, {999, 300}, {1, 299}, {1000, 298},
                {297_000, 1}, {999, 1}};
            long millis = 0;
            for (var row : rows) {
                clock.advance(Duration.ofMillis(row[0]));
                millis += row[0];
                Check.equal("[www.lab.test 1 1 " + row[1] + " Address 10.0.0.1]"
                        + " [] " + row[1] + " true", shown(found(client,
                        "www.lab.test")), "the answer " + millis + " ms later",
                        "the ttl is what is left of it, in whole seconds that"
                                + " have not passed");
            }
            Check.equal(1, dns.asked.size(), "questions in 299.999 s",
                    "recall() the answer as long as it is valid");
            clock.advance(Duration.ofMillis(1));
            Check.equal(false, found(client, "www.lab.test").fromCache(),
                    "fromCache after exactly 300 s", "then the ttl is over");
            Check.equal(2, dns.asked.size(), "questions after 300 s",
                    "ask again");
            clock.advance(Duration.ofSeconds(299));
            Check.equal(true, found(client, "www.lab.test").fromCache(),
                    "fromCache 299 s after the second question",
                    "the new answer replaces the old one, with its own time");
        }

        @Test
        void an_answer_lives_as_long_as_its_shortest_record() throws Exception {
            var dns = new Script().on("a.test A", answer(
                    cname("a.test", 30, "b.test"), a("b.test", 90, "10.0.0.1"),
                    a("b.test", 20, "10.0.0.2")));
            var client = dns.client(clock);
            found(client, "a.test");
            clock.advance(Duration.ofSeconds(19));
            Check.equal("[b.test 1 1 1 Address 10.0.0.1, b.test 1 1 1 Address"
                    + " 10.0.0.2] [b.test] 1 true", shown(found(client,
                    "a.test")), "the answer after 19 of 20 s", "all records"
                    + " have the time that is left of the whole answer");
            clock.advance(Duration.ofSeconds(1));
            Check.equal(false, found(client, "a.test").fromCache(),
                    "fromCache after 20 s", "use ttl() of the answer");
            // rejects: the answer for an alias kept for its target as well
            dns.on("b.test A", answer(a("b.test", 90, "10.0.0.1")));
            Check.equal(List.of(), found(client, "b.test").aliases(), "the"
                    + " aliases on the way from b.test, after an answer for its"
                    + " alias a.test", "keep an answer for the name that was"
                    + " asked for");
        }

        @Test
        void names_are_kept_without_case_and_each_type_apart()
                throws Exception {
            var dns = new Script().on("www.lab.test A", answer(
                    a("www.lab.test", 300, "10.0.0.1")))
                    .on("www.lab.test AAAA", answer(rr("www.lab.test", AAAA, 1,
                            300, addr("::1"))))
                    .on("ww.lab.test A", answer(a("ww.lab.test", 300, "::1")));
            var client = dns.client(clock);
            for (var name : List.of("WWW.lab.TEST", "www.lab.test",
                    "wWw.lab.test.")) {
                found(client, name);
            }
            Check.equal(1, dns.asked.size(), "questions for WWW.lab.TEST,"
                    + " www.lab.test and wWw.lab.test.",
                    "the key is what fold() makes of the name");
            Check.equal(false, ((DnsLookup.Answer.Found) client.query(
                    "www.lab.test", DnsLookup.Type.AAAA)).fromCache(),
                    "fromCache of another type", "the type is part of the key");
            Check.equal(false, found(client, "ww.lab.test").fromCache(),
                    "fromCache of another name", "");
            // the sign for kelvin, whose lower case in Unicode is k
            dns.on("k.test A", answer(a("k.test", 300, "::1")))
                    .on("\u212a.test A", answer());
            found(client, "k.test");
            Check.equal("NoData[name=\u212a.test, ttl=0]", client.query(
                    "\u212a.test", DnsLookup.Type.A).toString(), "the answer for"
                    + " \u212a.test (U+212A), when k.test is cached", "only"
                    + " ASCII letters have two cases: use fold()");
        }

        @Test
        void NODATA_holds_for_its_type_and_NXDOMAIN_for_all()
                throws Exception {
            // rejects: NXDOMAIN for one type; NODATA for all
            var dns = new Script()
                    .on("www.lab.test MX", message(0, List.of(), List.of(
                            soa("lab.test", 300, 60)), List.of()))
                    .on("www.lab.test A", answer(a("www.lab.test", 300, "::1")))
                    .on("nope.lab.test MX", message(3, List.of(), List.of(
                            soa("lab.test", 300, 60)), List.of()));
            var client = dns.client(clock);
            client.query("www.lab.test", DnsLookup.Type.MX);
            clock.advance(Duration.ofSeconds(10));
            Check.equal("NoData[name=www.lab.test, ttl=50]", client.query(
                    "www.lab.test", DnsLookup.Type.MX).toString(),
                    "NODATA after 10 s", "negative answers are kept, too");
            found(client, "www.lab.test");
            Check.equal(2, dns.asked.size(), "questions for MX, MX and A",
                    "NODATA says nothing about other types");
            client.query("nope.lab.test", DnsLookup.Type.MX);
            clock.advance(Duration.ofSeconds(59));
            dns.likely = "a name that does not exist has no record of any"
                    + " type: put and look for ALL_TYPES as well";
            for (var type : DnsLookup.Type.values()) {
                Check.equal("NoSuchName[name=nope.lab.test, ttl=1]", client
                        .query("Nope.lab.test", type).toString(), "the answer"
                        + " for type " + type + ", 59 s after NXDOMAIN",
                        dns.likely);
            }
            Check.equal(3, dns.asked.size(), "questions", "");
            clock.advance(Duration.ofSeconds(1));
            client.query("nope.lab.test", DnsLookup.Type.MX);
            Check.equal(4, dns.asked.size(), "questions after 60 s", "");
            dns.on("gone.lab.test A", answer(a("gone.lab.test", 5, "::1")))
                    .on("gone.lab.test MX", message(3, List.of(), List.of(
                            soa("lab.test", 300, 60)), List.of()));
            found(client, "gone.lab.test");
            clock.advance(Duration.ofSeconds(5));
            client.query("gone.lab.test", DnsLookup.Type.MX);
            Check.equal("NoSuchName[name=gone.lab.test, ttl=60]", client.query(
                    "gone.lab.test", DnsLookup.Type.A).toString(), "the answer"
                    + " for type A, after NXDOMAIN for MX, when an A record was"
                    + " cached and has expired", "look for ALL_TYPES also when"
                    + " the entry for the type has expired");
            Check.equal(6, dns.asked.size(), "questions", "look for ALL_TYPES"
                    + " also when the entry for the type has expired");
        }

        @Test
        void NXDOMAIN_behind_an_alias_is_kept_for_the_target()
                throws Exception {
            // rejects: NXDOMAIN for all types of the alias
            var dns = new Script()
                    .on("a.test A", message(3, List.of(cname("a.test", 300,
                            "b.test")), List.of(soa("test", 300, 60)),
                            List.of()))
                    .on("a.test CNAME", answer(cname("a.test", 300, "b.test")));
            var client = dns.client(clock);
            client.query("a.test", DnsLookup.Type.A);
            client.query("a.test", DnsLookup.Type.A);
            dns.likely = "the name that does not exist is the target of the"
                    + " alias: keep it for all types of the target";
            Check.equal("NoSuchName[name=b.test, ttl=60]", client.query(
                    "b.test", DnsLookup.Type.MX).toString(), "the answer for"
                    + " the target of the alias, type MX", "the name that does"
                    + " not exist is the target: keep it for all its types");
            Check.equal(1, dns.asked.size(), "questions so far", "the answer"
                    + " for a.test, type A, is kept as well");
            var alias = client.query("a.test", DnsLookup.Type.CNAME);
            Check.equal("[a.test 5 1 300 Name b.test] [] 300 false",
                    alias instanceof DnsLookup.Answer.Found found
                            ? shown(found) : alias.toString(),
                    "the answer for a.test, type CNAME", "the alias itself"
                            + " exists: its other types are asked for");
        }

        @Test
        void a_long_ttl_is_kept_for_a_day() throws Exception {
            // rejects: the top bit as 0 or negative (RFC 8767 section 4)
            for (long ttl : new long[] {86_401, 0x7fff_ffffL, 0x8000_0001L,
                0xffff_ffffL}) {
                var dns = new Script().on("www.lab.test A", answer(
                        a("www.lab.test", ttl, "10.0.0.1")));
                var client = dns.client(clock);
                Check.equal(ttl, found(client, "www.lab.test").ttl(),
                        "ttl() of the first answer", "as received");
                clock.advance(Duration.ofSeconds(86_399));
                Check.equal(1L, found(client, "www.lab.test").ttl(), "ttl() a"
                        + " second before a day is over, when it was " + ttl,
                        "keep it for at most MAX_TTL");
                clock.advance(Duration.ofSeconds(1));
                Check.equal(false, found(client, "www.lab.test").fromCache(),
                        "fromCache after a day", "");
            }
            for (int rcode : new int[] {0, 3}) {
                var dns = new Script().on("nope.test A", message(rcode,
                        List.of(), List.of(soa("test", 200_000, 200_000)),
                        List.of()));
                var client = dns.client(clock);
                client.query("nope.test", DnsLookup.Type.A);
                clock.advance(Duration.ofDays(1));
                client.query("nope.test", DnsLookup.Type.A);
                Check.equal(2, dns.asked.size(), "questions, a day apart, for a"
                        + " name without records, with rcode " + rcode
                        + " and a ttl of 200,000 s", "keep a negative answer"
                        + " for at most MAX_TTL as well");
            }
        }

        @Test
        void failures_stray_records_and_answers_without_ttl_are_not_kept()
                throws Exception {
            // rejects: every record of a message goes into the cache
            var dns = new Script().on("www.lab.test A", message(0,
                    List.of(a("bank.test", 300, "10.6.6.6"),
                            a("www.lab.test", 300, "10.0.0.1")),
                    List.of(a("bank.test", 300, "10.6.6.6")),
                    List.of(a("bank.test", 300, "10.6.6.6"))))
                    .on("bank.test A", answer(a("bank.test", 300, "10.0.0.2")));
            var client = dns.client(clock);
            dns.on("lost.test A", null);
            kind(DnsLookup.Kind.TIMEOUT, () -> client.query("lost.test",
                    DnsLookup.Type.A), "query() without an answer",
                    "let the exception pass");
            dns.on("lost.test A", answer(a("lost.test", 300, "10.0.0.3")));
            Check.equal(false, found(client, "lost.test").fromCache(),
                    "fromCache after a failure", "a failure is not kept");
            found(client, "www.lab.test");
            Check.equal("[bank.test 1 1 300 Address 10.0.0.2] [] 300 false",
                    shown(found(client, "bank.test")), "the answer for a name"
                    + " that another response mentioned", "keep the answer to"
                    + " the question, and nothing else of the message");
            var brief = new Script()
                    .on("zero.test A", answer(a("zero.test", 0, "::1")))
                    .on("none.test A", answer())
                    .on("nope.test A", message(3, List.of(), List.of(),
                            List.of()));
            var forgetful = brief.client(clock);
            for (var name : List.of("zero.test", "none.test", "nope.test")) {
                for (int i = 0; i < 2; i++) {
                    forgetful.query(name, DnsLookup.Type.A);
                }
            }
            Check.equal(6, brief.asked.size(), "questions, two for each of a"
                    + " TTL of 0, NODATA and NXDOMAIN without SOA",
                    "an answer whose ttl() is 0 is not kept");
        }

        @Test
        void the_cache_holds_10_000_answers_and_drops_the_least_recent()
                throws Exception {
            // rejects: a map of its own without a bound; the oldest goes
            var client = new DnsLookup(DnsLookup.Options.of(
                    new InetSocketAddress(HERE, 53)).withNanoClock(clock),
                    asked -> answer(a(asked.name(), 300, "10.0.0.1")));
            for (int i = 0; i < 10_000; i++) {
                found(client, "n" + i + ".test");
            }
            var likely = "keep answers in the map that is given, one entry for"
                    + " each answer that is Found: it drops the entry that was"
                    + " not read or written for the longest time";
            Check.equal(true, found(client, "n0.test").fromCache(), "fromCache"
                    + " of the first of 10,000 names", likely);
            found(client, "n10000.test");
            Check.equal(true, found(client, "n0.test").fromCache(), "fromCache"
                    + " of the first of 10,001 names, which was just used",
                    likely);
            Check.equal(false, found(client, "n1.test").fromCache(),
                    "fromCache of the name that was not used for longest, after"
                            + " 10,001 names", likely);
        }

        @Test
        void the_age_of_an_answer_survives_the_overflow_of_nanoTime()
                throws Exception {
            // rejects: an instant of expiry that is compared with now
            var now = new AtomicLong(Long.MAX_VALUE - 5_000_000_000L);
            var dns = new Script().on("www.lab.test A", answer(
                    a("www.lab.test", 300, "10.0.0.1")));
            var client = dns.client(now::get);
            found(client, "www.lab.test");
            now.addAndGet(10_000_000_000L);   // negative now
            Check.equal(290L, found(client, "www.lab.test").ttl(), "ttl() 10 s"
                    + " later, when nanoTime() has overflowed meanwhile",
                    "an age is the difference of two instants (javadoc of"
                            + " System.nanoTime)");
        }
    }

    private static final String GOOD =
            "www.lab.test 1 1 300 Address 10.0.0.10";

    static boolean refusalsAreReported() throws Exception {
        return UdpSink.reportsRefusals();
    }

    // ---- octets, written without any code of the lab

    private static byte[] octets(String hex) {
        return HexFormat.of().parseHex(hex.replace(" ", ""));
    }

    private static byte[] cat(byte[]... parts) {
        var all = new ByteArrayOutputStream();
        for (var part : parts) {
            all.writeBytes(part);
        }
        return all.toByteArray();
    }

    private static byte[] label(String text) {
        return cat(new byte[] {(byte) text.length()}, text.getBytes());
    }

    private static byte[] pointer(int target) {
        return new byte[] {(byte) (0xc0 | target >> 8), (byte) target};
    }

    private static byte[] name(String name) {
        return name.equals(".") ? new byte[1] : cat(Stream.concat(
                Stream.of(name.split("\\.")).map(DnsLookupTest::label),
                Stream.of(new byte[1])).toArray(byte[][]::new));
    }

    private static byte[] ipv4(String address) {
        return InetAddress.ofLiteral(address).getAddress();
    }

    private static byte[] mx(int preference, String exchange) {
        return cat(new byte[] {(byte) (preference >> 8), (byte) preference},
                name(exchange));
    }

    private static int id(byte[] query) {
        return (query[0] & 0xff) << 8 | query[1] & 0xff;
    }

    /** A response, record by record. */
    private static final class Msg {

        private final ByteArrayOutputStream body = new ByteArrayOutputStream();
        private final int[] counts = new int[4];
        private int id = 0x1234;
        private int flags = 0x8180;

        Msg id(int id) {
            this.id = id;
            return this;
        }

        Msg flags(int flags) {
            this.flags = flags;
            return this;
        }

        Msg question(String name, int type) {
            return question(name(name), type);
        }

        Msg question(byte[] name, int type) {
            counts[0]++;
            body.writeBytes(name);
            numbers(type, 1);
            return this;
        }

        Msg answer(String name, int type, long ttl, byte[] data) {
            return answer(name(name), type, ttl, data);
        }

        Msg answer(byte[] name, int type, long ttl, byte[] data) {
            return record(1, name, type, 1, ttl, data);
        }

        Msg record(int section, byte[] name, int type, int recordClass,
                long ttl, byte[] data) {
            counts[section]++;
            body.writeBytes(name);
            numbers(type, recordClass, (int) (ttl >> 16), (int) ttl,
                    data.length);
            body.writeBytes(data);
            return this;
        }

        private void numbers(int... numbers) {
            for (int number : numbers) {
                body.write(number >> 8);
                body.write(number);
            }
        }

        int length() {
            return 12 + body.size();
        }

        byte[] bytes() {
            var header = ByteBuffer.allocate(12).putShort((short) id)
                    .putShort((short) flags);
            for (int count : counts) {
                header.putShort((short) count);
            }
            return cat(header.array(), body.toByteArray());
        }
    }

    private static byte[] good(byte[] query) {
        return new Msg().id(id(query)).question("www.lab.test", A)
                .answer(pointer(12), A, 300, ipv4("10.0.0.10")).bytes();
    }

    private static byte[] bad(byte[] query) {
        return new Msg().id(id(query)).question("www.lab.test", A)
                .answer(pointer(12), A, 300, ipv4("10.6.6.6")).bytes();
    }

    private static byte[] forged(byte[] query, Consumer<byte[]> change) {
        var wire = bad(query);
        change.accept(wire);
        return wire;
    }

    private static byte[] truncated(byte[] query) {
        return forged(query, wire -> wire[2] |= 2);
    }

    private static byte[] framed(byte[] wire) {
        return cat(new byte[] {(byte) (wire.length >> 8), (byte) wire.length},
                wire);
    }

    private static void send(OutputStream out, byte[] wire)
            throws IOException {
        out.write(framed(wire));
    }

    /** Until the server closes. */
    private static void hold(OutputStream out) throws InterruptedException {
        new CountDownLatch(1).await();
    }

    // ---- what came, as text

    private static DnsLookup.Message decode(byte[] wire) throws IOException {
        return DnsLookup.decode(wire);
    }

    private static List<String> records(List<DnsLookup.ResourceRecord> all) {
        return all.stream().map(each -> each.name() + " " + each.type() + " "
                + each.recordClass() + " " + each.ttl() + " "
                + each.data().getClass().getSimpleName() + " "
                + switch (each.data()) {
                    case DnsLookup.Data.Address(var address) ->
                        address.getHostAddress();
                    case DnsLookup.Data.Name(var target) -> target;
                    case DnsLookup.Data.Mx(int preference, var exchange) ->
                        preference + " " + exchange;
                    case DnsLookup.Data.Txt(var strings) -> strings.toString();
                    case DnsLookup.Data.Soa soa -> soa.toString();
                    case DnsLookup.Data.Unknown(int count) -> "" + count;
                }).toList();
    }

    private static List<String> questions(DnsLookup.Message message) {
        return message.questions().stream().map(each -> each.name() + " "
                + each.type() + " " + each.recordClass()).toList();
    }

    private static String shown(DnsLookup.Answer.Found found) {
        return records(found.records()) + " " + found.aliases() + " "
                + found.ttl() + " " + found.fromCache();
    }

    private static DnsLookup.DnsException kind(DnsLookup.Kind expected,
            Check.Code code, String what, String likely) {
        var failure = Check.fails(DnsLookup.DnsException.class, code,
                what + " (" + expected + ")", likely);
        Check.equal(expected, failure.kind(), "the kind() of the exception"
                + " from " + what, likely);
        return failure;
    }

    private static Object kindOf(Throwable failure) {
        return failure instanceof DnsLookup.DnsException e ? e.kind() : failure;
    }

    /** What the call throws; a TODO is thrown again. */
    /** Interrupts ask() when the server has seen its query. */
    private static void interrupted(boolean virtual, Server server,
            IntSupplier queries, String query, String sends, String likely)
            throws InterruptedException {
        Callable<Object> code = () -> ask(client(server, Duration.ofHours(1)));
        var call = virtual ? PendingCall.start(code)
                : PendingCall.startOnPlatformThread(code);
        Await.until(() -> queries.getAsInt() == 1 || call.outcome().isDone(),
                query, sends);
        call.thread().interrupt();
        var failure = failure(call, "that an interrupt ends ask()", likely);
        Check.that(failure instanceof InterruptedException,
                "an InterruptedException on a " + (virtual ? "virtual"
                        : "platform") + " thread, got " + failure,
                "use the channel's socket(), and catch no Exception");
    }

    private static Throwable failure(PendingCall<?> call, String what,
            String likely) throws InterruptedException {
        var failure = Await.value(call.outcome().handle((_, e) -> e), what,
                likely);
        if (failure instanceof UnsupportedOperationException todo) {
            throw todo;
        }
        return failure;
    }

    // ---- records and messages for the Exchange

    private static DnsLookup.ResourceRecord rr(String name, int type,
            int recordClass, long ttl, DnsLookup.Data data) {
        return new DnsLookup.ResourceRecord(name, type, recordClass, ttl, data);
    }

    private static DnsLookup.Data addr(String address) {
        return new DnsLookup.Data.Address(InetAddress.ofLiteral(address));
    }

    private static DnsLookup.ResourceRecord a(String name, long ttl,
            String address) {
        return rr(name, A, 1, ttl, addr(address));
    }

    private static DnsLookup.ResourceRecord cname(String name, long ttl,
            String target) {
        return rr(name, CNAME, 1, ttl, new DnsLookup.Data.Name(target));
    }

    private static DnsLookup.ResourceRecord mail(String name, int preference,
            String exchange) {
        return rr(name, MX, 1, 300, new DnsLookup.Data.Mx(preference,
                exchange));
    }

    private static DnsLookup.ResourceRecord soa(String zone, long ttl,
            long minimum) {
        return rr(zone, 6, 1, ttl, new DnsLookup.Data.Soa("ns", "me", 1, 2, 3,
                4, minimum));
    }

    private static DnsLookup.Message answer(
            DnsLookup.ResourceRecord... answers) {
        return message(0, List.of(answers), List.of(), List.of());
    }

    private static DnsLookup.Message message(int rcode,
            List<DnsLookup.ResourceRecord> answers,
            List<DnsLookup.ResourceRecord> authority,
            List<DnsLookup.ResourceRecord> additional) {
        return new DnsLookup.Message(0, true, 0, false, rcode, List.of(),
                answers, authority, additional);
    }

    /** n0.test is an alias of n1.test and so on; "step" links a response. */
    private static Script chain(int length, int step) {
        var dns = new Script();
        for (int at = 0; at < length + 1; at += step) {
            var links = new ArrayList<DnsLookup.ResourceRecord>();
            for (int i = at; i < Math.min(at + step, length); i++) {
                links.add(cname("n" + i + ".test", 9, "n" + (i + 1) + ".test"));
            }
            if (at + step > length) {
                links.add(a("n" + length + ".test", 9, "10.0.0.1"));
            }
            dns.on("n" + at + ".test A", message(0, links, List.of(),
                    List.of()));
        }
        return dns;
    }

    private static DnsLookup.Answer.Found found(Script dns, String name,
            DnsLookup.Type type) throws Exception {
        return found(dns.client(), name, type);
    }

    private static DnsLookup.Answer.Found found(DnsLookup client, String name)
            throws Exception {
        return found(client, name, DnsLookup.Type.A);
    }

    private static DnsLookup.Answer.Found found(DnsLookup client, String name,
            DnsLookup.Type type) throws Exception {
        Object answer;
        try {
            answer = client.query(name, type);
        } catch (DnsLookup.DnsException e) {
            answer = e.getMessage();
        }
        if (answer instanceof DnsLookup.Answer.Found found) {
            return found;
        }
        throw History.fail("expected query(" + name + ", " + type
                + ") to be Found, got " + answer, "look for records at the"
                + " current name, and follow a CNAME there, in whatever order"
                + " the records come. Or the response ends with an alias: a"
                + " response with nothing but a CNAME says nothing about the"
                + " target, which has to be asked for");
    }

    /** Answers questions from a table, without any socket. */
    private static final class Script implements DnsLookup.Exchange {

        private final Map<String, DnsLookup.Message> messages = new HashMap<>();
        private final List<String> asked = Collections.synchronizedList(
                new ArrayList<>());
        private DnsLookup.Message fixed;
        private String likely = "look for records at the current name, and"
                + " follow a CNAME there, in whatever order the records come";

        Script on(String question, DnsLookup.Message message) {
            messages.put(question, message);
            return this;
        }

        DnsLookup client() {
            return client(System::nanoTime);
        }

        DnsLookup client(LongSupplier clock) {
            return new DnsLookup(DnsLookup.Options.of(new InetSocketAddress(
                    HERE, 53)).withNanoClock(clock), this);
        }

        @Override
        public DnsLookup.Message ask(DnsLookup.Question question)
                throws DnsLookup.DnsException {
            var type = DnsLookup.Type.of(question.type()).orElseThrow();
            asked.add(question.name() + " " + type);
            History.note("asked for " + question.name() + " " + type);
            Check.that(asked.size() < 20_000, "an end of the questions",
                    "the same name is asked for again and again");
            var name = question.name();
            boolean ascii = name.chars().allMatch(c -> c < 0x80);
            var key = (ascii ? name.toLowerCase(Locale.ROOT) : name)
                    + " " + type;
            var message = messages.get(key);
            if (fixed != null) {
                return fixed;
            }
            if (!messages.containsKey(key)) {
                throw History.fail("expected no question for " + question.name()
                        + " " + type, likely);
            }
            if (message == null) {
                throw new DnsLookup.DnsException(DnsLookup.Kind.TIMEOUT,
                        "nobody knows " + question.name() + " " + type);
            }
            return message;
        }
    }

    // ---- a server that does as it is told

    private static DnsLookup client(Server server) {
        return client(server, Duration.ofSeconds(9));
    }

    private static DnsLookup client(Server server, Duration timeout) {
        return DnsLookup.create(DnsLookup.Options.of(server.address())
                .withTimeout(timeout));
    }

    private static DnsLookup.Message ask(DnsLookup client) throws Exception {
        return client.ask(WWW);
    }

    /** @param what reads on after "the answers of" */
    private static void answersGood(DnsLookup client, String what,
            String likely) throws Exception {
        try {
            Check.equal(List.of(GOOD), records(ask(client).answers()),
                    "the answers of " + what, likely);
        } catch (DnsLookup.DnsException e) {
            throw History.fail("expected the answers of " + what + ", got "
                    + e.getMessage(), likely);
        }
    }

    /** Listens on a UDP port, and on the TCP port of the same number. */
    private static final class Server implements AutoCloseable {

        interface Simple {
            List<byte[]> answer(byte[] query) throws Exception;
        }

        interface Udp {
            List<byte[]> answer(byte[] query, InetSocketAddress from)
                    throws Exception;
        }

        interface Tcp {
            void answer(byte[] query, OutputStream out) throws Exception;
        }

        private final Udp udp;
        private final Set<Thread> threads = ConcurrentHashMap.newKeySet();
        private final List<byte[]> queries = new CopyOnWriteArrayList<>();
        private final List<Integer> ports = new CopyOnWriteArrayList<>();
        private final List<byte[]> tcpQueries = new CopyOnWriteArrayList<>();
        private DatagramSocket socket;
        private ServerSocket listener;

        private Server(Udp udp) throws IOException {
            this.udp = udp;
            socket = new DatagramSocket(0, HERE);
        }

        static Server open(Simple answers) {
            return open((query, _) -> answers.answer(query));
        }

        static Server open(Udp udp) {
            try {
                return TestLifecycle.closeLater(new Server(udp));
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        Server tcp(Tcp tcp) throws IOException {
            while (listener == null) {
                try {
                    listener = new ServerSocket(socket.getLocalPort(), 50,
                            HERE);
                } catch (BindException e) {   // the number is taken for TCP
                    socket.close();
                    socket = new DatagramSocket(0, HERE);
                }
            }
            start(() -> {
                while (true) {
                    var client = listener.accept();
                    start(() -> serve(client, tcp));
                }
            });
            return this;
        }

        /** Over TCP, nobody is let in. */
        Server silentTcp() throws IOException {
            while (true) {
                var silent = DeadEnd.silent();
                try {
                    var same = new DatagramSocket(silent.address());
                    socket.close();
                    socket = same;
                    return this;
                } catch (BindException e) {   // the number is taken for UDP
                    History.note("port " + silent.address() + " is taken");
                }
            }
        }

        private void serve(Socket client, Tcp tcp) throws Exception {
            try (client) {
                client.setTcpNoDelay(true);
                var in = new DataInputStream(client.getInputStream());
                var query = in.readNBytes(in.readUnsignedShort());
                tcpQueries.add(query);
                tcp.answer(query, client.getOutputStream());
            }
        }

        /** Starts the server as well. */
        InetSocketAddress address() {
            if (threads.stream().noneMatch(t -> t.getName().equals("udp"))) {
                start(this::receive).setName("udp");
            }
            return (InetSocketAddress) socket.getLocalSocketAddress();
        }

        private void receive() throws Exception {
            var packet = new DatagramPacket(new byte[70_000], 70_000);
            while (true) {
                socket.receive(packet);
                var query = Arrays.copyOf(packet.getData(), packet.getLength());
                var from = (InetSocketAddress) packet.getSocketAddress();
                ports.add(from.getPort());
                queries.add(query);
                for (var wire : udp.answer(query, from)) {
                    send(wire, from);
                }
            }
        }

        private void send(byte[] wire, InetSocketAddress to)
                throws IOException {
            socket.send(new DatagramPacket(wire, wire.length, to));
        }

        void flood(byte[] wire, InetSocketAddress to, AtomicBoolean over) {
            try {
                while (!over.get()) {
                    send(wire, to);
                    Thread.sleep(2);   // many, but not without end
                }
            } catch (IOException | InterruptedException e) {
                // The server is closed.
            }
        }

        private Thread start(Check.Code code) {
            var thread = Thread.ofVirtual().unstarted(() -> {
                try {
                    code.run();
                } catch (Exception e) {
                    // Closed, or the client has gone.
                }
            });
            threads.add(thread);
            thread.start();
            return thread;
        }

        int queries() {
            return queries.size();
        }

        int tcpQueries() {
            return tcpQueries.size();
        }

        byte[] query(int number) {
            return queries.get(number);
        }

        byte[] tcpQuery(int number) {
            return tcpQueries.get(number);
        }

        List<Integer> ports() {
            return ports;
        }

        void await(int count) throws InterruptedException {
            Await.until(() -> queries() >= count, "that " + count + " queries"
                    + " arrive", "send the question once in each round");
        }

        @Override
        public void close() throws Exception {
            socket.close();
            if (listener != null) {
                listener.close();
            }
            for (var thread : threads) {
                thread.interrupt();
                thread.join();
            }
        }
    }

    /** Loads Netty's codec and the sockets before the first test. */
    public static final class WarmUp implements Runnable {
        @Override
        public void run() {
            var here = new InetSocketAddress(HERE, 5353);
            var decoder = new EmbeddedChannel(new DatagramDnsQueryDecoder());
            decoder.writeInbound(new io.netty.channel.socket.DatagramPacket(
                    Unpooled.wrappedBuffer(new Msg().flags(0)
                            .question("a.test", A).bytes()), here, here));
            ((DatagramDnsQuery) decoder.readInbound()).release();
            var encoder = new EmbeddedChannel(new DatagramDnsResponseEncoder());
            var response = new DatagramDnsResponse(here, here, 1);
            response.addRecord(DnsSection.QUESTION,
                    new DefaultDnsQuestion("a.test.", DnsRecordType.A));
            encoder.writeOutbound(response);
            ((io.netty.channel.socket.DatagramPacket) encoder.readOutbound())
                    .release();
        }
    }

    /** Responses of dnsmasq 2.90, unbound 1.17.1 and bind 9.18. */
    private enum Captured {
        DNSMASQ_ALIAS_A(
                "12348580000100020000000005616c696173036c61620474657374000001"
                + "0001c00c000500010000012c000e03777777036c6162047465737400c02c"
                + "000100010000012c00040a00000a",
                List.of("alias.lab.test 5 1 300 Name www.lab.test",
                "www.lab.test 1 1 300 Address 10.0.0.10"),
                "Found[aliases=[www.lab.test], ttl=300, fromCache=false]"),
        DNSMASQ_LAB_MX(
                "123485800001000200000000036c6162047465737400000f0001c00c000f"
                + "000100000000000e000a0161036c6162047465737400c00c000f00010000"
                + "0000000e00140162036c6162047465737400",
                List.of("lab.test 15 1 0 Mx 10 a.lab.test",
                "lab.test 15 1 0 Mx 20 b.lab.test"),
                "Found[aliases=[], ttl=0, fromCache=false]"),
        DNSMASQ_WWW_AAAA(
                "12348580000100010000000003777777036c6162047465737400001c0001"
                + "c00c001c00010000012c0010fd000000000000000000000000000010",
                List.of("www.lab.test 28 1 300 Address fd00:0:0:0:0:0:0:10"),
                "Found[aliases=[], ttl=300, fromCache=false]"),
        DNSMASQ_NOPE_A(
                "123481830001000000000000046e6f7065036c6162047465737400000100"
                + "01",
                List.of(),
                "NoSuchName[name=nope.lab.test, ttl=0]"),
        UNBOUND_ALIAS_A(
                "12348580000100010000000005616c696173036c61620474657374000001"
                + "0001c00c000500010000012c000603777777c012",
                List.of("alias.lab.test 5 1 300 Name www.lab.test"),
                ""),
        UNBOUND_LAB_MX(
                "123485800001000200000000036c6162047465737400000f0001c00c000f"
                + "00010000012c0006000a0161c00cc00c000f00010000012c000600140162"
                + "c00c",
                List.of("lab.test 15 1 300 Mx 10 a.lab.test",
                "lab.test 15 1 300 Mx 20 b.lab.test"),
                "Found[aliases=[], ttl=300, fromCache=false]"),
        UNBOUND_NOPE_A(
                "123485830001000000010000046e6f7065036c6162047465737400000100"
                + "01c011000600010000003c0021026e73c0110561646d696ec01100000001"
                + "00000e1000000258000151800000003c",
                List.of(),
                "NoSuchName[name=nope.lab.test, ttl=60]"),
        BIND_ALIAS_A(
                "12348500000100020000000005616c696173036c61620474657374000001"
                + "0001c00c000500010000012c000603777777c012c02c000100010000012c"
                + "00040a00000a",
                List.of("alias.lab.test 5 1 300 Name www.lab.test",
                "www.lab.test 1 1 300 Address 10.0.0.10"),
                "Found[aliases=[www.lab.test], ttl=300, fromCache=false]"),
        BIND_LAB_MX(
                "123485000001000200000000036c6162047465737400000f0001c00c000f"
                + "00010000012c000600140162c00cc00c000f00010000012c0006000a0161"
                + "c00c",
                List.of("lab.test 15 1 300 Mx 20 b.lab.test",
                "lab.test 15 1 300 Mx 10 a.lab.test"),
                "Found[aliases=[], ttl=300, fromCache=false]"),
        BIND_ALIAS_MX(
                "12348500000100010001000005616c696173036c6162047465737400000f"
                + "0001c00c000500010000012c000603777777c012c012000600010000003c"
                + "0021026e73c0120561646d696ec0120000000100000e1000000258000151"
                + "800000003c",
                List.of("alias.lab.test 5 1 300 Name www.lab.test"),
                "NoData[name=www.lab.test, ttl=60]"),
        BIND_WWW_MX(
                "12348500000100000001000003777777036c6162047465737400000f0001"
                + "c010000600010000003c0021026e73c0100561646d696ec0100000000100"
                + "000e1000000258000151800000003c",
                List.of(),
                "NoData[name=www.lab.test, ttl=60]");

        private final String hex;
        private final List<String> answers;
        private final String answer;

        Captured(String hex, List<String> answers, String answer) {
            this.hex = hex;
            this.answers = answers;
            this.answer = answer;
        }
    }
}
