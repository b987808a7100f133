///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DESCRIPTION Lab 410: an HTTP/1.1 client that reuses its connections

import module java.base;

import com.sun.net.httpserver.HttpServer;

/**
 * An HTTP/1.1 client that keeps its connections open and reuses them.
 *
 * <p>The one idea: a connection can be reused as soon as the client knows that
 * the response is over (RFC 9112 sections 6.3 and 9.3), and not before. So
 * after each read of a body the client looks whether that was the last one,
 * and if so it releases the connection at that moment.
 *
 * <p>Plain http only. No redirects, cookies, proxies or content codings, and
 * no limit on the time that a write or a whole exchange may take.
 *
 * <p>Thread-safe, except that the body of a response is for one thread at a
 * time. It starts no thread.
 */
public final class KeepAliveClient implements AutoCloseable {

    private final Options options;
    private final LongAdder reuses = new LongAdder();
    private final LongAdder retries = new LongAdder();
    // all that follow are guarded by this
    private final Map<String, Host> hosts = new HashMap<>();
    private final Set<Connection> open = new HashSet<>();   // idle ones, too
    private final Deque<Connection> idle = new ArrayDeque<>();
    private boolean closed;
    private long connects, evicted;

    /** A client without connections: {@link #send} opens them. */
    public KeepAliveClient(Options options) {
        this.options = Objects.requireNonNull(options, "options");
    }

    /**
     * Makes GET calls with a new OkHttp client, one after the other, and counts
     * the connections that they need. When this returns or throws, every
     * response is closed and the client's pool is empty.
     *
     * @param calls how many, at least 1
     * @param use   what happens to each response before the next call
     * @throws IOException if a call fails
     */
    // tag::observeOkHttp[]
    public static ReuseReport observeOkHttp(URI uri, int calls, BodyUse use)
            throws IOException {
        need(calls >= 1, "calls", calls);
        Objects.requireNonNull(use, "use");
        // tag::step1[] build an OkHttpClient whose EventListener counts connectStart and connectionAcquired; make the calls; report these counts, and those of connectionPool(); finally close every response and evictAll()
        var starts = new AtomicInteger();
        var acquired = new AtomicInteger();
        var client = new okhttp3.OkHttpClient.Builder().eventListener(
                new okhttp3.EventListener() {
            @Override
            public void connectStart(okhttp3.Call call,
                    InetSocketAddress address, java.net.Proxy proxy) {
                starts.incrementAndGet();
            }

            @Override
            public void connectionAcquired(
                    okhttp3.Call call, okhttp3.Connection connection) {
                acquired.incrementAndGet();
            }
        }).build();
        var pool = client.connectionPool();
        var request = new okhttp3.Request.Builder().url(uri.toString()).build();
        var responses = new ArrayList<okhttp3.Response>();
        try {
            for (int i = 0; i < calls; i++) {
                var response = client.newCall(request).execute();
                responses.add(response);
                if (use == BodyUse.READ) {
                    response.body().bytes();   // closes the response, too
                } else if (use == BodyUse.CLOSE_EARLY) {
                    response.body().byteStream().read();
                    response.close();
                }
            }
            return new ReuseReport(calls, starts.get(), acquired.get(),
                    pool.idleConnectionCount(), pool.connectionCount());
        } finally {
            responses.forEach(okhttp3.Response::close);
            pool.evictAll();
        }
        // end::step1[]
    }
    // end::observeOkHttp[]

    /**
     * The body of a response, which ends where the message ends (RFC 9112
     * section 6.3). It takes no byte from {@code raw} that belongs to what
     * follows, and each read returns what has come.
     *
     * @param method  of the request; this client never sends CONNECT
     * @param headers of the response
     * @param raw     what follows the empty line behind the header section
     * @return a stream whose reads throw EOFException if {@code raw} ends
     *         before the body does, and ProtocolException if a chunk is
     *         invalid
     * @throws ProtocolException if the headers do not determine the length
     */
    // tag::bodyOf[]
    public static Body bodyOf(String method, int status,
            List<Header> headers, InputStream raw) throws IOException {
        // tag::step2[] return a Body whose framing follows from, in this order: HEAD, 1xx, 204 or 304; Transfer-Encoding; Content-Length, see length(); neither
        if (method.equals("HEAD") || status / 100 == 1 || status == 204
                || status == 304) {
            return new Body(raw, Framing.LENGTH, 0);
        }
        if (isPresent(headers, "Transfer-Encoding")) {
            var codings = elements(headers, "Transfer-Encoding");
            if (codings.equals(List.of("chunked"))) {
                return new Body(raw, Framing.CHUNKED, 0);
            }
            if (!codings.isEmpty() && codings.getLast().equals("chunked")) {
                throw new ProtocolException("cannot decode " + codings);
            }
        } else if (isPresent(headers, "Content-Length")) {
            var values = Set.copyOf(elements(headers, "Content-Length"));
            long length = length(String.join(", ", values), 10);
            return new Body(raw, Framing.LENGTH, length);
        }
        return new Body(raw, Framing.UNTIL_CLOSE, Long.MAX_VALUE);
        // end::step2[]
    }
    // end::bodyOf[]

    /**
     * The number that the digits stand for, at most 2^63 - 1.
     *
     * @param radix 10 or 16
     * @throws ProtocolException if it is larger, or if there is no digit, or
     *         something else: a sign, a blank, a digit beyond ASCII
     */
    // tag::length[]
    private static long length(String digits, int radix)
            throws ProtocolException {
        // tag::step2[] check each character; parse the number; tell by ProtocolException what is wrong with it
        try {
            if (digits.matches(radix == 10 ? "[0-9]+" : "[0-9A-Fa-f]+")) {
                return Long.parseLong(digits, radix);
            }
        } catch (NumberFormatException e) {
            // 2^63 or more
        }
        throw new ProtocolException("invalid length: %.60s".formatted(digits));
        // end::step2[]
    }
    // end::length[]

    /** How a reader knows where a body ends. */
    public enum Framing { LENGTH, CHUNKED, UNTIL_CLOSE }

    /** A body, read from what may hold more than the body. */
    public static final class Body extends InputStream {

        private final InputStream raw;
        private final Framing framing;
        private long rest;      // bytes to come: of the body, or of the chunk
        private boolean over;   // the last byte, trailers included, was read
        // tag::step3[]
        private boolean afterChunk;
        // end::step3[]

        private Body(InputStream raw, Framing framing, long rest) {
            this.raw = Objects.requireNonNull(raw, "raw");
            this.framing = framing;
            this.rest = rest;
            over = framing == Framing.LENGTH && rest == 0;
        }

        @Override
        public int read() throws IOException {
            var one = new byte[1];
            return read(one, 0, 1) == -1 ? -1 : one[0] & 0xff;
        }

        // tag::read[]
        @Override
        public int read(byte[] into, int offset, int length)
                throws IOException {
            Objects.checkFromIndexSize(offset, length, into.length);
            if (length == 0) {
                return 0;
            }
            if (rest == 0 && !over) {
                nextChunk();   // others are over when the rest is 0
            }
            if (over) {
                return -1;
            }
            // tag::step2[] read from raw, once, at most rest bytes; keep rest and over up to date; when raw ends, an UNTIL_CLOSE body is over, and any other is an EOFException
            int count = raw.read(into, offset, (int) Math.min(length, rest));
            if (count == -1 && framing != Framing.UNTIL_CLOSE) {
                throw new EOFException(rest + " bytes are missing");
            }
            rest -= Math.max(count, 0);
            over = count == -1 || framing == Framing.LENGTH && rest == 0;
            return count;
            // end::step2[]
        }
        // end::read[]

        /** Called before the first chunk, and when all of one was read. */
        // tag::nextChunk[]
        private void nextChunk() throws IOException {
            // tag::step3[] readLine() the CRLF that ends the chunk before, then the line with the size of the next one; size 0 is the end: readFields(), which skips the trailers, and then the body is over
            if (afterChunk) {
                readLine(raw, 0);
            }
            afterChunk = true;
            var line = readLine(raw, MAX_CHUNK_LINE);
            rest = length(line.replaceFirst("(?s)[ \t]*(;.*)?\\z", ""), 16);
            if (rest == 0) {
                readFields(raw);
                over = true;
            }
            // end::step3[]
        }
        // end::nextChunk[]
    }

    /** What connections are shared by: host and port of a request. */
    // tag::hostKey[]
    private static String hostKey(URI uri) {
        // tag::step4[] the host in lower case, a colon, and the port() // until then: return uri.getAuthority();
        return uri.getHost().toLowerCase(Locale.ROOT) + ":" + port(uri);
        // end::step4[]
    }
    // end::hostKey[]

    /**
     * Whether the connection may carry another request when this response is
     * over (RFC 9112 sections 6.1, 6.3, 9.3 and 9.6).
     */
    // tag::mayReuse[]
    private static boolean mayReuse(Request request, Head head, Body body) {
        // tag::step4[] not if request or response says close; not after HTTP/1.0 without keep-alive or with Transfer-Encoding; not after Transfer-Encoding with Content-Length; not after an UNTIL_CLOSE body // until then: return false;
        var asked = elements(request.headers(), "Connection");
        var told = elements(head.headers(), "Connection");
        boolean coded = isPresent(head.headers(), "Transfer-Encoding");
        boolean both = coded && isPresent(head.headers(), "Content-Length");
        boolean persists = head.isHttp10()
                ? told.contains("keep-alive") && !coded : !both;
        return persists && body.framing != Framing.UNTIL_CLOSE
                && !asked.contains("close") && !told.contains("close");
        // end::step4[]
    }
    // end::mayReuse[]

    /**
     * Called when the head of a response has been read, and after each read of
     * its body.
     */
    // tag::release[]
    private void releaseIfOver(Response response) throws IOException {
        // tag::step4[] if the body is over and the response not yet released, release() it; its connection is reusable if the response is, and connection.in has nothing available() // until then: if (response.body.over) { release(response, false); }
        if (response.body.over && !response.released) {
            var in = response.connection.in;
            release(response, response.reusable && in.available() == 0);
        }
        // end::step4[]
    }

    /** Ends the use of a connection. Only the first call for a response. */
    private void release(Response response, boolean reusable) {
        // tag::step4[] unless the response is released: note that it is; keepIdle() the connection if it is reusable, or else disconnect() it; then releasePermit() // until then: disconnect(response.connection);
        if (!response.released) {
            response.released = true;
            if (!reusable || !keepIdle(response.connection)) {
                disconnect(response.connection);
            }
            releasePermit(response.connection.host);
        }
        // end::step4[]
    }
    // end::release[]

    /** Keeps a connection for a later request; false if closed. */
    // tag::idle[]
    private synchronized boolean keepIdle(Connection connection) {
        if (closed) {
            return false;
        }
        // tag::step4[] set idleSince from options.nanoClock(), and put the connection first among the idle ones // until then:
        connection.idleSince = options.nanoClock().getAsLong();
        idle.addFirst(connection);
        // end::step4[]
        return true;
    }

    /** The idle connection of a host that was released last. */
    private synchronized Optional<Connection> takeIdle(Host host) {
        // tag::step4[] find the first of the idle ones whose host this is, and remove it // until then: return Optional.empty();
        var found = idle.stream().filter(each -> each.host == host).findFirst();
        found.ifPresent(idle::remove);
        return found;
        // end::step4[]
    }
    // end::idle[]

    /**
     * Called by {@link Response#close} while the body is not over. If the rest
     * is short and comes soon, it is read, and the connection can be reused.
     *
     * @throws IOException if the rest does not come, or is invalid
     */
    // tag::drain[]
    private void drain(Response response) throws IOException {
        // tag::step5[] read response.body() until the body is over; stop when rest exceeds what is left of drainBytes, or when drainTime is over: waitAtMost() limits the next read // until then:
        long start = System.nanoTime();
        long budget = options.drainBytes();
        var ignored = new byte[8 * 1024];
        while (!response.body.over && response.body.rest <= budget) {
            long left = nanos(options.drainTime()) + start - System.nanoTime();
            if (left <= 0) {
                return;
            }
            response.connection.waitAtMost(left);
            int most = Math.clamp(budget, 1, ignored.length);
            budget -= response.body().read(ignored, 0, most);
        }
        // end::step5[]
    }
    // end::drain[]

    /**
     * Whether an idle connection is of no use any more: the server has closed
     * it, or has sent something that no request has asked for.
     */
    // tag::isStale[]
    private static boolean isStale(Connection connection) {
        // tag::step6[] read a byte from the channel without blocking: 0 means that nothing has come, and only that is good; leave the channel blocking // until then: return false;
        try {
            connection.channel.configureBlocking(false);
            int count = connection.channel.read(ByteBuffer.allocate(1));
            connection.channel.configureBlocking(true);
            return count != 0;
        } catch (IOException e) {
            return true;   // a reset
        }
        // end::step6[]
    }
    // end::isStale[]

    /** Sends a request once, or, if that is harmless, twice. */
    // tag::attempt[]
    private Response attempt(Host host, Request request) throws IOException {
        // tag::step6[] take idle connections, and disconnect() those that are stale; exchange() on the first good one, or else on a new one; if that fails and mayRetry() says so, count it in retries and exchange() on a new one // until then: var idle = takeIdle(host); return exchange(idle.isPresent() ? idle.get() : open(host), request);
        var idle = takeIdle(host);
        for (; idle.isPresent() && isStale(idle.get()); idle = takeIdle(host)) {
            disconnect(idle.get());
        }
        if (idle.isEmpty()) {
            return exchange(open(host), request);
        }
        try {
            return exchange(idle.get(), request);
        } catch (IOException e) {
            if (!mayRetry(idle.get(), request, e)) {
                throw e;
            }
            retries.increment();
            return exchange(open(host), request);
        }
        // end::step6[]
    }
    // end::attempt[]

    /** After an {@link #exchange} that has failed on a reused connection. */
    // tag::mayRetry[]
    private static boolean mayRetry(
            Connection connection, Request request, IOException failure) {
        // tag::step6[] if nothing of the response has come, the method is idempotent, and the failure is no timeout
        return !connection.answered && request.method().matches(
                "GET|HEAD|OPTIONS|PUT|DELETE|TRACE")
                && !(failure instanceof SocketTimeoutException);
        // end::step6[]
    }
    // end::mayRetry[]

    /** Waits until fewer than maxConnectionsPerHost connections are in use. */
    // tag::acquirePermit[]
    private void acquirePermit(Host host) throws IOException {
        // tag::step7[] acquire one of host.permits within nanos(acquireTimeout), or throw noPermit(); an interrupt becomes an InterruptedIOException, and the thread stays interrupted // until then:
        long limit = nanos(options.acquireTimeout());
        try {
            if (!host.permits.tryAcquire(limit, TimeUnit.NANOSECONDS)) {
                throw noPermit(host);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("interrupted in send()");
        }
        // end::step7[]
    }
    // end::acquirePermit[]

    /** Called when a connection is no longer in use. */
    private void releasePermit(Host host) {
        // tag::step7[] release one of host.permits // until then:
        host.permits.release();
        // end::step7[]
    }

    /**
     * Sends a request and returns when the head of the response has come;
     * informational responses (1xx) are skipped. The caller reads the body to
     * its end or closes the response. A response that is neither read to its
     * end nor closed keeps its connection and its permit for ever.
     *
     * <p>An interrupt ends a wait: it closes the connection that the thread
     * waits for, and the thread stays interrupted.
     *
     * @throws SocketTimeoutException if all connections stay in use for
     *         acquireTimeout, if connecting takes 2 seconds, or if nothing
     *         comes for readTimeout
     * @throws ProtocolException if the response is invalid
     * @throws IOException if the connection fails, or with the message
     *         "closed" after {@link #close}
     */
    // tag::send[]
    public Response send(Request request) throws IOException {
        evictExpired();
        var host = hostOf(request.uri());
        // tag::step7[] acquirePermit(); if the attempt() fails, in whatever way, releasePermit(); after a success, the response does // until then: return attempt(host, request);
        acquirePermit(host);
        try {
            return attempt(host, request);
        } catch (Throwable e) {
            releasePermit(host);
            throw e;
        }
        // end::step7[]
    }
    // end::send[]

    // ---- given from here on ----

    /** What is open now, and what happened so far. */
    public synchronized Stats stats() {
        return new Stats(open.size() - idle.size(), idle.size(), connects,
                reuses.sum(), evicted, retries.sum());
    }

    /**
     * Closes the connections that have been idle for idleTimeout or longer.
     * {@link #send} calls it first.
     *
     * @return how many were closed
     */
    public synchronized int evictExpired() {
        long now = options.nanoClock().getAsLong();
        var expired = new ArrayList<Connection>();
        idle.removeIf(each -> now - each.idleSince
                >= nanos(options.idleTimeout()) && expired.add(each));
        expired.forEach(this::disconnect);
        evicted += expired.size();
        return expired.size();
    }

    /**
     * Closes all connections, those in use as well. Calls that wait in
     * {@link #send} or in the read of a body throw an IOException with the
     * message "closed". To close a closed client has no effect.
     */
    @Override
    public synchronized void close() {
        if (!closed) {
            closed = true;
            idle.clear();
            hosts.values().forEach(host -> host.permits.release(1 << 30));
            List.copyOf(open).forEach(this::disconnect);
        }
    }

    private synchronized Host hostOf(URI uri) {
        return hosts.computeIfAbsent(hostKey(uri), key -> new Host(key, uri,
                new Semaphore(options.maxConnectionsPerHost(), true)));
    }

    /** A new connection, which {@link #exchange} will connect. */
    private synchronized Connection open(Host host) throws IOException {
        if (closed) {
            throw new IOException("closed");
        }
        var connection = new Connection(++connects, host);
        open.add(connection);
        return connection;
    }

    /** Closes a connection; may be called again. */
    private synchronized void disconnect(Connection connection) {
        open.remove(connection);
        try {
            connection.channel.close();
        } catch (IOException e) {
            // The descriptor is released even if close() reports an error.
        }
    }

    /** Writes a request and reads the head of the final response. */
    // tag::exchange[]
    private Response exchange(Connection connection, Request request)
            throws IOException {
        boolean reused = connection.in != null;
        connection.answered = false;
        try {
            if (!reused) {
                connection.connect();
            }
            connection.waitAtMost(nanos(options.readTimeout()));
            connection.send(request.encoded());
            var response = new Response(this, connection, request, reused);
            reuses.add(reused ? 1 : 0);
            releaseIfOver(response);
            return response;
        } catch (IOException e) {
            disconnect(connection);
            throw toldFor(connection, e);
        }
    }
    // end::exchange[]

    /** What the caller is told when a connection fails. */
    private synchronized IOException toldFor(
            Connection connection, IOException failure) {
        if (closed) {
            return new IOException("closed", failure);
        }
        return !(failure instanceof SocketTimeoutException) ? failure
                : new SocketTimeoutException("nothing from %s within %d ms"
                        .formatted(connection.host.key, connection.in == null
                        ? CONNECT_MILLIS : options.readTimeout().toMillis()));
    }

    private SocketTimeoutException noPermit(Host host) {
        return new SocketTimeoutException(
                "no connection to %s within %d ms, %d in use".formatted(
                        host.key, options.acquireTimeout().toMillis(),
                        options.maxConnectionsPerHost()));
    }

    private static final int MAX_HEAD = 32 * 1024;   // bytes; also of trailers
    private static final int MAX_CHUNK_LINE = 4 * 1024;
    private static final int CONNECT_MILLIS = 2000;
    private static final Pattern TOKEN =
            Pattern.compile("[!#$%&'*+.^_`|~0-9A-Za-z-]+");

    /**
     * Where connections lead to.
     *
     * @param uri     of the first request
     * @param permits one for each connection in use; first come, first served
     */
    private record Host(String key, URI uri, Semaphore permits) {}

    /** A TCP connection. One thread uses it at a time. */
    private static final class Connection {
        final long id;
        final Host host;
        final SocketChannel channel = SocketChannel.open();
        InputStream in;          // one buffer for all responses
        boolean answered;        // a byte of the current response has come
        long idleSince;          // guarded by the client

        Connection(long id, Host host) throws IOException {
            this.id = id;
            this.host = host;
        }

        void connect() throws IOException {
            var socket = channel.socket();
            socket.connect(new InetSocketAddress(
                    host.uri.getHost(), port(host.uri)), CONNECT_MILLIS);
            socket.setTcpNoDelay(true);
            in = new BufferedInputStream(socket.getInputStream());
        }

        /** For each of the reads that follow; at least 1 ms, rounded up. */
        void waitAtMost(long nanos) throws IOException {
            channel.socket().setSoTimeout((int) Math.min(
                    Math.ceilDiv(nanos, 1_000_000L), Integer.MAX_VALUE));
        }

        /** Returns when the first byte of the response can be read. */
        void send(byte[] request) throws IOException {
            channel.socket().getOutputStream().write(request);
            in.mark(1);
            readByte(in);
            in.reset();
            answered = true;
        }
    }

    /**
     * A field of a header section (RFC 9110 section 5).
     *
     * @param name  a token; its case does not matter
     * @param value ISO 8859-1 without control characters; blanks at both ends
     *              are removed
     */
    public record Header(String name, String value) {
        public Header {
            need(TOKEN.matcher(name).matches(), "name", name);
            need(value.chars().allMatch(c -> c == '\t' || c >= ' ' && c < 256),
                    "value", value);
            value = value.strip();
        }
    }

    /**
     * What to send.
     *
     * @param method  in upper case as a rule; not CONNECT
     * @param uri     with the scheme http, and without user information
     * @param headers in this order. Host, Content-Length and Transfer-Encoding
     *                are for the client to set, and not allowed here
     * @param body    may be empty; not copied
     */
    public record Request(String method, URI uri, List<Header> headers,
            byte[] body) {
        public Request {
            Objects.requireNonNull(body, "body");
            headers = List.copyOf(headers);
            uri = URI.create(uri.toASCIIString());
            need(TOKEN.matcher(method).matches(), "method", method);
            need("http".equalsIgnoreCase(uri.getScheme())
                    && uri.getHost() != null && uri.getRawUserInfo() == null
                    && uri.getPort() < 1 << 16, "uri", uri);
            need(headers.stream().noneMatch(each -> each.name().matches(
                    "(?i)host|content-length|transfer-encoding")),
                    "headers", headers);
        }

        /** A GET request without fields of its own. */
        public static Request get(URI uri) {
            return new Request("GET", uri, List.of(), new byte[0]);
        }

        /** A POST request without fields of its own. */
        public static Request post(URI uri, byte[] body) {
            return new Request("POST", uri, List.of(), body);
        }

        /** Content-Length also for a POST without a body (RFC 9110, 8.6). */
        private byte[] encoded() {
            var path = uri.getRawPath().isEmpty() ? "/" : uri.getRawPath();
            var query = uri.getRawQuery() == null ? ""
                    : "?" + uri.getRawQuery();
            var text = new StringBuilder(method + " " + path + query
                    + " HTTP/1.1\r\nHost: " + uri.getRawAuthority() + "\r\n");
            headers.forEach(header -> text.append(
                    header.name() + ": " + header.value() + "\r\n"));
            if (body.length > 0 || method.matches("POST|PUT|PATCH")) {
                text.append("Content-Length: " + body.length + "\r\n");
            }
            var latin1 = StandardCharsets.ISO_8859_1;   // keeps every byte
            return text.append("\r\n").append(new String(body, latin1))
                    .toString().getBytes(latin1);
        }
    }

    /** The status line and the header section of a response. */
    private record Head(boolean isHttp10, int status, List<Header> headers) {

        private static final Pattern STATUS_LINE = Pattern.compile(
                "HTTP/1\\.([0-9]) ([1-9][0-9][0-9])( .*)?", Pattern.DOTALL);

        /** The next one that is no 1xx (RFC 9110 section 15.2). */
        static Head read(InputStream in) throws IOException {
            Head head;
            do {
                var text = readLine(in, MAX_HEAD);
                var line = STATUS_LINE.matcher(text);
                if (!line.matches() || line.group(2).equals("101")) {
                    throw new ProtocolException("got %.60s".formatted(text));
                }
                head = new Head(line.group(1).equals("0"),
                        Integer.parseInt(line.group(2)), readFields(in));
            } while (head.status / 100 == 1);
            return head;
        }
    }

    /**
     * What came back. To be closed in a try-with-resources statement, unless
     * the body is read to its end.
     */
    public static final class Response implements AutoCloseable {

        private final KeepAliveClient client;
        private final Connection connection;
        private final Head head;
        private final Body body;
        private final boolean reusable;
        private final boolean reused;
        private boolean released;   // the connection may be another's
        private boolean closed;

        private Response(KeepAliveClient client, Connection connection,
                Request request, boolean reused) throws IOException {
            this.client = client;
            this.connection = connection;
            this.reused = reused;
            head = Head.read(connection.in);
            body = bodyOf(request.method(), head.status(), head.headers(),
                    connection.in);
            reusable = mayReuse(request, head, body);
        }

        /** From 200 to 999. */
        public int status() {
            return head.status();
        }

        /** The fields in the order in which they came. */
        public List<Header> headers() {
            return head.headers();
        }

        /**
         * The body, for one thread at a time. At its end the connection is
         * released by itself. A read that fails closes the connection; after
         * that, and after {@link #close}, each read throws an IOException.
         */
        public InputStream body() {
            return new Input();
        }

        /** Unique in its client: 1, 2, 3 … in the order of connecting. */
        public long connectionId() {
            return connection.id;
        }

        /** True if an earlier request has used the same connection. */
        public boolean reused() {
            return reused;
        }

        /**
         * Releases the connection, unless that has happened. A rest of the
         * body of at most drainBytes that comes within drainTime is read and
         * discarded, so that the connection can be reused; otherwise the
         * connection is closed. May be called again.
         */
        @Override
        public void close() {
            try {
                client.drain(this);
            } catch (IOException e) {
                // The rest has not come: the connection will be closed.
            }
            closed = true;
            client.release(this, false);
        }

        private final class Input extends InputStream {

            @Override
            public int read() throws IOException {
                var one = new byte[1];
                return read(one, 0, 1) == -1 ? -1 : one[0] & 0xff;
            }

            @Override
            public int read(byte[] into, int offset, int length)
                    throws IOException {
                if (closed) {
                    throw new IOException("closed");
                }
                try {
                    int count = body.read(into, offset, length);
                    client.releaseIfOver(Response.this);
                    return count;
                } catch (IOException e) {
                    closed = true;
                    client.release(Response.this, false);
                    throw client.toldFor(connection, e);
                }
            }

            @Override
            public void close() {
                Response.this.close();
            }
        }
    }

    /** The fields up to an empty line, in their order; none is folded. */
    private static List<Header> readFields(InputStream in) throws IOException {
        var fields = new ArrayList<Header>();
        int left = MAX_HEAD;
        for (var line = readLine(in, left); !line.isEmpty();
                line = readLine(in, left)) {
            left = Math.max(left - line.length() - 2, 0);
            try {
                var parts = line.split(":", 2);
                fields.add(new Header(parts[0], parts[1]));
            } catch (IllegalArgumentException | IndexOutOfBoundsException e) {
                throw new ProtocolException("bad field: %.60s".formatted(line));
            }
        }
        return List.copyOf(fields);
    }

    /**
     * The next line, read byte by byte, without the CRLF at its end.
     *
     * @param most how many bytes the line may have
     * @throws EOFException      if {@code in} ends before the line does
     * @throws ProtocolException if the line is longer, or holds LF or CR alone
     */
    private static String readLine(InputStream in, int most)
            throws IOException {
        var line = new StringBuilder();
        for (int next = readByte(in); next != '\r'; next = readByte(in)) {
            if (next == '\n' || line.length() == most) {
                throw new ProtocolException("no CRLF: %.60s".formatted(line));
            }
            line.append((char) next);
        }
        if (readByte(in) != '\n') {
            throw new ProtocolException("no LF after %.60s".formatted(line));
        }
        return line.toString();
    }

    private static int readByte(InputStream in) throws IOException {
        int next = in.read();
        if (next == -1) {
            throw new EOFException("the connection ended within a response");
        }
        return next;
    }

    /** Whether there is a field of this name, be it empty. */
    private static boolean isPresent(List<Header> headers, String name) {
        return headers.stream().anyMatch(
                header -> header.name().equalsIgnoreCase(name));
    }

    /**
     * The elements of the comma-separated lists in all fields of this name, in
     * lower case. Empty elements are ignored (RFC 9110 section 5.6.1.2).
     */
    private static List<String> elements(List<Header> headers, String name) {
        return headers.stream()
                .filter(header -> header.name().equalsIgnoreCase(name))
                .flatMap(header -> Stream.of(header.value().split(",")))
                .map(element -> element.strip().toLowerCase(Locale.ROOT))
                .filter(element -> !element.isEmpty()).toList();
    }

    private static int port(URI uri) {
        return uri.getPort() == -1 ? 80 : uri.getPort();
    }

    /** Zero means no limit: Long.MAX_VALUE, which is 292 years. */
    private static long nanos(Duration limit) {
        return limit.isZero() ? Long.MAX_VALUE
                : TimeUnit.NANOSECONDS.convert(limit);
    }

    private static void need(boolean holds, String name, Object value) {
        if (!holds) {
            throw new IllegalArgumentException("bad " + name + ": " + value);
        }
    }

    /**
     * The limits of a client. A Duration of zero means no limit.
     *
     * @param maxConnectionsPerHost connections to one host and port, 1 to
     *                              1,000,000; idle ones count, too
     * @param drainBytes     longest rest of a body that closing a response
     *                       reads; 0 reads none
     * @param drainTime      longest time that closing a response takes; it is
     *                       real time, whatever nanoClock says
     * @param idleTimeout    how long an unused connection is kept; should be
     *                       less than the server's
     * @param acquireTimeout how long {@link #send} waits for a connection
     *                       while all are in use
     * @param readTimeout    longest wait for the next bytes of a response
     * @param nanoClock      as {@link System#nanoTime}, for idleTimeout
     */
    public record Options(int maxConnectionsPerHost, long drainBytes,
            Duration drainTime, Duration idleTimeout, Duration acquireTimeout,
            Duration readTimeout, LongSupplier nanoClock) {

        public Options {
            need(maxConnectionsPerHost > 0 && maxConnectionsPerHost < 1 << 20,
                    "maxConnectionsPerHost", maxConnectionsPerHost);
            need(drainBytes >= 0, "drainBytes", drainBytes);
            need(!drainTime.isNegative(), "drainTime", drainTime);
            need(!idleTimeout.isNegative(), "idleTimeout", idleTimeout);
            need(!acquireTimeout.isNegative(), "acquireTimeout",
                    acquireTimeout);
            need(!readTimeout.isNegative(), "readTimeout", readTimeout);
            Objects.requireNonNull(nanoClock, "nanoClock");
        }

        /** 8 connections; 64 KiB in 100 ms; 30, 5 and 10 s. */
        public static Options defaults() {
            return new Options(8, 64 * 1024, Duration.ofMillis(100),
                    Duration.ofSeconds(30), Duration.ofSeconds(5),
                    Duration.ofSeconds(10), System::nanoTime);
        }

        /** The same with another maxConnectionsPerHost. */
        public Options withMaxConnectionsPerHost(int maxConnectionsPerHost) {
            return new Options(maxConnectionsPerHost, drainBytes, drainTime,
                    idleTimeout, acquireTimeout, readTimeout, nanoClock);
        }

        /** The same with another drainBytes. */
        public Options withDrainBytes(long drainBytes) {
            return new Options(maxConnectionsPerHost, drainBytes, drainTime,
                    idleTimeout, acquireTimeout, readTimeout, nanoClock);
        }

        /** The same with another drainTime. */
        public Options withDrainTime(Duration drainTime) {
            return new Options(maxConnectionsPerHost, drainBytes, drainTime,
                    idleTimeout, acquireTimeout, readTimeout, nanoClock);
        }

        /** The same with another idleTimeout. */
        public Options withIdleTimeout(Duration idleTimeout) {
            return new Options(maxConnectionsPerHost, drainBytes, drainTime,
                    idleTimeout, acquireTimeout, readTimeout, nanoClock);
        }

        /** The same with another acquireTimeout. */
        public Options withAcquireTimeout(Duration acquireTimeout) {
            return new Options(maxConnectionsPerHost, drainBytes, drainTime,
                    idleTimeout, acquireTimeout, readTimeout, nanoClock);
        }

        /** The same with another readTimeout. */
        public Options withReadTimeout(Duration readTimeout) {
            return new Options(maxConnectionsPerHost, drainBytes, drainTime,
                    idleTimeout, acquireTimeout, readTimeout, nanoClock);
        }

        /** The same with another nanoClock. */
        public Options withNanoClock(LongSupplier nanoClock) {
            return new Options(maxConnectionsPerHost, drainBytes, drainTime,
                    idleTimeout, acquireTimeout, readTimeout, nanoClock);
        }
    }

    /**
     * Exact while no request is under way. {@code int}: now; {@code long}:
     * since the client was made.
     *
     * @param inUse    connections that carry a request or a response
     * @param idle     connections that wait for the next request
     * @param connects connections that the client began to open
     * @param reuses   responses that came on a connection used before
     * @param evicted  connections closed by {@link #evictExpired}
     * @param retries  requests that were sent a second time
     */
    public record Stats(int inUse, int idle, long connects, long reuses,
            long evicted, long retries) {}

    /**
     * What {@link #observeOkHttp} does with each response: READ reads the body
     * to its end and closes the response; CLOSE_EARLY reads one byte and
     * closes it; LEAK does neither, until all calls have been made.
     */
    public enum BodyUse { READ, CLOSE_EARLY, LEAK }

    /**
     * What {@link #observeOkHttp} has seen.
     *
     * @param connectStarts connections that OkHttp began to open
     * @param acquired      times that a call was given a connection
     * @param idleAfter     idle connections in the pool after the last call
     * @param totalAfter    all connections in the pool after the last call
     */
    public record ReuseReport(int calls, int connectStarts, int acquired,
            int idleAfter, int totalAfter) {}

    // The demo: one scene for each step.

    private static final List<String> STEPS = List.of(
            "Count OkHttp's connections", "Determine the message body length",
            "Decode the chunked coding", "Reuse the connection",
            "Close a body early", "Retry after a stale connection",
            "Limit connections per host");

    /** No argument: the demo; {@code get URL [--times N]}. */
    public static void main(String[] args) throws Exception {
        try (var client = new KeepAliveClient(Options.defaults()
                .withMaxConnectionsPerHost(2)
                .withAcquireTimeout(Duration.ofMillis(50)))) {
            var words = String.join(" ", args);
            boolean help = words.matches("(--)?help");
            if (args.length == 0) {
                demo(client);
            } else if (words.matches("get http://\\S+( --times \\d{1,6})?")) {
                int times = args.length < 3 ? 1 : Integer.parseInt(args[3]);
                IntStream.range(0, times).forEach(i -> IO.println(
                        send(client, "GET", URI.create(args[1]))));
            } else {
                (help ? System.out : System.err).println((help ? ""
                        : "not understood: " + words + "\n") + """
                        lab-410                      the demo, step by step
                        lab-410 get URL [--times N]  one request or more""");
                System.exit(help ? 0 : 2);
            }
        }
    }

    private static String send(KeepAliveClient client, String method, URI uri) {
        var request = new Request(method, uri, List.of(), new byte[0]);
        try (var response = client.send(request)) {
            return "%d, %d bytes, connection %d%s".formatted(response.status(),
                    response.body().readAllBytes().length,
                    response.connectionId(),
                    response.reused() ? ", reused" : "");
        } catch (IOException e) {
            return e.getMessage();
        }
    }

    private static void demo(KeepAliveClient client) throws Exception {
        IO.println("lab 410  Keep-alive");
        var known = ConcurrentHashMap.newKeySet();
        var http = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        http.createContext("/", exchange -> {
            var path = exchange.getRequestURI().getPath();
            if (known.add(exchange.getRemoteAddress()) || !path.equals("/7")) {
                int size = Integer.parseInt(path.substring(1));
                exchange.sendResponseHeaders(200, size);   // 0: chunked
                exchange.getResponseBody().write(new byte[Math.max(size, 5)]);
            }
            exchange.close();
        });
        http.start();
        try (AutoCloseable _ = () -> http.stop(0)) {
            var nine = URI.create("http:/" + http.getAddress() + "/9");
            for (var use : BodyUse.values()) {
                show(1, "OkHttp, 5 calls, " + use, "connections: "
                        + observeOkHttp(nine, 5, use).connectStarts(), "");
            }
            show(2, "length 9", send(client, "GET", nine), " 9 ");
            show(3, "chunked", send(client, "GET", nine.resolve("/0")), " 5 ");
            show(4, "again", send(client, "GET", nine), "reused");
            client.send(Request.get(nine)).close();
            show(5, "after 9 unread", send(client, "GET", nine), "reused");
            client.send(Request.get(nine.resolve("/99999"))).close();
            show(5, "after 99999 unread", send(client, "GET", nine), "tion 2");
            var seven = nine.resolve("/7");
            show(6, "GET, no response", send(client, "GET", seven), "tion 3");
            show(6, "POST, no response", send(client, "POST", seven), "ended");
            client.send(Request.get(nine));
            client.send(Request.get(nine));
            show(7, "2 of 2 leaked", send(client, "GET", nine), "no conn");
            IO.println("\nall seven steps work");
        } catch (UnsupportedOperationException todo) {
            next(todo.getMessage() + "\n  " + todo.getStackTrace()[0]);
        }
    }

    private static void show(int step, String what, String seen, String part) {
        IO.println("  %d  %-29s %s".formatted(step, what, seen));
        if (!seen.contains(part)) {
            next("TODO step " + step + ": search KeepAliveClient.java for it");
        }
    }

    private static void next(String todo) {
        int step = todo.charAt("TODO step ".length()) - '0';
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/KeepAliveClient.java";
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        IO.println("\nnext: step " + step + ", " + STEPS.get(step - 1) + "\n  "
                + todo + (isHere ? "" : "\n  in a clone of the workbook:")
                + ("\n  check  " + jbang + " test-410 " + file).stripTrailing()
                + "\n  hint   " + jbang + " hint 410 " + step);
        System.exit(0);
    }
}
