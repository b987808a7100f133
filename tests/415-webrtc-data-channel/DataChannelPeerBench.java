///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Measures lab 415's peer beside webrtc-java's, in one run
//DEPS dev.onvoid.webrtc:webrtc-java:0.14.0
//DEPS dev.onvoid.webrtc:webrtc-java:0.14.0:linux-x86_64
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED
//SOURCES ../../solutions/415-webrtc-data-channel/DataChannelPeer.java
//SOURCES ../bench/*.java

import module java.base;

import bench.Arguments;
import bench.Figures;
import dev.onvoid.webrtc.CreateSessionDescriptionObserver;
import dev.onvoid.webrtc.PeerConnectionFactory;
import dev.onvoid.webrtc.PeerConnectionObserver;
import dev.onvoid.webrtc.PortAllocatorConfig;
import dev.onvoid.webrtc.RTCAnswerOptions;
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

/**
 * Two channels of the same offering side, webrtc-java: one to the lab's peer, one to webrtc-java. Both are open all the
 * time and take turns in one JVM; only their ratio means anything.
 */
final class DataChannelPeerBench {

    private static final String USAGE = """
            ./jbang bench 415              round trips of 1 KiB and 16 MiB one way, beside webrtc-java
                --rounds N                 measured rounds, each of both channels (5)
                --seconds N                length of one measurement of round trips (2)
            ./jbang bench 415 --help       this text""";
    private static final int PIECE = 65_536;
    private static final int PIECES = 256;
    private static final RTCConfiguration LOOPBACK = new RTCConfiguration();
    private static final PeerConnectionFactory FACTORY = new PeerConnectionFactory(new HeadlessAudioDeviceModule());

    public static void main(String[] args) throws Exception {
        var given = Arguments.of(args, USAGE);
        int rounds = given.number("--rounds", 5, 999);
        int seconds = given.number("--seconds", 2, 999);
        given.end();
        LOOPBACK.portAllocatorConfig = new PortAllocatorConfig()
                .setDisableAdapterEnumeration(true).setEnableAnyAddressPorts(true);
        var channels = List.of(toOurs(), toWebRtcJava());
        var trips = List.of(new ArrayList<Double>(), new ArrayList<Double>());
        var rates = List.of(new ArrayList<Double>(), new ArrayList<Double>());
        for (int round = 0; round <= rounds; round++) {   // the first warms up
            for (int i = 0; i < 2; i++) {
                int which = (round + i) % 2;
                double trip = roundTrips(channels.get(which), seconds);
                double rate = oneWay(channels.get(which));
                if (round > 0) {
                    trips.get(which).add(trip);
                    rates.get(which).add(rate);
                }
            }
        }
        IO.println("%d rounds, after one to warm up; all share %d processors\n".formatted(rounds,
                Runtime.getRuntime().availableProcessors()));
        tell("round trips of 1,024 bytes", "%,.0f/s", trips);
        tell("16 MiB one way, to the peer", "%.1f MB/s", rates);
        channels.forEach(End::close);
        System.exit(0);
    }

    private static void tell(String what, String format, List<ArrayList<Double>> figures) {
        var ratios = IntStream.range(0, figures.getFirst().size())
                .mapToObj(i -> figures.get(0).get(i) / figures.get(1).get(i)).toList();
        IO.println("%s\n  this lab         %s\n  webrtc-java      %s\n  ratio            %s, target 0.5\n".formatted(what,
                Figures.spread(format, figures.get(0)), Figures.spread(format, figures.get(1)),
                Figures.spread("%.2f", ratios)));
    }

    private static double roundTrips(End end, int seconds) throws Exception {
        var message = new byte[1024];
        long start = System.nanoTime();
        long count = 0;
        while (System.nanoTime() - start < seconds * 1_000_000_000L) {
            end.send(message);
            end.await();
            count++;
        }
        return count / ((System.nanoTime() - start) / 1e9);
    }

    /** The other side answers the last piece. */
    private static double oneWay(End end) throws Exception {
        var piece = new byte[PIECE];
        long start = System.nanoTime();
        for (int i = 0; i < PIECES; i++) {
            end.send(piece);
        }
        end.await();
        return (double) PIECE * PIECES / ((System.nanoTime() - start) / 1e3);
    }

    /** What both answering sides do with a message. */
    private static final class Answers {
        private int pieces;

        Optional<byte[]> to(byte[] message) {
            if (message.length != PIECE) {
                return Optional.of(message);
            }
            pieces++;
            return pieces % PIECES == 0 ? Optional.of(new byte[1]) : Optional.empty();
        }
    }

    private static End toOurs() throws Exception {
        var self = new CompletableFuture<DataChannelPeer>();
        var answers = new Answers();
        var offerer = new End(true);
        self.complete(DataChannelPeer.start(new InetSocketAddress("127.0.0.1", 0), offerer.create(),
                new DataChannelPeer.Listener() {
                    @Override
                    public void onBinary(byte[] bytes) throws IOException {
                        var answer = answers.to(bytes);
                        if (answer.isPresent()) {
                            self.join().send(answer.get());
                        }
                    }

                    @Override
                    public void onClosed(DataChannelPeer.CloseReason reason) {
                        if (reason instanceof DataChannelPeer.CloseReason.Failed) {
                            Arguments.giveUp("the channel of this lab was closed: " + reason);
                        }
                    }
                }, DataChannelPeer.Options.defaults()));
        offerer.set(false, RTCSdpType.ANSWER, self.join().answer());
        offerer.opened.get(20, TimeUnit.SECONDS);
        return offerer;
    }

    private static End toWebRtcJava() throws Exception {
        var offerer = new End(true);
        var answerer = new End(false);
        offerer.other = answerer;
        answerer.other = offerer;
        var offer = offerer.create();
        answerer.set(false, RTCSdpType.OFFER, offer);
        offerer.set(false, RTCSdpType.ANSWER, answerer.create());
        offerer.early.forEach(answerer.connection::addIceCandidate);
        answerer.early.forEach(offerer.connection::addIceCandidate);
        offerer.other.mayAdd = true;
        offerer.mayAdd = true;
        offerer.opened.get(20, TimeUnit.SECONDS);
        return offerer;
    }

    /** One side of webrtc-java. */
    private static final class End implements PeerConnectionObserver, RTCDataChannelObserver {
        private final boolean offers;
        private final CompletableFuture<Void> opened = new CompletableFuture<>();
        private final BlockingQueue<Integer> got = new LinkedBlockingQueue<>();
        private final List<RTCIceCandidate> early = new CopyOnWriteArrayList<>();
        private final Answers answers = new Answers();
        private final RTCPeerConnection connection;
        private RTCDataChannel channel;
        private volatile boolean mayAdd;
        private End other;

        End(boolean offers) {
            this.offers = offers;
            connection = FACTORY.createPeerConnection(LOOPBACK, this);
            if (offers) {
                onDataChannel(connection.createDataChannel("bench", new RTCDataChannelInit()));
            }
        }

        /** The offer or the answer, which is then the local description. */
        String create() throws Exception {
            var created = new CompletableFuture<RTCSessionDescription>();
            var observer = new CreateSessionDescriptionObserver() {
                @Override
                public void onSuccess(RTCSessionDescription description) {
                    created.complete(description);
                }

                @Override
                public void onFailure(String error) {
                    created.completeExceptionally(new IOException(error));
                }
            };
            if (offers) {
                connection.createOffer(new RTCOfferOptions(), observer);
            } else {
                connection.createAnswer(new RTCAnswerOptions(), observer);
            }
            var description = created.get(20, TimeUnit.SECONDS);
            set(true, description.sdpType, description.sdp);
            return description.sdp;
        }

        void set(boolean local, RTCSdpType type, String sdp) throws Exception {
            var done = new CompletableFuture<Void>();
            var observer = new SetSessionDescriptionObserver() {
                @Override
                public void onSuccess() {
                    done.complete(null);
                }

                @Override
                public void onFailure(String error) {
                    done.completeExceptionally(new IOException(error));
                }
            };
            var description = new RTCSessionDescription(type, sdp);
            if (local) {
                connection.setLocalDescription(description, observer);
            } else {
                connection.setRemoteDescription(description, observer);
            }
            done.get(20, TimeUnit.SECONDS);
        }

        @Override
        public void onIceCandidate(RTCIceCandidate candidate) {
            if (mayAdd) {
                other.connection.addIceCandidate(candidate);
            } else {
                early.add(candidate);
            }
        }

        @Override
        public void onDataChannel(RTCDataChannel opened) {
            channel = opened;
            channel.registerObserver(this);
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
            if (offers) {
                got.add(bytes.length);
            } else {
                answers.to(bytes).ifPresent(this::send);
            }
        }

        void send(byte[] bytes) {
            try {
                while (channel.getBufferedAmount() > 8_000_000) {
                    Thread.sleep(1);
                }
                channel.send(new RTCDataChannelBuffer(ByteBuffer.wrap(bytes), true));
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        }

        void close() {
            Optional.ofNullable(other).ifPresent(each -> each.connection.close());
            connection.close();
        }

        void await() throws Exception {
            Objects.requireNonNull(got.poll(60, TimeUnit.SECONDS), "no answer within 60 s");
        }
    }
}
