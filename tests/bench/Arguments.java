package bench;

import module java.base;

/** What was typed behind {@code bench 4NN}. A program that cannot use it says why, and ends with status 2. */
public final class Arguments {
    private final List<String> left;
    private final String usage;

    private Arguments(List<String> left, String usage) {
        this.left = left;
        this.usage = usage;
    }

    /** Prints the usage and ends the program if help is asked for. */
    public static Arguments of(String[] args, String usage) {
        var given = new Arguments(new ArrayList<>(List.of(args)), usage);
        if (given.has("--help") || given.has("help")) {
            IO.println(usage);
            System.exit(0);
        }
        return given;
    }

    public boolean has(String option) {
        return left.remove(option);
    }

    /** The number behind the option, from 1 to {@code most}; {@code usual} if the option is not there. */
    public int number(String option, int usual, int most) {
        int at = left.lastIndexOf(option);
        if (at < 0) {
            return usual;
        }
        var text = at + 1 < left.size() ? left.get(at + 1) : "nothing";
        if (!text.matches("[1-9][0-9]{0,8}") || Integer.parseInt(text) > most) {
            giveUp("a number from 1 to " + most + " is wanted, not " + text);
        }
        left.subList(at, at + 2).clear();
        return Integer.parseInt(text);
    }

    /** All that the program knows has been asked for: what is left is a mistake. */
    public void end() {
        if (!left.isEmpty()) {
            giveUp("unknown argument " + left.getFirst() + "\n" + usage);
        }
    }

    public static void giveUp(String why) {
        System.err.println(why);
        System.exit(2);
    }
}
