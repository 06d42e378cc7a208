"""Subscriptions begin and end exactly when they say."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.integration.api.conftest import CUSTOMER, PLAN, ApiWorld, api_world

from cluster.postgres import PostgresServer
from middleman.domain.periods import BillingInterval, IntervalUnit, Schedule
from middleman.entrypoints.api.fields import time_zones


async def business_now(world: ApiWorld) -> datetime:
    async with world.database.connect() as owner:
        now: datetime = await owner.fetchval("SELECT business_now()")
        return now


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def schedule_of(subscription: dict[str, Any]) -> Schedule:
    interval = BillingInterval(
        IntervalUnit(subscription["interval"]["unit"]), subscription["interval"]["count"]
    )
    anchor = datetime.fromisoformat(subscription["anchor_local"])
    return Schedule(anchor, subscription["time_zone"], interval)


async def test_price_and_interval_are_copied_and_the_first_period_is_due_now(world: ApiWorld) -> None:
    before = await business_now(world)
    made = await world.subscribed({"amount_minor": 1999, "interval": {"unit": "week", "count": 2}})
    after = await business_now(world)
    assert made["amount_minor"] == 1999
    assert made["interval"] == {"unit": "week", "count": 2}
    assert made["status"] == "active"
    assert made["next_period_no"] == 0
    assert before.replace(microsecond=0) <= instant(made["next_due_at"]) <= after
    assert instant(made["next_due_at"]).microsecond == 0
    assert (await world.client.get(f"/v1/subscriptions/{made['id']}")).json() == made


async def test_an_instant_as_anchor_becomes_wall_clock_time_in_the_zone(world: ApiWorld) -> None:
    anchor = (await business_now(world)).replace(microsecond=0) + timedelta(days=40)
    made = await world.subscribed(anchor=anchor.isoformat(), time_zone="America/New_York")
    assert instant(made["next_due_at"]) == anchor
    local = anchor.astimezone(ZoneInfo("America/New_York")).replace(tzinfo=None)
    assert made["anchor_local"] == local.isoformat()


async def test_a_local_anchor_is_read_in_the_zone(world: ApiWorld) -> None:
    local = (await business_now(world)).replace(microsecond=0, tzinfo=None) + timedelta(days=10)
    made = await world.subscribed(anchor=local.isoformat(), time_zone="Asia/Kathmandu")
    assert instant(made["next_due_at"]) == local.replace(tzinfo=ZoneInfo("Asia/Kathmandu"))


@pytest.mark.parametrize(
    ("offset", "accepted"),
    [
        (timedelta(days=-6, hours=-23), True),
        (timedelta(days=-7), False),
        (timedelta(days=3640), True),
        (timedelta(days=3660), False),
    ],
)
async def test_an_anchor_lies_within_its_first_period_and_ten_years(
    world: ApiWorld, offset: timedelta, accepted: bool
) -> None:
    customer = await world.made("/v1/customers", CUSTOMER)
    plan = await world.made("/v1/plans", PLAN | {"interval": {"unit": "week"}})
    anchor = (await business_now(world)).replace(microsecond=0) + offset
    body = {"customer_id": customer["id"], "plan_id": plan["id"], "anchor": anchor.isoformat()}
    answer = await world.client.post("/v1/subscriptions", json=body)
    assert answer.status_code == (201 if accepted else 422)
    if not accepted:
        assert answer.json()["type"].endswith("/anchor-refused")
        assert answer.json()["errors"][0]["field"] == "anchor"


async def test_an_archived_plan_takes_no_subscriptions_and_keeps_those_it_has(world: ApiWorld) -> None:
    made = await world.subscribed()
    for _ in range(2):
        archived = await world.made(f"/v1/plans/{made['plan_id']}/archive", {})
        assert archived["active"] is False
    body = {"customer_id": made["customer_id"], "plan_id": made["plan_id"]}
    refused = await world.client.post("/v1/subscriptions", json=body)
    assert refused.status_code == 409
    assert refused.json()["type"].endswith("/plan-archived")
    assert (await world.client.get(f"/v1/subscriptions/{made['id']}")).json()["status"] == "active"


@pytest.mark.parametrize("field", ["customer_id", "plan_id"])
async def test_a_reference_to_nothing_names_its_field(world: ApiWorld, field: str) -> None:
    made = await world.subscribed()
    body = {"customer_id": made["customer_id"], "plan_id": made["plan_id"]}
    body[field] = body[field][:-1] + ("0" if body[field][-1] != "0" else "1")
    answer = await world.client.post("/v1/subscriptions", json=body)
    assert answer.status_code == 422
    assert answer.json()["type"].endswith("/unknown-reference")
    assert answer.json()["errors"][0]["field"] == field


async def test_the_database_knows_every_time_zone_that_the_api_accepts(world: ApiWorld) -> None:
    async with world.database.connect() as owner:
        known = {row["name"] for row in await owner.fetch("SELECT name FROM pg_timezone_names")}
    assert time_zones() - known == set()


async def test_canceling_now_ends_it_at_once_and_twice_is_once(world: ApiWorld) -> None:
    made = await world.subscribed()
    before = await business_now(world)
    canceled = await world.made(f"/v1/subscriptions/{made['id']}/cancel", {"at": "now"})
    assert canceled["status"] == "canceled"
    assert before <= instant(canceled["ends_at"]) <= await business_now(world)
    assert canceled["next_due_at"] is None
    for at in ("now", "period_end"):
        assert await world.made(f"/v1/subscriptions/{made['id']}/cancel", {"at": at}) == canceled
    events = (await world.client.get("/v1/events", params={"subject": made["id"]})).json()["data"]
    assert [event["kind"] for event in events] == ["subscription.created", "subscription.cancel_requested"]


async def test_a_period_end_can_be_moved_to_now_but_never_later(world: ApiWorld) -> None:
    made = await world.subscribed()
    path = f"/v1/subscriptions/{made['id']}/cancel"
    at_end = await world.made(path, {"at": "period_end"})
    assert at_end["status"] == "active"
    assert instant(at_end["ends_at"]) == schedule_of(made).boundary(1)
    assert await world.made(path, {"at": "period_end"}) == at_end | {
        "updated_at": (await world.client.get(path.removesuffix("/cancel"))).json()["updated_at"]
    }
    now = await world.made(path, {"at": "now"})
    assert instant(now["ends_at"]) < instant(at_end["ends_at"])


@pytest.mark.parametrize("unit", ["day", "week", "month", "year"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("zone", ["UTC", "Australia/Lord_Howe", "America/New_York"])
async def test_the_period_end_is_the_first_boundary_after_now(
    world: ApiWorld, unit: str, count: int, zone: str
) -> None:
    made = await world.subscribed({"interval": {"unit": unit, "count": count}}, time_zone=zone)
    # Long ago, on a day that many months do not have: as after years of billing.
    async with world.database.connect() as owner:
        await owner.execute(
            "UPDATE subscriptions SET anchor_local = '2016-01-31 02:30' WHERE id = $1", made["id"]
        )
    canceled = await world.made(f"/v1/subscriptions/{made['id']}/cancel", {"at": "period_end"})
    schedule = schedule_of(canceled)
    now = instant(canceled["updated_at"])
    expected = next(
        boundary for n in range(10_000) if (boundary := schedule.boundary(n)) > now.astimezone(UTC)
    )
    assert instant(canceled["ends_at"]) == expected


@pytest.mark.parametrize("at", ["now", "period_end"])
async def test_a_subscription_that_has_not_begun_ends_before_its_first_period(
    world: ApiWorld, at: str
) -> None:
    anchor = (await business_now(world)).replace(microsecond=0) + timedelta(days=400)
    made = await world.subscribed(anchor=anchor.isoformat())
    canceled = await world.made(f"/v1/subscriptions/{made['id']}/cancel", {"at": at})
    assert instant(canceled["ends_at"]) <= anchor
    assert canceled["next_due_at"] is None


async def test_canceling_waits_for_a_claim_and_ends_after_it(world: ApiWorld) -> None:
    made = await world.subscribed()
    async with world.database.connect("middleman_replica") as replica:
        claim = replica.transaction()
        await claim.start()
        claimed_at = await replica.fetchval(
            "SELECT business_now() FROM subscriptions WHERE id = $1 FOR NO KEY UPDATE", made["id"]
        )
        path = f"/v1/subscriptions/{made['id']}/cancel"
        canceling = asyncio.create_task(world.made(path, {"at": "now"}))
        async with world.database.connect() as owner, asyncio.timeout(10):
            while not await owner.fetchval(  # noqa: ASYNC110  # another session's lock sets no event of ours
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            ):
                await asyncio.sleep(0.01)
        await claim.commit()
    assert instant((await canceling)["ends_at"]) > claimed_at


@pytest.mark.parametrize("fraction", [".0", ".000", ".999", ".123456789"])
@pytest.mark.parametrize("offset", ["Z", "+00:00", ""])
async def test_an_anchor_may_have_a_fraction_of_which_the_whole_seconds_are_kept(
    world: ApiWorld, fraction: str, offset: str
) -> None:
    whole = (await business_now(world)).replace(microsecond=0, tzinfo=None) + timedelta(days=3)
    made = await world.subscribed(anchor=f"{whole.isoformat()}{fraction}{offset}")
    assert made["anchor_local"] == whole.isoformat()
    assert instant(made["next_due_at"]) == whole.replace(tzinfo=UTC)


# Each zone's clock goes back once a year: the hour (in Lord Howe half an hour) before it does is shown twice.
REPEATED = [
    ("2027-10-31T00:00:00Z", "Europe/Berlin", "2027-10-31T01:00:00+00:00"),
    ("2027-10-31T00:30:00Z", "Europe/Berlin", "2027-10-31T01:30:00+00:00"),
    ("2027-10-31T02:59:59+02:00", "Europe/Berlin", "2027-10-31T01:59:59+00:00"),
    ("2027-11-07T01:30:00-04:00", "America/New_York", "2027-11-07T06:30:00+00:00"),
    ("2027-04-03T14:45:00Z", "Australia/Lord_Howe", "2027-04-03T15:15:00+00:00"),
]


async def subscribe(world: ApiWorld, anchor: str, time_zone: str) -> Any:
    customer = await world.made("/v1/customers", CUSTOMER)
    plan = await world.made("/v1/plans", PLAN)
    body = {"customer_id": customer["id"], "plan_id": plan["id"], "anchor": anchor, "time_zone": time_zone}
    return await world.client.post("/v1/subscriptions", json=body)


@pytest.mark.parametrize(("anchor", "zone", "later"), REPEATED)
async def test_an_instant_in_a_repeated_hour_that_no_local_time_names_is_refused(
    world: ApiWorld, anchor: str, zone: str, later: str
) -> None:
    refused = await subscribe(world, anchor, zone)
    assert refused.status_code == 422, refused.text
    problem = refused.json()
    assert problem["type"].endswith("/anchor-refused")
    assert later in problem["detail"], "the instant that the clock shows later, and which can be named"
    accepted = await subscribe(world, later, zone)
    assert accepted.status_code == 201
    assert instant(accepted.json()["next_due_at"]) == instant(later)


@pytest.mark.parametrize(
    ("anchor", "zone"),
    [
        ("2027-10-30T23:59:59Z", "Europe/Berlin"),
        ("2027-10-31T01:00:00Z", "Europe/Berlin"),
        ("2027-03-28T00:59:59Z", "Europe/Berlin"),
        ("2027-03-28T01:00:00Z", "Europe/Berlin"),  # the first instant after the hour that is left out
        ("2027-03-28T01:30:00Z", "Europe/Berlin"),
        (
            "2027-03-28T02:30:00+01:00",
            "Europe/Berlin",
        ),  # an instant, though the local time with this name is left out
        ("2027-10-31T00:30:00Z", "UTC"),
        ("2027-10-31T00:30:00Z", "Asia/Tokyo"),
    ],
)
async def test_every_other_instant_is_kept_to_the_second(world: ApiWorld, anchor: str, zone: str) -> None:
    made = await subscribe(world, anchor, zone)
    assert made.status_code == 201, made.text
    assert instant(made.json()["next_due_at"]) == instant(anchor)


async def test_a_local_time_that_a_clock_leaves_out_or_repeats_is_read_as_documented(world: ApiWorld) -> None:
    left_out = await subscribe(world, "2027-03-28T02:30", "Europe/Berlin")
    assert instant(left_out.json()["next_due_at"]) == instant("2027-03-28T01:30:00+00:00")
    repeated = await subscribe(world, "2027-10-31T02:30", "Europe/Berlin")
    assert instant(repeated.json()["next_due_at"]) == instant("2027-10-31T01:30:00+00:00")


async def test_without_an_anchor_a_repeated_hour_means_its_later_showing(
    migrated_server: PostgresServer,
) -> None:
    async with api_world(migrated_server) as world:
        to = instant("2027-10-31T00:30:00+00:00") - await business_now(world)
        await world.made("/v1/test_clock", {"advance_s": to.total_seconds(), "rate": 0})
        made = await world.subscribed(time_zone="Europe/Berlin")
        assert made["anchor_local"].startswith("2027-10-31T02:3")
        late = instant(made["next_due_at"]) - await business_now(world)
        assert timedelta(minutes=59) < late <= timedelta(hours=1)
