"""The judge on a machine whose time zone data are not the server's: right periods stay right, wrong ones wrong."""

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from tests.support.database import Database, add_subscriptions
from tests.support.doctored import subscription

from chaos.judge.books import Books
from chaos.judge.calendar import boundary
from chaos.judge.invariants.periods import every_due_period_is_billed
from chaos.judge.ledger import Ledger
from chaos.judge.read_books import read_books
from chaos.judge.verdict import InvariantResult
from chaos.judge.zone_rules import read_zone_rules

NOW = datetime(2026, 12, 4, tzinfo=UTC)


@pytest.fixture
def other_data(tmp_path: Path) -> Iterator[None]:
    """This machine believes that Vancouver keeps New York's clock and Berlin Kyiv's."""
    places = [Path(place) for place in zoneinfo.TZPATH] + [Path("/usr/share/zoneinfo")]
    source = next(place for place in places if (place / "America/New_York").exists())
    for name, like in {"America/Vancouver": "America/New_York", "Europe/Berlin": "Europe/Kiev"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((source / like).read_bytes())
    zoneinfo.reset_tzpath([str(tmp_path), str(source)])
    ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()
    ZoneInfo.clear_cache()


async def billed(database: Database, zone: str, *, shift: str = "0", periods: int = 4) -> None:
    """A daily subscription with its first periods billed as the product does it; `shift` moves the last boundary."""
    async with database.connect() as owner:
        await add_subscriptions(owner, 1, prefix=zone.replace("/", ""), interval="day")
        await owner.execute(
            "UPDATE subscriptions SET time_zone = $1, anchor_local = '2026-12-01 10:00', next_period_no = $2,"
            " next_due_at = period_boundary('2026-12-01 10:00', $1, 'day', 1, $2), ends_at = $3",
            zone, periods, NOW,
        )  # fmt: skip
        await owner.execute("SET session_replication_role = replica")
        await owner.execute(
            """
            INSERT INTO invoices (id, subscription_id, customer_id, scope, period_no, period_start, period_end,
                                  amount_minor, currency, processor_customer_id, status, payment_intent_id,
                                  created_term, bound_term, settled_at)
            SELECT 'in_' || substr(s.id, 5) || '_' || n, s.id, s.customer_id, 0, n,
                   period_boundary(anchor_local, time_zone, 'day', 1, n),
                   period_boundary(anchor_local, time_zone, 'day', 1, n + 1)
                       + CASE WHEN n = $1 - 1 THEN $2::text::interval ELSE '0' END,
                   999, 'EUR', 'cus_1', 'paid', 'pi_' || n, 1, 1, now()
            FROM subscriptions s, generate_series(0, $1 - 1) AS n
            """,
            periods, shift,
        )  # fmt: skip
        await owner.execute(
            "INSERT INTO payment_attempts (id, invoice_id, scope, attempt_no, amount_minor, currency,"
            " processor_customer_id, payment_method_id, status, charge_id, created_term, settled_term, settled_at)"
            " SELECT 'at_' || substr(id, 4) || '_1', id, 0, 1, 999, 'EUR', 'cus_1', 'pm', 'succeeded', 'ch', 1, 1, now()"
            " FROM invoices"
        )


async def i3(database: Database) -> tuple[InvariantResult, Books]:
    async with database.connect() as owner:
        await owner.execute(
            "UPDATE test_clock SET base_real = now(), base_virtual = $1, rate = 0", NOW + timedelta(days=1)
        )
    async with database.connect("middleman_judge") as judge:
        books = await read_books(judge, ledger_read_began=NOW)
    return every_due_period_is_billed(Ledger({}, ()), books), books


@pytest.mark.parametrize("zone", ["America/Vancouver", "Europe/Berlin", "UTC"])
async def test_periods_by_the_servers_rules_are_right(
    database: Database, other_data: None, zone: str
) -> None:
    await billed(database, zone, periods=3)
    result, books = await i3(database)
    assert result.holds, result.violations
    assert (zone in result.note) == (zone != "UTC"), result.note
    assert books.time_zone_note == result.note


@pytest.mark.parametrize("shift", ["1 hour", "-1 hour", "1 second", "24 hours"])
async def test_a_boundary_that_no_rule_gives_is_wrong(database: Database, shift: str) -> None:
    await billed(database, "America/Vancouver", shift=shift, periods=3)
    result, _ = await i3(database)
    assert not result.holds
    assert "by the calendar" in result.violations[0].detail


async def test_a_wrong_boundary_is_wrong_where_the_data_differ_too(
    database: Database, other_data: None
) -> None:
    await billed(database, "Europe/Berlin", shift="2 hours", periods=3)
    result, _ = await i3(database)
    assert not result.holds


async def test_a_gap_between_periods_is_wrong_even_if_earlier_rules_give_it(
    database: Database, other_data: None
) -> None:
    """Each boundary is right by one of the two machines' data, and an hour belongs to nobody."""
    await billed(database, "Europe/Berlin", periods=3)
    async with database.connect() as owner:
        await owner.execute(
            "SET session_replication_role = replica;"
            "UPDATE invoices SET period_end = period_end - interval '1 hour' WHERE period_no = 1"
        )
    result, _ = await i3(database)
    assert not result.holds
    assert "the period before it ends at" in result.violations[0].detail


async def test_a_zone_that_the_server_does_not_know_is_said_and_judged_by_this_machine(
    database: Database,
) -> None:
    async with database.connect() as owner:
        await add_subscriptions(owner, 1)
        await owner.execute("UPDATE subscriptions SET time_zone = 'Mars/Olympus_Mons'")
    async with database.connect("middleman_judge") as judge, judge.transaction(readonly=True):
        assert await read_zone_rules(judge) == {"Mars/Olympus_Mons": None}
        assert await judge.fetchval("SELECT 1") == 1, "the transaction goes on"


@pytest.mark.parametrize(
    "zone",
    [
        "Europe/Berlin",
        "Europe/Dublin",
        "Africa/Casablanca",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Asia/Kathmandu",
    ],
)
async def test_the_offsets_read_from_the_server_give_its_own_instants(database: Database, zone: str) -> None:
    """Every half hour of the walls around every change, skipped and repeated ones included."""
    async with database.connect() as owner:
        await add_subscriptions(owner, 1)
        await owner.execute("UPDATE subscriptions SET time_zone = $1, anchor_local = '2010-01-01'", zone)
        rules = (await _rules(owner))[zone]
        assert rules is not None
        walls = [
            at.replace(tzinfo=None) + timedelta(minutes=30 * step)
            for at in rules.instants
            for step in range(-30, 31)
        ]
        expected = await owner.fetch(
            "SELECT wall, wall AT TIME ZONE $2 AS at FROM unnest($1::timestamp[]) AS wall", walls, zone
        )
    assert len(expected) >= 61
    for row in expected[30:]:
        assert rules.instant_of(row["wall"]) == row["at"], row["wall"]


async def _rules(connection: "asyncpg.Connection[asyncpg.Record]"):  # type: ignore[no-untyped-def]  # a dict of rules
    async with connection.transaction(readonly=True):
        return await read_zone_rules(connection)


def test_a_schedule_without_the_servers_rules_takes_this_machines() -> None:
    schedule = subscription(1, interval_unit="day", time_zone="UTC", anchor_local=datetime(2026, 1, 1))  # noqa: DTZ001  # a wall clock
    assert boundary(schedule, 1) == datetime(2026, 1, 2, tzinfo=UTC)
