"""A take-over as its successor measures it."""

from uuid import UUID

from structlog.testing import capture_logs
from tests.support.virtual_time import VirtualClock, in_virtual_time

from middleman.leadership.takeover import LostBy, Measured, Stage, TakeoverWatch
from middleman.ports.coordinator import Election
from middleman.ports.term import Term

TERM = Term(7, UUID(int=7), 0, "replica-2#bb", 11)


class Successor:
    """A watch whose moments are seconds of virtual time, and what it told."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.told: list[Measured] = []
        self.watch = TakeoverWatch(self.clock, self.told.append)

    async def later(self, seconds: float) -> float:
        await self.clock.sleep(seconds)
        return self.clock.boottime_s()

    async def elected(self, *, vacant_s: float | None) -> None:
        self.watch.elected(Election(11, 1, vacant_s), await self.later(1))

    async def charged(self) -> dict[str, float]:
        """From the term's start to its first charge, a second each; returns what was told."""
        self.watch.in_office(TERM, await self.later(1))
        await self.later(1)
        self.watch.recovered()
        await self.later(1)
        self.watch.claimed("due", 4)
        await self.later(1)
        self.watch.settled()
        return self.stages()

    def stages(self) -> dict[str, float]:
        return {stage.value: round(s, 6) for stage, s in self.told[-1].stages.items()}


@in_virtual_time
async def test_a_crash_is_measured_from_the_broken_pulse_through_every_stage() -> None:
    successor = Successor()
    broke_s = await successor.later(10)
    successor.watch.pulse_broken(broke_s, await successor.later(1))
    vacant_s = await successor.later(1)
    successor.watch.leader_revoked(await successor.later(0.5))
    await successor.elected(vacant_s=vacant_s)
    with capture_logs() as logs:
        stages = await successor.charged()
    assert list(stages.items()) == [
        ("noticed", 1.0),
        ("revoked", 2.0),  # when we saw the key go, which was before the answer to our own revocation
        ("elected", 3.5),
        ("in_office", 4.5),
        ("recovered", 5.5),
        ("claimed", 6.5),
        ("charged", 7.5),
    ]
    assert (successor.told[0].token, successor.told[0].lost_by) == (7, LostBy.PULSE)
    [line] = logs
    assert line["event"] == "takeover.measured"
    assert (line["token"], line["lost_by"], line["noticed_ms"], line["charged_ms"]) == (
        7,
        "pulse",
        1e3,
        7.5e3,
    )


@in_virtual_time
async def test_a_resignation_is_measured_from_the_moment_at_which_its_key_was_gone() -> None:
    successor = Successor()
    vacant_s = await successor.later(10)
    await successor.elected(vacant_s=vacant_s)
    successor.watch.pulse_broken(await successor.later(0), await successor.later(0))  # it exits afterwards
    assert await successor.charged() == {
        "elected": 1.0,
        "in_office": 2.0,
        "recovered": 3.0,
        "claimed": 4.0,
        "charged": 5.0,
    }
    assert successor.told[0].lost_by is LostBy.KEY


@in_virtual_time
async def test_a_pulse_that_broke_after_the_key_was_gone_was_not_the_first_sign() -> None:
    successor = Successor()
    vacant_s = await successor.later(10)
    successor.watch.pulse_broken(await successor.later(0.25), await successor.later(0.25))
    await successor.elected(vacant_s=vacant_s)
    stages = await successor.charged()
    assert (stages["elected"], successor.told[0].lost_by) == (1.5, LostBy.KEY)
    assert "noticed" not in stages


@in_virtual_time
async def test_the_first_leader_of_all_is_measured_from_its_election() -> None:
    successor = Successor()
    await successor.elected(vacant_s=None)
    assert (await successor.charged())["in_office"] == 1.0
    assert successor.told[0].lost_by is LostBy.NOTHING


@in_virtual_time
async def test_a_leader_that_died_before_the_last_one_does_not_count() -> None:
    successor = Successor()
    successor.watch.pulse_broken(await successor.later(1), await successor.later(1))
    successor.watch.pulse_felt()  # somebody else took over, and lives
    vacant_s = await successor.later(100)
    await successor.elected(vacant_s=vacant_s)
    assert (await successor.charged())["elected"] == 1.0


@in_virtual_time
async def test_recovery_may_settle_the_first_charge_before_anything_is_claimed() -> None:
    successor = Successor()
    await successor.elected(vacant_s=None)
    successor.watch.in_office(TERM, await successor.later(1))
    await successor.later(1)
    successor.watch.settled()
    assert successor.stages() == {"elected": 0.0, "in_office": 1.0, "charged": 2.0}
    assert not successor.told[0].idle


@in_virtual_time
async def test_a_charge_that_waited_for_work_says_so() -> None:
    successor = Successor()
    await successor.elected(vacant_s=None)
    successor.watch.in_office(TERM, await successor.later(1))
    successor.watch.recovered()
    for kind in ("due", "retry"):
        successor.watch.claimed(kind, 0)
    await successor.later(30)
    successor.watch.claimed("due", 1)
    successor.watch.settled()
    assert successor.told[0].idle


@in_virtual_time
async def test_each_term_is_told_once_and_one_that_charged_nothing_never() -> None:
    successor = Successor()
    for _ in range(2):
        await successor.elected(vacant_s=None)
        await successor.charged()
        successor.watch.settled()
        successor.watch.ended()
    await successor.elected(vacant_s=None)
    successor.watch.in_office(TERM, await successor.later(1))
    successor.watch.ended()
    successor.watch.settled()
    assert len(successor.told) == 2
    assert Stage.CHARGED in successor.told[-1].stages
