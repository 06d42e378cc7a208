"""Who comes: the demo's crowd, nine of ten on daily plans, so that few subscribers make many charges."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chaos.demo.population import CancelAt, SubscriberDraft, plans, subscribers

MAX_DRAFTS = 1_000_000
_ON_ANY_PLAN_EVERY = 10
_WHENS: Sequence[CancelAt] = ("now", "period_end")


@dataclass(frozen=True, slots=True)
class Crowd:
    """Endless for our purposes, the same for the same seed; `run` keeps two runs on one database apart."""

    seed: int
    run: str

    def drafts(self) -> Iterator[SubscriberDraft]:
        """Subscribers, one after another; none of them says beforehand whether they will cancel."""
        currencies = len({plan.currency for plan in plans()})
        for draft in subscribers(MAX_DRAFTS, self.seed):
            # The plans come interval by interval, daily first, in the same order of currencies each time.
            plan = draft.plan if draft.number % _ON_ANY_PLAN_EVERY == 0 else draft.plan % currencies
            yield replace(draft, email=self.email(draft.number), plan=plan, cancels=None)

    def email(self, number: int) -> str:
        """One subscriber's, and nobody else's."""
        return f"{self.run}-{number}@example.com"

    @property
    def emails_like(self) -> str:
        """A pattern for SQL's LIKE; the run's name contains neither of its wildcards."""
        return f"{self.run}-%@example.com"


def spread(opens: datetime, count: int, over: timedelta) -> list[datetime]:
    """Instants evenly spread behind `opens`, the last at its end: what falls due then falls due evenly."""
    return [opens + over * number / count for number in range(1, count + 1)]


def any_time(dice: random.Random) -> CancelAt:
    """When one who cancels wants it."""
    return dice.choice(_WHENS)
