///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Each phase of a call is delayed: what do curl and lab 414 report?
//SOURCES ../../../solutions/414-latency-trace/LatencyTrace.java

import module java.base;

import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;
import okhttp3.OkHttpClient;
import okhttp3.Protocol;
import okhttp3.Request;
import okhttp3.tls.HandshakeCertificates;
import okhttp3.tls.HeldCertificate;

/**
 * A DNS server and an HTTPS server that delay every phase, for curl and for
 * OkHttp with LatencyTrace in turn. The shortest of five rounds, because a busy
 * machine only adds time. To be run by
 * beside.sh, which makes this program the name server of its namespace.
 */
public class Beside {

    private static final int DNS = 60;        // milliseconds, as all delays
    private static final int HANDSHAKE = 80;
    private static final int THINK = 120;
    private static final int PAUSE = 40;      // four of them in the body
    private static final int ROUNDS = 5;
    private static final List<String> PHASES = List.of("DNS", "CONNECT", "TLS",
            "first byte", "body");
    private static final HeldCertificate HELD = new HeldCertificate.Builder()
            .addSubjectAlternativeName("*.lab.test").build();
    private static final SSLSocketFactory IDENTITY = new HandshakeCertificates
            .Builder().heldCertificate(HELD).build().sslSocketFactory();

    private static ServerSocket server;

    public static void main(String[] args) throws Exception {
        Thread.ofVirtual().start(Beside::nameServer);
        server = new ServerSocket(0, 1, InetAddress.getByName("127.0.0.1"));
        var pem = Files.createTempFile("beside", ".pem");
        Files.writeString(pem, HELD.certificatePem());
        for (int i = 0; i < 3; i++) {   // the first ones load classes
            traced("warm" + i);
        }
        var curl = new ArrayList<double[]>();
        var ours = new ArrayList<double[]>();
        for (int i = 0; i < ROUNDS; i++) {
            curl.add(curl("curl" + i, pem));
            ours.add(traced("ours" + i));
        }
        Files.delete(pem);
        var injected = List.of(DNS + " ms", "a lost SYN", HANDSHAKE + " ms",
                THINK + " ms", 4 * PAUSE + " ms");
        IO.println("phase       injected     curl -w    LatencyTrace");
        for (int i = 0; i < PHASES.size(); i++) {
            IO.println("%-11s %-11s %6.1f ms %8.1f ms".formatted(PHASES.get(i),
                    injected.get(i), least(curl, i), least(ours, i)));
        }
        System.exit(0);
    }

    private static double least(List<double[]> rounds, int phase) {
        return rounds.stream().mapToDouble(each -> each[phase]).min()
                .orElseThrow();
    }

    private static double[] curl(String name, Path pem) throws Exception {
        serve();
        var curl = new ProcessBuilder("curl", "-s", "-o", "/dev/null",
                "--cacert", pem.toString(), "-w", "%{time_namelookup}"
                + " %{time_connect} %{time_appconnect} %{time_starttransfer}"
                + " %{time_total}", url(name)).redirectError(
                ProcessBuilder.Redirect.INHERIT).start();
        var times = Stream.of(new String(curl.getInputStream().readAllBytes())
                .split(" ")).mapToDouble(Double::parseDouble).toArray();
        var phases = new double[5];
        for (int i = 0; i < 5; i++) {
            phases[i] = 1000 * (times[i] - (i == 0 ? 0 : times[i - 1]));
        }
        return phases;
    }

    private static double[] traced(String name) throws Exception {
        serve();
        var traces = new ArrayList<LatencyTrace.Trace>();
        var trusted = new HandshakeCertificates.Builder()
                .addTrustedCertificate(HELD.certificate()).build();
        var client = new OkHttpClient.Builder()
                .protocols(List.of(Protocol.HTTP_1_1))
                .sslSocketFactory(trusted.sslSocketFactory(),
                        trusted.trustManager())
                .eventListenerFactory(
                        new LatencyTrace(System::nanoTime, traces::add))
                .build();
        try (var response = client.newCall(new Request.Builder()
                .url(url(name)).build()).execute()) {
            response.body().string();
        }
        client.connectionPool().evictAll();
        return Stream.of(LatencyTrace.Phase.DNS, LatencyTrace.Phase.CONNECT,
                LatencyTrace.Phase.TLS, LatencyTrace.Phase.WAIT,
                LatencyTrace.Phase.BODY).mapToDouble(phase -> traces.getFirst()
                .nanos(phase).orElseThrow() / 1e6).toArray();
    }

    private static String url(String name) {
        return "https://" + name + ".lab.test:" + server.getLocalPort() + "/";
    }

    /**
     * Answers one client. Two connections that are not accepted fill the
     * backlog, so that the kernel drops the client's first SYN.
     */
    private static void serve() throws Exception {
        var fillers = List.of(new Socket("127.0.0.1", server.getLocalPort()),
                new Socket("127.0.0.1", server.getLocalPort()));
        Thread.ofVirtual().start(() -> {
            try {
                Thread.sleep(600);
                for (var filler : fillers) {
                    server.accept().close();
                    filler.close();
                }
                answer(server.accept());
            } catch (Exception e) {
                e.printStackTrace();
            }
        });
    }

    private static void answer(Socket plain) throws Exception {
        Thread.sleep(HANDSHAKE);
        plain.setTcpNoDelay(true);
        try (var socket = (SSLSocket) IDENTITY.createSocket(plain, null, 0,
                true)) {
            socket.setUseClientMode(false);
            var in = new BufferedReader(new InputStreamReader(
                    socket.getInputStream()));
            while (!in.readLine().isEmpty()) {
                // the head of the request
            }
            Thread.sleep(THINK);
            var out = socket.getOutputStream();
            out.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nc"
                    .getBytes());
            for (var letter : "hess".getBytes()) {
                Thread.sleep(PAUSE);
                out.write(letter);
            }
        }
    }

    /** 127.0.0.1 for every A question, and no AAAA record. */
    private static void nameServer() {
        try (var socket = new DatagramSocket(53,
                InetAddress.getByName("127.0.0.1"))) {
            while (true) {
                var packet = new DatagramPacket(new byte[512], 512);
                socket.receive(packet);
                Thread.ofVirtual().start(() -> reply(socket, packet));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void reply(DatagramSocket socket, DatagramPacket packet) {
        try {
            Thread.sleep(DNS);
            var data = packet.getData();
            int end = 12;                     // of the question
            while (data[end] != 0) {
                end += data[end] + 1;
            }
            end += 5;
            boolean isA = data[end - 3] == 1;
            var reply = ByteBuffer.allocate(512).put(data, 0, end)
                    .putShort(2, (short) 0x8180).putShort(6, (short)
                            (isA ? 1 : 0)).putInt(8, 0);
            if (isA) {
                reply.putShort((short) 0xc00c).putShort((short) 1)
                        .putShort((short) 1).putInt(60).putShort((short) 4)
                        .put(new byte[] {127, 0, 0, 1});
            }
            socket.send(new DatagramPacket(reply.array(), reply.position(),
                    packet.getSocketAddress()));
        } catch (IOException | InterruptedException e) {
            e.printStackTrace();
        }
    }
}
