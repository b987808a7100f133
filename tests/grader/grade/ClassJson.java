package grader.grade;

import module java.base;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.DeserializationContext;
import com.fasterxml.jackson.databind.JsonDeserializer;
import com.fasterxml.jackson.databind.JsonSerializer;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.SerializerProvider;
import com.fasterxml.jackson.databind.module.SimpleModule;
import grader.workbook.CannotCheck;

/** {@code class.json}: a {@link ClassResult} as it is kept between runs, and carried between machines. */
public final class ClassJson {
    private static final ObjectMapper JSON = new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT)
            .registerModule(new SimpleModule().addSerializer(Instant.class, new TimeWriter())
                    .addDeserializer(Instant.class, new TimeReader()));

    private static final class TimeWriter extends JsonSerializer<Instant> {
        @Override
        public void serialize(Instant time, JsonGenerator out, SerializerProvider provider) throws IOException {
            out.writeString(time.toString());
        }
    }

    private static final class TimeReader extends JsonDeserializer<Instant> {
        @Override
        public Instant deserialize(JsonParser in, DeserializationContext context) throws IOException {
            return Instant.parse(in.getText());
        }
    }

    private ClassJson() {}

    /** Who reads the file meanwhile sees the old text or the new one. */
    public static void write(ClassResult result, Path file) throws IOException {
        var folder = file.toAbsolutePath().getParent();
        Files.createDirectories(folder);
        var fresh = Files.createTempFile(folder, ".class", ".json");
        try {
            // A message that was cut may end in half a character: it becomes a question mark.
            Files.write(fresh, JSON.writeValueAsString(result).getBytes(StandardCharsets.UTF_8));
            Files.move(fresh, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } finally {
            Files.deleteIfExists(fresh);
        }
    }

    public static ClassResult read(Path file) throws IOException {
        try {
            return JSON.readValue(Files.readString(file), ClassResult.class);
        } catch (JacksonException | DateTimeException | CharacterCodingException e) {
            throw new CannotCheck(file + " is no result of a class, or was damaged: "
                    + String.valueOf(e.getMessage()).lines().findFirst().orElse(""));
        }
    }
}
