"""What is learned of payments depends on what trusted sources had said by a moment, and on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from training.fraud.examples import Decided, Examples, Payments, examples_of

EPOCH = datetime(1970, 1, 1)
NOW = 20.0
ROWS = 12
SOURCES = ("chargeback", "analyst_a", "analyst_b")

Label = tuple[int, str, bool, float]  # transaction, source, fraud, day of arrival
labels = st.lists(
    st.tuples(st.integers(0, ROWS - 1), st.sampled_from(SOURCES), st.booleans(), st.floats(0, 40, width=16)),
    max_size=20,
)


def payments() -> Payments:
    ids = np.arange(ROWS)
    decided = Decided(ids % 4 == 1, ids % 4 == 2)
    return Payments(ids, ids[:, None].astype(np.float32), decided, ids // 3)


def table(rows: Sequence[Label]) -> pd.DataFrame:
    columns = [(row, source, fraud, EPOCH + timedelta(days=day)) for row, source, fraud, day in rows]
    frame = pd.DataFrame(columns, columns=["transaction_id", "source", "is_fraud", "arrived_at"])
    return frame.astype(
        {"transaction_id": np.int64, "is_fraud": bool, "arrived_at": "datetime64[us]", "source": object}
    )


def audited(*rows: tuple[int, bool, float]) -> pd.DataFrame:
    return table([(row, "random", fraud, day) for row, fraud, day in rows]).rename(columns={"source": "reason"})


def learned(rows: Sequence[Label], audits: pd.DataFrame | None = None, **given: object) -> Examples:
    gold = audited() if audits is None else audits
    return examples_of(payments(), table(rows), gold, NOW, explored_share=0.1, **given)


def bits(rows: Examples) -> list[bytes]:
    return [column.tobytes() for column in rows]


@given(labels, labels)
def test_what_arrives_later_changes_no_bit(known: list[Label], more: list[Label]) -> None:
    """Labels from the moment on are as if they were not there, and so are later audits."""
    later = [(row, source, fraud, NOW + day) for row, source, fraud, day in more]
    audits = audited(*((row, fraud, day) for row, _, fraud, day in later))
    assert bits(learned([*known, *later], audits)) == bits(learned([label for label in known if label[3] < NOW]))


@given(labels, labels)
def test_what_an_untrusted_source_says_changes_no_bit(rows: list[Label], others: list[Label]) -> None:
    """Whatever it says, when and how often; without it, what the others say counts as before."""
    trusted = [label for label in rows if label[1] != "analyst_b"]
    said = [(row, "analyst_b", fraud, day) for row, _, fraud, day in others]
    assert bits(learned([*trusted, *said], untrusted={"analyst_b"})) == bits(learned(trusted))


@given(labels, st.sets(st.integers(0, ROWS - 1)))
def test_what_is_held_out_is_not_learned_and_changes_nothing_else(rows: list[Label], out: set[int]) -> None:
    """All others stay, with the labels and weights that they had."""
    every, some = learned(rows), learned(rows, held_out=np.array(sorted(out), np.int64))
    kept = ~np.isin(every.ids, sorted(out))
    assert not set(some.ids.tolist()) & out
    assert bits(some) == bits(Examples(*(column[kept] for column in every)))


def test_the_audits_truth_stands_over_what_sources_say() -> None:
    """In either direction."""
    said = [(0, "chargeback", True, 3.0), (1, "analyst_a", False, 2.0)]
    found = learned(said, audited((0, False, 5.0), (1, True, 5.0)))
    assert found.fraud[:3].tolist() == [False, True, False]


def test_blocked_payments_count_once_an_analyst_whom_one_trusts_looked_at_them() -> None:
    """The fifth and the ninth were blocked (of four, the second); explored ones stand for ten."""
    found = learned([(5, "analyst_a", True, 2.0), (9, "analyst_b", True, 2.0)], untrusted={"analyst_b"})
    assert found.weights.tolist() == [1, 0, 10, 1, 1, 1, 10, 1, 1, 0, 10, 1]
