package grader.report;

import module java.base;

/**
 * What was earned, and what could be earned. Steps that the machine could not check count for neither.
 *
 * @param points 0 to {@code of}
 */
public record Mark(double points, double of) {
    static final Mark NOTHING = new Mark(0, 0);

    Mark plus(Mark other) {
        return new Mark(points + other.points, of + other.of);
    }

    static Mark sum(Stream<Mark> marks) {
        return marks.reduce(NOTHING, Mark::plus);
    }

    /** From 0 to 1; nothing where nothing could be earned. */
    OptionalDouble share() {
        return of == 0 ? OptionalDouble.empty() : OptionalDouble.of(points / of);
    }

    /** {@code 64 %}: only who has earned everything reads 100, and only who has earned nothing reads 0. */
    String percent() {
        if (of == 0) {
            return "–";
        }
        long rounded = Math.round(100 * points / of);
        return (points == of ? 100 : points == 0 ? 0 : Math.clamp(rounded, 1, 99)) + " %";
    }

    /** {@code 7} or {@code 4.67}: at most two decimals. */
    static String number(double value) {
        return BigDecimal.valueOf(value).setScale(2, RoundingMode.HALF_UP).stripTrailingZeros().toPlainString();
    }

    /** {@code 7 of 12}. */
    @Override
    public String toString() {
        return number(points) + " of " + number(of);
    }
}
