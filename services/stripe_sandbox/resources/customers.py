"""Customers: whom payment intents and payment methods belong to."""

from stripe_sandbox.cards import by_payment_method_token
from stripe_sandbox.errors import refused
from stripe_sandbox.expansion import expandable
from stripe_sandbox.model import Customer, PaymentMethod
from stripe_sandbox.operation import Context, Json, Operation
from stripe_sandbox.params import (
    ADDRESS,
    Check,
    Params,
    Spec,
    email,
    merged_metadata,
    metadata,
    nested,
    text,
    words,
)
from stripe_sandbox.resources import payment_methods
from stripe_sandbox.resources.common import created, find, list_spec, page
from stripe_sandbox.world import World

_DEFAULT_METHOD = "invoice_settings[default_payment_method]"


def render(customer: Customer) -> Json:
    """Stripe's JSON of a customer; a deleted one is a stub."""
    if customer.deleted:
        return {"id": customer.id, "object": "customer", "deleted": True}
    return {
        "id": customer.id,
        "object": "customer",
        "address": _full(customer.address),
        "balance": 0,
        "created": customer.created,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": customer.description,
        "discount": None,
        "email": customer.email,
        "invoice_prefix": customer.id[-8:].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": customer.default_payment_method,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": customer.metadata,
        "name": customer.name,
        "next_invoice_sequence": 1,
        "phone": customer.phone,
        "preferred_locales": [],
        "shipping": None
        if customer.shipping is None
        else {"phone": None, **customer.shipping, "address": _full(customer.shipping.get("address"))},
        "tax_exempt": "none",
        "test_clock": None,
    }


def _full(address: Json | None) -> Json | None:
    return None if address is None else {**payment_methods.NO_ADDRESS, **address}


def _set_fields(customer: Customer, params: Params) -> None:
    for name in ("email", "name", "phone", "description", "address", "shipping"):
        if name in params:
            setattr(customer, name, params[name])
    if "metadata" in params:
        customer.metadata = merged_metadata(customer.metadata, params["metadata"])


def _default_method(
    world: World, customer: Customer, reference: str, attaching: tuple[str, PaymentMethod] | None = None
) -> str:
    """The id of the customer's payment method that `reference` means; raises where it is not theirs."""
    if attaching is not None and reference in (attaching[0], attaching[1].id):
        return attaching[1].id
    method = None
    if by_payment_method_token(reference) is None:
        method = payment_methods.usable(world, reference, param=_DEFAULT_METHOD)
    if method is None or method.customer != customer.id:
        raise refused(
            f"The customer does not have a payment method with the ID {reference}. The payment method must be "
            "attached to the customer.",
            code="resource_missing",
            param=_DEFAULT_METHOD,
        )
    return method.id


def _create(context: Context, _id: str, params: Params) -> Json:
    world = context.world
    customer = Customer(**world.birth("cus"))
    _set_fields(customer, params)
    attaching = None
    if "payment_method" in params:
        reference = params["payment_method"]
        attaching = (reference, payment_methods.usable(world, reference, param="payment_method"))
        payment_methods.check_attachable(attaching[1])
    default = params.get("invoice_settings", {}).get("default_payment_method")
    if default is not None:
        customer.default_payment_method = _default_method(world, customer, default, attaching)
    world.add(world.customers, customer)
    world.happened("customer.created", world.customers, customer)
    if attaching is not None:
        payment_methods.attach_to(world, attaching[1], customer)
    return render(customer)


def _live(world: World, customer_id: str) -> Customer:
    customer = find(world.customers, customer_id, param="id", in_path=True)
    if customer.deleted:
        raise refused(f"No such customer: '{customer_id}'", code="resource_missing", param="id")
    return customer


def _retrieve(context: Context, customer_id: str, _params: Params) -> Json:
    return render(find(context.world.customers, customer_id, param="id", in_path=True))


def _update(context: Context, customer_id: str, params: Params) -> Json:
    world = context.world
    customer = _live(world, customer_id)
    settings = params.get("invoice_settings", {})
    if "default_payment_method" in settings:
        default = settings["default_payment_method"]
        customer.default_payment_method = (
            None if default is None else _default_method(world, customer, default)
        )
    _set_fields(customer, params)
    world.changed(world.customers, customer)
    world.happened("customer.updated", world.customers, customer)
    return render(customer)


def _delete(context: Context, customer_id: str, _params: Params) -> Json:
    world = context.world
    customer = _live(world, customer_id)
    for method in list(world.payment_methods.of_customer(customer_id)):
        payment_methods.release(world, method)
    world.happened("customer.deleted", world.customers, customer)
    customer.deleted = True
    world.changed(world.customers, customer)
    return render(customer)


def _list(context: Context, _id: str, params: Params) -> Json:
    customers = context.world.customers
    email = params.get("email")
    return page(
        customers,
        customers.ordered,
        params,
        render,
        "/v1/customers",
        lambda customer: not customer.deleted and (email is None or customer.email == email),
    )


_SETTINGS = Spec(
    {"default_payment_method": text(clearable=True)},
    not_played=words("custom_fields footer rendering_options"),
)
_SHIPPING = Spec(
    {"address": nested(ADDRESS), "name": text(), "phone": text(clearable=True)}, required=("address", "name")
)
_FIELDS: dict[str, Check] = {
    "email": email(512, clearable=True),
    "name": text(256, clearable=True),
    "phone": text(20, clearable=True),
    "description": text(clearable=True),
    "address": nested(ADDRESS, clearable=True),
    "shipping": nested(_SHIPPING, clearable=True),
    "metadata": metadata,
    "invoice_settings": nested(_SETTINGS),
    **expandable("customer"),
}
_NOT_PLAYED = words(
    "balance business_name cash_balance individual_name invoice_prefix next_invoice_sequence preferred_locales source "
    "tax tax_exempt tax_id_data test_clock bank_account card default_source default_card default_bank_account "
    "default_alipay_account"
)

OPERATIONS = (
    Operation(
        "customers.create",
        "POST",
        "/v1/customers",
        Spec({**_FIELDS, "payment_method": text()}, not_played=_NOT_PLAYED),
        _create,
    ),
    Operation(
        "customers.list",
        "GET",
        "/v1/customers",
        list_spec("customer", words("test_clock"), created=created, email=text(512)),
        _list,
    ),
    Operation("customers.retrieve", "GET", "/v1/customers/{id}", Spec(expandable("customer")), _retrieve),
    Operation(
        "customers.update", "POST", "/v1/customers/{id}", Spec(_FIELDS, not_played=_NOT_PLAYED), _update
    ),
    Operation("customers.delete", "DELETE", "/v1/customers/{id}", Spec(), _delete),
)
