"""Plays every control: first its right twin, then the wrong."""

import time
from collections.abc import Callable, Sequence

import asyncpg
import httpx

from chaos.judge.judging import CannotJudgeError
from chaos.judge.verdict import Verdict, broken
from chaos.prove.builds import BUILDS
from chaos.prove.control import Control
from chaos.prove.doctored import DOCTORED
from chaos.prove.late import LATE
from chaos.prove.proof import Proof, Proofs
from chaos.prove.sight import NotProvokedError
from chaos.prove.world import World
from cluster.errors import ClusterError

CONTROLS: tuple[Control, ...] = (*BUILDS, LATE, *DOCTORED)

_PLAY_ERRORS = (
    NotProvokedError,
    CannotJudgeError,
    ClusterError,
    OSError,
    httpx.HTTPError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
)


async def prove(
    world: World, controls: Sequence[Control] = CONTROLS, *, say: Callable[[str], None]
) -> Proofs:
    """Every control, one after the other. One that cannot be played is not proved, and the next has its turn."""
    began_s = time.monotonic()
    proofs: list[Proof] = []
    undone = False
    for control in controls:
        say(f"{control.name}: {control.what}")
        proofs.append(await _prove(world, control, same_books=undone and control.keeps_books))
        undone = control.keeps_books and proofs[-1].holds
        say(f"{control.name}: {_told(proofs[-1])}")
    return Proofs(tuple(proofs), time.monotonic() - began_s)


async def _prove(world: World, control: Control, *, same_books: bool) -> Proof:
    """`same_books`: the control before undid what it did, so that its twin's books are this one's as well."""
    began_s = time.monotonic()
    right: Verdict | None = None
    wrong: Verdict | None = None
    trouble = ""
    try:
        if same_books:
            right = await world.verdict()
        else:
            await world.clean()
            right = await control.right(world)
        if not control.keeps_books:
            await world.clean()
        wrong = await control.wrong(world)
    except _PLAY_ERRORS as error:
        played = "the wrong" if right is not None else "the right"
        trouble = f"{played} could not be played: {type(error).__name__}: {error}"
    if right is not None and not right.holds:
        trouble = f"the right is red as well: {_first_findings(right)}"
    return Proof(
        name=control.name,
        what=control.what,
        breaks=tuple(sorted(control.breaks)),
        caught_by={} if wrong is None else _first_findings(wrong),
        twin_holds=right is not None and right.holds,
        trouble=trouble,
        took_s=round(time.monotonic() - began_s, 1),
    )


def _first_findings(verdict: Verdict) -> dict[str, str]:
    return {
        name: f"{result.violations[0].subject}: {result.violations[0].detail}"
        for name, result in broken(verdict).items()
    }


def _told(proof: Proof) -> str:
    caught = ", ".join(proof.caught_by) or "nobody"
    twin = "stays green" if proof.twin_holds else "is NOT green"
    outcome = "proved" if proof.holds else "NOT PROVED"
    return f"{outcome} after {proof.took_s:.1f} s: caught by {caught}; its twin {twin}" + (
        f" ({proof.trouble})" if proof.trouble else ""
    )
