///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:okhttp-tls:5.5.1
//DEPS com.squareup.okhttp3:mockwebserver3:5.5.1
//DESCRIPTION Lab 405: an HTTP client, hooked into at every layer

import module java.base;
import module java.logging;

import java.net.Proxy;
import mockwebserver3.*;
import okhttp3.*;
import okhttp3.tls.*;
import okio.Buffer;
import okio.BufferedSink;
import okio.ForwardingSink;
import okio.ForwardingSource;
import okio.Okio;

/**
 * Parts that change what OkHttp does beneath your code, and a builder that
 * hooks each in at its layer.
 *
 * <p>The one idea: where you hook in decides what you see. A call passes the
 * application interceptors once. Redirects and retries make several exchanges
 * of it, and each of them passes the network interceptors. Names and sockets
 * are at the bottom.
 *
 * <p>HTTP: RFC 9110. SOCKS5: RFC 1928, and RFC 1929 for its passwords.
 */
public final class HttpTransport {

    private HttpTransport() {}

    /** Finds addresses in a table. For any number of threads. */
    public static final class StaticDns implements Dns {

        private final Map<String, List<InetAddress>> table =
                new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
        private final Dns fallback;
        private final List<String> queries = new CopyOnWriteArrayList<>();

        /**
         * @param table    a key is a name, or {@code *.suffix} for all names
         *                 below a suffix; upper and lower case are the same
         * @param fallback is asked for the names that no key fits
         */
        public StaticDns(Map<String, List<InetAddress>> table, Dns fallback) {
            table.forEach((name, addresses) ->
                    this.table.put(name, List.copyOf(addresses)));
            this.fallback = Objects.requireNonNull(fallback, "fallback");
        }

        /**
         * The addresses of a name, in the order of the table: those of the
         * name itself; else those of the longest suffix that fits; else what
         * the fallback knows.
         *
         * @throws UnknownHostException if the table has an empty list for it
         */
        // tag::lookup[]
        @Override
        public List<InetAddress> lookup(String name)
                throws UnknownHostException {
            Objects.requireNonNull(name, "name");
            // tag::step1[] keep the name in queries; then the table: name, "*.suffix"; then the fallback
            queries.add(name);
            var found = table.get(name);
            int dot = name.indexOf('.');
            while (found == null && dot >= 0) {
                found = table.get("*" + name.substring(dot));
                dot = name.indexOf('.', dot + 1);
            }
            if (found == null) {
                return fallback.lookup(name);
            }
            if (found.isEmpty()) {
                throw new UnknownHostException(name + " has no address here");
            }
            return found;
            // end::step1[]
        }
        // end::lookup[]

        /** Every name that was asked for, in order. */
        public List<String> queries() {
            return List.copyOf(queries);
        }
    }

    /** {@link Builder#dns}: where does it go in? */
    // tag::hookDns[]
    private static void hookDns(OkHttpClient.Builder client, Dns dns) {
        // tag::step1[] let the client ask it for addresses
        client.dns(dns);
        // end::step1[]
    }
    // end::hookDns[]

    /**
     * Tells of every exchange, when its response was read to the end, or
     * closed, or when it failed. A network interceptor.
     *
     * @param sink            is called on the thread of the call; what it
     *                        throws harms nobody
     * @param redactor        hides what the log must not show
     * @param maxPreviewBytes how much of each body is kept, 0 or more
     */
    public static Interceptor logging(Consumer<Exchange> sink,
            Redactor redactor, int maxPreviewBytes) {
        Objects.requireNonNull(sink, "sink");
        Objects.requireNonNull(redactor, "redactor");
        requireRange("maxPreviewBytes", maxPreviewBytes, 0, Integer.MAX_VALUE);
        var ids = new AtomicLong();
        return chain -> new Recording(ids.incrementAndGet(), chain, sink,
                redactor, maxPreviewBytes).pass();
    }

    /** One exchange, while it passes. */
    private static final class Recording {
        private final long start = System.nanoTime();
        private final long id;
        private final Interceptor.Chain chain;
        private final Request request;
        private final Consumer<Exchange> sink;
        private final Redactor redactor;
        private final Tape sent;
        private final Tape received;

        Recording(long id, Interceptor.Chain chain, Consumer<Exchange> sink,
                Redactor redactor, int maxPreviewBytes) {
            this.id = id;
            this.chain = chain;
            this.request = chain.request();
            this.sink = sink;
            this.redactor = redactor;
            sent = new Tape(maxPreviewBytes);
            received = new Tape(maxPreviewBytes);
        }

        /** Passes it on, and reports it once. */
        // tag::pass[]
        Response pass() throws IOException {
            // tag::step2[] proceed with sent.copying(), return received.copying(); report() at its end, or on failure
            try {
                var response = chain.proceed(sent.copying(request));
                return received.copying(response, failure ->
                        report(Optional.of(response), failure));
            } catch (IOException e) {
                report(Optional.empty(), Optional.of(e));
                throw e;
            }
            // end::step2[]
        }
        // end::pass[]

        /** Tells the sink, and lets nothing out that the sink throws. */
        // tag::report[]
        private void report(Optional<Response> response,
                Optional<IOException> failure) {
            // tag::step2[] make an Exchange of what is known, and give it to the sink
            var exchange = new Exchange(id, request.method(),
                    redactor.url(request.url()),
                    response.map(Response::code).orElse(-1),
                    chain.connection().protocol().toString(),
                    Duration.ofNanos(System.nanoTime() - start),
                    redactor.headers(request.headers()),
                    response.map(r -> redactor.headers(r.headers()))
                            .orElse(Map.of()),
                    sent.preview(redactor), received.preview(redactor),
                    failure.map(Throwable::toString));
            try {
                sink.accept(exchange);
            } catch (RuntimeException e) {
                // A log that is full must not fail a call that went well.
            }
            // end::step2[]
        }
        // end::report[]
    }

    /** {@link Builder#log}: where does it go in? */
    // tag::hookLog[]
    private static void hookLog(OkHttpClient.Builder client, Interceptor log) {
        // tag::step2[] above the redirects, or below?
        client.addNetworkInterceptor(log);
        // end::step2[]
    }
    // end::hookLog[]

    /**
     * Sends a bearer token (RFC 6750) to the origins that may have it, and to
     * nobody else. For any number of threads.
     */
    public static final class BearerAuth
            implements Interceptor, Authenticator {

        private final Set<String> allowedOrigins;
        private final Set<String> alsoStrip;
        private final TokenSource source;
        private final ReentrantLock lock = new ReentrantLock();
        // tag::step3[]
        private Optional<String> token = Optional.empty();  // guarded by lock
        // end::step3[]

        /**
         * @param allowedOrigins like {@code https://api.lab.test:8443}; the
         *                       scheme's own port may be left out
         * @param alsoStrip      names of other headers that only those origins
         *                       may see
         * @throws IllegalArgumentException if an origin is none
         */
        public BearerAuth(Set<String> allowedOrigins, Set<String> alsoStrip,
                TokenSource source) {
            this.allowedOrigins = allowedOrigins.stream()
                    .map(HttpTransport::requireOrigin)
                    .collect(Collectors.toUnmodifiableSet());
            this.alsoStrip = Set.copyOf(alsoStrip);
            this.source = Objects.requireNonNull(source, "source");
        }

        /** Adds the token to a request, or takes away what it must not say. */
        // tag::intercept[]
        @Override
        public Response intercept(Interceptor.Chain chain)
                throws IOException {
            var request = chain.request();
            // tag::step3[] is origin(request.url()) allowed? then it gets the token, else it loses alsoStrip
            var changed = request.newBuilder();
            if (!allowedOrigins.contains(origin(request.url()))) {
                alsoStrip.forEach(changed::removeHeader);
            } else if (request.header("Authorization") == null) {
                changed.header("Authorization", "Bearer " + token());
            }
            return chain.proceed(changed.build());
            // end::step3[]
        }
        // end::intercept[]

        /**
         * What to send after a 401: once more, with a fresh token.
         *
         * @return null to leave it at the 401
         */
        // tag::authenticate[]
        @Override
        public Request authenticate(Route route, Response response)
                throws IOException {
            // tag::step3[] the same request again, once; a token that another call has refreshed is fresh
            var request = response.request();    // as it was before intercept
            var before = response.priorResponse();
            if (!allowedOrigins.contains(origin(request.url()))
                    || request.header("Authorization") != null
                    || before != null && before.code() == 401) {
                return null;
            }
            refresh(response.networkResponse().request()
                    .header("Authorization"));
            return request;
            // end::step3[]
        }
        // end::authenticate[]

        // tag::step3[]
        // tag::token[]
        private String token() throws IOException {
            lock.lock();
            try {
                if (token.isEmpty()) {
                    token = Optional.of(source.token(false));
                }
                return token.get();
            } finally {
                lock.unlock();
            }
        }

        private void refresh(String refused) throws IOException {
            lock.lock();
            try {
                if (refused.equals("Bearer " + token.orElse(""))) {
                    token = Optional.of(source.token(true));
                }
            } finally {
                lock.unlock();
            }
        }
        // end::token[]
        // end::step3[]
    }

    /** {@link Builder#auth}: where does it go in? */
    // tag::hookAuth[]
    private static void hookAuth(OkHttpClient.Builder client,
            BearerAuth auth) {
        // tag::step3[] it is two things: an interceptor, above redirects or below, and an authenticator
        client.addNetworkInterceptor(auth).authenticator(auth);
        // end::step3[]
    }
    // end::hookAuth[]

    /**
     * Refuses a connection that does not speak HTTP/2, before a byte of the
     * request is sent. A network interceptor.
     */
    // tag::http2Only[]
    public static Interceptor http2Only() {
        return chain -> {
            // tag::step4[] a ProtocolException unless the connection's protocol is one of the two HTTP/2s
            var protocol = chain.connection().protocol();
            if (protocol != Protocol.HTTP_2
                    && protocol != Protocol.H2_PRIOR_KNOWLEDGE) {
                throw new ProtocolException(origin(chain.request().url())
                        + " speaks " + protocol + ", not HTTP/2");
            }
            return chain.proceed(chain.request());
            // end::step4[]
        };
    }
    // end::http2Only[]

    /** {@link Builder#http2Only}: where does it go in? */
    // tag::hookHttp2[]
    private static void hookHttp2(OkHttpClient.Builder client,
            Interceptor http2Only, boolean cleartext) {
        // tag::step4[] cleartext has no handshake to agree on a protocol: the list of protocols decides alone
        if (cleartext) {
            client.protocols(List.of(Protocol.H2_PRIOR_KNOWLEDGE));
        }
        client.addNetworkInterceptor(http2Only);
        // end::step4[]
    }
    // end::hookHttp2[]

    /**
     * Hides secrets in what is logged. The values of Authorization,
     * Proxy-Authorization, Cookie and Set-Cookie are always hidden. Names, in
     * upper or lower case, and the order of things stay.
     */
    public static final class Redactor {

        /** What stands in place of a secret. */
        public static final String HIDDEN = "██";

        private static final Set<String> HOLD_URLS = names(
                Set.of("Location", "Content-Location", "Referer"));

        private final Set<String> headers;
        private final Set<String> queryNames;

        /**
         * @param headers    names of other headers with secret values
         * @param queryNames parameters with secret values, in a URL's query or
         *                   in a form
         */
        public Redactor(Set<String> headers, Set<String> queryNames) {
            this.headers = names(headers);
            this.headers.addAll(List.of("Authorization",
                    "Proxy-Authorization", "Cookie", "Set-Cookie"));
            this.queryNames = names(queryNames);
        }

        /** The headers by name, in their order. */
        // tag::headers[]
        public Map<String, List<String>> headers(Headers all) {
            var shown = byName(all);
            // tag::step5[] all values of secret headers; those in HOLD_URLS through reference() // until then: return shown;
            shown.replaceAll((name, values) -> values.stream()
                    .map(value -> headers.contains(name) ? HIDDEN
                            : HOLD_URLS.contains(name) ? reference(value)
                            : value)
                    .toList());
            return shown;
            // end::step5[]
        }
        // end::headers[]

        /** Without userinfo and fragment, and with its query hidden. */
        // tag::url[]
        public String url(HttpUrl url) {
            // tag::step5[] no userinfo, no fragment; the query by pairs() // until then: return url.toString();
            var bare = url.newBuilder().username("").password("")
                    .query(null).fragment(null).build().toString();
            var query = url.encodedQuery();
            return query == null ? bare : bare + "?" + pairs(query);
            // end::step5[]
        }
        // end::url[]

        /** {@code a=1&token=2&b}, as in a query and in a form. */
        // tag::pairs[]
        private String pairs(String encoded) {
            // tag::step5[] hide the values of secret names, which may be encoded(); change nothing else
            return Stream.of(encoded.split("&", -1))
                    .map(this::pair).collect(Collectors.joining("&"));
            // end::step5[]
        }

        // tag::step5[]
        private String pair(String encoded) {
            int value = encoded.indexOf('=') + 1;
            boolean secret = value > 0 && queryNames.contains(
                    decoded(encoded.substring(0, value - 1)));
            return secret ? encoded.substring(0, value) + HIDDEN : encoded;
        }
        // end::step5[]
        // end::pairs[]

        /** A URL as it may stand in a header: relative, too. */
        private String reference(String value) {
            var absolute = HttpUrl.parse(value);
            if (absolute != null) {
                return url(absolute);
            }
            var bare = value.replaceFirst("#.*", "")
                    .replaceFirst("^//[^/?]*@", "//");
            int query = bare.indexOf('?') + 1;
            return query == 0 ? bare : bare.substring(0, query)
                    + pairs(bare.substring(query));
        }

        /** A form is hidden like a query, another text is not searched. */
        private String body(Optional<MediaType> type, String text) {
            return type.filter(t -> t.subtype()
                    .equals("x-www-form-urlencoded")).isPresent()
                    ? pairs(text) : text;
        }

        private static Set<String> names(Set<String> names) {
            var noCase = new TreeSet<>(String.CASE_INSENSITIVE_ORDER);
            noCase.addAll(names);
            return noCase;
        }

        private static Map<String, List<String>> byName(Headers all) {
            var byName = new LinkedHashMap<String, List<String>>();
            var seen = names(Set.of());
            for (int i = 0; i < all.size(); i++) {
                if (seen.add(all.name(i))) {   // names() would sort them
                    byName.put(all.name(i), all.values(all.name(i)));
                }
            }
            return byName;
        }

        private static String decoded(String name) {
            try {
                return URLDecoder.decode(name, StandardCharsets.UTF_8);
            } catch (IllegalArgumentException e) {
                return name;   // a percent sign that encodes nothing
            }
        }
    }

    /**
     * Asks a SOCKS5 proxy for a connection to the target: RFC 1928, and
     * RFC 1929 for the login. Reads not one byte beyond the proxy's answer.
     *
     * @param in     from the proxy
     * @param out    to the proxy
     * @param target unresolved: the proxy is given its name
     * @throws Socks5Exception          if the proxy refuses, hangs up, or does
     *                                  not speak SOCKS5
     * @throws IllegalArgumentException if the name is longer than 255 bytes;
     *                                  nothing was sent
     */
    // tag::negotiate[]
    static void negotiate(InputStream in, OutputStream out,
            InetSocketAddress target, Login login) throws IOException {
        // tag::step6[] offer methods, log in if the proxy wants it, send CONNECT, read all of its reply
        var connect = connectRequest(target);
        out.write(login.isNone() ? bytes(5, 1, 0) : bytes(5, 2, 0, 2));
        int method = read(in, 5, 2)[1] & 0xff;
        if (method == 2 && !login.isNone()) {
            logIn(in, out, login);
        } else if (method != 0) {
            throw new Socks5Exception(method == 0xff
                    ? Socks5Exception.NO_LOGIN : Socks5Exception.BROKEN);
        }
        out.write(connect);
        var reply = read(in, 5, 4);
        if (reply[1] != 0) {
            throw new Socks5Exception(reply[1] & 0xff);
        }
        int addressLength = switch (reply[3]) {
            case 1 -> 4;
            case 3 -> read(in, 1)[0] & 0xff;
            case 4 -> 16;
            default -> throw new Socks5Exception(Socks5Exception.BROKEN);
        };
        read(in, addressLength + 2);   // and the port: neither is of use here
        // end::step6[]
    }
    // end::negotiate[]

    // tag::step6[]
    // tag::connectRequest[]
    private static byte[] connectRequest(InetSocketAddress target) {
        var bytes = new ByteArrayOutputStream();
        bytes.writeBytes(bytes(5, 1, 0));
        if (target.isUnresolved()) {
            var name = target.getHostString().getBytes(StandardCharsets.UTF_8);
            requireRange("bytes of the name", name.length, 1, 255);
            bytes.writeBytes(bytes(3, name.length));
            bytes.writeBytes(name);
        } else {
            var address = target.getAddress().getAddress();
            bytes.write(address.length == 4 ? 1 : 4);
            bytes.writeBytes(address);
        }
        bytes.writeBytes(bytes(target.getPort() >> 8, target.getPort()));
        return bytes.toByteArray();
    }
    // end::connectRequest[]

    // tag::logIn[]
    private static void logIn(InputStream in, OutputStream out, Login login)
            throws IOException {
        var user = login.user().getBytes(StandardCharsets.UTF_8);
        var password = login.password().getBytes(StandardCharsets.UTF_8);
        var bytes = new ByteArrayOutputStream();
        bytes.writeBytes(bytes(1, user.length));
        bytes.writeBytes(user);
        bytes.write(password.length);
        bytes.writeBytes(password);
        out.write(bytes.toByteArray());
        if (read(in, 1, 2)[1] != 0) {
            throw new Socks5Exception(Socks5Exception.NO_LOGIN);
        }
    }
    // end::logIn[]

    // tag::read[]
    private static byte[] read(InputStream in, int version, int count)
            throws IOException {
        var bytes = read(in, count);
        if (bytes[0] != version) {
            throw new Socks5Exception(Socks5Exception.BROKEN);
        }
        return bytes;
    }

    /** So many bytes, whatever pieces they come in, and none beyond. */
    private static byte[] read(InputStream in, int count) throws IOException {
        var bytes = in.readNBytes(count);
        if (bytes.length < count) {
            throw new Socks5Exception(Socks5Exception.BROKEN);
        }
        return bytes;
    }
    // end::read[]
    // end::step6[]

    /**
     * Makes sockets that reach their targets through a SOCKS5 proxy. For any
     * number of threads.
     */
    public static final class Socks5SocketFactory extends SocketFactory {

        private final InetSocketAddress proxy;
        private final Login login;
        private final boolean remoteDns;
        private final Duration handshakeTimeout;

        /**
         * @param proxy            where it listens
         * @param login            {@link Login#NONE} where it asks for none
         * @param remoteDns        the proxy is given names, and finds their
         *                         addresses itself; goes with {@link #socksDns}
         * @param handshakeTimeout from the connect to the proxy to its last
         *                         byte, more than zero
         */
        public Socks5SocketFactory(InetSocketAddress proxy, Login login,
                boolean remoteDns, Duration handshakeTimeout) {
            this.proxy = Objects.requireNonNull(proxy, "proxy");
            this.login = Objects.requireNonNull(login, "login");
            this.remoteDns = remoteDns;
            this.handshakeTimeout =
                    requirePositive("handshakeTimeout", handshakeTimeout);
        }

        /**
         * Asks nobody: it gives each name a placeholder, an address that
         * carries the name and that nobody ever dials.
         */
        // tag::socksDns[]
        public Dns socksDns() {
            return name -> {
                // tag::step7[] one InetAddress made of the name and placeholder(name)
                return List.of(
                        InetAddress.getByAddress(name, placeholder(name)));
                // end::step7[]
            };
        }
        // end::socksDns[]

        /** What the proxy is asked for: a name, or an address. */
        // tag::target[]
        private InetSocketAddress target(InetSocketAddress endpoint)
                throws UnknownHostException {
            // tag::step7[] behind a placeholder, or unresolved: the name, unresolved, if remoteDns; else the endpoint
            boolean isName = endpoint.isUnresolved()
                    || isPlaceholder(endpoint.getAddress());
            if (isName && !remoteDns) {
                throw new UnknownHostException(endpoint.getHostString());
            }
            return isName ? InetSocketAddress.createUnresolved(
                    endpoint.getHostString(), endpoint.getPort()) : endpoint;
            // end::step7[]
        }
        // end::target[]

        /**
         * Connects a socket of this factory; closes it on any failure.
         *
         * @param deadline of all of it, in System.nanoTime()
         */
        // tag::dial[]
        private void dial(ProxiedSocket socket, InetSocketAddress endpoint,
                long deadline) throws IOException {
            // tag::step7[] connectToProxy(), then negotiate() over until(deadline); close the socket on any failure
            try {
                var target = target(endpoint);
                socket.connectToProxy(proxy, deadline);
                negotiate(socket.until(deadline), socket.getOutputStream(),
                        target, login);
            } catch (IOException | RuntimeException e) {
                socket.close();
                throw e;
            }
            // end::step7[]
        }
        // end::dial[]

        /** Unconnected: its {@code connect} goes through the proxy. */
        @Override
        public Socket createSocket() {
            return new ProxiedSocket(this);
        }

        @Override
        public Socket createSocket(String host, int port) throws IOException {
            return connected(remoteDns
                    ? InetSocketAddress.createUnresolved(host, port)
                    : new InetSocketAddress(host, port));
        }

        @Override
        public Socket createSocket(InetAddress host, int port)
                throws IOException {
            return connected(new InetSocketAddress(host, port));
        }

        /** The local end is that of the connection to the proxy. */
        @Override
        public Socket createSocket(String host, int port, InetAddress from,
                int fromPort) throws IOException {
            return createSocket(host, port);
        }

        @Override
        public Socket createSocket(InetAddress host, int port,
                InetAddress from, int fromPort) throws IOException {
            return createSocket(host, port);
        }

        private Socket connected(InetSocketAddress to) throws IOException {
            var socket = createSocket();
            socket.connect(to);
            return socket;
        }
    }

    /** {@link Builder#socks5}: where does it go in? */
    // tag::hookSocks5[]
    private static void hookSocks5(OkHttpClient.Builder client,
            Socks5SocketFactory factory) {
        // tag::step7[] it makes the sockets; with remoteDns its socksDns() answers; Proxy.NO_PROXY besides
        client.proxy(Proxy.NO_PROXY).socketFactory(factory);
        if (factory.remoteDns) {
            client.dns(factory.socksDns());
        }
        // end::step7[]
    }
    // end::hookSocks5[]

    // ---- given from here on ----

    /**
     * One exchange with a server: a request and its response. What is secret
     * is hidden.
     *
     * @param id         grows from exchange to exchange
     * @param status     -1 if no response came
     * @param protocol   as in ALPN: {@code http/1.1}, {@code h2}
     * @param took       until the response was read to its end, or closed
     * @param failure    what was thrown, also if that was in mid-response
     */
    public record Exchange(long id, String method, String url, int status,
            String protocol, Duration took,
            Map<String, List<String>> requestHeaders,
            Map<String, List<String>> responseHeaders,
            Preview requestPreview, Preview responsePreview,
            Optional<String> failure) {}

    /**
     * The beginning of a body, as it went over the wire, compressed or not.
     *
     * @param text      its text, or how long it is if it is no text
     * @param bytes     how many have passed
     * @param truncated there were more than the preview holds
     */
    public record Preview(String text, long bytes, boolean truncated) {}

    /** Where tokens come from. Asked by one thread at a time. */
    @FunctionalInterface
    public interface TokenSource {
        /**
         * A token.
         *
         * @param refresh false the first time; true when the last one was
         *                refused
         */
        String token(boolean refresh) throws IOException;
    }

    /** User and password for a proxy, each 1 to 255 bytes in UTF-8. */
    public record Login(String user, String password) {

        /** No login at all. */
        public static final Login NONE = new Login("", "");

        public Login {
            int least = user.isEmpty() && password.isEmpty() ? 0 : 1;
            requireRange("bytes of user", utf8Length(user), least, 255);
            requireRange("bytes of password", utf8Length(password), least,
                    255);
        }

        private static int utf8Length(String text) {
            return text.getBytes(StandardCharsets.UTF_8).length;
        }

        boolean isNone() {
            return user.isEmpty();
        }

        /** Without the password. */
        @Override
        public String toString() {
            return "Login[" + user + "]";
        }
    }

    /** A proxy has not made the connection. */
    public static final class Socks5Exception extends ConnectException {
        private static final long serialVersionUID = 1;

        /** The proxy hung up, or what it said is not SOCKS5. */
        public static final int BROKEN = -1;
        /** It wants another way to log in, or refuses this login. */
        public static final int NO_LOGIN = 255;

        private static final List<String> TEXTS = List.of("",
                "general failure", "not allowed by the proxy's rules",
                "network unreachable", "host unreachable",
                "connection refused by the target", "TTL expired",
                "command not supported", "address type not supported");

        private final int reply;

        Socks5Exception(int reply) {
            super("SOCKS5: " + switch (reply) {
                case BROKEN -> "the proxy hung up, or does not speak SOCKS5";
                case NO_LOGIN -> "the proxy does not accept this login";
                default -> reply > 0 && reply < TEXTS.size()
                        ? TEXTS.get(reply) : "unknown reply " + reply;
            });
            this.reply = reply;
        }

        /** The proxy's code (RFC 1928, section 6), or one of the above. */
        public int reply() {
            return reply;
        }
    }

    /**
     * Puts a client together. Each part is optional; a client that was built
     * does not change any more.
     */
    public static final class Builder {
        private Optional<Dns> dns = Optional.empty();
        private Optional<Interceptor> log = Optional.empty();
        private Optional<BearerAuth> auth = Optional.empty();
        private Optional<Socks5SocketFactory> socks5 = Optional.empty();
        private boolean http2Only;
        private boolean cleartext;
        private final OkHttpClient.Builder client = new OkHttpClient.Builder()
                .callTimeout(Duration.ofSeconds(30));   // OkHttp has none

        public Builder dns(Dns dns) {
            this.dns = Optional.of(dns);
            return this;
        }

        /** As {@link HttpTransport#logging}. */
        public Builder log(Consumer<Exchange> sink, Redactor redactor,
                int maxPreviewBytes) {
            log = Optional.of(logging(sink, redactor, maxPreviewBytes));
            return this;
        }

        public Builder auth(BearerAuth auth) {
            this.auth = Optional.of(auth);
            return this;
        }

        /**
         * Nothing but HTTP/2.
         *
         * @param cleartextPriorKnowledge for {@code http} URLs alone, whose
         *                                servers are known to speak it
         */
        public Builder http2Only(boolean cleartextPriorKnowledge) {
            http2Only = true;
            cleartext = cleartextPriorKnowledge;
            return this;
        }

        public Builder socks5(Socks5SocketFactory factory) {
            socks5 = Optional.of(factory);
            return this;
        }

        /** For the whole call, redirects and body included; 30 s if unset. */
        public Builder callTimeout(Duration timeout) {
            client.callTimeout(requirePositive("timeout", timeout));
            return this;
        }

        public Builder tls(SSLSocketFactory sockets, X509TrustManager trust) {
            client.sslSocketFactory(sockets, trust);
            return this;
        }

        /**
         * The client. Its order, from the call to the wire: authentication,
         * log, HTTP/2: so the log shows what is really sent.
         *
         * @throws IllegalStateException if it has a Dns that a proxy with
         *         remote names would never let it ask
         */
        public OkHttpClient build() {
            if (dns.isPresent() && socks5.isPresent()
                    && socks5.get().remoteDns) {
                throw new IllegalStateException(
                        "dns is never asked where the proxy gets the names");
            }
            var built = client.build().newBuilder();   // may be built twice
            dns.ifPresent(d -> hookDns(built, d));
            auth.ifPresent(a -> hookAuth(built, a));
            log.ifPresent(l -> hookLog(built, l));
            if (http2Only) {
                hookHttp2(built, HttpTransport.http2Only(), cleartext);
            }
            socks5.ifPresent(s -> hookSocks5(built, s));
            return built.build();
        }
    }

    /** Copies the beginning of a body while it passes, and holds nothing up. */
    private static final class Tape {
        private final int max;
        // all of it guarded by this
        private final ByteArrayOutputStream copy = new ByteArrayOutputStream();
        private long bytes;
        private Optional<MediaType> type = Optional.empty();

        Tape(int max) {
            this.max = max;
        }

        /** The request; its body is copied when it is written. */
        synchronized Request copying(Request request) {
            var body = request.body();
            if (body == null || body.isDuplex()) {
                return request;
            }
            type = Optional.ofNullable(body.contentType());
            return request.newBuilder()
                    .method(request.method(), copying(body)).build();
        }

        private RequestBody copying(RequestBody body) {
            return new RequestBody() {
                @Override
                public MediaType contentType() {
                    return body.contentType();
                }

                @Override
                public long contentLength() throws IOException {
                    return body.contentLength();
                }

                @Override
                public boolean isOneShot() {
                    return body.isOneShot();
                }

                @Override
                public void writeTo(BufferedSink sink) throws IOException {
                    var both = Okio.buffer(new ForwardingSink(sink) {
                        @Override
                        public void write(Buffer from, long count)
                                throws IOException {
                            record(from, 0, count);
                            super.write(from, count);
                        }
                    });
                    body.writeTo(both);
                    both.emit();
                }
            };
        }

        /**
         * The response; its body is copied when it is read.
         *
         * @param over called once: at the body's end, when it is closed, or
         *             with the failure of a read
         */
        synchronized Response copying(Response response,
                Consumer<Optional<IOException>> over) {
            var body = response.body();
            type = Optional.ofNullable(body.contentType());
            var once = new AtomicBoolean();
            Consumer<Optional<IOException>> first = failure -> {
                if (once.compareAndSet(false, true)) {
                    over.accept(failure);
                }
            };
            var source = new ForwardingSource(body.source()) {
                @Override
                public long read(Buffer to, long most) throws IOException {
                    try {
                        long count = super.read(to, most);
                        if (count < 0) {
                            first.accept(Optional.empty());
                        } else {
                            record(to, to.size() - count, count);
                        }
                        return count;
                    } catch (IOException e) {
                        first.accept(Optional.of(e));
                        throw e;
                    }
                }

                @Override
                public void close() throws IOException {
                    try {
                        super.close();
                    } finally {
                        first.accept(Optional.empty());
                    }
                }
            };
            return response.newBuilder().body(ResponseBody.create(
                    Okio.buffer(source), body.contentType(),
                    body.contentLength())).build();
        }

        private synchronized void record(Buffer from, long at, long count)
                throws IOException {
            bytes += count;
            from.copyTo(copy, at, Math.min(count, max - copy.size()));
        }

        synchronized Preview preview(Redactor redactor) {
            boolean truncated = bytes > copy.size();
            var text = text(ByteBuffer.wrap(copy.toByteArray()), !truncated)
                    .map(t -> redactor.body(type, t))
                    .orElse("<" + bytes + " bytes binary>");
            return new Preview(text, bytes, truncated);
        }

        /** @param whole false where the last character may be cut in two */
        private static Optional<String> text(ByteBuffer bytes, boolean whole) {
            var text = CharBuffer.allocate(bytes.remaining());
            var result = StandardCharsets.UTF_8.newDecoder()
                    .decode(bytes, text, whole);
            boolean isText = !result.isError() && text.flip().chars()
                    .allMatch(c -> c >= ' ' || Character.isWhitespace(c));
            return isText ? Optional.of(text.toString()) : Optional.empty();
        }
    }

    /** A socket of a {@link Socks5SocketFactory}. */
    private static final class ProxiedSocket extends Socket {
        private final Socks5SocketFactory factory;

        ProxiedSocket(Socks5SocketFactory factory) {
            super(Proxy.NO_PROXY);   // and not the system's SOCKS proxy
            this.factory = factory;
        }

        @Override
        public void connect(SocketAddress endpoint) throws IOException {
            connect(endpoint, 0);
        }

        /** @param timeout milliseconds; 0 leaves it to the factory's limit */
        @Override
        public void connect(SocketAddress endpoint, int timeout)
                throws IOException {
            var most = timeout > 0
                    ? Duration.ofMillis(timeout) : Duration.ofDays(1);
            var limit = factory.handshakeTimeout;
            long nanos = (limit.compareTo(most) < 0 ? limit : most).toNanos();
            int readTimeout = getSoTimeout();
            factory.dial(this, (InetSocketAddress) endpoint,
                    System.nanoTime() + nanos);
            setSoTimeout(readTimeout);
        }

        /** The TCP connection, made before the deadline. */
        void connectToProxy(InetSocketAddress proxy, long deadline)
                throws IOException {
            super.connect(proxy.isUnresolved() ? new InetSocketAddress(
                    proxy.getHostString(), proxy.getPort()) : proxy,
                    millisUntil(deadline));
        }

        /** What it receives; no read waits beyond the deadline. */
        InputStream until(long deadline) throws IOException {
            return new FilterInputStream(getInputStream()) {
                @Override
                public int read() throws IOException {
                    setSoTimeout(millisUntil(deadline));
                    return super.read();
                }

                @Override
                public int read(byte[] to, int from, int count)
                        throws IOException {
                    setSoTimeout(millisUntil(deadline));
                    return super.read(to, from, count);
                }
            };
        }

        private int millisUntil(long deadline) throws IOException {
            long left = deadline - System.nanoTime();
            if (left <= 0) {
                throw new SocketTimeoutException("no answer from the proxy "
                        + factory.proxy + " in time");
            }
            return (int) Math.min(Math.ceilDiv(left, 1_000_000L),
                    Integer.MAX_VALUE);
        }
    }

    /**
     * For a name of its own address: of the block 100::/64, which leads
     * nowhere (RFC 6666). Two names with one address would be one server to
     * OkHttp, which shares HTTP/2 connections by address.
     */
    private static byte[] placeholder(String name) {
        return ByteBuffer.allocate(16).putLong(0x0100L << 48)
                .putLong(UUID.nameUUIDFromBytes(name.getBytes(
                        StandardCharsets.UTF_8)).getMostSignificantBits())
                .array();
    }

    private static boolean isPlaceholder(InetAddress address) {
        return address instanceof Inet6Address && ByteBuffer
                .wrap(address.getAddress()).getLong() == 0x0100L << 48;
    }

    /** The lowest eight bits of each. */
    private static byte[] bytes(int... values) {
        var bytes = new byte[values.length];
        for (int i = 0; i < values.length; i++) {
            bytes[i] = (byte) values[i];
        }
        return bytes;
    }

    /** Scheme, host and port, the port always written out (RFC 6454). */
    private static String origin(HttpUrl url) {
        var host = url.host().contains(":")
                ? "[" + url.host() + "]" : url.host();
        return url.scheme() + "://" + host + ":" + url.port();
    }

    private static String requireOrigin(String text) {
        var url = HttpUrl.parse(text);
        if (url == null || !url.equals(url.newBuilder().username("")
                .password("").encodedPath("/").query(null).fragment(null)
                .build())) {
            throw new IllegalArgumentException("an origin is a scheme, a host"
                    + " and perhaps a port, not " + text);
        }
        return origin(url);
    }

    private static void requireRange(String name, int value, int least,
            int most) {
        if (value < least || value > most) {
            throw new IllegalArgumentException(
                    "%s must be %d to %d, not %d"
                            .formatted(name, least, most, value));
        }
    }

    private static Duration requirePositive(String name, Duration value) {
        if (!Objects.requireNonNull(value, name).isPositive()) {
            throw new IllegalArgumentException(
                    name + " must be more than zero, not " + value);
        }
        return value;
    }

    // The demo: a scene for each step, in their order.

    private static final List<String> STEPS = List.of("Choose the addresses",
            "Log every exchange", "Authenticate allowed origins",
            "Insist on HTTP/2", "Hide the secrets", "Speak SOCKS5",
            "Dial through the proxy");
    private static final Redactor REDACTOR =
            new Redactor(Set.of("X-Api-Key"), Set.of("token"));

    /** No argument: the demo; {@code help} lists what else there is. */
    public static void main(String[] args) throws Exception {
        Logger.getLogger(MockWebServer.class.getName()).setLevel(Level.OFF);
        try {
            switch (String.join(" ", args)) {
                case "" -> demo();
                case String verb when verb.startsWith("get http") ->
                    get(args[1], List.of(args));
                default -> usage("""
                        lab-405            the demo
                        lab-405 get URL    fetches it, and shows the exchanges
                            --socks HOST:PORT [--user USER --password P]
                            --http2        nothing else
                        lab-405 help       this text""", args);
            }
        } catch (UnsupportedOperationException todo) {
            next(todo);
        } catch (IllegalArgumentException wrong) {
            if (args.length == 0) {
                throw wrong;
            }
            System.err.println(wrong.getMessage());
            System.exit(2);
        }
    }

    private static void demo() throws Exception {
        var own = new HeldCertificate.Builder()
                .addSubjectAlternativeName("*.lab.test").build();
        var tls = new HandshakeCertificates.Builder().heldCertificate(own)
                .addTrustedCertificate(own.certificate()).build();
        var here = InetAddress.getLoopbackAddress();
        var dns = new StaticDns(Map.of("*.lab.test", List.of(here)),
                Dns.SYSTEM);
        try (var server = server(tls, true); var old = server(tls, false);
             var proxy = new ServerSocket(0, 1, here)) {
            int port = server.getPort();
            IO.println("lab 405  HTTP transport");

            var found = dns.lookup("shop.lab.test");
            IO.println();
            show(1, "*.lab.test is", found);
            call(client(tls).dns(dns), "api.lab.test", port, "/hello");
            show(1, "the table was asked for", dns.queries());

            call(client(tls).dns(dns).log(e -> show(2, "an exchange",
                    e.status() + " " + e.url()), REDACTOR, 80),
                    "api.lab.test", port, "/moved");

            var auth = new BearerAuth(Set.of("https://api.lab.test:" + port),
                    Set.of(), _ -> "invented");
            call(client(tls).dns(dns).auth(auth).log(e -> show(3,
                    "Authorization at " + HttpUrl.get(e.url()).host(),
                    e.requestHeaders().getOrDefault("Authorization",
                            List.of("none"))), REDACTOR, 80),
                    "api.lab.test", port, "/moved");

            show(4, "a server of today", call(client(tls).dns(dns)
                    .http2Only(false), "api.lab.test", port, "/hello"));
            show(4, "one of yesterday", call(client(tls).dns(dns)
                    .http2Only(false), "old.lab.test", old.getPort(), "/"));
            show(4, "requests it has seen", old.getRequestCount());

            show(5, "a form in the log",
                    REDACTOR.pairs("customer=anna&token=invented"));
            call(client(tls).dns(dns).log(e -> show(5, "a URL in the log",
                    e.url()), REDACTOR, 80),
                    "api.lab.test", port, "/hello?token=invented&page=2");

            var sent = new ByteArrayOutputStream();
            negotiate(new ByteArrayInputStream(HexFormat.of().parseHex(
                    "0500" + "05000001000000000000")), sent,
                    InetSocketAddress.createUnresolved("api.lab.test", 443),
                    Login.NONE);
            show(6, "to the proxy", HexFormat.of().formatHex(
                    sent.toByteArray()));

            Thread.ofVirtual().start(() -> serveOnce(proxy));
            show(7, "through the proxy", call(client(tls).http2Only(false)
                    .socks5(new Socks5SocketFactory((InetSocketAddress)
                            proxy.getLocalSocketAddress(), Login.NONE, true,
                            Duration.ofSeconds(5))),
                    "api.lab.test", port, "/hello"));
        }
        IO.println("\nall seven steps at work");
    }

    private static Builder client(HandshakeCertificates tls) {
        return new Builder()
                .tls(tls.sslSocketFactory(), tls.trustManager());
    }

    private static MockWebServer server(HandshakeCertificates tls,
            boolean http2) throws IOException {
        var server = new MockWebServer();
        server.useHttps(tls.sslSocketFactory());
        server.setProtocolNegotiationEnabled(http2);
        server.setDispatcher(new mockwebserver3.Dispatcher() {
            @Override
            public MockResponse dispatch(RecordedRequest request) {
                var answer = new MockResponse.Builder().body("hello");
                return request.getTarget().equals("/moved")
                        ? answer.code(302).setHeader("Location",
                                "https://cdn.lab.test:" + server.getPort()
                                        + "/hello").build()
                        : answer.build();
            }
        });
        server.start(InetAddress.getLoopbackAddress(), 0);
        return server;
    }

    /** What came back, in short. */
    private static String call(Builder builder, String host, int port,
            String path) {
        var client = builder.build();
        var request = new Request.Builder()
                .url("https://" + host + ":" + port + path).build();
        try (var response = client.newCall(request).execute()) {
            return response.code() + " " + response.protocol() + " "
                    + response.body().string();
        } catch (IOException e) {
            return e.getMessage();
        } finally {
            client.connectionPool().evictAll();
        }
    }

    /** A SOCKS5 proxy for one connection, to a port of this machine. */
    private static void serveOnce(ServerSocket proxy) {
        try (var client = proxy.accept()) {
            var in = new DataInputStream(client.getInputStream());
            in.skipNBytes(3);
            client.getOutputStream().write(new byte[] {5, 0});
            in.skipNBytes(4);
            var name = new String(in.readNBytes(in.read()));
            show(7, "the proxy is asked for", name);
            try (var server = new Socket(proxy.getInetAddress(),
                    in.readUnsignedShort())) {
                client.getOutputStream().write(
                        new byte[] {5, 0, 0, 1, 0, 0, 0, 0, 0, 0});
                Thread.ofVirtual().start(() -> relay(server, client));
                relay(client, server);
            }
        } catch (IOException e) {
            // The scene is over.
        }
    }

    private static void relay(Socket from, Socket to) {
        try {
            from.getInputStream().transferTo(to.getOutputStream());
        } catch (IOException e) {
            // One of them is closed, and soon the other.
        }
    }

    /** One call, and all its exchanges. */
    private static void get(String url, List<String> options)
            throws IOException {
        var builder = new Builder().log(HttpTransport::show, REDACTOR, 60);
        if (options.contains("--http2")) {
            builder.http2Only(url.startsWith("http:"));
        }
        if (options.contains("--socks")) {
            var proxy = HttpUrl.get("http://" + option(options, "--socks"));
            builder.socks5(new Socks5SocketFactory(
                    new InetSocketAddress(proxy.host(), proxy.port()),
                    new Login(option(options, "--user"),
                            option(options, "--password")), true,
                    Duration.ofSeconds(10)));
        }
        var client = builder.build();
        try (var response = client.newCall(
                new Request.Builder().url(url).build()).execute()) {
            response.body().string();
        } catch (IOException e) {
            for (Throwable t = e; t != null; t = t.getCause()) {
                var text = t.getMessage() == null ? "" : ": " + t.getMessage();
                IO.println(t.getClass().getSimpleName() + text);
            }
            System.exit(1);
        }
    }

    private static String option(List<String> options, String name) {
        int at = options.indexOf(name) + 1;
        return at == 0 || at == options.size() ? "" : options.get(at);
    }

    private static void show(Exchange exchange) {
        IO.println("%s %s\n  %d %s, %d bytes, %.1f ms: %s".formatted(
                exchange.method(), exchange.url(), exchange.status(),
                exchange.protocol(), exchange.responsePreview().bytes(),
                exchange.took().toNanos() / 1e6, exchange.failure().orElse(
                        exchange.responsePreview().text().lines()
                                .findFirst().orElse(""))));
    }

    private static void show(int step, String what, Object seen) {
        var text = seen.toString().replaceFirst("(test):\\d+", "$1");
        IO.println("  %d  %-30s %s".formatted(step, what, text));
    }

    private static void next(UnsupportedOperationException todo) {
        var text = String.valueOf(todo.getMessage());
        if (!text.matches("TODO step [1-7]: .*")) {
            throw todo;
        }
        int step = text.charAt("TODO step ".length()) - '0';
        var place = todo.getStackTrace()[0];
        IO.println("""

                next: step %d, %s
                  %s
                  %s, line %d
                  %s""".formatted(step, STEPS.get(step - 1),
                text, place.getFileName(), place.getLineNumber(),
                commands(step)));
    }

    /** What to type next; the workbook's launcher says how. */
    private static String commands(int step) {
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/HttpTransport.java";
        return (isHere ? "" : "in a clone of the workbook:\n  ")
                + "check  %s test-405 %s".formatted(jbang, file).strip()
                + "\n  hint   %s hint 405 %d".formatted(jbang, step);
    }

    /** What was typed is wrong, unless it was help. */
    private static void usage(String text, String... typed) {
        var words = String.join(" ", typed);
        if (words.matches("-h|(--)?help")) {
            IO.println(text);
            return;
        }
        System.err.println("not understood: " + words + "\n" + text);
        System.exit(2);
    }
}
