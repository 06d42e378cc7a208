"""A sandbox process for all tests of this folder, and fresh ones for tests that break theirs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.sandbox_process import SandboxProcess
from tests.support.stripe_openapi import DOCUMENT, StripeOpenApi, stripe_openapi


@pytest.fixture(scope="session")
def judge() -> StripeOpenApi | None:
    """Stripe's document where it is at hand: every SDK call of these tests is then checked against it."""
    return stripe_openapi() if DOCUMENT.exists() else None


@pytest.fixture(scope="session")
def shared_sandbox(
    tmp_path_factory: pytest.TempPathFactory, judge: StripeOpenApi | None
) -> Iterator[SandboxProcess]:
    process = SandboxProcess(tmp_path_factory.mktemp("sandbox") / "ledger", judge=judge).start()
    yield process
    process.stop()


@pytest.fixture
def sandbox(shared_sandbox: SandboxProcess) -> Iterator[SandboxProcess]:
    """The shared sandbox, without fault rules and with its clock at zero afterwards."""
    yield shared_sandbox
    shared_sandbox.admin("DELETE", "faults")
    shared_sandbox.admin("POST", "clock", {"offset_s": 0})


@pytest.fixture
def client(sandbox: SandboxProcess) -> Any:
    """Stripe's SDK on the shared sandbox."""
    return sandbox.sdk()


@pytest.fixture
def new_sandbox(tmp_path: Path, judge: StripeOpenApi | None) -> Iterator[Callable[..., SandboxProcess]]:
    """Starts sandboxes of the test's own, with further options, on ledgers below the test's directory."""
    started: list[SandboxProcess] = []

    def start(*options: str, ledger: str = "ledger") -> SandboxProcess:
        process = SandboxProcess(tmp_path / ledger, *options, judge=judge)
        started.append(process)
        return process.start()

    yield start
    for process in started:
        process.kill()
