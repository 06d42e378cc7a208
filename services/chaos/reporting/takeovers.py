"""Which term followed which, and how long it took."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from chaos.drive.record import Fault
from chaos.reporting.spans import Takeover, TermSpan

LATE_SETTLE = timedelta(seconds=0.5)
"""A settle that was under way when its leader was struck may be committed this long after the fault's end."""


def takeovers(terms: Sequence[TermSpan], faults: Iterable[Fault]) -> tuple[Takeover, ...]:
    """One per term that followed another, in their order; `terms` must be ordered by number."""
    known = tuple(faults)
    return tuple(_takeover(victim, successor, known) for victim, successor in pairwise(terms))


def _takeover(victim: TermSpan, successor: TermSpan, faults: Sequence[Fault]) -> Takeover:
    fault = _cause(victim, successor, faults)
    # A term that settled nothing took over from nobody's charges: its own beginning is all there is.
    since = fault.began_at if fault is not None else victim.last_charge_at or victim.started_at
    charged = successor.first_charge_at
    return Takeover(
        victim=victim.holder,
        victim_term=victim.number,
        fault=fault.number if fault is not None else None,
        since=since,
        successor=successor.holder,
        term=successor.number,
        in_office_s=_seconds(since, successor.started_at),
        first_charge_s=_seconds(since, charged) if charged is not None else None,
    )


def _cause(victim: TermSpan, successor: TermSpan, faults: Sequence[Fault]) -> Fault | None:
    """The last fault on the leader that began in its term, and was not over while it still charged."""
    until = min(filter(None, (victim.ended_at, successor.started_at)))
    name = re.compile(rf"(?<![\w-]){re.escape(victim.holder)}(?![\w-])")
    candidates = [
        fault
        for fault in faults
        if name.search(fault.whom)
        and victim.started_at <= fault.began_at <= until
        and (
            fault.ended_at is None
            or victim.last_charge_at is None
            or fault.ended_at >= victim.last_charge_at - LATE_SETTLE
        )
    ]
    return max(candidates, key=lambda fault: fault.began_at, default=None)


def _seconds(since: datetime, until: datetime) -> float:
    return (until - since).total_seconds()
