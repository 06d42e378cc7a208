"""Where work comes from: what a predecessor left, then what is due; through a database that goes away."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.memory_store import MemoryStore
from tests.support.pipeline_rig import (
    CountingObserver,
    Journalling,
    a_clock_check,
    a_term,
    an_attempt,
    lasting_trust,
)
from tests.support.virtual_time import VirtualClock, in_virtual_time

from middleman.billing.breaker import Breaker, Go
from middleman.billing.claiming import Claimer
from middleman.billing.clock_check import ClockCheckedStore
from middleman.billing.due import LOOK_BACK_INTERVAL_S, DueClaims
from middleman.billing.in_flight import InFlight
from middleman.billing.parked_work import ParkedWork
from middleman.billing.parking import ParkedBudget
from middleman.billing.patience import Patience
from middleman.domain.ids import AttemptId, NoticeId, PaymentIntentId
from middleman.ports.errors import StaleTerm, TrustLost
from middleman.ports.processor import OperatorFault
from middleman.ports.store import OpenAttempt, PendingNotice, StoreUnavailable
from middleman.ports.trust import TrustWindow

POLL_S = 0.2
YEAR_S = 365 * 86_400.0
SWEEP_S = 60.0
PATIENCE_S = 10.0


class Desk:
    """A claimer at work. What it takes on is settled at once, unless `carry` says otherwise."""

    def __init__(self, store: MemoryStore, *, batch: int = 10, limit: int = 100) -> None:
        self.store = store
        self.clock = VirtualClock()
        self.trust: TrustWindow = lasting_trust(self.clock)
        self.draining = asyncio.Event()
        self.in_flight = InFlight(limit)
        self.observer = CountingObserver()
        self.breaker = Breaker(self.clock, self.observer)
        self.taken: list[tuple[AttemptId, bool]] = []
        self.looked_into: list[PendingNotice] = []
        self.carry: Callable[[OpenAttempt], None] = self.settle
        term, patience = a_term(), Patience(self.clock, PATIENCE_S)
        self.claimer = Claimer(
            term=term,
            trust=self.trust,
            draining=self.draining,
            store=store,
            due=DueClaims(
                term,
                ClockCheckedStore(store, a_clock_check(self.clock, observer=self.observer)),
                self.clock,
                patience,
                self.observer,
                max_overdue=3,
            ),
            in_flight=self.in_flight,
            breaker=self.breaker,
            take_on=self.take_on,
            look_into=self.look_into,
            clock=self.clock,
            uniform=lambda: 1.0,
            failpoints=Journalling(store.journal),
            observer=self.observer,
            patience=patience,
            parked=ParkedWork(ParkedBudget(self.clock), self.clock, at_once=4, read_rate_per_s=lambda: None),
            batch=batch,
            claim_room=max(1, min(batch // 2, limit // 4)),
            idle_poll_s=POLL_S,
            sweep_interval_s=SWEEP_S,
        )

    def take_on(self, attempt: OpenAttempt, found: bool) -> None:
        """As the pipeline does: nothing is carried twice."""
        if self.in_flight.add(attempt.attempt_id):
            self.taken.append((attempt.attempt_id, found))
            self.carry(attempt)

    def look_into(self, notice: PendingNotice) -> None:
        """Somebody looks."""
        self.looked_into.append(notice)

    def settle(self, attempt: OpenAttempt) -> None:
        """Carried to its end."""
        self.store.open.pop(attempt.attempt_id, None)
        self.in_flight.discard(attempt.attempt_id)

    def keep(self, attempt: OpenAttempt) -> None:
        """Still being carried."""

    @property
    def taken_ids(self) -> list[AttemptId]:
        return [attempt_id for attempt_id, _ in self.taken]


@asynccontextmanager
async def at_work(desk: Desk) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(desk.claimer.run())
    try:
        yield task
    finally:
        desk.draining.set()
        with suppress(StaleTerm, TrustLost):
            async with asyncio.timeout(1):
                await task


def attempts(*names: str) -> list[OpenAttempt]:
    return [an_attempt(name) for name in names]


def ids(*names: str) -> list[AttemptId]:
    return [each.attempt_id for each in attempts(*names)]


def store_with(*, due: str = "", found: str = "", retries: str = "") -> MemoryStore:
    return MemoryStore(
        due=deque(attempts(*due.split())),
        retries=deque(attempts(*retries.split())),
        open={each.attempt_id: each for each in attempts(*found.split())},
    )


@in_virtual_time
async def test_what_a_predecessor_left_comes_before_anything_new() -> None:
    desk = Desk(store_with(due="new1 new2", found="old1 old2", retries="again"))
    async with at_work(desk):
        await asyncio.sleep(1)
    assert desk.taken == [
        *((attempt, True) for attempt in ids("old1", "old2")),
        *((attempt, False) for attempt in ids("new1", "new2", "again")),
    ]
    assert desk.observer.recoveries == [2]
    assert desk.observer.claims[:3] == [("due", 2), ("due", 0), ("retry", 1)]


@in_virtual_time
async def test_while_the_clocks_are_apart_nothing_new_is_claimed_and_what_is_open_goes_on() -> None:
    desk = Desk(store_with(due="new", found="old", retries="again"))
    desk.store.clock_ahead_s = YEAR_S
    notice = PendingNotice(NoticeId("evt_1"), PaymentIntentId("pi_1"))
    desk.store.notices[notice.notice_id] = (notice, an_attempt("told"))
    async with at_work(desk):
        await asyncio.sleep(30)
        assert desk.taken == [(*ids("old"), True)]
        assert notice in desk.looked_into
        assert desk.observer.wrong_clocks == ["undecided"]
        desk.store.notices.clear()
        desk.store.clock_ahead_s = 0.0
        await asyncio.sleep(1)
    assert desk.taken_ids == ids("old", "new", "again")
    assert desk.observer.wrong_clocks == ["undecided", None]


@in_virtual_time
async def test_claims_stop_in_the_middle_of_a_term_when_this_machines_clock_is_set_wrong() -> None:
    desk = Desk(store_with(due="first"))
    async with at_work(desk):
        await asyncio.sleep(1)
        desk.clock.wall_ahead_s = -YEAR_S
        desk.store.due.extend(attempts("second"))
        desk.store.retries.extend(attempts("third"))
        await asyncio.sleep(60)
        assert desk.taken_ids == ids("first")
        desk.clock.wall_ahead_s = 0.0
        await asyncio.sleep(1)
    assert desk.taken_ids == ids("first", "second", "third")


@in_virtual_time
async def test_the_breaker_gets_no_probe_claimed_while_the_clocks_are_apart() -> None:
    desk = Desk(store_with())
    async with at_work(desk):
        await asyncio.sleep(1)
        refuse(desk.breaker)
        desk.store.clock_ahead_s = YEAR_S
        desk.store.due.extend(attempts("probe"))
        desk.store.retries.extend(attempts("again"))
        await asyncio.sleep(120)
    assert desk.taken == []


@in_virtual_time
async def test_while_the_processor_refuses_us_nothing_is_claimed_but_a_probe_and_notices_are_looked_into() -> (
    None
):
    desk = Desk(store_with(due=" ".join(f"n{n}" for n in range(50)), retries="again"))
    notice = PendingNotice(NoticeId("evt_1"), PaymentIntentId("pi_1"))
    desk.store.notices = {notice.notice_id: (notice, an_attempt("told"))}
    refuse(desk.breaker)
    async with at_work(desk):
        await asyncio.sleep(6)
        assert desk.taken == []
        assert desk.looked_into[:1] == [notice]
        await asyncio.sleep(4)
        assert len(desk.taken) == 2, "one every two seconds, since nobody takes the probe here"
        desk.breaker.reset()
        await asyncio.sleep(5)
    assert len(desk.taken) == 51


def refuse(breaker: Breaker) -> None:
    """Open the circuit of `confirm`."""
    for number in range(50):
        go = breaker.admit("confirm")
        if isinstance(go, Go):
            breaker.answered("confirm", f"pi_{number}", OperatorFault("invalid_request_error", "no"), go)
    assert breaker.is_open


@in_virtual_time
async def test_recovery_goes_page_by_page_and_finds_each_once() -> None:
    names = [f"n{n}" for n in range(25)]
    desk = Desk(store_with(found=" ".join(names)), batch=10)
    desk.carry = desk.keep
    async with at_work(desk) as task:
        await asyncio.sleep(1)
        assert desk.taken_ids == ids(*names)
        assert not task.done()
        assert "claim_due" not in " ".join(desk.store.journal), (
            "nothing is claimed while what was found is carried"
        )
        for attempt in attempts(*names):
            desk.settle(attempt)
        await asyncio.sleep(1)
        assert "claim_due" in " ".join(desk.store.journal)


@in_virtual_time
async def test_a_terms_first_charges_go_ahead_of_the_crowd() -> None:
    desk = Desk(store_with(due=" ".join(f"n{n}" for n in range(30))), batch=20)
    desk.carry = desk.keep
    async with at_work(desk):
        await asyncio.sleep(0.1)
        assert len(desk.taken) == 2
        desk.in_flight.discard(desk.taken_ids[0])
        await asyncio.sleep(0.01)
        assert len(desk.taken) == 30, "one was settled, so there is a way through"


@in_virtual_time
async def test_the_first_that_were_found_go_ahead_of_the_others_too() -> None:
    names = [f"n{n}" for n in range(7)]
    desk = Desk(store_with(found=" ".join(names)), batch=20)
    desk.carry = desk.keep
    async with at_work(desk):
        await asyncio.sleep(0.1)
        assert desk.taken_ids == ids("n0", "n1"), "the oldest"
        desk.settle(an_attempt("n1"))
        await asyncio.sleep(0.01)
        assert desk.taken_ids == ids(*names)


@in_virtual_time
async def test_who_was_drained_meanwhile_leaves_the_others_to_its_successor() -> None:
    desk = Desk(store_with(found="a b c d"), batch=20)
    desk.carry = desk.keep
    async with at_work(desk) as task:
        await asyncio.sleep(0.1)
        desk.draining.set()
        await task
        assert desk.taken_ids == ids("a", "b", "c", "d"), "each is told at its first step that we drain"


@in_virtual_time
async def test_the_crowd_does_not_wait_for_long_when_the_first_get_no_answer() -> None:
    desk = Desk(store_with(due=" ".join(f"n{n}" for n in range(30))), batch=20)
    desk.carry = desk.keep
    async with at_work(desk):
        await asyncio.sleep(0.3)
        assert len(desk.taken) == 30


@in_virtual_time
async def test_an_attempt_that_gets_no_answer_does_not_hold_up_what_is_due() -> None:
    desk = Desk(store_with(due="new", found="poisoned"))
    poisoned = an_attempt("poisoned").attempt_id
    desk.carry = lambda each: (
        desk.in_flight.defer(each.attempt_id) if each.attempt_id == poisoned else desk.settle(each)
    )
    async with at_work(desk):
        await asyncio.sleep(1)
        assert desk.taken_ids == ids("poisoned", "new")
        assert len(desk.in_flight) == 1, "it is being carried for ever, beside everything else"


@in_virtual_time
async def test_a_full_batch_is_followed_by_the_next_at_once() -> None:
    desk = Desk(store_with(due=" ".join(f"n{n}" for n in range(35))), batch=10)
    async with at_work(desk):
        await asyncio.sleep(POLL_S / 4)
        assert len(desk.taken) == 35


@in_virtual_time
async def test_with_nothing_due_the_database_is_asked_once_per_poll() -> None:
    desk = Desk(store_with())
    async with at_work(desk):
        await asyncio.sleep(10 * POLL_S)
    assert 9 <= desk.store.journal.count("claim_due 0") <= 11


@in_virtual_time
async def test_no_more_is_claimed_than_there_is_room_for() -> None:
    desk = Desk(store_with(due=" ".join(f"n{n}" for n in range(30))), batch=10, limit=12)
    desk.carry = desk.keep
    async with at_work(desk):
        await asyncio.sleep(1)
        assert len(desk.taken) == 11, "one place was kept for a retry"
        for attempt_id in desk.taken_ids[:6]:
            desk.in_flight.discard(attempt_id)
        await asyncio.sleep(1)
        assert len(desk.taken) == 17, "again"
        assert len(desk.in_flight) == 11


@in_virtual_time
async def test_a_batch_of_one_is_bounded_as_well() -> None:
    desk = Desk(store_with(due=" ".join(f"n{n}" for n in range(30))), batch=1, limit=12)
    desk.carry = desk.keep
    async with at_work(desk):
        await asyncio.sleep(5)
        assert len(desk.taken) == 12


@in_virtual_time
async def test_a_small_batch_keeps_room_for_retries_and_notices_too() -> None:
    store = store_with(due=" ".join(f"n{n}" for n in range(500)), retries="again")
    notice = PendingNotice(NoticeId("evt_1"), PaymentIntentId("pi_1"))
    store.notices[notice.notice_id] = (notice, an_attempt("filed"))
    desk = Desk(store, batch=2, limit=8)
    async with at_work(desk):
        await asyncio.sleep(0.01)
        assert ids("again")[0] in desk.taken_ids
        assert notice in desk.looked_into


@in_virtual_time
async def test_one_attempt_without_an_answer_does_not_stop_claims_of_large_batches() -> None:
    desk = Desk(store_with(due="stuck " + " ".join(f"n{n}" for n in range(30))), batch=40, limit=12)
    stuck = ids("stuck")[0]
    desk.carry = lambda attempt: None if attempt.attempt_id == stuck else desk.settle(attempt)
    async with at_work(desk):
        await asyncio.sleep(5)
        assert len(desk.taken) == 31


@in_virtual_time
async def test_parked_attempts_are_tried_few_at_once_beside_what_is_due() -> None:
    store = store_with(due="new", found=" ".join(f"p{n}" for n in range(50)))
    store.parked = list(store.open)
    desk = Desk(store)
    desk.carry = lambda attempt: desk.settle(attempt) if attempt.attempt_id not in store.parked else None
    async with at_work(desk):
        await asyncio.sleep(5)
        tried = [attempt for attempt in desk.taken_ids if attempt in store.parked]
        assert ids("new")[0] in desk.taken_ids
        assert len(tried) == 4
        desk.in_flight.discard(tried[0])
        await asyncio.sleep(1)
        assert len([attempt for attempt in desk.taken_ids if attempt in store.parked]) == 5


@in_virtual_time
async def test_retries_and_notices_get_their_share_however_much_is_due() -> None:
    store = store_with(due=" ".join(f"n{n}" for n in range(500)), retries="again")
    notice = PendingNotice(NoticeId("evt_1"), PaymentIntentId("pi_1"))
    store.notices[notice.notice_id] = (notice, an_attempt("told"))
    desk = Desk(store, batch=20, limit=40)
    desk.carry = desk.keep
    async with at_work(desk):
        await asyncio.sleep(5)
        assert ids("again")[0] in desk.taken_ids
        assert notice in desk.looked_into
        assert len(store.due) > 400, "and the crowd still waits"


@in_virtual_time
async def test_a_subscription_that_cannot_be_billed_is_set_aside_and_the_others_are_billed() -> None:
    names = [f"n{n}" for n in range(35)]
    store = store_with(due=" ".join(names))
    odd = an_attempt("n3")
    store.odd = {odd.subscription_id}
    desk = Desk(store, batch=10)
    async with at_work(desk):
        await asyncio.sleep(5)
        assert set(desk.taken_ids) == set(ids(*names)) - {odd.attempt_id}
        assert store.set_aside == {odd.subscription_id}
        assert [each.attempt_id for each in store.due] == [odd.attempt_id], "it stays due"


@in_virtual_time
async def test_claims_one_by_one_are_timed_like_every_other() -> None:
    store = store_with(due="odd a b")
    store.odd = {an_attempt("odd").subscription_id}
    store.foresees = False
    store.answers_after_s = 0.1
    desk = Desk(store)
    async with at_work(desk):
        await asyncio.sleep(2)
    assert desk.observer.claims[0] == ("due", 1), "the first batch is one of two, and one of these is odd"
    assert desk.observer.claims_took_s[0] == pytest.approx(0.4), (
        "a look, one for each, and one that sets aside"
    )
    assert store.set_aside == store.odd


@in_virtual_time
async def test_any_number_of_subscriptions_that_cannot_be_billed_ends_no_term() -> None:
    names = [f"n{n}" for n in range(3000)]
    store = store_with(due=" ".join(names))
    store.odd = {each.subscription_id for each in store.due}
    store.due.extend(attempts("fine"))
    desk = Desk(store, batch=500, limit=2000)
    async with at_work(desk):
        await asyncio.sleep(5)
        assert desk.taken_ids == ids("fine")
        assert store.set_aside == store.odd


@in_virtual_time
async def test_what_was_set_aside_is_tried_again_once_a_minute_and_no_more_often() -> None:
    desk = Desk(store_with())
    async with at_work(desk):
        await asyncio.sleep(150)
        assert desk.store.set_aside_retries == 3


@in_virtual_time
async def test_a_retry_that_is_refused_is_put_off_and_the_others_go_on() -> None:
    store = store_with(retries="a odd b")
    store.odd_retries = {an_attempt("odd").invoice_id}
    desk = Desk(store)
    async with at_work(desk):
        await asyncio.sleep(2)
        assert sorted(desk.taken_ids) == sorted(ids("a", "b"))


@in_virtual_time
async def test_what_was_claimed_alone_before_the_database_went_away_is_found_by_recovery() -> None:
    class GoesAway(MemoryStore):
        """It answers no claim after the first of a single period."""

        def refuse(self, kind: str) -> None:
            if kind == "claim_period_of" and self.journal[-1] == "claim_period_of 1":
                self.journal.append("gone")
                raise StoreUnavailable("no answer")

    store = GoesAway(due=deque(attempts("x", "y", "odd", "a", "b")), odd={an_attempt("odd").subscription_id})
    store.foresees = False
    desk = Desk(store, batch=20)
    async with at_work(desk):
        await asyncio.sleep(5)
    assert sorted(desk.taken_ids) == sorted(ids("a", "b", "x", "y"))
    assert (ids("a")[0], True) in desk.taken
    assert desk.observer.unavailable == 1


@in_virtual_time
async def test_what_is_due_behind_the_watermark_waits_for_the_next_look_back_and_no_longer() -> None:
    began = datetime(2026, 11, 1, tzinfo=UTC)
    store = store_with()
    desk = Desk(store)

    def falls_due(name: str, start: datetime) -> None:
        [attempt] = attempts(name)
        store.starts[attempt.subscription_id] = start
        store.due.append(attempt)

    async with at_work(desk):
        for number in range(4):
            falls_due(f"n{number}", began + timedelta(minutes=number))
            await asyncio.sleep(LOOK_BACK_INTERVAL_S)
        assert desk.taken_ids == ids("n0", "n1", "n2", "n3")
        falls_due("new", began + timedelta(minutes=2, seconds=30))
        await asyncio.sleep(2 * POLL_S)
        assert ids("new")[0] in desk.taken_ids, "a little behind the newest is not behind the watermark"
        falls_due("backdated", began - timedelta(days=20))
        await asyncio.sleep(2 * POLL_S)
        assert ids("backdated")[0] not in desk.taken_ids
        await asyncio.sleep(LOOK_BACK_INTERVAL_S)
        assert ids("backdated")[0] in desk.taken_ids


@in_virtual_time
async def test_the_watermark_stays_below_what_waits_behind_a_period_that_is_being_charged() -> None:
    began = datetime(2026, 11, 1, tzinfo=UTC)
    store = store_with()
    desk = Desk(store)
    [late] = attempts("late")
    store.starts[late.subscription_id] = began
    store.blocked.append(late)
    async with at_work(desk):
        for number in range(1, 5):
            [attempt] = attempts(f"n{number}")
            store.starts[attempt.subscription_id] = began + timedelta(minutes=number)
            store.due.append(attempt)
            await asyncio.sleep(LOOK_BACK_INTERVAL_S)
        await asyncio.sleep(LOOK_BACK_INTERVAL_S / 2)
        store.due.append(store.blocked.pop())  # the period before it was paid
        await asyncio.sleep(2 * POLL_S)
        assert late.attempt_id in desk.taken_ids


@pytest.mark.parametrize("stage", ["claim_due", "claim_retries", "commit"])
def test_a_claim_without_an_answer_is_followed_by_recovery(stage: str) -> None:
    @in_virtual_time
    async def scenario() -> None:
        desk = Desk(store_with(due="a b", retries="c"))
        async with at_work(desk):
            await asyncio.sleep(POLL_S)
            desk.store.due.extend(attempts("d"))
            desk.store.fail[stage] = 1
            await asyncio.sleep(2)
        assert sorted(desk.taken_ids) == sorted(ids("a", "b", "c", "d"))
        assert desk.observer.unavailable == 1
        assert len(desk.observer.recoveries) == 2

    scenario()


@in_virtual_time
async def test_a_claim_that_committed_unheard_is_found_and_asked_about_before_it_is_charged() -> None:
    desk = Desk(store_with(due="a"))
    async with at_work(desk):
        while "claim_due 1" not in desk.store.journal:  # noqa: ASYNC110 -- steps through virtual time
            await asyncio.sleep(0)
        desk.store.fail["commit"] = 1
        await asyncio.sleep(2)
    assert desk.taken == [(an_attempt("a").attempt_id, True)]


@in_virtual_time
async def test_a_database_that_stays_away_is_asked_less_and_less_often() -> None:
    desk = Desk(store_with(due="a"))
    desk.store.fail["open_attempts"] = 10
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    async with at_work(desk):
        async with asyncio.timeout(60):
            while not desk.taken:  # noqa: ASYNC110 -- steps virtual time
                await asyncio.sleep(POLL_S)
    assert 6 <= loop.time() - started_s <= 10, "ten tries, at most one a second once it backs off"
    assert desk.observer.unavailable == 10


@in_virtual_time
async def test_a_leader_that_cannot_reach_its_database_for_long_gives_the_term_up() -> None:
    """It may be the only one that is cut off: another replica has to get its chance."""
    desk = Desk(store_with(due="a"))
    desk.store.fail["open_attempts"] = 10_000
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    with pytest.raises(StoreUnavailable):
        await desk.claimer.run()
    assert PATIENCE_S <= loop.time() - started_s <= PATIENCE_S + 2


@in_virtual_time
async def test_a_leader_whose_database_takes_calls_and_answers_none_gives_the_term_up_as_soon() -> None:
    """Waiting for an answer is time without one, however long the driver would go on waiting."""
    desk = Desk(store_with(due="a"))
    desk.store.answers_after_s = 3600
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    with pytest.raises(StoreUnavailable, match="no answer within 10"):
        await desk.claimer.run()
    assert PATIENCE_S <= loop.time() - started_s <= PATIENCE_S + 2


@in_virtual_time
async def test_a_database_that_freezes_for_less_than_patience_costs_no_term() -> None:
    desk = Desk(store_with(due="a"))
    desk.store.answers_after_s = PATIENCE_S - 1
    async with at_work(desk) as work:
        await asyncio.sleep(1)
        desk.store.answers_after_s = 0
        await asyncio.sleep(2 * PATIENCE_S)
        assert not work.done()
    assert desk.taken_ids == ids("a")
    assert desk.observer.unavailable == 0


@in_virtual_time
async def test_one_answer_from_the_database_makes_patience_whole_again() -> None:
    desk = Desk(store_with(due="a b"))
    desk.store.fail["open_attempts"] = 8
    async with at_work(desk) as work:
        await asyncio.sleep(PATIENCE_S)
        desk.store.fail["claim_due"] = 8
        await asyncio.sleep(PATIENCE_S)
        assert not work.done()
    assert set(desk.taken_ids) == set(ids("a", "b"))


@pytest.mark.parametrize("when", ["idle", "full", "recovering"])
def test_draining_ends_the_claimer_at_once(when: str) -> None:
    @in_virtual_time
    async def scenario() -> None:
        names = " ".join(f"n{n}" for n in range(10))
        desk = Desk(
            store_with(due=names if when == "full" else "", found=names if when == "recovering" else ""),
            batch=10,
            limit=10,
        )
        desk.carry = desk.keep
        task = asyncio.create_task(desk.claimer.run())
        await asyncio.sleep(5)
        desk.draining.set()
        async with asyncio.timeout(0.001):
            await task

    scenario()


@in_virtual_time
async def test_nothing_is_claimed_without_trust() -> None:
    desk = Desk(store_with(due="a"))
    desk.trust.end("the lease is gone")
    with pytest.raises(TrustLost):
        await desk.claimer.run()
    assert desk.store.journal == []


@in_virtual_time
async def test_a_stale_term_ends_the_claimer() -> None:
    desk = Desk(store_with(due="a"))
    desk.store.raises = StaleTerm("a later one has begun")
    with pytest.raises(StaleTerm):
        await desk.claimer.run()


@in_virtual_time
async def test_failpoints_stand_before_and_after_a_claim() -> None:
    desk = Desk(store_with(due="a"))
    async with at_work(desk):
        await asyncio.sleep(POLL_S / 2)
    assert desk.store.journal == [
        "open_attempts 0",
        "failpoint before_claim",
        "claim_due 1",
        "failpoint after_claim",
        "claim_retries 0",
    ]


@in_virtual_time
async def test_an_attempt_that_appears_after_recovery_looked_is_found_by_the_next_sweep() -> None:
    """A claim whose commit was in doubt may commit late, when nobody waits for it any more."""
    desk = Desk(store_with(found="old"))
    stranded = an_attempt("late")
    async with at_work(desk):
        await asyncio.sleep(1)
        desk.store.open[stranded.attempt_id] = stranded
        await asyncio.sleep(SWEEP_S - 2)
        assert desk.taken_ids == ids("old")
        await asyncio.sleep(2)
    assert desk.taken == [(attempt, True) for attempt in ids("old", "late")]
    assert desk.observer.recoveries == [1], "a sweep is no recovery: nothing waits for it"


@in_virtual_time
async def test_a_sweep_takes_nothing_on_that_is_or_was_just_being_carried() -> None:
    class SettlesWhileLooking(MemoryStore):
        """The page still shows an attempt that is settled before anyone acts on the page."""

        def refuse(self, kind: str) -> None:
            if kind == "commit" and desk.in_flight.room < 100 and self.journal[-1] == "open_attempts 2":
                desk.settle(an_attempt("just"))

    desk = Desk(SettlesWhileLooking(due=deque(attempts("just", "still"))))
    desk.carry = desk.keep
    async with at_work(desk):
        await asyncio.sleep(SWEEP_S + 1)
        assert "open_attempts 2" in desk.store.journal
        assert desk.taken_ids == ids("just", "still")
        assert len(desk.in_flight) == 1


@in_virtual_time
async def test_a_sweep_stops_where_there_is_no_more_room_and_holds_up_no_claim() -> None:
    desk = Desk(store_with(due="new"), batch=10, limit=20)
    desk.carry = desk.keep
    async with at_work(desk):
        await asyncio.sleep(1)
        late = attempts(*(f"n{n}" for n in range(50)))
        desk.store.open.update((each.attempt_id, each) for each in late)
        await asyncio.sleep(SWEEP_S)
        assert 20 <= len(desk.taken) <= 30, "whole pages, while there is room"


@in_virtual_time
async def test_what_webhooks_told_of_is_handed_on_after_the_claim_has_committed() -> None:
    store = store_with(retries="again")
    notice = PendingNotice(NoticeId("evt_1"), PaymentIntentId("pi_1"))
    store.notices[notice.notice_id] = (notice, an_attempt("told"))
    store.fail["pending_notices"] = 1
    desk = Desk(store)
    async with at_work(desk):
        await asyncio.sleep(2)
    assert set(desk.looked_into) == {notice}, "again in each round, until somebody has heeded it"
    assert desk.taken_ids == ids("again")
    assert desk.observer.unavailable == 1
