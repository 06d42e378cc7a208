"""The trust window: extended by renewals, ended by time, never revived."""

import pytest

from middleman.ports.errors import TrustLost
from middleman.ports.trust import Trust, TrustWindow


class HandClock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def boottime_s(self) -> float:
        return self.now_s

    async def sleep(self, delay_s: float) -> None:
        raise AssertionError("trust never waits")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def test_trust_holds_until_its_deadline_and_not_at_it(clock: HandClock) -> None:
    trust = Trust(clock, 102.75)
    clock.now_s = 102.74
    trust.require()
    assert trust.remaining_s() == pytest.approx(0.01)
    clock.now_s = 102.75
    with pytest.raises(TrustLost, match="not renewed in time"):
        trust.require()
    assert trust.remaining_s() == 0


def test_a_renewal_extends_trust(clock: HandClock) -> None:
    window = TrustWindow(clock, 102.0)
    window.extend(104.0)
    clock.now_s = 103.0
    assert window.remaining_s() == 1.0


def test_an_answer_to_an_older_request_does_not_shorten_trust(clock: HandClock) -> None:
    window = TrustWindow(clock, 102.0)
    window.extend(104.0)
    window.extend(103.0)
    assert window.trusted_until_s == 104.0


def test_a_late_renewal_revives_nothing(clock: HandClock) -> None:
    window = TrustWindow(clock, 102.0)
    clock.now_s = 102.5
    with pytest.raises(TrustLost):
        window.extend(105.0)
    assert window.remaining_s() == 0
    clock.now_s = 101.0  # not even a clock that went back
    with pytest.raises(TrustLost):
        window.require()


def test_ended_trust_keeps_its_first_reason(clock: HandClock) -> None:
    window = TrustWindow(clock, 102.0)
    window.end("resigned")
    window.end("the key was deleted")
    assert window.lost_because == "resigned"
    with pytest.raises(TrustLost, match="resigned"):
        window.extend(110.0)


def test_a_deadline_that_has_passed_is_the_reason_even_when_another_comes_first(clock: HandClock) -> None:
    window = TrustWindow(clock, 102.0)
    clock.now_s = 103.0
    window.end("resigned")
    assert "trust ran out 1.000 s ago" in (window.lost_because or "")
