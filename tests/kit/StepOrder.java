package kit;

import java.util.Comparator;
import org.junit.jupiter.api.ClassOrderer;
import org.junit.jupiter.api.ClassOrdererContext;

/** Runs the steps of a lab in the order of their numbers. */
public final class StepOrder implements ClassOrderer {

    @Override
    public void orderClasses(ClassOrdererContext context) {
        context.getClassDescriptors().sort(Comparator.comparingInt(
                descriptor -> descriptor.findAnnotation(Step.class).map(Step::value).orElse(0)));
    }
}
