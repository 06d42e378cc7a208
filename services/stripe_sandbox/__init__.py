"""A Stripe-compatible payment processor in one process, for demonstrations and tests.

It speaks Stripe's HTTP dialect (form-encoded requests, JSON answers, idempotency keys, signed webhooks) for the
part of the API that a subscription business needs, keeps a durable ledger of its own, and fails on demand. It
knows nothing of who calls it.

How a request travels::

    http.Connection ─ parse ─▶ app.Sandbox ─ auth, rate limit, faults, key reserved ─▶ operation (synchronous,
    in memory) ─▶ one SQLite transaction for everything of this turn of the event loop ─▶ replies leave

No reply leaves before what it says is committed, so a killed sandbox never forgets what it told.
"""
