package program.draw;

import module java.base;

/** A box of a flow, or, without a name, the place in a layer where a long arrow passes. */
final class Node {
    final String name;
    final int order;
    String kind = "";
    int layer;
    double along;       // the centre, in the direction of the flow
    double across;
    double length;      // the size along it
    double breadth;

    Node(String name, int order) {
        this.name = name;
        this.order = order;
    }

    double begin() {
        return along - length / 2;
    }

    double end() {
        return along + length / 2;
    }

    double side() {
        return across + breadth / 2;
    }
}
