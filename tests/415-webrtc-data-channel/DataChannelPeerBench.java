///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Measures lab 415 beside a peer, in one run
//SOURCES ../../solutions/415-webrtc-data-channel/DataChannelPeer.java
//SOURCES ../bench/*.java

class DataChannelPeerBench {
    void main() {
        IO.println("(to write) nothing is measured yet");
    }
}
