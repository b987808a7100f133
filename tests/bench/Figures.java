package bench;

import module java.base;

/** How the figures of several rounds are told. */
public final class Figures {
    private Figures() {}

    public static double median(DoubleStream figures) {
        return median(figures.sorted().toArray());
    }

    public static double median(List<Double> figures) {
        return median(each(figures));
    }

    /** The median, the least and the greatest, each in this format: {@code 5 (3 to 9)}. */
    public static String spread(String format, DoubleStream figures) {
        var sorted = figures.sorted().toArray();
        return (format + " (" + format + " to " + format + ")").formatted(
                median(sorted), sorted[0], sorted[sorted.length - 1]);
    }

    public static String spread(String format, List<Double> figures) {
        return spread(format, each(figures));
    }

    private static DoubleStream each(List<Double> figures) {
        return figures.stream().mapToDouble(Double::doubleValue);
    }

    private static double median(double[] sorted) {
        return (sorted[(sorted.length - 1) / 2] + sorted[sorted.length / 2]) / 2;
    }
}
