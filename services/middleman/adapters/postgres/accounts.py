"""`Accounts` on PostgreSQL: who is billed, written by the REST API's role."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NoReturn, TypeVar

import orjson
from sqlalchemy import Table, exists, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from middleman.adapters.postgres import accounts_sql as sql
from middleman.adapters.postgres.accounts_rows import CUSTOMER, PLAN, SUBSCRIPTION, as_value
from middleman.adapters.postgres.commits import transact, wait_for_what_was_read
from middleman.adapters.postgres.errors import sqlstate
from middleman.adapters.postgres.notices import FORGET_NOTICES
from middleman.adapters.postgres.replacements import FILE_REPLACEMENT
from middleman.adapters.postgres.schema import customers, plans, subscriptions
from middleman.adapters.postgres.tickets import PostgresTickets
from middleman.domain.ids import CustomerId, PaymentMethodId, PlanId, SubscriptionId
from middleman.ports.accounts import (
    AccountsTransaction,
    AlreadyMade,
    AnchorRefused,
    ClockReading,
    Customer,
    NewCustomer,
    NewPlan,
    NewSubscription,
    NoSuchRecord,
    Plan,
    PlanArchived,
    Subscription,
    TestClockRefused,
    UnknownReference,
)

T = TypeVar("T")

_LAST_YEAR_OF_THE_TEST_CLOCK = 8000
_TEST_CLOCK_REFUSED = "MM003"
_INVALID_PARAMETER_VALUE = "22023"  # here: a time zone that the database does not know


@dataclass(frozen=True, slots=True)
class PostgresAccounts:
    """See `middleman.ports.accounts.Accounts`. A transaction has `timeout_s`, the wait for a session included."""

    engine: AsyncEngine
    timeout_s: float = 10.0

    async def transact(self, work: Callable[[AccountsTransaction], Awaitable[T]]) -> T:
        """See the port. The role's sessions have synchronous_commit on: a returned commit is on disk, and on the
        standbys that the server waits for; so is what `work` has only read.
        """

        async def work_to_acknowledge(connection: AsyncConnection) -> T:
            result = await work(PostgresAccountsTransaction(connection))
            # An answer given again, or a state that was there already, was only read.
            await wait_for_what_was_read(connection)
            return result

        return await transact(self.engine, self.timeout_s, work_to_acknowledge)


@dataclass(frozen=True, slots=True)
class PostgresAccountsTransaction(PostgresTickets):
    """See `middleman.ports.accounts.AccountsTransaction`."""

    connection: AsyncConnection

    async def require_no_customer(self, customer_id: CustomerId) -> None:
        if await self._exists(customers, customer_id):
            raise AlreadyMade("customer", customer_id)

    async def add_customer(self, customer: NewCustomer) -> Customer:
        statement = (
            insert(customers)
            .values(
                id=customer.id,
                email=customer.email,
                name=customer.name,
                processor_customer_id=customer.processor_customer_id,
                payment_method_id=customer.payment_method_id,
                metadata=dict(customer.metadata),
            )
            .on_conflict_do_nothing(index_elements=[customers.c.id])
            .returning(*CUSTOMER)
        )
        row = (await self.connection.execute(statement)).one_or_none()
        if row is None:
            raise AlreadyMade("customer", customer.id)
        await self._tell("customer.created", customer.id)
        return as_value(Customer, row)

    async def set_payment_method(self, customer_id: CustomerId, method: PaymentMethodId) -> Customer:
        statement = (
            update(customers)
            .where(customers.c.id == customer_id)
            .values(payment_method_id=method, updated_at=text("now()"))
            .returning(*CUSTOMER)
        )
        row = (await self.connection.execute(statement)).one_or_none()
        if row is None:
            raise NoSuchRecord("customer", customer_id)
        # In the same transaction, so that no replacement is stored without the leader learning of it.
        filed = {"customer_id": customer_id, "payment_method_id": method}
        await self.connection.execute(FILE_REPLACEMENT, filed)
        await self._tell("payment_method.replaced", customer_id, data={"payment_method_id": method})
        return as_value(Customer, row)

    async def add_plan(self, plan: NewPlan) -> Plan:
        statement = (
            insert(plans)
            .values(
                id=plan.id,
                name=plan.name,
                amount_minor=plan.price.amount_minor,
                currency=plan.price.currency,
                interval_unit=plan.interval_unit,
                interval_count=plan.interval_count,
                metadata=dict(plan.metadata),
            )
            .on_conflict_do_nothing(index_elements=[plans.c.id])
            .returning(*PLAN)
        )
        row = (await self.connection.execute(statement)).one_or_none()
        if row is None:
            raise AlreadyMade("plan", plan.id)
        await self._tell("plan.created", plan.id)
        return as_value(Plan, row)

    async def archive_plan(self, plan_id: PlanId) -> Plan:
        archived = await self.connection.execute(
            update(plans).where(plans.c.id == plan_id, plans.c.active).values(active=False)
        )
        if archived.rowcount:
            await self._tell("plan.archived", plan_id)
        row = (await self.connection.execute(select(*PLAN).where(plans.c.id == plan_id))).one_or_none()
        if row is None:
            raise NoSuchRecord("plan", plan_id)
        return as_value(Plan, row)

    async def add_subscription(self, subscription: NewSubscription) -> Subscription:
        anchor = subscription.anchor
        parameters = {
            "id": subscription.id,
            "customer_id": subscription.customer_id,
            "plan_id": subscription.plan_id,
            "anchor_local": anchor if anchor is not None and anchor.tzinfo is None else None,
            "anchor_at": anchor if anchor is not None and anchor.tzinfo is not None else None,
            "time_zone": subscription.time_zone,
            "metadata": orjson.dumps(dict(subscription.metadata)).decode(),
        }
        try:
            added = (await self.connection.execute(sql.ADD_SUBSCRIPTION, parameters)).one_or_none()
        except DBAPIError as error:
            if sqlstate(error) == _INVALID_PARAMETER_VALUE:
                explained = _unknown_zone(subscription.time_zone, "choose another name of the same time zone")
                raise UnknownReference("time_zone", subscription.time_zone, explained) from error
            raise
        if added is None:
            await self._explain_refusal(subscription)
        await self._tell("subscription.created", subscription.id, subscription.id)
        return as_value(Subscription, added)

    async def _explain_refusal(self, subscription: NewSubscription) -> NoReturn:
        if await self._exists(subscriptions, subscription.id):
            raise AlreadyMade("subscription", subscription.id)
        anchor = subscription.anchor
        names = {
            "customer_id": subscription.customer_id,
            "plan_id": subscription.plan_id,
            "anchor_at": anchor if anchor is not None and anchor.tzinfo is not None else None,
            "time_zone": subscription.time_zone,
        }
        why = (await self.connection.execute(sql.WHY_NO_SUBSCRIPTION, names)).one()
        if not why.customer_exists:
            raise UnknownReference("customer_id", subscription.customer_id)
        if not why.plan_exists:
            raise UnknownReference("plan_id", subscription.plan_id)
        if not why.plan_active:
            raise PlanArchived(f"plan {subscription.plan_id} is archived: choose an active plan")
        if why.shown_again_at is not None and why.shown_again_at != anchor:
            raise AnchorRefused(
                f"at that instant a clock in {subscription.time_zone} shows {why.anchor_local.isoformat()}, and shows it"
                f" again at {why.shown_again_at.isoformat()}; periods are counted from the later one: name that instant,"
                " or one outside the repeated hour"
            )
        raise AnchorRefused(
            "the first billing period must still run at business time now"
            f" ({why.business_now.isoformat()}), and begin within ten years from it"
        )

    async def end_subscription(
        self, subscription_id: SubscriptionId, at: Literal["now", "period_end"]
    ) -> Subscription:
        named = {"id": subscription_id}
        if (await self.connection.execute(sql.LOCK_SUBSCRIPTION, named)).one_or_none() is None:
            raise NoSuchRecord("subscription", subscription_id)
        statement = sql.END_NOW if at == "now" else sql.END_AT_PERIOD_END
        try:
            ended = await self.connection.execute(statement, named)
        except DBAPIError as error:
            if sqlstate(error) == _INVALID_PARAMETER_VALUE:
                explained = _unknown_zone("of the subscription", "cancel at `now`")
                raise UnknownReference("at", at, explained) from error
            raise
        subscription = await self._subscription(subscription_id)
        if ended.rowcount and subscription.ends_at is not None:
            data = {"at": at, "ends_at": subscription.ends_at.isoformat()}
            await self._tell("subscription.cancel_requested", subscription_id, subscription_id, data)
        return subscription

    async def set_test_clock(self, advance_s: float, rate: float | None) -> ClockReading:
        try:
            moved_to: datetime = await self.connection.scalar(
                sql.SET_TEST_CLOCK, {"advance_s": advance_s, "rate": rate}
            )
        except DBAPIError as error:
            if sqlstate(error) == _TEST_CLOCK_REFUSED:
                raise TestClockRefused(str(error.orig).split(">: ")[-1]) from error
            raise
        if moved_to.year > _LAST_YEAR_OF_THE_TEST_CLOCK:
            raise TestClockRefused(f"the test clock ends with the year {_LAST_YEAR_OF_THE_TEST_CLOCK}")
        row = (await self.connection.execute(sql.READ_TEST_CLOCK)).one()
        return ClockReading(row.environment, row.business_now, row.rate)

    async def forget_notices(self, older_than_s: float, limit: int) -> int:
        gone = await self.connection.execute(FORGET_NOTICES, {"older_than_s": older_than_s, "limit": limit})
        return gone.rowcount

    async def _exists(self, table: Table, record_id: str) -> bool:
        return bool(await self.connection.scalar(select(exists().where(table.c.id == record_id))))

    async def _subscription(self, subscription_id: SubscriptionId) -> Subscription:
        statement = select(*SUBSCRIPTION).where(subscriptions.c.id == subscription_id)
        return as_value(Subscription, (await self.connection.execute(statement)).one())

    async def _tell(
        self,
        kind: str,
        subject: str,
        subscription_id: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        await self.connection.execute(
            sql.ADD_EVENT,
            {
                "kind": kind,
                "subject": subject,
                "subscription_id": subscription_id,
                "data": orjson.dumps(data or {}).decode(),
            },
        )


def _unknown_zone(name: str, way_out: str) -> str:
    return (
        f"the time zone {name} is not known to the database server: {way_out}, or update the server's time zone data"
        " (on Debian, old names are in the package tzdata-legacy)"
    )
