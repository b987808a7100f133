///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 419: HTTP/1.1 pipelining, from both sides of the connection

import module java.base;

/**
 * An HTTP/1.1 server that takes pipelined requests, and a client that sends
 * them (RFC 9112 section 9.3.2).
 *
 * <p>The one idea: HTTP/1.1 messages carry no number, so a response belongs to
 * a request by its place alone. The server responds in the order of the
 * requests, and the client gives each response to the oldest request that has
 * none.
 *
 * <p>Plain http only. No CONNECT, Upgrade, Expect or content codings; of the
 * transfer codings chunked alone.
 */
public final class Pipelining {

    private Pipelining() {}

    /** Makes the responses of a {@link Server}. */
    @FunctionalInterface
    public interface Handler {

        /**
         * Called on a virtual thread, which is interrupted when the server is
         * closed. Safe requests of one connection may be handled at the same
         * time.
         *
         * @return the response; the server ignores its fields Connection,
         *         Content-Length and Transfer-Encoding, and sends its own
         * @throws Exception any Throwable makes the response a 500
         */
        Response handle(Request request) throws Exception;
    }

    /** A server that responds in the order of the requests. Thread-safe. */
    public static final class Server implements AutoCloseable {

        private final ServerSocket listener;
        private final Handler handler;
        private final Options options;
        private final LongAdder requests = new LongAdder();
        private final Set<Connection> connections =
                ConcurrentHashMap.newKeySet();
        private final ExecutorService threads = threads();

        /**
         * Reads the requests of a connection and dispatches them, until there
         * are no more or the connection must close.
         *
         * @throws IOException if the connection fails
         */
        // tag::serve[]
        private void serve(Connection connection)
                throws IOException, InterruptedException {
            // tag::step1[] as long as connection.readRequest() brings a request: count it in requests, and dispatch() an Exchange that has it; return after the last one; if a request is bad, dispatch() a response with its status() and message, as the last one
            try {
                for (var next = connection.readRequest(); next.isPresent();
                        next = connection.readRequest()) {
                    requests.increment();
                    var request = next.get().message();
                    boolean isLast = next.get().after() != After.PERSISTS;
                    dispatch(connection, new Exchange(request, isLast,
                            () -> handler.handle(request)));
                    if (isLast) {
                        return;
                    }
                }
            } catch (BadMessageException e) {
                dispatch(connection, new Exchange(Request.get("/"), true,
                        () -> Response.text(e.status(), e.getMessage())));
            }
            // end::step1[]
        }
        // end::serve[]

        /** Waits until the handler has ended, and sends its response. */
        // tag::respond[]
        private static void respond(Connection connection, Exchange exchange)
                throws IOException, InterruptedException {
            // tag::step1[] get() the response from the task of the exchange, or make a 500 if its handler has failed; write what Messages.encode() makes of it to connection.out, in one write
            Response response;
            try {
                response = exchange.task().get();
            } catch (ExecutionException e) {
                response = Response.text(500, "the handler failed");
            }
            connection.out.write(Messages.encode(response,
                    exchange.request().method(), exchange.isLast()));
            // end::step1[]
        }
        // end::respond[]

        // tag::server[]
        /**
         * Listens and serves.
         *
         * @param bind where; port 0 takes a free one
         */
        public static Server start(InetSocketAddress bind, Handler handler,
                Options options) throws IOException {
            var server = new Server(handler, options);
            server.listener.bind(bind, 1024);
            server.threads.execute(server::accept);
            return server;
        }

        private Server(Handler handler, Options options) throws IOException {
            this.handler = Objects.requireNonNull(handler, "handler");
            this.options = Objects.requireNonNull(options, "options");
            listener = new ServerSocket();
        }

        /** Where it listens. */
        public InetSocketAddress localAddress() {
            return (InetSocketAddress) listener.getLocalSocketAddress();
        }

        /** How many connections are open now. */
        public int connections() {
            return connections.size();
        }

        /** How many valid requests have come since the start. */
        public long requests() {
            return requests.sum();
        }

        /**
         * Closes the listener and all connections, interrupts the handlers,
         * and waits for them, 5 seconds at most; not if a handler calls this.
         * To close a closed server has no effect.
         */
        @Override
        public void close() {
            closeQuietly(listener);
            connections.forEach(each -> closeQuietly(each.socket));
            end(threads);
        }
        // end::server[]

        private void accept() {
            while (!listener.isClosed()) {
                try {
                    var connection = new Connection(this,
                            listener.accept());
                    connections.add(connection);
                    threads.execute(() -> run(connection));
                } catch (IOException | RejectedExecutionException e) {
                    LockSupport.parkNanos(5_000_000);   // see lab 401
                }
            }
            connections.forEach(each -> closeQuietly(each.socket));
        }

        private void run(Connection connection) {
            var reader = Thread.currentThread();
            var writer = Thread.ofVirtual().start(() -> {
                try {
                    sendInOrder(connection);
                } catch (IOException | InterruptedException e) {
                    reader.interrupt();   // it may wait for a slot
                }
            });
            try {
                serve(connection);
                connection.slots.acquire(options.maxDepth());
                connection.linger();
            } catch (IOException | InterruptedException e) {
                // The client has gone, or the server is closed.
            } catch (RuntimeException e) {
                // A bug is told before the client sees the end.
                reader.getUncaughtExceptionHandler()
                        .uncaughtException(reader, e);
            } finally {
                closeQuietly(connection.socket);
                writer.interrupt();
                connections.remove(connection);
            }
        }
    }

    /** A client that pipelines requests on one connection. Thread-safe. */
    public static final class Client implements AutoCloseable {

        private final InetSocketAddress server;
        private final Options options;
        private final ExecutorService threads = threads();
        // all that follow are guarded by this
        private final Deque<Call> queue = new ArrayDeque<>();   // to be sent
        private final Deque<Call> outstanding = new ArrayDeque<>();
        private Link link;              // null while there is no connection
        private volatile boolean closed;
        private boolean afterFailure;   // of the connection before this one
        private long headSince;
        private long opened, sent, responses, retried;

        /**
         * Sends a request on the one connection of this client, which is opened
         * when the first request needs it. Requests leave in the order of the
         * calls, and the futures complete in the same order, on a thread that
         * must not block: no response is read while a callback runs. To cancel
         * a future does not stop its request; the response is dropped.
         *
         * <p>As long as a request that is not idempotent is outstanding, no
         * other one is sent; and it is not sent while another one is. (RFC 9112
         * section 9.3.2 asks for the first half. The second half keeps it from
         * being lost with a connection that fails because of another request.)
         *
         * <p>If the connection fails, idempotent requests are sent again, once.
         *
         * @return the response, or an {@link UnansweredException}
         * @throws IllegalArgumentException if the method is CONNECT, or if a
         *         field is for the client to set: Host, Connection,
         *         Content-Length, Transfer-Encoding, Expect and Upgrade
         */
        // tag::send[]
        public CompletableFuture<Response> send(Request request) {
            needSendable(request);
            var call = new Call(request);
            // tag::step2[] with the lock held: put the call at the end of queue, unless this client is closed, and wake the writer by notifyAll(); when it is closed, fail() the call with closed(); return the future of the call
            synchronized (this) {
                if (!closed) {
                    queue.add(call);
                    notifyAll();
                    return call.future;
                }
            }
            call.fail(closed());
            return call.future;
            // end::step2[]
        }
        // end::send[]

        /**
         * The next call to write, which is outstanding from now on. The writer
         * calls this.
         *
         * @return empty if the connection has ended
         */
        // tag::take[]
        private synchronized Optional<Call> take(Link current)
                throws InterruptedException {
            // tag::step2[] wait() until link is no longer current, or the first call of queue may be sent: link.isUsable(), fewer calls than mostOutstanding() are outstanding, and, if any is, mayFollow() allows it to follow the last of them; move it to the end of outstanding; call headChanged() if it is the head; count it in sent
            while (link == current && !maySend()) {
                wait();
            }
            if (link != current) {
                return Optional.empty();
            }
            var call = queue.remove();
            outstanding.add(call);
            if (outstanding.size() == 1) {
                headChanged(this);
            }
            sent++;
            retried += call.mayHaveRun ? 1 : 0;
            return Optional.of(call);
            // end::step2[]
        }

        // tag::step2[]
        private boolean maySend() {
            return !queue.isEmpty() && link.isUsable()
                    && outstanding.size() < mostOutstanding(this)
                    && (outstanding.isEmpty() || mayFollow(
                    queue.getFirst().request, outstanding.getLast().request));
        }
        // end::step2[]
        // end::take[]

        /**
         * Reads responses, until the connection ends or cannot be used any
         * more. The reader calls this.
         */
        // tag::receive[]
        private void receive(Link current) throws IOException {
            // tag::step2[] while current.begins() tells that a response has begun: peek() at the oldest outstanding call, read its response by current.readResponse(), remove the call, call headChanged(), count in responses, notifyAll(); then complete its future, without the lock; return if current no longer persists(); throw notAskedFor() if no call waits for a response
            while (current.persists() && current.begins()) {
                Call head;
                synchronized (this) {
                    head = outstanding.peek();
                }
                if (head == null) {
                    throw notAskedFor();
                }
                var response = current.readResponse(head);
                synchronized (this) {
                    outstanding.remove();
                    headChanged(this);
                    responses++;
                    notifyAll();
                }
                head.future.complete(response);
            }
            // end::step2[]
        }
        // end::receive[]

        // tag::client[]
        /** A client of this server, not connected yet. */
        public static Client create(InetSocketAddress server, Options options) {
            var client = new Client(server, options);
            client.threads.execute(client::write);
            client.threads.execute(client::watch);
            return client;
        }

        private Client(InetSocketAddress server, Options options) {
            this.server = Objects.requireNonNull(server, "server");
            this.options = Objects.requireNonNull(options, "options");
        }

        /** How many requests have been sent and have no response yet. */
        public synchronized int inFlight() {
            return outstanding.size();
        }

        /** How many requests wait to be sent. */
        public synchronized int queued() {
            return queue.size();
        }

        /** What has happened since the start. */
        public synchronized Stats stats() {
            return new Stats(opened, sent, responses, retried);
        }

        /**
         * Closes the connection. Calls without a response fail with an
         * {@link UnansweredException} whose cause says "closed". Waits until
         * they have, 5 seconds at most; not if a callback calls this. To close
         * a closed client has no effect.
         */
        @Override
        public void close() {
            synchronized (this) {
                closed = true;
                if (link != null) {
                    link.fail(closed());
                }
            }
            end(threads);
        }
        // end::client[]

        private void write() {
            try {
                while (true) {
                    var current = connect();
                    take(current).ifPresent(current::write);
                }
            } catch (InterruptedException e) {
                failQueue(closed());
            }
        }

        /** Waits for a request, and opens a connection if there is none. */
        private Link connect() throws InterruptedException {
            while (true) {
                synchronized (this) {
                    while (queue.isEmpty()) {
                        wait();
                    }
                    if (link != null) {
                        return link;
                    }
                }
                try {
                    return opened(new Link(server));
                } catch (IOException e) {
                    failQueue(closed ? closed() : e);
                }
            }
        }

        private synchronized Link opened(Link opening) throws IOException {
            if (closed) {
                closeQuietly(opening.socket);
                throw closed();
            }
            link = opening;
            opened++;
            threads.execute(() -> read(opening));
            return link;
        }

        private void read(Link current) {
            try {
                receive(current);
                current.fail(new EOFException("the connection was closed"));
            } catch (IOException e) {
                current.fail(e);
            }
            Collection<Call> failed;
            synchronized (this) {
                link = null;
                failed = closed ? List.copyOf(outstanding)
                        : recover(this, current);
                outstanding.clear();
                notifyAll();
            }
            for (var call : failed) {
                call.mayHaveRun = true;
                call.fail(current.failure.get());
            }
        }

        private void failQueue(IOException cause) {
            List<Call> calls;
            synchronized (this) {
                calls = List.copyOf(queue);
                queue.clear();
            }
            calls.forEach(call -> call.fail(cause));
        }

        private void watch() {
            var pause = options.responseTimeout().dividedBy(10);
            try {
                while (!pause.isZero()) {
                    Thread.sleep(pause);
                    expireHead(this);
                }
            } catch (InterruptedException e) {
                // close()
            }
        }
    }

    /**
     * How long a strategy took.
     *
     * @param how         its name
     * @param connections how many it opened
     * @param total       from the start until the last response had come
     * @param each        from the start until the response to this request had
     *                    come, in the order of the requests
     */
    public record Race(String how, int connections, Duration total,
            List<Duration> each) {
        public Race {
            each = List.copyOf(each);
        }
    }

    /**
     * Sends each request on the same connection, when the response to the one
     * before has come.
     *
     * @throws IOException what made the first request fail
     */
    // tag::race[]
    public static Race sequential(InetSocketAddress server,
            List<Request> requests) throws IOException, InterruptedException {
        // tag::step3[] measure() with one connection and depth 1
        return measure("sequential", server, requests, 1, 1);
        // end::step3[]
    }

    /**
     * Sends the requests on one connection, as many as {@code depth} before the
     * first response has come.
     *
     * @throws IOException what made the first request fail
     */
    public static Race pipelined(InetSocketAddress server,
            List<Request> requests, int depth)
            throws IOException, InterruptedException {
        // tag::step3[] measure() with one connection and this depth
        return measure("pipelined, depth " + depth, server, requests, 1, depth);
        // end::step3[]
    }

    /**
     * Sends the requests on several connections, one at a time on each. A
     * connection that is free takes the next request, so a slow response delays
     * none of the requests on other connections.
     *
     * @throws IOException what made the first request fail
     */
    public static Race parallel(InetSocketAddress server,
            List<Request> requests, int connections)
            throws IOException, InterruptedException {
        // tag::step3[] measure() with these connections and depth 1
        return measure("parallel x" + connections, server, requests,
                connections, 1);
        // end::step3[]
    }

    private static Race measure(String how, InetSocketAddress server,
            List<Request> requests, int connections, int depth)
            throws IOException, InterruptedException {
        need(connections >= 1, "connections", connections);
        var options = Options.defaults().withMaxDepth(depth);
        var clients = Stream.generate(() -> Client.create(server, options))
                .limit(connections).toList();
        try {
            // tag::step3[] send() each request by a client that has fewer than depth on their way (a BlockingQueue of free clients can tell); note the time since the start when its response comes; await() all; the connections are those that the stats() of the clients count
            long start = System.nanoTime();
            var free = new LinkedBlockingQueue<Client>();
            for (int i = 0; i < depth; i++) {
                free.addAll(clients);
            }
            var times = new ArrayList<CompletableFuture<Duration>>();
            for (var request : requests) {
                var client = free.take();
                times.add(client.send(request).thenApply(_ -> since(start))
                        .whenComplete((_, _) -> free.add(client)));
            }
            var each = new ArrayList<Duration>();
            for (var time : times) {
                each.add(await(time));
            }
            var total = since(start);
            long opened = clients.stream().mapToLong(client ->
                    client.stats().connectionsOpened()).sum();
            return new Race(how, (int) opened, total, each);
            // end::step3[]
        } finally {
            clients.forEach(Client::close);
        }
    }
    // end::race[]

    /**
     * Whether a request may be sent while another one, and perhaps more before
     * it, is outstanding.
     */
    // tag::mayFollow[]
    private static boolean mayFollow(Request next, Request last) {
        // tag::step4[] only if both are idempotent // until then: return true;
        return next.idempotent() && last.idempotent();
        // end::step4[]
    }
    // end::mayFollow[]

    /**
     * A request.
     *
     * @param method  a token (RFC 9110 section 5.6.2); its case matters
     * @param target  visible ASCII characters, as sent: {@code /path?query}
     * @param headers in the order of the wire
     * @param body    may be empty; not copied
     */
    public record Request(String method, String target, List<Header> headers,
            byte[] body) {
        public Request {
            need(TOKEN.matcher(method).matches(), "method", method);
            need(target.matches("[!-~]+"), "target", target);
            headers = List.copyOf(headers);
            Objects.requireNonNull(body, "body");
        }

        /**
         * Whether the effect of several such requests is that of one (RFC 9110
         * section 9.2.2); of a method that is not known, it is not.
         */
        // tag::methods[]
        public boolean idempotent() {
            // tag::step4[] of the methods in RFC 9110, PUT, DELETE and the safe ones are idempotent
            return method.matches("PUT|DELETE|GET|HEAD|OPTIONS|TRACE");
            // end::step4[]
        }

        /** Whether it is read-only by its method (RFC 9110 section 9.2.1). */
        public boolean safe() {
            // tag::step5[] four of the methods in RFC 9110 are safe // until then: return false;
            return method.matches("GET|HEAD|OPTIONS|TRACE");
            // end::step5[]
        }
        // end::methods[]

        /** A GET request without fields and body. */
        public static Request get(String target) {
            return new Request("GET", target, List.of(), new byte[0]);
        }

        /** A POST request without fields. */
        public static Request post(String target, String body) {
            return new Request("POST", target, List.of(),
                    utf8(body));
        }
    }

    /** Has a request handled, and its response sent in its turn. */
    // tag::dispatch[]
    private static void dispatch(Connection connection, Exchange exchange)
            throws IOException, InterruptedException {
        // tag::step5[] acquire connection.slots, one for a safe request, and all maxDepth of them for any other one; put the exchange into connection.unsent; execute() its task by connection.server.threads // until then: exchange.task().run(); Server.respond(connection, exchange);
        connection.slots.acquire(slotsFor(connection, exchange.request()));
        connection.unsent.put(exchange);
        connection.server.threads.execute(exchange.task());
        // end::step5[]
    }

    /** Sends the responses of a connection, on a thread of its own. */
    private static void sendInOrder(Connection connection)
            throws IOException, InterruptedException {
        // tag::step5[] again and again: take() an exchange from connection.unsent, respond(), and release its slots // until then:
        while (true) {
            var exchange = connection.unsent.take();
            Server.respond(connection, exchange);
            connection.slots.release(slotsFor(connection, exchange.request()));
        }
        // end::step5[]
    }

    // tag::step5[]
    /** A request that is not safe takes all, so it is alone. */
    private static int slotsFor(Connection connection, Request request) {
        return request.safe() ? 1
                : connection.server.options.maxDepth();
    }
    // end::step5[]
    // end::dispatch[]

    /** How many requests may be outstanding now; the lock is held. */
    // tag::recover[]
    private static int mostOutstanding(Client client) {
        // tag::step6[] 1 if the connection comes afterFailure and is not yet proven, otherwise maxDepth // until then: return client.options.maxDepth();
        return client.afterFailure && !client.link.proven ? 1
                : client.options.maxDepth();
        // end::step6[]
    }

    /**
     * Called with the lock held when a connection has ended: decides what
     * happens to the calls that are outstanding on it.
     *
     * @return those that fail, in their order
     */
    private static Collection<Call> recover(Client client, Link ended) {
        // tag::step6[] go through outstanding from its end; after a response with close, ended.closeAnnounced(), put each call back to the front of queue; after any other end, do so with idempotent calls that mayHaveRun does not mark yet, and mark them; the rest fails; set afterFailure for mostOutstanding() // until then: return List.copyOf(client.outstanding);
        boolean announced = ended.closeAnnounced();
        client.afterFailure = !announced && (!client.outstanding.isEmpty()
                || client.afterFailure && !ended.proven);
        var failed = new ArrayDeque<Call>();
        while (!client.outstanding.isEmpty()) {
            var call = client.outstanding.removeLast();
            if (announced) {
                client.queue.addFirst(call);
            } else if (call.request.idempotent() && !call.mayHaveRun) {
                call.mayHaveRun = true;
                client.queue.addFirst(call);
            } else {
                failed.addFirst(call);
            }
        }
        return failed;
        // end::step6[]
    }
    // end::recover[]

    /** Another call is the oldest outstanding one; the lock is held. */
    // tag::expire[]
    private static void headChanged(Client client) {
        // tag::step7[] set headSince to the time of options.nanoClock() // until then:
        client.headSince = client.options.nanoClock().getAsLong();
        // end::step7[]
    }

    /** Ends the connection if its oldest response is overdue. */
    static void expireHead(Client client) {
        // tag::step7[] with the lock held: if a call is outstanding, and responseTimeout, unless it is zero, has passed since headSince, end the connection by link.fail() with overdue() // until then:
        synchronized (client) {
            var limit = client.options.responseTimeout();
            var waited = Duration.ofNanos(client.options.nanoClock()
                    .getAsLong() - client.headSince);
            if (!limit.isZero() && !client.outstanding.isEmpty()
                    && waited.compareTo(limit) >= 0) {
                client.link.fail(overdue(client));
            }
        }
        // end::step7[]
    }
    // end::expire[]

    // ---- given from here on ----

    private static final int MAX_HEAD = 16 << 10;   // bytes; also of trailers
    private static final int MAX_BODY = 8 << 20;
    private static final int CONNECT_MILLIS = 5000;
    private static final Pattern TOKEN =
            Pattern.compile("[!#$%&'*+.^_`|~0-9A-Za-z-]+");

    /** What the client has done so far; {@code sent} counts repeats, too. */
    public record Stats(long connectionsOpened, long sent, long responses,
            long retried) {}

    /**
     * A field of a header section (RFC 9110 section 5).
     *
     * @param name  a token; its case does not matter
     * @param value ISO 8859-1 without control characters other than tab; blanks
     *              at both ends are removed
     */
    public record Header(String name, String value) {
        public Header {
            need(TOKEN.matcher(name).matches(), "name", name);
            need(value.matches("[\t -~\u0080-\u00ff]*"), "value", value);
            value = value.strip();
        }
    }

    /**
     * A response.
     *
     * @param status  200 to 999
     * @param headers in the order of the wire
     * @param body    at most 8 MiB; not copied
     */
    public record Response(int status, List<Header> headers, byte[] body) {
        public Response {
            need(status >= 200 && status <= 999, "status", status);
            headers = List.copyOf(headers);
            Objects.requireNonNull(body, "body");
        }

        /** A response of text in UTF-8. */
        public static Response text(int status, String body) {
            return new Response(status, List.of(new Header("Content-Type",
                    "text/plain; charset=utf-8")), utf8(body));
        }
    }

    /** A message that breaks the rules, or that this program cannot take. */
    public static final class BadMessageException extends IOException {
        private static final long serialVersionUID = 1;
        private final int status;

        BadMessageException(int status, String message) {
            super(message);
            this.status = status;
        }

        /** What a server responds to such a request. */
        public int status() {
            return status;
        }
    }

    /** Tells that a request has no response; the cause tells why. */
    public static final class UnansweredException extends IOException {
        private static final long serialVersionUID = 1;
        private final boolean mayHaveRun;

        UnansweredException(Call call, IOException cause) {
            super(cause.getMessage(), cause);
            mayHaveRun = call.mayHaveRun;
        }

        /** False if the server has certainly not processed the request. */
        public boolean mayHaveRun() {
            return mayHaveRun;
        }
    }

    /**
     * What server and client agree to. A zero Duration is no limit.
     *
     * @param maxDepth        how many requests of a connection may be without a
     *                        response, in the client as in the server (8)
     * @param responseTimeout how long the client waits for a response since its
     *                        request became the oldest outstanding one (30 s)
     * @param idleTimeout     how long the server waits for the next byte, while
     *                        no response is due (30 s)
     * @param nanoClock       for responseTimeout, like System.nanoTime()
     */
    public record Options(int maxDepth, Duration responseTimeout,
            Duration idleTimeout, LongSupplier nanoClock) {
        public Options {
            need(maxDepth >= 1, "maxDepth", maxDepth);
            need(!responseTimeout.isNegative(), "responseTimeout",
                    responseTimeout);
            need(!idleTimeout.isNegative(), "idleTimeout", idleTimeout);
            Objects.requireNonNull(nanoClock, "nanoClock");
        }

        public static Options defaults() {
            return new Options(8, Duration.ofSeconds(30),
                    Duration.ofSeconds(30), System::nanoTime);
        }

        public Options withMaxDepth(int value) {
            return new Options(value, responseTimeout, idleTimeout, nanoClock);
        }

        public Options withResponseTimeout(Duration value) {
            return new Options(maxDepth, value, idleTimeout, nanoClock);
        }

        public Options withIdleTimeout(Duration value) {
            return new Options(maxDepth, responseTimeout, value, nanoClock);
        }

        public Options withNanoClock(LongSupplier value) {
            return new Options(maxDepth, responseTimeout, idleTimeout, value);
        }
    }

    /**
     * What becomes of the connection after a message: a close that was
     * announced by {@code Connection: close} is CLOSES, any other one ENDS.
     */
    enum After { PERSISTS, CLOSES, ENDS }

    /** A message that was read. */
    record Incoming<T>(T message, After after) {}

    /** A request, and the task that makes its response. */
    private record Exchange(Request request, boolean isLast,
            FutureTask<Response> task) {
        Exchange(Request request, boolean isLast, Callable<Response> handler) {
            this(request, isLast, new FutureTask<>(() ->
                    Objects.requireNonNull(handler.call(), "response")));
        }
    }

    /** A client's connection to a server. */
    private static final class Connection {
        final Server server;
        final Socket socket;
        final InputStream in;
        final OutputStream out;
        final Semaphore slots;   // for requests that have no response yet
        final BlockingQueue<Exchange> unsent = new LinkedBlockingQueue<>();

        Connection(Server server, Socket socket) throws IOException {
            this.server = server;
            this.socket = socket;
            slots = new Semaphore(server.options.maxDepth());
            socket.setTcpNoDelay(true);
            socket.setSoTimeout((int) Math.min(Integer.MAX_VALUE,
                    TimeUnit.MILLISECONDS.convert(server.options.idleTimeout()
                    .plusNanos(999_999))));   // rounded up; 0 is no limit
            in = new BufferedInputStream(socket.getInputStream());
            out = socket.getOutputStream();
        }

        /** The next request; empty if none comes any more, or half of one. */
        Optional<Incoming<Request>> readRequest() throws IOException {
            while (true) {
                boolean begins = false;
                try {
                    begins = Messages.begins(in);
                    return begins ? Optional.of(Messages.readRequest(in))
                            : Optional.empty();
                } catch (EOFException e) {
                    return Optional.empty();
                } catch (SocketTimeoutException e) {
                    if (begins || slots.availablePermits()
                            == server.options.maxDepth()) {
                        return Optional.empty();   // no response is due
                    }
                }
            }
        }

        /** Lets the client read what was sent (RFC 9112 section 9.6). */
        void linger() throws IOException {
            socket.shutdownOutput();
            socket.setSoTimeout(1000);
            var ignored = new byte[8 << 10];
            for (int i = 0; i < 8 && in.read(ignored) != -1; i++) {
                // at most 64 KiB, and 8 seconds
            }
        }
    }

    /** A request of a client, and what is known about it. */
    private static final class Call {
        final Request request;
        final CompletableFuture<Response> future = new CompletableFuture<>();
        boolean mayHaveRun;   // sent on a connection that has failed since

        Call(Request request) {
            this.request = request;
        }

        void fail(IOException cause) {
            future.completeExceptionally(new UnansweredException(this, cause));
        }
    }

    /** A connection of a client. One thread writes, another one reads. */
    private static final class Link {
        final Socket socket = new Socket();
        final InetSocketAddress server;
        final InputStream in;
        volatile boolean proven;   // has brought a response, and persists
        final AtomicReference<IOException> failure =   // the first one
                new AtomicReference<>();
        private volatile Call writing;   // until its last 16 KiB
        private volatile After after = After.PERSISTS;

        Link(InetSocketAddress server) throws IOException {
            this.server = server;
            socket.connect(server, CONNECT_MILLIS);   // or closes it
            socket.setTcpNoDelay(true);
            in = new BufferedInputStream(socket.getInputStream());
        }

        void write(Call call) {
            var bytes = Messages.encode(call.request, server);
            int last = Math.min(bytes.length, 16 << 10);
            writing = call;
            try {
                var out = socket.getOutputStream();
                out.write(bytes, 0, bytes.length - last);
                writing = null;
                out.write(bytes, bytes.length - last, last);
            } catch (IOException e) {
                failure.compareAndSet(null, e);   // responses may still come
            }
        }

        /** Waits for a byte of a response; false if the connection ends. */
        boolean begins() throws IOException {
            return Messages.begins(in);
        }

        /**
         * Reads the response to this call. If the request is still being
         * written, the connection ends: a request cannot be broken off, and the
         * server may not read the rest of it.
         */
        Response readResponse(Call call) throws IOException {
            var incoming = Messages.readResponse(in, call.request.method());
            after = incoming.after() == After.PERSISTS && writing == call
                    ? After.ENDS : incoming.after();
            proven |= persists();
            return incoming.message();
        }

        /** Whether another response may come. */
        boolean persists() {
            return after == After.PERSISTS;
        }

        /** Whether another request may be sent. */
        boolean isUsable() {
            return persists() && failure.get() == null;
        }

        /** Whether the last response was sent with Connection: close. */
        boolean closeAnnounced() {
            return after == After.CLOSES;
        }

        /** Closes the connection. */
        void fail(IOException cause) {
            failure.compareAndSet(null, cause);
            closeQuietly(socket);
        }
    }

    /** The messages of HTTP/1.1 (RFC 9112); no byte is read beyond them. */
    static final class Messages {

        private static final Pattern REQUEST_LINE = Pattern.compile(
                "(%s) ([!-~]+) HTTP/([0-9])\\.([0-9])".formatted(TOKEN));
        private static final Pattern STATUS_LINE =
                Pattern.compile("HTTP/1\\.([0-9]) ([1-9][0-9][0-9])( .*)?");

        private Messages() {}

        /** Waits for a byte, and leaves it; false at the end of the stream. */
        static boolean begins(InputStream in) throws IOException {
            in.mark(1);
            boolean begins = in.read() != -1;
            in.reset();
            return begins;
        }

        /** @throws EOFException if the request is not whole */
        static Incoming<Request> readRequest(InputStream in)
                throws IOException {
            var start = readLine(in, MAX_HEAD, 414);
            if (start.isEmpty()) {
                start = readLine(in, MAX_HEAD, 414);   // RFC 9112 section 2.2
            }
            var line = REQUEST_LINE.matcher(start);
            check(line.matches(), 400, "invalid request line");
            check(line.group(3).equals("1"), 505, "not HTTP/1");
            check(!line.group(1).equals("CONNECT"), 501, "no CONNECT");
            boolean isHttp10 = line.group(4).equals("0");
            var headers = readFields(in, MAX_HEAD - start.length());
            var hosts = values(headers, "Host");
            check(hosts.size() == 1 || isHttp10 && hosts.isEmpty(), 400,
                    "not one Host");
            check(hosts.stream().noneMatch(each -> each.matches(
                    ".*[ /@?#].*")), 400, "invalid Host");
            check(values(headers, "Expect").isEmpty(), 417, "no Expect");
            var lengths = values(headers, "Content-Length");
            boolean isCoded = !values(headers, "Transfer-Encoding").isEmpty();
            check(lengths.size() + (isCoded ? 1 : 0) <= 1, 400, "two lengths");
            check(!isCoded || !isHttp10, 400, "Transfer-Encoding in HTTP/1.0");
            var body = isCoded ? readCoded(in, headers)
                    : readBody(in, lengths.isEmpty() ? "0" : lengths.get(0));
            return new Incoming<>(new Request(line.group(1), line.group(2),
                    headers, body), isHttp10 || saysClose(headers)
                    ? After.CLOSES : After.PERSISTS);
        }

        /**
         * Reads the final response; informational ones before it are skipped.
         *
         * @param method of the request
         * @throws EOFException if it is not whole
         */
        static Incoming<Response> readResponse(InputStream in, String method)
                throws IOException {
            var start = readLine(in, MAX_HEAD, 400);
            var line = STATUS_LINE.matcher(start);
            check(line.matches() && !line.group(2).equals("101"), 400,
                    "invalid status line");
            int status = Integer.parseInt(line.group(2));
            var headers = readFields(in, MAX_HEAD - start.length());
            if (status < 200) {
                return readResponse(in, method);
            }
            var lengths = Set.copyOf(values(headers, "Content-Length"));
            boolean isCoded = !values(headers, "Transfer-Encoding").isEmpty();
            boolean isEmpty = method.equals("HEAD") || status == 204
                    || status == 304;
            var body = isEmpty ? new byte[0]
                    : isCoded ? readCoded(in, headers)
                    : lengths.isEmpty() ? readToEnd(in)
                    : readBody(in, String.join(",", lengths));
            boolean isBroken = isCoded != lengths.isEmpty() && !isEmpty;
            return new Incoming<>(new Response(status, headers, body),
                    saysClose(headers) ? After.CLOSES
                    : isBroken || line.group(1).equals("0") ? After.ENDS
                    : After.PERSISTS);
        }

        static byte[] encode(Request request, InetSocketAddress server) {
            var host = server.getHostString();
            var start = "%s %s HTTP/1.1\r\nHost: %s:%d\r\n".formatted(
                    request.method(), request.target(),
                    host.contains(":") ? "[" + host + "]" : host,
                    server.getPort());
            boolean hasLength = request.body().length > 0
                    || request.method().matches("POST|PUT|PATCH");
            return encode(start, request.headers(), hasLength
                    ? request.body().length : -1, request.body());
        }

        /** @param method of the request; the response to HEAD has no body */
        static byte[] encode(Response response, String method, boolean close) {
            int status = response.status();
            var start = "HTTP/1.1 " + status + (status == 200 ? " OK\r\n"
                    : " \r\n") + (close ? "Connection: close\r\n" : "");
            var headers = response.headers().stream().filter(each ->
                    !each.name().matches("(?i)connection|content-length|"
                    + "transfer-encoding")).toList();
            boolean hasLength = status != 204 && status != 304;
            return encode(start, headers, hasLength ? response.body().length
                    : -1, hasLength && !method.equals("HEAD")
                    ? response.body() : new byte[0]);
        }

        private static byte[] encode(String start, List<Header> headers,
                int length, byte[] body) {
            var head = headers.stream().map(each -> each.name() + ": "
                    + each.value() + "\r\n").collect(Collectors.joining("",
                    start, length < 0 ? "\r\n"
                    : "Content-Length: " + length + "\r\n\r\n"));
            var latin1 = StandardCharsets.ISO_8859_1;   // keeps every byte
            return (head + new String(body, latin1)).getBytes(latin1);
        }

        private static byte[] readBody(InputStream in, String length)
                throws IOException {
            check(length.matches("[0-9]{1,9}"), 400, "invalid Content-Length");
            int count = Integer.parseInt(length);
            check(count <= MAX_BODY, 413, "too large");
            var body = in.readNBytes(count);
            if (body.length < count) {
                throw new EOFException("the body is not whole");
            }
            return body;
        }

        private static byte[] readToEnd(InputStream in) throws IOException {
            var body = in.readNBytes(MAX_BODY + 1);
            check(body.length <= MAX_BODY, 413, "too large");
            return body;
        }

        /** The data of all chunks (RFC 9112 section 7.1), whole. */
        private static byte[] readCoded(InputStream in, List<Header> headers)
                throws IOException {
            check(String.join(",", values(headers, "Transfer-Encoding"))
                    .equalsIgnoreCase("chunked"), 501, "not just chunked");
            var body = new ByteArrayOutputStream();
            while (true) {
                var size = readLine(in, MAX_HEAD, 400)
                        .replaceFirst("[ \t]*(;.*)?$", "");
                check(size.matches("0*[0-9A-Fa-f]{1,7}"), 400,
                        "invalid chunk size");
                int count = Integer.parseInt(size, 16);
                check(body.size() + count <= MAX_BODY, 413, "too large");
                if (count == 0) {
                    readFields(in, MAX_HEAD);   // trailers are dropped
                    return body.toByteArray();
                }
                body.write(readBody(in, "" + count));
                check(readLine(in, 0, 400).isEmpty(), 400, "no CRLF");
            }
        }

        private static List<Header> readFields(InputStream in, int most)
                throws IOException {
            var headers = new ArrayList<Header>();
            for (int left = most; ; ) {
                var line = readLine(in, left, 431);
                if (line.isEmpty()) {
                    return headers;
                }
                left = Math.max(0, left - line.length() - 2);
                var field = line.split(":", 2);
                try {
                    headers.add(new Header(field[0], field[1]));
                } catch (RuntimeException e) {
                    throw new BadMessageException(400, "invalid field line");
                }
            }
        }

        /** A line without its CRLF; elsewhere CR and LF are not allowed. */
        private static String readLine(InputStream in, int most, int tooLarge)
                throws IOException {
            var line = new StringBuilder();
            for (int next = in.read(); next != '\r'; next = in.read()) {
                if (next == -1) {
                    throw new EOFException("the message is not whole");
                }
                check(next != '\n', 400, "LF without CR");
                check(line.length() < most, tooLarge, "too large");
                line.append((char) next);
            }
            check(in.read() == '\n', 400, "CR without LF");
            return line.toString();
        }

        private static void check(boolean isGood, int status, String message)
                throws BadMessageException {
            if (!isGood) {
                throw new BadMessageException(status, message);
            }
        }
    }

    /** The values of all fields of this name. */
    private static List<String> values(List<Header> headers, String name) {
        return headers.stream().filter(each -> each.name()
                .equalsIgnoreCase(name)).map(Header::value).toList();
    }

    private static boolean saysClose(List<Header> headers) {
        return String.join(",", values(headers, "Connection"))
                .matches("(?i)(.*,)?\\s*close\\s*(,.*)?");
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static void need(boolean holds, String name, Object value) {
        if (!holds) {
            throw new IllegalArgumentException(name + ": " + value);
        }
    }

    private static void needSendable(Request request) {
        need(!request.method().equals("CONNECT"), "method", "CONNECT");
        need(request.headers().stream().noneMatch(each -> each.name().matches(
                "(?i)host|connection|content-length|transfer-encoding|expect"
                + "|upgrade")), "headers", request.headers());
    }

    private static Duration since(long start) {
        return Duration.ofNanos(System.nanoTime() - start);
    }

    /** What the future brings; the IOException is that of the call. */
    private static <T> T await(Future<T> future)
            throws IOException, InterruptedException {
        try {
            return future.get();
        } catch (ExecutionException e) {
            throw e.getCause() instanceof IOException failure
                    ? failure : new IOException(e.getCause());
        }
    }

    private static IOException closed() {
        return new IOException("closed");
    }

    private static BadMessageException notAskedFor() {
        return new BadMessageException(400, "a response to no request");
    }

    private static SocketTimeoutException overdue(Client client) {
        return new SocketTimeoutException("no response within "
                + client.options.responseTimeout());
    }

    private static final String THREADS = "lab419-";

    /** A virtual thread for each task. */
    private static ExecutorService threads() {
        return Executors.newThreadPerTaskExecutor(
                Thread.ofVirtual().name(THREADS, 0).factory());
    }

    /** Interrupts the threads, and waits for them, but not for itself. */
    private static void end(ExecutorService threads) {
        threads.shutdownNow();
        try {
            boolean isOwn = Thread.currentThread().getName()
                    .startsWith(THREADS);
            threads.awaitTermination(isOwn ? 0 : 5, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static void closeQuietly(Closeable socket) {
        try {
            socket.close();
        } catch (IOException e) {
            // The descriptor is released even if close() reports an error.
        }
    }

    /** The demo, or what the arguments ask for. */
    public static void main(String[] args) throws Exception {
        var words = String.join(" ", args);
        var here = InetAddress.getLoopbackAddress();
        if (args.length == 0) {
            Thread.setDefaultUncaughtExceptionHandler((_, failure) -> {
                if (failure instanceof UnsupportedOperationException) {
                    next(failure.getMessage() + "\n  "
                            + failure.getStackTrace()[0]);
                }
                System.err.println(failure);
            });
            demo(new InetSocketAddress(here, 0));
        } else if (words.matches("serve \\d{1,5}")) {
            var server = Server.start(new InetSocketAddress(here,
                    Integer.parseInt(args[1])), request -> Response.text(200,
                    request.target() + "\n"), Options.defaults());
            IO.println("listening on " + here.getHostAddress() + ":"
                    + server.localAddress().getPort());
            Thread.currentThread().join();
        } else {
            boolean help = words.matches("-h|(--)?help");
            (help ? System.out : System.err).println((help ? ""
                    : "not understood: " + words + "\n") + """
                    lab-419               the demo, step by step
                    lab-419 serve PORT    responds until Ctrl-C""");
            System.exit(help ? 0 : 2);
        }
    }

    private static void demo(InetSocketAddress any) throws Exception {
        IO.println("lab 419  HTTP pipelining");
        var pages = new ConcurrentHashMap<String, Callable<String>>();
        var server = Server.start(any, request -> Response.text(200,
                pages.getOrDefault(request.target(), request::target).call()),
                Options.defaults());
        var address = server.localAddress();
        try (var socket = new Socket(any.getAddress(), address.getPort())) {
            socket.getOutputStream().write(utf8("""
                    GET /1 HTTP/1.1\r\nHost: h\r\n\r
                    GET /2 HTTP/1.1\r\nHost: h\r\n\r
                    GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r
                    """));
            show(1, "three requests in one segment", new String(socket
                    .getInputStream().readAllBytes()).replaceAll(
                    "(?s)HTTP.*?\r\n\r\n", " ").strip(), "/1 /2 /3");
        }
        var client = Client.create(address, Options.defaults()
                .withResponseTimeout(Duration.ofMillis(500)));
        Callable<String> inFlight = () -> {
            for (int i = 0; i < 100 && client.inFlight() < 6; i++) {
                Thread.sleep(1);
            }
            return "with " + client.inFlight();
        };
        pages.put("/first", inFlight);
        pages.put("/post", inFlight);
        show(2, "six requests, at the first one", texts(client,
                "/first", "/2", "/3", "/4", "/5", "/6").getFirst(), "with 6");
        pages.put("/slow", () -> {
            Thread.sleep(300);
            return "";
        });
        var ten = new ArrayList<>(Collections.nCopies(10, Request.get("/")));
        ten.set(0, Request.get("/slow"));
        for (var race : List.of(sequential(address, ten),
                pipelined(address, ten, 10), parallel(address, ten, 5))) {
            show(3, race.how() + ", a slow one first", race.each().stream()
                    .filter(each -> each.toMillis() >= 300).count()
                    + " of 10 came after 300 ms", "after");
        }
        show(4, "GET GET POST GET, at the POST", texts(client, "/1", "/2",
                "/post", "/4").get(2), "with 1");
        var four = new CountDownLatch(4);
        pages.put("/four", () -> {
            four.countDown();
            return "" + four.await(1, TimeUnit.SECONDS);
        });
        show(5, "four handlers at the same time", texts(client, "/four",
                "/four", "/four", "/four"), "[true, true, true, true]");
        var cut = new AtomicBoolean();
        pages.put("/cut", () -> {
            if (cut.compareAndSet(false, true)) {
                List.copyOf(server.connections).forEach(each ->
                        closeQuietly(each.socket));
            }
            return inFlight.call();
        });
        show(6, "cut at the first request; it again", texts(client,
                "/cut", "/2", "/3", "/4").getFirst(), "with 1");
        pages.put("/never", () -> {
            Thread.sleep(Duration.ofDays(1));
            return "";
        });
        show(7, "the first one is never answered",
                texts(client, "/never", "/2", "/3"), "[timeout, /2, /3]");
        IO.println("\nall seven steps work");
        System.exit(0);
    }

    /** Sends them all, and then waits for all responses. */
    private static List<String> texts(Client client, String... targets) {
        return Stream.of(targets).map(target -> client.send(
                target.equals("/post") ? Request.post(target, "")
                : Request.get(target)).orTimeout(6, TimeUnit.SECONDS)
                .handle((response, failure) -> failure == null
                ? new String(response.body(), StandardCharsets.UTF_8)
                : failure.getCause() instanceof SocketTimeoutException
                ? "timeout" : "no response"))
                .toList().stream().map(CompletableFuture::join).toList();
    }

    private static void show(int step, String what, Object seen,
            String wanted) {
        IO.println("  %d  %-39s %s".formatted(step, what, seen));
        if (!String.valueOf(seen).contains(wanted)) {
            next("TODO step " + step + ": search Pipelining.java for it");
        }
    }

    private static synchronized void next(String todo) {
        var steps = List.of("Respond in order",
                "Pipeline requests on one connection",
                "Compare sequential, pipelined and parallel",
                "Hold back non-idempotent requests",
                "Run safe requests concurrently", "Recover a broken pipeline",
                "Time out the response at the head");
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/Pipelining.java";
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        int step = todo.charAt("TODO step ".length()) - '0';
        IO.println("\nnext: step " + step + ", " + steps.get(step - 1)
                + "\n  " + todo
                + (isHere ? "" : "\n  in a clone of the workbook:")
                + ("\n  check  " + jbang + " test-419 " + file).stripTrailing()
                + "\n  hint   " + jbang + " hint 419 " + step);
        System.exit(0);
    }
}
