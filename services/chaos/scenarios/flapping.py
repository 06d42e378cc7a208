"""A leader whose links come and go."""

import asyncio
from collections import Counter

from chaos.drive.record import Fault
from chaos.drive.stage import Stage
from chaos.drive.target import EVERYTHING
from chaos.faults.links import flapping

FLAPS = 6
CUT_S = (0.8, 1.3)
WHOLE_S = (0.3, 0.6)
# What a replica logs about links that fail it for a moment.
COMPLAINTS = ("lease.renewal_failed", "election.unverified", "store.unavailable", "heartbeat.failed")


async def flap(stage: Stage) -> None:
    """Everything is cut for about a second, and whole for half of one, six times."""
    leader = await stage.leader()
    after_event = await stage.eyes.newest_event()
    bursts = [(stage.dice.uniform(*CUT_S), stage.dice.uniform(*WHOLE_S)) for _ in range(FLAPS)]
    async with flapping(stage, leader.name, *EVERYTHING, bursts=bursts) as fault:
        await asyncio.sleep(sum(cut_s + whole_s for cut_s, whole_s in bursts))
        complaints = _complaints(stage, leader.name, fault)
        stage.observe(
            f"{leader.name} feels it",
            complaints.total() > 0,
            ", ".join(f"{count} x {event}" for event, count in complaints.items()) or "no complaint",
            fault,
        )
        settled = await stage.eyes.settled(after_event=after_event)
        stage.observe("charges are settled in between", settled > 0, f"{settled} settled", fault)
    await stage.expect_charging(fault)
    terms = [term.number for term in await stage.eyes.terms(after=leader.term)]
    stage.observe(
        "moments shorter than trust cost at most one term",
        len(terms) <= 1,
        f"then terms {terms}" if terms else f"term {leader.term} goes on",
        fault,
    )


def _complaints(stage: Stage, replica: str, fault: Fault) -> Counter[str]:
    return Counter(
        {
            event: len(found)
            for event in COMPLAINTS
            if (found := stage.eyes.logged(replica, event, since=fault.began_at))
        }
    )
