///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:mockwebserver3:5.5.1
//DESCRIPTION The JDK's HttpClient: what does a redirect carry along?

import module java.base;
import module java.logging;
import module java.net.http;
import mockwebserver3.*;

/** The same two headers, the same redirect, another client. */
public class JdkClient {

    public static void main(String[] args) throws Exception {
        Logger.getLogger(MockWebServer.class.getName()).setLevel(Level.OFF);
        try (var ours = new MockWebServer(); var stranger = new MockWebServer();
             var client = HttpClient.newBuilder().followRedirects(
                     HttpClient.Redirect.NORMAL).build()) {
            var here = InetAddress.getLoopbackAddress();
            ours.start(here, 0);
            stranger.start(here, 0);
            ours.enqueue(new MockResponse.Builder().code(302).addHeader(
                    "Location", "http://127.0.0.1:" + stranger.getPort())
                    .build());
            stranger.enqueue(new MockResponse.Builder().build());
            client.send(HttpRequest.newBuilder(URI.create("http://127.0.0.1:"
                    + ours.getPort()))
                    .header("Authorization", "Bearer invented")
                    .header("X-Api-Key", "invented").build(),
                    HttpResponse.BodyHandlers.discarding());
            var got = stranger.takeRequest().getHeaders();
            IO.println("the stranger got Authorization %s, X-Api-Key %s"
                    .formatted(got.get("Authorization"), got.get("X-Api-Key")));
        }
    }
}
