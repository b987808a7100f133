///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 25+
//DESCRIPTION Four ways to write a number, of which one is right

import module java.base;

public class Numbers {

    public static void main(String[] args) {
        IO.println("%-12s%-17s%-20s%-20s%s".formatted("", "Double.toString",
                "format, en", "format, de", "BigDecimal"));
        for (double value : new double[] {0.5, 1e10, 0.0001, -0.0}) {
            IO.println("%-12s%-17s%-20s%-20s%s".formatted(value,
                    Double.toString(value),
                    String.format(Locale.ENGLISH, "%f", value),
                    String.format(Locale.GERMANY, "%f", value),
                    BigDecimal.valueOf(value).stripTrailingZeros()
                            .toPlainString()));
        }
        IO.println("%-12s%-17s%-20s%-20s%s".formatted("1234, Egypt", "",
                "", String.format(Locale.forLanguageTag("ar-EG-u-nu-arab"),
                        "%d", 1234), "1234"));
    }
}
