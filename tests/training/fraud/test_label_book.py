"""What was known of each transaction at a moment, whoever said it and whatever was said later."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.fraud.label_book import NEVER, LabelBook

IDS = np.array([30, 10, 20, 40])
EPOCH = datetime(1970, 1, 1)
Label = tuple[int, str, bool, float]  # transaction, source, fraud, day of arrival


def table(*labels: Label) -> pd.DataFrame:
    rows = [(row, source, fraud, EPOCH + timedelta(days=day)) for row, source, fraud, day in labels]
    frame = pd.DataFrame(rows, columns=["transaction_id", "source", "is_fraud", "arrived_at"])
    return frame.astype({"transaction_id": np.int64, "is_fraud": bool, "arrived_at": "datetime64[us]"})


def book(*labels: Label) -> LabelBook:
    return LabelBook.of(IDS, table(*labels))


def test_a_label_is_known_only_after_it_arrived() -> None:
    """At the very moment of its arrival it is not known yet, and it is known from then on."""
    found = book((10, "chargeback", True, 5.5))
    assert found.fraud_known(5.5).tolist() == [False, False, False, False]
    assert found.fraud_known(5.51).tolist() == [False, True, False, False]
    assert found.looked_at(5.5).tolist() == [False, False, False, False]
    assert found.looked_at(5.51).tolist() == [False, True, False, False]


def test_labels_stand_in_the_order_of_the_transactions() -> None:
    """Whatever the order of either; what nobody spoke of is said by nobody, and never."""
    said = book((40, "a", False, 3), (30, "a", True, 1), (10, "a", True, 2)).said("a")
    assert said.fraud.tolist() == [1, 1, -1, 0]
    assert said.at.tolist() == [1.0, 2.0, NEVER, 3.0]
    assert said.by(2.5).tolist() == [1, 1, -1, -1]
    assert said.by(2.5, slice(1, 3)).tolist() == [1, -1]


def test_one_source_that_calls_it_fraud_is_enough() -> None:
    """An analyst who cleared it does not outweigh a chargeback."""
    found = book((10, "analyst_a", False, 1), (10, "chargeback", True, 2), (20, "analyst_a", False, 1))
    assert found.fraud_known(9).tolist() == [False, True, False, False]
    assert found.looked_at(9).tolist() == [False, True, True, False]


def test_gold_overrides_whatever_else_was_said() -> None:
    """Once it has arrived, and in either direction."""
    found = book(
        (10, "chargeback", True, 1), (10, "audit", False, 5), (20, "analyst_a", False, 1), (20, "audit", True, 5)
    )  # fmt: skip
    assert found.fraud_known(5).tolist() == [False, True, False, False]
    assert found.fraud_known(6).tolist() == [False, False, True, False]


def test_a_source_can_be_left_out() -> None:
    """What is known without chargebacks is what the others say."""
    found = book((10, "chargeback", True, 1), (20, "analyst_a", True, 1))
    assert found.fraud_known(9, without=("chargeback",)).tolist() == [False, False, True, False]
    assert found.looked_at(9, without=("chargeback",)).tolist() == [False, False, True, False]
    assert found.looked_at(9, slice(0, 2), without=("chargeback", "analyst_a")).tolist() == [False, False]


def test_what_one_source_contradicts_is_left_out_and_counted() -> None:
    """It says both, so it says nothing; what others say of the same transaction stays."""
    found = book(
        (10, "analyst_a", True, 1), (10, "analyst_a", False, 2), (20, "analyst_a", True, 1), (10, "analyst_b", True, 3)
    )  # fmt: skip
    assert found.contradictory == 1
    assert found.said("analyst_a").by(9).tolist() == [-1, -1, 1, -1]
    assert found.said("analyst_b").by(9).tolist() == [-1, 1, -1, -1]


def test_two_sources_that_differ_do_not_contradict_themselves() -> None:
    """Nor does one that says the same twice: the first time counts."""
    found = book((10, "a", True, 1), (10, "b", False, 2), (20, "a", True, 7), (20, "a", True, 4))
    assert found.contradictory == 0
    assert found.said("a").at.tolist() == [NEVER, 1.0, 4.0, NEVER]


def test_labels_of_unknown_transactions_are_counted() -> None:
    """And move nothing that is known, whether their ids are below, between or above the others."""
    found = book((5, "a", True, 1), (25, "a", True, 1), (99, "a", True, 1), (20, "a", True, 1))
    assert found.unknown == 3
    assert found.fraud_known(9).tolist() == [False, False, True, False]


@pytest.mark.parametrize(("ids", "unknown"), [(IDS, 0), (np.empty(0, np.int64), 1)])
def test_a_book_of_nothing_says_nothing(ids: np.ndarray, unknown: int) -> None:
    """Without labels, and without transactions."""
    found = LabelBook.of(ids, table(*[(10, "a", True, 1.0)] * unknown))
    assert found.unknown == unknown
    assert not found.fraud_known(NEVER).any()
    assert not found.looked_at(NEVER).any()
    assert found.said("nobody").fraud.tolist() == [-1] * len(ids)


SOURCES = ("analyst_a", "analyst_b", "chargeback", "audit")
AS_OF = 10.0


def spoken(first: float, last: float) -> st.SearchStrategy[list[Label]]:
    """Labels that arrive on days of a range, some of transactions that nobody knows."""
    label = st.tuples(
        st.sampled_from([10, 20, 30, 40, 99]), st.sampled_from(SOURCES), st.booleans(), st.floats(first, last)
    )
    return st.lists(label, max_size=12)


def known(found: LabelBook) -> tuple[list[bool], list[bool]]:
    return found.fraud_known(AS_OF).tolist(), found.looked_at(AS_OF).tolist()


def consistent(labels: list[Label]) -> list[Label]:
    """Only what repeats the first word of each source on each transaction."""
    first: dict[tuple[int, str], bool] = {}
    for row, source, fraud, _ in labels:
        first.setdefault((row, source), fraud)
    return [label for label in labels if first[label[:2]] == label[2]]


@given(before=spoken(0, 9.9), later=spoken(AS_OF, 30))
def test_what_arrives_later_changes_nothing_that_was_known(before: list[Label], later: list[Label]) -> None:
    """A day that is replayed knows what it knew, as long as no source contradicts itself."""
    every = consistent([*before, *later])
    earlier = [label for label in every if label[3] < AS_OF]
    assert known(book(*every)) == known(book(*earlier))


def test_a_later_contradiction_changes_nothing_that_was_known() -> None:
    """What one source takes back later was known until then."""
    word, taken_back = (10, "analyst_a", True, 1.0), (10, "analyst_a", False, 20.0)
    assert known(book(word, taken_back)) == known(book(word))


@given(labels=spoken(0, 30), seed=st.integers(0, 99))
def test_the_order_of_labels_does_not_matter(labels: list[Label], seed: int) -> None:
    """Moments decide, not lines of a file."""
    shuffled = [labels[row] for row in np.random.default_rng(seed).permutation(len(labels))]
    assert known(book(*shuffled)) == known(book(*labels))
    assert book(*shuffled).contradictory == book(*labels).contradictory
