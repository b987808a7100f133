///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Measures lab 411 beside a peer, in one run
//SOURCES ../../solutions/411-socket-deadlines/DeadlineSocket.java

class DeadlineSocketBench {
    void main() {
        IO.println("(to write) nothing is measured yet");
    }
}
