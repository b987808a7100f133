///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 420's solution with coturn, and behind NATs of the Linux kernel
//SOURCES ../../../solutions/420-nat-traversal/NatTraversal.java

import module java.base;

/**
 * {@code serve IP PORT}: a STUN server.
 * {@code serve IP PORT IP PORT}: one with two addresses and two ports.
 * {@code relay HOST:PORT USER PASSWORD}: a packet through a TURN server.
 * {@code detect HOST:PORT}: the behaviour of the NAT, in one line.
 * {@code meet HOST:PORT OWN THEIRS yes|no}: punches; the two files OWN and
 * THEIRS tell the peers each other's mapped address.
 */
public final class Nat {

    private static final NatTraversal.Retransmission QUICK =
            new NatTraversal.Retransmission(Duration.ofMillis(200), 4, 4);

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "serve" -> serve(args);
            case "relay" -> relay(address(args[1]), args[2], args[3]);
            case "detect" -> detect(address(args[1]));
            default -> meet(address(args[1]), Path.of(args[2]),
                    Path.of(args[3]), args[4].equals("yes"));
        }
    }

    private static void serve(String[] args) throws Exception {
        var sockets = new ArrayList<NatTraversal.Datagrams>();
        for (int at = 1; at < args.length; at += 2) {
            for (int port = 2; port < args.length; port += 2) {
                sockets.add(NatTraversal.Datagrams.udp(new InetSocketAddress(
                        args[at], Integer.parseInt(args[port]))));
            }
        }
        IO.println("listening on " + args[1] + ":" + args[2]);
        for (int i = 0; i < sockets.size(); i++) {
            int at = i;
            Thread.ofPlatform().start(() -> answer(sockets, at));
        }
    }

    private static void answer(List<NatTraversal.Datagrams> sockets, int at) {
        try {
            while (true) {
                var packet = sockets.get(at).receive(Duration.ofMinutes(1));
                if (packet.isPresent()) {
                    NatTraversal.serveStun(sockets, at, packet.get());
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void relay(InetSocketAddress server, String user,
            String password) throws IOException {
        var loopback = new InetSocketAddress("127.0.0.1", 0);
        try (var socket = NatTraversal.Datagrams.udp(loopback);
             var peer = NatTraversal.Datagrams.udp(loopback);
             var turn = NatTraversal.TurnClient.allocate(
                     new NatTraversal.StunClient(socket, QUICK), server, user,
                     password)) {
            IO.println("allocated " + turn.localAddress().getAddress());
            peer.send(turn.localAddress(), "too early".getBytes());
            IO.println("without a permission: " + text(turn));
            turn.permit(loopback.getAddress());
            peer.send(turn.localAddress(), "hello".getBytes());
            IO.println("with a permission: " + text(turn));
            turn.send(peer.localAddress(), "and back".getBytes());
            IO.println("the peer: " + text(peer));
        } catch (NatTraversal.StunException e) {
            IO.println("refused: " + e.code());
        }
    }

    private static String text(NatTraversal.Datagrams socket)
            throws IOException {
        return socket.receive(Duration.ofSeconds(1))
                .map(p -> new String(p.data())).orElse("nothing");
    }

    private static void detect(InetSocketAddress server) throws IOException {
        var found = NatTraversal.discover(Nat::socket, server, QUICK);
        IO.println("  mapping   " + found.behavior().mapping()
                + "\n  filtering " + found.behavior().filtering());
    }

    private static void meet(InetSocketAddress server, Path own, Path theirs,
            boolean initiator) throws Exception {
        try (var socket = socket()) {
            var mapped = new NatTraversal.StunClient(socket, QUICK)
                    .mappedAddress(server);
            var draft = Path.of(own + ".new");
            Files.writeString(draft, mapped.getHostString() + ":"
                    + mapped.getPort());
            Files.move(draft, own);
            while (!Files.exists(theirs)) {
                Thread.sleep(10);   // the other JVM is still starting
            }
            var result = NatTraversal.punch(new NatTraversal.Peer(socket,
                    "secret", initiator), List.of(address(Files.readString(
                    theirs))), Duration.ofSeconds(3));
            if (initiator) {
                IO.println(result.isPresent() ? "met" : "not met");
            }
        }
    }

    /** On the address of this namespace that leads to the NAT. */
    private static NatTraversal.Datagrams socket() {
        try (var way = new DatagramSocket()) {
            way.connect(new InetSocketAddress("203.0.113.254", 9));
            return NatTraversal.Datagrams.udp(
                    new InetSocketAddress(way.getLocalAddress(), 0));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static InetSocketAddress address(String text) {
        int colon = text.lastIndexOf(':');
        return new InetSocketAddress(text.substring(0, colon),
                Integer.parseInt(text.substring(colon + 1)));
    }
}
