"""What the sandbox counts: requests of this process, and totals over the whole ledger."""

from collections import Counter, defaultdict
from typing import Any

from stripe_sandbox.latency import Latencies
from stripe_sandbox.world import World


class Stats:
    """What happened since the process started.

    `latencies` are by operation, from a request's arrival until its reply left, with the waits of faults; `commits` tell
    what the disk adds to that. `deliveries` are tries to deliver a webhook, by outcome.
    """

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self.dropped = 0
        self.latencies: defaultdict[str, Latencies] = defaultdict(Latencies)
        self.commits = Latencies()
        self.deliveries: Counter[str] = Counter(delivered=0, failed=0, given_up=0)

    def answered(self, operation: str, status: int) -> None:
        """Counts one request; replays count as requests, too."""
        self._requests[operation, status] += 1

    def view(self, world: World) -> dict[str, Any]:
        """Counts and totals; amounts in minor units by currency."""
        requests: dict[str, dict[str, int]] = {}
        for (operation, status), count in sorted(self._requests.items()):
            requests.setdefault(operation, {})[str(status)] = count
        succeeded: Counter[str] = Counter()
        amount: Counter[str] = Counter()
        refunded: Counter[str] = Counter()
        statuses: Counter[str] = Counter()
        for intent in world.payment_intents.ordered:
            statuses[intent.status] += 1
            if intent.status == "succeeded":
                succeeded[intent.currency] += 1
                amount[intent.currency] += intent.amount_received
        for refund in world.refunds.ordered:
            refunded[refund.currency] += refund.amount
        return {
            "requests": requests,
            "dropped_before_execution": self.dropped,
            "requests_total": self._requests.total(),
            "succeeded": {
                currency: {
                    "count": succeeded[currency],
                    "amount": amount[currency],
                    "amount_refunded": refunded[currency],
                }
                for currency in sorted(succeeded)
            },
            "payment_intents_by_status": dict(sorted(statuses.items())),
            "counts": {
                "customers": len(world.customers.ordered),
                "payment_methods": len(world.payment_methods.ordered),
                "payment_intents": len(world.payment_intents.ordered),
                "charges": len(world.charges.ordered),
                "setup_intents": len(world.setup_intents.ordered),
                "refunds": len(world.refunds.ordered),
                "events": world.event_seq,
            },
        }
