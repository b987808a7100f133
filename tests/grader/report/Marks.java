package grader.report;

import module java.base;

import grader.grade.ClassResult;
import grader.grade.ClassResult.Check;
import grader.grade.ClassResult.CheckResult;
import grader.grade.ClassResult.Lab;
import grader.grade.ClassResult.LabResult;
import grader.grade.ClassResult.Mark;
import grader.grade.ClassResult.Outcome;
import grader.grade.ClassResult.State;
import grader.grade.ClassResult.Step;
import grader.grade.ClassResult.StepResult;
import grader.grade.ClassResult.Student;

/** How a class stands: what every report shows. */
final class Marks {
    record CheckMark(Check check, CheckResult result) {
        Outcome outcome() {
            return result.outcome();
        }
    }

    record StepMark(Step step, StepResult result, Standing standing, Mark mark, List<CheckMark> checks) {
        /** {@code 2/5}, or in words why nothing was counted. */
        String shortly() {
            return switch (standing) {
                case PASSED, PARTLY, FAILED -> result.passed() + "/" + result.made();
                default -> standing.words;
            };
        }
    }

    record LabMark(Lab lab, LabResult result, List<StepMark> steps) {
        State state() {
            return result.state();
        }

        Mark mark() {
            return Mark.sum(steps.stream().map(StepMark::mark));
        }
    }

    /** @param isComplete every lab was graded */
    record StudentMark(Student student, List<LabMark> labs, boolean isComplete) {
        Mark mark() {
            return Mark.sum(labs.stream().map(LabMark::mark));
        }

        Mark coreMark() {
            return Mark.sum(steps().filter(step -> !step.step().further()).map(StepMark::mark));
        }

        /** Which labs were not graded, and why the first of them. */
        Optional<String> ungraded() {
            var ungraded = labs.stream().filter(lab -> lab.state() == State.UNGRADED).toList();
            return ungraded.isEmpty() ? Optional.empty() : Optional.of("not graded: "
                    + ungraded.stream().map(lab -> lab.lab().number()).collect(Collectors.joining(", "))
                    + " (" + ungraded.getFirst().result().message() + ")");
        }

        Stream<StepMark> steps() {
            return labs.stream().flatMap(lab -> lab.steps().stream());
        }
    }

    /** A step, and how those stand there whose program was checked: who handed in nothing is not stuck there. */
    record Hardness(Lab lab, Step step, List<StepMark> checked) {
        Mark mark() {
            return Mark.sum(checked.stream().map(StepMark::mark));
        }

        boolean costsPoints() {
            return mark().points() < mark().of();
        }

        long count(Predicate<Standing> wanted) {
            return checked.stream().filter(each -> wanted.test(each.standing())).count();
        }

        /** The checks that most students fail, most first, with how many they are. */
        List<Map.Entry<Check, Long>> mostFailed() {
            var failed = checked.stream().flatMap(each -> each.checks().stream())
                    .filter(check -> check.outcome() == Outcome.FAIL)
                    .collect(Collectors.groupingBy(CheckMark::check, Collectors.counting()));
            return failed.entrySet().stream()
                    .sorted(Comparator.comparing((Map.Entry<Check, Long> each) -> -each.getValue())
                            .thenComparing(each -> step.checks().indexOf(each.getKey()))).toList();
        }
    }

    private final List<Lab> labs;
    private final List<StudentMark> students;

    private Marks(List<Lab> labs, List<StudentMark> students) {
        this.labs = labs;
        this.students = students;
    }

    static Marks of(ClassResult result) {
        return new Marks(result.labs(),
                result.students().stream().map(student -> of(student, result.labs())).toList());
    }

    List<Lab> labs() {
        return labs;
    }

    List<StudentMark> students() {
        return students;
    }

    /** The hardest first; where two are equally hard, the one that comes first in the course. */
    List<Hardness> hardest() {
        var all = new ArrayList<Hardness>();
        for (int i = 0; i < labs.size(); i++) {
            for (int j = 0; j < labs.get(i).steps().size(); j++) {
                int lab = i;
                int step = j;
                all.add(new Hardness(labs.get(i), labs.get(i).steps().get(j),
                        students.stream().map(each -> each.labs().get(lab))
                                .filter(each -> each.state() == State.GRADED)
                                .map(each -> each.steps().get(step)).toList()));
            }
        }
        all.sort(Comparator.comparingDouble(each -> each.mark().share().orElse(1)));
        return all;
    }

    private static StudentMark of(Student student, List<Lab> labs) {
        var marks = pairs(labs, student.labs(), Marks::of);
        return new StudentMark(student, marks, marks.stream().noneMatch(lab -> lab.state() == State.UNGRADED));
    }

    private static LabMark of(Lab lab, LabResult result) {
        return new LabMark(lab, result, pairs(lab.steps(), result.steps(), (step, of) -> of(step, of, result.state())));
    }

    private static StepMark of(Step step, StepResult result, State lab) {
        var mark = lab == State.UNGRADED ? Mark.NONE : step.mark(result);
        return new StepMark(step, result, standing(result, lab), mark,
                pairs(step.checks(), result.checks(), CheckMark::new));
    }

    private static <A, B, C> List<C> pairs(List<A> asked, List<B> found, BiFunction<A, B, C> pair) {
        return IntStream.range(0, asked.size()).mapToObj(i -> pair.apply(asked.get(i), found.get(i))).toList();
    }

    private static Standing standing(StepResult step, State lab) {
        return switch (lab) {
            case MISSING -> Standing.MISSING;
            case NOT_COMPILED -> Standing.NOT_COMPILED;
            case UNGRADED -> Standing.UNGRADED;
            case GRADED -> step.made() == 0 ? Standing.SKIPPED
                    : step.passed() == step.made() ? Standing.PASSED
                    : step.passed() > 0 ? Standing.PARTLY
                    : has(step, Outcome.TODO) ? Standing.TO_DO
                    : has(step, Outcome.FAIL) ? Standing.FAILED : Standing.NOT_RUN;
        };
    }

    private static boolean has(StepResult step, Outcome outcome) {
        return step.checks().stream().anyMatch(check -> check.outcome() == outcome);
    }
}
