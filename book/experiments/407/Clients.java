///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION The JDK's WebSocket client and OkHttp's, at the doors of lab 407
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1

import module java.base;
import module java.net.http;

/** Each opens and closes the door of a lift, and closes. */
public class Clients {

    public static void main(String[] args) throws Exception {
        jdk(args[0]);
        okHttp(args[0]);
        System.exit(0);   // OkHttp's idle threads would stay for a minute
    }

    private static void jdk(String address) throws Exception {
        var events = new CountDownLatch(2);
        var over = new CountDownLatch(1);
        var socket = HttpClient.newHttpClient().newWebSocketBuilder()
                .subprotocols("doors").buildAsync(
                URI.create("ws://" + address + "/events"),
                new WebSocket.Listener() {
                    @Override
                    public CompletionStage<?> onText(WebSocket from,
                            CharSequence text, boolean last) {
                        IO.println("JDK     heard " + text);
                        events.countDown();
                        from.request(1);
                        return null;
                    }

                    @Override
                    public CompletionStage<?> onClose(WebSocket from,
                            int code, String reason) {
                        IO.println("JDK     closed with " + code);
                        over.countDown();
                        return null;
                    }
                }).join();
        IO.println("JDK     speaks " + socket.getSubprotocol());
        socket.sendText("1", true).join();
        socket.sendText("1", true).join();
        events.await();
        socket.sendClose(1000, "").join();
        over.await();
    }

    private static void okHttp(String address) throws Exception {
        var events = new CountDownLatch(2);
        var over = new CountDownLatch(1);
        var request = new okhttp3.Request.Builder()
                .url("ws://" + address + "/events").build();
        var socket = new okhttp3.OkHttpClient().newWebSocket(request,
                new okhttp3.WebSocketListener() {
                    @Override
                    public void onMessage(okhttp3.WebSocket from, String text) {
                        IO.println("OkHttp  heard " + text);
                        events.countDown();
                    }

                    @Override
                    public void onClosed(okhttp3.WebSocket from,
                            int code, String reason) {
                        IO.println("OkHttp  closed with " + code);
                        over.countDown();
                    }
                });
        socket.send("2");
        socket.send("2");
        events.await();
        socket.close(1000, null);
        over.await();
    }
}
