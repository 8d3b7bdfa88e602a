"""The machine that Culpa runs on: threads, their limits, the instruction set."""
