"""What becomes of a payment follows from its score and its id, and from nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.card_labels import LabelSettings
from training.fraud.operation import OPERATION, OperatingPolicy, PaymentDecision, place_of

IDS = st.integers(0, 2**63 - 1)


@pytest.mark.parametrize(
    ("score", "explored_share", "decision"),
    [
        (0.0, 1.0, "pay"),
        (0.4999, 1.0, "pay"),
        (0.5, 0.0, "block"),
        (0.5, 1.0, "explore"),
        (1.0, 0.0, "block"),
    ],
)
def test_a_half_is_blocked_and_less_is_paid(score: float, explored_share: float, decision: PaymentDecision) -> None:
    """Only what would be blocked is ever explored."""
    assert OperatingPolicy(explored_share=explored_share).decide(17, score) == decision


@given(first=IDS)
def test_one_in_ten_of_any_run_of_ids_is_explored(first: int) -> None:
    """Ids that follow each other, as an issuer gives them, are explored as evenly as any: 1 in 10, to four standard deviations."""
    decisions = [OPERATION.decide(first + n, 0.9) for n in range(4_000)]
    assert 400 - 76 < decisions.count("explore") < 400 + 76
    assert set(decisions) == {"block", "explore"}


@given(transaction_id=IDS, score=st.floats(0.5, 1.0), other=st.floats(0.5, 1.0))
def test_whether_a_payment_is_explored_is_its_own(transaction_id: int, score: float, other: float) -> None:
    """Asked again, and by a version that scores it otherwise, the answer is the same: else whoever asks twice explores more."""
    assert OPERATION.decide(transaction_id, score) == OPERATION.decide(transaction_id, other)
    assert 0 <= place_of(transaction_id) < 1


def test_a_payments_place_never_moves() -> None:
    """Not with the process, nor with the machine: of these, a log from yesterday says the same tomorrow."""
    assert [n for n in range(40) if OPERATION.decide(n, 0.9) == "explore"] == [23, 34]


def test_the_simulated_issuer_explores_as_much_as_the_platform() -> None:
    """Weights are one over the share: were there two shares, a figure would be wrong by their ratio."""
    assert LabelSettings().explored == OPERATION.explored_share
