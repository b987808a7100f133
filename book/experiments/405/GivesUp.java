///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:mockwebserver3:5.5.1
//DESCRIPTION An authenticator that never gives up

import module java.base;
import module java.logging;
import mockwebserver3.*;
import okhttp3.*;

/** The server says 401 whatever comes; the authenticator tries again. */
public class GivesUp {

    public static void main(String[] args) throws IOException {
        Logger.getLogger(MockWebServer.class.getName()).setLevel(Level.OFF);
        try (var server = new MockWebServer()) {
            server.setDispatcher(new mockwebserver3.Dispatcher() {
                @Override
                public MockResponse dispatch(RecordedRequest request) {
                    return new MockResponse.Builder().code(401).build();
                }
            });
            server.start(InetAddress.getLoopbackAddress(), 0);
            var client = new OkHttpClient.Builder()
                    .authenticator((_, response) -> response.request()
                            .newBuilder().header("Authorization",
                                    "Bearer fresh").build()).build();
            try {
                client.newCall(new Request.Builder().url("http://127.0.0.1:"
                        + server.getPort()).build()).execute();
            } catch (ProtocolException e) {
                IO.println(e.getMessage());
            }
            IO.println("requests: " + server.getRequestCount());
            client.connectionPool().evictAll();
        }
    }
}
