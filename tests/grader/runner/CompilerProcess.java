package grader.runner;

import module java.base;

import grader.compile.Javac.Finding;
import grader.compile.SourceText;
import grader.workbook.CannotCheck;

/**
 * The compiler in a JVM of its own, which stays warm from file to file. A file that fills its memory, or keeps it busy
 * for ever, harms no other: that JVM is ended, and the next file gets a new one. For one thread.
 */
public final class CompilerProcess implements AutoCloseable {
    private static final List<String> OPTIONS = List.of("-Xmx512m");

    private Optional<RunnerProcess> process = Optional.empty();

    /** Compiles into {@code out}; no finding means success. */
    public List<Finding> compile(SourceText source, List<Path> classPath, Path out) throws IOException {
        if (process.filter(RunnerProcess::isAlive).isEmpty()) {
            close();
            process = Optional.of(RunnerProcess.start(OPTIONS));
        }
        var file = Files.writeString(Files.createTempFile(out, ".", ".txt"), source.text());
        try {
            var answer = process.get().compile(source.getName().substring(1), file, classPath, out);
            if (answer.removeLast().getLast().equals(RunnerMain.BUSY)) {
                close();
            }
            return answer.stream().map(CompilerProcess::finding).toList();
        } catch (CannotCheck e) {
            close();
            throw e;
        } finally {
            Files.delete(file);
        }
    }

    private static Finding finding(List<String> record) {
        return new Finding(record.get(1), Long.parseLong(record.get(2)), Long.parseLong(record.get(3)), record.get(4),
                record.get(5));
    }

    @Override
    public void close() {
        process.ifPresent(RunnerProcess::close);
        process = Optional.empty();   // it may live on for a moment
    }
}
