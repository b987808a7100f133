//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//SOURCES ../../labs/418-dns-lookups/DnsLookup.java
//SOURCES ../kit/*.java

import kit.Check;
import kit.Lab;
import kit.Step;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;

/** (to write) How these tests see the lab. */
@Lab
class DnsLookupTest {

    @Nested
    @Step(value = 1, title = "Encode a question")
    class Encode_a_question {

        @Test
        void step_1_gives_its_number() {
            Check.equal(1, DnsLookup.step1(), "step1()",
                    "(to write) which mistake usually causes this");
        }
    }

    @Nested
    @Step(value = 2, title = "Decode an answer")
    class Decode_an_answer {

        @Test
        void step_2_gives_its_number() {
            Check.equal(2, DnsLookup.step2(), "step2()",
                    "(to write) which mistake usually causes this");
        }
    }

    @Nested
    @Step(value = 3, title = "Ask over UDP")
    class Ask_over_UDP {

        @Test
        void step_3_gives_its_number() {
            Check.equal(3, DnsLookup.step3(), "step3()",
                    "(to write) which mistake usually causes this");
        }
    }

    @Nested
    @Step(value = 4, title = "Interpret the answer")
    class Interpret_the_answer {

        @Test
        void step_4_gives_its_number() {
            Check.equal(4, DnsLookup.step4(), "step4()",
                    "(to write) which mistake usually causes this");
        }
    }

    @Nested
    @Step(value = 5, title = "Distrust every byte", further = true)
    class Distrust_every_byte {

        @Test
        void step_5_gives_its_number() {
            Check.equal(5, DnsLookup.step5(), "step5()",
                    "(to write) which mistake usually causes this");
        }
    }

    @Nested
    @Step(value = 6, title = "Fall back to TCP", further = true)
    class Fall_back_to_TCP {

        @Test
        void step_6_gives_its_number() {
            Check.equal(6, DnsLookup.step6(), "step6()",
                    "(to write) which mistake usually causes this");
        }
    }

    @Nested
    @Step(value = 7, title = "Cache by TTL", further = true)
    class Cache_by_TTL {

        @Test
        void step_7_gives_its_number() {
            Check.equal(7, DnsLookup.step7(), "step7()",
                    "(to write) which mistake usually causes this");
        }
    }
}
