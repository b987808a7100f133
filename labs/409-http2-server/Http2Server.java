///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 409: an HTTP/2 server on Netty, a virtual thread per stream
//DEPS io.netty:netty-codec-http2:4.2.18.Final
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//DEPS com.squareup.okhttp3:okhttp-tls:5.5.1

import module java.base;

import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.*;
import io.netty.channel.*;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http2.*;
import io.netty.handler.flush.FlushConsolidationHandler;
import io.netty.handler.ssl.SslHandler;
import io.netty.util.ReferenceCountUtil;
import io.netty.util.concurrent.DefaultThreadFactory;
import javax.net.ssl.SSLContext;
import okhttp3.*;
import okhttp3.tls.*;

/**
 * An HTTP/2 server (RFC 9113; the sections named below are of this RFC), in
 * clear text with prior knowledge, or over TLS with ALPN.
 *
 * <p>The one idea: Netty reads and writes frames on its event loops, and each
 * stream has a blocking handler on a virtual thread of its own. So what the
 * lab adds are the borders between the two: flow control in both directions,
 * limits on handlers, and an orderly end.
 *
 * <p>Thread-safe. Left out: trailers, server push, priorities, CONNECT, the
 * upgrade from HTTP/1.1, and a timeout for idle connections.
 */
public final class Http2Server implements AutoCloseable {

    /** Every frame begins with this many bytes (section 4.1). */
    public static final int FRAME_HEADER_BYTES = 9;

    /**
     * The header of a frame (section 4.1).
     *
     * @param length   of the payload, without the header, 0 to 2^24 - 1
     * @param type     0 to 255
     * @param flags    0 to 255
     * @param streamId 0 to 2^31 - 1; 0 means the connection
     */
    public record FrameHeader(int length, int type, int flags, int streamId) {

        /**
         * Reads nine bytes, and not the payload. With fewer than nine bytes it
         * returns empty and reads nothing. The reserved bit is ignored.
         */
        public static Optional<FrameHeader> decode(ByteBuf in) {
            throw new UnsupportedOperationException(
                    "TODO step 1: 3 bytes of length, type, flags, 4 bytes of stream id without the reserved bit, all unsigned; empty, and nothing read, if 9 bytes are not there");
        }

        /** Writes nine bytes; the reserved bit is 0. */
        public void encode(ByteBuf out) {
            throw new UnsupportedOperationException(
                    "TODO step 1: write the same nine bytes");
        }

        /** True if all bits of {@code flag} are set. */
        public boolean has(int flag) {
            throw new UnsupportedOperationException(
                    "TODO step 1: compare the bits of flag with those of flags");
        }
    }

    /** A field of a request or response; HTTP/2 has lower-case names. */
    public record Header(String name, String value) {}

    /**
     * What a client asks for (section 8.3.1).
     *
     * @param authority of {@code :authority}, else of {@code host}, else empty
     * @param path      with the query
     * @param headers   without the pseudo-headers, in the order on the wire
     */
    public record Request(String method, String scheme, String authority,
            String path, List<Header> headers) {}

    /** One stream, seen by its handler: for the handler's thread alone. */
    public interface Exchange {

        Request request();

        /**
         * What the client sends. A read blocks until bytes or the end come,
         * and throws IOException once the stream was reset or cut. Bytes
         * that have been read are credited to the client.
         */
        InputStream body();

        /**
         * Sends the status and the headers, once.
         *
         * @param status  200 to 599
         * @param headers names become lower case; a field that belongs to a
         *                connection (section 8.2.2) or is invalid is an
         *                IllegalArgumentException
         * @throws IllegalStateException for a second response
         * @throws IOException           if the stream was reset or cut
         */
        void respond(int status, List<Header> headers) throws IOException;

        /**
         * The body of the response, after {@link #respond}. It buffers 16 KiB;
         * flush() sends what there is, close() ends the stream. A write blocks
         * while the client takes nothing, and throws IOException once the
         * stream was reset or cut, or the thread is interrupted. A response
         * that has no body (to HEAD, 204, 304) swallows what is written.
         */
        OutputStream output();

        /** True once the client has reset the stream, or it was cut. */
        boolean isReset();
    }

    /** Answers one request. */
    @FunctionalInterface
    public interface Handler {
        /**
         * Runs on a virtual thread of its own, which is interrupted when the
         * stream is reset or cut. When it returns the response ends. If it
         * throws, or returns without a response, the response is 500; or, if
         * one has begun, RST_STREAM with INTERNAL_ERROR.
         */
        void handle(Exchange exchange) throws Exception;
    }

    /**
     * What each new connection runs through, on its event loop, or, with TLS,
     * once the client has agreed to {@code h2}.
     */
    private void addHttp2(Connection connection) {
        throw new UnsupportedOperationException(
                "TODO step 2: add to the pipeline: codec(), an Http2MultiplexHandler whose ChannelInitializer adds a new Stream to each child channel, and the connection itself");
    }

    /** The fields of HEADERS: Netty has checked them (section 8.3.1). */
    private static Request toRequest(Http2Headers fields) {
        throw new UnsupportedOperationException(
                "TODO step 2: collect the headers whose names do not begin with ':'; take the rest from method(), scheme(), authority(), path()");
    }

    /** True if such a response ends with its HEADERS (RFC 9110 §6.4.1). */
    private static boolean hasNoBody(String method, int status) {
        throw new UnsupportedOperationException(
                "TODO step 2: true for each response to HEAD, and for 204 and 304");
    }

    /** The first frame of a response. */
    private ChannelFuture sendHeaders(
            Stream stream, Http2Headers headers, boolean end) {
        throw new UnsupportedOperationException(
                "TODO step 2: write and flush a DefaultHttp2HeadersFrame to the stream's channel, with END_STREAM if end; return the future");
    }

    /** A further frame of the response, whose bytes may be none. */
    private ChannelFuture sendData(Stream stream, byte[] bytes, boolean end) {
        throw new UnsupportedOperationException(
                "TODO step 2: the same with a DefaultHttp2DataFrame that wraps the bytes");
    }

    /** The first handler of a connection that uses TLS. */
    private void addTls(Connection connection, SSLContext tls) {
        throw new UnsupportedOperationException(
                "TODO step 3: an SslHandler with an engine for a server: ALPN h2, allowedCiphers(), TLSv1.3 and TLSv1.2; after the handshake addHttp2() if h2 was agreed on, else close the channel");
    }

    /** On the event loop: HEADERS have come, and a slot was acquired. */
    private void run(Stream stream) {
        // TODO step 4: make a virtual thread that calls serve(stream); keep it in stream.thread; start it
        serve(stream);
    }

    /** On the event loop: the stream was reset or cut before its end. */
    private void aborted(Stream stream) {
        // TODO step 4: interrupt the stream's thread, if it has one
    }

    /** The handler has thrown this, or has returned without a response. */
    private void failed(Stream stream, Throwable failure) {
        // TODO step 4: respond with 500 and no headers; if a response has begun, reset() with INTERNAL_ERROR
        stream.reset(Http2Error.INTERNAL_ERROR);
    }

    /** Whether a child channel returns credit as soon as DATA comes. */
    private static boolean creditsAtOnce() {
        // TODO step 5: false: it is returned by credit(), when the handler has read
        return true;
    }

    /**
     * The handler has read all bytes of a DATA frame.
     *
     * @param bytes the frame's share of the windows, padding included
     */
    private void credit(Stream stream, int bytes) {
        // TODO step 5: write and flush a DefaultHttp2WindowUpdateFrame of the stream's channel
    }

    /** On the handler's thread, before each DATA frame. */
    private void awaitWritable(Stream stream) throws IOException {
        // TODO step 5: hold the monitor of the stream and waitOn() it while its channel is active and not writable
    }

    /** On the event loop: the channel is writable again, or inactive. */
    private void wakeWriter(Stream stream) {
        // TODO step 5: wake the thread in awaitWritable()
    }

    /** On the event loop, before a handler is started. */
    private boolean tryAcquire(Connection connection) {
        // TODO step 6: false if maxRunningHandlers of this connection are running, else count one more and return true
        return true;
    }

    /** On the handler's thread: its handler has returned or thrown. */
    private void release(Connection connection) {
        // TODO step 6: count one less
    }

    /** On the event loop: no slot was free. */
    private void refuse(Stream stream) {
        // TODO step 6: count it in refused, and reset() with REFUSED_STREAM
    }

    /** On the event loop: the server shuts down (section 6.8). */
    private void goAway(Connection connection) {
        throw new UnsupportedOperationException(
                "TODO step 7: write GOAWAY with NO_ERROR and Integer.MAX_VALUE extra stream ids, then a PING with the content PING_CONTENT; flush");
    }

    /** On the event loop: the client has answered the PING, or time is up. */
    private void lastGoAway(Connection connection) {
        throw new UnsupportedOperationException(
                "TODO step 7: once: write and flush a GOAWAY that names the last stream (no extra ids); set draining; closeIfDone()");
    }

    /** On the event loop: the connection drains, or a stream has ended. */
    private void closeIfDone(Connection connection) {
        // TODO step 7: close the channel if the connection is draining and has no streams
    }

    /**
     * Accepts no more connections, lets running streams end, and closes. A
     * client hears GOAWAY with 2^31 - 1 first, and with its last stream one
     * round trip later; requests that were on their way are still answered.
     * Called by a handler, it waits for that handler, too.
     *
     * @param grace the longest wait; then streams are reset with CANCEL
     * @return true if all connections ended within the grace period
     */
    public boolean shutdown(Duration grace) throws InterruptedException {
        require(!grace.isNegative(), "grace", grace);
        long deadline = System.nanoTime() + TimeUnit.NANOSECONDS.convert(grace);
        throw new UnsupportedOperationException(
                "TODO step 7: stopListening(); goAway() for each connection, by onLoop(); awaitConnections(); whatever happens, lastGoAway() for those that are left, and close()");
    }

    // ---- given from here on ----

    private static final System.Logger LOG =
            System.getLogger(Http2Server.class.getName());
    private static final long PING_CONTENT = 409;
    private static final int PIECE = 16 * 1024;

    private final Options options;
    private final Handler handler;
    /** Half of the processors; the rest is for the handlers. */
    private final EventLoopGroup loops = new MultiThreadIoEventLoopGroup(
            Math.ceilDiv(Runtime.getRuntime().availableProcessors(), 2),
            new DefaultThreadFactory("lab409-loop", true),
            NioIoHandler.newFactory());
    private final Channel listener;
    private final Set<Connection> connections = ConcurrentHashMap.newKeySet();
    private final Set<Stream> streams = ConcurrentHashMap.newKeySet();
    private final Set<Thread> handlers = ConcurrentHashMap.newKeySet();
    private final LongAdder served = new LongAdder();
    private final LongAdder refused = new LongAdder();
    private volatile boolean closing;

    private Http2Server(InetSocketAddress bind, Optional<SSLContext> tls,
            Handler handler, Options options) throws IOException {
        Objects.requireNonNull(bind, "bind");
        this.handler = Objects.requireNonNull(handler, "handler");
        this.options = Objects.requireNonNull(options, "options");
        var bound = new ServerBootstrap().group(loops)
                .channel(NioServerSocketChannel.class)
                .option(ChannelOption.SO_BACKLOG, 1024)
                .childHandler(new ChannelInitializer<Channel>() {
            @Override
            protected void initChannel(Channel channel) {
                accept(channel, tls);
            }
        }).bind(bind).awaitUninterruptibly();
        listener = bound.channel();
        if (!bound.isSuccess()) {
            close();
            throw new IOException("cannot listen on " + bind, bound.cause());
        }
    }

    /**
     * Starts a server in clear text, for clients that know that it speaks
     * HTTP/2 (section 3.3).
     *
     * @param bind where to listen; port 0 takes any free port
     * @throws IOException if the port is taken; nothing stays open
     */
    public static Http2Server start(InetSocketAddress bind, Handler handler,
            Options options) throws IOException {
        return new Http2Server(bind, Optional.empty(), handler, options);
    }

    /** The same over TLS; a client must offer {@code h2} (section 3.2). */
    public static Http2Server startTls(InetSocketAddress bind, SSLContext tls,
            Handler handler, Options options) throws IOException {
        return new Http2Server(bind, Optional.of(tls), handler, options);
    }

    /** Where the server listens, with the real port; also after close(). */
    public InetSocketAddress localAddress() {
        return (InetSocketAddress) listener.localAddress();
    }

    /** See {@link Stats}. */
    public Stats stats() {
        return new Stats(streams.size(), handlers.size(), served.sum(),
                refused.sum());
    }

    /** Cuts everything at once; waits at most 5 s for running handlers. */
    @Override
    public void close() {
        long deadline = System.nanoTime() + 5_000_000_000L;
        stopListening();
        streams.forEach(stream -> stream.reset(Http2Error.CANCEL));
        connections.forEach(connection -> connection.channel.close());
        try {
            awaitConnections(deadline);
            for (var thread : handlers) {
                if (thread != Thread.currentThread()) {
                    thread.join(Duration.ofNanos(left(deadline)));
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        loops.shutdownGracefully(0, 5, TimeUnit.SECONDS)
                .awaitUninterruptibly(5, TimeUnit.SECONDS);
    }

    private void stopListening() {
        closing = true;
        if (listener.isOpen()) {
            listener.close().awaitUninterruptibly(5, TimeUnit.SECONDS);
        }
    }

    /** True when all connections have ended before the deadline. */
    private boolean awaitConnections(long deadline)
            throws InterruptedException {
        for (var connection : connections) {
            if (!connection.channel.closeFuture().await(left(deadline),
                    TimeUnit.NANOSECONDS)) {
                return false;
            }
        }
        return true;
    }

    private static long left(long deadline) {
        return Math.max(0, deadline - System.nanoTime());
    }

    /** On its event loop: a client has connected. */
    private void accept(Channel channel, Optional<SSLContext> tls) {
        var connection = new Connection(channel);
        connections.add(connection);
        channel.closeFuture().addListener(_ -> connections.remove(connection));
        if (closing) {
            channel.close();
            return;
        }
        // Frames that come to be written at the same time share a write.
        channel.pipeline().addLast(new FlushConsolidationHandler(256, true));
        try {
            tls.ifPresent(context -> addTls(connection, context));
            channel.pipeline().addLast(new StreamIds());
            if (tls.isEmpty()) {   // else after the handshake
                addHttp2(connection);
            }
        } catch (Throwable failure) {
            report(failure);
            channel.close();
        }
    }

    /** Frames to bytes and back, with our settings and Netty's limits. */
    private Http2FrameCodec codec() {
        return Http2FrameCodecBuilder.forServer()
                .initialSettings(Http2Settings.defaultSettings()
                        .maxConcurrentStreams(options.maxConcurrentStreams())
                        .initialWindowSize(options.initialWindow())
                        .maxHeaderListSize(options.maxHeaderListBytes()))
                .validateRequiredPseudoHeaders(true)
                .decoderEnforceMaxRstFramesPerWindow(200, 30)
                // Netty resets again for each late DATA frame: be patient
                .encoderEnforceMaxRstFramesPerWindow(2000, 30)
                .gracefulShutdownTimeoutMillis(0).build();
    }

    /** Section 9.2.2: the rest should not be used with TLS 1.2. */
    private static String[] allowedCiphers(SSLContext tls) {
        return Arrays.stream(tls.getDefaultSSLParameters().getCipherSuites())
                .filter(name -> !name.contains("_WITH_") || name.matches(
                        "TLS_(EC)?DHE_.*(_GCM_SHA\\d+|POLY1305_SHA256)"))
                .toArray(String[]::new);
    }

    /** A fault of this program, on an event loop that goes on. */
    private static void report(Throwable failure) {
        var thread = Thread.currentThread();
        thread.getUncaughtExceptionHandler()
                .uncaughtException(thread, failure);
    }

    /** On the thread of the stream: from its request to its end. */
    private void serve(Stream stream) {
        Throwable failure = null;
        handlers.add(Thread.currentThread());
        try {
            handler.handle(stream);
            if (!stream.responded) {
                throw new IllegalStateException("no response");
            }
        } catch (Throwable thrown) {   // an Error ends one stream only
            LOG.log(System.Logger.Level.DEBUG, "a handler failed", thrown);
            failure = thrown;
        }
        release(stream.connection);   // before the response ends
        handlers.remove(Thread.currentThread());
        if (failure != null) {
            failed(stream, failure);
        } else if (!stream.reset) {
            served.increment();
        }
        stream.finish();
    }

    /** Ends a chain of handlers: what they throw arrives here. */
    private static class Faults extends ChannelInboundHandlerAdapter {

        /** The codec itself answers the client's errors, with GOAWAY. */
        @Override
        public void exceptionCaught(ChannelHandlerContext context,
                Throwable failure) {
            if (!(failure instanceof Http2Exception)
                    && !(failure instanceof IOException)
                    && !(failure.getCause() instanceof IOException)) {
                report(failure);
                context.close();
            }
        }
    }

    /**
     * In front of the codec, which has other answers than sections 5.1 and
     * 5.1.1 for HEADERS on a stream that the client has ended, and for those
     * with an id that falls. Here they end the connection.
     */
    private static final class StreamIds extends Faults {

        private final ByteBuf header = Unpooled.buffer(9, 9);
        private final int[] recent = new int[256];   // negative: ended
        private int last;
        private int skip = 24;   // bytes of the preface, or of a payload
        private Http2Exception error;

        @Override
        public void channelRead(ChannelHandlerContext context, Object read) {
            var in = (ByteBuf) read;
            var rest = in.duplicate();
            while (rest.isReadable() && error == null) {
                int count = Math.min(skip, rest.readableBytes());
                rest.skipBytes(count);
                skip -= count;
                rest.readBytes(header, Math.min(header.writableBytes(),
                        rest.readableBytes()));
                if (!header.isWritable()) {
                    check(FrameHeader.decode(header).orElseThrow());
                    header.clear();
                }
            }
            if (error != null) {   // only what came before has effect
                in.writerIndex(Math.max(in.readerIndex(),
                        rest.readerIndex() - FRAME_HEADER_BYTES));
            }
            context.fireChannelRead(in);
            if (error != null) {
                context.fireExceptionCaught(error);   // sends GOAWAY
            }
        }

        /** HEADERS are type 1, DATA 0, RST_STREAM 3. */
        private void check(FrameHeader frame) {
            int id = frame.streamId;
            int slot = id / 2 % recent.length;
            skip = frame.length;
            if (frame.type == 1 && id > last) {
                last = id;
                recent[slot] = id;
            } else if (frame.type == 1 && recent[slot] != id
                    && Math.abs(recent[slot]) <= id) {
                error = Http2Exception.connectionError(recent[slot] == -id
                        ? Http2Error.STREAM_CLOSED : Http2Error.PROTOCOL_ERROR,
                        "HEADERS on stream %d", id);
            }
            if (recent[slot] == id && (frame.type == 3
                    || frame.type < 2 && frame.has(1))) {
                recent[slot] = -id;
            }
        }
    }

    /** One client. */
    private final class Connection extends Faults {

        private final Channel channel;
        private int open;             // streams; these are its event loop's

        Connection(Channel channel) {
            this.channel = channel;
        }

        /** Runs the action on the event loop, unless TLS is not ready. */
        void onLoop(Consumer<Connection> action) {
            channel.eventLoop().execute(() -> {
                if (channel.pipeline().get(Http2FrameCodec.class) == null) {
                    channel.close();
                } else {
                    action.accept(this);
                }
            });
        }

        @Override
        public void channelRead(ChannelHandlerContext context, Object frame) {
            ReferenceCountUtil.release(frame);
            if (frame instanceof Http2PingFrame ping && ping.ack()
                    && ping.content() == PING_CONTENT && closing) {
                lastGoAway(this);
            }
        }
    }

    /** A stream is a child channel of its connection's. */
    private final class Stream extends Faults implements Exchange {

        private final Connection connection;
        private final Channel channel;
        private final Body body = new Body();
        private final Output output = new Output();
        private volatile Request request;
        private volatile boolean responded;
        private volatile boolean reset;   // by the client, or by us, or cut

        Stream(Connection connection, Channel channel) {
            this.connection = connection;
            this.channel = channel;
            channel.config().setOption(
                    Http2StreamChannelOption.AUTO_STREAM_FLOW_CONTROL,
                    creditsAtOnce());
        }

        @Override
        public void channelActive(ChannelHandlerContext context) {
            connection.open++;
            streams.add(this);
        }

        @Override
        public void channelRead(ChannelHandlerContext context, Object frame) {
            if (frame instanceof Http2HeadersFrame headers) {
                body.add(Unpooled.EMPTY_BUFFER, 0, headers.isEndStream());
                if (request == null) {   // else these are trailers
                    request = toRequest(headers.headers());
                    if (tryAcquire(connection)) {
                        run(this);
                    } else {
                        refuse(this);
                    }
                }
            } else if (frame instanceof Http2DataFrame data) {
                body.add(data.content(), data.initialFlowControlledBytes(),
                        data.isEndStream());
            }
            ReferenceCountUtil.release(frame);
        }

        @Override
        public void channelWritabilityChanged(ChannelHandlerContext context) {
            wakeWriter(this);
        }

        /** Both sides have ended the stream, or it was reset or cut. */
        @Override
        public void channelInactive(ChannelHandlerContext context) {
            streams.remove(this);
            if (!output.isSent || !body.isComplete()) {
                reset = true;
                aborted(this);
            }
            body.abort();
            wakeWriter(this);
            connection.open--;
            closeIfDone(connection);
        }

        private void reset(Http2Error error) {
            reset = true;
            channel.writeAndFlush(new DefaultHttp2ResetFrame(error));
        }

        private void checkOpen() throws IOException {
            if (reset || !channel.isActive()) {
                throw new IOException("the stream was reset or cut");
            }
        }

        @Override
        public Request request() {
            return request;
        }

        @Override
        public InputStream body() {
            return body;
        }

        @Override
        public void respond(int status, List<Header> headers)
                throws IOException {
            require(status >= 200 && status <= 599, "status", status);
            var fields = toHeaders(status, headers);
            if (responded) {
                throw new IllegalStateException("responded already");
            }
            checkOpen();
            responded = true;
            output.isEmpty = hasNoBody(request.method(), status);
            output.isSent = output.isEmpty;
            output.last = sendHeaders(this, fields, output.isEmpty);
        }

        @Override
        public OutputStream output() {
            if (!responded) {
                throw new IllegalStateException("respond() comes first");
            }
            return output;
        }

        @Override
        public boolean isReset() {
            return reset;
        }

        /** Ends the response, and lets the client stop its upload (8.1). */
        private void finish() {
            try {
                output.close();
                output.last.addListener(_ -> {
                    if (!body.isComplete()) {
                        reset(Http2Error.NO_ERROR);
                    }
                });
            } catch (IOException e) {
                // Nobody waits for this response.
            }
        }

        /** The request's body, from the event loop to the handler. */
        private final class Body extends InputStream {

            /** @param credit the whole frame's share of the windows */
            private record Piece(ByteBuffer bytes, int credit) {}

            private final Deque<Piece> pieces = new ArrayDeque<>();
            private boolean ended;     // all has come
            private boolean aborted;

            synchronized void add(ByteBuf bytes, int credit, boolean end) {
                if (credit > 0) {
                    pieces.add(new Piece(ByteBuffer.wrap(
                            ByteBufUtil.getBytes(bytes)), credit));
                }
                ended |= end;
                notifyAll();
            }

            synchronized void abort() {
                aborted = true;
                notifyAll();
            }

            synchronized boolean isComplete() {
                return ended || aborted;
            }

            @Override
            public int read() throws IOException {
                var one = new byte[1];
                return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
            }

            @Override
            public synchronized int read(byte[] to, int from, int length)
                    throws IOException {
                Objects.checkFromIndexSize(from, length, to.length);
                int count = 0;
                while (count == 0 && length > 0) {   // a piece may be empty
                    while (pieces.isEmpty() && !isComplete()) {
                        waitOn(this);
                    }
                    if (aborted) {
                        throw new IOException("the stream was reset or cut");
                    } else if (pieces.isEmpty()) {
                        return -1;
                    }
                    var bytes = pieces.element().bytes;
                    count = Math.min(length, bytes.remaining());
                    bytes.get(to, from, count);
                    if (!bytes.hasRemaining()) {
                        credit(Stream.this, pieces.remove().credit);
                    }
                }
                return count;
            }

            @Override
            public synchronized int available() {
                return pieces.stream().mapToInt(piece ->
                        piece.bytes.remaining()).sum();
            }
        }

        /** The response's body, from the handler to the event loop. */
        private final class Output extends OutputStream {

            private final ByteArrayOutputStream buffer =
                    new ByteArrayOutputStream(256);
            private boolean isEmpty;          // all that is written is dropped
            private volatile boolean isSent;  // END_STREAM was written
            private ChannelFuture last;       // the write of the last frame

            @Override
            public void write(int one) throws IOException {
                write(new byte[] {(byte) one});
            }

            @Override
            public void write(byte[] bytes, int from, int length)
                    throws IOException {
                Objects.checkFromIndexSize(from, length, bytes.length);
                if (isSent && !isEmpty) {
                    throw new IOException("closed");
                }
                for (int done = 0; done < length && !isEmpty; done += PIECE) {
                    buffer.write(bytes, from + done,
                            Math.min(length - done, PIECE));
                    if (buffer.size() >= PIECE) {
                        send(false);
                    }
                }
            }

            @Override
            public void flush() throws IOException {
                if (buffer.size() > 0) {
                    send(false);
                }
            }

            @Override
            public void close() throws IOException {
                if (!isSent) {
                    send(true);
                }
            }

            private void send(boolean end) throws IOException {
                awaitWritable(Stream.this);
                checkOpen();
                isSent = end;
                last = sendData(Stream.this, buffer.toByteArray(), end);
                buffer.reset();
            }
        }
    }

    private static final Set<String> OF_A_CONNECTION = Set.of("connection",
            "keep-alive", "proxy-connection", "transfer-encoding", "upgrade");

    private static Http2Headers toHeaders(int status, List<Header> headers) {
        var fields = new DefaultHttp2Headers(true, true, 8);
        fields.status(Integer.toString(status));
        for (var header : headers) {
            var name = header.name().toLowerCase(Locale.ROOT);
            require(!OF_A_CONNECTION.contains(name) && !name.startsWith(":"),
                    "header", name);
            fields.add(name, header.value());   // throws if it is not valid
        }
        return fields;
    }

    private static void waitOn(Object monitor) throws InterruptedIOException {
        try {
            monitor.wait();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("interrupted");
        }
    }

    /**
     * What can be set; see {@link #defaults}.
     *
     * @param maxConcurrentStreams of a connection, at least 1; a client that
     *                             opens more is refused (section 5.1.2)
     * @param maxRunningHandlers   of a connection, at least
     *                             maxConcurrentStreams: the handlers of
     *                             streams that were reset count until they end
     * @param initialWindow        of each stream, in bytes, 1 to 2^31 - 1; the
     *                             connection's is always 65,535 (section 6.9.2)
     * @param maxHeaderListBytes   of a request, at least 1, counted as section
     *                             6.5.2 says: name, value and 32 for each field
     */
    public record Options(int maxConcurrentStreams, int maxRunningHandlers,
            int initialWindow, int maxHeaderListBytes) {

        public Options {
            require(maxConcurrentStreams >= 1, "maxConcurrentStreams",
                    maxConcurrentStreams);
            require(maxRunningHandlers >= maxConcurrentStreams,
                    "maxRunningHandlers", maxRunningHandlers);
            require(initialWindow >= 1, "initialWindow", initialWindow);
            require(maxHeaderListBytes >= 1, "maxHeaderListBytes",
                    maxHeaderListBytes);
        }

        /** 100 streams, 200 handlers, 65,535 bytes, 8 KiB of headers. */
        public static Options defaults() {
            return new Options(100, 200, 65_535, 8192);
        }

        /** The same with other limits on streams and handlers. */
        public Options withMaxStreams(int concurrent, int runningHandlers) {
            return new Options(concurrent, runningHandlers, initialWindow,
                    maxHeaderListBytes);
        }

        /** The same with another initialWindow. */
        public Options withInitialWindow(int initialWindow) {
            return new Options(maxConcurrentStreams, maxRunningHandlers,
                    initialWindow, maxHeaderListBytes);
        }
    }

    /**
     * Exact while nothing begins or ends. {@code int}: now; {@code long}:
     * since the start.
     *
     * @param openStreams     streams that are not closed (section 5.1)
     * @param runningHandlers handlers that have not returned, be their streams
     *                        open or not
     * @param served          handlers that have responded and returned, on
     *                        streams that were not reset before
     * @param refused         streams refused because of maxRunningHandlers
     */
    public record Stats(int openStreams, int runningHandlers, long served,
            long refused) {}

    private static void require(boolean valid, String name, Object value) {
        if (!valid) {
            throw new IllegalArgumentException(name + " cannot be " + value);
        }
    }

    // The demo: one scene for each step.

    private static final List<String> STEPS = List.of("Decode the frame header",
            "Serve h2c with prior knowledge", "Negotiate h2 over TLS",
            "Run each stream on a virtual thread",
            "Apply flow control both ways",
            "Limit resets and running handlers", "Shut down with GOAWAY");
    private static final InetSocketAddress ANY_PORT =
            new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);

    /** No argument: the demo; {@code serve} until its input ends. */
    public static void main(String[] args) throws Exception {
        var words = String.join(" ", args);
        if (words.matches("serve (\\S+:)?\\d+( --tls( --certificate"
                + " \\S+)?)?")) {
            serve(args);
        } else if (args.length == 0) {
            Thread.setDefaultUncaughtExceptionHandler((_, e) -> died(e));
            demo(Options.defaults());
        } else {
            boolean help = words.matches("-h|(--)?help");
            (help ? System.out : System.err).println((help ? ""
                    : "not understood: " + words + "\n") + """
                    lab-409                     the demo, step by step
                    lab-409 serve [HOST:]PORT   until its input ends: / greets,
                        /bytes/N sends N bytes, POST echoes
                        --tls                   with a new certificate
                        --certificate FILE      which is written here (PEM)
                    lab-409 help                this text""");
            System.exit(help ? 0 : 2);
        }
        System.exit(0);   // OkHttp's threads may live on for a minute
    }

    private static void serve(String[] args) throws Exception {
        var at = ("127.0.0.1:" + args[1]).split(":");
        var bind = new InetSocketAddress(at[at.length - 2],
                Integer.parseInt(at[at.length - 1]));
        var held = certificate();
        if (args.length == 5) {
            Files.writeString(Path.of(args[4]), held.certificatePem());
        }
        try (var server = new Http2Server(bind, Optional.of(tls(held))
                .filter(_ -> args.length > 2), Http2Server::service,
                Options.defaults())) {
            IO.println("listening on " + bind.getHostString() + ":"
                    + server.localAddress().getPort());
            System.in.transferTo(OutputStream.nullOutputStream());
            try {
                server.shutdown(Duration.ofMillis(500));
            } catch (UnsupportedOperationException e) {
                // Step 7 is not written: close() is next.
            }
            IO.println("stats " + server.stats());
        } catch (IOException e) {
            System.err.println(e.getMessage());
            System.exit(1);
        }
    }

    /** What {@code serve} answers. */
    private static void service(Exchange exchange) throws IOException {
        var request = exchange.request();
        var path = request.path();
        boolean bytes = path.matches("/bytes/\\d{1,9}");
        exchange.respond(bytes || path.equals("/") ? 200 : 404, List.of());
        var out = exchange.output();
        if (request.method().equals("POST")) {
            exchange.body().transferTo(out);
        } else if (bytes) {
            int left = Integer.parseInt(path.substring("/bytes/".length()));
            for (; left > 0; left -= PIECE) {
                out.write(new byte[Math.min(left, PIECE)]);
            }
        } else {
            out.write((request.method() + " " + path + "\n").getBytes());
        }
    }

    private static void demo(Options options) throws Exception {
        IO.println("lab 409  HTTP/2 server\n");
        var bytes = Unpooled.buffer();
        new FrameHeader(13, 1, 5, 3).encode(bytes);
        show(1, ByteBufUtil.hexDump(bytes), FrameHeader.decode(bytes).get(),
                "FrameHeader.*13.*1.*5.*3.");

        var go = new CountDownLatch(1);
        Handler handler = exchange -> {
            var text = exchange.request().path();
            var body = exchange.body();
            if (text.equals("/slow")) {
                go.await();
            } else if (text.equals("/upload")) {
                await(5000, () -> body.available() >= 65_535);
                await(500, () -> body.available() > 65_535);
                text = body.available() + " waited, "
                        + body.readAllBytes().length + " came";
            }
            exchange.respond(200, List.of());
            exchange.output().write(text.getBytes());
        };
        var held = certificate();
        var trust = new HandshakeCertificates.Builder()
                .addTrustedCertificate(held.certificate()).build();
        var client = new OkHttpClient.Builder().sslSocketFactory(
                trust.sslSocketFactory(), trust.trustManager());
        try (var secure = startTls(ANY_PORT, tls(held), handler, options);
             var server = start(ANY_PORT, handler, options)) {
            var plain = client.protocols(List.of(
                    Protocol.H2_PRIOR_KNOWLEDGE)).build();
            var url = "http://localhost:" + server.localAddress().getPort();
            show(2, "clear text", get(plain, url + "/hello").get(),
                    "200 h2_prior_knowledge /hello");
            var tls = "https://localhost:" + secure.localAddress().getPort();
            show(3, "TLS", get(client.protocols(List.of(Protocol.HTTP_2,
                    Protocol.HTTP_1_1)).build(), tls + "/hello").get(),
                    "200 h2 /hello");
            show(3, "TLS without h2", get(client.protocols(List.of(
                    Protocol.HTTP_1_1)).build(), tls).get(), "no response");
            var slow = get(plain, url + "/slow");
            await(5000, () -> server.stats().runningHandlers() == 1);
            show(4, "while /slow waits", get(plain, url + "/fast").get(),
                    "200 .*/fast");
            show(5, "1 MiB", get(plain, url + "/upload").get(),
                    "200 .* 65535 waited, 1048576 came");
            show(6, "20 requests, reset", resets(options.withMaxStreams(4, 8)),
                    ".*s=0, runningHandlers=8, served=0, refused=12.*");
            var done = start(() -> server.shutdown(Duration.ofSeconds(5)));
            await(5000, () -> server.closing || done.isDone());
            go.countDown();
            show(7, "shutdown", done.get() + ", " + slow.get(), "true, 200.*");
        }
        IO.println("\nall seven steps work");
    }

    /** Twenty requests, each reset at once, in one write. */
    private static Stats resets(Options options) throws Exception {
        var end = new CompletableFuture<Void>();
        var frames = Unpooled.buffer().writeBytes(
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".getBytes());
        new FrameHeader(0, 4, 0, 0).encode(frames);   // SETTINGS
        for (int id = 1; id < 40; id += 2) {
            new FrameHeader(3, 1, 5, id).encode(frames);   // HEADERS: GET /
            frames.writeMedium(0x828684);
            new FrameHeader(4, 3, 0, id).encode(frames);   // RST_STREAM
            frames.writeInt(8);
        }
        try (var server = start(ANY_PORT, _ -> end.join(), options);
             var socket = new Socket(ANY_PORT.getAddress(),
                     server.localAddress().getPort())) {
            socket.getOutputStream().write(ByteBufUtil.getBytes(frames));
            await(5000, () -> server.stats().openStreams() == 0
                    && server.stats().runningHandlers()
                    + server.stats().refused() == 20);
            var stats = server.stats();
            end.complete(null);
            return stats;
        }
    }

    private static void await(int millis, Callable<Boolean> condition)
            throws Exception {
        for (int i = 0; i < millis && !condition.call(); i++) {
            Thread.sleep(1);
        }
    }

    private static <T> Future<T> start(Callable<T> call) {
        var task = new FutureTask<>(call);
        Thread.startVirtualThread(task);
        return task;
    }

    /** A GET, or to {@code /upload} a POST of 1 MiB. */
    private static Future<String> get(OkHttpClient client, String url) {
        var request = new okhttp3.Request.Builder().url(url);
        if (url.endsWith("/upload")) {
            request.post(RequestBody.create(new byte[1 << 20]));
        }
        return start(() -> {
            try (var response = client.newCall(request.build()).execute()) {
                return response.code() + " " + response.protocol() + " "
                        + response.body().string();
            } catch (IOException e) {
                return "no response";
            }
        });
    }

    private static void show(int step, String what, Object seen, String like) {
        IO.println("  %d  %-20s %s".formatted(step, what, seen));
        if (!String.valueOf(seen).matches(like)) {
            next("TODO step " + step + ": search Http2Server.java for it");
        }
    }

    private static void died(Throwable failure) {
        if (failure instanceof ExecutionException) {
            died(failure.getCause());   // of shutdown()
        } else if (!(failure instanceof UnsupportedOperationException)) {
            failure.printStackTrace();
            System.exit(1);
        }
        next(failure.getMessage() + "\n  " + failure.getStackTrace()[0]);
    }

    private static synchronized void next(String todo) {
        int step = todo.charAt("TODO step ".length()) - '0';
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/Http2Server.java";
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        IO.println("\nnext: step " + step + ", " + STEPS.get(step - 1) + "\n  "
                + todo + (isHere ? "" : "\n  in a clone of the workbook:")
                + ("\n  check  " + jbang + " test-409 " + file).stripTrailing()
                + "\n  hint   " + jbang + " hint 409 " + step);
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private static HeldCertificate certificate() {
        return new HeldCertificate.Builder().commonName("lab 409")
                .addSubjectAlternativeName("localhost")
                .addSubjectAlternativeName("127.0.0.1").build();
    }

    private static SSLContext tls(HeldCertificate held) {
        return new HandshakeCertificates.Builder().heldCertificate(held)
                .build().sslContext();
    }
}
