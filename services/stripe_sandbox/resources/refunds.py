"""Refunds: giving back at most what a charge took."""

from stripe_sandbox.currencies import MAX_AMOUNT
from stripe_sandbox.errors import invalid, refused
from stripe_sandbox.expansion import expandable
from stripe_sandbox.model import Charge, Refund
from stripe_sandbox.operation import Context, Json, Operation
from stripe_sandbox.params import (
    Params,
    Spec,
    choice,
    integer,
    merged_metadata,
    metadata,
    text,
    words,
)
from stripe_sandbox.resources.common import created, find, list_spec, page
from stripe_sandbox.world import World


def render(refund: Refund) -> Json:
    """Stripe's JSON of a refund. Test cards give back at once: every refund has succeeded."""
    return {
        "id": refund.id,
        "object": "refund",
        "amount": refund.amount,
        "balance_transaction": None,
        "charge": refund.charge,
        "created": refund.created,
        "currency": refund.currency,
        "destination_details": {
            "type": "card",
            "card": {
                "reference_status": "pending",
                "reference_type": "acquirer_reference_number",
                "type": "refund",
            },
        },
        "metadata": refund.metadata,
        "payment_intent": refund.payment_intent,
        "reason": refund.reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }


def _charge_to_refund(world: World, params: Params) -> Charge:
    if "charge" in params:
        charge = find(world.charges, params["charge"], param="charge")
        if "payment_intent" in params and charge.payment_intent != params["payment_intent"]:
            raise refused("The charge does not belong to the payment_intent.", param="payment_intent")
    elif "payment_intent" in params:
        intent = find(world.payment_intents, params["payment_intent"], param="payment_intent")
        if intent.status != "succeeded" or intent.latest_charge is None:
            raise refused(
                f"This PaymentIntent ({intent.id}) does not have a successful charge to refund.",
                param="payment_intent",
            )
        charge = world.charges.by_id[intent.latest_charge]
    else:
        message = "One of the following params should be provided for this request: payment_intent or charge."
        raise invalid(message, param=None, code="parameter_missing")
    if not charge.succeeded:
        raise refused(f"Charge {charge.id} failed, so there is nothing to refund.", param="charge")
    return charge


def _create(context: Context, _id: str, params: Params) -> Json:
    world = context.world
    charge = _charge_to_refund(world, params)
    left = charge.amount - charge.amount_refunded
    if left == 0:
        raise refused(f"Charge {charge.id} has already been refunded.", code="charge_already_refunded")
    amount = params.get("amount", left)
    if amount > left:
        raise refused(
            f"Refund amount ({amount} {charge.currency}) is greater than unrefunded amount on charge "
            f"({left} {charge.currency})",
            param="amount",
        )
    refund = Refund(
        **world.birth("re"),
        amount=amount,
        currency=charge.currency,
        charge=charge.id,
        payment_intent=charge.payment_intent,
        reason=params.get("reason"),
        metadata=merged_metadata({}, params.get("metadata")),
    )
    charge.amount_refunded += amount
    charge.refunds.append(refund.id)
    world.add(world.refunds, refund)
    world.changed(world.charges, charge)
    world.happened("refund.created", world.refunds, refund)
    world.happened("charge.refunded", world.charges, charge)
    return render(refund)


def _retrieve(context: Context, refund_id: str, _params: Params) -> Json:
    return render(find(context.world.refunds, refund_id, param="refund", in_path=True))


def _update(context: Context, refund_id: str, params: Params) -> Json:
    world = context.world
    refund = find(world.refunds, refund_id, param="refund", in_path=True)
    refund.metadata = merged_metadata(refund.metadata, params.get("metadata", {}))
    world.changed(world.refunds, refund)
    world.happened("refund.updated", world.refunds, refund)
    return render(refund)


def _list(context: Context, _id: str, params: Params) -> Json:
    world = context.world
    items = world.refunds.ordered
    charges: list[Charge] | None = None
    if "charge" in params:
        charges = [find(world.charges, params["charge"], param="charge")]
    elif "payment_intent" in params:
        intent = find(world.payment_intents, params["payment_intent"], param="payment_intent")
        charges = [world.charges.by_id[charge_id] for charge_id in intent.charges]
    if charges is not None:
        items = [world.refunds.by_id[refund_id] for charge in charges for refund_id in charge.refunds]
    return page(world.refunds, items, params, render, "/v1/refunds")


_CREATE = Spec(
    {
        "amount": integer(1, MAX_AMOUNT),
        "charge": text(),
        "payment_intent": text(),
        "reason": choice("duplicate", "fraudulent", "requested_by_customer"),
        "metadata": metadata,
        **expandable("refund"),
    },
    not_played=words("currency customer instructions_email origin refund_application_fee reverse_transfer"),
)

OPERATIONS = (
    Operation("refunds.create", "POST", "/v1/refunds", _CREATE, _create),
    Operation(
        "refunds.list",
        "GET",
        "/v1/refunds",
        list_spec("refund", created=created, charge=text(), payment_intent=text()),
        _list,
    ),
    Operation("refunds.retrieve", "GET", "/v1/refunds/{id}", Spec(expandable("refund")), _retrieve),
    Operation(
        "refunds.update",
        "POST",
        "/v1/refunds/{id}",
        Spec({"metadata": metadata, **expandable("refund")}),
        _update,
    ),
)
