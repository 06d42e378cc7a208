"""The judge's own calendar: when the periods of a subscription begin.

Written apart from the product's on purpose. `due(n) = (anchor_local + n × interval) AT TIME ZONE zone`,
computed from the anchor every time; months clamp to their last day. The offsets of a zone are the database server's
(`zone_rules`), or this machine's where the server was not asked. A wall clock that a zone skips or
repeats reads with the offset that PostgreSQL takes: the one of standard time, that is, the later instant.
https://www.postgresql.org/docs/current/functions-datetime.html#FUNCTIONS-DATETIME-ZONECONVERT
"""

from calendar import monthrange
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from chaos.judge.books import Subscription
from chaos.judge.zone_rules import ZoneRules, machine_offset

_MEAN_DAYS = {"day": 1.0, "week": 7.0, "month": 30.436875, "year": 365.2425}
_DAYS = {"day": 1, "week": 7}
_MONTHS = {"month": 1, "year": 12}


class CalendarEndsError(Exception):
    """The wall clock would pass the year 9999."""


def boundary(subscription: Subscription, number: int) -> datetime:
    """The instant (UTC) at which period `number` begins, counted from 0. Raises `CalendarEndsError`."""
    steps = subscription.interval_count * number
    return _boundary(
        subscription.anchor_local,
        subscription.time_zone,
        subscription.interval_unit,
        steps,
        subscription.rules,
    )


@lru_cache(maxsize=100_000)
def _boundary(anchor: datetime, time_zone: str, unit: str, steps: int, rules: ZoneRules | None) -> datetime:
    try:
        wall = (
            _add_months(anchor, _MONTHS[unit] * steps) if unit in _MONTHS else _add_days(anchor, unit, steps)
        )
        if rules is not None:
            return rules.instant_of(wall)
        zone = ZoneInfo(time_zone)
        early, late = (wall.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
        assert early is not None
        assert late is not None
        return (wall - min(early, late)).replace(tzinfo=UTC)
    except (OverflowError, ValueError) as error:
        raise CalendarEndsError(f"{anchor} + {steps} {unit}") from error


def by_this_machine(subscription: Subscription) -> Subscription | None:
    """The same schedule under this machine's rules, where they are known to differ from the server's.

    A boundary that was stored before the server's data were renewed stands, and the server no longer knows its rule.
    """
    rules = subscription.rules
    if rules is None or rules.differs_at is None or machine_offset(rules.name, rules.differs_at) is None:
        return None
    return replace(subscription, rules=None)


def _add_days(anchor: datetime, unit: str, steps: int) -> datetime:
    return anchor + timedelta(days=_DAYS[unit] * steps)


def _add_months(anchor: datetime, months: int) -> datetime:
    years, month = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    if not 1 <= years <= 9999:
        raise OverflowError(years)
    return anchor.replace(year=years, month=month + 1, day=min(anchor.day, monthrange(years, month + 1)[1]))


def periods_due(subscription: Subscription, business_now: datetime) -> int:
    """How many periods fell due: those that begin at or before `business_now` and before its end.

    Estimated from the mean length of the interval, then corrected step by step, so that ten years of
    days cost no more than one month.
    """

    def is_due(number: int) -> bool:
        try:
            start = boundary(subscription, number)
        except CalendarEndsError:
            return False
        return start <= business_now and (subscription.ends_at is None or start < subscription.ends_at)

    until = min(business_now, subscription.ends_at or business_now)
    elapsed_days = (until - subscription.anchor_local.replace(tzinfo=UTC)) / timedelta(days=1)
    mean_days = _MEAN_DAYS[subscription.interval_unit] * subscription.interval_count
    count = max(0, int(elapsed_days / mean_days))
    while count > 0 and not is_due(count - 1):
        count -= 1
    while is_due(count):
        count += 1
    return count
