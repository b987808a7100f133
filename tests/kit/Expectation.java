package kit;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;

/** What a {@link Peer} expects to see next. Each expectation can describe itself, wished for or fulfilled. */
public sealed interface Expectation extends Peer.Move {

    /** What has to happen, after "expected client to": "receive the end". */
    String wish();

    /** @throws Surprise when something else comes, or nothing */
    void check(Socket socket) throws IOException, Surprise;

    /** What came instead; the message reads on after "got". */
    final class Surprise extends Exception {
        private static final long serialVersionUID = 1;

        Surprise(String message) {
            super(message);
        }
    }

    /** Exactly these bytes, in reads of any size. */
    record Receive(byte[] bytes) implements Expectation {
        @Override
        public String wish() {
            return "receive " + Bytes.shown(bytes);
        }

        @Override
        public void check(Socket socket) throws IOException, Surprise {
            var got = new ByteArrayOutputStream();
            while (got.size() < bytes.length) {
                try {
                    got.write(next(socket, bytes.length - got.size()));
                } catch (Surprise e) {
                    throw got.size() == 0 ? e : new Surprise(Bytes.shown(got.toByteArray()) + ", then "
                            + e.getMessage());
                }
                if (Arrays.mismatch(bytes, 0, got.size(), got.toByteArray(), 0, got.size()) >= 0) {
                    throw new Surprise("other bytes, " + Bytes.diff(bytes, got.toByteArray()));
                }
            }
        }

        @Override
        public String toString() {
            return "received " + Bytes.shown(bytes);
        }
    }

    /** So many bytes, whatever they are. */
    record Take(long count) implements Expectation {
        @Override
        public String wish() {
            return "receive " + count + " bytes";
        }

        @Override
        public void check(Socket socket) throws IOException, Surprise {
            for (long left = count; left > 0; ) {
                try {
                    left -= next(socket, (int) Math.min(64 * 1024, left)).length;
                } catch (Surprise e) {
                    throw new Surprise((count - left) + " bytes, then " + e.getMessage());
                }
            }
        }

        @Override
        public String toString() {
            return "received " + count + " bytes";
        }
    }

    /** The end of what the other side sends, after everything it has sent (a FIN). */
    record End() implements Expectation {
        @Override
        public String wish() {
            return "receive the end";
        }

        @Override
        public void check(Socket socket) throws IOException, Surprise {
            var next = nextOrEnd(socket, 1024);
            if (next.length > 0) {
                throw new Surprise(Bytes.shown(next));
            }
        }

        @Override
        public String toString() {
            return "received the end";
        }
    }

    /** No byte more, and then the end in whatever way: a reset is as good as a FIN. */
    record Gone() implements Expectation {
        @Override
        public String wish() {
            return "see the connection end";
        }

        @Override
        public void check(Socket socket) throws IOException, Surprise {
            try {
                new End().check(socket);
            } catch (SocketException e) {
                // A reset, which is an end.
            }
        }

        @Override
        public String toString() {
            return "saw the connection end";
        }
    }

    /** No byte more, and then a reset: what came before is not whole. */
    record Aborted() implements Expectation {
        @Override
        public String wish() {
            return "see a reset of the connection";
        }

        @Override
        public void check(Socket socket) throws IOException, Surprise {
            byte[] next;
            try {
                next = nextOrEnd(socket, 1024);
            } catch (SocketException e) {   // a timeout is none
                return;
            }
            throw new Surprise(next.length == 0 ? "an ordinary end" : Bytes.shown(next));
        }

        @Override
        public String toString() {
            return "saw a reset of the connection";
        }
    }

    /** Nothing at all for this long: only for what must not come. */
    record Silence(Duration time) implements Expectation {
        @Override
        public String wish() {
            return "hear nothing for " + time.toMillis() + " ms";
        }

        @Override
        public void check(Socket socket) throws IOException, Surprise {
            socket.setSoTimeout((int) time.toMillis());
            byte[] next;
            try {
                next = nextOrEnd(socket, 1024);
            } catch (SocketTimeoutException e) {
                return;
            }
            throw new Surprise(next.length == 0 ? "the end" : Bytes.shown(next));
        }

        @Override
        public String toString() {
            return "heard nothing for " + time.toMillis() + " ms";
        }
    }

    static Receive receive(String text) {
        return new Receive(text.getBytes(StandardCharsets.UTF_8));
    }

    static Take take(long count) {
        return new Take(count);
    }

    static End end() {
        return new End();
    }

    static Gone gone() {
        return new Gone();
    }

    static Aborted aborted() {
        return new Aborted();
    }

    static Silence silence(Duration time) {
        return new Silence(time);
    }

    private static byte[] next(Socket socket, int most) throws IOException, Surprise {
        try {
            var next = nextOrEnd(socket, most);
            if (next.length > 0) {
                return next;
            }
        } catch (SocketTimeoutException | SocketException e) {
            throw new Surprise(explain(e));
        }
        throw new Surprise("the end");
    }

    /** What an exception of a read means for who expected something. */
    static String explain(IOException failure) {
        return switch (failure) {
            case SocketTimeoutException timeout -> "nothing within " + Patience.text();
            case SocketException reset -> "a reset (" + reset.getMessage() + ")";
            default -> failure.toString();
        };
    }

    /** What one read brings; no bytes at the end. */
    private static byte[] nextOrEnd(Socket socket, int most) throws IOException {
        var buffer = new byte[most];
        int count = socket.getInputStream().read(buffer);
        return Arrays.copyOf(buffer, Math.max(count, 0));
    }
}
