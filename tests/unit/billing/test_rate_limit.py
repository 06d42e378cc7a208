"""The client-side limit, in virtual time."""

import asyncio
import math

import pytest
from tests.support.virtual_time import VirtualClock, in_virtual_time

from middleman.billing.rate_limit import LimiterOverrun, LimiterTuning, RateLimiter


class _Load:
    """Callers that call as often as they may, and how many calls they got through."""

    def __init__(self, limiter: RateLimiter, clock: VirtualClock, endpoint: str = "confirm") -> None:
        self._limiter, self._clock, self._endpoint = limiter, clock, endpoint
        self.starts_s: list[float] = []

    async def run(self, duration_s: float, callers: int = 8) -> None:
        """Callers whose calls take no time; those still waiting at the end are called off."""
        try:
            async with asyncio.timeout(duration_s), asyncio.TaskGroup() as group:
                for _ in range(callers):
                    group.create_task(self._call_on())
        except TimeoutError:
            return

    async def _call_on(self) -> None:
        while True:
            await self._limiter.acquire(self._endpoint)
            self.starts_s.append(self._clock.boottime_s())
            self._limiter.passed(self._endpoint)


@in_virtual_time
async def test_no_ceiling_and_no_429_is_no_limit() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock)
    started_s = clock.boottime_s()
    for _ in range(10_000):
        await limiter.acquire("create")
        limiter.passed("create")
    assert clock.boottime_s() == started_s
    assert limiter.rate_per_s("create") is None


@in_virtual_time
async def test_the_ceiling_holds_however_many_callers_there_are() -> None:
    clock = VirtualClock()
    load = _Load(RateLimiter(clock, 25), clock)
    await load.run(10.0, callers=64)
    assert 248 <= len(load.starts_s) <= 253


@in_virtual_time
async def test_each_endpoint_counts_apart() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock, 25)
    create, confirm = _Load(limiter, clock, "create"), _Load(limiter, clock, "confirm")
    limiter.throttled("create", 60.0)
    await asyncio.gather(create.run(10.0), confirm.run(10.0))
    assert not create.starts_s
    assert 248 <= len(confirm.starts_s) <= 253


@in_virtual_time
async def test_a_429_halves_the_rate_which_then_grows_back_to_the_ceiling_and_no_further() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock, 100)
    limiter.throttled("confirm")
    assert limiter.rate_per_s("confirm") == pytest.approx(50)
    await clock.sleep(5.0)
    assert limiter.rate_per_s("confirm") == pytest.approx(75)
    await clock.sleep(100.0)
    assert limiter.rate_per_s("confirm") == pytest.approx(100)


@in_virtual_time
async def test_a_burst_of_429s_counts_once_and_the_next_one_again() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock, 100)
    for _ in range(64):
        limiter.throttled("confirm")
    assert limiter.rate_per_s("confirm") == pytest.approx(50)
    await clock.sleep(1.0)
    limiter.throttled("confirm")
    assert limiter.rate_per_s("confirm") == pytest.approx(27.5)


@in_virtual_time
async def test_the_rate_never_falls_below_its_floor() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock, 100)
    for _ in range(60):
        limiter.throttled("confirm")
        await clock.sleep(0.0)
        await clock.sleep(1.0)
    rate = limiter.rate_per_s("confirm")
    assert rate is not None
    assert rate >= 1.0
    limiter = RateLimiter(clock, 0.5)
    limiter.throttled("confirm")
    assert limiter.rate_per_s("confirm") == pytest.approx(0.5)


@in_virtual_time
async def test_nobody_calls_before_the_time_that_the_processor_named() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock, 100)
    load = _Load(limiter, clock)
    throttled_s = clock.boottime_s()
    limiter.throttled("confirm", 3.0)
    await load.run(4.0)
    assert min(load.starts_s) == pytest.approx(throttled_s + 3.0)


@in_virtual_time
async def test_a_429_reaches_those_who_are_waiting_already() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock, 10)
    load = _Load(limiter, clock)
    running = asyncio.create_task(load.run(10.0))
    await clock.sleep(1.0)
    limiter.throttled("confirm", 5.0)
    throttled_s = clock.boottime_s()
    await running
    assert not [at_s for at_s in load.starts_s if throttled_s < at_s < throttled_s + 5.0]
    assert [at_s for at_s in load.starts_s if at_s >= throttled_s + 5.0]


@pytest.mark.parametrize("named_s", [1e9, math.inf])
def test_no_answer_can_silence_an_endpoint_for_more_than_a_minute(named_s: float) -> None:
    @in_virtual_time
    async def scene() -> None:
        clock = VirtualClock()
        limiter = RateLimiter(clock, 10)
        started_s = clock.boottime_s()
        limiter.throttled("confirm", named_s)
        await limiter.acquire("confirm")
        assert clock.boottime_s() - started_s == pytest.approx(60.0)

    scene()


@in_virtual_time
async def test_without_a_ceiling_a_429_halves_what_was_seen_and_the_limit_lifts_later() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock)
    for _ in range(200):  # two seconds at 100 calls a second
        await limiter.acquire("confirm")
        limiter.passed("confirm")
        await clock.sleep(0.01)
    limiter.throttled("confirm")
    assert limiter.rate_per_s("confirm") == pytest.approx(50, rel=0.05)
    await clock.sleep(10.0)
    assert limiter.rate_per_s("confirm") == pytest.approx(100, rel=0.05)
    await clock.sleep(30.0)
    assert limiter.rate_per_s("confirm") is None


async def _at_forty_a_second(limiter: RateLimiter, clock: VirtualClock) -> None:
    for _ in range(80):
        await limiter.acquire("confirm")
        limiter.passed("confirm")
        await clock.sleep(0.025)


@in_virtual_time
async def test_a_storm_in_which_everything_was_refused_is_over_soon_after_the_first_success() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock)
    await _at_forty_a_second(limiter, clock)
    for _ in range(10):
        limiter.throttled("confirm")
        await clock.sleep(1.0)
    in_the_storm = limiter.rate_per_s("confirm")
    assert in_the_storm is not None
    assert in_the_storm < 5, "it grants rest while everything is refused"
    limiter.passed("confirm")
    await clock.sleep(5.0)
    rate = limiter.rate_per_s("confirm")
    assert rate is not None
    assert rate >= 20
    await clock.sleep(30.0)
    assert limiter.rate_per_s("confirm") is None


@in_virtual_time
async def test_a_storm_in_which_little_got_through_leaves_a_quarter_of_what_was_good() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock)
    await _at_forty_a_second(limiter, clock)
    for _ in range(10):
        limiter.throttled("confirm")
        limiter.passed("confirm")
        await clock.sleep(1.0)
    await clock.sleep(1.0)
    rate = limiter.rate_per_s("confirm")
    assert rate is not None
    assert 10 <= rate <= 20
    await clock.sleep(15.0)
    rate = limiter.rate_per_s("confirm")
    assert rate is not None
    assert rate >= 40


@in_virtual_time
async def test_a_429_to_one_who_has_just_begun_does_not_reduce_it_to_a_trickle() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock)
    limiter.throttled("confirm")
    assert limiter.rate_per_s("confirm") == pytest.approx(12.5)


@in_virtual_time
async def test_under_a_ceiling_the_rate_doubles_back_to_where_it_was_last_good() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock, 100)
    limiter.passed("confirm")
    for _ in range(20):
        limiter.throttled("confirm")
        await clock.sleep(1.0)
    limiter.passed("confirm")
    await clock.sleep(4.0)
    assert limiter.rate_per_s("confirm") == pytest.approx(50, abs=5)


@in_virtual_time
async def test_callers_are_served_in_their_order() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock, 10)
    served: list[int] = []

    async def call(number: int) -> None:
        await limiter.acquire("confirm")
        served.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(call(number))
    assert served == list(range(20))


@in_virtual_time
async def test_a_caller_that_gives_up_costs_the_others_nothing() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock, 1)
    await limiter.acquire("confirm")
    first = asyncio.create_task(limiter.acquire("confirm"))
    second = asyncio.create_task(limiter.acquire("confirm"))
    await clock.sleep(0.5)
    first.cancel()
    started_s = clock.boottime_s()
    await second
    assert clock.boottime_s() - started_s == pytest.approx(0.5)
    assert first.cancelled()


@in_virtual_time
async def test_more_waiters_than_the_limiter_takes_are_refused_loudly() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock, 1, LimiterTuning(max_waiters=2))
    await limiter.acquire("confirm")
    waiting = [asyncio.create_task(limiter.acquire("confirm")) for _ in range(2)]
    await clock.sleep(0.0)
    with pytest.raises(LimiterOverrun, match="2 callers already wait"):
        await limiter.acquire("confirm")
    await asyncio.gather(*waiting)


@pytest.mark.parametrize("ceiling", [-1.0, math.nan, math.inf])
def test_a_senseless_ceiling_is_refused(ceiling: float) -> None:
    with pytest.raises(ValueError, match="ceiling"):
        RateLimiter(VirtualClock(), ceiling)


@in_virtual_time
async def test_the_accounts_ceiling_holds_over_all_endpoints_together() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock, 20, account_per_s=25)
    loads = [_Load(limiter, clock, endpoint) for endpoint in ("create", "confirm", "read")]
    async with asyncio.TaskGroup() as group:
        for load in loads:
            group.create_task(load.run(10.0))
    counts = [len(load.starts_s) for load in loads]
    assert 248 <= sum(counts) <= 256
    assert min(counts) >= 75, "each of the three gets its share"


@in_virtual_time
async def test_each_endpoint_keeps_its_own_ceiling_below_the_accounts() -> None:
    clock = VirtualClock()
    load = _Load(RateLimiter(clock, 10, account_per_s=25), clock)
    await load.run(10.0)
    assert 98 <= len(load.starts_s) <= 102


@in_virtual_time
async def test_a_429_for_the_account_without_any_ceiling_halves_what_was_seen_of_all_endpoints() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock)
    for _ in range(60):
        for endpoint in ("create", "confirm"):
            await limiter.acquire(endpoint)
            limiter.passed(endpoint)
    await asyncio.sleep(1.0)
    limiter.account_throttled()
    assert limiter.rate_per_s("read") == pytest.approx(60, rel=0.05)
    limiter.account_throttled(retry_after_s=5.0)
    started_s = clock.boottime_s()
    await limiter.acquire("read")
    assert clock.boottime_s() - started_s >= 5.0


@pytest.mark.parametrize("wrong", [-1, math.inf, math.nan])
def test_a_ceiling_of_the_account_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="a ceiling is"):
        RateLimiter(VirtualClock(), account_per_s=wrong)
