package verify.book;

import module java.base;
import module java.net.http;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import grader.workbook.Folders;
import verify.Commands;

/** One page in headless Chromium, asked over the DevTools protocol. For one thread. */
final class Browser implements AutoCloseable {
    private static final Duration LONGEST = Duration.ofSeconds(60);
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Process process;
    private final Path profile;
    private final WebSocket socket;
    private final Map<Integer, CompletableFuture<JsonNode>> asked = new ConcurrentHashMap<>();
    private volatile CompletableFuture<JsonNode> loaded = new CompletableFuture<>();
    private int last;

    private Browser(Process process, Path profile, URI page) {
        this.process = process;
        this.profile = profile;
        socket = HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(page, new Listener()).join();
        send("Page.enable", Map.of());
    }

    static Optional<Path> program() {
        return Stream.of("chromium", "chromium-browser", "google-chrome")
                .flatMap(name -> Commands.onPath(name).stream()).findFirst();
    }

    static Browser start() throws Exception {
        var profile = Files.createTempDirectory("browser");
        var process = new ProcessBuilder(program().orElseThrow().toString(), "--headless", "--no-sandbox",
                "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
                "--disable-sync", "--remote-debugging-port=0", "--user-data-dir=" + profile, "about:blank")
                .redirectErrorStream(true).start();
        var output = process.inputReader();
        var line = output.readLine();
        while (line != null && !line.startsWith("DevTools listening on ")) {
            line = output.readLine();
        }
        if (line == null) {
            throw new IOException("Chromium did not start");
        }
        Thread.ofVirtual().start(() -> output.lines().forEach(rest -> {}));
        var browser = URI.create(line.substring("DevTools listening on ".length()));
        var fresh = HttpRequest.newBuilder(URI.create("http://" + browser.getAuthority() + "/json/new?about:blank"))
                .PUT(HttpRequest.BodyPublishers.noBody()).build();
        var page = HttpClient.newHttpClient().send(fresh, HttpResponse.BodyHandlers.ofString()).body();
        return new Browser(process, profile, URI.create(JSON.readTree(page).path("webSocketDebuggerUrl").asText()));
    }

    private final class Listener implements WebSocket.Listener {
        private final StringBuilder text = new StringBuilder();

        @Override
        public CompletionStage<?> onText(WebSocket from, CharSequence part, boolean last) {
            text.append(part);
            if (last) {
                take(text.toString());
                text.setLength(0);
            }
            from.request(1);
            return null;
        }
    }

    private void take(String message) {
        try {
            var told = JSON.readTree(message);
            if (told.has("id")) {
                asked.remove(told.path("id").asInt()).complete(told);
            } else if (told.path("method").asText().equals("Page.loadEventFired")) {
                loaded.complete(told);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private JsonNode send(String method, Map<String, ?> parameters) {
        try {
            var answer = new CompletableFuture<JsonNode>();
            asked.put(++last, answer);
            var message = Map.of("id", last, "method", method, "params", parameters);
            socket.sendText(JSON.writeValueAsString(message), true).join();
            var told = answer.orTimeout(LONGEST.toSeconds(), TimeUnit.SECONDS).join();
            if (told.has("error")) {
                throw new IllegalStateException(method + ": " + told.path("error"));
            }
            return told.path("result");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Loads a page, and returns when it has loaded all that belongs to it. */
    void open(URI page) {
        loaded = new CompletableFuture<>();
        send("Page.navigate", Map.of("url", page.toString()));
        loaded.orTimeout(LONGEST.toSeconds(), TimeUnit.SECONDS).join();
    }

    /** Sets the size of the window in CSS pixels, and the look: {@code light}, {@code dark} or {@code print}. */
    void looksLike(int width, int height, String look) {
        send("Emulation.setDeviceMetricsOverride",
                Map.of("width", width, "height", height, "deviceScaleFactor", 1, "mobile", false));
        send("Emulation.setEmulatedMedia", Map.of("media", look.equals("print") ? "print" : "screen", "features",
                List.of(Map.of("name", "prefers-color-scheme", "value", look.equals("dark") ? "dark" : "light"))));
    }

    /** The value of an expression, or of the promise that it is. */
    JsonNode evaluate(String expression) {
        var told = send("Runtime.evaluate",
                Map.of("expression", expression, "awaitPromise", true, "returnByValue", true));
        if (told.has("exceptionDetails")) {
            throw new IllegalStateException(told.at("/exceptionDetails/exception/description").asText());
        }
        return told.path("result").path("value");
    }

    /** The page, printed. */
    byte[] pdf() {
        send("Emulation.setEmulatedMedia", Map.of("media", ""));
        var told = send("Page.printToPDF", Map.of());
        return Base64.getDecoder().decode(told.path("data").asText());
    }

    @Override
    public void close() throws Exception {
        socket.abort();
        process.descendants().forEach(ProcessHandle::destroyForcibly);
        process.destroyForcibly().waitFor();
        Folders.delete(profile);
    }
}
