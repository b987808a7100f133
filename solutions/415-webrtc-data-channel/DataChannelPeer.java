///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS io.netty:netty-codec-http:4.2.18.Final
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED
//DESCRIPTION Lab 415: a WebRTC data channel between a browser and plain Java

import module java.base;

import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.TooLongFrameException;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.FullHttpRequest;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.codec.http.websocketx.CloseWebSocketFrame;
import io.netty.handler.codec.http.websocketx.TextWebSocketFrame;
import io.netty.handler.codec.http.websocketx.WebSocketFrame;
import io.netty.handler.codec.http.websocketx.WebSocketFrameAggregator;
import io.netty.handler.codec.http.websocketx.WebSocketServerProtocolHandler;
import java.security.cert.Certificate;
import java.security.cert.CertificateEncodingException;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;

/**
 * The answering side of one WebRTC connection with one data channel, and the
 * signaling server that brings two peers together.
 *
 * <p>Four protocols in a row: signaling (any way to exchange two texts), ICE
 * (RFC 8445, here the lite form), DTLS 1.2 (RFC 6347) and SCTP inside it
 * (RFC 9260, RFC 8261), which carries the data channel (RFC 8831, RFC 8832).
 *
 * <p>Thread-safe. Left out: offers of our own, a second channel, media,
 * congestion control, IPv6 zones, TURN.
 */
public final class DataChannelPeer implements AutoCloseable {

    /** Relays texts between the members of a room; thread-safe. */
    static final class Rooms {

        private static final int MOST_MEMBERS = 8;
        private static final Pattern NAME = Pattern.compile("[\\w-]{1,64}");

        private record Seat(String room, String name) {}

        private final Map<String, SequencedMap<String, Member>> rooms =
                new HashMap<>();
        private final Map<Member, Seat> seats = new HashMap<>();

        /**
         * A text from a member: {@code join\nROOM\nNAME} first, later
         * {@code offer\nTO\nSDP}, or answer, candidate or bye in this form.
         */
        // tag::receive[]
        synchronized void receive(Member from, String text) {
            // tag::step1[] join() once and first; relay KIND, the sender's name and the rest to TO, or send error()
            var parts = text.split("\n", 3);
            var seat = seats.get(from);
            if (parts.length < 3) {
                error(from, "malformed", "KIND, TO and a text, in lines");
            } else if (parts[0].equals("join")) {
                if (seat != null) {
                    error(from, "joined", "in room " + seat.room());
                } else {
                    join(from, parts[1], parts[2]);
                }
            } else if (seat == null) {
                error(from, "not-joined", "join a room first");
            } else if (!RELAYED.contains(parts[0])) {
                error(from, "malformed", "unknown: " + parts[0]);
            } else {
                var to = rooms.get(seat.room()).get(parts[1]);
                if (to == null) {
                    error(from, "no-such-peer", parts[1]);
                } else {
                    to.send(parts[0] + "\n" + seat.name() + "\n" + parts[2]);
                }
            }
            // end::step1[]
        }
        // end::receive[]

        private void join(Member member, String room, String name) {
            var members = rooms.getOrDefault(room, new LinkedHashMap<>());
            if (!NAME.matcher(room).matches()
                    || !NAME.matcher(name).matches()) {
                error(member, "bad-name", "1 to 64 letters, digits, _ or -");
            } else if (members.containsKey(name)) {
                error(member, "name-taken", name);
            } else if (members.size() == MOST_MEMBERS) {
                error(member, "room-full", room);
            } else {
                members.put(name, member);
                rooms.put(room, members);
                seats.put(member, new Seat(room, name));
                members.values().forEach(each -> each.send(
                        "joined\n" + String.join(",", members.keySet())));
            }
        }

        /** Called when the connection of a member has ended. */
        // tag::leave[]
        synchronized void leave(Member member) {
            // tag::step1[] free the seat, remove an empty room, and send peer-left\nNAME to the others
            var seat = seats.remove(member);
            if (seat == null) {
                return;
            }
            var members = rooms.get(seat.room());
            members.remove(seat.name());
            if (members.isEmpty()) {
                rooms.remove(seat.room());
            }
            members.values().forEach(
                    each -> each.send("peer-left\n" + seat.name()));
            // end::step1[]
        }
        // end::leave[]

        private static void error(Member member, String code, String text) {
            member.send("error\n" + code + "\n" + text);
        }

        /** How many rooms have members. */
        synchronized int count() {
            return rooms.size();
        }
    }

    /**
     * What an SDP offer says about its data channel (RFC 8839, 8841, 8842).
     *
     * @param mid            of its media section
     * @param ufrag          half of the user name in connectivity checks
     * @param fingerprint    SHA-256 of the certificate, 32 bytes
     * @param sctpPort       1 to 65535
     * @param maxMessageSize of a message to the offerer; 0: any
     */
    record Offer(String mid, String ufrag, byte[] fingerprint, int sctpPort,
            long maxMessageSize) {

        /**
         * Reads an offer, in whatever order its lines are.
         *
         * @throws SdpException which names the line that is missing or wrong
         */
        // tag::parse[]
        static Offer parse(String sdp) throws SdpException {
            // tag::step2[] read mid, ice-ufrag, fingerprint, setup, sctp-port, max-message-size of Sdp.section()
            var section = Sdp.section(sdp);
            var setup = section.value("setup");
            if (!setup.equals("actpass") && !setup.equals("active")) {
                throw new SdpException("a=setup:" + setup
                        + ", but this peer is the DTLS server");
            }
            var fingerprint = section.values("fingerprint").stream()
                    .filter(line -> line.toLowerCase(Locale.ROOT)
                            .startsWith("sha-256 "))
                    .findFirst().orElseThrow(() -> new SdpException(
                            "no a=fingerprint:sha-256"));
            return new Offer(section.value("mid"), section.value("ice-ufrag"),
                    Sdp.fingerprint(fingerprint.substring(8)),
                    (int) section.number("sctp-port", 5000, 1, 65535),
                    section.number("max-message-size", 65536, 0,
                            Long.MAX_VALUE));
            // end::step2[]
        }
        // end::parse[]

        /** The answer to it (RFC 9429, section 5.3.1). */
        // tag::answer[]
        String answer(Local local) {
            // tag::step2[] the session's lines, then one data section: ice-lite, setup:passive, one host candidate
            var host = local.address().getAddress();
            return String.join("\r\n",
                    "v=0",
                    "o=- 1 1 IN IP4 127.0.0.1",
                    "s=-",
                    "t=0 0",
                    "a=ice-lite",
                    "a=group:BUNDLE " + mid,
                    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
                    "c=IN IP4 0.0.0.0",
                    "a=mid:" + mid,
                    "a=ice-ufrag:" + local.ufrag(),
                    "a=ice-pwd:" + local.password(),
                    "a=fingerprint:sha-256 " + Sdp.shown(local.fingerprint()),
                    "a=setup:passive",
                    "a=sctp-port:" + SCTP_PORT,
                    "a=max-message-size:" + MAX_MESSAGE,
                    "a=candidate:1 1 udp 2130706431 " + host.getHostAddress()
                            + " " + local.address().getPort() + " typ host",
                    "a=end-of-candidates", "");
            // end::step2[]
        }
        // end::answer[]
    }

    /**
     * ICE-lite (RFC 8445, sections 2.5 and 7.3): it answers the connectivity
     * checks of the other side, and never sends one.
     */
    static final class IceLiteAgent {

        private final String userName;
        private final byte[] key;
        private final long consentNanos;
        private final LongSupplier nanoClock;
        /** The last few, so that nobody can fill the memory with them. */
        private final Set<InetSocketAddress> checked =
                Collections.newSetFromMap(new LinkedHashMap<>() {
                    @Override
                    protected boolean removeEldestEntry(
                            Map.Entry<InetSocketAddress, Boolean> eldest) {
                        return size() > MOST_ADDRESSES;
                    }
                });
        private Optional<InetSocketAddress> nominated = Optional.empty();
        private long lastCheck;
        private int rejected;

        IceLiteAgent(Local local, String remoteUfrag, Options options) {
            userName = local.ufrag() + ":" + remoteUfrag;
            key = local.password().getBytes(StandardCharsets.UTF_8);
            consentNanos = options.consentTimeout().toNanos();
            nanoClock = options.nanoClock();
            lastCheck = nanoClock.getAsLong();
        }

        /** What to send back: a success response, or nothing. */
        // tag::check[]
        Optional<byte[]> receive(byte[] packet, InetSocketAddress from) {
            // tag::step3[] answer a Binding request with our user name and integrity; note address, time, nomination
            var request = StunMessage.decode(packet).filter(message ->
                    message.type() == StunMessage.BINDING_REQUEST);
            if (request.isEmpty()) {
                return Optional.empty();
            }
            boolean ours = request.get().text(StunMessage.USERNAME)
                    .equals(Optional.of(userName));
            if (!ours || !request.get().isSignedWith(key)) {
                rejected++;
                return Optional.empty();
            }
            lastCheck = nanoClock.getAsLong();
            checked.add(from);
            if (request.get().has(StunMessage.USE_CANDIDATE)) {
                nominated = Optional.of(from);
            }
            return Optional.of(request.get().success(from, key));
            // end::step3[]
        }
        // end::check[]

        /** Whether this address has sent a check that was accepted. */
        boolean isChecked(InetSocketAddress address) {
            return checked.contains(address);
        }

        /** Where to send: the address that the other side has nominated. */
        Optional<InetSocketAddress> nominated() {
            return nominated;
        }

        /** Whether no accepted check has come for too long (RFC 7675). */
        // tag::expired[]
        boolean expired() {
            // tag::step3[] compare nanoClock with the last accepted check, or with the making of the agent
            return nanoClock.getAsLong() - lastCheck > consentNanos;
            // end::step3[]
        }
        // end::expired[]

        int rejected() {
            return rejected;
        }
    }

    /** The only rule of trust: the certificate is the one in the offer. */
    static final class FingerprintTrust extends TrustsOneCertificate {

        private final byte[] expected;

        FingerprintTrust(byte[] expected) {
            this.expected = expected.clone();
        }

        /** @param chain the certificates of the other side, its own first */
        // tag::trust[]
        @Override
        void check(X509Certificate[] chain) throws CertificateException {
            // tag::step4[] compare the SHA-256 of the first certificate with the expected one; else throw
            if (chain.length == 0) {
                throw new CertificateException("no certificate");
            }
            var found = Sdp.fingerprint(chain[0]);
            if (!MessageDigest.isEqual(found, expected)) {
                throw new CertificateException("the fingerprint " + Sdp.shown(
                        found) + " is not the one in the offer");
            }
            // end::step4[]
        }
        // end::trust[]
    }

    /**
     * One SCTP association, with everything that a packet or the time makes
     * it do; for one thread. Packets go to a sender, messages to a receiver.
     */
    static final class SctpAssociation extends SctpCore {

        SctpAssociation(PacketSender out, MessageReceiver receiver,
                LongSupplier nanoClock) {
            super(out, receiver, nanoClock);
        }

        /** An INIT has come (RFC 9260, section 5.1). */
        // tag::init[]
        @Override
        void initReceived(Init init) {
            // tag::step5[] keep nothing: answer with an INIT ACK whose signed cookie holds both Inits
            var own = Init.fresh();
            send(init.tag(), initAck(own, signed(cookie(init, own))));
            // end::step5[]
        }
        // end::init[]

        /** A COOKIE ECHO has come, under this verification tag. */
        // tag::cookie[]
        @Override
        void cookieReceived(int tag, byte[] signed) {
            // tag::step5[] drop a cookie that is not ours; establish() once; answer each with COOKIE ACK
            if (!isSigned(signed)) {
                return;
            }
            var in = ByteBuffer.wrap(signed);
            var peer = Init.read(in);
            var own = Init.read(in);
            if (tag != own.tag()) {
                return;
            }
            if (state() == State.CLOSED) {
                establish(own, peer);
            }
            if (isWith(own, peer)) {
                send(peer.tag(), chunk(COOKIE_ACK, 0));
            }
            // end::step5[]
        }
        // end::cookie[]

        private final TreeMap<Long, Data> ahead = new TreeMap<>();
        private final ByteArrayOutputStream message =
                new ByteArrayOutputStream();

        /** A DATA chunk, perhaps again, perhaps too early (section 6.2). */
        // tag::data[]
        @Override
        void dataReceived(Data data) {
            // tag::step6[] drop what is a duplicate or too far ahead; keep the rest; deliver() what is in order
            if (data.tsn() <= received()
                    || data.tsn() > received() + FARTHEST) {
                return;
            }
            ahead.putIfAbsent(data.tsn(), data);
            for (var next = ahead.remove(received() + 1); next != null;
                    next = ahead.remove(received() + 1)) {
                receivedNext();
                deliver(next);
            }
            // end::step6[]
        }
        // end::data[]

        // tag::step6[]
        /** Fragments of one message have consecutive TSNs (section 6.9). */
        // tag::deliver[]
        private void deliver(Data data) {
            if (data.begins()) {
                message.reset();
            }
            if (message.size() + data.payload().length > MAX_MESSAGE) {
                abort(new CloseReason.Failed(new IOException(
                        "a message of more than " + MAX_MESSAGE + " bytes")));
                return;
            }
            message.writeBytes(data.payload());
            if (data.ends()) {
                receiver().message(
                        data.stream(), data.ppid(), message.toByteArray());
                message.reset();
            }
        }
        // end::deliver[]
        // end::step6[]

        /** What was received beyond a gap: the TSNs, ascending. */
        // tag::gaps[]
        @Override
        SequencedCollection<Long> beyondGap() {
            // tag::step6[] the TSNs that wait, for the gap blocks of a SACK // until then: return List.of();
            return ahead.sequencedKeySet();
            // end::step6[]
        }
        // end::gaps[]
    }

    /** The data channel on an association: RFC 8832, and RFC 8831 §6.6. */
    static final class DataChannel implements MessageReceiver {

        private final Listener listener;
        private final Consumer<CloseReason> ended;
        private final SctpAssociation sctp;
        private final long maxMessageSize;
        private OptionalInt stream = OptionalInt.empty();

        DataChannel(PacketSender out, Listener listener,
                Consumer<CloseReason> ended, long maxMessageSize,
                LongSupplier nanoClock) {
            this.listener = listener;
            this.ended = ended;
            this.maxMessageSize = maxMessageSize;
            sctp = new SctpAssociation(out, this, nanoClock);
        }

        SctpAssociation sctp() {
            return sctp;
        }

        boolean isOpen() {
            return stream.isPresent();
        }

        /** A whole message, whose meaning its PPID tells. */
        // tag::message[]
        @Override
        public void message(int from, int ppid, byte[] payload) {
            // tag::step7[] acknowledge the first OPEN and call onOpen(); pass on texts, binaries, empty ones
            if (ppid == DCEP && isOpen(payload) && stream.isEmpty()) {
                stream = OptionalInt.of(from);
                sctp.send(from, DCEP, new byte[] {DCEP_ACK});
                listener.onOpen(label(payload));
            } else if (stream.equals(OptionalInt.of(from))) {
                switch (ppid) {
                    case TEXT -> listener.onText(
                            new String(payload, StandardCharsets.UTF_8));
                    case TEXT_EMPTY -> listener.onText("");
                    case BINARY -> listener.onBinary(payload);
                    case BINARY_EMPTY -> listener.onBinary(new byte[0]);
                    default -> {}   // for somebody else
                }
            }
            // end::step7[]
        }
        // end::message[]

        // tag::step7[]
        /** Type, channel type, priority, reliability, two lengths, label. */
        // tag::label[]
        private static boolean isOpen(byte[] dcep) {
            return dcep.length >= 12 && dcep[0] == DCEP_OPEN
                    && dcep.length >= 12 + labelLength(dcep);
        }

        private static int labelLength(byte[] dcep) {
            return Short.toUnsignedInt(ByteBuffer.wrap(dcep).getShort(8));
        }

        private static String label(byte[] dcep) {
            return new String(dcep, 12, labelLength(dcep),
                    StandardCharsets.UTF_8);
        }
        // end::label[]
        // end::step7[]

        /** @throws IllegalArgumentException if the other side refuses it */
        // tag::send[]
        void send(boolean text, byte[] payload) {
            // tag::step7[] check maxMessageSize (0: any); send with the PPID of its kind, and empty as one zero byte
            if (maxMessageSize > 0 && payload.length > maxMessageSize) {
                throw new IllegalArgumentException("the peer takes "
                        + maxMessageSize + " bytes, not " + payload.length);
            }
            int ppid = payload.length > 0 ? text ? TEXT : BINARY
                    : text ? TEXT_EMPTY : BINARY_EMPTY;
            sctp.send(stream.orElseThrow(), ppid,
                    payload.length > 0 ? payload : new byte[1]);
            // end::step7[]
        }
        // end::send[]

        @Override
        public void closed(CloseReason reason) {
            ended.accept(reason);
        }

        @Override
        public long backlog() {
            return listener.backlog();
        }
    }

    // ---- given from here on ----

    /** Called one after the other, on a virtual thread of the peer's own. */
    public interface Listener {
        /** The other side has opened its channel; called once, first. */
        default void onOpen(String label) {}

        /** A text message, which may be empty. */
        default void onText(String text) {}

        /** A binary message, which may be empty; the array is yours. */
        default void onBinary(byte[] bytes) {}

        /** Called once, last, also if the channel has never been open. */
        default void onClosed(CloseReason reason) {}

        /** Bytes that wait for a listener which is slow. */
        default long backlog() {
            return 0;
        }
    }

    /** Why a connection has ended. */
    public sealed interface CloseReason {
        /** {@link DataChannelPeer#close} was called. */
        record Here() implements CloseReason {}

        /** The other side has closed the channel or the connection. */
        record ByPeer() implements CloseReason {}

        /** The other side was silent, or has done what it must not. */
        record Failed(IOException cause) implements CloseReason {}
    }

    /** An offer that cannot be answered. */
    public static final class SdpException extends IOException {
        private static final long serialVersionUID = 1;

        SdpException(String message) {
            super(message);
        }
    }

    /**
     * @param handshakeTimeout from the answer to the open channel, above zero
     * @param consentTimeout   without an accepted check, above zero
     * @param nanoClock        as {@link System#nanoTime}
     */
    public record Options(Duration handshakeTimeout, Duration consentTimeout,
            LongSupplier nanoClock) {
        /** 30 s to open the channel, 15 s without a check. */
        public static Options defaults() {
            return new Options(Duration.ofSeconds(30), Duration.ofSeconds(15),
                    System::nanoTime);
        }

        public Options withHandshakeTimeout(Duration timeout) {
            return new Options(timeout, consentTimeout, nanoClock);
        }

        public Options withConsentTimeout(Duration timeout) {
            return new Options(handshakeTimeout, timeout, nanoClock);
        }

        public Options withNanoClock(LongSupplier clock) {
            return new Options(handshakeTimeout, consentTimeout, clock);
        }
    }

    /** Where a packet goes. */
    @FunctionalInterface
    interface PacketSender {
        void send(byte[] packet);
    }

    /** What an association gives. */
    interface MessageReceiver {
        void message(int stream, int ppid, byte[] payload);

        void closed(CloseReason reason);

        /** Bytes of messages that are not taken yet. */
        default long backlog() {
            return 0;
        }
    }

    /** The connection of a member; it may be called by any thread. */
    interface Member {
        void send(String text);
    }

    private static final Set<String> RELAYED =
            Set.of("offer", "answer", "candidate", "bye");
    private static final int SCTP_PORT = 5000;
    /** Bytes of a message in either direction. */
    static final int MAX_MESSAGE = 262_144;
    private static final int MOST_ADDRESSES = 16;
    /** Payload protocol identifiers (RFC 8831, section 8). */
    static final int DCEP = 50;
    static final int TEXT = 51;
    static final int BINARY = 53;
    static final int TEXT_EMPTY = 56;
    static final int BINARY_EMPTY = 57;
    private static final byte DCEP_ACK = 2;
    private static final byte DCEP_OPEN = 3;

    /** This side, as an answer describes it. */
    record Local(InetSocketAddress address, String ufrag, String password,
            byte[] fingerprint) {
        static Local of(InetSocketAddress address, byte[] fingerprint) {
            return new Local(address, token(8), token(24), fingerprint);
        }

        private static String token(int length) {
            return new SecureRandom().ints(length, 0, 36)
                    .mapToObj(i -> Integer.toString(i, 36))
                    .collect(Collectors.joining());
        }
    }

    /** The attributes of a data section, and those of the session around. */
    static final class Sdp {

        private static final int LONGEST = 32_768;
        private final List<String> session = new ArrayList<>();
        private final List<String> media = new ArrayList<>();

        /** The first section of data channels, which must be the only one. */
        static Sdp section(String sdp) throws SdpException {
            if (sdp.length() > LONGEST) {
                throw new SdpException("more than " + LONGEST + " characters");
            }
            var found = new Sdp();
            int sections = 0;
            for (var line : sdp.lines().toList()) {
                if (line.startsWith("m=")) {
                    sections++;
                    if (!line.matches("m=application \\d+ "
                            + "(UDP|TCP)/DTLS/SCTP webrtc-datachannel ?")) {
                        throw new SdpException("no data section: " + line);
                    }
                }
                (sections == 0 ? found.session : found.media).add(line);
            }
            if (sections != 1) {
                throw new SdpException("one m=application, not " + sections);
            }
            return found;
        }

        /** The section's own values; those of the session, if it has none. */
        List<String> values(String name) {
            var own = values(media, name);
            return own.isEmpty() ? values(session, name) : own;
        }

        private static List<String> values(List<String> lines, String name) {
            return lines.stream().filter(l -> l.startsWith("a=" + name + ":"))
                    .map(l -> l.substring(name.length() + 3).strip()).toList();
        }

        String value(String name) throws SdpException {
            return values(name).stream().filter(value -> !value.isEmpty())
                    .findFirst().orElseThrow(
                            () -> new SdpException("no a=" + name));
        }

        long number(String name, long missing, long least, long most)
                throws SdpException {
            var values = values(name);
            if (values.isEmpty()) {
                return missing;
            }
            var text = values.getFirst();
            long number = text.matches("\\d{1,18}") ? Long.parseLong(text) : -1;
            if (number < least || number > most) {
                throw new SdpException("a=" + name + ":" + text);
            }
            return number;
        }

        static byte[] fingerprint(String hex) throws SdpException {
            try {
                var bytes = HexFormat.ofDelimiter(":").parseHex(hex.strip());
                if (bytes.length == 32) {
                    return bytes;
                }
            } catch (IllegalArgumentException e) {
                // Told below.
            }
            throw new SdpException("a=fingerprint:sha-256 " + hex);
        }

        static byte[] fingerprint(Certificate certificate)
                throws CertificateEncodingException {
            try {
                return MessageDigest.getInstance("SHA-256")
                        .digest(certificate.getEncoded());
            } catch (NoSuchAlgorithmException e) {
                throw new AssertionError(e);   // every JDK has it
            }
        }

        static String shown(byte[] fingerprint) {
            return HexFormat.ofDelimiter(":").withUpperCase()
                    .formatHex(fingerprint);
        }
    }

    /** A STUN message (RFC 8489), as far as checks need it. */
    static final class StunMessage {

        static final int BINDING_REQUEST = 0x0001;
        static final int USERNAME = 0x0006;
        static final int MESSAGE_INTEGRITY = 0x0008;
        static final int USE_CANDIDATE = 0x0025;
        private static final int COOKIE = 0x2112A442;

        private final byte[] bytes;
        private final Map<Integer, byte[]> attributes = new HashMap<>();
        private int integrityAt = -1;

        private StunMessage(byte[] bytes) {
            this.bytes = bytes;
        }

        /** Empty if it is none. What follows the integrity is not read. */
        static Optional<StunMessage> decode(byte[] bytes) {
            var in = ByteBuffer.wrap(bytes);
            if (bytes.length < 20 || in.getInt(4) != COOKIE
                    || in.getShort(0) >> 14 != 0
                    || in.getShort(2) != bytes.length - 20) {
                return Optional.empty();
            }
            var message = new StunMessage(bytes.clone());
            in.position(20);
            while (in.remaining() >= 4 && message.integrityAt < 0) {
                int at = in.position();
                int type = Short.toUnsignedInt(in.getShort());
                int length = Short.toUnsignedInt(in.getShort());
                if ((length + 3 & ~3) > in.remaining()) {
                    return Optional.empty();
                }
                if (type == MESSAGE_INTEGRITY) {
                    message.integrityAt = at;
                }
                message.attributes.putIfAbsent(type, Arrays.copyOfRange(
                        bytes, at + 4, at + 4 + length));
                in.position(at + 4 + (length + 3 & ~3));
            }
            return Optional.of(message);
        }

        int type() {
            return Short.toUnsignedInt(ByteBuffer.wrap(bytes).getShort(0));
        }

        boolean has(int attribute) {
            return attributes.containsKey(attribute);
        }

        Optional<String> text(int attribute) {
            return Optional.ofNullable(attributes.get(attribute)).map(
                    value -> new String(value, StandardCharsets.UTF_8));
        }

        /** HMAC-SHA1 over all before it, its own length counted. */
        boolean isSignedWith(byte[] key) {
            return integrityAt >= 0 && MessageDigest.isEqual(
                    attributes.get(MESSAGE_INTEGRITY),
                    mac("HmacSHA1", key, ByteBuffer.wrap(Arrays.copyOf(
                            bytes, integrityAt)).putShort(2, (short)
                                    (integrityAt + 4)).array()));
        }

        /** The success response, which tells the sender its own address. */
        byte[] success(InetSocketAddress from, byte[] key) {
            var address = from.getAddress().getAddress();
            var value = ByteBuffer.allocate(4 + address.length)
                    .putShort((short) (address.length == 4 ? 1 : 2))
                    .putShort((short) (from.getPort() ^ COOKIE >>> 16));
            for (int i = 0; i < address.length; i++) {
                value.put((byte) (address[i] ^ bytes[4 + i]));
            }
            return signed(0x0101, Arrays.copyOfRange(bytes, 8, 20), key,
                    attribute(0x0020, value.array()));
        }

        /** Its length does not count the padding. */
        static byte[] attribute(int type, byte[] value) {
            return ByteBuffer.allocate(4 + (value.length + 3 & ~3))
                    .putShort((short) type).putShort((short) value.length)
                    .put(value).array();
        }

        /** With the attributes, MESSAGE-INTEGRITY and FINGERPRINT. */
        static byte[] signed(int type, byte[] id, byte[] key,
                byte[]... attributes) {
            var all = join(attributes);
            var out = ByteBuffer.allocate(20 + all.length + 24 + 8)
                    .putShort((short) type)
                    .putShort((short) (all.length + 24))
                    .putInt(COOKIE).put(id).put(all);
            out.put(attribute(MESSAGE_INTEGRITY, mac("HmacSHA1", key,
                    Arrays.copyOf(out.array(), out.position()))));
            out.putShort(2, (short) (all.length + 24 + 8));
            var crc = new CRC32();
            crc.update(out.array(), 0, out.position());
            return out.put(attribute(0x8028, ByteBuffer.allocate(4).putInt(
                    (int) crc.getValue() ^ 0x5354554E).array())).array();
        }
    }

    private static byte[] join(byte[]... parts) {
        var all = new ByteArrayOutputStream();
        Stream.of(parts).forEach(all::writeBytes);
        return all.toByteArray();
    }

    private static byte[] mac(String algorithm, byte[] key, byte[] bytes) {
        try {
            var mac = Mac.getInstance(algorithm);
            mac.init(new SecretKeySpec(key, algorithm));
            return mac.doFinal(bytes);
        } catch (GeneralSecurityException e) {
            throw new AssertionError(e);   // every JDK has these
        }
    }

    /** A trust manager with one question, whichever side is asked about. */
    private abstract static class TrustsOneCertificate
            implements X509TrustManager {

        abstract void check(X509Certificate[] chain)
                throws CertificateException;

        @Override
        public void checkClientTrusted(X509Certificate[] chain, String type)
                throws CertificateException {
            check(chain);
        }

        @Override
        public void checkServerTrusted(X509Certificate[] chain, String type)
                throws CertificateException {
            check(chain);
        }

        @Override
        public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
        }
    }

    /** The JDK has no public way to make a certificate but keytool. */
    static final class Identity {

        private static final char[] PASSWORD = "changeit".toCharArray();
        private final KeyStore keys;
        private final byte[] fingerprint;

        Identity(KeyStore keys) throws GeneralSecurityException {
            this.keys = keys;
            fingerprint = Sdp.fingerprint(
                    keys.getCertificate(keys.aliases().nextElement()));
        }

        /** A new one; it takes keytool about half a second. */
        static Identity generate() throws IOException {
            try {
                var file = Files.createTempDirectory("lab415").resolve("keys");
                var keytool = new ProcessBuilder(System.getProperty(
                        "java.home") + "/bin/keytool", "-genkeypair",
                        "-alias", "peer", "-keyalg", "EC", "-groupname",
                        "secp256r1", "-dname", "CN=WebRTC", "-validity", "30",
                        "-keystore", file.toString(), "-storepass",
                        new String(PASSWORD)).redirectErrorStream(true).start();
                var said = new String(keytool.getInputStream().readAllBytes());
                if (keytool.waitFor() != 0) {
                    throw new IOException(said);
                }
                var keys = KeyStore.getInstance(file.toFile(), PASSWORD);
                Files.delete(file);
                Files.delete(file.getParent());
                return new Identity(keys);
            } catch (GeneralSecurityException | InterruptedException e) {
                throw new IOException("no certificate", e);
            }
        }

        KeyStore keys() {
            return keys;
        }

        /** A server that asks for the certificate of the other side. */
        SSLEngine engine(TrustManager trust) throws IOException {
            try {
                var keyManagers = KeyManagerFactory.getInstance("PKIX");
                keyManagers.init(keys, PASSWORD);
                var context = SSLContext.getInstance("DTLSv1.2");
                context.init(keyManagers.getKeyManagers(),
                        new TrustManager[] {trust}, null);
                var engine = context.createSSLEngine();
                engine.setUseClientMode(false);
                engine.setNeedClientAuth(true);
                return engine;
            } catch (GeneralSecurityException e) {
                throw new IOException(e);
            }
        }
    }

    /**
     * DTLS over whatever carries datagrams, for one thread: an engine does it,
     * which knows neither sockets nor time.
     */
    static final class DtlsPump {

        private static final long FLIGHT = 1_000_000_000;
        /** The engine refuses larger records; Chromium's have 1,225 bytes. */
        private static final int LARGEST = 1500;
        private static final ByteBuffer NOTHING = ByteBuffer.allocate(0);

        private final SSLEngine engine;
        private final PacketSender out;
        private final PacketSender in;
        private final LongSupplier nanoClock;
        private final ByteBuffer plain = ByteBuffer.allocate(1 << 15);
        private final ByteBuffer record = ByteBuffer.allocate(1 << 15);
        private final List<byte[]> lastFlight = new ArrayList<>();
        private long sentAt;
        private boolean up;
        private boolean closed;

        DtlsPump(SSLEngine engine, PacketSender out, PacketSender in,
                LongSupplier nanoClock) throws SSLException {
            this.engine = engine;
            this.out = out;
            this.in = in;
            this.nanoClock = nanoClock;
            limitRecords();
            engine.beginHandshake();
        }

        private void limitRecords() {
            var parameters = engine.getSSLParameters();
            parameters.setMaximumPacketSize(LARGEST);
            engine.setSSLParameters(parameters);
        }

        /** The JDK has halved the limit if it had to send a flight again. */
        private void noteEnd(HandshakeStatus status) {
            if (status == HandshakeStatus.FINISHED) {
                up = true;
                limitRecords();
            }
        }

        boolean isUp() {
            return up;
        }

        boolean isClosed() {
            return closed;
        }

        /** A datagram with records; an empty one makes a client begin. */
        void receive(byte[] datagram) throws SSLException {
            if (up && datagram.length > 0
                    && (datagram[0] == 20 || datagram[0] == 22)) {
                if (!engine.getUseClientMode()) {
                    lastFlight.forEach(out::send);   // it was lost
                }
                return;
            }
            var records = ByteBuffer.wrap(datagram);
            boolean first = true;
            for (int left = -1; left != records.remaining() && !closed
                    && (!up || records.hasRemaining()); ) {
                left = records.remaining();
                unwrap(records);
                while (engine.getHandshakeStatus() != HandshakeStatus
                        .NEED_UNWRAP && isBusy()) {
                    first = work(first);
                }
            }
        }

        private boolean isBusy() {
            return engine.getHandshakeStatus()
                    != HandshakeStatus.NOT_HANDSHAKING;
        }

        private void unwrap(ByteBuffer records) throws SSLException {
            plain.clear();
            var result = engine.unwrap(records, plain);
            noteEnd(result.getHandshakeStatus());
            closed |= result.getStatus() == SSLEngineResult.Status.CLOSED;
            if (plain.position() > 0) {
                in.send(Arrays.copyOf(plain.array(), plain.position()));
            }
        }

        /** @return whether the next record begins another flight */
        private boolean work(boolean first) throws SSLException {
            switch (engine.getHandshakeStatus()) {
                case NEED_TASK -> engine.getDelegatedTask().run();
                case NEED_WRAP -> {
                    if (first) {
                        lastFlight.clear();
                    }
                    lastFlight.add(wrap(NOTHING));
                    return false;
                }
                default -> unwrap(NOTHING);   // NEED_UNWRAP_AGAIN
            }
            return first;
        }

        private byte[] wrap(ByteBuffer packet) throws SSLException {
            record.clear();
            noteEnd(engine.wrap(packet, record).getHandshakeStatus());
            sentAt = nanoClock.getAsLong();
            var bytes = Arrays.copyOf(record.array(), record.position());
            if (bytes.length > 0) {
                out.send(bytes);
            }
            return bytes;
        }

        /** Sends the last flight again when its answer is overdue. */
        void tick() throws SSLException {
            if (!up && !closed && !lastFlight.isEmpty()
                    && nanoClock.getAsLong() - sentAt > FLIGHT) {
                do {
                    wrap(NOTHING);
                } while (engine.getHandshakeStatus()
                        == HandshakeStatus.NEED_WRAP);
            }
        }

        /** One packet, one record. */
        void send(byte[] packet) throws SSLException {
            var rest = ByteBuffer.wrap(packet);
            wrap(rest);
            if (rest.hasRemaining()) {
                throw new SSLException("too long for a record: "
                        + packet.length + " bytes");
            }
        }

        /** Sends close_notify, or the alert of a failed handshake. */
        void close() {
            closed = true;
            engine.closeOutbound();
            try {
                while (engine.getHandshakeStatus()
                        == HandshakeStatus.NEED_WRAP) {
                    wrap(NOTHING);
                }
            } catch (SSLException e) {
                // There is nobody to tell.
            }
        }
    }

    // SCTP's chunks.
    private static final int DATA = 0;
    private static final int INIT = 1;
    private static final int INIT_ACK = 2;
    private static final int SACK = 3;
    private static final int HEARTBEAT = 4;
    private static final int HEARTBEAT_ACK = 5;
    private static final int ABORT = 6;
    private static final int SHUTDOWN = 7;
    private static final int SHUTDOWN_ACK = 8;
    private static final int COOKIE_ECHO = 10;
    private static final int COOKIE_ACK = 11;
    private static final int RE_CONFIG = 130;

    enum State { CLOSED, COOKIE_WAIT, COOKIE_ECHOED, ESTABLISHED, ENDED }

    /** What each side says of itself: its tag, window and first TSN. */
    record Init(int tag, int window, int tsn) {
        static final int BYTES = 16;

        static Init fresh() {
            var random = new SecureRandom();
            return new Init(random.nextInt() | 1, SctpCore.WINDOW,
                    random.nextInt());
        }

        /** Tag, window, numbers of streams each way, first TSN. */
        static Init read(ByteBuffer in) {
            int tag = in.getInt();
            int window = in.getInt();
            in.getInt();
            return new Init(tag, window, in.getInt());
        }

        byte[] bytes() {
            return ByteBuffer.allocate(BYTES).putInt(tag).putInt(window)
                    .putInt(-1).putInt(tsn).array();
        }
    }

    /** A DATA chunk; its TSN goes on beyond 32 bits. */
    record Data(long tsn, int flags, int stream, int ppid, byte[] payload) {
        boolean begins() {
            return (flags & 2) != 0;
        }

        boolean ends() {
            return (flags & 1) != 0;
        }
    }

    /** The given part of {@link SctpAssociation}. */
    private abstract static class SctpCore {

        static final int WINDOW = 1 << 20;
        /** A chunk that is further ahead is dropped. */
        static final int FARTHEST = 4096;
        /** So an IP packet stays below 1,200 bytes (RFC 8831, section 5). */
        private static final int FRAGMENT = 1100;
        private static final int MOST_IN_FLIGHT = 32;
        private static final int MOST_RETRIES = 10;
        private static final int MOST_BLOCKS = 250;
        private static final long RTO = 1_000_000_000;

        private final PacketSender out;
        private final MessageReceiver receiver;
        private final LongSupplier nanoClock;
        private final byte[] secret = SecureRandom.getSeed(32);
        private final Deque<byte[]> queue = new ArrayDeque<>();
        /** Packets by TSN, and how often a SACK has passed over each. */
        private final TreeMap<Long, byte[]> inFlight = new TreeMap<>();
        private final Map<Long, Integer> missed = new HashMap<>();
        private State state = State.CLOSED;
        private Init own = new Init(0, 0, 0);
        private Init peer = own;
        private long received;
        private long acknowledged;
        private long next;
        private long peerWindow;
        private boolean windowShut;
        private int sequence;
        private long deadline = Long.MAX_VALUE;
        private int retries;

        SctpCore(PacketSender out, MessageReceiver receiver,
                LongSupplier nanoClock) {
            this.out = out;
            this.receiver = receiver;
            this.nanoClock = nanoClock;
        }

        abstract void initReceived(Init init);

        abstract void cookieReceived(int tag, byte[] signed);

        abstract void dataReceived(Data data);

        abstract SequencedCollection<Long> beyondGap();

        State state() {
            return state;
        }

        MessageReceiver receiver() {
            return receiver;
        }

        /** The TSN up to which everything was received. */
        long received() {
            return received;
        }

        void receivedNext() {
            received++;
        }

        /** About how many bytes wait for an acknowledgement. */
        long buffered() {
            return (long) FRAGMENT * (queue.size() + inFlight.size());
        }

        static byte[] cookie(Init peer, Init own) {
            return join(peer.bytes(), own.bytes());
        }

        byte[] signed(byte[] cookie) {
            return join(cookie, mac("HmacSHA256", secret, cookie));
        }

        boolean isSigned(byte[] cookie) {
            return cookie.length > 2 * Init.BYTES && MessageDigest.isEqual(
                    cookie, signed(Arrays.copyOf(cookie, 2 * Init.BYTES)));
        }

        /** It announces RE-CONFIG, or no browser closes its channel. */
        static byte[] initAck(Init own, byte[] cookie) {
            return chunk(INIT_ACK, 0, own.bytes(), parameter(7, cookie),
                    parameter(0x8008, new byte[] {(byte) RE_CONFIG}));
        }

        void establish(Init own, Init peer) {
            this.own = own;
            this.peer = peer;
            received = Integer.toUnsignedLong(peer.tsn()) - 1;
            next = Integer.toUnsignedLong(own.tsn());
            acknowledged = next - 1;
            peerWindow = Integer.toUnsignedLong(peer.window());
            state = State.ESTABLISHED;
        }

        boolean isWith(Init own, Init peer) {
            return state == State.ESTABLISHED && this.own.equals(own)
                    && this.peer.equals(peer);
        }

        /** Begins an association, once more if need be: for the demo. */
        void connect() {
            own = state == State.CLOSED ? Init.fresh() : own;
            state = State.COOKIE_WAIT;
            send(0, chunk(INIT, 0, own.bytes()));
        }

        static byte[] chunk(int type, int flags, byte[]... parts) {
            return padded(type << 8 | flags, join(parts));
        }

        private static byte[] parameter(int type, byte[] value) {
            return padded(type, value);
        }

        private static byte[] padded(int head, byte[] value) {
            return ByteBuffer.allocate(4 + value.length + 3 & ~3)
                    .putShort((short) head)
                    .putShort((short) (4 + value.length)).put(value).array();
        }

        void send(int tag, byte[] chunk) {
            out.send(packet(tag, chunk));
        }

        static byte[] packet(int tag, byte[] chunk) {
            var packet = ByteBuffer.allocate(12 + chunk.length)
                    .putShort((short) SCTP_PORT).putShort((short) SCTP_PORT)
                    .putInt(tag).putInt(0).put(chunk);
            return packet.putInt(8, checksum(packet.array())).array();
        }

        /** CRC32C with the field itself as 0, low byte first (§6.8). */
        private static int checksum(byte[] packet) {
            var crc = new CRC32C();
            crc.update(packet, 0, 8);
            crc.update(new byte[4]);
            crc.update(packet, 12, packet.length - 12);
            return Integer.reverseBytes((int) crc.getValue());
        }

        /** A packet from the other side, or from anybody. */
        void receive(byte[] packet) {
            var in = ByteBuffer.wrap(packet);
            if (packet.length < 16 || in.getInt(8) != checksum(packet)) {
                return;
            }
            in.position(12);
            boolean hasData = false;
            try {
                while (in.remaining() >= 4 && state != State.ENDED) {
                    int type = Byte.toUnsignedInt(in.get());
                    int flags = in.get();
                    var body = value(in);
                    hasData |= type == DATA;
                    chunkReceived(in.getInt(4), type, flags, body);
                }
            } catch (BufferUnderflowException | IndexOutOfBoundsException e) {
                // A chunk that is shorter than it must be: the rest is lost.
            }
            if (hasData && state == State.ESTABLISHED) {
                sendSack();
            }
            flush();
        }

        /** What a length at this place encloses, without its padding. */
        private static ByteBuffer value(ByteBuffer in) {
            int length = Short.toUnsignedInt(in.getShort()) - 4;
            var value = in.slice(in.position(), length);
            in.position(Math.min(in.limit(),
                    in.position() + (length + 3 & ~3)));
            return value;
        }

        private static byte[] bytes(ByteBuffer in) {
            var bytes = new byte[in.remaining()];
            in.get(bytes);
            return bytes;
        }

        private void chunkReceived(int tag, int type, int flags,
                ByteBuffer body) {
            boolean isReflected = type == ABORT && (flags & 1) != 0;
            if (type == INIT && tag == 0 && body.getInt(0) != 0) {
                initReceived(Init.read(body));
            } else if (type == COOKIE_ECHO) {
                cookieReceived(tag, bytes(body));
            } else if (state != State.CLOSED
                    && tag == (isReflected ? peer.tag() : own.tag())) {
                ourChunk(type, flags, body);
            }
        }

        private void ourChunk(int type, int flags, ByteBuffer body) {
            switch (type) {
                case INIT_ACK -> initAckReceived(body);
                case COOKIE_ACK -> state = State.ESTABLISHED;
                case DATA -> {
                    if (receiver.backlog() > 2 * WINDOW) {
                        return;   // more than our window has allowed
                    }
                    long tsn = received + (body.getInt() - (int) received);
                    int stream = Short.toUnsignedInt(body.getShort());
                    body.getShort();
                    dataReceived(new Data(tsn, flags, stream, body.getInt(),
                            bytes(body)));
                }
                case SACK -> sackReceived(body);
                case HEARTBEAT -> send(peer.tag(),
                        chunk(HEARTBEAT_ACK, 0, bytes(body)));
                case RE_CONFIG -> resetReceived(body);
                case SHUTDOWN -> {
                    send(peer.tag(), chunk(SHUTDOWN_ACK, 0));
                    end(new CloseReason.ByPeer());
                }
                case ABORT -> end(new CloseReason.ByPeer());
                default -> {}
            }
        }

        private void initAckReceived(ByteBuffer body) {
            var init = Init.read(body);
            while (body.remaining() >= 4 && state == State.COOKIE_WAIT) {
                int type = body.getShort();
                var value = value(body);
                if (type == 7) {
                    establish(own, init);
                    state = State.COOKIE_ECHOED;
                    send(init.tag(), chunk(COOKIE_ECHO, 0, bytes(value)));
                }
            }
        }

        /** The other side has closed the channel (RFC 8831 §6.7). */
        private void resetReceived(ByteBuffer body) {
            if (body.getShort() == 13) {
                var answer = ByteBuffer.allocate(8).putInt(body.getInt(4))
                        .putInt(1).array();
                send(peer.tag(), chunk(RE_CONFIG, 0, parameter(16, answer)));
                send(peer.tag(), chunk(ABORT, 0));
                end(new CloseReason.ByPeer());
            }
        }

        private void sendSack() {
            var blocks = new ArrayList<long[]>();
            for (long tsn : beyondGap()) {
                if (!blocks.isEmpty() && blocks.getLast()[1] == tsn - 1) {
                    blocks.getLast()[1] = tsn;
                } else if (blocks.size() < MOST_BLOCKS) {
                    blocks.add(new long[] {tsn, tsn});
                }
            }
            int room = (int) Math.max(0, WINDOW - receiver.backlog());
            windowShut = room == 0;
            var sack = ByteBuffer.allocate(12 + 4 * blocks.size())
                    .putInt((int) received).putInt(room)
                    .putShort((short) blocks.size()).putShort((short) 0);
            blocks.forEach(block -> sack.putShort((short) (block[0] - received))
                    .putShort((short) (block[1] - received)));
            send(peer.tag(), chunk(SACK, 0, sack.array()));
        }

        /** Cuts a message into chunks, and sends what the windows allow. */
        void send(int stream, int ppid, byte[] message) {
            for (int at = 0; at < message.length; at += FRAGMENT) {
                int end = Math.min(at + FRAGMENT, message.length);
                var head = ByteBuffer.allocate(12).putInt((int) next++)
                        .putShort((short) stream).putShort((short) sequence)
                        .putInt(ppid).array();
                queue.add(packet(peer.tag(), chunk(DATA, (at == 0 ? 2 : 0)
                        | (end == message.length ? 1 : 0), head,
                        Arrays.copyOfRange(message, at, end))));
            }
            sequence++;
            flush();
        }

        private void flush() {
            while (state == State.ESTABLISHED && !queue.isEmpty()
                    && inFlight.size() < MOST_IN_FLIGHT
                    && (inFlight.isEmpty() || (inFlight.size() + 1L) * FRAGMENT
                            <= peerWindow)) {
                if (inFlight.isEmpty()) {
                    startTimer();
                }
                inFlight.put(next - queue.size(), queue.getFirst());
                out.send(queue.removeFirst());
            }
        }

        private void startTimer() {
            deadline = nanoClock.getAsLong() + (RTO << Math.min(retries, 6));
        }

        private void sackReceived(ByteBuffer body) {
            long upTo = acknowledged + (body.getInt() - (int) acknowledged);
            if (upTo < acknowledged || upTo >= next) {
                return;   // an old one, or a lie
            }
            peerWindow = Integer.toUnsignedLong(body.getInt());
            int blocks = body.getInt() >>> 16;
            inFlight.headMap(upTo, true).clear();
            missed.keySet().removeIf(tsn -> tsn <= upTo);
            if (upTo > acknowledged) {
                acknowledged = upTo;
                retries = 0;
                startTimer();
            }
            long last = upTo;
            for (; blocks > 0; blocks--) {
                long first = upTo + Short.toUnsignedInt(body.getShort());
                last = upTo + Short.toUnsignedInt(body.getShort());
                inFlight.subMap(first, Math.max(first, last + 1)).clear();
            }
            // What three reports have passed over is sent again (§7.2.4).
            inFlight.headMap(last).forEach((tsn, packet) -> {
                if (missed.merge(tsn, 1, Integer::sum) == 3) {
                    out.send(packet);
                }
            });
        }

        /** Does what is due by the clock. */
        void tick() {
            if (state != State.ESTABLISHED) {
                return;
            }
            if (windowShut && receiver.backlog() < WINDOW / 2) {
                sendSack();   // the window is open again
            }
            if (inFlight.isEmpty() || nanoClock.getAsLong() - deadline < 0) {
                return;
            }
            if (++retries > MOST_RETRIES) {
                end(new CloseReason.Failed(new SocketTimeoutException(
                        "the other side acknowledges nothing")));
            }
            startTimer();
            inFlight.values().forEach(out::send);
        }

        /** Ends it at once, and tells the other side. */
        void close() {
            abort(new CloseReason.Here());
        }

        void abort(CloseReason reason) {
            if (state == State.ESTABLISHED) {
                send(peer.tag(), chunk(ABORT, 0));
            }
            end(reason);
        }

        private void end(CloseReason reason) {
            if (state != State.ENDED) {
                state = State.ENDED;
                queue.clear();
                inFlight.clear();
                receiver.closed(reason);
            }
        }
    }

    // The peer: one socket, one thread, all four protocols.

    private static final int TICK = 50;
    private static final long MOST_BUFFERED = 1 << 20;

    private final DatagramSocket socket;
    private final Identity identity;
    private final Options options;
    private final Local local;
    private final Events events;
    private Optional<Connection> connection = Optional.empty();
    private boolean ended;

    private DataChannelPeer(InetSocketAddress bind, Identity identity,
            Listener listener, Options options) throws IOException {
        this.identity = identity;
        this.options = Objects.requireNonNull(options, "options");
        events = new Events(Objects.requireNonNull(listener, "listener"));
        socket = new DatagramSocket(bind);
        socket.setSoTimeout(TICK);
        local = Local.of((InetSocketAddress) socket.getLocalSocketAddress(),
                identity.fingerprint);
    }

    /** Binds a UDP socket; the address goes into the answer, so no wildcard. */
    public static DataChannelPeer start(InetSocketAddress bind,
            Listener listener, Options options) throws IOException {
        return start(bind, Identity.generate(), listener, options);
    }

    static DataChannelPeer start(InetSocketAddress bind, Identity identity,
            Listener listener, Options options) throws IOException {
        return new DataChannelPeer(bind, identity, listener, options);
    }

    /** The UDP address that the answer names. */
    public InetSocketAddress localAddress() {
        return local.address();
    }

    /**
     * Answers the offer of the other side, once, and waits for its packets.
     *
     * @throws SdpException which names what is missing or wrong in it
     */
    public synchronized String answer(String offer) throws IOException {
        if (connection.isPresent() || ended) {
            throw new IllegalStateException("one offer, one answer");
        }
        var parsed = Offer.parse(offer);
        connection = Optional.of(new Connection(parsed));
        Thread.ofPlatform().daemon().name("lab415-peer").start(this::run);
        return parsed.answer(local);
    }

    /** The label, when the channel is open; fails with the reason if not. */
    public CompletableFuture<String> opened() {
        return events.opened.copy();
    }

    /**
     * Sends a text message, and waits while more than 1 MiB of earlier ones is
     * unacknowledged; {@link #close} ends that wait.
     *
     * @throws IOException              "closed", or if it is interrupted
     * @throws IllegalStateException    if the channel is not open yet
     * @throws IllegalArgumentException if the other side takes no message as
     *                                  large as this
     */
    public void send(String text) throws IOException {
        send(true, text.getBytes(StandardCharsets.UTF_8));
    }

    /** As {@link #send(String)}, for bytes. */
    public void send(byte[] bytes) throws IOException {
        send(false, bytes);
    }

    private synchronized void send(boolean text, byte[] payload)
            throws IOException {
        var channel = connection.map(each -> each.channel)
                .filter(DataChannel::isOpen).orElseThrow(
                        () -> new IllegalStateException("it is not open"));
        try {
            while (!ended && channel.sctp().buffered() > MOST_BUFFERED) {
                wait();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("interrupted");
        }
        if (ended) {
            throw new IOException("closed");
        }
        channel.send(text, payload);
    }

    /**
     * Ends the connection at once, and tells the other side (an SCTP ABORT,
     * then the close_notify of DTLS). Its thread ends soon after.
     */
    @Override
    public synchronized void close() {
        connection.ifPresent(each -> each.channel.sctp().close());
        end(new CloseReason.Here());
    }

    private void run() {
        while (!socket.isClosed()) {
            var packet = new DatagramPacket(new byte[2048], 2048);
            try {
                socket.receive(packet);
            } catch (IOException e) {
                packet.setLength(0);   // nothing came, or it is closed
            }
            step(packet);
        }
    }

    private synchronized void step(DatagramPacket packet) {
        if (!ended) {
            try {
                connection.orElseThrow().step(Arrays.copyOf(packet.getData(),
                        packet.getLength()),
                        (InetSocketAddress) packet.getSocketAddress());
            } catch (IOException e) {
                end(new CloseReason.Failed(e));
            } catch (UncheckedIOException e) {
                end(new CloseReason.Failed(e.getCause()));
            }
        }
        notifyAll();   // somebody may wait to send
    }

    private synchronized void end(CloseReason reason) {
        if (!ended) {
            ended = true;
            connection.ifPresent(each -> each.dtls.close());
            socket.close();
            events.onClosed(reason);
            notifyAll();
        }
    }

    /** The protocols of one connection, one in the other. */
    private final class Connection {

        private final IceLiteAgent agent;
        private final DtlsPump dtls;
        private final DataChannel channel;
        private final long answeredAt = options.nanoClock().getAsLong();

        Connection(Offer offer) throws IOException {
            agent = new IceLiteAgent(local, offer.ufrag(), options);
            channel = new DataChannel(this::seal, events,
                    DataChannelPeer.this::end, offer.maxMessageSize(),
                    options.nanoClock());
            dtls = new DtlsPump(identity.engine(
                    new FingerprintTrust(offer.fingerprint())),
                    bytes -> agent.nominated().ifPresent(
                            to -> transmit(bytes, to)),
                    packet -> channel.sctp().receive(packet),
                    options.nanoClock());
        }

        private void seal(byte[] packet) {
            try {
                dtls.send(packet);
            } catch (SSLException e) {
                throw new UncheckedIOException(e);
            }
        }

        private void transmit(byte[] bytes, InetSocketAddress to) {
            try {
                socket.send(new DatagramPacket(bytes, bytes.length, to));
            } catch (IOException e) {
                // Lost, as datagrams are.
            }
        }

        /** A datagram, whose first byte tells the protocol (RFC 7983). */
        void step(byte[] packet, InetSocketAddress from) throws IOException {
            int first = packet.length == 0 ? 255 : packet[0] & 0xff;
            if (first <= 3) {
                agent.receive(packet, from).ifPresent(
                        answer -> transmit(answer, from));
            } else if (first >= 20 && first <= 63 && agent.isChecked(from)) {
                dtls.receive(packet);
                if (dtls.isClosed()) {
                    end(new CloseReason.ByPeer());
                }
            }
            dtls.tick();
            channel.sctp().tick();
            requireProgress();
        }

        private void requireProgress() throws IOException {
            long waited = options.nanoClock().getAsLong() - answeredAt;
            if (!channel.isOpen()
                    && waited > options.handshakeTimeout().toNanos()) {
                throw new SocketTimeoutException("no data channel within "
                        + options.handshakeTimeout() + "; checks rejected: "
                        + agent.rejected());
            }
            if (channel.isOpen() && agent.expired()) {
                throw new SocketTimeoutException("no connectivity check for "
                        + options.consentTimeout());
            }
        }
    }

    /** Passes on to the listener, and counts the bytes that wait for it. */
    private static final class Events implements Listener {

        private final Listener listener;
        private final CompletableFuture<String> opened =
                new CompletableFuture<>();
        private final AtomicLong backlog = new AtomicLong();
        private final ExecutorService thread = Executors
                .newSingleThreadExecutor(Thread.ofVirtual().factory());

        Events(Listener listener) {
            this.listener = listener;
        }

        private void add(long size, Runnable event) {
            if (thread.isShutdown()) {
                return;   // nothing comes after onClosed()
            }
            backlog.addAndGet(size);
            thread.execute(() -> {
                try {
                    event.run();
                } finally {
                    backlog.addAndGet(-size);
                }
            });
        }

        @Override
        public void onOpen(String label) {
            opened.complete(label);
            add(0, () -> listener.onOpen(label));
        }

        @Override
        public void onText(String text) {
            add(text.length(), () -> listener.onText(text));
        }

        @Override
        public void onBinary(byte[] bytes) {
            add(bytes.length, () -> listener.onBinary(bytes));
        }

        @Override
        public void onClosed(CloseReason reason) {
            opened.completeExceptionally(reason instanceof CloseReason.Failed(
                    var cause) ? cause : new IOException("closed"));
            add(0, () -> listener.onClosed(reason));
            thread.shutdown();
        }

        @Override
        public long backlog() {
            return backlog.get();
        }
    }

    // The signaling server, on Netty.

    /** WebSockets at /signal, rooms behind them, and a page at /. */
    public static final class SignalingServer implements AutoCloseable {

        private static final int LONGEST = 65_536;
        private final EventLoopGroup group = new MultiThreadIoEventLoopGroup(
                1, NioIoHandler.newFactory());
        private final Rooms rooms = new Rooms();
        private final Channel channel;

        private SignalingServer(InetSocketAddress bind) throws IOException {
            var bound = new ServerBootstrap().group(group)
                    .channel(NioServerSocketChannel.class)
                    .childHandler(new ChannelInitializer<>() {
                        @Override
                        protected void initChannel(Channel child) {
                            child.pipeline().addLast(new HttpServerCodec(),
                                    new HttpObjectAggregator(8192),
                                    new Page(),
                                    new WebSocketServerProtocolHandler(
                                            "/signal", null, false, LONGEST),
                                    new WebSocketFrameAggregator(LONGEST),
                                    new Connected(rooms));
                        }
                    }).bind(bind).awaitUninterruptibly();
            if (!bound.isSuccess()) {
                close();
                throw new IOException(bound.cause());
            }
            channel = bound.channel();
        }

        /** Listens on this TCP address; port 0 is any free one. */
        public static SignalingServer start(InetSocketAddress bind)
                throws IOException {
            return new SignalingServer(bind);
        }

        /** Where it listens. */
        public InetSocketAddress localAddress() {
            return (InetSocketAddress) channel.localAddress();
        }

        /** How many rooms have members. */
        public int rooms() {
            return rooms.count();
        }

        Rooms members() {
            return rooms;
        }

        @Override
        public void close() {
            group.shutdownGracefully(0, 5, TimeUnit.SECONDS)
                    .awaitUninterruptibly();
        }

        /** Only pages of this server may open a socket to it. */
        private static final class Page
                extends SimpleChannelInboundHandler<FullHttpRequest> {
            @Override
            protected void channelRead0(ChannelHandlerContext context,
                    FullHttpRequest request) {
                var origin = request.headers().get(HttpHeaderNames.ORIGIN);
                var host = request.headers().get(HttpHeaderNames.HOST);
                boolean socket = request.uri().equals("/signal");
                if (socket && (origin == null
                        || origin.endsWith("://" + host))) {
                    context.fireChannelRead(request.retain());
                    return;
                }
                var status = socket ? HttpResponseStatus.FORBIDDEN
                        : request.uri().matches("/(\\?.*)?")
                        ? HttpResponseStatus.OK : HttpResponseStatus.NOT_FOUND;
                var body = status == HttpResponseStatus.OK ? PAGE : "";
                var response = new DefaultFullHttpResponse(
                        HttpVersion.HTTP_1_1, status, Unpooled.copiedBuffer(
                                body, StandardCharsets.UTF_8));
                response.headers().set(HttpHeaderNames.CONTENT_TYPE,
                        "text/html; charset=utf-8")
                        .set(HttpHeaderNames.CONTENT_LENGTH,
                                response.content().readableBytes());
                context.writeAndFlush(response);
            }
        }

        /** One WebSocket: a member, when it has joined. */
        private static final class Connected
                extends SimpleChannelInboundHandler<WebSocketFrame> {
            private final Rooms rooms;
            private Member self = text -> {};
            private boolean closing;

            Connected(Rooms rooms) {
                this.rooms = rooms;
            }

            @Override
            public void handlerAdded(ChannelHandlerContext context) {
                self = text -> context.executor().execute(() -> {
                    if (!closing && context.channel().isWritable()) {
                        context.writeAndFlush(new TextWebSocketFrame(text));
                    } else {   // it does not read
                        close(context, 1013);
                    }
                });
            }

            @Override
            protected void channelRead0(ChannelHandlerContext context,
                    WebSocketFrame frame) {
                if (!closing && frame instanceof TextWebSocketFrame text) {
                    rooms.receive(self, text.text());
                }
            }

            @Override
            public void channelInactive(ChannelHandlerContext context) {
                rooms.leave(self);
            }

            @Override
            public void exceptionCaught(ChannelHandlerContext context,
                    Throwable cause) {
                close(context, cause instanceof TooLongFrameException
                        ? 1009 : 1011);
            }

            /** Sends a Close frame, and waits a second for it to leave. */
            private void close(ChannelHandlerContext context, int code) {
                if (!closing) {
                    closing = true;
                    context.writeAndFlush(new CloseWebSocketFrame(code, ""))
                            .addListener(_ -> context.close());
                    context.executor().schedule(() -> context.close(), 1,
                            TimeUnit.SECONDS);
                }
            }
        }
    }

    private static final String PAGE = """
            <!doctype html><meta charset="utf-8"><title>lab 415</title>
            <h1>A channel to Java</h1><p id="state">not connected</p>
            <input id="say" placeholder="say something"><pre id="log"></pre>
            <script>
            const of = new URLSearchParams(location.search);
            const room = of.get('room') || 'lab';
            const name = of.get('name') || 'browser';
            const ws = new WebSocket(`ws://${location.host}/signal`);
            const pc = new RTCPeerConnection();
            const dc = pc.createDataChannel('chat');
            const at = id => document.getElementById(id);
            const show = m => at('log').append(m + '\\n');
            pc.oniceconnectionstatechange = () =>
                at('state').append(', ICE ' + pc.iceConnectionState);
            dc.onopen = () => show('open');
            dc.onclose = () => show('closed');
            dc.onmessage = e => show('Java: ' + e.data);
            at('say').onchange = e => dc.send(e.target.value);
            ws.onopen = () => ws.send(`join\\n${room}\\n${name}`);
            ws.onmessage = async e => {
              const [kind, from, ...rest] = e.data.split('\\n');
              if (kind === 'joined' && pc.signalingState === 'stable'
                  && !pc.localDescription && from.split(',').includes('java')) {
                await pc.setLocalDescription();
                ws.send(`offer\\njava\\n${pc.localDescription.sdp}`);
              } else if (kind === 'answer') {
                const sdp = rest.join('\\n');
                await pc.setRemoteDescription({type: 'answer', sdp});
              }
            };
            </script>
            """;

    private static final List<String> STEPS = List.of(
            "Relay signaling messages", "Answer an offer",
            "Answer connectivity checks", "Verify the certificate fingerprint",
            "Establish the SCTP association", "Deliver messages in order",
            "Open the data channel");
    private static final String OFFER = """
            v=0
            m=application 9 UDP/DTLS/SCTP webrtc-datachannel
            a=mid:0
            a=ice-ufrag:anna
            a=ice-pwd:0123456789abcdefghijkl
            a=fingerprint:sha-256 %s
            a=setup:actpass
            """;

    public static void main(String[] args) throws Exception {
        var words = String.join(" ", args);
        try {
            if (args.length == 0) {
                demo();
            } else if (words.matches("serve (\\S+:)?\\d{1,5}")) {
                serve(words.substring("serve ".length()));
            } else {
                boolean help = words.matches("-h|(--)?help");
                (help ? System.out : System.err).println((help ? ""
                        : "not understood: " + words + "\n") + """
                        lab-415                     the demo, step by step
                        lab-415 serve [HOST:]PORT   a page for any browser
                        lab-415 help                this text""");
                System.exit(help ? 0 : 2);
            }
        } catch (UnsupportedOperationException todo) {
            next(todo.getMessage() + "\n  " + todo.getStackTrace()[0]);
        } catch (IOException | IllegalArgumentException e) {
            System.err.println(words + ": " + e.getMessage());
            System.exit(1);
        }
    }

    private static void demo() throws Exception {
        IO.println("lab 415  WebRTC data channel");
        var rooms = new Rooms();
        var bert = new ArrayList<String>();
        var eve = new ArrayList<String>();
        Member anna = _ -> {};
        rooms.receive(anna, "join\nroom7\nanna");
        rooms.receive(bert::add, "join\nroom7\nbert");
        rooms.receive(eve::add, "join\nroom8\nbert");
        rooms.receive(anna, "offer\nbert\nv=0");
        show(1, "an offer to bert; room 8 gets", bert.getLast().replace('\n',
                ' ') + "; " + (eve.size() - 1) + " texts",
                "offer anna v=0; 0 texts");

        var identity = Identity.generate();
        var local = Local.of(new InetSocketAddress("127.0.0.1", 5000),
                identity.fingerprint);
        var offer = Offer.parse(OFFER.formatted(
                Sdp.shown(identity.fingerprint)));
        show(2, "offered actpass, answered", Sdp.section(offer.answer(local))
                .value("setup"), "passive");

        var agent = new IceLiteAgent(local, "anna", Options.defaults());
        show(3, "a check with the right password", check(agent, local.ufrag(),
                local.password()), "64 bytes");
        show(3, "a check with another password", check(agent, local.ufrag(),
                "another"), "no answer");

        var trust = new FingerprintTrust(offer.fingerprint());
        show(4, "the offered certificate", trusts(trust, identity), "trusted");
        show(4, "another certificate", trusts(trust, Identity.generate()),
                "refused");

        var wire = new Wire();
        wire.client.connect();
        wire.run(0);
        show(5, "INIT, INIT ACK, COOKIE ECHO and ACK", wire.types,
                "[1, 2, 10, 11]");
        wire.client.send(0, BINARY, new byte[MAX_MESSAGE]);
        wire.run(0.1);
        show(6, "256 KiB, one packet of ten lost", wire.seen,
                "[262144 bytes]");

        var other = new Wire();
        other.server = new DataChannel(other::toClient, other,
                other.seen::add, 0, () -> 0).sctp();
        other.client.connect();
        other.run(0);
        other.client.send(1, DCEP, join(new byte[] {DCEP_OPEN, 0, 0, 0, 0, 0,
            0, 0, 0, 4, 0, 0}, "chat".getBytes(StandardCharsets.UTF_8)));
        other.client.send(1, TEXT, "hello".getBytes(StandardCharsets.UTF_8));
        other.client.close();
        other.run(0);
        show(7, "opened, a text, closed", other.seen,
                "[chat, hello, ByPeer[]]");
        IO.println("\nall seven steps work");
    }

    private static String check(IceLiteAgent agent, String ufrag,
            String password) {
        return agent.receive(StunMessage.signed(StunMessage.BINDING_REQUEST,
                new byte[12], password.getBytes(StandardCharsets.UTF_8),
                StunMessage.attribute(StunMessage.USERNAME, (ufrag + ":anna")
                        .getBytes(StandardCharsets.UTF_8))),
                new InetSocketAddress("127.0.0.1", 5001))
                .map(bytes -> bytes.length + " bytes").orElse("no answer");
    }

    private static String trusts(FingerprintTrust trust, Identity identity)
            throws KeyStoreException {
        try {
            trust.check(new X509Certificate[] {(X509Certificate)
                identity.keys.getCertificate("peer")});
            return "trusted";
        } catch (CertificateException e) {
            return "refused";
        }
    }

    /** Two associations in memory, and the network between them. */
    private static final class Wire implements MessageReceiver, Listener {

        private final List<Object> seen = new ArrayList<>();
        private final List<Integer> types = new ArrayList<>();
        private final Deque<Runnable> packets = new ArrayDeque<>();
        private final Random random = new Random(415);
        private long now;
        private SctpAssociation server = new SctpAssociation(
                this::toClient, this, () -> now);
        private final SctpAssociation client = new SctpAssociation(
                packet -> put(packet, () -> server.receive(packet)), this,
                () -> now);

        private void toClient(byte[] packet) {
            put(packet, () -> client.receive(packet));
        }

        private void put(byte[] packet, Runnable arrival) {
            types.add((int) packet[12]);
            packets.add(arrival);
        }

        /** Until nothing is sent any more, even after a long time. */
        private void run(double loss) {
            do {
                while (!packets.isEmpty()) {
                    var arrival = packets.poll();
                    if (random.nextDouble() >= loss) {
                        arrival.run();
                    }
                }
                now += 100_000_000_000L;
                client.tick();
                server.tick();
            } while (!packets.isEmpty());
        }

        @Override
        public void message(int stream, int ppid, byte[] payload) {
            seen.add(payload.length + " bytes");
        }

        @Override
        public void closed(CloseReason reason) {}

        @Override
        public void onOpen(String label) {
            seen.add(label);
        }

        @Override
        public void onText(String text) {
            seen.add(text);
        }

        @Override
        public long backlog() {
            return 0;
        }
    }

    private static void show(int step, String what, Object seen,
            String expected) {
        IO.println("  %d  %-36s %s".formatted(step, what, seen));
        if (!seen.toString().equals(expected)) {
            next("TODO step " + step + ": search DataChannelPeer.java for it");
        }
    }

    private static void next(String todo) {
        int step = todo.charAt("TODO step ".length()) - '0';
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/DataChannelPeer.java";
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        IO.println("\nnext: step " + step + ", " + STEPS.get(step - 1) + "\n  "
                + todo + (isHere ? "" : "\n  in a clone of the workbook:")
                + ("\n  check  " + jbang + " test-415 " + file).stripTrailing()
                + "\n  hint   " + jbang + " hint 415 " + step);
        System.exit(0);
    }

    private static void serve(String at) throws Exception {
        int colon = at.lastIndexOf(':');
        var host = colon < 0 ? "127.0.0.1" : at.substring(0, colon);
        try (var server = SignalingServer.start(new InetSocketAddress(host,
                Integer.parseInt(at.substring(colon + 1))))) {
            IO.println("listening on " + host + ":"
                    + server.localAddress().getPort());
            server.members().receive(new Echo(server.members(), host),
                    "join\nlab\njava");
            if (System.console() != null) {
                Thread.currentThread().join();   // until Ctrl-C
            }
            System.in.transferTo(OutputStream.nullOutputStream());
        }
        System.exit(0);
    }

    /** Java in the room: it answers each offer, and echoes each text. */
    private record Echo(Rooms rooms, String host) implements Member {
        @Override
        public void send(String text) {
            var parts = text.split("\n", 3);
            if (!parts[0].equals("offer")) {
                return;
            }
            try {
                var self = new AtomicReference<DataChannelPeer>();
                self.set(start(new InetSocketAddress(host, 0), new Listener() {
                    @Override
                    public void onText(String said) {
                        try {
                            self.get().send("you said: " + said);
                        } catch (IOException e) {
                            IO.println(e.getMessage());
                        }
                    }

                    @Override
                    public void onClosed(CloseReason reason) {
                        IO.println(parts[1] + ": " + reason);
                    }
                }, Options.defaults()));
                self.get().opened().thenAccept(label ->
                        IO.println(parts[1] + ": channel " + label));
                rooms.receive(this, "answer\n" + parts[1] + "\n"
                        + self.get().answer(parts[2]));
            } catch (IOException e) {
                IO.println(parts[1] + ": " + e.getMessage());
            }
        }
    }
}
