package grader.report;

import module java.base;

import grader.grade.ClassResult;
import grader.grade.ClassResult.Check;
import grader.grade.ClassResult.CheckResult;
import grader.grade.ClassResult.Lab;
import grader.grade.ClassResult.LabResult;
import grader.grade.ClassResult.Outcome;
import grader.grade.ClassResult.State;
import grader.grade.ClassResult.Step;
import grader.grade.ClassResult.Student;

/**
 * How a class stands: what every report shows. The checks of a step share its points equally; a check that the machine
 * had to skip shares in nothing, and neither does a lab that could not be graded.
 */
final class Marks {
    /** One check of a submission; without an outcome where the file was not run at all. */
    record CheckMark(Check check, Optional<CheckResult> result) {
        Outcome outcome() {
            return result.map(CheckResult::outcome).orElse(Outcome.NOT_RUN);
        }
    }

    record StepMark(Step step, Standing standing, Mark mark, List<CheckMark> checks) {
        long passed() {
            return checks.stream().filter(check -> check.outcome() == Outcome.PASS).count();
        }

        /** {@code 2/5}, or in words why nothing was counted. */
        String shortly() {
            return switch (standing) {
                case PASSED, PARTLY, FAILED -> passed() + "/" + counted();
                default -> standing.words;
            };
        }

        private long counted() {
            return checks.stream().filter(check -> check.outcome() != Outcome.SKIPPED).count();
        }
    }

    record LabMark(Lab lab, State state, LabResult result, List<StepMark> steps) {
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

        Stream<StepMark> steps() {
            return labs.stream().flatMap(lab -> lab.steps().stream());
        }
    }

    /** A step, and how all students stand there. */
    record Hardness(Lab lab, Step step, List<StepMark> everybody) {
        Mark mark() {
            return Mark.sum(everybody.stream().map(StepMark::mark));
        }

        long count(Predicate<Standing> wanted) {
            return everybody.stream().filter(each -> wanted.test(each.standing())).count();
        }

        /** The checks that most students fail, most first, with how many they are. */
        List<Map.Entry<Check, Long>> mostFailed() {
            var failed = everybody.stream().flatMap(each -> each.checks().stream())
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
                        students.stream().map(each -> each.labs().get(lab).steps().get(step)).toList()));
            }
        }
        all.sort(Comparator.comparingDouble(each -> each.mark().share().orElse(1)));
        return all;
    }

    private static StudentMark of(Student student, List<Lab> labs) {
        var marks = labs.stream().map(lab -> of(lab, student.labs().stream()
                .filter(each -> each.lab().equals(lab.number())).findFirst())).toList();
        return new StudentMark(student, marks, marks.stream().noneMatch(lab -> lab.state() == State.UNGRADED));
    }

    private static LabMark of(Lab lab, Optional<LabResult> found) {
        var result = found.orElse(new LabResult(lab.number(), State.UNGRADED, "", "", "it has not been graded yet", "",
                0, List.of()));
        return new LabMark(lab, result.state(), result, lab.steps().stream().map(step -> of(step, result)).toList());
    }

    private static StepMark of(Step step, LabResult lab) {
        var checks = step.checks().stream().map(check -> new CheckMark(check, outcome(check, lab))).toList();
        return switch (lab.state()) {
            case MISSING -> new StepMark(step, Standing.MISSING, new Mark(0, step.points()), checks);
            case NOT_COMPILED -> new StepMark(step, Standing.NOT_COMPILED, new Mark(0, step.points()), checks);
            case UNGRADED -> new StepMark(step, Standing.UNGRADED, Mark.NOTHING, checks);
            case GRADED -> graded(step, checks);
        };
    }

    private static Optional<CheckResult> outcome(Check check, LabResult lab) {
        return lab.steps().stream().flatMap(step -> step.checks().stream())
                .filter(result -> result.id().equals(check.id())).findFirst();
    }

    private static StepMark graded(Step step, List<CheckMark> checks) {
        var outcomes = checks.stream().map(CheckMark::outcome).filter(each -> each != Outcome.SKIPPED).toList();
        if (outcomes.isEmpty()) {
            return new StepMark(step, Standing.SKIPPED, Mark.NOTHING, checks);
        }
        long passed = outcomes.stream().filter(each -> each == Outcome.PASS).count();
        var standing = passed == outcomes.size() ? Standing.PASSED
                : passed > 0 ? Standing.PARTLY
                : outcomes.contains(Outcome.TODO) ? Standing.TO_DO
                : outcomes.contains(Outcome.FAIL) ? Standing.FAILED : Standing.NOT_RUN;
        return new StepMark(step, standing, new Mark(step.points() * passed / outcomes.size(), step.points()), checks);
    }
}
