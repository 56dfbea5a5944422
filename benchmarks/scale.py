"""Run ``realtime bench scale`` from a clone; --help tells everything."""

from realtime.bench.program import run_program

if __name__ == "__main__":
    run_program("scale")
