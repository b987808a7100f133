///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:mockwebserver3:5.5.1
//DEPS com.squareup.okhttp3:okhttp-tls:5.5.1
//DESCRIPTION Two names, two servers, one certificate: who is asked?

import module java.base;
import module java.logging;
import java.net.Proxy;
import java.net.Socket;
import mockwebserver3.*;
import okhttp3.*;
import okhttp3.tls.*;

/** A socket factory that dials by name, as behind a proxy. */
public class Coalesced {

    public static void main(String[] args) throws IOException {
        Logger.getLogger(MockWebServer.class.getName()).setLevel(Level.OFF);
        var own = new HeldCertificate.Builder()
                .addSubjectAlternativeName("*.lab.test").build();
        var tls = new HandshakeCertificates.Builder().heldCertificate(own)
                .addTrustedCertificate(own.certificate()).build();
        try (var shop = server(tls, "the shop");
             var bank = server(tls, "the bank")) {
            var ports = Map.of("shop.lab.test", shop.getPort(),
                    "bank.lab.test", bank.getPort());
            for (var same : List.of(true, false)) {
                IO.println(same ? "one placeholder for both names"
                        : "\na placeholder for each name");
                var client = new OkHttpClient.Builder()
                        .sslSocketFactory(tls.sslSocketFactory(),
                                tls.trustManager())
                        .socketFactory(new ByName(ports))
                        .dns(name -> List.of(InetAddress.getByAddress(name,
                                new byte[] {(byte) 192, 0, 2, (byte)
                                        (same ? 1 : name.charAt(0))})))
                        .build();
                ports.keySet().stream().sorted(Comparator.reverseOrder())
                        .forEach(name -> call(client, name));
                client.connectionPool().evictAll();
            }
        }
    }

    private static void call(OkHttpClient client, String name) {
        try (var response = client.newCall(new Request.Builder()
                .url("https://" + name).build()).execute()) {
            IO.println("  " + name + " was asked, and this answered: "
                    + response.body().string());
        } catch (IOException e) {
            IO.println("  " + e.getMessage());
        }
    }

    private static MockWebServer server(HandshakeCertificates tls,
            String name) throws IOException {
        var server = new MockWebServer();
        server.useHttps(tls.sslSocketFactory());
        server.setDispatcher(new mockwebserver3.Dispatcher() {
            @Override
            public MockResponse dispatch(RecordedRequest request) {
                return new MockResponse.Builder().body(name).build();
            }
        });
        server.start(InetAddress.getLoopbackAddress(), 0);
        return server;
    }

    /** Asks for the name that the address carries. */
    private static final class ByName extends javax.net.SocketFactory {
        private final Map<String, Integer> ports;

        ByName(Map<String, Integer> ports) {
            this.ports = ports;
        }

        @Override
        public Socket createSocket() {
            return new Socket(Proxy.NO_PROXY) {
                @Override
                public void connect(SocketAddress to, int timeout)
                        throws IOException {
                    var name = ((InetSocketAddress) to).getHostString();
                    super.connect(new InetSocketAddress(InetAddress
                            .getLoopbackAddress(), ports.get(name)), timeout);
                }
            };
        }

        @Override
        public Socket createSocket(String host, int port) {
            throw new IllegalStateException("OkHttp does not call this");
        }

        @Override
        public Socket createSocket(InetAddress host, int port) {
            throw new IllegalStateException("OkHttp does not call this");
        }

        @Override
        public Socket createSocket(String host, int port, InetAddress from,
                int fromPort) {
            throw new IllegalStateException("OkHttp does not call this");
        }

        @Override
        public Socket createSocket(InetAddress host, int port,
                InetAddress from, int fromPort) {
            throw new IllegalStateException("OkHttp does not call this");
        }
    }
}
