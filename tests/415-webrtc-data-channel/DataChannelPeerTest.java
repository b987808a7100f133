///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//SOURCES ../../labs/415-webrtc-data-channel/DataChannelPeer.java
//SOURCES ../kit/*.java

import static kit.TestLifecycle.closeLater;

import module java.base;

import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.charset.StandardCharsets;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import kit.Await;
import kit.Check;
import kit.FakeClock;
import kit.Lab;
import kit.Step;
import org.junit.jupiter.api.Test;

/**
 * Lab 415, step by step, on texts, bytes and a clock of the tests' own. The
 * bytes are written and read here, not by the lab's own codecs. A comment
 * {@code rejects:} names the wrong solutions that a test is there for.
 */
@Lab
class DataChannelPeerTest {

    private static final InetAddress HERE = InetAddress.getLoopbackAddress();
    private static final byte[] PRINT = new byte[32];

    static {
        for (int i = 0; i < PRINT.length; i++) {
            PRINT[i] = (byte) (0xA0 + i);
        }
    }

    @Step(value = 1, title = "Relay signaling messages")
    class Relay_signaling_messages {

        @Test
        void an_offer_reaches_its_addressee_under_the_senders_name() {
            // rejects: TO left in place; a copy for the sender or for all
            var room = new House();
            room.join("anna", "bert", "carl");
            room.say("anna", "offer\nbert\nv=0");
            room.heard("bert", List.of("offer\nanna\nv=0"), "put the sender's"
                    + " own name from its seat where TO was");
            room.heard("anna", List.of(), "only the addressee gets it");
            room.heard("carl", List.of(), "only the addressee gets it");
        }

        @Test
        void offer_answer_candidate_and_bye_are_relayed_unchanged() {
            // rejects: split("\n"), which cuts an SDP at its first line end
            var room = new House();
            room.join("anna", "bert");
            for (var kind : List.of("offer", "answer", "candidate", "bye")) {
                var text = "v=0\r\na=x\n\n" + kind + "\n";
                room.say("bert", kind + "\nanna\n" + text);
                room.heard("anna", List.of(kind + "\nbert\n" + text), "the"
                        + " third part is all the rest, line ends included:"
                        + " split(\"\\n\", 3)");
            }
            room.say("bert", "bye\nanna\n");
            room.heard("anna", List.of("bye\nbert\n"), "the third part may be"
                    + " empty, but it is a part: split(\"\\n\", 3)");
        }

        @Test
        void a_text_never_leaves_its_room() {
            // rejects: one map of names for all rooms
            var house = new House();
            house.join("anna", "bert");
            house.enter("other", "red", "bert");
            house.enter("third", "red", "dora");
            house.clear();
            house.say("anna", "offer\nbert\nv=0");
            house.heard("bert", List.of("offer\nanna\nv=0"),
                    "look TO up in the room of the sender");
            house.heard("other", List.of(),
                    "look TO up in the room of the sender");
            house.say("anna", "offer\ndora\nv=0");
            house.heard("third", List.of(),
                    "look TO up in the room of the sender");
            house.error("anna", "no-such-peer",
                    "a TO that is not in the sender's room is an error");
        }

        @Test
        void a_join_tells_every_member_who_is_there() {
            var house = new House();
            house.enter("anna", "blue", "anna");
            house.heard("anna", List.of("joined\nanna"),
                    "call join(from, ROOM, NAME)");
            house.enter("bert", "blue", "bert");
            house.heard("anna", List.of("joined\nanna,bert"),
                    "call join(from, ROOM, NAME)");
            house.heard("bert", List.of("joined\nanna,bert"),
                    "call join(from, ROOM, NAME)");
        }

        @Test
        void a_member_joins_once_and_before_it_sends() {
            // rejects: a second seat under another name; NullPointerException
            var house = new House();
            house.say("anna", "offer\nbert\nv=0");
            house.error("anna", "not-joined",
                    "a member without a seat may only join");
            house.join("anna", "bert");
            house.say("anna", "join\nred\neve");
            house.error("anna", "joined", "a member that has a seat gets an"
                    + " error, and keeps its seat");
            house.say("anna", "offer\nbert\nv=0");
            house.heard("bert", List.of("offer\nanna\nv=0"),
                    "a refused join changes nothing");
            Check.equal(1, house.rooms.count(), "the number of rooms after a"
                    + " refused join", "a refused join changes nothing");
        }

        @Test
        void a_malformed_text_is_answered_with_an_error() {
            // rejects: ArrayIndexOutOfBoundsException; any KIND is relayed
            var house = new House();
            house.join("anna", "bert");
            for (var text : List.of("", "offer", "offer\nbert", "join\nblue",
                    "error\nbert\nx", "joined\nbert\nx", "peer-left\nbert\nx",
                    "OFFER\nbert\nx", "\nbert\nx")) {
                house.say("anna", text);
                house.error("anna", "malformed", "the text was \""
                        + text.replace("\n", "\\n") + "\": three parts, and"
                        + " KIND is one of RELAYED");
                house.heard("bert", List.of(), "the text was \""
                        + text.replace("\n", "\\n") + "\": relay only the"
                        + " kinds in RELAYED");
            }
        }

        @Test
        void the_others_hear_that_a_member_left_and_its_name_is_free() {
            // rejects: peer-left for all rooms, or for the one that left
            var house = new House();
            house.join("anna", "bert");
            house.enter("carl", "red", "carl");
            house.clear();
            house.rooms.leave(house.of("bert"));
            house.heard("anna", List.of("peer-left\nbert"),
                    "tell the members that remain");
            house.heard("bert", List.of(), "it has left: remove it first");
            house.heard("carl", List.of(), "it was in another room");
            house.rooms.leave(house.of("bert"));
            house.rooms.leave(house.of("nobody"));
            house.heard("anna", List.of(), "a member without a seat leaves"
                    + " nothing: seats.remove() gives null");
            house.say("anna", "offer\nbert\nx");
            house.error("anna", "no-such-peer", "remove its name as well");
            house.enter("new", "blue", "bert");
            house.heard("new", List.of("joined\nanna,bert"),
                    "remove the name of the one that left from its room");
        }

        @Test
        void an_empty_room_is_removed() {
            var house = new House();
            house.join("anna", "bert");
            house.enter("carl", "red", "carl");
            Check.equal(2, house.rooms.count(), "count() of two rooms",
                    "rooms are made by join()");
            house.rooms.leave(house.of("carl"));
            Check.equal(1, house.rooms.count(), "count() after the only member"
                    + " of a room has left", "remove a room without members");
            house.rooms.leave(house.of("anna"));
            Check.equal(1, house.rooms.count(), "count() while a member"
                    + " remains", "remove a room only when it is empty");
            house.rooms.leave(house.of("bert"));
            Check.equal(0, house.rooms.count(), "count() at the end",
                    "remove a room without members");
        }

        @Test
        void the_JDKs_WebSockets_meet_in_a_room() throws Exception {
            var server = closeLater(DataChannelPeer.SignalingServer.start(
                    new InetSocketAddress(HERE, 0)));
            // On this thread first, so that a TODO is told as one.
            server.rooms().receive(_ -> {}, "");
            var noTls = SSLContext.getInstance("TLS");   // or it reads cacerts
            noTls.init(null, new TrustManager[0], null);
            var client = closeLater(HttpClient.newBuilder().sslContext(noTls)
                    .build());
            var anna = new Browser(client, server, "anna");
            anna.hears("joined\nanna");
            var bert = new Browser(client, server, "bert");
            anna.hears("joined\nanna,bert");
            bert.hears("joined\nanna,bert");
            bert.socket.sendText("offer\nanna\n" + "x".repeat(30_000), true);
            anna.hears("offer\nbert\n" + "x".repeat(30_000));
            bert.socket.abort();
            anna.hears("peer-left\nbert");
            anna.socket.sendText("offer\nanna\n" + "x".repeat(70_000), true);
            Check.equal(1009, Await.value(anna.closed, "the Close frame after"
                    + " a text of 70,000 characters", "given"),
                    "the status of that Close frame", "given");
            anna.socket.abort();
        }
    }

    @Step(value = 2, title = "Answer an offer")
    class Answer_an_offer {

        private static final String CHROMIUM = """
                v=0
                o=- 4611 2 IN IP4 127.0.0.1
                s=-
                t=0 0
                a=group:BUNDLE 0
                a=extmap-allow-mixed
                a=msid-semantic: WMS
                m=application 9 UDP/DTLS/SCTP webrtc-datachannel
                c=IN IP4 0.0.0.0
                a=candidate:1 1 udp 2113937151 ab.local 51234 typ host
                a=ice-ufrag:wXyZ
                a=ice-pwd:0123456789abcdefghijklmn
                a=ice-options:trickle
                a=fingerprint:sha-256 %s
                a=setup:actpass
                a=mid:0
                a=sctp-port:5001
                a=max-message-size:262144
                """.formatted(hex(PRINT));
        private static final String FIREFOX = """
                v=0
                o=mozilla...THIS_IS_SDPARTA-99.0 1 0 IN IP4 0.0.0.0
                s=-
                t=0 0
                a=sendrecv
                a=fingerprint:sha-256 %s
                a=group:BUNDLE data
                a=ice-options:trickle
                a=ice-ufrag:5e55
                a=ice-pwd:0123456789abcdefghijklmn
                a=setup:actpass
                m=application 9 UDP/DTLS/SCTP webrtc-datachannel
                c=IN IP4 0.0.0.0
                a=sendrecv
                a=mid:data
                a=sctp-port:5000
                a=max-message-size:1073741823
                """.formatted(hex(PRINT));

        @Test
        void an_offer_of_Chromium_is_read() throws IOException {
            read(CHROMIUM, "0", "wXyZ", 5001, 262_144, "Chromium's offer");
            read(CHROMIUM.replace("\n", "\r\n"), "0", "wXyZ", 5001, 262_144,
                    "Chromium's offer, its lines ended by CR LF");
            read(CHROMIUM.replace("actpass", "active"), "0", "wXyZ", 5001,
                    262_144, "an offer with setup:active");
        }

        @Test
        void values_of_the_session_hold_as_in_an_offer_of_Firefox()
                throws IOException {
            // rejects: the media section alone
            read(FIREFOX, "data", "5e55", 5000, 1_073_741_823,
                    "Firefox's offer");
        }

        @Test
        void values_of_the_section_override_those_of_the_session()
                throws IOException {
            // rejects: the first line of a name, wherever it is
            read(FIREFOX.replace("a=mid:data", "a=mid:data\na=ice-ufrag:own1"),
                    "data", "own1", 5000, 1_073_741_823,
                    "an offer with two a=ice-ufrag");
            read(FIREFOX.replace(hex(PRINT), hex(new byte[32]))
                    .replace("a=mid:data", "a=mid:data\na=fingerprint:sha-256 "
                            + hex(PRINT)), "data", "5e55", 5000, 1_073_741_823,
                    "an offer with two fingerprints");
        }

        @Test
        void the_order_of_the_lines_does_not_matter() throws IOException {
            // rejects: a reader that expects line after line
            var lines = new ArrayList<>(CHROMIUM.lines().toList());
            for (int i = 0; i < 10; i++) {
                Collections.rotate(lines.subList(8, lines.size()), 1);
                read(String.join("\n", lines), "0", "wXyZ", 5001, 262_144,
                        "Chromium's offer, its a= lines rotated");
            }
        }

        @Test
        void a_missing_max_message_size_is_65536_and_0_is_any_size()
                throws IOException {
            // rejects: 262144, or an exception, for a missing line
            read(CHROMIUM.replace("a=max-message-size:262144\n", ""), "0",
                    "wXyZ", 5001, 65_536, "an offer without max-message-size");
            read(CHROMIUM.replace("size:262144", "size:0"), "0", "wXyZ", 5001,
                    0, "an offer with max-message-size:0");
            read(CHROMIUM.replace("size:262144", "size:" + (1L << 40)), "0",
                    "wXyZ", 5001, 1L << 40, "an offer of 1 TiB");
            refused(CHROMIUM.replace("a=sctp-port:5001\n", ""), "sctp-port");
            refused(CHROMIUM.replace("port:5001", "port:0"), "sctp-port");
            refused(CHROMIUM.replace("port:5001", "port:65536"), "sctp-port");
            refused(CHROMIUM.replace("size:262144", "size:-1"),
                    "max-message-size");
        }

        @Test
        void the_sha_256_fingerprint_is_taken_from_several()
                throws IOException {
            // rejects: the first fingerprint; upper-case letters alone
            var line = "a=fingerprint:sha-256 " + hex(PRINT);
            read(CHROMIUM.replace(line, "a=fingerprint:sha-1 " + hex(
                    new byte[20]) + "\n" + line + "\na=fingerprint:sha-512 "
                    + hex(new byte[64])), "0", "wXyZ", 5001, 262_144,
                    "an offer with three fingerprints");
            read(CHROMIUM.replace(line, line.replace("sha-256", "SHA-256")
                    .replace(hex(PRINT), hex(PRINT).toLowerCase(Locale.ROOT))),
                    "0", "wXyZ", 5001, 262_144,
                    "a fingerprint SHA-256 in lower-case hex");
            refused(CHROMIUM.replace("sha-256", "sha-384"), "fingerprint");
            refused(CHROMIUM.replace(line + "\n", ""), "fingerprint");
            refused(CHROMIUM.replace(hex(PRINT), hex(new byte[31])),
                    "fingerprint");
            refused(CHROMIUM.replace(hex(PRINT), "none"), "fingerprint");
        }

        @Test
        void an_offer_that_wants_to_be_the_server_is_refused() {
            // rejects: setup is not looked at
            refused(CHROMIUM.replace("actpass", "passive"), "setup");
            refused(CHROMIUM.replace("actpass", "holdconn"), "setup");
            refused(CHROMIUM.replace("a=setup:actpass\n", ""), "setup");
        }

        @Test
        void the_exception_names_the_line_that_is_missing() {
            refused(CHROMIUM.replace("a=ice-ufrag:wXyZ\n", ""), "ice-ufrag");
            refused(CHROMIUM.replace("a=mid:0\n", ""), "mid");
            refused(CHROMIUM.replace("webrtc-datachannel", "x"), "section");
            refused("v=0\n", "m=application");
            refused("", "m=application");
            refused(CHROMIUM + "m=audio 9 UDP/TLS/RTP/SAVPF 111\n", "m=audio");
            refused(CHROMIUM + "a=x".repeat(11_000), "32768");
        }

        @Test
        void the_answer_describes_a_passive_ice_lite_peer()
                throws IOException {
            // rejects: setup:active; the offer's values sent back
            var lines = answer(CHROMIUM, "127.0.0.1");
            int media = lines.indexOf(
                    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel");
            Check.that(media > 0, "the answer to have the data section m="
                    + "application 9 UDP/DTLS/SCTP webrtc-datachannel, got "
                    + lines, "the session's lines come first, then this one");
            Check.that(String.join("\n", lines.subList(0, 4)).matches("v=0\n"
                    + "o=\\S+ \\d+ \\d+ IN IP[46] \\S+\ns=.+\nt=0 0")
                    && lines.stream().anyMatch(line -> line.matches(
                            "c=IN IP[46] \\S+")), "v=0, o=, s= and t=0 0 first,"
                    + " and a line c=, got " + lines, "every SDP has them"
                    + " (RFC 8866, section 5): see the chapter's list");
            has(lines.subList(0, media), "a=ice-lite");
            for (var line : List.of("a=mid:0", "a=setup:passive",
                    "a=ice-ufrag:ours", "a=ice-pwd:abcdefghijklmnopqrstuvwx",
                    "a=fingerprint:sha-256 " + hex(new byte[32]),
                    "a=sctp-port:5000", "a=max-message-size:262144",
                    "a=end-of-candidates")) {
                has(lines.subList(media, lines.size()), line);
            }
            has(answer(FIREFOX, "127.0.0.1"), "a=mid:data");
        }

        @Test
        void the_answer_has_one_host_candidate_with_the_bound_address()
                throws IOException {
            for (var host : List.of("127.0.0.1", "::1")) {
                var shown = InetAddress.getByName(host).getHostAddress();
                var lines = answer(CHROMIUM, host).stream().filter(
                        line -> line.startsWith("a=candidate:")).toList();
                Check.that(lines.size() == 1 && lines.getFirst().matches(
                        "a=candidate:\\w+ 1 (?i:udp) [1-9]\\d{0,9} " + shown
                                + " 4711 typ host") && Long.parseLong(
                                lines.getFirst().split(" ")[3]) < 1L << 31,
                        "one line a=candidate:1 1 udp PRIORITY " + shown
                                + " 4711 typ host, PRIORITY below 2^31, got "
                                + lines,
                        "foundation, component 1, udp, priority, address,"
                                + " port, typ host (RFC 8839, section 5.1)");
            }
        }

        private static List<String> answer(String offer, String host)
                throws IOException {
            var text = DataChannelPeer.Offer.parse(offer).answer(
                    new DataChannelPeer.Local(new InetSocketAddress(host, 4711),
                            "ours", "abcdefghijklmnopqrstuvwx", new byte[32]));
            Check.that(text.endsWith("\r\n") && text.lines().count()
                    == text.split("\r\n").length, "each line of the answer to"
                    + " end with CR LF, got " + text, "SDP's lines end with CR"
                    + " LF, the last one as well (RFC 8866, section 5)");
            return text.lines().toList();
        }

        private static void has(List<String> lines, String line) {
            Check.that(lines.contains(line), "the line " + line + " in its"
                    + " place of the answer, got " + lines, "the answer"
                    + " describes this side, with the offer's mid");
        }

        private static void read(String sdp, String mid, String ufrag,
                int port, long size, String what) {
            var likely = "ask Sdp.section(sdp), which looks into the section"
                    + " first and then into the session; of several"
                    + " fingerprints, it is the sha-256 one; setup may be"
                    + " actpass or active";
            var offer = accepted(sdp, what, likely);
            Check.equal(mid, offer.mid(), "mid of " + what, likely);
            Check.equal(ufrag, offer.ufrag(), "ufrag of " + what, likely);
            Check.sameBytes(PRINT, offer.fingerprint(), "the fingerprint of "
                    + what, "it is the sha-256 one, whatever the case of its"
                    + " letters");
            Check.equal(port, offer.sctpPort(), "sctpPort of " + what, likely);
            Check.equal(size, offer.maxMessageSize(), "maxMessageSize of "
                    + what, "65536 if the line is missing, and 0 means any");
        }

        private static DataChannelPeer.Offer accepted(String sdp, String what,
                String likely) {
            try {
                return DataChannelPeer.Offer.parse(sdp);
            } catch (IOException e) {
                Check.equal("no exception", e.toString(), "parse() of " + what,
                        likely);
                throw new IllegalStateException(e);
            }
        }

        private static void refused(String sdp, String named) {
            var thrown = Check.fails(DataChannelPeer.SdpException.class,
                    () -> DataChannelPeer.Offer.parse(sdp), "an offer with a"
                            + " missing or wrong " + named, "value() throws it"
                            + " for a missing line; setup and fingerprint are"
                            + " yours to check");
            Check.that(thrown.getMessage().contains(named), "a message that"
                    + " names " + named + ", got " + thrown.getMessage(),
                    "say which line is missing or wrong");
        }
    }

    @Step(value = 3, title = "Answer connectivity checks")
    class Answer_connectivity_checks {

        private static final InetSocketAddress FROM =
                new InetSocketAddress("192.0.2.1", 32853);
        private static final String KEY = "abcdefghijklmnopqrstuvwx";
        private static final int USE_CANDIDATE = 0x0025;

        private final FakeClock clock = new FakeClock();
        private final DataChannelPeer.IceLiteAgent agent =
                agent("ours", KEY, "them");

        private DataChannelPeer.IceLiteAgent agent(String ours, String key,
                String theirs) {
            return new DataChannelPeer.IceLiteAgent(new DataChannelPeer.Local(
                    new InetSocketAddress(HERE, 1), ours, key, PRINT), theirs,
                    DataChannelPeer.Options.defaults().withNanoClock(clock)
                            .withConsentTimeout(Duration.ofSeconds(10)));
        }

        @Test
        void a_check_with_user_name_and_integrity_is_answered() {
            var request = request("ours:them", KEY, 0);
            var answer = answered(request, FROM);
            Check.equal(0x0101, answer.getShort(0) & 0xffff, "the type of the"
                    + " answer", "request.success(from, key)");
            Check.sameBytes(Arrays.copyOfRange(request, 4, 20),
                    Arrays.copyOfRange(answer.array(), 4, 20),
                    "the transaction ID", "answer with success() of the"
                            + " request itself");
            Check.equal("192.0.2.1:32853", mapped(answer.array()),
                    "the XOR-MAPPED-ADDRESS", "success(from, key) takes the"
                            + " address that the check came from");
            Check.that(isSigned(answer.array(), KEY), "the answer to be signed"
                    + " with our password", "the key of the answer is our own"
                            + " password, as in the request");
            var v6 = new InetSocketAddress("2001:db8::7", 443);
            Check.equal("2001:db8:0:0:0:0:0:7:443", mapped(answered(
                    request, v6).array()), "the XOR-MAPPED-ADDRESS",
                    "success(from, key)");
        }

        @Test
        void the_sample_request_of_RFC_5769_is_answered() {
            var sample = HexFormat.of().parseHex("000100582112a442b7e7a701bc34"
                    + "d686fa87dfae802200105354554e207465737420636c69656e7400"
                    + "2400046e0001ff80290008932ff9b151263b36000600096576746a"
                    + "3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f2"
                    + "49c1b571a280280004e57a3bcf");
            Check.that(agent("evtj", "VOkJxbRl1RmTxUk/WvJxBt", "h6vY")
                    .receive(sample, FROM).isPresent(), "an answer to the"
                    + " request of RFC 5769, section 2.1", "the user name is"
                    + " OURS:THEIRS, the key is the password as bytes");
        }

        @Test
        void a_check_with_a_wrong_password_or_none_changes_nothing() {
            // rejects: an answer before the integrity was verified
            for (var key : List.of("abcdefghijklmnopqrstuvwy", "", "x")) {
                ignored(request("ours:them", key.isEmpty() ? "\0" : key, 0,
                        USE_CANDIDATE), "a check that is signed with another"
                        + " password", "verify first with isSignedWith(key),"
                        + " and only then note anything");
            }
            ignored(message(1, attribute(6, "ours:them".getBytes())), "a check"
                    + " without MESSAGE-INTEGRITY", "isSignedWith() is false"
                    + " then");
            Check.equal(4, agent.rejected(), "rejected() after four such"
                    + " checks", "count a Binding request that fails");
        }

        @Test
        void a_check_with_a_wrong_user_name_changes_nothing() {
            // rejects: THEIRS:OURS; startsWith(OURS)
            for (var name : List.of("them:ours", "ours", "ours:", ":them",
                    "ours:them2", "ours:the", "Ours:them", "")) {
                ignored(request(name, KEY, 0, USE_CANDIDATE), "a check with"
                        + " the user name \"" + name + "\"", "the user name"
                        + " must equal OURS:THEIRS");
            }
            ignored(signed(message(1, new byte[0]), KEY), "a check without"
                    + " user name", "text() is empty then");
            Check.equal(9, agent.rejected(), "rejected() after nine such"
                    + " checks", "count a Binding request that fails");
        }

        @Test
        void any_bit_of_a_check_counts() {
            var request = request("ours:them", KEY, 0, USE_CANDIDATE);
            for (int bit = 0; bit < request.length * 8; bit++) {
                var wrong = request.clone();
                wrong[bit / 8] ^= (byte) (1 << bit % 8);
                ignored(wrong, "a check with bit " + bit + " flipped",
                        "isSignedWith(key)");
            }
        }

        @Test
        void other_packets_are_not_answered() {
            // rejects: an answer to responses and indications
            for (int type : new int[] {0x0011, 0x0101, 0x0111, 0x0003}) {
                ignored(signed(message(type, attribute(6, "ours:them"
                        .getBytes())), KEY), "a message of type 0x"
                        + Integer.toHexString(type), "only a Binding request,"
                        + " type 1, is a check");
            }
            for (var text : List.of("", "x", "hello, hello, hello, hello!")) {
                ignored(text.getBytes(), "the bytes of \"" + text + "\"",
                        "decode() is empty then");
            }
            Check.equal(0, agent.rejected(), "rejected() after packets that"
                    + " are no Binding requests", "count Binding requests");
        }

        @Test
        void USE_CANDIDATE_nominates_the_address_of_the_check() {
            // rejects: each check nominates; the first nomination for ever
            var other = new InetSocketAddress("192.0.2.2", 7);
            answered(request("ours:them", KEY, 0), FROM);
            Check.equal(Optional.empty(), agent.nominated(), "nominated()"
                    + " after a check without USE-CANDIDATE",
                    "only a check with USE-CANDIDATE nominates");
            Check.that(agent.isChecked(FROM) && !agent.isChecked(other),
                    "isChecked() of the address that has sent a check alone",
                    "add the address of an accepted check");
            answered(request("ours:them", KEY, 0, USE_CANDIDATE), other);
            Check.equal(Optional.of(other), agent.nominated(), "nominated()",
                    "the address where the check came from");
            answered(request("ours:them", KEY, 0), FROM);
            Check.equal(Optional.of(other), agent.nominated(), "nominated()"
                    + " after a plain check from another address",
                    "only a check with USE-CANDIDATE nominates");
            answered(request("ours:them", KEY, 0, USE_CANDIDATE), FROM);
            Check.equal(Optional.of(FROM), agent.nominated(), "nominated()"
                    + " after a later nomination", "the last one counts: the"
                    + " address behind a NAT may change");
        }

        @Test
        void attributes_behind_the_integrity_are_ignored() {
            // rejects: a reader of attributes of one's own
            var request = request("ours:them", KEY, 4);
            ByteBuffer.wrap(request).putShort(2, (short) (request.length - 20))
                    .putInt(request.length - 4, USE_CANDIDATE << 16);
            answered(request, FROM);
            Check.equal(Optional.empty(), agent.nominated(), "nominated()"
                    + " after USE-CANDIDATE behind the integrity",
                    "has() knows only what is signed");
        }

        @Test
        void an_unknown_required_attribute_is_answered_with_420() {
            // rejects: success, or silence; a nomination by such a check
            var from = new InetSocketAddress("192.0.2.9", 9);
            for (int type : new int[] {0x0003, 0x7fff}) {
                var what = "a check with the attribute 0x"
                        + Integer.toHexString(type);
                var likely = "return error420(key) if unknown() has elements,"
                        + " after the integrity and before anything is noted";
                var answer = agent.receive(request("ours:them", KEY, 0,
                        USE_CANDIDATE, type), from).orElse(new byte[20]);
                Check.equal("0111 0009000400000414 000a0002"
                        + HexFormat.of().toHexDigits((short) type) + "0000",
                        HexFormat.of().formatHex(answer).replaceFirst(
                                "(....).{36}(.{0,16})(.{0,16}).*", "$1 $2 $3"),
                        "type, ERROR-CODE and UNKNOWN-ATTRIBUTES of the answer"
                                + " to " + what, likely);
                Check.that(isSigned(answer, KEY), "the answer to " + what
                        + " to be signed with our password", likely);
                Check.that(!agent.isChecked(from)
                        && agent.nominated().isEmpty(), "nothing to be noted"
                        + " of " + what, likely);
                ignored(request("ours:them", "guess", 0, type), what + " and"
                        + " another password", "verify it first");
            }
            Check.equal(0x0101, answered(request("ours:them", KEY, 0, 0x8000,
                    0xC057), from).getShort(0) & 0xffff, "the type of the"
                    + " answer to a check with the attributes 0x8000 and"
                    + " 0xC057", "those from 0x8000 on may be ignored");
        }

        @Test
        void consent_expires_without_an_accepted_check() {
            // rejects: any datagram counts; wall-clock time; >= 0
            expired(false, 0, "a new agent");
            expired(false, 10_000, "10 s after it was made");
            expired(true, 1, "10.001 s after it was made");
            answered(request("ours:them", KEY, 0), FROM);
            expired(false, 0, "after a check");
            expired(false, 6_000, "6 s after a check");
            answered(request("ours:them", KEY, 0), FROM);
            expired(false, 6_000, "6 s after the second check");
            agent.receive(request("ours:them", "wrong", 0), FROM);
            agent.receive(request("wrong:them", KEY, 0), FROM);
            agent.receive(request("ours:them", KEY, 0, 0x7fff), FROM);
            agent.receive(new byte[] {1}, FROM);
            expired(true, 4_001, "10.001 s after the last accepted check");
        }

        private void expired(boolean is, int millis, String when) {
            clock.advance(Duration.ofMillis(millis));
            Check.equal(is, agent.expired(), "expired() " + when + " with a"
                    + " consentTimeout of 10 s", "note nanoClock's time of the"
                    + " last accepted check, and only of accepted ones");
        }

        private ByteBuffer answered(byte[] request, InetSocketAddress from) {
            var answer = agent.receive(request, from);
            Check.that(answer.isPresent(), "an answer to a check with the"
                    + " right user name and password", "the user name is"
                    + " OURS:THEIRS, the key our own password");
            return ByteBuffer.wrap(answer.get());
        }

        private void ignored(byte[] packet, String what, String likely) {
            var from = new InetSocketAddress("192.0.2.9", 9);
            Check.that(agent.receive(packet, from).isEmpty(),
                    "no answer to " + what, likely);
            Check.that(!agent.isChecked(from) && agent.nominated().isEmpty(),
                    "nothing to be noted of " + what, likely);
        }

        /** Signed, with room for so many bytes behind the integrity. */
        private static byte[] request(String name, String key, int room,
                int... flags) {
            var all = new ByteArrayOutputStream();
            all.writeBytes(attribute(6, name.getBytes()));
            all.writeBytes(attribute(0x24, new byte[] {1, 2, 3, 4}));
            for (int flag : flags) {
                all.writeBytes(attribute(flag, new byte[0]));
            }
            var request = signed(message(1, all.toByteArray()), key);
            return Arrays.copyOf(request, request.length + room);
        }

        private static byte[] attribute(int type, byte[] value) {
            return ByteBuffer.allocate(4 + (value.length + 3) / 4 * 4)
                    .putShort((short) type).putShort((short) value.length)
                    .put(value).array();
        }

        private static byte[] message(int type, byte[] attributes) {
            return ByteBuffer.allocate(20 + attributes.length)
                    .putShort((short) type).putShort((short) attributes.length)
                    .putInt(0x2112A442).put("transaction!".getBytes())
                    .put(attributes).array();
        }

        private static byte[] signed(byte[] message, String key) {
            var out = ByteBuffer.allocate(message.length + 24).put(message)
                    .putShort(2, (short) (message.length + 4))
                    .putInt(0x00080014);
            return out.put(hmac(Arrays.copyOf(out.array(), message.length),
                    key)).array();
        }

        private static byte[] hmac(byte[] bytes, String key) {
            try {
                var mac = Mac.getInstance("HmacSHA1");
                mac.init(new SecretKeySpec(key.getBytes(), "HmacSHA1"));
                return mac.doFinal(bytes);
            } catch (GeneralSecurityException e) {
                throw new IllegalStateException(e);
            }
        }

        /** Integrity, then a FINGERPRINT at the very end. */
        private static boolean isSigned(byte[] answer, String key) {
            int at = answer.length - 8 - 24;
            var signed = ByteBuffer.wrap(Arrays.copyOf(answer, at))
                    .putShort(2, (short) (at + 4)).array();
            var crc = new CRC32();
            crc.update(answer, 0, answer.length - 8);
            return Arrays.equals(hmac(signed, key), Arrays.copyOfRange(
                    answer, at + 4, at + 24)) && ByteBuffer.wrap(answer)
                    .getInt(answer.length - 4)
                    == ((int) crc.getValue() ^ 0x5354554E);
        }

        private static String mapped(byte[] answer) {
            var in = ByteBuffer.wrap(answer);
            int length = in.getShort(22) - 4;
            var address = Arrays.copyOfRange(answer, 28, 28 + length);
            for (int i = 0; i < length; i++) {
                address[i] ^= answer[4 + i];
            }
            try {
                return InetAddress.getByAddress(address).getHostAddress() + ":"
                        + ((in.getShort(26) ^ 0x2112) & 0xffff);
            } catch (UnknownHostException e) {
                return "no address of " + length + " bytes";
            }
        }
    }

    @Step(value = 4, title = "Verify the certificate fingerprint",
            further = true)
    class Verify_the_certificate_fingerprint {

        private static final String LIKELY = "compare the SHA-256 of"
                + " chain[0].getEncoded() with the expected fingerprint, all"
                + " 32 bytes";

        @Test
        void the_offered_certificate_is_trusted() throws Exception {
            var trust = new DataChannelPeer.FingerprintTrust(sha256(ANNA));
            trust.checkClientTrusted(chain(ANNA), "EC");
            trust.checkServerTrusted(chain(ANNA), "EC");
            trust.checkClientTrusted(chain(ANNA, BERT), "EC");
        }

        @Test
        void another_certificate_is_refused_and_the_message_says_why() {
            // rejects: a manager that trusts everybody
            var message = refused(sha256(ANNA), chain(BERT),
                    "a certificate that was not offered");
            Check.that(message.contains("fingerprint"), "a message that says"
                    + " fingerprint, got " + message, "say that the"
                    + " fingerprint differs");
        }

        @Test
        void the_first_certificate_of_the_chain_counts() {
            // rejects: any certificate of the chain
            refused(sha256(ANNA), chain(BERT, ANNA), "a chain whose second"
                    + " certificate is the offered one");
        }

        @Test
        void every_bit_of_the_fingerprint_counts() {
            // rejects: the first bytes; a hash of the public key
            for (int bit = 0; bit < 256; bit++) {
                var expected = sha256(ANNA);
                expected[bit / 8] ^= (byte) (1 << bit % 8);
                refused(expected, chain(ANNA), "a fingerprint that differs in"
                        + " bit " + bit);
            }
            refused(new byte[0], chain(ANNA), "an empty fingerprint");
            refused(Arrays.copyOf(sha256(ANNA), 31), chain(ANNA),
                    "a fingerprint of 31 bytes");
        }

        @Test
        void an_empty_chain_is_refused() {
            // rejects: ArrayIndexOutOfBoundsException
            refused(sha256(ANNA), chain(), "an empty chain");
        }

        @Test
        void two_DTLS_engines_shake_hands_with_the_offered_certificate()
                throws Exception {
            var pipe = new Pipe(ANNA);
            pipe.run();
            Check.that(pipe.server.up && pipe.client.up, "both sides"
                    + " of a DTLS handshake to be up", LIKELY);
            pipe.client.send("ping".getBytes());
            pipe.run();
            Check.equal(List.of("ping"), pipe.received, "what the server has"
                    + " decrypted", "given");
            var lossy = new Pipe(ANNA);
            lossy.lost = 25;
            lossy.run();
            for (var text : List.of("x".repeat(1128), "y".repeat(1190))) {
                lossy.server.send(text.getBytes());
                lossy.client.send(text.getBytes());
                lossy.run();
                Check.equal(text, lossy.received.getLast(), "what the server"
                        + " has decrypted after several lost flights",
                        "given");
            }
        }

        @Test
        void a_DTLS_handshake_with_another_certificate_fails()
                throws Exception {
            // rejects: a check whose exception is caught
            var pipe = new Pipe(BERT);
            var thrown = Check.fails(javax.net.ssl.SSLException.class,
                    pipe::run, "a handshake with another certificate", LIKELY);
            Check.that(!pipe.server.up, "the server not to be up", LIKELY);
            Check.that(String.valueOf(thrown.getMessage()).contains(
                    "fingerprint"), "an exception that says fingerprint, got "
                    + thrown, "the engine passes on the message of the"
                    + " CertificateException");
        }

        private static String refused(byte[] expected, X509Certificate[] chain,
                String what) {
            var trust = new DataChannelPeer.FingerprintTrust(expected);
            Check.fails(CertificateException.class,
                    () -> trust.checkServerTrusted(chain, "EC"), what, LIKELY);
            return Check.fails(CertificateException.class,
                    () -> trust.checkClientTrusted(chain, "EC"), what, LIKELY)
                    .getMessage();
        }

        private static X509Certificate[] chain(
                DataChannelPeer.Identity... owners) {
            return Stream.of(owners).map(DataChannelPeerTest::certificate)
                    .toArray(X509Certificate[]::new);
        }

        /** A server that expects ANNA's certificate, and a client. */
        private static final class Pipe {
            private final Deque<byte[]> toServer = new ArrayDeque<>();
            private final Deque<byte[]> toClient = new ArrayDeque<>();
            private final List<String> received = new ArrayList<>();
            private final FakeClock clock = new FakeClock();
            private int lost;
            private final DataChannelPeer.DtlsPump server;
            private final DataChannelPeer.DtlsPump client;

            Pipe(DataChannelPeer.Identity owner) throws Exception {
                server = new DataChannelPeer.DtlsPump(BERT.engine(
                        new DataChannelPeer.FingerprintTrust(sha256(ANNA))),
                        toClient::add, p -> received.add(new String(p)),
                        clock);
                client = new DataChannelPeer.DtlsPump(clientEngine(owner),
                        toServer::add, _ -> {}, clock);
                client.receive(new byte[0]);
            }

            /** The JDK wraps what step 4 throws as long as it is to do. */
            private void atServer(byte[] datagram) throws Exception {
                try {
                    server.receive(datagram);
                } catch (javax.net.ssl.SSLException e) {
                    throw e.getCause() instanceof
                            UnsupportedOperationException todo ? todo : e;
                }
            }

            void run() throws Exception {
                for (int i = 0; i < 1000 && (!toServer.isEmpty()
                        || !toClient.isEmpty() || !server.up
                        || !client.up); i++) {
                    if (!toServer.isEmpty()) {
                        atServer(toServer.poll());
                    } else if (toClient.isEmpty()) {
                        clock.advance(Duration.ofSeconds(2));
                        server.tick();
                        client.tick();
                    } else if (lost-- > 0 && !server.up
                            && toClient.peek().length > 100) {
                        toClient.poll();
                    } else {
                        client.receive(toClient.poll());
                    }
                }
            }
        }
    }

    @Step(value = 5, title = "Establish the SCTP association", further = true)
    class Establish_the_SCTP_association {

        private final Far far = new Far(HIGH);

        @Test
        void an_INIT_is_answered_with_an_INIT_ACK() {
            var ack = far.only(far.sends(0, far.init()), INIT_ACK,
                    "an INIT", "send(init.tag(), initAck(…))");
            Check.equal(TAG, ack.tag(), "the verification tag of the INIT"
                    + " ACK", "send() it with the tag that the INIT names:"
                    + " init.tag()");
            Check.that(ack.body().getInt(0) != 0, "an initiate tag that is not"
                    + " 0", "Init.fresh() makes our own numbers");
            Check.that(ack.body().getInt(0) != TAG, "an initiate tag of our"
                    + " own, got that of the INIT", "initAck() takes our own"
                    + " Init; the cookie holds both");
            Check.that(cookie(ack).length > 0, "a State Cookie parameter",
                    "initAck(own, cookie)");
        }

        @Test
        void an_INIT_changes_nothing_here() {
            // rejects: tag and TSN kept from the INIT: an attacker's floods
            for (int i = 0; i < 3; i++) {
                far.sends(0, far.init());
                Check.equal(DataChannelPeer.State.CLOSED,
                        far.association.state, "state after an INIT",
                        "nothing is kept until the cookie comes back");
            }
        }

        @Test
        void each_INIT_gets_a_tag_of_its_own() {
            // rejects: one tag for the life of the association
            var first = far.only(far.sends(0, far.init()), INIT_ACK, "an INIT",
                    "send(init.tag(), initAck(…))");
            var second = far.only(far.sends(0, far.init()), INIT_ACK,
                    "an INIT", "send(init.tag(), initAck(…))");
            Check.that(first.body().getInt(0) != second.body().getInt(0),
                    "another initiate tag for the second INIT",
                    "Init.fresh() for each INIT");
        }

        @Test
        void the_cookie_makes_the_association() {
            far.establish();
            Check.equal(DataChannelPeer.State.ESTABLISHED,
                    far.association.state, "state after COOKIE ECHO",
                    "establish(own, peer)");
            Check.equal(Integer.toUnsignedLong(HIGH) - 1,
                    far.association.received, "received at the beginning",
                    "establish(own, peer): the first Init in the cookie is"
                            + " the peer's, the second our own");
        }

        @Test
        void a_forged_cookie_is_dropped() {
            // rejects: a cookie that is not signed, or not looked at
            var ack = far.only(far.sends(0, far.init()), INIT_ACK, "an INIT",
                    "send(init.tag(), initAck(…))");
            var cookie = cookie(ack);
            int tag = ack.body().getInt(0);
            for (int i = 0; i < cookie.length; i++) {
                var forged = cookie.clone();
                forged[i] ^= 1;
                dropped(tag, forged, "a cookie with a flipped bit in byte "
                        + i);
            }
            dropped(tag, Arrays.copyOf(cookie, 32), "a cookie without its"
                    + " signature");
            dropped(tag, new byte[0], "an empty cookie");
            dropped(tag, new byte[8], "a cookie of 8 bytes");
            dropped(tag, new byte[100], "a cookie of 100 zeros");
            var other = new Far(HIGH);
            var foreign = other.only(other.sends(0, other.init()), INIT_ACK,
                    "an INIT", "send(init.tag(), initAck(…))");
            dropped(foreign.body().getInt(0), cookie(foreign),
                    "the cookie of another association");
        }

        @Test
        void a_COOKIE_ECHO_under_another_tag_is_dropped() {
            // rejects: the tag is not compared
            var ack = far.only(far.sends(0, far.init()), INIT_ACK, "an INIT",
                    "send(init.tag(), initAck(…))");
            int tag = ack.body().getInt(0);
            for (int wrong : new int[] {0, tag + 1, TAG}) {
                dropped(wrong, cookie(ack), "a COOKIE ECHO with a wrong"
                        + " verification tag");
            }
        }

        private void dropped(int tag, byte[] cookie, String what) {
            var answers = far.sends(tag, chunk(COOKIE_ECHO, 0, cookie));
            Check.equal(List.of(), answers, "the answers to " + what,
                    "isSigned() first, then the tag: it must be the one in"
                            + " the cookie");
            Check.equal(DataChannelPeer.State.CLOSED, far.association.state,
                    "state after " + what, "isSigned() first, then the tag");
        }

        @Test
        void a_repeated_COOKIE_ECHO_is_acknowledged_again() {
            // rejects: silence, because it is established: COOKIE ACK was lost
            var echo = far.establish();
            far.association.received++;
            long received = far.association.received;
            far.only(far.sends(far.tag, echo), COOKIE_ACK, "the same COOKIE"
                    + " ECHO again", "its COOKIE ACK may have been lost: send"
                    + " it again");
            Check.equal(received, far.association.received, "received"
                    + " after a repeated COOKIE ECHO", "only the first one"
                    + " makes the association; later ones change nothing");
        }

        @Test
        void a_late_INIT_does_not_disturb_the_association() {
            // rejects: state is reset by INIT or by a second cookie
            var echo = far.establish();
            far.association.received++;
            long received = far.association.received;
            var late = far.only(far.sends(0, chunk(INIT, 0, init(77, 5))),
                    INIT_ACK, "a late INIT", "each INIT gets an INIT ACK");
            var answers = far.sends(late.body().getInt(0),
                    chunk(COOKIE_ECHO, 0, cookie(late)));
            Check.equal(List.of(), answers, "the answers to the COOKIE ECHO of"
                    + " another association", "isWith(own, peer) tells whether"
                    + " it is this one");
            Check.equal(received, far.association.received, "received"
                    + " after it", "establish() only while CLOSED");
            var beat = far.only(far.sends(far.tag, chunk(4, 0, parameter(1,
                    "beat".getBytes()))), 5, "a HEARTBEAT after it",
                    "establish() only while CLOSED");
            Check.equal(TAG, beat.tag(), "the tag of a HEARTBEAT ACK after it",
                    "establish() only while CLOSED");
            far.sends(far.tag, DataChannelPeerTest.chunk(ABORT, 0,
                    new byte[0]));
            Check.equal(List.of(), far.sends(far.tag, echo), "the answers to"
                    + " the first COOKIE ECHO again after an ABORT",
                    "establish() only while CLOSED: it is ENDED now");
        }

        @Test
        void the_first_of_two_INITs_is_the_one_whose_cookie_comes_back() {
            // rejects: the numbers of the latest INIT instead of the cookie's
            var first = far.only(far.sends(0, far.init()), INIT_ACK, "an INIT",
                    "send(init.tag(), initAck(…))");
            far.sends(0, chunk(INIT, 0, init(77, 5)));
            var ack = far.only(far.sends(first.body().getInt(0), chunk(
                    COOKIE_ECHO, 0, cookie(first))), COOKIE_ACK,
                    "the cookie of the first of two INITs", "all that is"
                            + " needed is in the cookie");
            Check.equal(TAG, ack.tag(), "the tag of the COOKIE ACK",
                    "it is the tag of the peer's Init in the cookie");
            Check.equal(Integer.toUnsignedLong(HIGH) - 1,
                    far.association.received, "received",
                    "take the numbers from the cookie");
        }

        @Test
        void a_packet_with_a_wrong_checksum_is_dropped() {
            far.only(far.sends(0, far.init()), INIT_ACK, "an INIT",
                    "send(init.tag(), initAck(…))");
            var packet = packet(0, far.init());
            packet[8] ^= 1;
            far.association.receive(packet);
            Check.equal(List.of(), far.take(), "the answers to an INIT with a"
                    + " wrong checksum", "given");
        }

    }

    @Step(value = 6, title = "Deliver messages in order", further = true)
    class Deliver_messages_in_order {

        private static final int FIRST = 0x10000;
        private final Far far = new Far(FIRST);

        @Test
        void a_message_in_one_chunk_is_delivered_and_acknowledged() {
            far.establish();
            var sack = far.data(0, BE, "hello");
            far.delivered(List.of("hello"), "deliver() what is in order");
            sack.is(0, List.of(), "received++ for each chunk in order");
            Check.equal(List.of("3 51"), far.streams, "stream and PPID of the"
                    + " message", "receiver.message(stream, ppid, …)");
        }

        @Test
        void fragments_are_put_together() {
            // rejects: each chunk is a message
            far.establish();
            far.data(0, B, "one ");
            far.delivered(List.of(), "wait for the fragment that ends()");
            far.data(1, 0, "message ");
            far.delivered(List.of(), "wait for the fragment that ends()");
            far.data(2, E, "of three");
            far.delivered(List.of("one message of three"),
                    "collect from begins() to ends()");
            far.data(3, B, "next ");
            far.data(4, E, "one");
            far.delivered(List.of("next one"), "begin anew after ends()");
        }

        @Test
        void a_duplicate_is_acknowledged_again_but_not_delivered() {
            // rejects: duplicates delivered; duplicates without SACK
            far.establish();
            far.data(0, BE, "a");
            far.data(1, BE, "b");
            far.delivered(List.of("a", "b"), "deliver() what is in order");
            far.data(0, BE, "a").is(1, List.of(), "a TSN up to received is"
                    + " a duplicate");
            far.data(1, BE, "b").is(1, List.of(), "a TSN up to received is"
                    + " a duplicate");
            far.delivered(List.of(), "a TSN up to received is a duplicate:"
                    + " do nothing");
        }

        @Test
        void a_chunk_beyond_a_gap_waits_and_is_reported() {
            // rejects: a gap is acknowledged; a chunk beyond it is dropped
            far.establish();
            far.data(0, BE, "a");
            far.data(2, BE, "c").is(0, List.of("2-2"), "received++ only"
                    + " without a gap; beyondGap() names the chunk that waits");
            far.delivered(List.of("a"), "deliver() only what is in order");
            far.data(1, BE, "b").is(2, List.of(), "after the gap is filled,"
                    + " go on with the chunks that wait");
            far.delivered(List.of("b", "c"), "after the gap is filled, go on"
                    + " with the chunks that wait");
        }

        @Test
        void several_gaps_are_reported_in_blocks() {
            far.establish();
            far.data(6, BE, "g");
            far.data(3, BE, "d");
            far.data(1, BE, "b");
            far.data(4, BE, "e").is(-1, List.of("2-2", "4-5", "7-7"),
                    "beyondGap() gives every TSN that waits, ascending");
            far.data(0, BE, "a").is(1, List.of("2-3", "5-5"), "what was"
                    + " delivered is no longer beyond a gap");
            far.data(2, BE, "c");
            far.data(5, BE, "f").is(6, List.of(), "go on with the chunks that"
                    + " wait");
            far.delivered(List.of("a", "b", "c", "d", "e", "f", "g"),
                    "deliver in the order of the TSNs");
        }

        @Test
        void fragments_may_come_in_any_order_and_twice() {
            // rejects: fragments joined in order of arrival; held duplicates
            far.establish();
            for (int tsn : new int[] {3, 1, 3, 2, 1, 2, 0, 3, 0}) {
                far.data(tsn, tsn == 0 ? B : tsn == 3 ? E : 0, "" + tsn);
            }
            far.delivered(List.of("0123"), "keep chunks by TSN, each once");
        }

        @Test
        void TSNs_go_on_after_their_32_bits() {
            // rejects: (int) comparisons; a map keyed by an int
            for (int first : new int[] {-2, Integer.MAX_VALUE - 1}) {
                var other = new Far(first);
                other.establish();
                other.data(3, BE, "d");
                other.data(1, BE, "b");
                other.data(2, BE, "c");
                other.data(0, BE, "a").is(3, List.of(), "data.tsn() and"
                        + " received are longs that go on beyond 32 bits");
                other.delivered(List.of("a", "b", "c", "d"), "data.tsn() and"
                        + " received are longs that go on beyond 32 bits");
            }
        }

        @Test
        void a_chunk_too_far_ahead_is_dropped() {
            // rejects: memory without a bound
            far.establish();
            far.data(4096, BE, "z").is(-1, List.of(), "drop a TSN above"
                    + " received + FARTHEST");
            far.data(Integer.MAX_VALUE, BE, "z").is(-1, List.of(), "drop a TSN"
                    + " above received + FARTHEST");
            far.data(4095, BE, "y").is(-1, List.of("4096-4096"), "the TSN"
                    + " received + FARTHEST is near enough");
        }

        @Test
        void a_message_of_256_KiB_is_delivered_and_no_larger_one() {
            // rejects: no bound; > instead of >=; bound for each chunk
            far.establish();
            int whole = 262_144 / 1024;
            for (int i = 0; i < whole; i++) {
                far.data(i, i == 0 ? B : i == whole - 1 ? E : 0,
                        "x".repeat(1024));
            }
            Check.equal(List.of(262_144), far.messages.stream()
                    .map(String::length).toList(), "the lengths of the"
                    + " messages", "MAX_MESSAGE bytes are allowed");
            far.data(2 * whole + 1, BE, "after it");
            for (int i = 0; i <= whole; i++) {
                far.association.receive(packet(far.tag, far.chunk(whole + i,
                        i == 0 ? B : i == whole ? E : 0,
                        "x".repeat(i < whole ? 1024 : 1))));
            }
            Check.equal(1, far.messages.size(), "the number of messages",
                    "a message of MAX_MESSAGE + 1 bytes is not delivered, nor"
                            + " is, after the abort, a chunk behind it");
            Check.that(far.take().stream().anyMatch(c -> c.type() == ABORT)
                    && far.association.reason.orElse(null)
                    instanceof DataChannelPeer.CloseReason.Failed, "an ABORT"
                    + " and the reason Failed for a message of 262,145 bytes,"
                    + " got " + far.association.reason, "abort(new"
                    + " CloseReason.Failed(…)) when the fragments exceed MAX_MESSAGE");
        }

        @Test
        void one_packet_may_carry_several_chunks() {
            far.establish();
            var sacks = far.sends(far.tag, join(far.chunk(0, BE, "first"),
                    far.chunk(1, B, "sec"), far.chunk(2, E, "ond")));
            far.delivered(List.of("first", "second"), "dataReceived() is"
                    + " called for each chunk");
            Check.equal(1, sacks.size(), "the number of answers to a packet"
                    + " with three DATA chunks", "given");
        }

        @Test
        void a_message_reaches_the_receiver_while_the_packet_is_handled() {
            // rejects: delivery on a thread or by a timer
            far.establish();
            far.association.receive(packet(far.tag, far.chunk(0, BE, "now")));
            Check.equal(List.of("now"), far.messages, "the messages when"
                    + " receive() returns", "deliver() in dataReceived()");
        }

        @Test
        void a_listener_that_is_slow_closes_the_window() {
            far.establish();
            far.association.backlog.set((1 << 20) - 7);
            Check.equal(7, far.data(0, BE, "a").chunk().body().getInt(4),
                    "the window in the SACK, with 1 MiB less 7 bytes not taken",
                    "given");
            far.association.backlog.set((1 << 20) + 1);
            var sack = far.data(1, BE, "b");
            sack.is(0, List.of(), "given: a chunk that has no room is dropped");
            Check.equal(0, sack.chunk().body().getInt(4), "the window in the"
                    + " SACK, with 1 MiB and 1 byte not taken", "given");
            far.association.backlog.set(0);
            far.data(1, BE, "b").is(1, List.of(), "given: it came again");
        }

        @Test
        void loss_duplication_and_reordering_change_nothing() {
            // 10 % each, both ways
            var wire = new Wire(0.1);
            var random = new Random(415);
            for (int i = 0; i < 40; i++) {
                var message = new byte[i == 20 ? 262_144
                        : random.nextInt(1, 5_000)];
                random.nextBytes(message);
                var to = i % 2 == 0 ? wire.atServer : wire.atClient;
                (i % 2 == 0 ? wire.client : wire.server).send(i, 53, message);
                to.expected.add(i + " " + Arrays.hashCode(message));
            }
            wire.run();
            for (var side : List.of(wire.atServer, wire.atClient)) {
                Check.equal(side.expected, side.got, "the streams and hashes"
                        + " of 20 messages under loss", "each TSN is delivered"
                        + " once, in order");
            }
        }
    }

    @Step(value = 7, title = "Open the data channel", further = true)
    class Open_the_data_channel {

        private static final int DCEP = 50;
        private static final int TEXT = 51;
        private static final int BINARY = 53;
        private static final int TEXT_EMPTY = 56;
        private static final int BINARY_EMPTY = 57;
        private final Channel channel = new Channel(0);

        @Test
        void an_OPEN_is_acknowledged_and_tells_the_label()
                throws IOException {
            var answers = channel.gets(3, DCEP, open("chät", "proto"));
            channel.heard(List.of("open chät"), "the label is UTF-8, as long"
                    + " as its length field says; the protocol follows it");
            Check.equal(List.of("3 50 02"), answers, "stream, PPID and bytes"
                    + " that were sent back", "one byte, type 2, on the stream"
                    + " of the OPEN, with PPID 50");
            Check.equal("1 sent, open: true", channel.atOpen, "what was sent,"
                    + " and isOpen(), when onOpen() was called", "note the"
                    + " stream and send the ACK first: onOpen() may send()");
            var other = new Channel(0);
            other.gets(3, DCEP, open(" x".repeat(20_000), "proto"));
            Check.equal("open ".length() + 40_000, other.events.getFirst()
                    .length(), "the length of what the listener has heard of"
                    + " a label of 40,000 bytes", "its length field has two"
                    + " bytes, without sign");
        }

        @Test
        void the_ACK_is_ordered_whatever_the_channel_is()
                throws IOException {
            // rejects: the ACK takes over the U flag of an unordered channel
            var far = new Far(0);
            far.establish();
            var inner = new DataChannelPeer.DataChannel(
                    far.association::send, channel, 0);
            var open = open("chat", "");
            open[1] = (byte) 0x81;   // unordered, partially reliable
            inner.message(0, DCEP, open);
            var ack = far.only(far.take(), 0, "an OPEN of an unordered channel",
                    "out.send(from, DCEP, …)");
            Check.equal(BE, ack.flags(), "the flags of the chunk with the ACK",
                    "DCEP messages are ordered and reliable (RFC 8832,"
                            + " section 6)");
        }

        @Test
        void texts_and_binaries_reach_the_listener()
                throws IOException {
            channel.gets(2, DCEP, open("chat", ""));
            channel.events.clear();
            channel.gets(2, TEXT, "grüß dich".getBytes(StandardCharsets.UTF_8));
            channel.gets(2, BINARY, new byte[] {1, 2, -1});
            channel.gets(2, TEXT, "x".getBytes());
            channel.heard(List.of("text grüß dich", "binary 0102ff", "text x"),
                    "51 is a text in UTF-8, 53 a binary");
        }

        @Test
        void empty_messages_have_PPIDs_of_their_own()
                throws IOException {
            // rejects: the zero byte that stands for nothing is passed on
            channel.gets(2, DCEP, open("chat", ""));
            channel.events.clear();
            channel.gets(2, TEXT_EMPTY, new byte[1]);
            channel.gets(2, BINARY_EMPTY, new byte[1]);
            channel.heard(List.of("text ", "binary "), "56 and 57 are empty,"
                    + " whatever their one byte is");
        }

        @Test
        void messages_are_sent_with_the_PPID_of_their_kind()
                throws IOException {
            // rejects: an empty SCTP message, which does not exist
            channel.gets(2, DCEP, open("chat", ""));
            Check.equal(List.of("2 51 6869"), channel.sends(true, "hi"),
                    "stream, PPID and bytes of the text hi", "PPID 51");
            Check.equal(List.of("2 53 6869"), channel.sends(false, "hi"),
                    "stream, PPID and bytes of the binary hi", "PPID 53");
            Check.equal(List.of("2 56 00"), channel.sends(true, ""),
                    "stream, PPID and bytes of an empty text",
                    "one zero byte with PPID 56");
            Check.equal(List.of("2 57 00"), channel.sends(false, ""),
                    "stream, PPID and bytes of an empty binary",
                    "one zero byte with PPID 57");
        }

        @Test
        void the_peers_largest_message_is_not_exceeded()
                throws IOException {
            // rejects: 0 taken for a limit; >= instead of >
            for (long limit : new long[] {5, 262_144, 0}) {
                var own = new Channel(limit);
                own.gets(2, DCEP, open("chat", ""));
                int fits = limit == 0 ? 300_000 : (int) limit;
                own.sends(true, "x".repeat(fits));
                if (limit > 0) {
                    for (boolean text : new boolean[] {true, false}) {
                        Check.fails(IllegalArgumentException.class,
                                () -> own.sends(text, "x".repeat(fits + 1)),
                                "send() of " + (fits + 1) + " bytes to a peer"
                                        + " that takes " + limit, "compare with"
                                        + " maxMessageSize before sending");
                    }
                    Check.equal(List.of(), own.sent, "what went out of a"
                            + " message that is too large", "compare first");
                }
            }
        }

        @Test
        void what_does_not_belong_to_the_channel_is_ignored()
                throws IOException {
            // rejects: any stream, any PPID
            channel.gets(2, TEXT, "early".getBytes());
            channel.heard(List.of(), "before the OPEN there is no channel");
            channel.gets(2, DCEP, open("chat", ""));
            channel.events.clear();
            channel.gets(4, TEXT, "other stream".getBytes());
            channel.gets(2, 52, "other PPID".getBytes());
            channel.gets(2, 0, "other PPID".getBytes());
            channel.heard(List.of(), "only PPIDs 51, 53, 56 and 57 on the"
                    + " stream of the OPEN");
        }

        @Test
        void a_second_OPEN_is_not_acknowledged()
                throws IOException {
            // rejects: the second channel takes the place of the first
            channel.gets(2, DCEP, open("chat", ""));
            channel.events.clear();
            for (int stream : new int[] {4, 2}) {
                Check.equal(List.of(), channel.gets(stream, DCEP, open("more",
                        "")), "what was sent to a second OPEN on stream "
                        + stream, "one channel, the first");
            }
            channel.gets(2, TEXT, "still".getBytes());
            channel.heard(List.of("text still"), "the first channel stays");
        }

        @Test
        void a_malformed_OPEN_is_ignored()
                throws IOException {
            // rejects: IndexOutOfBoundsException
            var open = open("chat", "");
            for (int length = 0; length < open.length; length++) {
                Check.equal(List.of(), channel.gets(2, DCEP, Arrays.copyOf(
                        open, length)), "what was sent to the first " + length
                        + " bytes of an OPEN", "12 bytes of head, and as many"
                        + " as the label's length says");
            }
            Check.equal(List.of(), channel.gets(2, DCEP, new byte[] {2}),
                    "what was sent to an ACK", "only type 3 is an OPEN");
            open[0] = 1;
            Check.equal(List.of(), channel.gets(2, DCEP, open),
                    "what was sent to a message of type 1",
                    "only type 3 is an OPEN");
            channel.heard(List.of(), "only a whole OPEN opens");
            open[0] = 3;
            Check.equal(List.of("2 50 02"), channel.gets(2, DCEP, open), "what"
                    + " was sent to a whole OPEN after the malformed ones",
                    "note the stream only of a whole OPEN");
        }

        @Test
        void a_peer_opens_a_channel_over_UDP_and_closes() throws Exception {
            var caller = closeLater(new Caller(ANNA, ANNA));
            caller.connects();
            caller.hears("open chat");
            caller.says(TEXT, "hello");
            caller.hears("text hello");
            caller.peer.send("back");
            caller.peer.send(new byte[] {7});
            caller.receives("51 6261636b");
            caller.receives("53 07");
            caller.peer.close();
            Check.equal("closed Here[]", caller.events.getLast(), "the last"
                    + " event when close() has returned", "given");
        }

        @Test
        void the_wrong_certificate_fails_over_UDP() throws Exception {
            var caller = closeLater(new Caller(ANNA, BERT));
            caller.connects();
            Await.until(() -> !caller.events.isEmpty(), "the listener to be"
                    + " told", "all seven steps meet here");
            var event = caller.events.getFirst();
            Check.that(event.startsWith("closed Failed")
                    && event.contains("fingerprint"), "onClosed() because of"
                    + " the fingerprint, got " + event, "given");
        }

        private static byte[] open(String label, String protocol) {
            var name = label.getBytes(StandardCharsets.UTF_8);
            return ByteBuffer.allocate(12 + name.length + protocol.length())
                    .put((byte) 3).put((byte) 0).putShort((short) 256)
                    .putInt(0).putShort((short) name.length)
                    .putShort((short) protocol.length()).put(name)
                    .put(protocol.getBytes()).array();
        }
    }

    // What the tests of several steps share.

    private static final char[] PASSWORD = "changeit".toCharArray();
    private static final DataChannelPeer.Identity ANNA = identity("""
            MIICwAIBAzCCArkGCSqGSIb3DQEHAaCCAqoEggKmMIICojCB2QYJKoZIhvcN
            AQcBoIHLBIHIMIHFMIHCBgsqhkiG9w0BDAoBAqB1MHMwJwYKKoZIhvcNAQwB
            AzAZBBRvV+OZKJagR286DToTh6Ia3sQTdAIBAQRIYZbIhsZ+baye7XrWeX7I
            V4HiPajkddrsFLxtGX1sEpEc32BtTO7/Jy5BEmgtmtVBq/I+jK/WXAl8XwTE
            IphcFJo/L1p0VmlzMTwwFwYJKoZIhvcNAQkUMQoeCABwAGUAZQByMCEGCSqG
            SIb3DQEJFTEUBBJUaW1lIDE3OTU4NTU5MDgxNTUwggHCBgkqhkiG9w0BBwGg
            ggGzBIIBrzCCAaswggGnBgsqhkiG9w0BDAoBA6CCAVgwggFUBgoqhkiG9w0B
            CRYBoIIBRASCAUAwggE8MIHioAMCAQICCQDkiH3zAeWjYTAKBggqhkjOPQQD
            AzARMQ8wDQYDVQQDEwZXZWJSVEMwIBcNMjYxMTI4MDg1MTQ4WhgPMjEyNjEx
            MDQwODUxNDhaMBExDzANBgNVBAMTBldlYlJUQzBZMBMGByqGSM49AgEGCCqG
            SM49AwEHA0IABDQCwbPZCgc0/YymX0MHsb4ZAM90bhWOhaoux8udw3HWE2kU
            jGF7DPvxDUiFEi6PrCaitVgmLGtSiYmWlzS2JTWjITAfMB0GA1UdDgQWBBSi
            KLzxCK1sbFyAaiQfCZ8HiuwR4DAKBggqhkjOPQQDAwNJADBGAiEAheRjTO+T
            B3587Ai2NSuegm4yyixSYgPM9LrbkdjYwVkCIQDdnzgL5xyi32IW8ht50SxT
            zI4p8tjYc3FrN9DNGfWLlzE8MBcGCSqGSIb3DQEJFDEKHggAcABlAGUAcjAh
            BgkqhkiG9w0BCRUxFAQSVGltZSAxNzk1ODU1OTA4MTU1
            """);
    private static final DataChannelPeer.Identity BERT = identity("""
            MIICvwIBAzCCArgGCSqGSIb3DQEHAaCCAqkEggKlMIICoTCB2QYJKoZIhvcN
            AQcBoIHLBIHIMIHFMIHCBgsqhkiG9w0BDAoBAqB1MHMwJwYKKoZIhvcNAQwB
            AzAZBBQNr/4FNhHvI9Wu/1GV0Z97MacSvAIBAQRI86VZ/326f5zDRakvO622
            nKmI12uqW0q69ANrN4ZJB8y6O2rci+TQ/V5jvfZVutfIRTqi5Ty2hoTzc2Zw
            Ob7k07XLtdhybYk9MTwwFwYJKoZIhvcNAQkUMQoeCABwAGUAZQByMCEGCSqG
            SIb3DQEJFTEUBBJUaW1lIDE3OTU4NTU5MDkwNTMwggHBBgkqhkiG9w0BBwGg
            ggGyBIIBrjCCAaowggGmBgsqhkiG9w0BDAoBA6CCAVcwggFTBgoqhkiG9w0B
            CRYBoIIBQwSCAT8wggE7MIHioAMCAQICCQDKfavGJaazxzAKBggqhkjOPQQD
            AzARMQ8wDQYDVQQDEwZXZWJSVEMwIBcNMjYxMTI4MDg1MTQ4WhgPMjEyNjEx
            MDQwODUxNDhaMBExDzANBgNVBAMTBldlYlJUQzBZMBMGByqGSM49AgEGCCqG
            SM49AwEHA0IABG3k+0kPHum/qZFaH1blgtRukGHePO64lgNqGyzQ1lGCgYPM
            m5Fk1O61gsG39Tm+7e4XF5tRDpoZtqDIOuEth5ijITAfMB0GA1UdDgQWBBTg
            r3m5xHjjKvkIx4G3hyWYYUOKyDAKBggqhkjOPQQDAwNIADBFAiAgKj93EVJG
            TzqV0fwMug+TSUUjyywNZioI+sQLyATtDgIhAJWwWLo8/sXJcDuCRDWNf2I0
            88kUdKnpSRcXCi7RmAhGMTwwFwYJKoZIhvcNAQkUMQoeCABwAGUAZQByMCEG
            CSqGSIb3DQEJFTEUBBJUaW1lIDE3OTU4NTU5MDkwNTM=
            """);
    private static final int TAG = 0x0A0B0C0D;
    private static final int HIGH = 0x80000001;
    private static final int INIT = 1;
    private static final int INIT_ACK = 2;
    private static final int SACK = 3;
    private static final int ABORT = 6;
    private static final int COOKIE_ECHO = 10;
    private static final int COOKIE_ACK = 11;
    private static final int B = 2;
    private static final int E = 1;
    private static final int BE = 3;

    /** Keys of keytool, for a hundred years, of one PBE iteration: fast. */
    private static DataChannelPeer.Identity identity(String pkcs12) {
        try {
            var keys = KeyStore.getInstance("PKCS12");
            keys.load(new ByteArrayInputStream(Base64.getMimeDecoder()
                    .decode(pkcs12)), PASSWORD);
            return new DataChannelPeer.Identity(keys);
        } catch (IOException | GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    private static X509Certificate certificate(
            DataChannelPeer.Identity owner) {
        try {
            return owner.certificate();
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    private static byte[] sha256(DataChannelPeer.Identity owner) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(
                    certificate(owner).getEncoded());
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    private static SSLEngine clientEngine(DataChannelPeer.Identity owner)
            throws GeneralSecurityException {
        var engine = owner.engine(new javax.net.ssl.X509TrustManager() {
            @Override
            public void checkClientTrusted(X509Certificate[] c, String t) {}

            @Override
            public void checkServerTrusted(X509Certificate[] c, String t) {}

            @Override
            public X509Certificate[] getAcceptedIssuers() {
                return new X509Certificate[0];
            }
        });
        engine.setUseClientMode(true);
        return engine;
    }

    private static String hex(byte[] bytes) {
        return HexFormat.ofDelimiter(":").withUpperCase().formatHex(bytes);
    }

    private static byte[] join(byte[]... parts) {
        var all = new ByteArrayOutputStream();
        Stream.of(parts).forEach(all::writeBytes);
        return all.toByteArray();
    }

    /** Rooms, and members that remember what they were sent. */
    private static final class House {
        private final DataChannelPeer.Rooms rooms = new DataChannelPeer.Rooms();
        private final Map<String, DataChannelPeer.Member> members =
                new HashMap<>();
        private final Map<String, List<String>> heard = new HashMap<>();

        DataChannelPeer.Member of(String name) {
            return members.computeIfAbsent(name, _ -> {
                var texts = new ArrayList<String>();
                heard.put(name, texts);
                return texts::add;
            });
        }

        void join(String... names) {
            for (var name : names) {
                enter(name, "blue", name);
            }
            clear();
        }

        void enter(String member, String room, String name) {
            say(member, "join\n" + room + "\n" + name);
        }

        void say(String member, String text) {
            rooms.receive(of(member), text);
        }

        void clear() {
            heard.values().forEach(List::clear);
        }

        void heard(String member, List<String> expected, String likely) {
            of(member);
            Check.equal(expected, List.copyOf(heard.get(member)),
                    "what " + member + " has received", likely);
            heard.get(member).clear();
        }

        void error(String member, String code, String likely) {
            of(member);
            var texts = List.copyOf(heard.get(member));
            Check.that(texts.size() == 1 && texts.getFirst().startsWith(
                    "error\n" + code + "\n"), "one text error\\n" + code
                    + "\\n… for " + member + ", got " + texts, likely
                    + "; error(from, \"" + code + "\", …)");
            heard.get(member).clear();
        }
    }

    /** A WebSocket of the JDK's in a room of the server. */
    private static final class Browser implements WebSocket.Listener {
        private final BlockingQueue<String> texts = new LinkedBlockingQueue<>();
        private final CompletableFuture<Integer> closed =
                new CompletableFuture<>();
        private final StringBuilder text = new StringBuilder();
        private final WebSocket socket;

        Browser(HttpClient client, DataChannelPeer.SignalingServer server,
                String name) throws Exception {
            socket = Await.value(client.newWebSocketBuilder().buildAsync(
                    URI.create("ws://127.0.0.1:" + server.localAddress()
                            .getPort() + "/signal"), this),
                    "a WebSocket to /signal", "given");
            socket.sendText("join\nblue\n" + name, true);
        }

        @Override
        public CompletionStage<?> onText(WebSocket from, CharSequence part,
                boolean last) {
            text.append(part);
            if (last) {
                texts.add(text.toString());
                text.setLength(0);
            }
            from.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onClose(WebSocket from, int status,
                String reason) {
            closed.complete(status);
            return null;
        }

        @Override
        public void onError(WebSocket from, Throwable error) {
            closed.completeExceptionally(error);
        }

        void hears(String expected) throws InterruptedException {
            Await.until(() -> !texts.isEmpty(), "a text that begins with "
                    + expected.lines().findFirst().orElse(""),
                    "the server calls receive() and leave()");
            Check.equal(expected, texts.poll(), "the next text",
                    "the server calls receive() and leave()");
        }
    }

    /** A chunk in a packet with this verification tag. */
    private record Chunk(int tag, int type, int flags, ByteBuffer body) {

        /** A SACK: up to this TSN, counted from 0, with these gap blocks. */
        void is(long first, long upTo, List<String> blocks, String likely) {
            var in = body.duplicate();
            Check.equal(upTo, (long) (in.getInt() - (int) first),
                    "the cumulative TSN of the SACK, counted from the first"
                            + " TSN = 0", likely);
            in.getInt();
            int count = in.getShort();
            in.getShort();
            var found = new ArrayList<String>();
            for (int i = 0; i < count; i++) {
                found.add(in.getShort() + "-" + in.getShort());
            }
            Check.equal(blocks, found, "the gap blocks of the SACK", likely);
        }
    }

    private record Sack(long first, Chunk chunk) {
        void is(long upTo, List<String> blocks, String likely) {
            chunk.is(first, upTo, blocks, likely);
        }
    }

    private static byte[] packet(int tag, byte[] chunks) {
        var packet = ByteBuffer.allocate(12 + chunks.length)
                .putShort((short) 5000).putShort((short) 5000).putInt(tag)
                .putInt(0).put(chunks);
        var crc = new CRC32C();
        crc.update(packet.array());
        return packet.order(ByteOrder.LITTLE_ENDIAN)
                .putInt(8, (int) crc.getValue()).array();
    }

    private static byte[] chunk(int type, int flags, byte[] body) {
        return ByteBuffer.allocate(4 + (body.length + 3) / 4 * 4)
                .put((byte) type).put((byte) flags)
                .putShort((short) (4 + body.length)).put(body).array();
    }

    private static byte[] parameter(int type, byte[] value) {
        return chunk(type >> 8, type, value);
    }

    private static byte[] init(int tag, int tsn) {
        return ByteBuffer.allocate(16).putInt(tag).putInt(1 << 20)
                .putInt(0x00100010).putInt(tsn).array();
    }

    private static List<Chunk> chunks(byte[] packet) {
        var chunks = new ArrayList<Chunk>();
        var in = ByteBuffer.wrap(packet);
        Check.sameBytes(packet(in.getInt(4), Arrays.copyOfRange(packet, 12,
                packet.length)), packet, "ports, tag and checksum of a packet",
                "given: send(tag, chunk)");
        in.position(12);
        while (in.remaining() >= 4) {
            int type = in.get() & 0xff;
            int flags = in.get();
            int length = (in.getShort() & 0xffff) - 4;
            chunks.add(new Chunk(in.getInt(4), type, flags,
                    in.slice(in.position(), length)));
            in.position(Math.min(in.limit(), in.position()
                    + (length + 3) / 4 * 4));
        }
        return chunks;
    }

    private static byte[] cookie(Chunk ack) {
        var in = ack.body().duplicate().position(16);
        while (in.remaining() >= 4) {
            int type = in.getShort() & 0xffff;
            int length = in.getShort() - 4;
            if (type == 7) {
                var cookie = new byte[length];
                in.get(cookie);
                return cookie;
            }
            in.position(in.position() + (length + 3) / 4 * 4);
        }
        return new byte[0];
    }

    /** The other side of an association, byte by byte. */
    private static final class Far implements DataChannelPeer.MessageReceiver {
        private final int first;
        private final List<byte[]> sent = new ArrayList<>();
        private final List<String> messages = new ArrayList<>();
        private final List<String> streams = new ArrayList<>();
        private final DataChannelPeer.SctpAssociation association =
                new DataChannelPeer.SctpAssociation(sent::add, this,
                        new FakeClock());
        private int tag;

        Far(int first) {
            this.first = first;
        }

        @Override
        public void message(int stream, int ppid, byte[] payload) {
            streams.add(stream + " " + ppid);
            messages.add(new String(payload));
        }

        byte[] init() {
            return DataChannelPeerTest.chunk(INIT, 0,
                    DataChannelPeerTest.init(TAG, first));
        }

        List<Chunk> sends(int tag, byte[] chunks) {
            sent.clear();
            association.receive(packet(tag, chunks));
            return take();
        }

        List<Chunk> take() {
            var all = sent.stream().flatMap(p -> chunks(p).stream()).toList();
            sent.clear();
            return all;
        }

        Chunk only(List<Chunk> answers, int type, String to, String likely) {
            Check.that(answers.size() == 1 && answers.getFirst().type() == type,
                    "one chunk of type " + type + " as the answer to " + to
                            + ", got " + answers, likely);
            return answers.getFirst();
        }

        /** INIT, INIT ACK, COOKIE ECHO, COOKIE ACK. @return the third */
        byte[] establish() {
            var ack = only(sends(0, init()), INIT_ACK, "an INIT",
                    "send(init.tag(), initAck(…))");
            tag = ack.body().getInt(0);
            var echo = DataChannelPeerTest.chunk(COOKIE_ECHO, 0, cookie(ack));
            Check.equal(TAG, only(sends(tag, echo), COOKIE_ACK,
                    "the COOKIE ECHO", "send(peer.tag(), chunk(COOKIE_ACK,"
                            + " 0))").tag(), "the tag of the COOKIE ACK",
                    "it is the one that the peer's INIT named");
            return echo;
        }

        byte[] chunk(int tsn, int flags, String text) {
            return DataChannelPeerTest.chunk(0, flags, join(ByteBuffer
                    .allocate(12).putInt(first + tsn).putShort((short) 3)
                    .putShort((short) 0).putInt(51).array(), text.getBytes()));
        }

        /** One DATA chunk on stream 3 with PPID 51; its TSN counts from 0. */
        Sack data(int tsn, int flags, String text) {
            return new Sack(first, only(sends(tag, chunk(tsn, flags, text)),
                    SACK, "a DATA chunk", "given: each packet with DATA is"
                            + " answered with a SACK"));
        }

        void delivered(List<String> expected, String likely) {
            Check.equal(expected, List.copyOf(messages), "the messages that"
                    + " were delivered", likely);
            messages.clear();
        }
    }

    /** Two established associations, and a network that makes trouble. */
    private static final class Wire {
        private static final class End
                implements DataChannelPeer.MessageReceiver {
            private final List<String> got = new ArrayList<>();
            private final List<String> expected = new ArrayList<>();

            @Override
            public void message(int stream, int ppid, byte[] payload) {
                got.add(stream + " " + Arrays.hashCode(payload));
            }

        }

        private final Random random = new Random(4_15);
        private final FakeClock clock = new FakeClock();
        private final List<Runnable> packets = new LinkedList<>();
        private final End atServer = new End();
        private final End atClient = new End();
        private final double trouble;
        private final DataChannelPeer.SctpAssociation server =
                new DataChannelPeer.SctpAssociation(this::toClient, atServer,
                        clock);
        private final DataChannelPeer.SctpAssociation client =
                new DataChannelPeer.SctpAssociation(this::toServer, atClient,
                        clock);

        Wire(double trouble) {
            this.trouble = trouble;
            var ours = DataChannelPeer.Init.fresh();
            var theirs = DataChannelPeer.Init.fresh();
            server.establish(ours, theirs);
            client.establish(theirs, ours);
        }

        private void toServer(byte[] packet) {
            put(() -> server.receive(packet));
        }

        private void toClient(byte[] packet) {
            put(() -> client.receive(packet));
        }

        private void put(Runnable arrival) {
            for (int copies = random.nextDouble() < trouble ? 2 : 1;
                    copies > 0; copies--) {
                if (random.nextDouble() >= trouble) {
                    int back = random.nextDouble() < trouble
                            ? random.nextInt(5) : 0;
                    packets.add(Math.max(0, packets.size() - back), arrival);
                }
            }
        }

        /** Until nothing is sent any more, even after a minute. */
        void run() {
            for (int quiet = 0; quiet < 2; quiet++) {
                while (!packets.isEmpty()) {
                    packets.removeFirst().run();
                    quiet = 0;
                }
                clock.advance(Duration.ofMinutes(2));
                server.tick();
                client.tick();
            }
        }
    }

    /** A data channel, its listener, and what it sends. */
    private static final class Channel implements DataChannelPeer.Listener {
        private final List<String> events = new ArrayList<>();
        private final List<String> sent = new ArrayList<>();
        private final DataChannelPeer.DataChannel inner;
        private String atOpen = "";

        Channel(long maxMessageSize) {
            inner = new DataChannelPeer.DataChannel((stream, ppid, payload) ->
                    sent.add(stream + " " + ppid + " "
                            + HexFormat.of().formatHex(payload)), this,
                    maxMessageSize);
        }

        /** A message for the channel. @return what it sent back */
        List<String> gets(int stream, int ppid, byte[] payload)
                throws IOException {
            sent.clear();
            inner.message(stream, ppid, payload);
            return sent;
        }

        /** Stream, PPID and bytes of what goes out. */
        List<String> sends(boolean text, String payload) throws IOException {
            sent.clear();
            inner.send(text, payload.getBytes());
            return sent;
        }

        void heard(List<String> expected, String likely) {
            Check.equal(expected, List.copyOf(events), "what the listener has"
                    + " heard", likely);
            events.clear();
        }

        @Override
        public void onOpen(String label) {
            atOpen = sent.size() + " sent, open: " + inner.isOpen();
            events.add("open " + label);
        }

        @Override
        public void onText(String text) {
            events.add("text " + text);
        }

        @Override
        public void onBinary(byte[] bytes) {
            events.add("binary " + HexFormat.of().formatHex(bytes));
        }
    }

    /** The side that offers: a check, a DTLS client, an association. */
    private static final class Caller
            implements AutoCloseable, DataChannelPeer.Listener {
        private final List<String> events = new CopyOnWriteArrayList<>();
        private final List<String> messages = new CopyOnWriteArrayList<>();
        private final DatagramSocket socket = new DatagramSocket(
                new InetSocketAddress(HERE, 0));
        private final DataChannelPeer peer;
        private final DataChannelPeer.DtlsPump dtls;
        private final DataChannelPeer.SctpAssociation sctp;
        private final DataChannelPeer.Init own =
                new DataChannelPeer.Init(TAG, 1 << 20, HIGH);
        private DataChannelPeer.Init theirs;
        private boolean isOpening;

        /** The offer has the fingerprint of one, DTLS the keys of another. */
        Caller(DataChannelPeer.Identity offered, DataChannelPeer.Identity used)
                throws Exception {
            peer = DataChannelPeer.start(new InetSocketAddress(HERE, 0), """
                    v=0
                    m=application 9 UDP/DTLS/SCTP webrtc-datachannel
                    a=mid:0
                    a=ice-ufrag:them
                    a=ice-pwd:0123456789abcdefghijklmn
                    a=fingerprint:sha-256 %s
                    a=setup:actpass
                    a=sctp-port:5000
                    """.formatted(hex(sha256(offered))), BERT, this,
                    DataChannelPeer.Options.defaults());
            dtls = new DataChannelPeer.DtlsPump(clientEngine(used),
                    this::transmit, this::opened, System::nanoTime);
            sctp = new DataChannelPeer.SctpAssociation(dtls::send,
                    (_, ppid, payload) -> messages.add(ppid + " "
                            + HexFormat.of().formatHex(payload)),
                    System::nanoTime);
            socket.setSoTimeout(20);
            transmit(Answer_connectivity_checks.request(value("ice-ufrag")
                    + ":them", value("ice-pwd"), 0, 0x0025));
        }

        private String value(String name) {
            return peer.answer().lines().filter(line -> line.startsWith(
                    "a=" + name + ":")).findFirst().orElseThrow()
                    .substring(name.length() + 3);
        }

        private void transmit(byte[] bytes) {
            try {
                socket.send(new DatagramPacket(bytes, bytes.length,
                        peer.localAddress()));
            } catch (IOException e) {
                // The test is over.
            }
        }

        /** What DTLS has decrypted: the handshake of SCTP, then the rest. */
        private void opened(byte[] packet) {
            var chunk = chunks(packet).getFirst();
            switch (chunk.type()) {
                case INIT_ACK -> {
                    theirs = DataChannelPeer.Init.read(
                            chunk.body().duplicate());
                    dtls.send(packet(theirs.tag(), chunk(COOKIE_ECHO, 0,
                            cookie(chunk))));
                }
                case COOKIE_ACK -> {
                    sctp.establish(own, theirs);
                    sctp.send(1, 50, Open_the_data_channel.open("chat", ""));
                }
                default -> sctp.receive(packet);
            }
        }

        void connects() {
            Thread.ofVirtual().start(() -> {
                var packet = new DatagramPacket(new byte[2048], 2048);
                while (!socket.isClosed()) {
                    try {
                        packet.setLength(2048);
                        socket.receive(packet);
                        step(Arrays.copyOf(packet.getData(),
                                packet.getLength()));
                    } catch (SocketTimeoutException e) {
                        // A chance to see that it is closed.
                    } catch (IOException e) {
                        return;
                    }
                }
            });
        }

        private synchronized void step(byte[] packet) throws IOException {
            dtls.receive(packet[0] <= 3 ? new byte[0] : packet);
            if (dtls.up && !isOpening) {
                isOpening = true;
                dtls.send(packet(0, chunk(INIT, 0, own.bytes())));
            }
        }

        synchronized void says(int ppid, String text) {
            sctp.send(1, ppid, text.getBytes());
        }

        void hears(String event) throws InterruptedException {
            Await.until(() -> events.contains(event), "the listener to hear "
                    + event, "all seven steps meet here");
        }

        void receives(String message) throws InterruptedException {
            Await.until(() -> messages.contains(message), "the other side to"
                    + " receive PPID and bytes " + message,
                    "all seven steps meet here");
        }

        @Override
        public void onOpen(String label) {
            events.add("open " + label);
        }

        @Override
        public void onText(String text) {
            events.add("text " + text);
        }

        @Override
        public void onClosed(DataChannelPeer.CloseReason reason) {
            events.add("closed " + reason);
        }

        @Override
        public void close() {
            peer.close();
            socket.close();
        }
    }
}
