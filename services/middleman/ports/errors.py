"""Errors that cross the ports, so that the core matches on them without knowing any adapter."""

from __future__ import annotations


class StaleTerm(Exception):  # noqa: N818 -- named for what happened, in the words of the design
    """The fence has moved past the term that tried to write: its replica must stand down."""


class TrustLost(Exception):  # noqa: N818 -- named for what happened, in the words of the design
    """The leader may no longer believe that it leads: start no call to the processor."""


class CandidacyLost(Exception):  # noqa: N818 -- named for what happened, in the words of the design
    """The lease or the election key is gone for good; the message carries the reason."""


class CoordinatorUnavailable(Exception):  # noqa: N818 -- named for what happened, in the words of the design
    """The coordinator gave no usable answer in time: back off, then try again."""


class CoordinatorMisconfigured(Exception):  # noqa: N818 -- named for what happened, in the words of the design
    """The coordinator refuses us for a reason that waiting does not cure, such as a wrong password."""


class OfficeUnavailable(Exception):  # noqa: N818 -- named for what happened, in the words of the design
    """The database could not raise the fence in time: resign, so that another replica may try."""
