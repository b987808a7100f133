///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS io.netty:netty-codec-http:4.2.18.Final
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED
//DESCRIPTION Lab 415: a WebRTC data channel between a browser and plain Java

import module java.base;

import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.Unpooled;
import io.netty.channel.*;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.TooLongFrameException;
import io.netty.handler.codec.http.*;
import io.netty.handler.codec.http.websocketx.*;
import java.security.cert.Certificate;
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
 * congestion control, fast retransmission, a lifetime of cookies, TURN.
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
                    (int) section.number("sctp-port", "missing", 1, 65535),
                    section.number("max-message-size", "65536", 0,
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

        private static final int MOST_ADDRESSES = 16;
        private final String userName;
        private final byte[] key;
        private final long consentNanos;
        private final LongSupplier nanoClock;
        private final SequencedSet<InetSocketAddress> checked =
                new LinkedHashSet<>();
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

        /** What to send back: a response, or nothing. */
        // tag::check[]
        Optional<byte[]> receive(byte[] packet, InetSocketAddress from) {
            // tag::step3[] answer a Binding request with our user name and integrity; note() it, time, nomination
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
            if (!request.get().unknown().isEmpty()) {
                return Optional.of(request.get().error420(key));
            }
            lastCheck = nanoClock.getAsLong();
            note(from);
            if (request.get().has(StunMessage.USE_CANDIDATE)) {
                nominated = Optional.of(from);
            }
            return Optional.of(request.get().success(from, key));
            // end::step3[]
        }
        // end::check[]

        /** The last few, so that the other side cannot fill the memory. */
        private void note(InetSocketAddress address) {
            checked.addLast(address);
            if (checked.size() > MOST_ADDRESSES) {
                checked.removeFirst();
            }
        }

        /** Whether this address has sent a check that was accepted. */
        boolean isChecked(InetSocketAddress address) {
            return checked.contains(address);
        }

        /** Where to send: the address that the other side has nominated. */
        Optional<InetSocketAddress> nominated() {
            return nominated;
        }

        /** Whether no accepted check has come for too long. */
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
    record FingerprintTrust(byte[] expected) implements X509TrustManager {

        /** @param chain the certificates of the other side, its own first */
        // tag::trust[]
        @Override
        public void checkClientTrusted(X509Certificate[] chain, String type)
                throws CertificateException {
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

        @Override
        public void checkServerTrusted(X509Certificate[] chain, String type)
                throws CertificateException {
            checkClientTrusted(chain, type);
        }

        @Override
        public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
        }
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
            if (state == State.CLOSED) {
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
            if (data.tsn() <= received || data.tsn() > received + FARTHEST) {
                return;
            }
            ahead.putIfAbsent(data.tsn(), data);
            for (var next = ahead.remove(received + 1); next != null
                    && reason.isEmpty(); next = ahead.remove(received + 1)) {
                received++;
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
                receiver.message(
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

    /** The data channel of an association: RFC 8832, and RFC 8831 §6.6. */
    static final class DataChannel {

        private final MessageSender out;
        private final Listener listener;
        private final long maxMessageSize;
        private volatile OptionalInt stream = OptionalInt.empty();

        DataChannel(MessageSender out, Listener listener,
                long maxMessageSize) {
            this.out = out;
            this.listener = listener;
            this.maxMessageSize = maxMessageSize;
        }

        boolean isOpen() {
            return stream.isPresent();
        }

        /** A whole message, whose meaning its PPID tells. */
        // tag::message[]
        void message(int from, int ppid, byte[] payload) throws IOException {
            // tag::step7[] acknowledge the first OPEN and call onOpen(); pass on texts, binaries, empty ones
            if (ppid == DCEP && isOpen(payload) && stream.isEmpty()) {
                stream = OptionalInt.of(from);
                out.send(from, DCEP, new byte[] {DCEP_ACK});
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
        void send(boolean text, byte[] payload) throws IOException {
            // tag::step7[] check maxMessageSize (0: any); send with the PPID of its kind, and empty as one zero byte
            if (maxMessageSize > 0 && payload.length > maxMessageSize) {
                throw new IllegalArgumentException("the peer takes "
                        + maxMessageSize + " bytes, not " + payload.length);
            }
            int ppid = payload.length > 0 ? text ? TEXT : BINARY
                    : text ? TEXT_EMPTY : BINARY_EMPTY;
            out.send(stream.orElseThrow(), ppid,
                    payload.length > 0 ? payload : new byte[1]);
            // end::step7[]
        }
        // end::send[]
    }

    // ---- given from here on ----

    /**
     * Called one after the other, on a virtual thread of the peer's own. An
     * exception ends the peer.
     */
    public interface Listener {
        /** The other side has opened its channel; called once, first. */
        default void onOpen(String label) throws IOException {}

        /** A text message, which may be empty. */
        default void onText(String text) throws IOException {}

        /** A binary message, which may be empty; the array is yours. */
        default void onBinary(byte[] bytes) throws IOException {}

        /** Called once, last, also if the channel has never been open. */
        default void onClosed(CloseReason reason) {}
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
        public Options {
            requirePositive("handshakeTimeout", handshakeTimeout);
            requirePositive("consentTimeout", consentTimeout);
            Objects.requireNonNull(nanoClock, "nanoClock");
        }

        private static void requirePositive(String name, Duration timeout) {
            if (!Objects.requireNonNull(timeout, name).isPositive()) {
                throw new IllegalArgumentException(name + ": " + timeout);
            }
        }

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

    /** Where a message goes; it may wait until there is room for it. */
    @FunctionalInterface
    interface MessageSender {
        void send(int stream, int ppid, byte[] payload) throws IOException;
    }

    /** What an association gives. */
    @FunctionalInterface
    interface MessageReceiver {
        void message(int stream, int ppid, byte[] payload);
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

    /** The attributes of a data section, and the session's that it lacks. */
    record Sdp(Map<String, List<String>> attributes) {

        private static final int LONGEST = 32_768;

        /** The data section, which must be the only one. */
        static Sdp section(String sdp) throws SdpException {
            var sections = sdp.lines().filter(line -> line.startsWith("m="))
                    .toList();
            if (sdp.length() > LONGEST || sections.size() != 1
                    || !sections.getFirst().matches("m=application \\d+ "
                            + "(UDP|TCP)/DTLS/SCTP webrtc-datachannel ?")) {
                throw new SdpException("not one data section, m=application,"
                        + " in at most " + LONGEST + " characters: "
                        + sections.stream().limit(3).toList());
            }
            var session = new HashMap<String, List<String>>();
            var media = new HashMap<String, List<String>>();
            var into = session;
            for (var line : sdp.lines().toList()) {
                var parts = line.strip().split("[=:]", 3);   // a=NAME:VALUE
                if (parts[0].equals("m")) {
                    into = media;
                } else if (parts[0].equals("a") && parts.length == 3) {
                    into.computeIfAbsent(parts[1], _ -> new ArrayList<>())
                            .add(parts[2]);
                }
            }
            session.putAll(media);
            return new Sdp(session);
        }

        List<String> values(String name) {
            return attributes.getOrDefault(name, List.of());
        }

        String value(String name) throws SdpException {
            return values(name).stream().filter(value -> !value.isEmpty())
                    .findFirst().orElseThrow(
                            () -> new SdpException("no a=" + name));
        }

        long number(String name, String missing, long least, long most)
                throws SdpException {
            var text = values(name).stream().findFirst().orElse(missing);
            long number = text.matches("\\d{1,18}") ? Long.parseLong(text) : -1;
            if (number < least || number > most) {
                throw new SdpException("a=" + name + " is " + text
                        + ", and not " + least + " to " + most);
            }
            return number;
        }

        static byte[] fingerprint(String hex) throws SdpException {
            if (!hex.matches("(?i)[0-9a-f]{2}(:[0-9a-f]{2}){31}")) {
                throw new SdpException("a=fingerprint:sha-256 " + hex);
            }
            return HexFormat.ofDelimiter(":").parseHex(hex);
        }

        static byte[] fingerprint(Certificate certificate)
                throws CertificateException {
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
        /** With PRIORITY; what is not in it must be below 0x8000. */
        private static final Set<Integer> KNOWN = Set.of(
                USERNAME, MESSAGE_INTEGRITY, 0x0024, USE_CANDIDATE);
        private static final int COOKIE = 0x2112A442;

        private final byte[] bytes;
        private final Map<Integer, byte[]> attributes = new LinkedHashMap<>();
        private int integrityAt = -1;

        private StunMessage(byte[] bytes) {
            this.bytes = bytes.clone();
        }

        /** Empty if it is none. What follows the integrity is not read. */
        static Optional<StunMessage> decode(byte[] bytes) {
            var in = ByteBuffer.wrap(bytes);
            if (bytes.length < 20 || in.getInt(4) != COOKIE
                    || in.getShort(0) >> 14 != 0
                    || in.getShort(2) != bytes.length - 20) {
                return Optional.empty();
            }
            var message = new StunMessage(bytes);
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

        /** The attributes that a receiver has to understand, but does not. */
        List<Integer> unknown() {
            return attributes.keySet().stream().filter(
                    type -> type < 0x8000 && !KNOWN.contains(type)).toList();
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
            return signed(0x0101, id(), key, attribute(0x0020, value.array()));
        }

        /** «Unknown attribute», with their types (RFC 8489 §6.3.1). */
        byte[] error420(byte[] key) {
            var types = ByteBuffer.allocate(2 * unknown().size());
            unknown().forEach(type -> types.putShort(type.shortValue()));
            return signed(0x0111, id(), key,
                    attribute(0x0009, new byte[] {0, 0, 4, 20}),
                    attribute(0x000A, types.array()));
        }

        private byte[] id() {
            return Arrays.copyOfRange(bytes, 8, 20);
        }

        /** Its length does not count the padding. */
        static byte[] attribute(int type, byte[] value) {
            return padded(type, value.length, value);
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

    /** Two fields of 16 bits, and a value up to a multiple of four. */
    private static byte[] padded(int type, int length, byte[] value) {
        return ByteBuffer.allocate(4 + (value.length + 3 & ~3))
                .putShort((short) type).putShort((short) length)
                .put(value).array();
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

    /** The JDK has no public way to make a certificate but keytool. */
    record Identity(KeyStore keys) {

        private static final String PASSWORD = "changeit";

        /** A new one; it takes keytool about half a second. */
        static Identity generate() throws IOException {
            var file = Files.createTempDirectory("lab415").resolve("keys");
            try {
                var keytool = new ProcessBuilder(System.getProperty(
                        "java.home") + "/bin/keytool", "-genkeypair",
                        "-alias", "peer", "-keyalg", "EC", "-groupname",
                        "secp256r1", "-dname", "CN=WebRTC", "-validity", "30",
                        "-keystore", file.toString(), "-storepass", PASSWORD)
                        .redirectErrorStream(true).start();
                var said = new String(keytool.getInputStream().readAllBytes());
                if (keytool.waitFor() != 0) {
                    throw new IOException(said);
                }
                return new Identity(KeyStore.getInstance(file.toFile(),
                        PASSWORD.toCharArray()));
            } catch (GeneralSecurityException | InterruptedException e) {
                throw new IOException("no certificate", e);
            } finally {
                Files.deleteIfExists(file);
                Files.delete(file.getParent());
            }
        }

        X509Certificate certificate() throws GeneralSecurityException {
            return (X509Certificate) keys.getCertificate("peer");
        }

        /** A server that asks for the certificate of the other side. */
        SSLEngine engine(TrustManager trust) throws GeneralSecurityException {
            var keyManagers = KeyManagerFactory.getInstance("PKIX");
            keyManagers.init(keys, PASSWORD.toCharArray());
            var context = SSLContext.getInstance("DTLSv1.2");
            context.init(keyManagers.getKeyManagers(),
                    new TrustManager[] {trust}, null);
            var engine = context.createSSLEngine();
            engine.setUseClientMode(false);
            engine.setNeedClientAuth(true);
            return engine;
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
        private final List<byte[]> lastFlight = new ArrayList<>();
        private long sentAt;
        /** Whether the handshake has been completed. */
        boolean up;
        boolean closed;

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
            boolean answered = false;
            for (boolean more = true; more && !closed; ) {
                switch (engine.getHandshakeStatus()) {
                    case NEED_TASK -> engine.getDelegatedTask().run();
                    case NEED_UNWRAP_AGAIN -> unwrap(NOTHING);
                    case NEED_WRAP -> {
                        if (!answered) {
                            lastFlight.clear();
                        }
                        answered = true;
                        lastFlight.add(wrap(NOTHING));
                    }
                    default -> more = records.hasRemaining()
                            && unwrap(records) > 0;
                }
            }
        }

        private int unwrap(ByteBuffer records) throws SSLException {
            var plain = ByteBuffer.allocate(1 << 15);
            var result = engine.unwrap(records, plain);
            note(result);
            if (plain.position() > 0) {
                in.send(Arrays.copyOf(plain.array(), plain.position()));
            }
            return result.bytesConsumed();
        }

        private byte[] wrap(ByteBuffer packet) throws SSLException {
            var record = ByteBuffer.allocate(1 << 15);
            note(engine.wrap(packet, record));
            sentAt = nanoClock.getAsLong();
            var bytes = Arrays.copyOf(record.array(), record.position());
            if (bytes.length > 0) {
                out.send(bytes);
            }
            return bytes;
        }

        /** The JDK has halved the limit if it had to send a flight again. */
        private void note(SSLEngineResult result) {
            closed |= result.getStatus() == SSLEngineResult.Status.CLOSED;
            if (result.getHandshakeStatus() == HandshakeStatus.FINISHED) {
                up = true;
                limitRecords();
            }
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

        /** One packet, one record; nothing once it is closed. */
        void send(byte[] packet) {
            var rest = ByteBuffer.wrap(packet);
            try {
                wrap(rest);
                if (rest.hasRemaining() && !closed) {
                    throw new SSLException("too long for a record: "
                            + packet.length + " bytes");
                }
            } catch (SSLException e) {
                throw new UncheckedIOException(e);
            }
        }

        /** Sends close_notify, or the alert of a failed handshake. */
        void close() {
            engine.closeOutbound();
            try {
                while (engine.getHandshakeStatus()
                        == HandshakeStatus.NEED_WRAP) {
                    wrap(NOTHING);
                }
            } catch (SSLException e) {
                // There is nobody to tell.
            }
            closed = true;
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
    private static final int COOKIE_ECHO = 10;
    private static final int COOKIE_ACK = 11;
    private static final int RE_CONFIG = 130;

    enum State { CLOSED, ESTABLISHED, ENDED }

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
        /** So IPv4 packets stay below 1,200 bytes (RFC 8831, section 5). */
        private static final int FRAGMENT = 1100;
        private static final int MOST_IN_FLIGHT = 32;
        private static final int MOST_BLOCKS = 250;
        private static final long FIRST_RTO = 1_000_000_000;
        private static final long LONGEST_RTO = 60 * FIRST_RTO;

        final MessageReceiver receiver;
        State state = State.CLOSED;
        /** Why it has ended, if it has. */
        Optional<CloseReason> reason = Optional.empty();
        /** The TSN up to which everything was received. */
        long received;
        /** {@code Received.size()} of what the listener has not taken. */
        final AtomicLong backlog = new AtomicLong();
        /** The other side's port, from its offer. */
        int peerPort = SCTP_PORT;
        private final PacketSender out;
        private final LongSupplier nanoClock;
        private final byte[] secret = SecureRandom.getSeed(32);
        private final Deque<byte[]> queue = new ArrayDeque<>();
        private final TreeMap<Long, byte[]> inFlight = new TreeMap<>();
        private Init own = new Init(0, 0, 0);
        private Init peer = own;
        private boolean sackIsDue;
        private long acknowledged;
        private long next;
        private long peerWindow;
        private int sequence;
        private long deadline;
        private long rto = FIRST_RTO;

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

        static byte[] chunk(int type, int flags, byte[]... parts) {
            return parameter(type << 8 | flags, join(parts));
        }

        private static byte[] parameter(int type, byte[] value) {
            return padded(type, 4 + value.length, value);
        }

        void send(int tag, byte[] chunk) {
            out.send(packet(tag, chunk));
        }

        byte[] packet(int tag, byte[] chunk) {
            var packet = ByteBuffer.allocate(12 + chunk.length)
                    .putShort((short) SCTP_PORT).putShort((short) peerPort)
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
            for (int at = 12; at + 4 <= packet.length; ) {
                int length = Short.toUnsignedInt(in.getShort(at + 2));
                if (length < 4 || length > packet.length - at) {
                    break;   // malformed, and so is all that follows
                }
                chunkReceived(in.getInt(4), packet[at] & 0xff, packet[at + 1],
                        in.slice(at + 4, length - 4));
                at += length + 3 & ~3;
            }
            if (sackIsDue && state == State.ESTABLISHED) {
                sendSack();
            }
            sackIsDue = false;
            flush();
        }

        private static byte[] bytes(ByteBuffer in) {
            var bytes = new byte[in.remaining()];
            in.get(bytes);
            return bytes;
        }

        private void chunkReceived(int tag, int type, int flags,
                ByteBuffer body) {
            try {
                if (type == INIT && tag == 0 && body.getInt(0) != 0) {
                    initReceived(Init.read(body));
                } else if (type == COOKIE_ECHO) {
                    cookieReceived(tag, bytes(body));
                } else if (state == State.ESTABLISHED && tag == own.tag()) {
                    ourChunk(type, flags, body);
                }
            } catch (BufferUnderflowException | IndexOutOfBoundsException e) {
                // A chunk that is shorter than it must be is ignored.
            }
        }

        private void ourChunk(int type, int flags, ByteBuffer body) {
            switch (type) {
                case DATA -> {
                    sackIsDue = true;
                    long tsn = received + (body.getInt() - (int) received);
                    int stream = Short.toUnsignedInt(body.getShort());
                    body.getShort();
                    var data = new Data(tsn, flags, stream, body.getInt(),
                            bytes(body));
                    if (backlog.get() <= WINDOW) {   // or it comes again
                        dataReceived(data);
                    }
                }
                case SACK -> sackReceived(body);
                case HEARTBEAT -> send(peer.tag(),
                        chunk(HEARTBEAT_ACK, 0, bytes(body)));
                case RE_CONFIG -> resetReceived(body);
                case ABORT -> end(new CloseReason.ByPeer());
                default -> {}
            }
        }

        /** The other side has closed the channel (RFC 8831 §6.7). */
        private void resetReceived(ByteBuffer body) {
            if (body.getShort() == 13) {
                var answer = ByteBuffer.allocate(8).putInt(body.getInt(4))
                        .putInt(1).array();
                send(peer.tag(), chunk(RE_CONFIG, 0, parameter(16, answer)));
                abort(new CloseReason.ByPeer());
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
            var sack = ByteBuffer.allocate(12 + 4 * blocks.size())
                    .putInt((int) received)
                    .putInt((int) Math.max(0, WINDOW - backlog.get()))
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
                    deadline = nanoClock.getAsLong() + rto;
                }
                inFlight.put(next - queue.size(), queue.getFirst());
                out.send(queue.removeFirst());
            }
        }

        private void sackReceived(ByteBuffer body) {
            long upTo = acknowledged + (body.getInt() - (int) acknowledged);
            if (upTo < acknowledged || upTo >= next) {
                return;   // an old one, or a lie
            }
            peerWindow = Integer.toUnsignedLong(body.getInt());
            inFlight.headMap(upTo, true).clear();
            if (upTo > acknowledged) {
                acknowledged = upTo;
                rto = FIRST_RTO;
                deadline = nanoClock.getAsLong() + rto;
            }
            for (int blocks = body.getInt() >>> 16; blocks > 0; blocks--) {
                long first = upTo + Short.toUnsignedInt(body.getShort());
                long last = upTo + Short.toUnsignedInt(body.getShort());
                inFlight.subMap(first, Math.max(first, last + 1)).clear();
            }
        }

        /** Sends again what is overdue (RFC 9260, section 6.3.3). */
        void tick() {
            if (!inFlight.isEmpty()
                    && nanoClock.getAsLong() - deadline >= 0) {
                rto = Math.min(2 * rto, LONGEST_RTO);
                deadline = nanoClock.getAsLong() + rto;
                inFlight.values().forEach(out::send);
            }
        }

        /** Ends it at once, and tells the other side. */
        void abort(CloseReason reason) {
            if (state == State.ESTABLISHED) {
                send(peer.tag(), chunk(ABORT, 0));
            }
            end(reason);
        }

        private void end(CloseReason reason) {
            state = State.ENDED;
            this.reason = this.reason.or(() -> Optional.of(reason));
            inFlight.clear();
        }
    }

    // The peer: one socket, one thread for all four protocols, and one for
    // the listener.

    private static final int TICK_MILLIS = 50;
    private static final long MOST_BUFFERED = 1 << 20;
    private static final Received END = new Received(0, 0, new byte[0]);

    private record Received(int stream, int ppid, byte[] payload) {
        /** In memory, about: an empty message counts as well. */
        int size() {
            return 64 + payload.length;
        }
    }

    private final Options options;
    private final DatagramSocket socket;
    private final InetSocketAddress address;
    private final String answer;
    private final IceLiteAgent agent;
    private final DtlsPump dtls;
    private final SctpAssociation sctp;
    private final DataChannel channel;
    private final long startedAt;
    private final BlockingQueue<Received> messages =
            new LinkedBlockingQueue<>();
    private final List<Thread> threads;
    /** Guarded by this, as are the four protocols. */
    private Optional<CloseReason> ended = Optional.empty();

    private DataChannelPeer(InetSocketAddress bind, Offer offer,
            Identity identity, Listener listener, Options options)
            throws IOException, GeneralSecurityException {
        this.options = options;
        var engine = identity.engine(new FingerprintTrust(offer.fingerprint()));
        var fingerprint = Sdp.fingerprint(identity.certificate());
        socket = new DatagramSocket(bind);
        socket.setSoTimeout(TICK_MILLIS);
        address = (InetSocketAddress) socket.getLocalSocketAddress();
        var local = Local.of(address, fingerprint);
        answer = offer.answer(local);
        agent = new IceLiteAgent(local, offer.ufrag(), options);
        dtls = new DtlsPump(engine, this::transmit, this::unpacked,
                options.nanoClock());
        sctp = new SctpAssociation(dtls::send, this::received,
                options.nanoClock());
        sctp.peerPort = offer.sctpPort();
        channel = new DataChannel(this::send, listener, offer.maxMessageSize());
        startedAt = options.nanoClock().getAsLong();
        threads = List.of(Thread.ofPlatform().daemon().name("lab415-peer")
                .unstarted(this::run), Thread.ofVirtual().name(
                        "lab415-listener").unstarted(() -> tell(listener)));
    }

    /**
     * Binds a UDP socket, and waits for the packets of the other side. The
     * address goes into the answer, so it must not be the wildcard address.
     *
     * @throws SdpException which names what is missing or wrong in the offer
     */
    public static DataChannelPeer start(InetSocketAddress bind, String offer,
            Listener listener, Options options) throws IOException {
        return start(bind, offer, Identity.generate(), listener, options);
    }

    static DataChannelPeer start(InetSocketAddress bind, String offer,
            Identity identity, Listener listener, Options options)
            throws IOException {
        Objects.requireNonNull(bind, "bind");
        Objects.requireNonNull(listener, "listener");
        Objects.requireNonNull(options, "options");
        try {
            var peer = new DataChannelPeer(bind, Offer.parse(
                    Objects.requireNonNull(offer, "offer")), identity,
                    listener, options);
            peer.threads.forEach(Thread::start);
            return peer;
        } catch (GeneralSecurityException e) {
            throw new IOException("no DTLS", e);
        }
    }

    /** The SDP for the other side. */
    public String answer() {
        return answer;
    }

    /** The UDP address that the answer names. */
    public InetSocketAddress localAddress() {
        return address;
    }

    /**
     * Sends a text message, and waits while more than 1 MiB of earlier ones is
     * unacknowledged; {@link #close} ends that wait.
     *
     * @throws IOException              "closed", or if it is interrupted
     * @throws IllegalStateException    if the channel has never been open
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

    private void send(boolean text, byte[] payload) throws IOException {
        if (!channel.isOpen()) {
            throw new IllegalStateException("the channel is not open");
        }
        channel.send(text, payload);
    }

    private synchronized void send(int stream, int ppid, byte[] message)
            throws IOException {
        try {
            while (ended.isEmpty() && sctp.buffered() > MOST_BUFFERED) {
                wait();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("interrupted");
        }
        if (ended.isPresent()) {
            throw new IOException("closed");
        }
        sctp.send(stream, ppid, message);
    }

    /**
     * Ends the connection at once, and tells the other side (an SCTP ABORT,
     * then the close_notify of DTLS). Waits for its threads, 5 s for each at
     * most, but a listener that calls it does not wait for itself.
     */
    @Override
    public void close() {
        end(new CloseReason.Here());
        try {
            for (var thread : threads) {
                if (thread != Thread.currentThread()) {
                    thread.join(Duration.ofSeconds(5));
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private synchronized void end(CloseReason reason) {
        if (ended.isEmpty()) {
            ended = Optional.of(reason);
            sctp.abort(reason);
            dtls.close();
            socket.close();
            messages.add(END);
            notifyAll();
        }
    }

    /** The listener's thread. */
    private void tell(Listener listener) {
        try {
            for (var next = messages.take(); next != END;
                    next = messages.take()) {
                try {
                    channel.message(next.stream(), next.ppid(),
                            next.payload());
                } catch (IOException e) {
                    end(new CloseReason.Failed(e));   // and END follows
                }
                sctp.backlog.addAndGet(-next.size());
            }
            listener.onClosed(ended.orElseThrow());
        } catch (InterruptedException e) {
            // Nobody does that; but then it ends, too.
        } finally {
            end(new CloseReason.Failed(new IOException("listener failed")));
        }
    }

    private void run() {
        var packet = new DatagramPacket(new byte[2048], 2048);
        try {
            while (!socket.isClosed()) {
                packet.setLength(2048);
                try {
                    socket.receive(packet);
                } catch (IOException e) {
                    packet.setLength(0);   // nothing came, or it is closed
                }
                step(Arrays.copyOf(packet.getData(), packet.getLength()),
                        (InetSocketAddress) packet.getSocketAddress());
            }
        } finally {
            end(new CloseReason.Failed(new IOException("its thread died")));
        }
    }

    /** A datagram, whose first byte tells the protocol (RFC 7983). */
    private synchronized void step(byte[] packet, InetSocketAddress from) {
        int first = packet.length == 0 ? 255 : packet[0] & 0xff;
        try {
            if (ended.isPresent()) {
                return;
            } else if (first <= 3) {
                agent.receive(packet, from).ifPresent(
                        answer -> transmit(answer, from));
            } else if (first >= 20 && first <= 63 && agent.isChecked(from)) {
                dtls.receive(packet);
            }
            dtls.tick();
            sctp.tick();
            requireProgress();
            sctp.reason.ifPresent(this::end);
            if (dtls.closed) {
                end(new CloseReason.ByPeer());
            }
        } catch (UncheckedIOException e) {
            end(new CloseReason.Failed(e.getCause()));
        } catch (IOException e) {
            end(new CloseReason.Failed(e));
        }
        notifyAll();   // somebody may wait to send
    }

    private void requireProgress() throws IOException {
        long waited = options.nanoClock().getAsLong() - startedAt;
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

    private void unpacked(byte[] packet) {
        sctp.receive(packet);
    }

    private void received(int stream, int ppid, byte[] payload) {
        var message = new Received(stream, ppid, payload);
        sctp.backlog.addAndGet(message.size());
        messages.add(message);
    }

    private void transmit(byte[] bytes) {
        agent.nominated().ifPresent(to -> transmit(bytes, to));
    }

    private void transmit(byte[] bytes, InetSocketAddress to) {
        try {
            socket.send(new DatagramPacket(bytes, bytes.length, to));
        } catch (IOException e) {
            // Lost, as datagrams are.
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

        Rooms rooms() {
            return rooms;
        }

        @Override
        public void close() {
            group.shutdownGracefully(0, 5, TimeUnit.SECONDS)
                    .awaitUninterruptibly();
        }
    }

    /** A connection: it asks for the page, or is a member once it joins. */
    private static final class Connected
            extends SimpleChannelInboundHandler<Object> {
        private final Rooms rooms;
        private Member self = _ -> {};
        private boolean closing;

        Connected(Rooms rooms) {
            this.rooms = rooms;
        }

        @Override
        public void handlerAdded(ChannelHandlerContext context) {
            self = text -> context.executor().execute(() -> {
                if (closing || !context.channel().isWritable()) {
                    close(context, 1013);   // it does not read
                } else {
                    context.writeAndFlush(new TextWebSocketFrame(text));
                }
            });
        }

        @Override
        protected void channelRead0(ChannelHandlerContext context,
                Object message) {
            if (message instanceof FullHttpRequest request) {
                boolean isPage = request.uri().matches("/(\\?.*)?");
                var response = new DefaultFullHttpResponse(
                        HttpVersion.HTTP_1_1, isPage ? HttpResponseStatus.OK
                        : HttpResponseStatus.NOT_FOUND, Unpooled.copiedBuffer(
                                isPage ? PAGE : "", StandardCharsets.UTF_8));
                response.headers().set("Content-Type", "text/html");
                HttpUtil.setContentLength(response,
                        response.content().readableBytes());
                context.writeAndFlush(response);
            } else if (message instanceof TextWebSocketFrame text && !closing) {
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
            close(context, cause instanceof TooLongFrameException ? 1009
                    : 1011);
        }

        /** Sends a Close frame, and waits a second for it to leave. */
        private void close(ChannelHandlerContext context, int code) {
            if (!closing) {
                closing = true;
                context.writeAndFlush(new CloseWebSocketFrame(code, ""))
                        .addListener(ChannelFutureListener.CLOSE);
                context.executor().schedule(() -> context.close(), 1,
                        TimeUnit.SECONDS);
            }
        }
    }

    private static final String PAGE = """
            <!doctype html><meta charset="utf-8"><title>lab 415</title>
            <h1>A channel to Java</h1><p id="state">not connected</p>
            <input id="say" placeholder="say something"><pre id="log"></pre>
            <script>
            const name = 'browser' + Math.floor(Math.random() * 1e9);
            const ws = new WebSocket(`ws://${location.host}/signal`);
            const pc = new RTCPeerConnection();
            const dc = pc.createDataChannel('chat');
            const at = id => document.getElementById(id);
            const show = text => at('log').append(text + '\\n');
            pc.oniceconnectionstatechange = () =>
                at('state').append(', ICE ' + pc.iceConnectionState);
            dc.onopen = () => show('open');
            dc.onclose = () => show('closed');
            dc.onmessage = e => show('Java: ' + e.data);
            at('say').onchange = e => dc.send(e.target.value);
            ws.onopen = () => ws.send(`join\\nlab\\n${name}`);
            ws.onmessage = async e => {
              const [kind, from, ...rest] = e.data.split('\\n');
              if (kind === 'joined' && !pc.localDescription) {
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
            a=setup:actpass
            a=sctp-port:5000
            a=fingerprint:sha-256\s""";

    public static void main(String[] args) throws Exception {
        var words = String.join(" ", args);
        try {
            if (words.isEmpty()) {
                demo();
            } else if (words.matches("serve \\d{1,5}")) {
                serve(Integer.parseInt(args[1]));
            } else {
                boolean help = words.matches("-h|(--)?help");
                (help ? System.out : System.err).println((help ? ""
                        : "not understood: " + words + "\n") + """
                        lab-415              the demo, step by step
                        lab-415 serve PORT   a page for any browser
                        lab-415 help         this text""");
                System.exit(help ? 0 : 2);
            }
        } catch (UnsupportedOperationException todo) {
            next(todo.getMessage() + "\n  " + todo.getStackTrace()[0]);
        } catch (IOException | RuntimeException e) {
            System.err.println(words + ": " + e.getMessage());
            System.exit(1);
        }
    }

    private static void demo() throws Exception {
        IO.println("lab 415  WebRTC data channel");
        var rooms = new Rooms();
        var bert = new ArrayList<String>();
        Member anna = _ -> {};
        rooms.receive(anna, "join\nroom\nanna");
        rooms.receive(bert::add, "join\nroom\nbert");
        rooms.receive(anna, "offer\nbert\nv=0");
        show(1, "anna's offer, as bert gets it",
                bert.getLast().replace('\n', ' '), "offer anna v=0");

        var ours = Identity.generate().certificate();
        var print = Sdp.fingerprint(ours);
        var local = Local.of(new InetSocketAddress("127.0.0.1", 5), print);
        var answer = Offer.parse(OFFER + Sdp.shown(print)).answer(local);
        show(2, "setup:actpass is answered by", Sdp.section(answer).value(
                "setup"), "passive");

        var agent = new IceLiteAgent(local, "anna", Options.defaults());
        agent.receive(StunMessage.signed(StunMessage.BINDING_REQUEST,
                new byte[12], local.password().getBytes(),
                StunMessage.attribute(StunMessage.USERNAME, (local.ufrag()
                        + ":anna").getBytes())), local.address());
        show(3, "a check with our password is", agent.isChecked(
                local.address()) ? "accepted" : "refused", "accepted");

        new FingerprintTrust(print).checkClientTrusted(
                new X509Certificate[] {ours}, "EC");
        show(4, "the offered certificate is", "trusted", "trusted");

        var sent = new ArrayList<byte[]>();
        var got = new ArrayList<String>();
        var server = new SctpAssociation(sent::add, (_, _, text) ->
                got.add(new String(text)), () -> 0);
        server.receive(server.packet(0, SctpCore.chunk(INIT, 0,
                Init.fresh().bytes())));
        var ack = ByteBuffer.wrap(sent.getFirst());
        server.receive(server.packet(ack.getInt(16), SctpCore.chunk(
                COOKIE_ECHO, 0, Arrays.copyOfRange(ack.array(), 36,
                        32 + ack.getShort(34)))));
        show(5, "INIT, COOKIE ECHO are answered by", sent.stream().map(
                packet -> packet[12]).toList(), "[2, 11]");

        var first = server.received + 1;
        server.dataReceived(new Data(first + 1, 1, 0, TEXT, "der".getBytes()));
        server.dataReceived(new Data(first, 2, 0, TEXT, "in or".getBytes()));
        show(6, "of fragments 2 and 1", got, "[in order]");

        var channel = new DataChannel((_, _, bytes) -> got.add(
                "ACK " + bytes[0]), new Listener() {}, 0);
        channel.message(1, DCEP, join(new byte[] {DCEP_OPEN, 0, 0, 0, 0, 0,
            0, 0, 0, 4, 0, 0}, "chat".getBytes()));
        show(7, "an OPEN is answered by", got.getLast(), "ACK 2");
        IO.println("\nall seven steps work");
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

    private static void serve(int port) throws Exception {
        try (var server = SignalingServer.start(
                new InetSocketAddress("127.0.0.1", port))) {
            IO.println("listening on 127.0.0.1:"
                    + server.localAddress().getPort());
            server.rooms().receive(new Echo(server.rooms(),
                    Identity.generate()), "join\nlab\njava");
            if (System.console() != null) {
                Thread.currentThread().join();   // until Ctrl-C
            }
            System.in.transferTo(OutputStream.nullOutputStream());
        }
        System.exit(0);
    }

    /** Java in the room: it answers each offer, and echoes each text. */
    private record Echo(Rooms rooms, Identity identity) implements Member {
        @Override
        public void send(String text) {
            var parts = text.split("\n", 3);
            if (!parts[0].equals("offer")) {
                return;
            }
            var self = new CompletableFuture<DataChannelPeer>();
            try {
                self.complete(start(new InetSocketAddress("127.0.0.1", 0),
                        parts[2], identity, new Listener() {
                            @Override
                            public void onText(String said) throws IOException {
                                self.join().send("you said: " + said);
                            }
                        }, Options.defaults()));
                rooms.receive(this, "answer\n" + parts[1] + "\n"
                        + self.join().answer());
            } catch (IOException e) {
                IO.println(parts[1] + ": " + e.getMessage());
            }
        }
    }
}
