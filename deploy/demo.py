"""Brings subscribers in over the REST API, lets the test clock run fast, and tells what is charged, until SIGTERM.

It stops the clock before it goes: a stack that was down for a night would otherwise owe years at its next start.
Exit status 0 after a stop, 1 when the API refused or stayed away (the stack starts it again), 2 misconfigured.
"""

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from chaos.demo.crowd import Doors, bring_in, offer_plans
from chaos.demo.figures import Figures
from chaos.demo.population import subscribers
from chaos.demo.rest_client import RestClient, RestError

WORKERS = 4
TELL_EVERY_S = 5.0
STOP_TIMEOUT_S = 5.0
DEFAULT_SUBSCRIBERS = 200
DEFAULT_CLOCK_RATE = 14_400.0  # a day in six seconds
_SEED = 1
_PAGE = 100
_MAX_PAGES = 50  # of events between two lines: a bound, not an expectation


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to do. `clock_rate` is virtual seconds per real second; 0 leaves the clock alone."""

    api_url: str
    api_key: str
    subscribers: int
    clock_rate: float
    ready_file: Path

    @classmethod
    def from_environment(cls) -> Self:
        """Raises `ValueError` with the setting's name."""
        return cls(
            api_url=os.environ["API_URL"],
            api_key=(Path(os.environ["SECRETS_DIR"]) / "api-key").read_text(),
            subscribers=int(_number("DEMO_SUBSCRIBERS", DEFAULT_SUBSCRIBERS, 1_000_000)),
            clock_rate=_number("DEMO_CLOCK_RATE", DEFAULT_CLOCK_RATE, 1_000_000),
            ready_file=Path(os.environ["READY_FILE"]),
        )


def _number(name: str, default: float, most: float) -> float:
    given = os.environ.get(name, "").strip()
    try:
        value = float(given or default)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise ValueError(f"{name}={given} must be a number from 0 to {most:g}")
    return value


class Teller:
    """One line every few seconds: who leads, and what was charged since the demo began to watch."""

    def __init__(self, reader: httpx.AsyncClient, after_seq: int) -> None:
        self._reader = reader
        self._after_seq = after_seq
        self._outcomes: dict[str, int] = {}

    async def line(self) -> str:
        """Reads on where the last line ended. Raises `httpx.HTTPError`."""
        before = self._charged
        for _ in range(_MAX_PAGES):
            events = await self._events()
            for event in events:
                outcome = event["data"].get("outcome", "unknown")
                self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1
                self._after_seq = event["seq"]
            if len(events) < _PAGE:
                break
        leadership = await _get(self._reader, "/v1/leadership")
        term, fresh = leadership["term"], [each for each in leadership["replicas"] if not each["stale"]]
        leads = (
            "nobody leads"
            if term is None or term["ended_at"]
            else f"{term['holder'].partition('#')[0]} leads"
        )
        number = 0 if term is None else term["number"]
        others = ", ".join(
            f"{count} {name}" for name, count in sorted(self._outcomes.items()) if name != "succeeded"
        )
        return (
            f"term {number}, {leads}, {len(fresh)} replicas; {self._charged} charged"
            f" (+{self._charged - before}){f', {others}' if others else ''}"
        )

    @property
    def _charged(self) -> int:
        return self._outcomes.get("succeeded", 0)

    async def _events(self) -> list[dict[str, Any]]:
        query = {"after_seq": self._after_seq, "kind": "attempt.settled", "limit": _PAGE}
        found: list[dict[str, Any]] = (await _get(self._reader, "/v1/events", query))["data"]
        return found


async def demo(wanted: Wanted, stop: asyncio.Event) -> None:
    """Until `stop`. Raises `RestError` and `httpx.HTTPError`."""
    headers = {"Authorization": f"Bearer {wanted.api_key}"}
    async with (
        httpx.AsyncClient(base_url=wanted.api_url, headers=headers, timeout=10, trust_env=False) as reader,
        RestClient(wanted.api_url, wanted.api_key, connections=WORKERS + 1) as client,
    ):
        newest = await _get(reader, "/v1/events", {"order": "newest_first", "limit": 1})
        teller = Teller(reader, newest["data"][0]["seq"] if newest["data"] else 0)
        try:
            if wanted.clock_rate:
                await client.set_test_clock(rate=wanted.clock_rate)
            if wanted.subscribers and not (await _get(reader, "/v1/subscriptions", {"limit": 1}))["data"]:
                await _bring_in(client, wanted.subscribers, stop)
            wanted.ready_file.touch()
            while not stop.is_set():
                print(await _told(teller), flush=True)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TELL_EVERY_S):
                        await stop.wait()
        finally:
            if wanted.clock_rate:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await client.set_test_clock(rate=0)


async def _told(teller: Teller) -> str:
    try:
        return await teller.line()
    except httpx.HTTPError as error:
        return f"the API does not answer ({type(error).__name__})"


async def _bring_in(client: RestClient, count: int, stop: asyncio.Event) -> None:
    print(f"{count} customers subscribe", flush=True)
    doors = Doors(closing=stop)
    await bring_in(
        client,
        await offer_plans(client),
        subscribers(count, _SEED),
        Figures(count),
        workers=WORKERS,
        doors=doors,
    )


async def _get(reader: httpx.AsyncClient, path: str, query: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = await reader.get(path, params=query or {})
    answer.raise_for_status()
    content: dict[str, Any] = answer.json()
    return content


async def _until_told_to_stop(wanted: Wanted) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await demo(wanted, stop)


def main() -> int:
    """Exit status."""
    try:
        wanted = Wanted.from_environment()
    except (ValueError, KeyError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    try:
        asyncio.run(_until_told_to_stop(wanted))
    except (RestError, httpx.HTTPError, TimeoutError, OSError) as error:
        print(f"demo: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
