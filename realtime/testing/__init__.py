"""Public helpers for tests: a manual clock, recording transports, contract suites."""
