"""`/v1/subscriptions`."""

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Query
from starlette.responses import Response

from middleman.billing.subscriptions import SubscriptionRequest
from middleman.domain.ids import CustomerId, PlanId, SubscriptionId
from middleman.entrypoints.api.answering import MaybeTicket, Parts, example_of, ok, rendering, reply
from middleman.entrypoints.api.documentation import reading, writing
from middleman.entrypoints.api.fields import CustomerIdField, Instant, PlanIdField, SubscriptionIdField
from middleman.entrypoints.api.models import CancelIn, IntervalOut, PageOut, SubscriptionIn, SubscriptionOut
from middleman.entrypoints.api.pagination import PageQuery, created_after, next_by_creation, page_document
from middleman.ports.accounts import Subscription
from middleman.ports.records import SubscriptionFilter

router = APIRouter(prefix="/v1/subscriptions", tags=["subscriptions"])


class SubscriptionQuery(PageQuery):
    customer_id: CustomerIdField | None = None
    plan_id: PlanIdField | None = None
    status: Literal["active", "past_due", "canceled"] | None = None
    due_before: Instant | None = None


@router.post(
    "",
    operation_id="create_subscription",
    summary="Subscribe a customer to a plan",
    status_code=201,
    response_model=SubscriptionOut,
    responses=writing(),
)
async def create_subscription(
    parts: Parts,
    ticket: MaybeTicket,
    body: Annotated[
        SubscriptionIn,
        Body(
            openapi_examples=example_of(
                customer_id="cu_01jd8x3v9k2m4n5p6q7r8s9t0v",
                plan_id="pl_01jd8x3v9k2m4n5p6q7r8s9t0w",
                anchor="2026-01-31T09:00",
                time_zone="Europe/Berlin",
            )
        ),
    ],
) -> Response:
    """Price and interval are copied from the plan. The first billing period begins, and is due, at the anchor.

    The anchor may lie in the past while that first period still runs, and in the future up to ten years.
    Period n begins at the anchor plus n intervals, counted on the wall clock of `time_zone`.
    """
    wanted = SubscriptionRequest(
        CustomerId(body.customer_id), PlanId(body.plan_id), body.anchor, body.time_zone, body.metadata
    )
    return reply(await parts.subscriptions.create(wanted, ticket, rendering(201, subscription_out)))


@router.get(
    "",
    operation_id="list_subscriptions",
    summary="List subscriptions",
    response_model=PageOut[SubscriptionOut],
    responses=reading(),
)
async def list_subscriptions(parts: Parts, query: Annotated[SubscriptionQuery, Query()]) -> Response:
    """Newest first. `due_before`: those whose next billing period begins before that instant."""
    where = SubscriptionFilter(
        CustomerId(query.customer_id) if query.customer_id else None,
        PlanId(query.plan_id) if query.plan_id else None,
        query.status,
        query.due_before,
    )
    page = await parts.records.subscriptions(created_after(query.cursor), query.limit, where)
    return ok(PageOut[SubscriptionOut](**page_document(page, subscription_out, next_by_creation)))


@router.get(
    "/{subscription_id}",
    operation_id="read_subscription",
    summary="Read a subscription",
    response_model=SubscriptionOut,
    responses=reading(404),
)
async def read_subscription(parts: Parts, subscription_id: SubscriptionIdField) -> Response:
    return ok(subscription_out(await parts.records.subscription(subscription_id)))


@router.post(
    "/{subscription_id}/cancel",
    operation_id="cancel_subscription",
    summary="Cancel a subscription, now or at the end of the running period",
    response_model=SubscriptionOut,
    responses=writing(404),
)
async def cancel_subscription(
    parts: Parts,
    ticket: MaybeTicket,
    subscription_id: SubscriptionIdField,
    body: Annotated[CancelIn, Body(openapi_examples=example_of(at="period_end"))],
) -> Response:
    """Sets `ends_at`, or leaves it where it is earlier already: canceling twice changes nothing.

    Every period that fell due before the end is still billed, and none after. A subscription that
    has not begun ends without a bill either way.
    """
    answer = await parts.subscriptions.cancel(
        SubscriptionId(subscription_id), body.at, ticket, rendering(200, subscription_out)
    )
    return reply(answer)


def subscription_out(value: Subscription) -> SubscriptionOut:
    """The document of a subscription."""
    over = value.status == "canceled" or (value.ends_at is not None and value.next_due_at >= value.ends_at)
    return SubscriptionOut(
        id=value.id,
        customer_id=value.customer_id,
        plan_id=value.plan_id,
        status=value.status,
        amount_minor=value.amount_minor,
        currency=value.currency,
        interval=IntervalOut(unit=value.interval_unit, count=value.interval_count),
        anchor_local=value.anchor_local.isoformat(),
        time_zone=value.time_zone,
        next_period_no=value.next_period_no,
        next_due_at=None if over else value.next_due_at,
        ends_at=value.ends_at,
        metadata=dict(value.metadata),
        created_at=value.created_at,
        updated_at=value.updated_at,
    )
