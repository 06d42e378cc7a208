"""The PaymentProcessor on Stripe's API."""
