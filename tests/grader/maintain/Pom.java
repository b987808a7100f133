package grader.maintain;

import module java.base;

import grader.compile.Libraries;
import grader.workbook.Folders;
import grader.workbook.Lab;

/**
 * A Maven project over the labs, their tests and the kit, so that any IDE opens all of it at once. Maven itself may run
 * on an older Java: the compiler and the tests' JVM are those of the JDK that runs this program.
 */
public final class Pom {
    private Pom() {}

    public static String of(List<Lab> labs) throws IOException {
        var libraries = new TreeSet<String>();
        var labFolders = new ArrayList<String>();
        var testFolders = new ArrayList<>(List.of("tests/kit", "tests/bench"));
        for (var lab : labs) {
            labFolders.add("labs/" + lab.slug());
            testFolders.add("tests/" + lab.slug());
            libraries.addAll(Libraries.deps(lab.skeleton()));
            for (var test : Folders.javaFiles(lab.tests())) {
                libraries.addAll(Libraries.deps(Files.readString(test)));
            }
        }
        return """
                <?xml version="1.0" encoding="UTF-8"?>
                <project xmlns="http://maven.apache.org/POM/4.0.0">
                  <modelVersion>4.0.0</modelVersion>
                  <groupId>workbook</groupId>
                  <artifactId>labs</artifactId>
                  <version>1</version>
                  <properties>
                    <maven.compiler.release>25</maven.compiler.release>
                    <maven.compiler.fork>true</maven.compiler.fork>
                    <maven.compiler.executable>%1$s/bin/javac</maven.compiler.executable>
                    <jvm>%1$s/bin/java</jvm>
                    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
                  </properties>
                  <dependencies>
                %2$s  </dependencies>
                  <build>
                    <directory>.workbook/target</directory>
                    <sourceDirectory>%3$s</sourceDirectory>
                    <testSourceDirectory>%4$s</testSourceDirectory>
                    <plugins>
                      <plugin>
                        <groupId>org.apache.maven.plugins</groupId>
                        <artifactId>maven-compiler-plugin</artifactId>
                        <version>3.14.0</version>
                      </plugin>
                      <plugin>
                        <groupId>org.apache.maven.plugins</groupId>
                        <artifactId>maven-surefire-plugin</artifactId>
                        <version>3.5.5</version>
                        <configuration>
                          <argLine>--add-exports=java.base/jdk.internal.vm=ALL-UNNAMED</argLine>
                        </configuration>
                      </plugin>
                      <plugin>
                        <groupId>org.codehaus.mojo</groupId>
                        <artifactId>build-helper-maven-plugin</artifactId>
                        <version>3.6.1</version>
                        <executions>
                          <execution>
                            <id>labs</id>
                            <phase>generate-sources</phase>
                            <goals><goal>add-source</goal></goals>
                            <configuration><sources>%5$s</sources></configuration>
                          </execution>
                          <execution>
                            <id>tests</id>
                            <phase>generate-test-sources</phase>
                            <goals><goal>add-test-source</goal></goals>
                            <configuration><sources>%6$s</sources></configuration>
                          </execution>
                        </executions>
                      </plugin>
                    </plugins>
                  </build>
                </project>
                """.formatted(text(System.getProperty("java.home")),
                libraries.stream().map(Pom::dependency).collect(Collectors.joining()),
                labFolders.getFirst(), testFolders.getFirst(), sources(labFolders), sources(testFolders));
    }

    private static String text(String path) {
        return path.replace('\\', '/').replace("&", "&amp;").replace("<", "&lt;");
    }

    private static String sources(List<String> folders) {
        return folders.stream().map(folder -> "<source>" + folder + "</source>").collect(Collectors.joining());
    }

    /** From {@code group:artifact:version[:classifier]}. */
    private static String dependency(String name) {
        var part = name.split(":");
        return "    <dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version>%s</dependency>\n"
                .formatted(part[0], part[1], part[2],
                        part.length > 3 ? "<classifier>" + part[3] + "</classifier>" : "");
    }
}
