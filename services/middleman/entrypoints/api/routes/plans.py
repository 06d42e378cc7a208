"""`/v1/plans`."""

from typing import Annotated

from fastapi import APIRouter, Body, Query
from starlette.responses import Response

from middleman.billing.accounts import PlanRequest
from middleman.domain.ids import PlanId
from middleman.domain.money import Money
from middleman.entrypoints.api.answering import MaybeTicket, Parts, example_of, ok, rendering, reply
from middleman.entrypoints.api.documentation import reading, writing
from middleman.entrypoints.api.fields import PlanIdField
from middleman.entrypoints.api.models import IntervalOut, PageOut, PlanIn, PlanOut
from middleman.entrypoints.api.pagination import PageQuery, created_after, next_by_creation, page_document
from middleman.ports.accounts import Plan

router = APIRouter(prefix="/v1/plans", tags=["plans"])


class PlanQuery(PageQuery):
    active: bool | None = None


@router.post(
    "",
    operation_id="create_plan",
    summary="Create a plan",
    status_code=201,
    response_model=PlanOut,
    responses=writing(),
)
async def create_plan(
    parts: Parts,
    ticket: MaybeTicket,
    body: Annotated[
        PlanIn,
        Body(
            openapi_examples=example_of(
                name="Premium", amount_minor=1999, currency="EUR", interval={"unit": "month", "count": 1}
            )
        ),
    ],
) -> Response:
    """A plan never changes, apart from being archived: a new price is a new plan."""
    price = Money(body.amount_minor, body.currency)
    wanted = PlanRequest(body.name, price, body.interval.unit, body.interval.count, body.metadata)
    return reply(await parts.plans.create(wanted, ticket, rendering(201, plan_out)))


@router.get(
    "", operation_id="list_plans", summary="List plans", response_model=PageOut[PlanOut], responses=reading()
)
async def list_plans(parts: Parts, query: Annotated[PlanQuery, Query()]) -> Response:
    """Newest first."""
    page = await parts.records.plans(created_after(query.cursor), query.limit, query.active)
    return ok(PageOut[PlanOut](**page_document(page, plan_out, next_by_creation)))


@router.get(
    "/{plan_id}",
    operation_id="read_plan",
    summary="Read a plan",
    response_model=PlanOut,
    responses=reading(404),
)
async def read_plan(parts: Parts, plan_id: PlanIdField) -> Response:
    return ok(plan_out(await parts.records.plan(plan_id)))


@router.post(
    "/{plan_id}/archive",
    operation_id="archive_plan",
    summary="Archive a plan",
    response_model=PlanOut,
    responses=writing(404),
)
async def archive_plan(parts: Parts, ticket: MaybeTicket, plan_id: PlanIdField) -> Response:
    """It takes no new subscriptions; existing ones go on. Archiving twice changes nothing."""
    return reply(await parts.plans.archive(PlanId(plan_id), ticket, rendering(200, plan_out)))


def plan_out(plan: Plan) -> PlanOut:
    """The document of a plan."""
    return PlanOut(
        id=plan.id,
        name=plan.name,
        amount_minor=plan.amount_minor,
        currency=plan.currency,
        interval=IntervalOut(unit=plan.interval_unit, count=plan.interval_count),
        active=plan.active,
        metadata=dict(plan.metadata),
        created_at=plan.created_at,
    )
