"""Small parts: signatures, retry delays, rate limits, cards."""

import pytest
import stripe

from stripe_sandbox.cards import CARDS, by_number, by_payment_method_token, by_source_token
from stripe_sandbox.currencies import check_amount
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ratelimit import RateLimit
from stripe_sandbox.webhooks import MAX_RETRY_S, retry_delay_s, sign


def test_a_signature_passes_stripes_own_verifier() -> None:
    header = sign(b'{"a":1}', "whsec_x", 1_000_000_000)
    verify = stripe.WebhookSignature.verify_header
    assert verify('{"a":1}', header, "whsec_x", None)  # type: ignore[no-untyped-call,unused-ignore]  # untyped in some SDK versions
    with pytest.raises(stripe.SignatureVerificationError):
        verify('{"a":2}', header, "whsec_x", None)  # type: ignore[no-untyped-call,unused-ignore]  # untyped in some SDK versions


def test_retry_delays_grow_and_stay_bounded() -> None:
    assert all(0.25 <= retry_delay_s(1) <= 0.75 for _ in range(100))
    assert all(MAX_RETRY_S / 2 <= retry_delay_s(10_000) <= MAX_RETRY_S * 1.5 for _ in range(100))


def test_a_bucket_lets_a_second_of_requests_through_and_refills() -> None:
    now_s = 0.0
    limit = RateLimit(2, lambda: now_s)
    limit.check("a")
    limit.check("a")
    with pytest.raises(StripeError) as limited:
        limit.check("a")
    assert limited.value.status == 429
    limit.check("b")
    now_s = 0.5
    limit.check("a")


@pytest.mark.parametrize(
    ("amount", "currency", "message"),
    [
        (49, "usd", "Amount must be at least $0.50 usd"),
        (29, "gbp", "Amount must be at least \N{POUND SIGN}0.30 gbp"),
        (49, "jpy", "Amount must be at least \N{YEN SIGN}50 jpy"),
        (199, "aed", "Amount must be at least 2.00 aed"),
    ],
)
def test_an_amount_too_small_is_told_the_least_that_is_charged(
    amount: int, currency: str, message: str
) -> None:
    with pytest.raises(StripeError) as refused:
        check_amount(amount, currency)
    assert refused.value.error["message"] == message
    assert not refused.value.remembered
    check_amount(amount + 1, currency)


def test_tokens_and_numbers_name_the_same_cards() -> None:
    assert (
        by_payment_method_token("pm_card_visa")
        == by_source_token("tok_visa")
        == by_number("4242 4242-42424242")
    )
    assert by_payment_method_token("pm_card_visa_chargeDeclined") == by_payment_method_token(
        "pm_card_chargeDeclined"
    )
    assert by_payment_method_token("pm_card_none") is None
    assert by_payment_method_token("pm_123") is None
    assert CARDS["chargeCustomerFail"].on_attach is None
    assert CARDS["chargeCustomerFail"].on_charge is not None
