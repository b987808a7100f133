///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:okhttp-tls:5.5.1
//DEPS com.squareup.okhttp3:mockwebserver3:5.5.1
//SOURCES ../../labs/405-http-transport/HttpTransport.java
//SOURCES ../kit/*.java

import static kit.TestLifecycle.closeLater;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ProtocolException;
import java.net.Proxy;
import java.net.ProxySelector;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketAddress;
import java.net.SocketTimeoutException;
import java.net.URI;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Deque;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.logging.Level;
import java.util.logging.Logger;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import javax.net.ServerSocketFactory;
import javax.net.ssl.SSLPeerUnverifiedException;
import kit.Await;
import kit.Bytes;
import kit.Check;
import kit.DeadEnd;
import kit.History;
import kit.Lab;
import kit.Patience;
import kit.SocksProxy;
import kit.Step;
import mockwebserver3.Dispatcher;
import mockwebserver3.MockResponse;
import mockwebserver3.MockResponseBody;
import mockwebserver3.MockWebServer;
import mockwebserver3.RecordedRequest;
import mockwebserver3.SocketEffect;
import okhttp3.Call;
import okhttp3.Connection;
import okhttp3.Dns;
import okhttp3.EventListener;
import okhttp3.HttpUrl;
import okhttp3.MediaType;
import okhttp3.OkHttpClient;
import okhttp3.Protocol;
import okhttp3.Request;
import okhttp3.RequestBody;
import okhttp3.Response;
import okhttp3.WebSocket;
import okhttp3.WebSocketListener;
import okhttp3.tls.HandshakeCertificates;
import okhttp3.tls.HeldCertificate;
import okio.Buffer;
import okio.BufferedSink;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;

/**
 * Lab 405, step by step. The servers are OkHttp's MockWebServer; the proxies are the kit's, and once microsocks. A
 * comment {@code rejects:} names the wrong solutions that a test rejects.
 */
@Lab
class HttpTransportTest {

    private static final HttpTransport.Redactor PLAIN = new HttpTransport.Redactor(Set.of(), Set.of());
    private static final String HIDDEN = "\u2588\u2588";
    private static final int PREVIEW = 100;   // bytes, where a test says nothing else
    private static final Duration HANGS = Duration.ofSeconds(10);   // only a mistake takes that long
    private static final Dns NOBODY = name -> {
        throw new UnknownHostException("nobody here knows " + name);
    };

    static {
        Logger.getLogger(MockWebServer.class.getName()).setLevel(Level.OFF);
    }

    @Step(value = 1, title = "Override name resolution")
    class Override_name_resolution {

        @Test
        void a_name_in_the_table_resolves_to_its_addresses_in_their_order() throws IOException {
            var table = new HttpTransport.StaticDns(Map.of("api.lab.test", addresses("10.0.0.2", "::1", "10.0.0.1"),
                    "shop.lab.test", addresses("10.0.0.3")), NOBODY);
            finds(table, "api.lab.test", "10.0.0.2", "::1", "10.0.0.1");
            finds(table, "shop.lab.test", "10.0.0.3");
        }

        @Test
        void names_are_case_insensitive_in_every_locale() throws IOException {
            // rejects: get() on a copy of the map; toLowerCase() in the language of the machine
            inTurkish(() -> {
                var table = new HttpTransport.StaticDns(Map.of("API.lab.test", addresses("10.0.0.1"),
                        "*.ICE.test", addresses("10.0.0.2")), NOBODY);
                finds(table, "api.lab.test", "10.0.0.1");
                finds(table, "Api.Lab.Test", "10.0.0.1");
                finds(table, "vanilla.ice.test", "10.0.0.2");
            });
        }

        @Test
        void a_wildcard_matches_every_name_below_its_suffix_and_not_the_suffix() throws IOException {
            // rejects: endsWith("lab.test"), which matches evillab.test; a star for one label only
            var table = new HttpTransport.StaticDns(Map.of("*.lab.test", addresses("10.0.0.1")), NOBODY);
            finds(table, "api.lab.test", "10.0.0.1");
            finds(table, "eu.api.lab.test", "10.0.0.1");
            for (var other : List.of("lab.test", "evillab.test", "lab.test.evil.test", "test")) {
                unknown(table, other, "\"*.lab.test\" matches names that end with \".lab.test\", including the dot");
            }
        }

        @Test
        void the_name_itself_wins_then_the_longest_suffix() throws IOException {
            // rejects: the first suffix in the order of the table, of its text or of its length
            var keys = List.of("*.test", "*.zoo.test", "*.lab.test", "*.eu.lab.test", "api.eu.lab.test",
                    "*.a.zoo.test");
            for (var order : List.of(keys, keys.reversed())) {
                var entries = new LinkedHashMap<String, List<InetAddress>>();
                order.forEach(key -> entries.put(key, addresses("10.0.0." + keys.indexOf(key))));
                var table = new HttpTransport.StaticDns(entries, NOBODY);
                finds(table, "api.eu.lab.test", "10.0.0.4");
                finds(table, "shop.eu.lab.test", "10.0.0.3");
                finds(table, "eu.lab.test", "10.0.0.2");
                finds(table, "b.zoo.test", "10.0.0.1");
                finds(table, "b.a.zoo.test", "10.0.0.5");
                finds(table, "other.test", "10.0.0.0");
            }
        }

        @Test
        void the_fallback_resolves_names_that_no_key_matches() throws IOException {
            var table = new HttpTransport.StaticDns(Map.of("api.lab.test", addresses("10.0.0.1")), name -> {
                Check.equal("Other.test", name, "the name that the fallback receives", "pass the name on as it is");
                return addresses("10.9.9.9", "10.9.9.8");
            });
            finds(table, "Other.test", "10.9.9.9", "10.9.9.8");
            finds(table, "api.lab.test", "10.0.0.1");
            unknown(new HttpTransport.StaticDns(Map.of(), NOBODY), "other.test",
                    "let the UnknownHostException of the fallback pass");
        }

        @Test
        void a_name_with_an_empty_list_is_unknown() throws IOException {
            // rejects: an empty list is treated like a missing key
            var table = new HttpTransport.StaticDns(Map.of("ads.lab.test", List.of(), "*.lab.test",
                    addresses("10.0.0.1"), "*.ads.test", List.of()), name -> addresses("10.9.9.9"));
            for (var name : List.of("ads.lab.test", "x.ads.test")) {
                unknown(table, name, "a name with an empty list is in the table: neither a shorter suffix nor the"
                        + " fallback is asked");
            }
        }

        @Test
        void queries_lists_the_last_1000_names_in_order() throws IOException {
            // rejects: a set; only the names that were found; a list that grows for ever
            var table = new HttpTransport.StaticDns(Map.of("api.lab.test", addresses("10.0.0.1")), NOBODY);
            table.lookup("api.lab.test");
            unknown(table, "other.test", "");
            table.lookup("api.lab.test");
            Check.equal(List.of("api.lab.test", "other.test", "api.lab.test"), table.queries(), "queries()",
                    "remember() each name before it is looked up");
            for (int i = 0; i < 1_001; i++) {
                table.lookup("api.lab.test");
            }
            Check.equal(Collections.nCopies(1_000, "api.lab.test"), table.queries(), "queries() after 1,004 lookups",
                    "remember() keeps the last 1,000");
        }

        @Test
        void a_client_resolves_names_and_tries_their_addresses_in_turn() throws IOException {
            // rejects: only the first address
            var server = Server.plain(request -> ok("hello"));
            var table = new HttpTransport.StaticDns(
                    Map.of("shop.lab.test", addresses("127.0.0.2", "127.0.0.1")), NOBODY);
            var client = client(new HttpTransport.Builder().dns(table));
            Check.equal("hello", call(client, server.url("shop.lab.test", "/")).body(), "the body", "");
            Check.equal("shop.lab.test:" + server.port(), server.seen(0).getHeaders().get("Host"), "Host",
                    "only the socket uses the address; the URL stays");
            call(client, server.url("127.0.0.1", "/"));
            Check.equal(List.of("shop.lab.test"), table.queries(), "queries()", "hookDns: client.dns(dns)");
        }

        private void finds(Dns dns, String name, String... expected) throws UnknownHostException {
            Check.equal(addresses(expected), dns.lookup(name), "lookup(\"" + name + "\")",
                    "look up the name, then \"*\" and what begins at each dot, from left to right; all addresses of"
                            + " the first key that is in the table");
        }

        private void unknown(Dns dns, String name, String likely) {
            Check.fails(UnknownHostException.class, () -> dns.lookup(name), "lookup(\"" + name + "\")", likely);
        }
    }

    @Step(value = 2, title = "Log every exchange")
    class Log_every_exchange {

        private final Log log = new Log();

        @Test
        void an_exchange_is_reported_as_it_was_sent() throws Exception {
            // rejects: an application interceptor, which does not see what OkHttp adds
            var server = Server.plain(request -> new MockResponse.Builder().code(203).body("hello")
                    .addHeader("X-Shelf: left").build());
            call(logging(), new Request.Builder().url(server.url("/books?page=2")).header("X-Trace", "7").build());
            var exchange = log.only();
            Check.equal("GET", exchange.method(), "method()", "");
            Check.equal(server.url("/books?page=2").toString(), exchange.url(), "url()", "");
            Check.equal(203, exchange.status(), "status()", "");
            Check.equal("http/1.1", exchange.protocol(), "protocol()", "chain.connection().protocol()");
            Check.equal(List.of("7"), exchange.requestHeaders().get("X-Trace"), "requestHeaders of X-Trace", "");
            Check.that(exchange.requestHeaders().containsKey("User-Agent"),
                    "requestHeaders with what OkHttp adds, a User-Agent, got " + exchange.requestHeaders(),
                    "hookLog: an application interceptor sees the request before OkHttp adds to it");
            Check.equal(List.of("left"), exchange.responseHeaders().get("X-Shelf"), "responseHeaders of X-Shelf", "");
            Check.equal(Optional.empty(), exchange.failure(), "failure()", "");
        }

        @Test
        void each_hop_of_a_redirect_is_an_exchange() throws Exception {   // rejects: an application interceptor
            var server = Server.plain(request -> request.getTarget().equals("/old") ? movedTo("/new") : ok("hello"));
            call(logging(), server.url("/old"));
            var all = log.all(2, "OkHttp follows redirects above network interceptors: hook in below");
            Check.equal(302, all.get(0).status(), "status() of the first exchange", "");
            Check.equal(server.url("/old").toString(), all.get(0).url(), "url() of the first exchange", "");
            Check.equal(200, all.get(1).status(), "status() of the second exchange", "");
            Check.equal(server.url("/new").toString(), all.get(1).url(), "url() of the second exchange", "");
            Check.that(all.get(0).id() < all.get(1).id(), "ids that grow, got " + all.get(0).id() + " and then "
                    + all.get(1).id(), "the Exchange has the id of its Recording");
        }

        @Test
        void a_retry_on_another_connection_is_an_exchange() throws Exception {
            // a pooled connection that is closed under a request; rejects: an application interceptor
            var count = new AtomicInteger();
            var server = Server.plain(request -> count.incrementAndGet() != 2 ? ok("hello")
                    : new MockResponse.Builder().onResponseStart(new SocketEffect.CloseSocket()).build());
            var client = logging();
            call(client, server.url("/1"));
            call(client, server.url("/2"));
            var statuses = log.all(3, "report failures as well; OkHttp retries above network interceptors: hook in"
                    + " below").stream().map(HttpTransport.Exchange::status).toList();
            Check.equal(List.of(200, -1, 200), statuses, "the status of each exchange", "");
        }

        @Test
        void the_caller_reads_every_byte_and_the_log_keeps_a_preview() throws Exception {
            // rejects: a logger that reads the body; one that returns only the preview
            for (int size : List.of(0, 1, PREVIEW, PREVIEW + 1, 5_000_000)) {
                var body = "0123456789".repeat(size / 10 + 1).substring(0, size);
                var server = Server.plain(request -> ok(body));
                var got = call(logging(), server.url("/" + size)).body();
                Check.that(got.equals(body), "a body of " + size + " bytes, got " + got.length()
                        + (got.length() == size ? ", other ones" : ""), "return received.copying(response, ...)");
                var preview = log.last().responsePreview();
                Check.equal(body.substring(0, Math.min(size, PREVIEW)), preview.text(), "the preview of " + size
                        + " bytes", "received.preview(redactor), when the body is over");
                Check.equal((long) size, preview.bytes(), "bytes() of the preview", "");
                Check.equal(size > PREVIEW, preview.truncated(), "truncated() of the preview of " + size + " bytes",
                        "");
            }
        }

        @Test
        void both_bodies_are_previewed_as_they_were_sent_compressed_or_not() throws Exception {
            // rejects: previews that are swapped, or made too early; an application interceptor, for which OkHttp has
            // decompressed the body
            var server = Server.plain(request -> new MockResponse.Builder()
                    .addHeader("Content-Type: text/plain; charset=ISO-8859-1")
                    .body(new Buffer().writeString("Grüße zurück", StandardCharsets.ISO_8859_1)).build());
            call(logging(), post(server.url("/"), "text/plain", "Grüße"));
            Check.equal("Grüße", log.only().requestPreview().text(), "requestPreview().text()",
                    "proceed with sent.copying(request)");
            Check.equal("Grüße zurück", log.only().responsePreview().text(), "responsePreview().text()", "");
            Check.equal("Grüße", server.seen(0).getBody().utf8(), "the body that the server received", "");
            var packed = gzip("hello ".repeat(50));
            var packing = Server.plain(request -> new MockResponse.Builder()
                    .addHeader("Content-Encoding: gzip").body(new Buffer().write(packed)).build());
            Check.equal("hello ".repeat(50), call(logging(), packing.url("/")).body(), "what the caller reads", "");
            Check.equal((long) packed.length, log.last().responsePreview().bytes(), "responsePreview().bytes()",
                    "OkHttp decompresses above network interceptors: hook in below");
        }

        @Test
        void an_exchange_is_reported_when_its_body_has_been_read() throws Exception {
            // rejects: reported at the head; a time that was taken at the head
            var server = Server.plain(request -> ok("a body that is read in two pieces"));
            try (var response = logging().newCall(get(server.url("/"))).execute()) {
                long head = System.nanoTime();
                response.body().source().readUtf8(6);
                Check.equal(0, log.count(), "exchanges reported while the body is read",
                        "report() when received.copying() calls back, not when the head has come");
                pause(10);
                long body = System.nanoTime() - head;
                response.body().source().readUtf8();
                var exchange = log.only();
                Check.equal("a body that is read in two pieces", exchange.responsePreview().text(), "the preview", "");
                Check.that(exchange.took().toNanos() >= body, "took() of at least the " + body / 1_000_000
                        + " ms for which the body was read, got " + exchange.took().toMillis() + " ms",
                        "took() ends with the body: read nanoTime() in report()");
            }
            Check.equal(1, log.count(), "exchanges reported after close", "report each exchange once");
        }

        @Test
        void a_body_that_is_closed_early_is_reported_once_without_a_failure() throws Exception {
            // rejects: reported only at the end of the body
            var server = Server.plain(request -> ok("x".repeat(300_000)));
            var response = logging().newCall(get(server.url("/"))).execute();
            response.body().source().readUtf8(10);
            response.close();
            response.close();
            Check.equal(Optional.empty(), log.only().failure(), "failure()", "a caller may close a body early");
        }

        @Test
        void an_event_stream_reaches_the_caller_event_by_event() throws Exception {
            // rejects: peekBody(), string(): a log that waits for the whole body
            var more = closeLater(new Gate());
            var server = Server.plain(request -> new MockResponse.Builder()
                    .addHeader("Content-Type: text/event-stream").body(new Events(more)).build());
            Check.equal(30_000, trusting(new HttpTransport.Builder()).build().callTimeoutMillis(),
                    "the callTimeout, in ms, that a Builder sets", "leave the given Builder as it is");
            var client = closingPool(trusting(new HttpTransport.Builder().log(log, PLAIN, PREVIEW))
                    .callTimeout(Duration.ZERO).build());
            Check.equal(0, client.callTimeoutMillis(), "the callTimeout of a client for event streams", "");
            var first = background(() -> {
                var response = closeLater(client.newCall(get(server.url("/"))).execute());
                return new Object[] {response, response.body().source().readUtf8LineStrict()};
            });
            var got = value(first, "that the first event reaches the caller while the second is not sent yet",
                    "the log reads the body itself, and waits for its end: let it pass, and copy");
            Check.equal("data: 1", got[1], "the first event", "");
            more.open();
            ((Response) got[0]).close();
        }

        @Test
        void an_exchange_without_a_response_has_status_minus_1_and_a_failure() throws Exception {
            // rejects: only successes are logged; getMessage(), which may be null; catch (IOException) alone
            var server = Server.plain(request -> new MockResponse.Builder()
                    .onResponseStart(new SocketEffect.CloseSocket()).build());
            Check.fails(IOException.class, () -> attempt(logging(), post(server.url("/"), "text/plain", "hello")),
                    "a call whose server closes the connection", "throw the exception again after report()");
            var exchange = log.only();
            Check.equal(-1, exchange.status(), "status()", "");
            Check.equal("hello", exchange.requestPreview().text(), "requestPreview().text()", "");
            Check.equal(Map.of(), exchange.responseHeaders(), "responseHeaders()", "");
            Check.that(exchange.failure().isPresent(), "a failure(), got none", "report() what was thrown");
            for (var failure : List.of(new EOFException(), new IllegalStateException("half a body"))) {
                Check.fails(failure.getClass(), () -> attempt(logging(), new Request.Builder().url(server.url("/"))
                        .post(failingBody(failure)).build()), "a call whose request body throws it",
                        "throw the exception again after report()");
                Check.equal(Optional.of(failure.toString()), log.last().failure(), "failure()",
                        "report() a RuntimeException as well, and toString() of it: its message may be null");
            }
            log.all(3, "report each failed exchange, also one that a RuntimeException ends");
        }

        @Test
        void a_body_that_breaks_off_is_reported_with_its_failure() throws Exception {
            // rejects: failures of the head only
            var server = Server.plain(request -> new MockResponse.Builder().body("x".repeat(100_000))
                    .onResponseBody(new SocketEffect.CloseSocket()).build());
            Check.fails(IOException.class, () -> attempt(logging(), get(server.url("/"))),
                    "a call whose body breaks off", "let the exception pass");
            Check.equal(200, log.only().status(), "status()", "the head did come");
            Check.that(log.only().failure().isPresent(), "a failure(), got none",
                    "received.copying() passes the failure that ended the body: report() it");
        }

        @Test
        void a_connection_that_cannot_be_made_is_not_an_exchange() throws Exception {
            // rejects: an application interceptor
            var nobody = DeadEnd.refusing().address();
            Check.fails(ConnectException.class, () -> attempt(logging(), get(HttpUrl.get("http://127.0.0.1:"
                    + nobody.getPort()))), "a call to a port where no server listens", "");
            Check.equal(0, log.count(), "exchanges reported", "nothing was sent: hook in below the connection");
        }

        @Test
        void an_exception_of_the_sink_does_not_affect_the_call() throws Exception {
            // rejects: accept() without a catch
            var server = Server.plain(request -> request.getTarget().equals("/dies")
                    ? new MockResponse.Builder().onResponseStart(new SocketEffect.CloseSocket()).build() : ok("hello"));
            var client = client(new HttpTransport.Builder().log(exchange -> {
                throw new IllegalStateException("the disk is full");
            }, PLAIN, PREVIEW));
            Check.equal("hello", call(client, server.url("/")).body(), "the body", "");
            Check.fails(IOException.class, () -> attempt(client, get(server.url("/dies"))), "a call that fails",
                    "catch the sink's RuntimeException: the caller needs the failure of the call");
        }

        private OkHttpClient logging() {
            return client(new HttpTransport.Builder().log(log, PLAIN, PREVIEW));
        }

        private RequestBody failingBody(Exception failure) {
            return new RequestBody() {
                @Override
                public MediaType contentType() {
                    return null;
                }

                @Override
                public boolean isOneShot() {
                    return true;
                }

                @Override
                public void writeTo(BufferedSink sink) throws IOException {
                    sink.writeUtf8("half").flush();
                    if (failure instanceof IOException e) {
                        throw e;
                    }
                    throw (RuntimeException) failure;
                }
            };
        }

        /** An event, and another one when the gate is open. */
        private record Events(Gate gate) implements MockResponseBody {
            @Override
            public long getContentLength() {
                return -1;
            }

            @Override
            public void writeTo(BufferedSink sink) throws IOException {
                sink.writeUtf8("data: 1\n\n").flush();
                gate.pass();
                sink.writeUtf8("data: 2\n\n");
            }
        }
    }

    @Step(value = 3, title = "Authenticate allowed origins")
    class Authenticate_allowed_origins {

        private final Tokens tokens = new Tokens();

        @Test
        void an_allowed_origin_receives_the_token() throws Exception {
            var server = Server.plain(request -> ok("hello"));
            var client = authenticating(Set.of(server.origin()));
            call(client, new Request.Builder().url(server.url("/")).header("X-Api-Key", "k1").build());
            Check.equal("Bearer t1", server.authorization(0), "Authorization",
                    "a network interceptor that adds \"Bearer \" and the token");
            Check.equal("k1", server.seen(0).getHeaders().get("X-Api-Key"), "X-Api-Key",
                    "an allowed origin receives it");
        }

        @Test
        void no_other_origin_receives_the_token() throws Exception {
            // rejects: endsWith(), contains(), the host only
            var server = Server.plain(request -> ok("hello"));
            var other = Server.plain(request -> ok("hello"));
            var client = authenticating(Set.of("http://api.lab.test:" + server.port(), "https://127.0.0.1:"
                    + server.port(), "http://eu.api.lab.test"));
            for (var url : List.of(other.url("api.lab.test", "/"), server.url("evil-api.lab.test", "/"),
                    server.url("api.lab.test.evil.test", "/"), server.url("v2.api.lab.test", "/"),
                    server.url("eu.api.lab.test", "/"), server.url("lab.test", "/"), server.url("127.0.0.1", "/"))) {
                call(client, url);
                var got = (url.port() == server.port() ? server : other).last().getHeaders().get("Authorization");
                Check.equal(null, got, "Authorization at " + url, "scheme, host and port must all be the same");
            }
            call(client, server.url("api.lab.test", "/"));
            Check.equal("Bearer t1", server.last().getHeaders().get("Authorization"),
                    "Authorization at the allowed origin", "compare origin(request.url()) with the set");
        }

        @Test
        void a_redirect_carries_secrets_to_allowed_origins_only() throws Exception {
            // rejects: no check of the origin; secrets that are removed once, above redirects; removed for good
            var back = new HttpUrl[1];
            var stranger = Server.plain(request -> movedTo(back[0].toString()));
            var server = Server.plain(request -> request.getTarget().equals("/out")
                    ? movedTo(stranger.url("/").toString())
                    : request.getHeaders().get("Authorization") == null ? refused() : ok("welcome back"));
            back[0] = server.url("/back");
            var answer = call(authenticating(Set.of(server.origin())),
                    new Request.Builder().url(server.url("/out")).header("X-Api-Key", "k1").build());
            Check.equal("Bearer t1", server.authorization(0), "Authorization at the allowed origin", "");
            Check.equal(null, stranger.authorization(0), "Authorization at the stranger",
                    "each hop passes the network interceptors: check the origin of each request");
            Check.equal(null, stranger.seen(0).getHeaders().get("X-Api-Key"), "X-Api-Key at the stranger",
                    "OkHttp removes Authorization at a redirect to another host, and no other header");
            Check.equal("welcome back", answer.body(), "the body",
                    "add the token to each request whose origin is allowed, also after a redirect back");
            Check.equal("k1", server.last().getHeaders().get("X-Api-Key"), "X-Api-Key after the redirect back",
                    "remove it from the request to the stranger, not from the call");
        }

        @Test
        void an_Authorization_of_the_caller_is_sent_unchanged() throws Exception {
            // rejects: header() without a look; removed at other origins; an authenticator that replaces it
            var server = Server.plain(request -> refused());
            for (var host : List.of("127.0.0.1", "other.test")) {
                int before = server.count();
                var answer = call(authenticating(Set.of(server.origin())), new Request.Builder()
                        .url(server.url(host, "/")).header("Authorization", "Basic YTpi").build());
                Check.equal(401, answer.status(), "status()", "");
                Check.equal(before + 1, server.count(), "requests",
                        "a 401 to the caller's own Authorization goes to the caller");
                Check.equal("Basic YTpi", server.last().getHeaders().get("Authorization"), "Authorization at " + host,
                        "leave what the caller has set, at every origin");
            }
            Check.equal(0, tokens.asked(), "calls of the source", "no token is needed here");
        }

        @Test
        void a_401_is_answered_once_with_a_refreshed_token() throws Exception {
            // rejects: one refresh in a lifetime
            var good = new String[] {"Bearer t2"};
            var server = Server.plain(request -> good[0].equals(request.getHeaders().get("Authorization"))
                    ? ok("hello") : refused());
            var client = authenticating(Set.of(server.origin()));
            var answer = call(client, post(server.url("/"), "text/plain", "twice"));
            Check.equal("hello", answer.body(), "the body", "authenticate() returns the request to send again");
            Check.equal(2, server.count(), "requests", "");
            Check.equal("twice", server.seen(1).getBody().utf8(), "the body of the second request", "");
            Check.equal(List.of(false, true), tokens.asked, "the arguments of the source",
                    "token(false) for the first token, token(true) after a refusal");
            call(client, server.url("/"));
            Check.equal(3, server.count(), "requests", "after a refresh the new token is the one to send");
            good[0] = "Bearer t3";
            Check.equal(200, call(client, server.url("/")).status(), "status() when t3 is the accepted one",
                    "a token that was refreshed may be refused later, and is refreshed again");
        }

        @Test
        void a_second_401_goes_to_the_caller() throws Exception {
            // rejects: an authenticator that never gives up; a look at the prior response only
            var loops = new AtomicInteger();
            var server = Server.plain(request -> request.getTarget().equals("/loop")
                    && loops.incrementAndGet() % 2 == 0 ? movedTo("/loop") : refused());
            var answer = call(authenticating(Set.of(server.origin())), server.url("/"));
            Check.equal(401, answer.status(), "status()", "return null when the new token was refused, too");
            Check.equal("no entry", answer.body(), "the body", "the caller can read the second 401");
            Check.equal(2, server.count(), "requests", "one with the old token, one with the new one");
            int status = -1;
            try {
                status = attempt(authenticating(Set.of(server.origin())), get(server.url("/loop"))).status();
            } catch (ProtocolException e) {
                History.note("OkHttp has given up: the number of refreshes tells why");
            }
            Check.equal(1, tokens.refreshes() - 1, "refreshes in a call with 401, 302, 401, 302 and so on",
                    "a call refreshes once, also if a redirect lies between two refusals, and only if the refused token"
                            + " is still the current one");
            Check.equal(401, status, "status() after 401, 302, 401", "");
        }

        @Test
        void a_redirect_does_not_count_as_a_refusal() throws Exception {
            // rejects: priorResponse() != null, which a redirect also makes true
            var server = Server.plain(request -> request.getTarget().equals("/old") ? movedTo("/new")
                    : "Bearer t2".equals(request.getHeaders().get("Authorization")) ? ok("hello") : refused());
            var answer = call(authenticating(Set.of(server.origin())), server.url("/old"));
            Check.equal(200, answer.status(), "status() after a redirect and a 401",
                    "a prior response may be a redirect: only a 401 is a refusal");
        }

        @Test
        void a_401_without_our_token_goes_to_the_caller() throws Exception {
            // rejects: an authenticator that does not look which token was refused
            var stranger = Server.plain(request -> refused());
            var answer = call(authenticating(Set.of("http://api.lab.test:" + stranger.port())), stranger.url("/"));
            Check.equal(401, answer.status(), "status()", "");
            Check.equal(1, stranger.count(), "requests to an origin that is not allowed",
                    "an origin that may not have the token gets no second request");
            var auth = new HttpTransport.BearerAuth(Set.of(stranger.origin()), Set.of(), tokens);
            var half = closingPool(new OkHttpClient.Builder().callTimeout(HANGS).authenticator(auth).build());
            Check.equal(401, call(half, stranger.url("/")).status(), "status() if the interceptor was skipped, as"
                    + " OkHttp does for a WebSocket", "the request that was refused may be without our token");
            Check.equal(0, tokens.asked(), "calls of the source", "there was no token that a server could refuse");
        }

        @Test
        void calls_at_once_share_one_token_and_one_refresh() throws Exception {
            // rejects: the source is asked for each request, or for each 401; a comparison outside the lock; no
            // comparison: one 401 comes only after a call has succeeded with the new token
            var arrived = new CountDownLatch(8);
            var renewed = new CountDownLatch(1);
            var last = new AtomicInteger(8);
            var server = Server.plain(request -> {
                arrived.countDown();
                if (!"Bearer t1".equals(request.getHeaders().get("Authorization"))) {
                    renewed.countDown();
                    return ok("hello");
                }
                Await.open(arrived, "that eight requests arrive", "");
                if (last.decrementAndGet() == 0) {
                    Await.open(renewed, "that a call succeeds with a new token", "");
                }
                return refused();
            });
            tokens.meeting = new CountDownLatch(8);
            tokens.late = 20;
            var client = authenticating(Set.of(server.origin())).newBuilder().eventListener(new EventListener() {
                @Override
                public void connectionAcquired(Call call, Connection connection) {
                    tokens.meeting.countDown();
                }
            }).build();
            for (var answer : all(8, () -> call(client, server.url("/")))) {
                Check.equal(200, answer.status(), "status()", "");
            }
            Check.equal(List.of(false, true), tokens.asked, "the arguments of the source in eight calls at once",
                    "is the token that was refused still the current one? compare and refresh under one lock");
        }

        @Test
        void a_source_that_fails_fails_its_call_and_keeps_the_token() throws Exception {
            // rejects: a lock that is not released; another exception; a failed refresh that forgets the token
            var server = Server.plain(request -> refused());
            for (var failing : List.of(false, true)) {
                tokens.failing = Optional.of(failing);
                tokens.asked.clear();
                var client = authenticating(Set.of(server.origin()));
                var failed = value(background(() -> Check.fails(IOException.class,
                        () -> attempt(client, get(server.url("/"))), "a call whose token source fails",
                        "let the IOException of the source pass")), "that the call ends", "");
                Check.that(String.valueOf(failed).contains("the token server is down"),
                        "the exception of the source, got " + failed, "let it pass");
                Await.until(() -> client.connectionPool().connectionCount()
                        == client.connectionPool().idleConnectionCount(), "that no connection is in use any more", "");
                tokens.failing = Optional.empty();
                var after = value(background(() -> call(client, server.url("/"))),
                        "that the next call ends", "unlock() in finally");
                Check.equal(401, after.status(), "status() of the next call", "");
                Check.equal(failing ? 1 : 2, Collections.frequency(tokens.asked, false), "calls of token(false), of all"
                        + " calls " + tokens.asked, "a failed refresh keeps the old token, so the source learns with"
                        + " token(true) that it was refused");
            }
        }

        @Test
        void a_call_that_waits_for_a_token_ends_at_its_callTimeout() throws Exception {
            // rejects: lock.lock(), which no timeout and no cancel() ends, also in authenticate()
            var slow = closeLater(new Gate());
            var received = new CountDownLatch(1);
            var server = Server.plain(request -> {
                if (request.getTarget().equals("/second")) {
                    received.countDown();   // refused when the first call is already refreshing
                    Await.until(() -> tokens.asked() == 2, "that the first call refreshes the token", "");
                }
                return "Bearer t2".equals(request.getHeaders().get("Authorization"))
                        || request.getTarget().equals("/ok") ? ok("hello") : refused();
            });
            var client = authenticating(Set.of(server.origin()));
            call(client, server.url("/ok"));
            tokens.gate = Optional.of(slow);
            var limited = client.newBuilder().callTimeout(Duration.ofMillis(150)).build();
            var second = background(() -> Check.fails(InterruptedIOException.class, () -> attempt(limited,
                    get(server.url("/second"))), "a call with a callTimeout of 150 ms", ""));
            Await.until(() -> received.getCount() == 0 || second.isDone(), "that the server receives the call", "");
            var first = background(() -> call(client, server.url("/first")));
            value(second, "that a call with a callTimeout of 150 ms ends while another call waits for the source",
                    "wait for the lock with lock(lock, call)");
            slow.open();
            Check.equal(200, value(first, "that the first call ends", "").status(), "status() of the first call", "");
        }

        @Test
        void a_source_that_uses_the_same_client_fails_instead_of_recursing() throws Exception {
            // rejects: a reentrant lock; a lock that waits for itself
            var server = Server.plain(request -> ok("t9"));
            var client = new OkHttpClient[1];
            client[0] = authenticating(Set.of(server.origin()), refresh -> attempt(client[0],
                    get(server.url("/token"))).body());
            value(background(() -> Check.fails(IOException.class, () -> attempt(client[0], get(server.url("/"))),
                    "a call whose source calls an allowed origin with the same client",
                    "take the lock with lock(lock, call), which the same thread cannot take twice")),
                    "that the call ends", "take the lock with lock(lock, call)");
            Check.equal(0, server.count(), "requests", "a request without its token must not be sent");
        }

        private OkHttpClient authenticating(Set<String> origins) throws UnknownHostException {
            return authenticating(origins, tokens);
        }

        private OkHttpClient authenticating(Set<String> origins, HttpTransport.TokenSource source)
                throws UnknownHostException {
            return client(new HttpTransport.Builder()
                    .dns(new HttpTransport.StaticDns(Map.of("*.test", addresses("127.0.0.1")), NOBODY))
                    .auth(new HttpTransport.BearerAuth(origins, Set.of("x-api-key"), source)));
        }

        private static MockResponse refused() {
            return new MockResponse.Builder().code(401).body("no entry").build();
        }

        /** t1, after a refresh t2, and so on; late if a test wants it. */
        private static final class Tokens implements HttpTransport.TokenSource {
            private final List<Boolean> asked = new CopyOnWriteArrayList<>();
            private final AtomicInteger refreshes = new AtomicInteger();
            private volatile Optional<Boolean> failing = Optional.empty();
            private volatile Optional<Gate> gate = Optional.empty();
            private volatile CountDownLatch meeting = new CountDownLatch(0);
            private volatile int late;

            @Override
            public String token(boolean refresh) throws IOException {
                asked.add(refresh);
                if (failing.equals(Optional.of(refresh))) {
                    throw new IOException("the token server is down");
                }
                answersLate();
                int number = 1 + (refresh ? refreshes.incrementAndGet() : refreshes.get());
                History.note("the source returned t" + number + (refresh ? ", a new one" : ""));
                return "t" + number;
            }

            private void answersLate() throws IOException {
                if (gate.isPresent()) {
                    gate.get().pass();
                }
                try {
                    if (meeting.await(2, TimeUnit.SECONDS)) {
                        Thread.sleep(late);   // so that calls at once meet here, unless a lock keeps them out
                    }
                } catch (InterruptedException e) {
                    throw new IOException(e);
                }
            }

            int asked() {
                return asked.size();
            }

            int refreshes() {
                return refreshes.get();
            }
        }
    }

    @Step(value = 4, title = "Require HTTP/2")
    class Require_HTTP_2 {

        @Test
        void a_server_with_HTTP_2_is_called() throws Exception {   // rejects: protocols(List.of(HTTP_2))
            var server = Server.tls(true, request -> ok("hello"));
            var client = client(new HttpTransport.Builder().http2Only(false));
            for (int i = 1; i <= 2; i++) {
                var answer = call(client, server.url("api.lab.test", "/"));
                Check.equal(Protocol.HTTP_2, answer.protocol(), "protocol()", "");
                Check.equal("hello", answer.body(), "the body", "");
            }
        }

        @Test
        void a_server_with_HTTP_1_1_receives_no_byte_of_a_request() throws Exception {
            // rejects: a look at response.protocol(), when the request has been sent; and only for the first request
            var server = Server.tls(false, request -> ok("hello"));
            var client = client(new HttpTransport.Builder().http2Only(false));
            var written = new AtomicBoolean();
            for (int i = 1; i <= 2; i++) {
                refused(client, new Request.Builder().url(server.url("api.lab.test", "/")).post(new RequestBody() {
                    @Override
                    public MediaType contentType() {
                        return null;
                    }

                    @Override
                    public void writeTo(BufferedSink sink) throws IOException {
                        written.set(true);
                        sink.writeUtf8("secret");
                    }
                }).build());
                Check.equal(0, server.count(), "requests that the server has received",
                        "look at the connection before chain.proceed(): afterwards the request has been sent");
            }
            Check.that(!written.get(), "a request body that is not written, but it was", "look before proceed()");
            Await.until(() -> client.connectionPool().connectionCount()
                    == client.connectionPool().idleConnectionCount(), "that no connection is in use any more", "");
        }

        @Test
        void the_exception_and_the_log_name_the_server_and_its_protocol() throws Exception {
            // rejects: an interceptor that is registered before the log
            var log = new Log();
            var server = Server.tls(false, request -> ok("hello"));
            var message = String.valueOf(refused(client(new HttpTransport.Builder().log(log, PLAIN, PREVIEW)
                    .http2Only(false)), get(server.url("api.lab.test", "/"))).getMessage());
            Check.that(message.contains("api.lab.test") && message.contains("http/1.1"),
                    "a message with api.lab.test and http/1.1, got \"" + message + "\"",
                    "put origin(chain.request().url()) and the protocol into the message");
            Check.equal(-1, log.only().status(), "status() in the log", "");
            Check.equal("http/1.1", log.only().protocol(), "protocol() in the log", "");
        }

        @Test
        void cleartext_is_refused_without_prior_knowledge() throws Exception {
            // rejects: a check of TLS connections only
            var server = Server.plain(request -> ok("hello"));
            refused(client(new HttpTransport.Builder().http2Only(false)), get(server.url("/")));
            Check.equal(0, server.count(), "requests that the server has received",
                    "without prior knowledge an http URL means HTTP/1.1");
        }

        @Test
        void cleartext_with_prior_knowledge_uses_HTTP_2() throws Exception {
            // rejects: a check for "h2" only; protocols() left as they are
            var server = Server.priorKnowledge(request -> ok("hello"));
            var answer = call(client(new HttpTransport.Builder().http2Only(true)), server.url("/"));
            Check.equal(Protocol.H2_PRIOR_KNOWLEDGE, answer.protocol(), "protocol()",
                    "protocols(List.of(Protocol.H2_PRIOR_KNOWLEDGE)), and no other protocol in the list");
            Check.equal("hello", answer.body(), "the body", "");
        }

        @Test
        void a_WebSocket_call_fails_before_it_is_sent() throws Exception {
            // it would skip the network interceptors: neither token nor log, and HTTP/1.1
            var server = Server.plain(request -> new MockResponse.Builder()
                    .webSocketUpgrade(new WebSocketListener() {}).build());
            for (var builder : List.of(new HttpTransport.Builder().log(new Log(), PLAIN, PREVIEW),
                    new HttpTransport.Builder().auth(new HttpTransport.BearerAuth(Set.of(server.origin()), Set.of(),
                            refresh -> "t1")), new HttpTransport.Builder().http2Only(false))) {
                var client = client(builder);
                var opened = new CompletableFuture<Throwable>();
                client.newWebSocket(get(server.url("/")), new WebSocketListener() {
                    @Override
                    public void onOpen(WebSocket socket, Response response) {
                        socket.cancel();
                        opened.complete(null);
                    }

                    @Override
                    public void onFailure(WebSocket socket, Throwable failure, Response response) {
                        opened.complete(failure);
                    }
                });
                var failure = value(opened, "that the WebSocket call ends", "");
                client.dispatcher().executorService().close();
                Check.that(failure instanceof ProtocolException, "a ProtocolException from a WebSocket call, got "
                        + failure, "register with addNetworkInterceptor: the given Builder then refuses WebSockets");
            }
            Check.equal(0, server.count(), "requests that the server has received", "");
        }

        private ProtocolException refused(OkHttpClient client, Request request) {
            return Check.fails(ProtocolException.class, () -> attempt(client, request),
                    "a call to a server without HTTP/2",
                    "a network interceptor that looks at chain.connection().protocol(), for every exchange");
        }
    }

    @Step(value = 5, title = "Redact secrets", further = true)
    class Redact_secrets {

        private final Log log = new Log();

        @Test
        void credentials_and_cookies_are_always_hidden() throws Exception {
            // rejects: only the headers of the constructor
            var server = Server.plain(request -> new MockResponse.Builder()
                    .addHeader("Set-Cookie: id=7; Path=/").build());
            call(logging(PLAIN), new Request.Builder().url(server.url("/")).header("Authorization", "Basic YTpi")
                    .header("Proxy-Authorization", "Basic YTpi").header("Cookie", "id=7").build());
            for (var name : List.of("Authorization", "Proxy-Authorization", "Cookie")) {
                hidden(log.only().requestHeaders(), name, 1);
            }
            hidden(log.only().responseHeaders(), "Set-Cookie", 1);
        }

        @Test
        void configured_headers_are_hidden_in_any_case() throws Exception {
            // rejects: equals(); toLowerCase() in the language of the machine; reference() before the set of headers
            var server = Server.plain(request -> ok("").newBuilder().addHeader("location: /secret").build());
            inTurkish(() -> {
                call(logging(new HttpTransport.Redactor(Set.of("x-api-key", "X-SIGN-IN", "Location"), Set.of())),
                        new Request.Builder().url(server.url("/")).header("X-API-KEY", "k1")
                                .header("x-sign-in", "k2").header("AUTHORIZATION", "Basic YTpi").build());
                hidden(log.only().requestHeaders(), "X-API-KEY", 1);
                hidden(log.only().requestHeaders(), "x-sign-in", 1);
                hidden(log.only().requestHeaders(), "AUTHORIZATION", 1);
                hidden(log.only().responseHeaders(), "location", 1);
            });
        }

        @Test
        void every_value_is_hidden_and_names_and_order_stay() throws Exception {
            // rejects: only the first value; a header that is left out; names() of OkHttp, which are sorted
            var server = Server.plain(request -> new MockResponse.Builder().clearHeaders().addHeader("X-Shelf: left")
                    .addHeader("Set-Cookie: a=1").addHeader("Age: 7").addHeader("Set-Cookie: b=2")
                    .addHeader("set-cookie: c=3").addHeader("Content-Length: 0").build());
            call(logging(PLAIN), server.url("/"));
            hidden(log.only().responseHeaders(), "Set-Cookie", 3);
            Check.equal(List.of("X-Shelf", "Set-Cookie", "Age", "Content-Length"),
                    List.copyOf(log.only().responseHeaders().keySet()), "names of responseHeaders()",
                    "change only values");
            Check.equal(List.of("left"), log.only().responseHeaders().get("X-Shelf"), "X-Shelf", "");
        }

        @Test
        void the_value_of_a_secret_parameter_is_hidden() throws Exception {
            // rejects: equals(); setQueryParameter(), which makes one of two; a value without a name; names that are
            // not decoded, or whose percent sign fails
            logged("?page=2&Token=a&token=b=c&TOKEN=&token&sort=token&=token&mytoken=c",
                    "?page=2&Token=██&token=██&TOKEN=██&token&sort=token&=token&mytoken=c");
            logged("?%74oken=a&access+token=b&access%20Token=c", "?%74oken=██&access+token=██&access%20Token=██");
        }

        @Test
        void the_rest_of_a_query_stays_byte_for_byte() throws Exception {
            // rejects: values that are decoded and encoded again; blocks that are percent-encoded; empty ends cut off
            logged("?q=a+b%2Fc%26d=e&token=a%26b=c&x=%C3%A4&&y=%20", "?q=a+b%2Fc%26d=e&token=██&x=%C3%A4&&y=%20");
            logged("?page=2&&", "?page=2&&");
            logged("?&&token=a&", "?&&token=██&");
            logged("?", "?");
            logged("", "");
        }

        @Test
        void userinfo_and_fragment_are_removed() throws Exception {
            // rejects: all up to an @, which may also stand in a path
            var server = Server.plain(request -> ok(""));
            for (var path : List.of("/a", "/@anna")) {
                call(logging(PLAIN), server.url(path).newBuilder().username("anna").password("pw")
                        .fragment("token=x").build());
                Check.equal(server.url(path).toString(), log.last().url(), "url()",
                        "username, password and fragment are not sent, and may be secrets; the path stays");
            }
        }

        @Test
        void URLs_in_headers_are_redacted() throws Exception {
            // rejects: a log that knows secrets only in its own URL; rows are a header and what the log shows
            var rows = Map.ofEntries(Map.entry("/a?token=x&page=1#token=y", "/a?token=██&page=1"),
                    Map.entry("http://anna:pw@127.0.0.1:1/?token=x", "http://127.0.0.1:1/?token=██"),
                    Map.entry("?Token=x", "?Token=██"), Map.entry("/b#c", "/b"),
                    Map.entry("//anna:pw@127.0.0.1:1/c?token=x", "//127.0.0.1:1/c?token=██"),
                    Map.entry("\\\\anna:pw@127.0.0.1/", "\\\\127.0.0.1/"),
                    Map.entry("/\\anna:pw@127.0.0.1/", "/\\127.0.0.1/"),
                    Map.entry("///a@nna:pw@127.0.0.1/", "///127.0.0.1/"),
                    Map.entry("http:anna:pw@127.0.0.1/", "http://127.0.0.1/"),
                    Map.entry("ftp://anna:pw@127.0.0.1/f", "ftp://127.0.0.1/f"),
                    Map.entry("http://h.test/@anna", "http://h.test/@anna"),
                    Map.entry("/@anna?at=@b", "/@anna?at=@b"));
            var sent = new ArrayDeque<>(rows.keySet());
            var server = Server.plain(request -> new MockResponse.Builder().addHeader("Location", sent.peek())
                    .addHeader("Content-Location", sent.peek()).build());
            for (; !sent.isEmpty(); sent.poll()) {
                call(logging(HIDING), new Request.Builder().url(server.url("/")).header("Referer", sent.peek())
                        .build());
                var exchange = log.last();
                for (var got : List.of(exchange.responseHeaders().get("Location"),
                        exchange.responseHeaders().get("Content-Location"), exchange.requestHeaders().get("Referer"))) {
                    Check.equal(List.of(rows.get(sent.peek())), got, "in the log, Location: " + sent.peek(),
                            "pass the values of HOLD_URLS to reference(), which calls url() and pairs()");
                }
            }
        }

        @Test
        void a_form_is_redacted_like_a_query() throws Exception {   // rejects: pairs() for URLs only
            var server = Server.plain(request -> ok("token=mine").newBuilder()
                    .addHeader("Content-Type: application/x-www-form-urlencoded").build());
            call(client(new HttpTransport.Builder().log(log, HIDING, 22)),
                    post(server.url("/"), "application/x-www-form-urlencoded", "user=anna&%74oken=12345678"));
            Check.equal("user=anna&%74oken=██", log.only().requestPreview().text(), "requestPreview().text()",
                    "a value that is cut off is a secret as well");
            Check.equal("token=██", log.only().responsePreview().text(), "responsePreview().text()", "");
        }

        @Test
        void the_server_and_the_caller_receive_everything() throws Exception {
            // rejects: a request that is changed for the log
            var server = Server.plain(request -> ok("").newBuilder().addHeader("Set-Cookie: a=1").build());
            var request = post(server.url("/?token=x"), "application/x-www-form-urlencoded", "token=y").newBuilder()
                    .header("Authorization", "Basic YTpi").build();
            try (var response = logging(HIDING).newCall(request).execute()) {
                Check.equal("a=1", response.header("Set-Cookie"), "Set-Cookie at the caller", "");
            }
            Check.equal("/?token=x", server.seen(0).getTarget(), "the target at the server", "");
            Check.equal("token=y", server.seen(0).getBody().utf8(), "the body at the server", "");
            Check.equal("Basic YTpi", server.authorization(0), "Authorization at the server",
                    "change the copy in the log, not the request");
        }

        @Test
        void a_secret_in_every_place_is_nowhere_in_the_log() throws Exception {
            var secret = "s3cr3t";
            var stranger = Server.plain(request -> new MockResponse.Builder()
                    .onResponseStart(new SocketEffect.CloseSocket()).build());
            var server = Server.plain(request -> movedTo(stranger.url("/?token=" + secret + "#" + secret).toString())
                    .newBuilder().addHeader("Set-Cookie: id=" + secret).addHeader("X-Api-Key: " + secret).build());
            var client = client(new HttpTransport.Builder().log(log, HIDING, PREVIEW)
                    .auth(new HttpTransport.BearerAuth(Set.of(server.origin()), Set.of(), refresh -> secret)));
            var url = server.url("/?token=" + secret + "&x=1").newBuilder().username(secret).password(secret)
                    .fragment(secret).build();
            Check.fails(IOException.class, () -> attempt(client, post(url, "application/x-www-form-urlencoded",
                    "a=1&token=" + secret).newBuilder().header("Cookie", secret).header("x-api-key", secret)
                    .build()), "a call that ends at a server which closes the connection", "");
            for (var exchange : log.all(2, "")) {
                Check.that(!exchange.toString().contains(secret), "a log without " + secret + ", got " + exchange,
                        "one of the places where a secret may be is still shown");
            }
        }

        private static final HttpTransport.Redactor HIDING = new HttpTransport.Redactor(Set.of("X-Api-Key"),
                Set.of("token", "access token"));

        private OkHttpClient logging(HttpTransport.Redactor redactor) {
            return client(new HttpTransport.Builder().log(log, redactor, PREVIEW));
        }

        private void logged(String query, String shown) throws Exception {
            var server = Server.plain(request -> ok(""));
            call(logging(HIDING), HttpUrl.get(server.url("/a") + query));
            Check.equal(server.url("/a") + shown, log.last().url(), "url()",
                    "split at &, compare the decoded name before the first =, replace what follows it, and leave the"
                            + " rest as it is");
        }

        private void hidden(Map<String, List<String>> headers, String name, int count) {
            Check.equal(Collections.nCopies(count, HIDDEN), headers.get(name), name + " in the log",
                    "hide all values of the name, in upper and lower case");
        }
    }

    @Step(value = 6, title = "Speak SOCKS5", further = true)
    class Speak_SOCKS5 {

        private static final String GRANTED = "05 00 00 01 00 00 00 00 00 00";
        private static final InetSocketAddress TARGET = InetSocketAddress.createUnresolved("api.lab.test", 443);
        private static final String CONNECT = "05 01 00 03 0c 61 70 69 2e 6c 61 62 2e 74 65 73 74 01 bb";
        private static final HttpTransport.Login NONE = HttpTransport.Login.NONE;
        private static final HttpTransport.Login LOGIN = new HttpTransport.Login("lab", "s3cret");
        private static final String SIGN_IN = "01 03 6c 61 62 06 73 33 63 72 65 74";

        @Test
        void an_unresolved_target_is_sent_as_a_name() throws Exception {
            negotiated(TARGET, NONE, new Conversation().hears("05 01 00").says("05 00").hears(CONNECT).says(GRANTED));
        }

        @Test
        void a_resolved_target_is_sent_as_an_address_of_its_family() throws Exception {
            // rejects: only IPv4; a port of one byte; text
            negotiated(new InetSocketAddress("10.1.2.255", 50_000), NONE, new Conversation().hears("05 01 00")
                    .says("05 00").hears("05 01 00 01 0a 01 02 ff c3 50").says(GRANTED));
            negotiated(new InetSocketAddress("2001:db8::ff", 80), NONE, new Conversation().hears("05 01 00")
                    .says("05 00").hears("05 01 00 04 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 ff 00 50")
                    .says(GRANTED));
        }

        @Test
        void a_login_is_sent_in_UTF_8_if_the_proxy_chooses_it() throws Exception {
            // rejects: a login that is sent unasked; lengths in characters
            negotiated(TARGET, LOGIN, new Conversation().hears("05 02 00 02", "05 02 02 00").says("05 00")
                    .hears(CONNECT).says(GRANTED));
            negotiated(TARGET, LOGIN, new Conversation().hears("05 02 00 02", "05 02 02 00").says("05 02")
                    .hears(SIGN_IN).says("01 00").hears(CONNECT).says(GRANTED));
            negotiated(TARGET, new HttpTransport.Login("zoë", "x".repeat(255)), new Conversation()
                    .hears("05 02 00 02", "05 02 02 00").says("05 02")
                    .hears("01 04 7a 6f c3 ab ff" + "78".repeat(255)).says("01 00").hears(CONNECT).says(GRANTED));
        }

        @Test
        void each_message_is_one_write() throws Exception {
            // rejects: byte by byte, or field by field; microsocks takes what its first read brings for all of it
            var talk = new Conversation().hears("05 02 00 02", "05 02 02 00").says("05 02").hears(SIGN_IN).says("01 00")
                    .hears(CONNECT).says(GRANTED);
            negotiated(TARGET, LOGIN, talk);
            Check.equal(3, talk.writes, "writes to the proxy for three messages",
                    "build a message completely, and send it in one write: some proxies read only once");
        }

        @Test
        void a_refused_login_is_NO_LOGIN_and_ends_the_handshake() throws Exception {
            // rejects: an answer that is not checked
            for (var answer : List.of("01 01", "01 ff")) {
                var failure = refused(HttpTransport.Socks5Exception.NO_LOGIN, LOGIN, new Conversation()
                        .hears("05 02 00 02", "05 02 02 00").says("05 02").hears(SIGN_IN).says(answer),
                        "check the second byte of the answer to the login");
                Check.that(!String.valueOf(failure).contains("s3cret"), "no password in " + failure,
                        "an exception may be logged");
            }
            var noMethod = "method ff means that the proxy accepts none of those that you offer";
            refused(HttpTransport.Socks5Exception.NO_LOGIN, NONE, new Conversation().hears("05 01 00").says("05 ff"),
                    noMethod);
            refused(HttpTransport.Socks5Exception.NO_LOGIN, LOGIN, new Conversation()
                    .hears("05 02 00 02", "05 02 02 00").says("05 ff"), noMethod);
        }

        @Test
        void a_reply_code_other_than_0_is_reported() throws Exception {
            // rejects: success in any case; codes as signed bytes; 255 taken for NO_LOGIN
            for (int code : List.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 0x5b, 0x80, 0xff)) {
                refused(code, NONE, new Conversation().hears("05 01 00").says("05 00").hears(CONNECT)
                        .says("05 %02x 00 01 00 00 00 00 00 00".formatted(code)),
                        "the second byte of the reply, & 0xff, is the code");
            }
        }

        @Test
        void the_reply_is_read_to_its_last_byte_and_not_beyond() throws Exception {
            // rejects: ten bytes in any case; a length as a signed byte; a buffer that reads ahead; one read() for
            // more than one byte
            for (int most : List.of(Integer.MAX_VALUE, 1, 2, 3, 7)) {
                for (var reply : replies()) {
                    followed(new Conversation().inPiecesOf(most).hears("05 01 00").says("05 00").hears(CONNECT)
                            .says(reply));
                }
            }
        }

        @Test
        void a_proxy_that_closes_the_connection_is_BROKEN() throws Exception {
            // rejects: -1 taken for a byte; an EOFException
            var answers = List.of("05 02", "01 00", "05 00 00 03 05 68 65 6c 6c 6f 00 00");
            int total = answers.stream().mapToInt(answer -> bytes(answer).length).sum();
            for (int bytes = 0; bytes < total; bytes++) {
                refused(HttpTransport.Socks5Exception.BROKEN, LOGIN, new Conversation().closingAfter(bytes)
                        .hears("05 02 00 02", "05 02 02 00").says(answers.get(0)).hears(SIGN_IN)
                        .says(answers.get(1)).hears(CONNECT).says(answers.get(2)),
                        "the end of the stream may come at any byte, here after " + bytes);
            }
        }

        @Test
        void an_answer_that_is_not_SOCKS5_is_BROKEN() throws Exception {   // rejects: versions that are not checked
            for (var answer : List.of("48 54 54 50", "04 00", "00 5a", "05 01", "05 02", "05 80")) {
                refused(HttpTransport.Socks5Exception.BROKEN, NONE, new Conversation().hears("05 01 00").says(answer),
                        "the proxy answered " + answer + ": check the version 5, and that you offered the method");
            }
            refused(HttpTransport.Socks5Exception.BROKEN, LOGIN, new Conversation().hears("05 02 00 02", "05 02 02 00")
                    .says("05 02").hears(SIGN_IN).says("05 00"), "the answer to the login has version 1");
            for (var reply : List.of("04 00 00 01 00 00 00 00 00 00", "05 00 00 02 00 00 00 00 00 00",
                    "05 00 00 00 00 00 00 00 00 00")) {
                refused(HttpTransport.Socks5Exception.BROKEN, NONE, new Conversation().hears("05 01 00").says("05 00")
                        .hears(CONNECT).says(reply),
                        "the reply was " + reply + ": check its version, and its kind of address (1, 3 or 4)");
            }
        }

        @Test
        void a_name_of_256_bytes_is_refused_unsent() throws Exception {
            for (var name : List.of("x".repeat(255), "ä".repeat(127))) {
                var bytes = name.getBytes(StandardCharsets.UTF_8);
                negotiated(InetSocketAddress.createUnresolved(name, 443), NONE, new Conversation().hears("05 01 00")
                        .says("05 00").hears("05 01 00 03 %02x%s01 bb".formatted(bytes.length,
                                HexFormat.of().formatHex(bytes))).says(GRANTED));
            }
            for (var name : List.of("x".repeat(256), "ä".repeat(128))) {
                var talk = new Conversation().hears("05 01 00").says("05 00");
                Check.fails(IllegalArgumentException.class, () -> HttpTransport.negotiate(talk.in, talk.out,
                        InetSocketAddress.createUnresolved(name, 443), NONE), "a name of 256 bytes",
                        "its length in bytes must fit into one byte: 256 becomes 0");
                Check.equal(0, talk.said.size(), "bytes sent", "check the name before the first byte is sent");
            }
        }

        /** BND.ADDR of each kind, of each length that could go wrong. */
        private List<String> replies() {
            return List.of(GRANTED, "05 00 00 04" + "00".repeat(16) + "00 00", "05 00 00 03 00 00 00",
                    "05 00 00 03 01 78 00 00", "05 00 ff 03 c8" + "05".repeat(200) + "ff ff",
                    "05 00 00 03 ff" + "00".repeat(255) + "01 bb");
        }

        private void negotiated(InetSocketAddress target, HttpTransport.Login login, Conversation talk)
                throws Exception {
            try {
                HttpTransport.negotiate(talk.in, talk.out, target, login);
            } catch (HttpTransport.Socks5Exception e) {
                throw History.fail("expected negotiate() to return, because the proxy connects, got " + e,
                        "read in a loop, because one read may bring fewer bytes than you ask for, and treat bytes as"
                                + " unsigned");
            }
            talk.checkIsOver();
        }

        private void followed(Conversation talk) throws Exception {
            talk.says("48 54 54 50");
            negotiated(TARGET, NONE, talk);
            Check.equal("HTTP", new String(talk.in.readNBytes(4), StandardCharsets.US_ASCII),
                    "what is still to be read after the reply", "the length of the reply follows from its fourth byte,"
                            + " and from the fifth if that is 3: read so many bytes and no more");
        }

        private HttpTransport.Socks5Exception refused(int reply, HttpTransport.Login login, Conversation talk,
                String likely) throws Exception {
            var failure = Check.fails(HttpTransport.Socks5Exception.class, () -> HttpTransport.negotiate(talk.in,
                    talk.out, TARGET, login), "a handshake in which the proxy does not connect", likely);
            Check.equal(reply, failure.reply(), "reply() of " + failure, likely);
            talk.checkIsOver();
            return failure;
        }
    }

    @Step(value = 7, title = "Connect through the proxy", further = true)
    class Connect_through_the_proxy {

        private static final HttpTransport.Login NONE = HttpTransport.Login.NONE;
        private static final HttpTransport.Login LOGIN = new HttpTransport.Login("lab", "s3cret");

        @Test
        void calls_share_one_connection_through_the_proxy() throws Exception {
            var server = Server.plain(request -> ok("hello"));
            var proxy = SocksProxy.open(target -> server.address());
            var client = client(new HttpTransport.Builder().socks5(factory(proxy, NONE, true)));
            for (int i = 1; i <= 2; i++) {
                Check.equal("hello", call(client, server.url("api.lab.test", "/")).body(), "the body",
                        "make it the client's socketFactory, and connect to the proxy instead of the target");
            }
            Check.equal(1, proxy.connections(), "connections to the proxy", "");
        }

        @Test
        void the_proxy_resolves_names_and_receives_addresses_unchanged() throws Exception {
            // rejects: names that are resolved here; getHostString() in any case
            var server = Server.plain(request -> ok("hello"));
            var proxy = SocksProxy.open(target -> server.address());
            var client = client(new HttpTransport.Builder().socks5(factory(proxy, NONE, true)));
            call(client, HttpUrl.get("http://only.there.test:8080/"));
            call(client, HttpUrl.get("http://10.1.2.3:8080/"));
            call(client, HttpUrl.get("http://[2001:db8::7]:8080/"));
            Check.equal(List.of(new SocksProxy.Target("name", "only.there.test", 8080),
                    new SocksProxy.Target("IPv4", "10.1.2.3", 8080),
                    new SocksProxy.Target("IPv6", "2001:db8:0:0:0:0:0:7", 8080)), proxy.targets(),
                    "the targets at the proxy", "a placeholder of socksDns() carries a name: getHostString();"
                            + " every other address is sent as an address");
        }

        @Test
        void without_remoteDns_the_proxy_receives_addresses() throws Exception {
            // rejects: the name of every address that carries one
            var server = Server.plain(request -> ok("hello"));
            var proxy = SocksProxy.open(target -> server.address());
            var dns = new HttpTransport.StaticDns(Map.of("api.lab.test",
                    List.of(InetAddress.getByAddress("api.lab.test", new byte[] {10, 1, 2, 3}))), NOBODY);
            call(client(new HttpTransport.Builder().dns(dns).socks5(factory(proxy, NONE, false))),
                    HttpUrl.get("http://api.lab.test:8080/"));
            Check.equal(List.of(new SocksProxy.Target("IPv4", "10.1.2.3", 8080)), proxy.targets(),
                    "the targets at the proxy", "without remoteDns only the address counts");
            var socket = closeLater(factory(proxy, NONE, false).createSocket());
            var failure = Check.fails(UnknownHostException.class, () -> socket.connect(
                    InetSocketAddress.createUnresolved("nowhere.test", 80)), "an unresolved target without remoteDns",
                    "there is no address to ask the proxy for");
            Check.that(String.valueOf(failure.getMessage()).contains("nowhere.test"),
                    "a message with nowhere.test, got " + failure.getMessage(), "");
            closed(socket);
        }

        @Test
        void each_name_has_a_placeholder_of_its_own() throws Exception {
            // rejects: one placeholder: OkHttp shares an HTTP/2 connection between names with the same address
            var shop = Server.tls(true, request -> ok("the shop"));
            var bank = Server.tls(true, request -> ok("the bank"));
            var proxy = SocksProxy.open(target -> (target.host().startsWith("bank") ? bank : shop).address());
            var client = client(new HttpTransport.Builder().socks5(factory(proxy, NONE, true)));
            Check.equal("the shop", call(client, HttpUrl.get("https://shop.lab.test/")).body(), "the body", "");
            Check.equal("the bank", call(client, HttpUrl.get("https://bank.lab.test/")).body(),
                    "the body of bank.lab.test", "two names with the same address and certificate share an HTTP/2"
                            + " connection:\n        use placeholder(name), which differs for each name");
        }

        @Test
        void TLS_verifies_the_target_of_the_URL() throws Exception {
            var server = Server.tls(true, request -> ok("hello"));
            var proxy = SocksProxy.open(target -> server.address());
            var client = client(new HttpTransport.Builder().socks5(factory(proxy, NONE, true)));
            Check.equal("hello", call(client, HttpUrl.get("https://api.lab.test/")).body(), "the body", "");
            Check.fails(SSLPeerUnverifiedException.class, () -> attempt(client,
                    get(HttpUrl.get("https://api.other.test/"))), "a target whose certificate is for other names",
                    "TLS runs inside the tunnel, and verifies the name of the URL");
        }

        @Test
        void a_refusal_reaches_the_caller() throws Exception {
            var server = Server.plain(request -> ok("hello"));
            var guarded = SocksProxy.guarded("lab", "s3cret", target -> server.address());
            call(client(new HttpTransport.Builder().socks5(factory(guarded, LOGIN, true))),
                    server.url("api.lab.test", "/"));
            var wrong = new HttpTransport.Login("lab", "secret");
            fails(HttpTransport.Socks5Exception.NO_LOGIN, factory(guarded, wrong, true),
                    "a call with a wrong password");
            var refusing = SocksProxy.playing((self, client) -> {
                self.chooseMethod(client, 0);
                self.readTarget(client);
                client.getOutputStream().write(new byte[] {5, 5, 0, 1, 0, 0, 0, 0, 0, 0});
            });
            fails(5, factory(refusing, NONE, true), "a call that the proxy refuses");
        }

        @Test
        void every_failure_closes_the_socket() throws Exception {   // rejects: a socket that is left to the caller
            var ended = new CountDownLatch(1);
            var proxy = SocksProxy.playing((self, client) -> {
                self.chooseMethod(client, 9);   // which no client offers: so it answers 0xff
                client.getInputStream().transferTo(OutputStream.nullOutputStream());
                ended.countDown();
            });
            var socket = closeLater(factory(proxy, NONE, true).createSocket());
            Check.fails(HttpTransport.Socks5Exception.class, () -> socket.connect(
                    InetSocketAddress.createUnresolved("api.lab.test", 80)), "a proxy that accepts no method", "");
            closed(socket);
            Await.open(ended, "that the proxy sees the connection end", "close the socket on any failure");
            var nobody = closeLater(new HttpTransport.Socks5SocketFactory(DeadEnd.refusing().address(), NONE, true,
                    HANGS).createSocket());
            Check.fails(ConnectException.class, () -> nobody.connect(InetSocketAddress.createUnresolved("x.test", 1)),
                    "a proxy address where no server listens", "");
            closed(nobody);
            var long256 = closeLater(factory(proxy, NONE, true).createSocket());
            Check.fails(IllegalArgumentException.class, () -> long256.connect(
                    InetSocketAddress.createUnresolved("x".repeat(256), 1)), "a name of 256 bytes", "");
            closed(long256);
        }

        @Test
        void one_limit_covers_the_whole_handshake() throws Exception {
            // rejects: a read without a limit; a limit for each read; a new limit after the first answer
            var silent = SocksProxy.playing((self, client) ->
                    client.getInputStream().transferTo(OutputStream.nullOutputStream()));
            var late = SocksProxy.playing((self, client) -> {
                pause(90);
                self.chooseMethod(client, 0);
                client.getInputStream().transferTo(OutputStream.nullOutputStream());
            });
            var dripping = SocksProxy.playing((self, client) -> {
                self.chooseMethod(client, 0);
                self.readTarget(client);
                client.getOutputStream().write(new byte[] {5, 0, 0, 3, (byte) 255});
                for (int i = 0; i < 257; i++) {
                    pause(20);   // each byte comes within the limit, all of them in five seconds
                    client.getOutputStream().write(0);
                }
            });
            var quiet = gaveUp(silent, "a proxy that sends nothing");
            var drip = gaveUp(dripping, "a reply that takes 5 s, a byte every 20 ms");
            long millis = 0;
            for (int tries = 1; tries <= 10; tries++) {   // the machine may be slow; a new limit takes 190 ms
                millis = value(gaveUp(late, "a proxy that is silent after its first answer"),
                        "that a handshake with a limit of 100 ms ends", "read from until(deadline)");
                if (millis < 180) {
                    break;
                }
            }
            value(quiet, "that a handshake with a limit of 100 ms ends", "read from until(deadline)");
            value(drip, "that a handshake with a limit of 100 ms ends",
                    "a read timeout starts again with each byte: read from until(deadline)");
            Check.that(millis < 180, "a handshake with a limit of 100 ms to end 100 ms after connect(), got ten times"
                    + " more than 180 ms, at last " + millis + " ms", "use one until(deadline) for all answers");
        }

        @Test
        void bytes_that_follow_the_reply_are_not_lost() throws Exception {   // rejects: a buffer that reads ahead
            var proxy = SocksProxy.playing((self, client) -> {
                self.chooseMethod(client, 0);
                self.readTarget(client);
                client.getOutputStream().write(bytes("05 00 00 01 00 00 00 00 00 00 68 65 6c 6c 6f"));
            });
            var socket = connect(factory(proxy, NONE, true), InetSocketAddress.createUnresolved("api.lab.test", 25));
            Check.equal(0, socket.getSoTimeout(), "SO_TIMEOUT after connect()", "leave the given connect as it is");
            socket.setSoTimeout(Patience.millis());
            Check.equal("hello", new String(socket.getInputStream().readNBytes(5), StandardCharsets.US_ASCII),
                    "what the server sends first, in one segment with the proxy's reply",
                    "read the reply without a buffer, and not a byte more");
        }

        @Test
        void the_proxy_of_the_system_is_not_used() throws Exception {   // rejects: a client without Proxy.NO_PROXY
            var server = Server.plain(request -> ok("hello"));
            var proxy = SocksProxy.open(target -> server.address());
            var before = ProxySelector.getDefault();
            ProxySelector.setDefault(new ProxySelector() {
                @Override
                public List<Proxy> select(URI uri) {
                    return List.of(new Proxy(Proxy.Type.HTTP, new InetSocketAddress("127.0.0.1", 9)));
                }

                @Override
                public void connectFailed(URI uri, SocketAddress address, IOException failure) {
                    // The test looks at the targets.
                }
            });
            try {
                call(client(new HttpTransport.Builder().socks5(factory(proxy, NONE, true))),
                        HttpUrl.get("http://api.lab.test/"));
            } finally {
                ProxySelector.setDefault(before);
            }
            Check.equal(List.of(new SocksProxy.Target("name", "api.lab.test", 80)), proxy.targets(),
                    "the targets at the proxy", "client.proxy(Proxy.NO_PROXY): the system may have another one");
        }

        @Test
        void all_parts_work_together() throws Exception {
            var log = new Log();
            var server = Server.tls(true, request -> ok("hello"));
            var proxy = SocksProxy.guarded("lab", "s3cret", target -> server.address());
            var client = client(new HttpTransport.Builder().log(log, PLAIN, PREVIEW).http2Only(false)
                    .auth(new HttpTransport.BearerAuth(Set.of("https://api.lab.test"), Set.of(), refresh -> "t1"))
                    .socks5(factory(proxy, LOGIN, true)));
            for (int i = 1; i <= 2; i++) {
                Check.equal("hello", call(client, HttpUrl.get("https://api.lab.test/")).body(), "the body", "");
            }
            Check.equal(List.of(new SocksProxy.Target("name", "api.lab.test", 443)), proxy.targets(),
                    "the targets at the proxy", "both calls use one connection");
            Check.equal("Bearer t1", server.authorization(1), "Authorization", "");
            for (var exchange : log.all(2, "")) {
                Check.equal("h2", exchange.protocol(), "protocol()", "");
                Check.that(exchange.requestHeaders().toString().contains(HIDDEN),
                        "a log that hides the token, got " + exchange.requestHeaders(), "");
            }
        }

        @Test
        @EnabledIf(value = "isMicrosocksHere", disabledReason = "the program microsocks is not on the PATH; "
                + "on Debian and Ubuntu: apt install microsocks")
        void microsocks_makes_the_connection() throws Exception {   // a real proxy
            var server = Server.plain(request -> ok("hello"));
            var proxy = startMicrosocks("lab", "s3cret");
            var right = new HttpTransport.Socks5SocketFactory(proxy, LOGIN, true, HANGS);
            Check.equal("hello", call(client(new HttpTransport.Builder().socks5(right)), server.url("/")).body(),
                    "the body", "");
            fails(HttpTransport.Socks5Exception.NO_LOGIN, new HttpTransport.Socks5SocketFactory(proxy, NONE, true,
                    HANGS), "a call without a login");
        }

        private HttpTransport.Socks5SocketFactory factory(SocksProxy proxy, HttpTransport.Login login,
                boolean remoteDns) {
            return new HttpTransport.Socks5SocketFactory(proxy.address(), login, remoteDns, HANGS);
        }

        private Socket connect(HttpTransport.Socks5SocketFactory factory, InetSocketAddress to) throws IOException {
            var socket = closeLater(factory.createSocket());
            socket.connect(to);
            return socket;
        }

        /** The milliseconds until a handshake with a limit of 100 ms times out. */
        private CompletableFuture<Long> gaveUp(SocksProxy proxy, String what) {
            var factory = new HttpTransport.Socks5SocketFactory(proxy.address(), NONE, true, Duration.ofMillis(100));
            return background(() -> {
                long start = System.nanoTime();
                Check.fails(SocketTimeoutException.class, () -> connect(factory,
                        InetSocketAddress.createUnresolved("api.lab.test", 80)), what, "read from until(deadline)");
                long millis = (System.nanoTime() - start) / 1_000_000;
                Check.that(millis >= 99, "a handshake with a limit of 100 ms to last that long, got " + millis + " ms",
                        "read from until(deadline)");
                return millis;
            });
        }

        private void closed(Socket socket) {
            Check.that(socket.isClosed(), "a closed socket, but it is open",
                    "close the socket on any failure, also if target() or negotiate() throws before a byte was sent");
        }

        private void fails(int reply, HttpTransport.Socks5SocketFactory factory, String what) throws Exception {
            var failure = Check.fails(ConnectException.class, () -> attempt(client(new HttpTransport.Builder()
                    .socks5(factory)), get(HttpUrl.get("http://api.lab.test/"))), what, "");
            var cause = failure instanceof HttpTransport.Socks5Exception ? failure : failure.getCause();
            Check.that(cause instanceof HttpTransport.Socks5Exception refusal && refusal.reply() == reply,
                    "a Socks5Exception with reply() = " + reply + ", got " + cause,
                    "let the exception of negotiate() pass; OkHttp wraps it in a ConnectException");
        }

        private static boolean isMicrosocksHere() {
            return microsocks().isPresent();
        }

        private static Optional<Path> microsocks() {
            return Stream.of(System.getenv("PATH").split(File.pathSeparator))
                    .map(folder -> Path.of(folder, "microsocks")).filter(Files::isExecutable).findFirst();
        }

        private InetSocketAddress startMicrosocks(String user, String password) throws Exception {
            var program = microsocks().orElseThrow();
            for (int tries = 1; ; tries++) {
                var address = new InetSocketAddress(InetAddress.getLoopbackAddress(), freePort());
                var process = new ProcessBuilder(program.toString(), "-i", "127.0.0.1", "-p", "" + address.getPort(),
                        "-u", user, "-P", password).redirectErrorStream(true)
                        .redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
                closeLater(() -> process.destroyForcibly().waitFor());
                Await.until(() -> listens(address) || !process.isAlive(), "that microsocks listens", "");
                if (process.isAlive()) {
                    return address;
                }
                Check.that(tries < 5, "microsocks to run, but it ends at once", "");   // the port was taken meanwhile
            }
        }

        private int freePort() throws IOException {
            try (var socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
                return socket.getLocalPort();
            }
        }

        private boolean listens(InetSocketAddress address) {
            try (var socket = new Socket(address.getAddress(), address.getPort())) {
                return socket.isConnected();
            } catch (IOException e) {
                return false;
            }
        }
    }

    // Shared by the steps.

    /** OkHttp's own server, which remembers what it was asked. */
    private static final class Server {

        @FunctionalInterface
        interface Answers {
            MockResponse to(RecordedRequest request) throws InterruptedException;
        }

        private final MockWebServer mock = new MockWebServer();
        private final List<RecordedRequest> seen = Collections.synchronizedList(new ArrayList<>());

        private Server(Answers answers) {
            mock.setServerSocketFactory(new NoDelay());
            mock.setDispatcher(new Dispatcher() {
                @Override
                public MockResponse dispatch(RecordedRequest request) throws InterruptedException {
                    seen.add(request);
                    return answers.to(request);
                }
            });
        }

        static Server plain(Answers answers) throws IOException {
            return new Server(answers).start();
        }

        /** For all names in lab.test. */
        static Server tls(boolean http2, Answers answers) throws IOException {
            var server = new Server(answers);
            server.mock.useHttps(Tls.CERTIFICATES.sslSocketFactory());
            server.mock.setProtocolNegotiationEnabled(http2);
            return server.start();
        }

        /** HTTP/2 without TLS. */
        static Server priorKnowledge(Answers answers) throws IOException {
            var server = new Server(answers);
            server.mock.setProtocols(List.of(Protocol.H2_PRIOR_KNOWLEDGE));
            return server.start();
        }

        private Server start() throws IOException {
            closeLater(mock).start(InetAddress.getLoopbackAddress(), 0);
            return this;
        }

        int port() {
            return mock.getPort();
        }

        InetSocketAddress address() {
            return new InetSocketAddress(InetAddress.getLoopbackAddress(), port());
        }

        String origin() {
            return "http://127.0.0.1:" + port();
        }

        HttpUrl url(String path) {
            return url("127.0.0.1", path);
        }

        HttpUrl url(String host, String path) {
            boolean tls = host.endsWith(".lab.test") && mock.url("/").isHttps();
            return HttpUrl.get((tls ? "https://" : "http://") + host + ":" + port() + path);
        }

        int count() {
            return mock.getRequestCount();
        }

        RecordedRequest seen(int index) {
            Check.that(seen.size() > index, "the server to receive request " + (index + 1) + ", it received "
                    + seen.size(), "");
            return seen.get(index);
        }

        RecordedRequest last() {
            return seen(seen.size() - 1);
        }

        String authorization(int index) {
            return seen(index).getHeaders().get("Authorization");
        }
    }

    /**
     * Sockets that send at once. The server writes the head and the body of an answer apart: with Nagle's algorithm the
     * body would wait for the client's ACK of the head, which Linux delays by 40 ms.
     */
    private static final class NoDelay extends ServerSocketFactory {

        @Override
        public ServerSocket createServerSocket() throws IOException {
            return new ServerSocket() {
                @Override
                public Socket accept() throws IOException {
                    var accepted = super.accept();
                    accepted.setTcpNoDelay(true);
                    return accepted;
                }
            };
        }

        @Override
        public ServerSocket createServerSocket(int port) throws IOException {
            return createServerSocket(port, 0);
        }

        @Override
        public ServerSocket createServerSocket(int port, int backlog) throws IOException {
            return createServerSocket(port, backlog, null);
        }

        @Override
        public ServerSocket createServerSocket(int port, int backlog, InetAddress address) throws IOException {
            var socket = createServerSocket();
            socket.bind(new InetSocketAddress(address, port), backlog);
            return socket;
        }
    }

    /** One call over TLS and HTTP/2: what it needs is then loaded before the tests begin. */
    public static final class WarmUp implements Runnable {
        @Override
        public void run() {
            try (var server = new MockWebServer()) {
                server.useHttps(Tls.CERTIFICATES.sslSocketFactory());
                server.setDispatcher(new Dispatcher() {
                    @Override
                    public MockResponse dispatch(RecordedRequest request) {
                        return new MockResponse.Builder().body("warm").build();
                    }
                });
                server.start(InetAddress.getLoopbackAddress(), 0);
                var client = new OkHttpClient.Builder()
                        .sslSocketFactory(Tls.CERTIFICATES.sslSocketFactory(), Tls.CERTIFICATES.trustManager())
                        .dns(name -> List.of(InetAddress.getLoopbackAddress())).build();
                var request = new Request.Builder().url("https://api.lab.test:" + server.getPort()).build();
                try (var response = client.newCall(request).execute()) {
                    response.body().string();
                }
                client.connectionPool().evictAll();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    /** Made when it is needed first. */
    private static final class Tls {
        static final HandshakeCertificates CERTIFICATES = certificates();

        private static HandshakeCertificates certificates() {
            var own = new HeldCertificate.Builder().addSubjectAlternativeName("*.lab.test").build();
            return new HandshakeCertificates.Builder().heldCertificate(own)
                    .addTrustedCertificate(own.certificate()).build();
        }
    }

    private static OkHttpClient client(HttpTransport.Builder builder) {
        return closingPool(trusting(builder).callTimeout(HANGS).build());
    }

    /** Trusts only our servers: to load the machine's own trust store takes a fifth of a second. */
    private static HttpTransport.Builder trusting(HttpTransport.Builder builder) {
        return builder.tls(Tls.CERTIFICATES.sslSocketFactory(), Tls.CERTIFICATES.trustManager());
    }

    private static OkHttpClient closingPool(OkHttpClient client) {
        var pool = client.connectionPool();
        closeLater(pool::evictAll);
        return client.dns() != Dns.SYSTEM ? client : client.newBuilder()   // no test asks the machine's own resolver
                .dns(name -> name.endsWith(".lab.test") ? addresses("127.0.0.1") : NOBODY.lookup(name)).build();
    }

    private record Answer(int status, Protocol protocol, String body) {}

    private static Answer call(OkHttpClient client, HttpUrl url) {
        return call(client, get(url));
    }

    /** A call that must succeed. */
    private static Answer call(OkHttpClient client, Request request) {
        try {
            return attempt(client, request);
        } catch (IOException e) {
            throw History.fail("expected an answer to " + request.method() + " " + request.url() + ", got "
                    + (e.getCause() == null ? e : e + ", caused by " + e.getCause()),
                    "an interceptor, a Dns or a socket of this client has thrown it");
        }
    }

    /** A call that may fail. */
    private static Answer attempt(OkHttpClient client, Request request) throws IOException {
        var asked = request.method() + " " + request.url();
        try (var response = client.newCall(request).execute()) {
            var answer = new Answer(response.code(), response.protocol(), response.body().string());
            History.note(asked + ": " + answer.status() + " " + answer.protocol() + ", "
                    + answer.body().length() + " characters");
            return answer;
        } catch (IOException e) {
            History.note(asked + ": " + e.getMessage());
            throw e;
        }
    }

    private static Request get(HttpUrl url) {
        return new Request.Builder().url(url).build();
    }

    private static Request post(HttpUrl url, String type, String body) {
        return new Request.Builder().url(url).post(RequestBody.create(body.getBytes(StandardCharsets.UTF_8),
                MediaType.get(type))).build();
    }

    private static MockResponse ok(String body) {
        return new MockResponse.Builder().body(body).build();
    }

    private static MockResponse movedTo(String url) {
        return new MockResponse.Builder().code(302).addHeader("Location", url).body("moved").build();
    }

    private static byte[] gzip(String text) throws IOException {
        var bytes = new ByteArrayOutputStream();
        try (var gzip = new GZIPOutputStream(bytes)) {
            gzip.write(text.getBytes(StandardCharsets.UTF_8));
        }
        return bytes.toByteArray();
    }

    /** The exchanges that a sink received, in order. */
    private static final class Log implements Consumer<HttpTransport.Exchange> {
        private final List<HttpTransport.Exchange> exchanges = Collections.synchronizedList(new ArrayList<>());

        @Override
        public void accept(HttpTransport.Exchange exchange) {
            History.note("reported: exchange %d, %s %s: %d%s".formatted(exchange.id(), exchange.method(),
                    exchange.url(), exchange.status(), exchange.failure().map(failure -> ", " + failure).orElse("")));
            exchanges.add(exchange);
        }

        int count() {
            return exchanges.size();
        }

        HttpTransport.Exchange only() throws InterruptedException {
            return all(1, "report() each exchange, once").getFirst();
        }

        HttpTransport.Exchange last() throws InterruptedException {
            await(1, "report() each exchange");
            return exchanges.getLast();
        }

        List<HttpTransport.Exchange> all(int count, String likely) throws InterruptedException {
            await(count, likely);
            Check.equal(count, exchanges.size(), "exchanges reported", likely);
            return List.copyOf(exchanges);
        }

        private void await(int count, String likely) throws InterruptedException {
            if (exchanges.size() < count) {   // mostly it is there when the call is over
                Await.until(() -> exchanges.size() >= count, "that the sink receives " + count
                        + (count == 1 ? " exchange" : " exchanges"), likely);
            }
        }
    }

    /** The proxy's side of a handshake, over streams: it answers when it has received what it expects. */
    private static final class Conversation {

        private record Turn(List<byte[]> hears, byte[] says) {}

        private final Deque<Turn> turns = new ArrayDeque<>();
        private final ByteArrayOutputStream said = new ByteArrayOutputStream();   // by the client
        private List<byte[]> hears = List.of();
        private int most = Integer.MAX_VALUE;
        private int left = Integer.MAX_VALUE;
        private InputStream answer = InputStream.nullInputStream();

        private int writes;

        final OutputStream out = new OutputStream() {
            @Override
            public void write(int one) {
                write(new byte[] {(byte) one}, 0, 1);
            }

            @Override
            public void write(byte[] bytes, int from, int count) {
                said.write(bytes, from, count);
                writes++;
            }
        };

        final InputStream in = new InputStream() {
            @Override
            public int read() throws IOException {
                var one = new byte[1];
                return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
            }

            @Override
            public int read(byte[] to, int from, int count) throws IOException {
                if (count == 0) {
                    return 0;
                }
                if (answer.available() == 0 && left > 0) {
                    listen();
                }
                int read = answer.read(to, from, Math.min(Math.min(count, most), Math.max(left, 1)));
                left -= Math.max(read, 0);
                return left < 0 || read < 0 ? -1 : read;
            }

            @Override
            public int available() throws IOException {
                return Math.min(answer.available(), left);
            }
        };

        /** What the proxy expects, in hex; any of several. */
        Conversation hears(String... hex) {
            hears = Stream.of(hex).map(HttpTransportTest::bytes).toList();
            return this;
        }

        /** The answer to what it hears, or more of the last answer. */
        Conversation says(String hex) {
            if (hears.isEmpty()) {
                var last = turns.removeLast();
                var both = Arrays.copyOf(last.says(), last.says().length + bytes(hex).length);
                System.arraycopy(bytes(hex), 0, both, last.says().length, bytes(hex).length);
                turns.add(new Turn(last.hears(), both));
            } else {
                turns.add(new Turn(hears, bytes(hex)));
            }
            hears = List.of();
            return this;
        }

        /** A read returns this many bytes at most. */
        Conversation inPiecesOf(int bytes) {
            most = bytes;
            return this;
        }

        Conversation closingAfter(int bytes) {
            left = bytes;
            return this;
        }

        private void listen() {
            var turn = turns.poll();
            if (turn == null) {
                answer = InputStream.nullInputStream();
                return;
            }
            var got = said.toByteArray();
            said.reset();
            var expected = turn.hears().getFirst();
            boolean isLogin = expected[0] == 1;
            var name = isLogin ? "the login" : expected.length < 5 ? "the methods" : "CONNECT";
            if (turn.hears().stream().noneMatch(bytes -> Arrays.equals(bytes, got))) {
                throw History.fail("expected " + name + " at the proxy, which is\n  " + Bytes.shown(expected)
                        + "\ngot other bytes, " + Bytes.diff(expected, got), isLogin
                        ? "01, then user and password, each after its length in UTF-8 bytes (RFC 1929, section 2)"
                        : expected.length < 5 ? "05, the number of methods, and each method: 0, and with a login also 2"
                        : "05 01 00, then 1, 3 or 4 and the address or the length and bytes of the name, then the"
                                + "\n        port, higher byte first (RFC 1928, section 4)");
            }
            History.note("the proxy received " + name + ", " + Bytes.shown(got));
            History.note("the proxy answers " + Bytes.shown(turn.says()));
            answer = new ByteArrayInputStream(turn.says());
        }

        void checkIsOver() {
            if (left <= 0) {
                return;   // it has closed the connection
            }
            Check.equal(0, said.size(), "bytes that the client sends after the last answer",
                    "send nothing after a refusal, a wrong version or a method that was not offered");
            Check.that(turns.isEmpty(), "all answers of the proxy to be read", "read the reply before you return");
        }
    }

    /** Threads wait here until it is opened, at the latest when the test ends. */
    private static final class Gate implements AutoCloseable {
        private final CountDownLatch latch = new CountDownLatch(1);

        void pass() throws IOException {
            try {
                latch.await();
            } catch (InterruptedException e) {
                throw new IOException(e);
            }
        }

        void open() {
            latch.countDown();
        }

        @Override
        public void close() {
            open();
        }
    }

    private static byte[] bytes(String hex) {
        return HexFormat.of().parseHex(hex.replace(" ", ""));
    }

    private static List<InetAddress> addresses(String... literals) {
        return Stream.of(literals).map(InetAddress::ofLiteral).toList();
    }

    /** In Turkish, the lower case of I is not i. */
    private static void inTurkish(Check.Code code) throws IOException {
        var before = Locale.getDefault();
        Locale.setDefault(Locale.of("tr", "TR"));
        try {
            code.run();
        } catch (IOException | RuntimeException e) {
            throw e;
        } catch (Exception e) {
            throw new IllegalStateException(e);
        } finally {
            Locale.setDefault(before);
        }
    }

    private static void pause(int millis) throws IOException {
        try {
            Thread.sleep(millis);   // part of a peer's script, not a wait for a condition
        } catch (InterruptedException e) {
            throw new IOException(e);
        }
    }

    private static <T> CompletableFuture<T> background(Callable<T> code) {
        var result = new CompletableFuture<T>();
        Thread.ofVirtual().name("kit-caller").start(() -> {
            try {
                result.complete(code.call());
            } catch (Throwable e) {
                result.completeExceptionally(e);
            }
        });
        return result;
    }

    /** The result of code in the background; a failed check in it is told as it is. */
    private static <T> T value(CompletableFuture<T> future, String what, String likely) throws InterruptedException {
        var outcome = Await.value(future.handle((value, failure) -> Optional.ofNullable(failure)), what, likely);
        if (outcome.isPresent() && outcome.get() instanceof AssertionError told) {
            throw told;
        }
        return Await.value(future, what, likely);
    }

    /** This many calls at once, and all their results. */
    private static <T> List<T> all(int count, Callable<T> code) throws InterruptedException {
        var asked = new ArrayList<CompletableFuture<T>>();
        for (int i = 0; i < count; i++) {
            asked.add(background(code));
        }
        var results = new ArrayList<T>();
        for (var each : asked) {
            results.add(value(each, "that each of " + count + " calls at once ends", ""));
        }
        return results;
    }
}
