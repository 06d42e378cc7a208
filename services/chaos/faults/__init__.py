"""The single faults: each as an async context manager for scenarios, and as a `MixFault` for the random mix."""
