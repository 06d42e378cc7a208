"""The bare limit: create and confirm through the SDK, and nothing else.

A process of its own, like the replica that it is compared with: reads customers as JSON from standard
input, charges each once with bounded concurrency, prints `{"charges": n, "took_s": s}`.
"""

import argparse
import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Iterator

import stripe
import uvloop

from middleman.adapters.stripe.config import STRIPE_VERSION, StripeConfig
from middleman.adapters.stripe.connection import PooledClient


async def charge_all(customers: list[dict[str, str]], base: str, concurrency: int, round_name: str) -> float:
    """Charge every customer once; returns the seconds it took, connections opened beforehand."""
    config = StripeConfig(os.environ["STRIPE_API_KEY"], base, concurrency=concurrency)
    http = PooledClient(config)
    client = stripe.StripeClient(
        config.api_key,
        stripe_version=STRIPE_VERSION,
        base_addresses={"api": config.base_url},
        http_client=http,
        max_network_retries=0,
    )
    stripe.enable_telemetry = False
    work: Iterator[tuple[int, dict[str, str]]] = iter(enumerate(customers))

    async def worker() -> None:
        for number, customer in work:
            key = f"bare-{round_name}-{number}"
            intent = await client.raw_request_async(
                "post",
                "/v1/payment_intents",
                amount=999,
                currency="eur",
                customer=customer["customer"],
                payment_method_types=["card"],
                metadata={"bare": key},
                idempotency_key=f"{key}-create",
            )
            confirmed = await client.raw_request_async(
                "post",
                f"/v1/payment_intents/{intent.data['id']}/confirm",
                payment_method=customer["payment_method"],
                off_session=True,
                idempotency_key=f"{key}-confirm",
            )
            if confirmed.data["status"] != "succeeded":
                raise SystemExit(f"bare limit: a charge ended as {confirmed.data['status']}")

    async def touch() -> None:
        async with http.session.get(f"{config.base_url}/livez") as response:
            await response.read()

    try:
        await asyncio.gather(*(touch() for _ in range(concurrency)))
        started_s = time.monotonic()
        await asyncio.gather(*(worker() for _ in range(concurrency)))
        return time.monotonic() - started_s
    finally:
        await http.session.close()


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description="Charge customers through the bare SDK")
    parser.add_argument("--base", required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--round", required=True)
    options = parser.parse_args()
    gc.freeze()  # as the replica does, so that the comparison is one of work
    gc.set_threshold(50_000, 20, 20)
    customers = json.load(sys.stdin)
    took_s = uvloop.run(charge_all(customers, options.base, options.concurrency, options.round))
    print(json.dumps({"charges": len(customers), "took_s": took_s}))


if __name__ == "__main__":
    main()
