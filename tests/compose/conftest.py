"""`make compose-test`: the stack is built, started, broken and taken away, once for all tests of this directory."""

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import pytest
from tests.support.compose_stack import IMAGE, CommandFailed, Stack, docker

_ENABLED = os.environ.get("COMPOSE_TEST") == "1"
_figures: list[tuple[str, str]] = []


class Step(Protocol):
    """Times what is done under it, for the summary."""

    def __call__(self, name: str) -> AbstractContextManager[None]: ...


class Note(Protocol):
    """Keeps a figure for the summary."""

    def __call__(self, name: str, value: str) -> None: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not _ENABLED:
        reason = "builds and breaks the compose stack for minutes: run `make compose-test`"
        for item in items:
            if "tests/compose/" in item.nodeid:
                item.add_marker(pytest.mark.skip(reason=reason))  # see `reason`


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _figures:
        terminalreporter.section("the compose stack in figures")
        for name, value in _figures:
            terminalreporter.write_line(f"{name:<62} {value:>12}")


@pytest.fixture(scope="session")
def note() -> Note:
    return lambda name, value: _figures.append((name, value))


@pytest.fixture(scope="session")
def step(note: Note) -> Step:
    @contextlib.contextmanager
    def timed(name: str) -> Iterator[None]:
        began_s = time.monotonic()
        yield
        note(name, f"{time.monotonic() - began_s:.1f} s")

    return timed


@pytest.fixture(scope="session")
def image(step: Step) -> str:
    """Built once; every service uses it."""
    with step("build of the image (its packages' layer may be cached)"):
        docker("compose", "build", "--quiet", timeout_s=900)
    return IMAGE


@pytest.fixture(scope="session")
def stack(image: str, step: Step, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Running from a cold start, and gone afterwards, whatever happens."""
    stack = Stack(f"middleman-test-{os.getpid()}", {"DEMO_SUBSCRIBERS": "100", "DEMO_CLOCK_RATE": "14400"})
    try:
        with step("cold start: up -d --wait, everything healthy and charging"):
            stack.compose("up", "-d", "--wait", "--wait-timeout", "240")
        yield stack
        if request.session.testsfailed:
            print(stack.compose("logs", "--tail", "60"))
    except CommandFailed:
        print(stack.compose("logs", "--tail", "60"))
        raise
    finally:
        stack.down()
