///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//SOURCES ../../../solutions/419-http-pipelining/Pipelining.java
//DESCRIPTION Pipelines GET requests: Send.java HOST PORT NUMBER PATH

import module java.base;

/** Sends the same request NUMBER times, 8 at once, and counts. */
public class Send {

    public static void main(String[] args) throws Exception {
        var server = new InetSocketAddress(args[0], Integer.parseInt(args[1]));
        var bodies = new TreeMap<String, Integer>();
        try (var client = Pipelining.Client.create(server,
                Pipelining.Options.defaults())) {
            var calls = Stream.generate(() -> client.send(
                    Pipelining.Request.get(args[3])))
                    .limit(Integer.parseInt(args[2])).toList();
            for (var call : calls) {
                var response = call.get();
                bodies.merge(response.status() + " "
                        + new String(response.body()).strip(), 1, Integer::sum);
            }
            IO.println(bodies);
            IO.println(client.stats().connectionsOpened() + " connections, "
                    + client.stats().responses() + " responses, "
                    + client.stats().retried() + " sent again");
        }
    }
}
