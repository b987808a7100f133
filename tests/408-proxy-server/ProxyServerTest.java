///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//SOURCES ../../labs/408-proxy-server/ProxyServer.java
//SOURCES ../kit/*.java

import static kit.Action.halfClose;
import static kit.Action.reset;
import static kit.Action.send;
import static kit.Action.sendSplit;
import static kit.Expectation.aborted;
import static kit.Expectation.end;
import static kit.Expectation.gone;
import static kit.Expectation.receive;
import static kit.TestLifecycle.closeLater;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.NoRouteToHostException;
import java.net.Proxy;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.net.UnknownHostException;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import kit.Action;
import kit.Await;
import kit.Check;
import kit.FakeClock;
import kit.History;
import kit.HttpPeer;
import kit.Lab;
import kit.Patience;
import kit.PendingCall;
import kit.Step;
import okhttp3.MediaType;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.RequestBody;
import org.junit.jupiter.api.Test;

/**
 * Lab 408, step by step. The tests stand on both sides of the proxy: they are its clients and its upstream servers.
 * Some of its methods are called directly, by the names that the skeleton gives them. A comment {@code rejects:} names
 * the wrong proxies that a test is there for.
 */
@Lab
class ProxyServerTest {

    private static final ProxyServer.Options DEFAULTS = ProxyServer.Options.defaults();
    private static final InetSocketAddress ANY_PORT = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
    private static final int PIECE = 16 * 1024;

    @Step(value = 1, title = "Drop hop-by-hop fields")
    class Drop_hop_by_hop_fields {

        @Test
        void the_nine_well_known_hop_by_hop_fields_are_dropped() {
            for (var name : List.of("Connection", "keep-alive", "PROXY-CONNECTION", "Te", "Trailer",
                    "Transfer-Encoding", "upgrade", "Proxy-Authenticate", "Proxy-Authorization")) {
                Check.equal("Host: zoo.test; Accept: */*", after("Host: zoo.test", name + ": x", "Accept: */*"),
                        "what remains of Host, " + name + " and Accept", name
                                + " belongs to one connection; compare names without regard to case");
            }
        }

        @Test
        void a_field_that_Connection_names_is_dropped() {   // rejects: a fixed list of names
            Check.equal("Host: zoo.test", after("Host: zoo.test", "X-Secret: 1", "Connection: X-Secret"),
                    "what remains after «Connection: X-Secret»", "drop every field that Connection names");
            Check.equal("", after("connection: a,\tX-B , ,keep-alive", "A: 1", "x-b: 2", "X-C: 3", "CONNECTION: x-c"),
                    "what remains after two Connection fields that name A, X-B and X-C",
                    "Connection is a list: over several fields, several elements in each, in any case, with spaces");
        }

        @Test
        void Host_and_Content_Length_stay_although_Connection_names_them() {
            Check.equal("Host: zoo.test; Content-Length: 5; Cookie: a",
                    after("Host: zoo.test", "Connection: host, content-length, close", "Content-Length: 5",
                    "Cookie: a"), "what remains after «Connection: host, content-length, close»",
                    "a client that names Host or Content-Length must not take them out of the request");
        }

        @Test
        void other_fields_keep_their_order_and_repetitions() {   // rejects: fields in a Map
            var fields = List.of("Set-Cookie: a=1", "Accept: text/html", "set-cookie: b=2", "Content-Encoding: gzip",
                    "Accept: */*", "Authorization: Basic x", "X-Empty: ");
            Check.equal(String.join("; ", fields), after(fields.toArray(String[]::new)),
                    "what remains of seven end-to-end fields",
                    "a message may repeat a field: keep a list, not a map, and touch no field but the dropped ones");
        }

        @Test
        void list_elements_are_split_at_commas_and_lose_spaces_and_tabs_only() {   // rejects: trim(), which strips VT
            var fields = fields("TE: , A\t,\t b c,,", "te: D\u000b", "Te2: x", "tE:");
            Check.equal(List.of("a", "b c", "d\u000b"), ProxyServer.listElements(fields, "Te"),
                    "listElements() of «, A<TAB>,<TAB> b c,,», «D<VT>» and «»",
                    "leave out empty elements; strip spaces and tabs, which trim() and strip() do not do alone");
        }

        @Test
        void the_client_is_the_last_element_of_X_Forwarded_For() throws Exception {
            // rejects: a chain overwritten, the name of a host
            var client = InetAddress.getByAddress("client.test", new byte[] {(byte) 192, 0, 2, 7});
            Check.equal("192.0.2.7", joined(ProxyServer.addForwardingFields(fields("Host: a"), client, "HTTP/1.1"),
                    "X-Forwarded-For"), "X-Forwarded-For of a request that had none", "add the client's address");
            Check.equal("203.0.113.1, 2001:DB8::5, 192.0.2.7", joined(ProxyServer.addForwardingFields(fields(
                    "X-Forwarded-For: 203.0.113.1", "Host: a", "x-forwarded-for: 2001:DB8::5"), client, "HTTP/1.1"),
                    "X-Forwarded-For"), "X-Forwarded-For of a request that had two",
                    "keep what came, in order, and add the client's address at the end");
        }

        @Test
        void X_Forwarded_Proto_and_Host_are_replaced() {   // rejects: a client that may say what it likes
            var added = ProxyServer.addForwardingFields(fields("X-Forwarded-Host: evil.test", "host: zoo.test:8080",
                    "X-FORWARDED-PROTO: https", "x-forwarded-host: evil2.test"), InetAddress.getLoopbackAddress(),
                    "HTTP/1.1");
            Check.equal("zoo.test:8080", joined(added, "X-Forwarded-Host"), "X-Forwarded-Host",
                    "set it to the value of Host, and drop what the client sent");
            Check.equal("http", joined(added, "X-Forwarded-Proto"), "X-Forwarded-Proto",
                    "set it to http, and drop what the client sent");
            Check.equal("", joined(ProxyServer.addForwardingFields(fields("X-Forwarded-Host: evil.test"),
                    InetAddress.getLoopbackAddress(), "HTTP/1.0"), "X-Forwarded-Host"),
                    "X-Forwarded-Host of a request without Host", "drop what the client sent here, too");
        }

        @Test
        void Via_names_the_received_version_and_the_proxy() {   // rejects: the proxy's own version
            for (var version : List.of("1.1", "1.0")) {
                var added = ProxyServer.addForwardingFields(fields("Host: a", "Via: 1.0 fred", "Accept: */*",
                        "accept: text/html"), InetAddress.getLoopbackAddress(), "HTTP/" + version);
                Check.equal("1.0 fred, " + version + " lab408", joined(added, "Via"),
                        "Via of a request received in HTTP/" + version + " that had «Via: 1.0 fred»",
                        "via(version) is one more element, after those that came");
                Check.equal("*/*, text/html", joined(added, "Accept"), "the two Accept fields of that request",
                        "all other fields stay, and a message may repeat a field");
            }
        }

        private String after(String... fields) {
            return shown(ProxyServer.removeHopByHop(fields(fields)));
        }
    }

    @Step(value = 2, title = "Reject ambiguous request framing")
    class Reject_ambiguous_request_framing {

        @Test
        void a_request_without_framing_fields_has_no_body() throws Exception {
            for (var method : List.of("GET", "POST", "CONNECT")) {
                Check.equal(new ProxyServer.Framing.None(), ProxyServer.requestFraming(request(method)),
                        "requestFraming() of " + method + " without Content-Length and Transfer-Encoding",
                        "without either field there is no body, whatever the method");
            }
        }

        @Test
        void Content_Length_is_a_number_of_digits() throws Exception {
            var lengths = new LinkedHashMap<String, Long>();
            lengths.put("0", 0L);
            lengths.put("5", 5L);
            lengths.put("0005", 5L);
            lengths.put("0".repeat(30) + "5", 5L);
            lengths.put("3000000000", 3_000_000_000L);
            lengths.put("999999999999999999", 999_999_999_999_999_999L);
            for (var row : lengths.entrySet()) {
                var what = "requestFraming() with «Content-Length: " + row.getKey() + "»";
                var likely = "read the digits as a long: 1 to 18 of them, leading zeros aside";
                Check.equal(new ProxyServer.Framing.Length(row.getValue()),
                        accepted(() -> framing("content-length: " + row.getKey()), what, likely), what, likely);
            }
            var old = new ProxyServer.RequestHead("POST", "/", "HTTP/1.0", fields("Content-Length: 5"));
            Check.equal(new ProxyServer.Framing.Length(5), ProxyServer.requestFraming(old),
                    "requestFraming() of HTTP/1.0 with «Content-Length: 5»", "HTTP/1.0 has Content-Length, too");
        }

        @Test
        void any_other_Content_Length_is_400() throws Exception {   // rejects: Long.parseLong alone, trim(), split(",")
            framing("Content-Length: 5");
            for (var value : List.of("+5", "-5", "5 5", "5,5", "5, 5", "5, 6", "", "0x5", "5.0", "5e3", "1_0", "٥",
                    "1000000000000000000", "99999999999999999999", "18446744073709551621", "5\u000b")) {
                refused(List.of(400), "Content-Length: " + value);
            }
        }

        @Test
        void a_second_Content_Length_is_400() throws Exception {   // rejects: the first one, or the last one, wins
            framing("Content-Length: 5");
            refused(List.of(400), "Content-Length: 5", "content-length: 6");
            refused(List.of(400), "Content-Length: 5", "Content-Length: 5");
            refused(List.of(400), "Content-Length: 0", "Accept: */*", "CONTENT-LENGTH: 50");
        }

        @Test
        void chunked_alone_is_chunked() throws Exception {
            for (var value : List.of("chunked", "Chunked", "CHUNKED")) {
                Check.equal(new ProxyServer.Framing.Chunked(), framing("transfer-encoding: " + value),
                        "requestFraming() with «Transfer-Encoding: " + value + "»",
                        "compare codings without regard to case");
            }
            var newer = new ProxyServer.RequestHead("POST", "/", "HTTP/1.2", fields("Host: a",
                    "Transfer-Encoding: chunked"));
            var what = "requestFraming() of HTTP/1.2 with chunked";
            var likely = "HTTP/1.2 is served as 1.1: ask isHttp10()";
            Check.equal(new ProxyServer.Framing.Chunked(),
                    accepted(() -> ProxyServer.requestFraming(newer), what, likely), what, likely);
            for (var legal : List.of("chunked,", ", chunked", "chunked\t", " \tchunked")) {   // 400 is right as well
                try {
                    Check.equal(new ProxyServer.Framing.Chunked(), framing("Transfer-Encoding:" + legal),
                            "requestFraming() with «Transfer-Encoding:" + visible(legal) + "»",
                            "empty elements do not count");
                } catch (ProxyServer.HttpStatusException e) {
                    Check.equal(400, e.status(), "the status for «Transfer-Encoding:" + visible(legal) + "»", "");
                }
            }
        }

        @Test
        void Transfer_Encoding_beside_Content_Length_is_400() throws Exception {
            // rejects: chunked wins, length wins, a check that an odd spelling escapes
            framing("Transfer-Encoding: chunked");
            for (var coding : List.of("chunked", "Chunked", "chunked,", "chunked\t", ",chunked", "identity", "xchunked",
                    "")) {
                refused(List.of(400), "Content-Length: 5", "Transfer-Encoding: " + coding);
                refused(List.of(400), "TRANSFER-ENCODING: " + coding, "Content-Length: 5");
                refused(List.of(400), "Transfer-Encoding: " + coding, "Content-Length: 0");
            }
        }

        @Test
        void any_other_coding_is_400_or_501_before_chunked() throws Exception {   // rejects: endsWith, contains, trim()
            framing("Transfer-Encoding: chunked");
            for (var value : List.of("chunked, gzip", "chunked, chunked", "chunked, gzip, chunked",
                    "gzip, chunked, chunked", "chunked, identity", "chunked\u000b",
                    "chunked;q=1")) {
                refused(List.of(400), "Transfer-Encoding: " + value);
            }
            refused(List.of(400), "Transfer-Encoding: chunked", "transfer-encoding: chunked");
            refused(List.of(400), "Transfer-Encoding: chunked", "Transfer-Encoding: gzip");
            for (var value : List.of("identity", "xchunked", "\"chunked\"", "gzip", "",
                    ",")) {   // 501 would do as well
                refused(List.of(400, 501), "Transfer-Encoding: " + value);
            }
            refused(List.of(501), "Transfer-Encoding: gzip, chunked");
            refused(List.of(501), "Transfer-Encoding: gzip", "Transfer-Encoding: chunked");
        }

        @Test
        void chunked_in_HTTP_1_0_and_any_framing_field_in_CONNECT_are_400() throws Exception {
            framing("Transfer-Encoding: chunked");
            for (var coding : List.of("chunked", "gzip, chunked", "")) {
                var old = new ProxyServer.RequestHead("POST", "/", "HTTP/1.0", fields("Host: a",
                        "Transfer-Encoding: " + coding));
                status(List.of(400), () -> ProxyServer.requestFraming(old), "requestFraming() of HTTP/1.0 with "
                        + "«Transfer-Encoding: " + coding + "»",
                        "HTTP/1.0 has no Transfer-Encoding, whatever its value");
            }
            for (var field : List.of("Content-Length: 0", "Content-Length: 5", "Transfer-Encoding: chunked",
                    "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: ")) {
                status(List.of(400), () -> ProxyServer.requestFraming(request("CONNECT", field)),
                        "requestFraming() of CONNECT with «" + field + "»");
            }
        }

        @Test
        void a_request_needs_one_valid_Host() throws Exception {
            // rejects: the first Host wins, a Host never looked at
            for (var host : List.of("zoo.test", "ZOO.test:8080", "127.0.0.1", "[::1]:80", "[2001:DB8::5]",
                    "a_b-c.test:")) {
                ProxyServer.readRequest(head("GET / HTTP/1.1", "Host: " + host));
            }
            ProxyServer.readRequest(head("GET / HTTP/1.0"));
            var likely = "check() the number of Host fields, and the value with HOST_FIELD";
            for (var host : List.of("a/b@c d", "a b", "user@zoo.test", "zoo.test/", "zoo.test:80:80", "zoo.test:http",
                    "[::1", "::1", "zoo.test, evil.test", "zoo.test#", "zoo\u00e9.test")) {
                status(List.of(400), () -> ProxyServer.readRequest(head("GET / HTTP/1.1", "Host: " + host)),
                        "readRequest() with «Host: " + host + "»", likely);
                status(List.of(400), () -> ProxyServer.readRequest(head("GET / HTTP/1.0", "Host: " + host)),
                        "readRequest() in HTTP/1.0 with «Host: " + host + "»", likely);
            }
            for (var heads : List.of(List.of("GET / HTTP/1.1"), List.of("GET / HTTP/1.2"),
                    List.of("GET / HTTP/1.1", "Host: a", "host: a"),
                    List.of("GET / HTTP/1.1", "Host: a", "Host: b"), List.of("GET / HTTP/1.0", "Host: a", "Host: b"))) {
                status(List.of(400), () -> ProxyServer.readRequest(head(heads.toArray(String[]::new))),
                        "readRequest() of " + heads, likely);
            }
        }

        @Test
        void a_head_that_another_server_may_read_differently_is_refused_and_nothing_is_forwarded() throws Exception {
            var origin = closeLater(new Origin(Origin.OK));
            var proxy = reverse(origin);
            var refused = new LinkedHashMap<String, Integer>();
            refused.put("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
            refused.put("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501);
            refused.put("GET / HTTP/1.1\r\nX: y\r\n\r\n", 400);
            refused.put("GET / HTTP/1.1\nHost: a\n\n", 400);
            refused.put("GET / HTTP/1.1\r\nHost: a\n\r\n", 400);
            refused.put("GET / HTTP/1.1\r\nHost: a\r\n\n", 400);
            refused.put("GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", 400);
            refused.put("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400);
            refused.put("GET / HTTP/1.1\r\nHost: a\r\nX: \u0000\r\n\r\n", 400);
            refused.put("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\u000b\r\n\r\n", 400);
            refused.put("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", 400);
            refused.put("POST / HTTP/1.1\r\nHost: a\r\nContent-Length\t: 5\r\n\r\n", 400);
            refused.put("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded: z\r\n\r\n", 400);
            refused.put("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400);
            refused.put("GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400);
            refused.put("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400);
            refused.put("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
            refused.put("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", 400);
            refused.put("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", 400);
            refused.put("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
            refused.put("GET /\r\n\r\n", 400);
            refused.put("GET / http/1.1\r\nHost: a\r\n\r\n", 400);
            refused.put("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505);
            refused.put("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
            refused.put("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
            refused.put("GET / HTTP/1.1\r\nHost: a\r\nX: " + "x".repeat(PIECE) + "\r\n\r\n", 431);
            for (var row : refused.entrySet()) {
                var client = client(proxy).play("", send(row.getKey() + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"));
                var answer = client.answer("answer with a status; nothing else may follow");
                Check.equal(row.getValue(), answer.status(), "the status for «" + shortened(row.getKey()) + "»",
                        "whatever two servers could read differently is refused; from step 6 on, fail() must keep the "
                                + "status of an HttpStatusException");
                client.play("after a refusal the connection ends: what follows may be part of an attack", gone())
                        .close();
            }
            Check.equal(List.of(), origin.lines(), "the requests that reached the upstream",
                    "none of these may be forwarded");
            Check.equal((long) refused.size(), proxy.stats().refused(), "stats().refused()", "");
        }

        @Test
        void what_every_server_reads_alike_is_accepted() throws Exception {   // rejects: a parser that is too strict
            ProxyServer.readRequest(head("GET / HTTP/1.2", "Host: a"));
            ProxyServer.readRequest(new ByteArrayInputStream(bytes("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")));
            var request = ProxyServer.readRequest(head("M-SEARCH /?a=b&c HTTP/1.1", "host:a", "X-A: \t b \t", "X-A: \t",
                    "X-B:\u00c3\u0085"));
            Check.equal("host: a; X-A: b; X-A: ; X-B: \u00c3\u0085", shown(request.headers()), "the fields", "");
        }

        private ProxyServer.Framing framing(String... fields) throws IOException {
            return ProxyServer.requestFraming(request("POST", fields));
        }

        private void refused(List<Integer> statuses, String... fields) {
            status(statuses, () -> framing(fields), "requestFraming() with «" + visible(String.join("», «", fields))
                    + "»");
        }

        private void status(List<Integer> statuses, Check.Code code, String what) {
            status(statuses, code, what, "two servers could find two different ends of this body");
        }

        private void status(List<Integer> statuses, Check.Code code, String what, String likely) {
            var thrown = Check.fails(ProxyServer.HttpStatusException.class, code, what, likely);
            Check.that(statuses.contains(thrown.status()), "status " + statuses + " from " + what + ", got "
                    + thrown.status(), likely);
        }

        private ProxyServer.RequestHead request(String method, String... fields) {
            return new ProxyServer.RequestHead(method, "/", "HTTP/1.1",
                    Stream.concat(Stream.of(new ProxyServer.Header("Host", "a")), fields(fields).stream()).toList());
        }

        private InputStream head(String... lines) {
            return new ByteArrayInputStream(bytes(String.join("\r\n", lines) + "\r\n\r\n"));
        }
    }

    @Step(value = 3, title = "Forward one request",
            leak = "forward() must let the exceptions of its calls pass: the given "
            + "code closes both connections then")
    class Forward_one_request {

        @Test
        void a_request_reaches_the_upstream_and_the_response_the_client() throws Exception {
            var origin = closeLater(new Origin());
            var client = client(reverse(origin)).play("", send("GET /lions?age=3 HTTP/1.1\r\nHost: zoo.test\r\n\r\n"));
            var link = origin.link("forward() writes the request");
            Check.equal("GET /lions?age=3 HTTP/1.1", link.head("write the head of the request").getFirst(),
                    "the request line that the upstream received", "method and target stay as they are");
            link.send("HTTP/1.1 404 No Lions\r\nContent-Length: 7\r\nX-Zoo: closed\r\n\r\nno lion");
            var answer = client.answer("await the response, write its head, copy its body");
            Check.equal("404 no lion", answer.status() + " " + answer.body(), "status and body", "");
            Check.equal(Optional.of("closed"), answer.field("X-Zoo"), "the field X-Zoo",
                    "end-to-end fields are passed on");
            Check.equal(1L, origin.proxy.stats().requests(), "stats().requests()", "");
        }

        @Test
        void hop_by_hop_fields_stay_behind_in_both_directions() throws Exception {
            var origin = closeLater(new Origin());
            var client = client(reverse(origin)).play("", send("""
                    GET / HTTP/1.1\r
                    Host: zoo.test\r
                    Connection: X-Secret, keep-alive, X-Forwarded-For, Via\r
                    X-Secret: 1\r
                    Proxy-Authorization: Basic eDp5\r
                    Upgrade: websocket\r
                    Accept: */*\r
                    Accept: text/html\r
                    \r
                    """));
            var link = origin.link("");
            var head = link.head("");
            Check.equal("accept accept host via x-forwarded-for x-forwarded-host x-forwarded-proto",
                    Stream.of(names(head).split(" ")).map(name -> name.toLowerCase(Locale.ROOT)).sorted()
                            .collect(Collectors.joining(" ")),
                    "the names of the fields that the upstream received", "removeHopByHop() first, then "
                            + "addForwardingFields(): the client's Connection must not name what the proxy adds");
            Check.equal("127.0.0.1", field(head, "X-Forwarded-For"), "X-Forwarded-For",
                    "the address of the client's socket");
            Check.equal("1.1 lab408", field(head, "Via"), "Via", "the version of the request");
            link.send("HTTP/1.1 200 OK\r\nConnection: X-Node, close\r\nX-Node: 7\r\nKeep-Alive: timeout=5\r\n"
                    + "ETag: \"a\"\r\nContent-Length: 0\r\n\r\n");
            var answer = client.answer("");
            Check.equal("ETag Via Content-Length", names(answer.fields()),
                    "the names of the fields that the client received", "writeResponse() does this");
            client.play("the upstream's close is not the client's: the connection goes on", send(get("/2")));
            origin.echoFromNowOn(link);
            client.answer("the upstream's close is not the client's: the connection goes on");
            var other = closeLater(new Socket());
            other.bind(new InetSocketAddress(otherAddress(), 0));
            other.connect(origin.proxy.localAddress());
            other.getOutputStream().write(bytes(get("/3")));
            other.setSoTimeout(Patience.millis());
            other.getInputStream().read();
            Check.equal(otherAddress(), field(origin.heads.getLast(), "X-Forwarded-For"),
                    "X-Forwarded-For of a client with this address", "the address of the client, not of the proxy");
        }

        @Test
        void a_body_arrives_whole_in_both_directions() throws Exception {   // rejects: one read, a body as text
            var origin = closeLater(new Origin());
            var proxy = reverse(origin);
            var body = random(300_000, 408);
            var client = client(proxy);
            var sending = PendingCall.start(() -> client.play("",
                    send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n"), new Action.Send(body)));
            var link = origin.link("");
            Check.equal("300000", field(link.head(""), "Content-Length"), "the Content-Length upstream", "");
            Check.that(Arrays.equals(body, link.take(body.length, "copy the body")),
                    "the body that was sent, got another", "copy bytes, as many as the read returned");
            Await.value(sending.outcome(), "that the request is sent", "");
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n");
            client.head("");
            link.send(Arrays.copyOf(body, 5));
            var likely = "count down and copy as many bytes as the read returned, which may be fewer than asked for";
            var first = client.bytes(5, "the first 5 bytes of the body", likely);
            var answering = PendingCall.start(() -> {
                link.send(Arrays.copyOfRange(body, 5, body.length));
                return null;
            });
            Check.that(Arrays.equals(first, Arrays.copyOf(body, 5))
                    && Arrays.equals(client.bytes(body.length - 5, "the rest of the body", likely),
                    Arrays.copyOfRange(body, 5, body.length)), "the body that was sent, got another", likely);
            Await.value(answering.outcome(), "that the response is sent", "");
        }

        @Test
        void the_next_request_begins_where_the_body_ended() throws Exception {   // rejects: a body read to the end
            var origin = closeLater(new Origin(Origin.ECHO));
            var requests = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\nGET /lie HTTP/1.1\r\n\n"
                    + get("/2") + "PUT /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi" + get("/4");
            for (var sending : List.of(send(requests), sendSplit(requests, 408))) {
                var client = client(origin.proxy == null ? reverse(origin) : origin.proxy).play("", sending);
                for (var expected : List.of("POST /1 GET /lie HTTP/1.1\r\n\n", "GET /2 ", "PUT /3 hi", "GET /4 ")) {
                    Check.equal(expected, client.answer("a body ends after Content-Length bytes").body(),
                            "the next of four answers, in order",
                            "a body ends after Content-Length bytes; a read may bring fewer");
                }
            }
            for (var head : origin.heads) {   // rejects: what follows a body sent on as part of it
                Check.equal("1.1 lab408", field(head, "Via"), "Via of «" + head.getFirst() + "» upstream",
                        "this request went upstream as a part of the body before it: read at most left bytes");
            }
        }

        @Test
        void Connection_cannot_take_the_framing_out_of_a_request() throws Exception {
            // rejects: a body without a length
            var origin = closeLater(new Origin(Origin.ECHO));
            var client = client(reverse(origin))
                    .play("", send("POST /1 HTTP/1.1\r\nHost: a\r\nConnection: content-length, host\r\n"
                    + "Content-Length: 5\r\n\r\nhello"));
            Check.equal("POST /1 hello", client.answer("").body(), "what the upstream read", "");
            Check.equal("5", field(origin.heads.getFirst(), "Content-Length"), "Content-Length upstream", "");
            Check.equal("a", field(origin.heads.getFirst(), "Host"), "Host upstream", "");
        }

        @Test
        void responses_to_HEAD_and_204_and_304_have_no_body() throws Exception {
            // rejects: waiting for Content-Length bytes
            for (var row : List.of(List.of("HEAD", "200 OK", "5"), List.of("GET", "304 Not Modified", "5"),
                    List.of("GET", "204 No Content", ""))) {
                var origin = closeLater(new Origin());
                var client = client(reverse(origin)).play("", send(row.get(0) + " / HTTP/1.1\r\nHost: a\r\n\r\n"));
                var link = origin.link("");
                link.head("");
                link.send("HTTP/1.1 " + row.get(1) + "\r\nContent-Length: 5\r\n\r\n");
                var answer = client.head("this response ends with its head");
                Check.equal(row.get(1).substring(0, 3) + row.get(2),
                        answer.status() + answer.field("Content-Length").orElse(""), "status and Content-Length",
                        "a 204 has none (RFC 9110 section 8.6)");
                origin.echoFromNowOn(link);
                client.play("", send(get("/next")));
                Check.equal("GET /next ", client.answer("this response ends with its head").body(), "the next answer",
                        "");
            }
        }

        @Test
        void an_HTTP_1_0_client_is_served_and_its_connection_ends() throws Exception {
            var origin = closeLater(new Origin(Origin.ECHO));
            var proxy = reverse(origin);
            var client = client(proxy).play("", send("GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
            var answer = client.answer("");
            Check.equal("GET /old close", answer.body() + answer.field("Connection").orElse("(none)"),
                    "body and Connection", "");
            client.play("no further request on a connection of HTTP/1.0: return what writeResponse() returned", end());
            var head = origin.heads.getFirst();
            Check.equal("GET /old HTTP/1.1", head.getFirst(), "the request line upstream", "the proxy speaks HTTP/1.1");
            Check.that(field(head, "Host").endsWith(":" + origin.address().getPort()),
                    "a Host upstream that names it, got «" + field(head, "Host") + "»", "");
            Check.equal("1.0 lab408", field(head, "Via"), "Via upstream", "the version in which the request came");
            var other = client(proxy).play("", send("GET /new HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n"));
            Check.equal("GET /new ", other.answer("").body(), "the body", "");
            other.play("the client has said close: return what writeResponse() returned", end());
        }

        @Test
        void an_absolute_target_replaces_Host() throws Exception {
            // rejects: a Host that says another thing than the target
            var origin = closeLater(new Origin(Origin.ECHO));
            var client = client(reverse(origin));
            var rows = Map.of("GET http://zoo.test:81/a?b", "GET /a?b zoo.test:81", "GET HTTP://zoo.test",
                    "GET / zoo.test",
                    "GET http://zoo.test?q=1", "GET /?q=1 zoo.test", "OPTIONS http://zoo.test", "OPTIONS * zoo.test");
            for (var row : rows.entrySet()) {
                client.play("", send(row.getKey() + " HTTP/1.1\r\nHost: evil.test\r\n\r\n"));
                client.answer("");
                var head = origin.heads.getLast();
                Check.equal(row.getValue(), head.getFirst().replace("HTTP/1.1", "") + field(head, "Host"),
                        "target and Host upstream for «" + row.getKey() + "»", "");
            }
            for (var target : List.of("http://a/b@c d/", "http://user@zoo.test/", "ftp://zoo.test/", "zoo.test", "*",
                    "http:///")) {
                var other = client(origin.proxy).play("", send("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n"));
                Check.equal(400, other.answer("").status(), "the status for the target " + target, "");
            }
        }

        @Test
        void a_request_that_the_client_breaks_off_never_looks_complete() throws Exception {
            // rejects: -1 taken for the end, an int for what is left
            var origin = closeLater(new Origin());
            var client = client(reverse(origin))
                    .play("", send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000000\r\n\r\n"
                    + "j".repeat(40)));
            var link = origin.link("");
            link.head("");
            link.take(40, "pass on what has come; an int does not hold what is left of a body of 3 GB");
            client.play("", halfClose());
            link.peer.play("a body that ends too early is an EOFException, and both connections are closed", gone());
        }

        @Test
        void a_response_that_the_upstream_breaks_off_never_looks_complete() throws Exception {
            for (var last : List.of(kit.Action.close(), reset())) {
                var origin = closeLater(new Origin());
                var client = client(reverse(origin)).play("", send(get("/")));
                var link = origin.link("");
                link.head("");
                link.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + "j".repeat(40));
                client.head("");
                client.bytes(40, "what has come of the body", "pass on what has come");
                link.peer.play("", last);
                client.play("the client must not wait for the rest, nor take something else for it", gone());
            }
        }

        @Test
        void relay_passes_on_what_comes_at_once_and_reads_at_most_16_KiB_ahead() throws Exception {
            // rejects: readAllBytes(), a buffer that is flushed at the end, a queue between reading and writing
            var taken = new AtomicLong();
            var blocked = new CountDownLatch(1);
            var begun = new CountDownLatch(1);
            var source = new InputStream() {
                @Override
                public int read() {
                    return taken.incrementAndGet() > 1_000_000 ? -1 : 'j';
                }
            };
            var sink = new ByteArrayOutputStream() {
                @Override
                public synchronized void write(byte[] bytes, int offset, int length) {
                    begun.countDown();
                    try {
                        blocked.await();
                    } catch (InterruptedException e) {
                        Thread.currentThread().interrupt();
                    }
                    super.write(bytes, offset, length);
                }
            };
            var call = PendingCall.start(() -> {
                ProxyServer.relay(source, sink);
                return null;
            });
            Await.until(() -> begun.getCount() == 0 || call.outcome().isDone(), "that relay() writes",
                    "write what was read");
            call.awaitWaiting();
            Check.that(taken.get() <= PIECE, "at most 16,384 bytes read while the first write is blocked, got " + taken,
                    "read a piece, write it, read the next");
            var flushed = new ArrayList<String>();
            var lines = Stream.of("one", "two", "three").map(ProxyServerTest::bytes).iterator();
            ProxyServer.relay(new InputStream() {
                @Override
                public int read() {
                    throw new IllegalStateException("not this one");
                }

                @Override
                public int read(byte[] bytes, int offset, int length) {
                    if (!lines.hasNext()) {
                        return -1;
                    }
                    var next = lines.next();
                    System.arraycopy(next, 0, bytes, offset, next.length);
                    return next.length;
                }
            }, new ByteArrayOutputStream() {
                @Override
                public void flush() {
                    flushed.add(toString());
                }
            });
            Check.equal(List.of("one", "onetwo", "onetwothree"), flushed.stream().distinct().toList(),
                    "what was written at each flush()", "flush after each piece: somebody may wait for it");
            blocked.countDown();
            Await.value(call.outcome(), "that relay() ends with its input", "");
            Check.that(sink.toString().equals("j".repeat(1_000_000)), "the 1,000,000 bytes that were read, while "
                    + "another relay() ran, got " + sink.size() + " bytes, which are not all the same",
                    "each call of relay() needs an array of its own: a proxy copies many bodies at once");
        }
    }

    @Step(value = 4, title = "Tunnel CONNECT requests",
            leak = "a tunnel ends when both directions have ended or one has failed")
    class Tunnel_CONNECT_requests {

        @Test
        void an_authority_is_a_host_and_a_port_and_anything_else_is_400() throws Exception {
            var rows = Map.of("zoo.test:443", new ProxyServer.Authority("zoo.test", 443),
                    "ZOO.Test:1", new ProxyServer.Authority("zoo.test", 1),
                    "a_b.test:8443", new ProxyServer.Authority("a_b.test", 8443), "127.0.0.1:65535",
                    new ProxyServer.Authority("127.0.0.1", 65535), "[::1]:0080", new ProxyServer.Authority("::1", 80),
                    "[2001:DB8::5]:443", new ProxyServer.Authority("2001:db8::5", 443));
            for (var row : rows.entrySet()) {
                var what = "parseAuthority(\"" + row.getKey() + "\")";
                var likely = "split at the last colon, take off the brackets, in lower case; HOST must match the host";
                Check.equal(row.getValue(),
                        accepted(() -> ProxyServer.parseAuthority(row.getKey()), what, likely), what, likely);
            }
            for (var text : List.of("zoo.test", "zoo.test:", "zoo.test:0", "zoo.test:65536", "zoo.test:99999999999",
                    "zoo.test:+80", "zoo.test:-1", "zoo.test: 80", "zoo.test:8٠", ":80", "", ":", "[::1]",
                    "::1:443", "[::1:443", "::1]:443", "[]:80", "zoo.test:80/x", "user@zoo.test:80", "zoo test:80",
                    "zoo.test:80:443", "http://zoo.test:80", "zoo.test#:80")) {
                var thrown = Check.fails(ProxyServer.HttpStatusException.class, () -> ProxyServer.parseAuthority(text),
                        "parseAuthority(\"" + text + "\")",
                        "HOST must match the host; a port is one of 1 to 65535, in digits");
                Check.equal(400, thrown.status(), "the status for \"" + text + "\"", "");
            }
        }

        @Test
        void CONNECT_is_answered_by_a_200_without_framing_fields_and_then_by_a_tunnel() throws Exception {
            var target = closeLater(new Origin());
            var proxy = forward(to -> true);
            var client = client(proxy).play("", send(connect(target)));
            var answer = client.head("parseAuthority(), checkAllowed(), connect(), then write the 200");
            Check.equal("200 ", answer.status() + " " + names(answer.fields()),
                    "status and fields of the answer to CONNECT",
                    "what follows this head is the tunnel's: no Content-Length, no Transfer-Encoding (RFC 9110 "
                            + "section 9.3.6)");
            var link = target.link("connect() to the target");
            client.play("", send("\u0016\u0003\u0001 any bytes\r\n\r\n"));
            link.peer.play("copy what the client sends", receive("\u0016\u0003\u0001 any bytes\r\n\r\n"), send("back"));
            client.play("copy what the target sends", receive("back"), send("GET / HTTP/1.1\r\n\r\n"));
            link.peer.play("no request any more, but bytes", receive("GET / HTTP/1.1\r\n\r\n"));
            Check.equal(1L, proxy.stats().tunnels(), "stats().tunnels()", "count it in tunnels");
            var unreachable = closeLater(new ProxyServer(ANY_PORT, Optional.empty(), to -> true, to -> {
                throw new ConnectException("Connection refused");
            }, DEFAULTS));
            var likely = "connect() first, then count it and write the 200";
            var all = untilEnd(unreachable, "CONNECT zoo.test:443 HTTP/1.1\r\nHost: zoo.test:443\r\n\r\n");
            Check.that(!all.startsWith("HTTP/1.1 200"), "no 200 for a CONNECT whose target cannot be reached, got «"
                    + shortened(all) + "»", likely);
            Check.equal(0L, unreachable.stats().tunnels(), "stats().tunnels() after a CONNECT whose target cannot be "
                    + "reached", likely);
        }

        @Test
        void both_directions_flow_at_the_same_time() throws Exception {   // rejects: one thread for both directions
            var target = closeLater(new Origin());
            var client = connected(forward(to -> true), target);
            var link = target.link("");
            var up = random(2 << 20, 1);
            var down = random(2 << 20, 2);
            var sending = List.of(PendingCall.start(() -> client.play("", new Action.Send(up))),
                    PendingCall.start(() -> link.peer.play("", new Action.Send(down))));
            var likely = "a direction waits for the other one: each needs a thread of its own";
            var received = client.bytes(down.length, "2 MiB while it sends 2 MiB itself", likely);
            Check.that(Arrays.equals(down, received) && Arrays.equals(up, link.take(up.length, likely)),
                    "the bytes that were sent in each direction, got others", "each direction needs its own array");
            for (var call : sending) {
                Await.value(call.outcome(), "that 2 MiB are sent", likely);
            }
        }

        @Test
        void bytes_that_come_with_the_CONNECT_head_reach_the_target() throws Exception {
            // rejects: a reader thrown away
            var target = closeLater(new Origin());
            var client = client(forward(to -> true)).play("", send(connect(target) + "hello"));
            target.link("").peer.play("what the client sent after the head is in client.in: read from there",
                    receive("hello"), send("world"));
            Check.equal(200, client.head("").status(), "the status", "");
            client.play("", receive("world"));
        }

        @Test
        void the_end_of_one_direction_is_passed_on_and_the_other_goes_on() throws Exception {
            // rejects: both sockets closed at the first end; an end that is not passed on
            var likely = "at the end of a direction, shutdownOutput() of the other socket, and nothing else; tunnel() "
                    + "returns when the helper's direction has ended, too";
            for (var clientFirst : List.of(true, false)) {
                var target = closeLater(new Origin());
                var client = connected(forward(to -> true), target);
                var link = target.link("");
                if (clientFirst) {
                    client.play("", send("question"), halfClose());
                    link.peer.play(likely, receive("question"), end(), send("answer"));
                    client.play(likely, receive("answer"));
                    link.peer.play("", halfClose());
                    client.play("both directions have ended: so has the connection", end());
                } else {
                    link.peer.play("", send("greeting"), halfClose());
                    client.play(likely, receive("greeting"), end(), send("farewell"));
                    link.peer.play(likely, receive("farewell"));
                    client.play("", halfClose());
                    link.peer.play("both directions have ended: so has the connection", end());
                }
            }
        }

        @Test
        void a_target_that_allow_refuses_is_403_and_never_looked_up() throws Exception {
            // rejects: connect first, ask later
            var asked = new LinkedBlockingQueue<ProxyServer.Authority>();
            var connected = new AtomicInteger();
            Predicate<ProxyServer.Authority> nothing = to -> asked.add(to) && false;
            Predicate<ProxyServer.Authority> broken = to -> {
                asked.add(to);
                throw new IllegalStateException("the list is broken");
            };
            for (var allow : List.of(nothing, broken)) {
                var proxy = closeLater(new ProxyServer(ANY_PORT, Optional.empty(), allow, to -> {
                    connected.incrementAndGet();
                    throw new UnknownHostException(to.host());
                }, DEFAULTS));
                for (var request : List.of("CONNECT Intranet.Test:443 HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
                        "GET http://INTRANET.test:443/x HTTP/1.1\r\nHost: allowed.test\r\n\r\n")) {
                    var client = client(proxy).play("", send(request));
                    var likely = allow == broken ? "what allow throws counts as false" : "ask allow with the target";
                    Check.equal(403, client.answer(likely).status(),
                            "the status for «" + request.lines().findFirst().get() + "»", likely);
                    client.play("", end());
                    Check.equal(new ProxyServer.Authority("intranet.test", 443), asked.poll(), "what allow was asked",
                            "the target decides, in lower case; the Host field may say anything");
                }
            }
            Check.equal(0, connected.get(), "calls of connect() for targets that are not allowed",
                    "ask allow before anything else: a look-up of the name is a packet, too");
            var origin = closeLater(new Origin(Origin.ECHO));
            Check.equal(403, client(reverse(origin)).play("", send(connect(origin))).answer("").status(),
                    "the status for CONNECT to a reverse proxy", "its allow is false for everything");
            Check.equal(0L, origin.proxy.stats().tunnels(), "stats().tunnels() of it",
                    "a refused CONNECT is no tunnel");
        }

        @Test
        void a_forward_proxy_sends_absolute_targets_to_the_server_they_name() throws Exception {
            var one = closeLater(new Origin(Origin.ECHO));
            var two = closeLater(new Origin(Origin.ECHO));
            var client = client(forward(to -> true));
            for (var origin : List.of(one, two, one)) {
                var authority = "127.0.0.1:" + origin.address().getPort();
                client.play("", send("GET http://" + authority + "/a?b HTTP/1.1\r\nHost: evil.test\r\n\r\n"));
                Check.equal("GET /a?b ", client.answer("").body(), "the answer of " + authority, "");
                Check.equal(authority, field(origin.heads.getLast(), "Host"), "Host upstream", "");
            }
            client.play("", send("GET /relative HTTP/1.1\r\nHost: 127.0.0.1:" + one.address().getPort() + "\r\n\r\n"));
            Check.equal(400, client.answer("").status(), "the status for a target without a server", "");
        }

        @Test
        void a_target_that_closes_at_once_does_not_take_the_200_with_it() throws Exception {
            // rejects: a close with the client's early bytes unread, which is a reset; a reset that is passed on
            var links = new AtomicInteger();
            var target = closeLater(new Origin(link -> {
                if (links.incrementAndGet() % 2 == 0) {
                    link.take(1, "");   // the tunnel is there
                    link.peer.play("", reset());
                }
                link.peer.close();
            }));
            var proxy = forward(to -> true);
            for (int i = 1; i <= 20; i++) {
                var client = client(proxy).play("", send(connect(target) + "early bytes"));
                var likely = "the client still reads the 200: nothing but shutdownOutput() towards it";
                Check.equal(200, client.head(likely).status(), "the status for client " + i, likely);
                client.play("a failure of one direction must end the other: abort() the upstream and return, but "
                        + "neither close nor reset the client's connection", end()).close();
            }
        }

        @Test
        void a_reset_of_one_side_ends_the_other_side() throws Exception {   // rejects: a direction that waits for ever
            for (var clientFirst : List.of(true, false)) {
                var target = closeLater(new Origin());
                var proxy = forward(to -> true);
                var client = connected(proxy, target);
                var link = target.link("");
                client.play("", send("a"));
                link.peer.play("", receive("a"), send("b"));
                client.play("", receive("b"));
                var likely = "a failure of one direction must end the other: abort() the upstream, and let tunnel() "
                        + "return without waiting for a thread that reads from the client";
                if (clientFirst) {
                    client.play("", reset());
                    link.peer.play(likely, gone());
                } else {
                    link.peer.play("", reset());
                    client.play(likely, gone()).close();
                }
                Await.until(() -> proxy.stats().active() == 0, "that stats().active() becomes 0", likely);
            }
        }

        @Test
        void a_tunnel_is_idle_only_when_both_directions_are() throws Exception {   // rejects: an idle limit a direction
            var clock = new CountingClock();
            var target = closeLater(new Origin());
            var proxy = closeLater(ProxyServer.startForward(ANY_PORT, to -> true,
                    DEFAULTS.withIdleTimeout(Duration.ofSeconds(60)).withNanoClock(clock)));
            var client = connected(proxy, target);
            var link = target.link("");
            for (int i = 1; i <= 3; i++) {   // a download: the client says nothing for two minutes
                clock.advance(Duration.ofSeconds(40));
                link.peer.play("", send("data"));
                client.play("the other direction has moved bytes", receive("data"));
            }
            clock.awaitLooks();
            link.peer.play("", send("data"));
            client.play("the other direction has moved bytes", receive("data"));
            Await.until(() -> {
                clock.advance(Duration.ofSeconds(61));
                return proxy.stats().active() == 0;
            }, "that a tunnel ends in which both directions are silent for longer than idleTimeout", "");
            client.play("an idle tunnel ends", gone());
            link.peer.play("an idle tunnel ends", gone());
        }

        @Test
        void shutdown_lets_tunnels_finish_and_cuts_them_after_the_grace() throws Exception {
            var target = closeLater(new Origin());
            var proxy = forward(to -> true);
            var clients = new ArrayList<HttpPeer>();
            for (int i = 1; i <= 3; i++) {
                clients.add(connected(proxy, target));
            }
            var patient = PendingCall.start(() -> proxy.shutdown(Duration.ofMinutes(1)));
            patient.awaitWaiting();
            clients.getFirst().play("", send("still here"));
            target.link("").peer.play("", receive("still here"));
            Check.that(!proxy.shutdown(Duration.ofMillis(5)), "false from shutdown(5 ms) with 3 open tunnels, got true",
                    "");
            for (var client : clients) {
                client.play("", gone());
            }
            Check.that(!Await.value(patient.outcome(), "that the first shutdown() ends, too", ""),
                    "false from it, got true", "");
            Check.that(!proxy.shutdown(Duration.ZERO), "false also later, got true", "");
        }

        @Test
        void OkHttp_works_through_the_proxy() throws Exception {
            var origin = closeLater(new Origin(Origin.ECHO));
            var address = forward(to -> true).localAddress();
            var http = new OkHttpClient.Builder().proxy(new Proxy(Proxy.Type.HTTP, address)).build();
            try {
                for (int i = 1; i <= 2; i++) {
                    var request = new Request.Builder().url("http://127.0.0.1:" + origin.address().getPort() + "/" + i)
                            .post(RequestBody.create(bytes("hello"), MediaType.get("text/plain"))).build();
                    try (var response = http.newCall(request).execute()) {
                        Check.equal("200 POST /" + i + " hello", response.code() + " " + response.body().string(),
                                "status and body of call " + i, "");
                    }
                }
            } finally {
                http.dispatcher().executorService().shutdown();
                http.connectionPool().evictAll();
            }
        }
    }

    @Step(value = 5, title = "Stream request and response bodies", further = true,
            leak = "the helper must end when the client or the upstream has gone")
    class Stream_request_and_response_bodies {

        private static final String CHUNKED = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

        @Test
        void a_chunked_request_is_passed_on_chunk_by_chunk() throws Exception {
            // rejects: decoded bytes, a body collected first
            var origin = closeLater(new Origin());
            var client = client(reverse(origin)).play("", send(CHUNKED + "3\r\none"));
            var link = origin.link("");
            Check.equal("chunked", field(link.head(""), "Transfer-Encoding"), "Transfer-Encoding upstream", "");
            var likely = "each piece is a chunk (its size in hex, CRLF, the piece, CRLF), and is flushed";
            Check.equal("one", link.chunk(likely), "the first chunk, before the client has sent its line end", likely);
            client.play("", send("\r\n3\r\ntwo\r\n"));
            Check.equal("two", link.chunk(likely), "the second chunk, before the client has sent the last one", likely);
            client.play("", send("0\r\n\r\n"));
            Check.equal("", link.chunk("write the last chunk when the body has ended"), "the last chunk", "");
            link.send("HTTP/1.1 204 No Content\r\n\r\n");
            Check.equal(204, client.head("").status(), "the status", "");
            origin.echoFromNowOn(link);
            client.play("", send(CHUNKED + "5;name=\"a b\"\r\nhello\r\n000b ; x\r\n, big world\r\n"
                    + "0;last\r\nX-Trailer: 1\r\n\r\n" + get("/next")));
            Check.equal("POST / hello, big world", client.answer("").body(), "the body that the upstream decoded",
                    "the size of a chunk is written in hex; extensions and trailers are dropped");
            Check.equal("GET /next ", client.answer("").body(), "the answer to the next request", "");
            client.play("", send(CHUNKED + "0\r\n\r\n" + CHUNKED + "4e20\r\n" + "j".repeat(20_000) + "\r\n0\r\n\r\n"));
            Check.equal("POST / ", client.answer("").body(),
                    "the body that the upstream decoded, of a request with the last chunk only",
                    "an empty body has no chunk but the last one");
            Check.equal("POST / " + "j".repeat(20_000), client.answer("").body(),
                    "the body that the upstream decoded, of 20,000 bytes",
                    "the size of a chunk is the number of bytes that were read, in hex");
            Check.that(origin.lines().stream().allMatch(line -> line.endsWith("HTTP/1.1")), "nothing but requests "
                    + "upstream, got " + origin.lines(),
                    "one last chunk ends a body: what follows is read as a request");
        }

        @Test
        void each_chunk_of_a_response_is_passed_on_as_it_comes() throws Exception {   // rejects: a body collected first
            var origin = closeLater(new Origin());
            var client = client(reverse(origin)).play("", send(get("/")));
            var link = origin.link("");
            link.head("");
            link.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            var answer = client.head("the head goes out before the body has come");
            Check.equal(Optional.of("chunked"), answer.field("Transfer-Encoding"), "Transfer-Encoding", "framingFor()");
            link.send("3\r\none\r\n");
            client.play("flush each chunk", receive("3\r\none\r\n"));
            link.send("3\r\ntwo\r\n");
            client.play("flush each chunk", receive("3\r\ntwo\r\n"));
            link.send("0\r\nX-Trailer: 1\r\n\r\n");
            client.play("the last chunk, without trailers", receive("0\r\n\r\n"), send(get("/next")));
            origin.echoFromNowOn(link);
            Check.equal("GET /next ", client.answer("").body(), "the answer to the next request", "");
        }

        @Test
        void a_response_that_ends_with_its_connection_is_chunked_for_the_client() throws Exception {
            var origin = closeLater(new Origin());
            var client = client(reverse(origin)).play("", send(get("/")));
            var link = origin.link("");
            link.head("");
            link.send("HTTP/1.1 200 OK\r\n\r\nhello");
            client.head("");
            client.play("framingFor() makes Chunked of UntilClose", receive("5\r\nhello\r\n"));
            link.peer.play("", kit.Action.close());
            client.play("the end of the upstream's connection is the end of the body", receive("0\r\n\r\n"),
                    send(get("/next")));
            origin.link("").answerAll();
            Check.equal("GET /next ", client.answer("the client's connection goes on").body(), "the next answer", "");
        }

        @Test
        void an_HTTP_1_0_client_gets_no_chunks() throws Exception {   // rejects: chunks for everybody
            var origin = closeLater(new Origin());
            var client = client(reverse(origin)).play("", send("GET / HTTP/1.0\r\n\r\n"));
            var link = origin.link("");
            link.head("");
            link.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + "5\r\nhello\r\n0\r\n\r\n");
            var answer = client.head("no interim response for HTTP/1.0");
            Check.equal("200", answer.status() + answer.field("Transfer-Encoding").orElse(""),
                    "status and Transfer-Encoding", "HTTP/1.0 knows no chunks: UntilClose");
            client.play("the body without chunks, then the end", receive("hello"), end());
        }

        @Test
        void an_upstream_may_ask_for_the_body_with_100_Continue() throws Exception {
            // rejects: body first, response then
            var origin = closeLater(new Origin());
            var client = client(reverse(origin)).play("", send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                    + "Content-Length: 5\r\n\r\n"));
            var link = origin.link("");
            var likely = "read the response while the body has not come yet: sendBody() must not wait for it";
            Check.equal("100-continue", field(link.head("write the head before the body has come"), "Expect"),
                    "Expect upstream", "");
            link.send("HTTP/1.1 100 Continue\r\n\r\n");
            Check.equal(100, client.head(likely).status(), "the interim status", likely);
            client.play("", send("hello"));
            Check.equal("hello", new String(link.take(5, ""), StandardCharsets.UTF_8), "the body upstream", "");
            link.send("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok");
            Check.equal("201 ok", client.head("").status() + " " + new String(client.bytes(2, "the body", "")),
                    "the answer", "");
            client.play("", send(get("/next")));
            origin.echoFromNowOn(link);
            client.answer("after a whole body the client's connection goes on");
        }

        @Test
        void a_response_may_overtake_the_request_body() throws Exception {   // rejects: a response held back
            var origin = closeLater(new Origin());
            var client = client(reverse(origin))
                    .play("", send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + "j".repeat(1000)));
            var link = origin.link("");
            link.head("");
            link.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
            var answer = client.answer("read the response while the body is still coming");
            Check.equal("413 big close",
                    answer.status() + " " + answer.body() + " " + answer.field("Connection").orElse("(none)"),
                    "status, body and Connection", "the rest of the body comes before any other request");
            client.play("", send("j".repeat(1000)));
            client.play("the connection cannot carry another request", gone()).close();
            link.rest();
        }

        @Test
        void a_response_arrives_although_the_upstream_takes_no_more_of_the_body() throws Exception {
            // rejects: a failed write that ends the reading of the response, a client that cannot get rid of the rest
            var clock = closeLater(new HoldingClock());
            var origin = closeLater(new Origin());
            var proxy = reverse(origin, DEFAULTS.withNanoClock(clock));
            var client = client(proxy);
            clock.learnWatcher();
            client.play("", send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                    + "Content-Length: 16777216\r\n\r\n"));
            var link = origin.link("");
            link.head("");
            link.send("HTTP/1.1 100 Continue\r\n\r\n");
            client.head("read the response while the body has not come yet: sendBody() must not wait for it");
            // holds the thread that passes on interim responses, so that the body's thread meets the reset first
            clock.holdNext();
            link.send("HTTP/1.1 102 Processing\r\n\r\n");
            clock.awaitHeld();
            var body = new Action.Send(new byte[16 << 20]);   // more than the kernel's buffers hold
            var sending = PendingCall.start(() -> client.play("", body));
            link.take(1, "send the body while the response is awaited");
            link.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
            link.peer.close();   // with unread input, which makes it a reset
            Await.value(sending.outcome(), "that the client has sent its body",
                    "drain() what the upstream does not take: the client sends everything before it reads");
            clock.close();
            var likely = "a failed write of the body is no reason to give up the response";
            var answer = client.answer(likely);
            Check.equal("401 no", answer.status() + " " + answer.body(), "the answer", likely);
        }

        @Test
        void a_broken_chunk_is_400_and_never_completes_the_request() throws Exception {
            // rejects: a bare LF as a line end, an extension or size that nobody checks, a last chunk after a failure
            var broken = List.of("1these-bytes-never-get-validated\r\nX\r\n0\r\n\r\n", "3\nabc\r\n0\r\n\r\n",
                    "3\r\nabc\n0\r\n\r\n", "3;x\nyy\r\nabc\r\n0\r\n\r\n", "3;a\n\r\nabc\r\n0\r\n\r\n",
                    "3;a=\"\n\"\r\nabc\r\n0\r\n\r\n", "3\rabc\r\n0\r\n\r\n", "3;x\ry\r\nabc\r\n0\r\n\r\n",
                    ";\r\n\r\n0\r\n\r\n", "\r\nabc\r\n0\r\n\r\n", "-3\r\nabc\r\n0\r\n\r\n", "+3\r\nabc\r\n0\r\n\r\n",
                    "0x3\r\nabc\r\n0\r\n\r\n", " 3\r\nabc\r\n0\r\n\r\n", "3 x\r\nabc\r\n0\r\n\r\n",
                    "g\r\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n", "3\r\nabc0\r\n\r\n",
                    "10000000000000003\r\nabc\r\n0\r\n\r\n", "3;" + "x".repeat(20_000) + "\r\nabc\r\n0\r\n\r\n",
                    "3\r\nabc\r\n0\n\n", "3\r\nabc\r\n0\r\n\n", "3\r\nabc\r\n0\r\nX: y\n\r\n",
                    "3\r\nabc\r\n0\r\nX: " + "x".repeat(20_000) + "\r\n\r\n");
            var origin = closeLater(new Origin());
            var proxy = reverse(origin);
            for (var body : broken) {
                var client = client(proxy).play("", send(CHUNKED + body + get("/smuggled")));
                var likely = "a body whose framing is broken: giveUp() with 400, and write no last chunk";
                Check.equal(400, client.answer(likely).status(), "the status for the chunked body «" + shortened(body)
                        + "»", likely);
                client.play("the connection ends: nobody knows where the next request begins", gone()).close();
                var link = origin.link("");
                link.head("");
                Check.that(!link.rest().contains("0\r\n\r\n"), "no last chunk upstream after the broken body «"
                        + shortened(body) + "», but it came",
                        "the upstream must not take a broken body for a whole one");
            }
        }

        @Test
        void a_client_that_goes_away_takes_its_upstream_with_it() throws Exception {
            // rejects: an upload that nobody ends
            for (var last : List.of(halfClose(), reset())) {
                for (var head : List.of("Content-Length: 100\r\n\r\n12345",
                        "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
                        "Transfer-Encoding: chunked\r\n\r\n9\r\n12345")) {
                    var origin = closeLater(new Origin());
                    var client = client(reverse(origin)).play("", send("POST / HTTP/1.1\r\nHost: a\r\n" + head));
                    var link = origin.link("");
                    link.head("");
                    client.play("", last);
                    Check.that(!link.rest().contains("0\r\n\r\n"), "a request without its end, but the last chunk came",
                            "a body that the client breaks off has no last chunk");
                    if (last instanceof Action.HalfClose) {
                        var likely = "an EOFException is a broken body: giveUp() with 400";
                        Check.equal(400, client.answer(likely).status(), "the status after half a body and the end",
                                likely);
                    }
                }
            }
        }

        @Test
        void a_chunked_response_that_breaks_off_gets_no_last_chunk() throws Exception {
            // rejects: finally { last chunk }
            for (var part : List.of("5\r\nhello\r\n", "9\r\nhello", "5\r\nhello\r\nzz\r\n")) {
                for (var version : List.of("1.1", "1.0")) {
                    var origin = closeLater(new Origin());
                    var client = client(reverse(origin)).play("", send("GET / HTTP/" + version
                            + "\r\nHost: a\r\n\r\n"));
                    var link = origin.link("");
                    link.head("");
                    link.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + part);
                    client.head("");
                    client.play("", receive(version.equals("1.1") ? "5\r\nhello\r\n" : "hello"));
                    link.peer.play("", kit.Action.close());
                    client.play("the last chunk says that the body is whole: not after a failure", gone());
                }
            }
        }

        @Test
        void an_upstream_that_does_not_read_stops_the_client() throws Exception {   // rejects: a body that is collected
            var origin = closeLater(new Origin());
            var proxy = reverse(origin);
            int all = 32 << 20;
            var sent = new AtomicInteger();
            var socket = closeLater(new Socket());
            socket.setSendBufferSize(64 * 1024);   // what the client's kernel holds back is not the proxy's doing
            socket.connect(proxy.localAddress());
            var out = socket.getOutputStream();
            out.write(bytes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + all + "\r\n\r\n"));
            var sending = PendingCall.start(() -> {
                for (var piece = new byte[PIECE]; sent.get() < all; sent.addAndGet(PIECE)) {
                    out.write(piece);
                }
                return null;
            });
            origin.link("write the head before the body").take(1, "send the body as it comes");
            int before = -1;
            for (int still = 0; still < 12 && !sending.outcome().isDone(); ) {
                Thread.sleep(3);   // a poll: nothing tells when a sender has stopped
                still = sent.get() == before ? still + 1 : 0;
                before = sent.get();
            }
            Check.that(sent.get() < all, "less than the 32 MiB of the body taken from the client, got all of them",
                    "read the next piece when the last one is written");
            socket.setSoLinger(true, 0);
            socket.close();
            Await.until(() -> sending.outcome().isDone(), "that the client's write ends", "");
        }
    }

    @Step(value = 6, title = "Answer 502 and 504 for a failing upstream", further = true)
    class Answer_502_and_504_for_a_failing_upstream {

        @Test
        void an_upstream_that_cannot_be_reached_is_502_and_one_that_is_silent_504() throws Exception {
            // rejects: a connection that ends without a word, 502 for everything
            var failures = new LinkedHashMap<IOException, Integer>();
            failures.put(new ConnectException("Connection refused"), 502);
            failures.put(new UnknownHostException("gone.test"), 502);
            failures.put(new NoRouteToHostException("No route to host"), 502);
            failures.put(new IOException("Too many open files"), 502);
            failures.put(new ConnectException("Connection timed out"), 502);   // the kernel's words; see the class
            failures.put(new EOFException(), 502);
            failures.put(new InterruptedIOException("closing"), 502);
            failures.put(new SocketTimeoutException(), 504);
            failures.put(new SocketTimeoutException("Connect timed out"), 504);
            var next = new AtomicReference<IOException>();
            ProxyServer.Connector failing = to -> {
                throw next.get();
            };
            var reverse = closeLater(new ProxyServer(ANY_PORT, Optional.of(new ProxyServer.Authority("zoo.test", 80)),
                    to -> false, failing, DEFAULTS));
            var forward = closeLater(new ProxyServer(ANY_PORT, Optional.empty(), to -> true, failing, DEFAULTS));
            for (var row : failures.entrySet()) {
                next.set(row.getKey());
                for (var client : List.of(client(reverse).play("", send(get("/"))),
                        client(forward).play("", send("CONNECT zoo.test:443 HTTP/1.1\r\nHost: a\r\n\r\n")))) {
                    var likely = "refuse() the client while no response has begun: 504 for a SocketTimeoutException, "
                            + "else 502";
                    var answer = client.answer(likely);
                    Check.equal(row.getValue() + " close",
                            answer.status() + " " + answer.field("Connection").orElse("(none)"),
                            "status and Connection after " + row.getKey(), likely);
                    client.play("", end()).close();
                }
            }
        }

        @Test
        void an_upstream_that_does_not_answer_in_time_is_504() throws Exception {
            var clock = new CountingClock();
            var origin = closeLater(new Origin());
            var client = client(reverse(origin, DEFAULTS.withResponseTimeout(Duration.ofSeconds(10))
                    .withNanoClock(clock))).play("", send(get("/")));
            var link = origin.link("");
            link.head("");
            clock.advance(Duration.ofMillis(9_900));
            clock.awaitLooks();
            link.send("HTTP/1.1 102 Processing\r\n\r\n");
            Check.equal(102, client.head("").status(), "the status before 10 s are over", "");
            clock.advance(Duration.ofSeconds(10));   // the time counts from when the request was sent
            var likely = "giveUp() throws a SocketTimeoutException where the response is awaited: that is 504";
            Check.equal(504, client.answer(likely).status(), "the status after 10 s without a final response", likely);
            client.play("", end());
            link.peer.play("a connection whose response is late cannot be used again", gone());
        }

        @Test
        void a_slow_body_is_no_late_response() throws Exception {   // rejects: a limit for the whole exchange
            var clock = new CountingClock();
            var origin = closeLater(new Origin());
            var client = client(reverse(origin, DEFAULTS.withResponseTimeout(Duration.ofSeconds(10))
                    .withNanoClock(clock))).play("", send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"));
            var link = origin.link("");
            link.head("");
            for (var piece : List.of("a", "b")) {
                clock.advance(Duration.ofSeconds(30));
                clock.awaitLooks();
                client.play("", send(piece));
                Check.equal(piece, new String(link.take(1, ""), StandardCharsets.UTF_8), "the next byte upstream", "");
            }
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n");
            client.head("");
            clock.advance(Duration.ofSeconds(30));
            clock.awaitLooks();
            link.send("c");
            client.play("", receive("c"));
        }

        @Test
        void an_upstream_that_closes_without_an_answer_or_sends_an_invalid_one_is_502() throws Exception {
            // rejects: an ambiguity passed on to the client
            var origin = closeLater(new Origin());
            var proxy = reverse(origin);
            for (var part : List.of("", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
                    "HTTP/1.1 100 Continue\r\n\r\n")) {
                for (var last : List.of(kit.Action.close(), reset())) {
                    var client = client(proxy).play("", send(get("/")));
                    var link = origin.link("");
                    link.head("");
                    link.send(part);
                    if (part.contains(" 100 ")) {
                        client.head("");
                    }
                    link.peer.play("", last);
                    Check.equal(502, client.answer("").status(), "the status after «" + visible(part) + "» and the end",
                            "");
                    client.play("", end());
                }
            }
            for (var response : List.of("SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n",
                    "HTTP/1.1 2000 OK\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
                    "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\n", "HTTP/1.1 200 OK\r\nX: " + "x".repeat(PIECE)
                    + "\r\n\r\n")) {
                var client = client(proxy).play("", send(get("/")));
                var link = origin.link("");
                link.head("");
                link.send(response);
                Check.equal(502, client.answer("").status(), "the status after the response «" + shortened(response)
                        + "»", "");
                client.play("", end());
                link.peer.play("", gone());
            }
        }

        @Test
        void nothing_is_added_to_a_response_that_has_begun() throws Exception {
            // rejects: a 502 in the middle of a body, a clean end of a body that is not whole
            var likely = "hasBegun: abort() the client, and write nothing";
            for (var part : List.of("Content-Length: 100\r\n\r\nhello",
                    "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                    "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")) {
                for (var version : List.of("1.1", "1.0")) {
                    var origin = closeLater(new Origin());
                    var client = client(reverse(origin)).play("", send("GET / HTTP/" + version
                            + "\r\nHost: a\r\n\r\n"));
                    var link = origin.link("");
                    link.head("");
                    link.send("HTTP/1.1 200 OK\r\n" + part);
                    var head = client.head("");
                    client.play("", receive(head.field("Transfer-Encoding").isPresent() ? "5\r\nhello\r\n" : "hello"));
                    link.peer.play("", kit.Action.close());
                    if (head.field("Content-Length").isPresent() || head.field("Transfer-Encoding").isPresent()) {
                        client.play(likely, gone());
                    } else {
                        client.play("nothing else tells this client that the body is not whole: abort()", aborted());
                    }
                }
            }
        }

        @Test
        void a_request_that_breaks_after_its_response_has_begun_gets_no_second_answer() throws Exception {
            // rejects: 400 behind 200, which the client takes for the answer to its next request
            var origin = closeLater(new Origin());
            var client = client(reverse(origin))
                    .play("", send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + "3\r\nabc\r\n"));
            var link = origin.link("");
            link.head("");
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            client.head("");
            client.play("", receive("hello"), send("no chunk\r\n"));
            client.play("the response has begun: nothing may follow but its body", gone());
        }

        @Test
        void a_client_beyond_maxConnections_gets_503() throws Exception {
            var origin = closeLater(new Origin(Origin.ECHO));
            var proxy = reverse(origin, DEFAULTS.withMaxConnections(2));
            var first = client(proxy).play("", send(get("/1")));
            first.answer("");
            client(proxy).play("", send(get("/2"))).answer("");
            var third = client(proxy).play("", send(get("/3")));
            Check.equal(503, third.answer("").status(), "the status of the third client of 2",
                    "refuse() an HttpStatusException with its own status");
            third.play("", end());
            first.close();
            Await.until(() -> proxy.stats().active() == 1, "that stats().active() becomes 1", "");
            Check.equal(200, client(proxy).play("", send(get("/4"))).answer("").status(),
                    "the status when one has left", "");
        }
    }

    @Step(value = 7, title = "Reuse upstream connections", further = true)
    class Reuse_upstream_connections {

        private static final String AGAIN =
                "mayReuse() is true after a whole request and a response whose end was framed";

        @Test
        void twenty_requests_need_one_upstream_connection() throws Exception {
            // rejects: a connection for each request
            var origin = closeLater(new Origin(Origin.ECHO));
            var proxy = reverse(origin);
            var client = client(proxy);
            for (int i = 1; i <= 20; i++) {
                client.play("", send(get("/" + i)));
                Check.equal("GET /" + i + " ", client.answer("").body(), "answer " + i, "");
            }
            Check.equal(1L, proxy.stats().upstreamConnects(), "stats().upstreamConnects() after 20 requests", AGAIN);
        }

        @Test
        void clients_share_the_idle_connections() throws Exception {
            var origin = closeLater(new Origin(Origin.ECHO));
            var proxy = reverse(origin);
            for (int i = 1; i <= 3; i++) {   // each says close: that is its own connection's end, not the upstream's
                var client = client(proxy).play("", send("GET /" + i
                        + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
                Check.equal("GET /" + i + " ", client.answer("").body(), "answer " + i, "");
                client.play("", end());
                Await.until(() -> proxy.stats().upstreamIdle() == 1, "that stats().upstreamIdle() becomes 1", AGAIN);
            }
            Check.equal(1L, proxy.stats().upstreamConnects(),
                    "stats().upstreamConnects() after 3 clients that said close", AGAIN);
            Check.that(origin.heads.stream().allMatch(head -> field(head, "Connection").isEmpty()),
                    "no Connection field upstream", "");
        }

        @Test
        void a_connection_is_reused_after_any_framed_response() throws Exception {
            // rejects: reuse after Content-Length only
            var rows = new LinkedHashMap<String, String>();
            rows.put(get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            rows.put("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
                    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            rows.put("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
            rows.put("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
            rows.put(get("/4"), "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n");
            rows.put(get("/5"), "HTTP/1.1 204 No Content\r\n\r\n");
            rows.put(get("/6"), "HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n"
                    + "HTTP/1.1 500 Oops\r\nKeep-Alive: 1\r\nContent-Length: 0\r\n\r\n");
            for (var row : rows.entrySet()) {
                var origin = closeLater(new Origin());
                var proxy = reverse(origin);
                var client = client(proxy).play("", send(row.getKey()));
                var link = origin.link("");
                link.request();
                link.send(row.getValue());
                Await.until(() -> proxy.stats().upstreamIdle() == 1, "that the connection is kept after «"
                        + shortened(row.getValue()) + "»", AGAIN);
                client.close();
                client(proxy).play("", send(get("/again")));
                Check.equal("GET /again HTTP/1.1", link.head(AGAIN).getFirst(),
                        "the next request on the same connection", AGAIN);
            }
        }

        @Test
        void a_connection_is_not_reused_when_its_end_was_said_or_meant() throws Exception {
            // rejects: a connection that the upstream is about to close
            for (var response : List.of("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
                    "HTTP/1.1 200 OK\r\nConnection: keep-alive, CLOSE\r\nContent-Length: 2\r\n\r\nok",
                    "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
                    "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")) {
                var origin = closeLater(new Origin());
                var proxy = reverse(origin);
                var client = client(proxy).play("", send(get("/1")));
                var link = origin.link("");
                link.head("");
                link.send(response);
                client.head("");
                var likely = "mayReuse(): not after HTTP/1.0, nor after «Connection: close», which is a list";
                link.peer.play(likely, gone());
                Check.equal(0, proxy.stats().upstreamIdle(), "stats().upstreamIdle() after «" + shortened(response)
                        + "»", likely);
            }
            var origin = closeLater(new Origin());
            var proxy = reverse(origin);
            var client = client(proxy).play("", send(get("/1")));
            var link = origin.link("");
            link.head("");
            link.send("HTTP/1.1 200 OK\r\n\r\nok");
            link.peer.play("", halfClose());
            client.head("");
            client.play("", receive("2\r\nok\r\n0\r\n\r\n"), send(get("/2")));
            origin.link("a body that ended with the connection leaves none to reuse").answerAll();
            Check.equal("GET /2 ", client.answer("").body(), "the second answer", "");
        }

        @Test
        void mayReuse_asks_for_a_whole_request_and_a_framed_response() {
            var length = new ProxyServer.Framing.Length(2);
            Check.equal(List.of("x", "close"), ProxyServer.listElements(fields("Connection: x", "connection: Close"),
                    "Connection"), "listElements() of two Connection fields", "this is step 1");
            Check.that(ProxyServer.mayReuse(response("HTTP/1.1", length), true),
                    "true after a whole request and a framed response, got false", AGAIN);
            Check.that(!ProxyServer.mayReuse(response("HTTP/1.1", length), false),
                    "false when the request was not sent to its end, got true",
                    "the rest of the body would be read as the next request");
            Check.that(!ProxyServer.mayReuse(response("HTTP/1.1", new ProxyServer.Framing.UntilClose()), true),
                    "false when the response ended with its connection, got true", "");
            for (var field : List.of("X: y", "Connection: keep-alive")) {
                Check.that(!ProxyServer.mayReuse(response("HTTP/1.0", length, field), true), "false in HTTP/1.0 with «"
                        + field + "», got true", "HTTP/1.0 says no, whatever its Connection says");
            }
            Check.that(!ProxyServer.mayReuse(response("HTTP/1.1", length, "Connection: x", "connection: Close"), true),
                    "false when one of two Connection fields says close, got true",
                    "Connection is a list, over several fields");
            Check.that(ProxyServer.mayReuse(response("HTTP/1.1", length, "Connection: closed, not-close", "X: close"),
                    true),
                    "true when no element of Connection is close, got false", "compare elements, not parts of them");
        }

        @Test
        void a_download_that_the_client_aborts_does_not_poison_the_next_one() throws Exception {
            var origin = closeLater(new Origin());
            var proxy = reverse(origin);
            var client = client(proxy).play("", send(get("/big")));
            var link = origin.link("");
            link.head("");
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\nbegin");
            client.head("");
            client.play("", receive("begin"), reset());
            PendingCall.start(() -> {   // ends early, when the proxy closes the connection
                link.send(new byte[1_000_000]);
                return null;
            });
            link.peer.play("the rest of the body is still in this connection", gone());
            var next = client(proxy).play("", send(get("/small")));
            origin.link("a connection with an unread body cannot be reused").answerAll();
            Check.equal("GET /small ", next.answer("").body(), "the next answer", "");
        }

        @Test
        void a_connection_is_not_reused_when_the_response_overtook_the_request() throws Exception {
            var origin = closeLater(new Origin());
            var proxy = reverse(origin);
            var client = client(proxy).play("", send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello"));
            var link = origin.link("");
            link.head("");
            link.take(5, "");
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            client.answer("");
            link.peer.play("the rest of the body would be read as the next request", gone());
            Check.equal(0, proxy.stats().upstreamIdle(), "stats().upstreamIdle()", "");
        }

        @Test
        void a_connection_that_is_no_longer_quiet_is_not_used() throws Exception {
            // rejects: a request on a closed connection, a response that answers another request
            for (var move : List.of(kit.Action.close(), send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"))) {
                var origin = closeLater(new Origin());
                var proxy = reverse(origin);
                var client = client(proxy).play("", send(get("/1")));
                var link = origin.link("");
                link.head("");
                link.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                client.answer("");
                Await.until(() -> proxy.stats().upstreamIdle() == 1, "that stats().upstreamIdle() becomes 1", AGAIN);
                link.peer.play("", move);
                awaitArrival();
                client.play("", send("POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"));
                origin.link("").answerAll();
                Check.equal("POST /2 hi", client.answer("").body(), "the answer to the POST after «" + move + "»", "");
                Check.equal(2L, proxy.stats().upstreamConnects(), "stats().upstreamConnects()", "");
            }
        }

        @Test
        void a_POST_whose_connection_dies_is_not_sent_twice() throws Exception {   // rejects: a retry of everything
            var origin = closeLater(new Origin());
            var proxy = reverse(origin);
            var client = client(proxy).play("", send(get("/1")));
            var link = origin.link("");
            link.head("");
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            client.answer("");
            client.play("", send("POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n42"));
            Check.equal("POST /pay HTTP/1.1", link.head(AGAIN).getFirst(), "the second request on the first connection",
                    AGAIN);
            link.peer.play("", kit.Action.close());
            Check.equal(502, client.answer("").status(), "the status",
                    "the upstream may have done what the POST asked for");
            Check.equal(1L, proxy.stats().upstreamConnects(), "stats().upstreamConnects()",
                    "a POST is never sent again by itself");
        }

        @Test
        void an_idle_connection_is_closed_after_idleTimeout() throws Exception {
            var clock = new CountingClock();
            var origin = closeLater(new Origin());
            var proxy = reverse(origin, DEFAULTS.withIdleTimeout(Duration.ofSeconds(60)).withNanoClock(clock));
            var client = client(proxy).play("", send(get("/1")));
            var link = origin.link("");
            link.head("");
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            client.answer("");
            client.play("", kit.Action.close());
            Await.until(() -> proxy.stats().upstreamIdle() == 1 && proxy.stats().active() == 0,
                    "that stats().upstreamIdle() becomes 1 and stats().active() 0", AGAIN);
            clock.advance(Duration.ofMillis(59_900));
            clock.awaitLooks();
            Check.equal(1, proxy.stats().upstreamIdle(), "stats().upstreamIdle() after 59.9 s", "");
            clock.advance(Duration.ofSeconds(1));
            link.peer.play("an idle connection is closed after idleTimeout", end());
            Await.until(() -> proxy.stats().upstreamIdle() == 0, "that stats().upstreamIdle() becomes 0", "");
        }

        @Test
        void the_connection_used_last_is_reused_first() throws Exception {   // rejects: a queue
            var origin = closeLater(new Origin());
            var proxy = reverse(origin);
            var clients = List.of(client(proxy), client(proxy));
            var links = new ArrayList<Link>();
            for (var client : clients) {
                client.play("", send(get("/1")));
                links.add(origin.link(""));
                links.getLast().head("");
            }
            for (int i = 0; i < 2; i++) {
                links.get(i).send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                clients.get(i).answer("");
                int expected = i + 1;
                Await.until(() -> proxy.stats().upstreamIdle() == expected, "that stats().upstreamIdle() becomes "
                        + expected, AGAIN);
            }
            clients.getFirst().play("", send(get("/2")));
            Check.equal("GET /2 HTTP/1.1", links.getLast().head(AGAIN).getFirst(),
                    "the next request on the second connection", AGAIN);
        }

        private ProxyServer.ResponseHead response(String version, ProxyServer.Framing framing, String... fields) {
            return new ProxyServer.ResponseHead(version, 200, " OK", fields(fields), framing);
        }

        /** On loopback, Linux delivers what a peer has sent, or its end, within the peer's call. */
        private void awaitArrival() throws InterruptedException {
            Thread.sleep(2);   // for other systems
        }
    }

    // Proxies, clients, upstream servers.

    private static ProxyServer reverse(Origin origin) throws IOException {
        return reverse(origin, DEFAULTS);
    }

    private static ProxyServer reverse(Origin origin, ProxyServer.Options options) throws IOException {
        origin.proxy = closeLater(ProxyServer.startReverse(ANY_PORT, origin.address(), options),
                proxy -> proxy.stats().toString());
        return origin.proxy;
    }

    private static ProxyServer forward(Predicate<ProxyServer.Authority> allow) throws IOException {
        return closeLater(ProxyServer.startForward(ANY_PORT, allow, DEFAULTS), proxy -> proxy.stats().toString());
    }

    private static HttpPeer client(ProxyServer proxy) throws IOException {
        return HttpPeer.connect(proxy.localAddress(), "client");
    }

    /** A client with a tunnel to the target. */
    private static HttpPeer connected(ProxyServer proxy, Origin target) throws IOException {
        var client = client(proxy).play("", send(connect(target)));
        Check.equal(200, client.head("parseAuthority(), checkAllowed(), connect(), then write the 200").status(),
                "the status", "");
        return client;
    }

    private static String connect(Origin target) {
        return "CONNECT " + authority(target) + " HTTP/1.1\r\nHost: " + authority(target) + "\r\n\r\n";
    }

    private static ProxyServer.Authority authority(Origin origin) {
        return new ProxyServer.Authority("127.0.0.1", origin.address().getPort());
    }

    private static String get(String path) {
        return "GET " + path + " HTTP/1.1\r\nHost: zoo.test\r\n\r\n";
    }

    /** An upstream server. Each connection is played the script on a thread of its own, or is the test's to play. */
    private static final class Origin implements AutoCloseable {

        @FunctionalInterface
        interface Script {
            void play(Link link) throws Exception;
        }

        /** Answers each request with its method, its target and its body. */
        static final Script ECHO = Link::answerEach;
        static final Script OK = ECHO;

        final List<List<String>> heads = Collections.synchronizedList(new ArrayList<>());
        ProxyServer proxy;
        private Optional<Script> script;   // guarded by this
        private final ServerSocket listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        private final BlockingQueue<Link> links = new LinkedBlockingQueue<>();
        private final Set<Link> all = ConcurrentHashMap.newKeySet();

        Origin() throws IOException {
            this(null);
        }

        Origin(Script script) throws IOException {
            this.script = Optional.ofNullable(script);
            Thread.ofVirtual().name("kit-origin").start(this::accept);
        }

        private void accept() {
            try {
                while (true) {
                    add(new Link(this, listener.accept()));
                }
            } catch (IOException e) {
                // Closed.
            }
        }

        private synchronized void add(Link link) {
            all.add(link);
            script.ifPresentOrElse(each -> Thread.ofVirtual().name("kit-origin").start(() -> link.play(each)),
                    () -> links.add(link));
        }

        InetSocketAddress address() {
            return (InetSocketAddress) listener.getLocalSocketAddress();
        }

        /** The next connection that nobody plays yet. */
        Link link(String likely) throws InterruptedException {
            var link = links.poll(Patience.millis(), TimeUnit.MILLISECONDS);
            if (link == null) {
                throw History.fail("expected that the proxy connects to the upstream, but it did not", likely);
            }
            return link;
        }

        /** Whether the next request comes on this connection or on a new one, it is answered as {@link #ECHO} does. */
        synchronized void echoFromNowOn(Link open) {
            script = Optional.of(ECHO);
            open.answerAll();
            links.forEach(Link::answerAll);
        }

        /** The request lines that have come. */
        List<String> lines() {
            return heads.stream().map(List::getFirst).toList();
        }

        @Override
        public void close() throws IOException {
            listener.close();
            for (var link : all) {
                link.socket.close();
            }
        }
    }

    /** One connection of an upstream server. */
    private static final class Link {

        final kit.Peer peer;
        private final Origin origin;
        private final Socket socket;

        Link(Origin origin, Socket socket) throws IOException {
            this.origin = origin;
            this.socket = socket;
            peer = kit.Peer.on(socket, "upstream");
        }

        void play(Origin.Script script) {
            try (socket) {
                script.play(this);
            } catch (Exception | AssertionError e) {
                // The proxy has gone, or the test is over.
            }
        }

        /** The next request head, a line each. */
        List<String> head(String likely) throws IOException {
            var head = new ByteArrayOutputStream();
            while (!head.toString(StandardCharsets.ISO_8859_1).endsWith("\r\n\r\n")) {
                head.write(take(1, likely.isEmpty() ? "forward() writes the request" : likely));
                Check.that(head.size() < 4 * PIECE && head.toByteArray()[head.size() - 1] != 0,
                        "a request head upstream, got «" + shortened(head.toString(StandardCharsets.ISO_8859_1)) + "»",
                        "copy bytes, as many as the read returned");
            }
            var lines = List.of(head.toString(StandardCharsets.ISO_8859_1).split("\r\n"));
            History.note("upstream received «" + shortened(lines.getFirst()) + "»");
            origin.heads.add(lines);
            return lines;
        }

        byte[] take(int count, String likely) throws IOException {
            socket.setSoTimeout(Patience.millis());
            try {
                var bytes = socket.getInputStream().readNBytes(count);
                if (bytes.length == count) {
                    return bytes;
                }
                throw History.fail("expected the upstream to receive " + count + " bytes\ngot " + bytes.length
                        + ", then the end", likely);
            } catch (IOException e) {
                throw History.fail("expected the upstream to receive " + count + " bytes\ngot " + e, likely);
            }
        }

        /** The next chunk, without its framing. */
        String chunk(String likely) throws IOException {
            var size = new StringBuilder();
            while (!size.toString().endsWith("\r\n")) {
                size.append((char) take(1, likely)[0]);
            }
            if (!size.toString().matches("[0-9A-Fa-f]{1,4}\r\n")) {
                throw History.fail("expected a chunk size in hex upstream, got «" + visible(size.toString()) + "»",
                        likely);
            }
            var chunk = new String(take(Integer.parseInt(size.toString().strip(), 16) + 2, likely),
                    StandardCharsets.UTF_8);
            Check.that(chunk.endsWith("\r\n"), "CRLF after a chunk upstream, got «" + visible(chunk) + "»", likely);
            return chunk.substring(0, chunk.length() - 2);
        }

        String chunkedBody(String likely) throws IOException {
            var body = new StringBuilder();
            for (var chunk = chunk(likely); !chunk.isEmpty(); chunk = chunk(likely)) {
                body.append(chunk);
            }
            return body.toString();
        }

        /** What comes until the connection ends, in whatever way. */
        String rest() throws IOException {
            socket.setSoTimeout(Patience.millis());
            var rest = new ByteArrayOutputStream();
            try {
                socket.getInputStream().transferTo(rest);
            } catch (SocketTimeoutException e) {
                throw History.fail("expected the upstream's connection to end\ngot nothing within " + Patience.text(),
                        "the upstream waits for the rest of a request that will not come: close its connection");
            } catch (IOException e) {
                // A reset, which is an end.
            }
            return rest.toString(StandardCharsets.ISO_8859_1);
        }

        void send(String text) throws IOException {
            send(text.getBytes(StandardCharsets.ISO_8859_1));
        }

        void send(byte[] bytes) throws IOException {
            socket.getOutputStream().write(bytes);
        }

        /** A request and its body. */
        String request() throws IOException {
            var head = head("");
            var length = field(head, "Content-Length");
            return field(head, "Transfer-Encoding").isEmpty()
                    ? new String(take(length.isEmpty() ? 0 : Integer.parseInt(length), ""), StandardCharsets.UTF_8)
                    : chunkedBody("");
        }

        void answerNext() throws IOException {
            var body = request();
            var text = origin.heads.getLast().getFirst().replace("HTTP/1.1", "") + body;
            send("HTTP/1.1 200 OK\r\nContent-Length: " + bytes(text).length + "\r\n\r\n" + text);
        }

        void answerEach() throws IOException {
            while (true) {
                answerNext();
            }
        }

        /** Plays {@link Origin#ECHO} from now on. */
        void answerAll() {
            Thread.ofVirtual().name("kit-origin").start(() -> play(Origin.ECHO));
        }
    }

    /** A clock that the test moves, and that tells when the proxy has looked at it. */
    private static final class CountingClock implements java.util.function.LongSupplier {

        private final FakeClock clock = new FakeClock();
        private final AtomicLong looks = new AtomicLong();

        @Override
        public long getAsLong() {
            looks.incrementAndGet();
            return clock.getAsLong();
        }

        void advance(Duration time) {
            clock.advance(time);
        }

        /**
         * To be called while no byte moves: then it is the proxy's watch over idle and late connections that looks. At
         * its second look, it has done what the first one led to.
         */
        void awaitLooks() throws InterruptedException {
            long before = looks.get();
            Await.until(() -> looks.get() >= before + 2, "that the proxy looks at the clock", "");
        }
    }

    /** The system's clock, at which one thread of the proxy can be held. */
    private static final class HoldingClock implements java.util.function.LongSupplier, AutoCloseable {

        private final Set<Thread> watchers = ConcurrentHashMap.newKeySet();
        private final AtomicReference<Thread> held = new AtomicReference<>();
        private final CountDownLatch released = new CountDownLatch(1);
        private volatile boolean learns = true;
        private volatile boolean holds;

        @Override
        public long getAsLong() {
            var thread = Thread.currentThread();
            if (learns) {
                watchers.add(thread);
            } else if (holds && !watchers.contains(thread) && held.compareAndSet(null, thread)) {
                try {
                    released.await();
                } catch (InterruptedException e) {
                    thread.interrupt();
                }
            }
            return System.nanoTime();
        }

        /** To be called while a client is silent: after the thread that accepted it, only the watch looks. */
        void learnWatcher() throws InterruptedException {
            Await.until(() -> watchers.size() == 2, "that the proxy looks at the clock", "");
            learns = false;
        }

        void holdNext() {
            holds = true;
        }

        void awaitHeld() throws InterruptedException {
            Await.until(() -> held.get() != null, "that the thread of the response looks at the clock", "");
        }

        @Override
        public void close() {
            released.countDown();
        }
    }

    // Texts.

    /** What a call returns that must not be answered with a status. */
    private static <T> T accepted(Callable<T> call, String what, String likely) throws Exception {
        try {
            return call.call();
        } catch (ProxyServer.HttpStatusException e) {
            throw History.fail("expected " + what + " to return a value\ngot " + e.status() + " " + e.getMessage(),
                    likely);
        }
    }

    private static List<ProxyServer.Header> fields(String... lines) {
        return Stream.of(lines).map(line -> new ProxyServer.Header(line.substring(0, line.indexOf(':')),
                line.substring(line.indexOf(':') + 1).replaceFirst("^ ", ""))).toList();
    }

    private static String shown(List<ProxyServer.Header> fields) {
        return fields.stream().map(field -> field.name() + ": " + field.value()).collect(Collectors.joining("; "));
    }

    /** The values of all fields of a name, as one list. */
    private static String joined(List<ProxyServer.Header> fields, String name) {
        return fields.stream().filter(field -> field.name().equalsIgnoreCase(name)).map(ProxyServer.Header::value)
                .collect(Collectors.joining(", "));
    }

    private static String names(List<String> lines) {
        return lines.stream().filter(line -> line.matches("[\\w-]+:.*"))
                .map(line -> line.substring(0, line.indexOf(':'))).collect(Collectors.joining(" "));
    }

    /** The value of the only field of a name; empty if there is none. */
    private static String field(List<String> lines, String name) {
        return lines.stream().filter(line -> line.regionMatches(true, 0, name + ":", 0, name.length() + 1))
                .map(line -> line.substring(name.length() + 1).strip()).collect(Collectors.joining(" AND "));
    }

    /** An address that is not the proxy's, where the system has one. */
    private static String otherAddress() {
        try (var socket = new Socket()) {
            socket.bind(new InetSocketAddress("127.0.0.2", 0));
            return "127.0.0.2";
        } catch (IOException e) {
            return "127.0.0.1";
        }
    }

    /** What a client receives until its connection ends, in whatever way. */
    private static String untilEnd(ProxyServer proxy, String request) throws IOException {
        var all = new ByteArrayOutputStream();
        try (var socket = new Socket()) {
            socket.connect(proxy.localAddress());
            socket.setSoTimeout(Patience.millis());
            socket.getOutputStream().write(bytes(request));
            socket.getInputStream().transferTo(all);
        } catch (SocketException e) {
            // A reset, which is an end.
        } catch (SocketTimeoutException e) {
            throw History.fail("expected the client's connection to end\ngot nothing within " + Patience.text(),
                    "let the exception pass: the given code ends the connection");
        }
        return all.toString(StandardCharsets.ISO_8859_1);
    }

    private static byte[] random(int size, long seed) {
        var bytes = new byte[size];
        new Random(seed).nextBytes(bytes);
        return bytes;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.ISO_8859_1);
    }

    private static String visible(String text) {
        return text.replace("\r", "<CR>").replace("\n", "<LF>").replace("\t", "<TAB>").replace("\u000b", "<VT>");
    }

    private static String shortened(String text) {
        var line = visible(text).replace("\u0000", "<NUL>");
        return line.length() <= 80 ? line : line.substring(0, 80) + "…";
    }
}
