"""From method and path to operation."""

from urllib.parse import unquote

from stripe_sandbox.errors import unknown_url
from stripe_sandbox.operation import Operation
from stripe_sandbox.resources import (
    charges,
    customers,
    events,
    payment_intents,
    payment_methods,
    refunds,
    setup_intents,
)

OPERATIONS: tuple[Operation, ...] = (
    *customers.OPERATIONS,
    *payment_methods.OPERATIONS,
    *payment_intents.OPERATIONS,
    *charges.OPERATIONS,
    *setup_intents.OPERATIONS,
    *refunds.OPERATIONS,
    *events.OPERATIONS,
)

_NOT_IDS = frozenset({"search"})
"""What stands where an id could, at Stripe, and is an operation that the sandbox does not play."""


class Router:
    """All of Stripe's paths that the sandbox plays are `/v1/resource[/id[/action]]`."""

    def __init__(self, operations: tuple[Operation, ...] = OPERATIONS) -> None:
        self._table = {}
        for operation in operations:
            parts = operation.path.split("/")[2:]
            action = parts[2] if len(parts) > 2 else ""
            self._table[operation.method, parts[0], len(parts) > 1, action] = operation

    def find(self, method: str, path: str) -> tuple[Operation, str]:
        """The operation and the id in the path ("" where it has none). Raises Stripe's 404 for any other path."""
        parts = path.split("/")
        if 3 <= len(parts) <= 5 and parts[1] == "v1":
            object_id = parts[3] if len(parts) > 3 else ""
            action = parts[4] if len(parts) > 4 else ""
            operation = self._table.get((method, parts[2], len(parts) > 3, action))
            well_formed = len(parts) == 3 or (object_id != "" and (len(parts) == 4 or action != ""))
            if operation is not None and well_formed and object_id not in _NOT_IDS:
                return operation, unquote(object_id)
        raise unknown_url(method, path[:500])
