package kit;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.DisplayNameGeneration;
import org.junit.jupiter.api.DisplayNameGenerator;
import org.junit.jupiter.api.TestClassOrder;
import org.junit.jupiter.api.extension.ExtendWith;

/**
 * The test class of a lab. Its steps run in their order; a thread of the lab that dies ends the test at once
 * ({@link TestLifecycle}); what the lab leaves behind is a failure ({@link LeakCheck}). How long a test may last is for
 * whoever runs it to say: every single wait has its own bound ({@link Patience}).
 */
@ExtendWith({LeakCheck.class, TestLifecycle.class})   // leaks are looked for when everything has been closed
@TestClassOrder(StepOrder.class)
@DisplayNameGeneration(DisplayNameGenerator.ReplaceUnderscores.class)
@Target(ElementType.TYPE)
@Retention(RetentionPolicy.RUNTIME)
public @interface Lab {}
