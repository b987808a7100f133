///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 416: Toxiproxy's HTTP API over the lab's proxy, for programs that were written for Toxiproxy
//DEPS com.fasterxml.jackson.core:jackson-databind:2.19.2
//SOURCES ../../../solutions/416-slow-network/SlowNetwork.java

import module java.base;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;

/**
 * Listens on 127.0.0.1, at the port of its argument (8474), until its input ends. Not simulated, and answered with 400:
 * jitter of a latency and size_variation of a slicer.
 */
class ToxiproxyApi {

    private static final ObjectMapper JSON = new ObjectMapper();

    /** What a request is answered with. */
    private record Answer(int status, Object body) {}

    private static final class Refused extends Exception {
        final int status;

        Refused(int status, String message) {
            super(message);
            this.status = status;
        }
    }

    /** A named proxy: an object of the lab while it is enabled. */
    private static final class Entry {
        final String name;
        InetSocketAddress listen;
        InetSocketAddress upstream;
        SlowNetwork running;
        Map<String, ObjectNode> toxics = new LinkedHashMap<>();

        Entry(String name) {
            this.name = name;
        }

        void start() throws IOException, Refused {
            var all = new ArrayList<SlowNetwork.Toxic>();
            for (var toxic : toxics.values()) {
                all.add(toxic(toxic));
            }
            running = SlowNetwork.start(listen, upstream, SlowNetwork.Options.defaults(),
                    all.toArray(SlowNetwork.Toxic[]::new));
            listen = running.localAddress();   // for port 0, and to start again at the same one
        }

        void stop() {
            if (running != null) {
                running.close();
                running = null;
            }
        }

        ObjectNode json() {
            var json = JSON.createObjectNode().put("name", name).put("listen", shown(listen))
                    .put("upstream", shown(upstream)).put("enabled", running != null);
            json.putArray("toxics").addAll(toxics.values());
            return json;
        }
    }

    private final Map<String, Entry> proxies = new LinkedHashMap<>();

    void main(String[] args) throws IOException {
        int port = args.length == 0 ? 8474 : Integer.parseInt(args[0]);
        var server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
        server.createContext("/", this::handle);
        server.start();
        IO.println("listening on 127.0.0.1:" + server.getAddress().getPort());
        System.in.transferTo(OutputStream.nullOutputStream());
        server.stop(0);
        proxies.values().forEach(Entry::stop);
    }

    /** The server has one thread, so requests never overlap. */
    private void handle(HttpExchange call) throws IOException {
        Answer answer;
        try {
            var text = call.getRequestBody().readNBytes(64 * 1024);
            var path = call.getRequestURI().getPath().replaceAll("^/|/$", "").split("/");
            answer = route(call.getRequestMethod().replace("PATCH", "POST"), path,
                    text.length == 0 ? JSON.createObjectNode() : JSON.readTree(text));
        } catch (Refused e) {
            answer = new Answer(e.status, Map.of("error", e.getMessage(), "status", e.status));
        } catch (IllegalArgumentException | com.fasterxml.jackson.core.JacksonException e) {
            answer = new Answer(400, Map.of("error", "bad request body: " + e.getMessage(), "status", 400));
        } catch (IOException e) {
            answer = new Answer(500, Map.of("error", String.valueOf(e.getMessage()), "status", 500));
        }
        var bytes = answer.body() == null ? new byte[0] : JSON.writeValueAsBytes(answer.body());
        call.getResponseHeaders().set("Content-Type", "application/json");
        call.sendResponseHeaders(answer.status(), bytes.length == 0 ? -1 : bytes.length);
        call.getResponseBody().write(bytes);
        call.close();
    }

    private Answer route(String method, String[] path, JsonNode body) throws IOException, Refused {
        return switch (method + " " + path[0] + " " + path.length) {
            case "GET version 1" -> new Answer(200, Map.of("version", "lab-416"));
            case "POST reset 1" -> reset();
            case "POST populate 1" -> populate(body);
            case "GET proxies 1" -> new Answer(200, proxies.values().stream()
                    .collect(Collectors.toMap(entry -> entry.name, Entry::json)));
            case "POST proxies 1" -> new Answer(201, create(body).json());
            case "GET proxies 2" -> new Answer(200, find(path[1]).json());
            case "POST proxies 2" -> update(find(path[1]), body);
            case "DELETE proxies 2" -> {
                find(path[1]).stop();
                proxies.remove(path[1]);
                yield new Answer(204, null);
            }
            case "GET proxies 3" -> new Answer(200, find(path[1]).toxics.values());
            case "POST proxies 3" -> add(find(path[1]), body);
            case "GET proxies 4" -> new Answer(200, find(path[1], path[3]));
            case "POST proxies 4" -> change(find(path[1]), find(path[1], path[3]), body);
            case "DELETE proxies 4" -> {
                replace(find(path[1]), find(path[1], path[3]), Optional.empty());
                yield new Answer(204, null);
            }
            default -> throw new Refused(405, "no such method or path");
        };
    }

    private Entry find(String name) throws Refused {
        return Optional.ofNullable(proxies.get(name)).orElseThrow(() -> new Refused(404, "proxy not found"));
    }

    private ObjectNode find(String proxy, String toxic) throws Refused {
        return Optional.ofNullable(find(proxy).toxics.get(toxic))
                .orElseThrow(() -> new Refused(404, "toxic not found"));
    }

    private Entry create(JsonNode body) throws IOException, Refused {
        var entry = new Entry(required(body, "name"));
        entry.listen = address(body.path("listen").asText("127.0.0.1:0"));
        entry.upstream = address(required(body, "upstream"));
        if (proxies.containsKey(entry.name)) {
            throw new Refused(409, "proxy already exists");
        }
        if (body.path("enabled").asBoolean(true)) {
            entry.start();
        }
        proxies.put(entry.name, entry);
        return entry;
    }

    private Answer populate(JsonNode body) throws IOException, Refused {
        var all = JSON.createObjectNode();
        var list = all.putArray("proxies");
        for (var each : body) {
            var old = proxies.remove(required(each, "name"));
            if (old != null) {
                old.stop();
            }
            list.add(create(each).json());
        }
        return new Answer(201, all);
    }

    private Answer reset() throws IOException, Refused {
        for (var entry : proxies.values()) {
            for (var toxic : List.copyOf(entry.toxics.values())) {
                replace(entry, toxic, Optional.empty());
            }
            if (entry.running == null) {
                entry.start();
            }
        }
        return new Answer(204, null);
    }

    /** Fields that are missing stay as they are. */
    private Answer update(Entry entry, JsonNode body) throws IOException, Refused {
        var listen = address(body.path("listen").asText(shown(entry.listen)));
        var upstream = address(body.path("upstream").asText(shown(entry.upstream)));
        boolean enabled = body.path("enabled").asBoolean(entry.running != null);
        boolean moves = !listen.equals(entry.listen) || !upstream.equals(entry.upstream);
        entry.listen = listen;
        entry.upstream = upstream;
        if (!enabled || moves) {
            entry.stop();
        }
        if (enabled && entry.running == null) {
            entry.start();
        }
        return new Answer(200, entry.json());
    }

    private Answer add(Entry entry, JsonNode body) throws Refused {
        var toxic = JSON.createObjectNode();
        var stream = body.path("stream").asText("downstream").toLowerCase(Locale.ROOT);
        toxic.putObject("attributes").setAll((ObjectNode) body.withObject("/attributes"));
        toxic.put("name", body.path("name").asText(required(body, "type") + "_" + stream))
                .put("type", required(body, "type")).put("stream", stream)
                .put("toxicity", body.path("toxicity").asDouble(1));
        var valid = toxic(toxic);
        if (entry.toxics.putIfAbsent(valid.name(), toxic) != null) {
            throw new Refused(409, "toxic already exists");
        }
        if (entry.running != null) {
            entry.running.add(valid);
        }
        return new Answer(200, toxic);
    }

    /** Attributes that are missing stay as they are. */
    private Answer change(Entry entry, ObjectNode old, JsonNode body) throws Refused {
        var next = old.deepCopy();
        next.put("toxicity", body.path("toxicity").asDouble(old.path("toxicity").asDouble()));
        body.path("attributes").properties()
                .forEach(one -> ((ObjectNode) next.get("attributes")).set(one.getKey(), one.getValue()));
        replace(entry, old, Optional.of(next));
        return new Answer(200, next);
    }

    /** The lab has no update: a toxic is removed, and another one is added. */
    private void replace(Entry entry, ObjectNode old, Optional<ObjectNode> next) throws Refused {
        var valid = next.isPresent() ? Optional.of(toxic(next.get())) : Optional.<SlowNetwork.Toxic>empty();
        var name = old.path("name").asText();
        entry.toxics.remove(name);
        next.ifPresent(toxic -> entry.toxics.put(name, toxic));
        if (entry.running != null) {
            entry.running.remove(name);
            valid.ifPresent(entry.running::add);
        }
    }

    private static SlowNetwork.Toxic toxic(ObjectNode json) throws Refused {
        var attributes = json.path("attributes");
        if (attributes.path("jitter").asLong() != 0 || attributes.path("size_variation").asLong() != 0) {
            throw new Refused(400, "jitter and size_variation are not simulated");
        }
        var fault = switch (json.path("type").asText()) {
            case "latency" -> new SlowNetwork.Latency(millis(attributes, "latency"));
            case "bandwidth" -> new SlowNetwork.Bandwidth(attributes.path("rate").asInt());
            case "slow_close" -> new SlowNetwork.SlowClose(millis(attributes, "delay"));
            case "timeout" -> new SlowNetwork.Timeout(millis(attributes, "timeout"), 0);
            case "reset_peer" -> new SlowNetwork.ResetPeer(millis(attributes, "timeout"));
            case "limit_data" -> new SlowNetwork.LimitData(attributes.path("bytes").asLong());
            case "slicer" -> new SlowNetwork.Slicer(attributes.path("average_size").asInt(),
                    Duration.of(attributes.path("delay").asLong(), ChronoUnit.MICROS));
            default -> throw new Refused(400, "invalid toxic type");
        };
        var direction = switch (json.path("stream").asText()) {
            case "upstream" -> SlowNetwork.Direction.UPSTREAM;
            case "downstream" -> SlowNetwork.Direction.DOWNSTREAM;
            default -> throw new Refused(400, "stream was invalid, can be either upstream or downstream");
        };
        return new SlowNetwork.Toxic(json.path("name").asText(), direction, json.path("toxicity").asDouble(), fault);
    }

    private static Duration millis(JsonNode attributes, String name) {
        return Duration.ofMillis(attributes.path(name).asLong());
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

    private static String shown(InetSocketAddress address) {
        return address.getHostString() + ":" + address.getPort();
    }
}
