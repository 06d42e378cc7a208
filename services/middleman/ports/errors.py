"""Errors that cross the ports, so that the core matches on them without knowing any adapter."""

from __future__ import annotations


class StaleTerm(Exception):
    """The fence has moved past the term that tried to write: its replica must stand down."""


class TrustLost(Exception):
    """The leader may no longer believe that it leads: start no call to the processor."""


class CandidacyLost(Exception):
    """The lease or the election key is gone for good; the message carries the reason."""


class CoordinatorUnavailable(Exception):
    """The coordinator gave no usable answer in time: back off, then try again."""


class CoordinatorMisconfigured(Exception):
    """The coordinator refuses us for a reason that waiting does not cure, such as a wrong password."""


class ProcessorUnreachable(Exception):
    """Nothing has come back from the processor for too long: resign, so that another replica may try."""


class OfficeUnavailable(Exception):
    """The database could not raise the fence in time: resign, so that another replica may try."""
