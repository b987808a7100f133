///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Measures lab 412 beside a peer, in one run
//SOURCES ../../solutions/412-zero-allocation-server/ServerDuel.java
//SOURCES ../bench/*.java

class ServerDuelBench {
    void main() {
        IO.println("(to write) nothing is measured yet");
    }
}
