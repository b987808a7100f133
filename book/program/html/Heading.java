package program.html;

/** A section's heading. */
public record Heading(int level, String id, String title) {}
