"""The processor's ledger: what was really charged, as the processor itself tells it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

PAGE_SIZE = 5000
MAX_PAGES = 20_000  # 100 million rows: a bound against a server that says `has_more` for ever


class LedgerUnreadableError(Exception):
    """The processor's ledger cannot be read."""


@dataclass(frozen=True, slots=True)
class Charge:
    """One try to move money. Amounts in the processor's minor unit."""

    id: str
    status: str
    amount: int
    amount_refunded: int
    currency: str


@dataclass(frozen=True, slots=True)
class Intent:
    """One payment intent with its charges. Currency in upper case; amounts in the processor's minor unit."""

    id: str
    status: str
    amount: int
    amount_received: int
    currency: str
    customer: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    charges: tuple[Charge, ...] = ()

    @property
    def period(self) -> tuple[str, str] | None:
        """(subscription, period number) that its metadata names, or None."""
        subscription, period_no = self.metadata.get("subscription_id"), self.metadata.get("period_no")
        return (subscription, period_no) if subscription and period_no is not None else None

    @property
    def took_money(self) -> bool:
        """Whether it moved money, or is about to without anyone's further doing."""
        return (
            self.status in ("succeeded", "processing", "requires_capture")
            or self.amount_received > 0
            or any(charge.status == "succeeded" for charge in self.charges)
        )


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What the processor remembers of one idempotency key."""

    key: str
    method: str
    path: str
    body_sha256: str
    executions: int
    mismatches: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """All of it: intents by id, and every idempotency key."""

    intents: Mapping[str, Intent]
    keys: tuple[KeyUse, ...] = ()


async def read_ledger(base_url: str, admin_key: str, *, timeout_s: float = 30.0) -> Ledger:
    """Read the sandbox's whole ledger page by page, oldest first.

    Raises `LedgerUnreadableError` with what to do when it cannot be reached or refuses.
    """
    headers = {"Authorization": f"Bearer {admin_key}"}
    async with httpx.AsyncClient(
        base_url=base_url, headers=headers, timeout=timeout_s, trust_env=False
    ) as client:
        intents = {intent.id: intent async for intent in _intents(client)}
        keys = tuple([key async for key in _keys(client)])
    return Ledger(intents, keys)


async def _intents(client: httpx.AsyncClient) -> AsyncIterator[Intent]:
    async for row in _rows(client, "/admin/ledger/intents", cursor="id"):
        yield Intent(
            id=row["id"],
            status=row["status"],
            amount=row["amount"],
            amount_received=row["amount_received"],
            currency=row["currency"].upper(),
            customer=row["customer"],
            metadata=row["metadata"],
            charges=tuple(_charge(charge) for charge in row["charges"]),
        )


def _charge(row: Mapping[str, Any]) -> Charge:
    return Charge(
        row["id"], row["status"], row["amount"], row["amount_refunded"], str(row["currency"]).upper()
    )


async def _keys(client: httpx.AsyncClient) -> AsyncIterator[KeyUse]:
    async for row in _rows(client, "/admin/ledger/keys", cursor="key"):
        yield KeyUse(
            key=row["key"],
            method=row["method"],
            path=row["path"],
            body_sha256=row["body_sha256"],
            executions=row["executions"],
            mismatches=row["mismatches"],
        )


async def _rows(client: httpx.AsyncClient, path: str, *, cursor: str) -> AsyncIterator[Mapping[str, Any]]:
    after: str | None = None
    for _ in range(MAX_PAGES):
        page = await _page(client, path, {"limit": PAGE_SIZE} | ({"after": after} if after else {}))
        rows = page["data"]
        for row in rows:
            yield row
        if not page["has_more"]:
            return
        if not rows or rows[-1][cursor] == after:
            raise LedgerUnreadableError(f"{client.base_url}{path} says there is more but shows nothing new")
        after = rows[-1][cursor]
    raise LedgerUnreadableError(f"{client.base_url}{path} does not end after {MAX_PAGES} pages")


async def _page(client: httpx.AsyncClient, path: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        answer = await client.get(path, params=dict(params))
        answer.raise_for_status()
        page = answer.json()
    except httpx.HTTPStatusError as error:
        raise LedgerUnreadableError(
            f"the ledger at {client.base_url} answers {error.response.status_code}: check the admin key"
        ) from error
    except (httpx.HTTPError, ValueError) as error:
        raise LedgerUnreadableError(
            f"cannot read the ledger at {client.base_url} ({type(error).__name__}): is the processor running?"
        ) from error
    if not isinstance(page, dict) or "data" not in page or "has_more" not in page:
        raise LedgerUnreadableError(f"{client.base_url} does not look like a processor's ledger")
    return page
