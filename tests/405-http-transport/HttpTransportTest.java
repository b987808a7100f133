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
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
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
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
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
import okhttp3.tls.HandshakeCertificates;
import okhttp3.tls.HeldCertificate;
import okio.Buffer;
import okio.BufferedSink;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;

/**
 * Lab 405, step by step. The servers are OkHttp's MockWebServer, the proxies the kit's, and once a real one. A comment
 * {@code rejects:} names the wrong solutions that a test is there for.
 */
@Lab
class HttpTransportTest {

    private static final HttpTransport.Redactor PLAIN = new HttpTransport.Redactor(Set.of(), Set.of());
    private static final String HIDDEN = "\u2588\u2588";
    private static final int PREVIEW = 100;   // bytes, where a test says nothing else
    private static final Duration HANGS = Duration.ofSeconds(10);   // nothing takes that long but a mistake
    private static final Dns NOBODY = name -> {
        throw new UnknownHostException("nobody here knows " + name);
    };

    static {
        Logger.getLogger(MockWebServer.class.getName()).setLevel(Level.OFF);
    }

    @Step(value = 1, title = "Choose the addresses")
    class Choose_the_addresses {

        @Test
        void a_name_in_the_table_has_its_addresses_in_their_order() throws IOException {
            var table = new HttpTransport.StaticDns(Map.of("api.lab.test", addresses("10.0.0.2", "::1", "10.0.0.1"),
                    "shop.lab.test", addresses("10.0.0.3")), NOBODY);
            finds(table, "api.lab.test", "10.0.0.2", "::1", "10.0.0.1");
            finds(table, "shop.lab.test", "10.0.0.3");
        }

        @Test
        void upper_and_lower_case_are_the_same_name() throws IOException {
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
        void a_star_stands_for_every_name_below_its_suffix() throws IOException {
            // rejects: endsWith("lab.test"), which fits evillab.test; a star for one label alone
            var table = new HttpTransport.StaticDns(Map.of("*.lab.test", addresses("10.0.0.1")), NOBODY);
            finds(table, "api.lab.test", "10.0.0.1");
            finds(table, "eu.api.lab.test", "10.0.0.1");
            for (var other : List.of("lab.test", "evillab.test", "lab.test.evil.test", "test")) {
                unknown(table, other, "\"*.lab.test\" is for names that end in \".lab.test\", dot included");
            }
        }

        @Test
        void the_name_itself_comes_first_and_then_the_longest_suffix() throws IOException {
            var table = new HttpTransport.StaticDns(Map.of("*.test", addresses("10.0.0.1"),
                    "*.lab.test", addresses("10.0.0.2"), "*.eu.lab.test", addresses("10.0.0.3"),
                    "api.eu.lab.test", addresses("10.0.0.4")), NOBODY);
            finds(table, "api.eu.lab.test", "10.0.0.4");
            finds(table, "shop.eu.lab.test", "10.0.0.3");
            finds(table, "eu.lab.test", "10.0.0.2");
            finds(table, "other.test", "10.0.0.1");
        }

        @Test
        void what_the_table_does_not_know_is_asked_of_the_fallback() throws IOException {
            var fallback = addresses("10.9.9.9", "10.9.9.8");
            var table = new HttpTransport.StaticDns(Map.of("api.lab.test", addresses("10.0.0.1")), name -> {
                Check.equal("other.test", name, "what the fallback was asked for", "pass the name on as it is");
                return fallback;
            });
            finds(table, "other.test", "10.9.9.9", "10.9.9.8");
            finds(table, "api.lab.test", "10.0.0.1");
            unknown(new HttpTransport.StaticDns(Map.of(), NOBODY), "other.test",
                    "the fallback's own UnknownHostException may pass");
        }

        @Test
        void an_empty_list_means_that_the_name_is_unknown() throws IOException {
            // rejects: empty is not in the table
            var table = new HttpTransport.StaticDns(Map.of("ads.lab.test", List.of(), "*.lab.test",
                    addresses("10.0.0.1")), name -> addresses("10.9.9.9"));
            unknown(table, "ads.lab.test", "a name with an empty list is in the table: nobody else is asked");
        }

        @Test
        void every_name_that_was_asked_for_is_kept_in_order() throws IOException {
            // rejects: a set; only what was found
            var table = new HttpTransport.StaticDns(Map.of("api.lab.test", addresses("10.0.0.1")), NOBODY);
            table.lookup("api.lab.test");
            unknown(table, "other.test", "");
            table.lookup("api.lab.test");
            Check.equal(List.of("api.lab.test", "other.test", "api.lab.test"), table.queries(), "queries()",
                    "keep each name before you look it up");
        }

        @Test
        void a_client_asks_the_table_for_names_and_for_nothing_else() throws IOException {
            var server = Server.plain(request -> ok("hello"));
            var table = new HttpTransport.StaticDns(Map.of("shop.lab.test", addresses("127.0.0.1")), NOBODY);
            var client = client(new HttpTransport.Builder().dns(table));
            Check.equal("hello", call(client, server.url("shop.lab.test", "/")).body(), "the body", "");
            Check.equal("shop.lab.test:" + server.port(), server.seen(0).getHeaders().get("Host"), "Host",
                    "the address is for the socket alone, the URL stays");
            call(client, server.url("127.0.0.1", "/"));
            Check.equal(List.of("shop.lab.test"), table.queries(), "queries()", "client.dns() takes it");
        }

        @Test
        void when_the_first_address_is_dead_the_second_is_tried() throws IOException {
            // rejects: the first address alone
            var server = Server.plain(request -> ok("hello"));
            var table = new HttpTransport.StaticDns(
                    Map.of("shop.lab.test", addresses("127.0.0.2", "127.0.0.1")), NOBODY);
            Check.equal("hello", call(client(new HttpTransport.Builder().dns(table)),
                    server.url("shop.lab.test", "/")).body(), "the body", "return all addresses of the name");
        }

        private void finds(Dns dns, String name, String... expected) throws UnknownHostException {
            Check.equal(addresses(expected), dns.lookup(name), "lookup(\"" + name + "\")",
                    "first the name, then \"*\" and what follows each dot in turn, in any case");
        }

        private void unknown(Dns dns, String name, String likely) {
            Check.fails(UnknownHostException.class, () -> dns.lookup(name), "lookup(\"" + name + "\")", likely);
        }
    }

    @Step(value = 2, title = "Log every exchange")
    class Log_every_exchange {

        private final Told told = new Told();

        @Test
        void an_exchange_is_told_as_it_went_over_the_wire() throws Exception {
            // rejects: an application interceptor, which never sees what OkHttp adds
            var server = Server.plain(request -> new MockResponse.Builder().code(203).body("hello")
                    .addHeader("X-Shelf: left").build());
            call(logging(), new Request.Builder().url(server.url("/books?page=2")).header("X-Trace", "7").build());
            var exchange = told.only();
            Check.equal("GET", exchange.method(), "method()", "");
            Check.equal(server.url("/books?page=2").toString(), exchange.url(), "url()", "");
            Check.equal(203, exchange.status(), "status()", "");
            Check.equal("http/1.1", exchange.protocol(), "protocol()", "chain.connection().protocol()");
            Check.equal(List.of("7"), exchange.requestHeaders().get("X-Trace"), "requestHeaders of X-Trace", "");
            Check.that(exchange.requestHeaders().containsKey("User-Agent"),
                    "requestHeaders with what OkHttp adds, a User-Agent, got " + exchange.requestHeaders(),
                    "an application interceptor sees the request before that: hook in below");
            Check.equal(List.of("left"), exchange.responseHeaders().get("X-Shelf"), "responseHeaders of X-Shelf", "");
            Check.equal(Optional.empty(), exchange.failure(), "failure()", "");
            Check.that(exchange.took().isPositive(), "a time that took more than nothing, got " + exchange.took(), "");
        }

        @Test
        void a_redirect_makes_two_exchanges() throws Exception {   // rejects: an application interceptor
            var server = Server.plain(request -> request.getTarget().equals("/old") ? movedTo("/new") : ok("hello"));
            call(logging(), server.url("/old"));
            var all = told.all(2, "redirects are followed above network interceptors: hook in below");
            Check.equal(302, all.get(0).status(), "status() of the first exchange", "");
            Check.equal(server.url("/old").toString(), all.get(0).url(), "url() of the first exchange", "");
            Check.equal(200, all.get(1).status(), "status() of the second exchange", "");
            Check.equal(server.url("/new").toString(), all.get(1).url(), "url() of the second exchange", "");
            Check.that(all.get(0).id() < all.get(1).id(), "ids that grow, got " + all.get(0).id() + " and then "
                    + all.get(1).id(), "each exchange has the id that it was given");
        }

        @Test
        void a_request_that_OkHttp_repeats_is_told_twice() throws Exception {
            // a pooled connection that dies under a request; rejects: an application interceptor, which sees one call
            var count = new AtomicInteger();
            var server = Server.plain(request -> count.incrementAndGet() != 2 ? ok("hello")
                    : new MockResponse.Builder().onResponseStart(new SocketEffect.CloseSocket()).build());
            var client = logging();
            call(client, server.url("/1"));
            call(client, server.url("/2"));
            var statuses = told.all(3, "report failures as well; OkHttp tries again above network interceptors: hook in"
                    + " below").stream().map(HttpTransport.Exchange::status).toList();
            Check.equal(List.of(200, -1, 200), statuses, "the status of each exchange", "");
        }

        @Test
        void the_caller_gets_every_byte() throws Exception {
            // rejects: a logger that reads the body; one that gives back only the preview
            for (int size : List.of(0, 1, PREVIEW, PREVIEW + 1, 5_000_000)) {
                var body = "0123456789".repeat(size / 10 + 1).substring(0, size);
                var server = Server.plain(request -> ok(body));
                var got = call(logging(), server.url("/" + size)).body();
                Check.that(got.equals(body), "a body of " + size + " bytes, got " + got.length()
                        + (got.length() == size ? ", other ones" : ""), "return received.copying(response, ...)");
                var preview = told.last().responsePreview();
                Check.equal(body.substring(0, Math.min(size, PREVIEW)), preview.text(), "the preview of " + size
                        + " bytes", "received.preview(redactor), when the body is over");
                Check.equal((long) size, preview.bytes(), "bytes() of the preview", "");
                Check.equal(size > PREVIEW, preview.truncated(), "truncated() of the preview of " + size + " bytes",
                        "");
            }
        }

        @Test
        void both_bodies_are_previewed() throws Exception {   // rejects: previews that are swapped, or made too soon
            var server = Server.plain(request -> ok("thank you, " + request.getBody().utf8()));
            call(logging(), post(server.url("/"), "text/plain", "Grüße"));
            Check.equal("Grüße", told.only().requestPreview().text(), "requestPreview().text()",
                    "proceed with sent.copying(request)");
            Check.equal("thank you, Grüße", told.only().responsePreview().text(), "responsePreview().text()", "");
            Check.equal("Grüße", server.seen(0).getBody().utf8(), "what the server got", "");
        }

        @Test
        void a_compressed_body_is_previewed_as_it_came() throws Exception {
            // rejects: an application interceptor, for which OkHttp has unpacked it
            var packed = gzip("hello ".repeat(50));
            var server = Server.plain(request -> new MockResponse.Builder()
                    .addHeader("Content-Encoding: gzip").body(new Buffer().write(packed)).build());
            Check.equal("hello ".repeat(50), call(logging(), server.url("/")).body(), "what the caller reads", "");
            Check.equal((long) packed.length, told.only().responsePreview().bytes(), "responsePreview().bytes()",
                    "what is unpacked above is packed on the wire: hook in below");
        }

        @Test
        void it_is_told_when_the_body_has_been_read_and_not_before() throws Exception {   // rejects: told at the head
            var server = Server.plain(request -> ok("a body that is read in two pieces"));
            try (var response = logging().newCall(get(server.url("/"))).execute()) {
                response.body().source().readUtf8(6);
                Check.equal(0, told.count(), "exchanges told while the body is read",
                        "report() when received.copying() says that it is over, not when the head is there");
                response.body().source().readUtf8();
                Check.equal("a body that is read in two pieces", told.only().responsePreview().text(), "the preview",
                        "");
            }
            Check.equal(1, told.count(), "exchanges told after close", "report each exchange once");
        }

        @Test
        void a_body_that_is_closed_early_is_told_once() throws Exception {
            // rejects: told at the end of the body alone
            var server = Server.plain(request -> ok("x".repeat(300_000)));
            var response = logging().newCall(get(server.url("/"))).execute();
            response.body().source().readUtf8(10);
            response.close();
            response.close();
            Check.equal(Optional.empty(), told.only().failure(), "failure()", "to close early is the caller's right");
        }

        @Test
        void a_slow_stream_reaches_the_caller_event_by_event() throws Exception {
            // rejects: peekBody(), string(): a log that waits for the whole body
            var more = closeLater(new Gate());
            var server = Server.plain(request -> new MockResponse.Builder()
                    .addHeader("Content-Type: text/event-stream").body(new Events(more)).build());
            var client = logging();
            var first = background(() -> {
                var response = closeLater(client.newCall(get(server.url("/"))).execute());
                return new Object[] {response, response.body().source().readUtf8LineStrict()};
            });
            var got = Await.value(first, "that the first event reaches the caller while the second is not sent yet",
                    "the log reads the body itself, and waits for its end: let it pass, and copy");
            Check.equal("data: 1", got[1], "the first event", "");
            more.open();
            ((okhttp3.Response) got[0]).close();
        }

        @Test
        void a_connection_that_dies_without_an_answer_is_told_with_status_minus_1() throws Exception {
            // rejects: only what went well is logged
            var server = Server.plain(request -> new MockResponse.Builder()
                    .onResponseStart(new SocketEffect.CloseSocket()).build());
            Check.fails(IOException.class, () -> call(logging(), post(server.url("/"), "text/plain", "hello")),
                    "a call whose server hangs up", "throw the exception again after report()");
            var exchange = told.only();
            Check.equal(-1, exchange.status(), "status()", "");
            Check.equal("hello", exchange.requestPreview().text(), "requestPreview().text()", "");
            Check.equal(Map.of(), exchange.responseHeaders(), "responseHeaders()", "");
            Check.that(exchange.failure().isPresent(), "a failure(), got none", "report() what was thrown");
        }

        @Test
        void a_body_that_breaks_off_is_told_with_its_failure() throws Exception {
            // rejects: failures of the head alone
            var server = Server.plain(request -> new MockResponse.Builder().body("x".repeat(100_000))
                    .onResponseBody(new SocketEffect.CloseSocket()).build());
            Check.fails(IOException.class, () -> call(logging(), server.url("/")), "a call whose body breaks off",
                    "let the exception pass");
            Check.equal(200, told.only().status(), "status()", "the head did come");
            Check.that(told.only().failure().isPresent(), "a failure(), got none",
                    "received.copying() tells with what failure the body was over");
        }

        @Test
        void a_dial_that_fails_is_no_exchange() throws Exception {   // rejects: an application interceptor
            var nobody = DeadEnd.refusing().address();
            Check.fails(ConnectException.class, () -> call(logging(), HttpUrl.get("http://127.0.0.1:"
                    + nobody.getPort())), "a call to a port where nobody listens", "");
            Check.equal(0, told.count(), "exchanges told", "nothing went over the wire: hook in below the connection");
        }

        @Test
        void a_log_that_throws_harms_nobody() throws Exception {   // rejects: accept() without a catch
            var server = Server.plain(request -> request.getTarget().equals("/dies")
                    ? new MockResponse.Builder().onResponseStart(new SocketEffect.CloseSocket()).build() : ok("hello"));
            var client = client(new HttpTransport.Builder().log(exchange -> {
                throw new IllegalStateException("the disk is full");
            }, PLAIN, PREVIEW));
            Check.equal("hello", call(client, server.url("/")).body(), "the body", "");
            Check.fails(IOException.class, () -> call(client, server.url("/dies")), "a call that fails",
                    "the caller wants to know why the call failed, and not why the log did");
        }

        private OkHttpClient logging() {
            return client(new HttpTransport.Builder().log(told, PLAIN, PREVIEW));
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
        void an_allowed_origin_gets_the_token() throws Exception {
            var server = Server.plain(request -> ok("hello"));
            var client = authenticating(Set.of(server.origin()));
            call(client, new Request.Builder().url(server.url("/")).header("X-Api-Key", "k1").build());
            Check.equal("Bearer t1", server.authorization(0), "Authorization",
                    "a network interceptor that adds \"Bearer \" and the token");
            Check.equal("k1", server.seen(0).getHeaders().get("X-Api-Key"), "X-Api-Key",
                    "an allowed origin may see it");
        }

        @Test
        void every_other_origin_gets_none() throws Exception {
            // rejects: endsWith(), contains(), the host alone
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
                    "Authorization at the allowed one", "compare origin(request.url()) with the set");
        }

        @Test
        void a_redirect_to_a_stranger_takes_no_secret_along() throws Exception {
            // rejects: an interceptor without a check of the origin; what is taken away once, above redirects
            var stranger = Server.plain(request -> ok("mine now"));
            var server = Server.plain(request -> movedTo(stranger.url("/").toString()));
            call(authenticating(Set.of(server.origin())),
                    new Request.Builder().url(server.url("/")).header("X-Api-Key", "k1").build());
            Check.equal("Bearer t1", server.authorization(0), "Authorization at the allowed origin", "");
            Check.equal(null, stranger.authorization(0), "Authorization at the stranger",
                    "each hop passes the network interceptors: ask for each whether its origin is allowed");
            Check.equal(null, stranger.seen(0).getHeaders().get("X-Api-Key"), "X-Api-Key at the stranger",
                    "OkHttp drops Authorization at a redirect to another host, and no other header");
        }

        @Test
        void back_from_a_stranger_the_token_is_there_again() throws Exception {
            // rejects: what is taken away for good
            var back = new HttpUrl[1];
            var stranger = Server.plain(request -> movedTo(back[0].toString()));
            var server = Server.plain(request -> request.getTarget().equals("/out")
                    ? movedTo(stranger.url("/").toString())
                    : request.getHeaders().get("Authorization") == null ? refused() : ok("welcome back"));
            back[0] = server.url("/back");
            var answer = call(authenticating(Set.of(server.origin())),
                    new Request.Builder().url(server.url("/out")).header("X-Api-Key", "k1").build());
            Check.equal("welcome back", answer.body(), "the body",
                    "the token belongs to each request that may have it");
            Check.equal("k1", server.last().getHeaders().get("X-Api-Key"), "X-Api-Key",
                    "take it from the request to the stranger, not from the call");
        }

        @Test
        void what_the_caller_sends_as_Authorization_stays() throws Exception {
            // rejects: header() without a look; an authenticator that replaces it
            var server = Server.plain(request -> refused());
            var answer = call(authenticating(Set.of(server.origin())),
                    new Request.Builder().url(server.url("/")).header("Authorization", "Basic YTpi").build());
            Check.equal(401, answer.status(), "status()", "");
            Check.equal(1, server.count(), "requests", "a 401 to the caller's own credentials is the caller's matter");
            Check.equal("Basic YTpi", server.authorization(0), "Authorization", "the caller knows better");
            Check.equal(0, tokens.asked(), "times that the source was asked", "no token is needed here");
        }

        @Test
        void a_401_is_answered_once_with_a_fresh_token() throws Exception {
            var server = Server.plain(request -> "Bearer t2".equals(request.getHeaders().get("Authorization"))
                    ? ok("hello") : refused());
            var answer = call(authenticating(Set.of(server.origin())),
                    post(server.url("/"), "text/plain", "twice"));
            Check.equal("hello", answer.body(), "the body", "authenticate() returns the request to send again");
            Check.equal(2, server.count(), "requests", "");
            Check.equal("twice", server.seen(1).getBody().utf8(), "the body of the second request", "");
            Check.equal(1, tokens.refreshes(), "refreshes", "token(true) when the last one was refused");
        }

        @Test
        void a_401_that_stays_is_returned() throws Exception {   // rejects: an authenticator that never gives up
            var server = Server.plain(request -> refused());
            var answer = call(authenticating(Set.of(server.origin())), server.url("/"));
            Check.equal(401, answer.status(), "status()", "return null when a fresh token was refused, too");
            Check.equal("no entry", answer.body(), "the body", "the second 401 is the caller's to read");
            Check.equal(2, server.count(), "requests", "once with the old token, once with the fresh one");
        }

        @Test
        void a_401_after_a_redirect_is_answered_as_well() throws Exception {
            // rejects: priorResponse() != null, which a redirect also makes true
            var server = Server.plain(request -> request.getTarget().equals("/old") ? movedTo("/new")
                    : "Bearer t2".equals(request.getHeaders().get("Authorization")) ? ok("hello") : refused());
            var answer = call(authenticating(Set.of(server.origin())), server.url("/old"));
            Check.equal(200, answer.status(), "status() after a redirect and a 401",
                    "a prior response may be a redirect: look whether it was a 401");
        }

        @Test
        void a_401_of_a_stranger_is_returned() throws Exception {
            // rejects: an authenticator without a check of the origin
            var stranger = Server.plain(request -> refused());
            var answer = call(authenticating(Set.of("http://api.lab.test:" + stranger.port())), stranger.url("/"));
            Check.equal(401, answer.status(), "status()", "");
            Check.equal(1, stranger.count(), "requests", "who may not have the token gets no second try with it");
            Check.equal(0, tokens.asked(), "times that the source was asked", "check the origin before");
        }

        @Test
        void the_token_is_kept() throws Exception {
            // rejects: the source is asked for each request; for each first one
            var server = Server.plain(request -> ok("hello"));
            tokens.meeting = new CountDownLatch(8);
            tokens.late = 50;
            var client = authenticating(Set.of(server.origin())).newBuilder().eventListener(new EventListener() {
                @Override
                public void connectionAcquired(Call call, Connection connection) {
                    tokens.meeting.countDown();
                }
            }).build();
            all(8, () -> call(client, server.url("/")));
            call(client, server.url("/"));
            Check.equal(1, tokens.asked(), "times that the source was asked by nine calls",
                    "keep the token, and ask under a lock: eight calls begin at once");
        }

        @Test
        void eight_refusals_at_once_are_one_refresh() throws Exception {
            // rejects: a refresh for each 401; a comparison outside the lock
            var refusals = new CountDownLatch(8);
            var server = Server.plain(request -> {
                if (!"Bearer t1".equals(request.getHeaders().get("Authorization"))) {
                    return ok("hello");
                }
                refusals.countDown();
                Await.open(refusals, "that eight requests are under way", "");
                tokens.late = 50;
                return refused();
            });
            var client = authenticating(Set.of(server.origin()));
            for (var answer : all(8, () -> call(client, server.url("/")))) {
                Check.equal(200, answer.status(), "status()", "");
            }
            Check.equal(1, tokens.refreshes(), "refreshes",
                    "is the token that was refused still the current one? look, and refresh, under one lock");
        }

        @Test
        void a_token_that_is_refused_later_is_refreshed_again() throws Exception {
            // rejects: one refresh in a lifetime
            var good = new String[] {"Bearer t1"};
            var server = Server.plain(request -> good[0].equals(request.getHeaders().get("Authorization"))
                    ? ok("hello") : refused());
            var client = authenticating(Set.of(server.origin()));
            for (int i = 1; i <= 3; i++) {
                good[0] = "Bearer t" + i;
                Check.equal(200, call(client, server.url("/")).status(), "status() when t" + i + " is the good one",
                        "");
            }
            int before = server.count();
            call(client, server.url("/"));
            Check.equal(before + 1, server.count(), "requests", "after a refresh the fresh token is the one to send");
        }

        @Test
        void a_source_that_fails_fails_the_call_and_no_other() throws Exception {
            // rejects: a lock that is not given back; an exception of another type
            var server = Server.plain(request -> refused());
            for (var failing : List.of(false, true)) {
                tokens.failing = Optional.of(failing);
                var client = authenticating(Set.of(server.origin()));
                var failed = Await.value(background(() -> Check.fails(IOException.class,
                        () -> call(client, server.url("/")), "a call whose token source fails",
                        "the IOException of the source is that of the call")), "that the call ends", "");
                Check.that(String.valueOf(failed).contains("the token server is down"),
                        "the exception of the source, got " + failed, "let it pass");
                Await.until(() -> client.connectionPool().connectionCount()
                        == client.connectionPool().idleConnectionCount(), "that no connection is in use any more", "");
                tokens.failing = Optional.empty();
                var after = Await.value(background(() -> call(client, server.url("/"))),
                        "that the next call ends", "unlock() in finally: who fails must let the others in");
                Check.equal(401, after.status(), "status() of the next call", "");
            }
        }

        private OkHttpClient authenticating(Set<String> origins) throws UnknownHostException {
            return client(new HttpTransport.Builder()
                    .dns(new HttpTransport.StaticDns(Map.of("*.test", addresses("127.0.0.1")), NOBODY))
                    .auth(new HttpTransport.BearerAuth(origins, Set.of("x-api-key"), tokens)));
        }

        private static MockResponse refused() {
            return new MockResponse.Builder().code(401).body("no entry").build();
        }

        /** t1, after a refresh t2, and so on; late if a test wants it. */
        private static final class Tokens implements HttpTransport.TokenSource {
            private final AtomicInteger asked = new AtomicInteger();
            private final AtomicInteger refreshes = new AtomicInteger();
            private volatile Optional<Boolean> failing = Optional.empty();
            private volatile CountDownLatch meeting = new CountDownLatch(0);
            private volatile int late;

            @Override
            public String token(boolean refresh) throws IOException {
                asked.incrementAndGet();
                if (failing.equals(Optional.of(refresh))) {
                    throw new IOException("the token server is down");
                }
                answersLate();
                int number = 1 + (refresh ? refreshes.incrementAndGet() : refreshes.get());
                History.note("the source gave t" + number + (refresh ? ", a fresh one" : ""));
                return "t" + number;
            }

            private void answersLate() throws IOException {
                try {
                    if (meeting.await(2, TimeUnit.SECONDS)) {
                        Thread.sleep(late);   // so that those who come at once meet here, if nothing keeps them out
                    }
                } catch (InterruptedException e) {
                    throw new IOException(e);
                }
            }

            int asked() {
                return asked.get();
            }

            int refreshes() {
                return refreshes.get();
            }
        }
    }

    @Step(value = 4, title = "Insist on HTTP/2")
    class Insist_on_HTTP_2 {

        @Test
        void a_server_that_speaks_HTTP_2_is_called() throws Exception {   // rejects: protocols(List.of(HTTP_2))
            var server = Server.tls(true, request -> ok("hello"));
            var client = client(new HttpTransport.Builder().http2Only(false));
            for (int i = 1; i <= 2; i++) {
                var answer = call(client, server.url("api.lab.test", "/"));
                Check.equal(Protocol.HTTP_2, answer.protocol(), "protocol()", "");
                Check.equal("hello", answer.body(), "the body", "");
            }
        }

        @Test
        void a_server_of_HTTP_1_1_gets_no_byte_of_a_request() throws Exception {
            // rejects: a look at response.protocol(), when the request has been sent; and only for the first request
            var server = Server.tls(false, request -> ok("hello"));
            var client = client(new HttpTransport.Builder().http2Only(false));
            for (int i = 1; i <= 2; i++) {
                refused(client, get(server.url("api.lab.test", "/")));
                Check.equal(0, server.count(), "requests that the server has seen",
                        "look at the connection before chain.proceed(): afterwards the request is out");
            }
            Await.until(() -> client.connectionPool().connectionCount()
                    == client.connectionPool().idleConnectionCount(), "that no connection is in use any more", "");
        }

        @Test
        void the_message_names_the_server_and_what_it_speaks() throws Exception {
            var server = Server.tls(false, request -> ok("hello"));
            var message = String.valueOf(refused(client(new HttpTransport.Builder().http2Only(false)),
                    get(server.url("api.lab.test", "/"))).getMessage());
            Check.that(message.contains("api.lab.test") && message.contains("http/1.1"),
                    "a message with api.lab.test and http/1.1, got \"" + message + "\"",
                    "say who speaks what: the reader of the log will want to call them");
        }

        @Test
        void a_body_is_not_even_asked_for() throws Exception {   // rejects: a look after proceed()
            var server = Server.tls(false, request -> ok("hello"));
            var asked = new AtomicBoolean();
            refused(client(new HttpTransport.Builder().http2Only(false)),
                    new Request.Builder().url(server.url("api.lab.test", "/")).post(new RequestBody() {
                        @Override
                        public MediaType contentType() {
                            return null;
                        }

                        @Override
                        public void writeTo(BufferedSink sink) throws IOException {
                            asked.set(true);
                            sink.writeUtf8("secret");
                        }
                    }).build());
            Check.that(!asked.get(), "a body that nobody asked for, but it was written", "look before proceed()");
        }

        @Test
        void without_prior_knowledge_cleartext_is_refused() throws Exception {
            // rejects: a check of TLS connections alone
            var server = Server.plain(request -> ok("hello"));
            refused(client(new HttpTransport.Builder().http2Only(false)), get(server.url("/")));
            Check.equal(0, server.count(), "requests that the server has seen", "http without more is HTTP/1.1");
        }

        @Test
        void with_prior_knowledge_cleartext_is_HTTP_2() throws Exception {
            // rejects: a check for "h2" alone; protocols() left as they are
            var server = Server.priorKnowledge(request -> ok("hello"));
            var answer = call(client(new HttpTransport.Builder().http2Only(true)), server.url("/"));
            Check.equal(Protocol.H2_PRIOR_KNOWLEDGE, answer.protocol(), "protocol()",
                    "protocols(List.of(Protocol.H2_PRIOR_KNOWLEDGE)), and nothing else in the list");
            Check.equal("hello", answer.body(), "the body", "");
        }

        @Test
        void a_refusal_is_in_the_log() throws Exception {   // rejects: an interceptor before that of the log
            var told = new Told();
            var server = Server.tls(false, request -> ok("hello"));
            refused(client(new HttpTransport.Builder().log(told, PLAIN, PREVIEW).http2Only(false)),
                    get(server.url("api.lab.test", "/")));
            Check.equal(-1, told.only().status(), "status()", "");
            Check.equal("http/1.1", told.only().protocol(), "protocol()", "");
        }

        private ProtocolException refused(OkHttpClient client, Request request) {
            return Check.fails(ProtocolException.class, () -> call(client, request),
                    "a call to a server that does not speak HTTP/2",
                    "a network interceptor that looks at chain.connection().protocol(), for every exchange");
        }
    }

    @Step(value = 5, title = "Hide the secrets", further = true)
    class Hide_the_secrets {

        private final Told told = new Told();

        @Test
        void credentials_and_cookies_are_always_hidden() throws Exception {
            // rejects: only what the constructor names
            var server = Server.plain(request -> new MockResponse.Builder()
                    .addHeader("Set-Cookie: id=7; Path=/").build());
            call(logging(PLAIN), new Request.Builder().url(server.url("/")).header("Authorization", "Basic YTpi")
                    .header("Proxy-Authorization", "Basic YTpi").header("Cookie", "id=7").build());
            for (var name : List.of("Authorization", "Proxy-Authorization", "Cookie")) {
                hidden(told.only().requestHeaders(), name, 1);
            }
            hidden(told.only().responseHeaders(), "Set-Cookie", 1);
        }

        @Test
        void headers_of_your_own_are_hidden_in_upper_and_lower_case() throws Exception {
            // rejects: equals(); toLowerCase() in the language of the machine
            var server = Server.plain(request -> ok(""));
            inTurkish(() -> {
                call(logging(new HttpTransport.Redactor(Set.of("x-api-key", "X-SIGN-IN"), Set.of())),
                        new Request.Builder().url(server.url("/")).header("X-API-KEY", "k1")
                                .header("x-sign-in", "k2").header("AUTHORIZATION", "Basic YTpi").build());
                hidden(told.only().requestHeaders(), "X-API-KEY", 1);
                hidden(told.only().requestHeaders(), "x-sign-in", 1);
                hidden(told.only().requestHeaders(), "AUTHORIZATION", 1);
            });
        }

        @Test
        void every_value_of_a_repeated_header_is_hidden() throws Exception {   // rejects: the first value alone
            var server = Server.plain(request -> new MockResponse.Builder().addHeader("Set-Cookie: a=1")
                    .addHeader("Via: one").addHeader("Set-Cookie: b=2").addHeader("set-cookie: c=3").build());
            call(logging(PLAIN), server.url("/"));
            hidden(told.only().responseHeaders(), "Set-Cookie", 3);
        }

        @Test
        void names_and_order_of_headers_stay_and_other_values_too() throws Exception {
            // rejects: a header that is left out; names() of OkHttp, which are sorted
            var server = Server.plain(request -> new MockResponse.Builder().clearHeaders().addHeader("X-Shelf: left")
                    .addHeader("Set-Cookie: a=1").addHeader("Age: 7").addHeader("Content-Length: 0").build());
            call(logging(PLAIN), server.url("/"));
            Check.equal(List.of("X-Shelf", "Set-Cookie", "Age", "Content-Length"),
                    List.copyOf(told.only().responseHeaders().keySet()), "names of responseHeaders()",
                    "change values alone");
            Check.equal(List.of("left"), told.only().responseHeaders().get("X-Shelf"), "X-Shelf", "");
        }

        @Test
        void a_secret_in_the_query_is_hidden() throws Exception {
            // rejects: equals(); setQueryParameter(), which makes one of two; a value without a name
            logged("?page=2&Token=a&token=b&TOKEN=&token&sort=token&=token&mytoken=c",
                    "?page=2&Token=██&token=██&TOKEN=██&token&sort=token&=token&mytoken=c");
        }

        @Test
        void what_is_not_secret_stays_as_it_was_sent() throws Exception {
            // rejects: values that are decoded and encoded again; blocks that are percent-encoded
            logged("?q=a+b%2Fc%26d=e&token=a%26b=c&x=%C3%A4&&y=%20", "?q=a+b%2Fc%26d=e&token=██&x=%C3%A4&&y=%20");
            logged("?", "?");
            logged("", "");
        }

        @Test
        void a_name_may_be_encoded() throws Exception {
            // rejects: a comparison without decoding; one that fails on %
            logged("?%74oken=a&access+token=b&access%20Token=c", "?%74oken=██&access+token=██&access%20Token=██");
        }

        @Test
        void userinfo_and_fragment_are_left_out() throws Exception {
            var server = Server.plain(request -> ok(""));
            call(logging(PLAIN), server.url("/a").newBuilder().username("anna").password("pw")
                    .fragment("token=x").build());
            Check.equal(server.url("/a").toString(), told.only().url(), "url()",
                    "neither goes over the wire, and both may be secrets");
        }

        @Test
        void a_redirect_may_carry_secrets() throws Exception {
            // rejects: a log that knows secrets in its own URL alone
            var targets = new ArrayDeque<>(List.of("/a?token=x&page=1#token=y", "http://anna:pw@127.0.0.1:1/?token=x",
                    "?Token=x", "/b#c", "//anna:pw@127.0.0.1:1/c?token=x"));
            var server = Server.plain(request -> new MockResponse.Builder().code(200)
                    .addHeader("Location", targets.poll()).build());
            for (var shown : List.of("/a?token=██&page=1", "http://127.0.0.1:1/?token=██", "?Token=██", "/b",
                    "//127.0.0.1:1/c?token=██")) {
                call(logging(HIDING), new Request.Builder().url(server.url("/"))
                        .header("Referer", "http://anna:pw@127.0.0.1/x?token=y").build());
                Check.equal(List.of(shown), told.last().responseHeaders().get("Location"), "Location",
                        "reference() hides what a URL in a header holds");
                Check.equal(List.of("http://127.0.0.1/x?token=██"), told.last().requestHeaders().get("Referer"),
                        "Referer", "reference() hides what a URL in a header holds");
            }
        }

        @Test
        void a_form_is_hidden_like_a_query() throws Exception {   // rejects: pairs() for URLs alone
            var server = Server.plain(request -> ok("token=mine").newBuilder()
                    .addHeader("Content-Type: application/x-www-form-urlencoded").build());
            call(client(new HttpTransport.Builder().log(told, HIDING, 22)),
                    post(server.url("/"), "application/x-www-form-urlencoded", "user=anna&%74oken=12345678"));
            Check.equal("user=anna&%74oken=██", told.only().requestPreview().text(), "requestPreview().text()",
                    "a value that is cut off is a secret as well");
            Check.equal("token=██", told.only().responsePreview().text(), "responsePreview().text()", "");
        }

        @Test
        void the_server_still_gets_everything() throws Exception {   // rejects: a request that is changed for the log
            var server = Server.plain(request -> ok("").newBuilder().addHeader("Set-Cookie: a=1").build());
            var request = post(server.url("/?token=x"), "application/x-www-form-urlencoded", "token=y").newBuilder()
                    .header("Authorization", "Basic YTpi").build();
            try (var response = logging(HIDING).newCall(request).execute()) {
                Check.equal("a=1", response.header("Set-Cookie"), "what the caller gets", "");
            }
            Check.equal("/?token=x", server.seen(0).getTarget(), "the target that the server gets", "");
            Check.equal("token=y", server.seen(0).getBody().utf8(), "the body that the server gets", "");
            Check.equal("Basic YTpi", server.authorization(0), "what the server gets as Authorization",
                    "the log is told another thing than the server");
            Check.that(!told.only().toString().contains("token=y"), "a log without token=y, got " + told.only(), "");
        }

        @Test
        void a_secret_that_is_planted_everywhere_is_nowhere_in_the_log() throws Exception {
            var secret = "s3cr3t";
            var stranger = Server.plain(request -> new MockResponse.Builder()
                    .onResponseStart(new SocketEffect.CloseSocket()).build());
            var server = Server.plain(request -> movedTo(stranger.url("/?token=" + secret + "#" + secret).toString())
                    .newBuilder().addHeader("Set-Cookie: id=" + secret).addHeader("X-Api-Key: " + secret).build());
            var client = client(new HttpTransport.Builder().log(told, HIDING, PREVIEW)
                    .auth(new HttpTransport.BearerAuth(Set.of(server.origin()), Set.of(), refresh -> secret)));
            var url = server.url("/?token=" + secret + "&x=1").newBuilder().username(secret).password(secret)
                    .fragment(secret).build();
            Check.fails(IOException.class, () -> call(client, post(url, "application/x-www-form-urlencoded",
                    "a=1&token=" + secret).newBuilder().header("Cookie", secret).header("x-api-key", secret)
                    .build()), "a call that ends at a server which hangs up", "");
            for (var exchange : told.all(2, "")) {
                Check.that(!exchange.toString().contains(secret), "a log without " + secret + ", got " + exchange,
                        "one of the places where a secret may stand is still shown");
            }
        }

        private static final HttpTransport.Redactor HIDING = new HttpTransport.Redactor(Set.of("X-Api-Key"),
                Set.of("token", "access token"));

        private OkHttpClient logging(HttpTransport.Redactor redactor) {
            return client(new HttpTransport.Builder().log(told, redactor, PREVIEW));
        }

        private void logged(String query, String shown) throws Exception {
            var server = Server.plain(request -> ok(""));
            call(logging(HIDING), HttpUrl.get(server.url("/a") + query));
            Check.equal(server.url("/a") + shown, told.last().url(), "url()",
                    "split at &, look at the name before =, hide what is behind, and leave the rest as it is");
        }

        private void hidden(Map<String, List<String>> headers, String name, int count) {
            Check.equal(Collections.nCopies(count, HIDDEN), headers.get(name), name + " in the log",
                    "all values of the name, whatever its case");
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
        void a_name_is_asked_for_as_a_name() throws Exception {
            negotiated(TARGET, NONE, new Conversation().hears("05 01 00").says("05 00").hears(CONNECT).says(GRANTED));
        }

        @Test
        void an_address_is_asked_for_as_an_address() throws Exception {
            // rejects: IPv4 alone; a port of one byte; text
            negotiated(new InetSocketAddress("10.1.2.255", 50_000), NONE, new Conversation().hears("05 01 00")
                    .says("05 00").hears("05 01 00 01 0a 01 02 ff c3 50").says(GRANTED));
            negotiated(new InetSocketAddress("2001:db8::ff", 80), NONE, new Conversation().hears("05 01 00")
                    .says("05 00").hears("05 01 00 04 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 ff 00 50")
                    .says(GRANTED));
        }

        @Test
        void with_a_login_the_proxy_may_choose() throws Exception {   // rejects: a login that is sent unasked
            negotiated(TARGET, LOGIN, new Conversation().hears("05 02 00 02", "05 02 02 00").says("05 00")
                    .hears(CONNECT).says(GRANTED));
            negotiated(TARGET, LOGIN, new Conversation().hears("05 02 00 02", "05 02 02 00").says("05 02")
                    .hears(SIGN_IN).says("01 00").hears(CONNECT).says(GRANTED));
        }

        @Test
        void a_login_is_UTF_8_and_up_to_255_bytes_long() throws Exception {   // rejects: lengths in characters
            var long255 = "x".repeat(255);
            negotiated(TARGET, new HttpTransport.Login("zoë", long255), new Conversation()
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
                    "put a message together first, and send it in one write: some proxies read only once");
        }

        @Test
        void a_login_that_is_refused_ends_it() throws Exception {   // rejects: an answer that nobody looks at
            for (var answer : List.of("01 01", "01 ff")) {
                var failure = refused(HttpTransport.Socks5Exception.NO_LOGIN, LOGIN, new Conversation()
                        .hears("05 02 00 02", "05 02 02 00").says("05 02").hears(SIGN_IN).says(answer));
                Check.that(!String.valueOf(failure).contains("s3cret"), "no password in " + failure,
                        "an exception ends up in a log");
            }
        }

        @Test
        void a_proxy_without_a_method_for_us_is_NO_LOGIN() throws Exception {
            refused(HttpTransport.Socks5Exception.NO_LOGIN, NONE, new Conversation().hears("05 01 00").says("05 ff"));
            refused(HttpTransport.Socks5Exception.NO_LOGIN, LOGIN, new Conversation()
                    .hears("05 02 00 02", "05 02 02 00").says("05 ff"));
        }

        @Test
        void every_reply_code_is_told() throws Exception {
            // rejects: success whatever it says; codes as signed bytes
            for (int code : List.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 0x5b, 0x80)) {
                refused(code, NONE, new Conversation().hears("05 01 00").says("05 00").hears(CONNECT)
                        .says("05 %02x 00 01 00 00 00 00 00 00".formatted(code)));
            }
        }

        @Test
        void the_reply_may_hold_an_address_of_any_kind_and_what_follows_is_left_alone() throws Exception {
            // rejects: ten bytes whatever it is; a length as a signed byte; a buffer that reads ahead
            for (var reply : replies()) {
                followed(new Conversation().hears("05 01 00").says("05 00").hears(CONNECT).says(reply));
            }
        }

        @Test
        void the_reply_may_come_in_pieces() throws Exception {   // rejects: one read() for more than one byte
            for (int most : List.of(1, 2, 3, 7)) {
                for (var reply : replies()) {
                    followed(new Conversation().inPiecesOf(most).hears("05 01 00").says("05 00").hears(CONNECT)
                            .says(reply));
                }
            }
        }

        @Test
        void a_proxy_that_hangs_up_is_BROKEN() throws Exception {
            // rejects: -1 taken for a byte; an EOFException
            var answers = List.of("05 02", "01 00", "05 00 00 03 05 68 65 6c 6c 6f 00 00");
            int total = answers.stream().mapToInt(answer -> bytes(answer).length).sum();
            for (int bytes = 0; bytes < total; bytes++) {
                refused(HttpTransport.Socks5Exception.BROKEN, LOGIN, new Conversation().hangingUpAfter(bytes)
                        .hears("05 02 00 02", "05 02 02 00").says(answers.get(0)).hears(SIGN_IN)
                        .says(answers.get(1)).hears(CONNECT).says(answers.get(2)));
            }
        }

        @Test
        void what_is_not_SOCKS5_is_BROKEN() throws Exception {   // rejects: versions that nobody looks at
            for (var answer : List.of("48 54 54 50", "04 00", "00 5a", "05 01", "05 02", "05 80")) {
                refused(HttpTransport.Socks5Exception.BROKEN, NONE, new Conversation().hears("05 01 00").says(answer));
            }
            for (var reply : List.of("04 00 00 01 00 00 00 00 00 00", "05 00 00 02 00 00 00 00 00 00",
                    "05 00 00 00 00 00 00 00 00 00")) {
                refused(HttpTransport.Socks5Exception.BROKEN, NONE, new Conversation().hears("05 01 00").says("05 00")
                        .hears(CONNECT).says(reply));
            }
        }

        @Test
        void a_name_of_255_bytes_fits_and_one_of_256_is_refused_unsent() throws Exception {
            var most = InetSocketAddress.createUnresolved("x".repeat(255), 443);
            negotiated(most, NONE, new Conversation().hears("05 01 00").says("05 00")
                    .hears("05 01 00 03 ff" + "78".repeat(255) + "01 bb").says(GRANTED));
            var talk = new Conversation().hears("05 01 00").says("05 00");
            Check.fails(IllegalArgumentException.class, () -> HttpTransport.negotiate(talk.in, talk.out,
                    InetSocketAddress.createUnresolved("x".repeat(256), 443), NONE), "a name of 256 bytes",
                    "its length is one byte: 256 becomes 0");
            Check.equal(0, talk.said.size(), "bytes sent", "check it before the first byte is sent");
        }

        /** BND.ADDR of each kind, of each length that could go wrong. */
        private List<String> replies() {
            return List.of(GRANTED, "05 00 00 04" + "00".repeat(16) + "00 00", "05 00 00 03 00 00 00",
                    "05 00 00 03 01 78 00 00", "05 00 ff 03 c8" + "05".repeat(200) + "ff ff",
                    "05 00 00 03 ff" + "00".repeat(255) + "01 bb");
        }

        private void negotiated(InetSocketAddress target, HttpTransport.Login login, Conversation talk)
                throws Exception {
            HttpTransport.negotiate(talk.in, talk.out, target, login);
            talk.checkIsOver();
        }

        private void followed(Conversation talk) throws Exception {
            talk.says("48 54 54 50");
            negotiated(TARGET, NONE, talk);
            Check.equal("HTTP", new String(talk.in.readNBytes(4), StandardCharsets.US_ASCII),
                    "what is still to be read after the reply",
                    "its length follows from the fourth byte, and from the fifth if that is 3: read so many, no more");
        }

        private HttpTransport.Socks5Exception refused(int reply, HttpTransport.Login login, Conversation talk)
                throws Exception {
            var failure = Check.fails(HttpTransport.Socks5Exception.class,
                    () -> HttpTransport.negotiate(talk.in, talk.out, TARGET, login), "a proxy that does not connect",
                    "look at every byte that RFC 1928 gives a meaning to, and read in a loop: a read may bring less");
            Check.equal(reply, failure.reply(), "reply() of " + failure, "as the chapter's table says");
            talk.checkIsOver();
            return failure;
        }
    }

    @Step(value = 7, title = "Dial through the proxy", further = true)
    class Dial_through_the_proxy {

        private static final HttpTransport.Login NONE = HttpTransport.Login.NONE;
        private static final HttpTransport.Login LOGIN = new HttpTransport.Login("lab", "s3cret");

        @Test
        void a_call_goes_through_the_proxy_and_so_does_the_next_one() throws Exception {
            var server = Server.plain(request -> ok("hello"));
            var proxy = SocksProxy.open(target -> server.address());
            var client = client(new HttpTransport.Builder().socks5(factory(proxy, NONE, true)));
            for (int i = 1; i <= 2; i++) {
                Check.equal("hello", call(client, server.url("api.lab.test", "/")).body(), "the body",
                        "hook it in as the client's socketFactory, and connect to the proxy instead of the target");
            }
            Check.equal(1, proxy.connections(), "connections to the proxy", "");
        }

        @Test
        void names_are_left_to_the_proxy() throws Exception {   // rejects: names that are looked up here
            var server = Server.plain(request -> ok("hello"));
            var proxy = SocksProxy.open(target -> server.address());
            call(client(new HttpTransport.Builder().socks5(factory(proxy, NONE, true))),
                    HttpUrl.get("http://only.there.test:8080/"));
            Check.equal(List.of(new SocksProxy.Target("name", "only.there.test", 8080)), proxy.targets(),
                    "what the proxy was asked for",
                    "socksDns() makes an address that carries the name: getHostString()");
        }

        @Test
        void an_address_stays_an_address() throws Exception {   // rejects: getHostString() whatever it is
            var server = Server.plain(request -> ok("hello"));
            var proxy = SocksProxy.open(target -> server.address());
            var client = client(new HttpTransport.Builder().socks5(factory(proxy, NONE, true)));
            call(client, HttpUrl.get("http://10.1.2.3:8080/"));
            call(client, HttpUrl.get("http://[2001:db8::7]:8080/"));
            Check.equal(List.of(new SocksProxy.Target("IPv4", "10.1.2.3", 8080),
                    new SocksProxy.Target("IPv6", "2001:db8:0:0:0:0:0:7", 8080)), proxy.targets(),
                    "what the proxy was asked for", "only what comes from socksDns() is a name");
        }

        @Test
        void without_remote_names_they_are_looked_up_here() throws Exception {
            // rejects: the name of every address that carries one
            var server = Server.plain(request -> ok("hello"));
            var proxy = SocksProxy.open(target -> server.address());
            var dns = new HttpTransport.StaticDns(Map.of("api.lab.test",
                    List.of(InetAddress.getByAddress("api.lab.test", new byte[] {10, 1, 2, 3}))), NOBODY);
            call(client(new HttpTransport.Builder().dns(dns).socks5(factory(proxy, NONE, false))),
                    HttpUrl.get("http://api.lab.test:8080/"));
            Check.equal(List.of(new SocksProxy.Target("IPv4", "10.1.2.3", 8080)), proxy.targets(),
                    "what the proxy was asked for", "without remoteDns the address is what counts");
            var failure = Check.fails(UnknownHostException.class, () -> connect(factory(proxy, NONE, false),
                    InetSocketAddress.createUnresolved("nowhere.test", 80)), "an unresolved target without remoteDns",
                    "nobody has an address for it");
            Check.that(String.valueOf(failure.getMessage()).contains("nowhere.test"),
                    "a message with nowhere.test, got " + failure.getMessage(), "");
        }

        @Test
        void two_names_are_two_servers() throws Exception {
            // rejects: one placeholder for all: OkHttp shares an HTTP/2 connection between names with one address
            var shop = Server.tls(true, request -> ok("the shop"));
            var bank = Server.tls(true, request -> ok("the bank"));
            var proxy = SocksProxy.open(target -> (target.host().startsWith("bank") ? bank : shop).address());
            var client = client(new HttpTransport.Builder().socks5(factory(proxy, NONE, true)));
            Check.equal("the shop", call(client, HttpUrl.get("https://shop.lab.test/")).body(), "the body", "");
            Check.equal("the bank", call(client, HttpUrl.get("https://bank.lab.test/")).body(),
                    "the body of bank.lab.test", "two names with one address and one certificate share an HTTP/2"
                            + " connection:\n        give each name a placeholder of its own");
        }

        @Test
        void TLS_inside_is_with_the_target() throws Exception {
            var server = Server.tls(true, request -> ok("hello"));
            var proxy = SocksProxy.open(target -> server.address());
            var client = client(new HttpTransport.Builder().socks5(factory(proxy, NONE, true)));
            Check.equal("hello", call(client, HttpUrl.get("https://api.lab.test/")).body(), "the body", "");
            Check.fails(SSLPeerUnverifiedException.class, () -> call(client, HttpUrl.get("https://api.other.test/")),
                    "a target whose certificate is for other names", "the name of the URL is what counts");
        }

        @Test
        void a_login_is_passed_on() throws Exception {
            var server = Server.plain(request -> ok("hello"));
            var proxy = SocksProxy.guarded("lab", "s3cret", target -> server.address());
            call(client(new HttpTransport.Builder().socks5(factory(proxy, LOGIN, true))),
                    server.url("api.lab.test", "/"));
            var wrong = factory(proxy, new HttpTransport.Login("lab", "secret"), true);
            var failure = Check.fails(ConnectException.class, () -> call(client(new HttpTransport.Builder()
                    .socks5(wrong)), server.url("api.lab.test", "/")), "a call with a wrong password", "");
            reply(HttpTransport.Socks5Exception.NO_LOGIN, failure);
        }

        @Test
        void a_refusal_reaches_the_caller() throws Exception {
            var proxy = SocksProxy.playing((self, client) -> {
                self.chooseMethod(client, 0);
                self.readTarget(client);
                client.getOutputStream().write(new byte[] {5, 5, 0, 1, 0, 0, 0, 0, 0, 0});
            });
            var failure = Check.fails(ConnectException.class, () -> call(client(new HttpTransport.Builder()
                    .socks5(factory(proxy, NONE, true))), HttpUrl.get("http://api.lab.test/")),
                    "a call that the proxy refuses", "let the Socks5Exception pass: OkHttp puts its own around it");
            reply(5, failure);
        }

        @Test
        void a_failure_closes_the_socket() throws Exception {   // rejects: a socket that is left to the caller
            var closed = new CountDownLatch(1);
            var proxy = SocksProxy.playing((self, client) -> {
                self.chooseMethod(client, 9);   // which nobody has: so it answers 0xff
                client.getInputStream().transferTo(OutputStream.nullOutputStream());
                closed.countDown();
            });
            var socket = closeLater(factory(proxy, NONE, true).createSocket());
            Check.fails(HttpTransport.Socks5Exception.class, () -> socket.connect(
                    InetSocketAddress.createUnresolved("api.lab.test", 80)), "a proxy that lets nobody in", "");
            Check.that(socket.isClosed(), "a socket that is closed, but it is open", "close it on any failure");
            Await.open(closed, "that the proxy sees the connection end", "close the socket on any failure");
            var nobody = closeLater(new HttpTransport.Socks5SocketFactory(DeadEnd.refusing().address(), NONE, true,
                    HANGS).createSocket());
            Check.fails(ConnectException.class, () -> nobody.connect(InetSocketAddress.createUnresolved("x.test", 1)),
                    "a proxy where nobody listens", "");
            Check.that(nobody.isClosed(), "a socket that is closed, but it is open", "close it on any failure");
            var long256 = closeLater(factory(proxy, NONE, true).createSocket());
            Check.fails(IllegalArgumentException.class, () -> long256.connect(
                    InetSocketAddress.createUnresolved("x".repeat(256), 1)), "a name of 256 bytes", "");
            Check.that(long256.isClosed(), "a socket that is closed, but it is open",
                    "close it on any failure: a name that is too long is one as well");
        }

        @Test
        void a_silent_proxy_is_given_up() throws Exception {   // rejects: a read without a limit
            var proxy = SocksProxy.playing((self, client) ->
                    client.getInputStream().transferTo(OutputStream.nullOutputStream()));
            var factory = new HttpTransport.Socks5SocketFactory(proxy.address(), NONE, true, Duration.ofMillis(100));
            long start = System.nanoTime();
            Await.value(background(() -> Check.fails(SocketTimeoutException.class, () -> connect(factory,
                    InetSocketAddress.createUnresolved("api.lab.test", 80)), "a proxy that says nothing",
                    "read from until(deadline)")), "that a handshake with a limit of 100 ms ends",
                    "read from until(deadline): a plain read waits for ever");
            long millis = (System.nanoTime() - start) / 1_000_000;
            Check.that(millis >= 100, "a wait of 100 ms, got " + millis + " ms", "");
        }

        @Test
        void the_limit_is_for_the_whole_handshake() throws Exception {   // rejects: a limit for each read
            var proxy = SocksProxy.playing((self, client) -> {
                self.chooseMethod(client, 0);
                self.readTarget(client);
                client.getOutputStream().write(new byte[] {5, 0, 0, 3, (byte) 255});
                for (int i = 0; i < 257; i++) {
                    pause(20);   // a drip: each byte in time, all of them in five seconds
                    client.getOutputStream().write(0);
                }
            });
            var factory = new HttpTransport.Socks5SocketFactory(proxy.address(), NONE, true, Duration.ofMillis(200));
            Await.value(background(() -> Check.fails(SocketTimeoutException.class, () -> connect(factory,
                    InetSocketAddress.createUnresolved("api.lab.test", 80)), "a reply that drips for 5 s",
                    "a read timeout starts again with each byte: read from until(deadline)")),
                    "that a handshake with a limit of 200 ms ends",
                    "a read timeout starts again with each byte: read from until(deadline)");
        }

        @Test
        void what_comes_with_the_reply_is_not_lost() throws Exception {   // rejects: a buffer that reads ahead
            var proxy = SocksProxy.playing((self, client) -> {
                self.chooseMethod(client, 0);
                self.readTarget(client);
                client.getOutputStream().write(bytes("05 00 00 01 00 00 00 00 00 00 68 65 6c 6c 6f"));
            });
            var socket = connect(factory(proxy, NONE, true), InetSocketAddress.createUnresolved("api.lab.test", 25));
            socket.setSoTimeout(Patience.millis());
            Check.equal("hello", new String(socket.getInputStream().readNBytes(5), StandardCharsets.US_ASCII),
                    "what a server says first, in one segment with the proxy's reply",
                    "read the reply from the socket's own stream, and not a byte more");
        }

        @Test
        void the_proxy_of_the_system_is_left_aside() throws Exception {   // rejects: a client without Proxy.NO_PROXY
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
                    // That is its purpose.
                }
            });
            try {
                call(client(new HttpTransport.Builder().socks5(factory(proxy, NONE, true))),
                        HttpUrl.get("http://api.lab.test/"));
            } finally {
                ProxySelector.setDefault(before);
            }
            Check.equal(List.of(new SocksProxy.Target("name", "api.lab.test", 80)), proxy.targets(),
                    "what the proxy was asked for", "client.proxy(Proxy.NO_PROXY): the system may name another one");
        }

        @Test
        void everything_works_together() throws Exception {
            var told = new Told();
            var server = Server.tls(true, request -> ok("hello"));
            var proxy = SocksProxy.guarded("lab", "s3cret", target -> server.address());
            var client = client(new HttpTransport.Builder().log(told, PLAIN, PREVIEW).http2Only(false)
                    .auth(new HttpTransport.BearerAuth(Set.of("https://api.lab.test"), Set.of(), refresh -> "t1"))
                    .socks5(factory(proxy, LOGIN, true)));
            for (int i = 1; i <= 2; i++) {
                Check.equal("hello", call(client, HttpUrl.get("https://api.lab.test/")).body(), "the body", "");
            }
            Check.equal(List.of(new SocksProxy.Target("name", "api.lab.test", 443)), proxy.targets(),
                    "what the proxy was asked for", "one connection for both calls");
            Check.equal("Bearer t1", server.authorization(1), "Authorization", "");
            for (var exchange : told.all(2, "")) {
                Check.equal("h2", exchange.protocol(), "protocol()", "");
                Check.that(exchange.requestHeaders().toString().contains(HIDDEN),
                        "a log that hides the token, got " + exchange.requestHeaders(), "");
            }
        }

        @Test
        @EnabledIf(value = "isMicrosocksHere", disabledReason = "the program microsocks is not on the PATH; "
                + "on Debian and Ubuntu: apt install microsocks")
        void microsocks_makes_the_connection() throws Exception {   // a proxy that nobody here wrote
            var server = Server.plain(request -> ok("hello"));
            var proxy = startMicrosocks("lab", "s3cret");
            var right = new HttpTransport.Socks5SocketFactory(proxy, LOGIN, true, HANGS);
            Check.equal("hello", call(client(new HttpTransport.Builder().socks5(right)), server.url("/")).body(),
                    "the body", "");
            var none = new HttpTransport.Socks5SocketFactory(proxy, NONE, true, HANGS);
            reply(HttpTransport.Socks5Exception.NO_LOGIN, Check.fails(ConnectException.class, () -> call(
                    client(new HttpTransport.Builder().socks5(none)), server.url("/")),
                    "a call without a login", ""));
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

        private void reply(int expected, ConnectException failure) {
            var cause = failure instanceof HttpTransport.Socks5Exception ? failure : failure.getCause();
            Check.that(cause instanceof HttpTransport.Socks5Exception refusal && refusal.reply() == expected,
                    "a Socks5Exception with reply() = " + expected + ", got " + cause,
                    "let what negotiate() throws pass");
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

    // What the steps share.

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
            Check.that(seen.size() > index, "the server to get request " + (index + 1) + ", got " + seen.size(), "");
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

    /** Trusts our servers, and nobody else: to load the machine's own trust store takes a fifth of a second. */
    private static OkHttpClient client(HttpTransport.Builder builder) {
        var client = builder.tls(Tls.CERTIFICATES.sslSocketFactory(), Tls.CERTIFICATES.trustManager())
                .callTimeout(HANGS).build();
        if (client.dns() == Dns.SYSTEM) {   // the machine's own resolver is nobody's business here
            client = client.newBuilder()
                    .dns(name -> name.endsWith(".lab.test") ? addresses("127.0.0.1") : NOBODY.lookup(name)).build();
        }
        var pool = client.connectionPool();
        closeLater(pool::evictAll);
        return client;
    }

    private record Answer(int status, Protocol protocol, String body) {}

    private static Answer call(OkHttpClient client, HttpUrl url) throws IOException {
        return call(client, get(url));
    }

    private static Answer call(OkHttpClient client, Request request) throws IOException {
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

    /** What a log was told, in order. */
    private static final class Told implements Consumer<HttpTransport.Exchange> {
        private final List<HttpTransport.Exchange> exchanges = Collections.synchronizedList(new ArrayList<>());

        @Override
        public void accept(HttpTransport.Exchange exchange) {
            History.note("told: exchange %d, %s %s: %d%s".formatted(exchange.id(), exchange.method(), exchange.url(),
                    exchange.status(), exchange.failure().map(failure -> ", " + failure).orElse("")));
            exchanges.add(exchange);
        }

        int count() {
            return exchanges.size();
        }

        HttpTransport.Exchange only() throws InterruptedException {
            return all(1, "report each exchange, once").getFirst();
        }

        HttpTransport.Exchange last() throws InterruptedException {
            only(exchanges.isEmpty() ? 1 : exchanges.size(), "");
            return exchanges.getLast();
        }

        List<HttpTransport.Exchange> all(int count, String likely) throws InterruptedException {
            only(count, likely);
            Check.equal(count, exchanges.size(), "exchanges told", likely);
            return List.copyOf(exchanges);
        }

        private void only(int count, String likely) throws InterruptedException {
            if (exchanges.size() < count) {   // mostly it is there when the call is over
                Await.until(() -> exchanges.size() >= count, "that the log is told of " + count
                        + (count == 1 ? " exchange" : " exchanges"), likely);
            }
        }
    }

    /** A proxy's side of a conversation, over streams: it answers when it was told what it waits for. */
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

        /** In hex; any of several. */
        Conversation hears(String... hex) {
            hears = Stream.of(hex).map(HttpTransportTest::bytes).toList();
            return this;
        }

        /** Belongs to what it hears, or, if nothing new, to what it has said before. */
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

        /** A read brings so many bytes at most. */
        Conversation inPiecesOf(int bytes) {
            most = bytes;
            return this;
        }

        Conversation hangingUpAfter(int bytes) {
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
            if (turn.hears().stream().noneMatch(expected -> Arrays.equals(expected, got))) {
                throw History.fail("expected the proxy to be told\n  " + Bytes.shown(turn.hears().getFirst())
                        + "\ngot other bytes, " + Bytes.diff(turn.hears().getFirst(), got),
                        "RFC 1928 sections 3 and 4, RFC 1929 section 2; say all of it before you read");
            }
            History.note("the proxy was told " + Bytes.shown(got));
            History.note("the proxy answers " + Bytes.shown(turn.says()));
            answer = new ByteArrayInputStream(turn.says());
        }

        void checkIsOver() {
            if (left <= 0) {
                return;   // it has hung up, and hears nothing
            }
            Check.equal(0, said.size(), "bytes that the proxy was told after its last answer",
                    "a refusal, a wrong version or a method that was not offered ends it:\n        "
                            + "after that there is nothing more to say");
            Check.that(turns.isEmpty(), "all answers of the proxy to be read",
                    "wait for the proxy's reply before you return");
        }
    }

    /** Something waits here until it is opened, at the latest when the test ends. */
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

    /** There a small I is not what it is elsewhere. */
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
            Thread.sleep(millis);   // what a script says, and no wait for anything
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

    /** So many at once, and all their results. */
    private static <T> List<T> all(int count, Callable<T> code) throws InterruptedException {
        var asked = new ArrayList<CompletableFuture<T>>();
        for (int i = 0; i < count; i++) {
            asked.add(background(code));
        }
        var results = new ArrayList<T>();
        for (var each : asked) {
            results.add(Await.value(each, "that a call of " + count + " at once ends", ""));
        }
        return results;
    }
}
