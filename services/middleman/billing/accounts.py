"""Customers and plans: who pays, with what, and how much."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import assert_never

import structlog

from middleman.billing.once import Once, ProcessorKeys, Render
from middleman.domain.attempts import Declined, Unknown
from middleman.domain.idempotency import attach_key, customer_key
from middleman.domain.ids import CustomerId, PaymentMethodId, PlanId, ProcessorCustomerId
from middleman.domain.money import Money, require_price
from middleman.ports.accounts import AccountsTransaction, Customer, IntervalUnit, NewCustomer, NewPlan, Plan
from middleman.ports.once import Answer, Ticket, TicketReused
from middleman.ports.processor import (
    KEY_REUSED,
    REMEMBERED_FAILURE,
    AttachPaymentMethod,
    CreateCustomer,
    CustomerCreated,
    Holder,
    Missing,
    NotSent,
    OperatorFault,
    PaymentProcessor,
    Refused,
)
from middleman.ports.records import Records

log = structlog.get_logger(__name__)


class ProcessorUnavailable(Exception):
    """The processor gave no definite answer. Repeat the request under the same Idempotency-Key.

    `replayed`: the processor goes on giving the stored failure, and the request has used up its keys. Only a request
    under another Idempotency-Key is considered afresh.
    """

    def __init__(self, reason: str, retry_after_s: float | None = None, *, replayed: bool = False) -> None:
        super().__init__(f"the payment processor gave no definite answer: {reason}")
        self.retry_after_s = retry_after_s
        self.replayed = replayed


class ProcessorMisconfigured(Exception):
    """The processor refuses us, whoever the customer is. The operator has to act; the caller may repeat later.

    `replayed`: the processor remembers it under the names that derive from this request, so that only a request
    under another Idempotency-Key is considered afresh. No money is involved.
    """

    def __init__(self, fault: OperatorFault) -> None:
        super().__init__("the payment processor refuses requests of this system")
        self.code = fault.code
        self.replayed = fault.replayed


class ProcessorRefused(Exception):
    """The processor will not accept these values; `param` is the processor's name for the wrong one."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message)
        self.code = refused.code
        self.param = refused.param


@dataclass(frozen=True, slots=True)
class CustomerRequest:
    email: str
    name: str | None
    payment_method: PaymentMethodId
    metadata: Mapping[str, str]


CustomerResult = Customer | Declined
_Effect = Callable[[AccountsTransaction], Awaitable[CustomerResult]]


@dataclass(frozen=True, slots=True)
class Customers:
    """Customers live here and at the processor, under names that derive from our id alone."""

    once: Once
    records: Records
    processor: PaymentProcessor

    async def create(
        self, request: CustomerRequest, ticket: Ticket | None, render: Render[CustomerResult]
    ) -> Answer:
        """Create the customer at the processor, attach the payment method, then record both.

        A decline of the payment method is a result like another. Raises ProcessorUnavailable,
        ProcessorRefused, ProcessorMisconfigured, and what `Once.in_stages` raises.
        """

        async def outside(resource_id: str, keys: ProcessorKeys) -> _Effect:
            customer_id = CustomerId(resource_id)
            processor_customer_id = await self._create(customer_id, request, keys)
            attached = await self._attach(
                customer_id, processor_customer_id, request.payment_method, "first", keys
            )
            if isinstance(attached, Declined):
                return _answering(attached)
            customer = NewCustomer(
                customer_id, request.email, request.name, processor_customer_id, attached, request.metadata
            )
            return lambda transaction: transaction.add_customer(customer)

        async def require_unused(transaction: AccountsTransaction, resource_id: str) -> None:
            await transaction.require_no_customer(CustomerId(resource_id))

        return await self.once.in_stages(ticket, "cu_", outside, render, require_unused)

    async def replace_payment_method(
        self,
        customer_id: CustomerId,
        payment_method: PaymentMethodId,
        ticket: Ticket | None,
        render: Render[CustomerResult],
    ) -> Answer:
        """Attach another payment method; attempts that are opened from now on charge it, and what waits gets one now.

        Raises NoSuchRecord and what `create` raises.
        """
        customer = await self.records.customer(customer_id)

        async def outside(request_id: str, keys: ProcessorKeys) -> _Effect:
            attached = await self._attach(
                customer_id, customer.processor_customer_id, payment_method, request_id, keys
            )
            if isinstance(attached, Declined):
                return _answering(attached)
            return lambda transaction: transaction.set_payment_method(customer_id, attached)

        return await self.once.in_stages(ticket, "pmr_", outside, render)

    async def _create(
        self, customer_id: CustomerId, request: CustomerRequest, keys: ProcessorKeys
    ) -> ProcessorCustomerId:
        while True:
            key = customer_key(customer_id, keys.number("customer"))
            # repeat=True throughout: the same key may have been sent before a crash of this process.
            created = await self.processor.create_customer(
                CreateCustomer(key, request.email, request.name, {"customer_id": customer_id}), repeat=True
            )
            if not (_is_stored_failure(created) and await keys.renew("customer")):
                break
        match created:
            case CustomerCreated(processor_customer_id):
                return processor_customer_id
            case Refused():
                raise ProcessorRefused(created)
            case OperatorFault():
                raise _misconfigured("customer", created)
            case Unknown() | NotSent():
                raise _unanswered(created)
            case _:
                assert_never(created)

    async def _attach(
        self,
        customer_id: CustomerId,
        processor_customer_id: ProcessorCustomerId,
        payment_method: PaymentMethodId,
        request_id: str,
        keys: ProcessorKeys,
    ) -> PaymentMethodId | Declined:
        while True:
            key = attach_key(customer_id, request_id, keys.number("attach"))
            attached = await self.processor.attach_payment_method(
                AttachPaymentMethod(key, processor_customer_id, payment_method), repeat=True
            )
            if not (_is_stored_failure(attached) and await keys.renew("attach")):
                break
        match attached:
            case Declined():
                return attached
            case Refused():
                # A call that failed under an earlier key may have attached it: the processor attaches nothing twice.
                if keys.number("attach") > 1 and await self._is_attached(
                    processor_customer_id, payment_method
                ):
                    return payment_method
                raise ProcessorRefused(attached)
            case OperatorFault():
                raise _misconfigured("attach", attached)
            case Unknown() | NotSent():
                raise _unanswered(attached)
            case _:
                return attached.payment_method

    async def _is_attached(
        self, processor_customer_id: ProcessorCustomerId, payment_method: PaymentMethodId
    ) -> bool:
        found = await self.processor.holder_of(payment_method)
        match found:
            case Holder(customer_id):
                return customer_id == processor_customer_id
            case Missing():
                return False
            case OperatorFault():
                raise _misconfigured("attach", found)
            case Unknown() | NotSent():
                raise _unanswered(found)
            case _:
                assert_never(found)


@dataclass(frozen=True, slots=True)
class PlanRequest:
    name: str
    price: Money
    interval_unit: IntervalUnit
    interval_count: int
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plans:
    """Prices and their billing intervals. A plan never changes: a new price is a new plan."""

    once: Once

    async def create(self, request: PlanRequest, ticket: Ticket | None, render: Render[Plan]) -> Answer:
        """Raises MoneyError when the processor would refuse every charge of such a plan."""
        require_price(request.price)

        async def effect(transaction: AccountsTransaction, plan_id: str) -> Plan:
            return await transaction.add_plan(
                NewPlan(
                    PlanId(plan_id),
                    request.name,
                    request.price,
                    request.interval_unit,
                    request.interval_count,
                    request.metadata,
                )
            )

        return await self.once.atomically(ticket, "pl_", effect, render)

    async def archive(self, plan_id: PlanId, ticket: Ticket | None, render: Render[Plan]) -> Answer:
        """Take no new subscriptions; existing ones go on. Raises NoSuchRecord."""
        return await self.once.atomically(
            ticket, "plr_", lambda transaction, _: transaction.archive_plan(plan_id), render
        )


def _answering(declined: Declined) -> _Effect:
    async def effect(_: AccountsTransaction) -> CustomerResult:
        return declined

    return effect


def _misconfigured(step: str, fault: OperatorFault) -> ProcessorMisconfigured:
    log.error("processor.refuses_us", step=step, code=fault.code, message=fault.message)
    return ProcessorMisconfigured(fault)


def _unanswered(answer: Unknown | NotSent) -> ProcessorUnavailable | TicketReused:
    if isinstance(answer, Unknown) and answer.reason == KEY_REUSED:
        # Our keys derive from the caller's: the processor remembers a request of which the ticket is lost or forgotten.
        return TicketReused("the payment processor remembers another request under this Idempotency-Key")
    retry_after_s = answer.retry_after_s if isinstance(answer, NotSent) else None
    return ProcessorUnavailable(answer.reason, retry_after_s, replayed=_is_stored_failure(answer))


def _is_stored_failure(answer: object) -> bool:
    """Whether the key goes on giving this answer for a day, although another key may get a better one."""
    match answer:
        case OperatorFault(replayed=replayed):
            return replayed
        case Unknown(reason=reason):
            return reason == REMEMBERED_FAILURE
        case _:
            return False
