"""The modes of a link: what becomes of connections, and of the bytes in each direction."""

from dataclasses import dataclass
from enum import Enum, auto

from cluster.link_flow import HELD, PASSING, Flow


class Arrivals(Enum):
    """What becomes of connections as such."""

    ACCEPTED = auto()
    REFUSED = auto()
    """Nobody seems to listen: what stands is reset, what comes is refused."""
    RESET = auto()
    """What stands is reset, what comes is accepted and reset."""


@dataclass(frozen=True, slots=True)
class LinkMode:
    """What passes: requests go from who connected to who listens, answers come back."""

    requests: Flow = PASSING
    answers: Flow = PASSING
    arrivals: Arrivals = Arrivals.ACCEPTED


PASS = LinkMode()
BLACK_HOLE = LinkMode(requests=HELD, answers=HELD)
MUTE = LinkMode(requests=HELD)
DEAF = LinkMode(answers=HELD)
REFUSE = LinkMode(arrivals=Arrivals.REFUSED)
RESET = LinkMode(arrivals=Arrivals.RESET)


def delayed(requests_s: float = 0.0, answers_s: float = 0.0) -> LinkMode:
    """Everything passes, so much later; at most a megabyte is on the way in each direction."""
    return LinkMode(Flow(delay_s=requests_s), Flow(delay_s=answers_s))


def throttled(
    requests_bytes_per_s: float | None = None, answers_bytes_per_s: float | None = None
) -> LinkMode:
    """Everything passes, no faster than that; None is as fast as it goes.

    All connections through the link share the rate of each direction, and take turns.
    """
    return LinkMode(Flow(bytes_per_s=requests_bytes_per_s), Flow(bytes_per_s=answers_bytes_per_s))
