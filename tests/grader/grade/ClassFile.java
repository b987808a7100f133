package grader.grade;

import module java.base;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationContext;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.deser.std.StdDeserializer;
import com.fasterxml.jackson.databind.module.SimpleModule;
import com.fasterxml.jackson.databind.ser.std.ToStringSerializer;
import grader.workbook.CannotCheck;

/** {@code class.json} and other results as JSON, written so that a reader sees all of a file or nothing. */
public final class ClassFile {
    public static final String NAME = "class.json";

    private static final ObjectMapper JSON = new ObjectMapper().registerModule(new SimpleModule()
            .addSerializer(Instant.class, ToStringSerializer.instance).addDeserializer(Instant.class, new ToInstant()));

    private static final class ToInstant extends StdDeserializer<Instant> {
        private static final long serialVersionUID = 1;

        private ToInstant() {
            super(Instant.class);
        }

        @Override
        public Instant deserialize(JsonParser parser, DeserializationContext context) throws IOException {
            return Instant.parse(parser.getText());
        }
    }

    private ClassFile() {}

    /** Also makes the folder. */
    public static void write(Object result, Path file) throws IOException {
        var folder = Files.createDirectories(file.toAbsolutePath().getParent());
        var fresh = Files.createTempFile(folder, ".", ".json");
        try {
            // A message that was cut may end in half a character, which is no UTF-8: it becomes a question mark.
            Files.write(fresh, JSON.writeValueAsString(result).getBytes(StandardCharsets.UTF_8));
            Files.move(fresh, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } finally {
            Files.deleteIfExists(fresh);
        }
    }

    public static ClassResult read(Path file) throws IOException {
        return read(file, ClassResult.class);
    }

    static <T> T read(Path file, Class<T> type) throws IOException {
        try {
            return JSON.readValue(Files.readString(file), type);
        } catch (JsonProcessingException | CharacterCodingException e) {
            throw new CannotCheck(file + " is not what " + NAME + " looks like: "
                    + (e instanceof JsonProcessingException json ? json.getOriginalMessage() : "it is not UTF-8"), e);
        }
    }
}
