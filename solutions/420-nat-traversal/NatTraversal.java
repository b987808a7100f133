///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 420: STUN, UDP hole punching and TURN, from datagrams up

import module java.base;

/**
 * Finds out how two programs behind NATs can exchange datagrams: STUN tells
 * each the address that the outside sees, hole punching tries the pair, and
 * TURN relays where no pair of addresses works.
 *
 * <p>The one idea: an address is as one server sees one socket. Whether two
 * peers meet depends on how both NATs map and on how both filter.
 *
 * <p>Sources: STUN is RFC 8489, TURN is RFC 8656, discovery of a NAT's
 * behaviour is RFC 5780, the terms for NATs are RFC 4787's, and the checks
 * follow RFC 8445. Unless its javadoc says otherwise, an object of this file
 * is used by one thread at a time.
 */
public final class NatTraversal {

    private NatTraversal() {}

    /** A STUN message (RFC 8489 section 5). Immutable, thread-safe. */
    public static final class Message {
        private final byte[] raw;

        private Message(byte[] raw) {
            this.raw = raw;
        }

        /** Reads one datagram, which may hold anything. */
        // tag::decode[]
        public static Message decode(byte[] datagram) throws StunException {
            // tag::step1[] throw a StunException unless there are 20 bytes of header that begin with two zero bits, the length is a multiple of 4 and right, the cookie is there, and all attributes() end within the message
            int total = datagram.length;
            var message = new Message(datagram.clone());
            if (total < HEADER || u16(datagram, 0) >= 0x4000
                    || u16(datagram, 2) != total - HEADER || total % 4 != 0
                    || ByteBuffer.wrap(datagram).getInt(4) != MAGIC_COOKIE
                    || message.attributes().stream()
                            .anyMatch(a -> a.end() > total)) {
                throw new StunException(0, "no STUN message");
            }
            return message;
            // end::step1[]
        }
        // end::decode[]

        /** All attributes, in their order. */
        // tag::attributes[]
        public List<Attribute> attributes() {
            // tag::step1[] where each value starts and ends; the next attribute begins behind the padding
            var found = new ArrayList<Attribute>();
            for (int at = HEADER; at < raw.length;) {
                int end = at + 4 + u16(raw, at + 2);
                found.add(new Attribute(u16(raw, at), at + 4, end));
                at = padded(end);
            }
            return found;
            // end::step1[]
        }
        // end::attributes[]

        /** A message without attributes; the id has twelve bytes. */
        // tag::of[]
        public static Message of(MessageClass messageClass, int method,
                byte[] transactionId) {
            // tag::step1[] a header: the type, whose bits 8 and 4 are the class (RFC 8489, figure 3), length 0, cookie and id
            int bits = messageClass.ordinal();
            int type = (method & 0xf80) << 2 | (method & 0x70) << 1
                    | method & 0xf | (bits & 2) << 7 | (bits & 1) << 4;
            return new Message(ByteBuffer.allocate(HEADER)
                    .putShort((short) type).putInt(4, MAGIC_COOKIE)
                    .put(8, transactionId).array());
            // end::step1[]
        }
        // end::of[]

        /** What is to be done with it. */
        public MessageClass messageClass() {
            return MessageClass.values()[(raw[0] & 1) << 1 | raw[1] >> 4 & 1];
        }

        /** What it is about, {@link #BINDING} and so on: 0 to 0xfff. */
        public int method() {
            // tag::step1[] the other twelve bits of the type
            int type = u16(raw, 0);
            return type >> 2 & 0xf80 | type >> 1 & 0x70 | type & 0xf;
            // end::step1[]
        }

        /** The same message with one more attribute at its end. */
        // tag::with[]
        public Message with(int type, byte[] value) {
            // tag::step1[] append type, length without padding, value, and zero bytes up to a multiple of 4; the header counts all of them
            int total = padded(raw.length + 4 + value.length);
            return new Message(ByteBuffer.allocate(total).put(raw)
                    .putShort((short) type).putShort((short) value.length)
                    .put(value).putShort(2, (short) (total - HEADER)).array());
            // end::step1[]
        }
        // end::with[]

        /**
         * Hides or shows an address: the same operation does both.
         *
         * @param value a zero byte, the family, the port in two bytes, and 4
         *              or 16 bytes of address
         */
        // tag::xor[]
        static byte[] xor(byte[] value, byte[] transactionId) {
            // tag::step1[] XOR the port with the first half of the cookie, the address with cookie and id
            var key = ByteBuffer.allocate(16).putInt(MAGIC_COOKIE)
                    .put(transactionId).array();
            var result = value.clone();
            for (int i = 2; i < result.length; i++) {
                result[i] ^= key[i < 4 ? i - 2 : i - 4];
            }
            return result;
            // end::step1[]
        }
        // end::xor[]

        /** A request with a random id. */
        public static Message request(int method) {
            return of(MessageClass.REQUEST, method, randomId());
        }

        /** The success response to this request. */
        public Message success() {
            return of(MessageClass.SUCCESS, method(), transactionId());
        }

        /** The error response to this request, with a code of 300 to 699. */
        public Message error(int code) {
            return of(MessageClass.ERROR, method(), transactionId())
                    .with(ERROR_CODE, new byte[] {0, 0, (byte) (code / 100),
                        (byte) (code % 100)});
        }

        /** With text in UTF-8. */
        public Message with(int type, String text) {
            return with(type, text.getBytes(StandardCharsets.UTF_8));
        }

        /** With an address; its type says whether it is XORed. */
        public Message with(int type, InetSocketAddress address) {
            var bytes = address.getAddress().getAddress();
            var plain = ByteBuffer.allocate(4 + bytes.length)
                    .putShort((short) (bytes.length == 4 ? 1 : 2))
                    .putShort((short) address.getPort()).put(bytes).array();
            return with(type, XORED.contains(type)
                    ? xor(plain, transactionId()) : plain);
        }

        /** With a MESSAGE-INTEGRITY over all that is there. */
        public Message signed(byte[] key) {
            return with(MESSAGE_INTEGRITY, hmac(raw, key));
        }

        /** With a FINGERPRINT, after which nothing may follow. */
        public Message fingerprinted() {
            return with(FINGERPRINT, crc(raw));
        }

        /** Twelve bytes; a response repeats those of its request. */
        public byte[] transactionId() {
            return Arrays.copyOfRange(raw, 8, HEADER);
        }

        /** Whether this may be the response to that request. */
        boolean hasIdOf(Message request) {
            return Arrays.equals(transactionId(), request.transactionId());
        }

        /** The message as it came, or is to be sent. */
        public byte[] raw() {
            return raw.clone();
        }

        /** The first such attribute that counts. */
        private Optional<Attribute> attribute(int type) {
            return counted(this).stream().filter(a -> a.type() == type)
                    .findFirst();
        }

        /** The value of the first such attribute that counts. */
        public Optional<byte[]> find(int type) {
            return attribute(type)
                    .map(a -> Arrays.copyOfRange(raw, a.start(), a.end()));
        }

        /** The address in an attribute, unless it is malformed. */
        public Optional<InetSocketAddress> address(int type) {
            return find(type).filter(v -> v.length == 8 && v[1] == 1
                    || v.length == 20 && v[1] == 2)
                    .map(v -> XORED.contains(type)
                            ? xor(v, transactionId()) : v)
                    .map(v -> new InetSocketAddress(always(() ->
                            InetAddress.getByAddress(Arrays.copyOfRange(v, 4,
                                    v.length))), u16(v, 2)));
        }

        /** The code of an error response, such as 401; else 0. */
        public int errorCode() {
            return find(ERROR_CODE).filter(v -> v.length >= 4)
                    .map(v -> (v[2] & 7) * 100 + v[3]).orElse(0);
        }

        /** Types that must be understood (below 0x8000) but are not. */
        List<Integer> unknown(Set<Integer> known) {
            return counted(this).stream().map(Attribute::type)
                    .filter(t -> t < 0x8000 && !known.contains(t)).toList();
        }
    }

    /** Sends requests and waits for their responses. */
    public static final class StunClient {
        private final Datagrams socket;
        private final Retransmission retransmission;
        private final Deque<Packet> others = new ArrayDeque<>();

        /** The socket stays the caller's, who also closes it. */
        public StunClient(Datagrams socket, Retransmission retransmission) {
            this.socket = socket;
            this.retransmission = retransmission;
        }

        /**
         * Sends the request until its response comes from the server. Other
         * packets that arrive meanwhile are left for {@link #receive}.
         *
         * @return a success or an error response
         * @throws SocketTimeoutException if there is no response in time
         */
        public Message transact(InetSocketAddress server, Message request)
                throws IOException {
            return transact(server, request, (from, _) -> from.equals(server));
        }

        /** The same, but the caller says which responses count. */
        // tag::transact[]
        Message transact(InetSocketAddress server, Message request,
                BiPredicate<InetSocketAddress, Message> counts)
                throws IOException {
            // tag::step2[] send the same request, and wait until each of deadlines(), counted from the first sending, for a success or an error that hasIdOf() the request and counts; keep() every other packet
            long start = socket.nanoTime();
            for (var deadline : retransmission.deadlines()) {
                socket.send(server, request.raw());
                long left;
                while ((left = start + deadline.toNanos()
                        - socket.nanoTime()) > 0) {
                    var packet = socket.receive(Duration.ofNanos(left));
                    var response = packet.flatMap(NatTraversal::tryDecode)
                            .filter(m -> m.messageClass().compareTo(
                                    MessageClass.SUCCESS) >= 0
                                    && m.hasIdOf(request)
                                    && counts.test(packet.get().from(), m));
                    if (response.isPresent()) {
                        return response.get();
                    }
                    packet.ifPresent(this::keep);
                }
            }
            throw new SocketTimeoutException("no response from " + server);
            // end::step2[]
        }
        // end::transact[]

        /** Where the server sees this socket: use the same socket then. */
        // tag::mapped[]
        public InetSocketAddress mappedAddress(InetSocketAddress server)
                throws IOException {
            // tag::step2[] transact() a Binding request; a response that is no success, lacks XOR-MAPPED-ADDRESS, or has unknown() attributes beside KNOWN, is refused()
            var response = transact(server, Message.request(BINDING));
            return Optional.of(response)
                    .filter(m -> m.messageClass() == MessageClass.SUCCESS
                            && m.unknown(KNOWN).isEmpty())
                    .flatMap(m -> m.address(XOR_MAPPED_ADDRESS))
                    .orElseThrow(() -> refused(response));
            // end::step2[]
        }
        // end::mapped[]

        /** At most 256 packets wait here; further ones are dropped. */
        private void keep(Packet packet) {
            if (others.size() < 256) {
                others.add(packet);
            }
        }

        /** What else has arrived, or arrives now. */
        public Optional<Packet> receive(Duration wait) throws IOException {
            return others.isEmpty() ? socket.receive(wait)
                    : Optional.of(others.remove());
        }
    }

    /**
     * What a STUN server answers, if anything (RFC 8489 section 6.3).
     *
     * @param known the attributes below 0x8000 that the server understands
     */
    // tag::respond[]
    static Optional<Message> respond(Packet packet, Set<Integer> known) {
        // tag::step2[] answer Binding requests alone: success() with XOR-MAPPED-ADDRESS, or error() 420 with UNKNOWN-ATTRIBUTES, two bytes for each of unknown()
        return tryDecode(packet).filter(m -> m.method() == BINDING
                && m.messageClass() == MessageClass.REQUEST).map(m -> {
            var unknown = m.unknown(known);
            var types = ByteBuffer.allocate(2 * unknown.size());
            unknown.forEach(type -> types.putShort(type.shortValue()));
            return unknown.isEmpty()
                    ? m.success().with(XOR_MAPPED_ADDRESS, packet.from())
                    : m.error(420).with(UNKNOWN_ATTRIBUTES, types.array());
        });
        // end::step2[]
    }
    // end::respond[]

    /**
     * Whether two peers behind such NATs can exchange datagrams without a
     * relay, if both send at once, learn each other's source addresses, and
     * do not guess ports.
     */
    // tag::predict[]
    public static boolean predict(NatBehavior a, NatBehavior b) {
        // tag::step3[] true for 42 of the 81 ordered pairs: reason about the source address that each filter sees
        var independent = Behavior.ENDPOINT_INDEPENDENT;
        var strict = Behavior.ADDRESS_AND_PORT_DEPENDENT;
        var pair = List.of(a, b);
        var stable = pair.stream()
                .filter(nat -> nat.mapping() == independent).toList();
        if (!stable.isEmpty()) {
            return stable.size() == 2
                    || stable.getFirst().filtering() != strict;
        }
        return pair.stream().anyMatch(nat -> nat.filtering() == independent)
                && pair.stream().anyMatch(nat -> nat.mapping() != strict)
                && pair.stream().noneMatch(nat -> nat.filtering() == strict);
        // end::step3[]
    }
    // end::predict[]

    /** The attributes that a receiver may believe (RFC 8489, 14.5). */
    // tag::counted[]
    private static List<Attribute> counted(Message message) {
        // tag::step4[] of those behind the first MESSAGE-INTEGRITY, only FINGERPRINT counts // until then: return message.attributes();
        var all = message.attributes();
        int signed = all.stream().map(Attribute::type).toList()
                .indexOf(MESSAGE_INTEGRITY);
        return IntStream.range(0, all.size()).filter(i -> signed < 0
                || i <= signed || all.get(i).type() == FINGERPRINT)
                .mapToObj(all::get).toList();
        // end::step4[]
    }
    // end::counted[]

    /** The value of MESSAGE-INTEGRITY behind a message so far. */
    // tag::hmac[]
    static byte[] hmac(byte[] before, byte[] key) {
        // tag::step4[] HmacSHA1 of the bytes, in whose header the length already counts the 24 bytes of this attribute
        return always(() -> {
            var mac = javax.crypto.Mac.getInstance("HmacSHA1");
            mac.init(new javax.crypto.spec.SecretKeySpec(key, "HmacSHA1"));
            return mac.doFinal(withLength(before, 24));
        });
        // end::step4[]
    }
    // end::hmac[]

    /** The value of FINGERPRINT behind a message so far. */
    // tag::crc[]
    static byte[] crc(byte[] before) {
        // tag::step4[] CRC32 XOR 0x5354554e, with a length that counts the 8 bytes of this attribute
        var crc = new CRC32();
        crc.update(withLength(before, 8));
        return ByteBuffer.allocate(4)
                .putInt((int) crc.getValue() ^ 0x5354554e).array();
        // end::step4[]
    }
    // end::crc[]

    // tag::step4[]
    private static byte[] withLength(byte[] before, int more) {
        return ByteBuffer.wrap(before.clone()).putShort(2,
                (short) (before.length - HEADER + more)).array();
    }
    // end::step4[]

    /** Whether the message was signed with this key, and is unchanged. */
    // tag::integrityOk[]
    public static boolean integrityOk(Message message, byte[] key) {
        // tag::step4[] compare MESSAGE-INTEGRITY, in constant time, with hmac() of the received bytes before it
        return message.attribute(MESSAGE_INTEGRITY).filter(a ->
                MessageDigest.isEqual(message.find(a.type()).get(),
                        hmac(Arrays.copyOf(message.raw, a.start() - 4), key)))
                .isPresent();
        // end::step4[]
    }
    // end::integrityOk[]

    /** Whether the last attribute is a FINGERPRINT, and the right one. */
    // tag::fingerprintOk[]
    public static boolean fingerprintOk(Message message) {
        // tag::step4[] the first FINGERPRINT must be the last attribute, and equal crc() of the bytes before it
        return message.attribute(FINGERPRINT).filter(a ->
                a.end() == message.raw.length
                && Arrays.equals(message.find(a.type()).get(),
                        crc(Arrays.copyOf(message.raw, a.start() - 4))))
                .isPresent();
        // end::step4[]
    }
    // end::fingerprintOk[]

    /**
     * Tries to open a way to a peer that does the same at the same time.
     *
     * @param theirs the addresses that the peer has told; more are learnt
     * @param budget how long to try
     * @return the peer's address as this socket must use it; empty if nothing
     *         has worked. If the last responses are lost, only one side may
     *         have a result.
     */
    public static Optional<InetSocketAddress> punch(Peer mine,
            List<InetSocketAddress> theirs, Duration budget)
            throws IOException {
        var punch = new Punch(mine, theirs);
        var result = Optional.<InetSocketAddress>empty();
        for (long end = mine.socket().nanoTime() + budget.toNanos();
                result.isEmpty() && mine.socket().nanoTime() < end;) {
            result = punch.advance(Duration.ofNanos(CHECK_INTERVAL / 5));
        }
        return result;
    }

    /**
     * One attempt to reach a peer. Each side sends checks to each address, and
     * one succeeds when its response comes from the address it was sent to
     * (RFC 8445 section 7.2.5.2.1). The first one of the initiator to succeed
     * is the pair that both will use.
     */
    public static final class Punch {
        private final Peer mine;
        /** The check for each address, sent again and again. */
        private final Map<InetSocketAddress, Message> checks =
                new LinkedHashMap<>();
        private InetSocketAddress nominated;
        private InetSocketAddress selected;
        private int quietIntervals;   // since the peer nominated last
        private long next;

        /** Sends nothing yet. */
        public Punch(Peer mine, List<InetSocketAddress> theirs) {
            this.mine = mine;
            theirs.forEach(this::learn);
            next = mine.socket().nanoTime();
        }

        /**
         * Sends checks every 50 ms, and takes what arrives until then or
         * within this time. The result comes later on the other side than on
         * the initiator's, who may ask again if the last response was lost.
         */
        public Optional<InetSocketAddress> advance(Duration wait)
                throws IOException {
            if (mine.socket().nanoTime() >= next) {
                next += CHECK_INTERVAL;
                quietIntervals++;
                for (var check : checks.entrySet()) {
                    if (selected == null) {
                        mine.socket().send(check.getKey(),
                                check.getValue().raw());
                    }
                }
            }
            for (var packet = mine.socket().receive(wait); packet.isPresent();
                    packet = mine.socket().receive(Duration.ZERO)) {
                onPacket(packet.get());
            }
            return Optional.ofNullable(selected)
                    .filter(_ -> mine.initiator() || quietIntervals > 3);
        }

        /** At most 16 addresses: each costs traffic. */
        private void learn(InetSocketAddress address) {
            if (checks.size() < 16) {
                checks.putIfAbsent(address, sign(Message.request(BINDING)));
            }
        }

        private Message sign(Message message) {
            return message.signed(mine.key()).fingerprinted();
        }

        // tag::onPacket[]
        private void onPacket(Packet packet) throws IOException {
            // tag::step5[] ignore all but Binding messages signed with mine.peerKey(): onCheck() takes requests; onSuccess() takes a success that has the id of the check for the address it came from
            var from = packet.from();
            var message = tryDecode(packet).filter(m -> m.method() == BINDING
                    && integrityOk(m, mine.peerKey())).orElse(null);
            if (message == null) {
                return;
            }
            if (message.messageClass() == MessageClass.REQUEST) {
                onCheck(from, message);
            } else if (message.messageClass() == MessageClass.SUCCESS
                    && checks.containsKey(from)
                    && message.hasIdOf(checks.get(from))) {
                onSuccess(from);
            }
            // end::step5[]
        }
        // end::onPacket[]

        // tag::onCheck[]
        private void onCheck(InetSocketAddress from, Message request)
                throws IOException {
            // tag::step5[] send a success with XOR-MAPPED-ADDRESS and sign() it; learn() the address; unless this is the initiator, USE-CANDIDATE selects it, and the quietIntervals begin at 0
            mine.socket().send(from, sign(request.success()
                    .with(XOR_MAPPED_ADDRESS, from)).raw());
            learn(from);
            if (!mine.initiator() && request.find(USE_CANDIDATE).isPresent()) {
                selected = from;
                quietIntervals = 0;
            }
            // end::step5[]
        }
        // end::onCheck[]

        // tag::onSuccess[]
        private void onSuccess(InetSocketAddress from) throws IOException {
            // tag::step5[] the initiator nominates the first address: it sends a new check with USE-CANDIDATE, which replaces the old one in checks; a success for that one selects the address
            if (from.equals(nominated)) {
                selected = from;
            } else if (mine.initiator() && nominated == null) {
                nominated = from;
                checks.put(from, sign(Message.request(BINDING)
                        .with(USE_CANDIDATE, "")));
                mine.socket().send(from, checks.get(from).raw());
            }
            // end::step5[]
        }
        // end::onSuccess[]
    }

    /**
     * An allocation on a TURN server, used like a socket whose address is the
     * relay's. It has no thread: {@link #send} and {@link #receive} renew
     * what is due, and who calls neither for long loses the allocation.
     */
    public static final class TurnClient implements Datagrams {
        private final StunClient client;
        private final InetSocketAddress server;
        private final String user;
        private final String password;
        private final Map<InetAddress, Long> permitted = new HashMap<>();
        private Message challenge;            // the last 401 or 438, or null
        private InetSocketAddress relayed;
        private long refreshAt;
        private boolean closed;

        private TurnClient(StunClient client, InetSocketAddress server,
                String user, String password) {
            this.client = client;
            this.server = server;
            this.user = user;
            this.password = password;
        }

        /** Asks the server for a relayed address (RFC 8656 section 7). */
        public static TurnClient allocate(StunClient client,
                InetSocketAddress server, String user, String password)
                throws IOException {
            var turn = new TurnClient(client, server, user, password);
            var response = turn.request(ALLOCATE, m ->
                    m.with(REQUESTED_TRANSPORT, new byte[] {17, 0, 0, 0}));
            turn.relayed = response.address(XOR_RELAYED_ADDRESS)
                    .orElseThrow(() -> refused(response));
            turn.refreshed(response);
            return turn;
        }

        /** Transacts the request, and answers challenges. */
        // tag::request[]
        private Message request(int method, UnaryOperator<Message> attributes)
                throws IOException {
            // tag::step6[] transact() a new request, after sign(); a response that isChallenge() is the new challenge, the first one and up to three further ones; any other error ends it
            for (int further = 0;;) {
                var request = attributes.apply(Message.request(method));
                var response = client.transact(server, sign(request),
                        (from, m) -> from.equals(server) && isBelieved(m));
                if (response.messageClass() == MessageClass.SUCCESS) {
                    return response;
                }
                if (!isChallenge(response) || challenge != null
                        && further++ == 3) {
                    throw refused(response);
                }
                challenge = response;
            }
            // end::step6[]
        }
        // end::request[]

        /** A 438, or a 401 that names another realm than the last one. */
        private boolean isChallenge(Message error) {
            var realm = error.find(REALM);
            boolean isOther = challenge == null || !Arrays.equals(
                    realm.orElse(null), challenge.find(REALM).get());
            return realm.isPresent() && error.find(NONCE).isPresent()
                    && (error.errorCode() == 438
                    || error.errorCode() == 401 && isOther);
        }

        /** The request with credentials, once the server asked for them. */
        // tag::sign[]
        private Message sign(Message request) {
            // tag::step6[] if there is a challenge, add USERNAME, and REALM and NONCE of the challenge; sign with key()
            return challenge == null ? request : request.with(USERNAME, user)
                    .with(REALM, challenge.find(REALM).get())
                    .with(NONCE, challenge.find(NONCE).get())
                    .signed(key()).fingerprinted();
            // end::step6[]
        }
        // end::sign[]

        /** Whether a response may be acted upon (RFC 8489, 9.2.5). */
        // tag::isBelieved[]
        private boolean isBelieved(Message response) {
            // tag::step6[] before any challenge, all; then those with the right integrity, and a 401 or 438 without any
            if (challenge == null || integrityOk(response, key())) {
                return true;
            }
            return response.find(MESSAGE_INTEGRITY).isEmpty()
                    && Set.of(401, 438).contains(response.errorCode());
            // end::step6[]
        }
        // end::isBelieved[]

        /** The key of a long-term credential (RFC 8489 section 9.2.2). */
        private byte[] key() {
            return md5(user + ":" + new String(challenge.find(REALM).get(),
                    StandardCharsets.UTF_8) + ":" + password);
        }

        /** Asks again for what will end soon; precedes each use. */
        // tag::renew[]
        private void renew() throws IOException {
            if (closed) {
                throw new IOException("closed");
            }
            // tag::step6[] at refreshAt, request() a REFRESH, and give its response to refreshed(); permit() again what was permitted 240 s ago // until then:
            if (nanoTime() - refreshAt >= 0) {
                refreshed(request(REFRESH, m -> m));
            }
            for (var peer : List.copyOf(permitted.keySet())) {
                if (nanoTime() - permitted.get(peer) >= 240 * SECOND) {
                    permit(peer);
                }
            }
            // end::step6[]
        }
        // end::renew[]

        /** Due again a minute before the end, or after half of the time. */
        private void refreshed(Message response) throws IOException {
            long lifetime = response.find(LIFETIME).filter(v -> v.length == 4)
                    .map(v -> ByteBuffer.wrap(v).getInt() & 0xffffffffL)
                    .orElseThrow(() -> refused(response));
            refreshAt = nanoTime()
                    + Math.max(lifetime - 60, lifetime / 2) * SECOND;
        }

        /** The relay's address, which peers send to. */
        @Override
        public InetSocketAddress localAddress() {
            return relayed;
        }

        @Override
        public long nanoTime() {
            return client.socket.nanoTime();
        }

        /** Lets packets from this address, whatever the port, come in. */
        public void permit(InetAddress peer) throws IOException {
            request(CREATE_PERMISSION, m -> m.with(XOR_PEER_ADDRESS,
                    new InetSocketAddress(peer, 0)));
            permitted.put(peer, nanoTime());
        }

        @Override
        public void send(InetSocketAddress to, byte[] data)
                throws IOException {
            renew();
            client.socket.send(server, Message.of(MessageClass.INDICATION, SEND,
                    randomId()).with(XOR_PEER_ADDRESS, to).with(DATA, data)
                    .raw());
        }

        /** What a peer sent to the relay, with the peer's address. */
        @Override
        public Optional<Packet> receive(Duration wait) throws IOException {
            long deadline = nanoTime() + wait.toNanos();
            while (true) {
                renew();
                long left = Math.clamp(deadline - nanoTime(), 0, SECOND);
                var data = client.receive(Duration.ofNanos(left))
                        .filter(p -> p.from().equals(server))
                        .flatMap(NatTraversal::tryDecode)
                        .filter(m -> m.method() == DATA_INDICATION)
                        .flatMap(m -> m.address(XOR_PEER_ADDRESS).flatMap(
                                from -> m.find(DATA).map(
                                        bytes -> new Packet(from, bytes))));
                if (data.isPresent() || left == 0) {
                    return data;
                }
            }
        }

        /**
         * Gives the allocation back: one Refresh with lifetime 0, whose
         * response nobody awaits. The socket stays open.
         */
        @Override
        public void close() throws IOException {
            closed = true;
            client.socket.send(server, sign(Message.request(REFRESH)
                    .with(LIFETIME, new byte[4])).raw());
        }
    }

    /**
     * Finds out how the NAT maps and filters (RFC 5780 sections 4.3 and 4.4),
     * as far as these probes can tell.
     *
     * @param sockets called twice: filtering needs a socket that has never
     *                sent to the server's other address
     * @param server  one with two addresses and ports: {@link #serveStun}
     */
    // tag::discover[]
    public static Discovery discover(Supplier<Datagrams> sockets,
            InetSocketAddress server, Retransmission retransmission)
            throws IOException {
        // tag::step7[] compare the mapped address at the server, at its other address with the same port, and at its other address and port; then ask answers() with a new socket; close both
        try (var first = sockets.get(); var second = sockets.get()) {
            var client = new StunClient(first, retransmission);
            var mapped = client.mappedAddress(server);
            var other = client.transact(server, Message.request(BINDING))
                    .address(OTHER_ADDRESS).orElseThrow(() ->
                            new IOException(server + ": no OTHER-ADDRESS"));
            var there = client.mappedAddress(new InetSocketAddress(
                    other.getAddress(), server.getPort()));
            var mapping = there.equals(mapped) ? Behavior.ENDPOINT_INDEPENDENT
                    : there.equals(client.mappedAddress(other))
                    ? Behavior.ADDRESS_DEPENDENT
                    : Behavior.ADDRESS_AND_PORT_DEPENDENT;
            var probe = new StunClient(second, retransmission);
            var filtering = answers(probe, server, 6, other)
                    ? Behavior.ENDPOINT_INDEPENDENT
                    : answers(probe, server, 2, new InetSocketAddress(
                            server.getAddress(), other.getPort()))
                    ? Behavior.ADDRESS_DEPENDENT
                    : Behavior.ADDRESS_AND_PORT_DEPENDENT;
            return new Discovery(first.localAddress(), mapped,
                    new NatBehavior(mapping, filtering));
        }
        // end::step7[]
    }
    // end::discover[]

    /**
     * Whether the server's answer from another place arrives.
     *
     * @param change 2: from its other port; 6: from its other address as well
     */
    // tag::answers[]
    private static boolean answers(StunClient client, InetSocketAddress server,
            int change, InetSocketAddress expected) throws IOException {
        // tag::step7[] transact() a request with CHANGE-REQUEST, a number of 32 bits; only a success from the expected address counts, and silence is false
        try {
            client.transact(server, Message.request(BINDING)
                    .with(CHANGE_REQUEST, new byte[] {0, 0, 0, (byte) change}),
                    (from, m) -> from.equals(expected)
                            && m.messageClass() == MessageClass.SUCCESS);
            return true;
        } catch (SocketTimeoutException silence) {
            return false;
        }
        // end::step7[]
    }
    // end::answers[]

    // ---- given from here on ----

    public static final int BINDING = 1, ALLOCATE = 3, REFRESH = 4, SEND = 6,
            DATA_INDICATION = 7, CREATE_PERMISSION = 8;
    public static final int CHANGE_REQUEST = 0x03, USERNAME = 0x06,
            MESSAGE_INTEGRITY = 0x08, ERROR_CODE = 0x09,
            UNKNOWN_ATTRIBUTES = 0x0a, LIFETIME = 0x0d,
            XOR_PEER_ADDRESS = 0x12, DATA = 0x13, REALM = 0x14, NONCE = 0x15,
            XOR_RELAYED_ADDRESS = 0x16, REQUESTED_TRANSPORT = 0x19,
            XOR_MAPPED_ADDRESS = 0x20, USE_CANDIDATE = 0x25,
            FINGERPRINT = 0x8028, OTHER_ADDRESS = 0x802c;
    private static final int HEADER = 20;
    private static final int MAGIC_COOKIE = 0x2112a442;
    private static final long SECOND = 1_000_000_000;
    private static final long CHECK_INTERVAL = SECOND / 20;
    private static final Set<Integer> XORED = Set.of(
            XOR_PEER_ADDRESS, XOR_RELAYED_ADDRESS, XOR_MAPPED_ADDRESS);
    /** What a client understands in the response to a Binding request. */
    private static final Set<Integer> KNOWN = Set.of(0x01,
            MESSAGE_INTEGRITY, ERROR_CODE, XOR_MAPPED_ADDRESS);
    private static final SecureRandom RANDOM = new SecureRandom();

    private static int u16(byte[] bytes, int at) {
        return (bytes[at] & 0xff) << 8 | bytes[at + 1] & 0xff;
    }

    private static int padded(int length) {
        return length + 3 & ~3;
    }

    private static byte[] randomId() {
        var id = new byte[12];
        RANDOM.nextBytes(id);
        return id;
    }

    private static byte[] md5(String text) {
        return always(() -> MessageDigest.getInstance("MD5")
                .digest(text.getBytes(StandardCharsets.UTF_8)));
    }

    /** The result of a call that fails on no JDK. */
    private static <T> T always(Callable<T> call) {
        try {
            return call.call();
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    private static Optional<Message> tryDecode(Packet packet) {
        try {
            return Optional.of(Message.decode(packet.data()));
        } catch (StunException e) {
            return Optional.empty();
        }
    }

    private static StunException refused(Message response) {
        return new StunException(response.errorCode(),
                "bad response, error code " + response.errorCode());
    }

    /** In the order of their two bits (RFC 8489 section 5). */
    public enum MessageClass { REQUEST, INDICATION, SUCCESS, ERROR }

    /** An attribute's type, and which bytes of the message are its value. */
    public record Attribute(int type, int start, int end) {}

    /** A datagram that arrived; the data belong to whoever has the packet. */
    public record Packet(InetSocketAddress from, byte[] data) {}

    /** How a NAT maps or filters (RFC 4787 sections 4.1 and 5). */
    public enum Behavior {
        ENDPOINT_INDEPENDENT, ADDRESS_DEPENDENT, ADDRESS_AND_PORT_DEPENDENT
    }

    /** The two behaviours of one NAT. */
    public record NatBehavior(Behavior mapping, Behavior filtering) {}

    /** What {@link #discover} found; without a NAT, local equals mapped. */
    public record Discovery(InetSocketAddress local, InetSocketAddress mapped,
            NatBehavior behavior) {}

    /**
     * One side of a connection to be made.
     *
     * @param secret    known to both sides alone, not empty
     * @param initiator true on one side: it decides which pair is used
     */
    public record Peer(Datagrams socket, String secret, boolean initiator) {

        /** What this side signs with: own messages, sent back, fail. */
        byte[] key() {
            return md5(secret + initiator);
        }

        /** What the other side signs with. */
        byte[] peerKey() {
            return md5(secret + !initiator);
        }
    }

    /**
     * When a request is sent (RFC 8489 section 6.2.1).
     *
     * @param rto from the first sending to the second; then it doubles
     * @param rc  how often it is sent at most, 1 to 16
     * @param rm  after the last sending, so many rto pass before giving up
     */
    public record Retransmission(Duration rto, int rc, int rm) {

        /** 500 ms, 7 times, given up after 39.5 s. */
        public static Retransmission standard() {
            return new Retransmission(Duration.ofMillis(500), 7, 16);
        }

        /**
         * Until when to wait after each sending, counted from the first one:
         * the last is when to give up.
         */
        List<Duration> deadlines() {
            return IntStream.rangeClosed(1, rc).mapToObj(i -> rto.multipliedBy(
                    i < rc ? (1 << i) - 1 : (1 << rc - 1) - 1 + rm)).toList();
        }
    }

    /** Bytes that are no STUN message, or a response that does not help. */
    public static final class StunException extends IOException {
        private static final long serialVersionUID = 1;
        private final int code;

        StunException(int code, String what) {
            super(what);
            this.code = code;
        }

        /** The code of an error response, such as 401; else 0. */
        public int code() {
            return code;
        }
    }

    /** A UDP socket, real or not, and its clock. */
    public interface Datagrams extends Closeable {

        /** Where it is bound. */
        InetSocketAddress localAddress() throws IOException;

        /** Sends one datagram, which may be lost. */
        void send(InetSocketAddress to, byte[] data) throws IOException;

        /** The next datagram; empty if none comes within this time. */
        Optional<Packet> receive(Duration wait) throws IOException;

        /** A simulation has a time of its own. */
        default long nanoTime() {
            return System.nanoTime();
        }

        /**
         * A real socket, which waits for 1 ms at least; another thread may
         * close it.
         */
        static Datagrams udp(InetSocketAddress bind) throws IOException {
            return new Udp(new DatagramSocket(bind));
        }
    }

    private record Udp(DatagramSocket socket) implements Datagrams {

        @Override
        public InetSocketAddress localAddress() {
            return (InetSocketAddress) socket.getLocalSocketAddress();
        }

        @Override
        public void send(InetSocketAddress to, byte[] data)
                throws IOException {
            socket.send(new DatagramPacket(data, data.length, to));
        }

        @Override
        public Optional<Packet> receive(Duration wait) throws IOException {
            var packet = new DatagramPacket(new byte[2048], 2048);
            try {   // in whole ms, of which 0 would be for ever
                socket.setSoTimeout(Math.clamp(
                        wait.plusNanos(999_999).toMillis(), 1, 1_000_000));
                socket.receive(packet);
                return Optional.of(new Packet((InetSocketAddress)
                        packet.getSocketAddress(), Arrays.copyOf(
                        packet.getData(), packet.getLength())));
            } catch (SocketTimeoutException e) {
                return Optional.empty();
            }
        }

        @Override
        public void close() {
            socket.close();
        }
    }

    /**
     * Answers one packet as a STUN server with CHANGE-REQUEST does (RFC 5780
     * section 6).
     *
     * @param sockets one; or four: own address with own and other port, then
     *                the other address with the same two ports
     * @param at      which of them has received the packet
     */
    public static void serveStun(List<? extends Datagrams> sockets, int at,
            Packet packet) throws IOException {
        boolean hasFour = sockets.size() == 4;
        var response = respond(packet, hasFour ? Set.of(CHANGE_REQUEST)
                : Set.of()).orElse(null);
        if (response != null) {
            int change = tryDecode(packet)
                    .flatMap(m -> m.find(CHANGE_REQUEST))
                    .filter(v -> hasFour && v.length == 4)
                    .map(v -> v[3] >> 1 & 3).orElse(0);
            sockets.get(at ^ change).send(packet.from(), (hasFour ? response
                    .with(OTHER_ADDRESS, sockets.get(at ^ 3).localAddress())
                    : response).raw());
        }
    }

    /**
     * An internet in memory, with a time of its own: whoever waits lets it
     * pass. A packet arrives at once, or never.
     */
    public static final class VirtualNet {
        private final Map<InetSocketAddress, Host> hosts = new HashMap<>();
        private final Map<InetAddress, Nat> nats = new HashMap<>();
        private long now;

        /** What a server does with each packet. */
        public interface Handler {
            void onPacket(Packet packet) throws IOException;
        }

        /** A host with a public address. */
        public Host host(String ip, int port) {
            var host = new Host(ip, port, null);
            hosts.put(host.address, host);
            return host;
        }

        /** A NAT with nobody behind it, which forgets idle mappings. */
        public Nat nat(String publicIp, NatBehavior behavior, Duration idle) {
            var nat = new Nat(InetAddress.ofLiteral(publicIp), behavior,
                    idle.toNanos());
            nats.put(nat.publicIp, nat);
            return nat;
        }

        /** Lets both try for so long; true if both have a result. */
        public boolean meet(Punch a, Punch b, Duration budget)
                throws IOException {
            boolean met = false;
            for (long end = now + budget.toNanos(); !met && now < end;) {
                pass(Duration.ofMillis(10));
                met = a.advance(Duration.ZERO).isPresent()
                        & b.advance(Duration.ZERO).isPresent();
            }
            return met;
        }

        /** The time of this internet, as its sockets tell it. */
        public long nanoTime() {
            return now;
        }

        /** Lets time pass. */
        public void pass(Duration time) {
            now += time.toNanos();
        }

        /** A socket on this internet. */
        public final class Host implements Datagrams {
            private final InetSocketAddress address;
            private final Nat nat;   // or null
            private final Queue<Packet> inbox = new ArrayDeque<>();
            private Handler handler = inbox::add;

            private Host(String ip, int port, Nat nat) {
                address = new InetSocketAddress(InetAddress.ofLiteral(ip),
                        port);
                this.nat = nat;
            }

            /** Gives packets to a server instead of keeping them. */
            public void serve(Handler handler) {
                this.handler = handler;
            }

            @Override
            public InetSocketAddress localAddress() {
                return address;
            }

            @Override
            public long nanoTime() {
                return now;
            }

            @Override
            public void send(InetSocketAddress to, byte[] data)
                    throws IOException {
                var from = nat == null ? address : nat.outside(this, to);
                var router = nats.get(to.getAddress());
                var host = router == null ? hosts.get(to)
                        : router.inside(from, to);
                if (host != null) {
                    host.handler.onPacket(new Packet(from, data.clone()));
                }
            }

            @Override
            public Optional<Packet> receive(Duration wait) {
                if (inbox.isEmpty()) {
                    pass(wait);
                }
                return Optional.ofNullable(inbox.poll());
            }

            @Override
            public void close() {
                hosts.remove(address);
            }
        }

        /** Its table holds what was sent, until that is idle for too long. */
        public final class Nat {
            private final InetAddress publicIp;
            private final NatBehavior behavior;
            private final long idle;
            private final List<Sent> table = new ArrayList<>();
            private int nextPort = 40_000;

            private record Sent(Host inside, InetSocketAddress outside,
                    InetSocketAddress to, long at) {}

            private Nat(InetAddress publicIp, NatBehavior behavior,
                    long idle) {
                this.publicIp = publicIp;
                this.behavior = behavior;
                this.idle = idle;
            }

            /** A host behind this NAT. */
            public Host host(String privateIp, int port) {
                return new Host(privateIp, port, this);
            }

            private InetSocketAddress outside(Host from,
                    InetSocketAddress to) {
                var outside = live().filter(s -> s.inside() == from
                        && isSame(behavior.mapping(), s.to(), to))
                        .map(Sent::outside).findFirst().orElseGet(() ->
                                new InetSocketAddress(publicIp, nextPort++));
                table.add(new Sent(from, outside, to, now));
                return outside;
            }

            /** Who may have the packet; that does not keep the mapping. */
            private Host inside(InetSocketAddress from, InetSocketAddress to) {
                return live().filter(s -> s.outside().equals(to)
                        && isSame(behavior.filtering(), s.to(), from))
                        .map(Sent::inside).findFirst().orElse(null);
            }

            private Stream<Sent> live() {
                table.removeIf(s -> now - s.at() >= idle);
                return table.stream();
            }

            /** Whether the behaviour depends on no difference of the two. */
            private static boolean isSame(Behavior behavior,
                    InetSocketAddress a, InetSocketAddress b) {
                return switch (behavior) {
                    case ENDPOINT_INDEPENDENT -> true;
                    case ADDRESS_DEPENDENT ->
                        a.getAddress().equals(b.getAddress());
                    case ADDRESS_AND_PORT_DEPENDENT -> a.equals(b);
                };
            }
        }
    }

    // The demo: one scene for each step.

    private static final List<String> STEPS = List.of(
            "Encode and decode STUN messages", "Discover your mapped address",
            "Predict which pairs connect", "Authenticate messages",
            "Punch a hole", "Relay through TURN",
            "Discover the NAT's behaviour");
    private static final List<NatBehavior> ALL = Stream.of(Behavior.values())
            .flatMap(mapping -> Stream.of(Behavior.values())
                    .map(filtering -> new NatBehavior(mapping, filtering)))
            .toList();

    /** No argument: the demo; {@code help} names the other commands. */
    public static void main(String[] args) {
        var words = String.join(" ", args);
        var command = Pattern.compile("(stun|detect) (\\S+):(\\d{1,5})")
                .matcher(words);
        try {
            if (words.isEmpty()) {
                demo();
            } else if (command.matches()) {
                IO.println(ask(command.group(1), new InetSocketAddress(
                        command.group(2), Integer.parseInt(command.group(3)))));
            } else {
                usage(words);
            }
        } catch (UnsupportedOperationException todo) {
            next(todo.getMessage() + "\n  " + todo.getStackTrace()[0]);
        } catch (IOException | IllegalArgumentException e) {
            System.err.println(words + ": " + e.getMessage());
            System.exit(1);
        }
    }

    private static void usage(String words) {
        boolean help = words.matches("-h|(--)?help");
        (help ? System.out : System.err).println((help ? ""
                : "not understood: " + words + "\n") + """
                lab-420                   the demo, step by step
                lab-420 stun HOST:PORT    your mapped address
                lab-420 detect HOST:PORT  your NAT's behaviour
                lab-420 help              this text""");
        System.exit(help ? 0 : 2);
    }

    private static Object ask(String verb, InetSocketAddress server)
            throws IOException {
        var quick = new Retransmission(Duration.ofMillis(200), 4, 4);
        InetAddress own;
        try (var way = new DatagramSocket()) {
            way.connect(server);   // sends nothing
            own = way.getLocalAddress();
        }
        Supplier<Datagrams> sockets = () -> always(() ->
                Datagrams.udp(new InetSocketAddress(own, 0)));
        if (verb.equals("detect")) {
            return discover(sockets, server, quick);
        }
        try (var socket = sockets.get()) {
            return socket.localAddress() + " is seen as "
                    + new StunClient(socket, quick).mappedAddress(server);
        }
    }

    private static void demo() throws IOException {
        IO.println("lab 420  NAT traversal\n");
        var request = Message.of(MessageClass.REQUEST, BINDING, new byte[12])
                .with(USERNAME, "alice");
        show(1, "request", "0001.*2112a442.*", HexFormat.of().formatHex(
                Message.decode(request.raw()).raw()));
        var world = new Demo(ALL.getLast(), ALL.getLast());
        show(2, "seen as", ".*", world.seen(world.alice, 0)
                + ", by another server as " + world.seen(world.alice, 2));
        for (var a : ALL) {
            show(3, shown(a), ".*", ALL.stream().map(b -> predict(a, b)
                    ? "direct" : "relay ").collect(Collectors.joining(" ")));
        }
        var signed = request.signed(md5("secret"));
        show(4, "integrity", "true false", integrityOk(signed, md5("secret"))
                + " " + integrityOk(signed, md5("guess")));
        int right = 0;
        for (var a : ALL) {
            for (var b : ALL) {
                var demo = new Demo(a, b);
                right += demo.meet(demo.alice, demo.seen(demo.alice, 0))
                        == predict(a, b) ? 1 : 0;
            }
        }
        show(5, "punched", "81 .*", right + " of 81 pairs as predicted");
        var turn = TurnClient.allocate(new StunClient(world.alice,
                Retransmission.standard()), world.servers.getFirst()
                .localAddress(), "alice", "secret");
        turn.permit(InetAddress.ofLiteral("203.0.113.2"));
        show(6, "relayed", ".*true", world.codes + ", then the peers met: "
                + world.meet(turn, turn.localAddress()));
        for (var nat : ALL) {
            var demo = new Demo(nat, nat);
            var sockets = List.<Datagrams>of(demo.alice, demo.bob).iterator();
            show(7, "behind " + shown(nat), shown(nat), shown(discover(
                    sockets::next, demo.servers.getFirst().localAddress(),
                    Retransmission.standard()).behavior()));
        }
        IO.println("\nall seven steps work");
    }

    private static String shown(NatBehavior nat) {
        return (nat.mapping() + "/" + nat.filtering())
                .replaceAll("([A-Z])[A-Z]*_?", "$1").replace("AA", "A");
    }

    /** Two peers behind NATs, and a server for STUN and TURN. */
    private static final class Demo {
        private final VirtualNet net = new VirtualNet();
        private final List<VirtualNet.Host> servers = List.of(
                net.host("192.0.2.1", 3478), net.host("192.0.2.1", 3479),
                net.host("192.0.2.2", 3478), net.host("192.0.2.2", 3479));
        private final VirtualNet.Host relay = net.host("192.0.2.1", 50_000);
        private final VirtualNet.Host alice;
        private final VirtualNet.Host bob;
        private final List<Integer> codes = new ArrayList<>();

        Demo(NatBehavior a, NatBehavior b) {
            alice = net.nat("203.0.113.1", a, Duration.ofMinutes(2))
                    .host("10.0.0.2", 5000);
            bob = net.nat("203.0.113.2", b, Duration.ofMinutes(2))
                    .host("10.0.0.2", 5000);
            for (var server : servers) {
                server.serve(packet -> serve(server, packet));
            }
        }

        private InetSocketAddress seen(Datagrams socket, int server)
                throws IOException {
            return new StunClient(socket, Retransmission.standard())
                    .mappedAddress(servers.get(server).localAddress());
        }

        private boolean meet(Datagrams socket, InetSocketAddress told)
                throws IOException {
            return net.meet(new Punch(new Peer(socket, "s", true),
                    List.of(seen(bob, 0))), new Punch(new Peer(bob, "s", false),
                    List.of(told)), Duration.ofSeconds(2));
        }

        /** The first nonce becomes stale after one success. */
        private void serve(VirtualNet.Host server, Packet packet)
                throws IOException {
            serveStun(servers, servers.indexOf(server), packet);
            var request = Message.decode(packet.data());
            if (request.method() == SEND) {
                relay.send(request.address(XOR_PEER_ADDRESS).get(),
                        request.find(DATA).get());
            } else if (request.method() != BINDING) {
                var key = md5("alice:lab.test:secret");
                int code = !integrityOk(request, key) ? 401
                        : codes.size() == 2 ? 438 : 200;
                codes.add(code);
                relay.serve(p -> server.send(packet.from(), Message.of(
                        MessageClass.INDICATION, DATA_INDICATION, randomId())
                        .with(XOR_PEER_ADDRESS, p.from()).with(DATA, p.data())
                        .raw()));
                server.send(packet.from(), (code != 200
                        ? request.error(code).with(REALM, "lab.test")
                        .with(NONCE, "nonce" + codes.size())
                        : request.success()
                        .with(LIFETIME, new byte[] {0, 0, 2, 88})
                        .with(XOR_RELAYED_ADDRESS, relay.localAddress())
                        .signed(key)).raw());
            }
        }
    }

    private static void show(int step, String what, String expected,
            Object seen) {
        IO.println("  %d  %-14s %s".formatted(step, what, seen));
        if (!seen.toString().matches(expected)) {
            next("TODO step " + step + ": search NatTraversal.java for it");
        }
    }

    /** Says what to do next, and ends the program. */
    private static void next(String todo) {
        int step = todo.charAt("TODO step ".length()) - '0';
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/NatTraversal.java";
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        IO.println("\nnext: step " + step + ", " + STEPS.get(step - 1) + "\n  "
                + todo + (isHere ? "" : "\n  in a clone of the workbook:")
                + ("\n  check  " + jbang + " test-420 " + file).stripTrailing()
                + "\n  hint   " + jbang + " hint 420 " + step);
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }
}
