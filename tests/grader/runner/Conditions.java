package grader.runner;

import module java.base;

import org.junit.jupiter.api.condition.EnabledIf;
import org.junit.platform.engine.support.descriptor.MethodSource;

/**
 * The conditions of tests: {@code @EnabledIf}, at a test, around it, or in an annotation of the workbook's own. They
 * are asked before any code of a learner's is loaded, because that could make a machine look as if it lacked something.
 */
final class Conditions {
    private Conditions() {}

    /** Whether the test has any. */
    static boolean stand(MethodSource test) {
        return of(test).findAny().isPresent();
    }

    /** Whether all of them hold here and now. */
    static boolean hold(MethodSource test) throws ReflectiveOperationException {
        for (var condition : of(test).toList()) {
            if (!condition.holds()) {
                return false;
            }
        }
        return true;
    }

    /** A condition, and the class in which a method without a class is looked for. */
    private record Condition(EnabledIf annotation, Class<?> place) {
        boolean holds() throws ReflectiveOperationException {
            var value = annotation.value();
            int hash = value.indexOf('#');
            var type = hash < 0 ? place : Class.forName(value.substring(0, hash), true, place.getClassLoader());
            var method = type.getDeclaredMethod(value.substring(hash + 1));
            method.setAccessible(true);
            return (boolean) method.invoke(null);
        }
    }

    private static Stream<Condition> of(MethodSource test) {
        var place = test.getJavaClass();
        var around = Stream.<Class<?>>iterate(place, Objects::nonNull, Class::getEnclosingClass)
                .flatMap(type -> at(type, type));
        return Stream.concat(at(test.getJavaMethod(), place), around);
    }

    private static Stream<Condition> at(AnnotatedElement element, Class<?> place) {
        return Stream.of(element.getAnnotations())
                .flatMap(each -> Stream.concat(Stream.of(each), Stream.of(each.annotationType().getAnnotations())))
                .filter(EnabledIf.class::isInstance).map(each -> new Condition((EnabledIf) each, place));
    }
}
