///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DEPS io.netty:netty-transport:4.2.18.Final

import module java.base;

import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerSocketChannel;

/** A server that writes one prepared response of 78 bytes 10,000 times, with a small send buffer. */
public class SharedView {

    static final int TIMES = 10_000;

    public static void main(String[] args) throws Exception {
        for (var how : List.of("one view for the connection", "a view for each write")) {
            IO.println("%-30s %,9d of %,d bytes arrive".formatted(how, received(how.startsWith("a view")), 78 * TIMES));
        }
    }

    static long received(boolean viewForEach) throws Exception {
        var group = new MultiThreadIoEventLoopGroup(1, NioIoHandler.newFactory());
        var response = Unpooled.unreleasableBuffer(Unpooled.directBuffer().writeBytes("r".repeat(78).getBytes()));
        var bound = new ServerBootstrap().group(group).channel(NioServerSocketChannel.class)
                .childOption(ChannelOption.SO_SNDBUF, 8 * 1024)
                .childHandler(new ChannelInitializer<Channel>() {
                    @Override
                    protected void initChannel(Channel channel) {
                        channel.pipeline().addLast(new Writer(response, viewForEach));
                    }
                }).bind("127.0.0.1", 0).sync().channel();
        try (var socket = new Socket("127.0.0.1", ((InetSocketAddress) bound.localAddress()).getPort())) {
            return socket.getInputStream().readAllBytes().length;
        } finally {
            group.shutdownGracefully(0, 5, TimeUnit.SECONDS).sync();
        }
    }

    static class Writer extends ChannelInboundHandlerAdapter {
        final ByteBuf response;
        final boolean viewForEach;

        Writer(ByteBuf response, boolean viewForEach) {
            this.response = response;
            this.viewForEach = viewForEach;
        }

        @Override
        public void channelActive(ChannelHandlerContext ctx) {
            var view = response.duplicate();
            for (int i = 0; i < TIMES; i++) {
                ctx.write(viewForEach ? response.duplicate() : view);
            }
            ctx.writeAndFlush(Unpooled.EMPTY_BUFFER).addListener(_ -> ctx.close());
        }
    }
}
