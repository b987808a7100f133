///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 408: a reverse proxy, and a forward proxy with CONNECT

import module java.base;

import com.sun.net.httpserver.HttpServer;

/**
 * An HTTP/1.1 proxy: a reverse proxy in front of one server, or a forward proxy
 * for clients that may reach the servers on a list.
 *
 * <p>The one idea: a proxy is two connections. What belongs to a connection
 * (its framing, its hop-by-hop fields, its end) stops at the proxy, which
 * decides anew what the other connection gets.
 *
 * <p>Thread-safe. HTTP: RFC 9110; HTTP/1.1: RFC 9112. Left out: HTTP/2, TLS to
 * the upstream, upgrades (WebSocket), trailers, TRACE with Max-Forwards.
 */
public final class ProxyServer implements AutoCloseable {

    /** A field line of a message; no spaces or tabs surround the value. */
    public record Header(String name, String value) {}

    /**
     * The elements of a list field: the values of its field lines in order,
     * split at commas, in lower case, without the spaces and tabs around them,
     * and without empty elements (RFC 9110 section 5.6.1).
     *
     * @param name of the field, in any case
     */
    // tag::listElements[]
    static List<String> listElements(List<Header> fields, String name) {
        // tag::step1[] split the values() of all field lines of this name at commas and the spaces and tabs around them; leave out empty elements; lower() the others
        return values(fields, name).stream()
                .flatMap(value -> Stream.of(value.split("[ \\t]*,[ \\t]*")))
                .filter(element -> !element.isEmpty())
                .map(ProxyServer::lower).toList();
        // end::step1[]
    }
    // end::listElements[]

    /**
     * What remains of a message's fields when it leaves the connection on which
     * it came: all but Connection, every field that it names, and the other
     * hop-by-hop fields, which are Keep-Alive, Proxy-Connection, TE, Trailer,
     * Transfer-Encoding, Upgrade, Proxy-Authenticate and Proxy-Authorization
     * (RFC 9110 sections 7.6.1 and 11.7). Host and Content-Length stay even if
     * Connection names them. Order and repeated fields are kept.
     */
    // tag::removeHopByHop[]
    public static List<Header> removeHopByHop(List<Header> fields) {
        // tag::step1[] drop the fields listed above and those that Connection names, but neither Host nor Content-Length
        var dropped = new HashSet<>(listElements(fields, "Connection"));
        dropped.removeAll(Set.of("host", "content-length"));
        dropped.addAll(HOP_BY_HOP);
        return fields.stream()
                .filter(field -> !dropped.contains(lower(field.name())))
                .toList();
        // end::step1[]
    }
    // end::removeHopByHop[]

    // tag::step1[]
    private static final Set<String> HOP_BY_HOP = Set.of("connection",
            "keep-alive", "proxy-connection", "te", "trailer",
            "transfer-encoding", "upgrade", "proxy-authenticate",
            "proxy-authorization");
    // end::step1[]

    /**
     * Adds what the next server should know about the client. Its address
     * becomes the last element of X-Forwarded-For; X-Forwarded-Proto becomes
     * http, and X-Forwarded-Host the value of Host, whatever the client sent
     * there. Via gets one more element: the version in which the message came,
     * and the name lab408 (RFC 9110 section 7.6.3).
     *
     * @param version as received: HTTP/1.1 or HTTP/1.0
     */
    // tag::addForwardingFields[]
    public static List<Header> addForwardingFields(
            List<Header> fields, InetAddress client, String version) {
        // tag::step1[] copy the fields without the three X-Forwarded ones, then add these and via(version)
        var chain = new ArrayList<>(values(fields, "X-Forwarded-For"));
        chain.add(client.getHostAddress());
        var all = new ArrayList<>(fields);
        all.removeIf(f -> Set.of("x-forwarded-for", "x-forwarded-proto",
                "x-forwarded-host").contains(lower(f.name())));
        all.add(new Header("X-Forwarded-For", String.join(", ", chain)));
        all.add(new Header("X-Forwarded-Proto", "http"));
        values(fields, "Host").forEach(host ->
                all.add(new Header("X-Forwarded-Host", host)));
        all.add(via(version));
        return all;
        // end::step1[]
    }
    // end::addForwardingFields[]

    /**
     * A request says with one Host field which site it means, except in
     * HTTP/1.0 (RFC 9112 section 3.2).
     *
     * @throws HttpStatusException 400 if Host is missing, repeated or invalid
     */
    // tag::checkHost[]
    private static void checkHost(RequestHead request)
            throws HttpStatusException {
        // tag::step2[] check() that there is one Host, or none in HTTP/1.0, and that HOST_FIELD matches it
        var hosts = values(request.headers(), "Host");
        check(hosts.size() <= 1, 400, "more than one Host field");
        check(request.isHttp10() || !hosts.isEmpty(), 400, "no Host field");
        check(hosts.stream().allMatch(HOST_FIELD.asMatchPredicate()), 400,
                "an invalid Host field");
        // end::step2[]
    }
    // end::checkHost[]

    /**
     * How the end of a request's body is found (RFC 9112 section 6.3). A
     * request that two servers could read differently is refused (section
     * 11.2).
     *
     * @return None, Length or Chunked; a request is never UntilClose
     * @throws HttpStatusException 400 for Transfer-Encoding beside a
     *         Content-Length, in HTTP/1.0, and where chunked is not the last
     *         coding or comes twice; 501 if another coding precedes chunked;
     *         400 for a second Content-Length, and for one that is not a number
     *         of 1 to 18 digits, leading zeros aside; 400 for CONNECT with
     *         either field
     */
    // tag::requestFraming[]
    public static Framing requestFraming(RequestHead request)
            throws HttpStatusException {
        // tag::step2[] check() these rules; listElements() gives the codings
        var lengths = values(request.headers(), "Content-Length");
        var codings = listElements(request.headers(), "Transfer-Encoding");
        boolean coded =
                !values(request.headers(), "Transfer-Encoding").isEmpty();
        check(!request.is("CONNECT") || !coded && lengths.isEmpty(), 400,
                "CONNECT has no body");
        check(lengths.size() + (coded ? 1 : 0) <= 1, 400, "framed twice");
        if (coded) {
            int chunked = codings.indexOf("chunked");
            check(chunked >= 0 && chunked == codings.size() - 1
                    && !request.isHttp10(), 400, "chunked must come last");
            check(chunked == 0, 501, "no coding but chunked is supported");
            return new Framing.Chunked();
        }
        if (lengths.isEmpty()) {
            return new Framing.None();
        }
        check(LENGTH.matcher(lengths.getFirst()).matches(), 400,
                "an invalid Content-Length");
        return new Framing.Length(Long.parseLong(lengths.getFirst()));
        // end::step2[]
    }
    // end::requestFraming[]

    /** A message body: a stream that ends where the body ends. */
    private static class Body extends InputStream {

        final InputStream in;    // the connection
        volatile long left;      // bytes of this body

        Body(InputStream in, long left) {
            this.in = in;
            this.left = left;
        }

        /**
         * Reads at least one byte of the body, and none of what follows it.
         *
         * @return how many; -1 when none is left
         * @throws EOFException if the connection ends before the body does
         */
        // tag::readBody[]
        @Override
        public int read(byte[] bytes, int offset, int count)
                throws IOException {
            // tag::step3[] read from in, at most left bytes, and count them down; where the stream ends before, throw an EOFException
            if (left == 0) {
                return -1;
            }
            int read = in.read(bytes, offset, (int) Math.min(count, left));
            if (read == -1) {
                throw new EOFException(left + " bytes are missing");
            }
            left -= read;
            return read;
            // end::step3[]
        }
        // end::readBody[]

        @Override
        public int read() throws IOException {
            var one = new byte[1];
            return read(one, 0, 1) == -1 ? -1 : one[0] & 0xff;
        }

        /** True once the last byte has been read. For any thread. */
        boolean ended() {
            return left == 0;
        }
    }

    /**
     * Copies a stream to its end, and passes on what comes as it comes. At most
     * {@code PIECE} bytes have been read and not yet been written at any time,
     * so a slow reader slows the sender down.
     */
    // tag::relay[]
    static void relay(InputStream in, OutputStream out) throws IOException {
        // tag::step3[] read into an array of PIECE bytes, write what was read, flush; go on until the stream ends
        var piece = new byte[PIECE];
        for (int n = in.read(piece); n != -1; n = in.read(piece)) {
            out.write(piece, 0, n);
            out.flush();
        }
        // end::step3[]
    }
    // end::relay[]

    /**
     * Forwards one request, and its response.
     *
     * @return true if the client may send another request
     */
    // tag::forward[]
    private boolean forward(Exchange exchange) throws IOException {
        // tag::step3[] exchange.writeRequest() with the fields of step 1; sendBody(); awaitResponse(); writeResponse(); copyBody() of the response to the client
        var request = exchange.request();
        var client = exchange.client();
        exchange.writeRequest(addForwardingFields(
                removeHopByHop(request.headers()),
                client.socket.getInetAddress(), request.version()));
        sendBody(exchange);
        var response = exchange.awaitResponse();
        var framing = framingFor(request, response.framing());
        boolean stays = exchange.writeResponse(response, framing);
        copyBody(exchange.responseBody(response), client.out, framing);
        return stays;
        // end::step3[]
    }
    // end::forward[]

    /**
     * Reads the target of a CONNECT request: a host, a colon, and a port from 1
     * to 65535, which has no default (RFC 9110 section 9.3.6).
     *
     * @throws HttpStatusException 400 for anything else
     */
    // tag::parseAuthority[]
    public static Authority parseAuthority(String text)
            throws HttpStatusException {
        // tag::step4[] split at the last colon; HOST must match the host, in lower case; an IPv6 address loses its brackets
        int colon = Math.max(text.lastIndexOf(':'), 0);
        var host = lower(text.substring(0, colon));
        var port = text.substring(colon).replaceFirst(":", "");
        check(HOST.matcher(host).matches() && port.matches("[0-9]{1,5}"), 400,
                "not HOST:PORT");
        int number = Integer.parseInt(port);
        check(number >= 1 && number <= 65535, 400, "not a port");
        return new Authority(host.replaceAll("[\\[\\]]", ""), number);
        // end::step4[]
    }
    // end::parseAuthority[]

    /** @throws HttpStatusException 403 unless {@code allow} returns true */
    // tag::checkAllowed[]
    private void checkAllowed(Authority to) throws HttpStatusException {
        // tag::step4[] ask allow; a RuntimeException that it throws counts as false
        boolean allowed = false;
        try {
            allowed = allow.test(to);
        } catch (RuntimeException e) {
            // A list that cannot be read allows nothing.
        }
        check(allowed, 403, to + " is not allowed");
        // end::step4[]
    }
    // end::checkAllowed[]

    /**
     * Answers CONNECT, and is a tunnel from then on: two threads copy, one for
     * each direction. When both directions have ended, so has the tunnel; when
     * one has failed, the client's connection is closed on return.
     */
    // tag::tunnel[]
    private void tunnel(Client client, RequestHead request)
            throws IOException {
        // tag::step4[] check the target; connect(); count it in tunnels; write the 200; copyDirection() on a virtual thread, client.helper, and on this one; if this one ends well, joinHelper()
        var to = parseAuthority(request.target());
        checkAllowed(to);
        var upstream = connect(client, to);
        tunnels.increment();
        client.write("HTTP/1.1 200 Connection established\r\n\r\n");
        client.helper = Thread.ofVirtual().name("lab408-tunnel").start(() ->
                copyDirection(client, upstream, upstream));
        if (copyDirection(upstream, client, upstream)) {
            client.joinHelper(FOREVER);   // the client may go on sending
        }
        // end::step4[]
    }
    // end::tunnel[]

    /**
     * Copies one direction of a tunnel. Its end is passed on while the other
     * direction goes on (half-close). If either connection fails, the upstream
     * is aborted, which ends a read from it; a read from the client ends when
     * {@link #tunnel} returns.
     *
     * @return true if the direction ended well
     */
    // tag::copyDirection[]
    private static boolean copyDirection(
            Connection from, Connection to, Connection upstream) {
        // tag::step4[] relay(), then shutdownOutput() of the socket; on a failure abort() the upstream
        try {
            relay(from.in, to.out);
            to.socket.shutdownOutput();
            return true;
        } catch (IOException e) {
            upstream.abort();
            return false;
        }
        // end::step4[]
    }
    // end::copyDirection[]

    /**
     * Sends the request's body while the client's thread goes on to wait for
     * the response, which may come at any time. If the client breaks off the
     * body or its framing, it gets 400. If the upstream takes no more of the
     * body, its response may be there already; a client may look for it only
     * when it has sent everything, so the rest is read.
     */
    // tag::sendBody[]
    private static void sendBody(Exchange exchange) throws IOException {
        if (exchange.framing() instanceof Framing.None) {
            return;
        }
        // tag::step5[] on a virtual thread, client.helper: exchange.send(); after an EOFException or a ProtocolException, giveUp() with status 400; after any other IOException, drain() // until then: exchange.send();
        exchange.client().helper = Thread.startVirtualThread(() -> {
            try {
                exchange.send();
            } catch (EOFException | ProtocolException e) {
                exchange.giveUp(new HttpStatusException(400, e.getMessage()));
            } catch (IOException e) {
                exchange.drain();
            }
        });
        // end::step5[]
    }
    // end::sendBody[]

    /**
     * How a response's body goes on to the client. A known length is kept. A
     * body of unknown length is chunked, but not for HTTP/1.0, which does not
     * know that; there the end of the connection is the end of the body.
     */
    // tag::framingFor[]
    private static Framing framingFor(RequestHead request, Framing came) {
        // tag::step5[] None and Length stay; the others become Chunked, or UntilClose for HTTP/1.0 // until then: return came;
        if (came instanceof Framing.None || came instanceof Framing.Length) {
            return came;
        }
        return request.isHttp10()
                ? new Framing.UntilClose() : new Framing.Chunked();
        // end::step5[]
    }
    // end::framingFor[]

    /** Writes a body in a framing. After a failure its end is not written. */
    // tag::copyBody[]
    private static void copyBody(InputStream body, OutputStream out,
            Framing framing) throws IOException {
        // tag::step5[] relay(), but for Chunked make a chunk of each piece, flush it, and write the last chunk when the body has ended well // until then: relay(body, out);
        if (!(framing instanceof Framing.Chunked)) {
            relay(body, out);
            return;
        }
        var piece = new byte[PIECE];
        for (int n = body.read(piece); n != -1; n = body.read(piece)) {
            out.write(latin1(Integer.toHexString(n) + "\r\n"));
            out.write(piece, 0, n);
            out.write(latin1("\r\n"));
            out.flush();
        }
        out.write(latin1("0\r\n\r\n"));
        out.flush();
        // end::step5[]
    }
    // end::copyBody[]

    /**
     * Ends a client's connection after a failure. Before the head of a response
     * has gone out, the client is told a status: that of an
     * HttpStatusException, 504 for a SocketTimeoutException, 502 for anything
     * else (RFC 9110 sections 15.6.3 and 15.6.5). After it, nothing may be
     * added to what was sent: a reset says that the response is incomplete.
     */
    // tag::fail[]
    private void fail(Client client, IOException failure) {
        // tag::step6[] abort() the client if its response hasBegun; else refuse() it with an HttpStatusException // until then: if (failure instanceof HttpStatusException told) client.refuse(told);
        if (client.hasBegun) {
            client.abort();
            return;
        }
        client.refuse(switch (failure) {
            case HttpStatusException told -> told;
            case SocketTimeoutException e ->
                new HttpStatusException(504, "the upstream is silent");
            default -> new HttpStatusException(502, "the upstream failed");
        });
        // end::step6[]
    }
    // end::fail[]

    /**
     * Decides whether an upstream connection may carry another request. This is
     * asked when the body of the response has been read to its end.
     *
     * @param sent true if the request was sent to its last byte
     */
    // tag::mayReuse[]
    static boolean mayReuse(ResponseHead response, boolean sent) {
        // tag::step7[] only if the request was sent, in HTTP/1.1, where the response does not say close and its end was not that of the connection // until then: return false;
        return sent && !response.version().equals("HTTP/1.0")
                && !(response.framing() instanceof Framing.UntilClose)
                && !listElements(response.headers(), "Connection")
                        .contains("close");
        // end::step7[]
    }
    // end::mayReuse[]

    // ---- given from here on ----

    private static final int PIECE = 16 * 1024;
    private static final int MOST_HEAD = 16 * 1024;
    private static final Duration LINGER = Duration.ofSeconds(1);
    private static final Duration FOREVER = Duration.ofDays(10_000);
    private static final String TOKEN = "([!#$%&'*+.^_`|~0-9A-Za-z-]+)";
    private static final Pattern REQUEST_LINE = Pattern.compile(
            TOKEN + " ([!-~&&[^#]]+) (HTTP/[0-9]\\.[0-9])");
    private static final Pattern STATUS_LINE =
            Pattern.compile("(?s)(HTTP/1\\.[0-9]) ([1-5][0-9][0-9])( .*)?");
    private static final Pattern FIELD_LINE = Pattern.compile(
            "(?s)" + TOKEN + ":[ \\t]*+((?:.*[^ \\t])?)[ \\t]*");
    private static final Pattern CHUNK_SIZE =
            Pattern.compile("(?s)0*([0-9A-Fa-f]{1,15})([ \\t]*;.*)?");
    private static final Pattern LENGTH = Pattern.compile("0*[0-9]{1,18}");
    /** A name, an IPv4 address, or an IPv6 address in brackets. */
    private static final Pattern HOST = Pattern.compile(
            "\\[[0-9A-Fa-f:.]+]|[A-Za-z0-9._~!$&'()*+,;=%-]+");
    private static final Pattern HOST_FIELD =
            Pattern.compile("(" + HOST + ")?(:[0-9]*)?");
    private static final Pattern ABSOLUTE = Pattern.compile(
            "(?i:http)://((" + HOST + ")((?::[0-9]*)?))((?:[/?].*)?)");

    private final ServerSocket listener = new ServerSocket();
    private final Optional<Authority> origin;   // of a reverse proxy
    private final Predicate<Authority> allow;
    private final Connector connector;
    private final Options options;
    private final ExecutorService executor = Executors.newThreadPerTaskExecutor(
            Thread.ofVirtual().name("lab408-client-", 1).factory());
    private final Thread acceptor;
    private final Thread reaper;
    private final Set<Client> live = ConcurrentHashMap.newKeySet();
    private final Deque<Connection> idle = new ConcurrentLinkedDeque<>();
    private final LongAdder requests = new LongAdder();
    private final LongAdder tunnels = new LongAdder();
    private final LongAdder refused = new LongAdder();
    private final LongAdder upstreamConnects = new LongAdder();
    private volatile boolean closing;
    private volatile boolean hasCut;

    /** Listens; {@code origin} is the upstream of a reverse proxy. */
    ProxyServer(InetSocketAddress bind, Optional<Authority> origin,
            Predicate<Authority> allow, Connector connector, Options options)
            throws IOException {
        this.origin = origin;
        this.allow = Objects.requireNonNull(allow, "allow");
        this.connector = connector;
        this.options = Objects.requireNonNull(options, "options");
        try {
            listener.bind(Objects.requireNonNull(bind, "bind"), 1024);
        } catch (IOException e) {
            close(listener);
            throw e;
        }
        acceptor = Thread.ofPlatform().name("lab408-accept")
                .start(this::accept);
        reaper = Thread.ofVirtual().name("lab408-reaper").start(this::reap);
    }

    /**
     * Starts a reverse proxy: every request goes to the same upstream, with the
     * Host that the client sent. CONNECT is answered with 403.
     *
     * @param bind where to listen; port 0 takes any free port
     * @throws BindException if the port is taken; no socket stays open
     */
    public static ProxyServer startReverse(InetSocketAddress bind,
            InetSocketAddress upstream, Options options) throws IOException {
        return new ProxyServer(bind, Optional.of(new Authority(
                upstream.getHostString(), upstream.getPort())),
                to -> false, ProxyServer::dial, options);
    }

    /**
     * Starts a forward proxy, for CONNECT and for requests in absolute-form
     * (GET http://host/path).
     *
     * @param bind  where to listen; port 0 takes any free port
     * @param allow decides where the proxy connects to, before the name is
     *              looked up; called on the threads of the clients; it may
     *              block, and close the proxy; what it throws counts as false
     * @throws BindException if the port is taken; no socket stays open
     */
    public static ProxyServer startForward(InetSocketAddress bind,
            Predicate<Authority> allow, Options options) throws IOException {
        return new ProxyServer(bind, Optional.empty(), allow,
                ProxyServer::dial, options);
    }

    /** Where the proxy listens, with the real port if it asked for port 0. */
    public InetSocketAddress localAddress() {
        return (InetSocketAddress) listener.getLocalSocketAddress();
    }

    /** What the proxy has done so far, and does now. */
    public Stats stats() {
        return new Stats(requests.sum(), tunnels.sum(), refused.sum(),
                upstreamConnects.sum(), live.size(), idle.size());
    }

    /**
     * Stops accepting, closes the connections of clients that have no request
     * under way, and lets requests and tunnels finish for the time
     * {@code grace}. What is left then is cut, and awaited for at most 5 s. Any
     * thread may call this, and again.
     *
     * @param grace zero or more; zero cuts at once
     * @return true if nothing has been cut so far
     */
    public boolean shutdown(Duration grace) throws InterruptedException {
        require(!grace.isNegative(), "grace", grace);
        closing = true;
        close(listener);
        acceptor.join();
        live.stream().filter(c -> c.waits).forEach(c -> close(c.socket));
        executor.shutdown();
        if (!executor.awaitTermination(
                TimeUnit.NANOSECONDS.convert(grace), TimeUnit.NANOSECONDS)) {
            hasCut = true;
        }
        live.forEach(Client::abort);
        executor.shutdownNow();
        executor.awaitTermination(5, TimeUnit.SECONDS);
        LockSupport.unpark(reaper);
        reaper.join(LINGER);
        return !hasCut;
    }

    /** Cuts everything at once. To close a closed proxy has no effect. */
    @Override
    public void close() {
        try {
            shutdown(Duration.ZERO);
        } catch (InterruptedException e) {   // or by its own shutdownNow()
            live.forEach(Client::abort);
            Thread.currentThread().interrupt();
        }
    }

    private void accept() {
        while (!closing) {
            try {
                var client = new Client(listener.accept());
                boolean admitted = live.size() < options.maxConnections()
                        && live.add(client);
                executor.execute(() -> converse(client, admitted));
            } catch (Throwable failure) {   // an Error must not end it either
                LockSupport.parkNanos(closing ? 0 : 20_000_000);
            }
        }
    }

    private void converse(Client client, boolean admitted) {
        try {
            check(admitted, 503, "too many connections");
            var request = client.nextRequest();
            while (request.isPresent() && route(client, request.get())) {
                request = client.nextRequest();
            }
            client.lingeringClose("");
        } catch (IOException e) {
            fail(client, e);
        } catch (RuntimeException | Error bug) {   // told before client sees it
            var thread = Thread.currentThread();
            thread.getUncaughtExceptionHandler().uncaughtException(thread, bug);
        } finally {
            close(client.socket);
            client.upstream.ifPresent(upstream -> close(upstream.socket));
            live.remove(client);
        }
    }

    /**
     * Absolute-form becomes origin-form, and its authority the Host (RFC 9112
     * section 3.2). A forward proxy takes no other form than that and CONNECT.
     *
     * @return true if the client may send another request
     */
    private boolean route(Client client, RequestHead request)
            throws IOException {
        var framing = requestFraming(request);
        if (request.is("CONNECT")) {
            tunnel(client, request);
            return false;
        }
        var absolute = ABSOLUTE.matcher(request.target());
        boolean isAbsolute = absolute.matches();
        check(isAbsolute || origin.isPresent(), 400, "not in absolute-form");
        var path = isAbsolute ? absolute.group(4) : request.target();
        if (isAbsolute && !path.startsWith("/")) {
            path = path.isEmpty() && request.is("OPTIONS") ? "*" : "/" + path;
        }
        check(path.startsWith("/") || request.is("OPTIONS") && path.equals("*"),
                400, "an invalid target");
        var host = isAbsolute ? List.of(absolute.group(1))
                : values(request.headers(), "Host");
        if (origin.isPresent()) {
            return forwardTo(origin.get(), client, framing,
                    request.with(path, host.isEmpty()
                            ? origin.get().toString() : host.getFirst()));
        }
        var to = parseAuthority(absolute.group(2)
                + absolute.group(3).replaceFirst("^:?$", ":80"));
        checkAllowed(to);
        return forwardTo(to, client, framing,
                request.with(path, host.getFirst()));
    }

    private boolean forwardTo(Authority to, Client client, Framing framing,
            RequestHead request) throws IOException {
        requests.increment();
        var upstream = takeIdle(client, to);
        var exchange = new Exchange(client, upstream, request, framing,
                bodyOf(client.in, framing));
        client.exchange = Optional.of(exchange);
        boolean reusable = false;
        try {
            boolean stays = forward(exchange);
            client.out.flush();
            reusable = mayReuse(upstream.response,
                    exchange.body().ended() && client.joinHelper(LINGER)
                            && upstream.reason.isEmpty());
            return stays;
        } catch (IOException e) {
            throw upstream.reason.orElse(e);
        } finally {
            client.exchange = Optional.empty();
            if (reusable) {
                client.upstream = Optional.empty();
                idle.push(upstream);
            } else {
                close(upstream.socket);
            }
        }
    }

    private Connection connect(Client client, Authority to) throws IOException {
        var upstream = new Connection(to, connector.connect(to).socket());
        upstreamConnects.increment();
        client.upstream = Optional.of(upstream);
        return upstream;
    }

    /** To the first address of the name, within two seconds. */
    private static SocketChannel dial(Authority to) throws IOException {
        var address = new InetSocketAddress(
                InetAddress.getByName(to.host()), to.port());
        var channel = SocketChannel.open();
        channel.socket().connect(address, 2000);   // if it fails, it closes
        return channel;
    }

    /** The idle connection used last, or a new one. */
    private Connection takeIdle(Client client, Authority to)
            throws IOException {
        for (var upstream : idle) {
            if (upstream.peer.equals(to) && idle.remove(upstream)) {
                client.upstream = Optional.of(upstream);
                upstream.lastByte = now();
                if (upstream.isQuiet()) {
                    return upstream;
                }
                close(upstream.socket);
            }
        }
        return connect(client, to);
    }

    /** Ends what has moved no byte for too long. */
    private void reap() {
        while (!closing || !live.isEmpty()) {
            live.forEach(Client::endIfLate);
            idle.stream().filter(Connection::isIdle).filter(idle::remove)
                    .forEach(upstream -> close(upstream.socket));
            LockSupport.parkNanos(10_000_000);
        }
        idle.forEach(upstream -> close(upstream.socket));
    }

    private boolean isOver(long since, Duration limit) {
        return !limit.isZero() && now() - since >= limit.toNanos();
    }

    // Messages.

    /**
     * Reads a request head strictly: a head that another server could read in
     * another way is refused (RFC 9112 section 11.2).
     *
     * @throws HttpStatusException 400; 431 if it has more than 16 KiB; 505 if
     *         its version is not 1.x
     * @throws EOFException if the stream ends inside the head
     */
    public static RequestHead readRequest(InputStream in) throws IOException {
        var fields = new ArrayList<Header>();
        var start = REQUEST_LINE.matcher(readHead(in, fields));
        check(start.matches(), 400, "an invalid request line");
        check(start.group(3).startsWith("HTTP/1."), 505, "only HTTP/1.1");
        var request = new RequestHead(
                start.group(1), start.group(2), start.group(3), fields);
        checkHost(request);
        return request;
    }

    /** The framing rules of requests hold here, too (RFC 9112 section 6.3). */
    private static ResponseHead readResponse(InputStream in,
            RequestHead request) throws IOException {
        try {
            var fields = new ArrayList<Header>();
            var start = STATUS_LINE.matcher(readHead(in, fields));
            check(start.matches() && !start.group(2).equals("101"), 502, "");
            int status = Integer.parseInt(start.group(2));
            var framing = requestFraming(new RequestHead(
                    request.method(), "/", start.group(1), fields));
            if (request.is("HEAD") || status < 200 || status == 204
                    || status == 304) {
                framing = new Framing.None();
            } else if (framing instanceof Framing.None) {
                framing = new Framing.UntilClose();
            }
            return new ResponseHead(start.group(1), status, start.group(3),
                    fields, framing);
        } catch (HttpStatusException e) {   // it is not the client's fault
            throw new ProtocolException("an invalid response");
        }
    }

    /**
     * Reads field lines, too, and skips an empty line before the start line.
     *
     * @return the start line
     */
    private static String readHead(InputStream in, List<Header> fields)
            throws IOException {
        var start = readLine(in, MOST_HEAD);
        if (start.isEmpty()) {
            start = readLine(in, MOST_HEAD);   // RFC 9112 section 2.2
        }
        int most = MOST_HEAD - start.length();
        for (var line = readLine(in, most); !line.isEmpty();
                line = readLine(in, most)) {
            most -= line.length() + 2;
            var field = FIELD_LINE.matcher(line);
            check(field.matches(), 400, "an invalid field line");
            fields.add(new Header(field.group(1), field.group(2)));
        }
        return start;
    }

    /** CRLF alone ends a line; a lone CR or LF is refused. */
    private static String readLine(InputStream in, int most)
            throws IOException {
        var line = new StringBuilder();
        for (int next = in.read(); next != '\r'; next = in.read()) {
            if (next == -1) {
                throw new EOFException("the message is not complete");
            }
            check(next >= ' ' && next != 127 || next == '\t', 400,
                    "a control character, or a line without CR");
            check(line.length() < most, 431, "too many bytes");
            line.append((char) next);
        }
        check(in.read() == '\n', 400, "a CR without LF");
        return line.toString();
    }

    /** The field that frames the body is written here, and only here. */
    private static void writeHead(OutputStream out, String start,
            List<Header> fields, Framing framing) throws IOException {
        var head = new StringBuilder(start).append("\r\n");
        for (var field : fields) {
            if (framing instanceof Framing.None
                    || !field.name().equalsIgnoreCase("Content-Length")) {
                head.append(field.name() + ": " + field.value() + "\r\n");
            }
        }
        head.append(switch (framing) {
            case Framing.Length(long n) -> "Content-Length: " + n + "\r\n";
            case Framing.Chunked() -> "Transfer-Encoding: chunked\r\n";
            case Framing.None(), Framing.UntilClose() -> "";
        });
        out.write(latin1(head + "\r\n"));
    }

    private static Body bodyOf(InputStream in, Framing framing) {
        return switch (framing) {
            case Framing.Chunked() -> new ChunkedBody(in);
            case Framing.Length(long n) -> new Body(in, n);
            case Framing.None(), Framing.UntilClose() -> new Body(in, 0);
        };
    }

    /**
     * Decodes the chunked coding (RFC 9112 section 7.1). It is strict about
     * line ends: two servers that disagree about one disagree about where the
     * next request begins. Extensions and trailers are read and dropped.
     */
    private static final class ChunkedBody extends Body {

        private boolean begun;
        private volatile boolean ended;

        ChunkedBody(InputStream in) {
            super(in, 0);
        }

        @Override
        public int read(byte[] bytes, int offset, int count)
                throws IOException {
            try {
                if (left == 0 && !ended) {
                    nextChunk();
                }
            } catch (HttpStatusException e) {
                throw new ProtocolException(e.getMessage());
            }
            return super.read(bytes, offset, count);
        }

        private void nextChunk() throws IOException {
            if (begun) {
                readLine(in, 0);   // the line end after the last chunk
            }
            begun = true;
            var size = CHUNK_SIZE.matcher(readLine(in, 1024));
            check(size.matches(), 400, "an invalid chunk size");
            left = Long.parseLong(size.group(1), 16);
            for (int most = MOST_HEAD; left == 0 && !ended;) {
                int trailer = readLine(in, most).length();
                most -= trailer;
                ended = trailer == 0;
            }
        }

        @Override
        boolean ended() {
            return ended;
        }
    }

    // The two connections, and one exchange of messages on them.

    private class Connection {

        final Authority peer;
        final Socket socket;
        final InputStream in;
        final OutputStream out;
        volatile long lastByte = now();
        volatile Optional<IOException> reason = Optional.empty();
        ResponseHead response;   // the last one

        Connection(Authority peer, Socket socket) throws IOException {
            this.peer = peer;
            this.socket = socket;
            socket.setTcpNoDelay(true);   // what is flushed leaves at once
            socket.setSendBufferSize(256 * 1024);
            in = new BufferedInputStream(socket.getInputStream());
            out = new BufferedOutputStream(
                    socket.getOutputStream(), PIECE + 64) {
                @Override
                public void flush() throws IOException {
                    super.flush();
                    lastByte = now();
                }
            };
        }

        boolean isIdle() {
            return isOver(lastByte, options.idleTimeout());
        }

        /** Closes with a reset; what is queued is dropped. */
        void abort() {
            try (socket) {
                socket.setSoLinger(true, 0);
            } catch (IOException e) {
                // It is closed already.
            }
        }

        /** False if an idle upstream has closed, or has sent something. */
        boolean isQuiet() {
            try {
                var channel = socket.getChannel();
                channel.configureBlocking(false);
                int read = in.available() > 0
                        ? 1 : channel.read(ByteBuffer.allocate(1));
                channel.configureBlocking(true);
                return read == 0;
            } catch (IOException e) {
                return false;
            }
        }
    }

    private final class Client extends Connection {

        volatile boolean hasBegun;   // the head of a final response is out
        volatile boolean waits;      // for a request
        volatile Optional<Connection> upstream = Optional.empty();
        volatile Optional<Exchange> exchange = Optional.empty();
        Thread helper = Thread.startVirtualThread(() -> {});

        Client(Socket socket) throws IOException {
            super(new Authority("client", socket.getPort()), socket);
        }

        /** Empty at the end of what the client sends. */
        Optional<RequestHead> nextRequest() throws IOException {
            hasBegun = false;
            waits = true;
            in.mark(1);
            try {
                boolean came = !closing && in.read() != -1;
                in.reset();
                waits = false;
                lastByte = now();
                return came ? Optional.of(readRequest(in)) : Optional.empty();
            } catch (EOFException | SocketException e) {
                check(waits, 400, "the request is not complete");
                return Optional.empty();   // reset, or closed by shutdown()
            }
        }

        boolean goesOn() {
            return !closing;
        }

        /** Writes an answer of the proxy's own. */
        void write(String answer) throws IOException {
            hasBegun = true;
            out.write(latin1(answer));
            out.flush();
        }

        void refuse(HttpStatusException e) {
            refused.increment();
            lingeringClose("HTTP/1.1 " + e.status() + " " + e.getMessage()
                    + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }

        /** @return true if the helper has ended */
        boolean joinHelper(Duration limit) throws IOException {
            try {
                return helper.join(limit);
            } catch (InterruptedException e) {
                throw new InterruptedIOException("the proxy is closing");
            }
        }

        /**
         * Sends the last bytes and the end, and reads for a second or two what
         * the client still sends: a close with unread input would be a reset,
         * which can destroy what was written last (RFC 9112 section 9.6).
         */
        void lingeringClose(String last) {
            long start = System.nanoTime();
            try (socket) {
                write(last);
                socket.shutdownOutput();
                socket.setSoTimeout((int) LINGER.toMillis());
                boolean more = joinHelper(LINGER);
                while (more && System.nanoTime() - start < LINGER.toNanos()) {
                    more = in.read(new byte[PIECE]) != -1;
                }
            } catch (IOException e) {
                // It has gone, or sends nothing.
            }
        }

        /** Ends the wait for a response, or an idle connection. */
        void endIfLate() {
            var awaited = exchange.filter(e -> e.body.ended() && !hasBegun);
            if (awaited.isEmpty() && isIdle()
                    && upstream.stream().allMatch(Connection::isIdle)) {
                abort();
            }
            awaited.filter(e -> isOver(e.upstream.lastByte,
                    options.responseTimeout())).ifPresent(e ->
                    e.giveUp(new SocketTimeoutException("no response")));
        }

        /** Resets both connections. */
        @Override
        void abort() {
            super.abort();
            upstream.ifPresent(Connection::abort);
        }
    }

    /**
     * One request on its way to the upstream, and its response on the way back.
     * While the client's thread awaits the response, its helper may be sending.
     *
     * @param framing of the request, as is {@code body}
     */
    private record Exchange(Client client, Connection upstream,
            RequestHead request, Framing framing, Body body) {

        /** Always as HTTP/1.1, and with the framing that the request had. */
        void writeRequest(List<Header> fields) throws IOException {
            writeHead(upstream.out, request.method() + " " + request.target()
                    + " HTTP/1.1", fields, framing);
            upstream.out.flush();
        }

        void send() throws IOException {
            copyBody(body, upstream.out, framing);
        }

        /** Ends the wait for the response, whatever it waits for. */
        void giveUp(IOException why) {
            upstream.reason = Optional.of(why);
            upstream.abort();
        }

        /** Reads the rest of the body, and drops it. */
        void drain() {
            upstream.reason = Optional.of(new IOException("takes no more"));
            try {
                body.transferTo(OutputStream.nullOutputStream());
            } catch (IOException e) {
                upstream.abort();   // there is no client for a response
            }
        }

        /** Passes on interim responses (1xx), which HTTP/1.0 does not know. */
        ResponseHead awaitResponse() throws IOException {
            var head = readResponse(upstream.in, request);
            while (head.status() < 200) {
                if (!request.isHttp10()) {
                    writeResponse(head, head.framing());
                }
                head = readResponse(upstream.in, request);
            }
            upstream.response = head;
            return head;
        }

        /** @return true if the client may send another request */
        boolean writeResponse(ResponseHead head, Framing framing)
                throws IOException {
            boolean interim = head.status() < 200;
            boolean stays = interim || body.ended() && client.goesOn()
                    && !request.isHttp10()
                    && !(framing instanceof Framing.UntilClose)
                    && !listElements(request.headers(), "Connection")
                            .contains("close");
            var fields = new ArrayList<>(removeHopByHop(head.headers()));
            fields.removeIf(field -> (interim || head.status() == 204)
                    && field.name().equalsIgnoreCase("Content-Length"));
            fields.add(via(head.version()));
            if (!stays) {
                fields.add(new Header("Connection", "close"));
            }
            client.hasBegun = !interim;
            writeHead(client.out, "HTTP/1.1 " + head.status()
                    + head.reason(), fields, framing);
            if (interim || upstream.in.available() == 0) {
                client.out.flush();   // otherwise the body comes at once
            }
            return stays;
        }

        InputStream responseBody(ResponseHead head) {
            return head.framing() instanceof Framing.UntilClose
                    ? upstream.in : bodyOf(upstream.in, head.framing());
        }
    }

    /** Connects to a server. */
    @FunctionalInterface
    interface Connector {
        /** @throws SocketTimeoutException if the server is silent */
        SocketChannel connect(Authority to) throws IOException;
    }

    /**
     * The head of a request.
     *
     * @param version HTTP/1.0, HTTP/1.1 or a higher 1.x
     * @param headers the field lines in the order in which they came
     */
    public record RequestHead(String method, String target, String version,
            List<Header> headers) {

        boolean isHttp10() {
            return version.equals("HTTP/1.0");
        }

        boolean is(String name) {
            return method.equals(name);
        }

        /** The same request for another target, with another Host. */
        RequestHead with(String target, String host) {
            var fields = new ArrayList<>(headers);
            fields.removeIf(field -> field.name().equalsIgnoreCase("Host"));
            fields.addFirst(new Header("Host", host));
            return new RequestHead(method, target, version, fields);
        }
    }

    /** The head of a response; {@code framing} is that of its body. */
    record ResponseHead(String version, int status, String reason,
            List<Header> headers, Framing framing) {}

    /** How the end of a body is found. */
    public sealed interface Framing {

        /** There is no body. */
        record None() implements Framing {}

        /** So many bytes, zero or more. */
        record Length(long bytes) implements Framing {}

        /** Chunks, the last one of zero bytes. */
        record Chunked() implements Framing {}

        /** Everything until the connection ends; never in a request. */
        record UntilClose() implements Framing {}
    }

    /**
     * Where to connect to.
     *
     * @param host in lower case; an IPv6 address without brackets
     * @param port 1 to 65535
     */
    public record Authority(String host, int port) {
        @Override
        public String toString() {
            return (host.contains(":") ? "[" + host + "]" : host) + ":" + port;
        }
    }

    /** What is refused, or cannot be done, as a status of HTTP. */
    public static final class HttpStatusException extends IOException {
        private static final long serialVersionUID = 1;
        private final int status;

        private HttpStatusException(int status, String message) {
            super(message);
            this.status = status;
        }

        /** 400, 403, 431, 501, 502, 503, 504 or 505. */
        public int status() {
            return status;
        }
    }

    /** @throws HttpStatusException if the condition does not hold */
    private static void check(boolean condition, int status, String otherwise)
            throws HttpStatusException {
        if (!condition) {
            throw new HttpStatusException(status, otherwise);
        }
    }

    /**
     * The limits of a proxy. A Duration of zero means no limit.
     *
     * @param maxConnections  clients served at the same time, at least 1; the
     *                        next one is answered with 503
     * @param responseTimeout longest wait for the head of a response once the
     *                        request has been sent
     * @param idleTimeout     longest time in which nothing is written, neither
     *                        to a client nor to its upstream, unless a response
     *                        is awaited; also for connections kept for reuse. A
     *                        client should take 256 KiB in this time
     * @param nanoClock       for both, as {@link System#nanoTime}
     */
    public record Options(int maxConnections, Duration responseTimeout,
            Duration idleTimeout, LongSupplier nanoClock) {

        public Options {
            require(maxConnections > 0, "maxConnections", maxConnections);
            require(!responseTimeout.isNegative(), "responseTimeout",
                    responseTimeout);
            require(!idleTimeout.isNegative(), "idleTimeout", idleTimeout);
            Objects.requireNonNull(nanoClock, "nanoClock");
        }

        /** 1,000 clients, 10 s and 60 s. */
        public static Options defaults() {
            return new Options(1000, Duration.ofSeconds(10),
                    Duration.ofSeconds(60), System::nanoTime);
        }

        /** The same with another maxConnections. */
        public Options withMaxConnections(int maxConnections) {
            return new Options(
                    maxConnections, responseTimeout, idleTimeout, nanoClock);
        }

        /** The same with another responseTimeout. */
        public Options withResponseTimeout(Duration responseTimeout) {
            return new Options(
                    maxConnections, responseTimeout, idleTimeout, nanoClock);
        }

        /** The same with another idleTimeout. */
        public Options withIdleTimeout(Duration idleTimeout) {
            return new Options(
                    maxConnections, responseTimeout, idleTimeout, nanoClock);
        }

        /** The same with another nanoClock. */
        public Options withNanoClock(LongSupplier nanoClock) {
            return new Options(
                    maxConnections, responseTimeout, idleTimeout, nanoClock);
        }
    }

    /**
     * Exact while nothing is under way. {@code int}: now; {@code long}: since
     * the start.
     *
     * @param requests         requests that were to be forwarded
     * @param tunnels          CONNECT requests that became tunnels
     * @param refused          answers of the proxy's own, 4xx and 5xx
     * @param upstreamConnects connections made to upstream servers
     * @param active           clients being served
     * @param upstreamIdle     upstream connections kept for reuse
     */
    public record Stats(long requests, long tunnels, long refused,
            long upstreamConnects, int active, int upstreamIdle) {}

    private static List<String> values(List<Header> fields, String name) {
        var values = new ArrayList<String>();   // faster than a stream
        for (var field : fields) {
            if (field.name().equalsIgnoreCase(name)) {
                values.add(field.value());
            }
        }
        return values;
    }

    private static Header via(String version) {
        return new Header("Via", version.replace("HTTP/", "") + " lab408");
    }

    private static String lower(String text) {
        return text.toLowerCase(Locale.ROOT);
    }

    private static byte[] latin1(String text) {
        return text.getBytes(StandardCharsets.ISO_8859_1);
    }

    private long now() {
        return options.nanoClock().getAsLong();
    }

    private static void require(boolean valid, String name, Object value) {
        if (!valid) {
            throw new IllegalArgumentException(name + " cannot be " + value);
        }
    }

    private static void close(Closeable socket) {
        try {
            socket.close();
        } catch (IOException e) {
            // The descriptor is released all the same.
        }
    }

    // The demo: one scene for each step.

    private static final List<String> STEPS = List.of("Drop hop-by-hop fields",
            "Reject ambiguous request framing", "Forward one request",
            "Tunnel CONNECT requests", "Stream request and response bodies",
            "Answer 502 and 504 for a failing upstream",
            "Reuse upstream connections");
    private static final InetSocketAddress ANY =
            new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);

    /** No argument: the demo; {@code help} names the other commands. */
    public static void main(String[] args) throws Exception {
        Thread.setDefaultUncaughtExceptionHandler((_, e) -> died(e));
        var words = String.join(" ", args);
        var verb = Pattern.compile("(?:serve|forward) (?:(\\S+):)?(\\d{1,5})"
                + " --(?:upstream (\\S+):(\\d{1,5})"
                + "|allow ((?:[^ ,]+:\\d{1,5},?)+))")
                .matcher(words);
        boolean help = words.matches("-h|(--)?help");
        if (args.length == 0) {
            demo();
        } else if (verb.matches()) {
            serve(verb);
        } else {
            (help ? System.out : System.err).println((help ? ""
                    : "not understood: " + words + "\n") + """
                    lab-408        the demo, step by step
                    lab-408 serve [HOST:]PORT --upstream HOST:PORT
                                   a reverse proxy
                    lab-408 forward [HOST:]PORT --allow HOST:PORT,...
                                   a forward proxy, CONNECT included
                    lab-408 help   this text
                    A proxy runs until Ctrl-C or the end of standard input.""");
            System.exit(help ? 0 : 2);
        }
    }

    private static void serve(MatchResult verb) throws Exception {
        var bind = new InetSocketAddress(Objects.requireNonNullElse(
                verb.group(1), "127.0.0.1"), Integer.parseInt(verb.group(2)));
        try (var proxy = verb.group(5) == null
                ? startReverse(bind, InetSocketAddress.createUnresolved(
                        verb.group(3), Integer.parseInt(verb.group(4))),
                        Options.defaults())
                : startForward(bind, to -> List.of(lower(verb.group(5))
                        .split(",")).contains(to.toString()),
                        Options.defaults())) {
            IO.println("listening on " + shown(proxy.localAddress()));
            if (System.console() != null) {
                Thread.currentThread().join();   // until Ctrl-C
            }
            System.in.transferTo(OutputStream.nullOutputStream());
            proxy.shutdown(Duration.ZERO);
            IO.println("stats " + proxy.stats());
        } catch (IOException e) {
            System.err.println("cannot listen on " + shown(bind) + ": " + e);
            System.exit(1);
        }
    }

    private static void demo() throws Exception {
        IO.println("lab 408  Proxy server\n");
        var web = HttpServer.create(ANY, 0);
        web.createContext("/", call -> {
            var from = latin1(call.getRequestHeaders().getOrDefault(
                    "X-Forwarded-For", List.of("nobody")).toString());
            boolean chunked = call.getRequestURI().getPath().equals("/chunks");
            call.sendResponseHeaders(200, chunked ? 0 : from.length);
            call.getResponseBody().write(from);
            call.close();
        });
        web.start();
        var sent = List.of(new Header("Host", "zoo.test"),
                new Header("Connection", "X-Secret"), new Header("TE", "gzip"),
                new Header("X-Secret", "1"), new Header("Accept", "*/*"));
        try (AutoCloseable _ = () -> web.stop(0);
             var silent = new ServerSocket(0, 50, ANY.getAddress());
             var reverse = startReverse(ANY, web.getAddress(),
                     Options.defaults());
             var forward = startForward(ANY, to -> true,
                     Options.defaults().withResponseTimeout(
                             Duration.ofMillis(300)))) {
            show(1, "Connection names", ".x-secret.,.* Host Accept X-F.*",
                    listElements(sent, "Connection") + ", upstream: "
                            + addForwardingFields(removeHopByHop(sent),
                                    ANY.getAddress(), "HTTP/1.1").stream()
                                    .map(Header::name)
                                    .collect(Collectors.joining(" ")));
            show(2, "framed twice", "400 .* 0", ask(reverse, "POST /",
                    "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n")
                    + ", forwarded: " + reverse.stats().requests());
            show(3, "GET", "200 .*127.*", ask(reverse, "GET /", ""));
            show(4, "CONNECT, GET", "200 .* .nobody.", ask(forward, "CONNECT "
                    + shown(web.getAddress()), "\r\nGET / HTTP/1.0\r\n"));
            show(5, "chunks", "200 OK b .127.* 0",
                    ask(reverse, "GET /chunks", ""));
            show(6, "a silent origin", "504 .*", ask(forward,
                    "GET http://127.0.0.1:" + silent.getLocalPort(), ""));
            long before = reverse.stats().upstreamConnects();
            for (int i = 0; i < 20; i++) {
                ask(reverse, "GET /", "");
            }
            show(7, "20 requests", "[01] .*", reverse.stats().upstreamConnects()
                    - before + " new upstream connection(s)");
        }
        IO.println("\nall seven steps work");
    }

    /** The status and the body of the answer. */
    private static String ask(
            ProxyServer proxy, String request, String fields) {
        try (var socket = new Socket(ANY.getAddress(),
                proxy.localAddress().getPort())) {
            socket.setSoTimeout(3000);
            socket.getOutputStream().write(latin1(request
                    + " HTTP/1.1\r\nHost: zoo.test\r\n" + fields + "\r\n"));
            socket.shutdownOutput();
            return new String(socket.getInputStream().readAllBytes())
                    .replaceAll("(?s)HTTP/1.1 ([^\r]*).*?\r\n\r\n", "$1 ")
                    .replace("\r\n", " ").strip();
        } catch (IOException e) {
            return e.getMessage();
        }
    }

    private static String shown(InetSocketAddress address) {
        return new Authority(address.getHostString(), address.getPort())
                .toString();
    }

    private static void show(int step, String what, String expected,
            String seen) {
        IO.println("  %d  %-17s %s".formatted(step, what, seen));
        if (!seen.matches(expected)) {
            next("TODO step " + step + ": search ProxyServer.java for it");
        }
    }

    /** Any thread may meet a TODO. */
    private static void died(Throwable failure) {
        if (!String.valueOf(failure.getMessage()).startsWith("TODO step ")) {
            failure.printStackTrace();
            return;
        }
        next(failure.getMessage() + "\n  " + failure.getStackTrace()[0]);
    }

    /** Says what to do next; the first call ends the program. */
    private static synchronized void next(String todo) {
        int step = todo.charAt("TODO step ".length()) - '0';
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/ProxyServer.java";
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        IO.println("\nnext: step " + step + ", " + STEPS.get(step - 1) + "\n  "
                + todo + (isHere ? "" : "\n  in a clone of the workbook:")
                + ("\n  check  " + jbang + " test-408 " + file).stripTrailing()
                + "\n  hint   " + jbang + " hint 408 " + step);
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }
}
