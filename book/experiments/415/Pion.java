///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 415: pion, WebRTC in Go, opens a data channel to the lab's peer
//SOURCES ../../../solutions/415-webrtc-data-channel/DataChannelPeer.java

import module java.base;

/** Runs pion.go with Debian's packages. What is printed does not depend on time. */
class Pion {

    public static void main(String[] args) throws Exception {
        var builder = new ProcessBuilder("go", "run", "book/experiments/415/pion.go")
                .redirectError(ProcessBuilder.Redirect.INHERIT);
        builder.environment().putAll(Map.of("GO111MODULE", "off", "GOPATH", "/usr/share/gocode"));
        var pion = builder.start();
        var output = pion.inputReader();
        var offer = new String(Base64.getDecoder().decode(output.readLine()));
        IO.println("max-message-size in the offer: " + offer.lines()
                .filter(line -> line.startsWith("a=max-message-size")).findFirst().orElse("none"));
        var self = new CompletableFuture<DataChannelPeer>();
        var closed = new CountDownLatch(1);
        self.complete(DataChannelPeer.start(new InetSocketAddress("127.0.0.1", 0), offer,
                new DataChannelPeer.Listener() {
                    @Override
                    public void onText(String text) {
                        IO.println("Java got " + text);
                        send("hello from Java", new byte[0]);
                    }

                    @Override
                    public void onBinary(byte[] bytes) {
                        IO.println("Java got " + bytes.length + " bytes");
                        send("", bytes);
                    }

                    private void send(String text, byte[] bytes) {
                        try {
                            if (bytes.length > 0) {
                                self.join().send(bytes);
                            } else {
                                self.join().send(text);
                            }
                            IO.println(output.readLine());
                        } catch (IOException e) {
                            throw new UncheckedIOException(e);
                        }
                    }

                    @Override
                    public void onClosed(DataChannelPeer.CloseReason reason) {
                        IO.println("closed: " + reason);
                        closed.countDown();
                    }
                }, DataChannelPeer.Options.defaults()));
        try (var input = pion.outputWriter()) {
            input.write(Base64.getEncoder().encodeToString(self.join().answer().getBytes()) + "\n");
            input.flush();
            if (!closed.await(60, TimeUnit.SECONDS)) {
                throw new TimeoutException("the channel was not closed within 60 s");
            }
        } finally {
            pion.descendants().forEach(ProcessHandle::destroy);
            pion.destroy();
        }
        System.exit(0);
    }
}
