package grader.box;

import module java.base;

/** Where runners run: as any other process of the grader's user, or apart from everything else on the machine. */
public interface Box {
    /**
     * A program that is about to start.
     *
     * @param readable     the files and folders that it reads, beyond the system's own programs and libraries
     * @param socket       the one file of ours that it writes to; empty where there is none
     * @param readsPackets whether it opens raw sockets, to capture packets
     */
    record Program(List<String> command, List<Path> readable, Optional<Path> socket, boolean readsPackets) {}

    /** Room for one program. */
    interface Room extends AutoCloseable {
        ProcessBuilder builder();

        /** Which limit of the room has ended the program, if one has. */
        Optional<String> limitReached();

        @Override
        void close();
    }

    Room roomFor(Program program) throws IOException;

    /** No box: the program can do what the grader's user can. */
    Box NONE = program -> new Open(new ProcessBuilder(program.command()));

    /**
     * No box, but deaf to Ctrl-C, which a terminal sends to every process: the grader ends its runners itself, and must
     * not take the end of one for something that the program under test has done.
     */
    Box DETACHED = program -> {
        boolean hasShell = File.separatorChar == '/';
        var command = new ArrayList<>(hasShell ? List.of("sh", "-c", "trap '' INT; exec \"$@\"", "sh")
                : List.<String>of());
        command.addAll(program.command());
        return new Open(new ProcessBuilder(command));
    };

    /** A room without walls. */
    record Open(ProcessBuilder builder) implements Room {
        @Override
        public Optional<String> limitReached() {
            return Optional.empty();
        }

        @Override
        public void close() {}
    }
}
