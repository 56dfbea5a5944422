"""What the benchmarks share; every program beside this folder answers one question."""
