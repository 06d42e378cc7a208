"""One term's work: run the pipeline until it ends, drains or must stop at once."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from middleman.leadership.timing import LifeTiming
from middleman.ports.coordinator import Candidacy
from middleman.ports.errors import ProcessorUnreachable, StaleTerm, TrustLost
from middleman.ports.office import DRAINED
from middleman.ports.store import StoreUnavailable
from middleman.ports.term import Term
from middleman.ports.trust import Trust

log = structlog.get_logger(__name__)


class Lead(Protocol):
    """The pipeline: everything that a leader does in its term.

    It returns only after ``draining`` is set: then it claims nothing more, lets calls in flight end,
    settles them and returns. It is cancelled when the lease is lost, must unwind at once, and starts
    no call to the processor without `Trust.require` right before it. It raises `StaleTerm` when the
    database refuses its term, `StoreUnavailable` when the database was away for too long, and
    `ProcessorUnreachable` when another replica should try.
    """

    async def __call__(self, term: Term, trust: Trust, draining: asyncio.Event) -> None:
        """Lead for one term."""
        ...


class PipelineStuck(Exception):
    """A cancelled pipeline did not end: the process must, because it may hold calls in flight."""


async def serve(
    lead: Lead,
    term: Term,
    candidacy: Candidacy,
    stopping: asyncio.Event,
    resigning: asyncio.Event,
    timing: LifeTiming,
) -> str:
    """Run ``lead`` for ``term`` until it is lost, or drain it when one of the two events is set.

    Returns why the term ended, `DRAINED` if it was asked to and had nothing left to do. On return the pipeline
    has stopped.

    Raises:
        PipelineStuck: the pipeline ignored its cancellation for ``hard_stop_s``.
        ProcessorUnreachable: the pipeline gave up, so that another replica may try; it has stopped.
    """
    draining = asyncio.Event()
    work = asyncio.create_task(_run(lead, term, candidacy.trust, draining), name=f"lead-{term.number}")
    lost = asyncio.create_task(candidacy.lost(), name=f"lost-{term.number}")
    asked = asyncio.create_task(_either(stopping, resigning), name=f"stop-{term.number}")
    try:
        await asyncio.wait({work, lost, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done() and not lost.done():
            log.info("term.draining", token=term.number, drain_s=timing.drain_s)
            draining.set()
            await asyncio.wait({work, lost}, timeout=timing.drain_s, return_when=asyncio.FIRST_COMPLETED)
        reason = _reason(work, lost, draining=draining.is_set(), drain_s=timing.drain_s)
    finally:
        lost.cancel()
        asked.cancel()
        await _stop(work, timing.hard_stop_s)
    return reason


async def _either(first: asyncio.Event, second: asyncio.Event) -> None:
    waits = [asyncio.create_task(first.wait()), asyncio.create_task(second.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _run(lead: Lead, term: Term, trust: Trust, draining: asyncio.Event) -> None:
    await lead(term, trust, draining)


def _reason(work: asyncio.Task[None], lost: asyncio.Task[str], *, draining: bool, drain_s: float) -> str:
    # A lost lease often takes the pipeline down with it: name the cause, not the consequence.
    if lost.done():
        return lost.result()
    if not work.done():
        return f"stopped; the pipeline was cut off after draining for {drain_s:g} s"
    if work.cancelled():
        return "the pipeline was cancelled from within"
    match work.exception():
        case None if draining:
            return DRAINED
        case None:
            return "the pipeline returned although nobody asked it to"
        case StaleTerm() as error:
            return f"the database refused the term: {error}"
        case TrustLost() as error:
            return str(error)
        case ProcessorUnreachable() as error:
            raise error
        case StoreUnavailable() as error:
            log.warning("pipeline.gave_up", reason=str(error))
            return f"the database was away for too long: {error}"
        case error:
            log.error("pipeline.crashed", exc_info=error)
            return f"the pipeline failed: {type(error).__name__}: {error}"


async def _stop(work: asyncio.Task[None], hard_stop_s: float) -> None:
    if not work.done():
        work.cancel()
        await asyncio.wait({work}, timeout=hard_stop_s)
    if not work.done():
        raise PipelineStuck(
            f"{work.get_name()} ignored its cancellation for {hard_stop_s:g} s: exit the process"
        )
    if not work.cancelled():
        work.exception()  # looked at above, or raised while unwinding: it must not be reported as unseen
