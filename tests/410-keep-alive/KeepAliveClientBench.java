///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Measures lab 410 beside a peer, in one run
//SOURCES ../../solutions/410-keep-alive/KeepAliveClient.java

class KeepAliveClientBench {
    void main() {
        IO.println("(to write) nothing is measured yet");
    }
}
