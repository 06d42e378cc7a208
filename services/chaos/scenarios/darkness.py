"""What it looks like when nobody may charge: the processor is asked for nothing, and the API serves all the same."""

import asyncio
import uuid
from datetime import datetime

import httpx

from chaos.drive.eyes import Leader, until
from chaos.drive.record import Fault, now
from chaos.drive.stage import PATIENCE_S, Stage

LAST_CALLS_S = 1.0
"""After the end of trust: calls that had begun before are answered by then."""
DARK_S = 3.0
"""How long nobody may charge before the quorum comes back."""
API_PATIENCE_S = 10.0
_CHARGING_CALLS = ("payment_intents.create", "payment_intents.confirm")


async def expect_darkness(stage: Stage, leader: Leader, trust_ended_at: datetime, fault: Fault) -> None:
    """Note that the processor is asked for nothing from the end of trust on, and nobody leads."""
    since_s = (now() - trust_ended_at).total_seconds()
    await asyncio.sleep(max(0.0, LAST_CALLS_S - since_s))
    before = await charging_calls(stage)
    await asyncio.sleep(DARK_S)
    after = await charging_calls(stage)
    stage.observe(
        f"nobody charges from {LAST_CALLS_S:g} s after the end of trust on",
        after == before,
        f"the processor was asked for {after - before} charges in {DARK_S:g} s",
        fault,
    )
    newest = await stage.eyes.newest_term()
    stage.observe(
        "nobody takes office without a quorum",
        newest == leader.term and await stage.eyes.leader() is None,
        f"the newest term is {newest}",
        fault,
    )


async def expect_api_serves(stage: Stage, fault: Fault) -> None:
    """Note that every instance of the API writes and reads."""
    access = stage.target.access
    headers = {"Authorization": f"Bearer {access.api_key}"}
    # A key of each instance's own: under one for all, the second would only repeat what the first has answered.
    keys = {url: {"Idempotency-Key": str(uuid.uuid4())} for url in access.api_urls}
    plan = {"name": "Dark", "amount_minor": 100, "currency": "EUR", "interval": {"unit": "month", "count": 1}}

    async def look() -> str | None:
        told = []
        for url in access.api_urls:
            try:
                written = await stage.eyes.http.post(
                    f"{url}/v1/plans", json=plan, headers=headers | keys[url]
                )
                read = await stage.eyes.http.get(f"{url}/v1/subscriptions?limit=1", headers=headers)
            except httpx.HTTPError:
                return None
            told += [written.status_code, read.status_code]
        served = told == [httpx.codes.CREATED, httpx.codes.OK] * len(access.api_urls)
        return f"answers: {', '.join(map(str, told))}" if served else None

    await stage.expect("the API writes and reads meanwhile", look, fault, patience_s=API_PATIENCE_S)


async def charging_calls(stage: Stage) -> int:
    """How many calls that belong to a charge the processor has answered since it started."""
    access = stage.target.access

    async def look() -> int | None:
        try:
            answer = await stage.eyes.http.get(
                f"{access.sandbox_url}/admin/stats",
                headers={"Authorization": f"Bearer {access.sandbox_admin_key}"},
            )
            requests = answer.raise_for_status().json()["requests"]
        except httpx.HTTPError:
            return None
        return sum(sum(requests.get(operation, {}).values()) for operation in _CHARGING_CALLS)

    return await until(look, PATIENCE_S)
