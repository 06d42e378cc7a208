"""Setup intents: saving a payment method for later, with the customer present."""

from typing import Any

from stripe_sandbox.cards import CARDS
from stripe_sandbox.errors import StripeError, invalid, refused
from stripe_sandbox.expansion import expandable
from stripe_sandbox.ids import client_secret
from stripe_sandbox.model import PaymentMethod, SetupIntent
from stripe_sandbox.operation import Context, Json, Operation
from stripe_sandbox.params import (
    Check,
    Params,
    Spec,
    array,
    boolean,
    choice,
    merged_metadata,
    metadata,
    nested,
    text,
    words,
)
from stripe_sandbox.resources import payment_methods
from stripe_sandbox.resources.common import created, find, find_customer, list_spec, page
from stripe_sandbox.resources.confirmation import allowed_redirects, check_return_url, method_for
from stripe_sandbox.resources.payment_intents_json import last_error, next_action
from stripe_sandbox.world import World

_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")


def render(world: World, intent: SetupIntent) -> Json:
    """Stripe's JSON of a setup intent."""
    redirects = intent.allow_redirects
    return {
        "id": intent.id,
        "object": "setup_intent",
        "application": None,
        "automatic_payment_methods": None
        if redirects is None
        else {"allow_redirects": redirects, "enabled": True},
        "cancellation_reason": intent.cancellation_reason,
        "client_secret": client_secret(intent.id),
        "created": intent.created,
        "customer": intent.customer,
        "customer_account": None,
        "description": intent.description,
        "excluded_payment_method_types": None,
        "flow_directions": None,
        "last_setup_error": last_error(world, intent.last_error),
        "latest_attempt": None,
        "livemode": False,
        "mandate": None,
        "metadata": intent.metadata,
        "next_action": next_action(intent),
        "on_behalf_of": None,
        "payment_method": intent.payment_method,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {"mandate_options": None, "network": None, "request_three_d_secure": "automatic"}
        },
        "payment_method_types": intent.payment_method_types,
        "single_use_mandate": None,
        "status": intent.status,
        "usage": intent.usage,
    }


def _unexpected_state(world: World, intent: SetupIntent, verb: str) -> StripeError:
    return refused(
        f"You cannot {verb} this SetupIntent because it has a status of {intent.status}.",
        code="setup_intent_unexpected_state",
        setup_intent=render(world, intent),
    )


def _create(context: Context, _id: str, params: Params) -> Json:
    world = context.world
    confirming = params.get("confirm", False)
    if "return_url" in params and not confirming:
        message = (
            "You cannot set `return_url` without setting `confirm` to `true` when creating a SetupIntent."
        )
        raise invalid(message, param="return_url")
    if "customer" in params:
        find_customer(world, params["customer"])
    method = None
    if "payment_method" in params:
        method = method_for(world, params.get("customer"), params["payment_method"])
    elif confirming:
        raise refused("You must provide a `payment_method` when `confirm` is `true`.", param="payment_method")
    intent = SetupIntent(
        **world.birth("seti"),
        status="requires_payment_method" if method is None else "requires_confirmation",
        customer=params.get("customer"),
        payment_method=None if method is None else method.id,
        payment_method_types=params.get("payment_method_types") or ["card"],
        allow_redirects=allowed_redirects(params),
        usage=params.get("usage", "off_session"),
        description=params.get("description"),
        return_url=params.get("return_url"),
        metadata=merged_metadata({}, params.get("metadata")),
    )
    if confirming:
        check_return_url(intent, params)
    if method is not None:
        payment_methods.keep(world, method)
    world.add(world.setup_intents, intent)
    world.happened("setup_intent.created", world.setup_intents, intent)
    return _set_up(world, intent, method) if confirming and method is not None else render(world, intent)


def _confirm(context: Context, intent_id: str, params: Params) -> Json:
    world = context.world
    intent = find(world.setup_intents, intent_id, param="intent", in_path=True)
    if intent.status not in _OPEN:
        raise _unexpected_state(world, intent, "confirm")
    reference = params.get("payment_method") or intent.payment_method
    if reference is None:
        raise refused(
            "You cannot confirm this SetupIntent because it's missing a payment method. Update the SetupIntent with a "
            "payment method and then confirm it again.",
            code="setup_intent_unexpected_state",
            setup_intent=render(world, intent),
        )
    method = method_for(world, intent.customer, reference)
    check_return_url(intent, params)
    payment_methods.keep(world, method)
    if "return_url" in params:
        intent.return_url = params["return_url"]
    return _set_up(world, intent, method)


def _set_up(world: World, intent: SetupIntent, method: PaymentMethod) -> Json:
    card = CARDS[method.card]
    world.changed(world.setup_intents, intent)
    if card.on_attach is not None:
        error = payment_methods.card_declined(card.on_attach, method)
        intent.status, intent.payment_method = "requires_payment_method", None
        kept: dict[str, Any] = {
            name: value for name, value in error.error.items() if name != "payment_method"
        }
        intent.last_error = {**kept, "payment_method": method.id}
        world.happened("setup_intent.setup_failed", world.setup_intents, intent)
        error.error["setup_intent"] = render(world, intent)
        raise error
    intent.payment_method, intent.last_error = method.id, None
    if card.authenticates:
        intent.status = "requires_action"
        world.happened("setup_intent.requires_action", world.setup_intents, intent)
        return render(world, intent)
    intent.status = "succeeded"
    customer = world.customers.by_id.get(intent.customer or "")
    if customer is not None and method.customer is None:
        payment_methods.attach_to(world, method, customer)
    world.happened("setup_intent.succeeded", world.setup_intents, intent)
    return render(world, intent)


def _retrieve(context: Context, intent_id: str, _params: Params) -> Json:
    world = context.world
    return render(world, find(world.setup_intents, intent_id, param="intent", in_path=True))


def _cancel(context: Context, intent_id: str, params: Params) -> Json:
    world = context.world
    intent = find(world.setup_intents, intent_id, param="intent", in_path=True)
    if intent.status not in _OPEN:
        raise _unexpected_state(world, intent, "cancel")
    intent.status = "canceled"
    intent.cancellation_reason = params.get("cancellation_reason")
    world.changed(world.setup_intents, intent)
    world.happened("setup_intent.canceled", world.setup_intents, intent)
    return render(world, intent)


def _list(context: Context, _id: str, params: Params) -> Json:
    world = context.world
    intents = world.setup_intents
    items = intents.ordered
    if "customer" in params:
        items = intents.of_customer(find_customer(world, params["customer"]).id)
    return page(intents, items, params, lambda intent: render(world, intent), "/v1/setup_intents")


_AUTOMATIC = Spec({"enabled": boolean, "allow_redirects": choice("always", "never")}, required=("enabled",))
_NOT_PLAYED = words(
    "allowed_payment_method_types attach_to_self client_secret confirmation_token customer_account "
    "excluded_payment_method_types flow_directions mandate_data on_behalf_of payment_method_configuration "
    "payment_method_data payment_method_options single_use"
)
_CONFIRMING: dict[str, Check] = {
    "payment_method": text(),
    "return_url": text(),
    "use_stripe_sdk": boolean,
    **expandable("setup_intent"),
}
_CREATE = Spec(
    {
        **_CONFIRMING,
        "customer": text(),
        "confirm": boolean,
        "payment_method_types": array(choice("card")),
        "automatic_payment_methods": nested(_AUTOMATIC),
        "usage": choice("off_session", "on_session"),
        "description": text(1000),
        "metadata": metadata,
    },
    not_played=_NOT_PLAYED,
)
_CANCEL = Spec(
    {
        "cancellation_reason": choice("abandoned", "duplicate", "requested_by_customer"),
        **expandable("setup_intent"),
    }
)
_LIST = list_spec(
    "setup_intent", words("attach_to_self customer_account payment_method"), created=created, customer=text()
)

OPERATIONS = (
    Operation("setup_intents.create", "POST", "/v1/setup_intents", _CREATE, _create),
    Operation("setup_intents.list", "GET", "/v1/setup_intents", _LIST, _list),
    Operation(
        "setup_intents.retrieve",
        "GET",
        "/v1/setup_intents/{id}",
        Spec({"client_secret": text(), **expandable("setup_intent")}),
        _retrieve,
    ),
    Operation(
        "setup_intents.confirm",
        "POST",
        "/v1/setup_intents/{id}/confirm",
        Spec(_CONFIRMING, not_played=_NOT_PLAYED),
        _confirm,
    ),
    Operation("setup_intents.cancel", "POST", "/v1/setup_intents/{id}/cancel", _CANCEL, _cancel),
)
