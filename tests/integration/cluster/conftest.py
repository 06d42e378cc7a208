"""What the cluster's tests share."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory for servers: pytest's own ones are closed to PostgreSQL's user when we are root."""
    root = Path(tempfile.mkdtemp(prefix="mm-"))
    root.chmod(0o711)
    yield root
    shutil.rmtree(root, ignore_errors=True)
