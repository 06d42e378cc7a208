"""Logs of the billing tests are captured, so that a test can ask for them and none is rendered."""

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """Every log entry of the test."""
    with capture_logs() as entries:
        yield entries
