"""Failpoints: named places at which a test makes the process die or freeze."""

from typing import Protocol


class Failpoints(Protocol):
    """Production has none: `NO_FAILPOINTS`. Others are refused outside the test environment."""

    async def hit(self, name: str) -> None:
        """The process has come to the point `name`; it may not survive it."""
        ...


class NoFailpoints:
    """Every point is passed."""

    async def hit(self, name: str) -> None:
        """Go on."""


NO_FAILPOINTS = NoFailpoints()
