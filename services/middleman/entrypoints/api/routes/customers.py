"""`/v1/customers`."""

from typing import Annotated

from fastapi import APIRouter, Body, Query, Request
from starlette.responses import Response

from middleman.billing.accounts import CustomerRequest, CustomerResult
from middleman.billing.once import Render
from middleman.domain.attempts import Declined
from middleman.domain.ids import CustomerId, PaymentMethodId
from middleman.entrypoints.api.answering import MaybeTicket, Parts, example_of, ok, rendering, reply
from middleman.entrypoints.api.documentation import reading, writing
from middleman.entrypoints.api.fields import CustomerIdField
from middleman.entrypoints.api.models import CustomerIn, CustomerOut, PageOut, PaymentMethodIn
from middleman.entrypoints.api.pagination import PageQuery, created_after, next_by_creation, page_document
from middleman.entrypoints.api.problems import declined_problem
from middleman.ports.once import Answer

router = APIRouter(prefix="/v1/customers", tags=["customers"])


@router.post(
    "",
    operation_id="create_customer",
    summary="Create a customer with a payment method",
    status_code=201,
    response_model=CustomerOut,
    responses=writing(402),
)
async def create_customer(
    request: Request,
    parts: Parts,
    ticket: MaybeTicket,
    body: Annotated[
        CustomerIn,
        Body(
            openapi_examples=example_of(
                email="ada@example.com", name="Ada Lovelace", payment_method="pm_card_visa", metadata={}
            )
        ),
    ],
) -> Response:
    """Creates the customer at the processor too, and attaches the payment method there.

    After a 503, repeat with the same `Idempotency-Key`: the work goes on where it stopped, and nothing is doubled.
    """
    wanted = CustomerRequest(body.email, body.name, PaymentMethodId(body.payment_method), body.metadata)
    return reply(await parts.customers.create(wanted, ticket, _customer_or_decline(201, request)))


@router.get(
    "",
    operation_id="list_customers",
    summary="List customers",
    response_model=PageOut[CustomerOut],
    responses=reading(),
)
async def list_customers(parts: Parts, query: Annotated[PageQuery, Query()]) -> Response:
    """Newest first."""
    page = await parts.records.customers(created_after(query.cursor), query.limit)
    return ok(PageOut[CustomerOut](**page_document(page, CustomerOut.model_validate, next_by_creation)))


@router.get(
    "/{customer_id}",
    operation_id="read_customer",
    summary="Read a customer",
    response_model=CustomerOut,
    responses=reading(404),
)
async def read_customer(parts: Parts, customer_id: CustomerIdField) -> Response:
    return ok(CustomerOut.model_validate(await parts.records.customer(customer_id)))


@router.post(
    "/{customer_id}/payment_method",
    operation_id="replace_payment_method",
    summary="Replace the payment method",
    response_model=CustomerOut,
    responses=writing(402, 404),
)
async def replace_payment_method(
    request: Request,
    parts: Parts,
    ticket: MaybeTicket,
    customer_id: CustomerIdField,
    body: Annotated[PaymentMethodIn, Body(openapi_examples=example_of(payment_method="pm_card_mastercard"))],
) -> Response:
    """Payment attempts that are opened from now on charge the new one; an open attempt stays as it was sent.

    The next attempt of what waits is planned for now: of invoices in `requires_action`, and of open ones with a
    `next_attempt_at`. It is planned once per payment method, so giving the same one again charges nothing. Where an open
    attempt ends without a payment, the new payment method is tried next. `uncollectible` invoices stay as they are.
    """
    answer = await parts.customers.replace_payment_method(
        CustomerId(customer_id),
        PaymentMethodId(body.payment_method),
        ticket,
        _customer_or_decline(200, request),
    )
    return reply(answer)


def _customer_or_decline(status: int, request: Request) -> Render[CustomerResult]:
    customer = rendering(status, CustomerOut.model_validate)

    def render(result: CustomerResult) -> Answer:
        if isinstance(result, Declined):
            return Answer(402, declined_problem(result).body(request.state.request_id))
        return customer(result)

    return render
