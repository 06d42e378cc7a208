"""Time zones and currencies change with releases: names are made canonical, and what was accepted once stays readable."""

import pytest
from tests.integration.api.conftest import CUSTOMER, PLAN, ApiWorld

from middleman.entrypoints.api import fields

GONE_ZONE = "Mars/Olympus"
GONE_CURRENCY = "XQX"


@pytest.mark.parametrize(
    ("given", "kept"), [("US/Pacific", "America/Los_Angeles"), ("Asia/Calcutta", "Asia/Kolkata")]
)
async def test_an_old_time_zone_name_is_stored_and_shown_under_its_name_of_today(
    world: ApiWorld, given: str, kept: str
) -> None:
    made = await world.subscribed(time_zone=given)
    assert made["time_zone"] == kept
    read = (await world.client.get(f"/v1/subscriptions/{made['id']}")).json()
    assert read["time_zone"] == kept
    async with world.database.connect() as owner:
        stored = await owner.fetchval("SELECT time_zone FROM subscriptions WHERE id = $1", made["id"])
    assert stored == kept


async def test_a_time_zone_that_the_database_server_does_not_know_is_refused_with_a_way_out(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fields, "time_zones", lambda: frozenset({GONE_ZONE}))
    customer, plan = await world.made("/v1/customers", CUSTOMER), await world.made("/v1/plans", PLAN)
    body = {"customer_id": customer["id"], "plan_id": plan["id"], "time_zone": GONE_ZONE}
    answer = await world.client.post("/v1/subscriptions", json=body)
    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    assert error["field"] == "time_zone"
    for told in (GONE_ZONE, "database server", "tzdata-legacy"):
        assert told in answer.text
    async with world.database.connect() as owner:
        assert not await owner.fetchval("SELECT count(*) FROM subscriptions WHERE time_zone = $1", GONE_ZONE)


@pytest.fixture
async def outdated(world: ApiWorld) -> dict[str, str]:
    """A plan, a subscription, an invoice and an attempt as an earlier release accepted them."""
    made = await world.subscribed(PLAN)
    ids = {"subscriptions": made["id"], "plans": made["plan_id"]}
    stem = made["id"].removeprefix("sub_")
    ids |= {"invoices": f"in_{stem}_0", "payment_attempts": f"at_{stem}_0_1"}
    async with world.database.connect() as owner:
        await owner.execute("UPDATE plans SET currency = $1 WHERE id = $2", GONE_CURRENCY, ids["plans"])
        await owner.execute(
            "UPDATE subscriptions SET currency = $1, time_zone = $2 WHERE id = $3",
            GONE_CURRENCY,
            GONE_ZONE,
            made["id"],
        )
        await owner.execute("SET session_replication_role = replica")  # no leader writes here
        await owner.execute(
            "INSERT INTO invoices (id, subscription_id, customer_id, scope, period_no, period_start, period_end,"
            " amount_minor, currency, processor_customer_id, created_term)"
            " SELECT $1, id, customer_id, 0, 0, next_due_at, next_due_at + interval '1 month', amount_minor,"
            " currency, 'cus_1', 1 FROM subscriptions WHERE id = $2",
            ids["invoices"],
            made["id"],
        )
        await owner.execute(
            "INSERT INTO payment_attempts (id, invoice_id, scope, attempt_no, amount_minor, currency,"
            " processor_customer_id, payment_method_id, created_term)"
            " SELECT $1, id, 0, 1, amount_minor, currency, 'cus_1', 'pm_1', 1 FROM invoices WHERE id = $2",
            ids["payment_attempts"],
            ids["invoices"],
        )
    return ids


async def test_what_an_earlier_release_accepted_stays_readable(
    world: ApiWorld, outdated: dict[str, str]
) -> None:
    for kind, record_id in outdated.items():
        read = await world.client.get(f"/v1/{kind}/{record_id}")
        assert read.status_code == 200, read.text
        assert read.json()["currency"] == GONE_CURRENCY
        listed = await world.client.get(f"/v1/{kind}")
        assert listed.status_code == 200, listed.text
        assert record_id in [each["id"] for each in listed.json()["data"]]
    read = await world.client.get(f"/v1/subscriptions/{outdated['subscriptions']}")
    assert read.json()["time_zone"] == GONE_ZONE


async def test_a_subscription_in_a_time_zone_that_is_gone_can_be_canceled(
    world: ApiWorld, outdated: dict[str, str]
) -> None:
    """Where its running period has been claimed, the end is stored; where not, only `now` is certain."""
    path = f"/v1/subscriptions/{outdated['subscriptions']}"
    overdue = await world.client.post(f"{path}/cancel", json={"at": "period_end"})
    assert overdue.status_code == 422, overdue.text
    assert "cancel at `now`" in overdue.json()["errors"][0]["message"]
    async with world.database.connect() as owner:
        await owner.execute(
            "UPDATE subscriptions SET next_period_no = 1, next_due_at = next_due_at + interval '1 month' WHERE id = $1",
            outdated["subscriptions"],
        )
    claimed = await world.made(f"{path}/cancel", {"at": "period_end"})
    assert claimed["ends_at"] is not None
    ended = await world.made(f"{path}/cancel", {"at": "now"})
    assert (ended["status"], ended["time_zone"]) == ("canceled", GONE_ZONE)


async def test_a_plan_of_an_earlier_release_can_be_archived(
    world: ApiWorld, outdated: dict[str, str]
) -> None:
    archived = await world.client.post(f"/v1/plans/{outdated['plans']}/archive")
    assert archived.status_code == 200, archived.text
    assert archived.json()["active"] is False
