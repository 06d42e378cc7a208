"""The lock files hold for whoever installs them later, with the pip that comes with Python 3.11."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def pins(lock_file: str) -> dict[str, set[str]]:
    """The extras that each pinned package is locked with."""
    lines = (ROOT / lock_file).read_text().splitlines()
    requirements = [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalnum()]
    assert all(str(each.specifier).startswith("==") for each in requirements)
    return {canonicalize_name(each.name): set(each.extras) for each in requirements}


def asked_for(package: str, extras: set[str]) -> Iterator[Requirement]:
    """What an installed package asks for on this machine; nothing if it is for other systems only."""
    try:
        texts = requires(package) or []
    except PackageNotFoundError:
        return
    for requirement in map(Requirement, texts):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield requirement


@pytest.mark.parametrize("lock_file", ["requirements.txt", "requirements-dev.txt"])
def test_what_packages_ask_for_with_extras_is_pinned_with_these_extras(lock_file: str) -> None:
    """Older pips (23.2 for one) see no pin of `a[x]` in `a==1`: they take the newest `a`, and refuse it unhashed.

    That goes well for as long as the newest one happens to be the pinned one.
    """
    pinned = pins(lock_file)
    seen = 0
    for package, extras in pinned.items():
        for requirement in asked_for(package, extras):
            seen += 1
            missing = requirement.extras - pinned[canonicalize_name(requirement.name)]
            assert not missing, f"{lock_file}: {package} asks for {requirement}; use --no-strip-extras"
    assert seen > len(pinned) / 2
