///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 418: a DNS client that checks, interprets and caches what servers answer

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
public final class DnsLookup implements AutoCloseable {

    private static final int HEADER = 12;               // octets
    private static final int MAX_LABEL = 63;            // octets, RFC 1035
    private static final int MAX_NAME = 255;            // section 2.3.4
    private static final int RECURSION_DESIRED = 0x0100;
    private static final int POINTER = 0xc0;            // section 4.1.4
    private static final int IN = 1;                    // the Internet class
    private static final int NO_ERROR = 0;
    private static final int NX_DOMAIN = 3;
    private static final int MAX_ALIASES = 16;

    /**
     * A query with one question, which asks the server to resolve the name for
     * us (recursion desired).
     *
     * @param id 0 to 65,535
     * @throws DnsException of kind BAD_NAME
     */
    public static byte[] encode(int id, Question question)
            throws DnsException {
        throw new UnsupportedOperationException(
                "TODO step 1: the header (the id, the flags RECURSION_DESIRED, the counts 1, 0, 0, 0), then the question: putName(), its type and its class; return exactly the octets that were written");
    }

    /** Writes the labels of the name, and the empty label of the root. */
    private static void putName(ByteBuffer wire, String name)
            throws DnsException {
        throw new UnsupportedOperationException(
                "TODO step 1: each label with its length before it, then a zero octet; \".\" has no label; throw badName() for a label that is empty or longer than MAX_LABEL, for more than MAX_NAME octets in all, for a backslash, and for what is not ASCII");
    }

    /**
     * Decodes a message of at most 65,535 octets. Octets after the last record
     * are ignored.
     *
     * @throws MalformedMessageException if it breaks any rule; no other
     *         exception is thrown, whatever the octets are
     */
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
                (flags & 0x400) != 0, (flags & 0x200) != 0,
                (flags & 0x100) != 0, (flags & 0x80) != 0, flags & 0xf,
                reader.questions(counts[0]), reader.records(counts[1]),
                reader.records(counts[2]), reader.records(counts[3]));
    }

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
        private int u16() throws MalformedMessageException {
            throw new UnsupportedOperationException(
                    "TODO step 2: from two calls of u8()");
        }

        /** A 32-bit number, 0 to 2^32 - 1. */
        private long u32() throws MalformedMessageException {
            throw new UnsupportedOperationException(
                    "TODO step 2: from two calls of u16()");
        }

        private byte[] octets(int count) throws MalformedMessageException {
            Checks.octetsLeft(count, end - at);
            at += count;
            return Arrays.copyOfRange(wire, at - count, at);
        }

        /**
         * A name, with its pointers followed; "." for the root. Afterwards
         * {@code at} is the octet after the name, or after its first pointer,
         * and {@code end} is what it was.
         */
        private String name() throws MalformedMessageException {
            throw new UnsupportedOperationException(
                    "TODO step 2: append() each label until the empty one. Two octets that begin with the bits 11 are a pointer: the name goes on at the position in their other 14 bits, anywhere in the message. Call Checks.labelType() for each first octet, Checks.nameLength() for the octets so far, root included, and Checks.pointer() with each target and the one before it, at first the start of the name");
        }

        /** The RDATA of an A record. */
        private Data a() throws MalformedMessageException {
            throw new UnsupportedOperationException(
                    "TODO step 2: an address: ipv4() of four octets");
        }

        /** The RDATA of a record whose data is a name, such as CNAME. */
        private Data named(Type type) throws MalformedMessageException {
            throw new UnsupportedOperationException(
                    "TODO step 2: the name");
        }

        /** The RDATA of an MX record. */
        private Data mx() throws MalformedMessageException {
            throw new UnsupportedOperationException(
                    "TODO step 2: the preference, in 16 bits, then the name of the mail server");
        }

        // The rest of this class is given.

        private Data data(int type, int recordClass)
                throws MalformedMessageException {
            var known = Type.of(type);
            if (known.isEmpty() || recordClass != IN) {
                return new Data.Unknown(type,
                        HexFormat.of().formatHex(octets(end - at)));
            }
            return switch (known.get()) {
                case A -> a();
                case NS, CNAME, PTR -> named(known.get());
                case MX -> mx();
                case AAAA -> new Data.Aaaa(ipv6(octets(16)));
                case SOA -> new Data.Soa(name(), name(), u32(), u32(), u32(),
                        u32(), u32());
                case TXT -> {
                    var strings = new ArrayList<String>();
                    while (at < end) {
                        strings.add(latin1(octets(u8())));
                    }
                    yield new Data.Txt(strings);
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
                if (octet == '.' || octet == '\\') {
                    name.append('\\').append((char) octet);
                } else if (octet > ' ' && octet < 0x7f) {
                    name.append((char) octet);
                } else {
                    name.append("\\%03d".formatted(octet & 0xff));
                }
            }
        }
    }

    /**
     * Asks the servers, each at most {@link Options#attempts} times, and
     * returns the first response whose rcode is NOERROR or NXDOMAIN, without
     * interpreting it.
     *
     * @throws DnsException TIMEOUT if no server has answered; SERVER_FAILURE
     *         if one has failed or refused
     */
    public Message ask(Question question)
            throws DnsException, InterruptedException {
        throw new UnsupportedOperationException(
                "TODO step 3: options.attempts() rounds over the servers: askOne(); return a response of NO_ERROR or NX_DOMAIN. An IOException moves on to the next server, but a DnsException is passed on. In the end throw the last serverFailure(), of an rcode or of an IOException; or timeout(), if every try has ended with a SocketTimeoutException");
    }

    /**
     * One try over UDP.
     *
     * @throws SocketTimeoutException if no response that matches has come by
     *         the deadline, an instant of {@link System#nanoTime}
     */
    private Message askUdp(InetSocketAddress server, Question question,
            long deadline) throws IOException {
        throw new UnsupportedOperationException(
                "TODO step 3: open a new DatagramChannel, register() it and connect() it to the server; send the question with a new id of options.ids(). Before each receive() of channel.socket(), call setSoTimeout(millisLeft(deadline)). Return the first response that decode() accepts and that matches(); ignore all others");
    }

    /** Whether this is the response to the query (RFC 5452 section 9.1). */
    private static boolean matches(Message response, int id,
            Question question) {
        throw new UnsupportedOperationException(
                "TODO step 3: it is a response with this id and opcode 0, and has one question, which is this one; compare names by fold()");
    }

    /** Asks until the answer is known, which may take several queries. */
    private Answer resolve(String name, Type type)
            throws DnsException, InterruptedException {
        throw new UnsupportedOperationException(
                "TODO step 4: exchange.ask() for the name. While find() has no record of the type at the current name but a CNAME, its target becomes the current name; throw aliasLoop() instead of following one more than MAX_ALIASES. Then: Found, if there are records; NoSuchName of the current name, if the rcode is NX_DOMAIN; NoData, if the current name has a soa() or no CNAME was followed in this response; or else ask() for the current name. The ttl is the smallest of all CNAMEs on the way and of the records, or of the SOA and its minimum; 0 without a SOA");
    }

    /** The answer records of this name and type, equal ones once. */
    private static List<ResourceRecord> find(Message response, String name,
            Type type) {
        throw new UnsupportedOperationException(
                "TODO step 4: from the answer section, with class IN; compare names by fold()");
    }

    /** The SOA that says how long a negative answer for the name is valid. */
    private static Optional<ResourceRecord> soa(Message response, String name) {
        throw new UnsupportedOperationException(
                "TODO step 4: from the authority section, and only if isWithin() holds for the name and the zone of the SOA");
    }

    /**
     * The mail servers of a domain, the preferred one first; servers of equal
     * preference in the order in which they were received. Empty if there is no
     * MX record: then the domain itself is tried (RFC 5321 section 5.1). One
     * with the exchange "." says that the domain accepts no mail (RFC 7505).
     *
     * @throws DnsException NO_SUCH_NAME, and as {@link #query}
     */
    public List<Data.Mx> mailServers(String domain)
            throws DnsException, InterruptedException {
        throw new UnsupportedOperationException(
                "TODO step 4: found() of the MX records, by preference, the smallest number first");
    }

    /** What the Reader demands of a message that anybody may have written. */
    private static final class Checks {

        /** Before octets are read. */
        static void octetsLeft(int wanted, int left)
                throws MalformedMessageException {
            // TODO step 5: no more octets are read than there are before the end
        }

        /** @param first the octet that begins a label or a pointer */
        static void labelType(int first) throws MalformedMessageException {
            // TODO step 5: the first two bits are 00 for a label or 11 for a pointer; 01 and 10 are not in use
        }

        /** @param before the previous target, or the start of the name */
        static void pointer(int target, int before)
                throws MalformedMessageException {
            // TODO step 5: each target is before the previous one, so that no name is endless, and it is not in the header
        }

        /** @param octets of the labels so far, of their lengths, and root */
        static void nameLength(int octets) throws MalformedMessageException {
            // TODO step 5: at most MAX_NAME octets
        }

        /** After the RDATA of a record. */
        static void rdataEnd(int at, int end)
                throws MalformedMessageException {
            // TODO step 5: the data takes exactly the octets of RDLENGTH
        }

        private static void require(boolean valid, String what)
                throws MalformedMessageException {
            if (!valid) {
                throw new MalformedMessageException(what);
            }
        }
    }

    private Message askOne(InetSocketAddress server, Question question)
            throws IOException, InterruptedException {
        long deadline = System.nanoTime() + options.timeout().toNanos();
        try {
            var response = askUdp(server, question, deadline);
            // TODO step 6: a truncated response is no answer: return what askTcp() gets, by the same deadline
            return response;
        } catch (IOException e) {
            requireOpen();
            if (Thread.interrupted()) {
                throw new InterruptedException("while asking " + server);
            }
            throw e;
        }
    }

    /** One try over TCP (RFC 7766), where a length precedes each message. */
    private Message askTcp(InetSocketAddress server, Question question,
            long deadline) throws IOException {
        throw new UnsupportedOperationException(
                "TODO step 6: open a SocketChannel, register() it and use its socket(): connect() by the deadline; send the length of the query, in 16 bits, and the query, with a new id; receive a length and as many octets; the response must match, or else it is an IOException");
    }

    /** Exactly this many octets. */
    private static byte[] receive(Socket socket, int count, long deadline)
            throws IOException {
        throw new UnsupportedOperationException(
                "TODO step 6: a read may return fewer: read until all are there, and call setSoTimeout(millisLeft(deadline)) before each; the end of stream is an EOFException");
    }

    /** The answer from the cache, with the time that it has left. */
    private Optional<Answer> recall(String name, Type type) {
        // TODO step 7: look for Key(fold(name), type.code()), then for Key(fold(name), ALL_TYPES); an entry has lived for the whole seconds since entry.stored(), by options.nanoClock(); return its answer.aged() while at least a second of entry.seconds() is left
        return Optional.empty();
    }

    /** Keeps an answer for as long as it is valid, at most maxTtl. */
    private void remember(String name, Type type, Answer answer) {
        // TODO step 7: unless its ttl() is 0, put an Entry into the cache for name and type. A NoSuchName holds for all types of the name that does not exist, which may be the target of an alias: put that as well
    }

    // ---- given from here on ----

    private static final int RECEIVE = 4096;   // without EDNS, 512 are allowed
    private static final int ALL_TYPES = -1;
    private static final long SECOND = 1_000_000_000;   // in nanoseconds

    private final Options options;
    private final Exchange exchange;
    private final Map<Key, Entry> cache;
    private final Set<Closeable> open = new HashSet<>();   // guarded by itself
    private volatile boolean closed;

    /** Where a name's questions go: {@link #ask}, or a test. */
    interface Exchange {
        Message ask(Question question)
                throws DnsException, InterruptedException;
    }

    private record Key(String name, int type) {}

    private record Entry(Answer answer, long stored, long seconds) {}

    DnsLookup(Options options, Exchange exchange) {
        this.options = Objects.requireNonNull(options, "options");
        this.exchange = exchange == null ? this::ask : exchange;
        cache = Collections.synchronizedMap(new LinkedHashMap<>(16, .75f, true) {
            @Override
            protected boolean removeEldestEntry(Map.Entry<Key, Entry> eldest) {
                return size() > options.cacheEntries();   // least recently used
            }
        });
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
    public Answer query(String name, Type type)
            throws DnsException, InterruptedException {
        Objects.requireNonNull(type, "type");
        requireOpen();
        var plain = name.length() > 1 && name.endsWith(".")
                ? name.substring(0, name.length() - 1) : name;
        var known = recall(plain, type);
        if (known.isPresent()) {
            return known.get();
        }
        var answer = resolve(plain, type);
        remember(plain, type, answer);
        return answer;
    }

    /**
     * The addresses of a host: IPv4, then IPv6. Empty if it has none. If one
     * of the two queries fails, the addresses of the other one are returned.
     *
     * @throws DnsException NO_SUCH_NAME, and as {@link #query}
     */
    public List<InetAddress> addresses(String host)
            throws DnsException, InterruptedException {
        try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
            var both = threads.invokeAll(List.of(() -> found(host, Type.A),
                    () -> found(host, Type.AAAA)));
            var addresses = new ArrayList<InetAddress>();
            var failures = new ArrayList<Throwable>();
            for (var each : both) {
                if (each.state() == Future.State.FAILED) {
                    failures.add(each.exceptionNow());
                    continue;
                }
                each.resultNow().forEach(record -> addresses.add(
                        record.data() instanceof Data.A(var ipv4) ? ipv4
                                : ((Data.Aaaa) record.data()).address()));
            }
            if (!addresses.isEmpty() || failures.isEmpty()) {
                return addresses;
            }
            switch (failures.getFirst()) {
                case DnsException e -> throw e;
                case InterruptedException e -> throw e;
                case Throwable e -> throw (RuntimeException) e;
            }
        }
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
                    Kind.NO_SUCH_NAME, "no such name: " + missing, NX_DOMAIN);
        };
    }

    /** Entries in the cache, expired ones included. */
    public int cached() {
        return cache.size();
    }

    /** Empties the cache. */
    public void clear() {
        cache.clear();
    }

    /** Ends all queries: they throw a DnsException of kind CLOSED. */
    @Override
    public void close() {
        synchronized (open) {
            closed = true;
            open.forEach(DnsLookup::closeQuietly);
        }
    }

    private void requireOpen() throws DnsException {
        if (closed) {
            throw new DnsException(Kind.CLOSED, "closed", -1);
        }
    }

    private interface Registration extends AutoCloseable {
        @Override
        void close();
    }

    /** Lets close() close the channel as well, until the result is closed. */
    private Registration register(Closeable channel) throws DnsException {
        synchronized (open) {
            requireOpen();
            open.add(channel);
        }
        return () -> {
            synchronized (open) {
                open.remove(channel);
            }
        };
    }

    private static void closeQuietly(Closeable resource) {
        try {
            resource.close();
        } catch (IOException e) {
            // It is closed all the same.
        }
    }

    /** At least 1; if nothing is left, a SocketTimeoutException. */
    private static int millisLeft(long deadline) throws SocketTimeoutException {
        long left = deadline - System.nanoTime();
        if (left <= 0) {
            throw new SocketTimeoutException("no answer in time");
        }
        return (int) Math.min(Integer.MAX_VALUE,
                Math.ceilDiv(left, 1_000_000L));
    }

    /** In lower case, for names are compared without case (RFC 4343). */
    private static String fold(String name) {
        return name.toLowerCase(Locale.ROOT);
    }

    private static boolean isWithin(String name, String zone) {
        return zone.equals(".") || fold("." + name).endsWith(fold("." + zone));
    }

    private static long smallestTtl(List<ResourceRecord> records) {
        return records.stream().mapToLong(ResourceRecord::ttl).min().orElse(0);
    }

    private static String latin1(byte[] octets) {
        return new String(octets, StandardCharsets.ISO_8859_1);
    }

    private static Inet4Address ipv4(byte[] octets) {
        try {
            return (Inet4Address) InetAddress.getByAddress(octets);
        } catch (UnknownHostException e) {
            throw new AssertionError(e);   // only for another length
        }
    }

    /** InetAddress.getByAddress would return ::ffff:10.0.0.1 as IPv4. */
    private static Inet6Address ipv6(byte[] octets) {
        try {
            return Inet6Address.getByAddress(null, octets, -1);
        } catch (UnknownHostException e) {
            throw new AssertionError(e);
        }
    }

    /** What this client decodes; all others are {@link Data.Unknown}. */
    public enum Type {
        A(1), NS(2), CNAME(5), SOA(6), PTR(12), MX(15), TXT(16), AAAA(28);

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
            return Arrays.stream(values()).filter(t -> t.code == code)
                    .findFirst();
        }
    }

    /** The data of a record, by its type. */
    public sealed interface Data {
        /** An IPv4 address. */
        record A(Inet4Address address) implements Data {}

        /** An IPv6 address. */
        record Aaaa(Inet6Address address) implements Data {}

        /** A name: the data of NS, CNAME and PTR. */
        record Name(Type type, String target) implements Data {}

        /** A mail server; the smallest preference is tried first. */
        record Mx(int preference, String exchange) implements Data {}

        /** Strings of octets, a char each. */
        record Txt(List<String> strings) implements Data {}

        /** A zone's data; minimum is the TTL of negative answers, in s. */
        record Soa(String mname, String rname, long serial, long refresh,
                long retry, long expire, long minimum) implements Data {}

        /** Any other type or class, undecoded, in hexadecimal. */
        record Unknown(int type, String hex) implements Data {}
    }

    /** A record; ttl in seconds, as received: 0 to 2^32 - 1. */
    public record ResourceRecord(String name, int type, int recordClass,
            long ttl, Data data) {}

    /** What a query asks, and a response repeats; numbers as in messages. */
    public record Question(String name, int type, int recordClass) {

        /** A question in the Internet class. */
        public static Question of(String name, Type type) {
            return new Question(name, type.code(), IN);
        }
    }

    /**
     * A message (RFC 1035 section 4.1). Names are in presentation form, with
     * {@code \.} for a dot inside a label and {@code \DDD} for an octet that
     * cannot be printed.
     */
    public record Message(int id, boolean response, int opcode,
            boolean authoritative, boolean truncated, boolean recursionDesired,
            boolean recursionAvailable, int rcode, List<Question> questions,
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
                long ttl, boolean fromCache) implements Answer {}

        /** The name exists, or its alias's target does, without records. */
        record NoData(String name, long ttl) implements Answer {}

        /** The name does not exist, nor any record of any type (NXDOMAIN). */
        record NoSuchName(String name, long ttl) implements Answer {}

        /** The same from the cache, with this many seconds left. */
        private Answer aged(long left) {
            return switch (this) {
                case Found found -> new Found(found.records().stream().map(r ->
                        new ResourceRecord(r.name(), r.type(), r.recordClass(),
                                left, r.data())).toList(),
                        found.aliases(), left, true);
                case NoData(var name, _) -> new NoData(name, left);
                case NoSuchName(var name, _) -> new NoSuchName(name, left);
            };
        }
    }

    /**
     * How to ask, and what to keep.
     *
     * @param servers      in the order in which they are asked, resolved
     * @param timeout      of one try with one server, TCP included; at least
     *                     1 ms
     * @param attempts     rounds over the servers, 1 to 10
     * @param cacheEntries the most answers that are kept; 0 keeps none
     * @param maxTtl       the longest time that an answer is kept
     * @param ids          a number of 0 to 65,535 for each query, which nobody
     *                     can guess
     * @param nanoClock    for the age of cached answers, as System.nanoTime
     */
    public record Options(List<InetSocketAddress> servers, Duration timeout,
            int attempts, int cacheEntries, Duration maxTtl, IntSupplier ids,
            LongSupplier nanoClock) {

        private static final SecureRandom RANDOM = new SecureRandom();

        public Options {
            servers = List.copyOf(servers);
            require(!servers.isEmpty() && servers.stream().noneMatch(
                    InetSocketAddress::isUnresolved), "servers", servers);
            require(timeout.toMillis() >= 1, "timeout", timeout);
            require(attempts >= 1 && attempts <= 10, "attempts", attempts);
            require(cacheEntries >= 0, "cacheEntries", cacheEntries);
            require(!maxTtl.isNegative(), "maxTtl", maxTtl);
            Objects.requireNonNull(ids, "ids");
            Objects.requireNonNull(nanoClock, "nanoClock");
        }

        /** 2 s a try, 2 attempts, 10,000 answers for at most a day. */
        public static Options of(InetSocketAddress... servers) {
            return new Options(List.of(servers), Duration.ofSeconds(2), 2,
                    10_000, Duration.ofDays(1), () -> RANDOM.nextInt(0x10000),
                    System::nanoTime);
        }

        /** The same with another timeout. */
        public Options withTimeout(Duration timeout) {
            return new Options(servers, timeout, attempts, cacheEntries,
                    maxTtl, ids, nanoClock);
        }

        /** The same with another attempts. */
        public Options withAttempts(int attempts) {
            return new Options(servers, timeout, attempts, cacheEntries,
                    maxTtl, ids, nanoClock);
        }

        /** The same with another cacheEntries. */
        public Options withCacheEntries(int cacheEntries) {
            return new Options(servers, timeout, attempts, cacheEntries,
                    maxTtl, ids, nanoClock);
        }

        /** The same with another maxTtl. */
        public Options withMaxTtl(Duration maxTtl) {
            return new Options(servers, timeout, attempts, cacheEntries,
                    maxTtl, ids, nanoClock);
        }

        /** The same with other ids. */
        public Options withIds(IntSupplier ids) {
            return new Options(servers, timeout, attempts, cacheEntries,
                    maxTtl, ids, nanoClock);
        }

        /** The same with another nanoClock. */
        public Options withNanoClock(LongSupplier nanoClock) {
            return new Options(servers, timeout, attempts, cacheEntries,
                    maxTtl, ids, nanoClock);
        }

        private static void require(boolean valid, String name, Object value) {
            if (!valid) {
                throw new IllegalArgumentException(
                        "bad " + name + ": " + value);
            }
        }
    }

    /** Octets that are no DNS message. */
    public static final class MalformedMessageException extends IOException {
        MalformedMessageException(String what) {
            super(what);
        }
    }

    /** Why there is no answer. */
    public enum Kind {
        /** The name does not exist. */
        NO_SUCH_NAME,
        /** No server has answered. */
        TIMEOUT,
        /** A server has answered with an error, or could not be reached. */
        SERVER_FAILURE,
        /** Too many aliases, or aliases that lead back to themselves. */
        ALIAS_LOOP,
        /** The name cannot be asked for. */
        BAD_NAME,
        /** The client was closed. */
        CLOSED
    }

    /** There is no answer. */
    public static final class DnsException extends IOException {

        private final Kind kind;
        private final int rcode;

        DnsException(Kind kind, String message, int rcode) {
            super(message);
            this.kind = kind;
            this.rcode = rcode;
        }

        /** Why. */
        public Kind kind() {
            return kind;
        }

        /** The response code, if a server has sent one. */
        public OptionalInt rcode() {
            return rcode < 0 ? OptionalInt.empty() : OptionalInt.of(rcode);
        }
    }

    private static DnsException badName(String name, String rule) {
        return new DnsException(Kind.BAD_NAME,
                "bad name " + name + ": " + rule, -1);
    }

    private static DnsException aliasLoop(String name) {
        return new DnsException(Kind.ALIAS_LOOP, name + " has more than "
                + MAX_ALIASES + " aliases in a row", -1);
    }

    private DnsException timeout(Question question) {
        return new DnsException(Kind.TIMEOUT, "no answer for "
                + question.name() + " from " + options.servers() + " within "
                + options.timeout() + " a try", -1);
    }

    private static DnsException serverFailure(Question question,
            InetSocketAddress server, int rcode) {
        return new DnsException(Kind.SERVER_FAILURE, server + " answers for "
                + question.name() + " with rcode " + rcode, rcode);
    }

    private static DnsException serverFailure(Question question,
            InetSocketAddress server, IOException cause) {
        var failure = new DnsException(Kind.SERVER_FAILURE, "cannot ask "
                + server + " for " + question.name() + ": " + cause, -1);
        failure.initCause(cause);
        return failure;
    }

    /**
     * The server of the demo, for one small zone: the parent domain of its
     * first record. Each record is "NAME TYPE DATA", with a TTL of 300 s.
     */
    private static final class Zone implements AutoCloseable {

        private final List<String[]> records;
        private final String origin;
        private final AtomicInteger questions = new AtomicInteger();
        private final ServerSocket tcp;
        private final DatagramSocket udp;

        Zone(int port, List<String> lines) throws IOException {
            records = lines.stream().map(line -> line.split(" ", 3)).toList();
            origin = records.getFirst()[0].replaceFirst("^[^.]*\\.", "");
            tcp = new ServerSocket(port, 50, InetAddress.getLoopbackAddress());
            try {
                udp = new DatagramSocket(tcp.getLocalSocketAddress());
            } catch (IOException e) {
                tcp.close();
                throw e;
            }
            Thread.ofVirtual().name("lab418-udp").start(this::serveUdp);
            Thread.ofVirtual().name("lab418-tcp").start(this::serveTcp);
        }

        InetSocketAddress address() {
            return (InetSocketAddress) tcp.getLocalSocketAddress();
        }

        private void serveUdp() {
            var packet = new DatagramPacket(new byte[RECEIVE], RECEIVE);
            while (!udp.isClosed()) {
                try {
                    udp.receive(packet);
                    var query = Arrays.copyOf(packet.getData(),
                            packet.getLength());
                    var response = answer(query, 512);
                    boolean spoof = latin1(query).contains("spoofed");
                    for (int i = spoof ? 3 : 0; i >= 0; i--) {
                        var sent = response.clone();
                        sent[1] ^= (byte) i;   // three wrong ids come first
                        udp.send(new DatagramPacket(sent, sent.length,
                                packet.getSocketAddress()));
                    }
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
                    var query = in.readNBytes(in.readUnsignedShort());
                    var response = answer(query, 65_535);
                    client.getOutputStream().write(ByteBuffer
                            .allocate(2 + response.length)
                            .putShort((short) response.length)
                            .put(response).array());
                } catch (IOException | RuntimeException e) {
                    // It was no query, or the zone is closed.
                }
            }
        }

        private byte[] answer(byte[] query, int limit) {
            if ((query[2] & 0x80) != 0) {
                throw new IllegalArgumentException("a response");
            }
            questions.incrementAndGet();
            var labels = new StringJoiner(".");
            int at = HEADER;
            for (; query[at] > 0; at += 1 + query[at]) {
                labels.add(latin1(Arrays.copyOfRange(query, at + 1,
                        at + 1 + query[at])));
            }
            var type = Type.of((query[at + 1] & 0xff) << 8
                    | query[at + 2] & 0xff).map(Type::name).orElse("");
            var name = fold(labels.toString());
            var body = ByteBuffer.allocate(limit);
            int answers = 0;
            int authority = 0;
            int rcode = isWithin(name, origin) ? NO_ERROR : 5;   // REFUSED
            boolean fits = true;
            try {
                for (var alias = find(name, "CNAME"); !type.equals("CNAME")
                        && !alias.isEmpty() && answers < MAX_ALIASES; ) {
                    put(body, alias.getFirst());
                    answers++;
                    name = fold(alias.getFirst()[2]);
                    alias = find(name, "CNAME");
                }
                for (var record : find(name, type)) {
                    put(body, record);
                    answers++;
                }
                if (find(name, type).isEmpty() && rcode == NO_ERROR) {
                    rcode = find(name, "").isEmpty() ? NX_DOMAIN : NO_ERROR;
                    put(body, origin, "SOA", "ns." + origin);
                    authority++;
                }
                fits = at + 5 + body.position() <= limit;
            } catch (BufferOverflowException e) {
                fits = false;
            }
            int flags = 0x8400 | query[2] << 8 & RECURSION_DESIRED
                    | (fits ? 0 : 0x200) | rcode;
            int length = fits ? body.position() : 0;
            return ByteBuffer.allocate(at + 5 + length)
                    .put(query, 0, 2).putShort((short) flags).putShort((short) 1)
                    .putShort((short) (fits ? answers : 0))
                    .putShort((short) (fits ? authority : 0)).putShort((short) 0)
                    .put(query, HEADER, at + 5 - HEADER)
                    .put(body.array(), 0, length).array();
        }

        /** The records of this name and type; "" is every type. */
        private List<String[]> find(String name, String type) {
            return records.stream().filter(record -> record[0].equals(name)
                    && (type.isEmpty() || record[1].equals(type))).toList();
        }

        private static void put(ByteBuffer to, String... record) {
            boolean soa = record[1].equals("SOA");
            putLabels(to, record[0]);
            to.putShort((short) Type.valueOf(record[1]).code())
                    .putShort((short) IN).putInt(soa ? 60 : 300).putShort((short) 0);
            int start = to.position();
            var words = record[2].split(" ");
            switch (record[1]) {
                case "A", "AAAA" -> to.put(
                        InetAddress.ofLiteral(words[0]).getAddress());
                case "MX" -> putLabels(to.putShort(Short.parseShort(words[0])),
                        words[1]);
                case "TXT" -> {
                    for (var part : record[2].split("(?<=\\G.{255})")) {
                        to.put((byte) part.length()).put(part.getBytes());
                    }
                }
                default -> putLabels(to, words[0]);
            }
            if (soa) {
                putLabels(to, "admin." + record[0]);
                to.putInt(1).putInt(3600).putInt(600).putInt(86_400).putInt(60);
            }
            to.putShort(start - 2, (short) (to.position() - start));
        }

        private static void putLabels(ByteBuffer to, String name) {
            for (var label : name.split("\\.")) {
                to.put((byte) label.length()).put(label.getBytes());
            }
            to.put((byte) 0);
        }

        @Override
        public void close() throws IOException {
            udp.close();
            tcp.close();
        }
    }

    // The demo: one scene for each step, with the zone below.

    private static final List<String> STEPS = List.of("Encode a question",
            "Decode a response", "Query over UDP",
            "Follow aliases and tell NODATA from NXDOMAIN",
            "Reject malformed messages", "Fall back to TCP", "Cache by TTL");
    private static final List<String> RECORDS = List.of(
            "www.lab.test A 10.0.0.10", "www.lab.test AAAA fd00::10",
            "alias.lab.test CNAME www.lab.test", "lab.test MX 20 b.lab.test",
            "lab.test MX 10 a.lab.test", "spoofed.lab.test A 10.0.0.11",
            "big.lab.test TXT " + "x".repeat(2055));

    /** No argument: the demo; {@code help} names the other commands. */
    public static void main(String[] args) throws Exception {
        var words = String.join(" ", args);
        var query = Pattern.compile("(?:query (?<n>\\S+) (?<t>\\w+) --server "
                + "|@)(?<host>\\S+):(?<port>\\d{1,5})(?: (?<n2>\\S+)"
                + " (?<t2>\\w+))?").matcher(words);
        var zone = Pattern.compile("zone(?: (\\d{1,5}))?((?: [^ =]+=[^ =]+)*)")
                .matcher(words);
        boolean help = words.matches("-h|(--)?help");
        try {
            if (args.length == 0) {
                demo();
            } else if (query.matches() && (query.group("n") == null)
                    != (query.group("n2") == null)) {
                boolean dig = query.group("n") == null;
                var server = new InetSocketAddress(query.group("host"),
                        Integer.parseInt(query.group("port")));
                try (var client = create(Options.of(server))) {
                    var name = query.group(dig ? "n2" : "n");
                    print(name, client.query(name, Type.valueOf(
                            query.group(dig ? "t2" : "t").toUpperCase())));
                }
            } else if (zone.matches()) {
                serve(Integer.parseInt(Objects.requireNonNullElse(
                        zone.group(1), "0")), zone.group(2).strip());
            } else {
                (help ? System.out : System.err).println((help ? ""
                        : "not understood: " + words + "\n") + """
                        lab-418        the demo, step by step
                        lab-418 query NAME TYPE --server HOST:PORT
                        lab-418 @HOST:PORT NAME TYPE
                                       asks a server, over UDP or TCP
                        lab-418 zone [PORT] [NAME=ADDRESS ...]
                                       a server for these names, or for the \
                        demo's, until
                                       Ctrl-C or the end of standard input
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

    private static void serve(int port, String names) throws Exception {
        var lines = Arrays.stream(names.split(" ")).filter(s -> !s.isEmpty())
                .map(name -> fold(name).replaceFirst("=(?=.*:)", " AAAA ")
                        .replaceFirst("=", " A ")).toList();
        try (var zone = new Zone(port, lines.isEmpty() ? RECORDS : lines)) {
            IO.println("listening on 127.0.0.1:" + zone.address().getPort());
            if (System.console() != null) {
                Thread.currentThread().join();   // until Ctrl-C
            }
            System.in.transferTo(OutputStream.nullOutputStream());
            IO.println("stats questions=" + zone.questions);
        }
    }

    private static void print(String name, Answer answer) {
        switch (answer) {
            case Answer.Found found -> {
                for (var alias : found.aliases()) {
                    IO.println(name + " CNAME " + alias);
                    name = alias;
                }
                found.records().forEach(record -> IO.println(record.name() + " "
                        + Type.of(record.type()).get() + " " + shown(record)
                        + "  ttl " + record.ttl()));
            }
            case Answer.NoData(var last, long ttl) ->
                IO.println(last + " NODATA  ttl " + ttl);
            case Answer.NoSuchName(var last, long ttl) ->
                IO.println(last + " NXDOMAIN  ttl " + ttl);
        }
    }

    private static String shown(ResourceRecord record) {
        return switch (record.data()) {
            case Data.A(var address) -> address.getHostAddress();
            case Data.Aaaa(var address) -> address.getHostAddress();
            case Data.Name(_, var target) -> target;
            case Data.Mx(int preference, var exchange) ->
                preference + " " + exchange;
            case Data.Txt(var strings) -> strings.size() + " strings, "
                    + String.join("", strings).length() + " octets";
            case Data.Soa soa -> soa.toString();
            case Data.Unknown(_, var hex) -> hex;
        };
    }

    private static void demo() throws Exception {
        IO.println("lab 418  DNS lookups\n");
        var clock = new AtomicLong();
        try (var zone = new Zone(0, RECORDS);
             var client = create(Options.of(zone.address())
                     .withNanoClock(clock::get))) {
            show(1, "question", ".*0377777703.*", HexFormat.of().formatHex(
                    encode(0x1234, Question.of("www.lab.test", Type.A))));
            var wire = HexFormat.of().parseHex("123484000001000100000000"
                    + "03777777036c616204746573740000010001"
                    + "c00c000100010000012c00040a00000a");
            show(2, "response", "www.* 10.0.0.10", summary(decode(wire)));
            show(3, "3 forgeries first", ".* 10.0.0.11", summary(client.ask(
                    Question.of("spoofed.lab.test", Type.A))));
            show(4, "an alias", ".* 10.0.0.10", client.query("alias.lab.test",
                    Type.A) instanceof Answer.Found(var records, var aliases,
                    _, _) ? aliases + " " + shown(records.getFirst()) : "");
            show(4, "mail servers", ".a.*b.*", client.mailServers("lab.test")
                    .stream().map(Data.Mx::exchange).toList());
            show(4, "no MX record", "NoData.*",
                    client.query("www.lab.test", Type.MX));
            show(4, "no such name", "NoSuchName.*",
                    client.query("wwww.lab.test", Type.A));
            wire[HEADER + 18] = (byte) POINTER;
            wire[HEADER + 19] = HEADER + 18;   // points to itself
            show(5, "an endless name", "Malformed.*", endless(wire));
            show(6, "2,055 octets", "2055", client.texts("big.lab.test")
                    .stream().map(String::length).findFirst().orElse(0));
            clock.addAndGet(SECOND);
            show(7, "asked again", "299, from the cache", again(client));
            clock.addAndGet(299 * SECOND);
            show(7, "299 s later", "300", again(client));
        }
        IO.println("\nall seven steps work");
    }

    private static String summary(Message message) {
        var record = message.answers().getFirst();
        return record.name() + " " + shown(record);
    }

    /** Until step 5 is done, decoding does not end. */
    private static String endless(byte[] wire) throws Exception {
        var outcome = new CompletableFuture<String>();
        Thread.ofPlatform().daemon().start(() -> {
            try {
                outcome.complete(decode(wire).toString());
            } catch (MalformedMessageException e) {
                outcome.complete("Malformed: " + e.getMessage());
            }
        });
        return outcome.completeOnTimeout("endless", 1, TimeUnit.SECONDS).get();
    }

    private static String again(DnsLookup client) throws Exception {
        return client.query("alias.lab.test", Type.A) instanceof Answer.Found(
                _, _, long ttl, boolean fromCache)
                ? ttl + (fromCache ? ", from the cache" : "") : "";
    }

    private static void show(int step, String what, String expected,
            Object seen) {
        IO.println("  %d  %-18s %s".formatted(step, what, seen));
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
