///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Measures lab 417 beside a peer, in one run
//SOURCES ../../solutions/417-pool-vs-multiplex/PoolVsMultiplex.java
//SOURCES ../bench/*.java

class PoolVsMultiplexBench {
    void main() {
        IO.println("(to write) nothing is measured yet");
    }
}
