///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Measures lab 413 beside a peer, in one run
//SOURCES ../../solutions/413-traffic-throttle/Throttle.java

class ThrottleBench {
    void main() {
        IO.println("(to write) nothing is measured yet");
    }
}
