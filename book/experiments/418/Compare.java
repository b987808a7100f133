///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//SOURCES ../../../solutions/418-dns-lookups/DnsLookup.java

import module java.base;
import module java.naming;

/**
 * One question, three resolvers: this lab's, the JDK's JNDI provider, and
 * InetAddress with a hosts file. Compare.java HOST:PORT
 */
class Compare {

    public static void main(String[] args) throws Exception {
        var hosts = Files.createTempFile("hosts", "");
        Files.writeString(hosts, "10.0.0.99 www.lab.test\n");
        System.setProperty("jdk.net.hosts.file", hosts.toString());
        var server = args[0];
        int colon = server.indexOf(':');
        var dns = DnsLookup.create(DnsLookup.Options.of(new InetSocketAddress(
                server.substring(0, colon),
                Integer.parseInt(server.substring(colon + 1)))));
        for (var name : List.of("www.lab.test", "nope.lab.test")) {
            for (var type : List.of("A", "MX")) {
                show("DnsLookup", name, type, () -> dns.query(name,
                        DnsLookup.Type.valueOf(type)));
                show("JNDI", name, type, () -> new InitialDirContext(
                        new Hashtable<>(Map.of(
                                "java.naming.factory.initial",
                                "com.sun.jndi.dns.DnsContextFactory",
                                "java.naming.provider.url", "dns://" + server)))
                        .getAttributes(name, new String[] {type}));
            }
            show("InetAddress", name, "  ", () -> Arrays.toString(
                    InetAddress.getAllByName(name)));
        }
        for (var literal : List.of("1.2", "300.1.1.1")) {
            show("InetAddress", literal, "  ", () -> InetAddress.getByName(
                    literal));
            show("ofLiteral", literal, "  ", () -> InetAddress.ofLiteral(
                    literal));
        }
        Files.delete(hosts);
    }

    private static void show(String who, String name, String type,
            Callable<?> what) {
        String seen;
        try {
            seen = what.call().toString();
        } catch (Exception e) {
            seen = e.getClass().getSimpleName() + ": " + e.getMessage();
        }
        IO.println("%-12s%-14s%-3s %s".formatted(who, name, type,
                seen.replaceAll("\\s*hosts file.*", " hosts file")));
    }
}
