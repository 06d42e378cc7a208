"""Use cases: claim, collect, settle, recover."""
