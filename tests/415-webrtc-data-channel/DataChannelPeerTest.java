//JAVA 25+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//SOURCES ../../labs/415-webrtc-data-channel/DataChannelPeer.java
//SOURCES ../kit/*.java

import kit.Check;
import kit.Lab;
import kit.Step;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;

/** (to write) How these tests see the lab. */
@Lab
class DataChannelPeerTest {

    @Nested
    @Step(value = 1, title = "Relay signaling messages")
    class Relay_within_a_room {

        @Test
        void step_1_gives_its_number() {
            Check.equal(1, DataChannelPeer.step1(), "step1()",
                    "(to write) which mistake usually causes this");
        }
    }

    @Nested
    @Step(value = 2, title = "Answer an offer")
    class Answer_an_offer {

        @Test
        void step_2_gives_its_number() {
            Check.equal(2, DataChannelPeer.step2(), "step2()",
                    "(to write) which mistake usually causes this");
        }
    }

    @Nested
    @Step(value = 3, title = "Answer connectivity checks")
    class Answer_connectivity_checks {

        @Test
        void step_3_gives_its_number() {
            Check.equal(3, DataChannelPeer.step3(), "step3()",
                    "(to write) which mistake usually causes this");
        }
    }

    @Nested
    @Step(value = 4, title = "Verify the certificate fingerprint", further = true)
    class Check_the_fingerprint {

        @Test
        void step_4_gives_its_number() {
            Check.equal(4, DataChannelPeer.step4(), "step4()",
                    "(to write) which mistake usually causes this");
        }
    }

    @Nested
    @Step(value = 5, title = "Establish the SCTP association", further = true)
    class Shake_hands_in_SCTP {

        @Test
        void step_5_gives_its_number() {
            Check.equal(5, DataChannelPeer.step5(), "step5()",
                    "(to write) which mistake usually causes this");
        }
    }

    @Nested
    @Step(value = 6, title = "Deliver messages in order", further = true)
    class Deliver_data_in_order {

        @Test
        void step_6_gives_its_number() {
            Check.equal(6, DataChannelPeer.step6(), "step6()",
                    "(to write) which mistake usually causes this");
        }
    }

    @Nested
    @Step(value = 7, title = "Open the data channel", further = true)
    class Open_the_data_channel {

        @Test
        void step_7_gives_its_number() {
            Check.equal(7, DataChannelPeer.step7(), "step7()",
                    "(to write) which mistake usually causes this");
        }
    }
}
