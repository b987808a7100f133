///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Measures lab 419 beside a peer, in one run
//SOURCES ../../solutions/419-http-pipelining/Pipelining.java
//SOURCES ../bench/*.java

class PipeliningBench {
    void main() {
        IO.println("(to write) nothing is measured yet");
    }
}
