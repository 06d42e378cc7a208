"""Stripe's JSON of a payment intent."""

from stripe_sandbox.ids import client_secret
from stripe_sandbox.model import PaymentIntent, SetupIntent
from stripe_sandbox.operation import Json
from stripe_sandbox.resources import payment_methods
from stripe_sandbox.world import World


def next_action(intent: PaymentIntent | SetupIntent) -> Json | None:
    """What the customer has to do, while the intent waits for them."""
    if intent.status != "requires_action":
        return None
    if intent.return_url is None:
        return {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}}
    url = f"https://hooks.stripe.com/redirect/authenticate/{intent.id}"
    return {"type": "redirect_to_url", "redirect_to_url": {"return_url": intent.return_url, "url": url}}


def last_error(world: World, error: Json | None) -> Json | None:
    """A kept error with its payment method filled in."""
    if error is None:
        return None
    return {
        **error,
        "payment_method": payment_methods.render(world.payment_methods.by_id[error["payment_method"]]),
    }


def render(world: World, intent: PaymentIntent) -> Json:
    """Stripe's JSON of a payment intent."""
    redirects = intent.allow_redirects
    return {
        "id": intent.id,
        "object": "payment_intent",
        "amount": intent.amount,
        "amount_capturable": intent.amount if intent.status == "requires_capture" else 0,
        "amount_details": {"tip": {}},
        "amount_received": intent.amount_received,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None
        if redirects is None
        else {"allow_redirects": redirects, "enabled": True},
        "canceled_at": intent.canceled_at,
        "cancellation_reason": intent.cancellation_reason,
        "capture_method": intent.capture_method,
        "client_secret": client_secret(intent.id),
        "confirmation_method": "automatic",
        "created": intent.created,
        "currency": intent.currency,
        "customer": intent.customer,
        "customer_account": None,
        "description": intent.description,
        "excluded_payment_method_types": None,
        "last_payment_error": last_error(world, intent.last_error),
        "latest_charge": intent.latest_charge,
        "livemode": False,
        "metadata": intent.metadata,
        "next_action": next_action(intent),
        "on_behalf_of": None,
        "payment_method": intent.payment_method,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {
                "installments": None,
                "mandate_options": None,
                "network": None,
                "request_three_d_secure": "automatic",
            }
        },
        "payment_method_types": intent.payment_method_types,
        "processing": None,
        "receipt_email": intent.receipt_email,
        "review": None,
        "setup_future_usage": intent.setup_future_usage,
        "shipping": None,
        "statement_descriptor": intent.statement_descriptor,
        "statement_descriptor_suffix": intent.statement_descriptor_suffix,
        "status": intent.status,
        "transfer_data": None,
        "transfer_group": None,
    }
