package grader.box;

import module java.base;

/** Runs in a box that is tried: Java starts there, reads the class path, and reaches itself by the network. */
final class Inside {
    static final String WORKS = "a Java machine works in the box";

    private Inside() {}

    public static void main(String[] args) throws IOException {
        try (var listening = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
             var socket = new Socket(listening.getInetAddress(), listening.getLocalPort())) {
            IO.println(socket.isConnected() ? WORKS : "");
        }
    }
}
