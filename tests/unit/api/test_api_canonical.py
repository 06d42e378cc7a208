"""One document, however it is written, has one canonical form; two documents never share one."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleman.entrypoints.api.canonical import canonical

numbers = st.integers(-(10**25), 10**25) | st.floats(allow_nan=False, allow_infinity=False)
documents = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def shuffled(document: object, dice: random.Random) -> object:
    if isinstance(document, dict):
        names = list(document)
        dice.shuffle(names)
        return {name: shuffled(document[name], dice) for name in names}
    return [shuffled(each, dice) for each in document] if isinstance(document, list) else document


@given(documents, st.randoms(use_true_random=False), st.booleans())
def test_order_spaces_and_escapes_make_no_difference(
    document: object, dice: random.Random, escaped: bool
) -> None:
    written = json.dumps(shuffled(document, dice), indent=2, ensure_ascii=escaped).encode(
        "utf-8", "surrogatepass"
    )
    assert canonical(written) == canonical(json.dumps(document).encode())


@given(documents)
def test_the_form_reads_as_the_document_so_two_documents_never_share_one(document: object) -> None:
    read = json.loads(canonical(json.dumps(document).encode()))
    assert typed(read) == typed(document)


def typed(document: object) -> object:
    """With booleans apart from numbers, which Python takes for equal."""
    if isinstance(document, dict):
        return {name: typed(each) for name, each in document.items()}
    if isinstance(document, list):
        return [typed(each) for each in document]
    return (isinstance(document, bool), document)


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "1.0"), ("1", "1e0"), ("100", "1E2"), ("0", "-0.0"), ('"A"', '"\\u0041"'), ("0.5", "5e-1")],
)
def test_spellings_of_one_value_have_one_form(one: str, other: str) -> None:
    assert canonical(one.encode()) == canonical(other.encode())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", '"1"'),
        ("1", "true"),
        ("9007199254740992", "9007199254740993"),
        ("9007199254740992", "9007199254740992.0"),
        ('{"a":null}', "{}"),
        ("[1,2]", "[2,1]"),
        ('{"a":1,"a":2}', '{"a":2,"a":1}'),
        ('{"a":1,"a":2}', '{"a":2}'),
        ("", "null"),
    ],
)
def test_values_that_differ_have_forms_that_differ(one: str, other: str) -> None:
    assert canonical(one.encode()) != canonical(other.encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"NaN",
        b"[1e999]",
        b'{"a":1,"a":1}',
        b"[" * 60_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"9" * 5000,
    ],
)
def test_what_has_no_single_meaning_is_taken_byte_for_byte(body: bytes) -> None:
    assert canonical(body) == body
