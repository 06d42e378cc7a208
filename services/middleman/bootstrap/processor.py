"""The payment processor that the settings choose: Stripe, or the sandbox that speaks its API."""
