"""How calls are sent: once, under the right key, with leave of the guard; and what a broken network means."""

import asyncio
import socket
from collections.abc import Iterator

import pytest
from tests.support.scripted_http import (
    Request,
    Script,
    ScriptedServer,
    hang_up,
    raw,
    reply,
    reset,
    response,
    silence,
)

from middleman.adapters.stripe.config import STRIPE_VERSION, StripeConfig
from middleman.adapters.stripe.processor import StripeProcessor
from middleman.domain.attempts import Unknown
from middleman.domain.idempotency import IdempotencyKey, checked_key
from middleman.domain.ids import PaymentIntentId, PaymentMethodId, ProcessorCustomerId
from middleman.domain.money import Money
from middleman.ports.processor import (
    ConfirmIntent,
    CreateIntent,
    ListIntents,
    Missing,
    NotSent,
)

INTENT = PaymentIntentId("pi_1")
CREATE = CreateIntent(
    checked_key("key-1"),
    Money(500, "ISK"),
    ProcessorCustomerId("cus_1"),
    {"invoice_id": "in_1_0", "period_no": "0"},
)
CONFIRM = ConfirmIntent(checked_key("key-2"), INTENT, PaymentMethodId("pm_1"))
UNEXPECTED = {"error": {"type": "invalid_request_error", "code": "payment_intent_unexpected_state"}}
MISSING = {"error": {"type": "invalid_request_error", "code": "resource_missing"}}


class GuardSpoke(Exception):
    """What a guard raises."""


def _refuse() -> None:
    raise GuardSpoke


async def test_a_create_is_unconfirmed_and_carries_key_version_and_form(
    processor: StripeProcessor, server: ScriptedServer
) -> None:
    await processor.create_intent(CREATE)

    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/v1/payment_intents")
    assert request.headers["idempotency-key"] == "key-1"
    assert request.headers["stripe-version"] == STRIPE_VERSION
    assert request.headers["authorization"] == "Bearer sk_test_1"
    assert "x-stripe-client-telemetry" not in request.headers
    assert request.form == {
        "amount": "50000",
        "currency": "isk",
        "customer": "cus_1",
        "payment_method_types[0]": "card",
        "metadata[invoice_id]": "in_1_0",
        "metadata[period_no]": "0",
    }


async def test_a_confirm_is_off_session_with_exactly_this_payment_method(
    processor: StripeProcessor, server: ScriptedServer
) -> None:
    await processor.confirm_intent(CONFIRM)

    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/v1/payment_intents/pi_1/confirm")
    assert request.headers["idempotency-key"] == "key-2"
    assert request.form == {"payment_method": "pm_1", "off_session": "true"}


async def test_repeats_are_byte_for_byte_the_same(processor: StripeProcessor, server: ScriptedServer) -> None:
    for repeat in (False, True, True):
        await processor.create_intent(CREATE, repeat=repeat)
    assert len({(request.body, request.headers["idempotency-key"]) for request in server.requests}) == 1


async def test_a_list_asks_for_the_window_and_nothing_that_was_not_given(
    processor: StripeProcessor, server: ScriptedServer
) -> None:
    await processor.list_intents(ListIntents())
    await processor.list_intents(
        ListIntents(ProcessorCustomerId("cus_1"), created_from_s=5, created_to_s=9, after=INTENT, limit=3)
    )
    assert [request.form for request in server.requests] == [
        {"limit": "100"},
        {
            "limit": "3",
            "customer": "cus_1",
            "starting_after": "pi_1",
            "created[gte]": "5",
            "created[lte]": "9",
        },
    ]


async def test_no_id_leads_to_another_resource(processor: StripeProcessor, server: ScriptedServer) -> None:
    await processor.read_intent(PaymentIntentId("../customers?limit#"))
    path = server.requests[0].target.partition("?")[0]
    assert path == "/v1/payment_intents/..%2Fcustomers%3Flimit%23"
    for name in ("", ".", ".."):
        with pytest.raises(ValueError, match="no id"):
            await processor.read_intent(PaymentIntentId(name))


@pytest.mark.parametrize("key", ["", " ", "k" * 256])
async def test_a_key_that_the_sdk_would_replace_or_stripe_refuse_is_never_sent(
    processor: StripeProcessor, server: ScriptedServer, key: str
) -> None:
    with pytest.raises(ValueError, match="idempotency key"):
        await processor.confirm_intent(ConfirmIntent(IdempotencyKey(key), INTENT, PaymentMethodId("pm_1")))
    assert not server.requests


async def test_a_cancel_is_executed_every_time_and_looks_where_it_comes_too_late(
    processor: StripeProcessor, server: ScriptedServer
) -> None:
    async def too_late(request: Request, writer: asyncio.StreamWriter) -> None:
        answer = reply(400, UNEXPECTED) if request.method == "POST" else reply(404, MISSING)
        await answer(request, writer)

    server.script = too_late
    assert await processor.cancel_intent(INTENT) == Missing()
    assert await processor.cancel_intent(INTENT) == Missing()

    assert [request.method for request in server.requests] == ["POST", "GET"] * 2
    keys = [request.headers["idempotency-key"] for request in server.requests if request.method == "POST"]
    assert len(set(keys)) == 2


# The guard.


async def test_what_the_guard_raises_comes_out_and_nothing_goes_out(
    processor: StripeProcessor, server: ScriptedServer
) -> None:
    for call in (
        processor.create_intent(CREATE, guard=_refuse),
        processor.confirm_intent(CONFIRM, guard=_refuse),
        processor.read_intent(INTENT, guard=_refuse),
        processor.cancel_intent(INTENT, guard=_refuse),
    ):
        with pytest.raises(GuardSpoke):
            await call
    assert not server.requests


async def test_the_guard_is_asked_after_all_waiting(server: ScriptedServer) -> None:
    """A call waits for the only connection while trust ends: it must not be sent any more."""
    release, arrived = asyncio.Event(), asyncio.Event()
    trusted = True

    async def slow(_: Request, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await release.wait()
        writer.write(response(404, "{}"))

    def guard() -> None:
        if not trusted:
            raise GuardSpoke

    server.script = slow
    async with StripeProcessor(StripeConfig("sk_test_1", server.url, concurrency=1)) as processor:
        first = asyncio.create_task(processor.read_intent(INTENT, guard=guard))
        await arrived.wait()
        second = asyncio.create_task(processor.confirm_intent(CONFIRM, guard=guard))
        await asyncio.sleep(0)  # the second call begins to wait
        trusted = False
        release.set()
        await first
        with pytest.raises(GuardSpoke):
            await second
    assert [request.method for request in server.requests] == ["GET"]


# The network.


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (hang_up(), "connection_lost"),
        (reset(), "connection_lost"),
        (raw(response(200, '{"object": "payment_intent"}')[:-9], then_close=True), "connection_lost"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-", then_close=True), "connection_lost"),
        (raw(b"Hello, this is no HTTP at all.\r\n\r\n", then_close=True), "connection_lost"),
    ],
)
async def test_a_connection_that_breaks_after_sending_leaves_the_outcome_unknown(
    processor: StripeProcessor, server: ScriptedServer, script: Script, reason: str
) -> None:
    server.script = script
    for answer in (await processor.create_intent(CREATE), await processor.confirm_intent(CONFIRM)):
        assert isinstance(answer, Unknown)
        assert answer.reason == reason
    assert len(server.requests) == 2, "a POST is never sent again by itself"


async def test_an_answer_that_takes_too_long_is_unknown(server: ScriptedServer) -> None:
    over = asyncio.Event()
    server.script = silence(over)
    async with StripeProcessor(StripeConfig("sk_test_1", server.url, call_timeout_s=0.2)) as processor:
        answer = await processor.confirm_intent(CONFIRM)
    over.set()
    assert isinstance(answer, Unknown)
    assert answer.reason == "timeout"


async def test_an_answer_that_stops_in_the_middle_is_unknown(server: ScriptedServer) -> None:
    server.script = raw(response(200, '{"object": "payment_intent"}')[:-9])
    async with StripeProcessor(StripeConfig("sk_test_1", server.url, call_timeout_s=0.2)) as processor:
        answer = await processor.confirm_intent(CONFIRM)
    assert isinstance(answer, Unknown)
    assert answer.reason == "timeout"


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port whose queue of connections is full: connecting to it takes for ever."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        queued = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            queued.append(client)
        yield port
        for client in queued:
            client.close()


async def _answer_from(base: str) -> object:
    config = StripeConfig("sk_test_1", base, call_timeout_s=2.0, connect_timeout_s=0.3)
    async with StripeProcessor(config) as processor:
        # On a repeat as well: of this call it is certain.
        return await processor.confirm_intent(CONFIRM, repeat=True)


async def test_a_request_that_found_no_connection_was_not_sent(
    deaf_port: int, server: ScriptedServer
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        refused_port = gone.getsockname()[1]
    for base in (
        f"http://127.0.0.1:{refused_port}",
        f"http://127.0.0.1:{deaf_port}",
        "http://no-such-host.invalid",
        server.url.replace("http:", "https:"),  # no TLS there
    ):
        answer = await _answer_from(base)
        assert isinstance(answer, NotSent), base
        assert answer.reason == "no_connection"
    assert not server.requests


async def test_a_call_that_waited_too_long_for_a_connection_was_not_sent(server: ScriptedServer) -> None:
    over = asyncio.Event()
    server.script = silence(over)
    config = StripeConfig("sk_test_1", server.url, call_timeout_s=0.3, concurrency=1, max_waiting=1)
    async with StripeProcessor(config) as processor:
        first = asyncio.create_task(processor.confirm_intent(CONFIRM))
        second = asyncio.create_task(processor.confirm_intent(CONFIRM))
        await asyncio.sleep(0)  # the first takes the slot, the second waits
        third = await processor.confirm_intent(CONFIRM)
        answers = await asyncio.gather(first, second)
    over.set()
    assert isinstance(third, NotSent)
    assert third.reason == "too_many_waiting"
    assert isinstance(answers[0], Unknown)
    # The slot came free when the first call gave up, at the very moment when the second one would have.
    assert isinstance(answers[1], NotSent | Unknown)
    assert len(server.requests) <= 2


async def test_a_canceled_call_gives_its_connection_back(server: ScriptedServer) -> None:
    over, arrived = asyncio.Event(), asyncio.Event()

    async def stall(_: Request, __: asyncio.StreamWriter) -> None:
        arrived.set()
        await over.wait()

    server.script = stall
    async with StripeProcessor(StripeConfig("sk_test_1", server.url, concurrency=1)) as processor:
        stuck = asyncio.create_task(processor.confirm_intent(CONFIRM))
        await arrived.wait()
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
        server.says(404, MISSING)
        assert await processor.read_intent(INTENT) == Missing()
    over.set()


# Connections.


async def test_warming_opens_the_connections_that_the_first_calls_then_use(
    processor: StripeProcessor, server: ScriptedServer
) -> None:
    server.says(404, MISSING)
    await processor.warm(8)
    assert server.connections == 8
    assert not any("authorization" in request.headers for request in server.requests)

    await asyncio.gather(*(processor.read_intent(INTENT) for _ in range(8)))
    assert server.connections == 8


async def test_warming_opens_no_more_than_the_pool_holds(server: ScriptedServer) -> None:
    async with StripeProcessor(StripeConfig("sk_test_1", server.url, concurrency=3)) as processor:
        await processor.warm(100)
    assert server.connections == 3


async def test_warming_survives_a_processor_that_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    async with StripeProcessor(StripeConfig("sk_test_1", f"http://127.0.0.1:{port}")) as processor:
        await processor.warm(2)
        assert isinstance(await processor.read_intent(INTENT), NotSent)


async def test_after_closing_nothing_is_sent(processor: StripeProcessor, server: ScriptedServer) -> None:
    await processor.close()
    answer = await processor.confirm_intent(CONFIRM)
    assert isinstance(answer, NotSent)
    assert answer.reason == "closed"
    assert not server.requests
