"""`/v1/test_clock`: business time, in the test environment only."""

from typing import Annotated

from fastapi import APIRouter, Body
from starlette.responses import Response

from middleman.entrypoints.api.answering import MaybeTicket, Parts, example_of, ok, rendering, reply
from middleman.entrypoints.api.documentation import reading, writing
from middleman.entrypoints.api.models import TestClockIn, TestClockOut
from middleman.ports.accounts import AccountsTransaction, ClockReading, TestClockRefused

router = APIRouter(prefix="/v1/test_clock", tags=["test clock"])


@router.get(
    "",
    operation_id="read_test_clock",
    summary="Read the test clock",
    response_model=TestClockOut,
    responses=reading(409),
)
async def read_test_clock(parts: Parts) -> Response:
    """409 outside the test environment: business time is real time there."""
    reading_now = await parts.records.test_clock()
    if reading_now.environment != "test":
        raise TestClockRefused("the test clock exists in the test environment only")
    return ok(TestClockOut.model_validate(reading_now))


@router.post(
    "",
    operation_id="set_test_clock",
    summary="Advance the test clock, and set its rate",
    response_model=TestClockOut,
    responses=writing(),
)
async def set_test_clock(
    parts: Parts,
    ticket: MaybeTicket,
    body: Annotated[TestClockIn, Body(openapi_examples=example_of(advance_s=86400, rate=43800))],
) -> Response:
    """It never goes back. `rate` counts virtual seconds per real second: 43800 lives a month in a minute."""

    async def effect(transaction: AccountsTransaction, _: str) -> ClockReading:
        return await transaction.set_test_clock(body.advance_s, body.rate)

    return reply(
        await parts.once.atomically(ticket, "clk_", effect, rendering(200, TestClockOut.model_validate))
    )
