///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Measures lab 416 beside a peer, in one run
//SOURCES ../../solutions/416-slow-network/SlowNetwork.java
//SOURCES ../bench/*.java

class SlowNetworkBench {
    void main() {
        IO.println("(to write) nothing is measured yet");
    }
}
