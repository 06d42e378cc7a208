"""Stripe's JSON of any object."""

from stripe_sandbox.model import Charge, Customer, PaymentIntent, PaymentMethod, Record, Refund, SetupIntent
from stripe_sandbox.operation import Json
from stripe_sandbox.resources import (
    charges,
    customers,
    payment_intents_json,
    payment_methods,
    refunds,
    setup_intents,
)
from stripe_sandbox.world import World


def render(world: World, record: Record) -> Json:
    """The JSON of a record, of whatever kind."""
    match record:
        case Customer():
            return customers.render(record)
        case PaymentMethod():
            return payment_methods.render(record)
        case PaymentIntent():
            return payment_intents_json.render(world, record)
        case Charge():
            return charges.render(world, record)
        case SetupIntent():
            return setup_intents.render(world, record)
        case Refund():
            return refunds.render(record)
        case _:
            raise AssertionError(f"nobody renders a {type(record).__name__}")
