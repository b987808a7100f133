///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Lab 415: (to write) half a line on what the learner builds

import module java.base;

/**
 * (to write) What this is, the RFC it obeys, and its one idea.
 */
public final class DataChannelPeer {

    private DataChannelPeer() {}

    /** (to write) what this method promises. */
    public static int step1() {
        throw new UnsupportedOperationException(
                "TODO step 1: (to write) what this step asks for: Relay within a room");
    }

    /** (to write) what this method promises. */
    public static int step2() {
        throw new UnsupportedOperationException(
                "TODO step 2: (to write) what this step asks for: Answer an offer");
    }

    /** (to write) what this method promises. */
    public static int step3() {
        throw new UnsupportedOperationException(
                "TODO step 3: (to write) what this step asks for: Answer connectivity checks");
    }

    /** (to write) what this method promises. */
    public static int step4() {
        throw new UnsupportedOperationException(
                "TODO step 4: (to write) what this step asks for: Check the fingerprint");
    }

    /** (to write) what this method promises. */
    public static int step5() {
        throw new UnsupportedOperationException(
                "TODO step 5: (to write) what this step asks for: Shake hands in SCTP");
    }

    /** (to write) what this method promises. */
    public static int step6() {
        throw new UnsupportedOperationException(
                "TODO step 6: (to write) what this step asks for: Deliver data in order");
    }

    /** (to write) what this method promises. */
    public static int step7() {
        throw new UnsupportedOperationException(
                "TODO step 7: (to write) what this step asks for: Open the data channel");
    }

    // ---- given from here on ----

    private static int scene;

    /** One scene for each step. */
    public static void main(String[] args) {
        if (args.length > 0) {
            usage("""
                    lab-415         the demo, step by step
                    lab-415 help    this text""", args);
            return;
        }
        try {
            scene = 1;
            IO.println("step 1 gives " + step1());
            scene = 2;
            IO.println("step 2 gives " + step2());
            scene = 3;
            IO.println("step 3 gives " + step3());
            scene = 4;
            IO.println("step 4 gives " + step4());
            scene = 5;
            IO.println("step 5 gives " + step5());
            scene = 6;
            IO.println("step 6 gives " + step6());
            scene = 7;
            IO.println("step 7 gives " + step7());
        } catch (UnsupportedOperationException todo) {
            IO.println("\nnext: step " + scene);
            IO.println("  " + todo.getMessage());
            IO.println("  " + commands(scene));
        }
    }

    /** What to type next; the workbook's launcher says how. */
    private static String commands(int step) {
        var env = System.getenv();
        boolean isHere = env.containsKey("WORKBOOK_JBANG")
                || Files.exists(Path.of("jbang-catalog.json"));
        var jbang = env.getOrDefault("WORKBOOK_JBANG", "./jbang");
        var file = isHere ? env.getOrDefault("WORKBOOK_FILE", "")
                : "PATH/TO/DataChannelPeer.java";
        return (isHere ? "" : "in a clone of the workbook:\n  ")
                + "check  %s test-415 %s".formatted(jbang, file).strip()
                + "\n  hint   %s hint 415 %d".formatted(jbang, step);
    }

    /** What was typed is wrong, unless it was help. */
    private static void usage(String text, String... typed) {
        var words = String.join(" ", typed);
        if (words.matches("-h|(--)?help")) {
            IO.println(text);
            return;
        }
        System.err.println("not understood: " + words + "\n" + text);
        System.exit(2);
    }
}
