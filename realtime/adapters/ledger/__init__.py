"""The ledger: the only place that decides whether an event counts."""
