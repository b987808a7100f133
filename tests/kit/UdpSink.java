package kit;

import java.io.IOException;
import java.net.BindException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.SocketException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/**
 * A UDP socket that keeps every datagram it receives: the peer of a lab that sends. If its receive buffer is full, the
 * kernel drops datagrams, also on loopback, so a test that sends many of them calls {@link #keepUp}. Closed when the
 * test ends. Its methods are for one thread.
 */
public final class UdpSink implements AutoCloseable {

    /** A datagram, and who sent it. */
    public record Datagram(InetSocketAddress from, byte[] bytes) {

        /** The bytes, read as UTF-8. */
        public String text() {
            return new String(bytes, StandardCharsets.UTF_8);
        }
    }

    /** Of the usual 1,432 bytes, so many fit even into the smallest receive buffer that is usual. */
    private static final int OUTSTANDING = 64;
    private static final int WISHED_BUFFER = 4 << 20;
    private static final int LARGEST = 65_535;
    private static final byte[] MARKER = "a marker of the test".getBytes(StandardCharsets.US_ASCII);

    private final String name;
    private final DatagramSocket socket;
    private final InetSocketAddress address;
    private final List<Datagram> received = Collections.synchronizedList(new ArrayList<>());
    private final Thread receiver;
    private int seen;   // datagrams that the test has looked at

    private UdpSink(String name, DatagramSocket socket) {
        this.name = name;
        this.socket = socket;
        address = (InetSocketAddress) socket.getLocalSocketAddress();
        receiver = Thread.ofVirtual().name("kit-udp").unstarted(this::receive);
    }

    /** Listens on a free port of 127.0.0.1. */
    public static UdpSink open(String name) throws IOException {
        return open(name, new InetSocketAddress("127.0.0.1", 0));
    }

    /** @throws BindException when the port is taken */
    public static UdpSink open(String name, InetSocketAddress bind) throws IOException {
        var socket = new DatagramSocket((SocketAddress) null);
        try {
            socket.setReceiveBufferSize(WISHED_BUFFER);
            socket.bind(bind);
        } catch (IOException e) {
            socket.close();
            throw e;
        }
        var sink = TestLifecycle.closeLater(new UdpSink(name, socket));
        sink.receiver.start();
        History.note("%s listens at %s, receive buffer %,d bytes".formatted(name, shown(sink.address),
                socket.getReceiveBufferSize()));
        return sink;
    }

    /** Whether this system reports to a sender on loopback that nobody listens: by ICMP, as RFC 1122 asks for. */
    public static boolean reportsRefusals() throws IOException, InterruptedException {
        try (var gone = new DatagramSocket(0, InetAddress.getLoopbackAddress()); var probe = new DatagramSocket()) {
            probe.connect(gone.getLocalSocketAddress());
            gone.close();
            for (int i = 0; i < 100; i++) {
                try {
                    probe.send(new DatagramPacket(MARKER, MARKER.length));
                    Thread.sleep(1);
                } catch (SocketException refused) {
                    return true;
                }
            }
            return false;
        }
    }

    private void receive() {
        var buffer = new byte[LARGEST];
        try {
            while (true) {
                var packet = new DatagramPacket(buffer, buffer.length);
                socket.receive(packet);
                received.add(new Datagram((InetSocketAddress) packet.getSocketAddress(),
                        Arrays.copyOf(buffer, packet.getLength())));
            }
        } catch (IOException e) {
            // Closed: the test is over, or wants the port to be dead.
        }
    }

    /** Where it listens, also after close. */
    public InetSocketAddress address() {
        return address;
    }

    /** Datagrams that have come so far. */
    public int count() {
        return received.size();
    }

    /** All datagrams that have come so far. */
    public List<Datagram> all() {
        synchronized (received) {
            return List.copyOf(received);
        }
    }

    /** The datagram of this number, from 1, once it is there. */
    public Datagram await(int number, String likely) throws InterruptedException {
        Await.until(() -> count() >= number, "that " + name + " receives datagram " + number, likely);
        return received.get(number - 1);
    }

    /** The next datagram that no test has looked at. */
    public Datagram next(String likely) throws InterruptedException {
        var next = await(seen + 1, likely);
        seen++;
        History.note(name + " received " + Bytes.shown(next.bytes()));
        return next;
    }

    /** The next datagram must hold this text in UTF-8, and no more. */
    public Datagram expect(String text, String likely) throws InterruptedException {
        var expected = text.getBytes(StandardCharsets.UTF_8);
        var next = next(likely);
        if (!Arrays.equals(expected, next.bytes())) {
            throw History.fail("expected %s to receive in one datagram\n  %s\ngot other bytes, %s".formatted(name,
                    Bytes.shown(expected), Bytes.diff(expected, next.bytes())), likely);
        }
        return next;
    }

    /** Nothing must have come that no test has looked at: what was sent before now is here before the marker is. */
    public void expectNothing(String likely) throws IOException, InterruptedException {
        try (var sender = new DatagramSocket()) {
            sender.send(new DatagramPacket(MARKER, MARKER.length, address));
        }
        var next = await(seen + 1, "the test's own marker did not arrive");
        if (!Arrays.equals(MARKER, next.bytes())) {
            throw History.fail("expected that " + name + " receives nothing\ngot " + Bytes.shown(next.bytes()), likely);
        }
        received.remove(seen);
        History.note(name + " received nothing");
    }

    /** Waits while 64 datagrams or more are under way. @param sent how many were sent to this sink so far */
    public void keepUp(long sent, String likely) throws InterruptedException {
        if (sent - count() >= OUTSTANDING) {
            Await.until(() -> sent - count() < OUTSTANDING, "that %s receives nearly all of %,d datagrams"
                    .formatted(name, sent), likely);
        }
    }

    private static String shown(InetSocketAddress address) {
        return address.getAddress().getHostAddress() + ":" + address.getPort();
    }

    /** The port is free when this returns: a thread inside receive() holds it, so that thread must be out. */
    @Override
    public void close() {
        socket.close();
        try {
            receiver.join();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
