package kit;

import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * A client that speaks HTTP/2 frame by frame (RFC 9113), and so can break each of its rules. It acknowledges the
 * server's SETTINGS and leaves everything else to the test. What it sends and gets goes into the history of the test,
 * with whose end it is closed. For one thread.
 */
public final class Http2Peer implements AutoCloseable {

    public static final int DATA = 0, HEADERS = 1, PRIORITY = 2, RST_STREAM = 3, SETTINGS = 4, PUSH_PROMISE = 5,
            PING = 6, GOAWAY = 7, WINDOW_UPDATE = 8, CONTINUATION = 9;
    public static final int END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8;

    private static final int CLOSED = -1;
    private static final List<String> NAMES = List.of("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS",
            "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION");
    /** Where the static table of HPACK has these statuses begins at 8 (RFC 7541, appendix A). */
    private static final List<Integer> STATUSES = List.of(200, 204, 206, 304, 400, 404, 500);

    /** A frame; that the connection has been closed is told as one, too. */
    public record Frame(int type, int flags, int stream, byte[] payload) {

        public boolean is(int type, int stream) {
            return this.type == type && this.stream == stream;
        }

        public boolean isClosed() {
            return type == CLOSED;
        }

        public boolean endsStream() {
            return (type == DATA || type == HEADERS) && (flags & END_STREAM) != 0;
        }

        /** The number in the payload, from this byte on. */
        public int number(int offset) {
            return payload.length < offset + 4 ? -1 : ByteBuffer.wrap(payload).getInt(offset);
        }

        /** The error code of RST_STREAM or GOAWAY; −1 for other frames. */
        public int code() {
            return type == RST_STREAM ? number(0) : type == GOAWAY ? number(4) : -1;
        }

        /** The status, if these are HEADERS, and HPACK's static table has it; else 0. */
        public int status() {
            int index = type == HEADERS && payload.length > 0 ? (payload[0] & 0xff) - 0x88 : -1;
            return index >= 0 && index < STATUSES.size() ? STATUSES.get(index) : 0;
        }

        public String text() {
            return new String(payload, StandardCharsets.UTF_8);
        }

        @Override
        public String toString() {
            if (isClosed()) {
                return "the end of the connection";
            }
            var name = type < NAMES.size() ? NAMES.get(type) : "type " + type;
            var code = type == GOAWAY ? ", last stream " + number(0) + ", error " + code()
                    : type == RST_STREAM ? ", error " + code() : type == WINDOW_UPDATE ? ", " + number(0) + " bytes"
                    : type == HEADERS && status() > 0 ? ", status " + status() : ", " + payload.length + " bytes";
            boolean ack = (type == SETTINGS || type == PING) && (flags & ACK) != 0;
            return name + " on stream " + stream + (endsStream() ? " END_STREAM" : ack ? " ACK" : "") + code;
        }
    }

    private final Socket socket;
    private final DataInputStream in;
    private int pings;

    private Http2Peer(Socket socket) throws IOException {
        this.socket = socket;
        socket.setTcpNoDelay(true);
        in = new DataInputStream(socket.getInputStream());
    }

    /** Connects, and says nothing yet. */
    public static Http2Peer connect(InetSocketAddress address) throws IOException {
        return on(new Socket(address.getAddress(), address.getPort()));
    }

    /** On a connection that exists, which may be one of TLS. */
    public static Http2Peer on(Socket socket) throws IOException {
        var peer = new Http2Peer(socket);
        return RunningTest.current().isPresent() ? TestLifecycle.closeLater(peer) : peer;
    }

    /** Sends the preface and SETTINGS. @param settings identifier, value, identifier, value, … */
    public Http2Peer hello(int... settings) {
        return raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".getBytes(StandardCharsets.US_ASCII)).settings(settings);
    }

    public Http2Peer settings(int... settings) {
        var payload = ByteBuffer.allocate(3 * settings.length);
        for (int i = 0; i < settings.length; i += 2) {
            payload.putShort((short) settings[i]).putInt(settings[i + 1]);
        }
        return send(SETTINGS, 0, 0, payload.array());
    }

    /** HEADERS with this block, END_HEADERS, and END_STREAM if asked for. */
    public Http2Peer headers(int stream, boolean end, String... fields) {
        return send(HEADERS, END_HEADERS | (end ? END_STREAM : 0), stream, block(fields));
    }

    /** A request whose body follows, unless it is a GET or HEAD. @param more names and values of further fields */
    public Http2Peer request(int stream, String method, String path, String... more) {
        var fields = new ArrayList<>(List.of(":method", method, ":scheme", "http", ":path", path,
                ":authority", "lab.test"));
        fields.addAll(List.of(more));
        return headers(stream, List.of("GET", "HEAD").contains(method), fields.toArray(String[]::new));
    }

    public Http2Peer data(int stream, boolean end, int bytes) {
        return send(DATA, end ? END_STREAM : 0, stream, new byte[bytes]);
    }

    /** RST_STREAM or WINDOW_UPDATE, whose payload is one number. */
    public Http2Peer number(int type, int stream, int number) {
        return send(type, 0, stream, ByteBuffer.allocate(4).putInt(number).array());
    }

    public Http2Peer send(int type, int flags, int stream, byte... payload) {
        History.note("client sent " + new Frame(type, flags, stream, payload));
        return raw(bytes(type, flags, stream, payload));
    }

    /** The bytes of a frame, for several of them in one write. */
    public static byte[] bytes(int type, int flags, int stream, byte... payload) {
        return ByteBuffer.allocate(9 + payload.length).putInt(payload.length << 8 | type).put((byte) flags)
                .putInt(stream).put(payload).array();
    }

    /** If the server has closed the connection, {@link #next} tells it. */
    public Http2Peer raw(byte[] bytes) {
        try {
            socket.getOutputStream().write(bytes);
        } catch (IOException e) {
            History.note("client could not write: " + e.getMessage());
        }
        return this;
    }

    /** Fields as HPACK literals, never indexed in a table nor Huffman-coded (RFC 7541, section 6.2.2). */
    public static byte[] block(String... fields) {
        var block = new ByteArrayOutputStream();
        for (int i = 0; i < fields.length; i++) {
            if (i % 2 == 0) {
                block.write(0);
            }
            var bytes = fields[i].getBytes(StandardCharsets.UTF_8);
            int rest = bytes.length - 127;
            block.write(Math.min(bytes.length, 127));
            for (; rest >= 128; rest >>= 7) {
                block.write(rest & 127 | 128);
            }
            if (rest >= 0) {
                block.write(rest);
            }
            block.writeBytes(bytes);
        }
        return block.toByteArray();
    }

    /** The next frame but SETTINGS, which are acknowledged. */
    public Frame next(String likely) throws IOException {
        var frame = any(likely);
        while (frame.type() == SETTINGS) {
            frame = any(likely);
        }
        return frame;
    }

    /** The next frame, SETTINGS included. */
    public Frame any(String likely) throws IOException {
        var frame = read(likely);
        History.note("client got " + frame);
        if (frame.type() == SETTINGS && (frame.flags() & ACK) == 0) {
            raw(bytes(SETTINGS, ACK, 0));
        }
        return frame;
    }

    private Frame read(String likely) throws IOException {
        socket.setSoTimeout(Patience.millis());
        try {
            int lengthAndType = in.readInt();
            int flags = in.readUnsignedByte();
            int stream = in.readInt();
            return new Frame(lengthAndType & 0xff, flags, stream, in.readNBytes(lengthAndType >>> 8));
        } catch (SocketTimeoutException e) {
            var failure = History.fail("expected a frame within " + Patience.text() + ", but none came", likely);
            Patience.ranOut();
            throw failure;
        } catch (IOException e) {
            return new Frame(CLOSED, 0, 0, new byte[0]);
        }
    }

    /** The next frame, which must be of this type on this stream. */
    public Frame expect(int type, int stream, String likely) throws IOException {
        var frame = next(likely);
        if (!frame.is(type, stream)) {
            throw History.fail("expected " + NAMES.get(type) + " on stream " + stream + ", got " + frame, likely);
        }
        return frame;
    }

    /** What has come when the server has answered two PINGs: what it had to send before is among it. */
    public List<Frame> settle(String likely) throws IOException {
        var seen = new ArrayList<Frame>();
        for (int i = 0; i < 2; i++) {
            var ping = ByteBuffer.allocate(8).putLong(++pings).array();
            send(PING, 0, 0, ping);
            var frame = next(likely);
            while (!frame.isClosed() && !(frame.type() == PING && frame.flags() == ACK)) {
                seen.add(frame);
                frame = next(likely);
            }
            if (frame.isClosed()) {
                throw History.fail("expected an answer to PING, got " + frame, likely);
            }
        }
        return seen;
    }

    /** All frames until the server closes the connection. */
    public List<Frame> rest(String likely) throws IOException {
        var seen = new ArrayList<Frame>();
        for (var frame = next(likely); !frame.isClosed(); frame = next(likely)) {
            seen.add(frame);
        }
        return seen;
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
