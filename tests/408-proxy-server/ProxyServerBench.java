///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Measures lab 408 beside a peer, in one run
//SOURCES ../../solutions/408-proxy-server/ProxyServer.java

class ProxyServerBench {
    void main() {
        IO.println("(to write) nothing is measured yet");
    }
}
