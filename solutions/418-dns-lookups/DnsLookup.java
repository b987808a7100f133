///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 418: a DNS client that checks and caches the answers

import module java.base;

/**
 * Asks DNS servers for addresses, aliases, mail servers and texts.
 *
 * <p>The one idea: a response is only as good as its checks. It counts if it
 * comes from the server that was asked and repeats the id and the question;
 * it is decoded as if an attacker had written it; only the records on the way
 * from the name to its answer are used; and it is valid for a limited time.
 *
 * <p>The messages are those of RFC 1035 section 4, over UDP and TCP (RFC 7766).
 * Not supported: EDNS, DNSSEC, search domains, multicast DNS, and DNS over TLS
 * or HTTPS. Thread-safe.
 */
public final class DnsLookup {

    private static final int HEADER = 12;               // octets
    private static final int MAX_LABEL = 63;            // octets, RFC 1035
    private static final int MAX_NAME = 255;            // section 2.3.4
    private static final int MAX_POINTERS = 127;        // as many as labels
    private static final int RECURSION_DESIRED = 0x0100;
    private static final int TRUNCATED = 0x0200;
    private static final int POINTER = 0xc0;            // section 4.1.4
    private static final int IN = 1;                    // the Internet class
    private static final int NO_ERROR = 0;
    private static final int NX_DOMAIN = 3;
    private static final int MAX_ALIASES = 16;
    private static final int ROUNDS = 2;
    private static final long MAX_TTL = 86_400;         // a day, in seconds

    /**
     * A query with one question, which asks the server to resolve the name for
     * us (recursion desired).
     *
     * @param id 0 to 65,535
     * @throws DnsException of kind BAD_NAME
     */
    // tag::encode[]
    public static byte[] encode(int id, Question question)
            throws DnsException {
        // tag::step1[] the header (the id, the flags RECURSION_DESIRED, the counts 1, 0, 0, 0), then the question: putName(), its type and its class; return exactly the octets that were written
        var wire = ByteBuffer.allocate(HEADER + MAX_NAME + 4);
        wire.putShort((short) id).putShort((short) RECURSION_DESIRED);
        wire.putShort((short) 1).putShort((short) 0).putInt(0);   // counts
        putName(wire, question.name());
        wire.putShort((short) question.type());
        wire.putShort((short) question.recordClass());
        return Arrays.copyOf(wire.array(), wire.position());
        // end::step1[]
    }
    // end::encode[]

    /** Writes the labels of the name, and the empty label of the root. */
    // tag::putName[]
    private static void putName(ByteBuffer wire, String name)
            throws DnsException {
        // tag::step1[] each label with its length before it, then a zero octet; "." has no label; throw badName() for a label that is empty or longer than MAX_LABEL, for more than MAX_NAME octets in all, for a backslash, and for what is not ASCII
        if (!name.chars().allMatch(c -> c < 0x80 && c != '\\')) {
            throw badName(name + ": only ASCII, and no backslash");
        }
        int start = wire.position();
        var labels = name.equals(".") ? new String[0] : name.split("\\.", -1);
        for (var label : labels) {
            if (label.isEmpty() || label.length() > MAX_LABEL) {
                throw badName(name + ": a label has 1 to 63 octets");
            }
            if (wire.position() - start + label.length() + 2 > MAX_NAME) {
                throw badName(name + ": a name has at most 255 octets");
            }
            wire.put((byte) label.length());
            wire.put(label.getBytes(StandardCharsets.US_ASCII));
        }
        wire.put((byte) 0);
        // end::step1[]
    }
    // end::putName[]

    /**
     * Decodes a message of at most 65,535 octets. Octets after the last record
     * are ignored.
     *
     * @throws MalformedMessageException if it breaks any rule; no other
     *         exception is thrown, whatever the octets are
     */
    // tag::decode[]
    public static Message decode(byte[] wire)
            throws MalformedMessageException {
        if (wire.length < HEADER) {
            throw new MalformedMessageException("shorter than a header");
        }
        var reader = new Reader(wire);
        int id = reader.u16();
        int flags = reader.u16();
        int[] counts = {reader.u16(), reader.u16(), reader.u16(), reader.u16()};
        return new Message(id, (flags & 0x8000) != 0, flags >> 11 & 0xf,
                (flags & TRUNCATED) != 0, flags & 0xf,
                reader.questions(counts[0]), reader.records(counts[1]),
                reader.records(counts[2]), reader.records(counts[3]));
    }
    // end::decode[]

    /** Reads a message from its first octet to its last one. */
    private static final class Reader {

        private final byte[] wire;
        private int at;    // the next octet to be read
        private int end;   // where the message ends, or the current RDATA

        private Reader(byte[] wire) {
            this.wire = wire;
            this.end = wire.length;
        }

        private int u8() throws MalformedMessageException {
            Checks.octetsLeft(1, end - at);
            return wire[at++] & 0xff;   // a byte is signed, an octet is not
        }

        /** A 16-bit number, 0 to 65,535, the more significant octet first. */
        // tag::u16[]
        private int u16() throws MalformedMessageException {
            // tag::step2[] from two calls of u8()
            return u8() << 8 | u8();
            // end::step2[]
        }

        /** A 32-bit number, 0 to 2^32 - 1. */
        private long u32() throws MalformedMessageException {
            // tag::step2[] from two calls of u16()
            return (long) u16() << 16 | u16();
            // end::step2[]
        }
        // end::u16[]

        private byte[] octets(int count) throws MalformedMessageException {
            Checks.octetsLeft(count, end - at);
            at += count;
            return Arrays.copyOfRange(wire, at - count, at);
        }

        /**
         * A name, with its pointers followed; "." for the root. Afterwards
         * {@code at} is the octet after the name, or after its first pointer.
         */
        // tag::name[]
        private String name() throws MalformedMessageException {
            // tag::step2[] append() each label until the empty one. Two octets that begin with the bits 11 are a pointer: the name goes on at the position in their other 14 bits, anywhere in the message. Call Checks.label() with the length of each label and the octets of the name so far, counting the root, and Checks.pointer() with each target, the one before it, at first the start of the name, and how many pointers this name has followed with it, 1 at first
            var name = new StringBuilder();
            int octets = 1;
            int pointers = 0;
            int before = at;
            int after = -1;          // no pointer so far
            for (int first = u8(); first != 0; first = u8()) {
                if (first >= POINTER) {
                    int target = (first & 0x3f) << 8 | u8();
                    Checks.pointer(target, before, ++pointers);
                    after = after < 0 ? at : after;
                    before = target;
                    at = target;
                } else {
                    octets += 1 + first;
                    Checks.label(first, octets);
                    append(name, octets(first));
                }
            }
            at = after < 0 ? at : after;
            return name.isEmpty() ? "." : name.toString();
            // end::step2[]
        }
        // end::name[]

        /** The RDATA of an A record. */
        // tag::bodies[]
        private Data a() throws MalformedMessageException {
            // tag::step2[] the address of four octets
            return new Data.Address(address(octets(4)));
            // end::step2[]
        }

        /** The RDATA of a record whose data is a name, such as CNAME. */
        private Data named() throws MalformedMessageException {
            // tag::step2[] the name
            return new Data.Name(name());
            // end::step2[]
        }

        /** The RDATA of an MX record. */
        private Data mx() throws MalformedMessageException {
            // tag::step2[] the preference, in 16 bits, then the name of the mail server
            return new Data.Mx(u16(), name());
            // end::step2[]
        }
        // end::bodies[]

        // The rest of this class is given.

        private Data data(int type, int recordClass)
                throws MalformedMessageException {
            var known = Type.of(type);
            if (known.isEmpty() || recordClass != IN) {
                return new Data.Unknown(octets(end - at).length);
            }
            return switch (known.get()) {
                case A -> a();
                case NS, CNAME, PTR -> named();
                case MX -> mx();
                case AAAA -> new Data.Address(address(octets(16)));
                case SOA -> new Data.Soa(name(), name(), u32(), u32(), u32(),
                        u32(), u32());
                case TXT -> {
                    var strings = new ArrayList<String>();
                    while (at < end) {
                        strings.add(new String(octets(u8()),
                                StandardCharsets.ISO_8859_1));
                    }
                    yield new Data.Txt(List.copyOf(strings));
                }
            };
        }

        private ResourceRecord record() throws MalformedMessageException {
            var name = name();
            int type = u16();
            int recordClass = u16();
            long ttl = u32();
            int length = u16();
            Checks.octetsLeft(length, end - at);
            end = at + length;
            var data = data(type, recordClass);
            Checks.rdataEnd(at, end);
            at = end;
            end = wire.length;
            return new ResourceRecord(name, type, recordClass, ttl, data);
        }

        private List<ResourceRecord> records(int count)
                throws MalformedMessageException {
            var records = new ArrayList<ResourceRecord>();   // count may lie
            for (int i = 0; i < count; i++) {
                records.add(record());
            }
            return records;
        }

        private List<Question> questions(int count)
                throws MalformedMessageException {
            var questions = new ArrayList<Question>();
            for (int i = 0; i < count; i++) {
                questions.add(new Question(name(), u16(), u16()));
            }
            return questions;
        }

        /** Escapes a dot inside a label, for it does not end the label. */
        private static void append(StringBuilder name, byte[] label) {
            name.append(name.isEmpty() ? "" : ".");
            for (byte octet : label) {
                if (octet > ' ' && octet < 0x7f
                        && octet != '.' && octet != '\\') {
                    name.append((char) octet);
                } else {
                    name.append('\\').append(1000 + (octet & 0xff))
                            .deleteCharAt(name.length() - 4);   // its 1
                }
            }
        }
    }

    /**
     * Asks the servers in order, and then once more, until a response has the
     * rcode NOERROR or NXDOMAIN. It is returned as it came.
     *
     * @throws DnsException TIMEOUT if no server has answered; SERVER_FAILURE
     *         if one has failed or could not be reached
     */
    // tag::ask[]
    public Message ask(Question question)
            throws DnsException, InterruptedException {
        // tag::step3[] askOne() each of options.servers(), in ROUNDS rounds; return a response of NO_ERROR or NX_DOMAIN; after any other one, a timeout or an I/O error, ask the next server, but pass a bad name on. In the end throw TIMEOUT if all tries have ended with a timeout, or else SERVER_FAILURE, whose message tells the last failure, an rcode as "rcode 2"
        var failure = new DnsException(
                Kind.TIMEOUT, "no answer from " + options.servers());
        var servers = options.servers();
        for (int i = 0; i < ROUNDS * servers.size(); i++) {
            var server = servers.get(i % servers.size());
            try {
                var response = askOne(server, question);
                int rcode = response.rcode();
                if (rcode == NO_ERROR || rcode == NX_DOMAIN) {
                    return response;
                }
                failure = new DnsException(Kind.SERVER_FAILURE,
                        server + " answers with rcode " + rcode);
            } catch (DnsException e) {
                throw e;   // the name cannot be asked for, of nobody
            } catch (SocketTimeoutException e) {
                // This server is silent; the next one may answer.
            } catch (IOException e) {
                failure = new DnsException(Kind.SERVER_FAILURE,
                        "cannot ask " + server + ": " + e);
            }
        }
        throw failure;
        // end::step3[]
    }
    // end::ask[]

    /**
     * One try over UDP.
     *
     * @throws SocketTimeoutException if no response that matches has come by
     *         the deadline, an instant of {@link System#nanoTime}
     */
    // tag::askUdp[]
    private Message askUdp(InetSocketAddress server, Question question,
            long deadline) throws IOException {
        // tag::step3[] connect() a new DatagramChannel to the server; send the question with an id of RANDOM, 0 to 65,535. Before each receive() of channel.socket(), call setSoTimeout(millisLeft(deadline)). Return the first response that decode() accepts and that matches(); ignore all others
        int id = RANDOM.nextInt(1 << 16);
        try (var channel = DatagramChannel.open()) {
            channel.connect(server);
            channel.write(ByteBuffer.wrap(encode(id, question)));
            var packet = new DatagramPacket(new byte[RECEIVE], RECEIVE);
            while (true) {
                channel.socket().setSoTimeout(millisLeft(deadline));
                channel.socket().receive(packet);
                try {
                    var response = decode(Arrays.copyOf(
                            packet.getData(), packet.getLength()));
                    if (matches(response, id, question)) {
                        return response;
                    }
                } catch (MalformedMessageException e) {
                    // Anybody may have sent it: the true one may still come.
                }
            }
        }
        // end::step3[]
    }
    // end::askUdp[]

    /** Whether this is the response to the query (RFC 5452 section 9.1). */
    // tag::matches[]
    private static boolean matches(Message response, int id,
            Question question) {
        // tag::step3[] it is a response with this id and opcode 0, and has one question, which is this one; compare names by fold()
        if (!response.response() || response.id() != id
                || response.opcode() != 0
                || response.questions().size() != 1) {
            return false;
        }
        var told = response.questions().getFirst();
        return fold(told.name()).equals(fold(question.name()))
                && told.type() == question.type()
                && told.recordClass() == question.recordClass();
        // end::step3[]
    }
    // end::matches[]

    /** Asks until the answer is known, which may take several queries. */
    // tag::resolve[]
    private Answer resolve(String name, Type type)
            throws DnsException, InterruptedException {
        // tag::step4[] exchange.ask() for the name. While find() has no record of the type at the current name but a CNAME, its target becomes the current name; one more than MAX_ALIASES is an ALIAS_LOOP. Then: Found, if there are records; NoSuchName of the current name, if the rcode is NX_DOMAIN; NoData, if the current name has a soa() or no CNAME was followed in this response; or else ask() for the current name. The ttl is the smallest of all CNAMEs on the way and of the records, or of the SOA and its minimum; 0 without a SOA
        var aliases = new ArrayList<String>();
        long ttl = Long.MAX_VALUE;
        for (var current = name; ; ) {
            var asked = current;
            var response = exchange.ask(Question.of(asked, type));
            var records = find(response, current, type);
            var links = find(response, current, Type.CNAME);
            while (records.isEmpty() && !links.isEmpty()) {
                if (aliases.size() == MAX_ALIASES) {
                    throw new DnsException(Kind.ALIAS_LOOP, name);
                }
                ttl = Math.min(ttl, smallestTtl(links));
                current = ((Data.Name) links.getFirst().data()).target();
                aliases.add(current);
                records = find(response, current, type);
                links = find(response, current, Type.CNAME);
            }
            if (!records.isEmpty()) {
                ttl = Math.min(ttl, smallestTtl(records));
                return new Answer.Found(records, aliases, ttl, false);
            }
            var soa = soa(response, current);
            boolean exists = response.rcode() != NX_DOMAIN;
            if (exists && soa.isEmpty() && !current.equals(asked)) {
                continue;   // the response says nothing about the target
            }
            ttl = Math.min(ttl, soa.map(record -> Math.min(record.ttl(),
                    ((Data.Soa) record.data()).minimum())).orElse(0L));
            return exists ? new Answer.NoData(current, ttl)
                    : new Answer.NoSuchName(current, ttl);
        }
        // end::step4[]
    }
    // end::resolve[]

    /** The answer records of this name and type, equal ones once. */
    // tag::find[]
    private static List<ResourceRecord> find(Message response, String name,
            Type type) {
        // tag::step4[] from the answer section, with class IN; compare names by fold()
        return response.answers().stream()
                .filter(record -> fold(record.name()).equals(fold(name))
                        && record.type() == type.code()
                        && record.recordClass() == IN)
                .distinct().toList();
        // end::step4[]
    }
    // end::find[]

    /** The SOA that says how long a negative answer for the name is valid. */
    // tag::soa[]
    private static Optional<ResourceRecord> soa(Message response, String name) {
        // tag::step4[] from the authority section, and only if isWithin() holds for the name and the zone of the SOA
        return response.authority().stream()
                .filter(record -> record.data() instanceof Data.Soa
                        && isWithin(name, record.name()))
                .findFirst();
        // end::step4[]
    }
    // end::soa[]

    /**
     * The mail servers of a domain, the preferred one first; servers of equal
     * preference in the order in which they were received. Empty if there is no
     * MX record: then the domain itself is tried (RFC 5321 section 5.1). One
     * with the exchange "." says that the domain accepts no mail (RFC 7505).
     *
     * @throws DnsException NO_SUCH_NAME, and as {@link #query}
     */
    // tag::mailServers[]
    public List<Data.Mx> mailServers(String domain)
            throws DnsException, InterruptedException {
        // tag::step4[] found() of the MX records, by preference, the smallest number first
        return found(domain, Type.MX).stream()
                .map(record -> (Data.Mx) record.data())
                .sorted(Comparator.comparingInt(Data.Mx::preference)).toList();
        // end::step4[]
    }
    // end::mailServers[]

    /** What the Reader demands of a message that anybody may have written. */
    // tag::checks[]
    private static final class Checks {

        /** Before octets are read. */
        static void octetsLeft(int wanted, int left)
                throws MalformedMessageException {
            // tag::step5[] no more octets are read than there are before the end // until then:
            if (wanted > left) {
                throw new MalformedMessageException(
                        wanted + " octets of " + left);
            }
            // end::step5[]
        }

        /** @param octets of the name so far: labels, their lengths, root */
        static void label(int length, int octets)
                throws MalformedMessageException {
            // tag::step5[] a label has at most MAX_LABEL octets, because the bits 01 and 10 in front are not in use, and a name has at most MAX_NAME // until then:
            if (length > MAX_LABEL || octets > MAX_NAME) {
                throw new MalformedMessageException(
                        "a label of " + length + " in a name of " + octets);
            }
            // end::step5[]
        }

        /**
         * @param before   the previous target, or the start of the name
         * @param pointers of this name so far, with this one
         */
        static void pointer(int target, int before, int pointers)
                throws MalformedMessageException {
            // tag::step5[] each target is before the previous one, so that no name is endless, and it is not in the header; a name has at most MAX_POINTERS, so that many names cannot follow a long chain each // until then:
            if (target < HEADER || target >= before
                    || pointers > MAX_POINTERS) {
                throw new MalformedMessageException("pointer " + pointers
                        + " of a name: from " + before + " to " + target);
            }
            // end::step5[]
        }

        /** After the RDATA of a record. */
        static void rdataEnd(int at, int end)
                throws MalformedMessageException {
            // tag::step5[] the data takes exactly the octets of RDLENGTH // until then:
            if (at != end) {
                throw new MalformedMessageException(
                        end - at + " octets after the RDATA");
            }
            // end::step5[]
        }
    }
    // end::checks[]

    // tag::askOne[]
    private Message askOne(InetSocketAddress server, Question question)
            throws IOException, InterruptedException {
        long deadline = System.nanoTime() + options.timeout().toNanos();
        try {
            var response = askUdp(server, question, deadline);
            // tag::step6[] a truncated response is no answer: return what askTcp() gets, by the same deadline // until then:
            if (response.truncated()) {
                response = askTcp(server, question, deadline);
            }
            // end::step6[]
            return response;
        } catch (ClosedByInterruptException e) {
            Thread.interrupted();
            throw new InterruptedException("while asking " + server);
        }
    }
    // end::askOne[]

    /** One try over TCP (RFC 7766), where a length precedes each message. */
    // tag::askTcp[]
    private Message askTcp(InetSocketAddress server, Question question,
            long deadline) throws IOException {
        // tag::step6[] use the socket() of a new SocketChannel: connect() by the deadline; send the length of the query, in 16 bits, and the query, with a new id; receive a length and as many octets; the response must match, or else it is an IOException
        int id = RANDOM.nextInt(1 << 16);
        var query = encode(id, question);
        var framed = ByteBuffer.allocate(2 + query.length)
                .putShort((short) query.length).put(query);
        try (var channel = SocketChannel.open()) {
            var socket = channel.socket();
            socket.connect(server, millisLeft(deadline));
            socket.getOutputStream().write(framed.array());
            var length = ByteBuffer.wrap(receive(socket, 2, deadline));
            int octets = length.getShort() & 0xffff;
            var response = decode(receive(socket, octets, deadline));
            if (!matches(response, id, question)) {
                throw new IOException("a response to another query");
            }
            return response;
        }
        // end::step6[]
    }

    /** Exactly this many octets. */
    private static byte[] receive(Socket socket, int count, long deadline)
            throws IOException {
        // tag::step6[] a read may return fewer: read until all are there, and call setSoTimeout(millisLeft(deadline)) before each; the end of stream is an EOFException
        var octets = new byte[count];
        for (int done = 0; done < count; ) {
            socket.setSoTimeout(millisLeft(deadline));
            int read = socket.getInputStream().read(octets, done, count - done);
            if (read == -1) {
                throw new EOFException("after " + done + " of " + count);
            }
            done += read;
        }
        return octets;
        // end::step6[]
    }
    // end::askTcp[]

    /** The answer from the cache, with the time that it has left. */
    // tag::recall[]
    private Optional<Answer> recall(String name, Type type) {
        // tag::step7[] look for Key(fold(name), type.code()), then for Key(fold(name), ALL_TYPES); an entry has lived for the whole seconds since entry.stored(), by options.nanoClock(); return its answer.aged() while at least a second of entry.seconds() is left // until then: return Optional.empty();
        long now = options.nanoClock().getAsLong();
        for (int part : new int[] {type.code(), ALL_TYPES}) {
            var entry = cache.get(new Key(fold(name), part));
            if (entry != null) {
                long left = entry.seconds() - (now - entry.stored()) / SECOND;
                if (left > 0) {
                    return Optional.of(entry.answer().aged(left));
                }
            }
        }
        return Optional.empty();
        // end::step7[]
    }
    // end::recall[]

    /** Keeps an answer for as long as it is valid, at most MAX_TTL. */
    // tag::remember[]
    private void remember(String name, Type type, Answer answer) {
        // tag::step7[] put an Entry into the cache for the name and the type; one of 0 s is never recalled. A NoSuchName holds for all types of the name that does not exist, which may be the target of an alias: put that as well // until then:
        long seconds = Math.min(answer.ttl(), MAX_TTL);
        var entry = new Entry(answer, options.nanoClock().getAsLong(), seconds);
        cache.put(new Key(fold(name), type.code()), entry);
        if (answer instanceof Answer.NoSuchName(var missing, _)) {
            cache.put(new Key(fold(missing), ALL_TYPES), entry);
        }
        // end::step7[]
    }
    // end::remember[]

    // ---- given from here on ----

    private static final int RECEIVE = 4096;   // without EDNS, 512 are allowed
    private static final int ALL_TYPES = -1;
    private static final int CACHED = 10_000;
    private static final SecureRandom RANDOM = new SecureRandom();
    private static final long SECOND = 1_000_000_000;   // in nanoseconds

    private final Options options;
    private final Exchange exchange;
    private final Map<Key, Entry> cache = Collections.synchronizedMap(
            new LinkedHashMap<>(16, 0.75f, true) {
                @Override
                protected boolean removeEldestEntry(Map.Entry<Key, Entry> e) {
                    return size() > CACHED;   // the least recently used goes
                }
            });

    /** Where questions go: {@link #ask}, or a test. */
    interface Exchange {
        Message ask(Question question)
                throws DnsException, InterruptedException;
    }

    private record Key(String name, int type) {}

    private record Entry(Answer answer, long stored, long seconds) {}

    DnsLookup(Options options, Exchange exchange) {
        this.options = Objects.requireNonNull(options, "options");
        this.exchange = exchange == null ? this::ask : exchange;
    }

    /** A client with an empty cache. It opens no socket until it is used. */
    public static DnsLookup create(Options options) {
        return new DnsLookup(options, null);
    }

    /**
     * The answer for a name and a type, from the cache or from the servers.
     * Aliases are followed, except if the type is CNAME.
     *
     * @param name in presentation form, with or without the final dot; "." is
     *             the root
     * @throws DnsException if there is no answer; never NO_SUCH_NAME
     * @throws InterruptedException if the thread is interrupted while it waits
     */
    // tag::query[]
    public Answer query(String name, Type type)
            throws DnsException, InterruptedException {
        Objects.requireNonNull(type, "type");
        boolean dotted = name.length() > 1 && name.endsWith(".")
                && !name.endsWith("..");
        var plain = dotted ? name.substring(0, name.length() - 1) : name;
        var known = recall(plain, type);
        if (known.isPresent()) {
            return known.get();
        }
        var answer = resolve(plain, type);
        remember(plain, type, answer);
        return answer;
    }
    // end::query[]

    /**
     * The addresses of a host: IPv4, then IPv6. Empty if it has none. If one
     * of the two queries fails, the addresses of the other one are returned.
     *
     * @throws DnsException NO_SUCH_NAME, and as {@link #query}
     */
    public List<InetAddress> addresses(String host)
            throws DnsException, InterruptedException {
        var addresses = new ArrayList<InetAddress>();
        DnsException failure = null;
        for (var type : List.of(Type.A, Type.AAAA)) {
            try {
                found(host, type).forEach(record -> addresses.add(
                        ((Data.Address) record.data()).address()));
            } catch (DnsException e) {
                failure = e;
            }
        }
        if (addresses.isEmpty() && failure != null) {
            throw failure;
        }
        return addresses;
    }

    /**
     * The texts of a name, the strings of each record joined; a char an octet.
     *
     * @throws DnsException NO_SUCH_NAME, and as {@link #query}
     */
    public List<String> texts(String name)
            throws DnsException, InterruptedException {
        return found(name, Type.TXT).stream().map(record ->
                String.join("", ((Data.Txt) record.data()).strings())).toList();
    }

    private List<ResourceRecord> found(String name, Type type)
            throws DnsException, InterruptedException {
        return switch (query(name, type)) {
            case Answer.Found found -> found.records();
            case Answer.NoData _ -> List.of();
            case Answer.NoSuchName(var missing, _) -> throw new DnsException(
                    Kind.NO_SUCH_NAME, missing);
        };
    }

    /** At least 1; if nothing is left, a SocketTimeoutException. */
    private static int millisLeft(long deadline) throws SocketTimeoutException {
        long left = deadline - System.nanoTime();
        if (left <= 0) {
            throw new SocketTimeoutException("no answer in time");
        }
        return (int) Math.ceilDiv(left, 1_000_000L);
    }

    /** ASCII in lower case, for names are compared so (RFC 4343). */
    private static String fold(String name) {
        var folded = new StringBuilder(name);
        for (int i = 0; i < name.length(); i++) {
            if (name.charAt(i) >= 'A' && name.charAt(i) <= 'Z') {
                folded.setCharAt(i, (char) (name.charAt(i) | 0x20));
            }
        }
        return folded.toString();
    }

    private static boolean isWithin(String name, String zone) {
        return zone.equals(".") || fold("." + name).endsWith(fold("." + zone));
    }

    private static long smallestTtl(List<ResourceRecord> records) {
        return records.stream().mapToLong(ResourceRecord::ttl).min().orElse(0);
    }

    private static DnsException badName(String what) {
        return new DnsException(Kind.BAD_NAME, what);
    }

    /** InetAddress.getByAddress would return ::ffff:10.0.0.1 as IPv4. */
    private static InetAddress address(byte[] octets) {
        try {
            return octets.length == 4 ? InetAddress.getByAddress(octets)
                    : Inet6Address.getByAddress(null, octets, -1);
        } catch (UnknownHostException e) {
            throw new AssertionError(e);   // only for another length
        }
    }

    /** What this client decodes; all others are {@link Data.Unknown}. */
    public enum Type {
        A(1), NS(2), CNAME(5), SOA(6), PTR(12), MX(15), TXT(16), AAAA(28);

        private static final Map<Integer, Type> BY_CODE = Stream.of(values())
                .collect(Collectors.toMap(Type::code, type -> type));
        private final int code;

        Type(int code) {
            this.code = code;
        }

        /** The number of the type in a message. */
        public int code() {
            return code;
        }

        /** The type with this number. */
        public static Optional<Type> of(int code) {
            return Optional.ofNullable(BY_CODE.get(code));
        }
    }

    /** The data of a record, by its type. */
    public sealed interface Data {
        /** A: an Inet4Address; AAAA: an Inet6Address. */
        record Address(InetAddress address) implements Data {}

        /** The data of NS, CNAME and PTR. */
        record Name(String target) implements Data {}

        /** A mail server; the smallest preference is tried first. */
        record Mx(int preference, String exchange) implements Data {}

        /** Strings of octets, a char each. */
        record Txt(List<String> strings) implements Data {}

        /** A zone's data; minimum is the TTL of negative answers, in s. */
        record Soa(String mname, String rname, long serial, long refresh,
                long retry, long expire, long minimum) implements Data {}

        /** Another type or class: so many octets, which are skipped. */
        record Unknown(int octets) implements Data {}
    }

    /** A record; ttl in seconds, as received: 0 to 2^32 - 1. */
    public record ResourceRecord(String name, int type, int recordClass,
            long ttl, Data data) {

        @Override
        public String toString() {
            return "%s %s %s ttl %d".formatted(name,
                    Type.of(type).map(Type::name).orElse("TYPE" + type),
                    data.toString().replaceAll("^\\w+\\[\\w+=/?|]$", "")
                            .replaceAll("\\p{Cntrl}", "?"), ttl);
        }
    }

    /** What a query asks, and a response repeats; numbers as in messages. */
    public record Question(String name, int type, int recordClass) {

        /** A question in the Internet class. */
        public static Question of(String name, Type type) {
            return new Question(name, type.code(), IN);
        }
    }

    /**
     * A message (RFC 1035 section 4.1). Names are in presentation form; an
     * octet that would be ambiguous there, such as a dot inside a label, is
     * {@code \DDD}, in decimal.
     */
    public record Message(int id, boolean response, int opcode,
            boolean truncated, int rcode, List<Question> questions,
            List<ResourceRecord> answers, List<ResourceRecord> authority,
            List<ResourceRecord> additional) {}

    /** What the DNS says about a name and a type. */
    public sealed interface Answer {

        /** For how long it is valid, in seconds; 0: not to be cached. */
        long ttl();

        /**
         * There are such records.
         *
         * @param aliases the names on the way to them, without the first
         */
        record Found(List<ResourceRecord> records, List<String> aliases,
                long ttl, boolean fromCache) implements Answer {
            public Found {   // a caller must not change what is cached
                records = List.copyOf(records);
                aliases = List.copyOf(aliases);
            }
        }

        /** This name, the last alias, exists, but has no such record. */
        record NoData(String name, long ttl) implements Answer {}

        /** This name, the last alias, does not exist (NXDOMAIN). */
        record NoSuchName(String name, long ttl) implements Answer {}

        /** The same from the cache, with this many seconds left. */
        private Answer aged(long left) {
            return switch (this) {
                case Found(var records, var aliases, _, _) ->
                    new Found(records.stream().map(r -> new ResourceRecord(
                            r.name(), r.type(), r.recordClass(), left,
                            r.data())).toList(), aliases, left, true);
                case NoData(var name, _) -> new NoData(name, left);
                case NoSuchName(var name, _) -> new NoSuchName(name, left);
            };
        }
    }

    /**
     * How to ask, and what to keep.
     *
     * @param servers   in the order in which they are asked, resolved
     * @param timeout   of one try with one server, TCP included: 1 ms to a day
     * @param nanoClock for the age of cached answers, as System.nanoTime
     */
    public record Options(List<InetSocketAddress> servers, Duration timeout,
            LongSupplier nanoClock) {

        public Options {
            servers = List.copyOf(servers);
            Objects.requireNonNull(nanoClock, "nanoClock");
            if (servers.isEmpty() || servers.stream()
                    .anyMatch(InetSocketAddress::isUnresolved)) {
                throw new IllegalArgumentException("bad servers: " + servers);
            }
            if (timeout.compareTo(Duration.ofMillis(1)) < 0
                    || timeout.compareTo(Duration.ofDays(1)) > 0) {
                throw new IllegalArgumentException("bad timeout: " + timeout);
            }
        }

        /** 2 s a try. */
        public static Options of(InetSocketAddress... servers) {
            return new Options(List.of(servers), Duration.ofSeconds(2),
                    System::nanoTime);
        }

        /** The same with another timeout. */
        public Options withTimeout(Duration timeout) {
            return new Options(servers, timeout, nanoClock);
        }

        /** The same with another nanoClock. */
        public Options withNanoClock(LongSupplier nanoClock) {
            return new Options(servers, timeout, nanoClock);
        }
    }

    /** Octets that are no DNS message. */
    public static final class MalformedMessageException extends IOException {

        private static final long serialVersionUID = 1;

        MalformedMessageException(String what) {
            super(what);
        }
    }

    /** Why there is no answer. BAD_NAME: the name cannot be asked for. */
    public enum Kind {
        NO_SUCH_NAME, TIMEOUT, SERVER_FAILURE, ALIAS_LOOP, BAD_NAME
    }

    /** There is no answer. */
    public static final class DnsException extends IOException {

        private static final long serialVersionUID = 1;
        private final Kind kind;

        DnsException(Kind kind, String what) {
            super(kind + ": " + what);
            this.kind = kind;
        }

        /** Why. */
        public Kind kind() {
            return kind;
        }
    }

    /**
     * A server for a few names, over UDP and TCP. A record is "NAME TYPE DATA";
     * the first one is the SOA. All have a TTL of 300 s.
     */
    private static final class Zone implements AutoCloseable {

        private final List<String> records;
        private final AtomicInteger questions = new AtomicInteger();
        private ServerSocket tcp;
        private DatagramSocket udp;

        Zone(int port, List<String> records) throws IOException {
            this.records = records;
            while (udp == null) {
                tcp = new ServerSocket(port, 50,
                        InetAddress.getLoopbackAddress());
                try {
                    udp = new DatagramSocket(tcp.getLocalSocketAddress());
                } catch (BindException e) {   // this number is taken for UDP
                    tcp.close();
                    if (port != 0) {
                        throw e;
                    }
                }
            }
            Thread.ofVirtual().name("lab418-udp").start(this::serveUdp);
            Thread.ofVirtual().name("lab418-tcp").start(this::serveTcp);
        }

        private void serveUdp() {
            while (!udp.isClosed()) {
                var packet = new DatagramPacket(new byte[RECEIVE], RECEIVE);
                try {
                    udp.receive(packet);
                    packet.setData(answer(Arrays.copyOf(packet.getData(),
                            packet.getLength()), 512));
                    udp.send(packet);
                } catch (IOException | RuntimeException e) {
                    // It was no query, or the zone is closed.
                }
            }
        }

        private void serveTcp() {
            while (!tcp.isClosed()) {
                try (var client = tcp.accept()) {
                    client.setSoTimeout(2000);
                    var in = new DataInputStream(client.getInputStream());
                    var response = answer(
                            in.readNBytes(in.readUnsignedShort()), 65_535);
                    client.getOutputStream().write(response.length >> 8);
                    client.getOutputStream().write(response.length);
                    client.getOutputStream().write(response);
                } catch (IOException | RuntimeException e) {
                    // It was no query, or the zone is closed.
                }
            }
        }

        private byte[] answer(byte[] query, int limit) throws IOException {
            questions.incrementAndGet();
            var asked = decode(query);
            var question = asked.questions().getFirst();
            var name = fold(question.name());
            var type = Type.of(question.type()).map(Type::name).orElse("?");
            var aliases = type.equals("CNAME") ? List.<String>of()
                    : find(name + " CNAME ");
            var last = aliases.isEmpty() ? name
                    : aliases.getFirst().split(" ")[2];
            var found = find(last + " " + type + " ");
            int flags = 0x8400 | query[2] << 8 & RECURSION_DESIRED
                    | (find(last + " ").isEmpty() ? NX_DOMAIN : NO_ERROR);
            var wire = ByteBuffer.allocate(limit);
            wire.put(encode(asked.id(), question)).mark();
            try {
                put(wire, 6, Stream.concat(aliases.stream(), found.stream())
                        .toList());
                put(wire, 8, records.subList(0, found.isEmpty() ? 1 : 0));
            } catch (BufferOverflowException e) {
                flags |= TRUNCATED;
                wire.reset().putInt(6, 0);
            }
            wire.putShort(2, (short) flags);
            return Arrays.copyOf(wire.array(), wire.position());
        }

        private List<String> find(String start) {
            return records.stream().filter(r -> r.startsWith(start)).toList();
        }

        /** In DATA: addresses, 16-bit numbers and names. */
        private static void put(ByteBuffer wire, int count, List<String> lines)
                throws DnsException {
            for (var line : lines) {
                var words = line.split(" ");
                putName(wire, words[0]);
                wire.putShort((short) Type.valueOf(words[1]).code());
                wire.putShort((short) IN).putInt(300).putShort((short) 0);
                int start = wire.position();
                for (var word : List.of(words).subList(2, words.length)) {
                    if (words[1].matches("A+")) {
                        wire.put(InetAddress.ofLiteral(word).getAddress());
                    } else if (word.matches("\\d+")) {
                        wire.putShort((short) Integer.parseInt(word));
                    } else {
                        putName(wire, word);
                    }
                }
                wire.putShort(start - 2, (short) (wire.position() - start));
            }
            wire.putShort(count, (short) lines.size());
        }

        @Override
        public void close() throws IOException {
            udp.close();
            tcp.close();
        }
    }

    // The demo: one scene for each step, with the zone of RECORDS.

    private static final List<String> STEPS = List.of("Encode a question",
            "Decode a response", "Query over UDP",
            "Follow aliases and tell NODATA from NXDOMAIN",
            "Reject malformed messages", "Fall back to TCP", "Cache by TTL");
    private static final String SOA = " SOA ns admin 0 1 0 3600 0 600 1 0 0 60";
    private static final List<String> RECORDS = Stream.concat(Stream.of(
            "lab.test" + SOA, "www.lab.test A 10.0.0.10",
            "www.lab.test AAAA fd00::10", "alias.lab.test CNAME www.lab.test",
            "lab.test MX 20 b.lab.test", "lab.test MX 10 a.lab.test"),
            IntStream.range(0, 99)
            .mapToObj(i -> "big.lab.test A 10.1.0." + i)).toList();

    /** No argument: the demo; {@code help} names the other commands. */
    public static void main(String[] args) throws Exception {
        var words = String.join(" ", args)
                .replaceFirst("^@(\\S+) (\\S+ \\S+)$", "query $2 --server $1");
        var query = Pattern.compile("query (\\S+) (\\w+) --server (\\S+):"
                + "(\\d{1,5})").matcher(words);
        var zone = Pattern.compile("zone( \\d{1,5})?(?: [^ =]+=[^ =]+)*")
                .matcher(words);
        try {
            if (args.length == 0) {
                demo();
            } else if (query.matches()) {
                IO.println(create(Options.of(new InetSocketAddress(
                        query.group(3), Integer.parseInt(query.group(4)))))
                        .query(query.group(1), Type.valueOf(query.group(2))));
            } else if (zone.matches()) {
                serve(args.length > 1 && !args[1].contains("=")
                        ? Integer.parseInt(args[1]) : 0, fold(words));
            } else {
                boolean help = words.matches("-h|(--)?help");
                (help ? System.out : System.err).println((help ? ""
                        : "not understood: " + words + "\n") + """
                        lab-418        the demo, step by step
                        lab-418 query NAME TYPE --server HOST:PORT
                        lab-418 @HOST:PORT NAME TYPE
                                       asks a server, over UDP or TCP
                        lab-418 zone [PORT] [NAME=ADDRESS ...]
                                       serves these names, or those of the demo,
                                       until Ctrl-C or the end of standard input
                        lab-418 help   this text""");
                System.exit(help ? 0 : 2);
            }
        } catch (UnsupportedOperationException todo) {
            next(todo.getMessage() + "\n  " + todo.getStackTrace()[0]);
        } catch (IOException | IllegalArgumentException e) {
            System.err.println(words + ": " + e.getMessage());
            System.exit(1);
        }
    }

    private static void serve(int port, String words) throws Exception {
        var records = Stream.of(words.split(" ")).filter(w -> w.contains("="))
                .map(w -> w.replace("=", w.contains(":") ? " AAAA " : " A "))
                .collect(Collectors.toCollection(ArrayList::new));
        records.addFirst("." + SOA);
        var zone = new Zone(port, records.size() > 1 ? records : RECORDS);
        IO.println("listening on 127.0.0.1:" + zone.tcp.getLocalPort());
        if (System.console() != null) {
            Thread.currentThread().join();   // until Ctrl-C
        }
        System.in.transferTo(OutputStream.nullOutputStream());
        IO.println("stats questions=" + zone.questions);
        zone.close();
    }

    private static void demo() throws Exception {
        IO.println("lab 418  DNS lookups\n");
        var clock = new AtomicLong();
        try (var zone = new Zone(0, RECORDS)) {
            var client = create(Options.of(new InetSocketAddress("127.0.0.1",
                    zone.tcp.getLocalPort())).withNanoClock(clock::get));
            show(1, "question", "1234.*0377777703.*", HexFormat.of().formatHex(
                    encode(0x1234, Question.of("www.lab.test", Type.A))));
            var wire = HexFormat.of().parseHex("123484000001000100000000"
                    + "03777777036c616204746573740000010001"
                    + "c00c000100010000012c00040a00000a");
            show(2, "response", ".*www.* 10.0.0.10 .*", decode(wire).answers());
            show(3, "over UDP", ".* 10.0.0.10 .*", client.ask(
                    Question.of("www.lab.test", Type.A)).answers());
            show(4, "an alias", ".*www.*10.0.0.10.*", client.query(
                    "alias.lab.test", Type.A));
            show(4, "mail servers", ".*a.lab.*b.lab.*",
                    client.mailServers("lab.test"));
            show(4, "no MX record", "NoData.*",
                    client.query("www.lab.test", Type.MX));
            show(4, "no such name", "NoSuchName.*",
                    client.query("wwww.lab.test", Type.A));
            try {
                show(5, "cut short", "", decode(Arrays.copyOf(wire, 44)));
            } catch (MalformedMessageException e) {
                show(5, "cut short", ".*", e.getMessage());
            }
            show(6, "addresses", "99", client.addresses("big.lab.test").size());
            for (int seconds : new int[] {299, 300}) {
                clock.set(seconds * SECOND);
                show(7, seconds + " s later", ".*fromCache=" + (seconds < 300)
                        + ".*", client.query("alias.lab.test", Type.A));
            }
        }
        IO.println("\nall seven steps work");
    }

    private static void show(int step, String what, String expected,
            Object seen) {
        IO.println("  %d  %-17s %s".formatted(step, what, seen));
        if (!seen.toString().matches(expected)) {
            next("TODO step " + step + ": search DnsLookup.java for it");
        }
    }

    /** Says what to do next, and ends the program. */
    private static void next(String todo) {
        int step = todo.charAt("TODO step ".length()) - '0';
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/DnsLookup.java";
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        IO.println("\nnext: step " + step + ", " + STEPS.get(step - 1) + "\n  "
                + todo + (isHere ? "" : "\n  in a clone of the workbook:")
                + ("\n  check  " + jbang + " test-418 " + file).stripTrailing()
                + "\n  hint   " + jbang + " hint 418 " + step);
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }
}
