///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 416: which faults do the timeouts of curl, OkHttp and the JDK's clients catch?
//DEPS com.squareup.okhttp3:okhttp-jvm:5.5.1
//SOURCES ../../../solutions/416-slow-network/SlowNetwork.java

import module java.base;
import module java.net.http;

import okhttp3.OkHttpClient;
import okhttp3.Request;

/** Each client with one timeout of 1 s; the budget is 2 s. */
class Clients {

    private static final Duration SECOND = Duration.ofSeconds(1);

    void main() throws Exception {
        var clients = new LinkedHashMap<String, SlowNetwork.Client>();
        clients.put("curl", curl());
        clients.put("curl --connect-timeout 1", curl("--connect-timeout", "1"));
        clients.put("curl --max-time 1", curl("--max-time", "1"));
        clients.put("HttpURLConnection, read timeout", Clients::urlConnection);
        clients.put("java.net.http", java(_ -> { }, false));
        clients.put("java.net.http, request timeout", java(request -> request.timeout(SECOND), false));
        clients.put("java.net.http, sendAsync, get(1 s)", java(_ -> { }, true));
        clients.put("OkHttp, defaults", okHttp(builder -> builder));
        clients.put("OkHttp, read timeout", okHttp(builder -> builder.readTimeout(SECOND)));
        clients.put("OkHttp, call timeout", okHttp(builder -> builder.callTimeout(SECOND)));
        IO.println("%-36s%s".formatted("", String.join(" ", Stream.of(SlowNetwork.Scenario.values())
                .map(scenario -> "%-7s".formatted(short_(scenario))).toList())).stripTrailing());
        for (var client : clients.entrySet()) {
            var line = new StringJoiner(" ");
            for (var scenario : SlowNetwork.Scenario.values()) {
                var verdict = SlowNetwork.prove(client.getValue(), scenario, Duration.ofSeconds(2));
                line.add("%-7s".formatted(verdict.isProtected() ? "ok"
                        : verdict.outcome() == SlowNetwork.Outcome.STILL_WAITING ? "WAITS" : verdict.outcome()));
            }
            IO.println("%-36s%s".formatted(client.getKey(), line).stripTrailing());
        }
        IO.println("\nwhat OkHttp with a call timeout has thrown");
        for (var scenario : SlowNetwork.Scenario.values()) {
            SlowNetwork.prove(clients.get("OkHttp, call timeout"), scenario, Duration.ofSeconds(2)).cause()
                    .ifPresent(cause -> IO.println("  %-11s %s: %s".formatted(scenario,
                            cause.getClass().getSimpleName(), cause.getMessage().replaceAll("/?127.*", "..."))));
        }
        System.exit(0);   // OkHttp's threads go on for a minute
    }

    private static String short_(SlowNetwork.Scenario scenario) {
        return scenario.name().replace("BLACK_HOLE", "HOLE").replace("CUT_BODY", "CUT").toLowerCase(Locale.ROOT);
    }

    private static SlowNetwork.Client curl(String... options) {
        return uri -> {
            var command = new ArrayList<>(List.of("curl", "--silent"));
            command.addAll(List.of(options));
            command.add(uri.toString());
            var process = new ProcessBuilder(command).start();
            try {
                var body = new String(process.getInputStream().readAllBytes());
                int status = process.waitFor();
                if (status != 0) {
                    throw new IOException("exit status " + status);
                }
                return body;
            } finally {
                process.destroy();
            }
        };
    }

    private static String urlConnection(URI uri) throws IOException {
        var call = uri.toURL().openConnection();
        call.setReadTimeout((int) SECOND.toMillis());
        try (var in = call.getInputStream()) {
            return new String(in.readAllBytes());
        }
    }

    private static SlowNetwork.Client java(Consumer<HttpRequest.Builder> settings, boolean bounded) {
        var client = HttpClient.newHttpClient();
        return uri -> {
            var request = HttpRequest.newBuilder(uri);
            settings.accept(request);
            if (!bounded) {
                return client.send(request.build(), HttpResponse.BodyHandlers.ofString()).body();
            }
            var answer = client.sendAsync(request.build(), HttpResponse.BodyHandlers.ofString());
            try {
                return answer.get(SECOND.toMillis(), TimeUnit.MILLISECONDS).body();
            } catch (TimeoutException e) {
                answer.cancel(true);
                throw new IOException("no answer within 1 s");
            } catch (ExecutionException e) {
                throw new IOException(e.getCause());
            }
        };
    }

    private static SlowNetwork.Client okHttp(UnaryOperator<OkHttpClient.Builder> settings) {
        var client = settings.apply(new OkHttpClient.Builder()).build();
        return uri -> {
            try (var response = client.newCall(new Request.Builder().url(uri.toString()).build()).execute()) {
                return response.body().string();
            }
        };
    }
}
