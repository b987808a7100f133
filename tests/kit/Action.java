package kit;

import java.io.IOException;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Random;

/** What a {@link Peer} does. Each action can describe itself for the history. */
public sealed interface Action extends Peer.Move {

    void perform(Socket socket) throws IOException;

    /** All bytes in one write. */
    record Send(byte[] bytes) implements Action {
        @Override
        public void perform(Socket socket) throws IOException {
            socket.getOutputStream().write(bytes);
        }

        @Override
        public String toString() {
            return "sent " + Bytes.shown(bytes);
        }
    }

    /** A write for each byte. */
    record SendSingly(byte[] bytes) implements Action {
        @Override
        public void perform(Socket socket) throws IOException {
            for (byte b : bytes) {
                socket.getOutputStream().write(b);
            }
        }

        @Override
        public String toString() {
            return "sent, byte by byte, " + Bytes.shown(bytes);
        }
    }

    /** Writes of 1 to 4 bytes, the same for the same seed. */
    record SendSplit(byte[] bytes, long seed) implements Action {
        @Override
        public void perform(Socket socket) throws IOException {
            var random = new Random(seed);
            for (int from = 0, to; from < bytes.length; from = to) {
                to = Math.min(bytes.length, from + 1 + random.nextInt(4));
                socket.getOutputStream().write(Arrays.copyOfRange(bytes, from, to));
            }
        }

        @Override
        public String toString() {
            return "sent, split at random (seed " + seed + "), " + Bytes.shown(bytes);
        }
    }

    /** The end of what this side sends; it still reads (half-close: a FIN). */
    record HalfClose() implements Action {
        @Override
        public void perform(Socket socket) throws IOException {
            socket.shutdownOutput();
        }

        @Override
        public String toString() {
            return "sent the end (half-close)";
        }
    }

    /** An RST: what was on its way is lost. */
    record Reset() implements Action {
        @Override
        public void perform(Socket socket) throws IOException {
            socket.setSoLinger(true, 0);
            socket.close();
        }

        @Override
        public String toString() {
            return "reset the connection";
        }
    }

    /** The ordinary end. */
    record Close() implements Action {
        @Override
        public void perform(Socket socket) throws IOException {
            socket.close();
        }

        @Override
        public String toString() {
            return "closed";
        }
    }

    static Send send(String text) {
        return new Send(text.getBytes(StandardCharsets.UTF_8));
    }

    /** Bytes that mean nothing: so many times 'j'. */
    static Send sendJunk(int count) {
        return send("j".repeat(count));
    }

    static SendSingly sendSingly(String text) {
        return new SendSingly(text.getBytes(StandardCharsets.UTF_8));
    }

    static SendSplit sendSplit(String text, long seed) {
        return new SendSplit(text.getBytes(StandardCharsets.UTF_8), seed);
    }

    static HalfClose halfClose() {
        return new HalfClose();
    }

    static Reset reset() {
        return new Reset();
    }

    static Close close() {
        return new Close();
    }
}
