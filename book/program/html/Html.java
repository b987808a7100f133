package program.html;

import module java.base;

/** Pieces of HTML, looked at and changed by patterns: it is all written by Asciidoctor and this program. */
public final class Html {
    private Html() {}

    public static String escape(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
                .replace("\"", "&quot;").replace("'", "&#39;");
    }

    /** The words of a piece of HTML. */
    static String text(String html) {
        return html.replaceAll("(?s)<svg.*?</svg>", " ").replaceAll("</(p|li|dt|dd|td|th|div|pre)>", " ")
                .replaceAll("<[^>]+>", "").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"")
                .replaceAll("&#8217;|&#39;", "'").replace("&amp;", "&").replaceAll("&#?\\w+;", " ")
                .replaceAll("\\s+", " ").strip();
    }

    /** A pattern for HTML. It says ' where the HTML may have either quotation mark, so that it can be read. */
    static Pattern pattern(String regex) {
        return Pattern.compile(regex.replace("'", "[\"']"), Pattern.DOTALL);
    }

    static String swap(String regex, String html, String replacement) {
        return pattern(regex).matcher(html).replaceAll(replacement);
    }

    static String swap(String regex, String html, Function<MatchResult, String> replacement) {
        return pattern(regex).matcher(html).replaceAll(m -> Matcher.quoteReplacement(replacement.apply(m)));
    }
}
