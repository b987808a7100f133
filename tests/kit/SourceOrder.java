package kit;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.classfile.ClassFile;
import java.util.Comparator;
import java.util.List;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.MethodOrdererContext;

/** Runs tests in the order in which they are written: reflection does not keep it, the class file does. */
public final class SourceOrder implements MethodOrderer {

    @Override
    public void orderMethods(MethodOrdererContext context) {
        var names = methodNames(context.getTestClass());
        context.getMethodDescriptors().sort(Comparator.comparingInt(
                descriptor -> names.indexOf(descriptor.getMethod().getName())));
    }

    private static List<String> methodNames(Class<?> type) {
        var file = type.getName().substring(type.getPackageName().isEmpty() ? 0 : type.getPackageName().length() + 1);
        try (var in = type.getResourceAsStream(file + ".class")) {
            return ClassFile.of().parse(in.readAllBytes()).methods().stream()
                    .map(method -> method.methodName().stringValue()).toList();
        } catch (IOException e) {
            throw new UncheckedIOException("cannot read the class file of " + type, e);
        }
    }
}
