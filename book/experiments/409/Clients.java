///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:okhttp-tls:5.5.1
//DESCRIPTION What Java's clients speak with a server of HTTP/2: PORT, PORT with TLS, CERTIFICATE

import module java.base;
import module java.net.http;

import okhttp3.OkHttpClient;
import okhttp3.Protocol;
import okhttp3.Request;
import okhttp3.tls.Certificates;
import okhttp3.tls.HandshakeCertificates;

public class Clients {

    public static void main(String[] args) throws Exception {
        var plain = "http://localhost:" + args[0] + "/";
        var secure = "https://localhost:" + args[1] + "/";
        var trust = new HandshakeCertificates.Builder().addTrustedCertificate(Certificates.decodeCertificatePem(
                Files.readString(Path.of(args[2])))).build();
        var builder = new OkHttpClient.Builder().sslSocketFactory(trust.sslSocketFactory(), trust.trustManager());
        show("OkHttp, prior knowledge", () -> okHttp(builder.protocols(List.of(Protocol.H2_PRIOR_KNOWLEDGE)).build(),
                plain));
        show("OkHttp, TLS", () -> okHttp(builder.protocols(List.of(Protocol.HTTP_2, Protocol.HTTP_1_1)).build(),
                secure));
        show("OkHttp, TLS, HTTP/1.1 only", () -> okHttp(builder.protocols(List.of(Protocol.HTTP_1_1)).build(),
                secure));
        try (var client = HttpClient.newBuilder().sslContext(trust.sslContext()).build()) {
            show("HttpClient, TLS", () -> jdk(client, secure));
            show("HttpClient, clear text", () -> jdk(client, plain));
        }
        System.exit(0);
    }

    private static void show(String who, Callable<String> call) {
        try {
            IO.println("%-27s %s".formatted(who, call.call()));
        } catch (Exception e) {
            IO.println("%-27s %s: %s".formatted(who, e.getClass().getSimpleName(),
                    e.getMessage().replaceAll("[^ -~].*", "...")));
        }
    }

    private static String okHttp(OkHttpClient client, String url) throws IOException {
        try (var response = client.newCall(new Request.Builder().url(url).build()).execute()) {
            return response.protocol() + " " + response.code() + " " + response.body().string().strip();
        }
    }

    private static String jdk(HttpClient client, String url) throws Exception {
        var response = client.send(HttpRequest.newBuilder(URI.create(url)).build(),
                HttpResponse.BodyHandlers.ofString());
        return response.version() + " " + response.statusCode() + " " + response.body().strip();
    }
}
