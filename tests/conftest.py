"""Fixtures for the whole suite: real servers, started once per test process."""

pytest_plugins = ["tests.support.servers"]
