"""Who answers whom: the same slot for the same customer, and two slices that can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.release import Traffic
from serving.routing import CANARY, CONTROL, Route, place_of, route

CUSTOMERS = st.text(max_size=40)
SHARES = st.floats(0, 1)
SMALL_SHARES = st.floats(0, 0.5)


def canary_of(share: float) -> Traffic:
    return Traffic("canary", share)


@pytest.mark.parametrize(
    ("user_id", "place"),
    [
        ("17850", 0.8238798269920123),
        ("u1", 0.9657129857360405),
        ("", 0.23851282844244112),
        ("Zoë 🦊", 0.6646073632422687),
    ],
)
def test_a_customers_place_is_the_same_on_every_process_and_day(user_id: str, place: float) -> None:
    """A hash that were seeded anew by each process, or another salt, would give other numbers than these."""
    assert place_of(user_id) == place


@given(CUSTOMERS)
def test_a_place_lies_between_none_and_all(user_id: str) -> None:
    """At a share of 0 nobody is in the canary, and at 1 everybody is."""
    assert route(user_id, canary_of(0)) != CANARY
    assert route(user_id, canary_of(1)) == CANARY


@given(CUSTOMERS, SHARES, SHARES)
def test_a_canary_customer_stays_one_while_the_share_grows(user_id: str, one: float, other: float) -> None:
    """Nobody is sent to and fro between two models."""
    smaller, larger = sorted((one, other))
    if route(user_id, canary_of(smaller)) == CANARY:
        assert route(user_id, canary_of(larger)) == CANARY


@given(CUSTOMERS, SHARES, SHARES)
def test_a_control_customer_stays_one_until_the_canary_reaches_them(user_id: str, one: float, other: float) -> None:
    """Up to a share of one half it never does, and beyond it nobody falls out of the count."""
    smaller, larger = sorted((one, other))
    if route(user_id, canary_of(smaller)) == CONTROL:
        assert route(user_id, canary_of(larger)) in ((CONTROL,) if larger <= 0.5 else (CONTROL, CANARY))


@given(CUSTOMERS, SMALL_SHARES, SMALL_SHARES)
def test_nobody_is_in_the_canary_and_in_the_control(user_id: str, one: float, other: float) -> None:
    """Up to a share of one half not even at different shares: who is compared with whom never changes sides."""
    assert {route(user_id, canary_of(share)) for share in (one, other)} != {CANARY, CONTROL}


SHAPES: dict[str, Callable[[int], str]] = {
    "numbers in a row": str,
    "numbers with zeros": lambda n: f"{n:012}",
    "every thousandth": lambda n: str(1000 * n),
    "hexadecimal": lambda n: hashlib.md5(str(n).encode()).hexdigest(),
    "addresses": lambda n: f"customer.{n}@example.com",
    "far apart, at the end": lambda n: "x" * 100 + f"{n:05}",
    "one letter, repeated": lambda n: "a" * n if n < 500 else f"a{n}",
    "other scripts": lambda n: f"顧客 {n} 🦊",
    "blanks and breaks": lambda n: f" \t\n{n}\n",
}


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_slices_are_as_large_as_the_share_whatever_ids_look_like(shape: str, share: float) -> None:
    """Of 20,000 customers each slice holds its share, within four standard deviations of chance."""
    routes = [route(SHAPES[shape](n), canary_of(share)) for n in range(20_000)]
    allowed = 4 * (20_000 * share * (1 - share)) ** 0.5
    assert routes.count(CANARY) == pytest.approx(20_000 * share, abs=allowed)
    assert routes.count(CONTROL) == pytest.approx(20_000 * share, abs=allowed)


@given(st.sampled_from(["none", "shadow", "canary"]), SHARES)
def test_whoever_has_no_id_is_answered_by_the_champion(mode: str, share: float) -> None:
    """An anonymous visitor could not be kept in a slice, and is counted in none."""
    assert route(None, Traffic(mode, share)) == Route("champion", "rest")  # type: ignore[arg-type]


@given(CUSTOMERS, st.sampled_from(["none", "shadow"]), SHARES)
def test_without_a_canary_nobody_is_routed_away(user_id: str, mode: str, share: float) -> None:
    """In the shadow the challenger gets copies, whatever share is written beside it."""
    assert route(user_id, Traffic(mode, share)) == Route("champion", "rest")  # type: ignore[arg-type]
