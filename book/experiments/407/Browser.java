///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Opens a page in headless Chromium, and prints what its log says

import module java.base;
import module java.net.http;

/**
 * Asks the browser over a WebSocket of its own, the DevTools protocol.
 * Argument: the page's file, and what follows the # in its address.
 */
public class Browser {

    private static final String ASK = """
            {"id": 1, "method": "Runtime.evaluate", "params":
             {"expression": "document.all.log.textContent"}}""";

    public static void main(String[] args) throws Exception {
        var page = args[0].split("#");
        var url = Path.of(page[0]).toUri() + "#" + page[1];
        var profile = Files.createTempDirectory("profile");
        var chromium = new ProcessBuilder("chromium", "--headless",
                "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-background-networking", "--disable-sync",
                "--disable-component-update", "--remote-debugging-port=0",
                "--user-data-dir=" + profile, url)
                .redirectErrorStream(true).start();
        try {
            var line = chromium.inputReader().readLine();
            while (line != null && !line.startsWith("DevTools listening")) {
                line = chromium.inputReader().readLine();
            }
            if (line == null) {
                throw new IOException("Chromium did not start");
            }
            var devTools = page(line.replaceFirst(".*(ws://[^/]*).*", "$1"));
            var log = devTools.text();
            while (!log.contains("closed")) {
                Thread.sleep(100);
                log = devTools.text();
            }
            IO.print(log.replace("\\n", "\n"));
        } finally {
            chromium.destroy();
        }
        System.exit(0);
    }

    private record Page(WebSocket socket, BlockingQueue<String> answers) {
        String text() throws InterruptedException {
            socket.sendText(ASK, true);
            var answer = answers.take();
            return answer.replaceFirst("(?s).*\"value\":\"(.*?)\".*", "$1");
        }
    }

    private static Page page(String browser) throws Exception {
        var client = HttpClient.newHttpClient();
        var list = URI.create(browser.replace("ws:", "http:") + "/json");
        var found = Optional.<MatchResult>empty();
        while (found.isEmpty()) {
            var pages = client.send(HttpRequest.newBuilder(list).build(),
                    HttpResponse.BodyHandlers.ofString()).body();
            found = Pattern.compile("ws://[^\"]*/page/[^\"]*").matcher(pages)
                    .results().findFirst();
        }
        var answers = new LinkedBlockingQueue<String>();
        var parts = new StringBuilder();
        var socket = client.newWebSocketBuilder().buildAsync(
                URI.create(found.get().group()), new WebSocket.Listener() {
                    @Override
                    public CompletionStage<?> onText(WebSocket from,
                            CharSequence text, boolean last) {
                        parts.append(text);
                        if (last) {
                            answers.add(parts.toString());
                            parts.setLength(0);
                        }
                        from.request(1);
                        return null;
                    }
                }).join();
        return new Page(socket, answers);
    }
}
