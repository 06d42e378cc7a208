"""One suite for every payment processor: the fake, the Stripe adapter on the sandbox and on Stripe itself."""

import contextlib
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.support.processor_rigs import Rig, fake_rig, sandbox_rig, stripe_rig

with_a_key = pytest.mark.skipif(
    not os.environ.get("STRIPE_API_KEY"),
    reason="set STRIPE_API_KEY=sk_test_… to run the suite on Stripe's test mode",
)


@pytest.fixture(params=["fake", "sandbox", pytest.param("stripe", marks=with_a_key)])
def rig_context(request: pytest.FixtureRequest) -> contextlib.AbstractAsyncContextManager[Rig]:
    """Not async, so that only the sandbox's tests start a sandbox."""
    match request.param:
        case "fake":
            return fake_rig()
        case "sandbox":
            return sandbox_rig(request.getfixturevalue("sandbox_server"))
        case _:
            return stripe_rig(os.environ["STRIPE_API_KEY"])


@pytest_asyncio.fixture
async def rig(rig_context: contextlib.AbstractAsyncContextManager[Rig]) -> AsyncIterator[Rig]:
    async with rig_context as rig:
        rig.customer_id = await rig.new_customer()
        yield rig
