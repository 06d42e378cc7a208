"""One effect and one answer per ticket, however often a request is repeated and wherever it lands.

Two shapes, by whether the effect is in the database alone:

* `atomically`: reservation, effect and answer commit together, or not at all.
* `in_stages`: the request talks to the processor, and no network call happens inside a transaction. The
  reservation commits first; the processor is then called under keys that derive from the id of what is made;
  effect and answer commit together at the end. A request that resumes after a crash sends the same calls under
  the same names, so nothing is doubled.

The id of what is made derives from the ticket (`domain.ids.id_of_request`). A database that lost the reservation,
the effect and the answer therefore gets the same thing back from a repeat. Without a ticket the id is random.

A request that is refused has no effect and is not remembered, except where `in_stages` renders a refusal of
the processor's as an answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from middleman.domain.ids import id_of_request
from middleman.ports.accounts import Accounts, AccountsTransaction
from middleman.ports.new_id import NewId
from middleman.ports.once import Answer, ProcessorStep, Reservation, Ticket, TicketReused
from middleman.ports.store import StoreUnavailable

T = TypeVar("T")
Render = Callable[[T], Answer]

HOLD_S = 30.0
"""How long a request has its ticket to itself. Whoever repeats one that died in the middle waits as long."""

# A request asks the processor no longer than this after it has begun, whatever its calls may take one by one, so
# that its closing transaction, which gets ten seconds, ends within the hold: repeats do not overlap. Where one does all
# the same (a process that was frozen), both work under the same names, and the first to close tells the answer.
OUTSIDE_S = 20.0

log = structlog.get_logger()


class OutsideTooSlow(Exception):
    """The processor did not answer in the time that one request has. Repeat it under the same Idempotency-Key."""


MOST_KEYS = 20
"""How many keys a request may use up for one step. Each may leave an object at the processor that is not used."""


@dataclass(slots=True)
class ProcessorKeys:
    """Which of its keys at the processor one request uses, by step. They are numbered from 1."""

    accounts: Accounts
    ticket: Ticket | None
    _numbers: dict[ProcessorStep, int] = field(default_factory=dict)
    _renewed: set[ProcessorStep] = field(default_factory=set)

    def number(self, step: ProcessorStep) -> int:
        return self._numbers.get(step, 1)

    async def renew(self, step: ProcessorStep) -> bool:
        """Use the step's next key: the one in use has a stored failure. Once per request, and up to `MOST_KEYS`.

        The number is on disk before the key is used, so that a repeat goes on from there. Raises StoreUnavailable.
        """
        wanted = self.number(step) + 1
        if self.ticket is None or step in self._renewed or wanted > MOST_KEYS:
            return False
        ticket = self.ticket
        self._renewed.add(step)
        self._numbers[step] = await self.accounts.transact(lambda each: each.use_key_no(ticket, step, wanted))
        log.warning("processor.key_renewed", step=step, key_no=self._numbers[step], key=ticket.key)
        return True


@dataclass(frozen=True, slots=True)
class Once:
    """Runs requests at most once each. `new_id` names what a request without a ticket makes."""

    accounts: Accounts
    new_id: NewId

    async def atomically(
        self,
        ticket: Ticket | None,
        prefix: str,
        effect: Callable[[AccountsTransaction, str], Awaitable[T]],
        render: Render[T],
    ) -> Answer:
        """Run `effect(transaction, resource id)` and remember what `render` makes of its result.

        Raises TicketReused, TicketInUse, StoreUnavailable, and whatever `effect` raises.
        """
        fresh_id = self._name(ticket, prefix)

        async def work(transaction: AccountsTransaction) -> Answer:
            resource_id = fresh_id
            if ticket is not None:
                reserved = await transaction.reserve(ticket, fresh_id, HOLD_S)
                if isinstance(reserved, Answer):
                    return reserved
                resource_id = reserved.resource_id
            answer = render(await effect(transaction, resource_id))
            if ticket is not None:
                await transaction.remember(ticket, answer)
            return answer

        return await self.accounts.transact(work)

    async def in_stages(
        self,
        ticket: Ticket | None,
        prefix: str,
        outside: Callable[[str, "ProcessorKeys"], Awaitable[Callable[[AccountsTransaction], Awaitable[T]]]],
        render: Render[T],
        require_unused: Callable[[AccountsTransaction, str], Awaitable[None]] | None = None,
    ) -> Answer:
        """Run `outside(resource id, keys)`, which returns the effect to run in the closing transaction.

        `require_unused(transaction, resource id)` runs with the reservation, before anything leaves the process: it
        raises where the id exists already.

        Raises as `atomically` does, whatever `outside` raises, and OutsideTooSlow. Whatever is raised after the
        reservation, a repeat may resume at once.
        """
        give_up_at_s = asyncio.get_running_loop().time() + OUTSIDE_S  # the hold begins no earlier
        resource_id = self._name(ticket, prefix)
        if ticket is None:
            effect = await _until(give_up_at_s, outside(resource_id, ProcessorKeys(self.accounts, None)))
            return render(await self.accounts.transact(effect))
        mine = ticket

        async def reserve(transaction: AccountsTransaction) -> Reservation | Answer:
            reserved = await transaction.reserve(mine, resource_id, HOLD_S)
            if isinstance(reserved, Reservation) and require_unused is not None:
                await require_unused(transaction, reserved.resource_id)
            return reserved

        reserved = await self.accounts.transact(reserve)
        if isinstance(reserved, Answer):
            return reserved
        try:
            numbers: dict[ProcessorStep, int] = {
                "customer": reserved.customer_key_no,
                "attach": reserved.attach_key_no,
            }
            keys = ProcessorKeys(self.accounts, mine, numbers)
            effect = await _until(give_up_at_s, outside(reserved.resource_id, keys))
            return await self._finish(mine, effect, render)
        except TicketReused:
            # The processor remembers a first request that the database lost: its repeat must find the key free.
            await self._give_up(mine, lambda transaction: transaction.withdraw(mine, reserved))
            raise
        except Exception:
            await self._give_up(mine, lambda transaction: transaction.release(mine, reserved))
            raise

    def _name(self, ticket: Ticket | None, prefix: str) -> str:
        if ticket is None:
            return self.new_id(prefix)
        return id_of_request(prefix, ticket.api_key_id, ticket.key)

    async def _finish(
        self, ticket: Ticket, effect: Callable[[AccountsTransaction], Awaitable[T]], render: Render[T]
    ) -> Answer:
        async def work(transaction: AccountsTransaction) -> Answer:
            # Whoever resumed meanwhile may have been faster; the answer is theirs then.
            if (told := await transaction.recall(ticket)) is not None:
                return told
            answer = render(await effect(transaction))
            await transaction.remember(ticket, answer)
            return answer

        return await self.accounts.transact(work)

    async def _give_up(self, ticket: Ticket, work: Callable[[AccountsTransaction], Awaitable[None]]) -> None:
        try:
            await self.accounts.transact(work)
        except StoreUnavailable as error:
            log.warning("ticket.not_released", key=ticket.key, held_for_s=HOLD_S, reason=str(error))


async def _until(give_up_at_s: float, outside: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout_at(give_up_at_s):
            return await outside
    except TimeoutError:
        raise OutsideTooSlow(f"the payment processor gave no answer within {OUTSIDE_S:g} s") from None
