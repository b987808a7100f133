package program.html;

import module java.base;

/**
 * Marks in the Java of listings what the theme colours: {@code k} keywords, {@code t} types, {@code f} methods and
 * annotations, {@code s} strings, {@code m} numbers, {@code c} comments.
 */
public final class JavaColours {
    private static final String KEYWORDS = "abstract|assert|boolean|break|byte|case|catch|char|class|const|continue"
            + "|default|do|double|else|enum|extends|false|final|finally|float|for|goto|if|implements|import"
            + "|instanceof|int|interface|long|native|new|non-sealed|null|package|private|protected|public|return"
            + "|short|static|strictfp|super|switch|synchronized|this|throw|throws|transient|true|try|void|volatile"
            + "|while";
    /** Keywords only where a name follows; elsewhere they are names. */
    private static final String CONTEXTUAL =
            "(?:exports|module|opens|permits|record|requires|sealed|var|when|yield)(?= +[\\w&])";
    private static final Pattern TOKEN = Pattern.compile("<[^>]*>|&\\w+;"
            + "|(?<c>//[^\\n<]*|/\\*(?s:.*?)\\*/)"
            + "|(?<s>\"\"\"(?s:.*?)\"\"\"|\"(?:\\\\.|[^\"\\\\\\n])*\"|'(?:\\\\.|[^'\\\\\\n])+')"
            + "|(?<k>\\b(?:" + KEYWORDS + "|" + CONTEXTUAL + ")\\b)"
            + "|(?<f>@\\w+|\\b[a-z_]\\w*(?=\\())|(?<t>\\b[A-Z]\\w*)|(?<m>\\b\\d[\\w.]*)|\\w+");
    private static final Pattern LISTING = Html.pattern("(<code[^>]* data-lang='java'>)(.*?)(?=</code>)");

    private JavaColours() {}

    static String of(String html) {
        return LISTING.matcher(html).replaceAll(listing ->
                Matcher.quoteReplacement(listing.group(1) + coloured(listing.group(2), "cskftm")));
    }

    public static String keywords(String java) {
        return coloured(java, "k");
    }

    private static String coloured(String java, String kinds) {
        return TOKEN.matcher(java).replaceAll(token -> Matcher.quoteReplacement(kinds.chars()
                .mapToObj(Character::toString).filter(kind -> token.group(kind) != null).findFirst()
                .map(kind -> "<span class='" + kind + "'>" + token.group() + "</span>").orElse(token.group())));
    }
}
