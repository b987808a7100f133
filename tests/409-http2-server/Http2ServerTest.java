///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS io.netty:netty-codec-http2:4.2.18.Final
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:okhttp-tls:5.5.1
//SOURCES ../../labs/409-http2-server/Http2Server.java
//SOURCES ../kit/*.java

import static kit.Http2Peer.*;
import static kit.TestLifecycle.closeLater;

import module java.base;
import module java.net.http;

import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http2.DefaultHttp2Headers;
import io.netty.handler.codec.http2.DefaultHttp2HeadersFrame;
import io.netty.handler.codec.http2.Http2FrameCodecBuilder;
import io.netty.handler.codec.http2.Http2MultiplexHandler;
import io.netty.handler.ssl.SslHandler;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLHandshakeException;
import javax.net.ssl.SSLSocket;
import kit.Await;
import kit.Check;
import kit.Http2Peer;
import kit.Lab;
import kit.PendingCall;
import kit.Step;
import okhttp3.OkHttpClient;
import okhttp3.Protocol;
import okhttp3.tls.HandshakeCertificates;
import okhttp3.tls.HeldCertificate;
import org.junit.jupiter.api.Test;

/**
 * Lab 409, step by step. Most clients are frames that the test writes; OkHttp
 * and the JDK's client speak to the server, too. «Nothing is sent» is told by
 * two PINGs: what the server had to send before is there when it has answered.
 * A comment {@code rejects:} names the wrong solutions that a test is there
 * for.
 */
@Lab
class Http2ServerTest {

    private static final InetSocketAddress ANY =
            new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
    private static final Http2Server.Options USUAL =
            Http2Server.Options.defaults();
    private static final int NO_ERROR = 0, PROTOCOL_ERROR = 1,
            INTERNAL_ERROR = 2, FLOW_CONTROL_ERROR = 3, REFUSED_STREAM = 7,
            CANCEL = 8;
    private static final int MOST = Integer.MAX_VALUE;
    private static final int WINDOW = 4;   // SETTINGS_INITIAL_WINDOW_SIZE
    private static final HeldCertificate HELD = new HeldCertificate.Builder()
            .addSubjectAlternativeName("localhost").build();
    private static final SSLContext TLS = new HandshakeCertificates.Builder()
            .heldCertificate(HELD).build().sslContext();
    private static final HandshakeCertificates TRUST =
            new HandshakeCertificates.Builder()
                    .addTrustedCertificate(HELD.certificate()).build();

    /** A call over TLS: Netty and the clients are loaded before the tests. */
    public static final class WarmUp implements Runnable {

        @Override
        public void run() {
            var loops = new MultiThreadIoEventLoopGroup(1,
                    NioIoHandler.newFactory());
            try {
                var server = new ServerBootstrap().group(loops)
                        .channel(NioServerSocketChannel.class)
                        .childHandler(new Hello()).bind(ANY).sync().channel();
                var request = new okhttp3.Request.Builder().url(
                        "https://localhost:" + ((InetSocketAddress) server
                                .localAddress()).getPort()).build();
                var client = new OkHttpClient.Builder().sslSocketFactory(
                        TRUST.sslSocketFactory(), TRUST.trustManager())
                        .build();
                client.newCall(request).execute().close();
                client.connectionPool().evictAll();
                try (var jdk = HttpClient.newBuilder().sslContext(
                        TRUST.sslContext()).build()) {
                    jdk.send(HttpRequest.newBuilder(request.url().uri())
                            .build(), HttpResponse.BodyHandlers.ofString());
                }
            } catch (IOException | InterruptedException e) {
                throw new IllegalStateException(e);
            } finally {
                loops.shutdownGracefully(0, 1, TimeUnit.SECONDS);
            }
        }

        /** The least that a server needs. */
        private static final class Hello extends ChannelInitializer<Channel> {

            @Override
            protected void initChannel(Channel channel) {
                var engine = TLS.createSSLEngine();
                engine.setUseClientMode(false);
                var parameters = engine.getSSLParameters();
                parameters.setApplicationProtocols(new String[] {"h2"});
                engine.setSSLParameters(parameters);
                channel.pipeline().addLast(new SslHandler(engine),
                        Http2FrameCodecBuilder.forServer().build(),
                        new Http2MultiplexHandler(
                                new ChannelInboundHandlerAdapter() {
                    @Override
                    public boolean isSharable() {
                        return true;
                    }

                    @Override
                    public void channelRead(ChannelHandlerContext stream,
                            Object frame) {
                        stream.writeAndFlush(new DefaultHttp2HeadersFrame(
                                new DefaultHttp2Headers().status("200"), true));
                    }
                }));
            }
        }
    }

    @Step(value = 1, title = "Decode the frame header")
    class Decode_the_frame_header {

        @Test
        void nine_bytes_are_a_length_a_type_flags_and_a_stream_id() {
            decodes("00 00 0d 01 05 00 00 00 03", 13, 1, 5, 3);
            decodes("01 02 03 04 06 07 08 09 0a", 0x010203, 4, 6, 0x0708090a);
            decodes("00 00 00 00 00 00 00 00 00", 0, 0, 0, 0);
        }

        @Test
        void a_length_is_unsigned() {
            // rejects: readMedium(); bytes that are not masked
            decodes("80 00 01 00 00 00 00 00 01", 0x800001, 0, 0, 1);
            decodes("ff ff ff 00 00 00 00 00 01", 0xffffff, 0, 0, 1);
            decodes("00 00 80 00 00 00 00 00 01", 128, 0, 0, 1);
        }

        @Test
        void type_and_flags_are_unsigned() {
            decodes("00 00 00 ff 80 00 00 00 01", 0, 255, 128, 1);
            decodes("00 00 00 80 ff 00 00 00 01", 0, 128, 255, 1);
        }

        @Test
        void the_reserved_bit_of_the_stream_id_is_ignored() {
            decodes("00 00 00 00 00 ff ff ff ff", 0, 0, 0, MOST);
            decodes("00 00 00 00 00 80 00 00 05", 0, 0, 0, 5);
            decodes("00 00 00 00 00 7f ff ff ff", 0, 0, 0, MOST);
        }

        @Test
        void fewer_than_nine_bytes_are_no_header_and_stay_unread() {
            // rejects: a header that is read as it comes
            var whole = HexFormat.of().parseHex("00000d010500000003");
            for (int there = 0; there < 9; there++) {
                var in = Unpooled.wrappedBuffer(whole, 0, there);
                Check.equal("nothing", decoded(in), "decode() of " + there
                        + " bytes", "return Optional.empty() below 9 readable"
                        + " bytes");
                Check.equal(there, in.readableBytes(), "the bytes that are"
                        + " still unread", "look at readableBytes() before you"
                        + " read anything: the rest comes later");
            }
        }

        @Test
        void the_payload_and_the_next_header_stay_unread() {
            // rejects: indexes from 0; a payload that is skipped
            var in = buffer("ff ff 00 00 02 00 01 00 00 00 01 68 69"
                    + " 00 00 00 04 01 00 00 00 00");
            in.skipBytes(2);
            Check.equal(Optional.of(new Http2Server.FrameHeader(2, 0, 1, 1)),
                    Http2Server.FrameHeader.decode(in), "the header at index 2",
                    "read from the readerIndex(), which read…() moves");
            Check.equal(11, in.readerIndex(), "the reader index",
                    "read nine bytes: the payload is for the caller");
            in.skipBytes(2);
            Check.equal(Optional.of(new Http2Server.FrameHeader(0, 4, 1, 0)),
                    Http2Server.FrameHeader.decode(in), "the second header",
                    "read nine bytes: the payload is for the caller");
        }

        @Test
        void encode_appends_nine_bytes_whose_reserved_bit_is_0() {
            // rejects: array(), which a direct buffer does not have
            for (var header : List.of("00000d010500000003",
                    "ffffffffff7fffffff", "800001018000000001",
                    "000000000000000000")) {
                var out = Unpooled.directBuffer(16).writeByte(0x2a);
                Http2Server.FrameHeader.decode(buffer(header)).orElseThrow()
                        .encode(out);
                Check.equal("2a" + header, ByteBufUtil.hexDump(out), "2a and"
                        + " the encoded bytes", "write 3 + 1 + 1 + 4 bytes"
                        + " behind what is there, in the order of the fields");
            }
            var out = Unpooled.buffer();
            Http2Server.FrameHeader.decode(buffer("000000000080000001"))
                    .orElseThrow().encode(out);
            Check.equal("000000000000000001", ByteBufUtil.hexDump(out), "the"
                    + " encoded bytes", "the reserved bit is sent as 0");
        }

        @Test
        void a_flag_is_set_if_all_its_bits_are() {
            // rejects: != 0; == flag
            var header = new Http2Server.FrameHeader(0, 1, 0x25, 1);
            for (int flag : List.of(1, 4, 0x20, 5, 0x25, 0)) {
                Check.that(header.has(flag), "has(" + flag + ") = true for the"
                        + " flags 0x25", "(flags & flag) == flag");
            }
            for (int flag : List.of(8, 2, 9, 0x2d)) {
                Check.that(!header.has(flag), "has(" + flag + ") = false for"
                        + " the flags 0x25", "(flags & flag) == flag");
            }
        }

        private static void decodes(String hex, int length, int type,
                int flags, int id) {
            var header = new Http2Server.FrameHeader(length, type, flags, id);
            Check.equal(header, decoded(buffer(hex)), "decode(" + hex + ")",
                    "all four numbers are unsigned, most significant byte"
                    + " first; the first bit of the stream id is ignored");
            var likely = "use the methods of ByteBuf: a direct buffer has no"
                    + " array(), and a slice does not begin at its index 0";
            Check.equal(header, decoded(Unpooled.directBuffer(16).writeBytes(
                    buffer(hex))), "decode() of the same bytes in a direct"
                    + " buffer", likely);
            Check.equal(header, decoded(buffer("2a 2a" + hex).slice(2, 9)),
                    "decode() of the same bytes in a slice", likely);
        }

        private static Object decoded(ByteBuf in) {
            try {
                return Http2Server.FrameHeader.decode(in)
                        .map(Object.class::cast).orElse("nothing");
            } catch (IndexOutOfBoundsException e) {
                return e;
            } catch (UnsupportedOperationException e) {
                if (String.valueOf(e.getMessage()).startsWith("TODO")) {
                    throw e;
                }
                return e;   // of array()
            }
        }

        private static ByteBuf buffer(String hex) {
            return Unpooled.buffer().writeBytes(
                    HexFormat.of().parseHex(hex.replace(" ", "")));
        }
    }

    @Step(value = 2, title = "Serve h2c with prior knowledge")
    class Serve_h2c_with_prior_knowledge {

        @Test
        void the_server_begins_with_SETTINGS_and_acknowledges_the_clients()
                throws Exception {
            var server = server(new Http2Server.Options(50, 60, 5000, 6000),
                    text("hello"));
            var likely = "add codec() to the pipeline: it sends SETTINGS";
            var client = client(server);
            var first = client.any(likely);
            Check.that(first.type() == SETTINGS && first.flags() == 0,
                    "SETTINGS first, got " + first, likely);
            var sent = new TreeMap<Integer, Integer>();
            for (int i = 0; i < first.payload().length; i += 6) {
                sent.put((int) ByteBuffer.wrap(first.payload()).getShort(i),
                        first.number(i + 2));
            }
            Check.that(sent.entrySet().containsAll(Map.of(3, 50, WINDOW, 5000,
                    6, 6000).entrySet()), "the settings 3=50, 4=5000 and"
                    + " 6=6000, got " + sent, "leave codec() as it is");
            var ack = client.any(likely);
            Check.that(ack.type() == SETTINGS && ack.flags() == ACK,
                    "an acknowledgement of SETTINGS, got " + ack, likely);
        }

        @Test
        void a_GET_is_answered_by_HEADERS_and_DATA_that_ends_the_stream()
                throws Exception {
            var client = client(server(USUAL, text("hello")));
            for (int id = 1; id < 8; id += 2) {
                client.request(id, "GET", "/");
                var headers = client.expect(HEADERS, id, "respond() sends"
                        + " HEADERS on the stream of the request");
                Check.equal(200, headers.status(), "the status",
                        "send the headers that respond() has made");
                Check.that(!headers.endsStream(), "HEADERS without END_STREAM,"
                        + " got " + headers, "the body follows");
                body(client, id, "hello");
            }
        }

        @Test
        void the_handler_sees_method_scheme_authority_path_and_headers()
                throws Exception {
            var seen = new LinkedBlockingQueue<Http2Server.Request>();
            var client = client(server(USUAL, exchange -> {
                seen.add(exchange.request());
                exchange.respond(200, List.of());
            }));
            client.headers(1, true, ":method", "DELETE", ":scheme", "http",
                    ":path", "/a?b=c&d", ":authority", "lab.test:81",
                    "x-b", "1", "x-a", "2", "x-b", "3");
            sees(seen, new Http2Server.Request("DELETE", "http", "lab.test:81",
                    "/a?b=c&d", List.of(header("x-b", "1"), header("x-a", "2"),
                    header("x-b", "3"))));
            client.headers(3, true, ":method", "GET", ":scheme", "https",
                    ":path", "/", "host", "old.test", "x-empty", "");
            sees(seen, new Http2Server.Request("GET", "https", "old.test", "/",
                    List.of(header("host", "old.test"),
                            header("x-empty", ""))));
            client.headers(5, true, ":method", "GET", ":scheme", "http",
                    ":path", "/");
            sees(seen, new Http2Server.Request("GET", "http", "", "/",
                    List.of()));
            // rejects: host before :authority; a host that is dropped
            client.headers(7, true, ":method", "GET", ":scheme", "http",
                    ":path", "/", ":authority", "new.test", "host", "NEW.test");
            sees(seen, new Http2Server.Request("GET", "http", "new.test", "/",
                    List.of(header("host", "NEW.test"))));
        }

        private static void sees(BlockingQueue<Http2Server.Request> seen,
                Http2Server.Request expected) throws InterruptedException {
            Await.until(() -> !seen.isEmpty(), "the handler to be called",
                    "add a new Stream to each child channel");
            Check.equal(expected, seen.take(), "the request", "pseudo-headers"
                    + " are no headers; keep all others, in their order;"
                    + " without :authority take host, without both \"\"");
        }

        @Test
        void status_and_headers_reach_the_client() throws Exception {
            var server = server(USUAL, exchange -> {
                exchange.respond(404, List.of(header("X-One", "1"),
                        header("x-two", "a"), header("x-two", "b")));
                exchange.output().write("not here".getBytes());
            });
            try (var response = okHttp().newCall(request(server, "http", "/"))
                    .execute()) {
                Check.equal(404, response.code(), "the status", "");
                Check.equal("1", response.header("x-one"), "x-one", "");
                Check.equal(List.of("a", "b"), response.headers("x-two"),
                        "x-two", "send the headers that you are given");
                Check.equal("not here", response.body().string(), "the body",
                        "");
            }
        }

        @Test
        void a_response_without_a_body_ends_with_its_HEADERS()
                throws Exception {
            // rejects: DATA for HEAD
            var client = client(server(USUAL, exchange -> {
                var path = exchange.request().path();
                exchange.respond(Integer.parseInt(path.substring(1)),
                        List.of());
                exchange.output().write("must not be sent".getBytes());
                exchange.output().flush();
            }));
            int id = 1;
            for (var request : List.of("HEAD /200", "HEAD /404", "GET /204",
                    "GET /304")) {
                client.request(id, request.split(" ")[0],
                        request.split(" ")[1]);
                var headers = client.expect(HEADERS, id, "answer " + request);
                Check.that(headers.endsStream(), "END_STREAM in the HEADERS of"
                        + " a response to " + request + ", got " + headers,
                        "a response to HEAD, 204 and 304 have no body: HEADERS"
                                + " end the stream");
                id += 2;
            }
            // rejects: all of 3xx without a body
            for (var status : List.of("301", "303", "400", "500")) {
                client.request(id, "GET", "/" + status);
                Check.that(!client.expect(HEADERS, id, "").endsStream(), "the"
                        + " body of " + status + " to follow", "only responses"
                        + " to HEAD, 204 and 304 have none");
                body(client, id, "must not be sent");
                id += 2;
            }
        }

        @Test
        void an_empty_body_ends_with_an_empty_DATA_frame() throws Exception {
            var client = client(server(USUAL, exchange ->
                    exchange.respond(200, List.of())));
            for (int id = 1; id < 6; id += 2) {
                client.request(id, "GET", "/");
                var headers = client.expect(HEADERS, id, "");
                if (!headers.endsStream()) {   // also right: HEADERS end it
                    body(client, id, "");
                }
            }
        }

        @Test
        void a_long_response_arrives_whole_and_in_order() throws Exception {
            var bytes = new byte[60_000];
            new Random(409).nextBytes(bytes);
            var client = client(server(USUAL, exchange -> {
                exchange.respond(200, List.of());
                var out = exchange.output();
                out.write(bytes[0]);
                out.flush();
                out.write(bytes, 1, 20_000);
                out.write(bytes, 20_001, 39_999);
            }));
            client.request(1, "GET", "/");
            client.expect(HEADERS, 1, "");
            Check.sameBytes(bytes, body(client, 1, bytes.length), "the body",
                    "write each piece that you are given, in its order");
        }

        @Test
        void a_malformed_request_is_reset_and_the_next_one_is_served()
                throws Exception {
            // given (Netty): here because the chapter promises it
            var client = client(server(USUAL, text("hello")));
            var base = List.of(":method", "GET", ":scheme", "http", ":path",
                    "/");
            var wrong = new LinkedHashMap<String, List<String>>();
            wrong.put("no :path", List.of(":method", "GET", ":scheme",
                    "http"));
            wrong.put("no :method", List.of(":scheme", "http", ":path", "/"));
            wrong.put("a second :method", plus(base, ":method", "GET"));
            wrong.put("an unknown pseudo-header", plus(base, ":lab", "409"));
            wrong.put("an upper-case name", plus(base, "X-Lab", "409"));
            wrong.put("a field connection", plus(base, "connection",
                    "close"));
            wrong.put("a pseudo-header behind a header", List.of(":method",
                    "GET", ":scheme", "http", "x-lab", "1", ":path", "/"));
            int id = 1;
            for (var each : wrong.entrySet()) {
                client.headers(id, true,
                        each.getValue().toArray(String[]::new));
                served(client, id, each.getKey());
                id += 4;
            }
        }

        private static void served(Http2Peer client, int id, String what)
                throws IOException {
            var likely = "leave codec() as it is: Netty validates the fields";
            var frame = client.expect(RST_STREAM, id, likely);
            Check.equal(PROTOCOL_ERROR, frame.code(), "the error code of a"
                    + " request with " + what, likely);
            client.request(id + 2, "GET", "/");
            client.expect(HEADERS, id + 2, "only the malformed stream ends");
            body(client, id + 2, "hello");
        }

        private static List<String> plus(List<String> fields, String name,
                String value) {
            return Stream.concat(fields.stream(), Stream.of(name, value))
                    .toList();
        }

        @Test
        void a_client_that_speaks_HTTP_1_is_disconnected() throws Exception {
            var server = server(USUAL, text("hello"));
            var client = Http2Peer.connect(server.localAddress()).raw(
                    "GET / HTTP/1.1\r\nHost: lab.test\r\n\r\n".getBytes());
            for (var frame : client.rest("add codec() to the pipeline")) {
                Check.that(frame.type() == GOAWAY, "GOAWAY at most, got "
                        + frame, "leave codec() as it is");
            }
            var next = client(server).request(1, "GET", "/");
            next.expect(HEADERS, 1, "the server goes on");
            body(next, 1, "hello");
        }

        @Test
        void the_exceptions_of_an_exchange_are_those_of_its_javadoc()
                throws Exception {
            // given; here because it is the lab's contract
            var outcome = new CompletableFuture<Void>();
            var client = client(server(USUAL, exchange -> {
                try {
                    var none = List.<Http2Server.Header>of();
                    var leave = "leave the given checks as they are";
                    Check.fails(IllegalStateException.class, exchange::output,
                            "output() before respond()", leave);
                    for (int status : List.of(100, 101, 199, 600)) {
                        Check.fails(IllegalArgumentException.class,
                                () -> exchange.respond(status, none),
                                "the status " + status, leave);
                    }
                    for (var name : List.of("Connection", "upgrade",
                            "transfer-encoding", "keep-alive", ":status")) {
                        Check.fails(IllegalArgumentException.class,
                                () -> exchange.respond(200,
                                        List.of(header(name, "x"))),
                                "the field " + name, leave);
                    }
                    exchange.respond(200, none);
                    Check.fails(IllegalStateException.class,
                            () -> exchange.respond(200, none),
                            "a second response", leave);
                    exchange.output().close();
                    Check.fails(IOException.class,
                            () -> exchange.output().write(1),
                            "a write after close()", leave);
                    outcome.complete(null);
                } catch (Throwable failure) {
                    outcome.completeExceptionally(failure);
                    throw failure;
                }
            })).request(1, "GET", "/");
            client.expect(HEADERS, 1, "");
            Await.value(outcome, "the given checks to hold", "");
            var server = server(USUAL, text(""));
            Check.fails(IOException.class, () -> Http2Server.start(
                    server.localAddress(), text(""), USUAL),
                    "start() on a taken port", "");
            Check.fails(IllegalArgumentException.class,
                    () -> USUAL.withMaxStreams(5, 4), "fewer handlers than"
                    + " streams", "");
        }
    }

    @Step(value = 3, title = "Negotiate h2 over TLS")
    class Negotiate_h2_over_TLS {

        private static final String ALPN = "setApplicationProtocols() of the"
                + " engine's parameters with h2, and nothing else";

        @Test
        void OkHttp_negotiates_h2() throws Exception {
            var server = secure(text("hello"));
            try (var response = okHttpTls().newCall(request(server, "https",
                    "/")).execute()) {
                Check.equal(Protocol.HTTP_2, response.protocol(),
                        "the protocol", ALPN);
                Check.equal("hello", response.body().string(), "the body", "");
            }
        }

        @Test
        void the_JDKs_client_negotiates_h2() throws Exception {
            var server = secure(text("hello"));
            try (var client = HttpClient.newBuilder().sslContext(TRUST
                    .sslContext()).build()) {
                var response = client.send(HttpRequest.newBuilder(URI.create(
                        "https://localhost:" + server.localAddress().getPort()))
                        .build(), HttpResponse.BodyHandlers.ofString());
                Check.equal(HttpClient.Version.HTTP_2, response.version(),
                        "the version", ALPN);
                Check.equal("hello", response.body(), "the body", "");
            }
        }

        @Test
        void h2_is_chosen_wherever_it_stands_among_the_clients_protocols()
                throws Exception {
            var server = secure(text("hello"));
            for (var offer : List.of("h2", "h2,http/1.1", "http/1.1,h2",
                    "spdy/3,http/1.1,h2")) {
                try (var socket = connect(server, offer.split(","))) {
                    socket.startHandshake();
                    Check.equal("h2", socket.getApplicationProtocol(), "the"
                            + " protocol for a client that offers " + offer,
                            ALPN);
                    var client = Http2Peer.on(socket).hello()
                            .request(1, "GET", "/");
                    client.expect(HEADERS, 1, "addHttp2() after the"
                            + " handshake");
                    body(client, 1, "hello");
                }
            }
        }

        @Test
        void a_client_that_offers_only_HTTP_1_is_refused_in_the_handshake()
                throws Exception {
            // rejects: a fall-back to HTTP/1.1; a connection closed later
            var server = secure(text("hello"));
            try (var socket = connect(server, "http/1.1")) {
                var refused = Check.fails(SSLHandshakeException.class,
                        socket::startHandshake, "a handshake that offers"
                                + " http/1.1", ALPN);
                Check.that(refused.getMessage().contains(
                        "no_application_protocol"), "the alert"
                        + " no_application_protocol, got "
                        + refused.getMessage(), ALPN);
            }
        }

        @Test
        void a_client_without_ALPN_is_disconnected_before_any_frame()
                throws Exception {
            // rejects: HTTP/2 for whoever completes the handshake
            var server = secure(text("hello"));
            try (var socket = connect(server)) {
                socket.startHandshake();
                var client = Http2Peer.on(socket).hello();
                var first = client.any("close the channel if the engine's"
                        + " getApplicationProtocol() is not h2: without ALPN"
                        + " it is \"\"");
                Check.that(first.isClosed(), "the end of the connection, got "
                        + first, "close the channel if the engine's"
                        + " getApplicationProtocol() is not h2: without ALPN it"
                        + " is \"\"");
            }
        }

        @Test
        void TLS_1_2_is_spoken_with_allowed_cipher_suites_only()
                throws Exception {
            // rejects: allowedCiphers() not used; TLS 1.3 alone
            var server = secure(text("hello"));
            for (var version : List.of("TLSv1.3", "TLSv1.2")) {
                try (var socket = connect(server, "h2")) {
                    socket.setEnabledProtocols(new String[] {version});
                    socket.startHandshake();
                    Check.equal(version, socket.getSession().getProtocol(),
                            "the version", "setProtocols() with TLSv1.3 and"
                                    + " TLSv1.2");
                }
            }
            try (var socket = connect(server, "h2")) {
                socket.setEnabledProtocols(new String[] {"TLSv1.2"});
                socket.setEnabledCipherSuites(new String[] {
                        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"});
                Check.fails(SSLHandshakeException.class, socket::startHandshake,
                        "a handshake with a suite of RFC 9113's list",
                        "setCipherSuites(allowedCiphers(tls))");
            }
        }

        @Test
        void bytes_that_are_not_TLS_disturb_no_other_client()
                throws Exception {
            var server = secure(text("hello"));
            var plain = Http2Peer.connect(server.localAddress()).hello()
                    .request(1, "GET", "/");
            var first = readOne(plain);
            Check.that(first.isClosed() || first.type() > 9, "no HTTP/2 in"
                    + " clear text, got " + first, "the SslHandler is the"
                    + " first of the handlers that you add");
            try (var response = okHttpTls().newCall(request(server, "https",
                    "/")).execute()) {
                Check.equal(200, response.code(), "the status", "");
            }
        }

        /** An alert of TLS may come before the end; it is no frame. */
        private static Http2Peer.Frame readOne(Http2Peer client)
                throws IOException {
            return client.any("the connection is closed");
        }
    }

    @Step(value = 4, title = "Run each stream on a virtual thread",
            further = true)
    class Run_each_stream_on_a_virtual_thread {

        private static final String THREAD = "start serve() on a virtual"
                + " thread: did the handler block the event loop?";

        @Test
        void streams_are_answered_in_the_order_in_which_handlers_end()
                throws Exception {
            // rejects: a handler on the event loop; one thread for all
            var gates = new ConcurrentHashMap<String, CountDownLatch>();
            for (int id = 1; id < 10; id += 2) {
                gates.put("/" + id, new CountDownLatch(1));
            }
            var client = client(server(USUAL, exchange -> {
                gates.get(exchange.request().path()).await();
                text("hello").handle(exchange);
            }));
            for (int id = 1; id < 10; id += 2) {
                client.request(id, "GET", "/" + id);
            }
            client.settle(THREAD);
            for (int id = 9; id > 0; id -= 2) {
                gates.get("/" + id).countDown();
                client.expect(HEADERS, id, THREAD);
                body(client, id, "hello");
            }
        }

        @Test
        void HEADERS_and_flushed_bytes_arrive_while_the_handler_runs()
                throws Exception {
            // rejects: a frame that is written and flushed with the next one
            var gate = new Semaphore(0);
            closeLater(() -> gate.release(10));
            var client = client(server(USUAL, exchange -> {
                gate.acquire();
                exchange.respond(200, List.of());
                gate.acquire();
                exchange.output().write("half".getBytes());
                exchange.output().flush();
                gate.acquire();
            })).request(1, "GET", "/");
            var likely = "sendHeaders() and sendData() flush what they write:"
                    + " writeAndFlush()";
            client.settle(THREAD);   // nothing else makes the server flush
            gate.release();
            client.expect(HEADERS, 1, likely);
            gate.release();
            Check.equal("half", client.expect(DATA, 1, likely).text(),
                    "what the handler has flushed", likely);
            gate.release();
            body(client, 1, "");
        }

        @Test
        void each_handler_runs_on_a_virtual_thread_of_its_own()
                throws Exception {
            var threads = ConcurrentHashMap.<Thread>newKeySet();
            var all = new CountDownLatch(60);
            var client = client(server(USUAL, exchange -> {
                threads.add(Thread.currentThread());
                all.countDown();
                all.await();
                exchange.respond(200, List.of());
            }));
            for (int id = 1; id < 120; id += 2) {
                client.request(id, "GET", "/");
            }
            Await.open(all, "60 handlers to run at the same time", THREAD);
            Check.equal(60, threads.size(), "the number of threads", THREAD);
            Check.that(threads.stream().allMatch(Thread::isVirtual),
                    "virtual threads", "Thread.ofVirtual()");
            answered(client, 60);
        }

        @Test
        void a_handler_that_throws_is_answered_with_500() throws Exception {
            // rejects: catch (Exception); a connection that ends with it
            var client = client(server(USUAL, exchange -> {
                fail(exchange.request().path());
                text("hello").handle(exchange);
            }));
            int id = 1;
            for (var path : FAILURES) {
                client.request(id, "GET", path);
                var headers = client.expect(HEADERS, id, "failed() responds"
                        + " with 500 if nothing was sent yet");
                Check.equal(500, headers.status(), "the status for " + path,
                        "failed() responds with 500");
                if (!headers.endsStream()) {
                    Check.equal(0, body(client, id, 1000).length, "the bytes of"
                            + " the body for " + path, "what failed inside is"
                            + " not for clients: respond, and write nothing");
                }
                id += 2;
            }
            client.request(id, "GET", "/");
            client.expect(HEADERS, id, "the connection goes on");
            body(client, id, "hello");
        }

        private static final List<String> FAILURES = List.of("/unchecked",
                "/checked", "/error", "/interrupted");

        private static void fail(String path) throws Exception {
            switch (path) {
                case "/unchecked" -> throw new RuntimeException("lab");
                case "/checked" -> throw new IOException("lab");
                case "/error" -> throw new AssertionError("lab");
                case "/interrupted" -> throw new InterruptedException("lab");
                default -> { }
            }
        }

        @Test
        void a_handler_that_returns_without_a_response_is_answered_with_500()
                throws Exception {
            var client = client(server(USUAL, _ -> {})).request(1, "GET", "/");
            var headers = client.expect(HEADERS, 1, "failed() responds with"
                    + " 500 if nothing was sent yet");
            Check.equal(500, headers.status(), "the status", "failed() responds"
                    + " with 500");
        }

        @Test
        void a_failure_after_the_response_began_resets_the_stream()
                throws Exception {
            // rejects: a response that just ends, and looks complete
            var client = client(server(USUAL, exchange -> {
                exchange.respond(200, List.of());
                exchange.output().write("half".getBytes());
                exchange.output().flush();
                fail(exchange.request().path());
            }));
            int id = 1;
            for (var path : FAILURES) {
                client.request(id, "GET", path);
                client.expect(HEADERS, id, "");
                client.expect(DATA, id, "");
                var likely = "a response that cannot be completed must not end"
                        + " with END_STREAM: reset() it";
                Check.equal(INTERNAL_ERROR, client.expect(RST_STREAM, id,
                        likely).code(), "the error code for " + path,
                        "reset() with INTERNAL_ERROR, whatever was thrown");
                id += 2;
            }
            client.request(id, "GET", "/good");
            client.expect(HEADERS, id, "the connection goes on");
            body(client, id, "half");
        }

        @Test
        void a_body_that_differs_from_its_content_length_is_reset()
                throws Exception {
            // given (Netty); the handler sees an IOException
            var seen = new LinkedBlockingQueue<String>();
            var client = client(server(USUAL, exchange -> {
                try {
                    seen.add("" + exchange.body().readAllBytes().length);
                } catch (IOException e) {
                    seen.add("IOException");
                    throw e;
                }
                text("hello").handle(exchange);
            }));
            int id = 1;
            for (int bytes : List.of(3, 7, 0)) {
                client.request(id, "POST", "/", "content-length", "5")
                        .data(id, true, bytes);
                Check.equal(PROTOCOL_ERROR, client.expect(RST_STREAM, id,
                        "leave codec() as it is").code(), "the error code of"
                        + " a request with " + bytes + " of 5 bytes", "");
                Check.equal("IOException", seen.poll(10, TimeUnit.SECONDS),
                        "what its handler sees", "leave Body as it is");
                id += 2;
            }
            client.request(id, "POST", "/", "content-length", "5")
                    .data(id, true, 5);
            client.expect(HEADERS, id, THREAD);
            body(client, id, "hello");
        }

        @Test
        void a_reset_interrupts_its_own_handler_and_no_other()
                throws Exception {
            // rejects: a reset that is ignored; all threads interrupted
            var ready = new CountDownLatch(2);
            var go = new CountDownLatch(1);
            var seen = new LinkedBlockingQueue<String>();
            var client = client(server(USUAL, exchange -> {
                ready.countDown();
                try {
                    if (exchange.request().path().equals("/early")) {
                        exchange.respond(200, List.of());
                        exchange.output().close();
                        new CountDownLatch(1).await();
                    }
                    go.await();
                    exchange.respond(200, List.of());
                } catch (InterruptedException e) {
                    seen.add(exchange.request().path()
                            + (exchange.isReset() ? " was reset" : ""));
                }
            }));
            client.request(1, "GET", "/1").request(3, "GET", "/3");
            Await.open(ready, "two handlers to run", THREAD);
            client.number(RST_STREAM, 1, CANCEL);
            var only = "only the thread of the stream that was reset is"
                    + " interrupted";
            Await.until(() -> !seen.isEmpty(), "the handler of stream 1 to be"
                    + " interrupted", "aborted() interrupts stream.thread");
            client.settle("");
            Check.equal(List.of("/1 was reset"), List.copyOf(seen),
                    "the interrupted handlers", only);
            go.countDown();
            Check.equal(200, client.expect(HEADERS, 3, only).status(),
                    "the status of stream 3", only);
            body(client, 3, "");
            // a response that has ended before its request and its handler
            client.request(5, "POST", "/early").expect(HEADERS, 5, "");
            body(client, 5, "");
            client.number(RST_STREAM, 5, CANCEL);
            Await.until(() -> seen.contains("/early was reset"), "the handler"
                    + " of stream 5 to be interrupted: its response had ended,"
                    + " but not its request", "leave channelInactive() as it"
                    + " is: it calls aborted()");
        }

        @Test
        void the_end_of_a_connection_interrupts_all_its_handlers()
                throws Exception {
            var ready = new CountDownLatch(3);
            var interrupted = new CountDownLatch(3);
            var server = server(USUAL, exchange -> {
                ready.countDown();
                try {
                    new CountDownLatch(1).await();
                } catch (InterruptedException e) {
                    Check.fails(IOException.class, () -> exchange.respond(200,
                            List.of()), "respond() after the end", "");
                    interrupted.countDown();
                }
            });
            try (var client = client(server)) {
                for (int id = 1; id < 6; id += 2) {
                    client.request(id, "GET", "/");
                }
                Await.open(ready, "three handlers to run", THREAD);
            }
            Await.open(interrupted, "three handlers to be interrupted when"
                    + " their connection has ended", "aborted() interrupts"
                    + " stream.thread");
            Await.until(() -> server.stats().runningHandlers() == 0,
                    "runningHandlers = 0", "");
        }
    }

    @Step(value = 5, title = "Apply flow control both ways", further = true)
    class Apply_flow_control_both_ways {

        private static final String CREDIT = "credit() writes a"
                + " DefaultHttp2WindowUpdateFrame when the handler has read,"
                + " and creditsAtOnce() is false";
        private static final String WAKE = "wakeWriter() calls notifyAll(), and"
                + " awaitWritable() stops waiting when the channel is not"
                + " active";

        @Test
        void a_response_goes_on_when_the_streams_window_grows()
                throws Exception {
            // given (Netty); the arithmetic of RFC 9113 section 6.9.2
            var client = client(server(USUAL, bytes(1000)), WINDOW, 10);
            client.request(1, "GET", "/");
            client.expect(HEADERS, 1, "");
            sends(client, 1, 10, "the first window of 10");
            client.number(WINDOW_UPDATE, 1, 5);
            sends(client, 1, 5, "a WINDOW_UPDATE of 5");
            client.settings(WINDOW, 100);
            sends(client, 1, 90, "SETTINGS that raise the window from 10 to"
                    + " 100");
        }

        @Test
        void a_window_below_zero_must_be_filled_first() throws Exception {
            var client = client(server(USUAL, bytes(1000)), WINDOW, 10);
            client.request(1, "GET", "/");
            client.expect(HEADERS, 1, "");
            sends(client, 1, 10, "the first window of 10");
            client.settings(WINDOW, 3);          // now it is −7
            client.number(WINDOW_UPDATE, 1, 7);  // 0
            sends(client, 1, 0, "SETTINGS of 3 and a WINDOW_UPDATE of 7");
            client.number(WINDOW_UPDATE, 1, 1);
            sends(client, 1, 1, "one byte more");
            client.settings(WINDOW, 13);
            sends(client, 1, 10, "SETTINGS of 13");
        }

        @Test
        void a_window_above_2147483647_is_a_flow_control_error()
                throws Exception {
            // RFC 9113 demands GOAWAY for SETTINGS; Netty resets the stream
            var server = server(USUAL, bytes(1 << 20));
            var client = client(server, WINDOW, 10);
            client.request(1, "GET", "/");
            client.expect(HEADERS, 1, "");
            sends(client, 1, 10, "the first window of 10");
            client.number(WINDOW_UPDATE, 1, 100_000)
                    .settings(WINDOW, MOST);
            var frame = client.next("");
            while (frame.type() == DATA) {
                frame = client.next("");
            }
            Check.equal(FLOW_CONTROL_ERROR, frame.code(), "the error code of "
                    + frame, "");
        }

        @Test
        void all_responses_together_stop_at_the_connections_window()
                throws Exception {
            var client = client(server(USUAL, bytes(50_000)), WINDOW, MOST);
            client.request(1, "GET", "/").request(3, "GET", "/");
            var first = upTo(client, 65_535);
            Check.equal(65_535, data(first), "the bytes of two responses",
                    "the connection's window is 65,535");
            client.number(WINDOW_UPDATE, 0, 34_465);
            int rest = 0;
            int ended = (int) first.stream().filter(Http2Peer.Frame::endsStream)
                    .count();
            while (ended < 2) {
                var frame = client.next("a WINDOW_UPDATE on stream 0 lets both"
                        + " go on");
                rest += frame.type() == DATA ? frame.payload().length : 0;
                ended += frame.endsStream() ? 1 : 0;
            }
            Check.equal(34_465, rest, "the bytes after the WINDOW_UPDATE", "");
        }

        @Test
        void a_handler_waits_while_its_client_takes_nothing()
                throws Exception {
            // rejects: the whole response in the outbound buffer
            int most = 64 << 20;
            var written = new AtomicInteger();
            var client = client(server(USUAL, exchange -> {
                exchange.respond(200, List.of());
                var piece = new byte[10_000];
                for (; written.get() < most; written.addAndGet(10_000)) {
                    exchange.output().write(piece);
                }
            }), WINDOW, 0);
            client.request(1, "GET", "/");
            client.expect(HEADERS, 1, "");
            var likely = "awaitWritable() waits while the channel is not"
                    + " writable";
            int taken = 0;
            for (int i = 0; i < 4; i++) {
                int now = steady(written);
                Check.that(now - taken < 1 << 20, "a handler to wait below"
                        + " 1 MiB that its client has not taken, got "
                        + (now - taken) + " bytes", likely);
                client.number(WINDOW_UPDATE, 1, 50_000)
                        .number(WINDOW_UPDATE, 0, 50_000);
                for (int left = 50_000; left > 0; ) {
                    var frame = client.expect(DATA, 1, WAKE);
                    left -= frame.payload().length;
                }
                taken += 50_000;
            }
            Check.that(steady(written) >= taken, "the handler to go on", WAKE);
        }

        /** When the number has been the same for 10 looks, a ms apart. */
        private static int steady(AtomicInteger number)
                throws InterruptedException {
            int seen = number.get();
            for (int same = 0; same < 10; same++) {
                Thread.sleep(1);   // between two looks
                if (number.get() != seen) {
                    seen = number.get();
                    same = 0;
                }
            }
            return seen;
        }

        @Test
        void a_waiting_stream_holds_up_no_other() throws Exception {
            var client = client(server(USUAL, exchange -> {
                exchange.respond(200, List.of());
                boolean big = exchange.request().path().equals("/big");
                exchange.output().write(new byte[big ? 1 << 20 : 5]);
            }), WINDOW, 10);
            client.request(1, "GET", "/big").request(3, "GET", "/");
            int ended = 0;
            while (ended != 3) {
                var frame = client.next("wait on the handler's own thread");
                ended = frame.endsStream() ? frame.stream() : 0;
            }
        }

        @Test
        void a_writer_wakes_up_when_its_stream_or_connection_ends()
                throws Exception {
            // rejects: a wait that nobody ends
            var outcomes = new LinkedBlockingQueue<String>();
            var server = server(USUAL, exchange -> {
                exchange.respond(200, List.of());
                try {
                    exchange.output().write(new byte[1 << 20]);
                } catch (IOException e) {
                    outcomes.add(exchange.request().path());
                }
            });
            try (var client = client(server, WINDOW, 0)) {
                client.request(1, "GET", "/1").request(3, "GET", "/3");
                for (int begun = 0; begun < 2; begun++) {
                    Check.that(client.next("").type() == HEADERS, "HEADERS of"
                            + " both responses", "");
                }
                client.number(RST_STREAM, 1, CANCEL);
                Await.until(() -> outcomes.contains("/1"), "an IOException"
                        + " from write() when the stream is reset", WAKE);
                Check.that(!outcomes.contains("/3"), "the other writer to wait"
                        + " on, but it failed", "end only the stream that was"
                        + " reset");
            }
            Await.until(() -> outcomes.contains("/3"), "an IOException from"
                    + " write() when the connection has ended", WAKE);
        }

        @Test
        void an_interrupt_ends_the_wait_of_a_writer() throws Exception {
            var threads = new LinkedBlockingQueue<Thread>();
            var outcome = new CompletableFuture<Boolean>();
            var client = client(server(USUAL, exchange -> {
                exchange.respond(200, List.of());
                threads.add(Thread.currentThread());
                try {
                    exchange.output().write(new byte[1 << 20]);
                } catch (IOException e) {
                    outcome.complete(Thread.currentThread().isInterrupted());
                    throw e;
                }
            }), WINDOW, 0).request(1, "GET", "/");
            client.expect(HEADERS, 1, "");
            threads.take().interrupt();
            Check.equal(true, Await.value(outcome, "an IOException from a"
                    + " write() that is interrupted", "waitOn() throws an"
                    + " InterruptedIOException: let it pass"), "the thread's"
                    + " interrupt flag", "set it again, as waitOn() does");
            Check.equal(INTERNAL_ERROR, client.next("").code(), "the error"
                    + " code of the reset", "");
        }

        @Test
        void an_upload_that_nobody_reads_gets_no_credit() throws Exception {
            // rejects: credit when DATA comes; autoRead as it is
            var server = server(USUAL.withInitialWindow(16_384), exchange -> {
                new CountDownLatch(1).await();
            });
            var client = client(server).request(1, "POST", "/");
            for (int i = 0; i < 4; i++) {
                client.data(1, false, 4096);
            }
            Check.equal(List.of(), client.settle(""), "the frames of the server"
                    + " after 16,384 bytes that the handler does not read",
                    CREDIT);
        }

        @Test
        void bytes_are_credited_to_stream_and_connection_when_read()
                throws Exception {
            // rejects: credit for the stream alone; more than was read
            var gate = new Semaphore(0);
            var server = server(USUAL.withInitialWindow(40_000), exchange -> {
                while (true) {
                    gate.acquire();
                    exchange.body().readNBytes(10_000);
                }
            });
            var client = client(server).request(1, "POST", "/");
            int read = 0;
            int stream = 0;
            int connection = 0;
            for (int i = 0; i < 4; i++) {
                client.data(1, false, 10_000);
            }
            for (int i = 0; i < 4; i++) {
                gate.release();
                read += 10_000;
                boolean all = i == 3;   // now more than half of each window
                var frames = all ? new ArrayList<Http2Peer.Frame>()
                        : client.settle("");
                while (all && (stream + credit(frames, 1) < 20_000
                        || connection + credit(frames, 0) < 32_768)) {
                    frames.add(client.next(CREDIT));
                }
                stream += credit(frames, 1);
                connection += credit(frames, 0);
                Check.that(stream <= read && connection <= read,
                        "at most the " + read + " bytes that were read to be"
                        + " credited, got " + stream + " for the stream, "
                        + connection + " for the connection", CREDIT);
            }
        }

        @Test
        void a_window_of_100_bytes_is_credited_when_they_are_read()
                throws Exception {
            // rejects: credit in lumps that a small window never reaches
            var server = server(USUAL.withInitialWindow(100), exchange -> {
                int count = exchange.body().readAllBytes().length;
                exchange.respond(200, List.of());
                exchange.output().write(("" + count).getBytes());
            });
            var client = client(server);
            client.settle("");   // the server's SETTINGS are in force
            client.request(1, "POST", "/");
            for (int i = 0; i < 10; i++) {
                client.data(1, false, 100);
                for (int left = 100; left > 0; ) {
                    left -= client.expect(WINDOW_UPDATE, 1, CREDIT + ", be it"
                            + " ever so little").number(0);
                }
            }
            client.data(1, true, 0).expect(HEADERS, 1, "");
            body(client, 1, "1000");
        }

        @Test
        void bytes_read_after_END_STREAM_are_credited_to_the_connection()
                throws Exception {
            // rejects: no credit after END_STREAM: the window of the
            // connection would stay used up until the handler returns
            var go = new CountDownLatch(1);
            closeLater(go::countDown);
            var read = new CountDownLatch(1);
            var client = client(server(USUAL, exchange -> {
                go.await();
                exchange.body().readAllBytes();
                read.countDown();
                new CountDownLatch(1).await();
            })).request(1, "POST", "/");
            for (int i = 0; i < 4; i++) {
                client.data(1, i == 3, 16_000);
            }
            client.settle("");
            go.countDown();
            Await.open(read, "an upload of 64,000 bytes to be read", CREDIT);
            var likely = "credit() writes the frame also when the client has"
                    + " ended the stream: the connection needs it";
            for (int credit = 0; credit <= 32_768; ) {
                var frame = client.next(likely);
                Check.that(frame.type() == WINDOW_UPDATE, "WINDOW_UPDATE on"
                        + " stream 0, got " + frame, likely);
                credit += frame.stream() == 0 ? frame.number(0) : 0;
            }
        }

        private static int credit(List<Http2Peer.Frame> frames, int id) {
            return frames.stream().filter(frame -> frame.is(WINDOW_UPDATE, id))
                    .mapToInt(frame -> frame.number(0)).sum();
        }

        @Test
        void padding_is_credited_with_the_bytes() throws Exception {
            // rejects: credit of content().readableBytes()
            var server = server(USUAL, exchange -> {
                int count = exchange.body().readAllBytes().length;
                exchange.respond(200, List.of());
                exchange.output().write(("" + count).getBytes());
            });
            var client = client(server).request(1, "POST", "/");
            var padded = new byte[256];
            padded[0] = (byte) 250;   // 5 bytes of data, 250 of padding
            int credited = 0;
            for (int i = 0; i < 140; i++) {
                client.send(DATA, PADDED, 1, padded);
            }
            while (credited < 32_000) {
                var frame = client.next("credit the share of the whole frame,"
                        + " which credit() is given");
                Check.that(frame.type() == WINDOW_UPDATE, "a WINDOW_UPDATE for"
                        + " 140 frames of 256 bytes, got " + frame, CREDIT);
                credited += frame.stream() == 1 ? frame.number(0) : 0;
            }
            client.data(1, true, 0);
            var frame = client.next("");
            while (frame.type() == WINDOW_UPDATE) {
                frame = client.next("");
            }
            body(client, 1, "700");
        }

        @Test
        void an_upload_of_1_MiB_arrives_whole() throws Exception {
            var server = secure(exchange -> {
                var sum = new CRC32();
                sum.update(exchange.body().readAllBytes());
                exchange.respond(200, List.of());
                exchange.output().write(("" + sum.getValue()).getBytes());
            });
            var bytes = new byte[1 << 20];
            new Random(409).nextBytes(bytes);
            var sum = new CRC32();
            sum.update(bytes);
            try (var client = HttpClient.newBuilder().sslContext(
                    TRUST.sslContext()).build()) {
                var response = client.send(HttpRequest.newBuilder(URI.create(
                        "https://localhost:" + server.localAddress().getPort()))
                        .POST(HttpRequest.BodyPublishers.ofByteArray(bytes))
                        .build(), HttpResponse.BodyHandlers.ofString());
                Check.equal("" + sum.getValue(), response.body(),
                        "the checksum of 1 MiB", CREDIT);
            }
        }

        @Test
        void DATA_of_streams_that_were_reset_is_credited_to_the_connection()
                throws Exception {
            // the connection would stand still after 65,535 bytes
            var server = server(USUAL, exchange -> {
                if (exchange.request().path().equals("/reset")) {
                    exchange.respond(200, List.of());
                    return;   // the body is not read: the server resets
                }
                int count = exchange.body().readAllBytes().length;
                exchange.respond(200, List.of());
                exchange.output().write(("" + count).getBytes());
            });
            var client = client(server);
            int id = 1;
            for (; id < 40; id += 2) {
                client.request(id, "POST", "/reset");
                var frame = client.next("");
                while (frame.type() != RST_STREAM || frame.stream() != id) {
                    frame = client.next("");
                }
                for (int i = 0; i < 12; i++) {   // each is answered by a reset
                    client.data(id, false, 4096);
                }
                client.settle("leave codec() as it is: Netty's limit on the"
                        + " resets that it sends is raised there");
            }
            client.request(id, "POST", "/");
            client.data(id, false, 16_000).data(id, true, 16_000);
            var frame = client.next("");
            while (frame.type() != DATA || frame.payload().length == 0) {
                frame = client.next("");
            }
            Check.equal("32000", frame.text(), "the bytes of a full upload",
                    "");
        }

        @Test
        void a_reader_wakes_up_when_its_stream_is_reset() throws Exception {
            var reading = new CountDownLatch(1);
            var outcome = new CompletableFuture<Boolean>();
            var client = client(server(USUAL, exchange -> {
                exchange.body().read();
                reading.countDown();
                try {
                    exchange.body().read();
                    outcome.complete(false);
                } catch (IOException e) {
                    outcome.complete(exchange.isReset());
                }
            })).request(1, "POST", "/").data(1, false, 1);
            Await.open(reading, "the first byte to be read", "");
            client.number(RST_STREAM, 1, CANCEL);
            Check.equal(true, Await.value(outcome, "read() to end", "leave"
                    + " Body as it is"), "an IOException, and isReset(),", "");
        }

        @Test
        void an_early_response_is_whole_before_the_upload_is_stopped()
                throws Exception {
            // RFC 9113 section 8.1: RST_STREAM with NO_ERROR
            var client = client(server(USUAL, text("enough")));
            client.request(1, "POST", "/").data(1, false, 100);
            client.expect(HEADERS, 1, "");
            body(client, 1, "enough");
            var reset = client.expect(RST_STREAM, 1, "leave finish() as it is");
            Check.equal(NO_ERROR, reset.code(), "the error code", "");
        }

        @Test
        void a_response_arrives_after_the_clients_GOAWAY() throws Exception {
            var go = new CountDownLatch(1);
            var client = client(server(USUAL, exchange -> {
                go.await();
                text("hello").handle(exchange);
            })).request(1, "GET", "/");
            client.send(GOAWAY, 0, 0, new byte[8]);
            client.settle("");
            go.countDown();
            client.expect(HEADERS, 1, "GOAWAY ends no stream");
            body(client, 1, "hello");
        }

        private static void sends(Http2Peer client, int id, int bytes,
                String after) throws IOException {
            Check.equal(bytes, data(upTo(client, bytes)), "the bytes of DATA"
                    + " on stream " + id + " after " + after, "");
        }

        /** The frames up to so many bytes of DATA, and what comes then. */
        private static List<Http2Peer.Frame> upTo(Http2Peer client, int bytes)
                throws IOException {
            var frames = new ArrayList<Http2Peer.Frame>();
            while (data(frames) < bytes) {
                var frame = client.next("the window allows DATA");
                Check.that(frame.type() == DATA || frame.type() == HEADERS,
                        "DATA, got " + frame, "");
                frames.add(frame);
            }
            frames.addAll(client.settle(""));
            return frames;
        }

        private static Http2Server.Handler bytes(int count) {
            return exchange -> {
                exchange.respond(200, List.of());
                exchange.output().write(new byte[count]);
            };
        }
    }

    @Step(value = 6, title = "Limit resets and running handlers",
            further = true)
    class Limit_resets_and_running_handlers {

        private static final String SLOT = "tryAcquire() compares with"
                + " maxRunningHandlers, release() frees one slot when a handler"
                + " has ended, not when its stream has, and refuse() counts";

        @Test
        void a_stream_beyond_maxConcurrentStreams_is_refused()
                throws Exception {
            // given (Netty)
            var go = new CountDownLatch(1);
            var client = client(server(USUAL.withMaxStreams(3, 3), exchange -> {
                go.await();
                text("hello").handle(exchange);
            }));
            client.any("");   // SETTINGS, and the acknowledgement of ours
            client.any("");
            client.settle("");
            for (int id = 1; id < 8; id += 2) {
                client.request(id, "GET", "/");
            }
            Check.equal(REFUSED_STREAM, client.expect(RST_STREAM, 7, "")
                    .code(), "the error code", "");
            go.countDown();
            answered(client, 3);
        }

        @Test
        void handlers_of_streams_that_were_reset_are_limited()
                throws Exception {
            // rejects: open streams counted; a slot released by the reset
            flood(id -> Http2Peer.bytes(RST_STREAM, 0, id, (byte) 0, (byte) 0,
                    (byte) 0, (byte) 8));
        }

        @Test
        void handlers_of_streams_that_the_server_resets_are_limited_too()
                throws Exception {
            // MadeYouReset, CVE-2025-8671
            flood(id -> Http2Peer.bytes(WINDOW_UPDATE, 0, id, new byte[4]));
        }

        private static void flood(IntFunction<byte[]> reset) throws Exception {
            // rejects: a release of more than one slot, which the second
            // round shows: 4 of 8 handlers have ended
            var gate = new Semaphore(0);
            closeLater(() -> gate.release(1000));
            var server = server(USUAL.withMaxStreams(4, 8), exchange -> {
                gate.acquireUninterruptibly();
                text("hello").handle(exchange);
            });
            var client = client(server);
            client.settle("");
            for (int round = 0; round < 2; round++) {
                int refused = round == 0 ? 12 : 12 + 16;
                for (int id = 1 + 40 * round; id < 40 * (round + 1); id += 2) {
                    client.raw(get(id)).raw(reset.apply(id)).settle(SLOT);
                }
                Await.until(() -> server.stats().openStreams() == 0
                        && server.stats().runningHandlers() >= 8, "all streams"
                        + " to be closed, and 8 handlers to run", SLOT);
                Check.equal(new Http2Server.Stats(0, 8, 0, refused),
                        server.stats(), "stats() after 20 requests that were"
                        + " reset" + (round == 0 ? "" : ", 4 handlers that"
                        + " ended, and 20 more requests"), SLOT);
                gate.release(round == 0 ? 4 : 1000);
                int left = round == 0 ? 4 : 0;
                Await.until(() -> server.stats().runningHandlers() == left,
                        left + " handlers to be left", "");
            }
            for (int id = 81; id < 120; id += 2) {
                client.request(id, "GET", "/");
                var frame = client.next(SLOT);
                Check.that(frame.is(HEADERS, id), "a response on stream " + id
                        + ", got " + frame, "release() each slot once");
                body(client, id, "hello");
            }
        }

        @Test
        void a_refused_stream_is_reset_and_reaches_no_handler()
                throws Exception {
            // rejects: the connection closed; 503; nothing at all
            var go = new CountDownLatch(1);
            var handlers = new AtomicInteger();
            var server = server(USUAL.withMaxStreams(2, 2), exchange -> {
                handlers.incrementAndGet();
                stubborn(go).handle(exchange);
            });
            var client = client(server);
            for (int id = 1; id < 4; id += 2) {
                client.request(id, "GET", "/").number(RST_STREAM, id, CANCEL);
            }
            Await.until(() -> server.stats().openStreams() == 0
                    && server.stats().runningHandlers() == 2, "two handlers to"
                    + " run, and no stream to be open", SLOT);
            for (int id = 5; id < 9; id += 2) {
                client.request(id, "GET", "/");
                Check.equal(REFUSED_STREAM, client.expect(RST_STREAM, id,
                        "refuse() resets the stream").code(),
                        "the error code", "REFUSED_STREAM: the client may send"
                                + " the request again");
            }
            Check.equal(2L, server.stats().refused(), "stats().refused()",
                    "count each refused stream");
            Check.equal(2, handlers.get(), "the handlers that have begun", "");
            go.countDown();
            Await.until(() -> server.stats().runningHandlers() == 0, "the"
                    + " handlers to end", "");
            client.request(9, "GET", "/");
            client.expect(HEADERS, 9, "the connection goes on");
            body(client, 9, "hello");
        }

        @Test
        void a_slot_is_free_when_the_client_has_the_end_of_the_response()
                throws Exception {
            // rejects: slots that are lost, or released too late
            var server = server(USUAL.withMaxStreams(1, 1), exchange -> {
                if (exchange.request().path().equals("/bad")) {
                    throw new IllegalStateException("lab");
                }
                text("hello").handle(exchange);
            });
            var client = client(server);
            for (int id = 1; id < 80; id += 2) {
                boolean bad = id % 3 == 0;
                client.request(id, "GET", bad ? "/bad" : "/");
                client.expect(HEADERS, id, "release() the slot of a handler"
                        + " that has returned or thrown");
                body(client, id, bad ? "" : "hello");
            }
            Check.equal(0L, server.stats().refused(), "stats().refused()", "");
        }

        @Test
        void each_connection_has_its_own_slots() throws Exception {
            var go = new CountDownLatch(1);
            var server = server(USUAL.withMaxStreams(2, 2), exchange -> {
                if (exchange.request().path().equals("/stuck")) {
                    stubborn(go).handle(exchange);
                } else {
                    text("hello").handle(exchange);
                }
            });
            var first = client(server);
            for (int id = 1; id < 4; id += 2) {
                first.request(id, "GET", "/stuck")
                        .number(RST_STREAM, id, CANCEL);
            }
            Await.until(() -> server.stats().runningHandlers() == 2, "two"
                    + " handlers to run", "");
            var second = client(server).request(1, "GET", "/");
            second.expect(HEADERS, 1, "count the handlers of each connection"
                    + " apart: one client must not shut out the others");
            body(second, 1, "hello");
            go.countDown();
        }

        @Test
        void a_hundred_resets_are_accepted_and_five_hundred_are_not()
                throws Exception {
            // given (Netty): at most 200 in 30 s
            var server = server(USUAL, text("hello"));
            var frames = new ByteArrayOutputStream();
            for (int id = 1; id < 200; id += 2) {
                frames.writeBytes(get(id));
                frames.writeBytes(Http2Peer.bytes(RST_STREAM, 0, id,
                        new byte[4]));
            }
            var client = client(server).raw(frames.toByteArray());
            client.settle("");
            client.request(1001, "GET", "/");
            var frame = client.next("");
            while (frame.stream() != 1001) {
                frame = client.next("");
            }
            body(client, 1001, "hello");
            for (int id = 1003; id < 1803; id += 2) {
                frames.writeBytes(get(id));
                frames.writeBytes(Http2Peer.bytes(RST_STREAM, 0, id,
                        new byte[4]));
            }
            var flood = client(server).raw(frames.toByteArray()).rest("");
            Check.that(flood.stream().anyMatch(each -> each.type() == GOAWAY
                    && each.code() == 11), "GOAWAY with ENHANCE_YOUR_CALM (11)"
                    + " among " + flood.size() + " frames", "leave codec() as"
                    + " it is");
        }

        @Test
        void headers_above_the_limit_are_refused() throws Exception {
            // given (Netty)
            var client = client(server(new Http2Server.Options(10, 10, 65_535,
                    1000), text("hello")));
            client.request(1, "GET", "/", "x-long", "x".repeat(1000));
            var frame = client.next("");
            Check.that(frame.stream() == 1 && (frame.type() == RST_STREAM
                    || frame.status() == 0), "431 or RST_STREAM, got " + frame,
                    "");
            client.request(3, "GET", "/");
            while (frame.stream() != 3) {
                frame = client.next("");
            }
            body(client, 3, "hello");
        }
    }

    @Step(value = 7, title = "Shut down with GOAWAY", further = true)
    class Shut_down_with_GOAWAY {

        private static final Duration LONG = Duration.ofSeconds(30);
        private static final String FIRST = "goAway() sends GOAWAY with"
                + " 2147483647, and a PING behind it";
        private static final String LAST = "lastGoAway() sends GOAWAY with the"
                + " last stream when the PING is answered; the answer comes to"
                + " the connection, which addHttp2() adds to the pipeline";

        @Test
        void two_GOAWAYs_frame_a_PING_and_running_streams_end_in_full()
                throws Exception {
            var scene = new Scene();
            scene.client.request(1, "GET", "/").request(3, "GET", "/");
            scene.await(2);
            scene.shutdown(LONG);
            var ping = scene.first();
            scene.client.send(PING, ACK, 0, ping.payload());
            scene.last(3);
            scene.go.countDown();
            answered(scene.client, 2);
            scene.ends();
            Check.equal(true, scene.result(), "shutdown()", "all streams have"
                    + " ended within the grace period");
        }

        @Test
        void a_request_between_the_two_GOAWAYs_is_answered() throws Exception {
            // rejects: one GOAWAY with the last stream at once
            var scene = new Scene();
            scene.client.request(1, "GET", "/");
            scene.await(1);
            scene.shutdown(LONG);
            var ping = scene.first();
            scene.client.request(3, "GET", "/").request(5, "GET", "/");
            Check.equal(List.of(), scene.client.settle(""), "the frames before"
                    + " the PING is answered", LAST);
            scene.client.send(PING, ACK, 0, ping.payload());
            scene.last(5);
            scene.go.countDown();
            answered(scene.client, 3);
            scene.ends();
            Check.equal(true, scene.result(), "shutdown()", "");
        }

        @Test
        void a_connection_without_streams_waits_for_the_answer_to_its_PING()
                throws Exception {
            // rejects: a connection closed when its last stream ends, though
            // the last GOAWAY was not sent: a request may be on its way
            var scene = new Scene();
            scene.client.request(1, "GET", "/");
            scene.await(1);
            scene.shutdown(LONG);
            var ping = scene.first();
            scene.go.countDown();
            answered(scene.client, 1);
            var likely = "closeIfDone() closes a connection that is draining,"
                    + " not each one of a server that shuts down";
            Check.equal(List.of(), scene.client.settle(likely), "the frames"
                    + " before the PING is answered", LAST);
            scene.client.request(3, "GET", "/");
            answered(scene.client, 1);
            Check.that(!scene.result.outcome().isDone(), "shutdown() to wait"
                    + " for the connection, but it has returned", "wait for"
                    + " connections, not for streams");
            scene.client.send(PING, ACK, 0, ping.payload());
            scene.last(3);
            scene.ends();
            Check.equal(true, scene.result(), "shutdown()", "");
        }

        @Test
        void a_request_after_the_last_GOAWAY_is_not_answered()
                throws Exception {
            var scene = new Scene();
            scene.client.request(1, "GET", "/");
            scene.await(1);
            scene.shutdown(LONG);
            scene.client.send(PING, ACK, 0, scene.first().payload());
            scene.last(1);
            scene.client.request(3, "GET", "/");
            scene.client.settle("");
            scene.go.countDown();
            for (var frame : scene.client.rest("")) {
                Check.that(frame.stream() == 1 || frame.type() == RST_STREAM,
                        "no response on stream 3, got " + frame, LAST);
            }
            Check.equal(true, scene.result(), "shutdown()", "");
        }

        @Test
        void the_answer_to_another_PING_is_no_signal() throws Exception {
            // rejects: any acknowledgement taken for that of the PING
            var scene = new Scene();
            scene.client.request(1, "GET", "/");
            scene.await(1);
            scene.shutdown(LONG);
            var ping = scene.first();
            scene.client.send(PING, ACK, 0, "strange!".getBytes());
            Check.equal(List.of(), scene.client.settle(""), "the frames after"
                    + " an answer to a PING that was not sent", LAST);
            scene.client.send(PING, ACK, 0, ping.payload());
            scene.client.send(PING, ACK, 0, ping.payload());
            scene.last(1);
            Check.equal(List.of(), scene.client.settle(""), "the frames after"
                    + " a second answer", "send the last GOAWAY once");
            scene.go.countDown();
            answered(scene.client, 1);
            scene.ends();
        }

        @Test
        void a_connection_without_streams_ends_at_once() throws Exception {
            // rejects: a connection that waits for the next stream to end
            var scene = new Scene();
            var second = client(scene.server);
            scene.client.request(1, "GET", "/");
            scene.go.countDown();
            answered(scene.client, 1);
            second.settle("");
            scene.shutdown(LONG);
            scene.client.send(PING, ACK, 0, scene.first().payload());
            scene.last(1);
            scene.ends();
            var ping = scene.first(second);
            second.send(PING, ACK, 0, ping.payload());
            Check.equal(0, second.expect(GOAWAY, 0, LAST).number(0), "the last"
                    + " stream of a connection without streams", LAST);
            Check.that(second.next("").isClosed(), "the end of the connection",
                    "");
            Check.equal(true, scene.result(), "shutdown()", "wait until each"
                    + " connection has ended");
        }

        @Test
        void after_the_grace_period_or_an_interrupt_streams_are_cut()
                throws Exception {
            // rejects: a wait without an end; true for a shutdown that cut;
            // close() left out by an InterruptedException
            var interrupted = new CountDownLatch(3);
            var server = server(USUAL, _ -> {
                try {
                    new CountDownLatch(1).await();
                } catch (InterruptedException e) {
                    interrupted.countDown();
                }
            });
            var clients = new ArrayList<Http2Peer>();
            for (int i = 0; i < 3; i++) {
                clients.add(client(server).request(1, "GET", "/"));
            }
            Await.until(() -> server.stats().runningHandlers() == 3, "three"
                    + " handlers to run", "");
            var result = PendingCall.start(() ->
                    server.shutdown(Duration.ofMillis(50)));
            for (var client : clients) {
                Check.equal(List.of("GOAWAY 2147483647", "PING", "GOAWAY 1",
                        "RST_STREAM 8"), rest(client), "the frames of the"
                        + " server", "when the grace period is over:"
                        + " lastGoAway() for each connection, then close()");
            }
            Check.equal(false, Await.value(result.outcome(), "shutdown() to"
                    + " return", "wait until the deadline, not longer"),
                    "shutdown() that has cut streams", "return what"
                            + " awaitConnections() says");
            Await.open(interrupted, "the handlers to be interrupted", "");

            var scene = new Scene();
            scene.client.request(1, "GET", "/");
            scene.await(1);
            scene.shutdown(LONG);
            scene.first();
            scene.result.thread().interrupt();
            Check.equal(List.of("GOAWAY 1", "RST_STREAM 8"),
                    rest(scene.client), "the frames of the server after an"
                    + " interrupt", "when shutdown() is interrupted:"
                    + " lastGoAway() for each connection, then close(), in a"
                    + " finally block");
            var thrown = Check.fails(ExecutionException.class,
                    () -> scene.result.outcome().get(10, TimeUnit.SECONDS),
                    "shutdown() that is interrupted", "let it pass");
            Check.that(thrown.getCause() instanceof InterruptedException,
                    "an InterruptedException, got " + thrown.getCause(), "");

            // rejects: a wait for streams alone; the whole grace period for
            // each connection, which is longer than a test waits
            var quiet = server(USUAL, text("hello"));
            for (int i = 0; i < 400; i++) {
                closeLater(new Socket(ANY.getAddress(),
                        quiet.localAddress().getPort()));
            }
            var client = client(quiet);
            client.settle("");
            var idle = PendingCall.start(() ->
                    quiet.shutdown(Duration.ofMillis(50)));
            Check.equal(List.of("GOAWAY 2147483647", "PING", "GOAWAY 0"),
                    rest(client), "the frames for a client without streams"
                    + " that does not answer the PING", LAST);
            Check.equal(false, Await.value(idle.outcome(), "shutdown() to"
                    + " return", "one deadline for all connections"),
                    "shutdown() that has cut a connection"
                    + " whose client did not answer the PING", "wait for"
                    + " connections, not for streams");
        }

        private static List<String> rest(Http2Peer client) throws IOException {
            return client.rest("after the grace period, which is one for all"
                    + " connections, or an interrupt: lastGoAway() and"
                    + " close()").stream().map(frame ->
                    frame.type() == GOAWAY ? "GOAWAY " + frame.number(0)
                    : frame.type() == RST_STREAM ? "RST_STREAM " + frame.code()
                    : frame.type() == PING ? "PING" : frame.toString())
                    .toList();
        }

        @Test
        void a_shutdown_accepts_no_further_connection() throws Exception {
            var scene = new Scene();
            scene.client.request(1, "GET", "/");
            scene.await(1);
            scene.shutdown(LONG);
            scene.client.send(PING, ACK, 0, scene.first().payload());
            scene.last(1);
            Check.fails(IOException.class, () -> new Socket(
                    ANY.getAddress(), scene.server.localAddress().getPort()),
                    "a connect during a shutdown", "stopListening() first");
            scene.go.countDown();
            answered(scene.client, 1);
            scene.ends();
            Check.equal(true, scene.result(), "shutdown()", "");
        }

        @Test
        void a_shutdown_waits_for_a_response_that_its_client_takes_slowly()
                throws Exception {
            // rejects: the connection closed when the handler has ended
            var server = server(USUAL, exchange -> {
                exchange.respond(200, List.of());
                exchange.output().write(new byte[30_000]);
            });
            var client = client(server, WINDOW, 10_000).request(1, "GET", "/");
            Await.until(() -> server.stats().served() == 1, "the handler to"
                    + " return", "");
            var result = PendingCall.start(() -> server.shutdown(LONG));
            int bytes = 0;
            for (var frame = client.next(""); !frame.isClosed();
                    frame = client.next("")) {
                if (frame.type() == PING) {
                    client.send(PING, ACK, 0, frame.payload());
                } else if (frame.type() == GOAWAY && frame.number(0) == 1) {
                    client.number(WINDOW_UPDATE, 1, 20_000);
                }
                bytes += frame.type() == DATA ? frame.payload().length : 0;
            }
            Check.equal(30_000, bytes, "the bytes of the response",
                    "closeIfDone() closes the channel when no stream is open");
            Check.equal(true, Await.value(result.outcome(), "shutdown() to"
                    + " return", ""), "shutdown()", "");
        }

        @Test
        void close_cuts_everything_at_once_also_from_a_handler()
                throws Exception {
            // given; here because it is the lab's contract
            var holder = new CompletableFuture<Http2Server>();
            var closed = new CountDownLatch(1);
            var server = server(USUAL, exchange -> {
                if (exchange.request().path().equals("/close")) {
                    holder.join().close();
                    closed.countDown();
                }
                new CountDownLatch(1).await();
            });
            holder.complete(server);
            var client = client(server).request(1, "GET", "/")
                    .request(3, "GET", "/close");
            Await.open(closed, "close() to return in a handler", "");
            client.rest("");
            server.close();
            Await.until(() -> server.stats().runningHandlers() <= 1,
                    "the other handler to be interrupted", "");
        }

        /** A server whose handlers wait, and a client. */
        private static final class Scene {

            private final CountDownLatch go = new CountDownLatch(1);
            private final Http2Server server = server(USUAL, exchange -> {
                go.await();
                text("hello").handle(exchange);
            });
            private final Http2Peer client = client(server);
            private PendingCall<Boolean> result;

            private Scene() throws IOException {}

            private void await(int handlers) throws InterruptedException {
                Await.until(() -> server.stats().runningHandlers()
                        == handlers, handlers + " handlers to run", "");
            }

            private void shutdown(Duration grace) {
                result = PendingCall.start(() -> server.shutdown(grace));
            }

            private Http2Peer.Frame first() throws IOException {
                return first(client);
            }

            /** The first GOAWAY, and the PING. */
            private Http2Peer.Frame first(Http2Peer client)
                    throws IOException {
                var goAway = client.expect(GOAWAY, 0, FIRST);
                Check.equal(MOST, goAway.number(0), "the last stream of the"
                        + " first GOAWAY", FIRST);
                Check.equal(NO_ERROR, goAway.code(), "its error code", FIRST);
                var ping = client.expect(PING, 0, FIRST);
                Check.equal(0, ping.flags(), "the flags of the PING", FIRST);
                return ping;
            }

            private void last(int stream) throws IOException {
                var goAway = client.expect(GOAWAY, 0, LAST);
                Check.equal(stream, goAway.number(0), "the last stream of the"
                        + " last GOAWAY", LAST);
                Check.equal(NO_ERROR, goAway.code(), "its error code", LAST);
            }

            private void ends() throws IOException {
                var frame = client.next("closeIfDone() closes the channel when"
                        + " the last stream has ended");
                Check.that(frame.isClosed(), "the end of the connection, got "
                        + frame, "");
            }

            private boolean result() throws InterruptedException {
                return Await.value(result.outcome(), "shutdown() to return",
                        "wait for the connections that are left, no longer");
            }
        }
    }

    // What the tests share.

    private static Http2Server server(Http2Server.Options options,
            Http2Server.Handler handler) throws IOException {
        return closeLater(Http2Server.start(ANY, handler, options),
                server -> server.stats().toString());
    }

    private static Http2Server secure(Http2Server.Handler handler)
            throws IOException {
        return closeLater(Http2Server.startTls(ANY, TLS, handler, USUAL),
                server -> server.stats().toString());
    }

    private static Http2Peer client(Http2Server server, int... settings)
            throws IOException {
        return Http2Peer.connect(server.localAddress()).hello(settings);
    }

    private static Http2Server.Handler text(String text) {
        return exchange -> {
            exchange.respond(200, List.of());
            exchange.output().write(text.getBytes());
        };
    }

    /** Ignores interrupts until the latch opens, then says hello. */
    private static Http2Server.Handler stubborn(CountDownLatch go) {
        closeLater(go::countDown);
        return exchange -> {
            while (go.getCount() > 0) {
                try {
                    go.await();
                } catch (InterruptedException e) {
                    // that is the point
                }
            }
            text("hello").handle(exchange);
        };
    }

    private static Http2Server.Header header(String name, String value) {
        return new Http2Server.Header(name, value);
    }

    private static byte[] get(int id) {
        return Http2Peer.bytes(HEADERS, END_HEADERS | END_STREAM, id,
                Http2Peer.block(":method", "GET", ":scheme", "http", ":path",
                        "/"));
    }

    /** The DATA that follow HEADERS on this stream, up to its end. */
    private static void body(Http2Peer client, int id, String expected)
            throws IOException {
        var text = new String(body(client, id, expected.length()));
        Check.equal(expected, text, "the body on stream " + id, "write the"
                + " bytes that sendData() is given");
    }

    private static byte[] body(Http2Peer client, int id, int most)
            throws IOException {
        var bytes = new ByteArrayOutputStream();
        var likely = "sendData() sets END_STREAM on the last frame";
        while (true) {
            var frame = client.expect(DATA, id, likely);
            bytes.writeBytes(frame.payload());
            if (frame.endsStream()) {
                return bytes.toByteArray();
            }
            Check.that(bytes.size() <= most, "the end of the stream after "
                    + most + " bytes", likely);
        }
    }

    private static int data(List<Http2Peer.Frame> frames) {
        return frames.stream().filter(frame -> frame.type() == DATA)
                .mapToInt(frame -> frame.payload().length).sum();
    }

    /** As many streams have ended. */
    private static void answered(Http2Peer client, int streams)
            throws IOException {
        for (int ended = 0; ended < streams; ) {
            var frame = client.next("a stream that runs is answered in full");
            Check.that(frame.type() == HEADERS || frame.type() == DATA, "the"
                    + " responses of streams that run, got " + frame, "let"
                    + " running streams end before the channel is closed");
            ended += frame.endsStream() ? 1 : 0;
        }
    }

    private static SSLSocket connect(Http2Server server, String... protocols)
            throws IOException {
        var socket = (SSLSocket) TRUST.sslSocketFactory().createSocket(
                "localhost", server.localAddress().getPort());
        var parameters = socket.getSSLParameters();
        parameters.setApplicationProtocols(protocols);
        socket.setSSLParameters(parameters);
        socket.setSoTimeout(10_000);
        return socket;
    }

    private static OkHttpClient okHttp() {
        return closed(new OkHttpClient.Builder().protocols(List.of(
                Protocol.H2_PRIOR_KNOWLEDGE)).build());
    }

    private static OkHttpClient okHttpTls() {
        return closed(new OkHttpClient.Builder().sslSocketFactory(
                TRUST.sslSocketFactory(), TRUST.trustManager()).build());
    }

    private static OkHttpClient closed(OkHttpClient client) {
        closeLater(client.connectionPool()::evictAll);
        return client;
    }

    private static okhttp3.Request request(Http2Server server, String scheme,
            String path) {
        return new okhttp3.Request.Builder().url(scheme + "://localhost:"
                + server.localAddress().getPort() + path).build();
    }
}
