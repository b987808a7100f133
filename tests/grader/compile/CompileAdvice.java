package grader.compile;

import module java.base;

/** One plain line for compile errors whose words puzzle beginners. */
public enum CompileAdvice {
    CHECKED_EXCEPTION("unreported exception",
            "a checked exception must be caught here, or declared: add «throws IOException» to the method"),
    MISSING_RETURN("missing return statement",
            "every path through the method must return a value or throw"),
    UNREACHABLE("unreachable statement",
            "the line before it never lets the program come here: was a TODO's throw left in place?"),
    MISSING_END("reached end of file while parsing",
            "a closing brace is missing, often much further up"),
    SEMICOLON("';' expected",
            "look at the end of this line, or of the one before it"),
    UNKNOWN_NAME("cannot find symbol",
            "is the name spelled as in its declaration? a lab is one file: nothing is read beside it"),
    NOT_FINAL("effectively final",
            "a lambda may only use local variables that never change: copy it into a new one first"),
    MISSING_METHOD("does not override abstract method",
            "the interface asks for this method: the skeleton's signatures must stay"),
    FILE_NAME("should be declared in a file named",
            "a lab's public class keeps its name"),
    WRONG_TYPE("incompatible types",
            "the value on the right is not of the type on the left");

    private final String words;
    private final String advice;

    CompileAdvice(String words, String advice) {
        this.words = words;
        this.advice = advice;
    }

    public static Optional<String> on(String message) {
        return Arrays.stream(values()).filter(each -> message.contains(each.words)).findFirst()
                .map(each -> each.advice);
    }
}
