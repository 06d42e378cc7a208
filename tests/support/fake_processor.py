"""A payment processor in memory: deterministic, with faults on demand. It passes the processor's contract suite.

For tests of the pipeline::

    fake = FakeProcessor()
    fake.fail(Operation.CONFIRM, Fault.UNKNOWN_AFTER, times=1)   # executed, but the answer is lost
    fake.decline_next(Declined("card_declined", "insufficient_funds"))
    …
    assert fake.paid_intents() == {…}

`before_call` is awaited at the start of each call with the operation and its request: a test that wants a
call to be in flight while something else happens waits there.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar, cast

from middleman.domain.attempts import Declined, RequiresAction, Succeeded, Unknown
from middleman.domain.idempotency import IdempotencyKey, checked_key
from middleman.domain.ids import ChargeId, PaymentIntentId, PaymentMethodId, ProcessorCustomerId
from middleman.domain.intents import IntentSnapshot, IntentStatus
from middleman.domain.money import MoneyError, to_processor_amount
from middleman.ports.processor import (
    AMOUNT_DIFFERS,
    NOT_SENDABLE,
    Attached,
    AttachPaymentMethod,
    ConfirmIntent,
    CreateCustomer,
    Created,
    CreateIntent,
    CustomerCreated,
    Guard,
    Holder,
    IntentPage,
    ListIntents,
    Missing,
    NotSent,
    OperatorFault,
    Refused,
)


class Operation(StrEnum):
    CREATE = "create"
    CONFIRM = "confirm"
    READ = "read"
    CANCEL = "cancel"
    LIST = "list"
    CUSTOMER = "customer"
    ATTACH = "attach"


class Fault(StrEnum):
    """A fault that has passed when the call is repeated."""

    NOT_SENT = "not_sent"
    RATE_LIMITED = "rate_limited"
    ACCOUNT_RATE_LIMITED = "account_rate_limited"
    OBJECT_BUSY = "object_busy"
    UNKNOWN_BEFORE = "unknown_before"  # not executed, and nobody can tell
    UNKNOWN_AFTER = "unknown_after"  # executed, and the answer is lost


@dataclass(frozen=True, slots=True)
class Call:
    """One call that reached the fake. `key` is None for reads."""

    operation: Operation
    key: IdempotencyKey | None
    repeat: bool
    subject: str  # the intent, or the customer


AnswerT = TypeVar("AnswerT")
Verdict = Declined | RequiresAction
BEHAVIOUR: Mapping[str, Verdict] = {
    "pm_card_chargeCustomerFail": Declined("card_declined", "generic_decline"),
    "pm_card_authenticationRequired": RequiresAction(),
}
"""What the test tokens do when charged; all others succeed."""

Confirmed = Succeeded | Declined | RequiresAction | Refused | OperatorFault | Unknown


@dataclass(slots=True)
class _Rule:
    fault: Fault | OperatorFault | None  # None: executed, and a 500 is answered now and on every repeat
    times: int
    retry_after_s: float | None
    remembered: bool = False  # an `OperatorFault` only
    executed: bool = True  # with no fault: whether the request was executed before it was answered with 500


@dataclass(slots=True)
class _Memory:
    """What was asked under a key, and what was answered."""

    request: object
    answer: object


@dataclass(slots=True)
class FakeProcessor:
    """Implements `middleman.ports.processor.PaymentProcessor`."""

    now_s: Callable[[], int] = lambda: 1_800_000_000
    before_call: Callable[[Operation, object], Awaitable[None]] | None = None
    calls: list[Call] = field(default_factory=list)
    intents: dict[PaymentIntentId, IntentSnapshot] = field(default_factory=dict)
    warmed: int = 0
    closed: bool = False
    _customers: set[ProcessorCustomerId] = field(default_factory=set)
    _methods: dict[str, str] = field(default_factory=dict)  # a concrete payment method → its test token
    _holders: dict[str, ProcessorCustomerId] = field(default_factory=dict)
    _memory: dict[IdempotencyKey, _Memory] = field(default_factory=dict)
    _rules: dict[Operation, deque[_Rule]] = field(default_factory=dict)
    _verdicts: deque[Verdict] = field(default_factory=deque)
    _always_500: dict[Operation, str] = field(default_factory=dict)
    _stay_in_processing: int = 0
    _another_amount: int = 0
    _counter: int = 0

    # What a test arranges and looks at.

    def fail(
        self, operation: Operation, fault: Fault, *, times: int = 1, retry_after_s: float | None = None
    ) -> None:
        """The next `times` calls of this operation meet the fault; rules are used up in order."""
        self._rules.setdefault(operation, deque()).append(_Rule(fault, times, retry_after_s))

    def store_500(self, operation: Operation, *, executed: bool = True) -> None:
        """The next call of this operation gets a 500, which is remembered as the answer to its key."""
        self._rules.setdefault(operation, deque()).append(_Rule(None, 1, None, executed=executed))

    def always_500(self, operation: Operation, customers: str) -> None:
        """Calls for customers whose id begins so get a fresh 500 each time, and nothing is executed."""
        self._always_500[operation] = customers

    def stay_in_processing(self, times: int) -> None:
        """The next `times` confirms that are executed leave their intent in `processing`."""
        self._stay_in_processing += times

    def finish_processing(self, status: IntentStatus) -> None:
        """Every intent in `processing` is decided so."""
        for intent_id, intent in self.intents.items():
            if intent.status is IntentStatus.PROCESSING:
                charge_id = ChargeId(self._new_id("ch"))
                self.intents[intent_id] = replace(intent, status=status, latest_charge_id=charge_id)

    def charge_another_amount(self, times: int) -> None:
        """The next `times` intents ask for one minor unit more than they were created for."""
        self._another_amount += times

    def refuse_us(
        self, operation: Operation, fault: OperatorFault, *, times: int = 1, remembered: bool = False
    ) -> None:
        """The next `times` calls of this operation are refused whoever pays; `remembered`: under their keys, too."""
        self._rules.setdefault(operation, deque()).append(_Rule(fault, times, None, remembered))

    def decline_next(self, verdict: Verdict) -> None:
        """The next confirm that is executed ends so, whatever the payment method."""
        self._verdicts.append(verdict)

    def forget_keys(self) -> None:
        """A day passes: the processor remembers no idempotency key any more."""
        self._memory.clear()

    def paid_intents(self) -> dict[PaymentIntentId, IntentSnapshot]:
        return {k: v for k, v in self.intents.items() if v.status is IntentStatus.SUCCEEDED}

    def know_customer(self, customer_id: ProcessorCustomerId) -> None:
        """A customer that exists already."""
        self._customers.add(customer_id)

    def forget_customer(self, customer_id: str) -> None:
        """A customer that is not there, until the processor knows it again."""
        self._customers.discard(ProcessorCustomerId(customer_id))

    # The port.

    async def create_intent(
        self, request: CreateIntent, *, repeat: bool = False, guard: Guard | None = None
    ) -> Created | Refused | OperatorFault | Unknown | NotSent:
        def execute() -> Created | Refused | NotSent:
            try:
                to_processor_amount(request.amount)
            except MoneyError as reason:
                return NotSent(NOT_SENDABLE, detail=str(reason))
            if request.customer_id not in self._customers:
                return Refused("resource_missing", f"No such customer: {request.customer_id}", "customer")
            intent_id = PaymentIntentId(self._new_id("pi"))
            amount = request.amount
            if self._another_amount > 0:
                self._another_amount -= 1
                amount = replace(amount, amount_minor=amount.amount_minor + 1)
            self.intents[intent_id] = IntentSnapshot(
                intent_id,
                IntentStatus.REQUIRES_PAYMENT_METHOD,
                amount,
                request.customer_id,
                dict(request.metadata),
                created_s=self.now_s(),
            )
            return Created(intent_id)

        fault = await self._arrive(
            Operation.CREATE, request, request.idempotency_key, request.customer_id, repeat, guard
        )
        return self._answer(fault, request.idempotency_key, request, execute, repeat)

    async def confirm_intent(
        self, request: ConfirmIntent, *, repeat: bool = False, guard: Guard | None = None
    ) -> Succeeded | Declined | RequiresAction | Refused | OperatorFault | Unknown | NotSent:
        fault = await self._arrive(
            Operation.CONFIRM, request, request.idempotency_key, request.intent_id, repeat, guard
        )
        return self._answer(fault, request.idempotency_key, request, lambda: self._confirm(request), repeat)

    async def read_intent(
        self, intent_id: PaymentIntentId, *, guard: Guard | None = None
    ) -> IntentSnapshot | Missing | OperatorFault | Unknown | NotSent:
        fault = await self._arrive(Operation.READ, intent_id, None, intent_id, False, guard)
        return self._unanswered(fault, repeat=False) or self.intents.get(intent_id) or Missing()

    async def cancel_intent(
        self, intent_id: PaymentIntentId, *, guard: Guard | None = None
    ) -> IntentSnapshot | Missing | OperatorFault | Unknown | NotSent:
        fault = await self._arrive(Operation.CANCEL, intent_id, None, intent_id, False, guard)
        intent = self.intents.get(intent_id)
        executed = fault is None or fault.fault is None or fault.fault is Fault.UNKNOWN_AFTER
        if executed and intent is not None and intent.status is not IntentStatus.SUCCEEDED:
            self.intents[intent_id] = replace(intent, status=IntentStatus.CANCELED)
        return self._unanswered(fault, repeat=False) or self.intents.get(intent_id) or Missing()

    async def list_intents(self, request: ListIntents) -> IntentPage | OperatorFault | Unknown | NotSent:
        fault = await self._arrive(Operation.LIST, request, None, request.customer_id or "", False, None)
        if unanswered := self._unanswered(fault, repeat=False):
            return unanswered
        newest_first = list(reversed(self.intents.values()))
        if request.after is not None:
            ids = [intent.intent_id for intent in newest_first]
            newest_first = newest_first[ids.index(request.after) + 1 :]
        wanted = [
            intent
            for intent in newest_first
            if request.customer_id in (None, intent.customer_id)
            and (request.created_from_s is None or intent.created_s >= request.created_from_s)
            and (request.created_to_s is None or intent.created_s <= request.created_to_s)
        ]
        return IntentPage(wanted[: request.limit], len(wanted) > request.limit)

    async def create_customer(
        self, request: CreateCustomer, *, repeat: bool = False
    ) -> CustomerCreated | Refused | OperatorFault | Unknown | NotSent:
        def execute() -> CustomerCreated:
            customer_id = ProcessorCustomerId(self._new_id("cus"))
            self._customers.add(customer_id)
            return CustomerCreated(customer_id)

        key = request.idempotency_key
        fault = await self._arrive(Operation.CUSTOMER, request, key, request.email or "", repeat, None)
        return self._answer(fault, key, request, execute, repeat)

    async def attach_payment_method(
        self, request: AttachPaymentMethod, *, repeat: bool = False
    ) -> Attached | Declined | Refused | OperatorFault | Unknown | NotSent:
        def execute() -> Attached | Declined | Refused:
            if request.customer_id not in self._customers:
                return Refused("resource_missing", f"No such customer: {request.customer_id}", "customer")
            token = request.payment_method
            if not token.startswith("pm_card_"):
                return Refused("resource_missing", f"No such payment method: {token}", "payment_method")
            if "chargeDeclined" in token:
                return Declined("card_declined", "generic_decline", message="declined when it was attached")
            method = PaymentMethodId(self._new_id("pm"))
            self._methods[method] = token
            self._holders[method] = request.customer_id
            return Attached(method, "visa", "4242")

        key = request.idempotency_key
        fault = await self._arrive(Operation.ATTACH, request, key, request.customer_id, repeat, None)
        return self._answer(fault, key, request, execute, repeat)

    async def holder_of(
        self, payment_method: PaymentMethodId
    ) -> Holder | Missing | OperatorFault | Unknown | NotSent:
        if payment_method in self._holders:
            return Holder(self._holders[payment_method])
        return Holder(None) if payment_method.startswith("pm_card_") else Missing()

    async def warm(self, connections: int) -> None:
        self.warmed = max(self.warmed, connections)

    async def close(self) -> None:
        self.closed = True

    # How it works.

    async def _arrive(
        self,
        operation: Operation,
        request: object,
        key: IdempotencyKey | None,
        subject: str,
        repeat: bool,
        guard: Guard | None,
    ) -> _Rule | None:
        if key is not None:
            checked_key(key)
        if self.before_call is not None:
            await self.before_call(operation, request)
        if guard is not None:
            guard()
        self.calls.append(Call(operation, key, repeat, subject))
        if operation in self._always_500 and self._customer_of(request).startswith(
            self._always_500[operation]
        ):
            return _Rule(Fault.UNKNOWN_BEFORE, 1, None)
        rules = self._rules.get(operation)
        if not rules:
            return None
        rule = rules[0]
        rule.times -= 1
        if rule.times <= 0:
            rules.popleft()
        return rule

    def _answer(
        self,
        rule: _Rule | None,
        key: IdempotencyKey,
        request: object,
        execute: Callable[[], AnswerT],
        repeat: bool,
    ) -> AnswerT | OperatorFault | Unknown | NotSent:
        known = self._memory.get(key)
        if rule is not None and isinstance(rule.fault, OperatorFault):
            if known is None and rule.remembered:
                self._memory[key] = _Memory(request, replace(rule.fault, replayed=True))
            if known is None:
                return rule.fault
            rule = None  # a key that has its answer is not considered again
        if rule is not None and rule.fault not in (Fault.UNKNOWN_AFTER, None):
            unanswered = self._unanswered(rule, repeat=repeat)
            assert unanswered is not None
            return unanswered
        if rule is not None and rule.fault is None and not rule.executed:
            self._memory[key] = _Memory(request, Unknown("server_error_replayed", "http 500"))
            return Unknown("server_error", "http 500")
        if known is not None and known.request != request:
            return Unknown("idempotency_error", "the key was used for another request")
        if known is None:
            answer = execute()
            if isinstance(answer, Refused):
                self._memory[key] = _Memory(request, replace(answer, replayed=True))
            elif not isinstance(answer, Unknown):  # the processor remembers what it executed
                self._memory[key] = _Memory(request, answer)
        else:
            answer = cast(AnswerT, known.answer)
        if rule is None:
            return answer
        if rule.fault is None:
            self._memory[key] = _Memory(request, Unknown("server_error_replayed", "http 500"))
        return self._unanswered(rule, repeat=repeat) or answer

    @staticmethod
    def _unanswered(rule: _Rule | None, *, repeat: bool) -> OperatorFault | Unknown | NotSent | None:
        if rule is None:
            return None
        match rule.fault:
            case OperatorFault() as fault:
                return fault
            case Fault.NOT_SENT:
                return NotSent("no_connection", rule.retry_after_s)
            case Fault.RATE_LIMITED | Fault.ACCOUNT_RATE_LIMITED | Fault.OBJECT_BUSY as limited:
                return Unknown(limited.value) if repeat else NotSent(limited.value, rule.retry_after_s)
            case Fault.UNKNOWN_BEFORE:
                return Unknown("timeout")
            case Fault.UNKNOWN_AFTER:
                return Unknown("connection_lost", "the answer was lost")
            case None:
                return Unknown("server_error", "http 500")

    def _confirm(self, request: ConfirmIntent) -> Confirmed:
        intent = self.intents.get(request.intent_id)
        if intent is None:
            return OperatorFault("resource_missing", f"No such payment_intent: {request.intent_id}")
        if intent.status in (IntentStatus.SUCCEEDED, IntentStatus.CANCELED):
            return Unknown("unexpected_state", f"the intent is {intent.status}")
        token = self._methods.get(request.payment_method, request.payment_method)
        if not token.startswith("pm_card_"):
            return Refused("resource_missing", f"No such payment method: {token}", "payment_method")
        verdict = self._verdicts.popleft() if self._verdicts else BEHAVIOUR.get(token)
        if intent.status is IntentStatus.PROCESSING:
            return Unknown("unexpected_state", f"the intent is {intent.status}")
        if self._stay_in_processing > 0:
            self._stay_in_processing -= 1
            self.intents[intent.intent_id] = replace(intent, status=IntentStatus.PROCESSING)
            return Unknown("processing")
        charge_id = ChargeId(self._new_id("ch"))
        intent = replace(intent, latest_charge_id=charge_id)
        if verdict is None:
            self.intents[intent.intent_id] = replace(
                intent,
                status=IntentStatus.SUCCEEDED,
                payment_method=request.payment_method,
                last_decline=None,
            )
            if request.amount not in (None, intent.amount):
                return Unknown(AMOUNT_DIFFERS)
            return Succeeded(charge_id)
        verdict = replace(verdict, charge_id=charge_id)
        trace = verdict if isinstance(verdict, Declined) else Declined(verdict.code, charge_id=charge_id)
        self.intents[intent.intent_id] = replace(
            intent, status=IntentStatus.REQUIRES_PAYMENT_METHOD, last_decline=trace
        )
        return verdict

    def _customer_of(self, request: object) -> str:
        if isinstance(request, ConfirmIntent):
            return str(self.intents[request.intent_id].customer_id)
        return str(getattr(request, "customer_id", ""))

    def _new_id(self, prefix: str) -> str:
        self._counter += 1
        return f"{prefix}_fake_{self._counter}"
