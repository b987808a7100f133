///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 415: webrtc-java (libwebrtc by JNI) opens a data channel to the lab's peer
//DEPS dev.onvoid.webrtc:webrtc-java:0.14.0
//DEPS dev.onvoid.webrtc:webrtc-java:0.14.0:linux-x86_64
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED
//SOURCES ../../../solutions/415-webrtc-data-channel/DataChannelPeer.java

import module java.base;

import dev.onvoid.webrtc.CreateSessionDescriptionObserver;
import dev.onvoid.webrtc.PeerConnectionFactory;
import dev.onvoid.webrtc.PeerConnectionObserver;
import dev.onvoid.webrtc.PortAllocatorConfig;
import dev.onvoid.webrtc.RTCConfiguration;
import dev.onvoid.webrtc.RTCDataChannel;
import dev.onvoid.webrtc.RTCDataChannelBuffer;
import dev.onvoid.webrtc.RTCDataChannelInit;
import dev.onvoid.webrtc.RTCDataChannelObserver;
import dev.onvoid.webrtc.RTCDataChannelState;
import dev.onvoid.webrtc.RTCIceCandidate;
import dev.onvoid.webrtc.RTCOfferOptions;
import dev.onvoid.webrtc.RTCPeerConnection;
import dev.onvoid.webrtc.RTCSdpType;
import dev.onvoid.webrtc.RTCSessionDescription;
import dev.onvoid.webrtc.SetSessionDescriptionObserver;
import dev.onvoid.webrtc.media.audio.HeadlessAudioDeviceModule;

/** The offering side in the same JVM. What is printed does not depend on time. */
class WebRtcJava {

    private static final int LARGE = 262_144;

    public static void main(String[] args) throws Exception {
        var atJava = new LinkedBlockingQueue<String>();
        var offerer = new Offerer();
        var peer = DataChannelPeer.start(new InetSocketAddress("127.0.0.1", 0), offerer.offer(),
                new DataChannelPeer.Listener() {
                    @Override
                    public void onOpen(String label) {
                        atJava.add(label);
                    }

                    @Override
                    public void onText(String text) {
                        atJava.add("text " + text);
                    }

                    @Override
                    public void onBinary(byte[] bytes) {
                        atJava.add(bytes.length + " bytes, hash " + Arrays.hashCode(bytes));
                    }

                    @Override
                    public void onClosed(DataChannelPeer.CloseReason reason) {
                        atJava.add(reason.toString());
                    }
                }, DataChannelPeer.Options.defaults());
        offerer.answered(peer.answer());
        show("open", next(atJava));
        offerer.opened.get(20, TimeUnit.SECONDS);

        var large = new byte[LARGE];
        new Random(415).nextBytes(large);
        offerer.channel.send(new RTCDataChannelBuffer(ByteBuffer.wrap("hello".getBytes()), false));
        peer.send("good day");
        show("text", next(atJava) + " / " + next(offerer.got));
        offerer.channel.send(new RTCDataChannelBuffer(ByteBuffer.wrap(large), true));
        peer.send(large);
        show("256 KiB", next(atJava) + " / " + next(offerer.got));
        offerer.channel.close();
        show("close", next(atJava));
        offerer.connection.close();
        System.exit(0);
    }

    private static String next(BlockingQueue<String> queue) throws Exception {
        return Optional.ofNullable(queue.poll(20, TimeUnit.SECONDS)).orElseThrow(TimeoutException::new);
    }

    private static void show(String what, String seen) {
        IO.println("%-8s %s".formatted(what, seen));
    }

    private static final class Offerer implements PeerConnectionObserver, RTCDataChannelObserver {
        private final BlockingQueue<String> got = new LinkedBlockingQueue<>();
        private final CompletableFuture<Void> opened = new CompletableFuture<>();
        private final PeerConnectionFactory factory = new PeerConnectionFactory(new HeadlessAudioDeviceModule());
        private final RTCPeerConnection connection;
        private final RTCDataChannel channel;

        Offerer() {
            var configuration = new RTCConfiguration();
            configuration.portAllocatorConfig = new PortAllocatorConfig()
                    .setDisableAdapterEnumeration(true).setEnableAnyAddressPorts(true);   // loopback, too
            connection = factory.createPeerConnection(configuration, this);
            channel = connection.createDataChannel("chat", new RTCDataChannelInit());
            channel.registerObserver(this);
        }

        String offer() throws Exception {
            var created = new CompletableFuture<RTCSessionDescription>();
            connection.createOffer(new RTCOfferOptions(), new CreateSessionDescriptionObserver() {
                @Override
                public void onSuccess(RTCSessionDescription description) {
                    created.complete(description);
                }

                @Override
                public void onFailure(String error) {
                    created.completeExceptionally(new IOException(error));
                }
            });
            connection.setLocalDescription(created.get(20, TimeUnit.SECONDS), new Done());
            return created.get().sdp;
        }

        void answered(String answer) {
            connection.setRemoteDescription(new RTCSessionDescription(RTCSdpType.ANSWER, answer), new Done());
        }

        @Override
        public void onIceCandidate(RTCIceCandidate candidate) {
            // An ICE-lite agent does not need it.
        }

        @Override
        public void onBufferedAmountChange(long previous) {}

        @Override
        public void onStateChange() {
            if (channel.getState() == RTCDataChannelState.OPEN) {
                opened.complete(null);
            }
        }

        @Override
        public void onMessage(RTCDataChannelBuffer buffer) {
            var bytes = new byte[buffer.data.remaining()];
            buffer.data.get(bytes);
            got.add(buffer.binary ? bytes.length + " bytes, hash " + Arrays.hashCode(bytes)
                    : "text " + new String(bytes));
        }
    }

    private static final class Done implements SetSessionDescriptionObserver {
        @Override
        public void onSuccess() {}

        @Override
        public void onFailure(String error) {
            IO.println("failed: " + error);
        }
    }
}
