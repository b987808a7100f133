package kit;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.TestMethodOrder;

/** The tests of one step of a lab, run in the order in which they are written. */
@Nested
@TestMethodOrder(SourceOrder.class)
@Target(ElementType.TYPE)
@Retention(RetentionPolicy.RUNTIME)
public @interface Step {

    /** The number of the step, from 1. */
    int value();

    /** The title, the same words as in the chapter. */
    String title();

    /** True when the step is not part of the lab's core. */
    boolean further() default false;

    /** What mistake in this step usually leaves a thread or a socket behind; see {@link LeakCheck}. */
    String leak() default "an end that is not reached on every path: close in finally, and wake who waits";

    /** What mistake in this step usually makes a thread of the lab die; see {@link TestLifecycle}. */
    String death() default "catch it where the thread begins: a failure in one task must not affect the others";
}
