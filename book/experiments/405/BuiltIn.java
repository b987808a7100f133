///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:mockwebserver3:5.5.1
//DESCRIPTION What java.net.Proxy does with a SOCKS proxy: names, Dns, login

import module java.base;
import java.net.Proxy;
import okhttp3.*;

/** Arguments: the proxy's HOST:PORT, and a URL. */
public class BuiltIn {

    public static void main(String[] args) {
        var at = args[0].split(":");
        var proxy = new Proxy(Proxy.Type.SOCKS,
                new InetSocketAddress(at[0], Integer.parseInt(at[1])));
        var asked = new ArrayList<String>();
        var client = new OkHttpClient.Builder().proxy(proxy).dns(name -> {
            asked.add(name);
            return Dns.SYSTEM.lookup(name);
        }).build();
        try (var response = client.newCall(new Request.Builder().url(args[1])
                .build()).execute()) {
            IO.println(response.code() + " " + response.message());
        } catch (IOException e) {
            IO.println(e);
        }
        IO.println("names that our Dns was asked for: " + asked);
    }
}
