"""The sandbox's own endpoints, for the judge and for tests: the raw ledger, faults, the clock, statistics."""
