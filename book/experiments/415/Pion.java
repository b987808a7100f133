///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 415: pion, WebRTC in Go, offers a data channel to the lab's peer
//SOURCES ../../../solutions/415-webrtc-data-channel/DataChannelPeer.java

import module java.base;

/** Runs pion.go with Debian's packages. What is printed does not depend on time. */
class Pion {

    public static void main(String[] args) throws Exception {
        var builder = new ProcessBuilder("go", "run", "book/experiments/415/pion.go")
                .redirectError(ProcessBuilder.Redirect.INHERIT);
        builder.environment().putAll(Map.of("GO111MODULE", "off", "GOPATH", "/usr/share/gocode"));
        var pion = builder.start();
        var closed = new CompletableFuture<DataChannelPeer.CloseReason>();
        try (var input = pion.outputWriter()) {
            var offer = new String(Base64.getDecoder().decode(pion.inputReader().readLine()));
            IO.println("max-message-size in the offer: " + offer.lines()
                    .filter(line -> line.startsWith("a=max-message-size")).findFirst().orElse("none"));
            var peer = DataChannelPeer.start(new InetSocketAddress("127.0.0.1", 0), offer,
                    new DataChannelPeer.Listener() {
                        @Override
                        public void onClosed(DataChannelPeer.CloseReason reason) {
                            closed.complete(reason);
                        }
                    }, DataChannelPeer.Options.defaults());
            input.write(Base64.getEncoder().encodeToString(peer.answer().getBytes()) + "\n");
            input.flush();
            IO.println(closed.get(60, TimeUnit.SECONDS));
        }
        pion.waitFor(); // it ends with its standard input
        System.exit(0);
    }
}
