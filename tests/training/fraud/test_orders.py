"""What the watch ordered about learning follows from the decisions alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.fraud.small_days import ordered
from training.fraud.examples import MATURE_DAYS
from training.fraud.orders import QUARANTINED_DAYS, Orders, orders_after
from training.vocabulary import Decision, Evidence

NOW = datetime(2025, 11, 3)


def days_ago(days: float, *, frozen: bool = False, quarantined: str = "", **changed: object) -> Decision:
    return replace(ordered(NOW - timedelta(days=days), frozen=frozen, quarantined=quarantined), **changed)


FROZEN, FREE = Orders(True), Orders(False)
A, B = "analyst_a", "analyst_b"

TABLE: dict[str, tuple[list[Decision], Orders]] = {
    "nothing was decided": ([], FREE),
    "frozen today": ([days_ago(0, frozen=True)], FROZEN),
    "frozen long ago and not since": ([days_ago(400, frozen=True)], FROZEN),
    "freed since": ([days_ago(2, frozen=True), days_ago(1)], FREE),
    "frozen anew": ([days_ago(2), days_ago(1, frozen=True)], FROZEN),
    "an old question answered late": ([days_ago(0, frozen=True), days_ago(3, kind="human_approval")], FROZEN),
    "freed by a person": ([days_ago(1, frozen=True), days_ago(0, kind="human_approval")], FREE),
    "what is decided later is not known yet": ([days_ago(0), days_ago(-1, frozen=True)], FREE),
    "a watch that does not say": ([days_ago(1), days_ago(0, evidence=())], FROZEN),
    "evidence about a candidate is no order": ([days_ago(0, frozen=True, subject="fraud version 7")], FREE),
    "nor is what another kind of decision says": ([days_ago(0, frozen=True, kind="training_held")], FREE),
    "nor what is about another model": ([days_ago(0, frozen=True, subject="recommender")], FREE),
    "two sources named on two days": (
        [days_ago(9, quarantined=A), days_ago(5, quarantined=f"{B} {A}"), days_ago(0)],
        Orders(False, frozenset({A, B})),
    ),
    "named on the last day that counts": ([days_ago(QUARANTINED_DAYS - 1, quarantined=A)], Orders(False, frozenset({A}))),
    "named a day earlier": ([days_ago(QUARANTINED_DAYS, quarantined=A)], FREE),
    "named again": (
        [days_ago(QUARANTINED_DAYS, quarantined=A), days_ago(20, quarantined=A)],
        Orders(False, frozenset({A})),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_orders_follow_from_decisions(case: str) -> None:
    """The newest freezes or frees; every source named lately stays out."""
    decisions, orders = TABLE[case]
    assert orders_after(decisions, NOW) == orders


def test_a_quarantine_lasts_until_what_was_doubted_is_too_old_to_be_learned() -> None:
    """Eight weeks that are learned, and for a candidate in the shadow two more that are judged, each with time to mature."""
    assert QUARANTINED_DAYS == 56 + MATURE_DAYS + 14 + MATURE_DAYS


@given(st.lists(st.tuples(st.integers(0, 200), st.booleans(), st.sampled_from(["", A, B])), max_size=12))
def test_a_source_is_out_exactly_while_an_order_names_it(history: list[tuple[int, bool, str]]) -> None:
    """Whatever the order of the records."""
    log = [days_ago(age, frozen=frozen, quarantined=name) for age, frozen, name in history]
    lately = {name for age, _, name in history if age < QUARANTINED_DAYS and name}
    assert orders_after(log, NOW).quarantined == orders_after(log[::-1], NOW).quarantined == lately


def test_an_order_survives_the_log() -> None:
    """Through JSON and back it says the same."""
    decision = Decision.from_dict(days_ago(0, frozen=True, quarantined=A).to_dict())
    assert orders_after([decision], NOW) == Orders(True, frozenset({A}))
    assert decision.evidence[0] == Evidence("training_frozen", True, "the watch")


def test_days_that_were_delivered_wrong_stay_out() -> None:
    """Each day that a quarantine of a batch named, for as long as it could be learned from."""
    named = [
        days_ago(
            age,
            evidence=(Evidence("training_frozen", True, "the watch"), Evidence("quarantined_days", day, "the watch")),
        )
        for age, day in ((QUARANTINED_DAYS, "2025-08-10"), (20, "2025-10-13"), (19, "2025-10-14"))
    ]
    found = orders_after([*named, days_ago(0)], NOW)
    assert found.quarantined_days == {date(2025, 10, 13), date(2025, 10, 14)}
    assert not found.training_frozen
