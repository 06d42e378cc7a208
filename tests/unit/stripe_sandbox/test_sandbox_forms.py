"""Stripe's bracket syntax, its canonical form, and what validation makes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stripe_sandbox.errors import StripeError
from stripe_sandbox.forms import decode_form, decode_pairs, fingerprint
from stripe_sandbox.params import Spec, array, boolean, integer, merged_metadata, metadata, text


@pytest.mark.parametrize(
    ("encoded", "form"),
    [
        ("", {}),
        ("a=1&b=x+y%2Bz", {"a": "1", "b": "x y+z"}),
        ("a[]=1&a[]=2", {"a": ["1", "2"]}),
        ("a[1]=x&a[0]=y", {"a": ["y", "x"]}),
        ("a[1]=x&a[5]=y", {"a": {"1": "x", "5": "y"}}),
        ("m[k]=v&m[n][o]=p", {"m": {"k": "v", "n": {"o": "p"}}}),
        ("i[0][id]=x&i[1][id]=y", {"i": [{"id": "x"}, {"id": "y"}]}),
        ("a%5Bb%5D=c", {"a": {"b": "c"}}),
        ("a=&b", {"a": "", "b": ""}),
    ],
)
def test_brackets_nest_and_number(encoded: str, form: dict[str, object]) -> None:
    assert decode_form(decode_pairs(encoded)) == form


@pytest.mark.parametrize(
    ("encoded", "items"),
    [
        ("a[]=x&a[]=y", ["x", "y"]),
        ("a[1]=x&a[0]=y", ["y", "x"]),
        ("a[10]=x&a[9]=y", ["y", "x"]),
        ("&".join(f"a[{n}]={n}" for n in reversed(range(12))), [str(n) for n in range(12)]),
    ],
)
def test_an_array_comes_in_the_order_of_its_numbers(encoded: str, items: list[str]) -> None:
    spec = Spec({"a": array(text())})
    assert spec.parse(decode_form(decode_pairs(encoded))) == {"a": items}


@pytest.mark.parametrize("encoded", ["a=x", "a[k]=x", "a[0]=x&a[k]=y"])
def test_what_is_no_array_is_refused(encoded: str) -> None:
    with pytest.raises(StripeError, match="Invalid array"):
        Spec({"a": array(text())}).parse(decode_form(decode_pairs(encoded)))


@pytest.mark.parametrize("names", [("2024",), ("0", "1"), ("1", "0"), ("00", "7", "10"), ("2024", "plan")])
def test_metadata_keeps_its_names_even_where_they_are_numbers(names: tuple[str, ...]) -> None:
    encoded = "&".join(f"metadata[{name}]=v{name}" for name in names)
    parsed = Spec({"metadata": metadata}).parse(decode_form(decode_pairs(encoded)))
    assert parsed == {"metadata": {name: f"v{name}" for name in names}}


@given(st.text(alphabet="ab[]=&%+019", max_size=60))
def test_whatever_arrives_decodes_or_is_refused_with_400(encoded: str) -> None:
    refusal: StripeError | None = None
    form: object = None
    try:
        form = decode_form(decode_pairs(encoded))
    except StripeError as error:
        refusal = error
    assert isinstance(form, dict) if refusal is None else (refusal.status, refusal.remembered) == (400, False)


def test_the_fingerprint_ignores_the_order_of_names_and_minds_the_order_of_items() -> None:
    assert fingerprint([("a", "1"), ("b", "2")]) == fingerprint([("b", "2"), ("a", "1")])
    assert fingerprint([("a[]", "1"), ("a[]", "2")]) != fingerprint([("a[]", "2"), ("a[]", "1")])
    assert fingerprint([("a", "1")]) != fingerprint([("a", "2")])


@pytest.mark.parametrize(
    ("form", "param", "code"),
    [
        ({}, "amount", "parameter_missing"),
        ({"amount": "1e3"}, "amount", "parameter_invalid_integer"),
        ({"amount": "٣"}, "amount", "parameter_invalid_integer"),
        ({"amount": "11"}, "amount", "amount_too_large"),
        ({"amount": ["1"]}, "amount", "parameter_invalid_integer"),
        ({"amount": "5", "name": ""}, "name", "parameter_invalid_empty"),
        ({"amount": "5", "confirm": "yes"}, "confirm", None),
        ({"amount": "5", "other": "x"}, "other", "parameter_unknown"),
    ],
)
def test_a_wrong_parameter_is_named_with_stripes_code(
    form: dict[str, str], param: str, code: str | None
) -> None:
    checks = {"amount": integer(1, 10, too_large="amount_too_large"), "name": text(), "confirm": boolean}
    with pytest.raises(StripeError) as refused:
        Spec(checks, required=("amount",)).parse(dict(form))
    assert (refused.value.error.get("param"), refused.value.error.get("code")) == (param, code)
    assert not refused.value.remembered


def test_metadata_is_merged_and_empty_values_unset() -> None:
    assert merged_metadata({"a": "1", "b": "2"}, {"b": "", "c": "3"}) == {"a": "1", "c": "3"}
    assert merged_metadata({"a": "1"}, None) == {}
    assert metadata("metadata", "") is None
    with pytest.raises(StripeError, match="at most 50 keys"):
        metadata("metadata", {f"k{n}": "v" for n in range(51)})
