"""Confirming a payment intent: the one place where money moves.

A payment intent succeeds at most once, whoever confirms it and however late. Each decline leaves a failed charge and
puts the intent back to `requires_payment_method`. Source: https://docs.stripe.com/payments/paymentintents/lifecycle.
"""

import heapq

from stripe_sandbox.cards import AUTHENTICATION_REQUIRED, CARDS, GENERIC, Decline
from stripe_sandbox.errors import StripeError, invalid, no_such, refused
from stripe_sandbox.model import PaymentIntent, PaymentMethod, SetupIntent
from stripe_sandbox.operation import Context, Json, Linger
from stripe_sandbox.params import Params
from stripe_sandbox.resources import payment_methods
from stripe_sandbox.resources.charges import charge_intent
from stripe_sandbox.resources.payment_intents_json import render
from stripe_sandbox.world import World

MISSING_METHOD = (
    "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
    "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a payment "
    "method or ConfirmationToken."
)
LINGERING = ("processing", "requires_capture")
CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


def unexpected_state(world: World, intent: PaymentIntent, message: str) -> StripeError:
    """400: the intent's status forbids what was asked; carries the intent as it is."""
    return refused(message, code="payment_intent_unexpected_state", payment_intent=render(world, intent))


def confirm(context: Context, intent: PaymentIntent, params: Params) -> Json:
    """Tries to take the money. Gives the intent's JSON, or raises the decline (402) or the refusal (400)."""
    return carry_out(context, intent, prepare(context.world, intent, params), params)


def carry_out(context: Context, intent: PaymentIntent, method: PaymentMethod, params: Params) -> Json:
    """Charges `method`; everything that could refuse has spoken, from here on the world changes."""
    world = context.world
    payment_methods.keep(world, method)
    for name in ("receipt_email", "setup_future_usage", "return_url"):
        if name in params:
            setattr(intent, name, params[name])
    off_session = params.get("off_session", False)
    decline = context.decline_rule(context.operation, intent.customer, method.id)
    if decline is None and CARDS[method.card].authenticates:
        if not off_session and not params.get("error_on_requires_action", False):
            return _wait_for_customer(world, intent, method)
        decline = AUTHENTICATION_REQUIRED
    decline = decline or CARDS[method.card].on_charge
    if decline is not None:
        raise _declined(world, intent, method, decline)
    linger = context.linger_rule(context.operation, intent.customer, method.id)
    if linger is not None:
        return _linger(world, intent, method, linger)
    return _succeeded(world, intent, method)


def prepare(world: World, intent: PaymentIntent, params: Params) -> PaymentMethod:
    """Checks that `intent` may be confirmed now, and gives the payment method to charge (maybe not kept yet)."""
    if intent.status not in CONFIRMABLE:
        raise unexpected_state(
            world,
            intent,
            "You cannot confirm this PaymentIntent because it has already succeeded after being previously confirmed."
            if intent.status == "succeeded"
            else f"You cannot confirm this PaymentIntent because it has a status of {intent.status}. Only a "
            "PaymentIntent with one of the following statuses may be confirmed: requires_confirmation, requires_action.",
        )
    reference = params.get("payment_method") or intent.payment_method
    if reference is None:
        raise unexpected_state(world, intent, MISSING_METHOD)
    method = method_for(world, intent.customer, reference)
    check_return_url(intent, params)
    return method


def check_return_url(intent: PaymentIntent | SetupIntent, params: Params) -> None:
    """Raises where Stripe insists on a `return_url`: redirects are allowed and the customer is present."""
    off_session = params.get("off_session", False)
    if (
        intent.allow_redirects == "always"
        and not off_session
        and not (params.get("return_url") or intent.return_url)
    ):
        kind = "SetupIntent" if isinstance(intent, SetupIntent) else "PaymentIntent"
        raise refused(
            f"This {kind} is configured to accept payment methods enabled in your Dashboard. Because some of "
            "these payment methods might redirect your customer off of your page, you must provide a `return_url`. If "
            "you don't want to accept redirect-based payment methods, set `automatic_payment_methods[enabled]` to "
            "`true` and `automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents and "
            "Payment Intents."
        )


def allowed_redirects(params: Params) -> str | None:
    """Whether a new intent lets payment methods redirect the customer; None without automatic payment methods.

    Without a word about payment methods Stripe turns the automatic ones on, since API version 2023-08-16.
    """
    types, automatic = params.get("payment_method_types"), params.get("automatic_payment_methods")
    if automatic is None:
        return "always" if types is None else None
    if not automatic["enabled"]:
        return None
    if types is not None:
        raise invalid(
            "You may only specify one of these parameters: automatic_payment_methods, payment_method_types.",
            param="automatic_payment_methods",
            code="parameters_exclusive",
        )
    redirects: str = automatic.get("allow_redirects", "always")
    return redirects


def method_for(world: World, customer: str | None, reference: str) -> PaymentMethod:
    """The payment method that an intent of `customer` may use; raises where it is someone else's."""
    method = payment_methods.usable(world, reference, param="payment_method")
    if method.customer is None or method.customer == customer:
        return method
    if customer is None:
        raise refused(
            f"The payment method supplied ({method.id}) belongs to a Customer. Please include the Customer in the "
            "`customer` parameter.",
            param="payment_method",
        )
    error = no_such("PaymentMethod", method.id, param="payment_method")
    error.error["message"] = (
        f"The customer does not have a payment method with the ID {method.id}. The payment method must be attached to "
        "the customer."
    )
    raise error


def _succeeded(world: World, intent: PaymentIntent, method: PaymentMethod) -> Json:
    charge_intent(world, intent, method, None)
    intent.status = "succeeded"
    intent.payment_method = method.id
    intent.amount_received = intent.amount
    intent.last_error = None
    if method.customer is None:
        customer = world.customers.by_id.get(intent.customer or "")
        if intent.setup_future_usage is not None and customer is not None:
            payment_methods.attach_to(world, method, customer)
        else:
            method.consumed = True
            world.changed(world.payment_methods, method)
    world.changed(world.payment_intents, intent)
    world.happened("payment_intent.succeeded", world.payment_intents, intent)
    return render(world, intent)


def _linger(world: World, intent: PaymentIntent, method: PaymentMethod, linger: Linger) -> Json:
    """Keeps the outcome back. No charge is shown meanwhile: charges here have moved money or failed to."""
    intent.status = linger.status
    intent.payment_method = method.id
    intent.last_error = None
    intent.lingers_until = world.clock.now_s() + linger.for_s
    intent.lingers_then = linger.then
    heapq.heappush(world.lingering, (intent.lingers_until, intent.id))
    world.changed(world.payment_intents, intent)
    event = "processing" if linger.status == "processing" else "amount_capturable_updated"
    world.happened(f"payment_intent.{event}", world.payment_intents, intent)
    return render(world, intent)


def end_lingering(world: World) -> None:
    """Brings about the outcomes whose time has come."""
    now_s = world.clock.now_s()
    while world.lingering and world.lingering[0][0] <= now_s:
        _until, intent_id = heapq.heappop(world.lingering)
        intent = world.payment_intents.by_id[intent_id]
        if intent.status not in LINGERING:
            continue  # it was canceled meanwhile
        then, intent.lingers_until, intent.lingers_then = intent.lingers_then, None, None
        method = world.payment_methods.by_id[intent.payment_method or ""]
        world.cause = (None, None)
        if then == "decline":
            _declined(world, intent, method, GENERIC)
        elif then == "cancel":
            intent.status = "canceled"
            intent.canceled_at = world.clock.unix()
            intent.cancellation_reason = "automatic"
            world.changed(world.payment_intents, intent)
            world.happened("payment_intent.canceled", world.payment_intents, intent)
        else:
            _succeeded(world, intent, method)


def _wait_for_customer(world: World, intent: PaymentIntent, method: PaymentMethod) -> Json:
    intent.status = "requires_action"
    intent.payment_method = method.id
    intent.last_error = None
    world.changed(world.payment_intents, intent)
    world.happened("payment_intent.requires_action", world.payment_intents, intent)
    return render(world, intent)


def _declined(world: World, intent: PaymentIntent, method: PaymentMethod, decline: Decline) -> StripeError:
    charge = charge_intent(world, intent, method, decline)
    error = payment_methods.card_declined(decline, method, charge=charge.id)
    intent.status = "requires_payment_method"
    intent.payment_method = None
    intent.last_error = {
        **{name: value for name, value in error.error.items() if name != "payment_method"},
        "payment_method": method.id,
    }
    world.changed(world.payment_intents, intent)
    world.happened("payment_intent.payment_failed", world.payment_intents, intent)
    error.error["payment_intent"] = render(world, intent)
    return error
