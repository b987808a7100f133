///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Measures lab 418 beside a peer, in one run
//SOURCES ../../solutions/418-dns-lookups/DnsLookup.java
//SOURCES ../bench/*.java

class DnsLookupBench {
    void main() {
        IO.println("(to write) nothing is measured yet");
    }
}
