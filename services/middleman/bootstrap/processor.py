"""The payment processor that the settings choose: Stripe, or the sandbox that speaks its API."""

import os

from middleman.adapters.failpoints import FailpointProcessor, ProcessFailpoints
from middleman.adapters.stripe.config import StripeConfig, StripeConfigError, chosen_proxy
from middleman.adapters.stripe.processor import StripeProcessor
from middleman.settings import ProcessorSettings, refuse


def processor(
    settings: ProcessorSettings,
    *,
    concurrency: int,
    max_waiting: int = 10_000,
    failpoints: ProcessFailpoints | None = None,
) -> StripeProcessor:
    """Connections for `concurrency` calls at once, and `max_waiting` more calls that wait for one of them.

    Call it inside a running event loop.

    A setting that cannot be used exits with status 2 and one line.
    """
    try:
        config = StripeConfig(
            settings.stripe_api_key.get_secret_value(),
            settings.stripe_api_base,
            chosen_proxy(settings.stripe_proxy.get_secret_value(), settings.stripe_api_base, os.environ),
            call_timeout_s=settings.processor_timeout_s,
            concurrency=concurrency,
            max_waiting=max_waiting,
        )
    except StripeConfigError as error:
        refuse(str(error))
    return StripeProcessor(config) if failpoints is None else FailpointProcessor(config, failpoints)
