///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 415: headless Chromium opens data channels to the lab's peer
//SOURCES ../../../solutions/415-webrtc-data-channel/DataChannelPeer.java

import module java.base;
import module java.net.http;

/** One browser, one page, and a peer for each scene. What is printed does not depend on time. */
class Chromium {

    private static final InetSocketAddress ANY = new InetSocketAddress("127.0.0.1", 0);
    private static final int LARGE = 262_144;
    private static final String OFFER = """
            (async () => {
              pc = new RTCPeerConnection(); dc = pc.createDataChannel('chat');
              dc.binaryType = 'arraybuffer'; got = []; wake = () => {};
              const put = text => { got.push(text); wake(); };
              dc.onmessage = e => put(typeof e.data === 'string' ? `text ${e.data}`
                : `${e.data.byteLength} bytes, sum ${new Uint8Array(e.data).reduce((a, b) => a + b, 0)}`);
              dc.onclose = () => put('closed');
              next = async () => { while (!got.length) await new Promise(done => wake = done); return got.shift(); };
              opened = new Promise(done => dc.onopen = () => done('open'));
              await pc.setLocalDescription();
              return pc.localDescription.sdp;
            })()""";

    private final Page page;
    private final BlockingQueue<String> events = new LinkedBlockingQueue<>();
    private final List<DataChannelPeer> peers = new ArrayList<>();
    private DataChannelPeer peer;

    private Chromium(Page page) {
        this.page = page;
    }

    public static void main(String[] args) throws Exception {
        var profile = Files.createTempDirectory("profile");
        var builder = new ProcessBuilder("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--user-data-dir=" + profile, "--remote-debugging-port=0", "about:blank").redirectErrorStream(true);
        builder.environment().put("XDG_CONFIG_HOME", profile.toString());
        var chromium = builder.start();
        try {
            var output = chromium.inputReader();
            var line = output.readLine();
            while (line != null && !line.startsWith("DevTools listening")) {
                line = output.readLine();
            }
            if (line == null) {
                throw new IOException("Chromium did not start");
            }
            Thread.ofVirtual().start(() -> output.lines().forEach(_ -> {}));
            new Chromium(Page.of(line.replaceFirst(".*ws://([^/]*).*", "$1"))).scenes();
        } finally {
            chromium.destroy();
        }
        System.exit(0);
    }

    private void scenes() throws Exception {
        connect(DataChannelPeer.Options.defaults(), offer -> offer, answer -> answer);
        show("open", event() + " / " + page.evaluate("opened"));
        page.evaluate("dc.send('grüß dich')");
        peer.send("grüß Gott");
        show("text", event() + " / " + page.evaluate("next()"));
        page.evaluate("dc.send(new Uint8Array([1, 2, 3]))");
        peer.send(new byte[] {4, 5});
        show("binary", event() + " / " + page.evaluate("next()"));
        page.evaluate("dc.send('')");
        peer.send("");
        show("empty text", event() + " / " + page.evaluate("next()"));
        page.evaluate("dc.send(new Uint8Array(0))");
        peer.send(new byte[0]);
        show("empty binary", event() + " / " + page.evaluate("next()"));
        page.evaluate("dc.send(Uint8Array.from({length: " + LARGE + "}, (_, i) => i % 251))");
        var large = new byte[LARGE];
        for (int i = 0; i < LARGE; i++) {
            large[i] = (byte) (i % 241);
        }
        peer.send(large);
        show("256 KiB", event() + " / " + page.evaluate("next()"));
        page.evaluate("dc.close()");
        show("dc.close()", event() + " / " + page.evaluate("next()"));

        connect(DataChannelPeer.Options.defaults(), offer -> offer, answer -> answer);
        event();
        page.evaluate("opened");
        peer.close();
        show("close() in Java", event() + " / " + page.evaluate("next()"));

        connect(DataChannelPeer.Options.defaults(), offer -> offer, answer -> answer);
        event();
        page.evaluate("opened");
        page.evaluate("pc.close()");
        show("pc.close()", event());

        connect(DataChannelPeer.Options.defaults(), Chromium::otherFingerprint, answer -> answer);
        show("wrong fingerprint", event().replaceFirst("[0-9A-F:]{95}", "…"));
        connect(DataChannelPeer.Options.defaults().withHandshakeTimeout(Duration.ofSeconds(3)), offer -> offer,
                answer -> answer.replaceFirst("a=ice-pwd:.", "a=ice-pwd:_"));
        show("wrong password", event().replaceFirst("rejected: [1-9]\\d*", "rejected: some"));

        connect(DataChannelPeer.Options.defaults().withConsentTimeout(Duration.ofSeconds(6)), offer -> offer,
                answer -> answer);
        event();
        page.evaluate("opened");
        page.close();
        show("the tab is closed", event());
        peers.forEach(DataChannelPeer::close);   // joins their threads
        IO.println("threads of the peers that are left: " + Thread.getAllStackTraces().keySet().stream()
                .filter(each -> each.getName().equals("lab415-peer")).count());
    }

    private static String otherFingerprint(String offer) {
        int at = offer.indexOf("sha-256 ") + "sha-256 ".length();
        return offer.substring(0, at) + (offer.charAt(at) == 'A' ? 'B' : 'A') + offer.substring(at + 1);
    }

    /** Java answers an offer of the page, and each of the two texts may be changed on its way. */
    private void connect(DataChannelPeer.Options options, UnaryOperator<String> toJava, UnaryOperator<String> toPage)
            throws Exception {
        peer = DataChannelPeer.start(ANY, toJava.apply(page.evaluate(OFFER)), new DataChannelPeer.Listener() {
            @Override
            public void onOpen(String label) {
                events.add(label);
            }

            @Override
            public void onText(String text) {
                events.add("text " + text);
            }

            @Override
            public void onBinary(byte[] bytes) {
                long sum = 0;
                for (byte each : bytes) {
                    sum += each & 0xff;
                }
                events.add(bytes.length + " bytes, sum " + sum);
            }

            @Override
            public void onClosed(DataChannelPeer.CloseReason reason) {
                events.add(reason instanceof DataChannelPeer.CloseReason.Failed(var cause)
                        ? "failed: " + cause.getMessage() : reason.getClass().getSimpleName());
            }
        }, options);
        peers.add(peer);
        var answer = toPage.apply(peer.answer());
        page.evaluate("pc.setRemoteDescription({type: 'answer', sdp: `" + answer + "`})");
    }

    private String event() throws Exception {
        return Optional.ofNullable(events.poll(30, TimeUnit.SECONDS))
                .orElseThrow(() -> new TimeoutException("no event of the peer within 30 s"));
    }

    private static void show(String what, String seen) {
        IO.println("%-18s %s".formatted(what, seen));
    }

    /** A page, by the DevTools protocol. */
    private record Page(WebSocket socket, BlockingQueue<String> answers) {

        String evaluate(String expression) throws Exception {
            send("Runtime.evaluate", """
                    {"awaitPromise": true, "returnByValue": true, "expression": "%s"}""".formatted(expression
                    .replace("\\", "\\\\").replace("\"", "\\\"").replace("\r", "\\r").replace("\n", "\\n")));
            var answer = Optional.ofNullable(answers.poll(30, TimeUnit.SECONDS))
                    .orElseThrow(() -> new TimeoutException("no value of " + expression + " within 30 s"));
            if (answer.contains("exceptionDetails")) {
                throw new IOException(expression + ": " + answer);
            }
            var value = answer.replaceFirst("(?s).*\"value\":\"(.*?)\".*", "$1")
                    .replace("\\r", "\r").replace("\\n", "\n");
            return Pattern.compile("\\\\u(....)").matcher(value)
                    .replaceAll(code -> String.valueOf((char) Integer.parseInt(code.group(1), 16)));
        }

        void close() {
            send("Page.close", "{}");
        }

        private void send(String method, String parameters) {
            socket.sendText("{\"id\": 1, \"method\": \"" + method + "\", \"params\": " + parameters + "}", true).join();
        }

        static Page of(String browser) throws Exception {
            var client = HttpClient.newHttpClient();
            var fresh = HttpRequest.newBuilder(URI.create("http://" + browser + "/json/new?about:blank"))
                    .PUT(HttpRequest.BodyPublishers.noBody()).build();
            var told = client.send(fresh, HttpResponse.BodyHandlers.ofString()).body();
            var answers = new LinkedBlockingQueue<String>();
            var parts = new StringBuilder();
            return new Page(client.newWebSocketBuilder().buildAsync(URI.create(told.replaceFirst(
                    "(?s).*\"webSocketDebuggerUrl\": *\"([^\"]*)\".*", "$1")), new WebSocket.Listener() {
                        @Override
                        public CompletionStage<?> onText(WebSocket from, CharSequence text, boolean last) {
                            parts.append(text);
                            if (last) {
                                answers.add(parts.toString());
                                parts.setLength(0);
                            }
                            from.request(1);
                            return null;
                        }
                    }).join(), answers);
        }
    }
}
