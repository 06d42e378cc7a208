"""Charges: one per try of a payment intent, made by confirming it."""

from stripe_sandbox.cards import CARDS, Decline
from stripe_sandbox.expansion import expandable
from stripe_sandbox.model import Charge, PaymentIntent, PaymentMethod
from stripe_sandbox.operation import Context, Json, Operation
from stripe_sandbox.params import Params, Spec, text, words
from stripe_sandbox.resources.common import created, find, find_customer, list_spec, page
from stripe_sandbox.resources.payment_methods import billing_details
from stripe_sandbox.world import World


def render(world: World, charge: Charge) -> Json:
    """Stripe's JSON of a charge."""
    method = world.payment_methods.by_id[charge.payment_method]
    paid = charge.succeeded
    decline = charge.decline or {}
    return {
        "id": charge.id,
        "object": "charge",
        "amount": charge.amount,
        "amount_captured": charge.amount if paid else 0,
        "amount_refunded": charge.amount_refunded,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": billing_details(method),
        "calculated_statement_descriptor": "SANDBOX",
        "captured": paid,
        "created": charge.created,
        "currency": charge.currency,
        "customer": charge.customer,
        "description": charge.description,
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": decline.get("code"),
        "failure_message": decline.get("message"),
        "fraud_details": {},
        "livemode": False,
        "metadata": charge.metadata,
        "on_behalf_of": None,
        "outcome": _outcome(charge),
        "paid": paid,
        "payment_intent": charge.payment_intent,
        "payment_method": charge.payment_method,
        "payment_method_details": _method_details(method),
        "receipt_email": charge.receipt_email,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": paid and charge.amount_refunded == charge.amount,
        "review": None,
        "shipping": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "succeeded" if paid else "failed",
        "transfer_data": None,
        "transfer_group": None,
    }


def _outcome(charge: Charge) -> Json:
    decline = charge.decline
    if decline is None:
        return {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "risk_score": 20,
            "seller_message": "Payment complete.",
            "type": "authorized",
        }
    return {
        "advice_code": decline["advice_code"],
        "network_advice_code": None,
        "network_decline_code": decline["network_decline_code"],
        "network_status": "declined_by_network",
        "reason": decline["decline_code"],
        "risk_level": "normal",
        "risk_score": 20,
        "seller_message": "The bank did not return any further details with this decline.",
        "type": "issuer_declined",
    }


def _method_details(method: PaymentMethod) -> Json:
    card = CARDS[method.card]
    return {
        "type": "card",
        "card": {
            "brand": card.brand,
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
            "country": "US",
            "exp_month": method.exp_month,
            "exp_year": method.exp_year,
            "fingerprint": f"sandbox{card.brand}{card.last4}",
            "funding": card.funding,
            "installments": None,
            "last4": card.last4,
            "mandate": None,
            "network": card.brand,
            "three_d_secure": None,
            "wallet": None,
        },
    }


def charge_intent(
    world: World, intent: PaymentIntent, method: PaymentMethod, decline: Decline | None
) -> Charge:
    """Records a try of `intent` with `method`, failed where `decline` is given."""
    charge = Charge(
        **world.birth("ch"),
        amount=intent.amount,
        currency=intent.currency,
        payment_intent=intent.id,
        payment_method=method.id,
        customer=intent.customer,
        decline=None
        if decline is None
        else {
            "code": decline.code,
            "decline_code": decline.decline_code,
            "message": decline.message,
            "advice_code": decline.advice_code,
            "network_decline_code": decline.network_decline_code,
        },
        description=intent.description,
        receipt_email=intent.receipt_email,
        metadata=dict(intent.metadata),
    )
    intent.charges.append(charge.id)
    intent.latest_charge = charge.id
    world.add(world.charges, charge)
    world.happened("charge.succeeded" if decline is None else "charge.failed", world.charges, charge)
    return charge


def _retrieve(context: Context, charge_id: str, _params: Params) -> Json:
    world = context.world
    return render(world, find(world.charges, charge_id, param="charge", in_path=True))


def _list(context: Context, _id: str, params: Params) -> Json:
    world = context.world
    items = world.charges.ordered
    customer = params.get("customer")
    if "payment_intent" in params:
        intent = find(world.payment_intents, params["payment_intent"], param="payment_intent")
        items = [world.charges.by_id[charge_id] for charge_id in intent.charges]
    elif customer is not None:
        items = world.charges.of_customer(find_customer(world, customer).id)
    return page(
        world.charges,
        items,
        params,
        lambda charge: render(world, charge),
        "/v1/charges",
        lambda charge: customer is None or charge.customer == customer,
    )


_LIST = list_spec("charge", words("transfer_group"), created=created, customer=text(), payment_intent=text())

OPERATIONS = (
    Operation("charges.list", "GET", "/v1/charges", _LIST, _list),
    Operation("charges.retrieve", "GET", "/v1/charges/{id}", Spec(expandable("charge")), _retrieve),
)
