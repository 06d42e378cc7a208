"""Rules by which the sandbox misbehaves: each declares its fault, and is gone at the end of its block.

A rule knows how often it was hit, which shows that it bit.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from chaos.drive.record import Fault
from chaos.drive.stage import Stage
from chaos.drive.target import TargetError

SANDBOX = "sandbox"
ANY = "*"
CREATE = "payment_intents.create"
CONFIRM = "payment_intents.confirm"

Action = Mapping[str, Any]
LOST_BEFORE: Action = {"type": "drop_before"}
LOST_AFTER: Action = {"type": "drop_after"}
RESET_BEFORE: Action = {"type": "reset", "when": "before"}
RESET_AFTER: Action = {"type": "reset", "when": "after"}
TRUNCATED: Action = {"type": "truncate"}
FAILED_AND_DONE: Action = {"type": "error_500", "stored": True, "executed": True}
FAILED_AND_NOT_DONE: Action = {"type": "error_500", "stored": True, "executed": False}

UNDO_TIMEOUT_S = 15.0
_RETRY_S = 0.2
_ASK_TIMEOUT_S = 1.5


def too_many(retry_after_s: float | None = None) -> Action:
    """429, with or without `Retry-After`."""
    return {"type": "rate_limit"} | ({} if retry_after_s is None else {"retry_after_s": retry_after_s})


def refusing(reason: str, **how: object) -> Action:
    """A refusal that concerns no payer: `stored` under the key or not, and for a proxy its `status`."""
    return {"type": "refuse", "reason": reason, **how}


def lingering(for_s: float) -> Action:
    """The intent stays in `processing` for so long, and succeeds then."""
    return {"type": "linger", "status": "processing", "for_s": for_s, "then": "succeed"}


def slow(from_s: float, to_s: float) -> Action:
    """Executed and answered so much later."""
    return {"type": "latency", "latency_ms": from_s * 1000, "jitter_ms": (to_s - from_s) * 1000}


@dataclass(frozen=True, slots=True)
class Admin:
    """What the sandbox shows and does for those who hold its admin key."""

    http: httpx.AsyncClient
    url: str
    key: str = field(repr=False)

    @classmethod
    def of(cls, stage: Stage) -> "Admin":
        """The admin endpoints of a stage's sandbox."""
        access = stage.target.access
        return cls(stage.eyes.http, access.sandbox_url, access.sandbox_admin_key)

    async def ask(self, path: str) -> dict[str, Any] | None:
        """What `/admin/<path>` shows; None when the sandbox does not answer."""
        answer = await self._request("GET", path, None)
        return None if answer is None else self._content(answer)

    async def add(self, document: object) -> str:
        """Put a rule in force; its name. Asked for once and waited for: a repeat could put it in force twice.

        Raises `TargetError`.
        """
        await self.change("GET", "stats")  # who was killed a moment ago may not be up again
        answer = await self._request("POST", "faults", document, timeout_s=UNDO_TIMEOUT_S)
        if answer is None:
            raise TargetError("the sandbox did not say whether it took the rule")
        return str(self._content(answer)["id"])

    async def change(self, method: str, path: str, document: object = None) -> dict[str, Any]:
        """Set, delete or read something, again until the sandbox answers. Raises `TargetError`."""
        try:
            async with asyncio.timeout(UNDO_TIMEOUT_S):
                while True:
                    if (answer := await self._request(method, path, document)) is not None:
                        return self._content(answer)
                    await asyncio.sleep(_RETRY_S)
        except TimeoutError:
            raise TargetError(
                f"the sandbox does not answer {method} /admin/{path} for {UNDO_TIMEOUT_S:g} s"
            ) from None

    async def _request(
        self, method: str, path: str, document: object, *, timeout_s: float = _ASK_TIMEOUT_S
    ) -> httpx.Response | None:
        try:
            return await self.http.request(
                method,
                f"{self.url}/admin/{path}",
                headers={"Authorization": f"Bearer {self.key}"},
                json=document,
                timeout=timeout_s,
            )
        except httpx.HTTPError:
            return None

    @staticmethod
    def _content(answer: httpx.Response) -> dict[str, Any]:
        if answer.status_code == httpx.codes.NOT_FOUND:
            return {}  # a rule that ended with the process that kept it
        if not answer.is_success:
            raise TargetError(f"the sandbox answered {answer.status_code}: {answer.text[:200]}")
        content: dict[str, Any] = answer.json()
        return content


@dataclass(slots=True)
class Rule:
    """One rule in force; `hits` is as last seen, and final once the rule is gone."""

    fault: Fault
    admin: Admin
    id: str
    hits: int = 0

    async def bitten(self) -> int | None:
        """How often it was hit; None while it was not."""
        rules = await self.admin.ask("faults")
        for rule in rules["data"] if rules is not None else ():
            if rule["id"] == self.id:
                self.hits = rule["hits"]
        return self.hits or None


@asynccontextmanager
async def misbehaving(
    stage: Stage,
    action: Action,
    *,
    operation: str = ANY,
    probability: float = 1.0,
    times: int | None = None,
) -> AsyncIterator[Rule]:
    """Inside, the sandbox does this to requests of that operation; which of them, the stage's dice say."""
    match = {"operation": operation, "probability": probability, "seed": stage.dice.randrange(2**31)}
    document = {"match": match, "action": dict(action)} | ({} if times is None else {"times": times})
    admin = Admin.of(stage)
    # `type` becomes the kind, the rest of the action its settings.
    settings = {name: value for name, value in action.items() if name != "type"}
    declared = stage.fault(f"processor-{action['type']}", SANDBOX, **match, **settings)
    async with declared as fault:
        rule: Rule | None = None
        try:
            rule = Rule(fault, admin, await admin.add(document))
            yield rule
        finally:
            if rule is None:  # it may be in force all the same: nobody read its name
                await admin.change("DELETE", "faults")
            else:
                gone = await admin.change("DELETE", f"faults/{rule.id}")
                rule.hits = gone.get("hits", rule.hits)


async def expect_bitten(stage: Stage, rule: Rule, *, least: int = 1, patience_s: float = 20.0) -> int:
    """Note that at least so many requests were hit by the rule; how many so far."""

    async def look() -> int | None:
        hits = await rule.bitten() or 0
        return hits if hits >= least else None

    return await stage.expect(
        f"requests are hit by {rule.fault.kind}",
        look,
        rule.fault,
        tell=lambda hits: f"{hits} hit",
        patience_s=patience_s,
    )
