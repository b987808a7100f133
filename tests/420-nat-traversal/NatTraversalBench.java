///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Measures lab 420 beside a peer, in one run
//SOURCES ../../solutions/420-nat-traversal/NatTraversal.java
//SOURCES ../bench/*.java

class NatTraversalBench {
    void main() {
        IO.println("(to write) nothing is measured yet");
    }
}
