///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DESCRIPTION A 404 whose body nobody reads or closes, again and again

import module java.base;
import okhttp3.OkHttpClient;
import okhttp3.Request;

public class EarlyReturn {

    // tag::fetch[]
    static Optional<String> fetch(OkHttpClient client, String url)
            throws IOException {
        var request = new Request.Builder().url(url).build();
        var response = client.newCall(request).execute();
        if (response.code() == 404) {
            return Optional.empty();   // the response stays open
        }
        return Optional.of(response.body().string());   // closes it
    }
    // end::fetch[]

    public static void main(String[] args) throws Exception {
        var client = new OkHttpClient();
        int most = Integer.parseInt(args[1]);
        int calls = 0;
        try {
            while (calls < most) {
                fetch(client, args[0]);
                calls++;
            }
            IO.println(calls + " calls");
        } catch (IOException e) {
            IO.println("after " + calls + " calls: " + e);
        }
        var pool = client.connectionPool();
        IO.println("OkHttp's pool: " + pool.connectionCount()
                + " connections, " + pool.idleConnectionCount() + " idle");
        Thread.sleep(10_000);   // for ss
        System.exit(0);
    }
}
