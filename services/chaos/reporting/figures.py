"""Figures in words: durations, instants of a run, rates."""

from datetime import datetime


def seconds(value: float) -> str:
    """`83 ms`, `3.02 s`, `45 s`, `12 min 5 s`."""
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 9.995:
        return f"{value:.2f} s"
    if value < 99.95:
        return f"{value:.1f} s".replace(".0 s", " s")
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def clock(value: float) -> str:
    """`3:05`, `1:03:05`; a minus sign for what lies before."""
    minutes, rest = divmod(round(abs(value)), 60)
    hours, minutes = divmod(minutes, 60)
    told = f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
    return f"−{told}" if value < 0 and told != "0:00" else told


def since(at: datetime, origin: datetime) -> str:
    """An instant of a run, counted from its beginning."""
    return clock((at - origin).total_seconds())


def moment(at: datetime, origin: datetime) -> str:
    """An instant of a run to the tenth of a second: `0:19.4`."""
    tenths = round((at - origin).total_seconds() * 10)
    return f"{clock(tenths // 10)}.{tenths % 10}"


def instant(at: datetime) -> str:
    """`2026-03-01 12:00:03 UTC`, or with another zone's offset."""
    return f"{at:%Y-%m-%d %H:%M:%S} {at.tzname() or ''}".rstrip()


def count(value: int, noun: str) -> str:
    """`1 fault`, `2 faults`."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"
