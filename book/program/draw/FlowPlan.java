package program.draw;

import module java.base;

/** The places of a flow's boxes and arrows, in «along» and «across»: which of them is x shows when it paints. */
final class FlowPlan {
    private static final Pattern ARROW = Pattern.compile("\\s+(->|-->|<->)\\s+");
    private static final int LINE = 20;
    private static final int TIP = 7;

    private record Edge(Node from, Node to, String kind, String label, int order) {}

    private record Group(String name, List<Node> nodes) {}

    private final boolean down;
    private final Map<String, Node> nodes = new LinkedHashMap<>();
    private final List<Edge> edges = new ArrayList<>();
    private final List<Edge> backward = new ArrayList<>();
    private final Map<Edge, List<Node>> routes = new LinkedHashMap<>();    // forward, with the places passed
    private final List<Group> groups = new ArrayList<>();
    private final List<List<Node>> layers = new ArrayList<>();
    private int count;

    FlowPlan(boolean down) {
        this.down = down;
    }

    // -- reading

    void read(Line line) throws Malformed {
        Matcher group = Pattern.compile("group ([^:]+):\\s*(.+)").matcher(line.text());
        if (group.matches()) {
            groups.add(group(line, group.group(1).strip(), group.group(2)));
            return;
        }
        List<String> boxes = List.of(ARROW.split(line.text()));
        List<String> arrows = ARROW.matcher(line.text()).results().map(m -> m.group(1)).toList();
        boolean unnamed = boxes.stream().anyMatch(box -> bare(box).isEmpty());
        if (arrows.isEmpty() || unnamed || boxes.getFirst().contains(": ")) {
            throw new Malformed(line, "expected box -> box: label, or group NAME: box, box");
        }
        Node before = node(boxes.getFirst());
        for (int i = 0; i < arrows.size(); i++) {
            String[] box = boxes.get(i + 1).split(":\\s+", 2);
            Node next = node(box[0]);
            if (next == before) {
                throw new Malformed(line, "an arrow from a box to itself");
            }
            edges.add(new Edge(before, next, arrows.get(i), box.length > 1 ? box[1] : "", count++));
            before = next;
        }
    }

    private Group group(Line line, String name, String boxes) throws Malformed {
        List<Node> members = new ArrayList<>();
        for (String box : boxes.split("\\s*,\\s*")) {
            if (!nodes.containsKey(bare(box))) {
                throw new Malformed(line, "no box «" + bare(box) + "» above this line");
            }
            members.add(nodes.get(bare(box)));
        }
        return new Group(name, members);
    }

    private Node node(String text) {
        Node node = nodes.computeIfAbsent(bare(text), name -> new Node(name, count++));
        if (text.strip().startsWith("(")) {
            node.kind = "round";
        } else if (text.strip().startsWith("!")) {
            node.kind = "bad";
        }
        return node;
    }

    private static String bare(String text) {
        return text.strip().replaceAll("^\\((.*)\\)$|^!", "$1").strip();
    }

    // -- layers

    void layers() {
        Set<Node> done = new HashSet<>();
        nodes.values().forEach(node -> findBackward(node, new LinkedHashSet<>(), done));
        List<Edge> forward = edges.stream().filter(edge -> !backward.contains(edge)).toList();
        for (boolean moved = true; moved; ) {   // ends, since the edges that are left have no cycle
            moved = false;
            for (Edge edge : forward) {
                if (edge.to().layer <= edge.from().layer) {
                    edge.to().layer = edge.from().layer + 1;
                    moved = true;
                }
            }
        }
        nodes.values().forEach(node -> layer(node.layer).add(node));
        forward.forEach(edge -> routes.put(edge, route(edge)));
        layers.forEach(layer -> layer.sort(Comparator.comparingInt(node -> node.order)));
    }

    private void findBackward(Node node, Set<Node> path, Set<Node> done) {
        if (!done.add(node)) {
            return;
        }
        path.add(node);
        for (Edge edge : edges) {
            if (edge.from() == node && path.contains(edge.to())) {
                backward.add(edge);
            } else if (edge.from() == node) {
                findBackward(edge.to(), path, done);
            }
        }
        path.remove(node);
    }

    private List<Node> route(Edge edge) {
        List<Node> route = new ArrayList<>(List.of(edge.from()));
        for (int layer = edge.from().layer + 1; layer < edge.to().layer; layer++) {
            var place = new Node(null, edge.order());
            layer(layer).add(place);
            route.add(place);
        }
        route.add(edge.to());
        return route;
    }

    private List<Node> layer(int number) {
        while (layers.size() <= number) {
            layers.add(new ArrayList<>());
        }
        return layers.get(number);
    }

    // -- places

    void place() {
        for (Node node : nodes.values()) {
            List<String> text = Svg.wrap(node.name, 20);
            double width = Math.max(64, text.stream().mapToDouble(Svg::width).max().orElse(0) + 28);
            double height = text.size() * LINE + 20;
            node.length = down ? height : width;
            node.breadth = down ? width : height;
        }
        double at = 0;
        for (List<Node> layer : layers) {
            double length = layer.stream().mapToDouble(node -> node.length).max().orElse(0);
            for (Node node : layer) {
                node.along = at + length / 2;
                node.length = node.name == null ? length : node.length;
            }
            spread(layer);
            at += length + gapAfter(layer);
        }
    }

    /** Each near those that lead to it, in order, without overlap. */
    private void spread(List<Node> layer) {
        double end = Double.NEGATIVE_INFINITY;
        double shift = 0;
        for (Node node : layer) {
            double wanted = wanted(node);
            double room = Math.max(node.breadth, down ? longestLabel(edge -> routes.get(edge).contains(node)
                    && edge.from() != node) : 24);
            node.across = Math.max(wanted, end + room / 2);
            end = node.across + room / 2 + (down ? 26 : 20);
            shift += (node.across - wanted) / layer.size();
        }
        for (Node node : layer) {
            node.across -= shift;
        }
    }

    private double wanted(Node node) {
        return routes.values().stream().filter(route -> route.indexOf(node) > 0)
                .mapToDouble(route -> route.get(route.indexOf(node) - 1).across).average().orElse(0);
    }

    private double gapAfter(List<Node> layer) {
        double label = longestLabel(edge -> layer.contains(edge.from()));
        double frame = groups.isEmpty() ? 0 : 14;
        return frame + (!down ? Math.max(52, label + 38) : label > 0 ? 62 : 40);
    }

    private double longestLabel(Predicate<Edge> which) {
        return routes.keySet().stream().filter(which).mapToDouble(edge -> Svg.width(edge.label())).max().orElse(0);
    }

    // -- painting

    Svg paint() {
        var svg = new Svg();
        groups.forEach(group -> frame(svg, group));
        nodes.values().forEach(node -> box(svg, node));
        double lane = down ? svg.right() : svg.bottom();
        for (Edge edge : backward) {
            lane += 24;
            around(svg, edge, lane);
        }
        routes.forEach((edge, route) -> arrow(svg, edge, route));
        return svg;
    }

    private double x(double along, double across) {
        return down ? across : along;
    }

    private double y(double along, double across) {
        return down ? along : across;
    }

    private String at(double along, double across) {
        return Svg.n(x(along, across)) + " " + Svg.n(y(along, across));
    }

    private void box(Svg svg, Node node) {
        double x = x(node.along, node.across);
        double y = y(node.along, node.across);
        double width = x(node.length, node.breadth);
        double height = y(node.length, node.breadth);
        double radius = node.kind.equals("round") ? height / 2 : 3;
        svg.box("box " + node.kind, x - width / 2, y - height / 2, width, height, radius);
        List<String> text = Svg.wrap(node.name, 20);
        for (int i = 0; i < text.size(); i++) {
            svg.text(node.kind, x, y + 5 + (i - (text.size() - 1) / 2.0) * LINE, text.get(i));
        }
    }

    private void frame(Svg svg, Group group) {
        var inside = new Svg();
        for (Node node : group.nodes()) {
            double x = x(node.along, node.across);
            double y = y(node.along, node.across);
            inside.covers(x - x(node.length, node.breadth) / 2 - 12, y - y(node.length, node.breadth) / 2 - 26);
            inside.covers(x + x(node.length, node.breadth) / 2 + 12, y + y(node.length, node.breadth) / 2 + 12);
        }
        double width = inside.right() - inside.left();
        svg.box("frame", inside.left(), inside.top(), width, inside.bottom() - inside.top(), 6);
        svg.text("small start frame-name", inside.left() + 10, inside.top() + 17, group.name());
    }

    private void arrow(Svg svg, Edge edge, List<Node> route) {
        var d = new StringBuilder("M" + at(edge.from().end(), edge.from().across));
        for (int i = 1; i < route.size(); i++) {
            Node a = route.get(i - 1);
            Node b = route.get(i);
            double end = b.begin() - (b.name == null ? 0 : TIP);
            double bend = (b.begin() - a.end()) * 0.45;
            d.append("L%sC%s %s %s".formatted(at(a.end(), a.across), at(a.end() + bend, a.across),
                    at(end - bend, b.across), at(end, b.across)));
        }
        svg.path(edge.kind().equals("-->") ? "arrow dashed" : "arrow", d.toString());
        Node to = edge.to();
        svg.arrowHead(x(to.begin(), to.across), y(to.begin(), to.across), down ? 90 : 0);
        if (edge.kind().equals("<->")) {
            Node from = edge.from();
            svg.arrowHead(x(from.end(), from.across), y(from.end(), from.across), down ? 270 : 180);
        }
        label(svg, edge.label(), route.get(0), route.get(1));
    }

    /** At the first piece of an arrow: above it, or, going down, on the side to which it bends. */
    private void label(Svg svg, String label, Node a, Node b) {
        double middle = (a.end() + b.begin()) / 2;
        double across = (a.across + b.across) / 2;
        double bend = b.across - a.across;
        if (!down) {
            svg.text("label", middle, across - 7, label);
        } else if (Math.abs(bend) < 4) {
            svg.beside(across + 9, middle + 5, label, false);
        } else {
            svg.beside(across + Math.copySign(6, bend), middle - 7, label, bend < 0);
        }
    }

    /** Below everything, or right of everything, and back. */
    private void around(Svg svg, Edge edge, double lane) {
        Node a = edge.from();
        Node b = edge.to();
        svg.path(edge.kind().equals("-->") ? "arrow dashed" : "arrow", "M%sL%sL%sL%s".formatted(
                at(a.along, a.side()), at(a.along, lane), at(b.along, lane), at(b.along, b.side() + TIP)));
        svg.arrowHead(x(b.along, b.side()), y(b.along, b.side()), down ? 180 : 270);
        svg.covers(x(a.along, lane), y(a.along, lane));
        double middle = (a.along + b.along) / 2;
        if (down) {
            svg.beside(lane + 9, middle + 5, edge.label(), false);
        } else {
            svg.text("label", middle, lane + 5, edge.label());
        }
    }
}
