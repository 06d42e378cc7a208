"""What the processor must have taken, by the clock and the cards: the demo's own sum, beside the verdict.

The judge knows no cards, so that to it an unpaid period may be one that was declined. The demo handed the cards out: it
can say of every subscription how often it must have been charged by now, to the charge.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from chaos.judge.books import Books
from chaos.judge.calendar import periods_due
from chaos.judge.ledger import Ledger
from chaos.judge.verdict import SHOWN_PER_INVARIANT, Finding


@dataclass(frozen=True, slots=True)
class Tally:
    """Charges of the subscriptions of one run. `wrong` lists the first 20 subscriptions that differ."""

    charges_expected: int
    charges_made: int
    wrong: tuple[Finding, ...]
    total_wrong: int

    @property
    def is_exact(self) -> bool:
        """Whether every single subscription was charged as often as it must have been."""
        return self.total_wrong == 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"is_exact": self.is_exact}


def tally(ledger: Ledger, books: Books, declines: Mapping[str, bool]) -> Tally:
    """Compare, at rest, what fell due with what was charged. `declines`: subscription id to whether its card does."""
    made = Counter(
        intent.metadata["subscription_id"]
        for intent in ledger.intents.values()
        if intent.status == "succeeded" and intent.metadata.get("subscription_id") in declines
    )
    wrong: list[Finding] = []
    total_expected = 0
    for subscription_id, card_declines in declines.items():
        subscription = books.subscriptions.get(subscription_id)
        if subscription is None:
            wrong.append(Finding(subscription_id, "was acknowledged, and is not in the books"))
            continue
        due = periods_due(subscription, books.business_now)
        expected = 0 if card_declines else due
        total_expected += expected
        if made[subscription_id] != expected:
            wrong.append(
                Finding(
                    subscription_id,
                    f"charged {made[subscription_id]} times: by the clock {due} periods fell due, and its card "
                    + ("declines" if card_declines else "is good"),
                )
            )
    return Tally(total_expected, made.total(), tuple(wrong[:SHOWN_PER_INVARIANT]), len(wrong))
