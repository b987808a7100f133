///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Measures lab 414 beside a peer, in one run
//SOURCES ../../solutions/414-latency-trace/LatencyTrace.java
//SOURCES ../bench/*.java

class LatencyTraceBench {
    void main() {
        IO.println("(to write) nothing is measured yet");
    }
}
