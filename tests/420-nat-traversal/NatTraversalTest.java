///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS org.jitsi:ice4j:1.0
//SOURCES ../../labs/420-nat-traversal/NatTraversal.java
//SOURCES ../kit/*.java

import module java.base;

import kit.Bytes;
import kit.Check;
import kit.History;
import kit.Lab;
import kit.PendingCall;
import kit.Step;
import org.ice4j.attribute.XorMappedAddressAttribute;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;

/**
 * These tests write STUN's bytes themselves ({@link Stun}). Steps 2 and 6 use
 * a socket whose answers are scripted and whose time stands still; steps 3, 5
 * and 7 the lab's own VirtualNet; each has a test on real sockets as well.
 */
@Lab
class NatTraversalTest {

    private static final int REQUEST = 0x0001;
    private static final int SUCCESS = 0x0101;
    private static final int MAPPED = 0x0020;
    private static final int SOFTWARE = 0x8022;
    private static final String ID = "b7e7a701bc34d686fa87dfae";
    private static final byte[] PASSWORD = text("VOkJxbRl1RmTxUk/WvJxBt");
    private static final InetSocketAddress SERVER = at("192.0.2.1", 3478);
    private static final NatTraversal.Retransmission STANDARD =
            new NatTraversal.Retransmission(Duration.ofMillis(500), 7, 16);
    private static final List<NatTraversal.NatBehavior> NATS =
            Stream.of(NatTraversal.Behavior.values()).flatMap(mapping ->
                    Stream.of(NatTraversal.Behavior.values()).map(filtering ->
                            new NatTraversal.NatBehavior(mapping, filtering)))
                    .toList();

    // RFC 5769, sections 2.1 to 2.4
    private static final byte[] SAMPLE_REQUEST = hex("000100582112a442" + ID
            + "802200105354554e207465737420636c69656e74002400046e0001ff"
            + "80290008932ff9b151263b36000600096576746a3a68367659202020"
            + "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
            + "80280004e57a3bcf");
    private static final byte[] SAMPLE_IPV4 = hex("0101003c2112a442" + ID
            + "8022000b7465737420766563746f7220002000080001a147e112a643"
            + "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
            + "80280004c07d4c96");
    private static final byte[] SAMPLE_IPV6 = hex("010100482112a442" + ID
            + "8022000b7465737420766563746f722000200014"
            + "0002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
            + "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
            + "80280004c8fb0b4c");
    private static final byte[] SAMPLE_LONG_TERM = hex("000100602112a442"
            + "78ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382af"
            + "e382b900000015001c662f2f3439396b39353464364f4c33346f4c39465354"
            + "767936347341" + "0014000b6578616d706c652e6f726700"
            + "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666");

    @Step(value = 1, title = "Encode and decode STUN messages")
    class Encode_and_decode_STUN_messages {

        @Test
        void the_sample_request_of_RFC_5769_is_decoded() throws IOException {
            // rejects: padding that is not skipped, or is counted
            var message = decode(SAMPLE_REQUEST);
            Check.equal("REQUEST 1 " + ID, message.messageClass() + " "
                    + message.method() + " " + hex(message.transactionId()),
                    "class, method and id of the sample request",
                    "the type is 0001, and the id are the bytes 8 to 19");
            var types = message.attributes().stream()
                    .map(a -> Integer.toHexString(a.type())).toList();
            Check.equal(List.of("8022", "24", "8029", "6", "8", "8028"), types,
                    "the types of its attributes",
                    "the next attribute begins at a multiple of 4");
            Check.equal("evtj:h6vY", string(message.find(0x06)),
                    "its USERNAME of 9 bytes, which 3 bytes of padding follow",
                    "the length of an attribute does not count its padding");
        }

        @Test
        void the_sample_responses_of_RFC_5769_hold_an_address()
                throws IOException {
            // rejects: IPv4's rule for IPv6; the wrong half of the cookie
            Check.equal(Optional.of(at("192.0.2.1", 32853)),
                    decode(SAMPLE_IPV4).address(MAPPED),
                    "the address in the sample response for IPv4",
                    "XOR the port with 2112 and the address with 2112a442");
            Check.equal(Optional.of(at(
                    "2001:db8:1234:5678:11:2233:4455:6677", 32853)),
                    decode(SAMPLE_IPV6).address(MAPPED),
                    "the address in the sample response for IPv6",
                    "the key for 16 bytes is the cookie and then the id");
        }

        @Test
        void each_class_and_method_has_its_own_type() throws IOException {
            // rejects: the type as one number
            for (var messageClass : NatTraversal.MessageClass.values()) {
                for (int method = 0; method < 4096; method++) {
                    var wire = NatTraversal.Message.of(messageClass, method,
                            hex(ID)).raw();
                    int type = (wire[0] & 0xff) << 8 | wire[1] & 0xff;
                    int expected = Stun.type(messageClass.ordinal(), method);
                    if (type != expected) {
                        throw History.fail("expected type %04x for %s of method"
                                .formatted(expected, messageClass)
                                + " %03x, got %04x".formatted(method, type),
                                "bits 4 and 8 of the type belong to the class,"
                                + " and the method's bits stand around them");
                    }
                    var read = decode(Stun.message(expected, ID));
                    if (read.method() != method
                            || read.messageClass() != messageClass) {
                        throw History.fail("expected %s of method %03x for"
                                .formatted(messageClass, method)
                                + " type %04x, got %s of method %03x".formatted(
                                expected, read.messageClass(), read.method()),
                                "method() leaves out the bits 4 and 8");
                    }
                }
            }
        }

        @Test
        void a_message_is_its_header_and_its_attributes() throws IOException {
            var message = NatTraversal.Message.of(
                    NatTraversal.MessageClass.ERROR, 3, hex(ID))
                    .with(0x0009, hex("00000401")).with(0x8022, "lab");
            same(Stun.message(0x0113, ID, Stun.attribute(9, hex("00000401")),
                    Stun.attribute(0x8022, text("lab"))), message.raw(),
                    "an error with two attributes",
                    "header, then type, length, value and padding of each;"
                    + " the header's length counts all but its own 20 bytes");
            Check.equal("lab", string(message.find(0x8022)),
                    "find(8022) of the message that was built",
                    "an Attribute is where its value starts and ends in the"
                    + " message");
        }

        @Test
        void a_value_is_padded_to_a_multiple_of_four() throws IOException {
            // rejects: padding of 4 where none is needed; a signed length
            for (int size : new int[] {0, 1, 2, 3, 4, 5, 8, 763, 40_000}) {
                var value = new byte[size];
                Arrays.fill(value, (byte) 0xff);
                var likely = size + " bytes of value need "
                        + (4 - size % 4) % 4 + " bytes of padding, zeros, which"
                        + " the attribute's length does not count";
                var expected = Stun.message(REQUEST, ID, Stun.attribute(
                        0x8001, value), Stun.attribute(0x8002, text("!")));
                same(expected, NatTraversal.Message.of(
                        NatTraversal.MessageClass.REQUEST, 1, hex(ID))
                        .with(0x8001, value).with(0x8002, "!").raw(),
                        "a message with a value of " + size + " bytes", likely);
                var message = decode(expected);
                Check.equal("!", string(message.find(0x8002)),
                        "the attribute after one of " + size + " bytes",
                        likely);
                Check.that(Arrays.equals(value, message.find(0x8001).get()),
                        "the value of " + size + " bytes to be read as it is",
                        likely);
            }
        }

        @Test
        void an_address_is_hidden_with_cookie_and_id() throws IOException {
            // rejects: the port with the second half; no XOR at all
            for (var row : List.of(
                    "192.0.2.1 0001 a147e112a643",
                    "255.255.255.255 0001 a147deed5bbd",
                    "2001:db8::ff 0002 a1470113a9fa b7e7a701bc34d686fa87df51",
                    "::1 0002 a1472112a442 b7e7a701bc34d686fa87dfaf")) {
                var words = row.split(" ", 3);
                var expected = Stun.message(SUCCESS, ID, Stun.attribute(MAPPED,
                        hex((words[1] + words[2]).replace(" ", ""))));
                var address = at(words[0], 32853);
                same(expected, NatTraversal.Message.of(
                        NatTraversal.MessageClass.SUCCESS, 1, hex(ID))
                        .with(MAPPED, address).raw(),
                        "XOR-MAPPED-ADDRESS " + address, "byte by byte:"
                        + " 2112a442 and the id are the key of the address,"
                        + " 2112 that of the port");
                Check.equal(Optional.of(address),
                        decode(expected).address(MAPPED),
                        "the address that was hidden",
                        "XOR with the same key shows it again");
            }
        }

        @Test
        void a_datagram_that_ends_early_is_refused() {
            for (var sample : List.of(SAMPLE_REQUEST, SAMPLE_IPV6)) {
                for (int size = 0; size < sample.length; size++) {
                    refused(Arrays.copyOf(sample, size), "the first " + size
                            + " bytes of a message of " + sample.length,
                            "the header's length must be that of the datagram"
                            + " without its 20 bytes");
                }
            }
        }

        @Test
        void a_wrong_header_is_refused() {
            var good = Stun.message(REQUEST, ID, Stun.attribute(6, text("ab")));
            for (int first : new int[] {0x40, 0x80, 0xc0}) {
                refused(changed(good, 0, first), "a datagram whose first byte"
                        + " is %x".formatted(first),
                        "the first two bits of a STUN message are zero");
            }
            for (int at = 4; at < 8; at++) {
                refused(changed(good, at, good[at] ^ 1),
                        "a datagram with another byte " + at,
                        "the bytes 4 to 7 are the magic cookie 2112a442");
            }
            refused(cat(good, new byte[4]), "a message with 4 bytes behind it",
                    "compare the length of the datagram");
            refused(changed(good, 3, 4), "a length of 4 in a datagram with 8"
                    + " bytes of attributes", "compare the two lengths");
            refused(changed(Arrays.copyOf(good, 27), 3, 7), "a length of 7",
                    "the length is a multiple of 4");
            refused(cat(Stun.message(REQUEST, ID), new byte[65_536]),
                    "a length of 0 in a datagram with 65,536 bytes behind its"
                    + " header", "compare the whole lengths, not their last 16"
                    + " bits");
        }

        @Test
        void an_attribute_that_leads_out_of_the_message_is_refused() {
            // rejects: only the padded end is compared, or nothing
            for (int size : new int[] {5, 8, 9, 0x7fff, 0x8000, 0xffff}) {
                var wire = Stun.message(REQUEST, ID,
                        Stun.attribute(6, text("abcd")));
                refused(changed(changed(wire, 22, size >> 8), 23, size),
                        "an attribute of " + size + " bytes, of which 4 are"
                        + " there", "compare its end with the message's");
            }
        }

        @Test
        void mutated_messages_throw_nothing_but_StunException() {
            var random = new Random(420);
            var samples = List.of(SAMPLE_REQUEST, SAMPLE_IPV4, SAMPLE_IPV6,
                    SAMPLE_LONG_TERM);
            for (int i = 0; i < 20_000; i++) {
                var bytes = samples.get(i % 4).clone();
                for (int j = random.nextInt(1, 6); j > 0; j--) {
                    int at = random.nextBoolean() ? random.nextInt(
                            bytes.length) : random.nextInt(20, 60);
                    bytes[at] = (byte) random.nextInt();
                }
                try {
                    var message = NatTraversal.Message.decode(bytes);
                    message.address(MAPPED);
                    message.attributes().forEach(a -> message.find(a.type()));
                } catch (NatTraversal.StunException e) {
                    // as promised
                } catch (UnsupportedOperationException todo) {
                    throw todo;
                } catch (Exception e) {
                    throw History.fail("expected a message or a StunException"
                            + " from " + hex(bytes) + ", got " + e, "look at"
                            + " the lengths before you read");
                }
            }
        }

        @Test
        void a_message_does_not_change_with_the_bytes_it_was_made_of()
                throws IOException {
            var bytes = SAMPLE_IPV4.clone();
            var message = decode(bytes);
            Arrays.fill(bytes, (byte) 0);
            Arrays.fill(message.raw(), (byte) 0);
            same(SAMPLE_IPV4, message.raw(), "the message after the datagram"
                    + " was overwritten", "decode() keeps a copy");
            var longer = message.with(0x8001, "x");
            same(SAMPLE_IPV4, message.raw(), "the message after with()",
                    "with() returns another message");
            Check.equal(1, longer.attributes().size()
                    - message.attributes().size(), "attributes added by with()",
                    "with() makes another message");
        }

        @Test
        void ice4j_reads_what_is_encoded_and_the_other_way_round()
                throws Exception {
            var wire = NatTraversal.Message.of(
                    NatTraversal.MessageClass.SUCCESS, 1, hex(ID))
                    .with(SOFTWARE, "lab")
                    .with(MAPPED, at("203.0.113.7", 40001)).raw();
            var read = org.ice4j.message.Message.decode(wire, (char) 0,
                    (char) wire.length);
            var address = (XorMappedAddressAttribute) read.getAttribute(
                    org.ice4j.attribute.Attribute.XOR_MAPPED_ADDRESS);
            Check.equal("203.0.113.7:40001/udp", address.getAddress(
                    read.getTransactionID()).toString(),
                    "the address that ice4j reads",
                    "compare your bytes with RFC 8489 section 14.2");
            var theirs = org.ice4j.message.MessageFactory
                    .createBindingRequest();
            theirs.setTransactionID(hex(ID));
            theirs.putAttribute(org.ice4j.attribute.AttributeFactory
                    .createSoftwareAttribute(text("peer!")));
            Check.equal("peer!", string(decode(theirs.encode(null))
                    .find(SOFTWARE)), "SOFTWARE in a request of ice4j",
                    "skip the padding of an attribute");
        }
    }

    @Step(value = 2, title = "Discover your mapped address")
    class Discover_your_mapped_address {

        @Test
        void the_mapped_address_is_what_the_server_saw() throws IOException {
            var net = new NatTraversal.VirtualNet();
            var server = net.host("192.0.2.1", 3478);
            server.serve(p -> server.send(p.from(), Stun.success(
                    p.data(), p.from())));
            var inside = net.nat("203.0.113.7", NATS.getFirst(),
                    Duration.ofMinutes(2)).host("10.0.0.2", 5000);
            Check.equal(at("203.0.113.7", 40_000), client(inside)
                    .mappedAddress(SERVER), "the mapped address behind a NAT",
                    "return XOR-MAPPED-ADDRESS of the response");
        }

        @Test
        void a_Binding_request_has_a_new_random_id() throws IOException {
            // rejects: an id from a counter or the clock
            var ids = new ArrayList<String>();
            for (int i = 0; i < 20; i++) {
                var script = new Script(sent -> List.of(Stun.success(sent,
                        at("203.0.113.7", 40_000))));
                client(script).mappedAddress(SERVER);
                var request = script.sent.getFirst();
                Check.equal("000100002112a442", hex(request.data)
                        .substring(0, 16), "the header of the request",
                        "a Binding request without attributes");
                ids.add(hex(request.data).substring(16));
            }
            for (int at = 0; at < 24; at += 2) {
                int from = at;
                Check.that(ids.stream().map(id -> id.substring(from, from + 2))
                        .distinct().count() > 3, "every byte of the id to be"
                        + " random, got " + ids, "use Message.request()");
            }
        }

        @Test
        void the_request_is_sent_again_until_39500_ms() {
            // rejects: a new id each time; a sum that drifts; no last wait
            retransmits(STANDARD, "0 500 1500 3500 7500 15500 31500", 39_500);
            retransmits(new NatTraversal.Retransmission(Duration.ofMillis(100),
                    3, 4), "0 100 300", 700);
            retransmits(new NatTraversal.Retransmission(Duration.ofMillis(20),
                    1, 1), "0", 20);
        }

        @Test
        void a_late_response_still_counts() throws IOException {
            // rejects: waiting only for the response to the last request
            for (int delay : new int[] {1, 499, 501, 7_499, 39_499}) {
                var script = new Script(sent -> List.of());
                script.answers = sent -> sent.number > 0 ? List.of()
                        : List.of(script.arrival(delay, SERVER, Stun.success(
                                sent.data, at("203.0.113.7", 40_000))));
                Check.equal(at("203.0.113.7", 40_000), client(script)
                        .mappedAddress(SERVER), "the mapped address from a"
                        + " response that comes after " + delay + " ms",
                        "every response with the id counts until the end");
                Check.equal((long) delay, script.millis(),
                        "the time at which transact() returns",
                        "return as soon as the response is there");
            }
        }

        @Test
        void responses_with_another_id_or_source_are_ignored()
                throws IOException {
            // rejects: id only; source only; a stranger that restarts a wait
            var other = at("203.0.113.66", 40_666);
            for (var from : List.of(at("192.0.2.1", 3479),
                    at("192.0.2.2", 3478), SERVER)) {
                var script = new Script(sent -> List.of());
                script.answers = sent -> {
                    var forged = Stun.success(sent.data, other);
                    if (from.equals(SERVER)) {
                        forged[19] ^= 1;
                    }
                    return sent.number == 2 ? List.of(script.arrival(10, from,
                            forged), script.arrival(20, SERVER, Stun.success(
                            sent.data, at("203.0.113.7", 40_000))))
                            : List.of(script.arrival(10, from, forged),
                            script.arrival(400, from, forged));
                };
                var client = client(script);
                Check.equal(at("203.0.113.7", 40_000), client
                        .mappedAddress(SERVER), "the mapped address when "
                        + (from.equals(SERVER) ? "responses with another id"
                        : "responses from " + from) + " come first",
                        "a response counts if it has the id of the request and"
                        + " comes from where the request went");
                Check.equal("0 500 1500", script.times(), "when the request was"
                        + " sent", "another packet changes nothing: wait for"
                        + " what is left of the same interval");
                for (int i = 1; i <= 5; i++) {
                    Check.equal(Optional.of(from), client.receive(Duration.ZERO)
                            .map(NatTraversal.Packet::from), "the source of"
                            + " kept packet " + i + ", when 5 responses that do"
                            + " not count have come from " + from, "keep()"
                            + " whatever is not the response, though it has the"
                            + " id");
                }
            }
        }

        @Test
        void only_a_success_or_an_error_that_counts_is_a_response()
                throws IOException {
            var elsewhere = at("192.0.2.2", 3479);
            var moved = new Script(sent -> List.of());
            moved.answers = sent -> List.of(moved.arrival(10, elsewhere,
                    Stun.success(sent.data, SERVER)));
            Check.equal(NatTraversal.MessageClass.SUCCESS, succeeds(() ->
                    client(moved).transact(SERVER, NatTraversal.Message
                    .request(1), (from, _) -> from.equals(elsewhere)),
                    "transact() that counts responses from another address",
                    "counts alone says which source is right")
                    .messageClass(), "the response's class", "");
            for (int type : new int[] {0x0001, 0x0011}) {
                var script = new Script(sent -> List.of(Stun.message(type,
                        hex(Arrays.copyOfRange(sent, 8, 20))),
                        Stun.success(sent, at("203.0.113.7", 40_000))));
                var client = client(script);
                var what = " a packet of type %04x, with the id of the request"
                        .formatted(type);
                var likely = "only a success or an error ends a transaction";
                Check.equal(at("203.0.113.7", 40_000), succeeds(() -> client
                        .mappedAddress(SERVER), "mappedAddress() after" + what,
                        likely), "the mapped address after" + what, likely);
                Check.equal(Optional.of(type), client.receive(Duration.ZERO)
                        .map(p -> Stun.u16(p.data(), 0)), "the type of what is"
                        + " kept, after" + what, "keep() whatever is not the"
                        + " response");
            }
        }

        @Test
        void other_packets_wait_in_their_order_for_receive()
                throws IOException {
            // rejects: strangers dropped; no bound
            var script = new Script(sent -> List.of());
            var packets = IntStream.range(0, 300).mapToObj(i -> i % 2 == 0
                    ? text("packet " + i) : Stun.message(SUCCESS, ID,
                    Stun.attribute(SOFTWARE, text("packet " + i)))).toList();
            script.answers = sent -> IntStream.rangeClosed(0, 300)
                    .mapToObj(i -> i < 300 ? script.arrival(i / 10,
                            i % 3 == 0 ? SERVER : at("203.0.113.9", 9),
                            packets.get(i)) : script.arrival(100, SERVER,
                            Stun.success(sent.data, at("203.0.113.7", 40_000))))
                    .toList();
            var client = client(script);
            client.mappedAddress(SERVER);
            for (int i = 0; i < 256; i++) {
                Check.equal(hex(packets.get(i)), client.receive(Duration.ZERO)
                        .map(p -> hex(p.data())).orElse("nothing"), "packet "
                        + i + " of those that arrived during the transaction,"
                        + " half of them STUN messages with another id",
                        "keep() whatever is not the response");
            }
            Check.equal(Optional.empty(), client.receive(Duration.ZERO)
                    .map(p -> new String(p.data())), "what is kept beyond 256"
                    + " packets", "use keep(), which has a bound");
        }

        @Test
        void a_response_that_does_not_help_is_a_StunException()
                throws IOException {
            // rejects: an error with an address; unknown attributes accepted
            var address = at("203.0.113.7", 40_000);
            refuses(400, sent -> Stun.answer(0x0111, sent, Stun.attribute(9,
                    hex("00000400"))), "an error response 400");
            refuses(699, sent -> Stun.answer(0x0111, sent, Stun.attribute(9,
                    hex("00000663")), Stun.attribute(MAPPED, Stun.xored(address,
                    sent))), "an error response 699 with an address");
            refuses(0, sent -> Stun.answer(0x0111, sent, Stun.attribute(MAPPED,
                    Stun.xored(address, sent))), "an error response with an"
                    + " address and no code");
            refuses(0, sent -> Stun.answer(SUCCESS, sent),
                    "a success without an address");
            refuses(0, sent -> Stun.answer(SUCCESS, sent, Stun.attribute(1,
                    hex("00019c40cb007107"))), "a success with MAPPED-ADDRESS"
                    + " instead of XOR-MAPPED-ADDRESS");
            refuses(0, sent -> Stun.answer(SUCCESS, sent, Stun.attribute(MAPPED,
                    Stun.xored(address, sent)), Stun.attribute(0x7777,
                    new byte[4])), "a success with the unknown attribute 7777,"
                    + " which must be understood");
            var script = new Script(sent -> List.of(Stun.answer(SUCCESS, sent,
                    Stun.attribute(0x8000, new byte[4]), Stun.attribute(1,
                    hex("00019c40cb007109")), Stun.attribute(MAPPED,
                    Stun.xored(address, sent)))));
            Check.equal(address, succeeds(() -> client(script)
                    .mappedAddress(SERVER), "mappedAddress() after a success"
                    + " with the unknown attribute 8000 and MAPPED-ADDRESS",
                    "only types below 8000 must be understood, and KNOWN names"
                    + " those that are"), "the mapped address beside the"
                    + " unknown attribute 8000 and another MAPPED-ADDRESS",
                    "it is XOR-MAPPED-ADDRESS that counts");
        }

        @Test
        void the_server_answers_a_Binding_request() {
            for (var from : List.of(at("203.0.113.7", 40_000),
                    at("2001:db8::7", 65_535))) {
                var request = Stun.message(REQUEST, ID, Stun.attribute(
                        SOFTWARE, text("lab")));
                same(Stun.success(request, from), respond(request, from)
                        .orElseThrow(() -> History.fail("expected a response to"
                        + " a Binding request", "return it")).raw(),
                        "the response to a request from " + from,
                        "success() of the request, with XOR-MAPPED-ADDRESS");
            }
        }

        @Test
        void the_server_lists_what_it_does_not_understand() {
            // rejects: the first one alone; optional ones; success anyway
            var request = Stun.message(REQUEST, ID,
                    Stun.attribute(0x0003, new byte[4]),
                    Stun.attribute(0x8123, text("x")),
                    Stun.attribute(0x0019, new byte[4]),
                    Stun.attribute(0x7777, text("x")));
            var response = respond(request, SERVER);
            Check.equal("ERROR 420 000300197777", response.map(m ->
                    m.messageClass() + " " + m.errorCode() + " " + m.find(0x0a)
                    .map(NatTraversalTest::hex).orElse("nothing"))
                    .orElse("nothing"), "class, code and UNKNOWN-ATTRIBUTES of"
                    + " the response to a request with the types 3, 8123, 19"
                    + " and 7777", "unknown() names them: two bytes for each");
            Check.equal(hex(Arrays.copyOfRange(request, 8, 20)),
                    hex(response.get().transactionId()), "its id",
                    "use error() of the request");
            response = NatTraversal.respond(new NatTraversal.Packet(SERVER,
                    request), Set.of(3, 0x19, 0x7777));
            Check.equal(NatTraversal.MessageClass.SUCCESS,
                    response.get().messageClass(), "the class of the response"
                    + " when 3, 19 and 7777 are known",
                    "give known to unknown()");
        }

        @Test
        void the_server_answers_nothing_else() {
            // rejects: answers to answers, which two servers send for ever
            for (int type : new int[] {SUCCESS, 0x0111, 0x0011, 0x0003,
                0x0002}) {
                Check.equal(Optional.empty(), respond(Stun.message(type, ID),
                        SERVER).map(m -> hex(m.raw())), "what a message of type"
                        + " %04x is answered with".formatted(type),
                        "answer requests of the method Binding alone");
            }
            Check.equal(Optional.empty(), respond(text("hello, is this a STUN"
                    + " server?"), SERVER).map(m -> hex(m.raw())),
                    "what other bytes are answered with",
                    "tryDecode() returns nothing for them");
        }

        @Test
        void client_and_server_work_on_real_sockets() throws Exception {
            var loopback = new InetSocketAddress(
                    InetAddress.ofLiteral("127.0.0.1"), 0);
            try (var server = NatTraversal.Datagrams.udp(loopback);
                 var socket = NatTraversal.Datagrams.udp(loopback)) {
                var serving = PendingCall.start(() -> {
                    NatTraversal.serveStun(List.of(server), 0, server.receive(
                            Duration.ofSeconds(10)).orElseThrow());
                    return "served";
                });
                Check.equal(socket.localAddress(), new NatTraversal.StunClient(
                        socket, STANDARD).mappedAddress(server.localAddress()),
                        "the mapped address without a NAT",
                        "it is the socket's own address");
                serving.outcome().get();
            }
        }

        private static void retransmits(NatTraversal.Retransmission how,
                String expected, long giveUp) {
            var script = new Script(sent -> List.of());
            Check.fails(SocketTimeoutException.class, () ->
                    new NatTraversal.StunClient(script, how).transact(SERVER,
                            NatTraversal.Message.request(1)), "transact() with"
                    + " a silent server", "after the last deadline, throw it");
            Check.equal(expected, script.times(), "when the request was sent,"
                    + " in ms, with " + how, "deadlines() count from the first"
                    + " sending");
            Check.equal(giveUp, script.millis(), "when transact() gave up",
                    "wait until the last of deadlines()");
            Check.equal(1L, script.sent.stream().map(s -> hex(s.data))
                    .distinct().count(), "how many different requests were"
                    + " sent", "a retransmission is the same request, with the"
                    + " same id");
            Check.that(script.sent.stream().allMatch(s -> s.to.equals(SERVER)),
                    "all of them to be sent to the server", "");
        }

        private static void refuses(int code, UnaryOperator<byte[]> response,
                String what) {
            var thrown = Check.fails(NatTraversal.StunException.class, () ->
                    client(new Script(sent -> List.of(response.apply(sent))))
                            .mappedAddress(SERVER), "mappedAddress() after "
                    + what, "check class, unknown() and XOR-MAPPED-ADDRESS");
            Check.equal(code, thrown.code(), "the exception's code",
                    "it is the errorCode() of the response");
        }

        private static Optional<NatTraversal.Message> respond(byte[] data,
                InetSocketAddress from) {
            return NatTraversal.respond(new NatTraversal.Packet(from, data),
                    Set.of());
        }
    }

    @Step(value = 3, title = "Predict which pairs connect")
    class Predict_which_pairs_connect {

        @Test
        void a_NAT_that_maps_independently_connects_unless_it_filters_by_port()
                throws IOException {
            predicts((a, b) -> stable(a) && !strict(a) || stable(b)
                    && !strict(b), "its mapped address is right for everybody,"
                    + " and once it has sent to the peer's address, any port of"
                    + " the peer gets in");
        }

        @Test
        void one_that_filters_by_port_needs_a_peer_that_maps_independently()
                throws IOException {
            // rejects: symmetric means relay; port restricted means direct
            predicts((a, b) -> stable(a) && strict(a) || stable(b)
                    && strict(b), "a filter by port needs to know the peer's"
                    + " port, which is new for each destination unless the"
                    + " peer maps independently");
        }

        @Test
        void without_independent_mapping_one_filter_must_be_open()
                throws IOException {
            predicts((a, b) -> !stable(a) && !stable(b), "neither knows a port"
                    + " that is right; the first packet must pass a filter"
                    + " that is independent, and its answer one that knows the"
                    + " address alone; and one of the ports must stay when the"
                    + " answer is sent");
        }

        @Test
        void prediction_and_run_agree_for_42_pairs_of_81() throws IOException {
            predicts((a, b) -> true, "compare the pair with the run");
            long count = NATS.stream().mapToLong(a -> NATS.stream().filter(b ->
                    NatTraversal.predict(a, b)).count()).sum();
            Check.equal(42L, count, "how many pairs connect", "");
        }

        @Test
        void a_NAT_maps_as_its_behaviour_says() throws IOException {
            for (var nat : NATS) {
                var net = new NatTraversal.VirtualNet();
                var seen = new ArrayList<Integer>();
                for (var server : List.of(SERVER, at("192.0.2.1", 9),
                        at("192.0.2.2", 9))) {
                    net.host(server.getHostString(), server.getPort())
                            .serve(p -> seen.add(p.from().getPort()));
                }
                var inside = net.nat("203.0.113.7", nat, Duration.ofMinutes(2))
                        .host("10.0.0.2", 5000);
                for (var server : List.of(SERVER, at("192.0.2.1", 9),
                        at("192.0.2.2", 9))) {
                    inside.send(server, text("x"));
                }
                net.pass(Duration.ofMillis(20));
                var ports = switch (nat.mapping()) {
                    case ENDPOINT_INDEPENDENT -> List.of(40000, 40000, 40000);
                    case ADDRESS_DEPENDENT -> List.of(40000, 40000, 40001);
                    case ADDRESS_AND_PORT_DEPENDENT ->
                        List.of(40000, 40001, 40002);
                };
                Check.equal(ports, seen, "the ports that three servers see"
                        + " behind " + nat, "");
                // what step 3 rests on must not depend on the learner's code
                NatTraversal.predict(nat, nat);
            }
        }

        @Test
        void a_NAT_forgets_a_mapping_that_only_the_outside_uses()
                throws IOException {
            NatTraversal.predict(NATS.getFirst(), NATS.getFirst());
            var net = new NatTraversal.VirtualNet();
            var outside = net.host("192.0.2.1", 3478);
            var inside = net.nat("203.0.113.7", NATS.getFirst(),
                    Duration.ofSeconds(30)).host("10.0.0.2", 5000);
            inside.send(SERVER, text("hello"));
            var mapped = outside.receive(Duration.ofSeconds(1)).orElseThrow()
                    .from();
            net.pass(Duration.ofMillis(29_900));
            outside.send(mapped, text("in time"));
            Check.that(inside.receive(Duration.ofMillis(20)).isPresent(),
                    "a packet to pass after 29.9 s of 30", "");
            net.pass(Duration.ofSeconds(1));
            outside.send(mapped, text("too late"));
            Check.equal(Optional.empty(), inside.receive(Duration.ofSeconds(1))
                    .map(p -> new String(p.data())), "what arrives after 31 s,"
                    + " though a packet came in before", "");
        }

        private static boolean stable(NatTraversal.NatBehavior nat) {
            return nat.mapping()
                    == NatTraversal.Behavior.ENDPOINT_INDEPENDENT;
        }

        private static boolean strict(NatTraversal.NatBehavior nat) {
            return nat.filtering()
                    == NatTraversal.Behavior.ADDRESS_AND_PORT_DEPENDENT;
        }

        private static void predicts(BiPredicate<NatTraversal.NatBehavior,
                NatTraversal.NatBehavior> rows, String likely)
                throws IOException {
            for (var a : NATS) {
                for (var b : NATS) {
                    if (rows.test(a, b)) {
                        Check.equal(connects(a, b), NatTraversal.predict(a, b),
                                "predict() of\n  " + a + " and\n  " + b + "\n",
                                likely);
                    }
                }
            }
        }
    }

    @Step(value = 4, title = "Authenticate messages", further = true)
    class Authenticate_messages {

        @Test
        void the_samples_of_RFC_5769_are_authentic_with_their_key()
                throws Exception {
            // rejects: the length as it is; a message that is encoded anew
            var likely = "the HMAC is over the received bytes before the"
                    + " attribute, with a length that ends behind it";
            for (var sample : List.of(SAMPLE_REQUEST, SAMPLE_IPV4,
                    SAMPLE_IPV6)) {
                var message = decode(sample);
                Check.that(NatTraversal.integrityOk(message, PASSWORD),
                        "integrityOk() of the sample of " + sample.length
                        + " bytes", likely);
                Check.that(NatTraversal.fingerprintOk(message),
                        "fingerprintOk() of the sample of " + sample.length
                        + " bytes", "CRC32 XOR 5354554e of the bytes before it,"
                        + " with a length that ends behind it");
                same(sample, message.raw(), "the message after it was"
                        + " verified", "a message never changes: set the length"
                        + " in a copy");
            }
            Check.that(NatTraversal.integrityOk(decode(SAMPLE_LONG_TERM), md5(
                    "\u30de\u30c8\u30ea\u30c3\u30af\u30b9:example.org"
                    + ":TheMatrIX")), "integrityOk() of the sample with"
                    + " long-term credentials", likely);
            Check.that(!NatTraversal.fingerprintOk(decode(SAMPLE_LONG_TERM)),
                    "fingerprintOk() = false, for it has no FINGERPRINT",
                    "look whether it is there");
            for (var key : List.of("VOkJxbRl1RmTxUk/WvJxBT",
                    "VOkJxbRl1RmTxUk/WvJxB", "x")) {
                Check.that(!NatTraversal.integrityOk(decode(SAMPLE_REQUEST),
                        text(key)), "integrityOk() = false with the key " + key,
                        "compare all 20 bytes");
            }
        }

        @Test
        void a_signature_covers_a_length_that_counts_it() throws Exception {
            // rejects: the unadjusted length; the final one with FINGERPRINT
            var key = text("key");
            var plain = NatTraversal.Message.of(
                    NatTraversal.MessageClass.REQUEST, 3, hex(ID))
                    .with(6, "alice");
            same(Stun.signed(plain.raw(), key), plain.signed(key).raw(),
                    "the message with MESSAGE-INTEGRITY", "hmac() needs the"
                    + " length with the 24 bytes of this attribute, and no"
                    + " more");
            same(Stun.fingerprinted(plain.raw()), plain.fingerprinted().raw(),
                    "the message with FINGERPRINT", "crc() needs the length"
                    + " with the 8 bytes of this attribute");
            var both = plain.signed(key).fingerprinted();
            same(Stun.fingerprinted(Stun.signed(plain.raw(), key)), both.raw(),
                    "the message with both", "each knows nothing of what"
                    + " follows it");
            Check.equal(hex(Stun.message(3, ID, Stun.attribute(6,
                    text("alice")))), hex(plain.raw()), "the message itself"
                    + " after it was signed", "set the length in a copy");
            Check.that(NatTraversal.integrityOk(both, key)
                    && NatTraversal.integrityOk(plain.signed(key), key),
                    "integrityOk() with and without FINGERPRINT", "set the"
                    + " length that ends behind MESSAGE-INTEGRITY");
        }

        @Test
        void each_changed_bit_is_noticed() {
            // rejects: only the first bytes are compared; padding left out
            for (int bit = 0; bit < 8 * SAMPLE_REQUEST.length; bit++) {
                int at = bit / 8;
                NatTraversal.Message message;
                try {
                    message = NatTraversal.Message.decode(changed(
                            SAMPLE_REQUEST, at,
                            SAMPLE_REQUEST[at] ^ 1 << bit % 8));
                } catch (IOException e) {
                    continue;   // noticed already
                }
                Check.that(!NatTraversal.fingerprintOk(message),
                        "fingerprintOk() = false with another bit in byte "
                        + at, "it covers all bytes, padding included");
                // the fingerprint's type may change into another attribute
                Check.equal(at >= 100, NatTraversal.integrityOk(message,
                        PASSWORD), "integrityOk() with another bit in byte "
                        + at + " of 108", "it covers all bytes before"
                        + " MESSAGE-INTEGRITY, which are 76, and compares all"
                        + " 20 of its own");
            }
        }

        @Test
        void attributes_behind_the_signature_do_not_count() throws Exception {
            // rejects: what an attacker adds is believed
            var signed = Stun.signed(Stun.message(SUCCESS, ID, Stun.attribute(
                    6, text("alice"))), PASSWORD);
            var message = decode(Stun.fingerprinted(Stun.append(Stun.append(
                    Stun.append(Stun.append(signed, MAPPED, Stun.xored(SERVER,
                    signed)), 6, text("eve")), 0x7777, text("x")), 8,
                    new byte[20])));
            Check.equal("alice", string(message.find(6)), "USERNAME before and"
                    + " behind MESSAGE-INTEGRITY", "the first one counts");
            Check.equal(Optional.empty(), message.address(MAPPED),
                    "the address between two MESSAGE-INTEGRITY", "counted()"
                    + " leaves out what is not covered by the first one");
            Check.equal(List.of(8), message.unknown(Set.of(6)),
                    "unknown attributes", "counted() leaves out what is behind"
                    + " MESSAGE-INTEGRITY, FINGERPRINT excepted");
            Check.that(message.find(0x8028).isPresent()
                    && NatTraversal.fingerprintOk(message)
                    && NatTraversal.integrityOk(message, PASSWORD),
                    "FINGERPRINT to count behind MESSAGE-INTEGRITY, and both to"
                    + " be right", "only FINGERPRINT counts behind it");
            Check.equal(Optional.of(SERVER), decode(Stun.append(Stun.message(
                    SUCCESS, ID), MAPPED, Stun.xored(SERVER, signed)))
                    .address(MAPPED), "the address in a message that is not"
                    + " signed", "without MESSAGE-INTEGRITY all count");
        }

        @Test
        void a_fingerprint_is_the_last_attribute() throws Exception {
            // rejects: any position; the CRC over all
            var early = Stun.signed(Stun.fingerprinted(Stun.message(REQUEST,
                    ID)), PASSWORD);
            Check.that(!NatTraversal.fingerprintOk(decode(early)),
                    "fingerprintOk() = false when MESSAGE-INTEGRITY follows",
                    "nothing may follow it");
            Check.that(!NatTraversal.fingerprintOk(decode(Stun.append(Stun
                    .fingerprinted(Stun.message(REQUEST, ID)), 0x8022,
                    text("ab")))), "fingerprintOk() = false when SOFTWARE"
                    + " follows", "nothing may follow it");
            Check.that(!NatTraversal.fingerprintOk(decode(Stun.message(REQUEST,
                    ID))), "fingerprintOk() = false without attributes",
                    "look whether there is one");
            var twice = Stun.fingerprinted(Stun.fingerprinted(Stun.message(
                    REQUEST, ID)));
            Check.that(!NatTraversal.fingerprintOk(decode(twice)),
                    "fingerprintOk() = false with two of them",
                    "the first one must be the last attribute");
            var right = Stun.find(Stun.fingerprinted(Stun.message(REQUEST, ID)),
                    0x8028).orElseThrow();
            for (int size : new int[] {0, 2, 3, 8}) {
                var message = decode(Stun.append(Stun.message(REQUEST, ID),
                        0x8028, Arrays.copyOf(right, size)));
                var what = "fingerprintOk() with a value of " + size
                        + " bytes instead of 4";
                var likely = "compare the whole value, whatever its length";
                Check.equal(false, succeeds(() ->
                        NatTraversal.fingerprintOk(message), what, likely),
                        what, likely);
            }
        }

        @Test
        void another_polynomial_is_refused() throws Exception {
            var start = Stun.append(Stun.message(REQUEST, ID), 0x8028,
                    new byte[4]);
            var crc = new CRC32C();
            crc.update(start, 0, 20);
            Check.that(!NatTraversal.fingerprintOk(decode(cat(Arrays.copyOf(
                    start, 24), Stun.u32((int) crc.getValue() ^ 0x5354554e)))),
                    "fingerprintOk() = false with CRC-32C", "compare the value"
                    + " with crc()");
        }

        @Test
        void a_signature_of_another_length_is_refused() throws Exception {
            var message = Stun.signed(Stun.message(REQUEST, ID), PASSWORD);
            for (int size : new int[] {0, 4, 16, 24}) {
                var other = Stun.append(Stun.message(REQUEST, ID), 8,
                        Arrays.copyOfRange(message, 24, 24 + size));
                Check.that(!NatTraversal.integrityOk(decode(other), PASSWORD),
                        "integrityOk() = false with " + size + " bytes instead"
                        + " of 20, of which the first are right",
                        "compare the whole value, not as many bytes as came,"
                        + " and not 20 of more");
            }
            Check.that(!NatTraversal.integrityOk(decode(Stun.message(REQUEST,
                    ID)), PASSWORD), "integrityOk() = false without"
                    + " MESSAGE-INTEGRITY", "look whether it is there");
        }

        @Test
        void ice4j_accepts_the_fingerprint() throws Exception {
            var wire = NatTraversal.Message.of(
                    NatTraversal.MessageClass.REQUEST, 1, hex(ID))
                    .with(6, "alice").fingerprinted().raw();
            var read = org.ice4j.message.Message.decode(wire, (char) 0,
                    (char) wire.length);
            Check.that(read.getAttribute(
                    org.ice4j.attribute.Attribute.FINGERPRINT) != null,
                    "ice4j, which refuses a wrong FINGERPRINT, to accept it",
                    "compare crc() with RFC 8489 section 14.7");
        }
    }

    @Step(value = 5, title = "Punch a hole", further = true)
    class Punch_a_hole {

        private static final InetSocketAddress THEIRS =
                at("203.0.113.2", 40_000);
        private static final InetSocketAddress OTHER =
                at("203.0.113.2", 40_001);

        @Test
        void a_check_is_a_signed_Binding_request_every_50_ms()
                throws IOException {
            var script = new Script(sent -> List.of());
            var peer = new NatTraversal.Peer(script, "secret", true);
            Check.equal(Optional.empty(), NatTraversal.punch(peer,
                    List.of(THEIRS, OTHER), Duration.ofMillis(180)),
                    "the result when nobody answers", "");
            Check.equal("0 0 50 50 100 100 150 150", script.times(),
                    "when checks were sent to two addresses, in ms", "");
            for (var sent : script.sent) {
                Check.equal("0001 true true false", "%04x %s %s %s".formatted(
                        Stun.u16(sent.data, 0), Stun.isSigned(sent.data,
                        peer.key()), Stun.hasFingerprint(sent.data),
                        Stun.find(sent.data, 0x25).isPresent()), "type,"
                        + " signature, FINGERPRINT and USE-CANDIDATE of a check"
                        , "the check is made by given code");
            }
            answersChecksOnly();
        }

        /** Nobody who lacks the secret, and nothing else, gets an answer. */
        private static void answersChecksOnly() throws IOException {
            var script = new Script(sent -> List.of());
            var peer = new NatTraversal.Peer(script, "secret", false);
            script.arrivals.add(script.arrival(5, OTHER,
                    Stun.message(REQUEST, ID)));
            script.arrivals.add(script.arrival(6, OTHER, text("hello")));
            script.arrivals.add(script.arrival(7, OTHER, Stun.signed(
                    Stun.message(REQUEST, ID), text("guess"))));
            for (int type : new int[] {0x0003, 0x0011, 0x0111}) {
                script.arrivals.add(script.arrival(8, OTHER, Stun.signed(
                        Stun.message(type, ID), peer.peerKey())));
            }
            NatTraversal.punch(peer, List.of(THEIRS), Duration.ofMillis(120));
            Check.equal(3L, script.sent.stream().filter(s -> s.to
                    .equals(THEIRS)).count(), "packets to the peer", "");
            Check.equal(3, script.sent.size(), "packets altogether, when others"
                    + " send a request without a signature, text, a request"
                    + " with another key, and, with the right one, an Allocate"
                    + " request, a Binding indication and a Binding error",
                    "ignore what is not signed with peerKey(), and what is"
                    + " neither a Binding request nor a success");
        }

        @Test
        void a_check_is_answered_where_it_came_from() throws IOException {
            // rejects: answers to the told address; no check in return
            var script = new Script(sent -> List.of());
            var peer = new NatTraversal.Peer(script, "secret", false);
            script.arrivals.add(script.arrival(10, OTHER, Stun.signed(
                    Stun.message(REQUEST, ID), peer.peerKey())));
            Check.equal(Optional.empty(), NatTraversal.punch(peer,
                    List.of(THEIRS), Duration.ofMillis(80)), "the result of a"
                    + " check without USE-CANDIDATE", "only a nomination"
                    + " selects an address");
            var answer = script.sent.stream().filter(s -> Stun.u16(s.data, 0)
                    == SUCCESS).findFirst().orElseThrow(() -> History.fail(
                    "expected a success response to the check from " + OTHER,
                    "onCheck() answers every check that is signed"));
            Check.equal(OTHER + " " + ID + " true true true", answer.to + " "
                    + hex(Arrays.copyOfRange(answer.data, 8, 20)) + " "
                    + Stun.isSigned(answer.data, peer.key()) + " "
                    + Stun.hasFingerprint(answer.data) + " "
                    + Stun.find(answer.data, MAPPED).map(v -> Arrays.equals(v,
                    Stun.xored(OTHER, answer.data))).orElse(false),
                    "where the answer went, its id, whether it is signed with"
                    + " key(), has a FINGERPRINT, and holds the source",
                    "send it to the packet's source, from the same socket, and"
                    + " sign() it");
            Check.that(script.sent.stream().anyMatch(s -> s.to.equals(OTHER)
                    && Stun.u16(s.data, 0) == REQUEST), "a check to " + OTHER
                    + " as well", "learn() the address that a check came from");
        }

        @Test
        void the_initiator_nominates_the_address_that_answers()
                throws IOException {
            // rejects: a result before the nomination is answered
            var script = new Script(sent -> List.of());
            var peer = new NatTraversal.Peer(script, "secret", true);
            script.answers = sent -> !sent.to.equals(THEIRS)
                    || sent.number < 5 || sent.number == 6 ? List.of()
                    : List.of(script.arrival(10, sent.to, Stun.signed(
                    Stun.success(sent.data, SERVER), peer.peerKey())));
            script.arrivals.add(script.arrival(130, OTHER, Stun.signed(
                    Stun.message(REQUEST, ID), peer.peerKey())));
            Check.equal(Optional.of(THEIRS), NatTraversal.punch(peer,
                    List.of(OTHER, THEIRS), Duration.ofSeconds(2)),
                    "the result when the first nomination is lost",
                    "the address whose response came; the nomination replaces"
                    + " the check in checks, so it is sent again");
            var nominations = script.sent.stream().filter(s -> Stun.find(s.data,
                    0x25).isPresent()).toList();
            Check.equal("110 150", nominations.stream().map(s -> "" + s.millis)
                    .collect(Collectors.joining(" ")), "when USE-CANDIDATE was"
                    + " sent, in ms, if a check succeeds at 110 ms",
                    "nominate one address, at once and again with the next"
                    + " checks; the answer to that selects it");
            var nomination = nominations.getFirst();
            Check.that(Stun.isSigned(nomination.data, peer.key())
                    && nomination.to.equals(THEIRS),
                    "a signed nomination of " + THEIRS, "");
            Check.equal(3L, script.sent.stream().filter(s -> s.to.equals(THEIRS)
                    && !Arrays.equals(s.data, 8, 20, nomination.data, 8, 20))
                    .count(), "checks for " + THEIRS + " with another id than"
                    + " the nomination", "a nomination is a new request: an"
                    + " answer to the old check does not answer it");
            Check.equal(160L, script.millis(),
                    "when punch() returned", "the pair is selected when the"
                    + " nomination is answered, not before");
            Check.that(script.sent.stream().anyMatch(s -> s.to.equals(OTHER)
                    && Stun.u16(s.data, 0) == SUCCESS), "the initiator to"
                    + " answer a check that comes at 130 ms, after its"
                    + " nomination", "answer each check");
            var both = new Script(sent -> List.of());
            both.answers = sent -> List.of(both.arrival(sent.to.equals(THEIRS)
                    ? 10 : 20, sent.to, Stun.find(sent.data, 0x25).isPresent()
                    ? new byte[0] : Stun.signed(Stun.success(sent.data, SERVER),
                    peer.peerKey())));
            Check.equal(Optional.empty(), NatTraversal.punch(
                    new NatTraversal.Peer(both, "secret", true),
                    List.of(OTHER, THEIRS), Duration.ofMillis(200)),
                    "the result when nominations are not answered, but a check"
                    + " of another address is", "only the address that was"
                    + " nominated can be selected");
            Check.equal(Set.of(THEIRS), both.sent.stream().filter(s ->
                    Stun.find(s.data, 0x25).isPresent()).map(Script.Sent::to)
                    .collect(Collectors.toSet()), "the addresses nominated when"
                    + " both answer, " + THEIRS + " first",
                    "nominate one address, the first");
            var other = new NatTraversal.Peer(new Script(sent -> List.of(
                    Stun.signed(Stun.success(sent, SERVER), peer.key()))),
                    "secret", false);
            Check.equal(Optional.empty(), NatTraversal.punch(other,
                    List.of(THEIRS), Duration.ofMillis(200)), "the result of"
                    + " the other side when its checks are answered", "it"
                    + " waits for a nomination");
            Check.that(((Script) other.socket()).sent.stream().noneMatch(s ->
                    Stun.find(s.data, 0x25).isPresent()), "no USE-CANDIDATE"
                    + " from the side that is not the initiator",
                    "only the initiator nominates");
        }

        @Test
        void a_response_from_another_address_does_not_count()
                throws IOException {
            // rejects: matching by id alone
            var script = new Script(sent -> List.of());
            var peer = new NatTraversal.Peer(script, "secret", true);
            script.answers = sent -> List.of(script.arrival(10, OTHER,
                    Stun.signed(Stun.success(sent.data, SERVER),
                            peer.peerKey())));
            Check.equal(Optional.empty(), NatTraversal.punch(peer,
                    List.of(THEIRS), Duration.ofSeconds(1)), "the result when"
                    + " the responses to checks for " + THEIRS + " come from "
                    + OTHER, "the id must be that of the check for the address"
                    + " that the response came from");
            Check.equal(Optional.of(OTHER), NatTraversal.punch(peer,
                    List.of(THEIRS, OTHER), Duration.ofSeconds(1)), "the result"
                    + " when both are checked and all responses come from "
                    + OTHER, "the response to the check for " + OTHER
                    + " comes from there as well, and it counts");
        }

        @Test
        void a_response_counts_only_with_id_and_signature()
                throws IOException {
            // rejects: no integrity; own key; an error; any id
            var kinds = new LinkedHashMap<String, BiFunction<byte[],
                    NatTraversal.Peer, byte[]>>();
            kinds.put("no signature", (request, peer) ->
                    Stun.success(request, SERVER));
            kinds.put("the own key", (request, peer) -> Stun.signed(
                    Stun.success(request, SERVER), peer.key()));
            kinds.put("another id", (request, peer) -> Stun.signed(
                    Stun.success(Stun.message(REQUEST, ID), SERVER),
                    peer.peerKey()));
            kinds.put("class error", (request, peer) -> Stun.signed(
                    Stun.answer(0x0111, request), peer.peerKey()));
            kinds.put("class indication", (request, peer) -> Stun.signed(
                    Stun.answer(0x0011, request), peer.peerKey()));
            kinds.put("method Allocate", (request, peer) -> Stun.signed(
                    Stun.answer(0x0103, request), peer.peerKey()));
            kinds.forEach((kind, response) -> {
                var script = new Script(sent -> List.of());
                var peer = new NatTraversal.Peer(script, "secret", true);
                script.answers = sent -> List.of(script.arrival(10, THEIRS,
                        response.apply(sent.data, peer)));
                try {
                    Check.equal(Optional.empty(), NatTraversal.punch(peer,
                            List.of(THEIRS), Duration.ofMillis(300)),
                            "the result when the responses have " + kind,
                            "only a Binding success, signed with peerKey(),"
                            + " with the id of the check counts");
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            });
        }

        @Test
        void a_check_that_is_sent_back_is_ignored() throws IOException {
            // rejects: one key for both directions
            for (boolean initiator : new boolean[] {true, false}) {
                var script = new Script(sent -> List.of());
                script.answers = sent -> List.of(script.arrival(10, THEIRS,
                        sent.data));
                Check.equal(Optional.empty(), NatTraversal.punch(
                        new NatTraversal.Peer(script, "secret", initiator),
                        List.of(THEIRS), Duration.ofMillis(300)), "the result"
                        + " when somebody sends every packet back", "check with"
                        + " peerKey(), sign with key()");
                Check.that(script.sent.stream().allMatch(s ->
                        Stun.u16(s.data, 0) == REQUEST), "no answer to one's"
                        + " own check", "check with peerKey()");
            }
        }

        @Test
        void the_nomination_selects_and_is_answered_again()
                throws IOException {
            // rejects: returning at once; the initiator being selected for
            var script = new Script(sent -> List.of());
            var peer = new NatTraversal.Peer(script, "secret", false);
            for (int at : new int[] {10, 110, 210}) {
                var from = at == 10 ? THEIRS : OTHER;
                script.arrivals.add(script.arrival(at, from, Stun.signed(
                        Stun.message(REQUEST, ID, Stun.attribute(0x25,
                                new byte[0])), peer.peerKey())));
            }
            script.arrivals.add(script.arrival(390, OTHER, Stun.signed(
                    Stun.message(REQUEST, ID), peer.peerKey())));
            Check.equal(Optional.of(OTHER), NatTraversal.punch(peer,
                    List.of(THEIRS), Duration.ofSeconds(5)), "the result of"
                    + " the side that is not the initiator, when the last"
                    + " nomination comes from " + OTHER, "each nomination"
                    + " selects the address it came from, and only a nomination"
                    + " begins the quietIntervals anew");
            long end = script.millis();
            Check.that(end >= 400 && end <= 420, "the result four intervals"
                    + " after the last nomination at 210 ms, got it at " + end
                    + " ms", "only a nomination begins the quietIntervals"
                    + " anew; another check does not");
            Check.equal(4L, script.sent.stream().filter(s -> Stun.u16(s.data, 0)
                    == SUCCESS).count(), "answers to a check and a nomination"
                    + " that comes"
                    + " three times, because the answers were lost", "begin the"
                    + " quietIntervals at 0 with each nomination");
            var mine = new Script(sent -> List.of());
            var initiator = new NatTraversal.Peer(mine, "secret", true);
            mine.arrivals.add(mine.arrival(10, OTHER, Stun.signed(Stun.message(
                    REQUEST, ID, Stun.attribute(0x25, new byte[0])),
                    initiator.peerKey())));
            Check.equal(Optional.empty(), NatTraversal.punch(initiator,
                    List.of(THEIRS), Duration.ofMillis(500)), "the result of"
                    + " the initiator when it receives a nomination",
                    "only the initiator nominates");
            Check.that(mine.sent.stream().anyMatch(s -> s.to.equals(OTHER)
                    && Stun.u16(s.data, 0) == SUCCESS), "the initiator to"
                    + " answer a check with USE-CANDIDATE", "answer each check;"
                    + " the initiator ignores the attribute alone");
            var forged = new Script(sent -> List.of());
            var misled = new NatTraversal.Peer(forged, "secret", false);
            forged.arrivals.add(forged.arrival(10, OTHER, Stun.append(
                    Stun.signed(Stun.message(REQUEST, ID), misled.peerKey()),
                    0x25, new byte[0])));
            Check.equal(Optional.empty(), NatTraversal.punch(misled,
                    List.of(THEIRS), Duration.ofMillis(500)), "the result when"
                    + " USE-CANDIDATE stands behind MESSAGE-INTEGRITY", "find()"
                    + " leaves out what is not signed");
        }

        @Test
        void all_81_pairs_do_what_a_plain_run_shows() throws IOException {
            for (var a : NATS) {
                for (var b : NATS) {
                    Check.equal(connects(a, b), new Pair(a, b).meet("secret",
                            "secret"), "whether the peers meet behind\n  " + a
                            + " and\n  " + b + "\n", "answer checks where they"
                            + " come from, learn that address, and count a"
                            + " response from the address that was checked");
                }
            }
        }

        @Test
        void both_sides_get_the_address_that_works() throws IOException {
            // rejects: the told address instead of the learnt one
            var pair = new Pair(NATS.get(0), NATS.get(8));
            Check.that(pair.meet("secret", "secret"), "the peers to meet", "");
            var arrived = new ArrayList<String>();
            pair.bob.send(pair.results.get(1), text("hello alice"));
            pair.alice.send(pair.results.get(0), text("hello bob"));
            for (var host : List.of(pair.alice, pair.bob)) {
                var packet = host.receive(Duration.ofSeconds(1));
                while (packet.isPresent() && packet.get().data()[0] != 'h') {
                    packet = host.receive(Duration.ofSeconds(1));
                }
                arrived.add(packet.map(p -> new String(p.data()))
                        .orElse("nothing"));
            }
            Check.equal("[hello alice, hello bob]", arrived.toString(),
                    "what arrives at the addresses that punch() returned",
                    "return the address that the response or the nomination"
                    + " came from");
        }

        @Test
        void without_the_same_secret_nobody_meets() throws IOException {
            Check.that(!new Pair(NATS.get(0), NATS.get(0)).meet("secret",
                    "Secret"), "peers with another secret not to meet",
                    "check the signature of every message");
        }

        @Test
        void lost_checks_and_a_late_start_delay_the_meeting()
                throws IOException {
            var pair = new Pair(NATS.get(2), NATS.get(2));
            pair.lose = 3;
            pair.bobStarts = 700;
            Check.that(pair.meet("secret", "secret"), "peers behind NATs that"
                    + " filter by port to meet, though the first three packets"
                    + " of each are lost and one starts 0.7 s later", "send the"
                    + " checks again until the end");
        }

        @Test
        void two_real_sockets_meet() throws Exception {
            var loopback = new InetSocketAddress(
                    InetAddress.ofLiteral("127.0.0.1"), 0);
            try (var alice = NatTraversal.Datagrams.udp(loopback);
                 var bob = NatTraversal.Datagrams.udp(loopback)) {
                var result = PendingCall.start(() -> NatTraversal.punch(
                        new NatTraversal.Peer(bob, "secret", false),
                        List.of(alice.localAddress()), Duration.ofSeconds(8)));
                Check.equal(Optional.of(bob.localAddress()),
                        NatTraversal.punch(new NatTraversal.Peer(alice,
                                "secret", true), List.of(bob.localAddress()),
                                Duration.ofSeconds(8)), "alice's result", "");
                Check.equal(Optional.of(alice.localAddress()),
                        result.outcome().get(), "bob's result", "");
            }
        }
    }

    @Step(value = 6, title = "Relay through TURN", further = true)
    class Relay_through_TURN {

        @Test
        void the_challenge_is_answered_with_credentials() throws IOException {
            // rejects: credentials at once; the id of the first request
            var relay = new Relay();
            var turn = relay.allocate();
            Check.equal("[Allocate 401, Allocate 200]", relay.log.toString(),
                    "the requests and the server's answers",
                    "the first request has no credentials, and the 401 tells"
                    + " REALM and NONCE");
            Check.equal(at("192.0.2.1", 50_000), turn.localAddress(),
                    "the address of the allocation", "");
            for (var request : relay.requests) {
                Check.equal("11000000", Stun.find(request, 0x19)
                        .map(NatTraversalTest::hex).orElse("nothing"),
                        "REQUESTED-TRANSPORT of each Allocate",
                        "apply the attributes to each new request");
            }
            Check.equal("nothing lab lab.test nonce1", Stun.find(
                    relay.requests.get(0), 6).map(String::new).orElse("nothing")
                    + " " + Stun.shown(relay.requests.get(1), 6, 0x14, 0x15),
                    "USERNAME of the first request, then USERNAME, REALM and"
                    + " NONCE of the second", "copy REALM and NONCE from the"
                    + " challenge");
            Check.that(Stun.hasFingerprint(relay.requests.get(1)),
                    "FINGERPRINT as the last attribute of the second request",
                    "sign() ends with fingerprinted()");
            Check.that(!relay.ids().get(0).equals(relay.ids().get(1)),
                    "a new id for the second request", "it is another request,"
                    + " not the same one again");
            var open = new Relay();
            open.force(200);
            open.allocate();
            Check.equal("[Allocate 200]", open.log.toString(), "the requests to"
                    + " a server that asks for no credentials", "before there"
                    + " is a challenge, every response counts");
        }

        @Test
        void a_401_is_answered_only_if_its_realm_is_new()
                throws IOException {
            // rejects: a loop of 401; every later 401 is fatal; the old key
            var relay = new Relay();
            var thrown = Check.fails(NatTraversal.StunException.class, () ->
                    relay.allocate("guess"), "allocate() with a wrong password",
                    "a 401 after credentials is an error; like every"
                    + " 401 and 438, it is believed though it has no"
                    + " signature");
            Check.equal("401 [Allocate 401, Allocate 401]", thrown.code() + " "
                    + relay.log, "the exception's code, and the requests",
                    "a 401 that names the same REALM again means that the"
                    + " password is wrong");
            var renamed = new Relay();
            var turn = renamed.allocate();
            renamed.realms = List.of("other.test");
            renamed.permit(turn, "203.0.113.2");
            Check.equal("[Allocate 401, Allocate 200, Permission 401,"
                    + " Permission 200] other.test", renamed.log + " "
                    + Stun.shown(renamed.requests.getLast(), 0x14), "the"
                    + " requests when the server has changed its realm, and"
                    + " the last REALM", "a 401 with another REALM is the new"
                    + " challenge, and key() depends on it");
            var endless = new Relay();
            endless.realms = List.of("a.test", "b.test");
            Check.equal(401, Check.fails(NatTraversal.StunException.class, () ->
                    endless.allocate("secret"), "allocate() with a server that"
                    + " names another realm each time", "the first challenge"
                    + " and three further ones are answered").code(),
                    "the exception's code", "");
            Check.equal(5, endless.log.size(), "requests to such a server",
                    "count a 401 like a 438");
        }

        @Test
        void a_stale_nonce_is_replaced_up_to_three_times_in_a_row()
                throws IOException {
            // rejects: 438 is fatal; the old nonce kept; no limit
            var relay = new Relay();
            relay.force(401, 438, 438, 438);
            relay.allocate();
            Check.equal("[nonce1, nonce2, nonce3, nonce4]", relay.requests
                    .stream().skip(1).map(r -> Stun.shown(r, 0x15)).toList()
                    .toString(), "NONCE of the requests after the first",
                    "a 438 is the new challenge");
            Check.equal(5L, relay.ids().stream().distinct().count(),
                    "different ids of 5 requests", "make a new request each"
                    + " time");
            var endless = new Relay();
            endless.force(401, 438, 438, 438, 438);
            Check.equal(438, Check.fails(NatTraversal.StunException.class, () ->
                    endless.allocate("secret"), "allocate() after four 438 in a"
                    + " row", "three in a row are answered").code(),
                    "the exception's code", "");
            Check.equal(5, endless.log.size(), "requests after four 438", "");
            var early = new Relay();
            early.force(438);
            early.allocate();
            Check.equal("[Allocate 438, Allocate 200]", early.log.toString(),
                    "the requests when a 438 is the first answer",
                    "a 438 is a challenge, even the first one");
            var session = new Relay();
            session.force(401, 438, 438, 438);
            var turn = session.allocate();
            for (int i = 0; i < 3; i++) {
                session.force(438, 438, 438);
                session.permit(turn, "203.0.113.2");
            }
            Check.equal(3L, session.log.stream()
                    .filter("Permission 200"::equals).count(),
                    "permissions after three 438 each",
                    "the count is of one request, so it begins at 0 each time");
        }

        @Test
        void another_error_ends_the_request() {
            var first = new Relay();
            first.force(403);
            Check.equal(403, Check.fails(NatTraversal.StunException.class,
                    () -> first.allocate("secret"), "allocate() when a 403 is"
                    + " the first answer", "before there is a challenge, every"
                    + " response counts").code(), "the exception's code",
                    "use refused()");
            for (int code : new int[] {400, 403, 437, 442, 486, 508}) {
                var relay = new Relay();
                relay.force(401, code);
                Check.equal(code, Check.fails(NatTraversal.StunException.class,
                        () -> relay.allocate("secret"), "allocate() after a "
                        + code, "only 401 and 438 are answered").code(),
                        "the exception's code", "use refused()");
                Check.equal(2, relay.log.size(), "requests", "");
            }
        }

        @Test
        void a_response_without_the_right_signature_is_ignored()
                throws IOException {
            // rejects: a forged success or 403; a 438 with a wrong signature
            for (var kind : List.of("a 403 without a signature",
                    "a 400 without a signature",
                    "a success without a signature",
                    "a 438 with another signature",
                    "a success with another signature")) {
                var relay = new Relay();
                var turn = relay.allocate();
                relay.forged = request -> {
                    var plain = kind.contains("success")
                            ? Stun.answer(0x0108, request)
                            : Stun.answer(0x0118, request, Stun.attribute(9,
                            hex(kind.contains("403") ? "00000403"
                            : kind.contains("400") ? "00000400" : "00000426")),
                            Stun.attribute(0x14, text("evil")),
                            Stun.attribute(0x15, text("evil")));
                    return kind.contains("another")
                            ? Stun.signed(plain, text("guess")) : plain;
                };
                relay.force(438);
                succeeds(() -> {
                    turn.permit(InetAddress.ofLiteral("203.0.113.2"));
                    return true;
                }, "permit() when " + kind + " comes first", "isBelieved(): the"
                        + " right signature, or a 401 or 438 that has none");
                Check.equal("Permission 200", relay.log.getLast(), "the"
                        + " server's last answer, when " + kind + " comes first"
                        , "isBelieved(): the right signature, or a 401 or 438"
                        + " that has none");
            }
        }

        @Test
        void a_challenge_without_realm_or_nonce_is_an_error() {
            for (var missing : List.of(0x14, 0x15)) {
                var script = new Script(sent -> List.of(missing == 0x14
                        ? Stun.answer(0x0113, sent, Stun.attribute(9,
                        hex("00000401")), Stun.attribute(0x15, text("n")))
                        : Stun.answer(0x0113, sent, Stun.attribute(9,
                        hex("00000401")), Stun.attribute(0x14, text("r")))));
                Check.equal(401, Check.fails(NatTraversal.StunException.class,
                        () -> NatTraversal.TurnClient.allocate(client(script),
                        SERVER, "lab", "secret"), "allocate() after a 401"
                        + " without " + (missing == 0x14 ? "REALM" : "NONCE"),
                        "isChallenge() is false then").code(),
                        "the exception's code", "");
            }
        }

        @Test
        void data_travel_both_ways_through_the_relay() throws IOException {
            var relay = new Relay();
            var turn = relay.allocate();
            relay.permit(turn, "203.0.113.2");
            var peer = relay.net.host("203.0.113.2", 40_000);
            turn.send(peer.localAddress(), text("out"));
            Check.equal("out from /192.0.2.1:50000", shown(peer.receive(
                    Duration.ofSeconds(1))), "what the peer receives",
                    "permit() must have been answered");
            // a STUN message is data like any other
            var stun = Stun.message(REQUEST, ID);
            peer.send(turn.localAddress(), stun);
            var back = turn.receive(Duration.ofSeconds(1));
            Check.that(back.isPresent() && Arrays.equals(stun,
                    back.get().data()), "a STUN message from the peer to arrive"
                    + " as data", "");
            Check.equal(peer.localAddress(), back.get().from(),
                    "its source", "");
            relay.net.host("192.0.2.66", 3478).send(relay.client,
                    Stun.message(0x0017, ID, Stun.attribute(0x13,
                    text("forged")), Stun.attribute(0x12,
                    Stun.xored(peer.localAddress(), Stun.message(0, ID)))));
            Check.equal(Optional.empty(), turn.receive(Duration.ofSeconds(1)),
                    "data from another address than the server's", "");
        }

        @Test
        void a_permission_is_asked_for_again_after_240_s()
                throws IOException {
            // rejects: permissions that end after 300 s
            var relay = new Relay();
            relay.lifetime = 100_000;
            var turn = relay.allocate();
            var peer = relay.net.host("203.0.113.2", 40_000);
            long start = relay.net.nanoTime();
            turn.permit(peer.localAddress().getAddress());
            relay.permit(turn, "203.0.113.3");
            for (int minute = 1; minute <= 13; minute++) {
                turn.receive(Duration.ofMinutes(1));
                peer.send(turn.localAddress(), text("minute " + minute));
                Check.equal("minute " + minute + " from /203.0.113.2:40000",
                        shown(turn.receive(Duration.ofSeconds(1))),
                        "what arrives in minute " + minute, "permit() again"
                        + " what is 240 s old: a permission ends after 300 s");
            }
            Check.equal(8L, relay.log.stream().filter("Permission 200"::equals)
                    .count(), "permissions in 13 minutes, for two addresses: at"
                    + " 0, 240, 480 and 720 s", "permit() counts the age from"
                    + " the last time");
        }

        @Test
        void the_allocation_is_refreshed_before_it_ends() throws IOException {
            // rejects: no Refresh; at the end; the first lifetime for ever
            for (var row : List.of("600 540", "60 30", "3600 3540")) {
                var words = row.split(" ");
                var relay = new Relay();
                relay.lifetime = Integer.parseInt(words[0]);
                var turn = relay.allocate();
                int due = Integer.parseInt(words[1]);
                turn.receive(Duration.ofMillis(1000L * due - 500));
                Check.equal(2, relay.log.size(), "requests before " + due
                        + " s of " + words[0], "refreshAt says when");
                turn.receive(Duration.ofSeconds(2));
                Check.equal("Refresh 200", relay.log.getLast(), "the last"
                        + " request after " + due + " s of " + words[0],
                        "send a Refresh at refreshAt");
                turn.receive(Duration.ofMillis(1000L * due - 3000));
                Check.equal(3, relay.log.size(), "requests until it is due"
                        + " again", "");
                turn.receive(Duration.ofSeconds(4));
                Check.equal(4, relay.log.size(), "requests when it is due"
                        + " again", "refreshed() sets the time anew");
            }
        }

        @Test
        void send_renews_what_is_due_as_well() throws IOException {
            var relay = new Relay();
            var turn = relay.allocate();
            var peer = relay.net.host("203.0.113.2", 40_000);
            turn.permit(peer.localAddress().getAddress());
            relay.permit(turn, "203.0.113.3");
            relay.log.clear();
            relay.net.pass(Duration.ofMillis(239_900));
            turn.send(peer.localAddress(), text("early"));
            Check.equal("[]", relay.log.toString(), "the requests when send()"
                    + " follows two permissions after 239.9 s", "a permission"
                    + " is asked for again when it is 240 s old");
            relay.net.pass(Duration.ofMillis(200));
            turn.send(peer.localAddress(), text("again"));
            Check.equal("[Permission 200, Permission 200]", relay.log.toString()
                    , "the requests when send() follows them after 240.1 s",
                    "each permission that is 240 s old is asked for again");
            relay.log.clear();
            relay.net.pass(Duration.ofSeconds(310));
            turn.send(peer.localAddress(), text("still here"));
            Check.equal("[Permission 200, Permission 200, Refresh 200]",
                    relay.log.stream().sorted().toList().toString(),
                    "the requests of one send() after 310 s more, in any order",
                    "renew() looks at the allocation and at each permission");
            peer.receive(Duration.ZERO);
            peer.receive(Duration.ZERO);
            Check.equal("still here from /192.0.2.1:50000", shown(peer.receive(
                    Duration.ofSeconds(1))), "what the peer receives", "");
        }

        @Test
        void what_arrives_during_a_request_is_not_lost() throws IOException {
            var relay = new Relay();
            var turn = relay.allocate();
            var peer = at("203.0.113.2", 40_000);
            relay.forged = request -> Stun.message(0x0017, ID,
                    Stun.attribute(0x12, Stun.xored(peer, Stun.message(0, ID))),
                    Stun.attribute(0x13, text("in between")));
            turn.permit(peer.getAddress());
            Check.equal("in between from " + peer, shown(turn.receive(
                    Duration.ZERO)), "what arrived before the response",
                    "transact() keeps other packets, and receive() of the"
                    + " client returns them");
        }

        @Test
        void close_sends_one_Refresh_with_lifetime_zero() throws IOException {
            // rejects: an unsigned one; waiting for a server that is gone
            var relay = new Relay();
            var turn = relay.allocate();
            long start = relay.net.nanoTime();
            turn.close();
            Check.equal(start, relay.net.nanoTime(), "the time after close()",
                    "");
            relay.net.pass(Duration.ofMillis(50));
            Check.equal("Refresh 200 00000000", relay.log.getLast() + " "
                    + Stun.find(relay.requests.getLast(), 0x0d)
                    .map(NatTraversalTest::hex).orElse("no lifetime"),
                    "the last request and its LIFETIME", "sign() it");
            Check.fails(IOException.class, () -> turn.send(SERVER, text("x")),
                    "send() after close()", "");
        }

        @Test
        void peers_without_a_pair_of_addresses_meet_at_the_relay()
                throws IOException {
            var relay = new Relay();
            var turn = relay.allocate();
            relay.permit(turn, "203.0.113.2");
            var bob = relay.net.nat("203.0.113.2", NATS.get(8),
                    Duration.ofMinutes(2)).host("10.0.0.2", 5000);
            var alices = new NatTraversal.Punch(new NatTraversal.Peer(turn,
                    "secret", true), List.of());
            var bobs = new NatTraversal.Punch(new NatTraversal.Peer(bob,
                    "secret", false), List.of(turn.localAddress()));
            Check.that(relay.net.meet(alices, bobs, Duration.ofSeconds(3)),
                    "two peers whose NATs map and filter by address and port to"
                    + " meet at the relay", "permit() the peer's address, and"
                    + " answer where a check comes from");
        }

        private static String shown(Optional<NatTraversal.Packet> packet) {
            return packet.map(p -> new String(p.data()) + " from " + p.from())
                    .orElse("nothing");
        }
    }

    @Step(value = 7, title = "Discover the NAT's behaviour", further = true)
    class Discover_the_NATs_behaviour {

        @Test
        void all_nine_behaviours_are_discovered() throws IOException {
            // rejects: one socket for both; cone or symmetric alone
            for (var nat : NATS) {
                var world = new World(nat);
                var found = succeeds(() -> NatTraversal.discover(
                        world.sockets(), SERVER, STANDARD), "discover() behind "
                        + nat, "silence of the filtering tests is a finding");
                Check.equal(nat, found.behavior(), "the behaviour found", "the"
                        + " mapped address at SERVER, at the other address with"
                        + " the same port, and at the other address and port;"
                        + " the filter with a socket that sent nowhere else");
                Check.equal("/10.0.0.2:5000 " + world.seen(), found.local()
                        + " " + found.mapped(), "local and mapped address",
                        "of the first socket, as SERVER sees it");
            }
            var pool = new World(NATS.getFirst());
            for (var host : pool.hosts.subList(2, 4)) {
                host.serve(p -> host.send(p.from(), pool.answer(
                        new NatTraversal.Packet(at("203.0.113.8",
                                p.from().getPort()), p.data()))));
            }
            Check.equal(NatTraversal.Behavior.ADDRESS_DEPENDENT,
                    NatTraversal.discover(pool.sockets(), SERVER, STANDARD)
                            .behavior().mapping(), "the mapping of a NAT with"
                    + " two public addresses that keeps the port: the server's"
                    + " other address sees 203.0.113.8 instead of 203.0.113.7",
                    "compare address and port of what is mapped");
        }

        @Test
        void without_a_NAT_the_mapped_address_is_the_local_one()
                throws IOException {
            var world = new World(NATS.getFirst());
            var ports = new AtomicInteger(5000);
            var found = NatTraversal.discover(() -> world.net.host(
                    "198.51.100.9", ports.getAndIncrement()), SERVER, STANDARD);
            Check.equal(found.local() + " " + NATS.getFirst(), found.mapped()
                    + " " + found.behavior(), "mapped address and behaviour"
                    + " without a NAT", "");
        }

        @Test
        void silence_is_a_finding_of_the_filtering_test() throws IOException {
            // whoever asks for the other port first need not ask further
            var world = new World(NATS.get(2));
            var sockets = world.sockets();
            var ids = new ArrayList<String>();
            long start = world.net.nanoTime();
            NatTraversal.discover(() -> new Wrapped(sockets.get(), 0, 0,
                    new ArrayList<>()) {
                @Override
                public void send(InetSocketAddress to, byte[] data)
                        throws IOException {
                    if (Stun.find(data, 3).isPresent()) {
                        ids.add(hex(Arrays.copyOfRange(data, 8, 20)));
                    }
                    super.send(to, data);
                }
            }, SERVER, STANDARD);
            long tests = ids.stream().distinct().count();
            Check.that(tests == 1 || tests == 2, "one or two requests with"
                    + " CHANGE-REQUEST, got " + tests, "send the same request"
                    + " again");
            Check.equal(7 * tests, (long) ids.size(), "how often the "
                    + tests + " requests with CHANGE-REQUEST were sent, when"
                    + " nobody answers", "transact() sends each of them seven"
                    + " times");
            Check.equal(39_500 * tests, (world.net.nanoTime() - start)
                    / 1_000_000, "ms for " + tests + " tests of 39.5 s that"
                    + " nobody answered", "wait until the schedule ends, then"
                    + " it is false");
        }

        @Test
        void a_server_that_is_silent_or_has_one_address_is_an_error() {
            var net = new NatTraversal.VirtualNet();
            Check.fails(SocketTimeoutException.class, () ->
                    NatTraversal.discover(() -> net.host("198.51.100.9", 5000),
                            SERVER, STANDARD), "discover() without a server",
                    "only the filtering tests expect silence");
            var server = net.host("192.0.2.1", 3478);
            server.serve(p -> server.send(p.from(), Stun.success(p.data(),
                    p.from())));
            Check.fails(IOException.class, () -> NatTraversal.discover(() ->
                    net.host("198.51.100.9", 5000), SERVER, STANDARD),
                    "discover() with a server that tells no OTHER-ADDRESS",
                    "it cannot test anything: throw an IOException");
            var world = new World(NATS.getFirst());
            for (var host : world.hosts.subList(2, 4)) {
                host.serve(_ -> { });
            }
            Check.fails(SocketTimeoutException.class, () ->
                    NatTraversal.discover(world.sockets(), SERVER, STANDARD),
                    "discover() with a server that is silent at its other"
                    + " address", "only the filtering tests expect silence");
        }

        @Test
        void an_answer_from_the_wrong_place_does_not_count()
                throws IOException {
            // rejects: any response; an error response
            for (boolean refuses : new boolean[] {true, false}) {
                var world = new World(NATS.getFirst());
                world.server.serve(p -> {
                    var change = Stun.find(p.data(), 3).isPresent();
                    world.server.send(p.from(), change && refuses
                            ? Stun.answer(0x0111, p.data(), Stun.attribute(9,
                            hex("00000414"))) : world.answer(p));
                });
                Check.equal(NatTraversal.Behavior.ADDRESS_AND_PORT_DEPENDENT,
                        NatTraversal.discover(world.sockets(), SERVER, STANDARD)
                                .behavior().filtering(), "the filtering found"
                        + " with a server that " + (refuses ? "refuses"
                        : "ignores") + " CHANGE-REQUEST", "an answer counts"
                        + " if it is a success from the place asked for");
            }
            for (boolean refuses : new boolean[] {true, false}) {
                var world = new World(NATS.getFirst());
                world.refuseElsewhere = refuses;
                world.swap = refuses ? 0 : 2;
                Check.equal(NatTraversal.Behavior.ADDRESS_AND_PORT_DEPENDENT,
                        NatTraversal.discover(world.sockets(), SERVER, STANDARD)
                                .behavior().filtering(), "the filtering found"
                        + (refuses ? " when errors come from the other places"
                        : " when the places for change 2 and 6 are swapped"),
                        "only a success from the place asked for counts");
            }
        }

        @Test
        void both_sockets_are_closed() throws IOException {
            // rejects: no finally; one that is left out if another one fails
            closes("nothing fails", null);
            closes("the server is gone", IOException.class);
            closes("the second socket cannot be opened", Exception.class);
            closes("the second socket cannot send", IOException.class);
            closes("close() of both throws", null);
        }

        private static void closes(String fault,
                Class<? extends Exception> expected) throws IOException {
            var opened = new ArrayList<Integer>();
            var closed = new ArrayList<Integer>();
            var world = new World(NATS.getFirst());
            var sockets = world.sockets();
            Supplier<NatTraversal.Datagrams> counted = () -> {
                int number = opened.size();
                if (number == 1 && fault.contains("opened")) {
                    throw new UncheckedIOException(new SocketException(fault));
                }
                opened.add(number);
                return new Wrapped(sockets.get(), number == 1
                        && fault.contains("send") ? -1 : 0, number, closed) {
                    @Override
                    public void close() throws IOException {
                        super.close();
                        if (fault.contains("close()")) {
                            throw new IOException(fault);
                        }
                    }
                };
            };
            if (fault.contains("gone")) {
                world.server.close();
            }
            if (expected != null) {
                Check.fails(expected, () -> NatTraversal.discover(counted,
                        SERVER, STANDARD), "discover() when " + fault,
                        "silence is a finding of the filtering tests, and no"
                        + " other failure is");
            } else {
                try {
                    NatTraversal.discover(counted, SERVER, STANDARD);
                } catch (IOException e) {
                    Check.that(fault.contains("close()"), "a result when "
                            + fault + ", got " + e, "");
                }
                Check.equal(2, opened.size(), "sockets that were taken when "
                        + fault, "mapping and filtering take one each");
            }
            Check.equal(opened, closed.stream().distinct().sorted().toList(),
                    "the sockets that are closed, of those that were taken,"
                    + " when " + fault, "use try with both as resources");
        }

        @Test
        @EnabledIf(value = "NatTraversalTest#hasTwoAddresses",
                disabledReason = "127.0.0.2 is not an address here")
        void real_sockets_on_loopback_have_no_NAT() throws Exception {
            var sockets = new ArrayList<NatTraversal.Datagrams>();
            var workers = new ArrayList<Thread>();
            try {
                for (var ip : List.of("127.0.0.1", "127.0.0.2")) {
                    int other = sockets.isEmpty() ? 0 : sockets.get(0)
                            .localAddress().getPort();
                    sockets.add(NatTraversal.Datagrams.udp(at(ip, other)));
                    sockets.add(NatTraversal.Datagrams.udp(at(ip, other == 0 ? 0
                            : sockets.get(1).localAddress().getPort())));
                }
                for (int i = 0; i < 4; i++) {
                    int at = i;
                    workers.add(Thread.startVirtualThread(() ->
                            serve(sockets, at)));
                }
                var found = NatTraversal.discover(() -> {
                    try {
                        return NatTraversal.Datagrams.udp(at("127.0.0.1", 0));
                    } catch (IOException e) {
                        throw new UncheckedIOException(e);
                    }
                }, sockets.getFirst().localAddress(), STANDARD);
                Check.equal(found.local() + " " + NATS.getFirst(),
                        found.mapped() + " " + found.behavior(),
                        "what is found on the loopback interface", "");
            } finally {
                for (var socket : sockets) {
                    socket.close();
                }
                for (var worker : workers) {
                    worker.join();
                }
            }
        }

        private static void serve(List<NatTraversal.Datagrams> sockets,
                int at) {
            try {
                while (true) {
                    var packet = sockets.get(at).receive(
                            Duration.ofSeconds(60));
                    if (packet.isPresent()) {
                        NatTraversal.serveStun(sockets, at, packet.get());
                    }
                }
            } catch (IOException e) {
                // Closed.
            }
        }
    }

    static boolean hasTwoAddresses() {
        try (var probe = new DatagramSocket(at("127.0.0.2", 0))) {
            return probe.isBound();
        } catch (IOException e) {
            return false;
        }
    }

    /** A STUN server with two addresses, and a NAT. */
    private static final class World {
        private final NatTraversal.VirtualNet net =
                new NatTraversal.VirtualNet();
        private final NatTraversal.VirtualNet.Host server =
                net.host("192.0.2.1", 3478);
        private final List<NatTraversal.VirtualNet.Host> hosts = List.of(server,
                net.host("192.0.2.1", 3479), net.host("192.0.2.2", 3478),
                net.host("192.0.2.2", 3479));
        private final NatTraversal.VirtualNet.Nat nat;
        private final List<NatTraversal.VirtualNet.Host> inside =
                new ArrayList<>();
        private boolean refuseElsewhere;
        private int swap;

        World(NatTraversal.NatBehavior behavior) {
            nat = net.nat("203.0.113.7", behavior, Duration.ofMinutes(5));
            for (int i = 0; i < 4; i++) {
                int at = i;
                hosts.get(i).serve(p -> {
                    int change = Stun.find(p.data(), 3)
                            .map(v -> v[3] >> 1 & 3).orElse(0);
                    int place = change == 0 ? at : at ^ change ^ swap;
                    hosts.get(place).send(p.from(), change != 0
                            && refuseElsewhere ? Stun.answer(0x0111, p.data(),
                            Stun.attribute(9, hex("00000400"))) : answer(p));
                });
            }
        }

        private byte[] answer(NatTraversal.Packet p) {
            return Stun.append(Stun.success(p.data(), p.from()), 0x802c,
                    hex("00010d97c0000202"));
        }

        private Supplier<NatTraversal.Datagrams> sockets() {
            return () -> {
                inside.add(nat.host("10.0.0.2", 5000 + inside.size()));
                return inside.getLast();
            };
        }

        /** From where the first socket's packets come to SERVER. */
        private InetSocketAddress seen() throws IOException {
            var from = new ArrayList<InetSocketAddress>();
            server.serve(p -> from.add(p.from()));
            inside.getFirst().send(SERVER, text("x"));
            return from.getFirst();
        }
    }

    /** A TURN server with one user, lab, in the realm lab.test. */
    private static final class Relay {
        private static final String LIKELY = "a 401 before there is a"
                + " challenge, and up to three 438 in a row, are answered;"
                + " they have no signature, and bring the next NONCE; what"
                + " sign() adds must stand before MESSAGE-INTEGRITY";
        private final NatTraversal.VirtualNet net =
                new NatTraversal.VirtualNet();
        private final NatTraversal.VirtualNet.Host server =
                net.host("192.0.2.1", 3478);
        private final NatTraversal.VirtualNet.Host relay =
                net.host("192.0.2.1", 50_000);
        private final NatTraversal.VirtualNet.Host inside = net.nat(
                "203.0.113.1", NATS.get(8), Duration.ofDays(1))
                .host("10.0.0.2", 5000);
        private final List<String> log = new ArrayList<>();
        private final List<byte[]> requests = new ArrayList<>();
        private final Deque<Integer> forced = new ArrayDeque<>();
        private final Map<InetAddress, Long> permissions = new HashMap<>();
        private List<String> realms = List.of("lab.test");
        private UnaryOperator<byte[]> forged = request -> new byte[0];
        private int lifetime = 600;
        private long end;
        private int nonces;
        private InetSocketAddress client;

        Relay() {
            server.serve(this::onPacket);
            relay.serve(p -> {
                if (isPermitted(p.from())) {
                    server.send(client, Stun.message(0x0017, ID,
                            Stun.attribute(0x12, Stun.xored(p.from(),
                                    Stun.message(0, ID))),
                            Stun.attribute(0x13, p.data())));
                }
            });
        }

        private NatTraversal.TurnClient allocate(String password)
                throws IOException {
            return NatTraversal.TurnClient.allocate(client(inside), SERVER,
                    "lab", password);
        }

        private NatTraversal.TurnClient allocate() {
            return succeeds(() -> allocate("secret"), "allocate()", LIKELY);
        }

        private void permit(NatTraversal.TurnClient turn, String peer) {
            succeeds(() -> {
                turn.permit(InetAddress.ofLiteral(peer));
                return true;
            }, "permit()", LIKELY);
        }

        private void force(Integer... codes) {
            forced.addAll(List.of(codes));
        }

        private List<String> ids() {
            return requests.stream().map(r -> hex(Arrays.copyOfRange(r, 8, 20)))
                    .toList();
        }

        private boolean isPermitted(InetSocketAddress peer) {
            return net.nanoTime() < end && net.nanoTime() < permissions
                    .getOrDefault(peer.getAddress(), 0L);
        }

        private void onPacket(NatTraversal.Packet packet)
                throws IOException {
            var data = packet.data();
            var peer = Stun.find(data, 0x12).map(v -> Stun.shown(v, data));
            if (Stun.u16(data, 0) == 0x0016) {
                if (isPermitted(peer.orElseThrow())) {
                    relay.send(peer.get(), Stun.find(data, 0x13).orElseThrow());
                }
                return;
            }
            client = packet.from();
            requests.add(data);
            if (requests.size() > 99) {
                throw History.fail("expected an end, got 99 requests, the last"
                        + " ones answered with " + log.subList(95, 98),
                        "a 401 with the same REALM is an error, and so is the"
                        + " fourth further challenge in a row");
            }
            if (forged.apply(data).length > 0) {
                server.send(client, forged.apply(data));
            }
            int method = Stun.u16(data, 0);
            var realm = realms.get(requests.size() % realms.size());
            var key = md5("lab:" + realm + ":secret");
            int code = !forced.isEmpty() ? forced.remove()
                    : !Stun.isSigned(data, key) || Stun.position(data, 0x15)
                    > Stun.position(data, 8) ? 401
                    : !Stun.shown(data, 0x15).equals("nonce" + nonces) ? 438
                    : 200;
            log.add(Map.of(3, "Allocate", 4, "Refresh", 8, "Permission")
                    .getOrDefault(method, "" + method) + " " + code);
            History.note(log.getLast() + ", NONCE was " + Stun.shown(data,
                    0x15));
            if (code != 200) {
                nonces++;
                var error = Stun.answer(method | 0x0110, data,
                        Stun.attribute(9, new byte[] {0, 0, (byte) (code / 100),
                            (byte) (code % 100)}),
                        Stun.attribute(0x14, text(realm)),
                        Stun.attribute(0x15, text("nonce" + nonces)));
                server.send(client, code == 401 || code == 438 ? error
                        : Stun.signed(error, key));
                return;
            }
            if (method != 8) {
                end = net.nanoTime() + lifetime * 1_000_000_000L;
            }
            peer.ifPresent(p -> permissions.put(p.getAddress(),
                    net.nanoTime() + 300_000_000_000L));
            server.send(client, Stun.signed(Stun.answer(method | 0x0100, data,
                    Stun.attribute(0x0d, Stun.u32(lifetime)),
                    Stun.attribute(0x16, Stun.xored(relay.localAddress(),
                            data))), key));
        }
    }

    /** Two peers that punch through two NATs. */
    private static final class Pair {
        private final NatTraversal.VirtualNet net =
                new NatTraversal.VirtualNet();
        private final NatTraversal.VirtualNet.Host alice;
        private final NatTraversal.VirtualNet.Host bob;
        private final List<InetSocketAddress> results = new ArrayList<>();
        private int lose;
        private int bobStarts;

        Pair(NatTraversal.NatBehavior a, NatTraversal.NatBehavior b) {
            alice = net.nat("203.0.113.1", a, Duration.ofMinutes(2))
                    .host("10.0.0.2", 5000);
            bob = net.nat("203.0.113.2", b, Duration.ofMinutes(2))
                    .host("10.0.0.2", 5000);
        }

        private boolean meet(String alicesSecret, String bobsSecret)
                throws IOException {
            var told = tell(net, alice, bob);
            var alices = new NatTraversal.Punch(new NatTraversal.Peer(
                    new Wrapped(alice, lose, 0, new ArrayList<>()),
                    alicesSecret, true), List.of(told.get(1)));
            var bobs = new NatTraversal.Punch(new NatTraversal.Peer(
                    new Wrapped(bob, lose, 0, new ArrayList<>()), bobsSecret,
                    false), List.of(told.get(0)));
            for (int i = 0; i < bobStarts / 10; i++) {
                alices.advance(Duration.ZERO);
                net.pass(Duration.ofMillis(10));
            }
            boolean met = net.meet(alices, bobs, Duration.ofSeconds(1));
            if (met) {
                results.add(alices.advance(Duration.ZERO).orElseThrow());
                results.add(bobs.advance(Duration.ZERO).orElseThrow());
            }
            return met;
        }
    }

    /** The addresses that a server sees, and which each tells the other. */
    private static List<InetSocketAddress> tell(NatTraversal.VirtualNet net,
            NatTraversal.VirtualNet.Host... hosts) throws IOException {
        var seen = new ArrayList<InetSocketAddress>();
        net.host("192.0.2.1", 3478).serve(p -> seen.add(p.from()));
        for (var host : hosts) {
            host.send(SERVER, text("where am I?"));
        }
        net.pass(Duration.ofMillis(20));
        return seen;
    }

    private static final Map<List<?>, Boolean> CONNECTS =
            new ConcurrentHashMap<>();

    /**
     * Whether two peers meet that send plain text. A ping says where it was
     * sent, and a pong repeats it; it counts if it comes from there.
     */
    private static boolean connects(NatTraversal.NatBehavior a,
            NatTraversal.NatBehavior b) throws IOException {
        var known = CONNECTS.get(List.of(a, b));
        if (known != null) {
            return known;
        }
        var pair = new Pair(a, b);
        var told = tell(pair.net, pair.alice, pair.bob);
        var targets = List.of(new LinkedHashSet<>(List.of(told.get(1))),
                new LinkedHashSet<>(List.of(told.get(0))));
        var hosts = List.of(pair.alice, pair.bob);
        boolean met = false;
        for (int round = 0; round < 12; round++) {
            for (int side = 0; side < 2; side++) {
                for (var target : targets.get(side)) {
                    hosts.get(side).send(target, text("ping" + target));
                }
            }
            for (int half = 0; half < 2; half++) {
                pair.net.pass(Duration.ofMillis(20));
                for (int side = 0; side < 2; side++) {
                    var host = hosts.get(side);
                    for (var packet = host.receive(Duration.ZERO);
                            packet.isPresent();
                            packet = host.receive(Duration.ZERO)) {
                        var from = packet.get().from();
                        var text = new String(packet.get().data());
                        if (text.startsWith("ping")) {
                            targets.get(side).add(from);
                            host.send(from, text(text.replace("ping", "pong")));
                        }
                        met |= text.equals("pong" + from);
                    }
                }
            }
        }
        CONNECTS.put(List.of(a, b), met);
        return met;
    }

    /** Loses the first packets, or can send none; notes when it is closed. */
    private static class Wrapped implements NatTraversal.Datagrams {
        private final NatTraversal.Datagrams socket;
        private final int number;
        private final List<Integer> closed;
        private int lose;

        Wrapped(NatTraversal.Datagrams socket, int lose, int number,
                List<Integer> closed) {
            this.socket = socket;
            this.lose = lose;
            this.number = number;
            this.closed = closed;
        }

        @Override
        public InetSocketAddress localAddress() throws IOException {
            return socket.localAddress();
        }

        @Override
        public void send(InetSocketAddress to, byte[] data)
                throws IOException {
            if (lose == -1) {
                throw new SocketException("Network is unreachable");
            }
            if (lose == 0) {
                socket.send(to, data);
            } else {
                lose--;
            }
        }

        @Override
        public Optional<NatTraversal.Packet> receive(Duration wait)
                throws IOException {
            return socket.receive(wait);
        }

        @Override
        public long nanoTime() {
            return socket.nanoTime();
        }

        @Override
        public void close() throws IOException {
            closed.add(number);
            socket.close();
        }
    }

    /** A socket whose peers follow a script, and whose time they move. */
    private static final class Script implements NatTraversal.Datagrams {

        private record Sent(int number, long millis, InetSocketAddress to,
                byte[] data) {}

        private record Arrival(long at, int number,
                NatTraversal.Packet packet) {}

        private final List<Sent> sent = new ArrayList<>();
        private final Queue<Arrival> arrivals = new PriorityQueue<>(
                Comparator.comparingLong(Arrival::at)
                        .thenComparingInt(Arrival::number));
        private Function<Sent, List<Arrival>> answers;
        private long now = 7_000_000_000L;   // no clock begins at 0
        private int count;
        private int calls;

        /** The server's answers come after 10 ms. */
        Script(Function<byte[], List<byte[]>> server) {
            answers = s -> server.apply(s.data).stream()
                    .map(data -> arrival(10, s.to, data)).toList();
        }

        private Arrival arrival(long millis, InetSocketAddress from,
                byte[] data) {
            return new Arrival(now + millis * 1_000_000, count++,
                    new NatTraversal.Packet(from, data));
        }

        private long millis() {
            return (now - 7_000_000_000L) / 1_000_000;
        }

        private String times() {
            return sent.stream().map(s -> "" + s.millis)
                    .collect(Collectors.joining(" "));
        }

        @Override
        public InetSocketAddress localAddress() {
            return at("10.0.0.2", 5000);
        }

        @Override
        public void send(InetSocketAddress to, byte[] data) {
            end();
            sent.add(new Sent(sent.size(), millis(), to, data.clone()));
            arrivals.addAll(answers.apply(sent.getLast()));
        }

        @Override
        public Optional<NatTraversal.Packet> receive(Duration wait) {
            end();
            var next = arrivals.peek();
            if (next != null && next.at <= now + wait.toNanos()) {
                now = Math.max(now, next.at);
                return Optional.of(arrivals.remove().packet);
            }
            now += wait.toNanos();
            return Optional.empty();
        }

        private void end() {
            if (calls++ > 100_000) {
                throw History.fail("expected an end; got 100,000 calls of"
                        + " send() and receive() until " + millis() + " ms",
                        "wait for what is left until the deadline");
            }
        }

        @Override
        public long nanoTime() {
            return now;
        }

        @Override
        public void close() {}
    }

    /** STUN as bytes, without the lab. */
    private static final class Stun {

        /** Bit by bit: M11 to M7, C1, M6 to M4, C0, M3 to M0. */
        static int type(int messageClass, int method) {
            int type = 0;
            int next = 0;
            for (int bit = 0; bit < 14; bit++) {
                boolean isSet = bit == 4 ? (messageClass & 1) != 0
                        : bit == 8 ? (messageClass & 2) != 0
                        : (method >> next++ & 1) != 0;
                type |= isSet ? 1 << bit : 0;
            }
            return type;
        }

        static byte[] message(int type, String id, byte[]... attributes) {
            var body = cat(attributes);
            return cat(new byte[] {(byte) (type >> 8), (byte) type,
                (byte) (body.length >> 8), (byte) body.length},
                    hex("2112a442" + id), body);
        }

        static byte[] attribute(int type, byte[] value) {
            return cat(new byte[] {(byte) (type >> 8), (byte) type,
                (byte) (value.length >> 8), (byte) value.length}, value,
                    new byte[(4 - value.length % 4) % 4]);
        }

        static byte[] append(byte[] message, int type, byte[] value) {
            return message(u16(message, 0), hex(Arrays.copyOfRange(message, 8,
                    20)), Arrays.copyOfRange(message, 20, message.length),
                    attribute(type, value));
        }

        static byte[] answer(int type, byte[] request, byte[]... attributes) {
            return message(type, hex(Arrays.copyOfRange(request, 8, 20)),
                    attributes);
        }

        static byte[] success(byte[] request, InetSocketAddress from) {
            return answer(SUCCESS, request, attribute(MAPPED, xored(from,
                    request)));
        }

        static byte[] xored(InetSocketAddress address, byte[] message) {
            var ip = address.getAddress().getAddress();
            var value = cat(new byte[] {0, (byte) (ip.length == 4 ? 1 : 2),
                (byte) (address.getPort() >> 8 ^ 0x21),
                (byte) (address.getPort() ^ 0x12)}, ip);
            for (int i = 4; i < value.length; i++) {
                value[i] ^= message[i];   // cookie and id stand there
            }
            return value;
        }

        /** The address that is hidden in the value. */
        static InetSocketAddress shown(byte[] value, byte[] message) {
            var ip = Arrays.copyOfRange(value, 4, 8);
            for (int i = 0; i < 4; i++) {
                ip[i] ^= message[i + 4];
            }
            try {
                return new InetSocketAddress(InetAddress.getByAddress(ip),
                        u16(value, 2) ^ 0x2112);
            } catch (UnknownHostException e) {
                throw new AssertionError(e);
            }
        }

        static String shown(byte[] message, int... types) {
            return IntStream.of(types).mapToObj(type -> find(message, type)
                    .map(String::new).orElse("nothing"))
                    .collect(Collectors.joining(" "));
        }

        static byte[] signed(byte[] message, byte[] key) {
            return append(message, 8, hmac(message, message.length, key));
        }

        static byte[] fingerprinted(byte[] message) {
            var crc = new CRC32();
            crc.update(adjusted(message, message.length, 8));
            return append(message, 0x8028, u32(
                    (int) crc.getValue() ^ 0x5354554e));
        }

        static boolean isSigned(byte[] message, byte[] key) {
            int at = position(message, 8);
            return at > 0 && Arrays.equals(find(message, 8).get(),
                    hmac(message, at, key));
        }

        static boolean hasFingerprint(byte[] message) {
            return message.length >= 28 && Arrays.equals(message, fingerprinted(
                    adjusted(message, message.length - 8, 0)));
        }

        static Optional<byte[]> find(byte[] message, int type) {
            int at = position(message, type);
            return at < 0 ? Optional.empty() : Optional.of(Arrays.copyOfRange(
                    message, at + 4, at + 4 + u16(message, at + 2)));
        }

        private static int position(byte[] message, int type) {
            for (int at = 20; at < message.length;
                    at += 4 + (u16(message, at + 2) + 3 & ~3)) {
                if (u16(message, at) == type) {
                    return at;
                }
            }
            return -1;
        }

        private static byte[] hmac(byte[] message, int end, byte[] key) {
            try {
                var mac = javax.crypto.Mac.getInstance("HmacSHA1");
                mac.init(new javax.crypto.spec.SecretKeySpec(key, "RAW"));
                return mac.doFinal(adjusted(message, end, 24));
            } catch (GeneralSecurityException e) {
                throw new AssertionError(e);
            }
        }

        private static byte[] adjusted(byte[] message, int end, int more) {
            var start = Arrays.copyOf(message, end);
            start[2] = (byte) (end - 20 + more >> 8);
            start[3] = (byte) (end - 20 + more);
            return start;
        }

        static byte[] u32(int value) {
            return ByteBuffer.allocate(4).putInt(value).array();
        }

        static int u16(byte[] bytes, int at) {
            return (bytes[at] & 0xff) << 8 | bytes[at + 1] & 0xff;
        }
    }

    private static NatTraversal.StunClient client(
            NatTraversal.Datagrams socket) {
        return new NatTraversal.StunClient(socket, STANDARD);
    }

    private static NatTraversal.Message decode(byte[] bytes) {
        return succeeds(() -> NatTraversal.Message.decode(bytes),
                "decode() of the message " + hex(Arrays.copyOf(bytes,
                        Math.min(bytes.length, 150))), "only a wrong header,"
                + " or an attribute that leads out of the message, is refused;"
                + " the next attribute begins at a multiple of 4");
    }

    /** Tells an exception in words. */
    private static <T> T succeeds(Callable<T> call, String what,
            String likely) {
        try {
            return call.call();
        } catch (UnsupportedOperationException todo) {
            throw todo;
        } catch (Exception e) {
            throw History.fail("expected a result of " + what + ", got " + e,
                    likely);
        }
    }

    private static void refused(byte[] bytes, String what, String likely) {
        Check.fails(NatTraversal.StunException.class,
                () -> NatTraversal.Message.decode(bytes),
                "decode() of " + what, likely);
    }

    private static void same(byte[] expected, byte[] got, String what,
            String likely) {
        if (!Arrays.equals(expected, got)) {
            throw History.fail("expected " + what + " = "
                    + Bytes.shown(expected) + "\ngot "
                    + Bytes.diff(expected, got), likely);
        }
    }

    private static String string(Optional<byte[]> value) {
        return value.map(String::new).orElse("nothing");
    }

    private static byte[] changed(byte[] bytes, int at, int value) {
        var copy = bytes.clone();
        copy[at] = (byte) value;
        return copy;
    }

    private static byte[] cat(byte[]... parts) {
        var all = new ByteArrayOutputStream();
        for (var part : parts) {
            all.writeBytes(part);
        }
        return all.toByteArray();
    }

    private static byte[] md5(String text) {
        try {
            return MessageDigest.getInstance("MD5").digest(text(text));
        } catch (GeneralSecurityException e) {
            throw new AssertionError(e);
        }
    }

    private static byte[] text(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] hex(String text) {
        return HexFormat.of().parseHex(text);
    }

    private static String hex(byte[] bytes) {
        return HexFormat.of().formatHex(bytes);
    }

    private static InetSocketAddress at(String ip, int port) {
        return new InetSocketAddress(InetAddress.ofLiteral(ip), port);
    }
}
