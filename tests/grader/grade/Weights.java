package grader.grade;

import module java.base;

import grader.workbook.CannotCheck;

/**
 * What steps are worth: as many points as they have checks, unless a file says otherwise. Its lines are {@code 401.2 =
 * 5} for a step, and {@code 401 = 20} for a lab, whose steps without a line of their own share what is left by their
 * checks.
 */
public final class Weights {
    public static final Weights NONE = new Weights(Map.of());

    private static final Pattern LINE = Pattern.compile("(4\\d\\d(?:\\.\\d+)?)\\s*=\\s*(\\d+(?:\\.\\d+)?)");

    private final Map<String, Double> points;

    private Weights(Map<String, Double> points) {
        this.points = points;
    }

    public static Weights read(Path file) throws IOException {
        var points = new TreeMap<String, Double>();
        var lines = Files.readAllLines(file);
        for (int i = 0; i < lines.size(); i++) {
            var text = lines.get(i).replaceFirst("#.*", "").strip();
            var line = LINE.matcher(text);
            if (line.matches()) {
                points.put(line.group(1), Double.valueOf(line.group(2)));
            } else if (!text.isEmpty()) {
                throw new CannotCheck(file + ":" + (i + 1) + ": not understood: " + text
                        + "\na line is «401.2 = 5» for a step, or «401 = 20» for a lab");
            }
        }
        return new Weights(points);
    }

    /** @param steps whose points are the number of their checks */
    List<ClassResult.Step> weigh(String lab, List<ClassResult.Step> steps) {
        points.keySet().stream().filter(key -> key.startsWith(lab + "."))
                .filter(key -> steps.stream().noneMatch(step -> key.equals(lab + "." + step.number()))).findFirst()
                .ifPresent(key -> {
                    throw new CannotCheck("a weight is given for step " + key + ", which is not among those to mark");
                });
        double given = steps.stream().mapToDouble(step -> own(lab, step).orElse(0)).sum();
        double left = points.getOrDefault(lab, 0.0) - given;
        double shares = steps.stream().filter(step -> own(lab, step).isEmpty()).mapToDouble(ClassResult.Step::points)
                .sum();
        if (points.containsKey(lab) && (left < 0 || left > 0 && shares == 0)) {
            throw new CannotCheck("the weights of the steps of lab " + lab + " do not add up to its own");
        }
        double worth = points.containsKey(lab) && shares > 0 ? left / shares : 1;
        return steps.stream().map(step -> step.worth(own(lab, step).orElse(step.points() * worth))).toList();
    }

    private OptionalDouble own(String lab, ClassResult.Step step) {
        var given = points.get(lab + "." + step.number());
        return given == null ? OptionalDouble.empty() : OptionalDouble.of(given);
    }

    /** The same for the same weights. */
    @Override
    public String toString() {
        return points.toString();
    }
}
