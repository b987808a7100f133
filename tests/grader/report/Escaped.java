package grader.report;

import module java.base;

import grader.workbook.Printable;

/**
 * Text of a submission, made harmless for the language of a report. A student chooses the name of a folder, what a
 * program prints, and what an exception says.
 */
final class Escaped {
    private Escaped() {}

    /** For HTML and XML, in elements and in quoted attributes. What XML 1.0 does not allow is shown as U+FFFD. */
    static String xml(String text) {
        var escaped = new StringBuilder(text.length() + text.length() / 8);
        text.codePoints().forEach(c -> {
            switch (c) {
                case '&' -> escaped.append("&amp;");
                case '<' -> escaped.append("&lt;");
                case '>' -> escaped.append("&gt;");
                case '"' -> escaped.append("&quot;");
                case '\'' -> escaped.append("&#39;");
                default -> escaped.appendCodePoint(isXml(c) ? c : 0xfffd);
            }
        });
        return escaped.toString();
    }

    /** XML 1.0, section 2.2, without the C1 controls and the noncharacters that HTML discourages. */
    private static boolean isXml(int c) {
        return c == '\t' || c == '\n' || c >= ' ' && c < 0x7f || c > 0x9f && c < 0xd800
                || c > 0xdfff && (c & 0xfffe) != 0xfffe && (c < 0xfdd0 || c > 0xfdef);
    }

    /** One line without control characters, for a place where a line end would begin something else. */
    static String line(String text) {
        return Printable.of(text.replaceAll("\\s+", " ").strip());
    }

    /**
     * A field of a CSV file, as RFC 4180 has it. A spreadsheet runs what begins as a formula: such a field gets an
     * apostrophe in front.
     */
    static String csv(String text) {
        var plain = text.matches("(?s)[=+\\-@\t\r\n].*") ? "'" + text : text;
        return plain.matches("(?s).*[\",\r\n;].*|'.*") ? "\"" + plain.replace("\"", "\"\"") + "\"" : plain;
    }

    /** For a cell of a Markdown table on GitHub: no markup, no HTML, no mention, no line end. */
    static String markdown(String text) {
        return xml(line(text)).replaceAll("([\\\\`*_{}\\[\\]()#+.!|~$-])", "\\\\$1").replace("@", "@\u2060");
    }

    /** The message of a GitHub workflow command. */
    static String command(String text) {
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A");
    }

    /** A property of a GitHub workflow command. */
    static String property(String text) {
        return command(text).replace(":", "%3A").replace(",", "%2C");
    }
}
