"""Load tests and benchmarks, run from a clone: `middleman bench …`, `make loadtest`."""
