"""Stop asking while the processor refuses us, whoever pays (ADR 0021).

    closed ──── nearly all of the latest answers are refusals that concern us ────▶ open
      ▲                                                                               │ no new claims; of the
      │                                                                               │ calls, one probe now and then
      └──────────────── a probe is answered normally ─────────────────────────────────┘

Each step that sends something to the processor (create, confirm) has a circuit of its own: an account may be allowed
to create payment intents and not to confirm them. Reads are never stopped: what is open has to be found out.

Evidence is what is said about *different* customers and intents. One attempt that is refused again and again counts
once, so a single odd customer opens no circuit. An answer that the processor gives from its memory of a key says
nothing about now, and counts for nothing.

Refusals that concern the payer count as well, by a stricter rule: a key of another account makes each customer
missing, and no single answer looks like the operator's fault.
"""

import math
from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import Enum

import structlog

from middleman.billing.observer import BillingObserver
from middleman.domain.attempts import Declined, RequiresAction, Succeeded
from middleman.ports.clock import Clock
from middleman.ports.processor import Created, OperatorFault, Refused

log = structlog.get_logger(__name__)

STEPS = ("create", "confirm")

_MOST_SUBJECTS = 10_000
_LOG_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class BreakerTuning:
    """When a circuit opens, and how often it lets a probe through."""

    answers: int = 50  # the latest ones that are looked at
    window_s: float = 60.0  # and none that is older
    faults: int = 10  # operator's faults about different subjects, at least
    fault_share: float = 0.8  # of the answers looked at
    refusals: int = 20  # refusals of any kind about different subjects, at least
    refusal_share: float = 0.95
    once_per_s: float = 600.0  # a subject counts once within this time
    probe_first_s: float = 5.0
    probe_max_s: float = 60.0  # the pause between probes doubles up to this
    probe_again_s: float = 1.0  # after a refusal of the payer, which decides nothing
    claim_after_s: float = 2.0  # a probe that no open attempt has taken is claimed after this


@dataclass(frozen=True, slots=True)
class Go:
    """The call may be made. `probe`: its answer decides whether the circuit closes."""

    probe: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """The call must not be made now. `for_s` is how long it takes at least until the next probe."""

    for_s: float


class _Kind(Enum):
    NORMAL = "normal"
    FAULT = "fault"
    REFUSAL = "refusal"
    NO_EVIDENCE = "no_evidence"


class Breaker:
    """The circuits of one replica. A new term starts with closed ones. For one event loop."""

    def __init__(self, clock: Clock, observer: BillingObserver, tuning: BreakerTuning | None = None) -> None:
        chosen = tuning or BreakerTuning()
        self._clock = clock
        self._observer = observer
        self._circuits = {step: _Circuit(step, clock, observer, chosen) for step in STEPS}
        self._logged: dict[tuple[str, str], float] = {}
        self._suppressed: dict[tuple[str, str], int] = {}

    def reset(self) -> None:
        """A term begins or ends: forget what was seen. A successor learns by its own first calls."""
        for circuit in self._circuits.values():
            circuit.reset()

    def admit(self, step: str) -> Go | Wait:
        """Whether a call may be made now; a probe that is let through must be followed by `answered`."""
        circuit = self._circuits.get(step)
        return Go() if circuit is None else circuit.admit()

    def answered(self, step: str, subject: str, answer: object, go: Go) -> None:
        """A call that was let through got this answer. `subject` is the customer or the intent that it was about."""
        if isinstance(answer, OperatorFault):
            self._refused_us(step, answer)
        circuit = self._circuits.get(step)
        if circuit is not None:
            circuit.answered(subject, _kind(answer), go)

    def admit_claims(self, wanted: int) -> int:
        """How many attempts may be claimed now: `wanted`, none, or one that is needed as a probe."""
        return min(circuit.admit_claims(wanted) for circuit in self._circuits.values())

    @property
    def is_open(self) -> bool:
        """Whether any circuit is open."""
        return any(circuit.is_open for circuit in self._circuits.values())

    def _refused_us(self, step: str, fault: OperatorFault) -> None:
        """Count each, and log the first of a kind within a minute: thousands may say the same."""
        self._observer.refused_us(step, fault.code)
        kind, now_s = (step, fault.code), self._clock.boottime_s()
        if now_s - self._logged.get(kind, -math.inf) < _LOG_EVERY_S:
            self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
            return
        if len(self._logged) >= _MOST_SUBJECTS:
            self._logged.clear()
        self._logged[kind] = now_s
        log.error(
            "processor.refuses_us",
            step=step,
            code=fault.code,
            message=fault.message,
            replayed=fault.replayed,
            not_logged=self._suppressed.pop(kind, 0),
        )


class _Circuit:
    def __init__(self, step: str, clock: Clock, observer: BillingObserver, tuning: BreakerTuning) -> None:
        self._step = step
        self._clock = clock
        self._observer = observer
        self._tuning = tuning
        self._latest: deque[tuple[float, _Kind]] = deque(maxlen=tuning.answers)
        self._refused: OrderedDict[str, float] = OrderedDict()
        self._opened_at_s: float | None = None
        self._probe_at_s = 0.0
        self._claimed_at_s = -math.inf
        self._by_refusals = False
        self._pause_s = tuning.probe_first_s
        observer.breaker(step, False)

    @property
    def is_open(self) -> bool:
        return self._opened_at_s is not None

    def reset(self) -> None:
        self._latest.clear()
        self._refused.clear()
        self._opened_at_s = None
        self._observer.breaker(self._step, False)

    def admit(self) -> Go | Wait:
        if self._opened_at_s is None:
            return Go()
        now_s = self._clock.boottime_s()
        if now_s < self._probe_at_s:
            return Wait(self._probe_at_s - now_s)
        # Where this probe is never answered, the next one goes all the same.
        self._probe_at_s = now_s + self._pause_s
        return Go(probe=True)

    def admit_claims(self, wanted: int) -> int:
        if self._opened_at_s is None:
            return wanted
        now_s = self._clock.boottime_s()
        if now_s < max(self._probe_at_s, self._claimed_at_s) + self._tuning.claim_after_s:
            return 0
        self._claimed_at_s = now_s
        return min(wanted, 1)

    def answered(self, subject: str, kind: _Kind, go: Go) -> None:
        now_s = self._clock.boottime_s()
        if self._opened_at_s is not None:
            if go.probe:
                self._probed(kind, now_s)
            return
        if kind is _Kind.NO_EVIDENCE or (kind is not _Kind.NORMAL and not self._is_new(subject, now_s)):
            return
        self._latest.append((now_s, kind))
        if kind is not _Kind.NORMAL:
            self._open_if_due(now_s)

    def _probed(self, kind: _Kind, now_s: float) -> None:
        match kind:
            case _Kind.NORMAL:
                assert self._opened_at_s is not None
                log.warning("breaker.closed", step=self._step, open_for_s=round(now_s - self._opened_at_s, 1))
                self.reset()
            case _Kind.REFUSAL if not self._by_refusals:
                self._probe_at_s = now_s + self._tuning.probe_again_s
            case _Kind.FAULT | _Kind.REFUSAL:
                self._pause_s = min(self._pause_s * 2, self._tuning.probe_max_s)
                self._probe_at_s = now_s + self._pause_s
            case _Kind.NO_EVIDENCE:
                # Many attempts may have trouble of their own, or a remembered answer waiting. They are tried one after
                # another, since none of them may stand in the way of a probe that decides.
                self._probe_at_s = now_s

    def _is_new(self, subject: str, now_s: float) -> bool:
        """Whether a refusal about this subject is evidence; remembers it."""
        known_at_s = self._refused.get(subject)
        if known_at_s is not None and now_s - known_at_s < self._tuning.once_per_s:
            return False
        self._refused.pop(subject, None)
        self._refused[subject] = now_s
        if len(self._refused) > _MOST_SUBJECTS:
            self._refused.popitem(last=False)
        return True

    def _open_if_due(self, now_s: float) -> None:
        tuning = self._tuning
        kinds = [kind for at_s, kind in self._latest if now_s - at_s <= tuning.window_s]
        faults, refusals = kinds.count(_Kind.FAULT), kinds.count(_Kind.REFUSAL)
        refused = faults + refusals
        jumped = faults >= tuning.faults and faults >= tuning.fault_share * len(kinds)
        nobody = refused >= tuning.refusals and refused >= tuning.refusal_share * len(kinds)
        if not jumped and not nobody:
            return
        self._opened_at_s = now_s
        self._by_refusals = not jumped
        self._pause_s = tuning.probe_first_s
        self._probe_at_s = now_s + self._pause_s
        self._observer.breaker(self._step, True)
        log.error(
            "breaker.opened", step=self._step, faults=faults, payer_refusals=refusals, of_answers=len(kinds)
        )


def _kind(answer: object) -> _Kind:
    match answer:
        case Created() | Succeeded() | Declined() | RequiresAction():
            return _Kind.NORMAL
        case OperatorFault(replayed=False):
            return _Kind.FAULT
        case Refused(replayed=False):
            return _Kind.REFUSAL
        case _:
            return _Kind.NO_EVIDENCE
