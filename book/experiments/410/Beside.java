///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//SOURCES ../../../solutions/410-keep-alive/KeepAliveClient.java
//DESCRIPTION Which connection does each of seven requests use?

import module java.base;
import okhttp3.Call;
import okhttp3.Connection;
import okhttp3.EventListener;
import java.net.Proxy;
import okhttp3.OkHttpClient;

/** Lab 410's client and OkHttp, one after the other, with a pause. */
public class Beside {

    public static void main(String[] args) throws Exception {
        var uri = URI.create(args[0]);
        var ours = new ArrayList<Long>();
        try (var client = new KeepAliveClient(
                KeepAliveClient.Options.defaults())) {
            for (int i = 1; i <= 7; i++) {
                pause(i);
                try (var response = client.send(
                        KeepAliveClient.Request.get(uri))) {
                    response.body().readAllBytes();
                    ours.add(response.connectionId());
                }
            }
            show("KeepAliveClient", ours);
            IO.println(client.stats());
        }
        var theirs = new ArrayList<Connection>();
        var starts = new AtomicInteger();
        var client = new OkHttpClient.Builder().eventListener(
                new EventListener() {
            @Override
            public void connectStart(Call call, InetSocketAddress address,
                    Proxy proxy) {
                starts.incrementAndGet();
            }

            @Override
            public void connectionAcquired(Call call, Connection connection) {
                theirs.add(connection);
            }
        }).build();
        for (int i = 1; i <= 7; i++) {
            pause(i);
            client.newCall(new okhttp3.Request.Builder().url(args[0]).build())
                    .execute().body().bytes();
        }
        var order = theirs.stream().distinct().toList();
        show("OkHttp", theirs.stream()
                .map(each -> order.indexOf(each) + 1L).toList());
        IO.println("connections opened: " + starts);
        client.connectionPool().evictAll();
    }

    /** Before the sixth request, longer than nginx keeps a connection. */
    private static void pause(int request) throws InterruptedException {
        if (request == 6) {
            Thread.sleep(2500);
        }
    }

    private static void show(String name, List<Long> connections) {
        IO.println(name + ": connections " + connections.stream()
                .map(String::valueOf).collect(Collectors.joining(", ")));
    }
}
