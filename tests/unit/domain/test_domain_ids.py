"""The names of debts, and the keys that are made of them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleman.domain.idempotency import (
    MAX_KEY_LENGTH,
    attach_key,
    checked_key,
    confirm_key,
    create_key,
    customer_key,
)
from middleman.domain.ids import (
    AttemptId,
    CustomerId,
    InvoiceId,
    SubscriptionId,
    attempt_id,
    id_of_request,
    invoice_id,
)

stems = st.text("ab01_", min_size=1, max_size=6)
numbers = st.integers(0, 120)
debts = st.tuples(stems, numbers, st.integers(1, 20))


def _names(debt: tuple[str, int, int]) -> tuple[InvoiceId, AttemptId]:
    stem, period_no, attempt_no = debt
    invoice = invoice_id(SubscriptionId(f"sub_{stem}"), period_no)
    return invoice, attempt_id(invoice, attempt_no)


def test_an_invoice_is_named_after_its_subscription_and_period() -> None:
    assert invoice_id(SubscriptionId("sub_01ABC"), 0) == "in_01ABC_0"
    assert invoice_id(SubscriptionId("sub_01ABC"), 12) == "in_01ABC_12"


def test_the_name_of_what_a_request_makes_never_changes() -> None:
    # Stored data: another value here would make a repeated request into a new one.
    made = id_of_request("sub_", "key_01jd8x3v9k2m4n5p6q7r8s9t0v", "ada-premium-1")
    assert made == "sub_2wq8b828av7c8b38d6x5yk0ybb"
    assert made != id_of_request("sub_", "key_01jd8x3v9k2m4n5p6q7r8s9t0w", "ada-premium-1")
    assert made[4:] != id_of_request("cu_", "key_01jd8x3v9k2m4n5p6q7r8s9t0v", "ada-premium-1")[3:]


@given(
    st.text(st.characters(codec="ascii", min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)
)
def test_the_name_of_what_a_request_makes_has_the_form_of_an_id(key: str) -> None:
    made = id_of_request("cu_", "key_1", key)
    assert re.fullmatch("cu_[0-7][0-9a-hjkmnp-tv-z]{25}", made)
    assert made == id_of_request("cu_", "key_1", key)


@pytest.mark.parametrize("parts", [("", "k", "x"), ("cu_", "", "x"), ("cu_", "k", ""), ("cu_", "k\0x", "y")])
def test_a_name_needs_all_its_parts_and_none_can_run_into_the_next(parts: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError, match="an id needs"):
        id_of_request(*parts)


def test_an_attempt_is_named_after_its_invoice_and_number() -> None:
    assert attempt_id(InvoiceId("in_01ABC_12"), 1) == "at_01ABC_12_1"


@given(debts, debts)
def test_two_debts_share_a_name_only_if_they_are_one(
    one: tuple[str, int, int], other: tuple[str, int, int]
) -> None:
    (invoice, attempt), (other_invoice, other_attempt) = _names(one), _names(other)

    assert (invoice == other_invoice) == (one[:2] == other[:2])
    assert (attempt == other_attempt) == (one == other)


@pytest.mark.parametrize("name", ["", "sub_", "in_1", "01ABC", "SUB_1"])
def test_a_malformed_subscription_id_makes_no_invoice_id(name: str) -> None:
    with pytest.raises(ValueError, match="subscription id"):
        invoice_id(SubscriptionId(name), 0)


def test_periods_count_from_zero_and_attempts_from_one() -> None:
    with pytest.raises(ValueError, match="counts from 0"):
        invoice_id(SubscriptionId("sub_1"), -1)
    with pytest.raises(ValueError, match="counts from 1"):
        attempt_id(InvoiceId("in_1_0"), 0)


def test_a_key_is_a_verb_and_an_id_and_nothing_else() -> None:
    assert create_key(InvoiceId("in_1_0")) == "middleman-create-in_1_0"
    assert confirm_key(AttemptId("at_1_0_1")) == "middleman-confirm-at_1_0_1"
    assert customer_key(CustomerId("cus_1")) == "middleman-customer-cus_1"
    assert attach_key(CustomerId("cus_1"), "req_9") == "middleman-attach-cus_1-req_9"


def test_a_key_needs_something_that_it_is_about() -> None:
    with pytest.raises(ValueError, match="needs the id"):
        create_key(InvoiceId(""))
    with pytest.raises(ValueError, match="needs the id"):
        attach_key(CustomerId("cus_1"), "")


@pytest.mark.parametrize("key", ["", " ", "\t\n"])
def test_an_empty_key_is_refused_since_the_sdk_would_replace_it(key: str) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        checked_key(key)


def test_a_key_has_at_most_255_characters() -> None:
    assert checked_key("k" * MAX_KEY_LENGTH) == "k" * 255
    with pytest.raises(ValueError, match="255"):
        checked_key("k" * 256)
