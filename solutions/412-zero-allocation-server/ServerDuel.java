///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS io.netty:netty-transport:4.2.18.Final
//DEPS io.netty:netty-transport-native-epoll:4.2.18.Final:linux-x86_64
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED
//DESCRIPTION Lab 412: a convenient and a zero-allocation HTTP server

import module java.base;
import module java.logging;

import com.sun.management.ThreadMXBean;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.*;
import io.netty.channel.*;
import io.netty.channel.embedded.EmbeddedChannel;
import io.netty.channel.group.DefaultChannelGroup;
import io.netty.channel.epoll.*;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.DuplexChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.util.concurrent.GlobalEventExecutor;
import java.lang.management.ManagementFactory;

/**
 * The same small HTTP/1.1 service twice, and a measure of what a request costs.
 *
 * <p>JDK is the convenient one: {@link HttpServer} with a virtual thread for
 * each request. NETTY parses the bytes in the buffer in which they came, and
 * copies prepared bytes into a buffer that goes out. The one idea: the JVM
 * counts the bytes that each thread allocates, so what a request costs can be
 * measured (com.sun.management.ThreadMXBean).
 *
 * <p>«Zero-allocation» means that NETTY's code in this class makes no object
 * for a request, once it has warmed up. A connection has objects of its own,
 * and once a second the Date field is made.
 *
 * <p>The service: {@code GET /plaintext} and {@code GET /count}, also with
 * HEAD; {@code POST /echo} with at most 64 KiB; 404 for other paths and 405
 * for other methods (RFC 9110 sections 15.5.5 and 15.5.6). Messages: RFC 9112.
 * NETTY's limits on purpose: no chunked request (501), no percent-encoded
 * paths, no HTTP/2, no time limits.
 */
public final class ServerDuel {

    /** NETTY's limits, in bytes. */
    private static final int MAX_HEAD = 16 * 1024, MAX_BODY = 64 * 1024;

    private ServerDuel() {}

    /** Which of the two servers. */
    public enum Kind { JDK, NETTY }

    private static Running startJdk(InetSocketAddress bind)
            throws IOException {
        // or Nagle's algorithm delays each batch of responses by 40 ms
        System.setProperty("sun.net.httpserver.nodelay", "true");
        var server = HttpServer.create(bind, BACKLOG);
        var requests = new LongAdder();
        var threads = Executors.newVirtualThreadPerTaskExecutor();
        Runnable stop = () -> {
            server.stop(0);
            threads.shutdownNow();
            threads.close();
        };
        // tag::step1[] register serve() for all paths; give each exchange a thread of its own; start; return what Running needs
        server.createContext("/", exchange -> serve(exchange, requests));
        server.setExecutor(threads);
        server.start();
        return new Running(server.getAddress(), requests, stop);
        // end::step1[]
    }

    // tag::jdkServer[]
    private static void serve(HttpExchange exchange, LongAdder requests)
            throws IOException {
        // tag::step1[] count the request; respond as its Route and Method demand; at the end close the exchange, whatever happens
        try (exchange) {
            requests.increment();
            var route = Route.of(exchange.getRequestURI().getRawPath());
            if (!route.allows(Method.of(exchange.getRequestMethod()))) {
                exchange.getResponseHeaders().set("Allow", route.allow);
                respond(exchange, 405, NO_BODY);
                return;
            }
            switch (route) {
                case PLAINTEXT -> text(exchange, HELLO);
                case COUNT -> text(exchange, ascii("" + requests));
                case ECHO -> echo(exchange);
                case NOT_FOUND -> respond(exchange, 404, NO_BODY);
            }
        }
        // end::step1[]
    }

    private static void text(HttpExchange exchange, byte[] body)
            throws IOException {
        exchange.getResponseHeaders().set("Content-Type", "text/plain");
        respond(exchange, 200, body);
    }

    private static void echo(HttpExchange exchange) throws IOException {
        // tag::step1[] respond with the body of the request, or with 413 if it has more than MAX_BODY bytes
        var body = exchange.getRequestBody().readNBytes(MAX_BODY + 1);
        boolean fits = body.length <= MAX_BODY;
        respond(exchange, fits ? 200 : 413, fits ? body : NO_BODY);
        // end::step1[]
    }

    /** With Content-Length, and no body if the method is HEAD. */
    private static void respond(HttpExchange exchange, int status,
            byte[] body) throws IOException {
        // tag::step1[] set Content-Length; send the head: -1 stands for «no body»; send the body, if there is one
        exchange.getResponseHeaders().set("Content-Length", "" + body.length);
        if (body.length == 0 || exchange.getRequestMethod().equals("HEAD")) {
            exchange.sendResponseHeaders(status, -1);
        } else {
            exchange.sendResponseHeaders(status, body.length);
            exchange.getResponseBody().write(body);
        }
        // end::step1[]
    }
    // end::jdkServer[]

    /** Starts a server of this kind, measures it and closes it. */
    public static Measurement measure(Kind kind, Load load) throws Exception {
        var loopback = InetAddress.ofLiteral("127.0.0.1");
        try (var server = start(kind, new InetSocketAddress(loopback, 0))) {
            return measure(server.localAddress(), load);
        }
    }

    /**
     * Measures a server that runs in this JVM. The client is a closed loop:
     * each connection sends its next batch when the last one is answered, so
     * a slow server is asked less often (see chapter 414).
     *
     * @param address answers GET /plaintext, always with the same length
     */
    // tag::measure[]
    static Measurement measure(InetSocketAddress address, Load load)
            throws Exception {
        try (var client = new Client(load)) {
            client.connect(address);
            // tag::step2[] run the warm-up, and forget it; run the requests; bytes: what all threads of the JVM have allocated meanwhile, without what this one has, which is the client; percentiles of the sorted nanos, in microseconds
            client.run(load.warmupRequests());
            long before = THREADS.getTotalThreadAllocatedBytes()
                    - THREADS.getCurrentThreadAllocatedBytes();
            var run = client.run(load.requests());
            long bytes = THREADS.getTotalThreadAllocatedBytes()
                    - THREADS.getCurrentThreadAllocatedBytes() - before;
            Arrays.sort(run.nanos());
            return new Measurement(run.requests(),
                    run.requests() * 1e9 / run.elapsedNanos(),
                    (double) bytes / run.requests(),
                    percentile(run.nanos(), 50) / 1000,
                    percentile(run.nanos(), 99) / 1000);
            // end::step2[]
        }
    }

    /**
     * The smallest value that at least {@code percent} of them do not exceed.
     *
     * @param sorted  at least one value
     * @param percent 1 to 100
     */
    static long percentile(long[] sorted, int percent) {
        // tag::step2[] the nearest rank: percent of the length, rounded up, counted from 1
        return sorted[Math.ceilDiv(sorted.length * percent, 100) - 1];
        // end::step2[]
    }
    // end::measure[]

    /** What {@link Parser#parse} has found. */
    public enum Progress { NEED_MORE, READY, BAD }

    /** OTHER: each that the service does not know. Case-sensitive. */
    public enum Method {
        GET, HEAD, POST, OTHER;

        private static Method of(String name) {
            return Stream.of(GET, HEAD, POST).filter(
                    each -> each.name().equals(name)).findFirst().orElse(OTHER);
        }
    }

    /** Paths of the service, and what may be done with each. */
    public enum Route {
        PLAINTEXT("/plaintext", "GET, HEAD"), COUNT("/count", "GET, HEAD"),
        ECHO("/echo", "POST"), NOT_FOUND("", "");

        private final String path, allow;

        Route(String path, String allow) {
            this.path = path;
            this.allow = allow;
        }

        private static Route of(String path) {
            return Stream.of(PLAINTEXT, COUNT, ECHO).filter(each ->
                    each.path.equals(path)).findFirst().orElse(NOT_FOUND);
        }

        private boolean allows(Method method) {
            return this == NOT_FOUND || allow.contains(method.name());
        }
    }

    /**
     * Finds out byte by byte which of a few words has come, without keeping
     * the bytes. At most 32 words.
     */
    // tag::words[]
    private static final class Words {

        private final byte[][] words;
        private int candidates;   // bit i: words[i] begins with what has come
        private int length;       // how many bytes have come

        Words(String... words) {
            this.words = Stream.of(words).map(ServerDuel::ascii)
                    .toArray(byte[][]::new);
        }

        void clear() {
            candidates = -1;
            length = 0;
        }

        void add(int b) {
            // tag::step3[] words[i] is no candidate any more if it is too short, or has another byte at this place; then there is one byte more
            for (int i = 0; i < words.length; i++) {
                if (length >= words[i].length || words[i][length] != b) {
                    candidates &= ~(1 << i);
                }
            }
            length++;
            // end::step3[]
        }

        /** The index of the word that has come as a whole, or -1. */
        int match() {
            for (int i = 0; i < words.length; i++) {
                if ((candidates & 1 << i) != 0 && words[i].length == length) {
                    return i;
                }
            }
            return -1;
        }
    }
    // end::words[]

    /**
     * Parses the heads of requests, one after the other, and reads each byte
     * once. It keeps its place between calls, and allocates nothing after its
     * construction. For one thread. Strict: RFC 9112 sections 3 and 5.
     */
    public static final class Parser extends Fields {

        private final int maxHeadBytes;
        private final Words methods = new Words("GET", "HEAD", "POST"),
                paths = new Words("/plaintext", "/count", "/echo"),
                scheme = new Words("http://"),
                version = new Words("HTTP/1.");
        private int headBytes;
        private Method method = Method.OTHER;
        private Route route = Route.NOT_FOUND;

        /**
         * @param maxHeadBytes longest head, from the first byte to the empty
         *                     line
         * @param maxBodyBytes largest Content-Length, at most 2^31 - 2
         */
        public Parser(int maxHeadBytes, int maxBodyBytes) {
            need("maxHeadBytes", maxHeadBytes, 1, Integer.MAX_VALUE - 1);
            need("maxBodyBytes", maxBodyBytes, 0, Integer.MAX_VALUE - 1);
            super(maxBodyBytes);
            this.maxHeadBytes = maxHeadBytes;
        }

        /**
         * Goes on with the current head, or begins the next one after READY.
         *
         * @param in read up to the end of the head, and no further
         * @return NEED_MORE if all bytes were read and the head is not over;
         *         READY at its end; BAD if it is invalid, also in all later
         *         calls, which read nothing
         */
        // tag::parse[]
        public Progress parse(ByteBuf in) {
            // tag::step3[] begin() if the last head is over; then give each byte to requestLine() or fields(), until the head is over or bad, or no byte is left; a byte beyond maxHeadBytes is bad(414) in the request line, and bad(431) behind it
            if (state == State.END && badStatus == 0) {
                begin();
            }
            while (badStatus == 0 && state != State.END && in.isReadable()) {
                boolean inFields = state.compareTo(State.NAME) >= 0;
                int b = in.readByte() & 0xff;
                if (++headBytes > maxHeadBytes) {
                    bad(inFields ? 431 : 414);
                } else if (inFields) {
                    fields(b);
                } else {
                    requestLine(b);
                }
            }
            return badStatus != 0 ? Progress.BAD
                    : state == State.END ? Progress.READY : Progress.NEED_MORE;
            // end::step3[]
        }
        // end::parse[]

        private void requestLine(int b) {
            switch (state) {
                case METHOD -> {
                    if (b == '\r' && methods.length == 0) {
                        state = State.EMPTY_LINE;   // RFC 9112 section 2.2
                    } else {
                        method(b);
                    }
                }
                case EMPTY_LINE -> expect('\n', b, State.METHOD);
                case TARGET -> {
                    expect(b > ' ');
                    scheme.add(lower(b));   // perhaps: RFC 9112 section 3.2.2
                    if (b == '/' && scheme.length == 1) {
                        state = State.PATH;
                        paths.add(b);
                    } else if (scheme.match() == 0) {
                        state = State.AUTHORITY;
                    }
                }
                case AUTHORITY -> {
                    expect(scheme.match() < 0 || isHost(b));   // not empty
                    scheme.add(b);
                    state = b == '/' ? State.PATH : state;
                    target(b);
                }
                case PATH, QUERY -> target(b);
                case VERSION -> version(b);
                default -> expect('\n', b, State.NAME);
            }
        }

        /** A token and a space (RFC 9112 section 3.1). */
        // tag::requestLine[]
        private void method(int b) {
            // tag::step3[] the space ends the method, which has a byte at least; then state is TARGET; all other bytes are isToken()
            if (b == ' ' && methods.length > 0) {
                int match = methods.match();
                method = match < 0 ? Method.OTHER : METHODS[match];
                state = State.TARGET;
            } else {
                expect(isToken(b));
                methods.add(b);
            }
            // end::step3[]
        }

        /** Path, query and a space (RFC 9112 section 3.2). */
        private void target(int b) {
            // tag::step3[] the space ends the target and tells the route; then state is VERSION; bytes below the space and from DEL on are bad(400); a question mark begins the QUERY; the bytes of the PATH are added to paths
            if (b == ' ') {
                int match = paths.match();
                route = match < 0 ? Route.NOT_FOUND : ROUTES[match];
                state = State.VERSION;
            } else if (b < ' ' || b >= DEL) {
                bad(400);
            } else if (b == '?') {
                state = State.QUERY;
            } else if (state == State.PATH) {
                paths.add(b);
            }
            // end::step3[]
        }

        /** The version and CR (RFC 9112 section 2.3). */
        private void version(int b) {
            // tag::step3[] CR ends the version; then state is LINE_END; behind «HTTP/1.», which version.match() knows, comes a digit, the minor version: from 1 on it is 1; without it, or with another byte behind it, bad(505); all other bytes are isToken() or a slash
            if (b == '\r') {
                state = State.LINE_END;
                if (minor < 0 || version.match() < 0) {
                    bad(505);
                }
            } else if (minor < 0 && version.match() == 0 && isDigit(b)) {
                minor = Math.min(b - '0', 1);
            } else {
                expect(b == '/' || isToken(b));
                version.add(b);
            }
            // end::step3[]
        }
        // end::requestLine[]

        private void begin() {
            state = State.METHOD;
            headBytes = 0;
            methods.clear();
            paths.clear();
            scheme.clear();
            version.clear();
            beginFields();
        }

        /** After READY; undefined after NEED_MORE and BAD. */
        public Method method() {
            return method;
        }

        /** After READY: NOT_FOUND for all paths but three. */
        public Route route() {
            return route;
        }

        /** After READY: whether another request may follow. */
        public boolean keepAlive() {
            return minor == 1 && !close;
        }

        /** After READY: bytes of the body, 0 if there is none. */
        public int contentLength() {
            return (int) contentLength;
        }

        /** After BAD: 400, 413, 414, 431, 501 or 505; else 0. */
        public int badStatus() {
            return badStatus;
        }
    }

    /** For a connection of NETTY. Its methods run on the event loop. */
    private static class FastHandler
            extends ChannelInboundHandlerAdapter {

        private final LongAdder requests;
        private final Parser parser = new Parser(MAX_HEAD, MAX_BODY);
        private ByteBuf in = NOTHING;    // received, not yet read
        private ByteBuf out = NOTHING;   // responses, not yet written
        private final Body body = new Body();
        private boolean last;            // no request after this one is served
        private boolean closing;

        FastHandler(LongAdder requests) {
            this.requests = requests;
        }

        /** Serves what is in {@link #in}, and releases it when it is read. */
        // tag::serve[]
        void serve(ChannelHandlerContext ctx) {
            while (mayRespond(ctx) && !isOver() && in.isReadable()) {
                // tag::step4[] while some of a body is left, body takes them; else parse(), and then respond() or refuse() if READY or BAD
                if (body.left > 0) {
                    body.take(in, out(ctx));
                } else {
                    switch (parser.parse(in)) {
                        case READY -> respond(out(ctx));
                        case BAD -> refuse(out(ctx));
                        case NEED_MORE -> { }
                    }
                }
                // end::step4[]
            }
            if (!in.isReadable() || isOver()) {
                in.release();
                in = NOTHING;
            }
        }
        // end::serve[]

        // tag::respond[]
        private void respond(ByteBuf out) {
            // tag::step4[] count the request; note last, body.left and body.echoes; write a status line, date, CLOSE if it is the last, and what the status and the Route have behind that; no String, no object
            requests.increment();
            var route = parser.route();
            boolean allowed = route.allows(parser.method());
            boolean head = parser.method() == Method.HEAD;
            last = !parser.keepAlive();
            body.left = parser.contentLength();
            body.echoes = route == Route.ECHO && allowed;
            out.writeBytes(!allowed ? NOT_ALLOWED
                    : route == Route.NOT_FOUND ? NOT_FOUND : OK);
            out.writeBytes(date);
            if (last) {
                out.writeBytes(CLOSE);
            }
            if (!allowed) {
                out.writeBytes(route == Route.ECHO ? ALLOW_POST : ALLOW_GET);
            }
            if (!allowed || route == Route.NOT_FOUND) {
                out.writeBytes(EMPTY);
            } else if (route == Route.ECHO) {
                length(out, body.left);
            } else if (route == Route.COUNT) {
                long count = requests.sum();
                length(out.writeBytes(TEXT), digits(count));
                if (!head) {
                    writeNumber(out, count);
                }
            } else {
                length(out.writeBytes(TEXT), HELLO.length);
                out.writeBytes(HELLO, 0, head ? 0 : HELLO.length);
            }
            // end::step4[]
        }
        // end::respond[]

        /** Called at the end of each read. */
        // tag::send[]
        void send(ChannelHandlerContext ctx) {
            // tag::step4[] if out has bytes: writeAndFlush() it, with ctx.voidPromise(), which costs nothing; it is not ours any more then // until then:
            if (out.isReadable()) {
                var full = out;
                out = NOTHING;
                ctx.writeAndFlush(full, ctx.voidPromise());
            }
            // end::step4[]
            if (isOver()) {
                close(ctx);
            }
        }
        // end::send[]

        /** Whether another response may be made now. */
        boolean mayRespond(ChannelHandlerContext ctx) {
            return true;
        }

        // the rest of this class is given

        @Override
        public void channelRead(ChannelHandlerContext ctx, Object message) {
            var more = (ByteBuf) message;
            in = in == NOTHING ? more : Unpooled.wrappedBuffer(in, more);
            serve(ctx);
        }

        @Override
        public void channelReadComplete(ChannelHandlerContext ctx) {
            send(ctx);
        }

        /** {@link #out}, which is made if there is none. */
        private ByteBuf out(ChannelHandlerContext ctx) {
            out = out == NOTHING ? ctx.alloc().buffer() : out;
            return out;
        }

        int outBytes() {
            return out.readableBytes();
        }

        private boolean isOver() {
            return last && body.left == 0;
        }

        private static void length(ByteBuf out, int length) {
            out.writeBytes(LENGTH);
            writeNumber(out, length);
            out.writeBytes(END);
        }

        /** The reason phrase may be absent (RFC 9112 section 4). */
        private void refuse(ByteBuf out) {
            last = true;
            out.writeBytes(HTTP);
            writeNumber(out, parser.badStatus());
            out.writeBytes(DATE_IS).writeBytes(date).writeBytes(CLOSE)
                    .writeBytes(EMPTY);
        }

        /**
         * Closes the connection when all is sent. A client that still sends
         * would be reset and might lose the response, so the output ends
         * first, and for a second at most what comes is ignored, until the
         * client closes as well (RFC 9112 section 9.6).
         */
        private void close(ChannelHandlerContext ctx) {
            if (closing) {
                return;
            }
            closing = true;
            ctx.writeAndFlush(NOTHING).addListener(_ -> {
                if (ctx.channel() instanceof DuplexChannel socket) {
                    socket.shutdownOutput();
                    socket.config().setAutoRead(true);
                    ctx.executor().schedule(() -> ctx.close(), 1,
                            TimeUnit.SECONDS);
                } else {
                    ctx.close();
                }
            });
        }

        @Override
        public void channelInactive(ChannelHandlerContext ctx) {
            in.release();
            out.release();
            in = NOTHING;
            out = NOTHING;
        }

        @Override
        public void exceptionCaught(ChannelHandlerContext ctx, Throwable why) {
            ctx.close();
            if (!(why instanceof IOException)) {
                ctx.fireExceptionCaught(why);   // Netty logs it
            }
        }
    }

    /**
     * The part of the parser for the header section: the fields that this
     * service has to know (RFC 9112 sections 5, 6.1, 6.3 and 9.6).
     */
    private abstract static class Fields {

        State state = State.END;
        int badStatus;       // 0: no fault so far
        int minor;           // of the version; -1: not yet known
        long contentLength;  // 2^31 - 1 if it is larger
        boolean close;       // one of the options of Connection

        private final int maxBodyBytes;
        private final Words names = new Words("content-length", "connection",
                "transfer-encoding", "host");
        private final Words options = new Words("close");
        // of the current field
        private int name, valueBytes;
        private boolean valueEnded;
        // how often these fields have come so far
        private int lengths, codings, hosts;

        Fields(int maxBodyBytes) {
            this.maxBodyBytes = maxBodyBytes;
        }

        final void beginFields() {
            minor = -1;
            beginField();
            contentLength = 0;
            lengths = 0;
            codings = 0;
            hosts = 0;
            close = false;
        }

        final void fields(int b) {
            switch (state) {
                case NAME -> {
                    if (b == '\r' && names.length == 0) {
                        state = State.HEAD_END;
                    } else {
                        name(b);
                    }
                }
                case VALUE -> value(b);
                case FIELD_END -> {
                    expect('\n', b, State.NAME);
                    beginField();
                }
                default -> {
                    expect('\n', b, State.END);
                    end();
                }
            }
        }

        private void beginField() {
            names.clear();
            options.clear();
            valueBytes = 0;
            valueEnded = false;
        }

        /** A token and a colon (RFC 9112 section 5.1). */
        // tag::fields[]
        private void name(int b) {
            // tag::step5[] the colon ends the name, which has a byte at least; then state is VALUE; names.match() tells the name: count lengths, codings and hosts; a second Content-Length or Host is bad(400); all other bytes are isToken(), in lower case // until then: state = b == ':' ? State.VALUE : state;
            if (b == ':' && names.length > 0) {
                name = names.match();
                state = State.VALUE;
                switch (name) {
                    case CONTENT_LENGTH -> expect(lengths++ == 0);
                    case TRANSFER_ENCODING -> codings++;
                    case HOST -> expect(hosts++ == 0);
                    default -> { }
                }
            } else {
                expect(isToken(b));
                names.add(lower(b));
            }
            // end::step5[]
        }

        /** The value and CR; blanks around it are no part of it. */
        private void value(int b) {
            // tag::step5[] CR ends the value; then state is FIELD_END; other control characters than HTAB are bad(400); Connection is a list: endOption() behind each; Content-Length has digits, one at least, and Host isHost() bytes, with no blank between them // until then: state = b == '\r' ? State.FIELD_END : state;
            boolean blank = b == ' ' || b == '\t';
            if (b == '\r') {
                endOption();
                expect(name != CONTENT_LENGTH || valueBytes > 0);
                state = State.FIELD_END;
            } else if (b < ' ' && !blank || b == DEL) {
                bad(400);
            } else if (name == CONNECTION && (blank || b == ',')) {
                endOption();
            } else if (name == CONNECTION) {
                options.add(lower(b));
            } else if (blank) {
                valueEnded = valueBytes > 0;
            } else if (name == CONTENT_LENGTH) {
                expect(isDigit(b) && !valueEnded);
                valueBytes++;
                contentLength = Math.min(contentLength * 10 + b - '0',
                        Integer.MAX_VALUE);
            } else if (name == HOST) {
                expect(isHost(b) && !valueEnded);
                valueBytes++;
            }
            // end::step5[]
        }

        private void endOption() {
            close |= options.match() == 0;
            options.clear();
        }

        /** What can be said only at the end of the section. */
        private void end() {
            // tag::step5[] HTTP/1.1 without Host is bad(400), and so is Transfer-Encoding in HTTP/1.0 or beside Content-Length; Transfer-Encoding alone is bad(501), a contentLength beyond the limit bad(413) // until then:
            expect(minor == 0 || hosts == 1);
            expect(codings == 0 || minor == 1 && lengths == 0);
            if (codings > 0) {
                bad(501);
            } else if (contentLength > maxBodyBytes) {
                bad(413);
            }
            // end::step5[]
        }
        // end::fields[]

        final void expect(char wanted, int b, State next) {
            state = next;
            expect(b == wanted);
        }

        final void expect(boolean holds) {
            if (!holds) {
                bad(400);
            }
        }

        /** The first finding stands. */
        final void bad(int status) {
            badStatus = badStatus == 0 ? status : badStatus;
        }
    }

    /** The body of a request, which may be the body of the response, too. */
    private static final class Body {

        private int left;         // bytes to come
        private boolean echoes;

        // tag::body[]
        void take(ByteBuf in, ByteBuf out) {
            // tag::step5[] take at most «left» bytes from in: copy them to out if it echoes, or else skip them; fewer are left then // until then: left = 0;
            int count = Math.min(left, in.readableBytes());
            if (echoes) {
                out.writeBytes(in, count);
            } else {
                in.skipBytes(count);
            }
            left -= count;
            // end::step5[]
        }
        // end::body[]
    }

    /** It serves only while the client takes the responses. */
    private static final class PatientHandler extends FastHandler {

        PatientHandler(LongAdder requests) {
            super(requests);
        }

        // tag::backpressure[]
        @Override
        boolean mayRespond(ChannelHandlerContext ctx) {
            // tag::step6[] send() if MAX_OUT bytes or more wait in out, see outBytes(); then it is for the channel to say: isWritable() // until then: return true;
            if (outBytes() >= MAX_OUT) {
                send(ctx);
            }
            return ctx.channel().isWritable();
            // end::step6[]
        }

        @Override
        public void channelWritabilityChanged(ChannelHandlerContext ctx) {
            // tag::step6[] setAutoRead() to whether the channel is writable; if it is, serve what was left in in, and send // until then:
            boolean writable = ctx.channel().isWritable();
            ctx.channel().config().setAutoRead(writable);
            if (writable) {
                serve(ctx);
                send(ctx);
            }
            // end::step6[]
        }
        // end::backpressure[]
    }

    // ---- given from here on ----

    /** A handler without a server, for an EmbeddedChannel. */
    static ChannelHandler fastHandler() {
        return new PatientHandler(new LongAdder());
    }

    private static Running startNetty(InetSocketAddress bind, int socketBuffer)
            throws IOException {
        boolean epoll = Epoll.isAvailable();   // allocates less than NIO
        var group = new MultiThreadIoEventLoopGroup(
                Runtime.getRuntime().availableProcessors(),
                epoll ? EpollIoHandler.newFactory()
                        : NioIoHandler.newFactory());
        var requests = new LongAdder();
        var channels = new DefaultChannelGroup(GlobalEventExecutor.INSTANCE);
        var bootstrap = new ServerBootstrap().group(group)
                .channel(epoll ? EpollServerSocketChannel.class
                        : NioServerSocketChannel.class)
                .option(ChannelOption.SO_BACKLOG, BACKLOG)
                .childOption(ChannelOption.ALLOCATOR,
                        PooledByteBufAllocator.DEFAULT)
                .childHandler(new ChannelInitializer<Channel>() {
                    @Override
                    protected void initChannel(Channel channel) {
                        channels.add(channel);
                        channel.pipeline().addLast(
                                new PatientHandler(requests));
                    }
                });
        if (socketBuffer > 0) {
            bootstrap.option(ChannelOption.SO_RCVBUF, socketBuffer)
                    .childOption(ChannelOption.SO_SNDBUF, socketBuffer);
        }
        Runnable stop = () -> {   // channels first, or a socket may stay open
            channels.close().awaitUninterruptibly();
            group.shutdownGracefully(0, 5, TimeUnit.SECONDS)
                    .awaitUninterruptibly();
        };
        var bound = bootstrap.bind(bind).awaitUninterruptibly();
        channels.add(bound.channel());
        if (!bound.isSuccess()) {
            stop.run();
            throw new IOException("cannot bind " + bind, bound.cause());
        }
        group.next().scheduleAtFixedRate(
                () -> date = date(), 1, 1, TimeUnit.SECONDS);
        return new Running((InetSocketAddress) bound.channel().localAddress(),
                requests, stop);
    }

    /**
     * A server that listens. Thread-safe. There is no shutdown with a grace,
     * as other labs have it, because {@code HttpServer} does not tell whether
     * it has answered everybody.
     *
     * @param counter of requests
     * @param stop    what {@link #close} does
     */
    public record Running(InetSocketAddress localAddress, LongAdder counter,
            Runnable stop) implements AutoCloseable {

        /** Requests since the start whose head was valid. */
        public long requests() {
            return counter.sum();
        }

        /** Closes listener and connections and waits for the threads. */
        @Override
        public void close() {
            stop.run();
        }
    }

    /**
     * Starts a server.
     *
     * @param bind port 0 for any free one
     * @throws IOException if the address cannot be bound
     */
    public static Running start(Kind kind, InetSocketAddress bind)
            throws IOException {
        return start(kind, bind, 0);
    }

    /** @param socketBuffer of NETTY's sockets, in bytes; 0: the system's */
    static Running start(Kind kind, InetSocketAddress bind, int socketBuffer)
            throws IOException {
        return switch (kind) {
            case JDK -> startJdk(bind);
            case NETTY -> startNetty(bind, socketBuffer);
        };
    }

    /**
     * How much is asked of a server.
     *
     * @param connections    1 to 1000, all of one thread
     * @param pipeline       requests in a batch, 1 to 256; the next batch is
     *                       sent when all of it are answered
     * @param warmupRequests of all connections, before the measurement
     * @param requests       of all connections, measured; both are rounded up
     *                       to whole batches of all connections
     */
    public record Load(int connections, int pipeline, int warmupRequests,
            int requests) {

        public Load {
            need("connections", connections, 1, 1000);
            need("pipeline", pipeline, 1, 256);
            need("warmupRequests", warmupRequests, 0, Integer.MAX_VALUE);
            need("requests", requests, 1, Integer.MAX_VALUE);
        }
    }

    /**
     * What was measured.
     *
     * @param requests        that were answered
     * @param perSecond       answered requests a second
     * @param bytesPerRequest of Java objects that the server allocated
     * @param p50Micros       median time from sending a batch to the end of
     *                        its last response
     * @param p99Micros       99 of 100 batches took at most so long
     */
    public record Measurement(long requests, double perSecond,
            double bytesPerRequest, long p50Micros, long p99Micros) {}

    /** @param nanos of each batch */
    private record Run(long requests, long elapsedNanos, long[] nanos) {}

    /** A closed loop in one thread, which is that of the caller. */
    private static final class Client implements AutoCloseable {

        private final Load load;
        private final byte[] batch;
        private final List<Socket> sockets = new ArrayList<>();

        Client(Load load) {
            this.load = load;
            batch = ascii(REQUEST.repeat(load.pipeline()));
        }

        void connect(InetSocketAddress address) throws IOException {
            for (int i = 0; i < load.connections(); i++) {
                var socket = new Socket(address.getAddress(),
                        address.getPort());
                sockets.add(socket);
                socket.setTcpNoDelay(true);
                socket.setSoTimeout(10_000);
            }
        }

        /** Rounds: a batch on each connection, then all the responses. */
        Run run(int requests) throws IOException {
            int rounds = Math.ceilDiv(requests,
                    load.pipeline() * load.connections());
            var nanos = new long[rounds * sockets.size()];
            var buffer = new byte[16 * 1024];
            long begin = System.nanoTime();
            for (int done = 0; done < nanos.length; ) {
                long start = System.nanoTime();
                for (var socket : sockets) {
                    socket.getOutputStream().write(batch);
                }
                for (var socket : sockets) {
                    read(socket.getInputStream(), buffer);
                    nanos[done++] = System.nanoTime() - start;
                }
            }
            return new Run((long) nanos.length * load.pipeline(),
                    System.nanoTime() - begin, nanos);
        }

        /** A response ends with the only exclamation mark in it. */
        private void read(InputStream in, byte[] buffer) throws IOException {
            for (int left = load.pipeline(); left > 0; ) {
                int count = in.read(buffer);
                if (count < 0) {
                    throw new EOFException(left + " responses are missing");
                }
                for (int i = 0; i < count; i++) {
                    left -= buffer[i] == '!' ? 1 : 0;
                }
            }
        }

        @Override
        public void close() throws IOException {
            for (var socket : sockets) {
                socket.close();
            }
        }
    }

    /** Where a parser is; up to LINE_END in the request line. */
    private enum State { EMPTY_LINE, METHOD, TARGET, AUTHORITY, PATH, QUERY,
            VERSION, LINE_END, NAME, VALUE, FIELD_END, HEAD_END, END }

    private static final Method[] METHODS = Method.values();
    private static final Route[] ROUTES = Route.values();

    /** The Words of field names, by index. */
    private static final int CONTENT_LENGTH = 0, CONNECTION = 1,
            TRANSFER_ENCODING = 2, HOST = 3;

    private static final int BACKLOG = 1024, MAX_OUT = 32 * 1024, DEL = 127;
    private static final String REQUEST =
            "GET /plaintext HTTP/1.1\r\nHost: lab412\r\n\r\n";

    /** The JDK's own extension counts bytes, and virtual threads' too. */
    private static final ThreadMXBean THREADS =
            (ThreadMXBean) ManagementFactory.getThreadMXBean();

    private static final DateTimeFormatter DATE = DateTimeFormatter.ofPattern(
            "EEE, dd MMM uuuu HH:mm:ss 'GMT'", Locale.US);

    /** As RFC 9110 section 5.6.7 wants it; made anew each second. */
    private static volatile byte[] date = date();

    private static byte[] date() {
        return ascii(DATE.format(Instant.now().atZone(ZoneOffset.UTC)));
    }

    /** No buffer; to release it has no effect. */
    private static final ByteBuf NOTHING = Unpooled.EMPTY_BUFFER;

    // What a response consists of; the value of Date follows DATE_IS.
    private static final byte[] HTTP = ascii("HTTP/1.1 "),
            DATE_IS = ascii(" \r\nDate: "),
            OK = ascii("HTTP/1.1 200 OK\r\nDate: "),
            NOT_FOUND = ascii("HTTP/1.1 404 Not Found\r\nDate: "),
            NOT_ALLOWED = ascii("HTTP/1.1 405 Method Not Allowed\r\nDate: "),
            CLOSE = ascii("\r\nConnection: close"),
            LENGTH = ascii("\r\nContent-Length: "),
            END = ascii("\r\n\r\n"),
            EMPTY = ascii("\r\nContent-Length: 0\r\n\r\n"),
            ALLOW_GET = ascii("\r\nAllow: GET, HEAD"),
            ALLOW_POST = ascii("\r\nAllow: POST"),
            TEXT = ascii("\r\nContent-Type: text/plain"),
            HELLO = ascii("Hello, world!"), NO_BODY = {};

    private static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }

    /** Writes a number, at least 0, in digits, and makes no object. */
    private static void writeNumber(ByteBuf out, long number) {
        if (number > 9) {
            writeNumber(out, number / 10);
        }
        out.writeByte((int) ('0' + number % 10));
    }

    private static int digits(long number) {
        return number > 9 ? 1 + digits(number / 10) : 1;
    }

    private static boolean isDigit(int b) {
        return b >= '0' && b <= '9';
    }

    private static int lower(int b) {
        return b >= 'A' && b <= 'Z' ? b + ('a' - 'A') : b;
    }

    /** A byte of a token (RFC 9110 section 5.6.2). */
    private static boolean isToken(int b) {
        return isDigit(b) || lower(b) >= 'a' && lower(b) <= 'z'
                || b > ' ' && "!#$%&'*+-.^_`|~".indexOf(b) >= 0;
    }

    /** A byte of host and port (RFC 3986 section 3.2.2). */
    private static boolean isHost(int b) {
        return isDigit(b) || lower(b) >= 'a' && lower(b) <= 'z'
                || b > ' ' && "!$%&'()*+,-.:;=[]_~".indexOf(b) >= 0;
    }

    private static void need(String name, int value, int least, int most) {
        if (value < least || value > most) {
            throw new IllegalArgumentException("bad " + name + ": " + value);
        }
    }

    // The demo: one scene for each step.

    private static final List<String> STEPS = List.of(
            "Serve with the convenient API", "Measure bytes per request",
            "Parse the request line in place",
            "Respond from preallocated bytes",
            "Parse the header fields in place", "Apply backpressure");

    /** No argument: the demo; {@code serve jdk|netty [HOST:]PORT}. */
    public static void main(String[] args) throws Exception {
        var words = String.join(" ", args);
        if (args.length == 0) {
            var netty = Logger.getLogger("io.netty");
            netty.setLevel(Level.OFF);   // a TODO is told below
            try {
                demo(new InetSocketAddress(InetAddress.ofLiteral("127.0.0.1"),
                        0));
            } catch (UnsupportedOperationException todo) {
                next(todo.getMessage() + "\n  " + todo.getStackTrace()[0]);
            }
        } else if (words.matches("serve (jdk|netty) (\\S+:)?\\d{1,5}")) {
            var at = args[2].split(":(?=\\d+$)");
            var host = at.length == 1 ? "127.0.0.1" : at[0];
            var server = start(Kind.valueOf(args[1].toUpperCase(Locale.ROOT)),
                    new InetSocketAddress(host,
                            Integer.parseInt(at[at.length - 1])));
            IO.println("listening on " + host + ":"
                    + server.localAddress().getPort());
            Thread.currentThread().join();
        } else {
            boolean help = words.matches("(--)?help");
            (help ? System.out : System.err).println((help ? ""
                    : "not understood: " + words + "\n") + """
                    lab-412                               the demo
                    lab-412 serve jdk|netty [HOST:]PORT   until Ctrl-C""");
            System.exit(help ? 0 : 2);
        }
    }

    private static void demo(InetSocketAddress any) throws Exception {
        IO.println("lab 412  Zero-allocation server");
        try (var jdk = start(Kind.JDK, any);
             var in = URI.create("http:/" + jdk.localAddress() + "/plaintext")
                     .toURL().openStream()) {
            show(1, "JDK, /plaintext", new String(in.readAllBytes()), "Hello");
        }
        show(2, "JDK, for each request", told(Kind.JDK), "kB");
        var parser = new Parser(MAX_HEAD, MAX_BODY);
        var head = ascii("GET /count HTTP/1.1\r\nHost: a\r\n\r\n");
        var seen = IntStream.range(0, head.length).mapToObj(i -> "" + parser
                .parse(Unpooled.wrappedBuffer(head, i, 1))).toList();
        show(3, "a head of " + head.length + " bytes, byte by byte",
                Collections.frequency(seen, "NEED_MORE") + " x NEED_MORE, "
                        + seen.getLast() + " " + parser.route(), "READY COUNT");
        show(4, "NETTY, for each request", told(Kind.NETTY), "kB");
        var in = Unpooled.wrappedBuffer(ascii("POST /echo HTTP/1.1\r\n"
                + "Host: a\r\nContent-Length: 5\r\n\r\n"));
        long before = THREADS.getCurrentThreadAllocatedBytes();
        for (int i = 0; i < 200_000; i++) {
            parser.parse(in.readerIndex(0));
        }
        show(5, "200,000 heads, for each", "%.3f kB".formatted((THREADS
                .getCurrentThreadAllocatedBytes() - before) / 2e8), "kB");
        show(5, "Content-Length of the last one", parser.contentLength(), "5");
        var channel = new EmbeddedChannel(fastHandler());
        channel.unsafe().outboundBuffer().setUserDefinedWritability(1, false);
        channel.writeInbound(Unpooled.wrappedBuffer(head));
        show(6, "responses while it is full",
                channel.outboundMessages().size(), "0");
        channel.unsafe().outboundBuffer().setUserDefinedWritability(1, true);
        channel.runPendingTasks();
        show(6, "and when it is not full any more",
                channel.outboundMessages().size(), "1");
        IO.println("\nall six steps work");
    }

    private static String told(Kind kind) throws Exception {
        try {
            var it = measure(kind, new Load(8, 1, 5_000, 10_000));
            return "%.3f kB, %,.0f/s, 99 %% within %,d us".formatted(
                    it.bytesPerRequest() / 1000, it.perSecond(),
                    it.p99Micros());
        } catch (IOException e) {
            return e.getMessage();
        }
    }

    private static void show(int step, String what, Object seen, String part) {
        IO.println("  %d  %-32s %s".formatted(step, what, seen));
        if (!String.valueOf(seen).contains(part)) {
            next("TODO step " + step + ": search ServerDuel.java for it");
        }
    }

    private static void next(String todo) {
        int step = todo.charAt("TODO step ".length()) - '0';
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/ServerDuel.java";
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        IO.println("\nnext: step " + step + ", " + STEPS.get(step - 1) + "\n  "
                + todo + (isHere ? "" : "\n  in a clone of the workbook:")
                + ("\n  check  " + jbang + " test-412 " + file).stripTrailing()
                + "\n  hint   " + jbang + " hint 412 " + step);
        System.exit(0);
    }
}
