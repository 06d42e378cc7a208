"""The lag is that of the oldest debt which is due and not claimed, whether or not anybody claims."""

from datetime import timedelta

import pytest
from tests.support.database import add_subscriptions
from tests.support.store_rig import DECLINED, StoreRig

from middleman.adapters.postgres.due_lag import DueLag

DAY_S = 86_400.0


@pytest.fixture
def lag(rig: StoreRig) -> DueLag:
    return DueLag(rig.pool, rig.term.scope)


async def test_where_nothing_is_due_there_is_no_lag(rig: StoreRig, lag: DueLag) -> None:
    assert await lag.measure() == {"due": 0, "retry": 0}
    await add_subscriptions(rig.owner, 1, due_in="1 hour")
    assert await lag.measure() == {"due": 0, "retry": 0}


async def test_the_lag_grows_while_nobody_claims_and_ends_with_a_claim(rig: StoreRig, lag: DueLag) -> None:
    await add_subscriptions(rig.owner, 1)
    await add_subscriptions(rig.owner, 1, prefix="later", due_in="-1 minute")
    assert 3600 <= (await lag.measure())["due"] < 3700
    await rig.advance(timedelta(hours=2))
    assert 3 * 3600 <= (await lag.measure())["due"] < 3 * 3600 + 100
    await rig.claim()
    assert (await lag.measure())["due"] == 0


async def test_what_begins_at_or_after_its_end_is_never_late(rig: StoreRig, lag: DueLag) -> None:
    await add_subscriptions(rig.owner, 1)
    await rig.owner.execute("UPDATE subscriptions SET ends_at = next_due_at")
    assert (await lag.measure())["due"] == 0


async def test_another_scopes_debts_are_not_ours(rig: StoreRig) -> None:
    await add_subscriptions(rig.owner, 1)
    assert (await DueLag(rig.pool, 7).measure())["due"] == 0


async def test_a_retry_that_has_fallen_due_is_late_from_then_on(rig: StoreRig, lag: DueLag) -> None:
    await add_subscriptions(rig.owner, 1, due_in="-1 minute")
    (attempt,) = (await rig.claim()).attempts
    await rig.bind(attempt)
    await rig.settle((attempt, DECLINED))
    assert (await lag.measure())["retry"] == 0
    await rig.advance(timedelta(days=2))
    assert DAY_S <= (await lag.measure())["retry"] < DAY_S + 100


async def test_a_period_behind_an_end_that_is_known_by_its_number_is_not_late(
    rig: StoreRig, lag: DueLag
) -> None:
    """What no claim takes is no debt that waits for one."""
    await add_subscriptions(rig.owner, 1)
    await rig.owner.execute(
        "UPDATE subscriptions SET ends_at = business_now() + interval '1 day', ends_before_period = 0"
    )
    assert (await rig.claim()).attempts == ()
    assert (await lag.measure())["due"] == 0
