///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Measures lab 409 beside a peer, in one run
//SOURCES ../../solutions/409-http2-server/Http2Server.java
//SOURCES ../bench/*.java

class Http2ServerBench {
    void main() {
        IO.println("(to write) nothing is measured yet");
    }
}
