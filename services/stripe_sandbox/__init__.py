"""A Stripe-compatible payment processor for the demo and the tests."""
