///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:mockwebserver3:5.5.1
//DEPS com.squareup.okhttp3:okhttp-tls:5.5.1
//DESCRIPTION Four ways to insist on HTTP/2, of which three do not work

import module java.base;
import module java.logging;
import mockwebserver3.*;
import okhttp3.*;
import okhttp3.tls.*;

/** The server speaks HTTP/1.1 over TLS, and nothing else. */
public class Protocols {

    public static void main(String[] args) throws IOException {
        Logger.getLogger(MockWebServer.class.getName()).setLevel(Level.OFF);
        var own = new HeldCertificate.Builder()
                .addSubjectAlternativeName("127.0.0.1").build();
        var tls = new HandshakeCertificates.Builder().heldCertificate(own)
                .addTrustedCertificate(own.certificate()).build();
        attempt(tls, "protocols(HTTP_2)", client ->
                client.protocols(List.of(Protocol.HTTP_2)));
        attempt(tls, "protocols(H2_PRIOR_KNOWLEDGE)", client ->
                client.protocols(List.of(Protocol.H2_PRIOR_KNOWLEDGE)));
        attempt(tls, "protocols(HTTP_2, HTTP_1_1)", client ->
                client.protocols(List.of(Protocol.HTTP_2, Protocol.HTTP_1_1)));
        attempt(tls, "a network interceptor", client ->
                client.addNetworkInterceptor(chain -> {
                    if (chain.connection().protocol() != Protocol.HTTP_2) {
                        throw new ProtocolException("not HTTP/2");
                    }
                    return chain.proceed(chain.request());
                }));
    }

    private static void attempt(HandshakeCertificates tls, String what,
            Consumer<OkHttpClient.Builder> change) throws IOException {
        try (var server = new MockWebServer()) {
            server.useHttps(tls.sslSocketFactory());
            server.setProtocolNegotiationEnabled(false);
            server.enqueue(new MockResponse.Builder().build());
            server.start(InetAddress.getLoopbackAddress(), 0);
            IO.println(what + "\n  " + result(tls, change, server.getPort())
                    + "\n  requests at the server: "
                    + server.getRequestCount());
        }
    }

    private static String result(HandshakeCertificates tls,
            Consumer<OkHttpClient.Builder> change, int port) {
        var builder = new OkHttpClient.Builder()
                .sslSocketFactory(tls.sslSocketFactory(), tls.trustManager());
        try {
            change.accept(builder);
            var client = builder.build();
            try (var response = client.newCall(new Request.Builder().url(
                    "https://127.0.0.1:" + port).build()).execute()) {
                return response.code() + " " + response.protocol();
            } finally {
                client.connectionPool().evictAll();
            }
        } catch (IOException | IllegalArgumentException e) {
            return "refused: " + e.getMessage();
        }
    }
}
