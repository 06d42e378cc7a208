"""The adapter in front of a server that says what the test wants."""

from collections.abc import AsyncIterator

import pytest_asyncio
from tests.support.scripted_http import ScriptedServer, scripted_server

from middleman.adapters.stripe.config import StripeConfig
from middleman.adapters.stripe.processor import StripeProcessor


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as scripted:
        yield scripted


@pytest_asyncio.fixture
async def processor(server: ScriptedServer) -> AsyncIterator[StripeProcessor]:
    """With a time limit that a test can afford to wait for."""
    async with StripeProcessor(StripeConfig("sk_test_1", server.url, call_timeout_s=5.0)) as processor:
        yield processor
