"""Settings with which no call must ever be made."""

import pytest

from middleman.adapters.stripe.config import StripeConfig, StripeConfigError


@pytest.mark.parametrize("key", ["sk_live_1", "rk_live_1"])
def test_a_live_key_is_refused_and_not_quoted(key: str) -> None:
    with pytest.raises(StripeConfigError, match="live key and is refused") as refusal:
        StripeConfig(key)
    assert key not in str(refusal.value)


@pytest.mark.parametrize(
    "key", ["pk_test_1", "secret", "sk_test_1\r\nX-Other: 1", "sk_test_a b", "sk_test_é"]
)
def test_what_is_no_test_key_is_refused_and_not_quoted(key: str) -> None:
    with pytest.raises(StripeConfigError, match="sk_test_ or rk_test_") as refusal:
        StripeConfig(key)
    assert key not in str(refusal.value)


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(StripeConfigError, match="is empty"):
        StripeConfig("")


@pytest.mark.parametrize("base", ["localhost:1", "ftp://host", "https://", "/v1"])
def test_a_base_that_is_no_http_url_is_refused(base: str) -> None:
    with pytest.raises(StripeConfigError, match="API base"):
        StripeConfig("sk_test_1", base)


def test_bounds_must_be_above_zero() -> None:
    with pytest.raises(StripeConfigError, match="call_timeout_s"):
        StripeConfig("sk_test_1", call_timeout_s=0)
    with pytest.raises(StripeConfigError, match="concurrency"):
        StripeConfig("sk_test_1", concurrency=0)


def test_the_key_is_not_shown_and_stripe_is_the_default() -> None:
    config = StripeConfig("sk_test_secret")
    assert "secret" not in repr(config)
    assert config.base_url == "https://api.stripe.com"
    assert StripeConfig("rk_test_1", "http://127.0.0.1:1/").base_url == "http://127.0.0.1:1"
