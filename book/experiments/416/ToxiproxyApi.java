///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 416: Toxiproxy's HTTP API over the lab's proxy, for programs that were written for Toxiproxy
//DEPS com.fasterxml.jackson.core:jackson-databind:2.19.2
//SOURCES ../../../solutions/416-slow-network/SlowNetwork.java

import module java.base;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;

/**
 * Listens on 127.0.0.1, at the port of its argument (8474), until its input ends. Not simulated, and answered with 400:
 * jitter of a latency and size_variation of a slicer.
 */
class ToxiproxyApi {

    private static final ObjectMapper JSON = new ObjectMapper();

    private static final class Refused extends Exception {
        final int status;

        Refused(int status, String message) {
            super(message);
            this.status = status;
        }
    }

    private final Map<String, ObjectNode> proxies = new LinkedHashMap<>();   // as the API shows them
    private final Map<String, SlowNetwork> running = new HashMap<>();        // those that are enabled

    void main(String[] args) throws IOException {
        var server = HttpServer.create(address("127.0.0.1:" + (args.length == 0 ? "8474" : args[0])), 0);
        server.createContext("/", this::handle);
        server.start();
        IO.println("listening on 127.0.0.1:" + server.getAddress().getPort());
        System.in.transferTo(OutputStream.nullOutputStream());
        server.stop(0);
        running.values().forEach(SlowNetwork::close);
    }

    /** The server has one thread, so requests never overlap. */
    private void handle(HttpExchange call) throws IOException {
        int status;
        Object answer;
        try {
            var path = call.getRequestURI().getPath().replaceAll("^/|/$", "").split("/");
            var what = call.getRequestMethod().replace("PATCH", "POST") + " " + path[0] + " " + path.length;
            answer = route(what, path, JSON.readTree(call.getRequestBody().readNBytes(64 * 1024)));
            status = answer == null ? 204 : what.matches("POST (proxies|populate) 1") ? 201 : 200;
        } catch (Refused | IOException | IllegalArgumentException e) {
            status = e instanceof Refused refused ? refused.status : e instanceof SocketException ? 500 : 400;
            answer = Map.of("error", String.valueOf(e.getMessage()), "status", status);
        }
        var bytes = answer == null ? new byte[0] : JSON.writeValueAsBytes(answer);
        call.getResponseHeaders().set("Content-Type", "application/json");
        call.sendResponseHeaders(status, bytes.length == 0 ? -1 : bytes.length);
        call.getResponseBody().write(bytes);
        call.close();
    }

    /** What is answered; null for an answer without a body. */
    private Object route(String what, String[] path, JsonNode body) throws IOException, Refused {
        return switch (what) {
            case "POST reset 1" -> reset();
            case "POST populate 1" -> populate(body);
            case "GET proxies 1" -> proxies;
            case "POST proxies 1" -> create(body);
            case "GET proxies 2" -> proxy(path);
            case "POST proxies 2" -> update(proxy(path), body);
            case "DELETE proxies 2" -> delete(proxy(path));
            case "GET proxies 3" -> proxy(path).get("toxics");
            case "POST proxies 3" -> add(proxy(path), body);
            case "GET proxies 4" -> toxic(path);
            case "POST proxies 4" -> put(proxy(path), merged(toxic(path), body));
            case "DELETE proxies 4" -> remove(proxy(path), toxic(path));
            default -> throw new Refused(405, "no such method or path");
        };
    }

    private ObjectNode proxy(String[] path) throws Refused {
        return Optional.ofNullable(proxies.get(path[1])).orElseThrow(() -> new Refused(404, "proxy not found"));
    }

    private ObjectNode toxic(String[] path) throws Refused {
        return (ObjectNode) proxy(path).get("toxics").valueStream().filter(toxic -> name(toxic).equals(path[3]))
                .findAny().orElseThrow(() -> new Refused(404, "toxic not found"));
    }

    private ObjectNode create(JsonNode body) throws IOException, Refused {
        var proxy = JSON.createObjectNode().put("name", required(body, "name"))
                .put("listen", body.path("listen").asText("127.0.0.1:0")).put("upstream", required(body, "upstream"))
                .put("enabled", body.path("enabled").asBoolean(true));
        proxy.putArray("toxics");
        if (proxies.containsKey(name(proxy))) {
            throw new Refused(409, "proxy already exists");
        }
        apply(proxy);
        proxies.put(name(proxy), proxy);
        return proxy;
    }

    private Object populate(JsonNode body) throws IOException, Refused {
        var created = JSON.createArrayNode();
        for (var each : body) {
            delete(each);
            created.add(create(each));
        }
        return Map.of("proxies", created);
    }

    private ObjectNode update(ObjectNode proxy, JsonNode body) throws IOException, Refused {
        var next = merged(proxy, body);
        next.set("toxics", proxy.get("toxics"));
        if (!next.equals(proxy)) {
            apply(next);
            proxies.put(name(proxy), next);
        }
        return next;
    }

    /** Fields that are missing stay as they are. */
    private static ObjectNode merged(ObjectNode old, JsonNode body) throws IOException {
        return JSON.readerForUpdating(old.deepCopy()).readValue(body);
    }

    /** Starts it anew, or not at all. */
    private void apply(ObjectNode proxy) throws IOException, Refused {
        live(proxy).ifPresent(SlowNetwork::close);
        running.remove(name(proxy));
        if (proxy.get("enabled").asBoolean()) {
            var first = new ArrayList<SlowNetwork.Toxic>();
            for (var toxic : proxy.get("toxics")) {
                first.add(parsed(toxic));
            }
            var started = SlowNetwork.start(address(proxy.get("listen").asText()), address(proxy.get("upstream")
                    .asText()), SlowNetwork.Options.defaults(), first.toArray(SlowNetwork.Toxic[]::new));
            running.put(name(proxy), started);
            proxy.put("listen", "127.0.0.1:" + started.localAddress().getPort());   // to enable it there again
        }
    }

    private Object delete(JsonNode proxy) {
        live(proxy).ifPresent(SlowNetwork::close);
        running.remove(name(proxy));
        proxies.remove(name(proxy));
        return null;
    }

    private Object reset() throws IOException, Refused {
        for (var proxy : List.copyOf(proxies.values())) {
            for (var toxic : proxy.get("toxics").deepCopy()) {
                remove(proxy, toxic);
            }
            update(proxy, JSON.createObjectNode().put("enabled", true));
        }
        return null;
    }

    private ObjectNode add(ObjectNode proxy, JsonNode body) throws Refused {
        var type = required(body, "type");
        var stream = body.path("stream").asText("downstream").toLowerCase(Locale.ROOT);
        var toxic = JSON.createObjectNode().put("name", body.path("name").asText(type + "_" + stream))
                .put("type", type).put("stream", stream).put("toxicity", body.path("toxicity").asDouble(1));
        toxic.set("attributes", body.path("attributes"));
        if (proxy.get("toxics").valueStream().anyMatch(one -> name(one).equals(name(toxic)))) {
            throw new Refused(409, "toxic already exists");
        }
        return put(proxy, toxic);
    }

    /** The lab has no update: a toxic of this name is removed, and another one added. */
    private ObjectNode put(ObjectNode proxy, ObjectNode toxic) throws Refused {
        var valid = parsed(toxic);
        remove(proxy, toxic);
        ((ArrayNode) proxy.get("toxics")).add(toxic);
        live(proxy).ifPresent(network -> network.add(valid));
        return toxic;
    }

    private Object remove(ObjectNode proxy, JsonNode toxic) {
        ((ArrayNode) proxy.get("toxics")).removeIf(one -> name(one).equals(name(toxic)));
        live(proxy).ifPresent(network -> network.remove(name(toxic)));
        return null;
    }

    private Optional<SlowNetwork> live(JsonNode proxy) {
        return Optional.ofNullable(running.get(name(proxy)));
    }

    private static SlowNetwork.Toxic parsed(JsonNode json) throws Refused {
        var given = json.path("attributes");
        if (given.path("jitter").asLong() != 0 || given.path("size_variation").asLong() != 0) {
            throw new Refused(400, "jitter and size_variation are not simulated");
        }
        var fault = switch (json.path("type").asText()) {
            case "latency" -> new SlowNetwork.Latency(millis(given, "latency"));
            case "bandwidth" -> new SlowNetwork.Bandwidth(given.path("rate").asInt());
            case "slow_close" -> new SlowNetwork.SlowClose(millis(given, "delay"));
            case "timeout" -> new SlowNetwork.Timeout(millis(given, "timeout"), 0);
            case "reset_peer" -> new SlowNetwork.ResetPeer(millis(given, "timeout"));
            case "limit_data" -> new SlowNetwork.LimitData(given.path("bytes").asLong());
            case "slicer" -> new SlowNetwork.Slicer(given.path("average_size").asInt(),
                    Duration.of(given.path("delay").asLong(), ChronoUnit.MICROS));
            default -> throw new Refused(400, "invalid toxic type");
        };
        var stream = SlowNetwork.Direction.valueOf(json.path("stream").asText().toUpperCase(Locale.ROOT));
        return new SlowNetwork.Toxic(name(json), stream, json.path("toxicity").asDouble(), fault);
    }

    private static Duration millis(JsonNode attributes, String name) {
        return Duration.ofMillis(attributes.path(name).asLong());
    }

    private static String name(JsonNode proxyOrToxic) {
        return proxyOrToxic.path("name").asText();
    }

    private static String required(JsonNode body, String field) throws Refused {
        if (body.path(field).asText().isEmpty()) {
            throw new Refused(400, "missing required field: " + field);
        }
        return body.get(field).asText();
    }

    private static InetSocketAddress address(String text) {
        int colon = text.lastIndexOf(':');
        return new InetSocketAddress(text.substring(0, colon), Integer.parseInt(text.substring(colon + 1)));
    }
}
