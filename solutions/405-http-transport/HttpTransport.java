///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:okhttp-tls:5.5.1
//DEPS com.squareup.okhttp3:mockwebserver3:5.5.1
//DESCRIPTION Lab 405: an HTTP client with an extension at every layer

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
 * Extensions of OkHttp, and a builder that registers each of them at its layer.
 *
 * <p>The one idea: the layer of an extension decides what it sees. An
 * application interceptor sees a call once. Redirects and retries turn the call
 * into several exchanges, and a network interceptor sees each of them. Name
 * resolution and sockets are below both. WebSocket calls skip network
 * interceptors, so the builder's clients refuse them.
 *
 * <p>HTTP: RFC 9110. SOCKS5: RFC 1928, and RFC 1929 for its passwords.
 */
public final class HttpTransport {

    private HttpTransport() {}

    /** Resolves names from a table. Thread-safe. */
    public static final class StaticDns implements Dns {

        private final Map<String, List<InetAddress>> table =
                new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
        private final Dns fallback;
        // guarded by this
        private final Deque<String> queries = new ArrayDeque<>();

        /**
         * @param table    a key is a name, or {@code *.suffix} for all names
         *                 below a suffix; keys are case-insensitive
         * @param fallback resolves the names that no key matches
         */
        public StaticDns(Map<String, List<InetAddress>> table, Dns fallback) {
            table.forEach((name, addresses) ->
                    this.table.put(name, List.copyOf(addresses)));
            this.fallback = Objects.requireNonNull(fallback, "fallback");
        }

        /**
         * The addresses of a name, in the order of the table: those of the
         * name itself; else those of the longest suffix that matches; else
         * what the fallback returns.
         *
         * @throws UnknownHostException if the table has an empty list for it
         */
        // tag::lookup[]
        @Override
        public List<InetAddress> lookup(String name)
                throws UnknownHostException {
            Objects.requireNonNull(name, "name");
            // tag::step1[] remember() the name, then look it up: the name, "*.suffix" for each suffix, the fallback
            remember(name);
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

        private synchronized void remember(String name) {
            queries.add(name);
            if (queries.size() > 1_000) {
                queries.remove();
            }
        }

        /** The last 1,000 names that were looked up, oldest first. */
        public synchronized List<String> queries() {
            return List.copyOf(queries);
        }
    }

    /** Registers the part of {@link Builder#dns}. */
    // tag::hookDns[]
    private static void hookDns(OkHttpClient.Builder client, Dns dns) {
        // tag::step1[] make it the Dns of the client
        client.dns(dns);
        // end::step1[]
    }
    // end::hookDns[]

    /**
     * Reports every exchange once: when its response has been read to the end
     * or closed, or when it has failed. A network interceptor.
     *
     * @param sink            is called on the thread that reads, closes or
     *                        fails; a RuntimeException of it is ignored
     * @param redactor        redacts what the log must not show
     * @param maxPreviewBytes how much of each body is kept, 0 or more
     */
    public static Interceptor logging(Consumer<Exchange> sink,
            Redactor redactor, int maxPreviewBytes) {
        Objects.requireNonNull(sink, "sink");
        Objects.requireNonNull(redactor, "redactor");
        requireRange("maxPreviewBytes", maxPreviewBytes, 0, Integer.MAX_VALUE);
        var ids = new AtomicLong();
        return chain -> new Recording(ids.incrementAndGet(),
                System.nanoTime(), chain, chain.request(), sink, redactor,
                new Tape(maxPreviewBytes), new Tape(maxPreviewBytes)).pass();
    }

    /** One exchange in progress. */
    private record Recording(long id, long start, Interceptor.Chain chain,
            Request request, Consumer<Exchange> sink, Redactor redactor,
            Tape sent, Tape received) {

        /** Proceeds with the exchange, and reports it once. */
        // tag::pass[]
        Response pass() throws IOException {
            // tag::step2[] proceed with sent.copying(), return received.copying(); report() when that is over or on a failure
            try {
                var response = chain.proceed(sent.copying(request));
                return received.copying(response, failure ->
                        report(Optional.of(response), failure));
            } catch (IOException | RuntimeException e) {
                report(Optional.empty(), Optional.of(e));
                throw e;
            }
            // end::step2[]
        }
        // end::pass[]

        /** Calls the sink, and ignores a RuntimeException of it. */
        // tag::report[]
        private void report(Optional<Response> response,
                Optional<Exception> failure) {
            // tag::step2[] make an Exchange of what is known, and pass it to the sink
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
                // A log that cannot be written must not fail the call.
            }
            // end::step2[]
        }
        // end::report[]
    }

    /** Registers the part of {@link Builder#log}. */
    // tag::hookLog[]
    private static void hookLog(OkHttpClient.Builder client, Interceptor log) {
        // tag::step2[] as application interceptor or as network interceptor?
        client.addNetworkInterceptor(log);
        // end::step2[]
    }
    // end::hookLog[]

    /**
     * Sends a bearer token (RFC 6750) to the allowed origins and to no other.
     * Thread-safe.
     */
    public static final class BearerAuth
            implements Interceptor, Authenticator {

        /** One answer of the source; compared by identity. */
        private record Token(String value) {}

        private final Set<String> allowedOrigins;
        private final Set<String> alsoStrip;
        private final TokenSource source;
        private final ReentrantLock lock = new ReentrantLock();
        // tag::step3[]
        private Token token;   // null until it is needed; guarded by lock
        // end::step3[]

        /**
         * @param allowedOrigins such as {@code https://api.lab.test:8443}; the
         *                       scheme's default port may be left out
         * @param alsoStrip      names of other headers that only the allowed
         *                       origins may receive
         * @throws IllegalArgumentException if a string is not an origin
         */
        public BearerAuth(Set<String> allowedOrigins, Set<String> alsoStrip,
                TokenSource source) {
            this.allowedOrigins = allowedOrigins.stream()
                    .map(HttpTransport::requireOrigin)
                    .collect(Collectors.toUnmodifiableSet());
            this.alsoStrip = Set.copyOf(alsoStrip);
            this.source = Objects.requireNonNull(source, "source");
        }

        /** Adds the token to a request, or removes {@code alsoStrip}. */
        // tag::intercept[]
        @Override
        public Response intercept(Interceptor.Chain chain)
                throws IOException {
            var request = chain.request();
            // tag::step3[] if origin(request.url()) is allowed add the token and tag it, else remove alsoStrip
            var changed = request.newBuilder();
            if (!allowedOrigins.contains(origin(request.url()))) {
                alsoStrip.forEach(changed::removeHeader);
            } else if (request.header("Authorization") == null) {
                var sent = token(request.tag(Token.class), chain.call());
                changed.header("Authorization", "Bearer " + sent.value())
                        .tag(Token.class, sent);
            }
            return chain.proceed(changed.build());
            // end::step3[]
        }
        // end::intercept[]

        /**
         * The request to send after a 401: the same one, tagged with the token
         * that was refused, so that {@link #intercept} refreshes it.
         *
         * @return null if the 401 goes to the caller
         */
        // tag::authenticate[]
        @Override
        public Request authenticate(Route route, Response response) {
            var request = response.request();   // as it was above intercept()
            // tag::step3[] null without a token of ours, or if one was refused before; else the tagged request
            var refused = response.networkResponse().request()
                    .tag(Token.class);
            return refused == null || request.tag(Token.class) != null ? null
                    : request.newBuilder().tag(Token.class, refused).build();
            // end::step3[]
        }
        // end::authenticate[]

        /** The current token; a new one if there is none, or it was refused. */
        // tag::token[]
        private Token token(Token refused, Call call) throws IOException {
            // tag::step3[] between lock(lock, call) and unlock(): ask the source if token is null, or is the refused one
            lock(lock, call);
            try {
                if (token == null || token == refused) {
                    token = new Token(source.token(token != null));
                }
                return token;
            } finally {
                lock.unlock();
            }
            // end::step3[]
        }
        // end::token[]
    }

    /** Registers the part of {@link Builder#auth}. */
    // tag::hookAuth[]
    private static void hookAuth(OkHttpClient.Builder client,
            BearerAuth auth) {
        // tag::step3[] it is an authenticator and an interceptor; which kind of interceptor?
        client.addNetworkInterceptor(auth).authenticator(auth);
        // end::step3[]
    }
    // end::hookAuth[]

    /**
     * Refuses a connection that does not use HTTP/2, before any byte of the
     * request is sent. A network interceptor.
     */
    // tag::http2Only[]
    public static Interceptor http2Only() {
        return chain -> {
            // tag::step4[] throw a ProtocolException unless the connection's protocol is HTTP_2 or H2_PRIOR_KNOWLEDGE
            var protocol = chain.connection().protocol();
            if (protocol != Protocol.HTTP_2
                    && protocol != Protocol.H2_PRIOR_KNOWLEDGE) {
                throw new ProtocolException(origin(chain.request().url())
                        + " uses " + protocol + ", not HTTP/2");
            }
            return chain.proceed(chain.request());
            // end::step4[]
        };
    }
    // end::http2Only[]

    /** Registers the parts of {@link Builder#http2Only}. */
    // tag::hookHttp2[]
    private static void hookHttp2(OkHttpClient.Builder client,
            Interceptor http2Only, boolean cleartext) {
        // tag::step4[] register http2Only; for cleartext set the list of protocols, because no handshake chooses one
        if (cleartext) {
            client.protocols(List.of(Protocol.H2_PRIOR_KNOWLEDGE));
        }
        client.addNetworkInterceptor(http2Only);
        // end::step4[]
    }
    // end::hookHttp2[]

    /**
     * Redacts secrets in what is logged. The values of Authorization,
     * Proxy-Authorization, Cookie and Set-Cookie are always redacted. Header
     * names are case-insensitive; names and order stay as they are.
     */
    public static final class Redactor {

        /** Replaces a secret. */
        public static final String HIDDEN = "██";

        private static final Set<String> HOLD_URLS = names(
                Set.of("Location", "Content-Location", "Referer"));
        private static final Pattern USERINFO = Pattern.compile(
                "^([\\w+.-]+:[/\\\\]*|[/\\\\]{2,})[^/\\\\?]*@");   // as OkHttp

        private final Set<String> headers;
        private final Set<String> queryNames;

        /**
         * @param headers    names of other headers with secret values
         * @param queryNames names of parameters with secret values, in the
         *                   query of a URL or in a form
         */
        public Redactor(Set<String> headers, Set<String> queryNames) {
            this.headers = names(headers);
            this.headers.addAll(List.of("Authorization",
                    "Proxy-Authorization", "Cookie", "Set-Cookie"));
            this.queryNames = names(queryNames);
        }

        /** The headers by name, in their order, without secrets. */
        // tag::headers[]
        public Map<String, List<String>> headers(Headers all) {
            var shown = byName(all);
            // tag::step5[] hide all values of the secret headers; pass those of HOLD_URLS to reference() // until then: return shown;
            shown.replaceAll((name, values) -> values.stream()
                    .map(value -> headers.contains(name) ? HIDDEN
                            : HOLD_URLS.contains(name) ? reference(value)
                            : value)
                    .toList());
            return shown;
            // end::step5[]
        }
        // end::headers[]

        /** Without userinfo and fragment, its query redacted. */
        // tag::url[]
        public String url(HttpUrl url) {
            // tag::step5[] remove userinfo and fragment; pass the query to pairs() // until then: return url.toString();
            var bare = url.newBuilder().username("").password("")
                    .query(null).fragment(null).build().toString();
            var query = url.encodedQuery();
            return query == null ? bare : bare + "?" + pairs(query);
            // end::step5[]
        }
        // end::url[]

        /** {@code a=1&token=██&b}, for a query or a form. */
        // tag::pairs[]
        private String pairs(String encoded) {
            // tag::step5[] hide the value after each secret name, which decoded() returns; change nothing else
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

        /** The URL reference in a header: absolute, relative, or malformed. */
        private String reference(String value) {
            var absolute = HttpUrl.parse(value);
            if (absolute != null) {
                return url(absolute);
            }
            var bare = USERINFO.matcher(value.replaceFirst("#.*", ""))
                    .replaceFirst("$1");
            int query = bare.indexOf('?') + 1;
            return query == 0 ? bare : bare.substring(0, query)
                    + pairs(bare.substring(query));
        }

        /** Redacts a form like a query; other text is not searched. */
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
     * RFC 1929 for the login. Reads no byte beyond the proxy's reply.
     *
     * @param in     from the proxy
     * @param out    to the proxy
     * @param target if unresolved, its name is sent to the proxy
     * @throws Socks5Exception          if the proxy refuses, closes the
     *                                  connection, or does not speak SOCKS5
     * @throws IllegalArgumentException if the name is longer than 255 bytes;
     *                                  nothing has been sent
     */
    // tag::negotiate[]
    static void negotiate(InputStream in, OutputStream out,
            InetSocketAddress target, Login login) throws IOException {
        // tag::step6[] offer the methods, log in if the proxy chooses that, send CONNECT, read the whole reply
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
        read(in, addressLength + 2);   // address and port, which are not used
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

    /** This many bytes, in however many pieces they arrive. */
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
     * Creates sockets that connect through a SOCKS5 proxy. Thread-safe.
     */
    public static final class Socks5SocketFactory extends SocketFactory {

        private final InetSocketAddress proxy;
        private final Login login;
        private final boolean remoteDns;
        private final Duration handshakeTimeout;

        /**
         * @param proxy            the proxy's address
         * @param login            {@link Login#NONE} to offer no login
         * @param remoteDns        whether the proxy receives names and resolves
         *                         them; needs {@link #socksDns}
         * @param handshakeTimeout from the start of the TCP connection to the
         *                         last byte of the reply, more than zero
         */
        public Socks5SocketFactory(InetSocketAddress proxy, Login login,
                boolean remoteDns, Duration handshakeTimeout) {
            this.proxy = Objects.requireNonNull(proxy, "proxy");
            this.login = Objects.requireNonNull(login, "login");
            this.remoteDns = remoteDns;
            if (!handshakeTimeout.isPositive()) {
                throw new IllegalArgumentException("handshakeTimeout must be "
                        + "more than zero, not " + handshakeTimeout);
            }
            this.handshakeTimeout = handshakeTimeout;
        }

        /**
         * Resolves nothing: returns for each name a placeholder, an address
         * that carries the name and that no socket connects to.
         */
        // tag::socksDns[]
        public Dns socksDns() {
            return name -> {
                // tag::step7[] one InetAddress with the name and the bytes of placeholder(name)
                return List.of(
                        InetAddress.getByAddress(name, placeholder(name)));
                // end::step7[]
            };
        }
        // end::socksDns[]

        /** What to ask the proxy for: a name, or an address. */
        // tag::target[]
        private InetSocketAddress target(InetSocketAddress endpoint)
                throws UnknownHostException {
            // tag::step7[] a placeholder or unresolved: its name, unresolved, if remoteDns; else the endpoint
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
         * @param deadline for all of it, in System.nanoTime()
         */
        // tag::tunnel[]
        private void tunnel(ProxiedSocket socket, InetSocketAddress endpoint,
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
        // end::tunnel[]

        /** Not connected; its {@code connect} goes through the proxy. */
        @Override
        public Socket createSocket() {
            return new ProxiedSocket(this);
        }

        // OkHttp creates a socket first and connects it later, so the forms
        // that do both are not offered.

        @Override
        public Socket createSocket(String host, int port) throws IOException {
            throw new SocketException("use createSocket(), then connect()");
        }

        @Override
        public Socket createSocket(InetAddress host, int port)
                throws IOException {
            return createSocket(host.getHostAddress(), port);
        }

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
    }

    /** Registers the parts of {@link Builder#socks5}. */
    // tag::hookSocks5[]
    private static void hookSocks5(OkHttpClient.Builder client,
            Socks5SocketFactory factory) {
        // tag::step7[] make it the socketFactory, with remoteDns its socksDns() the Dns, and set Proxy.NO_PROXY
        client.proxy(Proxy.NO_PROXY).socketFactory(factory);
        if (factory.remoteDns) {
            client.dns(factory.socksDns());
        }
        // end::step7[]
    }
    // end::hookSocks5[]

    // ---- given from here on ----

    /**
     * One exchange with a server, a request and its response, redacted.
     *
     * @param id       grows from exchange to exchange
     * @param status   -1 if no response came
     * @param protocol as in ALPN: {@code http/1.1}, {@code h2}
     * @param took     until the response was read to its end, or closed
     * @param failure  what was thrown, by the exchange or by a read of its body
     */
    public record Exchange(long id, String method, String url, int status,
            String protocol, Duration took,
            Map<String, List<String>> requestHeaders,
            Map<String, List<String>> responseHeaders,
            Preview requestPreview, Preview responsePreview,
            Optional<String> failure) {}

    /**
     * The beginning of a body as it was sent, compressed or not.
     *
     * @param text      the text, or the length if the bytes are not text
     * @param bytes     how many bytes have passed
     * @param truncated whether there were more than the preview holds
     */
    public record Preview(String text, long bytes, boolean truncated) {}

    /**
     * Where tokens come from. Called by one thread at a time, on the thread of
     * a call, which it must not outlast: it needs timeouts of its own, and a
     * client without the {@link BearerAuth} that waits for it.
     */
    @FunctionalInterface
    public interface TokenSource {
        /** @param refresh whether a server has refused the last token */
        String token(boolean refresh) throws IOException;
    }

    /** User and password for a proxy, each 1 to 255 bytes in UTF-8. */
    public record Login(String user, String password) {

        /** No login. */
        public static final Login NONE = new Login("", "");

        public Login {
            int least = user.isEmpty() && password.isEmpty() ? 0 : 1;
            for (var text : List.of(user, password)) {
                requireRange("bytes of user and password", text.getBytes(
                        StandardCharsets.UTF_8).length, least, 255);
            }
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

        /** The proxy closed the connection, or its answer is not SOCKS5. */
        public static final int BROKEN = -1;
        /** The proxy accepts none of the methods, or not this login. */
        public static final int NO_LOGIN = -2;

        private static final List<String> REPLIES = List.of("",
                "general failure", "not allowed by the proxy's rules",
                "network unreachable", "host unreachable",
                "connection refused by the target", "TTL expired",
                "command not supported", "address type not supported");

        private final int reply;

        Socks5Exception(int reply) {
            super("SOCKS5: " + switch (reply) {
                case BROKEN -> "the connection is closed, or not SOCKS5";
                case NO_LOGIN -> "the proxy does not accept this login";
                default -> reply > 0 && reply < REPLIES.size()
                        ? REPLIES.get(reply) : "unknown reply " + reply;
            });
            this.reply = reply;
        }

        /** The reply code, 1 to 255 (RFC 1928, section 6), or a constant. */
        public int reply() {
            return reply;
        }
    }

    /**
     * Builds a client from optional parts. A client does not change after it
     * was built.
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
         * Refuses servers that do not use HTTP/2.
         *
         * @param cleartextPriorKnowledge for {@code http} URLs only, whose
         *                                servers are known to support HTTP/2
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

        /**
         * The limit for a whole call, redirects and body included: 30 s by
         * default. Zero sets no limit, which an event stream needs.
         */
        public Builder callTimeout(Duration timeout) {
            client.callTimeout(timeout);
            return this;
        }

        public Builder tls(SSLSocketFactory sockets, X509TrustManager trust) {
            client.sslSocketFactory(sockets, trust);
            return this;
        }

        /**
         * The client. From the call to the connection its network interceptors
         * are auth, log, http2Only: so the log shows what is sent.
         *
         * @throws IllegalStateException if it has both a Dns and a proxy that
         *         resolves the names
         */
        public OkHttpClient build() {
            if (dns.isPresent() && socks5.isPresent()
                    && socks5.get().remoteDns) {
                throw new IllegalStateException(
                        "dns is not used if the proxy resolves the names");
            }
            var built = client.build().newBuilder();   // may be built twice
            dns.ifPresent(d -> hookDns(built, d));
            auth.ifPresent(a -> hookAuth(built, a));
            log.ifPresent(l -> hookLog(built, l));
            if (http2Only) {
                hookHttp2(built, HttpTransport.http2Only(), cleartext);
            }
            socks5.ifPresent(s -> hookSocks5(built, s));
            if (!built.networkInterceptors().isEmpty()) {
                built.addInterceptor(HttpTransport::refuseWebSocket);
            }
            return built.build();
        }
    }

    /** OkHttp runs no network interceptor for a WebSocket. */
    private static Response refuseWebSocket(Interceptor.Chain chain)
            throws IOException {
        var request = chain.request();
        if ("websocket".equalsIgnoreCase(request.header("Upgrade"))) {
            throw new ProtocolException("a WebSocket would skip auth, log and "
                    + "http2Only: use a client without them");
        }
        return chain.proceed(request);
    }

    /**
     * Acquires the lock, unless the call is cancelled or reaches its timeout
     * first. {@code authenticate} and {@code intercept} must not wait longer
     * than the call that they are part of.
     */
    private static void lock(ReentrantLock lock, Call call)
            throws IOException {
        if (lock.isHeldByCurrentThread()) {
            throw new IOException("a token source must not call an allowed "
                    + "origin with the client that waits for its token");
        }
        try {
            while (!lock.tryLock(10, TimeUnit.MILLISECONDS)) {
                if (call.isCanceled()) {   // by cancel() or by its timeout
                    throw new InterruptedIOException("waited for a token");
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("interrupted");
        }
    }

    /** Copies the beginning of a body while it passes. */
    private static final class Tape {
        private final int max;
        // all of it guarded by this
        private final ByteArrayOutputStream copy = new ByteArrayOutputStream();
        private long bytes;
        private Optional<MediaType> type = Optional.empty();

        Tape(int max) {
            this.max = max;
        }

        /** The request; its body is copied while it is written. */
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
         * The response; its body is copied while it is read.
         *
         * @param over called once: at the end of the body, when it is closed,
         *             or with the failure of a read
         */
        synchronized Response copying(Response response,
                Consumer<Optional<Exception>> over) {
            var body = response.body();
            type = Optional.ofNullable(body.contentType());
            var isOver = new AtomicBoolean();
            Consumer<Optional<Exception>> once = failure -> {
                if (isOver.compareAndSet(false, true)) {
                    over.accept(failure);
                }
            };
            var source = new ForwardingSource(body.source()) {
                @Override
                public long read(Buffer to, long most) throws IOException {
                    try {
                        long count = super.read(to, most);
                        if (count < 0) {
                            once.accept(Optional.empty());
                        } else {
                            record(to, to.size() - count, count);
                        }
                        return count;
                    } catch (IOException | RuntimeException e) {
                        once.accept(Optional.of(e));
                        throw e;
                    }
                }

                @Override
                public void close() throws IOException {
                    try {
                        super.close();
                    } finally {
                        once.accept(Optional.empty());
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
            var charset = type.map(t -> t.charset(StandardCharsets.UTF_8))
                    .orElse(StandardCharsets.UTF_8);
            var text = text(charset, !truncated)
                    .map(t -> redactor.body(type, t))
                    .orElse("<" + bytes + " bytes binary>");
            return new Preview(text, bytes, truncated);
        }

        /** @param whole false if the last character may be cut in two */
        private Optional<String> text(Charset charset, boolean whole) {
            var decoder = charset.newDecoder();
            var text = CharBuffer.allocate((int) Math.ceil(
                    copy.size() * (double) decoder.maxCharsPerByte()));
            var result = decoder.decode(ByteBuffer.wrap(copy.toByteArray()),
                    text, whole);
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

        /** @param timeout milliseconds; 0 leaves it to handshakeTimeout */
        @Override
        public void connect(SocketAddress endpoint, int timeout)
                throws IOException {
            long nanos = TimeUnit.NANOSECONDS.convert(factory.handshakeTimeout);
            if (timeout > 0) {
                nanos = Math.min(nanos, timeout * 1_000_000L);
            }
            int readTimeout = getSoTimeout();
            factory.tunnel(this, (InetSocketAddress) endpoint,
                    System.nanoTime() + nanos);
            setSoTimeout(readTimeout);
        }

        /** Makes the TCP connection before the deadline. */
        void connectToProxy(InetSocketAddress proxy, long deadline)
                throws IOException {
            super.connect(proxy.isUnresolved() ? new InetSocketAddress(
                    proxy.getHostString(), proxy.getPort()) : proxy,
                    millisUntil(deadline));
        }

        /** The input; no read waits beyond the deadline. */
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
     * An address for a name, different for each name: OkHttp shares an HTTP/2
     * connection between names with the same address. In 100::/64, a block for
     * addresses that are not routed on the Internet (RFC 6666).
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

    /** The lowest eight bits of each value. */
    private static byte[] bytes(int... values) {
        var bytes = new byte[values.length];
        for (int i = 0; i < values.length; i++) {
            bytes[i] = (byte) values[i];
        }
        return bytes;
    }

    /** Scheme, host and port; the port always in it (RFC 6454). */
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

    // The demo: a scene for each step, in their order.

    private static final List<String> STEPS = List.of(
            "Override name resolution", "Log every exchange",
            "Authenticate allowed origins", "Require HTTP/2", "Redact secrets",
            "Speak SOCKS5", "Connect through the proxy");
    private static final Redactor REDACTOR =
            new Redactor(Set.of("X-Api-Key"), Set.of("token"));

    /** No argument: the demo; {@code help} lists the other commands. */
    public static void main(String[] args) throws Exception {
        Logger.getLogger(MockWebServer.class.getName()).setLevel(Level.OFF);
        try {
            switch (String.join(" ", args)) {
                case "" -> demo();
                case String verb when verb.startsWith("get http") ->
                    get(args[1], List.of(args));
                default -> usage("""
                        lab-405            the demo
                        lab-405 get URL    fetches it and shows the exchanges
                            --socks HOST:PORT [--user USER --password P]
                            --http2        requires HTTP/2
                        lab-405 help       this text""", args);
            }
        } catch (UnsupportedOperationException todo) {
            next(todo);
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
        Supplier<Builder> client = () -> new Builder().dns(dns)
                .tls(tls.sslSocketFactory(), tls.trustManager());
        try (var server = server(tls);
             var proxy = new ServerSocket(0, 1, here)) {
            var host = "api.lab.test:" + server.getPort();
            var api = "https://" + host;
            IO.println("lab 405  HTTP transport");

            var found = dns.lookup("api.lab.test");
            IO.println();
            show(1, "api.lab.test is", found);

            call(client.get().log(e -> show(2, "an exchange", e.status() + " "
                    + e.url()), REDACTOR, 80), api + "/moved");

            var auth = new BearerAuth(Set.of(api), Set.of(), _ -> "invented");
            call(client.get().auth(auth).log(e -> show(3, "Authorization at "
                    + HttpUrl.get(e.url()).host(), e.requestHeaders()
                    .getOrDefault("Authorization", List.of("none"))),
                    REDACTOR, 80), api + "/moved");

            show(4, "with TLS", call(client.get().http2Only(false), api));
            show(4, "without", call(client.get().http2Only(false),
                    "http://" + host));

            show(5, "a form in the log", REDACTOR.pairs("token=invented&p=2"));
            show(5, "a URL in the log", REDACTOR.url(
                    HttpUrl.get("https://api.lab.test/?token=invented&p=2")));

            var sent = new ByteArrayOutputStream();
            negotiate(new ByteArrayInputStream(HexFormat.of().parseHex(
                    "0500" + "05000001000000000000")), sent,
                    InetSocketAddress.createUnresolved("api.lab.test", 443),
                    Login.NONE);
            show(6, "to the proxy",
                    HexFormat.of().formatHex(sent.toByteArray()));

            Thread.ofVirtual().start(() -> proxyAndServer(proxy));
            show(7, "through the proxy", call(new Builder().socks5(
                    new Socks5SocketFactory((InetSocketAddress) proxy
                            .getLocalSocketAddress(), Login.NONE, true,
                            Duration.ofSeconds(5))), "http://api.lab.test"));
        }
        IO.println("\nall seven steps work");
    }

    private static MockWebServer server(HandshakeCertificates tls)
            throws IOException {
        var server = new MockWebServer();
        server.useHttps(tls.sslSocketFactory());
        server.setDispatcher(new mockwebserver3.Dispatcher() {
            @Override
            public MockResponse dispatch(RecordedRequest request) {
                return request.getTarget().equals("/")
                        ? new MockResponse.Builder().body("hello").build()
                        : new MockResponse.Builder().code(302).setHeader(
                                "Location", "https://cdn.lab.test:"
                                        + server.getPort()).build();
            }
        });
        server.start(InetAddress.getLoopbackAddress(), 0);
        return server;
    }

    private static String call(Builder builder, String url) {
        var client = builder.build();
        try (var response = client.newCall(
                new Request.Builder().url(url).build()).execute()) {
            return response.code() + " " + response.protocol() + " "
                    + response.body().string();
        } catch (IOException e) {
            return e.getMessage();
        } finally {
            client.connectionPool().evictAll();
        }
    }

    /** Grants one connection, and then answers on it as the server. */
    private static void proxyAndServer(ServerSocket proxy) {
        try (var client = proxy.accept()) {
            var in = new DataInputStream(client.getInputStream());
            var out = client.getOutputStream();
            in.skipNBytes(3);
            out.write(bytes(5, 0));
            in.skipNBytes(4);
            show(7, "the proxy is asked for",
                    new String(in.readNBytes(in.read())));
            in.skipNBytes(2);
            out.write(bytes(5, 0, 0, 1, 0, 0, 0, 0, 0, 0));
            out.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
                    .getBytes(StandardCharsets.US_ASCII));
            in.transferTo(OutputStream.nullOutputStream());
        } catch (IOException e) {
            // The client has closed the connection.
        }
    }

    /** One call, and all its exchanges. */
    private static void get(String url, List<String> options) {
        var builder = new Builder().log(e -> IO.println(
                "%s %s\n  %d %s, %d bytes, %.1f ms: %s".formatted(e.method(),
                        e.url(), e.status(), e.protocol(),
                        e.responsePreview().bytes(), e.took().toNanos() / 1e6,
                        e.failure().orElse(e.responsePreview().text().lines()
                                .findFirst().orElse("")))), REDACTOR, 60);
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
        try (var response = builder.build().newCall(
                new Request.Builder().url(url).build()).execute()) {
            response.body().string();
        } catch (IOException e) {
            for (Throwable t = e; t != null; t = t.getCause()) {
                IO.println(t);
            }
            System.exit(1);
        }
    }

    private static String option(List<String> options, String name) {
        int at = options.indexOf(name) + 1;
        return at == 0 || at == options.size() ? "" : options.get(at);
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
