"""What counts as proved: the wrong went red where it had to, the right stayed green, and both could be played."""

import io
from dataclasses import replace
from typing import cast

import pytest
from rich.console import Console
from tests.support.doctored import INVOICES, books, intent, ledger

from chaos.judge.judging import judge_snapshot
from chaos.judge.verdict import Verdict
from chaos.prove.control import Control
from chaos.prove.proof import INVARIANTS, Proof, Proofs, table
from chaos.prove.proving import CONTROLS, prove
from chaos.prove.sight import NotProvokedError
from chaos.prove.world import World
from cluster.cluster import Cluster
from middleman.entrypoints.cli import main
from middleman.settings import UNSAFE_SWITCHES

GREEN = judge_snapshot(ledger(), books(), require_rest=True)
RED = judge_snapshot(ledger(intent(INVOICES[0], id="pi_twin")), books(), require_rest=True)
"""Breaks I1, I2, I5 and I9."""


class Still(World):
    """Nothing runs in it; it counts how often it was emptied."""

    cleaned = 0

    async def clean(self) -> None:
        self.cleaned += 1


def still() -> Still:
    return Still(cast(Cluster, None), {})


def control(right: Verdict | Exception, wrong: Verdict | Exception, **changes: object) -> Control:
    async def play(_: World, verdict: Verdict | Exception) -> Verdict:
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    made = Control(
        name="test",
        what="something is done wrong",
        breaks=frozenset({"I1"}),
        right=lambda world: play(world, right),
        wrong=lambda world: play(world, wrong),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # fields of Control


async def proof_of(made: Control) -> Proof:
    [proof] = (await prove(still(), [made], say=lambda _: None)).proofs
    return proof


async def test_red_beside_green_is_a_proof_with_a_finding_of_each_invariant() -> None:
    proof = await proof_of(control(GREEN, RED))
    assert proof.holds
    assert list(proof.caught_by) == ["I1", "I2", "I5", "I9"]
    assert proof.caught_by["I1"].startswith("sub_1: period 0 was charged 2 times")


async def test_a_wrong_that_nobody_sees_is_no_proof() -> None:
    proof = await proof_of(control(GREEN, GREEN))
    assert not proof.holds
    assert proof.caught_by == {}


async def test_a_wrong_that_only_other_invariants_see_is_no_proof() -> None:
    assert not (await proof_of(control(GREEN, RED, breaks=frozenset({"I1", "I8"})))).holds


async def test_a_judge_that_is_red_whatever_is_done_proves_nothing() -> None:
    proof = await proof_of(control(RED, RED))
    assert not proof.holds
    assert not proof.twin_holds
    assert "the right is red as well" in proof.trouble


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        (NotProvokedError("x"), RED, "the right could not be played: NotProvokedError: x"),
        (GREEN, NotProvokedError("y"), "the wrong could not be played: NotProvokedError: y"),
        (GREEN, OSError("z"), "the wrong could not be played: OSError: z"),
    ],
)
async def test_what_could_not_be_played_is_no_proof_and_the_next_has_its_turn(
    right: Verdict | Exception, wrong: Verdict | Exception, told: str
) -> None:
    proofs = await prove(still(), [control(right, wrong), control(GREEN, RED)], say=lambda _: None)
    assert [proof.holds for proof in proofs.proofs] == [False, True]
    assert proofs.proofs[0].trouble == told


async def test_a_defect_of_a_control_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        await proof_of(control(GREEN, ZeroDivisionError()))


async def test_each_play_begins_on_empty_books_unless_it_needs_what_its_twin_left() -> None:
    for keeps_books, cleaned in ((False, 2), (True, 1)):
        world = still()
        await prove(world, [control(GREEN, RED, keeps_books=keeps_books)], say=lambda _: None)
        assert world.cleaned == cleaned


async def test_all_is_proved_only_when_every_invariant_has_said_no() -> None:
    proof = await proof_of(control(GREEN, RED))
    some = Proofs((proof,), 1.0)
    assert not some.holds
    assert some.never_red == ("I3", "I4", "I6", "I7", "I8")
    everything = Proofs((replace(proof, caught_by=dict.fromkeys(sorted(INVARIANTS), "seen")),), 1.0)
    assert everything.holds
    assert not Proofs((*everything.proofs, replace(proof, twin_holds=False)), 1.0).holds


async def test_the_table_says_what_is_missing() -> None:
    proof = await proof_of(control(GREEN, GREEN))
    shown = io.StringIO()
    Console(width=100, file=shown).print(table(Proofs((proof,), 1.0)))
    text = shown.getvalue()
    assert "NOT PROVED" in text
    assert "✗ test: must break I1, caught by nobody; done right it stays green" in text
    assert "the judge saw nothing wrong" in text
    assert "never seen red: I1, I2" in text


def test_every_unsafe_build_has_a_control_and_together_they_break_every_invariant() -> None:
    names = {each.name for each in CONTROLS}
    assert set(UNSAFE_SWITCHES) <= names
    assert len(names) == len(CONTROLS)
    assert {name for each in CONTROLS for name in each.breaks} == INVARIANTS


def test_a_report_that_cannot_be_written_is_said_before_anything_is_started(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["chaos", "prove-judge", "--json", "/nowhere/at/all.json"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "middleman: cannot write /nowhere/at/all.json: name a file in a directory that exists\n"
    )
