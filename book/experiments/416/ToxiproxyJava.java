///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 416: the whole life cycle of a proxy and its toxics, by Toxiproxy's Java client
//DEPS eu.rekawek.toxiproxy:toxiproxy-java:2.1.11

import module java.base;

import eu.rekawek.toxiproxy.Proxy;
import eu.rekawek.toxiproxy.ToxiproxyClient;
import eu.rekawek.toxiproxy.model.ToxicDirection;

/** Speaks to the port of its argument. What it prints does not depend on time or on ports. */
class ToxiproxyJava {

    private static final ToxicDirection DOWN = ToxicDirection.DOWNSTREAM;

    void main(String[] args) throws Exception {
        var toxiproxy = new ToxiproxyClient("127.0.0.1", Integer.parseInt(args[0]));
        try (var server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress())) {
            Thread.ofVirtual().start(() -> serve(server));
            var upstream = "127.0.0.1:" + server.getLocalPort();
            var proxy = toxiproxy.createProxy("stock", "127.0.0.1:0", upstream);
            show("create", proxy.getName() + " enabled " + proxy.isEnabled());
            show("a call", call(proxy));
            refused("create again", () -> toxiproxy.createProxy("stock", "127.0.0.1:0", upstream));
            show("no such proxy", toxiproxy.getProxyOrNull("none"));
            toxics(proxy);
            faults(proxy);
            proxy.disable();
            show("disable", call(proxy));
            var port = proxy.getListen();
            proxy.enable();
            show("enable", call(proxy) + ", same port " + port.equals(proxy.getListen()));
            proxy.setUpstream(upstream);
            show("setUpstream", call(proxy) + ", same port " + port.equals(proxy.getListen()));
            proxy.toxics().resetPeer("reset", DOWN, 0);
            toxiproxy.reset();
            show("reset", call(proxy) + ", toxics " + proxy.toxics().getAll().size());
            proxy.delete();
            show("delete", toxiproxy.getProxies().size() + " proxies");
        }
    }

    /** Each type, and each setter of it. */
    private void toxics(Proxy proxy) throws IOException {
        var all = proxy.toxics();
        var latency = all.latency("latency", DOWN, 100).setLatency(50).setJitter(0);
        latency.setToxicity(0.5f);
        all.bandwidth("bandwidth", ToxicDirection.UPSTREAM, 1000).setRate(2000);
        all.slicer("slicer", DOWN, 100, 10).setAverageSize(50).setDelay(20);
        all.slowClose("slow_close", DOWN, 10).setDelay(20);
        all.timeout("timeout", DOWN, 1000).setTimeout(2000);
        all.limitData("limit_data", DOWN, 10).setBytes(20);
        all.resetPeer("reset_peer", DOWN, 10).setTimeout(20);
        show("toxics", all.getAll().stream().map(toxic -> toxic.getName()).toList());
        var seen = all.get("latency", eu.rekawek.toxiproxy.model.toxic.Latency.class);
        show("latency", seen.getLatency() + " ms, toxicity " + seen.getToxicity());
        refused("latency again", () -> all.latency("latency", DOWN, 1));
        refused("jitter", () -> latency.setJitter(10));
        for (var toxic : all.getAll()) {
            toxic.remove();
        }
        show("remove", all.getAll().size() + " toxics");
    }

    private void faults(Proxy proxy) throws IOException {
        var all = proxy.toxics();
        var cut = all.limitData("cut", DOWN, 4);
        show("limit_data 4", call(proxy));
        cut.remove();
        var reset = all.resetPeer("reset", DOWN, 0);
        show("reset_peer 0", call(proxy));
        reset.remove();
        var hole = all.timeout("hole", DOWN, 100);
        show("timeout 100", call(proxy));
        hole.remove();
        var latency = all.latency("latency", DOWN, 200);
        long start = System.nanoTime();
        show("latency 200", call(proxy) + ", 200 ms or more " + (System.nanoTime() - start >= 200_000_000));
        latency.remove();
    }

    /** Half-closes, and reads to the end: the server answers then. */
    private static String call(Proxy proxy) {
        var port = Integer.parseInt(proxy.getListen().replaceAll(".*:", ""));
        try (var socket = new Socket("127.0.0.1", port)) {
            socket.shutdownOutput();
            return "«" + new String(socket.getInputStream().readAllBytes()) + "»";
        } catch (IOException e) {
            return e.getMessage();
        }
    }

    private static void serve(ServerSocket server) {
        while (!server.isClosed()) {
            try (var client = server.accept()) {
                client.getInputStream().readAllBytes();
                client.getOutputStream().write("17 in stock".getBytes());
            } catch (IOException e) {
                // A connection that was reset, or the end.
            }
        }
    }

    private interface Call {
        void run() throws IOException;
    }

    private static void refused(String what, Call call) {
        try {
            call.run();
            show(what, "accepted");
        } catch (IOException e) {
            show(what, e.getMessage());
        }
    }

    private static void show(String what, Object seen) {
        IO.println("%-14s%s".formatted(what, seen));
    }
}
