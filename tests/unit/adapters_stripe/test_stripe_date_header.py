"""What the `Date` header of an answer says of the processor's clock, and when."""

import pytest
from tests.support.scripted_http import ScriptedServer
from tests.support.virtual_time import VirtualClock, in_virtual_time

from middleman.adapters.stripe.date_header import DateHeader
from middleman.adapters.stripe.processor import StripeProcessor
from middleman.adapters.system_clock import SystemClock
from middleman.domain.ids import PaymentIntentId
from middleman.ports.clock import ClockReading

DATE = {"Date": "Tue, 01 Dec 2026 00:00:00 GMT"}
UNIX_S = 1_796_083_200.0


@in_virtual_time
async def test_the_clock_showed_that_second_between_the_request_and_the_end_of_the_answer() -> None:
    clock = VirtualClock()
    header = DateHeader(clock)
    sent_s = header.sent()
    await clock.sleep(2.5)
    header.answered(DATE, sent_s)
    assert header.last == ClockReading(UNIX_S, sent_s, sent_s + 2.5, 1.0)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Date": ""},
        {"Date": "yesterday"},
        {"Date": "Tue, 01 Dec 99999 00:00:00 GMT"},
        {"Date": "Tue, 31 Feb 2026 00:00:00 GMT"},
        DATE | {"Age": "120"},
    ],
)
@in_virtual_time
async def test_an_answer_without_a_date_of_its_own_says_nothing(headers: dict[str, str]) -> None:
    header = DateHeader(VirtualClock())
    header.answered(headers, header.sent())
    assert header.last is None


@pytest.mark.parametrize(
    "date",
    ["Tuesday, 01-Dec-26 00:00:00 GMT", "Tue, 01 Dec 2026 00:00:00 -0000", "Tue, 01 Dec 2026 00:00:00 +0000"],
)
@in_virtual_time
async def test_older_forms_of_a_date_are_read_as_well(date: str) -> None:
    header = DateHeader(VirtualClock())
    header.answered({"Date": date}, header.sent())
    assert header.last is not None
    assert header.last.unix_s == UNIX_S


@in_virtual_time
async def test_it_is_read_once_a_second_however_many_answers_come() -> None:
    clock = VirtualClock()
    header = DateHeader(clock)
    header.answered(DATE, header.sent())
    first = header.last
    await clock.sleep(0.9)
    header.answered(DATE, header.sent())
    assert header.last is first
    await clock.sleep(0.2)
    header.answered(DATE, header.sent())
    assert header.last != first


@pytest.mark.parametrize("status", [200, 404, 402, 503, 302])
async def test_an_answer_of_any_kind_shows_the_processors_clock(
    server: ScriptedServer, processor: StripeProcessor, status: int
) -> None:
    assert processor.clock() is None
    server.says(status, {"error": {"code": "x"}}, DATE)
    began_s = SystemClock().boottime_s()
    await processor.read_intent(PaymentIntentId("pi_1"))
    shown = processor.clock()
    assert shown is not None
    assert shown.unix_s == UNIX_S
    assert began_s <= shown.not_before_s <= shown.not_after_s <= SystemClock().boottime_s()


async def test_a_warmed_connection_has_shown_the_clock_before_the_first_charge(
    server: ScriptedServer, processor: StripeProcessor
) -> None:
    server.says(404, {"error": {"code": "unknown_url"}}, DATE)
    await processor.warm(2)
    shown = processor.clock()
    assert shown is not None
    assert shown.unix_s == UNIX_S
