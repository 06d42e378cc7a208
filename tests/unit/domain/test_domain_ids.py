"""The names of debts, and the keys that are made of them."""

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
