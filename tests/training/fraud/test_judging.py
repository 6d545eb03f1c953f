"""A fraud candidate and its rival are measured on the same payments, day by day, by what is known of them."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.fraud.judging import (
    Gold,
    Matured,
    Operation,
    Scored,
    amount_alone,
    daily_loss,
    gold_evidence,
    held_out_evidence,
    label_evidence,
    matured_evidence,
)
from training.fraud.label_book import LabelBook
from training.fraud.review_queue import in_queue
from training.vocabulary import Evidence

ONE_REVIEW = Operation(capacity=1, blocked_above=0.5, blocked_good=8.0, recovered=0.8)
EPOCH = datetime(1970, 1, 1)


def payments(candidate: list[float], rival: list[float], amount: float = 10.0) -> Scored:
    """Four a day, all of one amount."""
    rows = np.arange(len(candidate))
    return Scored(rows, rows // 4, np.full(len(rows), amount), np.array(candidate), np.array(rival))


def matured(scored: Scored, fraud: list[int], weights: list[float] | None = None) -> Matured:
    return Matured(scored, np.array(fraud) == 1, np.array(weights or [1.0] * len(fraud)))


FIRST, LAST = [0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]
"""Scores that put the first, or the last, of four payments on top."""
FRAUD = [1, 0, 0, 0]


def measured(rows: Matured, seed: int = 0) -> dict[str, Evidence]:
    return matured_evidence(rows, ONE_REVIEW, "champion", seed=seed)


def interval(item: Evidence) -> tuple[object, ...]:
    return item.value, item.low, item.high, item.n


def test_the_better_order_has_the_higher_precision_and_recall() -> None:
    """Fraud on top has an average precision of 1, at the bottom of 1/4; one review finds it, or does not."""
    found = measured(matured(payments(FIRST * 3, LAST * 3), FRAUD * 3))
    assert interval(found["average_precision_diff_vs:champion"]) == (0.75, 0.75, 0.75, 3)
    assert interval(found["recall_at_capacity_diff_vs:champion"]) == (1.0, 1.0, 1.0, 3)
    assert (found["days_judged"].value, found["frauds_judged"].value) == (3, 3)


def test_a_model_beside_itself_differs_in_nothing() -> None:
    """Whatever is drawn: the bootstrap is paired."""
    found = measured(matured(payments((FIRST + LAST) * 2, (FIRST + LAST) * 2), FRAUD * 4))
    for name in ("average_precision_diff_vs", "recall_at_capacity_diff_vs", "loss_over"):
        assert interval(found[f"{name}:champion"]) == (0.0, 0.0, 0.0, 4)


def test_days_are_what_is_drawn_and_the_seed_says_which() -> None:
    """Better on two days of three and worse on one: the interval spans both, and is the same each time."""
    rows = matured(payments(FIRST * 2 + LAST, LAST * 2 + FIRST), FRAUD * 3)
    found = measured(rows)["recall_at_capacity_diff_vs:champion"]
    assert interval(found) == (pytest.approx(1 / 3), -1.0, 1.0, 3)
    assert measured(rows)["recall_at_capacity_diff_vs:champion"] == found
    assert found.source == "candidate minus champion, 12 matured payments of 3 days"


def test_days_without_fraud_count_for_money_only() -> None:
    """There is nothing to find on them, but good payments that are stopped cost what they cost."""
    stops = [0.9, 0.3, 0.2, 0.1]
    found = measured(matured(payments(FIRST + stops, LAST + LAST), [*FRAUD, 0, 0, 0, 0]))
    assert (found["days_judged"].value, found["days_judged"].n) == (1, 2)
    assert found["recall_at_capacity_diff_vs:champion"].n == 1
    # A day of the champion costs 10 and 0, of the candidate 2 (reviewed) and 8 (stopped).
    assert found["loss_over:champion"].value == pytest.approx(0.0)
    assert found["loss_over:champion"].n == 2


def test_fraud_that_stands_for_nothing_is_no_fraud_of_a_day() -> None:
    """Blocked, and seen by nobody who chose it for its score: a share of nothing is no recall."""
    found = measured(matured(payments(FIRST * 2, LAST * 2), FRAUD * 2, [1, 1, 1, 1, 0, 1, 1, 1]))
    assert found["days_judged"].value == 1
    assert interval(found["recall_at_capacity_diff_vs:champion"]) == (1.0, 1.0, 1.0, 1)


def test_what_each_stands_for_is_what_it_counts() -> None:
    """An explored fraud counts for ten in recall and in how much fraud there is, one that nobody could label for nothing."""
    rows = matured(payments(FIRST, LAST), [1, 1, 1, 1], [10, 1, 0, 1])
    found = measured(rows)
    assert found["recall_at_capacity_diff_vs:champion"].value == pytest.approx((10 - 1) / 12)
    assert found["expected_over_observed"].value == pytest.approx((10 * 0.4 + 0.3 + 0.1) / 12)


def test_without_fraud_there_is_no_evidence_of_finding_it() -> None:
    """None, not nought."""
    found = measured(matured(payments(FIRST, LAST), [0, 0, 0, 0]))
    for name in ("average_precision_diff_vs:champion", "recall_at_capacity_diff_vs:champion", "loss_over:champion"):
        assert found[name].value is None
    assert found["expected_over_observed"].value is None


@pytest.mark.parametrize("side", ["candidate", "rival"])
def test_a_score_that_is_none_leaves_no_evidence(side: str) -> None:
    """A model that cannot score a payment is not compared on the others."""
    scored = payments(FIRST, LAST)._replace(**{side: np.array([0.4, np.nan, 0.2, 0.1])})
    found = measured(matured(scored, FRAUD)) | gold_evidence(scored, gold([0]), ONE_REVIEW, "champion", seed=0)
    for name in ("average_precision_diff_vs", "recall_at_capacity_diff_vs", "loss_over", "gold_recall_diff_vs"):
        assert found[f"{name}:champion"].value is None


@pytest.mark.parametrize(
    ("score", "fraud", "lost"),
    [
        (FIRST, [0, 0, 0, 1], 100.0),  # gets through
        (FIRST, [1, 0, 0, 0], 20.0),  # reviewed in time
        ([0.5, 0.3, 0.2, 0.1], [1, 0, 0, 0], 0.0),  # stopped
        ([0.5, 0.3, 0.2, 0.1], [0, 1, 0, 0], 8.0 + 20.0),  # a good one stopped; what is stopped needs no review
    ],
)
def test_a_day_costs_what_gets_through_less_what_is_reviewed(score: list[float], fraud: list[int], lost: float) -> None:
    """Four payments of 100, one review that saves 80 %, 8 for a good payment that is stopped."""
    rows = matured(payments(score, score, 100.0), fraud)
    assert daily_loss(rows, rows.scored.candidate, ONE_REVIEW).tolist() == [pytest.approx(lost)]


def gold(ids: list[int], fraud: list[int] | None = None, drawn_with: list[float] | None = None) -> Gold:
    return Gold(
        np.array(ids), np.array(fraud or [1] * len(ids)) == 1, np.array(drawn_with or [0.01] * len(ids), np.float64)
    )


def gold_difference(audited: Gold, capacity: int = 1) -> Evidence:
    operation = Operation(capacity=capacity, blocked_above=0.5, blocked_good=8.0, recovered=0.8)
    scored = payments(FIRST * 2, LAST * 2)
    return gold_evidence(scored, audited, operation, "champion", seed=0)["gold_recall_diff_vs:champion"]


def test_gold_frauds_count_by_how_rarely_they_are_drawn() -> None:
    """One that was drawn with half the probability stands for twice as many."""
    alike = gold_difference(gold([0, 7]))
    assert (alike.value, alike.n) == (0.0, 2)
    rare_is_found = gold_difference(gold([0, 7], drawn_with=[0.005, 0.01]))
    assert rare_is_found.value == pytest.approx((2 - 1) / 3)


def test_only_frauds_of_the_days_at_hand_are_counted() -> None:
    """Good payments of the audit, and those of other days, say nothing about recall."""
    assert gold_difference(gold([0, 1, 99], [1, 0, 1])).n == 1
    assert interval(gold_difference(gold([1, 99], [0, 1]))) == (None, None, None, 0)


def test_the_queue_is_filled_from_all_payments_of_a_day() -> None:
    """A gold fraud that is second is found by two reviews, not by one."""
    assert gold_difference(gold([1])).value == 0.0
    assert gold_difference(gold([1]), capacity=2).value == 1.0


@given(
    days=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    capacity=st.integers(0, 6),
    seed=st.integers(0, 99),
)
def test_the_queue_holds_the_greatest_of_each_day(days: list[int], capacity: int, seed: int) -> None:
    """As many as there is capacity for, or all; nothing outside it is greater, in whatever order days come."""
    number, loss = np.array(days), np.random.default_rng(seed).integers(0, 5, len(days)).astype(float)
    queued = in_queue(loss, number, capacity)
    for day in set(days):
        inside, outside = loss[(number == day) & queued], loss[(number == day) & ~queued]
        assert len(inside) == min(capacity, days.count(day))
        assert inside.min(initial=np.inf) >= outside.max(initial=-np.inf)


def test_the_amount_alone_ranks_by_the_amount_and_stops_nothing() -> None:
    """Also as an expected loss, which multiplies it with the amount once more."""
    amount = np.array([5.0, 5_000.0, 50.0, 0.0])
    score = amount_alone(amount)
    assert np.argsort(score).tolist() == np.argsort(score * amount).tolist() == [3, 0, 2, 1]
    assert 0 <= score.min() <= score.max() < 0.01
    assert amount_alone(np.zeros(2)).tolist() == [0.0, 0.0]


LABELS = [
    (1, "chargeback", True, 8.0),
    (2, "chargeback", True, 9.0),
    (3, "chargeback", True, 31.0),  # not known yet
    (1, "analyst_a", True, 1.5),
    (4, "analyst_a", False, 2.5),
    (2, "analyst_b", True, 40.0),  # nothing known yet
    (1, "audit", True, 12.0),
    (2, "audit", False, 12.0),
    (4, "audit", False, 12.0),
]
DAYS = np.array([0, 1, 2, 3])


def labels(days: np.ndarray = DAYS, quarantined: tuple[str, ...] = (), *, frozen: bool = False) -> dict[str, Evidence]:
    rows = [(row, source, fraud, EPOCH + timedelta(days=day)) for row, source, fraud, day in LABELS]
    frame = pd.DataFrame(rows, columns=["transaction_id", "source", "is_fraud", "arrived_at"])
    frame = frame.astype({"arrived_at": "datetime64[us]"})
    book = LabelBook.of(np.array([1, 2, 3, 4]), frame)
    return label_evidence(book, days, 20.0, training_frozen=frozen, quarantined=quarantined)


def test_each_source_that_was_learned_from_is_held_against_gold() -> None:
    """By what was known at the time: sources that had said nothing yet contributed nothing."""
    found = labels()
    assert found["label_sources"].value == "analyst_a chargeback"
    chargeback, analyst = (found[f"contradicted_by_gold:{name}"] for name in ("chargeback", "analyst_a"))
    assert (chargeback.value, chargeback.n) == (0.5, 2)
    assert (analyst.value, analyst.n) == (0.0, 2)
    assert "contradicted_by_gold:analyst_b" not in found


def test_the_youngest_payment_is_as_old_as_the_end_of_its_day() -> None:
    """Of the fourth day (3), at the midnight that begins day 20, the last payment is 16 days old."""
    assert labels()["youngest_learned_days"].value == 16.0
    assert labels(np.empty(0, np.int64))["youngest_learned_days"].value is None


def test_what_the_watch_answered_is_passed_on() -> None:
    """A source in quarantine, and training that is frozen."""
    found = labels(quarantined=("chargeback",), frozen=True)
    assert found["training_frozen"].value is True
    assert (found["quarantined:chargeback"].value, found["quarantined:analyst_a"].value) == (True, False)


def test_payments_that_were_learned_from_are_counted() -> None:
    """Of those judged by."""
    found = held_out_evidence(np.array([1, 2, 3]), np.array([3, 4]))["judged_payments_learned"]
    assert (found.value, found.n) == (1, 3)
