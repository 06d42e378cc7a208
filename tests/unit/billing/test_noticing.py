"""A notice makes the leader look, and nothing else: what is done about it is what the processor shows."""

from collections.abc import MutableMapping
from typing import Any

import pytest
from tests.support.pipeline_rig import Bench, CallsByScript, lasting_trust
from tests.support.virtual_time import in_virtual_time

from middleman.billing.calls import Draining
from middleman.billing.noticing import Looker
from middleman.domain.attempts import Declined, Unknown
from middleman.domain.ids import ChargeId, NoticeId, PaymentIntentId
from middleman.domain.intents import IntentSnapshot, IntentStatus
from middleman.domain.money import Money
from middleman.ports.errors import TrustLost
from middleman.ports.processor import Missing, NotSent, OperatorFault
from middleman.ports.store import Finding, Look, OpenAttempt, PendingNotice

PI = PaymentIntentId("pi_1")
NOTICE = PendingNotice(NoticeId("evt_1"), PI)


def snapshot(status: IntentStatus, **fields: Any) -> IntentSnapshot:
    return IntentSnapshot(PI, status, Money(999, "EUR"), **fields)


class Desk:
    """A looker before a processor that follows a script."""

    def __init__(self, *reads: object) -> None:
        self.journal: list[str] = []
        self.heeded: list[Look] = []
        self.deferred: list[NoticeId] = []
        self.parked: list[tuple[NoticeId, int]] = []
        self.bench = Bench(CallsByScript(self.journal, read=reads))

    async def park_notice(self, notice: PendingNotice, *, times: int) -> None:
        self.parked.append((notice.notice_id, times))

    async def heed(self, look: Look) -> OpenAttempt | None:
        self.heeded.append(look)
        return None

    async def look(self) -> None:
        looker = Looker(self.bench.calls(), self, self.bench.observer, self.deferred.append)
        assert await looker.look(NOTICE) is None

    @property
    def findings(self) -> list[Finding]:
        assert all(look.notice_id == NOTICE.notice_id for look in self.heeded)
        return [look.finding for look in self.heeded]


@pytest.mark.parametrize(
    ("status", "finding"),
    [
        (IntentStatus.SUCCEEDED, Finding.SUCCEEDED),
        (IntentStatus.CANCELED, Finding.CANCELED),
        (IntentStatus.REQUIRES_ACTION, Finding.NEITHER),
        (IntentStatus.REQUIRES_CONFIRMATION, Finding.NEITHER),
        (IntentStatus.REQUIRES_PAYMENT_METHOD, Finding.NEITHER),
        (IntentStatus.REQUIRES_CAPTURE, Finding.NEITHER),
        (IntentStatus.PROCESSING, Finding.NEITHER),
    ],
)
@in_virtual_time
async def test_only_what_the_processor_shows_counts(status: IntentStatus, finding: Finding) -> None:
    desk = Desk(snapshot(status, latest_charge_id=ChargeId("ch_1"), last_decline=Declined("card_declined")))
    await desk.look()
    assert desk.findings == [finding]
    assert {step for step, _ in desk.bench.observer.calls} == {"read"}, "nothing but a read"


@in_virtual_time
async def test_without_an_answer_it_asks_again_and_lets_others_go_ahead() -> None:
    desk = Desk(Unknown("timeout"), NotSent("no_connection"), snapshot(IntentStatus.SUCCEEDED))
    await desk.look()
    assert desk.findings == [Finding.SUCCEEDED]
    assert desk.deferred == [NOTICE.notice_id] * 2


@pytest.mark.parametrize("answer", [Missing(), OperatorFault("not_authorized", "check the key")])
@in_virtual_time
async def test_an_intent_that_is_bound_and_not_to_be_seen_is_asked_for_until_it_is(answer: object) -> None:
    desk = Desk(answer, answer, snapshot(IntentStatus.SUCCEEDED))
    await desk.look()
    assert desk.findings == [Finding.SUCCEEDED], "the hint was not used up by a key of another account"
    assert desk.deferred == [NOTICE.notice_id] * 2


@in_virtual_time
async def test_a_replica_that_drains_leaves_the_notice_to_its_successor() -> None:
    desk = Desk(snapshot(IntentStatus.SUCCEEDED))
    desk.bench.draining.set()
    with pytest.raises(Draining):
        await desk.look()
    assert desk.heeded == []


@in_virtual_time
async def test_who_is_not_trusted_any_more_does_not_ask() -> None:
    desk = Desk(snapshot(IntentStatus.SUCCEEDED))
    trust = lasting_trust(desk.bench.clock)
    trust.end("lease lost")
    desk.bench.trust = trust
    with pytest.raises(TrustLost):
        await desk.look()
    assert desk.heeded == []


async def test_a_notice_with_nothing_in_it_is_told_of(logs: list[MutableMapping[str, Any]]) -> None:
    await Desk(snapshot(IntentStatus.REQUIRES_PAYMENT_METHOD)).look()
    assert [entry["event"] for entry in logs] == ["notice.unfounded"]
