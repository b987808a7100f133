package program.draw;

/** A line of a drawing's source, and its number in the chapter. */
public record Line(int number, String text) {}
