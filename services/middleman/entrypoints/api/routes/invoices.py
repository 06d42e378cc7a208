"""`/v1/invoices` and `/v1/payment_attempts`: read-only, for only the leader writes money."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from middleman.domain.ids import CustomerId, InvoiceId, SubscriptionId
from middleman.entrypoints.api.answering import Parts, ok
from middleman.entrypoints.api.documentation import reading
from middleman.entrypoints.api.fields import (
    AttemptIdField,
    CustomerIdField,
    Instant,
    InvoiceIdField,
    SubscriptionIdField,
)
from middleman.entrypoints.api.models import InvoiceOut, InvoiceWithAttemptsOut, PageOut, PaymentAttemptOut
from middleman.entrypoints.api.pagination import PageQuery, created_after, next_by_creation, page_document
from middleman.ports.records import AttemptFilter, InvoiceFilter

router = APIRouter(prefix="/v1", tags=["invoices"])


class InvoiceQuery(PageQuery):
    subscription_id: SubscriptionIdField | None = None
    customer_id: CustomerIdField | None = None
    status: Literal["open", "paid", "requires_action", "uncollectible", "void"] | None = None
    created_from: Instant | None = None
    created_before: Instant | None = None


class AttemptQuery(PageQuery):
    invoice_id: InvoiceIdField | None = None
    status: Literal["open", "succeeded", "declined", "requires_action", "canceled"] | None = None
    created_from: Instant | None = None
    created_before: Instant | None = None


@router.get(
    "/invoices",
    operation_id="list_invoices",
    summary="List invoices",
    response_model=PageOut[InvoiceOut],
    responses=reading(),
)
async def list_invoices(parts: Parts, query: Annotated[InvoiceQuery, Query()]) -> Response:
    """Newest first; `created_from` is included in the window, `created_before` is not."""
    where = InvoiceFilter(
        SubscriptionId(query.subscription_id) if query.subscription_id else None,
        CustomerId(query.customer_id) if query.customer_id else None,
        query.status,
        query.created_from,
        query.created_before,
    )
    page = await parts.records.invoices(created_after(query.cursor), query.limit, where)
    return ok(PageOut[InvoiceOut](**page_document(page, InvoiceOut.model_validate, next_by_creation)))


@router.get(
    "/invoices/{invoice_id}",
    operation_id="read_invoice",
    summary="Read an invoice with its payment attempts",
    response_model=InvoiceWithAttemptsOut,
    responses=reading(404),
)
async def read_invoice(parts: Parts, invoice_id: InvoiceIdField) -> Response:
    """The attempts come first to last."""
    invoice, attempts = await parts.records.invoice(InvoiceId(invoice_id))
    document = InvoiceWithAttemptsOut(
        **InvoiceOut.model_validate(invoice).model_dump(),
        payment_attempts=[PaymentAttemptOut.model_validate(attempt) for attempt in attempts],
    )
    return ok(document)


@router.get(
    "/payment_attempts",
    operation_id="list_payment_attempts",
    summary="List payment attempts",
    response_model=PageOut[PaymentAttemptOut],
    responses=reading(),
)
async def list_payment_attempts(parts: Parts, query: Annotated[AttemptQuery, Query()]) -> Response:
    """Newest first; `created_from` is included in the window, `created_before` is not."""
    where = AttemptFilter(
        InvoiceId(query.invoice_id) if query.invoice_id else None,
        query.status,
        query.created_from,
        query.created_before,
    )
    page = await parts.records.payment_attempts(created_after(query.cursor), query.limit, where)
    document = page_document(page, PaymentAttemptOut.model_validate, next_by_creation)
    return ok(PageOut[PaymentAttemptOut](**document))


@router.get(
    "/payment_attempts/{attempt_id}",
    operation_id="read_payment_attempt",
    summary="Read a payment attempt",
    response_model=PaymentAttemptOut,
    responses=reading(404),
)
async def read_payment_attempt(parts: Parts, attempt_id: AttemptIdField) -> Response:
    return ok(PaymentAttemptOut.model_validate(await parts.records.payment_attempt(attempt_id)))
