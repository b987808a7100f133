package kit;

import java.io.IOException;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.NetworkInterface;
import java.net.PortUnreachableException;
import java.net.SocketAddress;
import java.net.SocketOption;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.DatagramChannel;
import java.nio.channels.MembershipKey;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A connected, non-blocking datagram channel that writes as a script says, one {@link Fate} for each write, and as the
 * system does when the script is over. Closed when the test ends.
 */
public final class ScriptedChannel extends DatagramChannel {

    /** What becomes of one write. */
    public enum Fate {
        PASSES("passes"),
        /** The kernel has no room: 0 bytes are written. */
        FULL("wrote 0 bytes, as the test has set up"),
        /** An older datagram found nobody listening; this one is not sent. */
        REFUSED("threw PortUnreachableException, as the test has set up"),
        FAILS("threw IOException, as the test has set up"),
        /** Goes out when the test calls {@link ScriptedChannel#release}. */
        HELD("waits until the test lets it go on");

        private final String words;

        Fate(String words) {
            this.words = words;
        }
    }

    private final DatagramChannel channel;
    private final Queue<Fate> script = new ConcurrentLinkedQueue<>();
    private final AtomicInteger writes = new AtomicInteger();
    private final CountDownLatch held = new CountDownLatch(1);
    private final CountDownLatch released = new CountDownLatch(1);

    private ScriptedChannel(DatagramChannel channel) {
        super(channel.provider());
        this.channel = channel;
    }

    /** Only one write of a script may be held. */
    public static ScriptedChannel to(InetSocketAddress address, Fate... script) throws IOException {
        var faulty = TestLifecycle.closeLater(new ScriptedChannel(DatagramChannel.open()));
        faulty.script.addAll(List.of(script));
        faulty.configureBlocking(false);
        faulty.connect(address);
        return faulty;
    }

    /** Calls of write so far. */
    public int writes() {
        return writes.get();
    }

    /** Until a write is held up. */
    public void awaitHeld(String likely) throws InterruptedException {
        Await.open(held, "that a packet is written", likely);
    }

    /** Lets the held write go on. */
    public void release() {
        released.countDown();
    }

    @FunctionalInterface
    private interface Write {
        long run() throws IOException;
    }

    private long write(Write real) throws IOException {
        if (!isOpen()) {
            throw new ClosedChannelException();
        }
        int number = writes.incrementAndGet();
        var next = script.poll();
        var fate = next == null ? Fate.PASSES : next;
        if (fate != Fate.PASSES) {
            History.note("write " + number + " of the channel " + fate.words);
        }
        return switch (fate) {
            case PASSES -> noted(number, real);
            case FULL -> 0;
            case REFUSED -> throw new PortUnreachableException("set up by the test");
            case FAILS -> throw new IOException("set up by the test");
            case HELD -> {
                held.countDown();
                awaitRelease();
                yield noted(number, real);
            }
        };
    }

    private static long noted(int number, Write real) throws IOException {
        try {
            long bytes = real.run();
            History.note("write %d of the channel wrote %d bytes".formatted(number, bytes));
            return bytes;
        } catch (IOException e) {
            History.note("write %d of the channel threw %s".formatted(number, e.getClass().getSimpleName()));
            throw e;
        }
    }

    /** An interrupt does not end it: a non-blocking write is not interruptible. */
    private void awaitRelease() {
        boolean interrupted = false;
        long end = System.nanoTime() + Patience.duration().toNanos();
        while (released.getCount() > 0 && System.nanoTime() - end < 0) {
            try {
                released.await(end - System.nanoTime(), TimeUnit.NANOSECONDS);
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public int write(ByteBuffer packet) throws IOException {
        return (int) write(() -> channel.write(packet));
    }

    @Override
    public long write(ByteBuffer[] parts, int offset, int length) throws IOException {
        return write(() -> channel.write(parts, offset, length));
    }

    @Override
    public int send(ByteBuffer packet, SocketAddress target) throws IOException {
        return (int) write(() -> channel.send(packet, target));
    }

    @Override
    public int read(ByteBuffer into) throws IOException {
        return channel.read(into);
    }

    @Override
    public long read(ByteBuffer[] into, int offset, int length) throws IOException {
        return channel.read(into, offset, length);
    }

    @Override
    public SocketAddress receive(ByteBuffer into) throws IOException {
        return channel.receive(into);
    }

    @Override
    public DatagramChannel bind(SocketAddress local) throws IOException {
        channel.bind(local);
        return this;
    }

    @Override
    public DatagramChannel connect(SocketAddress remote) throws IOException {
        channel.connect(remote);
        return this;
    }

    @Override
    public DatagramChannel disconnect() throws IOException {
        channel.disconnect();
        return this;
    }

    @Override
    public boolean isConnected() {
        return channel.isConnected();
    }

    @Override
    public SocketAddress getRemoteAddress() throws IOException {
        return channel.getRemoteAddress();
    }

    @Override
    public SocketAddress getLocalAddress() throws IOException {
        return channel.getLocalAddress();
    }

    @Override
    public DatagramSocket socket() {
        return channel.socket();
    }

    @Override
    public <T> DatagramChannel setOption(SocketOption<T> name, T value) throws IOException {
        channel.setOption(name, value);
        return this;
    }

    @Override
    public <T> T getOption(SocketOption<T> name) throws IOException {
        return channel.getOption(name);
    }

    @Override
    public Set<SocketOption<?>> supportedOptions() {
        return channel.supportedOptions();
    }

    @Override
    public MembershipKey join(InetAddress group, NetworkInterface on) throws IOException {
        return channel.join(group, on);
    }

    @Override
    public MembershipKey join(InetAddress group, NetworkInterface on, InetAddress source) throws IOException {
        return channel.join(group, on, source);
    }

    @Override
    protected void implCloseSelectableChannel() throws IOException {
        channel.close();
    }

    @Override
    protected void implConfigureBlocking(boolean block) throws IOException {
        channel.configureBlocking(block);
    }
}
