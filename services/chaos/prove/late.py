"""Nobody charges for longer than anyone may need, once declared as a fault and once not."""

from datetime import timedelta

from chaos.judge.judging import connect
from chaos.judge.promptness import Promptness, Window, clock_piece
from chaos.judge.verdict import Verdict
from chaos.prove.control import Control
from chaos.prove.world import World

DUE = 6
BUDGET_S = 3.0
BEYOND_S = 1.0
"""How much longer than allowed nobody runs."""


async def _declared(world: World) -> Verdict:
    """Half of the subscriptions are charged at once, the other half fall due while nobody runs."""
    await world.play("replica-1")
    await world.subscribe(DUE)
    await world.until_paid(DUE)
    began = await world.clock()
    await world.nobody_runs()
    await world.subscribe(DUE)
    over = await world.clock() + (await _promptness(world)).allowance + timedelta(seconds=BEYOND_S)

    async def is_over() -> bool | None:
        return await world.clock() >= over or None

    await world.until("the time allowed is over", is_over)
    await world.play("replica-1")
    ended = await world.clock()
    await world.until_paid(2 * DUE)
    return await world.verdict(promptness=await _promptness(world, (began, ended)))


async def _undeclared(world: World) -> Verdict:
    return await world.verdict(promptness=await _promptness(world))


async def _promptness(world: World, *faults: Window) -> Promptness:
    connection = await connect(world.cluster.judge_database_url)
    try:
        piece = await clock_piece(connection)
    finally:
        connection.terminate()
    return Promptness(
        budget_s=BUDGET_S, lease_ttl_s=world.cluster.spec.lease_ttl_s, faults=faults, clock=(piece,)
    )


LATE = Control(
    name="late",
    what="no replica runs for longer than lease TTL and retry budget, and no fault is declared",
    breaks=frozenset({"I8"}),
    right=_declared,
    wrong=_undeclared,
    keeps_books=True,
)
