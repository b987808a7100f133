package grader.runner;

import module java.base;

/**
 * Where the classes of one check come from: the lab's libraries, then kit, tests and the learner's classes. Each check
 * has a class loader of its own, so that one JVM can run many; libraries are kept loaded, since they are the same from
 * check to check. Of the runner's own class path only JUnit is seen.
 */
final class TestClassPath {
    private static final ClassLoader RUNNER = TestClassPath.class.getClassLoader();

    private String libraries = "";
    private URLClassLoader ofLibraries = new URLClassLoader(new URL[0], new JUnitOnly());
    private URLClassLoader ofCheck = ofLibraries;

    /** Both are paths joined by the system's separator, and may be empty. */
    void open(String libraries, String classes) throws IOException {
        if (!libraries.equals(this.libraries)) {
            this.libraries = libraries;
            ofLibraries = new URLClassLoader(urls(libraries), new JUnitOnly());
        }
        ofCheck = new URLClassLoader(urls(classes), ofLibraries);
    }

    private static URL[] urls(String paths) throws MalformedURLException {
        var urls = new ArrayList<URL>();
        for (var path : paths.isEmpty() ? new String[0] : paths.split(File.pathSeparator)) {
            urls.add(Path.of(path).toUri().toURL());
        }
        return urls.toArray(URL[]::new);
    }

    ClassLoader loader() {
        return ofCheck;
    }

    Class<?> load(String name) throws ClassNotFoundException {
        return Class.forName(name, false, ofCheck);
    }

    /** How long a single wait of a test may last. By name, because the kit is not on the grader's own class path. */
    void setPatience(Duration patience) throws ReflectiveOperationException {
        load("kit.Patience").getMethod("set", Duration.class).invoke(null, patience);
    }

    private static final class JUnitOnly extends ClassLoader {
        private static final List<String> SEEN =
                List.of("org.junit.", "org.opentest4j.", "org.apiguardian.", "org.jspecify.");

        private JUnitOnly() {
            super(getPlatformClassLoader());
        }

        @Override
        protected Class<?> findClass(String name) throws ClassNotFoundException {
            if (SEEN.stream().noneMatch(name::startsWith)) {
                throw new ClassNotFoundException(name);
            }
            return RUNNER.loadClass(name);
        }
    }
}
