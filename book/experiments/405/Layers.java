///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:mockwebserver3:5.5.1
//DESCRIPTION A call with a redirect, seen from above it and from below

import module java.base;
import module java.logging;
import mockwebserver3.*;
import okhttp3.*;

/** The same interceptor twice, and then the same two headers added twice. */
public class Layers {

    public static void main(String[] args) throws IOException {
        Logger.getLogger(MockWebServer.class.getName()).setLevel(Level.OFF);
        try (var ours = new MockWebServer();
             var stranger = new MockWebServer()) {
            var here = InetAddress.getLoopbackAddress();
            ours.start(here, 0);
            stranger.start(here, 0);
            ours.setDispatcher(answering("ours", new MockResponse.Builder()
                    .code(302).addHeader("Location", url(stranger)).build()));
            stranger.setDispatcher(answering("the stranger",
                    new MockResponse.Builder().body("hello").build()));

            IO.println("one call, seen from above and from below");
            call(new OkHttpClient.Builder()
                    .addInterceptor(seen("application"))
                    .addNetworkInterceptor(seen("network")), url(ours));

            IO.println("\na WebSocket call");
            webSocket(new OkHttpClient.Builder().followRedirects(false)
                    .addInterceptor(seen("application"))
                    .addNetworkInterceptor(seen("network")), url(ours));

            IO.println("\nwhat is added above the redirects");
            call(new OkHttpClient.Builder()
                    .addInterceptor(Layers::withSecrets), url(ours));

            IO.println("\nwhat is added below");
            call(new OkHttpClient.Builder()
                    .addNetworkInterceptor(Layers::withSecrets), url(ours));
        }
    }

    private static void webSocket(OkHttpClient.Builder builder, String url) {
        var client = builder.build();
        var over = new CountDownLatch(1);
        client.newWebSocket(new Request.Builder().url(url).build(),
                new WebSocketListener() {
            @Override
            public void onFailure(WebSocket socket, Throwable failure,
                    Response response) {
                over.countDown();
            }
        });
        try {
            over.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        client.dispatcher().executorService().shutdown();
        client.connectionPool().evictAll();
    }

    private static Interceptor seen(String layer) {
        return chain -> {
            var response = chain.proceed(chain.request());
            IO.println("  %-12s status %d, User-Agent %s, connection %s"
                    .formatted(layer, response.code(),
                            chain.request().header("User-Agent"),
                            chain.connection() == null ? "none" : "known"));
            return response;
        };
    }

    private static Response withSecrets(Interceptor.Chain chain)
            throws IOException {
        return chain.proceed(chain.request().newBuilder()
                .header("Authorization", "Bearer invented")
                .header("X-Api-Key", "invented").build());
    }

    private static mockwebserver3.Dispatcher answering(String who,
            MockResponse answer) {
        return new mockwebserver3.Dispatcher() {
            @Override
            public MockResponse dispatch(RecordedRequest request) {
                var got = request.getHeaders();
                if (got.get("Authorization") != null
                        || got.get("X-Api-Key") != null) {
                    IO.println("  %-12s got Authorization %s, X-Api-Key %s"
                            .formatted(who, got.get("Authorization"),
                                    got.get("X-Api-Key")));
                }
                return answer;
            }
        };
    }

    private static String url(MockWebServer server) {
        return "http://127.0.0.1:" + server.getPort() + "/";
    }

    private static void call(OkHttpClient.Builder builder, String url)
            throws IOException {
        var client = builder.build();
        try (var response = client.newCall(
                new Request.Builder().url(url).build()).execute()) {
            response.body().string();
        }
        client.connectionPool().evictAll();
    }
}
