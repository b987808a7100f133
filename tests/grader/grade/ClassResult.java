package grader.grade;

import module java.base;

import grader.workbook.CannotCheck;

/**
 * What grading a class found: the one result that {@code class.json} keeps, that {@code merge} joins, and that every
 * report is written from. All texts are printable: control characters are shown, not sent.
 *
 * <p>A student's labs are those of the class, in the same order.
 *
 * @param tests    digest of all that the verdicts rest on: results of other tests are not merged
 * @param labs     the labs that were asked for, in order
 * @param students in the order of their names
 */
public record ClassResult(String tests, Instant began, List<Lab> labs, List<Student> students) {
    /** The order of students, whichever way their names begin. */
    static final Comparator<String> BY_NAME =
            String.CASE_INSENSITIVE_ORDER.thenComparing(Comparator.naturalOrder());

    /** A lab as it is marked. */
    public record Lab(String number, String slug, String title, String fileName, List<Step> steps) {
        public double points() {
            return steps.stream().mapToDouble(Step::points).sum();
        }

        /** Empty where the lab is ungraded: nobody knows what it is worth. */
        public Optional<Mark> mark(LabResult result) {
            if (result.state() == State.UNGRADED) {
                return Optional.empty();
            }
            var mark = Mark.NONE;
            for (int i = 0; i < steps.size(); i++) {
                mark = mark.plus(steps.get(i).mark(result.steps().get(i)));
            }
            return Optional.of(mark);
        }
    }

    /** Points earned, of those that could be. */
    public record Mark(double points, double of) {
        public static final Mark NONE = new Mark(0, 0);

        public Mark plus(Mark other) {
            return new Mark(points + other.points, of + other.of);
        }

        public static Mark sum(Stream<Mark> marks) {
            return marks.reduce(NONE, Mark::plus);
        }

        /** From 0 to 1; nothing where nothing could be earned. */
        public OptionalDouble share() {
            return of == 0 ? OptionalDouble.empty() : OptionalDouble.of(points / of);
        }

        /** {@code 64 %}: only all points read 100, and only none read 0. */
        public String percent() {
            if (of == 0) {
                return "–";
            }
            return (points == of ? 100 : points == 0 ? 0 : Math.clamp(Math.round(100 * points / of), 1, 99)) + " %";
        }

        /** {@code 7} or {@code 4.67}: at most two decimals. */
        public static String number(double value) {
            return BigDecimal.valueOf(value).setScale(2, RoundingMode.HALF_UP).stripTrailingZeros().toPlainString();
        }

        /** {@code 7 of 12}. */
        @Override
        public String toString() {
            return number(points) + " of " + number(of);
        }
    }

    /** Whether both can be parts of one class. */
    public boolean isLike(ClassResult other) {
        return tests.equals(other.tests) && labs.equals(other.labs);
    }

    /** Parts that are alike, as one. @throws CannotCheck where two have the same student */
    public static ClassResult joined(List<ClassResult> parts) {
        var students = new TreeMap<String, Student>(BY_NAME);
        for (var student : parts.stream().flatMap(part -> part.students().stream()).toList()) {
            if (students.put(student.name(), student) != null) {
                throw new CannotCheck(student.name() + " is in two of the results");
            }
        }
        var began = parts.stream().map(ClassResult::began).min(Comparator.naturalOrder()).orElseThrow();
        return new ClassResult(parts.getFirst().tests(), began, parts.getFirst().labs(),
                List.copyOf(students.values()));
    }

    /** All labs of a student; empty where one of them is ungraded. */
    public Optional<Mark> mark(Student student) {
        var mark = Optional.of(Mark.NONE);
        for (int i = 0; i < labs.size(); i++) {
            var next = labs.get(i).mark(student.labs().get(i));
            mark = mark.flatMap(sum -> next.map(sum::plus));
        }
        return mark;
    }

    /**
     * A step as it is marked.
     *
     * @param points what all its checks together are worth: as many as it has checks, where no weight is given
     * @param checks their titles, in order, with those of private tests at the end
     */
    public record Step(int number, String title, boolean further, double points, List<Check> checks) {
        Step worth(double other) {
            return new Step(number, title, further, other, checks);
        }

        /**
         * The checks share the step's points equally. A check that this machine could not make is left out of the
         * sharing, and a step of which it could make none is left out of the mark.
         */
        public Mark mark(StepResult result) {
            if (result.made() == 0) {
                return Mark.NONE;
            }
            boolean all = result.passed() == result.made();   // then not a rounded share of them
            return new Mark(all ? points : points * result.passed() / result.made(), points);
        }
    }

    /** @param isPrivate of a teacher's own tests: no report for students shows more of it than its title */
    public record Check(String id, String title, boolean isPrivate) {}

    /**
     * One submission.
     *
     * @param name  what the reports show: the folder's name, with a number where two have the same
     * @param path  where it lay, below the folder of submissions
     * @param notes what the teacher should know of it, for example that it holds files nobody asked for
     */
    public record Student(String name, String path, List<String> notes, List<LabResult> labs) {}

    /** How a lab of a submission stands. */
    public enum State {
        /** Its steps were checked. */
        GRADED,
        /** The file does not compile, or is not one that a compiler is given: no points, and the message says why. */
        NOT_COMPILED,
        /** There is no such file in the submission. */
        MISSING,
        /** The machine, not the student, is the cause: neither a pass nor 0 points, and to be graded again. */
        UNGRADED
    }

    /**
     * One lab of one submission. Its steps and checks are those of the {@link Lab}, in the same order; where the file
     * was not checked they all are {@code NOT_RUN}.
     *
     * @param file    where it lay, below the student's folder; or empty
     * @param digest  of the file and of the tests: the same digest needs no second check
     * @param message why it was not graded, or why the run ended before its time; or empty
     * @param source  the submitted file, for the lines that a message points to; or empty
     */
    public record LabResult(String lab, State state, String file, String digest, String message, String source,
                            long millis, List<StepResult> steps) {
        /** The same for another student, whose file says the same. */
        LabResult at(String otherFile) {
            return new LabResult(lab, state, otherFile, digest, message, source, millis, steps);
        }
    }

    public record StepResult(int number, List<CheckResult> checks) {
        public long passed() {
            return checks.stream().filter(check -> check.outcome() == Outcome.PASS).count();
        }

        /** How many of them the machine could make. */
        public long made() {
            return checks.stream().filter(check -> check.outcome() != Outcome.SKIPPED).count();
        }
    }

    /** How one check of a submission ended. */
    public enum Outcome {
        PASS,
        FAIL,
        /** The step's TODO line is still in the file, and not all checks of the step pass. */
        TODO,
        /** The machine lacks what the check needs. */
        SKIPPED,
        /** The time of the lab was over before, or there was nothing to run. */
        NOT_RUN
    }

    /**
     * @param line   in the submitted file, counted from 1; 0 where none is known
     * @param output what the program printed meanwhile, cut to some 4,000 characters
     */
    public record CheckResult(String id, Outcome outcome, String message, String place, int line, String output,
                              long millis) {}
}
