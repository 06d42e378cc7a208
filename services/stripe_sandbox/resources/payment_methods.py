"""Payment methods: cards, made from Stripe's test tokens and numbers, attached to customers or not."""

from typing import Any

from stripe_sandbox.cards import CARDS, Decline, by_number, by_payment_method_token, by_source_token
from stripe_sandbox.errors import StripeError, invalid, no_such, refused
from stripe_sandbox.expansion import expandable
from stripe_sandbox.model import Customer, PaymentMethod
from stripe_sandbox.operation import Context, Json, Operation
from stripe_sandbox.params import (
    ADDRESS,
    Params,
    Spec,
    choice,
    email,
    integer,
    merged_metadata,
    metadata,
    nested,
    text,
    words,
)
from stripe_sandbox.resources.common import find, find_customer, list_spec, page
from stripe_sandbox.world import World

NO_ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
_BILLING_DETAILS = Spec(
    {
        "address": nested(ADDRESS, clearable=True),
        "email": email(clearable=True),
        "name": text(clearable=True),
        "phone": text(clearable=True),
        "tax_id": text(clearable=True),
    }
)
_CARD = Spec(
    {
        "number": text(),
        "exp_month": integer(1, 12),
        "exp_year": integer(1970, 2100),
        "cvc": text(4),
        "token": text(),
    },
    not_played=words("networks"),
)
_EXP_MONTH = 12
_VALID_YEARS = 5


def billing_details(method: PaymentMethod) -> Json:
    """Who is billed, as Stripe shows it; everything may be null."""
    given = method.billing_details or {}
    return {
        "address": {**NO_ADDRESS, **(given.get("address") or {})},
        "email": given.get("email"),
        "name": given.get("name"),
        "phone": given.get("phone"),
        "tax_id": given.get("tax_id"),
    }


def render(method: PaymentMethod) -> Json:
    """Stripe's JSON of a payment method."""
    card = CARDS[method.card]
    return {
        "id": method.id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": billing_details(method),
        "card": {
            "brand": card.brand,
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
            "country": "US",
            "display_brand": card.brand,
            "exp_month": method.exp_month,
            "exp_year": method.exp_year,
            "fingerprint": f"sandbox{card.brand}{card.last4}",
            "funding": card.funding,
            "generated_from": None,
            "last4": card.last4,
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": method.created,
        "customer": method.customer,
        "customer_account": None,
        "livemode": False,
        "metadata": method.metadata,
        "type": "card",
    }


def card_declined(decline: Decline, method: PaymentMethod, **details: Any) -> StripeError:
    """402 with everything Stripe tells about a decline."""
    known: dict[str, Any] = {
        "advice_code": decline.advice_code,
        "network_decline_code": decline.network_decline_code,
    }
    return StripeError(
        402,
        "card_error",
        decline.message,
        code=decline.code,
        decline_code=decline.decline_code,
        payment_method=render(method),
        **{name: value for name, value in known.items() if value is not None},
        **details,
    )


def new_method(world: World, card: str, params: Params | None = None) -> PaymentMethod:
    """A payment method for a card, unattached; not yet part of the world, so that a refusal leaves no trace."""
    given = (params or {}).get("card", {})
    return PaymentMethod(
        **world.birth("pm"),
        card=card,
        exp_month=given.get("exp_month", _EXP_MONTH),
        exp_year=given.get("exp_year", 2026 + _VALID_YEARS),
        billing_details=(params or {}).get("billing_details"),
        metadata=merged_metadata({}, (params or {}).get("metadata")),
    )


def usable(world: World, reference: str, *, param: str, in_path: bool = False) -> PaymentMethod:
    """The payment method that an id or a test token means; a token makes a new one each time, as at Stripe.

    Raises "No such PaymentMethod", or the refusal of one that may not be used again.
    """
    card = by_payment_method_token(reference)
    if card is not None:
        return new_method(world, card)
    method = world.payment_methods.by_id.get(reference)
    if method is None:
        raise no_such("PaymentMethod", reference, param=param, in_path=in_path)
    if method.consumed:
        raise refused(
            "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, shared "
            "with a connected account without Customer attachment, or was detached from a Customer. It may not be "
            "used again. To use a PaymentMethod multiple times, you must attach it to a Customer first."
        )
    return method


def keep(world: World, method: PaymentMethod) -> None:
    """Takes a payment method into the world, if it is not there yet."""
    if method.id not in world.payment_methods.by_id:
        world.add(world.payment_methods, method)


def check_attachable(method: PaymentMethod) -> None:
    """Raises what Stripe answers where a payment method cannot be attached: taken, or declined by its issuer."""
    if method.customer is not None:
        raise refused("The payment method you provided has already been attached to a customer.")
    decline = CARDS[method.card].on_attach
    if decline is not None:
        raise card_declined(decline, method)


def attach_to(world: World, method: PaymentMethod, customer: Customer) -> None:
    """Attaches what `check_attachable` let pass."""
    keep(world, method)
    method.customer = customer.id
    world.payment_methods.moved(method, None, customer.id)
    world.changed(world.payment_methods, method)
    world.happened("payment_method.attached", world.payment_methods, method)


def release(world: World, method: PaymentMethod) -> None:
    """Takes the method from its customer, for good: Stripe lets nobody use a detached one again."""
    former = method.customer
    world.payment_methods.moved(method, former, None)
    method.customer = None
    method.consumed = True
    world.changed(world.payment_methods, method)
    customer = world.customers.by_id.get(former or "")
    if customer is not None and customer.default_payment_method == method.id:
        customer.default_payment_method = None
        world.changed(world.customers, customer)
    world.happened("payment_method.detached", world.payment_methods, method)


def _create(context: Context, _id: str, params: Params) -> Json:
    world = context.world
    if "card" not in params:
        raise invalid("Missing required param: card.", param="card", code="parameter_missing")
    given = params["card"]
    card = by_source_token(given["token"]) if "token" in given else by_number(given.get("number", ""))
    if card is None:
        if "token" in given:
            raise no_such("token", given["token"], param="card[token]")
        raise StripeError(
            402,
            "card_error",
            "Your card number is incorrect. This sandbox knows Stripe's test cards only, such as 4242424242424242.",
            code="incorrect_number",
            param="number",
        )
    if "number" in given and not ("exp_month" in given and "exp_year" in given):
        missing = "exp_year" if "exp_month" in given else "exp_month"
        shown = f"card[{missing}]"
        raise invalid(f"Missing required param: {shown}.", param=shown, code="parameter_missing")
    method = new_method(world, card, params)
    keep(world, method)
    return render(method)


def _retrieve(context: Context, method_id: str, _params: Params) -> Json:
    world = context.world
    card = by_payment_method_token(method_id)
    if card is not None:
        return render(new_method(world, card))
    return render(find(world.payment_methods, method_id, param="payment_method", in_path=True))


def _update(context: Context, method_id: str, params: Params) -> Json:
    world = context.world
    method = find(world.payment_methods, method_id, param="payment_method", in_path=True)
    if method.customer is None:
        raise refused("You must save this PaymentMethod to a customer before you can update it.")
    if "metadata" in params:
        method.metadata = merged_metadata(method.metadata, params["metadata"])
    if "billing_details" in params:
        method.billing_details = {**(method.billing_details or {}), **params["billing_details"]}
    world.changed(world.payment_methods, method)
    world.happened("payment_method.updated", world.payment_methods, method)
    return render(method)


def _attach(context: Context, method_id: str, params: Params) -> Json:
    world = context.world
    customer = find_customer(world, params["customer"])
    method = usable(world, method_id, param="payment_method", in_path=True)
    check_attachable(method)
    attach_to(world, method, customer)
    return render(method)


def _detach(context: Context, method_id: str, _params: Params) -> Json:
    world = context.world
    method = find(world.payment_methods, method_id, param="payment_method", in_path=True)
    if method.customer is None:
        raise refused(
            "The payment method you provided is not attached to a customer so detachment is impossible."
        )
    release(world, method)
    return render(method)


def _list(context: Context, _id: str, params: Params) -> Json:
    world = context.world
    if "customer" not in params:
        return page(world.payment_methods, [], params, render, "/v1/payment_methods")
    items = world.payment_methods.of_customer(find_customer(world, params["customer"]).id)
    return page(world.payment_methods, items, params, render, "/v1/payment_methods")


def _list_of_customer(context: Context, customer_id: str, params: Params) -> Json:
    world = context.world
    find(world.customers, customer_id, param="customer", in_path=True)
    items = world.payment_methods.of_customer(customer_id)
    return page(world.payment_methods, items, params, render, f"/v1/customers/{customer_id}/payment_methods")


_TYPE = choice("card")
_LIST = list_spec("payment_method", words("allow_redisplay customer_account"), type=_TYPE, customer=text())
_LIST_OF_CUSTOMER = list_spec("payment_method", words("allow_redisplay"), type=_TYPE)
_CREATE = Spec(
    {
        "type": _TYPE,
        "card": nested(_CARD),
        "billing_details": nested(_BILLING_DETAILS),
        "metadata": metadata,
        "allow_redisplay": choice("always", "limited", "unspecified"),
        **expandable("payment_method"),
    },
    required=("type",),
    not_played=words("customer payment_method radar_options"),
)
_UPDATE = Spec(
    {"billing_details": nested(_BILLING_DETAILS), "metadata": metadata, **expandable("payment_method")},
    not_played=words("card allow_redisplay payto us_bank_account"),
)
_ATTACH = Spec(
    {"customer": text(), **expandable("payment_method")},
    required=("customer",),
    not_played=words("customer_account"),
)

OPERATIONS = (
    Operation("payment_methods.create", "POST", "/v1/payment_methods", _CREATE, _create),
    Operation("payment_methods.list", "GET", "/v1/payment_methods", _LIST, _list),
    Operation(
        "payment_methods.retrieve",
        "GET",
        "/v1/payment_methods/{id}",
        Spec(expandable("payment_method")),
        _retrieve,
    ),
    Operation("payment_methods.update", "POST", "/v1/payment_methods/{id}", _UPDATE, _update),
    Operation("payment_methods.attach", "POST", "/v1/payment_methods/{id}/attach", _ATTACH, _attach),
    Operation(
        "payment_methods.detach",
        "POST",
        "/v1/payment_methods/{id}/detach",
        Spec(expandable("payment_method")),
        _detach,
    ),
    Operation(
        "customers.payment_methods.list",
        "GET",
        "/v1/customers/{id}/payment_methods",
        _LIST_OF_CUSTOMER,
        _list_of_customer,
    ),
)
