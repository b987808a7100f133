///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DESCRIPTION The events of OkHttp, in their order, for five kinds of call

import module java.base;

import java.net.Proxy;
import okhttp3.*;
import okhttp3.EventListener;

/** A raw HTTP server on 127.0.0.1, and calls with a listener that prints. */
public class Events {

    private static String mainThread;
    private static boolean isLoud;

    public static void main(String[] args) throws Exception {
        mainThread = Thread.currentThread().getName();
        var server = new ServerSocket(0, 50,
                InetAddress.getByName("127.0.0.1"));
        Thread.ofVirtual().start(() -> accept(server));
        var client = new OkHttpClient.Builder()
                .eventListenerFactory(_ -> printer()).build();
        var url = "http://localhost:" + server.getLocalPort();
        isLoud = true;
        show("new connection", client.newBuilder().dns(_ -> List.of(
                InetAddress.getByName("127.0.0.2"),
                InetAddress.getByName("127.0.0.1"))).build(), url + "/");
        isLoud = false;
        client.newCall(new Request.Builder().url(url + "/").build()).execute()
                .body().string();   // leaves an idle connection
        isLoud = true;
        show("reused connection, closed by the server", client, url + "/");
        show("103 Early Hints", client.newBuilder().connectionPool(
                new ConnectionPool()).build(), url + "/hints");
        show("a response in pieces, 200 ms apart", client.newBuilder()
                .connectionPool(new ConnectionPool()).build(), url + "/pieces");
        show("unknown name", client.newBuilder().dns(name -> {
            throw new UnknownHostException(name);
        }).build(), "http://unknown.lab.test/");
        System.exit(0);
    }

    private static void show(String what, OkHttpClient client, String url) {
        IO.println(what);
        var request = new Request.Builder().url(url).build();
        try (var response = client.newCall(request).execute()) {
            response.body().string();
        } catch (IOException e) {
            // callFailed tells it
        }
    }

    private static void accept(ServerSocket server) {
        while (true) {
            try {
                var socket = server.accept();
                Thread.ofVirtual().start(() -> answer(socket));
            } catch (IOException e) {
                return;
            }
        }
    }

    /** One response; the second request is read, and not answered. */
    private static void answer(Socket socket) {
        try (socket) {
            var in = socket.getInputStream();
            var out = socket.getOutputStream();
            var buffer = new byte[8192];
            var head = new String(buffer, 0, in.read(buffer));
            if (head.contains("/hints")) {
                out.write("HTTP/1.1 103 Early Hints\r\n\r\n".getBytes());
                Thread.sleep(200);
            }
            var response = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
            int pause = head.contains("/pieces") ? 200 : 0;
            for (var piece : response.split(pause == 0 ? "$"
                    : "(?<=OK\r\n|\r\n\r\n)")) {
                out.write(piece.getBytes());
                Thread.sleep(pause);
            }
            in.read(buffer);
        } catch (IOException | InterruptedException e) {
            // the client has gone
        }
    }

    private static EventListener printer() {
        long start = System.nanoTime();
        return new EventListener() {
            void print(String event) {
                if (!isLoud) {
                    return;
                }
                IO.println("  %-40s %s %d ms".formatted(event,
                        Thread.currentThread().getName().equals(mainThread)
                                ? "caller" : "other thread",
                        (System.nanoTime() - start) / 1_000_000));
            }
            @Override public void callStart(Call c) { print("callStart"); }
            @Override public void dnsStart(Call c, String n) {
                print("dnsStart " + n);
            }
            @Override public void dnsEnd(Call c, String n,
                    List<InetAddress> l) {
                print("dnsEnd");
            }
            @Override public void connectStart(Call c, InetSocketAddress a,
                    Proxy p) {
                print("connectStart " + a.getAddress().getHostAddress());
            }
            @Override public void connectEnd(Call c, InetSocketAddress a,
                    Proxy p, Protocol q) {
                print("connectEnd " + a.getAddress().getHostAddress());
            }
            @Override public void connectFailed(Call c, InetSocketAddress a,
                    Proxy p, Protocol q, IOException e) {
                print("connectFailed " + a.getAddress().getHostAddress());
            }
            @Override public void requestHeadersStart(Call c) {
                print("requestHeadersStart");
            }
            @Override public void requestHeadersEnd(Call c, Request r) {
                print("requestHeadersEnd");
            }
            @Override public void responseHeadersStart(Call c) {
                print("responseHeadersStart");
            }
            @Override public void responseHeadersEnd(Call c, Response r) {
                print("responseHeadersEnd " + r.code());
            }
            @Override public void responseBodyStart(Call c) {
                print("responseBodyStart");
            }
            @Override public void responseBodyEnd(Call c, long n) {
                print("responseBodyEnd");
            }
            @Override public void responseFailed(Call c, IOException e) {
                print("responseFailed");
            }
            @Override public void retryDecision(Call c, IOException e,
                    boolean retry) {
                print("retryDecision " + retry);
            }
            @Override public void callEnd(Call c) { print("callEnd"); }
            @Override public void callFailed(Call c, IOException e) {
                print("callFailed " + e.getClass().getSimpleName());
            }
        };
    }
}
