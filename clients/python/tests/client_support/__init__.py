"""A clock that tests move, a server that tests script, and a model of the ledger."""
