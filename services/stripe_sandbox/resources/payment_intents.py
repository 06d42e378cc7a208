"""Payment intents: create, update, confirm, cancel, read, list."""

from stripe_sandbox.currencies import MAX_AMOUNT, check_amount, currency
from stripe_sandbox.errors import invalid, refused
from stripe_sandbox.expansion import expandable
from stripe_sandbox.model import PaymentIntent, PaymentMethod
from stripe_sandbox.operation import Context, Json, Operation
from stripe_sandbox.params import (
    Check,
    Params,
    Spec,
    array,
    boolean,
    choice,
    email,
    integer,
    merged_metadata,
    metadata,
    nested,
    off_session,
    text,
    words,
)
from stripe_sandbox.resources import payment_methods
from stripe_sandbox.resources.common import created, find, find_customer, list_spec, page
from stripe_sandbox.resources.confirmation import (
    MISSING_METHOD,
    allowed_redirects,
    carry_out,
    check_return_url,
    confirm,
    method_for,
    unexpected_state,
)
from stripe_sandbox.resources.payment_intents_json import render
from stripe_sandbox.world import World

_CHANGEABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
_CANCELABLE = (*_CHANGEABLE, "requires_capture", "processing")
_TEXTS = (
    "description",
    "receipt_email",
    "setup_future_usage",
    "statement_descriptor",
    "statement_descriptor_suffix",
)
_ONLY_WHEN_CONFIRMING = ("off_session", "return_url", "error_on_requires_action")


def _create(context: Context, _id: str, params: Params) -> Json:
    world = context.world
    check_amount(params["amount"], params["currency"])
    confirming = params.get("confirm", False)
    if not confirming:
        for name in _ONLY_WHEN_CONFIRMING:
            if name in params:
                message = f"You cannot set `{name}` without setting `confirm` to `true` when creating a PaymentIntent."
                raise invalid(message, param=name)
    method = None
    if "customer" in params:
        find_customer(world, params["customer"])
    if "payment_method" in params:
        method = method_for(world, params.get("customer"), params["payment_method"])
    intent = _new_intent(world, params, method)
    if not confirming:
        _keep_new(world, intent, method)
        return render(world, intent)
    if method is None:
        raise refused(MISSING_METHOD, code="payment_intent_unexpected_state")
    check_return_url(intent, params)
    _keep_new(world, intent, method)
    return carry_out(context, intent, method, params)


def _new_intent(world: World, params: Params, method: PaymentMethod | None) -> PaymentIntent:
    return PaymentIntent(
        **world.birth("pi"),
        amount=params["amount"],
        currency=params["currency"],
        status="requires_payment_method" if method is None else "requires_confirmation",
        customer=params.get("customer"),
        payment_method=None if method is None else method.id,
        payment_method_types=params.get("payment_method_types") or ["card"],
        allow_redirects=allowed_redirects(params),
        capture_method=params.get("capture_method", "automatic_async"),
        metadata=merged_metadata({}, params.get("metadata")),
        **{name: params[name] for name in _TEXTS if name in params},
    )


def _keep_new(world: World, intent: PaymentIntent, method: PaymentMethod | None) -> None:
    if method is not None:
        payment_methods.keep(world, method)
    world.add(world.payment_intents, intent)
    world.happened("payment_intent.created", world.payment_intents, intent)


def _confirm(context: Context, intent_id: str, params: Params) -> Json:
    intent = find(context.world.payment_intents, intent_id, param="intent", in_path=True)
    return confirm(context, intent, params)


def _retrieve(context: Context, intent_id: str, _params: Params) -> Json:
    world = context.world
    return render(world, find(world.payment_intents, intent_id, param="intent", in_path=True))


def _update(context: Context, intent_id: str, params: Params) -> Json:
    world = context.world
    intent = find(world.payment_intents, intent_id, param="intent", in_path=True)
    binding = [name for name in ("amount", "currency", "customer", "payment_method") if name in params]
    if binding and intent.status not in _CHANGEABLE:
        raise unexpected_state(
            world,
            intent,
            f"This PaymentIntent's {binding[0]} could not be updated because it has a status of {intent.status}. You "
            "may only update it while it is one of: requires_payment_method, requires_confirmation, requires_action.",
        )
    check_amount(params.get("amount", intent.amount), params.get("currency", intent.currency))
    customer: str | None = intent.customer
    if "customer" in params:
        customer = find_customer(world, params["customer"]).id
    method = None
    if "payment_method" in params:
        method = method_for(world, customer, params["payment_method"])
        payment_methods.keep(world, method)
        intent.payment_method, intent.status = method.id, "requires_confirmation"
    world.payment_intents.moved(intent, intent.customer, customer)
    intent.customer = customer
    for name in ("amount", "currency", *_TEXTS):
        if name in params:
            setattr(intent, name, params[name])
    if "metadata" in params:
        intent.metadata = merged_metadata(intent.metadata, params["metadata"])
    # "It is cleared if the PaymentIntent is later updated for any reason", says Stripe of last_payment_error
    # (https://docs.stripe.com/api/payment_intents/object).
    intent.last_error = None
    world.changed(world.payment_intents, intent)
    return render(world, intent)


def _cancel(context: Context, intent_id: str, params: Params) -> Json:
    world = context.world
    intent = find(world.payment_intents, intent_id, param="intent", in_path=True)
    if intent.status not in _CANCELABLE:
        raise unexpected_state(
            world,
            intent,
            f"You cannot cancel this PaymentIntent because it has a status of {intent.status}. Only a PaymentIntent "
            "with one of the following statuses may be canceled: requires_payment_method, requires_capture, "
            "requires_confirmation, requires_action, processing.",
        )
    intent.status = "canceled"
    intent.canceled_at = world.clock.unix()
    intent.cancellation_reason = params.get("cancellation_reason")
    world.changed(world.payment_intents, intent)
    world.happened("payment_intent.canceled", world.payment_intents, intent)
    return render(world, intent)


def _list(context: Context, _id: str, params: Params) -> Json:
    world = context.world
    intents = world.payment_intents
    items = intents.ordered
    if "customer" in params:
        items = intents.of_customer(find_customer(world, params["customer"]).id)
    return page(intents, items, params, lambda intent: render(world, intent), "/v1/payment_intents")


_amount = integer(1, MAX_AMOUNT, too_large="amount_too_large")
_AUTOMATIC = Spec({"enabled": boolean, "allow_redirects": choice("always", "never")}, required=("enabled",))
_FIELDS: dict[str, Check] = {
    "amount": _amount,
    "currency": currency,
    "customer": text(),
    "payment_method": text(),
    "payment_method_types": array(choice("card")),
    "description": text(1000, clearable=True),
    "receipt_email": email(800, clearable=True),
    "setup_future_usage": choice("off_session", "on_session", clearable=True),
    "statement_descriptor": text(22, clearable=True),
    "statement_descriptor_suffix": text(22, clearable=True),
    "metadata": metadata,
    **expandable("payment_intent"),
}
_CONFIRMING: dict[str, Check] = {
    "off_session": off_session,
    "return_url": text(),
    "error_on_requires_action": boolean,
    "use_stripe_sdk": boolean,
}
_NOT_PLAYED = words(
    "allowed_payment_method_types amount_details amount_to_confirm application_fee_amount capture_method client_secret "
    "confirmation_token customer_account excluded_payment_method_types hooks mandate mandate_data on_behalf_of "
    "payment_details payment_method_configuration payment_method_data payment_method_options radar_options shipping "
    "transfer_data transfer_group"
)
_CREATE = Spec(
    {
        **_FIELDS,
        **_CONFIRMING,
        "confirm": boolean,
        "automatic_payment_methods": nested(_AUTOMATIC),
        "capture_method": choice("automatic", "automatic_async"),
        "confirmation_method": choice("automatic"),
    },
    required=("amount", "currency"),
    not_played=_NOT_PLAYED,
)
_CONFIRM = Spec(
    {
        **_CONFIRMING,
        **{
            name: _FIELDS[name]
            for name in ("payment_method", "receipt_email", "setup_future_usage", "expand")
        },
    },
    not_played=_NOT_PLAYED | words("payment_method_types"),
)
_CANCEL = Spec(
    {
        "cancellation_reason": choice("abandoned", "duplicate", "fraudulent", "requested_by_customer"),
        **expandable("payment_intent"),
    }
)
_RETRIEVE = Spec({"client_secret": text(), **expandable("payment_intent")})
_LIST = list_spec("payment_intent", words("customer_account"), created=created, customer=text())

OPERATIONS = (
    Operation("payment_intents.create", "POST", "/v1/payment_intents", _CREATE, _create),
    Operation("payment_intents.list", "GET", "/v1/payment_intents", _LIST, _list),
    Operation("payment_intents.retrieve", "GET", "/v1/payment_intents/{id}", _RETRIEVE, _retrieve),
    Operation(
        "payment_intents.update",
        "POST",
        "/v1/payment_intents/{id}",
        Spec(_FIELDS, not_played=_NOT_PLAYED),
        _update,
    ),
    Operation("payment_intents.confirm", "POST", "/v1/payment_intents/{id}/confirm", _CONFIRM, _confirm),
    Operation("payment_intents.cancel", "POST", "/v1/payment_intents/{id}/cancel", _CANCEL, _cancel),
)
